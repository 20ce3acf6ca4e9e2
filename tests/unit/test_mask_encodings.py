"""Each row of docs/reference/mask-encodings.md, by a reader and by ``score``: labels worked out by hand, or the refusal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakes import save
from segstudy.data.declared import Declared
from segstudy.data.readers import folder
from segstudy.errors import DataError
from segstudy.scoring import score_masks


def grey(*values: int) -> Image.Image:
    return Image.fromarray(np.array([values], np.uint8))


def palette(colours: list[int], *values: int) -> Image.Image:
    image = grey(*values).convert("P")
    image.putdata(values)
    image.putpalette(colours)
    return image


def colours(*pixels: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.array([pixels], np.uint8))


BLACK, WHITE, RED = [0, 0, 0], [255, 255, 255], [255, 0, 0]
TWO = {"values": {0: "a", 1: "b", 255: "b"}}
# What files hold, what is declared, and the labels of each file, or what the message says.
READ: dict[str, tuple[list[Image.Image], dict[str, Any], list[list[int]]]] = {
    "class indices": ([grey(0, 1, 2, 255)], {}, [[0, 1, 2, 255]]),
    "0 and 255": ([grey(0, 255, 255, 0)], {}, [[0, 1, 1, 0]]),
    "1 bit": ([grey(0, 255, 255, 0).convert("1")], {}, [[0, 1, 1, 0]]),
    "other two values": ([grey(0, 200, 0, 200)], {"values": {0: "a", 200: "b"}}, [[0, 1, 0, 1]]),
    "sparse levels": ([grey(0, 128, 255, 0)], {"values": {0: "a", 128: "b", 255: "c"}}, [[0, 1, 2, 0]]),
    "two levels with traces": ([grey(0, 1, 254, 255)], {"threshold": 127}, [[0, 0, 1, 1]]),
    "levels with traces": (
        [grey(1, 127, 130, 250)],
        {"values": {0: "a", 128: "b", 255: "c"}, "nearest": True},
        [[0, 1, 1, 2]],
    ),
    "two encodings": ([grey(0, 1, 1, 0), grey(0, 255, 0, 0)], TWO, [[0, 1, 1, 0], [0, 1, 0, 0]]),
    "palette": ([palette([*RED, *BLACK, *WHITE], 0, 1, 2, 1)], {}, [[0, 1, 2, 1]]),
    "palettes that differ": (
        [palette([*BLACK, *RED], 0, 1, 1, 1), palette([*RED, *BLACK], 0, 1, 1, 1)],
        {"colours": {"#000000": "a", "#ff0000": "b"}},
        [[0, 1, 1, 1], [1, 0, 0, 0]],
    ),
    "colours": (
        [colours((0, 0, 0), (255, 0, 0), (0, 0, 255), (0, 0, 0))],
        {"colours": {"#000000": "a", "#ff0000": "b", "#0000ff": "ignore"}},
        [[0, 1, 255, 0]],
    ),
    "alpha": (
        [colours((9, 9, 9, 0), (9, 9, 9, 255), (0, 9, 9, 255), (1, 1, 1, 0))],
        {"channel": "alpha"},
        [[0, 1, 1, 0]],
    ),
    "16 bits": (
        [Image.fromarray(np.array([[0, 300, 1000, 0]], np.uint16))],
        {"values": {0: "a", 300: "b", 1000: "c"}},
        [[0, 1, 2, 0]],
    ),
}
REFUSED: dict[str, str] = {
    "other two values": "`values: {0: background, 200: foreground}`",
    "sparse levels": "`values: {0: background, 128: class_1, 255: class_2}`",
    "two levels with traces": "`threshold: 127`",
    "levels with traces": "write `(values|threshold)",
    "two encodings": "some masks hold 0 and 1, others 0 and 255",
    "palettes that differ": "palettes differ",
    "colours": "`colours: {'#000000': background",
    "alpha": "`channel: alpha`",
    "16 bits": "`values: {0: background, 300: class_1",
}


def write(root: Path, masks: list[Image.Image]) -> Path:
    """Masks, twice each so that there are enough to divide, with images."""
    for number, mask in enumerate([*masks, *masks]):
        save(root / "images" / f"{number}.png", np.full((1, 4, 3), number, np.uint8))
        (root / "masks").mkdir(exist_ok=True)
        mask.save(root / "masks" / f"{number}.png")
    return root


@pytest.mark.parametrize("encoding", READ)
def test_the_reader_gives_the_labels(tmp_path: Path, encoding: str) -> None:
    masks, declared, expected = READ[encoding]
    dataset = folder.read("d", write(tmp_path, masks), folder.Options(**declared))
    labels = {sample.id: dataset.labels_of(sample).tolist() for sample in dataset.samples("all")}
    assert labels == {str(number): [row] for number, row in enumerate([*expected, *expected])}


@pytest.mark.parametrize("encoding", READ)
def test_score_counts_these_labels(tmp_path: Path, encoding: str) -> None:
    """Predictions that hold the expected labels as indices agree with the truth in every pixel that counts."""
    masks, declared, expected = READ[encoding]
    truth = write(tmp_path, masks) / "masks"
    rows = np.array([*expected, *expected], np.uint8)
    for number, row in enumerate(rows):
        save(tmp_path / "pred" / f"{number}.png", np.where(row == 255, 0, row)[None])
    found = score_masks(tmp_path / "pred", truth, declared=Declared(**declared, flags=True)).confusion.sum(axis=0)
    assert found.tolist() == np.diag(np.bincount(rows[rows < 255].ravel(), minlength=len(found))).tolist()


@pytest.mark.parametrize("encoding", REFUSED)
def test_without_a_declaration_the_line_to_write_is_said(tmp_path: Path, encoding: str) -> None:
    with pytest.raises(DataError, match=REFUSED[encoding]):
        folder.read("d", write(tmp_path, READ[encoding][0]))
