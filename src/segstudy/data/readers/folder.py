"""Any images with masks, in one of five common layouts.

1. CamVid: ``train/`` with ``trainannot/``, ``val/`` with ``valannot/``, ``test/`` with ``testannot/``
2. ``images/<split>/`` with ``masks/<split>/``
3. ``<split>/images/`` with ``<split>/masks/``
4. ``images/`` with ``masks/``, and lists ``train.txt``, ``val.txt``, ``test.txt`` here or in ``splits/``,
   each line the name of an image, with or without its suffix
5. ``images/`` with ``masks/``: divided into ``train`` and ``test`` by fraction over the sorted names

An image and its mask have the same name but for the suffix. ``valid`` and ``validation`` are read as ``val``.
Masks hold class indices (one channel or a palette), or 0 and 255 for two classes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from segstudy.arrays import Labels
from segstudy.data.core import (
    IGNORE,
    Dataset,
    Sample,
    divide,
    index_labels,
    open_image,
    read_grey,
    threshold_labels,
)
from segstudy.data.quality.faults import Fault, fault_of, refuse
from segstudy.data.quality.pairing import list_images, match_by_stem
from segstudy.data.readers import Reader
from segstudy.errors import DataError, listing
from segstudy.schema import ReaderOptions

SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
MAX_CLASSES = 255
MAX_LOOKED_AT = 50  # masks that are read to learn what their values mean
MAX_GUESSED = 64  # more distinct values than this are grey levels rather than classes

Splits = dict[str, tuple[Sample, ...]]


class Options(ReaderOptions):
    """What the masks' values mean.

    ``classes`` names the classes in the order of their indices, ``num_classes`` says just their number; they are guessed
    from the masks where neither is given. ``ignore_values`` are mask values that count for nothing, besides 255.
    """

    num_classes: int | None = Field(None, ge=2, le=255)
    classes: list[str] | None = Field(None, min_length=2, max_length=255)
    ignore_values: list[Annotated[int, Field(ge=0, le=255)]] = Field([])


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
        What the masks' values mean; for the last layout, fraction and seed of the division, as ``test_size`` and
        ``random_state`` of scikit-learn's ``train_test_split``.

    Raises
    ------
    DataError
        If no layout fits, no image has a mask, or the classes cannot be told. Lone files, wrong lines of lists and masks
        that cannot be read are the dataset's ``faults``.
    """
    classes, num_classes, ignore_values = options.classes, options.num_classes, options.ignore_values
    found = _find_splits(root, options.test_fraction, options.split_seed)
    masks = [sample.mask for part in found.splits.values() for sample in part]
    if classes is not None:
        _check_names(name, classes, num_classes)
        num_classes = len(classes)
    jpeg = any(_is_jpeg(mask) for mask in masks)
    values: set[int] = set()
    if num_classes in (None, 2) and not jpeg:
        values, broken = _values(masks)
        found.faults += broken
    if num_classes is None:
        num_classes = 2 if jpeg else _guess(masks, values, ignore_values, MAX_LOOKED_AT)
        looked_at = min(len(masks), MAX_LOOKED_AT)
        found.notes.append(f"{num_classes} classes, guessed from {looked_at} of {len(masks)} masks")
    if not 2 <= num_classes <= MAX_CLASSES:
        raise DataError(f"dataset '{name}': {num_classes} classes; a mask can hold 2 to {MAX_CLASSES}")
    names = tuple(classes) if classes is not None else _default_names(num_classes)
    labels_of = _meaning(masks, num_classes, ignore_values, values)
    palette = _palette(masks, num_classes, labels_of)
    return Dataset(
        name,
        names,
        palette,
        found.splits,
        labels_of,
        notes=tuple(found.notes),
        by_fraction=found.by_fraction,
        faults=tuple(found.faults),
    )


def guess_classes(masks: Sequence[Path], ignore_values: Sequence[int] = (), *, limit: int = MAX_LOOKED_AT) -> int:
    """Guess the number of classes from the values in up to ``limit`` masks, taken evenly from ``masks``.

    JPEG masks, and masks of 0 and 255 only, have two classes; otherwise the highest value, 255 and
    ``ignore_values`` aside, is the last class.

    Raises
    ------
    DataError
        If there is one value only, or there are so many that they must be grey levels.
    """
    if any(_is_jpeg(mask) for mask in masks):
        return 2
    return _guess(masks, _values(masks, limit)[0], ignore_values, limit)


