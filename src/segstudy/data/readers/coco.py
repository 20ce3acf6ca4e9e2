"""COCO: one JSON file for the images of a split, with objects as polygons or run lengths.

Files: ``annotations/instances_train2017.json`` and the like, ``_annotations.coco.json`` next to the images (Roboflow), or any
JSON file with ``images``, ``annotations`` and ``categories``. Its name or folder says the split. Outlines and runs are drawn
by pycocotools. Later objects cover earlier ones; crowds (``iscrowd: 1``) are ignored where no single object covers them.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from segstudy.data.core import Dataset
from segstudy.data.quality.faults import Fault
from segstudy.data.readers import Reader
from segstudy.data.readers.annotated import (
    MALFORMED,
    AnnotationOptions,
    Drawing,
    Listed,
    Pictures,
    Thing,
    annotation_dataset,
    load_json,
    reason,
    sample_of,
    split_of,
    words_of,
)
from segstudy.data.readers.patterns import files_below
from segstudy.data.readers.shapes import Size, Stencil, checked_corners, runs
from segstudy.errors import DataError, listing

KEYS = ("images", "annotations", "categories")
OTHER_TASKS = ("captions", "person_keypoints", "panoptic", "image_info", "stuff")
LOOKED_INTO_BYTES = 64 * 2**20  # a JSON file of any name beyond this size is not looked into to recognise it
CROWD = "\0crowd"  # the title of crowds, which no category can have


class Options(AnnotationOptions):
    """``annotations``: the JSON files, where they are not found by their names; see also :class:`AnnotationOptions`."""

    annotations: list[str] | None = Field(None, min_length=1)


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read objects in COCO's format.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds JSON files and images, at any depth.
    options
        Which files, which categories; where no file says a split, fraction and seed of the division.

    Raises
    ------
    DataError
        If no file is COCO's, its tables are malformed, or pycocotools is missing. Images that are not there are the
        dataset's ``faults``.

    Source: Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    _masks()
    pictures, listed = Pictures(root), Listed()
    drawings: dict[str, Drawing] = {}
    titles: dict[int, str] = {}
    for path in _files(root, options.annotations):
        content = load_json(path)
        try:
            titles |= _categories(content, titles)
            _take(root, path, content, titles, pictures, listed, drawings)
        except MALFORMED as error:
            raise DataError(f"{path}: is not a COCO file ({reason(error)})", "annotation") from None
    in_order = [titles[key] for key in sorted(titles)]
    options = options.model_copy(update={"ignore": [*options.ignore, CROWD]})
    return annotation_dataset(
        name, root, listed, [*in_order, CROWD], lambda sample: drawings[sample.id], options, pictures
    )


def _files(root: Path, given: Sequence[str] | None) -> list[Path]:
    if given is not None:
        return [root / path for path in given]
    found = [path for path in files_below(root) if path.endswith(".json")]
    kinds = [
        [path for path in found if Path(path).name.startswith("instances_")],
        [path for path in found if path.endswith("_annotations.coco.json")],
    ]
    kinds.append([path for path in found if not any(kinds) and _is_coco(root / path)])
    chosen = next((kind for kind in kinds if kind), [])
    splits = [split_of(path) for path in chosen]
    if twice := {split for split in splits if split and splits.count(split) > 1}:
        both = [path for path, split in zip(chosen, splits, strict=True) if split in twice]
        raise DataError(
            f"{root}: several COCO files for '{twice.pop()}'; add annotations: [{both[0]}, ...] to the entry"
        )
    if not chosen:
        raise DataError(f"{root}: holds no JSON file with {listing(KEYS)}")
    return [root / path for path in chosen]


def _is_coco(path: Path) -> bool:
    if path.name.startswith(OTHER_TASKS) or path.stat().st_size > LOOKED_INTO_BYTES:
        return False
    with contextlib.suppress(DataError):
        content = load_json(path)
        return isinstance(content, dict) and all(isinstance(content.get(key), list) for key in KEYS)
    return False


def _categories(content: Any, known: dict[int, str]) -> dict[int, str]:
    found = {int(each["id"]): str(each["name"]) for each in content["categories"]}
    for key, title in found.items():
        if known.get(key, title) != title:
            raise ValueError(f"category {key} is '{title}' here and '{known[key]}' in another file")
    if len(set(found.values())) < len(found):
        raise ValueError("two categories have one name")
    return found


def _take(
    root: Path,
    path: Path,
    content: Any,
    titles: dict[int, str],
    pictures: Pictures,
    listed: Listed,
    drawings: dict[str, Drawing],
) -> None:
    """Add the images of one file; a malformed object is reported when it is drawn."""
    of_image: dict[Any, list[Any]] = defaultdict(list)
    for thing in content["annotations"]:
        of_image[thing["image_id"]].append(thing)
    split, words = split_of(path.relative_to(root).as_posix()), words_of(path.stem)
    ids = [record["id"] for record in content["images"]]
    if strange := of_image.keys() - set(ids):
        text = f"{sum(len(of_image[key]) for key in strange)} objects belong to images that are not listed"
        listed.faults.append(Fault("annotation", f"{text}; export the file again", path, split))
    if len(set(ids)) < len(ids):
        listed.faults.append(Fault("annotation", "two images have one id; export the file again", path, split))
    empty = 0
    for record in content["images"]:
        image = pictures.find(record["file_name"], path.parent, words)
        if image is None:
            text = f"names the image '{record['file_name']}', which is missing; copy it again"
            listed.faults.append(Fault("missing", text, path, split))
            continue
        sample = sample_of(root, image, path)
        things = sorted(of_image[record["id"]], key=lambda thing: not thing.get("iscrowd", 0))
        empty += not things
        if listed.add(sample, split):
            size = (record.get("width"), record.get("height"))
            drawings[sample.id] = Drawing(size, [_thing(each, titles) for each in things])
    if empty:
        listed.notes.append(f"{path.name}: {empty} of {len(ids)} images have no object and are background")


def _thing(record: Any, titles: dict[int, str]) -> Thing:
    title = titles.get(record["category_id"], f"category {record['category_id']}")
    if record.get("iscrowd"):
        title = CROWD
    outline = record.get("segmentation")
    if not outline:
        return Thing(title, "box", None)
    return Thing(title, "segmentation", partial(_stencil, outline))


def _stencil(outline: Any, size: Size) -> Stencil:
    """Pixels of polygons or run lengths, drawn by pycocotools after their numbers are checked."""
    masks = _masks()
    width, height = size
    if isinstance(outline, dict):
        if list(outline["size"]) != [height, width]:
            raise ValueError(f"its run lengths are for {outline['size']!r:.40}, the image is [{height}, {width}]")
        counts = outline["counts"]
        return runs(_counts(counts) if isinstance(counts, str) else counts, size, "column")
    for ring in outline:
        numbers = np.array(ring, np.float64)
        if numbers.ndim != 1 or len(numbers) < 6 or len(numbers) % 2:
            raise ValueError("a polygon needs three or more corners as x1, y1, x2, y2 ...")
        checked_corners(numbers.reshape(-1, 2), size)
    parts = masks.frPyObjects([[float(number) for number in ring] for ring in outline], height, width)
    return runs(_counts(masks.merge(parts)["counts"].decode()), size, "column")


def _counts(text: str) -> list[int]:
    """Run lengths of COCO's compressed text, so that their sum is known before memory is taken.

    Source: cocoapi, ``common/maskApi.c``, ``rleFrString``.

    >>> _counts("04"), _counts("PPYo0")
    ([0, 4], [1025024])
    """
    found: list[int] = []
    value, shift = 0, 0
    for letter in text:
        code = ord(letter) - 48
        if not 0 <= code < 64 or shift > 30:
            raise ValueError("the compressed run lengths are damaged")
        value |= (code & 31) << shift
        shift += 5
        if not code & 32:
            if code & 16:
                value |= -1 << shift
            found.append(value + (found[-2] if len(found) > 2 else 0))
            value, shift = 0, 0
    if shift:
        raise ValueError("the compressed run lengths are cut off")
    return found


def _masks() -> Any:
    try:
        from pycocotools import mask
    except ImportError:
        raise DataError("the reader 'coco' needs pycocotools; pip install 'segstudy[coco]'") from None
    return mask


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError):
        return f"it holds {listing((path.relative_to(root) for path in _files(root, None)), 2)}"
    return ""


READER = Reader(Options, read, _recognise)
