"""Counts of resampled images, and what each image does to a value.

Letters: b resamples, g groups, n images, k numbers of one image's counts, m values of a function.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Counts, Values
from segstudy.errors import DataError

Function = Callable[[Any], NDArray[np.float64]]
Networks = Mapping[int, Counts]
GroupLabels = Sequence[object] | NDArray[Any]

_CHUNK = 4_000_000  # float64 numbers that one step may hold: 32 MB, and a function makes a few copies of its input


def merge_groups(counts: Counts, groups: GroupLabels | None) -> Counts:
    """Add the counts (n, ...) of images that have the same label: (g, ...), in order of first appearance.

    Images of one patient, video or city resemble each other; what is drawn at random is then the group.

    Parameters
    ----------
    counts
        (n, ...).
    groups
        n labels; None: every image is its own group.

    Raises
    ------
    DataError
        If the number of labels is not n.

    >>> merge_groups(np.array([1, 2, 4]), ["ann", "bob", "ann"]).tolist()
    [5, 2]
    """
    if groups is None:
        return counts
    labels = list(groups)
    if len(labels) != len(counts):
        raise DataError(f"{len(labels)} group labels for {len(counts)} images; every image needs one")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    merged = np.zeros((len(numbers), *counts.shape[1:]), counts.dtype)
    np.add.at(merged, [numbers[label] for label in labels], counts)
    return merged


def checked(networks: Networks, groups: GroupLabels | None) -> dict[int, Counts]:
    """Counts of each seed, in order of seeds, images of one group merged.

    Raises
    ------
    DataError
        If there is no network or no image, or networks differ in the shape of their counts.

    """
    shapes = {seed: np.shape(counts) for seed, counts in sorted(networks.items())}
    if not shapes or 0 in {shape[0] for shape in shapes.values()}:
        raise DataError("there are no counts of any image; evaluate a network first")
    if len(set(shapes.values())) > 1:
        shapes_text = ", ".join(f"seed {seed}: {shape}" for seed, shape in shapes.items())
        raise DataError(f"networks must be scored on the same images and classes, but their counts are {shapes_text}")
    return {seed: merge_groups(np.asarray(networks[seed]), groups) for seed in shapes}


def bootstrap(
    counts: Counts, function: Function, generator: np.random.Generator, num_resamples: int = 10_000
) -> Values:
    """Values (b, ...) of ``function`` for resamples of n images, drawn with replacement from ``counts`` (n, ...).

    How often each image was drawn makes a matrix (b, n); its product with the counts (n, k) is the merged counts of
    every resample.

    Source: Efron, Bootstrap methods: another look at the jackknife, Ann. Statist. 1979.
    """
    num_images = len(counts)
    flat = counts.reshape(num_images, -1).astype(np.float64)
    values = []
    for chunk in chunks(num_resamples, num_images + 4 * flat.shape[1]):
        size = len(chunk)
        drawn = generator.integers(0, num_images, (size, num_images))
        drawn += np.arange(size)[:, None] * num_images
        times = np.bincount(drawn.ravel(), minlength=size * num_images).reshape(size, num_images)
        values.append(function((times.astype(np.float64) @ flat).reshape(size, *counts.shape[1:])))
    return np.concatenate(values)


def leave_one_out(counts: Counts, function: Function) -> Values:
    """Values (n, ...) of ``function`` when each image in turn is missing from ``counts`` (n, ...).

    >>> leave_one_out(np.array([[1, 1], [0, 1], [1, 2]]), lambda merged: merged[..., 0] / merged[..., 1]).round(3).tolist()
    [0.333, 0.667, 0.5]
    """
    total = counts.sum(axis=0, dtype=np.float64)
    size = 4 * math.prod(counts.shape[1:])
    return np.concatenate([function(total - counts[chunk.start : chunk.stop]) for chunk in chunks(len(counts), size)])


def influences(counts: Counts, function: Function) -> tuple[Values, Values]:
    """Value (m,) of the merged ``counts`` (n, ...), and each image's influence (n, m) on it, of mean 0.

    An image's influence is (n - 1) times what the value loses without it: for a mean, the image's distance from it.
    Their variance, divided by n, is the value's variance over images (the jackknife). NaN where the value is
    undefined without some image.

    Source: Tukey, Bias and confidence in not-quite large samples, Ann. Math. Statist. 1958.
    """
    value = np.asarray(function(counts.sum(axis=0, dtype=np.float64)))
    if len(counts) == 1:
        return value, np.full((1, *value.shape), np.nan)
    effects = (len(counts) - 1) * (value - leave_one_out(counts, function))
    return value, effects - effects.mean(axis=0)


def chunks(number: int, size: int) -> Iterator[range]:
    """Cut ``range(number)`` so that each part, at ``size`` numbers an item, stays within the memory allowed."""
    step = max(1, _CHUNK // max(1, size))
    for start in range(0, number, step):
        yield range(start, min(start + step, number))
