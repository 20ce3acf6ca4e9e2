"""A network on a split of a dataset, to counts: additive integers per image, from which every score follows.

Array letters: ``n`` image, ``c`` class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import functools
import math
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from segstudy.arrays import Confusion, Counts, Labels
from segstudy.counts.counting import confusion_matrix, count_pair
from segstudy.counts.countset import TRUTH, hash_labels
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import UNSHARDED, Shard, batches, stored
from segstudy.data.cache.packed import Pieces
from segstudy.data.core import IGNORE, Dataset
from segstudy.errors import SegstudyError
from segstudy.networks.build import predict_logits, resize_logits
from segstudy.networks.decision import Decision
from segstudy.probabilities import STEPS, write_probabilities
from segstudy.progress import Progress
from segstudy.schema import ScoringRules

EVALUATION_BATCH = 16
GPU_BATCH_PIXELS = 64 * 256 * 256  # of one evaluation batch on a GPU: small images go in larger batches
ARGMAX = Decision()

Resolution = Literal["input", "native"]
Result = TypeVar("Result")


def count_split(
    network: nn.Module,
    data: CachedSplit,
    device: torch.device,
    resolution: Resolution,
    rules: ScoringRules,
    table: NDArray[np.int64] | None = None,
    predictions: Path | None = None,
    progress: Progress | None = None,
    shard: Shard = UNSHARDED,
    decision: Decision = ARGMAX,
    probabilities: Path | None = None,
) -> dict[str, Counts]:
    """Predict a split image by image and count everything; nothing but counts is kept.

    Threads count while the network goes on.

    Parameters
    ----------
    network
        Gives logits at the size of its input.
    data
        The split. Of one that was resized, ``native_labels`` are needed for what is scored at native resolution.
    device
        Where the network lies.
    resolution
        ``input``: what is reported is scored on the labels at input size. ``native``: logits are brought to each image's
        own size (bilinear) and scored on the labels as they are on disk; a split that was not resized knows only this.
    rules
        What is counted next to the confusion matrix.
    table
        From :func:`class_table`, when the dataset is not the one that was trained on.
    predictions
        Folder for predicted masks as palette PNGs, at the size that is reported.
    progress
        Moved on by the number of images.
    shard
        Which images are this process's; every process returns the counts of all.
    decision
        How logits become classes.
    probabilities
        Folder for the probabilities of every pixel at the reported size, if they are to be kept.

    Returns
    -------
    dict
        Arrays (n, ...) of :func:`~segstudy.counts.counting.count_pair` at the reported resolution, images in the order of
        ``data.samples``; the confusion matrices at the other one as ``confusion_native`` or ``confusion_input``; and
        ``truth_hash``, that of each image's labels at their own size where these are at hand, ``int64`` (n, 2).

    Raises
    ------
    SegstudyError
        When the network's output is not a number.

    """
    lookup = None if table is None else torch.from_numpy(table).to(device)
    num_classes = len(data.dataset.classes)

    def count(
        index: int, labels: Labels, confidence: NDArray[np.float32], others: Mapping[Resolution, Labels]
    ) -> dict[str, Counts]:
        name = data.samples[index].id
        if np.isnan(confidence).any():
            raise SegstudyError(f"{name}: the network's output is not a number; its weights diverged or are damaged")
        counts = count_pair(_truth(data, index, resolution), labels, num_classes, rules, confidence=confidence)
        own_size: Resolution = "input" if data.native_labels is None else "native"
        counts[TRUTH] = hash_labels(_truth(data, index, own_size))
        for other, theirs in others.items():
            counts[f"confusion_{other}"] = confusion_matrix(_truth(data, index, other), theirs, num_classes)
        if predictions is not None:
            save_labels(predictions / f"{name}.png", labels, data.dataset)
        return counts

    @torch.inference_mode()
    def jobs() -> Iterator[Callable[[], dict[str, Counts]]]:
        for index, logits in _predict_split(network, data, device, shard):
            sized = _at_resolutions(decision.scaled(logits), data, index)
            best = {size: decision.best(scored) for size, scored in sized.items()}
            if probabilities is not None:
                kept = in_steps(sized[resolution], lookup, num_classes)
                write_probabilities(probabilities / f"{data.samples[index].id}.npz", kept)
            confidence = _confidence(sized[resolution], best[resolution], lookup).cpu().numpy()  # waits for the device
            labels = {size: _labels(predicted, lookup) for size, predicted in best.items()}
            yield functools.partial(count, index, labels.pop(resolution), confidence, labels)

    return _stacked(in_order(jobs(), progress), len(data), shard)


def count_confusion(network: nn.Module, data: CachedSplit, device: torch.device, shard: Shard = UNSHARDED) -> Confusion:
    """Confusion matrices (n, c, c) alone, at the size of the network's input: what chooses the epoch.

    A GPU counts by itself; next to a processor's network, threads do.
    """
    if device.type == "cuda":
        return _stacked(_counted_there(network, data, device, shard), len(data), shard)["confusion"]
    num_classes = len(data.dataset.classes)

    def count(index: int, labels: Labels) -> dict[str, Counts]:
        return {"confusion": confusion_matrix(_truth(data, index, "input"), labels, num_classes)}

    @torch.inference_mode()
    def jobs() -> Iterator[Callable[[], dict[str, Counts]]]:
        for index, logits in _predict_split(network, data, device, shard):
            yield functools.partial(count, index, _labels(logits.argmax(dim=0), None))

    return _stacked(in_order(jobs()), len(data), shard)["confusion"]


@torch.inference_mode()
def _counted_there(
    network: nn.Module, data: CachedSplit, device: torch.device, shard: Shard
) -> Iterator[dict[str, Counts]]:
    """The confusion matrix of every image that is this process's, counted where the network lies."""
    network.eval()
    parts = _parts(data, np.arange(shard.rank, len(data), shard.processes), _batch_for(data, device))
    for images, labels in batches(stored(data), parts, device):
        best = predict_logits(network, images).argmax(dim=1)
        for one in confusions(labels, best, len(data.dataset.classes)).cpu().numpy():
            yield {"confusion": one}


