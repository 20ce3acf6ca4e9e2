"""Estimates against counts made by hand with stubbed measurements, and against what a finished tiny study takes."""

from __future__ import annotations

import json
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from ruamel.yaml import YAML
from typer.testing import CliRunner

from fakes import fake_kvasir
from segstudy.cli import app
from segstudy.errors import SegstudyError, SpecError, StoreError
from segstudy.files import read_yaml, write_yaml
from segstudy.launch import estimate
from segstudy.launch.estimate import Estimate, Reading, RunEstimate, Scoring, Training
from segstudy.launch.pending import find_pending
from segstudy.launch.work import execute, pauses, spread, take_all
from segstudy.launch.workshop import Workshop
from segstudy.plan import Plan, make_plan
from segstudy.progress import Progress
from segstudy.spec import parse_study
from segstudy.store import Store

STUDY = """
name: small
protocol: paper
data:
  polyps: {reader: kvasir, root: Kvasir-SEG}
recipe: {epochs: 5, batch_size: 3, input_size: 32, precision: float32}
experiments:
  unet: {data: polyps, model: {arch: unet, encoder: tu-test_resnet, weights: none}}
  slower: {base: unet, change: {recipe.optimizer.lr: 0.001}}
seeds: [1, 2]
"""


def tiny(folder: Path, text: str = STUDY) -> tuple[Workshop, Plan]:
    """A study of 10 images: 8 to train on and 2 that are reported."""
    fake_kvasir(folder / "Kvasir-SEG", num_images=10, size=(40, 36))
    study, store = parse_study(text), Store(folder / "out")
    return Workshop(study, store, folder, Progress(Console(quiet=True))), make_plan(study, folder, store)


