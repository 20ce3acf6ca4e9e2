"""How a network becomes a file for another runtime, with what is needed to use it in the file's metadata.

Array letters: ``n`` image, ``c`` class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import logging
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from segstudy.errors import SpecError, WeightsError
from segstudy.networks.build import STRIDE, build_network, load_network, read_state
from segstudy.networks.foreign import load_runtime, need, read_metadata, reason
from segstudy.networks.inference import Ensemble, Passes
from segstudy.schema import Inference, Model
from segstudy.sizes import Size, height_width

Metadata = Mapping[str, str]
INPUT, OUTPUT = "images", "logits"  # names of the tensors in every file


@dataclass(frozen=True)
class Sizes:
    """Which images a file takes: of one height and width, or of any; any number of them, or one at a time."""

    side: Size | None = None
    batch: int | None = None

    def __str__(self) -> str:
        height, width = height_width(self.side) if self.side is not None else (0, 0)
        size = "of any size" if self.side is None else f"of {height} x {width} pixels"
        return f"any number of images {size}" if self.batch is None else f"one image {size} at a time"


class Sized(nn.Module):
    """A network that takes images of any size: padded inside to a multiple of 32, logits cut to the size of the images.

    The same as :func:`~segstudy.networks.build.predict_logits`, in a form that exporters can follow for any size: they know
    no remainders, and a slice ties the file to sizes that are multiples of 32, or to those that are none.
    """

    any_size = True

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, c, h, w) of normalised images (n, 3, h, w)."""
        height, width = images.shape[-2:]
        down, right = ((side + STRIDE - 1) // STRIDE * STRIDE - side for side in (height, width))
        logits: Tensor = self.network(F.pad(images, (0, right, 0, down)))
        return F.pad(logits, (0, -right, 0, -down))


class Runner(nn.Module):
    """A network file behind the interface of a network in PyTorch."""

    any_size = True

    def __init__(self, run: Callable[[Any], Any]) -> None:
        super().__init__()
        self.run = run

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, c, h, w) of normalised images (n, 3, h, w)."""
        return torch.from_numpy(self.run(images.numpy()))


def whole_network(network: nn.Module, inference: Inference) -> nn.Module:
    """The network with its passes, on the CPU in float32, for images of any size; it gives logits, so it decides nothing."""
    network = network.to("cpu", torch.float32, memory_format=torch.contiguous_format).eval()  # type: ignore[call-overload]
    passes = inference.model_copy(update={"adaptation": "none", "temperature": 1.0, "threshold": None})
    if passes != Inference():
        return Passes(network, passes).eval()
    return network if getattr(network, "any_size", False) else Sized(network).eval()


def _save_onnx(program: Any, path: Path, metadata: Metadata) -> None:
    made: Any = torch.onnx.export(program, dynamo=True, verbose=False, input_names=[INPUT], output_names=[OUTPUT])
    made.model.metadata_props.update(metadata)
    made.save(str(path))


def _save_torch_export(program: Any, path: Path, metadata: Metadata) -> None:
    torch.export.save(program, path, extra_files={"segstudy.json": json.dumps(dict(metadata), indent=2)})


def _save_openvino(program: Any, path: Path, metadata: Metadata) -> None:
    ov = importlib.import_module("openvino")
    model = ov.convert_model(program)
    model.inputs[0].get_tensor().set_names({INPUT})
    model.outputs[0].get_tensor().set_names({OUTPUT})
    for key, value in metadata.items():
        model.set_rt_info(value, ["segstudy", key])
    ov.save_model(model, str(path), compress_to_fp16=False)


@dataclass(frozen=True)
class Format:
    """One kind of file: its name on disk, what runs it (see :mod:`segstudy.networks.foreign`), what writes it, what that needs."""

    file: str
    runtime: str
    save: Callable[[Any, Path, Metadata], None]
    needs: tuple[tuple[str, str, str], ...] = ()  # module, package, extra


# Kinds of files that run without segmentation-models-pytorch.
FORMATS = {
    "onnx": Format(
        "model.onnx",
        "onnx",
        _save_onnx,
        tuple((name, name, "onnx") for name in ("onnx", "onnxscript", "onnxruntime")),
    ),
    "torch-export": Format("model.pt2", "torch_export", _save_torch_export),
    "openvino": Format("model.xml", "openvino", _save_openvino, (("openvino", "openvino", "openvino"),)),
}


def check_packages(kind: str) -> None:
    """Raise :class:`WeightsError` with how to install what a kind of file needs, if that is missing."""
    for module, package, extra in FORMATS[kind].needs if kind in FORMATS else ():
        need(module, package, extra)


def save_file(kind: str, network: nn.Module, path: Path, sizes: Sizes, side: Size, metadata: Metadata) -> Runner:
    """Write a network to a file and load it again with its own runtime.

    Parameters
    ----------
    kind
        One of ``FORMATS``.
    network
        From :func:`whole_network`.
    path
        The file.
    sizes
        Which images the file shall take.
    side
        Size of the images that the network is traced with, pixels.
    metadata
        Written into the file.

    Raises
    ------
    WeightsError
        If a package is missing, or the network cannot be written so, with the exporter's reason.

    """
    form = FORMATS[kind]
    free = torch.export.Dim.DYNAMIC
    dynamic = {} if sizes.batch else {0: free}
    dynamic |= {} if sizes.side else {2: free, 3: free}
    example = torch.zeros(sizes.batch or 2, 3, *height_width(side))
    try:
        with _silence():
            program = torch.export.export(network, (example,), dynamic_shapes=(dynamic or None,), strict=False)
            form.save(program, path, metadata)
    except Exception as error:  # exporters raise anything
        raise WeightsError(f"cannot be exported for {sizes} ({reason(error)})") from None
    return Runner(load_runtime(form.runtime, path, layout="nchw"))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keep exporters' notes about their own workings off the terminal."""
    kept = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(kept)


