"""Count one image: additive integers, from which every measure is computed.

Array letters: ``n`` image, ``h`` height, ``w`` width, ``c`` class, ``t`` tolerance, ``b`` confidence bin.

:func:`count_pair` returns these ``int64`` arrays. Their columns are named next to the code that fills them:

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

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Confusion, Counts, Labels
from segstudy.counts.boundaries import boundary_measures, count_boundaries, without_ignored
from segstudy.counts.calibration import CALIBRATION, count_confidence
from segstudy.counts.objects import OBJECTS, count_objects
from segstudy.doors import Door, calling
from segstudy.errors import SpecError
from segstudy.measures import BY_FREQUENCY, OVERALL, PER_CLASS, Measure
from segstudy.schema import ScoringRules

BLOCK_PX = 2**17  # pixels per histogram: they fit the CPU cache, and float32 counts stay exact
MIN_RUN_PX = 8  # if the mean run is shorter, a histogram of all pixels is faster
SAMPLE_PX = 2**13  # pixels sampled to estimate the length of runs; a wrong estimate only costs time


def confusion_matrix(truth: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore: int = 255) -> Confusion:
    """Count pixels by true and predicted class.

    Parameters
    ----------
    truth, prediction
        Class indices of equal shape, any integer type. Pixels whose ``truth`` is ``ignore`` do not count.
    num_classes
        Number of classes ``c``.

    Returns
    -------
    ndarray
        ``int64`` (c, c): rows truth, columns prediction.

    Raises
    ------
    ValueError
        If shapes differ, or a counted pixel has no valid class.

    Examples
    --------
    >>> confusion_matrix(np.array([0, 0, 1, 255]), np.array([0, 1, 1, 0]), 2).tolist()
    [[1, 1], [0, 1]]

    """
    if truth.shape != prediction.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}")
    truth, prediction = truth.ravel(), prediction.ravel()
    count = _count_runs if truth.dtype == prediction.dtype == np.uint8 else _count_pixels
    counts = np.zeros((num_classes, num_classes), np.int64)
    for start in range(0, truth.size, BLOCK_PX):
        block = slice(start, start + BLOCK_PX)
        counts += count(truth[block], prediction[block], num_classes, ignore)
    return counts


def _count_pixels(truth: NDArray[Any], prediction: NDArray[Any], num_classes: int, ignore: int) -> Confusion:
    counted = truth != ignore
    rows, columns = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
    for name, values in (("truth", rows), ("prediction", columns)):
        if values.size and (values.min() < 0 or values.max() >= num_classes):
            raise ValueError(_outside(name, num_classes))
    counts = np.bincount(rows * num_classes + columns, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def _count_runs(truth: Labels, prediction: Labels, num_classes: int, ignore: int) -> Confusion:
    """Count runs of equal pixels by their length; masks have few runs. Noise has many and is counted by a histogram."""
    last = np.empty(truth.size, np.bool_)  # whether a run ends here
    last[-1] = True
    np.not_equal(truth[1:], truth[:-1], out=last[:-1])
    last[:-1] |= prediction[1:] != prediction[:-1]
    sample = last[:SAMPLE_PX]
    if np.count_nonzero(sample) > sample.size // MIN_RUN_PX:
        return _histogram(truth, prediction, num_classes, ignore)
    (ends,) = last.nonzero()
    row_codes, column_codes = _codes(num_classes, ignore)
    codes = row_codes.take(truth.take(ends))
    codes += column_codes.take(prediction.take(ends))
    ends[1:] -= ends[:-1].copy()  # from here on: lengths
    ends[0] += 1
    cells = num_classes**2
    counts = np.bincount(codes, ends, cells)
    if counts.size > 4 * cells or counts[cells : 2 * cells].any():
        raise ValueError(_outside("truth" if counts.size > 4 * cells else "prediction", num_classes))
    return counts[:cells].reshape(num_classes, num_classes).astype(np.int64)


@cache
def _codes(num_classes: int, ignore: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """A number for each true and each predicted value; the sum of two is the index of their cell in the matrix.

    With n cells, invalid predictions start at n, pixels under ignored truth at 2 n, and invalid true values at 4 n.
    """
    cells = num_classes**2
    true, predicted = np.full(256, 4 * cells), np.full(256, cells)
    true[:num_classes] = np.arange(min(num_classes, 256)) * num_classes
    predicted[:num_classes] = np.arange(min(num_classes, 256))
    if 0 <= ignore < 256:
        true[ignore] = 2 * cells
    return true, predicted


def _histogram(truth: Labels, prediction: Labels, num_classes: int, ignore: int) -> Confusion:
    counted = truth != ignore
    bounds = [0, num_classes]
    counts = cv2.calcHist([truth, prediction], [0, 1], counted.view(np.uint8), [num_classes] * 2, bounds * 2)
    if counts.sum() != np.count_nonzero(counted):  # values outside the range are in no bin
        raise ValueError(_outside("truth" if truth[counted].max() >= num_classes else "prediction", num_classes))
    return counts.astype(np.int64)


def _outside(name: str, num_classes: int) -> str:
    return f"{name} holds values outside the {num_classes} classes 0-{num_classes - 1}"


def count_pair(
    truth: Labels,
    prediction: Labels,
    num_classes: int,
    rules: ScoringRules,
    ignore: int = 255,
    confidence: NDArray[np.floating[Any]] | None = None,
) -> dict[str, Counts]:
    """Take all counts of one image; see the table at the top.

    Parameters
    ----------
    truth, prediction
        Class indices, ``uint8`` (h, w). Pixels whose ``truth`` is ``ignore`` do not count anywhere, and the border between
        them and a class is not an edge.
    num_classes
        Number of classes ``c``.
    rules
        Tolerances, sizes and bins.
    confidence
        Largest softmax probability of each pixel, float (h, w) in 0 to 1.

    Returns
    -------
    dict
        ``int64`` arrays whose shapes depend on ``num_classes`` and ``rules`` alone.

    Raises
    ------
    ValueError
        If shapes differ, a counted pixel has no valid class, or a confidence outside 0 to 1.

    """
    counts = {"confusion": confusion_matrix(truth, prediction, num_classes, ignore)}
    truth, prediction = without_ignored(truth, prediction, ignore)
    counts |= count_boundaries(truth, prediction, num_classes, rules)
    counts |= count_objects(truth, prediction, num_classes, rules)
    if confidence is not None:
        counts["calibration"] = count_confidence(truth, prediction, confidence, rules)
    return counts


def stack_counts(counts: Sequence[Mapping[str, Counts]]) -> dict[str, Counts]:
    """Stack the counts of ``n`` images to one array (n, ...) per name.

    ``measures.merge`` sums them over the images; the function of a measure accepts both.

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


