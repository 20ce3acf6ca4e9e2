"""Two results on the same images, from here or from any framework: which is better, how surely, and what else differs.

Array letters: ``n`` image, ``c`` class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy import measures
from segstudy.arrays import Counts
from segstudy.counts.counting import measures_of
from segstudy.document import finite
from segstudy.errors import DataError, SpecError, StoreError, listing, nearest
from segstudy.files import read_arrays, read_yaml
from segstudy.guard import differing
from segstudy.measures import Measure
from segstudy.plan import Plan
from segstudy.report.evidence import generator_for
from segstudy.report.results import CONTRACT, read_evaluations
from segstudy.schema import ScoringRules
from segstudy.stats.comparison import compare, compare_each, holm, verdict
from segstudy.stats.intervals import Estimate, estimate
from segstudy.stats.resampling import Networks
from segstudy.store import RunFolder, Store

# The measure of each class whose differences are shown beside those of a measure of the whole set; a mean over classes
# is called after its measure.
BY_CLASS = {"miou": "iou", "mdice": "dice", "mean_class_accuracy": "class_accuracy", "pixel_accuracy": "iou"}
# What is said when it is not the same in both, beside what the runs recorded of themselves.
TOLD = {"selected_on": "epoch chosen on", "split": "split", "train_data": "trained on"}
STUDY_FILES = (".yaml", ".yml")


@dataclass(frozen=True)
class Side:
    """Counts of one or several networks of one kind on the same images.

    Attributes
    ----------
    name
        As a person gave it.
    counts
        By seed, then by the names of :func:`segstudy.counts.counting.count_pair`, (n, ...).
    ids, groups
        The images, and their groups where they come in groups.
    rules
        With which tolerances was counted.
    meta
        What the counts rest on.
    records
        What the runs recorded of themselves (``run.yaml``); none for masks from elsewhere.
    notes
        What must be said wherever the comparison is shown.

    """

    name: str
    counts: dict[int, dict[str, Counts]]
    ids: tuple[str, ...]
    groups: tuple[str, ...] | None
    rules: ScoringRules
    meta: dict[str, Any]
    records: tuple[dict[str, Any], ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the scored classes."""
        return tuple(self.meta["classes"])

    @property
    def ignored(self) -> list[int]:
        """Values of the true masks that were left out."""
        told = self.meta.get("ignore", CONTRACT["ignore"])
        return list(told) if isinstance(told, list) else [told]

    @property
    def support(self) -> NDArray[np.int64]:
        """True pixels (n, c) of each image and class."""
        return measures.support(next(iter(self.counts.values()))["confusion"])

    def networks(self, counts: str) -> Networks:
        """One array of counts by seed, as the statistics take them."""
        return {seed: found[counts] for seed, found in self.counts.items()}

    def ordered(self, ids: Sequence[str]) -> Side:
        """The same with its images in the order of ``ids``, which are the same images."""
        place = {name: index for index, name in enumerate(self.ids)}
        order = np.array([place[name] for name in ids])
        counts = {seed: {key: array[order] for key, array in found.items()} for seed, found in self.counts.items()}
        groups = tuple(self.groups[index] for index in order) if self.groups is not None else None
        return Side(self.name, counts, tuple(ids), groups, self.rules, self.meta, self.records, self.notes)


def side_of_file(path: Path) -> Side:
    """Read counts that ``segstudy score --counts`` or a run's evaluation wrote.

    Raises
    ------
    StoreError
        For a file that is missing, damaged or something else.

    """
    if path.suffix != ".npz" and (path.suffix in STUDY_FILES or not path.is_file()):
        raise SpecError(
            f"{path}: is no result; name an experiment of a study, as in study.yaml:unet, or a .npz of counts from "
            "'segstudy score PREDICTIONS TRUTH --counts'"
        )
    if not path.is_file():
        raise StoreError(f"{path}: no such file; 'segstudy score PREDICTIONS TRUTH --counts {path.name}' writes one")
    arrays, meta = read_arrays(path)
    try:
        ids = tuple(map(str, arrays.pop("ids").tolist()))
        groups = _groups(arrays)
        counts = _counts(arrays)
        _check_counts(ids, counts, len(meta["classes"]))
        rules = ScoringRules.model_validate(meta.get("scoring", {}))
    except (KeyError, ValueError, TypeError, AttributeError) as error:  # whatever another program may have written
        raise StoreError(f"{path}: is not a counts file of segstudy ({type(error).__name__}: {error})") from None
    record = RunFolder(path.resolve().parent.parent).config
    records = (read_yaml(record),) if path.resolve().parent.name == "evaluations" and record.is_file() else ()
    return Side(str(path), {meta.get("seed", 0): counts}, ids, groups, rules, meta, records)


