"""Supervisely: the Person dataset's mirror with a table of files, and Supervisely's own project format.

Layout (a), the review's: ``df.csv`` with the columns ``images`` and ``masks``, paths relative to
``supervisely_person_clean_2667_img/supervisely_person_clean_2667_img/`` (or that folder once, or the root). Masks are
PNG, 0 and 255. The table's rows, in file order, are divided 80/20; other columns are not looked at.

Layout (b), a project: ``meta.json`` and, for each dataset of the project, ``<dataset>/img/<image>`` with
``<dataset>/ann/<image>.json`` (once ``<image without suffix>.json``); nested datasets in ``<dataset>/datasets/<nested>/``.
Datasets named train, val and test are the splits. Objects
are bitmaps or polygons, drawn in order, later ones over earlier; corners of polygons are rounded down, as Supervisely does.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import re
import unicodedata
import zlib
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

import numpy as np
from PIL import Image

from segstudy.arrays import Labels
from segstudy.data.core import IGNORE, IMAGE_SUFFIXES, Dataset, Sample, divide
from segstudy.data.declared import MAX_CLASSES
from segstudy.data.encoding import threshold_labels
from segstudy.data.quality.faults import Fault, refuse
from segstudy.data.quality.pairing import Listing, Neighbours, bare_names, list_images, lone_files
from segstudy.data.readers import Reader
from segstudy.data.readers.annotated import refuse_spellings
from segstudy.data.readers.patterns import SPLIT_OF, files_below
from segstudy.data.readers.shapes import MAX_PIXELS, floored_polygon
from segstudy.data.readers.values import default_palette
from segstudy.data.tables import read_table
from segstudy.errors import DataError, listing, nearest
from segstudy.files import read_text
from segstudy.schema import ReaderOptions

NESTED = "datasets"  # the folder between a dataset and those nested in it
INNER = "supervisely_person_clean_2667_img"
PERSON = ("background", "person")
IGNORED_TITLES = ("neutral", "ignore")
MAX_PNG_BYTES = 64 * 2**20  # one bitmap inflated; a 100-megapixel mask of noise takes 12 MB


class Options(ReaderOptions):
    """Supervisely's layouts have no options of their own."""


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read Supervisely Person's mirror or a Supervisely project, divided into ``train`` and ``test`` unless its datasets are.

    In a project whose class titles all contain "person" the classes are background and person; else they are
    background and the titles in the order of ``meta.json``. Objects titled neutral or ignore are ignored pixels.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds ``df.csv`` or ``meta.json``, or the one above it.
    options
        Fraction and seed of the division, as ``test_size`` and
        ``random_state`` of scikit-learn's ``train_test_split``, over the rows of ``df.csv`` or
        over the project's datasets and images sorted by name.

    Raises
    ------
    DataError
        If the table or ``meta.json`` is malformed, or nothing is left of the samples that they name. Single rows that
        cannot be used, and lone or missing files, are the dataset's ``faults``.
    """
    start = _find(root)
    if start.name == "df.csv":
        samples, faults = _csv_samples(start)
        splits = _divided(samples, options.test_fraction, options.split_seed)
        palette = default_palette(2)
        return Dataset(name, PERSON, palette, splits, threshold_labels, by_fraction=True, faults=tuple(faults))
    classes, label_of, palette = _read_classes(start)
    samples, faults = _project_samples(start.parent)
    named = _named_splits(samples)
    splits = named or _divided(samples, options.test_fraction, options.split_seed)
    labels_of = partial(annotation_labels, label_of=label_of)
    reading = str(sorted(label_of.items()))
    faults += _spellings(start, label_of if len(set(label_of.values())) == len(label_of) else classes)
    return Dataset(
        name, classes, palette, splits, labels_of, reading=reading, by_fraction=not named, faults=tuple(faults)
    )


def annotation_labels(sample: Sample, label_of: Mapping[str, int]) -> Labels:
    """Labels drawn from an annotation file; ``label_of`` gives each class title's label.

    Raises
    ------
    DataError
        Naming the file and the object, if the annotation is malformed or names an unknown class or shape.
    """
    path = sample.mask
    annotation = _load_json(path)
    try:
        width, height = annotation["size"]["width"], annotation["size"]["height"]
        objects = list(annotation["objects"])
    except (KeyError, TypeError, AttributeError) as error:
        text = f"{path}: a Supervisely annotation has 'size' and 'objects' ({_reason(error)})"
        raise DataError(text, "annotation") from None
    if type(width) is not int or type(height) is not int or min(width, height) < 1 or width * height > MAX_PIXELS:
        raise DataError(f"{path}: the size {width!r} x {height!r} is not that of an image", "annotation")
    canvas = Image.new("L", (width, height), 0)
    for number, thing in enumerate(objects, 1):
        try:
            _draw(canvas, thing, label_of)
        except (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError) as error:
            raise DataError(f"{path}: object {number} is malformed ({_reason(error)})", "annotation") from None
    return np.asarray(canvas, dtype=np.uint8)


def _divided(samples: Sequence[Sample], test_fraction: float, split_seed: int) -> dict[str, tuple[Sample, ...]]:
    train, test = divide(samples, test_fraction, split_seed)
    return {"train": train, "test": test}


def _named_splits(samples: Sequence[Sample]) -> dict[str, tuple[Sample, ...]]:
    """Samples by the split that their project's dataset is named for; none unless all are, and one is not train."""
    splits: dict[str, tuple[Sample, ...]] = {}
    for sample in samples:
        split = SPLIT_OF.get(sample.id.partition("/")[0].lower(), "")
        splits[split] = (*splits.get(split, ()), sample)
    return splits if "" not in splits and {"train"} < splits.keys() else {}


