"""How a dataset's samples are divided, beyond what its layout says: whole groups, equal shares of classes, folds, files.

Without groups and stratification, parts are those of scikit-learn, index for index. With them, whole groups are dealt out
one after the other, as scikit-learn's StratifiedGroupKFold does; dealing is done here because an image holds several
classes at once, which that knows not, because a fraction is not a fold, and because a split must depend on no library's
version. Whatever is drawn, is drawn from the samples in the order of their ids.

Array letters: ``n`` sample, ``u`` unit (a group, or a sample of its own), ``t`` trait, ``p`` part.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy.data.core import Dataset, Parts, Sample, divide, train_test_indices
from segstudy.errors import DataError, listing
from segstudy.files import digest, read_text, write_json
from segstudy.schema import Data

NUM_SHARE_BINS = 5  # of the foreground's share, for two classes
NUM_DEALS = 20  # of groups, of which the best is taken: groups of unequal size come out evenly only now and then

Traits = Callable[[Sequence[Sample]], NDArray[np.bool_]]  # samples -> (n, t)


def check_keys(dataset: Dataset, data: Data) -> None:
    """Refuse keys that would have no effect: their author expects another split.

    Raises
    ------
    DataError
        With the key's name and what to do.

    """
    key, given = f"data.{dataset.name}", data.model_fields_set
    if data.split_file is not None and (idle := sorted(given & {"folds", "fold", "test_fraction"})):
        raise DataError(f"{key}.{idle[0]}: has no effect with split_file, which says the splits; remove one of them")
    if data.folds is None and "fold" in given:
        raise DataError(f"{key}.fold: has no effect without folds; add folds: 5, for instance")
    if data.folds is not None and int(data.fold) >= data.folds:
        raise DataError(f"{key}.fold: {data.fold} is not one of {data.folds} folds, which are 0 to {data.folds - 1}")
    if "test_fraction" in given and data.folds is not None:
        raise DataError(f"{key}.test_fraction: has no effect with folds; remove one of them")
    if "test_fraction" in given and not dataset.by_fraction:
        raise DataError(
            f"{key}.test_fraction: the layout names the splits ({listing(dataset.splits)}); take the key out, or divide "
            "again with folds"
        )


def redraw(dataset: Dataset, data: Data, traits: Traits | None) -> Dataset:
    """Divide ``dataset`` again where the entry's keys ask for folds, or for groups or stratification of a drawn split.

    Parameters
    ----------
    dataset
        As its reader gave it, with its groups.
    data
        The study's entry.
    traits
        What is to be shared out equally; None without stratification.

    Raises
    ------
    DataError
        With the key's name, if the samples cannot be divided so.

    """
    pool, key = dataset.samples("all"), f"data.{dataset.name}"
    if data.folds is not None:
        train, test = take_fold(pool, data.folds, int(data.fold), data.split_seed, traits, key)
    elif dataset.by_fraction and (_in_groups(pool) or traits is not None):
        train, test = hold_out(pool, data.test_fraction, data.split_seed, traits, f"{key}.test_fraction")
    else:
        return dataset
    return replace(dataset, splits={"train": train, "test": test}, by_fraction=True)


def hold_out(samples: Sequence[Sample], fraction: float, seed: int, traits: Traits | None, key: str) -> Parts:
    """Divide ``samples`` into (kept, held out), the latter being about ``fraction`` of them; no group is divided.

    Without groups the number held out is exactly that of scikit-learn's ``train_test_split``, and without traits so are
    the samples. ``key`` names the fraction in messages.

    Raises
    ------
    DataError
        If whole groups come nowhere near the fraction: if one of the parts is off by more than half.

    """
    if traits is None and not _in_groups(samples):
        return divide(samples, fraction, seed)
    kept, held_out = train_test_indices(len(samples), fraction, seed)
    asked = (len(kept), len(held_out))
    pool = sorted(samples)
    place_n = deal(pool, asked, seed, traits)
    parts = _part(pool, place_n, 0), _part(pool, place_n, 1)
    if any(abs(len(part) - size) > size / 2 for part, size in zip(parts, asked, strict=True)):
        sizes = [len(unit) for unit in _units(pool)]
        raise DataError(
            f"{key}: {fraction} of {len(pool)} images is {asked[1]}, but the closest that whole groups come is {len(parts[1])} "
            f"({len(sizes)} groups of {min(sizes)} to {max(sizes)} images); use another fraction or finer groups"
        )
    return parts


def take_fold(samples: Sequence[Sample], folds: int, fold: int, seed: int, traits: Traits | None, key: str) -> Parts:
    """Divide ``samples`` into ``folds`` parts and give (all others, part ``fold``); no group is divided.

    Without groups and traits the parts are those of scikit-learn's ``KFold(folds, shuffle=True, random_state=seed)`` over
    the sorted ids. ``key`` names the dataset's entry in messages.

    Raises
    ------
    DataError
        If there are fewer groups than folds, or a group is larger than a fold.

    """
    pool = sorted(samples)
    units = _units(pool)
    if len(units) < folds:
        things = "groups" if _in_groups(pool) else "images"
        raise DataError(f"{key}.folds: {len(units)} {things} cannot fill {folds} folds; use fewer folds")
    sizes = [len(part) for part in np.array_split(np.arange(len(pool)), folds)]
    largest = max(units, key=len)
    if len(largest) > sizes[0]:
        raise DataError(
            f"{key}.groups: the group '{pool[largest[0]].group}' has {len(largest)} images, more than one of {folds} folds "
            f"holds ({sizes[0]}); use fewer folds or finer groups"
        )
    if traits is None and not _in_groups(pool):
        place_n = np.empty(len(pool), np.intp)
        place_n[np.random.RandomState(seed).permutation(len(pool))] = np.repeat(np.arange(folds), sizes)
    else:
        place_n = deal(pool, sizes, seed, traits)
    return tuple(s for s, at in zip(pool, place_n, strict=True) if at != fold), _part(pool, place_n, fold)


def deal(samples: Sequence[Sample], sizes: Sequence[int], seed: int, traits: Traits | None) -> NDArray[np.intp]:
    """Say for each sample in which part it goes: whole groups, parts near ``sizes``, traits shared out in proportion.

    Units come in random order, those with the rarest trait first. Each goes to the part that it fits in and that so far
    has least of its traits, measured by what the part is to have in the end; the size of the unit itself plays no role, so
    that large groups have their chance to be tested. With groups this is done several times, and the deal is taken whose
    numbers of samples with each trait have the least chi-square from those expected.

    Parameters
    ----------
    samples
        In an order that does not depend on how they are divided now.
    sizes
        How many samples each part should have, one or more; they sum to the number of samples. Without groups it is what it gets.
    seed
        Of NumPy's legacy generator, whose stream is fixed for ever.
    traits
        What samples have, or not; None deals by size alone.

    Returns
    -------
    ndarray
        The part's index of each sample (n,).

    Source: order and proportion as Sechidis et al., "On the Stratification of Multi-Label Data", ECML PKDD 2011.

    """
    units = _units(samples)
    ones_n1 = np.ones((len(samples), 1), np.int64)
    traits_nt = ones_n1 if traits is None else np.hstack([ones_n1, traits(samples).astype(np.int64)])
    counts_ut = np.stack([traits_nt[unit].sum(axis=0) for unit in units])
    counts_ut = counts_ut[:, counts_ut.any(axis=0)]
    sizes_p = np.asarray(sizes, np.int64)
    rng = np.random.RandomState(seed)
    deals = [_deal_once(counts_ut, sizes_p, rng) for _ in range(NUM_DEALS if len(units) < len(samples) else 1)]
    _, place_u = min(deals, key=lambda each: each[0])
    place_n = np.empty(len(samples), np.intp)
    for unit, part in zip(units, place_u, strict=True):
        place_n[unit] = part
    return place_n


def _deal_once(
    counts_ut: NDArray[np.int64], sizes_p: NDArray[np.int64], rng: np.random.RandomState
) -> tuple[float, NDArray[np.intp]]:
    """Chi-square and each unit's part. The first trait is to be a sample at all."""
    totals_t = counts_ut.sum(axis=0)
    expected_pt = sizes_p[:, None] * totals_t / sizes_p.sum()
    weight_pt = np.rint(2**24 / expected_pt).astype(np.int64)  # integers, so that ties are broken alike everywhere
    rarest_u = np.where(counts_ut > 0, totals_t, totals_t[0]).min(axis=1)
    order, parts = rng.permutation(len(counts_ut)), rng.permutation(len(sizes_p))  # of equal parts, the first
    found_pt = np.zeros(expected_pt.shape, np.int64)
    place_u = np.empty(len(counts_ut), np.intp)
    for unit in order[np.argsort(rarest_u[order], kind="stable")]:
        own_t = counts_ut[unit]
        room_p = sizes_p - found_pt[:, 0] - own_t[0]
        if (room_p >= 0).any():
            had_p = np.where(room_p >= 0, (own_t * found_pt * weight_pt).sum(axis=1), np.iinfo(np.int64).max)
        else:
            had_p = -room_p
        part = parts[had_p[parts].argmin()]
        found_pt[part] += own_t
        place_u[unit] = part
    return round(float(((found_pt - expected_pt) ** 2 / expected_pt).sum()), 6), place_u


