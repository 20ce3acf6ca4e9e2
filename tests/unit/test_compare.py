"""Comparison of two results: what is paired, what is refused, what is said. Statistics are tested where they are made."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from segstudy.comparison import Side, compare
from segstudy.errors import DataError, SpecError, StoreError
from segstudy.files import write_arrays, write_yaml
from segstudy.plan import make_plan
from segstudy.results import Named, checked, compare_results, measure_of, read_results, side_of_file, side_of_runs
from segstudy.schema import ScoringRules
from segstudy.scorecard import comparison_record, comparison_text
from segstudy.scoring import ELSEWHERE
from segstudy.spec import load_study
from segstudy.store import Store

CONTRACT = {"absent_classes": "left out", "background": "a class", "ignore": 255}
NUM_IMAGES = 24
IDS = [f"p{k % 6}-{k:02d}" for k in range(NUM_IMAGES)]
CLASSES = ["background", "polyp"]


def compare_sides(a: Side, b: Side, measure: str = "miou") -> dict[str, Any]:
    return comparison_record(checked(compare(a, b, measure_of(a, measure))))


def confusions(wrong: int, seed: int = 0, number: int = NUM_IMAGES) -> np.ndarray:
    """Images of 400 pixels, 100 of them polyp, of which about ``wrong`` are missed and as many invented."""
    rng = np.random.default_rng(seed)
    missed, invented = rng.integers(0, 2 * wrong + 1, (2, number))
    return np.stack([np.array([[300 - i, i], [m, 100 - m]]) for m, i in zip(missed, invented, strict=True)])


def write_side(path: Path, confusion: np.ndarray, ids: list[str] = IDS, **changes: Any) -> Path:
    """Counts as ``segstudy score --counts`` writes them, of the confusion matrix alone."""
    arrays = {"confusion": confusion, "ids": np.array(ids)}
    if "groups" in changes:
        arrays["groups"] = np.array(changes.pop("groups"))
    meta = {"classes": CLASSES, "resolution": "native", "scoring": ScoringRules().model_dump(), **CONTRACT}
    write_arrays(path, arrays, meta | {"selected_on": ELSEWHERE} | changes)
    return path


@pytest.fixture
def side(tmp_path: Path) -> Callable[..., Side]:
    """Write a file of counts and read it back as one side."""
    number = iter("abcdefgh")
    return lambda confusion, **changes: side_of_file(write_side(tmp_path / f"{next(number)}.npz", confusion, **changes))


# What is compared


def test_both_scores_the_difference_and_each_class_by_hand(side: Callable[..., Side]) -> None:
    good, poor = confusions(5), confusions(20, seed=1)
    record = compare_sides(side(good), side(poor))
    merged = [counts.sum(axis=0) for counts in (good, poor)]
    ious = [[m[k, k] / (m[k].sum() + m[:, k].sum() - m[k, k]) for k in (0, 1)] for m in merged]
    assert record["a"]["value"] == pytest.approx(np.mean(ious[0]))
    assert record["b"]["value"] == pytest.approx(np.mean(ious[1]))
    assert record["difference"]["value"] == pytest.approx(np.mean(ious[0]) - np.mean(ious[1]))
    assert record["difference"]["low"] > 0
    assert record["verdict"] == "better"
    assert [row["class"] for row in record["classes"]] == CLASSES
    for k, row in enumerate(record["classes"]):
        assert (row["measure"], row["a"], row["b"]) == ("iou", pytest.approx(ious[0][k]), pytest.approx(ious[1][k]))
        assert row["difference"] == pytest.approx(ious[0][k] - ious[1][k])
        assert row["low"] < row["difference"] < row["high"]
        assert row["p_holm"] >= row["p_value"]
    assert (record["images"], record["pixels"], record["resolution"]) == (NUM_IMAGES, 400 * NUM_IMAGES, "native")
    assert json.loads(json.dumps(record, allow_nan=False)) == record


def test_the_other_way_round_it_is_worse(side: Callable[..., Side]) -> None:
    record = compare_sides(side(confusions(20, seed=1)), side(confusions(5)))
    assert record["verdict"] == "worse" and record["difference"]["high"] < 0


def test_images_are_paired_by_name_not_by_place(side: Callable[..., Side]) -> None:
    poor, order = confusions(20, seed=1), np.random.default_rng(3).permutation(NUM_IMAGES)
    straight = compare_sides(side(confusions(5)), side(poor))
    shuffled = compare_sides(side(confusions(5)), side(poor[order], ids=[IDS[i] for i in order]))
    assert shuffled["difference"] == straight["difference"]


def test_equal_results_are_not_distinguishable(side: Callable[..., Side]) -> None:
    record = compare_sides(side(confusions(5)), side(confusions(5)))
    assert record["difference"]["value"] == 0
    assert record["verdict"] in ("not distinguishable", "")


@pytest.mark.parametrize(("measure", "by_class"), [("mdice", "dice"), ("mean_class_accuracy", "class_accuracy")])
def test_the_measure_asked_for(side: Callable[..., Side], measure: str, by_class: str) -> None:
    record = compare_sides(side(confusions(5)), side(confusions(20)), measure)
    assert (record["measure"], record["classes"][0]["measure"]) == (measure, by_class)


def test_groups_of_a_file_are_used(side: Callable[..., Side]) -> None:
    groups = [name.split("-")[0] for name in IDS]
    record = compare_sides(side(confusions(5), groups=groups), side(confusions(20)))
    assert record["groups"] == 6 and record["difference"]["num_groups"] == 6
    other = side(confusions(20), groups=["x"] * 12 + ["y"] * 12)
    flags = compare_sides(side(confusions(5), groups=groups), other)["flags"]
    assert any("grouped differently" in flag for flag in flags)


def test_a_class_that_is_absent_is_undefined_not_an_error(side: Callable[..., Side]) -> None:
    wide = [np.pad(confusions(wrong), ((0, 0), (0, 1), (0, 1))) for wrong in (5, 20)]
    record = compare_sides(*(side(counts, classes=[*CLASSES, "tool"]) for counts in wide))
    tool = record["classes"][2]
    assert tool["a"] is tool["b"] is tool["difference"] is tool["low"] is tool["p_holm"] is None
    assert tool["verdict"] == ""
    assert re.search(r"^tool +-( +-)+$", comparison_text(record), re.MULTILINE)


# What is refused


def test_an_image_of_one_side_alone_is_an_error_that_names_it(side: Callable[..., Side]) -> None:
    short = side(confusions(5, number=23), ids=[*IDS[:22], "q"])
    with pytest.raises(
        DataError,
        match=r"cannot be compared:\nscored on different images:\n  1 only in .*a\.npz: q\n  2 only in .*b\.npz: p4-22, p5-23\n",
    ):
        compare_sides(short, side(confusions(5)))


def test_other_true_masks_are_an_error_that_names_the_images(side: Callable[..., Side]) -> None:
    other = confusions(5)
    other[3] = [[290, 0], [0, 110]]
    with pytest.raises(
        DataError, match=r"true masks:\n  in 1 of 24 images: p3-03\n  p3-03 has 300 pixels of background in .*, 290 in "
    ):
        compare_sides(side(confusions(5)), side(other))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"resolution": "input", "input_size": 256},
            r"scored on masks of different sizes:\n.*own size\n.*input size, 256 px",
        ),
        (
            {"classes": ["background", "person"]},
            r"scored with different classes:\n  .*background, polyp\n  .*background, person",
        ),
    ],
)
def test_numbers_of_another_contract_are_not_compared(
    side: Callable[..., Side], changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError, match=message):
        compare_sides(side(confusions(5)), side(confusions(5), **changes))


def test_input_sizes_must_agree_where_masks_were_shrunk(side: Callable[..., Side]) -> None:
    sizes = [side(confusions(5), resolution="input", input_size=size) for size in (256, 512)]
    with pytest.raises(DataError, match=r"scored on masks of different sizes:\n  .*, 256 px\n  .*, 512 px"):
        compare_sides(*sizes)


def test_unknown_measures_and_missing_counts(side: Callable[..., Side]) -> None:
    with pytest.raises(
        SpecError, match=r"--measure mIoU: no such measure \(did you mean 'miou'\?\); known: miou, mdice"
    ):
        compare_sides(side(confusions(5)), side(confusions(5)), "mIoU")
    with pytest.raises(DataError, match=r"npz holds no counts for Boundary IoU, mean\nScore it again"):
        compare_sides(side(confusions(5)), side(confusions(5)), "mean_boundary_iou")


def with_bands(path: Path, **rules: Any) -> Side:
    bands = np.tile([50, 60, 60], (NUM_IMAGES, 2, 1))
    meta = {"classes": CLASSES, "resolution": "native", "scoring": ScoringRules(**rules).model_dump()}
    write_arrays(path, {"confusion": confusions(5), "boundary_iou": bands, "ids": np.array(IDS)}, meta)
    return side_of_file(path)


def test_outlines_that_were_counted_differently_are_not_compared(tmp_path: Path) -> None:
    sides = with_bands(tmp_path / "a.npz"), with_bands(tmp_path / "b.npz", boundary_iou_share=0.01)
    with pytest.raises(
        DataError, match=r"Boundary IoU, mean was counted differently:\n  boundary_iou_share 0\.02 against 0\.01"
    ):
        compare_sides(*sides, "mean_boundary_iou")
    assert "outlines and objects were counted with different tolerances" in compare_sides(*sides)["flags"]


@pytest.mark.parametrize(
    ("arrays", "meta"),
    [
        ({"confusion": np.zeros((2, 2, 2), int)}, {"classes": CLASSES}),
        ({"ids": np.array(["a", "b"])}, {"classes": CLASSES}),
        ({"ids": np.array(["a", "b"]), "confusion": np.zeros((3, 2, 2), int)}, {"classes": CLASSES}),
        ({"ids": np.array(["a", "a"]), "confusion": np.zeros((2, 2, 2), int)}, {"classes": CLASSES}),
        ({"ids": np.array(["a", "b"]), "confusion": np.zeros((2, 3, 3), int)}, {"classes": CLASSES}),
        ({"ids": np.array(["a", "b"]), "confusion": np.zeros((2, 2), int)}, {"classes": CLASSES}),
        ({"ids": np.array(["a", "b"]), "confusion": np.zeros((2, 2, 2), int)}, {}),
        ({"ids": np.array(["a", "b"]), "confusion": np.zeros((2, 2, 2), int)}, ["classes"]),
        ({"ids": np.array(["a", "b"]), "confusion": np.zeros((2, 2, 2))}, {"classes": CLASSES}),
        ({"ids": np.array([], str), "confusion": np.zeros((0, 2, 2), int)}, {"classes": CLASSES}),
        (
            {"ids": np.array(["a", "b"]), "confusion": np.zeros((2, 2, 2), int), "lost": np.zeros((3, 2), int)},
            {"classes": CLASSES},
        ),
        (
            {"ids": np.array(["a", "b"]), "confusion": np.zeros((2, 2, 2), int)},
            {"classes": CLASSES, "scoring": {"x": 1}},
        ),
    ],
)
def test_files_that_hold_no_counts(tmp_path: Path, arrays: dict[str, Any], meta: dict[str, Any]) -> None:
    write_arrays(tmp_path / "x.npz", arrays, meta)
    with pytest.raises(StoreError, match=r"x\.npz: is not a counts file of segstudy"):
        side_of_file(tmp_path / "x.npz")


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(
        StoreError, match=r"none\.npz: no such file; 'segstudy score PREDICTIONS TRUTH --counts none\.npz'"
    ):
        side_of_file(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("no zip")
    with pytest.raises(StoreError, match=r"text\.npz: is not a counts file"):
        side_of_file(tmp_path / "text.npz")


# What else differs


def test_unknown_origins_and_differing_metadata_are_flagged(side: Callable[..., Side]) -> None:
    a, b = side(confusions(5), selected_on="kvasir/holdout"), side(confusions(20), selected_on="kvasir/test")
    assert compare_sides(a, b)["flags"] == [
        f"{a.name}: the origin of its masks is not recorded",
        f"{b.name}: the origin of its masks is not recorded",
        "epoch chosen on kvasir/holdout against kvasir/test",
        f"{a.name}, {b.name}: written without hashes of the true masks, so only their pixels by class were compared",
    ]


STUDY = """
name: small
data: {polyps: {reader: kvasir, root: Kvasir-SEG}, folk: {reader: kvasir, root: People}}
recipe: {epochs: 1}
experiments:
  unet: {data: polyps, model: {arch: unet, encoder: resnet18, weights: none}}
  unet34: {base: unet, change: {model.encoder: resnet34}}
