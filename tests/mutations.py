"""Damage to files for fuzzing: bytes changed anywhere, or one value of a JSON tree replaced by what does not belong there."""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from segstudy.errors import SegstudyError

Made = TypeVar("Made")
TIMES = int(os.environ.get("SEGSTUDY_FUZZ", "1"))  # as many inputs as by default, times this
ODD: tuple[Any, ...] = (
    None,
    -1,
    0,
    10**12,
    1e308,
    float("nan"),
    "",
    "x",
    "../x",
    [],
    [[]],
    {},
    True,
    [1, "a"],
    {"a": None},
)


def mutated(content: bytes, rng: np.random.Generator) -> bytes:
    """A few bytes changed, a piece taken out or doubled, or the end cut off."""
    data = bytearray(content)
    for _ in range(int(rng.integers(1, 5))):
        place = int(rng.integers(len(data)))
        data[place] = int(rng.integers(256))
    start, length = int(rng.integers(len(data))), int(rng.integers(1, 9))
    kind = int(rng.integers(4))
    if kind == 1:
        del data[start : start + length]
    elif kind == 2:
        data[start:start] = data[start : start + length]
    elif kind == 3:
        del data[max(start, 1) :]
    return bytes(data)


def mutated_json(content: bytes, rng: np.random.Generator) -> bytes:
    """One value anywhere in the tree replaced, taken out, or its key renamed."""
    tree = copy.deepcopy(json.loads(content))
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key, value in list(node.items() if isinstance(node, dict) else enumerate(node)):
            places.append((node, key))
            if isinstance(value, dict | list):
                collect(value)

    collect(tree)
    node, key = places[int(rng.integers(len(places)))]
    kind = int(rng.integers(4))
    if kind == 0:
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        node[f"{key}_"] = node.pop(key)
    else:
        node[key] = ODD[int(rng.integers(len(ODD)))]
    return json.dumps(tree).encode()


def attempt(read: Callable[[], Made]) -> tuple[Made | None, str]:
    """What is read, or the message of its refusal; any other exception fails the test."""
    try:
        return read(), ""
    except SegstudyError as error:
        return None, str(error)
