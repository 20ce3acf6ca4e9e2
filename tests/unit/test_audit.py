"""The audit of published tables: what is read, every rule with a planted fault and with sound rows, and the review."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import pytest

from segstudy.auditing import Audit, as_text, audit_tables
from segstudy.auditing.classes import LISTS, NUM_CLASSES
from segstudy.auditing.headings import parse_heading
from segstudy.auditing.printed import judge, parse_number
from segstudy.auditing.tables import published_tables, read_tables
from segstudy.errors import TableError


@pytest.fixture
def audit(tmp_path: Path):
    """Audit tables given as text; with several, they are named t1, t2 ... in their order."""

    def call(*texts: str, notes: tuple[str, ...] = (), level: str | None = None) -> Audit:
        paths = [tmp_path / f"t{number}.csv" for number, _ in enumerate(texts, 1)]
        for path, text in zip(paths, texts, strict=True):
            said = "" if level is None else f"# level: {level}\n"
            path.write_text(said + text, encoding="utf-8")
        return audit_tables([str(path) for path in paths], notes)

    return call


def brief(found: Audit) -> list[tuple[str, str, str, str, str]]:
    """(row, rule, printed, implied, severity) of each finding."""
    return [(f.row, f.rule, f.printed, f.implied, f.severity) for f in found.findings]


# Numbers and headings


@pytest.mark.parametrize(
    "text",
    ["0.87 [0.84, 0.90]", "0.87 (0.84-0.90)", "0.87 (0.84–0.90)", "0,87 (0,84; 0,90)", ".87 [.84 to .90]"],
)
def test_an_interval_behind_a_score_is_read(text):
    number = parse_number(text)
    assert (number.low, number.step, number.bounds) == (
        Fraction(87, 100),
        Fraction(1, 100),
        (Fraction(84, 100), Fraction(90, 100)),
    )
    assert number.averaged and number.spread is None


@pytest.mark.parametrize("text", ["Dice [95% CI]", "Dice (95 % CI)", "Dice, 95% confidence interval", "Dice (95%-CI)"])
def test_a_heading_may_announce_intervals(text):
    heading = parse_heading(text)
    assert (heading.kind, heading.name, heading.of, heading.percent) == ("value", "dice", "", False)


def test_a_score_outside_of_its_own_interval_is_found(audit):
    sound = audit('Model,Dice [95% CI],IoU [95% CI]\nA,"0.87 [0.84, 0.90]",0.78 (0.75-0.81)\n')
    assert brief(sound) == []
    found = audit("Model,Dice (95% CI)\nA,0.81 (0.84-0.90)\nB,0.93 (0.84-0.90)\nC,0.84 (0.84-0.90)\n")
    assert [(f.row, f.rule, f.severity) for f in found.findings] == [
        ("A", "interval", "contradiction"),
        ("B", "interval", "contradiction"),
    ]


def test_iou_weighted_by_frequency_is_at_most_pixel_accuracy(audit):
    found = audit("Split,aAcc,fwIoU\nval,96.02,92.61\ntest,95.81,97.30\n")
    assert brief(found) == [("test", "accuracy", "97.30", "0.00 to 95.81", "contradiction")]
    assert parse_heading("FreqW Acc").name == "fwiou"


@pytest.mark.parametrize(
    ("text", "low", "high", "places", "mark"),
    [
        ("0.8830", 0.883, 0.883, 4, ""),
        (" 88,3 ", 88.3, 88.3, 1, ""),
        ("88.3 %", 88.3, 88.3, 1, "percent"),
        (".5", 0.5, 0.5, 1, ""),
        ("+0.051", 0.051, 0.051, 3, ""),
        ("↓ 3.3", -3.3, -3.3, 1, ""),
        ("−0.125", -0.125, -0.125, 3, ""),
        ("≈ 0.517", 0.517, 0.517, 3, ""),
        ("**0.5170**", 0.517, 0.517, 4, ""),
        ("0.91†", 0.91, 0.91, 2, ""),
        ("50–58%", 50, 58, 0, "percent"),
        ("≈ 0.882–0.883", 0.882, 0.883, 3, ""),
        ("≈ 3.4 percentage points", 3.4, 3.4, 1, "points"),
        ("+1.2 pp", 1.2, 1.2, 1, "points"),
        ("0.88 ± 0.01", 0.88, 0.88, 2, ""),
        ("0.88 (0.01)", 0.88, 0.88, 2, ""),
        ("0.8764 (-0.0055)", 0.8764, 0.8764, 4, ""),
    ],
)
def test_numbers_are_read_as_people_print_them(text, low, high, places, mark):
    number = parse_number(text)
    assert (float(number.low), float(number.high)) == pytest.approx((low, high), abs=1e-15)
    assert (number.places, number.mark) == (places, mark)
    assert number.averaged == (text in ("0.88 ± 0.01", "0.88 (0.01)"))
    assert number.aside == ("-0.0055" if text == "0.8764 (-0.0055)" else "")


@pytest.mark.parametrize("text", ["", "-", "–", "—", "N/A", "nan", " / "])
def test_gaps(text):
    assert parse_number(text) is None


@pytest.mark.parametrize(
    "text",
    ["x", "1.2.3", "1,234.5", "0.88e-1", "58-50", "-26-28", "0.5 0.6", "٣", "9" * 5000, "1e999", "inf", "> 0.75"],
)
def test_what_is_no_number_is_refused(text):
    with pytest.raises(ValueError, match=r"is not a number|is not a range"):
        parse_number(text)


@pytest.mark.parametrize(
    ("text", "kind", "name", "of"),
    [
        ("mIoU", "value", "miou", ""),
        (" MEAN IoU [%] ↑", "value", "miou", ""),
        ("IoU mean", "value", "miou", ""),
        ("Jaccard", "value", "iou", ""),
        ("m-Dice", "value", "mdice", ""),
        ("DSC", "value", "dice", ""),
        ("F1-score", "value", "f1", ""),
        ("mPA", "value", "accuracy", ""),
        ("Jaccard_mean", "value", "miou", ""),
        ("macro IoU", "value", "miou", ""),
        ("Average Jaccard index of polyps", "value", "miou", "polyps"),
        ("Jaccard index (JI)", "value", "iou", ""),
        ("Intersection over Union (mIoU)", "value", "miou", ""),
        ("Dice similarity coefficient (DSC), U-Net", "value", "dice", "U-Net"),
        ("F1 (Dice)", "value", "dice", ""),
        ("Dice / mean F1", "value", "mdice", ""),
        ("mean F1 (mF1)", "value", "mf1", ""),
        ("Recall (sensitivity, TPR)", "value", "class_accuracy", ""),
        ("average recall", "value", "mean_class_accuracy", ""),
        ("Average Precision", "value", "precision", "Average"),
        ("IoU (Dice)", "value", "iou", "Dice"),
        ("Pixel Acc.", "value", "pixel_accuracy", ""),
        ("mAcc", "value", "mean_class_accuracy", ""),
        ("Sensitivity", "value", "class_accuracy", ""),
        ("DL IoU", "value", "iou", "DL"),
        ("unet-512-kvasir IoU", "value", "iou", "unet-512-kvasir"),
        ("IoU_polyp", "value", "iou", "polyp"),
        ("ΔIoU", "difference", "iou", ""),
        ("|ΔIoU|", "difference", "iou", ""),
        ("mIoU gain", "difference", "miou", ""),
        ("mIoU_drop", "difference", "miou", ""),
        ("rel. Δ mIoU (%)", "relative", "miou", ""),
        ("Model Name", "key", "run", ""),
        ("Train → Test", "key", "train → test", ""),
        ("#", "number", "", ""),
        ("IoU std", "unknown", "", ""),
        ("Boundary IoU", "unknown", "", ""),
        ("IoU loss", "unknown", "", ""),
        ("AP50", "unknown", "", ""),
        ("", "unknown", "", ""),
    ],
)
def test_headings_are_recognised(text, kind, name, of):
    heading = parse_heading(text)
    assert (heading.kind, heading.name, heading.of) == (kind, name, of)


def test_a_heading_can_be_read_as_another():
    assert parse_heading("Jac.-Wert", "IoU").name == "iou"
    assert parse_heading("mPA", "pixel accuracy").name == "pixel_accuracy"
    assert parse_heading("mIoU", "ignore").kind == "ignored"


@pytest.mark.parametrize(
    ("implied", "because"),
    [
        ({"rounded": (0.464, 0.469)}, ""),  # 0.455 to 0.465
        ({"rounded": (0.468, 0.469)}, "digits seem cut off instead of rounded"),  # 0.46 to 0.47
        ({"truncated": (0.468, 0.469)}, "digits seem cut off instead of rounded"),
        ({"truncated": (0.456, 0.457)}, "digits seem cut off instead of rounded"),
        ({"printed": (0.475, 0.9)}, "it is off by one in the last digit"),
    ],
)
def test_one_reading_of_the_digits_is_enough(implied, because):
    def follows(reading):
        return tuple(Fraction(str(end)) for end in implied.get(reading, (0.8, 0.9)))

    verdict = judge(parse_number("0.46"), follows)
    assert (verdict.severity, verdict.because) == ("rounding" if because else None, because)
    assert judge(parse_number("0.44"), follows).severity == "contradiction"


# One class's Dice and IoU


def test_dice_of_a_class_follows_from_its_iou(audit):
    # 2 * 0.6 / 1.6 = 0.75; 2 * 0.9 / 1.9 = 0.947; 2 * 0.5 / 1.5 = 0.667
    found = audit("Class,IoU,Dice\nroad,0.900,0.947\ncar,0.600,0.760\nsky,0.500,0.667\n")
    assert brief(found) == [("car", "dice", "0.760", "0.750", "contradiction")]
    assert found.findings[0].message == (
        "IoU 0.600 makes Dice 0.750, not 0.760, over the pixels of all images at once (level: dataset)."
    )
    assert found.contradicts


def test_dice_within_the_digits_of_iou_is_sound(audit):
    # IoU 0.585 may be 0.5855, whose Dice is 0.73857; 0.137 may be 0.1365, whose Dice is 0.2402
    assert audit("Class,IoU,Dice\na,0.585,0.739\nb,0.137,0.240\n").findings == ()


def test_cut_off_digits_are_rounding(audit):
    # IoU 0.2 to 0.3 if cut off makes Dice up to 0.4615; rounded, 0.25 at most: 0.4
    found = audit("Class,IoU,Dice\na,0.29,0.46\nb,0.20,0.342\nc,0.50,0.66\n")
    # 0.195 to 0.205 gives 0.326 to 0.3403; cut off, up to 0.21, 0.3471. 0.495 to 0.505 gives 0.662 to 0.671
    assert brief(found) == [("b", "dice", "0.342", "0.333", "rounding")]
    assert not found.contradicts
    assert found.findings[0].message.endswith("digits seem cut off instead of rounded.")


def test_one_in_the_last_digit_is_rounding_and_two_a_contradiction(audit):
    # 2 * 0.9 / 1.9 = 0.94737
    found = audit("Class,IoU,Dice\na,0.90000,0.9475\nb,0.90000,0.9476\n")
    assert brief(found) == [
        ("b", "dice", "0.9476", "0.9474", "contradiction"),
        ("a", "dice", "0.9475", "0.9474", "rounding"),
    ]


def test_f1_of_a_class_is_its_dice(audit):
    found = audit("Class,Jaccard,F1\na,0.50,0.67\nb,0.50,0.75\n")
    assert brief(found) == [("b", "dice", "0.75", "0.67", "contradiction")]


def test_columns_that_slid_by_a_row_are_named(audit):
    # Dice of 0.5, 0.6, 0.7, 0.8 is 0.667, 0.750, 0.824, 0.889; printed one row too low
    found = audit("Class,IoU,Dice\na,0.500,0.889\nb,0.600,0.667\nc,0.700,0.750\nd,0.800,0.824\n", level="dataset")
    assert [f.row for f in found.findings] == ["a", "b", "c", "d"]
    assert all("each Dice fits the IoU 1 row above" in f.message for f in found.findings)


def test_rows_that_break_together_look_shifted_only_if_a_shift_brings_them_nearer(audit):
    # Dice of 0.9, 0.2, 0.5 is 0.947, 0.333, 0.667; printed a row too low and each a little off, as of another epoch
    table = "Class,IoU,Dice\n1,0.950,0.974\n2,0.900,0.600\n3,0.200,0.900\n4,0.500,{}\n"
    found = audit(table.format("0.300"))
    assert [f.row for f in found.findings] == ["Class 2", "Class 3", "Class 4"]
    shifted = "(no row from Class 2 to Class 4 fits: the two columns seem to be shifted against each other)"
    assert all(shifted in f.message for f in found.findings)


@pytest.mark.parametrize(
    "rows",
    [
        "2,0.600,0.111\n3,0.700,0.222\n",  # two rows can be swapped only
        "2,0.600,0.111\n3,0.700,0.222\n4,0.800,0.333\n",  # as far off in any order
        "2,0.300,0.470\n3,0.600,0.760\n4,0.800,0.900\n",  # a little off, as printed
        "2,0.900,0.600\n3,0.200,0.900\n4,0.950,0.974\n5,0.500,0.300\n",  # a row that fits lies between
    ],
)
def test_no_shift_is_claimed_that_does_not_bring_columns_nearer(audit, rows):
    found = audit(f"Class,IoU,Dice\n1,0.500,0.667\n{rows}")
    assert len(found.findings) > 1
    assert all(
        "shift" not in f.message
        and f.message.endswith(f"not {f.printed}, over the pixels of all images at once (level: dataset).")
        for f in found.findings
    )


def test_dice_and_iou_may_stand_in_two_tables(audit):
    head = "# dataset: streets\n# model: U-Net\n"
    found = audit(f"{head}Class,IoU\ncar,0.600\nsky,0.500\n", f"{head}Class,Dice\ncar,0.760\nsky,0.667\n")
    assert brief(found) == [("car", "dice", "0.760", "0.750", "contradiction")]
    assert "IoU 0.600 (t1)" in found.findings[0].message


def test_dice_from_precision_and_recall(audit):
    # 2 * 0.8 * 0.6 / 1.4 = 0.686
    found = audit("Class,Dice,Precision,Recall\na,0.686,0.8,0.6\nb,0.800,0.80,0.60\n")
    assert brief(found) == [("b", "precision-recall", "0.800", "0.686", "contradiction")]


# Averages


def test_a_mean_dice_lies_between_mean_iou_and_its_curve(audit):
    # 2 * 0.6 / 1.6 = 0.75
    found = audit("Model,mIoU,mDice\nA,0.600,0.600\nB,0.600,0.750\nC,0.600,0.770\nD,0.600,0.590\nE,0.600,0.680\n")
    assert brief(found) == [
        ("C", "mean-dice", "0.770", "0.600 to 0.750", "contradiction"),
        ("D", "mean-dice", "0.590", "0.600 to 0.750", "contradiction"),
    ]


def test_iou_and_dice_of_a_run_may_be_means_over_images(audit):
    assert audit("Model,IoU,Dice\nA,0.600,0.680\n").findings == ()
    assert [f.rule for f in audit("Model,IoU,Dice\nA,0.600,0.580\n").findings] == ["mean-dice"]


def test_a_mean_f1_may_be_made_of_mean_precision_and_recall(audit):
    # Precision and recall of two classes (1, 0.5) and (0.5, 1): IoU 0.5 each, F1 0.667 each, but 0.75 of the means.
    assert audit("Model,mIoU,mF1\nA,0.500,0.750\n").findings == ()
    assert [f.rule for f in audit("Model,mIoU,mF1\nA,0.500,0.480\n").findings] == ["mean-dice"]


def test_means_over_images_of_a_class_bound_each_other_only(audit):
    table = "Class,IoU,Dice\nliver,0.600,0.700\nspleen,0.500,0.600\n"
    assert len(audit(table).findings) == 2
    assert audit(f"# level: image\n{table}").findings == ()
    assert len(audit(f"# level: image\n{table}kidney,0.500,0.700\n").findings) == 1  # 0.667 at most


def test_classes_of_which_none_fits_are_taken_for_means_over_images(audit):
    table = "Class,IoU,Dice\nliver,0.600,0.700\nspleen,0.500,0.600\nkidney,0.400,0.500\n"
    found = audit(table, level=None)
    assert found.findings == ()
    assert "may be means over images" in as_text(found)
    assert len(audit(f"# level: dataset\n{table}").findings) == 3
    assert (
        len(audit(table.replace("0.500,0.600", "0.500,0.667"), level=None).findings) == 2
    )  # one fits, so they are not means


def test_means_over_seeds_are_averages(audit):
    found = audit("Class,IoU,Dice\na,0.60 ± 0.20,0.72 ± 0.20\nb,0.60 ± 0.01,0.77 ± 0.01\n")
    assert brief(found) == [("b", "mean-dice", "0.77 ± 0.01", "0.60 to 0.75", "contradiction")]


def test_the_mean_row_is_the_mean_of_the_rows_above(audit):
    table = "Class,IoU,Dice\nroad,0.900,0.947\ncar,0.600,0.750\nMean,0.750,0.800\n"
    assert brief(audit(table)) == [("Mean", "mean", "0.800", "0.848", "contradiction")]
    # (0.947 + 0.750) / 2 = 0.8485, which may be rounded either way
    assert audit(table.replace("0.800", "0.848")).findings == ()
    assert audit(table.replace("0.800", "0.849")).findings == ()


def test_a_class_without_a_score_may_count_or_not(audit):
    table = "Class,IoU\nroad,0.900\ncar,0.600\ntrain,-\nMean,"
    assert audit(f"{table}0.750\n").findings == ()  # left out
    assert audit(f"{table}0.500\n").findings == ()  # counted as 0
    assert brief(audit(f"{table}0.490\n")) == [("Mean", "mean", "0.490", "0.500 to 0.833", "contradiction")]


def test_means_need_the_number_of_classes(audit):
    table = "# measure: IoU\n# classes: {}\nModel,road,car,mIoU\nA,0.900,0.600,0.700\n"
    assert brief(audit(table.format("road, car"))) == [("A", "mean", "0.700", "0.750", "contradiction")]
    # A published row of Cityscapes' 19 classes, among them one that is called train: their mean is 81.19
    names = "road,sidewalk,building,wall,fence,pole,light,sign,vegetation,terrain,sky,person,rider,car,truck,bus,train"
    values = "98.7,86.9,93.5,58.4,63.7,67.7,76.1,80.5,93.6,72.2,95.3,86.8,71.9,96.2,77.7,91.5,83.6,70.8,77.5"
    names += ",motorcycle,bicycle"
    table = f"# measure: IoU\n# classes: {names}\nMethod,{names},mIoU (%)\nA,{values},81.2\nB,{values},81.4\n"
    assert brief(audit(table)) == [("B", "mean", "81.4", "81.2", "contradiction")]
    table = "Class,U-Net IoU\nroad,0.900\ncar,0.600\n"
    other = "Model,Dataset,mIoU\nU-Net,streets,0.700\n"
    found = audit(f"# dataset: streets\n{table}", other)
    assert found.findings == ()
    found = audit(f"# dataset: streets\n{table}", other, notes=("classes: 2",))
    assert brief(found) == [("U-Net, streets", "mean", "0.700", "0.750", "contradiction")]
    found = audit(f"# dataset: streets\n{table}", other, notes=("classes: 10",))
    assert found.findings == ()  # from 1.5 / 10 to 9.5 / 10
    found = audit(f"# dataset: streets\n{table}", other.replace("0.700", "0.120"), notes=("classes: 10",))
    assert brief(found) == [("U-Net, streets", "mean", "0.120", "0.150 to 0.950", "contradiction")]
    assert "the 2 printed of its 10 classes" in found.findings[0].message


def test_means_that_cannot_be_checked_are_remarked_on(audit):
    remark = "means not compared with their classes; say how many classes there are"
    tables = ("# dataset: d\nClass,A IoU\nroad,0.900\n", "Model,Dataset,mIoU\nA,d,0.5\n")
    assert remark in as_text(audit(*tables))
    assert remark not in as_text(audit(*tables, notes=("classes: 19",)))
    assert remark not in as_text(audit(tables[1]))
    found = audit("Class,IoU\nx,0.5\nmean (foreground),0.7\n")
    assert found.findings == ()
    assert "read as means of some of the classes, so not checked: mean (foreground)" in as_text(found)


# Accuracy


def test_iou_exceeds_neither_recall_nor_precision(audit):
    found = audit("Class,IoU,Precision,Recall\na,0.5,0.6,0.6\nb,0.70,0.65,0.90\nc,0.70,0.90,0.65\n")
    assert brief(found) == [
        ("b", "accuracy", "0.70", "0.00 to 0.65", "contradiction"),
        ("c", "accuracy", "0.70", "0.00 to 0.65", "contradiction"),
    ]
    assert audit("Model,IoU,Precision\nA,0.88,0.86\n").findings == ()  # of all classes beside that of the foreground


def test_pixel_accuracy_is_no_bound_but_mean_class_accuracy_is(audit):
    # A large class that is always taken for another, and 17 small ones that are right: PA 0.1, mIoU 17/19
    assert audit("Model,mIoU,pixel accuracy\nA,0.8947,0.1000\n").findings == ()
    assert audit("Model,mIoU,mPA\nA,0.8947,0.1000\n").findings == ()  # which of the two it is, is not said
    found = audit("Model,mIoU,mAcc\nA,0.8947,0.1000\nB,0.5,0.6\n")
    assert brief(found) == [("A", "accuracy", "0.8947", "0.0000 to 0.1000", "contradiction")]


def test_two_classes_leave_mean_dice_no_freedom(audit):
    # Confusion [[6, 1], [2, 1]]: IoU 6/9 and 1/4, mIoU 0.4583; Dice 12/15 and 2/5, mDice 0.6; accuracy 0.7
    table = "# classes: 2\nModel,mIoU,mDice,pixel accuracy\nA,0.4583,0.6000,0.7000\nB,0.4583,0.6100,0.7000\n"
    found = audit(table)
    assert brief(found) == [("B", "two-classes", "0.6100", "0.6000", "contradiction")]
    assert found.findings[0].message == (
        "with two classes, mIoU 0.4583 and pixel accuracy 0.7000 make mDice 0.6000, not 0.6100"
        ", over the pixels of all images at once (level: dataset)."
    )
    assert audit(table.replace("classes: 2", "classes: 3")).findings == ()
    assert audit(f"# level: image\n{table}").findings == ()
    assert audit(table.replace("pixel accuracy", "mPA")).findings == ()


def test_two_classes_bound_mean_iou_by_pixel_accuracy(audit):
    # 0.7 / 1.3 = 0.538 at most (both classes alike), 0.35 at least (one class never found)
    found = audit(
        "# classes: 2\nModel,mIoU,pixel accuracy\nA,0.538,0.700\nB,0.545,0.700\nC,0.345,0.700\nD,0.35,0.7\n",
        level="dataset",
    )
    assert brief(found) == [
        ("B", "two-classes", "0.545", "0.350 to 0.538", "contradiction"),
        ("C", "two-classes", "0.345", "0.350 to 0.538", "contradiction"),
    ]


def test_the_number_of_classes_may_stand_in_another_table(audit):
    runs = "Model,Dataset,mIoU,mDice,pixel accuracy\nA,polyps,0.4583,0.6100,0.7000\nA,streets,0.4583,0.6100,0.7000\n"
    found = audit(runs, "Dataset,Classes\npolyps,2\nstreets,19\n")
    assert [(f.row, f.rule) for f in found.findings] == [("A, polyps", "two-classes"), ("A, streets", "copy")]


# Impossible values and units


def test_impossible_values(audit):
    found = audit("Model,mIoU,Δ mIoU\nA,0.510,-\nB,1.020,0.510\nC,-0.1,-0.610\n")
    assert brief(found) == [
        ("B", "range", "1.020", "0 to 1", "contradiction"),
        ("C", "range", "-0.1", "0 to 1", "contradiction"),
    ]
    found = audit("Model,mIoU (%)\nA,51.0\nB,102.0\nC,0\nD,100\n")
    assert brief(found) == [("B", "range", "102.0", "0 to 100", "contradiction")]
    assert brief(audit("Model,Drop mIoU\nA,140\n")) == [("A", "range", "140", "-100 to 100", "contradiction")]
    assert audit("Model,mIoU,Gain\nA,0.20,-\nB,0.48,140%\n").findings == ()  # of 0.20


@pytest.mark.parametrize("row", ["1.39,1.20", "1.39,0.80", "-0.139,0.80", "137,0.80", "1.39,-0.20"])
def test_nothing_follows_from_what_is_impossible_itself(audit, row):
    found = audit(f"Model,mIoU,mDice\nA,{row}\n")
    assert {f.rule for f in found.findings} == {"range"}
    assert found.findings[0].column == "mIoU"


def test_a_score_just_above_one_is_in_percent_if_others_are(audit):
    assert audit("Model,mIoU,mDice\nA,1.39,2.74\n").findings == ()  # 2 * 1.39 / 1.0139
    assert audit("# unit: percent\nModel,mIoU,mDice\nA,1.39,1.42\n").findings == ()


def test_an_impossible_difference_is_no_standard_for_others(audit):
    table = "Experiment,Dataset,mIoU,Drop mIoU\nu,x,0.80,-\nv,x,0.60,{}\n"
    found = audit(table.format("150"), table.format("0.20"))
    assert {f.table for f in found.findings} == {"t1"}
    assert {f.rule for f in found.findings} == {"range", "difference"}


def test_no_mean_dice_follows_from_what_two_classes_cannot_have(audit):
    # 0.7 / 1.3 = 0.538 at most
    found = audit("# classes: 2\nModel,mIoU,mDice,pixel accuracy\nA,0.600,0.700,0.700\n", level="dataset")
    assert brief(found) == [("A", "two-classes", "0.600", "0.350 to 0.538", "contradiction")]


def test_percent_and_fraction_mixed(audit):
    found = audit("Model,mIoU\nA,0.5171\nB,51.27\nC,0.4900\n")
    assert brief(found) == [("B", "unit", "51.27", "0.5127", "contradiction")]
    found = audit("Model,mIoU\nA,51.71\nB,0.5127\nC,49.00\n")
    assert brief(found) == [("B", "unit", "0.5127", "51.27", "contradiction")]


@pytest.mark.parametrize(
    ("rows", "row", "implied", "message"),
    [
        (
            "0.667 66.7",
            1,
            "66.7",
            "mIoU 0.667 looks like a fraction, 66.7 (B) like a percentage; in percent it would be",
        ),
        (
            "66.7 0.667",
            2,
            "66.7",
            "mIoU 0.667 looks like a fraction, 66.7 (A) like a percentage; in percent it would be",
        ),
        ("0.6670 66.7", 1, "66.70", "mIoU 0.6670 looks like a fraction, 66.7 (B) like a percentage"),
        (
            "66.7 0.667 0.701 0.7",
            1,
            "0.667",
            "mIoU 66.7 looks like a percentage, 0.667 (B) like a fraction; as a fraction",
        ),
    ],
)
def test_the_message_about_units_says_which_is_which(audit, rows, row, implied, message):
    found = audit(
        "Model,mIoU\n" + "".join(f"{name},{text}\n" for name, text in zip("ABCD", rows.split(), strict=False))
    )
    [one] = found.findings
    assert (one.rule, one.row, one.implied) == ("unit", "ABCD"[row - 1], implied)
    assert message in one.message


def test_percentages_with_three_places_and_negative_numbers_are_in_no_other_unit(audit):
    assert audit("Class,IoU\na,95.0\nb,51.271\nc,0.612\n").findings == ()
    assert [f.rule for f in audit("Model,mIoU\nA,51.71\nB,-0.5127\nC,49.00\n").findings] == ["range"]


def test_units_mixed_in_numbers_of_few_places_are_told(audit):
    found = audit("Model,IoU a,Dice a\nm1,0.5,0.667\nm2,50,66.7\n")
    assert {each.rule for each in found.findings} == {"unit"}


@pytest.mark.parametrize(
    "table",
    [
        "Class,IoU,Dice\nroad,95.0,97.4\npole,0.5,1.0\nbus,0.0,0.0\ntrain,0.2,0.4\n",  # rare classes, in percent
        "Model,mIoU (%),Dice\nA,60.0,0.750\n",
        "Model,mIoU,mDice\nA,60.0 %,0.750\n",
        "# unit: percent\nModel,mIoU,mDice\nA,0.5,0.9\n",
        "Model,mIoU,Params (M)\nA,0.5,33\n",
        "Class,IoU,Dice\nroad,0.950,0.974\npole,0,0\n",
    ],
)
def test_units_are_told_from_headings_cells_and_numbers(audit, table):
    assert audit(table).findings == ()


def test_units_matter(audit):
    found = audit("Class,IoU (%),Dice\na,60.0,0.750\nb,60.0,0.800\n")
    assert brief(found) == [("b", "dice", "0.800", "0.750", "contradiction")]


# Differences


def test_differences_are_those_of_the_printed_digits(audit):
    found = audit("Model,mIoU,Δ mIoU\nbase,0.5170,-\nA,0.5127,-0.0043\nB,0.4647,-0.0524\nC,0.5200,+0.0032\n")
    assert brief(found) == [
        ("C", "difference", "+0.0032", "+0.0030", "contradiction"),
        ("B", "difference", "-0.0524", "-0.0523", "rounding"),
    ]
    assert found.findings[0].message == "Δ mIoU: 0.5200 - 0.5170 is +0.0030, not +0.0032."


def test_a_drop_is_positive_where_scores_fall_and_the_column_decides(audit):
    assert audit("Model,mIoU,Drop mIoU\nbase,0.9,-\nA,0.5,0.4\nB,0.95,-0.05\n").findings == ()
    assert audit("Model,mIoU,Drop mIoU\nbase,0.9,0.0\nA,0.5,-0.4\nB,0.7,-0.2\n").findings == ()
    found = audit("Model,mIoU,Drop mIoU\nbase,0.9,-\nA,0.5,0.4\nB,0.7,0.2\nC,0.8,-0.1\n")
    assert brief(found) == [("C", "difference", "-0.1", "0.1", "contradiction")]
    assert audit("Model,mIoU,|Δ mIoU|\nbase,0.9,-\nA,0.5,0.4\nB,0.95,0.05\n").findings == ()


def test_differences_between_two_columns(audit):
    found = audit("Class,A IoU,B IoU,ΔIoU\n1,0.262,0.210,+0.052\n2,0.117,0.241,-0.128\n3,0.5,0.5,0.0\n")
    assert brief(found) == [("Class 2", "difference", "-0.128", "-0.124", "contradiction")]


def test_a_difference_is_to_a_baseline_of_the_same_data(audit):
    table = "Model,Dataset,mIoU,Δ\nA,x,0.50,-\nB,x,0.55,{}\nA,y,0.70,-\nB,y,0.72,+0.02\n"
    assert audit(table.format("+0.05")).findings == ()
    assert brief(audit(table.format("-0.15"))) == [("B, x", "difference", "-0.15", "0.05", "contradiction")]


def test_steps_may_be_added_upon_steps(audit):
    table = "Setting,ASPP,mIoU (%),Gain\na,,70.12,\nb,✓,73.45,+3.33\nc,✓,75.01,{}\n"
    assert audit(table.format("+4.89")).findings == ()  # over a
    assert audit(table.format("+1.56")).findings == ()  # over b
    assert brief(audit(table.format("+2.56"))) == [("c", "difference", "+2.56", "+4.89", "contradiction")]
    assert audit("Setting,mIoU,Gain\na,70.1,+1.0\nb,73.4,+2.0\n").findings == ()  # over what is not in the table


def test_a_difference_without_a_measure_may_be_of_any_column_before_it(audit):
    table = "Model,mIoU,mDice,Δ\nA,0.600,0.700,-\nB,0.640,0.720,{}\n"
    assert audit(table.format("+0.040")).findings == ()
    assert audit(table.format("+0.020")).findings == ()
    assert [f.rule for f in audit(table.format("+0.045")).findings] == ["difference"]


def test_relative_differences(audit):
    # 0.4871 / 0.8830 = 55.16 %, 0.05 / 0.50 = 10 %
    found = audit("Model,mIoU,Relative drop mIoU\nA,0.8830,-\nB,0.3959,55.2%\nC,0.3959,55.1%\nD,0.3959,54.0%\n")
    assert brief(found) == [
        ("D", "relative", "54.0%", "55.2%", "contradiction"),
        ("C", "relative", "55.1%", "55.2%", "rounding"),
    ]
    assert (
        audit("Model,mIoU,Δ mIoU (%)\nA,0.5000,-\nB,0.5500,5.0\nC,0.5500,10.0\n").findings == ()
    )  # points, or relative
    assert len(audit("Model,mIoU,Δ mIoU (%)\nA,0.5000,-\nB,0.5500,8.0\n").findings) == 1
    assert audit("Model,mIoU,Relative drop mIoU\nA,0.000,-\nB,0.9,-90000%\n").findings == ()  # of next to nothing


def test_ranges_hold_what_lies_in_them(audit):
    table = "Model,mIoU,Relative drop mIoU\nA,0.8830,-\nB,0.3959,{}\n"
    assert audit(table.format("50–58%")).findings == ()
    assert brief(audit(table.format("57-60%"))) == [("B", "relative", "57-60%", "55%", "contradiction")]


def test_a_difference_in_another_unit_than_its_scores_says_so(audit):
    table = "Model,mIoU,Drop mIoU\nA,0.80,-\nB,0.60,{}\n"
    assert audit(table.format("20.0")).findings == ()
    [one] = audit(table.format("15.0")).findings
    assert one.message == "Drop mIoU: 0.80 - 0.60 is 20.0 in percent, not 15.0."
    [one] = audit(table.format("15.0 pp")).findings
    assert one.message == "Drop mIoU: 0.80 - 0.60 is 20.0 in percent, not 15.0 pp."


def test_points_are_no_share(audit):
    table = "Model,mIoU,ΔmIoU\nA,0.5171,≈ {}\nB,0.4831,-\n"
    assert audit(table.format("3.4 percentage points")).findings == ()
    assert len(audit(table.format("7.0 percentage points")).findings) == 1  # 7 % it is, but not points


def test_a_drop_whose_scores_stand_in_other_tables(audit):
    scores = "Experiment,Train → Test,mIoU\nu,x → x,0.80\nu,x → y,0.60\n"
    found = audit(scores, "Experiment,Train → Test,Relative drop mIoU\nu,x → x,-\nu,x → y,30%\n")
    assert brief(found) == [("u, x → y", "relative", "30%", "25%", "contradiction")]


def test_scores_that_make_a_difference_are_found_in_other_tables(audit):
    first = "Experiment,Dataset,mIoU\nu,x,0.85\n"
    found = audit(first, "Experiment,Train → Test,mIoU,Drop mIoU\nu,x → x,0.80,-\nu,x → y,0.60,0.25\n")
    drop = next(f for f in found.findings if f.rule == "difference")
    assert "it follows from 0.85, which t1 prints for the same run" in drop.message


# What is printed twice


def test_the_same_number_twice(audit):
    head = "Experiment,Dataset,mIoU,mDice\n"
    found = audit(f"{head}u,x,0.5171,0.6459\n", f"{head}u,x,0.5170,0.6500\n", f"{head}u,x,0.517,0.65\n")
    assert [(f.table, *brief(found)[n][1:]) for n, f in enumerate(found.findings)] == [
        ("t2", "repeated", "0.6500", "0.6459", "contradiction"),
        ("t2", "repeated", "0.5170", "0.5171", "rounding"),
    ]


def test_the_odd_one_out_is_the_fault_wherever_it_stands(audit):
    head = "Experiment,Dataset,mIoU\n"
    found = audit(f"{head}u,x,0.61\n", f"{head}u,x,0.5171\n", f"{head}u,x,0.5171\n", f"{head}u,x,0.5\n")
    assert [(f.table, f.printed, f.implied) for f in found.findings] == [("t1", "0.61", "0.52")]
    found = audit(f"{head}u,x,0.48312\n", f"{head}u,x,0.525\n", f"{head}u,x,0.525\n")
    assert [(f.table, f.printed, f.implied) for f in found.findings] == [("t1", "0.48312", "0.52500")]


def test_a_value_that_belongs_to_another_row_is_traced(audit):
    head = "Experiment,Dataset,mIoU\n"
    found = audit(f"{head}u,x,0.5171\nd,x,0.6003\n", f"{head}u,x,0.6003\n", f"{head}u,x,0.5171\n")
    assert [(f.table, f.printed, f.implied) for f in found.findings] == [("t2", "0.6003", "0.5171")]
    assert "0.6003 is what t1 prints for d" in found.findings[0].message


def test_names_are_linked_by_a_table_of_configurations(audit):
    runs = "Model Name,Model,Dataset,Backbone,Notes\nu50,U-Net,x,r50,Baseline\nu101,U-Net,x,r101,Ablation\n"
    first = "# variant: Baseline\nModel,Dataset,mIoU\nU-Net,x,0.50\n"
    second = "Model Name,Dataset,mIoU\nu50,x,0.60\nu101,x,0.70\n"
    assert [f.row for f in audit(runs, first, second).findings] == ["u50, x"]
    without = first.removeprefix("# variant: Baseline\n")  # may be either
    assert audit(runs, without, second).findings == ()


RUN, CROSS = "Experiment,Dataset,mIoU\n", "Experiment,Train → Test,mIoU\n"
SEEDS = "Experiment,Dataset,Seed,mIoU\n"


@pytest.mark.parametrize(
    "tables",
    [
        ("Model,mIoU\nU-Net,0.5\n", "Model,mIoU\nU-Net,0.6\n"),  # the data stand in captions
        ("Model Name,mIoU\nU-Net,0.5\n", "Model Name,mIoU\nU-Net,0.6\n"),
        ("Model Name,Dataset,mIoU\nU-Net,x,0.5\n", "Model Name,Dataset,mIoU\nU-Net,y,0.6\n"),
        ("Model,Dataset,mIoU\nU-Net,x,0.5\n", "Model,Dataset,Backbone,mIoU\nU-Net,x,r101,0.6\n"),
        (f"{SEEDS}u,x,1,0.5\nu,x,2,0.6\n", f"{SEEDS}u,x,1,0.50\n", f"{SEEDS}u,x,2,0.60\n"),
        ("Class,IoU\nroad,0.5\n", "Class,IoU\nroad,0.6\n"),
        (f"{CROSS}u,x → x,0.5\n", f"{CROSS}u,x → y,0.6\n"),
        (f"{RUN}u,x,0.50 ± 0.02\n", f"{RUN}u,x,0.53\n"),
        (f"{RUN}u,x,0.50\n", f"# level: image\n{RUN}u,x,0.53\n"),
        (f"{RUN}u,x,0.60\n", "# level: image\nExperiment,Dataset,mDice\nu,x,0.80\n"),
        ("Experiment,Dataset,Thr,mIoU\nu,x,0.3,0.5\nu,x,0.5,0.6\n", f"{RUN}u,x,0.7\n"),
        (
            "Experiment,Dataset,mIoU,mDice,Δ\nu,x,0.60,0.70,-\nv,x,0.64,0.72,+0.04\n",
            "Experiment,Dataset,mIoU,mDice,Δ\nu,x,0.60,0.70,-\nv,x,0.64,0.72,+0.02\n",
        ),
    ],
)
def test_what_may_be_something_else_is_not_compared(audit, tables):
    assert audit(*tables).findings == ()


def test_what_is_said_of_a_class_is_not_said_of_its_run(audit):
    classes = "# model: A\n# dataset: d\nClass,Group,IoU\nroad,flat,0.900\ncar,vehicle,0.600\n"
    found = audit(classes, "Model,Dataset,mIoU\nA,d,0.700\n", notes=("classes: 2",))
    assert [(f.table, f.rule) for f in found.findings] == [("t2", "mean")]


def test_a_mean_is_held_against_the_classes_of_its_own_table(audit):
    head = "# measure: IoU\n# classes: road, car\nModel,Dataset,road,car,mIoU\n"
    found = audit(f"{head}A,d,0.90,0.60,0.75\n", f"{head}A,d,0.80,0.50,0.65\n")
    assert [(f.table, f.column, f.rule) for f in found.findings] == [
        ("t2", column, "repeated") for column in ("road", "car", "mIoU")
    ]


def test_data_may_be_called_by_a_longer_name(audit):
    found = audit(
        "Experiment,Dataset,mIoU\nu,Kvasir,0.8\n", "# run: u\nTrain → Test,mIoU\nKvasir-SEG → Kvasir-SEG,0.9\n"
    )
    assert [f.rule for f in found.findings] == ["repeated"]


def test_differences_are_compared_by_size(audit):
    first = "Experiment,Train → Test,mIoU,Drop mIoU\nu,x → x,0.8830,-\nu,x → y,0.3959,0.4871\n"
    assert audit(first, first.replace("Drop", "Δ").replace("0.4871", "-0.4871")).findings == ()
    found = audit(first, first.replace("0.4871", "0.4890"))
    assert [(f.table, f.rule) for f in found.findings] == [("t2", "repeated"), ("t2", "difference")]


def test_labels_printed_twice(audit):
    found = audit("Panel,Label\n(a),Input\n(b),U-Net\n(c),U-Net\n")
    assert brief(found) == [("U-Net", "label", "U-Net", "another label", "contradiction")]
    assert found.findings[0].message.startswith("rows 2 and 3 are")
    assert [f.rule for f in audit("Model,Dataset,mIoU\nA,x,0.5\nA,x,0.6\n").findings] == ["label"]
    assert audit("Model,Dataset,mIoU\nA,x,0.5\nA,y,0.6\n").findings == ()
    assert audit("Model,FPS,mIoU\nA,10,0.5\nA,20,0.6\n").findings == ()
    assert audit("Model,Input,mIoU\nA,256,0.5\n,512,0.6\nB,256,0.5\n,1024,0.6\n").findings == ()


# What is left out is said


def test_what_is_left_out_is_said(audit):
    text = as_text(
        audit("# see the appendix: B\nModel,mIoU,FPS,IoU std\nA,0.5 (+0.1),30,0.1\n", notes=("column FPS: ignore",))
    )
    assert "comment not understood, left out: see the appendix: B" in text
    assert "columns not recognised, so not checked: IoU std" in text
    assert "columns left out on request: FPS" in text
    assert "signed numbers after scores are read as differences to another row: mIoU" in text
    assert text.endswith("tables: 1, numbers: 2, contradictions: 0, of rounding: 0")
    text = as_text(audit("Model,mIoU\nA,0.5\n", "Model,Dataset,mIoU\nA,x,0.5\n"))
    assert text.count("does not say on which data, so not compared with other tables") == 1


def test_semicolons_tabs_quotes_and_a_byte_order_mark(audit, tmp_path):
    for text in (
        "\ufeffClass;IoU;Dice\ncar;0,600;0,760\n",
        "Class\tIoU\tDice\ncar\t0.600\t0.760\n",
        '# title: T\n\nClass, "IoU", Dice\r\ncar, "0,600", 0.760\r\n\r\n',
        "#,Class,IoU,Dice\n1,car,0.600,0.760\n",
        "Class,IoU,Dice\nold\u2028car\f,\u200b0.600,0.760\ufeff\n",  # what other programs leave unseen
    ):
        assert [f.rule for f in audit(text).findings] == ["dice"]


def test_notes_may_be_given_instead_of_written(audit):
    table = "Klasse,Jac,DSC,FPS\ncar,0.600,0.760,3\n"
    found = audit(table, notes=("column Klasse: Class", "column 2: IoU"))
    assert [f.rule for f in found.findings] == ["dice"]
    assert audit(table, notes=("column Klasse: Class", "column DSC: ignore")).findings == ()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no table"),
        (b"# title: x\n\n", "holds no table"),
        (b"Model,mIoU\n", "holds no table"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe", "is not text in UTF-8"),
        (b"PK\x03\x04\x00\x00", "is not a CSV"),
        (b"Model,mIoU\nA,0.5,0.6\n", "there are 2 headings, but cells differ: line 2 has 3"),
        (b"Model,mIoU\nA\n", "line 2 has 1"),
        (b'Model,mIoU\n"A,0.5\n', "is not a CSV"),
        (b"a,b\n1,2\n", "no column is recognised in a, b"),
        (b"Model,mIoU\nA,good\nB,?\n", r"t.csv:2: mIoU: 'good' is not a number\n.*t.csv:3: mIoU: '\?' is not a number"),
        (b"Model,mIoU,mIoU\nA,0.5,0.6\n", "columns 2, 3 are all 'mIoU'"),
        (b"# column mIU: IoU\nModel,mIoU\nA,0.5\n", r"column 'mIU': no such heading \(did you mean 'mIoU'\?\)"),
        (b"# level: pixel\nModel,mIoU\nA,0.5\n", "level 'pixel': must be dataset or image"),
        (b"# unit: permille\nModel,mIoU\nA,0.5\n", "unit 'permille': must be percent or fraction"),
        (b"# classes: many\nModel,mIoU\nA,0.5\n", "classes 'many': write their number, 2 to 1000"),
        (b"# classes: a, A\nModel,mIoU\nA,0.5\n", "classes 'a, A': write .* names, each once"),
        (b"# classes: a,,b\nModel,mIoU\nA,0.5\n", "classes 'a,,b': write"),
        (b"# classes: ,\nModel,mIoU\nA,0.5\n", "classes ',': write"),
        (b"| Model | mIoU |\n| A | 0.5 |\n", r"its cells are separated by \|, but the line of dashes"),
        (b"# classes: 1\nModel,mIoU\nA,0.5\n", "classes '1'"),
        (b"# measure: FPS\nModel,mIoU\nA,0.5\n", "measure 'FPS' is not known"),
    ],
)
def test_a_file_that_is_no_table_is_one_message(tmp_path, content, message):
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message):
        audit_tables([str(path)])


def test_names_and_notes_that_fit_nothing(tmp_path):
    (tmp_path / "t.csv").write_text("Model,mIoU\nA,0.5\n")
    for names, notes, message in (
        (["none.csv"], (), "none.csv: no such file, and no publication of that name comes with segstudy"),
        (["reviw"], (), r"did you mean 'review'"),
        ([""], (), "^'': no such file"),
        (["x" * 5000], (), "x: cannot be read"),
        ([str(tmp_path)], (), "is a folder"),
        (["t.csv"], ("clases: 2",), r"write 'key: value'.*did you mean 'classes'"),
        (["t.csv"], ("nonsense",), "write 'key: value'"),
        (["t.csv"], ("column FPS: ignore",), "column FPS: no table has such a heading"),
        (["t.csv"], ("column 3: ignore",), "column 3: no table has such a heading"),
    ):
        with pytest.raises(TableError, match=message):
            audit_tables([str(tmp_path / name) if name == "t.csv" else name for name in names], notes)


# The review


@pytest.fixture(scope="module")
def review() -> Audit:
    return audit_tables(["review"])


CONTRADICTIONS = {
    ("Table 6", "Kvasir-SEG → Kvasir-SEG", "mDice", "repeated", "0.9361", "0.9354"),
    ("Table 6", "Kvasir-SEG → Kvasir-SEG", "mDice", "two-classes", "0.9361", "0.9354"),
    ("Table 6", "Kvasir-SEG → Kvasir-SEG", "mPA", "repeated", "0.9664", "0.9659"),
    ("Table 6", "Kvasir-SEG → Supervisely", "Drop mDice", "difference", "0.4745", "0.4751"),
    ("Table 6", "Kvasir-SEG → Supervisely", "Drop mPA", "difference", "0.2680", "0.2685"),
    ("Table 7", "Class 16", "UNet Dice", "dice", "0.662", "0.241"),
    ("Table 7", "Class 17", "UNet Dice", "dice", "0.389", "0.922"),
    ("Table 7", "Class 18", "UNet Dice", "dice", "0.008", "0.590"),
    ("Figure 1", "U-Net", "IoU mean", "repeated", "≈ 0.525", "0.483"),
    ("Figure 2", "U-Net Baseline", "", "label", "U-Net Baseline", "another label"),
    # 0.4407 / 0.9361 = 47 %, where the text speaks of 50 to 58 % for mIoU and mDice of both networks
    ("Section 4.3", "deeplabv3-kvasir, Kvasir-SEG → Supervisely", "Relative drop mDice", "relative", "50–58%", "47%"),
}
ROUNDING = {
    ("Table 3", "mIoU", "0.5170", "0.5171"),
    ("Table 3", "mDice", "0.6458", "0.6459"),
    ("Table 3", "mPA", "0.9040", "0.9041"),
    ("Table 4", "mDice", "0.6003", "0.6004"),
    ("Table 4", "mPA", "0.9118", "0.9119"),
    ("Table 4", "mIoU", "0.8819", "0.8820"),
    ("Table 4", "mPA", "0.9658", "0.9659"),
    ("Table 5", "Drop mIoU", "0.4872", "0.4871"),
    ("Table 5", "Drop mDice", "0.4407", "0.4408"),
    ("Table 5", "Drop mPA", "0.2567", "0.2568"),
    ("Table 7", "ΔIoU", "+0.051", "+0.052"),
    ("Table 7", "ΔIoU", "-0.125", "-0.124"),
    ("Table 7", "ΔIoU", "+0.096", "+0.095"),
    ("Table 7", "ΔIoU", "+0.449", "+0.448"),
    ("Table 7", "ΔDice", "+0.076", "+0.077"),
    ("Table 7", "ΔDice", "+0.277", "+0.276"),
    ("Section 4.3", "Drop mIoU", "0.4871", "0.4872"),
    ("Section 4.5", "mIoU", "0.5170", "0.5171"),
    ("Section 4.5", "mIoU", "0.8819", "0.8820"),
}


def test_the_review_contradicts_itself_where_it_is_known_to_and_nowhere_else(review):
    found = {
        (f.table, f.row, f.column, f.rule, f.printed, f.implied) for f in review.findings if f.severity != "rounding"
    }
    assert found == CONTRADICTIONS


def test_the_reviews_roundings(review):
    found = [(f.table, f.column, f.printed, f.implied) for f in review.findings if f.severity == "rounding"]
    assert set(found) == ROUNDING
    assert len(found) == len(ROUNDING)


def test_the_reviews_faults_are_explained(review):
    said = {(f.row, f.column, f.rule): f.message for f in review.findings}
    own = "Kvasir-SEG → Kvasir-SEG"
    assert "0.9361 is what Table 1 prints for deeplabv3-kvasir" in said[own, "mDice", "repeated"]
    crossed = "Kvasir-SEG → Supervisely"
    assert "it follows from 0.9354, which Table 1 prints" in said[crossed, "Drop mDice", "difference"]
    assert "it follows from 0.9659, which Table 1 prints" in said[crossed, "Drop mPA", "difference"]
    assert "shifted against each other" in said["Class 17", "UNet Dice", "dice"]


def test_the_review_is_there_as_printed():
    paths = published_tables()["review"]
    assert [path.stem for path in paths[:7]] == [f"table-{number}" for number in range(1, 8)]
    tables = {table.name: table for table in read_tables(["review"])}
    assert [len(tables[f"Table {n}"].rows) for n in range(1, 8)] == [4, 8, 3, 4, 2, 2, 6]
    text = paths[6].read_text(encoding="utf-8")
    assert "16,0.585,0.137,+0.449,0.739,0.662,+0.076" in text


def test_no_rule_knows_the_review():
    source = Path(audit_tables.__code__.co_filename).parent
    for path in sorted(set(source.glob("*.py")) - {source / "classes.py"}):  # the lists of benchmarks
        words = path.read_text(encoding="utf-8").casefold()
        assert not re.search(r"0\.9361|0\.525\b|deeplab|table 7|figure 2|cityscapes", words), path.name


# The command


def command(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    script = "import sys; from segstudy.cli import main; main()"
    return subprocess.run([sys.executable, "-c", script, "audit", *arguments], capture_output=True, text=True, cwd=cwd)


def test_exit_codes_and_json(tmp_path):
    (tmp_path / "sound.csv").write_text("Model,mIoU,Δ\nA,0.500,-\nB,0.520,+0.021\n")
    (tmp_path / "faulty.csv").write_text("Class,IoU,Dice\na,0.5,0.9\n")
    (tmp_path / "review").mkdir()  # the folder that 'segstudy run review' writes is no table
    done = command("sound.csv", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1] == "tables: 1, numbers: 3, contradictions: 0, of rounding: 1"
    done = command("faulty.csv", "sound.csv", "--json", cwd=tmp_path)
    assert done.returncode == 1
    record, other = json.loads(done.stdout)
    assert record == {
        "table": "faulty",
        "row": "a",
        "column": "Dice",
        "rule": "dice",
        "printed": "0.9",
        "implied": "0.7",
        "severity": "contradiction",
        "message": "IoU 0.5 makes Dice 0.7, not 0.9, over the pixels of all images at once (level: dataset).",
    }
    assert other["severity"] == "rounding"
    done = command("review", cwd=tmp_path)
    assert done.returncode == 1
    assert "contradictions: 11, of rounding: 19" in done.stdout
    done = command("nowhere.csv", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("segstudy: nowhere.csv: no such file")


# Markup, levels and chance


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.md", "| Model | mIoU | **mDice** ↑ |\n|---|---:|---|\n| A | **0.718** | 0.706 ± 0.010 |\n"),
        (
            "t.tex",
            "\\begin{tabular}{lcc}\n\\toprule\nModel & mIoU $\\uparrow$ & mDice\\\\\n\\midrule\n"
            "\\multirow{2}{*}{A} & \\textbf{0.718} & $0.706_{\\pm 0.010}$ \\\\\n\\bottomrule\n\\end{tabular}\n",
        ),
        ("t.csv", "Model,mIoU,mDice\nA,\\textbf{0.718},0.706$\\pm$0.010\n"),
    ],
)
def test_markup_is_read_and_a_spread_may_stand_in_one_cell(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    found = audit_tables([str(path)])
    assert [(f.rule, f.implied, f.severity) for f in found.findings] == [
        ("mean-dice", "0.718 to 0.836", "contradiction")
    ]


def test_what_only_the_level_makes_a_contradiction_is_undecided_until_it_is_said(audit):
    table = "# classes: 2\nModel,mIoU,mDice,Pixel accuracy\nA,0.882,0.930,0.966\n"
    assert [f.severity for f in audit(table, level=None).findings] == ["undecided"]
    assert "level: dataset" in as_text(audit(table, level=None))
    assert [f.severity for f in audit(table, level="dataset").findings] == ["contradiction"]
    assert audit(table, level="image").findings == ()


@pytest.mark.parametrize(
    "cells",
    [
        ("81.5 (+{})", "79.5 (-0.6)"),
        ("81.5 ↑{}", "79.5 (↓0.6)"),
        ("$81.5_{{+{}}}$", "79.5\\textcolor{{red}}{{(-0.6)}}"),
        ("\\color{{red}}{{81.5}} (+{})", "\\underline{{79.5}}$^{{\\downarrow 0.6}}$"),
    ],
)
def test_a_signed_number_after_a_score_is_its_difference_to_another_row(audit, cells):
    table = "Model,mIoU\nA,80.1\n" + "".join(f"{name},{cell}\n" for name, cell in zip("BC", cells, strict=True))
    assert audit(table.format("1.4")).findings == ()  # 81.5 - 80.1
    [found] = audit(table.format("1.6")).findings
    assert (found.row, found.rule, found.severity) == ("B", "difference", "undecided")
    assert "81.5" in found.message and "1.4, not" in found.message
    assert audit("Model,mIoU\nA,78.5 (+1.0)\nB,79.0 (+0.4)\n").findings == ()  # to something that is not printed


@pytest.mark.parametrize(
    ("table", "rule"),
    [
        ("case,dc,jc\na,0.70,0.80\n", "mean-dice"),
        ("model,iou_coef,dice_coef\na,0.80,0.70\n", "mean-dice"),
        ("model,MeanIoU,DiceMetric\na,0.80,0.70\n", "mean-dice"),
        ("model,mIoU,mAcc,mDice,mFscore,mPrecision,mRecall\na,80.0,88.0,88.6,88.6,90.0,86.0\n", "repeated"),
    ],
)
def test_names_of_libraries(audit, table, rule):
    assert [f.rule for f in audit(table).findings] == [rule]
    assert audit(table.replace("86.0", "88.0").replace("0.80", "0.53")).findings == ()  # recall is class accuracy


def test_class_dices_fix_the_mean_iou(audit):
    # 0.9655 / 1.0345, 0.4476 / 1.5524 and 0.4800 / 1.5200 have the mean 0.51247
    table = (
        "# classes: bg, cat, dog\n# unit: percent\nSplit,mIoU,bg Dice,cat Dice,dog Dice\ntest,54.24,96.55,44.76,48.00\n"
    )
    assert brief(audit(table, level="dataset")) == [("test", "classes", "54.24", "51.25", "contradiction")]
    assert audit(table.replace("54.24", "51.25"), level="dataset").findings == ()


def test_a_deviation_is_bounded_by_its_mean(audit):
    assert [f.rule for f in audit("Model,mIoU\nA,0.90 ± 0.50\n").findings] == ["spread"]
    assert audit("Model,mIoU\nA,0.90 ± 0.40\n").findings == ()  # sqrt(2 x 0.9 x 0.1) = 0.424


def test_a_copied_row_is_found(audit):
    table = "Model,mIoU,mDice,Recall,Precision\nA,0.512,0.634,0.701,0.722\nB,0.512,0.634,0.701,0.722\n"
    assert [(f.row, f.rule, f.severity) for f in audit(table).findings] == [("B", "copy", "undecided")]


def test_columns_of_a_benchmark_need_no_note(audit):
    found = audit("Method,road,car,train,bus,train set\nA,97.1,92.0,70.1,80.0,fine\n")
    assert [h.kind for h in found.claims.tables[0].headings[1:5]] == ["value"] * 4


def test_a_deviation_may_stand_in_a_column_of_its_own(audit):
    # 0.90 may be 0.895: sqrt(2 x 0.895 x 0.105) = 0.4335
    found = audit("Model,mIoU,mIoU std,mDice,SD\nA,0.90,0.50,0.95,0.01\n")
    assert brief(found) == [("A", "spread", "0.90", "at most 0.43", "contradiction")]
    assert "mIoU std is read as the standard deviation of mIoU" in as_text(found)
    assert "SD is read as the standard deviation of mDice" in as_text(found)
    assert audit("Model,mIoU,SD\nA,90.0,40.0\n").findings == ()  # in the unit of its score
    assert "columns not recognised, so not checked: SD" in as_text(audit("Model,SD,mIoU\nA,0.5,0.90\n"))


def test_bold_that_is_not_the_best_is_asked_about(audit):
    table = "Model,mIoU,mDice\nA,**0.512**,0.634\nB,0.533,**0.641**\n"
    assert brief(audit(table)) == [("A", "best", "0.512", "0.533", "undecided")]
    assert audit(table.replace("0.533", "0.510")).findings == ()
    assert audit("Model,mIoU,mDice\nA,0.6,0.7\nours,**0.5**,**0.6**\n").findings == ()  # a row in bold as a whole
    assert audit("Model,mIoU\nA,**0.5**\nB,**0.4**\nC,0.6\n").findings == ()  # two in bold: the best of groups


def test_pixel_accuracy_lies_among_the_recalls(audit):
    table = "# classes: a, b\n# level: dataset\nModel,a recall,b recall,Pixel accuracy\nA,0.900,0.800,{}\n"
    rules = {each.rule: each.implied for each in audit(table.format("0.950")).findings}
    assert rules == {"weighted": "0.800 to 0.900"}
    assert audit(table.format("0.850")).findings == ()
    assert audit(table.format("0.950").replace("dataset", "image")).findings == ()


NESTED = r"""\begin{table}
\caption{A table}
% level: dataset
\begin{tabular}{l|cc}
\toprule
\multirow{2}{*}{Method} & \multicolumn{2}{c}{\makecell{Kvasir\\test}} \\
 & \begin{tabular}[c]{@{}c@{}}m\\IoU\end{tabular} & mDice \\ \midrule
