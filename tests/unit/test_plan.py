"""From study to runs: order, comparisons, budgets, and identities that change exactly when a result may."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from segstudy.errors import SpecError
from segstudy.plan import LATER, NOTED, Plan, Run, differences, make_plan, note_files, unequal_budgets
from segstudy.spec import load_study, parse_study
from segstudy.store import Store

STUDY = """\
name: s
protocol: held-out
data:
  road: {reader: folder, root: /data/Roads}
  polyps: {reader: kvasir, root: Polyps}
  spare: {reader: folder, root: Spare}
experiments:
  late: {base: unet, change: {recipe.input_size: 512}}
  unet: {data: road, model: {arch: unet, encoder: resnet18}}
  deep: {base: unet, change: {model.encoder: resnet101}}
  both: {base: deep, change: {model.weights: none, recipe.epochs: 7}, confounded: true}
cross_evaluations:
  - {experiment: unet, on: polyps, map: {a: polyp}}
  - {experiment: deep, on: polyps, split: train}
seeds: [3, 1]
"""

# Typed by hand: everything that the file says of run unet/seed3, the defaults written out.
UNET_SEED_3: dict[str, Any] = {
    "model.arch": "unet",
    "model.encoder": "resnet18",
    "model.weights": "imagenet",
    "model.output_stride": None,
    "recipe.epochs": 50,
    "recipe.batch_size": 16,
    "recipe.input_size": 256,
    "recipe.optimizer.name": "adam",
    "recipe.optimizer.lr": 0.0001,
    "recipe.optimizer.weight_decay": 0.0001,
    "recipe.optimizer.momentum": 0.9,
    "recipe.schedule": "cosine",
    "recipe.loss": "cross_entropy",
    "recipe.augment": "none",
    "recipe.precision": "auto",
    "recipe.deterministic": False,
    "protocol": "held-out",
    "data.name": "road",
    "data.reader": "folder",
    "data.num_classes": None,
    "data.classes": None,
    "data.ignore_values": [],
    "data.test_fraction": 0.2,
    "data.split_seed": 42,
    "data.holdout_fraction": 0.1,
    "data.report": None,
    "data.synthetic": None,
    "seed": 3,
    "result_version": 1,
}


def plan_of(text: str = STUDY, *settings: str) -> Plan:
    return make_plan(parse_study(text, settings=settings))


def identity(*settings: str, run: str = "unet/seed3", text: str = STUDY) -> str:
    return next(each.identity for each in plan_of(text, *settings).runs if each.name == run)


def test_runs_are_experiments_times_seeds_in_the_files_order() -> None:
    plan = plan_of()
    assert [run.name for run in plan.runs] == [
        f"{name}/seed{seed}" for name in ("late", "unet", "deep", "both") for seed in (3, 1)
    ]
    assert plan.experiments == ["late", "unet", "deep", "both"]
    assert plan.first("deep").name == "deep/seed3"


def test_comparisons_come_from_the_resolved_configurations() -> None:
    plan = plan_of()
    found = {name: plan.first(name).variation for name in plan.experiments}
    assert found["unet"] is None
    late, deep, both = found["late"], found["deep"], found["both"]
    assert late is not None
    assert deep is not None
    assert both is not None
    assert (late.base, late.variant, late.kind) == ("unet", "input_size=512", "hyperparameter")
    assert (deep.base, deep.variant, deep.kind) == ("unet", "encoder=resnet101", "ablation")
    assert deep.changes == {"model.encoder": ("resnet18", "resnet101")}
    assert (both.base, both.variant, both.kind) == ("deep", "weights=none, epochs=7", "confounded")
    assert (late.confounded, deep.confounded, both.confounded) == (False, False, True)


@pytest.mark.parametrize(
    ("change", "variant", "kind"),
    [
        ("model.arch: fpn", "arch=fpn", "ablation"),
        ("model.weights: none", "weights=none", "ablation"),
        ("model.output_stride: 16", "output_stride=16", "hyperparameter"),
        ("recipe.optimizer.lr: 0.5", "optimizer.lr=0.5", "hyperparameter"),
        ("recipe.loss: dice", "loss=dice", "hyperparameter"),
        # one of two is what the base has already, so a single thing differs
        ("recipe.loss: dice, recipe.epochs: 50", "loss=dice", "hyperparameter"),
    ],
)
def test_variant_and_kind(change: str, variant: str, kind: str) -> None:
    comparison = plan_of(STUDY.replace("model.encoder: resnet101", change)).first("deep").variation
    assert comparison is not None
    assert (comparison.variant, comparison.kind) == (variant, kind)


def test_reviews_notes_are_the_papers() -> None:
    plan = make_plan(load_study("review"))
    kinds = {run.experiment: (run.variation.kind, run.variation.variant) for run in plan.runs if run.variation}
    assert kinds == {  # Table 2's last column
        "deeplabv3-101-cityscapes": ("ablation", "encoder=resnet101"),
        "deeplabv3-os16-cityscapes": ("hyperparameter", "output_stride=16"),
        "unet-noimagenet-cityscapes": ("ablation", "weights=none"),
        "unet-512-kvasir": ("hyperparameter", "input_size=512"),
    }
    assert len(plan.runs) == 8


def test_run_is_scored_on_its_own_data_first_then_on_its_crosses() -> None:
    plan = plan_of()
    places = {run.experiment: [(s.dataset, s.split) for s in run.scored_on] for run in plan.runs}
    assert places["unet"] == [("road", None), ("polyps", None)]
    assert places["deep"] == [("road", None), ("polyps", "train")]
    assert places["late"] == [("road", None)]
    assert plan.first("unet").datasets == ["road", "polyps"]
    reporting = plan_of(STUDY, "data.road.report=val")
    assert [scoring[:2] for scoring in reporting.first("late").scored_on] == [("road", "val")]


def test_what_is_counted_is_part_of_what_every_evaluation_asks_for() -> None:
    plain, finer = plan_of().first("unet"), plan_of(STUDY, "scoring.tolerances_px=[1]").first("unet")
    assert plain.identity == finer.identity  # nothing is trained again
    assert len({scoring.evaluation_hash for run in (plain, finer) for scoring in run.scored_on}) == 4


def test_what_a_cross_evaluation_asks_for_changes_with_its_map_and_its_data_but_not_with_their_place() -> None:
    def evaluation_hash(*settings: str) -> str:
        return plan_of(STUDY, *settings).first("unet").scored_on[1].evaluation_hash

    assert evaluation_hash() == evaluation_hash("data.polyps.root=elsewhere") == evaluation_hash("recipe.epochs=3")
    assert evaluation_hash() != evaluation_hash("data.polyps.split_seed=7")
    assert evaluation_hash() != evaluation_hash(
        "cross_evaluations=[{experiment: unet, on: polyps, map: {road: polyp}}]"
    )


def test_identity_is_a_hash_of_all_that_the_file_says() -> None:
    text = json.dumps(UNET_SEED_3, sort_keys=True)
    expected = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert (
        expected == "6bfdbe5195c167f0"
    )  # a change of this literal makes every run on disk stale: raise RESULT_VERSION instead
    assert identity() == expected


# Of run unet/seed3, as version 0.1.0 gave them before files counted by their contents: a change of a literal makes runs on disk
# stale, or has them scored again. Files that are not there count by their paths, as all did then.
IDENTITIES = {
    "title=plain": ("6bfdbe5195c167f0", ["800a6fa5dfd85c68", "b178022d5db66f99"]),
    "data.road.groups='^(.)'; data.road.stratify=true": ("bd7f1966f98f0509", ["800a6fa5dfd85c68", "b178022d5db66f99"]),
    "data.polyps.groups='^(.)'; data.polyps.folds=5": ("6bfdbe5195c167f0", ["800a6fa5dfd85c68", "c299d13400148b64"]),
    "data.road.split_file=gone.json": ("7e86c6fa85d62896", ["800a6fa5dfd85c68", "b178022d5db66f99"]),
    "data.road.groups={file: gone.csv}": ("e085540414aa0c41", ["800a6fa5dfd85c68", "b178022d5db66f99"]),
    "data.polyps.split_file=gone.json": ("6bfdbe5195c167f0", ["800a6fa5dfd85c68", "fa86af5a8e8ed530"]),
    "data.polyps.groups={file: gone.csv}": ("6bfdbe5195c167f0", ["800a6fa5dfd85c68", "9398d9cc45499a71"]),
}


@pytest.mark.parametrize("settings", IDENTITIES)
def test_identities_of_studies_without_files_are_what_they_always_were(settings: str) -> None:
    run = plan_of(STUDY, *settings.split("; ")).first("unet")
    assert (run.identity, [scoring.evaluation_hash for scoring in run.scored_on]) == IDENTITIES[settings]


FILED = {"data.{}.split_file": "{}", "data.{}.groups": "{{file: {}}}"}


def told(path: Path, key: str, store: Store | None = None, data_root: Path | None = None) -> tuple[str, str]:
    """Identity of run unet/seed3 with a file for its own data, and what its cross-evaluation asks with one for the target's."""

    def run(name: str) -> Run:
        setting = f"{key.format(name)}={FILED[key].format(path)}"
        return make_plan(parse_study(STUDY, settings=[setting]), data_root, store).first("unet")

    return run("road").identity, run("polyps").scored_on[1].evaluation_hash


