"""Which images belong together (one patient, video, city): from a pattern over ids, or from a table."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from segstudy.data.core import Dataset
from segstudy.data.tables import read_table
from segstudy.errors import DataError, listing

NO_GROUP = ("nan", "n/a", "#n/a", "none", "null", "<na>")  # how programs write an empty cell


def group_by_pattern(dataset: Dataset, pattern: str) -> Dataset:
    r"""Give every sample the group that the first bracket of ``pattern`` finds in its id.

    Parameters
    ----------
    dataset
        Its name stands in messages.
    pattern
        A regular expression, looked for anywhere in the id: ``/(\w+?)_`` finds ``aachen`` in the Cityscapes id
        ``train/aachen/aachen_000000_000019``, and ``/(\w+_\d+)_`` the sequence ``aachen_000000``.

    Raises
    ------
    DataError
        If the pattern is not a regular expression, has no bracket, or finds nothing in some id.

    """
    ids = [sample.id for sample in dataset.samples("all")]
    return _grouped(dataset, dict(zip(ids, find_groups(ids, pattern, f"data.{dataset.name}.groups"), strict=True)))


def find_groups(ids: Sequence[str], pattern: str, key: str) -> tuple[str, ...]:
    r"""Find each id's group by its pattern; ``key`` stands in messages.

    >>> find_groups(["p1_a", "p1_b", "p2_a"], r"^(p\d)_", "groups")
    ('p1', 'p1', 'p2')
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise DataError(f"{key}: '{pattern}' is not a regular expression ({error})") from None
    if expression.groups == 0:
        raise DataError(f"{key}: '{pattern}' has no bracket; put the part of the id that names the group in (...)")
    matches = [expression.search(name) for name in ids]
    groups = tuple(match[1] for match in matches if match and match[1])
    if len(groups) < len(ids):
        lost = [name for name, match in zip(ids, matches, strict=True) if not (match and match[1])]
        raise DataError(
            f"{key}: '{pattern}' finds no group in {len(lost)} of {len(ids)} image ids: {listing(lost, 3)}; "
            "change the pattern"
        )
    refuse_spellings(groups, key)
    return groups


def group_by_table(dataset: Dataset, table: Path, image_column: str, group_column: str) -> Dataset:
    """Give every sample the group that a CSV says.

    An image is named by its id, or by its file's name with or without the suffix. Rows of images that the dataset does
    not have are noted.

    Raises
    ------
    DataError
        If the table cannot be read, lacks a column, names an image twice or so that several could be meant, or leaves
        an image of the dataset out.

    """
    key = f"data.{dataset.name}.groups"
    meant: dict[str, list[str]] = {}
    for sample in dataset.samples("all"):
        for name in {sample.image.name, sample.image.stem} - {sample.id}:
            meant.setdefault(name, []).append(sample.id)
    meant |= {sample.id: [sample.id] for sample in dataset.samples("all")}
    named: dict[str, str] = {}
    foreign = list[str]()
    for number, (name, group) in enumerate(_rows(table, image_column, group_column, key), 2):
        ids = meant.get(name, [])
        if len(ids) > 1:
            raise DataError(f"{key}: {table}, line {number}: '{name}' may be {listing(ids, 3)}; write the id instead")
        if ids and ids[0] in named:
            raise DataError(f"{key}: {table}, line {number}: the image '{name}' is named twice; keep one of its rows")
        foreign += [] if ids else [name]
        named |= dict.fromkeys(ids, group)
    if lost := [sample.id for sample in dataset.samples("all") if sample.id not in named]:
        advice = "add them"
        if foreign:
            advice += (
                f", or correct the {len(foreign)} rows that name no image by id or file name: {listing(foreign, 3)}"
            )
        raise DataError(f"{key}: {table} has no row for {len(lost)} images: {listing(lost, 3)}; {advice}")
    noted = (
        replace(dataset, notes=(*dataset.notes, f"{len(foreign)} rows of {table.name} name no image"))
        if foreign
        else dataset
    )
    return _grouped(noted, named)


def _spelling(group: str) -> str:
    """Equal for names that one group may have: case, leading zeros, ``.0`` of tables, and marks but between digits do not count.

    >>> _spelling("P07"), _spelling(" p-7 "), _spelling("7.0"), _spelling("#7"), _spelling("1-2"), _spelling("12")
    ('p7', 'p7', '7', '7', '1-2', '12')
    """
    folded = unicodedata.normalize("NFKC", group).casefold().strip()
    marked = re.sub(r"[\W_]+", "-", re.sub(r"(?<=\d)\.0+$", "", folded)) or folded
    plain = re.sub(r"(?<!\d)-|-(?!\d)", "", marked) or folded
    return re.sub(r"0*(\d+)", r"\1", plain)


def refuse_spellings(groups: Iterable[str], key: str) -> None:
    """Refuse groups that differ only in spelling: one patient would count as two, and be divided among splits."""
    spelt: dict[str, set[str]] = {}
    for group in groups:
        spelt.setdefault(_spelling(group), set()).add(group)
    twice = [" and ".join(f"'{name}'" for name in sorted(names)) for names in spelt.values() if len(names) > 1]
    if twice:
        raise DataError(
            f"{key}: {len(twice)} groups are spelled in several ways: {listing(twice, 4)}; spell each in one way, for an "
            "image's group must not depend on capitals, zeros, spaces or marks"
        )


def _grouped(dataset: Dataset, named: Mapping[str, str]) -> Dataset:
    refuse_spellings(named.values(), f"data.{dataset.name}.groups")
    splits = {
        split: tuple(replace(sample, group=named[sample.id]) for sample in samples)
        for split, samples in dataset.splits.items()
    }
    return replace(dataset, splits=splits)


def _rows(table: Path, image_column: str, group_column: str, key: str) -> list[tuple[str, str]]:
    """The two columns, trimmed; an empty cell is an error that names its line."""
    columns, rows = read_table(table, lambda found: {image_column, group_column} <= set(found))
    if absent := [column for column in (image_column, group_column) if column not in columns]:
        raise DataError(f"{key}: {table} lacks the column {listing(absent)}; it has {listing(columns) or 'none'}")
    pairs = [(row[image_column].strip(), row[group_column].strip()) for row in rows]
    if empty := [number for number, pair in enumerate(pairs, 2) if not all(pair) or pair[1].lower() in NO_GROUP]:
        raise DataError(f"{key}: {table}, line {empty[0]}: names no image or no group")
    return pairs
