"""Predictions whose class indices are numbered otherwise than those of the true masks: by one, or as Cityscapes has two ways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from segstudy.data import proposals
from segstudy.data.core import IGNORE
from segstudy.data.declared import IGNORE_NAME, Declared
from segstudy.data.readers.cityscapes import NUM_LABEL_IDS, TABLE
from segstudy.errors import DataError

MIN_AGREE, MIN_TIMES, MIN_CLASSES = 0.3, 2, 2  # share of pixels that agree, times those that do so unturned; classes
MAX_NAMED = 40  # values that a proposal names
TRAIN_ID_OF = {label_id: train_id for train_id, (_, _, label_id) in enumerate(TABLE)}
ONE_LESS = {index: index - 1 for index in range(1, IGNORE)}
Table = NDArray[np.int64]


def refuse_renumbered(tables: Iterable[Table], declared: Declared) -> None:
    """Refuse to score masks that agree once the indices of one side are renumbered, by pixels (256, 256) of each image.

    Raises
    ------
    DataError
        If one side holds Cityscapes label ids and the other train ids, or one counts classes from 1 and the other from 0: most
        pixels of two classes or more agree once the one is turned into the other, and far more than as they are.

    """
    if declared.means is not None:
        return
    table = np.zeros((256, 256), np.int64)
    for each in tables:
        table += each
    for side, other, counts in (("true masks", "predictions", table), ("predictions", "true masks", table.T)):
        turned = _agreeing(counts, TRAIN_ID_OF)
        if turned and np.flatnonzero(counts[:IGNORE].any(axis=1)).max() < NUM_LABEL_IDS:
            names = {label_id: name for name, _, label_id in TABLE}
            text = f"the {side} hold Cityscapes label ids and the {other} train ids: {turned:,} pixels agree once label ids are "
            raise _refusal(f"{text}turned into train ids", counts, names, side, declared)
        if turned := _agreeing(counts, ONE_LESS):
            names = {index: f"class_{index}" for index in ONE_LESS}
            text = (
                f"the {side} count classes from 1 and the {other} from 0: {turned:,} pixels agree once 1 is taken away"
            )
            raise _refusal(text, counts, names, side, declared)


def _agreeing(counts: Table, turned: Mapping[int, int]) -> int:
    """Pixels that agree once the rows' values are turned into others; 0 where these are not clearly more than without."""
    scored = counts[:IGNORE]
    known = np.isin(np.flatnonzero(scored.any(axis=0)), [*turned.values(), IGNORE]).all()
    by_class = {value: int(counts[value, other]) for value, other in turned.items()}
    agreeing, same = sum(by_class.values()), int(np.trace(scored))
    most = sum(number > scored[value].sum() / 2 for value, number in by_class.items())
    clear = agreeing > MIN_AGREE * scored.sum() and agreeing > MIN_TIMES * same and most >= MIN_CLASSES
    return agreeing if known and clear else 0


def _refusal(text: str, counts: Table, names: Mapping[int, str], side: str, declared: Declared) -> DataError:
    """The message, with the flag that renumbers true masks."""
    own = [int(value) for value in np.flatnonzero(counts[:IGNORE].any(axis=1))]
    last = max(own)
    shown = {str(value): name for value, name in names.items() if value <= last or value in own}
    shown |= {str(value): IGNORE_NAME for value in own if value not in names}
    advice = "turn both into the same ids"
    if side == "true masks" and len(shown) <= MAX_NAMED:
        advice += f", or write {proposals.option('values', shown, declared.flags)}"
    return DataError(f"{text}, {int(np.trace(counts[:IGNORE])):,} as they are; {advice}")
