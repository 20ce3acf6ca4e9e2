"""Train one network under one recipe: a loop in time order, resumable after any epoch.

Array letters: ``n`` image, ``c`` colour channel, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import io
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import torch
from lightning_fabric import Fabric
from lightning_fabric.utilities.types import Optimizable
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn

from segstudy import measures
from segstudy.data.augment import Change, epoch_generator, make_augmenter
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import Feed, Shard
from segstudy.errors import SegstudyError, StoreError
from segstudy.evaluate import count_confusion
from segstudy.files import write_bytes, write_text
from segstudy.networks.build import load_network, place, predict_logits
from segstudy.progress import Progress
from segstudy.schema import Recipe
from segstudy.store import RunFolder
from segstudy.train.losses import make_loss
from segstudy.train.optimizers import make_optimizer
from segstudy.train.schedules import rate_factor

Precision = Literal["bf16-mixed", "32-true"]


def choose_precision(precision: str, device: torch.device) -> Precision:
    """``auto`` takes bf16 where the processor or GPU computes in it, float32 elsewhere."""
    if precision == "auto":
        on_gpu = device.type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
        on_cpu = device.type == "cpu" and torch.cpu._is_avx512_bf16_supported()
        return "bf16-mixed" if on_gpu or on_cpu else "32-true"
    return "bf16-mixed" if precision == "bf16" else "32-true"


def make_fabric(recipe: Recipe, accelerator: str = "auto") -> Fabric:
    """One device, a GPU if there is one, at the recipe's precision."""
    if recipe.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # cuBLAS asks for it before its first use
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces the precision of every run
    device = Fabric(accelerator=accelerator, devices=1).device
    return Fabric(accelerator=accelerator, devices=1, precision=choose_precision(recipe.precision, device))


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory for the next step instead of giving it back to the system.

    A training step on the CPU frees and takes the same hundreds of megabytes again; without this the kernel clears the
    same pages in every step (``bench/train.py --malloc`` measures it). Elsewhere than on glibc, nothing happens.
    """
    m_trim_threshold, m_mmap_max = -1, -4  # from malloc.h
    with contextlib.suppress(OSError, AttributeError, TypeError):
        libc = ctypes.CDLL(None)
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, 2**31 - 1)


def give_back_memory() -> None:
    """Let go of what a former run has kept, so that the next one's peak is its own."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def rehearse(recipe: Recipe, study_folder: str) -> None:
    """Call everything that a recipe names once on a toy batch, so that what cannot work is known before a run starts.

    Raises
    ------
    SpecError
        What is wrong with a function of the user's own.

    """
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (2, 32, 32, 3), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, 2, (2, 32, 32), generator=generator, dtype=torch.uint8)
    network = nn.Conv2d(3, 2, 1)
    make_optimizer(recipe.optimizer, network, study_folder)
    for epoch in range(recipe.epochs):
        rate_factor(recipe.schedule, epoch, recipe.epochs, study_folder)
    if (augmenter := make_augmenter(recipe.augment, study_folder)) is not None:
        images, labels = augmenter(images, labels, generator)
    logits = network(images.movedim(-1, 1).float() / 255)
    make_loss(recipe.loss, study_folder)(logits, labels.long())


@dataclass
class TrainingState:
    """How far training has come: whole epochs done, and the best of them so far."""

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0


def train(
    network: nn.Module,
    fit: CachedSplit,
    select: CachedSplit,
    report: CachedSplit,
    recipe: Recipe,
    seed: int,
    folder: RunFolder,
    fabric: Fabric,
    progress: Progress,
    study_folder: str = "",
) -> None:
    """Train ``network`` on ``fit``, choose the epoch with the best mIoU on ``select``, leave its weights in ``folder``.

    Losses and the like of the user's own are looked for in ``study_folder``, where the study file lies.

    ``report`` is the split that is reported. It is scored after every epoch and chooses nothing: its scores show what
    choosing on it would have been worth.

    Goes on after the last whole epoch if ``folder`` holds one; then the numbers are the same as without the
    interruption, because order and random draws follow from seed and epoch alone. (On a GPU they are the same to the
    last digit only if ``recipe.deterministic``: it adds up in another order every time.)

    Raises
    ------
    SegstudyError
        When the loss is no longer a number.

    """
    network = place(network, fabric.device)
    optimizer = make_optimizer(recipe.optimizer, network, study_folder)
    at = _resume(folder, network, optimizer)
    model, stepper = fabric.setup(network, optimizer)
    loss_of, augmenter = make_loss(recipe.loss, study_folder), make_augmenter(recipe.augment, study_folder)
    shard = Shard(fabric.global_rank, fabric.world_size)
    feed = Feed(fit, recipe.batch_size, recipe.crop_px, seed, fabric.device, shard)
    with _determinism(recipe.deterministic):
        for epoch in range(at.epoch, recipe.epochs):
            rate = recipe.optimizer.lr * rate_factor(recipe.schedule, epoch, recipe.epochs, study_folder)
            for group in optimizer.param_groups:
                group["lr"] = rate
            torch.manual_seed(1_000_003 * seed + epoch)  # dropout
            progress.task(f"epoch {epoch + 1}/{recipe.epochs}", len(fit))
            generator = epoch_generator(seed + (shard.rank << 32), epoch)
            change = _drawing(augmenter, generator) if augmenter else None
            spent = _one_epoch(model, stepper, feed.epoch(epoch, change), loss_of, fabric, progress)
            _check_loss(spent["loss"], epoch, folder)
            score = _miou(model, select, fabric)
            reported = score if report.split == select.split else _miou(model, report, fabric)
            at.epoch = epoch + 1
            if score > at.best_score:
                at.best_epoch, at.best_score = at.epoch, score
                _save_weights(network, folder, at)
            scores = {"select_miou": score, "report_miou": reported}
            memory = peak_memory_mb() - feed.resident_bytes / 1e6  # the same wherever the images lie
            record = {"epoch": at.epoch, **spent, "lr": rate, **scores, "memory_mb": memory}
            _save_progress(network, optimizer, folder, at, record)
            progress.say(
                f"  epoch {at.epoch}/{recipe.epochs}  loss {spent['loss']:.4f}  mIoU {score:.4f}"
                f"{' best' if at.best_epoch == at.epoch else ''}  {spent['images_per_s']:.1f} images/s"
            )
    _finish(folder, at)


