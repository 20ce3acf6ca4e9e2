"""The report from a store whose counts are written here; every expected value is worked out by hand from them."""

from __future__ import annotations

import csv
import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import segstudy.data.cache.arrays
from report_stores import (
    CITY,
    DEEP,
    FLAT,
    SPOT,
    STUDY,
    WIDE,
    add_counts,
    add_pictures,
    add_run,
    every_table,
    fill,
    plan_of,
    run_of,
)
from segstudy.data.cache.packed import PiecesWriter
from segstudy.errors import SegstudyError
from segstudy.files import read_json, write_json, write_sums, write_text, write_yaml
from segstudy.plan import Plan, make_plan
from segstudy.report import figure
from segstudy.report.answer import draw_front
from segstudy.report.build import build_report
from segstudy.report.figure import PAPER, spread
from segstudy.report.frames import ReportData, estimates_frame
from segstudy.report.sections import cost
from segstudy.report.sections.images import quartiles
from segstudy.report.sections.pictures import choose_images, open_cached
from segstudy.report.sections.training import curves_frame, selection_frame, selection_table
from segstudy.report.table import Format, Table, csv_text, format_cell, latex_text, markdown_text
from segstudy.results import read_results
from segstudy.spec import parse_study
from segstudy.store import Store


def test_large_images_that_were_not_resized_are_shown_smaller(tmp_path: Path) -> None:
    store, shape = Store(tmp_path), (600, 1200)
    parts = {
        "images": ("images.raw", np.full((*shape, 3), 7, np.uint8)),
        "labels": ("labels.zlib", np.eye(*shape, dtype=np.uint8)),
    }
    for part, (name, array) in parts.items():
        folder = store.cache / f"city-val-{part}-0123456789ab"
        folder.mkdir(parents=True)
        writer = PiecesWriter(folder / name, 1, array.nbytes)
        writer.write(0, array)
        writer.finish()
        writer.close()
        assert open_cached(store, "city", "val", None, ["a"]) is None
        write_json(folder / "samples.json", ["a"])
    cached = open_cached(store, "city", "val", None, ["a"])
    assert cached is not None and cached.image("a").shape == (256, 512, 3) and (cached.image("a") == 7).all()
    assert cached.truth("a").shape == (256, 512) and set(np.unique(cached.truth("a"))) == {0, 1}
    assert open_cached(store, "city", "val", None, ["b"]) is None


def test_the_ids_of_a_resized_split_are_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, read = Store(tmp_path), []
    add_pictures(store, run_of(plan_of(), "deep-city"), "city", 2)
    monkeypatch.setattr(segstudy.data.cache.arrays, "read_json", lambda path: read.append(path.name) or read_json(path))
    cached = open_cached(store, "city", "val", 32, ["city/1"])
    assert cached is not None and cached.image("city/1").shape == (32, 32, 3)
    assert cached.truth("city/1").shape == (32, 32)
    assert read == ["samples.json"]


def data_of(store: Store, plan: Plan) -> ReportData:
    return ReportData(read_results(store, plan))


def tables_of(store: Store, plan: Plan) -> dict[str, Table]:
    return {table.name: table for table in every_table(data_of(store, plan))}


