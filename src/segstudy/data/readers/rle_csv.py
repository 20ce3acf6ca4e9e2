"""A CSV of run lengths in the format of Kaggle's competitions, with a folder of images.

A row is one object: the image's name, ``start length start length ...`` and, for more than one class, the class. Names may
end with the class after ``_`` (``0011165.jpg_Fish``). Pixels are counted from 1 down the columns, which ``order`` and ``first``
change. Empty runs are no object. Later rows cover earlier ones.
"""

from __future__ import annotations

import contextlib
import csv
import io
import warnings
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from segstudy.data.core import Dataset, Sample, open_image
from segstudy.data.quality.faults import Fault
from segstudy.data.readers import Reader
from segstudy.data.readers.annotated import (
    AnnotationOptions,
    Drawing,
    Listed,
    Pictures,
    Thing,
    annotation_dataset,
    sample_of,
    split_of,
)
from segstudy.data.readers.patterns import files_below
from segstudy.data.readers.shapes import Size, starts_and_lengths
from segstudy.data.tables import table_text
from segstudy.errors import DataError, listing

RUNS = ("encodedpixels", "encoded_pixels", "rle_mask", "rle", "segmentation", "mask_rle", "annotation", "pixels")
NAMES = (
    "imageid",
    "image_id",
    "img",
    "image",
    "id",
    "image_label",
    "imageid_classid",
    "filename",
    "file_name",
    "img_id",
)
CLASSES = ("classid", "class_id", "class", "label", "class_name", "category", "category_id", "attributeid")
EMPTY = ("", "-1")
MAX_LOOKED_AT = 40  # images
MIN_JOINED = 10  # runs that touch one in the next line, from which the other order is said
MIN_SHORT, MIN_SHORT_TIMES = 10, 3  # runs that end one pixel before an edge, and times those that end two before
MIN_SPILT = 5  # runs that leave one pixel in the next line, and times those that do so counted from the other number
Drawn = tuple[Size, list[str]]  # of an image, and its objects' runs


class Options(AnnotationOptions):
    """How the table is to be read.

    ``csv`` is the table where several are there. ``order`` is ``column`` for runs down the columns or ``row`` for along the
    rows, ``first`` the number of the first pixel. Which titles count: see :class:`AnnotationOptions`.
    """

    csv: str | None = Field(None, min_length=1)
    order: Literal["column", "row"] = Field("column")
    first: Literal[0, 1] = Field(1)


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read a table of run lengths; without a column of classes they are background and object.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds the table and, at any depth, the images.
    options
        Which table and how it counts; where no folder says a split, fraction and seed of the division.

    Raises
    ------
    DataError
        If no table has the columns. Images that are not there are the dataset's ``faults``.

    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    table = _table(root, options.csv)
    columns, rows = _rows(table)
    pictures, listed = Pictures(root), Listed()
    objects: dict[str, list[tuple[str, str]]] = {}
    for row in rows:
        image, title = _image_and_title(row, columns, pictures)
        objects.setdefault(image, []).append((title, (row[columns["runs"]] or "").strip()))
    words = {PurePosixPath(table.name).stem.lower()}
    things: dict[str, list[Thing]] = {}
    objects_of: dict[str, list[tuple[str, str]]] = {}
    for number, (image_name, found) in enumerate(objects.items(), 1):
        path = pictures.find(image_name, None, words)
        if path is None:
            text = f"names the image '{image_name}', which is missing; copy it again"
            listed.faults.append(Fault("missing", text, table, sample=f"row {number}"))
            continue
        sample = sample_of(root, path, table)
        if listed.add(sample, split_of(path.parent.relative_to(root).as_posix())):
            objects_of[sample.id] = found
            things[sample.id] = [
                Thing(title, "runs", partial(starts_and_lengths, text, order=options.order, first=options.first))
                for title, text in found
                if text not in EMPTY
            ]
    titles = sorted({title for found in objects.values() for title, _ in found})
    texts = {
        sample.id: [text for _, text in objects_of[sample.id] if text not in EMPTY] for sample, _ in listed.samples
    }
    _refuse_other_counting(
        table, looked_at := _spread([(each.image, texts[each.id]) for each, _ in listed.samples]), options
    )
    listed.faults += _short_of_an_edge(table, looked_at, options)

    def drawing_of(sample: Sample) -> Drawing:
        return Drawing(_size(sample.image), things[sample.id])

    return annotation_dataset(name, root, listed, titles, drawing_of, options, pictures)


