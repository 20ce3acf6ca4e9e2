"""ADE20K in the layout of the scene parsing challenge: 150 classes.

Layout: ``images/training/*.jpg``, ``annotations/training/*.png`` and the same for ``validation``, in the root or in
``ADEChallengeData2016/``.
Masks hold 1 to 150; 0 is what was not annotated, and is ignored. Value k is label k - 1. ``objectInfo150.txt`` names the classes.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from segstudy.data.core import Dataset
from segstudy.data.declared import IGNORE_NAME, Declared
from segstudy.data.quality.pairing import match_by_stem
from segstudy.data.readers import Reader
from segstudy.data.readers.values import Found, ValueOptions, value_dataset
from segstudy.errors import DataError
from segstudy.files import read_text
from segstudy.schema import ReaderOptions

NUM_CLASSES = 150
FOLDERS = {"train": "training", "val": "validation"}


class Options(ReaderOptions):
    """ADE20K has no options of its own."""


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read ADEChallengeData2016 with its splits ``train`` and ``val``.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds ``images/`` and ``annotations/``, or the one above it.
    options
        None of its own.

    Raises
    ------
    DataError
        If folders are missing, or no image has a mask; lone files among others are the dataset's ``faults``.

    Source: Zhou et al., "Scene Parsing through ADE20K Dataset", CVPR 2017.
    """
    base = _find(root)
    found = Found()
    for split, folder in FOLDERS.items():
        if (base / "images" / folder).is_dir():
            parts = base / "images" / folder, base / "annotations" / folder
            found.splits[split], faults = match_by_stem(*parts, prefix=f"{split}/", split=split)
            found.faults += faults
    names = _names(base)
    values: dict[float, str] = {0: IGNORE_NAME, **dict(enumerate(names, 1))}
    return value_dataset(name, found, ValueOptions(), fixed=Declared(classes=names, values=values))


def _names(base: Path) -> tuple[str, ...]:
    """Class names from the last column of ``objectInfo150.txt``, separated by tabs; numbers if there is no such file."""
    numbered = tuple(f"class_{k}" for k in range(1, NUM_CLASSES + 1))
    path = next((p for p in (base / "objectInfo150.txt", base.parent / "objectInfo150.txt") if p.is_file()), None)
    if path is None:
        return numbered
    try:
        lines = read_text(path).splitlines()[1:]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
    whole = [line.split("\t")[-1].strip() for line in lines if line.strip()]
    short = [name.partition(";")[0].partition(",")[0].strip() for name in whole]
    names = [one if short.count(one) == 1 else full for one, full in zip(short, whole, strict=True)]
    if not 2 <= len(names) <= 254 or len(set(names)) < len(names) or "" in names or IGNORE_NAME in names:
        raise DataError(
            f"{path}: must name each class once, in the last column of its {NUM_CLASSES} rows; copy it again"
        )
    return tuple(names)


def _find(root: Path) -> Path:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    for base in (root, root / "ADEChallengeData2016"):
        if (base / "images" / "training").is_dir() and (base / "annotations" / "training").is_dir():
            return base
    raise DataError(f"{root}: ADE20K not found; expected images/training/ and annotations/training/")


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError):
        base = _find(root)
        if base.name == "ADEChallengeData2016" or any(base.glob("annotations/training/ADE_*.png")):
            return "it holds annotations/training/ of ADE20K"
        if (base / "objectInfo150.txt").is_file():
            return "it holds objectInfo150.txt"
    return ""


READER = Reader(Options, read, _recognise)