def printed(table: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for row in table.rows()]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a whole report, one seed, everything done."""
    store, plan = Store(tmp_path_factory.mktemp("store")), plan_of()
    fill(store, plan)
    add_pictures(store, run_of(plan, "deep-city"), "city", 2)
    write_json(store.root / "environment.json", {"python": "3.11.7", "gpu": None, "packages": {"torch": "2.13.0"}})
    write_text(store.pdf, "of other numbers")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(figure, "PNG_DPI", 200)
        page = build_report(store, plan)
    assert page == store.page
    return store.report


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Table]:
    """The tables of a study of one seed, everything done."""
    store, plan = Store(tmp_path_factory.mktemp("tables")), plan_of()
    fill(store, plan)
    return tables_of(store, plan)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_tables_of_the_paper(tables: dict[str, Table]) -> None:
    assert list(tables) == [
        "1-baselines",
        "2-configurations",
        "3-variants-deeplabv3",
        "4-cross-deep-spot-folk",
        "5-per-class-city",
        "6-cost",
        "7-estimates",
        "8-class-scores-city",
        "8-class-scores-spot",
        "9-comparisons",
        "10-class-effects-deep-city",
        "11-selection",
        "12-sizes",
        "13-settings",
        "14-confusion-city",
        "14-confusion-spot",
        "15-splits",
        "16-occurrence",
        "17-provenance",
        "18-ranks",
    ]


def test_the_review_has_the_papers_numbers(store: Store) -> None:
    from segstudy.spec import load_study

    plan = make_plan(load_study("review"))
    run = run_of(plan, "unet-kvasir")
    add_run(store, run)
    add_counts(store, run, "kvasir", ["background", "polyp"], SPOT)
    tables = tables_of(store, plan)
    assert list(tables) == [
        "1-baselines",
        "2-configurations",
        "3-variants-deeplabv3",
        "4-variants-unet",
        "5-cross-deeplabv3-kvasir-person",
        "6-cross-unet-kvasir-person",
        "7-per-class-cityscapes",
        "7-per-class-kvasir",
        "8-cost",
        "9-estimates",
        "10-class-scores-kvasir",
        "11-comparisons",
        "12-printed",
        "13-selection",
        "14-sizes",
        "15-settings",
        "16-confusion-kvasir",
        "17-splits",
        "18-occurrence",
        "19-provenance",
    ]
    assert [row[0] for row in printed(tables["4-variants-unet"])] == [
        "unet-cityscapes", "unet-noimagenet-cityscapes", "unet-kvasir", "unet-512-kvasir",
    ]  # fmt: skip
    notes = [row[7] for row in printed(tables["2-configurations"])]
    assert notes == [
        "Baseline", "Ablation (backbone)", "Hyperparameter (OS)", "Baseline",
        "Baseline", "Ablation (init)", "Baseline", "Hyperparameter (input size)",
    ]  # fmt: skip
    assert printed(tables["7-per-class-cityscapes"]) == []


def test_baseline_scores(tables: dict[str, Table]) -> None:
    table = tables["1-baselines"]
    # mIoU (2/3 + 1/2 + 1)/3, mDice (4/5 + 2/3 + 1)/3, 28/32 pixels, (4/5 + 2/3 + 1)/3
    assert printed(table)[0] == ["DeepLabV3", "city", "0.7222", "0.8222", "0.8750", "0.8222"]
    # mIoU (1/2 + 2/5 + 1)/3, mDice (2/3 + 4/7 + 1)/3, 26/32, (3/5 + 2/3 + 1)/3
    assert printed(table)[1] == ["U-Net", "city", "0.6333", "0.7460", "0.8125", "0.7556"]
    assert printed(table)[2][2] == "0.6250"
    assert table.frame["miou"].tolist() == pytest.approx([13 / 18, 19 / 30, 5 / 8], abs=1e-15)


def test_variants_differ_from_their_base(tables: dict[str, Table]) -> None:
    table = tables["3-variants-deeplabv3"]
    rows = printed(table)
    assert [row[2] for row in rows] == [
        "Baseline", "encoder=resnet101", "encoder=resnet101, output_stride=16 (confounded)",
    ]  # fmt: skip
    # (10/13 + 1/2 + 1)/3 - (2/3 + 1/2 + 1)/3 = (10/13 - 2/3)/3 = 4/117
    assert [row[-1] for row in rows] == ["–", "+0.0342", "+0.0342"]
    assert table.frame["delta_miou"].iloc[1] == pytest.approx(4 / 117, abs=1e-15)
    assert "cannot be put down to one" in table.caption


def test_cross_evaluation_with_what_no_skill_scores(tables: dict[str, Table]) -> None:
    rows = printed(tables["4-cross-deep-spot-folk"])
    # (3/7 + 1/5)/2 = 11/35; 5/8 - 11/35 = 87/280; that over 5/8 = 174/350
    assert rows[0][:4] == ["spot → spot", "0.6250", "–", "–"]
    assert rows[1][:4] == ["spot → folk", "0.3143", "0.3107", "49.7 %"]
    # Dice 6/10 and 2/6: 7/15, in-domain 12/14 and 4/6: 16/21
    assert rows[1][4:6] == ["0.4667", "0.2952"]
    assert rows[2][:4] == ["all “background” → folk", "0.2500", "–", "–"]


HEADED = {  # a row of a table by its headings, units among them
    ("6-cost", 0): {
        "Name": "deep-city", "s/epoch": "1.50", "Images/s": "64.0", "Peak memory (MB)": "700", "Memory of": "process",
        "Parameters (M)": "6.25", "GFLOPs": "0.50", "Latency (ms)": "9.0", "Device": "CPU, 2 threads",
        "Precision": "32-true",
    },
    ("4-cross-deep-spot-folk", 1): {  # mIoU 5/8 at home, (3/7 + 1/5) / 2 = 11/35 there
        "Train → Test": "spot → folk", "mIoU": f"{11 / 35:.4f}", "Drop mIoU": f"{5 / 8 - 11 / 35:.4f}",
    },
    ("5-per-class-city", 0): {  # IoU 8/12 and 6/12, Dice 16/20 and 12/18
        "Class": "road", "Images": "2", "DeepLabV3 IoU": "0.6667", "U-Net IoU": "0.5000", "Δ IoU [95 %]": "+0.1667 [–]",
        "DeepLabV3 Dice": "0.8000", "U-Net Dice": "0.6667", "Δ Dice": "+0.1333",
    },
    ("7-estimates", 0): {
        "Name": "deep-city", "mIoU [95 %]": "0.7222 [–]", "SD over seeds": "–", "Seeds": "1", "Images": "2",
        "Failed images": "0 of 2", "Share that may fail, at most (95 %)": f"{1 - 0.05 ** 0.5:.4f}",
    },
    ("14-confusion-city", 0): {"Name": "deep-wide", "True class": "car_50%", "Predicted as": "road"},
    ("16-occurrence", 0): {"Class": "road", "Images": "2", "Pixels": "10", "Share of pixels": "31.25 %"},  # 10 of 32
}  # fmt: skip


@pytest.mark.parametrize(("name", "row"), HEADED)
def test_numbers_stand_under_their_heading(tables: dict[str, Table], name: str, row: int) -> None:
    headings = [column.label for column in tables[name].formats]
    found: dict[str, str] = {}
    for heading, text in zip(headings, printed(tables[name])[row], strict=True):
        found.setdefault(heading, text)
    assert {heading: found.get(heading) for heading in HEADED[name, row]} == HEADED[name, row]


def test_comparisons_print_the_interval_that_is_drawn(store: Store) -> None:
    plan = plan_of()
    fill(store, plan)
    data = ReportData(read_results(store, plan))
    (table,) = [table for table in every_table(data) if table.slug == "comparisons"]
    assert [column.label for column in table.formats][3:6] == ["Δ mIoU [95 %]", "p (Holm)", "Verdict"]
    effect = data.effects.iloc[0]
    shown = table.rows()[0][3].text.replace("\N{MINUS SIGN}", "-").replace("\N{NO-BREAK SPACE}", " ")
    assert shown == f"{effect['value']:+.4f} [{effect['low']:+.4f}, {effect['high']:+.4f}]"
    assert effect["level"] == 0.95


def test_estimates_print_both_ends_of_the_interval(store: Store, tables: dict[str, Table]) -> None:
    plan = plan_of()
    fill(store, plan)
    known = estimates_frame(read_results(store, plan)).set_index(["experiment", "test_data", "measure"])
    value, low, high = known.loc[("deep-city", "city", "pixel_accuracy"), ["value", "low", "high"]]
    assert value == 28 / 32 and low < value < high  # 28 of 32 pixels are right
    place = [column.label for column in tables["7-estimates"].formats].index("Pixel accuracy [95 %]")
    shown = printed(tables["7-estimates"])[0][place].replace("\N{NO-BREAK SPACE}", " ")
    assert shown == f"{value:.4f} [{low:.4f}, {high:.4f}]"


def test_classes_that_differ_little_stand_in_the_csv_only(tables: dict[str, Table]) -> None:
    table = tables["5-per-class-city"]
    assert [row[:6] for row in printed(table)] == [
        ["0", "road", "2", "0.6667", "0.5000", "+0.1667 [–]"],
        ["1", "car_50%", "2", "0.5000", "0.4000", "+0.1000 [−1.0000,\xa0+1.0000]"],
    ]
    assert "more than 0.05; 2 others are left out" in table.caption
    rows = list(csv.DictReader(csv_text(table).splitlines()))
    assert [row["class"] for row in rows] == CITY
    assert float(rows[0]["iou_delta"]) == pytest.approx(1 / 6, abs=1e-15)
    assert (rows[2]["iou_first"], rows[3]["iou_first"], rows[3]["images"]) == ("1.0", "", "0")


def test_seeds_give_mean_spread_and_paired_differences(store: Store) -> None:
    plan = plan_of(seeds="1, 2")
    fill(store, plan, 1)
    fill(store, plan, 2, deep=WIDE)
    tables = tables_of(store, plan)
    one, two = 13 / 18, (10 / 13 + 1.5) / 3
    mean, sd = (one + two) / 2, abs(one - two) / math.sqrt(2)
    assert printed(tables["1-baselines"])[0][2] == f"{mean:.4f} ± {sd:.4f}" == "0.7393 ± 0.0242"
    row = tables["1-baselines"].frame.iloc[0]
    assert (row["miou_seed1"], row["miou_seed2"], row["seeds"]) == (pytest.approx(one), pytest.approx(two), 2)
    headings = [column.label for column in tables["7-estimates"].formats]
    estimates = dict(zip(headings, printed(tables["7-estimates"])[0], strict=True))
    assert (estimates["SD over seeds"], estimates["Seeds"]) == (f"{sd:.4f}", "2")
    # by seed 4/117 and 0: mean 2/117, deviation 4/117/sqrt(2)
    assert printed(tables["3-variants-deeplabv3"])[1][-1] == "+0.0171 ± 0.0242"
    assert "over 2 seeds (1, 2)" in tables["1-baselines"].caption


def test_gaps_are_visible_and_name_their_state(store: Store) -> None:
    plan = plan_of()
    add_run(store, run_of(plan, "deep-city"))
    add_counts(store, run_of(plan, "deep-city"), "city", CITY, DEEP)
    add_run(store, run_of(plan, "deep-wide"), epochs=2, best=False)
    add_run(store, run_of(plan, "flat-city"), epochs=1, best=False, failure="the loss is <nan>")
    write_text(store.report / "tables" / "9-former.csv", "")
    write_text(store.report / "tables" / "mine.txt", "")
    page = build_report(store, plan).read_text()
    assert not (store.report / "tables" / "9-former.csv").exists()
    assert (store.report / "tables" / "mine.txt").exists()
    tables = tables_of(store, plan)
    assert printed(tables["1-baselines"])[1:] == [
        ["U-Net", "city", "–", "–", "–", "–", "failed"],
        ["DeepLabV3", "spot", "–", "–", "–", "–", "missing"],
    ]
    assert printed(tables["3-variants-deeplabv3"])[1][-3:] == ["–", "–", "partial"]
    assert printed(tables["4-cross-deep-spot-folk"])[1] == ["spot → folk", *["–"] * 9, "missing"]
    assert "flat-city: failed" in tables["5-per-class-city"].caption
    assert [row[-2:] for row in printed(tables["2-configurations"])] == [
        ["2", "done"], ["2", "partial"], ["–", "missing"], ["1", "failed"], ["–", "missing"],
    ]  # fmt: skip
    assert "1 of 5 runs done, 1 partial, 2 missing, 1 failed" in page
    assert "partial, 2 of 3 epochs" in page
    assert "the loss is &lt;nan&gt;" in page
    assert "Not drawn: flat-city (failed)" in page
    assert "cached images are no longer in the store" in page


def test_a_seed_that_is_missing_shows(store: Store) -> None:
    plan = plan_of(seeds="1, 2")
    fill(store, plan, 1)
    row = printed(tables_of(store, plan)["1-baselines"])[0]
    assert row[2:3] + row[-1:] == ["0.7222", "1 done, 1 missing"]


def test_results_of_other_settings_do_not_count(store: Store) -> None:
    plan = plan_of()
    fill(store, plan)
    folder = store.run("flat-city", 42)
    write_yaml(folder.config, {"identity": "other", "roles": {"report": "val"}})
    tables = tables_of(store, plan)
    assert printed(tables["1-baselines"])[1][2:] == ["–", "–", "–", "–", "stale"]
    cost = {row[0]: row[1:] for row in printed(tables["6-cost"])}
    assert cost["flat-city"] == ["–"] * 9 + ["stale"]
    assert cost["deep-city"][:6] == ["1.50", "64.0", "700", "process", "6.25", "0.50"]


def test_nothing_done_says_what_to_run(store: Store) -> None:
    with pytest.raises(SegstudyError, match=r"no run of the study 'tiny' .*5 missing.*segstudy run tiny --out"):
        build_report(store, plan_of())


def test_one_experiment_alone(store: Store) -> None:
    text = STUDY.replace("PROTOCOL", "held-out").replace("SEEDS", "42")
    text = re.sub(r"  deep-wide.*?seeds", "seeds", text, flags=re.DOTALL)
    plan = make_plan(parse_study(text))
    add_run(store, run_of(plan, "deep-city"))
    add_counts(store, run_of(plan, "deep-city"), "city", CITY, DEEP)
    assert list(tables_of(store, plan)) == [
        "1-baselines",
        "2-configurations",
        "3-cost",
        "4-estimates",
        "5-class-scores-city",
        "6-selection",
        "7-sizes",
        "8-confusion-city",
        "9-splits",
        "10-occurrence",
        "11-provenance",
    ]
    page = build_report(store, plan).read_text()
    assert "Protocol “paper”" not in page
    assert "Epoch chosen on city/pick, which is never reported." in page
    assert "at each image&#39;s own size" in page


def test_unmeasured_cost_is_a_gap(store: Store) -> None:
    plan = plan_of()
    fill(store, plan)
    for run in plan.runs:
        store.run(run.experiment, run.seed).cost.unlink()
    assert [row[1:] for row in printed(tables_of(store, plan)["6-cost"])] == [["–"] * 9] * 5


def test_imported_weights_are_named_so(store: Store) -> None:
    plan = plan_of()
    fill(store, plan)
    folder, run = store.run("deep-city", 42), run_of(plan, "deep-city")
    folder.metrics.unlink()
    origin = {"file": "deep.pth", "epoch": 16}
    write_yaml(folder.config, {"identity": run.identity, "roles": {"report": "val"}, "imported_from": origin})
    write_sums(folder.path)
    tables = tables_of(store, plan)
    assert printed(tables["2-configurations"])[0][-2] == "16 (imported)"
    assert printed(tables["1-baselines"])[0][2] == "0.7222"


def test_no_two_titles_have_one_number(report: Path, tables: dict[str, Table]) -> None:
    headings = re.findall(r"<h3>((?:Table|Figure) [0-9a-z]+): ", (report / "index.html").read_text(encoding="utf-8"))
    assert len(headings) > 20 and len(set(headings)) == len(headings)
    classes = sorted(table.title for name, table in tables.items() if "class-scores-" in name)
    assert [title.split(":")[0] for title in classes] == ["Table 8a", "Table 8b"], classes


ALIKE = """
name: alike
data:
  a: {reader: folder, root: a, classes: [background, polyp]}
  a-to-b: {reader: folder, root: ab, classes: [background, polyp]}
  b: {reader: folder, root: b, classes: [background, polyp]}
  b-val: {reader: folder, root: bv, classes: [background, polyp]}
