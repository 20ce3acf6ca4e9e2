"""Errors that the user can fix: each is one plain message."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any


class SegstudyError(Exception):
    """A fault in what was given: says what was given, what is allowed, where, and what to do.

    The command line prints the message without a traceback and exits with code 2.
    """


class SpecError(SegstudyError):
    """The study file is wrong; lists every problem with its line and key."""


class DataError(SegstudyError):
    """A dataset folder, an image or a mask is missing, unreadable or inconsistent.

    ``kind`` is the fault's short code, one of those in ``segstudy.data.quality.faults``. ``lines`` are options of a dataset's
    entry that would remove the fault, where they are known.
    """

    def __init__(self, message: str, kind: str = "unusable", lines: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.kind, self.lines = kind, dict(lines or {})


class WeightsError(SegstudyError):
    """Weights or a checkpoint cannot be found, downloaded or matched to the network."""


class StoreError(SegstudyError):
    """The output folder is locked, damaged, or holds results of other settings."""


class TableError(SegstudyError):
    """A published table cannot be read, or what was said about its columns and rows does not fit it."""


def nearest(name: str, allowed: Iterable[str]) -> str:
    """Return `` (did you mean 'x'?)`` for the allowed name closest to ``name``, else ``""``."""
    matches = difflib.get_close_matches(name, list(allowed), n=1, cutoff=0.6)
    return f" (did you mean '{matches[0]}'?)" if matches else ""


def listing(items: Iterable[object], limit: int = 8) -> str:
    """Join ``items`` with commas, naming at most ``limit`` of them and counting the rest."""
    texts = [str(item) for item in items]
    more = len(texts) - limit
    return ", ".join(texts[:limit]) + (f" {and_more(more)}" if more > 0 else "")


def repeated(items: Iterable[str]) -> list[str]:
    """Items that occur more than once, each once, sorted.

    >>> repeated(["b", "a", "b"])
    ['b']
    """
    return sorted(item for item, count in Counter(items).items() if count > 1)


def and_more(number: int) -> str:
    """How many of a list are not shown.

    >>> and_more(1200)
    'and 1,200 more'
    """
    return f"and {number:,} more"
