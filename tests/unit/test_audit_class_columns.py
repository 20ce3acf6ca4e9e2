"""Means beside columns whose names no list holds: what is theirs is checked, and nothing else is claimed."""

from __future__ import annotations

from pathlib import Path

import pytest

from segstudy.auditing import Audit, audit_tables


def audited(folder: Path, text: str, *notes: str) -> Audit:
    path = folder / f"table.{'md' if text.startswith('|') else 'csv'}"
    path.write_text(text, encoding="utf-8")
    return audit_tables([str(path)], notes)


def told(audit: Audit) -> list[tuple[str, str, str, str]]:
    return [(each.row, each.column, each.implied, each.severity) for each in audit.findings]


# The last row of each is wrong, the others are means worked out by hand: (90 + 80 + 76) / 3 = 82 and so on.
FAULTY = {
    "regions under their bare names, an average without a measure": (
        "Model,WT,TC,ET,Avg.\nA,90.0,80.0,76.0,82.0\nB,91.0,82.0,76.0,83.0\nC,92.0,84.0,79.0,86.0\n",
        ("C", "Avg.", "85.0"),
    ),
    "the mean first, its distance between": (
        "Method,Mean DSC,HD95,RV,Myo,LV\nA,82.0,5.1,90.0,80.0,76.0\nB,83.0,4.2,91.0,82.0,76.0\nC,86.0,4.0,92.0,84.0,79.0\n",
        ("C", "Mean DSC", "85.0"),
    ),
    "Dice without the word mean": (
        "Method,DSC ↑,HD ↓,RV,Myo,LV\nA,82.0,5.1,90.0,80.0,76.0\nB,83.0,4.2,91.0,82.0,76.0\nC,86.0,4.0,92.0,84.0,79.0\n",
        ("C", "DSC ↑", "85.0"),
    ),
    "F1 by class beside mean F1 and another mean": (
        "| Method | Imp. surf. | Building | Tree | mF1 | OA | mIoU |\n|---|---|---|---|---|---|---|\n"
        "| A | 90.0 | 80.0 | 76.0 | 82.0 | 88.0 | 70.1 |\n| B | 91.0 | 82.0 | 76.0 | 83.0 | 88.1 | 71.5 |\n"
        "| C | 92.0 | 84.0 | 79.0 | 86.0 | 89.0 | 74.2 |\n",
        ("C", "mF1", "85.0"),
    ),
    "the measure with each region": (
        "Model,WT Dice,TC Dice,ET Dice,mean Dice,Params (M)\nA,0.900,0.800,0.760,0.820,31\nB,0.910,0.820,0.760,0.830,62\n"
        "C,0.920,0.840,0.790,0.860,93\n",
        ("C", "mean Dice", "0.850"),
    ),
    "a mean without the background": (
        "Model,Background,Road,Water,mIoU\nA,99.0,80.0,76.0,78.0\nB,99.1,82.0,76.0,79.0\nC,99.2,84.0,79.0,85.0\n",
        ("C", "mIoU", "81.5"),
    ),
    "two groups, each with its mean": (
        "Model,Liver,Spleen,mIoU,Liver Dice,Spleen Dice,mDice\nA,80.0,60.0,70.0,88.9,75.0,81.95\n"
        "B,82.0,70.0,76.0,90.1,82.3,86.2\nC,84.0,66.0,77.0,91.3,79.5,85.4\n",
        ("C", "mIoU", "75.0"),
    ),
}


@pytest.mark.parametrize("case", FAULTY)
def test_a_mean_that_is_not_that_of_the_columns_beside_it_is_found(tmp_path: Path, case: str):
    text, (row, column, implied) = FAULTY[case]
    found = told(audited(tmp_path, text))
    assert [each for each in found if each[3] != "rounding"] == [(row, column, implied, "contradiction")]


