"""A YAML document as plain data, with the place of every key for error messages.

Also converts plain data to what JSON can hold.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq, TaggedScalar
from ruamel.yaml.scalarbool import ScalarBoolean

from segstudy.errors import SpecError

Keys = tuple[str | int, ...]  # from the top of the document: ("seeds", 0)

MAX_ENTRIES = 100_000  # nested aliases could expand to any number


@dataclass
class Problems:
    """Collects problems of one study file, each with the place of its key: ``file:line``, or its ``--set``."""

    source: str
    places: dict[Keys, str] = field(default_factory=dict)
    found: list[str] = field(default_factory=list)

    def add(self, path: Keys, message: str) -> None:
        """Add ``message`` at the place of ``path``, or of its nearest parent that has one."""
        place = next((self.places[path[:n]] for n in range(len(path), 0, -1) if path[:n] in self.places), self.source)
        self.found.append(f"{place}: {'.'.join(map(str, path)) or 'study'}: {message}")

    def stop(self) -> None:
        """Raise all problems in one error, if there are any."""
        if self.found:
            raise SpecError("\n".join(self.found))


def parse_yaml(text: str, path: Keys, problems: Problems, setting: str = "") -> Any:
    """YAML 1.2 text -> plain data for ``path`` of the study; records places and errors in ``problems``."""
    try:
        return plain(_nodes(text), path, problems, setting)
    except Exception as error:  # ruamel's own, and what "!!int x", 5,000 digits or 1,000 brackets raise
        mark = getattr(error, "problem_mark", None)
        place = setting or (f"{problems.source}:{mark.line + 1}" if mark else problems.source)
        problems.found.append(f"{place}: not valid YAML: {getattr(error, 'problem', None) or error}")
        return None


@lru_cache(maxsize=64)
def _nodes(text: str) -> Any:
    """Round-trip nodes, with their lines; parsing is slow, and settings and study files come more than once."""
    return YAML(typ="rt").load(text)


def plain(node: Any, path: Keys, problems: Problems, setting: str = "") -> Any:
    """Convert round-trip YAML nodes to plain Python values; anything that would be lost is a problem."""
    tag = getattr(getattr(node, "tag", None), "value", None)
    if isinstance(node, TaggedScalar) and tag == "tag:yaml.org,2002:str":
        return str(node.value)
    if tag is not None:
        problems.add(path, f"has the YAML tag '{tag}', which is not supported here; remove it")
    if isinstance(node, CommentedMap | CommentedSeq):
        lines = node.lc.data or {}  # keys from a merge (<<) have no line
        values = {}
        for key, value in node.items() if isinstance(node, CommentedMap) else enumerate(node):
            at = (*path, str(key) if isinstance(node, CommentedMap) else key)
            if key in lines:
                problems.places[at] = setting or f"{problems.source}:{lines[key][0] + 1}"
            number = (
                isinstance(key, int | float) and not isinstance(key, bool | ScalarBoolean) and path[-1:] == ("values",)
            )  # mask values name classes
            if isinstance(node, CommentedMap) and not isinstance(key, str) and not number:
                problems.add(at, "a key must be text; put it in quotes")
            if len(problems.places) > MAX_ENTRIES:
                raise ValueError(f"more than {MAX_ENTRIES:,} keys and entries")
            values[at[-1]] = plain(value, at, problems, setting)
        return values if isinstance(node, CommentedMap) else list(values.values())
    if isinstance(node, int) and abs(node) >= 2**63:
        problems.add(path, "is a number outside -2^63 to 2^63")
        return 0
    for kind in (bool, int, float, str):
        if isinstance(node, (bool, ScalarBoolean) if kind is bool else kind):
            return kind(node)
    return node


def finite(value: Any) -> Any:
    """Plain data with None for NaN and infinities, which JSON cannot hold; tuples become lists."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def apply_setting(tree: dict[str, Any], setting: str, problems: Problems) -> None:
    """Apply one ``key=value`` to ``tree``; the value is read as YAML. The part after ``change.`` is one key."""
    key, equals, text = setting.partition("=")
    head, change, factor = key.partition(".change.")
    parts = [*head.split("."), "change", factor] if change else key.split(".")
    if not equals or not all(parts):
        problems.found.append(f"--set {setting}: write it as key=value, for example recipe.epochs=10")
        return
    target = tree
    for part in parts[:-1]:
        if not isinstance(target.setdefault(part, {}), dict):
            problems.found.append(f"--set {setting}: '{part}' holds a value, not keys")
            return
        target = target[part]
    path = tuple(parts)
    problems.places = {at: place for at, place in problems.places.items() if at[: len(path)] != path}
    problems.places[path] = f"--set {setting}"
    target[parts[-1]] = parse_yaml(text, path, problems, f"--set {setting}")
