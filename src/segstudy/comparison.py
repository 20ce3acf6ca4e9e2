"""Two sides on the same images: whether they may be compared, and one answer for everyone who asks.

The report, ``segstudy compare``, ``segstudy status`` and the planning all ask here and only print what they get. The
order of images never matters: they are put in the order of their names. Random draws follow from the counts themselves,
so the same two sides give the same digits wherever they are asked about.

Array letters: ``n`` image, ``c`` class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from segstudy import measures
from segstudy.arrays import Values
from segstudy.counts.counting import measures_of
from segstudy.counts.countset import CountSet
from segstudy.errors import listing
from segstudy.guard import differing
from segstudy.measures import OVERALL, Measure
from segstudy.stats.comparison import Difference, holm, verdict
from segstudy.stats.comparison import compare as difference_of
from segstudy.stats.comparison import compare_each as differences_of
from segstudy.stats.intervals import Estimate, estimate_each
from segstudy.stats.resampling import Networks

NOT_COMPARABLE = "not comparable"
PRIMARY = next(
    measure for measure in OVERALL if measure.key == "miou"
)  # what verdicts are about unless asked otherwise
# The measure of each class whose differences are shown next to those of a measure of the whole set; a mean over classes
# is called after its measure.
BY_CLASS = {"miou": "iou", "mdice": "dice", "mean_class_accuracy": "class_accuracy", "pixel_accuracy": "iou"}
# What is said when it is not the same on both sides, besides what the runs recorded of themselves.
ORIGINS = {"selected_on": "epoch chosen on", "split": "split", "train_data": "trained on"}


@dataclass(frozen=True)
class Problem:
    """Why two sides, or the seeds of one, may not be compared: in a few words, in detail, and what to do."""

    what: str
    detail: str = ""
    advice: str = ""

    def __str__(self) -> str:
        """All three, as an error prints them."""
        return "\n".join(
            part for part in (f"{self.what}{':' if self.detail else ''}", self.detail, self.advice) if part
        )


class Side:
    """Networks of one recipe, one for each seed, on the same images in the order of their names.

    ``stored`` are the sets as they lie on disk. ``problems`` say why they cannot stand for one recipe, and ``notes`` what
    must be said wherever the side is shown.
    """

    def __init__(self, name: str, sets: Sequence[CountSet], notes: Iterable[str] = ()) -> None:
        self.name, self.notes = name, tuple(notes)
        self.stored = tuple(sorted(sets, key=lambda one: one.seed))
        self.sets = tuple(one.in_order(sorted(one.ids)) for one in self.stored)
        self.problems = next((p for one in self.stored[1:] if (p := _problems(self.stored[0], one))), ())

    @property
    def first(self) -> CountSet:
        """The set of the first seed."""
        return self.sets[0]

    @property
    def seeds(self) -> list[int]:
        """Seeds that have a result, in order."""
        return [one.seed for one in self.sets]

    @property
    def values(self) -> Mapping[str, Any]:
        """The run's resolved settings by dotted key; none where they were not recorded."""
        return self.first.record.values if self.sets and self.first.record else {}

    @property
    def lacks_truth(self) -> bool:
        """Whether counts were written before true masks were hashed."""
        return any(one.truth is None for one in self.sets)

    @cached_property
    def fingerprint(self) -> bytes:
        """Hash of everything that was counted."""
        total = hashlib.sha256()
        for one in self.sets:
            total.update(repr(one.ids).encode() + one.confusion.astype(np.int64).tobytes())
        return total.digest()

    def networks(self, counts: str) -> Networks:
        """One array of counts for each seed, as the statistics take them."""
        return {one.seed: one.counts[counts] for one in self.sets}

    def about(self, key: str) -> Any:
        """What the sets say of ``key``; all of it where they do not agree."""
        found = dict.fromkeys(getattr(one.about, key) for one in self.sets)
        return next(iter(found)) if len(found) == 1 else " and ".join(map(str, found))

    def mean(self, measure: Measure) -> Values:
        """The measure, one value for each class or one, meaned over seeds."""
        each = measure.each_for(self.first.counts[measure.counts])
        values: Values = np.mean([each(measures.merge(one.counts[measure.counts])) for one in self.sets], axis=0)
        return values

    def estimates(self, measure: Measure, groups: Sequence[str] | None = None) -> tuple[Estimate, ...]:
        """The measure with its interval, one estimate for each class or one; no interval where the seeds do not belong together."""
        each, counts = measure.each_for(self.first.counts[measure.counts]), self.networks(measure.counts)
        if not self.problems:
            return estimate_each(counts, each, groups=groups or self.first.groups, limits=measure.bounds)
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
    """The difference in one class, and its p-value corrected over the classes of this comparison."""

    index: int
    name: str
    a: float
    b: float
    difference: Difference
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class Comparison:
    """What can be said of ``a`` minus ``b``.

    Attributes
    ----------
    a, b, measure
        What was compared, and by which measure.
    problems
        Why the two may not be compared; then there is no difference.
    flags
        What else differs, or cannot be known, in words.
    changes
        Settings in which the two differ: key -> (a's, b's).
    difference
        None where a side has no result, or the two may not be compared.
    questions
        How many comparisons the study makes; 1 for a question that is asked alone.
    p_holm
        The p-value corrected for them; NaN where there is none.

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

    @property
    def confounded(self) -> bool:
        """Whether more than one setting differs, so that the difference cannot be put down to one of them."""
        return len(self.changes or {}) > 1

    @property
    def groups(self) -> tuple[str, ...] | None:
        """The images' groups, in the order of the images' names."""
        return self.a.first.groups or self.b.first.groups

    @property
    def verdict(self) -> str:
        """``better``, ``worse``, ``not distinguishable``, ``not comparable``, or nothing where there is no test."""
        if self.difference is None:
            return NOT_COMPARABLE if self.problems and self.a.sets and self.b.sets else ""
        return verdict(self.difference, self.p_holm, self.measure.higher_is_better)

    @property
    def by_class(self) -> Measure | None:
        """The measure of each class whose differences stand next to this one's."""
        key = BY_CLASS.get(self.measure.key, self.measure.key.removeprefix("mean_"))
        known = {measure.key: measure for measure in measures_of(self.a.first.rules) if measure.per_class}
        return known.get(key)

    @cached_property
    def classes(self) -> tuple[ClassEffect, ...]:
        """The effect on each class; none where the two may not be compared."""
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
        )
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
) -> Comparison:
    """Compare ``a`` with ``b`` on the same images.

    Parameters
    ----------
    a, b
        What is compared; differences are ``a`` minus ``b``.
    measure
        Of the whole set.
    changes
        Settings that differ on purpose, key -> (a's, b's); what the runs recorded where it is not given.
    questions
        How many comparisons are made in all; ``difference.detectable`` counts them.
    problems
        From :func:`problems_between`, where that was asked before.

    """
    changes = recorded_changes(a, b) if changes is None else changes
    found_problems = problems_between(a, b, measure) if problems is None else tuple(problems)
    flags = tuple(_flags(a, b, changes)) if a.sets and b.sets else (*a.notes, *b.notes)
    if found_problems or not a.sets or not b.sets:
        return Comparison(a, b, measure, found_problems, flags, changes, None, questions)
    flags += tuple(_unknown_truth(a, b))
    ours, theirs = a.networks(measure.counts), b.networks(measure.counts)
    found = difference_of(
        ours,
        theirs,
        measure.function_for(next(iter(ours.values()))),  # both sides have the same true masks
        generator(a, b, measure.key),
        groups=a.first.groups or b.first.groups,
        questions=questions,
        limits=measure.difference_bounds,
    )
    return Comparison(a, b, measure, (), flags, changes, found, questions, found.p_value)


