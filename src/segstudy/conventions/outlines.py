"""How other libraries measure outlines: HD95, ASSD and NSD of one image's class, from its masks.

The counts that segstudy keeps hold one Hausdorff distance an image, not the distances that another rule would rank, so
these rules take label arrays. What they make of an image is kept as integers that add up, as all counts are
(:func:`count_outlines`), and averaged like segstudy's own distances: over the images of each class, then over classes.

Array letters: ``n`` image, ``h`` height, ``w`` width, ``c`` class.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, distance_transform_edt

from segstudy.arrays import Counts, Values
from segstudy.errors import SpecError, listing, nearest

Mask = NDArray[np.bool_]
# What a 2 x 2 window is worth as a piece of outline, by its four pixels: the length of the line through it, px.
NUMBERS = ("hd95", "assd", "nsd")
SHOWN = {"hd95": "HD95", "assd": "ASSD", "nsd": "NSD"}
MICRO = 10**6  # numbers are kept in millionths, so that counts stay integers
SLANTED, STRAIGHT = math.sqrt(0.5), 1.0


@dataclass(frozen=True)
class OutlineRule:
    """A library's rule for distances between outlines, with a sentence on what differs from segstudy's."""

    name: str
    library: str
    calls: str
    why: str
    hausdorff: Literal["greater", "together"] = "greater"  # percentile of each direction, or of both at once
    average: Literal["pixels", "directions"] = "pixels"  # mean over all outline pixels, or of both directions' means
    weighted: bool = False  # whether outlines are lines between pixels, weighed by their length


OUTLINE_RULES = (
    OutlineRule(
        "monai",
        "MONAI",
        "compute_hausdorff_distance(percentile=95), compute_average_surface_distance(symmetric=True), "
        "compute_surface_dice",
        "Edges and distances are segstudy's: HD95 is the greater of both directions' 95th percentiles, and ASSD the mean over "
        "the outline pixels of both masks. Here ASSD and NSD are means over images; segstudy's own weigh images by their outlines.",
    ),
    OutlineRule(
        "medpy",
        "MedPy",
        "metric.binary.hd95, metric.binary.assd",
        "HD95 ranks the distances of both directions together, where segstudy takes the greater of two percentiles; ASSD is "
        "the mean over the outline pixels of both masks; there is "
        "no NSD.",
        hausdorff="together",
    ),
    OutlineRule(
        "surface-distance",
        "surface-distance (DeepMind)",
        "compute_robust_hausdorff(percent=95), compute_average_surface_distance, compute_surface_dice_at_tolerance",
        "Outlines run between pixels and each piece counts by its length, so HD95 and NSD are shares of length, not of pixels; "
        "the library gives a mean distance for each direction, of which ASSD is the mean here.",
        average="directions",
        weighted=True,
    ),
)


def outline_rule(name: str) -> OutlineRule:
    """A rule by its name.

    Raises
    ------
    SpecError
        For a name that is not in the table, with the nearest one.

    """
    names = [rule.name for rule in OUTLINE_RULES]
    if name not in names:
        raise SpecError(f"{name}: no such rule for outlines{nearest(name, names)}; there are {listing(names)}")
    return OUTLINE_RULES[names.index(name)]


def outline_scores(
    truth: NDArray[np.integer], prediction: NDArray[np.integer], cls: int, rule: str, tolerance: float = 2.0
) -> dict[str, float]:
    """HD95, ASSD (both in pixels) and NSD of one class in one image, as a library computes them.

    Parameters
    ----------
    truth, prediction
        Labels, integer (h, w). Set ignored pixels to a label that is not a class in both.
    cls
        The class.
    rule
        ``monai``, ``medpy`` or ``surface-distance``.
    tolerance
        Of NSD, px.

    Returns
    -------
    dict
        ``hd95``, ``assd``, ``nsd``; distances NaN where either mask is empty, NSD then 0, or NaN where both are. ``nsd``
        is NaN for a library without it.

    Examples
    --------
    >>> labels = np.zeros((8, 8), int); labels[2:5, 2:5] = 1
    >>> outline_scores(labels, np.roll(labels, 1, axis=1), 1, "monai", tolerance=0.5)
    {'hd95': 1.0, 'assd': 0.5, 'nsd': 0.5}

    """
    chosen = outline_rule(rule)
    if truth.shape != prediction.shape or truth.ndim != 2:
        raise SpecError(
            f"masks are {truth.shape} and {prediction.shape}: both must have the same size, (height, width)"
        )
    masks = truth == cls, prediction == cls
    empty = [not mask.any() for mask in masks]
    if any(empty):
        return {"hd95": math.nan, "assd": math.nan, "nsd": math.nan if all(empty) or rule == "medpy" else 0.0}
    outlines = [_pieces(mask) if chosen.weighted else _edge_pixels(mask) for mask in masks]
    there, back = (_distances(outlines[a], outlines[b]) for a, b in ((0, 1), (1, 0)))
    return {
        "hd95": _hausdorff95(there, back, chosen),
        "assd": _average(there, back, chosen),
        "nsd": math.nan if rule == "medpy" else _within(there, back, tolerance),
    }


def _edge_pixels(mask: Mask) -> Values:
    """Pixels of a mask that have one of another class, or the image's end, above, below, left or right; worth 1 each."""
    edges: Values = (mask & ~binary_erosion(mask)).astype(np.float64)
    return edges


