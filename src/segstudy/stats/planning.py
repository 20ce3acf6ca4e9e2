"""Noise floor and planning: what a study can see, and how many seeds and images a difference needs.

A few seeds tell little of how much seeds vary: the variance between three of them comes out at less than a quarter of
the true one in a study out of five, or as nothing at all. So every need is given twice: as estimated, and *to be safe*,
with each variance at its upper 80 % limit.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import special

from segstudy.errors import SegstudyError
from segstudy.stats.intervals import measure
from segstudy.stats.resampling import Function, GroupLabels, Networks, checked
from segstudy.stats.variance import Spread, Variance, image_degrees, spread_of

ONE_SEED = "with one seed nothing is known about how much networks of one recipe differ"
ASSURANCE = 0.8  # that the true noise is no larger than what "to be safe" reckons with
_ENDLESS = 10**9


@dataclass(frozen=True)
class Components:
    """Sources of the noise of a difference: variances of one seed's (of each side) and one image's contribution.

    The variance of a difference over s seeds of each side and n images is seed / s + image / n + residual / (s n).

    Attributes
    ----------
    seed
        Between networks of one recipe, had they seen endlessly many images, both sides added; NaN if there was one
        seed only. 0 where the networks differed by no more than their images explain.
    image
        Between images (or groups), had they been seen by endlessly many networks; with one seed the residual is part
        of it. NaN for the noise floor of one seed.
    residual
        What seed and image have only together, both sides added; NaN with one seed.
    num_seeds, num_images
        What they were estimated from, the smaller number of seeds of the two sides; ``num_images`` counts groups where
        there are any.
    effective_images
        Number of images that the part of the images really rests on.
    seed_variance, seed_degrees
        Variance of the networks' values as it was seen, both sides added, of which ``seed`` is what the images do not
        explain; and its degrees of freedom. NaN with one seed.
    image_degrees
        Degrees of freedom of ``image``; infinite where it is known.
    paired
        Whether networks are compared seed by seed, so that s seeds give s - 1 degrees of freedom. Independent networks
        give nearly twice as many, by Welch's rule.

    """

    seed: float
    image: float
    residual: float
    num_seeds: int
    num_images: int
    effective_images: float
    seed_variance: float
    seed_degrees: float
    image_degrees: float
    paired: bool = False


@dataclass(frozen=True)
class Requirement:
    """The seeds and images that detect a difference with the given power.

    Attributes
    ----------
    difference, power, level
        The wanted power and difference.
    num_seeds, num_images
        The present numbers: what the components were estimated from.
    detectable
        Smallest difference that the present numbers find with that power.
    seeds
        Seeds (of each side) needed at the present number of images; None if no number of seeds is enough, or nothing
        is known about seeds.
    images
        Images (or groups) needed at the present number of seeds; None if no number is enough.
    seeds_safe, images_safe
        The same if the noise is as large as it may well be, see :func:`upper_limits`.
    floor_seeds, floor_images
        What ever so many seeds would still need the difference to be, at the present number of images; what ever so
        many images would, at the present number of seeds. NaN if unknown.
    table
        ``(seeds, images, images to be safe)``: for a few numbers of seeds, the images needed; None where no number is
        enough.
    reason
        What cannot be said or reached and why, sentences; empty if nothing.

    """

    difference: float
    power: float
    level: float
    num_seeds: int
    num_images: int
    detectable: float
    seeds: int | None
    images: int | None
    seeds_safe: int | None
    images_safe: int | None
    floor_seeds: float
    floor_images: float
    table: tuple[tuple[int, int | None, int | None], ...]
    reason: str


def components_of(spread: Spread, num_seeds: int) -> tuple[Components, ...]:
    """Components of each value of a difference whose noise was split by :func:`segstudy.stats.variance.spread_of`."""
    nothing = np.full(spread.image.shape, np.nan)
    seeds = [np.maximum(noise.variance - noise.residual / spread.num_images, 0.0) for noise in spread.seeds]
    seed = np.sum(seeds, axis=0) if seeds else nothing
    seen = np.sum([noise.variance for noise in spread.seeds], axis=0) if seeds else nothing
    residual = np.sum([noise.residual for noise in spread.seeds], axis=0) if seeds else nothing
    degrees = image_degrees(spread.effective_images, spread.num_images)
    own = spread.seeds  # one estimate, or two that are added (Satterthwaite)
    squares = np.sum([noise.variance**2 / noise.degrees for noise in own], axis=0) if own else nothing
    added = np.sum([noise.variance for noise in own], axis=0) if own else nothing
    least = float(own[0].degrees) if own else math.nan
    seed_degrees = np.divide(added**2, squares, out=np.full(squares.shape, least), where=squares > 0)
    return tuple(
        Components(
            seed=float(seed[m]),
            image=float(spread.image[m]),
            residual=float(residual[m]),
            num_seeds=num_seeds,
            num_images=spread.num_images,
            effective_images=float(spread.effective_images[m]),
            seed_variance=float(seen[m]),
            seed_degrees=float(seed_degrees[m]),
            image_degrees=float(degrees[m]),
            paired=len(own) == 1,
        )
        for m in range(len(spread.image))
    )


def noise_floor(base: Networks, function: Function, *, groups: GroupLabels | None = None) -> Components:
    """Components of the difference between two studies of one and the same recipe, from a baseline's seeds alone.

    Two sets of networks of one recipe differ by their seeds only; images as such make no difference between them. A
    variant that is as noisy answers to each image in its own way too, and needs what follows from this at least.
    With one seed nothing is known: every component is NaN.

    Raises
    ------
    DataError
        If networks have different numbers of images, or labels of groups are not as many as images.

    """
    arm = measure(checked(base, groups), lambda merged: function(merged)[..., None])
    spread = spread_of([arm])
    own = components_of(spread, len(base))[0]
    image = 0.0 if len(base) > 1 else math.nan
    return replace(
        own,
        seed=2 * own.seed,
        image=image,
        residual=2 * own.residual,
        seed_variance=2 * own.seed_variance,
        image_degrees=math.inf,
        paired=False,
    )


def upper_limits(components: Components, assurance: float = ASSURANCE) -> Components:
    """The same with each variance at its one-sided upper limit: it is no larger with a probability of ``assurance``.

    Source: Browne, On the use of a pilot sample for sample size determination, Statistics in Medicine 1995.
    """
    c = components
    shared = (
        0.0 if math.isnan(c.residual) else c.residual / c.num_seeds
    )  # what of the images' variance is the residual's
    seen = c.seed_variance * _upper_factor(c.seed_degrees, assurance)
    image = (c.image + shared) * _upper_factor(c.image_degrees, assurance) - shared
    return replace(c, seed_variance=seen, seed=max(seen - c.residual / c.num_images, 0.0), image=max(image, 0.0))


def _upper_factor(degrees: float, assurance: float) -> float:
    """The factor from an estimated variance to its upper limit; NaN stays NaN."""
    return 1.0 if math.isinf(degrees) else float(degrees / special.chdtri(degrees, assurance))


def detectable(
    components: Components, num_seeds: int, num_images: int, power: float = 0.8, level: float = 0.95
) -> float:
    """Smallest true difference that so many seeds (of each side) and images find with probability ``power``.

    NaN where nothing is known about seeds and ``num_seeds`` is not 1; for 1, it is then the smallest difference between
    these two networks (NaN for the noise floor of one seed). Infinite for one seed where seeds are known to differ: one
    network of each tells nothing about recipes. The parts are combined by Banerjee's rule, so that more seeds or images
    never ask for a larger difference; a study of equal numbers of seeds finds it at least as often.
    """
    variance = _variance_of(components, num_seeds, num_images)
    return variance if isinstance(variance, float) else float(variance.detectable(level, power)[0])


def _variance_of(components: Components, num_seeds: int, num_images: int) -> Variance | float:
    """The variance of a difference between so many seeds and images; where it has none, the smallest that is found."""
    known = not math.isnan(components.seed)
    if known and num_seeds < 2:
        return math.inf
    if math.isnan(components.image) or (not known and num_seeds > 1):
        return math.nan
    share = components.effective_images / components.num_images if components.image > 0 else 1.0
    degrees = float(image_degrees(share * num_images, num_images))
    parts, degrees_of = [components.image / num_images], [degrees]
    if known:
        parts.append((components.seed + components.residual / num_images) / num_seeds)
        degrees_of.append(num_seeds - 1.0 if components.paired else _welch_degrees(num_seeds))
    if sum(parts) == 0:
        return 0.0
    degrees_of_parts = np.array([degrees_of]).T
    return Variance(np.array([parts]).T, degrees_of_parts, degrees_of_parts)


def _welch_degrees(num_seeds: int) -> float:
    """Mean of the degrees of freedom that Welch's rule gives to two equally noisy sides of ``num_seeds`` each."""
    half = (num_seeds - 1) / 2
    share = special.betaincinv(half, half, (np.arange(64) + 0.5) / 64) if num_seeds < 1000 else np.array([0.5])
    return float(np.mean((num_seeds - 1) / (share**2 + (1 - share) ** 2)))