def _drawing(augmenter: Change, generator: torch.Generator) -> Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]:
    return lambda images, labels: augmenter(images, labels, generator)


def _check_loss(loss: float, epoch: int, folder: RunFolder) -> None:
    if not math.isfinite(loss):
        raise SegstudyError(
            f"{folder.path.name} of {folder.path.parent.name}: the loss is {loss} in epoch {epoch + 1}; "
            "lower recipe.optimizer.lr, or set recipe.precision: float32"
        )


def _miou(model: nn.Module, data: CachedSplit, fabric: Fabric) -> float:
    """mIoU of a whole split at the size of the network's input."""
    counts = count_confusion(model, data, fabric.device, Shard(fabric.global_rank, fabric.world_size))
    return float(measures.mean_iou(measures.merge(counts)))


def _finish(folder: RunFolder, at: TrainingState) -> None:
    if not at.best_epoch:
        raise SegstudyError(
            "no epoch could be scored: every pixel of the split that chooses the epoch is ignored (255)"
        )
    folder.best_of_epoch(at.best_epoch).replace(folder.best)
    folder.last.unlink(missing_ok=True)


def _one_epoch(
    model: nn.Module,
    stepper: Optimizable,
    feed: Iterator[tuple[Tensor, Tensor]],
    loss_of: Callable[[Tensor, Tensor], Tensor],
    fabric: Fabric,
    progress: Progress,
) -> dict[str, float]:
    """One step for each batch: mean loss, seconds waiting for data, seconds in all, images/s."""
    model.train()
    total = torch.zeros((), device=fabric.device)  # summed there, so that no step waits for the device
    started, waited, seen = time.perf_counter(), 0.0, 0
    while True:
        asked = time.perf_counter()
        batch = next(feed, None)
        waited += time.perf_counter() - asked
        if batch is None:
            break
        images, labels = batch
        loss = loss_of(predict_logits(model, images), labels)
        stepper.zero_grad()  # type: ignore[attr-defined]
        fabric.backward(loss)
        stepper.step()
        total += loss.detach() * len(images)
        seen += len(images)
        progress.advance(len(images))
    mean = float(total) / seen  # waits for the device
    seconds = time.perf_counter() - started
    return {
        "loss": mean,
        "seconds": seconds,
        "data_seconds": waited,
        "compute_seconds": seconds - waited,
        "images_per_s": seen / seconds,
    }


def _save_weights(network: nn.Module, folder: RunFolder, at: TrainingState) -> None:
    state = {key: value.detach().cpu().contiguous() for key, value in network.state_dict().items()}
    note = {"epoch": str(at.best_epoch), "select_miou": repr(at.best_score)}
    write_bytes(folder.best_of_epoch(at.best_epoch), safetensors_bytes(state, metadata=note))


def _save_progress(
    network: nn.Module, optimizer: torch.optim.Optimizer, folder: RunFolder, at: TrainingState, record: dict[str, Any]
) -> None:
    """Record the epoch, then the state to go on from; weights of former best epochs go last, when nothing needs them."""
    kept = [r for r in folder.read_metrics() if r["epoch"] < at.epoch]
    write_text(folder.metrics, "".join(json.dumps(r) + "\n" for r in [*kept, record]))
    state, whole = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "at": vars(at)}, io.BytesIO()
    torch.save(state, whole)  # to memory first: to a full disk, torch raises errors of its own
    write_bytes(folder.last, whole.getvalue())
    for path in folder.path.glob("best-epoch*.safetensors"):
        if path != folder.best_of_epoch(at.best_epoch):
            path.unlink()


def _resume(folder: RunFolder, network: nn.Module, optimizer: torch.optim.Optimizer) -> TrainingState:
    if not folder.last.is_file():
        return TrainingState()
    try:
        state = torch.load(folder.last, map_location="cpu", weights_only=True)
        at = TrainingState(**state["at"])
    except Exception as error:
        # A checkpoint is renamed into place whole, so damage comes from outside and can have any form.
        raise StoreError(
            f"{folder.last}: is damaged ({type(error).__name__}); delete it to train this run anew"
        ) from None
    load_network(network, state["network"], str(folder.last))
    optimizer.load_state_dict(state["optimizer"])
    return at


@contextlib.contextmanager
def _determinism(wanted: bool) -> Any:
    """Let torch refuse operations that may differ from run to run, for the length of one training."""
    before = torch.are_deterministic_algorithms_enabled()
    if wanted:
        torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)


def reset_peak_memory() -> None:
    """Begin to measure peak memory anew: the GPU's, else this process's where the system allows it."""
    give_back_memory()
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    with contextlib.suppress(OSError), Path("/proc/self/clear_refs").open("w") as file:
        file.write("5")  # resets VmHWM; see proc(5)


def peak_memory_mb() -> float:
    """Peak memory in MB (10^6 bytes): allocated on the GPU, else resident in this process."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e6
    with contextlib.suppress(OSError, StopIteration), Path("/proc/self/status").open() as file:
        return int(next(line for line in file if line.startswith("VmHWM")).split()[1]) * 1024 / 1e6
    return float(psutil.Process().memory_info().rss) / 1e6