recipe: {epochs: 1, input_size: 32}
experiments:
  cost: {data: a, model: {arch: unet}}
  runs: {data: a-to-b, model: {arch: unet}}
cross_evaluations:
  - {experiment: cost, on: b, split: val}
  - {experiment: cost, on: b-val}
"""


def test_names_that_look_alike_share_no_file_and_no_anchor(tmp_path: Path) -> None:
    """``a-to-b`` is a dataset, and ``a`` to ``b`` a cross-evaluation; ``b-val`` is one, and ``val`` a split of ``b``."""
    plan, store = make_plan(parse_study(ALIKE)), Store(tmp_path)
    for run in plan.runs:
        add_run(store, run, epochs=1)
        for number, data in enumerate(run.datasets):
            add_counts(store, run, data, ["background", "polyp"], SPOT * (number + 1))
    page = build_report(store, plan).read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(set(ids)) == len(ids)
    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    files = re.findall(r'href="((?:tables|figures)/[^"]+)"', page)
    assert len(set(files)) == len(files) and all((store.report / name).is_file() for name in files)
    crossed = [t for t in every_table(ReportData(read_results(store, plan))) if t.heading.startswith("cost on b")]
    assert sorted(table.heading for table in crossed) == ["cost on b", "cost on b-val"]
    assert len({table.slug for table in crossed}) == 2


def test_only_files_of_the_former_report_are_removed(tmp_path: Path) -> None:
    """One experiment's table goes with it; a file of one's own stays, whatever it is called."""
    plan, store = make_plan(parse_study(ALIKE)), Store(tmp_path)
    for run in plan.runs:
        add_run(store, run, epochs=1)
        for data in run.datasets:
            add_counts(store, run, data, ["background", "polyp"], SPOT)
    build_report(store, plan)
    (gone,) = (store.report / "tables").glob("*-class-scores-a-to-b.csv")
    own = [store.report / "tables" / "2024-notes.csv", store.report / "figures" / "figure1-mine.png"]
    for path in own:
        path.write_text("mine")
    build_report(store, plan.select(["cost"]))
    assert not gone.exists() and [path.read_text() for path in own] == ["mine", "mine"]


def test_captions_state_what_scores_rest_on(tables: dict[str, Table]) -> None:
    caption = tables["1-baselines"].caption
    assert "city val (2 images)" in caption
    assert "Epoch chosen on the reported split (the review's protocol), which flatters the score." in caption
    assert (
        "Scored at the network's input size, pixels of all images together; means are over the classes present"
        in caption
    )
    assert "the background among them; pixels labelled 255 are ignored" in caption
    assert "Single run (seed 42); nothing is known about other seeds." in caption


def test_results_csv_is_exact(report: Path) -> None:
    rows = list(csv.DictReader((report / "results.csv").read_text().splitlines()))
    value = next(
        r["value"]
        for r in rows
        if (r["experiment"], r["measure"], r["level"]) == ("deep-city", "miou", "dataset")
    )  # fmt: skip
    assert float(value) == np.mean([8 / 12, 4 / 8, 1.0]) == pytest.approx(13 / 18)
    assert value == repr(float(value))


def test_every_file_is_written(report: Path) -> None:
    assert not (report / "report.pdf").exists()  # a former paper held other numbers
    tables = {path.name for path in (report / "tables").iterdir()}
    assert (
        len(tables) == 3 * 20
    )  # six of the paper, estimates, classes (3), comparisons, selection, frequency, settings, confusion (2), data (2), ranks
    figures = sorted((report / "figures").iterdir())
    assert {path.stem for path in figures} == {
        "figure1-per-class-city", "figure2-pictures-city", "figure3-training-city", "figure3-training-spot",
        "figure4-per-image-city", "figure4-per-image-spot", "figure4-per-image-spot-to-folk", "figure5-cost",
        "figure6-effects", "figure9-classes-deep-city", "figure10-confusion-city", "figure10-confusion-spot",
    }  # fmt: skip
    for path in figures:
        assert path.stat().st_size > 1000
        if path.suffix == ".png":
            with Image.open(path) as image:
                assert image.width >= 600
    svg = (report / "figures" / "figure1-per-class-city.svg").read_text()
    assert "&lt;sky&gt; (2)</text>" in svg
    assert "absent</text>" in svg


def test_page_is_self_contained_and_escaped(report: Path) -> None:
    page = (report / "index.html").read_text()
    assert "://" not in page
    assert not re.search(r'(src|href)="(?!data:|#|tables/|figures/|results\.csv)', page)
    for link in re.findall(r'href="((?:tables|figures)/[^"]+|results\.csv)"', page):
        assert (report / link).is_file()
    assert "Roads &lt;b&gt;&amp; polyps&lt;/b&gt;" in page
    assert "<b>" not in page
    assert "<sky>" not in page
    assert "Protocol “paper”" in page
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'href="#([^"]+)"', page) + re.findall(r"url\(#([^)]+)\)", page)) <= set(ids)
    assert page.count("<img") == page.count('alt="')
    assert page.count("<svg ") == page.count('role="img" aria-label="')
    contract = "dataset level, absent classes left out, background a class, ignore 255"
    where = "at the network&#39;s input size; city val; seed 42, epoch chosen on city/val"
    assert f'title="{13 / 18!r} ({contract}, {where})"' in page
    assert "2.13.0" in page


def test_every_score_carries_a_contract_of_its_own(tables: dict[str, Table]) -> None:
    """Its level, size, split and what chose the epoch, and no other dataset's."""

    def told(name: str, row: int, label: str) -> str:
        column = [column.label for column in tables[name].formats].index(label)
        return tables[name].rows()[row][column].contract

    city = "ignore 255, at the network's input size; city val; seed 42, epoch chosen on city/val"
    assert told("1-baselines", 0, "mIoU").endswith(city) and told("1-baselines", 0, "mIoU").startswith("dataset level")
    spot = next(k for k, row in enumerate(tables["1-baselines"].rows()) if row[1].text == "spot")
    assert told("1-baselines", spot, "mDice").endswith("spot val; seed 42, epoch chosen on spot/val")
    assert told("4-cross-deep-spot-folk", 0, "mIoU").endswith("; spot val; seed 42, epoch chosen on spot/val")
    drop = "at the network's input size; spot val; seed 42, minus at the network's input size; folk val; seed 42, epoch chosen"
    assert f"{drop} on spot/val" in told("4-cross-deep-spot-folk", 1, "Drop mIoU")
    assert told("4-cross-deep-spot-folk", 2, "mIoU").endswith("; folk val; seed 42, no network")
    assert told("5-per-class-city", 0, "Δ IoU [95 %]").startswith("class level") and city in told(
        "5-per-class-city", 0, "Δ IoU [95 %]"
    )
    assert told("9-comparisons", 0, "Δ mIoU [95 %]").endswith(city)
    assert told("9-comparisons", 0, "p (Holm)") == told("2-configurations", 0, "Input") == ""
    for name, table in tables.items():
        for row in table.rows():
            for cell, column in zip(row, table.formats, strict=True):
                assert bool(cell.contract) == bool(column.level and cell.exact), (name, column.label)
                assert cell.contract.count("epoch") + cell.contract.count("no network") == bool(cell.contract), name


