"""Every measure declares the laws that it obeys; each law is held over all measures that declare it.

Array letters: ``n`` image, ``c`` true or predicted class. A confusion matrix has truth in rows.
"""

from __future__ import annotations

from collections.abc import Callable

import hypothesis.extra.numpy as npst
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from segstudy import measures
from segstudy.arrays import Confusion
from segstudy.counts.counting import confusion_matrix
from segstudy.measures import OVERALL, PER_CLASS, Measure, merge

ALL = (*PER_CLASS, *OVERALL)
BY_KEY = {measure.key: measure for measure in ALL}

# What every measure obeys; a new one gets no exemption.
COMMON = frozenset(
    {
        "relabelling",  # other numbers for the classes: per-class values move along, overall ones stay
        "image_order",  # images in another order: the same
        "merging",  # counts of parts, merged, say the same as counts of the whole
        "batching",  # many matrices at once, or one by one: the same
        "bounds",  # 0 to 1, or NaN
        "perfect",  # no wrong pixel: 1, or NaN for absent classes
        "empty",  # no pixel: NaN
        "scaling",  # every count k times as high: the same
        "absent_class",  # a further class that occurs nowhere is NaN and changes nothing
        "absent_alike",  # which of several absent classes a pixel was mistaken for does not matter
        "correction",  # putting a wrong pixel right makes no value lower
    }
)

# The table: measure -> its laws beyond the common ones.
#   symmetry         exchanging truth and prediction changes nothing, for classes present in both
#   undefined        NaN for exactly the classes that have no true pixel
#   defined          NaN only where there is no pixel at all
LAWS: dict[str, frozenset[str]] = {
    "iou": COMMON | {"symmetry", "undefined"},
    "dice": COMMON | {"symmetry", "undefined"},
    "class_accuracy": COMMON | {"undefined"},
    "precision": COMMON,  # NaN also where never predicted, and so 1 where only right predictions are made
    "miou": COMMON | {"symmetry", "defined"},
    "mdice": COMMON | {"symmetry", "defined"},
    "pixel_accuracy": COMMON | {"symmetry", "defined"},
    "mean_class_accuracy": COMMON | {"defined"},
}
# (lower, higher): the first is never above the second.
ORDERED = (
    ("iou", "dice"),
    ("iou", "class_accuracy"),
    ("iou", "precision"),
    ("miou", "mdice"),
    ("miou", "mean_class_accuracy"),
)

quick = settings(max_examples=30, deadline=None)


def holds(law: str) -> pytest.MarkDecorator:
    """Run a test over all measures that declare ``law``."""
    return pytest.mark.parametrize(
        "measure", [m for m in ALL if law in LAWS.get(m.key, COMMON)], ids=lambda measure: measure.key
    )


def is_overall(measure: Measure) -> bool:
    return measure in OVERALL


def matrices(num_classes: int, count: int | None = None) -> st.SearchStrategy[Confusion]:
    """Counts (c, c), or (n, c, c), with absent and never predicted classes among them."""
    shape = (num_classes, num_classes) if count is None else (count, num_classes, num_classes)
    flags = npst.arrays(bool, (2, num_classes), elements=st.sampled_from([True, True, True, False]))
    counts = npst.arrays(np.int64, shape, elements=st.integers(0, 60))
    return st.builds(lambda m, keep: m * keep[0][:, None] * keep[1][None, :], counts, flags)


confusions = st.integers(2, 5).flatmap(matrices)
stacks = st.tuples(st.integers(1, 4), st.integers(2, 4)).flatmap(lambda shape: matrices(shape[1], shape[0]))


@st.composite
def complete(draw: st.DrawFn) -> Confusion:
    """Counts in which every class occurs in the truth and in the prediction."""
    confusion = draw(confusions)
    order = draw(st.permutations(range(len(confusion))))
    confusion[np.arange(len(confusion)), order] += 1
    return confusion


