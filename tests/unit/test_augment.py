"""Augmentation: exact labels, one draw an image, the same from the same generator, nothing touched that nothing falls to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from scipy import ndimage

from fakes import fake_camvid, save
from segstudy.data.augment import (
    BLUR_SHARES,
    CUTOUT_SHARES,
    NOISE_SHARES,
    Augmenter,
    draw,
    epoch_generator,
    gaussian_blur,
    make_augmenter,
)
from segstudy.data.augmentations import AUGMENTATIONS
from segstudy.data.quality.sheets import augment_sheet, overlay
from segstudy.data.readers import folder
from segstudy.errors import SpecError
from segstudy.schema import Augment, Recipe
from segstudy.spec import parse_study

MEAN = (124, 116, 104)  # ImageNet's mean colour 0.485, 0.456, 0.406 of 255, rounded
EVERYTHING = Augment(
    **{"flip_horizontal": 0.5, "flip_vertical": 0.5, "scale": [0.5, 2.0], "rotation_degrees": 180, "brightness": 0.5},
    **{"contrast": 0.5, "saturation": 1, "hue": 0.5, "blur": 0.5, "noise": 0.5, "cutout": 0.5},
)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_batch(num_images: int, height: int, width: int, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (num_images, height, width, 3), dtype=np.uint8)
    labels = rng.choice(np.array([0, 1, 2, 7, 255], np.uint8), (num_images, height, width))
    return torch.from_numpy(images), torch.from_numpy(labels)


def smooth_batch(num_images: int, side: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images coloured by their labels: large blobs, label k in grey 40 * k."""
    rng = np.random.default_rng(3)
    labels = rng.integers(0, 6, (num_images, side // 16, side // 16), dtype=np.uint8).repeat(16, 1).repeat(16, 2)
    return torch.from_numpy(labels * 40)[..., None].repeat(1, 1, 1, 3), torch.from_numpy(labels)


def changed(policy: Augment, batch: tuple[torch.Tensor, torch.Tensor], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    images, labels = Augmenter(policy)(*batch, seeded(seed))
    assert (images.dtype, labels.dtype) == (torch.uint8, torch.uint8)
    assert images.shape == batch[0].shape and labels.shape == batch[1].shape
    assert images.is_contiguous()
    return images.numpy(), labels.numpy()


@pytest.mark.parametrize(("height", "width"), [(32, 32), (31, 48), (257, 64), (33, 1024)])
@pytest.mark.parametrize(
    ("policy", "axes"),
    [
        (Augment(flip_horizontal=1), (2,)),
        (Augment(flip_vertical=1), (1,)),
        (Augment(flip_horizontal=1, flip_vertical=1), (1, 2)),
    ],
)
def test_flips_are_exact(policy: Augment, axes: tuple[int, ...], height: int, width: int) -> None:
    batch = random_batch(3, height, width)
    images, labels = changed(policy, batch)
    np.testing.assert_array_equal(images, np.flip(batch[0].numpy(), axes))
    np.testing.assert_array_equal(labels, np.flip(batch[1].numpy(), axes))


def place_batch(num_images: int, height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images that say where each pixel lies: red is twice the column, green twice the row; labels are 0."""
    rows, columns = np.indices((height, width))
    image = np.stack([2 * columns, 2 * rows, 0 * rows], axis=-1).astype(np.uint8)
    return torch.from_numpy(image).repeat(num_images, 1, 1, 1), torch.zeros(
        num_images, height, width, dtype=torch.uint8
    )


def fitted(image: np.ndarray, label: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares map from a result's (column, row) to the place that its colours name: matrix (2, 2), offset (2)."""
    inside = np.pad(label == 255, 1, constant_values=True)
    inside = ~(inside[1:-1, 1:-1] | inside[:-2, 1:-1] | inside[2:, 1:-1] | inside[1:-1, :-2] | inside[1:-1, 2:])
    rows, columns = np.nonzero(inside)
    known = np.stack([columns, rows, np.ones_like(rows)], axis=1).astype(float)
    found, *_ = np.linalg.lstsq(known, image[rows, columns, :2] / 2, rcond=None)
    assert np.abs(known @ found - image[rows, columns, :2] / 2).max() < 0.5  # rounding of colours: a quarter
    return found[:2].T, found[2]


@pytest.mark.parametrize(("height", "width"), [(96, 96), (64, 112)])
def test_moved_images_are_zoomed_and_turned_within_bounds_and_never_sheared(height: int, width: int) -> None:
    policy = Augment(flip_horizontal=0.5, flip_vertical=0.5, scale=[0.8, 1.6], rotation_degrees=20)
    images, labels = changed(policy, place_batch(24, height, width))
    zooms, angles, flips = [], [], []
    for image, label in zip(images, labels, strict=True):
        matrix, offset = fitted(image, label)
        zoom = abs(np.linalg.det(matrix)) ** -0.5
        flip = np.sign([matrix[0, 0], matrix[1, 1]])
        turn = flip[:, None] * matrix * zoom
        np.testing.assert_allclose(turn @ turn.T, np.eye(2), atol=0.01)
        zooms.append(zoom)
        angles.append(np.degrees(np.arctan2(turn[1, 0], turn[0, 0])))
        flips.append(tuple(flip))
        rows, columns = np.indices(label.shape)
        at = np.stack([columns, rows], axis=-1) @ matrix.T + offset
        edge = np.array([width, height]) - 0.5
        beyond = np.maximum(-0.5 - at, at - edge).max(axis=-1)  # how far outside, in pixels
        assert (label[beyond > 0.1] == 255).all() and (label[beyond < -0.1] == 0).all()
        assert (image[beyond > 1.1] == MEAN).all()
    assert 0.79 < min(zooms) < 0.9 and 1.4 < max(zooms) < 1.61
    assert -20.2 < min(angles) < -10 and 10 < max(angles) < 20.2
    assert set(flips) == {(1, 1), (1, -1), (-1, 1), (-1, -1)}


def test_what_lies_outside_is_255_and_the_mean_colour() -> None:
    images, labels = random_batch(8, 64, 64)
    images, labels = changed(Augment(scale=[0.5, 0.5]), (images, labels.clamp(max=7)))
    for image, label in zip(images, labels, strict=True):
        inside = label != 255
        rows, columns = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
        assert 31 <= len(rows) <= 33 and 31 <= len(columns) <= 33  # half as large, somewhere inside
        assert inside[np.ix_(rows, columns)].all()
        far = np.ones_like(inside)
        far[max(rows[0] - 1, 0) : rows[-1] + 2, max(columns[0] - 1, 0) : columns[-1] + 2] = False
        assert (image[far] == MEAN).all()
    assert len({tuple(np.argwhere(label != 255)[0]) for label in labels}) > 4  # not all at one place


@pytest.mark.parametrize(
    "policy",
    [
        Augment(scale=[0.5, 2.0]),
        Augment(rotation_degrees=180),
        Augment(flip_horizontal=0.5, flip_vertical=0.5, scale=[0.7, 1.5], rotation_degrees=45),
        Augment(scale=[0.7, 1.5], cutout=1),
    ],
)
def test_images_and_labels_stay_aligned(policy: Augment) -> None:
    batch = smooth_batch(12, 96)
    images, labels = changed(policy, batch)
    same = np.ones_like(labels, dtype=bool)  # pixels whose neighbours two steps around have their label
    for down in range(-2, 3):
        for across in range(-2, 3):
            same &= np.roll(labels, (down, across), (1, 2)) == labels
    same[:, :2] = same[:, -2:] = same[:, :, :2] = same[:, :, -2:] = False
    assert (same & (labels != 255)).mean() > 0.2
    seen, hidden = same & (labels != 255), same & (labels == 255)
    assert (images[seen] == labels[seen][:, None] * 40).all()
    assert (images[hidden] == MEAN).all()


policies = st.builds(
    Augment,
    **dict.fromkeys(("flip_horizontal", "flip_vertical", "blur", "noise", "cutout"), st.floats(0, 1)),
    scale=st.tuples(st.floats(0.1, 10), st.floats(0.1, 10)).map(sorted),
    rotation_degrees=st.floats(0, 180),
    **dict.fromkeys(("brightness", "contrast"), st.floats(0, 0.99)),
    saturation=st.floats(0, 1),
    hue=st.floats(0, 0.5),
)


@settings(deadline=None, max_examples=60)
@given(policy=policies, seed=st.integers(0, 2**32), height=st.integers(1, 40), width=st.integers(1, 40))
def test_labels_are_those_of_the_image_or_255_whatever_is_done(
    policy: Augment, seed: int, height: int, width: int
) -> None:
    images, labels = random_batch(3, height, width, seed % 7)
    before = images.clone(), labels.clone()
    _, found = changed(policy, (images, labels), seed)
    for given_, result in zip(labels.numpy(), found, strict=True):
        assert set(np.unique(result)) <= set(np.unique(given_)) | {255}
    assert torch.equal(images, before[0]) and torch.equal(labels, before[1])  # what was given stays as it was


def test_same_generator_same_result_and_another_one_another() -> None:
    batch = random_batch(6, 48, 48)
    first, second, other = (changed(EVERYTHING, batch, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert not np.array_equal(first[0], other[0])


@pytest.mark.parametrize("policy", [EVERYTHING, Augment(scale=[0.5, 2]), Augment(noise=1), Augment(hue=0.5)])
def test_batches_one_after_the_other_are_changed_differently(policy: Augment) -> None:
    batch, generator = random_batch(4, 48, 48), seeded()
    first, second = (Augmenter(policy)(*batch, generator)[0] for _ in range(2))
    assert not torch.equal(first, second)
    if policy.noise == 1:  # not the same noise at another strength
        difference = [(result - batch[0].float()).flatten().numpy() for result in (first, second)]
        assert abs(np.corrcoef(difference)[0, 1]) < 0.2


def test_every_image_has_its_own_draw() -> None:
    images, labels = smooth_batch(1, 64)
    results, _ = changed(EVERYTHING, (images.repeat(16, 1, 1, 1), labels.repeat(16, 1, 1)))
    assert len({result.tobytes() for result in results}) == 16


def test_a_change_more_leaves_the_other_draws_as_they_were() -> None:
    batch = smooth_batch(8, 64)
    plain = Augment(scale=[0.7, 1.4], rotation_degrees=30)
    more = plain.model_copy(update={"noise": 1.0, "blur": 1.0, "brightness": 0.5})
    generators = seeded(1), seeded(1)
    (_, first), (_, second) = (Augmenter(p)(*batch, g) for p, g in zip((plain, more), generators, strict=True))
    assert torch.equal(first, second)
    assert torch.equal(generators[0].get_state(), generators[1].get_state())


def test_images_that_nothing_falls_to_stay_bit_for_bit() -> None:
    batch = random_batch(32, 32, 32)
    images, labels = changed(Augment(), batch)
    np.testing.assert_array_equal(images, batch[0])
    np.testing.assert_array_equal(labels, batch[1])
    images, labels = changed(Augment(flip_horizontal=0.5, cutout=0.3, blur=0.3), batch)
    still = [k for k in range(32) if np.array_equal(images[k], batch[0][k])]
    assert 4 < len(still) < 16  # 0.5 * 0.7 * 0.7 of 32 is 8
    np.testing.assert_array_equal(labels[still], batch[1].numpy()[still])


def test_what_changes_nothing_needs_no_augmenter() -> None:
    assert make_augmenter("none") is None
    assert make_augmenter(Augment()) is None
    assert make_augmenter(Augment(noise=0.1)) == Augmenter(Augment(noise=0.1))
    assert make_augmenter("strong") == Augmenter(AUGMENTATIONS.table["strong"])


def test_the_names_are_those_of_the_study_file() -> None:
    assert list(AUGMENTATIONS.table) == ["none", "light", "strong"]
    assert [parse_study(STUDY.format(name)).recipe.augment for name in AUGMENTATIONS.table] == list(AUGMENTATIONS.table)


def test_draws_keep_to_their_bounds_and_fill_them() -> None:
    draws = draw(Augment(flip_horizontal=0.25, scale=[0.5, 2], brightness=0.2), 20_000, 10, 10, seeded())
    zoom = 1 / draws.sight_n23[:, 1, 1]
    assert 0.5 <= zoom.min() < 0.501 and 1.998 < zoom.max() <= 2.001
    assert abs(float(zoom.log().mean())) < 0.01  # half and double are as likely
    assert abs(float((draws.sight_n23[:, 0, 0] < 0).float().mean()) - 0.25) < 0.01
    shift, room = draws.sight_n23[:, :, 2].abs(), (1 - 1 / zoom).abs()
    assert (shift <= room[:, None] + 1e-6).all() and float((shift / room[:, None]).max()) > 0.99
    assert abs(np.corrcoef((draws.sight_n23[:, :, 2] / room[:, None]).T.numpy())[0, 1]) < 0.03
    factor = draws.colour_n33.sum(dim=2)  # what white becomes
    torch.testing.assert_close(factor, factor[:, :1].expand(-1, 3))
    assert 0.8 <= factor.min() + 1e-6 < 0.802 and 1.198 < factor.max() <= 1.2 + 1e-6
    assert abs(float(factor.mean()) - 1) < 0.003
    assert not draws.blur_n.any() and not draws.noise_n.any() and not draws.cutout_n4.any()


def test_frequencies_and_strengths_are_as_said() -> None:
    draws = draw(Augment(blur=0.2, noise=0.4, cutout=0.6), 20_000, 100, 200, seeded())
    assert not draws.moved_n.any()
    for values, frequency, least, most in (
        (draws.blur_n, 0.2, 100 * BLUR_SHARES[0], 100 * BLUR_SHARES[1]),
        (draws.noise_n, 0.4, 255 * NOISE_SHARES[0], 255 * NOISE_SHARES[1]),
    ):
        there = values[values > 0]
        assert abs(len(there) / 20_000 - frequency) < 0.015
        assert least * 0.9999 <= there.min() < least * 1.05 and most * 0.98 < there.max() <= most * 1.0001
    top, bottom, left, right = draws.cutout_n4[draws.cutout_n4[:, 1] > 0].T
    assert abs(len(top) / 20_000 - 0.6) < 0.015
    for first, last, side in ((top, bottom, 100), (left, right, 200)):
        length = last - first
        assert length.min() == CUTOUT_SHARES[0] * side and length.max() == CUTOUT_SHARES[1] * side
        assert first.min() == 0 and last.max() == side
        assert abs(float((first + last).double().mean()) / 2 - side / 2) < side / 100


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation"])
def test_colours_change_as_pillow_changes_them(kind: str) -> None:
    images, labels = random_batch(6, 24, 24)
    images = images // 2 + 64  # so that nothing is cut off
    policy = Augment(**{kind: 0.4})
    results, _ = changed(policy, (images, labels))
    matrices = draw(policy, 6, 24, 24, seeded()).colour_n33
    for image, result, matrix in zip(images.numpy(), results, matrices, strict=True):
        factor = float((matrix.trace() - 1) / 2 if kind == "saturation" else matrix[0].sum())
        enhance = {"brightness": "Brightness", "contrast": "Contrast", "saturation": "Color"}[kind]
        expected = getattr(ImageEnhance, enhance)(Image.fromarray(image)).enhance(factor)
        assert abs(factor - 1) <= 0.4 and np.abs(result - np.asarray(expected, float)).max() <= 1.01


def test_hue_turns_colours_and_keeps_grey_and_luminance() -> None:
    images, labels = random_batch(32, 8, 8)
    images = images // 4 + 96
    images[:, 0] = 150
    results, _ = changed(Augment(hue=0.5), (images, labels))
    assert (results[:, 0] == 150).all()
    weights = np.array([0.299, 0.587, 0.114])
    assert np.abs(results @ weights - images.numpy() @ weights).max() < 0.6  # rounding
    axes = np.array([[0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])  # NTSC's I and Q
    before, turned = images.numpy()[:, 1:] @ axes.T, results[:, 1:] @ axes.T
    np.testing.assert_allclose(np.hypot(*turned.T), np.hypot(*before.T), atol=1)
    along = (turned * before).sum(axis=(1, 2, 3)) / (before**2).sum(axis=(1, 2, 3))  # cosine of the angle
    assert along.min() < -0.9 and along.max() > 0.9  # from hardly at all to the opposite colour


def test_contrast_stretches_about_the_mean_that_brightness_left() -> None:
    images, labels = torch.full((200, 4, 4, 3), 100, dtype=torch.uint8), torch.zeros(200, 4, 4, dtype=torch.uint8)
    results, _ = changed(Augment(brightness=0.2, contrast=0.9), (images, labels))
    assert (results == results[:, :1, :1, :1]).all()
    assert 80 <= results.min() < 83 and 117 < results.max() <= 120


def test_blur_is_scipys() -> None:
    images = torch.from_numpy(np.random.default_rng(0).uniform(0, 255, (4, 3, 30, 41)).astype(np.float32))
    sigma = torch.tensor([0.3, 0.7, 1.1, 1.5])
    expected = [
        ndimage.gaussian_filter(image, (0, float(s), float(s)), mode="nearest", radius=(0, 5, 5))
        for image, s in zip(images.numpy(), sigma, strict=True)
    ]
    np.testing.assert_allclose(gaussian_blur(images, sigma).numpy(), np.stack(expected), atol=1e-3)


def test_noise_has_the_drawn_strength_and_no_mean() -> None:
    images, labels = torch.full((8, 64, 64, 3), 128, dtype=torch.uint8), torch.zeros(8, 64, 64, dtype=torch.uint8)
    results, found = changed(Augment(noise=1), (images, labels))
    strength = draw(Augment(noise=1), 8, 64, 64, seeded()).noise_n.numpy()
    spread = (results - 128.0).std(axis=(1, 2, 3))
    np.testing.assert_allclose(spread, np.sqrt(strength**2 + 1 / 12), rtol=0.03)  # and the rounding's own
    assert np.abs((results - 128.0).mean(axis=(1, 2, 3))).max() < 0.3
    np.testing.assert_array_equal(found, labels)


def test_cutout_hides_one_rectangle_and_nothing_else() -> None:
    images, labels = random_batch(12, 50, 80)
    labels = labels.clamp(max=7)
    results, found = changed(Augment(cutout=1), (images, labels))
    for image, label, result, seen in zip(images.numpy(), labels.numpy(), results, found, strict=True):
        rows, columns = np.nonzero(seen == 255)
        inside = np.zeros_like(seen, dtype=bool)
        inside[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1] = True
        assert 5 <= np.ptp(rows) + 1 <= 15 and 8 <= np.ptp(columns) + 1 <= 24
        assert (seen[inside] == 255).all() and (result[inside] == MEAN).all()
        np.testing.assert_array_equal(seen[~inside], label[~inside])
        np.testing.assert_array_equal(result[~inside], image[~inside])


def test_epochs_and_seeds_have_their_own_draws() -> None:
    states = {epoch_generator(seed, epoch).initial_seed() for seed in range(4) for epoch in range(25)}
    assert len(states) == 100
    assert epoch_generator(3, 7).initial_seed() == epoch_generator(3, 7).initial_seed()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_gpu_makes_the_same_changes() -> None:
    images, labels = smooth_batch(8, 64)
    on_cpu = Augmenter(EVERYTHING)(images, labels, seeded())
    on_gpu = Augmenter(EVERYTHING)(images.cuda(), labels.cuda(), seeded())
    assert (on_gpu[1].cpu() != on_cpu[1]).float().mean() < 1e-3
    assert (on_gpu[0].cpu().int() - on_cpu[0].int()).abs().float().mean() < 0.05


STUDY = """\
name: x
data: {{a: {{reader: kvasir, root: r}}}}
recipe:
  augment: {}
experiments: {{u: {{data: a, model: {{arch: unet}}}}}}
"""
WRONG = {
    "{flip_horizontal: 2}": "study:4: recipe.augment.flip_horizontal: should be less than or equal to 1 (given: 2)",
    "{flip_horizontl: 1}": "study:4: recipe.augment.flip_horizontl: unknown key (did you mean 'flip_horizontal'?)",
    "{scale: [2, 1]}": (
        "study:4: recipe.augment: scale [2.0, 1.0] must be [least, most] with 0.1 <= least <= most <= 10"
    ),
    "{scale: [1]}": "study:4: recipe.augment.scale: must hold at least 2 values (given: [1])",
    "{scale: [1, 2, 3]}": "study:4: recipe.augment.scale: must hold at most 2 values (given: [1, 2, 3])",
    "{scale: 2}": "study:4: recipe.augment.scale: must be a list, as in [1, 2] (given: 2)",
    "{hue: 1}": "study:4: recipe.augment.hue: should be less than or equal to 0.5 (given: 1)",
    "{noise: true}": "study:4: recipe.augment.noise: should be a valid number (given: True)",
    "ligt": "study:4: recipe.augment: is 'ligt', must be 'none', 'light' or 'strong' (did you mean 'light'?)",
}


@pytest.mark.parametrize("given_", WRONG)
def test_wrong_values_are_named_with_line_and_key(given_: str) -> None:
    with pytest.raises(SpecError) as raised:
        parse_study(STUDY.format(given_))
    assert str(raised.value).startswith(WRONG[given_])


def test_overlay_leaves_black_classes_and_stripes_what_is_ignored() -> None:
    image = Image.new("RGB", (60, 20), (100, 100, 100))
    labels = np.repeat(np.array([[0, 1, 255]], np.uint8), 20, axis=0).repeat(20, axis=1)
    laid = np.asarray(overlay(image, labels, [(0, 0, 0), (200, 0, 50)]))
    assert (laid[:, :20] == 100).all()
    assert (laid[:, 20:40] == (150, 50, 75)).all()
    assert len(np.unique(laid[:, 40:])) == 2


def test_sheet_shows_originals_first_then_draws(tmp_path: Path) -> None:
    dataset = folder.read("road", fake_camvid(tmp_path, size=(64, 48)), folder.Options(num_classes=12))
    samples = dataset.samples("train")[:2]
    sheet = augment_sheet(dataset, samples, Recipe(input_size=64, augment="strong"), num_draws=3)
    again = augment_sheet(dataset, samples, Recipe(input_size=64, augment="strong"), num_draws=3)
    still = augment_sheet(dataset, samples, Recipe(input_size=64), num_draws=3)
    assert sheet.width == 4 * 180 + 4 and sheet.height > 4 * 180
    assert sheet.tobytes() == again.tobytes()
    cells = [np.asarray(s)[-180 * 4 :].reshape(4, 180, s.width, 3)[:, :176] for s in (sheet, still)]
    drawn, plain = ([cell[:, :, 4 + 180 * k : 180 + 180 * k] for k in range(4)] for cell in cells)
    np.testing.assert_array_equal(drawn[0], plain[0])
    for k in range(1, 4):
        np.testing.assert_array_equal(plain[k], plain[0])
        assert not np.array_equal(drawn[k], drawn[0]) and not np.array_equal(drawn[k], drawn[k % 3 + 1])


def test_sheet_of_crops_shows_the_middle_of_full_size_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for name, (height, width) in {"large": (80, 120), "small": (20, 48)}.items():
        save(tmp_path / "images" / f"{name}.png", rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        save(tmp_path / "masks" / f"{name}.png", np.ones((height, width), np.uint8))
    dataset = folder.read("road", tmp_path, folder.Options(num_classes=2))
    sample = {sample.id: sample for sample in dataset.samples("all")}
    sheet = augment_sheet(dataset, [sample["large"], sample["small"]], Recipe(crop_px=32), num_draws=1)
    large, small = (np.asarray(sheet.crop((4, sheet.height - y, 180, sheet.height - y + 176))) for y in (720, 360))
    expected = Image.open(sample["large"].image).crop((44, 24, 76, 56)).resize((176, 176), Image.Resampling.LANCZOS)
    np.testing.assert_array_equal(large, np.asarray(expected))
    assert (small[130:] == MEAN).all() and not (small[:100] == MEAN).all(axis=-1).any()
