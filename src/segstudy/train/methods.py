"""Unsupervised domain adaptation: training that also sees images, never masks, of a target dataset.

A new method is a function and a line in ``METHODS``. This module loads no torch, as study files are checked against it.
Array letters: ``n`` image, ``c`` channel or class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import importlib
import math
from typing import TYPE_CHECKING, Annotated, Protocol

from pydantic import Field

from segstudy.doors import Door
from segstudy.named import as_choice
from segstudy.train.losses import IGNORE

if TYPE_CHECKING:
    from torch import Tensor

Weight = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Target(Protocol):
    """The parts of a training that a method may use; see :class:`segstudy.train.targets.Target`."""

    def logits(self, images: Tensor) -> Tensor:
        """The network's logits (n, c, h, w) in training, with gradients."""

    def predict(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Logits (n, c, h, w) as in evaluation, of the network or with other ``weights``."""

    def average(self, decay: float) -> dict[str, Tensor]:
        """The moving average of the network's weights, moved on by one step."""

    def ramp(self, share: float) -> float:
        """A factor that rises to 1 over the first ``share`` of the epochs."""


def fourier(images: Tensor, targets: Tensor, *, beta: Annotated[float, Field(gt=0, lt=0.5)] = 0.01) -> Tensor:
    """Training images with the low-frequency amplitudes of target images; masks stay valid, as phases do.

    Parameters
    ----------
    images, targets
        ``uint8`` (n, h, w, 3), a target for each image.
    beta
        Frequencies up to this share of the shorter side are exchanged.

    Returns
    -------
    Tensor
        ``uint8`` (n, h, w, 3).

    Source: Yang and Soatto, "FDA: Fourier Domain Adaptation for Semantic Segmentation", CVPR 2020.

    """
    torch = importlib.import_module("torch")
    height, width = images.shape[1:3]
    reach = math.floor(min(height, width) * beta)
    rows, columns = (torch.fft.fftfreq(side, 1 / side, device=images.device).abs() <= reach for side in (height, width))
    low = (rows[:, None] & columns)[None, :, :, None]
    own, other = (torch.fft.fft2(each.float(), dim=(1, 2)) for each in (images, targets))
    mixed = torch.where(low, torch.polar(other.abs(), own.angle()), own)
    changed: Tensor = torch.fft.ifft2(mixed, dim=(1, 2)).real.round().clamp(0, 255).to(torch.uint8)
    return changed


def self_training(
    target: Target, images: Tensor, *, confidence: Share = 0.9, weight: Weight = 1.0, ramp: Share = 0.3
) -> Tensor:
    """Cross-entropy with the network's own confident predictions as labels; others are ignored.

    The weight rises from 0 over the share ``ramp`` of the training.

    Source: Lee, "Pseudo-Label", 2013; confidence threshold as in Zou et al., ECCV 2018.
    """
    torch = importlib.import_module("torch")
    with torch.no_grad():
        best, labels = target.predict(images).softmax(dim=1).max(dim=1)
        labels = labels.masked_fill(best < confidence, IGNORE)
    loss = torch.nn.functional.cross_entropy(target.logits(images), labels, ignore_index=IGNORE, reduction="sum")
    counted = (labels != IGNORE).sum().clamp(min=1)
    term: Tensor = weight * target.ramp(ramp) * loss / counted
    return term


def mean_teacher(
    target: Target,
    images: Tensor,
    *,
    decay: Share = 0.99,
    noise: Annotated[float, Field(ge=0)] = 0.1,
    weight: Weight = 10.0,
    ramp: Share = 0.3,
) -> Tensor:
    """Squared difference between the network's probabilities and those of its moving average, each with its own noise.

    The weight rises from 0 over the share ``ramp`` of the training. The network is scored, not its average.

    Source: Tarvainen and Valpola, "Mean teachers are better role models", NeurIPS 2017; for adaptation French et al.,
    ICLR 2018.
    """
    torch = importlib.import_module("torch")
    teacher = target.average(decay)
    ours, theirs = (images + noise * torch.randn_like(images) for _ in range(2))
    with torch.no_grad():
        wanted = target.predict(theirs, teacher).softmax(dim=1)
    difference = target.logits(ours).softmax(dim=1) - wanted
    return weight * target.ramp(ramp) * difference.square().mean()


# What ``recipe.adaptation`` may name. ``fourier`` changes training images. Any other function takes a :class:`Target` and
# normalised target images (n, 3, h, w), and returns a term of the loss. Parameters after these two are options.
METHODS = Door(
    "training adaptation",
    {"fourier": fourier, "self_training": self_training, "mean_teacher": mean_teacher},
    as_choice("training adaptation", 2),
)
