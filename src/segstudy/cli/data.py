"""Commands about data: what is wrong with them, what a study keeps of them."""

from __future__ import annotations

import json
import sys

from segstudy.cli.options import (
    DataDir,
    Json,
    Out,
    Quiet,
    Set,
    StudyArg,
    app,
    plan_of,
    workshop_of,
)
from segstudy.errors import SegstudyError, SpecError


@app.command()
def check(
    study: StudyArg,
    out: Out = None,
    data: DataDir = None,
    set_: Set = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Find everything that is wrong with a study file and its data, at once, by reading every image and mask."""
    from segstudy.check import check_datasets
    from segstudy.launch import preflight
    from segstudy.progress import showing

    whole, store = plan_of(study, out, set_)
    problems: list[str] = []
    with showing(quiet) as progress:
        workshop = workshop_of(whole, store, data, progress)
        try:
            preflight(workshop, whole.runs)
        except SegstudyError as error:
            problems += str(error).split("\n")
        cards, found = check_datasets(workshop, problems)
    if as_json:
        print(json.dumps({"problems": found, "datasets": cards}, indent=2))
    else:
        for card in cards:
            print(f"{card['dataset']}: {card['splits']}; {len(card['classes'])} classes")
            for name, share in card["pixel_share"].items():
                print(f"  {name:16} {share:8.3%} of pixels")
    if found:
        raise SpecError("\n".join([f"{len(found)} problems:", *found]) if not as_json else f"{len(found)} problems")
    print(f"nothing wrong found; next: segstudy run {study}", file=sys.stderr if as_json else sys.stdout)
