"""From a study's results to the data frames that several sections draw; what one section needs alone stands with it.

A run without a result keeps its row, with NaN and its state. Nothing is compared here: that is
:mod:`segstudy.comparison`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import pandas as pd

from segstudy import measures
from segstudy.comparison import Comparison, Side, problems_between
from segstudy.counts.countset import CountSet
from segstudy.measures import OVERALL, PER_CLASS, Measure
from segstudy.plan import Plan, Run, Variation
from segstudy.records import NOT_TRAINED
from segstudy.report.figure import assign_colours
from segstudy.report.long import CONSTANT, LongForm, evaluation_of, long_blocks
from segstudy.report.wording import called
from segstudy.results import RunResult, StudyResults
from segstudy.sizes import size_text
from segstudy.stats.comparison import Difference
from segstudy.stats.intervals import Estimate
from segstudy.study import Config, CrossEvaluation

# Columns of the effects that say more than the verdict: five numbers, two texts.
BEYOND = ("p_greater", "simultaneous_low", "simultaneous_high", "margin_met", "margin", "equivalence", "cautions")
MEASURES = [measure.key for measure in OVERALL]

# The paper's words for what an experiment changes; the last part of the key stands for all others.
FACTORS = {
    "model.arch": "architecture",
    "model.encoder": "backbone",
    "model.weights": "init",
    "model.output_stride": "OS",
    "recipe.input_size": "input size",
}


@dataclass(frozen=True)
class ReportData:
    """A study's results with the frames that sections share, each made on first use."""

    results: StudyResults
    data_root: Path | None = None  # where datasets lie, for pictures

    @property
    def plan(self) -> Plan:
        """The study's plan."""
        return self.results.plan

    @property
    def sets(self) -> tuple[CountSet, ...]:
        """Every evaluation of every run."""
        return self.results.sets

    @cached_property
    def long(self) -> pd.DataFrame:
        """Every number in long form; see :func:`~segstudy.report.long.results_frame`."""
        return self.form.frame

    @cached_property
    def form(self) -> LongForm:
        """The same by blocks of rows, from which ``results.csv`` is written."""
        return LongForm(long_blocks(self.plan, self.sets))

    @cached_property
    def reported(self) -> pd.DataFrame:
        """The rows at the resolution that each evaluation reports; those at the other one stand in the CSV only."""
        wanted = {(s.experiment, s.seed, s.about.test_data, s.about.split): s.about.resolution for s in self.sets}
        return self.long[self.form.rows(lambda block: block["resolution"] == wanted[evaluation_of(block)])]

    @cached_property
    def runs(self) -> pd.DataFrame:
        """The settings and state of each run, one per row; see :func:`runs_frame`."""
        return runs_frame(self.results)

    @cached_property
    def scores(self) -> pd.DataFrame:
        """Dataset-level scores, a run on a split a row, a measure a column."""
        frame = score_frame(self.reported).assign(protocol=self.plan.study.protocol)
        configs = [self.plan.first(name).config for name in frame["experiment"]]
        return frame.assign(
            patience=np.array([config.recipe.patience for config in configs], np.float64),
            synchronised=np.array([config.recipe.sync_batch_norm for config in configs], np.bool_),
            accumulate=[config.recipe.accumulate for config in configs],
            predicts=[config.predicts for config in configs],
            saw=[config.saw for config in configs],
        )

    @cached_property
    def experiments(self) -> pd.DataFrame:
        """An experiment a row: configuration, state, every score and its difference to the base, over seeds."""
        return experiments_frame(self.runs, self.scores)

    @cached_property
    def constants(self) -> pd.DataFrame:
        """The score of predicting one class everywhere, one row per evaluation."""
        return constants_frame(self.sets)

    @cached_property
    def effects(self) -> pd.DataFrame:
        """Every variant against its base, a comparison a row."""
        return effects_frame(self.results)

    @cached_property
    def effects_elsewhere(self) -> pd.DataFrame:
        """The same where variant and base are cross-evaluated; ``dataset`` is the one that they are scored on."""
        return effects_frame(self.results, elsewhere=True)

    @cached_property
    def class_scores(self) -> pd.DataFrame:
        """IoU and Dice of every class with intervals; see :func:`class_scores_frame`."""
        return class_scores_frame(self.results)

    @cached_property
    def apart(self) -> dict[str, str]:
        """Experiments scored otherwise than the first of their dataset, with whose scores theirs do not compare, and why."""
        first: dict[str, Side] = {}
        found = {}
        for name in self.plan.experiments:
            side = self.results.side(name)
            if side.sets and not np.isnan(side.mean(self.results.primary)[0]):
                reference = first.setdefault(self.plan.first(name).config.dataset, side)
                problems = () if side is reference else problems_between(side, reference, self.results.primary)
                if problems:
                    found[name] = problems[0].what
        return found

    @cached_property
    def called(self) -> dict[str, str]:
        """The name of each experiment in words: its architecture and its changes."""
        return called(self.plan)

    @cached_property
    def colours(self) -> dict[str, str]:
        """Experiment -> colour, from the start for each dataset, baselines first."""
        return assign_colours(self.experiments)

    @cached_property
    def crosses(self) -> list[CrossEvaluation]:
        """Cross-evaluations of the experiments in the plan."""
        return [cross for cross in self.plan.study.cross_evaluations if cross.experiment in self.plan.experiments]

    @cached_property
    def baseline_pairs(self) -> list[tuple[str, str, str]]:
        """(dataset, experiment, experiment): a dataset's first baseline with the first of each other architecture."""
        pairs = []
        baselines = self.experiments[self.experiments["base"] == ""]
        for dataset, group in baselines.groupby("dataset", sort=False):
            firsts = group.drop_duplicates("arch")["experiment"].tolist()
            pairs += [(str(dataset), firsts[0], other) for other in firsts[1:]]
        return pairs

    def scores_of(self, names: Sequence[str], on: str | None = None) -> pd.DataFrame:
        """Rows of ``scores`` that belong to experiments ``names``, on the dataset ``on`` or each on its own."""
        scores = self.scores[self.scores["experiment"].isin(list(names))]
        return scores[scores["test_data"] == (scores["experiment"].map(self.plan.homes) if on is None else on)]

    @cached_property
    def lines(self) -> dict[tuple[str, int, str, str, str, str, str], int]:
        """Line of ``results.csv`` of each reported score of a dataset or class; the heading is line 1.

        Keys are experiment, seed, test_data, split, level, measure and class.
        """
        frame = self.reported
        frame = frame[frame["level"] != "image"]
        columns = ("experiment", "seed", "test_data", "split", "level", "measure", "class")
        keys = zip(*(frame[column] for column in columns), strict=True)
        return dict(zip(keys, (int(index) + 2 for index in frame.index), strict=True))

    def compared(self, first: str, second: str) -> Comparison:
        """``first`` minus ``second``: a comparison of the study, or one of two baselines."""
        known = self.results.comparisons.get(first)
        if known is not None and known.b.name == second:
            return known
        if (first, second) not in self._pairs:
            self._pairs[first, second] = self.results.compare(self.results.side(first), self.results.side(second))
        return self._pairs[first, second]

    @cached_property
    def _pairs(self) -> dict[tuple[str, str], Comparison]:
        """Comparisons of baselines that were made."""
        return {}


