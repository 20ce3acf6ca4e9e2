"""Commands that take a finished run elsewhere: export it, upload it, try it in the browser."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from segstudy.cli.options import DataDir, Out, Quiet, Set, app, finished_run, plan_of, shown, workshop_of

if TYPE_CHECKING:
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import Plan, Run

RunArg = Annotated[str, typer.Argument(metavar="RUN", help="STUDY:EXPERIMENT, or STUDY:EXPERIMENT/seedN.")]
Licence = Annotated[
    str | None, typer.Option("--license", help="The network's licence for its card: apache-2.0, mit ...")
]
Pictures = Annotated[int, typer.Option("--pictures", min=0, help="Number of images shown in a hub folder.")]


@app.command()
def export(
    run_name: RunArg,
    to: Annotated[
        str, typer.Option("--to", metavar="KIND", help="onnx, torch-export, openvino, safetensors or hub-folder.")
    ],
    folder: Annotated[
        Path | None, typer.Option("--folder", help="The folder to write; by default in the study's output folder.")
    ] = None,
    out: Out = None,
    data: DataDir = None,
    licence: Licence = None,
    pictures: Pictures = 3,
    set_: Set = None,
    quiet: Quiet = False,
) -> None:
    """Write a finished run's network for another runtime, and prove that it predicts what was scored.

    The reported split is scored again with what was written. If more pixels differ than rounding explains, nothing is kept.
    """
    from segstudy.exporting import export_run, summary_lines

    with _opened(run_name, out, data, set_, quiet) as (workshop, whole, run):
        done = export_run(workshop, whole, run, to, folder, licence, pictures)
    print("\n".join([f"wrote {shown(done.folder)}", *summary_lines(done)]))


@contextlib.contextmanager
def _opened(
    run_name: str, out: Path | None, data: Path | None, settings: list[str] | None, quiet: bool
) -> Iterator[tuple[Workshop, Plan, Run]]:
    """The run that a user names, with its study and its data."""
    from segstudy.plan import run_of
    from segstudy.progress import showing

    study, experiment, seed = run_of(run_name)
    whole, store = plan_of(study, out, settings, data)
    run = whole.select([experiment], seed).runs[0]
    with showing(quiet) as progress:
        yield workshop_of(whole, store, data, progress), whole, run


@app.command()
def push(
    source: Annotated[str, typer.Argument(metavar="FOLDER|RUN", help="A folder of segstudy export, or a run.")],
    repo: Annotated[str, typer.Option("--repo", metavar="USER/NAME", help="The repository on the hub.")],
    private: Annotated[bool, typer.Option("--private", help="Make the repository private if it is new.")] = False,
    out: Out = None,
    data: DataDir = None,
    licence: Licence = None,
    pictures: Pictures = 3,
    set_: Set = None,
    quiet: Quiet = False,
) -> None:
    """Upload an export or a run to the Hugging Face hub; for a run, the hub folder is written first."""
    from segstudy.exporting import HUB, export_run, former_export
    from segstudy.exporting.push import push as upload

    folder = Path(source)
    if not folder.is_dir() and ":" in source:
        with _opened(source, out, data, set_, quiet) as (workshop, whole, run):
            former = former_export(workshop, run, HUB)
            folder = former or export_run(workshop, whole, run, HUB, None, licence, pictures).folder
        print(f"{'wrote' if former is None else 'found'} {shown(folder)}")
    print(f"uploaded: {upload(folder, repo, private)}")


@app.command()
def serve(
    run_name: RunArg,
    out: Out = None,
    port: Annotated[int | None, typer.Option("--port", help="Port of the page; by default a free one.")] = None,
    no_browser: Annotated[bool, typer.Option("--no-browser", help="Do not open the page.")] = False,
    set_: Set = None,
) -> None:
    """Open a browser page on which a run segments your images. Only this machine can reach it; Ctrl-C stops it."""
    from segstudy.serve import make_page, open_page

    chosen, folder = finished_run(run_name, out, set_)
    page = make_page(chosen, folder)
    address = open_page(page, port, browser=not no_browser)
    print(f"{chosen.name}: {address} (Ctrl-C ends it)", flush=True)
    page.block_thread()
