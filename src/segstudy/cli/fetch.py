"""Commands to get data: list known datasets with their terms, and download them."""

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
    help="List known datasets with their terms and where they are, or download one.",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(datasets, name="data")


@datasets.callback(invoke_without_command=True)
def data(context: typer.Context, data: DataDir = None, as_json: Json = False) -> None:
    """List known datasets: terms, size, layout, how to get them, and where they are."""
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
    print("searched " + ", ".join(str(place) for place in data_places(data)))


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
    name: Annotated[str, typer.Argument(help="Name of a known dataset; segstudy data lists them.")],
    to: Annotated[
        Path | None, typer.Option("--to", help="Data folder; by default SEGSTUDY_DATA or the current folder.")
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Accept the terms without a prompt.")] = False,
    quiet: Quiet = False,
) -> None:
    """Download a known dataset, verify it, and put it where studies find it; run it again after any interruption."""
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
    """Show the terms of a dataset, and ask to accept them unless already accepted."""
    print(f"{one.title}; {one.num_images:,} images, {one.size}\n{one.page}\nterms: {one.terms}", file=sys.stderr)
    if yes:
        return
    if not sys.stdin.isatty():
        raise SegstudyError("cannot ask to accept the terms without a terminal; pass --yes to accept them")
    if not typer.confirm("Do you accept these terms?", err=True):
        raise SegstudyError("the terms were not accepted, so nothing is downloaded")