def _refuse_other_counting(table: Path, objects: Sequence[Drawn], options: Options) -> None:
    """Refuse runs that plainly run along the other lines, or count from the other number, than was declared.

    A run of an object mostly touches one in the next line, laid along the right lines. Counted from the wrong number, runs of
    objects at one edge leave a pixel in the next line; counted from the right one, they end where lines do.
    """
    other: Literal["column", "row"] = "row" if options.order == "column" else "column"
    joined = dict.fromkeys((options.order, other), 0)
    first = 1 - options.first
    spilt = dict.fromkeys((options.first, first), 0)
    for size, texts in objects:
        lines = {"column": size[1], "row": size[0]}
        for runs in map(_starts_and_ends, texts):
            for order in joined if size[0] != size[1] else ():
                joined[order] += _num_joined(runs, lines[order])
            for number in spilt:
                spilt[number] += _num_spilt(runs - number, lines[options.order])
    if joined[other] >= MIN_JOINED and joined[options.order] < joined[other] / 2:
        text = (
            f"{table}: laid along {other}s, {joined[other]} runs touch one in the next line, and along {options.order}s"
        )
        raise DataError(f"{text} {joined[options.order]}; write `order: {other}`", "encoding")
    if spilt[options.first] >= MIN_SPILT and spilt[options.first] > MIN_SPILT * spilt[first]:
        text = f"{table}: {spilt[options.first]} runs leave a pixel in the next line, counted from {options.first}"
        raise DataError(f"{text}, and {spilt[first]} counted from {first}; write `first: {first}`", "encoding")


def _short_of_an_edge(table: Path, objects: Sequence[Drawn], options: Options) -> list[Fault]:
    """A warning of runs that end one pixel before the edge at which objects are cut off, and never at it.

    Counted from 1 instead of 0, runs lie a pixel too early, so that none ends where a line does; counted from 0 instead of 1, none
    begins where a line does.
    """
    places = np.zeros(3, np.int64)  # runs whose last pixel, or first one, is so far from the line's last, or first
    for size, texts in objects:
        line = size[1] if options.order == "column" else size[0]
        for runs in map(_starts_and_ends, texts):
            starts, ends = runs[runs[:, 1] - runs[:, 0] > 1].T - options.first
            away = -ends % line if options.first else starts % line
            places += np.bincount(away[away < len(places)], minlength=len(places))
    if places[0] or places[1] < max(MIN_SHORT, MIN_SHORT_TIMES * places[2]):
        return []
    first, where = (
        1 - options.first,
        "end one pixel before a line does" if options.first else "begin one pixel after a line does",
    )
    text = f"{places[1]} runs {where} and none with it, as where pixels count from {first}; write first: {first} if that is so"
    return [Fault("table", text, table, severity="warning")]


