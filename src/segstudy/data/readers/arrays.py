"""Label arrays in MATLAB's ``.mat`` and NumPy's ``.npy``, with images as pictures or arrays.

1. A file for each image, paired by patterns (``images: "img/*.jpg"``, ``masks: "cls/{stem}.mat"``) or by names that agree.
2. Stacks: ``images.npy`` (n, h, w[, c]) with ``masks.npy`` (n, h, w[, 1]), in the root or in a folder for each split, or
   ``X_train.npy`` with ``Y_train.npy`` and so on.

Images may have their channels first, as (3, h, w).

Of a ``.mat`` file ``variable`` is the label array, a dot standing before a field of a struct. Nothing is unpickled.
"""

from __future__ import annotations

import contextlib
import functools
import re
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pydantic import Field

from segstudy.data.core import IMAGE_SUFFIXES, Dataset, Sample
from segstudy.data.quality.faults import Fault
from segstudy.data.readers import Reader
from segstudy.data.readers.annotated import split_of
from segstudy.data.readers.numbers import (
    MAX_VALUES,
    ArrayOptions,
    found_of,
    pairs_of_arrays,
    propose_arrays,
)
from segstudy.data.readers.patterns import files_below
from segstudy.data.readers.pictures import Numbers, picture_file, picture_of
from segstudy.data.readers.values import value_dataset
from segstudy.data.stored import StoredMask, of_numbers, read_mask
from segstudy.errors import DataError, listing
from segstudy.files import open_regular

ARRAYS = (".npy", ".mat")
SUFFIXES = (*IMAGE_SUFFIXES, *ARRAYS)
STACKED = re.compile(r"(images?|imgs?|x)([_-]?(?:train|training|val|valid|validation|test|testing))?")
STACKED_MASKS = ("masks", "mask", "labels", "label", "y", "gt")
KNOWN_FIELDS = ("GTcls.Segmentation", "LabelMap", "S")  # SBD, PASCAL Context, COCO-Stuff
MAX_INFLATED = 2**31
MAX_CHANNELS = 16  # in the last axis of one image; an array with a longer one is a stack of images
COMPRESSED, HEADER_BYTES = 15, 128  # of a .mat file of version 5


class Options(ArrayOptions):
    """``variable``: which array of a ``.mat`` file holds the labels; see also :class:`ArrayOptions`."""

    variable: str | None = Field(None, min_length=1)


DEFAULTS = Options()


def read(name: str, root: Path, options: Options = DEFAULTS) -> Dataset:
    """Read label arrays.

    Parameters
    ----------
    name
        What the study calls the dataset.
    root
        The folder that holds the arrays.
    options
        Where they lie and what they hold; where no folder says a split, fraction and seed of the division.

    Raises
    ------
    DataError
        If no pair is found, or what the arrays hold is not clear.

    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    if options.images is None and options.masks is None and (stacks := _stacks(root)):
        samples, faults = _rows(root, stacks), list[Fault]()
    else:
        samples, faults = pairs_of_arrays(root, options, SUFFIXES, ARRAYS if options.masks is None else SUFFIXES)
    image_of = partial(_image, scale=options.scale, bands=options.bands)
    stored_of = partial(_stored, variable=options.variable, channel=options.channel)
    return value_dataset(name, found_of(samples, faults, options), options, stored_of, image_of)


def _stacks(root: Path) -> list[tuple[Path, Path]]:
    """Files in one folder that each hold many images or many masks."""
    files = {path.lower(): path for path in files_below(root) if path.lower().endswith(".npy")}
    found = []
    for path in files:
        folder, _, file = path.rpartition("/")
        if (match := STACKED.fullmatch(file.removesuffix(".npy"))) is None:
            continue
        others = [f"{folder}/{mask}{match[2] or ''}.npy".lstrip("/") for mask in STACKED_MASKS]
        found += [(root / files[path], root / files[other]) for other in others if other in files]
    return [pair for pair in found if _are_stacks(*(_load_npy(path).shape for path in pair))]


def _are_stacks(image: tuple[int, ...], mask: tuple[int, ...]) -> bool:
    """Whether arrays of these shapes hold many images and many masks; an image in three dimensions is grey."""
    return len(mask) in (3, 4) and (len(image) == 4 or (len(image) == 3 and image[1:] in (mask[1:3], mask[-2:])))


def _rows(root: Path, stacks: list[tuple[Path, Path]]) -> list[tuple[Sample, str]]:
    samples = []
    for images, masks in stacks:
        many = _load_npy(images), _load_npy(masks)
        if len(many[0]) != len(many[1]):
            raise DataError(f"{images}: holds {len(many[0])} images, but {masks.name} {len(many[1])} masks")
        place = images.parent.relative_to(root).as_posix()
        ending = re.sub(r"^.*[^a-z]|^x(?=[a-z])", "", images.stem.lower()) if place == "." else ""
        place = ending if split_of(ending) else place
        prefix = "" if place == "." else f"{place}/"
        samples += [(Sample(f"{prefix}{k:06d}", images, masks), split_of(place)) for k in range(len(many[0]))]
    return samples


def _row(sample: Sample, values: Numbers) -> Numbers:
    """The sample's part of a stack, found by the number in its id; an array of one sample is returned as it is."""
    number = sample.id.rpartition("/")[2]
    if sample.image.stem == number or not number.isdigit():
        return values
    return np.asarray(values[int(number)])


