"""PASCAL VOC: pictures, masks with a palette, and lists of names.

Layout: ``JPEGImages/``, ``SegmentationClass/`` and lists ``ImageSets/Segmentation/train.txt``, ``val.txt``, ``test.txt``;
in the root or in ``VOCdevkit/VOC2012`` and the like. Masks hold class indices, 255 is void. Without lists the masks say
which images count. ``class_names.txt`` (as LabelMe's export has it) names the classes; without it they are VOC's 21.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from pydantic import Field

from segstudy.data.core import IMAGE_SUFFIXES, Dataset, Sample, divide
from segstudy.data.declared import Declared
from segstudy.data.quality.faults import Fault, refuse
from segstudy.data.quality.pairing import Listing, list_images, lone_files
from segstudy.data.readers import Reader
from segstudy.data.readers.lists import unread_lists
from segstudy.data.readers.values import Found, ValueOptions, value_dataset
from segstudy.errors import DataError, listing
from segstudy.files import read_text

CLASSES = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
LISTS = {"train": ("trn", "train"), "val": ("valid", "val"), "test": ("tst", "test")}  # the last name is VOC's own
PLACES = "ImageSets/Segmentation/train.txt, val.txt and test.txt, or in ImageSets/, a name a line"
VOC_ID = re.compile(r"\d{4}_\d{6}")  # 2007_000032
MASK_FOLDERS = ("SegmentationClass", "SegmentationClassPNG", "SegmentationClassAug")


class Options(ValueOptions):
    """``masks``: the folder of masks, if not ``SegmentationClass``; and what the masks' values mean."""

    masks: str | None = Field(None, min_length=1)


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read a dataset in PASCAL VOC's layout.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds ``JPEGImages/``, or one above it.
    options
        Which masks and what they hold; where there are no lists, fraction and seed of the division.

    Raises
    ------
    DataError
        If folders are missing or no image has a mask. Names in lists that have no files are the dataset's ``faults``.

    Source: Everingham et al., "The PASCAL Visual Object Classes Challenge: A Retrospective", IJCV 2015.
    """
    base, masks = _find(root, options.masks)
    image_files, mask_files = list_images(base / "JPEGImages"), list_images(masks)
    pairs = {
        stem: Sample(stem, path, mask_files.images[stem])
        for stem, path in image_files.images.items()
        if stem in mask_files.images
    }
    faults = [*image_files.faults, *mask_files.faults]
    faults += lone_files(Listing({k: p for k, p in image_files.images.items() if k in pairs}), mask_files, masks.name)
    if not pairs:
        refuse(f"{base}: no image has a mask", faults)
        raise DataError(f"{base}: no image of JPEGImages has a mask in {masks.name}")
    lists = _lists(base)
    if lists:
        found = _listed(lists, pairs, image_files, faults)
    else:
        unread = unread_lists(base, {}, tuple(pairs.values()), PLACES)
        found = _drawn(pairs, [*faults, *unread], options)
    without = len(image_files.images) - len(pairs)
    if without and lists:  # of VOC's own images most have no mask
        found.notes.append(f"{without} images have no mask in {masks.name} and are left out")
    elif without:
        text = f"{without} images have no mask in {masks.name} and are left out; add masks, or move the images away"
        found.faults.append(Fault("left-out", text, base / "JPEGImages", severity="warning"))
    return value_dataset(name, found, options, fixed=_declared(base, options, found))


def _lists(base: Path) -> dict[str, Path]:
    """The list of each split, in the first of VOC's places that has any."""
    for folder in (base / "ImageSets" / "Segmentation", base / "ImageSets"):
        lists = [(split, folder / f"{alias}.txt") for split, aliases in LISTS.items() for alias in aliases]
        if found := {split: path for split, path in lists if path.is_file()}:
            return found
    return {}


