"""Confusion of classes: of each network, and the difference of two.

Array letters: ``c`` class, ``t`` true class, ``p`` predicted class.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from numpy.typing import NDArray

from segstudy import measures
from segstudy.comparison import Side
from segstudy.report.contract import contract
from segstudy.report.figure import INK, STYLE, WIDTH, Drawing, across, new_figure, shortened
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section, Widget
from segstudy.report.table import Format, Table, visible

NUMBERED = 12  # classes up to which each cell shows its number
BELOW = 20  # characters of a class that fit below a matrix; for longer ones, their numbers stand there
PRINTED = 20  # confusions of a dataset that the table prints


def shares(side: Side) -> NDArray[np.float64]:
    """Of each true class's pixels, the share that each class was predicted for, (t, p), seeds merged; NaN where absent."""
    total = np.sum([measures.merge(one.confusion) for one in side.sets], axis=0).astype(float)
    pixels = total.sum(axis=1, keepdims=True)
    found: NDArray[np.float64] = np.divide(total, pixels, out=np.full_like(total, np.nan), where=pixels > 0)
    return found


def own_sides(data: ReportData) -> dict[str, list[Side]]:
    """The experiments that have a result on their own dataset, by dataset."""
    found: dict[str, list[Side]] = {}
    for name in data.plan.experiments:
        if (side := data.results.side(name)).sets:
            found.setdefault(str(side.first.about.test_data), []).append(side)
    return found


def confusion_frame(sides: list[Side]) -> pd.DataFrame:
    """Every pair of classes, an experiment's a row: experiment, true, predicted, share; the largest first."""
    rows = []
    for side in sides:
        found = shares(side)
        for true, predicted in zip(*np.nonzero(np.nan_to_num(found) > 0), strict=True):
            names = {"true": side.first.classes[true], "predicted": side.first.classes[predicted]}
            rows.append({"experiment": side.name, **names, "percent": 100 * float(found[true, predicted])})
    frame = pd.DataFrame(rows, columns=["experiment", "true", "predicted", "percent"])
    wrong = frame["true"] != frame["predicted"]
    ordered = frame.assign(wrong=wrong).sort_values(["wrong", "percent"], ascending=False, kind="stable")
    return ordered.assign(printed=ordered["wrong"] & (np.arange(len(frame)) < PRINTED)).drop(columns="wrong")


def confusion_table(data: ReportData, dataset: str, sides: list[Side]) -> Table:
    """The largest confusions of all networks; the CSV has all of them."""
    frame = confusion_frame(sides)
    scores = data.scores_of([side.name for side in sides])
    formats = (
        Format("experiment", "Name"),
        Format("true", "True class"),
        Format("predicted", "Predicted as"),
        Format("percent", "Share of the true class", 2, suffix=" %"),
    )
    caption = (
        "Of the pixels of a true class, the share that was predicted as another: the largest of all networks, seeds merged. "
        f"The CSV has every pair. {contract(scores, 'class')}"
    )
    heading = f"The largest confusions on {dataset}"
    return Table(f"confusion-{dataset}", heading, caption, frame, formats, order=(21,))


def draw_confusion(data: ReportData, dataset: str, sides: list[Side]) -> Drawing:
    """Figure 10: the first two networks, and the difference of the first minus the second."""
    first, *others = sides[:2]
    grids = [(first.name, shares(first)), *((other.name, shares(other)) for other in others)]
    if others:
        grids.append((f"{first.name} − {others[0].name}", grids[0][1] - grids[1][1]))
    classes = first.first.classes
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(1.1 + 9.0 / max(3, len(grids)), len(grids), sharey=True)
        for axes, (title, grid) in zip(panels, grids, strict=True):
            draw_grid(axes, title, grid, classes, difference="−" in title and title == grids[-1][0] and len(grids) == 3)
        panels[0].set_yticks(np.arange(len(classes)) + 0.5, _class_names(classes), fontsize=8)
        panels[0].set_ylabel("True class")
    caption = (
        "Of each true class's pixels (a row), the share that each class was predicted for, in percent; seeds merged. In the "
        "difference, blue is more in the first network and red less. "
        f"{contract(data.scores_of([side.name for side in sides[:2]]), 'class')}"
    )
    names = " and ".join(side.name for side in sides[:2])
    alt = f"Confusion between {len(classes)} classes of {dataset}, by {names}. The table below names the largest."
    return Drawing(f"confusion-{dataset}", f"Confusion on {dataset}", caption, alt, figure, 10)