def runs_frame(results: StudyResults) -> pd.DataFrame:
    """The settings and state of each run, one per row.

    ``split`` is the one that is reported, ``chosen_epoch`` counts from 1 (NaN before the first epoch ends and over folds; of
    imported weights it is what their file says), ``chosen`` is the same as text, fold by fold, ``root`` the baseline at the
    end of the chain of bases, ``reason`` why a failed run stopped.
    """
    return pd.DataFrame([{**_describe(results.plan, r.run), **_progress(r)} for r in results.runs])


def _describe(plan: Plan, run: Run) -> dict[str, Any]:
    config, variation = run.config, run.variation
    root = run.experiment
    while (base := plan.study.experiments[root].parent) is not None:
        root = base
    return {
        "experiment": run.experiment,
        "seed": run.seed,
        "dataset": config.dataset,
        "arch": config.model.arch,
        "encoder": config.model.encoder if config.model.has_encoder else "N/A",
        "weights": _weights(config),
        "output_stride": config.model.output_stride,
        "input_size": size_text(config.recipe.input_size) if config.evaluate is None else np.nan,
        "epochs": config.epochs or np.nan,
        "base": variation.base if variation else "",
        "root": root,
        "variant": variation.variant if variation else "Baseline",
        "note": note(variation),
        "confounded": bool(variation and variation.confounded),
    }


def _weights(config: Config) -> str:
    model = config.model
    if config.evaluate is not None:
        return NOT_TRAINED
    unused = model.weights == "imagenet" and not model.has_encoder  # the default, which is about encoders
    given = "none" if unused else model.weights
    return {"packaged": "imagenet (packaged)"}.get(given, PurePath(given).name)


def note(variation: Variation | None) -> str:
    """The kind of an experiment, in the paper's words.

    >>> note(Variation("unet", {"model.encoder": ("resnet50", "resnet101")}))
    'Ablation (backbone)'
    """
    if variation is None:
        return "Baseline"
    factors = ", ".join(FACTORS.get(key, key.rsplit(".", 1)[-1].replace("_", " ")) for key in variation.changes)
    return f"{variation.kind.capitalize()} ({factors})"


