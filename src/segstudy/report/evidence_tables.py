"""Tables of how sure the numbers are: scores with intervals, comparisons with verdicts, what choosing the epoch did."""

from __future__ import annotations

import math

import pandas as pd

from segstudy.measures import OVERALL
from segstudy.report.contrasts import Frames, over_seeds
from segstudy.report.tables import GAP, Format, Table, contract, interval_text, mark_confounded, number_text

PRINTED = ("miou", "mdice", "pixel_accuracy")
LABELS = {measure.key: measure.label for measure in OVERALL}


def about(population: str) -> str:
    """What an interval or verdict speaks about, in a reader's words."""
    return {"images": "these networks", "images and seeds": "the recipes"}.get(population, "")


def _with_interval(value: float, low: float, high: float, signed: bool = False) -> str:
    return (
        GAP if math.isnan(value) else f"{number_text(value, signed=signed)} {interval_text(low, high, signed=signed)}"
    )


def estimates_table(frames: Frames, number: int) -> Table:
    """Every experiment on every dataset, scores with their intervals."""
    rows = []
    keys = ["experiment", "train_data", "test_data", "split", "resolution"]
    for key, group in frames.uncertainty.groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True))
        for one in group.to_dict("records"):
            name = one["measure"]
            row |= {f"{name}{end}": one[field] for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))}
            row |= {f"{name}_sd": one["seed_sd"], f"{name}_reason": one["reason"], f"{name}_method": one["method"]}
            row[f"{name}_text"] = _with_interval(one["value"], one["low"], one["high"])
        first = group.iloc[0]
        row |= {"num_seeds": first["num_seeds"], "num_images": first["num_images"], "num_groups": first["num_groups"]}
        rows.append(row | {"about": about(str(first["population"])), "seed_sd": row["miou_sd"]})
    frame = pd.DataFrame(rows)
    formats = (
        Format("experiment", "Name"),
        Format("test_data", "Scored on"),
        *(Format(f"{key}_text", f"{LABELS[key]} [95 %]") for key in PRINTED),
        Format("seed_sd", "SD over seeds", 4),
        Format("num_seeds", "Seeds", 0),
        Format("num_images", "Images", 0),
        Format("about", "Interval is about"),
    )
    caption = (
        "Scores with 95 % intervals. With several seeds an interval covers images and seeds together: it is about the "
        "recipe, trained again on images like these. With one seed it covers images only: it is about this one network, and "
        f"says nothing about another seed. SD is that of mIoU over seeds. {contract(frames.scores)}"
    )
    return Table(f"{number}-estimates", f"Table {number}: Scores and how sure they are", caption, frame, formats)


def comparisons_table(frames: Frames, number: int) -> Table:
    """Every variant against its base, with interval, corrected p-value and verdict."""
    frame = frames.effects
    numbers = zip(*(frame[key].astype(float) for key in ("value", "low", "high")), strict=True)
    text = [_with_interval(v, low, high, signed=True) for v, low, high in numbers]
    seeds = [
        "" if math.isnan(a) else f"{a:.0f}" if a == b else f"{a:.0f}, {b:.0f}"
        for a, b in zip(*(frame[f"num_seeds_{side}"].astype(float) for side in ("variant", "base")), strict=True)
    ]
    frame = frame.drop(columns="components").assign(
        variant=mark_confounded(frame), difference=text, seeds=seeds, about=[about(str(p)) for p in frame["population"]]
    )
    formats = (
        Format("experiment", "Name"),
        Format("base", "Against"),
        Format("variant", "Variant"),
        Format("difference", "Δ mIoU [95 %]"),
        Format("p_holm", "p (Holm)", 4),
        Format("verdict", "Verdict"),
        Format("detectable", "Could have seen", 4),
        Format("seeds", "Seeds"),
        Format("about", "About"),
        *((Format("flags", "Differs beside the factor"),) if frame["flags"].any() else ()),
    )
    questions = int(frame["p_holm"].notna().sum())
    caption = (
        "Variant minus base on the same images. p is corrected for the study's "
        f"{questions} comparison{'s' if questions != 1 else ''} (Holm); a verdict needs p below 0.05, intervals are not "
        "corrected. “Not distinguishable” does not mean equal: “could have seen” is the smallest true difference that this study "
        "would find four times in five. With one seed a verdict is about these two networks only; another seed could turn it. "
        f"{contract(frames.scores[frames.scores['train_data'] == frames.scores['test_data']])}"
    )
    title = f"Table {number}: What each change does, and how surely"
    return Table(f"{number}-comparisons", title, caption, frame, formats)


def selection_table(frames: Frames, number: int) -> Table:
    """Last, chosen and best-on-reported epochs, and what choosing on the reported split would have added."""
    values = ["last", "chosen", "best", "optimism_points"]
    frame = over_seeds(frames.selection, ["experiment", "dataset"], values)
    formats = (
        Format("experiment", "Name"),
        Format("dataset", "Dataset"),
        Format("last", "Last epoch", 4),
        Format("chosen", "Chosen epoch", 4),
        Format("best", "Best on reported", 4),
        Format("optimism_points", "Optimism (points)", 2, signed=True),
    )
    paper = frames.plan.study.protocol == "paper"
    caption = (
        "mIoU of the reported split, at the network's input size, after three epochs of the same training: the last, the one "
        "that was chosen, and the one that scores best on the reported split itself. Optimism is the last of these minus the "
        "chosen, in points (hundredths): what choosing on the reported split adds to a score without any better network."
        + (" This study chose on the reported split, so its scores contain it." if paper else "")
    )
    return Table(f"{number}-selection", f"Table {number}: What choosing the epoch did", caption, frame, formats)