@st.composite
def masks(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    """Truth (uint8, with 255 for ignored pixels) and prediction of one shape, and the number of classes."""
    num_classes = draw(st.integers(2, 4))
    shape = (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    classes = st.integers(0, num_classes - 1)
    truth = draw(npst.arrays(np.uint8, shape, elements=classes | st.just(255)))
    return truth, draw(npst.arrays(np.uint8, shape, elements=classes)), num_classes


def move(values: np.ndarray, order: list[int], measure: Measure) -> np.ndarray:
    """Per-class values of classes in another order; overall values as they are."""
    return values if is_overall(measure) else values[..., order]


# No measure and no law escapes


def test_every_measure_declares_its_laws() -> None:
    assert len(BY_KEY) == len(ALL), "two measures have one key"
    assert len({measure.label for measure in ALL}) == len(ALL), "two measures have one label"
    assert set(LAWS) == set(BY_KEY), "the table above and measures.PER_CLASS + OVERALL name different measures"
    assert all(laws >= COMMON for laws in LAWS.values())


def test_every_law_is_held_over_the_measures_that_declare_it() -> None:
    for law in frozenset().union(*LAWS.values()):
        test: Callable[..., None] = globals()[f"test_{law}"]
        (mark,) = [mark for mark in test.pytestmark if mark.name == "parametrize" and mark.args[0] == "measure"]
        tested = {measure.key for measure in mark.args[1]}
        assert tested == {key for key, laws in LAWS.items() if law in laws}, law


@pytest.mark.parametrize("measure", ALL, ids=lambda measure: measure.key)
def test_shape_and_type_tell_the_level(measure: Measure) -> None:
    for lead in ((), (3,), (2, 3)):
        values = measure.function(np.ones((*lead, 4, 4), np.int64))
        assert values.shape == (lead if is_overall(measure) else (*lead, 4))
        assert values.dtype == np.float64


# What is not declared is not obeyed: one counterexample each, so that the table is no more modest than the truth.
NOT_SYMMETRIC = np.array([[4, 2], [0, 6]])
NEVER_PREDICTED = np.array([[3, 0], [2, 0]])


@pytest.mark.parametrize("measure", [m for m in ALL if "symmetry" not in LAWS[m.key]], ids=lambda m: m.key)
def test_the_others_are_not_symmetric(measure: Measure) -> None:
    assert not np.allclose(measure.function(NOT_SYMMETRIC), measure.function(NOT_SYMMETRIC.T))


@pytest.mark.parametrize("measure", [m for m in PER_CLASS if "undefined" not in LAWS[m.key]], ids=lambda m: m.key)
def test_the_others_are_undefined_elsewhere_too(measure: Measure) -> None:
    assert np.isnan(measure.function(NEVER_PREDICTED)[1])  # class 1 has two true pixels


# Laws


@holds("symmetry")
@quick
@given(confusion=complete())
def test_symmetry(measure: Measure, confusion: Confusion) -> None:
    assert_allclose(measure.function(confusion.T), measure.function(confusion), rtol=1e-14)


@holds("relabelling")
@quick
@given(confusion=confusions, data=st.data())
def test_relabelling(measure: Measure, confusion: Confusion, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(confusion))))
    relabelled = confusion[np.ix_(order, order)]
    assert_allclose(measure.function(relabelled), move(measure.function(confusion), order, measure), rtol=1e-14)


@holds("image_order")
@quick
@given(stack=stacks, data=st.data())
def test_image_order(measure: Measure, stack: Confusion, data: st.DataObject) -> None:
    order = data.draw(st.permutations(range(len(stack))))
    assert_array_equal(measure.function(merge(stack[order])), measure.function(merge(stack)))
    assert_array_equal(measure.function(stack[order]), measure.function(stack)[order])


@holds("merging")
@quick
@given(pair=masks(), data=st.data())
def test_merging(measure: Measure, pair: tuple[np.ndarray, np.ndarray, int], data: st.DataObject) -> None:
    truth, prediction, num_classes = pair
    cuts = sorted(data.draw(st.lists(st.integers(0, len(truth)), max_size=3)))  # some parts are empty
    parts = zip(np.split(truth, cuts), np.split(prediction, cuts), strict=True)
    merged = merge(np.stack([confusion_matrix(*part, num_classes) for part in parts]))
    whole = confusion_matrix(truth, prediction, num_classes)
    assert_array_equal(merged, whole)
    assert whole.sum() == np.count_nonzero(truth != 255)
    assert_array_equal(measure.function(merged), measure.function(whole))


@holds("batching")
@quick
@given(stack=stacks)
def test_batching(measure: Measure, stack: Confusion) -> None:
    one_by_one = np.stack([measure.function(confusion) for confusion in stack])
    assert_array_equal(measure.function(stack), one_by_one)
    assert_array_equal(measure.function(stack[None]), one_by_one[None])


@holds("bounds")
@quick
@given(confusion=confusions)
def test_bounds(measure: Measure, confusion: Confusion) -> None:
    values = measure.function(confusion)
    assert (np.isnan(values) | ((values >= 0) & (values <= 1))).all()


@holds("perfect")
@quick
@given(pixels=npst.arrays(np.int64, st.integers(2, 6), elements=st.integers(0, 60)))
def test_perfect(measure: Measure, pixels: np.ndarray) -> None:
    expected = np.where(pixels > 0, 1.0, np.nan)
    if is_overall(measure):
        expected = np.array(1.0 if pixels.any() else np.nan)
    assert_array_equal(measure.function(np.diag(pixels)), expected)


@holds("empty")
@pytest.mark.parametrize("num_classes", [2, 5])
def test_empty(measure: Measure, num_classes: int) -> None:
    assert np.isnan(measure.function(np.zeros((num_classes, num_classes), np.int64))).all()
    ignored = np.full((2, 2), 255, np.uint8)
    assert np.isnan(measure.function(confusion_matrix(ignored, np.zeros_like(ignored), num_classes))).all()


