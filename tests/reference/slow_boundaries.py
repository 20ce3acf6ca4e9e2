"""Boundaries once more, slow and obvious: sets of pixels, every pair of points compared, erosion step by step.

Written from the definitions, not from ``segstudy.counts.boundaries``; only tests use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

Pixel = tuple[int, int]
Image = list[list[int]]
NAN = math.nan
SIDES = ((0, 1), (1, 0), (0, -1), (-1, 0))
AROUND = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


@dataclass(frozen=True)
class Pair:
    """The pixels of one class in both masks, the ignored ones, and the image's size."""

    true: frozenset[Pixel]
    predicted: frozenset[Pixel]
    ignored: frozenset[Pixel]
    height: int
    width: int

    def exchanged(self) -> Pair:
        return Pair(self.predicted, self.true, self.ignored, self.height, self.width)

    @property
    def diagonal(self) -> float:
        return math.sqrt(self.height**2 + self.width**2)

    def all(self) -> set[Pixel]:
        return {(y, x) for y in range(self.height) for x in range(self.width)}


def pair_of(truth: Image, prediction: Image, k: int, ignore: int = 255) -> Pair:
    places = [(y, x) for y, row in enumerate(truth) for x, _ in enumerate(row)]
    ignored = frozenset((y, x) for y, x in places if truth[y][x] == ignore)
    true = frozenset((y, x) for y, x in places if truth[y][x] == k) - ignored
    predicted = frozenset((y, x) for y, x in places if prediction[y][x] == k) - ignored
    return Pair(true, predicted, ignored, len(truth), len(truth[0]))


def eroded(mask: set[Pixel], around: tuple[Pixel, ...]) -> set[Pixel]:
    return {(y, x) for y, x in mask if all((y + dy, x + dx) in mask for dy, dx in around)}


def band(mask: frozenset[Pixel], ignored: frozenset[Pixel], width: int) -> set[Pixel]:
    left = set(mask | ignored)
    for _ in range(width):
        left = eroded(left, AROUND)
    return set(mask) - left


def boundary(mask: frozenset[Pixel], ignored: frozenset[Pixel]) -> list[Pixel]:
    return sorted(set(mask) - eroded(set(mask | ignored), SIDES))


def nearest(points: list[Pixel], others: list[Pixel]) -> list[float]:
    return [min(math.dist(point, other) for other in others) for point in points]


def boundary_iou(pair: Pair, share: float) -> float:
    width = max(1, round(share * pair.diagonal))
    true, predicted = band(pair.true, pair.ignored, width), band(pair.predicted, pair.ignored, width)
    return len(true & predicted) / len(true | predicted) if true else NAN


def matched(pair: Pair, tolerance: float) -> tuple[int, int, int, int]:
    """Matched true, true, matched predicted and predicted boundary pixels."""
    true, predicted = boundary(pair.true, pair.ignored), boundary(pair.predicted, pair.ignored)
    both = bool(true and predicted)
    forth, back = (nearest(true, predicted), nearest(predicted, true)) if both else ([], [])
    return sum(d <= tolerance for d in forth), len(true), sum(d <= tolerance for d in back), len(predicted)


def boundary_f(pair: Pair, tolerance: float) -> float:
    matched_true, true, matched_predicted, predicted = matched(pair, tolerance)
    if not true:
        return NAN
    if not matched_true or not matched_predicted:
        return 0.0
    precision, recall = matched_predicted / predicted, matched_true / true
    return 2 * precision * recall / (precision + recall)


def surface_dice(pair: Pair, tolerance: float) -> float:
    matched_true, true, matched_predicted, predicted = matched(pair, tolerance)
    return (matched_true + matched_predicted) / (true + predicted) if true else NAN


def percentile95(values: list[float]) -> float:
    """Linear between the two values beside the place 0.95 (n - 1)."""
    ordered, place = sorted(values), 0.95 * (len(values) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def _both_ways(pair: Pair) -> tuple[list[float], list[float]] | None:
    true, predicted = boundary(pair.true, pair.ignored), boundary(pair.predicted, pair.ignored)
    return (nearest(true, predicted), nearest(predicted, true)) if true and predicted else None


def hausdorff95(pair: Pair) -> float:
    ways = _both_ways(pair)
    return max(map(percentile95, ways)) if ways else NAN


def surface_distance(pair: Pair) -> float:
    ways = _both_ways(pair)
    return sum(map(sum, ways)) / sum(map(len, ways)) if ways else NAN


# By the keys of segstudy.counts.boundaries.boundary_measures; rules are those of the tests: a band of 10 % of the diagonal,
# tolerances of 1 px and of 12.5 % of the diagonal.
PER_CLASS: dict[str, Callable[[Pair], float]] = {
    "boundary_iou": lambda pair: boundary_iou(pair, 0.1),
    "boundary_f_1px": lambda pair: boundary_f(pair, 1),
    "surface_dice_1px": lambda pair: surface_dice(pair, 1),
    "boundary_f_12.5pct": lambda pair: boundary_f(pair, 0.125 * pair.diagonal),
    "surface_dice_12.5pct": lambda pair: surface_dice(pair, 0.125 * pair.diagonal),
    "hausdorff95": hausdorff95,
    "surface_distance": surface_distance,
}
