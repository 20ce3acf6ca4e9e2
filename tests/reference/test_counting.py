"""What is counted of an image, against slow code, by hand, and against SciPy, MONAI, torchmetrics and Cityscapes' own scripts.

Array letters: ``h`` height, ``w`` width, ``c`` class, ``t`` tolerance.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from PIL import Image
from scipy import ndimage
from sklearn.calibration import calibration_curve

from fakes import random_masks
from reference import slow_boundaries, slow_measures, slow_objects
from segstudy import measures
from segstudy.counts.boundaries import tolerances_of
from segstudy.counts.calibration import CALIBRATION, count_confidence, expected_calibration_error, reliability
from segstudy.counts.counting import confusion_matrix, count_pair, measures_of, stack_counts
from segstudy.counts.objects import OBJECT_COUNTS
from segstudy.data.core import Sample
from segstudy.data.readers.cityscapes import labels_from_ids
from segstudy.measures import merge
from segstudy.networks.build import import_smp
from segstudy.schema import ScoringRules
from segstudy.stats.intervals import estimate

import_smp()  # before torchmetrics and MONAI, which import torchvision

from torchmetrics.classification import BinaryCalibrationError  # noqa: E402

Masks = tuple[np.ndarray, np.ndarray]  # truth and prediction, (h, w) uint8
IGNORE = 255
NUM_CLASSES = 4
SEEDS = range(12)
RULES = ScoringRules(
    boundary_iou_share=slow_objects.SHARE,
    tolerances_px=[1],
    tolerance_shares=[0.125],
    min_object_px=slow_objects.LEAST,
    object_sizes_px=list(slow_objects.LIMITS),
    calibration_bins=4,
)
BY_KEY = {measure.key: measure for measure in measures_of(RULES)}
SLOW = slow_boundaries.PER_CLASS | slow_objects.PER_CLASS
EXACT, THOUSANDTHS = 1e-12, 1e-3  # distances are kept in 1/1000 px


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def masks(request: pytest.FixtureRequest) -> Masks:
    return random_masks(request.param)


def drawn(*rows: str) -> np.ndarray:
    """A mask from rows of digits; a point is class 0, x is ignored."""
    return np.array([[IGNORE if s == "x" else int(s.replace(".", "0")) for s in row] for row in rows], np.uint8)


def value(key: str, masks: Masks, k: int, rules: ScoringRules = RULES, num_classes: int = NUM_CLASSES) -> float:
    measure = {measure.key: measure for measure in measures_of(rules)}[key]
    return float(measure.function(count_pair(*masks, num_classes, rules)[measure.counts])[k])


def pairs(masks: Masks) -> Iterator[tuple[int, slow_boundaries.Pair]]:
    for k in range(NUM_CLASSES):
        yield k, slow_boundaries.pair_of(masks[0].tolist(), masks[1].tolist(), k)


# Slow code


def test_slow_code_knows_every_measure_of_a_class() -> None:
    assert set(SLOW) | set(slow_measures.PER_CLASS) == {m.key for m in BY_KEY.values() if m.per_class}


@pytest.mark.parametrize("key", SLOW)
def test_slow_code_agrees(key: str, masks: Masks) -> None:
    counts = count_pair(*masks, NUM_CLASSES, RULES)[BY_KEY[key].counts]
    expected = [SLOW[key](pair) for _, pair in pairs(masks)]
    tolerance = THOUSANDTHS if BY_KEY[key].counts == "surface" else EXACT
    assert_allclose(BY_KEY[key].function(counts), expected, rtol=0, atol=tolerance)


def test_slow_code_counts_the_same(masks: Masks) -> None:
    counts = count_pair(*masks, NUM_CLASSES, RULES)
    for k, pair in pairs(masks):
        errors = dataclasses.asdict(slow_objects.errors(pair, slow_objects.LEAST))
        assert dict(zip(OBJECT_COUNTS, counts["objects"][k].tolist(), strict=True)) == errors
        assert counts["object_sizes"][k].tolist() == slow_objects.by_size(pair, slow_objects.LIMITS)
        assert tuple(counts["lost"][k].tolist()) == slow_objects.lost(pair, slow_objects.SHARE)
        for i, tolerance in enumerate((1.0, 0.125 * pair.diagonal)):
            assert tuple(counts["boundary_matches"][i, k].tolist()) == slow_boundaries.matched(pair, tolerance)
        true, predicted = (slow_boundaries.boundary(m, pair.ignored) for m in (pair.true, pair.predicted))
        assert counts["surface"][k, 3:].tolist() == [bool(true and predicted), bool(true and not predicted)]


@pytest.mark.parametrize("least", [0, 1, 6])
def test_slow_code_ignores_the_same_small_objects(least: int) -> None:
    rules = RULES.model_copy(update={"min_object_px": least})
    for seed in SEEDS:
        counts = count_pair(*random_masks(seed), NUM_CLASSES, rules)["objects"]
        for k, pair in pairs(random_masks(seed)):
            assert tuple(counts[k].tolist()) == dataclasses.astuple(slow_objects.errors(pair, least))


def test_the_random_masks_show_every_kind_of_error() -> None:
    """Else the tests above would hold without saying anything."""
    total = sum(count_pair(*random_masks(seed), NUM_CLASSES, RULES)["objects"].sum(axis=0) for seed in SEEDS)
    assert (np.asarray(total) > 0).all(), dict(zip(OBJECT_COUNTS, np.asarray(total).tolist(), strict=True))
    lost = sum(count_pair(*random_masks(seed), NUM_CLASSES, RULES)["lost"].sum(axis=0) for seed in SEEDS)
    assert (np.asarray(lost) > 0).all()


def test_the_three_parts_of_lost_iou_add_up(masks: Masks) -> None:
    counts = count_pair(*masks, NUM_CLASSES, RULES)
    parts = sum(BY_KEY[f"lost_{kind}"].function(counts["lost"]) for kind in ("boundary", "missed", "spurious"))
    assert_allclose(parts, 1 - measures.iou(counts["confusion"]), rtol=0, atol=EXACT)


def test_sizes_add_up_to_the_confusion_matrix(masks: Masks) -> None:
    counts = count_pair(*masks, NUM_CLASSES, RULES)
    confusion = counts["confusion"]
    hits = confusion.diagonal()
    expected = np.stack([hits, confusion.sum(axis=0) - hits, confusion.sum(axis=1) - hits], axis=-1)
    assert_array_equal(counts["object_sizes"].sum(axis=1), expected)


# By hand


def test_every_topology_error_by_hand() -> None:
    truth = drawn(
        "11..11..111.....",
        "11..11..1.1.11..",
        "........111.11..",
        "................",
        "111..111........",
        "111..111...1111.",
    )
    prediction = drawn(
        "11......111...1.",
        "11......111.11..",
        "........111.11..",
        "................",
        "11111111..1.....",
        "11111111..1.1.1.",
    )
    # Class 1. True objects: square, square, ring, square, block, block, bar. Predicted: square, filled ring, square with
    # a tail, one part over both blocks, a spurious island, and two pieces of the bar.
    found = count_pair(truth, prediction, 2, ScoringRules(min_object_px=1))["objects"][1]
    assert dict(zip(OBJECT_COUNTS, found.tolist(), strict=True)) == {
        "true": 7,
        "predicted": 7,
        "missed": 1,
        "spurious": 1,
        "merged": 1,
        "split": 1,
        "true_holes": 1,
        "predicted_holes": 0,
        "missed_holes": 1,
        "spurious_holes": 0,
    }
    # With objects under 3 pixels left out the island, the pieces of the bar and the hole are gone.
    found = count_pair(truth, prediction, 2, ScoringRules(min_object_px=3))["objects"][1]
    assert found.tolist() == [7, 4, 1, 0, 1, 0, 0, 0, 0, 0]


def test_a_hole_is_4_connected_and_an_object_8_connected() -> None:
    diamond = drawn(".....", "..1..", ".1.1.", "..1..", ".....")
    found = count_pair(diamond, diamond, 2, ScoringRules(min_object_px=1))["objects"]
    assert found[1].tolist() == [1, 1, 0, 0, 0, 0, 1, 1, 0, 0]
    assert found[0].tolist() == [1, 1, 0, 0, 0, 0, 4, 4, 0, 0]  # joined with its inside by corners; four holes in it
    frame = drawn(".11", "1.1", "11.")
    assert count_pair(frame, frame, 2, ScoringRules(min_object_px=1))["objects"][1, 6] == 1


def test_what_lies_under_ignored_pixels_is_no_object_and_no_error() -> None:
    truth, prediction = drawn("xxx1.", "xxx1.", "....."), drawn("111..", "1.11.", ".....")
    found = count_pair(truth, prediction, 2, ScoringRules(min_object_px=1))["objects"]
    assert found[1].tolist() == [1, 1, 0, 0, 0, 0, 0, 0, 0, 0]
    ring, filled = (
        drawn(".....", ".111.", ".1x1.", ".111.", "....."),
        drawn(".....", ".111.", ".111.", ".111.", "....."),
    )
    assert count_pair(ring, filled, 2, ScoringRules(min_object_px=0))["objects"][1, 6:].tolist() == [0, 0, 0, 0]


def test_holes_that_share_ignored_pixels_alone_do_not_touch() -> None:
    truth, prediction = drawn("111111", "1.x111", "111111"), drawn("111111", "111.11", "111111")
    found = count_pair(truth, prediction, 2, ScoringRules(min_object_px=1))["objects"]
    assert found[1, 6:].tolist() == [1, 1, 1, 1]


def test_false_positives_go_to_the_size_of_the_object_that_their_part_touches_most() -> None:
    rules = ScoringRules(object_sizes_px=[3, 5])
    truth = drawn("11.1111111", "..........", "..........")
    prediction = drawn(".111.....1", "..........", "11........")
    # The bar on top touches one pixel of the small object and one of the large: of equals the largest. Its one false
    # positive is the large one's; the island is small itself.
    found = count_pair(truth, prediction, 2, rules)["object_sizes"][1]
    assert found.tolist() == [[1, 2, 1], [0, 0, 0], [2, 1, 5]]


def test_a_square_moved_by_one_pixel_by_hand() -> None:
    truth, prediction = np.zeros((2, 12, 16), np.uint8)  # the diagonal is 20
    truth[2:7, 2:7] = prediction[2:7, 3:8] = 1
    rules = ScoringRules(boundary_iou_share=0.05, tolerances_px=[0, 1], tolerance_shares=[])
    counts = count_pair(truth, prediction, 2, rules)
    # The rims have 16 pixels each; 4 + 4 of them lie on each other in the upper and lower edge, and none elsewhere.
    assert counts["boundary_iou"][1].tolist() == [8, 16, 16]
    assert counts["boundary_matches"][:, 1].tolist() == [[8, 16, 8, 16], [16, 16, 16, 16]]
    assert counts["surface"][1].tolist() == [16_000, 32, 1000, 1, 0]
    assert value("boundary_iou", (truth, prediction), 1, rules) == 8 / 24
    assert value("boundary_f_0px", (truth, prediction), 1, rules) == 0.5
    assert value("hausdorff95", (truth, prediction), 1, rules) == 1
    assert value("surface_distance", (truth, prediction), 1, rules) == 0.5
    # Five true pixels are missed and five invented, all beside the edge.
    assert counts["lost"][1].tolist() == [25, 30, 10, 0, 0]


def test_no_edge_is_seen_against_ignored_pixels() -> None:
    truth = drawn("111x", "111x", "111x")
    counts = count_pair(truth, np.ones_like(truth), 2, ScoringRules(tolerances_px=[1], boundary_iou_share=0.01))
    assert counts["boundary_matches"][0, 1].tolist() == [
        7,
        7,
        7,
        7,
    ]  # the image's end on three sides, 8 without the right
    middle = drawn("xxx", "x1x", "xxx")
    counts = count_pair(middle, middle, 2, RULES)
    assert measures.iou(counts["confusion"])[1] == 1
    assert math.isnan(value("boundary_iou", (middle, middle), 1))  # there is no boundary to speak of


PRESENT = drawn("....", ".11.", ".11.", "....")
NOTHING = np.zeros_like(PRESENT)


@pytest.mark.parametrize(
    ("masks", "expected"),
    [
        ((NOTHING, NOTHING), dict.fromkeys(SLOW, math.nan)),
        ((NOTHING, PRESENT), dict.fromkeys(SLOW, math.nan)),
        (
            (PRESENT, NOTHING),
            {"boundary_iou": 0, "boundary_f_1px": 0, "surface_dice_1px": 0, "hausdorff95": math.nan}
            | {"surface_distance": math.nan, "missed_objects": 1, "spurious_objects": math.nan, "iou_small": 0}
            | {"lost_boundary": 0, "lost_missed": 1, "lost_spurious": 0},
        ),
    ],
    ids=["nowhere", "absent", "never predicted"],
)
def test_absent_and_never_predicted_classes(masks: Masks, expected: dict[str, float]) -> None:
    assert_array_equal([value(key, masks, 1) for key in expected], list(expected.values()))


def test_images_without_a_prediction_are_counted_beside_the_distances() -> None:
    images = [(PRESENT, NOTHING), (NOTHING, PRESENT), (PRESENT, np.roll(PRESENT, 1, 1)), (PRESENT, PRESENT)]
    counts = merge(stack_counts([count_pair(*image, 2, RULES) for image in images])["surface"])
    assert counts[1, 3:].tolist() == [2, 1]
    assert BY_KEY["hausdorff95"].function(counts)[1] == 0.5  # the mean of 1 and 0, where there is a distance


# confusion_matrix counts runs, or pixels where runs are short, in blocks


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
@pytest.mark.parametrize("cell", [1, 3, 40])
def test_runs_and_pixels_count_alike(cell: int, dtype: type) -> None:
    rng = np.random.default_rng(0)
    truth, prediction = (
        np.kron(rng.integers(0, 20, (700 // cell, 600 // cell)), np.ones((cell, cell), int)).astype(dtype) for _ in "tp"
    )
    truth[rng.random(truth.shape) < 0.02] = IGNORE
    counted = truth != IGNORE
    expected = np.zeros((20, 20), np.int64)
    np.add.at(expected, (truth[counted].astype(int), prediction[counted].astype(int)), 1)
    assert_array_equal(confusion_matrix(truth, prediction, 20), expected)
    with pytest.raises(ValueError, match="prediction holds values outside the 19 classes 0-18"):
        confusion_matrix(np.minimum(truth, 18), prediction, 19)
    with pytest.raises(ValueError, match="truth holds values outside the 19 classes 0-18"):
        confusion_matrix(truth, np.minimum(prediction, 18), 19)


def test_stacking_refuses_what_does_not_belong_together() -> None:
    with pytest.raises(ValueError, match="no counts to stack"):
        stack_counts([])
    plain = count_pair(PRESENT, PRESENT, 2, RULES)
    with pytest.raises(ValueError, match="the images' counts have different names"):
        stack_counts([plain, {"confusion": plain["confusion"]}])


@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (7, 1), (2, 2)])
def test_the_smallest_images_are_counted(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, 2, (2, *shape), dtype=np.uint8)
    counts = count_pair(truth, prediction, 2, ScoringRules(min_object_px=1))
    for k in range(2):
        pair = slow_boundaries.pair_of(truth.tolist(), prediction.tolist(), k)
        assert tuple(counts["objects"][k].tolist()) == dataclasses.astuple(slow_objects.errors(pair, 1))
    every = np.full(shape, IGNORE, np.uint8)
    assert not any(array.any() for array in count_pair(every, prediction, 2, RULES).values())


# MONAI and SciPy: no ignored pixels, class by class


@pytest.fixture(params=range(0, 12, 2), ids=lambda seed: f"seed{seed}")
def whole(request: pytest.FixtureRequest) -> Masks:
    """Masks without ignored pixels, as MONAI takes them."""
    return random_masks(request.param)


MONAI_WARNS = pytest.mark.filterwarnings("ignore:the (prediction|ground truth) of class:UserWarning")
MONAI_IS_OUTDATED = pytest.mark.filterwarnings("ignore:.*always_return_as_numpy:FutureWarning")  # by its own caller


def one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.eye(NUM_CLASSES, dtype=np.float32)[mask].transpose(2, 0, 1)[None])


@MONAI_WARNS
@MONAI_IS_OUTDATED
def test_monai_distances(whole: Masks) -> None:
    from monai import metrics  # slow to import

    pair = [one_hot(mask) for mask in reversed(whole)]
    hausdorff = metrics.compute_hausdorff_distance(*pair, include_background=True, percentile=95)[0].numpy()
    average = metrics.compute_average_surface_distance(*pair, include_background=True, symmetric=True)[0].numpy()
    surface = count_pair(*whole, NUM_CLASSES, RULES)["surface"]
    both = surface[:, 3] > 0
    assert both.any()
    for key, theirs in (("hausdorff95", hausdorff), ("surface_distance", average)):
        ours = BY_KEY[key].function(surface)
        assert_allclose(ours[both], theirs[both], rtol=1e-6, atol=THOUSANDTHS)
        assert np.isnan(ours[~both]).all()
        assert not np.isfinite(theirs[~both]).any()  # infinite there; undefined, and counted as such, here


@MONAI_WARNS
@MONAI_IS_OUTDATED
def test_monai_surface_dice(whole: Masks) -> None:
    from monai import metrics  # slow to import

    pair = [one_hot(mask) for mask in reversed(whole)]
    matches = count_pair(*whole, NUM_CLASSES, RULES)["boundary_matches"]
    for i, tolerance in enumerate(tolerances_of(whole[0].shape, RULES)):
        theirs = metrics.compute_surface_dice(*pair, [tolerance] * NUM_CLASSES, include_background=True)[0].numpy()
        ours = BY_KEY["surface_dice_1px" if i == 0 else "surface_dice_12.5pct"].function(matches)
        present = matches[i, :, 1] > 0
        assert_allclose(ours[present], theirs[present], rtol=1e-6)
        assert np.isnan(ours[~present]).all()  # MONAI: 0 if predicted, NaN if nowhere


def test_scipy_erosion_gives_the_bands(whole: Masks) -> None:
    counts = count_pair(*whole, NUM_CLASSES, RULES)["boundary_iou"]
    width = max(1, round(0.1 * math.hypot(*whole[0].shape)))
    for k in range(NUM_CLASSES):
        true, predicted = (
            (mask == k) & ~ndimage.binary_erosion(mask == k, np.ones((3, 3)), iterations=width) for mask in whole
        )
        assert counts[k].tolist() == [(true & predicted).sum(), true.sum(), predicted.sum()]


def test_scipy_labels_and_distances(whole: Masks) -> None:
    counts = count_pair(*whole, NUM_CLASSES, ScoringRules(min_object_px=1))
    for k in range(NUM_CLASSES):
        for place, mask in enumerate(whole):
            padded = np.pad(mask == k, 1)
            assert counts["objects"][k, place] == ndimage.label(padded, np.ones((3, 3)))[1]
            assert counts["objects"][k, 6 + place] == ndimage.label(~padded)[1] - 1
        true, predicted = ((mask == k) & ~ndimage.binary_erosion(mask == k) for mask in whole)
        if true.any() and predicted.any():
            forth = ndimage.distance_transform_edt(~predicted)[true]
            back = ndimage.distance_transform_edt(~true)[predicted]
            assert counts["surface"][k, 0] == round(1000 * (forth.sum() + back.sum()))
            assert counts["surface"][k, 1] == true.sum() + predicted.sum()


# Calibration


@pytest.fixture(params=range(4), ids=lambda seed: f"seed{seed}")
def confident(request: pytest.FixtureRequest) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth with ignored pixels, prediction, and confidence to six places that lies on no bin's edge."""
    rng = np.random.default_rng(request.param)
    truth, prediction = rng.integers(0, 3, (2, 20, 30), dtype=np.uint8)
    truth[rng.random(truth.shape) < 0.1] = IGNORE
    return truth, prediction, rng.integers(300_000, 999_999, truth.shape) / 1e6 + 1e-7


