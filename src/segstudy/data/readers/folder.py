"""Any images with masks, in one of five common layouts.

1. CamVid: ``train/`` with ``trainannot/``, ``val/`` with ``valannot/``, ``test/`` with ``testannot/``
2. ``images/<split>/`` with ``masks/<split>/``
3. ``<split>/images/`` with ``<split>/masks/``
4. ``images/`` with ``masks/``, and lists ``train.txt``, ``val.txt``, ``test.txt`` here or in ``splits/``,
   each line the name of an image, with or without its suffix
5. ``images/`` with ``masks/``: divided into ``train`` and ``test`` by fraction over the sorted names

An image and its mask have the same name but for the suffix. ``valid`` and ``validation`` are read as ``val``.
Masks hold class indices (one channel or a palette), or 0 and 255 for two classes; what else they hold, an option says.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from segstudy.data.core import Dataset, Sample, divide, open_image
from segstudy.data.declared import Declared
from segstudy.data.encoding import Encoding, decide
from segstudy.data.quality.faults import Fault, fault_of, refuse
from segstudy.data.quality.pairing import list_images, match_by_stem
from segstudy.data.readers import Reader
from segstudy.data.stored import MaskFacts, facts_of, read_mask
from segstudy.data.threads import in_threads
from segstudy.data.undeclared import refuse_unindexed
from segstudy.errors import DataError, listing
from segstudy.schema import ReaderOptions

SPLIT_NAMES = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}
MAX_LOOKED_AT = 50  # masks that are read to learn what their values mean

Splits = dict[str, tuple[Sample, ...]]


def _number(key: Any) -> Any:
    """A key of ``values`` as a number again, where JSON has made it text."""
    with contextlib.suppress(ValueError, TypeError):
        return float(key) if not float(key).is_integer() else int(float(key))
    return key


def _numbered(table: Any) -> Any:
    return {_number(key): name for key, name in table.items()} if isinstance(table, dict) else table


class Options(ReaderOptions):
    """What the masks' values mean.

    ``classes`` names the classes in the order of their indices, ``num_classes`` says just their number; they are guessed
    from the masks where neither is given. ``ignore_values`` are mask values that count for nothing, besides 255.

    For masks that are no class indices: ``values`` names the class of each stored value (the class ``ignore`` is left
    out), and with ``nearest`` values between them are read as the nearest; ``colours`` names the class of each colour, as
    ``'#rrggbb'``; ``threshold`` makes two classes, foreground being what is above it; ``channel`` says which channel holds
    the mask.
    """

    num_classes: int | None = Field(None, ge=2, le=255)
    classes: list[str] | None = Field(None, min_length=2, max_length=255)
    ignore_values: list[Annotated[int, Field(ge=0, le=255)]] = Field([])
    values: Annotated[dict[int | float, str] | None, BeforeValidator(_numbered)] = Field(None, min_length=2)
    nearest: bool = Field(False)
    colours: dict[str, str] | None = Field(None, min_length=2)
    threshold: float | None = Field(None, ge=0)
    channel: Literal["grey", "red", "green", "blue", "alpha"] | None = Field(None)

    @model_validator(mode="after")
    def _one_meaning(self) -> Options:
        given = [key for key in ("values", "colours", "threshold") if getattr(self, key) is not None]
        if len(given) > 1:
            raise ValueError(f"{listing(given)} each say what mask values mean; keep one of them")
        if self.nearest and self.values is None:
            raise ValueError("nearest goes with values; give values too, or take nearest out")
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
        What the masks' values mean; for the last layout, fraction and seed of the division, as ``test_size`` and
        ``random_state`` of scikit-learn's ``train_test_split``.

    Raises
    ------
    DataError
        If no layout fits, no image has a mask, or the classes cannot be told. Lone files, wrong lines of lists and masks
        that cannot be read are the dataset's ``faults``.
    """
    found = _find_splits(root, options.test_fraction, options.split_seed)
    masks = [sample.mask for part in found.splits.values() for sample in part]
    if options.classes is not None:
        _check_names(name, options.classes, options.num_classes)
    declared = Declared(
        classes=tuple(options.classes) if options.classes is not None else None,
        num_classes=options.num_classes,
        ignore_values=tuple(options.ignore_values),
        values=options.values,
        nearest=options.nearest,
        colours=options.colours,
        threshold=options.threshold,
        channel=options.channel,
    )
    encoding, looked_at, broken = _decide(masks, declared)
    found.faults += broken
    if declared.number is None and declared.means is None:
        found.notes.append(f"{encoding.num_classes} classes, guessed from {looked_at} of {len(masks)} masks")
    names = declared.classes or encoding.classes or _default_names(encoding.num_classes)
    return Dataset(
        name,
        names,
        _palette(masks, encoding),
        found.splits,
        encoding.labels_of,
        notes=tuple(found.notes),
        by_fraction=found.by_fraction,
        faults=tuple(found.faults),
    )


