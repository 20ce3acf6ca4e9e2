"""GeoTIFF: aerial and satellite images with masks, through rasterio, whole or as tiles.

Pairs are found by patterns (``images: "images/*.tif"``, ``masks: "labels/{stem}.tif"``) or by names that agree. ``tile: 512`` cuts
both into squares from the left upper corner, those at the right and lower edge being smaller. A mask's nodata value is ignored,
and what its own mask of valid pixels leaves out.
All tiles of a file are one group.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from segstudy.data.core import Dataset, Sample
from segstudy.data.quality.faults import fault_of, refuse
from segstudy.data.readers import Reader
from segstudy.data.readers.arrays import labels_of_array
from segstudy.data.readers.numbers import (
    ArrayOptions,
    found_of,
    pairs_of_arrays,
    propose_arrays,
)
from segstudy.data.readers.patterns import files_below
from segstudy.data.readers.pictures import Numbers, picture_of
from segstudy.data.readers.rasters import opened, rasterio_module
from segstudy.data.readers.shapes import MAX_PIXELS
from segstudy.data.readers.values import value_dataset
from segstudy.data.stored import StoredMask
from segstudy.errors import DataError, listing

SUFFIXES = (".tif", ".tiff")
GEO_TAGS = (33550, 33922, 34264, 34735)  # scale, tie points, transformation, keys. Source: OGC GeoTIFF 1.1
MAX_TILES = 1_000_000


class Options(ArrayOptions):
    """``tile``: the side of the squares that files are cut into, in pixels; see also :class:`ArrayOptions`."""

    tile: int | None = Field(None, ge=16, le=16384)


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read GeoTIFF files.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds the files.
    options
        Where they lie, which bands, how they are scaled and cut, and what labels mean.

    Raises
    ------
    DataError
        If rasterio is missing, no pair is found, or ``scale`` or ``bands`` are needed. Files that cannot be used are the
        dataset's ``faults``.

    """
    rasterio_module()
    pairs, faults = pairs_of_arrays(root, options, SUFFIXES, SUFFIXES)
    samples: list[tuple[Sample, str]] = []
    for file, split in pairs:
        try:
            samples += [(sample, split) for sample in _tiles(file, options.tile)]
        except DataError as error:
            faults.append(fault_of(error, file.image, sample=file.id))
    if not samples:
        refuse(f"{root}: no file can be used", faults)
    image_of = partial(_image, tile=options.tile, scale=options.scale, bands=options.bands)
    return value_dataset(
        name, found_of(samples, faults, options), options, partial(_stored, tile=options.tile), image_of
    )


def _tiles(file: Sample, tile: int | None) -> list[Sample]:
    """The samples of a pair: the pair itself, or its tiles with row and column in their ids."""
    with opened(file.image) as image, opened(file.mask) as mask:
        if (image.width, image.height) != (mask.width, mask.height):
            sizes = (
                f"the image is {image.width}x{image.height} but its mask {file.mask.name} is {mask.width}x{mask.height}"
            )
            raise DataError(f"{file.image}: {sizes}; they must have the same size", "size-mismatch")
        placed = all(not each.transform.is_identity for each in (image, mask))
        if placed and not image.transform.almost_equals(mask.transform, 1e-3):
            text = f"{file.image}: its mask {file.mask.name} lies elsewhere on the map"
            raise DataError(f"{text}; resample the mask onto the image", "size-mismatch")
        if tile is None:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{file.image}: has {image.width}x{image.height} pixels; add tile: 1024 to the entry")
            return [file]
        across, down = -(-image.width // tile), -(-image.height // tile)
    if across * down > MAX_TILES:
        raise DataError(f"{file.image}: has {across * down} tiles of {tile} pixels; take larger ones")
    return [
        Sample(f"{file.id}/{row:04d}-{column:04d}", file.image, file.mask, file.id)
        for row in range(down)
        for column in range(across)
    ]


def _pixels(path: Path, sample: Sample, tile: int | None, labels: bool = False) -> tuple[Numbers, float | None]:
    """Values (c, h, w) of a sample, and the value that marks missing data; of ``labels``, as the file's own mask says too."""
    with opened(path) as file:
        window = None
        if tile is not None:
            row, column = (int(part) for part in sample.id.rpartition("/")[2].split("-"))
            size = (min(tile, file.width - column * tile), min(tile, file.height - row * tile))
            window = rasterio_module().windows.Window(column * tile, row * tile, *size)
        elif file.width * file.height * file.count > 4 * MAX_PIXELS:
            raise DataError(f"{path}: has {file.width}x{file.height} pixels; add tile: 1024 to the entry")
        try:
            values = file.read(window=window)
            if labels and rasterio_module().enums.MaskFlags.per_dataset in file.mask_flag_enums[0]:
                valid = file.dataset_mask(window=window) > 0  # the file says of each pixel whether it is valid
                return np.where(valid, values.astype(np.float64), np.nan), math.nan
            return values, file.nodata
        except Exception as error:  # whatever GDAL meets in damaged bytes
            raise DataError(f"{path}: cannot be decoded ({error})", "truncated") from None


def _image(sample: Sample, tile: int | None, scale: list[float] | None, bands: list[int] | None) -> Image.Image:
    values, _ = _pixels(sample.image, sample, tile)
    return picture_of(np.moveaxis(values, 0, 2), sample.image, scale, bands)


def _stored(sample: Sample, tile: int | None) -> StoredMask:
    values, nodata = _pixels(sample.mask, sample, tile, labels=True)
    if len(values) != 1:
        text = f"{sample.mask}: a mask has one band, and this has {len(values)}; save the class of each pixel"
        raise DataError(text, "coloured-mask")
    return labels_of_array(values[0], sample.mask, nodata)


def _first(path: Path) -> Numbers:
    return np.moveaxis(_pixels(path, Sample("", path, path), None)[0], 0, 2)


def _propose(root: Path) -> dict[str, Any]:
    with contextlib.suppress(DataError):
        return propose_arrays(root, DEFAULTS, (SUFFIXES, SUFFIXES), _first)
    return {}


def _recognise(root: Path) -> str:
    found = [path for path in files_below(root) if path.lower().endswith(SUFFIXES)]
    for path in found[:3]:
        with contextlib.suppress(Exception), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(root / path) as image:
                if not any(tag in getattr(image, "tag_v2", {}) for tag in GEO_TAGS):
                    return ""
    return f"it holds {listing(found, 2)}, which are GeoTIFF" if found else ""


def _pictures(path: Path, options: Options) -> dict[str, Callable[[], Image.Image]]:
    image_of = partial(_image, tile=options.tile, scale=options.scale, bands=options.bands)
    return {tile.id: partial(image_of, tile) for tile in _tiles(Sample("", path, path), options.tile)}


READER = Reader(Options, read, _recognise, _propose, SUFFIXES, _pictures)
