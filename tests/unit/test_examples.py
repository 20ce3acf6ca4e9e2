"""The examples in docstrings and in the documentation hold."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import segstudy
from segstudy.plan import make_plan
from segstudy.spec import load_study, parse_study

ROOT = Path(__file__).parents[2]
MODULES = [info.name for info in pkgutil.walk_packages(segstudy.__path__, "segstudy.")]


@pytest.mark.parametrize("name", MODULES)
def test_docstrings(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_some_docstrings_have_examples():
    finder = doctest.DocTestFinder()
    found = [t for name in MODULES for t in finder.find(importlib.import_module(name)) if t.examples]
    assert len(found) >= 15


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.yaml")), ids=lambda path: path.stem)
def test_example_studies_are_sound(path):
    assert make_plan(load_study(path)).runs


@pytest.mark.parametrize("page", ["README.md"])
def test_studies_in_the_documentation_are_sound(page):
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
    assert blocks
    for block in blocks:
        assert make_plan(parse_study(block)).runs


def test_links_in_the_documentation_lead_somewhere():
    for page in [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
            if not target.startswith(("http:", "https:")):
                assert (page.parent / target).exists(), f"{page.name}: {target}"
