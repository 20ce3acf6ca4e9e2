"""One mask file as its bytes say: its values before anything is said of what they mean.

Array letters: ``h`` height, ``w`` width, ``c`` colour channel.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops

from segstudy.data.blocks import Corners, block_corners
from segstudy.data.core import IGNORE, as_rgb, has_more_channels, is_deep, open_image
from segstudy.errors import DataError

COLOUR_TRACES = 64  # largest difference between the channels of a grey pixel that JPEG has spoilt
FEW_COLOURS = 24  # up to which colours in a mask are those of classes
FEW_INNER = 3  # values in a mask, from which some may be no classes but lie between
FEW_VALUES = 12  # up to which values in a mask are levels without traces
MAX_DENSE = 2  # largest value for each value in a mask of class indices
FLAT = 16  # largest difference between a pixel and those around it where nothing but noise changes
CHANNELS = ("grey", "red", "green", "blue", "alpha")
NEARLY = 0.75  # of the values in a mask
MAX_BETWEEN = 0.1  # share of pixels between black and white in a mask of these two
GDAL_NODATA = 42113  # tag of TIFF

Kind = Literal["bilevel", "grey", "palette", "colour", "deep"]
Colour = tuple[int, int, int]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class StoredMask:
    """A mask's stored values.

    Attributes
    ----------
    path
        The file.
    kind
        ``bilevel`` (1 bit: 0 and 1), ``grey``, ``palette`` (values are indices), ``colour`` (no single value) or ``deep``
        (numbers that do not fit 8 bits).
    values
        (h, w): ``uint8``, of ``deep`` masks ``float64``. Grey of 2 and 4 bits has the values that are stored, 0 to 3 and
        0 to 15. Of ``colour`` masks the luminance.
    step
        Brightness of one unit of ``values``: 1 for 8 bits, 255 for one bit.
    jpeg
        Whether the bytes are JPEG's, whatever the suffix, or those of a WebP that alters values as JPEG does.
    rgb, alpha
        (h, w, 3) and (h, w), where the file has them.
    palette
        (n, 3), where the file has one.
    nodata
        Whether pixels of 255 are those of a GeoTIFF's nodata value.
    orientation
        The EXIF orientation that the file says and that is not applied; 1 for none.

    """

    path: Path
    kind: Kind
    values: NDArray[Any]
    step: int = 1
    jpeg: bool = False
    rgb: Bytes | None = None
    alpha: Bytes | None = None
    palette: Bytes | None = None
    nodata: bool = False
    orientation: int = 1

    @cached_property
    def counts(self) -> Mapping[float, int]:
        """Pixels of each value that occurs."""
        if self.kind == "deep":
            values, numbers = np.unique(self.values, return_counts=True)
            return dict(zip(values.tolist(), numbers.tolist(), strict=True))
        return {value: count for value, count in enumerate(Image.fromarray(self.values).histogram()) if count}

    @property
    def brightness(self) -> NDArray[Any]:
        """What the mask looks like in grey, 0 to 255; of ``deep`` masks the values themselves."""
        if self.palette is not None:
            bright: Bytes = luminance(self.palette)[self.values]
            return bright
        return self.values * np.uint8(self.step) if self.step > 1 else self.values

    @property
    def used_palette(self) -> dict[int, Colour]:
        """Colours of the indices that occur."""
        if self.palette is None:
            return {}
        return {int(k): _colour(self.palette[int(k)]) for k in self.counts if int(k) < len(self.palette)}

    @cached_property
    def flat(self) -> NDArray[np.bool_]:
        """Where nothing but noise changes, in every channel of a mask that has colours."""
        channels = cv2.split(self.rgb) if self.kind == "colour" and self.rgb is not None else (self.values,)
        flat: NDArray[np.bool_] = np.logical_and.reduce([_is_flat(np.asarray(each, np.uint8)) for each in channels])
        return flat

    @property
    def alpha_varies(self) -> bool:
        """Whether some pixels are transparent, and so the mask may lie in the alpha channel."""
        return self.alpha is not None and bool((self.alpha < 255).any())

    def colours(self, flat: bool = False) -> dict[Colour, int]:
        """Pixels of each colour, most frequent first; with ``flat``, in areas without edges and the traces of JPEG alone."""
        chosen = self._packed_rgb[self.flat] if flat else self._packed_rgb
        packed, numbers = np.unique(chosen, return_counts=True)
        order = np.argsort(-numbers, kind="stable")
        return {(int(packed[k]) >> 16, int(packed[k]) >> 8 & 255, int(packed[k]) & 255): int(numbers[k]) for k in order}

    def as_rgb(self) -> Bytes:
        """The mask's colours (h, w, 3), whatever its kind."""
        if self.rgb is not None:
            return self.rgb
        if self.palette is not None:
            rgb: Bytes = self.palette[self.values]
            return rgb
        if self.kind == "deep":
            raise DataError(f"{self.path}: has more than 8 bits a channel, and so no colours", "16-bit")
        return np.repeat(self.brightness[..., None], 3, axis=2)

    def only(self, channel: str) -> StoredMask:
        """The mask that one of :data:`CHANNELS` holds; a file without that channel is a :class:`DataError`."""
        if channel == "grey" and self.kind not in ("colour", "deep"):
            return replace(self, alpha=None)
        band = None
        if channel == "alpha":
            band = self.alpha
        elif channel != "grey" and self.rgb is not None:
            band = self.rgb[..., CHANNELS.index(channel) - 1]
        if band is None:
            kind = "coloured-mask" if channel == "grey" else "encoding"
            raise DataError(f"{self.path}: a {self.kind} mask without the channel '{channel}' that is asked for", kind)
        return StoredMask(self.path, "grey", np.ascontiguousarray(band), jpeg=self.jpeg, orientation=self.orientation)

    def where(self, colour: Colour) -> NDArray[np.bool_]:
        """Pixels of one colour."""
        return np.equal(self._packed_rgb, colour[0] << 16 | colour[1] << 8 | colour[2])

    def numbers_objects(self) -> bool:
        """Whether values are 0 and nearly all of 1, 2 ... n, and nearly each in one piece, as where objects are numbered."""
        found = sorted(int(value) for value in self.counts if value)
        if self.kind not in ("grey", "palette") or not found or found[-1] == 255 or len(found) < NEARLY * found[-1]:
            return False
        divided = 0
        for value in found:
            here = (self.values == value).view(np.uint8)
            left, top, width, height = cv2.boundingRect(here)
            box = here[top : top + height, left : left + width]
            divided += cv2.connectedComponentsWithAlgorithm(box, 8, cv2.CV_32S, cv2.CCL_DEFAULT)[0] > 2
            if divided > (1 - NEARLY) * len(found):
                return False
        return True

    def flat_counts(self) -> dict[float, int]:
        """Pixels of each value in flat areas, which edges and the traces of JPEG round them are not; of grey masks alone."""
        if self.kind != "grey":
            return {}
        counted = cv2.calcHist([self.values], [0], self.flat.astype(np.uint8), [256], [0, 256]).ravel()
        return {value: int(count) for value, count in enumerate(counted) if count}

    def inner_counts(self) -> dict[float, int]:
        """Pixels of each value that have the same value all round; of masks of class indices."""
        if self.kind not in ("grey", "palette") or len(self.counts) < FEW_INNER:
            return {}
        around = np.ones((3, 3), np.uint8)
        inner = np.equal(cv2.dilate(self.values, around), cv2.erode(self.values, around))
        counted = cv2.calcHist([self.values], [0], inner.astype(np.uint8), [256], [0, 256]).ravel()
        return {value: int(count) for value, count in enumerate(counted) if count}

    def block_corners(self) -> Corners | None:
        """Where outlines begin, of masks that may be class indices; see :func:`segstudy.data.blocks.block_corners`."""
        indices = {value for value in self.counts if value != IGNORE}
        if self.kind not in ("grey", "palette") or len(indices) < 2 or max(indices) > MAX_DENSE * len(indices):
            return None
        return block_corners(np.asarray(self.values, np.uint8))

    @cached_property
    def _packed_rgb(self) -> NDArray[np.uint32]:
        return _packed(self.as_rgb())


