"""The cost of each experiment, and accuracy against cost."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullFormatter

from segstudy.report.contract import contract
from segstudy.report.figure import MUTED, PAPER, STYLE, WIDTH, Drawing, across, new_figure, shortened, spread
from segstudy.report.frames import ReportData, configurations, over_seeds
from segstudy.report.section import Item, Section, not_drawn
from segstudy.report.table import Format, Table, scored_columns, state_column

IN_A_ROW = 3  # datasets, a panel each
NAME_POINTS, MOST_NAMES = 12.4, 60  # height of a name, in points, and names in one panel


def cost_frame(data: ReportData) -> pd.DataFrame:
    """Cost of each experiment over its seeds, with its state; NaN where nothing was measured."""
    values = ["seconds_per_epoch", "images_per_s", "peak_memory_mb", "parameters", "gflops", "latency_ms"]
    texts = ["memory_of", "device", "precision"]
    rows = [
        {"experiment": r.run.experiment, "seed": r.run.seed, **(r.cost.model_dump() if r.cost else {})}
        for r in data.results.runs
    ]
    frame = pd.DataFrame(rows).reindex(columns=["experiment", "seed", *values, *texts])
    words = frame.groupby("experiment", sort=False)[texts].agg(_distinct)
    numbers = over_seeds(frame, ["experiment"], values).merge(words.reset_index(), on="experiment")
    return configurations(data.runs).merge(numbers, on="experiment")


def _distinct(texts: pd.Series[Any]) -> str:
    return "; ".join(dict.fromkeys(map(str, texts.dropna())))


def cost_table(cost: pd.DataFrame) -> Table:
    """Table 8: what each experiment costs."""
    frame = scored_columns(cost, ["experiment"])
    formats = (
        Format("experiment", "Name"),
        Format("seconds_per_epoch", "s/epoch", 2),
        Format("images_per_s", "Images/s", 1),
        Format("peak_memory_mb", "Peak memory (MB)", 0),
        Format("memory_of", "Memory of"),
        Format("parameters", "Parameters (M)", 2),
        Format("gflops", "GFLOPs", 2),
        Format("latency_ms", "Latency (ms)", 1),
        Format("device", "Device"),
        Format("precision", "Precision"),
        *state_column(frame),
    )
    caption = (
        "Measured, not estimated: median seconds of a training epoch, images a second while training, peak memory of "
        "training (of the GPU, or of the whole process where there is none), parameters, operations of one image "
        "forward (a multiply-add is two), median latency of one image forward. Times compare only on an idle machine."
    )
    return Table("cost", "Cost", caption, frame, formats, order=(6,))


def pareto_front(points: pd.DataFrame) -> pd.DataFrame:
    """Points that no other beats at no more operations, from the cheapest on."""
    ordered = points.sort_values(["gflops", "miou"], ascending=[True, False])
    return ordered[ordered["miou"] > ordered["miou"].cummax().shift(fill_value=float("-inf"))]


def draw_cost(data: ReportData, points: pd.DataFrame) -> Drawing:
    """Figure 5: mIoU against operations, a panel per dataset, a labelled point per experiment."""
    with matplotlib.rc_context(STYLE):
        datasets = list(dict.fromkeys(points["dataset"]))
        columns, most = min(len(datasets), IN_A_ROW), min(points["dataset"].value_counts().max(), MOST_NAMES)
        rows, tall = -(-len(datasets) // columns), max(3.6, 0.9 + NAME_POINTS / 72 * most)
        figure, panels = new_figure(tall * rows, columns, rows)
        for axes in panels[len(datasets) :]:
            axes.set_axis_off()
        for axes, dataset in zip(panels, datasets, strict=False):
            part = points[points["dataset"] == dataset]
            if part["gflops"].max() > 8 * part["gflops"].min():
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
                axes.xaxis.set_minor_formatter(NullFormatter())
            draw_points(axes, data, part, 8)
            ends = {str(row.experiment): (float(row.gflops), float(row.miou)) for row in part.itertuples()}
            axes.margins(x=0.12, y=0.2)
            axes.set(title=dataset, xlabel="GFLOPs for one image", ylabel="mIoU")
            axes.grid()
            short = shortened(ends, across(WIDTH / columns / 2.3))
            label_points(axes, {short[name]: point for name, point in ends.items()}, 72 * tall - 65)
    described = "; ".join(f"{row.experiment} {row.miou:.3f} at {row.gflops:.2f} GFLOPs" for row in points.itertuples())
    names = points["experiment"].tolist()
    caption = (
        "mIoU on each experiment's own dataset against the operations of one image forward (a multiply-add is two; "
        "unlike latency, the same on every machine). Up and left is better; the dashed "
        "line is the front, beyond which no experiment scores higher at no more operations. Panels do not compare with each other."
        f"{point_words(data, points)} {contract(data.scores_of(names))}{not_drawn(data, data.plan.experiments, names)}"
    )
    alt = f"mIoU against operations: {described}."
    return Drawing("cost", "Accuracy and cost", caption, alt, figure, 5)


def draw_points(axes: Axes, data: ReportData, points: pd.DataFrame, size: float) -> None:
    """A point of ``size`` for each experiment of one dataset, hollow where scored otherwise, and the front of the others."""
    front = pareto_front(points[~points["experiment"].isin(data.apart)])
    axes.plot(front["gflops"], front["miou"], color=MUTED, lw=1.2, ls=(0, (4, 3)), drawstyle="steps-post")
    for name, x, y in points[["experiment", "gflops", "miou"]].to_numpy().tolist():
        colour = data.colours[name]
        if name in data.apart:
            axes.plot([x], [y], "o", ms=size, mfc=PAPER, mec=colour, mew=1.6, zorder=5)  # above names
        else:
            axes.plot([x], [y], "o", ms=size, color=colour, mec=PAPER, mew=1, zorder=5)


def point_words(data: ReportData, points: pd.DataFrame, named: int = MOST_NAMES) -> str:
    """Explains hollow points and points without a name, for the end of a caption; ``named`` fit into a panel."""
    said = ""
    if points["dataset"].value_counts().max() > named:
        said += " Not all points are named."
    if set(points["experiment"]) & data.apart.keys():
        said += " Hollow: not scored alike, so not ranked."
    return said


def label_points(axes: Axes, points: dict[str, tuple[float, float]], height: float) -> None:
    """Name each point on the side where there is room, names one above the other where points are close.

    ``height`` is the panel's, in points. Where it does not hold all names, the highest points get one.
    """
    bottom, top = axes.get_ylim()
    highest = sorted(points, key=lambda name: -points[name][1])[: int(height / NAME_POINTS)]
    points = {name: point for name, point in points.items() if name in highest}
    name = NAME_POINTS / height * (top - bottom)
    places = spread([y for _, y in points.values()], name, bottom + name / 2, top - name / 2)
    for (experiment, point), place in zip(points.items(), places, strict=True):
        across = axes.transAxes.inverted().transform(axes.transData.transform(point))[0]
        side = 1 if across < 0.5 else -1
        shift = height * (place - point[1]) / (top - bottom)
        align = "left" if side > 0 else "right"
        axes.annotate(
            experiment, point, (8 * side, shift), textcoords="offset points", ha=align, va="center", fontsize=8.5,
            bbox={"boxstyle": "square,pad=0.05", "fc": PAPER, "ec": "none"},  # no line strikes a name through
        )  # fmt: skip


def content(data: ReportData) -> Iterator[Item]:
    """The table, and the figure where something was measured."""
    cost = cost_frame(data)
    yield cost_table(cost)
    points: pd.DataFrame = data.experiments.merge(cost[["experiment", "gflops"]], on="experiment")
    points = points.dropna(subset=["miou", "gflops"])
    if len(points):
        yield draw_cost(data, points)


SECTION = Section("cost", "Cost", 100, content)
