"""``segstudy.stats`` against hand, SciPy and slow obvious code; then its promises, over random and simulated studies.

Array letters: ``b`` resample, ``s`` seed, ``n`` image, ``c`` class.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy import stats as scipy_stats
from scipy.special import expit, logit

from segstudy.errors import DataError, SegstudyError
from segstudy.measures import iou, mean_iou
from segstudy.stats import resampling
from segstudy.stats.comparison import ONE_AGAINST_SEVERAL, THIS_NETWORK, Difference, compare, holm, verdict
from segstudy.stats.datasets import bayesian_signed_rank, friedman
from segstudy.stats.equivalence import (
    EQUIVALENT,
    Rank,
    equivalence,
    probability_better,
    rank_shares,
    ranks,
    simultaneous,
)
from segstudy.stats.exchange import exchange_networks
from segstudy.stats.folds import over_splits
from segstudy.stats.intervals import TOO_FEW, TOO_WIDE, estimate, estimate_each
from segstudy.stats.planning import (
    ONE_SEED,
    Components,
    assume_seed_sd,
    detectable,
    next_seeds,
    noise_floor,
    power_curves,
    power_of,
    required,
    upper_limits,
)
from segstudy.stats.resampling import bootstrap, influences, leave_one_out, merge_groups
from segstudy.stats.sequential import CONTINUE, DECIDED, STOP, look_levels, sequential_decision
from segstudy.stats.unseen import failure_share, median, split_seeds, trimmed_mean, unseen_failures

NO_LIMITS = (-math.inf, math.inf)
Function = Callable[[np.ndarray], np.ndarray]


def mean(merged: np.ndarray) -> np.ndarray:
    """Mean of the images that have a value, from counts (value, 1)."""
    return merged[..., 0] / merged[..., 1]


def one_each(values: object) -> np.ndarray:
    """Counts (value, 1) of each image, (n, 2)."""
    array = np.asarray(values, np.float64)
    return np.stack([array, np.ones(len(array))], axis=-1)


def slow_mean(rows: list[np.ndarray]) -> float:
    return sum(float(row[0]) for row in rows) / sum(float(row[1]) for row in rows)


def slow_miou(rows: list[np.ndarray]) -> float:
    num_classes, found = len(rows[0]), []
    for k in range(num_classes):
        hits = sum(int(row[k][k]) for row in rows)
        true = sum(int(row[k][j]) for row in rows for j in range(num_classes))
        predicted = sum(int(row[j][k]) for row in rows for j in range(num_classes))
        if true:
            found.append(hits / (true + predicted - hits))
    return sum(found) / len(found)


def confusions(seed: int, num_images: int, num_classes: int = 3) -> np.ndarray:
    """(n, c, c), every class in every image, mostly right."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 9, (num_images, num_classes, num_classes)) + 20 * np.eye(num_classes, dtype=np.int64)


def means(seed: int, num_images: int, num_seeds: int, shift: float = 0.0, noise: float = 1.0) -> dict[int, np.ndarray]:
    """Counts of networks for :func:`mean`: images, seeds and both together contribute."""
    rng = np.random.default_rng(seed)
    images, seeds = rng.normal(size=num_images), noise * rng.normal(size=(num_seeds, 1))
    values = shift + images + seeds + rng.normal(size=(num_seeds, num_images))
    return {s: one_each(row) for s, row in enumerate(values)}


def generator() -> np.random.Generator:
    return np.random.default_rng(5)


BOTH = pytest.mark.parametrize(
    ("counts", "function", "slow"),
    [(one_each([0.5, 2.0, 7.0]), mean, slow_mean), (confusions(1, 3), mean_iou, slow_miou)],
    ids=["mean", "miou"],
)


# Resampling.
@BOTH
def test_bootstrap_draws_every_resample_equally_often(counts: np.ndarray, function: Function, slow: Callable) -> None:
    number = 27_000
    drawn = Counter(np.round(bootstrap(counts, function, generator(), number), 9).tolist())
    expected = Counter(round(slow([counts[i] for i in draw]), 9) for draw in itertools.product(range(3), repeat=3))
    assert drawn.keys() == expected.keys()
    assert sum(drawn.values()) == number
    for value, ways in expected.items():
        sd = math.sqrt(number * ways / 27 * (1 - ways / 27))
        assert abs(drawn[value] - number * ways / 27) < 4.5 * sd


def test_bootstrap_spreads_as_scipys() -> None:
    values = np.random.default_rng(2).gamma(2.0, size=25)
    theirs = scipy_stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=generator())
    ours = bootstrap(one_each(values), mean, generator(), 20_000)
    assert_allclose(ours.std(ddof=1), theirs.standard_error, rtol=0.03)
    assert_allclose(np.quantile(ours, [0.025, 0.975]), theirs.confidence_interval, rtol=0.01)


@pytest.mark.parametrize("allowed", [1, 50, 4_000_000])
@BOTH
def test_leave_one_out_and_influences(
    counts: np.ndarray, function: Function, slow: Callable, allowed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "_CHUNK", allowed)
    rows = list(counts)
    without = [slow(rows[:i] + rows[i + 1 :]) for i in range(3)]
    assert_allclose(leave_one_out(counts, function), without, rtol=1e-12)
    value, effects = influences(counts, lambda merged: function(merged)[..., None])
    assert_allclose(value, [slow(rows)], rtol=1e-12)
    raw = [2 * (slow(rows) - x) for x in without]
    assert_allclose(effects[:, 0], [x - sum(raw) / 3 for x in raw], atol=1e-12)


def test_merge_groups_by_hand() -> None:
    counts = np.array([[1, 10], [2, 20], [4, 40], [8, 80]])
    assert merge_groups(counts, ["b", "a", "b", "c"]).tolist() == [[5, 50], [2, 20], [8, 80]]
    assert merge_groups(counts, None).tolist() == counts.tolist() == [[1, 10], [2, 20], [4, 40], [8, 80]]


def test_what_does_not_fit_is_refused() -> None:
    three, four = one_each([1, 2, 4]), one_each([1, 2, 4, 8])
    with pytest.raises(DataError, match="2 group labels for 3 images"):
        merge_groups(three, ["a", "b"])
    with pytest.raises(DataError, match="4 group labels for 3 images"):
        estimate({0: three}, mean, groups=list("abcd"), limits=NO_LIMITS)
    with pytest.raises(DataError, match=r"same images and classes.*seed 0: \(3, 2\), seed 1: \(4, 2\)"):
        estimate({1: four, 0: three}, mean, limits=NO_LIMITS)
    with pytest.raises(DataError, match=r"variant and baseline.*\(3, 2\) and \(4, 2\)"):
        compare({0: three}, {0: four}, mean, generator())
    for empty in ({}, {0: three[:0]}):
        with pytest.raises(DataError, match="no counts of any image"):
            estimate(empty, mean)
    with pytest.raises(ValueError, match=r"gave 2\.0, outside its limits 0\.0 and 1\.0"):
        estimate({0: one_each([1, 3])}, mean)
    for power, difference, told in [(0.4, 1, "power 0.4"), (1, 1, "power 1"), (0.8, 0, "difference 0")]:
        with pytest.raises(SegstudyError, match=told):
            required(power, difference, NO_SEEDS)