\multirow{2}{*}{Group A} & 0.500 & 0.600 \\
 & 0.510 & 0.610 \\ \hline
 & 0.520 & \textbf{0.620} \\
\multirow{-2}{*}{\begin{tabular}{l}Group\\B\end{tabular}} & 0.530 & 0.500 \\
\bottomrule
\end{tabular}
\end{table}
"""


def test_tables_inside_cells_and_cells_over_several_rows(tmp_path):
    path = tmp_path / "nested.tex"
    path.write_text(NESTED, encoding="utf-8")
    [table] = read_tables([str(path)])
    assert [(h.name, h.of) for h in table.headings] == [
        ("model", ""),
        ("miou", "Kvasir test"),
        ("mdice", "Kvasir test"),
    ]
    assert [row.keys["model"] for row in table.rows] == ["Group A", "Group A", "Group B", "Group B"]
    assert [row.bold for row in table.rows] == [set(), set(), {2}, set()]
    rules = [f.rule for f in audit_tables([str(path)]).findings]
    assert "mean-dice" in rules  # 0.500 below 0.530


def test_the_lists_of_benchmarks_are_whole(audit):
    assert {name: len(text.split(",")) for name, text in LISTS.items()} == NUM_CLASSES
    head = ",".join(name.strip() for name in LISTS["ADE20K"].split(","))
    table = f"# unit: percent\nModel,{head},mIoU\nA,{','.join(['40.0'] * 150)},{{}}\n"
    assert audit(table.format("40.0")).findings == ()
    assert brief(audit(table.format("41.0"))) == [("A", "mean", "41.0", "40.0", "contradiction")]
