"""What differs between two runs beside the factor that is studied: data, versions, hardware, precision.

The study file is held to one change by ``plan``; this looks at what the runs themselves recorded. Nothing here forbids a
comparison: whatever differs is said wherever the comparison is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Record = Mapping[str, Any]

# Dotted key of a run's record -> what people call it. ``environment.packages`` is looked at package by package.
COMPARED = {
    "data_fingerprints.train": "training data",
    "data_fingerprints.select": "data that choose the epoch",
    "precision": "precision",
    "environment.gpu": "GPU",
    "environment.system": "system",
    "environment.python": "Python",
    "environment.cpu_threads": "processor threads",
    "imported_from.file": "trained elsewhere, imported from",
}
HASHES = ("data_fingerprints.train", "data_fingerprints.select")  # that they differ says all; their values say nothing


def differing(first: Sequence[Record], second: Sequence[Record], declared: Iterable[str] = ()) -> list[str]:
    """Say what differs between two experiments' runs beside what is declared.

    Parameters
    ----------
    first, second
        Records (``run.yaml``) of the runs of each side, one a seed.
    declared
        Dotted keys that the study changes on purpose; a changed ``recipe.precision`` explains another precision.

    Returns
    -------
    list of str
        A short phrase each, such as ``torch 2.12.0 against 2.13.0``; empty when only the declared factor differs.

    Examples
    --------
    >>> differing([{"precision": "32-true"}], [{"precision": "bf16-mixed"}])
    ['precision 32-true against bf16-mixed']

    """
    if not first or not second:
        return []
    explained = {"precision"} & {key.split(".")[-1] for key in declared}
    packages = sorted({f"environment.packages.{name}" for record in (*first, *second) for name in _packages(record)})
    names = COMPARED | {key: key.removeprefix("environment.packages.") for key in packages}
    phrases = []
    for key, name in names.items():
        ours, theirs = _told(first, key), _told(second, key)
        if ours != theirs and key not in explained:
            phrases.append(f"{name} differ" if key in HASHES else f"{name} {ours} against {theirs}")
    return phrases


def _packages(record: Record) -> Iterable[str]:
    return (record.get("environment") or {}).get("packages") or {}


def _told(records: Sequence[Record], key: str) -> str:
    """Every value that the records give ``key``, each once."""
    found: dict[str, None] = {}
    for record in records:
        value: Any = record
        for part in key.split(".", 2):
            value = value.get(part) if isinstance(value, Mapping) else None
        found["none" if value is None else str(value)] = None
    return " and ".join(sorted(found))
