"""The needs of a study's remaining runs on this machine: hours, memory, disk. Measured on a few of its own images.

A step, an evaluated image and a decoded image are timed; everything else is multiplication. Nothing is written to the store.
"""

from __future__ import annotations

import shutil
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch

from segstudy.data.cache.arrays import CachedSplit, list_cache, open_cache, parts_of
from segstudy.errors import SegstudyError, SpecError
from segstudy.evaluate import count_confusion, count_split, save_labels
from segstudy.files import digest, write_arrays
from segstudy.launch.pending import find_pending, find_problems
from segstudy.launch.workshop import Evaluation, Workshop
from segstudy.networks.build import build_network, place
from segstudy.networks.inference import prepare
from segstudy.plan import Plan, Run
from segstudy.progress import Progress
from segstudy.sizes import Size, size_of_text
from segstudy.stopping import Stop
from segstudy.store import RunFolder, Store
from segstudy.train import loop as training
from segstudy.train.regime import budget_of
from segstudy.train.state import safetensors_of
from segstudy.train.team import make_fabric

STEPS = 2  # of an epoch of the measurement
EPOCHS = 4  # the first warms up and is not counted
IMAGES = 4  # of a split, evaluated and decoded
REPEATS = 3  # of an evaluation, after one that warms up
UNSTEADY = 1.5  # pairs of steps that differ by more than this factor say that the machine does other work
EXTRAPOLATED = (
    "hours and bytes are these numbers times images, epochs and runs, if the machine stays as it was; imports and "
    "writing the report are not counted"
)
# What a recipe may change without changing what a step costs.
TIMELESS = ("epochs", "iterations", "patience", "schedule", "schedule_by", "warmup_epochs")


class Training(NamedTuple):
    """Measured of one configuration: seconds per image, seconds to save an epoch, peak memory, bytes that it leaves.

    ``unsteady`` is the slowest pair of steps over the fastest.
    """

    image_s: float
    save_s: float
    memory_mb: float
    weights_bytes: int
    checkpoint_bytes: int
    unsteady: float = 1.0


class Scoring(NamedTuple):
    """Measured of one configuration on one split, per image: seconds, bytes of counts, bytes of a predicted mask."""

    image_s: float
    epoch_image_s: float
    counts_bytes: float
    mask_bytes: float


class Reading(NamedTuple):
    """Measured of one split, per image: seconds to decode, bytes of cache."""

    image_s: float
    image_bytes: float


@dataclass(frozen=True)
class RunEstimate:
    """The rest of one run; bytes while it trains do not include the files that it keeps."""

    run: str
    training_s: float
    evaluation_s: float
    memory_mb: float
    disk_bytes: float
    training_bytes: float


@dataclass(frozen=True)
class Estimate:
    """The needs of the remaining runs; ``measured`` says what was measured, ``extrapolated`` what follows from it."""

    device: str
    workers: int
    runs: tuple[RunEstimate, ...]
    caching_s: float
    cache_bytes: float
    report_bytes: float
    free_disk_bytes: int
    free_memory_mb: float
    measured: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    extrapolated: str = ""

    @property
    def training_s(self) -> float:
        """Seconds of all training steps, one run after the other."""
        return sum(run.training_s for run in self.runs)

    @property
    def evaluation_s(self) -> float:
        """Seconds of all evaluations, one run after the other."""
        return sum(run.evaluation_s for run in self.runs)

    @property
    def total_s(self) -> float:
        """Seconds until the last worker ends: each takes the next run when it is free, in the plan's order."""
        ends = [0.0] * self.workers
        for run in self.runs:
            first = ends.index(min(ends))
            ends[first] += run.training_s + run.evaluation_s
        return self.caching_s + max(ends)

    @property
    def disk_bytes(self) -> float:
        """Bytes to be written: cache, runs, report, and what the workers' largest runs need while they train."""
        kept = sum(run.disk_bytes for run in self.runs) + self.cache_bytes + self.report_bytes
        return kept + sum(sorted(run.training_bytes for run in self.runs)[-self.workers :])

    @property
    def memory_mb(self) -> float:
        """Peak memory of the workers' largest runs at once."""
        return sum(sorted(run.memory_mb for run in self.runs)[-self.workers :])

    @property
    def disk_fits(self) -> bool:
        """Whether the free disk is enough."""
        return self.disk_bytes <= self.free_disk_bytes

    @property
    def memory_fits(self) -> bool:
        """Whether the free memory is enough."""
        return self.memory_mb <= self.free_memory_mb

    def plain(self) -> dict[str, Any]:
        """Everything, sums included, for JSON."""
        sums = {
            "training_hours": self.training_s / 3600,
            "evaluation_hours": self.evaluation_s / 3600,
            "total_hours": self.total_s / 3600,
            "disk_bytes": self.disk_bytes,
            "memory_mb": self.memory_mb,
            "disk_fits": self.disk_fits,
            "memory_fits": self.memory_fits,
        }
        return {**sums, **asdict(self)}


