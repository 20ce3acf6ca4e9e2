"""Masks in any file that a reader reads, for ``segstudy score``: pictures, NumPy arrays and stacks, MATLAB arrays, volumes."""

from __future__ import annotations

from pathlib import Path

from segstudy.data.core import IMAGE_SUFFIXES, Sample
from segstudy.data.declared import Declared
from segstudy.data.readers import arrays, nifti
from segstudy.data.stored import StoredMask, read_mask

MASK_FILES = (*IMAGE_SUFFIXES, *arrays.ARRAYS, *nifti.SUFFIXES)


def masks_in(path: Path) -> list[str]:
    """What is added to a file's name for each mask in it: a number for each slice of a volume and each row of a stack."""
    if path.name.lower().endswith(nifti.SUFFIXES):
        return nifti.slice_names(path)
    return arrays.row_names(path) if path.suffix.lower() == ".npy" else [""]


def read_mask_file(path: Path, name: str, declared: Declared, lenient: bool = False) -> StoredMask:
    """One mask of a file; ``name`` ends with what :func:`masks_in` adds. See :func:`segstudy.data.stored.read_mask`."""
    sample = Sample(name, path, path)
    if path.name.lower().endswith(nifti.SUFFIXES):
        return nifti.stored_slice(sample, axis=2)
    if path.suffix.lower() in arrays.ARRAYS:
        return arrays.stored_array(sample)
    return read_mask(path, declared.channel, lenient=lenient, page=declared.page)
