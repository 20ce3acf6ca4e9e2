"""Kinds and places of errors: outlines, objects, sizes, kinds of lost IoU, confidence."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.ticker import LogLocator, NullFormatter

from segstudy import measures
from segstudy.counts.boundaries import boundary_measures
from segstudy.counts.calibration import AURC, CALIBRATION, reliability
from segstudy.counts.counting import measures_of
from segstudy.counts.countset import CountSet
from segstudy.counts.objects import OBJECT_COUNTS, OBJECTS
from segstudy.measures import BY_FREQUENCY, FREQUENCIES, OVERALL, Measure
from segstudy.report.contract import contract
from segstudy.report.figure import COLOURS, INK, MUTED, STYLE, Drawing, add_legend, new_figure, shortened
from segstudy.report.frames import ReportData, over_seeds
from segstudy.report.long import CONSTANT
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table, with_contract
from segstudy.schema import ScoringRules

KEYS = ["experiment", "train_data", "test_data"]
LOST = (("missed", COLOURS[1]), ("spurious", COLOURS[4]), ("boundary", COLOURS[5]))
KINDS = tuple(kind for kind, _ in LOST)
ERRORS = ("lost", "objects")  # counts of the measures of what went wrong; the others of objects are by their size


def wide_frame(reported: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Dataset-level values of the measures ``keys``, an experiment on a dataset a row, mean and deviation over seeds."""
    chosen = reported[(reported["level"] == "dataset") & reported["measure"].isin(list(keys))]
    chosen = chosen[~chosen["experiment"].str.endswith(CONSTANT)]
    if chosen.empty:
        return pd.DataFrame(columns=[*KEYS, *keys])
    wide = chosen.pivot(index=[*KEYS, "seed"], columns="measure", values="value").reset_index()
    order = chosen[[*KEYS, "seed"]].drop_duplicates().merge(wide, on=[*KEYS, "seed"])
    return over_seeds(order.reindex(columns=[*KEYS, "seed", *keys]), KEYS, list(keys))


def error_tables(data: ReportData) -> Iterator[Table]:
    """Tables of outlines, of objects and their errors, of sizes and confidence, and of measures that packages add.

    Those that have a value.
    """
    rules = data.plan.study.scoring
    known = {measure.key: measure for measure in measures_of(rules) if "dataset" in measure.levels}
    outlines = [measure.key for measure in boundary_measures(rules)]
    errors = [measure.key for measure in OBJECTS if measure.counts in ERRORS]
    parts = [measure.key for measure in (*BY_FREQUENCY, *OBJECTS, *CALIBRATION) if measure.key not in errors]
    elsewhere = {measure.key for measure in (*OVERALL, AURC)}
    added = [key for key in known if key not in {*outlines, *errors, *parts, *elsewhere}]
    for order, slug, heading, wanted, words in (
        ((12,), "boundaries", "Boundaries", outlines, _boundary_words(rules)),
        ((13,), "errors", "What went wrong", errors, _error_words(rules)),
        ((14,), "sizes", "By size, by frequency, and confidence", parts, _part_words(rules)),
        ((14, 1), "measures", "Further measures", added, _added_words([known[key] for key in added])),
    ):
        keys = [key for key in wanted if key in known and key not in elsewhere]
        frame = wide_frame(data.reported, keys)
        shown = [known[key] for key in keys if frame[key].notna().any()]
        if shown:
            on = zip(frame["experiment"], frame["test_data"], strict=True)
            frame = with_contract(frame, [data.scores_of([name], test) for name, test in on])
            columns = [_format(measure) for measure in shown]
            if slug == "boundaries" and any(measure.key == "mean_hausdorff95" for measure in shown):
                frame = frame.assign(**lost_objects(data, frame))
                columns += [Format("objects_missed", "Objects missed", 1), Format("objects_spurious", "Spurious", 1)]
            formats = (Format("experiment", "Name"), Format("test_data", "Scored on"), *columns)
            caption = f"{words} {contract(data.scores, spread=True)}"
            yield Table(slug, heading, caption, frame, formats, order=order)