@holds("scaling")
@quick
@given(confusion=confusions, factor=st.integers(2, 10**9))
def test_scaling(measure: Measure, confusion: Confusion, factor: int) -> None:
    assert_array_equal(measure.function(confusion * factor), measure.function(confusion))


@holds("absent_class")
@quick
@given(confusion=confusions, data=st.data())
def test_absent_class(measure: Measure, confusion: Confusion, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(confusion)))
    wider = np.insert(np.insert(confusion, place, 0, axis=0), place, 0, axis=1)
    values = measure.function(wider)
    if not is_overall(measure):
        assert np.isnan(values[place])
        values = np.delete(values, place)
    assert_allclose(values, measure.function(confusion), rtol=1e-14)


@holds("absent_alike")
@quick
@given(confusion=confusions, data=st.data())
def test_absent_alike(measure: Measure, confusion: Confusion, data: st.DataObject) -> None:
    num_classes = len(confusion)
    first = np.pad(confusion, (0, 2))  # two more classes without a true pixel
    mistaken = data.draw(npst.arrays(np.int64, num_classes, elements=st.integers(0, 60)))
    second = first.copy()
    first[:num_classes, num_classes] = mistaken
    second[:num_classes, num_classes + 1] = mistaken
    assert_allclose(measure.function(second), measure.function(first), rtol=1e-14)
    if not is_overall(measure):
        assert np.isnan(measure.function(first)[num_classes:]).all()


@holds("correction")
@quick
@given(confusion=complete(), data=st.data())
def test_correction(measure: Measure, confusion: Confusion, data: st.DataObject) -> None:
    classes = st.integers(0, len(confusion) - 1)
    true, predicted = data.draw(classes), data.draw(classes)
    confusion[true, predicted] += 1
    corrected = confusion.copy()
    corrected[true, predicted] -= 1
    corrected[true, true] += 1
    assert (measure.function(corrected) >= measure.function(confusion) - 1e-14).all()


@holds("undefined")
@quick
@given(confusion=confusions)
def test_undefined(measure: Measure, confusion: Confusion) -> None:
    assert_array_equal(np.isnan(measure.function(confusion)), [sum(row) == 0 for row in confusion.tolist()])


@holds("defined")
@quick
@given(confusion=confusions)
def test_defined(measure: Measure, confusion: Confusion) -> None:
    assert np.isnan(measure.function(confusion)) == (not confusion.any())


# Relations between measures


@pytest.mark.parametrize(("lower", "higher"), ORDERED)
@quick
@given(confusion=confusions)
def test_never_above(lower: str, higher: str, confusion: Confusion) -> None:
    low, high = BY_KEY[lower].function(confusion), BY_KEY[higher].function(confusion)
    both = ~(np.isnan(low) | np.isnan(high))
    assert (low[both] <= high[both] + 1e-14).all()


@quick
@given(confusion=confusions)
def test_dice_follows_from_iou(confusion: Confusion) -> None:
    overlap = measures.iou(confusion)
    assert_allclose(measures.dice(confusion), 2 * overlap / (1 + overlap), rtol=1e-14)


@quick
@given(confusion=complete())
def test_precision_is_class_accuracy_with_truth_and_prediction_exchanged(confusion: Confusion) -> None:
    assert_array_equal(measures.precision(confusion), measures.class_accuracy(confusion.T))


@quick
@given(confusion=complete())
def test_pixel_accuracy_is_class_accuracy_weighted_by_true_pixels(confusion: Confusion) -> None:
    weighted = np.average(measures.class_accuracy(confusion), weights=confusion.sum(axis=1))
    assert_allclose(measures.pixel_accuracy(confusion), weighted, rtol=1e-14)


@pytest.mark.parametrize(
    ("overall", "per_class"), [("miou", "iou"), ("mdice", "dice"), ("mean_class_accuracy", "class_accuracy")]
)
@quick
@given(confusion=confusions.filter(np.any))
def test_means_are_over_the_classes_with_true_pixels(overall: str, per_class: str, confusion: Confusion) -> None:
    present = [k for k, row in enumerate(confusion.tolist()) if sum(row)]
    values = BY_KEY[per_class].function(confusion).tolist()
    expected = sum(values[k] for k in present) / len(present)
    assert_allclose(BY_KEY[overall].function(confusion), expected, rtol=1e-14)


@quick
@given(stack=stacks, data=st.data())
def test_a_constant_prediction_finds_one_class_and_no_other(stack: Confusion, data: st.DataObject) -> None:
    label = data.draw(st.integers(0, stack.shape[-1] - 1))
    constant = measures.constant_prediction(stack, label)
    assert_array_equal(constant.sum(axis=-1), stack.sum(axis=-1))
    found = measures.class_accuracy(constant)
    assert set(found[..., label][~np.isnan(found[..., label])].tolist()) <= {1.0}
    assert set(np.delete(found, label, axis=-1)[~np.isnan(np.delete(found, label, axis=-1))].tolist()) <= {0.0}
