"""Any images with masks: folders by their usual names, or by patterns.

1. CamVid: ``train/`` with ``trainannot/``, ``val/`` with ``valannot/``, ``test/`` with ``testannot/``
2. ``images/<split>/`` with ``masks/<split>/``
3. ``<split>/images/`` with ``<split>/masks/``
4. ``images/`` with ``masks/``, and lists ``train.txt``, ``val.txt``, ``test.txt`` here, in ``splits/`` or in the folder
   ``lists``, each line an image, with or without folders and suffix, and its mask where there is a second column
5. ``images/`` with ``masks/``: divided into ``train`` and ``test`` by fraction over the sorted names
6. ``images`` and ``masks`` as patterns, see :mod:`segstudy.data.readers.patterns`, or as two files of many pages

The folders may have other usual names, such as ``image`` and ``label``, or those that the options say. Without patterns an
image and its mask have the same name but for the suffix. ``valid`` and ``validation`` are read as ``val``.
Masks hold class indices (one channel or a palette), or 0 and 255 for two classes; what else they hold, an option says.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, Literal

from PIL import Image
from pydantic import Field, model_validator

from segstudy.data.core import IMAGE_SUFFIXES, Dataset, Sample, divide, num_pages
from segstudy.data.quality.faults import Fault, as_one_warning, refuse
from segstudy.data.quality.pairing import common_start, list_images, match_by_stem
from segstudy.data.readers import Reader
from segstudy.data.readers.colour_tables import colours_beside
from segstudy.data.readers.lists import find_lists, listed, lists_folder, unread_lists
from segstudy.data.readers.numbers import ArrayOptions
from segstudy.data.readers.patterns import (
    IMAGE_NAMES,
    MASK_NAMES,
    SPLIT_NAMES,
    SPLIT_OF,
    files_below,
    looks_like_masks,
    pairs_by_pattern,
    pattern_regex,
    propose,
    strange_images,
)
from segstudy.data.readers.pictures import picture_file, propose_picture
from segstudy.data.readers.several import dataset_of_several, find_several
from segstudy.data.readers.several_proposed import propose_several
from segstudy.data.readers.values import Found, value_dataset
from segstudy.data.stored import StoredMask, read_mask
from segstudy.errors import DataError, listing

ALL_PAGES = "all"
UNMASKED = "images have no mask"
MAX_STACKS = 20  # files looked into for a pair of stacks
PATTERN = re.compile(r"[*?{]")


class Options(ArrayOptions):
    """``page``: which page of files that have several, counted from 0, images and masks alike; with ``all``, each page is an image
    with the mask of that page, and named ``<file>#<page>``. See also :class:`ArrayOptions`.

    ``lists`` names the folder of ``train.txt``, ``val.txt`` and ``test.txt``, if it is another than the root or ``splits/``.
    ``unmasked: left-out`` leaves out images without a mask; without it they are errors.

    ``masks`` may name a pattern for each class, where an image has several mask files; see
    :mod:`segstudy.data.readers.several`.
    """

    page: Annotated[int, Field(ge=0)] | Literal["all"] | None = None
    masks: str | dict[str, str] | None = Field(None, min_length=1)  # type: ignore[assignment]
    lists: str | None = Field(None, min_length=1)
    unmasked: Literal["left-out"] | None = None

    @model_validator(mode="after")
    def _of_several(self) -> Options:
        if isinstance(self.masks, dict):
            keys = ("classes", "num_classes", "ignore_values", "values", "colours")
            if given := [key for key in keys if getattr(self, key)]:
                raise ValueError(
                    f"{listing(given)} cannot be given where masks names the files of each class; keep one"
                )
            if self.page == ALL_PAGES:
                raise ValueError("page: all cannot be given where masks names the files of each class")
            if self.images is None:
                raise ValueError("images must be given, where masks names the files of each class")
        return self


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read a folder of images and masks in one of the layouts above.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds the layout.
    options
        Where images and masks lie, and what the masks' values mean; where the layout names no splits, fraction and seed
        of the division, as ``test_size`` and ``random_state`` of scikit-learn's ``train_test_split``.

    Raises
    ------
    DataError
        If no layout fits, no image has a mask, or the classes cannot be determined. Lone files, wrong lines of lists and masks
        that cannot be read are the dataset's ``faults``.
    """
    if isinstance(options.masks, dict):
        return _read_several(name, root, options, options.masks)
    stored_of = partial(_stored, channel=options.channel, page=options.page)
    image_of = partial(_image, scale=options.scale, bands=options.bands, page=options.page)
    found = _find_splits(root, options)
    if options.unmasked is not None:
        found.faults = as_one_warning(root, found.faults, "image-without-mask", UNMASKED)
    if not PATTERN.search(f"{options.images or ''}{options.masks or ''}"):
        found.faults += _other_folders(root, found)
    if options.page == ALL_PAGES and not found.by_fraction:
        found.splits = {split: tuple(_of_each_page(part, found.faults)) for split, part in found.splits.items()}
    return value_dataset(name, found, options, stored_of, image_of)


