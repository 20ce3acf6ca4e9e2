"""The report's tables: data frames with the way they are printed, and their writers for CSV, Markdown and LaTeX.

Nothing is computed here but words. A CSV holds every column and row at full precision; the other forms print the
columns of ``formats``, rounded half to even, and only the rows that the frame marks as ``printed``. What a row's scores
rest on stands in the frame's columns ``scored`` and ``choice``.
"""

from __future__ import annotations

import math
import re
import textwrap
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from string import ascii_lowercase
from typing import Any, NamedTuple

import pandas as pd
from tabulate import LATEX_ESCAPE_RULES, tabulate

from segstudy.report.contract import choice_words, number_words, scored_words
from segstudy.report.figure import VISIBLE
from segstudy.report.wording import value_words

GAP = "–"


RunKey = tuple[str, int, str, str]  # experiment, seed, test_data, split: one evaluation


class Source(NamedTuple):
    """The rows of a printed score in ``results.csv``: evaluations, measure, level and class."""

    runs: tuple[RunKey, ...]
    level: str
    measure: str
    label: str


@dataclass(frozen=True)
class Format:
    """One printed column of a frame: text, or a number with ``places`` decimals.

    Attributes
    ----------
    key, label
        The frame's column, and its heading.
    places, signed, suffix
        Decimals (None: text), whether a plus is printed, and what follows the number.
    bounds
        Columns of an interval that is printed behind the number.
    mark
        Column of a word that is printed behind all that.
    level
        Of a score, the level it is taken at; empty for what is none.
    scored, choice, runs
        Where it was scored, what chose the epoch, and the evaluations behind it, where that is not what the row says.
    measure
        The measure that the score is of, or is a difference of, where that is not ``key``.

    """

    key: str
    label: str
    places: int | None = None
    signed: bool = False
    suffix: str = ""
    bounds: tuple[str, str] | None = None
    mark: str = ""
    level: str = ""
    scored: str = ""
    choice: str = ""
    runs: tuple[RunKey, ...] = ()
    measure: str = ""


@dataclass(frozen=True)
class Cell:
    """One printed value.

    ``exact`` is the value at full precision, ``number`` what it sorts by (None: by its text), ``contract`` what a score
    rests on, ``source`` where it stands in ``results.csv``.
    """

    text: str
    exact: str = ""
    number: float | None = None
    contract: str = ""
    source: Source | None = None


@dataclass(frozen=True)
class Table:
    """A frame, what it is called, and how its columns are printed.

    Attributes
    ----------
    slug, heading
        What it is about: in its file's name, and in its title.
    caption, frame, formats
        The words below it, its rows, and its printed columns.
    order
        Where it stands among the numbered tables of all sections: the paper's come first, as in the paper. Tables of
        equal order share a number.
    number
        Given by :func:`numbered`, with a letter where several tables share it: ``6a``.

    """

    slug: str
    heading: str
    caption: str
    frame: pd.DataFrame
    formats: tuple[Format, ...]
    order: tuple[int, ...]
    number: int = 0
    letter: str = ""

    @property
    def name(self) -> str:
        """The name of its files."""
        return f"{self.number}-{self.slug}"

    @property
    def title(self) -> str:
        """Number and heading."""
        return f"Table {self.number}{self.letter}: {self.heading}"

    def rows(self) -> list[list[Cell]]:
        """Printed cells, row by row."""
        frame = self.frame[self.frame["printed"]] if "printed" in self.frame else self.frame
        return [[format_cell(row, column) for column in self.formats] for row in frame.to_dict("records")]


def numbered(tables: Sequence[Table]) -> list[Table]:
    """The tables in their order, each with its number."""
    orders = sorted({table.order for table in tables})
    tables = sorted(tables, key=lambda table: table.order)
    letters = letters_of([table.order for table in tables])
    return [
        replace(table, number=orders.index(table.order) + 1, letter=letter)
        for table, letter in zip(tables, letters, strict=True)
    ]


