"""Batches from cached arrays: which images, in which order, whole or cropped, and as tensors on the device.

What a batch holds follows from seed and epoch alone, so a run that was stopped goes on alike, wherever its arrays lie.

Array letters: ``n`` image of the batch, ``c`` colour channel, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.packed import Pieces, Rows
from segstudy.data.core import IGNORE
from segstudy.errors import SpecError
from segstudy.sizes import Size, height_width

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
MEAN_COLOUR = tuple(round(255 * value) for value in IMAGENET_MEAN)
# Training images may take this share of the GPU's free memory: what a step needs is unknown before the first one.
RESIDENT_SHARE = 0.25
COPIED_AT_ONCE = 64  # images

Part = NDArray[np.intp]
# Images (n, h, w, 3) and labels (n, h, w) at the indices of a part, both ``uint8``, in the host's memory or on a device.
Source = Callable[[Part], tuple[Tensor, Tensor]]
# What augmentation does to such a pair.
Change = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Shard(NamedTuple):
    """Which of several processes this one is (``rank``, from 0), of how many.

    ``synchronised``: batch statistics are those of all processes' images, so a process may be without an image.
    """

    rank: int = 0
    processes: int = 1
    synchronised: bool = False

    @property
    def least(self) -> int:
        """Images that a batch must have where that can be had: batch normalisation needs two."""
        return 2 if self.synchronised else 2 * self.processes


UNSHARDED = Shard()


def epoch_order(count: int, seed: int, epoch: int) -> Part:
    """The order of ``count`` images in one epoch: a function of seed and epoch alone, so a resumed run goes on alike."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def drawn_order(shares_n: NDArray[np.float64], seed: int, epoch: int) -> Part:
    """As many images as there are, drawn with replacement with these probabilities; a function of seed and epoch."""
    return np.random.default_rng([seed, epoch, 3]).choice(len(shares_n), len(shares_n), p=shares_n)


def divide_order(order: Part, batch_size: int, least: int = 2) -> list[Part]:
    """Cut an order into batches, none of them of less than ``least`` images if that can be helped.

    Batch normalisation after DeepLabV3's image pooling needs two images, so a left-over batch that is too small takes
    companions from the batch before it, or joins it if that has none to spare; every image still comes exactly once.

    >>> [len(part) for part in divide_order(np.arange(9), 4)]
    [4, 3, 2]
    """
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and (lacking := least - (len(order) - cuts[-1])) > 0:
        if batch_size - lacking >= least:
            cuts[-1] -= lacking
        elif batch_size > 1:
            cuts.pop()
    return np.split(order, cuts)


def shards_of(parts: Sequence[Part], shard: Shard) -> list[Part]:
    """One process's piece of every batch: all take the same number of steps, and together see every image once.

    Raises
    ------
    SpecError
        When a batch has fewer images than there are processes, each of which normalises its own.

    >>> [part.tolist() for part in shards_of([np.arange(5), np.arange(5, 9)], Shard(1, 2))]
    [[3, 4], [7, 8]]
    """
    if (smallest := min(map(len, parts))) < shard.processes and not shard.synchronised:
        raise SpecError(
            f"a batch of {smallest} images cannot be divided among {shard.processes} processes; raise recipe.batch_size, or "
            "use fewer processes, or set recipe.sync_batch_norm: true"
        )
    return [np.array_split(part, shard.processes)[shard.rank] for part in parts]


def stored(data: CachedSplit) -> Source:
    """Images as they are cached, read from the disk; those of different sizes, one at a time."""

    def read(part: Part) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(data.images_nhwc[part]), torch.from_numpy(data.labels_nhw[part])

    return read


def resident_budget(device: torch.device) -> int:
    """Bytes of a device's own memory that images may take: a quarter of what is free on a GPU, nothing elsewhere."""
    return int(RESIDENT_SHARE * torch.cuda.mem_get_info(device)[0]) if device.type == "cuda" else 0


def resident(data: CachedSplit, device: torch.device, budget: int) -> Source | None:
    """Resized images copied to ``device`` once, if they take no more than ``budget`` bytes; else None.

    Batches are the same as those of :func:`stored`.
    """
    images, labels = data.images_nhwc, data.labels_nhw
    if isinstance(images, Pieces) or isinstance(labels, Pieces) or images.num_bytes + labels.num_bytes > budget:
        return None
    images_there, labels_there = _copied(images, device), _copied(labels, device)

    def read(part: Part) -> tuple[Tensor, Tensor]:
        at = torch.from_numpy(part).to(device)
        return images_there[at], labels_there[at]

    return read


