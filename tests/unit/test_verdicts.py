"""What is known beyond "better" and "worse": equivalence, P(A > B), several measures, ranks, failures, few networks."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from scipy import stats
from typer.testing import CliRunner

from report_stores import spot_record
from segstudy.cli import app
from segstudy.cli.planned import curve_lines, requirement_lines
from segstudy.comparison import compare
from segstudy.counts.countset import CountSet, hash_labels, write_counts
from segstudy.errors import SegstudyError, SpecError
from segstudy.failures import failures, two_kinds
from segstudy.files import write_sums, write_text, write_yaml
from segstudy.launch import work
from segstudy.launch.workshop import Workshop
from segstudy.overview import verdict_lines
from segstudy.plan import Plan, Run, open_plan
from segstudy.planning import SeedSD, curves, requirements
from segstudy.progress import Progress
from segstudy.ranking import ranked
from segstudy.report.answer import sentences
from segstudy.report.build import build_report
from segstudy.report.frames import ReportData
from segstudy.report.sections.baselines import estimates_table
from segstudy.report.sections.changes import comparisons_table
from segstudy.report.sections.ranks import ranks_frame
from segstudy.results import StudyResults, compare_results, due, read_results
from segstudy.scorecard import comparison_record, comparison_text, comparisons_text
from segstudy.spec import parse_study
from segstudy.stats.sequential import look_levels
from segstudy.store import Store

NUM_IMAGES = 30
STUDY = """
name: planted
data:
  spot: {reader: folder, root: spot, classes: [background, polyp]}
recipe: {epochs: 1, input_size: 32}
experiments:
  base: {data: spot, model: {arch: unet}}
  good: {base: base, change: {model.encoder: resnet101}}
  other: {base: base, change: {model.encoder: resnet34}}
"""
TRUTH = np.stack([hash_labels(np.full((2, 2), k % 2, np.uint8)) for k in range(NUM_IMAGES)])
Found = Mapping[str, Mapping[int, float]]
SEEDS = {1: 0.0, 2: 0.6, 3: -0.4}
EQUAL: Found = {"base": {s: 70 + d for s, d in SEEDS.items()}, "good": {s: 70.2 - d for s, d in SEEDS.items()}}
APART: Found = {"base": {s: 60 + d for s, d in SEEDS.items()}, "good": {s: 85 + d for s, d in SEEDS.items()}}


def confusion(found: float, seed: int) -> np.ndarray:
    """Of the 100 pixels of polyp in each image about ``found`` are found, and as many others are wrong as are missed."""
    rng = np.random.default_rng(seed)
    hits = np.clip(found + rng.normal(0, 4, NUM_IMAGES), 0, 100).astype(np.int64)
    return np.stack([np.stack([200 + hits, 100 - hits], -1), np.stack([100 - hits, hits], -1)], -2)


def finish(store: Store, run: Run, found: float) -> None:
    """Write a run as if it had been trained and scored."""
    place = store.run(run.experiment, run.seed)
    roles = {"train": "train", "select": "holdout", "report": "test"}
    write_yaml(place.config, {"identity": run.identity, "values": run.config.values(), "roles": roles})
    write_text(place.metrics, json.dumps({"epoch": 1, "loss": 1.0, "select_miou": 0.5}) + "\n")
    write_text(place.best, "weights")
    counts = {"confusion": confusion(found, run.seed)}
    ids = tuple(f"image{k}" for k in range(NUM_IMAGES))
    write_counts(place.evaluation("spot", "test"), CountSet(run.name, counts, ids, spot_record(run), None, TRUTH))
    write_sums(place.path)


def study(folder: Path, found: Found, keys: str = "seeds: [1, 2, 3]") -> tuple[str, StudyResults]:
    """A study with the given runs done, and their results."""
    file = folder / "study.yaml"
    write_text(file, f"{STUDY}{keys}\n")
    plan, store = open_plan(str(file), folder / "out")
    for run in plan.runs:
        if run.seed not in found.get(run.experiment, {}):
            continue
        finish(store, run, found[run.experiment][run.seed])
    return str(file), read_results(store, plan)


def test_equivalence_by_hand_from_student_s_distribution(tmp_path: Path) -> None:
    """Two one-sided tests at 0.05 / 2 (two comparisons), worked out again with SciPy's own distribution."""
    _, results = study(tmp_path, EQUAL, "seeds: [1, 2, 3]\nmargin: 0.03")
    found = results.comparisons["good"]
    difference, claim = found.difference, found.equivalence
    assert difference is not None and claim is not None and found.questions == 2
    student = stats.t(difference.degrees_of_freedom, scale=difference.standard_error)
    upper, lower = student.sf(0.03 - difference.value), student.sf(0.03 + difference.value)
    assert claim.p_equivalent == pytest.approx(max(upper, lower))
    assert claim.verdict == "equivalent within the margin" and max(upper, lower) < 0.025
    assert found.margin_met == pytest.approx(abs(difference.value) + student.ppf(1 - 0.025))
    assert found.p_greater == pytest.approx(student.cdf(difference.value))
    reach = student.ppf(1 - 0.025 / 2)
    assert found.simultaneous == pytest.approx((difference.value - reach, difference.value + reach))


