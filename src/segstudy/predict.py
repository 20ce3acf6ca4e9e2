"""Masks and overlays for new images, from a finished run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from segstudy.arrays import Labels
from segstudy.data.cache.batches import normalise
from segstudy.data.core import Dataset, as_rgb
from segstudy.data.quality.pairing import bare_name, list_images
from segstudy.data.quality.sheets import overlay
from segstudy.data.readers import READERS, Reader
from segstudy.errors import DataError, SpecError, StoreError, and_more, listing
from segstudy.evaluate import ARGMAX, EVALUATION_BATCH, save_labels
from segstudy.launch.decide import known_decision, meaning
from segstudy.networks.build import predict_logits, resize_logits
from segstudy.networks.decision import Decision
from segstudy.networks.inference import prepare, scored_network
from segstudy.plan import Run
from segstudy.schema import Data
from segstudy.sizes import Size, height_width
from segstudy.store import RunFolder
from segstudy.study import Config
from segstudy.train.team import make_fabric

Picture = Callable[[], Image.Image]
ANY_FILES = ("folder", "arrays", "nifti")  # readers whose files are read whatever the run was trained on
DECLARED = ("scale", "bands", "page")  # options that say how images are read
MAX_PROBLEMS = 10  # that a message names


@dataclass(frozen=True)
class Predicted:
    """The files written: ``masks`` and ``overlays`` in one order.

    ``left_out`` names the inputs that were not read, ``turned`` the images whose orientation tag says to turn them: their masks
    are of the pixels as stored, as images of a dataset are read.
    """

    masks: tuple[Path, ...]
    overlays: tuple[Path, ...]
    left_out: tuple[str, ...] = ()
    turned: tuple[str, ...] = ()


def overlays_folder(masks: Path) -> Path:
    """The default folder of overlays: not that of the masks, which holds nothing but masks.

    >>> overlays_folder(Path("out/masks")).as_posix()
    'out/masks-overlays'
    """
    whole = masks.resolve()
    return whole.with_name(f"{whole.name}-overlays") if not masks.name else masks.with_name(f"{masks.name}-overlays")


def predict_images(
    run: Run,
    folder: RunFolder,
    inputs: Sequence[Path],
    target: Path,
    overlays: Path | None = None,
    declared: Mapping[str, Any] | None = None,
) -> Predicted:
    """Write a mask ``<name>.png`` (class indices with the dataset's palette) and an overlay ``<name>.jpg`` for every image.

    An image is decoded as images of a dataset are: its pixels as stored, whatever its orientation tag says. Files that hold
    several images, such as volumes, give a mask ``<name>/<number>.png`` for each.

    Parameters
    ----------
    run, folder
        A run whose training is finished.
    inputs
        Images, or folders of images. Sub-folders are read too, and the same sub-folders are written.
    target
        Folder for the masks, each at its image's own size.
    overlays
        Folder for the overlays; ``<target>-overlays`` if not given.
    declared
        ``scale``, ``bands`` and ``page`` of the images, where they are others than those of the run's training data.

    Raises
    ------
    DataError
        For a missing image and two images of one name, before anything is written; for images that cannot be read, after
        all others were predicted.
    StoreError
        When a folder cannot be written.

    """
    images, left_out = _find_images(inputs, run.config, declared or {})
    overlays = overlays or overlays_folder(target)
    _make_folders(target, overlays)
    predictor = open_predictor(run, folder, images.values())
    dataset = predictor.dataset
    masks, drawn, problems, turned = [], [], [], []
    for name, read in images.items():
        try:
            image = read()
        except DataError as error:
            problems.append(" ".join([str(error), *_flags(error)]))
            continue
        turned += [name] if image.info.get("orientation", 1) > 1 else []
        labels = predictor.predict(image)
        masks.append(target / f"{name}.png")
        drawn.append(overlays / f"{name}.jpg")
        save_labels(masks[-1], labels, dataset)
        drawn[-1].parent.mkdir(parents=True, exist_ok=True)
        overlay(image, labels, dataset.palette).save(drawn[-1], quality=92)
    if problems:
        more = [f"... {and_more(len(problems) - MAX_PROBLEMS)}"] if len(problems) > MAX_PROBLEMS else []
        text = f"{len(problems)} of {len(images)} images have no mask; the other {len(masks)} were written to {target}:"
        raise DataError("\n".join([text, *problems[:MAX_PROBLEMS], *more]))
    return Predicted(tuple(masks), tuple(drawn), tuple(left_out), tuple(turned))


@dataclass(frozen=True)
class Predictor:
    """A finished run's network, ready for new images; ``dataset`` has its classes and their colours."""

    dataset: Dataset
    model: nn.Module
    resized_px: Size | None
    device: torch.device
    table: NDArray[np.int64]
    decision: Decision

    def predict(self, image: Image.Image) -> Labels:
        """Labels (h, w) of one RGB image at its own size."""
        return predict_labels(self.model, image, self.resized_px, self.device, self.table, self.decision)


def open_predictor(run: Run, folder: RunFolder, images: Collection[Picture] = ()) -> Predictor:
    """Load a finished run's network.

    Parameters
    ----------
    run, folder
        A run whose training is finished.
    images
        What will be predicted, for a network that adapts to it.

    Raises
    ------
    SpecError
        If the network adapts to images, and none are given.
    WeightsError, StoreError
        If its weights are damaged or gone.

    """
    inference, recipe = run.config.inference, run.config.recipe
    if inference.adaptation != "none" and not images:
        raise SpecError(
            f"{run.name}: adapts its network to the images that it predicts, all at once; use segstudy predict, or a run without "
            "inference.adaptation"
        )
    record = folder.record()
    dataset = Dataset("", record.classes, record.palette, {}, labels_of=_no_labels)
    fabric = make_fabric(recipe)
    network = scored_network(run.config, folder, len(dataset.classes))
    table = meaning(network, run.config, dataset.classes)
    decision = known_decision(run.config, folder, table)
    side = recipe.resized_px if run.config.evaluate is None else None
    to_see = _readable(images, side, fabric.device)
    model = prepare(network, inference, to_see, fabric, run.config.folder)
    return Predictor(dataset, model, side, fabric.device, table, decision)


def _readable(
    images: Collection[Picture], resized_px: Size | None, device: torch.device
) -> Callable[[], Iterator[Tensor]]:
    """Gives the images that can be read, in the batches in which a split is scored; what cannot be is reported later."""

    def each() -> Iterator[Tensor]:
        waiting: list[Tensor] = []
        for read in images:
            with contextlib.suppress(DataError):
                waiting.append(_as_input(read(), resized_px, device))
            if len(waiting) == (EVALUATION_BATCH if resized_px else 1):
                yield torch.cat(waiting)
                waiting.clear()
        if waiting:
            yield torch.cat(waiting)

    return each


def _make_folders(target: Path, overlays: Path) -> None:
    if target.resolve() == overlays.resolve():
        raise StoreError(f"{target}: masks and overlays need a folder each; choose another --to or --overlays")
    for flag, each in (("--to", target), ("--overlays", overlays)):
        try:
            each.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{each}: cannot be made a folder ({error.strerror}); choose another {flag}") from None


def predict_labels(
    model: nn.Module,
    image: Image.Image,
    resized_px: Size | None,
    device: torch.device,
    table: NDArray[np.int64] | None = None,
    decision: Decision = ARGMAX,
) -> Labels:
    """Labels (h, w) of one image at its own size: resized as in training, logits brought back bilinearly.

    With ``resized_px`` None the network is given the image as it is, as networks trained on crops are in scoring. ``table``
    says which class of the dataset each output means; see :func:`segstudy.evaluate.class_table`.
    """
    with torch.inference_mode():
        logits = predict_logits(model, _as_input(image, resized_px, device))
        full = resize_logits(logits, image.height, image.width)
        best: Labels = decision.best(decision.scaled(full[0])).to(torch.uint8).cpu().numpy()
        return best if table is None else table[best].astype(np.uint8)


def _as_input(image: Image.Image, resized_px: Size | None, device: torch.device) -> Tensor:
    size = height_width(resized_px)[::-1] if resized_px else image.size
    small = np.asarray(image.resize(size, Image.Resampling.BILINEAR))
    return normalise(torch.from_numpy(small.copy())[None].to(device))


def _flags(error: DataError) -> list[str]:
    """The flags for ``segstudy predict`` that correspond to options of an entry."""
    given = {key: value if isinstance(value, list) else [value] for key, value in error.lines.items()}
    return [f"(here: --{key} {','.join(f'{v:g}' for v in value)})" for key, value in given.items()]


def _find_images(
    inputs: Sequence[Path], config: Config, declared: Mapping[str, Any]
) -> tuple[Mapping[str, Picture], list[str]]:
    """How to read each image, by the name of its mask, a path below the folder that was given; and what was left out."""
    readers = {name: READERS.find(name, config.folder) for name in dict.fromkeys((config.data.reader, *ANY_FILES))}
    suffixes = tuple(dict.fromkeys(suffix for reader in readers.values() for suffix in reader.suffixes))
    found: dict[str, Picture] = {}
    left_out: list[str] = []
    twice: set[str] = set()
    for path in inputs:
        if path.is_dir():
            listed = list_images(path, suffixes=suffixes)
            files = listed.images
            twice.update(fault.sample for fault in listed.faults if fault.kind in ("same-name", "case"))
            left_out += [f"{path}: {fault.message}" for fault in listed.faults if fault.kind == "left-out"]
        elif path.is_file():
            files = {bare_name(path.name, suffixes): path}
        else:
            raise DataError(f"{path}: no such image or folder")
        known = {name.casefold() for name in found}
        for stem, file in files.items():
            fit = [name for name, reader in readers.items() if file.name.lower().endswith(reader.suffixes)]
            reader = (fit or ["folder"])[0]
            options = _options(reader, readers[reader], config.data, declared)
            for end, read in _pictures(readers[reader], file, options).items():
                twice.update([stem + end] if (stem + end).casefold() in known else [])
                found[stem + end] = read
    if twice:
        raise DataError(f"several images are named {listing(sorted(twice))}, so their masks would overwrite each other")
    return found, left_out


def _options(name: str, reader: Reader, data: Data, declared: Mapping[str, Any]) -> Any:
    """How a reader is to read images: as it reads the training data, or as is declared."""
    given: dict[str, Any] = {}
    for key in DECLARED:
        value = getattr(data, key, None) if declared.get(key) is None else declared[key]
        given |= {key: value} if value is not None and key in reader.options.model_fields else {}
    if name != data.reader:
        return reader.options(**given)
    reader.options(**given)  # a wrong value is said by the options' own checks
    return data.model_copy(update=given)


def _pictures(reader: Reader, path: Path, options: Any) -> dict[str, Picture]:
    """The images in a file, each as 8-bit RGB; a file that cannot be opened is one image, which is an error when it is read."""

    def rgb(decode: Callable[[], Image.Image]) -> Image.Image:
        return as_rgb(path, decode())

    try:
        return {end: partial(rgb, decode) for end, decode in reader.pictures(path, options).items()}
    except DataError as error:
        return {"": partial(_refuse, error)}


def _refuse(error: DataError) -> Image.Image:
    raise error


def _no_labels(sample: object) -> Labels:
    raise AssertionError("new images have no masks")
