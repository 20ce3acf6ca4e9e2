"""Shared by readers of annotation files: options, images by name, classes, and the drawing of objects.

Objects are drawn in the order of the file, later ones over earlier, on background. Titles such as ``ignore`` are left out.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np
from pydantic import Field

from segstudy.arrays import Labels
from segstudy.data.core import IGNORE, IMAGE_SUFFIXES, Dataset, Sample, divide
from segstudy.data.declared import IGNORE_NAME
from segstudy.data.quality.faults import Fault, as_one_warning, refuse
from segstudy.data.quality.pairing import hidden_images
from segstudy.data.readers.patterns import SPLIT_NAMES, SPLIT_OF, files_below
from segstudy.data.readers.shapes import Size, Stencil, checked_size
from segstudy.data.readers.values import default_palette
from segstudy.errors import DataError, listing, nearest
from segstudy.files import read_text
from segstudy.schema import ReaderOptions

MAX_TITLES = 254
MAX_JSON_BYTES = 2 * 2**30
BACKGROUND_TITLES = ("background", "_background_", "__background__")
IGNORED_TITLES = ("ignore", "__ignore__", "_ignore_", "void")
MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, RecursionError, MemoryError)


class AnnotationOptions(ReaderOptions):
    """Which objects count.

    ``classes`` names the titles that are classes, in the order of their labels from 1; objects of other titles are left
    out, so that their pixels are background. As a table of titles and classes it joins several titles in one class; the
    class ``ignore`` leaves pixels out. ``ignore`` names titles whose pixels are ignored. ``skip`` names kinds of
    objects that cover no known pixels, such as ``line`` and ``point``, and are left out; without it they are errors. With
    ``missing: left-out``, so are images that an annotation names and that are not there.
    """

    classes: list[str] | dict[str, str] | None = Field(None, min_length=1, max_length=MAX_TITLES)
    ignore: list[str] = Field([])
    skip: list[str] = Field([])
    missing: Literal["left-out"] | None = None


DEFAULTS = AnnotationOptions()


@dataclass(frozen=True)
class Thing:
    """One object: its title, its kind of shape, and the function that draws it (None if the kind covers no pixels)."""

    title: str
    kind: str
    draw: Callable[[Size], Stencil] | None


@dataclass(frozen=True)
class Drawing:
    """Annotations of one image: its size (width, height), and its objects in drawing order."""

    size: tuple[Any, Any]
    things: Sequence[Thing]


@dataclass
class Listed:
    """Samples in order, each with its split (empty if none is named), and faults and notes."""

    samples: list[tuple[Sample, str]] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ids = {sample.id for sample, _ in self.samples}

    def add(self, sample: Sample, split: str) -> bool:
        """Add a sample; a second one with the same id is a fault and is not added."""
        if sample.id in self.ids:
            text = f"the image '{sample.id}' is annotated twice; keep one of the two"
            self.faults.append(Fault("table", text, sample.mask, split, sample.id))
            return False
        self.ids.add(sample.id)
        self.samples.append((sample, split))
        return True


class Pictures:
    """Image files below a folder, looked up by the names in annotation files; no other file is opened."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.named: set[str] = set()
        self.by_stem: dict[str, list[str]] = defaultdict(list)
        for path in files_below(root):
            if PurePosixPath(path).suffix.lower() in IMAGE_SUFFIXES:
                self.by_stem[PurePosixPath(path).stem].append(path)

    def find(self, name: object, near: Path | None = None, words: Iterable[str] = ()) -> Path | None:
        """The file that ``name`` means, whatever folders stand before it; ``near`` and ``words`` decide among several.

        Raises
        ------
        DataError
            If several files may be meant.

        """
        wanted = PurePosixPath(str(name).replace("\\", "/")).parts[-6:]
        if not wanted:
            return None
        exact = [path for path in self.by_stem.get(PurePosixPath(wanted[-1]).stem, []) if path.endswith(wanted[-1])]
        found = exact or (self.by_stem.get(wanted[-1], []) if not PurePosixPath(wanted[-1]).suffix else [])
        if len(found) > 1:
            expected = near.relative_to(self.root).as_posix() if near else ""
            marks = set(words)
            scores = [
                (_tail(path, wanted), PurePosixPath(path).parent.as_posix() == expected, len(marks & words_of(path)))
                for path in found
            ]
            found = [path for path, score in zip(found, scores, strict=True) if score == max(scores)]
        if len(found) > 1:
            raise DataError(
                f"{self.root}: '{name}' may be {listing(found, 3)}; keep one, or name the folder of one as root"
            )
        if not found:
            return None
        self.named.add(found[0])
        return self.root / found[0]

    def beside(self, file: Path) -> Path | None:
        """The image in an annotation file's folder that has its name."""
        folder = file.parent.relative_to(self.root).as_posix()
        near = [path for path in self.by_stem.get(file.stem, []) if PurePosixPath(path).parent.as_posix() == folder]
        return self.root / near[0] if near else None

    def left(self) -> list[str]:
        """Images that no annotation named."""
        return [path for paths in self.by_stem.values() for path in paths if path not in self.named]


