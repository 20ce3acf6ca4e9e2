"""A published table: a file with what is said about it in comment lines, read to headings, rows and numbers.

Comment lines above the headings (``# key: value``) say what a caption says: see :data:`NOTES`. Whatever is not understood
is remarked on, never dropped in silence.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

from segstudy.auditing.class_columns import classes_of_mean, measure_of_columns
from segstudy.auditing.classes import NUM_CLASSES, benchmark_of
from segstudy.auditing.grids import Grid, read_grids
from segstudy.auditing.headings import KEYS, Heading, complete, fold, parse_heading, spread_of, summary_of
from segstudy.auditing.printed import GAPS, Number, parse_number
from segstudy.errors import TableError, listing, nearest

PUBLISHED = Path(__file__).parents[1] / "published"
NOTE = re.compile(r"(?P<key>[^:]+?)\s*:\s*(?P<value>\S.*)")
NUMBERED = re.compile(r"(?:[a-z]+[ _#.-]*|#)?\d+", re.IGNORECASE)  # 3, fold 3, #3
COLUMN_NOTE = re.compile(r"column\s+(?P<heading>\S.*?)\s*:\s*(?P<read_as>[^:]*\S)", re.IGNORECASE)

# What a comment line may say of the whole table, besides "column HEADING: HEADING TO READ IT AS".
NOTES = {
    "title": "what the table is called",
    "caption": "free text",
    "classes": "how many classes the means are over, or their names with commas between; if 2, every pixel is of one of them",
    "level": "dataset (over the pixels of all images at once, the default) or image (means over images)",
    "unit": "percent or fraction, where neither headings nor cells say it",
    "measure": "what columns hold that are headed by a class's name",
}
RECALLS = ("class_accuracy", "mean_class_accuracy")
NOTE_KEYS = ("run", "model", "dataset", "train", "test", "class", "variant", "backbone")  # the same in every row


@dataclass(frozen=True)
class Row:
    """One row: what it says of itself (``keys``), and its number in each column, None where there is none.

    ``asides`` are numbers in columns that are not recognised: they may tell rows apart, but say nothing of a run.
    A row of means or standard deviations of others names in ``sums_up`` the key that says so; its deviations are no scores.
    """

    label: str
    keys: dict[str, str]
    asides: dict[str, str]
    numbers: tuple[Number | None, ...]
    bold: frozenset[int] = frozenset()  # columns that stand in bold
    sums_up: str = ""
    with_deviation: bool = False  # of a row of means, whether what follows ± is said to be the standard deviation
    deviations: tuple[Number | None, ...] = ()

    def without(self, key: str) -> dict[str, str]:
        """What the row says of itself besides ``key``."""
        return {name: text for name, text in self.keys.items() if name != key}


@dataclass(frozen=True)
class Table:
    """One table as printed; ``keys`` hold for every row, ``remarks`` say what was left out."""

    name: str
    caption: str
    headings: tuple[Heading, ...]
    rows: tuple[Row, ...]
    keys: dict[str, str] = field(default_factory=dict)
    num_classes: int | None = None
    classes: tuple[str, ...] = ()
    pooled: bool | None = None  # whether scores are over all pixels at once, if that is said
    remarks: tuple[str, ...] = ()
    benchmark: str = ""  # whose classes head its columns


@dataclass
class _Notes:
    """Notes from comment lines, while they are collected."""

    said: dict[str, str] = field(default_factory=dict)
    columns: dict[str, str] = field(default_factory=dict)


def published_tables() -> dict[str, list[Path]]:
    """The publications that come with the package, by name, each with its tables; tables before figures and text."""
    folders = sorted(path for path in PUBLISHED.iterdir() if path.is_dir())
    return {
        folder.name: sorted(folder.glob("*.csv"), key=lambda path: (not path.stem.startswith("table"), path.stem))
        for folder in folders
    }


def read_tables(names: Sequence[str], notes: Sequence[str] = ()) -> list[Table]:
    """Read files in CSV, Markdown or LaTeX, or a packaged publication by its name.

    Parameters
    ----------
    names
        Paths, or names such as ``review``.
    notes
        Lines such as ``classes: 19`` or ``column FPS: ignore``, for every table, before what the tables' own comment
        lines say.

    Raises
    ------
    TableError
        Naming files that cannot be read, cells that hold no number, and notes that fit nothing.

    """
    given = _given_notes(notes)
    packaged = published_tables()
    paths: list[Path] = []
    for name in names:
        try:
            is_file, is_folder = Path(name).is_file(), Path(name).is_dir() and bool(name)
        except OSError as error:  # a name that is too long, say
            raise TableError(f"{name}: cannot be read ({error.strerror})") from None
        if is_file:
            paths.append(Path(name))
        elif name in packaged:
            paths += packaged[name]
        elif is_folder:
            raise TableError(f"{name}: is a folder; name the CSV files in it")
        else:
            raise TableError(
                f"{name or repr(name)}: no such file, and no publication of that name comes with segstudy "
                f"({listing(packaged)}){nearest(name, packaged)}"
            )
    tables, used = [], set()
    sources = []
    for path in dict.fromkeys(paths):
        for number, grid in enumerate(read_grids(path), 1):
            name = path.stem if number == 1 else f"{path.stem} {number}"
            table, fitting = _read_table(path, grid, name, given)
            tables.append(table)
            sources.append(path if number == 1 else f"{path} {number}")
            used |= fitting
    if unused := [heading for heading in given.columns if heading not in used]:
        raise TableError(f"column {listing(unused)}: no table has such a heading")
    twice = {name for name, number in Counter(table.name for table in tables).items() if number > 1}
    return [
        replace(table, name=str(source)) if table.name in twice else table
        for table, source in zip(tables, sources, strict=True)
    ]


def _given_notes(lines: Sequence[str]) -> _Notes:
    notes = _Notes()
    for line in lines:
        if not _note(line, notes):
            key = line.partition(":")[0].strip()
            allowed = (*NOTES, *NOTE_KEYS, "column HEADING")
            raise TableError(f"note '{line}': write 'key: value', keys {listing(allowed, 20)}{nearest(key, allowed)}")
    return notes


def _note(line: str, notes: _Notes) -> bool:
    """Take in one line; False if it says nothing that is understood."""
    if column := COLUMN_NOTE.fullmatch(line.strip()):
        notes.columns[column["heading"]] = column["read_as"].strip()
        return True
    match = NOTE.fullmatch(line.strip())
    if match is None or match["key"].casefold() not in (*NOTES, *NOTE_KEYS):
        return False
    notes.said[match["key"].casefold()] = match["value"].strip()
    return True


def _read_table(path: Path, grid: Grid, name: str, given: _Notes) -> tuple[Table, set[str]]:
    """The table, and which of the given notes on columns fit one of its headings."""
    own = _Notes()
    grid = grid.turned() if _has_measures_as_rows(grid) else grid
    remarks = [f"comment not understood, left out: {text}" for text in grid.comments if not _note(text, own)]
    said = {**own.said, **given.said}
    read_as, fitting = _columns(grid.cells[0], own.columns, given.columns, path)
    headings = [parse_heading(text, read_as.get(index)) for index, text in enumerate(grid.cells[0])]
    classes = _class_names(said, headings, grid.cells[1:], path)
    headings = complete(list(classes.headings), classes.spellings, classes.measure)
    _check_headings(headings, path)
    cells = _numbers(headings, grid, path)
    headings, cells, spreads = _spread_columns(headings, cells, grid.cells[1:])
    headings, cells = _with_asides(headings, cells)
    columns = _in_one_unit(headings, cells, said.get("unit", ""))
    rows = [
        Row(
            *_identity(headings[: len(texts)], texts, f"row {index + 1}"),
            tuple(column[index] for column in columns),
            grid.bold[index + 1],
        )
        for index, texts in enumerate(grid.cells[1:])
    ]
    rows = [_summing_up(row, rows) for row in rows]
    deviations = [f"row '{row.label}' is read as standard deviations" for row in rows if row.deviations]
    table = Table(
        said.get("title", name),
        said.get("caption", grid.caption),
        tuple(headings),
        tuple(rows),
        {key: said[key] for key in NOTE_KEYS if key in said},
        classes.number,
        classes.names,
        said["level"] == "dataset" if "level" in said else None,
        (*remarks, *grid.remarks, *classes.remarks, *spreads, *deviations, *_left_out(headings, columns)),
        classes.benchmark,
    )
    return table, fitting


def _has_measures_as_rows(grid: Grid) -> bool:
    """Whether no column is headed by a measure, and most rows are."""
    above = [parse_heading(text).kind in ("value", "difference", "relative") for text in grid.cells[0]]
    first = [parse_heading(row[0]).kind in ("value", "difference", "relative") for row in grid.cells[1:]]
    return not any(above) and sum(first) > len(first) / 2


class _Classes(NamedTuple):
    """The classes of a table, as it or a benchmark's list names them."""

    number: int | None
    names: tuple[str, ...]
    spellings: Mapping[str, str]  # folded heading -> name
    measure: str  # what columns hold that are headed by a class alone
    headings: Sequence[Heading]  # with the classes that are next to their mean
    benchmark: str = ""
    remarks: tuple[str, ...] = ()


