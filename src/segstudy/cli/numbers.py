"""Commands about numbers: scores of masks from anywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from segstudy.cli.options import (
    Json,
    app,
)


@app.command()
def score(
    predictions: Annotated[Path, typer.Argument(help="Folder of predicted masks.")],
    truth: Annotated[Path, typer.Argument(help="Folder of true masks of the same names.")],
    num_classes: Annotated[int | None, typer.Option(help="Number of classes.", min=2, max=255)] = None,
    classes: Annotated[str | None, typer.Option(help="Names of the classes, separated by commas.")] = None,
    ignore: Annotated[list[int] | None, typer.Option(help="Further value of the true masks to leave out.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write every image's scores to this CSV.")] = None,
    as_json: Json = False,
) -> None:
    """Score masks from any framework against true masks; no network, no study."""
    from segstudy.score import as_record, as_text, image_csv, score_masks
    from segstudy.store import write_text

    names = [name.strip() for name in classes.split(",")] if classes else None
    scored = score_masks(predictions, truth, num_classes, names, ignore or ())
    print(json.dumps(as_record(scored), indent=2) if as_json else as_text(scored))
    if out is not None:
        write_text(out, image_csv(scored))