def _other_folders(root: Path, found: Found) -> list[Fault]:
    """A warning of folders of pictures that are neither the images' nor the masks', such as a second person's masks."""
    samples = [sample for part in found.splits.values() for sample in part]
    used = {path.parent for sample in samples for path in (sample.image, sample.mask)}
    said = {name for fault in found.faults for name in re.findall(r"images of '(.+?)' are left out", fault.message)}
    used |= {
        fault.file if fault.file.is_dir() else fault.file.parent for fault in found.faults if fault.file is not None
    }
    other: dict[str, int] = {}
    for path in files_below(root):
        folder = (root / path).parent
        apart = "/" in path and not used & {folder, *folder.parents} and not said & set(path.split("/"))
        if apart and path.lower().endswith(IMAGE_SUFFIXES) and not any(str(folder) in note for note in found.notes):
            other[path.rpartition("/")[0]] = other.get(path.rpartition("/")[0], 0) + 1
    if not other:
        return []
    named = listing((f"{folder} ({number})" for folder, number in other.items()), 5)
    text = f"{sum(other.values())} pictures in other folders are left out: {named}; move them away if that is right"
    return [Fault("left-out", text, root, severity="warning")]


def _read_several(name: str, root: Path, options: Options, masks: dict[str, str]) -> Dataset:
    """Read images that have several mask files each."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    assert options.images is not None
    several = find_several(root, options.images, masks)
    found = _divided(root, several.samples, several.faults, options)
    found.notes += several.notes
    if options.unmasked is not None:
        found.faults = as_one_warning(root, found.faults, "image-without-mask", UNMASKED)
    stored_of = partial(read_mask, channel=options.channel, page=_page(options.page))
    image_of = partial(_image, scale=options.scale, bands=options.bands, page=options.page)
    resized = options.resize_masks is not None
    return dataset_of_several(name, found, several.files, masks, stored_of, image_of, options.threshold, resized)


def _image(sample: Sample, scale: list[float] | None, bands: list[int] | None, page: int | str | None) -> Image.Image:
    return picture_file(sample.image, scale, bands, _page_of(sample, page))


def _stored(sample: Sample, channel: str | None, page: int | str | None) -> StoredMask:
    return read_mask(sample.mask, channel, page=_page_of(sample, page))


def _page_of(sample: Sample, page: int | str | None) -> int | None:
    """The page that a sample is of."""
    number = sample.id.rpartition("#")[2]
    return int(number) if page == ALL_PAGES and "#" in sample.id and number.isdecimal() else _page(page)


def _find_splits(root: Path, options: Options) -> Found:
    """Samples by split in the first layout that fits."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if PATTERN.search(f"{options.images or ''}{options.masks or ''}"):
        return _by_pattern(root, options)
    if (pair := _one_pair(root, options)) is not None:
        others = strange_images(root, files_below(root), {str(options.images), str(options.masks)}, IMAGE_SUFFIXES)
        return _drawn([pair], others, options)
    names = _folder_names(root, options)
    for image_folder, mask_folder in _layouts(names):
        folders = _named_splits(root, image_folder, mask_folder)
        if any(image.is_dir() and mask.is_dir() for image, mask in folders.values()):
            found = _paired(folders)
            found.faults += _strange_splits(root, image_folder)
            return _named_or_drawn(found, options)
    if names is None or not all((root / each).is_dir() for each in names):
        raise DataError(_nothing_fits(root, options))
    images, masks = (root / each for each in names)
    try:
        samples, faults = match_by_stem(images, masks)
    except DataError as error:
        raise DataError(f"{error}{_advice(root)}", error.kind) from None
    if lists := find_lists(root, options.lists):
        found = listed(samples, list_images(images).images, lists)
        if not found.splits:
            refuse(f"{root}: its lists name no image with a mask", [*faults, *found.faults])
        return Found(found.splits, found.notes, [*faults, *found.faults, *unread_lists(root, lists, samples)])
    return _drawn(samples, [*faults, *unread_lists(root, {}, samples)], options)


