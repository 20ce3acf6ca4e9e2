"""Variant against baseline on the same images: difference, interval, tests, correction for many questions, verdict."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np

from segstudy.arrays import Counts, Values
from segstudy.errors import DataError
from segstudy.stats.exchange import exchange_images, exchange_networks
from segstudy.stats.intervals import IMAGES, IMAGES_AND_SEEDS, Estimate, measure
from segstudy.stats.planning import Components, components_of
from segstudy.stats.resampling import Function, GroupLabels, Networks, checked
from segstudy.stats.variance import Arm, Spread, spread_of, spread_of_folds

BETTER, WORSE, UNDECIDED = "better", "worse", "not distinguishable"
THIS_NETWORK = "this network"
_ONE = (
    "one side has a single network, which does not show how much its recipe differs between seeds: the interval is about "
    "that network, and there is no verdict about the recipe."
)
ONE_AGAINST_SEVERAL = f"{_ONE} Train it with as many seeds as the other side (`seeds: [...]`)"
FIXED_AGAINST_SEVERAL = (
    f"{_ONE} It was trained elsewhere and has no further seeds here. For a verdict about two networks, compare it with one "
    "seed of the other side (`segstudy compare` with `STUDY:EXPERIMENT/seedN`)"
)
CHOSEN_AGAINST_SEVERAL = (
    f"{_ONE} For a verdict about the recipes, name the experiment without its seed; for one about two networks, name one seed "
    "of the other side, too"
)

OVER_FOLDS = (
    "folds share training images, which their variance shows only in part: the interval assumes that their scores "
    "correlate by no more than the share of images that one fold tests (Nadeau and Bengio 2003)"
)


@dataclass(frozen=True)
class Difference:
    """Variant minus baseline, on the same images. Bounds and p-value are NaN where none can be defended.

    Attributes
    ----------
    value
        Mean over the variant's seeds minus mean over the baseline's.
    low, high, level
        Interval of the difference, not corrected for other questions.
    standard_error, degrees_of_freedom
        Of ``value``.
    p_value
        The one that decides. With as many seeds on both sides it is at 1 - level or less exactly where the interval
        leaves out 0. Elsewhere the test is more cautious than the interval: it never rejects a 0 that the interval holds,
        but it may keep a 0 that the interval leaves out. Over images and seeds see
        :meth:`segstudy.stats.variance.Variance.p_value`; over images it is the larger of that and ``p_exchange``. NaN for
        one network against several.
    p_exchange
        Of the permutation test alone: over images for population ``"images"``, over networks for ``"images and seeds"``
        (where its smallest possible value may be too large to decide anything).
    detectable
        Smallest true difference that a study like this finds with probability ``power``, whatever the other questions
        of its family turn out to be. NaN where no possible difference is large enough.
    power, questions
        Those of ``detectable``: of so many questions, :func:`holm` asks of the first for an error rate of (1 - level) /
        questions.
    components
        Variance components of the difference, for :func:`segstudy.stats.planning.required`; None where there is no
        interval, and of identical predictions.
    num_images, num_groups
        Images that both have; independent groups among them.
    effective_images
        Number of images (groups) that the difference's uncertainty really rests on.
    num_seeds_variant, num_seeds_base
        Networks of each.
    paired_seeds
        Whether networks of equal seed were compared with each other.
    population
        ``"images"`` (these two networks), ``"images and seeds"`` (the two recipes) or ``"this network"`` (one network
        against the recipe of several others).
    method
        ``"t"``; empty without interval.
    assumption
        What limits the interval, a sentence; empty if nothing. (One network against several: why there is no verdict
        about the recipe, and what it takes.)
    reason
        Why there is no interval and no p-value, a clause; empty where there is an interval.

    """

    value: float
    low: float
    high: float
    level: float
    standard_error: float
    degrees_of_freedom: float
    p_value: float
    p_exchange: float
    detectable: float
    power: float
    questions: int
    components: Components | None
    num_images: int
    num_groups: int
    num_seeds_variant: int
    num_seeds_base: int
    effective_images: float
    paired_seeds: bool
    population: str
    method: str
    assumption: str
    reason: str


def compare(
    variant: Networks,
    base: Networks,
    function: Function,
    generator: np.random.Generator,
    *,
    groups: GroupLabels | None = None,
    level: float = 0.95,
    power: float = 0.8,
    questions: int = 1,
    limits: tuple[float, float] = (-math.inf, math.inf),
    num_permutations: int = 10_000,
    pair_seeds: bool = False,
    folds: GroupLabels | None = None,
) -> Difference:
    """Difference of a function that gives one number.

    Networks of the two sides are independent, whatever their seeds are called, unless ``pair_seeds`` says otherwise. If
    one side has one network and the other several, the interval is about that network against the other's recipe, and
    there is no p-value.

    Parameters
    ----------
    variant, base, function
        See :mod:`segstudy.stats`; all networks were scored on the same images in the same order.
    generator
        Draws the permutations.
    groups
        n labels; images of one label belong together and are exchanged together. None: all images are independent.
    level
        Nominal coverage of the interval; 1 - level is the error rate of the verdict.
    power, questions
        For ``detectable``: the probability of finding it, and the total number of questions. With 0 it is
        not computed, which takes most of the time.
    limits
        Smallest and largest possible difference, beyond which no bound lies: (-1, 1) for shares.
    num_permutations
        Drawn at random; where there are no more in all, each is taken once and the p-value is exact.
    pair_seeds
        Compare networks of equal seed with each other. Right where they share their noise, because one was made from the
        other: equal numbers alone are no reason, and pairs leave half of the degrees of freedom.
    folds
        n labels; images of one label were tested by one network of cross-validation. Variant and base are then compared
        fold by fold, with the variance between folds (:meth:`segstudy.stats.variance.Spread.variance`); groups, which lie
        within folds, play no part, and there is no permutation test.

    Raises
    ------
    DataError
        If the networks have different numbers of images, labels of groups are not as many as images, or seeds are to be
        paired and differ.

    """
    return compare_each(
        variant,
        base,
        lambda merged: function(merged)[..., None],
        generator,
        groups=groups,
        level=level,
        power=power,
        questions=questions,
        limits=limits,
        num_permutations=num_permutations,
        pair_seeds=pair_seeds,
        folds=folds,
    )[0]


def compare_each(
    variant: Networks,
    base: Networks,
    function: Function,
    generator: np.random.Generator,
    *,
    groups: GroupLabels | None = None,
    level: float = 0.95,
    power: float = 0.8,
    questions: int = 1,
    limits: tuple[float, float] = (-math.inf, math.inf),
    num_permutations: int = 10_000,
    pair_seeds: bool = False,
    folds: GroupLabels | None = None,
) -> tuple[Difference, ...]:
    """As :func:`compare`, for a function that gives several numbers (..., m), one for each class say."""
    own, other = _checked_alike(variant, base, groups if folds is None else folds, pair_seeds)
    first, second = (measure(side, function) for side in (own, other))
    fewest, most = sorted((len(own), len(other)))
    paired = own.keys() == other.keys() and (pair_seeds or most == 1)
    arms = _arms(first, second, paired or most == 1)
    spread = spread_of(arms, difference=True) if folds is None else spread_of_folds(arms, difference=True)
    exchanged = np.full(first.values.shape[1], np.nan)
    if folds is None and fewest > 1:
        exchanged = exchange_networks(first.values, second.values, paired, generator, num_permutations)
    elif folds is None and most == 1:
        exchanged = exchange_images(_only(own), _only(other), function, generator, num_permutations)
    value = first.values.mean(axis=0) - second.values.mean(axis=0)
    numbers = _numbers(value, spread, exchanged, level, limits)
    numbers["detectable"] = _detectable(spread, level, questions, power, limits[1])
    reasons = spread.reasons(value, groups is not None)
    if fewest == most and all(map(np.array_equal, own.values(), other.values())):
        reasons = _same_predictions(numbers, reasons, np.any(first.influences, axis=(0, 1)))
    shared: dict[str, Any] = {"level": level, "power": power, "questions": questions} | {
        "num_images": len(_only(variant)),
        "num_groups": spread.num_images,
        "num_seeds_variant": len(own),
        "num_seeds_base": len(other),
        "paired_seeds": paired,
        **_about(fewest, most, folds is not None),
    }
    return tuple(
        _difference({key: float(row[m]) for key, row in numbers.items()}, components, reason, shared)
        for m, (reason, components) in enumerate(zip(reasons, components_of(spread, fewest), strict=True))
    )


Found = TypeVar("Found", Estimate, "Difference")


def without_interval(found: Found, reason: str) -> Found:
    """The same number without interval and test, for a ``reason``; itself where that is empty."""
    if not reason or found.reason:
        return found
    gone = [key for key in ("low", "high", "degrees_of_freedom", "p_value", "detectable") if hasattr(found, key)]
    changed: dict[str, Any] = dict.fromkeys(gone, math.nan)
    changed |= {"components": None} if isinstance(found, Difference) else {}
    return replace(found, **changed, method="", reason=reason)


def of_fixed_network(found: Difference, elsewhere: bool, chosen: bool) -> Difference:
    """The same difference with the advice for a single network that was trained elsewhere, or chosen from several seeds."""
    if found.assumption != ONE_AGAINST_SEVERAL or not (elsewhere or chosen):
        return found
    return replace(found, assumption=FIXED_AGAINST_SEVERAL if elsewhere else CHOSEN_AGAINST_SEVERAL)


def _detectable(spread: Spread, level: float, questions: int, power: float, limit: float) -> Values:
    """The smallest differences (m,) that would be found; NaN beyond ``limit``, and if there is no question."""
    if questions == 0:
        return np.full(spread.image.shape, np.nan)
    seen = spread.variance(True).detectable(1 - (1 - level) / questions, power)
    return np.where(seen > limit, np.nan, seen)


def _same_predictions(numbers: dict[str, Values], reasons: tuple[str, ...], varies: Values) -> tuple[str, ...]:
    """Put in what the same predictions show on any images, no difference; return the reasons that are left.

    The same counts are treated as the same predictions where the score varies (m,) with the images. Two networks without an
    error on a few easy images may well be different.
    """
    value = numbers["value"]
    numbers |= {"low": value, "high": value, "p_value": np.where(np.isnan(value), np.nan, 1.0)}
    numbers["standard_error"] = np.zeros(value.shape)
    rows = zip(reasons, value, varies, strict=True)
    return tuple(reason if np.isnan(x) or not of_images else "" for reason, x, of_images in rows)


def _about(fewest: int, most: int, over_folds: bool) -> dict[str, str]:
    """Whom the interval speaks about, given the numbers of networks of the two sides, and what limits it."""
    if over_folds:
        return {"population": IMAGES_AND_SEEDS, "assumption": OVER_FOLDS}
    if fewest == 1 < most:
        return {"population": THIS_NETWORK, "assumption": ONE_AGAINST_SEVERAL}
    return {"population": IMAGES_AND_SEEDS if most > 1 else IMAGES, "assumption": ""}


def _checked_alike(
    variant: Networks, base: Networks, groups: GroupLabels | None, pair_seeds: bool
) -> tuple[Networks, Networks]:
    own, other = checked(variant, groups), checked(base, groups)
    if pair_seeds and own.keys() != other.keys():
        raise DataError(
            f"networks are to be compared seed by seed, but the sides have the seeds {sorted(own)} and {sorted(other)}; "
            "give both the same seeds"
        )
    shapes = [np.shape(_only(side)) for side in (own, other)]
    if shapes[0] != shapes[1]:
        raise DataError(
            f"variant and baseline must be scored on the same images and classes, but their counts are {shapes[0]} "
            f"and {shapes[1]}"
        )
    return own, other


def _only(side: Networks) -> Counts:
    return next(iter(side.values()))


def _arms(variant: Arm, base: Arm, in_order: bool) -> list[Arm]:
    """One arm of differences where networks belong together one by one, else two of which the second is taken away."""
    if in_order:
        return [Arm(variant.values - base.values, variant.influences - base.influences)]
    return [variant, Arm(-base.values, -base.influences)]


def _numbers(
    value: Values, spread: Spread, exchanged: Values, level: float, limits: tuple[float, float]
) -> dict[str, Values]:
    """The numbers of a difference, each (m,)."""
    variance = spread.variance()
    half, p_value = variance.half_width(level), variance.p_value(value)
    return {
        "value": value,
        "low": np.clip(value - half, *limits),
        "high": np.clip(value + half, *limits),
        "standard_error": variance.standard_error,
        "degrees_of_freedom": variance.equivalent_degrees(level),
        "p_value": p_value if spread.seeds else np.fmax(p_value, exchanged),  # there may be no permutation test
        "p_exchange": exchanged,
        "effective_images": spread.effective_images,
    }


def _difference(numbers: dict[str, float], components: Components, reason: str, shared: dict[str, Any]) -> Difference:
    """Numbers that cannot be defended are taken out."""
    if reason:
        kept = ("value", "standard_error", "p_exchange", "effective_images")
        numbers = {key: number if key in kept else math.nan for key, number in numbers.items()}
    fields: dict[str, Any] = {**numbers, **shared, "method": "" if reason else "t", "reason": reason}
    if shared["population"] == THIS_NETWORK:
        fields |= {"p_value": math.nan, "detectable": math.nan}
    tells = not reason and numbers["standard_error"] > 0 and not shared["assumption"]
    return Difference(**fields, components=components if tells else None)


def holm(p_values: Sequence[float] | Values) -> Values:
    """p-values adjusted for a family of questions by Holm's step-down rule; NaN stays NaN and is not a question.

    The chance of any false "better" or "worse" in the whole family is then at most the level.

    Source: Holm, A simple sequentially rejective multiple test procedure, Scand. J. Statist. 1979.

    >>> holm([0.01, 0.04, 0.03, float("nan")]).round(2).tolist()
    [0.03, 0.06, 0.06, nan]
    """
    given = np.asarray(p_values, np.float64)
    adjusted = np.full(given.shape, np.nan)
    known = np.flatnonzero(~np.isnan(given))
    order = known[np.argsort(given[known])]
    times = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(times * given[order]), 1.0)
    return adjusted


def verdict(difference: Difference, adjusted_p: float | None = None, higher_is_better: bool = True) -> str:
    """Return ``"better"``, ``"worse"`` or ``"not distinguishable"``; ``""`` where there is no test.

    The interval leaves out 0 wherever this says better or worse. The reverse holds for one question and as many seeds on
    both sides. It need not hold elsewhere: the test is then more cautious than the interval, and a family of questions
    asks for more than one does.

    Parameters
    ----------
    difference
        Variant minus baseline.
    adjusted_p
        Its p-value after :func:`holm` over the family; None: this is the only question.
    higher_is_better
        False for distances and errors.

    """
    p_value = difference.p_value if adjusted_p is None else adjusted_p
    if math.isnan(p_value):
        return ""
    if p_value > 1 - difference.level:
        return UNDECIDED
    return BETTER if (difference.value > 0) == higher_is_better else WORSE
