"""Adding seeds one by one with the error under control: a group-sequential test over numbers of seeds.

A study that looks after each seed and stops at the first p-value of 0.05 errs more often than 5 %. Here the level of
each look is smaller, so that the chance of any false verdict over all looks is at most the error rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import special

from segstudy.arrays import Values
from segstudy.errors import SegstudyError
from segstudy.stats.comparison import BETTER, WORSE, Difference
from segstudy.stats.planning import detectable

DECIDED, CONTINUE, STOP = "decided", "continue", "stop"
_DRAWS = 40_000


@dataclass(frozen=True)
class Decision:
    """The decision after a look.

    Attributes
    ----------
    action
        :data:`DECIDED` (the verdict stands), :data:`CONTINUE` (train one more seed of each side) or :data:`STOP` (no
        further seed is allowed, or none is likely to decide).
    verdict
        ``"better"``, ``"worse"``, or empty.
    num_seeds, at_most
        Seeds of each side now, and the most that may be.
    look_level
        p-value at or below which this look decides.
    p_value
        The one that was looked at.
    reason
        A clause that says why.

    """

    action: str
    verdict: str
    num_seeds: int
    at_most: int
    look_level: float
    p_value: float
    reason: str


def look_levels(first: int = 2, at_most: int = 10, error: float = 0.05) -> dict[int, float]:
    """p-value that each look, after so many seeds of each side, must reach: proportional to the number of seeds.

    Found by simulating independent normally distributed seeds of equal variance, the case with the least agreement
    between looks: noise of the images is common to all looks, so that it makes fewer of them err.

    Raises
    ------
    SegstudyError
        If the numbers of seeds make no sense.

    """
    if not 2 <= first <= at_most:
        raise SegstudyError(f"looks from {first} to {at_most} seeds: start with 2 or more and end with no fewer")
    factor = _factor(first, at_most, error)
    return {s: error * factor * s / at_most for s in range(first, at_most + 1)}


@cache
def _factor(first: int, at_most: int, error: float) -> float:
    """By how much to scale the levels error x s / at_most for the chance of any rejection to be ``error``."""
    least = (_null_p_values(first, at_most) * (at_most / np.arange(first, at_most + 1))).min(axis=1)
    return min(float(np.quantile(least, error)) / error, 1.0)


def _null_p_values(first: int, at_most: int) -> Values:
    """Welch's p-values (b, looks) of two alike recipes whose seeds arrive one by one."""
    rng = np.random.default_rng([first, at_most])
    drawn = rng.normal(size=(2, _DRAWS, at_most))
    count = np.arange(1, at_most + 1)
    mean = drawn.cumsum(axis=2) / count
    squares = (drawn**2).cumsum(axis=2) - count * mean**2
    looks = slice(first - 1, None)
    parts = (squares / np.maximum(count - 1, 1) / count)[..., looks]
    total = parts.sum(axis=0)
    degrees = total**2 / (parts**2 / (count[looks] - 1)).sum(axis=0)
    p_values: Values = 2 * special.stdtr(degrees, -np.abs(mean[0] - mean[1])[:, looks] / np.sqrt(total))
    return p_values


def sequential_decision(
    difference: Difference,
    *,
    first: int = 2,
    at_most: int = 10,
    error: float = 0.05,
    questions: int = 1,
    futile_below: float | None = None,
    higher_is_better: bool = True,
) -> Decision:
    """Say whether a comparison is decided, needs one more seed of each side, or should stop.

    Call it once for each number of seeds from ``first`` on, with the same settings. Its error rate holds however the
    study goes on, as long as no look is taken twice.

    Parameters
    ----------
    difference
        Variant minus base, as many seeds on both sides.
    first, at_most
        Seeds at the first and the last possible look.
    error, questions
        Chance of a false verdict over all looks, and comparisons that share it (Bonferroni).
    futile_below
        Stop early where ``at_most`` seeds would find even a difference of this size in fewer than four of five studies,
        or None for never. It saves runs and cannot raise the error.
    higher_is_better
        False for distances and errors.

    Raises
    ------
    SegstudyError
        If the two sides have different numbers of seeds, or not between ``first`` and ``at_most``.

    """
    seeds = difference.num_seeds_variant
    if seeds != difference.num_seeds_base or not first <= seeds <= at_most:
        raise SegstudyError(
            f"a sequential decision needs as many seeds on both sides, from {first} to {at_most}; there are {seeds} and "
            f"{difference.num_seeds_base}"
        )
    own_level = look_levels(first, at_most, error / questions)[seeds]

    def decide(action: str, reason: str, verdict: str = "") -> Decision:
        return Decision(action, verdict, seeds, at_most, own_level, difference.p_value, reason)

    if difference.p_value <= own_level:
        verdict = BETTER if (difference.value > 0) == higher_is_better else WORSE
        return decide(DECIDED, f"p is at most {own_level:.2g}, the level of this look", verdict)
    if seeds == at_most:
        return decide(STOP, f"{at_most} seeds did not decide")
    noise = difference.components
    if futile_below is not None and noise is not None:
        seen = detectable(noise, at_most, noise.num_images, level=1 - error / questions)
        if seen > futile_below:
            return decide(STOP, f"{at_most} seeds would show {seen:.2g}, and not the {futile_below:g} that matter")
    return decide(CONTINUE, f"p is above {own_level:.2g}, the level of this look")
