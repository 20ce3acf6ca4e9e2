"""Carry out a plan on this machine: take what is free, leave alone what is done or held by others, repeat at will."""

from __future__ import annotations

import contextlib
import os
import random
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import torch
from filelock import LeaseCompromise, SoftFileLease

from segstudy.errors import SegstudyError, StoreError
from segstudy.files import HOST, SUMS, sweep, write_text
from segstudy.launch.changes import data_changes
from segstudy.launch.one import do_run
from segstudy.launch.pending import Pending, find_pending, preflight, stale_message
from segstudy.launch.search import search_recipes
from segstudy.launch.workshop import Workshop
from segstudy.overview import live_lines
from segstudy.plan import Plan, Run, note_files, unequal_budgets
from segstudy.results import due
from segstudy.sizes import size_text
from segstudy.store import HELD_S, HeldError, RunFolder
from segstudy.train import loop as training
from segstudy.train.team import TeamLost

POLL_S = 2.0  # between the first two looks at runs that other processes hold
LONGEST_POLL_S = 30.0  # a claim of another machine runs out after 120 s, which at least two looks must see
SHOWN_SHARE = 20.0

Item = TypeVar("Item")


@dataclass
class Outcome:
    """The outcome of a plan: a line for every run that failed, names of those that others are doing."""

    failures: list[str] = field(default_factory=list)
    held: list[str] = field(default_factory=list)


def execute(workshop: Workshop, plan: Plan, replace: bool = False, join: bool = False) -> Outcome:
    """Do what is missing of ``plan``.

    A run that another living process holds is skipped, and looked at again at the end; with ``join`` that is repeated
    until everything is done. A run whose settings or data have changed since it was made is not touched, unless
    ``replace`` archives it under another name and trains it again.

    Raises
    ------
    SegstudyError
        Before anything is trained: what is wrong with the study, its data, or the store.

    """
    training.keep_freed_memory()
    pending = prepare(workshop, plan, replace)
    for line in unequal_budgets(plan):
        workshop.progress.say(f"note: training budget differs from the study's: {line}")
    outcome, began = Outcome(), time.time()
    claims: dict[str, SoftFileLease] = {}
    left, worker, show = list(enumerate(pending, 1)), f"{HOST}-{os.getpid()}", _Shown(workshop, plan)

    def take(item: tuple[int, Pending], wait_s: float = 0.0, skips: bool = False) -> bool:
        number, each = item
        title = f"[{number}/{len(pending)}] {each.run.name}"
        workshop.progress.prefix = f"{workshop.study.name} {title}  "
        if each.state == "done":
            workshop.progress.say(f"{title}: done before")
        elif not _take(workshop, each, title, claims, outcome, began, wait_s, skips):
            return False
        else:
            show()
        return True

    if join:
        take_all(spread(left, worker), take, pauses(worker))
        left = []
    else:
        left = [item for item in left if not take(item, skips=True)]
        if left and _freed(workshop, left):
            time.sleep(POLL_S)
            left = [item for item in left if not take(item, HELD_S)]
    show(last=True)
    workshop.progress.prefix = ""
    outcome.held = [each.run.name for _, each in left]
    return outcome


def spread(pending: Sequence[tuple[int, Pending]], worker: str) -> list[tuple[int, Pending]]:
    """The order in which ``worker`` tries runs: drawn for each worker, so that few want the same run at the same time.

    Runs that need the network of another one, ensembles among them, stay at the end.
    """
    alone = [each for each in pending if not (each[1].run.shares or each[1].run.config.ensemble)]
    after = [each for each in pending if each[1].run.shares or each[1].run.config.ensemble]
    random.Random(worker).shuffle(alone)
    return alone + after


def take_all(items: Sequence[Item], take: Callable[[Item], bool], waits: Iterator[float]) -> None:
    """Try ``items`` in turn until ``take`` has got each; if others hold all that are left, there is a wait between rounds."""
    left = list(items)
    while remaining := [each for each in left if not take(each)]:
        if len(remaining) == len(left):
            time.sleep(next(waits))
        left = remaining


