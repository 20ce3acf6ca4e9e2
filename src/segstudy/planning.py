"""How many seeds and images a difference needs, from what a study has already shown of its noise."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from segstudy.comparison import PRIMARY
from segstudy.document import finite
from segstudy.errors import SegstudyError
from segstudy.results import StudyResults
from segstudy.stats.planning import Components, noise_floor, required


def requirements(results: StudyResults, power: float, difference: float) -> list[dict[str, Any]]:
    """What it takes to see ``difference`` in mIoU with probability ``power``, for everything that has a result.

    Every variant of the study is a question, and the error rate is divided by their number, as Holm's rule divides it
    for the first of them. A variant's noise is that of its difference to its base. A baseline's is the noise floor: that
    of the difference between two studies of one and the same recipe, about what a variant needs at least that is as noisy
    as its base; of one seed it is unknown.

    Returns
    -------
    list of dict
        ``about`` (what is asked), ``questions`` (how many in all), and the fields of
        :class:`~segstudy.stats.planning.Requirement`, None for what is unknown or endless.

    Raises
    ------
    SegstudyError
        When no run has a result, or the numbers asked for make no sense.

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
            f"{results.store.root}: no run of '{plan.study.name}' has a result that tells its noise yet; run a baseline with "
            "two or more seeds first"
        )
    return rows


def _components(results: StudyResults, name: str) -> Components | None:
    """The noise of a variant's difference to its base, or of a baseline against itself; None where it is not known."""
    if (compared := results.comparisons.get(name)) is not None:
        return compared.difference.components if compared.difference else None
    side = results.side(name)
    if not side.sets or side.problems:
        return None
    return noise_floor(side.networks(PRIMARY.counts), PRIMARY.function, groups=side.first.groups)
