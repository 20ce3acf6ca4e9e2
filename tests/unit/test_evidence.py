"""How sure the report's numbers are, from a store whose counts are written here; expectations are worked out by hand."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from report_stores import every_table
from segstudy import measures
from segstudy.comparison import NOT_COMPARABLE
from segstudy.errors import SegstudyError, StoreError
from segstudy.files import read_arrays, write_arrays, write_sums, write_text, write_yaml
from segstudy.plan import IMPORTED, Plan, make_plan
from segstudy.planning import requirements
from segstudy.report.answer import sentences
from segstudy.report.build import build_report
from segstudy.report.contract import contract
from segstudy.report.frames import ReportData, estimates_frame
from segstudy.report.sections.errors import reliability_frame
from segstudy.report.sections.training import selection_frame
from segstudy.report.table import Table, interval_text, number_text
from segstudy.results import compare_results, read_results
from segstudy.scorecard import comparison_record, comparison_text
from segstudy.spec import parse_study
from segstudy.stats.comparison import compare
from segstudy.stats.planning import ONE_SEED
from segstudy.store import Store

STUDY = """
name: sure
protocol: PROTOCOL
data:
  spot: {reader: folder, root: spot, classes: [background, polyp]}
experiments:
  base:  {data: spot, model: {arch: unet}}
  good:  {base: base, change: {model.encoder: resnet101}}
  same:  {base: base, change: {model.weights: none}}
  large: {base: base, change: {recipe.input_size: 512}}
