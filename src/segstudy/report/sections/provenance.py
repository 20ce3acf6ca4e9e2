"""Where each number comes from: hashes of data, weights and settings, versions, the command; and what is missing."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from typing import Any

import pandas as pd

from segstudy.errors import listing
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table
from segstudy.results import RunResult

COMMAND = "To make it again: {}"


def provenance_frame(data: ReportData) -> pd.DataFrame:
    """A run a row: its identity, the hashes of its data and weights, where it was made."""
    return pd.DataFrame([_row(data, result) for result in data.results.runs])


def _row(data: ReportData, result: RunResult) -> dict[str, Any]:
    record, root = result.record, data.results.store.root
    made = (record.environment if record else None) or data.results.environment
    packages = made.packages if made else {}
    prints = (record.data_fingerprints or {}) if record else {}
    return {
        "run": result.run.name,
        "state": result.state,
        "folder": result.folder.path.relative_to(root).as_posix(),
        "identity": result.run.identity,
        "data": ", ".join(f"{split} {value}" for split, value in prints.items()),
        "weights": (record.weights_sha256 or "") if record else "",
        "precision": (record.precision or "") if record else "",
        "hardware": (made.gpu or made.system) if made else "",
        "versions": ", ".join(f"{name} {version}" for name, version in packages.items()),
    }


def provenance_table(data: ReportData) -> Table:
    """The identity of every run."""
    formats = (
        Format("run", "Run"),
        Format("state", "State"),
        Format("identity", "Identity"),
        Format("data", "Hashes of the data"),
        Format("weights", "Hash of the weights"),
        Format("precision", "Precision"),
        Format("hardware", "Made on"),
        Format("versions", "Versions"),
    )
    caption = (
        "The identity hashes all settings that a run's result depends on. Hashes of data are of the files' contents. "
        "“segstudy verify” compares every file of a run with its SHA-256 sum."
    )
    return Table("provenance", "What each run rests on", caption, provenance_frame(data), formats, order=(24,))


def missing(data: ReportData) -> list[str]:
    """Gaps that a careful reader would notice, a sentence each."""
    runs, sets = data.results.runs, data.sets
    found = []
    for state in dict.fromkeys(result.state for result in runs if result.state != "done"):
        found.append(f"Runs that are {state}: {listing([r.run.name for r in runs if r.state == state], 8)}.")
    done = [result for result in runs if result.sets]
    gaps = (
        ("No hash of the true masks in the counts of", [one.name for one in sets if one.truth is None]),
        (
            "No record of versions and hardware for",
            [r.run.name for r in done if not (r.record and r.record.environment)],
        ),
        ("No measured cost for", [r.run.name for r in done if r.cost is None]),
        (
            "No predicted masks, so no pictures, for",
            [r.run.name for r in done if not (r.folder.path / "predictions").is_dir()],
        ),
        ("No confidence was counted for", [one.name for one in sets if "calibration" not in one.counts]),
    )
    found += [f"{words} {listing(dict.fromkeys(names), 8)}." for words, names in gaps if names]
    if len({one.seed for one in sets}) == 1:
        found.append("A second seed: nothing is known about other trainings of the same recipe.")
    return found


def command_line(data: ReportData) -> str:
    """The command that fills this store."""
    study = data.plan.study
    return shlex.join(
        ["segstudy", "run", study.source if study.folder else study.name, "--out", data.results.store.root.name]
    )


def content(data: ReportData) -> Iterator[Item]:
    """Gaps, the command, the table."""
    yield f"What is missing: {' '.join(missing(data)) or 'nothing that this page would show.'}"
    yield COMMAND.format(command_line(data))
    yield provenance_table(data)


SECTION = Section("provenance", "Provenance, and what is missing", 120, content)