def pauses(worker: str) -> Iterator[float]:
    """Seconds between the rounds of a worker that waits for others: longer each time, and drawn, so that workers differ.

    A wait adds a third to the time waited so far, so that a run that another worker leaves is taken over soon, and hundreds of
    workers that wait for the last runs of a study leave the file system alone.
    """
    drawn, pause = random.Random(worker), POLL_S
    while True:
        yield pause * drawn.uniform(0.5, 1.5)
        pause = min(pause * 4 / 3, LONGEST_POLL_S)


class _Shown:
    """Shows where the study stands after a run, as that reads all results: for a twentieth of the time at most."""

    def __init__(self, workshop: Workshop, plan: Plan) -> None:
        self.workshop, self.plan, self.due, self.waits = workshop, plan, 0.0, False

    def __call__(self, last: bool = False) -> None:
        if self.workshop.progress.console.quiet or (last and not self.waits):
            return
        began = time.monotonic()
        self.waits = not last and began < self.due
        if self.waits:
            return
        self.workshop.progress.stand(live_lines(self.plan, self.workshop.store))
        self.due = time.monotonic() + SHOWN_SHARE * (time.monotonic() - began)


def execute_until_decided(
    workshop: Workshop,
    plan: Plan,
    only: Sequence[str] = (),
    seed: int | None = None,
    replace: bool = False,
    join: bool = False,
) -> tuple[Outcome, Plan]:
    """Do what is missing of ``plan``; if it adds seeds until its comparisons are decided, also what becomes due then.

    Returns
    -------
    tuple
        What came of it, and the plan with all runs that were due. ``only`` and ``seed`` are those of
        :meth:`segstudy.plan.Plan.select`.

    """
    plan = due(search_recipes(workshop, plan, only), workshop.store)
    outcome = execute(workshop, plan.select(only, seed), replace, join)
    while plan.study.until is not None and not outcome.failures and not outcome.held:
        further = due(plan, workshop.store)
        if seed is not None or len(further.select(only).runs) <= len(plan.select(only).runs):
            break
        added = len(further.runs) - len(plan.runs)
        workshop.progress.say(f"not every comparison is decided: {added} more runs, at most {len(plan.later)}")
        plan, outcome = further, execute(workshop, further.select(only), join=join)
    return outcome, plan


def _freed(workshop: Workshop, left: Sequence[tuple[int, Pending]]) -> bool:
    """Whether a run that was held is held no more."""
    return any(not workshop.store.run(each.run.experiment, each.run.seed).locked() for _, each in left)


def prepare(workshop: Workshop, plan: Plan, replace: bool) -> list[Pending]:
    """Check everything before the first run begins, and archive what is to be replaced."""
    store, progress = workshop.store, workshop.progress
    pending = find_pending(store, plan)
    stale = [each.run for each in pending if each.state == "stale"]
    if stale and not replace:
        raise StoreError(stale_message(store, stale))
    store.prepare(workshop.study.model_dump(mode="json", exclude_unset=True))
    sweep(store.root)
    note_files(plan, store)
    preflight(workshop, [each.run for each in pending if each.state != "done"])
    if replace:
        changed = data_changes(workshop, plan)
        damaged = {each.run.name for each in pending if each.reason.startswith("damaged")}
        stale += [r for r in plan.runs if r not in stale and r.name in changed.keys() | damaged]
    else:
        for name, words in data_changes(workshop, plan).items():
            progress.say(f"note: {name}: the {' and '.join(words)} changed since it was made")
    preflight(workshop, stale)  # nothing is archived that could not be trained again
    for run in stale:
        folder = store.run(run.experiment, run.seed)
        with folder.lock():
            pass  # nobody works on it
        progress.say(f"{run.name}: the former run is kept as {folder.archive().name}")
    return find_pending(store, plan) if stale else pending