def test_calibration_by_hand() -> None:
    truth, prediction = drawn("0123x", "0000."), drawn("0120.", "0001.")
    confidence = np.array([[0.5, 0.25, 0.250001, 1, 0.1], [0, 1e-7, 0.75, 0.76, 0.3]])
    counts = count_confidence(truth, prediction, confidence, RULES)
    # Four bins, each with its upper end: of 0, 0.0000001, 0.25 | 0.250001, 0.3, 0.5 | 0.75 | 0.76, 1.
    assert counts.tolist() == [[3, 3, 250_000], [3, 3, 1_050_001], [1, 1, 750_000], [2, 0, 1_760_000]]
    drawn_diagram = reliability(counts)
    assert_allclose(drawn_diagram.accuracy, [1, 1, 1, 0])
    assert_allclose(drawn_diagram.confidence, [0.25 / 3, 1.050001 / 3, 0.75, 0.88])
    assert_allclose(drawn_diagram.share, [3 / 9, 3 / 9, 1 / 9, 2 / 9])
    assert_allclose(expected_calibration_error(counts), (2.75 + 1.949999 + 0.25 + 1.76) / 9)
    empty = reliability(np.zeros((4, 3), np.int64))
    assert np.isnan([empty.accuracy, empty.confidence, empty.share]).all()