def test_scores_after_other_epochs_say_so(store: Store) -> None:
    """At the network's input size whatever the study reports at, and never 'chosen' for an epoch that was not."""
    plan = plan_of(protocol="held-out")
    fill(store, plan)
    data = data_of(store, plan)
    selection = selection_frame(curves_frame(data.results), data.runs)
    table = selection_table(data, selection.assign(last=0.5, chosen=0.6, best=0.7, optimism_points=10.0))
    row = {column.label: cell for column, cell in zip(table.formats, table.rows()[0], strict=True)}
    where = "at the network's input size; city val; seed 42, "
    assert row["Last epoch"].contract.endswith(f"{where}the last epoch")
    assert row["Chosen epoch"].contract.endswith(f"{where}epoch chosen on city/pick")
    assert row["Best on reported"].contract.endswith(f"{where}epoch best on the reported split itself")
    assert row["Optimism (points)"].contract.endswith("the reported split itself minus chosen epoch")
    assert "at the network's input size" in table.caption and "own size" not in table.caption


def test_latex_is_escaped(tables: dict[str, Table]) -> None:
    text = re.sub(" +", " ", latex_text(tables["5-per-class-city"]))
    assert r"1 & car\_50\% & 2 & 0.5000 & 0.4000 & +0.1000" in text
    assert "\\toprule" in text
    assert r"$\Delta$ IoU" in text
    frame = pd.DataFrame({"name": ["a&b #1 {x} $2 ~^\\"], "value": [-0.5]})
    table = Table("t", "T", "5 % of a_b", frame, (Format("name", "Name"), Format("value", "V", 2)), (9,))
    assert r"a\&b \#1 \{x\} \$2 \textasciitilde{}\^{}\textbackslash{} & $-$0.50 \\" in re.sub(
        " +", " ", latex_text(table)
    )
    assert r"\caption{T. 5 \% of a\_b}" in latex_text(table)


