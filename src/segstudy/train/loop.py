"""Train one network under one recipe: a loop in time order, resumable after any step.

Array letters: ``n`` image, ``c`` colour channel, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import torch
from torch import Tensor, nn

from segstudy import measures
from segstudy.data.augment import Change, epoch_generator, make_augmenter
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import Feed, Shard
from segstudy.data.core import IGNORE
from segstudy.errors import SpecError
from segstudy.evaluate import count_confusion
from segstudy.networks.build import place
from segstudy.networks.inference import scoring_model
from segstudy.progress import Progress
from segstudy.schema import Recipe, loss_terms
from segstudy.stopping import Stop
from segstudy.store import HeldError, RunFolder
from segstudy.train.balance import RULES, count_pixels, image_shares
from segstudy.train.losses import make_loss
from segstudy.train.optimizers import make_optimizer
from segstudy.train.parts import check_alone, find_gradient, num_parts
from segstudy.train.regime import Regime, budget_of, optimizer_of
from segstudy.train.replay import Recorder, ReplayedStep, Step
from segstudy.train.schedules import rate_factor
from segstudy.train.state import (
    TrainingState,
    finish,
    record_epoch,
    resume,
    save_class_weights,
    save_progress,
    save_weights,
)
from segstudy.train.targets import Target
from segstudy.train.team import (
    Diverged,
    agree,
    gathered,
    pause_due,
    same_statistics,
    synchronised,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.types import Optimizable


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
    for epoch in range(recipe.epochs):
        rate_factor(recipe.schedule, epoch, recipe.epochs, study_folder)
    if (augmenter := make_augmenter(recipe.augment, study_folder)) is not None:
        images, labels = augmenter(images, labels, generator)
    given = [options.get("class_weights") for _, _, options in loss_terms(recipe.loss)]
    most = max([1, *labels[labels != IGNORE].tolist()])  # an augmentation may name classes that these labels lack
    network = nn.Conv2d(3, max([1 + most, *(len(weights) for weights in given if isinstance(weights, list))]), 1)
    make_optimizer(recipe.optimizer, network.parameters(), study_folder)
    logits = network(images.movedim(-1, 1).float() / 255)
    labels = labels.long()
    copies = {"logits": (logits, logits.detach().clone()), "labels": (labels, labels.clone())}
    make_loss(recipe.loss, study_folder)(logits, labels)
    for what, (now, before) in copies.items():
        if not torch.equal(now, before):  # through NumPy, which torch does not notice
            raise SpecError(f"recipe.loss: changed the {what} in place; change {what}.clone() instead")


@dataclass
class Part:
    """The sums over the steps of an epoch so far; kept in a checkpoint within the epoch.

    ``random`` are the states of torch's generators and ``drawn`` that of augmentation, after ``steps`` batches; ``others``
    holds both of the other processes of a team.
    """

    total: Tensor
    steps: int = 0
    seen: int = 0
    seconds: float = 0.0
    waited: float = 0.0
    random: list[Tensor] = field(default_factory=list)
    drawn: Tensor | None = None
    others: list[dict[str, Any]] = field(default_factory=list)


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
    stop: Stop,
    origin: str = "",
    study_folder: str = "",
    target: CachedSplit | None = None,
    recorder: Recorder | None = None,
) -> None:
    """Train ``network`` on ``fit``, choose the epoch with the best mIoU on ``select``, leave its weights in ``folder``.

    Losses and the like of the user's own are looked for in ``study_folder``, where the study file lies.

    ``target`` are images that the recipe adapts to; their masks are not used. With a ``recorder``, steps are recorded once
    and replayed.

    ``report`` is the split that is reported. It is scored after every epoch and chooses nothing: its scores show what
    choosing on it would have been worth.

    Goes on from the checkpoint in ``folder`` if there is one of this ``origin`` (a hash of settings, data and initial
    weights); then the numbers are the same as without the interruption, because order and random draws follow from
    seed and epoch alone, and a checkpoint within an epoch holds the generators. (On a GPU they are the same to the
    last digit only if ``recipe.deterministic``: it adds up in another order every time.)

    Raises
    ------
    SegstudyError
        When the loss is no longer a number.
    Stopped
        When ``stop`` asks for it: after the step, with a checkpoint.

    """
    network = synchronised(place(network, fabric.device), recipe, fabric)
    optimizer = optimizer_of(network, recipe, study_folder)
    at = _where_it_stands(folder, network, optimizer, origin, progress, fabric)
    model, stepper = fabric.setup(network, optimizer)
    shard = Shard(fabric.global_rank, fabric.world_size, recipe.sync_batch_norm)
    feed, own_seed = _make_feed(recipe, fit, seed, fabric.device, shard), seed + (shard.rank << 32)
    regime = Regime(recipe, budget_of(recipe, len(fit), shard.least), network, optimizer, at, study_folder)
    regime.begin(fabric.device)
    adapting = Target(recipe, target, seed, model, fabric, at, regime.budget.epochs, study_folder)
    loss_of = adapting.add_to(_make_loss(recipe, fit, folder, study_folder, fabric))
    augmenter = adapting.change(make_augmenter(recipe.augment, study_folder, len(fit.dataset.classes)))
    step = _recorded(_plain_step(model, stepper, loss_of, fabric, regime), optimizer, recorder, fabric, progress)
    with _determinism(recipe.deterministic), stop.steps():
        while at.epoch < regime.budget.epochs and not regime.ended:
            epoch, steps = at.epoch, regime.budget.steps_in(at.epoch)
            part = _begin_part(at, fabric, seed)
            adapting.begin_epoch(epoch, part.steps)
            progress.task(f"epoch {epoch + 1}/{regime.budget.epochs}", len(fit)).advance(part.seen)
            change = Augmentation(augmenter, epoch_generator(own_seed, epoch), part) if augmenter else None
            save = functools.partial(_save_part, network, optimizer, folder, at, change, fabric)
            batches = feed.epoch(epoch, change, part.steps, steps)
            spent = _one_epoch(step, batches, fabric, progress, part, stop, save, regime)
            _check_loss(spent["loss"], epoch, folder)
            record = {"epoch": epoch + 1, **spent, **_measured(model, select, report, fabric, regime, feed)}
            _end_epoch(regime, folder, record, fabric)
            progress.epoch(f"  epoch {at.epoch}/{regime.budget.epochs}  {_said(record, at)}", record)
            _stop_if_requested(agree(stop, fabric))
    if fabric.is_global_zero:
        finish(folder, at)


def _where_it_stands(
    folder: RunFolder,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    origin: str,
    progress: Progress,
    fabric: Fabric,
) -> TrainingState:
    """The state from which training continues: the leader of a team reads it; Fabric gives the others its weights."""
    at = TrainingState(origin=origin)
    if fabric.is_global_zero:
        at = resume(folder, network, optimizer, origin, progress)
    if fabric.world_size > 1:
        state, moments = fabric.broadcast((vars(at), optimizer.state_dict()))
        if not fabric.is_global_zero:
            at = TrainingState(**state)
            optimizer.load_state_dict(moments)
    return at


def _make_feed(recipe: Recipe, fit: CachedSplit, seed: int, device: torch.device, shard: Shard) -> Feed:
    check_alone(recipe, shard.processes)
    shares = image_shares(count_pixels(fit)) if recipe.sampling == "class_balanced" else None
    return Feed(fit, recipe.batch_size, recipe.crop_px, seed, device, shard, shares)


def _make_loss(
    recipe: Recipe, fit: CachedSplit, folder: RunFolder, study_folder: str, fabric: Fabric
) -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss; weights of classes that a rule gives are computed from ``fit`` and written to ``run.yaml``."""
    found: dict[str, list[float]] = {}

    def weights_by(name: str, rule: str, beta: float) -> list[float]:
        found[name] = RULES[rule](count_pixels(fit), beta).tolist()
        return found[name]

    loss_of = make_loss(recipe.loss, study_folder, weights_by)
    if found and fabric.is_global_zero:
        save_class_weights(folder, found)
    return loss_of