def test_torchmetrics_calibration_error(confident: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, prediction, confidence = confident
    counted = truth != IGNORE
    right = torch.from_numpy((truth == prediction)[counted].astype(np.int64))
    theirs = BinaryCalibrationError(n_bins=15, norm="l1")(torch.from_numpy(confidence[counted]), right)
    counts = count_pair(truth, prediction, 3, ScoringRules(), confidence=confidence)["calibration"]
    assert_allclose(CALIBRATION[0].function(counts), float(theirs), rtol=0, atol=1e-5)


def test_scikit_learn_reliability(confident: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    truth, prediction, confidence = confident
    counted = truth != IGNORE
    accuracy, mean = calibration_curve((truth == prediction)[counted], confidence[counted], n_bins=15)
    ours = reliability(count_confidence(truth, prediction, confidence, ScoringRules()))
    filled = ours.share > 0
    assert_allclose(ours.accuracy[filled], accuracy, rtol=1e-12)
    assert_allclose(ours.confidence[filled], mean, rtol=0, atol=1e-6)


@pytest.mark.parametrize("wrong", [-0.1, 1.1, math.nan])
def test_confidence_is_checked_where_it_counts(wrong: float) -> None:
    confidence = np.full(PRESENT.shape, 0.5)
    confidence[0, 0] = wrong
    with pytest.raises(ValueError, match="confidence holds values outside 0 to 1"):
        count_confidence(PRESENT, PRESENT, confidence, RULES)
    ignored = PRESENT.copy()
    ignored[0, 0] = IGNORE
    assert count_confidence(ignored, PRESENT, confidence, RULES)[:, 0].sum() == PRESENT.size - 1
    with pytest.raises(ValueError, match=r"confidence \(1, 4\)"):
        count_confidence(PRESENT, PRESENT, confidence[:1], RULES)


# Frequency


def test_frequency_groups_by_hand() -> None:
    confusion = np.diag([9000, 900, 99, 1, 0])
    confusion[0, 3] = confusion[1, 2] = 100
    assert measures.frequency_group(confusion).tolist() == [2, 1, 0, 0, -1]
    values = [measure.function(confusion) for measure in measures.BY_FREQUENCY]
    assert_allclose(values, [(99 / 199 + 1 / 101) / 2, 900 / 1000, 9000 / 9100])
    # Thresholds belong to the group above them.
    assert measures.frequency_group(np.diag([89, 10, 1])).tolist() == [2, 2, 1]


def test_classes_stay_in_their_frequency_group_when_images_are_left_out() -> None:
    """Without image 0, class 1 has 1.8 % of the pixels, not 0.7 %; it is still one of the rare classes of the set."""
    images = [(10_000, 5, 5), (2_000, 20, 10), (2_000, 30, 5), (1_000, 20, 5)]
    counts = np.array([[[background, 0], [missed, hit]] for background, hit, missed in images])
    rare, common, _ = measures.BY_FREQUENCY
    whole = measures.merge(counts)
    assert measures.frequency_group(whole).tolist() == [2, 0]
    assert measures.frequency_group(whole - counts[0]).tolist() == [2, 1]
    fixed = rare.function_for(counts)
    assert float(fixed(whole)) == float(rare.function(whole)) == 75 / 100
    assert float(fixed(whole - counts[0])) == 70 / 90 and np.isnan(rare.function(whole - counts[0]))
    assert np.isnan(common.function_for(counts)(whole - counts[0]))
    found = estimate({0: counts}, fixed)
    assert found.reason == "" and found.low < 0.75 < found.high


@pytest.mark.parametrize("key", [key for key in BY_KEY if BY_KEY[key].given_whole])
def test_what_is_fixed_for_parts_is_the_measure_itself_for_the_whole(key: str) -> None:
    counted = stack_counts([count_pair(*random_masks(seed), NUM_CLASSES, RULES) for seed in SEEDS])
    measure, array = BY_KEY[key], counted[BY_KEY[key].counts]
    assert_allclose(measure.function_for(array)(measures.merge(array)), measure.function(measures.merge(array)))


# Cityscapes' own evaluation, on files


def test_cityscapes_scripts_on_the_same_files(tmp_path: Path) -> None:
    evaluation = pytest.importorskip("cityscapesscripts.evaluation.evalPixelLevelSemanticLabeling")
    from cityscapesscripts.helpers.labels import labels, trainId2label

    options: Any = evaluation.CArgs()
    options.evalInstLevelScore = options.evalPixelAccuracy = False
    theirs = evaluation.generateMatrix(options)
    rng, table = np.random.default_rng(0), np.array([trainId2label[k].id for k in range(19)], np.uint8)
    counts = []
    for i in range(3):
        coarse = rng.permutation([label.id for label in labels if label.id >= 0 and label.id != 22]).reshape(3, 11)
        truth = np.kron(coarse, np.ones((5, 5))).astype(np.uint8)
        prediction = np.where(rng.random(truth.shape) < 0.5, table[rng.integers(0, 19, truth.shape)], truth)
        prediction[np.isin(prediction, [*table[:3], *table[4:]], invert=True)] = table[0]  # class 3 is never predicted
        paths = [tmp_path / f"{name}{i}_gtFine_labelIds.png" for name in ("truth", "prediction")]
        for path, mask in zip(paths, (truth, prediction), strict=True):
            Image.fromarray(mask).save(path)
        evaluation.evaluatePair(str(paths[1]), str(paths[0]), theirs, {}, {}, options)
        counts.append(confusion_matrix(*(labels_from_ids(Sample(path.stem, path, path)) for path in paths), 19))
    confusion = merge(np.stack(counts))
    assert_array_equal(confusion, theirs[np.ix_(table, table)])
    expected = np.array([evaluation.getIouScoreForLabel(int(k), theirs, options) for k in table])
    absent = confusion.sum(axis=1) == 0
    assert absent.tolist() == [k == 9 for k in range(19)]  # terrain (label id 22) is absent, but predicted
    assert expected[3] == 0 and expected[9] == 0  # for terrain there 0, here undefined
    assert_allclose(measures.iou(confusion), np.where(absent, np.nan, expected), rtol=1e-14)
