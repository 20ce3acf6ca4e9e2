"""Pool the runs of an experiment over all folds: each image counts once, by the network that was not trained on it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from segstudy.counts.countset import CountSet
from segstudy.errors import StoreError
from segstudy.files import digest
from segstudy.folds import ALL_FOLDS, fold_of, pooled_split, whole
from segstudy.guard import other_weights
from segstudy.records import RunRecord


def pool(parts: Sequence[CountSet]) -> CountSet:
    """One count set of the folds of one experiment under one seed, each fold scored by its own network.

    Parameters
    ----------
    parts
        A count set for each fold, in order.

    Returns
    -------
    CountSet
        All images, with the fold of each; only the counts that all folds hold.

    Raises
    ------
    StoreError
        If the folds have other classes, or an image is tested in two of them.

    """
    first = parts[0]
    name, ids = whole(first.experiment), [image for part in parts for image in part.ids]
    if any(part.classes != first.classes for part in parts) or len(set(ids)) < len(ids):
        raise StoreError(
            f"{name}/seed{first.seed}: its folds were scored on data that changed in between; run again with --replace"
        )
    prints = [part.about.data_fingerprint for part in parts]
    about = first.about.model_copy(
        update={
            "experiment": name,
            "train_data": whole(str(first.about.train_data)),
            "test_data": whole(str(first.about.test_data)),
            "split": pooled_split(len(parts)),
            "selected_on": _without_fold(first.about.selected_on),
            "data_fingerprint": None if None in prints else digest({"folds": prints}),
            "weights_sha256": None,
        }
    )
    kept = [key for key in first.counts if all(key in part.counts for part in parts)]
    groups = [part.groups for part in parts if part.groups is not None]
    truths = [part.truth for part in parts if part.truth is not None]
    return CountSet(
        f"{name}/seed{first.seed}",
        {key: np.concatenate([part.counts[key] for part in parts]) for key in kept},
        tuple(ids),
        about,
        tuple(label for part in groups for label in part) if len(groups) == len(parts) else None,
        np.concatenate(truths) if len(truths) == len(parts) else None,
        _record(parts),
        tuple(fold_of(part.experiment) or 0 for part in parts for _ in part.ids),
    )


def other_origin(
    first: RunRecord, first_sets: Sequence[CountSet], other: RunRecord, other_sets: Sequence[CountSet]
) -> str:
    """The reason why the scores of two seeds of an experiment cannot be pooled; empty if they can."""
    if other_weights(first.weights_sha256, other.weights_sha256):
        return "began with other weights"
    one, two = first.data_fingerprints or {}, other.data_fingerprints or {}
    pairs = [(one[role], two[role]) for role in one.keys() & two.keys()]
    pairs += [(was, other.readings.get(name, was)) for name, was in first.readings.items()]
    if first.classes and other.classes:
        pairs.append((str(first.classes), str(other.classes)))
    known = {each.about.test_data: each.about for each in first_sets}
    for now in (each.about for each in other_sets):
        was = known.get(now.test_data, now)
        both = ((was.data_fingerprint, now.data_fingerprint), (was.reading, now.reading))
        pairs += [(a, b) for a, b in both if a is not None and b is not None]
    return "rests on other data, or another reading of the masks," if any(a != b for a, b in pairs) else ""


def _record(parts: Sequence[CountSet]) -> RunRecord | None:
    """One record of all folds: settings of the first, hashes of the data of all."""
    records = [part.record for part in parts if part.record is not None]
    if len(records) < len(parts):
        return None
    first, split = records[0], pooled_split(len(parts))
    named = {"data.name": whole(str(first.values["data.name"]))} if "data.name" in first.values else {}
    prints = [record.data_fingerprints or {} for record in records]
    hashes = {role: digest({"folds": [each.get(role) for each in prints]}) for role in prints[0]}
    sizes = {name: number for name, number in first.splits.items() if name != first.roles.report}
    return first.model_copy(
        update={
            "experiment": whole(first.experiment),
            "values": {**first.values, **named, "data.fold": ALL_FOLDS},
            "roles": first.roles.model_copy(update={"report": split}),
            "splits": {**sizes, split: sum(len(part.ids) for part in parts)},
            "data_fingerprints": hashes or None,
        }
    )


def _without_fold(place: str | None) -> str | None:
    """``kvasir@fold0/holdout`` as ``kvasir/holdout``."""
    dataset, slash, split = (place or "").partition("/")
    return f"{whole(dataset)}{slash}{split}" if place else place