def _copied(rows: Rows, device: torch.device) -> Tensor:
    whole = torch.empty(rows.shape, dtype=torch.uint8, device=device)
    for part in np.array_split(np.arange(len(whole)), -(-len(whole) // COPIED_AT_ONCE)):
        whole[part[0] : part[-1] + 1] = torch.from_numpy(rows[part]).to(device)
    return whole


def crops(data: CachedSplit, crop_px: Size, seed: int, epoch: int) -> Source:
    """Random crops of full-size images; where each lies follows from seed, epoch and image alone.

    An image that is smaller than the crop is seen whole, with ImageNet's mean colour to its right and below, labels 255.
    """
    images, labels = data.images_nhwc, data.labels_nhw
    assert isinstance(images, Pieces) and isinstance(labels, Pieces)

    def read(part: Part) -> tuple[Tensor, Tensor]:
        cut = np.full((len(part), *height_width(crop_px), 3), MEAN_COLOUR, np.uint8)
        cut_labels = np.full((len(part), *height_width(crop_px)), IGNORE, np.uint8)
        for at, index in enumerate(map(int, part)):
            # 1 stands for augmentation in this place (segstudy.data.augment)
            window = crop_window(*images.size(index), crop_px, np.random.default_rng([seed, epoch, 2, index]))
            cut[at, : window.height, : window.width] = images.window(index, *window)
            cut_labels[at, : window.height, : window.width] = labels.window(index, *window)
        return torch.from_numpy(cut), torch.from_numpy(cut_labels)

    return read


class Window(NamedTuple):
    """Part of an image, pixels."""

    top: int
    left: int
    height: int
    width: int


def crop_window(height: int, width: int, crop_px: Size, rng: np.random.Generator) -> Window:
    """A part of ``crop_px`` anywhere in an image, every place as likely; of a smaller image, all there is."""
    sides = list(zip((height, width), height_width(crop_px), strict=True))
    top, left = (int(rng.integers(max(side - cut, 0) + 1)) for side, cut in sides)
    return Window(top, left, *(min(side, cut) for side, cut in sides))


class Feed:
    """A run's training batches.

    Resized images lie on the device where they fit there; crops are cut again in every epoch. ``shares_n`` are probabilities
    of images, for epochs that draw them with replacement.
    """

    def __init__(
        self,
        data: CachedSplit,
        batch_size: int,
        crop_px: Size | None,
        seed: int,
        device: torch.device,
        shard: Shard = UNSHARDED,
        shares_n: NDArray[np.float64] | None = None,
    ) -> None:
        self.data, self.batch_size, self.crop_px, self.seed = data, batch_size, crop_px, seed
        self.device, self.shard, self.shares_n = device, shard, shares_n
        self._resident = resident(data, device, resident_budget(device))

    def epoch(
        self, epoch: int, change: Change | None = None, skip: int = 0, most: int | None = None
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Every image once, in the epoch's own order, as :func:`batches` gives them; of several processes, one's shard.

        The first ``skip`` batches, which an interrupted epoch has done already, are left out, as are all after ``most``.
        """
        if self.shares_n is None:
            order = epoch_order(len(self.data), self.seed, epoch)
        else:
            order = drawn_order(self.shares_n, self.seed, epoch)
        parts = shards_of(divide_order(order, self.batch_size, self.shard.least), self.shard)
        if self.crop_px is not None:
            source = crops(self.data, self.crop_px, self.seed, epoch)
        else:
            source = self._resident or stored(self.data)
        return batches(source, parts[skip:most], self.device, change)

    @property
    def resident_bytes(self) -> int:
        """Memory of the device that images take."""
        rows = (self.data.images_nhwc, self.data.labels_nhw) if self._resident else ()
        return sum(array.num_bytes for array in rows if isinstance(array, Rows))


def batches(
    source: Source, parts: Sequence[Part], device: torch.device, change: Change | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield what a training step takes, for each part of the order.

    Images are normalised float32 (n, 3, h, w), labels int64 (n, h, w), both on ``device``. ``change`` is what augmentation
    does in between. The next batch is made while the present one is worked on, one after the other, so that random draws
    come in the order of the parts.
    """

    def make(part: Part) -> tuple[Tensor, Tensor]:
        images, labels = source(part)
        if device.type == "cuda" and images.device.type == "cpu":
            images, labels = images.pin_memory(), labels.pin_memory()
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        if change is not None:
            images, labels = change(images, labels)
        return normalise(images), _targets(labels)

    with ThreadPoolExecutor(1) as maker:
        coming: deque[Future[tuple[Tensor, Tensor]]] = deque()
        for part in parts:
            coming.append(maker.submit(make, part))
            if len(coming) == 2:
                yield coming.popleft().result()
        while coming:
            yield coming.popleft().result()


def normalise(images_nhwc: Tensor) -> Tensor:
    """``uint8`` RGB (n, h, w, 3) -> float32 (n, 3, h, w) with ImageNet's mean and standard deviation.

    The result keeps the colour channel innermost in memory (channels_last), which convolutions prefer.
    """
    if images_nhwc.device.type == "cpu":
        # One of 256 values is looked up, not computed: one pass instead of three. OpenCV divides larger arrays than
        # these blocks among threads, which the training step needs more.
        n, h, w, _ = images_nhwc.shape
        lines, values = images_nhwc.numpy().reshape(n * h, w, 3), np.empty((n * h, w, 3), np.float32)
        block = max((2**18 - 1) // w, 1)
        for top in range(0, n * h, block):
            cv2.LUT(lines[top : top + block], _table(), dst=values[top : top + block])
        return torch.from_numpy(values.reshape(n, h, w, 3)).permute(0, 3, 1, 2)
    mean, std = _statistics(images_nhwc.device)
    return images_nhwc.permute(0, 3, 1, 2).to(torch.float32).sub_(mean).div_(std)


@functools.cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and standard deviation of 0-255 values, copied to the device once."""
    mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD]).view(2, 1, 3, 1, 1) * 255
    return mean.to(device), std.to(device)


@functools.cache
def _table() -> NDArray[np.float32]:
    """What each value 0-255 of each channel is normalised to, (1, 256, 3)."""
    mean, std = _statistics(torch.device("cpu"))
    values = torch.arange(256, dtype=torch.float32).view(1, 1, 1, 256)
    table: NDArray[np.float32] = ((values - mean) / std)[0].permute(1, 2, 0).contiguous().numpy()
    return table


def _targets(labels_nhw: Tensor) -> Tensor:
    """Labels as losses take them; NumPy's conversion, as torch's wakes all threads of the training step for it."""
    if labels_nhw.device.type == "cpu":
        return torch.from_numpy(labels_nhw.numpy().astype(np.int64))
    return labels_nhw.long()
