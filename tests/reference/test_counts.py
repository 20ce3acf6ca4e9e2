"""Counts and measures against other libraries and against slow code; where the rules differ, each difference is pinned.

The differences stand in ``docs/reference/measures.md``; a test here names the library whose rule it shows.
"""

from __future__ import annotations

import doctest
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.metrics
import torch
from numpy.testing import assert_allclose, assert_array_equal

from reference import slow_measures as slow
from segstudy import measures
from segstudy.counts.counting import confusion_matrix, measures_of
from segstudy.measures import OVERALL, PER_CLASS, merge
from segstudy.networks.build import import_smp
from segstudy.schema import ScoringRules

smp: Any = import_smp()  # before torchmetrics, which imports torchvision

from torchmetrics.classification import (  # noqa: E402
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassJaccardIndex,
    MulticlassPrecision,
)
from torchmetrics.segmentation import DiceScore, MeanIoU  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "measures.md"
IGNORE = 255
NUM_CLASSES = 6
ABSENT, NEVER_PREDICTED, NOWHERE = 2, 3, 5  # what happens to these classes in the random masks
SEEDS = range(6)
SINGLE = 1e-6  # relative error of libraries that compute in single precision

Masks = tuple[np.ndarray, np.ndarray]  # truth and prediction, (n, h, w) uint8


def random_masks(seed: int, *, absent_predicted: bool) -> Masks:
    """Images in which one class is never predicted, one is nowhere, one is in no truth; ignored pixels in each."""
    rng = np.random.default_rng(seed)
    shape = (3, 7, 9)
    truth = rng.choice(np.array([0, 1, NEVER_PREDICTED, 4], np.uint8), shape, p=[0.5, 0.2, 0.2, 0.1])
    others = [0, 1, 4, ABSENT] if absent_predicted else [0, 1, 4]
    right = (rng.random(shape) < 0.6) & (truth != NEVER_PREDICTED)
    prediction = np.where(right, truth, rng.choice(np.array(others, np.uint8), shape))
    truth[rng.random(shape) < 0.15] = IGNORE
    return truth, prediction


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def wild(request: pytest.FixtureRequest) -> Masks:
    """Masks in which an absent class is predicted."""
    return random_masks(request.param, absent_predicted=True)


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def tame(request: pytest.FixtureRequest) -> Masks:
    """Masks in which no absent class is predicted: there, most libraries' means agree."""
    return random_masks(request.param, absent_predicted=False)


def ours(masks: Masks) -> measures.Confusion:
    truth, prediction = masks
    return merge(np.stack([confusion_matrix(*pair, NUM_CLASSES) for pair in zip(truth, prediction, strict=True)]))


def counted(masks: Masks) -> Masks:
    """Flat truth and prediction of the pixels that count, for libraries that know no ignored value."""
    truth, prediction = masks
    return truth[truth != IGNORE], prediction[truth != IGNORE]


