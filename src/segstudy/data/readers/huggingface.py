"""A Hugging Face dataset on disk, as ``save_to_disk`` writes it, through ``datasets``.

The folder holds ``dataset_dict.json`` and a folder for each split, or one split's ``state.json``. The columns of images and of
masks are found by their names, or named by options. Files' bytes lie in the Arrow files; paths elsewhere are not followed.
"""

from __future__ import annotations

import contextlib
import functools
import io
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from segstudy.data.core import Dataset, Sample
from segstudy.data.readers import Reader
from segstudy.data.readers.annotated import split_of
from segstudy.data.readers.arrays import labels_of_array
from segstudy.data.readers.numbers import found_of
from segstudy.data.readers.patterns import IMAGE_NAMES, MASK_NAMES, files_below
from segstudy.data.readers.pictures import picture_of
from segstudy.data.readers.values import ValueOptions, value_dataset
from segstudy.data.stored import StoredMask, read_mask
from segstudy.errors import DataError, listing
from segstudy.files import read_text


class Options(ValueOptions):
    """``image`` and ``mask``: the columns' names; and what the masks' values mean."""

    image: str | None = Field(None, min_length=1)
    mask: str | None = Field(None, min_length=1)


DEFAULTS = Options()
MASK_COLUMNS = (*MASK_NAMES, "semantic", "segmentation_mask", "label_image", "semantic_segmentation", "mask_image")
IMAGE_COLUMNS = (*IMAGE_NAMES, "pixel_values")


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read a dataset that ``save_to_disk`` wrote.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that ``save_to_disk`` was given.
    options
        Which columns, and what the masks' values mean; where there are no splits, fraction and seed of the division.

    Raises
    ------
    DataError
        If ``datasets`` is missing, the folder is damaged, or the columns are not clear.

    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    samples: list[tuple[Sample, str]] = []
    for split in _split_folders(root):
        role = split_of(split)
        shown = f"{role or split}/" if split else ""
        number = 0
        for path in _arrow_files(root / split):
            rows = _rows(path, path.stat().st_mtime_ns)
            samples += [(Sample(f"{shown}{number + row:06d}", path, path), role) for row in range(len(rows))]
            number += len(rows)
    if not samples:
        raise DataError(f"{root}: has no rows")
    columns = _columns(samples[0][0].image, options)
    place = _places(samples)
    image_of = partial(_image, column=columns[0], place=place)
    stored_of = partial(_stored, column=columns[1], place=place, channel=options.channel)
    return value_dataset(name, found_of(samples, [], options), options, stored_of, image_of)


def _places(samples: Sequence[tuple[Sample, str]]) -> dict[str, int]:
    """The row of each sample in its file."""
    seen: dict[Path, int] = {}
    place = {}
    for sample, _ in samples:
        place[sample.id] = seen.get(sample.image, 0)
        seen[sample.image] = place[sample.id] + 1
    return place


def _split_folders(root: Path) -> list[str]:
    """Folders of the splits; a single empty name if the folder itself is a split."""
    if (root / "dataset_dict.json").is_file():
        splits = _json(root / "dataset_dict.json").get("splits")
        if not isinstance(splits, list) or not all(
            isinstance(each, str) and Path(each).name == each for each in splits
        ):
            raise DataError(f"{root / 'dataset_dict.json'}: names no splits; save the dataset again", "annotation")
        return splits
    if (root / "state.json").is_file():
        return [""]
    advice = "write it with save_to_disk"
    if _parquet(root):
        line = f"python -c \"from datasets import load_dataset as load; load({str(root)!r}).save_to_disk('{root.name}-disk')\""
        advice = f"its Parquet files are read once this has written them again: {line}"
    raise DataError(f"{root}: holds no dataset_dict.json and no state.json; {advice}")


def _parquet(root: Path) -> list[str]:
    return [path for path in files_below(root) if path.endswith(".parquet")]


def _arrow_files(folder: Path) -> list[Path]:
    files = _json(folder / "state.json").get("_data_files")
    try:
        names = [str(each["filename"]) for each in files or []]
    except (TypeError, KeyError):
        names = []
    if not names or any(Path(name).name != name for name in names):
        raise DataError(f"{folder / 'state.json'}: names no data files; save the dataset again", "annotation")
    if missing := [name for name in names if not (folder / name).is_file()]:
        raise DataError(f"{folder}: {listing(missing)} is missing; copy the dataset again", "missing")
    return [folder / name for name in names]


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})", "annotation") from None
    return content if isinstance(content, dict) else {}