def _take(
    workshop: Workshop,
    each: Pending,
    title: str,
    claims: dict[str, SoftFileLease],
    outcome: Outcome,
    began: float,
    wait_s: float,
    skips: bool,
) -> bool:
    """Do a run unless another process holds it for ``wait_s``; False if that is so, which is said if it ``skips`` the run."""
    run, say = each.run, workshop.progress.say
    folder = workshop.store.run(run.experiment, run.seed)
    if (folder.path / SUMS).is_file() and _done(run, folder):
        say(f"{title}: done by another process")  # seen without a claim
        return True
    claim = claims.setdefault(run.name, folder.claim(lambda lost: _lose(workshop, lost)))
    workshop.stop.claim_lost = False
    try:
        with folder.lock(claim, wait_s):
            if failed := failed_meanwhile(folder, began):
                outcome.failures.append(f"{run.name}: {failed}")
                return True
            if _done(run, folder):
                say(f"{title}: done by another process")
                return True
            say(title + (f" ({each.reason})" if each.reason and each.state != "missing" else ""))
            failure = attempt(workshop, run, folder)
    except HeldError as error:
        if skips:
            say(f"{title}: {error}; it is skipped")
        return False
    except StoreError as error:
        failure = str(error)
    if failure:
        outcome.failures.append(f"{run.name}: {failure}")
        say(f"  failed: {failure}")
    return True


def _done(run: Run, folder: RunFolder) -> bool:
    try:
        at = folder.standing(run.identity, run.scored_on, held=False)
        return at.state == "done" and not folder.damaged(at.record)
    except StoreError:
        return False  # what is damaged, the run itself says


def _lose(workshop: Workshop, lost: LeaseCompromise) -> None:
    workshop.stop.claim_lost = True


def failed_meanwhile(folder: RunFolder, began: float) -> str:
    """Why another process failed with the run since this one began; it would fail here again."""
    with contextlib.suppress(OSError):
        if folder.failure.stat().st_mtime > began:
            return folder.read_failure()
    return ""


def attempt(workshop: Workshop, run: Run, folder: RunFolder) -> str:
    """Do one run; what stops it is written into its folder and returned, so that the others go on."""
    try:
        folder.failure.unlink(missing_ok=True)
        workshop.rebuilding(lambda: do_run(workshop, run, folder))
    except (HeldError, TeamLost):
        raise
    except StoreError as error:
        return str(error)
    except OSError as error:
        return f"{error.filename or folder.path}: {error.strerror or error}; see that it can be read and written"
    except (Exception, SystemExit) as error:
        # One failing run never ends the study. Torch raises errors of many kinds, a full memory among them, and code that a
        # study names may call sys.exit.
        return _noted(folder, _words(run, folder, error))
    return ""


def _words(run: Run, folder: RunFolder, error: Exception | SystemExit) -> str:
    if isinstance(error, SegstudyError):
        return str(error)
    if _is_of_memory(error):
        return _memory_advice(run, error)
    details = folder.failure.with_suffix(".log")
    write_text(details, traceback.format_exc())
    said = "torch stopped" if isinstance(error, Exception) else "the code called sys.exit"
    return f"{said}: {_first_line(error)}; see {details}"


def _noted(folder: RunFolder, text: str) -> str:
    write_text(folder.failure, text + "\n")
    return text


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _memory_advice(run: Run, error: BaseException) -> str:
    recipe = run.config.recipe
    parts = f", of which {-(-recipe.batch_size // recipe.accumulate)} at a time," if recipe.accumulate > 1 else ""
    more = min(2 * recipe.accumulate, recipe.batch_size)
    advice = [f"set recipe.accumulate: {more} for the whole study (the same batch in {more} parts)"]
    advice += ["let --fit-memory find the number before training"] if recipe.accumulate == 1 else []
    size = f"lower recipe.{'crop_px' if recipe.crop_px else 'input_size'}"
    return (
        f"the {'GPU' if isinstance(error, torch.OutOfMemoryError) else 'machine'}'s memory is too small for batches of "
        f"{recipe.batch_size}{parts} at {size_text(recipe.trained_px)} px ({_first_line(error)}); "
        + ", ".join(advice if more > recipe.accumulate else [])
        + (", or " if more > recipe.accumulate else "")
        + size
    )


def _is_of_memory(error: BaseException) -> bool:
    """Whether the memory of a GPU or, where the system says so instead of ending the process, of the machine is full."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
