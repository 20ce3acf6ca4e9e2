"""Splits, roles, decoding and pairing."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from sklearn.model_selection import train_test_split

from fakes import fake_folder, random_image, save
from segstudy.data.core import (
    Dataset,
    Parts,
    Sample,
    assign_roles,
    divide,
    fingerprint,
    load_pair,
    read_rgb,
    train_test_indices,
)
from segstudy.data.encoding import index_labels, read_grey, threshold_labels
from segstudy.data.quality.faults import refuse
from segstudy.data.quality.pairing import list_images, match_by_stem
from segstudy.errors import DataError

RNG = np.random.default_rng(7)


def mask_sample(path: Path, array: np.ndarray, **options: object) -> Sample:
    return Sample("x", path, save(path, array, **options))


@pytest.mark.parametrize("count", [2, 5, 10, 11, 128, 160, 1000, 2667])
@pytest.mark.parametrize(("fraction", "seed"), [(0.2, 42), (0.1, 0), (0.35, 7)])
def test_split_is_scikit_learns_index_for_index(count: int, fraction: float, seed: int) -> None:
    train, test = train_test_split(list(range(count)), test_size=fraction, random_state=seed)
    ours = train_test_indices(count, fraction, seed)
    assert ours[0].tolist() == train
    assert ours[1].tolist() == test


@pytest.mark.parametrize("count", [0, 1])
def test_split_refuses_an_empty_part(count: int) -> None:
    with pytest.raises(DataError, match=f"{count} samples cannot be divided with a test fraction of 0.2"):
        train_test_indices(count, 0.2, 42)


def numbered(count: int, split: str) -> tuple[Sample, ...]:
    return tuple(Sample(f"{split}/{k}", Path(f"{k}.png"), Path(f"{k}.png")) for k in range(count))


def dataset(**sizes: int) -> Dataset:
    splits = {split: numbered(count, split) for split, count in sizes.items()}
    return Dataset("d", ("a", "b"), ((0, 0, 0), (1, 1, 1)), splits, threshold_labels)


def tenth(samples: Sequence[Sample]) -> Parts:
    return divide(samples, 0.1, 42)


def test_divide_keeps_every_sample_once() -> None:
    samples = numbered(13, "train")
    kept, held_out = divide(samples, 0.2, 3)
    assert len(held_out) == 3
    assert sorted(kept + held_out) == sorted(samples)


def test_paper_protocol_selects_on_the_reported_split() -> None:
    _, roles = assign_roles(dataset(train=10, val=4), "paper", None, tenth)
    assert (roles.train, roles.select, roles.report) == ("train", "val", "val")


def test_held_out_selects_on_val_when_test_is_reported() -> None:
    _, roles = assign_roles(dataset(train=10, val=4, test=4), "held-out", None, tenth)
    assert (roles.train, roles.select, roles.report) == ("train", "val", "test")


def test_held_out_carves_a_holdout_from_train() -> None:
    carved, roles = assign_roles(dataset(train=20, val=4), "held-out", None, tenth)
    assert (roles.train, roles.select, roles.report) == ("train", "holdout", "val")
    assert {name: len(part) for name, part in carved.splits.items()} == {"train": 18, "val": 4, "holdout": 2}
    assert not set(carved.splits["train"]) & set(carved.splits["holdout"])


def test_roles_need_train_and_something_to_report() -> None:
    with pytest.raises(DataError, match="training needs 'train' and one of 'test' or 'val'"):
        assign_roles(dataset(train=10), "held-out", None, tenth)
    with pytest.raises(DataError, match="has no split 'nope'; it has train, val"):
        assign_roles(dataset(train=10, val=3), "held-out", "nope", tenth)


def test_all_samples_come_in_the_order_of_the_splits() -> None:
    assert [sample.id for sample in dataset(train=2, val=1).samples("all")] == ["train/0", "train/1", "val/0"]


# Decoding


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"gone\.png: the file is missing"):
        read_rgb(tmp_path / "gone.png")


def test_text_in_disguise_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_text("<html>not found</html>")
    with pytest.raises(DataError, match=r"a\.png: not an image that Pillow can read"):
        read_rgb(tmp_path / "a.png")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_image_is_an_error(tmp_path: Path, suffix: str) -> None:
    path = save(tmp_path / f"a{suffix}", random_image(RNG, (64, 64)))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError, match=r"cannot be decoded .*copy it again"):
        read_rgb(path)


def test_16_bit_image_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.full((4, 4), 40000, np.uint16))
    with pytest.raises(DataError, match="more than 8 bits a channel; convert it to 8-bit RGB"):
        read_rgb(path)


@pytest.mark.parametrize("suffix", [".png", ".tif"])
@pytest.mark.parametrize("channels", [3, 4])
def test_16_bit_colours_are_refused_although_pillow_would_cut_them(tmp_path: Path, suffix: str, channels: int) -> None:
    path = tmp_path / f"a{suffix}"
    assert cv2.imwrite(str(path), np.full((4, 4, channels), 3, np.uint16))
    with pytest.raises(DataError, match="more than 8 bits a channel; convert it to 8-bit RGB"):
        read_rgb(path)
    with pytest.raises(DataError, match="the mask has colours of 16 bits"):  # else 3 would become 0
        read_grey(path)


def test_palette_with_graded_transparency_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(random_image(RNG, (8, 6))).convert("P").save(tmp_path / "a.png", transparency=bytes([0, 9, 255]))
    assert read_rgb(tmp_path / "a.png").mode == "RGB"


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_other_modes_become_rgb(tmp_path: Path, mode: str) -> None:
    Image.fromarray(random_image(RNG, (8, 6))).convert(mode).save(tmp_path / "a.tif")
    image = read_rgb(tmp_path / "a.tif")
    assert (image.mode, image.size) == ("RGB", (8, 6))


def test_grey_of_palette_is_its_indices(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8))
    image.putpalette([9, 9, 9, 200, 0, 0, 0, 200, 0])
    image.save(tmp_path / "a.png")
    assert read_grey(tmp_path / "a.png").tolist() == [[0, 1, 2]]


def test_brightness_of_palette_is_its_colours(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1]], np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    image.save(tmp_path / "a.png", transparency=0)
    assert read_grey(tmp_path / "a.png", indices=False).tolist() == [[0, 255]]
    assert threshold_labels(Sample("x", tmp_path, tmp_path / "a.png")).tolist() == [[0, 1]]


@pytest.mark.parametrize("channels", [3, 4])
def test_grey_of_equal_channels_is_one_of_them(tmp_path: Path, channels: int) -> None:
    grey = np.array([[0, 5, 255]], np.uint8)
    rgb = np.dstack([grey] * 3 + [np.full_like(grey, 255)] * (channels - 3))
    assert read_grey(save(tmp_path / "a.png", rgb)).tolist() == [[0, 5, 255]]


def test_coloured_mask_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[[255, 0, 0], [0, 0, 0]]], np.uint8))
    with pytest.raises(DataError, match=r"the mask is coloured \(2 colours\); convert it to one channel .*'#ff0000'"):
        read_grey(path)
    with pytest.raises(DataError, match=r"the mask is coloured"):
        read_grey(path, indices=False)


def test_traces_of_colour_are_brightness(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[[255, 191, 191], [0, 0, 0]]], np.uint8))
    assert read_grey(path, indices=False).tolist() == [[210, 0]]  # Rec. 601: 191 + 0.299 * 64


def test_16_bit_mask_of_small_values_is_read(tmp_path: Path) -> None:
    assert read_grey(save(tmp_path / "a.png", np.array([[0, 7, 255]], np.uint16))).tolist() == [[0, 7, 255]]


def test_16_bit_mask_of_large_values_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="mask values go from 0 to 1000; masks hold whole numbers from 0 to 255"):
        read_grey(save(tmp_path / "a.png", np.array([[0, 1000]], np.uint16)))


@pytest.mark.parametrize("value", [0.5, -1.0, np.nan, np.inf])
def test_fractions_in_a_mask_are_refused(tmp_path: Path, value: float) -> None:
    with pytest.raises(DataError, match=r"masks hold whole numbers|not numbers"):
        read_grey(save(tmp_path / "a.tif", np.array([[0, value]], np.float32)))


# Labels


@pytest.mark.parametrize("white", [255, 254, 250])
def test_jpeg_mask_whose_white_is_not_255_gives_two_labels(tmp_path: Path, white: int) -> None:
    truth = np.zeros((32, 32), np.uint8)
    truth[8:24, 8:24] = 1
    sample = mask_sample(tmp_path / "m.jpg", truth * np.uint8(white), quality=90)
    assert read_grey(sample.mask).max() <= 255
    np.testing.assert_array_equal(threshold_labels(sample), truth)


def test_threshold_is_above_127(tmp_path: Path) -> None:
    sample = mask_sample(tmp_path / "m.png", np.array([[0, 127, 128, 255]], np.uint8))
    assert threshold_labels(sample).tolist() == [[0, 0, 1, 1]]


def test_threshold_refuses_masks_of_indices(tmp_path: Path) -> None:
    sample = mask_sample(tmp_path / "m.png", np.array([[0, 1]], np.uint8))
    with pytest.raises(DataError, match="no pixel is above 127 although values reach 1"):
        threshold_labels(sample)


def test_threshold_takes_a_black_mask(tmp_path: Path) -> None:
    assert threshold_labels(mask_sample(tmp_path / "m.png", np.zeros((2, 2), np.uint8))).sum() == 0


def test_indices_keep_classes_and_ignore_the_rest(tmp_path: Path) -> None:
    sample = mask_sample(tmp_path / "m.png", np.array([[0, 2, 11, 255]], np.uint8))
    assert index_labels(sample, 3, ignored=[11]).tolist() == [[0, 2, 255, 255]]


def test_indices_outside_the_classes_say_the_fix(tmp_path: Path) -> None:
    sample = mask_sample(tmp_path / "m.png", np.array([[0, 3, 9]], np.uint8))
    with pytest.raises(DataError, match=r"values 3, 9 lie outside the 3 classes 0-2; set num_classes to 10 or more"):
        index_labels(sample, 3)


def test_sizes_must_agree(tmp_path: Path) -> None:
    image = save(tmp_path / "i.png", random_image(RNG, (8, 6)))
    mask = save(tmp_path / "m.png", np.zeros((6, 7), np.uint8))
    with pytest.raises(DataError, match=r"the image is 8x6 but its mask m\.png is 7x6"):
        load_pair(dataset(train=1), Sample("x", image, mask))


# Pairing


def test_pairs_are_sorted_by_name(tmp_path: Path) -> None:
    fake_folder(tmp_path, num_images=3)
    samples = match_by_stem(tmp_path / "images", tmp_path / "masks", prefix="p/")[0]
    assert [sample.id for sample in samples] == ["p/scene00", "p/scene01", "p/scene02"]
    assert all(sample.image.suffix == ".jpg" and sample.mask.suffix == ".png" for sample in samples)


def test_lone_files_on_both_sides_are_named(tmp_path: Path) -> None:
    fake_folder(tmp_path, num_images=3)
    (tmp_path / "images" / "scene00.jpg").unlink()
    (tmp_path / "masks" / "scene02.png").unlink()
    with pytest.raises(
        DataError, match=r"(?s)image-without-mask \(1\).*scene02\.jpg.*mask-without-image \(1\).*scene00\.png"
    ):
        refuse("a", match_by_stem(tmp_path / "images", tmp_path / "masks")[1])


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    root = fake_folder(tmp_path, num_images=2)
    twin = save(root / "images" / "scene00.png", random_image(RNG, (4, 4)))
    match = rf"(?s)same-name \(1\).*{twin.name}: differs from 'scene00\.jpg' only in its suffix; keep one"
    with pytest.raises(DataError, match=match):
        refuse("a", match_by_stem(root / "images", root / "masks")[1])
    samples, _ = match_by_stem(root / "images", root / "masks")
    assert [sample.image.name for sample in samples] == ["scene00.jpg", "scene01.jpg"]


@pytest.mark.parametrize(
    ("mask", "reason"),
    [
        ("Scene00.PNG", "'Scene00.PNG' differs only in upper and lower case"),
        ("scene00.jpg.png", "'scene00.jpg.png' differs only in its suffix"),
        ("scene00.npy", "'scene00.npy' has an ending that is not read"),
        ("elsewhere.png", "masks; add the mask or move the image away"),  # no reason is known
    ],
)
def test_a_lone_image_is_told_with_its_likely_reason(tmp_path: Path, mask: str, reason: str) -> None:
    root = fake_folder(tmp_path, num_images=2)
    (root / "masks" / "scene00.png").rename(root / "masks" / mask)
    _, faults = match_by_stem(root / "images", root / "masks", prefix="p/", split="train")
    (lone,) = [fault for fault in faults if fault.kind == "image-without-mask"]
    assert reason in lone.message
    assert (lone.file, lone.split, lone.sample) == (root / "images" / "scene00.jpg", "train", "p/scene00")


def test_accents_stored_in_two_ways_are_told_apart(tmp_path: Path) -> None:
    root = fake_folder(tmp_path, num_images=2)
    composed, decomposed = "caf\u00e9", "cafe\u0301"  # as Linux and as macOS write the same name
    (root / "images" / "scene00.jpg").rename(root / "images" / f"{composed}.jpg")
    (root / "masks" / "scene00.png").rename(root / "masks" / f"{decomposed}.png")
    _, faults = match_by_stem(root / "images", root / "masks")
    assert [fault.kind for fault in faults] == ["image-without-mask", "mask-without-image"]
    assert all("differs only in how accented letters are stored" in fault.message for fault in faults)


def test_names_that_differ_in_case_are_a_warning(tmp_path: Path) -> None:
    root = fake_folder(tmp_path, num_images=2)
    for part, suffix in (("images", ".jpg"), ("masks", ".png")):
        shutil.copy(root / part / f"scene00{suffix}", root / part / f"Scene00{suffix}")
    samples, faults = match_by_stem(root / "images", root / "masks")
    assert len(samples) == 3
    assert {(fault.kind, fault.severity, fault.sample) for fault in faults} == {("case", "warning", "scene00")}
    refuse("a", faults)  # does not


def test_folder_without_images_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("none here")
    with pytest.raises(DataError, match=r"holds no images \(\.png"):
        list_images(tmp_path)
    with pytest.raises(DataError, match="no such folder"):
        list_images(tmp_path / "absent")


def test_fingerprint_follows_content_not_place(tmp_path: Path) -> None:
    prints = []
    for place in ("a", "b"):
        root = fake_folder(tmp_path / place, num_images=2)
        prints.append(fingerprint(match_by_stem(root / "images", root / "masks")[0], {}))
    assert prints[0] == prints[1]
    save(tmp_path / "b" / "masks" / "scene00.png", np.zeros((32, 48), np.uint8))
    assert fingerprint(match_by_stem(tmp_path / "b" / "images", tmp_path / "b" / "masks")[0], {}) != prints[0]