cross_evaluations: [{experiment: unet, on: folk}, {experiment: unet34, on: folk}]
seeds: [1, 2]
"""


class Runs:
    """A study's store in which runs are written as ``segstudy run`` leaves them, as far as a comparison looks at them."""

    def __init__(self, root: Path) -> None:
        (root / "study.yaml").write_text(STUDY)
        self.plan = make_plan(load_study(root / "study.yaml"))
        self.store = Store(root / "small")

    def add(self, experiment: str, seed: int, wrong: int, on: str = "polyps", **record: Any) -> Path:
        run = self.plan.select([experiment], seed).runs[0]
        folder = self.store.run(experiment, seed)
        told = {"identity": run.identity, "values": run.config.values(), "precision": "32-true"}
        write_yaml(folder.config, told | record)
        meta = {
            "classes": CLASSES,
            "resolution": "native",
            "train_data": "polyps",
            "test_data": on,
            "split": "test",
            "selected_on": "polyps/holdout",
            "seed": seed,
            "data_fingerprint": f"files of {on}",
            "evaluation_hash": next(scoring.evaluation_hash for scoring in run.scored_on if scoring.dataset == on),
        }
        path = folder.evaluation(on, "test")
        write_arrays(path, {"confusion": confusions(wrong, seed), "ids": np.array(IDS)}, meta)
        return path

    def side(self, experiment: str, seed: int | None = None, on: str | None = None) -> Side:
        results = read_results(self.store, self.plan)
        return side_of_runs(Named(f"study.yaml:{experiment}", experiment, seed, results), on)