@pytest.mark.parametrize("key", FILED)
def test_files_count_by_what_is_in_them_not_by_where_they_lie(tmp_path: Path, key: str) -> None:
    here, there = tmp_path / "here", tmp_path / "elsewhere" / "there"
    there.parent.mkdir()
    here.write_text("image,group\na,1\n")
    before = told(here, key)
    here.rename(there)
    assert told(there, key) == before
    assert told(Path("there"), key, data_root=there.parent) == before
    there.write_text("image,group\na,2\n")
    after = told(there, key)
    assert [one == other for one, other in zip(before, after, strict=True)] == [False, False]


@pytest.mark.parametrize("key", FILED)
def test_a_file_that_is_gone_is_taken_for_what_the_store_notes(tmp_path: Path, key: str) -> None:
    file, store = tmp_path / "file", Store(tmp_path / "out")
    assert told(file, key, store) == told(file, key)  # nothing is noted yet
    file.write_text("image,group\na,1\n")
    before = told(file, key, store)
    note_files(make_plan(parse_study(STUDY, settings=[f"{key.format('road')}={FILED[key].format(file)}"])), store)
    file.write_text("image,group\na,2\n")
    assert told(file, key, store) != before  # what is there counts
    file.unlink()
    assert told(file, key, store) == before
    assert told(tmp_path / "another", key, store) != before
    for damage in ("[]", "{", ""):
        (store.root / NOTED).write_text(damage)
        assert told(file, key, store) == told(file, key)


