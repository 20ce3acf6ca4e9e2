"""Every reported image with what each network made of it: the data and files of the page's image browser.

Pictures are next to the page and are written only if they are missing or changed. Masks are written as grey levels, a
class index a level; the browser colours them, so one file serves classes, toggles and errors.

Array letters: ``n`` image, ``c`` class, ``e`` experiment.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segstudy import measures
from segstudy.arrays import Labels
from segstudy.comparison import Side
from segstudy.counts.countset import CountSet
from segstudy.data.cache.arrays import KeptPart, find_part, parts_of
from segstudy.data.core import Dataset, Sample, load_pair
from segstudy.data.load import read_dataset
from segstudy.errors import SegstudyError
from segstudy.folds import in_fold
from segstudy.report.figure import ERROR_COLOURS
from segstudy.report.frames import ReportData
from segstudy.report.table import visible
from segstudy.spec import find_path
from segstudy.store import Store

FOLDER = "images"
OURS = re.compile(r".+-[0-9a-f]{8}")  # folders of pictures that this module wrote
MOST_VALUES = 400_000  # scores of classes of images; where there are more, the browser has scores of images only
QUALITY = 88


def background_of(classes: Sequence[str]) -> int | None:
    """The class that is not an object, by its name; None where a dataset has none."""
    return next((k for k, name in enumerate(classes) if name.casefold() == "background"), None)


class StoredPart(NamedTuple):
    """What the store calls the dataset and the split of an image, and the folder of a network's masks of them."""

    dataset: str
    split: str
    masks: Path


def stored_parts(store: Store, one: CountSet) -> dict[str, StoredPart]:
    """Where the store keeps each image of an evaluation, by the image's id: over folds, with its fold's network."""
    test, split = str(one.about.test_data), str(one.about.split)
    if one.folds is None:
        part = StoredPart(test, split, store.run(one.experiment, one.seed).predictions(test, split))
        return dict.fromkeys(one.ids, part)
    parts = {}
    for fold in set(one.folds):
        dataset, folder = in_fold(test, fold), store.run(in_fold(one.experiment, fold), one.seed).path / "predictions"
        masks = next(iter(sorted(folder.glob(f"{dataset}-*"))), folder / dataset)
        parts[fold] = StoredPart(dataset, masks.name.removeprefix(f"{dataset}-"), masks)
    return {name: parts[fold] for name, fold in zip(one.ids, one.folds, strict=True)}