@functools.lru_cache(maxsize=256)
def _rows(path: Path, _changed: int) -> Any:
    """The rows of an Arrow file, which stays on disk; images are not decoded."""
    try:
        import datasets
    except ImportError:
        raise DataError("the reader 'huggingface' needs datasets; pip install 'segstudy[huggingface]'") from None
    try:
        rows = datasets.Dataset.from_file(str(path))
        for column, feature in rows.features.items():
            if isinstance(feature, datasets.Image):
                rows = rows.cast_column(column, datasets.Image(decode=False))
    except Exception as error:  # whatever Arrow meets in damaged bytes
        raise DataError(f"{path}: cannot be read as a data file of datasets ({error})", "unreadable") from None
    return rows


def _columns(path: Path, options: Options) -> tuple[str, str]:
    """The columns of images and of masks."""
    there = list(_rows(path, path.stat().st_mtime_ns).features)
    chosen = []
    for key, given, usual in (("image", options.image, IMAGE_COLUMNS), ("mask", options.mask, MASK_COLUMNS)):
        found = [name for name in there if name.lower() in usual] if given is None else [given]
        if len(found) != 1 or found[0] not in there:
            example = f"add {key}: NAME to the entry, one of {listing(there, 12)}"
            raise DataError(f"{path.parent}: cannot tell the column of the {key}s; {example}")
        chosen += found
    return chosen[0], chosen[1]


def _cell(sample: Sample, column: str, place: dict[str, int]) -> Any:
    """Bytes of a file, or an array."""
    rows = _rows(sample.image, sample.image.stat().st_mtime_ns)
    try:
        value = rows[place[sample.id]][column]
    except Exception as error:  # whatever Arrow meets in damaged bytes
        raise DataError(f"{sample.image}: row '{sample.id}' cannot be read ({error})", "unreadable") from None
    if isinstance(value, dict) and {"bytes", "path"} == value.keys():
        if value["bytes"] is None:
            text = f"row '{sample.id}' names a file and does not hold it; write the dataset with save_to_disk"
            raise DataError(f"{sample.image}: {text}", "missing")
        return value["bytes"]
    try:
        return np.array(value)
    except ValueError:
        raise DataError(f"{sample.image}: row '{sample.id}' holds no array in '{column}'", "unreadable") from None


def _image(sample: Sample, column: str, place: dict[str, int]) -> Image.Image:
    cell = _cell(sample, column, place)
    if isinstance(cell, np.ndarray):
        fits = cell.dtype.kind in "iu" and cell.size and cell.min() >= 0 and cell.max() <= 255
        return picture_of(cell.astype(np.uint8) if fits else cell, sample.image, None, None)
    return _Held(sample, cell).image()


def _stored(sample: Sample, column: str, place: dict[str, int], channel: str | None) -> StoredMask:
    cell = _cell(sample, column, place)
    if isinstance(cell, np.ndarray):
        return labels_of_array(cell, sample.mask)
    return read_mask(_Held(sample, cell), channel)  # type: ignore[arg-type]


class _Held:
    """The bytes of an image in place of a path, so that it can be read like a file."""

    def __init__(self, sample: Sample, content: bytes) -> None:
        self.sample, self.content = sample, content

    def open(self, mode: str) -> io.BytesIO:
        """The bytes as a file."""
        return io.BytesIO(self.content)

    def exists(self) -> bool:
        """Bytes always exist."""
        return True

    def is_file(self) -> bool:
        """Bytes are no folder, pipe or device."""
        return True

    def read_bytes(self) -> bytes:
        """The bytes."""
        return self.content

    def image(self) -> Image.Image:
        """The picture, decoded."""
        from segstudy.data.core import open_image

        return open_image(self)  # type: ignore[arg-type]

    @property
    def parent(self) -> Path:
        """Describe where the bytes are stored."""
        return self.sample.image.parent

    def __str__(self) -> str:
        return f"{self.sample.image} row '{self.sample.id}'"


def _recognise(root: Path) -> str:
    for name in ("dataset_dict.json", "state.json"):
        with contextlib.suppress(OSError):
            if (root / name).is_file():
                return f"it holds {name} of a Hugging Face dataset"
    return "it holds Parquet files" if _parquet(root) else ""


READER = Reader(Options, read, _recognise)
