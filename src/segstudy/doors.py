"""Doors: the parts that a study file may name, and how others add to them.

A door is a table of names and objects, a dict literal in one place. Another package adds entries through the entry point
group of the door. A study file may also name a callable of the user as ``package.module:name``, which is searched next
to the study file first, then among installed packages.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from segstudy.errors import SegstudyError, SpecError, listing, nearest

_SOURCE = "__segstudy_source__"  # in a module of a study's folder: the file and source it was imported from


@dataclass(frozen=True)
class Door:
    """One table and its name.

    Attributes
    ----------
    kind
        What an entry is called in messages, such as ``loss``.
    table
        Name -> object. A text ``module:name`` is imported when it is needed.
    adapt
        Converts a name and its object to what :meth:`find` returns; raises ``SpecError`` for an object that is not a valid
        entry.

    """

    kind: str
    table: Mapping[str, Any]
    adapt: Callable[[str, Any], Any] = lambda name, found: found

    @property
    def group(self) -> str:
        """The entry point group through which other packages add entries."""
        return f"segstudy.{self.kind.replace(' ', '_')}"

    def names(self) -> list[str]:
        """Every known name, those of installed packages last."""
        return list(dict.fromkeys([*self.table, *_points(self.group, tuple(sys.path))]))

    def knows(self, name: str) -> bool:
        """Whether ``name`` is in the table, comes from an installed package, or is a ``module:name``."""
        return name in self.table or is_callable_name(name) or name in self.names()

    def find(self, name: str, folder: str = "") -> Any:
        """The entry ``name``.

        Parameters
        ----------
        name
            A name of the table or of an installed package, or ``package.module:name``.
        folder
            The folder of the study file; modules there take precedence over installed ones.

        Raises
        ------
        SpecError
            If there is no such name, or it cannot be imported.

        """
        if name in self.table:
            entry = self.table[name]
            return self.adapt(name, import_object(entry) if isinstance(entry, str) else entry)
        if is_callable_name(name):
            return self.adapt(name, import_object(name, folder))
        if points := _points(self.group, tuple(sys.path)).get(name):
            point = points[0]
            if len(points) > 1:
                packages = listing(sorted(each.dist.name if each.dist else each.value for each in points))
                raise SpecError(
                    f"{self.kind} '{name}': several packages provide it ({packages}); uninstall all but one"
                )
            try:
                found = point.load()
            except (Exception, SystemExit) as error:  # another package's module may raise anything
                raise SpecError(f"{self.kind} '{name}' ({point.value}): cannot be imported ({error})") from None
            return self.adapt(name, found)
        raise SpecError(self.unknown(name))

    def unknown(self, name: str) -> str:
        """The message for an unknown name."""
        known, article = self.names(), "an" if self.kind[0] in "aeiou" else "a"
        return (
            f"is '{name}', must be {_alternatives(known)}{nearest(name, known)}, or {article} {self.kind} of your own as "
            "package.module:name"
        )


def _alternatives(names: list[str]) -> str:
    quoted = [f"'{name}'" for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if len(quoted) > 1 else quoted)


@functools.cache
def _points(group: str, path: tuple[str, ...]) -> dict[str, list[metadata.EntryPoint]]:
    """Entry points of a group by name, looked up once per ``sys.path``."""
    found: dict[str, list[metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=group):
        found.setdefault(point.name, []).append(point)
    return found


@contextlib.contextmanager
def calling(what: str, where: str = "", kind: type[SegstudyError] = SpecError) -> Iterator[None]:
    """Run code of the user or of another package; whatever stops it, ``sys.exit`` included, becomes one message of ``kind``.

    A full memory is passed on as it is. ``where`` is added at the end.
    """
    torch: Any = sys.modules.get("torch")
    try:
        yield
    except (SegstudyError, MemoryError):
        raise
    except (Exception, SystemExit) as error:
        if torch is not None and isinstance(error, torch.OutOfMemoryError):
            raise
        text = ": ".join(part for part in (type(error).__name__, str(error)) if part)
        raise kind(f"{what}: stopped with {text}{f' ({where})' if where else ''}") from None


def is_callable_name(name: str) -> bool:
    """Whether ``name`` has the form ``package.module:name``.

    >>> is_callable_name("losses:top_k"), is_callable_name("dice"), is_callable_name("C:/weights.pth")
    (True, False, False)
    """
    module, colon, attribute = name.partition(":")
    return bool(colon) and all(part.isidentifier() for part in [*module.split("."), *attribute.split(".")])


def import_object(name: str, folder: str = "") -> Any:
    """The object named by ``package.module:name``; see :class:`Door`."""
    module_name, _, attribute = name.partition(":")
    found: Any = _import_module(module_name, folder, name)
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise SpecError(f"'{name}': {module_name} has no '{part}'{nearest(part, vars(found))}")
        found = getattr(found, part)
    return found


def _import_module(module: str, folder: str, name: str) -> ModuleType:
    try:
        if _local_file(module, folder) is None:
            return importlib.import_module(module)
        now = source_hash(module, folder)
        known = sys.modules.get(module)
        if known is None or getattr(known, _SOURCE, None) != (
            folder,
            now,
        ):  # edited, or of the same name in another study
            for each in _sources(module, folder):
                sys.modules.pop(each, None)
            with _importable(folder):
                known = importlib.import_module(module)
                for each in _sources(module, folder):  # its functions may import when they are called
                    with contextlib.suppress(Exception):
                        importlib.import_module(each)
            setattr(known, _SOURCE, (folder, now))
        return known
    except (Exception, SystemExit) as error:  # a user's module may raise anything
        raise SpecError(
            f"'{name}': the module {module} cannot be imported ({type(error).__name__}: {error}); it is searched in the "
            "study file's folder, then among installed packages"
        ) from None


@contextlib.contextmanager
def _importable(folder: str) -> Iterator[None]:
    # Python identifies a compiled module by the time and size of its source: after a second edit within the same second
    # it may run the code of the first.
    without_bytecode = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(folder)
        sys.dont_write_bytecode = without_bytecode


def _local_file(module: str, folder: str) -> Path | None:
    """The source file of a module next to the study file; None if there is none."""
    if not folder:
        return None
    stem = Path(folder, *module.split("."))
    return next((path for path in (stem.with_suffix(".py"), stem / "__init__.py") if path.is_file()), None)


def source_hash(name: str, folder: str = "") -> str:
    """Hash of the source behind ``package.module:name``.

    It covers the module and everything it imports from the same place: the study file's folder for a module in it,
    otherwise the module's top-level package. For a module without Python source, only its name counts.
    """
    total = hashlib.sha256()
    for module, text in _sources(name.partition(":")[0], folder).items():
        total.update(module.encode() + b"\0" + text + b"\0")
    return f"sha256:{total.hexdigest()[:16]}"


def source_files(name: str, folder: str) -> list[Path]:
    """Source files next to the study file that ``package.module:name`` needs."""
    places = [_local_file(module, folder) for module in _sources(name.partition(":")[0], folder)]
    return [path for path in places if path is not None]


def _sources(module: str, folder: str) -> dict[str, bytes]:
    """Module -> its source, for a module and its imports from the same place, in a fixed order."""
    todo, top = [module], module.partition(".")[0]
    seen: set[str] = set()
    found: dict[str, bytes] = {}
    while todo:
        each = todo.pop(0)
        if each in seen:
            continue
        seen.add(each)
        if (path := _source_of(each, folder, top)) is not None:
            found[each] = path.read_bytes()
            todo += sorted(_imports(found[each], each, path.name == "__init__.py"))
    return found or {module: b""}


def _source_of(module: str, folder: str, top: str) -> Path | None:
    if (path := _local_file(module, folder)) is not None:
        return path
    if module.partition(".")[0] != top:
        return None
    with contextlib.suppress(ImportError, ValueError, AttributeError):
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.origin and spec.origin.endswith(".py"):
            return Path(spec.origin)
    return None


def _imports(source: bytes, module: str, is_package: bool) -> set[str]:
    """Modules that a source text may import, at any level."""
    found: set[str] = set()
    with contextlib.suppress(SyntaxError, ValueError):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                found |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = module.split(".")[: len(module.split(".")) - node.level + is_package] if node.level else []
                base = ".".join([*above, *([node.module] if node.module else [])])
                found |= {base, *(f"{base}.{alias.name}" for alias in node.names)}
    return {name for name in found if name}
