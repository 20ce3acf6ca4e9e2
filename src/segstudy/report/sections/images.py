"""Image by image: how the scores of single images are spread."""

from __future__ import annotations

from collections.abc import Iterator

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segstudy.report.contract import contract
from segstudy.report.figure import INK, STYLE, Drawing, new_figure, shortened
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section, not_drawn, trained_on

MANY = 2000  # dots of a figure; more of them are drawn as pixels


def image_frame(reported: pd.DataFrame) -> pd.DataFrame:
    """Per-image mIoU of every evaluation: experiment, seed, train_data, test_data, split, id, value."""
    chosen = reported[(reported["level"] == "image") & (reported["measure"] == "miou")]
    keys = ["experiment", "seed", "train_data", "test_data", "split", "class", "value"]
    return chosen[keys].rename(columns={"class": "id"}).reset_index(drop=True)


def quartiles(images: pd.DataFrame) -> pd.DataFrame:
    """Quartiles of ``value`` for each experiment: columns q1, median, q3, n."""
    grouped = images.groupby("experiment", sort=False)["value"]
    columns = {"q1": grouped.quantile(0.25), "median": grouped.median(), "q3": grouped.quantile(0.75)}
    return pd.DataFrame(columns | {"n": grouped.count()}).reset_index()


def golden(count: int) -> NDArray[np.float64]:
    """``count`` numbers in [0, 1) that fill it evenly in any run of neighbours (multiples of the golden ratio)."""
    multiples: NDArray[np.float64] = np.arange(1, count + 1, dtype=np.float64) * np.float64(0.6180339887498949)
    return multiples % 1.0


def draw_images(data: ReportData, images: pd.DataFrame, train: str, test: str, split: str) -> Drawing:
    """Figure 4: every image a dot at its own mIoU, an experiment a row; lines at the quartiles."""
    where, label = (test, test) if train == test else (f"{train}-to-{test}", f"{test}, trained on {train}")
    summary, colours = quartiles(images), data.colours
    experiments = [str(name) for name in summary["experiment"]]
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.1 + 0.62 * len(experiments))
        for row, line in enumerate(summary.to_dict("records")):
            experiment, median = line["experiment"], float(line["median"])
            values = np.sort(images.loc[images["experiment"] == experiment, "value"].dropna().to_numpy(float))
            places = row + 0.62 * (golden(len(values)) - 0.5)
            size = 9 if len(values) > 60 else 18
            axes.scatter(
                values, places, s=size, color=colours[experiment], alpha=0.6, lw=0, rasterized=len(images) > MANY
            )
            axes.vlines([float(line["q1"]), float(line["q3"])], row - 0.36, row + 0.36, color=INK, lw=0.9)
            axes.vlines([median], row - 0.4, row + 0.4, color=INK, lw=2.4)
            axes.text(1.015, row, f"median {median:.3f}", va="center", color=INK, fontsize=8.5)
        axes.set(xlim=(0, 1), xlabel="mIoU of one image", ylim=(len(experiments) - 0.45, -0.55))
        axes.set_yticks(range(len(experiments)), list(shortened(experiments).values()))
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    described = "; ".join(f"{line.experiment} median {line.median:.3f}" for line in summary.itertuples())
    names = trained_on(data, test) if train == test else experiments
    caption = (
        f"Every image of {test} {split} is a dot at its own mIoU (over the classes in that image); the height of a dot in "
        "its row has no meaning. Thick line: median; thin lines: quartiles. With several seeds, each image stands "
        f"once for every seed.{not_drawn(data, names, experiments)} "
        f"{contract(data.scores_of(experiments, test), 'image')}"
    )
    heading = f"Image by image, {label}"
    return Drawing(f"per-image-{where}", heading, caption, f"Per-image mIoU. {described}.", figure, 4)


def content(data: ReportData) -> Iterator[Item]:
    """A figure for every pair of training and test data."""
    images = image_frame(data.reported)
    images["train_data"] = images["experiment"].map(data.plan.homes)
    for (train, test, split), group in images.groupby(["train_data", "test_data", "split"], sort=False):
        yield draw_images(data, group, str(train), str(test), str(split))


SECTION = Section("images", "Image by image", 65, content)
