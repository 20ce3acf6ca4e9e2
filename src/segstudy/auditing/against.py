"""A published table compared with a study's own results: matched to the printed digits, different, or missing."""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

from segstudy.auditing.claims import Claim, Claims
from segstudy.auditing.headings import fold
from segstudy.auditing.printed import CUT_OFF, Interval, Number, Severity, Verdict
from segstudy.auditing.subjects import OWN
from segstudy.errors import StoreError, TableError, listing, nearest
from segstudy.files import open_text

# A study's names for measures that it calls something else; the first is meant unless the second fits.
OURS = {"accuracy": ("pixel_accuracy", "mean_class_accuracy"), "f1": ("dice",), "mf1": ("mdice",)}
NEEDED = {
    "experiment",
    "train_data",
    "test_data",
    "split",
    "selected_on",
    "class",
    "measure",
    "level",
    "resolution",
    "value",
}
TINY = Fraction(1, 10**12)  # what a tie loses in binary


class Contract(NamedTuple):
    """The origin of a study's number: which split, what chose the epoch, at which size it was scored."""

    split: str
    selected_on: str
    resolution: str


@dataclass(frozen=True)
class Reproduction:
    """One printed score and the study's: ``ours`` is the mean over seeds, ``difference`` is ours minus theirs.

    ``ours`` and ``difference`` are fractions of one, None where the study has no such number; ``note`` then says why.
    Of numbers that differ, ``severity`` is ``rounding`` where ours prints like theirs once its digits are cut off.
    """

    table: str
    row: str
    column: str
    experiment: str
    test_data: str
    measure: str
    printed: str
    ours: float | None
    difference: float | None
    status: Literal["matched", "different", "missing"]
    severity: Severity | None
    num_seeds: int
    split: str
    selected_on: str
    resolution: str
    note: str


@dataclass(frozen=True)
class Results:
    """A study's scores of whole splits and of classes: values of all seeds, by experiment, data, class, measure, contract."""

    values: Mapping[tuple[str, str, str, str], Mapping[Contract, list[float]]]
    own: Mapping[str, str]  # experiment -> the data that it was trained on
    crossed: Mapping[str, list[str]]  # experiment -> other data that it was tested on
    classes: Mapping[str, list[str]]  # data -> names of its classes, in order


def read_results(path: Path) -> Results:
    """Read a report's ``results.csv``.

    Raises
    ------
    StoreError
        If there is none yet, or it is damaged.

    """
    try:
        with open_text(path) as file:
            reader = csv.DictReader(file)
            if missing := NEEDED - set(reader.fieldnames or ()):
                raise ValueError(f"there is no column {listing(sorted(missing))}")
            return results_of(_complete(reader))
    except FileNotFoundError:
        raise StoreError(f"{path}: no results yet; run the study, or name its folder with --out") from None
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, csv.Error) as error:
        raise StoreError(f"{path}: is damaged ({error}); write it again with segstudy report") from None


def _complete(reader: csv.DictReader[str]) -> Iterator[dict[str, str]]:
    for row in reader:
        if None in row or None in row.values():
            raise ValueError(f"line {reader.line_num} has too many cells or too few")
        yield row


def results_of(rows: Iterable[Mapping[Any, Any]]) -> Results:
    """Scores of whole splits and of classes from rows of a report's long form."""
    values: dict[tuple[str, str, str, str], dict[Contract, list[float]]] = defaultdict(lambda: defaultdict(list))
    own: dict[str, str] = {}
    crossed: dict[str, list[str]] = defaultdict(list)
    classes: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        experiment, trained, tested, cls = (row[key] for key in ("experiment", "train_data", "test_data", "class"))
        if row["level"] not in ("dataset", "class"):
            continue
        contract = Contract(row["split"], row["selected_on"], row["resolution"])
        values[experiment, tested, cls, row["measure"]][contract].append(
            float("nan" if row["value"] == "" else row["value"])
        )
        if trained == tested:
            own[experiment] = tested
        elif tested not in crossed[experiment]:
            crossed[experiment].append(tested)
        if cls and cls not in classes[tested]:
            classes[tested].append(cls)
    return Results(values, own, crossed, classes)