@dataclass(frozen=True)
class MaskFacts:
    """What is kept of one mask to decide what the values of a set mean.

    ``nodata`` and ``orientation`` as in :class:`StoredMask`; ``numbered`` says that values may be numbers of objects, where that
    was looked at. ``flat`` and ``flat_colours`` count pixels in areas of one level or colour, where there are so many, or JPEG,
    that these are hard to tell from edges. ``inner`` counts pixels that have their own value all round, where it was asked what
    values may be, and ``corners`` where outlines begin, as far as they are level with blocks of 8 x 8 pixels.
    """

    path: Path
    kind: str
    counts: Mapping[float, int]
    jpeg: bool = False
    palette: Mapping[int, Colour] = field(default_factory=dict)
    colours: Mapping[Colour, int] | None = None
    alpha_varies: bool = False
    nodata: bool = False
    numbered: bool = False
    flat: Mapping[float, int] = field(default_factory=dict)
    flat_colours: Mapping[Colour, int] = field(default_factory=dict)
    inner: Mapping[float, int] = field(default_factory=dict)
    corners: Corners | None = None
    orientation: int = 1

    @property
    def values(self) -> set[int]:
        """Values that occur, of masks that have whole numbers."""
        return {int(value) for value in self.counts}


def read_mask(path: Path, channel: str | None = None, *, lenient: bool = False, page: int | None = None) -> StoredMask:
    """Read a mask, or the one channel of it that is declared to hold it; ``lenient`` where it may have but one."""
    stored = read_stored(path, page)
    if channel is None or (lenient and stored.rgb is None):
        return stored
    return stored.only(channel)