def test_latex_tables_wider_and_taller_than_a_page_are_set_in_parts() -> None:
    frame = pd.DataFrame({f"k{k}": [f"r{r}c{k}" for r in range(100)] for k in range(20)})
    frame["k0"], frame["k7"] = [f"a-name-of-{r:03d}" for r in range(100)], "several words " * 9
    formats = tuple(Format(key, f"A heading of {key}") for key in frame)
    text = latex_text(Table("t", "T", "All.", frame, formats, (1,), 3))
    floats = text.split("\\begin{table}")[1:]
    assert len(floats) > 1 and text.count("\\label{tab:3-t}") == 1
    assert text.count("\\addtocounter{table}{-1}\\caption{T (continued).}") == len(floats) - 1
    for part in re.findall(r"\\begin\{tabular\}.*?\\end\{tabular\}", text, re.DOTALL):
        rows = [line.split(" & ") for line in part.split("\\midrule\n")[1].split("\n")[:-2]]
        assert all(re.fullmatch(r"a-name-of-\d{3}", row[0]) for row in rows)  # each part names its rows
        widths = [
            max(36 if "parbox" in row[k] else len(row[k].removesuffix(r" \\")) for row in rows)
            for k in range(len(rows[0]))
        ]
        assert sum(widths) <= 125
    assert max(each.count(" \\\\\n") for each in floats) <= 46  # rows and headings
    for r, k in [(0, 1), (50, 10), (99, 19)]:
        assert f"r{r}c{k}" in text.replace(r" \\", "").split(" & ") or re.search(rf"\br{r}c{k}\b", text)
    assert text.count("several words") == 900