def test_a_study_that_names_no_files_notes_none(tmp_path: Path) -> None:
    note_files(plan_of(), Store(tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("recipe.epochs=3", "recipe.epochs=4", "recipe.epochs was 3, is 4"),
        ("data.road.groups=(a)", "data.road.groups=null", "data.groups was (a), is None"),
        (
            "data.road.groups={file: gone.csv}",
            "title=other",
            "data.groups.file was gone.csv, is None, data.groups.image was image, is None, data.groups.group was group, is None",
        ),
        ("title=a", "title=b", "made by another version"),
    ],
)
def test_differences_name_the_keys(before: str, after: str, words: str) -> None:
    record = {"values": plan_of(STUDY, before).first("unet").config.values()}
    assert differences(plan_of(STUDY, after).first("unet"), record) == words


def test_keys_that_a_record_is_too_old_to_have_are_no_differences() -> None:
    run = plan_of().first("unet")
    record = {"values": {key: value for key, value in run.config.values().items() if key not in LATER}}
    assert differences(run, record) == "made by another version"


@pytest.mark.parametrize(
    "setting",
    [
        "data.road.root=/elsewhere",
        "data.polyps.test_fraction=0.5",
        "name=other",
        "title=other",
        "seeds=[9, 3]",
        "cross_evaluations=[]",
        "recipe.epochs=50",
        "experiments.deep.change={recipe.loss: dice}",
    ],
)
def test_identity_does_not_depend_on(setting: str) -> None:
    assert identity(setting) == identity()


def test_identity_does_not_depend_on_the_order_of_keys_or_the_name_of_the_file() -> None:
    text = STUDY.replace("{arch: unet, encoder: resnet18}", "{encoder: resnet18, arch: unet}")
    assert identity(text=text) == identity()
    study = parse_study(STUDY, source="x.yaml", folder="/somewhere")
    assert next(run.identity for run in make_plan(study).runs if run.name == "unet/seed3") == identity()


