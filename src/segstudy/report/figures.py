"""The report's figures, drawn from data frames with matplotlib's objects; no global state of pyplot is touched.

Colours are Okabe and Ito's (2008), told apart by most colour-blind people; an experiment keeps its colour within a
dataset. Text is drawn in ``INK`` and ``MUTED``, which the page exchanges for its own in a dark scheme.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from numpy.typing import NDArray

INK, MUTED, GRID, PAPER = "#1c2126", "#646c75", "#dfe3e8", "#ffffff"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c00", "#7f5fa8")
WIDTH = 10.0  # inches; 100 pixels each at the page's width
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "segstudy",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlecolor": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.8,
    "axes.grid": False,
    "text.parse_math": False,  # a dollar in a name is a dollar
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": INK,
    "lines.linewidth": 1.8,
    "legend.frameon": False,
    "figure.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


@dataclass(frozen=True)
class Drawing:
    """A finished figure with its words; ``photographs`` where it holds pictures, which the page shows as pixels."""

    name: str
    title: str
    caption: str
    alt: str
    figure: Figure
    photographs: bool = False

    def __post_init__(self) -> None:
        """Fix the layout, which would otherwise be found anew for every format."""
        with matplotlib.rc_context(STYLE):
            self.figure.draw_without_rendering()
            self.figure.set_layout_engine("none")

    @cached_property
    def svg(self) -> str:
        """SVG with text as text; equal for equal data."""
        with matplotlib.rc_context(STYLE):
            buffer = io.StringIO()
            self.figure.savefig(buffer, format="svg", metadata={"Date": None})
        return buffer.getvalue()

    def png(self, dpi: int = 200) -> bytes:
        """Pixels, without loss."""
        with matplotlib.rc_context(STYLE):
            buffer = io.BytesIO()
            self.figure.savefig(buffer, format="png", dpi=dpi)
        return buffer.getvalue()

    def jpeg(self, dpi: int = 150) -> bytes:
        """Pixels, small."""
        with matplotlib.rc_context(STYLE):
            buffer = io.BytesIO()
            self.figure.savefig(buffer, format="jpeg", dpi=dpi, pil_kwargs={"quality": 88, "optimize": True})
        return buffer.getvalue()


def new_figure(height: float, columns: int = 1, **options: Any) -> tuple[Figure, list[Axes]]:
    """A figure of the page's width with a row of panels."""
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots(1, columns, squeeze=False, **options)
    return figure, list(axes[0])


def assign_colours(experiments: pd.DataFrame) -> dict[str, str]:
    """Experiment -> colour, from the start for each dataset, baselines first."""
    colours: dict[str, str] = {}
    for _, group in experiments.groupby("dataset", sort=False):
        ordered = [*group.loc[group["base"] == "", "experiment"], *group.loc[group["base"] != "", "experiment"]]
        colours |= {name: COLOURS[index % len(COLOURS)] for index, name in enumerate(ordered)}
    return colours


def spread(values: Sequence[float], gap: float) -> list[float]:
    """Places for labels at ``values``, moved apart until neighbours are ``gap`` away; order and centre are kept.

    >>> spread([0.0, 0.0], 1.0)
    [-0.5, 0.5]
    """
    order = sorted(range(len(values)), key=lambda index: values[index])
    clusters: list[tuple[float, list[int]]] = []  # centre, members from the lowest
    for index in order:
        centre, members = values[index], [index]
        while clusters and centre - clusters[-1][0] < gap * (len(members) + len(clusters[-1][1])) / 2:
            before, others = clusters.pop()
            centre = (before * len(others) + centre * len(members)) / (len(others) + len(members))
            members = others + members
        clusters.append((centre, members))
    places = [0.0] * len(values)
    for centre, members in clusters:
        for rank, index in enumerate(members):
            places[index] = centre + gap * (rank - (len(members) - 1) / 2)
    return places


