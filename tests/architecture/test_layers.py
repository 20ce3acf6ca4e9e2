"""The architecture's rules, read off the source: imports point down, modules stay small, only the command line prints."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "segstudy"

# From the bottom up. A module may import from its own group and from the groups above it in this list (which lie
# below it in the architecture), but never in a circle. A name covers its sub-modules, the longest name wins, and a
# module that no name covers is an error: say here where it belongs.
LAYERS = [
    ["segstudy.errors", "segstudy.arrays", "segstudy.sizes"],
    [
        "segstudy.arguments",
        "segstudy.document",
        "segstudy.doors",
        "segstudy.records",
        "segstudy.files",
        "segstudy.folds",
    ],
    ["segstudy.named"],
    ["segstudy.schema", "segstudy.contestant", "segstudy.trials", "segstudy.explanations"],
    [
        "segstudy.study",
        "segstudy.references",
        "segstudy.spec",
        "segstudy.measures",
        "segstudy.counts",
        "segstudy.conventions",
        "segstudy.stats",
    ],
    [
        "segstudy.plan",
        "segstudy.store",
        "segstudy.probabilities",
        "segstudy.tuning",
        "segstudy.tracking",
        "segstudy.progress",
        "segstudy.stopping",
        "segstudy.terminal",
        "segstudy.guard",
        "segstudy.auditing",
    ],
    ["segstudy.comparable", "segstudy.comparison", "segstudy.failures", "segstudy.pooling"],
    ["segstudy.results"],
    ["segstudy.planning", "segstudy.ranking", "segstudy.across", "segstudy.overview"],
    ["segstudy.data"],
    ["segstudy.networks"],
    ["segstudy.evaluate", "segstudy.train", "segstudy.cost"],
    ["segstudy.report"],
    [
        "segstudy.scoring",
        "segstudy.true_masks",
        "segstudy.scorecard",
        "segstudy.archive",
        "segstudy.predict",
        "segstudy.serve",
        "segstudy.exporting",
        "segstudy.launch",
        "segstudy.checking",
        "segstudy.init",
    ],
    ["segstudy.answers", "segstudy.api"],
    ["segstudy.cli", "segstudy.__main__"],
]

# No torch may come with these: the command line starts at once, and everything from counts on runs without it.
LIGHT = (
    "errors",
    "document",
    "schema",
    "study",
    "references",
    "spec",
    "measures",
    "counts",
    "doors",
    "records",
    "files",
    "folds",
    "pooling",
    "stats",
    "plan",
    "store",
    "progress",
    "tracking",
    "guard",
    "comparable",
    "comparison",
    "failures",
    "ranking",
    "across",
    "results",
    "planning",
    "overview",
    "scoring",
    "scorecard",
    "auditing",
    "report",
    "cli",
    "answers",
    "api",
)

MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 45  # docstring not counted


def module_name(path: Path) -> str:
    parts = path.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in sorted(SOURCE.rglob("*.py"))}
COMMANDS = {name for name in MODULES if f"{name}.".startswith("segstudy.cli.")}
INNER = {name: path for name, path in MODULES.items() if name != "segstudy"}  # the package's names come from all layers


@cache
def tree_of(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def imported(tree: ast.Module, name: str, is_package: bool) -> set[str]:
    """Modules of segstudy that a module imports, those inside functions and under TYPE_CHECKING too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: len(name.split(".")) - node.level + is_package] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            for alias in node.names:
                inner = f"{source}.{alias.name}"
                found.add(inner if inner in MODULES else source)
    return {module for module in found if module.split(".")[0] == "segstudy"}


@cache
def imports_of(name: str) -> frozenset[str]:
    return frozenset(imported(tree_of(name), name, MODULES[name].name == "__init__.py") - {name})


def level(name: str) -> int | None:
    """Index of the layer that covers a module."""
    covering = [
        (len(prefix), at) for at, group in enumerate(LAYERS) for prefix in group if f"{name}.".startswith(f"{prefix}.")
    ]
    return max(covering)[1] if covering else None


def functions(tree: ast.Module) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]


def body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    doc = first.end_lineno - first.lineno + 1 if ast.get_docstring(function) is not None and first.end_lineno else 0
    return (function.end_lineno or 0) - function.lineno + 1 - doc


def undocumented(tree: ast.Module) -> list[str]:
    """Public functions, classes and methods without a docstring; what stands inside a function is nobody else's."""
    missing = [] if ast.get_docstring(tree) else ["module"]
    todo: list[tuple[str, ast.AST]] = [("", tree)]
    while todo:
        prefix, parent = todo.pop()
        for node in ast.iter_child_nodes(parent):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith(
                "_"
            ):
                missing += [] if ast.get_docstring(node) else [prefix + node.name]
                todo += [(f"{prefix}{node.name}.", node)] if isinstance(node, ast.ClassDef) else []
    return missing


def prints(tree: ast.Module) -> list[int]:
    return [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]


def test_every_module_has_its_layer() -> None:
    assert [name for name in INNER if level(name) is None] == []


