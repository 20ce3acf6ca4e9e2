"""Experiments on other data than they were trained on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pandas as pd

from segstudy.measures import name_of
from segstudy.report.contract import contract, scored_words
from segstudy.report.frames import MEASURES, ReportData, over_seeds, reported_runs, shown_verdicts, states_text
from segstudy.report.long import CONSTANT
from segstudy.report.section import Item, Section
from segstudy.report.table import SCORES, Format, Table, mark_confounded, runs_of, state_column, with_contract
from segstudy.study import CrossEvaluation


def cross_frame(data: ReportData, cross: CrossEvaluation) -> pd.DataFrame:
    """One cross-evaluation: in-domain, cross, and what a constant prediction scores on the target.

    ``<measure>_drop`` is in-domain minus cross of the same seed, ``<measure>_drop_percent`` its share of in-domain. Where
    some seeds are scored on the target, the in-domain row is of those too.
    """
    scores, constants = data.scores, data.constants
    own = data.runs[data.runs["experiment"] == cross.experiment]
    source = str(own["dataset"].iloc[0])
    inside = reported_runs(own, scores).assign(row=f"{source} → {source}")
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


def cross_table(data: ReportData, cross: CrossEvaluation, place: int) -> Table:
    """Tables 5 and 6: one experiment on its own dataset and on another."""
    frame = cross_frame(data, cross)
    own, there = data.scores_of([cross.experiment]), data.scores_of([cross.experiment], cross.on)
    there = there[there["split"] == cross.split] if cross.split else there
    own = own[own["seed"].isin(there["seed"])] if len(there) else own
    drop: dict[str, Any] = {"scored": f"{scored_words(own)}, minus {scored_words(there)}"}
    drop["runs"] = (*runs_of(own), *runs_of(there))
    formats = [Format("row", "Train → Test")]
    for column in SCORES[:3]:
        formats += [
            column,
            Format(f"{column.key}_drop", f"Drop {column.label}", 4, level="dataset", measure=column.key, **drop),
            Format(
                f"{column.key}_drop_percent", "Drop (%)", 1, suffix=" %", level="dataset", measure=column.key, **drop
            ),
        ]
    run = data.plan.first(cross.experiment)
    frame = with_contract(frame, [own, there, there])
    nothing = tuple((f"{name} {CONSTANT}", *rest) for name, *rest in runs_of(there))
    sources: list[Any] = [*frame["runs"][:2], nothing]
    frame = frame.assign(choice=[*frame["choice"][:2], "no network"], runs=sources)
    mapped = "".join(f" Class “{a}” stands for “{b}”." for a, b in cross.map.items())
    caption = (
        f"{cross.experiment}, trained on {run.config.dataset}, on its own test images and on {cross.on} without further "
        f"training.{mapped} Drop is in-domain minus cross of the same networks, before rounding, and as a share of in-domain. "
        f"The last row is what calling every pixel one class would score on {cross.on}: a score near it shows no skill. "
        f"{contract(pd.concat([own, there]), spread=True)}"
    )
    slug = f"cross-{cross.experiment}-{cross.on}" + (f"-{cross.split}" if cross.split else "")
    heading = f"{cross.experiment} on {cross.on}"
    return Table(slug, heading, caption, frame, (*formats, *state_column(frame)), order=(4, place))


def effects_table(data: ReportData) -> Table:
    """The effect of each change on the scores on other datasets, and the share of the base's drop that it wins back."""
    frame, key = data.effects_elsewhere, data.results.primary.key
    label = name_of(data.results.primary)
    drops = [_drop(data, str(base), str(on)) for base, on in zip(frame["base"], frame["dataset"], strict=True)]
    frame = frame.drop(columns="components").assign(
        variant=mark_confounded(frame),
        verdict=shown_verdicts(frame),
        drop=drops,
        share=[100 * value / drop if drop > 0 else math.nan for value, drop in zip(frame["value"], drops, strict=True)],
    )
    triples = list(zip(frame["experiment"], frame["base"], frame["dataset"], strict=True))
    rows = [data.scores_of([str(name), str(base)], str(on)) for name, base, on in triples]
    frame = with_contract(frame, rows)
    formats = (
        Format("experiment", "Name"),
        Format("base", "Against"),
        Format("variant", "Variant"),
        Format("dataset", "On"),
        Format(
            "value", f"Δ {label} there [95 %]", 4, signed=True, bounds=("low", "high"), level="dataset", measure=key
        ),
        Format("p_holm", "p (Holm)", 4),
        Format("verdict", "Verdict"),
        Format("drop", f"Drop {label} of the base", 4, level="dataset", measure=key),
        Format("share", "Won back (%)", 1, suffix=" %", level="dataset", measure=key),
        *((Format("flags", "Also differs in"),) if frame["flags"].any() else ()),
    )
    number = int(frame["questions"].iloc[0])
    caption = (
        "Variant minus base on the same images of a dataset that neither was trained on. p is corrected for "
        f"{'this comparison alone' if number == 1 else f'these {number} comparisons'} (Holm), apart from those on the "
        "experiments' own datasets; a verdict needs p below 0.05. Drop is the base's score on its own dataset minus that "
        f"on the other; won back is Δ as a share of it. {contract(pd.concat(rows))}"
    )
    return Table("cross-effects", "What each change does on other data", caption, frame, formats, order=(4, -1))


def _drop(data: ReportData, name: str, on: str) -> float:
    """Mean over the seeds that are scored on both of in-domain minus cross."""
    own, there = data.results.side(name), data.results.side(name, on)
    seeds = [seed for seed in own.seeds if seed in there.seeds]
    if not seeds:
        return math.nan
    inside, outside = (float(side.of_seeds(seeds).mean(data.results.primary)[0]) for side in (own, there))
    return inside - outside if data.results.primary.higher_is_better else outside - inside


def content(data: ReportData) -> Iterator[Item]:
    """Effects of changes on other data, then a table for each cross-evaluation."""
    if not data.effects_elsewhere.empty:
        yield effects_table(data)
    for place, cross in enumerate(data.crosses):
        yield cross_table(data, cross, place)


SECTION = Section("transfer", "On other data", 50, content)
