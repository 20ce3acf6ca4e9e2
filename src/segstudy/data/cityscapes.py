"""Cityscapes: street scenes, 19 classes.

Layout: ``leftImg8bit/<split>/<city>/<name>_leftImg8bit.png`` (``images/`` in the review's mirror) and
``gtFine/<split>/<city>/<name>_gtFine_labelIds.png``, or ``..._gtFine_labelTrainIds.png`` where there are no labelIds.
The splits are the folders ``train`` and ``val``, and ``test`` if its masks are more than the official dummies.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from segstudy.data.core import IGNORE, Dataset, Labels, Sample, read_grey
from segstudy.errors import DataError, listing

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
NUM_COMPARED = 3  # masks a split that are looked at while reading, as a full pass would take minutes

Files = Mapping[str, Path]


def read(name: str, root: Path, *, num_classes: int = 19) -> Dataset:
    """Read Cityscapes in its official layout or the review's.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds ``leftImg8bit/`` (or ``images/``) and ``gtFine/``.
    num_classes
        19, or 20 as in the review, whose last output, ``unused``, is never a target.

    Raises
    ------
    DataError
        If folders are missing, an image has no mask or the reverse, or there are only labelTrainIds and they are wrong.

    Source: Cordts et al., "The Cityscapes Dataset for Semantic Urban Scene Understanding", CVPR 2016.
    """
    if num_classes not in (19, 20):
        raise DataError(
            f"dataset '{name}': num_classes is {num_classes}, but Cityscapes has 19 (or 20 as in the review)"
        )
    images, label_ids, train_ids = _find_files(root)
    by_ids = not train_ids or any(key.startswith(("train/", "val/")) for key in label_ids)
    masks, ending = (label_ids, ID_END) if by_ids else (train_ids, TRAIN_ID_END)
    labels_of: Callable[[Sample], Labels] = labels_from_ids if by_ids else labels_from_train_ids
    splits, notes = _pair(root, images, masks, ending, labels_of)
    looked_at = [sample for part in splits.values() for sample in part[:NUM_COMPARED]]
    if by_ids:
        notes += _compare(looked_at, train_ids)
    else:
        for sample in looked_at:
            labels_of(sample)
        notes.append("there are no labelIds; labelTrainIds are used as they are")
    rows = [(title, colour) for title, colour, _ in TABLE] + [UNUSED] * (num_classes - len(TABLE))
    classes, palette = tuple(row[0] for row in rows), tuple(row[1] for row in rows)
    return Dataset(name, classes, palette, splits, labels_of, tuple(notes))


def labels_from_ids(sample: Sample) -> Labels:
    """Train ids (0-18, 255 ignored) from an official labelIds mask."""
    values = read_grey(sample.mask)
    wrong = [int(v) for v in np.unique(values) if NUM_LABEL_IDS <= v != IGNORE]
    if wrong:
        raise DataError(
            f"{sample.mask}: values {listing(wrong)} are no Cityscapes label ids, which are 0-{NUM_LABEL_IDS - 1} "
            "(and 255 for -1); copy the mask anew from the official gtFine package"
        )
    table = np.full(256, IGNORE, np.uint8)
    for train_id, (_, _, label_id) in enumerate(TABLE):
        table[label_id] = train_id
    return table[values]


def labels_from_train_ids(sample: Sample) -> Labels:
    """Train ids from a labelTrainIds mask, which copies in the wild often have wrong."""
    values = read_grey(sample.mask)
    wrong = [int(v) for v in np.unique(values) if len(TABLE) <= v != IGNORE]
    if wrong:
        raise DataError(
            f"{sample.mask}: values {listing(wrong)} are no train ids, which are 0-{len(TABLE) - 1} and 255. The file "
            "was made by a faulty script (19 for all other classes, ids shifted by one, or label ids under this "
            f"name); put the official *{ID_END} beside it, from which train ids are derived"
        )
    return values


def _find_files(root: Path) -> tuple[Files, Files, Files]:
    """Images, labelIds and labelTrainIds, each by ``<split>/<city>/<name>``."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    image_root = next((root / part for part in ("leftImg8bit", "images") if (root / part).is_dir()), None)
    if image_root is None or not (root / "gtFine").is_dir():
        found = listing(sorted(path.name for path in root.iterdir())) or "nothing"
        raise DataError(f"{root}: expected leftImg8bit/ (or images/) and gtFine/ here; found {found}")
    images = _by_key(image_root, IMAGE_END)
    if not any(key.startswith(("train/", "val/")) for key in images):
        raise DataError(f"{image_root}: holds no train/<city>/*{IMAGE_END} and no val/<city>/*{IMAGE_END}")
    return images, _by_key(root / "gtFine", ID_END), _by_key(root / "gtFine", TRAIN_ID_END)


def _by_key(folder: Path, ending: str) -> Files:
    found = {}
    for split in SPLITS:
        for path in sorted(folder.glob(f"{split}/*/*{ending}"), key=lambda path: path.as_posix()):
            if not path.name.startswith("."):
                found[f"{split}/{path.parent.name}/{path.name.removesuffix(ending)}"] = path
    return found


def _pair(
    root: Path, images: Files, masks: Files, ending: str, labels_of: Callable[[Sample], Labels]
) -> tuple[dict[str, tuple[Sample, ...]], list[str]]:
    """Samples by split, with notes on what was left out; lone files of all splits are reported together."""
    splits: dict[str, tuple[Sample, ...]] = {}
    notes: list[str] = []
    problems: list[str] = []
    for split in SPLITS:
        wanted = [key for key in images if key.startswith(split + "/")]
        given = [key for key in masks if key.startswith(split + "/")]
        if split == "test" and not (wanted and given):
            if wanted or given:
                notes.append(f"the split 'test' is left out: it has {len(wanted)} images and {len(given)} masks")
            continue
        if lone := [key for key in wanted if key not in masks]:
            problems.append(f"{len(lone)} images of '{split}' have no gtFine/*{ending}: {listing(lone, 5)}")
        if lone := [key for key in given if key not in images]:
            problems.append(f"{len(lone)} masks of '{split}' have no image: {listing(lone, 5)}")
        samples = tuple(Sample(key, images[key], masks[key]) for key in wanted if key in masks)
        if split == "test" and all((labels_of(sample) == IGNORE).all() for sample in samples[:NUM_COMPARED]):
            if samples:
                notes.append(f"the split 'test' is left out: the first masks of its {len(samples)} hold no class")
        elif samples:
            splits[split] = samples
    if problems:
        raise DataError(f"{root}:\n" + "\n".join(problems) + "\nAdd the missing files or move the lone ones away.")
    return splits, notes


def _compare(samples: list[Sample], train_ids: Files) -> list[str]:
    """Say where the labelTrainIds that lie beside labelIds differ from what these say."""
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
        stored = read_grey(train_id_path)
    except DataError:
        return False  # a file that is not used may be broken
    return np.array_equal(stored, labels_from_ids(sample))
