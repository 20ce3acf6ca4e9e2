"""Label Studio: one JSON export for all images, with polygons, brushes, rectangles and ellipses.

The full export ("JSON", not "JSON-MIN"): a list of tasks, each with ``data`` and ``annotations``. Of several annotations of one
image the one marked as ground truth counts, else the last that was not cancelled. Results are drawn in their order; later
ones cover earlier ones. Points are percentages of the image. Polygons are drawn by Pillow with their outline.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import numpy as np

from segstudy.data.core import Dataset
from segstudy.data.quality.faults import Fault
from segstudy.data.readers import Reader
from segstudy.data.readers.annotated import (
    DEFAULTS,
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
)
from segstudy.data.readers.patterns import files_below
from segstudy.data.readers.shapes import Size, Stencil, ellipse, polygon, rectangle
from segstudy.errors import DataError
from segstudy.files import open_regular

LOOKED_AT = 5  # JSON files that are opened to recognise the short form
UPLOADED = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before the name of a file that is uploaded
NO_OBJECTS = (
    "choices",
    "textarea",
    "rating",
    "number",
    "datetime",
    "taxonomy",
    "pairwise",
    "ranker",
)  # of whole images
TITLES = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")


def read(name: str, root: Path, options: AnnotationOptions = DEFAULTS) -> Dataset:
    """Read a project exported as JSON; titles sorted.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds the JSON file and the images.
    options
        Which titles count; where no folder says a split, fraction and seed of the division.

    Raises
    ------
    DataError
        If no file is Label Studio's. Images that are not there, and tasks that nobody annotated, are the dataset's ``faults``.

    Source: Label Studio's documentation, "Export annotations", "Label Studio JSON format of annotated tasks".
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    pictures, listed = Pictures(root), Listed()
    drawings: dict[str, Drawing] = {}
    titles: set[str] = set()
    undone = 0
    for path in _files(root):
        for number, task in enumerate(load_json(path), 1):
            try:
                annotation = _chosen(task)
                undone += annotation is None
                if annotation is not None:
                    titles |= _take(root, path, task, annotation, pictures, listed, drawings)
            except MALFORMED as error:
                text = f"task {number} is malformed ({reason(error)}); export the project again"
                listed.faults.append(Fault("annotation", text, path))
    if undone:
        listed.notes.append(f"{undone} tasks that nobody annotated are left out")
    return annotation_dataset(name, root, listed, sorted(titles), lambda sample: drawings[sample.id], options, pictures)


