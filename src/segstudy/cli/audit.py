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
Seeds = Annotated[int, typer.Option("--seeds", help="Number of seeds that each printed score is averaged over.")]
Sd = Annotated[float | None, typer.Option("--sd", help="Standard deviation of one image's score, such as 0.2.")]
SeedSd = Annotated[
    float | None, typer.Option("--seed-sd", help="Standard deviation of a score over seeds, such as 0.005.")
]
Correlation = Annotated[
    float | None,
    typer.Option("--correlation", help="Correlation of one image's scores between two networks, such as 0.5."),
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
        int | None,
        typer.Option("--images", help="Number of test images; prints how likely each printed order is due to chance."),
    ] = None,
    seeds: Seeds = 1,
    sd: Sd = None,
    seed_sd: SeedSd = None,
    correlation: Correlation = None,
    as_json: Json = False,
) -> None:
    """Check a publication's tables by arithmetic, or compare them with a study's own results.

    Exits with 1 if a number contradicts others (with --study: if one differs from the study's), with 0 otherwise.
    """
    from segstudy.auditing import as_text, audit_tables
    from segstudy.auditing.chance import Sampling, as_lines, rankings

    if study is None and (out is not None or match):
        raise SpecError(f"{'--match' if match else '--out'} is about a study's results; name the study with --study")
    if images is None and (seeds != 1 or (sd, seed_sd, correlation) != (None, None, None)):
        raise SpecError(
            "--seeds, --sd, --seed-sd and --correlation say how sure a ranking is; give the number of test images too, "
            "with --images"
        )
    if images is not None and study is not None:
        raise SpecError("--images is about the order of printed rows; leave out --study")
    sampling = None if images is None else Sampling(images, seeds, sd, seed_sd, correlation)
    found = audit_tables(tables, note or ())
    if study is not None:
        raise typer.Exit(int(_against_study(found.claims, study, out, match or [], as_json)))
    orders = None if sampling is None else list(rankings(found.claims, sampling))
    records = [asdict(each) for each in found.findings]
    if as_json:
        ranked = orders if orders is None else [asdict(each) for each in orders]
        print(json.dumps(records if ranked is None else {"findings": records, "rankings": ranked}, indent=2))
    else:
        print("\n".join([as_text(found), *([] if orders is None else [as_lines(orders)])]))
    raise typer.Exit(int(found.contradicts))


def _against_study(claims: Claims, study: str, out: Path | None, matches: list[str], as_json: bool) -> bool:
    """Print the comparison; True if a printed number is none of the study's."""
    from segstudy.auditing.against import as_table, compare_with_study, differing, read_results

    plan, store = plan_of(study, out, None)
    compared = compare_with_study(claims, list(plan.study.experiments), read_results(store.results), matches)
    print(json.dumps([asdict(each) for each in compared], indent=2) if as_json else as_table(compared))
    return bool(differing(compared))