@pytest.fixture
def runs(tmp_path: Path) -> Runs:
    found = Runs(tmp_path)
    for seed in (1, 2):
        found.add("unet", seed, 20)
        found.add("unet34", seed, 6)
    return found


def test_all_seeds_of_an_experiment(runs: Runs) -> None:
    record = compare_sides(runs.side("unet34"), runs.side("unet"))
    assert record["a"]["seeds"] == record["b"]["seeds"] == [1, 2]
    assert record["changes"] == [{"key": "model.encoder", "a": "resnet34", "b": "resnet18"}]
    assert record["flags"] == []
    assert record["difference"]["num_seeds_variant"] == record["difference"]["num_seeds_base"] == 2
    text = comparison_text(record)
    assert "  model.encoder: resnet34 (A), resnet18 (B)" in text
    assert "(2 seeds: " in text
    assert "with other seeds, and images like these" in text or "no verdict" in text


def test_one_run_of_an_experiment(runs: Runs) -> None:
    record = compare_sides(runs.side("unet34", 2), runs.side("unet", 1))
    assert (record["a"]["seeds"], record["b"]["seeds"]) == ([2], [1])
    assert record["difference"]["population"] == "images"
    assert "for these networks" in comparison_text(record)


def test_an_evaluation_in_a_store_brings_its_run_s_record(runs: Runs) -> None:
    path = runs.add("unet34", 1, 6, precision="bf16-mixed")
    record = compare_sides(side_of_file(path), runs.side("unet", 1))
    assert record["changes"][0]["key"] == "model.encoder"
    assert record["flags"] == ["precision bf16-mixed against 32-true"]


