"""Errors by object: missed, spurious, merged and split components; pixels by object size; kinds of lost IoU.

Array letters: ``h`` height, ``w`` width, ``c`` class; ``r`` run, ``m`` part.

An *object* is an 8-connected component (part) of a class's pixels. A *hole* is a 4-connected component of the other
pixels that does not reach the image's border. Ignored pixels belong to no class, neither in the truth nor in the
prediction. They add nothing to an area, and two parts that share only ignored pixels do not touch. Two parts *touch* if
they share a pixel. Objects and holes smaller than ``min_object_px`` are not counted, also not as errors, but a part that
touches one of them is neither missed nor spurious.

One pass over the pixels finds *runs*: neighbours in a row with equal properties. Everything else works on runs and parts,
which are few.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Counts, Labels, Values
from segstudy.counts.boundaries import VOID, band_px, differs_within, square
from segstudy.measures import Measure, measure_and_mean, ratio
from segstudy.schema import ScoringRules

# missed: true objects that touch no pixel predicted as the class; spurious: predicted objects that touch no true pixel;
# merged: true objects, after the first, that one predicted object touches; split: the reverse. A missed hole is a true
# hole that touches no predicted hole (filled or opened); a spurious hole is a predicted hole that touches no true hole.
OBJECT_COUNTS = (
    "true",
    "predicted",
    "missed",
    "spurious",
    "merged",
    "split",
    "true_holes",
    "predicted_holes",
    "missed_holes",
    "spurious_holes",
)
OBJECT_SIZES = ("small", "medium", "large")
SIZE_COUNTS = ("hits", "false_positives", "false_negatives")
LOST_COUNTS = ("true", "union", "boundary", "missed", "spurious")

Integers = NDArray[np.int64]
Flags = NDArray[np.bool_]


def count_objects(truth: Labels, prediction: Labels, num_classes: int, rules: ScoringRules) -> dict[str, Counts]:
    """Count objects, their errors, and pixels by object size and by kind of error, in one image.

    Parameters
    ----------
    truth, prediction
        Class indices, ``uint8`` (h, w), ignored pixels ``VOID`` in both, as ``boundaries.without_ignored`` makes them.
    num_classes
        Number of classes ``c``.
    rules
        ``min_object_px``, ``object_sizes_px``, ``boundary_iou_share``.

    Returns
    -------
    dict
        ``int64`` arrays, columns in the order of ``OBJECT_COUNTS``, ``SIZE_COUNTS`` and ``LOST_COUNTS``.

        ``objects`` (c, 10): objects, holes and errors.
        ``object_sizes`` (c, 3, 3): pixels by size of the true object that they belong to, small, medium or large. False
        positives belong to the true object that shares most pixels with their predicted part (of equals, the largest).
        If the part touches no true object, its own size decides.
        ``lost`` (c, 5): the union of true and predicted pixels, and its wrong pixels by kind. ``missed``: true parts
        that touch no predicted part, and false negatives deeper inside other parts than boundary IoU's band is wide.
        ``spurious``: predicted parts that touch no true part, and false positives farther from the true mask than that
        width. ``boundary``: the rest.

    """
    runs = _find_runs(truth, prediction, band_px(truth.shape, rules.boundary_iou_share))
    true, predicted = _find_parts(runs, runs.true), _find_parts(runs, runs.predicted)
    overlaps = _find_overlaps(runs, true, predicted, runs.true == runs.predicted)
    errors = _count_errors(true, predicted, overlaps, rules.min_object_px)
    holes = _count_holes(runs, rules.min_object_px)
    sizes = _count_sizes(true, predicted, overlaps, rules.object_sizes_px)
    lost = _count_lost(runs, true, predicted, overlaps)
    # Every array has a row for each possible pixel value; VOID's row is dropped with those of values that are not classes.
    return {
        "objects": np.concatenate([errors, holes], axis=-1)[:num_classes],
        "object_sizes": sizes[:num_classes],
        "lost": lost[:num_classes],
    }


VALUES = 256


@dataclass(frozen=True)
class _Runs:
    """Runs of pixels (r,): true and predicted class, whether wrong pixels are near the true edge, and their number.

    ``near_own``: inside the true class and near its edge; ``near_other``: near the true mask of the predicted class.
    ``pairs`` (2, e) are neighbours, by a side if ``by_side``, otherwise by a corner.
    """

    true: Integers
    predicted: Integers
    near_own: Flags
    near_other: Flags
    pixels: Integers
    at_end: Flags
    pairs: Integers
    by_side: Flags


@dataclass(frozen=True)
class _Parts:
    """Connected parts: the part of each run (r,); the value and number of pixels (without ignored ones) of each part (m,)."""

    of_run: Integers
    value: Integers
    pixels: Integers


@dataclass(frozen=True)
class _Overlaps:
    """Pairs of a true and a predicted part that share pixels, without repeats, and the number of shared pixels."""

    true: Integers
    predicted: Integers
    pixels: Integers


def _find_runs(truth: Labels, prediction: Labels, width: int) -> _Runs:
    near_own, near_other = _near_edge(truth, prediction, width)
    starts = np.ones(truth.shape, np.bool_)
    changes = [image[:, 1:] != image[:, :-1] for image in (truth, prediction, near_own, near_other)]
    np.logical_or.reduce(changes, out=starts[:, 1:])
    first = np.flatnonzero(starts)
    after = np.append(first[1:], truth.size)
    pairs, by_side = _find_neighbours(first, after, truth.shape[1])
    rows, columns = np.divmod(first, truth.shape[1])
    at_end = (rows == 0) | (rows == truth.shape[0] - 1) | (columns == 0) | (after % truth.shape[1] == 0)
    true, predicted = (image.ravel()[first].astype(np.int64) for image in (truth, prediction))
    own, other = (image.ravel()[first] for image in (near_own, near_other))
    return _Runs(true, predicted, own, other, after - first, at_end, pairs, by_side)


def _near_edge(truth: Labels, prediction: Labels, width: int) -> tuple[Flags, Flags]:
    """Wrong pixels whose window of ``width`` to each side reaches out of, or into, the true mask of the class, (h, w)."""
    wrong = truth != prediction
    window = square(width)
    near_other = np.zeros(truth.shape, np.bool_)
    for k in np.unique(prediction[wrong]):
        mistaken = wrong & (prediction == k)
        left, top, wide, high = cv2.boundingRect(mistaken.view(np.uint8))
        box = (
            slice(max(0, top - width), top + high + width),
            slice(max(0, left - width), left + wide + width),
        )
        reached = cv2.dilate((truth[box] == k).view(np.uint8), window).view(np.bool_)
        near_other[box] |= reached & mistaken[box]
    return wrong & differs_within(truth, window), near_other


def _find_neighbours(first: Integers, after: Integers, width: int) -> tuple[Integers, Flags]:
    """Pairs of runs (2, e) that touch, and whether by a side; a run holds the pixels from ``first`` until before ``after``."""
    runs = np.arange(len(first))
    row_start = first - first % width
    # In the row below: runs that end after the pixel to the lower left and begin before the pixel to the lower right.
    lowest = np.searchsorted(after, np.maximum(first - 1, row_start) + width, side="right")
    beyond = np.searchsorted(first, np.minimum(after + 1, row_start + width) + width, side="left")
    number = beyond - lowest
    upper = np.repeat(runs, number)
    lower = np.arange(len(upper)) + np.repeat(lowest - np.cumsum(number) + number, number)
    below_by_side = (first[lower] < after[upper] + width) & (after[lower] > first[upper] + width)
    adjacent = np.flatnonzero(after[:-1] % width)  # the next run is in the same row
    pairs = np.stack([np.append(upper, adjacent), np.append(lower, adjacent + 1)])
    return pairs, np.append(below_by_side, np.ones(len(adjacent), np.bool_))


def _components(pairs: Integers, number: int) -> Integers:
    """Connected component of each of ``number`` nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(pairs.shape[1], np.bool_), (pairs[0], pairs[1])), shape=(number, number))
    components: Integers = connected_components(graph, directed=False)[1].astype(np.int64)
    return components


