"""Recognise folders in which an image has several mask files, one for each class or object, by the files' names."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from segstudy.data.core import IMAGE_SUFFIXES, open_image
from segstudy.data.readers.patterns import (
    IMAGE_NAMES,
    MASK_NAMES,
    MAX_FILES,
    SPLIT_OF,
    UNLIKELY,
    files_below,
    looks_like_masks,
)
from segstudy.errors import DataError

FOREGROUND = "foreground"
FEWEST_CLASSES, MOST_CLASSES = 2, 60
NO_CLASSES = {
    *("labelids", "labeltrainids", "trainids", "polygons", "edge", "depth", "overlay", "ids", "train_id", "id"),
    *("manual", "observer", "expert", "annotator", "reader", "rater", "original", "fov"),  # masks by several people
    *MASK_NAMES,
    *IMAGE_NAMES,
    *SPLIT_OF,
}
NUM_MEASURED = 20  # images, whose masks' areas say which classes are small
CUT = re.compile(r"[ _.\-]+")

Tails = Mapping[str, Mapping[str, str]]  # by image: file of each tail of a name


def propose_several(root: Path) -> dict[str, Any]:
    """``images`` and ``masks`` for folders with several mask files for an image; empty for all others."""
    files = [path for path in files_below(root)[:MAX_FILES] if path.lower().endswith(IMAGE_SUFFIXES)]
    return (
        _folder_of_each(files)
        or _files_of_each(root, files)
        or _folder_of_class(root, files)
        or _by_tails(root, files)
        or _by_heads(root, files)
    )


def _folder_of_each(files: Sequence[str]) -> dict[str, Any]:
    """A folder for each image, with one folder for it and one for its masks."""
    found: dict[str, dict[str, dict[str, list[str]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for path in files:
        if path.count("/") > 1:
            above, folder, _ = path.rsplit("/", 2)
            base, _, key = above.rpartition("/")
            found[base][key][folder].append(path)
    for base, keys in sorted(found.items()):
        pairs = Counter(
            (image, mask)
            for folders in keys.values()
            for image in folders
            for mask in folders
            if image.lower() in IMAGE_NAMES and mask.lower() in MASK_NAMES and len(folders[image]) == 1
        )
        for (image, mask), number in pairs.items():
            masks = [path for folders in keys.values() for path in folders.get(mask, [])]
            if number > 1 and len(masks) > number and 2 * number > len(keys):
                start = f"{base}/{{id}}" if base else "{id}"
                own = [path for folders in keys.values() for path in folders.get(image, [])]
                return {
                    "images": f"{start}/{image}/*{_suffix(own)}",
                    "masks": {FOREGROUND: f"{start}/{mask}/*{_suffix(masks)}"},
                }
    return {}


def _files_of_each(root: Path, files: Sequence[str]) -> dict[str, Any]:
    """A folder for each image, with its file and one for each class, such as ``7/image.png`` and ``7/cat.png``."""
    by_folder: dict[str, dict[str, str]] = defaultdict(dict)
    for path in files:
        by_folder[path.rpartition("/")[0]][PurePosixPath(path).stem] = path
    first = next((stem for own in by_folder.values() for stem in own if stem.lower() in IMAGE_NAMES), "")
    whole = {folder: own for folder, own in by_folder.items() if folder and first in own and len(own) > 1}
    tails = {own[first]: {stem: path for stem, path in own.items() if stem != first} for own in whole.values()}
    names = Counter(stem for own in tails.values() for stem in own)
    places = {folder.rpartition("/")[0] for folder in whole}
    if len(whole) < len(by_folder) or len(whole) < 2 or len(places) > 1 or not all(map(_is_class, names)):
        return {}
    if not FEWEST_CLASSES <= len(names) <= MOST_CLASSES or min(names.values()) < 2:
        return {}
    start = "/".join(filter(None, [places.pop(), "{id}"]))
    suffix = {stem: _suffix([own[stem] for own in tails.values() if stem in own]) for stem in names}
    ordered = _largest_first(root, tails, names)
    return {
        "images": f"{start}/{first}{_suffix(list(tails))}",
        "masks": {stem: f"{start}/{stem}{suffix[stem]}" for stem in ordered},
    }


def _by_heads(root: Path, files: Sequence[str]) -> dict[str, Any]:
    """Masks whose names are a class and their image's, such as ``cat_7.png``, in a folder of masks."""
    masks = [path for path in files if looks_like_masks(path.rpartition("/")[0])]
    images = {PurePosixPath(path).stem: path for path in files if path not in set(masks)}
    tails: dict[str, dict[str, str]] = defaultdict(dict)
    for path in masks:
        stem = PurePosixPath(path).stem
        cut = next((match.end() for match in CUT.finditer(stem) if stem[match.end() :] in images), 0)
        if not cut:
            return {}
        tails[images[stem[cut:]]][stem[:cut]] = path
    names = Counter(head for own in tails.values() for head in own)
    if not FEWEST_CLASSES <= len(names) <= MOST_CLASSES or min(names.values()) < 2 or len(tails) < 2:
        return {}
    if not all(_is_class(head.strip(" _.-")) for head in names) or 2 * len(tails) < len(images):
        return {}
    folder, above = (_joined([path.rpartition("/")[0] for path in paths]) for paths in (list(tails), masks))
    suffix = _suffix(masks)
    ordered = _largest_first(root, tails, names)
    return {
        "images": f"{folder}{{id}}{_suffix(list(tails))}",
        "masks": {head.strip(" _.-"): f"{above}{head}{{id}}{suffix}" for head in ordered},
    }