def _decide(masks: Sequence[Path], declared: Declared) -> tuple[Encoding, int, list[Fault]]:
    """What the masks' values mean, how many masks were looked at, and faults of those that cannot be used."""
    where = masks[0].parent
    if declared.means is not None:
        return decide([], declared, where), 0, []
    facts, faults = _look(masks, declared.channel)
    fit = []
    for mask in facts:
        try:
            refuse_unindexed([mask], declared)
            fit.append(mask)
        except DataError as error:
            faults.append(fault_of(error, mask.path))
    return decide(fit or facts, declared, where), min(len(masks), MAX_LOOKED_AT), faults


def _look(masks: Sequence[Path], channel: str | None) -> tuple[list[MaskFacts], list[Fault]]:
    """Facts of a number of masks, taken evenly; if these are all black, of further ones until one is not.

    Of masks that cannot be read, the faults; if that is so of all of them, an error.
    """
    chosen = np.unique(np.linspace(0, len(masks) - 1, min(MAX_LOOKED_AT, len(masks))).astype(int)).tolist()

    def one(index: int) -> MaskFacts | Fault:
        try:
            return facts_of(read_mask(masks[index], channel))
        except DataError as error:
            return fault_of(error, masks[index])

    found = in_threads(one, chosen)
    for index in sorted(set(range(len(masks))) - set(chosen)):
        if any(isinstance(each, MaskFacts) and set(each.counts) != {0} for each in found):
            break
        found.append(one(index))
    facts = [each for each in found if isinstance(each, MaskFacts)]
    faults = [each for each in found if isinstance(each, Fault)]
    if not facts:
        refuse(f"{masks[0].parent}: no mask can be read", faults)
    return facts, faults


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


def _palette(masks: Sequence[Path], encoding: Encoding) -> tuple[tuple[int, int, int], ...]:
    """The palette of the first mask that can be read, where it has one for class indices; else the default."""
    default = default_palette(encoding.num_classes)
    if encoding.how == "colours":
        first = {label: int(code) for code, label in reversed(list(encoding.table.items()))}
        return tuple((first[k] >> 16, first[k] >> 8 & 255, first[k] & 255) for k in range(encoding.num_classes))
    flat = None
    if encoding.how == "indices":
        for mask in masks:
            with contextlib.suppress(DataError):
                flat = open_image(mask).getpalette("RGB")
                break
    if flat is None:
        return default
    own = tuple((flat[i], flat[i + 1], flat[i + 2]) for i in range(0, len(flat) - 2, 3))[: encoding.num_classes]
    return own + default[len(own) :]


def _recognise(root: Path) -> str:
    with contextlib.suppress(DataError):
        return f"it has the layout of {', '.join(_find_splits(root, 0.2, 42).splits)}"
    return ""


READER = Reader(Options, read, _recognise)
