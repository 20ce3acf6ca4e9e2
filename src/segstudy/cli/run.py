"""Commands that carry a study out: in this process, in several here, or on a cluster."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segstudy.cli.options import (
    CheckpointEvery,
    DataDir,
    Devices,
    FitMemory,
    Graphs,
    MaxTime,
    Nodes,
    On,
    Only,
    Out,
    PrintSbatch,
    Quiet,
    Replace,
    RunsPerGpu,
    Seed,
    Set,
    StudyArg,
    Track,
    With,
    Workers,
    app,
    plan_of,
    shown,
    stop_of,
    workshop_of,
)
from segstudy.cli.study import data_changes_of, print_changes, print_plan
from segstudy.errors import SegstudyError, SpecError

if TYPE_CHECKING:
    from segstudy.launch.launchers import Work
    from segstudy.launch.work import Outcome
    from segstudy.named import Choice
    from segstudy.plan import Plan
    from segstudy.stopping import Stop
    from segstudy.store import Store
    from segstudy.train.processes import Team


@app.command()
def demo(out: Out = None, quiet: Quiet = False) -> None:
    """Run a miniature of the review on synthetic scenes; nothing is downloaded."""
    run("demo", out=out, quiet=quiet)


@app.command()
def run(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    only: Only = None,
    seed: Seed = None,
    set_: Set = None,
    replace: Replace = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and change nothing.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Do not write the report.")] = False,
    max_time: MaxTime = None,
    checkpoint_every: CheckpointEvery = None,
    fit_memory: FitMemory = False,
    workers: Workers = None,
    runs_per_gpu: RunsPerGpu = None,
    devices: Devices = None,
    nodes: Nodes = 1,
    on: On = None,
    with_: With = None,
    print_sbatch: PrintSbatch = False,
    track: Track = None,
    graphs: Graphs = False,
    quiet: Quiet = False,
) -> None:
    """Train and score the missing runs of a study, then write its report; safe to repeat after any interruption.

    Runs that another process is working on are left to it.
    """
    stop = stop_of(max_time, checkpoint_every)
    whole, store = plan_of(study, out, set_, data)
    part = whole.select(only or (), seed)
    workers, with_ = _sharing_gpus(runs_per_gpu, workers, with_)
    number = _check_launcher(whole, workers, on, with_, print_sbatch)
    if print_sbatch:
        _refuse_with_sbatch(on, nodes, dry_run=dry_run, max_time=max_time, replace=replace, fit_memory=fit_memory)
    if dry_run:
        print_plan(part, store, whole, data)
        return
    whole = _fitted(whole, store, data, quiet) if fit_memory else whole
    requested = _requested(study, store, data, only, seed, set_, checkpoint_every, devices, track, graphs)
    if print_sbatch:
        _print_sbatch(requested, min(number or len(part.runs), len(part.runs)), with_)
        return
    if (outcome := _carry_out(requested, whole, store, stop, workers, nodes, on, with_, replace, quiet=quiet)) is None:
        return
    print(*(f"left to another process: {name}\n" for name in outcome.held), sep="", end="")
    if not no_report and len(outcome.failures) < len(part.runs):
        _report_of(*plan_of(study, out, set_, data), data, outcome)
    _raise_failures(outcome)


@app.command()
def work(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    only: Only = None,
    seed: Seed = None,
    set_: Set = None,
    max_time: MaxTime = None,
    checkpoint_every: CheckpointEvery = None,
    fit_memory: FitMemory = False,
    devices: Devices = None,
    nodes: Nodes = 1,
    track: Track = None,
    graphs: Graphs = False,
    quiet: Quiet = False,
) -> None:
    """Take free runs of a study, one after the other, until all are done; any number of processes can share a study.

    A run of a process that died is taken over. No report is written: call segstudy report when all have ended.
    """
    stop = stop_of(max_time, checkpoint_every)
    whole, store = plan_of(study, out, set_, data)
    part = whole.select(only or (), seed)
    whole = _fitted(whole, store, data, quiet) if fit_memory else whole
    requested = _requested(study, store, data, only, seed, set_, checkpoint_every, devices, track, graphs)
    outcome = _carry_out(requested, whole, store, stop, None, nodes, None, None, join=True, quiet=quiet)
    if outcome is None:
        return
    _raise_failures(outcome)
    print(f"all {len(part.runs)} runs are done\nnext: segstudy report {study}")


def _fitted(whole: Plan, store: Store, data: Path | None, quiet: bool) -> Plan:
    from segstudy.launch.memory import fit
    from segstudy.progress import showing

    with showing(quiet) as progress:
        return fit(workshop_of(whole, store, data, progress), whole)


def _requested(
    study: str,
    store: Store,
    data: Path | None,
    only: list[str] | None,
    seed: int | None,
    settings: list[str] | None,
    checkpoint_every: str | None,
    devices: int | None,
    track: list[str] | None,
    graphs: bool,
) -> Work:
    """The job of a worker elsewhere: the same, with paths that do not depend on the current folder."""
    from segstudy.launch.launchers import Work
    from segstudy.tracking import open_tracking

    open_tracking(track or (), store.root / "track")  # says now what no worker could do
    return Work(
        str(Path(study).resolve()) if Path(study).is_file() else study,
        store.root,
        None if data is None else data.resolve(),
        tuple(only or ()),
        seed,
        tuple(settings or ()),
        checkpoint_every,
        devices,
        tuple(track or ()),
        graphs,
    )


def _carry_out(
    requested: Work,
    whole: Plan,
    store: Store,
    stop: Stop,
    workers: str | None,
    nodes: int,
    on: str | None,
    options: list[str] | None,
    replace: bool = False,
    *,
    join: bool = False,
    quiet: bool = False,
) -> Outcome | None:
    """Do what is missing of the chosen runs, here or elsewhere; a signal, or the end of the time, stops it.

    None in the processes of a team that do not lead it, and where the work goes on elsewhere.
    """
    from segstudy.train.team import team_here

    team = team_here(requested.devices, nodes)
    number = number_of(workers)
    if team is None and nodes > 1:
        raise SpecError(f"--nodes {nodes}: start one process a device with srun or torchrun")
    elsewhere = on is not None or workers is not None or (requested.devices or 1) > 1
    if team is not None and (on is not None or workers is not None):
        raise SpecError("--workers and --on start processes of their own; run the command without srun and torchrun")
    if team is None and elsewhere:
        return _launch(requested, whole, store, stop, number, on, options, replace, join, quiet)
    return _work_here(requested, whole, store, stop, team, replace, join, quiet)


def _sharing_gpus(
    runs_per_gpu: str | None, workers: str | None, options: list[str] | None
) -> tuple[str | None, list[str] | None]:
    """``--workers`` and ``--with`` as ``--runs-per-gpu`` means them, which is an option of the launcher of this machine."""
    if runs_per_gpu is None:
        return workers, options
    number_of(runs_per_gpu, "--runs-per-gpu")
    return workers or "auto", [*(options or ()), f"runs_per_gpu={runs_per_gpu}"]


def number_of(given: str | None, option: str = "--workers") -> int | None:
    """The number that an option gives; None where it is to be found out."""
    if given is None or given == "auto":
        return None
    if not given.isdecimal() or not int(given):
        raise SpecError(f"{option} {given}: must be a number from 1, or auto")
    return int(given)


def _work_here(
    requested: Work, whole: Plan, store: Store, stop: Stop, team: Team | None, replace: bool, join: bool, quiet: bool
) -> Outcome | None:
    from segstudy.launch.follow import follow, leading
    from segstudy.launch.work import execute_until_decided
    from segstudy.progress import showing
    from segstudy.tracking import open_tracking

    follows = team is not None and team.rank > 0
    tracking = None if follows else open_tracking(requested.track, store.root / "track")
    with showing(quiet or follows, tracking) as progress, stop.listening():
        workshop = workshop_of(whole, store, requested.data, progress, stop, team, requested.graphs)
        if follows:
            follow(workshop, whole)
            return None
        with leading(workshop) if team else nullcontext():
            return execute_until_decided(workshop, whole, requested.only, requested.seed, replace, join)[0]


def _launch(
    requested: Work,
    whole: Plan,
    store: Store,
    stop: Stop,
    workers: int | None,
    on: str | None,
    options: list[str] | None,
    replace: bool,
    join: bool,
    quiet: bool,
) -> Outcome | None:
    """Let a launcher start workers."""
    from segstudy.launch.launchers import Job, launch
    from segstudy.launch.work import prepare
    from segstudy.progress import showing

    launcher = _launcher_of("local" if on is None else on, options, whole)
    with showing(quiet) as progress, stop.listening():
        workshop = workshop_of(whole, store, requested.data, progress, stop)
        pending = prepare(workshop, whole.select(requested.only, requested.seed), replace)
        left = [each.run for each in pending if each.state != "done" and (join or each.state != "running")]
        job = Job(requested, whole, left, workshop, workers)
        outcome = launch(job, *launcher)
    return _work_here(requested, whole, store, stop, None, False, join, quiet) if job.left_here else outcome


def _check_launcher(
    whole: Plan, workers: str | None, on: str | None, options: list[str] | None, print_sbatch: bool
) -> int | None:
    """Refuse a number of workers, a launcher or options that there are not; gives the number."""
    number = number_of(workers)
    if on is not None or options:
        usual = "slurm" if print_sbatch else "local" if workers else None
        _launcher_of(usual if on is None else on, options, whole)
    return number


def _launcher_of(on: str | None, options: list[str] | None, whole: Plan) -> tuple[Choice, dict[str, Any]]:
    """The launcher that is named, with its options."""
    from segstudy.launch.launchers import find_launcher

    if on is None:
        raise SpecError("--with: is for the options of --on; name a launcher")
    return find_launcher(on, options or (), whole.study.folder)


def _refuse_with_sbatch(on: str | None, nodes: int, **given: object) -> None:
    """Refuse what the printed script would silently lack."""
    others = [f"--{option.replace('_', '-')}" for option, value in given.items() if value]
    others += [f"--on {on}"] if on not in (None, "slurm") else []
    others += [f"--nodes {nodes}"] if nodes > 1 else []
    if others:
        raise SpecError(
            f"--print-sbatch prints the script of --on slurm, without {others[0]}; leave one of the two out"
        )


def _print_sbatch(requested: Work, jobs: int, options: list[str] | None) -> None:
    from segstudy.launch.launchers import find_launcher
    from segstudy.launch.on_slurm import sbatch_script

    _, found = find_launcher("slurm", options or ())
    print(sbatch_script(requested, jobs, **found), end="")


def _report_of(whole: Plan, store: Store, data: Path | None, outcome: Outcome) -> None:
    """Write the report; while others still work, there may be nothing to report yet."""
    from segstudy.report.build import build_report

    try:
        print(f"report: {shown(build_report(store, whole, data))}")
    except SegstudyError as error:
        if outcome.held and "has a result yet" in str(error):
            print("no report yet: other processes are working on all runs")
        elif outcome.failures:
            outcome.failures.append(f"no report: {error}")
        else:
            raise
    print_changes([], data_changes_of(whole, store, data))


def _raise_failures(outcome: Outcome) -> None:
    if outcome.failures:
        number = sum(not line.startswith("no report: ") for line in outcome.failures)
        raise SegstudyError("\n".join([f"{number} run{'s' * (number > 1)} failed:", *outcome.failures]))
