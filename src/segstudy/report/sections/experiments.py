"""The configuration of each experiment."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table, named


def configurations_table(data: ReportData) -> Table:
    """Table 2: every experiment's configuration."""
    frame = named(data.experiments)
    stride = [f"{v:.0f}" if v == v and v is not None else "N/A" for v in frame["output_stride"]]
    columns = ["experiment", "model", "dataset", "encoder", "weights", "output_stride", "input_size", "note"]
    frame = frame.assign(output_stride=stride)[[*columns, "epochs", "chosen", "state"]]
    formats = (
        Format("experiment", "Name"),
        Format("model", "Model"),
        Format("dataset", "Dataset"),
        Format("encoder", "Backbone"),
        Format("weights", "Pre-trained"),
        Format("output_stride", "OS"),
        Format("input_size", "Input"),
        Format("note", "Notes"),
        Format("epochs", "Epochs", 0),
        Format("chosen", "Chosen"),
        Format("state", "State"),
    )
    caption = (
        "Every experiment. OS is the encoder's output stride (N/A where the study sets none), Input the side of the "
        "square network input in pixels, or its height x width, Chosen the epoch whose weights are scored, of so many "
        "epochs of training (imported: trained elsewhere, the epoch as its file says; over folds, one for each). An "
        "ablation changes the architecture or a core component, a hyperparameter a training or configuration setting."
    )
    return Table("configurations", "Experiments and their configurations", caption, frame, formats, order=(2,))


def changes_frame(data: ReportData) -> pd.DataFrame:
    """Every setting in which an experiment differs from its base: experiment, base, setting, before, after."""
    rows = []
    for name in data.plan.experiments:
        variation = data.plan.first(name).variation
        if variation is None:
            continue
        for key, (before, after) in variation.changes.items():
            rows.append({"experiment": name, "base": variation.base, "setting": key, "before": before, "after": after})
    frame = pd.DataFrame(rows, columns=["experiment", "base", "setting", "before", "after"])
    return frame.assign(**{key: frame[key].map(str) for key in ("before", "after")})


def changes_table(frame: pd.DataFrame) -> Table:
    """The configuration of every variant as a difference to its base."""
    formats = (
        Format("experiment", "Name"),
        Format("base", "Base"),
        Format("setting", "Setting"),
        Format("before", "In the base"),
        Format("after", "Here"),
    )
    caption = "Every setting in which an experiment differs from its base; all others are the same in both."
    return Table("settings", "What each experiment changes", caption, frame, formats, order=(20,))


def content(data: ReportData) -> Iterator[Item]:
    """Whole configurations, then what differs from the base."""
    yield configurations_table(data)
    if len(frame := changes_frame(data)):
        yield changes_table(frame)


SECTION = Section("experiments", "Experiments", 30, content)