def _spread(objects: Sequence[tuple[Path, list[str]]]) -> list[Drawn]:
    """Size of the image and texts of the objects of some images that show any; those that cannot be read are left out."""
    shown = [each for each in objects if each[1]]
    chosen = shown[:: max(len(shown) // MAX_LOOKED_AT, 1)][:MAX_LOOKED_AT]
    return [(size, texts) for path, texts in chosen if (size := _size_or_none(path)) is not None]


def _size_or_none(path: Path) -> Size | None:
    with contextlib.suppress(DataError):  # said where the image is read
        return _size(path)
    return None


def _starts_and_ends(text: str) -> NDArray[np.int64]:
    """Runs (n, 2) as they are numbered, the end left out; none of damaged text, which is said where it is drawn.

    >>> _starts_and_ends("8 4 19 3").tolist()
    [[8, 12], [19, 22]]
    """
    with contextlib.suppress(ValueError, OverflowError):
        numbers = np.array(text.split(), np.int64)
        starts, lengths = numbers[::2], numbers[1::2]
        if len(starts) == len(lengths) and (lengths > 0).all() and (np.diff(starts) > 0).all():
            return np.stack([starts, starts + lengths], axis=1)
    return np.empty((0, 2), np.int64)


def _num_joined(runs: NDArray[np.int64], line: int) -> int:
    """Runs that touch one in the next line, of so many pixels.

    >>> _num_joined(_starts_and_ends("8 4 19 3 40 2"), 10)
    1
    """
    starts, ends = runs.T
    after = np.searchsorted(ends, starts + line, side="right")
    inside = after < len(runs)
    return int((starts[after[inside]] < ends[inside] + line).sum())


def _num_spilt(runs: NDArray[np.int64], line: int) -> int:
    """Runs, numbered from 0, no longer than a line of so many pixels, that leave a single pixel in another line than the rest.

    >>> _num_spilt(_starts_and_ends("9 4 18 3"), 10), _num_spilt(_starts_and_ends("6 4 10 3"), 10)
    (2, 0)
    """
    starts, ends = runs[(runs[:, 1] - runs[:, 0] > 1) & (runs[:, 1] - runs[:, 0] <= line)].T
    across = starts // line != (ends - 1) // line
    return int((across & ((ends % line == 1) | (starts % line == line - 1))).sum())


def _size(path: Path) -> Size:
    with contextlib.suppress(OSError, ValueError, SyntaxError, Image.DecompressionBombError), Image.open(path) as image:
        return image.size
    return open_image(path).size  # says what is wrong


def _table(root: Path, given: str | None) -> Path:
    if given is not None:
        return root / given
    found = [path for path in files_below(root) if path.lower().endswith((".csv", ".tsv")) and _has_runs(root / path)]
    found = [path for path in found if "submission" not in path.lower()] or found
    if len(found) > 1:
        text = " or ".join(f"csv: {path}" for path in found[:4])
        raise DataError(f"{root}: holds several tables of run lengths; add {text} to the entry")
    if not found:
        raise DataError(f"{root}: holds no CSV with a column of run lengths ({listing(RUNS)})")
    return root / found[0]


def _has_runs(path: Path) -> bool:
    with contextlib.suppress(DataError):
        return _are_runs(_header(path)[2])
    return False


def _are_runs(header: Sequence[str]) -> bool:
    return {"names", "runs"} <= _columns(header).keys()


def _header(path: Path) -> tuple[str, str, list[str]]:
    """Text of a table, its separator, and its columns."""
    text, separator = table_text(path, _are_runs)
    try:
        return text, separator, next(csv.reader([text.partition("\n")[0].rstrip("\r")], delimiter=separator), [])
    except csv.Error as error:
        raise DataError(f"{path}: cannot be read as CSV ({error})") from None


def _columns(header: Sequence[str]) -> dict[str, str]:
    """Find the columns of runs, names and classes."""
    found = {}
    for role, known in (("runs", RUNS), ("names", NAMES), ("classes", CLASSES)):
        at = [name for key in known for name in header if name.strip().lower() == key]
        if at:
            found[role] = at[0]
    return found


def _rows(table: Path) -> tuple[dict[str, str], list[dict[str, str]]]:
    text, separator, header = _header(table)
    columns = _columns(header)
    if missing := {"names": NAMES, "runs": RUNS}.keys() - columns.keys():
        kind = {"names": f"images' names ({listing(NAMES)})", "runs": f"run lengths ({listing(RUNS)})"}[min(missing)]
        raise DataError(f"{table}: has no column of {kind}; it has {listing(header) or 'none'}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", pd.errors.ParserWarning)  # rows longer than the header would be cut
            frame = pd.read_csv(io.StringIO(text), sep=separator, dtype=str, index_col=False).fillna("")
    except (OSError, ValueError, OverflowError, MemoryError, pd.errors.ParserWarning) as error:
        raise DataError(f"{table}: cannot be read as CSV ({error})") from None
    kept = sorted(set(columns.values()))
    if frame.empty:
        raise DataError(f"{table}: has no rows")
    return columns, [{str(key): str(value) for key, value in row.items()} for row in frame[kept].to_dict("records")]


def _image_and_title(row: Mapping[str, str], columns: Mapping[str, str], pictures: Pictures) -> tuple[str, str]:
    """The image of a row, and the title of its object."""
    name = row[columns["names"]].strip()
    if "classes" in columns:
        return name, row[columns["classes"]].strip()
    start, mark, title = name.rpartition("_")
    if mark and title and PurePosixPath(start).stem in pictures.by_stem and PurePosixPath(start).suffix:
        return start, title
    return name, "object"


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError, OSError):
        return f"{_table(root, None).relative_to(root)} holds run lengths"
    return ""


READER = Reader(Options, read, _recognise)
