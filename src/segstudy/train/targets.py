"""The images of a target dataset in training: batches, predictions, a mean teacher; see :mod:`segstudy.train.methods`.

Array letters: ``n`` image, ``c`` channel or class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call

from segstudy.data.augment import Change
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import Feed, divide_order, stored
from segstudy.networks.build import predict_logits
from segstudy.schema import Recipe
from segstudy.train.methods import METHODS, fourier
from segstudy.train.regime import copied
from segstudy.train.state import TrainingState

if TYPE_CHECKING:
    from lightning_fabric import Fabric

EPOCHS_APART = 100_000  # the target's order number r in training epoch e is that of epoch e * EPOCHS_APART + r


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
