"""The sections of the report, one file each.

A section holds its frames, its tables, its figures and its captions, and says itself where it stands. A module in this
folder that defines ``SECTION`` is on the page; other packages add theirs through the entry point group
``segstudy.section``. The page knows nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from segstudy.doors import Door, calling
from segstudy.errors import SpecError
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section

TAKEN = {"answer", "runs", "notes", "environment", "number", "counts"}  # anchors of the page itself


def as_section(name: str, found: Any) -> Section:
    """A section of another package; raises :class:`SpecError` if it is none, or its anchor cannot be one."""
    if not isinstance(found, Section):
        raise SpecError(f"section '{name}': is {found!r:.60}; it must be a segstudy.report.section.Section")
    if not re.fullmatch(r"[A-Za-z][\w.-]*", found.key):
        raise SpecError(
            f"section '{name}': the key {found.key!r:.60} must be a letter, then letters, digits, '.', '_' or '-'"
        )

    def content(data: ReportData) -> Iterable[Item]:
        with calling(f"section '{name}'"):
            items = list(found.content(data))
        if wrong := next((item for item in items if not isinstance(item, Item)), None):
            raise SpecError(f"section '{name}': yielded {wrong!r:.60}; must be a Table, a Drawing, a Widget or a text")
        return items

    return replace(found, content=content)


INSTALLED = Door("section", {}, as_section)


def all_sections() -> list[Section]:
    """Every section, by place.

    Raises
    ------
    SpecError
        If a section of another package is invalid, or its key is already in use.

    """
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    sections = {module.SECTION.key: module.SECTION for module in modules if hasattr(module, "SECTION")}
    for name in INSTALLED.names():
        section = INSTALLED.find(name)
        if section.key in sections or section.key in TAKEN:
            raise SpecError(f"section '{name}': the key '{section.key}' is already in use")
        sections[section.key] = section
    return sorted(sections.values(), key=lambda section: section.place)
