"""From runs and results to what is shown: configurations, states, differences, drops; frames in, frames out.

Every difference is taken here, seed by seed and at full precision; tables and figures only draw these frames.
A run without a result keeps its row, with NaN and its state.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any

import numpy as np
import pandas as pd

from segstudy import measures
from segstudy.files import read_yaml
from segstudy.measures import OVERALL
from segstudy.plan import Plan, Run, Variation
from segstudy.report.evidence import (
    class_effects_frame,
    class_uncertainty_frame,
    effects_frame,
    selection_frame,
    uncertainty_frame,
)
from segstudy.report.results import (
    CONSTANT,
    Evaluated,
    cost_frame,
    current_runs,
    curves_frame,
    read_evaluations,
    results_frame,
)
from segstudy.spec import CrossEvaluation
from segstudy.store import RunFolder, Store

MEASURES = [measure.key for measure in OVERALL]

# The paper's words for what an experiment changes, beside the last part of the key for all others.
FACTORS = {
    "model.arch": "architecture",
    "model.encoder": "backbone",
    "model.weights": "init",
    "model.output_stride": "OS",
    "recipe.input_size": "input size",
}


@dataclass(frozen=True)
class Frames:
    """All that a report draws, computed once. ``reported`` is the part of ``results`` at the resolution that is reported."""

    plan: Plan
    evaluations: list[Evaluated]
    results: pd.DataFrame
    reported: pd.DataFrame
    runs: pd.DataFrame
    scores: pd.DataFrame
    comparison: pd.DataFrame
    constants: pd.DataFrame
    cost: pd.DataFrame
    curves: pd.DataFrame
    uncertainty: pd.DataFrame
    classes: pd.DataFrame
    effects: pd.DataFrame
    class_effects: pd.DataFrame
    records: dict[str, list[Any]]
    selection: pd.DataFrame


def collect_frames(store: Store, plan: Plan) -> Frames:
    """Read what the store holds for the plan's runs."""
    evaluations = read_evaluations(store, plan)
    results, runs, curves = results_frame(plan, evaluations), runs_frame(store, plan), curves_frame(store, plan)
    reported = reported_rows(results, evaluations)
    scores = score_frame(reported).assign(protocol=plan.study.protocol)
    comparison = comparison_frame(runs, scores)
    records: dict[str, list[Any]] = {}
    for run, folder in current_runs(store, plan):
        records.setdefault(run.experiment, []).append(read_yaml(folder.config))
    return Frames(
        plan=plan,
        evaluations=evaluations,
        results=results,
        reported=reported,
        runs=runs,
        scores=scores,
        comparison=comparison,
        constants=constants_frame(evaluations),
        cost=cost_summary(cost_frame(store, plan), runs),
        curves=curves,
        uncertainty=uncertainty_frame(plan, evaluations),
        classes=class_uncertainty_frame(plan, evaluations),
        effects=effects_frame(plan, evaluations, records),
        class_effects=class_effects_frame(plan, evaluations, [pair[1:] for pair in baseline_pairs(comparison)]),
        records=records,
        selection=selection_frame(curves, runs),
    )


def reported_rows(results: pd.DataFrame, evaluations: Sequence[Evaluated]) -> pd.DataFrame:
    """The rows at the resolution that each evaluation reports; those of the other stand in the CSV only."""
    wanted = {
        (e.run.experiment, e.run.seed, e.meta["test_data"], e.meta["split"]): e.meta["resolution"] for e in evaluations
    }
    names = results["experiment"].str.removesuffix(f" {CONSTANT}")
    keys = zip(names, results["seed"], results["test_data"], results["split"], strict=True)
    kept = [wanted[key] == own for key, own in zip(keys, results["resolution"], strict=True)]
    return results[np.array(kept, dtype=bool)]


def runs_frame(store: Store, plan: Plan) -> pd.DataFrame:
    """What each run is and where it stands, a run a row.

    ``split`` is the one that is reported, ``chosen_epoch`` counts from 1 (NaN before the first epoch ends; of imported
    weights it is what their file says), ``root`` the baseline at the end of the chain of bases, ``reason`` why a failed
    run stopped.
    """
    rows = []
    for run in plan.runs:
        folder = store.run(run.experiment, run.seed)
        rows.append({**_describe(plan, run), **_progress(run, folder)})
    return pd.DataFrame(rows)


