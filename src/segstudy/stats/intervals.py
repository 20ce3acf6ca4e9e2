"""A number with its interval: over images for one network, over images and seeds for several.

Letters: s seeds, n images (or groups), m values of a function.

An interval is Student's, on a scale without ends (the logit for what lies between 0 and 1), from the jackknife's
standard error and the effective number of images. Simulated, this holds its coverage where percentile, BCa and
studentised bootstraps do not; ``docs/explanation/uncertainty.md`` has the figures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from segstudy.arrays import Values
from segstudy.stats.resampling import Function, GroupLabels, Networks, checked, influences
from segstudy.stats.variance import Arm, Spread, spread_of, spread_of_folds

IMAGES, IMAGES_AND_SEEDS = "images", "images and seeds"
AT_LIMIT = "the value is at its limit, where the images do not show how much it varies"
TOO_WIDE = "the images are too few, or too unlike, to bound it within a factor of ten"
TOO_FEW = (
    "fewer than 100 images do not show how far the worst ones lie; report the median or the share of failures instead"
)
MIN_FOR_DISTANCES = 100  # below it a mean distance's simulated coverage falls to 0.36 where 2 % of images fail
_MOST_FACTOR = 10.0  # of the bounds of what has no upper limit (a distance) from its value; beyond it they say nothing


@dataclass(frozen=True)
class Estimate:
    """A number and how sure it is. Bounds are NaN where no interval can be defended; ``reason`` then says why.

    Attributes
    ----------
    value
        Mean over seeds of the function of counts merged over all images.
    low, high
        Bounds of the interval, NaN together.
    level
        Its nominal coverage, for instance 0.95.
    standard_error, degrees_of_freedom
        Of ``value``, on its own scale. The interval is Student's with these, on the scale of ``method``.
    seed_values
        The function's value for each seed, in order of seeds.
    seed_sd
        Their standard deviation (divisor s - 1); NaN for one seed.
    effective_images
        Number of images (groups) that the uncertainty really rests on: that of equally weighty ones. Far below
        ``num_groups`` where few images decide.
    num_images, num_groups, num_seeds
        ``num_groups`` equals ``num_images`` where images are independent.
    population
        What the interval speaks about: ``"images"`` (this network, on images like these) or ``"images and seeds"``
        (the recipe: networks trained like these, on images like these).
    method
        ``"t"``; empty without interval.
    reason
        Why there is no interval, a clause; empty where there is one.

    """

    value: float
    low: float
    high: float
    level: float
    standard_error: float
    degrees_of_freedom: float
    seed_values: tuple[float, ...]
    seed_sd: float
    effective_images: float
    num_images: int
    num_groups: int
    num_seeds: int
    population: str
    method: str
    reason: str


def estimate(
    networks: Networks,
    function: Function,
    *,
    groups: GroupLabels | None = None,
    level: float = 0.95,
    limits: tuple[float, float] = (0.0, 1.0),
    folds: GroupLabels | None = None,
) -> Estimate:
    """Value and interval of a function that gives one number. Nothing is drawn at random.

    Parameters
    ----------
    networks, function
        See :mod:`segstudy.stats`.
    groups
        n labels; images of one label belong together (patient, video, city). None: all images are independent.
    level
        Nominal coverage.
    limits
        Smallest and largest value that the function can take; (0, inf) for distances, (-inf, inf) for none.
    folds
        n labels; images of one label were tested by one network of cross-validation. The interval then rests on the
        variance between folds, and groups, which lie within folds, play no part.

    Raises
    ------
    DataError
        If networks have different numbers of images, or labels of groups are not as many as images.
    ValueError
        If a value is outside ``limits``.

    """
    return estimate_each(
        networks, lambda merged: function(merged)[..., None], groups=groups, level=level, limits=limits, folds=folds
    )[0]


def estimate_each(
    networks: Networks,
    function: Function,
    *,
    groups: GroupLabels | None = None,
    level: float = 0.95,
    limits: tuple[float, float] = (0.0, 1.0),
    folds: GroupLabels | None = None,
) -> tuple[Estimate, ...]:
    """As :func:`estimate`, for a function that gives several numbers (..., m), one for each class say."""
    arm = measure(checked(networks, groups if folds is None else folds), function)
    value, spread = arm.values.mean(axis=0), spread_of([arm]) if folds is None else spread_of_folds([arm])
    if outside := [float(x) for x in value if x < limits[0] or x > limits[1]]:
        raise ValueError(f"the function gave {outside[0]}, outside its limits {limits[0]} and {limits[1]}")
    open_ended = np.isinf(limits).sum() == 1
    number = spread.num_images if folds is None else _num_images(networks)
    too_few = TOO_FEW if open_ended and number < MIN_FOR_DISTANCES else ""
    reasons = tuple(
        reason or (AT_LIMIT if x in limits else too_few)
        for reason, x in zip(spread.reasons(value, groups is not None), value, strict=True)
    )
    variance = spread.variance()
    centre = np.where([not reason for reason in reasons], value, np.nan)
    low, high = _around(centre, variance.half_width(level), *limits)
    wide = _says_nothing(value, low, high, *limits)
    reasons = tuple(reason or TOO_WIDE * bool(far) for reason, far in zip(reasons, wide, strict=True))
    low, high = np.where(wide, np.nan, low), np.where(wide, np.nan, high)
    bounds = low, high, variance.equivalent_degrees(level)
    return _estimates(arm, spread, bounds, level, _num_images(networks), reasons)


def measure(networks: Networks, function: Function) -> Arm:
    """Values and influences of every network, in the order given."""
    values, effects = zip(*(influences(counts, function) for counts in networks.values()), strict=True)
    return Arm(np.stack(values), np.stack(effects))


def _num_images(networks: Networks) -> int:
    return len(next(iter(networks.values())))


def _around(value: Values, half: Values, least: float, most: float) -> tuple[Values, Values]:
    """Bounds ``value`` -/+ ``half``, taken on a scale on which the limits are infinitely far away."""
    if np.isinf(least) and np.isinf(most):
        return value - half, value + half
    if np.isinf(most):
        with np.errstate(over="ignore"):  # an endless factor is one of those that are too wide
            factor = np.exp(half / (value - least))
        return least + (value - least) / factor, least + (value - least) * factor
    if np.isinf(least):
        high, low = _around(-value, half, -most, np.inf)
        return -low, -high
    share = (value - least) / (most - least)
    step = half / (most - least) / (share * (1 - share))
    low, high = special.expit(special.logit(share) + np.array([-step, step]))
    return least + low * (most - least), least + high * (most - least)


def _says_nothing(value: Values, low: Values, high: Values, least: float, most: float) -> NDArray[np.bool_]:
    """Which intervals of what has one limit only, distances say, have bounds that nothing can be (m,)."""
    if np.isinf(least) == np.isinf(most):
        return np.zeros(value.shape, np.bool_)
    end = most if np.isinf(least) else least
    far: NDArray[np.bool_] = np.maximum(np.abs(high - end), np.abs(low - end)) > _MOST_FACTOR * np.abs(value - end)
    return far


def _estimates(
    arm: Arm,
    spread: Spread,
    bounds: tuple[Values, Values, Values],
    level: float,
    num_images: int,
    reasons: Sequence[str],
) -> tuple[Estimate, ...]:
    low, high, degrees = bounds
    num_seeds = len(arm.values)
    errors = spread.variance().standard_error
    seed_sd = arm.values.std(axis=0, ddof=1) if num_seeds > 1 else np.full(low.shape, np.nan)
    return tuple(
        Estimate(
            value=float(arm.values[:, m].mean()),
            low=float(low[m]),
            high=float(high[m]),
            level=level,
            standard_error=float(errors[m]),
            degrees_of_freedom=float(degrees[m]),
            seed_values=tuple(arm.values[:, m].tolist()),
            seed_sd=float(seed_sd[m]),
            effective_images=float(spread.effective_images[m]),
            num_images=num_images,
            num_groups=spread.num_images,
            num_seeds=num_seeds,
            population=IMAGES_AND_SEEDS if num_seeds > 1 or spread.overlap else IMAGES,
            method="" if reason else "t",
            reason=reason,
        )
        for m, reason in enumerate(reasons)
    )
