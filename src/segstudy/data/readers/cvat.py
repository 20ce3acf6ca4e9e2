"""CVAT for images 1.1: one XML file for a task, with polygons, masks, boxes and ellipses.

Files: ``annotations.xml`` or any XML file whose root is ``annotations``; images at any depth. An image's ``subset`` says its
split. Objects are drawn by their ``z_order``, those of one by their order in the file. Polygons are drawn by Pillow with
their outline; of boxes and ellipses, pixels whose centre is inside.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

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
    reason,
    sample_of,
    split_of,
)
from segstudy.data.readers.patterns import SPLIT_OF, files_below
from segstudy.data.readers.shapes import Size, Stencil, checked_size, ellipse, pasted, polygon, rectangle, runs
from segstudy.errors import DataError
from segstudy.files import open_regular

HEAD_BYTES = 4096  # of a file that are looked into to recognise it
NO_OBJECTS = ("tag",)  # elements next to objects that say something of the whole image


def read(name: str, root: Path, options: AnnotationOptions = DEFAULTS) -> Dataset:
    """Read a task exported as "CVAT for images 1.1"; titles in the order of the task's labels.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds the XML file and the images.
    options
        Which titles count; where no image has a subset, fraction and seed of the division.

    Raises
    ------
    DataError
        If no file is CVAT's, or it is an export of a video. Images that are not there are the dataset's ``faults``.

    Source: CVAT's manual, "CVAT for images 1.1".
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    pictures, listed = Pictures(root), Listed()
    drawings: dict[str, Drawing] = {}
    titles: dict[str, None] = {}
    for path in _files(root):
        tree = _parsed(path)
        if tree.find("track") is not None:
            raise DataError(f"{path}: is CVAT for video; export the task as 'CVAT for images 1.1'", "annotation")
        titles |= dict.fromkeys(text for each in tree.iterfind("meta//label/name") if (text := each.text or ""))
        for element in tree.iterfind("image"):
            try:
                titles |= _take(root, path, element, pictures, listed, drawings)
            except MALFORMED as error:
                text = f"image '{element.get('name')}' is malformed ({reason(error)}); export the task again"
                listed.faults.append(Fault("annotation", text, path))
    return annotation_dataset(name, root, listed, list(titles), lambda sample: drawings[sample.id], options, pictures)


def _take(
    root: Path,
    path: Path,
    element: ElementTree.Element,
    pictures: Pictures,
    listed: Listed,
    drawings: dict[str, Drawing],
) -> dict[str, None]:
    """Add one image, and return the titles of its objects."""
    image = pictures.find(element.attrib["name"], path.parent)
    if image is None:
        text = f"names the image '{element.get('name')}', which is missing; copy it again"
        listed.faults.append(Fault("missing", text, path))
        return {}
    shapes = [shape for shape in element if shape.tag not in NO_OBJECTS]
    shapes.sort(key=lambda shape: int(shape.get("z_order", "0")))
    things = [_thing(shape) for shape in shapes]
    sample = sample_of(root, image, path)
    drawing = Drawing((int(element.attrib["width"]), int(element.attrib["height"])), things)
    subset = element.get("subset", "").lower()
    if listed.add(sample, SPLIT_OF.get(subset) or split_of(image.parent.relative_to(root).as_posix())):
        drawings[sample.id] = drawing
    return {thing.title: None for thing in things}


def _thing(shape: ElementTree.Element) -> Thing:
    title = shape.attrib["label"]
    draw: Callable[[Size], Stencil] | None = None
    if shape.tag == "polygon":
        draw = partial(polygon, [[float(x) for x in point.split(",")] for point in shape.attrib["points"].split(";")])
    elif shape.tag == "box":
        draw = partial(_box, [float(shape.attrib[key]) for key in ("xtl", "ytl", "xbr", "ybr")], _turn(shape))
    elif shape.tag == "ellipse":
        cx, cy, rx, ry = (float(shape.attrib[key]) for key in ("cx", "cy", "rx", "ry"))
        draw = partial(ellipse, (cx, cy), (rx, ry), degrees=_turn(shape))
    elif shape.tag == "mask":
        left, top, width, height = (int(shape.attrib[key]) for key in ("left", "top", "width", "height"))
        draw = partial(_mask, shape.attrib["rle"], left, top, width, height)
    return Thing(title, shape.tag, draw)


def _turn(shape: ElementTree.Element) -> float:
    return float(shape.get("rotation", "0"))


def _box(sides: list[float], degrees: float, size: Size) -> Stencil:
    left, top, right, bottom = sides
    if not degrees:
        return rectangle(left, top, right, bottom, size)
    middle = np.array([(left + right) / 2, (top + bottom) / 2])
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) - middle
    return polygon(corners @ np.array([[cosine, sine], [-sine, cosine]]) + middle, size)


def _mask(rle: str, left: int, top: int, width: int, height: int, size: Size) -> Stencil:
    """Pixels of run lengths along the rows of a box; the first run lies outside the object."""
    if width > size[0] or height > size[1]:
        raise ValueError(f"its mask of {width}x{height} is larger than the image")
    counts = [int(part) for part in rle.split(",")]
    return pasted(runs(counts, checked_size(width, height), "row"), left, top, size)


def _files(root: Path) -> list[Path]:
    found = [root / path for path in files_below(root) if path.endswith(".xml") and _begins_right(root / path)]
    if not found:
        raise DataError(f"{root}: holds no XML file of CVAT")
    return found


def _begins_right(path: Path) -> bool:
    try:
        with open_regular(path) as file:
            return b"<annotations>" in file.read(HEAD_BYTES)
    except OSError:
        return False


def _parsed(path: Path) -> ElementTree.Element:
    """Parse the file; a document type is refused, because it can expand a small file to a huge one."""

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which CVAT never writes")

    try:
        with open_regular(path) as file:
            content = file.read()
        guard = expat.ParserCreate()
        guard.StartDoctypeDeclHandler = refuse
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (OSError, ValueError, LookupError, expat.ExpatError, ElementTree.ParseError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as XML ({error})", "annotation") from None


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError, OSError):
        return f"{_files(root)[0].relative_to(root)} is CVAT's"
    return ""


READER = Reader(AnnotationOptions, read, _recognise)
