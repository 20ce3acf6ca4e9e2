"""From counts to numbers: pure functions of confusion matrices, in NumPy alone.

A confusion matrix has the true class in rows and the predicted class in columns, in pixels; ignored pixels are not
counted. Every function takes ``(..., c, c)`` and works on the last two axes, so the same code gives a number for each
image (``(n, c, c)``) and, after :func:`merge`, for a whole split.

A class that has no true pixel is *absent*: its IoU, Dice and accuracy are NaN, and means are taken over the other
classes. Wrong predictions of an absent class still count, as misses of the true classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Confusion, Counts, Values


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


def ratio(top: Values, bottom: Values, defined: NDArray[np.bool_]) -> Values:
    """``top / bottom`` where ``defined`` and not divided by zero, NaN elsewhere; arrays of one shape."""
    quotient: Values = np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=defined & (bottom > 0))
    return quotient


def iou(confusion: Confusion) -> Values:
    """Intersection over union (Jaccard index) of each class, TP / (TP + FP + FN); NaN where absent.

    Source: Everingham et al., The Pascal VOC Challenge, IJCV 2010, section 4.3.

    >>> iou(np.array([[3, 1], [0, 2]])).round(3).tolist()
    [0.75, 0.667]
    """
    hits, true, predicted = _parts(confusion)
    return ratio(hits, true + predicted - hits, true > 0)


def dice(confusion: Confusion) -> Values:
    """Dice coefficient (F1) of each class, 2 TP / (2 TP + FP + FN) = 2 IoU / (1 + IoU); NaN where absent.

    Source: Dice, Measures of the amount of ecologic association between species, Ecology 1945.

    >>> dice(np.array([[3, 1], [0, 2]])).round(3).tolist()
    [0.857, 0.8]
    """
    hits, true, predicted = _parts(confusion)
    return ratio(2 * hits, true + predicted, true > 0)


def class_accuracy(confusion: Confusion) -> Values:
    """Share of each class's true pixels that were found (recall), TP / (TP + FN); NaN where absent.

    >>> class_accuracy(np.array([[3, 1], [0, 2]])).tolist()
    [0.75, 1.0]
    """
    hits, true, _ = _parts(confusion)
    return ratio(hits, true, true > 0)


def precision(confusion: Confusion) -> Values:
    """Share of each class's predicted pixels that are correct, TP / (TP + FP); NaN where absent or never predicted.

    >>> precision(np.array([[3, 1], [0, 2]])).round(3).tolist()
    [1.0, 0.667]
    """
    hits, true, predicted = _parts(confusion)
    return ratio(hits, predicted, true > 0)


def pixel_accuracy(confusion: Confusion) -> Values:
    """Share of all counted pixels that are correct, (...); the review prints it as "mPA". NaN without pixels.

    Source: Long et al., Fully convolutional networks for semantic segmentation, CVPR 2015, section 5.

    >>> float(pixel_accuracy(np.array([[3, 1], [0, 2]])).round(3))
    0.833
    """
    hits, true, _ = _parts(confusion)
    total = np.asarray(true.sum(axis=-1))
    return ratio(np.asarray(hits.sum(axis=-1)), total, total > 0)


def mean_present(values: Values) -> Values:
    """Mean over the last axis without NaN; NaN where nothing is defined.

    >>> float(mean_present(np.array([1.0, np.nan, 0.5])))
    0.75
    """
    defined = ~np.isnan(values)
    count = np.asarray(defined.sum(axis=-1), dtype=np.float64)
    return ratio(np.asarray(np.where(defined, values, 0.0).sum(axis=-1)), count, count > 0)


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
    """The counts if every pixel were predicted as ``label``: a baseline without any skill.

    >>> constant_prediction(np.array([[3, 1], [0, 2]]), 0).tolist()
    [[4, 0], [2, 0]]
    """
    counts = np.zeros_like(confusion)
    counts[..., label] = confusion.sum(axis=-1)
    return counts


# Classes below the first share of all true pixels are rare, below the second common, and others frequent.
FREQUENCIES = (0.01, 0.1)
FREQUENCY_GROUPS = ("rare", "common", "frequent")


def frequency_group(confusion: Confusion) -> NDArray[np.int64]:
    """Index into ``FREQUENCY_GROUPS`` of each class by its share of the true pixels, (..., c); -1 where absent.

    >>> frequency_group(np.diag([990, 9, 1, 0])).tolist()
    [2, 0, 0, -1]
    """
    true = support(confusion)
    total = true.sum(axis=-1, keepdims=True)
    share = np.divide(true, total, out=np.zeros(true.shape), where=total > 0)
    groups: NDArray[np.int64] = np.where(true > 0, np.searchsorted(FREQUENCIES, share, side="right"), -1)
    return groups


def mean_iou_of_group(confusion: Confusion, group: int, members: NDArray[np.bool_] | None = None) -> Values:
    """Mean IoU over the classes of one frequency group, (...); NaN if the group is empty.

    ``members`` (c,) marks these classes; without it, they follow from the confusion matrix.

    >>> float(mean_iou_of_group(np.array([[990, 0], [5, 4]]), 0).round(3))
    0.444
    """
    chosen = frequency_group(confusion) == group if members is None else members
    return mean_present(np.where(chosen, iou(confusion), np.nan))


def _group_of_whole(whole: Confusion, group: int) -> Callable[[Confusion], Values]:
    return partial(mean_iou_of_group, group=group, members=frequency_group(whole) == group)


Level = Literal["dataset", "class", "image"]
CLASS: tuple[Level, ...] = ("class",)


WITHHELD = "simulated intervals of such rare errors miss the true value too often"


@dataclass(frozen=True)
class Measure:
    """A measure and its contract: its name, the counts that it is computed from, and its possible values.

    Attributes
    ----------
    key, label
        Its name in files and in text.
    function
        From counts (..., a, b) with any leading axes to values: (..., c) when ``per_class``, else (...). NaN: undefined.
    counts
        Name of the array of :func:`segstudy.counts.counting.count_pair` that ``function`` takes.
    per_class
        Whether there is one value per class.
    levels
        What it can be computed for: ``class`` (all images merged, one class), ``dataset`` (all images merged), ``image``.
    pooled
        True if the pixels or objects of all images have equal weight; False if the value is the mean of the images' values,
        over the images in which it is defined.
    bounds
        Smallest and largest possible value.
    higher_is_better
        Whether a higher value is better.
    unit
        ``px``, or empty for a number without a unit.
    source
        Where it is defined.
    given_whole
        For a measure that depends on a property of the whole set (which classes are rare): from the merged counts of all
        images to the function for parts of them.
    intervals
        Where simulated intervals hold their level: for scores and differences, for differences alone, or nowhere.

    """

    key: str
    label: str
    function: Callable[[Counts], Values]
    counts: str = "confusion"
    per_class: bool = False
    levels: tuple[Level, ...] = ("dataset", "image")
    pooled: bool = True
    bounds: tuple[float, float] = (0.0, 1.0)
    higher_is_better: bool = True
    unit: str = ""
    source: str = ""
    given_whole: Callable[[Counts], Callable[[Counts], Values]] | None = None
    intervals: Literal["all", "differences", "none"] = "all"

    @property
    def difference_bounds(self) -> tuple[float, float]:
        """Smallest and largest possible difference of two values."""
        span = self.bounds[1] - self.bounds[0]
        return -span, span

    @property
    def withheld(self) -> str:
        """Why its scores have no interval, a clause; empty where simulated intervals hold their level."""
        return "" if self.intervals == "all" else WITHHELD

    @property
    def difference_withheld(self) -> str:
        """The same for differences."""
        return WITHHELD if self.intervals == "none" else ""

    def function_for(self, counts: Counts) -> Callable[[Counts], Values]:
        """``function`` for any part of ``counts`` (n, ...); properties of the whole set stay fixed.

        Resampling estimates the number on other images, not for other classes.
        """
        return self.function if self.given_whole is None else self.given_whole(merge(counts))

    def each_for(self, counts: Counts) -> Callable[[Counts], Values]:
        """Like :meth:`function_for`, but always with an axis of values (..., m): one per class, or one for all."""
        function = self.function_for(counts)
        return function if self.per_class else lambda merged: function(merged)[..., None]


def name_of(measure: Measure) -> str:
    """Label and unit."""
    return f"{measure.label} [{measure.unit}]" if measure.unit else measure.label


def _mean_over_classes(counts: Counts, function: Callable[[Counts], Values]) -> Values:
    return mean_present(function(counts))


def measure_and_mean(measure: Measure) -> tuple[Measure, Measure]:
    """A per-class measure, and its mean over the classes for which it is defined."""
    mean = partial(_mean_over_classes, function=measure.function)
    return (
        replace(measure, per_class=True, levels=CLASS),
        replace(measure, key=f"mean_{measure.key}", label=f"{measure.label}, mean", function=mean),
    )


VOC = "Everingham et al., IJCV 2010"
DICE = "Dice, Ecology 1945"
FCN = "Long et al., CVPR 2015"
RETRIEVAL = "van Rijsbergen, Information Retrieval, 1979"

# Measures per class and overall: the only place that defines their keys and labels. Measures of other counts are defined
# next to their counts (boundaries, objects, calibration); counting.measures_of returns all.
PER_CLASS = (
    Measure("iou", "IoU", iou, per_class=True, levels=CLASS, source=VOC),
    Measure("dice", "Dice", dice, per_class=True, levels=CLASS, source=DICE),
    Measure("class_accuracy", "Class accuracy", class_accuracy, per_class=True, levels=CLASS, source=FCN),
    Measure("precision", "Precision", precision, per_class=True, levels=CLASS, source=RETRIEVAL),
)
OVERALL = (
    Measure("miou", "mIoU", mean_iou, source=FCN),
    Measure("mdice", "mDice", mean_dice, source=DICE),
    Measure("pixel_accuracy", "Pixel accuracy", pixel_accuracy, source=FCN),
    Measure("mean_class_accuracy", "Mean class accuracy", mean_class_accuracy, source=FCN),
)
BY_FREQUENCY = tuple(
    Measure(
        f"miou_{name}",
        f"mIoU of {name} classes",
        partial(mean_iou_of_group, group=group),
        levels=("dataset",),
        given_whole=partial(_group_of_whole, group=group),
    )
    for group, name in enumerate(FREQUENCY_GROUPS)
)
