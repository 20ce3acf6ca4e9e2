"""Baselines, and every score with its interval."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from segstudy.failures import RULE, failures
from segstudy.measures import OVERALL, name_of
from segstudy.report.contract import contract
from segstudy.report.frames import ReportData, estimates_frame
from segstudy.report.section import Item, Section
from segstudy.report.sections.changes import ABOUT
from segstudy.report.table import (
    ACCURACIES,
    SCORES,
    Format,
    Table,
    named,
    scored_columns,
    state_column,
    with_contract,
)

PRINTED = ("miou", "mdice", "pixel_accuracy")
LABELS = {measure.key: measure.label for measure in OVERALL}


def baselines_table(data: ReportData) -> Table:
    """Table 1: every baseline on its own dataset."""
    frame = named(data.experiments[data.experiments["base"] == ""])
    frame = scored_columns(frame, ["experiment", "model", "dataset"])
    frame = frame[[column for column in frame.columns if not column.startswith("delta_miou")]]
    frame = with_contract(frame, [data.scores_of([name]) for name in frame["experiment"]])
    formats = (Format("model", "Model"), Format("dataset", "Dataset"), *SCORES, *state_column(frame))
    scores = data.scores_of(frame["experiment"].tolist())
    caption = f"Every baseline on its own dataset. {contract(scores, spread=True)} {ACCURACIES}"
    return Table("baselines", "Baselines", caption, frame, formats, order=(1,))


def estimates_table(data: ReportData) -> Table:
    """Every experiment on every dataset, scores with their intervals."""
    rows = []
    keys = ["experiment", "train_data", "test_data", "split", "resolution"]
    primary = data.results.primary
    printed = {**LABELS, primary.key: name_of(primary)}
    for key, group in estimates_frame(data.results).groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True))
        for one in group.to_dict("records"):
            name = one["measure"]
            row |= {f"{name}{end}": one[field] for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))}
            row |= {f"{name}_sd": one["seed_sd"], f"{name}_reason": one["reason"], f"{name}_method": one["method"]}
        first = group.iloc[0]
        row |= {"num_seeds": first["num_seeds"], "num_images": first["num_images"], "num_groups": first["num_groups"]}
        rows.append(
            row
            | {
                "about": ABOUT.get(str(first["population"]), ""),
                "seed_sd": row[f"{primary.key}_sd"],
                **_hidden(data, row),
            }
        )
    frame = pd.DataFrame(rows)
    frame = with_contract(frame, [data.scores_of([str(r["experiment"])], str(r["test_data"])) for r in rows])
    formats = (
        Format("experiment", "Name"),
        Format("test_data", "Scored on"),
        *(
            Format(key, f"{printed[key]} [95 %]", 4, bounds=(f"{key}_low", f"{key}_high"), level="dataset")
            for key in dict.fromkeys([primary.key, *PRINTED])
        ),
        Format("seed_sd", "SD over seeds", 4, level="dataset", measure=primary.key),
        Format("num_seeds", "Seeds", 0),
        Format("num_images", "Images", 0),
        Format("failed", "Failed images"),
        Format("failures_at_most", "Share that may fail, at most (95 %)", 4),
        *((Format("cautions", "Caution"),) if (frame["cautions"] != "").any() else ()),
        Format("about", "Interval is about"),
    )
    caption = _estimates_caption(data)
    return Table("estimates", "Scores and how sure they are", caption, frame, formats, order=(7,))


def _estimates_caption(data: ReportData) -> str:
    primary = data.results.primary
    return (
        "Scores with 95 % intervals. With several seeds an interval covers images and seeds together: it is about the "
        "recipe, trained again on images like these. With one seed it covers images only: it is about this one network, and "
        f"says nothing about another seed. SD is that of {primary.label} over seeds. Verdicts are about {primary.label}, the "
        "primary measure; other columns are exploratory. The CSV has every measure. An image failed if at least one network "
        f"did: {RULE}; with groups, a group with such an image. The bound also covers failures that these images did not "
        "show, about 3 / n after none "
        f"(Clopper and Pearson). {contract(data.scores)}"
    )


def _hidden(data: ReportData, row: Mapping[str, Any]) -> dict[str, Any]:
    """Columns for failures that a mean hides: failed images, the bound on their share, seeds of two kinds."""
    side = data.results.side(str(row["experiment"]), str(row["test_data"]))
    found = None if side.problems else failures([one.confusion for one in side.sets], side.groups)
    return {
        "failed": f"{found.failed} of {found.number}" if found else "",
        "failures_at_most": found.at_most if found else math.nan,
        "cautions": "; ".join(side.cautions(data.results.primary)),
    }


def content(data: ReportData) -> Iterator[Item]:
    """Both tables."""
    yield baselines_table(data)
    yield estimates_table(data)


SECTION = Section("baselines", "Baselines", 20, content)
