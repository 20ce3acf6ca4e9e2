"""Score predicted masks from any framework against true masks: no network, no study."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from segstudy import measures
from segstudy.data.core import Sample, index_labels, pair_by_stem, read_grey
from segstudy.errors import DataError, listing
from segstudy.measures import Confusion


@dataclass(frozen=True)
class Scored:
    """Counts (n, c, c) of predicted against true masks, with the images' names and the classes'."""

    confusion: Confusion
    ids: tuple[str, ...]
    classes: tuple[str, ...]


def score_masks(
    predictions: Path,
    truth: Path,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    ignore_values: Sequence[int] = (),
) -> Scored:
    """Count pixels of every mask in ``predictions`` against the mask of the same name in ``truth``.

    Masks are scored at their own size, each pixel's value being its class; 255 and ``ignore_values`` in the truth are
    left out. For two classes, masks of only 0 and 255 are read as background and foreground.

    Parameters
    ----------
    predictions, truth
        Folders; files are paired by name without suffix.
    num_classes
        Number of classes; found from the masks' largest value when neither it nor ``classes`` is given.
    classes
        Names of the classes, in order.
    ignore_values
        Further values of the true masks that are not scored.

    Raises
    ------
    DataError
        Naming unpaired, unreadable or differently sized masks, and values outside the classes.

    """
    pairs = pair_by_stem(predictions, truth)
    count = num_classes or (len(classes) if classes else _guess_classes(pairs, ignore_values))
    if classes is not None and len(classes) != count:
        raise DataError(f"{len(classes)} class names were given for {count} classes")

    def one(pair: Sample) -> Confusion | str:
        try:
            return _count(pair, count, ignore_values)
        except DataError as error:
            return str(error)

    with ThreadPoolExecutor() as pool:
        found = list(pool.map(one, pairs))
    if problems := [item for item in found if isinstance(item, str)]:
        raise DataError(
            "\n".join(problems[:10]) + (f"\n... and {len(problems) - 10} more" if len(problems) > 10 else "")
        )
    names = tuple(classes) if classes else tuple(f"class {k}" for k in range(count))
    return Scored(np.stack([item for item in found if not isinstance(item, str)]), tuple(p.id for p in pairs), names)


def _count(pair: Sample, num_classes: int, ignore_values: Sequence[int]) -> Confusion:
    truth = index_labels(pair, num_classes, ignore_values)
    predicted = index_labels(Sample(pair.id, pair.image, pair.image), num_classes)
    if truth.shape != predicted.shape:
        raise DataError(
            f"{pair.image}: is {predicted.shape[1]}x{predicted.shape[0]} but its true mask is "
            f"{truth.shape[1]}x{truth.shape[0]}; save predictions at the masks' own size (nearest neighbour)"
        )
    try:
        return measures.confusion_matrix(truth, predicted, num_classes)
    except ValueError:
        outside = np.unique(predicted[(truth != 255) & (predicted >= num_classes)])
        raise DataError(
            f"{pair.image}: predicts {listing(outside.tolist())} on pixels that are scored; "
            f"the classes are 0-{num_classes - 1}"
        ) from None


def _guess_classes(pairs: Sequence[Sample], ignore_values: Sequence[int]) -> int:
    """Two for masks of 0 and 255 (or 0 and 1), else one more than the largest value that is not ignored."""
    values = set[int]()
    for pair in pairs:
        values |= set(np.unique(read_grey(pair.mask)).tolist()) | set(np.unique(read_grey(pair.image)).tolist())
    counted = values - {255, *ignore_values}
    return max(2, max(counted, default=0) + 1)


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
