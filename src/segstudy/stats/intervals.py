"""A number with its interval: over images for one network, over images and seeds for several."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    effective_images
        Number of images (groups) that the uncertainty really rests on: that of equally weighty ones. Far below
        ``num_groups`` where few images decide.
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
    groups: Sequence[object] | NDArray[Any] | None = None,
    level: float = 0.95,
    limits: tuple[float, float] = (0.0, 1.0),
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

    Raises
    ------
    DataError
        If networks have different numbers of images, or labels of groups are not as many as images.

    """
    raise NotImplementedError


def estimate_each(
    networks: Networks,
    function: Function,
    *,
    groups: Sequence[object] | NDArray[Any] | None = None,
    level: float = 0.95,
    limits: tuple[float, float] = (0.0, 1.0),
) -> tuple[Estimate, ...]:
    """As :func:`estimate`, for a function that gives several numbers (..., m), one for each class say."""
    raise NotImplementedError
