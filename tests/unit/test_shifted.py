"""Masks that fit the next image: planted on drawn scenes, in several orders; nothing is said of right pairs."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import save
from segstudy.data.quality.card import Seen
from segstudy.data.quality.inspect import inspect_sample
from segstudy.data.quality.plausible import doubts_of_dataset
from segstudy.data.quality.shifted import outlines_of, shifted_masks
from segstudy.data.readers import folder

NUM = 48


def scene(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An image (h, w, 3) of a brighter disc on a noisy ground, and its labels."""
    y, x = np.mgrid[:96, :128]
    centre, radius = rng.integers((20, 20), (76, 108)), int(rng.integers(8, 18))
    labels = ((y - centre[0]) ** 2 + (x - centre[1]) ** 2 < radius**2).astype(np.uint8)
    image = rng.normal(90, 20, (96, 128, 1)) + 60 * labels[..., None] + np.zeros(3)
    return image.clip(0, 255).astype(np.uint8), labels


def scenes(number: int = NUM) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    return [scene(rng) for _ in range(number)]


def found(images: Sequence[np.ndarray], masks: Sequence[np.ndarray], names: Sequence[str]) -> list[str]:
    prints = [outlines_of(image, labels) for image, labels in zip(images, masks, strict=True)]
    return [f"{fault.severity}: {fault.message}" for fault in shifted_masks(list(zip(names, prints, strict=True)))]


def test_nothing_is_said_of_right_pairs_nor_of_few() -> None:
    images, masks = zip(*scenes(), strict=True)
    names = [f"{k:03}" for k in range(NUM)]
    assert found(images, masks, names) == []
    assert found(images[:6], (*masks[1:6], masks[0]), names[:6]) == []


@pytest.mark.parametrize("shift", [1, -1, 2])
@pytest.mark.parametrize("name", ["{:03}", "{}", "val/x{}_a"])
def test_a_shift_is_found_in_the_order_of_names(shift: int, name: str) -> None:
    """By letters (001, 002) and by numbers (1, 2, 10); the order in which samples are given is of no importance."""
    images, masks = zip(*scenes(), strict=True)
    moved = [masks[(k - shift) % NUM] for k in range(NUM)]  # mask k shows image k - shift
    order = np.random.default_rng(1).permutation(NUM)
    lines = found([images[k] for k in order], [moved[k] for k in order], [name.format(k) for k in order])
    assert len(lines) == 1 and lines[0].startswith(f"error: masks are shifted by {abs(shift)} image")


def test_masks_of_other_images_in_any_order_are_a_warning() -> None:
    images, masks = zip(*scenes(), strict=True)
    names = [f"{k:03}" for k in range(NUM)]
    order = np.random.default_rng(2).permutation(NUM)
    (line,) = found(images, [masks[k] for k in order], names)
    assert line.startswith("warning: the edges of images agree no better with their own masks")


def textured(number: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Smooth images of a disc, a bar and a corner of another brightness, so that no turn of their masks is like them."""
    found = []
    for k, rng in enumerate(np.random.default_rng(5).spawn(number)):
        y, x = np.mgrid[:96, :96]
        row, column = rng.integers((16, 20), (30, 40))
        labels = ((y - row) ** 2 + (x - column) ** 2 < 90).astype(np.uint8)
        labels[60 + k % 9 : 66 + k % 9, int(rng.integers(4, 30)) : 70] = 1
        ground = np.asarray(
            Image.fromarray(rng.integers(60, 110, (8, 8), np.uint8)).resize((96, 96), Image.Resampling.BICUBIC)
        )
        found.append(((ground[..., None] + 90 * labels[..., None] + np.zeros(3)).clip(0, 255).astype(np.uint8), labels))
    return found


@pytest.mark.parametrize("number", [8, 16, 39])
def test_masks_in_any_order_are_seen_in_few_images(number: int) -> None:
    images, masks = zip(*textured(number), strict=True)
    names = [f"{k:03}" for k in range(number)]
    assert found(images, masks, names) == []
    order = np.random.default_rng(3).permutation(number)
    (line,) = found(images, [masks[k] for k in order], names)
    assert line.startswith("warning: the edges of images agree no better with their own masks")


def test_images_of_noise_and_equal_masks_say_nothing() -> None:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 256, (96, 96, 3), np.uint8) for _ in range(12)]
    masks = [labels for _, labels in textured(12)]
    names = [f"{k:03}" for k in range(12)]
    assert found(noise, masks, names) == []
    assert found([image for image, _ in textured(12)], [masks[0]] * 12, names) == []


@pytest.mark.parametrize(
    ("turn", "says"),
    [
        (lambda mask: mask[:, ::-1], "mirrored left to right"),
        (lambda mask: mask[::-1], "flipped upside down"),
        (lambda mask: mask.T, "transposed \\(rows and columns exchanged\\)"),
        (
            lambda mask: np.rot90(mask),
            "turned by 90 degrees clockwise",
        ),  # rot90 turns anticlockwise, so they fit once turned back
        (lambda mask: np.rot90(mask, -1), "turned by 90 degrees anticlockwise"),
        (lambda mask: np.rot90(mask, 2), "turned by 180 degrees"),
    ],
)
def test_masks_that_are_turned_are_an_error(turn: Callable[[np.ndarray], np.ndarray], says: str) -> None:
    images, masks = zip(*textured(12), strict=True)
    (line,) = found(images, [turn(mask).copy() for mask in masks], [f"{k:03}" for k in range(12)])
    assert re.match(f"error: masks fit their images once they are {says}: ", line)


def test_check_says_it_and_half_of_a_set_that_shares_masks(tmp_path: Path) -> None:
    pairs = scenes(16)
    for k, (image, _) in enumerate(pairs):
        save(tmp_path / "shift" / "images" / f"{k}.png", image)
        save(tmp_path / "shift" / "masks" / f"{k}.png", pairs[(k + 1) % 16][1] * np.uint8(255))
        save(tmp_path / "twice" / "images" / f"{k}.png", image)
        save(tmp_path / "twice" / "masks" / f"{k}.png", pairs[k // 2 * 2][1] * np.uint8(255))
    said = {}
    for name in ("shift", "twice"):
        dataset = folder.read(name, tmp_path / name)
        looks = [inspect_sample(dataset, split, each) for split, part in dataset.splits.items() for each in part]
        seen = [Seen(look.split, look.sample, look.pixels or {}, look.digest, look.outlines) for look in looks]
        said[name] = [(fault.kind, fault.message) for fault in doubts_of_dataset(dataset, "train", seen)]
    assert [kind for kind, _ in said["shift"]] == ["shifted"]
    assert (
        "shared-mask",
        "16 of 16 images have the same mask as another image; see that each image has its own",
    ) in said["twice"]
