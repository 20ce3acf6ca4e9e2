"""Training: curves, and what choosing the epoch did."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from segstudy.data.core import IGNORE
from segstudy.report.contract import LEVELS, contract
from segstudy.report.figure import PAPER, STYLE, WIDTH, Drawing, across, new_figure, shortened, spread
from segstudy.report.frames import ReportData, over_seeds
from segstudy.report.section import Item, Section, not_drawn, trained_on
from segstudy.report.table import Format, Table, with_contract
from segstudy.results import StudyResults

PANELS = (("loss", "Training loss"), ("select_miou", "mIoU on the split that chooses the epoch"))


def curves_frame(results: StudyResults) -> pd.DataFrame:
    """Every epoch of every run: experiment, seed, fold (0 without folds), the fields of :class:`~segstudy.records.Epoch`.

    ``chosen`` is the epoch whose weights are scored, the first of the highest on the split that chooses.
    """
    rows = []
    for r in results.runs:
        for fold, part in enumerate(r.folds or (r,)):
            known = [epoch for epoch in part.epochs if epoch.select_miou == epoch.select_miou]
            best = max(known, key=lambda epoch: epoch.select_miou, default=None)
            keys = {"experiment": r.run.experiment, "seed": r.run.seed, "fold": fold}
            rows += [keys | epoch.model_dump() | {"chosen": epoch is best} for epoch in part.epochs]
    return pd.DataFrame(rows)


def over_epochs(runs: pd.DataFrame, key: str) -> pd.DataFrame:
    """Mean, lowest and highest network of ``key`` at each epoch, over seeds and folds, and how many got there."""
    found = runs.dropna(subset=[key]).groupby("epoch")[key].agg(["mean", "min", "max", "count"]).reset_index()
    return found.rename(columns={"min": "lowest", "max": "highest", "count": "networks"})


def selection_frame(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """The effect of choosing the epoch, a run a row: reported-split mIoU (at input size) of three epochs.

    ``last``, ``chosen`` (on the split that chooses) and ``best`` (as if chosen on the reported split); ``optimism_points``
    is best minus chosen, in points of mIoU (hundredths): what the review's habit would have added. Imported runs, and runs
    that did not record the reported split, have NaN. Over all folds, each is the mean of the folds' networks.
    """
    keys = ["experiment", "seed", "dataset", "state"]
    if curves.empty or "report_miou" not in curves:
        return runs[keys].assign(**dict.fromkeys(("last", "chosen", "best", "optimism_points"), np.nan))
    rows = []
    for (experiment, seed, _), run in curves.groupby(["experiment", "seed", "fold"], sort=False):
        scored = run.dropna(subset=["report_miou", "select_miou"])
        reported, select = scored["report_miou"].astype(float), scored["select_miou"].astype(float)
        known = len(scored) > 0
        chosen = float(reported.iloc[int(select.to_numpy().argmax())]) if known else np.nan
        best, last = (float(reported.max()), float(reported.iloc[-1])) if known else (np.nan, np.nan)
        values = {"last": last, "chosen": chosen, "best": best, "optimism_points": 100 * (best - chosen)}
        rows.append({"experiment": experiment, "seed": seed, **values})
    found = pd.DataFrame(rows).groupby(["experiment", "seed"], sort=False).mean().reset_index()
    return runs[keys].merge(found, on=["experiment", "seed"], how="left")


def selection_table(data: ReportData, selection: pd.DataFrame) -> Table:
    """Last, chosen and best-on-reported epochs, and what choosing on the reported split would have added."""
    values = ["last", "chosen", "best", "optimism_points"]
    frame = over_seeds(selection, ["experiment", "dataset"], values)
    at_input = [data.scores_of([name]).assign(resolution="input") for name in frame["experiment"]]
    frame = with_contract(frame, at_input)
    best = "epoch best on the reported split itself"
    formats = (
        Format("experiment", "Name"),
        Format("dataset", "Dataset"),
        Format("last", "Last epoch", 4, level="dataset", choice="the last epoch"),
        Format("chosen", "Chosen epoch", 4, level="dataset"),
        Format("best", "Best on reported", 4, level="dataset", choice=best),
        Format(
            "optimism_points", "Optimism (points)", 2, signed=True, level="dataset", choice=f"{best} minus chosen epoch"
        ),
    )
    paper = data.plan.study.protocol == "paper"
    caption = (
        "mIoU of the reported split after three epochs of the same training: the last, the one "
        "that was chosen, and the one that scores best on the reported split itself. Optimism is the last of these minus the "
        "chosen, in points (hundredths): what choosing on the reported split adds to a score without any better network."
        + (" This study chose on the reported split, so its scores contain it." if paper else "")
        + f" {contract(pd.concat(at_input), spread=True)}"
    )
    return Table("selection", "What choosing the epoch did", caption, frame, formats, order=(11,))


def draw_training(data: ReportData, dataset: str, curves: pd.DataFrame) -> Drawing:
    """Figure 3: loss and mIoU on the split that chooses, epoch by epoch; the chosen epoch is a dot."""
    colours = data.colours
    with matplotlib.rc_context(STYLE):
        experiments = [str(name) for name in dict.fromkeys(curves["experiment"])]
        figure, panels = new_figure(max(3.6, 1.2 + 0.19 * len(experiments)), 2)
        for axes, (key, title) in zip(panels, PANELS, strict=True):
            ends = {}
            for name, runs in curves.groupby("experiment", sort=False):
                colour, line = colours[str(name)], over_epochs(runs, key)
                if (line["networks"] > 1).any():
                    axes.fill_between(line["epoch"], line["lowest"], line["highest"], color=colour, alpha=0.18, lw=0)
                axes.plot(line["epoch"], line["mean"], color=colour, lw=1.6, alpha=0.9)
                chosen = runs[runs["chosen"]]
                axes.plot(chosen["epoch"], chosen[key], "o", ms=5, color=colour, mec=PAPER, mew=1.2)
                ends[str(name)] = (float(line["epoch"].iloc[-1]), float(line["mean"].iloc[-1]))
            axes.set(title=title, xlabel="Epoch")
            axes.grid(axis="y")
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            last = max(int(curves["epoch"].max()), 2)
            axes.set_xlim(1 - 0.03 * last, last * 1.03)
            axes.margins(y=0.08)
            if key == "select_miou":
                label_ends(axes, ends, colours, figure.get_figheight())
    trained = [name for name in trained_on(data, dataset) if data.plan.first(name).config.evaluate is None]
    over = "seeds and folds" if curves["fold"].any() else "seeds"
    alt = f"Training loss and mIoU by epoch for {', '.join(experiments)}; the chosen epoch of each is a dot."
    caption = (
        f"Every epoch, unsmoothed: the mean over {over}, and a band from the lowest to the highest where there are "
        "several. A dot marks the chosen epoch of a network. The right panel's split is the one that "
        f"chooses the epoch, scored at the network's input size, {LEVELS['dataset']}; pixels labelled {IGNORE} are "
        f"ignored.{not_drawn(data, trained, experiments)}"
    )
    return Drawing(f"training-{dataset}", f"Training on {dataset}", caption, alt, figure, 3)


def label_ends(axes: Axes, ends: dict[str, tuple[float, float]], colours: dict[str, str], height: float) -> None:
    """Name each line at its right end, with a thin rule where the name had to move; ``height`` is the figure's, inches."""
    bottom, top = axes.get_ylim()
    gap = 12.4 / (72 * height - 70)
    places = spread([y for _, y in ends.values()], gap * (top - bottom))
    short = shortened(ends, across(WIDTH / 4.5))
    for (experiment, (x, y)), place in zip(ends.items(), places, strict=True):
        axes.annotate(
            short[experiment],
            xy=(x, y),
            xytext=(1.05, (place - bottom) / (top - bottom)),
            textcoords=axes.transAxes,
            va="center",
            fontsize=8.5,
            arrowprops={"arrowstyle": "-", "color": colours[experiment], "lw": 0.9, "shrinkA": 1, "shrinkB": 3},
        )


def content(data: ReportData) -> Iterator[Item]:
    """The effect of choosing the epoch, and curves for every dataset that was trained on."""
    curves = curves_frame(data.results)
    yield selection_table(data, selection_frame(curves, data.runs))
    if curves.empty:
        return
    curves = curves.merge(data.runs[["experiment", "seed", "dataset"]], on=["experiment", "seed"])
    for dataset, group in curves.groupby("dataset", sort=False):
        yield draw_training(data, str(dataset), group)


SECTION = Section("training", "Training", 90, content)
