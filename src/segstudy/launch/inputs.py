"""The inputs of a run apart from its settings: data, how they are read, initial weights, precision.

It is written into ``run.yaml`` when the run begins, and compared whenever the run is resumed or scored again, and
whenever another seed or fold of the same experiment, or an ensemble of it, begins: one store never holds results of data that
differ.
"""

from __future__ import annotations

import contextlib
import platform
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from segstudy.errors import StoreError
from segstudy.files import digest, file_sha256, write_yaml
from segstudy.folds import in_fold, whole
from segstudy.guard import other_weights
from segstudy.launch.changes import ROLES, changed_inputs, ensemble_base, files_differ
from segstudy.launch.workshop import Workshop
from segstudy.plan import LATER, Run, differences
from segstudy.records import Environment, RunRecord, SplitRoles
from segstudy.store import RunFolder
from segstudy.train.team import choose_precision

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PACKAGES = (
    "segstudy",
    "torch",
    "torchvision",
    "segmentation-models-pytorch",
    "timm",
    "lightning-fabric",
    "numpy",
    "pillow",
)


def environment(processes: int = 1) -> Environment:
    """Versions and hardware that results may depend on."""
    versions = {}
    for package in PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return Environment(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        gpu=torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        cpu_threads=torch.get_num_threads(),
        processes=processes if processes > 1 else None,
        packages=versions,
    )


def run_record(workshop: Workshop, run: Run, **further: Any) -> RunRecord:
    """The identity of a run, and what is needed to read its results without the study file."""
    dataset, roles = workshop.dataset(run.config.dataset)
    names = {role: getattr(roles, role) for role in ROLES}
    fingerprints = {role: workshop.fingerprint(dataset.name, split) for role, split in names.items()}
    if (part := run.config.recipe.adaptation) is not None:
        fingerprints["target"] = workshop.fingerprint(part.data, part.split)
    return RunRecord(
        identity=run.identity,
        experiment=run.experiment,
        seed=run.seed,
        values=run.values,
        classes=dataset.classes,
        palette=dataset.palette,
        roles=SplitRoles(**names),
        splits={name: len(samples) for name, samples in dataset.splits.items()},
        data_fingerprints=fingerprints,
        readings={dataset.name: workshop.reading(dataset.name)},
        environment=environment(workshop.team.size),
        **further,
    )


def begin(workshop: Workshop, run: Run, folder: RunFolder, fabric: Fabric) -> str:
    """Write down what the run is and what it starts from, or compare that with what was written before.

    Returns
    -------
    str
        Hash of settings, data and initial weights: a checkpoint belongs to the run only if it names the same.

    Raises
    ------
    StoreError
        When something changed since the run began.

    """
    weights = None if run.config.ensemble else workshop.weights_file(run.config.model)
    precision = choose_precision(
        run.config.recipe.precision if run.config.evaluate is None else "float32", fabric.device
    )
    now = run_record(workshop, run, weights_sha256=weights and file_sha256(weights), precision=precision)
    check_siblings(workshop, run, now.weights_sha256)
    if not folder.config.is_file():
        write_yaml(folder.config, now.plain())
    else:
        before = folder.record()
        changed = changed_inputs(workshop, run, before)
        changed += ["initial weights"] if before.weights_sha256 != now.weights_sha256 else []
        changed += ["precision"] if before.precision not in (None, now.precision) else []
        refuse_changes(folder, changed)
    return digest({"identity": run.identity, "data": now.data_fingerprints, "weights": now.weights_sha256})


def check_siblings(workshop: Workshop, run: Run, weights_sha256: str | None) -> None:
    """Refuse a run whose results would be pooled with results in the store that rest on other data or initial weights.

    These are the other seeds and folds of its experiment, and the members of an ensemble.

    Raises
    ------
    StoreError
        Naming the run, and what differs.

    """
    differs = files_differ(workshop)
    for other in _siblings(workshop, run):
        folder = workshop.store.run(other.experiment, other.seed)
        if not folder.config.is_file():
            continue
        record = folder.record()
        if run.config.ensemble:
            check_member(folder, record, other)
        elif record.values != other.values:
            continue
        changed = changed_inputs(workshop, other, record, differs)
        changed += ["initial weights"] if other_weights(record.weights_sha256, weights_sha256) else []
        if changed:
            of = other.experiment if run.config.ensemble else "this experiment"
            raise StoreError(
                f"{folder.path}: the {' and '.join(changed)} changed since seed {other.seed} of {of} was made; restore what "
                "was, repeat the command with --replace to train all of them again, or choose another --out"
            )


def check_member(folder: RunFolder, record: RunRecord, member: Run) -> None:
    """Refuse a member of an ensemble that was trained with other settings than the study's."""
    recorded, declared = (
        {**LATER, **{key: value for key, value in values.items() if not key.startswith("inference.")}}
        for values in (record.values, member.values)
    )
    if recorded != declared:
        raise StoreError(
            f"{folder.path}: is a member of this ensemble and was trained with other settings: "
            f"{differences(member, record.model_dump())}; restore these settings, or repeat the "
            "command with --replace for the whole study"
        )


def _siblings(workshop: Workshop, run: Run) -> list[Run]:
    """The runs that stand for one experiment together with ``run``: other seeds, other folds, members of an ensemble."""
    config = run.config
    if config.ensemble:
        alone = replace(config, experiment=ensemble_base(workshop, run), ensemble=())
        return [replace(run, config=alone, seed=seed, crosses=()) for seed in config.ensemble]
    folds = [config]
    if run.fold is not None:
        folds = [
            replace(
                config,
                experiment=in_fold(whole(config.experiment), fold),
                dataset=in_fold(whole(config.dataset), fold),
                data=config.data.of_fold(fold),
            )
            for fold in range(config.data.folds or 0)
        ]
    every = [replace(run, config=each, seed=seed) for each in folds for seed in workshop.study.all_seeds]
    return [other for other in every if other.name != run.name]


def refuse_changes(folder: RunFolder, changed: list[str]) -> None:
    """Raise a :class:`StoreError` that names what changed, if anything did."""
    if changed:
        raise StoreError(
            f"{folder.path}: the {' and '.join(changed)} changed since this run began; restore what was, or repeat the "
            "command with --replace to archive this run and train it again"
        )