def correct(comparisons: Sequence[Comparison]) -> list[Comparison]:
    """The same with p-values corrected over all of them that may be made, by Holm's rule.

    A comparison without a result counts as a question all the same, with a p-value of 1, so that no verdict turns back
    when the study's other runs are done.
    """
    p_values = [one.difference.p_value if one.difference else float("nan") for one in comparisons]
    asked = [not one.problems for one in comparisons]
    filled = [np.nan if not ok else 1.0 if p != p else p for ok, p in zip(asked, p_values, strict=True)]
    adjusted = holm(filled)
    return [
        replace(one, p_holm=float("nan") if p != p else float(q))
        for one, p, q in zip(comparisons, p_values, adjusted, strict=True)
    ]


def generator(a: Side, b: Side, *names: str) -> np.random.Generator:
    """Random draws that follow from the counts of both sides, whichever comes first, and from ``names``."""
    seed = hashlib.sha256(b"".join(sorted([a.fingerprint, b.fingerprint])) + "\n".join(names).encode()).digest()
    return np.random.default_rng(int.from_bytes(seed[:8]))


def recorded_changes(a: Side, b: Side) -> dict[str, tuple[Any, Any]]:
    """Settings in which the runs differ, as they recorded them; none where one side recorded nothing."""
    ours, theirs = a.values, b.values
    if not ours or not theirs:
        return {}
    keys = dict.fromkeys([*ours, *theirs])
    return {key: (ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)}


def problems_between(a: Side, b: Side, measure: Measure, known: Sequence[Problem] = ()) -> tuple[Problem, ...]:
    """Why two sides may not be compared by ``measure``, besides what is ``known`` before any result; empty if they may."""
    if known or not a.sets or not b.sets:
        return tuple(known)
    own = [
        Problem(f"the seeds of {side.name} were {problem.what}", problem.detail, problem.advice)
        for side in (a, b)
        for problem in side.problems
    ]
    if own:
        return tuple(own)
    problems = list(_problems(a.stored[0], b.stored[0], (a.name, b.name)))
    if measure.counts != "confusion" and a.first.rules != b.first.rules:
        ours, theirs = a.first.rules.model_dump(), b.first.rules.model_dump()
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