def words_of(path: str) -> set[str]:
    """Lower-case words in a path: ``instances_train2017.json`` has ``instances``, ``train`` and ``json``."""
    return set(re.findall(r"[a-z]+", path.lower()))


def split_of(path: str) -> str:
    """The split that a path names, or an empty string if it names none or several."""
    found = {SPLIT_OF[word] for word in words_of(path) if word in SPLIT_OF}
    return found.pop() if len(found) == 1 else ""


def _tail(path: str, wanted: Sequence[str]) -> int:
    """Number of trailing parts that two paths share."""
    parts = PurePosixPath(path).parts
    number = 0
    while number < min(len(parts), len(wanted)) and parts[-1 - number] == wanted[-1 - number]:
        number += 1
    return number


def load_json(path: Path) -> Any:
    """The content of a JSON file; a broken or huge one is a :class:`DataError`."""
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise DataError(f"{path}: has more than 2 GB; divide it", "annotation")
        return json.loads(read_text(path))
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing", "missing") from None
    except (OSError, ValueError, RecursionError, MemoryError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({error})", "annotation") from None


def sample_of(root: Path, image: Path, mask: Path) -> Sample:
    """A sample whose id is the image's path below ``root`` without suffix."""
    return Sample(image.relative_to(root).with_suffix("").as_posix(), image, mask)


def reason(error: BaseException) -> str:
    """Describe what is malformed."""
    return f"{error} is missing" if isinstance(error, KeyError) else str(error) or type(error).__name__


def annotation_dataset(
    name: str,
    root: Path,
    listed: Listed,
    titles: Sequence[str],
    drawing_of: Callable[[Sample], Drawing],
    options: AnnotationOptions,
    pictures: Pictures | None = None,
) -> Dataset:
    """A dataset of images whose objects are drawn.

    Parameters
    ----------
    name, root
        What the study calls the dataset, and its folder.
    listed
        Samples, their splits, and faults.
    titles
        Every title that objects may have, in the order of labels.
    drawing_of
        What is to be drawn of a sample.
    options
        Which titles count, and how images without splits are divided.
    pictures
        Images that were found; those that nothing names are left out and said.

    Raises
    ------
    DataError
        If there is no sample, or no class is clear.

    """
    faults, notes = list(listed.faults), list(listed.notes)
    if options.missing is not None:
        faults = as_one_warning(root, faults, "missing", "images that annotations name are missing")
    if not listed.samples:
        refuse(f"{root}: no image has an annotation", faults)
        raise DataError("; ".join([f"{root}: no image has an annotation", *notes]))
    faults += hidden_images(root)
    if pictures is not None and (left := pictures.left()):
        text = f"{len(left)} images are named in no annotation and are left out: {listing(left, 3)}"
        faults.append(Fault("left-out", f"{text}; move them away if that is right", root, severity="warning"))
    label_of, names = _labels_of_titles(root, titles, options)
    if others := [title for title in titles if title not in label_of]:
        notes.append(f"objects of {len(others)} titles are background: {listing(others)}")

    def labels_of(sample: Sample) -> Labels:
        return drawn(drawing_of(sample), label_of, set(titles), options.skip, sample)

    splits, by_fraction, unplaced = splits_of(listed.samples, options)
    return Dataset(
        name,
        ("background", *names),
        default_palette(len(names) + 1),
        splits,
        labels_of,
        notes=tuple(notes),
        reading=str(sorted(label_of.items())),
        by_fraction=by_fraction,
        faults=(*faults, *unplaced),
    )


def splits_of(
    samples: Sequence[tuple[Sample, str]], options: ReaderOptions
) -> tuple[dict[str, tuple[Sample, ...]], bool, list[Fault]]:
    """Samples by the split that each names; divided by fraction where none names one, or all train.

    Where train and another split are named, samples that name none are left out. Otherwise, where some name none, all are
    divided. A warning says either. The second value says whether they were divided.
    """
    named = {split: tuple(each for each, own in samples if own == split) for split in SPLIT_NAMES}
    named = {split: part for split, part in named.items() if part}
    unplaced = [each.id for each, split in samples if not split]
    faults = []
    if named and unplaced:
        count = f"{len(unplaced)} images name no split ({listing(unplaced, 3)})"
        others = ", ".join(f"{len(part)} are of {split}" for split, part in named.items())
        if "train" in named and len(named) > 1:
            text = f"{count} and are left out, while {others}; splits are {listing(SPLIT_NAMES)}"
        else:
            text = f"{count} and {others}, so that all are divided again; name the split of each, or of none"
        faults.append(Fault("left-out", text, severity="warning"))
    if named.keys() - {"train"} and (not unplaced or "train" in named):
        return named, False, faults
    train, test = divide([each for each, _ in samples], options.test_fraction, options.split_seed)
    return {"train": train, "test": test}, True, faults


def _labels_of_titles(
    root: Path, titles: Sequence[str], options: AnnotationOptions
) -> tuple[dict[str, int], tuple[str, ...]]:
    """The label of each drawn title, and the class names from label 1."""
    joined = options.classes if isinstance(options.classes, dict) else {title: title for title in options.classes or []}
    for title in [*joined, *options.ignore]:
        if title not in titles and title.lower() not in BACKGROUND_TITLES:
            hint = nearest(title, titles)
            raise DataError(f"{root}: no object is titled '{title}'{hint}; titles are {listing(titles) or 'none'}")
    label_of = {title: IGNORE for title in titles if title.lower() in IGNORED_TITLES or title in options.ignore}
    label_of |= {title: 0 for title in titles if title.lower() in BACKGROUND_TITLES}
    if options.classes is None:
        joined = {title: title for title in titles if title not in label_of}
        refuse_spellings(root, joined)
    label_of |= {title: IGNORE for title, own in joined.items() if own == IGNORE_NAME}
    label_of |= {title: 0 for title, own in joined.items() if own.lower() in BACKGROUND_TITLES}
    joined = {t: own for t, own in joined.items() if own != IGNORE_NAME and own.lower() not in BACKGROUND_TITLES}
    chosen = list(dict.fromkeys(joined.values()))
    if not chosen:
        raise DataError(f"{root}: names no class to segment; titles are {listing(titles) or 'none'}")
    if len(chosen) > MAX_TITLES:
        text = f"{len(chosen)} classes; at most {MAX_TITLES} and the background can be distinguished"
        raise DataError(f"{root}: {text}; choose some with classes: [{listing(chosen, 3)}]")
    number = {name: k for k, name in enumerate(chosen, 1)}
    return label_of | {title: number[own] for title, own in joined.items()}, tuple(chosen)


def refuse_spellings(root: Path, titles: Iterable[str]) -> None:
    """Refuse titles that differ only in capitals, spaces and marks: one class would count as two."""
    spelt: dict[str, list[str]] = {}
    for title in titles:
        spelt.setdefault(_spelling(title), []).append(title)
    if not (twice := {names[0]: names for names in spelt.values() if len(names) > 1}):
        return
    shown = listing((" and ".join(f"'{name}'" for name in names) for names in twice.values()), 4)
    every = {title: own[0].strip() for own in spelt.values() for title in own}
    line = ", ".join(
        f"{json.dumps(title, ensure_ascii=False)}: {json.dumps(own, ensure_ascii=False)}"
        for title, own in every.items()
    )
    raise DataError(
        f"{root}: titles are spelled in several ways: {shown}. If each is one class, write "
        f"`classes: {{{line}}}`; if they are different classes, `classes: {json.dumps(list(every), ensure_ascii=False)}`"
    )


def _spelling(title: str) -> str:
    """Equal for titles that one class may have: capitals, spaces and marks between words do not count.

    >>> _spelling("Polyp "), _spelling("traffic_light"), _spelling("Traffic  Light"), _spelling("car2"), _spelling("--")
    ('polyp', 'traffic light', 'traffic light', 'car2', '--')
    """
    folded = unicodedata.normalize("NFKC", title).casefold().strip()
    return re.sub(r"[\W_]+", " ", folded).strip() or folded


def drawn(
    drawing: Drawing, label_of: Mapping[str, int], titles: set[str], skip: Sequence[str], sample: Sample
) -> Labels:
    """Draw the objects of one image; later objects cover earlier ones.

    Raises
    ------
    DataError
        Naming the file, the image and the object that is malformed or of an unknown title.

    """
    where = f"{sample.mask}" if sample.mask.stem in sample.id else f"{sample.mask}: image '{sample.id}'"
    try:
        width, height = checked_size(*drawing.size)
    except MALFORMED as error:
        raise DataError(f"{where}: {reason(error)}", "annotation") from None
    labels = np.zeros((height, width), np.uint8)
    for number, thing in enumerate(drawing.things, 1):
        try:
            if thing.title not in titles:
                raise ValueError(f"the title '{thing.title}' is unknown{nearest(thing.title, titles)}")
            if thing.kind in skip or thing.title not in label_of:
                continue
            if thing.draw is None:
                raise ValueError(
                    f"the shape '{thing.kind}' does not define which pixels it covers; convert it to a polygon, or leave such "
                    f"objects out with skip: [{thing.kind}]"
                )
            with np.errstate(over="ignore", invalid="ignore"):  # what is beyond any number is refused where it is drawn
                labels[thing.draw((width, height))] = label_of[thing.title]
        except MALFORMED as error:
            raise DataError(f"{where}: object {number} is malformed ({reason(error)})", "annotation") from None
    return labels
