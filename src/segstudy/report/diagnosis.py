"""What went wrong, and where: boundaries, objects, sizes, kinds of lost IoU, confidence. Frames and the tables that print them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from segstudy import measures
from segstudy.counts.calibration import reliability
from segstudy.counts.counting import measures_of
from segstudy.measures import FREQUENCIES, Measure
from segstudy.report.contract import contract
from segstudy.report.contrasts import Frames, over_seeds
from segstudy.report.results import CONSTANT, Evaluated
from segstudy.report.tables import Format, Table, scores_of, with_contract
from segstudy.schema import ScoringRules

KEYS = ["experiment", "train_data", "test_data"]
LOST = ("boundary", "missed", "spurious")


def wide_frame(reported: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Dataset-level values of the measures ``keys``, an experiment on a dataset a row, mean and deviation over seeds."""
    chosen = reported[(reported["level"] == "dataset") & reported["measure"].isin(list(keys))]
    chosen = chosen[~chosen["experiment"].str.endswith(CONSTANT)]
    if chosen.empty:
        return pd.DataFrame(columns=[*KEYS, *keys])
    wide = chosen.pivot(index=[*KEYS, "seed"], columns="measure", values="value").reset_index()
    order = chosen[[*KEYS, "seed"]].drop_duplicates().merge(wide, on=[*KEYS, "seed"])
    return over_seeds(order.reindex(columns=[*KEYS, "seed", *keys]), KEYS, list(keys))


def diagnosis_tables(frames: Frames, number: int) -> list[Table]:
    """Tables of boundaries, of objects and their errors, and of sizes and confidence; those that have a value."""
    rules = frames.plan.study.scoring
    known = {measure.key: measure for measure in measures_of(rules)}
    boundary = [k for k, m in known.items() if m.counts in ("boundary_iou", "boundary_matches", "surface")]
    tables: list[Table] = []
    for name, title, keys, words in (
        ("boundaries", "Boundaries", [k for k in boundary if k.startswith("mean_")], _boundary_words(rules)),
        ("errors", "What went wrong", [k for k in known if k.startswith(ERRORS)], _error_words(rules)),
        (
            "sizes",
            "By size, by frequency, and confidence",
            [k for k in known if k.startswith(PARTS)],
            _part_words(rules),
        ),
    ):
        frame = wide_frame(frames.reported, keys)
        shown = [known[key] for key in keys if frame[key].notna().any()]
        if shown:
            on = zip(frame["experiment"], frame["test_data"], strict=True)
            frame = with_contract(frame, [scores_of(frames, [name], data) for name, data in on])
            formats = (Format("experiment", "Name"), Format("test_data", "Scored on"), *map(_format, shown))
            place = number + len(tables)
            caption = f"{words} {contract(frames.scores, spread=True)}"
            tables.append(Table(f"{place}-{name}", f"Table {place}: {title}", caption, frame, formats))
    return tables


ERRORS = ("mean_lost_", "mean_missed", "mean_spurious", "mean_merged", "mean_split", "mean_false")
PARTS = ("mean_iou_small", "mean_iou_medium", "mean_iou_large", "miou_", "ece")


def _format(measure: Measure) -> Format:
    label = measure.label.removesuffix(", mean")
    heading = f"{label} ({measure.unit})" if measure.unit else label
    return Format(measure.key, heading, 1 if measure.unit else 4, level="dataset" if measure.pooled else "images")


def _boundary_words(rules: ScoringRules) -> str:
    return (
        f"Agreement of outlines, mean over classes. Boundary IoU compares bands of {100 * rules.boundary_iou_share:g} % of the "
        "diagonal inside the outlines; boundary F and surface Dice count outline pixels with a counterpart within the tolerance, "
        "given in pixels or as a share of the diagonal; Hausdorff 95 (mean over images) and surface distance are in pixels, and "
        "lower is better."
    )


def _error_words(rules: ScoringRules) -> str:
    return (
        "The three parts of lost IoU add up to 1 − IoU, class by class: wrong pixels near the true outline (the band of boundary "
        "IoU), the other pixels that were missed, and the other pixels that were invented. Objects are connected parts of at "
        f"least {rules.min_object_px} pixels: missed (no pixel found), spurious (touching no true object), merged and split "
        "(parts too many for each object). All as means over classes; lower is better."
    )


def _part_words(rules: ScoringRules) -> str:
    medium, large = rules.object_sizes_px
    rare, common = (100 * share for share in FREQUENCIES)
    return (
        f"IoU of the pixels of small (below {medium:,} pixels), medium and large (from {large:,}) objects, and mIoU of classes "
        f"with less than {rare:g} %, less than {common:g} %, and more of the true pixels. Expected calibration error is the mean "
        f"distance between confidence and accuracy in {rules.calibration_bins} bins; lower is better."
    )


def lost_frame(reported: pd.DataFrame) -> pd.DataFrame:
    """Kinds of lost IoU for the figure: experiment, test_data, boundary, missed, spurious (means over classes and seeds)."""
    keys = [f"mean_lost_{kind}" for kind in LOST]
    frame = wide_frame(reported, keys)
    frame = frame.rename(columns=dict(zip(keys, LOST, strict=True)))
    return frame.dropna(subset=list(LOST))[[*KEYS, *LOST]]


def reliability_frame(evaluations: Sequence[Evaluated]) -> pd.DataFrame:
    """Reliability, bins of all seeds merged: experiment, test_data, bin, accuracy, confidence, share; empty bins left out."""
    merged: dict[tuple[str, str], Any] = {}
    for e in evaluations:
        if e.in_domain and "calibration" in e.counts:
            key = (e.run.experiment, str(e.meta["test_data"]))
            merged[key] = merged.get(key, 0) + measures.merge(e.counts["calibration"])
    rows = []
    for (experiment, data), counts in merged.items():
        drawn = reliability(counts)
        for place in np.flatnonzero(drawn.share > 0):
            values = {
                "accuracy": drawn.accuracy[place],
                "confidence": drawn.confidence[place],
                "share": drawn.share[place],
            }
            rows.append({"experiment": experiment, "test_data": data, "bin": int(place)} | values)
    return pd.DataFrame(rows, columns=["experiment", "test_data", "bin", "accuracy", "confidence", "share"])