def test_every_name_of_a_layer_is_there_once_and_wanted() -> None:
    listed = [name for group in LAYERS for name in group]
    assert len(set(listed)) == len(listed)
    assert [name for name in listed if name not in MODULES] == []


@pytest.mark.parametrize("name", INNER)
def test_imports_point_down(name: str) -> None:
    own = level(name)
    assert own is not None
    upward = [other for other in imports_of(name) if other == "segstudy" or (level(other) or 0) > own]
    assert upward == []


def test_no_module_imports_itself_by_way_of_others() -> None:
    circles = []
    for start in INNER:
        todo, seen = list(imports_of(start)), set()
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += imports_of(name) if name in MODULES else []
        circles += [start] if start in seen else []
    assert circles == []


def test_every_import_is_of_a_module_that_exists() -> None:
    assert {(name, other) for name in MODULES for other in imports_of(name) if other not in MODULES} == set()


def loaded_after(statement: str) -> set[str]:
    """Top-level packages that a fresh interpreter holds after ``statement``."""
    code = f"import sys\n{statement}\nprint(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return set(done.stdout.split("\n")[-2].split())


def test_what_is_light_loads_no_torch() -> None:
    light = [name for name in INNER if name.split(".")[1] in LIGHT]
    assert "segstudy.report" in light
    loaded = loaded_after("import " + ", ".join(light))
    assert "numpy" in loaded
    assert loaded & {"torch", "torchvision", "timm", "lightning_fabric", "segmentation_models_pytorch"} == set()


def test_what_checks_a_study_loads_no_fabric() -> None:
    loaded = loaded_after("import segstudy.checking")
    assert "torch" in loaded and "lightning_fabric" not in loaded


def test_help_loads_nothing_heavy() -> None:
    call = "from segstudy.cli import app\ntry: app(['--help'])\nexcept SystemExit as end: assert end.code == 0"
    loaded = loaded_after(call)
    assert "typer" in loaded
    assert loaded & {"torch", "numpy", "pandas", "matplotlib", "pydantic"} == set()


@pytest.mark.parametrize("name", MODULES)
def test_module_is_small_enough_to_read(name: str) -> None:
    assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("name", MODULES)
def test_functions_fit_a_screen(name: str) -> None:
    assert [(f.name, body_lines(f)) for f in functions(tree_of(name)) if body_lines(f) > MAX_FUNCTION_LINES] == []


@pytest.mark.parametrize("name", MODULES)
def test_what_is_public_is_documented(name: str) -> None:
    assert undocumented(tree_of(name)) == []


def test_only_the_command_line_prints() -> None:
    assert {name: prints(tree_of(name)) for name in MODULES if prints(tree_of(name))}.keys() <= COMMANDS


USERS_FILES = ("spec", "auditing", "data.readers", "data.splitting")
OPENING, ELSEWHERE = {"read_text", "read_bytes", "open"}, {"rasterio", "Image"}


@pytest.mark.parametrize("name", [n for n in INNER if n.removeprefix("segstudy.").startswith(USERS_FILES)])
def test_files_of_users_are_opened_so_that_no_pipe_keeps_us_waiting(name: str) -> None:
    """By ``segstudy.files``, which refuses pipes and devices."""
    calls = [node.func for node in ast.walk(tree_of(name)) if isinstance(node, ast.Call)]
    methods = [call for call in calls if isinstance(call, ast.Attribute) and call.attr in OPENING]
    found = [
        ast.unparse(call) for call in methods if not (isinstance(call.value, ast.Name) and call.value.id in ELSEWHERE)
    ]
    found += [call.id for call in calls if isinstance(call, ast.Name) and call.id == "open"]
    assert found == []


def test_no_module_is_named_for_nothing() -> None:
    vague = {"utils", "util", "helpers", "common", "misc", "base"}
    assert [name for name in MODULES if vague & set(name.split("."))] == []


def test_alarms_can_ring() -> None:
    """The readers above find what they are for, in a module made of faults."""
    faults = ast.parse(
        "import segstudy.cli\n"
        "def f():\n    from segstudy.data import core\n    from .train import loop\n    from .spec import Study\n    print(1)\n"
        "class A:\n    '''Doc.'''\n    def g(self): return 1\n    def _h(self): return 2\n"
        "def long():\n    '''Two\n\n    lines.'''\n" + "    x = 1\n" * 46
    )
    assert imported(faults, "segstudy.plan", False) == {
        "segstudy.cli",
        "segstudy.data.core",
        "segstudy.train.loop",
        "segstudy.spec",
    }
    assert imported(ast.parse("from . import core\nfrom ..spec import x"), "segstudy.data", True) == {
        "segstudy.data.core",
        "segstudy.spec",
    }
    assert imported(ast.parse("from .core import y\nfrom .. import spec"), "segstudy.data.load", False) == {
        "segstudy.data.core",
        "segstudy.spec",
    }
    assert prints(faults) == [6]
    assert undocumented(faults) == ["module", "f", "A.g"]
    assert [body_lines(f) for f in functions(faults) if f.name == "long"] == [47]
    assert level("segstudy.data.scenes.street") == level("segstudy.data")
    assert level("segstudy.database") is None
