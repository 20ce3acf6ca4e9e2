"""Rules of programs that are not installed here, once more, slow and obvious, over lists of pixels.

Written from their documentation and source, not from ``segstudy.conventions``; only tests use it.
"""

from __future__ import annotations

import math

from reference.slow_measures import NAN, Pixel, predicted_set, true_set


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else NAN


def _nanmean(values: list[float]) -> float:
    defined = [value for value in values if not math.isnan(value)]
    return sum(defined) / len(defined) if defined else NAN


def mmseg(seen: list[Pixel], num_classes: int) -> dict[str, float]:
    """mmsegmentation 1.x, ``IoUMetric``: areas of intersection, union, prediction and label, added over all images.

    Each ratio is divided with 0/0 undefined, and ``numpy.nanmean`` is taken over classes (open-mmlab/mmsegmentation,
    ``mmseg/evaluation/metrics/iou_metric.py``, ``total_area_to_metrics`` and ``compute_metrics``).
    """
    iou, dice, accuracy, fscore = [], [], [], []
    for k in range(num_classes):
        truth, prediction = true_set(seen, k), predicted_set(seen, k)
        both = len(truth & prediction)
        iou.append(_ratio(both, len(truth | prediction)))
        dice.append(_ratio(2 * both, len(truth) + len(prediction)))
        accuracy.append(_ratio(both, len(truth)))
        precision, recall = _ratio(both, len(prediction)), _ratio(both, len(truth))
        fscore.append(_ratio(2 * precision * recall, precision + recall))
    right = sum(truth == prediction for truth, prediction in seen)
    return {
        "mIoU": _nanmean(iou),
        "mDice": _nanmean(dice),
        "mFscore": _nanmean(fscore),
        "mAcc": _nanmean(accuracy),
        "aAcc": _ratio(right, len(seen)),
    }


def voc(seen: list[Pixel], num_classes: int) -> dict[str, float]:
    """Pascal VOC development kit, ``VOCevalseg.m``: the plain mean of the classes' ratios, in which 0/0 stays."""
    values = []
    for k in range(num_classes):
        truth, prediction = true_set(seen, k), predicted_set(seen, k)
        values.append(_ratio(len(truth & prediction), len(truth | prediction)))
    return {"avacc": NAN if any(map(math.isnan, values)) else sum(values) / len(values)}


def sceneparsing(seen: list[Pixel], num_classes: int) -> dict[str, float]:
    """ADE20K's sceneparsing ``utils_eval.py``: intersections over unions plus the smallest number, so that 0/0 counts 0."""
    values = []
    for k in range(num_classes):
        truth, prediction = true_set(seen, k), predicted_set(seen, k)
        values.append(len(truth & prediction) / (len(truth | prediction) or 1))
    return {"mIoU": sum(values) / len(values)}
