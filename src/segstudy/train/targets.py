"""Unsupervised domain adaptation: training that also sees images, never masks, of a target dataset.

A new method is a function and a line in ``METHODS``. Array letters: ``n`` image, ``c`` channel or class, ``h`` height,
``w`` width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Annotated, Any

import numpy as np
import torch
from lightning_fabric import Fabric
from pydantic import Field
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from segstudy.data.augment import Change
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import Feed, divide_order, stored
from segstudy.data.core import IGNORE
from segstudy.doors import Door
from segstudy.named import as_choice
from segstudy.networks.build import predict_logits
from segstudy.schema import Recipe
from segstudy.train.regime import copied
from segstudy.train.state import TrainingState

EPOCHS_APART = 100_000  # the target's order number r in training epoch e is that of epoch e * EPOCHS_APART + r
Weight = Annotated[float, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]


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
    with torch.no_grad():
        best, labels = target.predict(images).softmax(dim=1).max(dim=1)
        labels = labels.masked_fill(best < confidence, IGNORE)
    loss = F.cross_entropy(target.logits(images), labels, ignore_index=IGNORE, reduction="sum")
    counted = (labels != IGNORE).sum().clamp(min=1)
    return weight * target.ramp(ramp) * loss / counted


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


class Target:
    """The images of a target in one training: batches that follow from seed and epoch, and terms of the loss from them.

    Without ``data``, nothing is adapted. ``model`` is the network as it runs, ``at`` keeps a mean teacher.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: CachedSplit | None,
        seed: int,
        model: nn.Module,
        fabric: Fabric,
        at: TrainingState,
        epochs: int,
        folder: str = "",
    ) -> None:
        self._data, self._model, self._fabric, self._at, self._epochs = data, model, fabric, at, epochs
        self._method: Callable[..., Tensor] | None = None
        self._coming: Iterator[Tensor] = iter(())
        self._progress = 0.0
        if data is not None and (part := recipe.adaptation) is not None:
            self._method, self._options = METHODS.find(part.name, folder).function, part.own_options()
            self._feed = Feed(data, min(recipe.batch_size, len(data)), None, seed, fabric.device)
            at.teacher = {key: value.to(fabric.device) for key, value in at.teacher.items()}

    def begin_epoch(self, epoch: int, steps_done: int) -> None:
        """Begin an epoch, or go on with one after ``steps_done`` batches."""
        self._progress = epoch / self._epochs
        if self._method in (None, fourier) or self._data is None:
            return
        per_pass = len(divide_order(np.arange(len(self._data)), self._feed.batch_size))

        def forever() -> Iterator[Tensor]:
            for number in itertools.count(steps_done // per_pass):
                skip = steps_done % per_pass if number == steps_done // per_pass else 0
                for images, _ in self._feed.epoch(epoch * EPOCHS_APART + number, None, skip):
                    yield images

        self._coming = forever()

    def change(self, augmenter: Change | None) -> Any:
        """The augmentation with an exchange of target images before it; that of the recipe if the method exchanges none."""
        if self._method is not fourier or (data := self._data) is None:
            return augmenter
        read = stored(data)

        def changed(images: Tensor, labels: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
            drawn = torch.randint(len(data), (len(images),), generator=generator).numpy()
            images = fourier(images, read(drawn)[0].to(images.device), **self._options)
            return augmenter(images, labels, generator) if augmenter else (images, labels)

        return changed

    def add_to(self, loss_of: Callable[[Tensor, Tensor], Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        """The recipe's loss plus the method's term on the next target images."""
        method = self._method
        if method is None or method is fourier:
            return loss_of
        return lambda logits, labels: loss_of(logits, labels) + method(self, next(self._coming), **self._options)

    def logits(self, images: Tensor) -> Tensor:
        """The network's logits (n, c, h, w) in training, with gradients."""
        return predict_logits(self._model, images).float()

    def predict(self, images: Tensor, weights: dict[str, Tensor] | None = None) -> Tensor:
        """Logits (n, c, h, w) as in evaluation, of the network or with other ``weights``."""
        model = self._model
        modes = {module: module.training for module in model.modules()}
        model.eval()
        try:
            with self._fabric.autocast():
                bare = _bare(model)
                if weights is None:
                    return predict_logits(bare, images).float()
                return predict_logits(lambda x: functional_call(bare, weights, (x,)), images).float()  # type: ignore[arg-type]
        finally:
            for module, training in modes.items():
                module.training = training

    def average(self, decay: float) -> dict[str, Tensor]:
        """The moving average of the network's weights, moved on by one step; it is part of a checkpoint."""
        now = copied(_bare(self._model))
        if not self._at.teacher:
            self._at.teacher = now
        for key, kept in self._at.teacher.items():
            if kept.is_floating_point():
                kept.lerp_(now[key], 1 - decay)
            else:
                kept.copy_(now[key])
        return self._at.teacher

    def ramp(self, share: float) -> float:
        """A factor that rises from exp(-5) to 1 over the first ``share`` of the epochs (Laine and Aila 2017)."""
        left = 1 - min(1.0, self._progress / share) if share else 0.0
        return math.exp(-5 * left * left)


def _bare(model: nn.Module) -> nn.Module:
    found = getattr(model, "module", model)
    assert isinstance(found, nn.Module)
    return found
