"""The variance of a number over images and seeds, in independent parts, and the interval and p-value that follow.

Letters: p parts, s seeds, n images (or groups), m values of a function.

Over images alone there is one part. Its degrees of freedom are not n - 1 but follow from the *effective number of
images*, because few images make most of a score's error. Over images and seeds, every network sees the same images, so
that a value has a part from its seeds and a part from the images, each with degrees of freedom of its own.

Where both sides of a difference have as many seeds, the test inverts the interval, so the two agree. Elsewhere the test
takes the side of caution, because simulated intervals miss their level there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from scipy import special

from segstudy.arrays import Values

# Below this effective number, one image decides so much that an interval says nothing.
MIN_EFFECTIVE = 1.5

_SMALLEST_P = 1e-12
_OWN = 1.75  # power of a part's share with which its own quantile counts in an interval
_POINTS = {1: 500, 2: 50, 3: 16}  # at which the distribution of each part's estimate is taken, by number of parts


@dataclass(frozen=True)
class Variance:
    """Independent parts of a number's variance: ``parts`` and their degrees of freedom, all (p, m).

    The first part is of the images, the others, none to two, of the seeds of one or two recipes. ``degrees`` are for
    intervals, ``test_degrees``, never more, for tests. ``agree``: the test inverts the interval, and ``test_degrees``
    play no part.
    """

    parts: Values
    degrees: Values
    test_degrees: Values
    agree: bool = False

    @property
    def standard_error(self) -> Values:
        """(m,)."""
        error: Values = np.sqrt(self.parts.sum(axis=0))
        return error

    def half_width(self, level: float) -> Values:
        """Half the interval's width, (m,): Student's with one part.

        With several parts there is no exact interval. Satterthwaite's takes their sum for one estimate, which covers
        too little where few seeds make most of the variance; Banerjee's (see :meth:`p_value`) is too wide where they
        do not. Here each part's own squared quantile counts by a power of the part's share of the sum, Satterthwaite's
        by the rest, and Banerjee's width is never exceeded. The seeds of two recipes are first made one part in the same
        way: with equal numbers of seeds that is Welch's, the more unequal they are the lower the power. On normally
        distributed data all this covers 0.935 to 0.98 with two seeds on a side and 0.95 to 0.97 with more.

        Sources: Satterthwaite, An approximate distribution of estimates of variance components, Biometrics 1946; Welch,
        The generalization of Student's problem, Biometrika 1947; the powers were found by simulation
        (``docs/explanation/uncertainty.md``).
        """
        return self._width((1 - level) / 2)

    def _width(self, tail: float | Values) -> Values:
        parts, degrees, squares = self.parts, self.degrees, special.stdtrit(self.degrees, tail) ** 2
        if len(parts) == 3:
            uneven = 1 - degrees[1:].min(axis=0) / degrees[1:].max(axis=0)
            seeds = _together(parts[1:], degrees[1:], squares[1:], tail, uneven / _OWN)
            parts, degrees, squares = (
                np.stack([x[0], y]) for x, y in zip((parts, degrees, squares), seeds, strict=True)
            )
        if len(parts) == 1:
            width: Values = np.sqrt(parts[0] * squares[0])
            return width
        total, _, square = _together(parts, degrees, squares, tail, np.full(parts.shape[1:], 1 / _OWN))
        width = np.sqrt(total * square)
        return width

    def p_value(self, value: Values) -> Values:
        """p-value (m,) of a test that the true value is 0; not below 1e-12.

        Where ``agree`` holds, it is one minus the highest level whose interval leaves out 0. Elsewhere it is the
        smallest error rate at which ``value`` (m,) is further from 0 than the root of the parts' sum, each times its own
        squared quantile of t. With one part this is Student's test. With several it errs no more often than it says on
        normally distributed data, whatever the true parts are, and it is at 1 - level or below only where the interval
        leaves out 0.

        Source: Banerjee, On confidence interval for two-means problem based on separate estimates of variances and
        tabulated values of t-table, Sankhya A 1961.
        """
        distance, least = np.abs(value), np.full(value.shape, _SMALLEST_P)
        return _smallest(lambda p: self._critical(p / 2) < distance, least, np.ones(()))

    def _critical(self, tail: float | Values) -> Values:
        """The critical value (m,) of the test at an error rate of twice ``tail``."""
        return self._width(tail) if self.agree else _cautious(self.parts, self.test_degrees, tail)

    def equivalent_degrees(self, level: float) -> Values:
        """Degrees of freedom (m,) with which Student's interval from the standard error alone is just as wide."""
        tail = (1 - level) / 2
        error = self.standard_error
        wanted = np.divide(self.half_width(level), error, out=np.full(error.shape, np.nan), where=error > 0)
        return _smallest(
            lambda degrees: -special.stdtrit(degrees, tail) <= wanted,
            self.degrees.min(axis=0),
            self.degrees.sum(axis=0),
        )

    def power(self, value: Values, level: float) -> Values:
        """Probability (m,) that a test with an error rate of 1 - ``level`` finds a true ``value`` (m,).

        The parts are treated as the true ones. A study estimates them, each with its degrees of freedom, so its critical
        value varies; the probability is the mean over these.
        """
        return _chance(value, self._critical_values(level), self.standard_error)

    def detectable(self, level: float, power: float) -> Values:
        """Smallest true value (m,) whose :meth:`power` is at least ``power``."""
        least, error = self._critical_values(level), self.standard_error
        highest = least.max(axis=0) + 10 * error
        return _smallest(lambda value: _chance(value, least, error) >= power, 0.1 * error, highest)

    def _critical_values(self, level: float) -> Values:
        """Critical values (points, m) of studies with an error rate of 1 - ``level``, each equally likely."""
        number, tail = len(self.parts), (1 - level) / 2
        points = (np.arange(_POINTS[number]) + 0.5) / _POINTS[number]
        of_parts = self.degrees if self.agree else self.test_degrees
        drawn = [
            part * special.chdtri(degrees, points[:, None]) / degrees
            for part, degrees in zip(self.parts, of_parts, strict=True)
        ]
        chosen = np.stack(np.meshgrid(*[np.arange(len(points))] * number, indexing="ij")).reshape(number, -1)
        estimated = np.stack([values[rows] for values, rows in zip(drawn, chosen, strict=True)])
        if not self.agree:
            return _cautious(estimated, of_parts[:, None], tail)
        parts, degrees = (
            x.reshape(number, -1) for x in (estimated, np.broadcast_to(of_parts[:, None], estimated.shape))
        )
        return Variance(parts, degrees, degrees, True)._width(tail).reshape(estimated.shape[1:])