def _class_names(classes: tuple[str, ...]) -> list[str]:
    """Names next to a matrix; with the numbers that stand below it, where names are too long for that."""
    short = shortened(classes, 28)
    numbered = max(map(len, classes)) > BELOW
    return [f"{short[name]} {number}" if numbered else name for number, name in enumerate(classes)]


def draw_grid(axes: Axes, title: str, grid: NDArray[np.float64], classes: tuple[str, ...], difference: bool) -> None:
    """One matrix, in percent; white is nothing."""
    reach = max(float(np.nanmax(np.abs(grid), initial=0)), 1e-9) if difference else 1.0
    style: dict[str, Any] = {"vmin": -reach if difference else 0, "vmax": reach}
    axes.pcolormesh(grid, cmap="RdBu" if difference else "Blues", edgecolors="white", linewidth=0.4, **style)
    if len(classes) <= NUMBERED:
        for (true, predicted), value in np.ndenumerate(grid):
            if value == value:
                dark = abs(value) > 0.6 * reach
                text = f"{100 * value:+.1f}" if difference else f"{100 * value:.0f}"
                where = (predicted + 0.5, true + 0.5)
                axes.text(*where, text, ha="center", va="center", fontsize=7, color="white" if dark else INK)
    axes.set(xlim=(0, len(classes)), ylim=(len(classes), 0), xlabel="Predicted class")
    named = max(map(len, classes)) <= BELOW
    ticks = classes if named else tuple(map(str, range(len(classes))))
    axes.set_xticks(np.arange(len(classes)) + 0.5, ticks, rotation=90 if named else 0, fontsize=8 if named else 6)
    first, minus, second = title.partition(" − ")
    wide = across(WIDTH / 5.5, 9) // (2 if minus else 1) - 2
    axes.set_title(minus.join(shortened([first, second] if minus else [first], wide).values()), fontsize=9)
    axes.tick_params(length=0)


def matrix(data: ReportData, dataset: str, sides: list[Side]) -> Widget:
    """The matrix of each network and the difference of any two, to choose on the page."""
    alike = [side for side in sides if side.first.classes == sides[0].first.classes]
    grids = [np.round(100 * shares(side), 3) for side in alike]
    rows = [[[None if v != v else float(v) for v in row] for row in grid] for grid in grids]
    names = [data.called[side.name] for side in alike]
    shown = {"classes": [visible(name) for name in sides[0].first.classes], "names": names, "percent": rows}
    caption = (
        "Choose a network, and another to subtract. Each row is a true class; a cell is the share of its pixels, in percent, "
        "that the column's class was predicted for; seeds merged."
    )
    return Widget(f"matrix-{dataset}", f"Any network, or two, on {dataset}", caption, "matrix", shown)


def content(data: ReportData) -> Iterator[Item]:
    """For each dataset the largest confusions, and the matrices of its first two networks."""
    for dataset, sides in own_sides(data).items():
        baselines = [side for side in sides if data.plan.first(side.name).variation is None]
        alike = [side for side in [*baselines, *sides] if side.first.classes == sides[0].first.classes]
        yield matrix(data, dataset, sides)
        yield draw_confusion(data, dataset, list({side.name: side for side in alike}.values()))
        yield confusion_table(data, dataset, sides)


SECTION = Section("confusion", "Confusion of classes", 62, content)