def save_weights(network: nn.Module, path: Path, metadata: Metadata) -> None:
    """Write all tensors of a network to a ``.safetensors`` file."""
    tensors = {name: tensor.detach().clone().contiguous() for name, tensor in network.state_dict().items()}
    save = importlib.import_module("safetensors.torch").save
    path.write_bytes(save(tensors, metadata={"format": "pt", **metadata}))


def read_weights(path: Path, study_folder: str = "") -> nn.Module:
    """Build the network that the metadata of a ``.safetensors`` file describe, and load its tensors.

    Raises
    ------
    WeightsError
        If the file is not one that :func:`save_weights` wrote, or is damaged.

    """
    metadata = read_metadata(path)
    try:
        model = Model.model_validate_json(metadata["model"])
        classes, members = json.loads(metadata["classes"]), int(metadata["members"])
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{path}: does not say which network it is ({reason(error)})") from None
    networks = [build_network(model, len(classes), 0, study_folder=study_folder) for _ in range(members or 1)]
    network = Ensemble(networks) if members else networks[0]
    load_network(network, read_state(path), str(path))
    return network


def save_pretrained(network: nn.Module, folder: Path, metadata: Metadata, run_name: str) -> None:
    """Write ``config.json`` and ``model.safetensors`` as ``segmentation_models_pytorch.from_pretrained`` reads them.

    The library's own model card is not kept: it gives every network the licence of the library.
    """
    if not hasattr(network, "save_pretrained"):
        raise SpecError(
            f"{run_name}: only networks of segmentation-models-pytorch can be written in its format; export it to onnx, "
            "torch-export, openvino or safetensors instead"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network.save_pretrained(folder)  # type: ignore[operator]
    (folder / "README.md").unlink(missing_ok=True)
    save_weights(network, folder / "model.safetensors", metadata)