def _class_names(said: dict[str, str], headings: list[Heading], rows: list[list[str]], path: Path) -> _Classes:
    """The classes of a table: those that are said, of the benchmark whose names head its columns, or next to a mean."""
    for key, allowed in (("level", ("dataset", "image")), ("unit", ("percent", "fraction"))):
        if said.get(key, allowed[0]) not in allowed:
            raise TableError(f"{path}: {key} '{said[key]}': must be {' or '.join(allowed)}")
    number, names = _classes(said.get("classes", ""), path)
    measure = parse_heading(said["measure"]).name if "measure" in said else ""
    if "measure" in said and not measure:
        raise TableError(f"{path}: measure '{said['measure']}' is not known; such as IoU, Dice, mIoU, mPA")
    unsettled = {at: each.text for at, each in enumerate(headings) if each.kind in ("unknown", "key")}
    benchmark, spellings = ("", {fold(name): name for name in names}) if names else benchmark_of(unsettled.values())
    headed = {at: spellings[fold(text)] for at, text in unsettled.items() if fold(text) in spellings}
    whole = benchmark == "Pascal VOC" or (benchmark and len(set(headed.values())) == NUM_CLASSES[benchmark])
    if not names and not whole:
        found = classes_of_mean(headings, rows, number, measure)
        if found.names or not headed:
            return _Classes(number, found.names, {}, measure, found.headings, "", found.remarks)
    if not headed:
        return _Classes(number or len(names) or None, names, spellings, measure, headings)
    remarks = []
    if benchmark:
        names = tuple(dict.fromkeys(headed.values()))
        remarks.append(f"columns headed by classes of {benchmark}: {listing(names, 30)}")
        number = number or (NUM_CLASSES[benchmark] if whole else None)
    number = number or (None if benchmark else len(names))
    if not measure:
        measure, remark = _measure_of(headings, rows, list(headed), number)
        remarks.append(remark)
    return _Classes(number, names, spellings, measure, headings, benchmark, tuple(remarks))


