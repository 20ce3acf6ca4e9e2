"""Sources of a run's trained network: its own training, a run that trains the same, or the members of an ensemble."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING

from torch import nn

from segstudy.data.cache.arrays import CachedSplit
from segstudy.errors import SpecError, StoreError, listing
from segstudy.files import network_sha256, write_bytes, write_yaml
from segstudy.launch.changes import members_of, weights_of
from segstudy.launch.inputs import begin
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import load_network, read_state
from segstudy.networks.contestants import ContestantNetwork
from segstudy.networks.inference import Ensemble
from segstudy.plan import Run
from segstudy.records import RunRecord
from segstudy.store import HeldError, RunFolder
from segstudy.train import loop as training
from segstudy.train.replay import recorder_for
from segstudy.train.state import safetensors_of
from segstudy.train.team import ordered

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def obtain(workshop: Workshop, run: Run, folder: RunFolder, network: nn.Module, fabric: Fabric) -> None:
    """Leave the run's trained weights in ``folder``.

    Raises
    ------
    HeldError
        When another process is still training what is needed.
    StoreError
        When members of an ensemble are not there.

    """
    origin = begin(workshop, run, folder, fabric)
    if isinstance(network, ContestantNetwork):
        _note(workshop, run, folder)
    elif isinstance(network, Ensemble):
        _gather(workshop, run, folder, network)
    elif not run.shares or not _adopt(workshop, run, folder):
        _train(workshop, run, folder, network, fabric, origin)


def _note(workshop: Workshop, run: Run, folder: RunFolder) -> None:
    """Write down which network is scored: where it lies, the hash of its file, and what was declared of it."""
    declared, path = workshop.contestant(run)
    note = {
        "network": declared.words,
        "path": str(path) if path else None,
        "sha256": network_sha256(path) if path else None,
        "declared": declared.model_dump(mode="json", exclude_defaults=True),
    }
    content = json.dumps(note, indent=2).encode()
    write_bytes(folder.foreign, content)
    digest = hashlib.sha256(content).hexdigest()
    write_yaml(folder.config, folder.record().model_copy(update={"best_sha256": digest}).plain())


def _train(workshop: Workshop, run: Run, folder: RunFolder, network: nn.Module, fabric: Fabric, origin: str) -> None:
    recipe, study_folder = run.config.recipe, run.config.folder
    if recipe.adaptation and fabric.world_size > 1:
        raise SpecError("recipe.adaptation: trains on one device only; repeat the command without --devices")
    fit, select, report = training_splits(workshop, run)
    target = workshop.target(recipe)
    training.reset_peak_memory()
    progress, stop = workshop.progress, workshop.stop
    recorder = recorder_for(recipe, network, fabric, progress) if workshop.graphs else None
    paths = (origin, study_folder)
    with ordered(fabric, stop, "train", run.name, origin):
        training.train(
            network, fit, select, report, recipe, run.seed, folder, fabric, progress, stop, *paths, target, recorder
        )


def training_splits(workshop: Workshop, run: Run) -> tuple[CachedSplit, CachedSplit, CachedSplit]:
    """The splits that train a run, choose its epoch, and are reported."""
    config, recipe = run.config, run.config.recipe
    _, roles = workshop.dataset(config.dataset)
    fit = workshop.cached(config.dataset, roles.train, recipe.resized_px)
    # before the split that selects, which may be the same: so its files are read once for both sizes of its masks
    report = workshop.cached(config.dataset, roles.report, recipe.resized_px, native_labels=True)
    select = workshop.cached(config.dataset, roles.select, recipe.resized_px)
    return fit, select, report


def _adopt(workshop: Workshop, run: Run, folder: RunFolder) -> bool:
    """Take the network of the run that trains the same; False if there is none, so that it has to be trained here."""
    donor = workshop.store.run(run.shares, run.seed)
    name = f"{run.shares}/seed{run.seed}"
    if not donor.trained:
        if donor.locked():
            raise HeldError(f"{folder.path}: needs the network of {name}, which another process is training")
        return False
    theirs, own = donor.record(), folder.record()
    if _trained_with(theirs) != _trained_with(own):
        return False
    donor.check_best()
    content = donor.best.read_bytes()
    write_bytes(folder.metrics, donor.metrics.read_bytes() if donor.metrics.is_file() else b"")
    kept = ("class_weights", "imported_from", "precision", "weights_sha256")
    facts = {"trained_as": name, "best_sha256": hashlib.sha256(content).hexdigest()}
    write_yaml(folder.config, own.model_copy(update=facts | {key: getattr(theirs, key) for key in kept}).plain())
    write_bytes(folder.best, content)
    workshop.progress.say(f"  the network is that of {name}: only the prediction differs")
    return True


def _trained_with(record: RunRecord) -> tuple[object, ...]:
    """The inputs that determine a trained network."""
    values = {key: value for key, value in record.values.items() if not key.startswith("inference.")}
    imported = record.imported_from is not None
    data = (record.data_fingerprints, record.classes, record.readings)
    return values, *data, *(() if imported else (record.weights_sha256, record.precision))


def _gather(workshop: Workshop, run: Run, folder: RunFolder, network: Ensemble) -> None:
    """Put the members' weights into one file."""
    members = members_of(workshop, run)
    if missing := [name for name, member in members.items() if not member.trained]:
        if any(members[name].locked() for name in missing):
            raise HeldError(f"{folder.path}: needs {listing(missing)}, which another process is training")
        raise StoreError(f"needs the networks of {listing(missing)}; train these first")
    hashes = weights_of(members)
    for member, network_of_member in zip(members.values(), network.members, strict=True):
        member.check_best()
        load_network(network_of_member, read_state(member.best), str(member.best))
    content = safetensors_of(network.state_dict(), {"members": listing(members, len(members))})
    facts = {"members": hashes, "best_sha256": hashlib.sha256(content).hexdigest()}
    write_bytes(folder.metrics, b"")
    write_yaml(folder.config, folder.record().model_copy(update=facts).plain())
    write_bytes(folder.best, content)
