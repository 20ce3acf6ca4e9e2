"""Several mask files for each image: one for each class, or one for each object.

``masks: {hair: "anno/*/{id:05}_hair.png", skin: "anno/*/{id:05}_skin.png"}`` names the files of each class; of an image, all that
fit belong to it. Classes later in this order lie over earlier ones. A class of which an image has no file has no pixel there.
Each file holds two values, and what is black in it is not of the class.
"""

from __future__ import annotations

import bisect
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from segstudy.arrays import Labels
from segstudy.data.core import IGNORE, IMAGE_SUFFIXES, Dataset, Sample
from segstudy.data.declared import IGNORE_NAME
from segstudy.data.encoding import shown_in
from segstudy.data.quality.faults import Fault
from segstudy.data.quality.pairing import bare_name, hidden_images
from segstudy.data.readers.patterns import (
    as_patterns,
    files_below,
    filled,
    fixed_folder,
    pattern_regex,
    placeholder_values,
    strange_images,
)
from segstudy.data.readers.values import Found, ImageOf, default_palette, resized_labels
from segstudy.data.stored import StoredMask
from segstudy.errors import DataError, listing

BACKGROUND = "background"
Files = Mapping[str, Sequence[tuple[str, Path]]]  # by sample id: class and file, in the order of drawing


@dataclass(frozen=True)
class Several:
    """Images with the files of their masks: samples with their splits, files by sample id, and faults and notes."""

    samples: list[tuple[Sample, str]]
    files: Files
    faults: list[Fault]
    notes: list[str]


def find_several(root: Path, images: str, masks: Mapping[str, str]) -> Several:
    """Find images, and of each the files of every class.

    Raises
    ------
    DataError
        For patterns that cannot be filled, and where no image has a file.

    """
    both = {name: as_patterns(images, pattern) for name, pattern in masks.items()}
    images, masks = next(iter(both.values()))[0], {name: pattern for name, (_, pattern) in both.items()}
    files = files_below(root)
    pictures = _Index([path for path in files if path.lower().endswith(IMAGE_SUFFIXES)])
    regex, fixed = pattern_regex(images), fixed_folder(images)
    wanted: dict[str, dict[str, str]] = {}
    found: dict[str, list[tuple[str, str]]] = {}
    for path in pictures.paths:
        if (match := regex.fullmatch(path)) is not None:
            wanted[path] = values = placeholder_values(path, match.groupdict(), fixed, IMAGE_SUFFIXES)
            found[path] = [(name, each) for name, mask in masks.items() for each in pictures.fitting(mask, values)]
    taken = {mask for path, each in found.items() for _, mask in each if mask != path}
    found = {path: each for path, each in found.items() if path not in taken}
    samples: list[tuple[Sample, str]] = []
    parts: dict[str, list[tuple[str, Path]]] = {}
    faults = strange_images(root, files, set(found) | taken, IMAGE_SUFFIXES) + hidden_images(root)
    for path, each in found.items():
        key = bare_name(path)
        if key in parts:
            text = "has the name of another image but for the suffix; keep one of the two"
            faults.append(Fault("same-name", text, root / path, sample=key))
        elif not each:
            text = f"no file of a mask such as '{filled(next(iter(masks.values())), wanted[path])}'"
            text += "; add the masks, or a black one if the image shows none of the classes, or move the image away"
            faults.append(Fault("image-without-mask", text, root / path, sample=key))
        else:
            own = [root / mask for _, mask in each]
            parts[key] = [(name, root / mask) for name, mask in each]
            samples.append((Sample(key, root / path, own[0], parts=tuple(own[1:])), wanted[path].get("split", "")))
    if not samples:
        what = f"{len(found)} images fit images: '{images}'" if found else f"no image fits images: '{images}'"
        held = f"; it holds {listing(files, 4)}" if files else ""
        raise DataError(f"{root}: {what}, none has a mask by masks: {dict(masks)}{held}")
    return Several(samples, parts, faults, _missing(masks, parts))


def _missing(masks: Mapping[str, str], parts: Files) -> list[str]:
    """A note for each class of which images have no file."""
    notes = []
    for name in masks:
        number = sum(name not in {each for each, _ in own} for own in parts.values())
        if number:
            notes.append(f"{number} of {len(parts)} images have no file of '{name}', and so no pixel of it")
    return notes


class _Index:
    """Files by folder and by name, to find those that a filled pattern names."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.paths = paths
        self.exact = set(paths)
        self.folders: dict[str, list[str]] = defaultdict(list)
        for path in paths:
            self.folders[path.rpartition("/")[0]].append(path)
        self.by_name = sorted((path.rpartition("/")[2], path) for path in paths)

    def fitting(self, template: str, values: Mapping[str, str]) -> list[str]:
        """All files that fit, sorted."""
        path = filled(template, values)
        if not re.search(r"[*?]", path):
            return [path] if path in self.exact else []
        folder, _, name = path.rpartition("/")
        start = re.split(r"[*?]", name)[0]
        if not re.search(r"[*?]", folder):
            near = self.folders.get(folder, [])
        else:
            first, last = (bisect.bisect_left(self.by_name, (text,)) for text in (start, f"{start}\U0010ffff"))
            near = [each for _, each in self.by_name[first:last]]
        regex = _regex(path)
        return sorted(each for each in near if regex.fullmatch(each))


def _regex(path: str) -> re.Pattern[str]:
    tokens = re.findall(r"\*\*/|[*?]|[^*?]+", path)
    by_token = {"**/": "(?:.*/)?", "*": "[^/]*", "?": "[^/]"}
    return re.compile("".join(by_token.get(token, re.escape(token)) for token in tokens))


def dataset_of_several(
    name: str,
    found: Found,
    files: Files,
    masks: Mapping[str, str],
    stored_of: Callable[[Path], StoredMask],
    image_of: ImageOf,
    threshold: float | None = None,
    resized: bool = False,
) -> Dataset:
    """A dataset of images with several mask files each.

    Parameters
    ----------
    name
        What the study calls the dataset.
    found
        Its samples in their splits.
    files
        The class and the file of each mask, by sample id.
    masks
        The pattern of each class, later ones over earlier ones.
    stored_of, image_of
        How a file of a mask, and a sample's image, are read.
    threshold
        What is brighter is of the class, where files hold more than two values.
    resized
        Whether masks take their image's size.

    """
    classes = (BACKGROUND, *(each for each in masks if each not in (BACKGROUND, IGNORE_NAME)))
    label_of = {each: label for label, each in enumerate(classes)} | {IGNORE_NAME: IGNORE}

    def labels_of(sample: Sample) -> Labels:
        labels: Labels | None = None
        for title, path in files[sample.id]:
            shown = shown_in(stored_of(path), threshold)
            if labels is None:
                labels = np.zeros(shown.shape, np.uint8)
            if shown.shape != labels.shape:
                text = f"{path}: is {shown.shape[1]}x{shown.shape[0]}, and {sample.mask.name} of the same image "
                raise DataError(f"{text}{labels.shape[1]}x{labels.shape[0]}; make them the same size", "size-mismatch")
            labels[shown] = label_of[title]
        assert labels is not None
        return labels

    return Dataset(
        name,
        classes,
        default_palette(len(classes)),
        found.splits,
        partial(resized_labels, labels_of=labels_of, image_of=image_of) if resized else labels_of,
        notes=tuple(found.notes),
        by_fraction=found.by_fraction,
        faults=tuple(found.faults),
        image_of=image_of,
    )
