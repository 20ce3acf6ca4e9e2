"""Results that do not belong together: other data, weights, classes or records than those that they are pooled with."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from fakes import fake_folder
from segstudy.api import Results
from segstudy.arguments import require_path
from segstudy.errors import SegstudyError, SpecError, StoreError
from segstudy.files import read_arrays
from segstudy.guard import differing
from segstudy.launch import search as searching
from segstudy.launch.changes import data_changes
from segstudy.launch.pending import check_batch
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import build_network
from segstudy.plan import make_plan
from segstudy.records import RunRecord
from segstudy.report.sections.pictures import read_indices
from segstudy.results import read_results, side_of_file
from segstudy.spec import parse_study
from segstudy.store import Store
from segstudy.study import resolve
from segstudy.train import loop as training

DATA = "{reader: folder, root: A, classes: [background, thing], test_fraction: 0.34, holdout_fraction: 0.2}"
MODEL = "{arch: linknet, encoder: tu-test_resnet, weights: none}"
STUDY = f"""
name: tiny
data:
  a: {DATA}
recipe: {{epochs: 2, batch_size: 4, input_size: 32, precision: float32}}
experiments:
  net: {{data: a, model: {MODEL}}}
"""


def workshop_of(root: Path, text: str = STUDY, seeds: str = "[1]") -> Workshop:
    return Workshop(parse_study(f"{text}seeds: {seeds}\n"), Store(root / "out"), root)


def run(workshop: Workshop, only: tuple[str, ...] = ()) -> list[str]:
    """Failures of doing what is missing."""
    plan = make_plan(workshop.study, workshop.data_root, workshop.store)
    return execute(workshop, plan.select(only)).failures


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of one experiment, done."""
    root = tmp_path_factory.mktemp("made")
    fake_folder(root / "A", num_images=12)
    assert run(workshop_of(root, seeds="[1, 2]")) == []
    return root


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "copy")
    return tmp_path / "copy"


def edit(folder: Path, *, but: tuple[str, ...] = ()) -> None:
    for path in folder.iterdir():
        if path.stem not in but:
            values = np.asarray(Image.open(path))
            Image.fromarray(np.where(values < 2, 1 - values, values)).save(path)


def test_an_ensemble_of_networks_that_saw_other_data_is_refused(copy: Path) -> None:
    reported = Store(copy / "out").run("net", 1).evaluation("a", "test")
    edit(copy / "A" / "masks", but=tuple(map(str, np.load(reported)["ids"])))
    (failure,) = run(workshop_of(copy, STUDY + "  both: {ensemble_of: net}\n", "[1, 2]"), ("both",))
    assert "training data (split 'train' of 'a')" in failure and "changed since seed 1 of net was made" in failure


def test_an_ensemble_of_networks_that_were_trained_otherwise_is_refused(copy: Path) -> None:
    text = STUDY.replace("precision: float32", "precision: float32, optimizer: {lr: 0.01}")
    (failure,) = run(workshop_of(copy, text + "  both: {ensemble_of: net}\n", "[1, 2]"), ("both",))
    assert "member of this ensemble" in failure and "recipe.optimizer.lr was 0.0001, is 0.01" in failure


def test_seeds_of_other_initial_weights_are_not_pooled(copy: Path) -> None:
    text = STUDY.replace("weights: none", "weights: first.safetensors")
    best = load_file(Store(copy / "out").run("net", 1).best)
    first = {key.removeprefix("encoder."): value for key, value in best.items() if key.startswith("encoder.")}
    save_file(first, copy / "first.safetensors")
    shutil.rmtree(copy / "out")
    assert run(workshop_of(copy, text)) == []
    save_file({key: value / 2 for key, value in first.items()}, copy / "first.safetensors")
    (failure,) = run(workshop_of(copy, text, "[1, 2]"))
    assert "the initial weights changed since seed 1 of this experiment was made" in failure
    shutil.move(copy / "out", copy / "kept")
    assert run(workshop_of(copy, text, "[2]")) == []
    shutil.copytree(copy / "kept" / "runs" / "net" / "seed1", copy / "out" / "runs" / "net" / "seed1")
    both = workshop_of(copy, text, "[1, 2]")
    with pytest.raises(StoreError, match="seed2: began with other weights than seed 1"):
        read_results(both.store, make_plan(both.study, copy, both.store))


def test_other_initial_weights_are_flagged_unless_they_are_the_change() -> None:
    a, b = RunRecord(weights_sha256="1"), RunRecord(weights_sha256="2")
    assert differing([a], [b]) == ["initial weights differ"]
    assert differing([a], [b], ["model.weights"]) == []
    assert differing([a], [RunRecord()]) == []  # random, or unknown


