"""Scoring of masks from any framework: reading, the meaning of mask values, errors, and what is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakes import save
from segstudy import scoring as score
from segstudy.counts.counting import count_pair, stack_counts
from segstudy.counts.countset import CountSet, write_counts
from segstudy.data.encoding import read_grey
from segstudy.data.readers.files import read_mask_file
from segstudy.errors import DataError, SpecError
from segstudy.files import read_arrays
from segstudy.schema import ScoringRules
from segstudy.scoring import score_masks

Mask = list[list[int]]


class Folders:
    """A folder of predictions and one of true masks."""

    def __init__(self, root: Path) -> None:
        self.predictions, self.truth = root / "predictions", root / "truth"

    def add(self, name: str, truth: Mask, prediction: Mask, suffixes: tuple[str, str] = (".png", ".png")) -> None:
        save(self.truth / (name + suffixes[0]), np.array(truth, np.uint8))
        save(self.predictions / (name + suffixes[1]), np.array(prediction, np.uint8))

    def score(self, **options: object) -> CountSet:
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


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the masks in the order in which they are read."""
    names: list[str] = []

    def reading(path: Path, *rest: Any, **options: Any) -> Any:
        names.append(f"{path.parent.name}/{path.name}")
        return read_mask_file(path, *rest, **options)

    monkeypatch.setattr(score, "read_mask_file", reading)
    return names


def test_every_mask_is_read_once(example: Folders, read: list[str]) -> None:
    example.score()
    assert sorted(read) == ["predictions/a.png", "predictions/b.png", "truth/a.png", "truth/b.png"]


def test_black_and_white_masks_are_read_once(folders: Folders, read: list[str]) -> None:
    folders.add("a", [[0, 0, 255, 255]], [[0, 255, 0, 255]])
    folders.add("empty", [[0, 0, 0, 0]], [[0, 0, 0, 0]])
    assert folders.counts() == [[[1, 1], [1, 1]], [[4, 0], [0, 0]]]
    assert len(read) == 4


def test_a_pair_whose_values_misled_is_read_again(folders: Folders, read: list[str]) -> None:
    folders.add("a", [[0, 0, 255, 255]], [[0, 1, 1, 0]])  # alone, 255 would be the foreground
    folders.add("b", [[0, 1, 2, 255]], [[0, 1, 1, 1]])
    assert folders.counts() == [[[1, 1, 0], [0, 0, 0], [0, 0, 0]], [[1, 0, 0], [0, 1, 0], [0, 1, 0]]]
    assert sorted(read) == sorted(["predictions/a.png", "truth/a.png"] * 2 + ["predictions/b.png", "truth/b.png"])


# Everything that is counted


def blocks(rng: np.random.Generator, values: list[int], size: int = 24) -> np.ndarray:
    """Squares of 4 x 4 pixels, so that there are outlines and objects."""
    return rng.choice(np.array(values, np.uint8), (size // 4, size // 4)).repeat(4, axis=0).repeat(4, axis=1)


@pytest.mark.parametrize("values", [[0, 255], [0, 1, 2, 3]], ids=["black and white", "indices"])
def test_everything_is_counted_whatever_classes_a_pair_holds(folders: Folders, values: list[int]) -> None:
    rng, rules = np.random.default_rng(1), ScoringRules(min_object_px=4, tolerances_px=[1, 3])
    pairs = [(blocks(rng, values), blocks(rng, values)), (blocks(rng, values[:2]), blocks(rng, [0]))]
    for index, (truth, prediction) in enumerate(pairs):
        folders.add(f"{index}", truth.tolist(), prediction.tolist())
    labels = [tuple(np.where(mask == 255, 1, mask).astype(np.uint8) for mask in pair) for pair in pairs]
    expected = stack_counts([count_pair(*pair, max(2, len(values)), rules) for pair in labels])
    found = folders.score(rules=rules).counts
    assert found.keys() == expected.keys() and len(found) == 7
    for name, counts in expected.items():
        np.testing.assert_array_equal(found[name], counts, err_msg=name)
    assert all(counts.any() for counts in found.values())


def test_rules_are_the_study_s_defaults(example: Folders) -> None:
    assert example.score().rules == ScoringRules()


# Groups


def test_groups_are_found_in_names(folders: Folders) -> None:
    for name in ("p1_a", "p1_b", "p2_a"):
        folders.add(name, [[0, 1]], [[0, 1]])
    assert folders.score(groups=r"^(p\d)_").groups == ("p1", "p1", "p2")
    assert folders.score().groups is None


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("(", r"^--groups: '\(' is not a regular expression \(missing \), unterminated subpattern at position 0\)$"),
        ("p[0-9]", r"^--groups: 'p\[0-9\]' has no bracket; put the part of the id that names the group in \(\.\.\.\)$"),
        (r"p(\d)", r"finds no group in 1 of 2 image ids: q; change the pattern$"),
        (r"p(x)?", r"finds no group in 2 of 2 image ids: p1, q; change the pattern$"),
    ],
)
def test_patterns_that_find_no_group(folders: Folders, pattern: str, message: str) -> None:
    for name in ("p1", "q"):
        folders.add(name, [[0, 1]], [[0, 1]])
    with pytest.raises(DataError, match=message):
        folders.score(groups=pattern)