def _image(sample: Sample, scale: list[float] | None, bands: list[int] | None) -> Image.Image:
    if sample.image.suffix.lower() in IMAGE_SUFFIXES:
        return picture_file(sample.image, scale, bands)
    if sample.image.suffix.lower() == ".mat":
        values = _variable(sample.image, None, (2, 3))
    else:
        values = _row(sample, _load_npy(sample.image))
    return picture_of(_channels_last(values), sample.image, scale, bands)


def _channels_last(values: Numbers) -> Numbers:
    """An image (h, w, c) that may be stored as (c, h, w), as PyTorch has it: plain where the last axis is no channels'."""
    return np.moveaxis(values, 0, 2) if _is_channels_first(values.shape) else values


def _is_channels_first(shape: tuple[int, ...]) -> bool:
    return len(shape) == 3 and shape[0] in (1, 3) and shape[2] > MAX_CHANNELS


def _stored(sample: Sample, variable: str | None, channel: str | None) -> StoredMask:
    if sample.mask.suffix.lower() not in ARRAYS:
        return read_mask(sample.mask, channel)
    return stored_array(sample, variable)


def stored_array(sample: Sample, variable: str | None = None) -> StoredMask:
    """The mask in an array's file; of a stack, the one whose number ends the sample's id."""
    if sample.mask.suffix.lower() == ".mat":
        values = _variable(sample.mask, variable, (2,))
    else:
        values = _row(sample, _load_npy(sample.mask))
    if values.ndim == 3 and 1 in (values.shape[0], values.shape[2]):
        values = values.squeeze(0 if values.shape[0] == 1 else 2)
    return labels_of_array(values, sample.mask)


def labels_of_array(values: Numbers, path: Path, nodata: float | None = None) -> StoredMask:
    """A mask of numbers (h, w); any other shape, such as one channel per class, is refused."""
    if values.ndim != 2 or not values.size or values.dtype.kind not in "biuf":
        advice = "save the class of each pixel"
        if values.ndim == 3 and (axis := _one_hot_axis(values)) is not None:
            advice = f"it has a channel for each class, so save array.argmax(axis={axis})"
        text = f"a mask is an array of numbers with two dimensions, and this is {values.dtype} {values.shape}; {advice}"
        raise DataError(f"{path}: {text}", "unreadable")
    return of_numbers(path, np.ascontiguousarray(values), nodata)


def _one_hot_axis(values: Numbers) -> int | None:
    """The axis along which each pixel has a single 1 among zeros, of an array (h, w, c) or (c, h, w)."""
    if values.dtype.kind not in "biuf" or not np.isin(values, (0, 1)).all():
        return None
    return next((axis for axis in (2, 0) if (np.sum(values, axis=axis, dtype=np.float64) == 1).all()), None)


def _load_npy(path: Path) -> Numbers:
    try:
        values: Numbers = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing", "missing") from None
    except (OSError, ValueError, EOFError, SyntaxError, OverflowError, MemoryError) as error:
        # NumPy takes whatever it does not know for a pickle, and advises to load it all the same
        reason = "it is no .npy file, or holds Python objects" if "ickle" in str(error) else error
        raise DataError(f"{path}: cannot be read as a NumPy array ({reason})", "unreadable") from None
    return values


@functools.lru_cache(maxsize=4)
def _load_mat(path: Path, _changed: int) -> dict[str, Any]:
    import scipy.io

    try:
        with open_regular(path) as file:
            _check_inflated(file.read())
        content: dict[str, Any] = scipy.io.loadmat(path, squeeze_me=True, struct_as_record=False)
    except NotImplementedError:
        raise DataError(f"{path}: is of MATLAB 7.3; save it with save(..., '-v7')", "unreadable") from None
    except Exception as error:  # whatever scipy meets in damaged bytes
        raise DataError(f"{path}: cannot be read as a .mat file ({error})", "unreadable") from None
    return {name: value for name, value in content.items() if not name.startswith("__")}