def _one_pair(root: Path, options: Options) -> Sample | None:
    """The one pair of files, each of many pages, that ``images`` and ``masks`` name."""
    if options.images is None or not isinstance(options.masks, str):
        return None
    image, mask = root / options.images, root / options.masks
    return Sample(image.stem, image, mask) if image.is_file() and mask.is_file() else None


def _named_or_drawn(found: Found, options: Options) -> Found:
    """Splits as the folders name them, or a division by fraction if they name only ``train``."""
    if found.splits.keys() != {"train"} or len(found.splits["train"]) < 2:
        return found
    drawn = _drawn(found.splits["train"], found.faults, options)
    drawn.notes = [*found.notes, "there is nothing but train, so that a test split is drawn from it"]
    return drawn


def _drawn(samples: Iterable[Sample], faults: list[Fault], options: Options) -> Found:
    """A division by fraction."""
    one_by_one = _of_each_page(samples, faults) if options.page == ALL_PAGES else tuple(samples)
    train, test = divide(one_by_one, options.test_fraction, options.split_seed)
    return Found({"train": train, "test": test}, faults=faults, by_fraction=True)


def _by_pattern(root: Path, options: Options) -> Found:
    """Samples that the two patterns find, by ``{split}`` where they have it."""
    if options.images is None or options.masks is None:
        missing = "images" if options.images is None else "masks"
        raise DataError(f"{root}: a pattern needs images and masks both; {missing} is not given{_advice(root)}")
    assert isinstance(options.masks, str)
    return _divided(root, *pairs_by_pattern(root, options.images, options.masks), options)


def _divided(root: Path, pairs: list[tuple[Sample, str]], faults: list[Fault], options: Options) -> Found:
    """Samples found by patterns in the splits that their paths or lists name, or divided by fraction."""
    assert options.images is not None
    if "{split}" not in options.images:
        samples = tuple(sample for sample, _ in pairs)
        if lists := find_lists(root, options.lists):
            found = listed(samples, {sample.id: sample.image for sample in samples}, lists)
            if not found.splits:
                refuse(f"{root}: its lists name no image with a mask", [*faults, *found.faults])
            return Found(found.splits, found.notes, [*faults, *found.faults, *unread_lists(root, lists, samples)])
        return _drawn(samples, [*faults, *unread_lists(root, {}, samples)], options)
    faults, notes = _without_kept_back(
        root, options.images, {SPLIT_OF.get(given.lower()) for _, given in pairs}, faults
    )
    splits: dict[str, list[Sample]] = {}
    strange: dict[str, int] = {}
    for sample, given in pairs:
        split = SPLIT_OF.get(given.lower(), "")
        if split:
            splits.setdefault(split, []).append(sample)
        else:
            strange[given] = strange.get(given, 0) + 1
    for given, number in strange.items():
        text = f"{number} images of '{given}' are left out, which is not a split; splits are train, val and test"
        faults.append(Fault("left-out", text, root, severity="warning"))
    if not splits:
        raise DataError(f"{root}: {{split}} stands for {listing(strange)}; splits are train, val and test")
    named = {split: tuple(splits[split]) for split in SPLIT_NAMES if split in splits}
    return _named_or_drawn(Found(named, notes, faults), options)


def _without_kept_back(
    root: Path, images: str, splits: set[str | None], faults: list[Fault]
) -> tuple[list[Fault], list[str]]:
    """Faults without those of a split of which no image has a mask, and a note on these: such masks are kept back."""
    regex = pattern_regex(images)

    def split_of(fault: Fault) -> str:
        place = fault.file.relative_to(root).as_posix() if fault.file and fault.kind == "image-without-mask" else ""
        match = regex.fullmatch(place)
        split = SPLIT_OF.get(match["split"].lower(), "") if match is not None else ""
        return split if split != "train" and split not in splits else ""

    kept_back = [fault for fault in faults if split_of(fault)]
    note = f"{len(kept_back)} images of {listing(sorted({*map(split_of, kept_back)}))} are left out: they have no masks"
    return [fault for fault in faults if fault not in kept_back], [note] if kept_back else []