def _measure_of(
    headings: list[Heading], rows: list[list[str]], headed: list[int], number: int | None
) -> tuple[str, str]:
    """The measure of columns headed by a class alone, "" where no mean fits the numbers; and a remark."""
    found = measure_of_columns(headings, rows, headed)
    if found == "" and number == len(headed):
        return "", (
            "columns headed by a class alone are not checked: no mean is theirs in any row; say 'measure: ...' if they hold "
            "the measure of one"
        )
    means = {each.name for each in headings if each.kind == "value"}
    measure = found or ("dice" if "mdice" in means and "miou" not in means else "iou")
    shown = {"dice": "Dice", "iou": "IoU", "f1": "F1", "class_accuracy": "recall"}.get(measure, measure)
    return measure, f"columns headed by a class alone are read as {shown}; say 'measure: ...' if they are not"


def _classes(text: str, path: Path) -> tuple[int | None, tuple[str, ...]]:
    if not text:
        return None, ()
    if text.isascii() and text.isdigit() and 2 <= int(text[:6]) <= 1000:
        return int(text), ()
    names = tuple(name.strip() for name in text.split(","))
    if len(names) == 1 or not all(names) or len(set(map(fold, names))) < len(names):
        raise TableError(
            f"{path}: classes '{text}': write their number, 2 to 1000, or their names, each once, separated by commas"
        )
    return len(names), names


def _columns(
    texts: list[str], own: dict[str, str], given: dict[str, str], path: Path
) -> tuple[dict[int, str], set[str]]:
    """How to read headings, by position; notes name a heading or, by its number from 1, a column."""
    read_as: dict[int, str] = {}
    fitting = set()
    for source in (own, given):
        for heading, meant in source.items():
            found = [index for index, text in enumerate(texts) if text == heading]
            found = found or [index for index, text in enumerate(texts) if fold(text) == fold(heading) != ""]
            if not found and heading.isascii() and heading.isdigit() and 1 <= int(heading[:6]) <= len(texts):
                found = [int(heading) - 1]
            if not found and source is own:
                raise TableError(
                    f"{path}: column '{heading}': no such heading{nearest(heading, texts)}; {listing(texts)}"
                )
            read_as |= dict.fromkeys(found, meant)
            fitting |= {heading} if found else set()
    return read_as, fitting


