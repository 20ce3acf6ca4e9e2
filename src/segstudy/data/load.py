"""From a study's ``data`` entry to a :class:`~segstudy.data.core.Dataset`: find the folder, call the reader."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from segstudy.arrays import Labels
from segstudy.data.core import IGNORE, Dataset, Roles, Sample, assign_roles
from segstudy.data.readers import READERS
from segstudy.data.scenes import synthetic
from segstudy.data.splitting.groups import group_by_pattern, group_by_table
from segstudy.data.splitting.splits import check_keys, class_traits, hold_out, read_split, redraw
from segstudy.doors import calling
from segstudy.errors import DataError, listing
from segstudy.schema import Data
from segstudy.spec import find_path
from segstudy.store import Store
from segstudy.study import Protocol


def load_dataset(
    name: str,
    data: Data,
    protocol: Protocol,
    data_root: Path | None,
    study_folder: str,
    store: Store,
    trains: bool = True,
) -> tuple[Dataset, Roles]:
    """Read a dataset, divide it according to the entry and assign roles to its splits.

    Synthetic scenes are drawn first, into ``store``, which also caches what stratification reads from the masks.
    ``trains`` says whether any experiment trains on it; a target of cross-evaluations needs no training split.

    Raises
    ------
    DataError
        With the dataset, the problem, and its place.

    """
    find = partial(find_path, data_root=data_root, study_folder=study_folder)
    undivided = load_undivided(name, data, data_root, study_folder, store)
    return divide_as_asked(undivided, data, protocol, find, store, trains)


def load_undivided(name: str, data: Data, data_root: Path | None, study_folder: str, store: Store) -> Dataset:
    """Read a dataset with the splits of its reader, without the entry's groups and splits."""
    if data.synthetic is None:
        root = find_path(data.root, f"data.{name}.root", data_root, study_folder)
    else:
        root = _inside(store.data, data.root, name)
        settings = data.synthetic.model_dump(exclude_none=True)
        write_synthetic(name, data.reader, root, settings)
    dataset = read_dataset(name, root, data, study_folder)
    options = json.dumps({"reader": data.reader, **data.own_options()})
    return replace(dataset, reading=f"{options} {dataset.reading}")


def _inside(folder: Path, root: str, name: str) -> Path:
    """Where scenes are drawn: below the store's own folder, whatever the entry says."""
    place = folder / root
    if not place.resolve().is_relative_to(folder.resolve()) or place.resolve() == folder.resolve():
        raise DataError(
            f"data.{name}.root: '{root}' leads out of the output folder, where synthetic scenes are drawn; give a plain name, "
            "such as scenes"
        )
    return place


def divide_as_asked(
    dataset: Dataset,
    data: Data,
    protocol: Protocol,
    find: Callable[[str, str], Path],
    store: Store,
    trains: bool = True,
) -> tuple[Dataset, Roles]:
    """Apply the entry's keys for groups and splits to the dataset of the reader."""
    key = f"data.{dataset.name}"
    check_keys(dataset, data)
    if isinstance(data.groups, str):
        dataset = group_by_pattern(dataset, data.groups)
    elif data.groups is not None:
        table = find(data.groups.file, f"{key}.groups.file")
        dataset = group_by_table(dataset, table, data.groups.image, data.groups.group)
    memo = store.read_memo() if data.stratify else {}
    num_known = len(memo)
    traits = partial(class_traits, dataset, memo) if data.stratify else None
    if data.split_file is not None:
        divided = read_split(find(data.split_file, f"{key}.split_file"), dataset)
    else:
        divided = redraw(dataset, data, traits)
    held_out = partial(
        hold_out,
        fraction=data.holdout_fraction,
        seed=data.split_seed,
        traits=traits,
        key=f"{key}.holdout_fraction",
    )
    used, roles = assign_roles(divided, protocol, data.report, held_out, trains)
    if data.stratify and not divided.by_fraction and used.splits == divided.splits:
        used = replace(used, notes=(*used.notes, "stratify has no effect, because no split is drawn"))
    if len(memo) > num_known:
        store.write_memo(memo)
    return used, roles


def write_synthetic(name: str, reader: str, root: Path, settings: dict[str, Any]) -> None:
    """Draw the scenes of one dataset, unless they exist."""
    if reader not in synthetic.SCENES:
        raise DataError(f"data.{name}.synthetic: there are no synthetic scenes in the layout of '{reader}'")
    settings["size"] = tuple(settings["size"])
    try:
        synthetic.SCENES[reader](root, **settings)
    except TypeError as error:
        raise DataError(f"data.{name}.synthetic: {error}") from None


def read_dataset(name: str, root: Path, data: Data, study_folder: str = "") -> Dataset:
    """Call the entry's reader with the entry's options.

    Raises
    ------
    DataError
        The error of the reader, or the failure of a user's reader.

    """
    reader = READERS.find(data.reader, study_folder)
    if data.reader in READERS.table:
        known: Dataset = reader.read(name, root, data)
        return known
    what = f"data.{name}: the reader '{data.reader}'"
    with calling(what, kind=DataError):
        dataset = reader.read(name, root, data)
    if not isinstance(dataset, Dataset):
        raise DataError(f"{what} returned {type(dataset).__name__}; it must return a segstudy.data.core.Dataset")
    checked = partial(_labels_of, dataset, f"{what}, labels_of"), partial(_image_of, dataset, f"{what}, image_of")
    return replace(dataset, labels_of=checked[0], image_of=checked[1])


def _labels_of(dataset: Dataset, what: str, sample: Sample) -> Labels:
    """Labels from a reader of the user's own, which may return anything."""
    with calling(what, str(sample.mask), DataError):
        labels = dataset.labels_of(sample)
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype != np.uint8:
        given = f"{labels.dtype} {labels.shape}" if isinstance(labels, np.ndarray) else type(labels).__name__
        raise DataError(f"{what}: returned {given} for {sample.mask}; it must return a uint8 array (height, width)")
    number = len(dataset.classes)
    if strange := np.unique(labels[(labels >= number) & (labels != IGNORE)]).tolist():
        raise DataError(
            f"{what}: returned the labels {listing(strange)} for {sample.mask}; must be 0 to {number - 1}, or {IGNORE} to ignore"
        )
    return labels


def _image_of(dataset: Dataset, what: str, sample: Sample) -> Image.Image:
    """An image from a reader of the user's own, which may return anything."""
    with calling(what, str(sample.image), DataError):
        image = dataset.image_of(sample)
    if not isinstance(image, Image.Image):
        raise DataError(f"{what}: returned {type(image).__name__} for {sample.image}; it must return a PIL.Image.Image")
    return image
