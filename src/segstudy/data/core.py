"""Datasets as plain data: samples, splits, decoding, and the roles that splits play in a study.

Array letters: ``h`` height, ``w`` width, ``c`` colour channel. Labels are ``uint8`` class indices; 255 is ignored.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.PngImagePlugin import PngImageFile

from segstudy.arrays import Labels
from segstudy.data.quality.faults import Fault
from segstudy.errors import DataError, SpecError, listing, nearest, repeated

IGNORE = 255
IMAGE_SUFFIXES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".tif",
    ".tiff",
    ".webp",
    ".gif",
    ".jfif",
    ".pgm",
    ".ppm",
    ".pbm",
    ".pnm",
)
ANNOTATIONS = (".json", ".xml", ".csv")  # files in which masks are outlines or run lengths
DAMAGED = (
    OSError,
    ValueError,
    SyntaxError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    struct.error,
)  # Pillow's
TURN = Image.Transpose
UNTURN = {  # what undoes each EXIF orientation once it was applied
    2: TURN.FLIP_LEFT_RIGHT,
    3: TURN.ROTATE_180,
    4: TURN.FLIP_TOP_BOTTOM,
    5: TURN.TRANSPOSE,
    6: TURN.ROTATE_90,
    7: TURN.TRANSVERSE,
    8: TURN.ROTATE_270,
}


@dataclass(frozen=True, order=True)
class Sample:
    """One image with its mask.

    ``id`` is unique within a dataset and never changes with the place where the dataset lies. ``group`` names what the
    image shares with others that must stay together (a patient, a video, a city); either every sample of a dataset has
    one or none has, and then it is empty. ``parts`` are further files of the mask, where it has several.
    """

    id: str
    image: Path
    mask: Path
    group: str = ""
    parts: tuple[Path, ...] = ()


Parts = tuple[tuple[Sample, ...], tuple[Sample, ...]]  # what is kept, and what is held out


@dataclass(frozen=True)
class Dataset:
    """Samples by split, and how a sample's mask becomes labels.

    ``classes[k]`` and ``palette[k]`` (RGB, 0-255) belong to label ``k``; a network for the dataset has
    ``len(classes)`` outputs. ``labels_of`` returns labels at the mask's own size, ``uint8`` (h, w), each below
    ``len(classes)`` or 255, and raises :class:`~segstudy.errors.DataError` for any other value. ``reading`` names
    everything besides the files themselves that labels depend on: two datasets of one ``reading`` and the same files
    give the same labels. ``by_fraction`` says that the splits were drawn, not named by the layout. ``faults`` are what the
    reader found wrong and left out, such as an image without a mask: nothing may be trained on a dataset that has errors
    among them. ``image_of`` decodes a sample's image, of formats that Pillow does not read too.
    """

    name: str
    classes: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]
    splits: Mapping[str, tuple[Sample, ...]]
    labels_of: Callable[[Sample], Labels]
    notes: tuple[str, ...] = ()
    reading: str = ""
    by_fraction: bool = False
    faults: tuple[Fault, ...] = ()
    image_of: Callable[[Sample], Image.Image] = lambda sample: open_image(sample.image)

    def __post_init__(self) -> None:
        """Refuse two classes of one name, which no table and no map could tell apart."""
        if twice := repeated(self.classes):
            raise DataError(f"dataset '{self.name}': classes named more than once: {listing(twice)}")

    def samples(self, split: str) -> tuple[Sample, ...]:
        """Samples of ``split``; ``"all"`` gives every split's, in the order of the splits."""
        if split == "all":
            return tuple(sample for part in self.splits.values() for sample in part)
        if split not in self.splits:
            raise DataError(f"dataset '{self.name}' has no split '{split}'; it has {listing(self.splits)}")
        return self.splits[split]


@dataclass(frozen=True)
class Roles:
    """Which split trains, which chooses the epoch, and which is reported."""

    train: str
    select: str
    report: str


def check_names(dataset: Dataset) -> None:
    """Refuse names that no list, table or message can hold: with line ends or other controls, or not UTF-8."""
    ids = {sample.id for samples in dataset.splits.values() for sample in samples}
    bad = sorted(ascii(name) for name in ids if not name.isprintable())
    if bad:
        raise DataError(
            f"dataset '{dataset.name}': {len(bad)} files have names with line ends, control characters or bytes that are "
            f"not UTF-8: {listing(bad, 4)}; rename them"
        )