def letters_of(numbers: Sequence[Hashable]) -> list[str]:
    """The attributes that distinguish equal numbers.

    >>> letters_of([1, 2, 2, 2])
    ['', 'a', 'b', 'c']
    """
    total, seen = Counter(numbers), Counter[Hashable]()
    found = []
    for number in numbers:
        at = seen[number]
        seen[number] += 1
        further = ascii_lowercase[at // 26 - 1] if at >= 26 else ""
        found.append(further + ascii_lowercase[at % 26] if total[number] > 1 else "")
    return found


SCORES = (
    Format("miou", "mIoU", 4, level="dataset"),
    Format("mdice", "mDice", 4, level="dataset"),
    Format("pixel_accuracy", "Pixel acc.", 4, level="dataset"),
    Format("mean_class_accuracy", "Mean class acc.", 4, level="dataset"),
)
ACCURACIES = (
    "Pixel acc. is the share of all pixels that are right (the review calls it mPA); "
    "Mean class acc. is the share of each class's pixels that were found, averaged over classes."
)


def format_cell(row: dict[Any, Any], column: Format) -> Cell:
    """Print one value; a missing one is a dash."""
    value = row.get(column.key)
    if column.places is None:
        missing = value is None or value != value or value == ""
        return Cell(GAP if missing else visible(str(value)))
    if value is None or math.isnan(value):
        return Cell(GAP)
    text, exact = number_text(value, column.places, column.signed), repr(float(value))
    spread = row.get(f"{column.key}_sd", math.nan)
    if column.bounds is not None:
        low, high = (float(row[key]) for key in column.bounds)
        text += f" [{GAP}]" if math.isnan(low) else f" {interval_text(low, high, column.places, column.signed)}"
        exact += "" if math.isnan(low) else f" [{low!r}, {high!r}]"
    elif not math.isnan(spread):
        text, exact = f"{text} ± {spread:.{column.places}f}", f"{exact} ± {float(spread)!r}"
    text += column.suffix + (f" {row[column.mark]}" if column.mark and row[column.mark] else "")
    rests_on = column.scored or row.get("scored", ""), column.choice or row.get("choice", "")
    if not column.level:
        return Cell(text, exact, float(value))
    label = str(row.get("class", "")) if column.level == "class" else ""
    level = "class" if column.level == "class" else "dataset"
    runs = column.runs or row.get(f"{column.key}_runs", row.get("runs", ()))
    source = Source(runs, level, column.measure or column.key, label)
    return Cell(text, exact, float(value), number_words(column.level, *rests_on), source)


def visible(text: str) -> str:
    """Text on one line, in which control characters are shown and not obeyed.

    >>> visible("a" + chr(27) + "[31m")
    'a␛[31m'
    """
    return " ".join(text.split("\n")).translate(VISIBLE)


def number_text(value: float, places: int = 4, signed: bool = False) -> str:
    """A number as tables print it, with a true minus; a dash for none.

    >>> number_text(-0.25, 2, True), number_text(float("nan"))
    ('−0.25', '–')
    """
    if math.isnan(value):
        return GAP
    text = f"{value:{'+' if signed else ''}.{places}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-+")


def interval_text(low: float, high: float, places: int = 4, signed: bool = False) -> str:
    """Both bounds in brackets, on one line; a dash where there is no interval.

    >>> interval_text(0.5, 0.75, 2)
    '[0.50,\xa00.75]'
    """
    if math.isnan(low) or math.isnan(high):
        return GAP
    return f"[{number_text(low, places, signed)},\N{NO-BREAK SPACE}{number_text(high, places, signed)}]"


