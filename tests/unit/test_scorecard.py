"""What ``segstudy score`` says of counts: records, tables, CSV. Every expected value is worked out by hand from the counts."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import numpy as np
import pytest

from segstudy import measures
from segstudy.comparison import Side, compare
from segstudy.counts.countset import CountSet
from segstudy.records import EvaluationRecord
from segstudy.schema import ScoringRules
from segstudy.scorecard import as_record, as_text, comparison_record, comparison_text, image_csv, shown
from segstudy.scoring import ELSEWHERE
from segstudy.stats.intervals import estimate
from segstudy.terminal import table_lines

# Merged: [[3, 1, 1], [0, 2, 0], [0, 0, 0]]. IoU 3/5 and 2/3, Dice 3/4 and 4/5, 5 of 7 pixels right, recall 3/5 and 1.
CONFUSION = [[[1, 0, 1], [0, 1, 0], [0, 0, 0]], [[2, 1, 0], [0, 1, 0], [0, 0, 0]]]


ABOUT = EvaluationRecord(
    classes=("road", "car", "sky"),
    resolution="native",
    split=ELSEWHERE,
    selected_on=ELSEWHERE,
    scoring=ScoringRules().model_dump(),
    ignore=(255,),
)


def scored(**changes: object) -> CountSet:
    """Two images of three classes; the third is absent, but predicted."""
    counts = {
        "confusion": np.array(CONFUSION),
        "boundary_iou": np.zeros((2, 3, 3), np.int64),
        "boundary_matches": np.zeros((2, 2, 3, 4), np.int64),
        "surface": np.zeros((2, 3, 5), np.int64),
        "objects": np.zeros((2, 3, 10), np.int64),
        "object_sizes": np.zeros((2, 3, 3, 3), np.int64),
        "lost": np.zeros((2, 3, 5), np.int64),
    }
    counts["boundary_iou"][0, :2] = [[6, 8, 10], [3, 3, 4]]  # 6 of 12, 3 of 4
    counts["boundary_matches"][0, 0, 0] = [3, 4, 3, 6]
    counts["surface"][:, 0] = [[2500, 5, 1500, 1, 0], [500, 5, 500, 1, 0]]  # 3 px over 10 pixels; (1.5 + 0.5) / 2
    counts["objects"][0, 0] = [4, 5, 1, 2, 0, 1, 0, 0, 0, 0]
    counts["objects"][1, 2, 1] = counts["objects"][1, 2, 3] = 1
    counts["object_sizes"][1, :2, 0] = [[3, 1, 1], [1, 0, 1]]
    counts["lost"][0] = [[5, 5, 1, 0, 1], [2, 3, 0, 1, 0], [0, 1, 0, 0, 1]]
    return CountSet(**{"name": "masks", "counts": counts, "ids": ("a", "b"), "about": ABOUT} | changes)  # type: ignore[arg-type]


def many(number: int = 30, groups: int | None = None) -> CountSet:
    """Images that differ from each other, so that there is an interval."""
    one, rng = scored(), np.random.default_rng(2)
    counts = {name: np.repeat(array[:1], number, axis=0) for name, array in one.counts.items()}
    counts["confusion"] = rng.integers(1, 50, (number, 3, 3)) + 200 * np.eye(3, dtype=np.int64)
    ids = tuple(f"p{k % (groups or number)}-{k}" for k in range(number))
    about = one.about.model_copy(update={"ignore": ()})
    return CountSet("masks", counts, ids, about, tuple(name.split("-")[0] for name in ids) if groups else None)


# For programs


def test_record_by_hand() -> None:
    record = as_record(scored())
    contract = {
        "images": 2,
        "groups": None,
        "pixels": 7,
        "level": "dataset",
        "resolution": "native",
        "absent_classes": "left out",
        "background": "a class",
        "ignore": [255],
        "split": ELSEWHERE,
        "selected_on": ELSEWHERE,
        "scoring": ScoringRules().model_dump(),
    }
    assert {key: record[key] for key in contract} == contract
    numbers = {
        "miou": (3 / 5 + 2 / 3) / 2,
        "mdice": (3 / 4 + 4 / 5) / 2,
        "pixel_accuracy": 5 / 7,
        "mean_class_accuracy": (3 / 5 + 1) / 2,
        "mean_boundary_iou": (6 / 12 + 3 / 4) / 2,
        "mean_boundary_f_2px": 2 * (3 / 4 * 3 / 6) / (3 / 4 + 3 / 6),
        "mean_surface_dice_2px": 6 / 10,
        "mean_hausdorff95": (1.5 + 0.5) / 2,
        "mean_surface_distance": 3 / 10,
        "mean_missed_objects": 1 / 4,
        "mean_spurious_objects": 2 / 5,
        "mean_iou_small": (3 / 5 + 1 / 2) / 2,
        "mean_lost_missed": (0 + 1 / 3) / 2,
    }
    assert {key: record[key] for key in numbers} == pytest.approx(numbers, rel=1e-14)
    assert record["mean_boundary_f_0.75pct"] is record["mean_iou_large"] is record["mean_missed_holes"] is None
    road, car, sky = record["classes"]
    assert [row["class"] for row in record["classes"]] == ["road", "car", "sky"]
    assert [row["pixels"] for row in record["classes"]] == [5, 2, 0]
    expected = {"iou": 3 / 5, "dice": 3 / 4, "class_accuracy": 3 / 5, "precision": 1, "boundary_iou": 1 / 2}
    assert {key: road[key] for key in expected} == pytest.approx(expected)
    assert (car["iou"], car["precision"]) == pytest.approx((2 / 3, 2 / 3))
    assert sky["iou"] is sky["precision"] is sky["boundary_iou"] is sky["hausdorff95"] is None
    assert road["objects"]["missed"] == 1 and road["objects"]["spurious"] == 2 and sky["objects"]["spurious"] == 1
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert "as" not in record


def test_missed_objects_stand_next_to_hausdorff() -> None:
    one = scored()
    record = as_record(one)
    assert (record["objects_missed"], record["objects_spurious"]) == (1, 3)  # road 1 and 2, sky 0 and 1
    assert [(row["objects_missed"], row["objects_spurious"]) for row in record["classes"]] == [(1, 2), (0, 0), (0, 1)]
    line = next(line for line in as_text(one).splitlines() if line.startswith("Hausdorff 95, mean"))
    assert line.endswith("1 object missed, 3 spurious")
    header, *rows = csv.reader(io.StringIO(image_csv(one)))
    at = header.index("mean_hausdorff95")
    assert header[at + 1 : at + 3] == ["objects_missed", "objects_spurious"]
    assert [sum(int(row[at + n]) for row in rows) for n in (1, 2)] == [1, 3]


def test_medians_and_trimmed_means_stand_beside_means_that_few_images_decide() -> None:
    one = many(20)
    failed = one.confusion.copy()
    failed[0] = [[5, 95, 0], [95, 5, 0], [0, 95, 5]]
    one = replace(one, counts=one.counts | {"confusion": failed})
    values = np.sort(measures.mean_iou(failed))
    found = as_record(one)["typical_images"]["miou"]
    assert found["median"] == pytest.approx((values[9] + values[10]) / 2)
    # 20 images: 5 and fewer below the median have a chance of 0.0207, 6 and fewer of 0.0577
    assert (found["median_low"], found["median_high"]) == (values[5], values[14])
    assert found["trimmed"] == pytest.approx(values[2:18].mean())
    (line,) = [line for line in as_text(one).splitlines() if line.startswith("mIoU ") and line.count(" to ") == 2]
    assert line.split()[1] == f"{found['median']:.4f}"
    assert as_record(many(20, groups=5))["typical_images"] == {}  # the unit is the group


def test_scores_of_rare_errors_have_no_interval() -> None:
    one = many()
    objects = one.counts["objects"].copy()
    objects[:, 0, 2] = np.arange(30) % 3  # 0 to 2 of 4 objects are missed
    found = as_record(replace(one, counts=one.counts | {"objects": objects}))["intervals"]
    assert found["mean_missed_objects"]["low"] is None and "rare errors" in found["mean_missed_objects"]["reason"]
    assert found["miou"]["low"] is not None


def test_comparisons_of_distances_name_the_objects_that_they_leave_out() -> None:
    one, other = many(), many()
    counts = other.counts["surface"].copy()
    counts[:, 0, 2] += np.arange(30) * 100
    other = replace(other, name="other", counts=other.counts | {"surface": counts})
    measure = next(each for each in one.measures() if each.key == "mean_hausdorff95")
    record = comparison_record(compare(Side("one", [one]), Side("other", [other]), measure))
    assert (record["a"]["objects_missed"], record["a"]["objects_spurious"]) == (30, 60)  # 1 and 2 in each image
    assert "30 objects missed, 60 spurious, which distances leave out" in comparison_text(record)


def test_outlines_under_other_rules() -> None:
    one = scored()
    values = np.array([[[3, 1], [1, 1], [0, 0]], [[0, 0]] * 3, [[0, 0]] * 3]) * [10**6, 1]
    counted = replace(one, counts=one.counts | {"outlines_medpy": np.stack([values, 2 * values])})
    [row] = as_record(counted, ["medpy"])["as"]["outlines"]
    assert row["scores"] == {"HD95": 3.0, "ASSD": 1.0, "NSD": None}  # 9 px over 3 images, 3 px over 3
    assert row["segstudy"]["HD95"] == 1.0
    assert "HD95 3.00 px (1.00)" in as_text(counted, ["medpy"])
    assert as_record(one, ["medpy"])["as"]["outlines"] == []


def test_record_under_other_rules() -> None:
    found = as_record(scored(), ["mmseg", "cityscapes"])["as"]
    assert found["absent_but_predicted"] == ["sky"] and found["nowhere"] == []
    assert [row["as"] for row in found["rules"]] == ["mmseg", "mmseg", "cityscapes"]
    mmseg = found["rules"][0]
    assert mmseg["scores"]["mIoU"] == pytest.approx((3 / 5 + 2 / 3 + 0) / 3)
    assert mmseg["segstudy"]["mIoU"] == pytest.approx((3 / 5 + 2 / 3) / 2)
    assert mmseg["scores"]["mFscore"] == pytest.approx((3 / 4 + 4 / 5) / 2)
    assert (mmseg["level"], mmseg["absent_but_predicted"], mmseg["nowhere"], mmseg["background"]) == (
        "dataset",
        "0, but 0/0 is left out",
        "left out",
        "in",
    )
    assert "absent" in mmseg["why"]


def test_record_has_an_interval_for_every_score() -> None:
    record = as_record(many())
    for key in ("miou", "mdice", "pixel_accuracy", "mean_class_accuracy"):
        interval = record["intervals"][key]
        assert 0 < interval["low"] < record[key] < interval["high"] < 1
        assert (interval["level"], interval["population"], interval["reason"]) == (0.95, "images", "")


def test_classes_have_intervals_too() -> None:
    """The same as those of the class taken for the whole set."""
    of_many = many(groups=6)
    for k, row in enumerate(as_record(of_many)["classes"]):
        counts = {0: of_many.counts["confusion"]}
        alone = estimate(counts, lambda merged, k=k: measures.iou(merged)[..., k], groups=of_many.groups)
        assert (row["intervals"]["iou"]["low"], row["intervals"]["iou"]["high"]) == (alone.low, alone.high)
        assert 0 < alone.low < row["iou"] < alone.high < 1
        assert set(row["intervals"]) >= {"iou", "dice", "boundary_iou", "hausdorff95"}


def test_images_of_a_group_do_not_count_as_independent() -> None:
    alone, grouped = as_record(many()), as_record(many(groups=6))
    assert (alone["groups"], grouped["groups"]) == (None, 6)
    assert alone["miou"] == grouped["miou"]
    assert alone["intervals"]["miou"]["low"] != grouped["intervals"]["miou"]["low"]


def test_where_there_is_no_interval_the_record_says_why() -> None:
    one = many(1)
    interval = as_record(one)["intervals"]["miou"]
    assert interval["low"] is None and interval["high"] is None
    assert interval["reason"]
    lines = as_text(one).split("\n\n")[1].splitlines()
    assert lines[0].split() == ["mIoU", shown(as_record(one)["miou"])]  # and no column of intervals
    assert interval["reason"] in lines[-1]


# For people


def test_first_line_is_the_contract() -> None:
    assert as_text(scored()).splitlines()[0] == (
        "2 images, 7 pixels, scored at the masks' own size, all together; absent classes left out, background a class, "
        "255 ignored; split and epoch choice unknown (masks from elsewhere)"
    )
    assert as_text(scored(about=ABOUT.model_copy(update={"ignore": ()}), groups=("p", "p"))).splitlines()[0] == (
        "2 images in 1 group, 7 pixels, scored at the masks' own size, all together; absent classes left out, background "
        "a class, no value ignored; split and epoch choice unknown (masks from elsewhere)"
    )


def block_of(text: str, first_word: str) -> list[str]:
    """The lines of the block whose first line begins with ``first_word``."""
    return next(block for block in text.split("\n\n") if block.startswith(first_word)).splitlines()


def test_text_by_hand() -> None:
    text = as_text(scored())
    overall = dict(
        re.split(r" {2,}", line)[:2] for line in text.split("\n\n")[1].splitlines()[1:] if "no interval" not in line
    )
    assert overall == {
        "mIoU": "0.6333",
        "mDice": "0.7750",
        "Pixel accuracy": "0.7143",
        "Mean class accuracy": "0.8000",
        "Boundary IoU, mean": "0.6250",
        "Boundary F (2 px), mean": "0.6000",
        "Surface Dice (2 px), mean": "0.6000",
        "Boundary F (0.75 %), mean": "-",
        "Surface Dice (0.75 %), mean": "-",
        "Hausdorff 95, mean [px]": "1.0",
        "Surface distance, mean [px]": "0.3",
    }
    classes = block_of(text, "class")
    low, high = (f"{as_record(scored())['classes'][0]['intervals']['iou'][end]:.4f}" for end in ("low", "high"))
    assert [re.split(r" {2,}", line) for line in classes[1:4]] == [
        ["road", "0.6000", f"{low} to {high}", "0.7500", "0.6000", "1.0000", "0.5000", "1.0", "1", "2", "5"],
        ["car", "0.6667", "0.0000 to 1.0000", "0.8000", "1.0000", "0.6667", "0.7500", "-", "0", "0", "2"],
        ["sky", "-", "-", "-", "-", "-", "-", "-", "0", "1", "0"],
    ]
    assert len({len(line) for line in classes[:4]}) == 1  # columns line up
    assert classes[5] == "- : the class has no true pixel; it is left out of the means"
    lost = block_of(text, "IoU lost")
    assert lost[0].split() == ["IoU", "lost", "boundary", "missed", "spurious", "IoU", "small"]  # no larger object
    assert [line.split() for line in lost[1:3]] == [
        ["road", "0.2000", "0.0000", "0.2000", "0.6000"],
        ["car", "0.0000", "0.3333", "0.0000", "0.5000"],
    ]
    assert len(lost) == 5  # the absent class has no line
    objects = block_of(text, "objects")
    assert objects[0].split() == ["objects", "true", "predicted", "missed", "spurious", "merged", "split"]  # no hole
    assert [line.split() for line in objects[1:3]] == [
        ["road", "4", "5", "1", "2", "0", "1"],
        ["sky", "0", "1", "0", "1", "0", "0"],
    ]


def test_text_shows_intervals_beside_the_scores() -> None:
    record, lines = as_record(many()), as_text(many()).splitlines()
    interval = record["intervals"]["miou"]
    assert lines[2].split() == ["95", "%", "interval"]
    assert lines[3].split() == ["mIoU", shown(record["miou"]), shown(interval["low"]), "to", shown(interval["high"])]
    assert len({len(line) for line in lines[2:7]}) == 1


def test_classes_by_frequency_are_shown_where_they_are_of_several_kinds() -> None:
    confusion = np.diag([100_000, 2_000, 30])[None].repeat(2, axis=0)
    counts = scored().counts | {"confusion": confusion}
    one = scored()
    text = as_text(replace(one, counts=counts))
    assert "mIoU of rare classes" in text and "mIoU of frequent classes" in text
    assert "mIoU of" not in as_text(scored())


def test_text_explains_what_is_undefined_of_a_class_that_is_never_predicted() -> None:
    counts = scored().counts | {"confusion": np.array([[[1, 0, 0], [1, 0, 0], [2, 0, 0]]]).repeat(2, axis=0)}
    one = scored()
    lines = block_of(as_text(replace(one, counts=counts)), "class")
    assert lines[3].split()[:5] == ["sky", "0.0000", "0.0000", "0.0000", "-"]
    assert lines[5:] == ["- under Precision or Hausdorff: the class was never predicted where it is"]


def test_rules_by_hand_in_text() -> None:
    text = as_text(scored(), ["cityscapes", "smp", "notebook"])
    blocks = text.split("\n\n")
    assert "  predicted but in no true mask: sky" in text
    cityscapes = next(block for block in blocks if block.startswith("cityscapes")).splitlines()
    assert cityscapes[1] == "  averageScoreClasses 0.4222 (0.6333)"
    assert cityscapes[2].startswith("  A class that is predicted but absent counts 0")
    notebook = next(block for block in blocks if block.startswith("notebook: one")).splitlines()
    assert notebook[1] == "  mIoU 0.6333   mDice 0.7750"  # the same as here: no number in brackets
    assert blocks[-1].startswith("for two classes only: smp mode='binary'")


def test_columns_of_a_table_line_up() -> None:
    assert table_lines([["a", "b", "long"], ["wide", "1", "2"]]) == ["a     b  long", "wide  1     2"]


# For spreadsheets


def test_csv_by_hand() -> None:
    header, a, b = csv.reader(io.StringIO(image_csv(scored())))
    assert header[:5] == ["image", "miou", "mdice", "pixel_accuracy", "mean_class_accuracy"]
    assert "mean_boundary_iou" in header and "iou" not in header
    assert a[0] == "a" and [float(value) for value in a[1:5]] == pytest.approx([3 / 4, 5 / 6, 2 / 3, 3 / 4], rel=1e-15)
    expected = [(2 / 3 + 1 / 2) / 2, (4 / 5 + 2 / 3) / 2, 3 / 4, (2 / 3 + 1) / 2]
    assert b[0] == "b" and [float(value) for value in b[1:5]] == pytest.approx(expected, rel=1e-15)
    places = {name: place for place, name in enumerate(header)}
    assert float(a[places["mean_boundary_iou"]]) == (6 / 12 + 3 / 4) / 2
    assert b[places["mean_boundary_iou"]] == ""
    contract = ["image", "native", ELSEWHERE, ELSEWHERE, "left out", "a class", "255"]
    names = ["level", "resolution", "split", "selected_on", "absent_classes", "background", "ignore"]
    assert header[-7:] == names and a[-7:] == b[-7:] == contract


def test_nothing_to_score_is_undefined_not_zero() -> None:
    one = scored()
    empty = replace(one, counts={k: 0 * v for k, v in one.counts.items()})
    record = as_record(empty)
    assert record["pixels"] == 0
    assert record["miou"] is record["mdice"] is record["pixel_accuracy"] is record["mean_class_accuracy"] is None
    assert as_text(empty).splitlines()[2].split() == ["mIoU", "-"]
    header, first, _ = csv.reader(io.StringIO(image_csv(empty)))
    numbers = dict(zip(header[1 : header.index("level")], first[1:], strict=False))
    assert (numbers.pop("objects_missed"), numbers.pop("objects_spurious")) == ("0", "0")
    assert set(numbers.values()) == {""}
