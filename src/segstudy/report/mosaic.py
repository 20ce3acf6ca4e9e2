"""Figure 2: images, truth, predictions and errors side by side.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from segstudy.report.figures import INK, MUTED, STYLE, WIDTH, Drawing
from segstudy.report.pictures import Example, Panel, Pictures

IGNORE = 255
WRONG = (213, 0, 109)
PER_BAND = 5  # experiments side by side; more of them go on another figure

TITLE: dict[str, Any] = {"fontsize": 7, "fontweight": "normal", "color": INK, "pad": 3}

Pixels = NDArray[np.uint8]


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


def error_map(image: Pixels, truth: Pixels, prediction: Pixels) -> Pixels:
    """Wrong pixels in one strong colour over the pale grey image; ignored pixels are hatched."""
    grey = image.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    pale = (255 - 0.6 * (255 - grey)).astype(np.uint8)[..., None].repeat(3, axis=-1)
    wrong = (truth != prediction) & (truth != IGNORE)
    return hatch(np.where(wrong[..., None], np.array(WRONG, np.uint8), pale), truth == IGNORE)


def draw_pictures(name: str, title: str, pictures: Pictures, shown: slice, caption: str) -> Drawing:
    """A row an image: input above truth, then each experiment's prediction above its errors."""
    with matplotlib.rc_context(STYLE):
        examples = pictures.examples
        columns = 1 + len(examples[0].panels[shown])
        side = min(WIDTH / columns, 2.0)
        entries = legend_entries(pictures, shown)
        across = max(2, int(side * columns / 1.25))
        legend = 0.2 * -(-len(entries) // across) + 0.1
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
        figure.legend(handles=entries, loc="lower left", ncols=across, fontsize=8, handlelength=1.1, borderaxespad=0.1)
    names = ", ".join(panel.experiment for panel in examples[0].panels[shown])
    alt = f"{len(examples)} images of {pictures.test_data} with true labels, and predictions and errors of {names}."
    return Drawing(name, title, caption, alt, figure, photographs=True)


def draw_example(axes: list[list[Axes]], example: Example, pictures: Pictures, shown: slice) -> None:
    """One image's two rows."""
    for one in (*axes[0], *axes[1]):
        one.set_axis_off()
    show(axes[0][0], example.image, f"input, {example.percentile}th percentile", smooth=True)
    show(axes[1][0], colour_labels(example.truth, pictures.palette), "truth")
    for column, panel in enumerate(example.panels[shown], 1):
        draw_panel(axes[0][column], axes[1][column], panel, example.image, pictures.palette)


def draw_panel(above: Axes, below: Axes, panel: Panel, image: Pixels, palette: Pixels) -> None:
    """One prediction and its errors, or the words that there is none."""
    if panel.prediction is None or panel.truth is None:
        above.set_title(panel.experiment, **TITLE)
        above.text(0.5, 0.5, "no prediction", ha="center", color=MUTED, transform=above.transAxes)
        return
    show(above, colour_labels(panel.prediction, palette), panel.experiment)
    if image.shape[:2] != panel.truth.shape:
        rows, columns = (np.arange(new) * old // new for new, old in zip(panel.truth.shape, image.shape, strict=False))
        image = image[rows][:, columns]
    show(below, error_map(image, panel.truth, panel.prediction), f"errors, mIoU {panel.miou:.3f}")


def legend_entries(pictures: Pictures, shown: slice) -> list[Patch]:
    """Colours of the classes that occur in what is shown, then of errors and, where there are any, ignored pixels."""
    truths = [example.truth for example in pictures.examples]
    maps = truths + [p.prediction for e in pictures.examples for p in e.panels[shown] if p.prediction is not None]
    found = sorted({int(label) for labels in maps for label in np.unique(labels)})
    entries = [
        Patch(facecolor=rgb(pictures.palette[label]), edgecolor=MUTED, lw=0.5, label=pictures.classes[label])
        for label in found
        if label < len(pictures.classes)
    ]
    entries.append(Patch(facecolor=rgb(WRONG), label="wrong"))
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
