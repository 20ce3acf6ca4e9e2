"""From counts to numbers: pure functions of confusion matrices, in NumPy alone.

A confusion matrix has the true class in rows and the predicted class in columns, in pixels; ignored pixels are in
none. Every function takes ``(..., c, c)`` and works on the last two axes, so the same code gives a number for each
image (``(n, c, c)``) and, after :func:`merge`, for a whole split.

A class that has no true pixel is *absent*: its IoU, Dice and accuracy are NaN, and means are taken over the other
classes. Wrong predictions of an absent class still count, as misses of the classes that were there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Confusion = NDArray[np.int64]
Values = NDArray[np.float64]


def confusion_matrix(truth: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore: int = 255) -> Confusion:
    """Count pixels by true and predicted class.

    Parameters
    ----------
    truth, prediction
        Class indices of equal shape, any integer type. Pixels whose ``truth`` is ``ignore`` are left out.
    num_classes
        Number of classes ``c``.

    Returns
    -------
    ndarray
        ``int64`` (c, c): rows truth, columns prediction.

    Raises
    ------
    ValueError
        If shapes differ, or a counted pixel lies outside the classes.

    Examples
    --------
    >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 0]), 2).tolist()
    [[1, 1], [0, 1]]

    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    valid = truth != ignore
    rows, columns = truth[valid].astype(np.int64), prediction[valid].astype(np.int64)
    for name, values in (("truth", rows), ("prediction", columns)):
        if values.size and (values.min() < 0 or values.max() >= num_classes):
            raise ValueError(f"{name} holds values outside the {num_classes} classes 0-{num_classes - 1}")
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes).astype(np.int64, copy=False)


def merge(confusions: Confusion) -> Confusion:
    """Counts of a set of images, (n, c, c) -> (c, c): counts add up."""
    merged: Confusion = confusions.sum(axis=0)
    return merged


def support(confusion: Confusion) -> NDArray[np.int64]:
    """True pixels of each class, (..., c)."""
    pixels: NDArray[np.int64] = confusion.sum(axis=-1)
    return pixels


def _parts(confusion: Confusion) -> tuple[Values, Values, Values]:
    """True positives, true pixels and predicted pixels of each class, (..., c)."""
    hits = np.diagonal(confusion, axis1=-2, axis2=-1).astype(np.float64)
    return hits, confusion.sum(axis=-1).astype(np.float64), confusion.sum(axis=-2).astype(np.float64)


def _ratio(top: Values, bottom: Values, defined: NDArray[np.bool_]) -> Values:
    ratio: Values = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=defined & (bottom > 0))
    return ratio


def iou(confusion: Confusion) -> Values:
    """Intersection over union (Jaccard index) of each class, TP / (TP + FP + FN); NaN where absent.

    Source: Everingham et al., The Pascal VOC Challenge, IJCV 2010, section 4.3.

    >>> iou(np.array([[3, 1], [0, 2]])).round(3).tolist()
    [0.75, 0.667]
    """
    hits, true, predicted = _parts(confusion)
    return _ratio(hits, true + predicted - hits, true > 0)


def dice(confusion: Confusion) -> Values:
    """Dice coefficient (F1) of each class, 2 TP / (2 TP + FP + FN) = 2 IoU / (1 + IoU); NaN where absent.

    Source: Dice, Measures of the amount of ecologic association between species, Ecology 1945.

    >>> dice(np.array([[3, 1], [0, 2]])).round(3).tolist()
    [0.857, 0.8]
    """
    hits, true, predicted = _parts(confusion)
    return _ratio(2 * hits, true + predicted, true > 0)


def class_accuracy(confusion: Confusion) -> Values:
    """Share of each class's true pixels that were found (recall), TP / (TP + FN); NaN where absent.

    >>> class_accuracy(np.array([[3, 1], [0, 2]])).tolist()
    [0.75, 1.0]
    """
    hits, true, _ = _parts(confusion)
    return _ratio(hits, true, true > 0)


def precision(confusion: Confusion) -> Values:
    """Share of each class's predicted pixels that are right, TP / (TP + FP); NaN where absent or never predicted.

    >>> precision(np.array([[3, 1], [0, 2]])).round(3).tolist()
    [1.0, 0.667]
    """
    hits, true, predicted = _parts(confusion)
    return _ratio(hits, predicted, true > 0)


def pixel_accuracy(confusion: Confusion) -> Values:
    """Share of all counted pixels that are right, (...); the review prints it as "mPA". NaN without pixels.

    Source: Long et al., Fully convolutional networks for semantic segmentation, CVPR 2015, section 5.

    >>> float(pixel_accuracy(np.array([[3, 1], [0, 2]])).round(3))
    0.833
    """
    hits, true, _ = _parts(confusion)
    total = np.asarray(true.sum(axis=-1))
    return _ratio(np.asarray(hits.sum(axis=-1)), total, total > 0)


def mean_present(values: Values) -> Values:
    """Mean over the last axis without NaN; NaN where nothing is defined.

    >>> float(mean_present(np.array([1.0, np.nan, 0.5])))
    0.75
    """
    defined = ~np.isnan(values)
    count = np.asarray(defined.sum(axis=-1), dtype=np.float64)
    return _ratio(np.asarray(np.where(defined, values, 0.0).sum(axis=-1)), count, count > 0)


def mean_iou(confusion: Confusion) -> Values:
    """Mean IoU over the classes that are present, (...)."""
    return mean_present(iou(confusion))


def mean_dice(confusion: Confusion) -> Values:
    """Mean Dice over the classes that are present, (...)."""
    return mean_present(dice(confusion))


def mean_class_accuracy(confusion: Confusion) -> Values:
    """Mean class accuracy over the classes that are present, (...): what "mPA" means in most of the literature."""
    return mean_present(class_accuracy(confusion))


def constant_prediction(confusion: Confusion, label: int) -> Confusion:
    """The counts if every pixel had been predicted as ``label``: what a score is worth beside no skill at all.

    >>> constant_prediction(np.array([[3, 1], [0, 2]]), 0).tolist()
    [[4, 0], [2, 0]]
    """
    counts = np.zeros_like(confusion)
    counts[..., label] = confusion.sum(axis=-1)
    return counts


@dataclass(frozen=True)
class Measure:
    """A quantity's key, how it is called in print, and its function of counts."""

    key: str
    label: str
    function: Callable[[Confusion], Values]


# One number for each class, and one number for all: the only places where a quantity gets its key and label.
PER_CLASS = (
    Measure("iou", "IoU", iou),
    Measure("dice", "Dice", dice),
    Measure("class_accuracy", "Class accuracy", class_accuracy),
    Measure("precision", "Precision", precision),
)
OVERALL = (
    Measure("miou", "mIoU", mean_iou),
    Measure("mdice", "mDice", mean_dice),
    Measure("pixel_accuracy", "Pixel accuracy", pixel_accuracy),
    Measure("mean_class_accuracy", "Mean class accuracy", mean_class_accuracy),
)
