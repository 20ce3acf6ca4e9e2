"""Test-time adaptation: change a trained network by looking at images, never at masks, of the data it is scored on.

A new adaptation is a function and a line in ``ADAPTATIONS``. This module loads no torch, as study files are checked
against it. Array letters: ``n`` image, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from segstudy.doors import Door
from segstudy.errors import SpecError
from segstudy.named import as_choice

if TYPE_CHECKING:
    from torch import Tensor, nn

# Gives normalised images (n, 3, h, w) in batches, h and w multiples of 32, from the beginning whenever it is called.
Images = Callable[[], Iterator["Tensor"]]


def unadapted(network: nn.Module, images: Images) -> None:
    """Leave the network as it was trained."""


def adabn(network: nn.Module, images: Images) -> None:
    """Replace the statistics of batch normalisation by those of the images.

    Each layer's mean and variance are taken over all pixels of all images, while the layers before it normalise by the
    batch. A layer that sees one value per channel in a batch keeps its statistics.

    Source: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016.
    """
    torch = importlib.import_module("torch")
    layers = find_normalisation(network, "adabn")
    sums: dict[Any, list[Tensor]] = {}

    def add(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        values = inputs[0].detach().double()
        layer.training = values.numel() > values.shape[1]
        if layer.training:
            axes = [axis for axis in range(values.ndim) if axis != 1]
            count = torch.tensor(values.numel() / values.shape[1], device=values.device)
            own = [count, values.sum(axes), values.square().sum(axes)]
            sums[layer] = [a + b for a, b in zip(sums[layer], own, strict=True)] if layer in sums else own

    hooks = [layer.register_forward_pre_hook(add) for layer in layers]
    network.eval()
    with torch.no_grad():
        for batch in images():
            network(batch)
        for layer, (count, total, squares) in sums.items():
            mean = total / count
            layer.running_mean.copy_(mean)
            layer.running_var.copy_((squares / count - mean.square()).clamp(min=0))
    for hook in hooks:
        hook.remove()
    network.eval()


def tent(
    network: nn.Module,
    images: Images,
    *,
    lr: Annotated[float, Field(gt=0)] = 1e-3,
    passes: Annotated[int, Field(ge=1, le=100)] = 1,
) -> None:
    """Minimise the entropy of the predictions over scale and shift of batch normalisation, then apply :func:`adabn`.

    This is the offline form: the network adapts in ``passes`` over the images, with Adam, and predicts afterwards.

    Source: Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", ICLR 2021.
    """
    torch = importlib.import_module("torch")
    layers = find_normalisation(network, "tent")
    trained = [p for layer in layers for p in (layer.weight, layer.bias) if p is not None]
    if not trained:
        raise SpecError("inference.adaptation: tent: the network's batch normalisation has no scale and shift to adapt")
    wanted = {p: p.requires_grad for p in network.parameters()}
    network.eval().requires_grad_(False)
    for parameter in trained:
        parameter.requires_grad_(True)
    optimizer = torch.optim.Adam(trained, lr=lr)

    def use_batch(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        layer.training = inputs[0].numel() > inputs[0].shape[1]

    hooks = [layer.register_forward_pre_hook(use_batch) for layer in layers]
    with torch.enable_grad():
        for _ in range(passes):
            for batch in images():
                log_p = network(batch).float().log_softmax(dim=1)
                optimizer.zero_grad()
                (-(log_p.exp() * log_p).sum(dim=1).mean()).backward()
                optimizer.step()
    for hook in hooks:
        hook.remove()
    for parameter, grad in wanted.items():
        parameter.requires_grad_(grad)
    adabn(network, images)


def find_normalisation(network: nn.Module, name: str) -> list[Any]:
    """Layers of batch normalisation with statistics; raises :class:`SpecError` if there are none."""
    kind = importlib.import_module("torch.nn.modules.batchnorm")._BatchNorm
    layers = [each for each in network.modules() if isinstance(each, kind) and each.running_mean is not None]
    if not layers:
        raise SpecError(f"inference.adaptation: {name} needs batch normalisation, and this network has none")
    return layers


# What ``inference.adaptation`` may name: functions of a network and of images (see ``Images``) that change the network in
# place; further parameters are options. They are given no masks.
ADAPTATIONS = Door("adaptation", {"none": unadapted, "adabn": adabn, "tent": tent}, as_choice("adaptation", 2))
