"""A study over all folds: its runs, its pooled scores, and comparisons fold by fold."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from PIL import Image
from scipy import stats

from report_stores import add_counts, add_run
from segstudy.errors import SegstudyError, SpecError
from segstudy.files import write_json, write_sums, write_text
from segstudy.launch.workshop import Workshop
from segstudy.measures import mean_iou
from segstudy.plan import Plan, make_plan
from segstudy.report.answer import warnings
from segstudy.report.figure import Drawing
from segstudy.report.frames import ReportData
from segstudy.report.gallery import collect_galleries
from segstudy.report.page import counts_files, run_rows
from segstudy.report.sections.changes import comparisons_table
from segstudy.report.sections.pictures import collect_pictures
from segstudy.report.sections.pictures import content as pictures_content
from segstudy.report.sections.training import content as training_content
from segstudy.report.sections.training import curves_frame, over_epochs
from segstudy.results import compare_results, read_results
from segstudy.spec import parse_study
from segstudy.stats.comparison import compare
from segstudy.stats.intervals import estimate
from segstudy.store import Store

STUDY = """
name: foldy
data:
  spot: {reader: kvasir, root: spot, folds: 3, fold: all, synthetic: {num_images: 9, size: [48, 48]}}
recipe: {epochs: 1, input_size: 32}
experiments:
  plain: {data: spot, model: {arch: unet}}
  deep: {base: plain, change: {model.encoder: resnet101}}