def _find_parts(runs: _Runs, values: Integers, by_side: bool = False) -> _Parts:
    """Parts of equal value, 8-connected or, with ``by_side``, 4-connected."""
    joined = values[runs.pairs[0]] == values[runs.pairs[1]]
    if by_side:
        joined &= runs.by_side
    of_run = _components(runs.pairs[:, joined], len(values))
    value = np.zeros(of_run.max() + 1, np.int64)
    value[of_run] = values
    return _Parts(of_run, value, _total(of_run, runs.pixels * (values != VOID), len(value)))


def _total(places: Integers, amounts: NDArray[Any], number: int) -> Integers:
    """Sum of ``amounts`` at each of ``number`` places."""
    totals: Integers = np.bincount(places, amounts, minlength=number).astype(np.int64)
    return totals


def _find_overlaps(runs: _Runs, true: _Parts, predicted: _Parts, chosen: Flags) -> _Overlaps:
    """Overlaps over the ``chosen`` runs that are not ignored."""
    chosen = chosen & (runs.true != VOID)
    number = len(predicted.value)
    codes, places = np.unique(true.of_run[chosen] * number + predicted.of_run[chosen], return_inverse=True)
    return _Overlaps(codes // number, codes % number, _total(places, runs.pixels[chosen], len(codes)))


def _count_errors(true: _Parts, predicted: _Parts, overlaps: _Overlaps, min_px: int) -> Integers:
    """The first six of ``OBJECT_COUNTS``, (256, 6)."""
    kept_true, kept_predicted = true.pixels >= min_px, predicted.pixels >= min_px
    kept = kept_true[overlaps.true] & kept_predicted[overlaps.predicted]
    columns = []
    for parts, own, counted in ((true, overlaps.true, kept_true), (predicted, overlaps.predicted, kept_predicted)):
        number = len(parts.value)
        untouched = counted & (np.bincount(own, minlength=number) == 0)
        further = np.maximum(np.bincount(own[kept], minlength=number) - 1, 0)
        columns.append([_total(parts.value, amounts, VALUES) for amounts in (counted, untouched, further)])
    (objects, missed, split), (predictions, spurious, merged) = columns
    return np.stack([objects, predictions, missed, spurious, merged, split], axis=-1)


@dataclass(frozen=True)
class _Mosaic:
    """The 4-connected parts of an image, which of them share a side (2, b), and which reach the image's border (m,)."""

    parts: _Parts
    borders: Integers
    at_end: Flags

    def holes_in(self, k: int) -> tuple[Integers, Integers]:
        """Hole of class ``k`` that contains each part, -1 for none, (m,), and the number of pixels of each hole; 0: not a hole."""
        other = self.parts.value != k
        number = len(other)
        room = _components(self.borders[:, other[self.borders].all(axis=0)], number)
        closed = np.bincount(room, self.at_end | ~other, number) == 0
        pixels = _total(room, self.parts.pixels * closed[room], number)
        return np.where(pixels[room] > 0, room, -1), pixels


def _find_mosaic(runs: _Runs, values: Integers) -> _Mosaic:
    parts = _find_parts(runs, values, by_side=True)
    number = len(parts.value)
    ends = parts.of_run[runs.pairs[:, runs.by_side]]
    codes = np.unique(ends[0, ends[0] != ends[1]] * number + ends[1, ends[0] != ends[1]])
    at_end = np.bincount(parts.of_run, runs.at_end, number) > 0
    return _Mosaic(parts, np.stack([codes // number, codes % number]), at_end)


def _count_holes(runs: _Runs, min_px: int) -> Integers:
    """The last four of ``OBJECT_COUNTS``, (256, 4)."""
    true, predicted = _find_mosaic(runs, runs.true), _find_mosaic(runs, runs.predicted)
    overlaps = _find_overlaps(runs, true.parts, predicted.parts, np.ones(len(runs.true), np.bool_))
    counts = np.zeros((VALUES, 4), np.int64)
    for k in np.union1d(true.parts.value, predicted.parts.value):
        (hole, area), (hole_predicted, area_predicted) = true.holes_in(k), predicted.holes_in(k)
        own, other = hole[overlaps.true], hole_predicted[overlaps.predicted]
        both = (own >= 0) & (other >= 0)
        for place, holes, pixels in ((0, own, area), (1, other, area_predicted)):
            counted = pixels >= max(1, min_px)
            touched = np.bincount(holes[both], minlength=len(pixels)) > 0
            counts[k, [place, place + 2]] = np.count_nonzero(counted), np.count_nonzero(counted & ~touched)
    return counts


def _count_sizes(true: _Parts, predicted: _Parts, overlaps: _Overlaps, limits: Sequence[int]) -> Integers:
    """Hits, false positives and false negatives by class and size, (256, 3, 3)."""
    size, size_predicted = (np.searchsorted(limits, parts.pixels, side="right") for parts in (true, predicted))
    # The part with most shared pixels comes last and remains.
    order = np.lexsort([true.pixels[overlaps.true], overlaps.pixels])
    size_predicted[overlaps.predicted[order]] = size[overlaps.true[order]]
    hits, hits_predicted = _hits(true, overlaps.true, overlaps), _hits(predicted, overlaps.predicted, overlaps)
    columns = (
        (true.value * len(OBJECT_SIZES) + size, hits),
        (predicted.value * len(OBJECT_SIZES) + size_predicted, predicted.pixels - hits_predicted),
        (true.value * len(OBJECT_SIZES) + size, true.pixels - hits),
    )
    table = np.stack([_total(places, pixels, VALUES * len(OBJECT_SIZES)) for places, pixels in columns], axis=-1)
    return table.reshape(VALUES, len(OBJECT_SIZES), len(SIZE_COUNTS))


def _hits(parts: _Parts, own: Integers, overlaps: _Overlaps) -> Integers:
    """Correct pixels of each part, (m,)."""
    return _total(own, overlaps.pixels, len(parts.value))


def _count_lost(runs: _Runs, true: _Parts, predicted: _Parts, overlaps: _Overlaps) -> Integers:
    """Columns of ``LOST_COUNTS``, (256, 5)."""
    wrong = runs.true != runs.predicted
    found = _hits(true, overlaps.true, overlaps)[true.of_run] > 0
    right = _hits(predicted, overlaps.predicted, overlaps)[predicted.of_run] > 0
    near_own, near_other = runs.near_own & found, runs.near_other & right

    def pixels(classes: Integers, chosen: Flags) -> Integers:
        return _total(classes, runs.pixels * chosen, VALUES)

    missed, spurious = pixels(runs.true, wrong & ~near_own), pixels(runs.predicted, wrong & ~near_other)
    boundary = pixels(runs.true, near_own) + pixels(runs.predicted, near_other)
    every = np.ones(len(wrong), np.bool_)
    present = pixels(runs.true, every)
    return np.stack([present, present + pixels(runs.predicted, wrong), boundary, missed, spurious], axis=-1)


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
    """Errors per object; bounded by 1 if an object can have the error only once.

    NaN for a class without a true object, and where there is no object, or no hole, that could be wrong.
    """
    column = {name: place for place, name in enumerate(OBJECT_COUNTS)}
    # key, label, errors, for each, greatest value, where intervals hold
    table: tuple[tuple[str, str, str, str, float, Literal["differences", "none"]], ...] = (
        ("missed_objects", "Missed objects", "missed", "true", 1.0, "differences"),
        ("spurious_objects", "Spurious objects", "spurious", "predicted", 1.0, "differences"),
        ("merged_objects", "Merged objects", "merged", "predicted", math.inf, "none"),
        ("split_objects", "Split objects", "split", "true", math.inf, "none"),
        ("missed_holes", "Missed holes", "missed_holes", "true_holes", 1.0, "none"),
        ("spurious_holes", "Spurious holes", "spurious_holes", "predicted_holes", 1.0, "none"),
    )
    measures: tuple[Measure, ...] = ()
    for key, label, errors, each, most, hold in table:
        function = partial(share_of, part=column[errors], whole=column[each], present=column["true"])
        bounds = (0.0, most)
        measure = Measure(key, label, function, "objects", bounds=bounds, higher_is_better=False, intervals=hold)
        measures += measure_and_mean(measure)
    return measures


def _sizes() -> tuple[Measure, ...]:
    measures: tuple[Measure, ...] = ()
    for place, size in enumerate(OBJECT_SIZES):
        function = partial(iou_of_size, size=place)
        name, label = f"iou_{size}", f"IoU of {size} objects"
        measure = Measure(name, label, function, counts="object_sizes", source=COCO, intervals="none")
        measures += measure_and_mean(measure)
    return measures


def _lost() -> tuple[Measure, ...]:
    """The three add up to 1 - IoU, class by class."""
    measures: tuple[Measure, ...] = ()
    for kind in ("boundary", "missed", "spurious"):
        function = partial(share_of, part=LOST_COUNTS.index(kind), whole=1, present=0)
        hold: Literal["all", "differences"] = "all" if kind == "boundary" else "differences"
        name, label = f"lost_{kind}", f"IoU lost: {kind}"
        measure = Measure(name, label, function, counts="lost", higher_is_better=False, intervals=hold)
        measures += measure_and_mean(measure)
    return measures


COCO = "Lin et al., ECCV 2014"
OBJECTS = (*_objects(), *_sizes(), *_lost())
