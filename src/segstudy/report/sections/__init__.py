"""The sections of the report, one file each.

A section holds its frames, its tables, its figures and its captions, and says itself where it stands. A module in this
folder that defines ``SECTION`` is on the page; other packages add theirs through the entry point group
``segstudy.section``. The page knows nothing else.
"""

from __future__ import annotations

import importlib
import pkgutil

from segstudy.doors import Door
from segstudy.report.section import Section

INSTALLED = Door("section", {})


def all_sections() -> list[Section]:
    """Every section, by place."""
    modules = [importlib.import_module(f"{__name__}.{found.name}") for found in pkgutil.iter_modules(__path__)]
    own = [module.SECTION for module in modules if hasattr(module, "SECTION")]
    return sorted([*own, *(INSTALLED.find(name) for name in INSTALLED.names())], key=lambda section: section.place)
