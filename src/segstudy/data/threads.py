"""Work over many files in threads: decoding runs outside the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import cv2

Item = TypeVar("Item")
Result = TypeVar("Result")


def over_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
    """Results in the order of ``items``, each as soon as it is there; an interruption does not wait for the rest."""
    pool = ThreadPoolExecutor(os.cpu_count())
    own = cv2.getNumThreads()
    cv2.setNumThreads(1)  # further threads for each picture would wait for one another
    try:
        yield from pool.map(function, items)
    finally:
        pool.shutdown(cancel_futures=True)
        cv2.setNumThreads(own)


def in_threads(function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
    """All results in the order of ``items``.

    >>> in_threads(abs, [-2, 1])
    [2, 1]
    """
    return list(over_threads(function, items))
