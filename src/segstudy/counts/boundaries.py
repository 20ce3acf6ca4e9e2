"""Counts of boundary pixels, and the measures computed from them.

Array letters: ``h`` height, ``w`` width, ``c`` class, ``t`` tolerance.

A *boundary pixel* of a class is a pixel of its mask whose upper, lower, left or right neighbour belongs to another class
or lies outside the image (like MONAI's ``get_mask_edges``). Ignored pixels are never boundary pixels and create none next
to them, because it is unknown where the class ends there.

A class without a true boundary pixel is absent: NaN. A present class that is never predicted has boundary IoU, F-score
and normalised surface distance 0; its distances are undefined (NaN), and ``never_predicted`` counts such images.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Counts, Values
from segstudy.measures import Measure, measure_and_mean, ratio
from segstudy.schema import ScoringRules

BAND_COUNTS = ("both", "true", "predicted")
MATCH_COUNTS = ("matched_true", "true", "matched_predicted", "predicted")
# Per class: sum of the distances of all boundary pixels, true and predicted, to the nearest of the other kind; their
# number; Hausdorff 95; images with both kinds; images with only the true kind. Distances are in 1/1000 px.
SURFACE_COUNTS = ("distances", "pixels", "hausdorff95", "images", "never_predicted")
MILLI = 1000
VOID = 255  # the value of ignored pixels in both prepared masks


def band_px(shape: tuple[int, ...], share: float) -> int:
    """Width of boundary IoU's band in an image (h, w): ``share`` of the diagonal, rounded, at least 1.

    >>> band_px((480, 640), 0.02)
    16
    """
    return max(1, round(share * math.hypot(*shape[:2])))


def tolerances_of(shape: tuple[int, ...], rules: ScoringRules) -> tuple[float, ...]:
    """Tolerances in pixels for an image (h, w): those in pixels, then the shares of the diagonal, not rounded.

    >>> tolerances_of((30, 40), ScoringRules(tolerances_px=[2], tolerance_shares=[0.05]))
    (2.0, 2.5)
    """
    diagonal = math.hypot(*shape[:2])
    return (*map(float, rules.tolerances_px), *(share * diagonal for share in rules.tolerance_shares))


def without_ignored(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], ignore: int = VOID
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Both masks with ``VOID`` wherever the truth is ``ignore``; predictions there do not count.

    >>> [mask.tolist() for mask in without_ignored(np.array([[1, 7]], np.uint8), np.array([[0, 1]], np.uint8), 7)]
    [[[1, 255]], [[0, 255]]]
    """
    ignored = truth == ignore
    return np.where(ignored, np.uint8(VOID), truth), np.where(ignored, np.uint8(VOID), prediction)


def differs_within(labels: NDArray[np.uint8], window: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether two classes occur in the ``window`` of ones around a pixel, (h, w); ``VOID`` is not a class."""
    least = cv2.erode(labels, window)
    greatest = cv2.dilate(np.where(labels == VOID, np.uint8(0), labels), window)
    differs: NDArray[np.bool_] = least < greatest
    return differs


def square(radius: int) -> NDArray[np.uint8]:
    """Square window of ones, ``radius`` pixels to each side of its centre."""
    return np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)


CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3)).astype(np.uint8)


def _edge(labels: NDArray[np.uint8], window: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Whether the ``window`` around a pixel reaches another class or the image's border."""
    edge = differs_within(labels, window)
    width = len(window) // 2
    edge[:width] = edge[-width:] = edge[:, :width] = edge[:, -width:] = True
    return edge


def count_boundaries(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], num_classes: int, rules: ScoringRules
) -> dict[str, Counts]:
    """Count boundary pixels of one image.

    Parameters
    ----------
    truth, prediction
        Class indices, ``uint8`` (h, w), ignored pixels ``VOID`` in both, as :func:`without_ignored` makes them.
    num_classes
        Number of classes ``c``.
    rules
        ``boundary_iou_share``, ``tolerances_px``, ``tolerance_shares``.

    Returns
    -------
    dict
        ``boundary_iou`` (c, 3), ``boundary_matches`` (t, c, 4), ``surface`` (c, 5), all ``int64``. Columns are those of
        ``BAND_COUNTS``, ``MATCH_COUNTS`` and ``SURFACE_COUNTS``, tolerances in the order of :func:`tolerances_of`.

    """
    return {
        "boundary_iou": _count_bands(truth, prediction, num_classes, band_px(truth.shape, rules.boundary_iou_share)),
        **_count_distances(truth, prediction, num_classes, tolerances_of(truth.shape, rules)),
    }


