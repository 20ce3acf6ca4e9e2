"""The numbers that a publication prints next to this study's, where the study is that publication's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from segstudy.auditing import audit_tables
from segstudy.auditing.against import Reproduction, compare_with_study, results_of
from segstudy.auditing.tables import published_tables
from segstudy.errors import TableError
from segstudy.report.contract import contract
from segstudy.report.frames import ReportData, estimates_frame
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table

NAN = float("nan")


def printed_frame(data: ReportData) -> pd.DataFrame:
    """Every printed score that this study has too: printed, reproduced, difference, and whether the interval holds it."""
    name, reported = data.plan.study.name, data.reported
    if name not in published_tables():
        return pd.DataFrame()
    rows = reported[reported["level"].isin(("dataset", "class"))].to_dict("records")
    try:
        found = compare_with_study(audit_tables([name]).claims, data.plan.experiments, results_of(rows))
    except TableError:  # another study of that name: none of the publication's experiments is in it
        return pd.DataFrame()
    intervals = _intervals(data)
    return pd.DataFrame([_row(each, intervals) for each in found if each.ours is not None])


def _row(each: Reproduction, intervals: dict[tuple[str, str, str, str], tuple[float, float]]) -> dict[str, Any]:
    ours, difference = each.ours or 0.0, each.difference or 0.0
    key = each.experiment, each.test_data, each.measure
    low, high = intervals.get((*key, ""), (NAN, NAN))
    if low != low:
        low, high = intervals.get((*key, each.row.removeprefix("Class ")), (NAN, NAN))
    inside = "" if low != low else "yes" if low <= ours - difference <= high else "no"
    return {"table": each.table, "row": each.row, "column": each.column, "printed": each.printed, "ours": ours} | {
        "low": low,
        "high": high,
        "difference": difference,
        "inside": inside,
        "status": each.status,
        "of": f"{each.experiment} on {each.test_data}",
    }


def _intervals(data: ReportData) -> dict[tuple[str, str, str, str], tuple[float, float]]:
    """Bounds by experiment, data, measure and class; a class by its name and by its index."""
    found = {
        (str(r["experiment"]), str(r["test_data"]), str(r["measure"]), ""): (float(r["low"]), float(r["high"]))
        for r in estimates_frame(data.results).to_dict("records")
    }
    for r in data.class_scores.to_dict("records"):
        for label in (str(r["class"]), str(r["index"])):
            key = (str(r["experiment"]), str(r["test_data"]), str(r["measure"]), label)
            found[key] = (float(r["low"]), float(r["high"]))
    return found


def printed_table(data: ReportData, frame: pd.DataFrame) -> Table:
    """One row for each printed score."""
    formats = (
        Format("table", "In"),
        Format("row", "Row"),
        Format("column", "Column"),
        Format("printed_text", "Printed"),
        Format("ours", "Reproduced [95 %]", 4, bounds=("low", "high")),
        Format("difference", "Difference", 4, signed=True),
        Format("inside", "Printed value in the interval"),
        Format("status", "To the printed digits"),
    )
    caption = (
        f"Scores that “{data.plan.study.name}” prints, next to this study's. Difference is reproduced minus printed. "
        "The interval is the reproduced score's; a printed value outside it is not explained by the choice of images "
        f"{'and seeds' if data.scores['seed'].nunique() > 1 else '(with one seed, nothing is known about other trainings)'}. "
        f"{contract(data.scores)}"
    )
    shown = frame.rename(columns={"printed": "printed_text"})  # "printed" marks the rows that a table prints
    return Table("printed", "Printed and reproduced", caption, shown, formats, order=(9, 1))


def content(data: ReportData) -> Iterator[Item]:
    """The table, where there is a publication to compare with."""
    frame = printed_frame(data)
    if len(frame):
        yield printed_table(data, frame)


SECTION = Section("published", "Printed and reproduced", 45, content)