def class_traits(dataset: Dataset, memo: dict[str, str], samples: Sequence[Sample]) -> NDArray[np.bool_]:
    """What stratification shares out: the classes that are in an image; of two classes, the bin of foreground's share.

    Parameters
    ----------
    dataset
        Gives classes and labels.
    memo
        Remembers counts of labels from call to call, as :func:`~segstudy.data.core.file_digest` does hashes.
    samples
        Their quintiles are the bins.

    Returns
    -------
    ndarray
        (n, t): a column for each class, or for each of five bins.

    """
    counts = label_counts(dataset, samples, memo)
    if len(dataset.classes) > 2:
        return counts > 0
    share = counts[:, 1] / np.maximum(counts.sum(axis=1), 1)
    edges = np.quantile(share, np.arange(1, NUM_SHARE_BINS) / NUM_SHARE_BINS)
    bins_nt: NDArray[np.bool_] = np.searchsorted(edges, share)[:, None] == np.arange(NUM_SHARE_BINS)
    return bins_nt


def label_counts(dataset: Dataset, samples: Sequence[Sample], memo: dict[str, str]) -> NDArray[np.int64]:
    """Pixels of each class in each mask, (n, classes), ignored pixels left out; ``memo`` remembers those of known files.

    Raises
    ------
    DataError
        Naming up to ten masks that cannot be read.

    """
    reading = digest({"labels": dataset.reading, "classes": list(dataset.classes)})

    def count(sample: Sample) -> str:
        try:
            stats = [path.stat() for path in (sample.mask, *sample.parts)]
            times = "|".join(f"{stat.st_size}|{stat.st_mtime_ns}" for stat in stats)
            key = f"labels|{reading}|{sample.id}|{sample.mask}|{times}"
            if key not in memo:
                counts = np.bincount(dataset.labels_of(sample).ravel(), minlength=256)[: len(dataset.classes)]
                memo[key] = " ".join(map(str, counts.tolist()))
        except OSError as error:
            return f"{sample.mask}: cannot be read ({error.strerror})"
        except DataError as error:
            return str(error)
        return memo[key]

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(count, samples))
    if problems := [text for text in found if not text.replace(" ", "").isdigit()]:
        more = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError(f"data.{dataset.name}.stratify needs every mask:\n" + "\n".join(problems[:10]) + more)
    return np.array([text.split() for text in found], np.int64)


