"""Pydantic's errors of a study file in plain words."""

from __future__ import annotations

import contextlib
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel

from segstudy.document import Keys
from segstudy.errors import SpecError, listing, nearest
from segstudy.named import Tabled

# pydantic error types whose own messages mention Python types
WORDS = {
    "string_type": "must be text; a number or date in quotes is text",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "list_type": "must be a list, as in [1, 2]",
    "bool_type": "must be true or false",
}


def explain(detail: Mapping[str, Any], path: Keys, tree: Any, whole: type[BaseModel], folder: str = "") -> str:
    """One pydantic error in plain words, with the nearest valid name for an invalid one.

    ``tree`` is the document as plain data, ``whole`` its model, ``folder`` contains its file.
    """
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        allowed = fields_at(path[:-1], tree, whole, folder)
        return f"unknown key{nearest(str(path[-1]), allowed)}; known here: {listing(allowed, 20)}"
    if kind == "missing":
        return "is required"
    if kind == "literal_error":
        expected = detail["ctx"]["expected"]
        return f"is '{given}', must be {expected}{nearest(str(given), expected.split(chr(39))[1::2])}"
    if kind == "string_pattern_mismatch":
        return f"the name '{given}' may hold only letters, digits, '.', '_' and '-', and starts with a letter or digit"
    if kind == "too_short" and not given:
        return "must not be empty"
    if kind in ("too_short", "too_long") and isinstance(given, list):
        bound = "at least" if kind == "too_short" else "at most"
        limit = detail["ctx"]["min_length" if kind == "too_short" else "max_length"]
        return f"must hold {bound} {limit} values (given: {given})"
    if kind == "entry":
        return str(detail["msg"])
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    kinds = {type(None): "nothing", list: "a list", dict: "keys and values"}
    words = WORDS.get(kind) or str(detail["msg"]).replace("Input should", "should")
    return f"{words} (given: {kinds.get(type(given)) or repr(given)})"


def fields_at(path: Keys, tree: Any, whole: type[BaseModel], folder: str) -> list[str]:
    """Keys allowed in the mapping at ``path`` of ``tree``; see :func:`explain`."""
    hint: Any = whole
    for part in path:  # a model's field, or an entry of a mapping or list
        entries = typing.get_args(hint)
        tree = _inside(tree, part)
        hint = _model_in(entries[-1] if entries else hint.model_fields[part].annotation, tree)
    if issubclass(hint, Tabled):
        tree = tree if isinstance(tree, dict) else {}
        required = [name for name, field in hint.model_fields.items() if field.is_required()]
        with contextlib.suppress(SpecError):
            hint = hint.with_options(str(tree.get(hint.by, hint.model_fields[hint.by].default)), folder)
        return list(dict.fromkeys([*required, *(hint.option_names if required else ()), *hint.model_fields]))
    return [name for name in hint.model_fields if name not in ("source", "folder")]


def _inside(tree: Any, part: str | int) -> Any:
    if isinstance(tree, list):
        return tree[part] if isinstance(part, int) and part < len(tree) else None
    return tree.get(part) if isinstance(tree, dict) else None


def _model_in(hint: Any, value: Any) -> Any:
    """The part of a type that has fields: an annotated type, the model of a union; of two models, the one ``value`` fits."""
    if typing.get_origin(hint) is Annotated:
        return _model_in(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [_model_in(arg, value) for arg in typing.get_args(hint) if arg is not type(None)]
        models = [arg for arg in inner if isinstance(arg, type) and issubclass(arg, BaseModel)]
        named = isinstance(value, dict) and "name" in value
        return next(iter(sorted(models, key=lambda model: issubclass(model, Tabled) != named)), inner[0])
    return hint
