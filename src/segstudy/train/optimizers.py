"""Optimisers: how a network's weights follow its gradients. A new optimiser is a function and a line in ``OPTIMIZERS``.

This module loads no torch, as study files are checked against it.
"""

from __future__ import annotations

import contextlib
import importlib
from typing import TYPE_CHECKING, Any

from segstudy.doors import Door, calling
from segstudy.errors import SpecError
from segstudy.named import as_choice
from segstudy.schema import Optimizer

if TYPE_CHECKING:
    from torch import optim


def adam(parameters: Any, recipe: Optimizer) -> Any:
    """Adam in its fused form (Kingma and Ba, ICLR 2015)."""
    make = importlib.import_module("torch").optim.Adam
    return make(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def adamw(parameters: Any, recipe: Optimizer) -> Any:
    """Adam with decoupled weight decay, fused (Loshchilov and Hutter, ICLR 2019)."""
    make = importlib.import_module("torch").optim.AdamW
    return make(parameters, recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def sgd(parameters: Any, recipe: Optimizer, *, nesterov: bool = False) -> Any:
    """Stochastic gradient descent with momentum, fused."""
    make = importlib.import_module("torch").optim.SGD
    options = {"momentum": recipe.momentum, "weight_decay": recipe.weight_decay, "nesterov": nesterov}
    return make(parameters, recipe.lr, **options, fused=True)


# What ``recipe.optimizer.name`` may name: functions of a network's parameters and the recipe's optimiser to one of torch.
# Parameters after these two are the optimiser's options.
OPTIMIZERS = Door("optimizer", {"adam": adam, "adamw": adamw, "sgd": sgd}, as_choice("optimizer", 2))


def make_optimizer(optimizer: Optimizer, parameters: Any, folder: str = "") -> optim.Optimizer:
    """The recipe's optimiser for parameters or groups of them; ``folder`` is where the study file lies.

    Raises
    ------
    SpecError
        If an optimiser of the study's own or of another package is not a ``torch.optim.Optimizer`` of the network's parameters.

    """
    torch = importlib.import_module("torch")
    function = OPTIMIZERS.find(optimizer.name, folder).function
    parameters = list(parameters)
    own = optimizer.name in OPTIMIZERS.table
    with contextlib.nullcontext() if own else calling(f"recipe.optimizer.name '{optimizer.name}'"):
        made = function(parameters, optimizer, **optimizer.own_options())
    if not isinstance(made, torch.optim.Optimizer):
        raise SpecError(
            f"recipe.optimizer.name '{optimizer.name}': returned {type(made).__name__}, not a torch.optim.Optimizer"
        )
    known = {id(one) for each in parameters for one in (each["params"] if isinstance(each, dict) else [each])}
    if not known & {id(one) for group in made.param_groups for one in group["params"]}:
        raise SpecError(f"recipe.optimizer.name '{optimizer.name}': holds none of the network's parameters")
    optimizer_of_torch: optim.Optimizer = made
    return optimizer_of_torch
