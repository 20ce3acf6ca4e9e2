"""Synthetic scenes: exact layouts, determinism, lifelike class shares, and no half-made folders."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from segstudy.data.scenes import synthetic
from segstudy.data.scenes.endoscopy import polyp_scene
from segstudy.data.scenes.people import person_scene
from segstudy.data.scenes.street import street_scene
from segstudy.errors import DataError

SMALL: dict[str, dict[str, Any]] = {
    "cityscapes": {"num_train": 4, "num_val": 3, "size": (128, 64)},
    "kvasir": {"num_images": 5, "size": (80, 72)},
    "supervisely": {"num_images": 5, "size": (60, 80)},
}
ONE_MORE: dict[str, dict[str, Any]] = {
    "cityscapes": {"num_train": 6, "num_val": 4},
    "kvasir": {"num_images": 7},
    "supervisely": {"num_images": 7},
}
FAMILIES = sorted(synthetic.SCENES)
EVALUATED = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)


def files(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()}


def images(root: Path) -> dict[str, bytes]:
    return {name: data for name, data in files(root).items() if name.endswith((".png", ".jpg"))}


def test_families_have_small_settings() -> None:
    assert set(SMALL) == set(ONE_MORE) == set(synthetic.SCENES)


def test_cityscapes_layout(tmp_path: Path) -> None:
    root = tmp_path / "city"
    synthetic.write_cityscapes(root, num_train=4, num_val=3, size=(128, 64))
    assert set(files(root)) == {"synthetic.json"} | {
        f"{kind}/{split}/{city}/{city}_{number:06d}_000019_{ending}.png"
        for kind, ending in (("leftImg8bit", "leftImg8bit"), ("gtFine", "gtFine_labelIds"))
        for split, city, number in (
            ("train", "rasterstadt", 0),
            ("train", "synthburg", 0),
            ("train", "voxelheim", 0),
            ("train", "rasterstadt", 1),
            ("val", "noisefurt", 0),
            ("val", "pixelhafen", 0),
            ("val", "noisefurt", 1),
        )
    }
    with Image.open(root / "leftImg8bit/val/noisefurt/noisefurt_000001_000019_leftImg8bit.png") as image:
        assert (image.mode, image.size) == ("RGB", (128, 64))
    with Image.open(root / "gtFine/val/noisefurt/noisefurt_000001_000019_gtFine_labelIds.png") as labels:
        assert (labels.mode, labels.size) == ("L", (128, 64))
        assert np.asarray(labels).max() <= 33


def test_kvasir_layout(tmp_path: Path) -> None:
    root = tmp_path / "polyps"
    synthetic.write_kvasir(root, num_images=12, size=(160, 144))
    names = sorted(p.name for p in (root / "images").iterdir())
    assert names == sorted(p.name for p in (root / "masks").iterdir())
    assert len(names) == 12
    assert all(re.fullmatch(r"cju[0-9a-z]{22}\.jpg", name) for name in names)
    sizes, shares, values = set(), [], set()
    for name in names:
        with Image.open(root / "images" / name) as image, Image.open(root / "masks" / name) as mask:
            assert (image.format, image.mode, mask.format, mask.mode) == ("JPEG", "RGB", "JPEG", "RGB")
            assert image.size == mask.size
            sizes.add(image.size)
            values |= set(np.unique(np.asarray(mask)).tolist())
            shares.append((np.asarray(mask.convert("L")) > 127).mean())
    assert len(sizes) > 3
    assert len(values) > 2, "JPEG masks must not be exactly 0 and 255"
    assert 0.05 < np.mean(shares) < 0.30


def test_supervisely_layout(tmp_path: Path) -> None:
    root = tmp_path / "people"
    synthetic.write_supervisely(root, num_images=3, size=(60, 80))
    with (root / "df.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["", "images", "masks", "collages"]
    assert rows[3] == ["2", "images/0003.png", "masks/0003.png", "collages/0003.jpg"]
    inner = root / "supervisely_person_clean_2667_img" / "supervisely_person_clean_2667_img"
    for _, image_path, mask_path, collage in rows[1:]:
        with Image.open(inner / image_path) as image, Image.open(inner / mask_path) as mask:
            assert (image.mode, image.size, mask.mode, mask.size) == ("RGB", (60, 80), "L", (60, 80))
            assert set(np.unique(np.asarray(mask)).tolist()) == {0, 255}
        assert not (inner / collage).exists()


@pytest.mark.parametrize("family", FAMILIES)
def test_same_seed_same_bytes_and_prefix(family: str, tmp_path: Path) -> None:
    write = synthetic.SCENES[family]
    for name, more in (("a", {}), ("b", {}), ("other", {"seed": 1}), ("larger", ONE_MORE[family])):
        write(tmp_path / name, **(SMALL[family] | more))
    first = files(tmp_path / "a")
    assert first == files(tmp_path / "b")
    assert not set(images(tmp_path / "a").values()) & set(images(tmp_path / "other").values())
    larger = images(tmp_path / "larger")
    assert images(tmp_path / "a").items() < larger.items()


def test_train_and_val_share_no_image(tmp_path: Path) -> None:
    synthetic.write_cityscapes(tmp_path / "city", num_train=3, num_val=3, size=(64, 32))
    pictures = [data for name, data in files(tmp_path / "city").items() if name.startswith("leftImg8bit")]
    assert len(set(pictures)) == 6


def test_street_classes_are_lifelike() -> None:
    counts, appearances = np.zeros(256, np.int64), np.zeros(256, np.int64)
    for index in range(60):
        _, label_ids = street_scene(np.random.default_rng([5, index]), (256, 128))
        found = np.bincount(label_ids.ravel(), minlength=256)
        counts += found
        appearances += found > 0
    share = counts / counts.sum()
    assert all(share[label] > 0 for label in EVALUATED)
    assert set(np.flatnonzero(counts)) <= set(range(34))
    road, building, vegetation, car, person = (share[label] for label in (7, 11, 21, 26, 24))
    bicycle, motorcycle, rider = share[33], share[32], share[25]
    assert road > building > vegetation > car > person > max(bicycle, motorcycle, rider)
    assert 0.28 < road < 0.45
    assert 0.03 < 1 - share[list(EVALUATED)].sum() < 0.2, "some of every scene is void"
    assert all(appearances[label] < 45 for label in (25, 27, 28, 31, 32)), "rare classes are in some images only"


def test_person_share() -> None:
    shares = [person_scene(np.random.default_rng([5, i]), (120, 160))[1].mean() for i in range(40)]
    assert 0.2 < np.mean(shares) < 0.4


@pytest.mark.parametrize("draw", [street_scene, polyp_scene, person_scene])
def test_scene_shapes(draw: Callable[..., tuple[np.ndarray, np.ndarray]]) -> None:
    image, labels = draw(np.random.default_rng(0), (90, 70))
    assert (image.shape, image.dtype) == ((70, 90, 3), np.uint8)
    assert (labels.shape, labels.dtype) == ((70, 90), np.uint8)
    assert image.std() > 5
    again, labels_again = draw(np.random.default_rng(0), (90, 70))
    np.testing.assert_array_equal(image, again)
    np.testing.assert_array_equal(labels, labels_again)


def test_same_settings_return_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "people"
    synthetic.write_supervisely(root, **SMALL["supervisely"])
    before = files(root)

    def fail(*_: object) -> None:
        raise AssertionError("drawn again")

    monkeypatch.setattr(synthetic, "person_scene", fail)
    synthetic.write_supervisely(root, **SMALL["supervisely"])
    assert files(root) == before


@pytest.mark.parametrize("family", FAMILIES)
def test_foreign_folder_is_refused(family: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "keep.txt").write_text("x")
    with pytest.raises(DataError, match=r"mine: it exists and was not made by segstudy.*Choose another folder"):
        synthetic.SCENES[family](tmp_path / "mine", **SMALL[family])
    assert files(tmp_path / "mine") == {"keep.txt": b"x"}


def test_other_settings_are_refused(tmp_path: Path) -> None:
    synthetic.write_kvasir(tmp_path / "polyps", **SMALL["kvasir"])
    with pytest.raises(DataError, match=r'holds another set.*"seed": 0.*wanted.*"seed": 3'):
        synthetic.write_kvasir(tmp_path / "polyps", **SMALL["kvasir"], seed=3)


def test_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "polyp_scene", interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthetic.write_kvasir(tmp_path / "polyps", **SMALL["kvasir"])
    assert list(tmp_path.iterdir()) == []


def test_bad_counts_and_sizes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="num_val is 0"):
        synthetic.write_cityscapes(tmp_path / "city", num_train=1, num_val=0)
    with pytest.raises(DataError, match="size is 8x8"):
        synthetic.write_kvasir(tmp_path / "polyps", num_images=1, size=(8, 8))
    with pytest.raises(DataError, match="seed is -1"):
        synthetic.write_supervisely(tmp_path / "people", num_images=1, seed=-1)


def test_losing_a_race_to_the_same_set_is_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic.write_supervisely(tmp_path / "winner", **SMALL["supervisely"])
    draw, calls = person_scene, []

    def draw_while_another_finishes(*args: Any) -> Any:
        if not calls:
            (tmp_path / "winner").rename(tmp_path / "people")
        calls.append(args)
        return draw(*args)

    monkeypatch.setattr(synthetic, "person_scene", draw_while_another_finishes)
    synthetic.write_supervisely(tmp_path / "people", **SMALL["supervisely"])
    assert [p.name for p in tmp_path.iterdir()] == ["people"]