def _spellings(meta: Path, titles: Iterable[str]) -> list[Fault]:
    """A warning of titles that differ only in capitals, spaces and marks, which are classes of their own."""
    try:
        refuse_spellings(meta, titles)
    except DataError as error:
        text = str(error).removeprefix(f"{meta}: ").partition(". If each")[0]
        advice = "they are different classes, so rename one if they are not meant to be"
        return [Fault("annotation", f"{text}; {advice}", meta, severity="warning")]
    return []


def _find(root: Path) -> Path:
    """The ``df.csv`` or ``meta.json`` to start from, in ``root`` or in exactly one folder below it."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    for folders in ([root], sorted(path for path in root.iterdir() if path.is_dir())):
        starts = [start for folder in folders if (start := _start(folder))]
        if len(starts) > 1:
            names = listing(start.relative_to(root) for start in starts)
            raise DataError(f"{root}: holds several datasets ({names}); name the folder of one as root")
        if starts:
            return starts[0]
    raise DataError(
        f"{root}: expected df.csv (the Supervisely Person mirror) or meta.json (a Supervisely project) "
        "here or in exactly one folder below"
    )


def _start(folder: Path) -> Path | None:
    return next((folder / name for name in ("df.csv", "meta.json") if (folder / name).is_file()), None)


# Layout (a): a table of files.


def _csv_samples(table: Path) -> tuple[list[Sample], list[Fault]]:
    """Samples in the order of the rows, and a fault for each row without a usable pair of files."""
    rows, faults = _csv_rows(table)
    outer = table.parent
    bases = [base for base in (outer / INNER / INNER, outer / INNER, outer) if base.is_dir()]
    base = next((base for base in bases if any((base / image).is_file() for _, image, _ in rows)), bases[0])
    faults += _crossed(table, rows) + _unnamed(table, base, rows)
    samples: dict[str, Sample] = {}
    neighbours = Neighbours()
    for number, image, mask in rows:
        sample = Sample(_sample_id(image), base / image, base / mask)
        missing = [path for path in (sample.image, sample.mask) if not path.is_file()]
        for path in missing:
            text = f"row {number} of {table.name} names it, but it is missing{neighbours(path)}"
            lone = "image-without-mask" if path == sample.mask else "mask-without-image"
            kind = "missing" if len(missing) == 2 else lone
            faults.append(Fault(kind, f"{text}; copy it again or remove the row", path, sample=sample.id))
        if sample.id in samples:
            # The same image in two rows could stand in train and in test.
            text = f"row {number}: '{sample.id}' is also in an earlier row; remove one of the two"
            faults.append(Fault("table", text, table, sample=sample.id))
        elif not missing:
            samples[sample.id] = sample
    if not samples:
        refuse(f"{table}: names no pair of files", faults)
    return list(samples.values()), faults


def _crossed(table: Path, rows: Sequence[tuple[int, str, str]]) -> list[Fault]:
    """Faults: rows whose mask has the name of another row's image, and masks that several rows name."""
    faults = []
    images_of: dict[str, dict[str, int]] = {}
    for number, image, mask in rows:
        images_of.setdefault(mask, {}).setdefault(image, number)
    for mask, numbers in images_of.items():
        if len(numbers) > 1:
            text = f"rows {listing(numbers.values(), 5)} all name the mask '{mask}'; give each image its own"
            faults.append(Fault("shared-mask", text, table))
    images, masks = (
        [_plain(name) for name in bare_names(paths)] for paths in ([row[1] for row in rows], [row[2] for row in rows])
    )
    place_of = {name: number for name, (number, _, _) in zip(images, rows, strict=True)}
    if len(place_of) < len(rows) or len(set(images) & set(masks)) < len(rows) / 2:
        return faults  # the names of images and masks have nothing to do with each other
    for (number, image, mask), own, other in zip(rows, images, masks, strict=True):
        if own != other and other in place_of:
            text = f"row {number}: the mask '{mask}' of '{image}' is named like the image of row {place_of[other]}"
            faults.append(Fault("crossed", f"{text}; put images and masks of one name into one row", table))
    return faults


