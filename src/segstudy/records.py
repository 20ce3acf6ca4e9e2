"""Typed records of the files on disk: run, evaluation, epoch, cost, environment.

Records are read from plain data that an earlier version or a person may have written. Missing fields get defaults that
mean "unknown", unknown keys are ignored, and invalid values raise a one-line ``ValueError``.
"""

from __future__ import annotations

import contextlib
import json
from typing import Any, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from segstudy.sizes import Size

EVALUATED = "model.evaluate"  # the setting in which a network that is only scored differs from any other
NOT_TRAINED = "not trained here"  # what trained a network that is only scored, and what chose its epoch


class Record(BaseModel):
    """Base of all records: immutable, tolerant of keys from other versions."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    @classmethod
    def parse(cls, data: Any) -> Self:
        """Check plain data; raises ``ValueError`` with the first invalid key."""
        try:
            return cls.model_validate(data)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the record"
            raise ValueError(f"{where}: {first['msg'].lower()}") from None

    def plain(self) -> dict[str, Any]:
        """The record as plain data for JSON and YAML, without unknown values."""
        return self.model_dump(mode="json", exclude_none=True)


class Environment(Record):
    """Versions and hardware that can influence results; ``processes`` trained one run together, if several did."""

    python: str = ""
    system: str = ""
    gpu: str | None = None
    cpu_threads: int | None = None
    processes: int | None = None
    packages: dict[str, str] = {}


class SplitRoles(Record):
    """The splits that train, choose the epoch, and are reported."""

    train: str = "train"
    select: str = ""
    report: str = ""


class RunRecord(Record):
    """``run.yaml``: the identity of a run, and what is needed to read its results without the study file.

    ``values`` are the resolved settings by dotted key. ``data_fingerprints`` hash the files of the splits by role
    (``train``, ``select``, ``report``), ``readings`` by dataset how masks become classes: names, order and rules.
    ``class_weights`` are those of a loss by its name, if a rule gave them. ``weights_sha256`` is the file of initial weights,
    ``best_sha256`` and ``metrics_sha256`` what training left. ``imported_from`` is there for
    a checkpoint that was trained elsewhere, ``trained_as`` names the run whose network this one predicts with in another way,
    and ``members`` are the runs of an ensemble with the hashes of their weights.
    """

    identity: str = ""
    experiment: str = ""
    seed: int = 0
    values: dict[str, Any] = {}
    classes: tuple[str, ...] = ()
    palette: tuple[tuple[int, int, int], ...] = ()
    roles: SplitRoles = SplitRoles()
    splits: dict[str, int] = {}
    data_fingerprints: dict[str, str] | None = None
    readings: dict[str, str] = {}
    weights_sha256: str | None = None
    best_sha256: str | None = None
    metrics_sha256: str | None = None
    class_weights: dict[str, list[float]] | None = None
    precision: str | None = None
    environment: Environment | None = None
    imported_from: dict[str, Any] | None = None
    trained_as: str | None = None
    members: dict[str, str] | None = None


class EvaluationRecord(Record):
    """The record stored with counts: what was scored, how, and under which contract.

    ``evaluation_hash`` identifies what was counted, ``data_fingerprint`` the files of the split, ``reading`` how masks
    become classes, ``weights_sha256`` the network, ``inference`` how it predicted if not in one
    pass, ``environment`` where it was scored. ``ignore`` are the values of the
    true masks that were left out. Masks from elsewhere have no seed, split or weights; ``doubts`` say what looks wrong with them.
    """

    experiment: str = ""
    seed: int = 0
    identity: str = ""
    train_data: str | None = None
    test_data: str | None = None
    split: str | None = None
    selected_on: str | None = None
    resolution: str | None = None
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...] = ()
    evaluation_hash: str = Field("", validation_alias=AliasChoices("evaluation_hash", "asked"))
    scoring: dict[str, Any] = {}
    input_size: Size | None = None
    crop_px: Size | None = None
    inference: str = ""
    data_fingerprint: str | None = None
    reading: str | None = None
    weights_sha256: str | None = None
    environment: Environment | None = None
    predictions: str | None = None
    absent_classes: str = "left out"
    background: str = "a class"
    ignore: tuple[int, ...] | int = 255
    doubts: tuple[str, ...] | None = None

    @property
    def ignored(self) -> tuple[int, ...]:
        """Ignored values of the true masks."""
        return self.ignore if isinstance(self.ignore, tuple) else (self.ignore,)


class Epoch(Record):
    """A line of ``metrics.jsonl``: one epoch of training. Memory in MB (10^6 bytes), times in seconds."""

    epoch: int
    loss: float = float("nan")
    lr: float | None = None
    select_miou: float = float("nan")
    report_miou: float | None = None
    seconds: float | None = None
    data_seconds: float | None = None
    compute_seconds: float | None = None
    images_per_s: float | None = None
    memory_mb: float | None = None


_EPOCHS = TypeAdapter(list[Epoch])


def parse_epochs(text: str) -> list[tuple[dict[str, Any], Epoch]]:
    """The records of ``metrics.jsonl``, plain and typed; a line that is none, as one cut off by a crash, is left out."""
    lines, found = text.splitlines(), []
    with contextlib.suppress(ValueError):  # all at once, as a store may hold 1,000 files of them
        records = json.loads(f"[{','.join(lines)}]")
        if len(records) == len(lines):
            return list(zip(records, _EPOCHS.validate_python(records), strict=True))
    for line in lines:
        with contextlib.suppress(ValueError):
            record = json.loads(line)
            found.append((record, Epoch.parse(record)))
    return found


class Cost(Record):
    """``cost.json``: what a trained network costs; see :func:`segstudy.cost.measure_cost`."""

    seconds_per_epoch: float | None = None
    images_per_s: float | None = None
    data_share: float | None = None
    peak_memory_mb: float | None = None
    memory_of: str | None = None
    parameters: float | None = None
    input_px: Size | None = None
    gflops: float | None = None
    latency_ms: float | None = None
    device: str | None = None
    precision: str | None = None