def _together(
    parts: Values, degrees: Values, squares: Values, tail: float | Values, flatness: Values
) -> tuple[Values, Values, Values]:
    """Sum of two parts, its degrees of freedom and its squared quantile, each (m,).

    The quantile is a mean of Satterthwaite's, which a power 1 / ``flatness`` (m,) of each part's share gives to the
    part's own (``squares``), and no more than makes Banerjee's width.
    """
    total = parts.sum(axis=0)
    shares = np.divide(parts, total, out=np.zeros(parts.shape), where=total > 0)
    together = 1 / np.maximum((shares**2 / degrees).sum(axis=0), 1 / degrees.sum(axis=0))
    power = np.divide(1, flatness, out=np.full(flatness.shape, np.inf), where=flatness > 0)
    own = shares**power
    mixed = (own * squares).sum(axis=0) + (1 - own.sum(axis=0)) * special.stdtrit(together, tail) ** 2
    return total, together, np.minimum(mixed, (shares * squares).sum(axis=0))


def _cautious(parts: Values, degrees: Values, tail: float | Values) -> Values:
    """Root of the sum of ``parts`` (p, ..., m), each times its own squared quantile of t, (..., m)."""
    width: Values = np.sqrt((special.stdtrit(degrees, tail) ** 2 * parts).sum(axis=0))
    return width


