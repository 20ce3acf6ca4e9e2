"""Commands about numbers: scores of masks from anywhere, and comparisons of two results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segstudy.cli.options import Json, Out, Quiet, Set, app
from segstudy.errors import SpecError

if TYPE_CHECKING:
    from segstudy.schema import ScoringRules


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted masks.")],
    truth: Annotated[Path, typer.Argument(help="Folder of true masks of the same names.")],
    num_classes: Annotated[int | None, typer.Option(help="Number of classes.", min=2, max=255)] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, separated by commas.")] = None,
    ignore: Annotated[list[int] | None, typer.Option(help="Further value of the true masks to leave out.")] = None,
    as_: Annotated[
        list[str] | None,
        typer.Option("--as", help="Also under another library's rule: mmseg, monai, medpy, cityscapes ... or all."),
    ] = None,
    boundary_px: Annotated[
        list[int] | None,
        typer.Option(help="Tolerance of boundary F and surface Dice in pixels; may be repeated.", min=0, max=1000),
    ] = None,
    groups: Annotated[
        str | None,
        typer.Option(help="Pattern whose bracket finds an image's group in its name, such as '^(p[0-9]+)_'."),
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write every image's scores to this CSV.")] = None,
    counts: Annotated[
        Path | None, typer.Option("--counts", help="Write counts to this .npz, for 'segstudy compare'.")
    ] = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score masks from any framework against true masks; no network, no study."""
    from segstudy.conventions import outlines_among
    from segstudy.counts.countset import write_counts
    from segstudy.files import write_text
    from segstudy.progress import showing
    from segstudy.score import score_masks
    from segstudy.scorecard import as_record, as_text, image_csv

    outlines = outlines_among(as_ or ())  # an unknown name is told before masks are read
    for option, path, suffix in (("--out", out, ".csv"), ("--counts", counts, ".npz")):
        if path is not None and path.suffix != suffix:  # a slip might name a mask, which would be written over
            raise SpecError(f"{option} {path}: name a file that ends in {suffix}")
    rules = _rules(boundary_px)
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    with showing(quiet) as progress:
        scored = score_masks(predictions, truth, num_classes, names, ignore or (), rules, groups, progress, outlines)
    if counts is not None:
        write_counts(counts, scored)
    if out is not None:
        write_text(out, image_csv(scored))
    print(json.dumps(as_record(scored, as_ or ()), indent=2) if as_json else as_text(scored, as_ or ()))


def _rules(boundary_px: list[int] | None) -> ScoringRules:
    from segstudy.schema import ScoringRules

    if not boundary_px:
        return ScoringRules()
    if len(set(boundary_px)) > 8:
        raise SpecError(f"--boundary-px: {len(set(boundary_px))} tolerances were given; 8 at most")
    return ScoringRules(tolerances_px=sorted(set(boundary_px)))


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="STUDY:EXPERIMENT, STUDY:EXPERIMENT/seedN, or a .npz of counts.")],
    b: Annotated[str, typer.Argument(help="What it is compared with, likewise.")],
    measure: Annotated[str, typer.Option(help="Measure of the whole set that is asked about.")] = "miou",
    on: Annotated[str | None, typer.Option("--on", help="Dataset of a cross-evaluation; its own unless given.")] = None,
    out: Out = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Compare two results on the same images: which is better, how surely, and what else differs."""
    from segstudy.results import compare_results
    from segstudy.scorecard import comparison_record, comparison_text

    record = comparison_record(compare_results(a, b, measure, on, out, set_ or ()))
    print(json.dumps(record, indent=2, default=str) if as_json else comparison_text(record))