def _pieces(mask: Mask) -> Values:
    """Length of the outline in each 2 x 2 window, of an image with a rim of zeros, (h + 1, w + 1)."""
    rim = np.pad(mask, 1)
    corners = np.stack([rim[:-1, :-1], rim[:-1, 1:], rim[1:, :-1], rim[1:, 1:]])
    inside = corners.sum(axis=0)
    diagonal = (inside == 2) & (corners[0] == corners[3])
    lengths = np.select([diagonal, inside == 2, (inside == 1) | (inside == 3)], [2 * SLANTED, STRAIGHT, SLANTED])
    return np.asarray(lengths, np.float64)


def _distances(one: Values, other: Values) -> tuple[Values, Values]:
    """Distances of one outline's pieces to the other's, in ascending order, with what each piece is worth."""
    distances = distance_transform_edt(other == 0)[one > 0]
    order = np.argsort(distances, kind="stable")
    return distances[order], one[one > 0][order]


def _hausdorff95(there: tuple[Values, Values], back: tuple[Values, Values], rule: OutlineRule) -> float:
    if rule.hausdorff == "together":
        return float(np.percentile(np.concatenate([there[0], back[0]]), 95))
    if not rule.weighted:
        return float(max(np.percentile(distances, 95) for distances, _ in (there, back)))
    ranks = [np.searchsorted(np.cumsum(worth) / worth.sum(), 0.95) for _, worth in (there, back)]
    ends = zip((there[0], back[0]), ranks, strict=True)
    return float(max(distances[min(int(rank), len(distances) - 1)] for distances, rank in ends))


def _average(there: tuple[Values, Values], back: tuple[Values, Values], rule: OutlineRule) -> float:
    sums = [float((distances * worth).sum()) for distances, worth in (there, back)]
    worths = [float(worth.sum()) for _, worth in (there, back)]
    if rule.average == "directions":
        return (sums[0] / worths[0] + sums[1] / worths[1]) / 2
    return sum(sums) / sum(worths)


def _within(there: tuple[Values, Values], back: tuple[Values, Values], tolerance: float) -> float:
    close = sum(float(worth[distances <= tolerance].sum()) for distances, worth in (there, back))
    return close / float(there[1].sum() + back[1].sum())


def counts_name(rule: str) -> str:
    """Under which name a count set keeps what a rule counted."""
    return f"outlines_{rule}"


def count_outlines(
    truth: NDArray[np.integer],
    prediction: NDArray[np.integer],
    num_classes: int,
    rules: Sequence[str],
    tolerance: float,
) -> dict[str, Counts]:
    """The rules' numbers for one image, class by class, in millionths, each with 1 where it is defined.

    Parameters
    ----------
    truth, prediction
        Labels, integer (h, w). Set ignored pixels to a label that is not a class in both.
    num_classes
        Number of classes ``c``.
    rules
        Names of rules.
    tolerance
        Of NSD, px.

    Returns
    -------
    dict
        For each rule ``int64`` (c, 3, 2): HD95, ASSD, NSD; sum and number.

    """
    found = {}
    for rule in rules:
        scores = [outline_scores(truth, prediction, cls, rule, tolerance) for cls in range(num_classes)]
        values = np.array([[each[key] for key in NUMBERS] for each in scores])
        there = np.isfinite(values)
        sums = np.where(there, np.rint(values * MICRO), 0)
        found[counts_name(rule)] = np.stack([sums, there], axis=-1).astype(np.int64)
    return found


def outline_records(
    counts: Mapping[str, Counts], classes: Sequence[str], ours: Mapping[str, Values]
) -> list[dict[str, Any]]:
    """The numbers of every rule that was counted, next to segstudy's, as plain data; undefined is None.

    Parameters
    ----------
    counts
        By :func:`counts_name`, ``int64`` (n, c, 3, 2).
    classes
        Names of the classes.
    ours
        segstudy's own, of each class (c,), by the keys of :data:`NUMBERS`.

    """
    records = []
    for rule in OUTLINE_RULES:
        if (counted := counts.get(counts_name(rule.name))) is None:
            continue
        sums, numbers = np.moveaxis(counted.sum(axis=0), -1, 0)
        means = np.divide(sums, numbers * MICRO, out=np.full(sums.shape, math.nan), where=numbers > 0)
        records.append(
            {
                "as": rule.name,
                "library": rule.library,
                "call": rule.calls,
                "level": "image",
                "average": "images of each class, then classes",
                "scores": {SHOWN[key]: _mean(means[:, n]) for n, key in enumerate(NUMBERS)},
                "segstudy": {SHOWN[key]: _mean(np.asarray(ours[key])) for key in NUMBERS},
                "classes": [
                    {"class": name, "images": int(numbers[k, 0])}
                    | {SHOWN[key]: _mean(means[k, n : n + 1]) for n, key in enumerate(NUMBERS)}
                    for k, name in enumerate(classes)
                ],
                "why": rule.why,
            }
        )
    return records


def _mean(values: Values) -> float | None:
    """The mean of what is defined; None if nothing is."""
    defined = values[np.isfinite(values)]
    return float(defined.mean()) if defined.size else None
