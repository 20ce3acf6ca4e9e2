"""Batches: which images, in which order, cropped and normalised; the same wherever they lie and however many shard them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from test_cache import SIZES, dataset_at

from segstudy.data.augment import epoch_generator, make_augmenter
from segstudy.data.cache.arrays import CachedSplit, open_cache
from segstudy.data.cache.batches import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    Feed,
    Shard,
    batches,
    crop_window,
    crops,
    divide_order,
    epoch_order,
    normalise,
    resident,
    resident_budget,
    shards_of,
    stored,
)
from segstudy.errors import SpecError
from segstudy.progress import Progress
from segstudy.store import Store

CPU = torch.device("cpu")


def split_at(folder: Path, size: int | None) -> CachedSplit:
    return open_cache(dataset_at(folder / "data"), "train", size, Store(folder / "out"), Progress(Console(quiet=True)))


def test_batches_hold_every_image_once_and_never_one_alone() -> None:
    for count in range(2, 40):
        for size in range(2, 9):
            parts = divide_order(epoch_order(count, 1, 0), size)
            assert sorted(np.concatenate(parts).tolist()) == list(range(count))
            assert max(map(len, parts)) <= max(size, 3)
            assert min(map(len, parts)) > 1


def test_order_follows_from_seed_and_epoch() -> None:
    assert epoch_order(50, 3, 4).tolist() == epoch_order(50, 3, 4).tolist()
    assert epoch_order(50, 3, 4).tolist() != epoch_order(50, 3, 5).tolist()
    assert epoch_order(50, 3, 4).tolist() != epoch_order(50, 4, 4).tolist()


@pytest.mark.parametrize("processes", [1, 2, 3, 4])
def test_processes_take_equal_steps_and_together_every_image_once(processes: int) -> None:
    """Whatever the number of images, from one batch a process upwards; none is alone where two a process are there."""
    for count in range(2 * processes, 60):
        for size in range(2 * processes, 20):
            parts = divide_order(epoch_order(count, 7, 1), size, Shard(0, processes).least)
            each = [shards_of(parts, Shard(rank, processes)) for rank in range(processes)]
            assert len({len(steps) for steps in each}) == 1
            assert sorted(np.concatenate([np.concatenate(steps) for steps in each]).tolist()) == list(range(count))
            assert min(len(step) for steps in each for step in steps) >= 2


def test_batches_too_small_to_be_shared_are_an_error() -> None:
    with pytest.raises(
        SpecError, match=r"a batch of 2 images cannot be divided among 3 processes; raise recipe\.batch_size"
    ):
        shards_of([np.arange(8), np.arange(2)], Shard(0, 3))


def test_normalisation_is_the_reviews() -> None:
    image = torch.tensor([[[[0, 128, 255]]]], dtype=torch.uint8)
    red, green, blue = normalise(image)[0, :, 0, 0].tolist()
    assert red == pytest.approx((0 / 255 - 0.485) / 0.229, abs=1e-6)
    assert green == pytest.approx((128 / 255 - 0.456) / 0.224, abs=1e-6)
    assert blue == pytest.approx((255 / 255 - 0.406) / 0.225, abs=1e-6)


@pytest.mark.parametrize("shape", [(3, 37, 5, 3), (1, 700, 500, 3), (1, 2, 300_000, 3)])
def test_looking_up_is_bit_for_bit_subtracting_and_dividing(shape: tuple[int, ...]) -> None:
    """Also where the image is looked up in several blocks. What a GPU computes is the formula on the right."""
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(1))
    mean, std = torch.tensor(IMAGENET_MEAN) * 255, torch.tensor(IMAGENET_STD) * 255
    expected = ((images.float() - mean) / std).permute(0, 3, 1, 2)
    found = normalise(images)
    assert torch.equal(found, expected)
    assert found.is_contiguous(memory_format=torch.channels_last)


def test_batches_give_the_cached_arrays(tmp_path: Path) -> None:
    cached = split_at(tmp_path, 16)
    feed = list(batches(stored(cached), [np.array([4, 1, 0]), np.array([2, 3])], CPU))
    assert [len(images) for images, _ in feed] == [3, 2]
    images, labels = feed[0]
    assert torch.equal(images[1], normalise(torch.from_numpy(cached.images_nhwc[np.array([1])]))[0])
    assert labels.dtype == torch.int64
    assert labels[2].tolist() == cached.labels_nhw[np.array([0])][0].tolist()
    assert list(batches(stored(cached), [], CPU)) == []


def test_images_that_lie_on_the_device_give_the_same_batches(tmp_path: Path) -> None:
    cached = split_at(tmp_path, 16)
    room = 5 * 16 * 16 * 4
    assert resident(cached, CPU, room - 1) is None
    on_device = resident(cached, CPU, room)
    assert on_device is not None
    parts = divide_order(epoch_order(5, 0, 0), 2)
    for (images, labels), (others, other_labels) in zip(
        batches(stored(cached), parts, CPU), batches(on_device, parts, CPU), strict=True
    ):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)


def test_only_a_gpu_is_given_images_to_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    assert resident_budget(CPU) == 0
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (8_000_000_000, 16_000_000_000))
    assert resident_budget(torch.device("cuda")) == 2_000_000_000


def test_an_epoch_is_the_same_wherever_images_lie(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The feed takes what fits on the device, says how much, and trains on the same batches."""
    cached = split_at(tmp_path, 16)
    plain = Feed(cached, 2, None, 3, CPU)
    assert plain.resident_bytes == 0
    monkeypatch.setattr("segstudy.data.cache.batches.resident_budget", lambda _: 10**6)
    kept = Feed(cached, 2, None, 3, CPU)
    assert kept.resident_bytes == 5 * 16 * 16 * 4
    for (images, _), (others, _) in zip(plain.epoch(4), kept.epoch(4), strict=True):
        assert torch.equal(images, others)