def required(
    power: float,
    difference: float,
    components: Components,
    *,
    level: float = 0.95,
    seeds: Sequence[int] = (2, 3, 5, 10, 20),
) -> Requirement:
    """Seeds and images needed to detect ``difference`` with probability ``power``.

    Parameters
    ----------
    power
        Probability of finding the difference, from 0.5 to below 1.
    difference
        True difference to be found, on the measure's own scale (0.01 is one point of mIoU); its sign does not matter.
    components
        Of a comparison (:attr:`segstudy.stats.comparison.Difference.components`) or of :func:`noise_floor`.
    level
        One minus the error rate of the verdict; of several questions, divide the rate by their number.
    seeds
        Numbers of seeds for the table.

    Raises
    ------
    SegstudyError
        If ``power`` or ``difference`` makes no sense.

    """
    if not 0.5 <= power < 1:
        raise SegstudyError(f"power {power} must be from 0.5 to below 1; 0.8 is usual")
    if not (difference != 0 and math.isfinite(difference)):
        raise SegstudyError(f"difference {difference} must be a number other than 0, for instance 0.01")
    wanted, num_seeds, num_images = abs(difference), components.num_seeds, components.num_images

    def smallest(s: int, n: int) -> float:
        return detectable(components, s, n, power, level)

    def seeds_for(noise: Components) -> int | None:
        return _fewest(lambda s: power_of(noise, wanted, s, num_images, level) >= power)

    def images_for(s: int, noise: Components) -> int | None:
        return _fewest(lambda n: power_of(noise, wanted, s, n, level) >= power)

    safe = upper_limits(components)
    found = Requirement(
        difference=wanted,
        power=power,
        level=level,
        num_seeds=num_seeds,
        num_images=num_images,
        detectable=smallest(num_seeds, num_images),
        seeds=seeds_for(components),
        images=images_for(num_seeds, components),
        seeds_safe=seeds_for(safe),
        images_safe=images_for(num_seeds, safe),
        floor_seeds=smallest(_ENDLESS, num_images),
        floor_images=smallest(num_seeds, _ENDLESS),
        table=tuple((s, images_for(s, components), images_for(s, safe)) for s in seeds),
        reason="",
    )
    return replace(found, reason=_what_cannot(components, found))


