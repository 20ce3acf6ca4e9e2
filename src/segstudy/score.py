"""Score predicted masks from any framework against true masks: no network, no study.

Array letters: ``n`` image, ``c`` class.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Confusion, Counts, Labels
from segstudy.conventions.outlines import count_outlines
from segstudy.counts.counting import confusion_matrix, count_pair, stack_counts
from segstudy.counts.countset import TRUTH, CountSet, hash_labels
from segstudy.data.core import IGNORE, Sample, read_grey
from segstudy.data.quality.pairing import list_images
from segstudy.data.readers.folder import MAX_CLASSES, MAX_GUESSED
from segstudy.data.splitting.groups import find_groups
from segstudy.errors import DataError, SpecError, listing
from segstudy.progress import Progress
from segstudy.records import EvaluationRecord
from segstudy.schema import ScoringRules

ValueTable = NDArray[np.int64]
Made = TypeVar("Made")
JPEG = (".jpg", ".jpeg")
LEFT_OUT, OUTSIDE = -1, -2  # what a mask's value means when it is no class
ELSEWHERE = "unknown (masks from elsewhere)"  # of which split the masks are, and what chose the epoch of their network


@dataclass(frozen=True)
class _Meaning:
    """What stored values 0-255 of two folders' masks mean: a class, ``LEFT_OUT`` or ``OUTSIDE``."""

    num_classes: int
    true: ValueTable
    predicted: ValueTable


@dataclass(frozen=True)
class _Tally:
    """Pixels of one pair of masks by stored values, ``table[i, j]`` of ``true[i]`` and ``predicted[j]``.

    What the values mean can be said only when all masks have been seen. ``counts`` were taken before that, with the
    meaning that the pair's own values suggest: ``guess``, of ``true`` and of ``predicted``. Empty where nothing could be
    counted.
    """

    pair: Sample
    true: ValueTable
    predicted: ValueTable
    table: Confusion
    guess: tuple[ValueTable, ValueTable] = (np.empty(0, np.int64), np.empty(0, np.int64))
    counts: Mapping[str, Counts] = field(default_factory=dict)


def score_masks(
    predictions: str | os.PathLike[str],
    truth: str | os.PathLike[str],
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    ignore_values: Sequence[int] = (),
    rules: ScoringRules | None = None,
    groups: str | None = None,
    progress: Progress | None = None,
    outlines: Sequence[str] = (),
) -> CountSet:
    """Count every mask in ``predictions`` against the mask of the same name in ``truth``.

    Masks are scored at their own size, each pixel's value being its class; 255 and ``ignore_values`` in the truth are
    left out. For two classes, a folder whose masks hold 0 and 255 only is read as background and foreground, and so
    are JPEG masks. But 255 in predictions is an error where the truth uses 255 for pixels to leave out.

    Parameters
    ----------
    predictions, truth
        Folders; files are paired by name without suffix.
    num_classes
        Number of classes; found from the masks' largest value when neither it nor ``classes`` is given.
    classes
        Names of the classes, in order.
    ignore_values
        Further values of the true masks that are not scored. Given 255, true masks of 0 and 255 only are read as
        class 0 with pixels to leave out.
    rules
        Tolerances, sizes of objects; the defaults when not given.
    groups
        Pattern whose first bracket names an image's group in its name, when images of a group are no independent ones.
    progress
        Moved on by an image at a time.
    outlines
        Names of other libraries' rules for distances between outlines, which are counted too; masks are read once more.

    Raises
    ------
    SpecError
        If classes are too few, too many or not named each by a name of its own, or values to ignore cannot be.
    DataError
        Naming unpaired, unreadable or differently sized masks, values outside the classes, and names without a group.

    """
    predictions, truth = Path(predictions), Path(truth)
    given = _given_classes(num_classes, classes)
    if wrong := [value for value in ignore_values if not 0 <= value <= 255]:
        raise SpecError(f"values to ignore (--ignore): {listing(wrong)}: must be 0 to 255, as masks hold no others")
    pairs, rules = _pairs(predictions, truth), rules or ScoringRules()
    ids = tuple(pair.id for pair in pairs)
    grouped = find_groups(ids, groups, "--groups") if groups is not None else None
    ignored = frozenset(ignore_values)
    if progress is not None:
        progress.task("scoring", len(pairs))
    tallies = _for_each(lambda pair: _tally(pair, given, ignored, rules), pairs, progress)
    true, predicted = _values(tally.true for tally in tallies), _values(tally.predicted for tally in tallies)
    count = given or _guess_classes(truth, true | predicted, ignored)
    means = _meaning(pairs, true, predicted, count, ignored)
    _for_each(lambda tally: _check(tally, means), tallies)
    counts = stack_counts(_for_each(lambda tally: _settled(tally, means, rules), tallies))
    if outlines:
        counts |= stack_counts(_for_each(lambda tally: _outlines(tally, means, outlines, rules), tallies))
    hashes = counts.pop(TRUTH)
    names = tuple(classes) if classes else tuple(f"class {k}" for k in range(count))
    left_out = tuple(int(value) for value in np.flatnonzero(means.true == LEFT_OUT))
    about = EvaluationRecord(
        predictions=predictions.resolve().name,
        test_data=truth.resolve().name,
        split=ELSEWHERE,
        selected_on=ELSEWHERE,
        resolution="native",
        classes=names,
        scoring=rules.model_dump(),
        ignore=left_out,
    )
    return CountSet(predictions.name, counts, ids, about, grouped, hashes)


