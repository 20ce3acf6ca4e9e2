"""Pictures: input, truth, every network's prediction and its errors, of images chosen by rule.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray
from PIL import Image

from segstudy import measures
from segstudy.arrays import Labels
from segstudy.counts.countset import CountSet
from segstudy.data.cache.arrays import KeptPart, find_part, parts_of
from segstudy.data.core import IGNORE
from segstudy.folds import is_pooled
from segstudy.report.contract import contract
from segstudy.report.figure import ERROR_COLOURS, INK, MUTED, PAPER, STYLE, WIDTH, Drawing, across, shortened
from segstudy.report.frames import ReportData
from segstudy.report.gallery import StoredPart, background_of, collect_galleries, stored_parts
from segstudy.report.section import Item, Section, Widget, not_drawn, trained_on
from segstudy.sizes import Size, height_width
from segstudy.store import Store

PERCENTILES = (10, 50, 90)
SHOWN_PX = 512  # the longer side of an image that was not resized
TITLE_LONGEST = 28  # characters of a title above a picture
PER_BAND = 5  # experiments side by side; more of them go on another figure
TITLE: dict[str, Any] = {"fontsize": 7, "fontweight": "normal", "color": INK, "pad": 3}

KINDS = " (missed: an object not predicted; false: an object that is not there)"

Pixels = NDArray[np.uint8]


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

    ``size`` is the network's input size, pixels; None for images in their own proportions.
    """

    train_data: str
    test_data: str
    split: str
    size: Size | None
    basis: str
    classes: tuple[str, ...]
    palette: NDArray[np.uint8]
    examples: tuple[Example, ...]


@dataclass(frozen=True)
class Cached:
    """A cached split, resized or (``size`` None) as it came."""

    size: Size | None
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


def open_cached(store: Store, dataset: str, split: str, size: Size | None, ids: Sequence[str]) -> Cached | None:
    """The newest cached arrays that hold ``ids``, or None when the cache has been cleared."""
    found = [find_part(store, dataset, split, part, ids) for part in parts_of(size, native_labels=False)]
    kept = [part for part in found if part is not None]
    # one part holds images and labels, or each has its own
    return Cached(size, kept[0], kept[-1]) if len(kept) == len(found) else None


def _size_of(one: CountSet) -> Size | None:
    """Size at which the network is given images; None for images at their own size."""
    return None if one.about.crop_px else one.about.input_size


def collect_pictures(data: ReportData) -> list[Pictures]:
    """Pictures of every pair of training and test data that has any; the first seed of each experiment is shown."""
    groups: dict[tuple[Any, ...], dict[str, CountSet]] = {}
    for one in data.sets:
        key = (one.home, one.about.test_data, one.about.split)
        groups.setdefault(key, {}).setdefault(one.experiment, one)
    found = (_pictures(data, list(group.values())) for group in groups.values())
    return [pictures for pictures in found if pictures is not None]


def _pictures(data: ReportData, group: list[CountSet]) -> Pictures | None:
    store, plan = data.results.store, data.plan
    basis = next((one for one in group if plan.first(one.experiment).variation is None), group[0])
    stored = {one.experiment: stored_parts(store, one) for one in group}
    shown = [one for one in group if any(part.masks.is_dir() for part in stored[one.experiment].values())]
    scores = {one.experiment: dict(zip(one.ids, _image_scores(one), strict=True)) for one in group}
    examples = []
    for percentile, name in choose_images(scores[basis.experiment]):
        part = stored[basis.experiment][name]
        cached = open_cached(store, part.dataset, part.split, _size_of(basis), [name])
        if cached is None:
            return None
        panels = [_panel(store, one, name, scores, stored[one.experiment].get(name)) for one in shown]
        examples.append(Example(name, percentile, cached.image(name), cached.truth(name), tuple(panels)))
    if not shown or not examples:
        return None
    palette, test, split = np.array(basis.about.palette, np.uint8), str(basis.about.test_data), str(basis.about.split)
    train, size = str(basis.home), _size_of(basis)
    return Pictures(train, test, split, size, basis.experiment, basis.classes, palette, tuple(examples))


