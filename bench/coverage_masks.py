"""Do intervals of boundary, object and calibration measures hold their level? Simulated on drawn masks.

    python bench/coverage_masks.py [--studies 1000] [--quick]

A pool of images is drawn for each world: ellipses of two classes, and what two networks make of them, with outlines that
are a little off, objects that are missed and others that are not there. All are counted once, as an evaluation counts
them. What the pool scores is the truth; a study draws images from it with repeats, so that its images are as independent as
images can be. "Too high" and "too low" are the shares of intervals above and below the truth.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Counts
from segstudy.counts.counting import count_pair, measures_of, stack_counts
from segstudy.measures import Measure, merge
from segstudy.schema import ScoringRules
from segstudy.stats.comparison import Difference, compare
from segstudy.stats.intervals import Estimate, estimate

SIDE, CLASSES = 96, 3
RULES = ScoringRules(min_object_px=9, object_sizes_px=[80, 400])


@dataclass(frozen=True)
class World:
    """How often objects are missed or made up, how far outlines are off (pixels), and how much images differ in that."""

    name: str
    missed: float
    spurious: float
    off_px: float
    difficulty: float


WORLDS = (
    World("outlines a little off, few misses", 0.03, 0.03, 1.5, 0.3),
    World("objects often missed or made up", 0.25, 0.25, 1.5, 0.3),
    World("hard images now and then", 0.1, 0.1, 2.0, 1.0),
)


def draw_pair(world: World, rng: np.random.Generator, num_networks: int) -> list[tuple[NDArray[np.uint8], ...]]:
    """Truth, prediction and distance to the nearest predicted outline, for each network on one image."""
    hard = float(np.exp(world.difficulty * rng.normal() - world.difficulty**2 / 2))
    truth = np.zeros((SIDE, SIDE), np.uint8)
    predicted = [truth.copy() for _ in range(num_networks)]
    for _ in range(1 + rng.poisson(1.5)):
        label, centre = int(rng.integers(1, CLASSES)), rng.uniform(8, SIDE - 8, 2)
        axes, angle = np.exp(rng.normal(2.1, 0.45, 2)), float(rng.uniform(0, 180))
        _ellipse(truth, label, centre, axes, angle)
        for mask in predicted:
            if rng.random() >= min(0.9, world.missed * hard):
                moved = centre + rng.normal(0, world.off_px * hard, 2)
                _ellipse(mask, label, moved, axes * np.exp(rng.normal(0, 0.08 * hard, 2)), angle)
    for mask in predicted:
        for _ in range(rng.poisson(world.spurious * hard)):
            _ellipse(
                mask,
                int(rng.integers(1, CLASSES)),
                rng.uniform(8, SIDE - 8, 2),
                np.exp(rng.normal(1.6, 0.3, 2)),
                0,
            )
    return [(truth, mask) for mask in predicted]


def _ellipse(
    mask: NDArray[np.uint8], label: int, centre: NDArray[np.float64], axes: NDArray[np.float64], angle: float
) -> None:
    cv2.ellipse(mask, (tuple(centre.tolist()), tuple((2 * axes).tolist()), angle), label, -1)


def confidence_of(mask: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float64]:
    """Low near predicted outlines; networks differ from image to image in how sure they are."""
    edges = cv2.morphologyEx(mask, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
    away = cv2.distanceTransform((~edges).astype(np.uint8), cv2.DIST_L2, 3).astype(np.float64)
    return np.clip(1 - 0.5 * np.exp(-away / np.exp(rng.normal(0.7, 0.5))), 0, 1)


def pool_of(world: World, num_images: int) -> list[dict[str, Counts]]:
    """Counts of two networks on all images."""
    rng = np.random.default_rng([40, num_images])
    counted: list[list[dict[str, Counts]]] = [[], []]
    for _ in range(num_images):
        for side, (truth, mask) in zip(counted, draw_pair(world, rng, 2), strict=True):
            side.append(count_pair(truth, mask, CLASSES, RULES, confidence=confidence_of(mask, rng)))
    return [stack_counts(side) for side in counted]


def wanted() -> list[Measure]:
    """Measures of the whole set that are not computed from the confusion matrix."""
    return [one for one in measures_of(RULES) if "dataset" in one.levels and one.counts != "confusion"]


def shares(results: Sequence[Estimate | Difference], truth: float) -> tuple[float, float, float, float]:
    """Covered, too high, too low, of the intervals given; and the share without an interval."""
    given = [result for result in results if not result.reason]
    if not given:
        return float("nan"), float("nan"), float("nan"), 1.0
    above, below = (
        float(np.mean(hits)) for hits in zip(*((r.low > truth, r.high < truth) for r in given), strict=True)
    )
    return 1 - above - below, above, below, 1 - len(given) / len(results)


def rows(pool: list[dict[str, Counts]], sizes: Sequence[int], studies: int) -> Iterable[Sequence[object]]:
    """Coverage of scores and of differences, for each measure and number of images."""
    for measure in wanted():
        first, second = (side[measure.counts] for side in pool)
        function = measure.function_for(first)
        scores = [float(function(merge(side))) for side in (first, second)]
        for n in sizes:
            rng = np.random.default_rng([41, n])
            single, paired = [], []
            for _ in range(studies):
                chosen = rng.integers(len(first), size=n)
                single.append(estimate({0: first[chosen]}, function, limits=measure.bounds))
                limits = measure.difference_bounds
                paired.append(
                    compare({0: first[chosen]}, {0: second[chosen]}, function, rng, limits=limits, num_permutations=1)
                )
            yield measure.label, n, *shares(single, scores[0]), *shares(paired, scores[0] - scores[1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--quick", action="store_true", help="100 studies, a small pool")
    arguments = parser.parse_args()
    studies, images = (100, 400) if arguments.quick else (arguments.studies, 4000)
    sizes = (20, 50) if arguments.quick else (20, 50, 200, 500)
    heads = ("measure", "images", "covers", "too high", "too low", "no interval")
    of_differences = ("difference covers", "too high", "too low", "no interval")
    print(f"{studies} studies a case, {images} images in the pool, 95 % intervals")
    for world in WORLDS:
        began = time.process_time()
        print(f"\n### {world.name}\n\n| {' | '.join([*heads, *of_differences])} |\n|{'---|' * 10}", flush=True)
        for row in rows(pool_of(world, images), sizes, studies):
            print("| " + " | ".join(f"{x:.3f}" if isinstance(x, float) else str(x) for x in row) + " |", flush=True)
        print(f"{world.name}: {time.process_time() - began:.0f} s of one core", file=sys.stderr)


if __name__ == "__main__":
    main()
