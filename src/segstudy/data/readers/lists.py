"""Lists that say in which split images stand: ``train.txt``, ``val.txt``, ``test.txt``, an image a line.

Capitals in their names do not count, and they may end in ``.lst`` or ``.list``. A line is an image's name, with or without suffix
and folders, and may name its mask in a second column.
"""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from segstudy.data.core import Sample
from segstudy.data.quality.faults import Fault
from segstudy.data.readers.patterns import SPLIT_NAMES, SPLIT_OF, files_below
from segstudy.data.readers.values import Found
from segstudy.data.tables import reason_of, text_of
from segstudy.errors import DataError, listing

ENDS = (".txt", ".lst", ".list")
LISTS, MAX_LISTS, MAX_BYTES = (*ENDS, ".csv", ".tsv"), 50, 2**22
PLACES = "train.txt, val.txt and test.txt, here or in splits/, a name a line"


def find_lists(root: Path, folder: str | None = None) -> dict[str, Path]:
    """The list of each split, in ``folder``, or if none is given in the root or in ``splits/``."""
    places = [root, root / "splits"] if folder is None else [root / folder]
    files = [path for place in places if place.is_dir() for path in sorted(place.iterdir())]
    found = {}
    for split in SPLIT_NAMES:
        there = [path for path in files if path.suffix.lower() in ENDS and SPLIT_OF.get(path.stem.lower()) == split]
        there = [path for path in there if path.is_file()]
        if len(there) > 1:
            raise DataError(f"{root}: several lists for '{split}': {listing(there)}; keep one")
        if there:
            found[split] = there[0]
    if folder is not None and not found:
        raise DataError(
            f"{root / folder}: holds no list of a split; lists: names a folder with train.txt, val.txt or test.txt"
        )
    return found


def lists_folder(root: Path) -> str | None:
    """The one folder, other than those that are read anyway, that holds lists of two splits or more."""
    files = [path for path in files_below(root) if path.lower().endswith(ENDS) and 1 <= path.count("/") <= 2]
    splits: dict[str, set[str]] = {}
    for path in map(PurePosixPath, files):
        if path.stem.lower() in SPLIT_OF and str(path.parent) != "splits":
            splits.setdefault(str(path.parent), set()).add(SPLIT_OF[path.stem.lower()])
    found = [folder for folder, own in splits.items() if len(own) > 1 and "train" in own]
    return found[0] if len(found) == 1 else None


class _Images:
    """Images by every name that a list may give them."""

    def __init__(self, images: Mapping[str, Path]) -> None:
        self.keys_of: dict[str, set[str]] = {}
        for key, path in images.items():
            for name in {key, path.name, path.stem, f"{key}{path.suffix}"}:
                self.keys_of.setdefault(name, set()).add(key)

    def find(self, entry: str) -> tuple[str, ...]:
        """The keys of images that a name with or without folders may mean; the longest part of it that fits counts."""
        parts = PurePosixPath(entry.replace("\\", "/")).parts
        tails = ["/".join(parts[k:]) for k in range(len(parts))]
        return next((tuple(sorted(self.keys_of[tail])) for tail in tails if tail in self.keys_of), ())


def listed(samples: Iterable[Sample], images: dict[str, Path], lists: dict[str, Path]) -> Found:
    """Divide samples by list files; every unknown, repeated or shared name is a fault, and so is another mask."""
    by_stem = {sample.id: sample for sample in samples}
    known = _Images(images)
    place: dict[str, str] = {}
    splits: dict[str, list[Sample]] = {split: [] for split in lists}
    faults = []
    for split, path in lists.items():
        for number, entry in enumerate(_lines(path), 1):
            if not entry:
                continue
            stem, wrong = _read_line(entry, known, by_stem)
            if not wrong and stem in place:
                wrong = f"'{entry}' already stands in {place[stem]}; take one of the two lines out"
            if wrong:
                faults.append(Fault("table", f"line {number}: {wrong}", path, split, stem))
                continue
            place[stem] = f"{path.name}, line {number}"
            splits[split] += [by_stem[stem]] if stem in by_stem else []  # else it has no mask, a fault already
        if not splits[split]:
            faults.append(Fault("table", "names no image; list some or delete the file", path, split))
    unlisted = sorted(by_stem.keys() - place.keys())
    if unlisted:
        text = f"{len(unlisted)} images stand in no list and are left out: {listing(unlisted, 3)}; add them to a list"
        faults.append(Fault("left-out", text, next(iter(lists.values())), severity="warning"))
    return Found({split: tuple(part) for split, part in splits.items() if part}, faults=faults)