def _count_bands(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], num_classes: int, width: int) -> Counts:
    """A pixel is in its class's band if eroding the mask ``width`` times by 3 x 3 removes it (Cheng et al.)."""
    window = square(width)
    true, predicted = (np.where(_edge(mask, window), mask, np.uint8(VOID)) for mask in (truth, prediction))
    both = np.where(true == predicted, true, np.uint8(VOID))
    return np.stack([_pixels_of(mask, num_classes) for mask in (both, true, predicted)], axis=-1)


def _pixels_of(labels: NDArray[np.uint8], num_classes: int) -> Counts:
    """Pixels of each class, (c,)."""
    pixels: Counts = np.bincount(labels.ravel(), minlength=num_classes)[:num_classes]
    return pixels


def _boundary_points(labels: NDArray[np.uint8], num_classes: int) -> list[NDArray[np.intp]]:
    """Row and column of the boundary pixels of each class, (n, 2)."""
    places = np.flatnonzero(_edge(labels, CROSS))
    classes = labels.ravel()[places]
    points = np.stack(np.divmod(places, labels.shape[1]), axis=-1)
    return [points[classes == k] for k in range(num_classes)]


def _count_distances(
    truth: NDArray[np.uint8], prediction: NDArray[np.uint8], num_classes: int, tolerances: Sequence[float]
) -> dict[str, Counts]:
    matches = np.zeros((len(tolerances), num_classes, len(MATCH_COUNTS)), np.int64)
    surface = np.zeros((num_classes, len(SURFACE_COUNTS)), np.int64)
    pairs = zip(_boundary_points(truth, num_classes), _boundary_points(prediction, num_classes), strict=True)
    for k, (true, predicted) in enumerate(pairs):
        matches[:, k, [1, 3]] = len(true), len(predicted)
        if not (len(true) and len(predicted)):
            surface[k] = 0, 0, 0, 0, len(true) > 0
            continue
        directions = _nearest(true, predicted), _nearest(predicted, true)
        for i, tolerance in enumerate(tolerances):
            matches[i, k, [0, 2]] = [np.count_nonzero(distances <= tolerance) for distances in directions]
        farthest = max(np.percentile(distances, 95) for distances in directions)
        total = sum(distances.sum() for distances in directions)
        surface[k] = round(MILLI * total), len(true) + len(predicted), round(MILLI * farthest), 1, 0
    return {"boundary_matches": matches, "surface": surface}


def _nearest(points: NDArray[np.intp], others: NDArray[np.intp]) -> Values:
    """Distance of each point to the nearest of the others, px; exact.

    A tree over the few boundary pixels takes a tenth of the time of OpenCV's exact distance transform of all pixels.
    """
    from scipy.spatial import KDTree  # loads for a fifth of a second, and only counting needs it

    distances: Values = KDTree(others, leafsize=32, balanced_tree=False, compact_nodes=False).query(points)[0]
    return distances


def boundary_iou(counts: Counts) -> Values:
    """Intersection over union of the bands inside both masks' edges, (..., c, 3) to (..., c); NaN where absent.

    Source: Cheng et al., Boundary IoU: improving object-centric image segmentation evaluation, CVPR 2021.

    >>> boundary_iou(np.array([[6, 8, 10], [0, 0, 3]])).tolist()
    [0.5, nan]
    """
    both, true, predicted = np.moveaxis(np.asarray(counts, np.float64), -1, 0)
    return ratio(both, true + predicted - both, true > 0)


def boundary_f(matches: Counts) -> Values:
    """Boundary F-score: harmonic mean of the matched shares of predicted and of true boundary, (..., c, 4) to (..., c).

    Source: Csurka et al., What is a good evaluation measure for semantic segmentation?, BMVC 2013.

    >>> boundary_f(np.array([[3, 4, 3, 6], [0, 4, 0, 0], [0, 0, 0, 5]])).tolist()
    [0.6, 0.0, nan]
    """
    matched_true, true, matched_predicted, predicted = np.moveaxis(np.asarray(matches, np.float64), -1, 0)
    # 2 P R / (P + R), multiplied by both totals: no special case where P or R is 0 or undefined.
    top = 2 * matched_predicted * matched_true
    f_score = ratio(top, matched_predicted * true + matched_true * predicted, true > 0)
    return np.where((true > 0) & (top == 0), 0.0, f_score)


