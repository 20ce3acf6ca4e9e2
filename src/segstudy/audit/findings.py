"""One finding, and what rules share: a score as an interval, what follows from it, which scores belong together."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from segstudy.audit.claims import Claim, Claims
from segstudy.audit.printed import Implied, Interval, Reading, Severity, Verdict


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


def score_interval(claim: Claim, reading: Reading) -> Interval:
    """The values that a printed score may stand for; no score lies outside 0 and 1."""
    low, high = claim.printed.interval(reading)
    return max(low, Fraction(0)), min(high, Fraction(1))


def pairs(claims: Claims, measure: str, other: str) -> Iterator[tuple[Claim, Claim]]:
    """Claims of one measure, each with another measure of the same run, data and class."""
    for claim in claims.scores:
        if claim.measure == measure and (partner := claims.partner(claim, other)):
            yield claim, partner


def increasing(function: Callable[[Fraction], Fraction], claim: Claim) -> Implied:
    """What follows from a score by a function that grows with it."""

    def interval(reading: Reading) -> Interval:
        low, high = score_interval(claim, reading)
        return function(low), function(high)

    return interval


def quote(claim: Claim, here: Claim) -> str:
    """A score as it is printed, under its heading, and in which table where that is another than that of ``here``."""
    source = f" ({claim.table})" if claim.place.table != here.place.table else ""
    return f"{claim.heading.text} {claim.printed.text}{source}"
