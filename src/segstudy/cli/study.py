"""Commands about a study: see where it stands, report it, use and keep what it made."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segstudy.cli.options import (
    Bands,
    DataDir,
    Json,
    Out,
    Page,
    Scale,
    Seed,
    Set,
    StudyArg,
    app,
    finished_run,
    numbers_of,
    plan_of,
    shown,
    workshop_of,
)
from segstudy.errors import SegstudyError, SpecError, listing

if TYPE_CHECKING:
    from segstudy.plan import Plan
    from segstudy.results import RunResult
    from segstudy.store import Store


@app.command()
def plan(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
    power: Annotated[float | None, typer.Option(help="Probability of detecting --difference, such as 0.8.")] = None,
    difference: Annotated[
        float | None, typer.Option(help="True difference in the primary measure to detect, such as 0.01.")
    ] = None,
    power_curves: Annotated[
        bool, typer.Option("--power-curves", help="Power to detect --difference, for each number of seeds and images.")
    ] = False,
    assume_seed_sd: Annotated[
        str | None, typer.Option(help="Standard deviation between seeds, as 0.005; 0.005:3 if measured on 3 seeds.")
    ] = None,
    estimated: Annotated[
        bool, typer.Option("--estimate", help="Estimate hours, memory and disk of the remaining runs from a few steps.")
    ] = False,
    workers: Annotated[
        int | None, typer.Option("--workers", help="With --estimate: processes on this machine; by default 1.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a study's runs: what each changes, its state and cost; or what the remaining runs need."""
    from segstudy.cli.planned import print_requirements
    from segstudy.results import stand

    asks = power_curves or any(given is not None for given in (power, difference, assume_seed_sd))
    if workers is not None and not estimated:
        raise SpecError("--workers: is for --estimate; add it, or remove --workers")
    if estimated and asks:
        raise SpecError("--estimate measures what runs need, --power how many seeds; use one at a time")
    whole, store = plan_of(study, out, set_, data)
    if estimated:
        _print_estimate(whole, store, data, 1 if workers is None else workers, as_json)
        return
    if asks:
        wanted = 0.8 if power is None else power, 0.01 if difference is None else difference
        print_requirements(whole, store, *wanted, assume_seed_sd, power_curves, as_json)
        return
    if as_json:
        print(json.dumps(_run_rows(stand(store, whole)), indent=2))
    else:
        print_plan(whole, store, whole, data)


@app.command()
def status(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Show the progress first, until all runs end.")] = False,
) -> None:
    """Count a study's runs by state, give the verdicts so far, and say what to do next."""
    from segstudy.cli.show import watch as watch_runs
    from segstudy.overview import verdicts_so_far
    from segstudy.results import stand

    whole, store = plan_of(study, out, set_, data)
    if watch:
        if as_json:
            raise SegstudyError("--watch is for people, --json for programs; give one of them")
        watch_runs(whole, store)
    found = stand(store, whole)
    rows = _run_rows(found)
    states = {
        state: [r["run"] for r in rows if r["state"] == state] for state in dict.fromkeys(r["state"] for r in rows)
    }
    changed = data_changes_of(whole, store, data, found)
    verdicts, unread = verdicts_so_far(whole, store, found)
    if as_json:
        record = {"study": whole.study.name, "out": str(store.root), "states": states, "data_changed": changed}
        record["verdicts"] = {name: found.verdict for name, found in verdicts.items()}
        record |= {"unread": unread} if unread else {}
        print(json.dumps(record, indent=2))
        return
    for state, names in states.items():
        print(f"{state:8} {len(names):3}  {', '.join(names)}")
    for row in rows:
        if row["failure"]:
            print(f"failed: {row['run']}: {row['failure']}")
    print_changes(rows, changed)
    print(*(each.line for each in verdicts.values()), sep="\n", end="\n" if verdicts else "")
    if unread and "failed" not in states:
        print(f"no verdicts: {unread}")
    if whole.later:
        print(f"up to {len(whole.later)} more runs, as long as a comparison is not decided")
    done = all(row["state"] == "done" for row in rows)
    there = done and store.page.is_file()
    print(f"next: open {shown(store.page)}" if there else f"next: segstudy {'report' if done else 'run'} {study}")


