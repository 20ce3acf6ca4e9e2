"""How many seeds and images a difference needs, from what a study has already shown of its noise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from segstudy.document import finite
from segstudy.errors import SegstudyError
from segstudy.plan import Plan
from segstudy.report.evidence import LEADING, evaluations_of, generator_for, networks, num_questions, same_images
from segstudy.report.results import Evaluated, read_evaluations
from segstudy.stats.comparison import compare
from segstudy.stats.planning import Components, noise_floor, required
from segstudy.store import Store


def requirements(store: Store, plan: Plan, power: float, difference: float) -> list[dict[str, Any]]:
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
    evaluations = read_evaluations(store, plan)
    asked = num_questions(plan, evaluations)
    level = 1 - 0.05 / asked
    rows = []
    for name in plan.experiments:
        compared = plan.first(name).variation
        ours = evaluations_of(evaluations, name)
        theirs = evaluations_of(evaluations, compared.base) if compared else {}
        about = f"{name} against {compared.base}" if compared else f"{name} against itself (noise floor)"
        if (components := _components(plan, name, ours, theirs if compared else None)) is not None:
            rows.append(
                {
                    "about": about,
                    "questions": asked,
                    **finite(asdict(required(power, difference, components, level=level))),
                }
            )
    if not rows:
        raise SegstudyError(
            f"{store.root}: no run of '{plan.study.name}' has a result that tells its noise yet; run a baseline with two or "
            "more seeds first"
        )
    return rows


def _components(
    plan: Plan, name: str, ours: Mapping[int, Evaluated], theirs: Mapping[int, Evaluated] | None
) -> Components | None:
    if not ours or theirs == {} or not same_images(ours, theirs or {}):
        return None
    groups = next(iter(ours.values())).groups
    if theirs is None:
        return noise_floor(networks(ours), LEADING.function, groups=groups)
    draw = generator_for(plan.study.name, name, LEADING.key)
    return compare(networks(ours), networks(theirs), LEADING.function, draw, groups=groups).components