def _folder_of_class(root: Path, files: Sequence[str]) -> dict[str, Any]:
    """A folder for each class below one of masks, with files of the images' names."""
    by_folder: dict[str, dict[str, str]] = defaultdict(dict)
    for path in files:
        by_folder[path.rpartition("/")[0]][PurePosixPath(path).stem] = path
    above: dict[str, list[str]] = defaultdict(list)
    for folder in by_folder:
        parent = folder.rpartition("/")[0]
        if looks_like_masks(parent.rpartition("/")[2]):
            above[parent].append(folder)
    for parent, folders in sorted(above.items()):
        names = [folder.rpartition("/")[2] for folder in folders]
        if not FEWEST_CLASSES <= len(folders) <= MOST_CLASSES or not all(map(_is_class, names)):
            continue
        of = {
            stem: sum(stem in by_folder[folder] for folder in folders)
            for folder in folders
            for stem in by_folder[folder]
        }
        images = [f for f in by_folder if not f.startswith(f"{parent}/") and set(of) <= set(by_folder[f])]
        if len(images) == 1 and sum(number > 1 for number in of.values()) > 1:
            tails = {
                path: {n: by_folder[f][stem] for n, f in zip(names, folders, strict=True) if stem in by_folder[f]}
                for stem, path in by_folder[images[0]].items()
            }
            ordered = _largest_first(root, tails, Counter(names))
            suffix = _suffix([path for folder in folders for path in by_folder[folder].values()])
            start = f"{images[0]}/" if images[0] else ""
            return {
                "images": f"{start}*{_suffix(list(by_folder[images[0]].values()))}",
                "masks": {name: f"{parent}/{name}/{{stem}}{suffix}" for name in ordered},
            }
    return {}


def _is_class(name: str) -> bool:
    """Whether a part of a name may be that of a class: it has letters, and says nothing of who or what made the mask."""
    words = {word.lower() for word in (*CUT.split(name), name)}
    numbered = any(re.match(r"\d+(st|nd|rd|th)|.*\d", word) for word in words)
    return not words & (NO_CLASSES | UNLIKELY) and not numbered and any(letter.isalpha() for letter in name)