CHANGES = {
    "model.arch": "experiments.unet.model.arch=fpn",
    "model.encoder": "experiments.unet.model.encoder=resnet34",
    "model.weights": "experiments.unet.model.weights=none",
    "model.output_stride": "experiments.unet.model.output_stride=8",
    "recipe.epochs": "recipe.epochs=51",
    "recipe.batch_size": "recipe.batch_size=8",
    "recipe.accumulate": "recipe.accumulate=2",
    "recipe.input_size": "recipe.input_size=255",
    "recipe.optimizer.name": "recipe.optimizer.name=sgd",
    "recipe.optimizer.lr": "recipe.optimizer.lr=1.0000001e-4",
    "recipe.optimizer.weight_decay": "recipe.optimizer.weight_decay=0",
    "recipe.optimizer.momentum": "recipe.optimizer.momentum=0.8",
    "recipe.schedule": "recipe.schedule=poly",
    "recipe.loss": "recipe.loss=focal",
    "recipe.crop_px": "recipe.crop_px=64; experiments.late.change={recipe.epochs: 60}",  # no input size to change then
    "recipe.iterations": "recipe.iterations=100",
    "recipe.schedule_by": "recipe.schedule_by=step",
    "recipe.warmup_epochs": "recipe.warmup_epochs=1",
    "recipe.encoder_rate": "recipe.encoder_rate=0.1",
    "recipe.clip_norm": "recipe.clip_norm=1",
    "recipe.ema": "recipe.ema=0.99",
    "recipe.frozen_encoder": "recipe.frozen_encoder=true",
    "recipe.frozen_statistics": "recipe.frozen_statistics=true",
    "recipe.sync_batch_norm": "recipe.sync_batch_norm=true",
    "recipe.sampling": "recipe.sampling=class_balanced",
    "recipe.patience": "recipe.patience=5",
    "recipe.adaptation": "recipe.adaptation={name: fourier, data: spare}",
    "recipe.augment": "recipe.augment={flip_horizontal: 0.5}",
    "recipe.precision": "recipe.precision=bf16",
    "recipe.deterministic": "recipe.deterministic=true",
    "inference.flip": "inference.flip=true",
    "inference.scales": "inference.scales=[1, 2]",
    "inference.window_px": "inference.window_px=64",
    "inference.window_overlap": "inference.window_overlap=0.5",
    "inference.adaptation": "inference.adaptation=adabn",
    "inference.temperature": "inference.temperature=2.0",
    "inference.threshold": "inference.threshold=0.4",
    "ensemble.members": None,  # see test_inference.py
    "search.space": None,  # see test_search.py
    "protocol": "protocol=paper",
    "data.name": "experiments.unet.data=spare",
    "data.reader": "data.road.reader=supervisely",
    "data.num_classes": "data.road.num_classes=3",
    "data.classes": "data.road.classes=[a, b]",
    "data.ignore_values": "data.road.ignore_values=[7]",
    "data.test_fraction": "data.road.test_fraction=0.25",
    "data.split_seed": "data.road.split_seed=43",
    "data.holdout_fraction": "data.road.holdout_fraction=0.2",
    "data.groups": "data.road.groups='^(.)'",
    "data.stratify": "data.road.stratify=true",
    "data.folds": "data.road.folds=5",
    "data.fold": "data.road.fold=1",
    "data.split_file": "data.road.split_file=split.json",
    "data.report": "data.road.report=val",
    "data.synthetic": "data.road.synthetic={size: [8, 8]}",
    "seed": None,
    "result_version": None,
}


def test_every_value_of_a_run_is_among_the_changes() -> None:
    run = plan_of().first("unet")
    assert set(CHANGES) == set(UNET_SEED_3) | set(LATER) == set(run.config.values()) | {"seed", "result_version"}
    assert {key: run.config.values()[key] for key in LATER} == LATER


@pytest.mark.parametrize("key", [key for key, setting in CHANGES.items() if setting])
def test_identity_changes_with(key: str) -> None:
    assert identity(*CHANGES[key].split("; ")) != identity()


def test_identities_of_all_changes_and_seeds_differ() -> None:
    found = [identity(*setting.split("; ")) for setting in CHANGES.values() if setting]
    found += [run.identity for run in plan_of().runs]
    assert len(set(found)) == len(found)