@dataclass(frozen=True)
class Gallery:
    """The networks that were scored on one split with the same classes; the first seed of each is shown."""

    data: ReportData
    train: str
    test: str
    split: str
    sides: tuple[Side, ...]

    @property
    def first(self) -> CountSet:
        """The set that names images and classes, images in the order of their names."""
        return self.sides[0].first

    @property
    def title(self) -> str:
        """The dataset and split of the images."""
        return f"{self.test} {self.split}" + ("" if self.train == self.test else f", trained on {self.train}")

    @property
    def anchor(self) -> str:
        """The anchor of its browser on the page; the names of datasets hold no colon."""
        return f"browser-{self.train}:{self.test}:{self.split.replace(' ', '-')}"

    @cached_property
    def folder(self) -> str:
        """The folder of its pictures below the report's, named after the images' contents."""
        about = self.first.about
        content = f"{about.data_fingerprint}|{about.resolution}|{about.input_size}|{'|'.join(self.first.ids)}"
        return f"{FOLDER}/{self.test}-{self.split.replace(' ', '-')}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"

    @cached_property
    def files(self) -> list[str]:
        """A name for each image's files; ids may hold what no file's name can."""
        return [hashlib.sha256(name.encode()).hexdigest()[:16] for name in self.first.ids]

    @cached_property
    def predicted(self) -> dict[str, list[Path | None]]:
        """The predicted mask of every image, of the networks that have any; None where there is none."""
        found = {side.name: [path if path.is_file() else None for path in self._masks(side)] for side in self.sides}
        return {name: paths for name, paths in found.items() if any(paths)}

    def _masks(self, side: Side) -> list[Path]:
        """The paths of the predicted masks: over folds, each with the network of its fold."""
        parts = stored_parts(self.data.results.store, side.first)
        return [parts[name].masks / f"{name}.png" for name in side.first.ids]

    def nothing(self, side: Side) -> list[int]:
        """Images in which a network found nothing but background."""
        if (background := background_of(self.first.classes)) is None:
            return []
        pixels = side.first.confusion.sum(axis=1)
        found = np.flatnonzero((pixels.sum(axis=1) == pixels[:, background]) & (pixels.sum(axis=1) > 0))
        return [int(k) for k in found]

    def network_folder(self, side: Side) -> str:
        """The folder of a network's masks."""
        return f"{self.folder}/{side.name}-seed{side.first.seed}"

    def scores(self) -> NDArray[np.float64]:
        """mIoU of every image, (e, n)."""
        return np.array([measures.mean_iou(side.first.confusion) for side in self.sides])

    def plain(self) -> dict[str, Any]:
        """All that the browser needs, as plain data; unknown numbers are None."""
        scores, first = self.scores(), self.first
        small = len(self.sides) * first.support.size <= MOST_VALUES
        by_class = [_plain(measures.iou(side.first.confusion), 3) for side in self.sides] if small else []
        networks = [
            {"name": side.name, "label": self.data.called[side.name], "folder": self.network_folder(side)}
            | {"seed": side.first.seed, "masks": side.name in self.predicted, "nothing": self.nothing(side)}
            | {"absent": [k for k, path in enumerate(self.predicted.get(side.name, [])) if path is None]}
            for side in self.sides
        ]
        spread = np.nanmax(scores, axis=0, initial=0) - np.nanmin(scores, axis=0, initial=1)
        return {
            "folder": self.folder,
            "classes": [visible(name) for name in first.classes],
            "background": background_of(first.classes),
            "errors": {kind: f"rgb({' '.join(map(str, colour))})" for kind, colour in ERROR_COLOURS.items()},
            "palette": [list(colour) for colour in first.about.palette],
            "networks": networks,
            "ids": [visible(name) for name in first.ids],
            "files": self.files,
            "groups": list(first.groups or ()),
            "scores": _plain(scores, 4),
            "iou": by_class,
            "pixels": first.support.tolist(),
            "disagreement": _plain(np.maximum(spread, 0), 4),
            "influence": [
                {"name": f"{self.data.called[a]} − {self.data.called[b]}", "values": _plain(values, 6)}
                for (a, b), values in influences(self)
            ],
        }

    def order(self) -> list[int]:
        """Images by how much they decide a verdict, then from the worst of the first network on."""
        worst = np.nan_to_num(self.scores()[0], nan=2.0)
        strongest = np.max([np.abs(values) for _, values in influences(self)] or [np.zeros(len(worst))], axis=0)
        return [int(k) for k in np.lexsort((worst, -strongest))]

    def write(self, report: Path) -> None:
        """Write the pictures that are missing or changed below ``report``."""
        if not self.predicted:
            return
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as threads:
            for side in self.sides:
                target = report / self.network_folder(side)
                pairs = zip(self.predicted.get(side.name, []), self.files, strict=False)
                tasks = [(path, target / f"{file}.png") for path, file in pairs if path is not None]
                if tasks:
                    target.mkdir(parents=True, exist_ok=True)
                    list(threads.map(lambda task: _grey(*task), tasks))
            missing = [
                (name, report / self.folder / file)
                for name, file in zip(self.first.ids, self.files, strict=True)
                if not ((report / self.folder / file).with_suffix(".webp").is_file())
            ]
            if missing:
                source = _Pairs(self)
                list(threads.map(lambda one: source.write(*one), missing))

    def written(self, report: Path) -> dict[str, list[int]]:
        """Images whose picture could not be written: neither the dataset nor the cache holds it."""
        folder = report / self.folder
        return {"lost": [k for k, file in enumerate(self.files) if not (folder / f"{file}.webp").is_file()]}

    def _best(self) -> int:
        """The place of the network with the best score among those scored alike."""
        measure = self.data.results.primary
        scores = [float(side.mean(measure)[0]) * (1 if measure.higher_is_better else -1) for side in self.sides]
        ranks = [
            (side.name not in self.data.apart, np.nan_to_num(one, nan=-np.inf))
            for side, one in zip(self.sides, scores, strict=True)
        ]
        return ranks.index(max(ranks))

    def inline(self, report: Path, count: int) -> dict[str, str]:
        """The files of ``count`` images as data URIs by path: the worst of the best network, then those in :meth:`order`."""
        found = {}
        worst = int(np.nan_to_num(self.scores()[self._best()], nan=2.0).argmin())
        for k in list(dict.fromkeys([worst, *self.order()]))[:count]:
            folders = [self.network_folder(side) for side in self.sides if side.name in self.predicted]
            paths = [f"{self.folder}/{self.files[k]}{end}" for end in (".webp", ".png")]
            for path in [*paths, *(f"{folder}/{self.files[k]}.png" for folder in folders)]:
                if (report / path).is_file():
                    content = base64.b64encode((report / path).read_bytes()).decode()
                    found[path] = f"data:image/{path.rsplit('.', 1)[1]};base64,{content}"
        return found


