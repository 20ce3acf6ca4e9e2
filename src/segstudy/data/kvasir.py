"""Kvasir-SEG: polyps in colonoscopy images.

Layout: ``images/<name>.jpg`` and ``masks/<name>.jpg`` in the root itself, in ``Kvasir-SEG/`` or in
``kvasir-seg/Kvasir-SEG/``. The masks are JPEG files, near 0 and 255 only, hence thresholded at their own size.
There is no official split: the review's is made, 80/20 of the sorted file names.
"""

from __future__ import annotations

from pathlib import Path

from segstudy.data.core import Dataset, divide, pair_by_stem, threshold_labels
from segstudy.errors import DataError

CLASSES = ("background", "polyp")
PALETTE = ((0, 0, 0), (230, 159, 0))


def read(name: str, root: Path, *, test_fraction: float = 0.2, split_seed: int = 42) -> Dataset:
    """Read Kvasir-SEG, divided into ``train`` and ``test``.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds ``images/`` and ``masks/``, or one above it.
    test_fraction, split_seed
        As ``test_size`` and ``random_state`` of scikit-learn's ``train_test_split`` over the sorted file names.

    Raises
    ------
    DataError
        If the folders are missing, or an image has no mask, or the reverse.

    Source: Jha et al., "Kvasir-SEG: A Segmented Polyp Dataset", MultiMedia Modeling 2020.
    """
    folder = _find(root)
    train, test = divide(pair_by_stem(folder / "images", folder / "masks"), test_fraction, split_seed)
    return Dataset(name, CLASSES, PALETTE, {"train": train, "test": test}, threshold_labels)


def _find(root: Path) -> Path:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    for folder in (root, root / "Kvasir-SEG", root / "kvasir-seg" / "Kvasir-SEG"):
        if (folder / "images").is_dir() and (folder / "masks").is_dir():
            return folder
    raise DataError(
        f"{root}: Kvasir-SEG not found; expected the folders images/ and masks/ here, in Kvasir-SEG/ "
        "or in kvasir-seg/Kvasir-SEG/"
    )
