"""Fair tuning: equal trials for every experiment, blind to the reported split, resumable, and named in the report."""

from __future__ import annotations

import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fakes import fake_kvasir
from segstudy.errors import SegstudyError, SpecError, StoreError
from segstudy.files import read_json
from segstudy.launch import search as searching
from segstudy.launch.search import propose, search_recipes
from segstudy.launch.work import execute_until_decided
from segstudy.launch.workshop import Workshop
from segstudy.plan import make_plan
from segstudy.report.frames import ReportData
from segstudy.report.sections.search import content, search_frame
from segstudy.results import read_results
from segstudy.spec import parse_study
from segstudy.store import Store
from segstudy.trials import Search
from segstudy.tuning import Trial, arm_of, arms_of, read_found, search_folder

pytest.importorskip("optuna")

STUDY = """
name: fair
data:
  kvasir: {reader: kvasir, root: Kvasir-SEG}
recipe: {epochs: 1, batch_size: 4, input_size: 32, optimizer: {lr: 1.0e-3}, precision: float32}
experiments:
  unet: {data: kvasir, model: {arch: unet, encoder: tu-test_resnet, weights: none}}
  fpn: {base: unet, change: {model.arch: fpn}}
  flipped: {base: unet, change: {inference.flip: true}}
search:
  trials: 3
  space:
    recipe.optimizer.lr: {low: 1.0e-4, high: 1.0e-2, log: true}
    recipe.loss: [cross_entropy, dice]
seeds: [1]
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("search")
    fake_kvasir(root / "data" / "Kvasir-SEG", num_images=15, size=(40, 36))
    workshop = Workshop(parse_study(STUDY), Store(root / "out"), root / "data")
    outcome, plan = execute_until_decided(workshop, make_plan(workshop.study, workshop.data_root, workshop.store))
    assert outcome.failures == [] and outcome.held == []
    return workshop, plan


def test_every_trained_experiment_has_the_same_number_of_trials(done: Any) -> None:
    workshop, _ = done
    found = read_found(workshop.store, workshop.study)
    assert list(found) == ["unet", "fpn"] == arms_of(workshop.study)
    assert arm_of(workshop.study, "flipped") == "unet"
    for one in found.values():
        assert len(one.trials) == 3
        assert one.trials[0].values == {"recipe.optimizer.lr": 1e-3, "recipe.loss": "cross_entropy"}
        assert one.best == max(one.trials, key=lambda trial: trial.score).values
        assert one.split == "holdout" and set(one.data_fingerprints) == {"train", "select", "reading"}
        assert all(1e-4 <= trial.values["recipe.optimizer.lr"] <= 1e-2 for trial in one.trials)


def test_trials_never_see_the_reported_split(done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop, _ = done
    seen = []
    real = Workshop.cached

    def cached(self: Workshop, name: str, split: str, *args: Any, **options: Any) -> Any:
        seen.append(split)
        return real(self, name, split, *args, **options)

    monkeypatch.setattr(Workshop, "cached", cached)
    again = Workshop(workshop.study, Store(tmp_path / "out"), workshop.data_root)
    search_recipes(again, make_plan(again.study), ["unet"])
    assert set(seen) == {"train", "holdout"}


def test_final_runs_use_what_was_found_and_differ_in_one_thing(done: Any) -> None:
    workshop, plan = done
    found = read_found(workshop.store, workshop.study)
    for name, arm in (("unet", "unet"), ("fpn", "fpn"), ("flipped", "unet")):
        recipe = plan.first(name).config.recipe
        assert recipe.optimizer.lr == found[arm].best["recipe.optimizer.lr"]
        assert recipe.loss == found[arm].best["recipe.loss"]
    assert list(plan.first("fpn").variation.changes) == ["model.arch"]
    values = workshop.store.run("fpn", 1).record().values
    assert values["search.space"] == "3 trials over recipe.optimizer.lr, recipe.loss"
    comparison = read_results(workshop.store, plan).comparisons["fpn"]
    assert comparison.problems == () and set(comparison.changes) == {"model.arch"}


def test_a_search_goes_on_with_the_same_values(done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop, _ = done
    again = Workshop(workshop.study, Store(tmp_path / "out"), workshop.data_root)
    calls = 0

    def broken(*args: Any, real: Any = searching._train) -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyboardInterrupt
        real(*args)

    monkeypatch.setattr(searching, "_train", broken)
    with pytest.raises(KeyboardInterrupt):
        search_recipes(again, make_plan(again.study), ["unet"])
    assert read_found(again.store, again.study) == {}
    search_recipes(again, make_plan(again.study), ["unet"])
    assert calls == 4  # the first, the broken one, and the two that were left
    assert read_found(again.store, again.study)["unet"] == read_found(workshop.store, workshop.study)["unet"]


def test_a_trial_that_fails_counts_as_tried(done: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workshop, _ = done
    again = Workshop(workshop.study, Store(tmp_path / "out"), workshop.data_root)
    calls = 0

    def broken(*args: Any, real: Any = searching._train) -> None:
        nonlocal calls
        calls += 1
        if calls != 2:
            raise SegstudyError("the loss is nan in epoch 1")
        real(*args)

    monkeypatch.setattr(searching, "_train", broken)
    search_recipes(again, make_plan(again.study), ["unet"])
    one = read_found(again.store, again.study)["unet"]
    assert [trial.score is None for trial in one.trials] == [True, False, True]
    assert one.best == one.trials[1].values and one.gain is None
    monkeypatch.setattr(searching, "_train", lambda *args: (_ for _ in ()).throw(SegstudyError("no")))
    other = Workshop(workshop.study, Store(tmp_path / "other"), workshop.data_root)
    with pytest.raises(SegstudyError, match="no trial of unet could be trained"):
        search_recipes(other, make_plan(other.study), ["unet"])


def test_data_that_changed_since_the_search_are_named(done: Any, tmp_path: Path) -> None:
    workshop, plan = done
    fake_kvasir(tmp_path / "Kvasir-SEG", num_images=15, size=(40, 36), seed=5)
    with pytest.raises(StoreError, match="the data changed since this search"):
        search_recipes(Workshop(workshop.study, workshop.store, tmp_path), plan)


def test_the_report_says_what_was_searched_and_what_tuning_explains(done: Any) -> None:
    workshop, plan = done
    data = ReportData(read_results(workshop.store, plan))
    frame = search_frame(data).set_index("experiment")
    found = read_found(workshop.store, workshop.study)
    for name, one in found.items():
        scores = [trial.score for trial in one.trials]
        assert frame.loc[name, "gain"] == pytest.approx(max(scores) - scores[0])
    assert frame.loc["fpn", "tuning"] == pytest.approx(found["fpn"].gain - found["unet"].gain)
    assert math.isnan(frame.loc["unet", "tuning"])
    (table,) = content(data)
    assert "3 trials over optimizer.lr, loss" in table.caption and "the reported split was never seen" in table.caption


def test_a_damaged_result_is_named(done: Any, tmp_path: Path) -> None:
    workshop, _ = done
    store = Store(tmp_path)
    path = search_folder(store, workshop.study, "unet") / "found.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"arm": "unet"}))
    with pytest.raises(StoreError, match=r"found\.json: is damaged"):
        read_found(store, workshop.study)
    kept = read_json(search_folder(workshop.store, workshop.study, "unet") / "found.json")
    assert set(kept) == {"arm", "trials", "best", "split", "data_fingerprints"}


def peak(lr: float) -> float:
    return 1 - (math.log10(lr) + 2.5) ** 2


def test_proposals_find_a_peak_better_than_chance() -> None:
    """Best of 15 proposals against best of 15 uniform draws, mean over 8 searches; the peak is at 10 ** -2.5."""
    ours, chance = [], []
    for seed in range(8):
        search = Search(trials=15, space={"recipe.optimizer.lr": {"low": 1e-6, "high": 1.0, "log": True}}, seed=seed)
        trials: list[Trial] = []
        while len(trials) < 15:
            values = propose(search, trials)
            trials.append(Trial(values=values, score=peak(values["recipe.optimizer.lr"])))
        ours.append(max(trial.score for trial in trials))
        draws = np.random.default_rng(seed).uniform(-6, 0, 15)
        chance.append(max(1 - (draw + 2.5) ** 2 for draw in draws))
    assert np.mean(ours) > np.mean(chance)


def test_nothing_is_proposed_twice() -> None:
    search = Search(trials=9, space={"recipe.loss": ["a", "b"], "recipe.epochs": {"low": 1, "high": 2}})
    trials: list[Trial] = []
    while (values := propose(search, trials)) is not None:
        trials.append(Trial(values=values, score=0.5))
    assert sorted((t.values["recipe.loss"], t.values["recipe.epochs"]) for t in trials) == [
        ("a", 1), ("a", 2), ("b", 1), ("b", 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("recipe.loss: [cross", "recipe.los: [cross"), "recipe.los: cannot be searched (did you mean 'recipe.loss'?)"),
        (("recipe.loss: [cross_entropy, dice]", "model.arch: [unet, fpn]"), "model.arch: cannot be searched"),
        (("change: {model.arch: fpn}", "change: {recipe.loss: dice}"), "is what fpn changes; a factor cannot be searched"),
        (("low: 1.0e-4", "low: 1"), "low 1 must be smaller than high 0.01"),
        (("low: 1.0e-4", "low: 0.0"), "must be positive on a logarithmic scale"),
        (("low: 1.0e-4, high: 1.0e-2, log: true", "low: -1.0, high: 1.0"), "-1.0: should be greater than 0"),
        (("[cross_entropy, dice]", "[cross_entropy, dic]"), "did you mean 'dice'"),
        (("[cross_entropy, dice]", "[dice]"), "must hold at least 2 values"),
        (("name: fair", "name: fair\nprotocol: paper"), "would be tuned to the reported split under protocol: paper"),
        (("trials: 3", "trials: 1"), "greater than or equal to 2"),
    ],
)  # fmt: skip
def test_mistakes_are_named(edit: tuple[str, str], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(STUDY.replace(*edit, 1))
    assert words in str(caught.value)


def test_a_missing_package_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    study = parse_study(STUDY)
    with pytest.raises(SpecError, match=r'pip install "segstudy\[search\]"'):
        search_recipes(Workshop(study, Store(tmp_path), tmp_path), make_plan(study))