def _said(record: dict[str, Any], at: TrainingState) -> str:
    best = " best" if at.best_epoch == at.epoch else ""
    return f"loss {record['loss']:.4f}  mIoU {record['select_miou']:.4f}{best}  {record['images_per_s']:.1f} images/s"


def _end_epoch(regime: Regime, folder: RunFolder, record: dict[str, Any], fabric: Fabric) -> None:
    """Save a whole epoch: its weights if it is the best so far, its record, then the state to go on from."""
    at = regime.at
    at.epoch, at.part, former_best = record["epoch"], {}, at.best_epoch
    better = record["select_miou"] > at.best_score
    if better:
        at.best_epoch, at.best_score = at.epoch, record["select_miou"]
    if not fabric.is_global_zero:
        return
    if better:
        with regime.scored_weights():
            save_weights(regime.network, folder, at)
    at.recorded = record_epoch(folder, record)
    save_progress(regime.network, regime.optimizer, folder, at, former_best)


class Augmentation:
    """Augmentation of one epoch's batches in their order, remembering its generator's state after each of the last few."""

    def __init__(self, augmenter: Change, generator: torch.Generator, part: Part) -> None:
        self.augmenter, self.generator, self.done = augmenter, generator, part.steps
        if part.drawn is not None:
            generator.set_state(part.drawn)
        self.states = {self.done: generator.get_state()}

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Change the next batch; called by the thread that prepares batches, which is a few ahead of the training."""
        changed = self.augmenter(images, labels, self.generator) if len(images) else (images, labels)
        self.done += 1
        self.states[self.done] = self.generator.get_state()
        self.states.pop(self.done - 5, None)
        return changed


def _begin_part(at: TrainingState, fabric: Fabric, seed: int) -> Part:
    """An epoch from its beginning, or from the step that a checkpoint was written after, with its generators."""
    rank, device = fabric.global_rank, fabric.device
    torch.manual_seed(1_000_003 * seed + at.epoch + (rank << 40))  # dropout
    if not at.part:
        return Part(torch.zeros((), device=device))
    part = Part(**at.part)
    part.total = part.total.to(device)
    if 0 < rank <= len(part.others):
        part.random, part.drawn = part.others[rank - 1]["random"], part.others[rank - 1]["drawn"]
    elif rank:  # saved by fewer processes
        part.drawn = None
        return part
    torch.set_rng_state(part.random[0])
    if device.type == "cuda" and len(part.random) > 1:
        torch.cuda.set_rng_state(part.random[1], device)
    return part


def _save_part(
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    folder: RunFolder,
    at: TrainingState,
    change: Augmentation | None,
    fabric: Fabric,
    part: Part,
) -> None:
    """Write a checkpoint within an epoch, with the generators of every process."""
    part.random = [torch.get_rng_state()]
    if part.total.device.type == "cuda":
        part.random.append(torch.cuda.get_rng_state(part.total.device))
    part.drawn = change.states[part.steps] if change is not None else None
    _, *part.others = gathered({"random": part.random, "drawn": part.drawn}, fabric)
    at.part = vars(part) | {"total": part.total.cpu()}
    if fabric.is_global_zero:
        save_progress(network, optimizer, folder, at, at.best_epoch)


def _stop_if_requested(stop: Stop) -> None:
    if stop.claim_lost:
        raise HeldError("another process has taken this run over while this one was suspended")
    stop.check()


def _check_loss(loss: float, epoch: int, folder: RunFolder) -> None:
    if not math.isfinite(loss):
        raise Diverged(
            f"{folder.path.name} of {folder.path.parent.name}: the loss is {loss} in epoch {epoch + 1}; "
            "lower recipe.optimizer.lr, or set recipe.precision: float32"
        )


def _measured(
    model: nn.Module, select: CachedSplit, report: CachedSplit, fabric: Fabric, regime: Regime, feed: Feed
) -> dict[str, float]:
    """The scores of an epoch's weights on the selecting and the reported split, and the peak of memory."""
    with regime.scored_weights():
        same_statistics(regime.network, fabric)
        scored = scoring_model(model, regime.network, fabric)
        score = _miou(scored, select, fabric)
        reported = score if report.split == select.split else _miou(scored, report, fabric)
    memory = peak_memory_mb() - feed.resident_bytes / 1e6  # the same wherever the images lie
    return {"select_miou": score, "report_miou": reported, "memory_mb": memory}


