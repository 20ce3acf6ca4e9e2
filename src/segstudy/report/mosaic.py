"""Figure 2: images, truth, predictions and errors side by side.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

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
    """Two rows an image: input, truth and predictions, below each prediction its errors."""
    with matplotlib.rc_context(STYLE):
        count = len(pictures.examples[0].panels[shown])
        columns = 2 + count
        side = min(WIDTH / columns, 2.2)
        used = present(pictures, shown)
        legend = 0.22 * (1 + (len(used) + 1) // 7) + 0.1
        height = 2 * (side + 0.2) * len(pictures.examples) + legend + 0.2
        figure = Figure(figsize=(side * columns, height))
        grid = figure.add_gridspec(
            2 * len(pictures.examples), columns, left=0.005, right=0.995, top=1 - 0.3 / height,
            bottom=legend / height, wspace=0.04, hspace=0.2 / side,
        )  # fmt: skip
        for row, example in enumerate(pictures.examples):
            axes = [[figure.add_subplot(grid[2 * row + part, column]) for column in range(columns)] for part in (0, 1)]
            draw_example(axes, example, pictures, shown, first=row == 0)
        handles: list[Any] = [
            Patch(facecolor=pictures.palette[label] / 255, edgecolor=MUTED, lw=0.5, label=pictures.classes[label])
            for label in used
        ]
        handles += [Patch(facecolor=np.array(WRONG) / 255, label="wrong"), Patch(facecolor="#cdcdcd", hatch="////", label="ignored")]
        figure.legend(handles=handles, loc="lower left", ncols=7, fontsize=8, handlelength=1.1, borderaxespad=0.2)
    names = [panel.experiment for panel in pictures.examples[0].panels[shown]]
    alt = f"{len(pictures.examples)} images of {pictures.test_data} with true labels, and predictions and errors of {', '.join(names)}."
    return Drawing(name, title, caption, alt, figure, photographs=True)


def draw_example(axes: list[list[Axes]], example: Example, pictures: Pictures, shown: slice, first: bool) -> None:
    """One image's two rows."""
    for one in (*axes[0], *axes[1]):
        one.set_axis_off()
    show(axes[0][0], example.image, "input" if first else "", smooth=True)
    show(axes[0][1], colour_labels(example.truth, pictures.palette), "truth" if first else "")
    told = f"{example.percentile}th percentile\n{example.id.rsplit('/', 1)[-1]}"
    axes[1][0].text(0, 0.98, told, va="top", fontsize=7.5, color=MUTED, wrap=True, transform=axes[1][0].transAxes)
    axes[1][1].text(0.98, 0.5, "errors", ha="right", va="center", fontsize=8, color=MUTED, transform=axes[1][1].transAxes)
    for column, panel in enumerate(example.panels[shown], 2):
        draw_panel(axes[0][column], axes[1][column], panel, example, pictures, first)


def draw_panel(above: Axes, below: Axes, panel: Panel, example: Example, pictures: Pictures, first: bool) -> None:
    """One prediction and its errors, or the words that there is none."""
    name = panel.experiment if first else ""
    if panel.prediction is None or panel.truth is None:
        above.set_title(name, fontsize=6.8, fontweight="normal", pad=3)
        above.text(0.5, 0.5, "no prediction", ha="center", color=MUTED, transform=above.transAxes)
        return
    show(above, colour_labels(panel.prediction, pictures.palette), name)
    image = example.image
    if image.shape[:2] != panel.truth.shape:
        rows, columns = (np.arange(size) * old // size for size, old in zip(panel.truth.shape, image.shape, strict=False))
        image = image[rows][:, columns]
    show(below, error_map(image, panel.truth, panel.prediction), f"mIoU {panel.miou:.3f}")


def show(axes: Axes, picture: Pixels, title: str, smooth: bool = False) -> None:
    """A picture with a small title; labels are never blended."""
    axes.imshow(picture, interpolation="antialiased" if smooth else "nearest", aspect="equal")
    axes.set_title(title, fontsize=6.8, fontweight="normal", color=INK, pad=3)


def present(pictures: Pictures, shown: slice) -> list[int]:
    """Classes that occur in any truth or prediction shown."""
    maps = [example.truth for example in pictures.examples]
    maps += [p.prediction for e in pictures.examples for p in e.panels[shown] if p.prediction is not None]
    found = {int(label) for labels in maps for label in np.unique(labels)}
    return sorted(label for label in found if label < len(pictures.classes))