def _image_scores(one: CountSet) -> list[float]:
    scores: list[float] = measures.mean_iou(one.confusion).tolist()
    return scores


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


def _panel(
    store: Store, one: CountSet, name: str, scores: dict[str, dict[str, float]], part: StoredPart | None
) -> Panel:
    """Prediction and truth at the size at which the experiment's network is given its images."""
    miou = scores[one.experiment].get(name, np.nan)
    cached = part and open_cached(store, part.dataset, part.split, _size_of(one), [name])
    if part is None or cached is None or not (path := part.masks / f"{name}.png").is_file():
        return Panel(one.experiment, None, None, miou)
    truth = cached.truth(name)
    with contextlib.suppress(OSError, ValueError, SyntaxError):  # what Pillow raises of damaged bytes
        return Panel(one.experiment, read_indices(path, truth.shape), truth, miou)
    return Panel(one.experiment, None, None, miou)  # as one that is not there


def read_indices(path: Path, shape: tuple[int, ...]) -> Labels:
    """Class indices of a palette PNG, brought to ``shape`` (h, w) with nearest neighbour where it differs."""
    with Image.open(path) as image:
        size = (shape[1], shape[0])
        small = image if image.size == size else image.resize(size, Image.Resampling.NEAREST)
        return np.asarray(small, dtype=np.uint8)


def colour_labels(labels: Pixels, palette: Pixels) -> Pixels:
    """Labels (h, w) in the dataset's colours (h, w, 3); ignored pixels are hatched grey."""
    table = np.full((256, 3), 128, np.uint8)
    table[: len(palette)] = palette
    return hatch(table[labels], labels == IGNORE)