def tensors(masks: Masks) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and truth, in the order in which PyTorch libraries take them."""
    truth, prediction = masks
    return torch.from_numpy(prediction).long(), torch.from_numpy(truth).long()


def image(truth: list[list[int]], prediction: list[list[int]]) -> Masks:
    return np.array([truth], np.uint8), np.array([prediction], np.uint8)


def present_in(masks: Masks) -> list[int]:
    return sorted(set(counted(masks)[0].tolist()))


def test_the_random_masks_are_what_they_claim(wild: Masks, tame: Masks) -> None:
    for masks in (wild, tame):
        truth, prediction = counted(masks)
        assert present_in(masks) == [0, 1, NEVER_PREDICTED, 4]
        assert not {NEVER_PREDICTED, NOWHERE} & set(prediction.tolist())
        assert truth.size < masks[0].size
    assert ABSENT in counted(wild)[1] and ABSENT not in counted(tame)[1]


# Slow code


def test_slow_code_knows_every_measure() -> None:
    assert set(slow.PER_CLASS) == {measure.key for measure in PER_CLASS}
    assert set(slow.OVERALL) == {measure.key for measure in OVERALL}


def test_slow_code_agrees(wild: Masks) -> None:
    truth, prediction = wild
    seen = slow.pixels(truth.ravel().tolist(), prediction.ravel().tolist())
    confusion = ours(wild)
    assert confusion.tolist() == slow.counts(seen, NUM_CLASSES)
    for measure in PER_CLASS:
        expected = [slow.PER_CLASS[measure.key](seen, k) for k in range(NUM_CLASSES)]
        assert_allclose(measure.function(confusion), expected, rtol=1e-14, err_msg=measure.key)
    for measure in OVERALL:
        expected = slow.OVERALL[measure.key](seen, NUM_CLASSES)
        assert_allclose(measure.function(confusion), expected, rtol=1e-14, err_msg=measure.key)


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint32])
def test_any_integer_type_counts_alike(dtype: type) -> None:
    truth, prediction = np.array([0, 1, 1, 255, 2]), np.array([0, 1, 2, 2, 2])
    found = confusion_matrix(truth.astype(dtype), prediction.astype(dtype), 3)
    assert found.tolist() == [[1, 0, 0], [0, 1, 1], [0, 0, 1]]
    assert found.dtype == np.int64


def test_ignored_value_may_be_any() -> None:
    truth, prediction = np.array([0, 1, -1, 1]), np.array([0, 0, 1, 1])
    assert confusion_matrix(truth, prediction, 2, ignore=-1).tolist() == [[1, 0], [1, 1]]
    assert confusion_matrix(np.abs(truth), prediction, 2, ignore=0).tolist() == [[0, 0], [1, 2]]


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([0, 1], [0], "truth has shape (2,), prediction (1,)"),
        ([0, 2], [0, 1], "truth holds values outside the 2 classes 0-1"),
        ([0, -1], [0, 1], "truth holds values outside"),
        ([0, 1], [0, 2], "prediction holds values outside the 2 classes 0-1"),
        ([0, 1], [0, -1], "prediction holds values outside"),
        ([0, 1], [0, 255], "prediction holds values outside"),
    ],
)
def test_what_is_no_class_is_an_error(truth: list[int], prediction: list[int], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        confusion_matrix(np.array(truth), np.array(prediction), 2)


def test_anything_may_be_predicted_where_truth_is_ignored() -> None:
    assert confusion_matrix(np.array([0, 255, 255]), np.array([0, 7, 255]), 2).tolist() == [[1, 0], [0, 0]]


# scikit-learn


def test_scikit_learn_counts(wild: Masks) -> None:
    assert_array_equal(ours(wild), sklearn.metrics.confusion_matrix(*counted(wild), labels=range(NUM_CLASSES)))


@pytest.mark.parametrize(
    ("measure", "mean", "theirs"),
    [
        (measures.iou, measures.mean_iou, sklearn.metrics.jaccard_score),
        (measures.dice, measures.mean_dice, sklearn.metrics.f1_score),
        (measures.class_accuracy, measures.mean_class_accuracy, sklearn.metrics.recall_score),
    ],
)
def test_scikit_learn_over_present_classes(wild: Masks, measure: Any, mean: Any, theirs: Any) -> None:
    present = present_in(wild)
    expected = theirs(*counted(wild), labels=present, average=None)
    assert_allclose(measure(ours(wild))[present], expected, rtol=1e-14)
    expected = theirs(*counted(wild), labels=present, average="macro")
    assert_allclose(mean(ours(wild)), expected, rtol=1e-14)


def test_scikit_learn_precision_and_accuracies(tame: Masks) -> None:
    classes = range(NUM_CLASSES)
    expected = sklearn.metrics.precision_score(*counted(tame), labels=classes, average=None, zero_division=np.nan)
    assert_allclose(measures.precision(ours(tame)), expected, rtol=1e-14)
    assert_allclose(measures.pixel_accuracy(ours(tame)), sklearn.metrics.accuracy_score(*counted(tame)), rtol=1e-14)
    balanced = sklearn.metrics.balanced_accuracy_score(*counted(tame))
    assert_allclose(measures.mean_class_accuracy(ours(tame)), balanced, rtol=1e-14)


# torchmetrics


def test_torchmetrics_counts(wild: Masks) -> None:
    theirs = MulticlassConfusionMatrix(NUM_CLASSES, ignore_index=IGNORE)
    assert_array_equal(ours(wild), theirs(*tensors(wild)).numpy())


@pytest.mark.parametrize(
    ("measure", "mean", "theirs"),
    [
        (measures.iou, measures.mean_iou, MulticlassJaccardIndex),
        (measures.dice, measures.mean_dice, MulticlassF1Score),
        (measures.class_accuracy, measures.mean_class_accuracy, MulticlassAccuracy),
    ],
)
def test_torchmetrics_where_no_absent_class_is_predicted(tame: Masks, measure: Any, mean: Any, theirs: Any) -> None:
    present = present_in(tame)
    values = theirs(NUM_CLASSES, average="none", ignore_index=IGNORE)(*tensors(tame)).numpy()
    assert_allclose(measure(ours(tame))[present], values[present], rtol=SINGLE)
    value = theirs(NUM_CLASSES, average="macro", ignore_index=IGNORE)(*tensors(tame))
    assert_allclose(mean(ours(tame)), float(value), rtol=SINGLE)


def test_torchmetrics_pixel_accuracy_is_its_micro_accuracy(wild: Masks) -> None:
    value = MulticlassAccuracy(NUM_CLASSES, average="micro", ignore_index=IGNORE)(*tensors(wild))
    assert_allclose(measures.pixel_accuracy(ours(wild)), float(value), rtol=SINGLE)


def test_torchmetrics_precision(wild: Masks) -> None:
    known = [0, 1, 4]
    values = MulticlassPrecision(NUM_CLASSES, average="none", ignore_index=IGNORE)(*tensors(wild)).numpy()
    assert_allclose(measures.precision(ours(wild))[known], values[known], rtol=SINGLE)


def test_torchmetrics_dice_score_over_the_whole_set(tame: Masks) -> None:
    truth, prediction = tame
    filled = np.where(truth == IGNORE, 0, truth).astype(np.uint8), prediction  # it knows no ignored value
    score = DiceScore(NUM_CLASSES, average="macro", input_format="index", aggregation_level="global")
    assert_allclose(measures.mean_dice(ours(filled)), float(score(*tensors(filled))), rtol=SINGLE)


# segmentation-models-pytorch


def smp_stats(masks: Masks, num_classes: int = NUM_CLASSES) -> tuple[torch.Tensor, ...]:
    """True positives, false positives, false negatives and true negatives, (n, c)."""
    found: tuple[torch.Tensor, ...] = smp.metrics.get_stats(
        *tensors(masks), mode="multiclass", ignore_index=IGNORE, num_classes=num_classes
    )
    return found


def test_smp_counts(wild: Masks) -> None:
    confusion = ours(wild)
    hits = confusion.diagonal()
    tp, fp, fn, tn = (part.sum(0).numpy() for part in smp_stats(wild))
    assert_array_equal(tp, hits)
    assert_array_equal(fp, confusion.sum(axis=0) - hits)
    assert_array_equal(fn, confusion.sum(axis=1) - hits)
    assert_array_equal(tp + fp + fn + tn, np.full(NUM_CLASSES, confusion.sum()))


@pytest.mark.parametrize(
    ("measure", "theirs"), [("iou", "iou_score"), ("dice", "f1_score"), ("class_accuracy", "recall")]
)
def test_smp_over_present_classes(wild: Masks, measure: str, theirs: str) -> None:
    present = present_in(wild)
    merged = [part.sum(0)[present] for part in smp_stats(wild)]
    values = getattr(smp.metrics, theirs)(*merged, reduction=None).numpy()
    function = next(m.function for m in PER_CLASS if m.key == measure)
    assert_allclose(function(ours(wild))[present], values, rtol=SINGLE)


def test_smp_pixel_accuracy_is_its_micro_recall(wild: Masks) -> None:
    value = smp.metrics.recall(*smp_stats(wild), reduction="micro")
    assert_allclose(measures.pixel_accuracy(ours(wild)), float(value), rtol=SINGLE)


# Differences. The worked example of docs/reference/measures.md: class 0 has two pixels, one of them taken for class 2;
# class 1 has one; the fourth pixel is ignored; class 2 is absent but predicted.
EXAMPLE = image([[0, 0], [1, 255]], [[0, 2], [1, 0]])
PREDICTIONS, TRUTH = tensors(EXAMPLE)


def test_example_by_hand() -> None:
    confusion = confusion_matrix(*EXAMPLE, 3)
    assert confusion.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]
    nan = math.nan
    for function, expected in (
        (measures.iou, [1 / 2, 1, nan]),
        (measures.dice, [2 / 3, 1, nan]),
        (measures.class_accuracy, [1 / 2, 1, nan]),
        (measures.precision, [1, 1, nan]),
        (measures.mean_iou, 3 / 4),
        (measures.mean_dice, 5 / 6),
        (measures.pixel_accuracy, 2 / 3),
        (measures.mean_class_accuracy, 3 / 4),
    ):
        assert_allclose(function(confusion), expected, rtol=1e-15)


def test_scikit_learn_gives_zero_to_an_absent_class_that_is_predicted() -> None:
    truth, prediction = counted(EXAMPLE)
    assert sklearn.metrics.jaccard_score(truth, prediction, average=None).tolist() == [0.5, 1, 0]
    assert sklearn.metrics.jaccard_score(truth, prediction, average="macro") == 0.5  # here 0.75
    assert_allclose(sklearn.metrics.f1_score(truth, prediction, average="macro"), 5 / 9)  # here 5/6
    with pytest.warns(UserWarning, match="y_pred contains classes not in y_true"):
        assert sklearn.metrics.balanced_accuracy_score(truth, prediction) == 0.75  # as mean class accuracy here


def test_scikit_learn_gives_what_zero_division_says_to_a_class_that_is_nowhere() -> None:
    truth, prediction, four = *counted(EXAMPLE), [0, 1, 2, 3]
    undefined = sklearn.exceptions.UndefinedMetricWarning
    with pytest.warns(undefined, match="Jaccard is ill-defined and being set to 0"):
        assert sklearn.metrics.jaccard_score(truth, prediction, labels=four, average=None).tolist() == [0.5, 1, 0, 0]
    one = sklearn.metrics.jaccard_score(truth, prediction, labels=four, average="macro", zero_division=1)
    assert one == 2.5 / 4
    f1 = sklearn.metrics.f1_score(truth, prediction, labels=four, average=None, zero_division=np.nan)
    assert_allclose(f1, [2 / 3, 1, 0, np.nan])
    with pytest.raises(ValueError, match="zero_division"):  # NaN is not to be had for IoU
        sklearn.metrics.jaccard_score(truth, prediction, labels=four, average=None, zero_division=np.nan)
    # Recall has no true pixel to divide by, so this holds for class 2, absent but predicted, as well.
    recall = sklearn.metrics.recall_score
    assert recall(truth, prediction, labels=four, average=None, zero_division=1).tolist() == [0.5, 1, 1, 1]
    assert recall(truth, prediction, labels=four, average="macro", zero_division=np.nan) == 0.75


def test_scikit_learn_scores_255_as_a_class() -> None:
    truth, prediction = (part.ravel() for part in EXAMPLE)
    labels = sorted({*truth.tolist(), *prediction.tolist()})
    assert labels == [0, 1, 2, 255]
    # class 0: one hit, one missed, and one false alarm on the pixel to be ignored
    assert_allclose(sklearn.metrics.jaccard_score(truth, prediction, average=None), [1 / 3, 1, 0, 0])


def test_torchmetrics_gives_zero_to_an_absent_class_that_is_predicted() -> None:
    each = MulticlassJaccardIndex(3, average="none", ignore_index=IGNORE)(PREDICTIONS, TRUTH)
    assert each.tolist() == [0.5, 1, 0]
    for theirs, expected in ((MulticlassJaccardIndex, 1 / 2), (MulticlassF1Score, 5 / 9), (MulticlassAccuracy, 1 / 2)):
        value = theirs(3, average="macro", ignore_index=IGNORE)(PREDICTIONS, TRUTH)  # here 3/4, 5/6, 3/4
        assert_allclose(float(value), expected, rtol=SINGLE)


def test_torchmetrics_gives_zero_to_a_class_that_is_nowhere_but_leaves_it_out_of_means() -> None:
    each = MulticlassJaccardIndex(4, average="none", ignore_index=IGNORE)(PREDICTIONS, TRUTH)
    assert each.tolist() == [0.5, 1, 0, 0]
    assert float(MulticlassJaccardIndex(4, average="macro", ignore_index=IGNORE)(PREDICTIONS, TRUTH)) == 0.5


def test_torchmetrics_gives_zero_precision_to_a_class_that_is_never_predicted() -> None:
    prediction, truth = torch.tensor([0, 0]), torch.tensor([0, 1])
    assert MulticlassPrecision(2, average="none")(prediction, truth).tolist() == [0.5, 0]
    assert_array_equal(measures.precision(np.array([[1, 0], [1, 0]])), [0.5, np.nan])
    absent_and_nowhere = MulticlassPrecision(4, average="none", ignore_index=IGNORE)(PREDICTIONS, TRUTH)
    assert absent_and_nowhere.tolist() == [1, 1, 0, 0]


def test_torchmetrics_fails_on_ignored_values_in_predictions_but_for_micro_accuracy() -> None:
    prediction = torch.tensor([[[0, 255], [1, 0]]])
    for theirs in (MulticlassJaccardIndex, MulticlassF1Score, MulticlassAccuracy, MulticlassPrecision):
        with pytest.raises(RuntimeError, match="invalid for input of size 256"):
            theirs(3, average="none", ignore_index=IGNORE)(prediction, TRUTH)
    micro = MulticlassAccuracy(3, average="micro", ignore_index=IGNORE)(prediction, TRUTH)
    assert_allclose(float(micro), 2 / 3, rtol=SINGLE)  # counted as a miss; here an error
    with pytest.raises(ValueError, match="prediction holds values outside the 3 classes"):
        confusion_matrix(TRUTH.numpy(), prediction.numpy(), 3)


# Two images: IoU 2/3 and 1/2 in the first; 3/4 in the second, where class 1 is absent but predicted.
TWO = (
    np.array([[[0, 0], [0, 1]], [[0, 0], [0, 0]]], np.uint8),
    np.array([[[0, 0], [1, 1]], [[0, 0], [0, 1]]], np.uint8),
)


def test_two_images_by_hand() -> None:
    each = np.stack([confusion_matrix(truth, prediction, 2) for truth, prediction in zip(*TWO, strict=True)])
    assert each.tolist() == [[[2, 1], [0, 1]], [[3, 1], [0, 0]]]
    assert_allclose(measures.mean_iou(merge(each)), (5 / 7 + 1 / 3) / 2)  # the score of the set
    assert_allclose(measures.mean_iou(each), [7 / 12, 3 / 4])  # the score of each image
    assert_allclose(measures.mean_dice(merge(each)), (5 / 6 + 1 / 2) / 2)


def test_torchmetrics_mean_iou_is_a_mean_over_images() -> None:
    pooled, by_class = MeanIoU(2, input_format="index"), MeanIoU(3, input_format="index", per_class=True)
    assert_allclose(float(pooled(*tensors(TWO))), (2 / 3 + 1 / 2 + 3 / 4 + 0) / 4, rtol=SINGLE)  # pairs of image, class
    assert_allclose(by_class(*tensors(TWO)), [(2 / 3 + 3 / 4) / 2, (1 / 2 + 0) / 2, -1], rtol=SINGLE)  # nowhere: -1


def test_torchmetrics_dice_score_is_a_mean_over_images_by_default() -> None:
    by_image = DiceScore(2, average="macro", input_format="index")
    assert_allclose(float(by_image(*tensors(TWO))), ((4 / 5 + 2 / 3) / 2 + (6 / 7 + 0) / 2) / 2, rtol=SINGLE)
    whole = DiceScore(3, average="none", input_format="index", aggregation_level="global")
    assert_allclose(whole(*tensors(TWO)).flatten(), [5 / 6, 1 / 2, np.nan], rtol=SINGLE)  # nowhere: NaN
    absent = DiceScore(3, average="none", input_format="index", aggregation_level="global")
    masks = torch.tensor([[[0, 2]]]), torch.tensor([[[0, 0]]])
    assert_allclose(absent(*masks).flatten(), [2 / 3, np.nan, 0], rtol=SINGLE)  # absent but predicted: 0


@pytest.mark.parametrize(("theirs", "value"), [(MeanIoU, 1 / 2), (DiceScore, 2 / 3)])
def test_torchmetrics_segmentation_means_count_a_zero_for_an_absent_class_that_is_predicted(
    theirs: Any, value: float
) -> None:
    options = {"average": "macro"} if theirs is DiceScore else {}
    mean = theirs(4, input_format="index", **options)(torch.tensor([[[0, 2]]]), torch.tensor([[[0, 0]]]))
    assert_allclose(float(mean), (value + 0) / 2, rtol=SINGLE)  # classes 1 and 3 are nowhere and left out


@pytest.mark.parametrize("theirs", [MeanIoU, DiceScore])
def test_torchmetrics_segmentation_knows_no_ignored_value(theirs: Any) -> None:
    with pytest.raises(RuntimeError, match="Class values must be smaller than num_classes"):
        theirs(3, input_format="index")(PREDICTIONS, TRUTH)
    with pytest.raises(RuntimeError, match="Class values must be smaller than num_classes"):
        theirs(3, input_format="index")(TRUTH, PREDICTIONS)  # 255 predicted
    with pytest.raises((TypeError, ValueError), match="ignore_index"):
        theirs(3, input_format="index", ignore_index=IGNORE)


def test_smp_gives_zero_to_an_absent_class_that_is_predicted() -> None:
    stats = smp_stats(EXAMPLE, 3)
    assert smp.metrics.iou_score(*stats, reduction=None).tolist() == [[0.5, 1, 0]]
    assert float(smp.metrics.iou_score(*stats, reduction="macro")) == 0.5  # here 0.75


def test_smp_gives_one_to_a_class_that_is_nowhere_and_counts_it_in_means() -> None:
    stats = smp_stats(EXAMPLE, 4)
    assert smp.metrics.iou_score(*stats, reduction=None).tolist() == [[0.5, 1, 0, 1]]
    assert float(smp.metrics.iou_score(*stats, reduction="macro")) == 2.5 / 4
    assert_allclose(smp.metrics.f1_score(*stats, reduction=None), [[2 / 3, 1, 0, 1]], rtol=SINGLE)
    zero = smp.metrics.iou_score(*stats, reduction="macro", zero_division=0)
    assert float(zero) == 1.5 / 4
    # Recall has no true pixel to divide by, so even the class that was wrongly predicted gets 1.
    assert smp.metrics.recall(*stats, reduction=None).tolist() == [[0.5, 1, 1, 1]]


def test_smp_accuracy_counts_true_negatives() -> None:
    stats = smp_stats(EXAMPLE, 3)
    assert_allclose(smp.metrics.accuracy(*stats, reduction=None), [[2 / 3, 1, 2 / 3]], rtol=SINGLE)  # here 1/2, 1, -
    assert_allclose(float(smp.metrics.accuracy(*stats, reduction="micro")), 7 / 9, rtol=SINGLE)  # here 2/3


def test_smp_micro_iou_pools_classes() -> None:
    value = smp.metrics.iou_score(*smp_stats(EXAMPLE, 3), reduction="micro")
    assert float(value) == 2 / 4  # 2 hits, 1 false positive, 1 false negative; mIoU here is 3/4


def test_smp_imagewise_is_a_mean_over_images() -> None:
    value = smp.metrics.iou_score(*smp_stats(TWO, 2), reduction="macro-imagewise")
    assert_allclose(float(value), ((2 / 3 + 3 / 4) / 2 + (1 / 2 + 0) / 2) / 2, rtol=SINGLE)


def test_smp_drops_what_is_no_class_from_predictions() -> None:
    masks = image([[0, 0], [1, 255]], [[0, 255], [1, 0]])
    tp, fp, fn, _ = (part[0].tolist() for part in smp_stats(masks, 3))
    assert (tp, fp, fn) == ([1, 1, 0], [0, 0, 0], [1, 0, 0])  # missed, and nobody's false alarm; here an error


# The page


def test_page_names_every_measure() -> None:
    rows = [line.split("|")[1:3] for line in PAGE.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    named = {(key.strip(" `"), label.strip()) for key, label in rows}
    assert {(measure.key, measure.label) for measure in (*PER_CLASS, *OVERALL)} <= named


def test_page_names_every_key_of_every_count() -> None:
    keys = set(re.findall(r"`([a-z_0-9.]+)`", PAGE.read_text(encoding="utf-8")))
    assert {measure.key for measure in measures_of(ScoringRules())} <= keys


def test_page_example_runs() -> None:
    assert doctest.testfile(str(PAGE), module_relative=False, encoding="utf-8") == (0, 9)
