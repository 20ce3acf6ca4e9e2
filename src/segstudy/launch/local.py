"""Workers on this machine: its processor's threads or its GPUs divided among them."""

from __future__ import annotations

import os
import socket
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import psutil
import torch

from segstudy.errors import SpecError
from segstudy.launch.crew import Crew
from segstudy.launch.launchers import Job
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import build_network, place, predict_logits
from segstudy.plan import Run
from segstudy.sizes import height_width
from segstudy.train.losses import make_loss
from segstudy.train.regime import budget_of, optimizer_of
from segstudy.train.team import count_devices, make_fabric

STEPS = 3  # timed for each division of the threads, after one that is not
GAIN = 1.1  # more workers must promise to be so much faster: they share caches and memory, which one at a time hides
MEMORY_SHARE = 0.7  # of what is free, for all workers together


def run_here(job: Job, runs_per_gpu: int | Literal["auto"] = 1) -> None:
    """Start the workers of a job, or the processes of one training, and wait for their end.

    Where one worker was found to be best, the work is left to this process. ``runs_per_gpu`` is how many workers share a
    GPU; ``auto`` measures how many fill it.
    """
    devices = job.work.devices or 1
    check_devices(devices)
    if runs_per_gpu != "auto" and runs_per_gpu < 1:
        raise SpecError(f"--runs-per-gpu {runs_per_gpu}: must be a number from 1, or auto")
    if runs_per_gpu != 1 and (job.workers is not None or devices > 1):
        other = "--workers" if job.workers is not None else "--devices"
        raise SpecError(
            f"--runs-per-gpu {runs_per_gpu}: {other} says already what shares a GPU; leave one of the two out"
        )
    measures = job.workers is None and devices == 1
    workers = job.num_workers(best_workers(job, runs_per_gpu) if measures else 1)
    if workers == 1 and devices > 1:
        train_together(job)
        return
    if workers == 1 and measures:
        job.progress.say("1 worker: this process")
        job.left_here = True
        return
    job.progress.say(f"{workers} worker{'' if workers == 1 else 's'}, {_share_words(workers)}")
    crew = Crew(job.progress.say, job.stop)
    for number in range(workers):
        name = f"[{number + 1}] " if workers > 1 else ""
        crew.start(name, job.work.command(), _share(number, workers, devices))
    for number, member in enumerate(crew.wait(_Watch(job, crew)), 1):
        if member.message and not (job.stop.requested and member.code in (130, 143)):
            job.ended.append(f"worker {number} {member.message}")