def _plain(name: str) -> str:
    """Equal for names that differ in case, in how accents are stored, and in zeros in front of a number.

    >>> _plain("P007"), _plain("p7")
    ('p7', 'p7')
    """
    return re.sub(r"0*(\d+)", r"\1", unicodedata.normalize("NFC", name).casefold())


def _unnamed(table: Path, base: Path, rows: Sequence[tuple[int, str, str]]) -> list[Fault]:
    """A warning of pictures that lie with those of the rows and that no row names."""
    named = {path for _, image, mask in rows for path in (image, mask)}
    folders = {PurePosixPath(image).parent for _, image, _ in rows} - {PurePosixPath(mask).parent for *_, mask in rows}
    left = [
        path
        for path in files_below(base)
        if PurePosixPath(path).parent in folders and path.lower().endswith(IMAGE_SUFFIXES) and path not in named
    ]
    if not left:
        return []
    text = f"{len(left)} pictures stand in no row and are left out: {listing(left, 3)}; add rows, or move them away"
    return [Fault("left-out", text, table, severity="warning")]


def _sample_id(image: str) -> str:
    return PurePosixPath(image).with_suffix("").as_posix().removeprefix("images/")


def _csv_rows(table: Path) -> tuple[list[tuple[int, str, str]], list[Fault]]:
    """Number, image and mask of each row, as relative paths with forward slashes, and faults of rows without them."""
    columns, rows = read_table(table, {"images", "masks"}.issubset)
    if absent := {"images", "masks"} - set(columns):
        raise DataError(f"{table}: lacks the column {listing(sorted(absent))}; it has {listing(columns) or 'none'}")
    if not rows:
        raise DataError(f"{table}: has no rows")
    pairs, faults = [], []
    for number, row in enumerate(rows, 1):
        try:
            pairs.append((number, _inside(row["images"]), _inside(row["masks"])))
        except ValueError as error:
            faults.append(Fault("table", f"row {number}: {error}; correct the row or take it out", table))
    return pairs, faults


def _inside(given: str) -> str:
    """Refuse paths outside the dataset's folder: a foreign table must not decide which files are opened."""
    if not given.strip():
        raise ValueError("names no image or no mask")
    path = PurePosixPath(given.strip().replace("\\", "/"))
    if path.is_absolute() or PureWindowsPath(given).drive or ".." in path.parts or "\0" in given or not path.name:
        raise ValueError(f"{given!r} is not a file inside the dataset's folder")
    return path.as_posix()


# Layout (b): a project.


def _load_json(path: Path) -> Any:
    try:
        return json.loads(read_text(path))
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing", "missing") from None
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})", "annotation") from None


