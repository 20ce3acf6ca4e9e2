"""Every measure of every count declares the laws that it obeys on masks; each law is held over all that declare it.

``test_measure_laws`` holds more laws over the measures of the confusion matrix, on any matrix. Here masks are counted,
so that counting and measure are tested together.

Array letters: ``n`` image, ``h`` height, ``w`` width, ``c`` class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from fakes import random_masks
from segstudy.arrays import Counts
from segstudy.counts.counting import count_pair, measures_of, stack_counts
from segstudy.measures import Measure, merge, support
from segstudy.schema import ScoringRules

Masks = tuple[np.ndarray, np.ndarray, np.ndarray]  # truth, prediction, confidence, (h, w)
NUM_CLASSES, IGNORE = 4, 255
SEEDS = range(16)
RULES = ScoringRules(
    boundary_iou_share=0.1,
    tolerances_px=[1, 2],
    tolerance_shares=[0.02, 0.125],
    min_object_px=3,
    object_sizes_px=[8, 16],
    calibration_bins=5,
)
ALL = measures_of(RULES)
BY_KEY = {measure.key: measure for measure in ALL}

# What every measure obeys; a new one gets no exemption.
COMMON = frozenset(
    {
        "relabelling",  # other numbers for the classes: per-class values move along, overall ones stay
        "turning",  # both masks mirrored or turned by 90 degrees: the same
        "moving",  # the picture elsewhere in a frame of ignored pixels: the same
        "under_ignored",  # what is predicted, and how surely, where the truth is ignored: no matter
        "batching",  # counts of many images at once, or one by one: the same
        "image_order",  # images in another order: the same
        "nothing_added",  # an image of ignored pixels alone changes nothing
        "repetition",  # all images counted twice: the same
        "bounds",  # within the declared bounds, or NaN
        "empty",  # no pixel: NaN
        "absent_class",  # a further class that occurs nowhere is NaN and changes nothing
        "not_there",  # NaN for every class without a true pixel
    }
)
# Beyond the common ones:
#   perfect          where prediction and truth are the same: the best value, or NaN
#   symmetry         exchanging truth and prediction changes nothing, for classes that are in both
#   undefined        NaN only for classes without a true pixel
#   mean_of_images   the value of many images is the mean of theirs; all others weigh pixels or objects alike
PERFECT = frozenset({"perfect"})
BOTH_WAYS = PERFECT | {"symmetry"}
TOLERANT = [f"{name}_{at}" for name in ("boundary_f", "surface_dice") for at in ("1px", "2px", "2pct", "12.5pct")]
OF_A_CLASS: dict[str, frozenset[str]] = {
    **dict.fromkeys(("iou", "dice"), BOTH_WAYS | {"undefined"}),
    "class_accuracy": PERFECT | {"undefined"},
    "precision": PERFECT,
    "boundary_iou": BOTH_WAYS,
    **dict.fromkeys(TOLERANT, BOTH_WAYS),
    "hausdorff95": BOTH_WAYS | {"mean_of_images"},
    "surface_distance": BOTH_WAYS,
    **dict.fromkeys(("missed_objects", "spurious_objects", "merged_objects", "split_objects"), PERFECT),
    **dict.fromkeys(("missed_holes", "spurious_holes"), PERFECT),
    **dict.fromkeys(("iou_small", "iou_medium", "iou_large"), PERFECT),
    **dict.fromkeys(("lost_boundary", "lost_missed", "lost_spurious"), PERFECT | {"undefined"}),
}
CONFUSION_ALONE = {"iou", "dice", "class_accuracy", "precision"}  # their means have keys of their own
LAWS: dict[str, frozenset[str]] = {
    **OF_A_CLASS,
    **{
        f"mean_{k}": laws - {"undefined", "mean_of_images"}
        for k, laws in OF_A_CLASS.items()
        if k not in CONFUSION_ALONE
    },
    **dict.fromkeys(("miou", "mdice", "pixel_accuracy"), BOTH_WAYS),
    "mean_class_accuracy": PERFECT,
    **dict.fromkeys(("miou_rare", "miou_common", "miou_frequent"), PERFECT),
    "ece": frozenset({"symmetry"}),  # being right does not make it 0: one must have been sure
    "aurc": BOTH_WAYS,
}
# The first of two images' pair is the second's with truth and prediction exchanged.
MIRRORED = (
    ("class_accuracy", "precision"),
    ("missed_objects", "spurious_objects"),
    ("split_objects", "merged_objects"),
    ("missed_holes", "spurious_holes"),
)
# (lower, higher): the first is never above the second.
ORDERED = (
    ("boundary_f_1px", "boundary_f_2px"),
    ("boundary_f_2pct", "boundary_f_12.5pct"),
    ("surface_dice_1px", "surface_dice_2px"),
    ("surface_dice_2pct", "surface_dice_12.5pct"),
)


def holds(law: str) -> pytest.MarkDecorator:
    """Run a test over all measures that declare ``law``."""
    chosen = [m for m in ALL if law in COMMON or law in LAWS.get(m.key, COMMON)]
    return pytest.mark.parametrize("measure", chosen, ids=lambda measure: measure.key)


def masks_of(seed: int) -> Masks:
    truth, prediction = random_masks(seed)
    if seed % 3 == 0:
        truth[4, 4] = 3  # a rare class
    return truth, prediction, np.random.default_rng(seed).random(truth.shape)


# A change of masks, by name: counts of changed masks are wanted by every measure, and made once.
def changed(how: str, truth: np.ndarray, prediction: np.ndarray, confidence: np.ndarray) -> Masks:
    masks = truth, prediction, confidence
    ignored = truth == IGNORE
    if how == "exchanged":
        return np.where(ignored, truth, prediction), np.where(ignored, prediction, truth), confidence
    if how == "perfect":
        return truth, np.where(ignored, prediction, truth), confidence
    if how == "relabelled":
        return RELABELLED[truth], RELABELLED[prediction], confidence
    if how == "mirrored":
        return tuple(mask[:, ::-1] for mask in masks)
    if how == "turned":
        return tuple(np.rot90(mask) for mask in masks)
    if how == "under ignored":
        other = np.random.default_rng(0).integers(0, 256, truth.shape, dtype=np.uint8)
        return truth, np.where(ignored, other, prediction), np.where(ignored, math.nan, confidence)
    if how == "ignored":
        return np.full_like(truth, IGNORE), prediction, confidence
    assert how in {"high", "low"}
    at = (6, 9) if how == "high" else (8, 6)  # bands are 4 pixels wide at most
    margins = [(a, 32 - a - length) for a, length in zip(at, truth.shape, strict=True)]
    return tuple(np.pad(mask, margins, constant_values=IGNORE if mask is truth else 0) for mask in masks)


ORDER = [2, 0, 3, 1]  # class k becomes class ORDER[k]
RELABELLED = np.arange(256, dtype=np.uint8)
RELABELLED[:NUM_CLASSES] = ORDER


@cache
def counts_of(seed: int, how: str = "", num_classes: int = NUM_CLASSES) -> dict[str, Counts]:
    truth, prediction, confidence = changed(how, *masks_of(seed)) if how else masks_of(seed)
    return count_pair(truth, prediction, num_classes, RULES, confidence=confidence)


def value(measure: Measure, seed: int, how: str = "", num_classes: int = NUM_CLASSES) -> np.ndarray:
    return measure.function(counts_of(seed, how, num_classes)[measure.counts])


@cache
def stack() -> dict[str, Counts]:
    return stack_counts([counts_of(seed) for seed in SEEDS])


def best(measure: Measure) -> float:
    return measure.bounds[measure.higher_is_better]


def comparable(measure: Measure, seed: int) -> np.ndarray:
    """Where exchanging the masks can be compared: classes in both; for an overall value, if no class is in one alone."""
    confusion = counts_of(seed)["confusion"]
    there = np.stack([confusion.sum(axis=0), confusion.sum(axis=1)]) > 0
    return there.all(axis=0) if measure.per_class else np.asarray((there[0] == there[1]).all())


# No measure and no law escapes


def test_every_measure_declares_its_laws() -> None:
    assert len(BY_KEY) == len(ALL), "two measures have one key"
    assert len({measure.label for measure in ALL}) == len(ALL), "two measures have one label"
    assert set(LAWS) == set(BY_KEY), "the table above and counting.measures_of name different measures"


def test_every_law_is_held_over_the_measures_that_declare_it() -> None:
    for law in COMMON.union(*LAWS.values()):
        test: Callable[..., None] = globals()[f"test_{law}"]
        (mark,) = [mark for mark in test.pytestmark if mark.name == "parametrize" and mark.args[0] == "measure"]
        tested = {measure.key for measure in mark.args[1]}
        assert tested == {key for key, laws in LAWS.items() if law in COMMON | laws}, law


@pytest.mark.parametrize("measure", ALL, ids=lambda measure: measure.key)
def test_the_contract_is_kept(measure: Measure) -> None:
    assert ("class" in measure.levels) == measure.per_class == (measure.levels == ("class",))
    for lead in ((), (3,), (2, 3)):
        counts = np.ones((*lead, *counts_of(0)[measure.counts].shape), np.int64)
        values = measure.function(counts)
        assert values.shape == ((*lead, NUM_CLASSES) if measure.per_class else lead)
        assert values.dtype == np.float64


def test_masks_show_what_the_laws_are_about() -> None:
    """No measure is undefined, or always at its best, on all of the masks."""
    for measure in ALL:
        values = np.stack([value(measure, seed) for seed in SEEDS])
        assert (values[~np.isnan(values)] != best(measure)).any(), measure.key
    assert sum(comparable(BY_KEY["miou"], seed).all() for seed in SEEDS) >= 4


# What is not declared is not obeyed: a counterexample is found, so that the table is no more modest than the truth.


@pytest.mark.parametrize("measure", [m for m in ALL if "symmetry" not in LAWS[m.key]], ids=lambda m: m.key)
def test_the_others_are_not_symmetric(measure: Measure) -> None:
    for seed in range(100):
        own, exchanged = value(measure, seed), value(measure, seed, "exchanged")
        if not np.allclose(own[comparable(measure, seed)], exchanged[comparable(measure, seed)], equal_nan=True):
            return
    pytest.fail("no counterexample: declare the law")


@pytest.mark.parametrize(
    "measure", [m for m in ALL if m.per_class and "undefined" not in LAWS[m.key]], ids=lambda m: m.key
)
def test_the_others_are_undefined_elsewhere_too(measure: Measure) -> None:
    lonely = np.array([[255, 255, 255], [255, 1, 255], [255, 255, 255]], np.uint8)  # there, and without a boundary
    images = [count_pair(lonely, np.zeros_like(lonely), NUM_CLASSES, RULES), *map(counts_of, SEEDS)]
    assert any(
        (np.isnan(measure.function(counts[measure.counts])) & (support(counts["confusion"]) > 0)).any()
        for counts in images
    )


@pytest.mark.parametrize(
    "measure", [m for m in ALL if m.per_class and "mean_of_images" not in LAWS[m.key]], ids=lambda m: m.key
)
def test_the_others_are_not_means_of_images(measure: Measure) -> None:
    merged, means = merged_and_means(measure)
    assert not np.allclose(merged, means, equal_nan=True)


# Laws


@holds("relabelling")
def test_relabelling(measure: Measure) -> None:
    for seed in SEEDS:
        moved = value(measure, seed, "relabelled")
        assert_allclose(moved[..., ORDER] if measure.per_class else moved, value(measure, seed), rtol=1e-12)


@holds("turning")
def test_turning(measure: Measure) -> None:
    for seed in SEEDS:
        for how in ("mirrored", "turned"):
            assert_allclose(value(measure, seed, how), value(measure, seed), rtol=1e-12)


@holds("moving")
def test_moving(measure: Measure) -> None:
    for seed in SEEDS:
        assert_array_equal(value(measure, seed, "low"), value(measure, seed, "high"))


@holds("under_ignored")
def test_under_ignored(measure: Measure) -> None:
    for seed in SEEDS:
        assert_array_equal(value(measure, seed, "under ignored"), value(measure, seed))


@holds("batching")
def test_batching(measure: Measure) -> None:
    one_by_one = np.stack([value(measure, seed) for seed in SEEDS])
    assert_array_equal(measure.function(stack()[measure.counts]), one_by_one)
    assert_array_equal(measure.function(stack()[measure.counts][None]), one_by_one[None])


@holds("image_order")
def test_image_order(measure: Measure) -> None:
    counts = stack()[measure.counts]
    assert_array_equal(measure.function(merge(counts[::-1])), measure.function(merge(counts)))


@holds("nothing_added")
def test_nothing_added(measure: Measure) -> None:
    counts, nothing = stack()[measure.counts], counts_of(0, "ignored")[measure.counts]
    assert_array_equal(measure.function(merge(np.stack([*counts, nothing]))), measure.function(merge(counts)))


@holds("repetition")
def test_repetition(measure: Measure) -> None:
    for seed in SEEDS:
        counts = counts_of(seed)[measure.counts]
        assert_allclose(measure.function(merge(np.stack([counts] * 3))), measure.function(counts), rtol=1e-12)


@holds("bounds")
def test_bounds(measure: Measure) -> None:
    least, most = measure.bounds
    values = np.stack([value(measure, seed) for seed in SEEDS])
    assert (np.isnan(values) | ((values >= least) & (values <= most))).all()


@holds("empty")
def test_empty(measure: Measure) -> None:
    assert np.isnan(value(measure, 0, "ignored")).all()


@holds("absent_class")
def test_absent_class(measure: Measure) -> None:
    for seed in SEEDS:
        wider = value(measure, seed, num_classes=NUM_CLASSES + 1)
        if measure.per_class:
            assert np.isnan(wider[-1])
        assert_allclose(wider[:-1] if measure.per_class else wider, value(measure, seed), rtol=1e-12)


@holds("not_there")
def test_not_there(measure: Measure) -> None:
    for seed in SEEDS:
        absent = support(counts_of(seed)["confusion"]) == 0
        values = value(measure, seed)
        assert np.isnan(values[absent] if measure.per_class else values[absent.all()]).all()


@holds("perfect")
def test_perfect(measure: Measure) -> None:
    values = np.stack([value(measure, seed, "perfect") for seed in SEEDS])
    assert set(values[~np.isnan(values)].tolist()) == {best(measure)}


@holds("symmetry")
def test_symmetry(measure: Measure) -> None:
    for seed in SEEDS:
        at = comparable(measure, seed)
        assert_allclose(value(measure, seed, "exchanged")[at], value(measure, seed)[at], rtol=1e-12)


@holds("undefined")
def test_undefined(measure: Measure) -> None:
    for seed in SEEDS:
        absent = support(counts_of(seed)["confusion"]) == 0
        assert_array_equal(np.isnan(value(measure, seed)), absent)


def merged_and_means(measure: Measure) -> tuple[np.ndarray, np.ndarray]:
    """Value of all images' counts merged, and the mean of the images' values, for classes that are in some."""
    counts = stack()[measure.counts]
    merged, values = measure.function(merge(counts)), measure.function(counts)
    some = ~np.isnan(values).all(axis=0)
    return merged[some], np.nanmean(values[:, some], axis=0)


@holds("mean_of_images")
def test_mean_of_images(measure: Measure) -> None:
    assert not measure.pooled
    merged, means = merged_and_means(measure)
    assert_allclose(merged, means, rtol=1e-12)


# Relations between measures


@pytest.mark.parametrize(("own", "other"), MIRRORED)
def test_mirrored(own: str, other: str) -> None:
    for seed in SEEDS:
        at = comparable(BY_KEY[own], seed)
        assert_array_equal(value(BY_KEY[own], seed, "exchanged")[at], value(BY_KEY[other], seed)[at])


@pytest.mark.parametrize(("lower", "higher"), ORDERED)
def test_never_above(lower: str, higher: str) -> None:
    low, high = (np.stack([value(BY_KEY[key], seed) for seed in SEEDS]) for key in (lower, higher))
    defined = ~np.isnan(low)
    assert_array_equal(np.isnan(low), np.isnan(high))
    assert (low[defined] <= high[defined]).all() and (low[defined] < high[defined]).any()


@pytest.mark.parametrize("measure", [m for m in ALL if f"mean_{m.key}" in BY_KEY], ids=lambda m: m.key)
def test_means_are_over_the_classes_in_which_a_measure_is_defined(measure: Measure) -> None:
    for seed in SEEDS:
        values = [v for v in value(measure, seed).tolist() if not math.isnan(v)]
        expected = sum(values) / len(values) if values else math.nan
        assert_allclose(value(BY_KEY[f"mean_{measure.key}"], seed), expected, rtol=1e-14)


def test_lost_iou_adds_up() -> None:
    counts = merge(stack()["lost"])
    parts = sum(BY_KEY[f"lost_{kind}"].function(counts) for kind in ("boundary", "missed", "spurious"))
    assert_allclose(parts, 1 - BY_KEY["iou"].function(merge(stack()["confusion"])), rtol=1e-12)


def test_counts_of_measures_are_counted() -> None:
    assert {measure.counts for measure in ALL} == set(counts_of(0))
    shapes = {name: array.shape for name, array in counts_of(0).items()}
    assert all({n: a.shape for n, a in counts_of(seed).items()} == shapes for seed in SEEDS)
    assert all(array.dtype == np.int64 and array.min() >= 0 for array in stack().values())