def _check_headings(headings: list[Heading], path: Path) -> None:
    if all(heading.kind in ("unknown", "ignored", "number") for heading in headings):
        raise TableError(
            f"{path}: no column is recognised in {listing(h.text for h in headings)}; known are measures (mIoU, IoU, Dice, "
            f"mPA ...), their differences (Drop mIoU, ΔIoU ...) and {listing(KEYS, 30)}; "
            "say what a column is with 'column HEADING: IoU'"
        )
    numbers = [(h.kind, h.name, h.of) for h in headings if h.kind in ("value", "difference", "relative")]
    for repeated in (key for key, number in Counter(numbers).items() if number > 1):
        at = [n for n, h in enumerate(headings, 1) if (h.kind, h.name, h.of) == repeated]
        if repeated[1] in RECALLS and len({fold(headings[n - 1].text) for n in at}) == len(at):
            continue  # one number under two names, as in tables of MMSegmentation
        raise TableError(
            f"{path}: columns {listing(at)} are all '{headings[at[0] - 1].text}'; tell them apart, as in "
            f"'column {at[1]}: Kvasir mIoU', or leave one out with 'column {at[1]}: ignore'"
        )


def _numbers(headings: list[Heading], grid: Grid, path: Path) -> list[list[Number | None]]:
    """Printed numbers, column by column; all cells that hold none are named together."""
    faults = []
    columns: list[list[Number | None]] = []
    rows = grid.cells[1:]
    for index, heading in enumerate(headings):
        columns.append([None] * len(rows))
        if heading.kind not in ("value", "difference", "relative"):
            continue
        for at, row in enumerate(rows):
            try:
                columns[-1][at] = parse_number(row[index])
            except ValueError as error:
                faults.append(f"{path}:{grid.line(at + 1, index)}: {heading.text}: {error}")
    if faults:
        more = f"\n... and {len(faults) - 8} more" if len(faults) > 8 else ""
        advice = "\nwrite - for a gap, or leave the column out with 'column HEADING: ignore'"
        raise TableError("\n".join(faults[:8]) + more + advice)
    return columns


def _spread_columns(
    headings: list[Heading], columns: list[list[Number | None]], rows: list[list[str]]
) -> tuple[list[Heading], list[list[Number | None]], list[str]]:
    """Standard deviations in a column of their own ("SD", "mIoU std"), as the spreads of the scores that they belong to."""
    headings, columns, remarks = list(headings), list(columns), []
    for at, heading in enumerate(headings):
        of = spread_of(heading.text) if heading.kind == "unknown" else None
        if of is None:
            continue
        left = [n for n in range(at) if headings[n].kind == "value"]
        named = [n for n, other in enumerate(headings) if other.kind == "value" and fold(other.text) == of]
        for owner in (named if of else left[-1:])[:1]:
            try:
                spreads = [parse_number(row[at]) for row in rows]
            except ValueError:
                break
            columns[owner] = [
                replace(score, averaged=True, spread=spread.low) if score and spread else score
                for score, spread in zip(columns[owner], spreads, strict=True)
            ]
            headings[at] = replace(heading, kind="number")
            remarks.append(f"{heading.text} is read as the standard deviation of {headings[owner].text}")
    return headings, columns, remarks


def _with_asides(
    headings: list[Heading], columns: list[list[Number | None]]
) -> tuple[list[Heading], list[list[Number | None]]]:
    """Signed numbers after scores, ``81.5 (+1.4)``, as columns of differences at the end."""
    headings, columns = list(headings), list(columns)
    for heading, column in list(zip(headings, columns, strict=True)):
        if heading.kind == "value" and any(number and number.aside for number in column):
            text = f"{heading.text} (in brackets)"
            headings.append(Heading(text, "difference", heading.name, heading.of, percent=heading.percent, aside=True))
            columns.append([parse_number(number.aside) if number and number.aside else None for number in column])
    return headings, columns


