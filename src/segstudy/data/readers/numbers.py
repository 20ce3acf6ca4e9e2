"""Shared by readers of arrays: pairs of files by patterns, and conversion of any numbers to 8-bit images.

Array letters: ``h`` height, ``w`` width, ``c`` channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import Field

from segstudy.data.core import Sample, open_image
from segstudy.data.quality.faults import Fault
from segstudy.data.readers.annotated import splits_of
from segstudy.data.readers.patterns import SPLIT_OF, Suffixes, pairs_by_pattern, propose
from segstudy.data.readers.values import Found, ValueOptions
from segstudy.errors import DataError, listing
from segstudy.schema import ReaderOptions

MAX_VALUES = 2_000_000_000  # of one array
Numbers = NDArray[Any]


class ArrayOptions(ValueOptions):
    """Which files hold images and masks, and how their numbers are read.

    ``images`` and ``masks`` are patterns as the reader ``folder`` has them. ``scale`` gives the numbers that become black
    and white, linearly, what lies beyond being cut off; ``bands`` chooses one or three channels of an image. What the masks'
    values mean: see :class:`~segstudy.data.readers.values.ValueOptions`.
    """

    images: str | None = Field(None, min_length=1)
    masks: str | None = Field(None, min_length=1)
    scale: list[float] | None = Field(None, min_length=2, max_length=2)
    bands: list[Annotated[int, Field(ge=0)]] | None = Field(None, min_length=1, max_length=3)


def pairs_of_arrays(
    root: Path, options: ArrayOptions, image_suffixes: Suffixes, mask_suffixes: Suffixes
) -> tuple[list[tuple[Sample, str]], list[Fault]]:
    """Samples with their splits, and faults, by the options' patterns or by those that the names suggest.

    Raises
    ------
    DataError
        If no patterns are given and none are clear, or they find no pair.

    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    given = {"images": options.images, "masks": options.masks}
    if None in given.values():
        given = {**propose(root, image_suffixes, mask_suffixes), **{k: v for k, v in given.items() if v}}
    images, masks = given.get("images"), given.get("masks")
    if images is None or masks is None:
        raise DataError(
            f"{root}: cannot tell which files ({listing(dict.fromkeys((*image_suffixes, *mask_suffixes)), 20)}) are images "
            'and which are masks; add patterns to the entry, such as images: "img/{id}.npy" and masks: "gt/{id}.npy"'
        )
    pairs, faults = pairs_by_pattern(root, images, masks, image_suffixes, mask_suffixes)
    return [(sample, SPLIT_OF.get(split.lower(), "")) for sample, split in pairs], faults


def found_of(samples: Sequence[tuple[Sample, str]], faults: Sequence[Fault], options: ReaderOptions) -> Found:
    """Samples in their splits, divided by fraction where none are named."""
    splits, by_fraction = splits_of(samples, options)
    return Found(splits, faults=list(faults), by_fraction=by_fraction)


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
        raise DataError(f"{path}: an array of shape {values.shape} is no image", "unreadable")
    if values.dtype.kind not in "biuf" or not values.size:
        raise DataError(f"{path}: holds {values.dtype} {values.shape}, which is no image", "unreadable")
    if values.dtype == np.uint8 and scale is None:
        return Image.fromarray(np.ascontiguousarray(values))
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(
            f"{path}: holds values that are no numbers (NaN or infinite); write a number everywhere", "16-bit"
        )
    if scale is None:
        low, high = float(values.min()), float(values.max())
        text = (
            f"{path}: holds {values.dtype} from {low:g} to {high:g}; add scale: [{low:g}, {high:g}] to the entry, the"
        )
        raise DataError(f"{text} numbers that become black and white in all images", "16-bit")
    if not scale[0] < scale[1]:
        raise DataError(f"scale: {list(scale)} must be two numbers, the smaller first")
    share = (values.astype(np.float64) - scale[0]) / (scale[1] - scale[0])
    return Image.fromarray(np.rint(255 * np.clip(share, 0, 1)).astype(np.uint8))


def _chosen(values: Numbers, path: Path, bands: Sequence[int] | None) -> Numbers:
    """The channels that the options choose; all of them if there are one or three."""
    number = values.shape[2]
    if bands is None:
        if number == 1:
            return values[..., 0]
        if number != 3:
            text = f"{path}: holds {number} channels; add bands: [0] or bands: [0, 1, 2] to the entry, those to be used"
            raise DataError(text, "mode")
        return values
    if max(bands) >= number or len(bands) == 2:
        raise DataError(f"{path}: bands: {list(bands)} must be one or three of 0 to {number - 1}", "mode")
    return values[..., bands[0]] if len(bands) == 1 else values[..., list(bands)]


def propose_arrays(
    root: Path,
    options: ArrayOptions,
    suffixes: tuple[Suffixes, Suffixes],
    first_image: Callable[[Path], Numbers],
    pictures: Suffixes = (),
) -> dict[str, Any]:
    """Options that a folder of arrays needs: its patterns, and ``bands`` and ``scale`` as its first image suggests."""
    lines: dict[str, Any] = dict(propose(root, *suffixes))
    if not lines:
        return {}
    pairs, _ = pairs_by_pattern(root, lines["images"], lines["masks"], *suffixes)
    image = pairs[0][0].image
    if image.suffix.lower() in pictures:
        return lines
    values = first_image(image)
    if values.ndim == 3 and values.shape[2] not in (1, 3):
        lines["bands"] = [0] if values.shape[2] < 3 else [0, 1, 2]
        values = values[..., lines["bands"]]
    if values.dtype != np.uint8 and values.size and np.isfinite(values.astype(np.float64)).all():
        low, high = (round(float(edge), 3) for edge in np.percentile(values, (0.5, 99.5)))
        lines["scale"] = [low, high if high > low else low + 1]
    return lines


def open_picture(sample: Sample) -> Image.Image:
    """A sample's image of a format that Pillow reads."""
    return open_image(sample.image)