def split_hash(dataset: Dataset) -> str:
    """Hash of the ids in each split, 16 hex digits: equal exactly when the same images stand in splits of the same names.

    Neither the order of the images nor the dataset's name nor where it lies counts.
    """
    return _hash({split: [sample.id for sample in samples] for split, samples in dataset.splits.items()})


def write_split(path: Path, dataset: Dataset) -> None:
    """Write which images stand in which split, the holdout included, as JSON: ``name``, ``hash``, ``splits``.

    Raises
    ------
    StoreError
        If ``path`` cannot be written.

    """
    ids = {split: [sample.id for sample in samples] for split, samples in dataset.splits.items()}
    write_json(path, {"name": dataset.name, "hash": split_hash(dataset), "splits": ids})


def read_split(path: Path, dataset: Dataset) -> Dataset:
    """Give ``dataset`` the splits of a file that :func:`write_split` wrote, in the file's order.

    Raises
    ------
    DataError
        If the file is not a split, was changed since it was written, or names other images than the dataset has.

    """
    where = f"data.{dataset.name}.split_file: {path}"
    ids = _read_ids(path, where)
    known = {sample.id: sample for sample in dataset.samples("all")}
    named = [sample_id for part in ids.values() for sample_id in part]
    problems = []
    if absent := [sample_id for sample_id in named if sample_id not in known]:
        problems.append(f"{len(absent)} images that it names are not in the dataset: {listing(absent, 5)}")
    if left_over := sorted(known.keys() - set(named)):
        problems.append(f"{len(left_over)} images of the dataset are not in it: {listing(left_over, 5)}")
    if problems:
        raise DataError(f"{where}: " + "\n".join(problems) + "\nUse the files that the split was made of.")
    splits = {split: tuple(known[sample_id] for sample_id in part) for split, part in ids.items()}
    return replace(dataset, splits=splits, by_fraction=False)