def test_what_was_scored_otherwise_is_hollow_wherever_accuracy_stands_against_cost(store: Store) -> None:
    plan = plan_of()
    fill(store, plan)
    add_counts(store, run_of(plan, "flat-city"), "city", CITY, 2 * FLAT)  # twice the true pixels: not the same masks
    data = data_of(store, plan)
    assert data.apart == {"flat-city": "scored against different true masks"}
    front, (figure5,) = draw_front(data), [item for item in cost.content(data) if not isinstance(item, Table)]
    for drawing in (front, figure5):
        points = [line for axes in drawing.figure.axes for line in axes.lines if line.get_marker() == "o"]
        hollow = [line for line in points if line.get_markerfacecolor() == PAPER]
        assert len(points) == 5 and [line.get_ydata()[0] for line in hollow] == [
            pytest.approx((6 / 12 + 4 / 10 + 1) / 3)
        ]
        assert "Hollow: not scored alike, so not ranked." in drawing.caption


def test_names_of_many_points_stay_within_their_panel() -> None:
    _, (axes,) = figure.new_figure(3.0)
    axes.set(xlim=(0, 1), ylim=(0, 1))
    cost.label_points(axes, {f"n{k}": (0.4, 0.95 + 0.001 * k) for k in range(40)}, 150)
    named = {text.get_text(): text.get_position()[1] / 150 + text.xy[1] for text in axes.texts}
    assert set(named) == {f"n{k}" for k in range(28, 40)}  # the 12 highest: 150 points hold 12 names
    half = cost.NAME_POINTS / 150 / 2  # a name is as far from its middle above and below, and crosses no edge
    assert min(named.values()) >= half - 1e-9 and max(named.values()) <= 1 - half + 1e-9


