"""How sure the report's numbers are: intervals, comparisons with verdicts, what choosing the epoch was worth; frames only.

Every interval and test is taken from counts on disk by :mod:`segstudy.stats`; its random draws follow from the names of
the study and of what is compared, so that a report made again says the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from segstudy import measures
from segstudy.counts.counting import measures_of
from segstudy.guard import differing
from segstudy.measures import OVERALL, PER_CLASS, Measure
from segstudy.plan import Plan
from segstudy.report.results import Evaluated
from segstudy.stats.comparison import Difference, compare, compare_each, holm, verdict
from segstudy.stats.intervals import Estimate, estimate_each
from segstudy.stats.resampling import Networks

NOT_COMPARABLE = "not comparable"
SIZE_FACTORS = ("recipe.input_size", "recipe.crop_px")  # factors that change the masks that are scored, at input size
LEADING = next(measure for measure in OVERALL if measure.key == "miou")  # the measure that verdicts are about


def generator_for(*names: str) -> np.random.Generator:
    """Random draws that follow from ``names`` alone."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256("\n".join(names).encode()).digest()[:8]))


def evaluations_of(
    evaluations: Iterable[Evaluated], experiment: str, test_data: str | None = None
) -> dict[int, Evaluated]:
    """An experiment's evaluations by seed: on its own dataset, or on ``test_data``."""
    return {
        e.run.seed: e
        for e in evaluations
        if e.run.experiment == experiment and (e.in_domain if test_data is None else e.meta["test_data"] == test_data)
    }


def networks(found: Mapping[int, Evaluated], counts: str = "confusion") -> Networks:
    """Counts by seed, as the statistics take them."""
    return {seed: e.counts[counts] for seed, e in found.items()}


def same_images(*sides: Mapping[int, Evaluated]) -> bool:
    """Whether all evaluations are of the same images in the same order."""
    return len({e.ids for side in sides for e in side.values()}) <= 1


def same_files(*sides: Mapping[int, Evaluated]) -> bool:
    """Whether all evaluations that recorded it were of the same files: images and true masks, byte by byte."""
    recorded = {e.meta.get("data_fingerprint") for side in sides for e in side.values()}
    return len(recorded - {None}) <= 1


def uncertainty_frame(plan: Plan, evaluations: Sequence[Evaluated]) -> pd.DataFrame:
    """Every overall score with its interval: an experiment on a dataset and a measure a row.

    Columns: experiment, train_data, test_data, split, resolution, measure, and the fields of
    :class:`~segstudy.stats.intervals.Estimate`.
    """
    rows = []
    for experiment in plan.experiments:
        for data in dict.fromkeys(e.meta["test_data"] for e in evaluations if e.run.experiment == experiment):
            found = evaluations_of(evaluations, experiment, data)
            one = next(iter(found.values()))
            keys = {key: one.meta[key] for key in ("train_data", "test_data", "split", "resolution")}
            for measure in measures_of(plan.study.scoring):
                if "dataset" in measure.levels and measure.counts in one.counts:
                    (fields,) = _estimates(found, measure)
                    rows.append({"experiment": experiment, **keys, "measure": measure.key, **fields})
    columns = ["experiment", "train_data", "test_data", "split", "resolution", "measure", *Estimate.__annotations__]
    return pd.DataFrame(rows, columns=columns)


def class_uncertainty_frame(plan: Plan, evaluations: Sequence[Evaluated]) -> pd.DataFrame:
    """IoU and Dice of every class, of every experiment on its own dataset, with interval: a class and measure a row.

    Columns: experiment, test_data, index, class, images (that hold the class), measure, value (NaN where the class is
    absent), low, high, reason.
    """
    rows = []
    for experiment in plan.experiments:
        if not (found := evaluations_of(evaluations, experiment)):
            continue
        one = next(iter(found.values()))
        images = (measures.support(one.confusion) > 0).sum(axis=0)
        for measure in PER_CLASS[:2]:
            rows += [
                {"experiment": experiment, "test_data": one.meta["test_data"], "index": index, "class": label}
                | {"images": int(images[index]), "measure": measure.key}
                | {key: fields[key] for key in ("value", "low", "high", "reason")}
                for index, (label, fields) in enumerate(zip(one.classes, _estimates(found, measure), strict=True))
            ]
    keys = ["experiment", "test_data", "index", "class", "images", "measure", "value", "low", "high", "reason"]
    return pd.DataFrame(rows, columns=keys)


