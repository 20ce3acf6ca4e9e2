"""Compare two sides on the same images: whether they can be compared, difference, interval, test and verdict.

The report, ``segstudy compare``, ``segstudy status`` and the planning all call this module and only print its results.
The order of images never matters: images are sorted by name. Random draws are seeded by the counts, so the same two
sides give the same digits everywhere.

Array letters: ``n`` image, ``c`` class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations, product
from typing import Any

import numpy as np

from segstudy import measures
from segstudy.arrays import Values
from segstudy.comparable import Problem, common_groups, files_differ, kinds, problems_of_counts
from segstudy.counts.counting import measures_of
from segstudy.counts.countset import CountSet
from segstudy.errors import listing
from segstudy.failures import two_kinds, withheld
from segstudy.guard import UNKNOWN_TRAINING, differing, recorded_changes
from segstudy.measures import OVERALL, Measure
from segstudy.records import NOT_TRAINED
from segstudy.stats.comparison import Difference, holm, of_fixed_network, verdict, without_interval
from segstudy.stats.comparison import compare as difference_of
from segstudy.stats.comparison import compare_each as differences_of
from segstudy.stats.equivalence import Equivalence, equivalence, probability_better, simultaneous
from segstudy.stats.intervals import Estimate, estimate_each
from segstudy.stats.resampling import Networks

NOT_COMPARABLE = "not comparable"
PRIMARY = next(measure for measure in OVERALL if measure.key == "miou")  # the default measure of verdicts
# Measure of the whole set -> the per-class measure whose differences are shown next to it; a mean over classes has the
# name of its measure.
BY_CLASS = {"miou": "iou", "mdice": "dice", "mean_class_accuracy": "class_accuracy", "pixel_accuracy": "iou"}
# Flagged if different on the two sides, in addition to what the runs recorded.
ORIGINS = {"selected_on": "epoch chosen on", "split": "split", "train_data": "trained on"}


class Side:
    """Networks of one recipe, one per seed, on the same images, sorted by name.

    ``stored`` are the count sets as stored on disk. ``problems`` say why they cannot represent one recipe; ``notes`` are
    shown wherever the side is shown. ``chosen`` is whether one seed was named of an experiment that may have more.
    """

    def __init__(self, name: str, sets: Sequence[CountSet], notes: Iterable[str] = (), chosen: bool = False) -> None:
        self.name, self.notes, self.chosen = name, tuple(notes), chosen
        self.stored = tuple(sorted(sets, key=lambda one: one.seed))
        self.sets = tuple(one.in_order(sorted(one.ids)) for one in self.stored)
        self.kinds = kinds(self.stored)
        self.problems = next((p for pair in combinations(self.kinds, 2) if (p := problems_of_counts(*pair))), ())

    @property
    def first(self) -> CountSet:
        """The count set of the first seed."""
        return self.sets[0]

    @property
    def seeds(self) -> list[int]:
        """Seeds with a result, in order."""
        return [one.seed for one in self.sets]

    @property
    def values(self) -> Mapping[str, Any]:
        """The resolved settings of the run by dotted key; empty if they were not recorded."""
        return self.first.record.values if self.sets and self.first.record else {}

    @cached_property
    def fingerprint(self) -> bytes:
        """Hash of all counts."""
        total = hashlib.sha256()
        for one in self.sets:
            total.update(repr(one.ids).encode() + one.confusion.astype(np.int64).tobytes())
        return total.digest()

    @cached_property
    def groups(self) -> tuple[str, ...] | None:
        """The group of each image that holds for all seeds; None without groups."""
        return self.first.groups if self.problems else common_groups(self.sets)

    def networks(self, counts: str) -> Networks:
        """One array of counts per seed, as the statistics expect them."""
        return {one.seed: one.counts[counts] for one in self.sets}

    def about(self, key: str) -> Any:
        """The value of ``key`` in the count sets; all distinct values if they differ."""
        found = dict.fromkeys(getattr(one.about, key) for one in self.sets)
        return next(iter(found)) if len(found) == 1 else " and ".join(map(str, found))

    def of_seeds(self, seeds: Sequence[int]) -> Side:
        """The same side with these seeds alone."""
        if list(seeds) == self.seeds:
            return self
        return Side(self.name, [one for one in self.stored if one.seed in seeds], self.notes, self.chosen)

    def by_seed(self, measure: Measure) -> Values:
        """The measure for each seed (s, m): one value per class, or one for all."""
        each = measure.each_for(self.first.counts[measure.counts])
        return np.array([each(measures.merge(one.counts[measure.counts])) for one in self.sets])

    def mean(self, measure: Measure) -> Values:
        """The measure, one value per class or one for all, averaged over seeds."""
        values: Values = self.by_seed(measure).mean(axis=0)
        return values

    def cautions(self, measure: Measure) -> tuple[str, ...]:
        """Why an interval of the measure over these seeds cannot be trusted; empty if nothing is known against it."""
        return two_kinds(self.name, measure.label, self.by_seed(measure)[:, 0]) if self.sets else ()

    def estimates(self, measure: Measure, groups: Sequence[str] | None = None) -> tuple[Estimate, ...]:
        """The measure with its interval, one estimate per class or one for all; no interval if the seeds do not match."""
        each, counts = measure.each_for(self.first.counts[measure.counts]), self.networks(measure.counts)
        if not self.problems:
            within = groups or self.groups
            found = estimate_each(counts, each, groups=within, limits=measure.bounds, folds=self.first.folds)
            return tuple(without_interval(one, measure.withheld) for one in found)
        alone = estimate_each({0: counts[self.first.seed]}, each, limits=measure.bounds)
        reason = f"the seeds were {self.problems[0].what}"
        nothing = dict.fromkeys(("low", "high", "standard_error", "degrees_of_freedom", "seed_sd"), float("nan"))
        values = [each(measures.merge(one.counts[measure.counts])) for one in self.sets]
        return tuple(
            replace(
                one,
                **nothing,  # type: ignore[arg-type]
                value=float(np.mean([value[k] for value in values])),
                seed_values=tuple(float(value[k]) for value in values),
                num_seeds=len(self.sets),
                population="",
                method="",
                reason=reason,
            )
            for k, one in enumerate(alone)
        )


@dataclass(frozen=True)
class ClassEffect:
    """The difference in one class, with its p-value corrected over the classes of this comparison."""

    index: int
    name: str
    a: float
    b: float
    difference: Difference
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """The result of ``a`` minus ``b``.

    Attributes
    ----------
    a, b, measure
        What is compared, and by which measure.
    problems
        Why the two cannot be compared; if there are any, there is no difference.
    flags
        What else differs or is unknown, in words.
    changes
        Settings that differ: key -> (a's, b's).
    difference
        None if a side has no result, or the two cannot be compared.
    questions
        Number of comparisons that the study makes; 1 for a single comparison.
    p_holm
        The p-value corrected for them; NaN if there is none.
    primary
        Key of the measure that decides, as the study declares it; any other measure is exploratory.
    margin
        The largest difference that does not matter, in the unit of the primary measure; None if none was declared.

    """

    a: Side
    b: Side
    measure: Measure
    problems: tuple[Problem, ...] = ()
    flags: tuple[str, ...] = ()
    changes: Mapping[str, tuple[Any, Any]] | None = None
    difference: Difference | None = None
    questions: int = 1
    p_holm: float = float("nan")
    primary: str = PRIMARY.key
    margin: float | None = None

    @property
    def exploratory(self) -> bool:
        """Whether another measure than this one was declared to decide."""
        return self.measure.key != self.primary

    @property
    def equivalence(self) -> Equivalence | None:
        """The two one-sided tests against the margin, corrected for all questions; None without margin or difference."""
        return None if self.margin is None else self._tested_against(self.margin)

    @property
    def margin_met(self) -> float:
        """The smallest margin with which the two would be equivalent; NaN where nothing can be said of the recipes.

        NaN also where it is more than the measure can differ at all.
        """
        found = self._tested_against(self.margin or 1.0)
        met = float("nan") if found is None else found.margin_equivalent
        return met if met < self.measure.difference_bounds[1] else float("nan")

    def _tested_against(self, margin: float) -> Equivalence | None:
        if self.difference is None:
            return None
        error = (1 - self.difference.level) / self.questions
        return equivalence(self.difference, margin, error=error, higher_is_better=self.measure.higher_is_better)

    @property
    def p_greater(self) -> float:
        """P(A > B): the share of the confidence distribution in which A is the better one; NaN without an interval."""
        if self.difference is None:
            return float("nan")
        return probability_better(self.difference, higher_is_better=self.measure.higher_is_better)

    @property
    def simultaneous(self) -> tuple[float, float]:
        """The interval that holds together with those of all other questions; NaN without an interval."""
        if self.difference is None:
            return float("nan"), float("nan")
        level = 1 - (1 - self.difference.level) / self.questions
        return simultaneous([self.difference], level, self.measure.difference_bounds)[0]

    @cached_property
    def cautions(self) -> tuple[str, ...]:
        """Why the interval cannot be trusted; empty if nothing is known against it."""
        sides = () if self.difference is None else (self.a, self.b)
        return tuple(caution for side in sides for caution in side.cautions(self.measure))

    @property
    def confounded(self) -> bool:
        """Whether more than one setting differs, so that the difference cannot be attributed to one of them."""
        return len(self.changes or {}) > 1

    def changes_from(self, name: str) -> Mapping[str, tuple[Any, Any]]:
        """The settings that differ, the value of the side called ``name`` first."""
        changes = self.changes or {}
        return changes if name == self.a.name else {key: (theirs, ours) for key, (ours, theirs) in changes.items()}

    @property
    def remarks(self) -> tuple[str, ...]:
        """The flags, after the remark that several settings differ; a report marks the variant as confounded."""
        number = len(self.changes or {})
        words = f"{number} settings differ, so the difference cannot be attributed to one of them"
        return (*[words] * self.confounded, *self.flags)

    @property
    def groups(self) -> tuple[str, ...] | None:
        """The groups of the images, in the order of the image names."""
        return None if self.problems else common_groups([*self.a.sets, *self.b.sets])

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``not distinguishable``, ``not comparable``, or empty if there is no test."""
        if self.difference is None:
            return NOT_COMPARABLE if self.problems and self.a.sets and self.b.sets else ""
        return verdict(self.difference, self.p_holm, self.measure.higher_is_better)

    @property
    def by_class(self) -> Measure | None:
        """The per-class measure whose differences are shown next to this one's."""
        key = BY_CLASS.get(self.measure.key, self.measure.key.removeprefix("mean_"))
        known = {measure.key: measure for measure in measures_of(self.a.first.rules) if measure.per_class}
        return known.get(key)

    @cached_property
    def classes(self) -> tuple[ClassEffect, ...]:
        """The effect on each class; empty if the two cannot be compared."""
        if self.difference is None or (measure := self.by_class) is None:
            return ()
        ours, theirs = (side.networks(measure.counts) for side in (self.a, self.b))
        found = differences_of(
            ours,
            theirs,
            measure.function,
            generator(self.a, self.b, measure.key),
            groups=self.groups,
            limits=measure.difference_bounds,
            folds=self.a.first.folds or self.b.first.folds,
        )
        found = tuple(without_interval(d, withheld(measure, ours, theirs, d.value, k)) for k, d in enumerate(found))
        adjusted = holm([difference.p_value for difference in found])
        values = [side.mean(measure) for side in (self.a, self.b)]
        return tuple(
            ClassEffect(
                k,
                name,
                float(values[0][k]),
                float(values[1][k]),
                difference,
                float(adjusted[k]),
                verdict(difference, float(adjusted[k]), measure.higher_is_better),
            )
            for k, (name, difference) in enumerate(zip(self.a.first.classes, found, strict=True))
        )


