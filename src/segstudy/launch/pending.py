"""The work that is left of a plan, and what would stop it: checked in the store and the data before anything begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from segstudy.errors import SegstudyError, SpecError, StoreError
from segstudy.files import read_yaml
from segstudy.launch.decide import check_decision
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import build_network, predict_logits
from segstudy.networks.contestants import open_contestant
from segstudy.networks.inference import check_inference
from segstudy.plan import Plan, Run, differences
from segstudy.sizes import height_width, size_text
from segstudy.store import State, Store
from segstudy.study import Config
from segstudy.train import loop as training
from segstudy.train.regime import check_regime


@dataclass(frozen=True)
class Pending:
    """A run of a plan, where it stands, and why there is something left to do; ``reason`` is empty when there is not."""

    run: Run
    state: State
    reason: str = ""


REASONS: dict[State, str] = {
    "missing": "not begun",
    "partial": "training was interrupted",
    "trained": "not scored on everything",
    "failed": "failed before",
    "running": "another process is working on it",
}


def find_pending(store: Store, plan: Plan) -> list[Pending]:
    """Every run of ``plan`` in its order, with what is left to do.

    Results of finished runs that differ from their sums count as left to do: weights, counts and costs are made again.
    """
    return [_pending(store, run) for run in plan.runs]


def _pending(store: Store, run: Run) -> Pending:
    folder = store.run(run.experiment, run.seed)
    try:
        at = folder.standing(run.identity, run.scored_on)
    except StoreError as error:
        return Pending(run, "failed", f"damaged: {error}")
    if at.state == "stale":
        return Pending(run, at.state, f"made with other settings: {differences(run, read_yaml(folder.config))}")
    if at.state == "done" and (damaged := folder.damaged(at.record)):
        return Pending(run, "trained", f"damaged: {', '.join(damaged)}")
    return Pending(run, at.state, REASONS.get(at.state, ""))


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
    downloads them if requested.
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
    built: dict[str, nn.Module] = {}
    for run in runs:
        try:
            trained = workshop.store.run(run.experiment, run.seed).trained
            if run.config.ensemble:
                continue  # its members are runs of their own
            if run.config.evaluate is not None:
                check_inference(open_contestant(*workshop.contestant(run), run.config.folder), run.config.inference)
                if not unreadable.intersection(run.datasets):
                    _check_scoring(workshop, run)
                continue
            if run.sources and not trained:
                training.rehearse(run.config.recipe, run.config.folder)
            if trained:
                network = None
            elif (network := built.get(run.config.model.model_dump_json())) is None:
                workshop.progress.task(f"preparing {run.experiment}", 1)
                network = build_network(
                    run.config.model, 2, 0, workshop.weights_file(run.config.model), run.config.folder
                ).to("meta")
                built[run.config.model.model_dump_json()] = network
            if not unreadable.intersection(run.datasets):
                _check_scoring(workshop, run)
                if network is not None:
                    dataset, _ = workshop.dataset(run.config.dataset)
                    check_regime(network, run.config.recipe, len(dataset.classes))
                    check_batch(network, run.config, len(dataset.samples("train")))
                    check_inference(network, run.config.inference)
        except SegstudyError as error:
            note(error, f"experiments.{run.experiment}: ")
    return list(problems)


def _check_scoring(workshop: Workshop, run: Run) -> None:
    workshop.evaluations(run)
    dataset, roles = workshop.dataset(run.config.dataset)
    check_decision(run.config, len(dataset.classes), roles.select == roles.report)


def check_batch(network: nn.Module, config: Config, num_train: int) -> None:
    """Ask the network whether it trains on one image at a time, where there are such batches, or parts of them.

    Batch normalisation cannot where features shrink to a point. Nothing is computed: the network runs on the meta device.
    """
    batch_size, accumulate = config.recipe.batch_size, config.recipe.accumulate
    if min(batch_size // accumulate, num_train) > 1:
        return
    if config.recipe.frozen_statistics:
        return  # nothing is normalised over the batch
    size = config.recipe.trained_px
    try:
        predict_logits(network.train(), torch.zeros(1, 3, *height_width(size), device="meta"))
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise SpecError(
            f"{config.model.arch} cannot train on {'batches' if accumulate == 1 else 'parts'} of one image at {size_text(size)} px "
            f"with the encoder {config.model.encoder}, as its features shrink to a point there; "
            + (
                f"set recipe.accumulate to {batch_size // 2} or less"
                if accumulate > 1 and batch_size > 1
                else "set recipe.batch_size to 2 or more"
            )
            + (", with at least 2 training images" if num_train < 2 else "")
        ) from None
    except (NotImplementedError, RuntimeError):  # a layer that the meta device lacks; training would show it
        return


def stale_message(store: Store, stale: Sequence[Run]) -> str:
    """The settings of stale runs in the store, and what to do."""
    lines = [
        f"  {run.name}: {differences(run, read_yaml(store.run(run.experiment, run.seed).config))}" for run in stale
    ]
    return (
        f"{store.root}: {len(stale)} runs there were made with other settings:\n"
        + "\n".join(lines)
        + "\nChoose another --out, or repeat the command with --replace to archive them and train them again."
    )
