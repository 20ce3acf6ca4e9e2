"""What a number rests on, in words: sentences for a caption, a line for whoever points at one number.

Rows here are of the score frame (:func:`segstudy.report.contrasts.score_frame`): a run on a split a row.
"""

from __future__ import annotations

import pandas as pd

from segstudy.plan import IMPORTED
from segstudy.report.results import CONTRACT

SIZES = {"input": "the network's input size", "native": "each image's own size"}
RULES = f"absent classes {CONTRACT['absent_classes']}, background {CONTRACT['background']}, ignore {CONTRACT['ignore']}"
# How pixels become a number at each level.
LEVELS = {
    "dataset": "pixels of all images together; means are over the classes present, the background among them",
    "class": "each class by itself, pixels of all images together; the background is a class",
    "image": "each image by itself; means are over the classes present in it, the background among them",
}


def contract(rows: pd.DataFrame, level: str = "dataset") -> str:
    """What the scores in ``rows`` rest on, in a few short sentences."""
    rows = rows.dropna(subset=["miou"])
    if rows.empty:
        return "No finished run yet."
    splits = rows.drop_duplicates(["test_data", "split"])
    where = ", ".join(f"{r.test_data} {r.split} ({r.n:.0f} images)" for r in splits.itertuples())
    return (
        f"Split: {where}. {_choice(rows)} Scored at {_sizes(rows)}, {LEVELS[level]}; pixels labelled {CONTRACT['ignore']} "
        f"are ignored. {_seeds(rows)}"
    )


def scored_words(rows: pd.DataFrame) -> str:
    """Where the scores in ``rows`` were taken: size and splits."""
    rows = rows.dropna(subset=["miou"])
    where = dict.fromkeys(f"{r.test_data} {r.split}" for r in rows.itertuples())
    return f"at {_sizes(rows)}; {', '.join(where)}" if len(rows) else ""


def choice_words(rows: pd.DataFrame) -> str:
    """What chose the epoch of the networks in ``rows``."""
    chosen = dict.fromkeys(rows.dropna(subset=["miou"])["selected_on"])
    return " and ".join("imported, choice unknown" if c == IMPORTED else f"epoch chosen on {c}" for c in chosen)


def number_words(level: str, scored: str, choice: str) -> str:
    """The whole contract of one number in a line.

    >>> number_words("class", "at each image's own size; city val", "the last epoch")
    "class level, absent classes left out, background a class, ignore 255, at each image's own size; city val, the last epoch"
    """
    return ", ".join(part for part in (f"{level} level", RULES, scored, choice) if part)


def _sizes(rows: pd.DataFrame) -> str:
    return " and ".join(SIZES[size] for size in dict.fromkeys(rows["resolution"]))


def _choice(rows: pd.DataFrame) -> str:
    """Which split chose the epoch, and what that does to the score."""
    same = rows["selected_on"] == rows["test_data"] + "/" + rows["split"]
    if same.all():
        return "Epoch chosen on the reported split (the review's protocol), which flatters the score."
    if same.any():
        return "Epoch chosen on the reported split of the training data (the review's protocol), which flatters that score."
    imported = rows["selected_on"] == IMPORTED
    if imported.all():
        return "Trained elsewhere and imported: which split chose the epoch is not known."
    chosen = f"Epoch chosen on {', '.join(dict.fromkeys(rows['selected_on'][~imported]))}, which is never reported"
    return f"{chosen}; runs trained elsewhere and imported are the exception." if imported.any() else f"{chosen}."


def _seeds(rows: pd.DataFrame) -> str:
    seeds = sorted(set(rows["seed"]))
    if len(seeds) == 1:
        return f"Single run (seed {seeds[0]}); nothing is known about other seeds."
    return f"Mean over {len(seeds)} seeds ({', '.join(map(str, seeds))}); ± is their standard deviation."