seeds: [SEEDS]
"""
# Of 100 pixels of polyp and 300 of background in each image, how many are right.
SKILL = {"base": 70, "good": 85, "same": 70, "large": 75}
NUM_IMAGES = 40


def plan_of(seeds: str = "1, 2, 3", protocol: str = "held-out") -> Plan:
    return make_plan(parse_study(STUDY.replace("PROTOCOL", protocol).replace("SEEDS", seeds)))


def counts_of(experiment: str, seed: int) -> np.ndarray:
    """Images of one difficulty for all networks, each network with luck of its own."""
    difficulty = np.random.default_rng(0).normal(0, 8, NUM_IMAGES)
    luck = np.random.default_rng([seed, *experiment.encode()]).normal(0, 1.5, NUM_IMAGES)
    found = np.clip(SKILL[experiment] + difficulty + luck, 1, 99).astype(np.int64)
    wrong = 100 - found
    return np.stack([np.stack([300 - wrong, wrong], -1), np.stack([wrong, found], -1)], -2)


def fill(store: Store, plan: Plan, record: dict[str, dict[str, Any]] | None = None, **arrays: np.ndarray) -> None:
    for run in plan.runs:
        folder = store.run(run.experiment, run.seed)
        roles = {"train": "train", "select": "holdout", "report": "test"}
        own = {"precision": "32-true", "data_fingerprints": {"train": "aa", "select": "bb"}}
        write_yaml(
            folder.config, {"identity": run.identity, "roles": roles, **own, **(record or {}).get(run.experiment, {})}
        )
        lines = [
            {"epoch": n, "loss": 1 / n, "select_miou": s, "report_miou": r}
            for n, (s, r) in enumerate(((0.2, 0.5), (0.6, 0.52), (0.4, 0.56), (0.3, 0.4)), 1)
        ]
        write_text(folder.metrics, "".join(json.dumps(line) + "\n" for line in lines))
        write_text(folder.best, "weights")
        meta = {
            "train_data": "spot",
            "test_data": "spot",
            "split": "test",
            "selected_on": "spot/holdout",
            "resolution": run.config.resolution,
            "classes": ["background", "polyp"],
            "palette": [[0, 0, 0], [255, 255, 255]],
            "input_size": run.config.recipe.input_size,
            "evaluation_hash": run.evaluation_hash,
            "data_fingerprint": "cc",
        }
        ids = np.array([f"image{k}" for k in range(NUM_IMAGES)])
        counts = {"confusion": counts_of(run.experiment, run.seed), "ids": ids, **arrays}
        write_arrays(folder.evaluation("spot", "test"), counts, meta)
        write_sums(folder.path)


def data_of(store: Store, plan: Plan) -> ReportData:
    return ReportData(read_results(store, plan))


def tables_of(store: Store, plan: Plan) -> dict[str, Table]:
    return {re.sub(r"^\d+-", "", table.name): table for table in every_table(data_of(store, plan))}


def printed(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows()]


@pytest.fixture(scope="module")
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Plan]:
    store, plan = Store(tmp_path_factory.mktemp("sure")), plan_of()
    fill(store, plan)
    return store, plan


@pytest.fixture(scope="module")
def tables(filled: tuple[Store, Plan]) -> dict[str, Table]:
    return tables_of(*filled)


def test_verdicts_say_what_the_counts_were_made_to_show(filled: tuple[Store, Plan]) -> None:
    frame = data_of(*filled).effects.set_index("experiment")
    assert frame.loc["good", "verdict"] == "better"
    assert frame.loc["same", "verdict"] == "not distinguishable"
    assert frame.loc["good", "low"] > 0
    assert frame.loc["same", "low"] < 0 < frame.loc["same", "high"]
    assert set(frame["population"]) == {"images and seeds"}
    assert set(frame["flags"]) == {""}
    # 15 pixels of polyp and as many of background more are right: IoU 0.85/1.15 - 0.7/1.3 and 285/315 - 270/330, halved
    expected = (85 / 115 - 70 / 130 + 285 / 315 - 270 / 330) / 2
    assert frame.loc["good", "value"] == pytest.approx(expected, abs=0.02)


def test_numbers_of_sentences_lead_to_the_csv_and_the_counts(filled: tuple[Store, Plan]) -> None:
    data = data_of(*filled)
    rows = list(csv.DictReader(io.StringIO(data.form.text())))

    def score(experiment: str) -> float:
        wanted = {"experiment": experiment, "measure": "miou", "level": "dataset", "resolution": "native"}
        values = [float(row["value"]) for row in rows if all(row[key] == value for key, value in wanted.items())]
        by_hand = []
        for seed in (1, 2, 3):
            (a, b), (c, d) = counts_of(experiment, seed).sum(0).tolist()
            by_hand.append((a / (a + b + c) + d / (b + c + d)) / 2)
        assert values == pytest.approx(by_hand, abs=1e-12)
        return float(np.mean(values))

    text = " ".join(sentences(data))
    effect = re.search(
        r"ResNet-101 instead of ResNet-50 as encoder gains U-Net ([\d.]+) mIoU \[([\d.]+),\s([\d.]+)\]", text
    )
    best = re.search(r"Highest mIoU, ([\d.]+): (.+?) \(\+([\d.]+) \[", text)
    assert effect and best
    assert effect[1] == f"{score('good') - score('base'):.3f}"
    row = data.effects.set_index("experiment").loc["good"]
    assert (effect[2], effect[3]) == (f"{row['low']:.3f}", f"{row['high']:.3f}")
    assert (best[1], best[2]) == (f"{score('good'):.3f}", "U-Net with ResNet-101")
    assert best[3] == f"{score('good') - max(map(score, ('base', 'same', 'large'))):.3f}"


def test_estimates_are_means_over_seeds_with_an_interval_around(
    filled: tuple[Store, Plan], tables: dict[str, Table]
) -> None:
    frames = data_of(*filled)
    rows = estimates_frame(frames.results)[estimates_frame(frames.results)["measure"] == "pixel_accuracy"].set_index(
        "experiment"
    )
    by_hand = [np.einsum("nii->", counts_of("good", seed)) / (400 * NUM_IMAGES) for seed in (1, 2, 3)]
    assert rows.loc["good", "value"] == pytest.approx(np.mean(by_hand), abs=1e-12)
    assert rows.loc["good", "seed_sd"] == pytest.approx(np.std(by_hand, ddof=1), abs=1e-12)
    assert rows.loc["good", "low"] < rows.loc["good", "value"] < rows.loc["good", "high"]
    table = tables["estimates"]
    assert [row[0] for row in printed(table)] == ["base", "good", "same", "large"]
    assert {row[-1] for row in printed(table)} == {"recipes"}


def test_classes_have_intervals_and_variants_an_effect_on_each(tables: dict[str, Table]) -> None:
    """15 pixels of polyp in a hundred more are right: its IoU, 0.70/1.30, becomes 0.85/1.15."""
    scores, effects = tables["class-scores-spot"], tables["class-effects-base"]
    assert [row[:3] for row in printed(scores)] == [["0", "background", "40"], ["1", "polyp", "40"]]
    assert [column.label for column in effects.formats[3:]] == ["base", "Δ good", "Δ same", "Δ large"]
    polyp = effects.frame.set_index("class").loc["polyp"]
    hits, union = 0, 0
    for seed in (1, 2, 3):
        merged = counts_of("base", seed).sum(axis=0)
        hits, union = hits + merged[1, 1] / (merged[1].sum() + merged[0, 1]), union + 1
    assert polyp["base value"] == pytest.approx(hits / union, abs=1e-12)
    assert scores.frame["base value"].iloc[1] == polyp["base value"]
    assert scores.frame["base low"].iloc[1] < hits / union < scores.frame["base high"].iloc[1]
    assert polyp["good value"] == pytest.approx(85 / 115 - 70 / 130, abs=0.03)
    assert polyp["good low"] > 0 and polyp["good p_holm"] < 0.05
    texts = dict(zip([column.label for column in effects.formats], printed(effects)[1], strict=True))
    assert texts["Δ good"].endswith("] ↑") and texts["Δ same"].endswith("]")
    assert {cell.contract.split(",")[0] for cell in effects.rows()[1][3:]} == {"class level"}


def test_a_variant_that_is_not_comparable_has_no_effect_on_classes_but_is_named(tmp_path: Path) -> None:
    plan = plan_of(protocol="paper")  # so that "large" is scored on masks of another size
    fill(Store(tmp_path), plan)
    effects = tables_of(Store(tmp_path), plan)["class-effects-base"]
    assert [column.label for column in effects.formats[3:]] == ["base", "Δ good", "Δ same"]
    assert "Not comparable with base: large (scored on masks of different sizes)." in effects.caption


def test_could_have_seen_counts_all_comparisons_that_can_be_made(tmp_path: Path) -> None:
    """Three under protocol held-out; under paper, 'large' cannot be compared, so two."""
    for protocol, questions in (("held-out", 3), ("paper", 2)):
        store, plan = Store(tmp_path / protocol), plan_of(protocol=protocol)
        fill(store, plan)
        frame = data_of(store, plan).effects.set_index("experiment")
        assert set(frame["questions"]) == {questions}
        sides = [{s: counts_of(name, s) for s in (1, 2, 3)} for name in ("good", "base")]
        alone = compare(*sides, measures.mean_iou, np.random.default_rng(0), level=1 - 0.05 / questions)
        assert frame.loc["good", "detectable"] == pytest.approx(alone.detectable, rel=1e-9)


def test_tables_agree_on_a_difference_where_a_seed_is_missing(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of()
    fill(store, plan)
    store.run("good", 2).evaluation("spot", "test").unlink()
    tables = tables_of(store, plan)
    variants = tables["variants-unet"].frame.set_index("experiment")
    effects = tables["comparisons"].frame.set_index("experiment")
    for name in ("good", "same"):
        assert variants.loc[name, "delta_miou"] == pytest.approx(effects.loc[name, "value"], abs=1e-15)
        assert variants.loc[name, "delta_miou"] == pytest.approx(
            variants.loc[name, "miou"] - variants.loc["base", "miou"], abs=1e-15
        )
    assert math.isnan(variants.loc["good", "delta_miou_sd"]) and variants.loc["same", "delta_miou_sd"] > 0


def test_verdicts_count_comparisons_that_are_not_done_yet(filled: tuple[Store, Plan], tmp_path: Path) -> None:
    """So none of them turns back when the study's other runs are done; and every table names what is missing."""
    store, plan = Store(tmp_path), plan_of()
    fill(store, plan)
    for seed in (1, 2, 3):
        store.run("same", seed).evaluation("spot", "test").unlink()
    before, after = (data_of(one, plan).effects.set_index("experiment") for one in (store, filled[0]))
    assert before.loc["same", "verdict"] == "" and math.isnan(before.loc["same", "p_holm"])
    assert set(before["questions"].dropna()) == set(after["questions"]) == {3}
    for name in ("good", "large"):
        assert before.loc[name, "p_value"] == after.loc[name, "p_value"]
        assert before.loc[name, "p_holm"] >= after.loc[name, "p_holm"]
    tables = tables_of(store, plan)
    assert "the study's 3 comparisons" in tables["comparisons"].caption
    assert "No result yet: same (" in tables["class-effects-base"].caption
    rows = requirements(data_of(store, plan).results, 0.8, 0.05)
    assert {row["questions"] for row in rows} == {3} and rows[0]["level"] == pytest.approx(1 - 0.05 / 3)


