"""Outlines and run lengths to pixels, for untrusted annotations: every size and count is checked before it is used.

What is malformed raises ``ValueError``; the caller says in which file. Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

MAX_PIXELS = 100_000_000
MAX_CORNERS = 1_000_000
MAX_LENGTH = 20_000_000  # pixels around all outlines of an object
Size = tuple[int, int]  # width, height
Stencil = NDArray[np.bool_]


def checked_size(width: Any, height: Any) -> Size:
    """Check a size (width, height).

    >>> checked_size(640, 480.0)
    (640, 480)
    """
    for side in (width, height):
        if isinstance(side, bool) or not isinstance(side, int | float) or not math.isfinite(side) or side != int(side):
            raise ValueError(f"the size {width!r:.20} x {height!r:.20} is not that of an image")
    if min(width, height) < 1 or width * height > MAX_PIXELS:
        raise ValueError(f"the size {width!r:.20} x {height!r:.20} is not that of an image")
    return int(width), int(height)


def checked_corners(points: Any, size: Size, least: int = 3) -> NDArray[np.float64]:
    """Corners (n, 2) as x and y: finite, at least ``least`` of them, and near the image, which they may leave.

    An outline of which no part is in the image is refused: it belongs to another image.
    """
    try:
        corners = np.array(points, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("corners must be pairs of numbers") from None
    if corners.ndim != 2 or corners.shape[1] != 2 or not least <= len(corners) <= MAX_CORNERS:
        number = {2: "two", 3: "three"}[least]
        raise ValueError(f"an outline needs {number} or more points, each a pair of numbers")
    if not np.isfinite(corners).all():
        raise ValueError("a corner is not a number; it must be near the image")
    low, high = corners.min(axis=0), corners.max(axis=0)
    if (low < -np.array(size)).any() or (high > 2 * np.array(size)).any():
        raise ValueError(f"corners are far outside the image of {size[0]}x{size[1]}; a polygon must be near the image")
    if (high < 0).any() or (low > size).any():
        raise ValueError(f"the outline is wholly outside the image of {size[0]}x{size[1]}")
    if least > 2 and low.min() >= 0 and high.max() <= 1 and min(size) > 2 and (corners % 1).any():
        raise ValueError(
            "all corners are between 0 and 1, as shares of the image's sides do; multiply them by its width and height"
        )
    if np.abs(np.diff(corners, axis=0)).sum() > MAX_LENGTH:
        raise ValueError("the outline has too many points")
    return corners


def polygon(points: Any, size: Size) -> Stencil:
    """Pixels of a polygon with its outline, as Pillow draws it; LabelMe does the same.

    >>> polygon([[1, 1], [2, 1], [2, 2], [1, 2]], (4, 4)).sum()
    np.int64(4)
    """
    corners = checked_corners(points, size)
    canvas = Image.new("1", size)
    ImageDraw.Draw(canvas).polygon([(float(x), float(y)) for x, y in corners], fill=1, outline=1)
    return np.asarray(canvas)


def floored_polygon(exterior: Any, interiors: Sequence[Any], size: Size) -> Stencil:
    """Pixels of a polygon with holes as Supervisely draws it: corners rounded down, OpenCV's filling with its outline.

    Source: supervisely 6.74, ``geometry/point_location.py`` and ``geometry/polygon.py``.
    """
    canvas = np.zeros((size[1], size[0]), np.uint8)
    for number, ring in enumerate([exterior, *interiors]):
        corners = np.floor(checked_corners(ring, size)).astype(np.int32)
        cv2.fillPoly(canvas, [corners], int(number == 0))
    return canvas.astype(bool)


def rectangle(left: float, top: float, right: float, bottom: float, size: Size) -> Stencil:
    """Pixels whose centres lie in a box; corners in either order.

    >>> rectangle(1, 0, 3, 1, (4, 2)).astype(int).tolist()
    [[0, 1, 1, 0], [0, 0, 0, 0]]
    """
    corners = checked_corners([[left, top], [right, bottom]], size, least=2)
    (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
    columns, rows = np.arange(size[0]) + 0.5, np.arange(size[1]) + 0.5
    inside: Stencil = ((rows >= y0) & (rows < y1))[:, None] & ((columns >= x0) & (columns < x1))[None, :]
    return inside


def ellipse(centre: Any, radii: Any, size: Size, degrees: float = 0.0) -> Stencil:
    """Pixels whose centres lie in an ellipse, turned clockwise by ``degrees``."""
    (x, y), (rx, ry) = checked_corners([centre, centre], size, least=2)[0], np.array(radii, np.float64)
    if not (np.isfinite([rx, ry, degrees]).all() and min(rx, ry) > 0):
        raise ValueError("an ellipse needs two radii above 0")
    columns, rows = np.arange(size[0]) + 0.5 - x, np.arange(size[1]) + 0.5 - y
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    across = columns[None, :] * cosine + rows[:, None] * sine
    along = rows[:, None] * cosine - columns[None, :] * sine
    inside: Stencil = (across / rx) ** 2 + (along / ry) ** 2 <= 1
    return inside


def runs(counts: Any, size: Size, order: str) -> Stencil:
    """Pixels of alternating run lengths; the first run lies outside.

    Parameters
    ----------
    counts
        Numbers of pixels; together exactly those of the image.
    size
        Width and height.
    order
        ``column`` for down the columns (COCO, Kaggle), ``row`` for along the rows (CVAT).

    >>> runs([1, 2, 1], (2, 2), "column").astype(int).tolist()
    [[0, 1], [1, 0]]

    """
    try:
        lengths = np.array(counts)
    except (ValueError, OverflowError):
        raise ValueError("run lengths must be a list of numbers") from None
    if lengths.ndim != 1 or not lengths.size or lengths.dtype.kind not in "iu" or lengths.min() < 0:
        raise ValueError("run lengths must be whole numbers, 0 or more")
    pixels = size[0] * size[1]
    if lengths.max() > pixels or int(lengths.sum()) != pixels:
        raise ValueError(f"run lengths add up to {sum(map(int, lengths))} pixels; the image has {pixels}")
    flat = np.repeat(np.arange(lengths.size) % 2 == 1, lengths)
    stencil: Stencil = flat.reshape(size[0], size[1]).T if order == "column" else flat.reshape(size[1], size[0])
    return stencil


def starts_and_lengths(text: str, size: Size, order: str, first: int) -> Stencil:
    """Pixels of ``start length start length``, the format of Kaggle's tables; pixels count from ``first``.

    >>> starts_and_lengths("2 2", (2, 2), "column", 1).astype(int).tolist()
    [[0, 1], [1, 0]]
    """
    pixels = size[0] * size[1]
    try:
        numbers = np.array([int(part) for part in text.split()], np.int64)
    except (ValueError, OverflowError):
        raise ValueError(f"'{text:.30}' is not a list of starts and lengths") from None
    if numbers.size % 2:
        raise ValueError(f"{numbers.size} numbers are not pairs of start and length")
    starts, lengths = numbers[::2] - first, numbers[1::2]
    if numbers.size and (starts.min() < 0 or lengths.min() < 1 or lengths.max() > pixels or starts.max() >= pixels):
        other = "; write first: 0 if they begin at 0" if first and starts.min() == -1 else ""
        raise ValueError(f"a run is outside the image's {pixels} pixels, which begin at {first}{other}")
    if numbers.size and (starts + lengths).max() > pixels:
        raise ValueError(f"a run ends beyond the image's {pixels} pixels")
    change = np.zeros(pixels + 1, np.int32)
    np.add.at(change, starts, 1)
    np.add.at(change, starts + lengths, -1)
    flat = np.cumsum(change[:-1]) > 0
    stencil: Stencil = flat.reshape(size[0], size[1]).T if order == "column" else flat.reshape(size[1], size[0])
    return stencil


def pasted(part: Stencil, left: Any, top: Any, size: Size) -> Stencil:
    """A stencil placed in an image with its upper left corner at a pixel; the part outside is cut off."""
    for at in (left, top):
        if isinstance(at, bool) or not isinstance(at, int | float) or not math.isfinite(at) or abs(at) > MAX_PIXELS:
            raise ValueError(f"{at!r:.20} is no place in the image")
    x, y = int(left), int(top)
    whole = np.zeros((size[1], size[0]), bool)
    height, width = part.shape
    x0, y0, x1, y1 = max(x, 0), max(y, 0), min(x + width, size[0]), min(y + height, size[1])
    if x0 >= x1 or y0 >= y1:
        raise ValueError(f"the bitmap is wholly outside the image of {size[0]}x{size[1]}")
    whole[y0:y1, x0:x1] = part[y0 - y : y1 - y, x0 - x : x1 - x]
    return whole