def _check_counts(ids: Sequence[str], counts: dict[str, Counts], num_classes: int) -> None:
    """Every array must hold whole numbers of each image; a ValueError says which does not."""
    if counts["confusion"].shape != (len(ids), num_classes, num_classes):
        raise ValueError(f"confusion is {counts['confusion'].shape} for {len(ids)} images of {num_classes} classes")
    if len(set(ids)) != len(ids) or not ids:
        raise ValueError("ids must be there, and differ")
    for name, array in counts.items():
        if array.shape[:1] != (len(ids),) or array.dtype.kind not in "iu":
            raise ValueError(f"{name} is {array.dtype} {array.shape}")


def side_of_runs(name: str, store: Store, plan: Plan, on: str | None) -> Side:
    """Counts of the plan's runs, which are one experiment's, on its own dataset or on ``on``.

    Raises
    ------
    SpecError
        If the experiment is not scored on ``on``.
    StoreError
        If none of the runs has been scored there with the study's settings.
    DataError
        If the runs were scored on different images.

    """
    first = plan.runs[0]
    dataset = on or first.config.dataset
    if dataset not in first.datasets:
        raise SpecError(
            f"{name}: is not scored on '{dataset}'{nearest(dataset, first.datasets)}; it is on {listing(first.datasets)}"
        )
    found = [each for each in read_evaluations(store, plan) if each.meta["test_data"] == dataset]
    done = [each.run.seed for each in found]
    missing = [run.name for run in plan.runs if run.seed not in done]
    if not found:
        raise StoreError(
            f"{name}: not scored on {dataset} yet, or made with other settings, in {store.root}; run the study first"
        )
    notes = (f"{name}: without {listing(missing)}, not scored yet",) if missing else ()
    sides = [
        Side(name, {e.run.seed: _counts(e.counts)}, e.ids, _groups(e.counts), plan.study.scoring, e.meta) for e in found
    ]
    for side in sides[1:]:
        _check_images(sides[0], side)
    ordered = [side.ordered(sides[0].ids) for side in sides]
    for side in ordered[1:]:
        _check_truth(ordered[0], side)
    counts = {seed: array for side in ordered for seed, array in side.counts.items()}
    records = tuple(read_yaml(each.folder.config) for each in found)
    chosen = " and ".join(dict.fromkeys(str(e.meta["selected_on"]) for e in found))  # one seed may be imported
    meta = found[0].meta | {"selected_on": chosen}
    return Side(name, counts, ordered[0].ids, ordered[0].groups, plan.study.scoring, meta, records, notes)


def _counts(arrays: dict[str, NDArray[Any]]) -> dict[str, Counts]:
    return {key: array for key, array in arrays.items() if key != "groups"}


def _groups(arrays: dict[str, NDArray[Any]]) -> tuple[str, ...] | None:
    return tuple(map(str, arrays["groups"])) if "groups" in arrays else None


