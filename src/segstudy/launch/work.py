"""Carry out a plan on this machine: what is missing is done, what is done is left alone, every step can be repeated."""

from __future__ import annotations

import contextlib
import platform
import shutil
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from safetensors.torch import save as safetensors_bytes
from torch import nn

from segstudy.cost import measure_cost
from segstudy.data.cache.arrays import CachedSplit, open_cache, remembered_fingerprint
from segstudy.data.core import Dataset, Roles
from segstudy.data.load import load_dataset
from segstudy.data.quality.faults import refuse
from segstudy.errors import SegstudyError, SpecError, StoreError
from segstudy.evaluate import class_table, count_split
from segstudy.files import (
    SUMS,
    building,
    file_sha256,
    read_yaml,
    write_arrays,
    write_bytes,
    write_json,
    write_sums,
    write_text,
    write_yaml,
)
from segstudy.networks.build import (
    ENCODER_WEIGHTS,
    build_network,
    load_network,
    place,
    read_checkpoint,
    read_state,
)
from segstudy.plan import IMPORTED, Plan, Run, differences, note_files, unequal_budgets
from segstudy.progress import Progress
from segstudy.schema import Model
from segstudy.spec import Config, Study, find_path
from segstudy.store import RunFolder, Store
from segstudy.train import loop as training


@dataclass(frozen=True)
class Evaluation:
    """One split that a run is scored on; ``table`` maps classes when the dataset is another than trained on."""

    dataset: str
    split: str
    table: NDArray[np.int64] | None = None
    evaluation_hash: str = ""


class Workshop:
    """Everything a plan needs at hand: datasets read once, the store, where things lie.

    A dataset with files that had to be left out is refused, unless ``inspecting``: nothing may be trained on it.
    """

    def __init__(
        self, study: Study, store: Store, data_root: Path | None, progress: Progress, *, inspecting: bool = False
    ) -> None:
        self.study, self.store, self.data_root, self.progress = study, store, data_root, progress
        self.inspecting = inspecting
        self._datasets: dict[str, tuple[Dataset, Roles]] = {}

    def dataset(self, name: str) -> tuple[Dataset, Roles]:
        """Dataset ``name`` of the study with its roles, read on first use."""
        if name not in self._datasets:
            entry, folder = self.study.data[name], self.study.folder
            dataset, roles = load_dataset(name, entry, self.study.protocol, self.data_root, folder, self.store)
            if not self.inspecting:
                refuse(f"dataset '{name}' (segstudy check tells all)", dataset.faults)
                for note in dataset.notes:
                    self.progress.say(f"note: {name}: {note}")
            self._datasets[name] = dataset, roles
        return self._datasets[name]

    def cached(self, name: str, split: str, size: int | None, native_labels: bool = False) -> CachedSplit:
        """A split of dataset ``name`` at ``size`` pixels, or at the images' own size; see :func:`open_cache`."""
        return open_cache(self.dataset(name)[0], split, size, self.store, self.progress, native_labels)

    def fingerprint(self, name: str, split: str) -> str:
        """Hash of a split's files, remembered by their sizes and times."""
        return remembered_fingerprint(self.dataset(name)[0].samples(split), self.store)

    def weights_file(self, model: Model) -> Path | None:
        """Where the model's weights lie, when the study names a file."""
        if model.weights in (names := ENCODER_WEIGHTS.names()):
            return None
        if not model.weights.endswith((".pth", ".pt", ".safetensors")):
            raise SpecError(
                f"model.weights '{model.weights}': must be {', '.join(names)}, or a .pth or .safetensors file"
            )
        return find_path(model.weights, "model.weights", self.data_root, self.study.folder)

    def evaluations(self, run: Run) -> list[Evaluation]:
        """What the run is scored on: the reported split of its own dataset, then every cross-evaluation."""
        own, roles = self.dataset(run.config.dataset)
        found = [Evaluation(run.config.dataset, roles.report, evaluation_hash=run.evaluation_hash)]
        for cross, named, evaluation_hash in run.crosses:
            other, other_roles = self.dataset(cross.on)
            try:
                table = class_table(own.classes, other.classes, cross.map)
            except SpecError as error:
                raise SpecError(f"cross-evaluation of {run.experiment} on {cross.on}: {error}") from None
            split = named or other_roles.report
            other.samples(split)
            found.append(Evaluation(cross.on, split, table, evaluation_hash))
        return found