@pytest.fixture
def stubbed(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Round numbers in the place of measurements; gives what was measured."""
    asked: list[str] = []

    def answer(what: str, found: object) -> object:
        return lambda *_: (asked.append(what), found)[1]

    monkeypatch.setattr(estimate, "measure_training", answer("training", Training(0.5, 3.0, 100.0, 1000, 3000)))
    monkeypatch.setattr(estimate, "measure_scoring", answer("scoring", Scoring(0.25, 0.125, 40.0, 60.0)))
    monkeypatch.setattr(estimate, "measure_reading", answer("reading", Reading(0.0625, 5000.0)))
    return asked


def test_hours_by_hand(tmp_path: Path, stubbed: list[str]) -> None:
    workshop, plan = tiny(tmp_path)
    found = estimate.estimate(workshop, plan)
    # 5 epochs of 8 images at 0.5 s, and 5 times 3 s to save; 5 epochs and then once 2 images at 0.125 s and 0.25 s
    assert {run.training_s for run in found.runs} == {5 * 8 * 0.5 + 5 * 3.0}
    assert {run.evaluation_s for run in found.runs} == {5 * 2 * 0.125 + 2 * 0.25}
    assert (len(found.runs), found.training_s, found.evaluation_s) == (4, 4 * 35.0, 4 * 1.75)
    assert found.caching_s == 8 * 0.0625 + 2 * 0.0625
    assert found.cache_bytes == 10 * 5000
    assert found.total_s == found.caching_s + 4 * 36.75
    assert {run.training_bytes for run in found.runs} == {2 * 3000 + 2 * 1000}
    assert stubbed == ["training", "scoring", "reading", "reading"]  # four runs are one configuration
    assert json.loads(json.dumps(found.plain()))["total_hours"] == found.total_s / 3600


def test_what_is_done_is_left_out(tmp_path: Path, stubbed: list[str]) -> None:
    workshop, plan = tiny(tmp_path)
    folder = workshop.store.run("unet", 1)
    write_yaml(folder.config, {"identity": next(r for r in plan.runs if r.name == "unet/seed1").identity})
    folder.metrics.write_text("".join(json.dumps({"epoch": k}) + "\n" for k in (1, 2)))
    by_name = {run.run: run for run in estimate.estimate(workshop, plan).runs}
    assert by_name["unet/seed1"].training_s == 3 * 8 * 0.5 + 3 * 3.0
    assert by_name["unet/seed2"].training_s == 35.0


def test_steps_that_are_counted_end_an_epoch_early(tmp_path: Path, stubbed: list[str]) -> None:
    workshop, plan = tiny(tmp_path, STUDY.replace("epochs: 5", "iterations: 4"))
    # 3 steps of an epoch of 8 images: 4 steps see 4/3 of them, in two epochs
    assert estimate.estimate(workshop, plan).runs[0].training_s == pytest.approx(4 / 3 * 8 * 0.5 + 2 * 3.0)


def test_workers_take_the_next_run_when_they_are_free() -> None:
    runs = tuple(
        RunEstimate(str(k), hours, 0.0, 10.0 * k, 7.0, 100.0 * k) for k, hours in enumerate((5.0, 2.0, 2.0, 3.0))
    )
    found = Estimate("", 2, runs, 1.0, 50.0, 20.0, 1000, 40.0)
    assert found.total_s == 1.0 + 7.0  # 5; 2, 2, 3
    assert found.disk_bytes == 4 * 7 + 50 + 20 + (300 + 200)
    assert (found.disk_fits, found.memory_mb, found.memory_fits) == (True, 50.0, False)


def test_missing_data_are_a_message(tmp_path: Path) -> None:
    study = parse_study(STUDY)
    workshop = Workshop(study, tmp_path / "out", tmp_path, Progress(Console(quiet=True)))
    with pytest.raises(SegstudyError, match="Kvasir-SEG"):
        estimate.estimate(workshop, make_plan(study))
    with pytest.raises(SpecError, match="--workers 0"):
        estimate.estimate(workshop, make_plan(study), workers=0)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "2"], "--workers: is for --estimate; add it, or remove --workers"),
        (["--estimate", "--workers", "-1"], "--workers -1: must be 1 or more"),
        (["--estimate", "--power", "0.8"], "--estimate measures what runs need, --power how many seeds"),
    ],
)
def test_options_of_the_plan_that_say_nothing_are_refused(words: list[str], message: str) -> None:
    done = CliRunner().invoke(app, ["plan", "review", *words])
    assert isinstance(done.exception, SegstudyError) and message in str(done.exception)


def test_disk_is_that_of_the_finished_study(tmp_path: Path) -> None:
    text = STUDY.replace("epochs: 5", "epochs: 1").replace("seeds: [1, 2]", "seeds: [1]")
    workshop, plan = tiny(tmp_path, text)
    before = estimate.estimate(workshop, plan)
    assert not workshop.store.root.exists()
    assert execute(workshop, plan).failures == []

    def size(folder: Path) -> int:
        return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())

    memo = workshop.store.memo.stat().st_size
    assert before.cache_bytes == pytest.approx(size(workshop.store.cache) - memo, rel=0.2)
    assert sum(run.disk_bytes for run in before.runs) == pytest.approx(size(workshop.store.root / "runs"), rel=0.2)
    after = estimate.estimate(workshop, plan)
    assert (after.runs, after.total_s, after.cache_bytes) == ((), 0.0, 0.0)


def test_workers_try_runs_in_orders_of_their_own(tmp_path: Path) -> None:
    workshop, plan = tiny(tmp_path, STUDY.replace("[1, 2]", f"{list(range(50))}"))
    pending = list(enumerate(find_pending(workshop.store, plan), 1))
    orders = [[number for number, _ in spread(pending, f"node/{process}")] for process in range(64)]
    assert all(sorted(order) == list(range(1, 101)) for order in orders)
    assert [number for number, _ in spread(pending, "node/1")] == orders[1]
    for place in (0, 50, 99):  # of 64 that draw one of 100, about 47 differ
        assert len({order[place] for order in orders}) >= 32


def test_what_others_hold_is_tried_again_after_longer_and_longer_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    tried, slept = list[int](), list[float]()
    monkeypatch.setattr("segstudy.launch.work.time.sleep", slept.append)

    def take(item: int) -> bool:
        tried.append(item)
        return item != 2 or len(slept) == 12  # 2 is held until then

    take_all([1, 2, 3], take, pauses("node/1"))
    assert tried == [1, 2, 3, *[2] * 13]  # once more without a wait, after a round that did something
    assert 1 <= slept[0] <= 3 and 15 <= slept[-1] <= 45
    assert slept != [pause for pause, _ in zip(pauses("node/2"), slept, strict=False)]


def test_a_worker_takes_over_what_a_dead_machine_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of another machine it cannot know that it is dead before the claim was not refreshed for 120 s."""
    workshop, plan = tiny(tmp_path)
    clock, did = [0.0], list[tuple[str, float]]()
    own = SimpleNamespace(monotonic=lambda: clock[0], time=time.time, sleep=time.sleep)
    monkeypatch.setattr("filelock._soft.time", own)
    monkeypatch.setattr("segstudy.launch.work.time.sleep", lambda seconds: clock.__setitem__(0, clock[0] + seconds))
    monkeypatch.setattr("segstudy.launch.work.attempt", lambda _, run, folder: did.append((run.name, clock[0])) or "")
    folder = workshop.store.run(plan.runs[0].experiment, plan.runs[0].seed)
    folder.path.mkdir(parents=True)
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("filelock._marker.host_name", lambda: "other-machine")
        lease = folder.claim()
        lease.acquire()
    lease._stop_heartbeat()  # as if the machine were switched off
    assert execute(workshop, plan, join=True).failures == []
    assert {name for name, _ in did} == {run.name for run in plan.runs} and len(did) == len(plan.runs)
    assert did[-1][0] == plan.runs[0].name and 120 <= did[-1][1] <= 200
    assert all(at == 0 for _, at in did[:-1])  # the others were not waited for


def test_records_are_read_as_yaml_1_2(tmp_path: Path) -> None:
    """Values that YAML 1.1 reads otherwise: words, sexagesimal numbers, exponents without a point."""
    words = [
        "on",
        "yes",
        "no",
        "Off",
        "y",
        "1:30",
        "010",
        "1e-4",
        "null",
        "~",
        "true",
        "0x1f",
        "2026-11-28",
        "=",
        "<<",
        "1_000",
    ]
    numbers = [1e-05, 1e20, 0.1, -3, 12345678901234567890, float("inf")]
    values = {"words": [*words, ""], "numbers": numbers, "none": None, "b": True}
    values |= {"text": "a: b # c\nd\t'\"", "é": "ü", "nested": {"on": [[], {}]}}
    write_yaml(tmp_path / "a.yaml", values)
    assert read_yaml(tmp_path / "a.yaml") == values
    plain = "a: 1e-05\nb: on\nc: 1:30\nd: 0x1f\ne: 2026-11-28\nf: 1_000\ng: 0o17\nh: .nan_\ni: no\n5: [6, {7: '8'}]\n"
    (tmp_path / "b.yaml").write_text(plain)
    assert read_yaml(tmp_path / "b.yaml") == YAML(typ="safe", pure=True).load(plain)
    for odd in ("a: &x {b: 1}\nc: *x\n", "a: !!str 1\nb: ! 2\n", "a: {<<: {b: 1}, c: 2}\n"):  # what people may write
        (tmp_path / "b.yaml").write_text(odd)
        assert read_yaml(tmp_path / "b.yaml") == YAML(typ="safe", pure=True).load(odd)
    for bad in (
        "a: 1\na: 2\n",
        "a: 1\n---\nb: 2\n",
        "",
        "- 1\n",
        "a: !!python/name:os.system 1\n",
        "? [1]\n: 2\n",
        "a: [\n",
    ):
        (tmp_path / "c.yaml").write_text(bad)
        with pytest.raises(StoreError, match=r"c\.yaml"):
            read_yaml(tmp_path / "c.yaml")