def _in_one_unit(headings: list[Heading], columns: list[list[Number | None]], unit: str) -> list[list[Number | None]]:
    """All numbers as fractions of one; where nothing says whether a column is in percent, its numbers tell."""
    percent = _scores_in_percent(headings, columns, unit)
    neighbours = list(percent.values())
    for index, heading in enumerate(headings):
        if heading.kind not in ("difference", "relative"):
            continue
        if heading.percent or (unit and heading.kind != "relative"):
            percent[index] = heading.percent or unit == "percent"
        else:
            large = any(abs(number.high) > 1 for number in columns[index] if number and not number.mark)
            percent[index] = large or (heading.kind == "difference" and all(neighbours) and bool(neighbours))
    return [
        [number and number.as_fraction(bool(number.mark) or percent[index]) for number in column]
        if index in percent
        else column
        for index, column in enumerate(columns)
    ]


def _scores_in_percent(headings: list[Heading], columns: list[list[Number | None]], unit: str) -> dict[int, bool]:
    """Whether each column of scores is in percent; one whose numbers leave it open is so if another's numbers are."""
    scores = [index for index, heading in enumerate(headings) if heading.kind == "value"]
    said = {n: headings[n].percent or unit == "percent" for n in scores if headings[n].percent or unit}
    looks = {
        n: _looks_percent([each for each in columns[n] if each and not each.mark]) for n in scores if n not in said
    }
    any_percent = any(looks.values())
    return said | {n: any_percent if look is None else look for n, look in looks.items()}


def _looks_percent(numbers: Sequence[Number]) -> bool | None:
    """Whether unmarked scores are in percent: most of them above one, or printed as short as one that is far above.

    None if most are above one but none above two: 1.2 may be a faulty share as well as 1.2 percent.
    """
    numbers = [number for number in numbers if number.low]
    large = [number for number in numbers if number.high > 1]
    long = [number for number in numbers if number.high <= 1 and number.places >= 3]  # no percentage is printed so
    if not large or len(long) > len(large):
        return False
    largest, most = max(number.high for number in large), len(large) > len(numbers) / 2
    return None if most and largest <= 2 else most or largest > 10


def _identity(headings: list[Heading], texts: list[str], number: str) -> tuple[str, dict[str, str], dict[str, str]]:
    """A row's name in messages, its text, and the numbers of columns that are not recognised."""
    said = [(h, text) for h, text in zip(headings, texts, strict=True) if text.casefold() not in GAPS - {"none"}]
    keys: dict[str, str] = {}
    asides: dict[str, str] = {}
    for heading, text in said:
        if heading.kind in ("key", "unknown"):
            into = asides if heading.kind == "unknown" and _is_number(text) else keys
            name = heading.name or heading.text.casefold()
            while name in into:  # two columns of one heading
                name += "'"
            into[name] = text
    named = [(h.text, text) for h, text in said if h.kind == "key"]
    named = named or [(h.text, text) for h, text in said if h.kind in ("unknown", "number")]
    if len(named) == 1 and not re.search(r"[^\W\d_]", named[0][1]):
        return " ".join(part for part in named[0] if part), keys, asides
    return ", ".join(text for _, text in named) or number, keys, asides


def _summing_up(row: Row, rows: Sequence[Row]) -> Row:
    """The row, with what it says of being a mean, or standard deviations, of others; those are not among its scores.

    A network may be called SD: standard deviations stand next to a row of means, or below rows that are numbered.
    """
    for key, text in row.keys.items():
        mean, deviation = summary_of(text)
        if mean:
            return replace(row, sums_up=key, with_deviation=deviation)
        others = [other for other in rows if other is not row and other.without(key) == row.without(key)]
        texts = [other.keys.get(key, other.asides.get(key, "")) for other in others]
        known = any(summary_of(each)[0] for each in texts) or (len(texts) > 1 and all(map(NUMBERED.fullmatch, texts)))
        if deviation and known:
            return replace(row, sums_up=key, numbers=(None,) * len(row.numbers), deviations=row.numbers)
    return row


def _is_number(text: str) -> bool:
    try:
        return parse_number(text) is not None
    except ValueError:
        return False


def _left_out(headings: list[Heading], columns: list[list[Number | None]]) -> list[str]:
    remarks = []
    if unknown := [heading.text or "(no heading)" for heading in headings if heading.kind == "unknown"]:
        remarks.append(f"columns not recognised, so not checked: {listing(unknown, 20)}")
    if ignored := [heading.text for heading in headings if heading.kind == "ignored"]:
        remarks.append(f"columns left out on request: {listing(ignored, 20)}")
    if asides := [heading.text.removesuffix(" (in brackets)") for heading in headings if heading.aside]:
        remarks.append(f"signed numbers after scores are read as differences to another row: {listing(asides, 20)}")
    return remarks