def _by_tails(root: Path, files: Sequence[str]) -> dict[str, Any]:
    """Masks whose names are their image's and something more: a class, or a number for each object."""
    tails, padded = _tails(files)
    many = [path for path, own in tails.items() if len(own) > 1]
    if len(tails) < 2 or not many:
        return {}
    stem = f"{{id:0{padded}}}" if padded else "{id}"
    images = f"{_joined([path.rpartition('/')[0] for path in tails])}{{id}}{_suffix(list(tails))}"
    names = Counter(tail for own in tails.values() for tail in own)
    bare = {re.sub(r"[ _.\-]*\d*$", "", tail) for tail in names}
    masks = [path for own in tails.values() for path in own.values()]
    if len(bare) == 1:
        mark = bare.pop()
        if not (
            looks_like_masks(mark.strip(" _.-")) or all(looks_like_masks(path.rpartition("/")[0]) for path in masks)
        ):
            return {}
        cut = "" if mark else _only_cut(tails)
        folder = _joined([path.rpartition("/")[0] for path in masks])
        return {"images": images, "masks": {FOREGROUND: f"{folder}{stem}{mark or cut}*{_suffix(masks)}"}}
    if not FEWEST_CLASSES <= len(names) <= MOST_CLASSES or min(names.values()) < 2:
        return {}
    if not all(_is_class(tail.strip(" _.-")) for tail in names):
        return {}
    patterns = {}
    for tail in _largest_first(root, tails, names):
        own = [each[tail] for each in tails.values() if tail in each]
        folder = _joined([path.rpartition("/")[0] for path in own])
        patterns[tail.strip(" _.-")] = f"{folder}{stem}{tail}{_suffix(own)}"
    return {"images": images, "masks": patterns} if len(patterns) == len(names) else {}


def _tails(files: Sequence[str]) -> tuple[Tails, int]:
    """Files by image and by what their name has after the image's; and to how many digits numbers are filled up."""
    stems: dict[str, str] = {}
    for path in files:
        stem = PurePosixPath(path).stem
        if stem in stems:
            return {}, 0  # names say nothing by themselves
        stems[stem] = path
    found: dict[str, dict[str, str]] = defaultdict(dict)
    widths = set()
    for stem, path in stems.items():
        for cut in (match.start() for match in CUT.finditer(stem)):  # the shortest name that is an image's
            start = stem[:cut]
            plain = str(int(start)) if start.isdecimal() else start
            if cut and (image := stems.get(start) or stems.get(plain)) not in (None, path):
                assert image is not None
                found[image][stem[cut:]] = path
                widths |= {len(start)} if image != stems.get(start) else set()
                break
    taken = {path for own in found.values() for path in own.values()}
    return {image: own for image, own in found.items() if image not in taken}, max(widths, default=0)


def _only_cut(tails: Tails) -> str:
    cuts = {tail[: len(tail) - len(tail.lstrip(" _.-"))] for own in tails.values() for tail in own}
    return cuts.pop() if len(cuts) == 1 else "*"


def _largest_first(root: Path, tails: Tails, names: Counter[str]) -> list[str]:
    """Classes by falling mean area, so that what is small comes to lie over what is large; measured in a few images."""
    areas: dict[str, list[float]] = {name: [] for name in sorted(names)}
    for own in list(tails.values())[:NUM_MEASURED]:
        for name, path in own.items():
            try:
                image = open_image(root / path)
            except DataError:
                continue
            areas[name].append(float((np.asarray(image.convert("RGB")).max(axis=2) > 0).mean()))
    return sorted(areas, key=lambda name: -float(np.mean(areas[name] or [0])))


def _suffix(paths: Sequence[str]) -> str:
    found = {PurePosixPath(path).suffix for path in paths}
    return found.pop() if len(found) == 1 else ".*"


def _joined(folders: Sequence[str]) -> str:
    """One pattern for folders: what differs is the split, where these words say so, or an asterisk."""
    split = [folder.split("/") for folder in sorted(set(folders))]
    if len({len(parts) for parts in split}) > 1:
        return "**/"
    joined = [_word(sorted(set(words))) for words in zip(*split, strict=True)]
    text = "/".join(joined)
    return f"{text}/" if text else ""


def _word(words: Sequence[str]) -> str:
    """One pattern for names of folders."""
    if len(words) == 1:
        return words[0]
    tokens = [re.split(r"([ _.\-])", word) for word in words]
    if len({len(each) for each in tokens}) > 1:
        return "*"
    parts = []
    for each in zip(*tokens, strict=True):
        differ = sorted(set(each))
        named = all(word.lower() in SPLIT_OF for word in differ)
        parts.append(differ[0] if len(differ) == 1 else "{split}" if named else "*")
    return "".join(parts)
