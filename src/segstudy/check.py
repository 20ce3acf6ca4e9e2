"""Read every image and mask that a study uses, and say everything that is wrong with them at once."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from segstudy.data.core import IGNORE, Dataset, Sample, load_pair
from segstudy.errors import SegstudyError
from segstudy.launch import Workshop


def check_datasets(workshop: Workshop, problems: Sequence[str]) -> tuple[list[dict[str, Any]], list[str]]:
    """Decode every sample of the study's datasets.

    Parameters
    ----------
    workshop
        Gives the datasets.
    problems
        What is known already; a dataset that cannot be listed at all stands there.

    Returns
    -------
    tuple
        A card for each dataset (splits, classes, share of pixels by class), and every problem, the known ones first.

    """
    cards, found = [], list(problems)
    for name in workshop.study.data:
        try:
            dataset, _ = workshop.dataset(name)
        except SegstudyError as error:
            found += [line for line in str(error).split("\n") if line not in found]
            continue
        samples = dataset.samples("all")
        workshop.progress.task(f"checking {name}", len(samples))
        pixels = np.zeros(256, np.int64)
        for counts, problem in _examine(workshop, dataset, samples):
            pixels += counts
            found += [problem] if problem else []
        cards.append(_card(dataset, pixels))
    return cards, found


def _examine(workshop: Workshop, dataset: Dataset, samples: Sequence[Sample]) -> list[tuple[Any, str | None]]:
    def one(sample: Sample) -> tuple[Any, str | None]:
        try:
            _, labels = load_pair(dataset, sample)
            return np.bincount(labels.ravel(), minlength=256), None
        except SegstudyError as error:
            return np.zeros(256, np.int64), str(error)
        finally:
            workshop.progress.advance()

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(one, samples))


def _card(dataset: Dataset, pixels: Any) -> dict[str, Any]:
    total = max(int(pixels.sum()), 1)
    share = {name: float(pixels[k] / total) for k, name in enumerate(dataset.classes)}
    return {
        "dataset": dataset.name,
        "splits": {split: len(samples) for split, samples in dataset.splits.items()},
        "classes": list(dataset.classes),
        "pixel_share": share | {"(ignored)": float(pixels[IGNORE] / total)},
        "notes": list(dataset.notes),
    }
