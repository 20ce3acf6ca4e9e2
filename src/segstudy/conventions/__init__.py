"""How other libraries and papers turn the same confusion counts into "mIoU" and "Dice".

Every rule is a function of the counts that segstudy keeps, so no mask need be read again. What differs is what is
averaged first, and what a class without a true pixel counts: it is *absent* but predicted, or it is *nowhere*, in
neither truth nor prediction. Rules for distances between outlines need the masks: see :mod:`segstudy.conventions.outlines`.

Array letters: ``n`` image, ``c`` class. Counts are ``(n, c, c)``: an image's true classes in rows, predicted in columns.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from segstudy.arrays import Confusion
from segstudy.conventions.outlines import OUTLINE_RULES
from segstudy.conventions.rules import Convention
from segstudy.conventions.table import CONVENTIONS
from segstudy.errors import SpecError, listing, nearest
from segstudy.measures import OVERALL, merge, support

__all__ = ["CONVENTIONS", "NAMES", "Convention", "chosen", "outlines_among", "rescore"]

# Which of our measures another library's number is shown next to.
COUNTERPART = {
    **dict.fromkeys(("mIoU", "iou_score", "JaccardIndex", "MeanIoU", "jaccard_score"), "miou"),
    **dict.fromkeys(("averageScoreClasses", "avacc"), "miou"),
    **dict.fromkeys(("mDice", "mFscore", "f1_score", "F1Score", "DiceScore", "DiceMetric"), "mdice"),
    **dict.fromkeys(("aAcc", "mPA"), "pixel_accuracy"),
    **dict.fromkeys(("mAcc", "Accuracy"), "mean_class_accuracy"),
}

NAMES = tuple(dict.fromkeys(row.name for row in (*CONVENTIONS, *OUTLINE_RULES)))


def chosen(names: Sequence[str]) -> tuple[Convention, ...]:
    """Rows of the table by name, ``all`` for all of them, in the table's order.

    Raises
    ------
    SpecError
        For a name that is not in the table, with the nearest one.

    """
    for name in names:
        if name not in (*NAMES, "all"):
            raise SpecError(f"--as {name}: no such rule{nearest(name, NAMES)}; there are {listing(NAMES, 20)}, and all")
    return tuple(row for row in CONVENTIONS if row.name in names or "all" in names)


def outlines_among(names: Sequence[str]) -> tuple[str, ...]:
    """Which of the rules that ``--as`` names need masks, as they measure outlines; ``all`` names every one.

    Raises
    ------
    SpecError
        For a name that is no rule at all.

    """
    chosen(names)
    return tuple(rule.name for rule in OUTLINE_RULES if rule.name in names or "all" in names)


def rescore(confusion: Confusion, classes: Sequence[str], names: Sequence[str]) -> dict[str, Any]:
    """The same counts under the rules that ``names`` ask for, each with segstudy's number, as plain data.

    Undefined numbers are None; ``scores`` is empty where a rule is for two classes only.
    """
    merged = merge(confusion)
    ours = {measure.key: float(measure.function(merged)) for measure in OVERALL}
    true, predicted = support(merged), merged.sum(axis=0)
    rows = []
    for row in chosen(names):
        scores = row.scores(confusion)
        rows.append(
            {
                "as": row.name,
                "library": row.library,
                "call": row.call,
                **row.rule(),
                "scores": {label: _defined(value) for label, value in scores.items()},
                "segstudy": {label: _defined(ours[COUNTERPART[label]]) for label in scores},
                "why": row.why,
            }
        )
    return {
        "absent_but_predicted": [name for k, name in enumerate(classes) if not true[k] and predicted[k]],
        "nowhere": [name for k, name in enumerate(classes) if not true[k] and not predicted[k]],
        "images_without_some_class": int(((support(confusion) == 0) & (true > 0)).any(axis=1).sum()),
        "images": len(confusion),
        "rules": rows,
    }


def _defined(value: float) -> float | None:
    return None if math.isnan(value) else value