def preflight(workshop: Workshop, runs: Sequence[Run]) -> None:
    """Find everything that would stop a run before the first one starts, and report it all together.

    Raises
    ------
    SegstudyError
        With a line or more for each problem.

    """
    if problems := find_problems(workshop, runs):
        raise SegstudyError("\n".join(problems))


def find_problems(workshop: Workshop, runs: Sequence[Run]) -> list[str]:
    """Everything that would stop a run before the first one starts, each once.

    Datasets are listed, and every network that is still to be trained is built once with its initial weights, which
    downloads them if that is asked for.
    """
    problems: dict[str, None] = {}

    def note(error: SegstudyError, prefix: str = "") -> None:
        problems.setdefault(prefix + str(error))

    unreadable = set()
    for name in dict.fromkeys(name for run in runs for name in run.datasets):
        try:
            workshop.dataset(name)
        except SegstudyError as error:
            unreadable.add(name)
            note(error)
    built = set()
    for run in runs:
        try:
            if run.sources and not workshop.store.run(run.experiment, run.seed).trained:
                training.rehearse(run.config.recipe, run.config.folder)
            if run.config.model not in built and not workshop.store.run(run.experiment, run.seed).trained:
                built.add(run.config.model)
                workshop.progress.task(f"preparing {run.experiment}", 1)
                build_network(run.config.model, 2, 0, workshop.weights_file(run.config.model), run.config.folder)
            if not unreadable.intersection(run.datasets):
                workshop.evaluations(run)
                check_batch(run.config, len(workshop.dataset(run.config.dataset)[0].samples("train")))
        except SegstudyError as error:
            note(error, f"experiments.{run.experiment}: ")
    return list(problems)


def check_batch(config: Config, num_train: int) -> None:
    """Batch normalisation cannot train on one image at a time where features are pooled to a point."""
    pooled = config.model.arch.lower() in ("deeplabv3", "deeplabv3plus", "pspnet", "upernet", "pan")
    if pooled and min(config.recipe.batch_size, num_train) < 2:
        raise SpecError(f"{config.model.arch} cannot train on batches of one image; set recipe.batch_size to 2 or more")


def execute(workshop: Workshop, plan: Plan, replace: bool = False) -> list[str]:
    """Do what is missing of ``plan`` and return a line for every run that failed.

    A run whose settings have changed since it was made is not touched, unless ``replace`` asks for it to be set aside
    under another name and made anew.

    Raises
    ------
    SegstudyError
        Before anything is trained: what is wrong with the study, its data, or the store.

    """
    training.keep_freed_memory()
    progress, store = workshop.progress, workshop.store
    states = {run.name: store.run(run.experiment, run.seed).state(run.identity, run.scored_on) for run in plan.runs}
    stale = [run for run in plan.runs if states[run.name] == "stale"]
    if stale and not replace:
        raise StoreError(_stale_message(store, stale))
    store.prepare(workshop.study.model_dump(mode="json", exclude_unset=True))
    note_files(plan, store)
    missing = [run for run in plan.runs if states[run.name] != "done"]
    preflight(workshop, missing)
    for run in stale:
        aside = store.run(run.experiment, run.seed).set_aside()
        progress.say(f"{run.name}: the former run is kept as {aside.name}")
    if missing:
        write_json(store.root / "environment.json", environment())
    for line in unequal_budgets(plan):
        progress.say(f"note: training budget differs from the study's: {line}")
    failures = []
    for number, run in enumerate(plan.runs, 1):
        title = f"[{number}/{len(plan.runs)}] {run.name}"
        progress.prefix = f"{workshop.study.name} {title}  "
        progress.say(title + (": done before" if states[run.name] == "done" else ""))
        if states[run.name] != "done" and (failure := _attempt(workshop, run)):
            failures.append(f"{run.name}: {failure}")
            progress.say(f"  failed: {failure}")
    progress.prefix = ""
    return failures


def _attempt(workshop: Workshop, run: Run) -> str:
    """Do one run; what stops it is written beside it and returned, so that the others go on."""
    folder = workshop.store.run(run.experiment, run.seed)
    try:
        with folder.lock():
            folder.failure.unlink(missing_ok=True)
            do_run(workshop, run, folder)
    except StoreError as error:
        return str(error)
    except (SegstudyError, RuntimeError) as error:  # torch's own errors, such as a full memory, are RuntimeErrors
        text = str(error)
        if isinstance(error, torch.OutOfMemoryError):
            text = _memory_advice(run, error)
        elif not isinstance(error, SegstudyError):
            details = folder.failure.with_suffix(".log")
            write_text(details, traceback.format_exc())
            text = f"torch stopped: {_first_line(error)}; see {details}"
        write_text(folder.failure, text + "\n")
        return text
    return ""


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _memory_advice(run: Run, error: Exception) -> str:
    recipe = run.config.recipe
    return (
        f"the GPU's memory is too small for batches of {recipe.batch_size} at {recipe.trained_px} px "
        f"({_first_line(error)}); lower recipe.batch_size or recipe.{'crop_px' if recipe.crop_px else 'input_size'} for the "
        "whole study"
    )


