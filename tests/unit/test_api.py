"""What a notebook calls: paths as text, objects that show themselves, and the numbers of the command line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import segstudy
from fakes import fake_folder, save
from segstudy import api
from segstudy.errors import DataError, SegstudyError, SpecError

STUDY = """
name: tiny
data: {spot: {reader: folder, root: ROOT, num_classes: 2}}
recipe: {epochs: 1, batch_size: 4, input_size: 32, precision: float32}
experiments:
  unet: {data: spot, model: {arch: unet, encoder: tu-test_resnet, weights: none, options: {decoder_channels: [16, 8, 8, 4, 4]}}}
  unet2: {base: unet, change: {recipe.optimizer.lr: 0.001}}
"""


def folders(root: Path, wrong: int) -> tuple[str, str]:
    """Six true masks of 100 pixels of object among 400, and predictions that miss ``wrong`` of them and more."""
    for k in range(6):
        truth = np.zeros((20, 20), np.uint8)
        truth[:5] = 255
        predicted = truth.copy()
        predicted[0, : wrong + k] = 0
        save(root / "truth" / f"m{k}.png", truth)
        save(root / f"predictions{wrong}" / f"m{k}.png", predicted)
    return str(root / f"predictions{wrong}"), str(root / "truth")


def test_scores_by_hand(tmp_path: Path) -> None:
    scores = api.score(*folders(tmp_path, 2), quiet=True)
    missed = sum(2 + k for k in range(6))  # of 600
    polyp, background = (600 - missed) / 600, 1800 / (1800 + missed)
    frame = scores.to_frame().set_index(["measure", "class"])["value"]
    assert frame["miou", ""] == pytest.approx((polyp + background) / 2)
    assert frame["iou", "class 1"] == pytest.approx(polyp)
    assert repr(scores) == str(scores)
    assert scores.verdict == f"mIoU {(polyp + background) / 2:.4f} over 6 images"
    images = scores.images()
    assert images["image"].tolist() == [f"m{k}" for k in range(6)]
    assert images["miou"].iloc[0] == pytest.approx((98 / 100 + 300 / 302) / 2)
    assert "<table" in scores._repr_html_() and str(scores).startswith("6 images")


def test_two_scores_are_compared_from_memory_and_from_files(tmp_path: Path) -> None:
    good, poor = (api.score(*folders(tmp_path, wrong), quiet=True) for wrong in (1, 9))
    found = api.compare(good, poor)
    names = [str(good.save(tmp_path / "good.npz")), str(poor.save(tmp_path / "poor.npz"))]
    from_files = api.compare(*names)
    assert found.verdict == from_files.verdict == "better"
    ours, theirs = found.to_frame(), from_files.to_frame()
    assert ours.equals(theirs) and ours["class"].tolist() == ["", "class 0", "class 1"]
    assert ours["difference"].iloc[0] == pytest.approx(found.record["a"]["value"] - found.record["b"]["value"])
    assert "predictions1" in str(found) and "better" in found._repr_html_()
    assert found._repr_html_().startswith("<p>A (predictions1) against B (predictions9): better")
    with pytest.raises(SegstudyError, match=r"--measure nothing: no such measure"):
        api.compare(good, poor, "nothing")


def test_a_study_from_check_to_comparison(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = fake_folder(tmp_path / "spots", num_images=10)
    monkeypatch.chdir(tmp_path)
    checked = api.check(str(root), quiet=True)
    assert checked.ok and checked.to_frame()["severity"].ne("error").all()
    Path("study.yaml").write_text(STUDY.replace("ROOT", str(root)))
    results = api.run("study.yaml", out="out", quiet=True)
    assert results.page == tmp_path / "out" / "report" / "index.html" and results.page.is_file()
    assert set(results.verdict) == {"unet2"}
    again = api.load_results("out")
    assert again.to_frame().equals(results.to_frame())
    effect = again.effects().iloc[0]
    compared = api.compare("study.yaml:unet2", "study.yaml:unet", out="out")
    assert compared.record["difference"]["value"] == effect["value"]
    assert compared.verdict == effect["verdict"] == results.verdict["unet2"] == results.comparisons["unet2"].verdict
    assert str(results).splitlines()[0] == "tiny: 2 of 2 runs done"
    assert "unet2" in results._repr_html_()


def test_a_published_table(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Model,IoU,Dice\nA,0.5,0.6667\nB,0.5,0.9\n")
    audited = api.audit(str(tmp_path / "t.csv"))
    assert audited.verdict == "contradictions found"
    assert audited.to_frame()["row"].tolist() == ["B"]
    assert "B" in str(audited) and "<table" in audited._repr_html_()


def test_wrong_input_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder; give the output folder of a study"):
        api.load_results(str(tmp_path / "nothing"))
    with pytest.raises(SegstudyError, match=r"has no study\.yaml"):
        api.load_results(str(tmp_path))
    with pytest.raises(SegstudyError, match="no such folder"):
        api.score(str(tmp_path / "a"), str(tmp_path / "b"), quiet=True)


@pytest.mark.parametrize("wrong", [None, 3, b"x", ["x"], {}, np.zeros(3), "", "a\0b"])
def test_what_is_no_path_is_one_message(wrong: Any) -> None:
    quiet = {"quiet": True}
    for function, arguments, named in (
        (api.run, {"study": wrong, **quiet}, "study"),
        (api.check, {"target": wrong, **quiet}, "target"),
        (api.score, {"predictions": wrong, "truth": "x", **quiet}, "predictions"),
        (api.score, {"predictions": "x", "truth": wrong, **quiet}, "truth"),
        (api.compare, {"a": "x", "b": wrong}, "b"),
        (api.audit, {"table": [wrong]}, "table"),
        (api.load_results, {"out": wrong}, "out"),
    ):
        with pytest.raises(SpecError, match=rf"^{named}: is (of type|').*; must be "):
            function(**arguments)


@pytest.mark.parametrize(
    ("function", "changed", "says"),
    [
        (api.run, {"settings": "recipe.epochs=1"}, r"settings: is of type str; must be a list such as \['recipe"),
        (api.run, {"settings": [3]}, "settings: is of type int"),
        (api.run, {"out": 3}, "out: is of type int; must be a folder"),
        (api.check, {"data": 3}, "data: is of type int; must be a folder"),
        (api.score, {"num_classes": "2"}, "num_classes: is of type str; must be a whole number"),
        (api.score, {"num_classes": True}, "num_classes: is of type bool"),
        (api.score, {"classes": "ab"}, "classes: is of type str; must be a list of names"),
        (api.score, {"classes": [1, 2]}, "classes: is of type int"),
        (api.score, {"ignore": 3}, "ignore: is of type int; must be a list of values"),
        (api.score, {"groups": 5}, "groups: is of type int; must be a regular expression"),
        (api.compare, {"measure": 5}, "measure: is of type int; must be the name of a measure"),
        (api.compare, {"margin": "a"}, "margin: is of type str; must be a number above 0"),
        (api.compare, {"out": 3}, "out: is of type int"),
        (api.audit, {"notes": "classes: 2"}, "notes: is of type str; must be a list"),
    ],
)
def test_an_argument_of_another_type_is_one_message(function: Any, changed: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=f"^{says}"):
        function(*(["demo"] if function in (api.run, api.check, api.audit) else ["x", "x"]), **changed)


def test_names_in_html_are_text(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("Model,IoU,Dice\nR&D <x,0.5,0.9\n")
    shown = api.audit(str(tmp_path / "t.csv"))._repr_html_()
    assert "R&D" not in shown and "R&amp;D &lt;x" in shown


def test_text_is_a_path_everywhere(tmp_path: Path) -> None:
    study = tmp_path / "study.yaml"
    study.write_text(STUDY.replace("ROOT", "spots"))
    plan = segstudy.make_plan(segstudy.load_study(str(study)), str(tmp_path), segstudy.Store(str(tmp_path / "out")))
    assert segstudy.Store("x").run("a", 1).path == Path("x/runs/a/seed1") and len(plan.runs) == 2
    workshop = segstudy.Workshop(plan.study, str(tmp_path / "out"), str(tmp_path))
    assert workshop.store.root == tmp_path / "out" and workshop.data_root == tmp_path


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "t.csv").write_text("Class,IoU,Dice\na,0.5,0.9\n")
    assert api.audit("~/t.csv").verdict == "contradictions found"
    with pytest.raises(DataError, match=f"^{tmp_path}/out: no such folder"):
        api.load_results("~/out")


def test_an_empty_list_of_tables_and_a_file_of_another_kind_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="table: is an empty list"):
        api.audit([])
    scores = api.score(*folders(tmp_path, 2), quiet=True)
    with pytest.raises(SpecError, match=r"x\.png: must end in \.npz"):
        scores.save(tmp_path / "x.png")
    assert not (tmp_path / "x.png").exists()


def test_the_module_is_the_command() -> None:
    done = subprocess.run([sys.executable, "-m", "segstudy", "plan", "demo", "--json"], capture_output=True, text=True)
    assert done.returncode == 0 and len(json.loads(done.stdout)) == 8