def _estimates(found: Mapping[int, Evaluated], measure: Measure) -> list[dict[str, Any]]:
    """Fields of the estimate of each value of a measure; no interval where seeds were scored on different images."""
    one, counts = next(iter(found.values())), networks(found, measure.counts)
    each = measure.each_for(one.counts[measure.counts])
    if same_images(found):
        return list(map(asdict, estimate_each(counts, each, groups=one.groups, limits=measure.bounds)))
    values = np.mean([each(measures.merge(array)) for array in counts.values()], axis=0)
    nothing = {"low": np.nan, "high": np.nan, "seed_sd": np.nan, "num_seeds": len(found)}
    reason = "the seeds were scored on different images"
    return [nothing | {"value": float(value), "method": "", "reason": reason} for value in values]


def effects_frame(plan: Plan, evaluations: Sequence[Evaluated], records: Mapping[str, list[Any]]) -> pd.DataFrame:
    """Every variant against its base on the same images: a comparison a row, corrected over the study's family.

    Parameters
    ----------
    plan
        The study's plan; every variant is a row, whether it has a result or not.
    evaluations
        What the store holds.
    records
        By experiment, what its runs recorded of themselves (``run.yaml``).

    Returns
    -------
    DataFrame
        experiment, base, variant, confounded, dataset, split, the fields of :class:`~segstudy.stats.comparison.Difference`,
        ``p_holm``, ``verdict``, and ``flags``: all that differs beside the declared factor, in words.

    """
    found = {name: evaluations_of(evaluations, name) for name in plan.experiments}
    unfair = unfair_variants(plan, found)
    asked = _num_fair(unfair)
    rows = []
    for name, flags in unfair.items():
        run = plan.first(name)
        assert run.variation is not None
        row: dict[str, Any] = {
            "experiment": name,
            "base": run.variation.base,
            "variant": run.variation.variant,
            "confounded": run.variation.confounded,
            "dataset": run.config.dataset,
            "questions": asked,
        }
        own, base = records.get(name, []), records.get(run.variation.base, [])
        differs = differing(base, own, list(run.variation.changes))
        row |= _compared(plan, name, found[name], found.get(run.variation.base, {}), asked)
        rows.append(row | {"flags": "; ".join([*differs, *flags])})
    keys = ["experiment", "base", "variant", "confounded", "dataset", "split"]
    frame = pd.DataFrame(rows, columns=[*keys, *Difference.__annotations__, "flags"])
    return _with_verdicts(frame, np.array([not flags for flags in unfair.values()], dtype=bool))


def num_questions(plan: Plan, evaluations: Sequence[Evaluated]) -> int:
    """How many comparisons the study makes, 1 at least: every variant that is planned and not known to be incomparable.

    So verdicts that hold today hold when the study's other runs are done.
    """
    found = {name: evaluations_of(evaluations, name) for name in plan.experiments}
    return _num_fair(unfair_variants(plan, found))


def _num_fair(unfair: Mapping[str, Sequence[str]]) -> int:
    return max(1, sum(not flags for flags in unfair.values()))


def unfair_variants(plan: Plan, found: Mapping[str, Mapping[int, Evaluated]]) -> dict[str, list[str]]:
    """Every variant, and why its scores cannot be compared with its base's; nothing where they can, as far as is known."""
    compared = {name: c for name in plan.experiments if (c := plan.first(name).variation) is not None}
    return {
        name: _unfair(found.get(name, {}), found.get(c.base, {}), c.changes, plan.first(name).config.resolution)
        for name, c in compared.items()
    }


def _unfair(
    ours: Mapping[int, Evaluated], theirs: Mapping[int, Evaluated], changes: Iterable[str], resolution: str
) -> list[str]:
    """Why two experiments' scores cannot be compared."""
    flags = []
    if not same_images(ours, theirs):
        flags.append("scored on other images")
    elif not same_files(ours, theirs):
        flags.append("scored on files that changed in between; delete the older evaluation and run again")
    resolutions = {resolution} | {e.meta["resolution"] for e in (*ours.values(), *theirs.values())}
    if len(resolutions) > 1 or ("input" in resolutions and set(changes) & set(SIZE_FACTORS)):
        flags.append("scored on masks of different sizes")
    return flags


def _compared(
    plan: Plan, name: str, ours: Mapping[int, Evaluated], theirs: Mapping[int, Evaluated], questions: int
) -> dict[str, Any]:
    """Fields of the difference of two experiments; none where they were scored on different images."""
    if not ours or not theirs:
        return {}
    one = next(iter(ours.values()))
    if not same_images(ours, theirs):
        return {"split": one.meta["split"]}
    draw = generator_for(plan.study.name, name, LEADING.key)
    sides = networks(ours, LEADING.counts), networks(theirs, LEADING.counts)
    limits = LEADING.difference_bounds
    found = compare(*sides, LEADING.function, draw, groups=one.groups, questions=questions, limits=limits)
    return {"split": one.meta["split"], **asdict(found)}


