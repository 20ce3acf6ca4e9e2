"""Scoring of masks from any framework: reading, the meaning of mask values, errors, and what is reported."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import save
from segstudy import score
from segstudy.data.core import read_grey
from segstudy.errors import DataError
from segstudy.score import Scored, as_record, as_text, image_csv, score_masks

Mask = list[list[int]]


class Folders:
    """A folder of predictions and one of true masks."""

    def __init__(self, root: Path) -> None:
        self.predictions, self.truth = root / "predictions", root / "truth"

    def add(self, name: str, truth: Mask, prediction: Mask, suffixes: tuple[str, str] = (".png", ".png")) -> None:
        save(self.truth / (name + suffixes[0]), np.array(truth, np.uint8))
        save(self.predictions / (name + suffixes[1]), np.array(prediction, np.uint8))

    def score(self, **options: object) -> Scored:
        return score_masks(self.predictions, self.truth, **options)  # type: ignore[arg-type]

    def counts(self, **options: object) -> list[list[list[int]]]:
        found: list[list[list[int]]] = self.score(**options).confusion.tolist()
        return found


@pytest.fixture
def folders(tmp_path: Path) -> Folders:
    return Folders(tmp_path)


@pytest.fixture
def example(folders: Folders) -> Folders:
    """Two images of three classes; class 2 occurs in no truth, one pixel is ignored."""
    folders.add("a", [[0, 0], [1, 255]], [[0, 2], [1, 0]])
    folders.add("b", [[0, 0, 0, 1]], [[0, 0, 1, 1]])
    return folders


# Counts


def test_counts_by_hand(example: Folders) -> None:
    scored = example.score()
    assert scored.ids == ("a", "b")
    assert scored.classes == ("class 0", "class 1", "class 2")
    assert scored.confusion.tolist() == [[[1, 0, 1], [0, 1, 0], [0, 0, 0]], [[2, 1, 0], [0, 1, 0], [0, 0, 0]]]
    assert scored.confusion.dtype == np.int64


def test_pairs_by_name_whatever_the_suffix(folders: Folders) -> None:
    folders.add("b", [[0, 1]], [[1, 1]], (".png", ".bmp"))
    folders.add("a", [[0, 1]], [[0, 0]], (".tif", ".PNG"))
    (folders.truth / "notes.txt").write_text("not a mask")
    scored = folders.score()
    assert scored.ids == ("a", "b")
    assert scored.confusion.tolist() == [[[1, 0], [1, 0]], [[0, 1], [0, 1]]]


def test_names_or_number_of_classes_may_be_given(example: Folders) -> None:
    assert example.score(classes=["road", "car", "sky"]).classes == ("road", "car", "sky")
    assert example.score(num_classes=5).confusion.shape == (2, 5, 5)
    assert example.score(num_classes=3, classes=("road", "car", "sky")).confusion.shape == (2, 3, 3)


def test_number_of_classes_is_found_in_either_folder(folders: Folders) -> None:
    folders.add("a", [[0, 0]], [[0, 4]])
    folders.add("b", [[0, 2]], [[0, 0]])
    assert folders.score().confusion.shape == (2, 5, 5)


def test_masks_of_one_class_have_two(folders: Folders) -> None:
    folders.add("a", [[0, 0]], [[0, 0]])
    assert folders.counts() == [[[2, 0], [0, 0]]]


def test_palette_indices_are_classes(folders: Folders) -> None:
    folders.add("a", [[0, 1, 2, 255]], [[0, 2, 2, 1]])
    for folder in (folders.truth, folders.predictions):
        with Image.open(folder / "a.png") as image:
            image.load()
        image.putpalette(list(range(255, -1, -1)) * 3)  # makes grey values a palette's indices
        image.save(folder / "a.png")
    with Image.open(folders.truth / "a.png") as image:
        assert image.mode == "P"
    assert folders.counts() == [[[1, 0, 0], [0, 0, 1], [0, 0, 1]]]


def test_every_mask_is_read_once(example: Folders, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[Path] = []
    monkeypatch.setattr(score, "read_grey", lambda path, **options: (read.append(path), read_grey(path, **options))[1])
    example.score()
    assert len(read) == len(set(read)) == 4


# Pixels left out


def test_other_values_can_be_left_out(folders: Folders) -> None:
    folders.add("a", [[0, 1, 2, 11, 255]], [[0, 1, 1, 1, 1]])
    assert folders.counts(ignore_values=[11]) == [[[1, 0, 0], [0, 1, 0], [0, 1, 0]]]


def test_a_class_can_be_left_out(folders: Folders) -> None:
    folders.add("a", [[0, 0, 1, 1]], [[0, 1, 0, 1]])
    assert folders.counts(ignore_values=[0]) == [[[0, 0], [1, 1]]]  # predicting it is still a miss


def test_anything_may_be_predicted_where_truth_is_left_out(folders: Folders) -> None:
    folders.add("a", [[0, 1, 255, 9, 255]], [[0, 1, 255, 7, 0]])
    assert folders.counts(num_classes=2, ignore_values=[9]) == [[[1, 0], [0, 1]]]


# 0 and 255: said once for a folder


@pytest.mark.parametrize("true_foreground", [1, 255])
@pytest.mark.parametrize("predicted_foreground", [1, 255])
def test_black_and_white_and_indices_mix_between_folders(
    folders: Folders, true_foreground: int, predicted_foreground: int
) -> None:
    t, p = true_foreground, predicted_foreground
    folders.add("a", [[0, 0, t, t]], [[0, p, 0, p]])
    folders.add("empty", [[0, 0, 0, 0]], [[0, 0, 0, 0]])
    folders.add("full", [[t, t, t, t]], [[p, p, p, p]])
    assert folders.counts() == [[[1, 1], [1, 1]], [[4, 0], [0, 0]], [[0, 0], [0, 4]]]


def test_one_bit_masks_are_black_and_white(folders: Folders) -> None:
    folders.add("a", [[0, 0, 1]], [[0, 0, 1]])
    for folder in (folders.truth, folders.predictions):
        save(folder / "a.png", np.array([[False, False, True]]))
    assert folders.counts() == [[[2, 0], [0, 1]]]


def test_a_mask_of_0_and_255_among_indices_holds_ignored_pixels(folders: Folders) -> None:
    folders.add("a", [[0, 1, 255]], [[0, 1, 1]])
    folders.add("b", [[0, 0, 255]], [[0, 1, 1]])  # by itself it would look like background and foreground
    assert folders.counts() == [[[1, 0], [0, 1]], [[1, 1], [0, 0]]]
    assert folders.counts(num_classes=2) == [[[1, 0], [0, 1]], [[1, 1], [0, 0]]]


def test_255_given_as_ignored_is_no_foreground(folders: Folders) -> None:
    folders.add("a", [[0, 0, 255]], [[0, 1, 1]])
    assert folders.counts(ignore_values=[255]) == [[[1, 1], [0, 0]]]
    assert folders.counts() == [[[1, 1], [0, 1]]]


def test_with_more_classes_255_is_never_foreground(folders: Folders) -> None:
    folders.add("a", [[0, 0, 255]], [[0, 1, 1]])
    assert folders.counts(num_classes=3) == [[[1, 1, 0], [0, 0, 0], [0, 0, 0]]]


def test_255_in_predictions_is_an_error_where_the_truth_is_scored(folders: Folders) -> None:
    folders.add("a", [[0, 1, 255]], [[0, 255, 255]])
    with pytest.raises(DataError, match=r"predictions.a\.png: predicts 255 on pixels that are scored; .* 0-1$"):
        folders.score()
    folders.add("a", [[0, 2, 1]], [[0, 255, 1]])
    with pytest.raises(DataError, match="predicts 255 on pixels that are scored; the classes are 0-2"):
        folders.score()


def test_255_besides_indices_is_no_foreground_in_predictions(folders: Folders) -> None:
    folders.add("a", [[0, 255]], [[0, 255]])
    folders.add("b", [[0, 255]], [[0, 1]])
    with pytest.raises(DataError, match=r"a\.png: predicts 255 on pixels that are scored"):
        folders.score()


# JPEG


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_jpeg_masks_are_black_and_white(folders: Folders, mode: str) -> None:
    truth = np.zeros((16, 16), np.uint8)
    truth[3:9, 5:13] = 255  # edges off the 8 x 8 blocks, so that JPEG's values stray from 0 and 255
    folders.add("a", truth.tolist(), (truth // 255).tolist())
    (folders.truth / "a.png").unlink()
    Image.fromarray(truth).convert(mode).save(folders.truth / "a.jpg", quality=60)
    assert len(np.unique(read_grey(folders.truth / "a.jpg", indices=False))) > 2
    assert folders.counts() == [[[208, 0], [0, 48]]]
    assert folders.counts(num_classes=2, ignore_values=[128]) == [[[208, 0], [0, 48]]]


@pytest.mark.parametrize("options", [{"num_classes": 3}, {}])
def test_jpeg_cannot_hold_indices(folders: Folders, options: dict[str, int]) -> None:
    folders.add("a", [[0, 2] * 8] * 16, [[0, 0] * 8] * 16, (".png", ".jpeg"))
    with pytest.raises(
        DataError, match=r"a\.jpeg: JPEG alters values, .* for two classes; provide all masks of .* PNG"
    ):
        folders.score(**options)


def test_jpeg_and_indices_do_not_mix(folders: Folders) -> None:
    folders.add("a", [[0, 1]], [[0, 1]])
    folders.add("b", [[255] * 8] * 8, [[1] * 8] * 8, (".jpg", ".png"))
    with pytest.raises(DataError, match=r"b\.jpg: JPEG alters values"):
        folders.score()


def test_dark_jpeg_is_not_taken_for_background(folders: Folders) -> None:
    folders.add("a", [[1] * 8] * 8, [[1] * 8] * 8, (".jpg", ".png"))
    with pytest.raises(DataError, match=r"a\.jpg: .* nothing here is above 127; provide masks of class indices as PNG"):
        folders.score()


# Errors


def test_unpaired_masks_are_named(example: Folders) -> None:
    (example.predictions / "a.png").unlink()
    save(example.predictions / "c.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(
        DataError, match=r"(?s)2 faults.*c\.png: no mask of this name in truth.*a\.png: no image of this name"
    ):
        example.score()


def test_folders_must_exist_and_hold_masks(example: Folders, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere: no such folder"):
        score_masks(tmp_path / "nowhere", example.truth)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty: holds no images \(\.png"):
        score_masks(tmp_path / "empty", example.truth)
    with pytest.raises(DataError, match="empty: holds no images"):
        score_masks(example.predictions, tmp_path / "empty")


def test_sizes_must_agree(folders: Folders) -> None:
    folders.add("a", [[0, 0], [1, 1]], [[0, 0, 1]])
    with pytest.raises(DataError, match=r"predictions.a\.png: is 3x1 but its true mask is 2x2; save predictions at"):
        folders.score()


def test_true_values_outside_the_classes(folders: Folders) -> None:
    folders.add("a", [[0, 3, 9]], [[0, 1, 1]])
    with pytest.raises(
        DataError,
        match=r"truth.a\.png: values 3, 9 lie outside the 3 classes 0-2; set num_classes to 10 or more, or name",
    ):
        folders.score(num_classes=3)


def test_predicted_values_outside_the_classes(folders: Folders) -> None:
    folders.add("a", [[0, 1, 1]], [[3, 9, 1]])
    with pytest.raises(DataError, match=r"predictions.a\.png: predicts 3, 9 on pixels .* the classes are 0-2$"):
        folders.score(num_classes=3)


def test_names_must_be_as_many_as_the_classes(example: Folders) -> None:
    with pytest.raises(DataError, match="2 class names were given for 3 classes"):
        example.score(num_classes=3, classes=["road", "car"])
    with pytest.raises(DataError, match=r"predicts 2 on pixels that are scored; the classes are 0-1"):
        example.score(classes=["road", "car"])


@pytest.mark.parametrize("options", [{"num_classes": n} for n in (0, 1, 256)] + [{"classes": []}, {"classes": ["a"]}])
def test_number_of_classes_must_be_possible(example: Folders, options: dict[str, object]) -> None:
    with pytest.raises(DataError, match=r"^\d+ classes; a mask can hold 2 to 255$"):
        example.score(**options)


@pytest.mark.parametrize("value", [-1, 256])
def test_ignored_values_must_be_possible(example: Folders, value: int) -> None:
    with pytest.raises(DataError, match=f"ignore_values {value}: masks hold 0 to 255"):
        example.score(ignore_values=[11, value])


def test_grey_levels_are_not_taken_for_classes(folders: Folders) -> None:
    folders.add("a", [[0, 1] * 50], [list(range(100))])  # probabilities, say
    with pytest.raises(DataError, match="hold 100 different values, too many to be taken for classes; give the number"):
        folders.score()
    assert folders.score(num_classes=100).confusion.shape == (1, 100, 100)


def test_unreadable_and_coloured_masks_are_named(example: Folders) -> None:
    (example.truth / "a.png").write_bytes(b"no image")
    save(example.predictions / "b.png", np.array([[[255, 0, 0]] * 4], np.uint8))
    with pytest.raises(
        DataError, match=r"truth.a\.png: not an image that Pillow can read.*\n.*b\.png: the mask is coloured"
    ):
        example.score()


def test_many_problems_are_counted(folders: Folders) -> None:
    for k in range(13):
        folders.add(f"m{k:02}", [[0, 7]], [[0, 1]])
    with pytest.raises(DataError, match=r"m00\.png: values 7 [^~]*m09\.png[^\n]*\n\.\.\. and 3 more$"):
        folders.score(num_classes=2)


# Reports. The example's merged counts are [[3, 1, 1], [0, 2, 0], [0, 0, 0]].


def test_record_by_hand(example: Folders) -> None:
    record = as_record(example.score(classes=["road", "car", "sky"]))
    numbers = {
        "miou": (3 / 5 + 2 / 3) / 2,
        "mdice": (3 / 4 + 4 / 5) / 2,
        "pixel_accuracy": 5 / 7,
        "mean_class_accuracy": (3 / 5 + 1) / 2,
    }
    assert {key: record[key] for key in numbers} == pytest.approx(numbers, rel=1e-14)
    assert {key: value for key, value in record.items() if key not in {*numbers, "classes"}} == {
        "images": 2,
        "pixels": 7,
        "level": "dataset",
        "absent_classes": "left out of means",
        "resolution": "native",
    }
    road, car, sky = record["classes"]
    assert road.pop("class") == "road"
    assert road == pytest.approx({"pixels": 5, "iou": 3 / 5, "dice": 3 / 4, "class_accuracy": 3 / 5, "precision": 1})
    assert car.pop("class") == "car"
    assert car == pytest.approx({"pixels": 2, "iou": 2 / 3, "dice": 4 / 5, "class_accuracy": 1, "precision": 2 / 3})
    assert sky == {"class": "sky", "pixels": 0, "iou": None, "dice": None, "class_accuracy": None, "precision": None}
    assert json.loads(json.dumps(record, allow_nan=False))["classes"][2] == sky


def test_text_by_hand(example: Folders) -> None:
    lines = as_text(example.score(classes=["road", "car", "sky"])).splitlines()
    assert lines[0] == "2 images, 7 pixels, scored at the masks' own size"
    assert [line.split() for line in lines[1:6]] == [
        ["mIoU", "0.6333"],
        ["mDice", "0.7750"],
        ["Pixel", "accuracy", "0.7143"],
        ["Mean", "class", "accuracy", "0.8000"],
        [],
    ]
    assert [line.split() for line in lines[6:10]] == [
        ["class", "IoU", "Dice", "Class", "accuracy", "Precision", "true", "pixels"],
        ["road", "0.6000", "0.7500", "0.6000", "1.0000", "5"],
        ["car", "0.6667", "0.8000", "1.0000", "0.6667", "2"],
        ["sky", "-", "-", "-", "-", "0"],
    ]
    assert len({len(line) for line in lines[6:10]}) == 1  # columns line up
    assert lines[10:] == ["- : the class has no true pixel; it is left out of the means"]


def test_text_explains_precision_of_a_class_that_is_never_predicted(folders: Folders) -> None:
    folders.add("a", [[0, 1]], [[0, 0]])
    lines = as_text(folders.score()).splitlines()
    assert lines[8].split() == ["class", "1", "0.0000", "0.0000", "0.0000", "-", "1"]
    assert lines[9:] == ["- under Precision: the class was never predicted"]


def test_text_without_gaps_explains_none(folders: Folders) -> None:
    folders.add("a", [[0, 1]], [[0, 1]])
    assert not [line for line in as_text(folders.score()).splitlines() if line.startswith("-")]


def test_csv_by_hand(example: Folders) -> None:
    example.add("void", [[255, 255]], [[0, 1]])
    header, a, b, void = csv.reader(io.StringIO(image_csv(example.score())))
    assert header == ["image", "miou", "mdice", "pixel_accuracy", "mean_class_accuracy"]
    assert a[0] == "a" and [float(value) for value in a[1:]] == pytest.approx([3 / 4, 5 / 6, 2 / 3, 3 / 4], rel=1e-15)
    expected = [(2 / 3 + 1 / 2) / 2, (4 / 5 + 2 / 3) / 2, 3 / 4, (2 / 3 + 1) / 2]
    assert b[0] == "b" and [float(value) for value in b[1:]] == pytest.approx(expected, rel=1e-15)
    assert void == ["void", "", "", "", ""]


def test_nothing_to_score_is_undefined_not_zero(folders: Folders) -> None:
    folders.add("a", [[255, 255]], [[0, 1]])
    record = as_record(folders.score(ignore_values=[255]))
    assert record["pixels"] == 0
    assert record["miou"] is record["mdice"] is record["pixel_accuracy"] is record["mean_class_accuracy"] is None
    assert "mIoU                 -" in as_text(folders.score(ignore_values=[255]))
