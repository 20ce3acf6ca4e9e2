"""The output of ``segstudy score`` and ``segstudy compare``: records for programs, short tables, a CSV of images."""

from __future__ import annotations

import csv
import io
import math
import textwrap
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from segstudy import measures
from segstudy.arrays import Counts, Values
from segstudy.comparison import Comparison, Side
from segstudy.conventions import rescore
from segstudy.conventions.outlines import NUMBERS, outline_records
from segstudy.counts.calibration import CALIBRATION
from segstudy.counts.countset import CountSet
from segstudy.counts.objects import OBJECT_COUNTS, OBJECT_SIZES, OBJECTS
from segstudy.document import finite
from segstudy.errors import listing
from segstudy.failures import RULE, Failures, failures, typical_images
from segstudy.measures import Measure, name_of
from segstudy.records import NOT_TRAINED
from segstudy.stats.comparison import UNDECIDED, without_interval
from segstudy.stats.equivalence import EQUIVALENT, NOT_WORSE
from segstudy.stats.intervals import IMAGES, IMAGES_AND_SEEDS, Estimate, estimate_each
from segstudy.terminal import table_lines

UNDEFINED = "-"
SAME_PX = 1e-3  # distances are counted in thousandths of a pixel
SAME = 1e-9  # numbers that differ by less are shown as equal
LOST = ("boundary", "missed", "spurious")
USUAL = ("miou", "mean_hausdorff95", "mean_surface_distance")  # whose median and trimmed mean over images are shown
OUTLINES = ("boundary_iou", "boundary_matches", "surface")
# Measures with lines of their own; those that packages add are listed with the scores of the set.
OWN = {each.key for each in (*measures.OVERALL, *measures.BY_FREQUENCY, *OBJECTS, *CALIBRATION)}
ABOUT = {
    IMAGES: "these networks and images like these; other seeds of the same recipes may give another result",
    IMAGES_AND_SEEDS: "networks trained like these with other seeds, and images like these",
    "this network": "the one network against the recipe of the others, on images like these",
}


def as_record(scored: CountSet, rules: Sequence[str] = ()) -> dict[str, Any]:
    """Every score of the whole set and of each class, with intervals and the contract; undefined numbers are None.

    Parameters
    ----------
    scored
        The counts.
    rules
        Names of other libraries' rules (see :mod:`segstudy.conventions`) under which the same counts are also scored.

    """
    confusion, known = scored.confusion, scored.measures()
    overall = [measure for measure in known if "dataset" in measure.levels]
    estimates = {measure.key: _estimates(scored, measure)[0] for measure in overall}
    record = {
        "images": len(scored.ids),
        "groups": len(set(scored.groups)) if scored.groups is not None else None,
        "pixels": int(confusion.sum()),
        "level": "dataset",
        **scored.contract,
        "scoring": scored.rules.model_dump(),
        **{key: finite(found.value) for key, found in estimates.items()},
        "intervals": {key: _interval(found) for key, found in estimates.items()},
        "classes": _class_records(scored, [measure for measure in known if measure.per_class]),
    }
    record |= _lost_objects(scored.counts["objects"].sum(axis=(0, 1))) | {"doubts": list(scored.about.doubts or ())}
    found = failures([confusion], scored.groups)
    record["failures"] = None if found is None else asdict(found)
    usual = [measure for measure in overall if measure.key in USUAL and scored.groups is None]
    record["typical_images"] = {m.key: finite(typical_images(m, scored.counts[m.counts])) for m in usual}
    return record | ({"as": _rescored(scored, rules)} if rules else {})


def _lost_objects(counts: Counts | Values) -> dict[str, Any]:
    """Objects that no distance is measured to or from; they are shown next to Hausdorff 95, which leaves them out."""
    found = dict(zip(OBJECT_COUNTS, counts.tolist(), strict=True))
    return {"objects_missed": found["missed"], "objects_spurious": found["spurious"]}