SOUND = {
    "parameters, operations and speed": "Model,Params (M),FLOPs (G),FPS,mIoU\nA,31.2,62.1,45,75.1\nB,41.2,72.1,35,76.1\n",
    "unknown columns that are not classes": "Model,alpha,beta,mIoU\nA,1.0,2.0,75.1\nB,3.0,4.0,76.1\nC,5.0,6.0,77.1\n",
    "some of the classes": (
        "Model,Liver,Spleen,Aorta,mDice\nA,94.1,88.2,87.3,77.5\nB,95.1,89.2,88.3,78.5\nC,92.1,87.2,82.3,79.2\n"
    ),
    "some of the classes, whose mean is near": "Model,Liver,Spleen,mDice\nA,80.0,80.4,80.2\nB,82.0,82.6,82.4\nC,84.0,84.4,84.1\n",
    "means of distances": "Model,WT,TC,ET,Avg. HD95\nA,3.0,4.0,5.0,4.0\nB,2.0,4.0,6.0,4.0\nC,2.0,4.0,6.0,5.0\n",
    "a mean weighted by images": (
        "Method,Kvasir,ClinicDB,ETIS,mDice\nA,91.8,93.1,75.0,88.2\nB,90.1,92.2,70.4,86.3\nC,92.0,93.9,78.1,89.4\n"
    ),
    "classes of the other measure": "Model,Road,Tree,mIoU\nA,94.7,88.9,85.0\nB,95.2,90.1,86.4\nC,96.0,91.0,87.9\n",
    "one row": "Model,Sky,Ground,Water,mIoU\nA,90.0,80.0,70.0,85.0\n",
    "gaps": "Model,RV,Myo,LV,mDice\nA,90.0,80.0,76.0,82.0\nB,91.0,82.0,76.0,83.0\nC,92.0,-,79.0,86.0\nD,92.5,nan,79.5,86.5\n",
    "recalls of all classes of Cityscapes beside mIoU": (
        "Method,road,sidewalk,building,wall,fence,pole,traffic light,traffic sign,vegetation,terrain,sky,person,rider,car,truck,"
        "bus,train,motorcycle,bicycle,mIoU\n"
        + "".join(f"{name}{',90.0' * 19},{mean}\n" for name, mean in (("A", 70.1), ("B", 71.2), ("C", 72.3)))
    ),
}


@pytest.mark.parametrize("case", SOUND)
def test_nothing_is_claimed_where_the_columns_may_be_anything(tmp_path: Path, case: str):
    assert told(audited(tmp_path, SOUND[case])) == []


def test_a_gap_leaves_the_mean_only_what_the_missing_class_can_make(tmp_path: Path):
    """Two of three classes are 92 and 79: the mean lies between 57.0 and 90.3."""
    rows = "A,90.0,80.0,76.0,82.0\nB,91.0,82.0,76.0,83.0\nC,92.0,-,79.0,91.0\n"
    assert told(audited(tmp_path, f"Model,RV,Myo,LV,mDice\n{rows}")) == [
        ("C", "mDice", "57.0 to 90.3", "contradiction")
    ]


def test_what_is_taken_for_a_mean_is_said_and_what_is_not_too(tmp_path: Path):
    taken = audited(tmp_path, FAULTY["the mean first, its distance between"][0]).claims.remarks
    assert ("table", "Mean DSC is read as the mean of RV, Myo, LV, which it is in 2 of 3 rows") in taken
    open_ = " ".join(text for _, text in audited(tmp_path, SOUND["some of the classes"]).claims.remarks)
    assert "mDice not compared with the columns next to it: it is their mean in 0 of 3 rows" in open_
    assert "say 'classes: Liver, Spleen, Aorta'" in open_


def test_a_number_of_classes_that_is_said_needs_no_other_rows(tmp_path: Path):
    text = "Model,Sky,Ground,Water,mIoU\nA,90.0,80.0,70.0,85.0\n"
    assert told(audited(tmp_path, text, "classes: 3")) == [("A", "mIoU", "80.0", "contradiction")]


def test_columns_of_known_classes_hold_the_measure_whose_mean_they_make(tmp_path: Path):
    """CamVid's 11 classes of 90 and 79 make 80: the mean accuracy, so that mIoU is not held against them."""
    heads = "Sky,Building,Pole,Road,Sidewalk,Tree,Sign,Fence,Car,Pedestrian,Bicyclist"
    rows = "".join(f"{name},90.0{',79.0' * 10},80.0,{miou}\n" for name, miou in (("A", 60.1), ("B", 61.2), ("C", 62.3)))
    audit = audited(tmp_path, f"Model,{heads},mAcc,mIoU\n{rows}")
    assert told(audit) == []
    assert {claim.measure for claim in audit.claims.scores if claim.subject.cls} == {"class_accuracy"}


