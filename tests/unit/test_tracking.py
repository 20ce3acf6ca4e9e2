"""The course of a training in other programs' files, read back with their own readers."""

from __future__ import annotations

import csv
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from segstudy.errors import SegstudyError
from segstudy.tracking import TARGETS, Tracked, Tracking, open_tracking

RUN = Tracked("my study", "unet-os16", 3, "0123abcd", {"model.arch": "unet", "recipe.epochs": 3})


def track(target: str, folder: Path) -> None:
    """Two epochs; the second is interrupted before it is safe, done again, and followed by a third and by the scores."""
    tracking = open_tracking([target], folder)
    assert tracking is not None
    tracking.begin(RUN)
    notes = [tracking.epoch({"epoch": 1, "loss": 1.0, "select_miou": 0.25, "report_miou": None})]
    notes += [tracking.epoch({"epoch": 2, "loss": 9.0}), tracking.close()]
    tracking.begin(RUN)
    notes += [tracking.epoch({"epoch": 2, "loss": 0.5}), tracking.epoch({"epoch": 3, "loss": 0.25})]
    notes.append(tracking.end({"spot/miou": 0.75}))
    assert not any(notes)


def rows(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def test_csv(tmp_path: Path) -> None:
    track("csv", tmp_path)
    folder = tmp_path / "csv" / "unet-os16"
    assert [(row["epoch"], row["loss"]) for row in rows(folder / "seed3.csv")] == [
        ("1", "1.0"),
        ("2", "0.5"),
        ("3", "0.25"),
    ]
    assert rows(folder / "seed3.csv")[0]["select_miou"] == "0.25"
    assert rows(folder / "seed3-scores.csv") == [{"score": "spot/miou", "value": "0.75"}]


def test_tensorboard(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="pip install segstudy[tensorboard]")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    track("tensorboard", tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard" / "unet-os16" / "seed3")).Reload()
    assert [(e.step, e.value) for e in events.Scalars("loss")] == [(1, 1.0), (2, 0.5), (3, 0.25)]
    assert [e.value for e in events.Scalars("scores/spot/miou")] == [0.75]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of its own SQL
def test_mlflow(tmp_path: Path) -> None:
    for module in TARGETS["mlflow"][1]:
        pytest.importorskip(module, reason="pip install segstudy[mlflow]")
    from mlflow import MlflowClient

    track("mlflow", tmp_path)
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("my study")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "unet-os16/seed3" and run.info.status == "FINISHED"
    assert run.data.params["model.arch"] == "unet"
    last = {m.step: m.value for m in client.get_metric_history(run.info.run_id, "loss")}
    assert last == {1: 1.0, 2: 0.5, 3: 0.25}
    assert run.data.metrics["scores/spot/miou"] == 0.75


def test_wandb_writes_offline(tmp_path: Path) -> None:
    pytest.importorskip("wandb", reason="pip install segstudy[wandb]")
    from wandb.proto import wandb_internal_pb2

    track("wandb", tmp_path)
    losses: dict[int, float] = {}
    files = sorted(tmp_path.rglob("run-0123abcd.wandb"), key=lambda path: path.stat().st_mtime_ns)
    assert len(files) == 2  # one each time that the run was begun
    for path in files:
        for data in parts_of_log(path.read_bytes()):
            record: Any = wandb_internal_pb2.Record.FromString(data)
            if record.HasField("run"):
                assert (record.run.project, record.run.display_name) == ("my study", "unet-os16/seed3")
            values = {item.key or item.nested_key[0]: item.value_json for item in record.history.item}
            if "loss" in values:
                losses[int(values["_step"])] = float(values["loss"])
    assert losses == {1: 1.0, 2: 0.5, 3: 0.25}


def parts_of_log(data: bytes) -> Iterator[bytes]:
    """Records of LevelDB's log format (blocks of 32 KiB; sum, length, kind), after W&B's heading of 7 bytes."""
    at, part = 7, b""
    while at + 7 <= len(data):
        if (room := 32768 - at % 32768) < 7:
            at += room
            continue
        length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part
            yield part
            part = b""


def test_unknown_or_missing_targets_are_refused_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert open_tracking([], tmp_path) is None
    with pytest.raises(SegstudyError, match=r"--track tensorbord: no such target.*tensorboard"):
        open_tracking(["tensorbord"], tmp_path)
    monkeypatch.setitem(TARGETS, "wandb", (TARGETS["wandb"][0], ("not_installed_here",)))
    with pytest.raises(SegstudyError, match=r"needs not_installed_here.*pip install 'segstudy\[wandb\]'"):
        open_tracking(["csv", "wandb"], tmp_path)


def test_a_target_that_fails_ends_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(folder: Path, run: Tracked, first: int) -> Any:
        raise OSError("disk full")

    monkeypatch.setitem(TARGETS, "broken", (broken, ()))
    tracking = Tracking(tmp_path, ["broken", "csv"])
    tracking.begin(RUN)
    (note,) = tracking.epoch({"epoch": 1, "loss": 1.0})
    assert "tracking with broken stopped (disk full)" in note
    assert tracking.epoch({"epoch": 2, "loss": 0.5}) == []
    assert len(rows(tmp_path / "csv" / "unet-os16" / "seed3.csv")) == 2
