"""Tests that take minutes run if they are asked for; the short form of the survival tests always does."""

import os
from pathlib import Path

import pytest

ALWAYS = "test_survival.py"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == Path(__file__).parent and item.path.name != ALWAYS and "SEGSTUDY_SLOW" not in os.environ:
            item.add_marker(pytest.mark.skip(reason="takes minutes: set SEGSTUDY_SLOW=1"))
