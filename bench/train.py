"""Training speed of segstudy and of the review's notebook: U-Net, ResNet-50, 256 px, batch 16, in turn in one call.

    python bench/train.py [--images 48] [--rounds 3] [--accelerator cpu]

The notebook trains in float32, NCHW, with unfused Adam; Pillow decodes the images in a DataLoader with workers, again in
every epoch. segstudy does what ``segstudy run`` does. Both use the same images and masks. Each round times one pass of
each, the notebook's first, and the table gives the median and the ratio. Images are the real Kvasir-SEG if the
environment variable SEGSTUDY_DATA names its folder, otherwise synthetic scenes of about that size. ``--accelerator cuda``
runs both on the GPU. ``--precisions`` times a step in float32 and in bf16 instead, in seconds of the processor, which says
whether ``recipe.precision: auto`` chooses well on this machine.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.types import Optimizable
from PIL import Image
from torch import nn
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from segstudy.data.cache.arrays import open_cache
from segstudy.data.cache.batches import IMAGENET_MEAN, IMAGENET_STD, Feed
from segstudy.data.core import Dataset, Sample
from segstudy.data.encoding import threshold_labels
from segstudy.data.readers import kvasir
from segstudy.data.scenes.synthetic import write_kvasir
from segstudy.networks.build import build_network, place, predict_logits
from segstudy.progress import showing
from segstudy.schema import Model, Recipe
from segstudy.sizes import height_width
from segstudy.store import Store
from segstudy.train.loop import keep_freed_memory
from segstudy.train.optimizers import make_optimizer
from segstudy.train.team import make_fabric

MODEL = Model(arch="unet", encoder="resnet50", weights="none")
RECIPE = Recipe()
STEPS = (
    (Model(arch="unet", encoder="resnet18", weights="none"), 128, 16),
    (Model(arch="unet", encoder="tu-tf_efficientnet_lite0", weights="none"), 128, 8),
    (Model(arch="deeplabv3", encoder="resnet50", weights="none"), 128, 8),
    (Model(arch="unet", encoder="resnet50", weights="none"), 256, 8),
)


class DecodedEachTime(TorchDataset):
    """Pillow decodes and resizes an image and its mask at every access."""

    def __init__(self, samples: tuple[Sample, ...]) -> None:
        self.samples = samples

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        sample, size = self.samples[index], height_width(RECIPE.input_size)[::-1]
        image = Image.open(sample.image).convert("RGB").resize(size, Image.Resampling.BILINEAR)
        mask = Image.open(sample.mask).convert("L").resize(size, Image.Resampling.NEAREST)
        values = (np.asarray(image, np.float32) / 255 - np.float32(IMAGENET_MEAN)) / np.float32(IMAGENET_STD)
        return torch.from_numpy(values).permute(2, 0, 1).contiguous(), torch.from_numpy(np.asarray(mask) > 127).long()


def notebook_epoch(
    network: nn.Module, optimizer: torch.optim.Optimizer, samples: tuple[Sample, ...], workers: int, device: str
) -> float:
    started = time.perf_counter()
    loader = DataLoader(DecodedEachTime(samples), RECIPE.batch_size, shuffle=True, num_workers=workers)
    loss_of = nn.CrossEntropyLoss(ignore_index=255)
    for images, labels in loader:
        optimizer.zero_grad()
        loss = loss_of(network(images.to(device)), labels.to(device))
        loss.backward()
        optimizer.step()
        loss.item()  # waits for the device
    return time.perf_counter() - started


def segstudy_epoch(feed: Feed, fabric: Fabric, model: nn.Module, optimizer: Optimizable, epoch: int) -> float:
    started = time.perf_counter()
    loss_of = nn.CrossEntropyLoss(ignore_index=255)
    model.train()
    for images, labels in feed.epoch(epoch):
        loss = loss_of(predict_logits(model, images), labels)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()
    loss.item()  # waits for the device
    return time.perf_counter() - started


def time_notebook(samples: tuple[Sample, ...], workers: int, device: str) -> float:
    """Seconds of one pass, after one batch to warm up."""
    network = build_network(MODEL, 2, seed=0).train().to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4)
    notebook_epoch(network, optimizer, samples[: RECIPE.batch_size], workers, device)
    return notebook_epoch(network, optimizer, samples, workers, device)


def time_segstudy(samples: tuple[Sample, ...], scratch: Path, keep_memory: bool, accelerator: str) -> float:
    """Seconds of one pass over the cache, after one pass that builds it and warms up."""
    if keep_memory:
        keep_freed_memory()
    dataset = Dataset(
        "bench", ("background", "polyp"), ((0, 0, 0), (255, 255, 255)), {"train": samples}, threshold_labels
    )
    with showing(quiet=True) as progress:
        data = open_cache(dataset, "train", RECIPE.input_size, Store(scratch / "out"), progress)
    fabric = make_fabric(RECIPE, accelerator)
    network = place(build_network(MODEL, 2, seed=0), fabric.device)
    model, optimizer = fabric.setup(network, make_optimizer(RECIPE.optimizer, network.parameters()))
    feed = Feed(data, RECIPE.batch_size, None, 42, fabric.device)
    segstudy_epoch(feed, fabric, model, optimizer, 0)
    return segstudy_epoch(feed, fabric, model, optimizer, 1)


def find_samples(scratch: Path, count: int) -> tuple[tuple[Sample, ...], str]:
    given = os.environ.get("SEGSTUDY_DATA")
    root, name = (
        (Path(given) / "kvasir-seg", "real Kvasir-SEG") if given else (scratch / "kvasir", "synthetic endoscopy")
    )
    if not given:
        write_kvasir(root, num_images=int(count / 0.8) + 1, size=(622, 529))
    return kvasir.read("bench", root).splits["train"][:count], name


def time_in_own_process(way: str, arguments: argparse.Namespace) -> float:
    """Measure in a separate process, so that the memory settings of one way do not affect the other."""
    options = ["--images", str(arguments.images), "--workers", str(arguments.workers), "--way", way]
    options += ["--accelerator", arguments.accelerator]
    done = subprocess.run([sys.executable, __file__, *options], stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout.split()[-1])


def print_precisions(rounds: int) -> None:
    """Seconds of the processor for a step of several networks in float32 and in bf16, turn by turn, on one thread."""
    keep_freed_memory()
    torch.set_num_threads(1)
    print(f"auto is {make_fabric(Recipe(), 'cpu')._precision.precision} here")
    print("| network | px | batch | float32, s | bf16, s | bf16 is faster by (rounds) |\n|---|---|---|---|---|---|")
    for model, size, batch in STEPS:
        steps = {precision: _step_of(model, size, batch, precision) for precision in ("float32", "bf16")}
        spent: dict[str, list[float]] = {precision: [] for precision in steps}
        for number in range(rounds + 1):  # the first warms up
            for precision, step in steps.items():
                started = time.process_time()
                step()
                spent[precision] += [time.process_time() - started] if number else []
        plain, short = (statistics.median(each) for each in spent.values())
        by_round = ", ".join(f"{a / b:.2f}" for a, b in zip(*spent.values(), strict=True))
        name = f"{model.arch}, {model.encoder}"
        print(
            f"| {name} | {size} | {batch} | {plain:.2f} | {short:.2f} | {plain / short:.2f} ({by_round}) |", flush=True
        )


def _step_of(model: Model, size: int, batch: int, precision: str) -> Callable[[], None]:
    recipe = Recipe(batch_size=batch, input_size=size, precision=precision)
    fabric = make_fabric(recipe, "cpu")
    network = place(build_network(model, 2, seed=0), fabric.device)
    trained, optimizer = fabric.setup(network, make_optimizer(recipe.optimizer, network.parameters()))
    trained.train()
    images = torch.randn(batch, 3, size, size).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (batch, size, size))

    def step() -> None:
        loss = nn.functional.cross_entropy(predict_logits(trained, images), labels)
        optimizer.zero_grad()
        fabric.backward(loss)
        optimizer.step()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=48)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--accelerator", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--malloc", action="store_true", help="also measure segstudy without keeping freed memory")
    parser.add_argument(
        "--way", choices=("notebook", "segstudy", "malloc"), help="measure this way alone and print its seconds"
    )
    parser.add_argument("--precisions", action="store_true", help="time steps in float32 and in bf16 instead")
    arguments = parser.parse_args()
    if arguments.precisions:
        print_precisions(arguments.rounds)
        return
    with tempfile.TemporaryDirectory() as scratch:
        samples, name = find_samples(Path(scratch), arguments.images)
        if arguments.way == "notebook":
            print(time_notebook(samples, arguments.workers, arguments.accelerator))
            return
        if arguments.way:
            print(time_segstudy(samples, Path(scratch), arguments.way == "segstudy", arguments.accelerator))
            return
    ways = ("notebook", "segstudy", "malloc") if arguments.malloc else ("notebook", "segstudy")
    rounds = [[time_in_own_process(way, arguments) for way in ways] for _ in range(arguments.rounds)]
    seconds = dict(zip(ways, map(statistics.median, zip(*rounds, strict=True)), strict=True))
    where = torch.cuda.get_device_name() if arguments.accelerator == "cuda" else f"{torch.get_num_threads()} threads"
    print(f"{len(samples)} images of {name}, {where}, median of {arguments.rounds} rounds")
    titles = {"notebook": "the notebook's way", "segstudy": "segstudy", "malloc": "segstudy, plain malloc"}
    for way, value in seconds.items():
        print(f"{titles[way]:24} {value:7.2f} s   {len(samples) / value:6.2f} images/s")
    by_round = ", ".join(f"{row[0] / row[1]:.2f}" for row in rounds)
    print(f"{'notebook / segstudy':24} {seconds['notebook'] / seconds['segstudy']:7.2f}   (by round: {by_round})")


if __name__ == "__main__":
    main()