@pytest.fixture(scope="module")
def crossed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """One seed, scored on another dataset too, whose images then change while its masks stay."""
    root = tmp_path_factory.mktemp("crossed")
    fake_folder(root / "A", num_images=12)
    fake_folder(root / "B", num_images=12, seed=1)
    other = f"  b: {DATA.replace('root: A', 'root: B')}\nrecipe"
    text = STUDY.replace("recipe", other, 1) + "cross_evaluations:\n  - {experiment: net, on: b}\n"
    assert run(workshop_of(root, text)) == []
    for path in (root / "B" / "images").iterdir():
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    return root, text


def test_a_seed_that_would_be_scored_on_a_changed_target_is_refused(crossed: tuple[Path, str]) -> None:
    root, text = crossed
    (failure,) = run(workshop_of(root, text, "[1, 2]"))
    assert "data of the cross-evaluation (split 'test' of 'b') changed since seed 1 of this experiment" in failure


def test_seeds_scored_on_other_targets_are_not_pooled(crossed: tuple[Path, str]) -> None:
    root, text = crossed
    fresh = Store(root / "fresh")
    second = Workshop(parse_study(text + "seeds: [2]\n"), fresh, root)
    assert run(second) == []
    shutil.copytree(root / "out" / "runs" / "net" / "seed1", fresh.root / "runs" / "net" / "seed1")
    both = parse_study(text + "seeds: [1, 2]\n")
    with pytest.raises(StoreError, match="seed2: rests on other data, or another reading of the masks, than seed 1"):
        read_results(fresh, make_plan(both, root, fresh))


def test_folds_on_data_that_changed_in_between_are_refused(tmp_path: Path) -> None:
    fake_folder(tmp_path / "A", num_images=12)
    text = STUDY.replace("test_fraction: 0.34", "folds: 2, fold: all")
    assert run(workshop_of(tmp_path, text), ("net@fold0",)) == []
    edit(tmp_path / "A" / "masks")
    (failure,) = run(workshop_of(tmp_path, text), ("net@fold1",))
    assert "net@fold0" in failure and "training data (split 'train' of 'a@fold0')" in failure


def test_a_network_is_not_taken_over_under_another_order_of_classes(copy: Path) -> None:
    for folder in (Store(copy / "out").run("net", seed) for seed in (1, 2)):
        swapped = folder.config.read_text().replace("- background\n- thing", "- thing\n- background", 1)
        assert swapped != folder.config.read_text()
        folder.config.write_text(swapped)
        (folder.path / "SHA256SUMS").unlink()
    workshop = workshop_of(copy, STUDY + "  flipped: {base: net, change: {inference.flip: true}}\n", "[1]")
    assert run(workshop, ("flipped",)) == []
    assert workshop.store.run("flipped", 1).record().trained_as is None


def test_a_mask_that_is_gone_is_a_change_and_a_dataset_that_is_gone_is_none(copy: Path) -> None:
    plan = make_plan(workshop_of(copy, seeds="[1, 2]").study)
    next((copy / "A" / "masks").iterdir()).unlink()
    found = data_changes(workshop_of(copy, seeds="[1, 2]"), plan)
    assert set(found) == {"net/seed1", "net/seed2"} and "some are missing or faulty" in found["net/seed1"][0]
    shutil.rmtree(copy / "A")
    assert data_changes(workshop_of(copy, seeds="[1, 2]"), plan) == {}


def test_nothing_is_set_aside_that_could_not_be_made_anew(copy: Path) -> None:
    workshop = workshop_of(copy, seeds="[1, 2]")
    next((copy / "A" / "masks").iterdir()).unlink()
    with pytest.raises(SegstudyError, match="image-without-mask"):
        execute(workshop, make_plan(workshop.study, copy, workshop.store), replace=True)
    assert sorted(path.name for path in (copy / "out" / "runs" / "net").iterdir()) == ["seed1", "seed2"]


def test_counts_in_the_folder_of_another_run_are_refused(copy: Path) -> None:
    paths = [Store(copy / "out").run("net", seed).evaluation("a", "test") for seed in (1, 2)]
    assert side_of_file(paths[0]).seeds == [1]
    shutil.copy(paths[1], paths[0])
    with pytest.raises(StoreError, match="holds counts of net/seed2, not of this run"):
        side_of_file(paths[0])


def test_a_record_that_says_how_a_network_predicts_is_compared_with_its_sum(copy: Path) -> None:
    folder = Store(copy / "out").run("net", 1)
    folder.check_best()
    folder.config.write_text(folder.config.read_text().replace("thing", "think"))
    with pytest.raises(StoreError, match=r"run\.yaml changed since the run was finished"):
        folder.check_best()


