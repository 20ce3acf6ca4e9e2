"""Batches from cached arrays: which images, in which order, and as tensors on the device.

Array letters: ``n`` image of the batch, ``c`` colour channel, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segstudy.data.cache import CachedSplit

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def epoch_order(count: int, seed: int, epoch: int) -> NDArray[np.intp]:
    """The order of ``count`` images in one epoch: a function of seed and epoch alone, so a resumed run goes on alike."""
    return np.random.default_rng([seed, epoch]).permutation(count)


def divide_order(order: NDArray[np.intp], batch_size: int) -> list[NDArray[np.intp]]:
    """Cut an order into batches, none of them of one image if that can be helped.

    Batch normalisation after DeepLabV3's image pooling needs two images, so a single left-over image takes a
    companion from the batch before it, or joins it if that has but two; every image still comes exactly once.

    >>> [len(part) for part in divide_order(np.arange(9), 4)]
    [4, 3, 2]
    """
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and len(order) - cuts[-1] == 1:
        if batch_size > 2:
            cuts[-1] -= 1
        elif batch_size == 2:
            cuts.pop()
    return np.split(order, cuts)


def normalise(images_nhwc: Tensor) -> Tensor:
    """``uint8`` RGB (n, h, w, 3) -> float32 (n, 3, h, w) with ImageNet's mean and standard deviation.

    The result keeps the colour channel innermost in memory (channels_last), which convolutions prefer.
    """
    images = images_nhwc.permute(0, 3, 1, 2).to(torch.float32)
    mean, std = _statistics(images.device)
    return images.sub_(mean).div_(std)


@functools.cache
def _statistics(device: torch.device) -> tuple[Tensor, Tensor]:
    """ImageNet's mean and standard deviation of 0-255 values, copied to the device once."""
    mean, std = torch.tensor([IMAGENET_MEAN, IMAGENET_STD]).view(2, 1, 3, 1, 1) * 255
    return mean.to(device), std.to(device)


def batches(data: CachedSplit, parts: Sequence[NDArray[np.intp]]) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images (n, h, w, 3), labels (n, h, w)), ``uint8`` in the host's memory, for each part of the order.

    The next batch is read while the present one is worked on.
    """

    def read(part: NDArray[np.intp]) -> tuple[Tensor, Tensor]:
        images, labels = torch.from_numpy(data.images_nhwc[part]), torch.from_numpy(data.labels_nhw[part])
        return (images.pin_memory(), labels.pin_memory()) if torch.cuda.is_available() else (images, labels)

    with ThreadPoolExecutor(1) as reader:
        coming = [reader.submit(read, part) for part in parts[:1]]
        for part in [*parts[1:], None]:
            batch = coming.pop().result()
            if part is not None:
                coming.append(reader.submit(read, part))
            yield batch


def to_device(images_nhwc: Tensor, labels_nhw: Tensor, device: torch.device) -> tuple[Tensor, Tensor]:
    """Images as normalised float32 (n, 3, h, w) and labels as int64 (n, h, w), on ``device``."""
    return normalise(images_nhwc.to(device, non_blocking=True)), labels_nhw.to(device, non_blocking=True).long()
