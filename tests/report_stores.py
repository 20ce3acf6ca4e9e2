"""Small stores whose counts are written by hand, for the tests of the report."""

from __future__ import annotations

import json

import numpy as np
from PIL import Image

from segstudy.files import write_arrays, write_json, write_sums, write_text, write_yaml
from segstudy.plan import Plan, Run, make_plan
from segstudy.records import EvaluationRecord
from segstudy.report import figure
from segstudy.report.build import every_part
from segstudy.report.frames import ReportData
from segstudy.report.table import Table
from segstudy.spec import parse_study
from segstudy.store import Store

figure.PNG_DPI = 60  # what is in the pixels is tested on the figures themselves

STUDY = """
name: tiny
title: "Roads <b>& polyps</b>"
protocol: PROTOCOL
data:
  city: {reader: folder, root: city, classes: [road, car_50%, <sky>, void]}
  spot: {reader: folder, root: spot, classes: [background, polyp]}
  folk: {reader: folder, root: folk, classes: [background, person]}
recipe: {epochs: 3, input_size: 32}
experiments:
  deep-city: {data: city, model: {arch: deeplabv3, output_stride: 8}}
  deep-wide: {base: deep-city, change: {model.encoder: resnet101}}
  deep-both: {base: deep-city, change: {model.encoder: resnet101, model.output_stride: 16}, confounded: true}
  flat-city: {data: city, model: {arch: unet}}
  deep-spot: {data: spot, model: {arch: deeplabv3}}
cross_evaluations:
  - {experiment: deep-spot, on: folk, map: {polyp: person}}
seeds: [SEEDS]
"""
CITY = ["road", "car_50%", "<sky>", "void"]


def city(road: list[int], car: list[int]) -> np.ndarray:
    """A confusion matrix of ``city`` with 8 pixels of sky, all found, and no void; rows are the truth."""
    counts = np.zeros((4, 4), np.int64)
    counts[0, :2], counts[1, :2], counts[2, 2] = road, car, 8
    return counts


# Merged over both images: IoU 8/12, 4/8, 1; Dice 16/20, 8/12, 1; accuracy 8/10, 4/6, 1; 28 of 32 pixels right.
DEEP = np.stack([city([6, 2], [1, 3]), city([2, 0], [1, 1])])
# Merged [[10, 0], [3, 3]]: IoU 10/13, 3/6, 1.
WIDE = np.stack([city([8, 0], [2, 2]), city([2, 0], [1, 1])])
# Merged [[6, 4], [2, 4]]: IoU 6/12, 4/10, 1.
FLAT = np.stack([city([4, 4], [0, 4]), city([2, 0], [2, 0])])
# IoU 6/8, 2/4: 0.625 on spot. IoU 3/7, 1/5 on folk; all background there: 4/8, 0.
SPOT, FOLK = np.array([[[6, 2], [0, 2]]]), np.array([[[3, 1], [3, 1]]])


def every_table(data: ReportData) -> list[Table]:
    """The tables of all sections, by number."""
    tables = [item for part in every_part(data) for item in part.items if isinstance(item, Table)]
    return sorted(tables, key=lambda table: table.order)


def plan_of(protocol: str = "paper", seeds: str = "42") -> Plan:
    return make_plan(parse_study(STUDY.replace("PROTOCOL", protocol).replace("SEEDS", seeds)))


def run_of(plan: Plan, name: str, seed: int = 42) -> Run:
    return next(run for run in plan.runs if (run.experiment, run.seed) == (name, seed))


