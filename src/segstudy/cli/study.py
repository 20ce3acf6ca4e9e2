"""Commands about a study: run it, see where it stands, report it, use and keep what it made."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segstudy.cli.options import (
    CheckpointEvery,
    DataDir,
    Json,
    MaxTime,
    Only,
    Out,
    Quiet,
    Replace,
    Seed,
    Set,
    StudyArg,
    app,
    plan_of,
    shown,
    stop_of,
    workshop_of,
)
from segstudy.errors import SegstudyError

if TYPE_CHECKING:
    from segstudy.launch.work import Outcome
    from segstudy.plan import Plan, Run
    from segstudy.stopping import Stop
    from segstudy.store import RunFolder, Store


@app.command()
def demo(out: Out = None, quiet: Quiet = False) -> None:
    """Run the review in miniature on synthetic scenes; nothing is downloaded."""
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
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    no_report: Annotated[bool, typer.Option("--no-report", help="Leave the report as it is.")] = False,
    max_time: MaxTime = None,
    checkpoint_every: CheckpointEvery = None,
    quiet: Quiet = False,
) -> None:
    """Do what is missing of a study, then write its report; call it again after any interruption.

    Runs that another process is working on are left to it.
    """
    stop = stop_of(max_time, checkpoint_every)
    whole, store = plan_of(study, out, set_, data)
    part = whole.select(only or (), seed)
    if dry_run:
        _print_plan(part, store, whole, data)
        return
    outcome = _carry_out(whole, part, store, data, stop, replace=replace, join=False, quiet=quiet)
    for name in outcome.held:
        print(f"left to another process: {name}")
    if not no_report and len(outcome.failures) < len(part.runs):
        _report_of(whole, store, data, bool(outcome.held))
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
    quiet: Quiet = False,
) -> None:
    """Take what is free of a study, one run after the other, until all of it is done; any number of processes may.

    A run of a process that died is taken over. No report is written: call segstudy report when all have ended.
    """
    stop = stop_of(max_time, checkpoint_every)
    whole, store = plan_of(study, out, set_, data)
    part = whole.select(only or (), seed)
    _raise_failures(_carry_out(whole, part, store, data, stop, replace=False, join=True, quiet=quiet))
    print(f"all {len(part.runs)} runs are done\nnext: segstudy report {study}")


def _carry_out(
    whole: Plan, part: Plan, store: Store, data: Path | None, stop: Stop, *, replace: bool, join: bool, quiet: bool
) -> Outcome:
    """Do what is missing of ``part``; a signal, or the end of the time, is answered with how to go on."""
    from segstudy.launch.work import execute
    from segstudy.progress import showing

    with showing(quiet) as progress, stop.listening():
        return execute(workshop_of(whole, store, data, progress, stop), part, replace, join)


def _report_of(whole: Plan, store: Store, data: Path | None, others: bool) -> None:
    """Write the report; while others still work, there may be nothing to report yet."""
    from segstudy.report.build import build_report

    try:
        print(f"report: {shown(build_report(store, whole, data))}")
    except SegstudyError as error:
        if not others or "has a result yet" not in str(error):
            raise
        print("no report yet: other processes are working on every run")


def _raise_failures(outcome: Outcome) -> None:
    if outcome.failures:
        raise SegstudyError("\n".join([f"{len(outcome.failures)} runs failed:", *outcome.failures]))


@app.command()
def plan(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
    power: Annotated[float | None, typer.Option(help="Chance to see --difference, such as 0.8.")] = None,
    difference: Annotated[float | None, typer.Option(help="True difference in mIoU to be seen, such as 0.01.")] = None,
    as_json: Json = False,
) -> None:
    """Show a study's runs: what each changes, where it stands, what it costs; or how many seeds and images it needs."""
    whole, store = plan_of(study, out, set_, data)
    if power is not None or difference is not None:
        _print_requirements(
            whole, store, 0.8 if power is None else power, 0.01 if difference is None else difference, as_json
        )
        return
    if as_json:
        print(json.dumps(_run_rows(whole, store), indent=2))
    else:
        _print_plan(whole, store, whole, data)


@app.command()
def status(study: StudyArg, out: Out = None, data: DataDir = None, set_: Set = None, as_json: Json = False) -> None:
    """Count a study's runs by where they stand, and say what to do next."""
    whole, store = plan_of(study, out, set_, data)
    rows = _run_rows(whole, store)
    states = {
        state: [r["run"] for r in rows if r["state"] == state] for state in dict.fromkeys(r["state"] for r in rows)
    }
    changed = _data_changes(whole, store, data)
    if as_json:
        record = {"study": whole.study.name, "out": str(store.root), "states": states, "data_changed": changed}
        print(json.dumps(record, indent=2))
        return
    for state, names in states.items():
        print(f"{state:8} {len(names):3}  {', '.join(names)}")
    for row in rows:
        if row["failure"]:
            print(f"failed: {row['run']}: {row['failure']}")
    _print_changes(rows, changed)
    unfinished = len(rows) - len(states.get("done", []))
    if unfinished:
        print(f"next: segstudy run {study}")
    else:
        print(f"next: open {shown(store.page)}" if store.page.is_file() else f"next: segstudy report {study}")


