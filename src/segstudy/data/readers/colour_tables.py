"""Tables of colours next to masks: ``class_dict.csv`` with the columns name, r, g and b, as sets of Kaggle have."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from segstudy.data.declared import IGNORE_NAME
from segstudy.data.proposals import hexadecimal
from segstudy.data.readers.annotated import IGNORED_TITLES
from segstudy.data.readers.patterns import files_below
from segstudy.data.tables import read_table
from segstudy.errors import DataError

COLUMNS = ("name", "r", "g", "b")


def colours_beside(root: Path) -> tuple[dict[str, str], str]:
    """The class of each colour, as ``colours`` has it, and the table that says so; nothing where there is no table.

    Raises
    ------
    DataError
        For a table of which a line is not a name with three numbers from 0 to 255, or that names a colour or a class twice.

    """
    for path in files_below(root):
        if path.lower().endswith(".csv") and path.count("/") <= 1:
            try:
                columns, rows = read_table(root / path, _names_colours)
            except DataError:
                continue  # no table of colours
            if _names_colours(columns):
                lower = [column.lower() for column in columns]
                places = [columns[lower.index(column)] for column in COLUMNS]
                return _colours(root / path, [[row[place] for place in places] for row in rows]), path
    return {}, ""


def _names_colours(columns: Sequence[str]) -> bool:
    return set(COLUMNS) <= {column.lower() for column in columns}


def _colours(path: Path, rows: Sequence[Sequence[str]]) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, row in enumerate(rows, 2):
        if not any(cell.strip() for cell in row):
            continue
        try:
            name, *levels = (cell.strip() for cell in row)
            red, green, blue = (int(level) for level in levels)
        except ValueError:
            raise DataError(f"{path}, line {number}: {row} is not a name with three numbers", "table") from None
        if not name or not all(0 <= level <= 255 for level in (red, green, blue)):
            raise DataError(f"{path}, line {number}: {row} is not a name with three numbers from 0 to 255", "table")
        code = hexadecimal((red, green, blue))
        if code in found:
            raise DataError(
                f"{path}, line {number}: {code} is '{found[code]}' already; correct one of the two", "table"
            )
        found[code] = IGNORE_NAME if name.lower() in IGNORED_TITLES else name
    return found