@pytest.mark.parametrize(
    ("margin", "words"),
    [
        (0.03, "A and B are equivalent within the margin of 0.03"),
        (0.0001, "undecided whether A and B are equivalent within the margin of 0.0001"),
    ],
)
def test_compare_and_report_say_the_same_of_a_margin(tmp_path: Path, margin: float, words: str) -> None:
    file, results = study(tmp_path, EQUAL, f"seeds: [1, 2, 3]\nmargin: {margin}")
    record = comparison_record(compare_results(f"{file}:good", f"{file}:base", out=results.store.root))
    row = ReportData(results).effects.set_index("experiment").loc["good"]
    assert record["verdict"] == row["verdict"] == "not distinguishable"
    assert record["equivalence"]["verdict"] == row["equivalence"]
    assert record["p_greater"] == row["p_greater"] and record["margin_met"] == row["margin_met"]
    assert tuple(record["simultaneous"].values()) == (row["simultaneous_low"], row["simultaneous_high"])
    assert words in comparison_text(record)
    labels = [column.label for column in comparisons_table(ReportData(results)).formats]
    assert {"Equivalence", "P(variant better)", "Simultaneous interval [95 %]", "Margin that would be met"} <= {*labels}
    assert f"{row['equivalence']} ({margin:g})" in build_report(results.store, results.plan).read_text()


def test_a_margin_on_the_command_line_needs_no_study_key(tmp_path: Path) -> None:
    file, results = study(tmp_path, EQUAL)
    sides = [f"{file}:good", f"{file}:base", "--out", str(results.store.root)]
    found = CliRunner().invoke(app, ["compare", *sides, "--margin", "0.03", "--json"])
    assert json.loads(found.output)["equivalence"]["verdict"] == "equivalent within the margin"
    plain = CliRunner().invoke(app, ["compare", *sides, "--json"])
    assert json.loads(plain.output)["equivalence"] is None and json.loads(plain.output)["margin_met"] > 0
    for wrong in ("0", "-0.01", "nan", "inf"):
        refused = CliRunner().invoke(app, ["compare", *sides, "--margin", wrong])
        assert isinstance(refused.exception, SpecError) and "--margin" in str(refused.exception)


