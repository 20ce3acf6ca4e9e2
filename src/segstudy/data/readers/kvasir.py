"""Kvasir-SEG: polyps in colonoscopy images.

Layout: ``images/<name>.jpg`` and ``masks/<name>.jpg`` in the root itself, in ``Kvasir-SEG/`` or in
``kvasir-seg/Kvasir-SEG/``. The masks are JPEG files, near 0 and 255 only, hence thresholded at their own size.
There is no official split: the review's is made, 80/20 of the sorted file names.
"""

from __future__ import annotations

from pathlib import Path

from segstudy.data.core import Dataset, divide
from segstudy.data.encoding import threshold_labels
from segstudy.data.quality.pairing import match_by_stem
from segstudy.data.readers import Reader
from segstudy.errors import DataError
from segstudy.schema import ReaderOptions

CLASSES = ("background", "polyp")
PALETTE = ((0, 0, 0), (230, 159, 0))


class Options(ReaderOptions):
    """Kvasir-SEG has no options of its own."""


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read Kvasir-SEG, divided into ``train`` and ``test``.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds ``images/`` and ``masks/``, or one above it.
    options
        Fraction and seed of the division, as ``test_size`` and
        ``random_state`` of scikit-learn's ``train_test_split`` over the sorted file names.

    Raises
    ------
    DataError
        If the folders are missing, or no image has a mask; lone files among others are the dataset's ``faults``.

    Source: Jha et al., "Kvasir-SEG: A Segmented Polyp Dataset", MultiMedia Modeling 2020.
    """
    folder = _find(root)
    samples, faults = match_by_stem(folder / "images", folder / "masks")
    train, test = divide(samples, options.test_fraction, options.split_seed)
    splits = {"train": train, "test": test}
    return Dataset(name, CLASSES, PALETTE, splits, threshold_labels, by_fraction=True, faults=faults)


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


def _recognise(root: Path) -> str:
    if (root / "kavsir_bboxes.json").is_file():
        return "it holds kavsir_bboxes.json"
    return "its name holds kvasir" if "kvasir" in root.name.lower() else ""


READER = Reader(Options, read, _recognise)
