"""One answer over the datasets of a study: recipes that were trained on several of them, the dataset being the unit."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from segstudy.arrays import Values
from segstudy.results import StudyResults
from segstudy.stats.datasets import Friedman, SignedRank, bayesian_signed_rank, friedman

MARGIN = 0.01  # of shares, in a study without a margin


@dataclass(frozen=True)
class Across:
    """k recipes on d datasets.

    Attributes
    ----------
    datasets, experiments
        Names of the datasets, and for each recipe its experiment on each of them.
    settings
        For each recipe the settings, by dotted key, in which the recipes differ.
    scores
        (d, k), the primary measure, mean over seeds.
    mean_ranks
        (k,), 1 being the best; ties share the mean of their ranks.
    friedman
        Test of all recipes and critical difference; None for two recipes.
    against_first
        For each recipe but the first: how probable it is that it is worse, equal or better on a further dataset.
    margin
        Differences up to it count as equal in that.

    """

    datasets: tuple[str, ...]
    experiments: tuple[tuple[str, ...], ...]
    settings: tuple[Mapping[str, Any], ...]
    scores: Values
    mean_ranks: tuple[float, ...]
    friedman: Friedman | None
    against_first: tuple[SignedRank, ...]
    margin: float


def across_datasets(results: StudyResults) -> Across | None:
    """Compare the recipes that have a result on the same datasets; None unless there are two of each.

    Datasets are left out where that keeps more results: the largest table without a gap is compared.
    """
    table, values = _table(results)
    chosen = _largest(table)
    if chosen is None:
        return None
    datasets, recipes = chosen
    measure, up = results.primary, results.primary.higher_is_better
    names = tuple(tuple(table[recipe][dataset] for dataset in datasets) for recipe in recipes)
    scores = np.array([[results.side(name).mean(measure)[0] for name in row] for row in names]).T
    margin = results.plan.study.margin or (MARGIN if math.isfinite(measure.bounds[1]) else 0.0)
    seed = int.from_bytes(hashlib.sha256(scores.tobytes()).digest()[:8])
    against = tuple(
        bayesian_signed_rank(scores[:, k] - scores[:, 0], margin, np.random.default_rng([seed, k]), higher_is_better=up)
        for k in range(1, len(recipes))
    )
    tested = friedman(scores, higher_is_better=up) if len(recipes) > 2 else None
    ordered = -scores if up else scores
    above = (ordered[:, None, :] < ordered[:, :, None]).sum(axis=2)
    alike = (ordered[:, None, :] == ordered[:, :, None]).sum(axis=2)
    ranks = tuple((above + (alike + 1) / 2).mean(axis=0).tolist())
    return Across(datasets, names, _differing([values[r] for r in recipes]), scores, ranks, tested, against, margin)


def _table(results: StudyResults) -> tuple[dict[str, dict[str, str]], dict[str, dict[str, Any]]]:
    """Recipe -> dataset -> experiment, where there is a score; and the settings of each recipe."""
    table: dict[str, dict[str, str]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for name in results.plan.experiments:
        config, side = results.plan.first(name).config, results.side(name)
        if not side.sets or side.problems or np.isnan(side.mean(results.primary)[0]):
            continue
        own = {key: value for key, value in config.values().items() if not key.startswith("data.")}
        recipe = json.dumps(own, sort_keys=True)
        table.setdefault(recipe, {}).setdefault(config.dataset, name)
        settings[recipe] = own
    return table, settings


def _largest(table: Mapping[str, Mapping[str, str]]) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Datasets and recipes of the largest table without a gap, at least two of each."""
    datasets = list(dict.fromkeys(dataset for row in table.values() for dataset in row))[:12]
    best: tuple[tuple[str, ...], tuple[str, ...]] | None = None
    for number in range(len(datasets), 1, -1):
        for subset in itertools.combinations(datasets, number):
            recipes = tuple(recipe for recipe, row in table.items() if set(subset) <= set(row))
            if len(recipes) > 1 and (best is None or number * len(recipes) > len(best[0]) * len(best[1])):
                best = subset, recipes
    return best


def _differing(settings: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], ...]:
    keys = [key for key in settings[0] if any(each.get(key) != settings[0][key] for each in settings)]
    return tuple({key: each.get(key) for key in keys} for each in settings)
