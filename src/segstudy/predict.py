"""Masks and overlays for new images, from a finished run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import nn

from segstudy.arrays import Labels
from segstudy.data.cache.batches import normalise
from segstudy.data.core import IMAGE_SUFFIXES, Dataset, read_rgb
from segstudy.data.quality.sheets import overlay
from segstudy.errors import DataError, StoreError, listing
from segstudy.evaluate import save_labels
from segstudy.files import read_yaml
from segstudy.networks.build import build_network, load_network, place, predict_logits, read_state, resize_logits
from segstudy.plan import Run
from segstudy.store import RunFolder
from segstudy.train.loop import make_fabric


def predict_images(run: Run, folder: RunFolder, inputs: Sequence[Path], target: Path) -> list[Path]:
    """Write ``<name>.png`` (class indices with the dataset's palette) and ``<name>-overlay.jpg`` for every image.

    Parameters
    ----------
    run, folder
        A run whose training is finished.
    inputs
        Images, or folders of images.
    target
        Folder to write into.

    Returns
    -------
    list of Path
        The masks, at each image's own size.

    Raises
    ------
    DataError
        For a missing or unreadable image and for two images of one name.
    StoreError
        When ``target`` cannot be written.

    """
    images = _find_images(inputs)
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{target}: cannot be made a folder ({error.strerror}); choose another --to") from None
    record = read_yaml(folder.config)
    palette = tuple((int(r), int(g), int(b)) for r, g, b in record["palette"])
    dataset = Dataset("", tuple(record["classes"]), palette, {}, labels_of=_no_labels)
    fabric = make_fabric(run.config.recipe)
    bare = run.config.model.model_copy(update={"weights": "none"})
    network = build_network(bare, len(dataset.classes), seed=0, study_folder=run.config.folder)
    load_network(network, read_state(folder.best), str(folder.best))
    model = fabric.setup(place(network, fabric.device).eval())
    written = []
    for path in images:
        image = read_rgb(path)
        labels = predict_labels(model, image, run.config.recipe.resized_px, fabric.device)
        mask = target / f"{path.stem}.png"
        save_labels(mask, labels, dataset)
        overlay(image, labels, palette).save(target / f"{path.stem}-overlay.jpg", quality=92)
        written.append(mask)
    return written


def predict_labels(model: nn.Module, image: Image.Image, resized_px: int | None, device: torch.device) -> Labels:
    """Labels (h, w) of one image at its own size: resized as in training, logits brought back bilinearly.

    With ``resized_px`` None the network is given the image as it is, as networks trained on crops are in scoring.
    """
    small = np.asarray(image.resize((resized_px, resized_px), Image.Resampling.BILINEAR) if resized_px else image)
    with torch.inference_mode():
        logits = predict_logits(model, normalise(torch.from_numpy(small.copy())[None].to(device)))
        full = resize_logits(logits, image.height, image.width)
        return full[0].argmax(dim=0).to(torch.uint8).cpu().numpy()


def _find_images(inputs: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in inputs:
        if path.is_dir():
            inside = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not inside:
                raise DataError(f"{path}: holds no images")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path}: no such image or folder")
    stems = [path.stem for path in found]
    if twice := sorted({stem for stem in stems if stems.count(stem) > 1}):
        raise DataError(f"several images are named {listing(twice)}, so their masks would overwrite each other")
    return found


def _no_labels(sample: object) -> Labels:
    raise AssertionError("new images have no masks")
