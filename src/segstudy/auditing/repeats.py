"""Rules about rows that repeat one thing (folds, seeds, images), and the rows below that sum them up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import isqrt

from segstudy.auditing.claims import Claim, Claims
from segstudy.auditing.findings import Finding, finding
from segstudy.auditing.headings import CLASS_OF, spread_of
from segstudy.auditing.printed import Interval, Number, Reading, Verdict, distance, judge
from segstudy.auditing.tables import NUMBERED, Row

FINE = 10**9
UNEQUAL = "this cannot be decided if the folds are of unequal sizes"


@dataclass(frozen=True)
class Repeats:
    """Rows of one table that differ in one key alone, which is a number in each, and the claims that sum them up."""

    key: str
    rows: tuple[int, ...]
    summary: int


def means_of_rows(claims: Claims) -> Iterator[Finding]:
    """The mean of folds, seeds or images is that of their rows; folds of unequal sizes may weigh otherwise."""
    for repeats, claim, numbers in _summed_up(claims):

        def mean(reading: Reading, numbers: Sequence[Number] = numbers) -> Interval:
            low, high = (sum(end, Fraction(0)) for end in zip(*(n.score(reading) for n in numbers), strict=True))
            return low / len(numbers), high / len(numbers)

        verdict = judge(claim.printed, mean)
        among = min(n.low for n in numbers) <= claim.printed.low <= max(n.high for n in numbers)
        if verdict.severity == "contradiction" and repeats.key == "fold" and among:
            verdict = Verdict("undecided", UNEQUAL)
        if verdict.severity:
            implied = claim.printed.printing_of(mean("printed"))
            message = f"its {len(numbers)} rows make {claim.heading.text} {implied}, not {claim.printed.text}"
            yield finding(claim, "mean of rows", implied, verdict, message)


def deviations(claims: Claims) -> Iterator[Finding]:
    """The standard deviation of folds, seeds or images is that of their rows or columns, divided by n or by n - 1."""
    for repeats, claim, numbers in _summed_up(claims):
        for row, printed in _deviations(claims, claim, repeats):
            yield from _wrong_deviation(claim, row, printed, numbers, "rows")
    for claim in claims.scores:
        listed = claims.classes_of(claim, CLASS_OF.get(claim.measure, "")) if claim.heading.closes else {}
        columns = [other for other in listed.values() if other.usable and NUMBERED.fullmatch(other.heading.of)]
        said = any(spread_of(heading.text) is not None for heading in claims.tables[claim.place.table].headings)
        if said and claim.printed.spread is not None and len(columns) == len(listed) > 1:
            printed = _behind(claim.printed)
            yield from _wrong_deviation(claim, claim.row, printed, [each.printed for each in columns], "columns")


def _wrong_deviation(
    claim: Claim, row: str, printed: Number, numbers: Sequence[Number], things: str
) -> Iterator[Finding]:
    """A finding, unless the deviation is one of the two that the numbers have; a rounding of roundings is none."""
    if not any(_fits(printed, numbers, less) for less in (1, 0)):
        implied = " or ".join(printed.printing(_deviation(numbers, less)) for less in (1, 0))
        made = f"the {len(numbers)} {things} deviate by {implied} (divided by n - 1 or n) in {claim.heading.text}"
        message = f"{made}, not {printed.text}"
        found = finding(claim, f"deviation of {things}", implied, Verdict("contradiction"), message)
        yield replace(found, row=row, printed=printed.text)


def _behind(score: Number) -> Number:
    """The standard deviation that is printed of a score, in the score's digits."""
    spread = score.spread or Fraction(0)
    return Number(score.printing(spread), spread, spread, score.step, score.places, unit=score.unit)


def _summed_up(claims: Claims) -> Iterator[tuple[Repeats, Claim, list[Number]]]:
    """Each score in a row of means, with the numbers above it that it is the mean of."""
    for at, table in enumerate(claims.tables):
        for repeats in _repeats(table.rows):
            for claim in claims.scores:
                if claim.kind == "value" and claim.place[:2] == (at, repeats.summary):
                    numbers = [table.rows[row].numbers[claim.place.column] for row in repeats.rows]
                    if all(number and 0 <= number.low <= number.high <= 1 for number in numbers):
                        yield repeats, claim, [number for number in numbers if number]


def _repeats(rows: Sequence[Row]) -> Iterator[Repeats]:
    for at, row in enumerate(rows):
        for key in row.keys:
            if row.sums_up != key or key == "class":
                continue
            others = [n for n, other in enumerate(rows) if not other.sums_up and other.without(key) == row.without(key)]
            values = [rows[n].keys.get(key, rows[n].asides.get(key, "")) for n in others]
            if len(others) > 1 and len(set(values)) == len(values) and all(map(NUMBERED.fullmatch, values)):
                yield Repeats(key, tuple(others), at)


def _deviations(claims: Claims, claim: Claim, repeats: Repeats) -> Iterator[tuple[str, Number]]:
    """Standard deviations that are printed of the rows: behind the mean, if its label says so, or in a row of their own."""
    rows = claims.tables[claim.place.table].rows
    mean = rows[repeats.summary]
    if mean.with_deviation and claim.printed.spread is not None:
        yield mean.label, _behind(claim.printed)
    for row in rows:
        number = row.deviations[claim.place.column] if row.deviations else None
        if number and row.sums_up == repeats.key and row.without(repeats.key) == mean.without(repeats.key):
            yield row.label, number


def _fits(printed: Number, numbers: Sequence[Number], less: int) -> bool:
    """Whether a printed deviation is that of the numbers, whose own rounding moves it by half a step and a little more."""
    deviation = _deviation(numbers, less)
    room = max(number.step for number in numbers) * Fraction(3, 4)  # sqrt(2) half steps for two numbers, fewer for more
    return distance(printed, (deviation - room, deviation + room)) <= printed.step


def _deviation(numbers: Sequence[Number], less: int) -> Fraction:
    values = [(number.low + number.high) / 2 for number in numbers]
    mean = sum(values, Fraction(0)) / len(values)
    variance = sum(((value - mean) ** 2 for value in values), Fraction(0)) / (len(values) - less)
    return Fraction(isqrt(int(variance * FINE**2)), FINE)