def hatch(picture: Pixels, where: NDArray[np.bool_]) -> Pixels:
    """Light and dark diagonals over the pixels ``where``."""
    rows, columns = np.indices(where.shape)
    width = max(1, where.shape[0] // 48)
    stripes = np.where((rows + columns) // width % 2, 205, 150).astype(np.uint8)
    return np.where(where[..., None], stripes[..., None], picture)


def errors_of(truth: Labels, prediction: Labels, background: int | None) -> dict[str, NDArray[np.bool_]]:
    """Wrong pixels by kind; without a background, each of them has a wrong class. Ignored pixels are never wrong."""
    wrong = (truth != prediction) & (truth != IGNORE)
    if background is None:
        return {"wrong class": wrong}
    missed, false = wrong & (prediction == background), wrong & (truth == background)
    return {"missed": missed, "false": false, "wrong class": wrong & ~missed & ~false}


def kinds_of(classes: Sequence[str]) -> list[str]:
    """Kinds of errors that there can be between these classes."""
    if background_of(classes) is None:
        return ["wrong class"]
    return list(ERROR_COLOURS)[: 3 if len(classes) > 2 else 2]


def error_map(image: Pixels, truth: Labels, prediction: Labels, background: int | None) -> Pixels:
    """Wrong pixels in the colour of their kind over the pale grey image; ignored pixels are hatched."""
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    picture = (255 - 0.6 * (255 - grey)).astype(np.uint8)[..., None].repeat(3, axis=-1)
    for kind, where in errors_of(truth, prediction, background).items():
        picture[where] = ERROR_COLOURS[kind]
    return hatch(picture, truth == IGNORE)


def draw_pictures(slug: str, heading: str, pictures: Pictures, shown: slice, caption: str) -> Drawing:
    """A row an image: input above truth, then each experiment's prediction above its errors."""
    with matplotlib.rc_context(STYLE):
        examples = pictures.examples
        columns = 1 + len(examples[0].panels[shown])
        side = min(WIDTH / columns, 2.0)
        entries = legend_entries(pictures, shown)
        wide = max(len(str(entry.get_label())) for entry in entries) + 5
        abreast = max(1, min(across(side * columns, 8) // wide, len(entries)))
        legend = 0.2 * -(-len(entries) // abreast) + 0.1
        each = [2 * side * min(example.truth.shape[0] / example.truth.shape[1], 1.5) + 0.5 for example in examples]
        height = sum(each) + legend
        figure = Figure(figsize=(side * columns, height))
        for row, example in enumerate(examples):
            top = 1 - (sum(each[:row]) + 0.22) / height
            bottom = top - (each[row] - 0.3) / height
            grid = figure.add_gridspec(
                2, columns, left=0.005, right=0.995, top=top, bottom=bottom, wspace=0.04, hspace=0.11
            )
            axes = [[figure.add_subplot(grid[part, column]) for column in range(columns)] for part in (0, 1)]
            draw_example(axes, example, pictures, shown)
        figure.legend(handles=entries, loc="lower left", ncols=abreast, fontsize=8, handlelength=1.1, borderaxespad=0.1)
    names = ", ".join(panel.experiment for panel in examples[0].panels[shown])
    alt = f"{len(examples)} images of {pictures.test_data} with true labels, and predictions and errors of {names}."
    return Drawing(slug, heading, caption, alt, figure, 2, photographs=True)


def draw_example(axes: list[list[Axes]], example: Example, pictures: Pictures, shown: slice) -> None:
    """One image's two rows."""
    for one in (*axes[0], *axes[1]):
        one.set_axis_off()
    show(axes[0][0], example.image, f"input, {example.percentile}th percentile", smooth=True)
    show(axes[1][0], colour_labels(example.truth, pictures.palette), "truth")
    titles = shortened((panel.experiment for panel in example.panels[shown]), TITLE_LONGEST)
    for column, panel in enumerate(example.panels[shown], 1):
        title = titles[panel.experiment]
        draw_panel(axes[0][column], axes[1][column], panel, title, example.image, pictures)


def draw_panel(above: Axes, below: Axes, panel: Panel, title: str, image: Pixels, pictures: Pictures) -> None:
    """One prediction and its errors, or the words that there is none."""
    if panel.prediction is None or panel.truth is None:
        above.set_title(title, **TITLE)
        above.text(0.5, 0.5, "no prediction", ha="center", color=MUTED, transform=above.transAxes)
        return
    background = background_of(pictures.classes)
    show(above, colour_labels(panel.prediction, pictures.palette), title)
    if background is not None and (panel.prediction == background).all():
        box = {"facecolor": PAPER, "edgecolor": MUTED, "lw": 0.5, "boxstyle": "round,pad=0.3"}
        above.text(
            0.5, 0.5, "nothing predicted", ha="center", va="center", fontsize=7, transform=above.transAxes, bbox=box
        )
    if image.shape[:2] != panel.truth.shape:
        rows, columns = (np.arange(new) * old // new for new, old in zip(panel.truth.shape, image.shape, strict=False))
        image = image[rows][:, columns]
    show(below, error_map(image, panel.truth, panel.prediction, background), f"errors, mIoU {panel.miou:.3f}")


def legend_entries(pictures: Pictures, shown: slice) -> list[Patch]:
    """Colours of the classes that occur in what is shown, then of errors and, where there are any, ignored pixels."""
    truths = [example.truth for example in pictures.examples]
    maps = truths + [p.prediction for e in pictures.examples for p in e.panels[shown] if p.prediction is not None]
    found = sorted({int(label) for labels in maps for label in np.unique(labels)})
    short = shortened(pictures.classes, 30)
    entries = [
        Patch(facecolor=rgb(pictures.palette[label]), edgecolor=MUTED, lw=0.5, label=short[pictures.classes[label]])
        for label in found
        if label < len(pictures.classes)
    ]
    entries += [
        Patch(facecolor=rgb(ERROR_COLOURS[kind]), label=f"error: {kind}") for kind in kinds_of(pictures.classes)
    ]
    if any((truth == IGNORE).any() for truth in truths):
        entries.append(Patch(facecolor="#cdcdcd", edgecolor="#969696", lw=0, hatch="//////", label="ignored"))
    return entries


def rgb(colour: Sequence[int] | Pixels) -> tuple[float, float, float]:
    """A colour of 0-255 as matplotlib takes it."""
    red, green, blue = (int(value) / 255 for value in colour)
    return red, green, blue


def show(axes: Axes, picture: Pixels, title: str, smooth: bool = False) -> None:
    """A picture with a small title; labels are never blended."""
    axes.imshow(picture, interpolation="antialiased" if smooth else "nearest", aspect="equal")
    axes.set_title(title, **TITLE)


def content(data: ReportData) -> Iterator[Item]:
    """Figure 2 for every pair of training and test data, in bands of a few experiments."""
    yield from browsers(data)
    drawn = False
    for pictures in collect_pictures(data):
        drawn = True
        where, title = pictures.test_data, f"Pictures of {pictures.test_data}"
        crossed = pictures.train_data != pictures.test_data
        if crossed:
            where, title = f"{pictures.train_data}-to-{where}", f"{title}, trained on {pictures.train_data}"
        names = [panel.experiment for panel in pictures.examples[0].panels]
        caption = _caption(data, pictures, names, names if crossed else trained_on(data, pictures.test_data))
        for band, start in enumerate(range(0, len(names), PER_BAND), 1):
            name = f"pictures-{where}" + (f"-{band}" if band > 1 else "")
            yield draw_pictures(name, title, pictures, slice(start, start + PER_BAND), caption)
    if not drawn:
        yield "Not drawn: the predicted masks or the cached images are no longer in the store."


def browsers(data: ReportData) -> Iterator[Widget]:
    """The image browser of every pair of training and test data."""
    for gallery in collect_galleries(data):
        caption = (
            "Every image is a point at its own mIoU (over the classes in that image), first seed of each network; the section "
            "Runs says which experiment each network is. Choose a "
            "point or a picture to open it; in the viewer the arrow keys go through the images, 1 to 9 choose the network on "
            "the left, e shows errors, t the truth, + and − change the overlay. “Influence” is how far the image moves the "
            "difference of a comparison; “disagreement” the range of the image's scores over networks. "
            "With a class chosen, errors are about that class."
        )
        if not gallery.predicted:
            caption += " No pictures: the predicted masks are no longer in the store."
        title = f"Image browser: {gallery.title}"
        plain = gallery.plain()
        yield Widget(gallery.anchor, title, caption, "browser", plain, gallery.write, gallery.written, gallery.inline)


def _caption(data: ReportData, pictures: Pictures, names: list[str], wanted: list[str]) -> str:
    shares = ", ".join(f"{example.percentile}th ({example.id.rsplit('/', 1)[-1]})" for example in pictures.examples)
    seen = f"not resized for the network, reduced here to {SHOWN_PX} pixels at most"
    if pictures.size is not None:
        height, width = height_width(pictures.size)
        seen = f"{'squares ' if height == width else ''}as the network sees them ({width} × {height} pixels)"
    scores = data.scores_of(names, pictures.test_data).drop_duplicates("experiment")
    kinds = KINDS if background_of(pictures.classes) is not None else ""
    folds = "; each image is predicted by the network of its fold" if is_pooled(pictures.split) else ""
    return (
        f"Images at the {shares} percentile of per-image mIoU of {pictures.basis} on {pictures.test_data} "
        f"{pictures.split}, so chosen by rule, not by eye; {seen}. Below each prediction its wrong pixels"
        f"{kinds}; hatched pixels are ignored. First seed{folds}.{not_drawn(data, wanted, names)} {contract(scores, 'image')}"
    )


SECTION = Section("pictures", "Pictures", 70, content)
