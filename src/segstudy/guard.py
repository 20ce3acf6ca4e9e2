"""Differences between runs apart from the studied factor: data, versions, hardware, precision.

``plan`` enforces one change in the study file; this module compares what the runs recorded. It forbids no comparison:
differences are flagged wherever the comparison is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from segstudy.records import EVALUATED, RunRecord

# Dotted key of a run's record -> its name in messages. ``environment.packages`` is compared package by package.
COMPARED = {
    "data_fingerprints.train": "training data",
    "data_fingerprints.select": "data that choose the epoch",
    "weights_sha256": "initial weights",
    "precision": "precision",
    "environment.gpu": "GPU",
    "environment.system": "system",
    "environment.python": "Python",
    "environment.cpu_threads": "processor threads",
    "environment.processes": "processes that train together",
    "imported_from.file": "trained elsewhere, imported from",
}
# Reported without their values, which tell a reader nothing.
HASHES = ("data_fingerprints.train", "data_fingerprints.select", "weights_sha256")

UNKNOWN_TRAINING = "not trained here: anything about its training may differ, and it may have seen the scored images"


def recorded_changes(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Settings by dotted key that differ between two runs, as recorded; empty if one recorded none.

    A network that was not trained here differs from any other as a whole.
    """
    if not ours or not theirs:
        return {}
    networks = [_scored_file(values) for values in (ours, theirs)]
    if networks[0] != networks[1]:
        return {EVALUATED: (networks[0], networks[1])}
    space = ours.get("search.space")  # what both searched alike is part of the method
    tuned = str(space).partition(" over ")[2].split(", ") if space == theirs.get("search.space") else []
    keys = [key for key in dict.fromkeys([*ours, *theirs]) if key not in tuned]
    return {key: (ours.get(key), theirs.get(key)) for key in keys if ours.get(key) != theirs.get(key)}


def _scored_file(values: Mapping[str, Any]) -> str:
    """Which network that was not trained here is scored: kind, and hash or name."""
    kind = values.get("evaluate.kind")
    return f"{kind} {values.get(f'evaluate.{kind}')}" if kind else "trained here"


def other_weights(ours: str | None, theirs: str | None) -> bool:
    """Whether two runs began with different files of initial weights, by their hashes; None means no file, or unknown."""
    return None not in (ours, theirs) and ours != theirs


def differing(first: Sequence[RunRecord], second: Sequence[RunRecord], declared: Iterable[str] = ()) -> list[str]:
    """List what differs between the runs of two sides apart from what is declared.

    Parameters
    ----------
    first, second
        What the runs of each side recorded, one record per seed.
    declared
        Dotted keys that the study changes on purpose; a changed ``recipe.precision`` explains another precision.

    Returns
    -------
    list of str
        A short phrase each, such as ``torch 2.12.0 against 2.13.0``; empty when only the declared factor differs.

    Examples
    --------
    >>> differing([RunRecord(precision="32-true")], [RunRecord(precision="bf16-mixed")])
    ['precision 32-true against bf16-mixed']

    """
    if not first or not second:
        return []
    sides = [[record.model_dump() for record in side] for side in (first, second)]
    declared = set(declared)
    explained = {"precision"} & {key.split(".")[-1] for key in declared}
    explained |= {"weights_sha256"} if {"model.weights", "model.encoder", EVALUATED} & declared else set()
    packages = sorted(
        {f"environment.packages.{name}" for side in sides for record in side for name in _packages(record)}
    )
    names = COMPARED | {key: key.removeprefix("environment.packages.") for key in packages}
    phrases = []
    for key, name in names.items():
        ours, theirs = (_values(side, key) for side in sides)
        unknown = key == "weights_sha256" and "none" in (ours, theirs)  # no file, or trained elsewhere
        if ours != theirs and key not in explained and not unknown:
            phrases.append(f"{name} differ" if key in HASHES else f"{name} {ours} against {theirs}")
    return phrases


def _packages(record: Mapping[str, Any]) -> Iterable[str]:
    return (record["environment"] or {}).get("packages") or {}


def _values(records: Sequence[Mapping[str, Any]], key: str) -> str:
    """The distinct values of ``key`` in the records."""
    found: dict[str, None] = {}
    for record in records:
        value: Any = record
        for part in key.split(".", 2):
            value = value.get(part) if isinstance(value, Mapping) else None
        found["none" if value is None else str(value)] = None
    return " and ".join(sorted(found))