def facts_of(stored: StoredMask, objects: bool = False) -> MaskFacts:
    """What is kept of a mask; small, whatever its size. ``objects`` asks what its values may be, where nothing says it."""
    colours = stored.colours() if stored.kind == "colour" else None
    many = colours is not None and (stored.jpeg or len(colours) > FEW_COLOURS)
    return MaskFacts(
        stored.path,
        stored.kind,
        stored.counts,
        stored.jpeg,
        stored.used_palette,
        colours,
        stored.alpha_varies,
        stored.nodata,
        objects and stored.numbers_objects(),
        stored.flat_counts() if stored.jpeg or (objects and len(stored.counts) > FEW_VALUES) else {},
        stored.colours(flat=True) if many else {},
        stored.inner_counts() if objects and not stored.jpeg else {},
        stored.block_corners() if objects and not stored.jpeg else None,
        stored.orientation,
    )


def read_stored(path: Path, page: int | None = None) -> StoredMask:
    """Decode a mask, of several pages the given one, and say nothing of what its values mean.

    Raises
    ------
    DataError
        If it cannot be decoded or has colours of 16 bits, which Pillow would cut.

    """
    image = open_image(path, page)
    return replace(_as_stored(path, image), orientation=image.info["orientation"])


def _as_stored(path: Path, image: Image.Image) -> StoredMask:
    """The values of a decoded mask."""
    if has_more_channels(image):
        text = f"the mask has {image.info['channels']} channels; save the class of each pixel as one channel"
        raise DataError(f"{path}: {text}", "coloured-mask")
    jpeg = image.info["lossy"]
    if image.mode == "1":
        return StoredMask(path, "bilevel", np.asarray(image, np.uint8), 255)
    if image.info["white_first"] and not set(np.unique(np.asarray(image))) <= {0, 255}:
        text = "is a TIFF in which 0 is white, so that its values may be class indices or their opposite"
        raise DataError(f"{path}: {text}; save it as PNG, or with black as 0", "encoding")
    if top := image.info["top"]:
        scaled_to = 255 if image.mode == "L" else 65535
        if image.mode in ("L", "I"):
            whole = of_numbers(path, np.rint(np.asarray(image) * (top / scaled_to)))
            return replace(whole, step=max(255 // top, 1))
    if image.mode.startswith(("I", "F")):
        return of_numbers(path, np.asarray(image), nodata_of(image))
    if image.mode == "L":
        values, bits = np.asarray(image, np.uint8), image.info.get("bits", 8)
        step = 255 // (2**bits - 1) if bits in (2, 4) else 1
        if (nodata := nodata_of(image)) is not None:
            return of_numbers(path, values // step, nodata)
        return StoredMask(path, "grey", values // step if step > 1 else values, step, jpeg)
    if image.mode == "P":
        palette = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        values = np.asarray(image, np.uint8)
        missing = int(values.max(initial=0)) + 1 - len(palette)
        return StoredMask(path, "palette", values, palette=np.pad(palette, ((0, max(missing, 0)), (0, 0))))
    if is_deep(image):
        raise DataError(f"{path}: the mask has colours of 16 bits; convert it to one channel of 8 bits", "16-bit")
    alpha = np.asarray(image.convert("RGBA").getchannel("A")) if image.has_transparency_data else None
    picture = as_rgb(path, image)
    bands = picture.split()
    if not any(ImageChops.difference(bands[0], band).getbbox() for band in bands[1:]):
        grey = np.asarray(bands[0])
        return StoredMask(path, "grey", grey, 1, jpeg, np.broadcast_to(grey[..., None], (*grey.shape, 3)), alpha)
    rgb = np.asarray(picture)
    bright = np.asarray(picture.convert("L"))
    traces = colour_spread(rgb) <= COLOUR_TRACES and (jpeg or _has_traces(bright))
    return StoredMask(path, "grey" if traces else "colour", bright, 1, jpeg, rgb, alpha)


def _is_flat(values: Bytes) -> NDArray[np.bool_]:
    """Where nothing but noise changes."""
    around = np.ones((3, 3), np.uint8)
    changes = cv2.subtract(cv2.dilate(values, around), cv2.erode(values, around))
    return np.asarray(changes) <= FLAT


def _has_traces(bright: Bytes) -> bool:
    """Whether a picture is black and white but for traces, as of a JPEG that was saved again without loss."""
    extreme = (bright <= FLAT) | (bright >= 255 - FLAT)
    return bool((bright >= 255 - FLAT).any() and extreme.mean() >= 1 - MAX_BETWEEN)


def colour_spread(rgb: Bytes) -> int:
    """The largest difference between the channels of a pixel; 0 for a picture that is grey.

    >>> colour_spread(np.array([[[9, 9, 9], [7, 9, 4]]], np.uint8))
    5
    """
    red, green, blue = cv2.split(rgb)
    spread = cv2.subtract(cv2.max(cv2.max(red, green), blue), cv2.min(cv2.min(red, green), blue))
    return int(np.asarray(spread).max(initial=0))


def nodata_of(image: Image.Image) -> float | None:
    """The nodata value that GDAL has written into a TIFF."""
    tag = getattr(image, "tag_v2", {}).get(GDAL_NODATA)
    try:
        return None if tag is None else float(str(tag).strip(" \0"))
    except ValueError:
        return None


def of_numbers(path: Path, values: NDArray[Any], nodata: float | None = None) -> StoredMask:
    """A mask of numbers (h, w) of any type: grey where they fit 8 bits, as many programs write class indices so.

    Pixels of the value ``nodata`` become 255, which is left out; a nodata value of 0 is a class.

    Raises
    ------
    DataError
        For values that are not numbers, and where 255 is a value next to ``nodata``.

    """
    if nodata and (gone := np.isnan(values) if np.isnan(nodata) else values == nodata).any():
        if nodata != 255 and (values == 255).any():
            text = f"holds 255 and its nodata value {nodata:g}, which is left out as 255 is"
            raise DataError(f"{path}: {text}; take the nodata value away, or write another value for 255", "encoding")
        return replace(of_numbers(path, np.where(gone, 255, values)), nodata=True)
    numbers = values.astype(np.float64, copy=False)
    if not np.isfinite(numbers).all():
        raise DataError(
            f"{path}: holds values that are not numbers (NaN or infinite); write a number everywhere", "16-bit"
        )
    if not numbers.size or (numbers.min() >= 0 and numbers.max() <= 255 and (numbers % 1 == 0).all()):
        return StoredMask(path, "grey", values.astype(np.uint8))
    return StoredMask(path, "deep", numbers)


def luminance(rgb: Bytes) -> Bytes:
    """Brightness of colours (..., 3) as Pillow has it (Rec. 601)."""
    flat = np.ascontiguousarray(rgb).reshape(1, -1, 3)
    return np.asarray(Image.fromarray(flat).convert("L")).reshape(rgb.shape[:-1])


def _packed(rgb: Bytes) -> NDArray[np.uint32]:
    wide = rgb.astype(np.uint32)
    return np.asarray(wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2], np.uint32)


def _colour(row: Bytes) -> Colour:
    red, green, blue = (int(part) for part in row)
    return red, green, blue