seeds: [1, 2]
"""
CROSSED = """  other: {reader: kvasir, root: x}
cross_evaluations: [{experiment: plain, on: other}]
recipe:"""
CLASSES = ["background", "polyp"]
# Two images in each of three folds: [[true background], [true polyp]] by prediction.
PLAIN = np.array(
    [[[[8, 2], [2, 4]], [[9, 1], [0, 6]]], [[[7, 3], [3, 3]], [[9, 1], [1, 5]]], [[[8, 2], [0, 6]], [[6, 4], [2, 4]]]]
)
DEEP = np.array(
    [[[[9, 1], [1, 5]], [[9, 1], [0, 6]]], [[[8, 2], [1, 5]], [[9, 1], [1, 5]]], [[[9, 1], [0, 6]], [[8, 2], [1, 5]]]]
)


def plan_of(text: str = STUDY) -> Plan:
    return make_plan(parse_study(text))


def fill(store: Store, plan: Plan, leave_out: str = "") -> None:
    for run in plan.runs:
        if run.name == leave_out or run.fold is None:
            continue
        counts = (PLAIN if run.experiment.startswith("plain") else DEEP)[run.fold] + (run.seed - 1)
        add_run(store, run, epochs=1)
        add_counts(store, run, run.config.dataset, CLASSES, counts)


def test_every_fold_is_a_run_and_names_select_all_or_one() -> None:
    plan = plan_of()
    assert [run.name for run in plan.select(["plain"], 1).runs] == [f"plain@fold{k}/seed1" for k in range(3)]
    assert [run.name for run in plan.select(["deep@fold2"]).runs] == ["deep@fold2/seed1", "deep@fold2/seed2"]
    assert [run.config.data.fold for run in plan.select(["deep"], 2).runs] == [0, 1, 2]
    variations = [run.variation for run in plan.select(["deep"], 1).runs]
    assert [each.base for each in variations if each] == ["plain@fold0", "plain@fold1", "plain@fold2"]
    assert all(list(each.changes) == ["model.encoder"] for each in variations if each)
    assert len({run.identity for run in plan.runs}) == len(plan.runs) == 12
    assert [run.name for run in plan.pooled.runs] == ["plain/seed1", "plain/seed2", "deep/seed1", "deep/seed2"]
    with pytest.raises(SpecError, match="no experiment is named 'pain'"):
        plan.select(["pain"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("folds: 3, fold: all", "fold: all", "all needs the number of folds"),
        ("fold: all", "fold: some", "must be the number of a fold, counted from 0, or all"),
        ("fold: all", "fold: -1", "must be the number of a fold"),
        ("seeds: [1, 2]", "seeds: {until: decided, at_most: 5}", "cannot be added one by one"),
        ("recipe:", CROSSED, "cross-evaluate with an entry of one fold"),
    ],
)
def test_what_cannot_be_done_over_all_folds_is_said(old: str, new: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        parse_study(STUDY.replace(old, new, 1))


def test_each_image_is_tested_once_over_the_folds(tmp_path: Path) -> None:
    plan = plan_of()
    workshop = Workshop(plan.study, Store(tmp_path / "out"), tmp_path)
    parts = []
    for k in range(3):
        dataset, roles = workshop.dataset(f"spot@fold{k}")
        tested = [sample.id for sample in dataset.samples(roles.report)]
        assert not set(tested) & {sample.id for sample in dataset.samples(roles.train)}
        parts += tested
    every = {sample.id for sample in workshop.dataset("spot")[0].samples("all")}
    assert len(parts) == 9 and set(parts) == every


def by_hand(plain: np.ndarray, deep: np.ndarray) -> tuple[float, float, float]:
    """Difference of pooled scores, its standard error, and p; from scores without each fold, in plain loops."""
    folds = range(len(plain))

    def score(counts: np.ndarray, kept: list[int]) -> float:
        total = sum(counts[k].sum(axis=0) for k in kept)
        hits = np.diag(total)
        return float(np.mean(hits / (total.sum(axis=0) + total.sum(axis=1) - hits)))

    every = list(folds)
    value = score(deep, every) - score(plain, every)
    without = [[k for k in every if k != fold] for fold in folds]
    shifts = [(len(plain) - 1) * (value - (score(deep, kept) - score(plain, kept))) for kept in without]
    error = math.sqrt(np.var(shifts, ddof=1) * (1 / 3 + 1 / 2))
    return value, error, float(2 * stats.t.sf(abs(value) / error, 2))


def test_scores_pool_every_image_once_and_comparisons_are_fold_by_fold(tmp_path: Path) -> None:
    plan, store = plan_of(STUDY.replace("[1, 2]", "[1]")), Store(tmp_path)
    fill(store, plan)
    results = read_results(store, plan)
    assert [(r.run.name, r.state) for r in results.runs] == [("plain/seed1", "done"), ("deep/seed1", "done")]
    one = results.side("plain").first
    assert len(one.ids) == 6 and one.about.test_data == "spot" and one.about.split == "test of 3 folds"
    total = PLAIN.sum(axis=(0, 1))
    assert_allclose(mean_iou(one.confusion.sum(axis=0)), mean_iou(total))
    found = results.comparisons["deep"]
    assert found.difference is not None and found.b.name == "plain"
    value, error, p = by_hand(PLAIN, DEEP)
    assert_allclose(found.difference.value, value)
    assert_allclose(found.difference.standard_error, error)
    assert_allclose(found.difference.p_value, p, rtol=1e-6)
    half = stats.t.ppf(0.975, 2) * error
    assert_allclose([found.difference.low, found.difference.high], [value - half, value + half])
    assert found.difference.num_groups == 3 and found.difference.population == "images and seeds"
    assert "share training images" in found.difference.assumption
    assert not found.flags and results.questions == 1


def test_seeds_are_averaged_in_each_fold() -> None:
    labels = np.repeat([0, 1, 2], 2)
    flat = {s: DEEP.reshape(6, 2, 2) + s for s in (0, 3)}
    base = {s: PLAIN.reshape(6, 2, 2) + s for s in (0, 3)}
    rng = np.random.default_rng(0)
    both = compare(flat, base, mean_iou, rng, folds=labels)
    alone = [compare({0: flat[s]}, {0: base[s]}, mean_iou, rng, folds=labels) for s in (0, 3)]
    assert_allclose(both.value, np.mean([each.value for each in alone]))
    assert both.degrees_of_freedom == pytest.approx(2) and both.num_seeds_base == 2
    unequal = compare(flat, {0: base[0]}, mean_iou, rng, folds=labels)
    assert unequal.p_value == unequal.p_value  # folds show how much trainings differ, so one seed is enough
    same = compare(base, base, mean_iou, rng, folds=labels)
    assert (same.value, same.p_value) == (0, 1)


def test_an_estimate_over_folds_is_wider_than_over_their_images() -> None:
    counts, labels = PLAIN.reshape(6, 2, 2), np.repeat([0, 1, 2], 2)
    found = estimate({0: counts}, mean_iou, folds=labels)
    grouped = estimate({0: counts}, mean_iou, groups=labels)
    assert_allclose(found.standard_error, grouped.standard_error * math.sqrt(2.5))  # (1/3 + 1/2) / (1/3)
    assert found.num_groups == 3 and found.num_images == 6 and found.population == "images and seeds"
    distances = np.arange(1.0, 7.0)[:, None]
    mean = estimate({0: distances}, lambda merged: merged[..., 0] / 6, folds=labels, limits=(0, np.inf))
    assert "fewer than 100 images" in mean.reason


def test_a_missing_fold_leaves_the_seed_out_and_says_so(tmp_path: Path) -> None:
    plan, store = plan_of(), Store(tmp_path)
    fill(store, plan, leave_out="deep@fold1/seed2")
    results = read_results(store, plan)
    assert [r.state for r in results.runs] == ["done", "done", "done", "partial"]
    assert results.side("deep").seeds == [1]
    assert "missing deep/seed2" in " ".join(results.side("deep").notes)
    rows = {row["name"]: row for row in run_rows(ReportData(results))}
    assert [state["text"] for state in rows["deep"]["states"]] == ["done", "partial, 2 of 3 folds"]
    assert rows["deep"]["called"] == "U-Net with ResNet-101"


def test_the_report_says_how_folds_enter(tmp_path: Path) -> None:
    plan, store = plan_of(STUDY.replace("[1, 2]", "[1]")), Store(tmp_path)
    fill(store, plan)
    data = ReportData(read_results(store, plan))
    caption = comparisons_table(data).caption
    assert "Nadeau and Bengio 2003" in caption and "A network for each fold, seed 1" in caption
    assert "another seed could reverse it" not in caption and not any("One seed" in text for text in warnings(data))
    files = [f"../runs/plain@fold{k}/seed1/evaluations/spot@fold{k}-val.npz" for k in range(3)]
    assert next(found for _, *found in counts_files(data)) == files and len(counts_files(data)) == 2
    assert data.experiments["miou"].notna().all()


def test_curves_and_pictures_are_of_every_fold(tmp_path: Path) -> None:
    plan, store = plan_of(STUDY.replace("[1, 2]", "[1]")), Store(tmp_path)
    fill(store, plan)
    for run in plan.runs:
        folder = store.run(run.experiment, run.seed)
        epochs = () if run.experiment == "deep@fold2" else (1, 2)
        lines = [
            {"epoch": n, "loss": (run.fold or 0) + n, "select_miou": 0.3 + 0.1 * n, "report_miou": 0.5} for n in epochs
        ]
        write_text(folder.metrics, "".join(json.dumps(line) + "\n" for line in lines))
        masks = folder.predictions(run.config.dataset, "val") / run.config.dataset
        masks.mkdir(parents=True)
        for k in range(2):
            Image.fromarray(np.full((8, 8), k, np.uint8)).save(masks / f"{k}.png")
        write_sums(folder.path)
    data = ReportData(read_results(store, plan))
    curves = curves_frame(data.results)
    line = over_epochs(curves[curves["experiment"] == "plain"], "loss")
    assert line[["mean", "lowest", "highest", "networks"]].to_numpy().tolist() == [[2, 1, 3, 3], [3, 2, 4, 3]]
    assert over_epochs(curves[curves["experiment"] == "deep"], "loss")["networks"].tolist() == [2, 2]
    assert curves[curves["chosen"]][["fold", "epoch"]].to_numpy().tolist() == [[0, 2], [1, 2], [2, 2], [0, 2], [1, 2]]
    (figure,) = [item for item in training_content(data) if isinstance(item, Drawing)]
    assert "the mean over seeds and folds" in figure.caption
    (gallery,) = collect_galleries(data)
    gallery.write(store.report)
    found = sorted((store.report / gallery.folder / "deep-seed1").glob("*.png"))
    assert gallery.predicted.keys() == {"plain", "deep"} and len(found) == 6
    assert data.experiments["chosen"].tolist() == ["2 / 2 / 2", "2 / 2 / –"]


def test_pictures_show_each_image_with_the_network_and_the_cache_of_its_fold(tmp_path: Path) -> None:
    """Fold k's network gives class k % 2 everywhere; its images are all of brightness 10 k, its truth is class 1."""
    plan, store = plan_of(STUDY.replace("[1, 2]", "[1]")), Store(tmp_path)
    fill(store, plan)
    for run in plan.runs:
        name = f"{run.config.dataset}-val"
        masks = store.run(run.experiment, 1).predictions(run.config.dataset, "val") / run.config.dataset
        masks.mkdir(parents=True)
        for k in range(2):
            Image.fromarray(np.full((32, 32), (run.fold or 0) % 2, np.uint8)).save(masks / f"{k}.png")
        cache = store.cache / f"{name}-32-0123456789ab"
        if not cache.is_dir():
            cache.mkdir(parents=True)
            np.save(cache / "images.npy", np.full((2, 32, 32, 3), 10 * (run.fold or 0), np.uint8))
            np.save(cache / "labels.npy", np.ones((2, 32, 32), np.uint8))
            write_json(cache / "samples.json", [f"{run.config.dataset}/{k}" for k in range(2)])
        write_sums(store.run(run.experiment, 1).path)
    data = ReportData(read_results(store, plan))
    (pictures,) = collect_pictures(data)
    assert len(pictures.examples) == 3 and pictures.split == "test of 3 folds"
    for example in pictures.examples:
        fold = int(example.id.split("@fold")[1][0])
        assert (example.image == 10 * fold).all() and (example.truth == 1).all()
        assert [panel.experiment for panel in example.panels] == ["plain", "deep"]
        assert all((panel.prediction == fold % 2).all() for panel in example.panels if panel.prediction is not None)
        assert all(panel.prediction is not None for panel in example.panels)
    (figure,) = [item for item in pictures_content(data) if isinstance(item, Drawing)]
    assert "each image is predicted by the network of its fold" in figure.caption
    (gallery,) = collect_galleries(data)
    gallery.write(store.report)  # the dataset is not at hand, so the caches of the folds give the images
    assert gallery.written(store.report) == {"lost": []}


def test_folds_of_other_studies_are_not_compared(tmp_path: Path) -> None:
    plan, store = plan_of(STUDY.replace("[1, 2]", "[1]")), Store(tmp_path)
    fill(store, plan)
    results = read_results(store, plan)
    side = results.side("plain")
    moved = [type(one)(**{**vars(one), "folds": one.folds and tuple(2 - k for k in one.folds)}) for one in side.stored]
    with pytest.raises(SegstudyError, match="divided into other folds"):
        compare_results(type(side)("other", moved), results.side("deep"))
