"""``bench/retrainings.py`` on counts whose shares can be worked out by hand."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from segstudy.counts.countset import CountSet
from segstudy.errors import StoreError
from segstudy.records import EvaluationRecord

NUM_IMAGES = 6


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    path = Path(__file__).parents[2] / "bench" / "retrainings.py"
    spec = importlib.util.spec_from_file_location("retrainings_bench", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def counts(errors: list[int]) -> np.ndarray[Any, Any]:
    """One training, (n, 2, 2): of 100 pixels of each class, ``errors`` in each image are taken for the other class.

    With the same number e in every image both classes' IoU is (100 - e) / (100 + e), and so is mIoU.
    """
    return np.array([[[100 - e, e], [e, 100 - e]] for e in errors])


def trainings_of(bench: ModuleType, first: list[list[int]], second: list[list[int]]) -> Any:
    confusion = np.array([counts(errors) for errors in [*first, *second]])
    recipe = np.array([bench.A] * len(first) + [bench.B] * len(second))
    ids = np.array([f"image{i}" for i in range(len(first[0]))])
    truth = np.zeros((len(ids), 2), np.int64)
    return bench.Trainings(confusion, recipe, np.arange(len(recipe)), ids, truth)


def counted(errors: list[int], truth: int = 0) -> CountSet:
    ids = tuple(f"image{i}" for i in range(len(errors)))
    about = EvaluationRecord.model_construct(classes=("background", "polyp"))
    hashes = np.full((len(ids), 2), truth, np.int64)
    return CountSet("run", {"confusion": counts(errors)}, ids, about, truth=hashes)


def test_scores_are_the_mean_iou_of_all_pixels(bench):
    # 20 of 100 pixels wrong: 80 / 120. No error in one image and 40 in the other: the same pixels over both.
    confusion = np.array([counts([20, 20]), counts([0, 40])])
    assert bench.scores(confusion) == pytest.approx([2 / 3, 2 / 3])


def test_two_close_trainings_of_three_miss_what_the_third_shifts(bench):
    # IoU 0.600, 0.602 and 0.887. Images add next to nothing: an interval from two trainings is Student's with one degree
    # of freedom, +-12.7 standard errors. From the first two (standard error 0.001) it misses the mean of all, 0.696, and
    # the third's 0.887. With the third in it (0.14) it holds everything. One of the three pairs misses: 2/3 hold.
    level = [[1000 * e + (-1) ** i for i in range(40)] for e in (2500, 2484, 600)]
    confusion = np.array([[[[10**7 - e, e], [e, 10**7 - e]] for e in errors] for errors in level])
    found = bench.coverage(confusion, 2, 40, 600)
    assert found.own.value == 1  # every interval is around its own trainings' mean, which no image moves
    assert found.all.value == pytest.approx(2 / 3, abs=0.08)  # four standard errors of 600 draws
    assert found.others.value == found.all.value
    assert bench.coverage(confusion, 3, 40, 10).others is None  # no others are left
    assert bench.coverage(confusion, 4, 40, 10) is None


def test_share_and_its_error_over_trainings(bench):
    # One training of eight each; only training 0's study held. Without 0: 0 of 7; without another: 1 of 7. Their mean is
    # 1/8, the squares sum to 1/64 + 7/56^2 = 1/56, and 7/8 of that has the root 1/8.
    found = bench.share([True] + 7 * [False], [[k] for k in range(8)])
    assert (found.value, found.error) == pytest.approx((1 / 8, 1 / 8))
    assert str(found) == "0.125 ± 0.125"
    assert str(bench.share([True, False, False], [[0, 1], [0, 2], [1, 2]])) == "0.333"  # two of three: no error


def test_a_recipe_of_equal_trainings_gets_no_verdict_against_itself(bench):
    errors = [[10, 30, 20, 25, 15, 40]] * 6
    same = trainings_of(bench, errors, errors)
    found = bench.verdicts(same, bench.A, bench.A, 3, NUM_IMAGES, 20)
    assert (found.right.value, found.wrong.value, found.holds.value) == (0, 0, 1)
    assert bench.verdicts(same, bench.A, bench.A, 4, NUM_IMAGES, 20) is None  # 8 trainings are needed


def test_a_recipe_that_is_better_everywhere_is_found_by_two_seeds_and_at_once(bench):
    # In every image B's errors are 20 more than A's; trainings differ by 1 pixel at most, so that images decide little.
    first = [[10 + (i + k) % 2 for i in range(40)] for k in range(6)]
    second = [[30 + (i + k) % 2 for i in range(40)] for k in range(6)]
    study = trainings_of(bench, first, second)
    assert bench.true_difference(study, bench.A, bench.B) == pytest.approx(179 / 221 - 139 / 261)
    found = bench.verdicts(study, bench.A, bench.B, 2, 40, 20)
    assert (found.right.value, found.wrong.value) == (1, 0)
    stepwise = bench.one_by_one(study, bench.A, bench.B, 40, 20)
    assert (stepwise.decided.value, stepwise.fixed.value, stepwise.seeds, stepwise.at_most) == (1, 1, 2, 6)


def test_trainings_are_added_in_turn_and_only_on_the_same_masks(bench, tmp_path):
    path = tmp_path / "trainings.npz"
    assert bench.next_training(None) == (bench.A, 1)
    for expected in [(bench.A, 1), (bench.B, 2), (bench.A, 3), (bench.B, 4)]:
        found = bench.next_training(bench.read_trainings(path))
        assert found == expected
        bench.add_training(path, *found, counted([found[1]] * NUM_IMAGES))
    known = bench.read_trainings(path)
    assert known.confusion[:, 0, 0, 1].tolist() == [1, 2, 3, 4]
    assert bench.scores(known.of(bench.B)) == pytest.approx([98 / 102, 96 / 104])
    with pytest.raises(StoreError, match="other images or masks"):
        bench.add_training(path, bench.A, 5, counted([1] * NUM_IMAGES, truth=1))
    assert len(bench.read_trainings(path).seed) == 4


def test_the_report_says_what_it_rests_on_and_leaves_out_what_needs_more_trainings(bench):
    study = trainings_of(bench, [[10, 12, 14, 30]] * 3, [[20, 25, 22, 35]] * 2)
    text = bench.report(study, 2)
    assert text.startswith("5 trainings, 4 test images, 2 drawn studies")
    rows = [[cell.strip() for cell in line.split("|")[1:3]] for line in text.splitlines() if line.startswith("| lr")]
    seeds = {name: [int(row[1]) for row in rows if row[0] == name] for name, _ in rows}
    assert seeds[f"{bench.A}: holds the others"] == [1, 2]  # of three, one at least is another
    assert seeds[f"{bench.B}: holds the others"] == [1]
    assert seeds[f"{bench.A} against itself: a verdict"] == [1]
    assert seeds[f"{bench.A} against {bench.B}: interval holds"] == [1, 2]
    assert "one by one" not in text  # three of each are needed