def draw_classes(name: str, dataset: str, classes: pd.DataFrame, colours: dict[str, str], caption: str) -> Drawing:
    """Figure 1: IoU and Dice of every class as bars, an experiment a colour; absent classes are named so."""
    with matplotlib.rc_context(STYLE):
        experiments = list(dict.fromkeys(classes["experiment"]))
        labels = classes.drop_duplicates("index").sort_values("index")
        rows, thick = np.arange(len(labels)), 0.8 / len(experiments)
        figure, panels = new_figure(0.9 + (0.14 + 0.13 * len(experiments)) * len(labels), 2, sharey=True)
        for axes, (measure, title) in zip(panels, (("iou", "IoU"), ("dice", "Dice")), strict=True):
            for number, experiment in enumerate(experiments):
                part = classes[(classes["experiment"] == experiment) & (classes["measure"] == measure)]
                values = part.set_index("index")["value"].reindex(labels["index"]).to_numpy(float)
                offset = (number - (len(experiments) - 1) / 2) * thick
                axes.barh(
                    rows + offset, np.nan_to_num(values), thick * 0.9, color=colours[experiment], label=experiment
                )
                for row, low, high in zip(
                    rows, *(_bounds(part, labels["index"], end) for end in ("low", "high")), strict=True
                ):
                    axes.plot([low, high], [row + offset] * 2, color=INK, lw=0.9, solid_capstyle="butt")
                for row in rows[values == 0]:
                    axes.plot([0], [row + offset], "|", ms=5, mew=3, color=colours[experiment], clip_on=False)
            for row in rows[(labels["images"] == 0).to_numpy()]:
                axes.text(0.01, row, "absent", va="center", color=MUTED, style="italic", fontsize=8)
            axes.set(title=title, xlim=(0, 1), xticks=np.linspace(0, 1, 6), ylim=(len(rows) - 0.5, -0.5))
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        columns = zip(labels["index"], labels["class"], labels["images"], strict=True)
        names = [f"{index} {label} ({images})" for index, label, images in columns]
        panels[0].set_yticks(rows, names)
        handles, texts = panels[0].get_legend_handles_labels()
        figure.legend(handles, texts, loc="outside upper left", ncols=min(len(experiments), 4), handlelength=1)
    alt = f"Bars of IoU and Dice for {len(labels)} classes of {dataset}, comparing {', '.join(experiments)}."
    return Drawing(name, f"Figure 1: Classes of {dataset}", caption, alt, figure)


def _bounds(part: pd.DataFrame, classes: pd.Series[Any], end: str) -> NDArray[np.float64]:
    """One end of each class's interval; NaN, which is not drawn, where there is none."""
    return part.set_index("index")[end].reindex(classes).to_numpy(float)


def draw_training(name: str, dataset: str, curves: pd.DataFrame, colours: dict[str, str], caption: str) -> Drawing:
    """Figure 3: loss and mIoU on the split that chooses, epoch by epoch; the chosen epoch is a dot."""
    with matplotlib.rc_context(STYLE):
        figure, panels = new_figure(3.6, 2)
        experiments = list(dict.fromkeys(curves["experiment"]))
        for axes, (key, title) in zip(
            panels,
            (("loss", "Training loss"), ("select_miou", "mIoU on the split that chooses the epoch")),
            strict=True,
        ):
            ends = {}
            for (experiment, _), run in curves.groupby(["experiment", "seed"], sort=False):
                axes.plot(run["epoch"], run[key], color=colours[str(experiment)], lw=1.6, alpha=0.9)
                chosen = run[run["chosen"]]
                axes.plot(chosen["epoch"], chosen[key], "o", ms=6, color=colours[str(experiment)], mec=PAPER, mew=1.2)
                ends[str(experiment)] = (float(run["epoch"].iloc[-1]), float(run[key].iloc[-1]))
            axes.set(title=title, xlabel="Epoch")
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            last = max(int(curves["epoch"].max()), 2)
            axes.set_xlim(1 - 0.03 * last, last * 1.03)
            axes.margins(y=0.08)
            if key == "select_miou":
                label_ends(axes, ends, colours)
    alt = f"Training loss and mIoU by epoch for {', '.join(experiments)}; the chosen epoch of each is a dot."
    return Drawing(name, f"Figure 3: Training on {dataset}", caption, alt, figure)


def label_ends(axes: Axes, ends: dict[str, tuple[float, float]], colours: dict[str, str]) -> None:
    """Name each line at its right end, with a thin rule where the name had to move."""
    bottom, top = axes.get_ylim()
    places = spread([y for _, y in ends.values()], 0.065 * (top - bottom))
    right = axes.transAxes
    for (experiment, (x, y)), place in zip(ends.items(), places, strict=True):
        height = (place - bottom) / (top - bottom)
        axes.annotate(
            experiment,
            xy=(x, y),
            xytext=(1.05, height),
            textcoords=right,
            va="center",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": colours[experiment], "lw": 0.9, "shrinkA": 1, "shrinkB": 3},
        )


