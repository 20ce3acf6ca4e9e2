"""Class by class: two baselines next to each other, and scores with intervals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import matplotlib
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segstudy.report.contract import contract
from segstudy.report.figure import (
    INK,
    MUTED,
    PAPER,
    STYLE,
    WIDTH,
    Drawing,
    across,
    add_legend,
    new_figure,
    shortened,
)
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section, no_result_yet, not_drawn
from segstudy.report.sections.changes import (
    CLASS_COLUMNS,
    VERDICT_COLOURS,
    class_column,
    class_differences,
    classes_of,
    renamed,
)
from segstudy.report.table import Format, Table, named, with_contract

THRESHOLD = 0.05  # the paper's, for table 7


def class_contrast(classes: pd.DataFrame, first: str, second: str, threshold: float) -> pd.DataFrame:
    """Two experiments class by class; ``printed`` where their IoU differs by more than ``threshold``.

    With two classes, or where one of the two has no result, every class is printed.
    """
    long = classes[classes["experiment"].isin([first, second])]
    frame = classes_of(long)
    for measure in ("iou", "dice"):
        for side, name in (("first", first), ("second", second)):
            part = long[(long["experiment"] == name) & (long["measure"] == measure)].set_index("index")["value"]
            frame[f"{measure}_{side}"] = frame["index"].map(part).astype(float)
        frame[f"{measure}_delta"] = frame[f"{measure}_first"] - frame[f"{measure}_second"]
    whole = len(frame) <= 2 or bool(frame["iou_delta"].isna().all())
    return frame.assign(printed=True if whole else frame["iou_delta"].abs() > threshold)


def class_table(data: ReportData, pair: tuple[str, str, str], alone: bool) -> Table:
    """Table 7: two baselines class by class."""
    dataset, first, second = pair
    frame = class_contrast(data.class_scores, first, second, THRESHOLD)
    known = class_differences(data, first, second)
    frame = frame.merge(known[["class", "low", "high"]], on="class", how="left")
    scores = data.scores_of(pair[1:])
    frame = with_contract(frame, [scores] * len(frame))
    arch = named(data.experiments).set_index("experiment")["model"]
    formats = [*CLASS_COLUMNS]
    for key, label in (("iou", "IoU"), ("dice", "Dice")):
        formats += [
            class_column(Format(f"{key}_first", f"{arch[first]} {label}", 4, measure=key), data, first),
            class_column(Format(f"{key}_second", f"{arch[second]} {label}", 4, measure=key), data, second),
            class_column(Format(f"{key}_delta", f"Δ {label}", 4, signed=True, measure=key), data, first, second),
        ]
    formats[5] = replace(formats[5], label="Δ IoU [95 %]", bounds=("low", "high"))
    hidden = int((~frame["printed"]).sum())
    shown = (
        f"Classes whose IoU differs by more than {THRESHOLD}; {hidden} others are left out here and stand in the CSV."
    )
    caption = (
        f"{shown if hidden else 'Every class.'} Δ is {first} minus {second}, before rounding; Images counts the images "
        f"that hold the class; a class that is in none has no score. {contract(scores, 'class')}"
    )
    waiting = data.experiments[data.experiments["experiment"].isin(pair[1:]) & (data.experiments["state"] != "done")]
    caption += "".join(f" {row.experiment}: {row.state}." for row in waiting.itertuples())
    found = data.compared(first, second)
    if found.problems:
        caption += f" The two cannot be compared: {'; '.join(problem.what for problem in found.problems)}."
    elif found.flags:
        caption += f" The two also differ in: {'; '.join(found.flags)}."
    slug = f"per-class-{dataset}" + ("" if alone else f"-{second}")
    return Table(slug, f"Classes of {dataset}", caption, frame, tuple(formats), order=(5,))


def class_scores_table(data: ReportData, dataset: str) -> Table:
    """IoU of every class with its interval; baselines are printed, the CSV has every experiment."""
    known = data.class_scores[(data.class_scores["test_data"] == dataset) & (data.class_scores["measure"] == "iou")]
    frame = classes_of(known)
    for experiment, group in known.groupby("experiment", sort=False):
        columns = ("value", "low", "high", "reason")
        frame = frame.merge(renamed(group, str(experiment), columns), on="index", how="left")
    baselines = data.experiments[(data.experiments["base"] == "") & (data.experiments["dataset"] == dataset)]
    names = [str(name) for name in dict.fromkeys(known["experiment"])]
    shown = [name for name in names if name in set(baselines["experiment"])] or names
    formats = [
        class_column(Format(f"{name} value", name, 4, bounds=(f"{name} low", f"{name} high")), data, name)
        for name in shown
    ]
    scores = data.scores_of(shown)
    caption = (
        "IoU of each class with its 95 % interval, which is about the recipe where there are several seeds and about this one "
        "network where there is one. The CSV has the variants too, and why a class has no interval. "
        f"{contract(scores, 'class')}{no_result_yet(baselines, shown)}"
    )
    frame = with_contract(frame, [scores] * len(frame))
    heading = f"IoU of the classes of {dataset}, and how sure it is"
    return Table(f"class-scores-{dataset}", heading, caption, frame, (*CLASS_COLUMNS, *formats), order=(8,))


def draw_classes(data: ReportData, dataset: str, names: list[str], classes: pd.DataFrame) -> Drawing:
    """Figure 1: IoU and Dice of every class as bars, an experiment a colour; absent classes are named so."""
    colours = data.colours
    with matplotlib.rc_context(STYLE):
        experiments = list(dict.fromkeys(classes["experiment"]))
        labels = classes.drop_duplicates("index").sort_values("index")
        rows, thick = np.arange(len(labels)), 0.8 / len(experiments)
        figure, panels = new_figure(0.9 + (0.14 + 0.13 * len(experiments)) * len(labels), 2, sharey=True)
        for axes, (measure, title) in zip(panels, (("iou", "IoU"), ("dice", "Dice")), strict=True):
            for number, experiment in enumerate(experiments):
                part = classes[(classes["experiment"] == experiment) & (classes["measure"] == measure)]
                values = _column(part, labels["index"], "value")
                places = rows + (number - (len(experiments) - 1) / 2) * thick
                bars = np.nan_to_num(values)
                axes.barh(places, bars, thick * 0.9, color=colours[experiment], label=experiment)
                bounds = [_column(part, labels["index"], end) for end in ("low", "high")]
                for place, low, high in zip(places, *bounds, strict=True):
                    axes.plot([low, high], [place] * 2, color=INK, lw=0.9, solid_capstyle="butt")
                for place in places[values == 0]:
                    axes.plot([0], [place], "|", ms=5, mew=3, color=colours[experiment], clip_on=False)
            for row in rows[(labels["images"] == 0).to_numpy()]:
                axes.text(0.01, row, "absent", va="center", color=MUTED, style="italic", fontsize=8)
            axes.set(title=title, xlim=(0, 1), xticks=np.linspace(0, 1, 6), ylim=(len(rows) - 0.5, -0.5))
            axes.grid(axis="x")
            axes.tick_params(axis="y", length=0)
        columns = zip(labels["index"], labels["class"], labels["images"], strict=True)
        short = shortened(labels["class"])
        panels[0].set_yticks(rows, [f"{index} {short[label]} ({images})" for index, label, images in columns])
        add_legend(figure, *panels[0].get_legend_handles_labels())
    caption = (
        "IoU and Dice of each class for the baselines, with 95 % intervals. Before each class its index, in brackets the "
        "number of images that hold it; a stub at the axis is a score of zero. "
        f"{contract(data.scores_of(names), 'class')}{not_drawn(data, names, experiments)}"
    )
    alt = f"Bars of IoU and Dice for {len(labels)} classes of {dataset}, comparing {', '.join(experiments)}."
    return Drawing(f"per-class-{dataset}", f"Classes of {dataset}", caption, alt, figure, 1)


def draw_differences(data: ReportData, base: str, names: list[str]) -> Drawing:
    """Figure 9: what each variant does to each class, the largest difference first."""
    panels_of = [(name, sorted_differences(data, name, base)) for name in names]
    with matplotlib.rc_context(STYLE):
        tallest = max(len(frame) for _, frame in panels_of)
        figure, panels = new_figure(1.0 + 0.2 * tallest, len(panels_of))
        wide = across(WIDTH / len(panels_of) / 2.4)
        titles = shortened(names, wide)
        for axes, (name, frame) in zip(panels, panels_of, strict=True):
            for row, effect in enumerate(frame.to_dict("records")):
                colour = VERDICT_COLOURS.get(effect["verdict"], MUTED)
                axes.plot([effect["low"], effect["high"]], [row, row], color=colour, lw=1.8, solid_capstyle="butt")
                axes.plot([effect["value"]], [row], "o", ms=5, color=colour, mec=PAPER, mew=0.8)
            axes.axvline(0, color=INK, lw=0.9)
            short = shortened(frame["class"], wide)
            axes.set_yticks(range(len(frame)), [short[label] for label in frame["class"]], fontsize=8)
            axes.set(xlabel="Difference in IoU", ylim=(tallest - 0.5, -0.5))
            axes.set_title(titles[name], fontsize=9)
            axes.tick_params(axis="y", length=0)
            axes.grid(axis="x")
    described = "; ".join(
        f"{name}: {frame['class'].iloc[0]} {frame['value'].iloc[0]:+.3f}" for name, frame in panels_of
    )
    caption = (
        f"IoU of each class, variant minus {base} on the same images, with 95 % intervals; the largest difference first. "
        "Coloured where the class is better or worse after correction over the classes of that comparison. "
        f"{contract(data.scores_of([base, *names]), 'class')}"
    )
    alt = f"Differences in IoU by class against {base}, by size. The largest of each: {described}."
    return Drawing(f"classes-{base}", f"Classes, against {base}", caption, alt, figure, 9)


def sorted_differences(data: ReportData, name: str, base: str) -> pd.DataFrame:
    """The differences of the classes that both hold, the largest first."""
    frame = class_differences(data, name, base).dropna(subset=["value"])
    return frame.sort_values("value", key=lambda value: value.abs(), ascending=False, kind="stable")


PANELS = 3  # variants side by side in figure 9; more of them stand in the table


def _drawn_differences(data: ReportData) -> Iterator[Drawing]:
    known = data.effects.dropna(subset=["value"])
    for base, variants in known.groupby("base", sort=False):
        names = [str(name) for name in variants["experiment"]]
        many = len(data.compared(names[0], str(base)).a.first.classes) > 2
        shown = [name for name in names if len(sorted_differences(data, name, str(base)))][:PANELS]
        if many and shown:
            yield draw_differences(data, str(base), shown)


def _column(part: pd.DataFrame, classes: pd.Series[int], name: str) -> NDArray[np.float64]:
    """A column in the order of ``classes``; NaN, which is not drawn, where there is nothing."""
    return part.set_index("index")[name].reindex(classes).to_numpy(float)


def content(data: ReportData) -> Iterator[Item]:
    """Tables of pairs of baselines and of scores, and figure 1 for every dataset with more than two classes."""
    pairs = data.baseline_pairs
    for pair in pairs:
        yield class_table(data, pair, alone=sum(other[0] == pair[0] for other in pairs) == 1)
    for dataset in dict.fromkeys(data.class_scores["test_data"]):
        yield class_scores_table(data, str(dataset))
    baselines = data.experiments[data.experiments["base"] == ""]
    for dataset, group in baselines.groupby("dataset", sort=False):
        names = group["experiment"].tolist()
        classes = data.class_scores[data.class_scores["experiment"].isin(names)]
        if classes["class"].nunique() > 2:
            yield draw_classes(data, str(dataset), names, classes)
    yield from _drawn_differences(data)


SECTION = Section("classes", "Class by class", 60, content)
