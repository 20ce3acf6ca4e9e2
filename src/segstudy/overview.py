"""The state of a whole study: runs by state, time to the end from measured speed, verdicts so far."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import scipy

from segstudy.comparison import Comparison
from segstudy.counts.counting import measures_of
from segstudy.errors import SegstudyError, StoreError
from segstudy.files import SUMS, digest, file_sha256, read_sealed, write_sealed
from segstudy.plan import Plan
from segstudy.results import RunResult, read_results, stand
from segstudy.store import Store

SHOWN = 12  # verdicts below a live view


@dataclass(frozen=True)
class Standing:
    """One run: its state, epochs done and planned, the best score so far, and seconds of training so far."""

    run: str
    experiment: str
    state: str
    epochs_done: int
    epochs: int | None  # None if unknown before the training images are counted
    best: float
    seconds: float


def standings(found: Sequence[RunResult]) -> list[Standing]:
    """Every run, as the store has it; a run whose files cannot be read has failed."""
    return [_standing(each) for each in found]


def _standing(found: RunResult) -> Standing:
    epochs = found.epochs or found.folder.read_epochs()
    scores = [e.select_miou for e in epochs if e.select_miou == e.select_miou]
    return Standing(
        found.run.name,
        found.run.experiment,
        "failed" if found.damage else found.state,
        len(epochs),
        found.run.config.epochs,
        max(scores, default=float("nan")),
        sum(e.seconds or 0.0 for e in epochs),
    )


def epochs_text(done: int, planned: int | None) -> str:
    """Epochs done of those that are planned.

    >>> [epochs_text(3, 50), epochs_text(3, None), epochs_text(0, 0)]
    ['3/50', '3', '–']
    """
    if planned is None:
        return str(done)
    return f"{done}/{planned}" if planned else "–"


def seconds_left(runs: Sequence[Standing]) -> float | None:
    """Seconds of training to the end, at each experiment's own measured speed, else at the mean of all; None before any,
    or where a budget of iterations has not yet shown how many epochs it is.

    Runs that go on at the same time share the work. Early stopping can make it less; scoring comes on top.
    """
    own: dict[str, list[Standing]] = {}
    for run in runs:
        if run.seconds > 0:
            own.setdefault(run.experiment, []).append(run)
    speeds = {name: sum(r.seconds for r in done) / sum(r.epochs_done for r in done) for name, done in own.items()}
    if not speeds:
        return None
    usual = sum(speeds.values()) / len(speeds)
    waiting = [run for run in runs if run.state not in ("done", "trained", "failed", "stale")]
    known = {run.experiment: run.epochs_done for run in runs if run.state == "done"}
    work = 0.0
    for run in waiting:
        planned = known.get(run.experiment) if run.epochs is None else run.epochs
        if planned is None:
            return None
        work += max(0, planned - run.epochs_done) * speeds.get(run.experiment, usual)
    return work / max(1, sum(run.state == "running" for run in runs))


def progress_line(runs: Sequence[Standing]) -> str:
    """Runs by state, and the time to the end."""
    counts = Counter(run.state for run in runs)
    done = counts.pop("done", 0)
    left = sum(count for state, count in counts.items() if state not in ("running", "failed", "stale"))
    parts = [
        f"{done} of {len(runs)} runs done",
        *(f"{counts[s]} {s}" for s in ("running", "failed", "stale") if counts[s]),
    ]
    seconds = seconds_left(runs)
    ends = f", about {duration(seconds)} of training to the end" if seconds else ""
    return f"{', '.join([*parts, *([f'{left} left'] if left else [])])}{ends}"


def duration(seconds: float) -> str:
    """A length of time in two digits or so.

    >>> duration(50), duration(700), duration(9000)
    ('50 s', '12 min', '2.5 h')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class Said:
    """One comparison in words: its verdict, and a line; ``known`` if both sides have results."""

    verdict: str
    line: str
    known: bool