def test_experiments_of_one_configuration_share_an_identity() -> None:
    text = STUDY.replace(
        "cross_evaluations:", "  twin: {data: road, model: {arch: unet, encoder: resnet18}}\ncross_evaluations:"
    )
    assert identity(run="twin/seed3", text=text) == identity(text=text)


@pytest.mark.parametrize(
    ("only", "seed", "names"),
    [
        ((), None, [f"{name}/seed{seed}" for name in ("late", "unet", "deep", "both") for seed in (3, 1)]),
        (["deep", "unet"], None, ["unet/seed3", "unet/seed1", "deep/seed3", "deep/seed1"]),
        ((), 1, ["late/seed1", "unet/seed1", "deep/seed1", "both/seed1"]),
        (["both"], 3, ["both/seed3"]),
        (["both", "both"], 3, ["both/seed3"]),
    ],
)  # fmt: skip
def test_selection(only: list[str], seed: int | None, names: list[str]) -> None:
    plan = plan_of()
    part = plan.select(only, seed)
    assert [run.name for run in part.runs] == names
    assert part.study is plan.study


def test_seed_zero_is_a_seed() -> None:
    plan = plan_of(STUDY, "seeds=[0, 1]")
    assert [run.seed for run in plan.select(["unet"], 0).runs] == [0]


@pytest.mark.parametrize(
    ("only", "seed", "message"),
    [
        (["depp"], None, r"^no experiment is named 'depp' \(did you mean 'deep'\?\); there are late, unet, deep, both$"),
        (["unet", "zzzz"], 3, r"^no experiment is named 'zzzz'; there are late, "),
        ((), 2, r"^--seed 2: the study's seeds are 3, 1$"),
    ],
)  # fmt: skip
def test_selection_of_what_is_not_there(only: list[str], seed: int | None, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        plan_of().select(only, seed)


def test_budgets_that_differ_are_named_and_only_those() -> None:
    assert unequal_budgets(plan_of()) == ["both: epochs 7 (study: 50)"]
    assert unequal_budgets(make_plan(load_study("review"))) == []


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("recipe.epochs: 9", "epochs 9 (study: 50)"),
        ("recipe.batch_size: 8", "batch_size 8 (study: 16)"),
        ("recipe.schedule: poly", "schedule poly (study: cosine)"),
        ("recipe.loss: dice", "loss dice (study: cross_entropy)"),
        ("recipe.optimizer.lr: 0.5", "optimizer {'name': 'adam', 'lr': 0.5"),
        ("recipe.input_size: 64", None),
        ("recipe.precision: bf16", None),
        ("model.arch: fpn", None),
    ],
)
def test_budget_is_optimiser_schedule_loss_epochs_and_batch_size(change: str, words: str | None) -> None:
    plan = plan_of(STUDY.replace("model.encoder: resnet101", change)).select(["deep"])
    lines = unequal_budgets(plan)
    assert len(lines) == (words is not None)
    assert words is None or lines[0].startswith(f"deep: {words}")


def test_who_does_not_say_where_data_lie_means_the_file_that_was_noted(tmp_path: Path) -> None:
    """Another table of the same name beside the study does not make runs stale that were made with --data."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "p.csv").write_text("image,group\na,1\n")
    (tmp_path / "p.csv").write_text("image,group\na,2\n")
    (tmp_path / "study.yaml").write_text(
        "name: s\ndata:\n  d: {reader: folder, root: d, classes: [a, b], groups: {file: p.csv}}\n"
        "experiments:\n  e: {data: d, model: {arch: unet}}\nseeds: [1]\n"
    )
    study, store = load_study(str(tmp_path / "study.yaml")), Store(tmp_path / "out")
    made = make_plan(study, tmp_path / "data", store)
    store.root.mkdir()
    assert make_plan(study, None, store).runs[0].identity != made.runs[0].identity  # nothing is noted yet
    note_files(made, store)
    assert make_plan(study, None, store).runs[0].identity == made.runs[0].identity
    assert make_plan(study, tmp_path, store).runs[0].identity != made.runs[0].identity  # taken at their word
    (tmp_path / "data" / "p.csv").write_text("image,group\na,3\n")
    assert make_plan(study, None, store).runs[0].identity != made.runs[0].identity