def _describe(plan: Plan, run: Run) -> dict[str, Any]:
    config, compared = run.config, run.variation
    root = run.experiment
    while (base := plan.study.experiments[root].base) is not None:
        root = base
    return {
        "experiment": run.experiment,
        "seed": run.seed,
        "dataset": config.dataset,
        "arch": config.model.arch,
        "encoder": config.model.encoder,
        "weights": _weights(config.model.weights),
        "output_stride": config.model.output_stride,
        "input_size": config.recipe.input_size,
        "epochs": config.recipe.epochs,
        "base": compared.base if compared else "",
        "root": root,
        "variant": compared.variant if compared else "Baseline",
        "note": note(compared),
        "confounded": bool(compared and compared.confounded),
    }


def _weights(weights: str) -> str:
    return {"packaged": "imagenet (packaged)"}.get(weights, PurePath(weights).name)


def note(compared: Variation | None) -> str:
    """What an experiment is, in the paper's words.

    >>> note(Variation("unet", {"model.encoder": ("resnet50", "resnet101")}))
    'Ablation (backbone)'
    """
    if compared is None:
        return "Baseline"
    factors = ", ".join(FACTORS.get(key, key.rsplit(".", 1)[-1].replace("_", " ")) for key in compared.changes)
    return f"{compared.kind.capitalize()} ({factors})"


def _progress(run: Run, folder: RunFolder) -> dict[str, Any]:
    record = read_yaml(folder.config) if folder.config.is_file() else {}
    own = record.get("identity") == run.identity
    split = record.get("roles", {}).get("report", "") if own else ""
    epochs = [r for r in folder.read_metrics() if r["select_miou"] == r["select_miou"]] if own else []
    best = max(epochs, key=lambda record: record["select_miou"], default=None)
    imported = record.get("imported_from") if own else None
    told = (imported or {}).get("epoch", np.nan)
    state = folder.state(run.identity, run.scored_on)
    reason = folder.failure.read_text(encoding="utf-8").strip() if state == "failed" else ""
    return {
        "split": split,
        "state": state,
        "epochs_done": len(epochs),
        "chosen_epoch": best["epoch"] if best else told,
        "imported": imported is not None,
        "reason": reason,
    }


def states_text(states: Iterable[str]) -> str:
    """Where an experiment's runs stand.

    >>> states_text(["done", "done", "missing"]), states_text(["failed"])
    ('2 done, 1 missing', 'failed')
    """
    counts = Counter(states)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {state}" for state, n in counts.items())


def experiments_frame(runs: pd.DataFrame) -> pd.DataFrame:
    """An experiment a row: its configuration, and state and chosen epochs of all its seeds in words."""
    rows = []
    for _, group in runs.groupby("experiment", sort=False):
        epochs = [f"{epoch:.0f}" if epoch == epoch else "–" for epoch in group["chosen_epoch"]]
        epochs = [f"{text} (imported)" if own else text for text, own in zip(epochs, group["imported"], strict=True)]
        rows.append(group.iloc[0].to_dict() | {"state": states_text(group["state"]), "chosen": ", ".join(epochs)})
    return pd.DataFrame(rows).drop(columns=["seed", "chosen_epoch", "epochs_done", "imported", "reason"])


def score_frame(results: pd.DataFrame) -> pd.DataFrame:
    """Dataset-level scores, a run on a split a row, a measure a column."""
    chosen = results[(results["level"] == "dataset") & ~results["experiment"].str.endswith(CONSTANT)]
    keys = ["experiment", "seed", "train_data", "test_data", "split", "selected_on", "resolution", "n"]
    wide = chosen.pivot(index=keys, columns="measure", values="value").reset_index().reindex(columns=[*keys, *MEASURES])
    return chosen[keys].drop_duplicates().merge(wide, on=keys)  # pivoting sorts; the study's order is kept


