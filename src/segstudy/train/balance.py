"""Balance between classes: weights of classes in a loss and of images in sampling, from true pixels of the training split.

Array letters: ``n`` image, ``c`` class. This module loads no torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from segstudy.data.cache.arrays import CachedSplit

Counts = NDArray[np.int64]
Floats = NDArray[np.float64]


def inverse_frequency(pixels_nc: Counts, beta: float = 0.0) -> Floats:
    """One over the share of pixels of each class.

    >>> inverse_frequency(np.array([[30, 10]])).round(3).tolist()
    [1.333, 4.0]
    """
    pixels_c = pixels_nc.sum(0)
    weights_c: Floats = np.divide(pixels_c.sum(), pixels_c, out=np.zeros(len(pixels_c)), where=pixels_c > 0)
    return weights_c


def median_frequency(pixels_nc: Counts, beta: float = 0.0) -> Floats:
    """Median of all classes' frequencies over the frequency of each; a class counts only in images that contain it.

    Source: Eigen and Fergus, "Predicting Depth, Surface Normals and Semantic Labels", ICCV 2015, section 6.3.2.

    >>> median_frequency(np.array([[30, 10], [40, 0]])).round(3).tolist()
    [0.643, 2.25]
    """
    where_there_c = np.where(pixels_nc > 0, pixels_nc.sum(1, keepdims=True), 0).sum(0)
    there_c = where_there_c > 0
    frequency_c = np.divide(pixels_nc.sum(0), where_there_c, out=np.zeros(len(there_c)), where=there_c)
    median = float(np.median(frequency_c[there_c])) if there_c.any() else 0.0
    weights_c: Floats = np.divide(median, frequency_c, out=np.zeros(len(there_c)), where=there_c)
    return weights_c


def effective_number(pixels_nc: Counts, beta: float) -> Floats:
    """One over the effective number of pixels, ``(1 - beta ** n) / (1 - beta)``; the weights of present classes have mean 1.

    Source: Cui et al., "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019, equation 3.

    >>> effective_number(np.array([[1, 2]]), 0.5).round(3).tolist()
    [1.2, 0.8]
    """
    pixels_c = pixels_nc.sum(0)
    weights_c = np.zeros(len(pixels_c))
    there_c = pixels_c > 0
    weights_c[there_c] = (1 - beta) / -np.expm1(pixels_c[there_c] * math.log(beta))
    return weights_c / (weights_c[there_c].mean() if there_c.any() else 1)


# Rules for the weights of classes: functions of the pixels of each class in each image, and of ``beta``. A class without a
# pixel gets 0.
RULES: dict[str, Callable[[Counts, float], Floats]] = {
    "inverse_frequency": inverse_frequency,
    "median_frequency": median_frequency,
    "effective_number": effective_number,
}


def read_class_weights(value: Any) -> Any:
    """Check what a study file gives as class weights: ``none``, a rule, or one positive number per class."""
    named = isinstance(value, str) and value in ("none", *RULES)
    numbers = isinstance(value, list) and value and all(type(each) in (int, float) for each in value)
    if named or (numbers and all(0 < each < math.inf for each in value)):
        return [float(each) for each in value] if numbers else value
    raise ValueError(
        f"must be none, {', '.join(RULES)}, or a list with one positive number per class (given: {value!r})"
    )


def count_pixels(data: CachedSplit) -> Counts:
    """Counted pixels of each class in each image (n, c), as the network is trained on them."""
    classes = len(data.dataset.classes)
    counts = [
        np.bincount(np.asarray(data.labels_nhw[np.array([index])][0]).ravel(), minlength=256)[:classes]
        for index in range(len(data))
    ]
    return np.array(counts, np.int64)


def image_shares(pixels_nc: Counts) -> Floats:
    """Probability of each image when a class is drawn first, all alike, then an image that contains it, all alike.

    Images without a counted pixel are never drawn.

    >>> image_shares(np.array([[5, 0], [5, 0], [5, 1]])).round(3).tolist()
    [0.167, 0.167, 0.667]
    """
    there_nc = (pixels_nc > 0)[:, (pixels_nc > 0).any(0)]
    if not there_nc.size:
        return np.full(len(pixels_nc), 1 / len(pixels_nc))
    shares: Floats = (there_nc / there_nc.sum(0)).mean(1)
    return shares
