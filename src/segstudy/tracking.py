"""Trackers that get the course of a training in addition to the store: TensorBoard, MLflow, Weights & Biases, CSV.

Every target writes below ``track/`` in the study's output folder, through its own client. Nothing is sent anywhere.
"""

from __future__ import annotations

import csv
import functools
import importlib
import io
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from segstudy.errors import SegstudyError, nearest
from segstudy.files import write_text

Scalars = Mapping[str, float]


@dataclass(frozen=True)
class Tracked:
    """The run that is tracked: its study, its name, what identifies it, and its settings by dotted key."""

    study: str
    experiment: str
    seed: int
    identity: str
    settings: Mapping[str, Any]

    @property
    def name(self) -> str:
        """As everywhere: ``experiment/seedN``."""
        return f"{self.experiment}/seed{self.seed}"


class Target(Protocol):
    """One run in one target. A run that is resumed is opened again, and may repeat its last epochs."""

    def epoch(self, number: int, values: Scalars) -> None:
        """Write what is known after epoch ``number``, counted from 1."""

    def scores(self, values: Scalars) -> None:
        """Write the final scores, ``dataset/measure`` -> value."""

    def close(self) -> None:
        """Finish writing."""


class Csv:
    """``csv/<experiment>/seedN.csv`` with a row an epoch, and ``seedN-scores.csv`` with a row a score."""

    def __init__(self, folder: Path, run: Tracked, first: int) -> None:
        self.path = folder / run.experiment / f"seed{run.seed}.csv"
        self.rows: dict[int, dict[str, Any]] = {}
        if self.path.is_file():
            known = csv.DictReader(io.StringIO(self.path.read_text(encoding="utf-8")))
            self.rows = {int(row["epoch"]): row for row in known if int(row["epoch"]) < first}

    def epoch(self, number: int, values: Scalars) -> None:
        """Write all epochs so far."""
        self.rows[number] = {"epoch": number, **values}
        keys = dict.fromkeys(key for row in self.rows.values() for key in row)
        self._write(self.path, list(keys), [row for _, row in sorted(self.rows.items())])

    def scores(self, values: Scalars) -> None:
        """Write the final scores."""
        rows = [{"score": key, "value": value} for key, value in values.items()]
        self._write(self.path.with_name(f"{self.path.stem}-scores.csv"), ["score", "value"], rows)

    def close(self) -> None:
        """Nothing is left open."""

    @staticmethod
    def _write(path: Path, columns: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        text = io.StringIO()
        writer = csv.DictWriter(text, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_text(path, text.getvalue())


class TensorBoard:
    """``tensorboard/<experiment>/seedN``: open the folder with ``tensorboard --logdir``."""

    def __init__(self, folder: Path, run: Tracked, first: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        make: Any = SummaryWriter
        self.writer = make(str(folder / run.experiment / f"seed{run.seed}"), purge_step=first)
        rows = "\n".join(f"| {key} | {value} |" for key, value in run.settings.items())
        self.writer.add_text("settings", f"| setting | value |\n|---|---|\n{rows}", first)

    def epoch(self, number: int, values: Scalars) -> None:
        """Write a scalar for each value."""
        for key, value in values.items():
            self.writer.add_scalar(key, value, number)
        self.writer.flush()

    def scores(self, values: Scalars) -> None:
        """Write the final scores as scalars of step 0."""
        for key, value in values.items():
            self.writer.add_scalar(f"scores/{key}", value, 0)

    def close(self) -> None:
        """Close the file of events."""
        self.writer.close()


class MLflow:
    """``mlflow/mlflow.db``: ``mlflow ui --backend-store-uri sqlite:///.../mlflow.db``. A study is an experiment there."""

    def __init__(self, folder: Path, run: Tracked, first: int) -> None:
        from mlflow import MlflowClient

        folder.mkdir(parents=True, exist_ok=True)
        self.client = MlflowClient(tracking_uri=f"sqlite:///{(folder / 'mlflow.db').resolve()}")
        known = self.client.get_experiment_by_name(run.study)
        artifacts = (folder / "artifacts").resolve().as_uri()
        number = known.experiment_id if known else self.client.create_experiment(run.study, artifacts)
        found = self.client.search_runs([number], f"tags.identity = '{run.identity}'") if first > 1 else []
        tags = {"identity": run.identity, "experiment": run.experiment, "seed": str(run.seed)}
        self.run = (found[0] if found else self.client.create_run(number, tags=tags, run_name=run.name)).info.run_id
        self.client.update_run(self.run, "RUNNING")
        for key, value in {} if found else run.settings.items():
            self.client.log_param(self.run, key, value)

    def epoch(self, number: int, values: Scalars) -> None:
        """Write a metric for each value."""
        for key, value in values.items():
            self.client.log_metric(self.run, key, value, step=number)

    def scores(self, values: Scalars) -> None:
        """Write the final scores as metrics, and end the run."""
        self.epoch(0, {f"scores/{key}": value for key, value in values.items()})
        self.client.set_terminated(self.run)

    def close(self) -> None:
        """A run without scores is one that was stopped."""
        if self.client.get_run(self.run).info.status == "RUNNING":
            self.client.set_terminated(self.run, "KILLED")


class Wandb:
    """``wandb/offline-run-*``, which ``wandb sync`` may upload later. A study is a project."""

    def __init__(self, folder: Path, run: Tracked, first: int) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        quiet = wandb.Settings(silent=True, console="off", x_disable_stats=True, disable_git=True, disable_code=True)
        self.run = wandb.init(
            project=run.study,
            name=run.name,
            id=run.identity,
            dir=str(folder),
            config=dict(run.settings),
            mode="offline",
            settings=quiet,
        )

    def epoch(self, number: int, values: Scalars) -> None:
        """Log the values."""
        self.run.log(dict(values), step=number)

    def scores(self, values: Scalars) -> None:
        """Write the final scores into the summary."""
        self.run.summary.update(dict(values))

    def close(self) -> None:
        """Finish the run's file."""
        self.run.finish()


# Name -> what writes it, and the modules that its extra of the same name installs.
TARGETS: dict[str, tuple[Callable[[Path, Tracked, int], Target], tuple[str, ...]]] = {
    "csv": (Csv, ()),
    "tensorboard": (TensorBoard, ("tensorboard",)),
    "mlflow": (MLflow, ("mlflow", "sqlalchemy", "alembic")),
    "wandb": (Wandb, ("wandb",)),
}


@dataclass
class Tracking:
    """The targets of a study. What goes wrong in one ends that target and never a training.

    Attributes
    ----------
    folder
        ``track/`` of the study's output folder.
    names
        Keys of :data:`TARGETS`.

    """

    folder: Path
    names: list[str]
    _run: Tracked | None = None
    _open: dict[str, Target] = field(default_factory=dict)

    def begin(self, run: Tracked) -> None:
        """A run begins, or goes on. It is opened with its first epoch."""
        self.close()
        self._run = run

    def epoch(self, values: Mapping[str, Any]) -> list[str]:
        """An epoch ended; ``values`` holds its number as ``epoch``. Returns a note on each target that failed."""
        number = int(values["epoch"])
        known = {key: float(value) for key, value in values.items() if key != "epoch" and value is not None}
        return self._each(lambda target: target.epoch(number, known), number)

    def end(self, scores: Scalars) -> list[str]:
        """The run is done."""
        notes = self._each(lambda target: target.scores(scores), 1)
        return notes + self.close()

    def close(self) -> list[str]:
        """Finish what is open."""
        notes = [note for name in list(self._open) for note in self._guarded(name, self._open.pop(name).close)]
        self._run = None
        return notes

    def _each(self, act: Callable[[Target], None], first: int) -> list[str]:
        def opened(name: str) -> None:
            act(self._of(name, first))

        return [note for name in list(self.names) for note in self._guarded(name, functools.partial(opened, name))]

    def _of(self, name: str, first: int) -> Target:
        if name not in self._open:
            assert self._run is not None
            self._open[name] = TARGETS[name][0](self.folder / name, self._run, first)
        return self._open[name]

    def _guarded(self, name: str, act: Callable[[], None]) -> Iterator[str]:
        try:
            act()
        except Exception as error:  # clients raise errors of many kinds
            self._open.pop(name, None)
            self.names = [other for other in self.names if other != name]
            words = next(iter(str(error).splitlines()), type(error).__name__)
            yield f"note: tracking with {name} stopped ({words}); training goes on, and its numbers are in the store"


def open_tracking(names: Sequence[str], folder: Path) -> Tracking | None:
    """The targets that ``--track`` names; None without any.

    Raises
    ------
    SegstudyError
        For an unknown target, or one whose client is not installed.

    """
    for name in names:
        if name not in TARGETS:
            raise SegstudyError(f"--track {name}: no such target{nearest(name, TARGETS)}; known: {', '.join(TARGETS)}")
        for module in TARGETS[name][1]:
            try:
                importlib.import_module(module)
            except ImportError as error:
                raise SegstudyError(
                    f"--track {name} needs {module} ({error}); install it with: pip install 'segstudy[{name}]'"
                ) from None
    return Tracking(folder, list(dict.fromkeys(names))) if names else None
