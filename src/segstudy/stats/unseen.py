"""Risks that a mean and its interval hide: unseen failures, seeds of two kinds; robust estimands.

Letters: n images (or groups), s seeds.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from segstudy.arrays import Values
from segstudy.errors import DataError

FALSE_ALARMS = 0.01  # how often seeds of normally distributed values are flagged as two kinds
_DRAWS = 20_000


def unseen_failures(num_images: int, num_failures: int = 0, level: float = 0.95) -> float:
    """Upper bound on the true share of failures after ``num_failures`` among ``num_images``; about 3/n after none.

    Exact and one-sided. A mean's interval cannot count on failures that no image showed; this bound says how many there
    may still be.

    Source: Clopper and Pearson, Biometrika 1934; the rule of three: Hanley and Lippman-Hand, JAMA 1983.

    >>> round(unseen_failures(100), 4)
    0.0295
    """
    if not 0 <= num_failures <= num_images or num_images < 1:
        raise DataError(
            f"{num_failures} failures among {num_images} images: give at least one image, and no more failures"
        )
    if num_failures == num_images:
        return 1.0
    return float(special.betaincinv(num_failures + 1, num_images - num_failures, level))


@dataclass(frozen=True)
class Share:
    """A share with its exact interval: ``value``, ``low``, ``high``; ``num_failures`` of ``num_images``."""

    value: float
    low: float
    high: float
    num_failures: int
    num_images: int


def failure_share(values: Sequence[float] | Values, threshold: float, level: float = 0.95) -> Share:
    """P(failure): the share of images whose value is below ``threshold``, with Clopper and Pearson's interval.

    Parameters
    ----------
    values
        (n,), one value an image (or group); NaN is not an image.
    threshold
        Below it an image has failed, an IoU of 0.1 for instance. Choose it before the results are seen.
    level
        Coverage, which the exact interval never falls short of for independent images.

    """
    given = _given(values)
    failed, number = int((given < threshold).sum()), len(given)
    tail = (1 - level) / 2
    low = 0.0 if failed == 0 else float(special.betaincinv(failed, number - failed + 1, tail))
    return Share(failed / number, low, unseen_failures(number, failed, 1 - tail), failed, number)


@dataclass(frozen=True)
class SeedSplit:
    """Whether seeds fall into two kinds. ``below`` and ``above`` are their numbers on the two sides of the widest gap.

    ``p_value`` is the chance of so wide a gap among as many normally distributed seeds; ``split`` is whether that is at
    most :data:`FALSE_ALARMS`. With fewer than four seeds nothing can be said: NaN and False.
    """

    split: bool
    p_value: float
    below: int
    above: int


def split_seeds(values: Sequence[float]) -> SeedSplit:
    """Flag seeds of two kinds, as where some trainings fail: the widest gap between values, over all that lie within kinds.

    An interval over a handful of seeds is not to be trusted where some fail. Report P(failure) of a training instead, or
    train more seeds.

    >>> split_seeds([0.81, 0.80, 0.82, 0.31, 0.815]).below
    1
    """
    given = np.sort(_given(values))[None]
    if given.shape[1] < 4:
        return SeedSplit(False, math.nan, 0, 0)
    gap, at = _widest(given)
    null = _null_gaps(given.shape[1])
    p_value = float((1 + (null >= gap[0]).sum()) / (1 + len(null)))
    return SeedSplit(p_value <= FALSE_ALARMS, p_value, int(at[0]) + 1, given.shape[1] - int(at[0]) - 1)


def _widest(ordered: Values) -> tuple[Values, Values]:
    """Widest gap over the root of the squares within the two groups that it makes, (b,), and its place."""
    gaps = np.diff(ordered, axis=1)
    at = gaps.argmax(axis=1)
    below = np.arange(ordered.shape[1]) <= at[:, None]
    within = np.zeros(len(ordered))
    for side in (below, ~below):
        middle = np.where(side, ordered, 0).sum(axis=1) / side.sum(axis=1)
        within += np.where(side, (ordered - middle[:, None]) ** 2, 0).sum(axis=1)
    widest = gaps.max(axis=1)
    ratio = np.divide(widest, np.sqrt(within), out=np.full(widest.shape, np.inf), where=within > 0)
    return np.where(widest == 0, 0.0, ratio), at


@cache
def _null_gaps(num_seeds: int) -> Values:
    drawn = np.random.default_rng(num_seeds).normal(size=(_DRAWS, num_seeds))
    return _widest(np.sort(drawn, axis=1))[0]


@dataclass(frozen=True)
class Robust:
    """A robust estimand with its interval: ``value``, ``low``, ``high``; bounds are NaN where ``reason`` says why."""

    value: float
    low: float
    high: float
    num_images: int
    reason: str


def median(values: Sequence[float] | Values, level: float = 0.95) -> Robust:
    """Median over images, with the interval between two order statistics; exact for any distribution, never too short.

    The median image says what usually happens. It hides failures by design: report :func:`failure_share` with it.

    Parameters
    ----------
    values
        (n,), one value an image (or group); NaN is not an image.
    level
        Least coverage. Below six images no interval reaches 0.95.

    Source: Thompson, Ann. Math. Statist. 1936.
    """
    given = np.sort(_given(values))
    number = len(given)
    tails = special.bdtr(np.arange(number), number, 0.5)  # chance that k values or fewer lie below the true median
    k = int((tails <= (1 - level) / 2).sum())
    value = float(np.median(given))
    if k == 0:
        return Robust(value, math.nan, math.nan, number, f"{number} images are too few for an interval of the median")
    return Robust(value, float(given[k - 1]), float(given[number - k]), number, "")


def trimmed_mean(values: Sequence[float] | Values, share: float = 0.1, level: float = 0.95) -> Robust:
    """Mean over images without the lowest and highest ``share``, and its interval from the winsorised variance.

    Another question than the mean's: what images score that are neither among the worst nor among the best.

    Source: Tukey and McLaughlin, Sankhya A 1963.
    """
    if not 0 <= share < 0.5:
        raise DataError(f"the trimmed share {share} must be from 0 to below 0.5; 0.1 is usual")
    given = np.sort(_given(values))
    number, cut = len(given), int(share * len(given))
    left = number - 2 * cut
    value = float(given[cut : number - cut].mean())
    if left < 3:
        return Robust(value, math.nan, math.nan, number, f"{number} images leave {left} after trimming")
    clipped = np.clip(given, given[cut], given[number - cut - 1])
    if clipped[0] == clipped[-1]:
        return Robust(value, math.nan, math.nan, number, "all values that are left are the same")
    error = math.sqrt(((clipped - clipped.mean()) ** 2).sum() / (left * (left - 1)))
    half = -float(special.stdtrit(left - 1, (1 - level) / 2)) * error
    return Robust(value, value - half, value + half, number, "")


def _given(values: Sequence[float] | Values) -> Values:
    array = np.asarray(values, np.float64)
    given: Values = array[~np.isnan(array)]
    if not len(given):
        raise DataError("there is no value of any image")
    return given
