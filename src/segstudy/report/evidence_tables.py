"""Tables of how sure the numbers are: scores with intervals, comparisons with verdicts, what choosing the epoch did."""

from __future__ import annotations

import math

import pandas as pd

from segstudy.measures import OVERALL
from segstudy.report.contract import contract
from segstudy.report.contrasts import Frames, over_seeds
from segstudy.report.tables import Format, Table, mark_confounded, scores_of, with_contract

PRINTED = ("miou", "mdice", "pixel_accuracy")
LABELS = {measure.key: measure.label for measure in OVERALL}


def about(population: str) -> str:
    """What an interval or verdict speaks about, in a reader's words."""
    return {"images": "these networks", "images and seeds": "recipes"}.get(population, "")


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
        first = group.iloc[0]
        row |= {"num_seeds": first["num_seeds"], "num_images": first["num_images"], "num_groups": first["num_groups"]}
        rows.append(row | {"about": about(str(first["population"])), "seed_sd": row["miou_sd"]})
    frame = pd.DataFrame(rows)
    frame = with_contract(frame, [scores_of(frames, [str(r["experiment"])], str(r["test_data"])) for r in rows])
    formats = (
        Format("experiment", "Name"),
        Format("test_data", "Scored on"),
        *(
            Format(key, f"{LABELS[key]} [95 %]", 4, bounds=(f"{key}_low", f"{key}_high"), level="dataset")
            for key in PRINTED
        ),
        Format("seed_sd", "SD over seeds", 4, level="dataset"),
        Format("num_seeds", "Seeds", 0),
        Format("num_images", "Images", 0),
        Format("about", "Interval is about"),
    )
    caption = (
        "Scores with 95 % intervals. With several seeds an interval covers images and seeds together: it is about the "
        "recipe, trained again on images like these. With one seed it covers images only: it is about this one network, and "
        f"says nothing about another seed. SD is that of mIoU over seeds. The CSV has every measure. {contract(frames.scores)}"
    )
    return Table(f"{number}-estimates", f"Table {number}: Scores and how sure they are", caption, frame, formats)


def comparisons_table(frames: Frames, number: int) -> Table:
    """Every variant against its base, with interval, corrected p-value and verdict."""
    frame = frames.effects
    seeds = [
        "" if math.isnan(a) else f"{a:.0f}" if a == b else f"{a:.0f}, {b:.0f}"
        for a, b in zip(*(frame[f"num_seeds_{side}"].astype(float) for side in ("variant", "base")), strict=True)
    ]
    told = [about(str(population)) for population in frame["population"]]
    frame = frame.drop(columns="components").assign(variant=mark_confounded(frame), seeds=seeds, about=told)
    pairs = [(str(a), str(b)) for a, b in zip(frame["experiment"], frame["base"], strict=True)]
    frame = with_contract(frame, [scores_of(frames, pair) for pair in pairs])
    formats = (
        Format("experiment", "Name"),
        Format("base", "Against"),
        Format("variant", "Variant"),
        Format("value", "Δ mIoU [95 %]", 4, signed=True, bounds=("low", "high"), level="dataset"),
        Format("p_holm", "p (Holm)", 4),
        Format("verdict", "Verdict"),
        Format("detectable", "Could have seen", 4, level="dataset"),
        Format("seeds", "Seeds"),
        Format("about", "About"),
        *((Format("flags", "Differs beside the factor"),) if frame["flags"].any() else ()),
    )
    questions = int(frame["questions"].iloc[0])
    caption = (
        "Variant minus base on the same images. p is corrected for the study's "
        f"{questions} comparison{'s' if questions != 1 else ''} (Holm), finished or not; a verdict needs p below 0.05, "
        "intervals are not corrected. “Not distinguishable” does not mean equal: “could have seen” is the smallest true difference "
        "that this study "
        "would find four times in five, corrected likewise. "
        "With one seed a verdict is about these two networks only; another seed could turn it. "
        f"{contract(pd.concat([scores_of(frames, pair) for pair in pairs]))}"
    )
    title = f"Table {number}: What each change does, and how surely"
    return Table(f"{number}-comparisons", title, caption, frame, formats)


def selection_table(frames: Frames, number: int) -> Table:
    """Last, chosen and best-on-reported epochs, and what choosing on the reported split would have added."""
    values = ["last", "chosen", "best", "optimism_points"]
    frame = over_seeds(frames.selection, ["experiment", "dataset"], values)
    at_input = [scores_of(frames, [name]).assign(resolution="input") for name in frame["experiment"]]
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
    paper = frames.plan.study.protocol == "paper"
    caption = (
        "mIoU of the reported split after three epochs of the same training: the last, the one "
        "that was chosen, and the one that scores best on the reported split itself. Optimism is the last of these minus the "
        "chosen, in points (hundredths): what choosing on the reported split adds to a score without any better network."
        + (" This study chose on the reported split, so its scores contain it." if paper else "")
        + f" {contract(pd.concat(at_input), spread=True)}"
    )
    return Table(f"{number}-selection", f"Table {number}: What choosing the epoch did", caption, frame, formats)