def compare_sides(a: Side, b: Side, key: str = "miou") -> dict[str, Any]:
    """Compare ``a`` with ``b`` on the same images, as plain data; undefined numbers are None.

    Parameters
    ----------
    a, b
        What is compared; differences are ``a`` minus ``b``.
    key
        The measure of the whole set that is asked about.

    Raises
    ------
    SpecError
        If there is no such measure.
    DataError
        If the two were not scored on the same images, with the same classes, at the same resolution, against the same
        masks, or lack the counts that the measure needs.

    """
    measure = _measure(a, b, key)
    _check_contract(a, b, measure)
    _check_images(a, b)
    b = b.ordered(a.ids)
    _check_truth(a, b)
    groups = a.groups or b.groups
    ours, theirs = a.networks(measure.counts), b.networks(measure.counts)
    generator = generator_for("compare", measure.key)
    function = measure.function_for(next(iter(ours.values())))  # both sides have the same true masks
    difference = compare(ours, theirs, function, generator, groups=groups, limits=measure.difference_bounds)
    changes = _changes(a, b)
    return {
        "a": _side_record(a, ours, measure, groups),
        "b": _side_record(b, theirs, measure, groups),
        "measure": measure.key,
        "label": measure.label,
        "unit": measure.unit,
        "higher_is_better": measure.higher_is_better,
        "level": "dataset",
        **CONTRACT,
        "ignore": sorted({*a.ignored, *b.ignored}),
        "resolution": a.meta.get("resolution"),
        "images": len(a.ids),
        "groups": len(set(groups)) if groups is not None else None,
        "pixels": int(a.support.sum()),
        "difference": finite(asdict(difference)),
        "verdict": verdict(difference, higher_is_better=measure.higher_is_better),
        "changes": changes,
        "flags": _flags(a, b, [change["key"] for change in changes]),
        "classes": _class_records(a, b, measure, groups),
    }


def _measure(a: Side, b: Side, key: str) -> Measure:
    known = {measure.key: measure for measure in measures_of(a.rules) if "dataset" in measure.levels}
    if key not in known:
        raise SpecError(
            f"--measure {key}: no such measure{nearest(key.lower(), known)}; there are {listing(known, 40)}"
        )
    measure = known[key]
    for side in (a, b):
        if any(measure.counts not in found for found in side.counts.values()):
            raise DataError(
                f"{side.name}: holds no counts for {measure.label}; score it again with this version of segstudy"
            )
    return measure


def _check_contract(a: Side, b: Side, measure: Measure) -> None:
    """Numbers of different contracts are not compared."""
    for what, ours, theirs in (
        ("resolution", a.meta.get("resolution"), b.meta.get("resolution")),
        ("input size", *(s.meta.get("input_size") if s.meta.get("resolution") == "input" else None for s in (a, b))),
        ("classes", listing(a.classes, 20), listing(b.classes, 20)),
    ):
        if ours != theirs:
            raise DataError(
                f"the {what} of the two differ, so that their scores cannot be compared:\n"
                f"  {a.name}: {ours}\n  {b.name}: {theirs}\nScore both alike."
            )
    if measure.counts != "confusion" and a.rules != b.rules:
        ours, theirs = a.rules.model_dump(), b.rules.model_dump()
        told = [f"{key} {ours[key]} against {theirs[key]}" for key in ours if ours[key] != theirs[key]]
        raise DataError(
            f"{measure.label}: {a.name} and {b.name} were counted differently ({listing(told)}); score both alike"
        )


def _check_images(a: Side, b: Side) -> None:
    """An image that only one of the two has is an error, not left out."""
    alone = [(a, set(a.ids) - set(b.ids)), (b, set(b.ids) - set(a.ids))]
    if lines := [f"  {len(ids)} only in {side.name}: {listing(sorted(ids), 5)}" for side, ids in alone if ids]:
        raise DataError(
            "\n".join(["the two were not scored on the same images:", *lines, "Score both on the same images."])
        )


def _check_truth(a: Side, b: Side) -> None:
    """Both must have seen the same true masks, as far as the true pixels of each class and image can tell."""
    ours, theirs = a.support, b.support
    if wrong := np.flatnonzero((ours != theirs).any(axis=1)).tolist():
        index, k = wrong[0], int(np.flatnonzero(ours[wrong[0]] != theirs[wrong[0]])[0])
        raise DataError(
            f"the two were scored against different true masks in {len(wrong)} of {len(a.ids)} images: "
            f"{listing([a.ids[i] for i in wrong], 5)}\n"
            f"  {a.ids[index]} has {ours[index, k]:,} pixels of {a.classes[k]} in {a.name}, {theirs[index, k]:,} in {b.name}\n"
            "Score both against the same masks."
        )