def _fewest(enough: Callable[[int], bool]) -> int | None:
    """Smallest number from 2 on that is enough, given that more is never worse; None if none is."""
    if not enough(_ENDLESS):
        return None
    high = 2
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return max(high, 2)


def _what_cannot(components: Components, found: Requirement) -> str:
    if math.isnan(components.image):
        return ONE_SEED
    if math.isnan(components.seed):
        return f"{ONE_SEED}; images are counted for distinguishing the two networks, not their recipes"
    causes = []
    if found.seeds is None:
        causes.append(
            f"no number of seeds is enough with {found.num_images} images: they show {found.floor_seeds:.2g} at best"
        )
    if found.images is None:
        causes.append(
            f"no number of images is enough with {found.num_seeds} seeds: they show {found.floor_images:.2g} at best"
        )
    if components.seed == 0:
        causes.append(f"seeds by themselves changed nothing here, which {found.num_seeds} seeds cannot prove")
    return "; ".join(causes)


def power_of(components: Components, difference: float, num_seeds: int, num_images: int, level: float = 0.95) -> float:
    """Probability that so many seeds (of each side) and images find ``difference``; NaN where nothing is known."""
    variance = _variance_of(components, num_seeds, num_images)
    if isinstance(variance, float):
        return math.nan if math.isnan(variance) else float(variance <= abs(difference))
    return float(variance.power(np.array([abs(difference)]), level)[0])