def _problems(a: CountSet, b: CountSet, names: tuple[str, str] | None = None) -> tuple[Problem, ...]:
    """Why counts of two networks may not be compared or pooled; the first reason hides those that follow from it."""
    told = names or (a.name, b.name)
    for what, ours, theirs in (
        ("scored on masks of different sizes", _size(a), _size(b)),
        ("scored with different classes", listing(a.classes, 20), listing(b.classes, 20)),
    ):
        if ours != theirs:
            return (Problem(what, f"  {told[0]}: {ours}\n  {told[1]}: {theirs}", "Score both in the same way."),)
    alone = [(told[0], set(a.ids) - set(b.ids)), (told[1], set(b.ids) - set(a.ids))]
    if lines := [f"  {len(ids)} only in {name}: {listing(sorted(ids), 5)}" for name, ids in alone if ids]:
        return (Problem("scored on other images", "\n".join(lines), "Score both on the same images."),)
    order = sorted(a.ids)
    if problem := _other_truth(a.in_order(order), b.in_order(order), told):
        return (problem,)
    if a.ids == b.ids and _files_differ(a, b):
        detail = "  image or mask files differ in content, although the images have the same names"
        advice = "Score both on the same files: delete the older evaluation and run again."
        return (Problem("scored on files that changed in between", detail, advice),)
    return ()


def _files_differ(a: CountSet, b: CountSet) -> bool:
    """Whether both recorded the hash of their files, which counts these in order, and the two differ."""
    ours, theirs = a.about.data_fingerprint, b.about.data_fingerprint
    return None not in (ours, theirs) and ours != theirs


def _size(counted: CountSet) -> str:
    """At which size masks were scored, in words."""
    if counted.about.resolution == "input":
        return f"the network's input size, {counted.about.input_size} px"
    return "each mask's own size"


def _other_truth(a: CountSet, b: CountSet, names: tuple[str, str]) -> Problem | None:
    """Images whose true masks differ, by hash where both have one, else as far as their numbers of pixels tell."""
    if a.truth is not None and b.truth is not None:
        wrong = np.flatnonzero((a.truth != b.truth).any(axis=1))
    else:
        wrong = np.flatnonzero((a.support != b.support).any(axis=1))
    if not len(wrong):
        return None
    detail = f"  in {len(wrong)} of {len(a.ids)} images: {listing([a.ids[i] for i in wrong], 5)}"
    ours, theirs = a.support, b.support
    for index in wrong[:1]:
        if len(classes := np.flatnonzero(ours[index] != theirs[index])):
            k = int(classes[0])
            detail += (
                f"\n  {a.ids[index]} has {ours[index, k]:,} pixels of {a.classes[k]} in {names[0]}, "
                f"{theirs[index, k]:,} in {names[1]}"
            )
    return Problem("scored against different true masks", detail, "Score both against the same masks.")


def _flags(a: Side, b: Side, changes: Mapping[str, Any]) -> list[str]:
    """Everything that differs besides one declared factor, or that cannot be known."""
    flags = [*a.notes, *b.notes]
    flags += [f"{side.name}: how its masks came about is not recorded" for side in (a, b) if side.first.record is None]
    ours, theirs = ([one.record for one in side.sets if one.record is not None] for side in (a, b))
    flags += differing(ours, theirs, changes)
    for key, words in ORIGINS.items():
        ours_of, theirs_of = a.about(key), b.about(key)
        if None not in (ours_of, theirs_of) and ours_of != theirs_of:
            flags.append(f"{words} {ours_of} against {theirs_of}")
    if a.first.rules != b.first.rules:
        flags.append("outlines and objects were counted with other tolerances")
    if None not in (a.first.groups, b.first.groups) and a.first.groups != b.first.groups:
        flags.append(f"images are grouped in another way in {b.name}; the groups of {a.name} are used")
    return flags


def _unknown_truth(a: Side, b: Side) -> list[str]:
    """What is said where nothing shows that both saw the same images and masks."""
    prints = {one.about.data_fingerprint for side in (a, b) for one in side.sets}
    if len(prints) == 1 and None not in prints:
        return []  # the same files, byte by byte
    flags = []
    if old := [side.name for side in (a, b) if side.lacks_truth]:
        flags.append(
            f"{listing(old)}: written without hashes of the true masks, so only their pixels by class were compared"
        )
    if _files_differ(a.stored[0], b.stored[0]):  # in another order, else they are no match
        flags.append("images come in another order, so it is not known whether the files are the same")
    return flags