def _data_changes(whole: Plan, store: Store, data: Path | None) -> dict[str, list[str]]:
    """Which runs rest on data that are not what they were; without runs in the store no data are looked at."""
    if not any(store.run(run.experiment, run.seed).config.is_file() for run in whole.runs):
        return {}
    from segstudy.launch.pending import data_changes
    from segstudy.progress import showing

    with showing(quiet=True) as progress:
        return data_changes(workshop_of(whole, store, data, progress), whole)


def _print_changes(rows: list[dict[str, Any]], changed: dict[str, list[str]]) -> None:
    for row in rows:
        if row["differs"]:
            print(f"stale: {row['run']} was made with other settings: {row['differs']}")
    for name, words in changed.items():
        print(f"changed: the {' and '.join(words)} changed since {name} was made")


@app.command()
def report(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
    single_file: Annotated[
        int | None,
        typer.Option("--single-file", min=0, help="Put the pictures of this many images into the page itself."),
    ] = None,
) -> None:
    """Write tables, figures and the page anew from the counts on disk."""
    from segstudy.report.build import build_report

    whole, store = plan_of(study, out, set_)
    print(f"report: {shown(build_report(store, whole, data, single_file))}")


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A folder of images and masks.")],
    file: Annotated[Path, typer.Option("--file", help="The study file to write.")] = Path("study.yaml"),
) -> None:
    """Look at a folder of images and masks and write a commented study file for it."""
    from segstudy.init import write_study_file

    written = write_study_file(folder, file)
    print(f"wrote {file}")
    if written.sheet is not None:
        print(f"wrote {written.sheet}: look at it, masks must lie on what they mean")
    if written.obstacles:
        print("in the way, and said in the file:", *(f"  {line}" for line in written.obstacles), sep="\n")
    print(f"next: segstudy check {file}")


@app.command()
def predict(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="STUDY:EXPERIMENT, or STUDY:EXPERIMENT/seedN.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders of images and of sub-folders.")],
    out: Out = None,
    to: Annotated[Path, typer.Option("--to", help="Folder for the masks.")] = Path("predictions"),
    overlays: Annotated[
        Path | None, typer.Option("--overlays", help="Folder for the overlays; the masks' with '-overlays' by default.")
    ] = None,
    set_: Set = None,
) -> None:
    """Predict masks and overlays for new images with a finished run."""
    from segstudy.errors import StoreError
    from segstudy.plan import run_of
    from segstudy.predict import overlays_beside, predict_images

    study, experiment, seed = run_of(run_name)
    whole, store = plan_of(study, out, set_)
    chosen = whole.select([experiment], seed).runs[0]
    folder = store.run(chosen.experiment, chosen.seed)
    state = folder.state(chosen.identity, chosen.scored_on)
    if not folder.trained or state == "stale":
        reason = "was made with other settings than the study's" if state == "stale" else "is not trained yet"
        raise StoreError(f"{chosen.name}: {reason} in {store.root}; run the study first, or name its --out")
    folder.check_best()
    overlays = overlays or overlays_beside(to)
    written = predict_images(chosen, folder, images, to, overlays)
    print(f"wrote {len(written.masks)} masks to {to} and as many overlays to {overlays}")
    print(*(f"not read: {line}" for line in written.left_out), sep="\n", end="\n" if written.left_out else "")


@app.command()
def archive(study: StudyArg, out: Out = None, set_: Set = None) -> None:
    """Pack checkpoints, counts, tables and pictures into one zip with SHA-256 sums."""
    from segstudy.archive import check_runs, write_archive
    from segstudy.report.build import build_report

    whole, store = plan_of(study, out, set_)
    check_runs(store, whole)
    build_report(store, whole)
    path, left_out = write_archive(store, whole)
    print(f"wrote {shown(path)} ({path.stat().st_size / 1e6:.1f} MB)")
    for name in left_out:
        print(f"not in it, because not done: {name}")


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="An archive, a study's output folder, or a run's folder.")],
    rescore: Annotated[
        str | None, typer.Option("--rescore", metavar="STUDY", help="Also score this study's networks again.")
    ] = None,
    data: DataDir = None,
) -> None:
    """Check every file against the SHA-256 sums that lie with it, and the data that a study's folder remembers."""
    from segstudy.errors import StoreError
    from segstudy.files import verify as verify_sums

    good, problems = verify_sums(path)
    data_note = ""
    if (path / "cache" / "fingerprints.json").is_file():
        num_read, more = _reread(path)
        problems += more
        data_note = f"; {num_read} files of the data are what they were"
    if rescore is not None:
        problems += _rescored(path, rescore, data)
    if problems:
        raise StoreError("\n".join([f"{path}: {good} files agree, {len(problems)} do not:", *problems]))
    print(f"{path}: all {good} files agree with their sums{data_note}")


def _reread(path: Path) -> tuple[int, list[str]]:
    from segstudy.data.cache.arrays import reread_files
    from segstudy.store import Store

    num_read, changed = reread_files(Store(path))
    return num_read, [f"{file}: changed since it was first read, at equal size and times" for file in changed]