def _pairs(predictions: Path, truth: Path) -> tuple[Sample, ...]:
    """Masks of the same name without suffix; one that is alone, or twice, is an error that names it."""
    found, true = list_images(predictions), list_images(truth)
    problems = [
        f"{fault.file}: {fault.message}" for fault in (*found.faults, *true.faults) if fault.severity == "error"
    ]
    for what, other, ours, theirs in (
        ("predictions have no true mask", truth, found.images, true.images),
        ("true masks have no prediction", predictions, true.images, found.images),
    ):
        if lone := [path.name for stem, path in ours.items() if stem not in theirs]:
            problems.append(f"{len(lone)} {what} in {other}: {listing(lone, 5)}")
    if problems:
        raise DataError("\n".join([*problems, "Add the missing files or move the lone ones away."]))
    return tuple(Sample(stem, path, true.images[stem]) for stem, path in found.images.items())


def _given_classes(num_classes: int | None, classes: Sequence[str] | None) -> int | None:
    """The number of classes that was asked for, if any."""
    allowed = f"2 to {MAX_CLASSES}"
    if num_classes is not None and not 2 <= num_classes <= MAX_CLASSES:
        raise SpecError(f"number of classes (--num-classes) {num_classes}: must be {allowed}")
    if classes is None:
        return num_classes
    given = f"names of the classes (--classes): {len(classes)} given"
    if empty := [number for number, name in enumerate(classes, 1) if not name.strip()]:
        raise SpecError(f"{given}, of which number {listing(empty)} is empty; write every class's name, commas between")
    if twice := [name for name, times in Counter(classes).items() if times > 1]:
        raise SpecError(f"{given}, {listing(twice)} more than once; give each class a name of its own")
    if num_classes not in (None, len(classes)):
        raise SpecError(
            f"{given} ({listing(classes)}) for {num_classes} classes (--num-classes); name every class, or give one of the two"
        )
    if not 2 <= len(classes) <= MAX_CLASSES:
        raise SpecError(f"{given}; must be {allowed}")
    return len(classes)


def _for_each(function: Callable[[Any], Made], items: Sequence[Any], progress: Progress | None = None) -> list[Made]:
    """Results in order; the messages of all :class:`DataError` are raised together."""

    def one(item: Any) -> Made | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    found, problems = [], []
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each holds a pair of masks and what is made of it
        for made in pool.map(one, items):
            if isinstance(made, DataError):
                problems.append(str(made))
            else:
                found.append(made)
            if progress is not None:
                progress.advance()
    if problems:
        raise DataError(
            "\n".join(problems[:10]) + (f"\n... and {len(problems) - 10} more" if len(problems) > 10 else "")
        )
    return found


def _tally(pair: Sample, given: int | None, ignored: frozenset[int], rules: ScoringRules) -> _Tally:
    """Read the two masks, and count what can be counted before all masks are known."""
    truth, predicted = _masks(pair)
    table = confusion_matrix(truth, predicted, 256, ignore=-1)
    rows, columns = np.flatnonzero(table.any(axis=1)), np.flatnonzero(table.any(axis=0))
    tally = _Tally(pair, rows, columns, table[np.ix_(rows, columns)])
    try:
        count = given or _guess_classes(pair.mask, _values([rows, columns]), ignored)
        guess = _meaning([pair], _values([rows]), _values([columns]), count, ignored)
        _check(tally, guess)
    except DataError:  # said once all masks are known, when it may turn out to be none
        return tally
    return replace(tally, guess=_labels(tally, guess), counts=_count(truth, predicted, guess, rules))


def _settled(tally: _Tally, means: _Meaning, rules: ScoringRules) -> dict[str, Counts]:
    """Counts of a pair under what the values turned out to mean; it is read again only where the guess was wrong."""
    if not tally.counts or not all(map(np.array_equal, tally.guess, _labels(tally, means))):
        return _count(*_masks(tally.pair), means, rules)
    nothing = np.full((1, 1), IGNORE, np.uint8)
    widened = _counted(nothing, nothing, means.num_classes, rules)  # as many classes as there are, no pixel
    for name, counts in tally.counts.items():
        widened[name][tuple(map(slice, counts.shape))] = counts
    return widened


def _labels(tally: _Tally, means: _Meaning) -> tuple[ValueTable, ValueTable]:
    """What a pair's own values mean."""
    return means.true[tally.true], means.predicted[tally.predicted]


def _count(truth: Labels, predicted: Labels, means: _Meaning, rules: ScoringRules) -> dict[str, Counts]:
    labels = [np.where(table < 0, IGNORE, table).astype(np.uint8) for table in (means.true, means.predicted)]
    return _counted(labels[0][truth], labels[1][predicted], means.num_classes, rules)