def _stale_message(store: Store, stale: Sequence[Run]) -> str:
    lines = [
        f"  {run.name}: {differences(run, read_yaml(store.run(run.experiment, run.seed).config))}" for run in stale
    ]
    return (
        f"{store.root}: {len(stale)} runs there were made with other settings:\n"
        + "\n".join(lines)
        + "\nChoose another --out, or call again with --replace to set them aside and make them anew."
    )


def do_run(workshop: Workshop, run: Run, folder: RunFolder) -> None:
    """One run from wherever it stands: train, measure its cost, evaluate, seal."""
    config, recipe = run.config, run.config.recipe
    _, roles = workshop.dataset(config.dataset)
    fabric = training.make_fabric(recipe)
    network = make_network(workshop, run)
    (folder.path / SUMS).unlink(missing_ok=True)
    if folder.trained:
        _check_inputs(workshop, run, folder, fabric)
    else:
        fit = workshop.cached(config.dataset, roles.train, recipe.resized_px)
        # before the split that selects, which may be the same: so its files are read once for both sizes of its masks
        report = workshop.cached(config.dataset, roles.report, recipe.resized_px, native_labels=True)
        select = workshop.cached(config.dataset, roles.select, recipe.resized_px)
        _begin(workshop, run, folder, fabric)
        training.reset_peak_memory()
        training.train(network, fit, select, report, recipe, run.seed, folder, fabric, workshop.progress, config.folder)
    load_network(network, read_state(folder.best), str(folder.best))
    network = place(network, fabric.device)
    model = fabric.setup(network)
    if not folder.cost.is_file():
        write_json(folder.cost, measure_cost(model, network, recipe.trained_px, folder.read_metrics(), fabric))
    for evaluation in workshop.evaluations(run):
        evaluate_run(workshop, run, folder, model, evaluation, fabric)
    write_sums(folder.path)


def make_network(workshop: Workshop, run: Run) -> nn.Module:
    """The run's network with its initial weights; weights that a finished training will replace are not asked for."""
    model, (dataset, _) = run.config.model, workshop.dataset(run.config.dataset)
    if workshop.store.run(run.experiment, run.seed).trained:
        model = model.model_copy(update={"weights": "none"})
    weights = workshop.weights_file(model)
    return build_network(model, len(dataset.classes), run.seed, weights, run.config.folder)


INPUTS = {"data_fingerprints": "data", "weights_sha256": "initial weights", "precision": "precision"}


def _check_inputs(workshop: Workshop, run: Run, folder: RunFolder, fabric: Fabric) -> dict[str, Any]:
    """What the run starts from, beside its configuration; a run to be gone on with must find it as it left it.

    Of a finished training, only the data are looked at: its scores must be on the images that it was trained beside.
    """
    roles, names = workshop.dataset(run.config.dataset)[1], ("train", "select")
    prints = {name: workshop.fingerprint(run.config.dataset, getattr(roles, name)) for name in names}
    weights = None if folder.trained else workshop.weights_file(run.config.model)
    precision = training.choose_precision(run.config.recipe.precision, fabric.device)
    found = {"data_fingerprints": prints, "weights_sha256": weights and file_sha256(weights), "precision": precision}
    before = read_yaml(folder.config) if folder.config.is_file() else {}
    compared = [key for key in (["data_fingerprints"] if folder.trained else INPUTS) if key in before]
    if changed := [INPUTS[key] for key in compared if before[key] != found[key]]:
        raise StoreError(
            f"{folder.path}: the {' and '.join(changed)} changed since this run began; bring back what was, or move this "
            "folder away to begin anew"
        )
    return found


def _begin(workshop: Workshop, run: Run, folder: RunFolder, fabric: Fabric) -> None:
    """Write down what the run is and what it starts from."""
    inputs = _check_inputs(workshop, run, folder, fabric)
    if folder.config.is_file():
        return
    record = run_record(run, workshop.dataset(run.config.dataset)) | {
        **inputs,
        "environment": environment(),
    }
    write_yaml(folder.config, record)


