"""The section of a report: anchor, heading, place and content."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from segstudy.errors import listing
from segstudy.report.figure import Drawing
from segstudy.report.frames import ReportData
from segstudy.report.table import Table


@dataclass(frozen=True)
class Widget:
    """Something to use on the page: data, and the script of ``report/`` that shows them.

    Attributes
    ----------
    name, title, caption
        Its anchor, its heading and the words below it.
    script
        The name of the file, which calls ``widgets.<script>(element, data)`` for each of its widgets.
    data
        Plain data for the script.
    write
        Writes the files that the widget loads, into the folder of the report.
    written
        What the script must know of the files, once they are written.
    inline
        The first so many of these files by path, as data URIs, for a page that is one file.

    """

    name: str
    title: str
    caption: str
    script: str
    data: Mapping[str, Any]
    write: Callable[[Path], None] = lambda folder: None
    written: Callable[[Path], Mapping[str, Any]] = lambda folder: {}
    inline: Callable[[Path, int], Mapping[str, str]] = lambda folder, count: {}


Item = Table | Drawing | Widget | str  # a text is a paragraph


@dataclass(frozen=True)
class Section:
    """One topic of the report.

    Attributes
    ----------
    key, title
        Its anchor on the page, and its heading.
    place
        Where it stands: sections come by rising place.
    content
        Its content, in order; a section without content is left out.

    """

    key: str
    title: str
    place: int
    content: Callable[[ReportData], Iterable[Item]]


def not_drawn(data: ReportData, names: Iterable[str], drawn: Iterable[str], done: str = "done") -> str:
    """Experiments that a figure should show and cannot, with their states; for the end of its caption.

    ``done`` is said of those that have a result.
    """
    missing = [text.replace(" (done)", f" ({done})") for text in _missing(data.experiments, list(names), set(drawn))]
    return f" Not drawn: {', '.join(missing)}." if missing else ""


def no_result_yet(experiments: pd.DataFrame, shown: Iterable[str]) -> str:
    """Experiments that a table should hold and cannot, with their states; for the end of its caption."""
    missing = _missing(experiments, experiments["experiment"].tolist(), set(shown))
    return f" No result yet: {listing(missing)}." if missing else ""


def _missing(experiments: pd.DataFrame, names: list[str], shown: set[str]) -> list[str]:
    rows = experiments[experiments["experiment"].isin(names)]
    return [f"{row.experiment} ({row.state})" for row in rows.itertuples() if row.experiment not in shown]


def trained_on(data: ReportData, dataset: str) -> list[str]:
    """Experiments that are trained on a dataset."""
    return [str(name) for name in data.experiments.loc[data.experiments["dataset"] == dataset, "experiment"]]