def _counted(truth: Labels, predicted: Labels, num_classes: int, rules: ScoringRules) -> dict[str, Counts]:
    """Counts of one image, and the hash of its truth."""
    return count_pair(truth, predicted, num_classes, rules) | {TRUTH: hash_labels(truth)}


def _outlines(tally: _Tally, means: _Meaning, names: Sequence[str], rules: ScoringRules) -> dict[str, Counts]:
    """What other libraries' rules for outlines make of one pair, which are not among the counts that are kept."""
    tables = [np.where(table < 0, IGNORE, table) for table in (means.true, means.predicted)]
    truth, predicted = (table[mask] for table, mask in zip(tables, _masks(tally.pair), strict=True))
    predicted = np.where(truth == IGNORE, IGNORE, predicted)
    return count_outlines(truth, predicted, means.num_classes, names, rules.tolerances_px[0])


def _masks(pair: Sample) -> tuple[Labels, Labels]:
    """True and predicted mask as stored, of one size."""
    truth, predicted = _read(pair.mask), _read(pair.image)
    if truth.shape != predicted.shape:
        raise DataError(
            f"{pair.image}: is {predicted.shape[1]}x{predicted.shape[0]} but its true mask is "
            f"{truth.shape[1]}x{truth.shape[0]}; save predictions at the masks' own size (nearest neighbour)"
        )
    return truth, predicted


def _read(mask: Path) -> Labels:
    """ValueTable as stored; JPEG, which alters them, can hold no more than black and white."""
    if mask.suffix.lower() not in JPEG:
        return read_grey(mask)
    values = read_grey(mask, indices=False)
    if values.size and 0 < values.max() <= 127:
        raise DataError(
            f"{mask}: JPEG alters values, so it can hold only black and white, but nothing here is above 127; "
            "provide masks of class indices as PNG"
        )
    return np.where(values > 127, np.uint8(255), np.uint8(0))


def _values(found: Iterable[ValueTable]) -> set[int]:
    return {int(value) for values in found for value in values}


def _guess_classes(folder: Path, values: set[int], ignored: frozenset[int]) -> int:
    """Two for masks of 0 and 255 (or 0 and 1), else one more than the largest value that is not ignored."""
    counted = values - ignored - {IGNORE}
    if len(counted) > MAX_GUESSED:
        raise DataError(
            f"{folder}: masks and predictions hold {len(counted)} different values, too many to be taken for classes; "
            "give the number of classes (--num-classes) or their names (--classes) if they are"
        )
    return max(2, max(counted, default=0) + 1)


def _meaning(
    pairs: Sequence[Sample], true: set[int], predicted: set[int], num_classes: int, ignored: frozenset[int]
) -> _Meaning:
    """What the values of all masks mean, said once for a folder; mask by mask, 255 could be now foreground, now ignored."""
    left_out = ignored | {IGNORE}
    true_means = _meaning_in([pair.mask for pair in pairs], true, num_classes, left_out, two_valued=not ignored)
    void = 255 in true and true_means[255] == LEFT_OUT
    predicted_means = _meaning_in(
        [pair.image for pair in pairs], predicted, num_classes, frozenset(), two_valued=not void
    )
    return _Meaning(num_classes, true_means, predicted_means)


def _meaning_in(
    masks: Sequence[Path], values: set[int], num_classes: int, left_out: frozenset[int], two_valued: bool
) -> ValueTable:
    """What each value 0-255 means in one folder."""
    means = np.full(256, OUTSIDE, np.int64)
    jpeg = next((mask for mask in masks if mask.suffix.lower() in JPEG), None)
    if jpeg and (num_classes > 2 or values - {0, 255}):
        raise DataError(
            f"{jpeg}: JPEG alters values, so it can hold only black and white, for two classes; provide all masks of "
            f"{jpeg.parent} as PNG"
        )
    if jpeg or (two_valued and num_classes == 2 and 255 in values and values <= {0, 255}):
        means[[0, 255]] = [0, 1]
        return means
    means[:num_classes] = np.arange(num_classes)
    means[list(left_out)] = LEFT_OUT
    return means


def _check(tally: _Tally, means: _Meaning) -> None:
    """Every value that is scored must be a class."""
    rows, columns = means.true[tally.true], means.predicted[tally.predicted]
    classes = f"0-{means.num_classes - 1}"
    if wrong := tally.true[rows == OUTSIDE].tolist():
        raise DataError(
            f"{tally.pair.mask}: values {listing(wrong)} lie outside the {means.num_classes} classes {classes}; "
            f"{_more(wrong)}, or ignore these values (--ignore; 255 always is)"
        )
    scored = tally.table[rows != LEFT_OUT].any(axis=0)
    if wrong := tally.predicted[(columns == OUTSIDE) & scored].tolist():
        raise DataError(
            f"{tally.pair.image}: predicts {listing(wrong)} on pixels that are scored; the classes are {classes}; "
            f"predict one of them for every pixel{'' if max(wrong) == IGNORE else f', or {_more(wrong)}'}"
        )


def _more(values: list[int]) -> str:
    """What to do if values that are no classes are classes after all."""
    return f"say that there are {max(values) + 1} classes or more (--num-classes or --classes)"
