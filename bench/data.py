"""Data loading of segstudy and of the review's notebook, measured in turn in one call.

    python bench/data.py [--rounds 5] [--images 256] [--streets 48]

The table gives images per second that reach the training step, as normalised float images and labels at 256 px in
batches of 16: (a) Pillow decodes and resizes in a DataLoader with two workers in every epoch, as in the notebook (workers
persist, and the first epoch is not timed); (b) segstudy's first epoch, which builds the cache; (c) a later epoch. The
time of one training step of a U-Net with ResNet-50 shows what share of it (c) takes. Then follows the memory of that
training from a cache of 5 GB, and from one batch repeated.

Images are the real Kvasir-SEG if the environment variable SEGSTUDY_DATA names its folder, otherwise synthetic endoscopy of
that size, and synthetic streets of 2048 x 1024 pixels in Cityscapes' layout. For (c), their cache is repeated to the 2,975
images of Cityscapes' training split, so that it does not fit into a processor's cache.

Each measurement runs in its own process. The table gives medians over rounds; on a busy machine, only ratios count.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from segstudy.data.cache.arrays import CachedSplit, open_cache
from segstudy.data.cache.batches import IMAGENET_MEAN, IMAGENET_STD, Feed
from segstudy.data.cache.packed import Rows, RowsWriter
from segstudy.data.core import Dataset
from segstudy.data.readers import cityscapes, kvasir
from segstudy.data.scenes.synthetic import write_cityscapes, write_kvasir
from segstudy.networks.build import build_network, place, predict_logits
from segstudy.progress import showing
from segstudy.schema import Model, Recipe
from segstudy.store import Store
from segstudy.train.loop import (
    keep_freed_memory,
    peak_memory_mb,
    reset_peak_memory,
)
from segstudy.train.losses import make_loss
from segstudy.train.optimizers import make_optimizer
from segstudy.train.team import make_fabric

RECIPE = Recipe()
BATCH, SIZE, CPU = RECIPE.batch_size, RECIPE.input_size, torch.device("cpu")
CITYSCAPES_TRAIN = 2975
LATER_EPOCHS = 3
LARGE_CACHE = 20_000  # images of 256 px: 5 GB


class DecodedEachTime(TorchDataset):
    """Pillow decodes and resizes an image and its mask at every access."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset, self.samples = dataset, dataset.splits["train"]

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        sample, size = self.samples[index], (SIZE, SIZE)
        image = Image.open(sample.image).convert("RGB").resize(size, Image.Resampling.BILINEAR)
        labels = Image.fromarray(self.dataset.labels_of(sample)).resize(size, Image.Resampling.NEAREST)
        values = (np.asarray(image, np.float32) / 255 - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
        return torch.from_numpy(values).permute(2, 0, 1).contiguous(), torch.from_numpy(np.asarray(labels, np.int64))


def consume(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> int:
    """Read every batch as a training step does, and count the images."""
    return sum(len(images) for images, _ in batches)


def rate_of_loader(dataset: Dataset, workers: int) -> float:
    loader = DataLoader(
        DecodedEachTime(dataset), BATCH, shuffle=True, num_workers=workers, persistent_workers=workers > 0
    )
    consume(loader)
    started = time.perf_counter()
    return consume(loader) / (time.perf_counter() - started)


def cached(dataset: Dataset, scratch: Path) -> CachedSplit:
    with showing(quiet=True) as progress:
        return open_cache(dataset, "train", SIZE, Store(scratch), progress)


def rate_of_first_epoch(dataset: Dataset, scratch: Path) -> float:
    started = time.perf_counter()
    return consume(Feed(cached(dataset, scratch), BATCH, None, 0, CPU).epoch(0)) / (time.perf_counter() - started)


def repeated(data: CachedSplit, count: int, scratch: Path) -> CachedSplit:
    """A cache of at least ``count`` images, made by repeating those of another cache."""
    times = -(-count // len(data))
    if times == 1:
        return data
    copies = {}
    for name, rows in (("images", data.images_nhwc), ("labels", data.labels_nhw)):
        assert isinstance(rows, Rows)
        writer = RowsWriter(scratch / f"{name}.npy", (times * len(data), *rows.shape[1:]))
        for index in range(times * len(data)):
            writer.write(index, rows[np.array([index % len(data)])][0])
        writer.finish()
        writer.close()
        copies[name] = Rows(scratch / f"{name}.npy")
    return replace(data, samples=data.samples * times, images_nhwc=copies["images"], labels_nhw=copies["labels"])


def rate_of_later_epochs(dataset: Dataset, scratch: Path, count: int) -> float:
    feed = Feed(repeated(cached(dataset, scratch), count, scratch), BATCH, None, 0, CPU)
    consume(feed.epoch(0))
    rates = []
    for epoch in range(1, 1 + LATER_EPOCHS):
        started = time.perf_counter()
        rates.append(consume(feed.epoch(epoch)) / (time.perf_counter() - started))
    return statistics.median(rates)


def train_steps(batches: Iterable[tuple[torch.Tensor, torch.Tensor]], steps: int) -> list[float]:
    """Seconds of each training step, without waiting for its batch."""
    fabric = make_fabric(RECIPE, accelerator="cpu")
    network = place(build_network(Model(arch="unet", encoder="resnet50", weights="none"), 2, seed=0), fabric.device)
    model, optimizer = fabric.setup(network, make_optimizer(RECIPE.optimizer, network.parameters()))
    loss_of, seconds = make_loss(RECIPE.loss), []
    model.train()
    for _, (images, labels) in zip(range(steps), batches, strict=False):
        started = time.perf_counter()
        loss = loss_of(predict_logits(model, images), labels)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
        loss.item()
        seconds.append(time.perf_counter() - started)
    return seconds


def same_batch() -> Iterable[tuple[torch.Tensor, torch.Tensor]]:
    images = torch.randn(BATCH, 3, SIZE, SIZE).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (BATCH, SIZE, SIZE))
    while True:
        yield images, labels


def large_cache(dataset: Dataset, scratch: Path) -> CachedSplit:
    """A sparse cache of 5 GB: its pixels were never written, so it takes no disk space."""
    for name, shape in (("images", (LARGE_CACHE, SIZE, SIZE, 3)), ("labels", (LARGE_CACHE, SIZE, SIZE))):
        np.lib.format.open_memmap(scratch / f"{name}.npy", "w+", np.uint8, shape).flush()
    rows = Rows(scratch / "images.npy"), Rows(scratch / "labels.npy")
    return CachedSplit(dataset, "train", dataset.splits["train"][:1] * LARGE_CACHE, *rows, "")


def peak_of_training(batches: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> float:
    reset_peak_memory()
    train_steps(batches, 6)
    return peak_memory_mb()


def measure(way: str, dataset: Dataset, scratch: Path, count: int) -> float:
    """Take one measurement in this process."""
    if way == "loader":
        return rate_of_loader(dataset, workers=2)
    keep_freed_memory()  # as segstudy run does
    if way == "first":
        return rate_of_first_epoch(dataset, scratch)
    if way == "later":
        return rate_of_later_epochs(dataset, scratch, count)
    if way == "step":
        return statistics.median(train_steps(same_batch(), 5)[1:])
    if way == "memory of its own":
        return peak_of_training(same_batch())
    return peak_of_training(Feed(large_cache(dataset, scratch), BATCH, None, 0, CPU).epoch(0))


def find_sets(scratch: Path, images: int, streets: int) -> dict[str, tuple[str, Path]]:
    """Title and folder of each set of images; synthetic ones are drawn here."""
    given = os.environ.get("SEGSTUDY_DATA")
    polyps, title = Path(given or scratch) / "kvasir-seg", "real Kvasir-SEG" if given else "synthetic endoscopy"
    if not given:
        write_kvasir(polyps, num_images=int(images / 0.8) + 1, size=(622, 529))
    write_cityscapes(scratch / "streets", num_train=streets, num_val=1, size=(2048, 1024))
    return {"kvasir": (title, polyps), "cityscapes": ("synthetic Cityscapes, 2048x1024", scratch / "streets")}


def read(name: str, root: Path, count: int) -> Dataset:
    dataset = {"kvasir": kvasir.read, "cityscapes": cityscapes.read}[name](name, root)
    return replace(dataset, splits={"train": dataset.splits["train"][:count]})


def in_own_process(way: str, name: str, root: Path, count: int) -> float:
    options = ["--way", way, "--of", name, "--root", str(root), "--images", str(count)]
    done = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True)
    return float(json.loads(done.stdout.splitlines()[-1]))


def compare_rates(name: str, title: str, root: Path, count: int, rounds: int, step: float) -> None:
    measured = [[in_own_process(way, name, root, count) for way in ("loader", "first", "later")] for _ in range(rounds)]
    loader, first, later = (statistics.median(column) for column in zip(*measured, strict=True))
    ratios = [row[2] / row[0] for row in measured]
    print(f"\n{title}, {count} images")
    print(f"  (a) DataLoader, 2 workers        {loader:9.1f} images/s")
    print(f"  (b) segstudy, first epoch        {first:9.1f} images/s   {first / loader:7.1f} x (a)")
    print(
        f"  (c) segstudy, later epochs       {later:9.1f} images/s   {statistics.median(ratios):7.1f} x (a)"
        f"   by round: {', '.join(f'{ratio:.0f}' for ratio in ratios)}"
    )
    print(f"      a batch of {BATCH}: {1000 * BATCH / later:.1f} ms, {BATCH / later / step:.2%} of a training step")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=256, help="of Kvasir-SEG")
    parser.add_argument("--streets", type=int, default=48, help="synthetic street scenes to draw")
    parser.add_argument("--way", help="measure this alone, of the images --of --root, and print it")
    parser.add_argument("--of")
    parser.add_argument("--root", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        if given.way:
            later = CITYSCAPES_TRAIN if given.of == "cityscapes" else given.images
            print(json.dumps(measure(given.way, read(given.of, given.root, given.images), scratch, later)))
            return
        sets = find_sets(scratch, given.images, given.streets)
        polyps = ("kvasir", sets["kvasir"][1], BATCH)
        step = statistics.median(in_own_process("step", *polyps) for _ in range(min(given.rounds, 3)))
        print(f"{torch.get_num_threads()} threads, median of {given.rounds} rounds")
        print(f"one training step, U-Net with ResNet-50, {SIZE} px, batch of {BATCH}: {step:.2f} s")
        for name, (title, root) in sets.items():
            compare_rates(name, title, root, given.images if name == "kvasir" else given.streets, given.rounds, step)
        own, large = (in_own_process(way, *polyps) for way in ("memory of its own", "memory from 5 GB"))
        print(f"\npeak memory of training: {own:.0f} MB from one batch, {large:.0f} MB from a cache of 5 GB", end="")
        print(f": {large - own:+.0f} MB")


if __name__ == "__main__":
    main()
