"""Launchers: what starts ``segstudy work`` in other processes, here or on a cluster, and waits for their end.

A launcher is a function of a :class:`Job`; its further parameters are its options, ``--with key=value``. It returns when all
workers have ended. What they did is read off the store, so a launcher neither schedules runs nor collects results.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from segstudy.doors import Door, calling
from segstudy.errors import SpecError, nearest
from segstudy.files import SUMS
from segstudy.launch.pending import find_pending
from segstudy.launch.work import Outcome, execute_until_decided, failed_meanwhile
from segstudy.launch.workshop import Workshop
from segstudy.named import Choice, as_choice
from segstudy.plan import Plan, Run, open_plan
from segstudy.progress import Progress, showing
from segstudy.results import due
from segstudy.stopping import Stop, seconds_of
from segstudy.store import Store
from segstudy.tracking import open_tracking

LAUNCHERS = Door(
    "launcher",
    {
        "local": "segstudy.launch.local:run_here",
        "slurm": "segstudy.launch.on_slurm:run_on_slurm",
        "ray": "segstudy.launch.on_ray:run_on_ray",
    },
    as_choice("launcher", 1),
)


@dataclass(frozen=True)
class Work:
    """The arguments of ``segstudy work`` for a worker."""

    study: str
    out: Path
    data: Path | None = None
    only: tuple[str, ...] = ()
    seed: int | None = None
    settings: tuple[str, ...] = ()
    checkpoint_every: str | None = None
    devices: int | None = None
    track: tuple[str, ...] = ()
    graphs: bool = False

    def command(self, python: str = sys.executable) -> list[str]:
        """The same as a command line."""
        words = [python, "-m", "segstudy", "work", self.study, "--out", str(self.out)]
        for option, value in (
            ("--data", self.data),
            ("--seed", self.seed),
            ("--checkpoint-every", self.checkpoint_every),
            ("--devices", self.devices),
        ):
            words += [] if value is None else [option, str(value)]
        for option, values in (("--only", self.only), ("--set", self.settings), ("--track", self.track)):
            words += [word for value in values for word in (option, value)]
        return [*words, "--graphs"] if self.graphs else words


@dataclass
class Job:
    """Work to be started, and what a launcher may use.

    ``plan`` is the study's, ``runs`` are those of it that are to be done. ``workers`` is the requested number, None
    for the launcher's own choice. A launcher notes in ``ended`` the last words of workers that did not end well, in
    ``goes_on`` where workers are to be found that it does not wait for, and in ``left_here`` that it started nothing, because
    this process does the work as fast.
    """

    work: Work
    plan: Plan
    runs: Sequence[Run]
    workshop: Workshop
    workers: int | None = None
    ended: list[str] = field(default_factory=list)
    goes_on: str = ""
    left_here: bool = False

    @property
    def store(self) -> Store:
        """The study's output folder."""
        return self.workshop.store

    @property
    def progress(self) -> Progress:
        """How progress is shown."""
        return self.workshop.progress

    @property
    def stop(self) -> Stop:
        """The signal or limit that requests a stop."""
        return self.workshop.stop

    def num_done(self) -> int:
        """The number of sealed runs, by their files."""
        folders = (self.store.run(run.experiment, run.seed).path for run in self.runs)
        return sum((folder / SUMS).is_file() for folder in folders)

    def num_workers(self, most: int) -> int:
        """The number of workers: that of ``--workers``, else ``most``; never more than there are runs."""
        return max(1, min(self.workers or most, len(self.runs)))


def find_launcher(name: str, options: Sequence[str], folder: str = "") -> tuple[Choice, dict[str, Any]]:
    """A launcher and its options; an address, as in ``ray://head:10001``, is its option ``address``.

    Raises
    ------
    SpecError
        When there is no such launcher, or it has no such option.

    """
    plain = name.partition("://")[0]
    if not LAUNCHERS.knows(plain):
        raise SpecError(f"--on {LAUNCHERS.unknown(plain)}")
    choice: Choice = LAUNCHERS.find(plain, folder)
    known = choice.options.model_fields
    if name != plain and "address" not in known:
        raise SpecError(f"--on {name}: {plain} takes no address; write --on {plain}")
    given: dict[str, Any] = {"address": name} if name != plain else {}
    for option in options:
        key, equals, value = option.partition("=")
        if not equals:
            raise SpecError(f"--with '{option}': write key=value")
        given[key] = value
    for key in given:
        if key not in known:
            words = f"knows {', '.join(known)}" if known else "has no options"
            raise SpecError(f"--on {plain} --with {key}: no such option{nearest(key, known)}; {plain} {words}")
    try:
        found = choice.options.model_validate(given, strict=False)  # from text
    except ValidationError as error:
        first = error.errors()[0]
        value = "" if first["type"] == "missing" else f"={first['input']}"
        raise SpecError(f"--on {plain} --with {first['loc'][0]}{value}: {first['msg'].lower()}") from None
    if plain not in LAUNCHERS.table:
        choice = replace(choice, function=partial(_called, plain, choice.function))
    return choice, {key: getattr(found, key) for key in known}


def _called(name: str, function: Callable[..., Any], job: Job, **options: Any) -> None:
    """Call a launcher of the user's own, which may raise anything."""
    with calling(f"--on {name}"):
        function(job, **options)


def launch(job: Job, choice: Choice, options: Mapping[str, Any]) -> Outcome | None:
    """Let a launcher carry out a job, and read off the store what came of it; None if it goes on elsewhere or is left here."""
    began = time.time()
    if job.runs:
        choice.function(job, **options)
        job.stop.check()
    if job.goes_on:
        job.progress.say(job.goes_on)
    if job.goes_on or job.left_here:
        return None
    return _outcome(job, began)


def do_work(work: Work) -> Outcome:
    """Do in this process what ``segstudy work`` does."""
    plan, store = open_plan(work.study, work.out, work.settings, work.data)
    every = work.checkpoint_every
    stop = Stop(None, None if every is None else seconds_of(every, "--checkpoint-every"))
    with showing(True, open_tracking(work.track, store.root / "track")) as progress, stop.listening():
        workshop = Workshop(plan.study, store, work.data, progress, stop=stop, graphs=work.graphs)
        return execute_until_decided(workshop, plan, work.only, work.seed, join=True)[0]


def _outcome(job: Job, began: float) -> Outcome:
    outcome, words = Outcome(), list(map(str, job.ended))
    plan = due(job.plan, job.store).select(job.work.only, job.work.seed)
    for each in find_pending(job.store, plan):
        name = each.run.name
        if each.state == "done":
            continue
        if failed := failed_meanwhile(job.store.run(each.run.experiment, each.run.seed), began):
            outcome.failures.append(f"{name}: {failed}")
        elif each.state == "running":
            outcome.held.append(name)
        else:
            own = [each for each in words if each.startswith(f"{name}: ")]
            outcome.failures.append(own[-1] if own else f"{name}: is not done ({each.reason})")
    known = "\n".join(outcome.failures)
    further = [each for each in words if not any(line in known for line in each.splitlines()[-1:])]
    if outcome.failures and further:
        outcome.failures[-1] = "\n".join([outcome.failures[-1], *further])
    return outcome
