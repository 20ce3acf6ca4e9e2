"""Controlled semantic-segmentation studies: from one study file to a report whose every number can be traced.

The names below are the public ones; each is imported when it is first used, so ``import segstudy`` is quick and needs no
torch. Start with :func:`run`, :func:`check`, :func:`score`, :func:`compare`, :func:`audit` and :func:`load_results`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from segstudy.api import audit, check, compare, load_results, run, score
    from segstudy.archive import export_run
    from segstudy.counts.counting import confusion_matrix
    from segstudy.errors import SegstudyError
    from segstudy.launch.work import execute
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import Plan, Run, make_plan
    from segstudy.predict import predict_images
    from segstudy.report.build import build_report
    from segstudy.scoring import score_masks
    from segstudy.spec import load_study
    from segstudy.store import Store
    from segstudy.study import Study

_HOMES = {
    "Plan": "segstudy.plan",
    "Run": "segstudy.plan",
    "SegstudyError": "segstudy.errors",
    "Store": "segstudy.store",
    "Study": "segstudy.study",
    "Workshop": "segstudy.launch.workshop",
    "audit": "segstudy.api",
    "build_report": "segstudy.report.build",
    "check": "segstudy.api",
    "compare": "segstudy.api",
    "confusion_matrix": "segstudy.counts.counting",
    "execute": "segstudy.launch.work",
    "export_run": "segstudy.archive",
    "load_results": "segstudy.api",
    "load_study": "segstudy.spec",
    "make_plan": "segstudy.plan",
    "predict_images": "segstudy.predict",
    "run": "segstudy.api",
    "score": "segstudy.api",
    "score_masks": "segstudy.scoring",
}

__all__ = [
    "Plan",
    "Run",
    "SegstudyError",
    "Store",
    "Study",
    "Workshop",
    "audit",
    "build_report",
    "check",
    "compare",
    "confusion_matrix",
    "execute",
    "export_run",
    "load_results",
    "load_study",
    "make_plan",
    "predict_images",
    "run",
    "score",
    "score_masks",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'segstudy' has no attribute '{name}'")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