def _check_inflated(content: bytes) -> None:
    """Refuse a file whose compressed parts unpack to an implausible size."""
    at, left = HEADER_BYTES, MAX_INFLATED
    order = "big" if content[126:128] == b"MI" else "little"
    while at + 8 <= len(content):
        kind, size = (int.from_bytes(content[k : k + 4], order) for k in (at, at + 4))  # type: ignore[arg-type]
        if kind == COMPRESSED:
            inflate, data = zlib.decompressobj(), content[at + 8 : at + 8 + size]
            while data and left > 0:
                left -= len(inflate.decompress(data, 2**24))
                data = inflate.unconsumed_tail
            if left <= 0:
                raise ValueError("it is larger than 2 GB when decompressed")
        at += 8 + size


def _variable(path: Path, name: str | None, ndims: tuple[int, ...]) -> Numbers:
    """The array called ``name``; without a name, the only array that can hold the values of an image."""
    try:
        content = _load_mat(path, path.stat().st_mtime_ns)
    except OSError:
        raise DataError(f"{path}: the file is missing", "missing") from None
    arrays = dict(_arrays(content))
    if name is not None:
        if name not in arrays:
            raise DataError(f"{path}: has no array '{name}'; it has {listing(arrays) or 'none'}", "unreadable")
        return arrays[name]
    fit = {key: each for key, each in arrays.items() if each.ndim in ndims and each.dtype.kind in "biuf"}
    known = [key for key in KNOWN_FIELDS if key in fit]
    if len(known) == 1 or len(fit) == 1:
        return fit[known[0] if len(known) == 1 else next(iter(fit))]
    if not fit:
        raise DataError(f"{path}: holds no array of labels; it has {listing(arrays) or 'nothing'}", "unreadable")
    text = " or ".join(f"variable: {key}" for key in fit)
    raise DataError(f"{path}: holds several arrays; add {text} to the entry", "unreadable")


def _arrays(content: dict[str, Any], prefix: str = "", depth: int = 0) -> list[tuple[str, Numbers]]:
    """The arrays of a file, including the fields of its structs."""
    found: list[tuple[str, Numbers]] = []
    for key, value in content.items():
        if isinstance(value, np.ndarray) and value.size <= MAX_VALUES:
            found.append((prefix + key, value))
        elif hasattr(value, "_fieldnames") and depth < 3:
            fields = {field: getattr(value, field) for field in value._fieldnames}
            found += _arrays(fields, f"{prefix}{key}.", depth + 1)
    return found


def _first(path: Path) -> Numbers:
    return _variable(path, None, (2, 3)) if path.suffix.lower() == ".mat" else _channels_last(_load_npy(path))


def _propose(root: Path) -> dict[str, Any]:
    with contextlib.suppress(DataError):
        if stacks := _stacks(root):
            values = _load_npy(stacks[0][0])
            lines: dict[str, Any] = {}
            if values.dtype != np.uint8:
                lines["scale"] = [float(values[0].min()), max(float(values[0].max()), float(values[0].min()) + 1)]
            one = _channels_last(values[0])
            if one.ndim == 3 and one.shape[2] not in (1, 3):
                lines["bands"] = [0] if one.shape[2] < 3 else [0, 1, 2]
            return lines
        return propose_arrays(root, DEFAULTS, (SUFFIXES, ARRAYS), _first, IMAGE_SUFFIXES)
    return {}


def _recognise(root: Path) -> str:
    found = [path for path in files_below(root) if path.lower().endswith(ARRAYS)]
    return f"it holds {listing(found, 2)}" if len(found) > 1 else ""


def row_names(path: Path, pictures: bool = False) -> list[str]:
    """What is added to the name of a ``.npy`` file for each image or mask of a stack; of a single one, nothing."""
    shape = _load_npy(path).shape
    if pictures:
        one = len(shape) == 3 and (shape[2] <= MAX_CHANNELS or _is_channels_first(shape))
    else:
        one = len(shape) == 3 and 1 in (shape[0], shape[2])
    return [""] if one or len(shape) < 3 else [f"/{k:06d}" for k in range(shape[0])]


def _pictures(path: Path, options: Options) -> dict[str, Callable[[], Image.Image]]:
    image_of = partial(_image, scale=options.scale, bands=options.bands)
    names = row_names(path, pictures=True) if path.suffix.lower() == ".npy" else [""]
    return {end: partial(image_of, Sample(path.stem + end, path, path)) for end in names}


READER = Reader(Options, read, _recognise, _propose, SUFFIXES, _pictures)