def _guess(masks: Sequence[Path], found: set[int], ignore_values: Sequence[int], limit: int) -> int:
    values = found - set(ignore_values)
    if values == {0, 255}:
        return 2
    indices = values - {IGNORE}
    if len(indices) > MAX_GUESSED:
        raise DataError(
            f"{masks[0].parent}: the masks hold {len(indices)} different values up to {max(indices)}, too many to be "
            "taken for classes; give classes or num_classes if they are"
        )
    if not indices or max(indices) == 0:
        raise DataError(
            f"{masks[0].parent}: {min(limit, len(masks))} masks hold only "
            f"{listing(sorted(values)) or 'ignored values'}; give classes or num_classes"
        )
    return max(indices) + 1


def default_palette(num_classes: int) -> tuple[tuple[int, int, int], ...]:
    """Colours for up to 256 classes: black, then Okabe and Ito's seven, then ever the one farthest from all before.

    Farthest is judged by brightness above all, which survives every kind of colour blindness. Integers only, hence
    the same everywhere.

    Source: Okabe and Ito, "Color Universal Design", 2008.

    >>> default_palette(2)
    ((0, 0, 0), (230, 159, 0))
    """
    if not 0 <= num_classes <= 256:
        raise DataError(f"a palette has 0 to 256 colours, not {num_classes}")
    colours = [(0, 0, 0), (230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178)]
    colours += [(213, 94, 0), (204, 121, 167)]
    levels = np.arange(0, 256, 17)
    grid = np.stack(np.meshgrid(levels, levels, levels, indexing="ij"), axis=-1).reshape(-1, 3)
    nearest = np.min([_distance(grid, colour) for colour in colours], axis=0)
    while len(colours) < num_classes:
        red, green, blue = grid[int(nearest.argmax())].tolist()
        colours.append((red, green, blue))
        nearest = np.minimum(nearest, _distance(grid, colours[-1]))
    return tuple(colours[:num_classes])


def _distance(grid: NDArray[np.int64], colour: tuple[int, int, int]) -> NDArray[np.int64]:
    red, green, blue = (grid[:, channel] - colour[channel] for channel in range(3))
    brightness = (299 * red + 587 * green + 114 * blue) // 100  # Rec. 601, in tenths
    squared: NDArray[np.int64] = red**2 + green**2 + blue**2 + brightness**2 // 25
    return squared


@dataclass
class _Found:
    """What lies in a folder: samples by split, notes on what was left out, and what is wrong."""

    splits: Splits = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    by_fraction: bool = False


def _find_splits(root: Path, test_fraction: float, split_seed: int) -> _Found:
    """Samples by split in the first layout that fits."""
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    for image_folder, mask_folder in (("{}", "{}annot"), ("images/{}", "masks/{}"), ("{}/images", "{}/masks")):
        folders = _named_splits(root, image_folder, mask_folder)
        if any(image.is_dir() and mask.is_dir() for image, mask in folders.values()):
            return _paired(folders)
    images, masks = root / "images", root / "masks"
    if not (images.is_dir() and masks.is_dir()):
        raise DataError(_nothing_fits(root))
    samples, faults = match_by_stem(images, masks)
    if lists := _find_lists(root):
        found = _listed(samples, list_images(images).images, lists)
        if not found.splits:
            refuse(f"{root}: its lists name no image with a mask", [*faults, *found.faults])
        return _Found(found.splits, found.notes, [*faults, *found.faults])
    train, test = divide(samples, test_fraction, split_seed)
    return _Found({"train": train, "test": test}, faults=list(faults), by_fraction=True)


def _paired(folders: dict[str, tuple[Path, Path]]) -> _Found:
    """Pair the files of each split's two folders."""
    found = _Found()
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


def _nothing_fits(root: Path) -> str:
    entries = [path.name + "/" * path.is_dir() for path in sorted(root.iterdir()) if not path.name.startswith(".")]
    return (
        f"{root}: no known layout; found {listing(entries, 12) or 'nothing'}. Accepted are\n"
        "  train/ + trainannot/, val/ + valannot/, test/ + testannot/\n"
        "  images/<split>/ + masks/<split>/\n"
        "  <split>/images/ + <split>/masks/\n"
        "  images/ + masks/ with train.txt, val.txt, test.txt here or in splits/\n"
        "  images/ + masks/ alone, to be divided by test_fraction\n"
        "where <split> is train, val or test"
    )


