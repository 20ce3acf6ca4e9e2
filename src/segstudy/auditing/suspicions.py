"""Rules about what is printed as such: rows that are copies, deviations that no scores have, bold that marks no best."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from fractions import Fraction
from math import isqrt

from segstudy.auditing.claims import Claim, Claims
from segstudy.auditing.findings import Finding, finding
from segstudy.auditing.headings import MEAN_OF
from segstudy.auditing.printed import Verdict

ENOUGH = 3  # numbers of three digits or more that two rows share before one is taken for a copy
FINE = 10**6


def copied_rows(claims: Claims) -> Iterator[Finding]:
    """Two networks hardly score the same in every number to the last digit: one row may be a copy of the other.

    Arithmetic does not exclude it, so the question is left open.
    """
    rows: dict[tuple[int, int], list[Claim]] = defaultdict(list)
    for claim in claims.scores:
        if claim.kind == "value":
            rows[claim.place[:2]].append(claim)
    prints: dict[object, list[tuple[int, int]]] = defaultdict(list)
    for at, found in rows.items():
        if sum(_long(claim) for claim in found) >= ENOUGH:
            prints[at[0], tuple((claim.place.column, claim.printed.text) for claim in found)].append(at)
    for same in prints.values():
        first = rows[same[0]][0]
        for at in same[1:]:
            claim = rows[at][0]
            if claim.row != first.row:
                yield _copy(claim, first, len(rows[at]))


def _copy(claim: Claim, first: Claim, number: int) -> Finding:
    message = (
        f"all {number} numbers are those of {first.row}, to the last digit; this cannot be decided by arithmetic: one row is "
        "a copy of the other, or both are about one network"
    )
    return finding(claim, "copy", "other numbers", Verdict("undecided"), message)


def _long(claim: Claim) -> bool:
    """Whether a number has three digits or more that say something."""
    digits = claim.printed.low / claim.printed.step
    return digits >= 100 and claim.printed.low not in (0, 1)


def impossible_spreads(claims: Claims) -> Iterator[Finding]:
    """Scores between 0 and 1 of mean m deviate by sqrt(m (1 - m)) at most; by n/(n - 1) more in the sample's variance.

    That factor is 2 at most, for two scores.
    """
    for claim in claims.scores:
        spread = claim.printed.spread
        if spread is None:
            continue
        low, high = claim.printed.score("rounded")
        nearest_half = min(max(Fraction(1, 2), low), high)
        largest = 2 * nearest_half * (1 - nearest_half)
        if (spread - claim.printed.step) ** 2 > largest and spread > claim.printed.step:
            limit = Fraction(isqrt(int(largest * FINE**2)), FINE)
            implied = f"at most {claim.printed.printing(limit).lstrip('+')}"
            message = (
                f"scores between 0 and {claim.printed.unit} whose mean is {claim.printed.text} deviate by {implied} "
                "(as a standard deviation of two scores; less for more)"
            )
            yield finding(claim, "spread", implied, Verdict("contradiction"), message)


def outside_own_interval(claims: Claims) -> Iterator[Finding]:
    """A score lies within the interval that is printed behind it, up to the last digit of each."""
    for claim in claims.scores:
        bounds, printed = claim.printed.bounds, claim.printed
        if bounds is None or bounds[0] - printed.step <= printed.low <= bounds[1] + printed.step:
            continue
        implied = printed.printing_of(bounds)
        message = f"{claim.heading.text} {printed.text} is outside its own interval"
        yield finding(claim, "interval", implied, Verdict("contradiction"), message)


def wrong_best(claims: Claims) -> Iterator[Finding]:
    """One number of a column stands in bold, as the best, and another is better.

    Bold may also mark the authors' own row, or the best of a group, so the question is left open. Of scores without a known
    measure, the lowest may be the best.
    """
    columns: dict[tuple[int, int], list[Claim]] = defaultdict(list)
    for claim in claims.scores:
        if claim.kind == "value" and claim.measure not in ("score", MEAN_OF["score"]):
            columns[claim.place.table, claim.place.column].append(claim)
    for column in columns.values():
        marked = [claim for claim in column if _is_bold(claims, claim)]
        rest = [claim for claim in column if claim not in marked and claim.data == marked[0].data] if marked else []
        best = max(rest, key=lambda claim: claim.printed.low, default=None)
        if len(marked) != 1 or best is None or best.printed.low <= marked[0].printed.high:
            continue
        if _whole_row_is_bold(claims, marked[0]):
            continue
        message = (
            f"{marked[0].heading.text} {marked[0].printed.text} is the only one in bold, but {best.row} has "
            f"{best.printed.text}; this cannot be decided by arithmetic: bold may mark something else than the best"
        )
        yield finding(marked[0], "best", best.printed.text, Verdict("undecided"), message)


def _is_bold(claims: Claims, claim: Claim) -> bool:
    return claim.place.column in claims.tables[claim.place.table].rows[claim.place.row].bold


def _whole_row_is_bold(claims: Claims, claim: Claim) -> bool:
    """Whether a row of several numbers is in bold as a whole: then it is the authors' own, whatever it scores."""
    row = [other for other in claims.scores if other.place[:2] == claim.place[:2]]
    return len(row) > 1 and all(_is_bold(claims, other) for other in row)
