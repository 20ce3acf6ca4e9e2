"""Ranks of experiments: the places that tests support, and their stability over images and seeds."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from segstudy.measures import name_of
from segstudy.ranking import RESAMPLES, ranked
from segstudy.report.contract import contract
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table, with_contract


def ranks_frame(data: ReportData) -> pd.DataFrame:
    """An experiment a row, best first: dataset, experiment, value, rank, best, worst, places, share_first, share_rank."""
    rows = [
        {
            "dataset": row.dataset,
            "experiment": row.experiment,
            "value": row.value,
            "rank": row.rank.rank,
            "best": row.rank.best,
            "worst": row.rank.worst,
            "places": _places(row.rank.best, row.rank.worst),
            "share_first": row.share_first,
            "share_rank": row.share_rank,
        }
        for row in ranked(data.results)
    ]
    columns = ["dataset", "experiment", "value", "rank", "best", "worst", "places", "share_first", "share_rank"]
    return pd.DataFrame(rows, columns=columns)


def _places(best: int, worst: int) -> str:
    """The places that are left open.

    >>> _places(1, 3), _places(2, 2)
    ('1 to 3', '2')
    """
    return str(best) if best == worst else f"{best} to {worst}"


def content(data: ReportData) -> Iterator[Item]:
    """The table of ranks, if at least two experiments of a dataset can be compared."""
    frame = ranks_frame(data)
    if frame.empty:
        return
    measure = data.results.primary
    frame = with_contract(frame, [data.scores_of([str(name)]) for name in frame["experiment"]])
    formats = (
        Format("dataset", "Dataset"),
        Format("rank", "Rank", 0),
        Format("experiment", "Name"),
        Format("value", name_of(measure), 4, level="dataset", measure=measure.key),
        Format("places", "Places left open"),
        Format("share_first", "Share first", 2),
        Format("share_rank", "Share within these places", 2),
    )
    caption = (
        f"Ranks by {measure.label} on each dataset. A rank is one more than the number of experiments that are better by a "
        "test of every pair, corrected by Holm's rule; experiments that no test tells apart share a rank. All true places "
        "lie within those left open with a probability of 95 %. Shares are of "
        f"{RESAMPLES} resamples of images and seeds, in which the experiment comes first or within its places: they "
        f"describe how stable the order is and are not a test. {contract(data.scores_of(frame['experiment'].tolist()))}"
    )
    yield Table("ranks", "Ranks and how stable they are", caption, frame, formats, order=(95,))


SECTION = Section("ranks", "Ranks", 12, content)