def _folder_names(root: Path, options: Options) -> tuple[str, str] | None:
    """Names of the folders of images and masks: from the options, else the only usual names present."""
    there = [path.name for path in root.iterdir() if path.is_dir()]
    there += [path.name for split in root.iterdir() if split.name.lower() in SPLIT_OF for path in _folders(split)]
    assert not isinstance(options.masks, dict)
    chosen: list[str] = []
    for key, given, usual in (("images", options.images, IMAGE_NAMES), ("masks", options.masks, MASK_NAMES)):
        found = sorted({name for name in there if name.lower() in usual}) if given is None else [given.strip("/")]
        if usual[0] in found:
            found = [usual[0]]
        if len(found) > 1:
            lines = " or ".join(f"{key}: {name}" for name in found)
            raise DataError(f"{root}: holds several folders that may be the {key}; add {lines} to the entry")
        chosen += found
    return (chosen[0], chosen[1]) if len(chosen) == 2 else None


def _folders(path: Path) -> list[Path]:
    return [each for each in path.iterdir() if each.is_dir()] if path.is_dir() else []


def _layouts(names: tuple[str, str] | None) -> list[tuple[str, str]]:
    """Folders of the images and masks of a split; ``{}`` stands for the split."""
    fixed = [("{}", "{}" + end) for end in ("annot", "_labels", "_masks", "_mask", "_label", "_gt")]
    fixed += [(f"{{}}_{images}", f"{{}}_{masks}") for images in ("images", "img") for masks in ("masks", "labels")]
    images, masks = names or ("images", "masks")
    return [fixed[0], (f"{images}/{{}}", f"{masks}/{{}}"), (f"{{}}/{images}", f"{{}}/{masks}"), *fixed[1:]]


def _advice(root: Path) -> str:
    """Options that make a folder readable, as far as its file names show them."""
    lines = propose(root)
    if not lines:
        return ""
    return "; its names fit these lines of the entry: " + ", ".join(f'{key}: "{value}"' for key, value in lines.items())


def _paired(folders: dict[str, tuple[Path, Path]]) -> Found:
    """Pair the files of each split's two folders."""
    found = Found()
    for split, (images, masks) in folders.items():
        if split == "test" and not masks.is_dir():  # a test set's masks are often kept back
            found.notes.append(f"{images} is left out: it has no masks")
            continue
        found.splits[split], faults = match_by_stem(images, masks, prefix=f"{split}/", split=split)
        found.faults += faults
    return found


def _named_splits(root: Path, image_folder: str, mask_folder: str) -> dict[str, tuple[Path, Path]]:
    """Folders of images and masks by split, for splits that have at least one of the two."""
    found = {}
    for split, aliases in SPLIT_NAMES.items():
        pairs = [(root / image_folder.format(alias), root / mask_folder.format(alias)) for alias in aliases]
        there = [pair for pair in pairs if pair[0].is_dir() or pair[1].is_dir()]
        if len(there) > 1:
            raise DataError(f"{root}: {listing(pair[0] for pair in there)} are one split by several names; keep one")
        if there:
            found[split] = there[0]
    return found


def _strange_splits(root: Path, image_folder: str) -> list[Fault]:
    """A warning for each folder of images next to the splits that is not a split, such as ``images/train2``."""
    faults = []
    for path in sorted(root.glob(image_folder.replace("{}", "*"))) if "/" in image_folder else []:
        name = path.relative_to(root).parts[image_folder.split("/").index("{}")]
        if not path.is_dir() or name.lower() in SPLIT_OF or name.startswith((".", "__MACOSX")):
            continue
        number = sum(file.suffix.lower() in IMAGE_SUFFIXES for file in path.rglob("*"))
        text = f"{number} images of '{name}' are left out, which is not a split; splits are train, val and test"
        faults += [Fault("left-out", text, path, severity="warning")] if number else []
    return faults


