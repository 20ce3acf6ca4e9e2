"""The command about published tables: what arithmetic says, and how a study's own results compare."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segstudy.cli.options import Json, Out, app, plan_of
from segstudy.errors import SpecError

if TYPE_CHECKING:
    from segstudy.auditing.claims import Claims

Matches = Annotated[
    list[str] | None, typer.Option("--match", help="ROW=EXPERIMENT, or ROW=EXPERIMENT@DATA; may be repeated.")
]


@app.command()
def audit(
    tables: Annotated[list[str], typer.Argument(metavar="TABLE...", help="CSV, Markdown or LaTeX files, or: review.")],
    note: Annotated[
        list[str] | None,
        typer.Option("--note", help="'column HEADING: mIoU' (or: ignore), 'classes: 19' ...; may be repeated."),
    ] = None,
    study: Annotated[str | None, typer.Option("--study", help="Compare with this study's own results.")] = None,
    out: Out = None,
    match: Matches = None,
    images: Annotated[
        int | None, typer.Option("--images", help="Test images: how likely is each printed order a fluke?")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", help="Seeds that a printed score is the mean of.")] = 1,
    sd: Annotated[float | None, typer.Option("--sd", help="Standard deviation of one image's score, as 0.2.")] = None,
    as_json: Json = False,
) -> None:
    """Check a publication's tables by arithmetic, or hold them against a study's own results.

    Exits with 1 if a number contradicts others (with --study: if one differs from the study's), with 0 otherwise.
    """
    from segstudy.auditing import as_text, audit_tables
    from segstudy.auditing.chance import as_lines, rankings

    if study is None and (out is not None or match):
        raise SpecError(f"{'--match' if match else '--out'} is about a study's results; name the study with --study")
    if images is None and (seeds != 1 or sd is not None):
        raise SpecError("--seeds and --sd say how sure a ranking is; give the number of test images too, with --images")
    if images is not None and (as_json or study is not None):
        raise SpecError("--images prints rankings as text of a table alone; leave out --json and --study")
    found = audit_tables(tables, note or ())
    orders = [] if images is None else list(rankings(found.claims, images, seeds, sd))
    if study is not None:
        raise typer.Exit(int(_beside_study(found.claims, study, out, match or [], as_json)))
    print(json.dumps([asdict(each) for each in found.findings], indent=2) if as_json else as_text(found))
    if orders and not as_json:
        print(as_lines(orders))
    raise typer.Exit(int(found.contradicts))


def _beside_study(claims: Claims, study: str, out: Path | None, matches: list[str], as_json: bool) -> bool:
    """Print the comparison; True if a printed number is none of the study's."""
    from segstudy.auditing.against import as_table, compare_with_study, differing, read_results

    plan, store = plan_of(study, out, None)
    compared = compare_with_study(claims, list(plan.study.experiments), read_results(store.results), matches)
    print(json.dumps([asdict(each) for each in compared], indent=2) if as_json else as_table(compared))
    return bool(differing(compared))