def verdicts_so_far(plan: Plan, store: Store, found: Sequence[RunResult]) -> tuple[Mapping[str, Said], str]:
    """Every comparison of the study, as far as its runs are ``found``; while a result cannot be read, none and the reason.

    What was said before is said again, without reading the counts, if every file that it rests on is what it was.
    """
    if not any(run.state == "done" and not run.damage for run in found):
        return {}, ""
    key = _basis(plan, store, found)
    known = read_sealed(store.verdicts)
    if key and known.get("basis") == key:
        return {name: Said(**each) for name, each in json.loads(known["said"]).items()}, ""
    try:
        comparisons = read_results(store, plan, found).comparisons
    except SegstudyError as error:
        return {}, str(error)
    said = {
        name: Said(one.verdict, line, one.difference is not None)
        for (name, one), line in zip(comparisons.items(), verdict_lines(comparisons), strict=True)
    }
    if key:
        with contextlib.suppress(StoreError):  # a store that may only be read: they are computed again next time
            write_sealed(
                store.verdicts, {"basis": key, "said": json.dumps({n: asdict(one) for n, one in said.items()})}
            )
    return said, ""


def _basis(plan: Plan, store: Store, found: Sequence[RunResult]) -> str:
    """Hash of all that the verdicts rest on: the study, records and counts, and the code; empty if that is not known."""
    measure = next(one for one in measures_of(plan.study.scoring) if one.key == plan.study.primary)
    own = Path(__file__).parent
    if any(run.damage for run in found) or not measure.function.__module__.startswith(f"{own.name}."):
        return ""
    code = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(own.rglob("*.py"))]
    runs = []
    for each in found:
        # of a finished run, the sums have just been compared with the files
        files = [each.folder.path / SUMS] if each.state == "done" else [each.folder.config, *each.counts]
        runs.append(
            [each.run.name, each.run.identity, each.state, *(file_sha256(path) for path in files if path.is_file())]
        )
    study = plan.study.model_dump(mode="json")
    environment = file_sha256(path) if (path := store.root / "environment.json").is_file() else ""
    return digest(
        {"study": study, "runs": runs, "code": code, "with": [np.__version__, scipy.__version__, environment]}
    )


def live_lines(plan: Plan, store: Store) -> list[str]:
    """Lines to show while runs go on: the runs, then the verdicts so far."""
    runs = stand(store, plan)
    known = [each.line for each in verdicts_so_far(plan, store, runs)[0].values() if each.known]
    more = [f"and {len(known) - SHOWN} more verdicts: segstudy status"] if len(known) > SHOWN else []
    return [progress_line(standings(runs)), *known[:SHOWN], *more]


def verdict_lines(comparisons: Mapping[str, Comparison]) -> list[str]:
    """The verdict of each variant so far, a line each."""
    return [f"verdict  {name} against {found.b.name}: {_verdict_words(found)}" for name, found in comparisons.items()]


def _verdict_words(found: Comparison) -> str:
    if found.difference is None:
        reasons = "; ".join(problem.what for problem in found.problems)
        return f"{found.verdict} ({reasons})" if found.verdict else "no result yet"
    difference, claim = found.difference, found.equivalence
    places = 1 if found.measure.unit else 4
    value = f"{difference.value:+.{places}f}" if difference.value == difference.value else "-"
    text = f"{found.verdict or 'no verdict'}, {value}"
    if difference.low == difference.low:
        text += f" [{difference.low:+.{places}f}, {difference.high:+.{places}f}]"
    text += f" {found.measure.label}, {difference.num_seeds_variant} against {difference.num_seeds_base} seeds"
    if not found.verdict:
        text += f" ({difference.reason or difference.assumption or 'too few seeds for the first look'})"
    if claim is not None and claim.verdict and found.verdict:
        text += f"; {claim.verdict} ({claim.margin:g})"
    text += "".join(f"; caution: {words}" for words in found.cautions)
    return text + (f"; also differs in: {'; '.join(found.remarks)}" if found.remarks else "")