# One number.
def test_value_is_the_mean_over_seeds_of_merged_counts() -> None:
    networks = {3: confusions(3, 7), 1: confusions(1, 7)}
    found, each = estimate(networks, mean_iou), [slow_miou(list(confusions(seed, 7))) for seed in (1, 3)]
    assert_allclose(found.seed_values, each)
    assert_allclose(found.value, sum(each) / 2)
    assert_allclose(found.seed_sd, abs(each[0] - each[1]) / math.sqrt(2))
    assert (found.num_images, found.num_groups, found.num_seeds) == (7, 7, 2)
    assert found.population == "images and seeds"
    one = estimate({3: networks[3]}, mean_iou)
    assert one.population == "images" and math.isnan(one.seed_sd) and one.method == "t" and one.reason == ""


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_equally_weighty_images_give_students_interval(level: float) -> None:
    values = [3.0, 7.0] * 6  # all as far from the mean, so that all twelve images count
    found, theirs = estimate({0: one_each(values)}, mean, level=level, limits=NO_LIMITS), scipy_stats.ttest_1samp
    assert_allclose([found.low, found.high], theirs(values, 0).confidence_interval(level), rtol=1e-9)
    assert_allclose([found.effective_images, found.degrees_of_freedom], [12, 11], rtol=1e-6)


def test_one_network_by_the_formula() -> None:
    values = np.random.default_rng(3).gamma(1.0, size=140)
    found, distance = estimate({0: one_each(values)}, mean, limits=NO_LIMITS), values - values.mean()
    assert_allclose(found.standard_error, scipy_stats.sem(values))
    effective = sum(d**2 for d in distance) ** 2 / sum(d**4 for d in distance)
    assert_allclose(found.effective_images, effective)
    half = scipy_stats.t.ppf(0.975, 1.5 * (effective - 1)) * scipy_stats.sem(values)
    assert_allclose([found.low, found.high], [values.mean() - half, values.mean() + half])
    positive = estimate({0: one_each(values)}, mean, limits=(0, math.inf))
    ends = np.log(values.mean()) + np.array([-half, half]) / values.mean()
    assert_allclose([positive.low, positive.high], np.exp(ends))
    share = estimate({0: one_each(values / 10)}, mean)
    centre = values.mean() / 10
    ends = logit(centre) + np.array([-half, half]) / 10 / (centre * (1 - centre))
    assert_allclose([share.low, share.high], expit(ends))


def test_bounds_of_a_distance_that_say_nothing_are_left_out() -> None:
    """On a logarithmic scale, a few images that make most of the mean set the bounds far apart."""
    values = np.tile([3.0, 2.0, 9.0, 4.0], 30)
    sound = estimate({0: one_each(values)}, mean, limits=(0, math.inf))
    assert sound.reason == "" and 3.5 < sound.low < 4.5 < sound.high < 5.5
    far = values.copy()
    far[:2] = 9000.0, 7000.0
    two = estimate({0: one_each(far)}, mean, limits=(0, math.inf))
    assert two.reason == TOO_WIDE and math.isnan(two.low) and not math.isnan(two.standard_error)
    assert estimate({0: one_each(-far)}, mean, limits=(-math.inf, 0)).reason == TOO_WIDE


