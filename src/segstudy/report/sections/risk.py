"""Risk and coverage: how many pixels are wrong among those that a network is sure of."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from segstudy import measures
from segstudy.counts.calibration import AURC, risk_at
from segstudy.report.contract import contract
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table, with_contract

COVERAGES = (1.0, 0.95, 0.9, 0.8, 0.5)


def risk_frame(data: ReportData) -> pd.DataFrame:
    """An experiment on a dataset a row: area under its risk-coverage curve with interval, risk at each of ``COVERAGES``.

    Risks are means over seeds. Experiments whose confidence was not counted have no row.
    """
    rows = []
    for side in data.results.sides.values():
        if any(AURC.counts not in one.counts for one in side.sets):
            continue
        (found,) = side.estimates(AURC)
        merged = [measures.merge(one.counts[AURC.counts]) for one in side.sets]
        risks = {_column(c): float(sum(float(risk_at(each, c)) for each in merged) / len(merged)) for c in COVERAGES}
        area = {"aurc": found.value, "aurc_low": found.low, "aurc_high": found.high}
        rows.append({"experiment": side.name, "test_data": str(side.first.about.test_data), **area, **risks})
    return pd.DataFrame(rows)


def _column(coverage: float) -> str:
    return f"risk_{round(100 * coverage)}"


def content(data: ReportData) -> Iterator[Item]:
    """The table, if confidences were counted."""
    frame = risk_frame(data)
    if frame.empty:
        return
    on = zip(frame["experiment"], frame["test_data"], strict=True)
    frame = with_contract(frame, [data.scores_of([name], test) for name, test in on])
    formats = (
        Format("experiment", "Name"),
        Format("test_data", "Scored on"),
        Format("aurc", "AURC [95 %]", 4, bounds=("aurc_low", "aurc_high"), level="dataset"),
        *(Format(_column(c), f"Risk at {100 * c:g} %", 4, level="dataset") for c in COVERAGES),
    )
    caption = (
        "Risk is the share of wrong pixels among the pixels that a network is surest of, as many as the coverage says. AURC "
        "is the mean risk over all coverages (Geifman et al. 2019); lower is better. Both come from the counts by bins of "
        "confidence, within which wrong pixels are spread evenly. A network that gives labels alone is equally sure of all "
        f"its pixels. {contract(data.scores, spread=True)}"
    )
    yield Table("risk-coverage", "Risk and coverage", caption, frame, formats, order=(15,))


SECTION = Section("risk", "Risk and coverage", 82, content)
