"""Baselines, and every score with its interval."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from segstudy.measures import OVERALL
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
    for key, group in estimates_frame(data.results).groupby(keys, sort=False):
        row = dict(zip(keys, key, strict=True))
        for one in group.to_dict("records"):
            name = one["measure"]
            row |= {f"{name}{end}": one[field] for end, field in (("", "value"), ("_low", "low"), ("_high", "high"))}
            row |= {f"{name}_sd": one["seed_sd"], f"{name}_reason": one["reason"], f"{name}_method": one["method"]}
        first = group.iloc[0]
        row |= {"num_seeds": first["num_seeds"], "num_images": first["num_images"], "num_groups": first["num_groups"]}
        rows.append(row | {"about": ABOUT.get(str(first["population"]), ""), "seed_sd": row["miou_sd"]})
    frame = pd.DataFrame(rows)
    frame = with_contract(frame, [data.scores_of([str(r["experiment"])], str(r["test_data"])) for r in rows])
    formats = (
        Format("experiment", "Name"),
        Format("test_data", "Scored on"),
        *(
            Format(key, f"{LABELS[key]} [95 %]", 4, bounds=(f"{key}_low", f"{key}_high"), level="dataset")
            for key in PRINTED
        ),
        Format("seed_sd", "SD over seeds", 4, level="dataset", measure="miou"),
        Format("num_seeds", "Seeds", 0),
        Format("num_images", "Images", 0),
        Format("about", "Interval is about"),
    )
    caption = (
        "Scores with 95 % intervals. With several seeds an interval covers images and seeds together: it is about the "
        "recipe, trained again on images like these. With one seed it covers images only: it is about this one network, and "
        f"says nothing about another seed. SD is that of mIoU over seeds. The CSV has every measure. {contract(data.scores)}"
    )
    return Table("estimates", "Scores and how sure they are", caption, frame, formats, order=(7,))


def content(data: ReportData) -> Iterator[Item]:
    """Both tables."""
    yield baselines_table(data)
    yield estimates_table(data)


SECTION = Section("baselines", "Baselines", 20, content)
