"""How a dataset's samples are divided, beyond what its layout says: whole groups, equal shares of classes, folds, files."""

from __future__ import annotations

from pathlib import Path

from segstudy.data.core import Dataset


def split_hash(dataset: Dataset) -> str:
    """Hash of the ids in each split, 16 hex digits: equal exactly when the same images stand in splits of the same names.

    Neither the order of the images nor the dataset's name nor where it lies counts.
    """
    raise NotImplementedError


def write_split(path: Path, dataset: Dataset) -> None:
    """Write which images stand in which split, the holdout included, as JSON: ``name``, ``hash``, ``splits``.

    Raises
    ------
    StoreError
        If ``path`` cannot be written.

    """
    raise NotImplementedError


def read_split(path: Path, dataset: Dataset) -> Dataset:
    """Give ``dataset`` the splits of a file that :func:`write_split` wrote, in the file's order.

    Raises
    ------
    DataError
        If the file is no split, was changed since it was written, or names other images than the dataset has.

    """
    raise NotImplementedError


def groups_across_splits(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Groups with images in more than one split: group -> split -> number of its images there, sorted by group.

    Empty where no group is divided, and where the study names no groups.
    """
    raise NotImplementedError
