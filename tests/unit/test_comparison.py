"""Whatever differs between two results, the report, ``compare`` and the planning say the same of it."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from report_stores import spot_record
from segstudy.api import Results
from segstudy.comparison import NOT_COMPARABLE, Side, compare, correct, problems_between
from segstudy.counts.countset import CountSet, hash_labels, read_counts, write_counts
from segstudy.errors import DataError, StoreError
from segstudy.files import write_sums, write_text, write_yaml
from segstudy.overview import verdict_lines
from segstudy.plan import Plan, Run, open_plan
from segstudy.planning import requirements
from segstudy.report.build import build_report
from segstudy.report.frames import ReportData
from segstudy.results import StudyResults, compare_results, read_results
from segstudy.schema import ScoringRules
from segstudy.scorecard import comparison_record, comparison_text
from segstudy.store import Store

NUM_IMAGES = 30
STUDY = """
name: planted
protocol: held-out
data:
  spot: {reader: folder, root: spot, classes: [background, polyp]}
recipe: {epochs: 1, input_size: 32}
experiments:
  base: {data: spot, model: {arch: unet}}
  good: {base: base, change: {model.encoder: resnet101}}
seeds: [1, 2, 3]
"""


def truths(seed: int = 0) -> list[np.ndarray]:
    """True masks of 20 x 20 pixels, 100 of them polyp: a square somewhere."""
    rng = np.random.default_rng(seed)
    masks = np.zeros((NUM_IMAGES, 20, 20), np.uint8)
    for mask, (y, x) in zip(masks, rng.integers(0, 11, (NUM_IMAGES, 2)), strict=True):
        mask[y : y + 10, x : x + 10] = 1
    return list(masks)


def counted(run: Run, found: int, masks: list[np.ndarray] | None = None) -> CountSet:
    """About ``found`` of the 100 pixels of polyp in each image are found, and as many of the others are wrong."""
    rng = np.random.default_rng([run.seed, found])
    hits = np.clip(found + rng.normal(0, 4, NUM_IMAGES), 1, 99).astype(np.int64)
    wrong = 100 - hits
    confusion = np.stack([np.stack([300 - wrong, wrong], -1), np.stack([wrong, hits], -1)], -2)
    ids = tuple(f"image{k}" for k in range(NUM_IMAGES))
    hashes = np.stack([hash_labels(mask) for mask in masks or truths()])
    return CountSet(run.name, {"confusion": confusion}, ids, spot_record(run), None, hashes)


@dataclass
class Planted:
    """What is changed in the runs of ``good``: their counts, their record, and which of them are left out."""

    change: Callable[[CountSet], CountSet] = lambda one: one
    record: Mapping[str, Any] = field(default_factory=dict)
    without: tuple[int, ...] = ()
    only: tuple[int, ...] = (1, 2, 3)  # the seeds whose counts are changed


def about(**changes: Any) -> Callable[[CountSet], CountSet]:
    return lambda one: CountSet(
        one.name, one.counts, one.ids, one.about.model_copy(update=changes), one.groups, one.truth
    )


def with_(**changes: Any) -> Callable[[CountSet], CountSet]:
    def change(one: CountSet) -> CountSet:
        fields = {key: getattr(one, key) for key in ("name", "counts", "ids", "about", "groups", "truth")}
        return CountSet(**fields | changes)

    return change


def part(one: CountSet, kept: slice | np.ndarray) -> CountSet:
    """Some of the images, or all of them in another order."""
    ids = tuple(np.array(one.ids)[kept].tolist())
    assert one.truth is not None
    return CountSet(
        one.name, {key: array[kept] for key, array in one.counts.items()}, ids, one.about, None, one.truth[kept]
    )


def study(folder: Path, planted: Planted) -> tuple[Path, Store, Plan]:
    """A finished study in which something differs between the two experiments."""
    file = folder / "study.yaml"
    write_text(file, STUDY)
    plan, store = open_plan(str(file), folder / "out")
    for run in plan.runs:
        if run.experiment == "good" and run.seed in planted.without:
            continue
        place, record = store.run(run.experiment, run.seed), planted.record if run.experiment == "good" else {}
        own: dict[str, Any] = {"identity": run.identity, "values": run.config.values(), "precision": "32-true"}
        own |= {"roles": {"train": "train", "select": "holdout", "report": "test"}}
        own |= {"data_fingerprints": {"train": "aa", "select": "bb"}}
        write_yaml(place.config, {**own, **record})
        epoch = {"epoch": 1, "loss": 1.0, "select_miou": 0.5, "report_miou": 0.5}
        write_text(place.metrics, json.dumps(epoch) + "\n")
        write_text(place.best, "weights")
        one = counted(run, 85 if run.experiment == "good" else 70)
        changed = run.experiment == "good" and run.seed in planted.only
        write_counts(place.evaluation("spot", "test"), planted.change(one) if changed else one)
        write_sums(place.path)
    return file, store, plan


ORDER = np.random.default_rng(5).permutation(NUM_IMAGES)
TURNED = np.stack([hash_labels(np.rot90(mask, 2)) for mask in truths()])

# What is planted -> the verdict that every place gives, and a part of the words that go with it.
SITUATIONS: dict[str, tuple[Planted, str, str]] = {
    "nothing": (Planted(), "better", ""),
    "other order": (Planted(lambda one: part(one, ORDER)), "better", ""),
    "other order of one seed": (Planted(lambda one: part(one, ORDER), only=(2,)), "better", ""),
    "other truth, equal class totals": (
        Planted(with_(truth=TURNED)),
        NOT_COMPARABLE,
        "scored against different true masks",
    ),
    "one seed against other truth": (
        Planted(with_(truth=TURNED), only=(2,)),
        NOT_COMPARABLE,
        "the seeds of good were scored against different true masks",
    ),
    "a subset of the images": (Planted(lambda one: part(one, slice(20))), NOT_COMPARABLE, "scored on different images"),
    "one seed on a subset": (
        Planted(lambda one: part(one, slice(20)), only=(1,)),
        NOT_COMPARABLE,
        "the seeds of good were scored on different images",
    ),
    "other classes": (
        Planted(about(classes=("background", "person"))),
        NOT_COMPARABLE,
        "scored with different classes",
    ),
    "other files": (
        Planted(about(data_fingerprint="dd")),
        NOT_COMPARABLE,
        "scored on files that changed between the evaluations",
    ),
    "other resolution": (
        Planted(about(resolution="input")),
        NOT_COMPARABLE,
        "scored on masks of different sizes",
    ),
    "no hash of the truth, same files": (Planted(with_(truth=None)), "better", ""),
    "no hash of the truth, files unknown": (
        Planted(lambda one: about(data_fingerprint=None)(with_(truth=None)(one))),
        "better",
        "written without hashes of the true masks, so only their pixels by class were compared",
    ),
    "other training data": (
        Planted(record={"data_fingerprints": {"train": "zz", "select": "bb"}}),
        "better",
        "training data differ",
    ),
    "other precision": (
        Planted(record={"precision": "bf16-mixed"}),
        "better",
        "precision bf16-mixed against 32-true",
    ),
    "other versions": (
        Planted(record={"environment": {"packages": {"torch": "2.12.0"}}}),
        "better",
        "torch 2.12.0 against none",
    ),
    "another choice of the epoch": (
        Planted(about(selected_on="spot/test")),
        "better",
        "epoch chosen on spot/test against spot/holdout",
    ),
    "another split": (Planted(about(split="test2")), "better", ""),
    "groups of images": (
        Planted(with_(groups=tuple(f"p{k // 3}" for k in range(NUM_IMAGES)))),
        "better",
        "images are grouped differently",
    ),
    "one seed with other tolerances": (
        Planted(about(scoring=ScoringRules(tolerances_px=[5]).model_dump()), only=(2,)),
        "better",
        "outlines and objects were counted with different tolerances",
    ),
    "one seed in another order, with another hash of its files": (
        Planted(lambda one: about(data_fingerprint=None)(part(one, ORDER)), only=(2,)),
        "better",
        "",
    ),
    "a missing seed": (Planted(without=(3,)), "better", "good: missing good/seed3 (not scored yet)"),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_report_compare_and_planning_agree(name: str, tmp_path: Path) -> None:
    planted, verdict, words = SITUATIONS[name]
    file, store, plan = study(tmp_path, planted)
    results = read_results(store, plan)
    row = ReportData(results).effects.iloc[0]
    assert row["verdict"] == verdict
    assert words in row["flags"] and (words or not row["flags"] or name == "another split")
    planned = {need["about"]: need for need in requirements(results, 0.8, 0.05)}
    (status,) = verdict_lines(results.comparisons)
    if verdict == NOT_COMPARABLE:
        assert np.isnan(row["value"]) and np.isnan(row["p_value"])
        with pytest.raises(DataError) as refused:
            compare_results(f"{file}:good", f"{file}:base", out=store.root)
        assert words in str(refused.value)
        assert "good against base" not in planned
        assert status == f"verdict  good against base: {NOT_COMPARABLE} ({row['flags']})"
        return
    record = comparison_record(compare_results(f"{file}:good", f"{file}:base", out=store.root))
    assert "; ".join(record["flags"]) == row["flags"]
    assert record["verdict"] == row["verdict"]
    for key in ("value", "low", "high", "p_value", "p_exchange", "detectable", "standard_error"):
        assert record["difference"][key] == row[key], key
    assert record["p_holm"] == row["p_holm"]
    turned = comparison_record(compare_results(f"{file}:base", f"{file}:good", out=store.root))
    assert (turned["difference"]["high"], turned["p_holm"]) == (-row["low"], row["p_holm"])
    assert turned["changes"] == [{"key": "model.encoder", "a": "resnet50", "b": "resnet101"}]
    assert sum(c["p_holm"] for c in turned["classes"]) == sum(c["p_holm"] for c in record["classes"])
    said = f"{row['verdict']}, {row['value']:+.4f} [{row['low']:+.4f}, {row['high']:+.4f}] mIoU"
    assert status.startswith(f"verdict  good against base: {said}")
    assert not row["flags"] or status.endswith(f"; also differs in: {row['flags']}")
    assert planned["good against base"]["num_images"] == (10 if name == "groups of images" else NUM_IMAGES)


def test_the_page_says_why_two_are_not_comparable(tmp_path: Path) -> None:
    _, store, plan = study(tmp_path, SITUATIONS["other truth, equal class totals"][0])
    page = build_report(store, plan).read_text()
    assert "Not comparable with its base: " in page
    assert "scored against different true masks" in page


def sides(tmp_path: Path, planted: Planted) -> tuple[StudyResults, Side, Side]:
    _, store, plan = study(tmp_path, planted)
    results = read_results(store, plan)
    return results, results.side("good"), results.side("base")


def test_the_order_of_images_moves_no_digit(tmp_path: Path) -> None:
    _, good, base = sides(tmp_path / "a", Planted())
    _, shuffled, _ = sides(tmp_path / "b", Planted(lambda one: part(one, ORDER)))
    assert compare(good, base).difference == compare(shuffled, base).difference
    assert [c.difference for c in compare(good, base).classes] == [
        c.difference for c in compare(shuffled, base).classes
    ]


def test_the_other_way_round_everything_is_mirrored(tmp_path: Path) -> None:
    _, good, base = sides(tmp_path, Planted())
    there, back = compare(good, base).difference, compare(base, good).difference
    assert there is not None and back is not None
    assert (there.value, there.low, there.high) == (-back.value, -back.high, -back.low)
    assert (there.p_value, there.p_exchange) == (back.p_value, back.p_exchange)


def test_other_true_masks_are_named(tmp_path: Path) -> None:
    """Two images of thirty are turned: their class totals stay, and they are named."""
    hashes = np.stack([hash_labels(mask) for mask in truths()])
    for k in (3, 7):
        hashes[k] = hash_labels(np.rot90(truths()[k], 2))
    _, good, base = sides(tmp_path, Planted(with_(truth=hashes)))
    (problem,) = compare(good, base).problems
    assert "in 2 of 30 images: image3, image7" in problem.detail


def test_counts_files_are_compared_by_the_hash_of_their_truth(tmp_path: Path) -> None:
    """Two files of equal class totals in every image, one scored against masks turned by 180 degrees."""
    _, _, plan = study(tmp_path, Planted())
    one = counted(plan.runs[0], 80)
    write_counts(tmp_path / "a.npz", one)
    write_counts(tmp_path / "b.npz", with_(truth=TURNED)(one))
    with pytest.raises(DataError, match=r"against different true masks:\n  in \d+ of 30 images: image0, "):
        compare_results(str(tmp_path / "a.npz"), str(tmp_path / "b.npz"))
    again = read_counts(tmp_path / "a.npz")
    assert again.truth is not None and one.truth is not None and (again.truth == one.truth).all()
    assert again.about == one.about and again.ids == one.ids


def files(folder: Path, *sets: CountSet) -> list[str]:
    paths = [folder / f"{letter}.npz" for letter, _ in zip("abc", sets, strict=False)]
    for path, one in zip(paths, sets, strict=True):
        write_counts(path, one)
    return [str(path) for path in paths]


def of_classes(one: CountSet, *names: str) -> CountSet:
    """The same counts, with classes that are in no image after the first two."""
    counts = np.zeros((NUM_IMAGES, len(names), len(names)), np.int64)
    counts[:, :2, :2] = one.confusion
    return with_(counts={"confusion": counts}, about=one.about.model_copy(update={"classes": names}))(one)


NAMES = [f"c{k}" for k in range(25)]


@pytest.mark.parametrize(
    ("ours", "theirs", "words"),
    [
        (NAMES, [*NAMES[:22], "zebra", *NAMES[23:]], "a.npz: 22 c22\n  .*b.npz: 22 zebra\n"),
        (NAMES, [*NAMES[:22], "c23", "c22", "c24"], "a.npz: 22 c22, 23 c23\n  .*b.npz: 22 c23, 23 c22\n"),
        (NAMES, NAMES[:24], "a.npz: 24 c24\n  .*b.npz: none more\n"),
        (["a, b", "c"], ["a", "b, c"], "a.npz: 0 a, b, 1 c\n  .*b.npz: 0 a, 1 b, c\n"),
    ],
)
def test_any_other_class_is_found_and_named(ours: list[str], theirs: list[str], words: str, tmp_path: Path) -> None:
    one = counted(study(tmp_path, Planted())[2].runs[0], 80)
    with pytest.raises(DataError, match=f"scored with different classes:\n  .*{words}"):
        compare_results(*files(tmp_path, of_classes(one, *ours), of_classes(one, *theirs)))


def test_the_hashes_of_every_seed_are_compared(tmp_path: Path) -> None:
    """The first seed of ``good`` has no hash, so that only the second shows that it was scored against other masks."""
    planted = Planted(lambda one: with_(truth=None if one.seed == 1 else TURNED)(one))
    _, good, base = sides(tmp_path, planted)
    assert [problem.what for problem in compare(good, base).problems] == ["scored against different true masks"]


def test_images_that_share_a_group_on_either_side_are_one_group(tmp_path: Path) -> None:
    """Pairs on one side and triples on the other join into five groups of six."""
    one = counted(study(tmp_path, Planted())[2].runs[0], 80)
    pairs, triples = (with_(groups=tuple(f"p{k // n}" for k in range(NUM_IMAGES)))(one) for n in (2, 3))
    there = compare_results(*files(tmp_path, pairs, triples))
    back = compare_results(*files(tmp_path, triples, pairs))
    assert there.groups is not None and len(set(there.groups)) == 5 == len(set(back.groups or ()))
    grouped = dict(zip(there.a.first.ids, there.groups, strict=True))
    assert len({grouped[f"image{k}"] for k in range(6)}) == 1 and grouped["image6"] != grouped["image5"]


def test_advice_rests_on_what_was_named_and_not_on_the_path(tmp_path: Path) -> None:
    """A file of masks from elsewhere has no further seeds, whatever its folder is called."""
    file, store, plan = study(tmp_path, Planted())
    (tmp_path / "seed1").mkdir()
    (path,) = files(tmp_path / "seed1", counted(plan.runs[0], 80))
    found = compare_results(path, f"{file}:base", out=store.root)
    assert found.difference is not None and "It was trained elsewhere" in found.difference.assumption


def test_an_experiment_may_be_called_like_a_file(tmp_path: Path) -> None:
    file = tmp_path / "study.yaml"
    write_text(file, STUDY.replace("good:", "good.npz:"))
    with pytest.raises(StoreError, match=r"good\.npz: not scored on spot yet"):
        compare_results(f"{file}:good.npz", f"{file}:base", out=tmp_path / "out")


def test_an_undefined_score_is_said_without_a_number(tmp_path: Path) -> None:
    """Every pixel of ``good`` and ``base`` is left out."""
    _, store, plan = study(tmp_path, Planted(lambda one: with_(counts={"confusion": 0 * one.confusion})(one)))
    results = read_results(store, plan)
    (status,) = verdict_lines({"good": compare(results.side("good"), results.side("good"))})
    assert status == "verdict  good against good: no verdict, - mIoU, 3 against 3 seeds (the value is undefined)"
    assert "nan" not in str(Results(results))
    page = build_report(store, plan).read_text()
    assert "No verdict: ResNet-101 instead of ResNet-50 as encoder (U-Net); the value is undefined." in page
    assert ">no verdict" in page and ">no result" not in page


def test_hashes_know_size_place_and_class() -> None:
    mask = np.zeros((4, 6), np.uint8)
    mask[0, 1] = 2
    others = [mask.T, mask[:, ::-1], np.where(mask == 2, 3, mask).astype(np.uint8), mask.reshape(6, 4)]
    assert hash_labels(mask).tolist() == hash_labels(np.asfortranarray(mask)).tolist()
    assert all(hash_labels(mask).tolist() != hash_labels(other).tolist() for other in others)


def test_problems_hide_those_that_follow_from_them(tmp_path: Path) -> None:
    """On other images the true masks cannot be the same; that is not said too."""
    _, good, base = sides(tmp_path, Planted(lambda one: part(with_(truth=TURNED)(one), slice(20))))
    assert [p.what for p in problems_between(good, base, compare(base, base).measure)] == ["scored on different images"]


def test_a_question_without_an_answer_yet_counts(tmp_path: Path) -> None:
    """Holm over three, one of them unanswered: the smallest p-value is multiplied by three."""
    _, good, base = sides(tmp_path, Planted())
    done = compare(good, base)
    waiting = compare(Side("later", ()), base)
    corrected = correct([done, waiting, done])
    assert done.difference is not None
    assert corrected[0].p_holm == pytest.approx(min(1.0, 3 * done.difference.p_value))
    assert corrected[1].verdict == "" and np.isnan(corrected[1].p_holm)


@pytest.mark.parametrize(
    ("name", "advice"),
    [
        ("good", "Train it with as many seeds as the other side (`seeds: [...]`)"),
        ("good/seed1", "name the experiment without its seed"),
    ],
)
def test_one_network_against_several_gets_no_number_about_the_recipes(tmp_path: Path, name: str, advice: str) -> None:
    """No verdict, no P(A > B), no equivalence; what helps depends on whether the other seeds are there."""
    file, _, _ = study(tmp_path, Planted(without=() if "/" in name else (2, 3), only=()))
    found = compare_results(f"{file}:{name}", f"{file}:base", out=tmp_path / "out", margin=0.05)
    text, record = comparison_text(comparison_record(found)), comparison_record(found)
    assert (record["verdict"], record["p_greater"], record["equivalence"]["verdict"]) == ("", None, "")
    assert record["difference"]["low"] < record["difference"]["value"] < record["difference"]["high"]
    assert advice in text and "P(A > B)" not in text
    assert "margin of 0.05: not tested, for the same reason" in text