def _nothing_fits(root: Path, options: Options) -> str:
    entries = [path.name + "/" * path.is_dir() for path in sorted(root.iterdir()) if not path.name.startswith(".")]
    asked = "".join(
        f", {key}: {value}" for key, value in (("images", options.images), ("masks", options.masks)) if value
    )
    return (
        f"{root}: no known layout{asked}; found {listing(entries, 12) or 'nothing'}{_advice(root)}. Accepted are\n"
        "  train/ + trainannot/, val/ + valannot/, test/ + testannot/\n"
        "  images/<split>/ + masks/<split>/\n"
        "  <split>/images/ + <split>/masks/\n"
        "  images/ + masks/ with train.txt, val.txt, test.txt here or in splits/\n"
        "  images/ + masks/ alone, to be divided by test_fraction\n"
        "where <split> is train, val or test, or any folders and names by images: and masks:, such as\n"
        '  images: "{split}/img/*.tif", masks: "{split}/gt/{stem}_mask.gif"'
    )


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError):
        return f"it has the layout of {', '.join(_find_splits(root, DEFAULTS).splits)}"
    return ""


def _propose(root: Path) -> dict[str, Any]:
    lines: dict[str, Any] = {} if _recognise(root) else propose_several(root) or propose(root) or _propose_stacks(root)
    coloured = False
    with contextlib.suppress(DataError):
        if isinstance(lines.get("masks"), dict):
            first = find_several(root, **lines).samples[0][0]
        else:
            found = _find_splits(root, Options(**lines))
            first = next(sample for part in found.splits.values() for sample in part)
            lines |= _propose_lists(root, found, lines)
        lines |= propose_picture(first.image)
        if "page" in lines and num_pages(first.image) == num_pages(first.mask):
            lines["page"] = ALL_PAGES
        coloured = read_mask(first.mask, page=0 if "page" in lines else None).kind == "colour"
    if coloured and not isinstance(lines.get("masks"), dict) and len(colours := colours_beside(root)[0]) > 1:
        lines["colours"] = colours
    return lines


def _propose_lists(root: Path, found: Found, lines: dict[str, Any]) -> dict[str, str]:
    """The folder of lists that divide the images, where nothing else does."""
    if not found.by_fraction or (folder := lists_folder(root)) is None:
        return {}
    with contextlib.suppress(DataError):
        listed_too = _find_splits(root, Options(**lines, lists=folder))
        if all(fault.severity == "warning" for fault in listed_too.faults):
            return {"lists": folder}
    return {}


def _propose_stacks(root: Path) -> dict[str, Any]:
    """The one stack of images that has a stack of masks with as many pages, as ``train-volume.tif`` and ``train-labels.tif``."""
    names = [name for name in files_below(root) if name.lower().endswith((".tif", ".tiff"))][:MAX_STACKS]
    pages = {name: number for name in names if (number := num_pages(root / name)) > 1}
    masks = [name for name in pages if looks_like_masks(PurePosixPath(name).stem)]
    pairs = []
    for mask in masks:
        alike = [name for name in pages if name not in masks and pages[name] == pages[mask]]
        if alike:
            pairs.append((max(alike, key=lambda name: common_start([name, mask])), mask))
    return {"images": pairs[0][0], "masks": pairs[0][1], "page": ALL_PAGES} if len(pairs) == 1 else {}


def _pictures(path: Path, options: Options) -> dict[str, Callable[[], Image.Image]]:
    pages = num_pages(path) if options.page == ALL_PAGES else 1
    if pages == 1:
        return {"": partial(picture_file, path, options.scale, options.bands, _page(options.page))}
    return {f"#{k}": partial(picture_file, path, options.scale, options.bands, k) for k in range(pages)}


def _page(page: int | str | None) -> int | None:
    """The page of a file of one picture."""
    return page if isinstance(page, int) else None


def _of_each_page(samples: Iterable[Sample], faults: list[Fault]) -> list[Sample]:
    """A sample for each page of image and mask, ``<id>#<page>``; pages of one file are a group, where there are several files."""
    files = list(samples)
    found = []
    for sample in files:
        pages, mask_pages = num_pages(sample.image), num_pages(sample.mask)
        if pages != mask_pages:
            text = (
                f"has {pages} pages, and its mask {sample.mask.name} {mask_pages}; give each page of the image its mask"
            )
            faults.append(Fault("pages", text, sample.image, sample=sample.id))
        elif pages == 1:
            found.append(sample)
        else:
            found += [replace(sample, id=f"{sample.id}#{k}") for k in range(pages)]
    if len(files) < 2:
        return found
    return [replace(sample, group=sample.id.rpartition("#")[0] or sample.id) for sample in found]


READER = Reader(Options, read, _recognise, _propose, IMAGE_SUFFIXES, _pictures)
