"""Duplicates: planted ones are found, whatever was done to them; different images of one kind of scene are not."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from segstudy.data.core import Dataset, Sample
from segstudy.data.encoding import threshold_labels
from segstudy.data.quality.duplicates import ImagePrint, aligned_correlation, find_duplicates, fingerprint_image
from segstudy.data.readers import cityscapes, kvasir
from segstudy.data.scenes.synthetic import write_cityscapes, write_kvasir

Pixels = np.ndarray


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pixels]:
    """Twelve endoscopy and twelve street scenes, all different."""
    folder = tmp_path_factory.mktemp("scenes")
    write_kvasir(folder / "k", num_images=12, size=(200, 170))
    write_cityscapes(folder / "c", num_train=9, num_val=3, size=(256, 128))
    samples = [*kvasir.read("k", folder / "k").samples("all"), *cityscapes.read("c", folder / "c").samples("all")]
    assert len(samples) == 24
    return {sample.id: np.asarray(Image.open(sample.image).convert("RGB")) for sample in samples}


def dataset_of(**splits: list[str]) -> Dataset:
    parts = {
        split: tuple(Sample(each, Path(f"{each}.png"), Path("m.png")) for each in ids) for split, ids in splits.items()
    }
    return Dataset("d", ("a", "b"), ((0, 0, 0), (1, 1, 1)), parts, threshold_labels)


def jpeg(rgb: Pixels, quality: int) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=quality)
    return np.asarray(Image.open(stream))


def rotated(rgb: Pixels, degrees: float) -> Pixels:
    height, width = rgb.shape[:2]
    return cv2.warpAffine(rgb, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))


def framed(rgb: Pixels) -> Pixels:
    """In a black surround, as when a picture is exported again."""
    return np.pad(rgb, ((12, 30), (50, 8), (0, 0)))


CHANGES: dict[str, Callable[[Pixels], Pixels]] = {
    "half size": lambda rgb: cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_LINEAR),
    "stretched": lambda rgb: cv2.resize(rgb, None, fx=1.4, fy=0.9, interpolation=cv2.INTER_LINEAR),
    "JPEG 40": lambda rgb: jpeg(rgb, 40),
    "brighter": lambda rgb: np.clip(rgb * 1.1, 0, 255).astype(np.uint8),
    "darker": lambda rgb: (rgb * 0.9).astype(np.uint8),
    "cropped": lambda rgb: rgb[: round(rgb.shape[0] * 0.96), round(rgb.shape[1] * 0.04) :],
    "mirrored": lambda rgb: rgb[:, ::-1],
    "mirrored, cropped, JPEG 40": lambda rgb: jpeg(rgb[round(rgb.shape[0] * 0.04) :, ::-1], 40),
    "turned": lambda rgb: rotated(rgb, 3),
    "framed": framed,
}


@pytest.mark.parametrize("change", CHANGES)
def test_planted_near_duplicate_across_splits_is_found(scenes: dict[str, Pixels], change: str) -> None:
    """Every image's changed copy stands in another split; each is found, and nothing else is."""
    prints = {name: fingerprint_image(rgb) for name, rgb in scenes.items()}
    prints |= {f"copy of {name}": fingerprint_image(CHANGES[change](rgb)) for name, rgb in scenes.items()}
    found = find_duplicates(dataset_of(train=list(scenes), test=[f"copy of {name}" for name in scenes]), prints)
    assert {(each.first.id, each.second.id) for each in found} == {(name, f"copy of {name}") for name in scenes}
    assert {(each.kind, each.splits, each.crosses) for each in found} == {("near", ("train", "test"), True)}
    assert {each.mirrored for each in found} == {change.startswith("mirrored")}
    assert all(0.6 <= each.similarity <= 1 for each in found)


def test_equal_pixels_are_told_from_near_duplicates(scenes: dict[str, Pixels]) -> None:
    (a, first), (b, second) = list(scenes.items())[:2]
    prints = {name: fingerprint_image(rgb) for name, rgb in ((a, first), ("same", first.copy()), (b, second))}
    prints["near"] = fingerprint_image(jpeg(second, 90))
    found = find_duplicates(dataset_of(train=[a, b, "same"], test=["near"]), prints)
    assert [(each.kind, each.first.id, each.second.id, each.splits) for each in found] == [
        ("same", a, "same", ("train", "train")),
        ("near", b, "near", ("train", "test")),
    ]
    assert found[0].similarity == 1
    assert [each.crosses for each in found] == [False, True]


def test_content_follows_pixels_and_shape_alone(scenes: dict[str, Pixels]) -> None:
    rgb = next(iter(scenes.values()))
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "PNG")
    content = fingerprint_image(rgb).content
    assert fingerprint_image(np.asarray(Image.open(stream))).content == content
    assert (
        fingerprint_image(np.ascontiguousarray(rgb[:, ::-1])[:, ::-1]).content == content
    )  # not how it lies in memory
    altered = rgb.copy()
    altered[0, 0, 0] ^= 1
    assert fingerprint_image(altered).content != content
    assert fingerprint_image(rgb.reshape(rgb.shape[1], rgb.shape[0], 3)).content != content


