"""Objects, holes and kinds of error once more, slow and obvious: flood fill, sets, every part compared with every other.

Written from the definitions, not from ``segstudy.counts.objects``; only tests use it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from reference.slow_boundaries import AROUND, SIDES, Pair, Pixel

Part = frozenset[Pixel]
NAN = math.nan


def parts(pixels: set[Pixel], steps: tuple[Pixel, ...]) -> list[Part]:
    """Connected parts by flood fill."""
    left, found = set(pixels), []
    while left:
        todo, part = [left.pop()], set()
        while todo:
            y, x = todo.pop()
            part.add((y, x))
            for dy, dx in steps:
                if (y + dy, x + dx) in left:
                    left.remove((y + dy, x + dx))
                    todo.append((y + dy, x + dx))
        found.append(frozenset(part))
    return found


def objects(mask: Part) -> list[Part]:
    return parts(set(mask), AROUND)


def holes(mask: Part, pair: Pair) -> list[Part]:
    """Parts of the other pixels that do not reach the image's end; ignored pixels are then taken out of them."""
    enclosed = [
        part
        for part in parts(pair.all() - mask, SIDES)
        if all(0 < y < pair.height - 1 and 0 < x < pair.width - 1 for y, x in part)
    ]
    return [part - pair.ignored for part in enclosed if part - pair.ignored]


@dataclass(frozen=True)
class Errors:
    """What is counted of one class."""

    true: int
    predicted: int
    missed: int
    spurious: int
    merged: int
    split: int
    true_holes: int
    predicted_holes: int
    missed_holes: int
    spurious_holes: int


def untouched(own: list[Part], others: list[Part], least: int) -> int:
    return sum(len(part) >= least and not any(part & other for other in others) for part in own)


def further(own: list[Part], others: list[Part], least: int) -> int:
    """How many of the others each part touches beyond the first; small ones are left out on both sides."""
    large = [other for other in others if len(other) >= least]
    return sum(max(0, sum(bool(part & other) for other in large) - 1) for part in own if len(part) >= least)


def errors(pair: Pair, least: int) -> Errors:
    true, predicted = objects(pair.true), objects(pair.predicted)
    true_holes, predicted_holes = holes(pair.true, pair), holes(pair.predicted, pair)
    return Errors(
        true=sum(len(part) >= least for part in true),
        predicted=sum(len(part) >= least for part in predicted),
        missed=untouched(true, predicted, least),
        spurious=untouched(predicted, true, least),
        merged=further(predicted, true, least),
        split=further(true, predicted, least),
        true_holes=sum(len(hole) >= least for hole in true_holes),
        predicted_holes=sum(len(hole) >= least for hole in predicted_holes),
        missed_holes=untouched(true_holes, predicted_holes, least),
        spurious_holes=untouched(predicted_holes, true_holes, least),
    )


def size_of(pixels: int, limits: tuple[int, int]) -> int:
    return 0 if pixels < limits[0] else 1 if pixels < limits[1] else 2


def by_size(pair: Pair, limits: tuple[int, int]) -> list[list[int]]:
    """Hits, false positives and false negatives of small, medium and large objects."""
    table = [[0, 0, 0] for _ in range(3)]
    true = objects(pair.true)
    for part in true:
        size = size_of(len(part), limits)
        table[size][0] += len(part & pair.predicted)
        table[size][2] += len(part - pair.predicted)
    for part in objects(pair.predicted):
        touched = [other for other in true if part & other]
        owner = max(touched, key=lambda other: (len(part & other), len(other)), default=part)
        table[size_of(len(owner), limits)][1] += len(part - pair.true)
    return table


def near(pixel: Pixel, mask: set[Pixel] | Part, width: int) -> bool:
    """Whether the mask has a pixel at most ``width`` rows and columns away."""
    y, x = pixel
    return any((y + dy, x + dx) in mask for dy in range(-width, width + 1) for dx in range(-width, width + 1))


def lost(pair: Pair, share: float) -> tuple[int, int, int, int, int]:
    """True pixels, union, and wrong pixels by kind: boundary, missed, spurious."""
    width = max(1, round(share * pair.diagonal))
    others = pair.all() - pair.true - pair.ignored
    kinds = {"boundary": 0, "missed": 0, "spurious": 0}
    for part in objects(pair.true):
        for pixel in part - pair.predicted:
            at_edge = bool(part & pair.predicted) and near(pixel, others, width)
            kinds["boundary" if at_edge else "missed"] += 1
    for part in objects(pair.predicted):
        for pixel in part - pair.true:
            at_edge = bool(part & pair.true) and near(pixel, pair.true, width)
            kinds["boundary" if at_edge else "spurious"] += 1
    return len(pair.true), len(pair.true | pair.predicted), kinds["boundary"], kinds["missed"], kinds["spurious"]


def _share(part: str, whole: str) -> Callable[[Pair], float]:
    def value(pair: Pair) -> float:
        found = errors(pair, LEAST)
        number = getattr(found, whole)
        return getattr(found, part) / number if found.true and number else NAN

    return value


def _iou_of_size(size: int) -> Callable[[Pair], float]:
    def value(pair: Pair) -> float:
        hits, false_positives, false_negatives = by_size(pair, LIMITS)[size]
        return hits / (hits + false_positives + false_negatives) if hits + false_negatives else NAN

    return value


def _lost_share(place: int) -> Callable[[Pair], float]:
    def value(pair: Pair) -> float:
        found = lost(pair, SHARE)
        return found[place] / found[1] if found[0] else NAN

    return value


# The rules of the tests: least area of an object, areas at which medium and large begin, the band's share.
LEAST, LIMITS, SHARE = 3, (6, 14), 0.1
# By the keys of segstudy.counts.objects.OBJECTS.
PER_CLASS: dict[str, Callable[[Pair], float]] = {
    "missed_objects": _share("missed", "true"),
    "spurious_objects": _share("spurious", "predicted"),
    "merged_objects": _share("merged", "predicted"),
    "split_objects": _share("split", "true"),
    "missed_holes": _share("missed_holes", "true_holes"),
    "spurious_holes": _share("spurious_holes", "predicted_holes"),
    "iou_small": _iou_of_size(0),
    "iou_medium": _iou_of_size(1),
    "iou_large": _iou_of_size(2),
    "lost_boundary": _lost_share(2),
    "lost_missed": _lost_share(3),
    "lost_spurious": _lost_share(4),
}
