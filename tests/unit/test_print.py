"""The report on paper: what it says is what the page and results.csv say, set as text, on pages that hold it."""

from __future__ import annotations

import csv
import random
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pypdf import PdfReader

from report_stores import CITY, DEEP, STUDY, add_counts, add_pictures, add_run, every_table, fill, plan_of, run_of
from segstudy.plan import Plan, make_plan
from segstudy.report.build import build_report, every_part
from segstudy.report.frames import ReportData
from segstudy.report.page import Part
from segstudy.report.print import paper_of, write_pdf
from segstudy.report.sections.baselines import SECTION
from segstudy.report.sections.published import printed_frame
from segstudy.report.table import Format, Table
from segstudy.results import read_results
from segstudy.spec import parse_study
from segstudy.store import Store

EVIL = "#panic() $x_1$ *bold* `code` \\input{x} @ref 100% & <i>"


def read_text(path: Path) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(path).pages)


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Store, Plan]:
    """A study of two seeds, reported on paper, whose title and question hold codes of every markup."""
    text = STUDY.replace('"Roads <b>& polyps</b>"', f"'{EVIL}'\nquestion: 'Is \\textbf#1 = $2?'")
    plan = make_plan(parse_study(text.replace("PROTOCOL", "held-out").replace("SEEDS", "1, 2")))
    store = Store(tmp_path_factory.mktemp("printed"))
    for seed in (1, 2):
        fill(store, plan, seed)
    add_pictures(store, run_of(plan, "deep-city", 1), "city", 2)
    build_report(store, plan, pdf=True)
    return store, plan


def test_codes_in_names_are_text_on_paper(printed: tuple[Store, Plan]) -> None:
    text = " ".join(read_text(printed[0].pdf).split())
    assert EVIL in text
    assert "Is \\textbf#1 = $2?" in text
    assert "car_50%" in text
    assert "deep-both: DeepLabV3 with ResNet-101, OS 16 on city." in text


def scores_by_hand(merged: np.ndarray) -> dict[str, float]:
    """The four scores, class by class; a class that is neither true nor predicted is left out."""
    ious, dices, found = [], [], []
    for k in range(len(merged)):
        hit, truth, said = merged[k, k], merged[k].sum(), merged[:, k].sum()
        if truth:
            found.append(hit / truth)
        if truth or said:
            ious.append(hit / (truth + said - hit))
            dices.append(2 * hit / (truth + said))
    accuracy = np.trace(merged) / merged.sum()
    means = [float(np.mean(values)) for values in (ious, dices, found)]
    return dict(zip(("miou", "mdice", "mean_class_accuracy"), means, strict=True)) | {"pixel_accuracy": accuracy}


def test_twenty_numbers_lead_from_paper_and_page_to_the_csv_and_the_counts(printed: tuple[Store, Plan]) -> None:
    store, plan = printed
    data = ReportData(read_results(store, plan))
    text, page = read_text(store.pdf), store.page.read_text(encoding="utf-8")
    with store.results.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    known = ("miou", "mdice", "pixel_accuracy", "mean_class_accuracy")
    cells = [
        cell
        for table in every_table(data)
        if table.order < (6,)
        for line in table.rows()
        for cell, column in zip(line, table.formats, strict=True)
        if cell.source is not None and column.key in known and "(constant)" not in str(cell.source.runs)
    ]
    for cell in random.Random(14).sample(cells, 20):
        assert cell.source is not None
        shown, measure = cell.text.split(" ")[0], cell.source.measure
        assert shown in text
        assert shown in page
        lines = [data.lines[(*run, cell.source.level, measure, cell.source.label)] for run in cell.source.runs]
        values = [float(rows[line - 2]["value"]) for line in lines]  # the heading is line 1
        assert f"{np.mean(values):.4f}" == shown
        for value, (experiment, seed, on, split) in zip(values, cell.source.runs, strict=True):
            with np.load(store.run(experiment, seed).evaluation(on, split)) as counts:
                merged = counts["confusion"].sum(axis=0)
            assert value == pytest.approx(scores_by_hand(merged)[measure], abs=1e-12)


def test_equal_data_give_equal_papers(printed: tuple[Store, Plan]) -> None:
    store, plan = printed
    first = store.pdf.read_bytes()
    build_report(store, plan, pdf=True)
    assert store.pdf.read_bytes() == first


