"""The same network, data and batch through four training loops, and the bare step: images/s, seconds to a given mIoU, peak memory.

    python bench/peers.py [--images 64] [--size 256] [--batch 16] [--rounds 3] [--encoder resnet50] [--target 0.6]

The ways:

* notebook: the review's: Pillow decodes in a DataLoader in every epoch, float32, Adam (``bench/train.py``);
* torchvision: the loop of its references/segmentation: AMP on a GPU, cross entropy, SGD with a polynomial schedule
  replaced by the same Adam, so that all take the same steps; channels first, pinned memory;
* lightning: a LightningModule around segmentation-models-pytorch with its Dice loss replaced by cross entropy, as the
  library's examples show it; skipped, and said so, if the package ``lightning`` is missing;
* segstudy: what ``segstudy run`` does, ``segstudy.train.loop.train`` itself: its records and checkpoints are written too;
* bare: nothing but the step of segstudy, on one batch in memory over and over: what no loop can be faster than.

``--processor`` is for a machine that does other work meanwhile: all ways take an epoch in turn, in one process with one
thread and without workers of the DataLoader, and seconds of the processor are compared.

Without it, every way runs in a process of its own, on the same images (Kvasir-SEG if SEGSTUDY_DATA names its folder, else synthetic
endoscopies) with a quarter held out. Rounds go through the ways forwards and backwards in turn. A process trains one epoch
to warm up, then ``--epochs`` that are timed, scoring the held-out images after each without counting that time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
import train as notebook
from torch import nn
from torch.utils.data import DataLoader
from train import DecodedEachTime, find_samples

from segstudy.data.cache.arrays import open_cache
from segstudy.data.core import Dataset
from segstudy.data.encoding import threshold_labels
from segstudy.networks.build import build_network, import_smp, place, predict_logits
from segstudy.progress import showing
from segstudy.schema import Model, Recipe
from segstudy.stopping import Stop
from segstudy.store import Store
from segstudy.train import loop
from segstudy.train.loop import keep_freed_memory, peak_memory_mb, train
from segstudy.train.optimizers import make_optimizer
from segstudy.train.team import make_fabric

WAYS = ("notebook", "torchvision", "lightning", "segstudy", "bare")
Epochs = Iterator[tuple[float, nn.Module | float]]  # seconds of an epoch; the network after it, or its mIoU


def network_of(arguments: argparse.Namespace) -> nn.Module:
    return build_network(Model(arch="unet", encoder=arguments.encoder, weights="none"), 2, seed=0)


def loader_of(samples: Any, arguments: argparse.Namespace, pinned: bool = False) -> DataLoader:
    data = DecodedEachTime(samples)
    return DataLoader(data, arguments.batch, shuffle=True, num_workers=arguments.workers, pin_memory=pinned)


def by_notebook(samples: Any, arguments: argparse.Namespace, device: torch.device) -> Epochs:
    network = network_of(arguments).to(device)
    optimizer = torch.optim.Adam(network.parameters(), lr=1e-4, weight_decay=1e-4)
    while True:
        network.train()
        yield notebook.notebook_epoch(network, optimizer, samples, arguments.workers, str(device)), network


def by_torchvision(samples: Any, arguments: argparse.Namespace, device: torch.device) -> Epochs:
    """``train_one_epoch`` of references/segmentation/train.py."""
    model = network_of(arguments).to(device)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-4)
    on_gpu = device.type == "cuda"
    scaler = torch.amp.GradScaler("cuda") if on_gpu else None
    loader = loader_of(samples, arguments, on_gpu)
    while True:
        started = time.perf_counter()
        model.train()
        for image, target in loader:
            image, target = image.to(device), target.to(device)
            with torch.amp.autocast("cuda", enabled=scaler is not None):
                loss = nn.functional.cross_entropy(model(image), target, ignore_index=255)
            optimizer.zero_grad()
            if scaler is not None:
                scaler.scale(loss).backward()
                scaler.step(optimizer)
                scaler.update()
            else:
                loss.backward()
                optimizer.step()
            loss.item()  # its metric logger reads the loss of every step
        yield time.perf_counter() - started, model


def by_lightning(samples: Any, arguments: argparse.Namespace, device: torch.device) -> Epochs:
    """The LightningModule of segmentation-models-pytorch's examples; each epoch goes on with the same Trainer state."""
    import_smp()  # lets torchvision load, which Lightning imports, next to a torch without CUDA
    import lightning

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    class Polyps(lightning.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss_fn = network_of(arguments), nn.CrossEntropyLoss(ignore_index=255)

        def training_step(self, batch: Any, _: int) -> torch.Tensor:
            image, mask = batch
            loss: torch.Tensor = self.loss_fn(self.model(image), mask)
            self.log("train_loss", loss)
            return loss

        def configure_optimizers(self) -> torch.optim.Optimizer:
            return torch.optim.Adam(self.parameters(), lr=1e-4, weight_decay=1e-4)

        def on_train_epoch_start(self) -> None:
            self.started = time.perf_counter()

        def on_train_epoch_end(self) -> None:
            self.spent = time.perf_counter() - self.started

    module = Polyps()
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    quiet["enable_model_summary"] = False
    while True:
        trainer = lightning.Trainer(max_epochs=1, accelerator=accelerator, devices=1, **quiet)
        module.train()  # scoring left it in evaluation mode
        trainer.fit(module, loader_of(samples, arguments))
        module.to(device)
        yield module.spent, module.model


def by_segstudy(samples: Any, arguments: argparse.Namespace, device: torch.device) -> Epochs:
    """Trains all epochs at once, then gives what its records say of each."""
    keep_freed_memory()
    palette, held_out = ((0, 0, 0), (255, 255, 255)), arguments.held_out
    dataset = Dataset("bench", ("background", "polyp"), palette, {"train": samples, "test": held_out}, threshold_labels)
    recipe = Recipe(
        batch_size=arguments.batch, input_size=arguments.size, epochs=arguments.epochs + 1, schedule="constant"
    )
    with tempfile.TemporaryDirectory() as scratch, showing(quiet=True) as progress:
        fit, select = (
            open_cache(dataset, split, arguments.size, Store(Path(scratch)), progress) for split in ("train", "test")
        )
        folder = Store(Path(scratch)).run("bench", 1)
        folder.path.mkdir(parents=True)
        fabric = make_fabric(recipe, "gpu" if device.type == "cuda" else "cpu")
        train(network_of(arguments), fit, select, select, recipe, 1, folder, fabric, progress, Stop())
        for epoch in folder.read_epochs():
            yield float(epoch.seconds or 0), epoch.select_miou


def by_bare(samples: Any, arguments: argparse.Namespace, device: torch.device) -> Epochs:
    """As many steps as the others take, of batches that are as large as theirs, on average."""
    keep_freed_memory()
    recipe = Recipe(batch_size=arguments.batch, input_size=arguments.size)
    fabric = make_fabric(recipe, "gpu" if device.type == "cuda" else "cpu")
    network = place(network_of(arguments), fabric.device)
    model, optimizer = fabric.setup(network, make_optimizer(recipe.optimizer, network.parameters()))
    images = torch.randn(arguments.batch, 3, arguments.size, arguments.size, device=fabric.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, 2, (arguments.batch, arguments.size, arguments.size), device=fabric.device)
    steps = len(samples) / arguments.batch
    model.train()
    while True:
        started = time.perf_counter()
        for _ in range(round(steps)):
            loss = nn.functional.cross_entropy(predict_logits(model, images), labels, ignore_index=255)
            optimizer.zero_grad()
            fabric.backward(loss)
            optimizer.step()
        loss.item()  # waits for the device
        yield (time.perf_counter() - started) * steps / round(steps), float("nan")


TRAINERS: dict[str, Callable[..., Epochs]] = {
    "notebook": by_notebook,
    "torchvision": by_torchvision,
    "lightning": by_lightning,
    "segstudy": by_segstudy,
    "bare": by_bare,
}


def miou_of(network: nn.Module, arguments: argparse.Namespace, device: torch.device) -> float:
    """mIoU of both classes over all held-out pixels."""
    counts = torch.zeros(4, dtype=torch.int64)
    network.eval()
    with torch.inference_mode():
        for images, labels in DataLoader(DecodedEachTime(arguments.held_out), arguments.batch):
            best = predict_logits(network, images.to(device)).argmax(dim=1).cpu()
            counts += torch.bincount((2 * labels + best).flatten(), minlength=4)
    none, false, missed, hit = counts.tolist()
    return (none / max(1, none + false + missed) + hit / max(1, hit + false + missed)) / 2


def measure(way: str, arguments: argparse.Namespace) -> dict[str, float | None]:
    """One process's work: images/s, seconds of training to the wanted mIoU (None if it is not reached), memory."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    notebook.RECIPE = Recipe(batch_size=arguments.batch, input_size=arguments.size)
    times, total, reached = list[float](), 0.0, None
    with tempfile.TemporaryDirectory() as scratch:
        found, _ = find_samples(Path(scratch), arguments.images)
        held_out = len(found) // 4
        samples, arguments.held_out = found[held_out:], found[:held_out]
        epochs = TRAINERS[way](samples, arguments, device)
        for epoch in range(arguments.epochs + 1):
            seconds, after = next(epochs)
            total += seconds
            times += [seconds] if epoch else []
            if reached is None:
                miou = miou_of(after, arguments, device) if isinstance(after, nn.Module) else after
                reached = total if miou >= arguments.target else None
        memory = peak_memory_mb()
        epochs.close()  # type: ignore[attr-defined]
    return {"rate": len(samples) / statistics.median(times), "reached": reached, "memory": memory}


def by_processor(arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Seconds of the processor of every way's epochs, which follow one another; the first epoch warms up."""
    torch.set_num_threads(1)
    notebook.RECIPE = Recipe(batch_size=arguments.batch, input_size=arguments.size)
    arguments.workers, device, one_epoch = 0, torch.device("cpu"), loop._one_epoch
    spent: dict[str, list[float]] = {way: [] for way in WAYS}

    def timed(way: str, work: Callable[[], Any]) -> Any:
        started = time.process_time()
        result = work()
        spent[way].append(time.process_time() - started)
        return result

    with tempfile.TemporaryDirectory() as scratch:
        found, _ = find_samples(Path(scratch), arguments.images)
        samples, arguments.held_out = found[len(found) // 4 :], found[: len(found) // 4]
        others = {way: TRAINERS[way](samples, arguments, device) for way in WAYS if way != "segstudy"}

        def in_turn(*given: Any) -> Any:
            result = timed("segstudy", lambda: one_epoch(*given))
            for way, epochs in others.items():
                timed(way, lambda epochs=epochs: next(epochs))
            return result

        loop._one_epoch = in_turn  # the part of segstudy's epoch that is training
        list(by_segstudy(samples, arguments, device))
    return {way: [len(samples) / each for each in seconds[1:]] for way, seconds in spent.items()}


def print_by_processor(arguments: argparse.Namespace) -> None:
    rates = by_processor(arguments)
    print(f"one thread; U-Net {arguments.encoder}, {arguments.size} px, batch {arguments.batch}")
    print("| way | images per second of the processor | segstudy is faster by (rounds) |\n|---|---|---|")
    for way, each in rates.items():
        ratios = [own / other for own, other in zip(rates["segstudy"], each, strict=True)]
        by_round = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {way} | {statistics.median(each):.2f} | {statistics.median(ratios):.2f} ({by_round}) |")


def in_own_process(way: str) -> dict[str, float | None]:
    command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, float | None] = json.loads(done.stdout.splitlines()[-1])
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("images", 64), ("size", 256), ("batch", 16), ("rounds", 3), ("epochs", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="of the DataLoader")
    parser.add_argument("--encoder", default="resnet50")
    parser.add_argument("--target", type=float, default=0.6, help="mIoU that the time is taken to")
    parser.add_argument("--way", choices=WAYS, help="measure this way alone and print JSON")
    parser.add_argument("--processor", action="store_true", help="compare seconds of the processor, in one process")
    arguments = parser.parse_args()
    if arguments.processor:
        print_by_processor(arguments)
        return
    if arguments.way:
        print(json.dumps(measure(arguments.way, arguments)))
        return
    ways = [way for way in WAYS if way != "lightning" or importlib.util.find_spec("lightning")]
    if "lightning" not in ways:
        print("SKIPPED lightning: it is not installed; pip install 'segstudy[bench]'")
    found: dict[str, list[dict[str, float | None]]] = {way: [] for way in ways}
    for number in range(arguments.rounds):
        for way in ways if number % 2 == 0 else reversed(ways):
            found[way].append(in_own_process(way))
            print(f"round {number + 1}, {way}: {found[way][-1]['rate']:.2f} images/s", file=sys.stderr)
    where = torch.cuda.get_device_name() if torch.cuda.is_available() else f"CPU, {torch.get_num_threads()} threads"
    print(
        f"{where}; U-Net {arguments.encoder}, {arguments.size} px, batch {arguments.batch}, {arguments.rounds} rounds"
    )
    print(f"| way | images/s | segstudy is faster by (rounds) | s to mIoU {arguments.target:g} | peak memory, MB |")
    print("|---|---|---|---|---|")
    for way, rounds in found.items():
        ratios = [own["rate"] / each["rate"] for own, each in zip(found["segstudy"], rounds, strict=True)]  # type: ignore[operator]
        reached = [each["reached"] for each in rounds if each["reached"] is not None]
        to_target = f"{statistics.median(reached):.1f}" if len(reached) == len(rounds) else "not reached"
        rate, memory = (statistics.median(float(each[key] or 0) for each in rounds) for key in ("rate", "memory"))
        by_round = ", ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"| {way} | {rate:.2f} | {statistics.median(ratios):.2f} ({by_round}) | {to_target} | {memory:,.0f} |")


if __name__ == "__main__":
    main()
