"""The regime of a recipe apart from loss and optimiser: budget, rates, frozen parts, averaged weights, early stopping.

Everything here follows from the recipe, the step and :class:`~segstudy.train.state.TrainingState`, so an interrupted run goes
on with the same numbers.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from segstudy.data.cache.batches import divide_order
from segstudy.errors import SpecError
from segstudy.schema import Recipe, loss_terms
from segstudy.train.optimizers import make_optimizer
from segstudy.train.schedules import rate_factor
from segstudy.train.state import TrainingState


@dataclass(frozen=True)
class Budget:
    """How long a run trains: epochs begun, steps of a whole epoch, steps in all; the last epoch may be cut short."""

    epochs: int
    epoch_steps: int
    steps: int

    def steps_in(self, epoch: int) -> int:
        """Steps of one epoch, from 0."""
        return min(self.epoch_steps, self.steps - epoch * self.epoch_steps)


def budget_of(recipe: Recipe, num_images: int, least: int = 2) -> Budget:
    """The recipe's budget for a training split of ``num_images``; ``least`` is that of :class:`~segstudy.data.cache.batches.Shard`.

    >>> budget_of(Recipe(batch_size=4, iterations=7), 10)
    Budget(epochs=3, epoch_steps=3, steps=7)
    """
    epoch_steps = len(divide_order(np.arange(num_images), recipe.batch_size, least))
    if recipe.iterations is None:
        return Budget(recipe.epochs, epoch_steps, recipe.epochs * epoch_steps)
    return Budget(-(-recipe.iterations // epoch_steps), epoch_steps, recipe.iterations)


def learning_rate(recipe: Recipe, budget: Budget, epoch: int, step: int, folder: str = "") -> float:
    """The decoder's learning rate at ``step`` of ``epoch``, both from 0; ``folder`` is where the study file lies.

    The schedule counts epochs or steps. Over ``warmup_epochs``, the rate rises in equal parts to the schedule's.
    """
    at, total, warm = epoch, budget.epochs, recipe.warmup_epochs
    if recipe.schedule_by == "step":
        at, total = epoch * budget.epoch_steps + step, budget.steps
        warm *= budget.epoch_steps
    return recipe.optimizer.lr * rate_factor(recipe.schedule, at, total, folder) * min(1.0, (at + 1) / (warm + 1))


def check_regime(network: nn.Module, recipe: Recipe, num_classes: int) -> None:
    """Refuse a recipe that cannot train ``network``, before a run begins.

    Raises
    ------
    SpecError
        When the network has no encoder of its own, or the number of class weights is not that of the classes.

    """
    if recipe.frozen_encoder or recipe.encoder_rate != 1:
        _encoder(network, recipe)
    for name, _, options in loss_terms(recipe.loss):
        given = options.get("class_weights")
        if isinstance(given, list) and len(given) != num_classes:
            raise SpecError(
                f"recipe.loss.class_weights of {name}: {len(given)} weights for {num_classes} classes; give one per class"
            )


def _encoder(network: nn.Module, recipe: Recipe) -> nn.Module:
    encoder = getattr(network, "encoder", None)
    if not isinstance(encoder, nn.Module) or next(encoder.parameters(), None) is None:
        key = "frozen_encoder" if recipe.frozen_encoder else "encoder_rate"
        raise SpecError(
            f"recipe.{key}: the network {type(network).__name__} has no module named 'encoder'; remove the key, or "
            "give the network that attribute"
        )
    return encoder


def optimizer_of(network: nn.Module, recipe: Recipe, folder: str = "") -> torch.optim.Optimizer:
    """The recipe's optimiser over the weights that are trained; each group holds its ``share`` of the learning rate."""
    if not recipe.frozen_encoder and recipe.encoder_rate == 1:
        return make_optimizer(recipe.optimizer, network.parameters(), folder)
    inner = list(_encoder(network, recipe).parameters())
    for parameter in inner:
        parameter.requires_grad_(not recipe.frozen_encoder)
    ids = set(map(id, inner))
    groups: list[dict[str, Any]] = [{"params": [each for each in network.parameters() if id(each) not in ids]}]
    if not recipe.frozen_encoder:
        groups.append({"params": inner, "share": recipe.encoder_rate})
    return make_optimizer(recipe.optimizer, groups, folder)


@dataclass(frozen=True)
class Regime:
    """The rules of one training, applied to its network and optimiser at every step."""

    recipe: Recipe
    budget: Budget
    network: nn.Module
    optimizer: torch.optim.Optimizer
    at: TrainingState
    folder: str = ""

    def begin_epoch(self) -> None:
        """Bring the network into the mode of training: what is frozen keeps its batch statistics."""
        self.network.train()
        if self.recipe.frozen_encoder:
            _encoder(self.network, self.recipe).eval()
        if self.recipe.frozen_statistics:
            for module in self.network.modules():
                if isinstance(module, nn.modules.batchnorm._BatchNorm):
                    module.eval()

    def begin_step(self, epoch: int, step: int) -> float:
        """Set the learning rates of a step; returns the decoder's."""
        rate = learning_rate(self.recipe, self.budget, epoch, step, self.folder)
        for group in self.optimizer.param_groups:
            own = rate * group.get("share", 1.0)
            if isinstance(group["lr"], Tensor):  # read by a recorded step, see segstudy.train.replay
                group["lr"].fill_(own)
            else:
                group["lr"] = own
        return rate

    def end_step(self, epoch: int, step: int) -> None:
        """Move the averaged weights towards the network's, faster in the first steps as these begin at random."""
        if self.recipe.ema is None:
            return
        done = epoch * self.budget.epoch_steps + step + 1
        pull = 1 - min(self.recipe.ema, (1 + done) / (10 + done))
        pairs = [(self.at.averaged[key], value) for key, value in self.network.state_dict().items()]
        moved = [pair for pair in pairs if pair[1].is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_([kept for kept, _ in moved], [value for _, value in moved], pull)
            for kept, value in pairs:
                if not value.is_floating_point():
                    kept.copy_(value)

    def begin(self, device: torch.device) -> None:
        """Begin the average with the initial weights, or go on with that of a checkpoint."""
        if self.recipe.ema is not None:
            kept = self.at.averaged or copied(self.network)
            self.at.averaged = {key: value.to(device) for key, value in kept.items()}

    @contextlib.contextmanager
    def scored_weights(self) -> Iterator[None]:
        """Give the network the weights that are scored and saved: their average, if one is kept."""
        if not self.at.averaged:
            yield
            return
        own = copied(self.network)
        self.network.load_state_dict(self.at.averaged)
        try:
            yield
        finally:
            self.network.load_state_dict(own)

    @property
    def ended(self) -> bool:
        """Whether ``patience`` epochs have passed without a better one."""
        patience = self.recipe.patience
        return patience is not None and self.at.epoch - self.at.best_epoch >= patience


def copied(network: nn.Module) -> dict[str, Tensor]:
    """A copy of everything that a network holds."""
    return {key: value.detach().clone() for key, value in network.state_dict().items()}
