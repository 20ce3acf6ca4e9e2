"""Which mask belongs to which image: files are paired by name, and a lone one is reported with its likely reason."""

from __future__ import annotations

import contextlib
import os
import re
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from segstudy.data.core import IMAGE_SUFFIXES, Sample
from segstudy.data.quality.faults import Fault, refuse
from segstudy.errors import DataError, listing
from segstudy.files import open_regular

WORDS = (".txt", ".md", ".csv", ".json", ".yaml", ".yml", ".xml", ".html", ".pdf", ".log", ".db", ".ini", ".m", ".py")
NUM_TEXTS, MAX_LINE = 5, 2000  # texts that are looked into, and bytes of their first line
DROPPED = ("._", "__MACOSX", ".ipynb_checkpoints", ".git", ".Trash", ".AppleDouble", ".thumb", ".cache")  # by programs
Files = Mapping[str, Path]


@dataclass(frozen=True)
class Listing:
    """What lies in a folder: ``images`` and ``unread``, files of other suffixes, by stem; ``faults`` of names that clash."""

    images: dict[str, Path]
    unread: dict[str, Path] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()


def list_images(folder: Path, split: str = "", prefix: str = "", suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> Listing:
    """List the files in ``folder`` and its sub-folders, sorted by name; keys are paths below it without suffix.

    Of two images with one key the first is taken and the second is a fault, said to be of ``split`` and of the sample
    whose id is ``prefix`` and the key. Files of other suffixes than ``suffixes`` are one fault together, a warning, unless
    their suffix says that they hold words.

    Raises
    ------
    DataError
        If the folder is missing, cannot be listed, or holds no image.

    """
    images: dict[str, Path] = {}
    unread: dict[str, Path] = {}
    faults = []
    folded: dict[str, Path] = {}
    for path in _files(folder):
        key = bare_name(path.relative_to(folder).as_posix(), suffixes)
        if not path.name.lower().endswith(suffixes):
            unread[key] = path
        elif key in images:
            text = f"differs from '{images[key].name}' only in its suffix; keep one of the two"
            faults.append(Fault("same-name", text, path, split, prefix + key))
        else:
            images[key] = path
            if (twin := folded.setdefault(key.casefold(), path)) is not path:
                text = (
                    f"differs from '{twin.name}' only in upper and lower case, so one overwrites the other on Windows "
                )
                faults.append(Fault("case", text + "and macOS; rename one", path, split, prefix + key, "warning"))
    faults += hidden_images(folder, suffixes, split)
    if left := [path.name for path in unread.values() if path.suffix.lower() not in WORDS]:
        text = f"{len(left)} files are left out, as their suffix is not read: {listing(left, 3)}"
        faults.append(Fault("left-out", f"{text}; convert them or move them away", folder, split, severity="warning"))
    if not images:
        also = f"; it holds {listing(left, 3)}" if left else _of_yolo(list(unread.values()))
        raise DataError(f"{folder}: holds no images ({', '.join(suffixes)}){also}")
    return Listing(images, unread, tuple(faults))


def _of_yolo(files: Sequence[Path]) -> str:
    """What to add about a folder of texts that hold outlines as YOLO has them: a class, then corners in shares of the sides."""
    for path in [path for path in files if path.suffix.lower() == ".txt"][:NUM_TEXTS]:
        with contextlib.suppress(OSError, UnicodeDecodeError, ValueError):
            with open_regular(path) as file:
                numbers = [float(word) for word in file.readline(MAX_LINE).split()]
            corners = numbers[1:]
            if (
                len(corners) > 5
                and len(corners) % 2 == 0
                and numbers[0] % 1 == 0
                and 0 <= min(corners) <= max(corners) <= 1
            ):
                return (
                    f"; {path.name} holds outlines of YOLO, which no reader reads: export the set as COCO or as masks"
                )
    return ""


def hidden_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES, split: str = "") -> list[Fault]:
    """A warning of images whose names, or whose folders', begin with a dot; what macOS and other programs drop is not said."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith(DROPPED))
        hidden = any(part.startswith(".") for part in Path(place).relative_to(folder).parts)
        found += [
            Path(place, name).relative_to(folder).as_posix()
            for name in sorted(names)
            if (hidden or name.startswith(".")) and not name.startswith(DROPPED) and name.lower().endswith(suffixes)
        ]
    if not found:
        return []
    text = f"{len(found)} hidden images are left out: {listing(found, 3)}; rename them if they belong to the set, or delete them"
    return [Fault("left-out", text, folder, split, severity="warning")]


def bare_name(path: str, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> str:
    """A path without its suffix, which may be of two parts.

    >>> bare_name("a/b.c.png"), bare_name("ct.nii.gz", (".nii", ".nii.gz")), bare_name("notes.txt")
    ('a/b.c', 'ct', 'notes')
    """
    fit = max((end for end in suffixes if path.lower().endswith(end)), key=len, default=PurePosixPath(path).suffix)
    return path.removesuffix(path[len(path) - len(fit) :])


def _files(folder: Path, above: tuple[str, ...] = ()) -> list[Path]:
    """Files in a folder, then those in its sub-folders, each sorted by name; hidden ones, and circles of links, are left out."""
    try:
        paths = sorted(folder.iterdir(), key=lambda path: path.name)  # paths sort without case on Windows
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(f"{folder}: no such folder") from None
    except OSError as error:
        raise DataError(f"{folder}: cannot be listed ({error.strerror})") from None
    shown = [path for path in paths if not path.name.startswith((".", "__MACOSX"))]
    here = (*above, os.path.realpath(folder))
    below = [path for path in shown if path.is_dir()]
    found = [path for path in shown if path not in below]
    return found + [file for path in below if os.path.realpath(path) not in here for file in _files(path, here)]


def match_by_stem(
    images: Path, masks: Path, prefix: str = "", split: str = ""
) -> tuple[tuple[Sample, ...], tuple[Fault, ...]]:
    """Pair two folders' files by stem: the samples, and a fault for each file that is alone.

    Raises
    ------
    DataError
        If a folder is missing or empty, or there is no pair at all.

    """
    image_files, mask_files = list_images(images, split, prefix), list_images(masks, split, prefix)
    samples = tuple(
        Sample(prefix + stem, path, mask_files.images[stem])
        for stem, path in image_files.images.items()
        if stem in mask_files.images
    )
    faults = (
        *image_files.faults,
        *mask_files.faults,
        *lone_files(image_files, mask_files, _beside(images, masks), split, prefix),
    )
    if not samples:
        refuse(f"{images}: none of its images has a mask in {masks}", faults)
    return samples, faults


def lone_files(images: Listing, masks: Listing, place: str, split: str = "", prefix: str = "") -> list[Fault]:
    """A fault for each image without a mask and each mask without an image.

    Parameters
    ----------
    images, masks
        What is to be paired, by key.
    place
        Where masks are looked for.
    split, prefix
        The split of all these files; a sample's id is ``prefix`` and its key.

    """
    no_mask = {key: path for key, path in images.images.items() if key not in masks.images}
    no_image = {key: path for key, path in masks.images.items() if key not in images.images}
    mask_of, image_of = _Reasons(no_image, masks.unread), _Reasons(no_mask, images.unread)
    faults = []
    for key, path in no_mask.items():
        text = f"no mask of this name in {place}{mask_of(key)}; add the mask or move the image away"
        faults.append(Fault("image-without-mask", text, path, split, prefix + key))
    for key, path in no_image.items():
        text = f"no image of this name{image_of(key)}; add the image or move the mask away"
        faults.append(Fault("mask-without-image", text, path, split, prefix + key))
    return faults


def _beside(images: Path, masks: Path) -> str:
    """The folder of masks as seen from the folder that holds both: ``masks`` or ``masks/train``."""
    return Path(os.path.relpath(masks, os.path.commonpath([images, masks]))).as_posix()


def bare_names(paths: Sequence[str]) -> list[str]:
    """Files' names without folder, suffix, and what all of them begin and end with.

    >>> bare_names(["i/img_01.jpg", "i/img_12.jpg"]), bare_names(["m/12_mask.png", "m/01_mask.png"])
    (['01', '12'], ['12', '01'])
    """
    stems = [PurePosixPath(path).stem for path in paths]
    start = common_start(stems)
    cut = [stem[start:] for stem in stems]
    end = common_start([stem[::-1] for stem in cut])
    return [stem[: len(stem) - end] for stem in cut]


def common_start(names: Sequence[str]) -> int:
    """How many letters all names begin with alike."""
    first, last = min(names, default=""), max(names, default="")
    return next((k for k, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), min(len(first), len(last)))


class _Reasons:
    """Why a file may be alone, judged by the lone files of the other kind and by those of a suffix that is not read."""

    def __init__(self, lone: Files, unread: Files) -> None:
        self.lone = {_fold(key): (key, path) for key, path in lone.items()}
        self.unread = {_fold(key): path for key, path in unread.items()}

    def __call__(self, key: str) -> str:
        """What to add to the message about ``key``; nothing where there is no likely reason."""
        other, path = self.lone.get(_fold(key), ("", None))
        if path is not None:
            return f" ('{path.name}' differs only in {_difference(key, other)})"
        if (path := self.unread.get(_fold(key))) is not None:
            return f" ('{path.name}' has an ending that is not read)"
        return ""


class Neighbours:
    """The files next to those that a table names and that are missing; each folder is listed once."""

    def __init__(self) -> None:
        self.folders: dict[Path, dict[str, str]] = {}

    def __call__(self, missing: Path) -> str:
        """What to add to the message about a missing file; nothing where no name is like its own."""
        folder = missing.parent
        if folder not in self.folders:
            try:
                names = sorted(path.name for path in folder.iterdir())
            except OSError:  # there is no such folder, or none can have this name
                names = []
            self.folders[folder] = {_fold(name): name for name in names}
        name = self.folders[folder].get(_fold(missing.name))
        return f" ('{name}' there differs only in {_difference(missing.name, name)})" if name else ""


def _fold(key: str) -> str:
    """Equal for names that differ in case, in how accents are stored, in zeros before a number, or in a second suffix.

    >>> _fold("a.jpg.png"), _fold("A007")
    ('a', 'a7')
    """
    folded = unicodedata.normalize("NFC", key).casefold()
    bare = folded.removesuffix(next((end for end in IMAGE_SUFFIXES if folded.endswith(end)), ""))
    return re.sub(r"0*(\d+)", r"\1", bare.removesuffix(next((end for end in IMAGE_SUFFIXES if bare.endswith(end)), "")))


def _difference(one: str, other: str) -> str:
    first, second = (unicodedata.normalize("NFC", key) for key in (one, other))
    if first == second:
        return "how accented letters are stored"
    if first.casefold() == second.casefold():
        return "upper and lower case"
    bare = [PurePosixPath(key).stem.casefold() for key in (first, second)]
    zeros = bare[0] != bare[1] and re.sub(r"0*(\d+)", r"\1", bare[0]) == re.sub(r"0*(\d+)", r"\1", bare[1])
    return "zeros before a number" if zeros else "its suffix"