def reported_frame(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """Every run with its score on the reported split of its own dataset, and ``delta_miou`` to its base's same seed."""
    own = scores.rename(columns={"test_data": "dataset"}).drop(columns="train_data")
    frame = runs.merge(own, on=["experiment", "seed", "dataset", "split"], how="left")
    miou = dict(zip(zip(frame["experiment"], frame["seed"], strict=True), frame["miou"], strict=True))
    bases = [miou.get(key, np.nan) for key in zip(frame["base"], frame["seed"], strict=True)]
    return frame.assign(delta_miou=frame["miou"] - np.array(bases, dtype=float))


def over_seeds(frame: pd.DataFrame, keys: Sequence[str], values: Sequence[str]) -> pd.DataFrame:
    """Mean of each value over seeds, ``<value>_sd`` (NaN for one seed), ``seeds``, and with several each seed's value."""
    rows = []
    several = frame["seed"].nunique() > 1
    for key, group in frame.groupby(list(keys), sort=False, dropna=False):
        row: dict[str, Any] = dict(zip(keys, key if isinstance(key, tuple) else (key,), strict=True))
        row["seeds"] = int(group[list(values)].notna().any(axis=1).sum())
        for value in values:
            known = group[value].dropna().astype(float)
            row[value] = float(known.mean()) if len(known) else np.nan
            row[f"{value}_sd"] = float(known.std(ddof=1)) if len(known) > 1 else np.nan
            if several:
                row |= {f"{value}_seed{s}": v for s, v in zip(group["seed"], group[value], strict=True)}
        rows.append(row)
    return pd.DataFrame(rows)


def comparison_frame(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """An experiment a row: configuration, state, every score and its difference to the base, over seeds.

    ``delta_miou`` is the difference of the two means, as comparisons take it; its deviation is that of the differences
    seed by seed, NaN where the two were not scored with the same seeds.
    """
    reported = reported_frame(runs, scores)
    frame = experiments_frame(runs).merge(
        over_seeds(reported, ["experiment"], [*MEASURES, "delta_miou"]), on="experiment"
    )
    mean = frame.set_index("experiment")["miou"]
    known = reported.dropna(subset=["miou"]).groupby("experiment")["seed"].agg(frozenset)
    alike = frame["experiment"].map(known) == frame["base"].map(known)
    delta = frame["miou"] - frame["base"].map(mean).astype(float)
    return frame.assign(delta_miou=delta, delta_miou_sd=frame["delta_miou_sd"].where(alike))


def variant_groups(comparison: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each architecture: its baselines that have variants, each followed by them."""
    groups: dict[str, list[pd.DataFrame]] = {}
    for root, family in comparison.groupby("root", sort=False):
        if (family["base"] != "").any():
            arch = _root_arch(comparison, str(root), family)
            groups.setdefault(arch, []).append(family)
    return {arch: pd.concat(families, ignore_index=True) for arch, families in groups.items()}


def _root_arch(comparison: pd.DataFrame, root: str, family: pd.DataFrame) -> str:
    own = comparison.loc[comparison["experiment"] == root, "arch"]
    return str(own.iloc[0] if len(own) else family["arch"].iloc[0])


def constants_frame(evaluations: Sequence[Evaluated]) -> pd.DataFrame:
    """What calling every pixel one class would score, an evaluation a row; ``label`` names that class."""
    rows = []
    for evaluated in evaluations:
        counts = measures.merge(evaluated.constant())
        rows.append(
            {
                "experiment": evaluated.run.experiment,
                "seed": evaluated.run.seed,
                "test_data": evaluated.meta["test_data"],
                "split": evaluated.meta["split"],
                "label": evaluated.classes[int(counts.sum(axis=0).argmax())],
                **{measure.key: float(measure.function(counts)) for measure in OVERALL},
            }
        )
    return pd.DataFrame(rows, columns=["experiment", "seed", "test_data", "split", "label", *MEASURES])


def cross_frame(
    cross: CrossEvaluation, runs: pd.DataFrame, scores: pd.DataFrame, constants: pd.DataFrame
) -> pd.DataFrame:
    """One cross-evaluation: in-domain, cross, and what a constant prediction scores on the target.

    ``<measure>_drop`` is in-domain minus cross of the same seed, ``<measure>_drop_percent`` its share of in-domain. Where
    some seeds are scored on the target, the in-domain row is of those too.
    """
    own = runs[runs["experiment"] == cross.experiment]
    source = str(own["dataset"].iloc[0])
    inside = reported_frame(own, scores).assign(row=f"{source} → {source}")
    there = (scores["experiment"] == cross.experiment) & (scores["test_data"] == cross.on)
    there &= (scores["split"] == cross.split) if cross.split else True
    target = own[["experiment", "seed", "state"]].merge(scores[there], on=["experiment", "seed"], how="left")
    target = target.assign(row=f"{source} → {cross.on}")
    if target["miou"].notna().any():
        inside = inside[inside["seed"].isin(target.loc[target["miou"].notna(), "seed"])]
    for key in MEASURES:
        before = target["seed"].map(inside.set_index("seed")[key])
        target[f"{key}_drop"] = before - target[key]
        target[f"{key}_drop_percent"] = 100 * target[f"{key}_drop"] / before
    nothing = constants[(constants["experiment"] == cross.experiment) & (constants["test_data"] == cross.on)]
    label = nothing["label"].iloc[0] if len(nothing) else "background"
    nothing = nothing.assign(row=f"all “{label}” → {cross.on}", state="done")
    if nothing.empty:
        nothing = target[["experiment", "seed", "state"]].assign(row=f"all “{label}” → {cross.on}")
    stacked = pd.concat([inside, target, nothing], ignore_index=True)
    values = [*MEASURES, *(f"{key}_drop{suffix}" for key in MEASURES for suffix in ("", "_percent"))]
    states = stacked.groupby("row", sort=False)["state"].agg(states_text).reset_index()
    return over_seeds(stacked, ["row"], values).merge(states, on="row")


def baseline_pairs(experiments: pd.DataFrame) -> list[tuple[str, str, str]]:
    """(dataset, experiment, experiment): a dataset's first baseline with the first of each other architecture."""
    pairs = []
    for dataset, group in experiments[experiments["base"] == ""].groupby("dataset", sort=False):
        firsts = group.drop_duplicates("arch")["experiment"].tolist()
        pairs += [(str(dataset), firsts[0], other) for other in firsts[1:]]
    return pairs


def class_contrast(classes: pd.DataFrame, first: str, second: str, threshold: float) -> pd.DataFrame:
    """Two experiments class by class; ``printed`` where their IoU differs by more than ``threshold``.

    With two classes, or where one of the two has no result, every class is printed.
    """
    long = classes[classes["experiment"].isin([first, second])]
    names = long.drop_duplicates("index").sort_values("index")
    frame = names[["index", "class", "images"]].reset_index(drop=True)
    for measure in ("iou", "dice"):
        for side, name in (("first", first), ("second", second)):
            part = long[(long["experiment"] == name) & (long["measure"] == measure)].set_index("index")["value"]
            frame[f"{measure}_{side}"] = frame["index"].map(part).astype(float)
        frame[f"{measure}_delta"] = frame[f"{measure}_first"] - frame[f"{measure}_second"]
    whole = len(frame) <= 2 or bool(frame["iou_delta"].isna().all())
    return frame.assign(printed=True if whole else frame["iou_delta"].abs() > threshold)


def cost_summary(cost: pd.DataFrame, runs: pd.DataFrame) -> pd.DataFrame:
    """Cost of each experiment over its seeds, with its state; NaN where nothing was measured."""
    values = ["seconds_per_epoch", "images_per_s", "peak_memory_mb", "parameters", "gflops", "latency_ms"]
    texts = ["memory_of", "device", "precision"]
    frame = runs[["experiment", "seed"]]
    frame = frame if cost.empty else frame.merge(cost, on=["experiment", "seed"], how="left")
    frame = frame.reindex(columns=["experiment", "seed", *values, *texts])
    told = frame.groupby("experiment", sort=False)[texts].agg(_distinct)
    numbers = over_seeds(frame, ["experiment"], values).merge(told.reset_index(), on="experiment")
    return experiments_frame(runs).merge(numbers, on="experiment")


def _distinct(texts: pd.Series[Any]) -> str:
    return "; ".join(dict.fromkeys(map(str, texts.dropna())))


def image_frame(results: pd.DataFrame) -> pd.DataFrame:
    """Per-image mIoU of every evaluation: experiment, seed, train_data, test_data, split, id, value."""
    chosen = results[(results["level"] == "image") & (results["measure"] == "miou")]
    keys = ["experiment", "seed", "train_data", "test_data", "split", "class", "value"]
    return chosen[keys].rename(columns={"class": "id"}).reset_index(drop=True)


def quartiles(images: pd.DataFrame) -> pd.DataFrame:
    """Quartiles of ``value`` for each experiment: columns q1, median, q3, n."""
    grouped = images.groupby("experiment", sort=False)["value"]
    columns = {"q1": grouped.quantile(0.25), "median": grouped.median(), "q3": grouped.quantile(0.75)}
    return pd.DataFrame(columns | {"n": grouped.count()}).reset_index()