def test_margin_and_primary_change_no_identity(tmp_path: Path) -> None:
    _, plain = study(tmp_path / "a", {})
    _, declared = study(tmp_path / "b", {}, "seeds: [1, 2, 3]\nmargin: 0.02\nprimary: mdice")
    assert [run.identity for run in plain.plan.runs] == [run.identity for run in declared.plan.runs]
    assert plain.plan.runs[0].evaluation_hash == declared.plan.runs[0].evaluation_hash


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("margin: 0", "margin: must be greater than 0|margin: should be greater than 0"),
        ("margin: -0.1", "greater than 0"),
        ("primary: mIou", "no measure of the whole set is named 'mIou' .did you mean 'miou'"),
        ("primary: iou", "no measure of the whole set is named 'iou'"),
    ],
)
def test_wrong_margins_and_measures_are_named(keys: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse_study(f"{STUDY}{keys}\n")


def test_the_primary_measure_decides_everywhere(tmp_path: Path) -> None:
    """Dice is 2 IoU / (1 + IoU), so its differences differ from those of IoU; every place gives Dice's."""
    file, results = study(tmp_path, APART, "seeds: [1, 2, 3]\nprimary: mdice")
    expected = float(np.mean([_dice(85 + d, s) - _dice(60 + d, s) for s, d in SEEDS.items()]))
    record = comparison_record(compare_results(f"{file}:good", f"{file}:base", out=results.store.root))
    row = ReportData(results).effects.set_index("experiment").loc["good"]
    assert record["difference"]["value"] == pytest.approx(expected) and row["value"] == pytest.approx(expected)
    assert (record["measure"], record["exploratory"]) == ("mdice", False)
    assert any("mDice" in text and "gains" in text for text in sentences(ReportData(results)))
    page = build_report(results.store, results.plan).read_text()
    assert "What each change does to mDice" in page and "What each change does to mIoU" not in page
    other = comparison_record(compare_results(f"{file}:good", f"{file}:base", "miou", out=results.store.root))
    assert other["exploratory"] and "exploratory: mdice is the primary measure" in comparison_text(other)
    text = comparisons_text([record, other])
    assert "2 measures compare the same pair: only that of mDice decides" in text
    assert "of up to 10%" in text  # 1 - 0.95 squared is 0.0975


def _dice(found: float, seed: int) -> float:
    counts = confusion(found, seed).sum(axis=0).astype(float)
    return float(np.mean([2 * counts[k, k] / (counts[k].sum() + counts[:, k].sum()) for k in range(2)]))


@pytest.mark.parametrize(("several", "single"), [("base", "good"), ("good", "base")])
def test_one_network_against_several_gets_no_verdict_and_is_said_what_it_takes(
    tmp_path: Path, several: str, single: str
) -> None:
    found = {several: {s: 60 + d for s, d in SEEDS.items()}, single: {2: 85.0}}
    file, results = study(tmp_path, found)
    sides = [f"{file}:good", f"{file}:base", "--out", str(results.store.root)]
    told = CliRunner().invoke(app, ["compare", *sides])
    assert "no verdict: one side has a single network" in told.output and "`seeds: [...]`" in told.output
    record = json.loads(CliRunner().invoke(app, ["compare", *sides, "--json", "--margin", "0.5"]).output)
    assert record["verdict"] == "" and record["equivalence"]["verdict"] == "" and record["margin_met"] is None
    assert record["difference"]["low"] < record["difference"]["value"] < record["difference"]["high"]
    page = build_report(results.store, results.plan).read_text()
    assert "No verdict: " in page and "one side has a single network" in page and ">no verdict" in page
    (line, _) = verdict_lines(results.comparisons)
    assert line.startswith("verdict  good against base: no verdict, ") and "`seeds: [...]`" in line


def test_status_prints_a_line_for_each_variant(tmp_path: Path) -> None:
    file, results = study(tmp_path, APART)
    told = CliRunner().invoke(app, ["status", file, "--out", str(results.store.root)])
    lines = [line for line in told.output.splitlines() if line.startswith("verdict")]
    difference = results.comparisons["good"].difference
    assert difference is not None
    words = f"better, {difference.value:+.4f} [{difference.low:+.4f}, {difference.high:+.4f}] mIoU, 3 against 3 seeds"
    assert lines == [f"verdict  good against base: {words}", "verdict  other against base: no result yet"]
    found = json.loads(CliRunner().invoke(app, ["status", file, "--out", str(results.store.root), "--json"]).output)
    assert found["verdicts"] == {"good": "better", "other": ""}


def test_ranks_are_shared_where_nothing_tells_apart(tmp_path: Path) -> None:
    """``good`` is far better than the other two, which are alike: ranks 1, 2, 2 and places 1, 2 to 3, 2 to 3."""
    _, results = study(tmp_path, {**APART, "other": {s: 60.1 - d for s, d in SEEDS.items()}})
    rows = ranked(results)
    assert [row.rank.rank for row in rows] == [1, 2, 2] and rows[0].experiment == "good"
    assert [(row.rank.best, row.rank.worst) for row in rows] == [(1, 1), (2, 3), (2, 3)]
    assert rows[0].share_first == 1 and rows[1].share_first == 0
    assert [row.share_rank for row in rows] == pytest.approx([1, 1, 1])
    assert ranks_frame(ReportData(results))["places"].tolist() == ["1", "2 to 3", "2 to 3"]
    assert "Ranks and how stable they are" in build_report(results.store, results.plan).read_text()


def test_failed_images_by_hand() -> None:
    """Of 30 images, three have no pixel of the object found; the bound is SciPy's beta quantile."""
    counts = confusion(80, 1)
    counts[[4, 7, 9]] = [[300, 0], [100, 0]]
    found = failures([counts])
    assert found is not None and (found.failed, found.number) == (3, 30)
    assert found.at_most == pytest.approx(stats.beta.ppf(0.95, 4, 27))
    clean = failures([confusion(80, 1)])
    assert clean is not None and clean.at_most == pytest.approx(1 - 0.05 ** (1 / 30))


def test_failures_count_groups_images_of_background_and_any_network() -> None:
    counts = confusion(80, 1)
    failed = counts.copy()
    failed[[0, 1]] = [[300, 0], [100, 0]]
    empty = counts.copy()
    empty[20:] = [[400, 0], [0, 0]]
    by_group = failures([failed], [f"g{k // 2}" for k in range(NUM_IMAGES)])
    assert by_group is not None and (by_group.failed, by_group.number, by_group.groups) == (1, 15, True)
    either = failures([counts, failed])
    assert either is not None and either.failed == 2
    without = failures([empty])
    assert without is not None and without.number == 20
    assert failures([np.tile([[400, 0], [0, 0]], (5, 1, 1))]) is None


def test_failures_stand_beside_scores(tmp_path: Path) -> None:
    _, results = study(tmp_path, APART)
    frame = estimates_table(ReportData(results)).frame.set_index("experiment")
    assert frame.loc["good", "failed"] == "0 of 30"
    assert frame.loc["good", "failures_at_most"] == pytest.approx(1 - 0.05 ** (1 / 30))


def test_seeds_of_two_kinds_are_flagged_everywhere(tmp_path: Path) -> None:
    """One training of five failed: 10 of 100 pixels are found in place of 85."""
    good = {1: 85.0, 2: 85.3, 3: 84.8, 4: 85.1, 5: 10.0}
    base = {s: 60 + 0.3 * (s % 3) for s in good}
    file, results = study(tmp_path, {"good": good, "base": base}, "seeds: [1, 2, 3, 4, 5]")
    words = "good: its seeds fall into two kinds (1 low, 4 high in mIoU)"
    record = comparison_record(compare_results(f"{file}:good", f"{file}:base", out=results.store.root))
    assert len(record["cautions"]) == 1 and record["cautions"][0].startswith(words)
    assert f"caution: {words}" in comparison_text(record)
    assert words in ReportData(results).effects.set_index("experiment").loc["good", "cautions"]
    assert words in estimates_table(ReportData(results)).frame.set_index("experiment").loc["good", "cautions"]
    assert words.replace("good", "Good", 1) in build_report(results.store, results.plan).read_text()
    assert any(words in line for line in verdict_lines(results.comparisons))
    assert two_kinds("a", "mIoU", [0.8, 0.81, 0.79, 0.805, 0.8]) == () == two_kinds("a", "mIoU", [0.8, math.nan] * 3)


def test_power_curves_are_a_table_over_seeds_and_images(tmp_path: Path) -> None:
    _, results = study(tmp_path, APART)
    found = curves(results, 0.02)
    rows = found[1]["power"]
    assert found[1]["about"] == "good against base"
    assert [(row["seeds"], row["images"]) for row in rows[:5]] == [(2, 15), (2, 30), (2, 60), (2, 120), (3, 15)]
    power = np.array([row["power"] for row in rows]).reshape(4, 4)
    assert (np.diff(power, axis=0) >= 0).all() and (np.diff(power, axis=1) >= 0).all()
    lines = curve_lines(results, found, 0.02)
    assert lines[0].startswith("Probability to see a difference of 0.02 in mIoU, as one of the study's 2 comparisons")
    place = lines.index("good against base")
    assert lines[place + 2].split() == ["2", *(f"{row['power']:.2f}" for row in rows[:4])]


def test_a_spread_from_elsewhere_replaces_one_s_own(tmp_path: Path) -> None:
    """With one seed nothing is known; a larger assumed spread needs more seeds."""
    _, results = study(tmp_path, {"base": {1: 60.0}, "good": {1: 85.0}}, "seeds: [1]")
    unknown = {row["about"]: row for row in requirements(results, 0.8, 0.02)}["good against base"]
    few, many = (requirements(results, 0.8, 0.05, seed_sd=SeedSD(sd))[1] for sd in (0.005, 0.03))
    assert unknown["seeds"] is None and few["seeds"] is not None and many["seeds"] > few["seeds"]
    uncertain = requirements(results, 0.8, 0.05, seed_sd=SeedSD.read("0.03:3"))[1]
    assert uncertain["seeds"] == many["seeds"] and uncertain["seeds_safe"] > many["seeds_safe"]  # of three seeds only
    for wrong in ("-1", "nan", "0.01:1", "0.01:", "one"):
        with pytest.raises(SegstudyError, match=f"--assume-seed-sd {wrong}"):
            SeedSD.read(wrong)


def test_what_a_third_and_fourth_seed_would_tell(tmp_path: Path) -> None:
    """The factor on the spread is the root of degrees over the lower 20 % point of chi-squared, by SciPy."""
    two = {name: {s: v for s, v in seeds.items() if s < 3} for name, seeds in APART.items()}
    _, results = study(tmp_path, two, "seeds: [1, 2]")
    floor = requirements(results, 0.8, 0.05)[0]
    assert [row["seeds"] for row in floor["pilot"]] == [2, 3, 4]
    expected = [math.sqrt(df / stats.chi2.ppf(0.2, df)) for df in (1, 2, 3)]
    assert [row["factor"] for row in floor["pilot"]] == pytest.approx(expected)
    text = "\n".join(requirement_lines(results, requirements(results, 0.8, 0.05), 0.8, 0.05))
    assert "what further seeds would show, if they vary as much as these: after 2 seeds: " in text


UNTIL = "seeds: {until: decided, at_most: 4}"


def grown(good: float, number: int) -> Found:
    """Runs 1 to ``number`` of both sides; seeds differ by one pixel at most."""
    return {
        "base": {s: 60 + SEEDS.get(s, 0.2) for s in range(1, number + 1)},
        "good": {s: good - SEEDS.get(s, 0.2) for s in range(1, number + 1)},
    }


def test_seeds_are_due_one_by_one_until_the_verdict_stands(tmp_path: Path) -> None:
    """``other`` is not begun, so that its two first seeds are due in each case."""
    none = due(study(tmp_path / "a", {}, UNTIL)[1].plan, study(tmp_path / "a", {}, UNTIL)[1].store)
    assert [run.name for run in none.runs] == [f"{name}/seed{s}" for name in ("base", "good", "other") for s in (1, 2)]
    assert len(none.later) == 6
    _, open_ = study(tmp_path / "b", grown(60.2, 2), UNTIL)
    again = due(due(open_.plan, open_.store), open_.store)
    assert [run.name for run in again.runs if run.seed == 3] == ["base/seed3", "good/seed3"]
    _, last = study(tmp_path / "c", grown(60.2, 4), UNTIL)
    assert last.comparisons["good"].verdict == "not distinguishable"
    assert {run.seed for run in due(last.plan, last.store).runs if run.experiment == "good"} == {1, 2, 3, 4}
    with pytest.raises(SpecError, match="--seed 4: is not needed yet"):
        none.select(seed=4)


def test_a_look_that_decided_stands_and_its_p_value_is_corrected(tmp_path: Path) -> None:
    """Four seeds are there; the verdict is that of the first look that decided, by the level of that look."""
    file, results = study(tmp_path, grown(85, 4), UNTIL)
    found = results.comparisons["good"]
    assert found.difference is not None and found.verdict == "better"
    number = found.difference.num_seeds_base
    levels = look_levels(2, 4, 0.05 / 2)
    looked = [compare(*(results.side(n).of_seeds(range(1, s + 1)) for n in ("good", "base"))) for s in (2, 3, 4)]
    p_values = {s: one.difference.p_value for s, one in zip((2, 3, 4), looked, strict=True) if one.difference}
    assert number == next(s for s in (2, 3, 4) if p_values[s] <= levels[s])
    assert found.p_holm == pytest.approx(p_values[number] * 0.05 / levels[number])
    record = comparison_record(compare_results(f"{file}:good", f"{file}:base", out=results.store.root))
    row = ReportData(results).effects.set_index("experiment").loc["good"]
    assert record["a"]["seeds"] == list(range(1, number + 1))
    assert (record["difference"]["value"], record["p_holm"]) == (row["value"], row["p_holm"])
    assert {run.seed for run in due(results.plan, results.store).runs if run.experiment == "good"} == set(
        range(1, number + 1)
    )
    page = build_report(results.store, due(results.plan, results.store)).read_text()
    assert "Seeds were added until each comparison was decided, with looks at 2 to 4 seeds" in page
    assert "p (all looks)" in page


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ("seeds: {until: decided}", r"seeds.at_most: is required"),
        ("seeds: {until: never, at_most: 4}", "must be 'decided'"),
        ("seeds: {until: decided, at_most: 1}", "greater than or equal to 2"),
        ("seeds: {until: decided, at_most: 3, first: 4}", "first 4 must not be larger than at_most 3"),
        ("seeds: {until: decided, at_most: 3, fist: 2}", "did you mean 'first'"),
        ("seeds: []", "seeds: must not be empty"),
    ],
)
def test_wrong_seeds_are_named(keys: str, words: str) -> None:
    with pytest.raises(SpecError, match=words):
        parse_study(f"{STUDY}{keys}\n")


