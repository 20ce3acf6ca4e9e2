"""Cityscapes: street scenes, 19 classes.

Layout: ``leftImg8bit/<split>/<city>/<name>_leftImg8bit.png`` (``images/`` in the review's mirror) and
``gtFine/<split>/<city>/<name>_gtFine_labelIds.png``, or ``..._gtFine_labelTrainIds.png`` where there are no labelIds.
The splits are the folders ``train`` and ``val``, and ``test`` if its masks are more than the official dummies.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from segstudy.arrays import Labels
from segstudy.data.core import IGNORE, IMAGE_SUFFIXES, Dataset, Sample
from segstudy.data.encoding import read_grey
from segstudy.data.quality.faults import Fault, fault_of, refuse
from segstudy.data.quality.pairing import Listing, hidden_images, lone_files
from segstudy.data.readers import Reader
from segstudy.data.readers.patterns import files_below
from segstudy.errors import DataError, listing
from segstudy.schema import ReaderOptions

# Name, colour and label id of each class, in the order of the train ids. The other label ids from 0 to 33, and
# -1 (licence plate), which 8-bit files store as 255, are ignored.
# Source: cityscapesScripts, helpers/labels.py.
TABLE = (
    ("road", (128, 64, 128), 7),
    ("sidewalk", (244, 35, 232), 8),
    ("building", (70, 70, 70), 11),
    ("wall", (102, 102, 156), 12),
    ("fence", (190, 153, 153), 13),
    ("pole", (153, 153, 153), 17),
    ("traffic light", (250, 170, 30), 19),
    ("traffic sign", (220, 220, 0), 20),
    ("vegetation", (107, 142, 35), 21),
    ("terrain", (152, 251, 152), 22),
    ("sky", (70, 130, 180), 23),
    ("person", (220, 20, 60), 24),
    ("rider", (255, 0, 0), 25),
    ("car", (0, 0, 142), 26),
    ("truck", (0, 0, 70), 27),
    ("bus", (0, 60, 100), 28),
    ("train", (0, 80, 100), 31),
    ("motorcycle", (0, 0, 230), 32),
    ("bicycle", (119, 11, 32), 33),
)
NUM_LABEL_IDS = 34
UNUSED = ("unused", (0, 0, 0))  # the review's 20th output, never a target
SPLITS = ("train", "val", "test")
IMAGE_END, ID_END, TRAIN_ID_END = "_leftImg8bit.png", "_gtFine_labelIds.png", "_gtFine_labelTrainIds.png"
NUM_ROADS = 4  # masks a split that may show a road
MAX_IGNORED = 2 / 3  # share of pixels
MIN_AHEAD, MIN_ROAD = 4, 0.8  # masks, and share of the pixels in front of the car that are of one label
NUM_COMPARED = 3  # masks a split that are looked at while reading, as a full pass would take minutes

Files = Mapping[str, Path]


class Options(ReaderOptions):
    """``num_classes``: 19 (the default), or 20 as in the review, whose last output, ``unused``, is never a target."""

    num_classes: int | None = Field(None, ge=2, le=255)


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read Cityscapes in its official layout or the review's.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds ``leftImg8bit/`` (or ``images/``) and ``gtFine/``.
    options
        The number of classes.

    Raises
    ------
    DataError
        If folders are missing or no image has a mask. Lone files, and labelTrainIds that are wrong where there is nothing
        else, are the dataset's ``faults``.

    Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016.
    """
    num_classes = 19 if options.num_classes is None else options.num_classes
    if num_classes not in (19, 20):
        raise DataError(
            f"dataset '{name}': num_classes is {num_classes}, but Cityscapes has 19 (or 20 as in the review)"
        )
    images, label_ids, train_ids = _find_files(root)
    by_ids = not train_ids.images or any(key.startswith(("train/", "val/")) for key in label_ids.images)
    masks, ending = (label_ids, ID_END) if by_ids else (train_ids, TRAIN_ID_END)
    labels_of: Callable[[Sample], Labels] = labels_from_ids if by_ids else labels_from_train_ids
    splits, notes, faults = _pair(images, masks, ending, labels_of)
    if not splits:
        refuse(f"{root}: no image has a mask", faults)
    looked_at = [(split, sample) for split, part in splits.items() for sample in part[:NUM_COMPARED]]
    if by_ids:
        notes += _compare([sample for _, sample in looked_at], train_ids.images)
    else:
        faults += _wrong_train_ids(looked_at)
        notes.append("there are no labelIds; labelTrainIds are used as they are")
    faults += _other_ids(splits, labels_of, by_ids)
    faults += [*_left_out(_image_root(root), images), *hidden_images(_image_root(root))]
    rows = [(title, colour) for title, colour, _ in TABLE] + [UNUSED] * (num_classes - len(TABLE))
    classes, palette = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
    return Dataset(name, classes, palette, splits, labels_of, notes=tuple(notes), faults=tuple(faults))


