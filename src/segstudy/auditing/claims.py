"""From tables to claims: every printed number with what it is about, and the scores that differences lie between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Literal, NamedTuple

from segstudy.auditing.headings import CLASS_OF, MEAN_OF, MEANS, Heading, Kind, fold
from segstudy.auditing.printed import Number, dice_of, increasing, judge
from segstudy.auditing.subjects import Runs, Subject, identity, part_of_classes, tested_on
from segstudy.auditing.tables import Table
from segstudy.errors import listing

AVERAGED = (
    "no class's Dice is 2 IoU / (1 + IoU), but all may be means over images, and they are read as such; "
    "say 'level: dataset' if they are over all pixels at once"
)


Level = Literal["", "dataset", "image"]


class Place(NamedTuple):
    """The place of a number: table, row and column, counted from 0."""

    table: int
    row: int
    column: int


@dataclass(frozen=True)
class Claim:
    """One printed number, or a gap where one could stand (``number`` is None).

    ``pooled`` says that it is a score over all pixels at once, not a mean over images or seeds.
    ``num_classes`` is how many classes a mean is over, where the publication says so. ``operands`` of a difference
    are the scores that it may lie between: (its own, the one compared with); ``steps`` are those if the table adds step
    upon step, so that each row is compared with the one above.
    """

    place: Place
    table: str
    row: str
    heading: Heading
    subject: Subject
    measure: str
    kind: Kind
    number: Number | None
    pooled: bool = False
    level: Level = ""  # what the publication says of it: over all pixels at once, a mean over images, or nothing
    num_classes: int | None = None
    summary: bool = False  # the mean of the classes listed in the same table
    stray: str = ""  # of a score that seems to be in another unit than its column: one that is in the column's
    run_name: str = ""  # as printed, where the run has a name
    data: str = ""  # what it was tested on, as printed
    operands: tuple[tuple[Claim, Claim], ...] = ()
    steps: tuple[tuple[Claim, Claim], ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it is a score that can be, so that others may be compared with it."""
        return self.kind == "value" and self.number is not None and possible(self.number) and not self.stray

    @property
    def exact(self) -> bool:
        """Whether it is one class's score over all pixels at once, which measures are tied to each other by."""
        return self.pooled and bool(self.subject.cls)

    @property
    def may_be_share(self) -> bool:
        """Of a difference: whether it is, or with a percent sign may be, relative to a score."""
        return (
            self.kind == "relative"
            or self.heading.percent
            or (self.number is not None and self.number.mark == "percent")
        )

    def alike(self, other: Claim) -> bool:
        """Whether two claims are averaged over the same things, so that they can be compared.

        Those of one row are, though a spread may be printed with one of them alone.
        """
        if self.place[:2] == other.place[:2]:
            return True
        averaged = [claim.number is not None and claim.number.averaged for claim in (self, other)]
        return self.pooled == other.pooled and averaged[0] == averaged[1]

    @property
    def printed(self) -> Number:
        """The number of a claim that is known to have one."""
        assert self.number is not None
        return self.number


@dataclass(frozen=True)
class Claims:
    """All claims of a publication, and the look-ups that rules need."""

    tables: tuple[Table, ...]
    all: tuple[Claim, ...]
    remarks: tuple[tuple[str, str], ...] = ()  # (table, what was left out)

    @cached_property
    def scores(self) -> tuple[Claim, ...]:
        """Usable scores, in print order."""
        return tuple(claim for claim in self.all if claim.usable)

    @cached_property
    def _by_subject(self) -> dict[tuple[Subject, str], list[Claim]]:
        found = defaultdict(list)
        for claim in self.scores:
            found[claim.subject, claim.measure].append(claim)
        return found

    def printings(self, subject: Subject, measure: str) -> list[Claim]:
        """Every printing of a score."""
        return self._by_subject.get((subject, measure), [])

    def partner(self, claim: Claim, measure: str) -> Claim | None:
        """Another measure of what ``claim`` is about: from the same table if it is there, else from the first."""
        found = [other for other in self.printings(claim.subject, measure) if other.alike(claim)]
        return min(found, key=lambda c: (c.place.table != claim.place.table, c.place), default=None)

    def classes_of(self, claim: Claim, measure: str) -> dict[str, Claim]:
        """Each class's ``measure`` for the run and data of ``claim``, gaps among them; its own table's come first.

        For the mean that closes a list of classes, those of the list.
        """
        found: dict[str, Claim] = {}
        for other in self._classes.get((claim.subject, measure), []):
            here = other.place.table == claim.place.table
            if here or not (claim.summary or other.subject.cls in found):
                found[other.subject.cls] = other
        return found

    @cached_property
    def _classes(self) -> dict[tuple[Subject, str], list[Claim]]:
        found = defaultdict(list)
        for claim in self.all:
            if claim.kind == "value" and claim.subject.cls:
                found[claim.subject._replace(cls=""), claim.measure].append(claim)
        return found