def groups_across_splits(dataset: Dataset) -> dict[str, dict[str, int]]:
    """Groups with images in more than one split: group -> split -> number of its images there, sorted by group.

    Empty where no group is divided, and where the study names no groups.
    """
    counts: dict[str, dict[str, int]] = {}
    for split, samples in dataset.splits.items():
        for sample in samples:
            if sample.group:
                own = counts.setdefault(sample.group, {})
                own[split] = own.get(split, 0) + 1
    return {group: counts[group] for group in sorted(counts) if len(counts[group]) > 1}


def _in_groups(samples: Sequence[Sample]) -> bool:
    return any(sample.group for sample in samples)


def _units(samples: Sequence[Sample]) -> list[list[int]]:
    """Indices of the samples that stay together, in the order of the first of each."""
    units: dict[str, list[int]] = {}
    for index, sample in enumerate(samples):
        units.setdefault(sample.group or f"\0{sample.id}", []).append(index)
    return list(units.values())


def _part(samples: Sequence[Sample], place_n: NDArray[np.intp], part: int) -> tuple[Sample, ...]:
    return tuple(sample for sample, at in zip(samples, place_n, strict=True) if at == part)


def _hash(ids: Mapping[str, Sequence[str]]) -> str:
    return digest({split: sorted(part) for split, part in ids.items()})


def _read_ids(path: Path, where: str) -> dict[str, list[str]]:
    """Ids by split of a split file that is whole."""
    try:
        content: Any = json.loads(read_text(path))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{where}: cannot be read as JSON ({error})") from None
    ids = content.get("splits") if isinstance(content, dict) else None
    if not isinstance(ids, dict) or not all(_is_id_list(part) for part in ids.values()):
        raise DataError(f"{where}: is not a split; segstudy check STUDY --write-split FILE writes one")
    named = Counter(sample_id for part in ids.values() for sample_id in part)
    if repeated := [sample_id for sample_id, times in named.items() if times > 1]:
        raise DataError(f"{where}: names {len(repeated)} images twice: {listing(repeated, 5)}")
    if content.get("hash") != _hash(ids):
        raise DataError(
            f"{where}: its ids have the hash {_hash(ids)}, but it says {content.get('hash')}, so it was changed since it was "
            "written; fetch it again from where it came"
        )
    return ids


def _is_id_list(part: object) -> bool:
    return isinstance(part, list) and bool(part) and all(isinstance(each, str) for each in part)