def test_a_table_too_wide_and_too_tall_for_a_page_is_split_and_nothing_is_cut(tmp_path: Path) -> None:
    plan, store = plan_of("held-out", "1"), Store(tmp_path)
    fill(store, plan, 1)
    frame = pd.DataFrame({f"k{k}": [f"r{r}c{k}" for r in range(70)] for k in range(40)})
    frame["k39"] = "x" * 200
    table = Table("vast", "Vast", "All of it.", frame, tuple(Format(key, key.upper()) for key in frame), (1,), 1)
    write_pdf(ReportData(read_results(store, plan)), [Part(SECTION, [table])])
    reader = PdfReader(store.pdf)
    words = set(read_text(store.pdf).split())
    assert {f"r{r}c{k}" for r in range(70) for k in range(39)} <= words
    assert "".join(sorted(words)).count("x") >= 20
    for page in reader.pages:
        places: list[float] = []

        def note(text: str, _: object, matrix: list[float], *__: object, places: list[float] = places) -> None:
            if text.strip():
                places.append(matrix[4])

        page.extract_text(visitor_text=note)
        assert all(0 <= x <= float(page.mediabox.width) - 40 for x in places)


def test_a_table_of_comparisons_has_the_columns_that_fit_and_the_appendix_all(
    printed: tuple[Store, Plan], tmp_path: Path
) -> None:
    store, plan = printed
    data = ReportData(read_results(store, plan))
    paper = paper_of(data, every_part(data), tmp_path)

    def labels(section: dict[str, Any]) -> list[list[str]]:
        return [one["labels"] for one in section["items"] if "What each change does, and" in one.get("title", "")]

    (short,), (whole,) = labels(paper["body"][-1]), labels(paper["appendix"][0])
    assert short == [label for label in whole if label in short] and len(short) < len(whole)
    assert {"Name", "Against", "Verdict"} <= set(short) and "P(variant better)" in set(whole) - set(short)


def test_printed_numbers_stand_next_to_reproduced_ones_of_the_review_only(tmp_path: Path) -> None:
    text = STUDY.replace("name: tiny", "name: review").replace("deep-city", "deeplabv3-cityscapes")
    plan = make_plan(parse_study(text.replace("PROTOCOL", "paper").replace("SEEDS", "42")))
    store = Store(tmp_path)
    run = run_of(plan, "deeplabv3-cityscapes")
    add_run(store, run)
    add_counts(store, run, "city", CITY, DEEP)
    frame = printed_frame(ReportData(read_results(store, plan)))
    row = frame[(frame["table"] == "Table 3") & (frame["column"] == "mIoU")].iloc[0]
    assert row["printed"] == "0.5170"
    assert row["ours"] == pytest.approx((8 / 12 + 4 / 8 + 1) / 3)  # counted in report_stores
    assert row["difference"] == pytest.approx((8 / 12 + 4 / 8 + 1) / 3 - 0.5170)
    assert row["status"] == "different"
    assert row["inside"] == ("yes" if row["low"] <= 0.5170 <= row["high"] else "no" if row["low"] == row["low"] else "")
    other = plan_of("paper")
    fill(Store(tmp_path / "other"), other)
    assert printed_frame(ReportData(read_results(Store(tmp_path / "other"), other))).empty


def test_the_latex_folder_names_files_that_are_there(printed: tuple[Store, Plan]) -> None:
    folder = printed[0].report / "latex"
    main = (folder / "main.tex").read_text(encoding="utf-8")
    named = [part.split("}")[0] for part in main.split("{../")[1:]]
    assert len(named) > 10
    assert all((folder.parent / name).is_file() for name in named)
    assert r"\#panic() \$x\_1\$ *bold*" in main


@pytest.mark.skipif(not any(map(shutil.which, ("tectonic", "pdflatex"))), reason="no TeX is installed")
def test_the_latex_folder_compiles(printed: tuple[Store, Plan]) -> None:
    folder = printed[0].report / "latex"
    program = ["tectonic"] if shutil.which("tectonic") else ["pdflatex", "-halt-on-error", "-interaction=batchmode"]
    subprocess.run([*program, "main.tex"], cwd=folder, check=True)
    text = " ".join("".join(page.extract_text() for page in PdfReader(folder / "main.pdf").pages).split())
    for table in (folder.parent / "tables").glob("*.csv"):
        scores = re.findall(r"& +(\d\.\d{4}) ", table.with_suffix(".tex").read_text())
        assert all(score in text for score in scores), table.name
    assert "0.7500" in text or "0.6250" in text  # IoU of spot, by hand
