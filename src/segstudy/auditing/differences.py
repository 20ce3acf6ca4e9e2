"""Rules about differences and relative differences: they are what the scores that they lie between make."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Literal

from segstudy.auditing.claims import Claim, Claims
from segstudy.auditing.findings import Finding, finding
from segstudy.auditing.printed import Interval, Number, Reading, Verdict, distance, judge
from segstudy.auditing.subjects import OWN

OTHERWISE = "this cannot be decided if the number after the score compares with something that the table does not print"


@dataclass(frozen=True)
class Way:
    """One way to read a difference: ``sign`` times (``own`` - ``other``), perhaps as a share of one of the two."""

    own: Claim
    other: Claim
    sign: int
    share_of: Literal["", "own", "other"] = ""

    def implied(self, reading: Reading) -> Interval:
        """The values that follow from the two scores."""
        own, other = self.own.printed.score(reading), self.other.printed.score(reading)
        if not self.share_of:
            ends = (self.sign * (own[0] - other[1]), self.sign * (own[1] - other[0]))
        else:
            top, bottom, sign = (own, other, self.sign) if self.share_of == "other" else (other, own, -self.sign)
            if not bottom[0]:
                return Fraction(-(10**9)), Fraction(10**9)  # a share of next to nothing may be anything
            ends = (sign * (top[0] / bottom[1] - 1), sign * (top[1] / bottom[0] - 1))
        return min(ends), max(ends)

    def judge(self, printed: Number) -> Verdict:
        """Whether a printed difference can be this one; a plain difference must be so in the digits that are printed."""
        verdict = judge(printed, self.implied)
        off = distance(printed, self.implied("printed")) > printed.step / 2
        if verdict.severity is None and not self.share_of and off:
            return Verdict("rounding", "scores with more digits may give it")
        return verdict


def differences(claims: Claims) -> Iterator[Finding]:
    """A difference is what its two scores make, in the digits that are printed: anybody can do that sum again.

    Which score is taken from which, and whether rows are compared with a baseline or with the row above, is the column's
    choice; what fits most of its rows counts.
    """
    columns: dict[tuple[int, int], list[Claim]] = defaultdict(list)
    for claim in claims.all:
        if claim.kind in ("difference", "relative") and claim.number:
            columns[claim.place.table, claim.place.column].append(claim)
    for column in columns.values():
        usual = -1 if column[0].heading.falls else 1
        signs = [(usual,), (-usual,)] if not column[0].heading.unsigned else [(1, -1)]
        readings = [
            [_best_way(_operands(claims, claim, steps), claim, allowed) for claim in column]
            for steps in (False, True)
            for allowed in signs
        ]
        best = min(
            readings, key=lambda ways: [sum(v.rank == rank for _, v in filter(None, ways)) for rank in (3, 2, 1)]
        )
        for claim, found in zip(column, best, strict=True):
            if found and found[1].severity:
                way, verdict = found
                if claim.heading.aside and verdict.severity == "contradiction":
                    verdict = Verdict("undecided", OTHERWISE)
                yield _no_difference(claims, claim, way, verdict)


def _best_way(operands: list[tuple[Claim, Claim]], claim: Claim, signs: tuple[int, ...]) -> tuple[Way, Verdict] | None:
    """The reading of a difference that fits best; None if no two printed scores make one."""
    ways = [
        Way(own, other, sign, share)
        for own, other in operands
        for share in _shares(claim, own, other)
        for sign in signs
        if not (share and claim.kind == "relative" and own.printed.averaged)  # a mean of shares is no share of means
    ]
    judged = [(way, way.judge(claim.printed)) for way in ways]
    return min(
        judged,
        key=lambda found: (found[1].rank, distance(claim.printed, found[0].implied("printed"))),
        default=None,
    )


def _operands(claims: Claims, claim: Claim, steps: bool) -> list[tuple[Claim, Claim]]:
    """The pairs of scores that a difference may lie between."""
    if not claim.operands and claim.subject.test != OWN:  # a cross-evaluation whose scores are printed elsewhere
        own = claims.printings(claim.subject, claim.measure)
        other = claims.printings(claim.subject._replace(test=OWN), claim.measure)
        return [(own[0], other[0])] if own and other else []
    found = (claim.steps if steps else ()) or claim.operands
    return [(own, other) for own, other in found if own.usable and other.usable]


def _shares(claim: Claim, own: Claim, other: Claim) -> Iterator[Literal["", "own", "other"]]:
    """Possible denominators of a difference: none, unless it says relative; % alone may mean either."""
    if claim.kind == "difference":
        yield ""
    if claim.may_be_share:
        yield "other"
        if own.place.row == other.place.row:  # of two columns, either may be the base
            yield "own"


def _no_difference(claims: Claims, claim: Claim, way: Way, verdict: Verdict) -> Finding:
    first, second = (way.own, way.other) if way.sign == 1 else (way.other, way.own)
    base = {"": "", "own": way.own.printed.text, "other": way.other.printed.text}[way.share_of]
    implied = claim.printed.printing_of(way.implied("printed"))
    share = f", as a share of {base}," if base else ""
    differs = claim.printed.unit == 100 and first.printed.unit == second.printed.unit == 1
    unit = " in percent" if differs and "%" not in implied else ""
    made = f"{first.printed.text} - {second.printed.text}{share} is {implied}{unit}"
    message = f"{claim.heading.text}: {made}, not {claim.printed.text}"
    if verdict.severity == "contradiction":
        message += _other_printing(claims, claim, way)
    return finding(claim, "relative" if base else "difference", implied, verdict, message)


def _other_printing(claims: Claims, claim: Claim, way: Way) -> str:
    """A score in another table that explains the difference."""
    ways = [(own, replace(way, own=own)) for own in claims.printings(way.own.subject, claim.measure)]
    ways += [(other, replace(way, other=other)) for other in claims.printings(way.other.subject, claim.measure)]
    for source, other_way in ways:
        if other_way.judge(claim.printed).severity != "contradiction":
            return f"; it follows from {source.printed.text}, which {source.table} prints for the same run"
    return ""
