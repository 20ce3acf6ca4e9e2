"""Networks that are scored without training: opened, checked against what the study declares, and run on images.

Array letters: ``n`` image, ``c`` colour channel, output channel or class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

import importlib
import json
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from segstudy.contestant import FILES, NORMALISATIONS, Contestant, Normalise
from segstudy.data.cache.batches import IMAGENET_MEAN, IMAGENET_STD
from segstudy.doors import calling, import_object
from segstudy.errors import SegstudyError, SpecError, WeightsError, listing
from segstudy.files import network_sha256, read_json
from segstudy.networks.build import import_smp, predict_logits, resize_logits
from segstudy.networks.families import import_transformers, semantic_logits
from segstudy.networks.foreign import load_runtime, read_metadata, reason
from segstudy.sizes import height_width, size_of_text

SMALLEST = 1e-7  # of a probability: keeps logarithms finite
SURE = 30.0  # logit of a class that a network names without a probability

# float32 (n, c, h, w) as the network wants them -> its output, (n, c, h, w) or (n, h, w)
Run = Callable[[Tensor], Tensor]


class ContestantNetwork(nn.Module):
    """A network as it was declared, behind the interface of those that are trained here.

    ``classes`` are the names of its outputs. ``digest`` is the SHA-256 of its file or folder, empty for a callable.
    """

    any_size = True  # brings images to its own size itself
    mean: Tensor
    std: Tensor
    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        declared: Contestant,
        run: Run,
        classes: Sequence[str],
        normalise: Normalise,
        size: tuple[int, int] | None,
        module: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.declared, self.run, self.size = declared, run, size
        self.classes, self.output = tuple(classes), declared.output or "logits"
        self.module = module  # registered, so that it moves to a device and its parameters are counted
        self.scale = normalise.scale
        self.register_buffer("mean", _channels(normalise.mean), persistent=False)
        self.register_buffer("std", _channels(normalise.std), persistent=False)
        self.register_buffer("pixel_mean", _channels(IMAGENET_MEAN), persistent=False)
        self.register_buffer("pixel_std", _channels(IMAGENET_STD), persistent=False)

    def forward(self, images_nchw: Tensor) -> Tensor:
        """Logits (n, c, h, w), a channel a class, at the size of the images.

        Parameters
        ----------
        images_nchw
            float32, normalised with ImageNet's mean and standard deviation, as networks that are trained here take them.

        Raises
        ------
        WeightsError
            If the network stops, or its output has not the declared shape.

        """
        pixels = (images_nchw.float() * self.pixel_std + self.pixel_mean).mul(255).round().clamp(0, 255)
        height, width = images_nchw.shape[-2:]
        if self.size is not None and self.size != (height, width):
            pixels = _resized(pixels, *self.size)
        if self.declared.channels == "bgr":
            pixels = pixels.flip(1)
        found = self._run((pixels / self.scale - self.mean) / self.std)
        return self._logits(found, height, width)

    def _run(self, images: Tensor) -> Tensor:
        where = self.declared.words
        with calling(where, kind=WeightsError), torch.inference_mode():  # of the user's own, or another library
            given: Any = self.run(images)
        if not isinstance(given, Tensor | np.ndarray):
            raise WeightsError(f"{where}: returned {type(given).__name__}; it must return an array or a tensor")
        with calling(f"{where}, output of type {given.dtype}", kind=WeightsError):
            return torch.as_tensor(given, device=images.device)

    def _logits(self, found: Tensor, height: int, width: int) -> Tensor:
        if self.output == "labels":
            return self._named(found[:, 0] if found.ndim == 4 and found.shape[1] == 1 else found, height, width)
        one = found.ndim == 3 or (found.ndim == 4 and found.shape[1] == 1)
        if not (one and len(self.classes) == 2) and (found.ndim != 4 or found.shape[1] != len(self.classes)):
            channels = "one channel" if one else f"shape {tuple(found.shape)}"
            raise WeightsError(
                f"{self.declared.words}: its output has {channels}, but {len(self.classes)} classes are declared "
                f"({listing(self.classes)}); it must have a channel a class, or one channel for two classes"
            )
        sized = resize_logits(found[:, None] if found.ndim == 3 else found, height, width)
        if self.output == "probabilities":
            self._check_probabilities(sized, one)
            both = torch.cat([1 - sized, sized], dim=1) if one else sized
            return both.clamp(min=SMALLEST).log()
        if not one and sized.min() >= 0 and (sized.sum(dim=1) - 1).abs().max() < 1e-3:
            raise WeightsError(
                f"{self.declared.words}: its output is probabilities, not logits; set output: probabilities"
            )
        return torch.cat([torch.zeros_like(sized), sized], dim=1) if one else sized

    def _check_probabilities(self, found: Tensor, one: bool) -> None:
        low, high = found.aminmax()
        total = found.sum(dim=1)
        if low < -1e-3 or high > 1 + 1e-3 or (not one and (total - 1).abs().max() > 0.02):
            raise WeightsError(
                f"{self.declared.words}: its output is not probabilities (values from {low:.3g} to {high:.3g}"
                + ("" if one else f", sums over classes from {total.min():.3g} to {total.max():.3g}")
                + "); if it gives logits, set output: logits"
            )

    def _named(self, labels: Tensor, height: int, width: int) -> Tensor:
        if labels.ndim != 3:
            raise WeightsError(f"{self.declared.words}: labels must have shape (n, h, w), not {tuple(labels.shape)}")
        sized = F.interpolate(labels[:, None].float(), (height, width), mode="nearest-exact")[:, 0]
        whole = sized.round().long()
        if (sized != whole).any() or whole.min() < 0 or whole.max() >= len(self.classes):
            raise WeightsError(
                f"{self.declared.words}: labels must be whole numbers from 0 to {len(self.classes) - 1}, one for each of "
                f"{listing(self.classes)}; given {sized.min():g} to {sized.max():g}"
            )
        return SURE * F.one_hot(whole, len(self.classes)).permute(0, 3, 1, 2).float()


def _resized(pixels_nchw: Tensor, height: int, width: int) -> Tensor:
    """Whole pixel values resized by Pillow's bilinear filter, as all images are."""
    bytes_nhwc = pixels_nchw.permute(0, 2, 3, 1).to(torch.uint8).cpu().numpy()
    pictures = (Image.fromarray(one).resize((width, height), Image.Resampling.BILINEAR) for one in bytes_nhwc)
    return torch.from_numpy(np.stack([np.asarray(picture) for picture in pictures])).permute(0, 3, 1, 2).to(pixels_nchw)


