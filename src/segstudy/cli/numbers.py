"""Commands about numbers: scoring masks from any source, and comparing two results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segstudy.cli.options import DataDir, Json, Out, Page, Quiet, Set, app
from segstudy.errors import SpecError

if TYPE_CHECKING:
    from segstudy.schema import ScoringRules


TruthArg = Annotated[
    str, typer.Argument(help="Folder of true masks with the same names, or a study's dataset: study.yaml:NAME[:SPLIT].")
]
ValuesFlag = Annotated[
    str | None,
    typer.Option(
        help="Class of each value of the true masks: '0=background,128=disc,255=cup' ('ignore' excludes a value)."
    ),
]
NearestFlag = Annotated[
    bool, typer.Option("--nearest", help="With --values or --colours: map any other value to the nearest one.")
]
ColoursFlag = Annotated[
    str | None, typer.Option(help="Class of each colour of the true masks: '#000000=background,#ff0000=car'.")
]
ThresholdFlag = Annotated[float | None, typer.Option(help="Two classes: values above this one are foreground.", min=0)]
ChannelFlag = Annotated[str | None, typer.Option(help="Channel that holds the mask: grey, red, green, blue or alpha.")]
AsFlag = Annotated[
    list[str] | None,
    typer.Option("--as", help="Also score by another library's rule: mmseg, monai, medpy, cityscapes ... or all."),
]
BoundaryFlag = Annotated[
    list[int] | None,
    typer.Option(help="Tolerance of boundary F and surface Dice in pixels; can be repeated.", min=0, max=1000),
]
GroupsFlag = Annotated[
    str | None,
    typer.Option(help="Regular expression whose group finds an image's group in its name, such as '^(p[0-9]+)_'."),
]
CsvFlag = Annotated[Path | None, typer.Option("--out", help="Write every image's scores to this CSV.")]
CountsFlag = Annotated[Path | None, typer.Option("--counts", help="Write counts to this .npz, for 'segstudy compare'.")]


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted masks.")],
    truth: TruthArg,
    num_classes: Annotated[int | None, typer.Option(help="Number of classes.", min=2, max=255)] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, separated by commas.")] = None,
    ignore: Annotated[list[int] | None, typer.Option(help="Another value of the true masks to exclude.")] = None,
    values: ValuesFlag = None,
    nearest: NearestFlag = False,
    colours: ColoursFlag = None,
    threshold: ThresholdFlag = None,
    channel: ChannelFlag = None,
    page: Page = None,
    data: DataDir = None,
    as_: AsFlag = None,
    boundary_px: BoundaryFlag = None,
    groups: GroupsFlag = None,
    out: CsvFlag = None,
    counts: CountsFlag = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Score masks from any framework against true masks, without a network or study."""
    from segstudy.conventions import outlines_among
    from segstudy.counts.countset import write_counts
    from segstudy.data.declared import declared_by_flags
    from segstudy.files import write_text
    from segstudy.progress import showing
    from segstudy.scorecard import as_record, as_text, image_csv
    from segstudy.scoring import score_masks

    outlines = outlines_among(as_ or ())  # report an unknown name before masks are read
    _check_suffixes(out, counts)
    rules = _rules(boundary_px)
    declared = declared_by_flags(values, nearest, colours, threshold, channel, page)
    names = None if classes is None else [name.strip() for name in classes.split(",")]
    with showing(quiet) as progress:
        scored = score_masks(
            predictions, truth, num_classes, names, ignore or (), rules, groups, progress, declared, outlines, data
        )
    if counts is not None:
        write_counts(counts, scored)
    if out is not None:
        write_text(out, image_csv(scored))
    print(json.dumps(as_record(scored, as_ or ()), indent=2) if as_json else as_text(scored, as_ or ()))


def _check_suffixes(out: Path | None, counts: Path | None) -> None:
    """Refuse files to write that may be masks, which a typo would overwrite."""
    for option, path, suffix in (("--out", out, ".csv"), ("--counts", counts, ".npz")):
        if path is not None and path.suffix != suffix:
            raise SpecError(f"{option} {path}: must end in {suffix}")


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
    b: Annotated[str, typer.Argument(help="The result to compare it with, in the same form.")],
    measure: Annotated[
        list[str] | None,
        typer.Option(help="Measure over the whole set; by default the study's primary measure. Can be repeated."),
    ] = None,
    margin: Annotated[
        float | None,
        typer.Option(help="Test equivalence; this is the largest difference that does not matter, such as 0.01."),
    ] = None,
    on: Annotated[
        str | None, typer.Option("--on", help="Dataset of a cross-evaluation; by default each side's own.")
    ] = None,
    out: Out = None,
    set_: Set = None,
    as_json: Json = False,
) -> None:
    """Compare two results on the same images: which is better, with what uncertainty, and what else differs."""
    from segstudy.results import compare_results
    from segstudy.scorecard import comparison_record, comparisons_text

    if margin is not None and not 0 < margin < float("inf"):
        raise SpecError(f"--margin {margin:g}: must be a number above 0, such as 0.01")
    measures: list[str | None] = [*dict.fromkeys(measure or [])] or [None]
    if margin is not None and len(measures) > 1:
        raise SpecError(f"--margin {margin:g}: is about one measure; {len(measures)} were given with --measure")
    records = [comparison_record(compare_results(a, b, each, on, out, set_ or (), margin)) for each in measures]
    if as_json:
        found = records[0] if len(records) == 1 else {"questions": len(records), "comparisons": records}
        print(json.dumps(found, indent=2, default=str))
    else:
        print(comparisons_text(records))
