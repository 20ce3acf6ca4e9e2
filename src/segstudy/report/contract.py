"""The contract of a number in words: sentences for a caption, a line for the tooltip of one number.

Rows here are of the score frame (:func:`segstudy.report.frames.score_frame`): a run on a split a row.
"""

from __future__ import annotations

from collections.abc import Iterable

import pandas as pd

from segstudy.errors import listing
from segstudy.folds import is_pooled
from segstudy.plan import IMPORTED
from segstudy.records import NOT_TRAINED, EvaluationRecord

FOREIGN = "Not trained here: whether the training data hold scored images is unknown"
_RULES = EvaluationRecord(classes=())
RESOLUTION_WORDS = {"input": "the network's input size", "native": "each image's own size"}
RULES = f"absent classes {_RULES.absent_classes}, background {_RULES.background}, ignore {_RULES.ignore}"
# How pixels become a number at each level.
LEVELS = {
    "dataset": "pixels of all images together; means are over the classes present, the background among them",
    "class": "each class by itself, pixels of all images together; the background is a class",
    "image": "each image by itself; means are over the classes present in it, the background among them",
}


def contract(rows: pd.DataFrame, level: str = "dataset", spread: bool = False) -> str:
    """The contract of the scores in ``rows``, in a few short sentences; ``spread`` if deviations over seeds are printed."""
    rows = rows.dropna(subset=["miou"])
    if rows.empty:
        return "No finished run yet."
    splits = rows.drop_duplicates(["test_data", "split"])
    where = ", ".join(
        f"{r.test_data} {r.split} ({r.n:.0f} image{'' if r.n == 1 else 's'})" for r in splits.itertuples()
    )
    return (
        f"Split: {where}. {_choice(rows)}{_early(rows)}{_parts(rows)}{_synchronised(rows)}{_remarks(rows)} Scored at "
        f"{_sizes(rows)}, {LEVELS[level]}; pixels labelled {_RULES.ignore} are ignored. {_seeds(rows, level, spread)}"
    )


def scored_words(rows: pd.DataFrame) -> str:
    """The size, splits and seeds of the scores in ``rows``, in words."""
    rows = rows.dropna(subset=["miou"])
    where = dict.fromkeys(f"{r.test_data} {r.split}" for r in rows.itertuples())
    return f"at {_sizes(rows)}; {', '.join(where)}; {_listed(set(rows['seed']))}" if len(rows) else ""


def choice_words(rows: pd.DataFrame) -> str:
    """The split that chose the epoch of the networks in ``rows``."""
    chosen = dict.fromkeys(rows.dropna(subset=["miou"])["selected_on"])
    words = {IMPORTED: "imported, choice unknown", NOT_TRAINED: "not trained here, training data unknown"}
    return " and ".join(words.get(c, f"epoch chosen on {c}") for c in chosen)


def number_words(level: str, scored: str, choice: str) -> str:
    """The whole contract of one number in a line; ``level`` is one of ``LEVELS``, or ``images`` for a mean of images' own values.

    >>> number_words("class", "at each image's own size; city val", "the last epoch")
    "class level, absent classes left out, background a class, ignore 255, at each image's own size; city val, the last epoch"
    """
    of = "image level, mean over images" if level == "images" else f"{level} level"
    return ", ".join(part for part in (of, RULES, scored, choice) if part)


def _sizes(rows: pd.DataFrame) -> str:
    return " and ".join(RESOLUTION_WORDS[size] for size in dict.fromkeys(rows["resolution"]))