Family = Callable[[ScoringRules], Sequence[Measure]]


def as_family(name: str, found: Any) -> Family:
    """A family of measures, from a function of the scoring rules, a measure, or several."""
    several = isinstance(found, tuple | list) and all(isinstance(each, Measure) for each in found)
    if not callable(found) and not several and not isinstance(found, Measure):
        raise SpecError(f"measure '{name}': is {found!r:.60}; it must be a segstudy.measures.Measure, or several")

    def family(rules: ScoringRules) -> Sequence[Measure]:
        with calling(f"measure '{name}'"):
            measures = (found,) if isinstance(found, Measure) else found if several else found(rules)
        for each in measures:
            if not isinstance(each, Measure):
                raise SpecError(f"measure '{name}': gives {each!r:.60}; it must give segstudy.measures.Measure")
            _check_measure(name, each)
        return tuple(measures)

    return found if name in MEASURES.table else family


@cache
def _check_measure(name: str, measure: Measure) -> None:
    """Call the function of another package's measure once, on confusion matrices of two images and three classes."""
    if measure.counts != "confusion":
        return
    counts = np.arange(1, 19).reshape(2, 3, 3)
    for given, lead in ((counts, (2,)), (counts[0], ())):
        with calling(f"measure '{name}', '{measure.key}'"):
            values = np.shape(measure.function(given.copy()))
        expected = (*lead, 3) if measure.per_class else lead
        if values != expected:
            raise SpecError(
                f"measure '{name}', '{measure.key}': returned values of shape {values} for counts of shape {given.shape}; must be "
                f"{expected}"
            )


# Families of measures in display order; each returns its measures under the rules of a study. Add a measure of existing
# counts to one of them, or as a new family.
MEASURES = Door(
    "measure",
    {
        "per class": lambda rules: PER_CLASS,
        "overall": lambda rules: OVERALL,
        "by frequency": lambda rules: BY_FREQUENCY,
        "boundaries": boundary_measures,
        "objects": lambda rules: OBJECTS,
        "calibration": lambda rules: CALIBRATION,
    },
    as_family,
)


def measures_of(rules: ScoringRules) -> tuple[Measure, ...]:
    """Every measure under these rules, in display order; keys and labels are unique.

    Raises
    ------
    SpecError
        If a family of another package uses a key or label that already exists.

    """
    found: dict[str, Measure] = {}
    labels: set[str] = set()
    for name in MEASURES.names():
        for measure in MEASURES.find(name)(rules):
            if measure.key in found or measure.label in labels:
                raise SpecError(
                    f"measure '{name}': the key '{measure.key}' or label '{measure.label}' is already in use"
                )
            found[measure.key] = measure
            labels.add(measure.label)
    return tuple(found.values())
