"""Whether counts of two networks can be compared or pooled: same images, truth, classes and size of the masks.

Array letters: ``n`` image, ``c`` class.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from segstudy.counts.countset import CountSet
from segstudy.errors import listing
from segstudy.sizes import size_text


@dataclass(frozen=True)
class Problem:
    """Why two sides, or the seeds of one side, cannot be compared: in a few words, in detail, and what to do."""

    what: str
    detail: str = ""
    advice: str = ""

    def __str__(self) -> str:
        """All three as one error message."""
        return "\n".join(
            part for part in (f"{self.what}{':' if self.detail else ''}", self.detail, self.advice) if part
        )


def kinds(sets: Iterable[CountSet]) -> list[CountSet]:
    """One count set of each kind: those that differ in nothing that :func:`problems_of_counts` compares are of one kind."""
    found: dict[tuple[Any, ...], CountSet] = {}
    for one in sets:
        truth = one.support if one.truth is None else one.truth
        contract = one.classes, _size(one), one.ids, one.folds, one.about.data_fingerprint
        found.setdefault((*contract, one.truth is None, truth.tobytes()), one)
    return list(found.values())


def common_groups(sets: Sequence[CountSet]) -> tuple[str, ...] | None:
    """Each image's group; None without groups. Images that any of the count sets puts into one group are in one group.

    All count sets have the same images in the same order.
    """
    known = list(dict.fromkeys(one.groups for one in sets if one.groups is not None))
    if len(known) < 2:
        return known[0] if known else None
    number = len(known[0])
    places = [{label: k for k, label in enumerate(labels)} for labels in known]
    last = np.concatenate([[place[label] for label in labels] for place, labels in zip(places, known, strict=True)])
    images = np.tile(np.arange(number), len(known))
    joined = coo_array((np.ones(len(images)), (images, last)), shape=(number, number))
    return tuple(map(str, connected_components(joined, directed=False)[1]))


def problems_of_counts(a: CountSet, b: CountSet, names: tuple[str, str] | None = None) -> tuple[Problem, ...]:
    """Why counts of two networks cannot be compared or pooled; the first reason hides those that follow from it."""
    titles = names or (a.name, b.name)
    for what, differ, (ours, theirs) in (
        ("scored on masks of different sizes", _size(a) != _size(b), (_size(a), _size(b))),
        ("scored with different classes", a.classes != b.classes, _class_lists(a.classes, b.classes)),
    ):
        if differ:
            return (Problem(what, f"  {titles[0]}: {ours}\n  {titles[1]}: {theirs}", "Score both in the same way."),)
    alone = [(titles[0], set(a.ids) - set(b.ids)), (titles[1], set(b.ids) - set(a.ids))]
    if lines := [f"  {len(ids)} only in {name}: {listing(sorted(ids), 5)}" for name, ids in alone if ids]:
        return (Problem("scored on different images", "\n".join(lines), "Score both on the same images."),)
    order = sorted(a.ids)
    if problem := _other_truth(a.in_order(order), b.in_order(order), titles):
        return (problem,)
    if None not in (a.folds, b.folds) and a.in_order(order).folds != b.in_order(order).folds:
        return (
            Problem("divided into other folds", advice="Compare experiments of one study, or set split_seed alike."),
        )
    if a.ids == b.ids and files_differ(a, b):
        detail = "  image or mask files differ in content, although the images have the same names"
        advice = "Score both on the same files: delete the older evaluation and run again."
        return (Problem("scored on files that changed between the evaluations", detail, advice),)
    return ()


def files_differ(a: CountSet, b: CountSet) -> bool:
    """Whether both recorded a hash of their files, which depends on their order, and the hashes differ."""
    ours, theirs = a.about.data_fingerprint, b.about.data_fingerprint
    return None not in (ours, theirs) and ours != theirs


def _size(counted: CountSet) -> str:
    """The size at which masks were scored, in words."""
    at_input = f"the network's input size, {size_text(counted.about.input_size or 0)} px"
    return at_input if counted.about.resolution == "input" else "each mask's own size"


def _class_lists(ours: Sequence[str], theirs: Sequence[str]) -> tuple[str, str]:
    """Both lists of classes in words; where these are alike, or cut off, only the classes that differ, with their index."""
    if listing(ours, 20) != listing(theirs, 20) and max(len(ours), len(theirs)) <= 20:
        return listing(ours, 20), listing(theirs, 20)
    shared = {k for k, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one == other}
    parts = [[f"{k} {name}" for k, name in enumerate(names) if k not in shared] for names in (ours, theirs)]
    return listing(parts[0]) or "none more", listing(parts[1]) or "none more"


def _other_truth(a: CountSet, b: CountSet, names: tuple[str, str]) -> Problem | None:
    """Images whose true masks differ: by hash if both have one, otherwise by their numbers of pixels per class."""
    if a.truth is not None and b.truth is not None:
        wrong = np.flatnonzero((a.truth != b.truth).any(axis=1))
    else:
        wrong = np.flatnonzero((a.support != b.support).any(axis=1))
    if not len(wrong):
        return None
    detail = f"  in {len(wrong)} of {len(a.ids)} images: {listing([a.ids[i] for i in wrong], 5)}"
    ours, theirs = a.support, b.support
    for index in wrong[:1]:
        if len(classes := np.flatnonzero(ours[index] != theirs[index])):
            k = int(classes[0])
            detail += (
                f"\n  {a.ids[index]} has {ours[index, k]:,} pixels of {a.classes[k]} in {names[0]}, "
                f"{theirs[index, k]:,} in {names[1]}"
            )
    return Problem("scored against different true masks", detail, "Score both against the same masks.")
