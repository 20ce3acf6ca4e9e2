"""One run, from wherever it stands: train, measure its cost, evaluate, seal; each step is skipped if it is done."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import nn

from segstudy.cost import measure_cost
from segstudy.counts.countset import read_counts
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import Shard
from segstudy.errors import StoreError
from segstudy.evaluate import count_split, images_of
from segstudy.files import (
    SUMS,
    building,
    file_sha256,
    read_sums,
    sweep,
    write_arrays,
    write_bytes,
    write_json,
    write_sums,
    write_yaml,
)
from segstudy.launch.changes import changed_inputs
from segstudy.launch.decide import decide
from segstudy.launch.inputs import check_siblings, environment, refuse_changes, run_record
from segstudy.launch.obtain import obtain
from segstudy.launch.workshop import Evaluation, Workshop
from segstudy.measures import OVERALL, merge
from segstudy.networks.build import build_network, load_network, read_checkpoint, read_state
from segstudy.networks.contestants import ContestantNetwork, open_contestant
from segstudy.networks.inference import Passes, bare_network, check_inference, prepare
from segstudy.plan import IMPORTED, Run
from segstudy.records import NOT_TRAINED, EvaluationRecord, RunRecord
from segstudy.store import HeldError, RunFolder, read_evaluation_record
from segstudy.tracking import Tracked
from segstudy.train.state import drop_checkpoints, safetensors_of
from segstudy.train.team import make_fabric, ordered

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def do_run(workshop: Workshop, run: Run, folder: RunFolder) -> None:
    """One run from wherever it stands: train, measure its cost, evaluate, seal. The caller holds its claim."""
    sweep(folder.path)
    damaged = folder.damaged()
    _check_kept(workshop, folder, damaged)
    if folder.decision.name in damaged:  # it is fitted again
        folder.decision.unlink(missing_ok=True)
    fabric = make_fabric(run.config.recipe, team=workshop.team)
    network = make_network(workshop, run)
    check_inference(network, run.config.inference)
    (folder.path / SUMS).unlink(missing_ok=True)
    if (tracking := workshop.progress.tracking) is not None:
        tracking.begin(Tracked(workshop.study.name, run.experiment, run.seed, run.identity, run.config.values()))
    if folder.trained:
        drop_checkpoints(folder)
        record = folder.record()
        check_siblings(workshop, run, record.weights_sha256)
        refuse_changes(folder, changed_inputs(workshop, run, record))
    else:
        obtain(workshop, run, folder, network, fabric)
    if not isinstance(network, ContestantNetwork):
        load_network(network, read_state(folder.best), str(folder.best))
    if not _has_cost(folder) or folder.cost.name in damaged:
        _measure(run, folder, network, fabric)
    for evaluation in workshop.evaluations(run):
        evaluate_run(workshop, run, folder, network, evaluation, fabric, damaged)
    if workshop.stop.claim_lost:
        raise HeldError(f"{folder.path}: another process has taken this run over while this one was suspended")
    _drop_foreign_counts(folder)
    folder.failure.unlink(missing_ok=True)
    write_sums(folder.path)
    folder.check_results()
    for note in tracking.end(_scores(run, folder)) if tracking is not None else ():
        workshop.progress.say(f"  {note}")


def _scores(run: Run, folder: RunFolder) -> dict[str, float]:
    """The overall scores of a run, ``dataset/measure`` -> value."""
    sets = [read_counts(path, run.name) for path in folder.standing(run.identity, run.scored_on, held=False).counts]
    return {
        f"{one.about.test_data}/{measure.key}": float(measure.function(merge(one.counts[measure.counts])))
        for one in sets
        for measure in OVERALL
    }


def _has_cost(folder: RunFolder) -> bool:
    try:
        return folder.read_cost() is not None
    except StoreError:
        return False  # damaged: it is measured again


def _check_kept(workshop: Workshop, folder: RunFolder, damaged: Sequence[str]) -> None:
    """Say what of a run is damaged; what can be made again is, what cannot is a :class:`StoreError`."""
    if not folder.config.is_file():
        if (aside := folder.empty()) is not None:
            workshop.progress.say(f"  note: results without a run.yaml were found; they are kept as {aside.name}")
        return
    lost = [name for name in damaged if name in (folder.config.name, folder.metrics.name)]
    if lost:
        raise StoreError(
            f"{folder.path}: {' and '.join(lost)} changed since the run was finished, and cannot be made again without "
            "training; restore a copy, or repeat the command with --replace to archive this run and train it again"
        )
    record = folder.record()
    known = record.best_sha256 or read_sums(folder.path).get(folder.best.name)
    if folder.trained and known is not None and file_sha256(folder.best) != known:
        if record.imported_from is not None:
            folder.check_best()
        workshop.progress.say(f"  note: {folder.best.name} is damaged; the run is trained again")
        folder.best.unlink()
    if folder.trained and _metrics_lost(folder, record):
        workshop.progress.say(f"  note: {folder.metrics.name} is lost or damaged; the run is trained again")
        folder.best.unlink()


def _metrics_lost(folder: RunFolder, record: RunRecord) -> bool:
    """Whether the records of the epochs are not those that training left; False where no sum of them is known."""
    with contextlib.suppress(StoreError):
        return record.metrics_sha256 is not None and file_sha256(folder.metrics) != record.metrics_sha256
    return True


def _measure(run: Run, folder: RunFolder, network: nn.Module, fabric: Fabric) -> None:
    """Write what a prediction costs, with all its passes; adaptation is done once and does not count."""
    plain = run.config.inference.model_copy(update={"adaptation": "none"})
    model = prepare(network, plain, lambda: iter(()), fabric)
    counted = model if isinstance(model, Passes) else network
    side = getattr(network, "size", None) or run.config.recipe.trained_px
    cost = measure_cost(model, counted, side, folder.read_metrics(), fabric)
    own = {} if run.config.evaluate is None else {"precision": folder.record().precision}
    write_json(folder.cost, {**cost.model_dump(mode="json"), **own})


def _drop_foreign_counts(folder: RunFolder) -> None:
    """Remove counts that are not of this run's weights, left over from a network that was trained again."""
    weights, identity = file_sha256(folder.best), folder.record().identity
    for path in sorted((folder.path / "evaluations").glob("*.npz")):
        found = read_evaluation_record(path)
        if found is None or found.identity != identity or found.weights_sha256 not in (None, weights):
            path.unlink()
            shutil.rmtree(folder.path / "predictions" / path.stem, ignore_errors=True)