def lost_objects(data: ReportData, frame: pd.DataFrame) -> dict[str, list[float]]:
    """Objects that no distance is measured to or from, all classes together, mean over seeds; NaN if not counted."""
    found: dict[str, list[float]] = {"objects_missed": [], "objects_spurious": []}
    for name, test in zip(frame["experiment"], frame["test_data"], strict=True):
        sets = [one.counts["objects"] for one in data.results.side(name, test).sets if "objects" in one.counts]
        total = (
            np.mean([counts.sum(axis=(0, 1)) for counts in sets], axis=0)
            if sets
            else np.full(len(OBJECT_COUNTS), np.nan)
        )
        for key, column in found.items():
            column.append(float(total[OBJECT_COUNTS.index(key.removeprefix("objects_"))]))
    return found


def _format(measure: Measure) -> Format:
    label = measure.label.removesuffix(", mean")
    heading = f"{label} ({measure.unit})" if measure.unit else label
    return Format(measure.key, heading, 1 if measure.unit else 4, level="dataset" if measure.pooled else "images")


def _boundary_words(rules: ScoringRules) -> str:
    return (
        f"Agreement of outlines, mean over classes. Boundary IoU compares bands of {100 * rules.boundary_iou_share:g} % of the "
        "diagonal inside the outlines; boundary F and surface Dice count outline pixels with a counterpart within the tolerance, "
        "given in pixels or as a share of the diagonal; Hausdorff 95 (mean over images) and surface distance are in pixels, and "
        "lower is better. They leave out objects that are missed or spurious, whose numbers are next to them (all classes, "
        "mean over seeds)."
    )


def _error_words(rules: ScoringRules) -> str:
    return (
        "The three parts of lost IoU add up to 1 − IoU, class by class: wrong pixels near the true outline (the band of boundary "
        "IoU), the other missed pixels, and the other false pixels. Objects are connected parts of at "
        f"least {rules.min_object_px} pixels: missed (no pixel found), spurious (touching no true object), merged and split "
        "(excess parts per object). All are means over classes; lower is better."
    )


def _part_words(rules: ScoringRules) -> str:
    medium, large = rules.object_sizes_px
    rare, common = (100 * share for share in FREQUENCIES)
    return (
        f"IoU of the pixels of small (below {medium:,} pixels), medium and large (from {large:,}) objects, and mIoU of classes "
        f"with less than {rare:g} %, less than {common:g} %, and more of the true pixels. Expected calibration error is the mean "
        f"distance between confidence and accuracy in {rules.calibration_bins} bins; lower is better."
    )


def _added_words(added: Sequence[Measure]) -> str:
    ways = {True: "higher is better", False: "lower is better"}
    described = [f"{one.label}{f' ({one.source})' * bool(one.source)}, {ways[one.higher_is_better]}" for one in added]
    return f"Measures that installed packages add: {'; '.join(described)}."


def lost_frame(reported: pd.DataFrame) -> pd.DataFrame:
    """Kinds of lost IoU for the figure: experiment, test_data, boundary, missed, spurious (means over classes and seeds)."""
    keys = [f"mean_lost_{kind}" for kind in KINDS]
    frame = wide_frame(reported, keys)
    frame = frame.rename(columns=dict(zip(keys, KINDS, strict=True)))
    return frame.dropna(subset=list(KINDS))[[*KEYS, *KINDS]]


def reliability_frame(sets: Iterable[CountSet]) -> pd.DataFrame:
    """Reliability, bins of all seeds merged: experiment, test_data, bin, accuracy, confidence, share; empty bins left out."""
    merged: dict[tuple[str, str], Any] = {}
    for one in sets:
        if one.in_domain and "calibration" in one.counts:
            key = (one.experiment, str(one.about.test_data))
            merged[key] = merged.get(key, 0) + measures.merge(one.counts["calibration"])
    rows = []
    for (experiment, test), counts in merged.items():
        drawn = reliability(counts)
        for place in np.flatnonzero(drawn.share > 0):
            values = {key: getattr(drawn, key)[place] for key in ("accuracy", "confidence", "share")}
            rows.append({"experiment": experiment, "test_data": test, "bin": int(place)} | values)
    return pd.DataFrame(rows, columns=["experiment", "test_data", "bin", "accuracy", "confidence", "share"])


