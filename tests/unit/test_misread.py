"""Kinds of masks that were read as something else: JPEG under other names, levels, several encodings in a set."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from test_siblings import decided

from fakes import save
from segstudy.data.blocks import are_jpeg_blocks, block_corners
from segstudy.data.core import Sample
from segstudy.data.declared import Declared
from segstudy.data.encoding import decide
from segstudy.data.readers import folder
from segstudy.data.stored import facts_of, of_numbers
from segstudy.errors import DataError
from segstudy.init import write_study_file
from segstudy.spec import load_study


def discs(number: int, num_classes: int = 2, side: int = 64) -> list[np.ndarray]:
    """Label maps with an ellipse of each class but the first, in places that are drawn."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(number):
        labels = np.zeros((side, side), np.uint8)
        for label in range(1, num_classes):
            centre, axes = rng.integers(side // 5, side * 4 // 5, 2), rng.integers(side // 10, side // 5, 2)
            cv2.ellipse(labels, tuple(map(int, centre)), tuple(map(int, axes)), 30.0, 0, 360, label, -1)
        found.append(labels)
    return found


def once_jpeg(array: np.ndarray, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def refused(root: Path, masks: Sequence[np.ndarray], suffix: str = ".png") -> str:
    """The message about masks without a declaration; empty where they are read."""
    for number, mask in enumerate(masks):
        save(root / f"{number}{suffix}", mask)
    try:
        decided(root)
    except DataError as error:
        return str(error).partition(": ")[2]
    return ""


@pytest.mark.parametrize("quality", [30, 75, 95])
@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif", ".gif"])
def test_traces_of_black_and_white_are_no_255_classes(tmp_path: Path, quality: int, suffix: str) -> None:
    """However many values they have, and wherever they are stored."""
    said = refused(tmp_path, [once_jpeg(mask * 255, quality) for mask in discs(6)], suffix)
    assert re.search(r"write `(threshold: 12\d|values: \{0: background, 255: foreground\}` and `nearest)", said)
    assert "num_classes" not in said


@pytest.mark.parametrize(
    ("level", "suffix", "line"), [(30, ".gif", "threshold: 1[4-6]"), (200, ".gif", "threshold: (1[0-2])?")]
)
def test_dim_levels_in_a_palette_get_a_threshold_between(tmp_path: Path, level: int, suffix: str, line: str) -> None:
    masks = [once_jpeg(mask * np.uint8(level), 75) for mask in discs(6)]
    assert re.search(f"`{line}", refused(tmp_path, masks, suffix))


def test_dim_jpeg_of_two_levels_gets_a_threshold_and_indices_none(tmp_path: Path) -> None:
    for number, mask in enumerate(discs(4)):
        save(tmp_path / "a" / f"{number}.jpg", mask * 30, quality=90)
        save(tmp_path / "b" / f"{number}.jpg", mask, quality=90)
    with pytest.raises(DataError, match=r"as PNG, or write `threshold: 1[45]` if they are of two levels"):
        decided(tmp_path / "a")
    with pytest.raises(DataError, match=r"as PNG$"):
        decided(tmp_path / "b")


def test_what_jpeg_adds_at_255_is_no_level(tmp_path: Path) -> None:
    masks = [once_jpeg(np.array([0, 60, 120, 180, 240], np.uint8)[mask], 75) for mask in discs(8, 5, 96)]
    assert max(int(mask.max()) for mask in masks) == 255
    assert re.search(r"240: class_4}` and `nearest: true`", refused(tmp_path, masks))


def test_many_classes_that_fill_areas_may_be_classes(tmp_path: Path) -> None:
    masks = [np.repeat(np.arange(k, 150, 2, dtype=np.uint8), 8)[None].repeat(8, axis=0) for k in range(2)]
    assert re.search(
        "150 different values .*; if they are class indices, give `num_classes: 150`", refused(tmp_path, masks)
    )


@pytest.mark.parametrize("levels", [(0, 1, 128), (0, 1, 2, 200), (0, 100, 101, 255)])
def test_a_few_levels_that_fill_areas_are_each_named(tmp_path: Path, levels: tuple[int, ...]) -> None:
    said = refused(tmp_path, [np.array(levels, np.uint8)[mask] for mask in discs(4, len(levels))])
    named = ["background", *(f"class_{k}" for k in range(1, len(levels)))]
    line = ", ".join(f"{level}: {name}" for level, name in zip(levels, named, strict=True))
    assert f"Write `values: {{{line}}}`" in said
    assert not re.search("threshold|nearest", said)


@pytest.mark.parametrize(
    ("one", "other", "line"),
    [
        ((0, 1, 2), (0, 128, 255), "0: background, 1: class_1, 2: class_2, 128: class_1, 255: class_2"),
        ((0, 1, 2, 3), (0, 85, 170, 255), "3: class_3, 85: class_1, 170: class_2, 255: class_3"),
        ((0, 1, 1), (0, 200, 200), "0: background, 1: foreground, 200: foreground"),
        ((0, 1, 2), (0, 255, 255), r"255: NAME}` .* or `ignore_values: \[255\]` if 255 is to be left out"),
    ],
)
@pytest.mark.parametrize("number", [1, 4])
def test_two_encodings_in_a_set_are_named_with_their_files(
    tmp_path: Path, one: tuple[int, ...], other: tuple[int, ...], line: str, number: int
) -> None:
    masks = [np.array(other if k < number else one, np.uint8)[mask] for k, mask in enumerate(discs(8, len(one)))]
    said = refused(tmp_path, masks)
    assert re.search(line, said)
    first, second = (", ".join(map(str, dict.fromkeys(each))) for each in (one, other))
    first, second = (" and ".join(each.rsplit(", ", 1)) for each in (first, second))
    assert f"some masks hold {first}, others {second}, and none holds values of both (the first: {number}.png" in said
    assert "; the others: 0.png" in said


def test_two_encodings_in_a_stack_are_named(tmp_path: Path) -> None:
    """Whose masks are all of one file."""
    stack = np.stack(
        [np.array(levels, np.uint8)[mask] for levels, mask in zip([(0, 255), (0, 1), (0, 1)], discs(3), strict=True)]
    )
    facts = [facts_of(of_numbers(tmp_path / "m.npy", mask), objects=True) for mask in stack]
    with pytest.raises(DataError, match=r"hold 0 and 1, others 0 and 255, .* \(the first: m.npy; the others: m.npy\)"):
        decide(facts, Declared(), tmp_path)


def test_255_next_to_classes_is_left_out_in_all_masks(tmp_path: Path) -> None:
    """A mask of the set holds both, so that 255 alone is an image of which nothing but void is sure."""
    masks = [
        np.array(levels, np.uint8)[mask]
        for levels, mask in zip([(0, 255, 255), (0, 1, 255)] * 3, discs(6, 3), strict=True)
    ]
    for mask in masks[1::2]:
        mask[:20] = 1
    assert refused(tmp_path, masks) == ""


def test_a_mask_of_another_encoding_past_those_looked_at_is_named(tmp_path: Path) -> None:
    for number, mask in enumerate(discs(4, 3)):
        save(tmp_path / f"{number}.png", mask)
    encoding = decided(tmp_path)
    for levels, says in (((0, 255), "hold 0, 1, 2 and no 255"), ((0, 128, 255), "holds 128, grey levels")):
        odd = save(tmp_path / "odd.png", np.array(levels, np.uint8)[discs(1, len(levels))[0]])
        with pytest.raises(DataError, match=says):
            encoding.labels_of(Sample("odd", odd, odd))


def test_grey_class_indices_in_a_palette_of_another_order_are_asked_about(tmp_path: Path) -> None:
    """GIF keeps the levels that occur, one after the other: index 3 is level 11."""
    masks = [np.array([0, 1, 2, 11], np.uint8)[mask] for mask in discs(3, 4)]
    said = refused(tmp_path, masks, ".gif")
    assert "index 3 of the palette is the grey level 11" in said
    assert "`colours: {'#000000': background, '#010101': class_1, '#020202': class_2, '#0b0b0b': class_3}`" in said


@pytest.mark.parametrize("step", [17, 36, 85])
def test_a_ramp_of_grey_shows_indices(tmp_path: Path, step: int) -> None:
    for number, mask in enumerate(discs(3, 3)):
        image = Image.fromarray(mask, "P")
        image.putpalette([level for k in range(255 // step + 1) for level in [k * step] * 3])
        image.save(tmp_path / f"{number}.png")
    assert (decided(tmp_path).how, decided(tmp_path).num_classes) == ("indices", 3)


@pytest.mark.parametrize("num_classes", [2, 3, 6])
@pytest.mark.parametrize("quality", [75, 90])
def test_indices_that_were_jpeg_are_asked_about(tmp_path: Path, num_classes: int, quality: int) -> None:
    masks = [once_jpeg(mask, quality) for mask in discs(8, num_classes, 160)]
    top = max(int(mask.max()) for mask in masks)
    said = refused(tmp_path, masks)
    assert re.search(rf"once saved as JPEG, .* or write `num_classes: {top + 1}` if the values are right", said)


def boxes(rng: np.random.Generator, step: int, side: int = 64) -> np.ndarray:
    labels = np.zeros((side, side), np.uint8)
    for label in (1, 2, 3):
        top, left, high, wide = (int(size) * step for size in rng.integers(1, side // 2 // step, 4))
        labels[top : top + high, left : left + wide] = label
    return labels


def boxes_that_move(rng: np.random.Generator) -> np.ndarray:
    """As small examples are written by hand: a side at 40, which is the border of a block, in every mask."""
    labels = np.zeros((64, 64), np.uint8)
    labels[16 : 40 + int(rng.integers(9)), 8:40] = 1
    labels[10:16, 8:30] = 2
    return labels


@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: boxes(rng, 1),
        lambda rng: boxes(rng, 8),
        boxes_that_move,
        lambda rng: boxes(rng, 1, 32).repeat(2, axis=0).repeat(2, axis=1),
        lambda rng: boxes(rng, 1, 16).repeat(8, axis=0).repeat(8, axis=1),
        lambda rng: cv2.ellipse(boxes(rng, 1), tuple(map(int, rng.integers(9, 55, 2))), (8, 6), 9, 0, 360, 1, -1),
    ],
    ids=["boxes", "boxes of blocks", "boxes that move", "enlarged", "enlarged to blocks", "discs and boxes"],
)
def test_what_is_drawn_has_no_blocks_of_jpeg(draw: Callable[[np.random.Generator], np.ndarray]) -> None:
    rng = np.random.default_rng(1)
    for number in (1, 5, 20, 60):
        assert not are_jpeg_blocks([block_corners(draw(rng)) for _ in range(number)])


def test_declared_indices_that_were_jpeg_are_a_warning_of_check(tmp_path: Path) -> None:
    from segstudy.data.quality.card import Seen
    from segstudy.data.quality.inspect import inspect_sample
    from segstudy.data.quality.plausible import doubts_of_dataset

    for number, mask in enumerate(discs(8, 4, 160)):
        save(tmp_path / "images" / f"{number}.png", mask[..., None].repeat(3, axis=2) * 50)
        save(tmp_path / "masks" / f"{number}.png", np.minimum(once_jpeg(mask, 80), 3))
    dataset = folder.read("d", tmp_path, folder.Options(classes=["a", "b", "c", "d"]))
    looks = [inspect_sample(dataset, split, sample) for split, part in dataset.splits.items() for sample in part]
    said = doubts_of_dataset(dataset, "train", [seen for look in looks if (seen := Seen.of(look))], "test")
    assert "blocks" in [fault.kind for fault in said]


@pytest.mark.parametrize("suffix", [".tif", ".gif"])
def test_init_writes_the_choices_for_masks_of_several_pages(tmp_path: Path, suffix: str) -> None:
    """Of images of one page, each page may be a class or an object; the first alone is read where that is written."""
    root = tmp_path / "set"
    for number, mask in enumerate(discs(4)):
        save(root / "images" / f"{number}.png", mask[..., None].repeat(3, axis=2) * 200)
        pages = [Image.fromarray(page) for page in (mask * 255, 255 - mask * 255)]
        (root / "masks").mkdir(exist_ok=True)
        pages[0].save(root / "masks" / f"{number}{suffix}", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match="holds these lines as comments"):
        write_study_file(root, tmp_path / "study.yaml")
    text = (tmp_path / "study.yaml").read_text()
    assert "    # page: 0\n    # page: all\n" in text
    (tmp_path / "study.yaml").write_text(text.replace("# page: 0", "page: 0"))
    options = load_study(tmp_path / "study.yaml").data["set"].own_options()
    dataset = folder.read("d", root, folder.Options(**options))
    for sample in dataset.samples("all"):
        assert np.array_equal(dataset.labels_of(sample), discs(4)[int(sample.id)])


@pytest.mark.parametrize("again", [99, 5])
def test_objects_that_are_numbered_from_file_to_file_are_no_classes(tmp_path: Path, again: int) -> None:
    """Two or three a file; numbers may start again, as with the files of another split."""
    masks, number = [], 58  # some of which are above 64, and so might be grey levels
    for k in range(8):
        number = 58 if k == again else number
        mask = np.zeros((16, 16), np.uint8)
        for place in range(2 + k % 2):
            number += 1
            mask[1:4, 5 * place + 1 : 5 * place + 4] = number
        masks.append(mask)
    said = refused(tmp_path, masks)
    assert "nearly each value in one mask alone" in said
    assert "`threshold: 0` if all objects are one class" in said


@pytest.mark.parametrize("values", [[(1, 2), (3, 4), (1, 4), (2, 3), (1, 3)], [(1,), (2,), (3,), (4,), (5,), (6,)]])
def test_classes_of_which_each_mask_has_few_are_classes(tmp_path: Path, values: list[tuple[int, ...]]) -> None:
    masks = [np.repeat(np.array([[0, *each] * 2], np.uint8), 9, axis=0).repeat(3, axis=1) for each in values]
    assert refused(tmp_path, masks) == ""


def test_numbers_past_255_are_proposed_for_all_masks(tmp_path: Path) -> None:
    """Few values may be classes, of which each mask has some; many are objects."""
    for number in range(4):
        save(tmp_path / "few" / f"{number}.png", np.array([[0, 300 + 100 * (number % 2)]], np.uint16))
        save(tmp_path / "many" / f"{number}.png", np.arange(0, 300 * (number + 2), 100 + number, dtype=np.uint16)[None])
    with pytest.raises(DataError, match=r"`values: {0: background, 300: class_1, 400: class_2}`"):
        decided(tmp_path / "few")
    with pytest.raises(DataError, match=r"If they are numbers of objects, write `threshold: 0`"):
        decided(tmp_path / "many")