def test_cross_evaluations_are_named(runs: Runs) -> None:
    runs.add("unet", 1, 30, on="folk")
    runs.add("unet34", 1, 10, on="folk")
    record = compare_sides(runs.side("unet34", 1, "folk"), runs.side("unet", 1, "folk"))
    assert record["a"]["value"] == pytest.approx(
        compare_sides(runs.side("unet34", 1, "folk"), runs.side("unet34", 1, "folk"))["b"]["value"]
    )
    with pytest.raises(
        SpecError, match=r"is not scored on 'folks' \(did you mean 'folk'\?\); it is scored on polyps, folk"
    ):
        runs.side("unet", 1, "folks")


def test_missing_seeds_are_said(runs: Runs) -> None:
    runs.store.run("unet34", 2).config.unlink()
    record = compare_sides(runs.side("unet34"), runs.side("unet"))
    assert record["flags"][0] == "unet34: missing unet34/seed2 (not scored yet)"
    assert record["a"]["seeds"] == [1]


def test_runs_that_were_not_made_or_with_other_settings(runs: Runs) -> None:
    runs.store.run("unet34", 1).config.unlink()
    runs.add("unet34", 2, 6, identity="of another study")
    with pytest.raises(StoreError, match=r"study\.yaml:unet34: not scored on polyps yet, or made with other settings"):
        runs.side("unet34")