def _rescored(path: Path, study: str, data: Path | None) -> list[str]:
    from segstudy.launch.rescore import rescore
    from segstudy.progress import showing

    whole, store = plan_of(study, path, None, data)
    with showing() as progress:
        return rescore(workshop_of(whole, store, data, progress), whole)


@app.command("import")
def import_(
    checkpoint: Annotated[
        Path, typer.Argument(help="A .pth or .safetensors file, such as the review's notebook writes.")
    ],
    study: Annotated[str, typer.Option("--study", help="The study that it belongs to.")],
    experiment: Annotated[str, typer.Option("--experiment", help="The experiment that it is a run of.")],
    seed: Seed = None,
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
) -> None:
    """Take a checkpoint in as a trained run; 'segstudy run' then scores it."""
    from segstudy.launch.one import import_checkpoint
    from segstudy.progress import showing

    whole, store = plan_of(study, out, set_, data)
    chosen = whole.select([experiment], seed).runs[0]
    with showing() as progress:
        import_checkpoint(workshop_of(whole, store, data, progress), chosen, checkpoint)
    print(f"imported as {chosen.name}\nnext: segstudy run {study} --only {experiment}")


def _state_of(each: Run, folder: RunFolder) -> tuple[str, str]:
    """Where a run stands, and what is wrong with it where that cannot be read."""
    from segstudy.errors import StoreError

    try:
        return folder.state(each.identity, each.scored_on), ""
    except StoreError as error:
        return "failed", str(error)


def _run_rows(plan: Plan, store: Store) -> list[dict[str, Any]]:
    from segstudy.files import read_yaml
    from segstudy.plan import differences

    rows = []
    for each in plan.runs:
        folder = store.run(each.experiment, each.seed)
        state, broken = _state_of(each, folder)
        cost = folder.read_cost()
        rows.append(
            {
                "run": each.name,
                "identity": each.identity,
                "kind": each.variation.kind if each.variation else "baseline",
                "base": each.variation.base if each.variation else None,
                "variant": each.variation.variant if each.variation else "",
                "state": state,
                "epochs_done": len(folder.read_metrics()),
                "epochs": each.config.recipe.epochs,
                "seconds_per_epoch": cost.seconds_per_epoch if cost else None,
                "failure": (broken or folder.read_failure()) if state == "failed" else None,
                "differs": differences(each, read_yaml(folder.config)) if state == "stale" else None,
            }
        )
    return rows


def _print_requirements(plan: Plan, store: Store, power: float, difference: float, as_json: bool) -> None:
    from segstudy.planning import requirements
    from segstudy.results import read_results

    rows = requirements(read_results(store, plan), power, difference)
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    asked = rows[0]["questions"]
    corrected = f", as one of the study's {asked} comparisons" if asked > 1 else ""
    print(f"To see a difference of {difference:g} in mIoU with probability {power:g}{corrected}.")
    print("To be safe: if the noise is as large as so few seeds and images leave possible (upper 80 % limits).\n")
    for row in rows:
        size = f"{row['num_seeds']} seed{'' if row['num_seeds'] == 1 else 's'} and {row['num_images']:,} images"
        seen = "unknown" if row["detectable"] is None else f"{size} see {row['detectable']:.4f}"
        print(f"{row['about']}: {seen}")
        for what, other in (("seeds", "images"), ("images", "seeds")):
            if row[what] is not None:
                needed = f"{row[what]:,} {what} with {row[f'num_{other}']:,} {other}"
                print(f"  {needed}; {_safe_words(row[f'{what}_safe'], what)}")
        pairs = [f"{seeds} seeds with {_number_words(images)}" for seeds, *images in row["table"] if images[0]]
        if pairs:
            print(f"  images for other numbers of seeds: {'; '.join(pairs)}")
        if row["reason"]:
            print(f"  {row['reason']}")


def _safe_words(number: int | None, what: str) -> str:
    return f"no number of {what} to be safe" if number is None else f"{number:,} to be safe"


def _number_words(images: Sequence[int | None]) -> str:
    needed, safe = images
    return f"{needed:,} ({_safe_words(safe, 'images')})"


def _print_plan(plan: Plan, store: Store, whole: Plan, data: Path | None) -> None:
    from rich.console import Console
    from rich.table import Table

    from segstudy.plan import unequal_budgets

    table = Table(box=None)
    for heading in ("run", "differs from its base in", "kind", "state", "epochs", "s/epoch"):
        table.add_column(heading, no_wrap=True)
    rows = _run_rows(plan, store)
    for row in rows:
        seconds = f"{row['seconds_per_epoch']:.1f}" if row["seconds_per_epoch"] else ""
        epochs = f"{row['epochs_done']}/{row['epochs']}"
        table.add_row(row["run"], row["variant"], row["kind"], row["state"], epochs, seconds)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    _print_changes(rows, _data_changes(whole, store, data))
    print(f"protocol: {plan.study.protocol}; output: {shown(store.root)}")
    unequal = unequal_budgets(plan)
    print(
        "training budget: equal in every experiment"
        if not unequal
        else "training budget differs:\n  " + "\n  ".join(unequal)
    )
