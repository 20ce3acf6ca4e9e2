"""A small run of ``bench/coverage.py``: what only several networks can show. Bounds are over four standard errors wide."""

from __future__ import annotations

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from segstudy.measures import mean_iou
from segstudy.stats.comparison import THIS_NETWORK, Difference, compare, verdict
from segstudy.stats.equivalence import EQUIVALENT, equivalence
from segstudy.stats.exchange import exchange_images
from segstudy.stats.intervals import Estimate, estimate

NUM_STUDIES, NUM_IMAGES = 200, 30


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_bench", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def holding(results: list[Estimate], truth: float) -> float:
    return float(np.mean([result.low <= truth <= result.high for result in results if not result.reason]))


def told_apart(results: list[Difference]) -> float:
    return float(np.mean([verdict(result) in ("better", "worse") for result in results]))


def test_intervals_over_seeds_hold_the_recipes_score_where_one_networks_does_not(bench: ModuleType) -> None:
    world = replace(bench.POLYPS, seed=0.5)
    truth = float(bench.population(world, num_networks=200)[0])
    rng, several, one = np.random.default_rng(1), [], []
    for _ in range(NUM_STUDIES):
        networks = bench.draw_counts(world, rng, bench.draw_images(world, rng, NUM_IMAGES), 4)
        several.append(estimate(networks, mean_iou))
        one.append(estimate({0: networks[0]}, mean_iou))
    assert holding(several, truth) >= 0.88
    assert holding(one, truth) < 0.8


def test_a_recipe_is_seldom_told_from_itself_but_two_of_its_networks_often(bench: ModuleType) -> None:
    world = replace(bench.POLYPS, seed=0.3)
    rng, recipes, networks = np.random.default_rng(2), [], []
    for _ in range(NUM_STUDIES):
        images = bench.draw_images(world, rng, NUM_IMAGES)
        variant, base = bench.draw_counts(world, rng, images, 3), bench.draw_counts(world, rng, images, 3)
        recipes.append(compare(variant, base, mean_iou, rng))
        networks.append(exchange_images(variant[0], base[0], lambda merged: mean_iou(merged)[..., None], rng, 99)[0])
    assert told_apart(recipes) <= 0.11
    assert np.mean(np.array(networks) <= 0.05) > 0.3  # true of the networks, false of the recipe


def test_one_noisy_network_against_quiet_ones_gives_no_false_verdict(bench: ModuleType) -> None:
    noisy, quiet = replace(bench.POLYPS, seed=0.6), replace(bench.POLYPS, seed=0.1)
    rng, found = np.random.default_rng(3), []
    for _ in range(60):
        images = bench.draw_images(noisy, rng, NUM_IMAGES)
        found.append(
            compare(bench.draw_counts(noisy, rng, images, 1), bench.draw_counts(quiet, rng, images, 5), mean_iou, rng)
        )
    assert told_apart(found) == 0 and {d.population for d in found} == {THIS_NETWORK}
    outside = [not d.low <= 0 <= d.high for d in found if not d.reason]
    assert np.mean(outside) > 0.2  # the networks do differ, so that a verdict about their recipes would be false


def test_equivalence_is_seldom_claimed_at_the_margin_and_often_far_inside() -> None:
    """Seeds' values alone: true differences of one margin, and of none."""
    rng, claims = np.random.default_rng(4), []
    image = np.array([1e-6, -1e-6] * 5)
    for _ in range(NUM_STUDIES // 2):
        sides = [rng.normal(size=5) for _ in range(2)]
        base = {s: np.stack([x + image, np.ones(10)], axis=-1) for s, x in enumerate(sides[1])}
        for shift in (4.0, 0.0):
            own = {s: np.stack([x + shift + image, np.ones(10)], axis=-1) for s, x in enumerate(sides[0])}
            found = compare(own, base, lambda merged: merged[..., 0] / merged[..., 1], rng)
            claims.append(equivalence(found, 4.0).verdict == EQUIVALENT)
    assert np.mean(claims[::2]) <= 0.14 and np.mean(claims[1::2]) > 0.9
