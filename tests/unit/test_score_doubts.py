"""Predictions that are inverted, turned, or tagged as turned: scored as they are, with a warning."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from test_misread import discs
from typer.testing import CliRunner

import segstudy
from fakes import save
from segstudy.cli import app
from segstudy.counts.countset import read_counts
from segstudy.scoring import score_masks

Turn = Callable[[np.ndarray], np.ndarray]


def corners(number: int, side: int = 32) -> list[np.ndarray]:
    """Blocks of L shape in one corner, which fit in no other orientation."""
    found = []
    for k in range(number):
        labels = np.zeros((side, side), np.uint8)
        labels[2 : 20 - k % 3, 3:8] = labels[2:7, 3 : 14 + k % 4] = 1
        found.append(labels)
    return found


def doubts(root: Path, truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray], **options: object) -> str:
    for k, (true, guess) in enumerate(zip(truth, predicted, strict=True)):
        save(root / "truth" / f"{k}.png", true)
        save(root / "predicted" / f"{k}.png", guess)
    return "\n".join(score_masks(root / "predicted", root / "truth", **options).about.doubts or ())  # type: ignore[arg-type]


@pytest.mark.parametrize(("number", "wrong"), [(1, 1), (2, 1), (12, 1), (12, 12)])
def test_inverted_predictions_are_said(tmp_path: Path, number: int, wrong: int) -> None:
    """Of 0 and 255 both, or of 0 and 1; the mIoU of an exact reverse is 0, and 1 once it is inverted."""
    truth = [mask * 255 for mask in corners(number)]
    predicted = [255 - mask if k < wrong else mask for k, mask in enumerate(truth)]
    said = doubts(tmp_path, truth, predicted)
    text = f"{min(wrong, number)} of {number} predictions are the reverse of their true masks (0"
    assert said.startswith(text)
    assert "their mIoU is 0.00, and 1.00 once the two classes are exchanged" in said
    assert said.count("\n") == 0


@pytest.mark.parametrize(("number", "num_classes"), [(1, 3), (9, 2)])
@pytest.mark.parametrize(
    ("turn", "says"),
    [
        (lambda mask: mask[:, ::-1], "mirrored left to right"),
        (lambda mask: mask[::-1], "flipped upside down"),
        (lambda mask: mask[::-1, ::-1], "turned by 180 degrees"),
        (lambda mask: mask.T, "transposed (rows and columns exchanged)"),
        (lambda mask: np.rot90(mask), "turned by 90 degrees clockwise"),
        (lambda mask: np.rot90(mask, -1), "turned by 90 degrees anticlockwise"),
        (lambda mask: mask[::-1, ::-1].T, "transposed and turned by 180 degrees"),
    ],
)
def test_turned_predictions_are_said(tmp_path: Path, number: int, turn: Turn, says: str, num_classes: int) -> None:
    """The advice undoes what was done: what was turned anticlockwise fits once it is turned clockwise."""
    truth = corners(number)
    for mask in truth:
        mask[22:26, 20:30] = num_classes - 1
    said = doubts(tmp_path, truth, [np.ascontiguousarray(turn(mask)) for mask in truth])
    assert said.startswith(f"predictions fit the true masks once they are {says}: agreement 1.00 against 0.")


def test_single_turned_predictions_are_named(tmp_path: Path) -> None:
    truth = corners(9)
    predicted = [mask[::-1].copy() if k in (2, 5) else mask for k, mask in enumerate(truth)]
    assert doubts(tmp_path, truth, predicted).startswith(
        "2 of 9 predictions fit their true masks once they are flipped upside down (2, 5)"
    )


def test_a_poor_network_is_not_doubted(tmp_path: Path) -> None:
    """It misses, predicts nothing or everything, or the masks of other images."""
    truth = discs(12)
    other = [*truth[1:], truth[0]]
    for number, predicted in enumerate(
        (truth, other, [np.zeros_like(mask) for mask in truth], [np.ones_like(mask) for mask in truth])
    ):
        assert doubts(tmp_path / str(number), truth, predicted, num_classes=2) == ""


def test_masks_that_surround_are_said_where_both_sides_have_them(tmp_path: Path) -> None:
    inverted = [255 - 255 * mask for mask in discs(8)]
    said = doubts(tmp_path, inverted, inverted)
    assert said.startswith(
        "true masks: 8 of 8 masks are class 1 all round and class 0 within; if white is the ground, write `--values"
    )
    assert said.count("\n") == 0


@pytest.mark.parametrize(
    ("numbers", "says"),
    [
        ((0, 3, 5), "2 classes are each predicted as another one (class 1 as class 3, class 2 as class 5); see"),
        ((0, 2, 1), "2 classes are each predicted as another one (class 1 as class 2, class 2 as class 1); see"),
        ((0, 1, 3), ""),
        ((0, 0, 0), ""),
    ],
)
def test_classes_in_another_order_are_said(tmp_path: Path, numbers: tuple[int, ...], says: str) -> None:
    """One class that is never found, or taken for another, may be the network's doing."""
    truth = discs(6, 3)
    said = doubts(tmp_path, truth, [np.array(numbers, np.uint8)[mask] for mask in truth], num_classes=6)
    assert said.startswith(says)
    assert bool(said) == bool(says)


@pytest.mark.parametrize(
    ("tag", "side"), [(2, "truth"), (3, "predicted"), (4, "truth"), (5, "predicted"), (7, "truth"), (8, "truth")]
)
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_orientation_tags_are_said_and_not_applied(tmp_path: Path, tag: int, suffix: str, side: str) -> None:
    for name in ("truth", "predicted"):
        path = save(tmp_path / name / f"a{suffix if name == side else '.png'}", corners(1)[0])
        if name == side:
            exif = Image.Exif()
            exif[274] = tag
            own = {"tiffinfo": {274: tag}} if suffix == ".tif" else {"exif": exif}
            Image.fromarray(corners(1)[0]).save(path, **own)
    scored = score_masks(tmp_path / "predicted", tmp_path / "truth")
    assert scored.confusion[0].tolist() == np.diag(np.bincount(corners(1)[0].ravel())).tolist()
    (said,) = scored.about.doubts or ()
    assert said.startswith(
        f"1 of 1 {'true masks' if side == 'truth' else 'predictions'} have an orientation tag (a{suffix}: "
    )


def test_doubts_are_printed_and_kept(tmp_path: Path) -> None:
    truth = corners(3)
    said = doubts(tmp_path, truth, [1 - mask for mask in truth])
    folders = [str(tmp_path / "predicted"), str(tmp_path / "truth")]
    scores = segstudy.score(*folders, quiet=True)
    assert f"warning: {said}" in str(scores).splitlines()
    assert scores.record["doubts"] == [said]
    assert read_counts(scores.save(tmp_path / "counts.npz")).about.doubts == (said,)
    shown = CliRunner().invoke(app, ["score", *folders, "--quiet"])
    assert shown.exit_code == 0
    assert f"warning: {said}" in shown.output


def test_masks_of_exchanged_sides_say_that_one_is_turned(tmp_path: Path) -> None:
    save(tmp_path / "t" / "a.png", np.zeros((3, 5), np.uint8))
    save(tmp_path / "p" / "a.png", np.zeros((5, 3), np.uint8))
    with pytest.raises(
        segstudy.SegstudyError, match="is 3x5 but its true mask is 5x3; one of the two is turned by a quarter"
    ):
        score_masks(tmp_path / "p", tmp_path / "t", num_classes=2)
