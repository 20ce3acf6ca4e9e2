"""Networks of other libraries that train here: torchvision, Hugging Face transformers, MONAI.

Each function takes the number of classes and the options of ``model.options``, and draws initial values at random.

Array letters: ``n`` image, ``q`` query, ``c`` class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Literal

import torch
from torch import Tensor, nn

from segstudy.errors import SpecError, WeightsError, listing, nearest
from segstudy.networks.build import prepare_torchvision
from segstudy.networks.foreign import need, reason

CLASSIFIER = ("classifier.", "head.")  # of a network that was trained to classify images: has no place here
SMALLEST = 1e-12


class LogitsOf(nn.Module):
    """A network of another library; ``logits`` takes that network and images and gives its logits, at any size."""

    def __init__(self, network: nn.Module, logits: Callable[[nn.Module, Tensor], Tensor]) -> None:
        super().__init__()
        self.network, self.logits = network, logits

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Logits (n, c, h, w) of images (n, 3, h, w)."""
        logits, size = self.logits(self.network, images_nchw), images_nchw.shape[-2:]
        if logits.shape[-2:] == size:
            return logits
        return nn.functional.interpolate(logits, size=size, mode="bilinear", align_corners=False)

    def load_pretrained(self, state: Mapping[str, Tensor], source: str) -> None:
        """Load tensors of a pre-trained network; outputs of other classes and missing heads keep their initial values.

        Raises
        ------
        WeightsError
            If a tensor of the encoder is missing or has another shape, or a tensor is unknown.

        """
        own = self.network.state_dict()
        prefix = f"{getattr(self.network, 'base_model_prefix', '') or 'backbone'}."
        base = [key for key in own if key.startswith((prefix, "backbone."))] or list(own)
        fits = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
        missing = [key for key in base if key not in fits and not key.endswith("num_batches_tracked")]
        unknown = [key for key in state if key not in own and not key.startswith(CLASSIFIER)]
        other = [key for key in state if key in own and own[key].shape[1:] != state[key].shape[1:]]
        parts = [("missing or of another shape", missing), ("unknown", unknown), ("of another shape", other)]
        if any(keys for _, keys in parts):
            report = "; ".join(f"{len(keys)} {what} ({listing(keys, 3)})" for what, keys in parts if keys)
            raise WeightsError(
                f"{source}: does not fit the network: {report}; model.options must describe the same one"
            )
        self.network.load_state_dict({**own, **fits})


def _output(network: nn.Module, images: Tensor) -> Tensor:
    found: Tensor = network(images)
    return found


def _out(network: nn.Module, images: Tensor) -> Tensor:
    found: Tensor = network(images)["out"]
    return found


def semantic_logits(network: nn.Module, images: Tensor) -> Tensor:
    """Logits (n, c, h, w) of a network of transformers.

    Of one that predicts masks and their classes (Mask2Former, MaskFormer) they are logarithms of the masks' probabilities
    summed over queries, weighted by class and without "no object" (Cheng et al. 2022, section 3.4).
    """
    found = network(pixel_values=images)
    if getattr(found, "logits", None) is not None:
        logits: Tensor = found.logits
        return logits
    classes_nqc, masks_nqhw = found.class_queries_logits, found.masks_queries_logits
    weights = classes_nqc.float().softmax(dim=-1)[..., :-1]
    summed: Tensor = torch.einsum("nqc,nqhw->nchw", weights, masks_nqhw.float().sigmoid())
    return summed.clamp(min=SMALLEST).log()


def _torchvision(function: str, num_classes: int, imagenet: bool, **options: Any) -> nn.Module:
    prepare_torchvision()
    library = importlib.import_module("torchvision.models.segmentation")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = getattr(library, function)(
                weights=None, weights_backbone="DEFAULT" if imagenet else None, num_classes=num_classes, **options
            )
    except OSError as error:
        raise WeightsError(
            f"torchvision's ImageNet weights are not cached and could not be downloaded ({reason(error)}); leave out "
            "model.options.imagenet"
        ) from None
    return LogitsOf(network, _out)


def torchvision_deeplabv3(
    num_classes: int,
    backbone: Literal["resnet50", "resnet101", "mobilenet_v3_large"] = "resnet50",
    imagenet: bool = False,
) -> nn.Module:
    """DeepLabV3 (Chen et al. 2017) of torchvision."""
    return _torchvision(f"deeplabv3_{backbone}", num_classes, imagenet)


