"""What ``segstudy score`` says of counts: one record for programs, a few short tables for people, a CSV of images."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from typing import Any

from segstudy import measures
from segstudy.conventions import rescore
from segstudy.counting import measures_of
from segstudy.errors import listing
from segstudy.measures import Measure
from segstudy.objects import OBJECT_COUNTS, SIZES
from segstudy.score import Scored
from segstudy.stats.intervals import estimate

UNDEFINED = "-"
SAME = 1e-9  # what two numbers may differ by and still be shown as the same
LOST = ("boundary", "missed", "spurious")
OUTLINES = ("boundary_iou", "boundary_matches", "surface")


def as_record(scored: Scored, rules: Sequence[str] = ()) -> dict[str, Any]:
    """Every score of the whole set and of each class, with intervals and the contract; undefined numbers are None.

    Parameters
    ----------
    scored
        The counts.
    rules
        Names of other libraries' rules (see :mod:`segstudy.conventions`) under which the same counts are scored too.

    """
    confusion, known = scored.confusion, _measures(scored)
    overall = [measure for measure in known if "dataset" in measure.levels]
    estimates = {
        measure.key: estimate(
            {0: scored.counts[measure.counts]}, measure.function, groups=scored.groups, limits=measure.bounds
        )
        for measure in overall
    }
    record = {
        "images": len(scored.ids),
        "groups": len(set(scored.groups)) if scored.groups is not None else None,
        "pixels": int(confusion.sum()),
        "level": "dataset",
        **scored.contract,
        "scoring": scored.rules.model_dump(),
        **{key: _number(found.value) for key, found in estimates.items()},
        "intervals": {
            key: {
                "level": found.level,
                "low": _number(found.low),
                "high": _number(found.high),
                "population": found.population,
                "method": found.method,
                "reason": found.reason,
            }
            for key, found in estimates.items()
        },
        "classes": _class_records(scored, [measure for measure in known if measure.per_class]),
    }
    return record | ({"as": rescore(confusion, scored.classes, rules)} if rules else {})


def _measures(scored: Scored) -> list[Measure]:
    return [measure for measure in measures_of(scored.rules) if measure.counts in scored.counts]


def _class_records(scored: Scored, known: Sequence[Measure]) -> list[dict[str, Any]]:
    values = {measure.key: measure.function(measures.merge(scored.counts[measure.counts])) for measure in known}
    support = measures.support(measures.merge(scored.confusion))
    objects = measures.merge(scored.counts["objects"])
    return [
        {
            "class": name,
            "pixels": int(support[k]),
            **{key: _number(float(found[k])) for key, found in values.items()},
            "objects": dict(zip(OBJECT_COUNTS, objects[k].tolist(), strict=True)),
        }
        for k, name in enumerate(scored.classes)
    ]


def as_text(scored: Scored, rules: Sequence[str] = ()) -> str:
    """The same for people: the contract, the set's scores, the classes', what went wrong, other libraries' rules."""
    record = as_record(scored, rules)
    blocks = [
        [contract_words(record)],
        _overall_lines(record, scored),
        _class_lines(record, scored),
        _lost_lines(record),
        _object_lines(record),
        rule_lines(record["as"]) if rules else [],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def contract_words(record: dict[str, Any]) -> str:
    """In a line, what every number of a record rests on."""
    groups = "" if record["groups"] is None else f" in {_number_of(record['groups'], 'group')}"
    where = "the masks' own size" if record["resolution"] == "native" else "the network's input size"
    ignored = f"{listing(record['ignore'])} ignored" if record["ignore"] else "no value ignored"
    return (
        f"{_number_of(record['images'], 'image')}{groups}, {record['pixels']:,} pixels, scored at {where}, all together; absent "
        f"classes {record['absent_classes']}, background {record['background']}, {ignored}"
    )


def _overall_lines(record: dict[str, Any], scored: Scored) -> list[str]:
    """Scores of the set with intervals: of pixels and of outlines; of classes by frequency where they are of several."""
    by_frequency = [measure for measure in measures.BY_FREQUENCY if record[measure.key] is not None]
    wanted = (*measures.OVERALL, *(by_frequency if len(by_frequency) > 1 else ()))
    shown_here = [
        measure
        for measure in _measures(scored)
        if measure in wanted or ("dataset" in measure.levels and measure.counts in OUTLINES)
    ]
    rows = []
    for measure in shown_here:
        found = record["intervals"][measure.key]
        bounds = interval_words(found["low"], found["high"], measure.unit)
        rows.append([name_of(measure), shown(record[measure.key], measure.unit), bounds])
    told = [record["intervals"][measure.key]["reason"] for measure in shown_here if record[measure.key] is not None]
    lines = aligned(
        [["", "", "95 % interval"], *rows] if any(row[2] != UNDEFINED for row in rows) else [row[:2] for row in rows]
    )
    return lines + [f"no interval: {reason}" for reason in dict.fromkeys(told) if reason]


def _class_lines(record: dict[str, Any], scored: Scored) -> list[str]:
    known = {measure.key: measure for measure in _measures(scored)}
    shown_here = [*measures.PER_CLASS, known["boundary_iou"], known["hausdorff95"]]
    rows = [
        [row["class"], *(shown(row[measure.key], measure.unit) for measure in shown_here), f"{row['pixels']:,}"]
        for row in record["classes"]
    ]
    lines = aligned([["class", *map(name_of, shown_here), "true pixels"], *rows])
    if any(row["pixels"] == 0 for row in record["classes"]):
        lines.append(f"{UNDEFINED} : the class has no true pixel; it is left out of the means")
    if any(row["pixels"] > 0 and row["precision"] is None for row in record["classes"]):
        lines.append(f"{UNDEFINED} under Precision or Hausdorff: the class was never predicted where it is")
    return lines


def _lost_lines(record: dict[str, Any]) -> list[str]:
    """Where the IoU of each class that is there is lost, and its IoU by size of object, for sizes that occur."""
    small, large = record["scoring"]["object_sizes_px"]
    present = [row for row in record["classes"] if row["lost_boundary"] is not None]
    sizes = [size for size in SIZES if any(row[f"iou_{size}"] is not None for row in present)]
    keys = [*(f"lost_{kind}" for kind in LOST), *(f"iou_{size}" for size in sizes)]
    rows = [[row["class"], *(shown(row[key]) for key in keys)] for row in present]
    if not rows:
        return []
    return [
        *aligned([["IoU lost", *LOST, *(f"IoU {size}" for size in sizes)], *rows]),
        "boundary: wrong near the true outline; missed and spurious: elsewhere; the three add up to 1 - IoU",
        f"small: objects below {small:,} px, large: from {large:,} px",
    ]


def _object_lines(record: dict[str, Any]) -> list[str]:
    """How many objects there are and what is wrong with them; holes where there are any."""
    rows = [row for row in record["classes"] if any(row["objects"].values())]
    names = [name for name in OBJECT_COUNTS if "holes" not in name or any(row["objects"][name] for row in rows)]
    if not rows:
        return []
    cells = [[row["class"], *(f"{row['objects'][name]:,}" for name in names)] for row in rows]
    return [
        *aligned([["objects", *(name.replace("_", " ") for name in names)], *cells]),
        f"connected parts of at least {record['scoring']['min_object_px']} px; merged and split: parts too few, too many",
    ]


def rule_lines(found: dict[str, Any]) -> list[str]:
    """What :func:`segstudy.conventions.rescore` found: each rule's numbers, and why they are not segstudy's."""
    lines = ["the same counts under the rules of other libraries (in brackets: segstudy's number, where it differs)"]
    for key, what in (("absent_but_predicted", "predicted but in no truth"), ("nowhere", "in neither")):
        lines += [f"  {what}: {listing(found[key], 20)}"] if found[key] else []
    if found["images_without_some_class"]:
        lines.append(
            f"  {found['images_without_some_class']} of {found['images']} images lack a class that others hold"
        )
    for row in found["rules"]:
        if row["scores"]:
            numbers = "   ".join(_beside(row, label) for label in row["scores"])
            lines += ["", f"{row['as']}: {row['call']}", f"  {numbers}"]
            lines += textwrap.wrap(row["why"], 100, initial_indent="  ", subsequent_indent="  ")
    if left := [f"{row['as']} {row['call']}" for row in found["rules"] if not row["scores"]]:
        lines += ["", f"for two classes only: {'; '.join(left)}"]
    return lines


def _beside(row: dict[str, Any], label: str) -> str:
    theirs, ours = row["scores"][label], row["segstudy"][label]
    same = theirs is ours if None in (theirs, ours) else abs(theirs - ours) < SAME
    return f"{label} {shown(theirs)}" + ("" if same else f" ({shown(ours)})")


def image_csv(scored: Scored) -> str:
    """Every image's scores as CSV, at full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    known = [measure for measure in _measures(scored) if "image" in measure.levels]
    writer.writerow(["image", *(measure.key for measure in known)])
    columns = [measure.function(scored.counts[measure.counts]) for measure in known]
    for index, name in enumerate(scored.ids):
        writer.writerow([name, *(_number(float(column[index])) for column in columns)])
    return text.getvalue()


def name_of(measure: Measure) -> str:
    """Label and unit."""
    return f"{measure.label} [{measure.unit}]" if measure.unit else measure.label


def shown(value: float | None, unit: str = "", signed: bool = False) -> str:
    """A number as people read it: four decimals, one where it has a unit, "-" where it is undefined."""
    sign = "+" if signed else ""
    return UNDEFINED if value is None or math.isnan(value) else f"{value:{sign}.{1 if unit else 4}f}"


def interval_words(low: float | None, high: float | None, unit: str = "", signed: bool = False) -> str:
    """Bounds as people read them."""
    return UNDEFINED if low is None or high is None else f"{shown(low, unit, signed)} to {shown(high, unit, signed)}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right, two spaces between.

    >>> aligned([["class", "IoU"], ["polyp", "0.9"]])
    ['class  IoU', 'polyp  0.9']
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    ]


def _number_of(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
