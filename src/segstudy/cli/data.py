"""Commands about data: what is wrong with them, what a study keeps of them."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segstudy.cli.options import (
    DataDir,
    Json,
    Out,
    Quiet,
    Set,
    StudyArg,
    app,
    plan_of,
    shown,
)
from segstudy.errors import DataError, SpecError, listing, nearest

if TYPE_CHECKING:
    from segstudy.checking import Checked
    from segstudy.plan import Plan
    from segstudy.store import Store


@app.command()
def init(
    folder: Annotated[Path, typer.Argument(help="A folder of images and masks.")],
    file: Annotated[Path, typer.Option("--file", help="The study file to write.")] = Path("study.yaml"),
) -> None:
    """Inspect a folder of images and masks and write a commented study file for it."""
    from segstudy.init import write_study_file

    written = write_study_file(folder, file)
    print(f"wrote {file}")
    if written.sheet is not None:
        print(f"wrote {written.sheet}: check that the masks cover the right objects")
    if written.obstacles:
        print(
            "problems to solve first, also listed in the file:", *(f"  {line}" for line in written.obstacles), sep="\n"
        )
    print(f"next: segstudy check {file}")


@contextlib.contextmanager
def _collecting_rarely() -> Iterator[None]:
    """Let the interpreter look for garbage rarely: what is loaded stays, and looking through it takes a second or two."""
    before = gc.get_threshold()
    gc.set_threshold(1_000_000)
    try:
        yield
    finally:
        gc.set_threshold(*before)


@app.command()
@_collecting_rarely()
def check(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset of the study; may be repeated.")
    ] = None,
    card: Annotated[
        Path | None, typer.Option("--card", help="Write card.md, card.json and contact-sheet.jpg to this folder.")
    ] = None,
    write_split: Annotated[
        Path | None, typer.Option("--write-split", help="Write the images of each split to this file.")
    ] = None,
    show_augment: Annotated[
        bool,
        typer.Option("--show-augment", help="Draw a few augmented images, here or in the folder of --card."),
    ] = False,
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="Compare all file contents with those that the runs used."),
    ] = False,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Read every image and mask, and list all problems of a study file and its data at once.

    Errors, which would stop training or make it wrong, exit with 2; warnings are printed and exit with 0.
    """
    from segstudy.checking.text import card_text, findings_text, verdict

    whole, store = _plan_or_problems(study, out, set_, as_json)
    changed = _changed_unseen(whole, store, data) if thorough else []
    checked = _check(whole, store, data, dataset, quiet)
    if as_json:
        print(json.dumps(checked.record(whole.study.name), indent=2))
    else:
        for each in checked.inspected:
            print("\n".join([*card_text(each), ""]))
        print("\n".join(findings_text(checked)))
    said = sys.stderr if as_json else sys.stdout
    for path in _write(checked, whole, card, write_split, show_augment):
        print(f"wrote {shown(path)}", file=said)
    if changed:
        raise DataError("\n".join(changed))
    if checked.number("error"):
        raise SpecError(verdict(checked))
    print(f"{verdict(checked)}; next: segstudy run {study}", file=said)


def _changed_unseen(whole: Plan, store: Store, data: Path | None) -> list[str]:
    """Read the contents of all files again, and name files and runs that are not what they were."""
    from segstudy.data.cache.arrays import reread_files
    from segstudy.launch.changes import data_changes
    from segstudy.launch.workshop import Workshop
    from segstudy.progress import showing

    _, files = reread_files(store)
    if store.memo.is_file():
        store.write_memo({})
    with showing(quiet=True) as progress:
        runs = data_changes(Workshop(whole.study, store, data, progress), whole)
    lines = [f"{file}: changed since it was first read, at equal size and times" for file in files]
    return lines + [f"{name}: the {' and '.join(words)} changed since it was made" for name, words in runs.items()]


def _plan_or_problems(study: str, out: Path | None, settings: list[str] | None, as_json: bool) -> tuple[Plan, Store]:
    """The study's plan; of a study file that is wrong, what is wrong is printed for programs too."""
    try:
        return plan_of(study, out, settings)
    except SpecError as error:
        from segstudy.checking import Checked, study_problem

        if as_json:
            checked = Checked(tuple(study_problem(line) for line in str(error).splitlines()), ())
            print(json.dumps(checked.record(study), indent=2))
        raise


def _check(whole: Plan, store: Store, data: Path | None, datasets: list[str] | None, quiet: bool) -> Checked:
    from segstudy.checking import check_study
    from segstudy.launch.workshop import Workshop
    from segstudy.progress import showing

    named = list(whole.study.data)
    if unknown := [name for name in datasets or () if name not in named]:
        hint = nearest(unknown[0], named)
        raise SpecError(f"--dataset {unknown[0]}: the study has no such dataset{hint}; it has {listing(named)}")
    with showing(quiet) as progress:
        workshop = Workshop(whole.study, store, data, progress, inspecting=True)
        return check_study(workshop, whole.runs, datasets or named)


def _write(
    checked: Checked, whole: Plan, card: Path | None, write_split: Path | None, show_augment: bool
) -> list[Path]:
    """Write the requested files, and return their folder."""
    if card is None and write_split is None and not show_augment:
        return []
    from segstudy.checking.files import write_augment_sheets, write_cards, write_split_of

    written = write_cards(checked, card) if card is not None else []
    if write_split is not None:
        write_split_of(checked, write_split)
        written.append(write_split)
    if show_augment:
        written += write_augment_sheets(checked, whole.runs, card or Path())
    return [path.resolve() for path in written]