def compare_with_study(
    claims: Claims, experiments: Sequence[str], results: Results, matches: Sequence[str] = ()
) -> list[Reproduction]:
    """Hold every printed score against the study's.

    Parameters
    ----------
    claims
        The table's.
    experiments
        Names of the study's experiments.
    matches
        ``ROW=EXPERIMENT`` or ``ROW=EXPERIMENT@DATA`` for rows that do not carry an experiment's name. ROW is what a row
        is called, with ``TABLE: `` before it if need be, or what a column is of.

    Raises
    ------
    TableError
        If a match fits no row or names no experiment, or if no row is an experiment of the study.

    """
    names = {fold(name): name for name in experiments}
    scores = [claim for claim in claims.all if claim.kind == "value" and claim.number]
    chosen = _matched(scores, matches, experiments)
    found: list[Reproduction] = []
    for claim in scores:
        experiment, data = chosen.get(claim, (names.get(fold(claim.run_name), ""), ""))
        found += _compare(claim, experiment, data, results)
    if not any(comparison.experiment for comparison in found):
        rows = listing(dict.fromkeys(claim.row for claim in scores))
        raise TableError(
            f"no row is one of the study's experiments ({listing(experiments)}); the rows are {rows}; "
            "say which is which with --match 'ROW=EXPERIMENT'"
        )
    return found


def _matched(scores: list[Claim], matches: Sequence[str], experiments: Sequence[str]) -> dict[Claim, tuple[str, str]]:
    """Claims whose experiment, and perhaps data, were given."""
    chosen: dict[Claim, tuple[str, str]] = {}
    for match in matches:
        row, equals, target = (part.strip() for part in match.rpartition("="))
        experiment, _, data = target.partition("@")
        fitting = [claim for claim in scores if fold(row) in map(fold, _names(claim))]
        if not equals or not row:
            raise TableError(f"--match '{match}': write ROW=EXPERIMENT")
        if experiment not in experiments:
            raise TableError(
                f"--match '{match}': no experiment is named '{experiment}'{nearest(experiment, experiments)}"
            )
        if not fitting:
            rows = list(dict.fromkeys(name for claim in scores for name in _names(claim)))
            raise TableError(f"--match '{match}': no row is called '{row}'{nearest(row, rows)}; {listing(rows)}")
        chosen |= dict.fromkeys(fitting, (experiment, data))
    return chosen


def _names(claim: Claim) -> Iterable[str]:
    """Possible names of a claim's row, or of its column's run."""
    yield claim.row
    yield f"{claim.table}: {claim.row}"
    if claim.heading.of:
        yield claim.heading.of


def _compare(claim: Claim, experiment: str, data: str, results: Results) -> Iterator[Reproduction]:
    """One comparison for each contract that the study has the score under."""
    tested, note = _tested_on(claim, experiment, data, results)
    cls = _class_name(claim, tested, results)
    keys = [(experiment, tested, cls, measure) for measure in OURS.get(claim.measure, (claim.measure,))]
    known = [(key[3], results.values[key]) for key in keys if key in results.values]
    if not known:
        unknown = cls and cls not in results.classes.get(tested, [])
        why = "no results yet" if experiment not in results.own else "no such class" if unknown else "no such score"
        yield _comparison(claim, experiment, tested, claim.measure, None, note or why)
    for contract in known[0][1] if known else ():
        judged = [_comparison(claim, experiment, tested, name, (contract, by[contract]), note) for name, by in known]
        yield min(judged, key=_closeness)


def _closeness(comparison: Reproduction) -> int:
    """0 for what matches; then what differs by rounding, what differs, what is missing."""
    return 3 if comparison.status == "missing" else Verdict(comparison.severity).rank