def _declared(base: Path, options: Options, found: Found) -> Declared | None:
    """The classes that the layout implies, for options that declare none."""
    said = options.declared()
    if said.number is not None or said.means is not None:
        return None
    names = _class_names(base)
    if names is None:
        ids = [sample.id for part in found.splits.values() for sample in part]
        if not any(VOC_ID.fullmatch(each) for each in ids):  # another set in this layout, whose classes are its own
            return None
        found.notes.append("classes are VOC's 21, as no class_names.txt names others")
        names = CLASSES
    return Declared(classes=names, ignore_values=said.ignore_values, channel=said.channel)


def _class_names(base: Path) -> tuple[str, ...] | None:
    path = base / "class_names.txt"
    try:
        lines = [line.strip() for line in read_text(path).splitlines()]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None
    names = tuple(line for line in lines if line and line != "__ignore__")
    if not 2 <= len(set(names)) == len(names) <= 255:
        raise DataError(f"{path}: must hold 2 to 255 different names, one a line; it holds {listing(names) or 'none'}")
    return ("background", *names[1:]) if names[0] == "_background_" else names


def _drawn(pairs: dict[str, Sample], faults: list[Fault], options: Options) -> Found:
    train, test = divide(tuple(pairs.values()), options.test_fraction, options.split_seed)
    return Found({"train": train, "test": test}, faults=faults, by_fraction=True)


def _listed(lists: dict[str, Path], pairs: dict[str, Sample], images: Listing, faults: list[Fault]) -> Found:
    found = Found(faults=faults)
    for split, path in lists.items():
        try:
            names = [line.split()[0] for line in read_text(path).splitlines() if line.strip()]
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as text ({error})") from None
        taken: dict[str, Sample] = {}
        for number, entry in enumerate(names, 1):
            if entry in pairs:
                if entry in taken or any(pairs[entry] in part for part in found.splits.values()):
                    text = f"line {number}: '{entry}' stands in a list twice; take one of the two lines out"
                    found.faults.append(Fault("table", text, path, split, entry))
                else:
                    taken[entry] = pairs[entry]
            elif split != "test":  # a test set's masks are kept back
                what = "mask" if entry in images.images else "image"
                text = f"line {number}: '{entry}' has no {what}; add the file or remove the line"
                found.faults.append(Fault("table", text, path, split, entry))
        if taken:
            found.splits[split] = tuple(taken.values())
    if not found.splits:
        refuse(f"{next(iter(lists.values()))}: the lists name no image with a mask", found.faults)
        raise DataError(f"{next(iter(lists.values())).parent}: the lists name no image with a mask")
    listed = {sample.id for part in found.splits.values() for sample in part}
    if unlisted := len(pairs.keys() - listed):
        text = f"{unlisted} images with masks stand in no list and are left out; add them to a list"
        found.faults.append(Fault("left-out", text, next(iter(lists.values())), severity="warning"))
    return found


def _find(root: Path, masks: str | None) -> tuple[Path, Path]:
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    bases = [
        root,
        *sorted(root.glob("VOC*")),
        *sorted(root.glob("VOCdevkit/VOC*")),
        *sorted(root.glob("*/VOCdevkit/VOC*")),
    ]
    found = [
        (base, base / folder)
        for base in bases
        for folder in ([masks] if masks else MASK_FOLDERS)
        if (base / "JPEGImages").is_dir() and (base / folder).is_dir()
    ]
    pictured = [each for each in found if any(path.suffix.lower() in IMAGE_SUFFIXES for path in each[1].iterdir())]
    found = pictured or found  # LabelMe's export once had arrays in the first of these folders
    if len({base for base, _ in found}) > 1:
        names = listing(dict.fromkeys(str(base.relative_to(root)) for base, _ in found))
        raise DataError(f"{root}: holds several datasets ({names}); name the folder of one as root")
    if not found:
        raise DataError(f"{root}: PASCAL VOC not found; expected JPEGImages/ and {masks or 'SegmentationClass'}/")
    return found[0]


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError):
        return f"it holds JPEGImages/ and {_find(root, None)[1].name}/"
    return ""


READER = Reader(Options, read, _recognise)