@pytest.mark.parametrize(("good", "fewer"), [(85.0, True), (60.2, False)])
def test_training_goes_on_until_every_comparison_is_decided(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: float, fewer: bool
) -> None:
    """Trainings are replaced by written results: a large difference stops before the last seed, none does not."""
    text = f"{STUDY}{UNTIL}\n".replace("  other: {base: base, change: {model.encoder: resnet34}}\n", "")
    write_text(tmp_path / "study.yaml", text)
    plan, store = open_plan(str(tmp_path / "study.yaml"), tmp_path / "out")
    trained: list[list[str]] = []

    def written(workshop: Workshop, plan: Plan, *_: bool, **__: bool) -> work.Outcome:
        new = [run for run in plan.runs if not store.run(run.experiment, run.seed).config.is_file()]
        for run in new:
            finish(store, run, grown(good, 4)[run.experiment][run.seed])
        trained.append([run.name for run in new])
        return work.Outcome()

    monkeypatch.setattr(work, "execute", written)
    outcome, done = work.execute_until_decided(Workshop(plan.study, store, None, Progress()), plan)
    assert not outcome.failures and trained[0] == ["base/seed1", "base/seed2", "good/seed1", "good/seed2"]
    assert all(names == [f"base/seed{k}", f"good/seed{k}"] for k, names in enumerate(trained[1:], 3))
    assert (len(trained) < 3) == fewer and len(done.runs) == 2 + 2 * len(trained)