def _tested_on(claim: Claim, experiment: str, data: str, results: Results) -> tuple[str, str]:
    """The study's name for the data that a row was tested on, and what had to be assumed or is missing."""
    if not experiment:
        return "", "no experiment of the study; say which with --match"
    if data:
        return data, ""
    if claim.subject.test == OWN:
        return results.own.get(experiment, ""), ""
    others = results.crossed.get(experiment, [])
    named = [other for other in others if fold(other) == fold(claim.data)]
    if named or len(others) == 1:
        tested = (named or others)[0]
        return tested, "" if named else f"'{claim.data}' is read as {tested}"
    hint = (
        f"say which of {listing(others)} with --match 'ROW={experiment}@DATA'" if others else "not evaluated elsewhere"
    )
    return "", f"tested on '{claim.data}': {hint}"


def _class_name(claim: Claim, tested: str, results: Results) -> str:
    """The study's name for a class: the same, or the one of that index."""
    names = results.classes.get(tested, [])
    index = int(claim.subject.cls) if claim.subject.cls.isdecimal() else len(names)
    by_index = names[index] if index < len(names) else claim.subject.cls
    return next((name for name in names if fold(name) == claim.subject.cls), by_index)


def _comparison(
    claim: Claim, experiment: str, tested: str, measure: str, ours: tuple[Contract, list[float]] | None, note: str
) -> Reproduction:
    contract, values = ours or (Contract("", "", ""), [])
    value = fmean(values) if values else math.nan
    missing = math.isnan(value)
    verdict = Verdict(None) if missing else _judge(Fraction(value), claim.printed)
    return Reproduction(
        claim.table,
        claim.row,
        claim.heading.text,
        experiment,
        tested,
        measure,
        claim.printed.text,
        None if missing else value,
        None if missing else value - float(claim.printed.low + claim.printed.high) / 2,
        "missing" if missing else "different" if verdict.severity else "matched",
        verdict.severity,
        len(values),
        *contract,
        "; ".join(part for part in (note, verdict.because) if part),
    )


def _judge(value: Fraction, printed: Number) -> Verdict:
    """Whether a value is printed so if it is rounded, a tie either way; digits that are cut off are no match."""

    def holds(interval: Interval) -> bool:
        return interval[0] - TINY <= value <= interval[1] + TINY

    if holds(printed.interval("rounded")):
        return Verdict(None)
    return Verdict("rounding", CUT_OFF) if holds(printed.interval("truncated")) else Verdict("contradiction")


def differing(comparisons: Sequence[Reproduction]) -> list[Reproduction]:
    """Printed scores that are none of the study's, under whichever contract: their first comparisons."""
    groups: dict[tuple[str, str, str], list[Reproduction]] = defaultdict(list)
    for each in comparisons:
        groups[each.table, each.row, each.column].append(each)
    return [
        group[0]
        for group in groups.values()
        if any(each.status == "different" for each in group) and all(each.status != "matched" for each in group)
    ]


def as_table(comparisons: Sequence[Reproduction]) -> str:
    """Comparisons for people, row by row."""
    lines: list[str] = []
    heading = ""
    for each in comparisons:
        if heading != (heading := f"{each.table}, {each.row}"):
            lines.append(f"{heading}: {each.experiment or '-'}")
        ours = "" if each.ours is None or each.difference is None else f"ours {each.ours:.4f} ({each.difference:+.4f})"
        where = f"{each.test_data} {each.split}, {each.resolution} size" if each.split else ""
        seeds = f"mean of {each.num_seeds} seeds" if each.num_seeds > 1 else ""
        rest = "; ".join(part for part in (ours, where, seeds, each.note) if part)
        lines.append(f"  {each.status:10} {each.column:12} {each.printed:>8}  {rest}")
    matched, different, missing = (
        sum(each.status == status for each in comparisons) for status in ("matched", "different", "missing")
    )
    rounding = sum(each.severity == "rounding" for each in comparisons)
    of_rounding = f" ({rounding} of rounding)" if rounding else ""
    return "\n".join([*lines, f"{matched} matched, {different} different{of_rounding}, {missing} missing"])
