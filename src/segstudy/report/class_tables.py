"""Tables that go class by class: two baselines beside each other, scores with intervals, what each change does to each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd

from segstudy.errors import listing
from segstudy.guard import differing
from segstudy.report.contract import choice_words, contract, scored_words
from segstudy.report.contrasts import Frames, class_contrast
from segstudy.report.evidence import NOT_COMPARABLE
from segstudy.report.tables import Format, Table, named, scores_of, with_contract
from segstudy.stats.comparison import BETTER, WORSE

THRESHOLD = 0.05  # the paper's, for table 7
MARKS = {BETTER: "↑", WORSE: "↓"}
FRONT = (Format("index", "Index", 0), Format("class", "Class"), Format("images", "Images", 0))


def class_table(frames: Frames, pair: tuple[str, str, str], alone: bool, number: int) -> Table:
    """Table 7: two baselines class by class."""
    dataset, first, second = pair
    frame = class_contrast(frames.classes, first, second, THRESHOLD)
    known = frames.class_effects[
        (frames.class_effects["experiment"] == first) & (frames.class_effects["base"] == second)
    ]
    frame = frame.merge(known[["class", "low", "high"]], on="class", how="left")
    scores = scores_of(frames, pair[1:])
    frame = with_contract(frame, [scores] * len(frame))
    arch = named(frames.comparison).set_index("experiment")["model"]
    formats = [*FRONT]
    for key, label in (("iou", "IoU"), ("dice", "Dice")):
        formats += [
            _of(Format(f"{key}_first", f"{arch[first]} {label}", 4), frames, first),
            _of(Format(f"{key}_second", f"{arch[second]} {label}", 4), frames, second),
            _of(Format(f"{key}_delta", f"Δ {label}", 4, signed=True), frames, first, second),
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
    waiting = frames.comparison[frames.comparison["experiment"].isin(pair[1:]) & (frames.comparison["state"] != "done")]
    gaps = "".join(f" {row.experiment}: {row.state}." for row in waiting.itertuples())
    if phrases := differing(frames.records.get(first, []), frames.records.get(second, [])):
        gaps += f" The two also differ in: {'; '.join(phrases)}."
    name = f"{number}-per-class-{dataset}" + ("" if alone else f"-{second}")
    return Table(name, f"Table {number}: Classes of {dataset}", caption + gaps, frame, tuple(formats))


def class_scores_table(frames: Frames, dataset: str, number: int) -> Table:
    """IoU of every class with its interval; baselines are printed, the CSV has every experiment."""
    known = frames.classes[(frames.classes["test_data"] == dataset) & (frames.classes["measure"] == "iou")]
    frame = _classes_of(known)
    for experiment, group in known.groupby("experiment", sort=False):
        columns = ("value", "low", "high", "reason")
        frame = frame.merge(_renamed(group, str(experiment), columns), on="index", how="left")
    baselines = frames.comparison[(frames.comparison["base"] == "") & (frames.comparison["dataset"] == dataset)]
    names = [str(name) for name in dict.fromkeys(known["experiment"])]
    shown = [name for name in names if name in set(baselines["experiment"])] or names
    formats = [
        _of(Format(f"{name} value", name, 4, bounds=(f"{name} low", f"{name} high")), frames, name) for name in shown
    ]
    scores = scores_of(frames, shown)
    caption = (
        "IoU of each class with its 95 % interval, which is about the recipe where there are several seeds and about this one "
        "network where there is one. The CSV has the variants too, and why a class has no interval. "
        f"{contract(scores, 'class')}{_waiting(baselines, shown)}"
    )
    title = f"Table {number}: IoU of the classes of {dataset}, and how sure it is"
    frame = with_contract(frame, [scores] * len(frame))
    return Table(f"{number}-class-scores-{dataset}", title, caption, frame, (*FRONT, *formats))


def class_effects_table(frames: Frames, base: str, number: int) -> Table:
    """What each variant of one base does to each class's IoU, with interval."""
    variants = frames.effects[frames.effects["base"] == base]
    effects = variants[variants["value"].notna()]
    fair = effects[effects["verdict"] != NOT_COMPARABLE]
    names = [str(name) for name in fair["experiment"]]
    known = frames.class_effects[frames.class_effects["base"] == base]
    own = frames.classes[(frames.classes["experiment"] == base) & (frames.classes["measure"] == "iou")]
    frame = _classes_of(own).merge(_renamed(own, base, ("value", "low", "high")), on="index", how="left")
    formats = [*FRONT, _of(Format(f"{base} value", base, 4), frames, base)]
    for name, confounded in zip(names, fair["confounded"], strict=True):
        group = known[known["experiment"] == name].assign(mark=lambda rows: rows["verdict"].map(MARKS).fillna(""))
        columns = ("value", "low", "high", "p_holm", "verdict", "mark", "reason")
        frame = frame.merge(_renamed(group, name, columns), on="index", how="left")
        label = f"Δ {name}{' (confounded)' if confounded else ''}"
        column = Format(f"{name} value", label, 4, signed=True, bounds=(f"{name} low", f"{name} high"))
        formats.append(_of(replace(column, mark=f"{name} mark"), frames, name, base))
    scores = scores_of(frames, [base, *names])
    left_out = [f"{row.experiment} ({row.flags})" for row in effects.itertuples() if row.experiment not in names]
    notes = f" Not comparable with {base}: {listing(left_out)}." if left_out else ""
    notes += "".join(
        f" {name} also differs in: {flags}." for name, flags in zip(names, fair["flags"], strict=True) if flags
    )
    states = frames.comparison[frames.comparison["experiment"].isin(variants["experiment"])]
    caption = (
        f"IoU of each class: {base}, then each variant minus {base} on the same images, with 95 % intervals. "
        f"{MARKS[BETTER]} better, {MARKS[WORSE]} worse: p below 0.05 after Holm's correction over the classes of that one "
        f"comparison, beside the study's verdicts; anything else is not distinguishable. {contract(scores, 'class')}{notes}"
        f"{_waiting(states, [str(name) for name in effects['experiment']])}"
    )
    title = f"Table {number}: What each change of {base} does, class by class"
    frame = with_contract(frame, [scores] * len(frame))
    return Table(f"{number}-class-effects-{base}", title, caption, frame, tuple(formats))


def _of(column: Format, frames: Frames, *names: str) -> Format:
    """A column of scores of classes, which are of these experiments."""
    rows = scores_of(frames, names)
    return replace(column, level="class", scored=scored_words(rows), choice=choice_words(rows))


def _waiting(experiments: pd.DataFrame, shown: Sequence[str]) -> str:
    """Experiments that should be here and have no result, with their states."""
    missing = [f"{r.experiment} ({r.state})" for r in experiments.itertuples() if r.experiment not in shown]
    return f" No result yet: {listing(missing)}." if missing else ""


def _classes_of(known: pd.DataFrame) -> pd.DataFrame:
    """A class a row, in the dataset's order."""
    classes = known.drop_duplicates("index").sort_values("index")
    return classes[["index", "class", "images"]].reset_index(drop=True)


def _renamed(group: pd.DataFrame, name: str, columns: tuple[str, ...]) -> pd.DataFrame:
    """``index`` and ``columns``, which get an experiment's name before them."""
    return group[["index", *columns]].rename(columns={column: f"{name} {column}" for column in columns})
