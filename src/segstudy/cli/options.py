"""The command line application, and the options and setup that commands share."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import Plan, Run
    from segstudy.progress import Progress
    from segstudy.stopping import Stop
    from segstudy.store import RunFolder, Store
    from segstudy.train.processes import Team

HELP = """Run controlled semantic-segmentation studies: from one study file to a report with traceable numbers.

New here? Run  segstudy demo  for a complete miniature study that downloads no data.
For your own data, run  segstudy init FOLDER  and then run the study file that it writes.
"""

app = typer.Typer(
    help=HELP,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyArg = Annotated[str, typer.Argument(help="A study file, or the name of a built-in study: review, demo.")]
Out = Annotated[Path | None, typer.Option("--out", help="Output folder; by default ./<study name>.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Folder of the datasets (also SEGSTUDY_DATA).")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Only this experiment; can be repeated.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Only this seed of the study.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value that replaces a value of the study file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Replace = Annotated[bool, typer.Option("--replace", help="Archive runs made with other settings and train them again.")]
MaxTime = Annotated[str | None, typer.Option("--max-time", help="Save and stop within this time: 3h50m, 45m, 90s.")]
CheckpointEvery = Annotated[
    str | None, typer.Option("--checkpoint-every", help="Also save within an epoch, at this interval: 10m.")
]
Devices = Annotated[
    int | None, typer.Option("--devices", min=1, help="Train each run on this many devices of this machine.")
]
Nodes = Annotated[
    int,
    typer.Option(
        "--nodes", min=1, help="Number of machines that train each run together, started by srun or torchrun."
    ),
]
Workers = Annotated[
    str | None, typer.Option("--workers", help="Number of worker processes, or 'auto' to measure how many are best.")
]
RunsPerGpu = Annotated[
    str | None,
    typer.Option("--runs-per-gpu", help="Number of runs that share each GPU, or 'auto' to measure how many fill it."),
]
On = Annotated[
    str | None,
    typer.Option("--on", help="Where to run: local, slurm, ray, ray://HOST:PORT, or your own launcher."),
]
With = Annotated[list[str] | None, typer.Option("--with", help="Option of --on as key=value, such as partition=gpu.")]
FitMemory = Annotated[
    bool, typer.Option("--fit-memory", help="First find the smallest recipe.accumulate that fits into memory.")
]
PrintSbatch = Annotated[
    bool, typer.Option("--print-sbatch", help="Print the script of --on slurm, to submit it yourself.")
]
Graphs = Annotated[
    bool, typer.Option("--graphs", help="On a GPU, record the training step once and replay it (CUDA graphs).")
]
Track = Annotated[
    list[str] | None,
    typer.Option("--track", help="Also write epochs and scores to: csv, tensorboard, mlflow, wandb; may be repeated."),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]
Scale = Annotated[str | None, typer.Option("--scale", help="Pixel values that become black and white, such as 0,4095.")]
Bands = Annotated[str | None, typer.Option("--bands", help="One or three image channels, such as 0,1,2.")]
Page = Annotated[int | None, typer.Option("--page", help="Page of multi-page files, counted from 0.", min=0)]


def plan_of(study: str, out: Path | None, settings: list[str] | None, data: Path | None = None) -> tuple[Plan, Store]:
    """The plan of a study with settings applied, of runs that are due, and its store; ``data`` is the datasets' folder."""
    from segstudy.plan import open_plan

    plan, store = open_plan(study, out, settings or (), data)
    if plan.study.until is None:
        return plan, store
    from segstudy.results import due

    return due(plan, store), store


def finished_run(run_name: str, out: Path | None, settings: list[str] | None) -> tuple[Run, RunFolder]:
    """The trained run that a user names, and its folder; its weights are compared with their sum."""
    from segstudy.errors import StoreError
    from segstudy.plan import run_of

    study, experiment, seed = run_of(run_name)
    whole, store = plan_of(study, out, settings)
    chosen = whole.select([experiment], seed).runs[0]
    folder = store.run(chosen.experiment, chosen.seed)
    state = folder.state(chosen.identity, chosen.scored_on)
    if not folder.trained or state == "stale":
        reason = "was made with other settings than the study's" if state == "stale" else "is not trained yet"
        raise StoreError(f"{chosen.name}: {reason} in {store.root}; run the study first, or name its --out")
    folder.check_best()
    return chosen, folder


def workshop_of(
    plan: Plan,
    store: Store,
    data: Path | None,
    progress: Progress,
    stop: Stop | None = None,
    team: Team | None = None,
    graphs: bool = False,
) -> Workshop:
    """The context that is needed to carry out ``plan``, by this process or a team."""
    from segstudy.launch.workshop import Workshop
    from segstudy.train.processes import ALONE

    return Workshop(plan.study, store, data, progress, stop=stop, team=team or ALONE, graphs=graphs)


def stop_of(max_time: str | None, checkpoint_every: str | None) -> Stop:
    """When to stop by itself, and how often to save within an epoch, as the options say."""
    from segstudy.stopping import Stop, seconds_of

    limit = None if max_time is None else seconds_of(max_time, "--max-time")
    return Stop(limit, None if checkpoint_every is None else seconds_of(checkpoint_every, "--checkpoint-every"))


def shown(path: Path) -> str:
    """The path for display: relative if it is inside the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)


def numbers_of(flag: str, text: str | None, kind: Callable[[str], float]) -> list[float] | None:
    """The numbers of a flag, separated by commas."""
    from segstudy.errors import SpecError

    try:
        return None if text is None else [kind(each) for each in text.split(",")]
    except ValueError:
        raise SpecError(f"{flag} {text}: must be numbers separated by commas, such as 0,1,2") from None