def test_two_study_files_that_share_a_store_keep_their_own_settings(runs: Runs) -> None:
    first, second = runs.store.root.parent / "study.yaml", runs.store.root.parent / "other.yaml"
    second.write_text(STUDY + "primary: mdice\n")
    with pytest.raises(SpecError, match=rf"different primary measures .*{second.name}.* declares mdice"):
        compare_results(f"{first}:unet34", f"{second}:unet", out=runs.store.root)


def test_each_side_says_its_split_and_what_chose_its_epoch(runs: Runs) -> None:
    record = compare_sides(runs.side("unet34"), runs.side("unet"))
    for side in ("a", "b"):
        told = [record[side][key] for key in ("train_data", "test_data", "split", "selected_on")]
        assert told == ["polyps", "polyps", "test", "polyps/holdout"]
    assert comparison_text(record).count("   split test, epoch chosen on polyps/holdout") == 2


def test_several_changes_are_confounded(runs: Runs) -> None:
    values = runs.plan.first("unet34").config.values() | {"recipe.epochs": 7}
    path = runs.add("unet34", 1, 6, values=values)
    flags = compare_sides(side_of_file(path), runs.side("unet", 1))["flags"]
    assert flags == ["2 settings differ, so the difference cannot be attributed to one of them"]


# For people


def record_of(**changes: Any) -> dict[str, Any]:
    """A comparison's record with numbers that can be read off its text."""
    side = {"value": 0.5, "low": 0.45, "high": 0.55, "seeds": [0], "seed_values": [0.5], "name": "a.npz"}
    side |= {"split": "test", "selected_on": "polyps/holdout"}
    difference = {
        "value": -0.03,
        "low": -0.05,
        "high": -0.01,
        "p_value": 0.0123,
        "detectable": 0.02,
        "power": 0.8,
        "level": 0.95,
    }
    row = {
        "class": "polyp",
        "measure": "iou",
        "label": "IoU",
        "a": 0.4,
        "b": 0.46,
        "difference": -0.06,
        "low": -0.09,
        "high": 0.01,
    }
    base = {
        "a": side,
        "b": side | {"name": "b.npz", "value": 0.53, "split": ELSEWHERE, "selected_on": ELSEWHERE},
        "label": "mIoU",
        "unit": "",
        "higher_is_better": True,
        "images": 24,
        "groups": None,
        "pixels": 9600,
        "resolution": "native",
        **CONTRACT,
        "ignore": [255],
        "difference": difference | {"population": "images", "reason": "", "assumption": ""},
        "verdict": "worse",
        "p_holm": 0.0246,
        "questions": 3,
        "primary": "miou",
        "exploratory": False,
        "p_greater": 0.006,
        "simultaneous": {"low": -0.055, "high": -0.005},
        "margin_met": 0.047,
        "equivalence": {"margin": 0.05, "verdict": "equivalent within the margin", "p_equivalent": 0.02},
        "cautions": ["seeds of two kinds"],
        "changes": [],
        "flags": ["precision a against b"],
        "classes": [row | {"p_holm": 0.2, "verdict": "not distinguishable"}],
    }
    return base | changes