def _rescored(scored: CountSet, rules: Sequence[str]) -> dict[str, Any]:
    """The counts under other libraries' rules; of those for outlines, the ones that were counted."""
    known = {measure.key: measure for measure in scored.measures()}
    keys = ("hausdorff95", "surface_distance", f"surface_dice_{scored.rules.tolerances_px[0]}px")
    measured = [known[key] for key in keys]
    ours = [
        measure.function_for(array)(measures.merge(array))
        for measure in measured
        for array in [scored.counts[measure.counts]]
    ]
    outlines = outline_records(scored.counts, scored.classes, dict(zip(NUMBERS, ours, strict=True)))
    return rescore(scored.confusion, scored.classes, rules) | {"outlines": outlines}


def _estimates(scored: CountSet, measure: Measure) -> tuple[Estimate, ...]:
    """One per class, or one for all."""
    counts = scored.counts[measure.counts]
    found = estimate_each({0: counts}, measure.each_for(counts), groups=scored.groups, limits=measure.bounds)
    return tuple(without_interval(one, measure.withheld) for one in found)


def _interval(found: Estimate) -> dict[str, Any]:
    kept = ("level", "low", "high", "population", "method", "reason")
    interval: dict[str, Any] = finite({key: getattr(found, key) for key in kept})
    return interval


def _class_records(scored: CountSet, known: Sequence[Measure]) -> list[dict[str, Any]]:
    estimates = {measure.key: _estimates(scored, measure) for measure in known}
    support = measures.support(measures.merge(scored.confusion))
    objects = measures.merge(scored.counts["objects"])
    return [
        {
            "class": name,
            "pixels": int(support[k]),
            **{key: finite(found[k].value) for key, found in estimates.items()},
            **_lost_objects(objects[k]),
            "intervals": {key: _interval(found[k]) for key, found in estimates.items()},
            "objects": dict(zip(OBJECT_COUNTS, objects[k].tolist(), strict=True)),
        }
        for k, name in enumerate(scored.classes)
    ]


