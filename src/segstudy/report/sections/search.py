"""The search of each experiment's recipe: what was tried, what it won, and how much of a difference is tuning."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pandas as pd

from segstudy.plan import read_noted, study_by_content
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table
from segstudy.tuning import Found, arm_of, read_found


def search_frame(data: ReportData) -> pd.DataFrame:
    """A searched experiment a row: trials, failed, own, best, gain (mIoU on the split that chooses), values."""
    plan, store = data.plan, data.results.store
    if plan.study.search is None:
        return pd.DataFrame()
    study, _ = study_by_content(plan.study, None, read_noted(store))
    found = read_found(store, study)
    rows = []
    for name, one in found.items():
        parent = study.experiments[name].parent
        base = found.get(arm_of(study, parent)) if parent else None
        rows.append({"experiment": name, **_row(one), "tuning": _difference(one, base)})
    return pd.DataFrame(rows)


def _row(one: Found) -> dict[str, object]:
    first = one.trials[0].score
    return {
        "trials": len(one.trials),
        "failed": sum(trial.score is None for trial in one.trials),
        "own": np.nan if first is None else first,
        "best": one.best_score,
        "gain": np.nan if one.gain is None else one.gain,
        "values": ", ".join(f"{key.removeprefix('recipe.')} {_shown(value)}" for key, value in one.best.items()),
    }


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def _difference(one: Found, base: Found | None) -> float:
    """The gain of the search for an experiment minus that for its base."""
    return np.nan if base is None or one.gain is None or base.gain is None else one.gain - base.gain


def content(data: ReportData) -> Iterator[Item]:
    """The table of searches, if the study has one and some are finished."""
    frame = search_frame(data)
    if frame.empty:
        return
    search = data.plan.study.search
    assert search is not None
    keys = ", ".join(key.removeprefix("recipe.") for key in search.space)
    caption = (
        f"Every experiment had {search.trials} trials over {keys}, scored by mIoU at input size on the split that chooses the "
        "epoch; the reported split was never seen. The first trial has the study's own values. Final runs use the best "
        "trial's values with the study's seeds. Each trial is one training, so a gain is too high by the luck of the best "
        "one. The last column is the part of a variant's difference to its base that tuning may explain: the variant's "
        "gain minus the base's."
    )
    formats = (
        Format("experiment", "Name"),
        Format("trials", "Trials", 0),
        Format("failed", "Failed", 0),
        Format("own", "Own values", 4),
        Format("best", "Best trial", 4),
        Format("gain", "Gain", 4),
        Format("tuning", "Gain minus base's", 4),
        Format("values", "Best values"),
    )
    yield Table("search", "What was searched", caption, frame, formats, order=(26,))


SECTION = Section("search", "Search", 88, content)
