"""Experiments on other data than they were trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from segstudy.report.contract import contract, scored_words
from segstudy.report.frames import MEASURES, ReportData, over_seeds, reported_runs, states_text
from segstudy.report.long import CONSTANT
from segstudy.report.section import Item, Section
from segstudy.report.table import SCORES, Format, Table, runs_of, state_column, with_contract
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


def content(data: ReportData) -> Iterator[Item]:
    """A table for each cross-evaluation."""
    for place, cross in enumerate(data.crosses):
        yield cross_table(data, cross, place)


SECTION = Section("transfer", "On other data", 50, content)
