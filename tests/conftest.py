"""No test asks a model hub: what needs one is tested against a server on loopback, in a process of its own."""

import contextlib
import functools
import gc
import os
import sys
from importlib import metadata

import pytest
import typer.main

os.environ["HF_HUB_OFFLINE"] = "1"
# Tests run in two processes: threads of one would wait for those of the other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Every call of the command line would build its tree of commands again, which takes longer than most commands do.
typer.main.get_command = functools.cache(typer.main.get_command)
# Every training would read the metadata of all installed packages, in which Lightning looks for callbacks.
_entry_points = metadata.entry_points
_looked_up = functools.cache(lambda path, **selected: _entry_points(**selected))
metadata.entry_points = lambda **selected: _looked_up(tuple(sys.path), **selected)
os.fsync = lambda file: None  # power does not fail in a test
# absl, which TensorBoard loads, closes the stream that it found when it was imported, once another library (submitit)
# configures logging. In a test, that stream would be pytest's own capture, and every later test would fail.
with contextlib.suppress(ImportError):
    import absl.logging

    absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__

# Files are given to the two processes in this order, so that none is left alone with a long one at the end.
LONGEST = (
    "browser/test_in_chromium.py",
    "slow/test_survival.py",
    "unit/test_regime.py",
    "unit/test_train.py",
    "unit/test_report.py",
    "unit/test_page.py",
    "unit/test_evidence.py",
    "unit/test_cli.py",
    "unit/test_print.py",
    "unit/test_models.py",
    "unit/test_howto.py",
    "unit/test_verdicts.py",
    "unit/test_memory.py",
    "unit/test_export.py",
    "unit/test_altered.py",
    "unit/test_team.py",
    "unit/test_contestants.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    places = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(places)))


_modules_kept = 0


def pytest_collection_finish() -> None:
    """Look for garbage as seldom as the command line does."""
    gc.set_threshold(50_000)


def pytest_runtest_logfinish() -> None:
    """What was imported stays; no collection of garbage, of which every training asks for one, looks at it again."""
    global _modules_kept
    if len(sys.modules) > _modules_kept + 100:
        gc.collect()
        gc.freeze()
        _modules_kept = len(sys.modules)
