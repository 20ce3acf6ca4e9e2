"""Names of folds. An experiment on a dataset with ``fold: all`` has one network for each fold and seed.

In the store and in messages, the experiment ``unet`` on ``kvasir`` is ``unet@fold0`` on ``kvasir@fold0`` and so on.
Results pool them: see :mod:`segstudy.pooling`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ALL_FOLDS = "all"
_FOLD = "@fold"  # no name of a study file can contain it


def in_fold(name: str, fold: int) -> str:
    """Name of one fold of a dataset, or of an experiment in that fold.

    >>> in_fold("unet", 3), whole(in_fold("unet", 3)), whole("unet")
    ('unet@fold3', 'unet', 'unet')
    """
    return f"{name}{_FOLD}{fold}"


def whole(name: str) -> str:
    """The name without the fold."""
    return name.partition(_FOLD)[0]


def fold_of(name: str) -> int | None:
    """The fold in a name; None if there is none."""
    fold = name.partition(_FOLD)[2]
    return int(fold) if fold else None


def pooled_split(num_folds: int) -> str:
    """Name of the split that the test images of all folds make.

    >>> is_pooled(pooled_split(5)), is_pooled("test")
    (True, False)
    """
    return f"test of {num_folds} folds"


def is_pooled(split: object) -> bool:
    """Whether a split is that of all folds."""
    return str(split).startswith("test of ") and str(split).endswith(" folds")


def read_fold(value: Any) -> int | str:
    """Check the key ``fold``: a number from 0 on, or ``all``."""
    if value == ALL_FOLDS or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value  # type: ignore[no-any-return]
    raise ValueError(f"must be the number of a fold, counted from 0, or all (given: {value!r:.40})")


def fold_problems(
    data: Mapping[str, Any], trained_on: Sequence[str | None], targets: Sequence[str], sequential: bool
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where a study uses ``fold: all`` without a meaning: the keys and what to do.

    Parameters
    ----------
    data
        The ``data`` entries by name.
    trained_on, targets
        For each cross-evaluation, the dataset of its experiment and its target.
    sequential
        Whether seeds are added until the comparisons are decided.

    """
    folded = [name for name, entry in data.items() if entry.fold == ALL_FOLDS]
    for name in folded:
        if data[name].folds is None:
            yield ("data", name, "fold"), "all needs the number of folds; add folds: 5, for example"
    if folded and sequential:
        yield ("seeds",), f"cannot be added one by one while data.{folded[0]} has fold: all; give a list of seeds"
    for index, ends in enumerate(zip(trained_on, targets, strict=True)):
        if one := next((name for name in ends if name in folded), None):
            yield (
                ("cross_evaluations", index),
                f"data.{one} has fold: all, so each image is tested by one network of several; "
                "cross-evaluate with an entry of one fold",
            )