def _find_lists(root: Path) -> dict[str, Path]:
    found = {}
    for split, aliases in SPLIT_NAMES.items():
        paths = [folder / f"{alias}.txt" for folder in (root, root / "splits") for alias in aliases]
        there = [path for path in paths if path.is_file()]
        if len(there) > 1:
            raise DataError(f"{root}: several lists for '{split}': {listing(there)}; keep one")
        if there:
            found[split] = there[0]
    return found


def _listed(samples: Iterable[Sample], images: dict[str, Path], lists: dict[str, Path]) -> _Found:
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
    unlisted = len(by_stem.keys() - place.keys())
    notes = [f"{unlisted} images stand in no list and are left out"] if unlisted else []
    return _Found({split: tuple(part) for split, part in splits.items() if part}, notes, faults)


def _lines(path: Path) -> list[str]:
    try:
        return [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read as text ({error})") from None


def _check_names(name: str, classes: Sequence[str], num_classes: int | None) -> None:
    if num_classes is not None and num_classes != len(classes):
        raise DataError(f"dataset '{name}': num_classes is {num_classes}, but {len(classes)} classes are named")
    if repeated := sorted({title for title in classes if list(classes).count(title) > 1}):
        raise DataError(f"dataset '{name}': classes named more than once: {listing(repeated)}")


def _default_names(num_classes: int) -> tuple[str, ...]:
    if num_classes == 2:
        return ("background", "foreground")
    return tuple(f"class_{index}" for index in range(num_classes))


def _is_jpeg(path: Path) -> bool:
    return path.suffix.lower() in (".jpg", ".jpeg")


def _values(masks: Sequence[Path], limit: int = MAX_LOOKED_AT) -> tuple[set[int], list[Fault]]:
    """All values in up to ``limit`` masks, taken evenly; if these are all black, in further ones until one is not.

    Of masks that cannot be read, the faults; if that is so of all of them, an error.
    """
    chosen = np.unique(np.linspace(0, len(masks) - 1, min(limit, len(masks))).astype(int)).tolist()
    found: set[int] = set()
    faults = []
    for number, index in enumerate([*chosen, *sorted(set(range(len(masks))) - set(chosen))]):
        if number >= len(chosen) and not found <= {0}:
            break
        try:
            found |= set(np.unique(read_grey(masks[index])).tolist())
        except DataError as error:
            faults.append(fault_of(error, masks[index]))
    if not found:
        refuse(f"{masks[0].parent}: no mask can be read", faults)
    return found, faults


def _meaning(
    masks: Sequence[Path], num_classes: int, ignored: Sequence[int], values: set[int]
) -> Callable[[Sample], Labels]:
    """Say once for the whole dataset what mask values mean; mask by mask, 255 could be now foreground, now ignored."""
    if jpeg := next((mask for mask in masks if _is_jpeg(mask)), None):
        if num_classes > 2:
            raise DataError(
                f"{jpeg}: JPEG alters values, so it cannot hold the indices of {num_classes} classes; "
                "provide the masks as PNG"
            )
        return threshold_labels
    if num_classes == 2 and not ignored and values == {0, 255}:
        return _black_and_white
    return partial(index_labels, num_classes=num_classes, ignored=tuple(ignored))


def _black_and_white(sample: Sample) -> Labels:
    """Labels from a mask of 0 and 255, in a dataset whose masks were seen to hold nothing else."""
    values = read_grey(sample.mask)
    if wrong := set(np.unique(values).tolist()) - {0, 255}:
        raise DataError(
            f"{sample.mask}: holds {listing(sorted(wrong))}, while other masks of the dataset hold 0 and 255 only; "
            "make them alike (0 and 255, or class indices with 255 ignored)",
            "outside-classes",
        )
    return np.equal(values, 255).astype(np.uint8)


def _palette(
    masks: Sequence[Path], num_classes: int, labels_of: Callable[[Sample], Labels]
) -> tuple[tuple[int, int, int], ...]:
    """The palette of the first mask that can be read, where it has one for class indices; else the default."""
    default = default_palette(num_classes)
    flat = None
    if isinstance(labels_of, partial):
        for mask in masks:
            with contextlib.suppress(DataError):
                flat = open_image(mask).getpalette("RGB")
                break
    if flat is None:
        return default
    own = tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat) - 2, 3))[:num_classes]
    return own + default[len(own) :]


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError):
        return f"it has the layout of {', '.join(_find_splits(root, 0.2, 42).splits)}"
    return ""


READER = Reader(Options, read, _recognise)