def test_difference_hash_is_which_neighbour_is_brighter() -> None:
    """Brightness that rises to the right gives a one for each of 16 x 16 steps to the right, and zeros down and mirrored."""
    ramp = np.broadcast_to(np.linspace(60, 250, 340).astype(np.uint8)[None, :, None], (200, 340, 3))
    bits = fingerprint_image(np.ascontiguousarray(ramp)).bits
    assert bits.shape == (2, 8)
    assert np.bitwise_count(bits).sum(axis=1).tolist() == [256, 0]


def test_samples_without_a_print_are_left_out(scenes: dict[str, Pixels]) -> None:
    name, rgb = next(iter(scenes.items()))
    assert find_duplicates(dataset_of(train=[name, "unreadable"], test=["gone"]), {name: fingerprint_image(rgb)}) == []
    assert find_duplicates(dataset_of(train=["unreadable"]), {}) == []


def test_plain_and_tiny_images_are_no_near_duplicates() -> None:
    plain = {f"{grey}": fingerprint_image(np.full((40, 50, 3), grey, np.uint8)) for grey in (0, 10, 120, 121, 255)}
    plain["one pixel"] = fingerprint_image(np.full((1, 1, 3), 77, np.uint8))
    assert find_duplicates(dataset_of(train=list(plain)), plain) == []


def test_alignment_says_how_alike_details_are() -> None:
    rng = np.random.default_rng(0)
    noise = cv2.GaussianBlur(rng.integers(0, 256, (80, 80), dtype=np.uint8), (0, 0), 2)
    noise = cv2.normalize(noise, None, 30, 255, cv2.NORM_MINMAX).astype(np.uint8)
    other = cv2.normalize(
        cv2.GaussianBlur(rng.integers(0, 256, (80, 80), dtype=np.uint8), (0, 0), 2), None, 30, 255, 32
    )
    assert aligned_correlation(noise[8:72, 8:72], noise[8:72, 8:72]) == pytest.approx(1, abs=1e-3)
    assert aligned_correlation(noise[8:72, 8:72], noise[10:74, 6:70]) > 0.9  # shifted
    assert abs(aligned_correlation(noise[:64, :64], other[:64, :64])) < 0.5
    assert aligned_correlation(np.zeros((64, 64), np.uint8), noise[:64, :64]) == 0


def test_all_pairs_of_many_images_are_compared() -> None:
    """3,000 prints with random hashes and one picture: only the two planted pairs have hashes that are near."""
    rng = np.random.default_rng(1)
    thumbnails = rng.integers(30, 256, (64, 64), dtype=np.uint8)
    bits = rng.integers(0, 2**64, (3000, 2, 8), dtype=np.uint64)
    prints = {f"s{k}": ImagePrint(f"{k}", bits[k], thumbnails) for k in range(len(bits))}
    prints["s2999"] = replace(prints["s17"], content="other")
    prints["s2500"] = replace(prints["s23"], content="yet another", bits=prints["s23"].bits ^ np.uint64(3))
    found = find_duplicates(dataset_of(train=list(prints)), prints)
    assert [(each.first.id, each.second.id) for each in found] == [("s17", "s2999"), ("s23", "s2500")]


def eye(seed: int, left: bool) -> Pixels:
    """A disc on black with the shading that all eyes have, the bright spot on one side, and lines of its own."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:200, :200] + rng.integers(-4, 5, (2, 1, 1))
    light = (
        130
        + 60 * np.exp(-((x - 160) ** 2 + (y - 95) ** 2) / 225)
        - 35 * np.exp(-((x - 95) ** 2 + (y - 102) ** 2) / 450)
    )
    light = (light[:, ::-1] if left else light) * rng.uniform(0.8, 1.1)
    lines = np.zeros((200, 200), np.uint8)
    for _ in range(5):
        cv2.polylines(lines, [rng.integers(10, 190, (4, 2)).astype(np.int32)], False, 1, 2)
    rgb = (
        np.stack([1.5 * light, 0.8 * light, 0.4 * light], -1) - 15 * lines[..., None] + rng.normal(0, 2, (200, 200, 3))
    )
    rgb[np.hypot(*(np.mgrid[:200, :200] - 100)) >= 95] = 0
    return np.clip(rgb, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("sides", ["one side", "both sides"])
@pytest.mark.parametrize("number", [8, 20])
def test_eyes_share_their_shading_and_are_no_duplicates(number: int, sides: str) -> None:
    """No two are one eye; copies of two are found all the same, whatever the images' order."""
    eyes = {f"eye{k}": fingerprint_image(eye(k, left=sides != "one side" and k % 2 == 0)) for k in range(number)}
    assert find_duplicates(dataset_of(train=list(eyes)), eyes) == []
    eyes["small"] = fingerprint_image(
        cv2.resize(eye(1, left=False), None, fx=0.6, fy=0.6, interpolation=cv2.INTER_AREA)
    )
    eyes["mirrored"] = fingerprint_image(jpeg(eye(3, left=False)[:, ::-1], 60))
    planted = {frozenset(("eye1", "small")), frozenset(("eye3", "mirrored"))}
    for order in (list(eyes), list(eyes)[::-1], sorted(eyes, key=lambda name: eyes[name].content)):
        found = find_duplicates(dataset_of(train=order), eyes)
        assert {frozenset((each.first.id, each.second.id)) for each in found} == planted