def make_network(workshop: Workshop, run: Run) -> nn.Module:
    """The run's network with its initial weights; weights that a finished training will replace are not loaded."""
    model, (dataset, _) = run.config.model, workshop.dataset(run.config.dataset)
    if run.config.evaluate is not None:
        return open_contestant(*workshop.contestant(run), run.config.folder)
    if run.config.ensemble or workshop.store.run(run.experiment, run.seed).trained:
        return bare_network(run.config, len(dataset.classes))
    weights = workshop.weights_file(model)
    return build_network(model, len(dataset.classes), run.seed, weights, run.config.folder)


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
    dataset, _ = workshop.dataset(run.config.dataset)
    network = bare_network(run.config, len(dataset.classes))
    load_network(network, read_state(checkpoint), str(checkpoint))
    plain = {key: value for key, value in read_checkpoint(checkpoint).items() if isinstance(value, int | float | str)}
    stored = {key: value.item() if isinstance(value, np.generic) else value for key, value in plain.items()}
    origin = {"file": checkpoint.name, "sha256": file_sha256(checkpoint), **stored}
    with folder.lock():
        content = safetensors_of(network.state_dict(), {"imported_from": checkpoint.name})
        write_bytes(folder.best, content)
        digest = hashlib.sha256(content).hexdigest()
        write_yaml(folder.config, run_record(workshop, run, imported_from=origin, best_sha256=digest).plain())