def test_a_wrong_pattern_is_told_before_masks_are_read(folders: Folders, read: list[str]) -> None:
    folders.add("a", [[0, 1]], [[0, 1]])
    with pytest.raises(DataError, match="finds no group"):
        folders.score(groups="(b)")
    assert read == []


# The file of counts


def test_counts_are_written_with_all_that_says_what_they_are(example: Folders, tmp_path: Path) -> None:
    scored = example.score(classes=["road", "car", "sky"], groups="(.)", ignore_values=[7])
    write_counts(tmp_path / "counts.npz", scored)
    arrays, meta = read_arrays(tmp_path / "counts.npz")
    assert arrays.keys() == {*scored.counts, "ids", "groups", "truth_hash"}
    assert arrays["confusion"].tolist() == [[[1, 0, 1], [0, 1, 0], [0, 0, 0]], [[2, 1, 0], [0, 1, 0], [0, 0, 0]]]
    assert arrays["ids"].tolist() == arrays["groups"].tolist() == ["a", "b"]
    assert (
        meta.items()
        >= {
            "classes": ["road", "car", "sky"],
            "predictions": "predictions",
            "test_data": "truth",
            "split": "unknown (masks from elsewhere)",
            "selected_on": "unknown (masks from elsewhere)",
            "scoring": ScoringRules().model_dump(),
            "resolution": "native",
            "absent_classes": "left out",
            "background": "a class",
            "ignore": [7, 255],
        }.items()
    )


def test_where_255_is_the_foreground_nothing_is_left_out(folders: Folders) -> None:
    folders.add("a", [[0, 255]], [[0, 255]])
    assert folders.score().contract["ignore"] == []


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
    with pytest.raises(
        DataError,
        match=r"predictions.a\.png: predicts 255 on pixels that are scored; .* 0-1; predict one of them for every pixel$",
    ):
        folders.score()
    folders.add("a", [[0, 2, 1]], [[0, 255, 1]])
    with pytest.raises(DataError, match="predicts 255 on pixels that are scored; the classes are 0-2"):
        folders.score()


def test_255_besides_indices_is_no_foreground_in_predictions(folders: Folders) -> None:
    folders.add("a", [[0, 255]], [[0, 255]])
    folders.add("b", [[0, 255]], [[0, 1]])
    with pytest.raises(
        DataError, match=r"predictions: some masks hold 0 and 1, others 0 and 255, .*0=background,1=fore"
    ):
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
    folders.add("a", [[0, 1] * 8] * 16, [[0, 2] * 8] * 16, (".png", ".jpeg"))
    with pytest.raises(DataError, match=r"a\.jpeg: JPEG alters values, .* provide .* as PNG"):
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
        DataError,
        match=r"^1 predictions have no true mask in .*truth: c\.png\n1 true masks have no prediction in .*predictions: a\.png\n",
    ):
        example.score()


def test_two_masks_of_one_name_are_named(example: Folders) -> None:
    save(example.truth / "a.bmp", np.zeros((2, 2), np.uint8))
    with pytest.raises(DataError, match=r"truth.a\.png: differs from 'a\.bmp' only in its suffix; keep one of the two"):
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
        match=r"truth.a\.png: values 3, 9 are outside the 3 classes 0-2; say that there are 10 classes or more "
        r"\(--num-classes or --classes\), or ignore these values \(--ignore; 255 always is\)$",
    ):
        folders.score(num_classes=3)