def torchvision_fcn(
    num_classes: int, backbone: Literal["resnet50", "resnet101"] = "resnet50", imagenet: bool = False
) -> nn.Module:
    """FCN (Long et al. 2015) of torchvision, on a dilated ResNet."""
    return _torchvision(f"fcn_{backbone}", num_classes, imagenet)


def torchvision_lraspp(num_classes: int, imagenet: bool = False) -> nn.Module:
    """Lite R-ASPP on MobileNetV3 (Howard et al. 2019) of torchvision."""
    return _torchvision("lraspp_mobilenet_v3_large", num_classes, imagenet)


def import_transformers() -> ModuleType:
    """Import transformers; raises :class:`WeightsError` with how to install it."""
    prepare_torchvision()
    library = need("transformers", "transformers", "transformers")
    library.utils.logging.set_verbosity_error()
    library.utils.logging.disable_progress_bar()
    return library


def _transformers(kind: str, num_classes: int, config: Mapping[str, Any]) -> nn.Module:
    library = import_transformers()
    made = library.AutoConfig.for_model(kind)
    if unknown := [key for key in config if not hasattr(made, key)]:
        known = [key for key in made.to_dict() if not key.startswith("_")]
        raise SpecError(f"model.options.config: {kind} has no '{unknown[0]}'{nearest(unknown[0], known)}")
    made = library.AutoConfig.for_model(kind, **{**config, "num_labels": num_classes})
    auto = (
        library.AutoModelForUniversalSegmentation if kind == "mask2former" else library.AutoModelForSemanticSegmentation
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return LogitsOf(auto.from_config(made), semantic_logits)


def huggingface_segformer(num_classes: int, config: dict[str, Any] | None = None) -> nn.Module:
    """SegFormer (Xie et al. 2021) of transformers; ``config`` are values of its ``SegformerConfig``, as in ``config.json``."""
    return _transformers("segformer", num_classes, config or {})


def huggingface_mask2former(num_classes: int, config: dict[str, Any] | None = None) -> nn.Module:
    """Mask2Former (Cheng et al. 2022) of transformers, trained by the recipe's loss of pixels."""
    return _transformers("mask2former", num_classes, config or {})


def huggingface_upernet(num_classes: int, config: dict[str, Any] | None = None) -> nn.Module:
    """UperNet (Xiao et al. 2018) of transformers."""
    return _transformers("upernet", num_classes, {"use_auxiliary_head": False, **(config or {})})


def monai_unet(
    num_classes: int,
    channels: list[int] | None = None,
    strides: list[int] | None = None,
    num_res_units: int = 2,
    dropout: float = 0.0,
) -> nn.Module:
    """U-Net with residual units (Kerfoot et al. 2018) of MONAI."""
    channels = channels or [16, 32, 64, 128, 256]
    strides = strides or [2] * (len(channels) - 1)
    network = _monai(
        "UNet", spatial_dims=2, in_channels=3, out_channels=num_classes, channels=channels, strides=strides
    )(num_res_units=num_res_units, dropout=dropout)
    return LogitsOf(network, _output)


def monai_segresnet(num_classes: int, init_filters: int = 16, dropout: float | None = None) -> nn.Module:
    """SegResNet (Myronenko 2018) of MONAI, without its variational branch."""
    make = _monai("SegResNet", spatial_dims=2, in_channels=3, out_channels=num_classes)
    return LogitsOf(make(init_filters=init_filters, dropout_prob=dropout), _output)


def monai_swinunetr(num_classes: int, feature_size: int = 24) -> nn.Module:
    """Swin UNETR (Hatamizadeh et al. 2022) of MONAI in two dimensions."""
    need("einops", "einops", "monai")
    make = _monai("SwinUNETR", spatial_dims=2, in_channels=3, out_channels=num_classes)
    return LogitsOf(make(feature_size=feature_size), _output)


def _monai(name: str, **given: Any) -> Callable[..., nn.Module]:
    library = need("monai.networks.nets", "MONAI", "monai")

    def make(**options: Any) -> nn.Module:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network: nn.Module = getattr(library, name)(**given, **options)
        return network

    return make