def epoch_of(folder: Path, epoch: int, *, seed: int = 3) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Augmented crops of one epoch, as training makes them."""
    augmenter = make_augmenter("strong")
    assert augmenter is not None
    feed = Feed(split_at(folder, None), 4, 32, seed, CPU)
    return list(feed.epoch(epoch, partial(augmenter, generator=epoch_generator(seed, epoch))))


def test_order_crops_and_augmentation_follow_from_seed_and_epoch(tmp_path: Path) -> None:
    first, again = epoch_of(tmp_path, 5), epoch_of(tmp_path, 5)
    assert [images.shape for images, _ in first] == [(3, 3, 32, 32), (2, 3, 32, 32)]
    for (images, labels), (others, other_labels) in zip(first, again, strict=True):
        assert torch.equal(images, others)
        assert torch.equal(labels, other_labels)
    assert not torch.equal(first[0][0], epoch_of(tmp_path, 6)[0][0])
    assert not torch.equal(first[0][0], epoch_of(tmp_path, 5, seed=4)[0][0])


def test_crops_are_parts_of_their_images_padded_below_and_to_the_right(tmp_path: Path) -> None:
    cached = split_at(tmp_path, None)
    images, labels = crops(cached, 40, seed=1, epoch=2)(np.array([2, 1, 3]))
    for image, mask, index in zip(images.numpy(), labels.numpy(), (2, 1, 3), strict=True):
        width, height = SIZES[index]
        seen_height, seen_width = min(height, 40), min(width, 40)
        assert (image[seen_height:] == (124, 116, 104)).all()  # 255 x ImageNet's mean, rounded
        assert (image[:, seen_width:] == (124, 116, 104)).all()
        assert (mask[seen_height:] == 255).all()
        assert (mask[:, seen_width:] == 255).all()
        whole, whole_mask = cached.images_nhwc[np.array([index])][0], cached.labels_nhw[np.array([index])][0]
        places = [
            (top, left)
            for top in range(height - seen_height + 1)
            for left in range(width - seen_width + 1)
            if np.array_equal(
                whole[top : top + seen_height, left : left + seen_width], image[:seen_height, :seen_width]
            )
        ]
        ((top, left),) = places
        assert np.array_equal(
            whole_mask[top : top + seen_height, left : left + seen_width], mask[:seen_height, :seen_width]
        )


def test_where_a_crop_lies_does_not_depend_on_the_batch_that_it_is_in(tmp_path: Path) -> None:
    read = crops(split_at(tmp_path, None), 20, seed=1, epoch=2)
    together, alone = read(np.array([4, 0, 2]))[0], read(np.array([2]))[0]
    assert torch.equal(together[2], alone[0])
    assert not torch.equal(alone, crops(split_at(tmp_path, None), 20, seed=1, epoch=3)(np.array([2]))[0])


def test_every_place_of_a_crop_is_as_likely() -> None:
    """A crop of 3 in 4 x 5 pixels has 2 x 3 places; of 6,000 draws each has 1,000, give or take 5 standard deviations."""
    rng = np.random.default_rng(0)
    found = [crop_window(4, 5, 3, rng) for _ in range(6000)]
    counts = {place: found.count(place) for place in set(found)}
    assert set(counts) == {(top, left, 3, 3) for top in range(2) for left in range(3)}
    assert all(abs(count - 1000) < 5 * (6000 / 6 * 5 / 6) ** 0.5 for count in counts.values())


def test_processes_share_one_epochs_crops(tmp_path: Path) -> None:
    """Two processes together see the batches that one would."""
    cached = split_at(tmp_path, None)
    whole = list(Feed(cached, 4, 32, 3, CPU, Shard(0, 1)).epoch(0))
    halves = [list(Feed(cached, 4, 32, 3, CPU, Shard(rank, 2)).epoch(0)) for rank in range(2)]
    one = torch.cat([images for images, _ in whole])
    assert sorted(image.sum().item() for image in one) == pytest.approx(
        sorted(image.sum().item() for steps in halves for images, _ in steps for image in images)
    )
