"""Every number of a study in long form, a number a row: the frame, and the text of ``results.csv``.

Rows come in blocks, one measure of one evaluation at one level, in which all columns but three are the same.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segstudy import measures
from segstudy.counts.countset import CountSet
from segstudy.measures import OVERALL, PER_CLASS, Measure
from segstudy.plan import Plan

COLUMNS = (
    "study",
    "experiment",
    "seed",
    "train_data",
    "test_data",
    "split",
    "selected_on",
    "class",
    "measure",
    "level",
    "resolution",
    "absent_classes",
    "background",
    "ignore",
    "value",
    "n",
)
OWN = ("class", "value", "n")  # columns that differ within a block
CONSTANT = "(constant)"  # marks rows that say what no skill at all would score
Block = dict[str, Any]


def evaluation_of(block: Mapping[str, Any]) -> tuple[Any, ...]:
    """Experiment, seed, test_data and split: the evaluation that a block is of."""
    return (block["experiment"].removesuffix(f" {CONSTANT}"), block["seed"], block["test_data"], block["split"])


@dataclass(frozen=True)
class LongForm:
    """The blocks of rows, in order."""

    blocks: Sequence[Block]

    @cached_property
    def lengths(self) -> NDArray[np.intp]:
        """Number of rows of each block."""
        return np.array([len(block["value"]) for block in self.blocks], np.intp)

    @cached_property
    def frame(self) -> pd.DataFrame:
        """All rows; see :func:`results_frame`."""
        columns: dict[str, Any] = {}
        for name in COLUMNS:
            if name in OWN:
                columns[name] = np.concatenate([block[name] for block in self.blocks]) if self.blocks else []
            else:
                each = np.empty(len(self.blocks), object)
                each[:] = [block[name] for block in self.blocks]
                columns[name] = np.repeat(each, self.lengths)
        return pd.DataFrame(columns, columns=list(COLUMNS)).infer_objects()

    def rows(self, chosen: Callable[[Block], bool]) -> NDArray[np.bool_]:
        """Which rows are those of the chosen blocks."""
        return np.repeat(np.array([chosen(block) for block in self.blocks], np.bool_), self.lengths)

    def first_lines(self) -> dict[tuple[Any, ...], int]:
        """Line of ``results.csv`` at which each evaluation begins; the heading is line 1."""
        starts = np.cumsum(self.lengths) - self.lengths + 2
        found: dict[tuple[Any, ...], int] = {}
        for block, line in zip(self.blocks, starts, strict=True):
            found.setdefault(evaluation_of(block), int(line))
        return found

    def text(self) -> str:
        """``results.csv``: what pandas writes of :attr:`frame`, without making half a million rows of objects."""
        first, second = COLUMNS.index("class"), COLUMNS.index("value")
        lines = [_csv_line(COLUMNS)]
        for block in self.blocks:
            before = _csv_line([block[name] for name in COLUMNS[:first]])
            after = _csv_line([block[name] for name in COLUMNS[first + 1 : second]])
            names = map(_quoted, block["class"])
            for name, value, number in zip(names, block["value"].tolist(), block["n"].tolist(), strict=True):
                lines.append(f"{before},{name},{after},{'' if value != value else repr(value)},{number}")
        return "\n".join([*lines, ""])


@lru_cache(maxsize=100_000)  # an image's name stands in every block of its measures
def _quoted(text: str) -> str:
    return _csv_line([text]) if set(text) & set(',"\r\n') else text


def _csv_line(values: Sequence[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(values)
    return text.getvalue()


def results_frame(plan: Plan, sets: Iterable[CountSet]) -> pd.DataFrame:
    """Long form, a number a row, each with its contract.

    ``level`` is ``dataset`` (counts of all images merged), ``class`` (likewise, one class) or ``image`` (``class``
    then holds the image's id); ``n`` is what the number rests on: images for ``dataset`` and ``class`` (images in which
    the class is present), classes present for ``image``. ``resolution`` is where it was scored; scores of the confusion
    matrix are there at both, at the network's input size and at each image's own. Rows of an ``experiment`` that ends in
    ``(constant)`` hold what calling everything background would score on the same masks.
    """
    return LongForm(long_blocks(plan, sets)).frame


def long_blocks(plan: Plan, sets: Iterable[CountSet]) -> list[Block]:
    """The blocks of rows of every evaluation."""
    return [block for one in sets for block in _blocks(plan, one)]


def _blocks(plan: Plan, one: CountSet) -> Iterator[Block]:
    """Rows of one evaluation, those of a measure at a level together."""
    about = one.about
    common: dict[str, Any] = {
        "study": plan.study.name,
        "experiment": one.experiment,
        "seed": one.seed,
        "train_data": about.train_data,
        "test_data": about.test_data,
        "split": about.split,
        "selected_on": about.selected_on,
        "resolution": about.resolution,
        "absent_classes": about.absent_classes,
        "background": about.background,
        "ignore": about.ignored[0] if len(about.ignored) == 1 else " ".join(map(str, about.ignored)),
    }
    present = one.support > 0
    for level, measure in itertools.product(("dataset", "class", "image"), one.measures()):
        if level in measure.levels:
            yield common | _block(one, measure, level, one.counts[measure.counts], present)
    for other in ("input", "native"):
        if (name := f"confusion_{other}") in one.counts:
            for level, group in (("dataset", OVERALL), ("class", PER_CLASS)):
                for measure in group:
                    yield common | _block(one, measure, level, one.counts[name], present) | {"resolution": other}
    nothing = {"experiment": f"{one.experiment} {CONSTANT}", "train_data": "", "selected_on": ""}
    constant = one.constant()
    for measure in OVERALL:
        yield common | nothing | _block(one, measure, "dataset", constant, present)


def _block(
    one: CountSet, measure: Measure, level: str, counts: NDArray[Any], present: NDArray[np.bool_]
) -> dict[str, Any]:
    """One measure at one level of counts (n, ...): a value, or a value a class, or a value an image."""
    names: Sequence[str] = ("",)
    numbers = np.array([len(counts)])
    if level == "image":
        names, values, numbers = one.ids, np.asarray(measure.function(counts)), present.sum(axis=1)
    else:
        values = np.atleast_1d(measure.function(measures.merge(counts)))
        if level == "class":
            names, numbers = one.classes, present.sum(axis=0)
    column = np.empty(len(names), object)
    column[:] = names
    return {"class": column, "measure": measure.key, "level": level, "value": values.astype(float), "n": numbers}