def _miou(model: nn.Module, data: CachedSplit, fabric: Fabric) -> float:
    """mIoU of a whole split at the size of the network's input."""
    counts = count_confusion(model, data, fabric.device, Shard(fabric.global_rank, fabric.world_size))
    return float(measures.mean_iou(measures.merge(counts)))


def _one_epoch(
    step: Step,
    feed: Iterator[tuple[Tensor, Tensor]],
    fabric: Fabric,
    progress: Progress,
    part: Part,
    stop: Stop,
    save: Callable[[Part], None],
    regime: Regime,
) -> dict[str, float]:
    """One step for each batch: mean loss, seconds waiting for data, seconds in all, images/s, last learning rate."""
    regime.begin_epoch()
    saved = time.perf_counter()
    started = saved - part.seconds
    while True:
        began = time.perf_counter()
        batch = next(feed, None)
        part.waited += time.perf_counter() - began
        if batch is None:
            break
        regime.begin_step(regime.at.epoch, part.steps)
        loss, number = step(*batch)
        regime.end_step(regime.at.epoch, part.steps)
        part.total += loss * number  # summed on the device, so that no step waits for it
        part.seen += number
        part.steps += 1
        progress.advance(number)
        now = time.perf_counter()
        if pause_due(stop, stop.checkpoint_s is not None and now - saved >= stop.checkpoint_s, fabric):
            part.seconds, saved = now - started, now
            if not stop.claim_lost:
                save(part)
            _stop_if_requested(stop)
    mean = float(part.total) / part.seen  # waits for the device
    seconds = time.perf_counter() - started
    return {
        "loss": mean,
        "seconds": seconds,
        "data_seconds": part.waited,
        "compute_seconds": seconds - part.waited,
        "images_per_s": part.seen / seconds,
        "lr": regime.begin_step(regime.at.epoch, part.steps - 1),
    }


def _plain_step(
    model: nn.Module,
    stepper: Optimizable,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    fabric: Fabric,
    regime: Regime,
) -> Step:
    """The part that every kind of step shares: the gradient of a batch's loss, and the optimiser."""
    clip_norm = regime.recipe.clip_norm

    def step(images: Tensor, labels: Tensor) -> tuple[Tensor, int]:
        parts = num_parts(len(images), regime.recipe)
        done = find_gradient(model, regime.network, stepper, images, labels, loss_of, fabric, parts)
        if clip_norm is not None:  # what is not finite shows in the loss
            fabric.clip_gradients(model, regime.optimizer, max_norm=clip_norm, error_if_nonfinite=False)
        stepper.step()
        return done

    return step


def _recorded(
    step: Step, optimizer: torch.optim.Optimizer, recorder: Recorder | None, fabric: Fabric, progress: Progress
) -> Step:
    return step if recorder is None else ReplayedStep(step, optimizer, recorder, fabric.device, progress)


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
    """Begin to measure peak memory again: the GPU's, else this process's where the system allows it."""
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
