"""Images of any numbers and channels as 8-bit pictures: by declaration, or refused with the line to add.

Array letters: ``h`` height, ``w`` width, ``c`` channel.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segstudy.data.core import DAMAGED, as_rgb, has_more_channels, is_deep, open_image
from segstudy.data.readers.rasters import opened
from segstudy.errors import DataError
from segstudy.files import open_regular

TIFF = (".tif", ".tiff")
Numbers = NDArray[Any]


def picture_of(values: Numbers, path: Path, scale: Sequence[float] | None, bands: Sequence[int] | None) -> Image.Image:
    """An image (h, w) or (h, w, c) of any numbers as 8-bit grey or RGB.

    Raises
    ------
    DataError
        For numbers that do not fit 8 bits where no ``scale`` is given, and channels of which no ``bands`` are chosen; both
        say what to add.

    """
    if values.ndim == 3:
        values = _chosen(values, path, bands)
    if values.ndim != 2 and not (values.ndim == 3 and values.shape[2] == 3):
        raise DataError(f"{path}: an array of shape {values.shape} is not an image", "unreadable")
    if values.dtype.kind not in "biuf" or not values.size:
        raise DataError(f"{path}: holds {values.dtype} {values.shape}, which is not an image", "unreadable")
    if values.dtype == np.uint8 and scale is None:
        return Image.fromarray(np.ascontiguousarray(values))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(
            f"{path}: holds values that are not numbers (NaN or infinite); write a number everywhere", "16-bit"
        )
    if scale is None:
        low, high = float(values.min()), float(values.max())
        text = (
            f"{path}: holds {values.dtype} from {low:g} to {high:g}; add scale: [{low:g}, {high:g}] to the entry, the"
        )
        lines = {"scale": [low, high if high > low else low + 1]}
        raise DataError(f"{text} numbers that become black and white in all images", "16-bit", lines)
    share = (values.astype(np.float64) - scale[0]) / (scale[1] - scale[0])
    return Image.fromarray(np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8))


def _chosen(values: Numbers, path: Path, bands: Sequence[int] | None) -> Numbers:
    """The channels that the options choose; all of them if there are one or three."""
    number = values.shape[2]
    if bands is None:
        if number == 1:
            return values[..., 0]
        if number != 3:
            wanted = [0] if number < 3 else [0, 1, 2]
            text = f"{path}: holds {number} channels; add bands: [0] or bands: [0, 1, 2] to the entry, those to be used"
            raise DataError(text, "mode", {"bands": wanted})
        return values
    if max(bands) >= number:
        raise DataError(
            f"{path}: bands: {list(bands)} must be of 0 to {number - 1}, the channels that it holds", "mode"
        )
    return values[..., bands[0]] if len(bands) == 1 else values[..., list(bands)]


def picture_file(
    path: Path, scale: Sequence[float] | None = None, bands: Sequence[int] | None = None, page: int | None = None
) -> Image.Image:
    """A picture's file as it is stored, or as 8-bit grey or RGB by what is declared of its numbers and channels.

    Raises
    ------
    DataError
        For numbers of more than 8 bits and further channels of which nothing is declared, with the line to add.

    """
    try:
        image = open_image(path, page)
    except DataError as error:
        if error.kind != "unreadable" or path.suffix.lower() not in TIFF:
            raise
        return picture_of(_raster(path, page, error), path, scale, bands)
    if scale is None and bands is None and not is_deep(image) and not has_more_channels(image):
        return image
    if image.mode.startswith(("I", "F")):
        values: Numbers = np.asarray(image)
    elif image.format == "TIFF" and (is_deep(image) or has_more_channels(image)):
        values = _raster(path, page)
    elif is_deep(image):
        values = _deep_png(path)
    else:
        values = np.asarray(image if image.mode in ("L", "LA", "RGB", "RGBA") else as_rgb(path, image))
    return picture_of(values, path, scale, bands)


def _raster(path: Path, page: int | None, reason: DataError | None = None) -> Numbers:
    """Values (h, w, c) of a TIFF that Pillow cannot read, or not in full."""
    try:
        with opened(path, page or 0) as file:
            values: Numbers = np.moveaxis(file.read(), 0, 2)
    except DataError as error:
        if reason is not None and "pip install" not in str(error):  # no library can read it
            raise reason from None
        raise
    except Exception as error:  # whatever GDAL meets in damaged bytes
        raise DataError(f"{path}: cannot be decoded ({error})", "truncated") from None
    return values


def _deep_png(path: Path) -> Numbers:
    """Values (h, w, c) of a PNG of 16 bits with colours, which Pillow cuts to 8."""
    with open_regular(path) as file:
        values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3 or values.shape[2] < 3:
        raise DataError(f"{path}: cannot be decoded in 16 bits; convert it to 8-bit RGB", "16-bit")
    return np.asarray(values[..., [2, 1, 0, 3][: values.shape[2]]])  # OpenCV has blue first


def propose_picture(path: Path) -> dict[str, Any]:
    """``page``, ``bands`` and ``scale`` as one picture suggests them; nothing for one that is read without."""
    lines: dict[str, Any] = {}
    with contextlib.suppress(*DAMAGED), Image.open(path) as image:
        if image.format != "MPO" and getattr(image, "n_frames", 1) > 1:
            lines["page"] = 0
    for _ in range(2):
        try:
            picture_file(path, lines.get("scale"), lines.get("bands"), lines.get("page"))
        except DataError as error:
            lines |= error.lines
    return lines
