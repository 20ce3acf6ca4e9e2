"""Rules about rows that repeat one thing (folds, seeds, images), and the rows below that sum them up."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import isqrt

from segstudy.auditing.claims import Claim, Claims
from segstudy.auditing.findings import Finding, finding
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


def deviations_of_rows(claims: Claims) -> Iterator[Finding]:
    """The standard deviation of folds, seeds or images is that of their rows, divided by n or by n - 1."""
    for repeats, claim, numbers in _summed_up(claims):
        for row, printed in _deviations(claims, claim, repeats):
            verdict = min((_judged(printed, numbers, less) for less in (1, 0)), key=lambda each: each.rank)
            if verdict.severity != "contradiction":
                continue  # a rounding of a rounding says little
            implied = " or ".join(printed.printing(_deviation(numbers, less)) for less in (1, 0))
            message = f"the {len(numbers)} rows deviate by {implied} (divided by n - 1 or n) in {claim.heading.text}"
            found = finding(claim, "deviation of rows", implied, verdict, f"{message}, not {printed.text}")
            yield Finding(**{**vars(found), "row": row, "printed": printed.text})


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
        step = claim.printed.step
        shown = claim.printed.printing(claim.printed.spread)
        yield (
            mean.label,
            Number(
                shown,
                claim.printed.spread,
                claim.printed.spread,
                step,
                claim.printed.places,
                unit=claim.printed.unit,
            ),
        )
    for row in rows:
        number = row.deviations[claim.place.column] if row.deviations else None
        if number and row.sums_up == repeats.key and row.without(repeats.key) == mean.without(repeats.key):
            yield row.label, number


def _judged(printed: Number, numbers: Sequence[Number], less: int) -> Verdict:
    """Hold a printed deviation against that of the rows, whose own rounding moves it by half a step and a little more."""
    deviation = _deviation(numbers, less)
    room = max(number.step for number in numbers) * Fraction(3, 4)  # sqrt(2) half steps for two rows, fewer for more
    off = distance(printed, (deviation - room, deviation + room))
    return Verdict(None) if off <= printed.step else Verdict("contradiction")


def _deviation(numbers: Sequence[Number], less: int) -> Fraction:
    values = [(number.low + number.high) / 2 for number in numbers]
    mean = sum(values, Fraction(0)) / len(values)
    variance = sum(((value - mean) ** 2 for value in values), Fraction(0)) / (len(values) - less)
    return Fraction(isqrt(int(variance * FINE**2)), FINE)
