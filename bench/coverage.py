"""Coverage of intervals and error rates of tests, in simulated studies with known true values.

    python bench/coverage.py [--studies 1000] [--only recipes,power] [--quick]

Every study draws new images, new networks and new counts; each case simulates ``--studies`` of them. Coverage is the
share of the intervals that contain the true value, which comes from a simulated population of many thousand images and
hundreds of networks. Tables are Markdown, as in docs/explanation/uncertainty.md. The standard error of a share of 1,000
studies is 0.7 points at 95 % and at 5 %.

Counts of an image are drawn in three steps. Each class is present or not and takes a random share of the pixels. The
logit of the share that a network finds is the level of the class, minus the difficulty of the image (exponential, so
that a few images fail outright), plus normal effects of class and image, of the network (its seed), and of network and
image. Missed pixels go to other classes at random, mostly to those that are present.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from segstudy import measures
from segstudy.arrays import Counts
from segstudy.stats.comparison import Difference, compare, compare_each, holm
from segstudy.stats.datasets import bayesian_signed_rank, friedman
from segstudy.stats.equivalence import EQUIVALENT, NOT_WORSE, equivalence, probability_better, ranks, simultaneous
from segstudy.stats.exchange import exchange_images
from segstudy.stats.folds import over_splits
from segstudy.stats.intervals import Estimate, estimate, estimate_each
from segstudy.stats.planning import Components, detectable, required, upper_limits
from segstudy.stats.resampling import bootstrap, influences
from segstudy.stats.sequential import look_levels
from segstudy.stats.unseen import Robust, failure_share, median, split_seeds, trimmed_mean, unseen_failures
from segstudy.stats.variance import Variance

Array = NDArray[np.float64]
Networks = dict[int, Counts]
Generator = np.random.Generator

PIXELS = 65_536
LEVEL = 0.95


@dataclass(frozen=True)
class World:
    """Distribution of images, and of networks trained on them. Effects are standard deviations on the logit scale."""

    name: str
    found: tuple[float, ...]  # logit of the share of a class's pixels that is found
    presence: tuple[float, ...]
    size: tuple[float, ...]
    difficulty: float = 0.5
    class_effect: float = 0.5
    seed: float = 0.0
    interaction: float = 0.5

    @property
    def num_classes(self) -> int:
        return len(self.found)


POLYPS = World("2 classes, as polyps", (4.0, 2.5), (1, 1), (5, 1))
NEAR_ONE = World("2 classes, scores near 1", (6.0, 5.0), (1, 1), (3, 1), difficulty=0.4)
STREETS = World(
    "10 classes, some rare",
    tuple(np.linspace(4, 1, 10)),
    (1, 1, 0.95, 0.9, 0.8, 0.7, 0.5, 0.4, 0.2, 0.1),
    (1, 0.8, 0.6, 0.4, 0.3, 0.2, 0.1, 0.08, 0.05, 0.05),
)
WORLDS = (POLYPS, NEAR_ONE, STREETS)


@dataclass(frozen=True)
class Images:
    """``share`` (n, c) of the pixels that each class has; ``ease`` (n, c): what to add to the logit of what is found."""

    share: Array
    ease: Array


def draw_images(world: World, rng: Generator, num_images: int, group_size: int = 1) -> Images:
    """Images of one group follow each other; their difficulty is half the group's, half their own."""
    shape = (num_images, world.num_classes)
    size = np.exp(rng.normal(0, 1, shape)) * world.size * (rng.random(shape) < world.presence)
    size[:, 0] += 1e-3  # something is always there
    difficulty = rng.exponential(1, num_images) - 1
    if group_size > 1:
        of_group = rng.exponential(1, num_images // group_size) - 1
        difficulty = (difficulty + np.repeat(of_group, group_size)) / np.sqrt(2)
    ease = rng.normal(0, world.class_effect, shape) - world.difficulty * difficulty[:, None]
    return Images(size / size.sum(axis=1, keepdims=True), ease)


def draw_counts(
    world: World, rng: Generator, images: Images, num_seeds: int = 1, better: float = 0.0, own: float = 0.0
) -> Networks:
    """Counts of networks of one recipe: ``better`` by so much, with its ``own`` answer to each image."""
    n, c = images.share.shape
    logit = np.array(world.found) + better + images.ease + own * rng.normal(0, 1, (n, 1))
    logit = logit + world.seed * (rng.normal(0, 1, (num_seeds, 1, 1)) + 0.5 * rng.normal(0, 1, (num_seeds, 1, c)))
    logit += world.interaction * (rng.normal(0, 1, (num_seeds, n, 1)) + 0.5 * rng.normal(0, 1, (num_seeds, n, c)))
    hit = special.expit(logit)
    taken_for = (images.share + 0.02 / c)[None, :, None, :] * rng.standard_exponential((num_seeds, n, c, c))
    diagonal = np.arange(c)
    taken_for[..., diagonal, diagonal] = 0
    taken_for *= ((1 - hit) / taken_for.sum(axis=-1))[..., None]
    taken_for[..., diagonal, diagonal] = hit
    counts = np.rint(taken_for * (PIXELS * images.share)[None, :, :, None]).astype(np.int64)
    return dict(enumerate(counts))


def scores(merged: Counts) -> Array:
    """mIoU, then the IoU of each class."""
    return np.concatenate([measures.mean_iou(merged)[..., None], measures.iou(merged)], axis=-1)


@cache
def population(
    world: World, better: float = 0.0, own: float = 0.0, num_networks: int = 400, group_size: int = 1
) -> Array:
    """True scores: mean over networks, each on endlessly many images (20 networks share 5,000 of them)."""
    values = []
    for block in range(num_networks // 20):
        rng = np.random.default_rng([7, block])  # the same numbers for every recipe: differences are exact sooner
        images = draw_images(world, rng, 5_000 if world.num_classes == 2 else 2_000, group_size)
        values += [scores(counts.sum(axis=0)) for counts in draw_counts(world, rng, images, 20, better, own).values()]
    return np.mean(values, axis=0)


def equal_shift(world: World, own: float, wanted: float = 0.0) -> float:
    """How much better a variant with its own answers must be for its mIoU to be the baseline's plus ``wanted``."""
    base = population(world, num_networks=100)[0]
    low, high = -0.5, 1.5
    for _ in range(10):
        middle = (low + high) / 2
        reached = population(world, middle, own, num_networks=100)[0] >= base + wanted
        low, high = (low, middle) if reached else (middle, high)
    return (low + high) / 2


def shift_between(one: World, two: World) -> float:
    """How much better networks of ``one`` must be for the mean mIoU of its recipe to equal that of ``two``."""
    wanted = population(two, num_networks=1000)[0]

    def short_of(shift: float) -> float:
        return float(population(one, shift, num_networks=1000)[0] - wanted)

    return float(optimize.brentq(short_of, -0.5, 0.5, xtol=1e-3))


def table(title: str, heads: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows as they are computed."""
    print(f"\n**{title}**\n\n| {' | '.join(heads)} |\n|{'|'.join('---' for _ in heads)}|", flush=True)
    for row in rows:
        print("| " + " | ".join(f"{x:.3f}" if isinstance(x, float) else str(x) for x in row) + " |", flush=True)


def covered(results: Sequence[Estimate | Difference], truth: float) -> float:
    """Share of the intervals that contain the true value; missing intervals do not count."""
    given = [result for result in results if not result.reason]
    return float(np.mean([result.low <= truth <= result.high for result in given])) if given else float("nan")


def refused(results: Sequence[Estimate | Difference]) -> float:
    return float(np.mean([bool(result.reason) for result in results]))


def rejected(p_values: Iterable[float]) -> float:
    """Share of p-values at 5 % or below; no p-value rejects nothing."""
    return float(np.mean([p <= 1 - LEVEL for p in p_values]))


def false_verdicts(found: Sequence[Difference]) -> tuple[float, float]:
    """Shares of comparisons that call the variant better, and worse, at 5 %; half of it is meant for each."""
    called = [d for d in found if d.p_value <= 1 - LEVEL]
    return sum(d.value > 0 for d in called) / len(found), sum(d.value < 0 for d in called) / len(found)


def plain_t(counts: Counts, item: int) -> tuple[float, float]:
    """The textbook interval: standard error, n - 1 degrees of freedom, no scale. Known to be too short here."""
    value, effects = influences(counts, scores)
    n = len(effects)
    half = special.stdtrit(n - 1, (1 + LEVEL) / 2) * np.sqrt((effects[:, item] ** 2).sum() / (n * (n - 1)))
    return value[item] - half, value[item] + half


def bootstrap_interval(counts: Counts, rng: np.random.Generator, num_resamples: int) -> NDArray[np.float64]:
    """Quantiles of resampled scores (2, m), expanded as Hesterberg (2015) does. Known to be too short here."""
    n = len(counts)
    tail = float(special.ndtr(np.sqrt(n / (n - 1)) * special.stdtrit(n - 1, (1 - LEVEL) / 2)))
    drawn = bootstrap(counts, scores, rng, num_resamples)
    drawn[:, np.isnan(drawn).all(axis=0)] = 0  # a score that is undefined in every resample has no interval anyway
    return np.nanquantile(drawn, (tail, 1 - tail), axis=0)


def single(studies: int, quick: bool) -> None:
    """Intervals over images, one network."""
    heads = (
        *("images", "world", "number", "covers", "too high", "too low", "no interval"),
        *("bootstrap covers", "plain t covers"),
    )

    def rows() -> Iterable[Sequence[object]]:
        for world in WORLDS:
            truth = population(world)
            items = {0: "mIoU", 1: "IoU of the first class", world.num_classes: "IoU of the last class"}
            for n in (20, 50) if quick else (20, 50, 200, 1000):
                rng = np.random.default_rng([1, n, world.num_classes])
                ours: list[tuple[Estimate, ...]] = []
                booted: list[NDArray[np.float64]] = []
                plain = []
                for _ in range(studies):
                    networks = draw_counts(world, rng, draw_images(world, rng, n))
                    ours.append(estimate_each(networks, scores))
                    booted.append(bootstrap_interval(networks[0], rng, 200 if n > 200 else 300))
                    plain.append([plain_t(networks[0], item) for item in items])
                for column, (item, name) in enumerate(items.items()):
                    mine = [study[item] for study in ours]
                    bounds = [(each[:, item], own.low) for each, own in zip(booted, mine, strict=True)]
                    held = [low <= truth[item] <= high for (low, high), own in bounds if not np.isnan(own)]
                    naive = [low <= truth[item] <= high for low, high in (study[column] for study in plain)]
                    yield (
                        n,
                        world.name,
                        name,
                        covered(mine, truth[item]),
                        *missed(mine, truth[item]),
                        refused(mine),
                        float(np.mean(held)) if held else float("nan"),
                        float(np.mean(naive)),
                    )

    table("One network, intervals over images", heads, rows())


def skewness(studies: int, quick: bool) -> None:
    """One network: misses on either side, of intervals as they are and with both bounds moved for skewness.

    To first order, the quantiles of Student's ratio move by skewness (2 z^2 + 1) / 6 (Johnson 1978; Hall 1992).
    """

    def rows() -> Iterable[Sequence[object]]:
        z = float(special.ndtri((1 + LEVEL) / 2))
        for world in WORLDS:
            truth = population(world)
            for n in (20, 50) if quick else (20, 50, 200):
                rng = np.random.default_rng([1, n, world.num_classes])
                found: dict[tuple[int, int], list[tuple[bool, bool]]] = {}
                for _ in range(studies):
                    counts = draw_counts(world, rng, draw_images(world, rng, n))[0]
                    for item, each in enumerate(estimate_each({0: counts}, scores)):
                        effects = influences(counts, scores)[1][:, item] if item in (0, world.num_classes) else None
                        if effects is None or each.reason:
                            continue
                        third = (effects**3).mean() / np.mean(effects**2) ** 1.5
                        step = third / np.sqrt(n) * (2 * z**2 + 1) / 6 * each.standard_error
                        slope = each.value * (1 - each.value)
                        for moved in (0, 1):
                            low, high = special.expit(special.logit([each.low, each.high]) + moved * step / slope)
                            miss = (bool(low > truth[item]), bool(high < truth[item]))
                            found.setdefault((item, moved), []).append(miss)
                for item, name in ((0, "mIoU"), (world.num_classes, "IoU of the last class")):
                    sides = [np.mean(found[item, moved], axis=0) for moved in (0, 1)]
                    yield world.name, name, n, *(x for a, b in sides for x in (float(1 - a - b), float(a), float(b)))

    heads = ("world", "number", "images", "covers", "too high", "too low", "moved: covers", "too high", "too low")
    table("One network: misses on either side, and with bounds moved for skewness", heads, rows())


def groups(studies: int, quick: bool) -> None:
    """Images in groups of five."""

    def rows() -> Iterable[Sequence[object]]:
        world = replace(POLYPS, interaction=0.3, class_effect=0.2)
        truth = population(world, group_size=5)[0]
        for number in (10, 20) if quick else (5, 10, 20, 50):
            rng = np.random.default_rng([2, number])
            labels = np.repeat(np.arange(number), 5)
            found: dict[bool, list[Estimate]] = {True: [], False: []}
            for _ in range(studies):
                networks = draw_counts(world, rng, draw_images(world, rng, 5 * number, 5))
                for grouped, results in found.items():
                    results += estimate_each(networks, scores, groups=labels if grouped else None)[:1]
            ours = found[True]
            yield number, covered(ours, truth), *missed(ours, truth), refused(ours), covered(found[False], truth)

    heads = ("groups of 5 images", "covers", "too high", "too low", "no interval", "covers if groups are not given")
    table("Images in groups (mIoU, 2 classes)", heads, rows())


BALANCES = (
    ("seeds change nothing", replace(POLYPS, seed=0.0, interaction=0.0)),
    ("seed and image together only", replace(POLYPS, difficulty=0.0, class_effect=0.0, interaction=1.0)),
    ("little noise of seeds", replace(POLYPS, seed=0.05)),
    ("seeds as much as images", replace(POLYPS, seed=0.2)),
    ("mostly seeds", replace(POLYPS, seed=0.3, difficulty=0.1, class_effect=0.1, interaction=0.1)),
    ("mostly seeds, now and then one fails", replace(POLYPS, seed=0.8, difficulty=0.2, class_effect=0.2)),
)


def parts(studies: int, quick: bool) -> None:
    """Normally distributed noise of seeds and images: least and most coverage over all balances of the two, by rule."""

    def rows() -> Iterable[Sequence[object]]:
        draws, tail = (2_000 if quick else 100 * studies), (1 - LEVEL) / 2
        for s in (2, 3, 5, 10):
            for of_images in (8, 30):
                rng, found = np.random.default_rng([10, s, of_images]), []
                degrees = np.broadcast_to([[s - 1.0], [float(of_images)]], (2, draws))
                for share in (0, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 1):
                    estimated = np.array([[share], [1 - share]]) * rng.chisquare(degrees) / degrees
                    total = estimated.sum(axis=0)
                    together = total**2 / (estimated**2 / degrees).sum(axis=0)
                    squares = (
                        Variance(estimated, degrees, degrees).half_width(LEVEL) ** 2,
                        total * special.stdtrit(together, tail) ** 2,
                        (estimated * special.stdtrit(degrees, tail) ** 2).sum(axis=0),
                    )
                    found.append([(2 * special.ndtr(np.sqrt(square)) - 1).mean() for square in squares])
                yield s, of_images, *(f"{min(x):.3f} to {max(x):.3f}" for x in zip(*found, strict=True))

    heads = ("seeds", "degrees of freedom of images", "covers", "Satterthwaite covers", "Banerjee covers")
    table("Two parts of normally distributed noise, in all balances", heads, rows())


def seeds(studies: int, quick: bool) -> None:
    """Intervals over images and seeds."""

    def rows() -> Iterable[Sequence[object]]:
        for name, world in BALANCES:
            truth = population(world, num_networks=2_000)
            for s in (2, 5) if quick else (2, 3, 5, 10):
                rng = np.random.default_rng([3, s])
                both, first = [], []
                for _ in range(studies):
                    networks = draw_counts(world, rng, draw_images(world, rng, 50), s)
                    both += estimate_each(networks, scores)[:1]
                    first += estimate_each({0: networks[0]}, scores)[:1]
                width = float(np.nanmedian([e.high - e.low for e in both]))
                sides = missed(both, truth[0])
                yield name, s, covered(both, truth[0]), *sides, refused(both), width, covered(first, truth[0])

    heads = (
        "noise",
        "seeds",
        "covers",
        "too high",
        "too low",
        "no interval",
        "median width",
        "one seed's interval, read as the recipe's",
    )
    table("Several networks, intervals over images and seeds, 50 images (mIoU, 2 classes)", heads, rows())


def paired(studies: int, quick: bool) -> None:
    """Two networks on the same images: coverage, and false positives where they are equal."""

    def rows() -> Iterable[Sequence[object]]:
        for world in WORLDS:
            for name, own in (("alike", 0.0), ("equal, err elsewhere", 1.0)):
                better = equal_shift(world, own) if own else 0.0
                truth = population(world, better, own) - population(world) if own else np.zeros(world.num_classes + 1)
                for n in (20, 50) if quick else (20, 50, 200):
                    rng = np.random.default_rng([4, n, world.num_classes])
                    found = []
                    for _ in range(studies):
                        images = draw_images(world, rng, n)
                        sides = draw_counts(world, rng, images, 1, better, own), draw_counts(world, rng, images)
                        found.append(compare_each(*sides, scores, rng, num_permutations=200))
                    for item, number in ((0, "mIoU"), (world.num_classes, "IoU of the last class")):
                        if item == 0 or own == 0:  # the variant of equal mIoU is not equal class by class
                            of_item = [study[item] for study in found]
                            false = *false_verdicts(of_item), rejected(d.p_exchange for d in of_item)
                            sides = missed(of_item, truth[item])
                            covers, none = covered(of_item, truth[item]), refused(of_item)
                            yield world.name, number, name, n, covers, *sides, none, *false

    heads = (
        *("world", "number", "networks", "images", "covers", "too high", "too low", "no interval"),
        *("false better", "false worse", "permutation test alone: false positives"),
    )
    table("Two networks on the same images", heads, rows())


def missed(results: Sequence[Estimate | Difference], truth: float) -> tuple[float, float]:
    """Shares of the intervals given that lie above the true value, and below it; half of the error is meant for each."""
    given = [result for result in results if not result.reason]
    if not given:
        return float("nan"), float("nan")
    return float(np.mean([r.low > truth for r in given])), float(np.mean([r.high < truth for r in given]))


UNEQUAL = (
    ("seeds of the variant four times as noisy", replace(POLYPS, seed=0.4), replace(POLYPS, seed=0.1)),
    ("seeds of the base four times as noisy", replace(POLYPS, seed=0.1), replace(POLYPS, seed=0.4)),
)


def renamed(networks: Networks) -> Networks:
    return {1000 + seed: counts for seed, counts in networks.items()}


def recipes(studies: int, quick: bool) -> None:
    """Two recipes with seeds and equal scores, so that every finding is false."""
    balances = [(name, world, world) for name, world in BALANCES[1:]]

    def rows() -> Iterable[Sequence[object]]:
        for name, one, two in [*balances, *UNEQUAL]:
            shift = 0.0 if one is two else shift_between(one, two)
            for ours, theirs in [(3, 3), (3, 5)] if quick else [(2, 2), (3, 3), (5, 5), (2, 3), (3, 5), (2, 5), (5, 2)]:
                rng = np.random.default_rng([5, ours, theirs])
                found = []
                for _ in range(studies):
                    images = draw_images(one, rng, 50)
                    variant, base = draw_counts(one, rng, images, ours, shift), draw_counts(two, rng, images, theirs)
                    found.append(compare(variant, base, measures.mean_iou, rng, num_permutations=100))
                yield name, f"{ours} and {theirs}", covered(found, 0), *missed(found, 0), *false_verdicts(found)

    heads = ("noise", "seeds", "covers", "too high", "too low", "false better", "false worse")
    table("Two recipes of equal score, 50 images (mIoU, 2 classes)", heads, rows())


def correlated(
    world: World, rng: Generator, images: Images, num_seeds: int, correlation: float, better: float = 0.0
) -> tuple[Networks, Networks]:
    """Two recipes whose networks with the same seed share a part of the seed's effect."""
    shared = rng.normal(0, 1, num_seeds)
    sides = []
    for gain in (better, 0.0):
        effects = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(0, 1, num_seeds)
        quiet = replace(world, seed=0.0)
        drawn = [draw_counts(quiet, rng, images, 1, gain + world.seed * float(effect))[0] for effect in effects]
        sides.append(dict(enumerate(drawn)))
    return sides[0], sides[1]


def pairing(studies: int, quick: bool) -> None:
    """Equal seeds that share nothing or most of their effect: error and power with independent or paired networks."""

    def rows() -> Iterable[Sequence[object]]:
        world = replace(POLYPS, seed=0.3, difficulty=0.2, class_effect=0.2, interaction=0.2)
        for correlation in (0.0, 0.8):
            for s in (3,) if quick else (2, 3, 5):
                rng = np.random.default_rng([21, s])
                found: dict[str, list[list[Difference]]] = {"independent": [[], []], "in pairs": [[], []]}
                for _ in range(studies):
                    for column, better in enumerate((0.0, 0.6)):
                        images = draw_images(world, rng, 50)
                        sides = correlated(world, rng, images, s, correlation, better)
                        for name, studies_of in found.items():
                            paired = name == "in pairs"
                            d = compare(*sides, measures.mean_iou, rng, num_permutations=10, pair_seeds=paired)
                            studies_of[column].append(d)
                for name, (none, some) in found.items():
                    yield correlation, s, name, *false_verdicts(none), *false_verdicts(some)

    heads = (
        *("shared part of the seeds' noise", "seeds", "networks taken", "false better", "false worse"),
        *("better by 0.6: found", "called worse"),
    )
    table("Networks of equal seed number, 50 images (mIoU, 2 classes)", heads, rows())


def one_network(studies: int, quick: bool) -> None:
    """One network against several of another recipe: the interval is about that network."""

    def rows() -> Iterable[Sequence[object]]:
        for noisy, quiet in ((0.1, 0.1), (0.3, 0.1), (0.1, 0.3)):
            own, other = replace(POLYPS, seed=noisy), replace(POLYPS, seed=quiet)
            recipe = population(other, num_networks=600)[0]
            of_recipes = float(population(own, num_networks=600)[0] - recipe)
            for s in (3,) if quick else (2, 3, 5):
                rng = np.random.default_rng([22, s])
                errors: list[Difference] = []
                read_as: list[Difference] = []
                verdicts = 0
                for _ in range(studies):
                    images, many = draw_images(own, rng, 50), draw_images(own, rng, 2_000)
                    effect = own.seed * (rng.normal(0, 1, (1, 1, 1)) + 0.5 * rng.normal(0, 1, (1, 1, own.num_classes)))
                    this = replace(own, seed=0.0, found=tuple((np.array(own.found) + effect[0, 0]).tolist()))
                    truth = float(measures.mean_iou(draw_counts(this, rng, many)[0].sum(axis=0)) - recipe)
                    sides = draw_counts(this, rng, images), renamed(draw_counts(other, rng, images, s))
                    d = compare(*sides, measures.mean_iou, rng, num_permutations=10)
                    errors.append(replace(d, low=d.low - truth, high=d.high - truth))  # each study has its own truth
                    read_as.append(d)
                    verdicts += not np.isnan(d.p_value)
                misread = covered(read_as, of_recipes)
                yield noisy, quiet, s, covered(errors, 0), *missed(errors, 0), refused(errors), verdicts, misread

    heads = (
        *(
            "noise of its recipe",
            "noise of the other",
            "seeds of the other",
            "covers",
            "too high",
            "too low",
            "no interval",
        ),
        *("verdicts about the recipe", "covers, read as the recipe's"),
    )
    table("One network against several, 50 images (mIoU, 2 classes)", heads, rows())


def ones(values: Array) -> Counts:
    """Counts (n, 2) of a mean over images."""
    return np.stack([values, np.ones(len(values))], axis=-1)


def mean_of(merged: Array) -> Array:
    return merged[..., 0] / merged[..., 1]


def distances(studies: int, quick: bool) -> None:
    """Means of values without an upper limit: distances with increasingly heavy tails, and images that fail outright."""

    def failing(share: float) -> Callable[[Generator, int], Array]:
        return lambda rng, n: np.exp(rng.normal(1, 0.5, n)) * np.where(rng.random(n) < share, 20, 1)

    def lognormal(sigma: float) -> Callable[[Generator, int], Array]:
        return lambda rng, n: np.exp(rng.normal(1, sigma, n))

    worlds = [(f"lognormal, sigma {s}", lognormal(s), np.exp(1 + s**2 / 2)) for s in (0.4, 0.8, 1.2, 1.6)]
    worlds += [
        (f"{s:.0%} of images fail, 20 times as far", failing(s), np.exp(1.125) * (1 + 19 * s)) for s in (0.02, 0.05)
    ]

    def rows() -> Iterable[Sequence[object]]:
        for name, draw, truth in worlds:
            for n in (50, 200) if quick else (50, 100, 200, 500):
                rng = np.random.default_rng([23, n])
                values = [draw(rng, n) for _ in range(studies)]
                found = [estimate({0: ones(v)}, mean_of, limits=(0, np.inf)) for v in values]
                middle = [median(v) for v in values]
                true_median = np.median(draw(np.random.default_rng(1), 400_000))
                yield (
                    name,
                    n,
                    covered(found, truth),
                    *missed(found, truth),
                    refused(found),
                    *sides_of(middle, float(true_median)),
                )

    heads = (
        *("world", "images", "covers", "too high", "too low", "no interval"),
        *("the median's covers", "too high", "too low"),
    )
    table("Distances, one network", heads, rows())


def sides_of(results: Sequence[Robust], truth: float) -> tuple[float, float, float]:
    """Covered, too high, too low."""
    high, low = (
        float(np.mean(wrong)) for wrong in zip(*((r.low > truth, r.high < truth) for r in results), strict=True)
    )
    return 1 - high - low, high, low


def failures(studies: int, quick: bool) -> None:
    """Mean scores where few images fail outright, without and with the bound on unseen failures."""

    def rows() -> Iterable[Sequence[object]]:
        for share in (0.01, 0.02, 0.05):
            truth = (1 - share) * 0.9 + share * 0.05
            for n in (50, 200) if quick else (20, 50, 200, 1000):
                rng = np.random.default_rng([24, n])
                found, bound, trimmed, unseen = [], [], [], []
                for _ in range(studies):
                    failed = rng.random(n) < share
                    values = np.where(failed, 0.05, rng.beta(36, 4, n))
                    found.append(estimate({0: ones(values)}, mean_of))
                    bound.append(failure_share(values, 0.2))
                    unseen.append(unseen_failures(n, int(failed.sum())) >= share)
                    trimmed.append(trimmed_mean(values))
                middle = trimmed_mean(
                    np.where(np.arange(400_000) < share * 4e5, 0.05, np.random.default_rng(1).beta(36, 4, 400_000))
                )
                yield (
                    share,
                    n,
                    covered(found, truth),
                    *missed(found, truth),
                    *sides_of(bound, share),
                    float(np.mean(unseen)),
                    *sides_of(trimmed, middle.value),
                )

    heads = (
        *("images that fail", "images", "covers", "too high", "too low", "P(failure) covers", "too high", "too low"),
        *("upper bound holds", "trimmed mean covers", "too high", "too low"),
    )
    table("Scores where few images fail outright, one network", heads, rows())


def bimodal(studies: int, quick: bool) -> None:
    """Seeds of which some fail: coverage of their mean, and how often they are flagged."""

    del quick

    def rows() -> Iterable[Sequence[object]]:
        for share in (0.0, 0.1, 0.2):
            for s in (5, 10):
                rng = np.random.default_rng([25, s])
                values = rng.normal(0.8, 0.01, (studies, s)) - 0.3 * (rng.random((studies, s)) < share)
                half = special.stdtrit(s - 1, 0.975) * values.std(axis=1, ddof=1) / np.sqrt(s)
                error = values.mean(axis=1) - (0.8 - 0.3 * share)
                flags = np.array([split_seeds(each.tolist()).split for each in values])
                hits, high, low = np.abs(error) <= half, error > half, error < -half
                yield share, s, *(float(x.mean()) for x in (hits, high, low, flags, hits[~flags]))

    heads = ("seeds that fail", "seeds", "covers", "too high", "too low", "flagged", "covers where not flagged")
    table("Seeds that fail: a mean over seeds, and the flag", heads, rows())


def equivalences(studies: int, quick: bool) -> None:
    """Two one-sided tests: at the margin, where a claim is false, and without a difference, where it is true."""

    def rows() -> Iterable[Sequence[object]]:
        world, n = replace(POLYPS, seed=0.1, interaction=0.3), 100
        base = population(world)[0]
        shift = equal_shift(world, 0.0, 0.03)
        margin = float(population(world, shift)[0] - base)
        for sides in [(3, 3)] if quick else [(1, 1), (2, 2), (3, 3), (5, 5), (2, 5)]:
            own = replace(world, seed=0.0) if sides[0] == 1 == sides[1] else world
            if sides == (1, 1):
                margin_here = float(population(own, shift)[0] - population(own)[0])
            else:
                margin_here = margin
            lower = equal_shift(own, 0.0, -margin_here)
            rng = np.random.default_rng([26, *sides])
            at_margin, at_zero, below, together, sure = [], [], [], [], []
            for _ in range(studies):
                images = draw_images(own, rng, n)
                base_networks = draw_counts(own, rng, images, sides[1])
                found = [
                    compare(
                        draw_counts(own, rng, images, sides[0], b),
                        base_networks,
                        measures.mean_iou,
                        rng,
                        num_permutations=10,
                    )
                    for b in (shift, lower, 0.0, 0.0, 0.0)
                ]
                at_margin.append(equivalence(found[0], margin_here).verdict == EQUIVALENT)
                below.append(equivalence(found[1], margin_here).verdict in (EQUIVALENT, NOT_WORSE))
                at_zero.append(equivalence(found[2], margin_here).verdict == EQUIVALENT)
                intervals = simultaneous(found[2:])
                together.append([any(low > 0 for low, _ in intervals), any(high < 0 for _, high in intervals)])
                sure.append([(p := probability_better(found[2])) >= 0.975, p <= 0.025])
            shares = (float(np.mean(x)) for x in (at_margin, below, at_zero))
            either = (float(x) for part in (together, sure) for x in np.mean(part, axis=0))
            yield f"{sides[0]} and {sides[1]}", *shares, *either

    heads = (
        *("seeds", "equivalent, better by the margin (false)", "not worse, worse by the margin (false)"),
        *("equivalent, no difference (true)", "any of three simultaneous intervals too high", "too low"),
        *("P(A > B) at 0.975 or more, no difference (false)", "at 0.025 or less"),
    )
    table("Equivalence, margin of 0.03, 100 images (mIoU, 2 classes)", heads, rows())


def folds(studies: int, quick: bool) -> None:
    """Variant against base over folds of a small regression, both equally good: error of the tests over splits."""

    def rows() -> Iterable[Sequence[object]]:
        for kind, splits in (("5 folds", 1), ("5 folds, 10 times", 10), ("10 splits of 20 %", 0)):
            for n in (60,) if quick else (60, 200):
                rng = np.random.default_rng([27, n])
                plain, ours = [], []
                for _ in range(studies):
                    x, noise = rng.normal(size=(n, 20)), rng.normal(size=n)
                    y = x.sum(axis=1) / 4 + noise
                    values = []
                    for repeat in range(max(splits, 10 if splits == 0 else 1)):
                        order = rng.permutation(n)
                        parts = np.array_split(order, 5)[: 1 if splits == 0 else 5]
                        for test in parts:
                            train = np.setdiff1d(order, test)
                            loss = []
                            for columns in (slice(0, 10), slice(10, 20)):  # two halves that tell as much
                                fit = np.linalg.lstsq(x[train, columns], y[train], rcond=None)[0]
                                loss.append(float(((y[test] - x[test, columns] @ fit) ** 2).mean()))
                            values.append(loss[0] - loss[1])
                        del repeat
                    plain.append(over_splits(values, 1e9, 1).p_value)
                    ours.append(over_splits(values, 4, 1))
                sides = [
                    np.mean([each.p_value <= 1 - LEVEL and sign * each.value > 0 for each in ours]) for sign in (1, -1)
                ]
                yield kind, n, rejected(plain), *map(float, sides)

    heads = ("splits", "images", "plain t: false positives", "corrected: false better", "corrected: false worse")
    table("Folds and repeated splits, two equally good recipes", heads, rows())


def training_sets(studies: int, quick: bool) -> None:
    """Folds whose networks differ by their training: false positives of four rules, on normally distributed noise.

    ``noise of training`` is the variance between networks over that of a fold's images, ``alike`` the correlation of
    that noise between folds, which share training images.
    """

    def rows() -> Iterable[Sequence[object]]:
        draws, n = (2_000 if quick else 20 * studies), 200
        for k in (5, 10):
            for share, alike in ((0.0, 0.0), (1.0, 0.0), (1.0, 0.2), (1.0, 0.5), (4.0, 0.0), (4.0, 0.2), (4.0, 0.5)):
                rng, of_fold = np.random.default_rng([29, k]), n // k
                own = rng.normal(size=(draws, k)) * np.sqrt((1 - alike) * share / of_fold)
                common = rng.normal(size=(draws, 1)) * np.sqrt(alike * share / of_fold)
                scores_of_folds = rng.normal(size=(draws, k)) / np.sqrt(of_fold) + own + common
                within = rng.chisquare(n - k, draws) / (n - k)
                value, between = scores_of_folds.mean(axis=1), scores_of_folds.var(axis=1, ddof=1)
                corrected = between * (1 / k + 1 / (k - 1))
                excess = np.maximum(between - within / of_fold, 0) * (1 / k + 1 / (k - 1))
                degrees = np.broadcast_to([[n - k], [k - 1.0]], (2, draws)).astype(float)
                apart = Variance(np.stack([within / n, excess]), degrees, degrees, agree=True).half_width(LEVEL)
                widths = (
                    special.stdtrit(n - k, 0.975) * np.sqrt(within / n),
                    special.stdtrit(k - 1, 0.975) * np.sqrt(between / k),
                    apart,
                    special.stdtrit(k - 1, 0.975) * np.sqrt(corrected),
                )
                yield k, share, alike, *(float((np.abs(value) > width).mean()) for width in widths)

    heads = (
        *("folds", "noise of training", "alike", "images alone", "between folds", "images and excess of folds"),
        "corrected (used)",
    )
    table("Folds whose networks differ by their training: false positives", heads, rows())


def sequential(studies: int, quick: bool) -> None:
    """Seeds added one by one, compared with ten fixed seeds: error, power and runs. Simulates scores of seeds only."""

    del quick

    def rows() -> Iterable[Sequence[object]]:
        at_most = 10
        levels = np.array(list(look_levels(2, at_most).values()))
        for share, name in ((0.0, "seeds only"), (0.5, "half of it images")):
            for effect in (0.0, 1.0, 1.5, 2.0, 3.0):
                rng = np.random.default_rng([28, int(10 * effect)])
                common = rng.normal(size=(studies, 1)) * np.sqrt(share * 2 / at_most)  # images move every look alike
                a = effect + common + rng.normal(size=(studies, at_most))
                b = rng.normal(size=(studies, at_most))
                p_values, values = [], []
                for s in range(2, at_most + 1):
                    of_seeds = [side[:, :s].var(axis=1, ddof=1) / s for side in (a, b)]
                    parts = np.stack([np.full(studies, share * 2 / at_most), *of_seeds])
                    degrees = np.broadcast_to([[60.0], [s - 1.0], [s - 1.0]], parts.shape)
                    value = a[:, :s].mean(axis=1) - b[:, :s].mean(axis=1)
                    p_values.append(Variance(parts, degrees, degrees, agree=True).p_value(value))
                    values.append(value)
                p_at = np.stack(p_values, axis=1)
                hit = p_at <= levels
                at_stop = np.take_along_axis(np.stack(values, axis=1), hit.argmax(axis=1)[:, None], axis=1)[:, 0]
                verdicts = [float((hit.any(axis=1) & (sign * at_stop > 0)).mean()) for sign in (1, -1)]
                stopped = np.where(hit.any(axis=1), hit.argmax(axis=1) + 2, at_most)
                seeds = stopped.mean()
                fixed, peeking = float((p_at[:, -1] <= 0.05).mean()), float((p_at.min(axis=1) <= 0.05).mean())
                yield name, effect, *verdicts, fixed, peeking, float(seeds), 1 - float(seeds) / at_most

    heads = (
        "noise",
        "difference (seeds' standard deviations)",
        "better",
        "worse",
        "10 fixed seeds decide",
        "looking at 0.05 each time",
        "mean number of seeds",
        "runs saved",
    )
    table("Seeds added one by one, from 2 to 10", heads, rows())


def family(studies: int, quick: bool) -> None:
    """Five variants that are the baseline: how often any of them is called better or worse."""

    def rows() -> Iterable[Sequence[object]]:
        for name, world, s in (
            ("one network each", replace(POLYPS, seed=0.0), 1),
            ("three seeds", replace(POLYPS, seed=0.2), 3),
        ):
            rng = np.random.default_rng([6, s])
            any_raw, any_holm = [], []
            for _ in range(studies):
                images = draw_images(world, rng, 50)
                base = draw_counts(world, rng, images, s)
                variants = [draw_counts(world, rng, images, s) for _ in range(5)]
                found = [compare(v, base, measures.mean_iou, rng, num_permutations=200) for v in variants]
                p_values = [d.p_value for d in found]
                any_raw.append(np.nanmin(p_values))
                any_holm.append(np.nanmin(holm(p_values)))
            yield name, rejected(any_raw), rejected(any_holm)

    table(
        "Five variants that change nothing, 50 images: any false finding", ("networks", "uncorrected", "Holm"), rows()
    )


def places(studies: int, quick: bool) -> None:
    """Ranks of four recipes from the tests of all pairs: false orders, and true orders that are found."""
    del quick

    def rows() -> Iterable[Sequence[object]]:
        world = replace(POLYPS, seed=0.1, interaction=0.3)
        for name, gains in (("all equal", (0.0,) * 4), ("two equal, two better", (0.0, 0.0, 0.6, 1.2))):
            for s in (1, 3):
                rng, own = np.random.default_rng([30, s]), world if s > 1 else replace(world, seed=0.0)
                wrong, found, possible = [], 0, 0
                for _ in range(studies):
                    images = draw_images(own, rng, 50)
                    sides = [draw_counts(own, rng, images, s, gain) for gain in gains]
                    p_values = np.ones((4, 4))
                    for one, other in zip(*np.triu_indices(4, 1), strict=True):
                        pair = compare(sides[one], sides[other], measures.mean_iou, rng, num_permutations=1_000)
                        p_values[one, other] = pair.p_value
                    means = [np.mean([measures.mean_iou(c.sum(axis=0)) for c in side.values()]) for side in sides]
                    placed = ranks([float(mean) for mean in means], p_values)
                    better = [[a > b for b in gains] for a in gains]
                    ahead = [[placed[a].worst < placed[b].best for b in range(4)] for a in range(4)]
                    wrong.append(bool((np.array(ahead) & ~np.array(better)).any()))
                    found, possible = found + int(np.logical_and(ahead, better).sum()), possible + int(np.sum(better))
                yield name, s, float(np.mean(wrong)), found / possible if possible else "-"

    table(
        "Ranks of four recipes, 50 images (mIoU, 2 classes)", ("recipes", "seeds", "any false order", "found"), rows()
    )


def datasets(studies: int, quick: bool) -> None:
    """Recipes over datasets: false positives of Friedman's test and Nemenyi's pairs, and false claims of signed ranks."""
    del quick

    def rows() -> Iterable[Sequence[object]]:
        margin = 0.01
        for number in (4, 6, 12, 20):
            rng, shares = np.random.default_rng([31, number]), []
            for _ in range(studies):
                noise = rng.normal(0, 0.02, (number, 5)) + rng.normal(0, 0.1, (number, 1))
                tests = [friedman(noise[:, :k]) for k in (3, 5)]
                differences = noise[:, 0] - noise[:, 1]
                at_zero = bayesian_signed_rank(differences, 1e-9, rng, num_draws=1000)
                at_margin = bayesian_signed_rank(differences + margin, margin, rng, num_draws=1000)
                shares.append(
                    [
                        *(test.p_value <= 0.05 for test in tests),
                        *(len(test.groups) > 1 for test in tests),
                        *(x >= 0.95 for x in (at_zero.better, at_zero.worse, at_margin.equal)),
                    ]
                )
            yield number, *map(float, np.mean(shares, axis=0))

    heads = (
        *("datasets", "Friedman, 3 recipes", "5 recipes", "any pair (Nemenyi), 3 recipes", "5 recipes"),
        *("P(better) at 0.95, equal recipes", "P(worse) at 0.95", "P(equal) at 0.95, better by the margin"),
    )
    table("Equal recipes over several datasets: false claims, normally distributed noise", heads, rows())


def mean_components(parts: Sequence[Components]) -> Components:
    """The true variance parts, as the mean of many studies' estimates."""
    names = ("seed", "image", "residual", "seed_variance")
    return replace(
        parts[0],
        **{name: float(np.mean([getattr(part, name) for part in parts])) for name in names},
        effective_images=float(np.median([part.effective_images for part in parts])),
    )


def planning(studies: int, quick: bool) -> None:
    """How often planning asks for at least as many seeds or images as needed, as estimated and to be safe."""

    def rows() -> Iterable[Sequence[object]]:
        for name, seed in (("little noise of seeds", 0.03), ("as much as images", 0.1), ("mostly seeds", 0.3)):
            world, own, n = replace(POLYPS, seed=seed, interaction=0.3), 0.4, 100
            for s in (3,) if quick else (2, 3, 5):
                rng = np.random.default_rng([11, s])
                parts: list[Components] = []
                for _ in range(studies):
                    images = draw_images(world, rng, n)
                    sides = draw_counts(world, rng, images, s, 0.0, own), draw_counts(world, rng, images, s)
                    found = compare(*sides, measures.mean_iou, rng, num_permutations=1).components
                    parts += [found] if found else []
                true = mean_components(parts)
                wanted = 0.6 * detectable(true, s, n)  # so that more seeds, or images, are needed than there are
                needed = required(0.8, wanted, true, seeds=())
                shares = []
                for noises in (parts, list(map(upper_limits, parts))):
                    # It asks for no fewer than needed if one less is not enough for it; needed None: endlessly many.
                    for least, at in (
                        (needed.seeds, lambda noise, number: detectable(noise, number, n)),  # noqa: B023
                        (needed.images, lambda noise, number: detectable(noise, s, number)),  # noqa: B023
                    ):
                        enough = 10**9 if least is None else least - 1
                        shares.append(float(np.mean([at(noise, enough) > wanted for noise in noises])))
                yield (
                    name,
                    s,
                    needed.seeds or "endless",
                    shares[0],
                    shares[2],
                    needed.images or "endless",
                    shares[1],
                    shares[3],
                )

    heads = ("noise", "seeds", "seeds needed", "asked for", "to be safe", "images needed", "asked for", "to be safe")
    table("Planning: how often a study asks for enough, 100 images (mIoU, 2 classes)", heads, rows())


def power(studies: int, quick: bool) -> None:
    """A variant that is better by the detectable difference should be found in 80 % of the studies."""

    def rows() -> Iterable[Sequence[object]]:
        world, own = replace(POLYPS, seed=0.1, interaction=0.3), 0.4
        for s, n in ((3, 50), (5, 200)) if quick else ((3, 50), (3, 200), (5, 50), (5, 200), (10, 200)):
            rng = np.random.default_rng([8, s, n])

            def study(better: float, worse: float, s: int = s, n: int = n, rng: Generator = rng) -> Difference:
                images = draw_images(world, rng, n)
                sides = draw_counts(world, rng, images, s, better, own), draw_counts(world, rng, images, s, worse)
                return compare(*sides, measures.mean_iou, rng)

            parts = [found.components for found in (study(0.0, 0.0) for _ in range(300)) if found.components]
            mean = mean_components(parts)
            wanted = detectable(mean, s, n)
            # Half of it each: a better network is also a less noisy one.
            better, worse = equal_shift(world, own, wanted / 2), equal_shift(world, 0.0, -wanted / 2)
            found = [study(better, worse) for _ in range(studies)]
            told = float(np.nanmedian([d.detectable for d in found]))
            yield s, n, f"{wanted:.4f}", rejected(d.p_value for d in found), f"{told:.4f}"

    heads = (
        "seeds",
        "images",
        "detectable difference",
        "found (80 % wanted)",
        "median of what the studies themselves say",
    )
    table("Planning: the true difference is the detectable one (mIoU, 2 classes)", heads, rows())


def speed(studies: int, quick: bool) -> None:
    """Seconds on one core."""
    del studies, quick

    def timed(work: Callable[[], object]) -> float:
        started = time.perf_counter()
        work()
        return time.perf_counter() - started

    def rows() -> Iterable[Sequence[object]]:
        rng = np.random.default_rng(9)
        for n, c in ((200, 2), (500, 19), (1000, 20)):
            world = World("", tuple(np.linspace(4, 1, c)), (0.5,) * c, (1.0,) * c)
            images = draw_images(world, rng, n)
            one, other = draw_counts(world, rng, images)[0], draw_counts(world, rng, images)[0]
            yield (
                f"{n} images, {c} classes",
                timed(lambda: bootstrap(one, scores, rng, 10_000)),  # noqa: B023
                timed(lambda: exchange_images(one, other, scores, rng, 10_000)),  # noqa: B023
                timed(lambda: estimate_each({0: one}, scores)),  # noqa: B023
            )

    heads = ("counts", "bootstrap, 10,000 resamples", "permutation test, 10,000", "interval (jackknife)")
    table("Seconds on one core, mIoU and every class's IoU at once", heads, rows())


SECTIONS = {
    work.__name__: work
    for work in (
        single,
        skewness,
        groups,
        parts,
        seeds,
        paired,
        recipes,
        pairing,
        one_network,
        distances,
        failures,
        bimodal,
        equivalences,
        folds,
        training_sets,
        sequential,
        family,
        places,
        datasets,
        power,
        planning,
        speed,
    )
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--quick", action="store_true", help="fewer cases of 200 studies")
    arguments = parser.parse_args()
    studies = min(arguments.studies, 200) if arguments.quick else arguments.studies
    print(f"{studies} studies a case, 95 % intervals")
    for name in arguments.only.split(","):
        started = time.process_time()
        SECTIONS[name](studies, arguments.quick)
        print(f"{name}: {time.process_time() - started:.0f} s of one core", file=sys.stderr)


if __name__ == "__main__":
    main()