class _Pairs:
    """Images with their true labels: of the dataset where it is at hand, else from the cache."""

    def __init__(self, gallery: Gallery) -> None:
        self.gallery, results = gallery, gallery.data.results
        self.dataset, self.samples = _samples(gallery)
        about = gallery.first.about
        size = None if about.crop_px else about.input_size
        parts = (*reversed(parts_of(size, native_labels=True)), "images")
        self.stored = stored_parts(results.store, gallery.first)
        self.kept: dict[StoredPart, dict[str, KeptPart]] = {}
        for stored in set(self.stored.values()):
            ids = [name for name in gallery.first.ids if self.stored[name] == stored]
            kept = {part: find_part(results.store, stored.dataset, stored.split, part, ids) for part in parts}
            self.kept[stored] = {part: found for part, found in kept.items() if found is not None}

    def write(self, name: str, target: Path) -> None:
        """``target`` with .webp and .png; nothing where the image is not at hand, or its mask is not the one scored."""
        found = self._of_dataset(name) or self._of_cache(name)
        if found is None:
            return
        image, labels = found
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels).save(target.with_suffix(".png"), compress_level=3)
        partial = target.with_suffix(".part")
        image.save(partial, "WEBP", quality=QUALITY, method=0)
        partial.replace(target.with_suffix(".webp"))

    def _of_dataset(self, name: str) -> tuple[Image.Image, Labels] | None:
        sample = self.samples.get(name)
        if sample is None or self.dataset is None:
            return None
        try:
            image, labels = load_pair(self.dataset, sample)
        except SegstudyError:
            return None
        counted = self.gallery.first.support[self.gallery.first.ids.index(name)]
        native = self.gallery.first.about.resolution == "native"
        shown = np.bincount(labels[labels < len(counted)].ravel(), minlength=len(counted))
        same = bool((shown == counted).all()) if native else bool(((shown > 0) >= (counted > 0)).all())
        return (image, labels) if same else None

    def _of_cache(self, name: str) -> tuple[Image.Image, Labels] | None:
        kept = self.kept[self.stored[name]]
        images, labels = (
            next((kept[part] for part in (array, *kept) if part in kept and array in kept[part].arrays), None)
            for array in ("images", "labels")
        )
        if images is None or labels is None:
            return None
        return Image.fromarray(np.asarray(images.read("images", name))), np.asarray(labels.read("labels", name))


def _samples(gallery: Gallery) -> tuple[Dataset | None, dict[str, Sample]]:
    """The dataset and its samples by id, where it can be read."""
    plan, store = gallery.data.plan, gallery.data.results.store
    entry = plan.study.entry(gallery.test)
    try:
        if entry.synthetic is not None:
            root = store.data / entry.root
        else:
            root = find_path(entry.root, f"data.{gallery.test}.root", gallery.data.data_root, plan.study.folder)
        dataset = read_dataset(gallery.test, root, entry, plan.study.folder)
    except SegstudyError:
        return None, {}
    return dataset, {sample.id: sample for sample in dataset.samples("all")}


def _grey(source: Path, target: Path) -> None:
    """Copy a mask whose values are class indices, with grey levels as its palette; nothing where it is unchanged."""
    try:
        stamp = source.stat().st_mtime_ns
        if target.is_file() and target.stat().st_mtime_ns == stamp:
            return
        with Image.open(source) as image:
            image.load()
            mask = Image.fromarray(np.asarray(image))
        mask.save(target, compress_level=1)
        os.utime(target, ns=(stamp, stamp))
    except (OSError, ValueError, SyntaxError):  # what Pillow raises of damaged bytes
        target.unlink(missing_ok=True)  # a mask that is not there is shown as missing


def _plain(values: NDArray[np.float64], digits: int) -> list[Any]:
    """Nested lists of rounded numbers; NaN as None."""
    known = np.isfinite(values)
    rounded = np.round(np.where(known, values, 0), digits).astype(object)
    rounded[~known] = None
    found: list[Any] = rounded.tolist()
    return found


def influences(gallery: Gallery) -> Iterator[tuple[tuple[str, str], NDArray[np.float64]]]:
    """For each comparison of the study among these networks, how far each image moves the difference in mIoU, (n,).

    Variant and base, and the difference with all images minus the difference without that one.
    """
    names = {side.name: side for side in gallery.sides}
    for name, found in gallery.data.results.comparisons.items():
        if found.difference is not None and name in names and found.b.name in names:
            moved = [_moved(names[one]) for one in (name, found.b.name)]
            yield (name, found.b.name), moved[0] - moved[1]


def _moved(side: Side) -> NDArray[np.float64]:
    """The influence of each image on the mIoU, mean over seeds, (n,)."""
    each = []
    for one in side.sets:
        total = measures.merge(one.confusion)
        each.append(measures.mean_iou(total) - measures.mean_iou(total - one.confusion))
    moved: NDArray[np.float64] = np.nan_to_num(np.mean(each, axis=0))
    return moved


def collect_galleries(data: ReportData) -> list[Gallery]:
    """A gallery for every pair of training and test data; networks that saw other images are left out."""
    groups: dict[tuple[str, str, str], list[Side]] = {}
    for side in data.results.sides.values():
        about = side.first.about
        groups.setdefault((str(side.first.home), str(about.test_data), str(about.split)), []).append(side)
    found = []
    for (train, test, split), sides in groups.items():
        like = sides[0].first
        alike = [s for s in sides if (s.first.ids, s.first.classes) == (like.ids, like.classes)]
        found.append(Gallery(data, train, test, split, tuple(alike)))
    return found


def clear_old(report: Path, used: set[str]) -> None:
    """Remove folders of pictures that no gallery of this report uses."""
    for folder in (report / FOLDER).glob("*"):
        if folder.is_dir() and OURS.fullmatch(folder.name) and f"{FOLDER}/{folder.name}" not in used:
            shutil.rmtree(folder, ignore_errors=True)