def power_curves(
    components: Components, difference: float, seeds: Sequence[int], images: Sequence[int], level: float = 0.95
) -> list[dict[str, float]]:
    """Rows ``seeds, images, power``, for a frame or a figure: every number of seeds with every number of images."""
    return [
        {"seeds": s, "images": n, "power": power_of(components, difference, s, n, level)} for s in seeds for n in images
    ]


def assume_seed_sd(components: Components, seed_sd: float, *, degrees: float = math.inf) -> Components:
    """Put a seeds' standard deviation from elsewhere (a published table, an earlier study) in the place of one's own.

    Parameters
    ----------
    components
        Of any study, one with a single seed included: their images' part stays.
    seed_sd
        Standard deviation of one recipe's score between seeds, on the measure's scale; both sides are assumed to be equally noisy.
    degrees
        Degrees of freedom of that number, seeds - 1 where it came from; infinite: taken for known.

    Raises
    ------
    SegstudyError
        If the standard deviation is below 0 or no number.

    """
    if not 0 <= seed_sd < math.inf:
        raise SegstudyError(f"a seeds' standard deviation of {seed_sd} must be a number from 0 on, for instance 0.01")
    residual = 0.0 if math.isnan(components.residual) else components.residual
    image = 0.0 if math.isnan(components.image) else components.image
    seen = 2 * seed_sd**2
    return replace(
        components,
        seed=max(seen - residual / components.num_images, 0.0),
        image=image,
        residual=residual,
        seed_variance=seen,
        seed_degrees=degrees,
    )


def next_seeds(
    components: Components, difference: float, *, more: Sequence[int] = (1, 2), power: float = 0.8, level: float = 0.95
) -> list[dict[str, float]]:
    """The gain of further pilot seeds: rows ``seeds, seeds_safe, factor`` for the pilot as it is and with more.

    ``factor`` is what "to be safe" multiplies the seeds' standard deviation with, and ``seeds_safe`` the seeds that are
    then needed if the further ones vary as the present ones do; NaN where no number is enough.
    """
    rows = []
    for added in (0, *more):
        degrees = components.seed_degrees * (components.num_seeds - 1 + added) / max(components.num_seeds - 1, 1)
        known = replace(components, seed_degrees=degrees, num_seeds=components.num_seeds + added)
        needed = required(power, difference, known, level=level, seeds=()).seeds_safe
        rows.append(
            {
                "seeds": known.num_seeds,
                "seeds_safe": math.nan if needed is None else needed,
                "factor": math.sqrt(_upper_factor(degrees, ASSURANCE)),
            }
        )
    return rows