def draw_lost(data: ReportData, lost: pd.DataFrame) -> Drawing:
    """Figure 7: lost IoU by kind of error, an experiment a bar."""
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.2 + 0.36 * len(lost))
        rows, start = np.arange(len(lost)), np.zeros(len(lost))
        for kind, colour in LOST:
            values = lost[kind].to_numpy(float)
            axes.barh(rows, values, 0.62, start, color=colour, label=kind)
            for row, value in enumerate(values):
                if value > 0.03:
                    axes.text(
                        start[row] + value / 2, row, f"{value:.3f}", ha="center", va="center", fontsize=8, color=INK
                    )
            start += values
        cross = lost["experiment"].map(data.plan.homes) != lost["test_data"]
        short = shortened(lost["experiment"])
        names = [
            f"{short[e]} on {d}" if x else short[e]
            for e, d, x in zip(lost["experiment"], lost["test_data"], cross, strict=True)
        ]
        axes.set_yticks(rows, names)
        axes.set(ylim=(len(lost) - 0.5, -0.5), xlabel="Lost IoU (1 − IoU, mean over classes)")
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
        add_legend(figure, *axes.get_legend_handles_labels())
    described = "; ".join(
        f"{r.experiment}: {r.missed:.3f}, {r.spurious:.3f}, {r.boundary:.3f}" for r in lost.itertuples()
    )
    caption = (
        "The parts of the lost IoU, mean over classes and seeds: missed and false pixels away from the true "
        f"outline, and wrong pixels at the outline. {contract(data.scores)}"
    )
    alt = f"Lost IoU missed, spurious, boundary. {described}."
    return Drawing("lost", "Where IoU is lost", caption, alt, figure, 7)


def draw_reliability(data: ReportData, dataset: str, bins: pd.DataFrame) -> Drawing:
    """Figure 8: accuracy against confidence, an experiment a line; next to it how many pixels each confidence has."""
    with matplotlib.rc_context(STYLE):
        experiments = list(dict.fromkeys(bins["experiment"]))
        figure, (accuracy, share) = new_figure(4.4, 2)
        accuracy.plot([0, 1], [0, 1], color=MUTED, lw=0.9, ls=(0, (4, 3)))
        for experiment in experiments:
            part = bins[bins["experiment"] == experiment]
            style = {"color": data.colours[experiment], "lw": 1.6, "marker": "o", "ms": 4, "label": experiment}
            accuracy.plot(part["confidence"], part["accuracy"], **style)
            share.plot(part["confidence"], part["share"], **style)
        accuracy.set(title="Share of pixels that are right", xlabel="Confidence", xlim=(0, 1.02), ylim=(0, 1.02))
        share.set(title="Share of all pixels", xlabel="Confidence", xlim=(0, 1.02), yscale="log")
        share.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        share.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
        share.yaxis.set_minor_formatter(NullFormatter())
        for axes in (accuracy, share):
            axes.grid()
        add_legend(figure, *accuracy.get_legend_handles_labels())
    alt = (
        f"Reliability of {', '.join(experiments)} on {dataset}: accuracy against confidence, and pixels by confidence."
    )
    caption = (
        "The share of correct pixels among those of each confidence (the largest softmax probability). On the dashed line, "
        "networks are calibrated; below it, they are overconfident. Seeds are merged. "
        f"{contract(data.scores_of(experiments))}"
    )
    return Drawing(f"confidence-{dataset}", f"Confidence on {dataset}", caption, alt, figure, 8)


def content(data: ReportData) -> Iterator[Item]:
    """The tables, and the figures that have something to show."""
    yield from error_tables(data)
    lost = lost_frame(data.reported)
    if len(lost):
        yield draw_lost(data, lost)
    for dataset, bins in reliability_frame(data.sets).groupby("test_data", sort=False):
        yield draw_reliability(data, str(dataset), bins)


SECTION = Section("faults", "What went wrong", 80, content)