def possible(number: Number) -> bool:
    """Whether a score can be this: between 0 and 1."""
    return number.low >= 0 and number.high <= 1


def make_claims(tables: Sequence[Table]) -> Claims:
    """Every printed number of the tables, with what it is about."""
    runs = Runs(tables)
    found: list[Claim] = []
    remarks: list[tuple[str, str]] = []
    for index, table in enumerate(tables):
        claims = _apart(_table_claims(index, table, runs))
        remarks += [(table.name, remark) for remark in (*table.remarks, *_left_out(table, claims, len(tables)))]
        if table.pooled is None and _looks_averaged(claims):
            claims = [replace(claim, pooled=False, level="image") for claim in claims]
            remarks.append((table.name, AVERAGED))
        found += _with_operands(claims)
    whole = Claims(tuple(tables), tuple(found))
    return replace(whole, remarks=(*remarks, *_means_left_out(whole)))


def _means_left_out(claims: Claims) -> Iterable[tuple[str, str]]:
    """Tables whose means could be compared with classes if their number were known."""
    unknown = [c for c in claims.scores if c.measure in CLASS_OF and not (c.subject.cls or c.summary or c.num_classes)]
    for name in dict.fromkeys(c.table for c in unknown if claims.classes_of(c, CLASS_OF[c.measure])):
        yield name, "means not compared with their classes; say how many classes there are with 'classes: NUMBER'"


def _left_out(table: Table, claims: list[Claim], num_tables: int) -> Iterable[str]:
    """Numbers that cannot be checked without a note from the reader of the publication."""
    partial = [row.label for row in table.rows if part_of_classes(identity(table, row).get("class", ""))]
    if partial:
        yield f"read as means of some of the classes, so not checked: {listing(partial)}"
    if num_tables > 1 and any(claim.number and not claim.data for claim in claims):
        yield "does not say on which data, so not compared with other tables; add the note 'dataset: NAME'"


def _table_claims(at: int, table: Table, runs: Runs) -> list[Claim]:
    """Every number of one table, differences still without operands."""
    numbered = [n for n, heading in enumerate(table.headings) if heading.kind in ("value", "difference", "relative")]
    strays = {n: _strays(table, n) for n in numbered if table.headings[n].kind == "value"}
    names = {fold(name) for name in table.classes}
    found = []
    for index, row in enumerate(table.rows):
        keys = identity(table, row)
        cls = keys.get("class", "")
        summary = cls.casefold() in MEANS
        for column in numbered if not part_of_classes(cls) else ():
            heading, number = table.headings[column], row.numbers[column]
            of_class = heading.of if fold(heading.of) in names else "" if summary else cls
            run, name = runs.resolve(runs.with_heading(keys, "" if of_class == heading.of else heading.of), at)
            claim = Claim(
                Place(at, index, column),
                table.name,
                row.label,
                heading,
                Subject(run, tested_on(keys), fold(of_class)),
                MEAN_OF.get(heading.name, heading.name) if summary else heading.name,
                heading.kind,
                number,
                pooled=table.pooled is not False and not (number and number.averaged) and row.sums_up in ("", "class"),
                level="" if table.pooled is None else "dataset" if table.pooled else "image",
                num_classes=table.num_classes or runs.num_classes.get(fold(keys.get("test", ""))),
                summary=summary or heading.closes,
                stray=strays.get(column, {}).get(index, ""),
                run_name=name,
                data=keys.get("test", ""),
            )
            found.append(claim)
    return found


