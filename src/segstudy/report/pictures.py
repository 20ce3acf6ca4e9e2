"""Which images a report shows, and their pixels: read from the cache and from predicted masks; nothing is drawn here.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from segstudy.arrays import Labels
from segstudy.data.cache.arrays import KeptPart, find_part, parts_of
from segstudy.report.contrasts import Frames, image_frame
from segstudy.report.results import Evaluated
from segstudy.store import Store

PERCENTILES = (10, 50, 90)
SHOWN_PX = 512  # the longer side of an image that was not resized


@dataclass(frozen=True)
class Panel:
    """One experiment's prediction of one image with the truth at the same size, both ``uint8`` (h, w), or None."""

    experiment: str
    prediction: Labels | None
    truth: Labels | None
    miou: float


@dataclass(frozen=True)
class Example:
    """One image, ``uint8`` RGB (h, w, 3), its true labels (h, w), and what each experiment made of it."""

    id: str
    percentile: int
    image: NDArray[np.uint8]
    truth: Labels
    panels: tuple[Panel, ...]


@dataclass(frozen=True)
class Pictures:
    """All that one figure of pictures needs; ``basis`` is the experiment whose scores chose the images.

    ``size`` is the side of the squares, pixels; None for images in their own proportions.
    """

    train_data: str
    test_data: str
    split: str
    size: int | None
    basis: str
    classes: tuple[str, ...]
    palette: NDArray[np.uint8]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Cached:
    """A cached split, resized or (``size`` None) as it came."""

    size: int | None
    images: KeptPart
    labels: KeptPart

    def image(self, name: str) -> NDArray[np.uint8]:
        """Image ``name``, RGB (h, w, 3), as it is shown."""
        return self._shown(self.images.read("images", name), Image.Resampling.LANCZOS)

    def truth(self, name: str) -> Labels:
        """Its true labels (h, w), as they are shown."""
        return self._shown(self.labels.read("labels", name), Image.Resampling.NEAREST)

    def _shown(self, array: NDArray[np.uint8], resample: Image.Resampling) -> NDArray[np.uint8]:
        scale = SHOWN_PX / max(array.shape[:2])
        if self.size is not None or scale >= 1:
            return array
        height, width = (max(1, round(side * scale)) for side in array.shape[:2])
        return np.asarray(Image.fromarray(array).resize((width, height), resample))


def open_cached(store: Store, dataset: str, split: str, size: int | None, ids: Sequence[str]) -> Cached | None:
    """The newest cached arrays that hold ``ids``, or None when the cache has been cleared."""
    found = [find_part(store, dataset, split, part, ids) for part in parts_of(size, native_labels=False)]
    kept = [part for part in found if part is not None]
    # one part holds images and labels, or each has its own
    return Cached(size, kept[0], kept[-1]) if len(kept) == len(found) else None


def _size_of(evaluated: Evaluated) -> int | None:
    """Side of the squares that the network is given; None for images at their own size."""
    return None if evaluated.meta.get("crop_px") else int(evaluated.meta["input_size"])


def collect_pictures(store: Store, frames: Frames) -> list[Pictures]:
    """Pictures of every pair of training and test data that has any; the first seed of each experiment is shown."""
    groups: dict[tuple[str, str, str], dict[str, Evaluated]] = {}
    for evaluated in frames.evaluations:
        key = (evaluated.meta["train_data"], evaluated.meta["test_data"], evaluated.meta["split"])
        groups.setdefault(key, {}).setdefault(evaluated.run.experiment, evaluated)
    images = image_frame(frames.reported)
    found = (_pictures(store, list(group.values()), images) for group in groups.values())
    return [pictures for pictures in found if pictures is not None]


def _pictures(store: Store, group: list[Evaluated], images: pd.DataFrame) -> Pictures | None:
    basis = next((e for e in group if e.run.variation is None), group[0])
    meta = basis.meta
    test, split, size = meta["test_data"], meta["split"], _size_of(basis)
    cached = open_cached(store, test, split, size, basis.ids)
    shown = [e for e in group if e.folder.predictions(test, split).is_dir()]
    if cached is None or not shown:
        return None
    scores = images[(images["test_data"] == test) & (images["split"] == split)]
    values = {(r.experiment, r.seed, r.id): float(r.value) for r in scores.itertuples()}
    own = {name: values[basis.run.experiment, basis.run.seed, name] for name in basis.ids}
    examples = []
    for percentile, name in choose_images(own):
        panels = tuple(_panel(store, e, name, values) for e in shown)
        examples.append(Example(name, percentile, cached.image(name), cached.truth(name), panels))
    palette = np.array(meta["palette"], np.uint8)
    names = basis.run.experiment
    return Pictures(meta["train_data"], test, split, size, names, basis.classes, palette, tuple(examples))


def choose_images(scores: dict[str, float]) -> list[tuple[int, str]]:
    """(percentile, id) of the images at fixed percentiles of their score, each image once; ties go by id.

    >>> choose_images({"a": 0.9, "b": 0.1, "c": 0.5})
    [(10, 'b'), (50, 'c'), (90, 'a')]
    """
    ranked = sorted((name for name, score in scores.items() if score == score), key=lambda name: (scores[name], name))
    chosen: dict[str, int] = {}
    for percentile in PERCENTILES:
        if ranked:
            chosen.setdefault(ranked[round(percentile / 100 * (len(ranked) - 1))], percentile)
    return [(percentile, name) for name, percentile in chosen.items()]


def _panel(store: Store, evaluated: Evaluated, name: str, values: dict[Any, float]) -> Panel:
    """Prediction and truth at the size at which the experiment's network is given its images."""
    test, split = evaluated.meta["test_data"], evaluated.meta["split"]
    miou = values.get((evaluated.run.experiment, evaluated.run.seed, name), np.nan)
    cached = open_cached(store, test, split, _size_of(evaluated), [name])
    path = evaluated.folder.predictions(test, split) / f"{name}.png"
    if cached is None or not path.is_file():
        return Panel(evaluated.run.experiment, None, None, miou)
    truth = cached.truth(name)
    return Panel(evaluated.run.experiment, read_indices(path, truth.shape), truth, miou)


def read_indices(path: Path, shape: tuple[int, ...]) -> Labels:
    """Class indices of a palette PNG, brought to ``shape`` (h, w) with nearest neighbour where it differs."""
    with Image.open(path) as image:
        size = (shape[1], shape[0])
        small = image if image.size == size else image.resize(size, Image.Resampling.NEAREST)
        return np.asarray(small, dtype=np.uint8)