def import_checkpoint(workshop: Workshop, run: Run, checkpoint: Path) -> None:
    """Take a checkpoint in as ``run``, trained elsewhere: its tensors must be exactly those of the run's network.

    The review's notebook writes ``{"epoch", "model_state", "miou"}``; the tensors alone will do as well.

    Raises
    ------
    WeightsError
        When the file cannot be read or is of another network.
    StoreError
        When the store holds this run already.

    """
    workshop.store.prepare(workshop.study.model_dump(mode="json", exclude_unset=True))
    folder = workshop.store.run(run.experiment, run.seed)
    if folder.config.is_file():
        raise StoreError(f"{folder.path}: holds a run already; choose another --out or --seed, or move it away")
    dataset, roles = workshop.dataset(run.config.dataset)
    bare = run.config.model.model_copy(update={"weights": "none"})
    network = build_network(bare, len(dataset.classes), seed=0, study_folder=run.config.folder)
    load_network(network, read_state(checkpoint), str(checkpoint))
    plain = {key: value for key, value in read_checkpoint(checkpoint).items() if isinstance(value, int | float | str)}
    stored = {key: value.item() if isinstance(value, np.generic) else value for key, value in plain.items()}
    origin = {"file": checkpoint.name, "sha256": file_sha256(checkpoint), **stored}
    with folder.lock():
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        write_bytes(folder.best, safetensors_bytes(state, metadata={"imported_from": checkpoint.name}))
        write_yaml(folder.config, run_record(run, (dataset, roles)) | {"imported_from": origin})


def run_record(run: Run, data: tuple[Dataset, Roles]) -> dict[str, Any]:
    """What identifies a run and what is needed to read its results without the study file."""
    dataset, roles = data
    return {
        "identity": run.identity,
        "experiment": run.experiment,
        "seed": run.seed,
        "values": run.values,
        "classes": list(dataset.classes),
        "palette": [list(colour) for colour in dataset.palette],
        "roles": {"train": roles.train, "select": roles.select, "report": roles.report},
        "splits": {name: len(samples) for name, samples in dataset.splits.items()},
    }


def evaluate_run(
    workshop: Workshop, run: Run, folder: RunFolder, model: nn.Module, evaluation: Evaluation, fabric: Fabric
) -> None:
    """Counts and predicted masks of one run on one split, unless they are there."""
    if folder.find_evaluation(evaluation.dataset, evaluation.split, evaluation.evaluation_hash):
        return
    config = run.config
    data = workshop.cached(evaluation.dataset, evaluation.split, config.recipe.resized_px, native_labels=True)
    workshop.progress.task(f"scoring on {evaluation.dataset} {evaluation.split}", len(data))
    pictures = folder.predictions(evaluation.dataset, evaluation.split)
    shutil.rmtree(pictures, ignore_errors=True)
    rules, table, progress = workshop.study.scoring, evaluation.table, workshop.progress
    with building(pictures) as target:
        counts = count_split(model, data, fabric.device, config.resolution, rules, table, target, progress)
    _, own_roles = workshop.dataset(config.dataset)
    imported = "imported_from" in read_yaml(folder.config)
    meta = {
        "identity": run.identity,
        "experiment": run.experiment,
        "seed": run.seed,
        "train_data": config.dataset,
        "test_data": evaluation.dataset,
        "split": evaluation.split,
        "selected_on": IMPORTED if imported else f"{config.dataset}/{own_roles.select}",
        "resolution": config.resolution,
        "classes": list(data.dataset.classes),
        "palette": [list(colour) for colour in data.dataset.palette],
        "evaluation_hash": evaluation.evaluation_hash,
        "scoring": rules.model_dump(),
        "input_size": config.recipe.input_size,
        "crop_px": config.recipe.crop_px,
        "data_fingerprint": data.fingerprint,
        "weights_sha256": file_sha256(folder.best),
    }
    arrays = {**counts, "ids": np.array([sample.id for sample in data.samples])}
    if any(sample.group for sample in data.samples):
        arrays["groups"] = np.array([sample.group for sample in data.samples])
    write_arrays(folder.evaluation(evaluation.dataset, evaluation.split), arrays, meta)


def environment() -> dict[str, Any]:
    """Versions and hardware that results may depend on."""
    packages = (
        "segstudy",
        "torch",
        "torchvision",
        "segmentation-models-pytorch",
        "timm",
        "lightning-fabric",
        "numpy",
        "pillow",
    )
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "gpu": gpu,
        "cpu_threads": torch.get_num_threads(),
        "packages": versions,
    }
