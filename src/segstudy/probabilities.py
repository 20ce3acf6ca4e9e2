"""Probabilities of an evaluation, one small file an image: written on request, read back as floats.

Array letters: ``c`` class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy.errors import StoreError
from segstudy.files import read_arrays, write_arrays

STEPS = 255  # a probability is kept as a whole number of 255ths


def write_probabilities(path: Path, probabilities_chw: NDArray[np.uint8]) -> None:
    """Write probabilities in 255ths; of two classes, only the second is kept, as both add up to 1."""
    num_classes = len(probabilities_chw)
    kept = probabilities_chw[1:] if num_classes == 2 else probabilities_chw
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, {"probabilities": kept}, {"classes": num_classes, "steps": STEPS})


def read_probabilities(path: Path) -> NDArray[np.float32]:
    """Probabilities (c, h, w) of one image, float32 in 0 to 1, right to 1 / 510.

    Parameters
    ----------
    path
        A file below ``probabilities/`` in a run's folder.

    Raises
    ------
    StoreError
        If the file is missing, damaged or of another kind.

    """
    arrays, meta = read_arrays(path)
    kept: Any = arrays.get("probabilities")
    if kept is None or kept.ndim != 3 or "classes" not in meta:
        raise StoreError(f"{path}: holds no probabilities")
    found: NDArray[np.float32] = kept.astype(np.float32) / STEPS
    return np.concatenate([1 - found, found]) if meta["classes"] == 2 else found