def test_text_by_hand() -> None:
    assert comparison_text(record_of()).splitlines() == [
        "24 images, 9,600 pixels, scored at the masks' own size, all together; absent classes left out, background a class, "
        "255 ignored",
        "A  a.npz",
        "   split test, epoch chosen on polyps/holdout",
        "B  b.npz",
        "   split and epoch choice unknown (masks from elsewhere)",
        "",
        "          mIoU       95 % interval",
        "A       0.5000    0.4500 to 0.5500",
        "B       0.5300    0.4500 to 0.5500",
        "A - B  -0.0300  -0.0500 to -0.0100  p = 0.0123, corrected p = 0.0246",
        "",
        "A is worse than B by 0.0300, for these networks and images like these; other seeds of the same recipes may give "
        "another result",
        "detectable difference (80 % power, the same number of images): 0.0200",
        "P(A > B), that A is the better one: 0.006",
        "A and B are equivalent within the margin of 0.05 (p = 0.0200)",
        "interval that holds at once with the study's 2 other comparisons: -0.0550 to -0.0050",
        "caution: seeds of two kinds",
        "",
        "IoU by class       A       B    A - B       95 % interval  p (Holm)",
        "polyp         0.4000  0.4600  -0.0600  -0.0900 to +0.0100    0.2000  not distinguishable",
        "",
        "what else differs or is unknown:",
        "  precision a against b",
    ]


def test_text_where_nothing_can_be_said() -> None:
    nothing = {"low": None, "high": None, "p_value": None, "detectable": None, "reason": "only 2 images"}
    beyond = {"p_greater": None, "simultaneous": {"low": None, "high": None}, "margin_met": None, "equivalence": None}
    record = record_of(difference=record_of()["difference"] | nothing, verdict="", classes=[], flags=[], cautions=[])
    record |= beyond | {"p_holm": None}
    text = comparison_text(record)
    assert text.endswith("no verdict: only 2 images")
    assert "A - B  -0.0300" in text and "p =" not in text


def test_text_says_what_was_taken_for_granted() -> None:
    record = record_of()
    record["difference"]["assumption"] = "seeds are alike"
    assert "\nnote: seeds are alike\n" in comparison_text(record)


def test_text_of_a_small_p_value_and_a_distance() -> None:
    record = record_of(unit="px", label="Hausdorff 95, mean", verdict="better", higher_is_better=False)
    record["difference"] |= {"value": -3.21, "p_value": 1e-6}
    text = comparison_text(record)
    assert "Hausdorff 95, mean [px], lower is better" in text
    assert "p < 0.0001" in text and "A is better than B by 3.2 px, for" in text
    assert not math.isnan(record["difference"]["value"])


# What few or easy images show


def test_two_networks_without_an_error_are_not_proved_equal(side: Callable[..., Side]) -> None:
    """Perfect scores on two images: other networks may score so, too, and nothing shows how much they vary."""
    perfect = np.array([np.diag([300, 100])] * 2)
    one, other = side(perfect, ids=IDS[:2]), side(perfect, ids=IDS[:2])
    record = comparison_record(checked(compare(one, other, measure_of(one, "miou"), margin=0.0001)))
    assert (record["verdict"], record["difference"]["low"], record["p_greater"], record["margin_met"]) == (
        "",
        None,
        None,
        None,
    )
    assert record["equivalence"]["verdict"] == ""
    assert "the value is the same whichever image is left out" in comparison_text(record)


def test_the_same_predictions_differ_by_nothing(side: Callable[..., Side]) -> None:
    record = compare_sides(side(confusions(5)), side(confusions(5)))
    assert (record["difference"]["low"], record["difference"]["high"], record["difference"]["p_value"]) == (0, 0, 1)