def _channels(values: Sequence[float]) -> Tensor:
    return torch.tensor(values, dtype=torch.float32).view(1, 3, 1, 1)


def open_contestant(declared: Contestant, path: Path | None, study_folder: str = "") -> ContestantNetwork:
    """Open a network that a study declares, and call it once on an image of zeros.

    Parameters
    ----------
    declared
        What the study says of it.
    path
        Where its file or folder lies; None for a hub's name and a callable.
    study_folder
        Contains the study file, for a callable next to it.

    Raises
    ------
    SpecError, WeightsError
        If it cannot be opened, or does not fit what is declared.

    """
    if declared.kind in FILES:
        assert path is not None
        network = _of_file(declared, path)
    elif declared.kind == "hf" and is_smp_folder(name := str(path or declared.hf)):
        network = _of_smp(declared, name)
    elif declared.kind == "hf":
        network = _of_hub(declared, name)
    else:
        network = _of_callable(declared, study_folder)
    height, width = network.size or (64, 64)
    with torch.inference_mode():
        network.eval()(torch.zeros(1, 3, height, width))
    return network


def _size(declared: Contestant) -> tuple[int, int] | None:
    sides = declared.input_size
    if sides is None:
        return None
    return (sides, sides) if isinstance(sides, int) else (sides[0], sides[1])


