"""Everything that is counted of one image: integers that add up, from which every measure follows.

Array letters: ``n`` image, ``h`` height, ``w`` width, ``c`` class, ``t`` tolerance, ``b`` confidence bin.

:func:`count_pair` gives these ``int64`` arrays, whose columns are named beside the code that fills them:

================  ===========  =====================================================  ============================
name              shape        what                                                   columns
================  ===========  =====================================================  ============================
confusion         (c, c)       pixels by true (rows) and predicted class
boundary_iou      (c, 3)       pixels of the bands inside the masks' edges            boundaries.BAND_COUNTS
boundary_matches  (t, c, 4)    boundary pixels with a counterpart within a tolerance  boundaries.MATCH_COUNTS
surface           (c, 5)       distances between boundaries                           boundaries.SURFACE_COUNTS
objects           (c, 10)      objects, holes and topology errors                     objects.OBJECT_COUNTS
object_sizes      (c, 3, 3)    pixels by size of the object: small, medium, large     objects.SIZE_COUNTS
lost              (c, 5)       wrong pixels by kind of error                          objects.LOST_COUNTS
calibration       (b, 3)       pixels by confidence, if a confidence is given         calibration.BIN_COUNTS
================  ===========  =====================================================  ============================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy.boundaries import boundary_measures, count_boundaries
from segstudy.calibration import CALIBRATION, count_confidence
from segstudy.measures import BY_FREQUENCY, OVERALL, PER_CLASS, Confusion, Counts, Measure
from segstudy.objects import OBJECTS, count_objects
from segstudy.schema import ScoringRules


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


def count_pair(
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    num_classes: int,
    rules: ScoringRules,
    ignore: int = 255,
    confidence: NDArray[np.floating[Any]] | None = None,
) -> dict[str, Counts]:
    """Count everything that is counted of one image; see the table at the top.

    Parameters
    ----------
    truth, prediction
        Class indices, ``uint8`` (h, w). Pixels whose ``truth`` is ``ignore`` are left out of everything, and no edge is
        seen between them and a class.
    num_classes
        Number of classes ``c``.
    rules
        Tolerances, sizes and bins.
    confidence
        Greatest softmax probability of each pixel, float (h, w) in 0 to 1.

    Returns
    -------
    dict
        ``int64`` arrays whose shapes depend on ``num_classes`` and ``rules`` alone.

    Raises
    ------
    ValueError
        If shapes differ, a counted pixel lies outside the classes, or a confidence outside 0 to 1.

    """
    counts = {"confusion": confusion_matrix(truth, prediction, num_classes, ignore)}
    counts |= count_boundaries(truth, prediction, num_classes, rules, ignore)
    counts |= count_objects(truth, prediction, num_classes, rules, ignore)
    if confidence is not None:
        counts["calibration"] = count_confidence(truth, prediction, confidence, rules, ignore)
    return counts


def stack_counts(counts: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Counts of ``n`` images as one array (n, ...) a name.

    ``measures.merge`` then sums each over the images, and a measure's function takes either.

    Raises
    ------
    ValueError
        If there is no image, or images were counted in different ways.

    """
    if not counts:
        raise ValueError("there are no counts to stack")
    if len({tuple(one) for one in counts}) > 1:
        raise ValueError("the images' counts have different names")
    return {name: np.stack([one[name] for one in counts]) for name in counts[0]}


def measures_of(rules: ScoringRules) -> tuple[Measure, ...]:
    """Every measure of these rules' counts, in the order in which they are shown; keys and labels are unique."""
    return (*PER_CLASS, *OVERALL, *BY_FREQUENCY, *boundary_measures(rules), *OBJECTS, *CALIBRATION)
