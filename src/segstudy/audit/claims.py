"""From tables to claims: every printed number with what it is about, and the scores that differences lie between."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from segstudy.audit.headings import MEAN_OF, Heading, Kind, fold
from segstudy.audit.printed import Number, dice_of, increasing, judge
from segstudy.audit.subjects import MEANS, Runs, Subject, identity, part_of_classes, tested_on
from segstudy.audit.tables import Table
from segstudy.errors import listing

AVERAGED = (
    "no class's Dice is 2 IoU / (1 + IoU), but all may be means over images, which they are taken for; "
    "say 'level: dataset' if they are over all pixels at once"
)


class Place(NamedTuple):
    """Where a number stands: table, row and column, counted from 0."""

    table: int
    row: int
    column: int


@dataclass(frozen=True)
class Claim:
    """One printed number, or a gap where one could stand (``number`` is None).

    ``pooled`` says that it is a score over all pixels at once, not a mean over images or seeds.
    ``num_classes`` is how many classes a mean is over, where the publication says so. ``operands`` of a difference
    are the scores that it may lie between: (its own, the one compared with).
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
    num_classes: int | None = None
    summary: bool = False  # the mean of the classes listed in the same table
    stray: bool = False  # seems to be in another unit than the rest of its column
    run_name: str = ""  # as printed, where the run has a name
    data: str = ""  # what it was tested on, as printed
    operands: tuple[tuple[Claim, Claim], ...] = ()

    @property
    def usable(self) -> bool:
        """Whether it is a score that can be, so that others may be held against it."""
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
        """Whether two claims are averaged over the same things, so that they can be held against each other."""
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
        claims = _apart([c for n in range(len(table.rows)) for c in _row_claims(index, n, table, runs)])
        remarks += [(table.name, remark) for remark in (*table.remarks, *_left_out(table, claims, len(tables)))]
        if table.pooled is None and _looks_averaged(claims):
            claims = [replace(claim, pooled=False) for claim in claims]
            remarks.append((table.name, AVERAGED))
        found += _with_operands(claims)
    whole = Claims(tuple(tables), tuple(found))
    return replace(whole, remarks=(*remarks, *_means_left_out(whole)))


def _means_left_out(claims: Claims) -> Iterable[tuple[str, str]]:
    """Tables whose means could be held against classes, if it were known how many there are."""
    measure_of = {mean: measure for measure, mean in MEAN_OF.items()}
    unknown = [
        c for c in claims.scores if c.measure in measure_of and not (c.subject.cls or c.summary or c.num_classes)
    ]
    for name in dict.fromkeys(c.table for c in unknown if claims.classes_of(c, measure_of[c.measure])):
        yield name, "means not held against their classes; say how many classes there are with 'classes: NUMBER'"


def _left_out(table: Table, claims: list[Claim], num_tables: int) -> Iterable[str]:
    """What cannot be checked for want of a word from whoever reads the publication."""
    partial = [row.label for row in table.rows if part_of_classes(identity(table, row).get("class", ""))]
    if partial:
        yield f"taken for means of some of the classes, so not checked: {listing(partial)}"
    if num_tables > 1 and any(claim.number and not claim.data for claim in claims):
        yield "does not say on which data, so not compared with other tables; say it with 'dataset: NAME'"


def _row_claims(at: int, index: int, table: Table, runs: Runs) -> Iterable[Claim]:
    """Every number of one row, differences still without operands."""
    row = table.rows[index]
    keys = identity(table, row)
    cls = keys.get("class", "")
    if part_of_classes(cls):
        return
    summary = cls.casefold() in MEANS
    names = {fold(name) for name in table.classes}
    for column, (heading, number) in enumerate(zip(table.headings, row.numbers, strict=True)):
        if heading.kind not in ("value", "difference", "relative"):
            continue
        of_class = heading.of if fold(heading.of) in names else "" if summary else cls
        run, name = runs.resolve(runs.with_heading(keys, "" if of_class == heading.of else heading.of), at)
        yield Claim(
            Place(at, index, column),
            table.name,
            row.label,
            heading,
            Subject(run, tested_on(keys), fold(of_class)),
            MEAN_OF.get(heading.name, heading.name) if summary else heading.name,
            heading.kind,
            number,
            table.pooled is not False and not (number and number.averaged),
            table.num_classes or runs.num_classes.get(fold(keys.get("test", ""))),
            summary,
            heading.kind == "value" and _is_stray(number, [other.numbers[column] for other in table.rows]),
            name,
            keys.get("test", ""),
        )


def _is_stray(number: Number | None, column: Sequence[Number | None]) -> bool:
    """Whether a score seems to be in another unit than its column: 0.8321 among percentages, 83.21 among fractions.

    Percentages are printed with two digits fewer, so the other numbers must have exactly two more or two fewer.
    """
    numbers = [other for other in column if other and other.low]
    if number is None or number.mark or number not in numbers:
        return False
    usual = Counter(other.places for other in numbers).most_common(1)[0][0]
    usual_large = any(other.high * other.unit > 1 for other in numbers if other.places == usual)
    size = number.high * number.unit
    shift = number.places - usual
    if {other.places for other in numbers} != {usual, number.places}:
        return False
    return (shift == 2 and size <= 1 and usual_large) or (shift == -2 and 1 < size <= 100 and not usual_large)


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
    scores = [claim for claim in claims if claim.kind == "value"]
    baselines = {
        (claim.place.row, claim.place.column)
        for claim in claims
        if claim.kind != "value" and (claim.number is None or claim.number.low == claim.number.high == 0)
    }
    return [
        replace(claim, operands=tuple(_operands(claim, scores, baselines)))
        if claim.kind != "value" and (claim.place.row, claim.place.column) not in baselines
        else claim
        for claim in claims
    ]


def _operands(claim: Claim, scores: list[Claim], baselines: set[tuple[int, int]]) -> Iterable[tuple[Claim, Claim]]:
    """Two columns beside each other in the row; or the row's score and that of a row without a difference."""
    here = [c for c in scores if c.place.row == claim.place.row]
    own = [c for c in here if c.measure == claim.measure]
    if len(own) == 2:
        yield own[0], own[1]
    if len(own) > 2:
        own = [c for c in own if c.heading.of == claim.heading.of]
    if claim.heading.guessed:
        own = [c for c in reversed(here) if c.place.column < claim.place.column]
    for score in own:
        others = [
            c
            for c in scores
            if (c.place.row, claim.place.column) in baselines
            and c.number
            and c.place.column == score.place.column
            and c.place.row != claim.place.row
            and c.subject.cls == claim.subject.cls
        ]
        same_run = [c for c in others if c.subject.run == score.subject.run]
        same_data = [c for c in others if c.data == score.data]
        row = claim.place.row
        for other in sorted(same_run or same_data or others, key=lambda c: (c.place.row > row, abs(c.place.row - row))):
            yield score, other