def _chosen(task: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The annotation to use, or None."""
    if not isinstance(task["data"], dict):
        raise ValueError("'data' is no mapping")
    done = [each for each in task["annotations"] if not each.get("was_cancelled")]
    true = [each for each in done if each.get("ground_truth")]
    return next(reversed(true or done), None)


def _take(
    root: Path,
    path: Path,
    task: Mapping[str, Any],
    annotation: Mapping[str, Any],
    pictures: Pictures,
    listed: Listed,
    drawings: dict[str, Drawing],
) -> set[str]:
    """Add one image, and return the titles of its objects."""
    names = list(_names(task["data"]))
    image = next((found for each in names if (found := pictures.find(each, path.parent)) is not None), None)
    if image is None:
        text = f"names the image '{names[0] if names else '(none)'}', which is missing; copy it again"
        listed.faults.append(Fault("missing", text, path))
        return set()
    results = [each for each in annotation["result"] if "original_width" in each and each["type"] not in NO_OBJECTS]
    things = [_thing(each) for each in results]
    sizes = {(each["original_width"], each["original_height"]) for each in results}
    if len(sizes) > 1:
        raise ValueError("its results have several sizes")
    size = sizes.pop() if sizes else _size(image)
    sample = sample_of(root, image, path)
    if listed.add(sample, split_of(image.parent.relative_to(root).as_posix())):
        drawings[sample.id] = Drawing(size, things)
    return {thing.title for thing in things}


def _size(image: Path) -> Size:
    from segstudy.data.core import open_image

    return open_image(image).size


def _names(data: Mapping[str, Any]) -> Iterator[str]:
    """Names that a task's image may have on disk, the most likely first."""
    for key in sorted(data, key=lambda key: key not in ("image", "img", "picture")):
        if isinstance(data[key], str):
            url = urlsplit(data[key])
            place = parse_qs(url.query).get("d", [unquote(url.path)])[0]
            yield place
            name = PurePosixPath(place.replace("\\", "/")).name
            if UPLOADED.match(name):
                yield name[9:]


def _thing(result: Mapping[str, Any]) -> Thing:
    value, kind = result["value"], str(result["type"])
    found = [title for key in TITLES for title in value.get(key, [])]
    if len(found) != 1:
        raise ValueError(f"a result of type '{kind}' has {len(found)} titles; it needs one")
    if not isinstance(found[0], str):
        raise ValueError(f"a title is {found[0]!r:.40}; it must be text")
    if result.get("image_rotation"):
        raise ValueError("the image was rotated in Label Studio; rotate the file itself and annotate it again")
    if "rle" in value:
        return Thing(found[0], "brush", partial(_brush, value["rle"]))
    if "points" in value:
        return Thing(found[0], "polygon", partial(_polygon, value["points"]))
    if {"x", "y", "width", "height"} <= value.keys() and not value.get("rotation"):
        return Thing(found[0], "rectangle", partial(_rectangle, value))
    if {"x", "y", "radiusX", "radiusY"} <= value.keys():
        return Thing(found[0], "ellipse", partial(_ellipse, value))
    return Thing(found[0], kind, None)


def _polygon(points: Any, size: Size) -> Stencil:
    return polygon(np.array(points, np.float64) * np.array(size) / 100, size)


def _rectangle(value: Mapping[str, Any], size: Size) -> Stencil:
    left, right = (float(part) * size[0] / 100 for part in (value["x"], value["x"] + value["width"]))
    top, bottom = (float(part) * size[1] / 100 for part in (value["y"], value["y"] + value["height"]))
    return rectangle(left, top, right, bottom, size)


def _ellipse(value: Mapping[str, Any], size: Size) -> Stencil:
    across, down = size[0] / 100, size[1] / 100
    centre, radii = (value["x"] * across, value["y"] * down), (value["radiusX"] * across, value["radiusY"] * down)
    return ellipse(centre, radii, size, float(value.get("rotation") or 0))


def _brush(rle: Any, size: Size) -> Stencil:
    """Pixels that a brush covers: the run lengths hold four bytes per pixel, and the alpha byte is above 0.

    Source: label-studio-converter 0.0.59, ``brush.py``, ``decode_rle``.
    """
    packed = np.array(rle)
    if packed.ndim != 1 or not packed.size or packed.dtype.kind not in "iu" or packed.min() < 0 or packed.max() > 255:
        raise ValueError("a brush's rle must be a list of bytes")
    stream = _Bits(packed.astype(np.uint8).tobytes())
    number = stream.read(32)
    if number != 4 * size[0] * size[1]:
        raise ValueError(f"its brush has {number} values; four for each pixel are {4 * size[0] * size[1]}")
    bits = stream.read(5) + 1
    widths = [stream.read(4) + 1 for _ in range(4)]
    values = np.zeros(number, np.uint8)
    at = 0
    while at < number:
        repeated = stream.read(1)
        end = at + 1 + stream.read(widths[stream.read(2)])
        if end > number:
            raise ValueError("its brush's run lengths end beyond the image")
        if repeated:
            values[at:end] = min(stream.read(bits), 255)
        else:
            values[at:end] = [min(stream.read(bits), 255) for _ in range(end - at)]
        at = end
    stencil: Stencil = values.reshape(size[1], size[0], 4)[..., 3] > 0
    return stencil


class _Bits:
    """Read integers of any number of bits from bytes, highest bit first."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.at = 0

    def read(self, bits: int) -> int:
        """The next number; ``ValueError`` at the end."""
        end = self.at + bits
        if end > 8 * len(self.content):
            raise ValueError("its brush's run lengths are cut off")
        piece = int.from_bytes(self.content[self.at // 8 : (end + 7) // 8], "big")
        self.at = end
        return piece >> (-end % 8) & ((1 << bits) - 1)


def _files(root: Path) -> list[Path]:
    found = [root / path for path in files_below(root) if path.endswith(".json") and _is_export(root / path)]
    if not found:
        short = [path for path in files_below(root) if path.endswith(".json")][:LOOKED_AT]
        short = [path for path in short if _is_short(root / path)]
        advice = f"; {short[0]} is its short form, JSON-MIN, so export the project as JSON" if short else ""
        raise DataError(f"{root}: holds no JSON export of Label Studio{advice}")
    return found


def _is_short(path: Path) -> bool:
    """Whether a file is JSON-MIN: tasks whose columns hold objects with their original size."""
    with contextlib.suppress(DataError, OSError, *MALFORMED):
        first = load_json(path)[0] if _holds_list(path) else {}
        return any(isinstance(each, list) and "original_width" in each[0] for each in first.values())
    return False


def _holds_list(path: Path) -> bool:
    with open_regular(path) as file:
        return file.read(64).lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"[")


def _is_export(path: Path) -> bool:
    with contextlib.suppress(DataError, OSError):
        if not _holds_list(path):
            return False
        content = load_json(path)
        return bool(content) and all(
            isinstance(each, dict) and {"data", "annotations"} <= each.keys() for each in content
        )
    return False


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError, OSError):
        return f"{_files(root)[0].relative_to(root)} is Label Studio's"
    with contextlib.suppress(OSError):
        for path in [each for each in files_below(root) if each.endswith(".json")][:LOOKED_AT]:
            if _is_short(root / path):
                return f"{path} is Label Studio's"
    return ""


READER = Reader(AnnotationOptions, read, _recognise)
