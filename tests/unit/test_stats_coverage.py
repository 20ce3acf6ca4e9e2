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
from segstudy.stats.comparison import Difference, compare, verdict
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
