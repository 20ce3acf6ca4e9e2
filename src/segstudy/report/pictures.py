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

from segstudy.errors import StoreError
from segstudy.report.contrasts import Frames, image_frame
from segstudy.report.results import Evaluated
from segstudy.store import Store, read_json

PERCENTILES = (10, 50, 90)

Labels = NDArray[np.uint8]


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
    """All that one figure of pictures needs; ``basis`` is the experiment whose scores chose the images."""

    train_data: str
    test_data: str
    split: str
    size: int
    basis: str
    classes: tuple[str, ...]
    palette: NDArray[np.uint8]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Cached:
    """A cached split: ids in order, images ``uint8`` (n, h, w, 3) and labels ``uint8`` (n, h, w), memory-mapped."""

    ids: list[str]
    images: NDArray[np.uint8]
    labels: Labels

    def index(self, name: str) -> int:
        """Where image ``name`` stands."""
        return self.ids.index(name)


def open_cached(store: Store, dataset: str, split: str, size: int, ids: Sequence[str]) -> Cached | None:
    """The newest cached arrays that hold ``ids``, or None when the cache has been cleared."""
    folders = sorted(store.cache.glob(f"{dataset}-{split}-{size}-*"), key=lambda path: path.stat().st_mtime)
    for folder in reversed(folders):
        try:
            names = read_json(folder / "samples.json")
            images, labels = (np.load(folder / name, mmap_mode="r") for name in ("images.npy", "labels.npy"))
        except (OSError, ValueError, StoreError):
            continue  # being built, or damaged: the next run builds it anew
        if set(ids) <= set(names):
            return Cached(names, images, labels)
    return None


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
    basis = next((e for e in group if e.run.comparison is None), group[0])
    meta = basis.meta
    test, split, size = meta["test_data"], meta["split"], int(meta["input_size"])
    cached = open_cached(store, test, split, size, basis.ids)
    shown = [e for e in group if e.folder.predictions(test, split).is_dir()]
    if cached is None or not shown:
        return None
    scores = images[(images["test_data"] == test) & (images["split"] == split)]
    values = {(r.experiment, r.seed, r.id): float(r.value) for r in scores.itertuples()}
    own = {name: values[basis.run.experiment, basis.run.seed, name] for name in basis.ids}
    examples = []
    for percentile, name in choose_images(own):
        at = cached.index(name)
        panels = tuple(_panel(store, e, name, values) for e in shown)
        examples.append(Example(name, percentile, np.array(cached.images[at]), np.array(cached.labels[at]), panels))
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
    """Prediction and truth at the experiment's own input size."""
    test, split = evaluated.meta["test_data"], evaluated.meta["split"]
    miou = values.get((evaluated.run.experiment, evaluated.run.seed, name), np.nan)
    cached = open_cached(store, test, split, int(evaluated.meta["input_size"]), [name])
    path = evaluated.folder.predictions(test, split) / f"{name}.png"
    if cached is None or not path.is_file():
        return Panel(evaluated.run.experiment, None, None, miou)
    truth = np.array(cached.labels[cached.index(name)])
    return Panel(evaluated.run.experiment, read_indices(path, truth.shape), truth, miou)


def read_indices(path: Path, shape: tuple[int, ...]) -> Labels:
    """Class indices of a palette PNG, brought to ``shape`` (h, w) with nearest neighbour where it differs."""
    with Image.open(path) as image:
        size = (shape[1], shape[0])
        small = image if image.size == size else image.resize(size, Image.Resampling.NEAREST)
        return np.asarray(small, dtype=np.uint8)
