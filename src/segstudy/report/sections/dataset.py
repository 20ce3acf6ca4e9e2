"""The data: how many images stand behind each score, which splits there are, how often each class occurs."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd

from segstudy.counts.countset import CountSet
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table


def scored_sets(data: ReportData) -> dict[tuple[str, str], CountSet]:
    """The first evaluation of each dataset and split."""
    found: dict[tuple[str, str], CountSet] = {}
    for one in data.sets:
        found.setdefault((str(one.about.test_data), str(one.about.split)), one)
    return found


def splits_frame(data: ReportData) -> pd.DataFrame:
    """Every split that the runs recorded: dataset, split, role, images, groups (of scored ones), hash."""
    rows: dict[tuple[str, str], dict[str, object]] = {}
    for result in data.results.runs:
        if result.record is None:
            continue
        dataset, record = result.run.config.dataset, result.record
        roles = {record.roles.train: "trains", record.roles.select: "chooses the epoch"}
        if record.roles.report:
            roles[record.roles.report] = " and is ".join([*filter(None, [roles.get(record.roles.report)]), "reported"])
        for split in dict.fromkeys([*record.splits, *roles]):
            known = {"role": roles.get(split, "not used"), "images": record.splits.get(split)}
            prints = record.data_fingerprints or {}
            rows.setdefault(
                (dataset, split), {"dataset": dataset, "split": split, **known, "hash": prints.get(split, "")}
            )
    for (dataset, split), one in scored_sets(data).items():
        row = rows.setdefault((dataset, split), {"dataset": dataset, "split": split, "role": "reported", "hash": ""})
        groups = len(set(one.groups)) if one.groups else None
        row |= {"images": len(one.ids), "groups": groups, "hash": row["hash"] or one.about.data_fingerprint or ""}
    columns = ["dataset", "split", "role", "images", "groups", "hash"]
    frame = pd.DataFrame([row for (_, split), row in rows.items() if split], columns=columns)
    return frame.assign(**{key: frame[key].astype(float) for key in ("images", "groups")})


def splits_table(frame: pd.DataFrame) -> Table:
    """The splits, and what each is for."""
    formats = (
        Format("dataset", "Dataset"),
        Format("split", "Split"),
        Format("role", "What it is for"),
        Format("images", "Images", 0),
        *((Format("groups", "Groups", 0),) if frame["groups"].notna().any() else ()),
        Format("hash", "Hash of its files"),
    )
    caption = "Every split of the study's datasets. Images of one group (a patient, a video) are never divided."
    return Table("splits", "Splits", caption, frame, formats, order=(22,))


def occurrence_table(data: ReportData) -> Table:
    """The frequency of each class in the scored images."""
    rows = []
    for (dataset, split), one in scored_sets(data).items():
        total = max(1, int(one.support.sum()))
        for index, name in enumerate(one.classes):
            support = one.support[:, index]
            images, pixels = int((support > 0).sum()), int(support.sum())
            where = {"dataset": dataset, "split": split, "class": name}
            rows.append({**where, "images": images, "pixels": pixels, "percent": 100 * pixels / total})
    formats = (
        Format("class", "Class"),
        Format("dataset", "Dataset"),
        Format("split", "Split"),
        Format("images", "Images", 0),
        Format("pixels", "Pixels", 0),
        Format("percent", "Share of pixels", 2, suffix=" %"),
    )
    caption = "How often each class occurs in the true masks that were scored; ignored pixels are not counted."
    return Table("occurrence", "How often each class occurs", caption, pd.DataFrame(rows), formats, order=(23,))


def content(data: ReportData) -> Iterator[Item]:
    """Splits, then classes; examples of the images are in the image browser."""
    yield splits_table(splits_frame(data))
    yield occurrence_table(data)


SECTION = Section("data", "Data", 110, content)
