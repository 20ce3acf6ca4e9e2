"""One finding, and what rules share: which scores belong together, and how they are quoted."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from segstudy.auditing.claims import Claim, Claims
from segstudy.auditing.printed import Severity, Verdict


@dataclass(frozen=True)
class Finding:
    """One fault: where it is printed, what is printed, what other printed numbers imply, in the same digits."""

    table: str
    row: str
    column: str
    rule: str
    printed: str
    implied: str
    severity: Severity
    message: str


def finding(claim: Claim, rule: str, implied: str, verdict: Verdict, message: str) -> Finding:
    """A finding about one claim; why it is no more than rounding is added to the message."""
    assert verdict.severity is not None
    text = f"{message}; {verdict.because}." if verdict.because else f"{message}."
    return Finding(
        claim.table, claim.row, claim.heading.text, rule, claim.printed.text, implied, verdict.severity, text
    )


def pairs(claims: Claims, measure: str, other: str) -> Iterator[tuple[Claim, Claim]]:
    """Claims of one measure, each with another measure of the same run, data and class."""
    for claim in claims.scores:
        if claim.measure == measure and (partner := claims.partner(claim, other)):
            yield claim, partner


def quote(claim: Claim, here: Claim) -> str:
    """A score as it is printed, under its heading, and in which table where that is another than that of ``here``."""
    source = f" ({claim.table})" if claim.place.table != here.place.table else ""
    return f"{claim.heading.text} {claim.printed.text}{source}"
