"""Several datasets, the dataset being the unit: ranks of recipes over datasets, and two recipes over datasets.

Letters: d datasets, k recipes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segstudy.arrays import Values
from segstudy.errors import DataError


@dataclass(frozen=True)
class Friedman:
    """k recipes over d datasets.

    Attributes
    ----------
    mean_ranks
        Mean rank of each recipe, 1 being the best; ties share the mean of their ranks.
    statistic, p_value
        Friedman's chi-square test that all recipes are alike. ``p_value`` comes from Iman and Davenport's F, which is
        less conservative.
    critical_difference
        Two recipes differ where their mean ranks lie at least so far apart (Nemenyi), whatever the number of pairs.
    groups
        For the figure: index tuples of recipes, best first, that the test does not tell apart, the largest such runs.

    """

    mean_ranks: tuple[float, ...]
    statistic: float
    p_value: float
    critical_difference: float
    groups: tuple[tuple[int, ...], ...]


def friedman(scores: Values, *, error: float = 0.05, higher_is_better: bool = True) -> Friedman:
    """Compare k recipes over d datasets by their ranks, and say which pairs differ.

    Parameters
    ----------
    scores
        (d, k), one score a dataset and recipe; the mean over seeds and folds, where there are several.
    error
        Probability of any false difference.
    higher_is_better
        False for distances and errors.

    Raises
    ------
    DataError
        If there are fewer than two datasets or three recipes, or a score is undefined.

    Source: Demsar, Statistical comparisons of classifiers over multiple data sets, JMLR 2006.
    """
    from scipy import stats  # takes 0.3 s, which only a study of several recipes and datasets needs

    given = np.asarray(scores, np.float64)
    if given.ndim != 2 or given.shape[0] < 2 or given.shape[1] < 3 or np.isnan(given).any():
        raise DataError(
            f"scores of shape {given.shape} with {int(np.isnan(given).sum())} undefined: give two datasets or more "
            "(rows), three recipes or more (columns) and every score"
        )
    num, k = given.shape
    order = stats.rankdata(-given if higher_is_better else given, axis=1)
    means = order.mean(axis=0)
    tied = (given.shape[0] * k * (k + 1) ** 2) / 4
    spread = (order**2).sum() - tied
    statistic = num**2 * (k - 1) * ((means - (k + 1) / 2) ** 2).sum() / spread if spread > 0 else 0.0
    left = num * (k - 1) - statistic
    f = (num - 1) * statistic / left if left > 1e-12 else math.inf
    p_value = float(stats.f.sf(f, k - 1, (k - 1) * (num - 1)))
    distance = (
        float(stats.studentized_range.ppf(1 - error, k, np.inf)) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * num))
    )
    return Friedman(tuple(means.tolist()), float(statistic), p_value, distance, _runs(means, distance))


def _runs(means: Values, distance: float) -> tuple[tuple[int, ...], ...]:
    """Largest runs of neighbours, best first, whose ends lie less than ``distance`` apart."""
    order = np.argsort(means, kind="stable")
    found: list[tuple[int, ...]] = []
    last = -1
    for first in range(len(order)):
        end = max(i for i in range(first, len(order)) if means[order[i]] - means[order[first]] < distance or i == first)
        if end > last and end > first:
            found.append(tuple(int(x) for x in order[first : end + 1]))
        last = max(last, end)
    return tuple(found)


@dataclass(frozen=True)
class SignedRank:
    """Probabilities that the variant is worse, practically equal, and better on a further dataset; they add up to 1."""

    worse: float
    equal: float
    better: float


def bayesian_signed_rank(
    differences: Sequence[float] | Values,
    margin: float,
    generator: np.random.Generator,
    *,
    prior: float = 0.5,
    higher_is_better: bool = True,
    num_draws: int = 20_000,
) -> SignedRank:
    """Two recipes over datasets: how probable it is that one is better by more than ``margin`` on datasets like these.

    Each draw weighs the datasets, and one more with a difference of 0 that the prior adds, by a Dirichlet distribution,
    and asks where the weighted pairwise means mostly lie.

    Parameters
    ----------
    differences
        (d,), variant minus base on each dataset.
    margin
        Differences up to it, either way, do not matter.
    generator, num_draws
        What draws.
    prior
        Weight of the added dataset; the others weigh 1 each.
    higher_is_better
        False for distances and errors.

    Source: Benavoli, Corani, Demsar and Zaffalon, Time for a change, JMLR 2017, section 4.2.
    """
    given = np.asarray(differences, np.float64) * (1 if higher_is_better else -1)
    if len(given) < 2 or np.isnan(given).any() or margin < 0:
        raise DataError(
            f"{len(given)} datasets and margin {margin}: give two defined differences or more, and no less than 0"
        )
    values = np.concatenate([[0.0], given])
    sums = (values[:, None] + values[None, :]) / 2
    weights = generator.dirichlet(np.concatenate([[prior], np.ones(len(given))]), num_draws)
    shares = np.stack(
        [
            np.einsum("bi,ij,bj->b", weights, where.astype(np.float64), weights)
            for where in (sums < -margin, np.abs(sums) <= margin, sums > margin)
        ]
    )
    largest = shares == shares.max(axis=0)
    worse, equal, better = (largest / largest.sum(axis=0)).mean(axis=1).tolist()
    return SignedRank(worse, equal, better)
