"""Commands about data: what is wrong with them, what a study keeps of them."""

from __future__ import annotations

import json
import sys
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
from segstudy.errors import SpecError, nearest

if TYPE_CHECKING:
    from segstudy.check import Checked
    from segstudy.plan import Plan
    from segstudy.store import Store


@app.command()
def check(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    dataset: Annotated[
        list[str] | None, typer.Option("--dataset", help="Only this dataset of the study; may be repeated.")
    ] = None,
    card: Annotated[
        Path | None,
        typer.Option("--card", help="Write card.md, card.json and contact-sheet.jpg of each dataset here."),
    ] = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find everything that is wrong with a study file and its data, at once, by reading every image and mask.

    Exits with 2 if there are errors, which would stop training or make it wrong; warnings are said and exit with 0.
    """
    from segstudy.check.text import card_text, findings_text, verdict

    whole, store = plan_of(study, out, set_)
    checked = _checked(whole, store, data, dataset or list(whole.study.data), quiet)
    if as_json:
        print(json.dumps(checked.record(whole.study.name), indent=2))
    else:
        for each in checked.inspected:
            print("\n".join([*card_text(each), ""]))
        print("\n".join(findings_text(checked)))
    summary = verdict(checked)
    if checked.number("error"):
        raise SpecError(summary)
    print(f"{summary}; next: segstudy run {study}", file=sys.stderr if as_json else sys.stdout)
