"""Masks and overlays for new images, from a finished run."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from segstudy.arrays import Labels
from segstudy.data.cache.batches import normalise
from segstudy.data.core import Dataset, read_rgb
from segstudy.data.quality.pairing import list_images
from segstudy.data.quality.sheets import overlay
from segstudy.errors import DataError, SpecError, StoreError, and_more, listing
from segstudy.evaluate import ARGMAX, EVALUATION_BATCH, save_labels
from segstudy.launch.decide import known_decision, meaning
from segstudy.networks.build import predict_logits, resize_logits
from segstudy.networks.decision import Decision
from segstudy.networks.inference import prepare, scored_network
from segstudy.plan import Run
from segstudy.store import RunFolder
from segstudy.train.loop import make_fabric

MAX_PROBLEMS = 10  # that a message names


@dataclass(frozen=True)
class Predicted:
    """What was written: ``masks`` and ``overlays`` in one order; ``left_out`` says what of the inputs was not read."""

    masks: tuple[Path, ...]
    overlays: tuple[Path, ...]
    left_out: tuple[str, ...] = ()


def overlays_beside(masks: Path) -> Path:
    """Where overlays go by default: a folder of their own, since a folder of masks holds nothing but masks.

    >>> overlays_beside(Path("out/masks")).as_posix()
    'out/masks-overlays'
    """
    whole = masks.resolve()
    return whole.with_name(f"{whole.name}-overlays") if not masks.name else masks.with_name(f"{masks.name}-overlays")


def predict_images(
    run: Run, folder: RunFolder, inputs: Sequence[Path], target: Path, overlays: Path | None = None
) -> Predicted:
    """Write a mask ``<name>.png`` (class indices with the dataset's palette) and an overlay ``<name>.jpg`` for every image.

    An image is decoded as images of a dataset are: its pixels as stored, whatever its orientation tag says.

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

    Raises
    ------
    DataError
        For a missing image and two images of one name, before anything is written; for images that cannot be read, after
        all others were predicted.
    StoreError
        When a folder cannot be written.

    """
    images, left_out = _find_images(inputs)
    overlays = overlays or overlays_beside(target)
    _make_folders(target, overlays)
    predictor = open_predictor(run, folder, images.values())
    dataset = predictor.dataset
    masks, drawn, problems = [], [], []
    for name, path in images.items():
        try:
            image = read_rgb(path)
        except DataError as error:
            problems.append(str(error))
            continue
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
    return Predicted(tuple(masks), tuple(drawn), tuple(left_out))


@dataclass(frozen=True)
class Predictor:
    """A finished run's network, ready for new images; ``dataset`` has its classes and their colours."""

    dataset: Dataset
    model: nn.Module
    resized_px: int | None
    device: torch.device
    table: NDArray[np.int64]
    decision: Decision

    def predict(self, image: Image.Image) -> Labels:
        """Labels (h, w) of one RGB image at its own size."""
        return predict_labels(self.model, image, self.resized_px, self.device, self.table, self.decision)


def open_predictor(run: Run, folder: RunFolder, images: Collection[Path] = ()) -> Predictor:
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


def _readable(images: Collection[Path], resized_px: int | None, device: torch.device) -> Callable[[], Iterator[Tensor]]:
    """Gives the images that can be read, in the batches in which a split is scored; what cannot be is reported later."""

    def each() -> Iterator[Tensor]:
        waiting: list[Tensor] = []
        for path in images:
            with contextlib.suppress(DataError):
                waiting.append(_as_input(read_rgb(path), resized_px, device))
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
    resized_px: int | None,
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


def _as_input(image: Image.Image, resized_px: int | None, device: torch.device) -> Tensor:
    small = np.asarray(image.resize((resized_px, resized_px), Image.Resampling.BILINEAR) if resized_px else image)
    return normalise(torch.from_numpy(small.copy())[None].to(device))


def _find_images(inputs: Sequence[Path]) -> tuple[Mapping[str, Path], list[str]]:
    """Images by the name of their mask, a path below the folder that was given; and what was left out."""
    found: dict[str, Path] = {}
    left_out: list[str] = []
    twice: set[str] = set()
    for path in inputs:
        if path.is_dir():
            listed = list_images(path)
            files = listed.images
            twice.update(fault.sample for fault in listed.faults if fault.kind in ("same-name", "case"))
            left_out += [f"{path}: {fault.message}" for fault in listed.faults if fault.kind == "left-out"]
        elif path.is_file():
            files = {path.stem: path}
        else:
            raise DataError(f"{path}: no such image or folder")
        known = {name.casefold() for name in found}
        twice.update(name for name in files if name.casefold() in known)
        found.update(files)
    if twice:
        raise DataError(f"several images are named {listing(sorted(twice))}, so their masks would overwrite each other")
    return found, left_out


def _no_labels(sample: object) -> Labels:
    raise AssertionError("new images have no masks")