def train_together(job: Job) -> None:
    """Start one process a device; together they train one run after the other. If one dies, all end."""
    devices = job.work.devices or 1
    check_devices(devices)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    crew = Crew(job.progress.say, job.stop, together=True)
    threads = str(max(1, _threads() // devices))
    for rank in range(devices):
        crew.start(
            "",
            job.work.command(),
            {
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "GROUP_RANK": "0",
                "WORLD_SIZE": str(devices),
                "LOCAL_WORLD_SIZE": str(devices),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
                "TORCHELASTIC_RUN_ID": "segstudy",
                "OMP_NUM_THREADS": threads,
            },
        )
    members = crew.wait()
    if job.stop.requested:
        return
    killed = [f"process {rank} {member.message}" for rank, member in enumerate(members) if (member.code or 0) < 0]
    failed = [member.message for member in members if (member.code or 0) > 0]
    if killed:
        job.ended.append(
            f"{killed[0]}; the {devices} processes that train together ended; run the same command again to resume"
        )
    elif failed:
        job.ended.append(failed[0])


def check_devices(devices: int) -> None:
    """Refuse more processes in one training than there are devices.

    Raises
    ------
    SpecError
        Naming both numbers.

    """
    if devices > (there := count_devices()):
        kind = "GPUs" if torch.cuda.is_available() else "processors"
        raise SpecError(f"--devices {devices}: this machine has {there} {kind}; give {there} at most")


@dataclass
class _Watch:
    """Says which workers died while others go on, once each."""

    job: Job
    crew: Crew

    def __post_init__(self) -> None:
        self.known: set[str] = set()

    def __call__(self) -> None:
        for number, member in enumerate(self.crew.members, 1):
            if member.name not in self.known and (member.code or 0) < 0:
                self.known.add(member.name)
                others = any(each.code is None for each in self.crew.members)
                after = "; the others take its run over" if others else ""
                self.job.progress.say(f"worker {number} {member.message}{after}")


def _threads() -> int:
    """Threads that this process may use."""
    return torch.get_num_threads()


def _gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = [str(number) for number in range(torch.cuda.device_count())]
    return given.split(",")[: len(names)] if given else names


def _share(number: int, workers: int, devices: int) -> dict[str, str]:
    """A worker's share of the machine, as environment variables."""
    share = {"OMP_NUM_THREADS": str(max(1, _threads() // workers))}
    if gpus := _gpus():
        own = [gpus[(number * devices + each) % len(gpus)] for each in range(devices)]
        share["CUDA_VISIBLE_DEVICES"] = ",".join(own)
    return share


def _share_words(workers: int) -> str:
    if gpus := _gpus():
        return f"on {len(gpus)} GPUs"
    threads = max(1, _threads() // workers)
    return f"{threads} thread{'' if threads == 1 else 's'} each"


def best_workers(job: Job, runs_per_gpu: int | Literal["auto"] = 1) -> int:
    """So many workers a GPU; on a processor, the number that promises to end first.

    A step of the first run is timed with all threads, with half of them, and so on: n workers promise n times the rate of one
    with its share of the threads, and take as long to start as this process did.
    """
    start_s = time.time() - psutil.Process().create_time()
    if gpus := _gpus():
        return len(gpus) * (_measured_runs(job, len(gpus)) if runs_per_gpu == "auto" else runs_per_gpu)
    if runs_per_gpu != 1:
        job.progress.say("note: --runs-per-gpu: there is no GPU here")
    trained = [run for run in job.runs if not (run.shares or run.config.ensemble or run.config.evaluate)]
    threads, most = _threads(), len(trained)
    if threads == 1 or most <= 1:
        return 1
    seconds, before = {}, psutil.Process().memory_info().rss
    steps, workers = _count_steps(job.workshop, trained), 1
    while workers <= min(threads, most):
        step_s = _step_seconds(job, trained[0], threads // workers)
        seconds[workers] = steps * step_s / workers + (start_s if workers > 1 else 0)
        workers *= 2
    torch.set_num_threads(threads)
    own = max(psutil.Process().memory_info().rss - before, 0) + before
    room = max(1, int(MEMORY_SHARE * psutil.virtual_memory().available / own))
    return choose_workers(seconds, room)


def choose_workers(seconds: dict[int, float], room: int) -> int:
    """The smallest number of workers that no larger one beats by more than a tenth, of those that memory has room for.

    ``seconds`` is how long each number of workers would take.

    >>> choose_workers({1: 100.0, 2: 60.0, 4: 58.0}, room=8)
    2
    """
    chosen = 1
    for workers, taken in sorted(seconds.items()):
        if workers <= room and GAIN * taken < seconds[chosen]:
            chosen = workers
    return chosen


def _count_steps(workshop: Workshop, runs: Sequence[Run]) -> int:
    """Training steps of all runs."""
    steps = 0
    for run in runs:
        dataset, roles = workshop.dataset(run.config.dataset)
        steps += budget_of(run.config.recipe, len(dataset.samples(roles.train))).steps
    return steps


def _measured_runs(job: Job, num_gpus: int) -> int:
    """The number of runs that fill a GPU, by the first run's step: its time on the clock, its kernels' time, and its memory."""
    device = torch.device("cuda")
    step = _make_step(job, job.runs[0])
    _clock(step, device)  # libraries choose their kernels
    seconds = _clock(step, device)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        _clock(step, device)
    busy = sum(event.self_device_time_total for event in profile.key_averages()) / 1e6
    free, _ = torch.cuda.mem_get_info(device)
    room = int(MEMORY_SHARE * free / max(torch.cuda.max_memory_reserved(device), 1))
    runs = runs_that_fill(seconds, busy, min(room, _threads() // num_gpus))
    job.progress.say(f"a step computes for {busy * 1e3:.1f} of {seconds * 1e3:.1f} ms: {runs} runs on each GPU")
    torch.cuda.empty_cache()
    return runs


def runs_that_fill(step_s: float, busy_s: float, room: int) -> int:
    """The number of runs that a GPU computes without one waiting for another, of those that it has room for.

    ``busy_s`` is for how long of a step of ``step_s`` seconds the GPU computes.

    >>> runs_that_fill(0.040, 0.012, room=8)
    3
    """
    return max(1, min(int(step_s / max(busy_s, 1e-9)), room))


def _clock(step: Callable[[], None], device: torch.device) -> float:
    """Median seconds of a step; each waits for the device."""
    times = []
    for _ in range(STEPS):
        started = time.perf_counter()
        step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def _step_seconds(job: Job, run: Run, threads: int) -> float:
    """Seconds of one training step of ``run`` with so many threads."""
    torch.set_num_threads(threads)
    step = _make_step(job, run)
    step()
    return _clock(step, torch.device("cpu"))


def _make_step(job: Job, run: Run) -> Callable[[], None]:
    """A training step of ``run``, on images of zeros."""
    recipe, model = run.config.recipe, run.config.model
    classes = len(job.workshop.dataset(run.config.dataset)[0].classes)
    bare = model.model_copy(update={"weights": "none"})
    fabric = make_fabric(recipe)
    network = place(build_network(bare, classes, 0, None, run.config.folder), fabric.device)
    stepping, stepper = fabric.setup(network, optimizer_of(network, recipe, run.config.folder))
    loss_of = make_loss(recipe.loss, run.config.folder)
    height, width = height_width(recipe.trained_px)
    images = torch.zeros(recipe.batch_size, 3, height, width, device=fabric.device)
    images = images.contiguous(memory_format=torch.channels_last)
    labels = torch.zeros(recipe.batch_size, height, width, dtype=torch.int64, device=fabric.device)

    def step() -> None:
        loss = loss_of(predict_logits(stepping, images), labels)
        stepper.zero_grad()
        fabric.backward(loss)
        stepper.step()

    return step
