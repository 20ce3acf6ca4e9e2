"""Temperature and threshold of a run: as the study gives them, or chosen on the split that selects, once for all."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import nn

from segstudy.data.core import class_table
from segstudy.errors import SpecError, StoreError
from segstudy.evaluate import images_of, select_pairs
from segstudy.files import file_sha256, read_json, write_json
from segstudy.launch.workshop import Workshop
from segstudy.networks.contestants import ContestantNetwork
from segstudy.networks.decision import Decision, fit
from segstudy.networks.inference import prepare
from segstudy.plan import Run
from segstudy.store import RunFolder
from segstudy.study import Config

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def decide(workshop: Workshop, run: Run, folder: RunFolder, network: nn.Module, fabric: Fabric) -> Decision:
    """How a run's logits become classes; what is to be fitted is fitted once and kept in the run's folder.

    Raises
    ------
    SpecError
        For what :func:`check_decision` refuses.

    """
    config = run.config
    dataset, roles = workshop.dataset(config.dataset)
    check_decision(config, len(dataset.classes), roles.select == roles.report)
    classes = meaning(network, config, dataset.classes)
    decision = given_decision(config, classes)
    if not config.inference.is_fitted:
        return decision
    weights = file_sha256(folder.best)
    if (known := read_fitted(folder.decision, weights)) is not None:
        return Decision(*known, decision.positive)
    data = workshop.to_score(config, config.dataset, roles.select)
    model = prepare(network, config.inference, images_of(data, fabric.device), fabric, config.folder)
    workshop.progress.task(f"fitting on {config.dataset} {roles.select}", len(data))
    decision = fit(
        decision,
        lambda so_far: select_pairs(model, data, fabric.device, config.resolution, so_far),
        classes,
        config.inference.temperature == "fitted",
        config.inference.threshold == "selected",
    )
    found = {"temperature": decision.temperature, "threshold": decision.threshold}
    chosen_on = {"chosen_on": f"{config.dataset}/{roles.select}", "images": len(data), "weights_sha256": weights}
    write_json(folder.decision, {**found, **chosen_on})
    return decision


def check_decision(config: Config, num_classes: int, reported_selects: bool) -> None:
    """Raise :class:`SpecError` for a threshold of more than two classes, and for a choice on the reported split."""
    inference = config.inference
    if inference.threshold is not None and num_classes != 2:
        raise SpecError(f"inference.threshold: is for two classes; '{config.dataset}' has {num_classes}")
    if inference.is_fitted and reported_selects:
        raise SpecError(
            f"inference: temperature: fitted and threshold: selected need a split that is never reported, but '{config.dataset}' "
            "chooses epochs on the reported one; set protocol: held-out"
        )


def meaning(network: nn.Module, config: Config, classes: tuple[str, ...]) -> NDArray[np.int64]:
    """The class of the experiment's own dataset that each output means."""
    if isinstance(network, ContestantNetwork):
        return class_table(network.classes, classes, network.declared.target_of(network.classes, classes))
    return np.arange(len(classes))


def given_decision(config: Config, classes: NDArray[np.int64]) -> Decision:
    """The study's own numbers; ``positive`` are the outputs that mean the second class."""
    inference = config.inference
    own = config.evaluate.threshold if config.evaluate is not None else None
    threshold = inference.threshold if isinstance(inference.threshold, float) else own
    temperature = inference.temperature if isinstance(inference.temperature, float) else 1.0
    return Decision(temperature, threshold, tuple((classes == 1).tolist()))


def known_decision(config: Config, folder: RunFolder, classes: NDArray[np.int64]) -> Decision:
    """The decision that a finished run was scored with; ``classes`` are those that its outputs mean."""
    decision = given_decision(config, classes)
    fitted = read_fitted(folder.decision, file_sha256(folder.best)) if config.inference.is_fitted else None
    return decision if fitted is None else Decision(*fitted, decision.positive)


def read_fitted(path: Path, weights: str) -> tuple[float, float | None] | None:
    """Temperature and threshold that were chosen for these weights; None if there are none, or the file is damaged."""
    with contextlib.suppress(StoreError, KeyError, TypeError, ValueError):
        if path.is_file() and (found := read_json(path))["weights_sha256"] == weights:
            threshold = found["threshold"]
            return float(found["temperature"]), None if threshold is None else float(threshold)
    return None
