"""The gradient of a batch's loss, from the whole batch at once or from one part after the other (``recipe.accumulate``)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from segstudy.errors import SpecError
from segstudy.networks.build import predict_logits
from segstudy.schema import Recipe
from segstudy.train.team import whole_loss_inputs

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.utilities.types import Optimizable


def num_parts(num_images: int, recipe: Recipe) -> int:
    """Into how many parts a batch of ``num_images`` is divided, so that no part is larger than those of a whole batch.

    Parts of one image are avoided where whole batches have larger ones, as batch normalisation may need two images.

    >>> [num_parts(n, Recipe(batch_size=16, accumulate=4)) for n in (16, 9, 2)]
    [4, 3, 1]
    """
    batch_size, accumulate = recipe.batch_size, recipe.accumulate
    if accumulate == 1:
        return 1
    parts = min(-(-num_images * accumulate // batch_size), num_images)
    return max(min(parts, num_images // 2), 1) if 2 * accumulate <= batch_size else parts


def check_alone(recipe: Recipe, num_devices: int) -> None:
    """Refuse parts where several devices divide each batch already.

    Raises
    ------
    SpecError
        Naming both.

    """
    if recipe.accumulate > 1 and num_devices > 1:
        raise SpecError(
            f"recipe.accumulate {recipe.accumulate}: {num_devices} devices divide each batch already; train on one device, or "
            "remove recipe.accumulate and lower recipe.batch_size for the whole study"
        )


def find_gradient(
    model: nn.Module,
    network: nn.Module,
    stepper: Optimizable,
    images: Tensor,
    labels: Tensor,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    fabric: Fabric,
    parts: int,
) -> tuple[Tensor, int]:
    """Leave the gradient of the batch's loss in the parameters; returns the loss, without a gradient, and its number of images.

    ``network`` is the bare network that ``model`` runs.

    In parts, a step needs the memory of one part at a time. The logits of all parts are made first, and kept without what made
    them. They give the loss of the whole batch, whatever loss that is, and its gradient by the logits. Each part is then
    made again, with the same dropout, and its share of that gradient followed back. Batch statistics are those of each part.
    """
    if parts == 1:
        logits, labels = whole_loss_inputs(predict_logits(model, images), labels, fabric)
        loss = loss_of(logits, labels)
        stepper.zero_grad()  # type: ignore[attr-defined]
        # of a team, gradients are averaged where they add up
        fabric.backward(loss if fabric.world_size == 1 else loss * fabric.world_size)
        return loss.detach(), len(labels)
    pieces = images.tensor_split(parts)
    buffers, before = [buffer.clone() for buffer in network.buffers()], _random_state(images.device)
    with torch.no_grad():
        logits = torch.cat([predict_logits(model, piece) for piece in pieces])
        for buffer, value in zip(
            network.buffers(), buffers, strict=True
        ):  # they move once, when the parts are made again
            buffer.copy_(value)
    loss = loss_of(logits.requires_grad_(), labels)
    stepper.zero_grad()  # type: ignore[attr-defined]
    fabric.backward(loss)
    after = _random_state(images.device)
    _set_random_state(before, images.device)
    assert logits.grad is not None
    for piece, gradient in zip(pieces, logits.grad.tensor_split(parts), strict=True):
        fabric.backward(predict_logits(model, piece), gradient)
    _set_random_state(after, images.device)
    return loss.detach(), len(labels)


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return [*states, torch.cuda.get_rng_state(device)] if device.type == "cuda" else states


def _set_random_state(states: list[Tensor], device: torch.device) -> None:
    torch.set_rng_state(states[0])
    if device.type == "cuda":
        torch.cuda.set_rng_state(states[1], device)
