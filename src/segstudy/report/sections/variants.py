"""Baselines of each architecture, each followed by its variants, as the paper prints them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pandas as pd

from segstudy.report.contract import contract
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.table import (
    SCORES,
    Format,
    Table,
    mark_confounded,
    runs_of,
    scored_columns,
    state_column,
    with_contract,
)
from segstudy.report.wording import value_words


def variant_groups(experiments: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """For each architecture: its baselines that have variants, each followed by them."""
    groups: dict[str, list[pd.DataFrame]] = {}
    for root, family in experiments.groupby("root", sort=False):
        if (family["base"] != "").any():
            own = experiments.loc[experiments["experiment"] == root, "arch"]
            arch = str(own.iloc[0] if len(own) else family["arch"].iloc[0])
            groups.setdefault(arch, []).append(family)
    return {arch: pd.concat(families, ignore_index=True) for arch, families in groups.items()}


def variants_table(data: ReportData, arch: str, group: pd.DataFrame, place: int) -> Table:
    """Tables 3 and 4: baselines of one architecture, each followed by its variants."""
    flags = group["experiment"].map(data.effects.set_index("experiment")["flags"]).fillna("")
    front = ["experiment", "dataset", "base", "variant", "confounded", "flags"]
    frame = scored_columns(group.assign(variant=mark_confounded(group), flags=flags), front)
    frame = with_contract(frame, [data.scores_of([name]) for name in frame["experiment"]])
    pairs: Any = [runs_of(data.scores_of(pair)) for pair in zip(frame["experiment"], frame["base"], strict=True)]
    frame = frame.assign(delta_miou_runs=pairs)
    formats = (
        Format("experiment", "Name"),
        Format("dataset", "Dataset"),
        Format("variant", "Variant"),
        *SCORES,
        Format("delta_miou", "Δ mIoU", 4, signed=True, level="dataset", measure="miou"),
        *((Format("flags", "Also differs in"),) if (frame["flags"] != "").any() else ()),
        *state_column(frame),
    )
    label = value_words("model.arch", arch)
    confounded = (
        " A confounded variant differs from its base in more than one thing, so its Δ cannot be put down to one of them."
        if group["confounded"].any()
        else ""
    )
    caption = (
        f"{label} baselines and the variants that change one thing in them. Δ is the variant minus its base, before rounding; "
        f"its ± is of differences seed by seed, where both have the same seeds.{confounded} "
        f"{contract(data.scores_of(frame['experiment'].tolist()), spread=True)}"
    )
    return Table(f"variants-{arch.lower()}", f"{label} variants", caption, frame, formats, order=(3, place))


def content(data: ReportData) -> Iterator[Item]:
    """A table for each architecture."""
    for place, (arch, group) in enumerate(variant_groups(data.experiments).items()):
        yield variants_table(data, arch, group, place)


SECTION = Section("variants", "Variants", 40, content)