def add_run(store: Store, run: Run, *, epochs: int = 3, best: bool = True, failure: str = "") -> None:
    """Everything of a run but its evaluations; the second of three epochs is the best."""
    folder, select = store.run(run.experiment, run.seed), "val" if run.config.protocol == "paper" else "pick"
    roles = {"train": "train", "select": select, "report": "val"}
    write_yaml(folder.config, {"identity": run.identity, "roles": roles})
    scores = [0.2, 0.5, 0.4][:epochs]
    lines = [json.dumps({"epoch": n, "loss": 1 / n, "select_miou": s}) + "\n" for n, s in enumerate(scores, 1)]
    write_text(folder.metrics, "".join(lines))
    cost = {"seconds_per_epoch": 1.5, "images_per_s": 64.0, "peak_memory_mb": 700.0, "memory_of": "process"}
    cost |= {"parameters": 6.25, "gflops": 0.5, "latency_ms": 9.0, "device": "CPU, 2 threads", "precision": "32-true"}
    if best:
        write_json(folder.cost, cost)
        write_text(folder.best, "weights")
    if failure:
        write_text(folder.failure, failure)


def add_counts(store: Store, run: Run, data: str, classes: list[str], confusion: np.ndarray) -> None:
    """One evaluation, after which the run counts as sealed."""
    folder, paper = store.run(run.experiment, run.seed), run.config.protocol == "paper"
    meta = {
        "train_data": run.config.dataset,
        "test_data": data,
        "split": "val",
        "selected_on": f"{run.config.dataset}/{'val' if paper else 'pick'}",
        "resolution": run.config.resolution,
        "classes": classes,
        "palette": [[128, 64, 128], [0, 0, 142], [70, 130, 180], [0, 0, 0]][: len(classes)],
        "input_size": 32,
        "data_fingerprint": data,
        "evaluation_hash": next((scoring.evaluation_hash for scoring in run.scored_on if scoring.dataset == data), ""),
    }
    ids = np.array([f"{data}/{k}" for k in range(len(confusion))])
    write_arrays(folder.evaluation(data, "val"), {"confusion": confusion, "ids": ids}, meta)
    write_sums(folder.path)


def spot_record(run: Run, **changes: object) -> EvaluationRecord:
    """What an evaluation of ``run`` on the test split of ``spot``, polyps, records of itself."""
    record = EvaluationRecord(
        experiment=run.experiment,
        seed=run.seed,
        train_data="spot",
        test_data="spot",
        split="test",
        selected_on="spot/holdout",
        resolution="native",
        classes=("background", "polyp"),
        palette=((0, 0, 0), (255, 255, 255)),
        evaluation_hash=run.evaluation_hash,
        scoring=EvaluationRecord(classes=()).scoring,
        input_size=32,
        data_fingerprint="cc",
    )
    return record.model_copy(update=changes)


def add_pictures(store: Store, run: Run, data: str, count: int) -> None:
    """Cached images and labels of ``data`` and predicted masks of ``run``."""
    rng = np.random.default_rng(0)
    cache = store.cache / f"{data}-val-32-0123456789ab"
    cache.mkdir(parents=True, exist_ok=True)
    labels = rng.integers(0, 3, (count, 32, 32), dtype=np.uint8)
    labels[:, :4] = 255
    np.save(cache / "images.npy", rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8))
    np.save(cache / "labels.npy", labels)
    write_json(cache / "samples.json", [f"{data}/{k}" for k in range(count)])
    for k in range(count):
        path = store.run(run.experiment, run.seed).predictions(data, "val") / data / f"{k}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        mask = Image.fromarray(np.zeros((64, 64), np.uint8))
        mask.putpalette([0, 0, 0])
        mask.save(path)


def fill(store: Store, plan: Plan, seed: int = 42, deep: np.ndarray = DEEP) -> None:
    """Every run of one seed, done."""
    parts = {"deep-city": deep, "deep-wide": WIDE, "deep-both": WIDE, "flat-city": FLAT}
    for name, counts in parts.items():
        add_run(store, run_of(plan, name, seed))
        add_counts(store, run_of(plan, name, seed), "city", CITY, counts)
    spot = run_of(plan, "deep-spot", seed)
    add_run(store, spot)
    add_counts(store, spot, "spot", ["background", "polyp"], SPOT)
    add_counts(store, spot, "folk", ["background", "person"], FOLK)
