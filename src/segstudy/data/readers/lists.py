"""Lists that say in which split images stand: ``train.txt``, ``val.txt``, ``test.txt``, a name a line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from segstudy.data.core import Sample
from segstudy.data.quality.faults import Fault
from segstudy.data.readers.patterns import SPLIT_NAMES, SPLIT_OF, files_below
from segstudy.data.readers.values import Found
from segstudy.errors import DataError, listing
from segstudy.files import read_text

LISTS, MAX_LISTS, MAX_BYTES = (".txt", ".csv", ".lst", ".tsv"), 50, 2**22
PLACES = "train.txt, val.txt and test.txt, here or in splits/, a name a line"


def find_lists(root: Path) -> dict[str, Path]:
    """The list of each split, in the root or in ``splits/``."""
    found = {}
    for split, aliases in SPLIT_NAMES.items():
        paths = [folder / f"{alias}.txt" for folder in (root, root / "splits") for alias in aliases]
        there = [path for path in paths if path.is_file()]
        if len(there) > 1:
            raise DataError(f"{root}: several lists for '{split}': {listing(there)}; keep one")
        if there:
            found[split] = there[0]
    return found


def listed(samples: Iterable[Sample], images: dict[str, Path], lists: dict[str, Path]) -> Found:
    """Divide samples by list files; every unknown, repeated or shared name is a fault."""
    by_stem = {sample.id: sample for sample in samples}
    stem_of = {path.name: stem for stem, path in images.items()} | {stem: stem for stem in images}
    place: dict[str, str] = {}
    splits: dict[str, list[Sample]] = {split: [] for split in lists}
    faults = []
    for split, path in lists.items():
        for number, entry in enumerate(_lines(path), 1):
            stem = stem_of.get(entry, "")
            if entry and not stem:
                text = f"line {number}: '{entry}' is no image in images/; correct the name or take the line out"
                faults.append(Fault("table", text, path, split))
            elif stem in place:
                text = f"line {number}: '{entry}' already stands in {place[stem]}; take one of the two lines out"
                faults.append(Fault("table", text, path, split, stem))
            elif stem:
                place[stem] = f"{path.name}, line {number}"
                splits[split] += [by_stem[stem]] if stem in by_stem else []  # else it has no mask, a fault already
        if not splits[split]:
            faults.append(Fault("table", "names no image; list some or delete the file", path, split))
    unlisted = sorted(by_stem.keys() - place.keys())
    if unlisted:
        text = f"{len(unlisted)} images stand in no list and are left out: {listing(unlisted, 3)}; add them to a list"
        faults.append(Fault("left-out", text, next(iter(lists.values())), severity="warning"))
    return Found({split: tuple(part) for split, part in splits.items() if part}, faults=faults)


def unread_lists(
    root: Path, lists: Mapping[str, Path], samples: Sequence[Sample], places_read: str = PLACES
) -> list[Fault]:
    """A warning of each text or table that lists images and is no list of a split, as ``dev.txt`` or ``train.csv``."""
    known = {name for sample in samples for name in (sample.id, sample.image.name, sample.image.stem)}
    faults = []
    places = [path for path in files_below(root) if path.lower().endswith(LISTS) and path.count("/") <= 2]
    for path in (root / place for place in places[:MAX_LISTS]):
        beside = path.suffix.lower() in (".txt", ".lst") and path.parent in {each.parent for each in lists.values()}
        if path in lists.values() or not (beside or path.stem.lower() in SPLIT_OF) or path.stat().st_size > MAX_BYTES:
            continue
        with contextlib.suppress(DataError):
            words = [re.split(r"[\s,;]+", line)[0].rpartition("/")[2] for line in _lines(path) if line]
            named = len(known.intersection(words))
            if named and 2 * named >= len(words):
                text = f"names {named} images and is not read; lists of splits are {places_read}"
                faults.append(Fault("left-out", text, path, severity="warning"))
    return faults


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in read_text(path).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
