"""From counts on disk to data frames: every score that tables and figures draw; ``contrasts`` takes their differences."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd
from numpy.typing import NDArray

from segstudy import measures
from segstudy.arrays import Confusion
from segstudy.counts.counting import measures_of
from segstudy.data.core import IGNORE
from segstudy.files import read_arrays, read_json, read_yaml
from segstudy.measures import OVERALL, PER_CLASS, Measure
from segstudy.plan import Plan, Run
from segstudy.schema import ScoringRules
from segstudy.store import RunFolder, Store

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
    "absent_classes",
    "background",
    "ignore",
    "value",
    "n",
)


# What is so of every number here: how absent classes, the background and ignored pixels are treated.
CONTRACT = {"absent_classes": "left out", "background": "a class", "ignore": IGNORE}
CONSTANT = "(constant)"  # marks rows that say what no skill at all would score


@dataclass(frozen=True)
class Evaluated:
    """Counts of one run on one split, as they lie on disk."""

    run: Run
    folder: RunFolder
    counts: dict[str, NDArray[Any]]
    ids: tuple[str, ...]
    meta: dict[str, Any]

    @property
    def confusion(self) -> Confusion:
        """Pixels (n, c, c) by true and predicted class, at the resolution that is reported."""
        return self.counts["confusion"]

    @property
    def groups(self) -> NDArray[Any] | None:
        """The group of each image, (n,), where images come in groups."""
        return self.counts.get("groups")

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
                ids = tuple(arrays.pop("ids").tolist())
                found.append(Evaluated(run, folder, arrays, ids, meta))
    return found


def results_frame(plan: Plan, evaluations: list[Evaluated]) -> pd.DataFrame:
    """Long form, a number a row, each with its contract.

    ``level`` is ``dataset`` (counts of all images merged), ``class`` (likewise, one class) or ``image`` (``class``
    then holds the image's id); ``n`` is what the number rests on: images for ``dataset`` and ``class`` (images in which
    the class is present), classes present for ``image``. ``resolution`` is where it was scored; scores of the confusion
    matrix are there at both, at the network's input size and at each image's own. Rows of an ``experiment`` that ends in
    ``(constant)`` hold what calling everything background would score on the same masks.
    """
    rows: list[dict[str, Any]] = []
    for evaluated in evaluations:
        keys = ("train_data", "test_data", "split", "selected_on", "resolution")
        common = {
            "study": plan.study.name,
            "experiment": evaluated.run.experiment,
            "seed": evaluated.run.seed,
            **{key: evaluated.meta[key] for key in keys},
            **CONTRACT,
        }
        rows += [common | row for row in _rows(evaluated, plan.study.scoring)]
        nothing = {"experiment": f"{evaluated.run.experiment} {CONSTANT}", "train_data": "", "selected_on": ""}
        constant = evaluated.constant()
        rows += [common | nothing | row for m in OVERALL for row in _level_rows(m, "dataset", constant, evaluated)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(evaluated: Evaluated, rules: ScoringRules) -> Iterator[dict[str, Any]]:
    """Every measure whose counts the evaluation holds, at every level that it has."""
    known = [measure for measure in measures_of(rules) if measure.counts in evaluated.counts]
    for level in ("dataset", "class", "image"):
        for measure in known:
            if level in measure.levels:
                yield from _level_rows(measure, level, evaluated.counts[measure.counts], evaluated)
    for other in ("input", "native"):
        if (name := f"confusion_{other}") in evaluated.counts:
            for level, group in (("dataset", OVERALL), ("class", PER_CLASS)):
                for measure in group:
                    for row in _level_rows(measure, level, evaluated.counts[name], evaluated):
                        yield row | {"resolution": other}


def _level_rows(measure: Measure, level: str, counts: NDArray[Any], evaluated: Evaluated) -> Iterator[dict[str, Any]]:
    """One measure at one level of counts (n, ...): a row, or a row a class, or a row an image."""
    present = measures.support(evaluated.confusion) > 0
    names: tuple[str, ...] = ("",)
    values: Iterable[Any] = [measure.function(measures.merge(counts))]
    numbers: Iterable[Any] = [len(counts)]
    if level == "class":
        names, values, numbers = evaluated.classes, measure.function(measures.merge(counts)), present.sum(axis=0)
    elif level == "image":
        names, values, numbers = evaluated.ids, measure.function(counts), present.sum(axis=1)
    for name, value, n in zip(names, values, numbers, strict=True):
        yield {"class": name, "measure": measure.key, "level": level, "value": float(value), "n": int(n)}


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