def _read_line(entry: str, known: _Images, samples: Mapping[str, Sample]) -> tuple[str, str]:
    """The key of the image that a line names, and what is wrong with the line."""
    columns = re.split(r"[\s,;]+", entry)
    if entry in known.keys_of or len(columns) != 2 or not known.find(columns[0]):
        columns = [entry, ""]  # names and folders may have blanks
    image, mask = columns
    found = known.find(image)
    if not found:
        return "", f"'{entry}' is not an image in images/; correct the name or remove the line"
    if len(found) > 1:
        return "", f"'{image}' may be {listing(found, 3)}; write the folder too"
    sample = samples.get(found[0])
    if mask and sample is not None and PurePosixPath(mask).stem != sample.mask.stem:
        text = f"'{mask}' in the second column is not the mask that '{image}' has by its name, {sample.mask.name}"
        return found[0], f"{text}; pair them by names that agree, or by the patterns images: and masks:"
    return found[0], ""


def unread_lists(
    root: Path, lists: Mapping[str, Path], samples: Sequence[Sample], places_read: str = PLACES
) -> list[Fault]:
    """A warning of each text or table that lists images and is not a list of a split, as ``dev.txt`` or ``train.csv``."""
    known = {name: sample.id for sample in samples for name in (sample.image.stem, sample.image.name, sample.id)}
    faults = []
    places = [path for path in files_below(root) if path.lower().endswith(LISTS) and path.count("/") <= 2]
    for path in (root / place for place in places[:MAX_LISTS]):
        divides = not SPLIT_OF.keys().isdisjoint(re.split(r"[^a-z]+|set|list|ids", path.stem.lower()))
        if path in lists.values() or path.stat().st_size > MAX_BYTES:
            continue
        with contextlib.suppress(DataError):
            words = [
                re.split(r"[\s,;]+", line.strip('"'))[0].strip('"').rpartition("/")[2] for line in _lines(path) if line
            ]
            named = {known[word] for word in words if word in known}
            some = path.suffix.lower() in ENDS and len(named) < len(samples)  # a list of all divides nothing
            if named and 2 * len(named) >= len(words) and (divides or some):
                text = f"names {len(named)} images and is not read; lists of splits are {places_read}"
                if places_read == PLACES and path.suffix.lower() in ENDS and path.stem.lower() in SPLIT_OF:
                    text += f", or in the folder that `lists: {path.parent.relative_to(root).as_posix()}` names"
                faults.append(Fault("left-out", text, path, severity="warning"))
    return [*faults, *_unread_json(root, known, places_read)]


def _unread_json(root: Path, known: Mapping[str, str], places_read: str) -> list[Fault]:
    """A warning of each JSON that names images by split, as ``splits.json``; of those that segstudy writes, an entry says so."""
    faults = []
    for path in [
        root / place for place in files_below(root) if place.lower().endswith(".json") and place.count("/") <= 1
    ][:MAX_LISTS]:
        with contextlib.suppress(OSError, ValueError, RecursionError):
            content = json.loads(text_of(path)) if path.stat().st_size <= MAX_BYTES else None
            parts = (
                {key: part for key, part in content.items() if SPLIT_OF.get(key.lower())}
                if isinstance(content, dict)
                else {}
            )
            names = [
                PurePosixPath(name).name for part in parts.values() if isinstance(part, list) for name in map(str, part)
            ]
            if len(parts) > 1 and 2 * len(named := {known[name] for name in names if name in known}) >= len(names) > 0:
                text = f"names {len(named)} images and is not read; lists of splits are {places_read}"
                faults.append(Fault("left-out", text, path, severity="warning"))
    return faults


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in text_of(path).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({reason_of(error)})") from None
