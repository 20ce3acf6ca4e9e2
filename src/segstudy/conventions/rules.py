"""Scoring rules: how counts become a number, as a library or a paper does it.

Array letters: ``n`` image (one for all where counts are added first), ``c`` class (one for all where they are pooled).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from segstudy.arrays import Confusion, Values
from segstudy.measures import mean_present, merge, support

Ratio = Callable[[Values, Values, Values], tuple[Values, Values]]  # pixels hit, true, predicted -> top and bottom
NAN = math.nan


def iou(hits: Values, true: Values, predicted: Values) -> tuple[Values, Values]:
    """Intersection over union."""
    return hits, true + predicted - hits


def dice(hits: Values, true: Values, predicted: Values) -> tuple[Values, Values]:
    """Dice, or F1."""
    return 2 * hits, true + predicted


def recall(hits: Values, true: Values, predicted: Values) -> tuple[Values, Values]:
    """Recall, or class accuracy; pooled, pixel accuracy."""
    return hits, true


def fscore(hits: Values, true: Values, predicted: Values) -> tuple[Values, Values]:
    """F1 from precision and recall that were divided first: without one hit, 0/0 is in it."""
    return 2 * hits, np.where(hits > 0, true + predicted, 0)


@dataclass(frozen=True)
class Convention:
    """A rule: what is averaged over what, what absent classes count, and in which way it differs from segstudy's.

    Attributes
    ----------
    name, library, call
        What ``--as`` says, the library, and what one calls there.
    ratios
        The library's own names of its numbers, each with its ratio of pixels.
    why
        A sentence on what differs from segstudy's number.
    level
        ``dataset``: the counts of all images are added first. ``image``: each image is scored by itself.
    average
        ``classes``: mean over classes, then over images; ``pooled``: pixels of all classes added before dividing;
        ``weighted``: mean over classes by true pixels; ``pairs``: mean over all pairs of image and class.
    absent, nowhere
        What a class counts that is predicted but in no truth, and one in neither; NaN is left out, None is as divided.
    first_class
        1 where the first class, the background, is left out.
    two_classes
        Whether the rule is for two classes only.
    nothing
        The number where nothing is left to average.
    skips_undefined
        Whether undefined values are left out of means, or make them undefined.

    """

    name: str
    library: str
    call: str
    ratios: Mapping[str, Ratio]
    why: str
    level: Literal["dataset", "image"] = "dataset"
    average: Literal["classes", "pooled", "weighted", "pairs"] = "classes"
    absent: float | None = 0.0
    nowhere: float = NAN
    first_class: int = 0
    two_classes: bool = False
    nothing: float = NAN
    skips_undefined: bool = True

    def scores(self, confusion: Confusion) -> dict[str, float]:
        """The library's numbers by its own names, as shares; empty where the rule cannot be applied.

        Parameters
        ----------
        confusion
            ``int64`` (n, c, c).

        Examples
        --------
        >>> from segstudy.conventions import chosen
        >>> chosen(["cityscapes"])[0].scores(np.array([[[1, 0, 1], [0, 1, 0], [0, 0, 0]]]))
        {'averageScoreClasses': 0.5}

        """
        if self.two_classes and confusion.shape[-1] != 2:
            return {}
        counts = confusion if self.level == "image" else merge(confusion)[None]
        hits = np.diagonal(counts, axis1=-2, axis2=-1).astype(np.float64)
        true, predicted = support(counts).astype(np.float64), counts.sum(axis=-2).astype(np.float64)
        if self.average == "pooled":
            hits, true, predicted = (part.sum(axis=-1, keepdims=True) for part in (hits, true, predicted))
        return {name: self._score(ratio, hits, true, predicted) for name, ratio in self.ratios.items()}

    def _score(self, ratio: Ratio, hits: Values, true: Values, predicted: Values) -> float:
        top, bottom = ratio(hits, true, predicted)
        values = np.divide(top, bottom, out=np.full(top.shape, NAN), where=bottom > 0)
        if self.absent is not None:
            values[(true == 0) & (predicted > 0)] = self.absent
        values[true + predicted == 0] = self.nowhere
        values = values[:, self.first_class :]
        if self.average == "weighted":
            return float((values * true).sum() / true.sum()) if true.any() else self.nothing
        if not self.skips_undefined:
            return float(values.mean())
        pairs = values.reshape(1, -1) if self.average == "pairs" else values
        mean = float(mean_present(mean_present(pairs)))
        return self.nothing if math.isnan(mean) else mean

    def rule(self) -> dict[str, str]:
        """The contract of this rule in words: level, average, absent classes, background."""
        alone = {"pooled": "pooled", "weighted": "of no weight"}.get(self.average)
        absent = "0, but 0/0 is left out" if self.absent is None else _counts(self.absent)
        nowhere = _counts(self.nowhere) if self.skips_undefined else "makes the mean undefined"
        return {
            "level": self.level,
            "average": self.average,
            "absent_but_predicted": alone or absent,
            "nowhere": alone or nowhere,
            "background": "out" if self.first_class else "in",
        }


def _counts(value: float) -> str:
    return "left out" if math.isnan(value) else f"{value:g}"