def _chance(value: Values, least: Values, error: Values) -> Values:
    """Probability (m,) that an estimate of ``value`` (m,) is above the critical value, a mean over ``least`` (points, m)."""
    distance = np.divide(value - least, error, out=np.full(least.shape, np.nan), where=error > 0)
    chance: Values = special.ndtr(distance).mean(axis=0)
    return chance


def _smallest(reached: Callable[[Values], Any], low: Values, high: Values) -> Values:
    """Smallest x in [low, high], both above 0, from which on ``reached(x)`` holds; ``high`` where it never does."""
    low, high = np.broadcast_arrays(low, high)
    for _ in range(50):
        middle = np.sqrt(low * high)
        below = reached(middle)
        low, high = np.where(below, low, middle), np.where(below, middle, high)
    return high


def effective_number(influences: Values) -> Values:
    """How many images (m,) the spread of ``influences`` (n, m) really rests on: (sum u^2)^2 / sum u^4.

    1 if one image has all the influence, n if all have the same; a third of n where influences are normally
    distributed, less where a few images that fail outright make most of the error. NaN without any influence.

    >>> effective_number(np.array([[1.0, 0.0], [-1.0, 0.0], [1.0, 5.0], [-1.0, 0.0]])).tolist()
    [4.0, 1.0]
    """
    squares = influences**2
    top, bottom = squares.sum(axis=0) ** 2, (squares**2).sum(axis=0)
    number: Values = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 0)
    return number


@dataclass(frozen=True)
class Arm:
    """Networks of one recipe: each seed's value, (s, m), and each image's influence on it, (s, n, m)."""

    values: Values
    influences: Values


@dataclass(frozen=True)
class SeedNoise:
    """Variance between the seeds of one recipe, for the mean over ``num_seeds`` of its networks.

    ``variance`` (m,) between the values of seeds and ``residual`` (m,), what seed and image have only together;
    ``degrees`` of freedom of the first.
    """

    variance: Values
    residual: Values
    degrees: int
    num_seeds: int


@dataclass(frozen=True)
class Spread:
    """Sources of a number's noise: ``seeds``, one entry a recipe (none if there was one network of each).

    ``image`` (m,) is the variance between images without the residual's share, ``effective_images`` (m,) the number of
    images that it rests on; ``difference`` tells whether the number is one between two recipes. For folds, which stand
    in the place of images, ``overlap`` is the number of test over training images of a fold, and 0 otherwise.
    """

    seeds: tuple[SeedNoise, ...]
    image: Values
    effective_images: Values
    num_images: int
    difference: bool
    overlap: float = 0.0

    def variance(self, floored: bool = False) -> Variance:
        """Variance of the number; ``floored``: chance may not make a seed's part smaller than its residual alone.

        Folds share training images, so their scores vary together: ``overlap`` is added to one over their number.

        Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 2003.
        """
        if self.overlap:
            part = (self.image * (1 / self.num_images + self.overlap))[None]
            degrees = np.full(part.shape, self.num_images - 1.0)
            return Variance(part, degrees, degrees, agree=True)
        parts = [self.image / self.num_images]
        for noise in self.seeds:
            least = noise.residual / self.num_images if floored else 0.0
            parts.append(np.maximum(noise.variance, least) / noise.num_seeds)
        of_seeds = [np.full(self.image.shape, float(noise.degrees)) for noise in self.seeds]
        for_tests = image_degrees(self.effective_images, self.num_images)
        of_images = difference_degrees(self.effective_images, self.num_images) if self.difference else for_tests
        degrees, test_degrees = np.stack([of_images, *of_seeds]), np.stack([for_tests, *of_seeds])
        return Variance(np.stack(parts), degrees, test_degrees, agree=len({n.num_seeds for n in self.seeds}) == 1)

    def reasons(self, value: Values, grouped: bool) -> tuple[str, ...]:
        """Why no interval around ``value`` (m,) can be defended, a clause for each; empty where one can be."""
        images, image = ("groups of images", "group") if grouped else ("images", "image")
        if self.overlap:
            images, image = "folds", "fold"

        def reason(x: float, variance: float, effective: float) -> str:
            if np.isnan(x):
                return "the value is undefined"
            if self.num_images == 1:
                return f"there is one {image} only"
            if np.isnan(variance):
                return f"the value rests on a single {image}, without which it is undefined"
            if np.isnan(effective):
                return f"the value is the same whichever {image} is left out, so that nothing shows how much it varies"
            if effective < MIN_EFFECTIVE:
                return f"of {self.num_images} {images}, one alone makes almost all of the uncertainty"
            return ""

        return tuple(map(reason, value, self.image, self.effective_images))


