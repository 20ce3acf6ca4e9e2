"""Files as grids of text: tables in CSV, TSV, Markdown and LaTeX, each with headings, rows and the lines they are on."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from segstudy.auditing.markup import is_bold, plain
from segstudy.errors import TableError, listing
from segstudy.files import open_text

SEPARATORS = (",", ";", "\t")
RULER = re.compile(r"\s*\|?\s*:?-+:?\s*(?:\|\s*:?-+:?\s*)*\|?\s*")
TABULAR = re.compile(r"\\begin\{(tabular[xy*]?|longtable|tabulary|NiceTabular)\}(.*?)\\end\{\1\}", re.DOTALL)
RULE = re.compile(
    r"\\(?:toprule|midrule|bottomrule|hline|Xhline|specialrule|cmidrule|cline|addlinespace|noalign|endhead|endfirsthead|endfoot)"
    r"(?:\s*\([^()]*\))?(?:\s*\[[^\]]*\])?(?:\s*\{[^{}]*\})*"
)
ACROSS = re.compile(r"\\(?:midrule|hline|Xhline|specialrule)\b")
LEAD = re.compile(rf"(?:\s|{RULE.pattern})*")
SPAN = re.compile(r"\s*\\multicolumn\s*\{\s*(\d{1,3})\s*\}\s*\{(?:[^{}]|\{[^{}]*\})*\}")
ROWS = re.compile(r"\\multirow(?:cell)?\s*(?:\[[^\]]*\])?\s*\{\s*(-?\d{1,3})\s*\}\s*(?:\[[^\]]*\])?\s*\{[^{}]*\}")
BOX = re.compile(r"\\(?:makecell|shortstack|thead)\s*(?:\[[^\]]*\])?\s*\{((?:[^{}]|\{[^{}]*\})*)\}")
TABULAR_ENDS = re.compile(r"\\(?:begin|end)\{(?:tabular[xy*]?|longtable|tabulary|NiceTabular)\}")
COLUMNS = re.compile(r"(?:\[[^\]]*\])?\s*\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}")
NUMERIC = re.compile(r"[\s≈~+\-−–]*[\d.,]*\d")


@dataclass
class Grid:
    """One table of a file: comment lines, then headings and rows of equal length, with their line numbers."""

    comments: list[str]
    cells: list[list[str]]
    lines: list[int]
    caption: str = ""
    remarks: list[str] = field(default_factory=list)
    bold: list[frozenset[int]] = field(default_factory=list)  # of each row of cells, the columns that stand in bold
    by_column: bool = False  # whether ``lines`` are those of columns

    def add(self, texts: list[str], line: int) -> None:
        """Take in one row as it is marked up."""
        self.cells.append([plain(text) for text in texts])
        self.bold.append(frozenset(n for n, text in enumerate(texts) if is_bold(text)))
        self.lines.append(line)

    def turned(self) -> Grid:
        """The table with its rows as columns."""
        bold = [frozenset(n for n, row in enumerate(self.bold) if at in row) for at in range(len(self.cells[0]))]
        cells = [list(column) for column in zip(*self.cells, strict=True)]
        cells[0][0] = "Model"  # the corner says that rows are measures
        remark = "its rows are measures, so they were read as columns"
        remarks = [*self.remarks, remark]
        return Grid(self.comments, cells, self.lines, self.caption, remarks, bold, by_column=True)

    def line(self, row: int, column: int) -> int:
        """The line of the file that a cell is on."""
        return self.lines[column if self.by_column else row]


def read_grids(path: Path) -> list[Grid]:
    """All tables of a file.

    Raises
    ------
    TableError
        If the file cannot be read, or holds no table.

    """
    try:
        with open_text(path) as file:
            text = file.read()
    except OSError as error:
        raise TableError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise TableError(f"{path}: is not text in UTF-8; save the table as CSV in UTF-8") from None
    if "\0" in text:
        raise TableError(f"{path}: is not a CSV; save the table as CSV in UTF-8")
    lines = list(io.StringIO(text, newline=""))  # by line ends alone, where splitlines() knows eight more
    if TABULAR.search(text):
        return list(_latex(_flat(text), path))
    if any("-" in line and "|" in line and RULER.fullmatch(line.rstrip("\r\n")) for line in lines):
        return list(_markdown(lines, path))
    return [_csv(lines, path)]


def _csv(lines: list[str], path: Path) -> Grid:
    first = next((n for n, line in enumerate(lines) if line.strip() and not _is_comment(line)), len(lines))
    head = lines[first] if first < len(lines) else ""
    grid = Grid(_comments(lines[:first]), [], [])
    try:
        reader = csv.reader(
            lines[first:], delimiter=max(SEPARATORS, key=head.count), strict=True, skipinitialspace=True
        )
        for cells in reader:
            if any(cell.strip() for cell in cells):
                grid.add(cells, first + reader.line_num)
    except csv.Error as error:
        raise TableError(f"{path}: is not a CSV ({error})") from None
    if "|" in head and not any(separator in head for separator in SEPARATORS):
        raise TableError(
            f"{path}: its cells are separated by |, but the line of dashes below the headings is missing; "
            "add that line (|---|---|), or write a CSV"
        )
    return _even(grid, path, "; put a cell that holds a separator in quotes")


def _even(grid: Grid, path: Path, advice: str = "") -> Grid:
    """The grid, if it is a table whose rows are as long as its headings."""
    if len(grid.cells) < 2:
        raise TableError(f"{path}: holds no table; the first line must name the columns, and rows follow")
    width = len(grid.cells[0])
    at = zip(grid.lines, grid.cells, strict=True)
    if ragged := [f"line {n} has {len(row)}" for n, row in at if len(row) != width]:
        raise TableError(f"{path}: there are {width} headings, but cells differ: {listing(ragged)}{advice}")
    return grid


def _comments(lines: list[str]) -> list[str]:
    return [line.strip()[1:].strip() for line in lines if _is_comment(line) and line.strip().strip("#").strip()]


def _is_comment(line: str) -> bool:
    """A line of its own, not a heading of row numbers (``#,Model,mIoU``)."""
    return line.lstrip().startswith("#") and line.lstrip()[1:].lstrip()[:1] not in SEPARATORS


def _markdown(lines: list[str], path: Path) -> Iterator[Grid]:
    """Tables with a line of dashes below their headings; lines that begin with # above one are its notes."""
    before = 0
    rulers = [n for n, line in enumerate(lines) if "|" in line and RULER.fullmatch(line.rstrip("\r\n"))]
    rulers = [n for n in rulers if n and "|" in lines[n - 1]]
    for ruler in rulers:
        if ruler < before:
            continue
        grid = Grid(_comments(lines[before : ruler - 1]), [], [])
        grid.add(_cells_of(lines[ruler - 1]), ruler)
        at = ruler + 1
        while at < len(lines) and "|" in lines[at]:
            grid.add(_cells_of(lines[at]), at + 1)
            at += 1
        before = at
        width = len(grid.cells[0])
        grid.cells = [row + [""] * (width - len(row)) for row in grid.cells]  # as GitHub shows it
        yield _even(grid, path, r"; write a | inside a cell as \|")
    if not before:
        raise TableError(f"{path}: holds no table; a line of headings separated by | must be above the dashes")


def _cells_of(line: str) -> list[str]:
    line = line.strip()
    line = line.removeprefix("|")
    line = line[:-1] if line.endswith("|") and not line.endswith(r"\|") else line
    return [cell.replace(r"\|", "|") for cell in re.split(r"(?<!\\)\|", line)]


def _flat(text: str) -> str:
    """LaTeX whose cells are single lines: a ``tabular`` or ``\\makecell`` inside a cell becomes its text, lines kept."""
    parts, depth, at = [], 0, 0
    for match in TABULAR_ENDS.finditer(text):
        opens = match[0].startswith(r"\begin")
        inside = text[at : match.start()]
        parts.append(_one_line(inside) if depth > 1 else inside)
        depth += 1 if opens else -1
        at = match.end()
        if depth + (not opens) < 2:
            parts.append(match[0])
        elif opens and (columns := COLUMNS.match(text, at)):
            at = columns.end()
    return BOX.sub(lambda match: _one_line(match[1]), "".join(parts) + text[at:])


def _one_line(text: str) -> str:
    return re.sub(r"\\\\(?:\s*\[[^\]]*\])?|(?<!\\)&", " ", text)


def _latex(text: str, path: Path) -> Iterator[Grid]:
    """Every ``tabular``; comment lines that hold ``key: value`` above one are its notes."""
    ends = 0
    for match in TABULAR.finditer(text):
        head = text[ends : match.start()]
        notes = [line.strip().lstrip("%# ").strip() for line in head.splitlines() if line.strip()[:1] in ("%", "#")]
        notes = [note for note in notes if ":" in note]
        captions = re.findall(r"\\caption\s*\{((?:[^{}]|\{[^{}]*\})*)\}", head)
        line = text.count("\n", 0, match.start(2)) + 1
        ends = match.end()
        grid = Grid(notes, [], [], plain(captions[-1]) if captions else "")
        _fill_latex(grid, match[2], line)
        yield _even(grid, path)


def _fill_latex(grid: Grid, body: str, line: int) -> None:
    body = re.sub(r"(?<!\\)%[^\n]*", "", body)
    body = re.sub(r"^\s*(?:\[[^\]]*\]\s*)?(?:\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\}\s*){1,2}", _line_ends, body)
    below: dict[int, tuple[int, str]] = {}  # column -> rows that a \multirow still covers, and its text
    rows: list[tuple[int, list[str]]] = []
    ruled = []  # whether a line across the table is above a row
    for part in re.split(r"(\\\\(?:\s*\[[^\]]*\])?|\\tabularnewline)", body):
        start = line + LEAD.match(part)[0].count("\n")  # type: ignore[index]
        line += part.count("\n")
        if part.startswith(("\\\\", "\\tabularnewline")):
            continue
        bare = RULE.sub(" ", part)
        if not bare.strip():
            continue
        rows.append((start, _latex_row(bare, below, [row for _, row in rows])))
        ruled.append(bool(ACROSS.search(part)))
    _lay_out(grid, rows, ruled)


def _lay_out(grid: Grid, rows: list[tuple[int, list[str]]], ruled: list[bool]) -> None:
    """Rows before the first with numbers are headings, one above the other; one that spans all columns names a group.

    Two numbers make a row of numbers; below a line across the table, one is enough.
    """
    width = max((len(row) for _, row in rows), default=0)
    plains = [[plain(cell) for cell in row] for _, row in rows]
    first = next((n for n, row in enumerate(plains) if not _is_across(row)), len(rows))
    few = [1 if any(ruled[first + 1 : n + 1]) else 2 for n in range(len(rows))]
    body_at = next((n for n, row in enumerate(plains) if _holds_numbers(row, few[n])), len(rows))
    names = [n for n, row in enumerate(plains[:body_at]) if not _is_across(row)]
    if not names or body_at == len(rows):
        return
    headings = [_joined([plains[n][column] for n in names if column < len(plains[n])]) for column in range(width)]
    section, sections, body = "", [], []
    for number, (line, row) in enumerate(rows):
        if _is_across(row) and number < names[-1]:
            grid.remarks.append(f"line {line} is a title across the table: {plain(row[0])}")
        elif _is_across(row):
            section = row[0] or section
        elif number >= body_at:
            sections.append(section)
            body.append((line, row + [""] * (width - len(row))))
    grouped = any(sections)
    grid.add([*headings, "Section"] if grouped else headings, rows[names[-1]][0])
    for (line, row), group in zip(body, sections, strict=True):
        grid.add([*row, group] if grouped else row, line)


def _is_across(row: list[str]) -> bool:
    """Whether a row is one cell that spans all columns, as a title or the name of a group of rows does."""
    return len(row) > 1 and len(set(row)) == 1 and not NUMERIC.match(row[0])


def _line_ends(match: re.Match[str]) -> str:
    return "\n" * match[0].count("\n")


def _latex_row(text: str, below: dict[int, tuple[int, str]], above_rows: list[list[str]]) -> list[str]:
    """Cells of one row as marked up, those that span columns repeated, those that span rows filled in below or above."""
    cells: list[str] = []
    for part in re.split(r"(?<!\\)&", text):
        span = SPAN.match(part)
        rest = part[span.end() :] if span else part
        rows = ROWS.search(rest)
        value = (ROWS.sub("", rest) if rows else rest).strip()
        for _ in range(min(int(span[1]) if span else 1, 200)):
            column = len(cells)
            left, above = below.get(column, (0, ""))
            if rows and int(rows[1]) > 1:
                below[column] = int(rows[1]) - 1, value
            elif left:
                below[column] = left - 1, above
                cells.append(value or above)
                continue
            for row in above_rows[int(rows[1]) + 1 :] if rows and int(rows[1]) < -1 else ():
                row[column : column + 1] = [row[column] or value] if column < len(row) else []
            cells.append(value)
    return cells


def _holds_numbers(row: list[str], few: int) -> bool:
    """Whether a row is no heading: as ``few`` of its cells are numbers."""
    numbers = sum(bool(NUMERIC.match(cell)) and not re.search(r"[A-Za-z]{2}", cell) for cell in row)
    return numbers >= max(1, min(few, len(row) - 1))


def _joined(texts: list[str]) -> str:
    return " ".join(dict.fromkeys(text for text in texts if text))