def as_text(scored: CountSet, rules: Sequence[str] = ()) -> str:
    """The same as text: contract, warnings, scores of the set and of each class, errors, rules of other libraries."""
    record = as_record(scored, rules)
    blocks = [
        [contract_words(record), *(f"warning: {doubt}" for doubt in record["doubts"])],
        _overall_lines(record, scored),
        _hidden_lines(record, scored),
        _class_lines(record, scored),
        _lost_lines(record),
        _object_lines(record),
        rule_lines(record["as"]) if rules else [],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def contract_words(record: dict[str, Any]) -> str:
    """The contract of a record's numbers in one line."""
    groups = "" if record["groups"] is None else f" in {_number_of(record['groups'], 'group')}"
    where = "the masks' own size" if record["resolution"] == "native" else "the network's input size"
    ignored = f"{listing(record['ignore'])} ignored" if record["ignore"] else "no value ignored"
    origin = f"; {_origin_words(record)}" if "selected_on" in record else ""
    return (
        f"{_number_of(record['images'], 'image')}{groups}, {record['pixels']:,} pixels, scored at {where}, all together; absent "
        f"classes {record['absent_classes']}, background {record['background']}, {ignored}{origin}"
    )


def _origin_words(record: dict[str, Any]) -> str:
    """The scored split, and what chose the epoch."""
    split, chosen = record["split"], record["selected_on"]
    choice = chosen if chosen == NOT_TRAINED else f"epoch chosen on {chosen}"
    return f"split and epoch choice {split}" if split == chosen else f"split {split}, {choice}"


def _overall_lines(record: dict[str, Any], scored: CountSet) -> list[str]:
    """Scores of the set with intervals: pixels, outlines, and classes by frequency if several groups occur."""
    by_frequency = [measure for measure in measures.BY_FREQUENCY if record[measure.key] is not None]
    wanted = (*measures.OVERALL, *(by_frequency if len(by_frequency) > 1 else ()))
    shown_here = [
        measure
        for measure in scored.measures()
        if measure in wanted or ("dataset" in measure.levels and (measure.counts in OUTLINES or measure.key not in OWN))
    ]
    rows = []
    for measure in shown_here:
        found = record["intervals"][measure.key]
        bounds = interval_words(found["low"], found["high"], measure.unit)
        lost = _lost_words(record) if measure.key == "mean_hausdorff95" else ""
        rows.append([name_of(measure), shown(record[measure.key], measure.unit), bounds, lost])
    reasons = [record["intervals"][measure.key]["reason"] for measure in shown_here if record[measure.key] is not None]
    bounded = any(row[2] != UNDEFINED for row in rows)
    lines = table_lines([["", "", "95 % interval", ""], *rows] if bounded else [[*row[:2], row[3]] for row in rows])
    return lines + [f"no interval: {reason}" for reason in dict.fromkeys(reasons) if reason]


def _hidden_lines(record: dict[str, Any], scored: CountSet) -> list[str]:
    """Failed images, which the scores hide, and the scores of the others."""
    lines = [] if record["failures"] is None else [f"{Failures(**record['failures']).words}; failed: {RULE}"]
    rows = []
    for measure in scored.measures():
        if usual := record["typical_images"].get(measure.key):
            ends = ((usual[f"{name}_low"], usual[f"{name}_high"]) for name in ("median", "trimmed"))
            bounds = [interval_words(*each, measure.unit) for each in ends]
            numbers = (shown(usual[name], measure.unit) for name in ("median", "trimmed"))
            lost = _lost_words(record) if measure.key == "mean_hausdorff95" else ""
            rows.append([name_of(measure), *(x for pair in zip(numbers, bounds, strict=True) for x in pair), lost])
    heading = ["over images", "median", "95 % interval", "trimmed mean (10 %)", "95 % interval", ""]
    return [*lines, *(table_lines([heading, *rows]) if rows else [])]


def comparisons_text(records: Sequence[dict[str, Any]]) -> str:
    """Comparisons of the same pair by several measures, with their number."""
    if len(records) == 1:
        return comparison_text(records[0])
    deciding = next((record["label"] for record in records if not record["exploratory"]), "")
    words = f"only that of {deciding} decides" if deciding else f"none is about {records[0]['primary']}, which decides"
    heading = (
        f"{len(records)} measures compare the same pair: {words}. Each verdict has its own error rate of 5 %, so that "
        f"of {len(records)} at least one is false by chance with a probability of up to {1 - 0.95 ** len(records):.0%}."
    )
    return "\n\n".join([heading, *(f"== {record['label']} ==\n{comparison_text(record)}" for record in records)])


def _lost_words(record: dict[str, Any]) -> str:
    return f"{_number_of(record['objects_missed'], 'object')} missed, {record['objects_spurious']:,} spurious"


def _class_lines(record: dict[str, Any], scored: CountSet) -> list[str]:
    known = {measure.key: measure for measure in scored.measures()}
    shown_here = [*measures.PER_CLASS, known["boundary_iou"], known["hausdorff95"]]
    rows = [["class", *map(name_of, shown_here), "missed", "spurious", "true pixels"]]
    for row in record["classes"]:
        values = [shown(row[measure.key], measure.unit) for measure in shown_here]
        lost = [f"{row[key]:,}" for key in ("objects_missed", "objects_spurious")]
        rows.append([row["class"], *values, *lost, f"{row['pixels']:,}"])
    bounds = [row["intervals"]["iou"] for row in record["classes"]]
    if any(found["low"] is not None for found in bounds):
        words = ["95 % interval", *(interval_words(found["low"], found["high"]) for found in bounds)]
        rows = [[*row[:2], word, *row[2:]] for row, word in zip(rows, words, strict=True)]
    lines = table_lines(rows)
    lines.append("missed, spurious: objects; Hausdorff 95 leaves out images where only one mask holds the class")
    if any(row["pixels"] == 0 for row in record["classes"]):
        lines.append(f"{UNDEFINED} : the class has no true pixel; it is left out of the means")
    if any(row["pixels"] > 0 and row["precision"] is None for row in record["classes"]):
        lines.append(f"{UNDEFINED} under Precision or Hausdorff: the class was never predicted where it is")
    return lines


def _lost_lines(record: dict[str, Any]) -> list[str]:
    """The parts of the lost IoU of each present class, and its IoU by object size, for sizes that occur."""
    small, large = record["scoring"]["object_sizes_px"]
    present = [row for row in record["classes"] if row["lost_boundary"] is not None]
    sizes = [size for size in OBJECT_SIZES if any(row[f"iou_{size}"] is not None for row in present)]
    keys = [*(f"lost_{kind}" for kind in LOST), *(f"iou_{size}" for size in sizes)]
    rows = [[row["class"], *(shown(row[key]) for key in keys)] for row in present]
    if not rows:
        return []
    return [
        *table_lines([["IoU lost", *LOST, *(f"IoU {size}" for size in sizes)], *rows]),
        "boundary: wrong near the true outline; missed and spurious: elsewhere; the three add up to 1 - IoU",
        f"small: objects below {small:,} px, large: from {large:,} px",
    ]


def _object_lines(record: dict[str, Any]) -> list[str]:
    """Numbers of objects and their errors; holes if there are any."""
    rows = [row for row in record["classes"] if any(row["objects"].values())]
    names = [name for name in OBJECT_COUNTS if "holes" not in name or any(row["objects"][name] for row in rows)]
    if not rows:
        return []
    cells = [[row["class"], *(f"{row['objects'][name]:,}" for name in names)] for row in rows]
    return [
        *table_lines([["objects", *(name.replace("_", " ") for name in names)], *cells]),
        f"connected components of at least {record['scoring']['min_object_px']} px; merged: too few components; split: too many",
    ]


def rule_lines(found: dict[str, Any]) -> list[str]:
    """The result of :func:`segstudy.conventions.rescore`: each rule's numbers, and why they differ from segstudy's."""
    lines = ["the same masks under the rules of other libraries (in brackets: segstudy's number, if different)"]
    for key, what in (("absent_but_predicted", "predicted but in no true mask"), ("nowhere", "in neither")):
        lines += [f"  {what}: {listing(found[key], 20)}"] if found[key] else []
    if found["images_without_some_class"]:
        lines.append(
            f"  {found['images_without_some_class']} of {found['images']} images lack a class that other images have"
        )
    for row in (*found["rules"], *found["outlines"]):
        if row["scores"]:
            unit = "px" if row in found["outlines"] else ""
            numbers = "   ".join(_both_numbers(row, label, unit * (label != "NSD")) for label in row["scores"])
            lines += ["", f"{row['as']}: {row['call']}", f"  {numbers}"]
            lines += textwrap.wrap(row["why"], 100, initial_indent="  ", subsequent_indent="  ")
    if left := [f"{row['as']} {row['call']}" for row in found["rules"] if not row["scores"]]:
        lines += ["", f"for two classes only: {'; '.join(left)}"]
    return lines


def _both_numbers(row: dict[str, Any], label: str, unit: str = "") -> str:
    theirs, ours = row["scores"][label], row["segstudy"][label]
    same = theirs is ours if None in (theirs, ours) else abs(theirs - ours) < (SAME if not unit else SAME_PX)
    digits = f"{label} {shown(theirs) if not unit or theirs is None else f'{theirs:.2f} px'}"
    return digits + ("" if same else f" ({shown(ours) if not unit or ours is None else f'{ours:.2f}'})")


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain data; undefined numbers are None."""
    a, b, measure = comparison.a, comparison.b, comparison.measure
    assert comparison.difference is not None, "incomparable sides are refused before this"
    contract = a.first.contract
    ignored = sorted({*a.first.about.ignored, *b.first.about.ignored})
    return {
        "a": _side_record(a, comparison),
        "b": _side_record(b, comparison),
        "measure": measure.key,
        "label": measure.label,
        "unit": measure.unit,
        "higher_is_better": measure.higher_is_better,
        "level": "dataset",
        **{key: contract[key] for key in ("absent_classes", "background", "resolution")},
        "ignore": ignored,
        "images": len(a.first.ids),
        "groups": len(set(comparison.groups)) if comparison.groups is not None else None,
        "pixels": int(a.first.support.sum()),
        "difference": finite(asdict(comparison.difference)),
        "questions": comparison.questions,
        "p_holm": finite(comparison.p_holm),
        "verdict": comparison.verdict,
        **_beyond_record(comparison),
        "changes": [{"key": key, "a": ours, "b": theirs} for key, (ours, theirs) in (comparison.changes or {}).items()],
        "flags": list(comparison.remarks),
        "classes": _effect_records(comparison),
    }


def _beyond_record(comparison: Comparison) -> dict[str, Any]:
    """Results in addition to the verdict: P(A > B), simultaneous interval, equivalence, cautions."""
    low, high = comparison.simultaneous
    claim = comparison.equivalence
    return {
        "primary": comparison.primary,
        "exploratory": comparison.exploratory,
        "p_greater": finite(comparison.p_greater),
        "simultaneous": {"low": finite(low), "high": finite(high)},
        "margin_met": finite(comparison.margin_met),
        "equivalence": None if claim is None else finite(asdict(claim)),
        "cautions": list(comparison.cautions),
    }


def _side_record(side: Side, comparison: Comparison) -> dict[str, Any]:
    (found,) = side.estimates(comparison.measure, comparison.groups)
    origin = {key: side.about(key) or "unknown" for key in ("train_data", "test_data", "split", "selected_on")}
    counts = [one.counts["objects"].sum(axis=(0, 1)) for one in side.sets if "objects" in one.counts]
    lost = _lost_objects(sum(counts) / len(counts)) if comparison.measure.unit and counts else {}
    return {"name": side.name, "seeds": side.seeds, **origin, **finite(asdict(found)), **lost}


def _effect_records(comparison: Comparison) -> list[dict[str, Any]]:
    if (measure := comparison.by_class) is None:
        return []
    return [
        {
            "class": effect.name,
            "measure": measure.key,
            "label": measure.label,
            "a": finite(effect.a),
            "b": finite(effect.b),
            "difference": finite(effect.difference.value),
            "low": finite(effect.difference.low),
            "high": finite(effect.difference.high),
            "p_value": finite(effect.difference.p_value),
            "p_holm": finite(effect.p_holm),
            "verdict": effect.verdict,
            "reason": effect.difference.reason,
        }
        for effect in comparison.classes
    ]


def comparison_text(record: dict[str, Any]) -> str:
    """A comparison as text: both scores, the difference, the verdict and its scope, classes, flags."""
    unit, difference = record["unit"], record["difference"]
    title = [record["label"], f" [{unit}]" * bool(unit), ", lower is better" * (not record["higher_is_better"])]
    rows = [["", "".join(title), f"{100 * difference['level']:g} % interval", ""]]
    for letter in ("a", "b"):
        side = record[letter]
        rows.append([letter.upper(), shown(side["value"], unit), interval_words(side["low"], side["high"], unit), ""])
    bounds = interval_words(difference["low"], difference["high"], unit, signed=True)
    chance = _p_words(difference["p_value"], record["p_holm"])
    rows.append(["A - B", shown(difference["value"], unit, signed=True), bounds, chance])
    names = [line for letter in ("a", "b") for line in _side_lines(letter.upper(), record[letter])]
    changed = [f"  {change['key']}: {change['a']} (A), {change['b']} (B)" for change in record["changes"]]
    blocks = [
        [contract_words(record), *names],
        ["A and B differ in", *changed] if changed else [],
        table_lines(rows),
        _verdict_lines(record),
        _effect_lines(record),
        ["what else differs or is unknown:", *(f"  {flag}" for flag in record["flags"])] if record["flags"] else [],
    ]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _side_lines(letter: str, side: dict[str, Any]) -> list[str]:
    seeds = side["seed_values"]
    each = f" ({len(seeds)} seeds: {listing(map(shown, seeds), 10)})" if len(seeds) > 1 else ""
    lines = [f"{letter}  {side['name']}{each}", f"   {_origin_words(side)}"]
    if "objects_missed" in side:
        words = f"{side['objects_missed']:g} objects missed, {side['objects_spurious']:g} spurious"
        lines.append(f"   {words}{' (mean over seeds)' if len(seeds) > 1 else ''}, which distances leave out")
    return lines


def _p_words(p_value: float | None, corrected: float | None = None) -> str:
    words = "" if p_value is None else "p < 0.0001" if p_value < 0.0001 else f"p = {p_value:.4f}"
    return words if corrected in (None, p_value) else f"{words}, corrected {_p_words(corrected)}"


def _verdict_lines(record: dict[str, Any]) -> list[str]:
    difference, unit = record["difference"], record["unit"]
    if not record["verdict"]:
        return [f"no verdict: {difference['reason'] or difference['assumption']}", *_beyond_lines(record)]
    if record["verdict"] == UNDECIDED:
        line = f"A and B are {UNDECIDED}"
    else:
        line = f"A is {record['verdict']} than B by {shown(abs(difference['value']), unit)}{' ' + unit if unit else ''}"
    lines = [f"{line}, for {ABOUT[difference['population']]}"]
    if difference["assumption"]:
        lines.append(f"note: {difference['assumption']}")
    if difference["detectable"] is not None:
        least, often = shown(difference["detectable"], unit), f"{100 * difference['power']:g} %"
        lines.append(f"detectable difference ({often} power, the same number of {difference['population']}): {least}")
    return lines + _beyond_lines(record)


def _beyond_lines(record: dict[str, Any]) -> list[str]:
    """Results in addition to the verdict, one line each."""
    unit, sure, (low, high) = record["unit"], record["p_greater"], record["simultaneous"].values()
    lines = [] if sure is None else [f"P(A > B), that A is the better one: {sure:.3f}"]
    lines += [] if record["equivalence"] is None else [equivalence_words(record["equivalence"], unit)]
    if record["margin_met"] is not None and record["verdict"] == UNDECIDED:
        lines.append(f"smallest margin within which A and B would be equivalent: {shown(record['margin_met'], unit)}")
    if record["questions"] > 1 and low is not None:
        others = _number_of(record["questions"] - 1, "other comparison")
        lines.append(f"interval that holds at once with the study's {others}: {interval_words(low, high, unit, True)}")
    if record["exploratory"]:
        lines.append(
            f"exploratory: {record['primary']} is the primary measure and decides; take this result as a hint to test again"
        )
    return lines + [f"caution: {line}" for line in record["cautions"]]


def equivalence_words(claim: dict[str, Any], unit: str = "") -> str:
    """The result of the two one-sided tests in one line."""
    margin = f"{claim['margin']:g}{' ' + unit if unit else ''}"
    if claim["verdict"] == EQUIVALENT:
        return f"A and B are equivalent within the margin of {margin} ({_p_words(claim['p_equivalent'])})"
    if claim["verdict"] == NOT_WORSE:
        return f"A is not worse than B by more than the margin of {margin} ({_p_words(claim['p_not_worse'])})"
    if not claim["verdict"]:
        return f"margin of {margin}: not tested, for the same reason"
    return f"undecided whether A and B are equivalent within the margin of {margin}"


def _effect_lines(record: dict[str, Any]) -> list[str]:
    """The effect on each class; p is corrected for the number of classes by Holm's rule."""
    if not record["classes"]:
        return []
    unit = record["unit"]
    title = f"{record['classes'][0]['label']} by class"
    rows = [[title, "A", "B", "A - B", f"{100 * record['difference']['level']:g} % interval", "p (Holm)", ""]]
    for row in record["classes"]:
        bounds = interval_words(row["low"], row["high"], unit, signed=True)
        values = [shown(row["a"], unit), shown(row["b"], unit), shown(row["difference"], unit, signed=True)]
        rows.append([row["class"], *values, bounds, shown(row["p_holm"]), row["verdict"]])
    return table_lines(rows)


def image_csv(scored: CountSet) -> str:
    """Every image's scores as CSV at full precision; the last columns hold the contract."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    known = [measure for measure in scored.measures() if "image" in measure.levels]
    objects = scored.counts["objects"].sum(axis=1)
    contract = {"level": "image"} | scored.contract | {"ignore": " ".join(map(str, scored.about.ignored))}
    keys = [measure.key for measure in known]
    at = keys.index("mean_hausdorff95") + 1 if "mean_hausdorff95" in keys else len(keys)
    writer.writerow(["image", *keys[:at], *_lost_objects(objects[0]), *keys[at:], *contract])
    columns = [measure.function(scored.counts[measure.counts]) for measure in known]
    for index, name in enumerate(scored.ids):
        values = [finite(float(column[index])) for column in columns]
        lost = _lost_objects(objects[index]).values()
        writer.writerow([name, *values[:at], *lost, *values[at:], *contract.values()])
    return text.getvalue()


def shown(value: float | None, unit: str = "", signed: bool = False) -> str:
    """A number for display: four decimals, or one if it has a unit; "-" if undefined."""
    sign = "+" if signed else ""
    return UNDEFINED if value is None or math.isnan(value) else f"{value:{sign}.{1 if unit else 4}f}"


def interval_words(low: float | None, high: float | None, unit: str = "", signed: bool = False) -> str:
    """Bounds for display."""
    return UNDEFINED if low is None or high is None else f"{shown(low, unit, signed)} to {shown(high, unit, signed)}"


def _number_of(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")
