"""What a run's results rest on beside its settings: data, how they are read, initial weights, precision.

It is written into ``run.yaml`` when the run begins, and compared whenever the run is gone on with or scored anew, and
whenever another seed of the same experiment begins: one store never holds results of data that differ.
"""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from importlib import metadata
from typing import TYPE_CHECKING, Any

import torch

from segstudy.data.cache.arrays import reread_fingerprint
from segstudy.errors import StoreError, listing
from segstudy.files import digest, file_sha256, write_yaml
from segstudy.launch.workshop import Workshop
from segstudy.plan import Run
from segstudy.records import Environment, RunRecord, SplitRoles
from segstudy.store import RunFolder, read_evaluation_record
from segstudy.study import base_chain
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
ROLES = {"train": "training", "select": "epoch-choosing", "report": "reported"}


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
    """What identifies a run and what is needed to read its results without the study file."""
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
    check_siblings(workshop, run)
    if not folder.config.is_file():
        write_yaml(folder.config, now.plain())
    else:
        before = folder.record()
        changed = changed_inputs(workshop, run, before)
        changed += ["initial weights"] if before.weights_sha256 != now.weights_sha256 else []
        changed += ["precision"] if before.precision not in (None, now.precision) else []
        refuse_changes(folder, changed)
    return digest({"identity": run.identity, "data": now.data_fingerprints, "weights": now.weights_sha256})


def check_siblings(workshop: Workshop, run: Run) -> None:
    """Refuse to begin a run whose experiment has other seeds in the store that rest on other data.

    Raises
    ------
    StoreError
        Naming the seed, and what differs.

    """
    for seed in workshop.study.all_seeds:
        folder = workshop.store.run(run.experiment, seed)
        if seed == run.seed or not folder.config.is_file():
            continue
        record = folder.record()
        if record.values == run.values and (changed := changed_inputs(workshop, run, record)):
            raise StoreError(
                f"{folder.path}: the {' and '.join(changed)} changed since seed {seed} of this experiment was made; bring back "
                "what was, call again with --replace to make all of them anew, or choose another --out"
            )


def refuse_changes(folder: RunFolder, changed: list[str]) -> None:
    """Raise a :class:`StoreError` that names what changed, if anything did."""
    if changed:
        raise StoreError(
            f"{folder.path}: the {' and '.join(changed)} changed since this run began; bring back what was, or call again with "
            "--replace to set this run aside and make it anew"
        )


def changed_inputs(workshop: Workshop, run: Run, before: RunRecord) -> list[str]:
    """Which of the data that ``before`` was made from are not what they were, in words.

    Files that seem changed are read once more before anything is said, whatever is remembered of them.
    """
    name = run.config.dataset
    dataset, roles = workshop.dataset(name)
    changed = []
    for role, words in ROLES.items():
        split, was = getattr(roles, role), (before.data_fingerprints or {}).get(role)
        if was is not None and _differs(workshop, name, split, was):
            changed.append(f"{words} data (split '{split}' of '{name}')")
    part, was = run.config.recipe.adaptation, (before.data_fingerprints or {}).get("target")
    if part is not None and was is not None and _differs(workshop, part.data, part.split, was):
        changed.append(f"images that training adapts to (split '{part.split}' of '{part.data}')")
    if before.classes and before.classes != dataset.classes:
        changed.append(f"classes of '{name}' (they were {', '.join(before.classes)}, are {', '.join(dataset.classes)})")
    elif before.readings.get(name, workshop.reading(name)) != workshop.reading(name):
        changed.append(f"reading of the masks of '{name}'")
    if before.members is not None:
        now = weights_of(members_of(workshop, run))
        members = [member for member, digest in before.members.items() if now.get(member, digest) != digest]
        changed += [f"weights of {listing(members)}"] if members else []
    return changed + _changed_targets(workshop, run)


def members_of(workshop: Workshop, run: Run) -> dict[str, RunFolder]:
    """The folders of the runs that an ensemble consists of, by their names."""
    chain = [run.experiment, *base_chain(workshop.study, run.experiment)]
    of = next(found for name in chain if (found := workshop.study.experiments[name].ensemble_of))
    return {f"{of}/seed{seed}": workshop.store.run(of, seed) for seed in run.config.ensemble}


def weights_of(members: Mapping[str, RunFolder]) -> dict[str, str]:
    """Hashes of the members' weights, of those that are trained."""
    return {name: file_sha256(folder.best) for name, folder in members.items() if folder.trained}


def _changed_targets(workshop: Workshop, run: Run) -> list[str]:
    """The same of cross-evaluations, by what their counts were made from."""
    folder, changed = workshop.store.run(run.experiment, run.seed), []
    for evaluation in workshop.evaluations(run)[1:]:
        path = folder.evaluation(evaluation.dataset, evaluation.split)
        record = read_evaluation_record(path) if path.is_file() else None
        if record is None or record.identity != run.identity:
            continue
        was = record.data_fingerprint
        if was is not None and _differs(workshop, evaluation.dataset, evaluation.split, was):
            changed.append(f"data of the cross-evaluation (split '{evaluation.split}' of '{evaluation.dataset}')")
        elif record.reading not in (None, workshop.reading(evaluation.dataset)):
            changed.append(f"classes or reading of '{evaluation.dataset}'")
    return changed


def _differs(workshop: Workshop, name: str, split: str, was: str) -> bool:
    if workshop.fingerprint(name, split) == was:
        return False
    return reread_fingerprint(workshop.dataset(name)[0].samples(split), workshop.store) != was
