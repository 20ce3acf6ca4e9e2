"""Masks that fit the next image: planted on drawn scenes, in several orders; nothing is said of right pairs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

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
