"""Which rows are about the same run, data and class.

Rows of different tables are about the same run if they carry the same run's name, or if the publication names exactly
one run with all that they say, and say what they were tested on. Anything less is kept apart: two tables may well
print the same model on data that only their captions name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from segstudy.auditing.headings import KEYS, MEANS, SUMMARY, fold
from segstudy.auditing.tables import Row, Table

OWN = ""  # tested on the data that it was trained on


class Subject(NamedTuple):
    """The subject of a number: a run, the data that it was tested on, a class (none for all)."""

    run: str
    test: str = OWN
    cls: str = ""


def identity(table: Table, row: Row) -> dict[str, str]:
    """A row's text, together with the notes of its table; data as ``train`` and ``test``."""
    keys = {**table.keys, **row.keys}
    arrow = re.split(r"\s*(?:→|⇒|->|=>)\s*", keys.get("train → test", ""))
    if len(arrow) == 2:
        del keys["train → test"]
        keys |= {"train": arrow[0], "test": arrow[1]}
    if "dataset" in keys:
        both = keys.pop("dataset")
        keys = {"train": both, "test": both} | keys
    return keys


def tested_on(keys: dict[str, str]) -> str:
    """The data that a row was tested on, as a :class:`Subject` has it."""
    own = "test" not in keys or fold(keys.get("train", "")) == fold(keys["test"])
    return OWN if own else fold(keys["test"])


def part_of_classes(cls: str) -> bool:
    """Whether a row among classes is a mean of some of them: 'mean (foreground)'."""
    return cls.casefold() not in MEANS and bool(SUMMARY & set(re.findall(r"[a-z]+", cls.casefold())))


class Runs:
    """The runs of a publication."""

    def __init__(self, tables: Sequence[Table]) -> None:
        rows = [[identity(table, row) for row in table.rows] for table in tables]
        self.named = [keys for table in rows for keys in table if "run" in keys]
        self.shared = _shared_names(rows)
        self.num_classes = {
            fold(keys["test"]): int(keys["classes"])
            for table in rows
            for keys in table
            if "test" in keys and re.fullmatch(r"[0-9]{1,4}", keys.get("classes", ""))
        }

    def with_heading(self, keys: dict[str, str], of: str) -> dict[str, str]:
        """The subject from a row and a heading: a heading names a run, or a model where the rows name none."""
        if not of:
            return keys
        known = any(fold(other["run"]) == fold(of) for other in self.named)
        return {**keys, "run" if known else "model" if "model" not in keys else "of": of}

    def resolve(self, keys: dict[str, str], table: int) -> tuple[str, str]:
        """The identity of the run of a row of table number ``table``, and the run's name where it has one."""
        stated = {key: text for key, text in keys.items() if key not in ("class", "classes", "test")}
        if "class" in keys:  # what is not recognised may as well be about the class
            stated = {key: text for key, text in stated.items() if key in (*KEYS, "of")}
        somewhere = "train" in keys or "test" in keys
        name = stated.get("run", "")
        if name and fold(name) not in self.shared:
            return (fold(name) if somewhere else f"{table}: {fold(name)}"), name
        if "model" in stated and somewhere and not name and len(fitting := self._named_as(stated)) == 1:
            return next(iter(fitting.items()))
        text = "; ".join(f"{key}={fold(stated[key])}" for key in sorted(stated))
        return (text if somewhere and {"model", "run"} & set(stated) else f"{table}: {text}"), name

    def _named_as(self, stated: dict[str, str]) -> dict[str, str]:
        """Names of the runs that fit everything that is stated."""
        return {
            fold(other["run"]): other["run"]
            for other in self.named
            if fold(other["run"]) not in self.shared
            and all(fold(other.get(key, "")) == fold(text) for key, text in stated.items())
        }


def _shared_names(tables: list[list[dict[str, str]]]) -> set[str]:
    """Names that identify no run: used twice in one table of the same data and class, or of runs trained on other data."""
    shared = set()
    trained: dict[str, str] = {}
    for rows in tables:
        used = Counter(
            (fold(keys["run"]), fold(keys.get("test", "")), fold(keys.get("class", "")))
            for keys in rows
            if "run" in keys
        )
        shared |= {key[0] for key, number in used.items() if number > 1}
        for keys in rows:
            if "run" in keys and "train" in keys:
                first = trained.setdefault(fold(keys["run"]), keys["train"])
                shared |= set() if _same_data(first, keys["train"]) else {fold(keys["run"])}
    return shared


def _same_data(one: str, other: str) -> bool:
    """Whether two names of data may mean the same: Kvasir and Kvasir-SEG do."""
    words = [set(re.findall(r"[a-z0-9]+", name.casefold())) for name in (one, other)]
    return fold(one) == fold(other) or words[0] <= words[1] or words[1] <= words[0]