def _strays(table: Table, column: int) -> dict[int, str]:
    """Rows whose scores seem to be in another unit than their column, each with a score that is in the column's unit.

    0.8321 among percentages, 83.21 among shares. A percentage is printed with two digits fewer than the same share, and
    often is shorter still, so the numbers must be of two lengths that are as far apart, and none of the longer above one.
    """
    found = {row: each.numbers[column] for row, each in enumerate(table.rows)}
    numbers = {row: number for row, number in found.items() if number and number.low > 0 and not number.mark}
    places = sorted({number.places for number in numbers.values()})
    if len(places) != 2 or places[1] - places[0] < 2:
        return {}
    long = [row for row, number in numbers.items() if number.places == places[1]]
    above = [row for row, number in numbers.items() if number.high * number.unit > 1]
    percentages = [row for row in above if numbers[row].high * numbers[row].unit <= 100]
    if set(long) & set(above) or not percentages:
        return {}
    in_percent = numbers[long[0]].unit == 100
    odd, usual = (long, percentages[0]) if in_percent else (percentages, long[0])
    return dict.fromkeys(odd, f"{numbers[usual].text} ({table.rows[usual].label})")


def _looks_averaged(claims: list[Claim]) -> bool:
    """Whether classes' scores are means over images rather than over all pixels: no Dice fits its IoU, and none exceeds it.

    Three classes at least, as one or two may well be faults.
    """
    ious = {(c.place.row, c.subject): c.printed for c in claims if c.exact and c.usable and c.measure == "iou"}
    pairs = [
        (c.printed, ious[c.place.row, c.subject])
        for c in claims
        if c.exact and c.usable and c.measure == "dice" and (c.place.row, c.subject) in ious
    ]
    return len(pairs) > 2 and all(
        iou.low <= dice.low < dice_of(iou.low) and judge(dice, increasing(dice_of, iou)).severity == "contradiction"
        for dice, iou in pairs
    )


def _apart(claims: list[Claim]) -> list[Claim]:
    """Rows of one table that seem to be about the same are not: something that is not understood tells them apart."""
    rows = defaultdict(set)
    for claim in claims:
        rows[claim.subject].add(claim.place.row)
    return [
        replace(
            claim, subject=claim.subject._replace(run=f"{claim.place.table}.{claim.place.row}: {claim.subject.run}")
        )
        if len(rows[claim.subject]) > 1
        else claim
        for claim in claims
    ]


def _with_operands(claims: list[Claim]) -> list[Claim]:
    """The claims of one table, each difference with the scores that it may lie between."""
    scores: dict[int, list[Claim]] = defaultdict(list)  # by row
    baselines: dict[int, list[int]] = defaultdict(list)  # by column of differences, the rows without one
    for claim in claims:
        if claim.kind == "value":
            scores[claim.place.row].append(claim)
        elif _is_baseline(claim):
            baselines[claim.place.column].append(claim.place.row)
    return [
        claim
        if claim.kind == "value" or _is_baseline(claim)
        else replace(
            claim,
            operands=tuple(_operands(claim, scores, baselines[claim.place.column])),
            steps=tuple(_operands(claim, scores, [claim.place.row - 1] if baselines[claim.place.column] else [])),
        )
        for claim in claims
    ]


def _is_baseline(claim: Claim) -> bool:
    """Whether a row differs from nothing: no difference is printed in it, or 0."""
    return claim.number is None or claim.number.low == claim.number.high == 0


def _operands(claim: Claim, scores: dict[int, list[Claim]], baselines: list[int]) -> Iterable[tuple[Claim, Claim]]:
    """Two neighbouring columns of the row; or the row's score and that of a row without a difference."""
    row = claim.place.row
    own = [score for score in scores[row] if score.measure == claim.measure]
    if claim.heading.aside:
        own = [score for score in own if score.heading.of == claim.heading.of]
    elif len(own) == 2:
        yield own[0], own[1]
    if len(own) > 2:
        own = [score for score in own if score.heading.of == claim.heading.of]
    if claim.heading.guessed:
        own = [score for score in reversed(scores[row]) if score.place.column < claim.place.column]
    nearest_above = sorted(baselines, key=lambda other: (other > row, abs(other - row)))
    for score in own:
        others = _in_rows(nearest_above, score, scores)
        same_run = [other for other in others if other.subject.run == score.subject.run]
        same_data = [other for other in others if other.data == score.data]
        yield from ((score, other) for other in same_run or same_data or others)


def _in_rows(rows: Iterable[int], score: Claim, scores: dict[int, list[Claim]]) -> list[Claim]:
    """Values of other rows in the column of a score, of the same class."""
    found = [other for row in rows for other in scores.get(row, []) if other.place.column == score.place.column]
    return [other for other in found if other.number and other.subject.cls == score.subject.cls]
