"""Seeds and images that a difference needs, from the noise of a study's results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from segstudy.document import finite
from segstudy.errors import SegstudyError
from segstudy.measures import name_of
from segstudy.results import StudyResults
from segstudy.stats.planning import Components, assume_seed_sd, next_seeds, noise_floor, power_curves, required

CURVE_SEEDS = (2, 3, 5, 10)
CURVE_IMAGES = (0.5, 1, 2, 4)  # times the images that there are


@dataclass(frozen=True)
class SeedSD:
    """Standard deviation of a recipe's score between seeds, from a published table or an earlier study.

    ``num_seeds`` is the number of seeds that it was computed from; None treats it as known exactly.
    """

    value: float
    num_seeds: int | None = None

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        if not 0 <= self.value < math.inf:
            raise SegstudyError(f"--assume-seed-sd {self.value:g}: must be a number from 0 on, such as 0.01")
        if self.num_seeds is not None and self.num_seeds < 2:
            raise SegstudyError(
                f"--assume-seed-sd {self.value:g}:{self.num_seeds}: a standard deviation needs 2 seeds or more"
            )

    @classmethod
    def read(cls, text: str) -> SeedSD:
        """Read ``0.005``, or ``0.005:3`` where three seeds showed it.

        >>> SeedSD.read("0.005:3")
        SeedSD(value=0.005, num_seeds=3)
        """
        value, colon, seeds = text.partition(":")
        try:
            return cls(float(value), int(seeds) if colon else None)
        except ValueError:
            raise SegstudyError(
                f"--assume-seed-sd {text}: must be a number, such as 0.005, or 0.005:3 where 3 seeds showed it"
            ) from None

    def put_into(self, components: Components) -> Components:
        """The same noise of images with this noise of seeds."""
        degrees = math.inf if self.num_seeds is None else self.num_seeds - 1
        return assume_seed_sd(components, self.value, degrees=degrees)


def requirements(
    results: StudyResults, power: float, difference: float, seed_sd: SeedSD | None = None
) -> list[dict[str, Any]]:
    """Seeds and images needed to detect ``difference`` in the primary measure with probability ``power``, for every result.

    The error rate is divided by the number of variants, as Holm's rule does for the smallest p-value. The noise of a
    variant is that of its difference to its base. The noise of a baseline is the noise floor: that of the difference
    between two studies of the same recipe. A variant that is as noisy as its base needs about as much. With one seed, the
    noise floor is unknown.

    Parameters
    ----------
    results, power, difference
        The study, and the wanted power and difference.
    seed_sd
        Noise of seeds that is known from elsewhere; it replaces the study's own.

    Returns
    -------
    list of dict
        ``about`` (what is compared), ``questions`` (number of comparisons), the fields of
        :class:`~segstudy.stats.planning.Requirement`, and ``pilot``: the rows of
        :func:`~segstudy.stats.planning.next_seeds`, empty if nothing is known about seeds. None for unknown or infinite
        values.

    Raises
    ------
    SegstudyError
        If no run has a result, or ``power``, ``difference`` or ``seed_sd`` is out of range.

    """
    level = _level(results, power, difference)
    rows = []
    for about, components in _all_components(results, seed_sd):
        needed = asdict(required(power, difference, components, level=level))
        known = seed_sd is None and components.seed == components.seed and components.num_seeds > 1
        pilot = next_seeds(components, difference, power=power, level=level) if known else []
        rows.append(finite({"about": about, "questions": results.questions, **needed, "pilot": pilot}))
    return rows


def curves(
    results: StudyResults, difference: float, seed_sd: SeedSD | None = None, seeds: Sequence[int] = CURVE_SEEDS
) -> list[dict[str, Any]]:
    """Power over seeds x images, for every result: ``about``, ``questions`` and ``power``, rows ``seeds, images, power``.

    Numbers of images are half, once, twice and four times those that there are.

    Raises
    ------
    SegstudyError
        As :func:`requirements`.

    """
    level = _level(results, 0.8, difference)
    found = []
    for about, components in _all_components(results, seed_sd):
        images = [max(2, round(times * components.num_images)) for times in CURVE_IMAGES]
        rows = power_curves(components, difference, seeds, images, level)
        found.append(finite({"about": about, "questions": results.questions, "power": rows}))
    return found


def _level(results: StudyResults, power: float, difference: float) -> float:
    """The level at which each comparison is tested; checks power and difference."""
    low, high = results.primary.bounds
    if not 0 < power < 1 or not 0 < difference < high - low:
        given = f"--power {power:g} --difference {difference:g}"
        if high - low == 1:
            raise SegstudyError(f"{given}: both must be between 0 and 1, as in 0.8 and 0.01")
        raise SegstudyError(
            f"{given}: the power must be between 0 and 1, as in 0.8, and the difference in {name_of(results.primary)} above 0"
        )
    return 1 - 0.05 / results.questions


def _all_components(results: StudyResults, seed_sd: SeedSD | None) -> list[tuple[str, Components]]:
    """Every comparison with a result, and its noise."""
    plan, found = results.plan, []
    if any(side.first.folds for side in results.sides.values() if side.sets):
        raise SegstudyError(
            f"{plan.study.source}: seeds and images cannot be planned from results over all folds; plan from a study with one "
            "test split"
        )
    for name in plan.experiments:
        variation = plan.first(name).variation
        about = f"{name} against {variation.base}" if variation else f"{name} against itself (noise floor)"
        if (components := _components(results, name)) is not None:
            found.append((about, components if seed_sd is None else seed_sd.put_into(components)))
    if not found:
        raise SegstudyError(
            f"{results.store.root}: no run of '{plan.study.name}' has a result that shows its noise yet; run a baseline with "
            "two or more seeds first"
        )
    return found


def _components(results: StudyResults, name: str) -> Components | None:
    """The noise of a variant's difference to its base, or of a baseline against itself; None if unknown."""
    if (compared := results.comparisons.get(name)) is not None:
        return compared.difference.components if compared.difference else None
    side = results.side(name)
    if not side.sets or side.problems:
        return None
    measure = results.primary
    counts = side.networks(measure.counts)
    return noise_floor(counts, measure.function_for(side.first.counts[measure.counts]), groups=side.groups)