def labels_from_ids(sample: Sample) -> Labels:
    """Train ids (0-18, 255 ignored) from an official labelIds mask."""
    values = read_grey(sample.mask)
    if wrong := _beyond(values, NUM_LABEL_IDS):
        raise DataError(
            f"{sample.mask}: values {listing(wrong)} are not Cityscapes label ids, which are 0-{NUM_LABEL_IDS - 1} "
            "(and 255 for -1); copy the mask again from the official gtFine package",
            "outside-classes",
        )
    table = np.full(256, IGNORE, np.uint8)
    for train_id, (_, _, label_id) in enumerate(TABLE):
        table[label_id] = train_id
    return np.asarray(cv2.LUT(values, table), np.uint8)


def _beyond(values: NDArray[np.uint8], number: int) -> list[int]:
    """Values past the first ``number`` that occur, 255 left out."""
    beyond = (values >= number) & (values != IGNORE)
    return [int(value) for value in np.unique(values[beyond])] if beyond.any() else []


def labels_from_train_ids(sample: Sample) -> Labels:
    """Train ids from a labelTrainIds mask; many copies of the dataset have wrong ones."""
    values = read_grey(sample.mask)
    if wrong := _beyond(values, len(TABLE)):
        raise DataError(
            f"{sample.mask}: values {listing(wrong)} are not train ids, which are 0-{len(TABLE) - 1} and 255. The file "
            "was made by a faulty script (19 for all other classes, ids shifted by one, or label ids under this "
            f"name); put the official *{ID_END} next to it, from which train ids are derived",
            "outside-classes",
        )
    return values


