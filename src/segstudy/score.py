"""Score predicted masks from any framework against true masks: no network, no study."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from segstudy import measures
from segstudy.counting import confusion_matrix
from segstudy.data.core import IGNORE, Sample, read_grey
from segstudy.data.folder import MAX_CLASSES, MAX_GUESSED
from segstudy.data.pairing import pair_by_stem
from segstudy.errors import DataError, listing
from segstudy.measures import Confusion

Values = NDArray[np.int64]
Made = TypeVar("Made")
JPEG = (".jpg", ".jpeg")
LEFT_OUT, OUTSIDE = -1, -2  # what a mask's value means when it is no class


@dataclass(frozen=True)
class Scored:
    """Counts (n, c, c) of predicted against true masks, with the images' names and the classes'."""

    confusion: Confusion
    ids: tuple[str, ...]
    classes: tuple[str, ...]


@dataclass(frozen=True)
class _Tally:
    """Pixels of one pair of masks by stored values, ``counts[i, j]`` of ``true[i]`` and ``predicted[j]``.

    What the values mean can be said only when all masks have been seen; until then these few numbers stand for them.
    """

    pair: Sample
    true: Values
    predicted: Values
    counts: Values


def score_masks(
    predictions: Path,
    truth: Path,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    ignore_values: Sequence[int] = (),
) -> Scored:
    """Count pixels of every mask in ``predictions`` against the mask of the same name in ``truth``.

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

    Raises
    ------
    DataError
        Naming unpaired, unreadable or differently sized masks, and values outside the classes.

    """
    pairs = pair_by_stem(predictions, truth)
    if wrong := [value for value in ignore_values if not 0 <= value <= 255]:
        raise DataError(f"ignore_values {listing(wrong)}: masks hold 0 to 255")
    tallies = _for_each(_tally, pairs)
    true, predicted = _values(tally.true for tally in tallies), _values(tally.predicted for tally in tallies)
    if num_classes is not None:
        count = num_classes
    else:
        count = len(classes) if classes is not None else _guess_classes(truth, true | predicted, ignore_values)
    if classes is not None and len(classes) != count:
        raise DataError(f"{len(classes)} class names were given for {count} classes")
    if not 2 <= count <= MAX_CLASSES:
        raise DataError(f"{count} classes; a mask can hold 2 to {MAX_CLASSES}")

    left_out = {IGNORE, *ignore_values}
    true_means = _meaning([pair.mask for pair in pairs], true, count, left_out, two_valued=not ignore_values)
    void = 255 in true and true_means[255] == LEFT_OUT
    predicted_means = _meaning([pair.image for pair in pairs], predicted, count, set(), two_valued=not void)
    confusions = _for_each(lambda tally: _confusion(tally, true_means, predicted_means, count), tallies)
    names = tuple(classes) if classes else tuple(f"class {k}" for k in range(count))
    return Scored(np.stack(confusions), tuple(pair.id for pair in pairs), names)


def _for_each(function: Callable[[Any], Made], items: Sequence[Any]) -> list[Made]:
    """Results in order; the messages of all :class:`DataError` are raised together."""

    def one(item: Any) -> Made | DataError:
        try:
            return function(item)
        except DataError as error:
            return error

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(one, items))
    if problems := [str(item) for item in found if isinstance(item, DataError)]:
        raise DataError(
            "\n".join(problems[:10]) + (f"\n... and {len(problems) - 10} more" if len(problems) > 10 else "")
        )
    return [item for item in found if not isinstance(item, DataError)]


def _tally(pair: Sample) -> _Tally:
    """Read the two masks, once."""
    truth, predicted = _read(pair.mask), _read(pair.image)
    if truth.shape != predicted.shape:
        raise DataError(
            f"{pair.image}: is {predicted.shape[1]}x{predicted.shape[0]} but its true mask is "
            f"{truth.shape[1]}x{truth.shape[0]}; save predictions at the masks' own size (nearest neighbour)"
        )
    table = confusion_matrix(truth, predicted, 256, ignore=-1)
    rows, columns = np.flatnonzero(table.any(axis=1)), np.flatnonzero(table.any(axis=0))
    return _Tally(pair, rows, columns, table[np.ix_(rows, columns)])


def _read(mask: Path) -> NDArray[np.uint8]:
    """Values as stored; JPEG, which alters them, can hold no more than black and white."""
    if mask.suffix.lower() not in JPEG:
        return read_grey(mask)
    values = read_grey(mask, indices=False)
    if values.size and 0 < values.max() <= 127:
        raise DataError(
            f"{mask}: JPEG alters values, so it can hold only black and white, but nothing here is above 127; "
            "provide masks of class indices as PNG"
        )
    return np.where(values > 127, np.uint8(255), np.uint8(0))


def _values(found: Iterable[Values]) -> set[int]:
    return {int(value) for values in found for value in values}


def _guess_classes(folder: Path, values: set[int], ignore_values: Sequence[int]) -> int:
    """Two for masks of 0 and 255 (or 0 and 1), else one more than the largest value that is not ignored."""
    counted = values - {IGNORE, *ignore_values}
    if len(counted) > MAX_GUESSED:
        raise DataError(
            f"{folder}: masks and predictions hold {len(counted)} different values, too many to be taken for classes; "
            "give the number of classes or their names if they are"
        )
    return max(2, max(counted, default=0) + 1)


def _meaning(masks: Sequence[Path], values: set[int], num_classes: int, left_out: set[int], two_valued: bool) -> Values:
    """What each value 0-255 means in a folder: a class, ``LEFT_OUT`` or ``OUTSIDE``.

    Said once for the folder; mask by mask, 255 could be now foreground, now ignored.
    """
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


def _confusion(tally: _Tally, true_means: Values, predicted_means: Values, num_classes: int) -> Confusion:
    rows, columns = true_means[tally.true], predicted_means[tally.predicted]
    if wrong := tally.true[rows == OUTSIDE].tolist():
        raise DataError(
            f"{tally.pair.mask}: values {listing(wrong)} lie outside the {num_classes} classes 0-{num_classes - 1}; "
            f"set num_classes to {max(wrong) + 1} or more, or name them under ignore_values (255 is always ignored)"
        )
    scored = tally.counts[rows != LEFT_OUT]
    if wrong := tally.predicted[(columns == OUTSIDE) & (scored > 0).any(axis=0)].tolist():
        raise DataError(
            f"{tally.pair.image}: predicts {listing(wrong)} on pixels that are scored; "
            f"the classes are 0-{num_classes - 1}"
        )
    confusion = np.zeros((num_classes, num_classes), np.int64)
    known = columns != OUTSIDE
    np.add.at(confusion, np.ix_(rows[rows != LEFT_OUT], columns[known]), scored[:, known])
    return confusion


def as_record(scored: Scored) -> dict[str, Any]:
    """Every score of the whole set and of each class, and the rules they follow; undefined numbers are None."""
    merged = measures.merge(scored.confusion)
    support = measures.support(merged)
    per_class = {measure.key: measure.function(merged) for measure in measures.PER_CLASS}
    return {
        "images": len(scored.ids),
        "pixels": int(merged.sum()),
        "level": "dataset",
        "absent_classes": "left out of means",
        "resolution": "native",
        **{measure.key: _number(float(measure.function(merged))) for measure in measures.OVERALL},
        "classes": [
            {"class": name, "pixels": int(support[k]), **{key: _number(float(v[k])) for key, v in per_class.items()}}
            for k, name in enumerate(scored.classes)
        ],
    }


def as_text(scored: Scored) -> str:
    """The same for people."""
    record = as_record(scored)
    width = max(len(name) for name in (*scored.classes, "class"))
    lines = [f"{record['images']} images, {record['pixels']:,} pixels, scored at the masks' own size"]
    lines += [f"{measure.label:20} {_shown(record[measure.key])}" for measure in measures.OVERALL]
    lines.append(
        f"\n{'class':{width}}  "
        + "  ".join(f"{measure.label:>14}" for measure in measures.PER_CLASS)
        + "     true pixels"
    )
    for row in record["classes"]:
        values = "  ".join(f"{_shown(row[measure.key]):>14}" for measure in measures.PER_CLASS)
        lines.append(f"{row['class']:{width}}  {values}  {row['pixels']:>14,}")
    if any(row["pixels"] == 0 for row in record["classes"]):
        lines.append("- : the class has no true pixel; it is left out of the means")
    if any(row["pixels"] > 0 and row["precision"] is None for row in record["classes"]):
        lines.append("- under Precision: the class was never predicted")
    return "\n".join(lines)


def image_csv(scored: Scored) -> str:
    """Every image's scores as CSV, at full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image", *(measure.key for measure in measures.OVERALL)])
    columns = [measure.function(scored.confusion) for measure in measures.OVERALL]
    for index, name in enumerate(scored.ids):
        writer.writerow([name, *(_number(float(column[index])) for column in columns)])
    return text.getvalue()


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