def image_degrees(effective_images: Any, num_images: int) -> Any:
    """Degrees of freedom of a variance over images: 1.5 x (effective number - 1), between 1 and n - 1.

    For normally distributed influences the variance's own would be 3 x effective number. Skew ones need fewer, and 1.5
    was found by simulation (``docs/explanation/uncertainty.md``); the 1 is for classes in a few images only, where an
    effective number of 2 may be no more than two images.
    """
    return np.clip(1.5 * (effective_images - 1), 1, num_images - 1)


def difference_degrees(effective_images: Any, num_images: int) -> Any:
    """As :func:`image_degrees`, for the interval of a difference: 2 x (effective number - 1)^1.25.

    Influences on a difference are less skew than those on a score, for either side may be the better one on an image.
    Found by simulation likewise.
    """
    return np.clip(2 * np.maximum(effective_images - 1, 0) ** 1.25, 1, num_images - 1)


def spread_of(arms: Sequence[Arm], difference: bool = False) -> Spread:
    """Split the noise of the sum of the arms' means; for a ``difference``, the second comes with its sign turned.

    Two-way analysis of variance with one observation a cell: rows are seeds, columns are images, and an observation is
    an image's influence. An arm of one network has no noise of seeds: what follows is about that very network.

    Source: Searle, Casella and McCulloch, Variance components, 1992 (two-way crossed classification, random effects).
    """
    noises = [_seed_noise(arm) for arm in arms if len(arm.values) > 1]
    influences = np.sum([arm.influences.mean(axis=0) for arm in arms], axis=0)
    num_images = len(influences)
    between = (influences**2).sum(axis=0) / (num_images - 1)
    shared = sum((noise.residual / noise.num_seeds for noise in noises), np.zeros(between.shape))
    return Spread(
        seeds=tuple(noises),
        image=np.maximum(between - shared, 0.0),
        effective_images=effective_number(influences),
        num_images=num_images,
        difference=difference,
    )


def spread_of_folds(arms: Sequence[Arm], difference: bool = False) -> Spread:
    """The same for folds in the place of images: seeds are averaged in each fold, and variance is between folds alone.

    k equal folds are tested on 1 / (k - 1) as many images as they are trained on.
    """
    means = [Arm(arm.values.mean(axis=0)[None], arm.influences.mean(axis=0)[None]) for arm in arms]
    spread = spread_of(means, difference)
    return replace(spread, overlap=1 / max(spread.num_images - 1, 1))


def _seed_noise(arm: Arm) -> SeedNoise:
    seeds, images = arm.influences.shape[:2]
    rest = arm.influences - arm.influences.mean(axis=0)
    residual = (rest**2).sum(axis=(0, 1)) / ((seeds - 1) * (images - 1))
    return SeedNoise(arm.values.var(axis=0, ddof=1), residual, seeds - 1, seeds)