def surface_dice(matches: Counts) -> Values:
    """Normalised surface distance: matched share of true and predicted boundary together, (..., c, 4) to (..., c).

    Source: Nikolov et al., Clinically applicable segmentation of head and neck anatomy, J. Med. Internet Res. 2021.

    >>> surface_dice(np.array([[3, 4, 3, 6], [0, 4, 0, 0], [0, 0, 0, 5]])).tolist()
    [0.6, 0.0, nan]
    """
    matched_true, true, matched_predicted, predicted = np.moveaxis(np.asarray(matches, np.float64), -1, 0)
    return ratio(matched_true + matched_predicted, true + predicted, true > 0)


def hausdorff95(surface: Counts) -> Values:
    """Mean over images of the larger 95th percentile of distances in both directions, px, (..., c, 5) to (..., c).

    Computed like MONAI's, for each image and class. NaN where no image has both a true and a predicted boundary.

    Source: Huttenlocher et al., Comparing images using the Hausdorff distance, PAMI 1993 (ranked distance).
    """
    _, _, farthest, images, _ = np.moveaxis(np.asarray(surface, np.float64), -1, 0)
    return ratio(farthest / MILLI, images, images > 0)


def average_surface_distance(surface: Counts) -> Values:
    """Mean distance of boundary pixels, true and predicted, to the nearest of the other kind, px, (..., c, 5) to (..., c).

    NaN where no image has both.

    Source: Heimann et al., Comparison and evaluation of methods for liver segmentation, IEEE TMI 2009.
    """
    distances, pixels, *_ = np.moveaxis(np.asarray(surface, np.float64), -1, 0)
    return ratio(distances / MILLI, pixels, pixels > 0)


def _at(matches: Counts, function: Callable[[Counts], Values], tolerance: int) -> Values:
    """A function of (..., c, 4) on one tolerance of (..., t, c, 4)."""
    return function(matches[..., tolerance, :, :])


def boundary_measures(rules: ScoringRules) -> tuple[Measure, ...]:
    """Measures of boundaries, per class and as mean over classes; one per tolerance.

    >>> [measure.key for measure in boundary_measures(ScoringRules())][::2]  # doctest: +NORMALIZE_WHITESPACE
    ['boundary_iou', 'boundary_f_2px', 'surface_dice_2px', 'boundary_f_0.75pct', 'surface_dice_0.75pct', 'hausdorff95',
     'surface_distance']
    """
    names = [(f"{px}px", f"{px} px") for px in rules.tolerances_px]
    names += [(f"{share:.6g}pct", f"{share:.6g} %") for share in (100 * share for share in rules.tolerance_shares)]
    measures: tuple[Measure, ...] = measure_and_mean(
        Measure("boundary_iou", "Boundary IoU", boundary_iou, counts="boundary_iou", source="Cheng et al., CVPR 2021")
    )
    for i, (key, label) in enumerate(names):
        f_score, dice = (partial(_at, function=function, tolerance=i) for function in (boundary_f, surface_dice))
        for measure in (
            Measure(f"boundary_f_{key}", f"Boundary F ({label})", f_score, source="Csurka et al., BMVC 2013"),
            Measure(f"surface_dice_{key}", f"Surface Dice ({label})", dice, source="Nikolov et al., JMIR 2021"),
        ):
            measures += measure_and_mean(replace(measure, counts="boundary_matches"))
    distance = partial(Measure, counts="surface", bounds=(0.0, math.inf), higher_is_better=False, unit="px")
    measures += measure_and_mean(
        distance("hausdorff95", "Hausdorff 95", hausdorff95, pooled=False, source="Huttenlocher et al., PAMI 1993")
    )
    return measures + measure_and_mean(
        distance("surface_distance", "Surface distance", average_surface_distance, source="Heimann et al., TMI 2009")
    )
