"""Several studies on one board: ranks by paired verdicts, over what was measured alike."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from ruamel.yaml import YAML
from typer.testing import CliRunner

from report_stores import CITY, STUDY, add_counts, add_run, city, run_of
from segstudy.cli import app
from segstudy.cli.show import views
from segstudy.errors import SpecError, StoreError
from segstudy.files import write_text
from segstudy.plan import Plan, make_plan
from segstudy.report.board import Board, make_board, read_sides
from segstudy.spec import parse_study
from segstudy.store import Store

IMAGES = 40
# 8 road and 6 car pixels in each image. GOOD misses one road pixel everywhere; EQUAL misses two in every other image, so the
# sums are equal; POOR misses five of each.
GOOD = np.stack([city([7, 1], [0, 6])] * IMAGES)
EQUAL = np.stack([city([6, 2], [0, 6]), city([8, 0], [0, 6])] * (IMAGES // 2))
POOR = np.stack([city([3, 5], [5 - k % 2, 1 + k % 2]) for k in range(IMAGES)])


def store_of(folder: Path, name: str, counts: dict[str, np.ndarray]) -> tuple[Store, Plan]:
    """A study of seed 1 with these experiments scored; its folder holds its study file, as after a run."""
    text = STUDY.replace("name: tiny", f"name: {name}").replace("PROTOCOL", "held-out").replace("SEEDS", "1")
    write_text(folder / "study.yaml", text)
    store, plan = Store(folder), make_plan(parse_study(text))
    for experiment, confusion in counts.items():
        add_run(store, run_of(plan, experiment, 1))
        add_counts(store, run_of(plan, experiment, 1), "city", CITY, confusion)
    return store, plan


def ranks_of(board: Board) -> dict[str, int]:
    return {row["name"]: row["rank"] for frame in board.frames for row in frame.to_dict("records")}


def test_ranks_are_verdicts_and_ties_share_one(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path / "one", "one", {"deep-city": POOR, "flat-city": GOOD})
    other, _ = store_of(tmp_path / "two", "two", {"flat-city": EQUAL})
    counts = tmp_path / "theirs.npz"
    shutil.copy(store.run("deep-city", 1).evaluation("city", "val"), counts)
    board = make_board(read_sides([str(store.root), str(other.root), str(counts)]))
    assert len(board.frames) == 1
    assert not board.apart
    scores = board.frames[0].set_index("name")["miou"]
    assert scores["one: flat-city"] == pytest.approx((7 / 8 + 6 / 7 + 1) / 3)  # IoU of road, car, sky
    assert scores["two: flat-city"] == pytest.approx((7 / 8 + 6 / 7 + 1) / 3)
    ranks = ranks_of(board)
    assert ranks["one: deep-city"] == ranks[str(counts)] == 3
    assert ranks["one: flat-city"] == ranks["two: flat-city"] == 1


def test_other_images_are_another_group_and_the_board_says_why(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path / "one", "one", {"flat-city": GOOD})
    other, _ = store_of(tmp_path / "two", "two", {"flat-city": GOOD[:30]})
    board = make_board(read_sides([str(store.root), str(other.root)]))
    assert [len(frame) for frame in board.frames] == [1, 1]
    assert ranks_of(board) == {"one: flat-city": 1, "two: flat-city": 1}
    ((names, problem),) = board.apart
    assert names == "two: flat-city and one: flat-city"
    assert problem.what == "scored on different images"


def test_results_that_are_named_twice_or_not_there_are_refused(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path / "one", "one", {"flat-city": GOOD})
    with pytest.raises(SpecError, match="name each result once"):
        read_sides([str(store.root), str(store.root)])
    empty, _ = store_of(tmp_path / "two", "two", {})
    with pytest.raises(StoreError, match="no run has a result yet"):
        read_sides([str(store.root), str(empty.root)])


def test_the_command_writes_page_and_tables(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path / "one", "one", {"deep-city": POOR, "flat-city": GOOD})
    other, _ = store_of(tmp_path / "two", "two", {"flat-city": EQUAL})
    folder = tmp_path / "board"
    names = [str(store.root), str(other.root)]
    done = CliRunner().invoke(app, ["report", *names, "--board", str(folder)], catch_exceptions=False)
    assert done.exit_code == 0
    frame = pd.read_csv(folder / "board.csv")
    assert set(frame["name"]) == {"one: deep-city", "one: flat-city", "two: flat-city"}
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert '<th scope="row">two: flat-city</th>' in page  # which stays in view where the table is wider than the screen
    assert '<div class="layout alone">' in page and "<nav" not in page  # no empty column where contents would be
    assert ".layout.alone { grid-template-columns: minmax(0, 1fr); }" in page
    assert "two: flat-city" in (folder / "board.md").read_text(encoding="utf-8")
    again = CliRunner().invoke(app, ["report", *names, "--board", str(store.root)])
    assert "holds something else" in str(again.exception)
    wrong = CliRunner().invoke(app, ["report", *names, "--pdf"])
    assert "report of one study" in str(wrong.exception)


def test_show_prints_a_run_with_its_curve_and_as_json(tmp_path: Path) -> None:
    store, _ = store_of(tmp_path / "one", "one", {"flat-city": GOOD})
    asked = ["show", f"{store.root / 'study.yaml'}:flat-city", "--out", str(store.root)]
    text = CliRunner().invoke(app, asked, catch_exceptions=False).output
    assert f"{(7 / 8 + 6 / 7 + 1) / 3:.4f}" in text
    assert "0.5000 ┤ •" in text  # the best of 0.2, 0.5, 0.4 is the second epoch
    assert "0.2000 ┤•" in text
    (record,) = YAML(typ="safe").load(CliRunner().invoke(app, [*asked, "--json"]).output)
    assert record["evaluations"][0]["iou"]["car_50%"] == pytest.approx(6 / 7)
    assert record["evaluations"][0]["iou"]["void"] is None  # in no image


def test_watching_ends_when_every_run_has_ended(tmp_path: Path) -> None:
    store, plan = store_of(tmp_path / "one", "one", {"flat-city": GOOD})
    part = plan.select(["flat-city", "deep-city"])
    seen = views(part, store)
    assert "1 of 2 runs done, 1 left" in next(seen)
    add_run(store, run_of(plan, "deep-city", 1))
    add_counts(store, run_of(plan, "deep-city", 1), "city", CITY, POOR)
    assert "2 of 2 runs done" in next(seen)
    with pytest.raises(StopIteration):
        next(seen)