def _choice(rows: pd.DataFrame) -> str:
    """Which split chose the epoch, and what that does to the score."""
    imported, foreign = rows["selected_on"] == IMPORTED, rows["selected_on"] == NOT_TRAINED
    if foreign.all():
        return f"{FOREIGN}."
    if foreign.any():
        names = listing(dict.fromkeys(rows["experiment"][foreign]))
        return f"{_choice(rows[~foreign])} {names}: {FOREIGN[0].lower()}{FOREIGN[1:]}."
    if imported.all():
        return "Trained elsewhere and imported: which split chose the epoch is not known."
    trained = rows[~imported]
    if (trained["protocol"] == "paper").all():
        own = (trained["test_data"] == trained["train_data"]).all()
        of, that = ("", "the") if own else (" of the training data", "that")
        chosen = f"Epoch chosen on the reported split{of} (the review's protocol), which flatters {that} score"
    else:
        chosen = f"Epoch chosen on {', '.join(dict.fromkeys(trained['selected_on']))}, which is never reported"
    names = listing(dict.fromkeys(rows["experiment"][imported]))
    return f"{chosen}; but {names}: trained elsewhere and imported, choice unknown." if imported.any() else f"{chosen}."


def _early(rows: pd.DataFrame) -> str:
    """Which experiments end their training early, and by which split."""
    early = rows[rows["patience"].notna()] if "patience" in rows else rows[:0]
    if early.empty:
        return ""
    epochs = listing(dict.fromkeys(f"{patience:.0f}" for patience in early["patience"]))
    whose = "" if len(early) == len(rows) else f" of {listing(dict.fromkeys(early['experiment']))}"
    return f" Training{whose} ended early, after {epochs} epochs without a better score on that split."


def _remarks(rows: pd.DataFrame) -> str:
    """Which experiments do not predict in one pass of one network, or saw images of another dataset in training."""
    words = ""
    for column, before in (("predicts", "Predictions{}: {}."), ("saw", "Training{} also saw {}.")):
        if column not in rows:
            continue
        marked = rows[rows[column] != ""]
        for what, group in marked.groupby(column, sort=False):
            whose = "" if len(group) == len(rows) else f" of {listing(dict.fromkeys(group['experiment']))}"
            words += f" {before.format(whose, what)}"
    return words


def _synchronised(rows: pd.DataFrame) -> str:
    """Which experiments have batch statistics of the whole batch, on however many devices."""
    found = rows[rows["synchronised"]] if "synchronised" in rows else rows[:0]
    if found.empty:
        return ""
    whose = "" if len(found) == len(rows) else f" of {listing(dict.fromkeys(found['experiment']))}"
    return f" Batch statistics{whose} are synchronised over devices."


def _parts(rows: pd.DataFrame) -> str:
    """Which experiments work on a batch in parts: batch normalisation then sees a part at a time."""
    divided = rows[rows["accumulate"] > 1] if "accumulate" in rows else rows[:0]
    if divided.empty:
        return ""
    parts = listing(dict.fromkeys(f"{number:.0f}" for number in divided["accumulate"]))
    whose = "" if len(divided) == len(rows) else f" of {listing(dict.fromkeys(divided['experiment']))}"
    return f" Batches{whose} were trained on in {parts} parts; batch statistics are those of each part."


def _seeds(rows: pd.DataFrame, level: str, spread: bool) -> str:
    seeds: dict[frozenset[int], list[str]] = {}
    for name, group in rows.groupby("experiment", sort=False):
        seeds.setdefault(frozenset(group["seed"]), []).append(str(name))
    first, *others = seeds
    if rows["split"].map(is_pooled).all():
        return f"A network for each fold, {_listed(set(rows['seed']))}; the score pools their test images."
    if not others and len(first) == 1:
        return f"Single run ({_listed(first)}); nothing is known about other seeds."
    described = f"{len(first)} seeds ({', '.join(map(str, sorted(first)))})"
    if others:
        described = (
            "seeds (" + "; ".join(f"{listing(of)}: {', '.join(map(str, sorted(s)))}" for s, of in seeds.items()) + ")"
        )
    mean = "Of" if level == "image" else "Mean over"
    return f"{mean} {described}{'; ± is their standard deviation' if spread else ''}."


def _listed(seeds: Iterable[int]) -> str:
    ordered = sorted(seeds)
    return f"seed{'' if len(ordered) == 1 else 's'} {', '.join(map(str, ordered))}"