def test_a_margin_that_no_difference_exceeds_is_not_offered(side: Callable[..., Side]) -> None:
    """Of two images the interval is the whole range of mIoU, so that "equivalent within 1.18" would say nothing."""
    good, poor = [[300, 0], [10, 90]], [[200, 100], [60, 40]]
    record = compare_sides(
        *(side(np.array(each), ids=IDS[:2]) for each in ([good, poor], [poor, [[290, 10], [5, 95]]]))
    )
    assert (record["difference"]["low"], record["difference"]["high"]) == (-1, 1)
    assert record["margin_met"] is None
    assert "smallest margin" not in comparison_text(record)


def test_a_tiny_p_value_of_equivalence_is_not_printed_as_zero(side: Callable[..., Side]) -> None:
    one, other = side(confusions(5)), side(confusions(5))
    text = comparison_text(comparison_record(checked(compare(one, other, measure_of(one, "miou"), margin=0.5))))
    assert "A and B are equivalent within the margin of 0.5 (p < 0.0001)" in text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"on": "kvasir"}, "--on kvasir"),
        ({"out": Path("runs")}, "--out runs"),
        ({"settings": ["seeds=[1]", "margin=0.1"], "on": "city"}, r"--on city --set seeds=\[1\], margin=0.1"),
    ],
)
def test_options_of_studies_are_refused_where_both_sides_are_files(
    options: dict[str, Any], words: str, tmp_path: Path
) -> None:
    names = [str(write_side(tmp_path / f"{name}.npz", confusions(5))) for name in "ab"]
    with pytest.raises(SpecError, match=f"^{words}: applies to a study, and both sides are files"):
        compare_results(*names, **options)


def with_distances(path: Path, missed: int, distance: float) -> Path:
    """40 images of one object of class 1, ``missed`` of them not found; the others about ``distance`` px off."""
    rng = np.random.default_rng(int(distance))
    surface = np.zeros(
        (40, 2, 5), np.int64
    )  # sum of distances and pixels, Hausdorff 95, images, images never predicted
    for k in range(40):
        off = int(1000 * (distance + rng.uniform(-0.2, 0.2)))
        surface[k, 0] = [100 * 500, 100, 500, 1, 0]
        surface[k, 1] = [0, 0, 0, 0, 1] if k < missed else [50 * off, 50, off, 1, 0]
    ids = [f"i{k:02d}" for k in range(40)]
    arrays = {"confusion": confusions(5, number=40), "surface": surface, "ids": np.array(ids)}
    meta = {"classes": CLASSES, "resolution": "native", "scoring": ScoringRules().model_dump(), **CONTRACT}
    write_arrays(path, arrays, meta | {"selected_on": ELSEWHERE})
    return path


@pytest.mark.parametrize("measure", ["mean_surface_distance", "mean_hausdorff95"])
@pytest.mark.parametrize(
    ("missed", "verdict"),
    [
        ((0, 0), "better"),  # 1 px off, and 2
        ((0, 20), "better"),  # the nearer one misses none
        ((20, 20), "better"),
        ((20, 0), ""),  # it is nearer on the half that it finds
        ((5, 0), ""),
    ],
)
def test_missing_objects_makes_no_distance_better(
    tmp_path: Path, measure: str, missed: tuple[int, int], verdict: str
) -> None:
    one = side_of_file(with_distances(tmp_path / "a.npz", missed[0], 1.0))
    other = side_of_file(with_distances(tmp_path / "b.npz", missed[1], 2.0))
    record = compare_sides(one, other, measure)
    assert record["difference"]["value"] < 0 and record["verdict"] == verdict
    of_class = next(row for row in record["classes"] if row["class"] == "polyp")
    assert (of_class["low"] is None) == (verdict == "")
    if not verdict:
        back = compare_sides(other, one, measure)
        assert back["verdict"] == "" and f"leaves out {missed[0]} more of them" in back["difference"]["reason"]
