"""The measures once more, slow and obvious: plain Python over lists of pixels, no confusion matrix, no NumPy.

Written from the definitions, not from ``segstudy.measures``; only tests use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

Pixel = tuple[int, int]  # true class, predicted class
NAN = math.nan


def pixels(truth: Iterable[int], prediction: Iterable[int], ignore: int = 255) -> list[Pixel]:
    """The pixels that count."""
    return [(t, p) for t, p in zip(truth, prediction, strict=True) if t != ignore]


def counts(seen: list[Pixel], num_classes: int) -> list[list[int]]:
    """Pixels by true class (rows) and predicted class (columns)."""
    return [[sum(pixel == (t, p) for pixel in seen) for p in range(num_classes)] for t in range(num_classes)]


def true_set(seen: list[Pixel], k: int) -> set[int]:
    return {place for place, (truth, _) in enumerate(seen) if truth == k}


def predicted_set(seen: list[Pixel], k: int) -> set[int]:
    return {place for place, (_, prediction) in enumerate(seen) if prediction == k}


def iou(seen: list[Pixel], k: int) -> float:
    truth, prediction = true_set(seen, k), predicted_set(seen, k)
    return len(truth & prediction) / len(truth | prediction) if truth else NAN


def dice(seen: list[Pixel], k: int) -> float:
    truth, prediction = true_set(seen, k), predicted_set(seen, k)
    return 2 * len(truth & prediction) / (len(truth) + len(prediction)) if truth else NAN


def class_accuracy(seen: list[Pixel], k: int) -> float:
    truth = true_set(seen, k)
    return len(truth & predicted_set(seen, k)) / len(truth) if truth else NAN


def precision(seen: list[Pixel], k: int) -> float:
    truth, prediction = true_set(seen, k), predicted_set(seen, k)
    return len(truth & prediction) / len(prediction) if truth and prediction else NAN


def pixel_accuracy(seen: list[Pixel], num_classes: int) -> float:
    return sum(truth == prediction for truth, prediction in seen) / len(seen) if seen else NAN


def mean(of: Callable[[list[Pixel], int], float]) -> Callable[[list[Pixel], int], float]:
    """Mean of a per-class measure over the classes that have a true pixel."""

    def over_present(seen: list[Pixel], num_classes: int) -> float:
        values = [of(seen, k) for k in range(num_classes) if true_set(seen, k)]
        return sum(values) / len(values) if values else NAN

    return over_present


# By the keys of segstudy.measures: per class, called with a class; overall, called with the number of classes.
PER_CLASS = {"iou": iou, "dice": dice, "class_accuracy": class_accuracy, "precision": precision}
OVERALL = {
    "miou": mean(iou),
    "mdice": mean(dice),
    "pixel_accuracy": pixel_accuracy,
    "mean_class_accuracy": mean(class_accuracy),
}