def test_a_mean_distance_of_few_images_has_no_interval() -> None:
    values = np.random.default_rng(1).gamma(4.0, size=100)
    all_of_them = estimate({0: one_each(values)}, mean, limits=(0, math.inf))
    fewer = estimate({0: one_each(values[:99])}, mean, limits=(0, math.inf))
    assert all_of_them.reason == "" and fewer.reason == TOO_FEW and math.isnan(fewer.low) and fewer.method == ""
    grouped = estimate({0: one_each(values)}, mean, groups=np.arange(100) // 2, limits=(0, math.inf))
    assert grouped.reason == TOO_FEW  # fifty groups
    assert estimate({0: one_each(values / 100)}, mean).reason == ""  # a share may have an interval


def test_a_difference_stays_within_what_can_be() -> None:
    sides = {0: one_each([0.9, 0.1, 0.4])}, {0: one_each([0.2, 0.6, 0.3])}
    apart, open_ended = compare(*sides, mean, generator(), limits=(-1, 1)), compare(*sides, mean, generator())
    assert (apart.low, apart.high) == (-1, 1) and open_ended.low < -1 and open_ended.high > 1
    assert math.isnan(apart.detectable) and open_ended.detectable > 1  # no possible difference would be seen
    assert apart.p_value == open_ended.p_value


def slow_parts(networks: dict[int, np.ndarray]) -> tuple[float, float, float, float]:
    """Mean squares of a mean's two-way table, by loops: between seeds and between images (of means), the rest, and the
    number of images that decide."""
    table = [[float(row[0]) for row in counts] for counts in networks.values()]
    s, n = len(table), len(table[0])
    of_seed, of_image = [sum(row) / n for row in table], [sum(row[i] for row in table) / s for i in range(n)]
    grand = sum(of_seed) / s
    rest = sum((table[r][i] - of_seed[r] - of_image[i] + grand) ** 2 for r in range(s) for i in range(n))
    squares = [(x - grand) ** 2 for x in of_image]
    effective = sum(squares) ** 2 / sum(x**2 for x in squares)
    between = sum((x - grand) ** 2 for x in of_seed) / (s - 1)
    return between, sum(squares) / (n - 1), rest / ((s - 1) * (n - 1)), effective


def slow_half_widths(parts: list[tuple[float, float]], level: float = 0.95) -> tuple[float, float]:
    """Of the interval and of the test, from (variance, degrees of freedom) of each part."""

    def squared(degrees: float) -> float:
        return float(scipy_stats.t.ppf((1 + level) / 2, degrees)) ** 2

    total = sum(part for part, _ in parts)
    satterthwaite = squared(total**2 / sum(part**2 / df for part, df in parts))
    banerjee = sum(squared(df) * part for part, df in parts)
    weights = [(part / total) ** 1.75 for part, _ in parts]
    own = sum(weight * squared(df) for weight, (_, df) in zip(weights, parts, strict=True))
    between = total * (own + (1 - sum(weights)) * satterthwaite)
    return math.sqrt(min(between, banerjee)), math.sqrt(banerjee)


@pytest.mark.parametrize("seed", range(3))
def test_several_networks_by_a_slow_analysis_of_variance(seed: int) -> None:
    networks = means(seed, 15, 4)
    seeds, images, rest, effective = slow_parts(networks)
    parts = (images - rest / 4) / 15, seeds / 4
    half, cautious = slow_half_widths([(parts[0], 1.5 * (effective - 1)), (parts[1], 3)])
    assert half < cautious
    found = estimate(networks, mean, limits=NO_LIMITS)
    assert_allclose(found.standard_error, math.sqrt(sum(parts)))
    assert_allclose([found.low, found.high], [found.value - half, found.value + half])
    assert_allclose(half, scipy_stats.t.ppf(0.975, found.degrees_of_freedom) * math.sqrt(sum(parts)), rtol=1e-6)
    floor = noise_floor(networks, mean)
    assert_allclose([floor.seed, floor.image, floor.residual], [2 * (seeds - rest / 15), 0, 2 * rest])


def test_one_network_against_several_is_about_that_network() -> None:
    one, several = means(1, 15, 1, shift=3), means(3, 15, 4)
    seeds, _, rest, _ = slow_parts(several)
    apart = [float(one[0][i, 0]) - sum(float(counts[i, 0]) for counts in several.values()) / 4 for i in range(15)]
    squares = [(x - sum(apart) / 15) ** 2 for x in apart]
    image = (sum(squares) / 14 - rest / 4) / 15  # what the one network answers to each image is no noise of seeds
    assert image > 0
    others = sum(squares) ** 2 / sum(x**2 for x in squares) - 1
    half, _ = slow_half_widths([(image, min(2 * others**1.25, 14)), (seeds / 4, 3)])
    found = compare(one, several, mean, generator())
    assert_allclose([found.low, found.high], [found.value - half, found.value + half])
    assert (
        found.population == THIS_NETWORK
        and found.assumption == ONE_AGAINST_SEVERAL
        and "seeds: [...]" in found.assumption
    )
    assert found.reason == "" and verdict(found) == "" and found.components is None
    assert all(map(math.isnan, (found.p_value, found.p_exchange, found.detectable)))
    assert equivalence(found, 100.0).verdict == ""


@pytest.mark.parametrize(("ours", "theirs"), [(3, 3), (3, 5), (2, 7)])
def test_other_seeds_on_the_two_sides_by_a_slow_analysis_of_variance(ours: int, theirs: int) -> None:
    """Seeds of both sides are first made one part, by a power that is the lower the more unequal their numbers are."""
    one = means(1, 15, ours, shift=1)
    other = {100 + seed: counts for seed, counts in means(4, 15, theirs).items()}
    (first, _, rest, _), (second, _, residual, _) = slow_parts(one), slow_parts(other)
    mean_of = [[sum(float(c[i, 0]) for c in side.values()) / len(side) for i in range(15)] for side in (one, other)]
    apart = [x - y for x, y in zip(*mean_of, strict=True)]
    squares = [(x - sum(apart) / 15) ** 2 for x in apart]
    image = max(sum(squares) / 14 - rest / ours - residual / theirs, 0) / 15
    others = sum(squares) ** 2 / sum(x**2 for x in squares) - 1
    a, b = first / ours, second / theirs
    t_a, t_b = (scipy_stats.t.ppf(0.975, s - 1) ** 2 for s in (ours, theirs))
    welch = (a + b) ** 2 / (a**2 / (ours - 1) + b**2 / (theirs - 1))
    if ours == theirs:
        square = scipy_stats.t.ppf(0.975, welch) ** 2
    else:
        power = 1.75 / (1 - (min(ours, theirs) - 1) / (max(ours, theirs) - 1))
        w_a, w_b = (a / (a + b)) ** power, (b / (a + b)) ** power
        square = w_a * t_a + w_b * t_b + (1 - w_a - w_b) * scipy_stats.t.ppf(0.975, welch) ** 2
    square = min(square, (a * t_a + b * t_b) / (a + b))
    total, degrees = image + a + b, min(2 * others**1.25, 14)
    w_image, w_seeds = (image / total) ** 1.75, ((a + b) / total) ** 1.75
    all_degrees = total**2 / (image**2 / degrees + (a + b) ** 2 / welch)
    own = w_image * scipy_stats.t.ppf(0.975, degrees) ** 2 + w_seeds * square
    own += (1 - w_image - w_seeds) * scipy_stats.t.ppf(0.975, all_degrees) ** 2
    half = math.sqrt(min(total * own, image * scipy_stats.t.ppf(0.975, degrees) ** 2 + (a + b) * square))
    found = compare(one, other, mean, generator())
    assert_allclose([found.low, found.high], [found.value - half, found.value + half])
    noise = found.components
    assert noise is not None
    two = (first + second) ** 2 / (first**2 / (ours - 1) + second**2 / (theirs - 1))
    assert_allclose([noise.seed_variance, noise.seed_degrees], [first + second, two])


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_a_group_is_one_image(num_seeds: int) -> None:
    groups = {s: confusions(99, 9) + confusions(s, 9) // 4 for s in range(num_seeds)}
    images = {s: np.repeat(counts, 3, axis=0) for s, counts in groups.items()}
    labels = [i // 3 for i in range(27)]
    found, expected = estimate(images, mean_iou, groups=labels), estimate(groups, mean_iou)
    for name in ("value", "low", "high", "standard_error", "effective_images"):
        assert_allclose(getattr(found, name), getattr(expected, name))
    assert (found.num_images, found.num_groups) == (27, 9)
    alone = estimate(images, mean_iou)  # three times as many images that only seem to be independent
    assert alone.high - alone.low < found.high - found.low
    base = {s: confusions(s + 7, 9) for s in groups}
    merged = compare(images, {s: base[s].repeat(3, axis=0) for s in base}, mean_iou, generator(), groups=labels)
    direct = compare(groups, base, mean_iou, generator())
    assert_allclose([merged.low, merged.high, merged.p_value], [direct.low, direct.high, direct.p_value])


def test_a_class_in_too_few_images_has_no_interval() -> None:
    counts = np.stack([np.diag([9, 9, 0]) + np.array([[0, i, 0], [1, 0, 0], [0, 0, 0]]) for i in range(1, 9)])
    counts[2, 2] = [0, 3, 5]
    common, _, rare = estimate_each({0: counts}, iou)
    assert common.reason == "" and 0 < common.low < common.value < common.high < 1
    assert rare.value == 5 / 8 and math.isnan(rare.low) and math.isnan(rare.high) and rare.method == ""
    assert "rests on a single image" in rare.reason
    counts[2, 2] = 0
    (*_, absent) = estimate_each({0: counts}, iou)
    assert math.isnan(absent.value) and math.isnan(absent.low) and absent.reason == "the value is undefined"


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ([0.5], "there is one image only"),
        ([0.5] * 9, "same whichever image is left out"),
        ([0.0] * 9 + [1.0], "of 10 images, one alone makes almost all"),  # 0.81 of the squares' 0.9: 1.2 images count
    ],
)
def test_why_there_is_no_interval(values: list[float], reason: str) -> None:
    found, groups = estimate({0: one_each(values)}, mean), range(len(values))
    assert reason in found.reason and math.isnan(found.low) and math.isnan(found.high)
    assert "group" in estimate({0: one_each(values)}, mean, groups=groups).reason
    difference = compare({0: one_each(values)}, {0: one_each(np.zeros(len(values)))}, mean, generator())
    assert reason in difference.reason and math.isnan(difference.p_value) and verdict(difference) == ""


@given(seed=st.integers(0, 10**6), num_images=st.integers(2, 12), num_seeds=st.integers(1, 3))
@settings(max_examples=60, deadline=None)
def test_bounds_stay_within_limits(seed: int, num_images: int, num_seeds: int) -> None:
    rng = np.random.default_rng(seed)
    networks = {s: one_each(rng.beta(0.3, 0.1, num_images)) for s in range(num_seeds)}
    found = estimate(networks, mean)
    assert found.reason or 0 <= found.low < found.value < found.high <= 1
    wider = estimate(networks, mean, level=0.99)
    assert found.reason or wider.reason or (wider.low <= found.low and found.high <= wider.high)
    mirrored = estimate({s: one_each(1 - counts[:, 0]) for s, counts in networks.items()}, mean)
    assert_allclose([1 - mirrored.high, 1 - mirrored.low], [found.low, found.high], atol=1e-9)


# Two sides.
SIDES = pytest.mark.parametrize(
    ("own", "other"), [((0,), (0,)), ((0, 1, 2), (0, 1, 2)), ((0, 1, 2), (4, 5)), ((0, 1, 2), (4,))]
)


def sides(own: tuple[int, ...], other: tuple[int, ...]) -> tuple[dict, dict]:
    variant, base = means(1, 8, len(own), 0.4), means(2, 8, len(other))
    return dict(zip(own, variant.values(), strict=True)), dict(zip(other, base.values(), strict=True))


@pytest.mark.parametrize("num_seeds", [1, 3])
def test_a_study_against_itself(num_seeds: int) -> None:
    networks = {s: confusions(s, 8) for s in range(num_seeds)}
    found = compare(networks, networks, mean_iou, generator())
    assert (found.value, found.low, found.high, found.p_value, found.p_exchange) == (0, 0, 0, 1, 1)
    assert found.reason == "" and found.components is None and verdict(found) == "not distinguishable"
    if num_seeds == 1:  # one network is itself under another seed's name too
        renamed = compare(networks, {4: networks[0]}, mean_iou, generator())
        assert (renamed.low, renamed.high, renamed.p_value, renamed.reason) == (0, 0, 1, "")


@SIDES
def test_exchanged_sides_turn_the_sign_and_order_changes_nothing(own: tuple, other: tuple) -> None:
    variant, base = sides(own, other)
    there, back = compare(variant, base, mean, generator()), compare(base, variant, mean, generator())
    alone = len(other) == 1 < len(own)
    assert there.value != 0 and (math.isnan(there.p_value) if alone else 0 < there.p_value < 1)
    assert_allclose([there.value, there.low, there.high], [-back.value, -back.high, -back.low])
    assert_allclose([there.p_value, there.p_exchange], [back.p_value, back.p_exchange])
    average = [np.mean([slow_mean(list(counts)) for counts in side.values()]) for side in (variant, base)]
    assert_allclose(there.value, average[0] - average[1])
    assert there.paired_seeds == (own == other == (0,))
    assert there.population == (THIS_NETWORK if alone else "images" if len(own) == 1 else "images and seeds")
    assert there.assumption == back.assumption == (ONE_AGAINST_SEVERAL if other == (4,) else "")
    order = np.random.default_rng(0).permutation(8)
    shuffled = [{s: side[s][order] for s in reversed(side)} for side in (variant, base)]
    again = compare(*shuffled, mean, generator())
    for name in ("value", "low", "high", "p_value", "p_exchange", "detectable", "standard_error"):
        assert_allclose(getattr(again, name), getattr(there, name))
    one, two = (estimate(side, mean, limits=NO_LIMITS) for side in (variant, shuffled[0]))
    assert_allclose([two.low, two.high, *two.seed_values], [one.low, one.high, *one.seed_values])


def test_paired_tests_by_scipy() -> None:
    rng = np.random.default_rng(8)
    first = rng.normal(size=10)
    second = first - 0.8 + np.tile([1.0, -1.0], 5)  # all differences as far from their mean
    found = compare({0: one_each(first)}, {0: one_each(second)}, mean, generator())
    theirs = scipy_stats.ttest_rel(first, second)
    exact = scipy_stats.permutation_test(
        (first, second), lambda x, y, axis: np.abs((x - y).mean(axis)), permutation_type="samples", alternative="greater",
        vectorized=True, n_resamples=10_000,
    )  # fmt: skip
    assert_allclose(found.p_exchange, exact.pvalue)
    assert_allclose([found.low, found.high], theirs.confidence_interval(0.95), rtol=1e-9)
    assert_allclose(found.p_value, max(theirs.pvalue, exact.pvalue), rtol=1e-6)
    assert_allclose(found.standard_error, scipy_stats.sem(first - second))
    other_seed = compare(
        {0: one_each(first)}, {4: one_each(second)}, mean, generator()
    )  # as paired: images are the same
    assert_allclose([other_seed.low, other_seed.high, other_seed.p_value], [found.low, found.high, found.p_value])


@pytest.mark.parametrize(
    ("num_variant", "num_base", "kind"), [(5, 5, "samples"), (3, 3, "independent"), (2, 5, "independent")]
)
def test_exchanged_networks_by_scipy(num_variant: int, num_base: int, kind: str) -> None:
    rng = np.random.default_rng(4)
    first, second = rng.normal(0.8, size=num_variant), rng.normal(size=num_base)
    theirs = scipy_stats.permutation_test(
        (first, second), lambda x, y: abs(x.mean() - y.mean()), permutation_type=kind, alternative="greater"
    )  # fmt: skip
    ours = exchange_networks(first[:, None], second[:, None], kind == "samples", generator())
    assert_allclose(ours, [theirs.pvalue])


@pytest.mark.parametrize("seed", range(4))
def test_exchanged_images_by_enumeration(seed: int) -> None:
    variant, base = confusions(seed, 6), confusions(seed + 50, 6)

    def gap(swapped: tuple[bool, ...]) -> float:
        pairs = [(b, a) if swap else (a, b) for swap, a, b in zip(swapped, variant, base, strict=True)]
        return abs(slow_miou([a for a, _ in pairs]) - slow_miou([b for _, b in pairs]))

    gaps = [gap(swapped) for swapped in itertools.product((False, True), repeat=6)]
    expected = sum(x >= gaps[0] - 1e-12 for x in gaps) / 64
    assert compare({0: variant}, {0: base}, mean_iou, generator()).p_exchange == expected
    drawn = compare({0: variant}, {0: base}, mean_iou, generator(), num_permutations=63)
    assert drawn.p_exchange == pytest.approx(expected, abs=0.25) and drawn.p_exchange * 64 % 1 == pytest.approx(0)


@given(seed=st.integers(0, 10**6), num_seeds=st.integers(1, 4), more=st.integers(0, 2), shift=st.floats(-2, 2))
@settings(max_examples=120, deadline=None)
def test_a_verdict_never_contradicts_its_interval(seed: int, num_seeds: int, more: int, shift: float) -> None:
    more = 0 if num_seeds == 1 else more
    base = means(seed + 1, 9, num_seeds + more, noise=0.2)
    found = compare(means(seed, 9, num_seeds, shift, noise=0.2), base, mean, generator(), num_permutations=600)
    if found.reason:
        assert verdict(found) == ""
        return
    holds_zero, decided = found.low <= 0 <= found.high, found.p_value <= 0.05
    assert not (decided and holds_zero)
    if num_seeds > 1 and not more:  # the test inverts the interval
        assert decided != holds_zero
    if num_seeds == 1:  # the test over images has its say as well
        degrees = min(max(1.5 * (found.effective_images - 1), 1), 8)
        beyond = abs(found.value) > scipy_stats.t.ppf(0.975, degrees) * found.standard_error
        assert decided == (beyond and found.p_exchange <= 0.05)
        assert found.p_value >= found.p_exchange
    assert verdict(found) == (("better" if found.value > 0 else "worse") if decided else "not distinguishable")


@pytest.mark.parametrize("level", [0.8, 0.95, 0.99])
def test_test_and_interval_agree_at_every_level(level: float) -> None:
    """Move the difference so that the interval ends at 0: the p-value is then 1 - level."""
    variant, base = means(1, 15, 3), means(4, 15, 3)
    found = compare(variant, base, mean, generator(), level=level)
    moved = {s: counts - [found.low, 0] for s, counts in variant.items()}
    assert compare(moved, base, mean, generator(), level=level).p_value == pytest.approx(1 - level, rel=1e-6)


def test_numbering_seeds_alike_gains_nothing() -> None:
    variant, base = means(1, 15, 3), means(4, 15, 3)
    same = compare(variant, base, mean, generator())
    other = compare(variant, {7 + s: counts for s, counts in base.items()}, mean, generator())
    assert same == other and not same.paired_seeds
    in_pairs = compare(variant, base, mean, generator(), pair_seeds=True)
    apart = [slow_mean(list(variant[s])) - slow_mean(list(base[s])) for s in range(3)]
    assert in_pairs.paired_seeds and in_pairs.components is not None and in_pairs.components.paired
    assert_allclose(in_pairs.components.seed_variance, np.var(apart, ddof=1))
    with pytest.raises(DataError, match=r"seed by seed, but the sides have the seeds \[0, 1, 2\] and \[0, 1\]"):
        compare(variant, means(4, 15, 2), mean, generator(), pair_seeds=True)


def test_seeds_alone_give_welchs_test() -> None:
    """Networks whose images all answer alike: what is left is Welch's test of the seeds' values."""
    first, second = [0.3, 0.9, 0.4, 0.7], [1.6, 1.2, 2.1, 1.3]
    sides = [{s: one_each(x + np.tile([1e-9, -1e-9], 6)) for s, x in enumerate(side)} for side in (first, second)]
    found = compare(*sides, mean, generator())
    theirs = scipy_stats.ttest_ind(first, second, equal_var=False)
    assert_allclose(found.p_value, theirs.pvalue, rtol=1e-6)
    assert_allclose([found.low, found.high], theirs.confidence_interval(0.95), rtol=1e-6)


def test_a_clear_difference_is_told() -> None:
    rng, base = np.random.default_rng(6), confusions(6, 30)
    better = base + np.eye(3, dtype=np.int64) * rng.integers(20, 60, (30, 1, 1))
    found = compare({0: better}, {0: base}, mean_iou, generator(), num_permutations=999)
    assert 0 < found.low < found.value < found.high and found.p_value < 0.01 and verdict(found) == "better"
    assert verdict(compare({0: base}, {0: better}, mean_iou, generator(), num_permutations=999)) == "worse"


def test_verdict() -> None:
    found = compare(means(1, 9, 3), means(2, 9, 3), mean, generator())
    found = replace(found, value=5.0, p_value=0.04, level=0.95)
    assert verdict(found) == "better"
    assert verdict(found, higher_is_better=False) == "worse"
    assert verdict(replace(found, value=-5.0)) == "worse"
    assert verdict(replace(found, value=-5.0), higher_is_better=False) == "better"
    assert verdict(found, adjusted_p=0.06) == "not distinguishable"
    assert verdict(replace(found, level=0.99)) == "not distinguishable"
    assert verdict(replace(found, p_value=math.nan)) == "" == verdict(found, adjusted_p=math.nan)


# What "not distinguishable" leaves open.
def told(value: float, standard_error: float = 1.0, degrees: float = 10.0, seeds: int = 3) -> Difference:
    found = compare(means(1, 9, 3), means(2, 9, 3), mean, generator())
    half = float(scipy_stats.t.ppf(0.975, degrees)) * standard_error
    return replace(
        found, value=value, standard_error=standard_error, degrees_of_freedom=degrees, low=value - half, high=value + half,
        p_value=float(2 * scipy_stats.t.sf(abs(value) / standard_error, degrees)), num_seeds_variant=seeds, num_seeds_base=seeds,
    )  # fmt: skip


def test_equivalence_by_two_one_sided_tests_of_scipy() -> None:
    values = np.random.default_rng(2).normal(0.4, 1, 11)
    error = float(scipy_stats.sem(values))
    found = equivalence(told(float(values.mean()), error), 1.0)
    below = scipy_stats.ttest_1samp(values, 1.0, alternative="less").pvalue
    above = scipy_stats.ttest_1samp(values, -1.0, alternative="greater").pvalue
    assert_allclose([found.p_equivalent, found.p_not_worse], [max(below, above), above], rtol=1e-9)
    assert_allclose([found.low, found.high], scipy_stats.ttest_1samp(values, 0).confidence_interval(0.9), rtol=1e-9)


@pytest.mark.parametrize(
    ("value", "margin", "higher", "expected"),
    [  # the 90 % interval reaches 1.8125 to either side
        (0.0, 1.9, True, "equivalent within the margin"),
        (0.0, 1.8, True, "undecided"),
        (3.0, 2.0, True, "not worse by more than the margin"),
        (3.0, 2.0, False, "undecided"),
        (-3.0, 2.0, False, "not worse by more than the margin"),
        (-3.0, 5.0, True, "equivalent within the margin"),
    ],
)
def test_equivalence_by_hand(value: float, margin: float, higher: bool, expected: str) -> None:
    found = equivalence(told(value), margin, higher_is_better=higher)
    assert found.verdict == expected
    assert_allclose(found.margin_equivalent, abs(value) + 1.8125, atol=1e-4)
    gain = value if higher else -value
    assert_allclose(found.margin_not_worse, max(1.8125 - gain, 0), atol=1e-4)
    assert equivalence(told(value), found.margin_equivalent * 1.001, higher_is_better=higher).verdict == EQUIVALENT


def test_margins_that_make_no_sense_and_equal_predictions() -> None:
    for margin in (0, -1, math.nan, math.inf):
        with pytest.raises(SegstudyError, match="must be a number above 0"):
            equivalence(told(0.0), margin)
    networks = {s: confusions(s, 8) for s in range(2)}
    same = compare(networks, networks, mean_iou, generator())
    assert equivalence(same, 1e-9).verdict == EQUIVALENT and probability_better(same) == 0.5
    assert simultaneous([same]) == ((0.0, 0.0),)
    none = replace(same, reason="there is one image only")
    assert equivalence(none, 1.0).verdict == "" and math.isnan(probability_better(none))


def test_probability_of_being_better_goes_with_the_interval() -> None:
    assert probability_better(told(float(scipy_stats.t.ppf(0.975, 10)))) == pytest.approx(0.975)
    assert probability_better(told(1.3), higher_is_better=False) == pytest.approx(scipy_stats.t.sf(1.3, 10))


def test_simultaneous_intervals_are_bonferronis() -> None:
    none = replace(told(1.0), reason="the value is undefined")
    first, missing, second = simultaneous([told(1.0), none, told(-2.0, 0.5)], limits=(-2.5, 2.5))
    wide = float(scipy_stats.t.ppf(1 - 0.05 / 4, 10))
    assert_allclose(first, [1 - wide, 2.5])
    assert all(map(math.isnan, missing))
    assert_allclose(second, [-2.5, -2 + wide / 2])


def test_ranks_by_hand() -> None:
    # Holm over three pairs: 0.001 x 3, 0.02 x 2 = 0.04, 0.6: the first beats both, which share the second place.
    p_values = np.array([[1, 0.02, 0.001], [0, 1, 0.6], [0, 0, 1]])
    assert ranks([0.9, 0.7, 0.8], p_values) == [Rank(1, 1, 1), Rank(2, 2, 3), Rank(2, 2, 3)]
    assert ranks([0.9, 0.7, 0.8], p_values, higher_is_better=False) == [Rank(3, 3, 3), Rank(1, 1, 2), Rank(1, 1, 2)]
    assert ranks([0.9, 0.7], np.full((2, 2), math.nan)) == [Rank(1, 1, 2), Rank(1, 1, 2)]


def test_rank_shares() -> None:
    one, other = means(1, 12, 3), means(2, 12, 3)
    far = {s: counts + np.array([100.0, 0.0]) for s, counts in other.items()}
    shares = rank_shares([one, far, one], mean, generator(), num_resamples=50)
    assert_allclose(shares.sum(axis=0), 1) and assert_allclose(shares.sum(axis=1), 1)
    assert shares[1].tolist() == [1, 0, 0]
    single = rank_shares([{0: one[0]}, {4: one[0]}], mean, generator(), num_resamples=20)
    assert_allclose(single, 0.5)  # the same predictions share both places


# What is not seen.
def test_unseen_failures_against_the_binomial() -> None:
    for n, k in ((20, 0), (50, 0), (50, 3)):
        assert scipy_stats.binom.cdf(k, n, unseen_failures(n, k)) == pytest.approx(0.05)
    assert unseen_failures(3000) == pytest.approx(3 / 3000, rel=0.01) and unseen_failures(5, 5) == 1
    with pytest.raises(DataError, match="4 failures among 3 images"):
        unseen_failures(3, 4)


def test_failure_share_by_scipy() -> None:
    found = failure_share([0.05, 0.9, math.nan, 0.02, 0.8, 0.7, 0.95, 0.9, 0.85], 0.1)
    theirs = scipy_stats.binomtest(2, 8).proportion_ci(0.95, "exact")
    assert (found.value, found.num_failures, found.num_images) == (0.25, 2, 8)
    assert_allclose([found.low, found.high], [theirs.low, theirs.high])
    assert failure_share([0.5, 0.6], 0.1).low == 0
    with pytest.raises(DataError, match="no value of any image"):
        failure_share([math.nan], 0.1)


def test_median_against_tables_of_the_sign_test() -> None:
    found = median(np.arange(1.0, 21))  # the sixth and the fifteenth of twenty
    assert (found.value, found.low, found.high) == (10.5, 6, 15)
    assert math.isnan(median([1, 2, 3, 4, 5]).low) and "5 images are too few" in median([1, 2, 3, 4, 5]).reason
    assert (median([1, 2, 3, 4, 5, 6]).low, median([1, 2, 3, 4, 5, 6]).high) == (1, 6)


def test_trimmed_mean_by_scipy() -> None:
    values = np.random.default_rng(1).gamma(1.0, size=25)
    found = trimmed_mean(values, 0.2)
    assert_allclose(found.value, scipy_stats.trim_mean(values, 0.2))
    yuen = scipy_stats.ttest_ind(values + 1, values, equal_var=False, trim=0.2)  # apart by 1, with twice the variance
    half = scipy_stats.t.ppf(0.975, 14) / yuen.statistic / math.sqrt(2)
    assert_allclose([found.low, found.high], [found.value - half, found.value + half])
    assert trimmed_mean([1, 2], 0.0).reason and math.isnan(trimmed_mean([1, 2], 0.0).low)
    alike = trimmed_mean([0.1, *[0.5] * 9], 0.1)  # nine images of ten score the same: no spread is left, not no error
    assert alike.value == 0.5 and math.isnan(alike.low) and "the same" in alike.reason
    with pytest.raises(DataError, match=r"trimmed share 0\.5"):
        trimmed_mean(values, 0.5)


def test_seeds_of_two_kinds_are_flagged_and_normal_ones_seldom() -> None:
    found = split_seeds([0.81, 0.80, 0.31, 0.82, 0.815])
    assert found.split and (found.below, found.above) == (1, 4)
    assert not split_seeds([0.80, 0.80, 0.80, 0.80]).split and not split_seeds([0.8, 0.1, 0.8]).split
    rng = np.random.default_rng(3)
    assert np.mean([split_seeds(rng.normal(size=6).tolist()).split for _ in range(3000)]) == pytest.approx(
        0.01, abs=0.007
    )


# Splits and datasets.
def test_over_splits_by_hand() -> None:
    # Mean 2, variance 1, times 1/3 + 1/2: the root of 5/6; two degrees of freedom.
    found = over_splits([1, 2, 3], num_train=80, num_test=40)
    assert_allclose([found.value, found.standard_error, found.degrees_of_freedom], [2, math.sqrt(5 / 6), 2])
    assert_allclose(found.high, 2 + 4.302653 * math.sqrt(5 / 6), rtol=1e-6)
    assert_allclose(found.p_value, 2 * scipy_stats.t.sf(2 / math.sqrt(5 / 6), 2))
    plain = scipy_stats.ttest_1samp([1, 2, 4], 0)
    assert_allclose(
        over_splits([1, 2, 4], 1e12, 1).p_value, plain.pvalue, rtol=1e-6
    )  # the textbook's, without the overlap
    assert over_splits([0, 0], 4, 1).p_value == 1 and over_splits([1, 1], 4, 1).p_value == 0
    for values, train in (([1.0], 4), ([1.0, math.nan], 4), ([1.0, 2.0], 0)):
        with pytest.raises(DataError, match=r"defined ones|must be above 0"):
            over_splits(values, train, 1)


def test_friedman_by_scipy_and_demsars_example() -> None:
    # Demsar 2006, table 6: AUC of four variants of C4.5 on 14 data sets.
    table = [
        [0.763, 0.768, 0.771, 0.798], [0.599, 0.591, 0.590, 0.569], [0.954, 0.971, 0.968, 0.967],
        [0.628, 0.661, 0.654, 0.657], [0.882, 0.888, 0.886, 0.898], [0.936, 0.931, 0.916, 0.931],
        [0.661, 0.668, 0.609, 0.685], [0.583, 0.583, 0.563, 0.625], [0.775, 0.838, 0.866, 0.875],
        [1.000, 1.000, 1.000, 1.000], [0.940, 0.962, 0.965, 0.962], [0.619, 0.666, 0.614, 0.669],
        [0.972, 0.981, 0.9751, 0.975], [0.957, 0.978, 0.946, 0.970],
    ]  # fmt: skip
    found = friedman(np.array(table))
    assert_allclose(found.mean_ranks, [3.143, 2.000, 2.893, 1.964], atol=6e-4)  # as printed there
    assert_allclose(found.statistic, scipy_stats.friedmanchisquare(*np.transpose(table)).statistic)
    assert found.critical_difference == pytest.approx(2.569 * math.sqrt(4 * 5 / (6 * 14)), abs=1e-3)  # table 5 there
    assert found.groups == ((3, 1, 2, 0),)
    clear = friedman(np.tile([0.9, 0.7, 0.5], (10, 1)))
    assert clear.p_value == 0 and clear.groups == ((0, 1), (1, 2)) and clear.mean_ranks == (1, 2, 3)
    with pytest.raises(DataError, match=r"shape \(2, 2\)"):
        friedman(np.ones((2, 2)))


def test_bayesian_signed_rank() -> None:
    rng = np.random.default_rng(1)
    even = bayesian_signed_rank([-0.03, -0.02, -0.01, 0.01, 0.02, 0.03], 0.0, rng)
    assert even.worse == pytest.approx(
        even.better, abs=0.03
    ) and even.worse + even.equal + even.better == pytest.approx(1)
    clear = bayesian_signed_rank([0.05] * 9, 0.01, rng)
    assert clear.better > 0.99 and bayesian_signed_rank([0.05] * 9, 0.01, rng, higher_is_better=False).worse > 0.99
    assert bayesian_signed_rank([0.001] * 9, 0.01, rng).equal == 1
    # Pairs are above 0 unless both are the prior's, whose weight is Beta(1, 2): better where its square is below a half.
    two = bayesian_signed_rank([1.0, 1.0], 0.0, rng, prior=1.0, num_draws=40_000)
    assert two.better == pytest.approx(scipy_stats.beta.cdf(math.sqrt(0.5), 1, 2), abs=0.01)


# Seeds one by one.
def test_looks_err_no_more_than_they_say() -> None:
    levels = look_levels(2, 6)
    assert list(levels) == [2, 3, 4, 5, 6] and levels[6] == pytest.approx(3 * levels[2]) and levels[6] < 0.05
    assert look_levels(5, 5) == {5: pytest.approx(0.05, rel=0.2)}
    first, second = np.random.default_rng(9).normal(size=(2, 6, 4000))
    looks = [scipy_stats.ttest_ind(first[:s], second[:s], equal_var=False).pvalue for s in range(2, 7)]
    wrong = np.any([p <= level for p, level in zip(looks, levels.values(), strict=True)], axis=0)
    peeking = np.min(looks, axis=0) <= 0.05
    assert wrong.mean() == pytest.approx(0.05, abs=0.012) and peeking.mean() > 0.1


def test_sequential_decision() -> None:
    levels = look_levels(2, 5)
    at = replace(told(2.0, seeds=3), p_value=levels[3])
    assert (
        sequential_decision(at, at_most=5).verdict == "better" and sequential_decision(at, at_most=5).action == DECIDED
    )
    assert sequential_decision(at, at_most=5, higher_is_better=False).verdict == "worse"
    above = replace(at, p_value=levels[3] * 1.01)
    assert sequential_decision(above, at_most=5).action == CONTINUE
    assert sequential_decision(at, at_most=5, questions=2).action == CONTINUE
    assert sequential_decision(replace(at, p_value=0.5), at_most=3).action == STOP
    futile = sequential_decision(above, at_most=5, futile_below=1e-6)
    assert futile.action == STOP and "5 seeds would show" in futile.reason
    assert sequential_decision(above, at_most=5, futile_below=1e6).action == CONTINUE
    for wrong in (replace(at, num_seeds_base=4), replace(at, num_seeds_variant=6, num_seeds_base=6)):
        with pytest.raises(SegstudyError, match="as many seeds on both sides, from 2 to 5"):
            sequential_decision(wrong, at_most=5)
    with pytest.raises(SegstudyError, match="looks from 1 to 3"):
        look_levels(1, 3)


# Many questions.
def slow_holm(p_values: list[float]) -> list[float]:
    """By closure: a question is rejected when Bonferroni rejects every set of questions that it is part of."""
    asked = [i for i, p in enumerate(p_values) if not math.isnan(p)]
    adjusted = [math.nan] * len(p_values)
    for size in range(1, len(asked) + 1):
        for family in itertools.combinations(asked, size):
            p = min(1.0, size * min(p_values[i] for i in family))
            for i in family:
                adjusted[i] = p if math.isnan(adjusted[i]) else max(adjusted[i], p)
    return adjusted


def test_holm_by_hand() -> None:
    # In order 0.005, 0.011, 0.02, 0.6: times 4, 3, 2, 1 gives 0.02, 0.033, 0.04, 0.6; the NaN is not a question.
    assert_allclose(holm([0.02, math.nan, 0.005, 0.6, 0.011]), [0.04, math.nan, 0.02, 0.6, 0.033])
    assert_allclose(holm([0.5, 0.4]), [0.8, 0.8])
    assert holm([]).shape == (0,)
    assert_array_equal(holm([math.nan]), [math.nan])


@given(st.lists(st.one_of(st.floats(0, 1), st.just(math.nan), st.sampled_from([0.01, 0.02])), max_size=7))
@settings(deadline=None)
def test_holm_against_all_families(p_values: list[float]) -> None:
    assert_allclose(holm(p_values), slow_holm(p_values), atol=1e-12)


# Planning.
NO_SEEDS = Components(math.nan, 4.0, math.nan, 1, 50, 50.0, math.nan, math.nan, 49.0)


@st.composite
def components(draw: st.DrawFn) -> Components:
    variance, n, s = st.floats(0, 10), draw(st.integers(5, 200)), draw(st.integers(2, 6))
    effective, seed, residual = draw(st.floats(1.5, n)), draw(variance), draw(st.floats(0.01, 10))
    return Components(seed, draw(variance), residual, s, n, effective, seed + residual / n, s - 1.0, effective)


@pytest.mark.parametrize(("num_images", "power"), [(8, 0.8), (30, 0.5), (30, 0.9), (1000, 0.8)])
def test_detectable_has_the_power_of_a_t_test(num_images: int, power: float) -> None:
    shift = detectable(NO_SEEDS, 1, num_images, power) * math.sqrt(num_images / 4.0)
    degrees = num_images - 1
    theirs = scipy_stats.nct.sf(scipy_stats.t.ppf(0.975, degrees), degrees, shift)
    assert theirs == pytest.approx(power, abs=0.003)
    seeds_alone = Components(4.0, 0.0, 0.0, 3, 50, 50.0, 4.0, 2.0, math.inf, paired=True)
    shift = detectable(seeds_alone, num_images, 50, power) * math.sqrt(num_images / 4.0)
    theirs = scipy_stats.nct.sf(scipy_stats.t.ppf(0.975, degrees), degrees, shift)
    assert theirs == pytest.approx(power, abs=0.01)  # taken at fewer points
    apart = replace(seeds_alone, paired=False)  # independent networks: nearly twice the degrees of freedom
    assert detectable(apart, 5, 50) < detectable(seeds_alone, 5, 50)


@given(known=components(), num_seeds=st.integers(2, 30), num_images=st.integers(4, 500))
@settings(max_examples=60, deadline=None)
def test_more_never_needs_a_larger_difference(known: Components, num_seeds: int, num_images: int) -> None:
    here = detectable(known, num_seeds, num_images) * (1 + 1e-9)
    assert detectable(known, num_seeds + 1, num_images) <= here
    assert detectable(known, num_seeds, num_images + 1) <= here
    assert detectable(known, num_seeds, num_images, power=0.9) >= here / (1 + 1e-8)


@given(known=components(), factor=st.floats(0.3, 2))
@settings(max_examples=12, deadline=None)
def test_the_required_number_is_the_smallest_that_is_enough(known: Components, factor: float) -> None:
    s, n = known.num_seeds, known.num_images
    asked = factor * detectable(known, s, n)
    found = required(0.8, -asked, known, seeds=(7,))
    assert found.difference == asked and found.detectable == detectable(known, s, n)
    for number, smallest in [
        (found.seeds, lambda number: detectable(known, number, n)),
        (found.images, lambda number: detectable(known, s, number)),
        (found.table[0][1], lambda number: detectable(known, 7, number)),
    ]:
        assert (smallest(number) <= asked) if number else (smallest(10**9) > asked)
        assert number in (None, 2) or smallest(number - 1) > asked
    assert ("no number of seeds is enough" in found.reason) == (found.seeds is None)
    assert ("no number of images is enough" in found.reason) == (found.images is None)


@given(known=components(), factor=st.floats(0.3, 2))
@settings(max_examples=12, deadline=None)
def test_to_be_safe_never_takes_less(known: Components, factor: float) -> None:
    found = required(0.8, factor * detectable(known, known.num_seeds, known.num_images), known, seeds=(7,))
    for plain, safe in ((found.seeds, found.seeds_safe), (found.images, found.images_safe), found.table[0][1:]):
        assert safe is None or (plain is not None and safe >= plain)


def test_power_curves_and_a_seed_sd_from_elsewhere() -> None:
    known = Components(0.5, 4.0, 0.0, 3, 50, 50.0, 0.5, 4.0, 49.0)
    rows = power_curves(known, 1.0, seeds=(3, 6), images=(50, 200))
    assert [(row["seeds"], row["images"]) for row in rows] == [(3, 50), (3, 200), (6, 50), (6, 200)]
    assert (
        rows[0]["power"]
        < min(rows[1]["power"], rows[2]["power"])
        <= max(rows[1]["power"], rows[2]["power"])
        < rows[3]["power"]
    )
    seen = detectable(known, 3, 50, 0.7)
    assert power_of(known, seen, 3, 50) == pytest.approx(0.7, abs=0.001)
    assert math.isnan(power_of(NO_SEEDS, 1.0, 2, 50))
    assumed = assume_seed_sd(NO_SEEDS, 0.5)
    assert (assumed.seed, assumed.seed_variance, assumed.residual) == (0.5, 0.5, 0.0)
    assert (
        detectable(assumed, 3, 50) == pytest.approx(detectable(known, 3, 50))
        and required(0.8, 1.0, assumed).seeds is not None
    )
    assert upper_limits(assumed).seed_variance == 0.5  # taken for known
    with pytest.raises(SegstudyError, match="must be a number from 0 on"):
        assume_seed_sd(NO_SEEDS, -1)


def test_what_further_pilot_seeds_tell() -> None:
    pilot = Components(0.5, 0.0, 0.0, 2, 50, 50.0, 0.5, 1.0, math.inf)
    two, three, four = next_seeds(pilot, 1.0)
    assert [row["seeds"] for row in (two, three, four)] == [2, 3, 4]
    # 80 % of a chi-square with 1, 2, 3 degrees of freedom lie above 0.0642, 0.4463, 1.0052.
    assert_allclose(
        [row["factor"] ** 2 for row in (two, three, four)], [1 / 0.06418, 2 / 0.44629, 3 / 1.00517], rtol=1e-4
    )
    assert two["seeds_safe"] > three["seeds_safe"] > four["seeds_safe"]


def test_upper_limits_against_tables_of_chi_square() -> None:
    """80 % of a chi-square with 2 degrees of freedom lie above 0.446, with 20 above 14.578."""
    parts = Components(0.0, 3.0, 8.0, 4, 16, 30.0, seed_variance=0.5, seed_degrees=2.0, image_degrees=20.0)
    upper = upper_limits(parts)
    assert_allclose(upper.seed_variance, 0.5 * 2 / 0.446287, rtol=1e-5)
    assert_allclose(upper.seed, 0.5 * 2 / 0.446287 - 8 / 16, rtol=1e-5)
    assert_allclose(upper.image, (3 + 8 / 4) * 20 / 14.5784 - 8 / 4, rtol=1e-5)
    assert upper_limits(replace(parts, seed_variance=0.1)).seed == 0  # seeds that differ so little, beside the images
    known = upper_limits(replace(parts, image=0.0, residual=0.0, image_degrees=math.inf))
    assert known.image == 0


def test_seeds_to_be_safe_are_enough_four_times_in_five() -> None:
    """Pilots of three seeds whose noise is all their own: how often do they ask for the number that is really needed?"""
    true = Components(2.0, 0.0, 0.0, 3, 50, 50.0, 2.0, 2.0, math.inf)
    needed = required(0.8, 1.0, true, seeds=()).seeds
    assert needed is not None
    draws = np.random.default_rng(3)
    plain, safe = [], []
    for values in draws.normal(0, 1, (400, 3)):
        pilot = noise_floor({seed: one_each([value] * 9) for seed, value in enumerate(values)}, mean)
        for asked, noise in ((plain, pilot), (safe, upper_limits(pilot))):
            asked.append(detectable(noise, needed - 1, 50) > 1.0)  # so it asks for no fewer
    assert np.mean(plain) < 0.5
    assert np.mean(safe) == pytest.approx(0.8, abs=0.05)


def test_networks_that_do_not_differ_at_all_can_be_planned_with() -> None:
    one = one_each(np.arange(9) / 10)
    floor = noise_floor({1: one, 2: one, 3: one}, mean)
    assert (floor.seed_variance, floor.seed_degrees) == (0, 2)
    found = required(0.8, 0.1, floor, seeds=())
    assert found.seeds == found.seeds_safe == found.images_safe == 2 and "cannot prove" in found.reason


def test_what_a_few_seeds_cannot_prove_is_said() -> None:
    parts = Components(0.0, 0.0, 8.0, 3, 200, 60.0, seed_variance=0.03, seed_degrees=2.0, image_degrees=math.inf)
    found = required(0.8, 0.1, parts)
    assert found.reason.endswith("seeds by themselves changed nothing here, which 3 seeds cannot prove")
    assert found.images is not None and found.images_safe is None


@pytest.mark.parametrize("questions", [1, 2, 7])
def test_detectable_counts_on_every_question_of_the_family(questions: int) -> None:
    """It is what a study with an error rate divided by their number finds."""
    variant, base = means(1, 15, 3), means(2, 15, 3)
    one = compare(variant, base, mean, generator(), questions=questions)
    other = compare(variant, base, mean, generator(), level=1 - 0.05 / questions)
    assert one.detectable == pytest.approx(other.detectable, rel=1e-9)
    assert one.questions == questions and one.level == 0.95


def test_one_seed_says_nothing_of_seeds() -> None:
    found = required(0.8, 0.5, NO_SEEDS)
    assert found.seeds is None and ONE_SEED in found.reason and math.isnan(found.floor_seeds)
    assert found.images is not None and detectable(NO_SEEDS, 1, found.images) <= 0.5
    assert math.isnan(detectable(NO_SEEDS, 2, 50))
    assert detectable(replace(NO_SEEDS, seed=1.0, residual=1.0), 1, 50) == math.inf
    floor = noise_floor(means(0, 10, 1), mean)
    assert math.isnan(floor.seed) and math.isnan(floor.image) and math.isnan(floor.residual)
    nothing = required(0.8, 0.5, floor)
    assert nothing.seeds is nothing.images is None and nothing.reason == ONE_SEED and math.isnan(nothing.detectable)
    assert {images for _, *images in nothing.table for images in images} == {None}
    compared = compare(means(0, 10, 1), means(1, 10, 1), mean, generator()).components
    assert compared is not None and math.isnan(compared.seed) and compared.num_seeds == 1


# Simulated studies: 60 images of two classes, objects of unequal size and difficulty.
NUM_STUDIES, NUM_IMAGES = 300, 60


def object_iou(merged: np.ndarray) -> np.ndarray:
    return iou(merged)[..., 1]


def simulated(rng: np.random.Generator, num_images: int, num_networks: int = 1) -> list[np.ndarray]:
    """Networks that are alike but err independently, on the same images: (n, 2, 2) each."""
    area = np.minimum(rng.lognormal(5.5, 0.6, num_images).astype(int) + 1, 3000)
    difficulty, networks = rng.beta(8, 2, num_images), []
    for _ in range(num_networks):
        found = rng.binomial(area, np.clip(difficulty + rng.normal(0, 0.1, num_images), 0, 1))
        extra = rng.binomial(area, rng.beta(1, 6, num_images))
        networks.append(np.array([[4096 - area - extra, extra], [area - found, found]]).transpose(2, 0, 1))
    return networks


def pixel_iou(counts: np.ndarray) -> float:
    return counts[:, 1, 1].sum() / (counts[:, 1].sum() + counts[:, 0, 1].sum())


@cache
def truth() -> float:
    return pixel_iou(simulated(np.random.default_rng(99), 200_000)[0])


def coverage(method: Callable[[np.ndarray], tuple[float, float]]) -> float:
    rng, hits = np.random.default_rng(11), 0
    for _ in range(NUM_STUDIES):
        low, high = method(simulated(rng, NUM_IMAGES)[0])
        hits += low <= truth() <= high
    return hits / NUM_STUDIES


def over_images(counts: np.ndarray) -> tuple[float, float]:
    found = estimate({0: counts}, object_iou)
    return found.low, found.high


def over_pixels(counts: np.ndarray) -> tuple[float, float]:
    """Wrong on purpose: a binomial interval, as if each pixel were drawn on its own."""
    share, pixels = pixel_iou(counts), int(counts[:, 1].sum() + counts[:, 0, 1].sum())
    half = 1.96 * math.sqrt(share * (1 - share) / pixels)
    return share - half, share + half


def false_positives(**choice: object) -> float:
    rng, wrong = np.random.default_rng(12), 0
    for _ in range(NUM_STUDIES):
        first, second = simulated(rng, NUM_IMAGES, 2)
        found = compare({0: first}, {0: second}, object_iou, rng, num_permutations=199, **choice)
        wrong += verdict(found) != "not distinguishable"
    return wrong / NUM_STUDIES


def test_simulated_intervals_cover() -> None:
    assert 0.91 <= coverage(over_images) <= 0.99
    assert coverage(over_pixels) < 0.6  # the same harness catches a bad method


def test_simulated_networks_that_are_alike_are_seldom_told_apart() -> None:
    assert 0.005 <= false_positives() <= 0.09
    assert false_positives(level=0.7) > 0.15  # the same harness sees an error rate of 0.3
