"""Tables that users write: CSV in UTF-8 or UTF-16, with the separator by which the first line names the wanted columns."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from segstudy.errors import DataError
from segstudy.files import open_regular

SEPARATORS = (",", ";", "\t", "|")
DECLARED = re.compile(r"sep=(.)\r?\n?", re.IGNORECASE)  # Excel's line about the separator, before that of the columns
Fits = Callable[[Sequence[str]], bool]


def table_text(path: Path, fits: Fits) -> tuple[str, str]:
    """The text of a table from the line of its columns on, and its separator.

    Parameters
    ----------
    path
        The file.
    fits
        Whether columns are those that are asked for. Where no separator gives these, it is the most frequent one.

    Raises
    ------
    DataError
        If the file cannot be read or is no text.

    """
    try:
        text = text_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as CSV ({reason_of(error)})") from None
    if (said := DECLARED.match(text)) is not None:
        return text[said.end() :], said[1]
    head = text.partition("\n")[0].rstrip("\r")
    sure = [separator for separator in SEPARATORS if fits(_cells(head, separator))]
    return text, (sure or sorted(SEPARATORS, key=head.count, reverse=True))[0]


def read_table(path: Path, fits: Fits) -> tuple[list[str], list[dict[str, str]]]:
    """Columns of a table and its rows, each cell by its column; cells that a row lacks are empty. See :func:`table_text`.

    Raises
    ------
    DataError
        If the file cannot be read, or quotes in it are not closed.

    """
    text, separator = table_text(path, fits)
    try:
        rows = [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True) if row]
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from None
    columns = [name.strip() for name in rows[0]] if rows else []
    blank = [""] * len(columns)
    return columns, [dict(zip(columns, [*row, *blank], strict=False)) for row in rows[1:]]


def text_of(path: Path) -> str:
    """Text as it is, line ends and all, in UTF-8 or, as Excel and PowerShell write it, UTF-16."""
    with open_regular(path) as file:
        content = file.read()
    if content[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        return content.decode("utf-16")
    if b"\0" in content[:4] and len(content) % 2 == 0:  # UTF-16 without a mark: letters of ASCII have one byte of zeros
        return content.decode("utf-16-le" if content[1] == 0 else "utf-16-be")
    return content.decode("utf-8-sig")


def reason_of(error: OSError | UnicodeDecodeError) -> str:
    """Why a text cannot be read; of another encoding, where, and what to do."""
    if not isinstance(error, UnicodeDecodeError):
        return str(error)
    line = bytes(error.object[: error.start]).count(b"\n") + 1
    return f"byte 0x{error.object[error.start]:02x} of line {line} is not UTF-8; save it in UTF-8"


def _cells(line: str, separator: str) -> list[str]:
    try:
        return [cell.strip() for cell in next(csv.reader([line], delimiter=separator), [])]
    except csv.Error:
        return []