def test_captions_say_which_seeds_there_are(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of()
    fill(store, plan)
    store.run("good", 2).evaluation("spot", "test").unlink()
    tables = tables_of(store, plan)
    assert "Mean over seeds (base, same, large: 1, 2, 3; good: 1, 3); ± is" in tables["variants-unet"].caption
    assert tables["baselines"].caption.count("Mean over 3 seeds (1, 2, 3); ± is their standard deviation.") == 1
    assert "±" not in tables["class-scores-spot"].caption
    effects = tables["class-effects-base"]
    column = next(k for k, column in enumerate(effects.formats) if column.label == "Δ good")
    assert "seeds 1, 2, 3, epoch chosen on spot/holdout" in effects.rows()[1][column].contract


def test_confounded_variants_and_what_else_differs_are_marked_class_by_class(tmp_path: Path) -> None:
    text = STUDY.replace("PROTOCOL", "held-out").replace("SEEDS", "1, 2, 3")
    both = "same:  {base: base, change: {model.weights: none, model.encoder: resnet18}, confounded: true}"
    plan = make_plan(parse_study(re.sub(r"same:  .*", both, text)))
    fill(Store(tmp_path), plan, {"good": {"precision": "bf16-mixed"}})
    table = tables_of(Store(tmp_path), plan)["class-effects-base"]
    assert "Δ same (confounded)" in [column.label for column in table.formats]
    assert "good also differs in: precision bf16-mixed against 32-true." in table.caption


def test_captions_of_cross_rows_and_imported_runs_say_what_chose_the_epoch() -> None:
    rows = pd.DataFrame(
        {
            "experiment": ["unet", "flat"],
            "seed": [1, 1],
            "train_data": ["spot", "spot"],
            "test_data": ["folk", "folk"],
            "split": ["val", "val"],
            "selected_on": ["spot/val", "spot/val"],
            "resolution": ["input", "input"],
            "protocol": ["paper", "paper"],
            "n": [10, 10],
            "miou": [0.5, 0.6],
        }
    )
    flatters = (
        "Epoch chosen on the reported split of the training data (the review's protocol), which flatters that score"
    )
    assert f"{flatters}. Scored" in contract(rows)
    imported = rows.assign(test_data="spot", selected_on=["spot/val", IMPORTED])
    assert "which flatters the score; but flat: trained elsewhere and imported, choice unknown." in contract(imported)
    honest = imported.assign(protocol="held-out", selected_on=["spot/pick", IMPORTED])
    assert "Epoch chosen on spot/pick, which is never reported; but flat: trained elsewhere" in contract(honest)
    assert "which split chose the epoch is not known" in contract(rows.assign(selected_on=IMPORTED))
    assert "folk val (1 image)" in contract(rows.assign(n=1))
    assert "synchronised" not in contract(rows.assign(synchronised=False))
    assert "Batch statistics are synchronised over devices." in contract(rows.assign(synchronised=True))
    some = rows.assign(synchronised=[True, False])
    assert f"Batch statistics of {rows['experiment'][0]} are synchronised over devices." in contract(some)


def test_seeds_scored_on_different_images_have_a_mean_without_interval(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of()
    fill(store, plan)
    path = store.run("base", 2).evaluation("spot", "test")
    arrays, meta = read_arrays(path)
    write_arrays(path, arrays | {"ids": np.array([f"other{k}" for k in range(NUM_IMAGES)])}, meta)
    write_sums(store.run("base", 2).path)
    frames = data_of(store, plan)
    for frame in (estimates_frame(frames.results), frames.class_scores):
        rows = frame[frame["experiment"] == "base"]
        assert rows["value"].notna().any() and rows["low"].isna().all()
        assert set(rows["reason"]) == {"the seeds were scored on different images"}
    assert build_report(store, plan).is_file()


def test_one_seed_speaks_of_these_networks_only(tmp_path: Path) -> None:
    plan = plan_of("1")
    fill(Store(tmp_path), plan)
    tables = tables_of(Store(tmp_path), plan)
    assert {row[-1] for row in printed(tables["comparisons"])} == {"these networks"}
    assert {row[-1] for row in printed(tables["estimates"])} == {"these networks"}
    assert "another seed could reverse it" in tables["comparisons"].caption


def test_input_size_is_compared_at_native_size_only(filled: tuple[Store, Plan], tmp_path: Path) -> None:
    assert data_of(*filled).effects.set_index("experiment").loc["large", "verdict"] != NOT_COMPARABLE
    plan = plan_of(protocol="paper")
    fill(Store(tmp_path), plan)
    frame = data_of(Store(tmp_path), plan).effects.set_index("experiment")
    assert frame.loc["large", "verdict"] == NOT_COMPARABLE
    assert frame.loc["large", "flags"] == "scored on masks of different sizes"
    assert np.isnan(frame.loc["large", "p_holm"])
    assert frame.loc["good", "verdict"] == "better"
    page = build_report(Store(tmp_path), plan).read_text()
    assert "Not comparable with its base: 512 instead of 256 pixels of input (U-Net)." in page


def test_whatever_else_differs_stands_beside_every_comparison(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of()
    fill(store, plan, {"good": {"precision": "bf16-mixed", "data_fingerprints": {"train": "zz", "select": "bb"}}})
    tables = tables_of(store, plan)
    words = "training data differ; precision bf16-mixed against 32-true"
    rows = {row[0]: row for row in printed(tables["comparisons"])}
    assert rows["good"][-1] == words
    assert rows["same"][-1] == "–"
    variants = next(table for name, table in tables.items() if name.startswith("variants"))
    assert {row[0]: row[-1] for row in printed(variants)} == {"base": "–", "good": words, "same": "–", "large": "–"}
    assert f"what else differs: {words}." in build_report(store, plan).read_text()


def test_results_on_other_images_are_not_compared(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of()
    fill(store, plan)
    odd = plan.select(["good"])
    fill(store, odd, ids=np.array([f"other{k}" for k in range(NUM_IMAGES)]))
    frame = data_of(store, plan).effects.set_index("experiment")
    assert frame.loc["good", "flags"] == "scored on different images"
    assert np.isnan(frame.loc["good", "value"])
    assert frame.loc["good", "verdict"] == NOT_COMPARABLE
    assert frame.loc["same", "verdict"] == "not distinguishable"


def test_a_variant_without_result_is_a_gap(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of()
    fill(store, plan.select(["base", "same"]))
    rows = {row[0]: row for row in printed(tables_of(store, plan)["comparisons"])}
    assert rows["good"][3:6] == ["–", "–", "–"]
    assert rows["same"][5] == "not distinguishable"


def test_optimism_is_what_choosing_on_the_reported_split_adds(tables: dict[str, Table]) -> None:
    # the second epoch is chosen (0.52), the third scores best on the reported split (0.56), the fourth is the last (0.40)
    row = printed(tables["selection"])[0]
    assert row == ["base", "spot", "0.4000 ± 0.0000", "0.5200 ± 0.0000", "0.5600 ± 0.0000", "+4.00 ± 0.00"]


def test_runs_that_did_not_record_the_reported_split_have_no_optimism() -> None:
    runs = pd.DataFrame({"experiment": ["a"], "seed": [1], "dataset": ["d"], "state": ["done"]})
    curves = pd.DataFrame({"experiment": ["a"], "seed": [1], "fold": [0], "epoch": [1], "select_miou": [0.5]})
    assert selection_frame(curves, runs)[["last", "chosen", "best", "optimism_points"]].isna().all(axis=None)
    assert selection_frame(pd.DataFrame(), runs)["chosen"].isna().all()


def test_reliability_is_drawn_of_bins_that_hold_pixels(filled: tuple[Store, Plan], tmp_path: Path) -> None:
    plan = plan_of("1")
    bins = np.zeros((NUM_IMAGES, 2, 3), np.int64)
    bins[:, 1] = [10, 7, 9_000_000]
    fill(Store(tmp_path), plan, calibration=bins)
    frame = reliability_frame(data_of(Store(tmp_path), plan).sets)
    first = frame.iloc[0].to_dict()
    assert first == {
        "experiment": "base",
        "test_data": "spot",
        "bin": 1,
        "accuracy": 0.7,
        "confidence": 0.9,
        "share": 1.0,
    }
    assert len(frame) == 4
    assert reliability_frame(data_of(*filled).sets).empty


def test_report_is_the_same_when_made_again(filled: tuple[Store, Plan]) -> None:
    store, plan = filled
    first = build_report(store, plan).read_text()
    assert build_report(store, plan).read_text() == first
    assert "ResNet-101 instead of ResNet-50 as encoder gains U-Net" in first
    assert "Not distinguishable from chance: " in first


def test_planning_needs_fewer_images_for_a_larger_difference(filled: tuple[Store, Plan]) -> None:
    store, plan = filled
    small, large = (requirements(data_of(store, plan).results, 0.8, d) for d in (0.005, 0.05))
    assert [row["about"] for row in small][:2] == ["base against itself (noise floor)", "good against base"]
    for little, much in zip(small, large, strict=True):
        assert (much["images"] or 10**9) <= (little["images"] or 10**9)
        assert little["detectable"] == much["detectable"] > 0


@pytest.mark.parametrize(("power", "difference"), [(0, 0.01), (1, 0.01), (0.8, 0), (0.8, 2)])
def test_planning_refuses_senseless_numbers(filled: tuple[Store, Plan], power: float, difference: float) -> None:
    with pytest.raises(SegstudyError, match=r"--power .* both must be between 0 and 1"):
        requirements(data_of(*filled).results, power, difference)


def score_on_changed_files(store: Store, plan: Plan, changed: str) -> None:
    fill(store, plan)
    for run in plan.runs:
        folder = store.run(run.experiment, run.seed)
        arrays, meta = read_arrays(folder.evaluation("spot", "test"))
        meta["data_fingerprint"] = "after" if run.name.startswith(changed) else "before"
        write_arrays(folder.evaluation("spot", "test"), arrays, meta)
        write_sums(folder.path)


def test_seeds_scored_on_files_that_changed_are_not_pooled(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of()
    score_on_changed_files(store, plan, "good/seed2")
    with pytest.raises(StoreError, match=r"good/seed2: rests on other data.* than seed 1 of this experiment"):
        data_of(store, plan)


def test_a_variant_scored_on_files_that_changed_gets_no_verdict(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of()
    score_on_changed_files(store, plan, "good/")
    frame = data_of(store, plan).effects.set_index("experiment")
    assert frame.loc["good", "verdict"] == NOT_COMPARABLE and "files that changed" in frame.loc["good", "flags"]
    assert frame.loc["same", "verdict"] == "not distinguishable" and frame.loc["same", "flags"] == ""


def test_planning_says_what_one_seed_cannot_tell(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), plan_of(seeds="1")
    fill(store, plan)
    floor, compared = requirements(data_of(store, plan).results, 0.8, 0.01)[:2]
    assert "(noise floor)" in floor["about"] and floor["reason"] == ONE_SEED
    assert floor["detectable"] is floor["seeds"] is floor["images"] is None
    assert ONE_SEED in compared["reason"] and compared["detectable"] > 0
    json.dumps([floor, compared], allow_nan=False)


def test_planning_without_results_says_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(SegstudyError, match=r"no run of 'sure' has a result"):
        requirements(data_of(Store(tmp_path), plan_of()).results, 0.8, 0.01)


def test_numbers_and_intervals_in_print() -> None:
    assert number_text(-0.12345, signed=True) == "−0.1235"
    assert number_text(0.00001, signed=True) in ("0.0000", "+0.0000")
    assert interval_text(0.1, float("nan")) == "–"
    assert interval_text(-0.1, 0.25, 2, True) == "[−0.10,\xa0+0.25]"


# Variants on other data: of 100 pixels of a person, how many each network finds, by seed.
CROSS = STUDY.replace("  large: {base: base, change: {recipe.input_size: 512}}\n", "").replace(
    "seeds: [SEEDS]",
    """cross_evaluations:
  - {experiment: base, on: folk, map: {polyp: person}}
  - {experiment: good, on: folk, map: {polyp: person}}
  - {experiment: same, on: folk, map: {polyp: person}}
seeds: [1, 2, 3]""",
)
CROSS = CROSS.replace(
    "experiments:", "  folk: {reader: folder, root: folk, classes: [background, person]}\nexperiments:"
)
FOUND_THERE = {"base": (40, 41, 42), "good": (60, 62, 61), "same": (43, 40, 42)}


def fill_elsewhere(store: Store, plan: Plan, names: tuple[str, ...] = tuple(FOUND_THERE)) -> None:
    fill(store, plan)
    for run in (run for run in plan.runs if run.experiment in names):
        found = FOUND_THERE[run.experiment][run.seed - 1] + np.arange(NUM_IMAGES) % 3
        confusion = np.stack([np.stack([300 + 0 * found, 0 * found], -1), np.stack([100 - found, found], -1)], -2)
        there = next(scoring for scoring in run.scored_on if scoring.dataset == "folk")
        meta = {
            "train_data": "spot",
            "test_data": "folk",
            "split": "test",
            "selected_on": "spot/holdout",
            "resolution": "native",
            "classes": ["background", "person"],
            "palette": [[0, 0, 0], [255, 255, 255]],
            "input_size": 256,
            "evaluation_hash": there.evaluation_hash,
            "data_fingerprint": "dd",
        }
        arrays = {"confusion": confusion, "ids": np.array([f"folk{k}" for k in range(NUM_IMAGES)])}
        folder = store.run(run.experiment, run.seed)
        write_arrays(folder.evaluation("folk", "test"), arrays, meta)
        write_sums(folder.path)


def miou_of(found: float, false: float = 0, total: int = 100) -> float:
    """mIoU where ``found`` of ``total`` pixels of 400 are found and ``false`` others are invented."""
    background = 400 - total - false
    return (background / (400 - found) + found / (total + false)) / 2


def test_what_changes_do_on_other_data(tmp_path: Path) -> None:
    store, plan = Store(tmp_path / "out"), make_plan(parse_study(CROSS.replace("PROTOCOL", "held-out")))
    fill_elsewhere(store, plan)
    (tmp_path / "study.yaml").write_text(CROSS.replace("PROTOCOL", "held-out"))
    data = data_of(store, plan)
    frame = data.effects_elsewhere.set_index("experiment")
    extra = np.mean(np.arange(NUM_IMAGES) % 3)  # found in addition, on average
    there = {name: np.mean([miou_of(each + extra) for each in found]) for name, found in FOUND_THERE.items()}
    for name in ("good", "same"):
        assert frame.loc[name, "value"] == pytest.approx(there[name] - there["base"], abs=1e-12)
        assert (frame.loc[name, "dataset"], frame.loc[name, "questions"]) == ("folk", 2)
    assert list(frame["verdict"]) == ["better", "not distinguishable"]
    assert frame.loc["good", "p_holm"] == pytest.approx(2 * frame.loc["good", "p_value"])

    table = tables_of(store, plan)["cross-effects"]
    row = table.frame.set_index("experiment").loc["good"]
    own = np.mean([measures.mean_iou(counts_of("base", seed).sum(axis=0)) for seed in (1, 2, 3)])
    assert row["drop"] == pytest.approx(own - there["base"])
    assert row["share"] == pytest.approx(100 * (there["good"] - there["base"]) / (own - there["base"]))
    assert [line[:2] + line[3:4] for line in printed(table)] == [["good", "base", "folk"], ["same", "base", "folk"]]

    file = tmp_path / "study.yaml"
    found = compare_results(f"{file}:same", f"{file}:base", on="folk", out=store.root)
    assert (found.p_holm, found.questions) == (frame.loc["same", "p_holm"], 2)
    assert f"p = {found.difference.p_value:.4f}" in comparison_text(comparison_record(found))
    turned = compare_results(f"{file}:base", f"{file}:good", on="folk", out=store.root)
    assert (turned.p_holm, turned.verdict) == (frame.loc["good", "p_holm"], "worse")


def test_other_data_that_only_the_variant_is_scored_on_makes_no_comparison(tmp_path: Path) -> None:
    text = CROSS.replace("PROTOCOL", "held-out").replace("  - {experiment: base, on: folk, map: {polyp: person}}\n", "")
    assert data_of(Store(tmp_path), make_plan(parse_study(text))).effects_elsewhere.empty
    until = CROSS.replace("PROTOCOL", "held-out").replace("[1, 2, 3]", "{until: decided, at_most: 4}")
    assert data_of(Store(tmp_path), make_plan(parse_study(until))).effects_elsewhere.empty


def test_other_data_that_is_not_scored_yet_counts_as_asked(tmp_path: Path) -> None:
    store, plan = Store(tmp_path), make_plan(parse_study(CROSS.replace("PROTOCOL", "held-out")))
    fill_elsewhere(store, plan, ("base", "good"))
    frame = data_of(store, plan).effects_elsewhere.set_index("experiment")
    assert frame.loc["good", "p_holm"] == pytest.approx(2 * frame.loc["good", "p_value"])
    assert math.isnan(frame.loc["same", "value"]) and frame.loc["good", "verdict"] == "better"
