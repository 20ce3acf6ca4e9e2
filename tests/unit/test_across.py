"""One answer over the datasets of a study."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy import stats

from report_stores import add_counts, add_run
from segstudy.across import across_datasets
from segstudy.plan import Plan, make_plan
from segstudy.report.figure import Drawing
from segstudy.report.frames import ReportData
from segstudy.report.sections.across import SECTION
from segstudy.report.table import Table
from segstudy.results import read_results
from segstudy.spec import parse_study
from segstudy.store import Store

DATASETS = ("cells", "roads", "polyps", "roofs")
SCORES = {  # right pixels of 10 in each of two classes, by dataset: mIoU is right / (20 - right)
    "unet": (9, 8, 9, 8),
    "fpn": (8, 7, 7, 7),
    "linknet": (7, 6, 6, 4),
}


def plan_of(archs: tuple[str, ...] = tuple(SCORES), extra: str = "", keys: str = "") -> Plan:
    data = "\n".join(f"  {name}: {{reader: folder, root: {name}}}" for name in DATASETS)
    runs = "\n".join(f"  {a}-{d}: {{data: {d}, model: {{arch: {a}}}}}" for a in archs for d in DATASETS)
    return make_plan(parse_study(f"name: many\ndata:\n{data}\nexperiments:\n{runs}\n{extra}seeds: [1]\n{keys}"))


def fill(store: Store, plan: Plan, leave_out: str = "") -> None:
    for run in plan.runs:
        arch, dataset = run.experiment.split("-")[:2]
        if run.experiment != leave_out:
            right = SCORES[arch][DATASETS.index(dataset)]
            counts = np.array([[[right, 10 - right], [10 - right, right]]])
            add_run(store, run)
            add_counts(store, run, dataset, ["a", "b"], counts)


def test_ranks_over_datasets_are_those_of_scipy(tmp_path: Path) -> None:
    plan, store = plan_of(), Store(tmp_path)
    fill(store, plan)
    found = across_datasets(read_results(store, plan))
    assert found is not None and found.datasets == DATASETS and found.margin == 0.01
    scores = np.array([[r / (20 - r) for r in SCORES[arch]] for arch in SCORES]).T
    assert_allclose(found.scores, scores)
    assert_allclose(found.mean_ranks, stats.rankdata(-scores, axis=1).mean(axis=0))
    assert found.friedman is not None
    assert_allclose(found.friedman.statistic, stats.friedmanchisquare(*scores.T).statistic)
    assert [dict(each) for each in found.settings] == [{"model.arch": arch} for arch in SCORES]
    assert all(each.worse > 0.9 for each in found.against_first)


def test_a_gap_leaves_the_smaller_part_out(tmp_path: Path) -> None:
    plan, store = plan_of(), Store(tmp_path)
    fill(store, plan, leave_out="fpn-roofs")
    found = across_datasets(read_results(store, plan))
    assert found is not None and found.datasets == ("cells", "roads", "polyps") and len(found.experiments) == 3


def test_one_recipe_has_no_answer_over_datasets(tmp_path: Path) -> None:
    plan, store = plan_of(("unet",)), Store(tmp_path)
    fill(store, plan)
    assert across_datasets(read_results(store, plan)) is None


@pytest.mark.parametrize("archs", [("unet", "fpn"), tuple(SCORES)])
def test_the_section_says_what_few_datasets_can_show(tmp_path: Path, archs: tuple[str, ...]) -> None:
    plan, store = plan_of(archs, keys="margin: 0.3"), Store(tmp_path)
    fill(store, plan)
    table, *drawings = SECTION.content(ReportData(read_results(store, plan)))
    assert isinstance(table, Table) and [f.label for f in table.formats][2:6] == [f"mIoU on {d}" for d in DATASETS]
    assert "fewer than 6 datasets" in table.caption and "by more than 0.3" in table.caption
    assert ("Friedman" in table.caption) == (len(drawings) == 1) == (len(archs) == 3)
    assert table.frame["recipe"].tolist() == ["U-Net", "FPN", "LinkNet"][: len(archs)]
    assert all("critical difference" in drawing.caption for drawing in drawings if isinstance(drawing, Drawing))
    labels = [axes.get_xlabel() for drawing in drawings if isinstance(drawing, Drawing) for axes in drawing.figure.axes]
    assert labels == ["Mean rank (1 is the best)"] * len(drawings)