def test_predicted_values_outside_the_classes(folders: Folders) -> None:
    folders.add("a", [[0, 1, 1]], [[3, 9, 1]])
    with pytest.raises(
        DataError,
        match=r"predictions.a\.png: predicts 3, 9 on pixels .* the classes are 0-2; predict .* or say that there are 10 ",
    ):
        folders.score(num_classes=3)


def test_names_must_be_as_many_as_the_classes(example: Folders) -> None:
    with pytest.raises(
        SpecError, match=r"\(--classes\): 2 given \(road, car\) for 3 classes \(--num-classes\); name every"
    ):
        example.score(num_classes=3, classes=["road", "car"])
    with pytest.raises(DataError, match=r"predicts 2 on pixels that are scored; the classes are 0-1; predict one"):
        example.score(classes=["road", "car"])


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["", "", ""], "3 given, of which number 1, 2, 3 is empty; write every class's name"),
        (["a", " ", "c"], "3 given, of which number 2 is empty"),
        (["a", "b", "a"], "3 given, a more than once; give each class a name of its own"),
        (["a"], "1 given; must be 2 to 255"),
        ([], "0 given; must be 2 to 255"),
    ],
)
def test_every_class_has_a_name_of_its_own(example: Folders, read: list[str], classes: list[str], message: str) -> None:
    with pytest.raises(SpecError, match=rf"^names of the classes \(--classes\): {message}"):
        example.score(classes=classes)
    assert read == []


@pytest.mark.parametrize("number", [-1, 0, 1, 256])
def test_number_of_classes_must_be_possible(example: Folders, number: int) -> None:
    with pytest.raises(SpecError, match=rf"^number of classes \(--num-classes\) {number}: must be 2 to 255$"):
        example.score(num_classes=number)


@pytest.mark.parametrize("value", [-1, 256])
def test_ignored_values_must_be_possible(example: Folders, value: int) -> None:
    with pytest.raises(SpecError, match=rf"^values to ignore \(--ignore\): {value}: must be 0 to 255"):
        example.score(ignore_values=[11, value])


def test_grey_levels_are_not_taken_for_classes(folders: Folders) -> None:
    folders.add("a", [[0, 1] * 50], [list(range(100))])  # probabilities, say
    with pytest.raises(
        DataError, match=r"too many to be taken for classes.*`--threshold 49`. Or give `--num-classes 100`"
    ):
        folders.score()
    assert folders.score(num_classes=100).confusion.shape == (1, 100, 100)


def test_unreadable_and_coloured_masks_are_named(example: Folders) -> None:
    (example.truth / "a.png").write_bytes(b"no image")
    save(example.predictions / "b.png", np.array([[[255, 0, 0]] * 4], np.uint8))
    with pytest.raises(DataError, match=r"truth.a\.png: not an image that Pillow can read"):
        example.score()
    save(example.truth / "a.png", np.array([[0, 0], [1, 255]], np.uint8))
    with pytest.raises(
        DataError, match=r"b\.png: the mask is coloured \(1 colours\); .*--colours '#ff0000=background'"
    ):
        example.score()


def test_many_problems_are_counted(folders: Folders) -> None:
    for k in range(13):
        folders.add(f"m{k:02}", [[0, 3]], [[0, 1]])
    with pytest.raises(DataError, match=r"m00\.png: values 3 [^~]*m09\.png[^\n]*\n\.\.\. and 3 more$"):
        folders.score(num_classes=2)


def test_train_ids_are_not_scored_against_label_ids(folders: Folders) -> None:
    """Road is label id 7 and train id 0, sky 23 and 10, a car 26 and 13: all 6 pixels agree once turned, none as they are."""
    folders.add("a", [[7, 7, 7], [23, 23, 26]], [[0, 0, 0], [10, 10, 13]])
    with pytest.raises(
        DataError, match=r"true masks hold Cityscapes label ids .*: 6 pixels agree once .* 0 as they are"
    ):
        folders.score(num_classes=34)