def compare(
    a: Side,
    b: Side,
    measure: Measure = PRIMARY,
    changes: Mapping[str, tuple[Any, Any]] | None = None,
    questions: int = 1,
    problems: Sequence[Problem] | None = None,
    primary: str = PRIMARY.key,
    margin: float | None = None,
) -> Comparison:
    """Compare ``a`` with ``b`` on the same images.

    Parameters
    ----------
    a, b
        What is compared; differences are ``a`` minus ``b``.
    measure
        A measure of the whole set.
    changes
        Settings that differ on purpose, key -> (a's, b's); by default, those that the runs recorded.
    questions
        Total number of comparisons, which ``difference.detectable`` depends on; with 0 it is left out.
    problems
        The result of :func:`problems_between`, if already known.
    primary, margin
        Key of the measure that decides, and the largest difference that does not matter in it.

    """
    changes = recorded_changes(a.values, b.values) if changes is None else changes
    found_problems = problems_between(a, b, measure) if problems is None else tuple(problems)
    flags = tuple(_flags(a, b, changes)) if a.sets and b.sets else (*a.notes, *b.notes)
    if found_problems or not a.sets or not b.sets:
        return Comparison(
            a, b, measure, found_problems, flags, changes, None, questions, primary=primary, margin=margin
        )
    flags += tuple(_unknown_images(a, b))
    ours, theirs = a.networks(measure.counts), b.networks(measure.counts)
    found = difference_of(
        ours,
        theirs,
        measure.function_for(next(iter(ours.values()))),  # both sides have the same true masks
        generator(a, b, measure.key),
        groups=common_groups([*a.sets, *b.sets]),
        questions=questions,
        limits=measure.difference_bounds,
        folds=a.first.folds or b.first.folds,
    )
    found = without_interval(found, withheld(measure, ours, theirs, found.value))
    alone = next((side for side in (a, b) if len(side.sets) == 1), a)
    elsewhere = alone.first.record is None or alone.about("selected_on") == NOT_TRAINED
    found = of_fixed_network(found, elsewhere, alone.chosen)
    return Comparison(a, b, measure, (), flags, changes, found, questions, found.p_value, primary, margin)


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same comparisons with p-values corrected by Holm's rule over all that can be made.

    A comparison without a result yet counts with a p-value of 1, so that no verdict is reversed when the study's other runs
    finish.
    """
    p_values = [one.difference.p_value if one.difference else float("nan") for one in comparisons]
    comparable = [not one.problems for one in comparisons]
    filled = [np.nan if not ok else 1.0 if p != p else p for ok, p in zip(comparable, p_values, strict=True)]
    adjusted = holm(filled)
    return [
        replace(one, p_holm=float("nan") if p != p else float(q))
        for one, p, q in zip(comparisons, p_values, adjusted, strict=True)
    ]


def generator(a: Side, b: Side, *names: str) -> np.random.Generator:
    """A generator seeded by the counts of both sides, in any order, and by ``names``."""
    seed = hashlib.sha256(b"".join(sorted([a.fingerprint, b.fingerprint])) + "\n".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(seed[:8]))


def problems_between(a: Side, b: Side, measure: Measure, known: Sequence[Problem] = ()) -> tuple[Problem, ...]:
    """Why two sides cannot be compared by ``measure``, in addition to ``known`` problems; empty if they can."""
    if known or not a.sets or not b.sets:
        return tuple(known)
    own = [
        Problem(f"the seeds of {side.name} were {problem.what}", problem.detail, problem.advice)
        for side in (a, b)
        for problem in side.problems
    ]
    if own:
        return tuple(own)
    pairs = [(one, other) for one, other in product(a.kinds, b.kinds) if len(kinds([one, other])) > 1]
    problems = list(next((p for pair in pairs if (p := problems_of_counts(*pair, (a.name, b.name)))), ()))
    rules = [one.rules for side in (a, b) for one in side.sets]
    other = next((each for each in rules if each != rules[0]), None)
    if measure.counts != "confusion" and other is not None:
        ours, theirs = rules[0].model_dump(), other.model_dump()
        differ = [f"{key} {ours[key]} against {theirs[key]}" for key in ours if ours[key] != theirs[key]]
        problems.append(
            Problem(
                f"{measure.label} was counted differently",
                f"  {listing(differ)}",
                "Score both with the same tolerances.",
            )
        )
    for side in (a, b):
        if any(measure.counts not in one.counts for one in side.sets):
            what = f"{side.name} holds no counts for {measure.label}"
            problems.append(Problem(what, advice="Score it again with this version of segstudy."))
    return tuple(problems)


def _flags(a: Side, b: Side, changes: Mapping[str, Any]) -> list[str]:
    """Everything that differs apart from the declared factor, or that is unknown."""
    flags = [*a.notes, *b.notes]
    flags += [f"{side.name}: the origin of its masks is not recorded" for side in (a, b) if side.first.record is None]
    ours, theirs = ([one.record for one in side.sets if one.record is not None] for side in (a, b))
    flags += differing(ours, theirs, changes)
    foreign = [side.name for side in (a, b) if side.about("selected_on") == NOT_TRAINED]
    flags += [f"{name}: {UNKNOWN_TRAINING}" for name in foreign]
    for key, words in ORIGINS.items():
        ours_of, theirs_of = a.about(key), b.about(key)
        if not {None, NOT_TRAINED} & {ours_of, theirs_of} and ours_of != theirs_of:
            flags.append(f"{words} {ours_of} against {theirs_of}")
    if any(one.rules != a.first.rules for side in (a, b) for one in side.sets):
        flags.append("outlines and objects were counted with different tolerances")
    return flags


def _unknown_images(a: Side, b: Side) -> list[str]:
    """Flags if there is no proof that both used the same images and masks, or if their groups differ."""
    flags = []
    if len({one.groups for side in (a, b) for one in side.sets}) > 1:
        flags.append("images are grouped differently (those that share a group on any side count as one group)")
    prints = {one.about.data_fingerprint for side in (a, b) for one in side.sets}
    if len(prints) == 1 and None not in prints:
        return flags  # the same files, byte by byte
    if old := [side.name for side in (a, b) if any(one.truth is None for one in side.sets)]:
        flags.append(
            f"{listing(old)}: written without hashes of the true masks, so only their pixels by class were compared"
        )
    if any(files_differ(a.kinds[0], one) for one in [*a.kinds, *b.kinds]):  # in order alone, or it were a problem
        flags.append("images come in a different order, so it is unknown whether the files are the same")
    return flags