def _normalise(declared: Contestant) -> Normalise | None:
    given = declared.normalise
    return NORMALISATIONS[given] if isinstance(given, str) else given


def _of_file(declared: Contestant, path: Path) -> ContestantNetwork:
    wanted = _size(declared)
    runtime = load_runtime(declared.kind, path, layout=declared.layout, size=wanted, output=declared.output_name)
    _, channels, height, width = runtime.shape_nchw
    if channels not in (None, 3):
        raise WeightsError(f"{path}: takes {channels} channels; only networks of RGB or BGR images are supported")
    fixed = (height, width) if height and width else None
    if wanted and fixed and wanted != fixed:
        raise SpecError(
            f"evaluate.input_size {wanted[0]} x {wanted[1]}: {path.name} takes images of {fixed[0]} x {fixed[1]} alone; "
            "remove input_size"
        )

    def run(images: Tensor) -> Tensor:
        return torch.from_numpy(runtime(images.cpu().numpy()))

    normalise, classes = _normalise(declared), declared.classes
    assert normalise is not None and classes is not None
    return ContestantNetwork(declared, run, classes, normalise, wanted or fixed)


def _of_callable(declared: Contestant, study_folder: str) -> ContestantNetwork:
    function = import_object(str(declared.python), study_folder)
    if not callable(function):
        raise SpecError(f"evaluate.python '{declared.python}': is {function!r:.60}; it must be a function or a network")
    module = function.eval() if isinstance(function, nn.Module) else None
    normalise, classes = _normalise(declared), declared.classes
    assert normalise is not None and classes is not None
    return ContestantNetwork(declared, function, classes, normalise, _size(declared), module)


def _of_hub(declared: Contestant, name: str) -> ContestantNetwork:
    """A network of transformers, from a local folder or by its name on the hub; code in a repository is never run."""
    library = import_transformers()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            config = library.AutoConfig.from_pretrained(name)
            auto = _auto_class(library, config)
            network, report = auto.from_pretrained(name, output_loading_info=True, dtype=torch.float32)
    except Exception as error:  # the hub's client and the reader of weights have many
        raise WeightsError(f"{name}: cannot be loaded as a network of transformers ({reason(error)})") from None
    if missing := [key for kind in ("missing_keys", "mismatched_keys") for key in report[kind]]:
        raise WeightsError(
            f"{name}: holds no trained values for {listing(map(str, missing), 3)}, so it cannot be scored"
        )
    given = _hub_json(name, "preprocessor_config.json")
    labels = [str(config.id2label[index]) for index in range(config.num_labels)]
    classes = declared.classes or labels
    if len(classes) != len(labels) and not (len(labels) == 1 and len(classes) == 2):
        raise SpecError(f"evaluate.classes: {len(classes)} names for {len(labels)} outputs ({listing(labels)})")
    normalise = _normalise(declared) or _hub_normalise(name, given)
    network = network.eval()

    def run(images: Tensor) -> Tensor:
        return semantic_logits(network, images)

    return ContestantNetwork(declared, run, classes, normalise, _size(declared) or _hub_size(given), network)


def is_smp_folder(name: str) -> bool:
    """Whether a folder, or a name on the hub, holds a network as segmentation-models-pytorch and ``segstudy export`` write it."""
    config = _hub_json(name, "config.json")
    return "encoder_name" in config and "model_type" not in config


def _of_smp(declared: Contestant, name: str) -> ContestantNetwork:
    """A network of segmentation-models-pytorch; what ``segstudy export`` noted with the weights need not be declared."""
    smp = import_smp()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            network = smp.from_pretrained(name).eval()
    except Exception as error:  # the hub's client, the reader of weights, and each encoder have their own
        raise WeightsError(
            f"{name}: cannot be loaded as a network of segmentation-models-pytorch ({reason(error)})"
        ) from None
    note = _weights_note(name)
    classes = declared.classes or json.loads(note.get("classes", "null"))
    normalise = _normalise(declared)
    if normalise is None and {"mean", "std"} <= note.keys():
        normalise = Normalise(mean=json.loads(note["mean"]), std=json.loads(note["std"]))
    if classes is None or normalise is None:
        lacking = "classes" if classes is None else "normalise"
        raise SpecError(f"evaluate.{lacking}: {name} does not say its {lacking}; set {lacking}")
    sides = size_of_text(note.get("input_size", "").replace(" ", ""))
    size = _size(declared) or (None if sides is None else height_width(sides))

    def run(images: Tensor) -> Tensor:
        return predict_logits(network, images)

    return ContestantNetwork(declared, run, classes, normalise, size, network)


