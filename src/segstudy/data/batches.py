"""Batches from cached arrays: which images, in which order, and as tensors on the device.

Array letters: ``n`` image of the batch, ``c`` colour channel, ``h`` height, ``w`` width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    companion from the batch before it; every image still comes exactly once.

    >>> [len(part) for part in divide_order(np.arange(9), 4)]
    [4, 3, 2]
    """
    cuts = list(range(batch_size, len(order), batch_size))
    if cuts and len(order) - cuts[-1] == 1 and batch_size > 2:
        cuts[-1] -= 1
    return np.split(order, cuts)


def normalise(images_nhwc: Tensor) -> Tensor:
    """``uint8`` RGB (n, h, w, 3) -> float32 (n, 3, h, w) with ImageNet's mean and standard deviation.

    The result keeps the colour channel innermost in memory (channels_last), which convolutions prefer.
    """
    images = images_nhwc.permute(0, 3, 1, 2).to(torch.float32)
    mean = torch.tensor(IMAGENET_MEAN, device=images.device).view(1, 3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=images.device).view(1, 3, 1, 1) * 255
    return images.sub_(mean).div_(std)


def batches(
    data: CachedSplit, parts: Sequence[NDArray[np.intp]], device: torch.device
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images float32 (n, 3, h, w), labels int64 (n, h, w)) on ``device`` for each part of the order."""
    for part in parts:
        images = torch.from_numpy(data.images_nhwc[part]).to(device)
        labels = torch.from_numpy(data.labels_nhw[part]).to(device)
        yield normalise(images), labels.long()
