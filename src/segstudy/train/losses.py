"""Losses: what a network is trained to make small. A new loss is a function and a line in ``LOSSES``.

This module loads no torch, as study files are checked against it. Array letters: ``n`` image, ``c`` class, ``h`` height,
``w`` width.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from segstudy.doors import Door
from segstudy.errors import SegstudyError, SpecError
from segstudy.schema import LossPart, as_choice

if TYPE_CHECKING:
    from torch import Tensor

IGNORE = 255  # labels that do not count

NotNegative = Annotated[float, Field(ge=0)]


def cross_entropy(
    logits_nchw: Tensor, labels_nhw: Tensor, *, label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.0
) -> Tensor:
    """Mean cross-entropy over the pixels that count; laid out flat where torch must be deterministic.

    The two-dimensional kernel has no deterministic form on CUDA; over a flat list of pixels it has, with the same result.
    """
    torch = importlib.import_module("torch")
    options = {"ignore_index": IGNORE, "label_smoothing": label_smoothing}
    if torch.are_deterministic_algorithms_enabled():
        logits_nchw = logits_nchw.movedim(1, -1).reshape(-1, logits_nchw.shape[1])
        labels_nhw = labels_nhw.reshape(-1)
    loss: Tensor = torch.nn.functional.cross_entropy(logits_nchw, labels_nhw, **options)
    return loss


def dice(logits_nchw: Tensor, labels_nhw: Tensor, *, smooth: NotNegative = 0.0, log_loss: bool = False) -> Tensor:
    """One minus the soft Dice coefficient of each class in the batch, averaged over the classes that are there."""
    loss: Tensor = _smp_loss("DiceLoss", smooth=smooth, log_loss=log_loss)(logits_nchw, labels_nhw)
    return loss


def focal(logits_nchw: Tensor, labels_nhw: Tensor, *, gamma: NotNegative = 2.0) -> Tensor:
    """Binary cross-entropy of each class against the others, in which well-classified pixels weigh ``(1 - p) ** gamma``.

    The sigmoid of each class's logit is its probability; the mean is over pixels and classes.

    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017.
    """
    loss: Tensor = _smp_loss("FocalLoss", gamma=gamma)(logits_nchw, labels_nhw)
    return loss


@functools.cache
def _smp_loss(kind: str, **options: Any) -> Callable[[Tensor, Tensor], Tensor]:
    losses = importlib.import_module("segstudy.networks.build").import_smp().losses
    loss: Callable[[Tensor, Tensor], Tensor] = getattr(losses, kind)(mode="multiclass", ignore_index=IGNORE, **options)
    return loss


# What ``recipe.loss`` may name: functions of logits (n, c, h, w) and labels (n, h, w) in which pixels of 255 do not count,
# to one number. Parameters after these two are the loss's options.
LOSSES = Door("loss", {"cross_entropy": cross_entropy, "dice": dice, "focal": focal}, as_choice("loss", 2))


def make_loss(loss: str | LossPart, folder: str = "") -> Callable[[Tensor, Tensor], Tensor]:
    """The recipe's loss as a function of logits and labels; ``folder`` is where the study file lies.

    Where no pixel counts it is 0, as are its gradients; a mean over nothing would be NaN.

    Raises
    ------
    SegstudyError
        When called: if a loss of the user's own stops, or gives something else than one number.

    """
    torch = importlib.import_module("torch")
    name = loss if isinstance(loss, str) else loss.name
    options = {} if isinstance(loss, str) else loss.own_options()
    function = LOSSES.find(name, folder).function

    def of_counted(logits: Tensor, labels: Tensor) -> Tensor:
        value = _called(name, function, logits, labels, options) if name not in LOSSES.table else None
        value = function(logits, labels, **options) if value is None else value
        counted: Tensor = torch.where((labels != IGNORE).any(), value, torch.zeros_like(value))
        return counted

    return of_counted


def _called(name: str, function: Callable[..., Any], logits: Tensor, labels: Tensor, options: dict[str, Any]) -> Tensor:
    """Call a loss of the user's own."""
    torch = importlib.import_module("torch")
    try:
        value = function(logits, labels, **options)
    except (SegstudyError, torch.OutOfMemoryError):
        raise
    except Exception as error:
        shapes = f"logits {tuple(logits.shape)}, labels {tuple(labels.shape)}"
        raise SpecError(f"recipe.loss '{name}': stopped with {type(error).__name__}: {error} ({shapes})") from None
    if not isinstance(value, torch.Tensor) or value.numel() != 1 or not value.requires_grad:
        what = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, torch.Tensor) else type(value).__name__
        grad = " without a gradient" if isinstance(value, torch.Tensor) and not value.requires_grad else ""
        raise SpecError(f"recipe.loss '{name}': gave {what}{grad}; it must return one number computed from the logits")
    number: Tensor = value.reshape(())
    return number