BY_CLASS = "Class,Precision,Recall,F1\nsky,0.90,0.80,0.8471\ncar,0.50,1.00,0.6667\n"


@pytest.mark.parametrize(
    ("mean", "found"),
    [
        ("Mean,0.70,0.90,0.7569", []),  # of the two F1
        ("Mean,0.70,0.90,0.7875", []),  # 2 * 0.7 * 0.9 / 1.6, of the two means
        ("Mean,0.70,0.90,0.7600", ["contradiction"]),
        ("Mean,-,-,0.7875", ["undecided"]),  # it may be made of means that are not printed
        ("Mean,0.75,0.90,0.7569", ["contradiction"]),  # of precision
    ],
)
def test_a_mean_f1_is_that_of_the_classes_or_of_mean_precision_and_recall(tmp_path: Path, mean: str, found: list[str]):
    assert [each.severity for each in audited(tmp_path, f"{BY_CLASS}{mean}\n").findings] == found


@pytest.mark.parametrize(
    ("row", "found"),
    [
        ("0.80,0.90,0.70", []),  # exactly the mean of the two
        ("0.79,0.90,0.70", []),
        ("0.82,0.90,0.70", ["undecided"]),  # of any one image it is 0.80 at most
        ("0.20,0.90,0.70", []),  # below P + R - 1, where the background may count
    ],
)
@pytest.mark.parametrize("heads", ["Dice,Precision,Recall", "F1,Precision,Recall", "mDice,mean precision,mean recall"])
def test_dice_exceeds_the_mean_of_precision_and_recall_only_if_they_are_of_other_things(
    tmp_path: Path, heads: str, row: str, found: list[str]
):
    """ResUNet++ prints Dice 0.8133 beside recall 0.7064 and precision 0.8774, whose mean is 0.7919."""
    audit = audited(tmp_path, f"Method,{heads}\nA,{row}\n")
    assert [each.severity for each in audit.findings] == found
    assert all("at most 0.80" in each.implied and "same images and classes" in each.message for each in audit.findings)


def test_names_of_logs_and_of_medical_papers(tmp_path: Path):
    """MMSegmentation logs a class behind a full stop; (90 + 80) / 2 = 85 and (85.0 + 74.0) / 2 = 79.5."""
    text = "Model,IoU.road,IoU.tree,mIoU\nA,90.0,80.0,85.0\nB,85.0,74.0,79.5\nC,91.0,80.0,87.5\n"
    assert told(audited(tmp_path, text)) == [("C", "mIoU", "85.5", "contradiction")]
    audit = audited(tmp_path, "Method,JSC,Avg F1\nA,0.80,0.79\n")
    assert [claim.measure for claim in audit.claims.scores] == ["iou", "mf1"]


def test_a_row_for_each_class_and_a_column_for_each_network(tmp_path: Path):
    """(90 + 80 + 76) / 3 = 82, (91 + 82 + 76) / 3 = 83, (92 + 84 + 79) / 3 = 85."""
    head = "Organ,U-Net,PSPNet,FPN"
    rows = "liver,90.0,91.0,92.0\nspleen,80.0,82.0,84.0\naorta,76.0,76.0,79.0\n"
    assert told(audited(tmp_path, f"{head}\n{rows}Average,82.0,83.0,86.0\n")) == [
        ("Average", "FPN", "85.0", "contradiction")
    ]
    assert told(audited(tmp_path, f"{head}\n{rows}Average,82.0,83.0,85.0\n")) == []


@pytest.mark.parametrize("rows", ["Average,70.0,71.0,72.0\n", "Average,82.0,83.0,86.0\nFPS,30,40,50\n"])
def test_rows_that_may_be_something_else_than_classes_are_not_recognised(tmp_path: Path, rows: str):
    text = f"Organ,U-Net,PSPNet,FPN\nliver,90.0,91.0,92.0\nspleen,80.0,82.0,84.0\naorta,76.0,76.0,79.0\n{rows}"
    audit = audited(tmp_path, text)
    assert told(audit) == [] and not audit.claims.scores