def estimate(workshop: Workshop, plan: Plan, workers: int = 1) -> Estimate:
    """Measure what the runs that are left of ``plan`` need.

    Parameters
    ----------
    workshop
        Data and store; every dataset must be there.
    plan
        Runs; those that are done do not count, and of those begun only what is left.
    workers
        Processes that share this machine: on a processor, each has its share of the threads.

    Raises
    ------
    SegstudyError
        What would stop a run, such as missing data.

    """
    if workers < 1:
        raise SpecError(f"--workers {workers}: must be 1 or more")
    pending = [each for each in find_pending(workshop.store, plan) if each.state != "done"]
    stale = [each.run.name for each in pending if each.state == "stale"]
    runs = [each.run for each in pending if each.state != "stale"]
    if problems := find_problems(workshop, runs):
        raise SegstudyError("\n".join(problems))
    threads = torch.get_num_threads()
    if not torch.cuda.is_available():
        torch.set_num_threads(max(1, threads // workers))
    try:
        with tempfile.TemporaryDirectory() as scratch:
            return _Estimator(workshop, Path(scratch)).of(plan, runs, workers, stale)
    finally:
        torch.set_num_threads(threads)


@dataclass
class _Estimator:
    """Measures each configuration once."""

    workshop: Workshop
    scratch: Path
    trained: dict[str, Training] = field(default_factory=dict)
    scored: dict[str, Scoring] = field(default_factory=dict)
    read: dict[tuple[str, str, tuple[str, ...]], Reading] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)

    def of(self, plan: Plan, runs: Sequence[Run], workers: int, stale: Sequence[str]) -> Estimate:
        training.keep_freed_memory()
        found = tuple(self._run(run, {each.name for each in plan.runs}) for run in runs)
        caching_s, cache_bytes = self._cache(runs)
        store, on_gpu = self.workshop.store, torch.cuda.is_available()
        there = next(path for path in (store.root, *store.root.parents) if path.is_dir())
        free = torch.cuda.mem_get_info()[0] if on_gpu else psutil.virtual_memory().available
        written = sum(path.stat().st_size for path in store.report.rglob("*") if path.is_file())
        notes = [f"{len(stale)} runs made with other settings are not counted: {', '.join(stale)}"] if stale else []
        if any(run.config.recipe.patience is not None for run in runs):
            notes.append("recipe.patience may end runs earlier")
        if (unsteady := max((each.unsteady for each in self.trained.values()), default=1.0)) > UNSTEADY:
            notes.append(
                f"times are rough: equal training steps took up to {unsteady:.1f} times as long as others, so other work "
                "runs on this machine"
            )
        notes.append(f"the report's size is that of {'the present one' if written else 'its pictures alone'}")
        measured = (
            f"{len(self.trained)} configurations: {(EPOCHS - 1) * STEPS} training steps after {STEPS} to warm up, the "
            f"median of {EPOCHS - 1} pairs",
            f"{len(self.scored)} evaluations: {IMAGES} images, the median of {REPEATS}, after one to warm up",
            f"{len(self.read)} splits decoded: {IMAGES} images each",
        )
        return Estimate(
            torch.cuda.get_device_name() if on_gpu else f"CPU, {_threads_text(workers)}",
            workers,
            found,
            caching_s,
            cache_bytes,
            written or self._pictures(runs),
            shutil.disk_usage(there).free,
            free / 1e6,
            measured if runs else (),
            tuple(notes) if runs else (),
            EXTRAPOLATED if runs else "",
        )

    def _run(self, run: Run, planned: set[str]) -> RunEstimate:
        """The rest of one run, in multiples of what was measured."""
        folder, recipe = self.workshop.store.run(run.experiment, run.seed), run.config.recipe
        dataset, roles = self.workshop.dataset(run.config.dataset)
        donor = run.shares and (
            f"{run.shares}/seed{run.seed}" in planned or self.workshop.store.run(run.shares, run.seed).trained
        )
        steps_s = evaluation_s = memory_mb = checkpoint = 0.0
        weights = self._weights_bytes(run) if not folder.trained else 0
        if not (folder.trained or run.config.ensemble or donor):
            speed, score = self._training(run), self._scoring(run, Evaluation(dataset.name, roles.select))
            num = len(dataset.samples(roles.train))
            budget, done = budget_of(recipe, num), len(folder.read_metrics())
            steps = max(0, budget.steps - done * budget.epoch_steps)
            epochs = max(0, budget.epochs - done)
            steps_s = steps / budget.epoch_steps * num * speed.image_s + epochs * speed.save_s
            each = sum(len(dataset.samples(split)) for split in {roles.select, roles.report})
            evaluation_s = epochs * each * score.epoch_image_s
            memory_mb, checkpoint = speed.memory_mb, 2 * speed.checkpoint_bytes + 2 * speed.weights_bytes
        disk = float(weights)
        for evaluation in self.workshop.evaluations(run):
            if self._counted(folder, evaluation):
                continue
            found = self._scoring(run, evaluation)
            images = len(self.workshop.dataset(evaluation.dataset)[0].samples(evaluation.split))
            evaluation_s += images * found.image_s
            disk += images * (found.counts_bytes + found.mask_bytes)
        return RunEstimate(run.name, steps_s, evaluation_s, memory_mb, disk, checkpoint)

    def _counted(self, folder: RunFolder, evaluation: Evaluation) -> bool:
        names = evaluation.dataset, evaluation.split, evaluation.evaluation_hash
        return folder.trained and folder.find_counts(folder.record(), *names) is not None

    def _weights_bytes(self, run: Run) -> int:
        key = digest({**_key(run), "members": len(run.config.ensemble)})
        if key not in self.weights:
            network = _network(self.workshop, run)
            self.weights[key] = len(safetensors_of(network.state_dict(), {})) * max(1, len(run.config.ensemble))
        return self.weights[key]

    def _training(self, run: Run) -> Training:
        key = digest(_key(run))
        if key not in self.trained:
            self.workshop.progress.say(f"measuring {run.experiment}: {EPOCHS * STEPS} training steps")
            self.trained[key] = measure_training(self.workshop, run, self.scratch / key)
        return self.trained[key]

    def _scoring(self, run: Run, evaluation: Evaluation) -> Scoring:
        key = digest({**_key(run), "on": [evaluation.dataset, evaluation.split], "how": run.config.predicts})
        if key not in self.scored:
            self.workshop.progress.say(f"measuring {run.experiment}: evaluation on {evaluation.dataset}")
            self.scored[key] = measure_scoring(self.workshop, run, evaluation, self.scratch / f"{key}-scored")
        return self.scored[key]

    def _cache(self, runs: Sequence[Run]) -> tuple[float, float]:
        """Seconds to decode, and bytes of, what the cache lacks."""
        needed: dict[tuple[str, str], dict[str, None]] = {}
        for run in runs:
            size = run.config.recipe.resized_px
            _, roles = self.workshop.dataset(run.config.dataset)
            own = [(run.config.dataset, split, False) for split in (roles.train, roles.select)]
            if self.workshop.store.run(run.experiment, run.seed).trained or run.config.ensemble:
                own = []
            scored = [(each.dataset, each.split, True) for each in self.workshop.evaluations(run)]
            for name, split, native in own + scored:
                needed.setdefault((name, split), {}).update(dict.fromkeys(parts_of(size, native)))
        there = {(e.dataset, e.split, e.part, e.num_images) for e in list_cache(self.workshop.store) if e.whole}
        seconds = size_bytes = 0.0
        for (name, split), parts in needed.items():
            images = len(self.workshop.dataset(name)[0].samples(split))
            lacking = tuple(part for part in parts if (name, split, part, images) not in there)
            if lacking:
                key = (name, split, lacking)
                self.read[key] = measure_reading(self.workshop, *key, self.scratch / digest({"read": list(key)}))
                seconds += images * self.read[key].image_s
                size_bytes += images * self.read[key].image_bytes
        return seconds, size_bytes

    def _pictures(self, runs: Sequence[Run]) -> float:
        """Bytes of the report's pictures: each image and its mask once, and a mask of each experiment's first seed."""
        total, seen = 0.0, set()
        for run in {run.experiment: run for run in reversed(runs)}.values():
            for evaluation in self.workshop.evaluations(run):
                samples = self.workshop.dataset(evaluation.dataset)[0].samples(evaluation.split)
                if (place := (evaluation.dataset, evaluation.split)) not in seen:
                    seen.add(place)
                    total += sum(sample.image.stat().st_size for sample in samples)
                total += len(samples) * self._scoring(run, evaluation).mask_bytes
        return total


def _threads_text(workers: int) -> str:
    threads = torch.get_num_threads()
    return f"{threads} thread{'' if threads == 1 else 's'}{' a worker' if workers > 1 else ''}"


def _key(run: Run) -> dict[str, Any]:
    """The settings that determine the cost of a step: network, size, batch, precision, and the recipe apart from its length."""
    recipe, config = run.config.recipe, run.config
    kept = recipe.model_dump(mode="json", exclude=set(TIMELESS))
    kept["optimizer"] = recipe.optimizer.name
    return {"model": config.model.model_dump(mode="json", exclude={"weights"}), "recipe": kept, "data": config.dataset}


def _network(workshop: Workshop, run: Run) -> torch.nn.Module:
    model = run.config.model.model_copy(update={"weights": "none"})
    return build_network(model, len(workshop.dataset(run.config.dataset)[0].classes), 0, None, run.config.folder)


def _few(workshop: Workshop, name: str, split: str, count: int, size: Size | None, scratch: Path) -> CachedSplit:
    """A few images of a split, evenly spaced, decoded into a folder of their own."""
    dataset, _ = workshop.dataset(name)
    samples = dataset.samples(split)
    chosen = np.unique(np.linspace(0, len(samples) - 1, min(count, len(samples))).astype(int))
    part = replace(dataset, splits={split: tuple(samples[k] for k in chosen)})
    return open_cache(part, split, size, Store(scratch), _Clock(), native_labels=True)


@dataclass
class _Clock(Progress):
    """Shows nothing, and remembers when each line was said: the training loop says one at the end of an epoch."""

    said: list[float] = field(default_factory=list)

    def say(self, text: str) -> None:
        self.said.append(time.perf_counter())


def measure_training(workshop: Workshop, run: Run, scratch: Path) -> Training:
    """Train on a few images with the loop that ``segstudy run`` uses, and read what it writes of itself."""
    recipe, name = run.config.recipe, run.config.dataset
    _, roles = workshop.dataset(name)
    size, short = recipe.resized_px, {"epochs": EPOCHS, "iterations": None, "patience": None, "warmup_epochs": 0}
    fit = _few(workshop, name, roles.train, STEPS * recipe.batch_size, size, scratch)
    select = _few(workshop, name, roles.select, IMAGES, size, scratch)
    part = recipe.adaptation
    target = _few(workshop, part.data, part.split, STEPS * recipe.batch_size, size, scratch) if part else None
    fabric, clock = make_fabric(recipe), _Clock()
    network = _network(workshop, run)
    weights = len(safetensors_of(network.state_dict(), {}))
    folder = RunFolder(scratch / "run")
    folder.path.mkdir(parents=True)
    training.reset_peak_memory()
    few = recipe.model_copy(update=short)
    stop = Stop()
    training.train(
        network, fit, select, select, few, run.seed, folder, fabric, clock, stop, "", run.config.folder, target
    )
    records = folder.read_epochs()[1:]
    scored = _median_s(lambda: count_confusion(fabric.setup(place(network, fabric.device)), select, fabric.device))
    ends = np.diff(clock.said[-EPOCHS:])
    spent = [float(r.seconds or 0) for r in records]
    saving = statistics.median(max(0.0, end - own - scored) for end, own in zip(ends, spent, strict=True))
    state = {"adam": 3, "adamw": 3}.get(recipe.optimizer.name, 2)
    memory = max(float(r.memory_mb or 0) for r in records)
    steadiness = max(spent) / max(min(spent), 1e-9)
    return Training(statistics.median(spent) / len(fit), saving, memory, weights, weights * state, steadiness)


def measure_scoring(workshop: Workshop, run: Run, evaluation: Evaluation, scratch: Path) -> Scoring:
    """Evaluate a few images; masks are weighed as the true ones, since those of an untrained network are noise."""
    data = _few(workshop, evaluation.dataset, evaluation.split, IMAGES, run.config.recipe.resized_px, scratch)
    fabric, network = make_fabric(run.config.recipe), _network(workshop, run)
    plain = run.config.inference.model_copy(update={"adaptation": "none"})
    model = prepare(network, plain, lambda: iter(()), fabric, run.config.folder)
    rules, resolution = workshop.study.scoring, run.config.resolution
    members = max(1, len(run.config.ensemble))
    counts = count_split(model, data, fabric.device, resolution, rules, evaluation.table)
    seconds = _median_s(
        lambda: count_split(model, data, fabric.device, resolution, rules, evaluation.table, scratch / "masks")
    )
    epoch_s = (
        seconds if evaluation.table is not None else _median_s(lambda: count_confusion(model, data, fabric.device))
    )
    labels = data.labels_nhw if resolution == "input" else data.native_labels
    assert labels is not None
    for index in range(len(data)):
        save_labels(scratch / "true" / f"{index}.png", labels[np.array([index])][0], data.dataset)
    masks = [path.stat().st_size for path in (scratch / "true").iterdir()]
    write_arrays(scratch / "one.npz", {name: array[:1] for name, array in counts.items()}, {})
    write_arrays(scratch / "all.npz", counts, {})
    grown = (scratch / "all.npz").stat().st_size - (scratch / "one.npz").stat().st_size
    each = grown / max(1, len(data) - 1) if len(data) > 1 else (scratch / "one.npz").stat().st_size
    return Scoring(members * seconds / len(data), epoch_s / len(data), each, statistics.fmean(masks))


def measure_reading(workshop: Workshop, name: str, split: str, parts: Sequence[str], scratch: Path) -> Reading:
    """Decode a few images of a split into a cache of their own."""
    started, count, written = time.perf_counter(), 0, 0
    sizes = [None if part == "images" else size_of_text(part) for part in parts if part != "labels"] or [None]
    for size in sizes:
        count = len(_few(workshop, name, split, IMAGES, size, scratch))
    seconds = time.perf_counter() - started
    for entry in list_cache(Store(scratch)):
        written += entry.num_bytes if entry.part in parts else 0
    return Reading(seconds / count, written / count)


def _median_s(work: Any) -> float:
    """Seconds of ``work``: the median of a few, after one that warms up."""
    times = []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times[1:])
