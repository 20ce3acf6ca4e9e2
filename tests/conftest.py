"""No test asks a model hub: what needs one is tested against a server on loopback, in a process of its own."""

import contextlib
import functools
import gc
import os
import sys

import pytest
import typer.main

os.environ["HF_HUB_OFFLINE"] = "1"
# Tests run in two processes: threads of one would wait for those of the other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Every call of the command line would build its tree of commands anew, which takes longer than most commands do.
typer.main.get_command = functools.cache(typer.main.get_command)
# absl, which TensorBoard loads, closes the stream that it found when it was imported, once another library (submitit)
# configures logging. In a test, that stream would be pytest's own capture, and every later test would fail.
with contextlib.suppress(ImportError):
    import absl.logging

    absl.logging.get_absl_handler().python_handler.stream = sys.__stderr__

# Files are given to the two processes in this order, so that none is left alone with a long one at the end.
LONGEST = (
    "slow/test_survival.py",
    "unit/test_train.py",
    "browser/test_in_chromium.py",
    "unit/test_print.py",
    "unit/test_report.py",
    "unit/test_howto.py",
    "unit/test_evidence.py",
    "unit/test_verdicts.py",
    "unit/test_regime.py",
    "unit/test_cli.py",
    "unit/test_page.py",
    "unit/test_comparison.py",
    "unit/test_altered.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the files that take longest first."""
    places = {f"tests/{name}": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.nodeid.split("::")[0], len(places)))


def pytest_collection_finish() -> None:
    """What the tests import stays; no collection of garbage, of which every training asks for one, looks at it again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000)  # as the command line does
