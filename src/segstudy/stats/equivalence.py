"""Beyond "not distinguishable": equivalence, non-inferiority, several comparisons at once, ranks.

All of it follows from a :class:`~segstudy.stats.comparison.Difference`: its value, standard error and degrees of freedom.

Letters: k recipes, b resamples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from segstudy.arrays import Values
from segstudy.errors import SegstudyError
from segstudy.stats.comparison import THIS_NETWORK, Difference, holm
from segstudy.stats.resampling import Function, GroupLabels, Networks, checked, chunks

EQUIVALENT = "equivalent within the margin"
NOT_WORSE = "not worse by more than the margin"
OPEN = "undecided"


@dataclass(frozen=True)
class Equivalence:
    """Two one-sided tests of a difference against a margin. Numbers are NaN, and ``verdict`` empty, without interval.

    Attributes
    ----------
    margin, error
        The largest difference that does not matter, and the error rate of each one-sided test.
    verdict
        :data:`EQUIVALENT`, :data:`NOT_WORSE` (by more than the margin) or :data:`OPEN`.
    low, high
        Interval with a nominal coverage of 1 - 2 ``error``. The verdict is equivalent where the margin holds all of it.
    p_equivalent, p_not_worse
        p-values of the two claims.
    margin_equivalent, margin_not_worse
        The smallest margin with which each claim would be made.

    """

    margin: float
    error: float
    verdict: str
    low: float
    high: float
    p_equivalent: float
    p_not_worse: float
    margin_equivalent: float
    margin_not_worse: float


def equivalence(
    difference: Difference, margin: float, *, error: float = 0.05, higher_is_better: bool = True
) -> Equivalence:
    """Test whether variant and base differ by less than ``margin``, or the variant is at least not worse by more.

    Parameters
    ----------
    difference
        Variant minus base. One network against several gives no verdict about a recipe, so none here.
    margin
        Above 0, on the measure's own scale (0.01 is one point of mIoU). Choose it before the results are seen.
    error
        Error rate of each of the two tests; divide it by the number of comparisons.
    higher_is_better
        False for distances and errors.

    Raises
    ------
    SegstudyError
        If the margin is not a number above 0.

    Source: Schuirmann, A comparison of the two one-sided tests procedure, J. Pharmacokinet. Biopharm. 1987.
    """
    if not (0 < margin < math.inf):
        raise SegstudyError(f"margin {margin} must be a number above 0, for instance 0.01")
    if difference.reason or difference.population == THIS_NETWORK:
        return Equivalence(margin, error, "", *[math.nan] * 6)
    value, gain = difference.value, difference.value if higher_is_better else -difference.value
    half = _half_width(difference, 1 - 2 * error)
    p_upper, p_lower = 1 - _below(difference, margin - gain), 1 - _below(difference, gain + margin)
    p_equivalent = max(p_upper, p_lower)
    verdict = EQUIVALENT if p_equivalent <= error else NOT_WORSE if p_lower <= error else OPEN
    return Equivalence(
        margin=margin,
        error=error,
        verdict=verdict,
        low=value - half,
        high=value + half,
        p_equivalent=p_equivalent,
        p_not_worse=p_lower,
        margin_equivalent=abs(value) + half,
        margin_not_worse=max(half - gain, 0.0),
    )


def probability_better(difference: Difference, *, higher_is_better: bool = True) -> float:
    """P(A > B): how much of the confidence distribution lies on the variant's side of 0; NaN without interval.

    NaN also for one network against several: it would be read as a verdict about the recipes.

    It answers "is the variant's true score higher?", and not "does one more network of it win?". Before the study all
    differences count as equally likely; 0.975 goes with an interval whose end touches 0.

    Source: Schweder and Hjort, Confidence, likelihood, probability, 2016.
    """
    if difference.reason or difference.population == THIS_NETWORK:
        return math.nan
    return _below(difference, difference.value if higher_is_better else -difference.value)


def simultaneous(
    differences: Sequence[Difference], level: float = 0.95, limits: tuple[float, float] = (-math.inf, math.inf)
) -> tuple[tuple[float, float], ...]:
    """Intervals ``(low, high)`` that all hold at once with a probability of ``level``: Bonferroni's, single-step.

    They need no assumption about how the comparisons depend on each other, and are wider than the single ones. A
    comparison without interval is not a question and gets NaN.
    """
    tested = sum(not difference.reason for difference in differences)
    found = []
    for difference in differences:
        half = math.nan if difference.reason else _half_width(difference, 1 - (1 - level) / tested)
        low, high = difference.value - half, difference.value + half
        found.append((max(low, limits[0]), min(high, limits[1])) if half == half else (math.nan, math.nan))
    return tuple(found)


def _half_width(difference: Difference, level: float) -> float:
    if difference.low == difference.high:  # the same predictions
        return 0.0
    return float(-special.stdtrit(difference.degrees_of_freedom, (1 - level) / 2)) * difference.standard_error


def _below(difference: Difference, distance: float) -> float:
    """Probability that an error of estimation is below ``distance``."""
    if difference.low == difference.high:
        return 0.5 if distance == 0 else float(distance > 0)
    return float(special.stdtr(difference.degrees_of_freedom, distance / difference.standard_error))


@dataclass(frozen=True)
class Rank:
    """Place of one recipe among k; 1 is the best.

    Attributes
    ----------
    rank
        One more than the number of recipes that are better by the corrected test; recipes that nothing tells apart share
        a rank.
    best, worst
        Places that the tests leave open. All true places lie within theirs with the level's probability.

    """

    rank: int
    best: int
    worst: int


def ranks(values: Sequence[float], p_values: Values, error: float = 0.05, higher_is_better: bool = True) -> list[Rank]:
    """Ranks of k recipes from the p-values (k, k) of all pairs, corrected here by Holm's rule.

    Parameters
    ----------
    values
        (k,), each recipe's score.
    p_values
        (k, k), of the pairwise comparisons; only the part above the diagonal counts. NaN: not tested, hence a tie.
    error
        Probability of any false order.
    higher_is_better
        False for distances and errors.

    Source: Mohamad, Goeman and van Zwet, Simultaneous confidence intervals for ranks, 2019.

    >>> ranks([0.9, 0.8, 0.79], np.array([[1, 0.001, 0.001], [1, 1, 0.6], [1, 1, 1]]))[1:]
    [Rank(rank=2, best=2, worst=3), Rank(rank=2, best=2, worst=3)]
    """
    score = np.asarray(values, np.float64) * (1 if higher_is_better else -1)
    num = len(score)
    rows, columns = np.triu_indices(num, 1)
    apart = np.zeros((num, num), np.bool_)
    apart[rows, columns] = holm(np.asarray(p_values, np.float64)[rows, columns]) <= error
    apart |= apart.T
    beaten_by = (apart & (score[None, :] > score[:, None])).sum(axis=1)
    beats = (apart & (score[None, :] < score[:, None])).sum(axis=1)
    return [Rank(1 + int(up), 1 + int(up), num - int(down)) for up, down in zip(beaten_by, beats, strict=True)]


def rank_shares(
    recipes: Sequence[Networks],
    function: Function,
    generator: np.random.Generator,
    *,
    groups: GroupLabels | None = None,
    higher_is_better: bool = True,
    num_resamples: int = 1000,
) -> Values:
    """How stable an order is: the share (k, k) of resamples in which each recipe (row) takes each place (column).

    Each resample draws images, the same ones for every recipe, and seeds for each recipe. Recipes of equal
    value share the places that they take together. The shares describe; they are not a test.

    Parameters
    ----------
    recipes
        One mapping ``{seed: counts}`` each; all scored on the same images.
    function
        Gives one number.
    generator, num_resamples
        What draws.
    groups
        n labels; images of one label are drawn together.
    higher_is_better
        False for distances and errors.

    """
    sides = [np.stack(list(checked(recipe, groups).values())).astype(np.float64) for recipe in recipes]
    num, num_images = len(sides), sides[0].shape[1]
    shares = np.zeros((num, num))
    for chunk in chunks(num_resamples, num_images + 4 * max(side.size for side in sides) // num_images):
        times, seeds = (
            np.empty((len(chunk), num_images)),
            [np.empty((len(chunk), len(side)), np.intp) for side in sides],
        )
        for b in range(len(chunk)):
            times[b] = generator.multinomial(num_images, np.full(num_images, 1 / num_images))
            for chosen in seeds:
                chosen[b] = generator.integers(0, chosen.shape[1], chosen.shape[1])
        values = np.stack([_means(side, function, times, chosen) for side, chosen in zip(sides, seeds, strict=True)])
        for score in values.T * (1 if higher_is_better else -1):
            above = (score[None, :] > score[:, None]).sum(axis=1)
            alike = (score[None, :] == score[:, None]).sum(axis=1)
            for row, (first, many) in enumerate(zip(above, np.maximum(alike, 1), strict=True)):
                shares[row, first : first + many] += 1 / many
    return shares / num_resamples


def _means(side: Values, function: Function, times: Values, seeds: NDArray[np.intp]) -> Values:
    """Mean (b,) over the drawn ``seeds`` (b, s) of a recipe's counts (s, n, ...), each image drawn ``times`` (b, n)."""
    flat = np.moveaxis(side, 1, 0).reshape(side.shape[1], -1)
    values = function((times @ flat).reshape(len(times), len(side), *side.shape[2:]))
    means: Values = np.take_along_axis(values, seeds, axis=1).mean(axis=1)
    return means