def _side_record(side: Side, networks: Networks, measure: Measure, groups: tuple[str, ...] | None) -> dict[str, Any]:
    function = measure.function_for(next(iter(networks.values())))
    found: Estimate = estimate(networks, function, groups=groups, limits=measure.bounds)
    told = {key: side.meta.get(key, "unknown") for key in ("train_data", "test_data", "split", "selected_on")}
    return {"name": side.name, "seeds": list(side.counts), **told, **finite(asdict(found))}


def _class_records(a: Side, b: Side, measure: Measure, groups: tuple[str, ...] | None) -> list[dict[str, Any]]:
    """The effect on each class, its p-values corrected over the classes."""
    by_key = {known.key: known for known in measures_of(a.rules) if known.per_class}
    chosen = by_key.get(BY_CLASS.get(measure.key, measure.key.removeprefix("mean_")))
    if chosen is None:
        return []
    ours, theirs = a.networks(chosen.counts), b.networks(chosen.counts)
    generator = generator_for("compare", chosen.key, "classes")
    found = compare_each(ours, theirs, chosen.function, generator, groups=groups, limits=chosen.difference_bounds)
    adjusted = holm([difference.p_value for difference in found])
    values = [_mean_of_seeds(networks, chosen) for networks in (ours, theirs)]
    return [
        {
            "class": name,
            "measure": chosen.key,
            "label": chosen.label,
            "a": finite(float(values[0][k])),
            "b": finite(float(values[1][k])),
            "difference": finite(difference.value),
            "low": finite(difference.low),
            "high": finite(difference.high),
            "p_value": finite(difference.p_value),
            "p_holm": finite(float(adjusted[k])),
            "verdict": verdict(difference, float(adjusted[k]), measure.higher_is_better),
            "reason": difference.reason,
        }
        for k, (name, difference) in enumerate(zip(a.classes, found, strict=True))
    ]


def _mean_of_seeds(networks: Networks, measure: Measure) -> NDArray[np.float64]:
    values: NDArray[np.float64] = np.mean([measure.function(measures.merge(c)) for c in networks.values()], axis=0)
    return values


def _changes(a: Side, b: Side) -> list[dict[str, Any]]:
    """Settings in which the runs differ: what the comparison is about, where there is one of them."""
    if not a.records or not b.records:
        return []
    ours, theirs = a.records[0].get("values", {}), b.records[0].get("values", {})
    keys = dict.fromkeys([*ours, *theirs])
    return [{"key": key, "a": ours.get(key), "b": theirs.get(key)} for key in keys if ours.get(key) != theirs.get(key)]


def _flags(a: Side, b: Side, changed: Sequence[str]) -> list[str]:
    """Everything that differs beside one declared factor, or that cannot be known."""
    flags = [*a.notes, *b.notes]
    if len(changed) > 1:
        flags.append(f"{len(changed)} settings differ, so that no difference can be put down to one of them")
    for side in (a, b):
        if not side.records:
            flags.append(f"{side.name}: how its masks came about is not recorded")
    flags += differing(a.records, b.records, changed)
    for key, words in TOLD.items():
        ours, theirs = a.meta.get(key), b.meta.get(key)
        if key in a.meta and key in b.meta and ours != theirs:
            flags.append(f"{words} {ours} against {theirs}")
    if _known_and_different(a, b, "data_fingerprint"):
        flags.append("images or masks that were scored differ in content")
    if a.rules != b.rules:
        flags.append("outlines and objects were counted with other tolerances")
    if a.groups is not None and b.groups is not None and a.groups != b.groups:
        flags.append(f"images are grouped in another way in {b.name}; the groups of {a.name} are used")
    return flags


def _known_and_different(a: Side, b: Side, key: str) -> bool:
    return None not in (a.meta.get(key), b.meta.get(key)) and a.meta[key] != b.meta[key]
