"""Variant against baseline on the same images: difference, interval, tests, correction for many questions, verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy.stats.planning import Components
from segstudy.stats.resampling import Function, Networks, Values

BETTER, WORSE, UNDECIDED = "better", "worse", "not distinguishable"


@dataclass(frozen=True)
class Difference:
    """Variant minus baseline, on the same images. Bounds and p-values are NaN where none can be defended.

    Attributes
    ----------
    value
        Mean over the variant's seeds minus mean over the baseline's.
    low, high, level
        Interval of the difference, not corrected for other questions.
    standard_error, degrees_of_freedom
        Of ``value``.
    p_value
        The one that decides. Never below ``level``'s complement while the interval holds 0.
    p_exchange
        Of the permutation test alone: over images for population ``"images"``, over networks for ``"images and seeds"``
        (where its smallest possible value may be too large to decide anything).
    detectable
        Smallest true difference that a study like this finds with probability ``power``, before correction.
    power
        For ``detectable``.
    components
        Variance components of the difference, for :func:`segstudy.stats.planning.required`; None where there is no
        standard error.
    num_images, num_groups
        Images that both have; independent groups among them.
    effective_images
        Number of images (groups) that the difference's uncertainty really rests on.
    num_seeds_variant, num_seeds_base
        Networks of each.
    paired_seeds
        Whether networks of equal seed were compared with each other.
    population
        ``"images"`` (these two networks) or ``"images and seeds"`` (the two recipes).
    method
        Key of the method; empty without interval.
    assumption
        What the interval takes for granted beyond the usual, a sentence; empty if nothing. (One network against
        several: that recipes differ in their seeds alike.)
    reason
        Why there is no interval and no test, a sentence; empty where there is one.

    """

    value: float
    low: float
    high: float
    level: float
    standard_error: float
    degrees_of_freedom: float
    p_value: float
    p_exchange: float
    detectable: float
    power: float
    components: Components | None
    num_images: int
    num_groups: int
    num_seeds_variant: int
    num_seeds_base: int
    effective_images: float
    paired_seeds: bool
    population: str
    method: str
    assumption: str
    reason: str


def compare(
    variant: Networks,
    base: Networks,
    function: Function,
    generator: np.random.Generator,
    *,
    groups: Sequence[object] | NDArray[Any] | None = None,
    level: float = 0.95,
    power: float = 0.8,
    num_permutations: int = 10_000,
) -> Difference:
    """Difference of a function that gives one number.

    Raises
    ------
    DataError
        If the networks have different numbers of images, or labels of groups are not as many as images.

    """
    raise NotImplementedError


def compare_each(
    variant: Networks,
    base: Networks,
    function: Function,
    generator: np.random.Generator,
    *,
    groups: Sequence[object] | NDArray[Any] | None = None,
    level: float = 0.95,
    power: float = 0.8,
    num_permutations: int = 10_000,
) -> tuple[Difference, ...]:
    """As :func:`compare`, for a function that gives several numbers (..., m), one for each class say."""
    raise NotImplementedError


def holm(p_values: Sequence[float] | Values) -> Values:
    """p-values adjusted for a family of questions by Holm's step-down rule; NaN stays NaN and is no question.

    The chance of any false "better" or "worse" in the whole family is then at most the level.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 1979.

    >>> holm([0.01, 0.04, 0.03, float("nan")]).round(2).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    raise NotImplementedError


def verdict(difference: Difference, adjusted_p: float | None = None, higher_is_better: bool = True) -> str:
    """Return ``"better"``, ``"worse"`` or ``"not distinguishable"``; ``""`` where there is no test.

    Parameters
    ----------
    difference
        Variant minus baseline.
    adjusted_p
        Its p-value after :func:`holm` over the family; None: the question was asked alone.
    higher_is_better
        False for distances and errors.

    """
    raise NotImplementedError
