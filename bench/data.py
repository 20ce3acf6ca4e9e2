"""Images delivered to the training step, beside the notebook's way, and what that is of a step.

    python bench/data.py [--images 96] [--streets 24] [--rounds 3]

A delivered image is what a step takes at 256 px: resized, normalised, float32, labels as class indices, in batches of 16.

(a) the notebook's way: Pillow in a DataLoader with 2 workers, which are started before the clock;
(b) segstudy's first epoch, in which the cache is built;
(c) every later epoch.

Images are real Kvasir-SEG where the environment variable SEGSTUDY_DATA says where it lies, else synthetic endoscopies of
about its size, and synthetic street scenes in the layout and size of Cityscapes, 2048 x 1024. Every round times each way
once, in turn; the table gives medians. The step is one of U-Net with ResNet-50, float32, forward and backward.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from segstudy.data import cityscapes, kvasir
from segstudy.data.batches import IMAGENET_MEAN, IMAGENET_STD, Feed
from segstudy.data.cache import open_cache
from segstudy.data.core import Dataset, Sample
from segstudy.data.synthetic import write_cityscapes, write_kvasir
from segstudy.models import build_network, place
from segstudy.progress import showing
from segstudy.schema import Model
from segstudy.store import Store

SIZE, BATCH, WORKERS = 256, 16, 2
CPU = torch.device("cpu")


class DecodedEachTime(TorchDataset):
    """Pillow decodes and resizes an image and its mask at every access; ``labels_of`` says what the mask's values mean."""

    def __init__(self, samples: tuple[Sample, ...], labels_of: Callable[[np.ndarray], np.ndarray]) -> None:
        self.samples, self.labels_of = samples, labels_of

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        sample = self.samples[index]
        image = Image.open(sample.image).convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        mask = Image.open(sample.mask).convert("L").resize((SIZE, SIZE), Image.Resampling.NEAREST)
        values = (np.asarray(image, np.float32) / 255 - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
        labels = torch.from_numpy(self.labels_of(np.asarray(mask))).long()
        return torch.from_numpy(values).permute(2, 0, 1).contiguous(), labels


class Rates(NamedTuple):
    """Images a second of the three ways."""

    notebook: float
    first: float
    later: float


def pass_over(batches: object) -> int:
    """Take every batch as a step would, and say how many images there were."""
    return sum(len(images) for images, _ in batches)


def rate_of(make: Callable[[], object], seconds: float = 0.0) -> float:
    """Images a second of whole passes, as many as fill ``seconds``."""
    started, images = time.perf_counter(), 0
    while images == 0 or time.perf_counter() - started < seconds:
        images += pass_over(make())
    return images / (time.perf_counter() - started)


def measure(dataset: Dataset, labels_of: Callable[[np.ndarray], np.ndarray], scratch: Path, rounds: int) -> Rates:
    samples = dataset.samples("train")
    loader = DataLoader(
        DecodedEachTime(samples, labels_of), BATCH, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )
    pass_over(loader)  # starts the workers
    found = []
    with showing(quiet=True) as progress:
        for number in range(rounds):
            notebook = rate_of(lambda: loader)
            started = time.perf_counter()
            data = open_cache(dataset, "train", SIZE, Store(scratch / f"{dataset.name}-{number}"), progress)
            feed = Feed(data, BATCH, None, 42, CPU)
            first = pass_over(feed.epoch(0)) / (time.perf_counter() - started)
            found.append(Rates(notebook, first, rate_of(lambda feed=feed: feed.epoch(1), seconds=1.0)))
    return Rates(*map(statistics.median, zip(*found, strict=True)))


def step_seconds(rounds: int) -> float:
    """Seconds of one training step, forward and backward, after one to warm up."""
    network = place(build_network(Model(arch="unet", encoder="resnet50", weights="none"), 2, seed=0), CPU)
    images = torch.rand(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(BATCH, SIZE, SIZE, dtype=torch.int64)

    def step() -> float:
        started = time.perf_counter()
        network.zero_grad()
        nn.functional.cross_entropy(network(images), labels).backward()
        return time.perf_counter() - started

    step()
    return statistics.median(step() for _ in range(rounds))


def kvasir_set(scratch: Path, count: int) -> tuple[Dataset, str]:
    given = os.environ.get("SEGSTUDY_DATA")
    root = Path(given) / "kvasir-seg" if given else scratch / "kvasir"
    if not given:
        write_kvasir(root, num_images=int(count / 0.8) + 1, size=(622, 529))
    dataset = kvasir.read("kvasir", root)
    return shortened(dataset, count), "Kvasir-SEG" if given else "synthetic endoscopies"


def shortened(dataset: Dataset, count: int) -> Dataset:
    fields = vars(dataset) | {"splits": {"train": dataset.samples("train")[:count]}}
    return Dataset(**fields)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--streets", type=int, default=24)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        polyps, title = kvasir_set(scratch, arguments.images)
        write_cityscapes(scratch / "city", num_train=arguments.streets, num_val=1, size=(2048, 1024))
        streets = cityscapes.read("cityscapes", scratch / "city")
        table = np.full(256, 255, np.uint8)
        for train_id, (_, _, label_id) in enumerate(cityscapes.TABLE):
            table[label_id] = train_id
        sets = (
            (title, shortened(polyps, arguments.images), lambda mask: mask > 127),
            ("synthetic Cityscapes, 2048x1024", shortened(streets, arguments.streets), lambda mask: table[mask]),
        )
        step = step_seconds(arguments.rounds)
        print(
            f"a step of U-Net ResNet-50 at {SIZE} px, {BATCH} images: {step:.2f} s; median of {arguments.rounds} rounds"
        )
        for title, dataset, labels_of in sets:
            rates = measure(dataset, labels_of, scratch, arguments.rounds)
            print(f"{title}, {len(dataset.samples('train'))} images; images/s delivered:")
            print(f"  (a) Pillow in a DataLoader, {WORKERS} workers {rates.notebook:9.1f}")
            print(
                f"  (b) first epoch, cache being built      {rates.first:9.1f}   {rates.first / rates.notebook:6.1f} x (a)"
            )
            print(
                f"  (c) later epochs                        {rates.later:9.1f}   {rates.later / rates.notebook:6.1f} x (a)"
            )
            print(f"      a batch of (c) in a step's time     {100 * BATCH / rates.later / step:9.2f} %")


if __name__ == "__main__":
    main()
