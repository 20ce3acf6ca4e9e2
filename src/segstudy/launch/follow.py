"""The processes of a team: the leader carries out the study, the others take part in each training and each scoring."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from pathlib import Path

from segstudy.data.cache.batches import Shard
from segstudy.evaluate import count_split, images_of
from segstudy.launch.decide import decide
from segstudy.launch.obtain import training_splits
from segstudy.launch.one import make_network
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import load_network, read_state
from segstudy.networks.inference import prepare
from segstudy.plan import Plan, Run
from segstudy.schema import Recipe
from segstudy.stopping import SIGNALS, Stopped
from segstudy.store import HeldError
from segstudy.train.loop import train
from segstudy.train.team import Diverged, TeamLost, make_fabric


@contextlib.contextmanager
def leading(workshop: Workshop) -> Iterator[None]:
    """Bring the team together; when the block ends, the others end too."""
    if workshop.team.size == 1:
        yield
        return
    fabric = make_fabric(Recipe(), team=workshop.team)
    try:
        yield
    except TeamLost:  # the others cannot be reached with a request to end
        raise
    except BaseException:
        fabric.broadcast(None)
        raise
    fabric.broadcast(None)


def follow(workshop: Workshop, plan: Plan) -> None:
    """Do what the leader of the team says, until it ends. Signals are for the leader."""
    for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
        signal.signal(number, signal.SIG_IGN)
    fabric = make_fabric(Recipe(), team=workshop.team)
    runs = {run.name: run for run in plan.every_run}
    while (order := fabric.broadcast(None)) is not None:
        what, name, *rest = order
        with contextlib.suppress(Stopped, HeldError, Diverged):  # as the leader does
            {"train": _train, "score": _score}[what](workshop, runs[name], *rest)
        workshop.stop.requested, workshop.stop.claim_lost = None, False


def _train(workshop: Workshop, run: Run, origin: str) -> None:
    recipe, folder = run.config.recipe, workshop.store.run(run.experiment, run.seed)
    fabric = make_fabric(recipe, team=workshop.team)
    network, splits = make_network(workshop, run), training_splits(workshop, run)
    progress, stop = workshop.progress, workshop.stop
    train(network, *splits, recipe, run.seed, folder, fabric, progress, stop, origin, run.config.folder)


def _score(workshop: Workshop, run: Run, number: int, target: str, kept: str | None) -> None:
    folder, config = workshop.store.run(run.experiment, run.seed), run.config
    fabric, evaluation = make_fabric(config.recipe, team=workshop.team), workshop.evaluations(run)[number]
    network = make_network(workshop, run)
    if config.evaluate is None:
        load_network(network, read_state(folder.best), str(folder.best))
    data = workshop.to_score(config, evaluation.dataset, evaluation.split)
    model = prepare(network, config.inference, images_of(data, fabric.device), fabric, config.folder)
    rules, shard = workshop.study.scoring, Shard(fabric.global_rank, fabric.world_size)
    count_split(
        model,
        data,
        fabric.device,
        config.resolution,
        rules,
        evaluation.table,
        Path(target),
        shard=shard,
        decision=decide(workshop, run, folder, network, fabric),  # the leader has fitted it
        probabilities=Path(kept) if kept else None,
    )
