"""How a trained network predicts: one or several passes over an image, whole or in windows; one network or several.

Array letters: ``n`` image, ``c`` class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import copy
import importlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segstudy.errors import SpecError
from segstudy.files import read_json
from segstudy.networks.adaptation import ADAPTATIONS, Images, find_normalisation
from segstudy.networks.build import build_network, load_network, pad, place, predict_logits, read_state, resize_logits
from segstudy.networks.contestants import ContestantNetwork, reopen_contestant
from segstudy.schema import Inference
from segstudy.store import RunFolder
from segstudy.study import Config

if TYPE_CHECKING:
    from lightning_fabric import Fabric

TINY = 1e-12  # below every softmax probability in float32 that can matter: keeps logarithms finite
WINDOWS_AT_ONCE = 4


class Ensemble(nn.Module):
    """Several networks; its logits (n, c, h, w) are logarithms of the mean of their probabilities."""

    def __init__(self, members: Sequence[nn.Module]) -> None:
        super().__init__()
        self.members = nn.ModuleList(members)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Logits (n, c, h, w) of images (n, 3, h, w)."""
        return _mean([member(images_nchw) for member in self.members])


class Passes(nn.Module):
    """A network together with how it predicts, see :class:`segstudy.schema.Inference`; takes images of any size."""

    any_size = True  # no padding is needed before it

    def __init__(self, network: nn.Module, inference: Inference) -> None:
        super().__init__()
        self.network, self.inference = network, inference

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Logarithms (n, c, h, w) of mean probabilities for images (n, 3, h, w)."""
        height, width = images_nchw.shape[-2:]
        found = []
        for scale in self.inference.scales:
            size = (max(1, round(height * scale)), max(1, round(width * scale)))
            scaled = images_nchw if scale == 1 else F.interpolate(images_nchw, size, mode="bilinear", antialias=True)
            passes = [self._windows(scaled)]
            if self.inference.flip:
                passes.append(self._windows(scaled.flip(-1)).flip(-1))
            found += [one if scale == 1 else resize_logits(one, height, width) for one in passes]
        return _mean(found) if len(found) > 1 else found[0]

    def _windows(self, images: Tensor) -> Tensor:
        side = self.inference.window_px
        if side is None:
            return predict_logits(self.network, images)
        monai = importlib.import_module("monai.inferers")
        blended: Tensor = monai.sliding_window_inference(
            images,
            (side, side),
            WINDOWS_AT_ONCE,
            lambda part: predict_logits(self.network, part).float().softmax(dim=1),
            overlap=self.inference.window_overlap,
            mode="gaussian",
        )
        return blended.clamp(min=TINY).log()


def _mean(logits: Sequence[Tensor]) -> Tensor:
    total = torch.stack([one.float().softmax(dim=1) for one in logits]).mean(dim=0)
    return total.clamp(min=TINY).log()


def scored_network(config: Config, folder: RunFolder, num_classes: int) -> nn.Module:
    """The network of a finished run, with its weights.

    Raises
    ------
    WeightsError, StoreError
        If its weights are damaged, or the file of a network that was not trained here is gone or another one.

    """
    if config.evaluate is not None:
        return reopen_contestant(read_json(folder.foreign), config.folder)
    network = bare_network(config, num_classes)
    load_network(network, read_state(folder.best), str(folder.best))
    return network


def bare_network(config: Config, num_classes: int) -> nn.Module:
    """The network of an experiment with values to be replaced by trained ones; an :class:`Ensemble` for one."""
    model = config.model.model_copy(update={"weights": "none"})
    members = [build_network(model, num_classes, 0, study_folder=config.folder) for _ in config.ensemble or (0,)]
    return Ensemble(members) if config.ensemble else members[0]


def check_inference(network: nn.Module, inference: Inference) -> None:
    """Raise :class:`SpecError` for an inference that cannot be carried out: a missing package, nothing to adapt."""
    if inference.window_px is not None:
        try:
            importlib.import_module("monai.inferers")
        except ImportError as error:
            raise SpecError(
                f'inference.window_px needs the package MONAI; install it with: pip install "segstudy[monai]" ({error})'
            ) from None
    if inference.adapts_by[0] in ("adabn", "tent"):
        find_normalisation(network, inference.adapts_by[0])


class Unwrapped(nn.Module):
    """A network at a fabric's precision without its communication: processes score different numbers of images."""

    def __init__(self, network: nn.Module, fabric: Fabric) -> None:
        super().__init__()
        self.network, self.fabric = network, fabric

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, c, h, w) in float32."""
        with self.fabric.autocast():
            logits: Tensor = self.network(images)
        return logits.float()


def scoring_model(model: nn.Module | None, network: nn.Module, fabric: Fabric) -> nn.Module:
    """The module that scores images: the network as ``fabric`` has set it up, or without communication in a team."""
    if fabric.world_size > 1:
        return Unwrapped(network, fabric)
    return model if model is not None else fabric.setup(network)


def prepare(network: nn.Module, inference: Inference, images: Images, fabric: Fabric, folder: str = "") -> nn.Module:
    """The network ready to predict: adapted to ``images`` if requested, on its device, with its passes.

    Parameters
    ----------
    network
        Trained; it is not changed.
    inference
        How it predicts.
    images
        Gives normalised images (n, 3, h, w) of what will be predicted, in batches on the device.
    fabric
        Device and precision. Adaptation computes in float32.
    folder
        The folder of the study file, for an adaptation of the user's own.

    """
    network = place(network, fabric.device).eval()
    if inference.adaptation != "none":
        name, options = inference.adapts_by
        network = copy.deepcopy(network)
        with torch.random.fork_rng(devices=[]):
            ADAPTATIONS.find(name, folder).function(network, lambda: map(pad, images()), **options)
        network.eval()
    # A network that was not trained here keeps its own precision.
    model = network if isinstance(network, ContestantNetwork) else scoring_model(None, network, fabric)
    plain = inference.model_copy(update={"adaptation": "none"}) == Inference()
    return model if plain else Passes(model, inference)