def _read_classes(meta: Path) -> tuple[tuple[str, ...], dict[str, int], tuple[tuple[int, int, int], ...]]:
    """Classes, the label of each title, and the palette, from ``meta.json``."""
    content = _load_json(meta)
    try:
        entries = [(str(entry["title"]), str(entry.get("color", ""))) for entry in content["classes"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{meta}: expected 'classes', each with a 'title' ({_reason(error)})") from None
    titles = [title for title, _ in entries]
    if len(set(titles)) < len(titles):
        raise DataError(f"{meta}: two classes have the same title; titles are {listing(titles)}")
    label_of = {title: IGNORE for title in titles if title.lower() in IGNORED_TITLES}
    label_of |= {title: 0 for title in titles if title.lower() == "background"}
    shown = [(title, color) for title, color in entries if title not in label_of]
    if not shown:
        raise DataError(f"{meta}: names no class to segment; titles are {listing(titles) or 'none'}")
    if all("person" in title.lower() for title, _ in shown):
        return PERSON, label_of | {title: 1 for title, _ in shown}, default_palette(2)
    if len(shown) >= MAX_CLASSES:
        raise DataError(
            f"{meta}: {len(shown)} classes; at most {MAX_CLASSES - 1} and the background can be distinguished"
        )
    default = default_palette(len(shown) + 1)
    palette = [default[0]] + [_rgb(color) or default[k] for k, (_, color) in enumerate(shown, 1)]
    label_of |= {title: k for k, (title, _) in enumerate(shown, 1)}
    return ("background", *(title for title, _ in shown)), label_of, tuple(palette)


def _rgb(color: str) -> tuple[int, int, int] | None:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", color):
        return None
    red, green, blue = bytes.fromhex(color[1:])
    return red, green, blue


def _project_samples(root: Path) -> tuple[list[Sample], list[Fault]]:
    folders = sorted((path.parent for path in root.glob("*/**/img") if path.is_dir()), key=lambda path: path.as_posix())
    if not folders:
        raise DataError(f"{root}: holds meta.json but no <dataset>/img folder next to it")
    samples: list[Sample] = []
    faults: list[Fault] = []
    for folder in folders:
        prefix = "".join(f"{part}/" for part in folder.relative_to(root).parts if part != NESTED)
        listed = list_images(folder / "img", prefix=prefix)
        images = {path.name: path for path in listed.images.values()}
        annotations = {path.stem: path for path in _annotations(folder / "ann")}
        for name, image in images.items():
            # The second name is the format's older way.
            if (older := image.stem) in annotations and name not in annotations:
                annotations[name] = annotations.pop(older)
            if name in annotations:
                samples.append(Sample(prefix + image.stem, image, annotations[name]))
        faults += listed.faults
        faults += lone_files(Listing(images, listed.unread), Listing(annotations), f"{prefix}ann", prefix=prefix)
    if not samples:
        refuse(f"{root}: no image has an annotation", faults)
    return samples, faults


def _annotations(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.json") if not path.name.startswith("."))


def _draw(canvas: Image.Image, thing: Mapping[str, Any], label_of: Mapping[str, int]) -> None:
    """Draw the label of one object; a malformed one raises ``ValueError`` or a similar error."""
    title = thing["classTitle"]
    if title not in label_of:
        raise ValueError(f"class '{title}' is not in meta.json{nearest(str(title), label_of)}")
    # The older format has 'type' for 'geometryType'.
    shape = thing.get("geometryType") or thing.get("type") or ("bitmap" if thing.get("bitmap") else "polygon")
    if shape == "bitmap":
        stencil, origin = _bitmap(thing["bitmap"], canvas.size)
    elif shape == "polygon":
        rings = thing["points"]
        drawn = floored_polygon(rings["exterior"], rings.get("interior", []), canvas.size)
        stencil, origin = Image.fromarray(drawn), (0, 0)
    else:
        raise ValueError(f"the shape '{shape}' does not define which pixels it covers; convert it to bitmap or polygon")
    canvas.paste(label_of[title], (*origin, origin[0] + stencil.width, origin[1] + stencil.height), stencil)


def _bitmap(bitmap: Mapping[str, Any], size: tuple[int, int]) -> tuple[Image.Image, tuple[int, int]]:
    """Stencil and origin (left, top) of a base64, zlib-compressed PNG: its opaque pixels, or those above 0 without alpha."""
    left, top = (int(part) for part in bitmap["origin"])
    inflate = zlib.decompressobj()
    try:
        png = inflate.decompress(base64.b64decode(bitmap["data"], validate=True), MAX_PNG_BYTES)
        if not inflate.eof:
            raise ValueError("the bitmap's data are cut off, or too large when decompressed")
        with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
            if image.width > size[0] or image.height > size[1]:
                raise ValueError(f"its bitmap of {image.width}x{image.height} is larger than the image")
            opaque = "A" in image.getbands() or "transparency" in image.info
            values = np.asarray(image.convert("RGBA"))
    except (zlib.error, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the bitmap cannot be decoded: {error}") from None
    is_set = values[..., 3] > 0 if opaque else values[..., :3].any(axis=-1)
    return Image.fromarray(is_set), (left, top)


def _reason(error: Exception) -> str:
    return f"{error} is missing" if isinstance(error, KeyError) else str(error)


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError):
        return f"it holds {_find(root).name}"
    return ""


READER = Reader(Options, read, _recognise)