def label_points(axes: Axes, points: dict[str, tuple[float, float]]) -> None:
    """Name each point on the side where there is room, names one above the other where points are close."""
    bottom, top = axes.get_ylim()
    places = spread([y for _, y in points.values()], 0.065 * (top - bottom))
    for (experiment, point), place in zip(points.items(), places, strict=True):
        across = axes.transAxes.inverted().transform(axes.transData.transform(point))[0]
        side = 1 if across < 0.5 else -1
        shift = 190 * (place - point[1]) / (top - bottom)  # the panel is about 190 points high
        align = "left" if side > 0 else "right"
        axes.annotate(
            experiment, point, (8 * side, shift), textcoords="offset points", ha=align, va="center", fontsize=8.5
        )


def draw_images(
    name: str, dataset: str, images: pd.DataFrame, summary: pd.DataFrame, colours: dict[str, str], caption: str
) -> Drawing:
    """Figure 4: every image a dot at its own mIoU, an experiment a row; lines at the quartiles."""
    with matplotlib.rc_context(STYLE):
        experiments = list(summary["experiment"])
        figure, (axes,) = new_figure(1.1 + 0.62 * len(experiments))
        for row, line in enumerate(summary.to_dict("records")):
            experiment, median = line["experiment"], float(line["median"])
            values = np.sort(images.loc[images["experiment"] == experiment, "value"].dropna().to_numpy(float))
            places = row + 0.62 * (golden(len(values)) - 0.5)
            many, size = len(values) > 1500, 9 if len(values) > 60 else 18
            axes.scatter(values, places, s=size, color=colours[experiment], alpha=0.6, lw=0, rasterized=many)
            axes.vlines([float(line["q1"]), float(line["q3"])], row - 0.36, row + 0.36, color=INK, lw=0.9)
            axes.vlines([median], row - 0.4, row + 0.4, color=INK, lw=2.4)
            axes.text(1.015, row, f"median {median:.3f}", va="center", color=INK, fontsize=8.5)
        axes.set(xlim=(0, 1), xlabel="mIoU of one image", ylim=(len(experiments) - 0.45, -0.55))
        axes.set_yticks(range(len(experiments)), experiments)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    told = "; ".join(f"{line.experiment} median {line.median:.3f}" for line in summary.itertuples())
    return Drawing(name, f"Figure 4: Image by image, {dataset}", caption, f"Per-image mIoU. {told}.", figure)


def golden(count: int) -> NDArray[np.float64]:
    """``count`` numbers in [0, 1) that fill it evenly in any run of neighbours (multiples of the golden ratio)."""
    multiples: NDArray[np.float64] = np.arange(1, count + 1, dtype=np.float64) * np.float64(0.6180339887498949)
    return multiples % 1.0


def draw_cost(name: str, points: pd.DataFrame, colours: dict[str, str], caption: str) -> Drawing:
    """Figure 5: mIoU against operations, a panel per dataset, a labelled point per experiment."""
    with matplotlib.rc_context(STYLE):
        datasets = list(dict.fromkeys(points["dataset"]))
        figure, panels = new_figure(3.6, len(datasets))
        for axes, dataset in zip(panels, datasets, strict=True):
            part = points[points["dataset"] == dataset]
            if part["gflops"].max() > 8 * part["gflops"].min():
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
            ends = {}
            for row in part.itertuples():
                axes.plot([row.gflops], [row.miou], "o", ms=8, color=colours[row.experiment], mec=PAPER, mew=1)
                ends[row.experiment] = (row.gflops, row.miou)
            axes.margins(x=0.12, y=0.2)
            axes.set(title=dataset, xlabel="GFLOPs for one image", ylabel="mIoU")
            axes.grid()
            label_points(axes, ends)
    alt = "mIoU against operations: " + "; ".join(
        f"{row.experiment} {row.miou:.3f} at {row.gflops:.2f} GFLOPs" for row in points.itertuples()
    )
    return Drawing(name, "Figure 5: Accuracy and cost", caption, alt + ".", figure)