def data_changes_of(
    whole: Plan, store: Store, data: Path | None, seen: Sequence[RunResult] = ()
) -> dict[str, list[str]]:
    """Which runs rest on data that are not what they were; without runs in the store no data are looked at."""
    if not any(store.run(run.experiment, run.seed).begun for run in whole.runs):
        return {}
    from segstudy.launch.changes import data_changes
    from segstudy.progress import showing

    with showing(quiet=True) as progress:
        return data_changes(workshop_of(whole, store, data, progress), whole, seen)


def print_changes(rows: list[dict[str, Any]], changed: dict[str, list[str]]) -> None:
    """Print which runs were made with other settings, and which data are not what they were."""
    for row in rows:
        if row["differs"]:
            print(f"stale: {row['run']} was made with other settings: {row['differs']}")
    for name, words in changed.items():
        print(f"changed: the {' and '.join(words)} changed since {name} was made")


@app.command()
def report(
    studies: Annotated[
        list[str],
        typer.Argument(metavar="STUDY...", help="One study; or several studies, output folders or .npz for a board."),
    ],
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
    single_file: Annotated[
        int | None,
        typer.Option("--single-file", min=0, help="Embed the pictures of this many images in the page."),
    ] = None,
    pdf: Annotated[bool, typer.Option("--pdf", help="Also write report.pdf, a two-column paper.")] = False,
    board: Annotated[Path | None, typer.Option("--board", help="Folder of the board; by default ./board.")] = None,
) -> None:
    """Write the report again from the counts on disk; for several studies, write a board with ranks."""
    from segstudy.report.build import build_report

    if len(studies) > 1 or board is not None or studies[0].endswith(".npz"):
        if out is not None or data is not None or single_file is not None or pdf:
            raise SegstudyError(
                "--out, --data, --single-file and --pdf are for the report of one study; of several, name the studies' "
                "output folders, and the board's with --board"
            )
        _report_board(studies, set_, board or Path("board"))
        return
    study = studies[0]
    whole, store = plan_of(study, out, set_)
    page = build_report(store, whole, data, single_file, pdf)
    print(f"report: {shown(page)}")
    if single_file is not None:
        print(
            f"size: {page.stat().st_size / 1e6:.1f} MB, with the pictures of up to {single_file} images of each browser"
        )
    if pdf:
        print(f"paper: {shown(store.pdf)}")
    print_changes([], data_changes_of(whole, store, data))


def _report_board(names: list[str], settings: list[str] | None, folder: Path) -> None:
    from segstudy.report.board import board_lines, make_board, read_sides, write_board

    made = make_board(read_sides(names, settings or ()))
    page = write_board(made, folder)
    print("\n".join([*board_lines(made), f"board: {page}"]))


@app.command()
def predict(
    run_name: Annotated[str, typer.Argument(metavar="RUN", help="STUDY:EXPERIMENT, or STUDY:EXPERIMENT/seedN.")],
    images: Annotated[list[Path], typer.Argument(help="Images, or folders, which are searched with all sub-folders.")],
    out: Out = None,
    to: Annotated[Path, typer.Option("--to", help="Folder for the masks.")] = Path("predictions"),
    overlays: Annotated[
        Path | None,
        typer.Option("--overlays", help="Folder for the overlays; by default the mask folder's name with '-overlays'."),
    ] = None,
    scale: Scale = None,
    bands: Bands = None,
    page: Page = None,
    set_: Set = None,
) -> None:
    """Predict masks and overlays for new images with a finished run."""
    from segstudy.predict import overlays_folder, predict_images

    chosen, folder = finished_run(run_name, out, set_)
    overlays = overlays or overlays_folder(to)
    declared = {"scale": numbers_of("--scale", scale, float), "bands": numbers_of("--bands", bands, int), "page": page}
    written = predict_images(chosen, folder, images, to, overlays, declared)
    print(f"wrote {len(written.masks)} masks to {to} and as many overlays to {overlays}")
    notes = [f"not read: {line}" for line in written.left_out]
    if written.turned:
        text = (
            f"{len(written.turned)} images have an orientation tag ({listing(written.turned, 3)}), which is not applied"
        )
        notes.append(f"warning: {text}: their masks are of the pixels as stored, and viewers show these images turned")
    print(*notes, sep="\n", end="\n" if notes else "")