def _weights_note(name: str) -> dict[str, str]:
    cached = _hub_file(name, "model.safetensors")
    return read_metadata(cached) if cached else {}


def _hub_file(name: str, file: str) -> Path | None:
    """A file of a local folder, or of a name on the hub, which is fetched once; None if there is none."""
    if Path(name).is_dir():
        return Path(name) / file if (Path(name) / file).is_file() else None
    try:
        hub = importlib.import_module("huggingface_hub")
        return Path(hub.hf_hub_download(name, file))
    except Exception:  # no such file, no network, no such name: the error when the network is opened says which
        return None


def _hub_json(name: str, file: str) -> dict[str, Any]:
    cached = _hub_file(name, file)
    try:
        found = read_json(cached) if cached else {}
    except SegstudyError:
        return {}
    return found if isinstance(found, dict) else {}


def _auto_class(library: Any, config: Any) -> Any:
    universal = ("mask2former", "maskformer")
    return (
        library.AutoModelForUniversalSegmentation
        if config.model_type in universal
        else library.AutoModelForSemanticSegmentation
    )


def _hub_normalise(name: str, given: dict[str, Any]) -> Normalise:
    if not given:
        raise SpecError(f"evaluate.normalise: {name} has no preprocessor_config.json; set normalise")
    plain = not given.get("do_normalize", True)
    factor = float(given.get("rescale_factor", 1 / 255)) if given.get("do_rescale", True) else 1.0
    mean, std = ([0.0] * 3, [1.0] * 3) if plain else (given["image_mean"], given["image_std"])
    return Normalise(scale=1 / factor, mean=[float(v) for v in mean], std=[float(v) for v in std])


def _hub_size(given: dict[str, Any]) -> tuple[int, int] | None:
    """Height and width to which the folder's own preprocessing resizes; None if it keeps the shape or does not say."""
    size = given.get("size") if given.get("do_resize", True) else None
    if isinstance(size, int):
        return size, size
    if isinstance(size, dict) and {"height", "width"} <= set(size):
        return int(size["height"]), int(size["width"])
    return None


def reopen_contestant(note: Any, study_folder: str = "") -> ContestantNetwork:
    """Open the network that a run scored, from the note in its folder.

    Raises
    ------
    WeightsError
        If its file is gone or is another one now.

    """
    declared, path = Contestant.model_validate(note["declared"]), note["path"] and Path(note["path"])
    if path and not path.exists():
        raise WeightsError(f"{path}: is gone; bring {declared.words} back, or run the study again with --data")
    if path and network_sha256(path) != note["sha256"]:
        raise WeightsError(f"{path}: is not what was scored; restore {declared.words}, or run the study again")
    return open_contestant(declared, path or None, study_folder)


def classes_of(declared: Contestant, path: Path | None) -> tuple[str, ...]:
    """Names of a network's outputs, without opening the network."""
    if declared.classes is not None:
        return tuple(declared.classes)
    name = str(path or declared.given)
    if is_smp_folder(name):
        if classes := json.loads(_weights_note(name).get("classes", "null")):
            return tuple(classes)
        raise SpecError(f"evaluate.classes: {name} does not say its classes; set classes")
    try:
        config = import_transformers().AutoConfig.from_pretrained(name)
    except Exception as error:
        raise WeightsError(f"{name}: cannot be loaded as a network of transformers ({reason(error)})") from None
    return tuple(str(config.id2label[index]) for index in range(config.num_labels))