def test_markdown_keeps_pipes_and_digits() -> None:
    frame = pd.DataFrame({"name": ["a|b"], "value": [0.5]})
    table = Table("t", "T", "Words.", frame, (Format("name", "Name"), Format("value", "V", 4)), (9,))
    text = markdown_text(table)
    assert r"| a\|b" in text
    assert "| 0.5000 |" in text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.00004, "+0.0000"), (-0.00004, "0.0000"), (-0.12345, "−0.1235"), (math.nan, "–"), (0.0, "+0.0000")],
)
def test_printed_differences(value: float, text: str) -> None:
    cell = format_cell({"x": value}, Format("x", "X", 4, signed=True))
    assert cell.text.lstrip("+") == text.lstrip("+")
    assert cell.exact == ("" if math.isnan(value) else repr(value))


def test_equal_data_give_equal_files(report: Path, tmp_path: Path) -> None:
    plan = plan_of()
    again = Store(tmp_path)
    fill(again, plan)
    write_json(again.root / "environment.json", {"python": "3.11.7", "gpu": None, "packages": {"torch": "2.13.0"}})
    frames = data_of(again, plan)
    for table in every_table(frames):
        assert (report / "tables" / f"{table.name}.csv").read_text() == csv_text(table)


def test_images_are_chosen_by_rule() -> None:
    scores = {f"{n:02d}": n / 10 for n in range(11)} | {"nan": math.nan}
    assert choose_images(scores) == [(10, "01"), (50, "05"), (90, "09")]
    assert choose_images({"a": 0.5}) == [(10, "a")]


def test_quartiles_by_hand() -> None:
    frame = pd.DataFrame({"experiment": "x", "value": [1.0, 2.0, 3.0, 4.0, 5.0]})
    assert quartiles(frame).iloc[0].tolist() == ["x", 2.0, 3.0, 4.0, 5]


def test_labels_are_moved_apart() -> None:
    assert spread([0.0, 0.1, 5.0], 1.0) == pytest.approx([-0.45, 0.55, 5.0])


def test_no_torch() -> None:
    code = "import sys, segstudy.report.build; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