def _progress(result: RunResult) -> dict[str, Any]:
    record = result.record
    epochs = [epoch for epoch in result.epochs if epoch.select_miou == epoch.select_miou]
    chosen = [_chosen_epoch(part) for part in result.folds or (result,)]
    words = " / ".join("–" if epoch != epoch else f"{epoch:.0f}" for epoch in chosen)
    imported = record is not None and record.imported_from is not None
    return {
        "split": record.roles.report if record else "",
        "state": result.state,
        **({"epochs": len(epochs) or np.nan} if result.run.config.epochs is None else {}),
        "chosen_epoch": np.nan if result.folds else chosen[0],
        "chosen": f"{words} (imported)" if imported else words,
        "progress": _done_of(result, len(epochs)),
        "imported": imported,
        "reason": result.failure,
    }


def _chosen_epoch(result: RunResult) -> float:
    """The epoch whose weights are scored, counted from 1; NaN before the first epoch ends."""
    epochs = [epoch for epoch in result.epochs if epoch.select_miou == epoch.select_miou]
    if epochs:
        return max(epochs, key=lambda epoch: epoch.select_miou).epoch
    imported = result.record.imported_from if result.record else None
    return float((imported or {}).get("epoch", np.nan))


def _done_of(result: RunResult, epochs: int) -> str:
    """The progress of an unfinished run."""
    if result.folds:
        return f"{sum(fold.state == 'done' for fold in result.folds)} of {len(result.folds)} folds"
    return f"{epochs} of {result.run.config.epochs or epochs} epochs"


def states_text(states: Iterable[str]) -> str:
    """The states of an experiment's runs.

    >>> states_text(["done", "done", "missing"]), states_text(["failed"])
    ('2 done, 1 missing', 'failed')
    """
    counts = Counter(states)
    return next(iter(counts)) if len(counts) == 1 else ", ".join(f"{n} {state}" for state, n in counts.items())


def score_frame(reported: pd.DataFrame) -> pd.DataFrame:
    """Dataset-level scores, a run on a split a row, a measure a column."""
    chosen = reported[(reported["level"] == "dataset") & ~reported["experiment"].str.endswith(CONSTANT)]
    keys = ["experiment", "seed", "train_data", "test_data", "split", "selected_on", "resolution", "n"]
    wide = chosen.pivot(index=keys, columns="measure", values="value").reset_index().reindex(columns=[*keys, *MEASURES])
    return chosen[keys].drop_duplicates().merge(wide, on=keys)  # pivoting sorts; the study's order is kept


