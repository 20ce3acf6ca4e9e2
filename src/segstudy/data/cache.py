"""Decode and resize each image once, into arrays on disk that every later epoch and run reads.

Array letters: ``n`` image, ``h`` height, ``w`` width, ``c`` colour channel.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from segstudy.data.core import Dataset, Labels, Sample, fingerprint, load_pair
from segstudy.errors import DataError
from segstudy.progress import Progress
from segstudy.store import Store, building, write_json

# Raised whenever the same files would give other arrays than before.
CACHE_VERSION = 1


class Rows:
    """A ``uint8`` array in a ``.npy`` file whose rows are read when they are asked for.

    The file is read, not mapped: mapped pages count as this process's memory, so that a large cache would look like a
    leak, and reading a mapped file that has been cut off kills the process instead of raising an error.
    """

    def __init__(self, path: Path) -> None:
        mapped = np.load(path, mmap_mode="r")
        self.path, self.shape, self.offset = path, mapped.shape, mapped.offset
        assert mapped.dtype == np.uint8 and mapped.flags.c_contiguous

    def __getitem__(self, indices: NDArray[np.intp]) -> NDArray[np.uint8]:
        """Rows at ``indices``, in that order."""
        rows = np.empty((len(indices), *self.shape[1:]), np.uint8)
        stride = math.prod(self.shape[1:])
        with self.path.open("rb", buffering=0) as file:
            for row, index in zip(rows, indices, strict=True):
                file.seek(self.offset + int(index) * stride)
                if file.readinto(row.reshape(-1).data) != stride:
                    raise DataError(f"{self.path}: is shorter than it should be; delete the folder and run again")
        return rows


@dataclass(frozen=True)
class CachedSplit:
    """One split of a dataset at the network's input size.

    ``images_nhwc`` is ``uint8`` RGB (n, size, size, 3), ``labels_nhw`` is ``uint8`` (n, size, size), both in the
    order of ``samples``. ``fingerprint`` is equal exactly when the files are.
    """

    dataset: Dataset
    split: str
    samples: tuple[Sample, ...]
    images_nhwc: Rows
    labels_nhw: Rows
    fingerprint: str

    def __len__(self) -> int:
        return len(self.samples)


def resize_pair(image: Image.Image, labels: Labels, size: int) -> tuple[NDArray[np.uint8], Labels]:
    """Bring a pair to ``size`` x ``size`` as the review does: Pillow's bilinear for images, nearest for labels."""
    small = image.resize((size, size), Image.Resampling.BILINEAR)
    small_labels = Image.fromarray(labels).resize((size, size), Image.Resampling.NEAREST)
    return np.asarray(small, dtype=np.uint8), np.asarray(small_labels, dtype=np.uint8)


def remembered_fingerprint(samples: Sequence[Sample], store: Store) -> str:
    """Hash of the samples' files; files of unchanged size and time are not read again."""
    memo = store.read_memo()
    known = len(memo)
    content = fingerprint(samples, memo)
    if len(memo) > known:
        store.write_memo(memo)
    return content


def open_cache(dataset: Dataset, split: str, size: int, store: Store, progress: Progress) -> CachedSplit:
    """Open a split's arrays, building them first if the store has none for exactly these files and settings.

    Safe when several processes build at once and when one is killed half-way: arrays appear whole or not at all.

    Raises
    ------
    DataError
        Naming every image or mask that cannot be used.

    """
    samples = dataset.samples(split)
    content = remembered_fingerprint(samples, store)
    key = json.dumps([CACHE_VERSION, content, size, dataset.classes, dataset.reading])
    folder = store.cache / f"{dataset.name}-{split}-{size}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"
    if not folder.is_dir():
        with building(folder) as temporary:
            if temporary is not None:
                _build(
                    dataset, samples, size, temporary, progress.task(f"Reading {dataset.name} {split}", len(samples))
                )
    return CachedSplit(dataset, split, samples, Rows(folder / "images.npy"), Rows(folder / "labels.npy"), content)


def _build(dataset: Dataset, samples: Sequence[Sample], size: int, folder: Path, progress: Progress) -> None:
    shape = (len(samples), size, size)
    images = np.lib.format.open_memmap(folder / "images.npy", "w+", np.uint8, (*shape, 3))
    labels = np.lib.format.open_memmap(folder / "labels.npy", "w+", np.uint8, shape)

    def fill(index: int) -> str | None:
        try:
            images[index], labels[index] = resize_pair(*load_pair(dataset, samples[index]), size)
        except DataError as error:
            return str(error)
        finally:
            progress.advance()
        return None

    # Pillow decodes and resizes outside the interpreter lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        problems = [problem for problem in pool.map(fill, range(len(samples))) if problem]
    if problems:
        more = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError(
            f"{len(problems)} of {len(samples)} samples of dataset '{dataset.name}' cannot be used:\n"
            + "\n".join(problems[:10])
            + more
        )
    images.flush()
    labels.flush()
    write_json(folder / "samples.json", [sample.id for sample in samples])