def _find_files(root: Path) -> tuple[Listing, Listing, Listing]:
    """Images, labelIds and labelTrainIds, each by ``<split>/<city>/<name>``."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    image_root = _image_root(root)
    if not image_root.is_dir() or not (root / "gtFine").is_dir():
        found = listing(sorted(path.name for path in root.iterdir())) or "nothing"
        raise DataError(f"{root}: expected leftImg8bit/ (or images/) and gtFine/ here; found {found}")
    images = _by_key(image_root, IMAGE_END)
    if not any(key.startswith(("train/", "val/")) for key in images.images):
        raise DataError(f"{image_root}: holds no train/<city>/*{IMAGE_END} and no val/<city>/*{IMAGE_END}")
    return images, _by_key(root / "gtFine", ID_END), _by_key(root / "gtFine", TRAIN_ID_END)


def _image_root(root: Path) -> Path:
    return root / "leftImg8bit" if (root / "leftImg8bit").is_dir() else root / "images"


def _by_key(folder: Path, ending: str) -> Listing:
    """Files by ``<split>/<city>/<name>``; files with another suffix, or with the ending in another case, are ``unread``."""
    found, unread = {}, {}
    stem = Path(ending).stem.casefold()
    for split in SPLITS:
        for path in sorted(folder.glob(f"{split}/*/*"), key=lambda path: path.as_posix()):
            if path.name.startswith("."):
                continue
            if path.name.endswith(ending):
                found[f"{split}/{path.parent.name}/{path.name.removesuffix(ending)}"] = path
            elif path.stem.casefold().endswith(stem):
                unread[f"{split}/{path.parent.name}/{path.stem[: -len(stem)]}"] = path
    return Listing(found, unread)


def _pair(
    images: Listing, masks: Listing, ending: str, labels_of: Callable[[Sample], Labels]
) -> tuple[dict[str, tuple[Sample, ...]], list[str], list[Fault]]:
    """Samples by split, notes on what was left out, and a fault for each lone file."""
    splits: dict[str, tuple[Sample, ...]] = {}
    notes: list[str] = []
    faults: list[Fault] = []
    for split in SPLITS:
        wanted, given = _of_split(images, split), _of_split(masks, split)
        if split == "test" and not (wanted.images and given.images):
            if wanted.images or given.images:
                left = f"{len(wanted.images)} images and {len(given.images)} masks"
                notes.append(f"the split 'test' is left out: it has {left}")
            continue
        faults += lone_files(wanted, given, f"gtFine/*{ending}", split)
        samples = tuple(
            Sample(key, path, given.images[key]) for key, path in wanted.images.items() if key in given.images
        )
        if split == "test" and all(_holds_no_class(sample, labels_of) for sample in samples[:NUM_COMPARED]):
            if samples:
                notes.append(f"the split 'test' is left out: the first masks of its {len(samples)} hold no class")
        elif samples:
            splits[split] = samples
    return splits, notes, faults


def _of_split(files: Listing, split: str) -> Listing:
    def part(named: Files) -> dict[str, Path]:
        return {key: path for key, path in named.items() if key.startswith(f"{split}/")}

    return Listing(part(files.images), part(files.unread))


def _holds_no_class(sample: Sample, labels_of: Callable[[Sample], Labels]) -> bool:
    try:
        return bool((labels_of(sample) == IGNORE).all())
    except DataError:
        return False  # reading the whole split reports what is wrong


def _wrong_train_ids(samples: list[tuple[str, Sample]]) -> list[Fault]:
    """Check the first masks: a wrong copy is usually wrong in every mask, so its faults appear at once."""
    faults = []
    for split, sample in samples:
        try:
            labels_from_train_ids(sample)
        except DataError as error:
            faults.append(fault_of(error, sample.mask, split, sample.id))
    return faults


def _other_ids(
    splits: Mapping[str, Sequence[Sample]], labels_of: Callable[[Sample], Labels], by_ids: bool
) -> list[Fault]:
    """A fault if the masks looked at show that ids are wrong: no road, little but ignored, or something else where the road is."""
    looked_at = [part[k] for part in splits.values() for k in np.linspace(0, len(part) - 1, NUM_ROADS).astype(int)]
    labels = []
    for sample in dict.fromkeys(looked_at):
        with contextlib.suppress(DataError):  # said of the single mask
            labels.append(labels_of(sample))
    if not labels:
        return []
    ignored = float(np.mean([(each == IGNORE).mean() for each in labels]))
    if all((each != 0).all() for each in labels):
        text = f"none of {len(labels)} masks looked at has a pixel of road"
    elif ignored > MAX_IGNORED:
        text = f"{ignored:.0%} of the pixels of {len(labels)} masks looked at are ignored"
    elif len(labels) >= MIN_AHEAD and (ahead := _ahead(labels)) != 0:
        what = "ignored" if ahead == IGNORE else f"of class {ahead} ({TABLE[ahead][0]})"
        text = f"right in front of the car, where the road is, {len(labels)} masks looked at are {what}"
    else:
        return []
    text += "; they hold other ids than their names say"
    if by_ids:
        text += "; copy them again from the official gtFine package"
    else:
        text += f" (copies with wrong labelTrainIds are common). Put the official *{ID_END} next to them, from which train ids "
        text += "are derived"
    return [Fault("class-absent", text, looked_at[0].mask)]


def _ahead(labels: Sequence[Labels]) -> int:
    """The label that fills what lies right in front of the car, above its own bonnet; 0 where several labels share it.

    With ids that are one too low, as of a script that counts from 0, it is 255, and with ids one too high 1.
    """
    counts = np.zeros(256, np.int64)
    for each in labels:
        height, width = each.shape
        window = each[int(0.6 * height) : int(0.75 * height), int(0.4 * width) : int(0.6 * width)]
        counts += np.bincount(window.ravel(), minlength=256)
    return int(counts.argmax()) if counts.max() > MIN_ROAD * counts.sum() else 0


def _left_out(images: Path, found: Listing) -> list[Fault]:
    """A warning of pictures that are in no split, or deeper than a city's folder, or named otherwise."""
    used = {*found.images.values(), *found.unread.values()}
    left = [path for path in files_below(images) if path.lower().endswith(IMAGE_SUFFIXES) and images / path not in used]
    if not left:
        return []
    text = (
        f"{len(left)} pictures are left out: {listing(left, 3)}; images are {' or '.join(SPLITS)}/<city>/*{IMAGE_END}"
    )
    return [Fault("left-out", text, images, severity="warning")]


def _compare(samples: list[Sample], train_ids: Files) -> list[str]:
    """Report labelTrainIds masks that contradict the labelIds next to them."""
    both = [sample for sample in samples if sample.id in train_ids]
    differing = [sample.id for sample in both if not _agrees(sample, train_ids[sample.id])]
    if not differing:
        return []
    return [
        f"labelTrainIds differ from labelIds in {len(differing)} of the {len(both)} masks compared "
        f"({listing(differing, 3)}); labelIds are used"
    ]


def _agrees(sample: Sample, train_id_path: Path) -> bool:
    try:
        return np.array_equal(read_grey(train_id_path), labels_from_ids(sample))
    except DataError:
        return False  # what is not used may be broken, and reading all of what is used reports it


def _recognise(root: Path) -> str:
    return "it holds gtFine/" if (root / "gtFine").is_dir() else ""


READER = Reader(Options, read, _recognise)
