"""Controlled semantic-segmentation studies: one study file in, a report whose numbers can be traced to counts out.

The names below are the public ones; each is imported when it is first used, so that ``import segstudy`` is quick and
needs no torch. Start with :func:`load_study`, :func:`make_plan`, :class:`Workshop` and :func:`execute`, or with
:func:`score_masks` for masks from elsewhere.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segstudy.archive import export_run
    from segstudy.counts.counting import confusion_matrix
    from segstudy.errors import SegstudyError
    from segstudy.launch.work import execute
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import Plan, Run, make_plan
    from segstudy.predict import predict_images
    from segstudy.report.build import build_report
    from segstudy.score import score_masks
    from segstudy.spec import Study, load_study
    from segstudy.store import Store

_HOMES = {
    "Plan": "segstudy.plan",
    "Run": "segstudy.plan",
    "SegstudyError": "segstudy.errors",
    "Store": "segstudy.store",
    "Study": "segstudy.spec",
    "Workshop": "segstudy.launch.workshop",
    "build_report": "segstudy.report.build",
    "confusion_matrix": "segstudy.counts.counting",
    "execute": "segstudy.launch.work",
    "export_run": "segstudy.archive",
    "load_study": "segstudy.spec",
    "make_plan": "segstudy.plan",
    "predict_images": "segstudy.predict",
    "score_masks": "segstudy.score",
}

__all__ = [
    "Plan",
    "Run",
    "SegstudyError",
    "Store",
    "Study",
    "Workshop",
    "build_report",
    "confusion_matrix",
    "execute",
    "export_run",
    "load_study",
    "make_plan",
    "predict_images",
    "score_masks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segstudy' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