def confusions(truth_nhw: Tensor, predicted_nhw: Tensor, num_classes: int) -> Tensor:
    """Confusion matrices (n, c, c), rows are true classes, on the device of the labels; the same integers as
    :func:`~segstudy.counts.counting.confusion_matrix`.

    >>> confusions(torch.tensor([[[0, 1, 255]]]), torch.tensor([[[1, 1, 0]]]), 2).tolist()
    [[[0, 1], [0, 1]]]
    """
    cells = num_classes * num_classes + 1  # the last one takes pixels that do not count
    cell = torch.where(truth_nhw == IGNORE, cells - 1, truth_nhw * num_classes + predicted_nhw)
    cell += cells * torch.arange(len(truth_nhw), device=cell.device).view(-1, 1, 1)
    counts = cell.flatten().bincount(minlength=cells * len(truth_nhw)).view(-1, cells)
    return counts[:, :-1].reshape(-1, num_classes, num_classes)


def _predict_split(
    network: nn.Module, data: CachedSplit, device: torch.device, shard: Shard
) -> Iterator[tuple[int, Tensor]]:
    """Index and logits (c, h, w) of every image that is this process's; images of different sizes go one at a time."""
    parts = _parts(data, np.arange(shard.rank, len(data), shard.processes), _batch_for(data, device))
    network.eval()
    for part, (images, _) in zip(parts, batches(stored(data), parts, device), strict=True):
        yield from zip(map(int, part), predict_logits(network, images), strict=True)


def _parts(data: CachedSplit, own: NDArray[np.int64], most: int = EVALUATION_BATCH) -> list[NDArray[np.int64]]:
    at_once = 1 if isinstance(data.images_nhwc, Pieces) else most
    return [own[start : start + at_once] for start in range(0, len(own), at_once)]


