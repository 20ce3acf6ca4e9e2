"""A network on a split of a dataset, to counts: additive integers per image, from which every score follows.

Array letters: ``n`` image, ``c`` class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from segstudy.data.batches import batches, to_device
from segstudy.data.cache import CachedSplit
from segstudy.data.core import IGNORE, Dataset, Labels
from segstudy.errors import SpecError, listing, nearest
from segstudy.measures import Confusion
from segstudy.models import predict_logits
from segstudy.progress import Progress

EVALUATION_BATCH = 16


def class_table(source: tuple[str, ...], target: tuple[str, ...], mapping: Mapping[str, str]) -> NDArray[np.int64]:
    """Which target class each source class means: by ``mapping``, else by equal name.

    Raises
    ------
    SpecError
        For names that neither dataset has, and for a source class that means nothing there.

    Examples
    --------
    >>> class_table(("background", "polyp"), ("background", "person"), {"polyp": "person"}).tolist()
    [0, 1]

    """
    for name in mapping:
        if name not in source:
            raise SpecError(
                f"map: the network has no class '{name}'{nearest(name, source)}; it has {listing(source, 20)}"
            )
    for name in mapping.values():
        if name not in target:
            raise SpecError(
                f"map: the dataset has no class '{name}'{nearest(name, target)}; it has {listing(target, 20)}"
            )
    unmapped = [name for name in source if name not in mapping and name not in target]
    if unmapped:
        raise SpecError(f"map: say which class of {listing(target, 20)} is meant by {listing(unmapped, 20)}")
    return np.array([target.index(mapping.get(name, name)) for name in source])


def count_split(
    network: nn.Module,
    data: CachedSplit,
    device: torch.device,
    resolution: Literal["input", "native"],
    table: NDArray[np.int64] | None = None,
    predictions: Path | None = None,
    progress: Progress | None = None,
) -> Confusion:
    """Predict a split image by image and count pixels; nothing but counts is kept.

    Parameters
    ----------
    network
        Gives logits at the size of its input.
    data
        The split, at input size.
    device
        Where the network lies.
    resolution
        ``input``: score the cached labels at input size. ``native``: bring logits to each image's own size
        (bilinear) and score the mask as it is on disk.
    table
        From :func:`class_table`, when the dataset is not the one that was trained on.
    predictions
        Folder for predicted masks as palette PNGs, at the size that is scored.
    progress
        Moved on by the number of images.

    Returns
    -------
    ndarray
        ``int64`` (n, c, c): for each image rows of true and columns of predicted classes, ignored pixels left out.

    """
    parts = np.split(np.arange(len(data)), range(EVALUATION_BATCH, len(data), EVALUATION_BATCH))
    num_classes = len(data.dataset.classes)
    lookup = None if table is None else torch.from_numpy(table).to(device)
    counts: list[Confusion] = []
    network.eval()
    with torch.inference_mode(), ThreadPoolExecutor(2) as pool:
        for part, (images, labels) in zip(parts, batches(data, parts), strict=True):
            images, labels = to_device(images, labels, device)
            logits = predict_logits(network, images)
            truths, predicted = _at_resolution(data, part, logits, labels, resolution, pool)
            if lookup is not None:
                predicted = [lookup[p] for p in predicted]
            counts += [_count(t, p, num_classes) for t, p in zip(truths, predicted, strict=True)]
            if predictions is not None:
                names = [data.samples[i].id for i in part]
                jobs = zip(names, [p.to(torch.uint8).cpu().numpy() for p in predicted], strict=True)
                list(pool.map(lambda job: save_labels(predictions / f"{job[0]}.png", job[1], data.dataset), jobs))
            if progress is not None:
                progress.advance(len(part))
    return np.stack(counts)


def _at_resolution(
    data: CachedSplit, part: NDArray[np.intp], logits: Tensor, labels: Tensor, resolution: str, pool: ThreadPoolExecutor
) -> tuple[list[Tensor], list[Tensor]]:
    """True and predicted labels of each image of a batch, at the size that is scored."""
    if resolution == "input":
        return list(labels), list(logits.argmax(dim=1))
    natives = list(pool.map(data.dataset.labels_of, [data.samples[i] for i in part]))
    truths = [torch.from_numpy(native).to(logits.device).long() for native in natives]
    predicted = [
        F.interpolate(one[None], size=truth.shape, mode="bilinear", align_corners=False)[0].argmax(dim=0)
        for one, truth in zip(logits.float(), truths, strict=True)
    ]
    return truths, predicted


def _count(truth: Tensor, predicted: Tensor, num_classes: int) -> Confusion:
    valid = truth != IGNORE
    pairs = truth[valid] * num_classes + predicted[valid]
    counts = torch.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)
    return counts.cpu().numpy()


def save_labels(path: Path, labels: Labels, dataset: Dataset) -> None:
    """Write labels (h, w) as a PNG whose palette is the dataset's own; pixel values are the class indices."""
    image = Image.fromarray(labels)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(dataset.palette)] = dataset.palette
    image.putpalette(palette.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
