"""Counts of resampled images. Letters: b resamples, g groups, n images, k numbers of one image's counts, in a row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[Any]
Values = NDArray[np.float64]
Function = Callable[[Any], NDArray[np.float64]]
Networks = Mapping[int, Counts]


def merge_groups(counts: Counts, groups: Sequence[object] | NDArray[Any] | None) -> Counts:
    """Add the counts (n, ...) of images that have the same label: (g, ...), in order of first appearance.

    Images of one patient, video or city resemble each other; what is drawn at random is then the group.

    Parameters
    ----------
    counts
        (n, ...).
    groups
        n labels, of any kind that can be compared for equality; None: every image is its own group.

    Raises
    ------
    DataError
        If the number of labels is not n.

    """
    raise NotImplementedError


def bootstrap(
    counts: Counts, function: Function, generator: np.random.Generator, num_resamples: int = 10_000
) -> Values:
    """Values (b, ...) of ``function`` for resamples of n images, drawn with replacement from ``counts`` (n, ...)."""
    raise NotImplementedError


def leave_one_out(counts: Counts, function: Function) -> Values:
    """Values (n, ...) of ``function`` when each image in turn is missing from ``counts`` (n, ...)."""
    raise NotImplementedError
