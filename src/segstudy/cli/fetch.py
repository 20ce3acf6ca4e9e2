"""Commands that get data: which sets are known, on what terms, and putting one in place."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from segstudy.cli.options import DataDir, Json, Quiet, app, shown
from segstudy.errors import SegstudyError

if TYPE_CHECKING:
    from segstudy.data.download.catalogue import Known

datasets = typer.Typer(
    help="List the datasets that are known, with their terms and where they lie; fetch one.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(datasets, name="data")


@datasets.callback(invoke_without_command=True)
def data(context: typer.Context, data: DataDir = None, as_json: Json = False) -> None:
    """List the datasets that are known: terms, size, layout, how to get them, and where they lie."""
    if context.invoked_subcommand is not None:
        return
    from segstudy.data.download.catalogue import KNOWN
    from segstudy.data.download.fetch import data_places

    rows = [_row(name, data) for name in KNOWN]
    if as_json:
        print(json.dumps(rows, indent=2))
        return
    for row in rows:
        print(f"{row['name']}: {row['title']}; {row['num_images']:,} images, {row['size']}")
        for key in ("terms", "page", "layout", "study", "get"):
            print(f"  {key:7} {row[key]}")
        print(f"  found   {_where(row)}")
    print("looked in " + ", ".join(str(place) for place in data_places(data)))


def _row(name: str, data: Path | None) -> dict[str, Any]:
    from segstudy.data.download.catalogue import ByHand, known
    from segstudy.data.download.fetch import data_places, find

    one, there = known(name), find(name, data_places(data))
    return {
        "name": name,
        "title": one.title,
        "num_images": one.num_images,
        "size": one.size,
        "terms": one.terms,
        "page": one.page,
        "layout": one.layout,
        "study": one.entry_at(there.root if there else str(one.entry["root"])),
        "get": one.source.steps if isinstance(one.source, ByHand) else f"segstudy data fetch {name}",
        "found": None if there is None else asdict(there) | {"path": str(there.path)},
    }


def _where(row: dict[str, Any]) -> str:
    there, whole = row["found"], row["num_images"]
    if there is None:
        return "no"
    of = f" of {whole:,}" if there["num_images"] < whole else ""
    images = f"{there['num_images']:,}{of} images"
    return f"{there['path']} ({there['problem'] or images})"


@datasets.command()
def fetch(
    name: Annotated[str, typer.Argument(help="Name of a known dataset, as segstudy data lists them.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Data folder; SEGSTUDY_DATA, else the current folder, unless given.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the terms without being asked.")] = False,
    quiet: Quiet = False,
) -> None:
    """Download a known dataset, verify it, and put it where studies find it; call it again after any interruption."""
    from segstudy.data.download.catalogue import known
    from segstudy.data.download.fetch import data_places
    from segstudy.data.download.fetch import fetch as fetch_dataset
    from segstudy.progress import showing
    from segstudy.spec import DATA_VARIABLE

    folder = (to or Path(os.environ.get(DATA_VARIABLE) or ".")).expanduser().resolve()
    with showing(quiet) as progress:
        there = fetch_dataset(name, folder, data_places(None), partial(_accept, yes=yes), progress)
    print(f"{shown(there.path)}\nin a study file: data: {{{name}: {known(name).entry_at(there.root)}}}")


def _accept(one: Known, yes: bool) -> None:
    """Show a set's terms, and ask unless they have been accepted."""
    print(f"{one.title}; {one.num_images:,} images, {one.size}\n{one.page}\nterms: {one.terms}", file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        raise SegstudyError("nobody is there to accept the terms; say --yes to accept them")
    if not typer.confirm("Do you accept these terms?", err=True):
        raise SegstudyError("the terms were not accepted, so nothing is fetched")
