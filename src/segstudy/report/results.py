"""From counts on disk to data frames: every score that tables and figures draw; ``contrasts`` takes their differences."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from segstudy import measures
from segstudy.measures import OVERALL, PER_CLASS, Confusion
from segstudy.plan import Plan, Run
from segstudy.store import RunFolder, Store, read_arrays, read_json, read_yaml

COLUMNS = (
    "study",
    "experiment",
    "seed",
    "train_data",
    "test_data",
    "split",
    "selected_on",
    "class",
    "measure",
    "level",
    "resolution",
    "value",
    "n",
)


CONSTANT = "(constant)"  # marks rows that say what no skill at all would score


@dataclass(frozen=True)
class Evaluated:
    """Counts of one run on one split, as they lie on disk."""

    run: Run
    folder: RunFolder
    confusion: Confusion
    ids: tuple[str, ...]
    meta: dict[str, Any]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the scored classes."""
        return tuple(self.meta["classes"])

    @property
    def in_domain(self) -> bool:
        """Whether the run was scored on the dataset that it was trained on."""
        return bool(self.meta["train_data"] == self.meta["test_data"])

    def constant(self) -> Confusion:
        """Counts (n, c, c) if every pixel were called background, or the most frequent class where there is none."""
        frequent = int(measures.support(measures.merge(self.confusion)).argmax())
        label = self.classes.index("background") if "background" in self.classes else frequent
        return measures.constant_prediction(self.confusion, label)


def current_runs(store: Store, plan: Plan) -> Iterator[tuple[Run, RunFolder]]:
    """The plan's runs that the store holds with these very settings, in the plan's order."""
    for run in plan.runs:
        folder = store.run(run.experiment, run.seed)
        if folder.config.is_file() and read_yaml(folder.config).get("identity") == run.identity:
            yield run, folder


def read_evaluations(store: Store, plan: Plan) -> list[Evaluated]:
    """Every evaluation that the store holds for the plan's runs, in the plan's order; stale runs are left out."""
    found = []
    for run, folder in current_runs(store, plan):
        for path in (folder.find_evaluation(*names) for names in run.scored_on):
            if path is not None:
                arrays, meta = read_arrays(path)
                found.append(Evaluated(run, folder, arrays["confusion"], tuple(arrays["ids"].tolist()), meta))
    return found


def results_frame(plan: Plan, evaluations: list[Evaluated]) -> pd.DataFrame:
    """Long form, a number a row.

    ``level`` is ``dataset`` (counts of all images merged), ``class`` (likewise, one class) or ``image`` (``class``
    then holds the image's id); ``n`` is what the number rests on: images for ``dataset`` and ``class`` (images in which
    the class is present), classes present for ``image``. Rows of an ``experiment`` that ends in ``(constant)`` hold
    what calling everything background would score on the same masks.
    """
    rows: list[dict[str, Any]] = []
    for evaluated in evaluations:
        common = {
            "study": plan.study.name,
            "experiment": evaluated.run.experiment,
            "seed": evaluated.run.seed,
            **{key: evaluated.meta[key] for key in ("train_data", "test_data", "split", "selected_on", "resolution")},
        }
        rows += [common | row for row in _rows(evaluated)]
        nothing = {"experiment": f"{evaluated.run.experiment} {CONSTANT}", "train_data": "", "selected_on": ""}
        rows += [common | nothing | row for row in _overall_rows(evaluated.constant())]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(evaluated: Evaluated) -> Iterator[dict[str, Any]]:
    confusion = evaluated.confusion
    yield from _overall_rows(confusion)
    merged = measures.merge(confusion)
    images_with = (measures.support(confusion) > 0).sum(axis=0)
    for measure in PER_CLASS:
        for name, value, n in zip(evaluated.classes, measure.function(merged), images_with, strict=True):
            yield {"class": name, "measure": measure.key, "level": "class", "value": float(value), "n": int(n)}
    present = (measures.support(confusion) > 0).sum(axis=1)
    for measure in OVERALL:
        for name, value, n in zip(evaluated.ids, measure.function(confusion), present, strict=True):
            yield {"class": name, "measure": measure.key, "level": "image", "value": float(value), "n": int(n)}


def _overall_rows(confusion: Confusion) -> Iterator[dict[str, Any]]:
    merged = measures.merge(confusion)
    for measure in OVERALL:
        value = float(measure.function(merged))
        yield {"class": "", "measure": measure.key, "level": "dataset", "value": value, "n": len(confusion)}


def cost_frame(store: Store, plan: Plan) -> pd.DataFrame:
    """Cost of every run that has one, a run a row."""
    rows = []
    for run, folder in current_runs(store, plan):
        if folder.cost.is_file():
            rows.append({"experiment": run.experiment, "seed": run.seed, **read_json(folder.cost)})
    return pd.DataFrame(rows)


def curves_frame(store: Store, plan: Plan) -> pd.DataFrame:
    """Every epoch's record of every run: experiment, seed, epoch, loss, lr, select_miou, times, memory."""
    rows = []
    for run, folder in current_runs(store, plan):
        for record in folder.read_metrics():
            rows.append({"experiment": run.experiment, "seed": run.seed, **record})
    return pd.DataFrame(rows)