def _batch_for(data: CachedSplit, device: torch.device) -> int:
    """Images in a batch that is only predicted; small images fill a GPU in larger ones."""
    if device.type != "cuda" or isinstance(data.images_nhwc, Pieces):
        return EVALUATION_BATCH
    return max(EVALUATION_BATCH, GPU_BATCH_PIXELS // math.prod(data.images_nhwc.shape[1:3]))


def images_of(data: CachedSplit, device: torch.device) -> Callable[[], Iterator[Tensor]]:
    """Gives the split's images (n, 3, h, w), normalised, in the batches in which they are predicted; never its masks."""
    return lambda: (images for images, _ in batches(stored(data), _parts(data, np.arange(len(data))), device))


def _at_resolutions(logits: Tensor, data: CachedSplit, index: int) -> dict[Resolution, Tensor]:
    """Logits (c, h, w) at every resolution that there are labels for."""
    if isinstance(data.images_nhwc, Pieces):
        own: dict[Resolution, Tensor] = {"native": logits.float()}
        if isinstance(data.labels_nhw, Pieces):
            return own
        return {"input": resize_logits(logits[None], *data.labels_nhw.shape[1:3])[0], **own}
    if data.native_labels is None:
        return {"input": logits.float()}
    size = data.native_labels.size(index)
    native = resize_logits(logits[None], *size)[0]
    return {"input": logits.float(), "native": native}


def _truth(data: CachedSplit, index: int, resolution: Resolution) -> Labels:
    labels = data.labels_nhw if resolution == "input" else data.native_labels
    assert labels is not None
    one: Labels = labels[np.array([index])][0]
    return one


def _labels(best: Tensor, lookup: Tensor | None) -> Labels:
    """Predicted classes (h, w) in the host's memory, as classes of the dataset that is scored."""
    mapped = best if lookup is None else lookup[best]
    labels: Labels = mapped.to(torch.uint8).cpu().numpy()  # waits for the device
    return labels


def _confidence(logits: Tensor, best: Tensor, lookup: Tensor | None) -> Tensor:
    """Softmax probability (h, w) of the predicted class; of all classes that ``lookup`` maps to the same, together."""
    likelihood = (logits - logits.amax(dim=0)).exp_()
    total = likelihood.sum(dim=0)
    if lookup is None:
        return likelihood.gather(0, best[None])[0] / total
    return likelihood.mul_(lookup[:, None, None] == lookup[best]).sum(dim=0) / total


def in_steps(logits: Tensor, lookup: Tensor | None, num_classes: int) -> NDArray[np.uint8]:
    """Probabilities (c, h, w) of the dataset's classes, in 255ths."""
    own = logits.softmax(dim=0)
    if lookup is not None:
        own = torch.zeros(num_classes, *own.shape[1:], device=own.device).index_add_(0, lookup, own)
    steps: NDArray[np.uint8] = (STEPS * own).round_().to(torch.uint8).cpu().numpy()
    return steps


def select_pairs(
    network: nn.Module, data: CachedSplit, device: torch.device, resolution: Resolution, decision: Decision
) -> Iterator[tuple[Tensor, Labels]]:
    """Scaled logits (c, h, w) and true labels (h, w) of every image of a split, at the reported resolution."""
    with torch.inference_mode():
        for index, logits in _predict_split(network, data, device, UNSHARDED):
            yield _at_resolutions(decision.scaled(logits), data, index)[resolution], _truth(data, index, resolution)


def in_order(jobs: Iterable[Callable[[], Result]], progress: Progress | None = None) -> Iterator[Result]:
    """Results of ``jobs``, done by threads while the next are made; few wait at a time, so memory stays flat."""
    threads = os.cpu_count() or 1
    waiting: deque[Future[Result]] = deque()

    def first() -> Result:
        result = waiting.popleft().result()
        if progress is not None:
            progress.advance()
        return result

    with ThreadPoolExecutor(threads) as pool:
        for job in jobs:
            waiting.append(pool.submit(job))
            if len(waiting) > 2 * threads:
                yield first()
        while waiting:
            yield first()


def _stacked(results: Iterable[Mapping[str, Counts]], count: int, shard: Shard) -> dict[str, Counts]:
    """Counts of all ``count`` images, whichever process has counted them, as one array (n, ...) a name.

    Each image's are copied as they come: thousands of small arrays, kept between large ones that go, tear memory apart.
    """
    own: dict[str, Counts] = {}
    num_own = len(range(shard.rank, count, shard.processes))
    for at, counts in enumerate(results):
        if not own:
            own = {name: np.empty((num_own, *array.shape), array.dtype) for name, array in counts.items()}
        for name, array in counts.items():
            own[name][at] = array
    if shard.processes == 1:
        return own
    everybody: list[dict[str, Counts]] = [{} for _ in range(shard.processes)]
    torch.distributed.all_gather_object(everybody, own)
    whole = {name: np.empty((count, *array.shape[1:]), array.dtype) for name, array in everybody[0].items()}
    for rank, theirs in enumerate(everybody):
        for name, array in theirs.items():
            whole[name][rank :: shard.processes] = array
    return whole


def save_labels(path: Path, labels: Labels, dataset: Dataset) -> None:
    """Write labels (h, w) as a PNG whose palette is the dataset's own; pixel values are the class indices."""
    image = Image.fromarray(labels)
    palette = np.zeros((256, 3), np.uint8)
    palette[: len(dataset.palette)] = dataset.palette
    image.putpalette(palette.tobytes())
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path)
