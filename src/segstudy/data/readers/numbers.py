"""Shared by readers of arrays: pairs of files by patterns, and conversion of any numbers to 8-bit images.

Array letters: ``h`` height, ``w`` width, ``c`` channel.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from pydantic import Field, model_validator

from segstudy.data.core import Sample
from segstudy.data.quality.faults import Fault
from segstudy.data.readers.annotated import splits_of
from segstudy.data.readers.patterns import SPLIT_OF, Suffixes, pairs_by_pattern, propose
from segstudy.data.readers.pictures import Numbers
from segstudy.data.readers.values import Found, ValueOptions
from segstudy.errors import DataError, listing
from segstudy.schema import ReaderOptions

MAX_VALUES = 2_000_000_000  # of one array


class ArrayOptions(ValueOptions):
    """Which files hold images and masks, and how their numbers are read.

    ``images`` and ``masks`` are folders or patterns as the reader ``folder`` has them. ``scale`` gives the numbers that become
    black and white, linearly, what lies beyond being cut off; ``bands`` chooses one or three channels of an image. What the
    masks' values mean: see :class:`~segstudy.data.readers.values.ValueOptions`.
    """

    images: str | None = Field(None, min_length=1)
    masks: str | None = Field(None, min_length=1)
    scale: list[float] | None = Field(None, min_length=2, max_length=2)
    bands: list[Annotated[int, Field(ge=0)]] | None = Field(None, min_length=1, max_length=3)

    @model_validator(mode="after")
    def _fit(self) -> ArrayOptions:
        if self.scale is not None and not self.scale[0] < self.scale[1]:
            raise ValueError(f"scale {self.scale} must be [black, white], the smaller number first")
        if self.bands is not None and len(self.bands) == 2:
            raise ValueError(f"bands {self.bands} must be one channel or three")
        return self


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
    splits, by_fraction, unplaced = splits_of(samples, options)
    return Found(splits, faults=[*faults, *unplaced], by_fraction=by_fraction)


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
