"""Noise floor and planning: what a study can see, and how many seeds and images a difference needs."""

from __future__ import annotations

from dataclasses import dataclass

from segstudy.stats.resampling import Function, Networks


@dataclass(frozen=True)
class Components:
    """Where the noise of a number comes from: variances of one seed's and one image's contribution.

    The variance of a mean over s seeds and n images is seed / s + image / n + residual / (s n).

    Attributes
    ----------
    seed
        Between networks of one recipe, had they all images; NaN if there was one seed only.
    image
        Between images (or groups), had they all networks; with one seed the residual is part of it.
    residual
        What seed and image have only together; NaN with one seed.
    num_seeds, num_images
        What they were estimated from; ``num_images`` counts groups where there are any.

    """

    seed: float
    image: float
    residual: float
    num_seeds: int
    num_images: int


@dataclass(frozen=True)
class Requirement:
    """What it takes to see a difference with the wanted power.

    Attributes
    ----------
    difference, power, level
        What was asked.
    detectable
        Smallest difference that the present numbers of seeds and images find with that power.
    seeds
        Seeds (of each side) needed at the present number of images; None if no number of seeds is enough, or nothing
        is known about seeds.
    images
        Images needed at the present number of seeds; None if no number is enough.
    floor_seeds, floor_images
        Smallest difference that ever so many seeds (images) could find at the present number of images (seeds).
    table
        ``(seeds, images)`` pairs: for a few numbers of seeds, the images needed; None where no number is enough.
    reason
        What cannot be said and why, a sentence; empty if all can.

    """

    difference: float
    power: float
    level: float
    detectable: float
    seeds: int | None
    images: int | None
    floor_seeds: float
    floor_images: float
    table: tuple[tuple[int, int | None], ...]
    reason: str


def noise_floor(base: Networks, function: Function, *, groups: object = None) -> Components:
    """Components of the difference between two studies of one and the same recipe, from a baseline's seeds alone.

    A variant differs from image to image in its own way too, so that a real comparison needs at least this much.
    """
    raise NotImplementedError


def detectable(
    components: Components, num_seeds: int, num_images: int, power: float = 0.8, level: float = 0.95
) -> float:
    """Smallest true difference that so many seeds and images find with probability ``power``."""
    raise NotImplementedError


def required(
    power: float,
    difference: float,
    components: Components,
    *,
    level: float = 0.95,
    seeds: tuple[int, ...] = (1, 2, 3, 5, 10),
) -> Requirement:
    """How many seeds and how many images it takes to see ``difference`` with probability ``power``."""
    raise NotImplementedError
