"""LabelMe: a JSON file for each image, with polygons, rectangles, circles and masks.

Files: ``<name>.json`` with ``shapes`` and ``imagePath``, at any depth, next to the image or not. Folders named for splits say
the split. Polygons are drawn by Pillow with their outline, as LabelMe does; later shapes cover earlier ones. Titles ``__ignore__``
are ignored and ``_background_`` is background.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import io
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segstudy.data.core import Dataset, Sample
from segstudy.data.quality.faults import Fault, fault_of
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
from segstudy.data.readers.shapes import MAX_PIXELS, Size, Stencil, ellipse, pasted, polygon
from segstudy.errors import DataError
from segstudy.files import read_text

LOOKED_AT = 20  # JSON files that are opened to recognise the layout


def read(name: str, root: Path, options: AnnotationOptions = DEFAULTS) -> Dataset:
    """Read LabelMe's files; titles in the order of ``labels.txt`` where there is one, else sorted.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds JSON files and images, at any depth.
    options
        Which titles count; where no folder says a split, fraction and seed of the division.

    Raises
    ------
    DataError
        If no file is LabelMe's. Files that cannot be read, and images that are not there, are the dataset's ``faults``.

    Source: Wada, "Labelme: Image Polygonal Annotation with Python", 2016.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    pictures, listed = Pictures(root), Listed()
    seen: set[str] = set()
    for file in files_below(root):
        if not file.endswith(".json"):
            continue
        path = root / file
        try:
            content = load_json(path)
            if not isinstance(content, dict) or "shapes" not in content:
                continue
            titles = {str(shape["label"]) for shape in content["shapes"]}
            image = pictures.find(content.get("imagePath") or path.stem, path.parent)
            image = image or pictures.find(path.stem, path.parent)
        except DataError as error:
            listed.faults.append(fault_of(error, path))
            continue
        except MALFORMED as error:
            listed.faults.append(Fault("annotation", f"is not a LabelMe file ({reason(error)})", path))
            continue
        if image is not None and image.stem != path.stem and (own := pictures.beside(path)) is not None:
            text = f"names the image '{image.name}', while '{own.name}', which has its own name, is next to it"
            listed.faults.append(Fault("crossed", f"{text}; correct imagePath, or rename one of the two", path))
            continue
        if image is None:
            text = f"names the image '{content.get('imagePath')}', which is missing; copy it again"
            listed.faults.append(Fault("missing", text, path))
            continue
        seen |= titles
        listed.add(sample_of(root, image, path), split_of(Path(file).parent.as_posix()))
    return annotation_dataset(name, root, listed, _titles(root, seen), _drawing, options, pictures)


def _titles(root: Path, seen: set[str]) -> list[str]:
    """Titles in the order of ``labels.txt``, then all others sorted."""
    first, path = list[str](), root / "labels.txt"
    try:
        first = [line.strip() for line in read_text(path).splitlines()]
    except FileNotFoundError:
        pass
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
    kept = [title for title in dict.fromkeys(first) if title]
    return kept + sorted(seen - set(kept))


def _drawing(sample: Sample) -> Drawing:
    content = load_json(sample.mask)
    try:
        things = [_thing(shape) for shape in content["shapes"]]
        return Drawing((content["imageWidth"], content["imageHeight"]), things)
    except MALFORMED as error:
        raise DataError(f"{sample.mask}: is not a LabelMe file ({reason(error)})", "annotation") from None


def _thing(shape: Any) -> Thing:
    kind = str(shape.get("shape_type") or "polygon")
    title, points = str(shape["label"]), shape["points"]
    if kind == "polygon":
        return Thing(title, kind, partial(polygon, points))
    if kind == "rectangle":
        (x0, y0), (x1, y1) = points
        return Thing(title, kind, partial(polygon, [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]))
    if kind == "circle":
        centre, edge = points
        radius = math.hypot(centre[0] - edge[0], centre[1] - edge[1])
        return Thing(title, kind, lambda size: ellipse(centre, (radius, radius), size))
    if kind == "mask":
        return Thing(title, kind, partial(_mask, shape["mask"], points))
    return Thing(title, kind, None)


def _mask(data: str, points: Any, size: Size) -> Stencil:
    """Pixels of a PNG in base64 whose upper left corner is the first point."""
    try:
        with Image.open(io.BytesIO(base64.b64decode(data, validate=True)), formats=["PNG"]) as image:
            if image.width * image.height > min(MAX_PIXELS, size[0] * size[1]):
                raise ValueError(f"its mask of {image.width}x{image.height} is larger than the image")
            part = np.asarray(image.convert("L")) > 0
    except (binascii.Error, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"its mask cannot be decoded: {error}") from None
    return pasted(part, points[0][0], points[0][1], size)


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError, OSError):
        for file in [each for each in files_below(root) if each.endswith(".json")][:LOOKED_AT]:
            content = load_json(root / file)
            if isinstance(content, dict) and "shapes" in content and "imagePath" in content:
                return f"{file} is LabelMe's"
    return ""


READER = Reader(AnnotationOptions, read, _recognise)
