"""A number with its interval: over images for one network, over images and seeds for several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy.stats.resampling import Function, Networks

IMAGES, IMAGES_AND_SEEDS = "images", "images and seeds"


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
        Of ``value``, on its own scale.
    seed_values
        The function's value for each seed, in order of seeds.
    seed_sd
        Their standard deviation (divisor s - 1); NaN for one seed.
    num_images, num_groups, num_seeds
        ``num_groups`` equals ``num_images`` where images are independent.
    population
        What the interval speaks about: ``"images"`` (this network, on images like these) or ``"images and seeds"``
        (the recipe: networks trained like these, on images like these).
    method
        Key of the interval's method; empty without interval.
    reason
        Why there is no interval, a sentence; empty where there is one.

    """

    value: float
    low: float
    high: float
    level: float
    standard_error: float
    degrees_of_freedom: float
    seed_values: tuple[float, ...]
    seed_sd: float
    num_images: int
    num_groups: int
    num_seeds: int
    population: str
    method: str
    reason: str


def estimate(
    networks: Networks,
    function: Function,
    generator: np.random.Generator,
    *,
    groups: Sequence[object] | NDArray[Any] | None = None,
    level: float = 0.95,
    num_resamples: int = 10_000,
) -> Estimate:
    """Value and interval of a function that gives one number.

    Raises
    ------
    DataError
        If networks have different numbers of images, or labels of groups are not as many as images.

    """
    raise NotImplementedError


def estimate_each(
    networks: Networks,
    function: Function,
    generator: np.random.Generator,
    *,
    groups: Sequence[object] | NDArray[Any] | None = None,
    level: float = 0.95,
    num_resamples: int = 10_000,
) -> tuple[Estimate, ...]:
    """As :func:`estimate`, for a function that gives several numbers (..., m), one for each class say; from one resampling."""
    raise NotImplementedError
