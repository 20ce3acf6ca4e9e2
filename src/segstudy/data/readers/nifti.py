"""NIfTI: volumes as slices, through nibabel.

``imagesTr/*.nii.gz`` with ``labelsTr/*.nii.gz`` (Medical Segmentation Decathlon, nnU-Net), ``*_gt.nii.gz`` with their images
(ACDC), ``volume-*.nii`` with ``segmentation-*.nii`` (LiTS), or patterns. Slices are taken along ``axis`` in stored order; the
first of the two other axes runs across, the second down. All slices of a volume are one group and stay in one split.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image
from pydantic import Field

from segstudy.data.core import Dataset, Sample
from segstudy.data.quality.faults import Fault, fault_of, refuse
from segstudy.data.readers import Reader
from segstudy.data.readers.arrays import labels_of_array
from segstudy.data.readers.numbers import (
    MAX_VALUES,
    ArrayOptions,
    found_of,
    pairs_of_arrays,
    propose_arrays,
)
from segstudy.data.readers.patterns import files_below
from segstudy.data.readers.pictures import Numbers, picture_of
from segstudy.data.readers.values import value_dataset
from segstudy.data.stored import StoredMask
from segstudy.errors import DataError, listing

SUFFIXES = (".nii", ".nii.gz")


class Options(ArrayOptions):
    """``axis`` to cut along; ``slices``: ``all``, or those that are ``labelled``; see also :class:`ArrayOptions`."""

    axis: Literal[0, 1, 2] = Field(2)
    slices: Literal["all", "labelled"] = Field("all")


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read volumes as slices.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds the volumes.
    options
        Where they lie, how they are cut and scaled, and what labels mean.

    Raises
    ------
    DataError
        If nibabel is missing, no pair is found, or ``scale`` is needed. Volumes that cannot be used are the dataset's
        ``faults``.

    """
    _nibabel()
    pairs, faults = pairs_of_arrays(root, options, SUFFIXES, SUFFIXES)
    samples: list[tuple[Sample, str]] = []
    for volume, split in pairs:
        try:
            samples += [(sample, split) for sample in _slices(volume, options)]
        except DataError as error:
            faults.append(fault_of(error, volume.image, sample=volume.id))
    if not samples:
        refuse(f"{root}: no volume can be used", faults)
        raise DataError(f"{root}: no slice is labelled; remove slices: labelled, or inspect the masks")
    found = _by_volume(samples, faults, options)
    image_of = partial(_image, axis=options.axis, scale=options.scale, bands=options.bands)
    stored_of = partial(stored_slice, axis=options.axis)
    return value_dataset(name, found, options, stored_of, image_of)


def _by_volume(samples: list[tuple[Sample, str]], faults: list[Fault], options: Options) -> Any:
    """Splits as named; without any, whole volumes are divided by fraction."""
    from segstudy.data.core import divide

    found = found_of(samples, faults, options) if len(samples) > 1 else None
    if found is not None and not found.by_fraction:
        return found
    volumes = sorted({sample.group for sample, _ in samples})
    if len(volumes) < 2:
        raise DataError(f"{samples[0][0].image}: is the only volume; training and testing need one each")
    train, _ = divide([Sample(group, Path(), Path()) for group in volumes], options.test_fraction, options.split_seed)
    training = {sample.id for sample in train}
    assert found is not None
    found.splits = {
        "train": tuple(sample for sample, _ in samples if sample.group in training),
        "test": tuple(sample for sample, _ in samples if sample.group not in training),
    }
    return found


def _slices(volume: Sample, options: Options) -> list[Sample]:
    image, mask = _header(volume.image), _header(volume.mask)
    if image.shape[:3] != mask.shape[:3]:
        text = f"{volume.image}: is {image.shape[:3]} voxels but its mask {volume.mask.name} {mask.shape[:3]}"
        raise DataError(f"{text}; they must have the same size", "size-mismatch")
    if not np.allclose(image.affine, mask.affine, atol=1e-2):
        text = f"{volume.image}: its mask {volume.mask.name} lies elsewhere in space (their affines differ)"
        raise DataError(f"{text}; resample the mask onto the image", "size-mismatch")
    numbers = range(image.shape[options.axis])
    if options.slices == "labelled":
        labels = np.moveaxis(_values(volume.mask), options.axis, 0)
        numbers = [k for k in numbers if labels[k].any()]  # type: ignore[assignment]
    return [Sample(f"{volume.id}/{k:04d}", volume.image, volume.mask, volume.id) for k in numbers]


def _cut(path: Path, sample: Sample, axis: int) -> Numbers:
    """A slice (h, w) or (h, w, c)."""
    plane: Numbers = np.moveaxis(_values(path), axis, 0)[int(sample.id.rpartition("/")[2])]
    return np.moveaxis(plane, 0, 1)


def _image(sample: Sample, axis: int, scale: list[float] | None, bands: list[int] | None) -> Image.Image:
    return picture_of(_cut(sample.image, sample, axis), sample.image, scale, bands)


def stored_slice(sample: Sample, axis: int) -> StoredMask:
    """The slice of a volume of masks whose number ends the sample's id."""
    values = _cut(sample.mask, sample, axis)
    if values.ndim == 3 and values.shape[2] == 1:
        values = values[..., 0]
    return labels_of_array(values, sample.mask)


def _header(path: Path) -> Any:
    """Open a volume of three dimensions, or four with channels last, without reading its values."""
    try:
        volume = _nibabel().load(path)
        shape = volume.shape
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing", "missing") from None
    except Exception as error:  # whatever nibabel meets in damaged bytes
        raise DataError(f"{path}: cannot be read as NIfTI ({error})", "unreadable") from None
    if len(shape) not in (3, 4) or min(shape) < 1 or np.prod(shape, dtype=float) > MAX_VALUES:
        raise DataError(
            f"{path}: a volume has three dimensions, and channels as a fourth; this has {shape}", "unreadable"
        )
    return volume


def _values(path: Path) -> Numbers:
    try:
        return _load(path, path.stat().st_mtime_ns)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error})", "unreadable") from None


@functools.lru_cache(maxsize=4)
def _load(path: Path, _changed: int) -> Numbers:
    volume = _header(path)
    try:
        values: Numbers = np.asanyarray(volume.dataobj)
    except Exception as error:  # whatever nibabel meets in damaged bytes
        raise DataError(f"{path}: cannot be read as NIfTI ({error})", "truncated") from None
    return values


def _nibabel() -> Any:
    try:
        import nibabel
    except ImportError:
        raise DataError("the reader 'nifti' needs nibabel; pip install 'segstudy[nifti]'") from None
    return nibabel


def _propose(root: Path) -> dict[str, Any]:
    with contextlib.suppress(DataError):
        return propose_arrays(root, DEFAULTS, (SUFFIXES, SUFFIXES), _values)
    return {}


def _recognise(root: Path) -> str:
    found = [path for path in files_below(root) if path.lower().endswith(SUFFIXES)]
    return f"it holds {listing(found, 2)}" if found else ""


def slice_names(path: Path, axis: int = 2) -> list[str]:
    """What is added to a volume's name for each of its slices."""
    return [f"/{k:04d}" for k in range(_header(path).shape[axis])]


def _pictures(path: Path, options: Options) -> dict[str, Callable[[], Image.Image]]:
    image_of = partial(_image, axis=options.axis, scale=options.scale, bands=options.bands)
    return {end: partial(image_of, Sample(path.name + end, path, path)) for end in slice_names(path, options.axis)}


READER = Reader(Options, read, _recognise, _propose, SUFFIXES, _pictures)
