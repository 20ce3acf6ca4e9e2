"""How many seeds and images a difference needs, based on the noise of a study's results."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from segstudy.comparison import PRIMARY
from segstudy.document import finite
from segstudy.errors import SegstudyError
from segstudy.results import StudyResults
from segstudy.stats.planning import Components, noise_floor, required


def requirements(results: StudyResults, power: float, difference: float) -> list[dict[str, Any]]:
    """What it takes to detect ``difference`` in mIoU with probability ``power``, for everything with a result.

    The error rate is divided by the number of variants, as Holm's rule does for the smallest p-value. The noise of a
    variant is that of its difference to its base. The noise of a baseline is the noise floor: that of the difference
    between two studies of the same recipe. A variant that is as noisy as its base needs about as much. With one seed, the
    noise floor is unknown.

    Returns
    -------
    list of dict
        ``about`` (what is compared), ``questions`` (number of comparisons), and the fields of
        :class:`~segstudy.stats.planning.Requirement`, None for unknown or infinite values.

    Raises
    ------
    SegstudyError
        If no run has a result, or ``power`` or ``difference`` is out of range.

    """
    if not 0 < power < 1 or not 0 < difference < 1:
        raise SegstudyError(
            f"--power {power:g} --difference {difference:g}: both must lie between 0 and 1, as in 0.8 and 0.01"
        )
    plan, questions = results.plan, results.questions
    level = 1 - 0.05 / questions
    rows = []
    for name in plan.experiments:
        variation = plan.first(name).variation
        about = f"{name} against {variation.base}" if variation else f"{name} against itself (noise floor)"
        if (components := _components(results, name)) is not None:
            needed = finite(asdict(required(power, difference, components, level=level)))
            rows.append({"about": about, "questions": questions, **needed})
    if not rows:
        raise SegstudyError(
            f"{results.store.root}: no run of '{plan.study.name}' has a result that shows its noise yet; run a baseline with "
            "two or more seeds first"
        )
    return rows


def _components(results: StudyResults, name: str) -> Components | None:
    """The noise of a variant's difference to its base, or of a baseline against itself; None if unknown."""
    if (compared := results.comparisons.get(name)) is not None:
        return compared.difference.components if compared.difference else None
    side = results.side(name)
    if not side.sets or side.problems:
        return None
    return noise_floor(side.networks(PRIMARY.counts), PRIMARY.function, groups=side.first.groups)
