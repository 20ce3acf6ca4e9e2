"""What went wrong: connected parts that were missed, invented, merged, split; pixels by size of object; kinds of error.

Array letters: ``h`` height, ``w`` width, ``c`` class.

An *object* is an 8-connected part of a class's pixels; a *hole* is a 4-connected part of the other pixels that does not
reach the image's edge. Ignored pixels are of no class, in the truth and in the prediction alike; in a hole they do not
count towards its area. Two parts *touch* when they share a pixel. Objects and holes smaller than ``min_object_px`` are
no errors and are not counted, yet a part that touches a small one touches something: it is neither missed nor spurious.
"""

from __future__ import annotations

import math
from functools import partial

import numpy as np
from numpy.typing import NDArray

from segstudy.measures import Counts, Measure, Values, measure_and_mean, ratio
from segstudy.schema import ScoringRules

# missed: true objects that touch no pixel predicted as the class; spurious: predicted objects that touch no true pixel;
# merged: for each predicted object, the true objects that it touches beyond the first; split: the reverse. A lost hole
# is a true one that touches no predicted hole (it was filled, or opened), a false hole a predicted one that touches no
# true hole.
OBJECT_COUNTS = (
    "true",
    "predicted",
    "missed",
    "spurious",
    "merged",
    "split",
    "true_holes",
    "predicted_holes",
    "lost_holes",
    "false_holes",
)
SIZES = ("small", "medium", "large")
SIZE_COUNTS = ("hits", "false_positives", "false_negatives")
LOST_COUNTS = ("true", "union", "boundary", "missed", "spurious")


def count_objects(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], num_classes: int, rules: ScoringRules, ignore: int = 255
) -> dict[str, Counts]:
    """Count objects, their errors, and pixels by object size and by kind of error, in one image.

    Parameters
    ----------
    truth, prediction
        Class indices, ``uint8`` (h, w).
    num_classes
        Number of classes ``c``.
    rules
        ``min_object_px``, ``object_sizes_px``, ``boundary_iou_share``.

    Returns
    -------
    dict
        ``objects`` (c, 10), ``object_sizes`` (c, 3, 3), ``lost`` (c, 5), all ``int64``.

    """
    raise NotImplementedError


def share_of(counts: Counts, part: int, whole: int, present: int) -> Values:
    """One column of (..., c, k) as a share of another, (..., c); NaN where the column ``present`` is 0.

    >>> share_of(np.array([[4, 5, 1, 0], [0, 2, 0, 2]]), 2, 0, 0).tolist()
    [0.25, nan]
    """
    columns = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    return ratio(columns[part], columns[whole], columns[present] > 0)


def iou_of_size(counts: Counts, size: int) -> Values:
    """IoU over objects of one size, (..., c, 3, 3) to (..., c); NaN where the class has no true pixel of that size.

    >>> iou_of_size(np.array([[[2, 1, 1], [0, 3, 0], [0, 0, 0]]]), 0).tolist()
    [0.5]
    """
    hits, false_positives, false_negatives = np.moveaxis(np.asarray(counts[..., size, :], np.float64), -1, 0)
    return ratio(hits, hits + false_positives + false_negatives, hits + false_negatives > 0)


def _objects() -> tuple[Measure, ...]:
    """Errors for each object that there is: bounded by 1 where an object can be wrong only once."""
    column = {name: place for place, name in enumerate(OBJECT_COUNTS)}
    # key, label, errors, for each, greatest value
    table = (
        ("missed_objects", "Missed objects", "missed", "true", 1.0),
        ("spurious_objects", "Spurious objects", "spurious", "predicted", 1.0),
        ("merged_objects", "Merged objects", "merged", "predicted", math.inf),
        ("split_objects", "Split objects", "split", "true", math.inf),
        ("lost_holes", "Lost holes", "lost_holes", "true_holes", 1.0),
        ("false_holes", "False holes", "false_holes", "predicted_holes", 1.0),
    )
    measures: tuple[Measure, ...] = ()
    for key, label, errors, each, most in table:
        function = partial(share_of, part=column[errors], whole=column[each], present=column["true"])
        measure = Measure(key, label, function, counts="objects", bounds=(0.0, most), higher_is_better=False)
        measures += measure_and_mean(measure)
    return measures


def _sizes() -> tuple[Measure, ...]:
    measures: tuple[Measure, ...] = ()
    for place, size in enumerate(SIZES):
        function = partial(iou_of_size, size=place)
        measure = Measure(f"iou_{size}", f"IoU of {size} objects", function, counts="object_sizes", source=COCO)
        measures += measure_and_mean(measure)
    return measures


def _lost() -> tuple[Measure, ...]:
    """The three add up to 1 - IoU, class by class."""
    measures: tuple[Measure, ...] = ()
    for kind in ("boundary", "missed", "spurious"):
        function = partial(share_of, part=LOST_COUNTS.index(kind), whole=1, present=0)
        measure = Measure(f"lost_{kind}", f"IoU lost: {kind}", function, counts="lost", higher_is_better=False)
        measures += measure_and_mean(measure)
    return measures


COCO = "Lin et al., ECCV 2014"
OBJECTS = (*_objects(), *_sizes(), *_lost())