def reported_runs(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
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


def configurations(runs: pd.DataFrame) -> pd.DataFrame:
    """An experiment a row: its configuration, and state and chosen epochs of all its seeds in words."""
    rows = []
    for _, group in runs.groupby("experiment", sort=False):
        chosen = ", ".join(group["chosen"])
        rows.append(group.iloc[0].to_dict() | {"state": states_text(group["state"]), "chosen": chosen})
    return pd.DataFrame(rows).drop(columns=["seed", "chosen_epoch", "progress", "imported", "reason"])


def experiments_frame(runs: pd.DataFrame, scores: pd.DataFrame) -> pd.DataFrame:
    """An experiment a row: configuration, state, every score and its difference to the base, over seeds.

    ``delta_miou`` is the difference of the two means, as comparisons take it; its deviation is that of the differences
    seed by seed, NaN where the two were not scored with the same seeds.
    """
    reported = reported_runs(runs, scores)
    frame = configurations(runs).merge(over_seeds(reported, ["experiment"], [*MEASURES, "delta_miou"]), on="experiment")
    mean = frame.set_index("experiment")["miou"]
    known = reported.dropna(subset=["miou"]).groupby("experiment")["seed"].agg(frozenset)
    alike = frame["experiment"].map(known) == frame["base"].map(known)
    delta = frame["miou"] - frame["base"].map(mean).astype(float)
    return frame.assign(delta_miou=delta, delta_miou_sd=frame["delta_miou_sd"].where(alike))


def constants_frame(sets: Iterable[CountSet]) -> pd.DataFrame:
    """The score of predicting one class everywhere, one row per evaluation; ``label`` names that class."""
    rows = []
    for one in sets:
        counts = measures.merge(one.constant())
        rows.append(
            {
                "experiment": one.experiment,
                "seed": one.seed,
                "test_data": one.about.test_data,
                "split": one.about.split,
                "label": one.classes[int(counts.sum(axis=0).argmax())],
                **{measure.key: float(measure.function(counts)) for measure in OVERALL},
            }
        )
    return pd.DataFrame(rows, columns=["experiment", "seed", "test_data", "split", "label", *MEASURES])


def effects_frame(results: StudyResults, elsewhere: bool = False) -> pd.DataFrame:
    """Every variant against its base on the same images, corrected over all that the study asks: a comparison a row.

    With ``elsewhere``, on the datasets of cross-evaluations.

    Columns: experiment, base, variant, confounded, dataset, split, the fields of
    :class:`~segstudy.stats.comparison.Difference` (NaN without a difference), ``p_holm``, ``verdict``, and ``flags``: why the
    two may not be compared, and all that differs besides the declared factor, in words.
    """
    fields = [name for name in Difference.__annotations__ if name != "questions"]
    rows = []
    own = {(name, results.plan.first(name).config.dataset): found for name, found in results.comparisons.items()}
    for (name, on), found in (results.elsewhere if elsewhere else own).items():
        run = results.plan.first(name)
        assert run.variation is not None
        difference = asdict(found.difference) if found.difference else dict.fromkeys(fields)
        rows.append(
            difference
            | {
                "experiment": name,
                "base": run.variation.base,
                "variant": run.variation.variant,
                "confounded": run.variation.confounded,
                "dataset": on,
                "split": found.a.first.about.split if found.a.sets else None,
                "questions": found.questions,
                "p_holm": found.p_holm,
                "verdict": found.verdict,
                **_beyond_the_verdict(found),
                "flags": "; ".join([*(problem.what for problem in found.problems), *found.flags]),
            }
        )
    keys = ["experiment", "base", "variant", "confounded", "dataset", "split", "questions"]
    frame = pd.DataFrame(rows, columns=[*keys, *fields, "flags", "p_holm", "verdict", *BEYOND])
    numbers = [
        *BEYOND[:5],
        "value",
        "low",
        "high",
        "detectable",
        "p_value",
        "p_exchange",
        "num_seeds_variant",
        "num_seeds_base",
    ]
    return frame.astype(dict.fromkeys(numbers, float))


def shown_verdicts(effects: pd.DataFrame) -> list[str]:
    """The verdict of each row of :func:`effects_frame`; "no verdict" where both sides have results and there is none."""
    rows = zip(effects["verdict"], effects["reason"], strict=True)
    return [verdict or ("no verdict" if isinstance(reason, str) else "") for verdict, reason in rows]


def _beyond_the_verdict(found: Comparison) -> dict[str, Any]:
    """The values that :data:`BEYOND` names: results in addition to the verdict "not distinguishable"."""
    low, high = found.simultaneous
    claim = found.equivalence
    said = (found.p_greater, low, high, found.margin_met, found.margin)
    return dict(zip(BEYOND, (*said, claim.verdict if claim else "", "; ".join(found.cautions)), strict=True))


def estimates_of(side: Side, measure: Measure) -> list[dict[str, Any]]:
    """Fields of the estimate of each value of a measure."""
    return [vars(found) for found in side.estimates(measure)]


def estimates_frame(results: StudyResults) -> pd.DataFrame:
    """Every overall score with its interval: an experiment on a dataset and a measure a row.

    Columns: experiment, train_data, test_data, split, resolution, measure, and the fields of
    :class:`~segstudy.stats.intervals.Estimate`.
    """
    keys = ("train_data", "test_data", "split", "resolution")
    rows = []
    for side in results.sides.values():
        about = {key: getattr(side.first.about, key) for key in keys}
        for measure in side.first.measures():
            if "dataset" in measure.levels:
                (fields,) = estimates_of(side, measure)
                rows.append({"experiment": side.name, **about, "measure": measure.key, **fields})
    return pd.DataFrame(rows, columns=["experiment", *keys, "measure", *Estimate.__annotations__])


def class_scores_frame(results: StudyResults) -> pd.DataFrame:
    """IoU and Dice of every class, of every experiment on its own dataset, with interval: a class and measure a row.

    Columns: experiment, test_data, index, class, images (that hold the class), measure, value (NaN where the class is
    absent), low, high, reason.
    """
    rows = []
    for name in results.plan.experiments:
        side = results.side(name)
        if not side.sets:
            continue
        images = (side.first.support > 0).sum(axis=0)
        for measure in PER_CLASS[:2]:
            rows += [
                {"experiment": name, "test_data": side.first.about.test_data, "index": index, "class": label}
                | {"images": int(images[index]), "measure": measure.key}
                | {key: fields[key] for key in ("value", "low", "high", "reason")}
                for index, (label, fields) in enumerate(
                    zip(side.first.classes, estimates_of(side, measure), strict=True)
                )
            ]
    keys = ["experiment", "test_data", "index", "class", "images", "measure", "value", "low", "high", "reason"]
    return pd.DataFrame(rows, columns=keys)
