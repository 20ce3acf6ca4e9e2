"""The command for a study's cache: what it holds, what is still used, and how to delete the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segstudy.cli.options import DataDir, Json, Out, Set, StudyArg, app, plan_of, shown, workshop_of
from segstudy.errors import SegstudyError, SpecError

if TYPE_CHECKING:
    from segstudy.data.cache.arrays import Entry
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import Plan, Run


READ, OUTDATED, UNUSED_SIZE, CUT_OFF = (
    "read by this study",
    "data or reading changed",
    "read by no run",
    "half-built",
)
UNUSED = (OUTDATED, UNUSED_SIZE, CUT_OFF)


@app.command()
def cache(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
    clear: Annotated[bool, typer.Option("--clear", help="Delete the whole cache; the next run rebuilds it.")] = False,
    clear_unused: Annotated[
        bool, typer.Option("--clear-unused", help="Delete the parts that no run of the study uses.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List or delete the decoded images that a study keeps on disk."""
    from segstudy.data.cache.arrays import clear_cache, list_cache
    from segstudy.progress import showing

    if clear and clear_unused:
        raise SpecError("--clear includes --clear-unused; give only one of them")
    whole, store = plan_of(study, out, set_)
    entries = list_cache(store)
    with showing(quiet=True) as progress:
        states = _states(workshop_of(whole, store, data, progress), whole, entries) if entries else {}
    doomed = [entry for entry in entries if clear or (clear_unused and states[entry.folder] in UNUSED)]
    removed, busy = clear_cache(store, doomed) if doomed else ([], [])
    rows = [_row(entry, states[entry.folder]) for entry in entries if entry not in removed]
    freed = sum(entry.num_bytes for entry in removed)
    if as_json:
        print(json.dumps({"folder": str(store.cache), "cache": rows, "removed": len(removed), "freed_bytes": freed}))
        return
    _print(rows, shown(store.cache))
    for entry in busy:
        print(f"{entry.folder.name} is being built and was kept")
    if clear or clear_unused:
        print(f"removed {len(removed)} of {len(entries)} folders, {freed / 1e6:,.1f} MB")


def _states(workshop: Workshop, plan: Plan, entries: list[Entry]) -> dict[Path, str]:
    """The state of each folder for the study with its current file and data."""
    read: set[Path] = set()
    unknown: dict[str, str] = {}
    for run in plan.runs:
        try:
            read |= _folders_of(workshop, run)
        except SegstudyError:
            unknown |= dict.fromkeys(run.datasets, "unknown: the data cannot be read")
    names = {path.name.rpartition("-")[0] for path in read}

    def state(entry: Entry) -> str:
        if entry.folder in read:
            return READ
        if not entry.whole:
            return CUT_OFF
        return unknown.get(entry.dataset) or (
            OUTDATED if entry.folder.name.rpartition("-")[0] in names else UNUSED_SIZE
        )

    return {entry.folder: state(entry) for entry in entries}


def _folders_of(workshop: Workshop, run: Run) -> set[Path]:
    """Every folder of the cache that a run uses."""
    from segstudy.data.cache.arrays import cache_folders, parts_of, remembered_fingerprint

    (own, roles), size = workshop.dataset(run.config.dataset), run.config.recipe.resized_px
    wanted = [(own, roles.train, False), (own, roles.select, False)]
    wanted += [(workshop.dataset(e.dataset)[0], e.split, True) for e in workshop.evaluations(run)]
    found: set[Path] = set()
    for dataset, split, native_labels in wanted:
        content = remembered_fingerprint(dataset.samples(split), workshop.store)
        found |= set(cache_folders(dataset, split, parts_of(size, native_labels), content, workshop.store).values())
    return found


def _row(entry: Entry, state: str) -> dict[str, Any]:
    from segstudy.sizes import size_of_text

    return {
        "dataset": entry.dataset,
        "split": entry.split,
        "what": f"{entry.part} px" if size_of_text(entry.part) else f"{entry.part}, own size",
        "images": entry.num_images,
        "bytes": entry.num_bytes,
        "state": state,
    }


def _print(rows: list[dict[str, Any]], folder: str) -> None:
    if not rows:
        print(f"{folder}: nothing is cached")
        return
    from segstudy.terminal import table_lines

    keys = ("dataset", "split", "what", "state", "images")
    cells = [[*(str(row[key]) for key in keys), f"{row['bytes'] / 1e6:,.1f}"] for row in rows]
    print("\n".join(table_lines([[*keys, "MB"], *cells], left=4)))
    print(f"{folder}: {sum(row['bytes'] for row in rows) / 1e6:,.1f} MB")
