"""Arguments of the Python functions: one of another type, such as an array in place of a path, is one message."""

from __future__ import annotations

import os
from pathlib import Path

from segstudy.errors import SpecError


def require(name: str, given: object, kinds: type | tuple[type, ...], wanted: str) -> None:
    """Raise a :class:`SpecError` unless the argument ``name`` is of one of ``kinds``; ``wanted`` describes what is allowed."""
    if not isinstance(given, kinds) or isinstance(given, bool):
        raise SpecError(f"{name}: is of type {type(given).__name__}; must be {wanted}")


def require_path(name: str, given: object, wanted: str) -> None:
    """Raise a :class:`SpecError` unless the argument is a string or a path, and not empty."""
    require(name, given, (str, os.PathLike), wanted)
    text = str(given)
    if not text or "\0" in text:
        raise SpecError(f"{name}: is {text!r}; must be {wanted}")


def as_text(given: str | os.PathLike[str]) -> str:
    """A path as text, with ``~`` replaced by the home folder."""
    text = os.fspath(given)
    return str(Path.home() / text[2:]) if text.startswith("~/") else text


def as_path(given: str | os.PathLike[str] | None) -> Path | None:
    """A path, with ``~`` replaced by the home folder; None for None."""
    return None if given is None else Path(as_text(given))


def require_list(name: str, given: object, kind: type, wanted: str) -> None:
    """Raise a :class:`SpecError` unless the argument is a list or tuple of ``kind``."""
    if not isinstance(given, list | tuple):
        raise SpecError(f"{name}: is of type {type(given).__name__}; must be {wanted}")
    for each in given:
        require(name, each, kind, wanted)


def require_folders(**folders: object) -> None:
    """Raise a :class:`SpecError` unless each argument is None, a string or a path."""
    for name, given in folders.items():
        if given is not None:
            require_path(name, given, "a folder")
