"""Figures of how sure the numbers are and of what went wrong, drawn from the frames of ``evidence`` and ``diagnosis``."""

from __future__ import annotations

import matplotlib
import numpy as np
import pandas as pd

from segstudy.report.figures import COLOURS, GRID, INK, MUTED, PAPER, STYLE, Drawing, new_figure

VERDICTS = {"better": COLOURS[2], "worse": COLOURS[1]}  # any other verdict is drawn in grey
KINDS = (("missed", COLOURS[1]), ("spurious", COLOURS[4]), ("boundary", COLOURS[5]))


def draw_effects(name: str, effects: pd.DataFrame, caption: str) -> Drawing:
    """Figure 6: every variant's difference to its base with interval; the grey bar is what could not have been seen."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.2 + 0.5 * len(effects))
        for row, effect in enumerate(effects.to_dict("records")):
            colour = VERDICTS.get(effect["verdict"], MUTED)
            if effect["detectable"] == effect["detectable"]:
                axes.barh(row, 2 * effect["detectable"], 0.6, -effect["detectable"], color=GRID, lw=0)
            axes.plot([effect["low"], effect["high"]], [row, row], color=colour, lw=2.2, solid_capstyle="butt")
            axes.plot([effect["value"]], [row], "o", ms=7, color=colour, mec=PAPER, mew=1)
            axes.text(
                1.015,
                row,
                effect["verdict"],
                transform=axes.get_yaxis_transform(),
                va="center",
                color=INK,
                fontsize=8.5,
            )
        axes.axvline(0, color=INK, lw=0.9)
        labels = [f"{r['experiment']}\n{r['variant']} against {r['base']}" for r in effects.to_dict("records")]
        axes.set_yticks(range(len(effects)), labels)
        axes.set(ylim=(len(effects) - 0.4, -0.6), xlabel="Difference in mIoU")
        axes.margins(x=0.08)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    told = "; ".join(f"{r.experiment} {r.value:+.3f}, {r.verdict}" for r in effects.itertuples())
    return Drawing(
        name, "Figure 6: What each change does", caption, f"Differences in mIoU with intervals. {told}.", figure
    )


def draw_lost(name: str, lost: pd.DataFrame, caption: str) -> Drawing:
    """Figure 7: lost IoU by kind of error, an experiment a bar."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.2 + 0.36 * len(lost))
        rows, start = np.arange(len(lost)), np.zeros(len(lost))
        for kind, colour in KINDS:
            values = lost[kind].to_numpy(float)
            axes.barh(rows, values, 0.62, start, color=colour, label=kind)
            for row, value in enumerate(values):
                if value > 0.03:
                    axes.text(
                        start[row] + value / 2, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color=INK
                    )
            start += values
        cross = lost["train_data"] != lost["test_data"]
        names = [
            f"{e} on {d}" if x else e for e, d, x in zip(lost["experiment"], lost["test_data"], cross, strict=True)
        ]
        axes.set_yticks(rows, names)
        axes.set(ylim=(len(lost) - 0.5, -0.5), xlabel="Lost IoU (1 − IoU, mean over classes)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        figure.legend(*axes.get_legend_handles_labels(), loc="outside upper left", ncols=3, handlelength=1)
    told = "; ".join(f"{r.experiment}: {r.missed:.3f}, {r.spurious:.3f}, {r.boundary:.3f}" for r in lost.itertuples())
    return Drawing(
        name, "Figure 7: Where IoU is lost", caption, f"Lost IoU missed, spurious, boundary. {told}.", figure
    )


def draw_reliability(name: str, dataset: str, bins: pd.DataFrame, colours: dict[str, str], caption: str) -> Drawing:
    """Figure 8: accuracy against confidence, an experiment a line; beside it how many pixels each confidence has."""
    with matplotlib.rc_context(STYLE):
        experiments = list(dict.fromkeys(bins["experiment"]))
        figure, (accuracy, share) = new_figure(4.4, 2)
        accuracy.plot([0, 1], [0, 1], color=MUTED, lw=0.9, ls=(0, (4, 3)))
        for experiment in experiments:
            part = bins[bins["experiment"] == experiment]
            style = {"color": colours[experiment], "lw": 1.6, "marker": "o", "ms": 4, "label": experiment}
            accuracy.plot(part["confidence"], part["accuracy"], **style)
            share.plot(part["confidence"], part["share"], **style)
        accuracy.set(title="Share of pixels that are right", xlabel="Confidence", xlim=(0, 1.02), ylim=(0, 1.02))
        share.set(title="Share of all pixels", xlabel="Confidence", xlim=(0, 1.02), yscale="log")
        share.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        for axes in (accuracy, share):
            axes.grid()
        handles, labels = accuracy.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside upper left", ncols=min(len(experiments), 4), handlelength=1.4)
    alt = (
        f"Reliability of {', '.join(experiments)} on {dataset}: accuracy against confidence, and pixels by confidence."
    )
    return Drawing(name, f"Figure 8: Confidence on {dataset}", caption, alt, figure)