def with_contract(frame: pd.DataFrame, rows: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """``frame`` with what each of its rows rests on, from the rows of the score frame that it stands for."""
    runs: Any = [runs_of(each) for each in rows]
    return frame.assign(scored=list(map(scored_words, rows)), choice=list(map(choice_words, rows)), runs=runs)


def runs_of(rows: pd.DataFrame) -> tuple[RunKey, ...]:
    """The evaluations in rows of the score frame."""
    keys = rows[["experiment", "seed", "test_data", "split"]].drop_duplicates()
    return tuple((str(name), int(seed), str(on), str(split)) for name, seed, on, split in keys.to_numpy().tolist())


def state_column(frame: pd.DataFrame) -> tuple[Format, ...]:
    """A column for states, wherever not everything is done."""
    return () if (frame["state"] == "done").all() else (Format("state", "State"),)


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """Experiments with ``model``, the architecture as people write it."""
    return frame.assign(model=frame["arch"].map(lambda arch: value_words("model.arch", arch)))


def scored_columns(frame: pd.DataFrame, front: Sequence[str]) -> pd.DataFrame:
    """The columns in ``front``, then everything from the scores on."""
    columns = list(frame.columns)
    last = [column for column in columns[columns.index("seeds") :] if column not in front]
    return frame[[*front, "state", *last]]


def mark_confounded(frame: pd.DataFrame) -> list[str]:
    """The change of each variant, marked if it changes more than one thing."""
    return [f"{v} (confounded)" if c else v for v, c in zip(frame["variant"], frame["confounded"], strict=True)]


def csv_text(table: Table) -> str:
    """All columns and rows at full precision."""
    return table.frame[[key for key in table.frame if str(key).split("_")[-1] != "runs"]].to_csv(
        index=False, lineterminator="\n"
    )


def _aligned(table: Table, rows: list[list[str]], style: str) -> str:
    """Printed cells under their headings; numbers to the right."""
    align = ["left" if column.places is None else "right" for column in table.formats]
    headers = [column.label for column in table.formats]
    return tabulate(rows, headers, tablefmt=style, colalign=align if rows else None, disable_numparse=True)


def markdown_text(table: Table) -> str:
    """A heading, a pipe table, the caption."""
    rows = [[escape_markdown(cell.text) for cell in row] for row in table.rows()]
    headed = replace(table, formats=tuple(replace(f, label=escape_markdown(f.label)) for f in table.formats))
    title, caption = escape_markdown(table.title), escape_markdown(table.caption)
    return f"### {title}\n\n{_aligned(headed, rows, 'pipe')}\n\n{caption}\n"


def escape_markdown(text: str) -> str:
    r"""Text that Markdown shows as it stands; brackets are safe without a link's parenthesis.

    >>> escape_markdown("a|b <i>")
    'a\\|b \\<i>'
    """
    return re.sub(r"([\\`*<|]|\](?=\())", r"\\\1", text)


# Characters beyond ASCII that occur in tables and captions, as LaTeX writes them.
TEX: dict[str, str | int | None] = {
    "\N{NO-BREAK SPACE}": "~",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "“": "``",
    "”": "''",
}


def escape_tex(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

    >>> escape_tex("a_b 5%")
    'a\\_b 5\\%'
    """
    escaped = "".join(LATEX_ESCAPE_RULES.get(character, character) for character in text)
    return escaped.translate(str.maketrans(TEX))


PAGE_WIDTH, PAGE_ROWS = 125, 46  # characters across a page at \small, set a little smaller, and lines of one float
GAP_WIDTH = 1.8  # between two columns, in characters
CELL_WIDTH, HEADING_WIDTH = 36, 11  # characters after which text in a cell or a heading wraps


def latex_text(table: Table) -> str:
    r"""``table`` floats for the ``booktabs`` package; ``\label`` of the first is ``tab:<name>``.

    A table that is wider than a page is set in parts below one another, each with the columns that name its rows; one
    that is taller goes on in further floats.
    """
    rows = [[cell.text for cell in row] for row in table.rows()] or [[GAP] * len(table.formats)]
    widths = [_column_width(table, rows, k) for k in range(len(table.formats))]
    floats: list[list[str]] = []
    used = PAGE_ROWS
    for first, last in _row_groups(rows, widths):
        for columns in _column_groups(table, widths):
            lines = 4 + sum(_row_lines(row, widths, columns) for row in rows[first:last])
            if used + lines > PAGE_ROWS:
                floats.append([])
                used = 0
            floats[-1].append(_tabular(table, rows[first:last], columns, widths))
            used += lines
    captions = [f"\\caption{{{escape_tex(table.heading)}. {escape_tex(table.caption)}}}\n  \\label{{tab:{table.name}}}"]
    again = f"\\addtocounter{{table}}{{-1}}\\caption{{{escape_tex(table.heading)} (continued).}}"
    captions += [again] * (len(floats) - 1)
    return "% \\usepackage{booktabs}\n" + "".join(
        "\\begin{table}\n  \\centering\n  \\small\n  \\setlength{\\tabcolsep}{4pt}\n"
        f"  {caption}\n" + "\n\\par\\medskip\n".join(bodies) + "\n\\end{table}\n"
        for caption, bodies in zip(captions, floats, strict=True)
    )


def _column_width(table: Table, rows: Sequence[Sequence[str]], k: int) -> int:
    """Characters of column ``k``: of its widest cell, where text may wrap between words."""
    cells, column = [row[k] for row in rows], table.formats[k]
    words = [word for text in cells for word in _words(text)]
    widest = max(map(len, cells))
    if column.places is None:
        widest = min(widest, max(CELL_WIDTH, *map(len, words)))
    return max(widest, *(len(line) for line in textwrap.wrap(column.label, HEADING_WIDTH, break_long_words=False)), 1)


def _words(text: str) -> list[str]:
    return re.findall(r"[^ -]+-?", text) or [""]


def _column_groups(table: Table, widths: Sequence[int]) -> list[list[int]]:
    """Columns that fit a page together, about equally wide; each group begins with those that name a row.

    These are the columns up to the first text.
    """
    first = next((k for k, column in enumerate(table.formats) if column.places is None), 0) + 1
    names, rest = list(range(first)), list(range(first, len(widths)))
    room = max(PAGE_WIDTH - sum(widths[k] + GAP_WIDTH for k in names), PAGE_WIDTH / 4)
    needed = sum(widths[k] + GAP_WIDTH for k in rest)
    share = needed / max(1, math.ceil(needed / room))
    groups, used = [list[int]()], 0.0
    for k in rest:
        width = widths[k] + GAP_WIDTH
        if groups[-1] and used + width / 2 > share:
            groups.append([])
            used = 0.0
        groups[-1].append(k)
        used += width
    return [[*names, *group] for group in groups]


def _row_groups(rows: Sequence[Sequence[str]], widths: Sequence[int]) -> list[tuple[int, int]]:
    """First row and the one after the last of each float."""
    groups, used = [(0, 0)], 0
    for at, row in enumerate(rows):
        lines = _row_lines(row, widths, range(len(widths)))
        if used and used + lines > PAGE_ROWS - 4:
            groups.append((at, at))
            used = 0
        groups[-1], used = (groups[-1][0], at + 1), used + lines
    return groups


def _row_lines(row: Sequence[str], widths: Sequence[int], columns: Iterable[int]) -> int:
    return max(-(-len(row[k]) // widths[k]) for k in columns)


def _tabular(table: Table, rows: Sequence[Sequence[str]], columns: Sequence[int], widths: Sequence[int]) -> str:
    """Rows and headings of some columns; headings and long texts in several lines."""
    sides = ["l" if table.formats[k].places is None else "r" for k in columns]
    headings = []
    for k, side in zip(columns, sides, strict=True):
        label = table.formats[k].label.replace(" %", "\N{NO-BREAK SPACE}%")
        lines = textwrap.wrap(label, max(HEADING_WIDTH, widths[k]), break_long_words=False) or [""]
        text = r" \\ ".join(map(escape_tex, lines))
        headings.append(text if len(lines) == 1 else f"\\shortstack[{side}]{{{text}}}")

    def cell(text: str, width: int) -> str:
        wraps = len(text) > width
        return f"\\parbox[t]{{{1.15 * width:.0f}ex}}{{\\raggedright {escape_tex(text)}}}" if wraps else escape_tex(text)

    body = [" & ".join(cell(row[k], widths[k]) for k in columns) + r" \\" for row in rows]
    head = [f"\\begin{{tabular}}{{{''.join(sides)}}}", "\\toprule", " & ".join(headings) + r" \\", "\\midrule"]
    return "\n".join([*head, *body, "\\bottomrule", "\\end{tabular}"])