def train_test_indices(count: int, test_fraction: float, seed: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Split ``range(count)`` as scikit-learn's ``train_test_split(test_size=test_fraction, random_state=seed)``.

    Returns the training and the test indices, each in scikit-learn's (shuffled) order. NumPy keeps the legacy
    generator's stream fixed for ever, so the split depends on no library version.

    Source: scikit-learn, ``ShuffleSplit``; compared index for index in the tests.

    >>> train_test_indices(5, 0.2, 42)[1].tolist()
    [1]
    """
    num_test = math.ceil(test_fraction * count)
    if not 0 < num_test < count:
        raise DataError(f"{count} samples cannot be divided with a test fraction of {test_fraction}: one part is empty")
    order = np.random.RandomState(seed).permutation(count)
    return order[num_test:], order[:num_test]


def divide(samples: Sequence[Sample], fraction: float, seed: int) -> Parts:
    """Divide ``samples`` into (kept, held out), the latter being ``fraction`` of them; a single one is held out."""
    if len(samples) == 1:
        return (), tuple(samples)
    kept, held_out = train_test_indices(len(samples), fraction, seed)
    return tuple(samples[i] for i in kept), tuple(samples[i] for i in held_out)


def assign_roles(
    dataset: Dataset,
    protocol: str,
    report: str | None,
    hold_out: Callable[[Sequence[Sample]], Parts],
    trains: bool = True,
) -> tuple[Dataset, Roles]:
    """Say who trains, who chooses the epoch and who is reported, carving a ``holdout`` from train where needed.

    Under ``paper`` the reported split also chooses the epoch, as the review did. Under ``held-out`` the epoch is
    chosen on the dataset's own ``holdout`` (a split file may have one) or ``val``, whichever is not the reported split,
    else on a ``holdout`` of what ``hold_out`` takes from ``train``, the same for every run. A dataset on which nothing
    ``trains``, a mere target of cross-evaluations, needs no ``train``; its roles of training and choosing are empty.
    """
    reported = report or next((name for name in ("test", "val") if name in dataset.splits), None)
    if not trains and not dataset.splits.get("train"):
        reported = reported or "all"
        dataset.samples(reported)
        return dataset, Roles("", "", reported)
    if reported is None or "train" not in dataset.splits:
        raise DataError(
            f"dataset '{dataset.name}' has the splits {listing(dataset.splits) or 'none'}; "
            "training needs 'train' and one of 'test' or 'val' to report; folds: 5 in the entry divides all images again"
        )
    dataset.samples(reported)
    if dataset.by_fraction and not dataset.splits["train"]:
        raise DataError(f"dataset '{dataset.name}' holds a single image, so none is left to train on; add images")
    if protocol == "paper":
        note = "protocol 'paper' makes no use of the split 'holdout'"
        notes = (*dataset.notes, note) if "holdout" in dataset.splits and reported != "holdout" else dataset.notes
        return replace(dataset, notes=notes), Roles("train", reported, reported)
    for own in ("holdout", "val"):
        if own in dataset.splits and reported != own:
            return dataset, Roles("train", own, reported)
    kept, held_out = hold_out(dataset.splits["train"])
    splits = {**dataset.splits, "train": kept, "holdout": held_out}
    return replace(dataset, splits=splits), Roles("train", "holdout", reported)


def require_file(path: Path) -> None:
    """Refuse a folder, a pipe or a device in place of a file: reading a pipe waits for ever."""
    try:
        wrong = path.exists() and not path.is_file()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})", "unreadable") from None
    if wrong:
        raise DataError(f"{path}: is not a file but a folder, a pipe or a device; remove it", "unreadable")


def open_image(path: Path, page: int | None = None) -> Image.Image:
    """Decode ``path`` completely, its pixels as they are stored: this is how every image and mask is read.

    Of a file with several pages or frames, ``page`` is the one that is meant, counted from 0.

    An orientation tag turns nothing, whatever the format (Pillow turns TIFF and no other): masks are drawn by programs
    that see the stored pixels. ``info`` keeps the tag as ``orientation`` (1 for none), the bits of a channel as ``bits``
    and the file's number of channels, of which Pillow may leave some out, as ``channels``; ``lossy`` says that compression has
    altered values; ``top`` and ``white_first`` say that
    Pillow has scaled values (of PGM) from that largest one, or turned them round (of TIFF in which 0 is white).

    Raises
    ------
    DataError
        Naming the file, if it is missing, foreign or truncated, or holds several pages or frames and not that ``page``.

    """
    require_file(path)
    try:
        # Given a path, Pillow maps uncompressed TIFF into memory and scrambles pictures that lie on their side.
        with path.open("rb") as file, Image.open(file) as image:
            pages = 1 if image.format == "MPO" else getattr(image, "n_frames", 1)  # a photograph and its previews
            if pages > 1:
                _seek(image, path, pages, page)
            bits, turn = _bits(image), exif_orientation(image) if image.format == "TIFF" else 1
            top, white_first = _top(image), getattr(image, "tag_v2", {}).get(262) == 0
            image.load()
            stored: Image.Image = image
            if image.format == "TIFF" and turn > 1:
                stored = image.transpose(UNTURN[turn])
                stored.format = image.format
            turn = turn if image.format == "TIFF" else exif_orientation(image)
            channels = int(getattr(image, "tag_v2", {}).get(277, 0)) or len(stored.getbands())
            lossy = image.format in ("JPEG", "MPO") or (image.format == "WEBP" and _is_lossy_webp(path))
            stored.info.update(bits=bits, orientation=turn, channels=channels, top=top, white_first=white_first)
            stored.info["lossy"] = lossy
            return stored
    except FileNotFoundError:
        raise DataError(f"{path}: the file is missing", "missing") from None
    except (*DAMAGED, Image.DecompressionBombError) as error:
        unknown = isinstance(error, UnidentifiedImageError)
        kind = "truncated" if "truncated" in str(error).lower() or _lacks_end(path) else "unreadable"
        reason = "not an image that Pillow can read" if unknown else f"the image cannot be decoded ({error})"
        raise DataError(f"{path}: {reason}; copy it again from its source", kind) from None


def _seek(image: Image.Image, path: Path, pages: int, page: int | None) -> None:
    """Go to the page that is meant, of a file that has several."""
    if page is None:
        raise DataError(
            f"{path}: holds {pages} pages or frames; say which one to read, counted from 0: write `page: 0` in an entry with the "
            "reader 'folder' (--page 0 on the command line), or `page: all`, if each page of an image has a mask",
            "pages",
            {"page": 0},
        )
    if page >= pages:
        raise DataError(f"{path}: has no page {page}; it holds {pages}, counted from 0", "pages")
    image.seek(page)


def num_pages(path: Path) -> int:
    """Pages or frames of a file; 1 for one that cannot be read, which is said where it is decoded."""
    try:
        with Image.open(path) as image:
            return 1 if image.format == "MPO" else int(getattr(image, "n_frames", 1))
    except (*DAMAGED, Image.DecompressionBombError):
        return 1


def _bits(image: Image.Image) -> int:
    """Bits of a channel as stored, of an image that is opened and not yet decoded; Pillow widens or cuts them to 8."""
    if image.format == "TIFF":
        return int(max(getattr(image, "tag_v2", {}).get(258, (8,))))
    if isinstance(image, PngImageFile) and image.tile:
        depth = str(image.tile[0].args).partition(";")[2].strip("BLN'(),")  # a raw mode such as "L;2" or "RGB;16B"
        return int(depth) if depth.isdigit() else 8
    return 8


def _top(image: Image.Image) -> int:
    """The largest value of a PGM file from which Pillow scales to 8 or 16 bits; 0 where it scales nothing."""
    arguments = image.tile[0].args if image.format == "PPM" and image.tile else ()  # type: ignore[attr-defined]
    return int(arguments[1]) if isinstance(arguments, tuple) and len(arguments) == 2 else 0


def _is_lossy_webp(path: Path) -> bool:
    """Whether a WebP file holds a picture in the format of VP8, which alters values, and not in its lossless one."""
    content = path.read_bytes()
    at = 12  # after RIFF, the size and WEBP
    while at + 8 <= len(content):
        name, size = content[at : at + 4], int.from_bytes(content[at + 4 : at + 8], "little")
        if name in (b"VP8 ", b"VP8L"):
            return name == b"VP8 "
        at += 8 + size + size % 2
    return False


def exif_orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 for none, and where the tag is damaged."""
    if image.format != "TIFF" and "exif" not in image.info:
        return 1
    try:
        turn = image.getexif().get(ExifTags.Base.Orientation, 1)
    except Exception:  # whatever Pillow meets in damaged bytes, its warnings as errors among them
        return 1
    return turn if isinstance(turn, int) and turn in UNTURN else 1


def _lacks_end(path: Path) -> bool:
    """Whether a JPEG or PNG file does not end as its format says, so that it must have been cut off."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    ends = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG": b"IEND"}
    return any(content.startswith(start) and end not in content[-64:] for start, end in ends.items())


def has_more_channels(image: Image.Image) -> bool:
    """Whether a file has channels that Pillow left out."""
    return int(image.info.get("channels", 0)) > len(image.getbands())


def is_deep(image: Image.Image) -> bool:
    """Whether a decoded file holds more than 8 bits a channel; of colours, Pillow keeps the upper 8 without a word."""
    return image.mode.startswith(("I", "F")) or image.info.get("bits", 8) > 8


def read_rgb(path: Path) -> Image.Image:
    """Decode an image as 8-bit RGB. Images of 16 bits or floats are refused: cutting them to 8 bits is a choice."""
    return as_rgb(path, open_image(path))


def as_rgb(path: Path, image: Image.Image) -> Image.Image:
    """A decoded file as 8-bit RGB, as :func:`read_rgb` gives it."""
    if is_deep(image):
        text = (
            f"mode '{image.mode}' has more than 8 bits a channel; convert it to 8-bit RGB, or read it with the reader "
            "'folder' and scale: [low, high], the numbers that become black and white"
        )
        raise DataError(f"{path}: {text}", "16-bit")
    if has_more_channels(image):
        text = f"holds {image.info['channels']} channels, of which {len(image.getbands())} would be read"
        raise DataError(f"{path}: {text}; convert it, or read it with the reader 'folder' and bands: [0, 1, 2]", "mode")
    if "transparency" in image.info:  # Pillow warns of palettes with transparency unless they become RGBA first
        return image.convert("RGBA").convert("RGB")
    return image if image.mode == "RGB" else image.convert("RGB")


def load_pair(dataset: Dataset, sample: Sample) -> tuple[Image.Image, Labels]:
    """Image (RGB) and labels (h, w) at their own, equal, size."""
    image = as_rgb(sample.image, dataset.image_of(sample))
    labels = dataset.labels_of(sample)
    if (image.height, image.width) != labels.shape:
        raise DataError(
            f"{sample.image}: the image is {image.width}x{image.height} but its mask {sample.mask.name} is "
            f"{labels.shape[1]}x{labels.shape[0]}; {size_advice(image.size, (labels.shape[1], labels.shape[0]), sample.mask)}",
            "size-mismatch",
        )
    return image, labels


def same_shape(size: tuple[int, int], other: tuple[int, ...]) -> bool:
    """Whether two sizes (width, height) are one shape, to the rounding of a pixel.

    >>> same_shape((640, 480), (320, 240)), same_shape((640, 480), (480, 640)), same_shape((500, 333), (250, 167))
    (True, False, True)
    """
    (width, height), (other_width, other_height) = size, other
    small, large = (size, other) if width <= other_width else (other, size)
    return abs(small[0] * large[1] / large[0] - small[1]) <= 1 and min(width, height, other_width, other_height) > 0


def size_advice(size: tuple[int, int], mask_size: tuple[int, int], mask: Path) -> str:
    """Advice about an image and a mask of different sizes; ``mask`` may be an annotation."""
    if mask.suffix.lower() in ANNOTATIONS:
        return (
            "it was drawn on a picture of another size, so put that one in place, or export the annotation for this one"
        )
    if same_shape(size, mask_size):
        return "make them one size, or add resize_masks: nearest to the entry if both show the same picture"
    return "they must have the same size"


def file_digest(path: Path, memo: dict[str, str]) -> str:
    """Content hash of a file; ``memo`` remembers it by path, size, inode, and times of change.

    The inode's own time of change is among them: copying tools set the other one back, and no tool can set this.
    """
    require_file(path)
    try:
        stat = path.stat()
        key = f"{path}|{stat.st_size}|{stat.st_ino}|{stat.st_mtime_ns}|{stat.st_ctime_ns}"
        if key not in memo:
            memo[key] = hashlib.blake2b(path.read_bytes(), digest_size=16).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    return memo[key]


def fingerprint(samples: Iterable[Sample], memo: dict[str, str]) -> str:
    """Hash of the samples' ids and file contents, in order: equal exactly when the data are."""
    total = hashlib.blake2b(digest_size=8)
    for sample in samples:
        files = (sample.image, sample.mask, *sample.parts)
        for part in (sample.id, *(file_digest(file, memo) for file in files)):
            total.update(part.encode() + b"\0")
    return total.hexdigest()


def class_table(source: tuple[str, ...], target: tuple[str, ...], mapping: Mapping[str, str]) -> NDArray[np.int64]:
    """Which target class each source class means: by ``mapping``, else by equal name.

    Raises
    ------
    SpecError
        For names that neither dataset has, and for a source class that means nothing there.

    Examples
    --------
    >>> class_table(("background", "polyp"), ("background", "person"), {"polyp": "person"}).tolist()
    [0, 1]

    """
    for name in mapping:
        if name not in source:
            raise SpecError(
                f"map: the network has no class '{name}'{nearest(name, source)}; it has {listing(source, 20)}"
            )
    for name in mapping.values():
        if name not in target:
            raise SpecError(
                f"map: the dataset has no class '{name}'{nearest(name, target)}; it has {listing(target, 20)}"
            )
    unmapped = [name for name in source if name not in mapping and name not in target]
    if unmapped:
        raise SpecError(f"map: say which class of {listing(target, 20)} is meant by {listing(unmapped, 20)}")
    return np.array([target.index(mapping.get(name, name)) for name in source])