@pytest.mark.parametrize(
    ("damage", "name"), [(Path.unlink, "save_progress"), (lambda path: path.write_text("{}\n"), "finish")]
)
def test_lost_records_of_epochs_are_made_again(
    damage: Callable[[Path], Any], name: str, made: Path, copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, folder = Store(made / "out").run("net", 1), Store(copy / "out").run("net", 1)
    shutil.rmtree(copy / "out" / "runs")
    real = getattr(training, name)

    def broken(*args: Any) -> None:
        real(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training, name, broken)
        with pytest.raises(KeyboardInterrupt):
            run(workshop_of(copy))
    damage(folder.metrics)
    assert run(workshop_of(copy)) == []
    assert folder.best.read_bytes() == whole.best.read_bytes()
    told = [[(each.epoch, each.loss, each.select_miou) for each in one.read_epochs()] for one in (folder, whole)]
    assert told[0] == told[1] and len(told[0]) == 2


SEARCH = "search:\n  trials: 2\n  space:\n    recipe.optimizer.lr: [1.0e-4, 1.0e-3]\n"


def test_a_full_disk_is_no_failed_trial_and_trials_belong_to_their_data(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("optuna")
    workshop, calls = workshop_of(copy, STUDY + SEARCH), []

    def counted(*args: Any, real: Any = searching._train) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise StoreError("no room")
        real(*args)

    monkeypatch.setattr(searching, "_train", counted)
    plan = make_plan(workshop.study, copy, workshop.store)
    with pytest.raises(StoreError, match="no room"):
        searching.search_recipes(workshop, plan)
    (first,) = (copy / "out" / "search").glob("*/trial*/trial.json")
    before = json.loads(first.read_text())["score"]
    edit(copy / "A" / "masks")
    searching.search_recipes(workshop_of(copy, STUDY + SEARCH), plan)
    assert len(calls) == 4  # both trials were made on the new data
    assert json.loads(first.read_text())["score"] != before


def test_a_full_memory_is_a_failed_trial(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("optuna")
    workshop, calls = workshop_of(copy, STUDY + SEARCH), []

    def broken(*args: Any, real: Any = searching._train) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise torch.OutOfMemoryError("out of memory")
        real(*args)

    monkeypatch.setattr(searching, "_train", broken)
    searching.search_recipes(workshop, make_plan(workshop.study, copy, workshop.store))
    (found,) = (copy / "out" / "search").glob("*/found.json")
    assert [trial["score"] is None for trial in json.loads(found.read_text())["trials"]] == [False, True]


def test_statistics_that_are_frozen_allow_batches_of_one() -> None:
    alone = STUDY.replace("batch_size: 4", "batch_size: 1")
    frozen = alone.replace("epochs: 2", "epochs: 2, frozen_statistics: true")
    config = resolve(parse_study(alone + "seeds: [1]\n"), "net")
    network = build_network(config.model, 2, 0).to("meta")
    with pytest.raises(SpecError, match="cannot train on batches of one image"):
        check_batch(network, config, 5)
    check_batch(network, resolve(parse_study(frozen + "seeds: [1]\n"), "net"), 5)


def test_no_message_advises_to_load_a_pickle(tmp_path: Path) -> None:
    (tmp_path / "a.npz").write_bytes(b"junk")
    with pytest.raises(StoreError, match=r"it is no \.npz file, or holds Python objects") as caught:
        read_arrays(tmp_path / "a.npz")
    assert "pickle" not in str(caught.value)


def test_a_damaged_predicted_mask_raises_what_the_report_takes_for_a_missing_one(tmp_path: Path) -> None:
    Image.fromarray(np.eye(32, dtype=np.uint8)).save(tmp_path / "a.png")
    whole = (tmp_path / "a.png").read_bytes()
    for at in range(0, len(whole), 3):
        (tmp_path / "b.png").write_bytes(whole[:at] + bytes([whole[at] ^ 0x40]) + whole[at + 1 :])
        try:
            assert read_indices(tmp_path / "b.png", (32, 32)).shape == (32, 32)
        except (OSError, ValueError, SyntaxError):
            continue


def test_results_name_the_primary_measure(made: Path) -> None:
    workshop = workshop_of(made, STUDY + "  same: {base: net, change: {inference.flip: true}}\nprimary: mdice\n")
    assert run(workshop) == []
    said = str(Results(read_results(workshop.store, make_plan(workshop.study, made, workshop.store))))
    assert "Dice" in said.splitlines()[1] and "mIoU" not in said


@pytest.mark.parametrize("given", [[np.zeros((2, 2))], np.zeros((2, 2)), None])
def test_what_is_no_path_is_named(given: object) -> None:
    with pytest.raises(SegstudyError, match=r"predictions: is of type .*; must be a folder"):
        require_path("predictions", given, "a folder")