@app.command()
def archive(study: StudyArg, out: Out = None, set_: Set = None) -> None:
    """Pack checkpoints, counts, tables and pictures into one zip with SHA-256 sums."""
    from segstudy.archive import check_runs, write_archive
    from segstudy.report.build import build_report

    whole, store = plan_of(study, out, set_)
    check_runs(store, whole)
    build_report(store, whole)
    path, notes = write_archive(store, whole)
    print(f"wrote {shown(path)} ({path.stat().st_size / 1e6:.1f} MB)")
    for note in notes:
        print(note)


@app.command()
def verify(
    path: Annotated[Path, typer.Argument(help="An archive, a study's output folder, or a run's folder.")],
    rescore: Annotated[
        str | None, typer.Option("--rescore", metavar="STUDY", help="Also score this study's networks again.")
    ] = None,
    data: DataDir = None,
) -> None:
    """Check every file against its stored SHA-256 sum, and a study's data against the recorded hashes."""
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
    print(f"{path}: all {good} files match their checksums{data_note}")


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
    study: Annotated[str, typer.Option("--study", help="The study that the checkpoint belongs to.")],
    experiment: Annotated[str, typer.Option("--experiment", help="The experiment that trained the checkpoint.")],
    seed: Seed = None,
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
) -> None:
    """Import a checkpoint as a trained run; 'segstudy run' then scores it."""
    from segstudy.launch.one import import_checkpoint
    from segstudy.progress import showing

    whole, store = plan_of(study, out, set_, data)
    chosen = whole.select([experiment], seed).runs[0]
    with showing() as progress:
        import_checkpoint(workshop_of(whole, store, data, progress), chosen, checkpoint)
    print(f"imported as {chosen.name}\nnext: segstudy run {study} --only {experiment}")


def _run_rows(found: Sequence[RunResult]) -> list[dict[str, Any]]:
    return [_run_row(each) for each in found]


def _run_row(found: RunResult) -> dict[str, Any]:
    from segstudy.files import read_yaml
    from segstudy.plan import differences

    run, folder, state = found.run, found.folder, "failed" if found.damage else found.state
    cost = None if found.damage else found.cost
    return {
        "run": run.name,
        "identity": run.identity,
        "kind": run.variation.kind if run.variation else "baseline",
        "base": run.variation.base if run.variation else None,
        "variant": run.variation.variant if run.variation else "",
        "state": state,
        "epochs_done": len(found.epochs or folder.read_epochs()),
        "epochs": run.config.epochs,
        "seconds_per_epoch": cost.seconds_per_epoch if cost else None,
        "failure": (found.damage or found.failure) if state == "failed" else None,
        "differs": differences(run, read_yaml(folder.config)) if state == "stale" else None,
    }


def _print_estimate(plan: Plan, store: Store, data: Path | None, workers: int, as_json: bool) -> None:
    from segstudy.cli.planned import estimate_lines
    from segstudy.launch.estimate import estimate
    from segstudy.progress import showing

    with showing() as progress:
        found = estimate(workshop_of(plan, store, data, progress), plan, workers)
    print(json.dumps(found.plain(), indent=2) if as_json else "\n".join(estimate_lines(found)))


def print_plan(plan: Plan, store: Store, whole: Plan, data: Path | None) -> None:
    """Print a plan's runs: what each changes, where it stands, what it costs; ``whole`` is the study's plan."""
    from rich.console import Console
    from rich.table import Table

    from segstudy.overview import epochs_text
    from segstudy.plan import unequal_budgets
    from segstudy.results import stand

    table = Table(box=None)
    for heading in ("run", "differs from its base in", "kind", "state", "epochs", "s/epoch"):
        table.add_column(heading, no_wrap=True)
    found = stand(store, plan)
    rows = _run_rows(found)
    for row in rows:
        seconds = f"{row['seconds_per_epoch']:.1f}" if row["seconds_per_epoch"] else ""
        epochs = epochs_text(row["epochs_done"], row["epochs"])
        table.add_row(row["run"], row["variant"], row["kind"], row["state"], epochs, seconds)
    Console(width=None if sys.stdout.isatty() else 160).print(table)
    print_changes(rows, data_changes_of(whole, store, data, found))
    print(f"protocol: {plan.study.protocol}; output: {shown(store.root)}")
    if plan.later:
        print(f"up to {len(plan.later)} more runs, as long as a comparison is not decided")
    unequal = unequal_budgets(plan)
    print(
        "training budget: equal in every experiment"
        if not unequal
        else "training budget differs:\n  " + "\n  ".join(unequal)
    )