def evaluate_run(
    workshop: Workshop,
    run: Run,
    folder: RunFolder,
    network: nn.Module,
    evaluation: Evaluation,
    fabric: Fabric,
    damaged: Sequence[str] = (),
) -> None:
    """Counts and predicted masks of one run on one split, unless they are there, and whole."""
    record = folder.record()
    names = (evaluation.dataset, evaluation.split, evaluation.evaluation_hash)
    if (path := folder.find_counts(record, *names)) is not None:
        if path.relative_to(folder.path).as_posix() not in damaged:
            return
        workshop.progress.say(f"  note: {path.name} is damaged; it is scored again")
    config = run.config
    data = workshop.to_score(config, evaluation.dataset, evaluation.split)
    workshop.progress.task(f"scoring on {evaluation.dataset} {evaluation.split}", len(data))
    pictures = folder.predictions(evaluation.dataset, evaluation.split)
    shutil.rmtree(pictures, ignore_errors=True)
    model = prepare(network, config.inference, images_of(data, fabric.device), fabric, config.folder)
    places = [(each.dataset, each.split) for each in workshop.evaluations(run)]
    number = places.index((evaluation.dataset, evaluation.split))
    shard = Shard(fabric.global_rank, fabric.world_size)
    decision = decide(workshop, run, folder, network, fabric)
    arguments: dict[str, Any] = {"table": evaluation.table, "progress": workshop.progress, "decision": decision}
    with (
        building(pictures) as target,
        _kept(workshop, folder, evaluation) as kept,
        ordered(fabric, workshop.stop, "score", run.name, number, str(target), kept and str(kept)),
    ):
        arguments |= {"predictions": target, "probabilities": kept, "shard": shard}
        counts = count_split(model, data, fabric.device, config.resolution, workshop.study.scoring, **arguments)
    arrays = {**counts, "ids": np.array([sample.id for sample in data.samples])}
    if any(sample.group for sample in data.samples):
        arrays["groups"] = np.array([sample.group for sample in data.samples])
    write_arrays(
        folder.evaluation(evaluation.dataset, evaluation.split),
        arrays,
        _record_of(workshop, run, folder, evaluation, data).plain(),
    )


@contextlib.contextmanager
def _kept(workshop: Workshop, folder: RunFolder, evaluation: Evaluation) -> Iterator[Path | None]:
    """The folder that probabilities are written into, where the study keeps them; it replaces the former one as a whole."""
    target = folder.probabilities(evaluation.dataset, evaluation.split)
    shutil.rmtree(target, ignore_errors=True)
    if not workshop.study.keep_probabilities:
        yield None
        return
    with building(target) as being_built:
        yield being_built


def _record_of(
    workshop: Workshop, run: Run, folder: RunFolder, evaluation: Evaluation, data: CachedSplit
) -> EvaluationRecord:
    """The metadata of counts: the run, the data, how they were read, and the weights that were scored."""
    record, config = folder.record(), run.config
    _, own_roles = workshop.dataset(config.dataset)
    chosen = IMPORTED if record.imported_from else f"{config.dataset}/{own_roles.select}"
    chosen = chosen if config.evaluate is None else NOT_TRAINED
    at_own_size = config.evaluate is not None and config.resolution == "native"
    return EvaluationRecord(
        identity=run.identity,
        experiment=run.experiment,
        seed=run.seed,
        train_data=config.dataset if config.evaluate is None else NOT_TRAINED,
        test_data=evaluation.dataset,
        split=evaluation.split,
        selected_on=chosen,
        resolution=config.resolution,
        classes=data.dataset.classes,
        palette=data.dataset.palette,
        evaluation_hash=evaluation.evaluation_hash,
        scoring=workshop.study.scoring.model_dump(),
        input_size=None if at_own_size else config.recipe.input_size,
        crop_px=config.recipe.crop_px,
        inference=config.predicts,
        data_fingerprint=data.fingerprint,
        reading=workshop.reading(evaluation.dataset),
        weights_sha256=file_sha256(folder.best),
        environment=environment(workshop.team.size),
    )