def _with_verdicts(frame: pd.DataFrame, fair: NDArray[np.bool_]) -> pd.DataFrame:
    """p-values corrected over all comparisons of the study that can be made fairly, and what they say.

    One that has no p-value yet counts as a question all the same, with a p-value of 1.
    """
    p_values = frame["p_value"].astype(float).to_numpy()
    adjusted = holm(np.where(fair, np.nan_to_num(p_values, nan=1.0), np.nan))
    adjusted = np.where(np.isnan(p_values), np.nan, adjusted)
    words = []
    for row, p, ok in zip(frame.to_dict("records"), adjusted, fair, strict=True):
        known = row["value"] == row["value"]
        difference = Difference(**{key: row[key] for key in Difference.__annotations__}) if known else None
        words.append("" if difference is None else verdict(difference, p) if ok else NOT_COMPARABLE)
    return frame.assign(p_holm=adjusted, verdict=words)


def class_effects_frame(plan: Plan, evaluations: Sequence[Evaluated], pairs: Iterable[tuple[str, str]]) -> pd.DataFrame:
    """Difference in each class's IoU, with interval, of every variant to its base and of further ``pairs``.

    Columns: experiment, base, index, class, value, low, high, p_value, p_holm (over the classes), verdict, reason.
    """
    variants = [(name, c.base) for name in plan.experiments if (c := plan.first(name).variation) is not None]
    rows = [row for pair in dict.fromkeys([*variants, *pairs]) for row in class_differences(plan, evaluations, *pair)]
    columns = ["experiment", "base", "index", "class", "value", "low", "high", "p_value", "p_holm", "verdict", "reason"]
    return pd.DataFrame(rows, columns=columns)


def class_differences(plan: Plan, evaluations: Sequence[Evaluated], first: str, second: str) -> list[dict[str, Any]]:
    """IoU of each class, ``first`` minus ``second``, corrected over the classes; nothing where they cannot be compared."""
    ours, theirs = evaluations_of(evaluations, first), evaluations_of(evaluations, second)
    if not ours or not theirs or not same_images(ours, theirs) or not same_files(ours, theirs):
        return []
    one, draw = next(iter(ours.values())), generator_for(plan.study.name, first, second, "classes")
    sides = networks(ours), networks(theirs)
    found = compare_each(*sides, measures.iou, draw, groups=one.groups, limits=LEADING.difference_bounds)
    adjusted = holm([difference.p_value for difference in found])
    keys = ("value", "low", "high", "p_value", "reason")
    return [
        {"experiment": first, "base": second, "index": index, "class": label, "p_holm": float(p)}
        | {"verdict": verdict(difference, float(p))}
        | {key: getattr(difference, key) for key in keys}
        for index, (label, difference, p) in enumerate(zip(one.classes, found, adjusted, strict=True))
    ]


def selection_frame(curves: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """What choosing the epoch did, a run a row: reported-split mIoU (at input size) of three epochs.

    ``last``, ``chosen`` (on the split that chooses) and ``best`` (as if chosen on the reported split); ``optimism_points``
    is best minus chosen, in points of mIoU (hundredths): what the review's habit would have added. Imported runs, and runs
    that did not record the reported split, have NaN.
    """
    keys = ["experiment", "seed", "dataset", "state"]
    if curves.empty or "report_miou" not in curves:
        return runs[keys].assign(**dict.fromkeys(("last", "chosen", "best", "optimism_points"), np.nan))
    rows = []
    for (experiment, seed), run in curves.groupby(["experiment", "seed"], sort=False):
        scored = run.dropna(subset=["report_miou", "select_miou"])
        reported, select = scored["report_miou"].astype(float), scored["select_miou"].astype(float)
        known = len(scored) > 0
        chosen = float(reported.iloc[int(select.to_numpy().argmax())]) if known else np.nan
        best, last = (float(reported.max()), float(reported.iloc[-1])) if known else (np.nan, np.nan)
        values = {"last": last, "chosen": chosen, "best": best, "optimism_points": 100 * (best - chosen)}
        rows.append({"experiment": experiment, "seed": seed, **values})
    return runs[keys].merge(pd.DataFrame(rows), on=["experiment", "seed"], how="left")
