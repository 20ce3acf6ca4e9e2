"""The command line's application, the options that commands share, and what they all begin with."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import Plan
    from segstudy.progress import Progress
    from segstudy.stopping import Stop
    from segstudy.store import Store

HELP = """Controlled semantic-segmentation studies: one study file in, a report whose numbers can be traced out.

New here? Type  segstudy demo  - it runs a whole study in miniature, with nothing to download.
Then look at your own data with  segstudy init FOLDER  and run the file that it writes.
"""

app = typer.Typer(
    help=HELP,
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StudyArg = Annotated[
    str, typer.Argument(help="A study file, or the name of one that comes with segstudy: review, demo.")
]
Out = Annotated[Path | None, typer.Option("--out", help="Output folder; ./<study name> unless given.")]
DataDir = Annotated[Path | None, typer.Option("--data", help="Where datasets lie (also SEGSTUDY_DATA).")]
Only = Annotated[list[str] | None, typer.Option("--only", help="Only this experiment; may be repeated.")]
Seed = Annotated[int | None, typer.Option("--seed", help="Only this one of the study's seeds.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="key=value that replaces one of the file.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Replace = Annotated[bool, typer.Option("--replace", help="Set runs of other settings aside and make them anew.")]
MaxTime = Annotated[
    str | None, typer.Option("--max-time", help="Stop in time by itself, saving where it stands: 3h50m, 45m, 90s.")
]
CheckpointEvery = Annotated[
    str | None, typer.Option("--checkpoint-every", help="Also save within an epoch, so often: 10m.")
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Show no progress.")]


def plan_of(study: str, out: Path | None, settings: list[str] | None, data: Path | None = None) -> tuple[Plan, Store]:
    """The plan of a study, settings carried out, and the store that it is kept in; ``data`` is where data lie."""
    from segstudy.plan import open_plan

    return open_plan(study, out, settings or (), data)


def workshop_of(plan: Plan, store: Store, data: Path | None, progress: Progress, stop: Stop | None = None) -> Workshop:
    """Everything at hand that carrying out ``plan`` needs."""
    from segstudy.launch.workshop import Workshop

    return Workshop(plan.study, store, data, progress, stop=stop)


def stop_of(max_time: str | None, checkpoint_every: str | None) -> Stop:
    """When to stop by itself, and how often to save within an epoch, as the options say."""
    from segstudy.stopping import Stop, seconds_of

    limit = None if max_time is None else seconds_of(max_time, "--max-time")
    return Stop(limit, None if checkpoint_every is None else seconds_of(checkpoint_every, "--checkpoint-every"))


def shown(path: Path) -> str:
    """The path as a person would type it: relative where it lies below the current folder."""
    here = Path.cwd()
    return str(path.relative_to(here)) if path.is_relative_to(here) else str(path)
