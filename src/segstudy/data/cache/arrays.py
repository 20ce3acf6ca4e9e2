"""Decode each image once, into arrays on disk that every later epoch, run and evaluation reads.

Of a split, three parts may be cached, each in a folder of its own:

=========  ==================================================================================================
``<size>``  images and labels resized to so many pixels: what a network trains on
``labels``  labels at each image's own size, compressed: what is scored at native resolution
``images``  images at their own size: what crops are cut from, and what networks trained on crops are given
=========  ==================================================================================================

A folder's name ends in a hash of the files' contents and of all settings that the arrays depend on, so it never has to be
looked into to know whether it is the right one, and what is no longer right is never used again. ``sums.json`` holds the
checksum of every image and of the small files; each is compared when it is read, and a damaged folder is built again.

Array letters: ``n`` image, ``h`` height, ``w`` width, ``c`` colour channel.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import json
import math
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from filelock import Timeout
from PIL import Image

from segstudy.arrays import Labels
from segstudy.data.cache.packed import (
    NO_ROOM,
    Bytes,
    DamagedCache,
    Pieces,
    PiecesWriter,
    Rows,
    RowsWriter,
    index_of,
)
from segstudy.data.core import Dataset, Sample, file_digest, fingerprint, load_pair
from segstudy.errors import DataError, StoreError
from segstudy.files import building, claim_on, open_regular, read_json, write_json
from segstudy.progress import Progress
from segstudy.sizes import Size, height_width, size_of_text, size_text
from segstudy.store import RunFolder, Store

# Raised whenever the same files would give other arrays than before.
CACHE_VERSION = 1
LABELS_SHRINK = 10  # compressed labels take less than this share of their pixels, mostly much less
IDS = "samples.json"  # in each part's folder: ids of the samples, in the order of the arrays
CHECKSUMS = "sums.json"  # in each part's folder: CRC-32 of every image and of the other files

Arrays = Rows | Pieces


@dataclass(frozen=True)
class CachedSplit:
    """One split of a dataset, decoded.

    ``images_nhwc`` gives ``uint8`` RGB, ``labels_nhw`` gives ``uint8`` labels, both in the order of ``samples``: ``Rows`` of
    the network's input size, or ``Pieces`` of each image's own. ``native_labels`` are labels at each image's own size,
    where they were asked for. ``fingerprint`` is equal exactly when the files are.
    """

    dataset: Dataset
    split: str
    samples: tuple[Sample, ...]
    images_nhwc: Arrays
    labels_nhw: Arrays
    fingerprint: str
    native_labels: Pieces | None = None

    def __len__(self) -> int:
        return len(self.samples)


@dataclass(frozen=True)
class KeptPart:
    """A part of a split as it lies in the cache: the ids of its samples, and ``images`` or ``labels`` or both, in their order."""

    ids: list[str]
    arrays: dict[str, Arrays]

    def read(self, array: str, sample_id: str) -> Bytes:
        """One sample's image (h, w, 3) or labels (h, w)."""
        found: Bytes = self.arrays[array][np.array([self.ids.index(sample_id)])][0]
        return found


def resize_pair(image: Image.Image, labels: Labels, size: Size) -> tuple[Bytes, Labels]:
    """Bring a pair to ``size`` as the review does: Pillow's bilinear for images, nearest for labels."""
    height, width = height_width(size)
    small = image.resize((width, height), Image.Resampling.BILINEAR)
    small_labels = Image.fromarray(labels).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(small, dtype=np.uint8), np.asarray(small_labels, dtype=np.uint8)


def remembered_fingerprint(samples: Sequence[Sample], store: Store) -> str:
    """Hash of the samples' files; files of unchanged size and time are not read again."""
    memo = store.read_memo()
    known = len(memo)
    content = fingerprint(samples, memo)
    if len(memo) > known:
        store.write_memo(memo)
    return content


def reread_fingerprint(samples: Sequence[Sample], store: Store) -> str:
    """Hash of the samples' files as they are now, whatever is remembered of them; this is remembered instead."""
    found: dict[str, str] = {}
    content = fingerprint(samples, found)
    store.write_memo(store.read_memo() | found)
    return content


def reread_files(store: Store) -> tuple[int, list[Path]]:
    """Read every file again that a store remembers and whose size and times are still the same.

    Returns
    -------
    tuple
        Number of files read, and those whose contents are not what they were.

    """
    num_read, changed = 0, []
    for key, digest in store.read_memo().items():
        path = Path(key.split("|")[0])
        found: dict[str, str] = {}
        with contextlib.suppress(DataError):
            file_digest(path, found)
        if key in found:
            num_read += 1
            changed += [path] if found[key] != digest else []
    return num_read, changed


def open_cache(
    dataset: Dataset, split: str, size: Size | None, store: Store, progress: Progress, native_labels: bool = False
) -> CachedSplit:
    """Open a split's arrays, building first what the store lacks for exactly these files and settings.

    Safe when several processes build at once, when one is killed half-way and when the disk is full: arrays appear whole
    or not at all.

    Parameters
    ----------
    dataset, split
        What to open.
    size
        Of the network's input, pixels; None for images at their own size.
    store
        Holds the cache.
    progress
        Says what is built, and how large it will be.
    native_labels
        Open labels at the images' own size as well; what must be built is built in one reading of the files.

    Raises
    ------
    DataError
        Naming every image or mask that cannot be used.
    StoreError
        When the disk has too little room, saying how much is needed.

    """
    samples = dataset.samples(split)
    content = remembered_fingerprint(samples, store)
    folders = cache_folders(dataset, split, parts_of(size, native_labels), content, store)
    for part, folder in folders.items():
        if folder.is_dir() and not _sound(folder, part):
            progress.say(f"note: {folder}: is damaged or from another version; it is built again")
            discard(folder)
    _build_missing(dataset, split, folders, progress)
    opened = {part: _open_arrays(folder, part) for part, folder in folders.items()}
    native = opened["labels"]["labels"] if "labels" in opened else None
    assert native is None or isinstance(native, Pieces)
    if size is None:
        assert native is not None
        return CachedSplit(dataset, split, samples, opened["images"]["images"], native, content, native)
    resized = opened[size_text(size)]
    return CachedSplit(dataset, split, samples, resized["images"], resized["labels"], content, native)


def find_part(store: Store, dataset: str, split: str, part: str, ids: Iterable[str]) -> KeptPart | None:
    """The newest sound one of a part's folders that holds ``ids``, found by names alone; None if there is none."""
    ids = list(ids)
    folders = store.cache.glob(f"{dataset}-{split}-{part}-*")
    for folder in sorted(folders, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            kept = KeptPart(read_json(folder / IDS), _open_arrays(folder, part, former=True))
            if not set(ids) <= set(kept.ids):
                continue
            for array, sample_id in itertools.product(kept.arrays, ids):
                kept.read(array, sample_id)
        except (StoreError, DataError):
            continue  # being built, or damaged: the next run builds it again
        return kept
    return None


def _open_arrays(folder: Path, part: str, former: bool = False) -> dict[str, Arrays]:
    """Arrays of a part with their checksums; :class:`DamagedCache` where a file is not what was written.

    With ``former``, folders of former versions, which have no checksums, are taken as they are.
    """
    if former and not (folder / CHECKSUMS).is_file():
        return {array: (Rows if size_of_text(part) else Pieces)(path) for array, path in _files(folder, part).items()}
    try:
        sums = read_json(folder / CHECKSUMS)
        rows = {name: list(map(int, sums["rows"][name])) for name in ("images", "labels") if name in sums["rows"]}
        files = {str(name): int(crc) for name, crc in sums["files"].items()}
        sound = sums["own"] == _own_sum(rows, files)
    except (StoreError, TypeError, KeyError, ValueError, AttributeError):
        raise DamagedCache(folder / CHECKSUMS) from None
    if not sound:
        raise DamagedCache(folder / CHECKSUMS)
    for name, crc in files.items():
        if _crc(folder / name) != crc:
            raise DamagedCache(folder / name)
    kind = Rows if size_of_text(part) else Pieces
    return {array: kind(path, rows.get(array)) for array, path in _files(folder, part).items()}


def _sound(folder: Path, part: str) -> bool:
    """Whether everything but the images themselves, which are checked as they are read, is what was written."""
    try:
        _open_arrays(folder, part)
    except DamagedCache:
        return False
    return True


def _crc(path: Path) -> int | None:
    try:
        with open_regular(path) as file:
            return zlib.crc32(file.read())
    except OSError:
        return None


def _own_sum(rows: Mapping[str, Sequence[int]], files: Mapping[str, int]) -> int:
    return zlib.crc32(json.dumps([rows, files], sort_keys=True).encode())


def discard(folder: Path) -> None:
    """Remove a damaged folder of the cache, so that it is built again; a folder that is gone already is no error."""
    gone = folder.parent / f".{folder.name}.gone"
    try:
        with claim_on(folder.parent / f".{folder.name}.lock"):
            shutil.rmtree(gone, ignore_errors=True)
            if folder.is_dir():
                folder.rename(gone)
                shutil.rmtree(gone)
    except OSError as error:
        raise StoreError(f"{folder}: is damaged and cannot be removed ({error.strerror}); delete it") from None


def _files(folder: Path, part: str) -> dict[str, Path]:
    """Where the arrays of a part lie in its folder."""
    if size_of_text(part):
        return {"images": folder / "images.npy", "labels": folder / "labels.npy"}
    return {part: folder / {"images": "images.raw", "labels": "labels.zlib"}[part]}


def parts_of(size: Size | None, native_labels: bool) -> tuple[str, ...]:
    """The parts of a split that :func:`open_cache` opens.

    >>> parts_of(256, True), parts_of((64, 128), False), parts_of(None, False)
    (('256', 'labels'), ('64x128',), ('images', 'labels'))
    """
    if size is None:
        return "images", "labels"
    return (size_text(size), "labels") if native_labels else (size_text(size),)


def cache_folders(dataset: Dataset, split: str, parts: Sequence[str], content: str, store: Store) -> dict[str, Path]:
    """Where each part of a split lies, or will lie, when its files' hash is ``content``."""

    def folder(part: str) -> Path:
        key = json.dumps(
            [CACHE_VERSION, content, int(part) if part.isdigit() else part, dataset.classes, dataset.reading]
        )
        return store.cache / f"{dataset.name}-{split}-{part}-{hashlib.sha256(key.encode()).hexdigest()[:12]}"

    return {part: folder(part) for part in parts}


def _build_missing(dataset: Dataset, split: str, folders: Mapping[str, Path], progress: Progress) -> None:
    with contextlib.ExitStack() as stack:
        targets = {}
        for part in sorted(folders):  # everybody locks in one order, so that no two wait for each other
            if not folders[part].is_dir():
                temporary = stack.enter_context(building(folders[part]))
                if temporary is not None:
                    targets[part] = temporary
        if targets:
            _build(dataset, split, targets, progress)


def _build(dataset: Dataset, split: str, targets: Mapping[str, Path], progress: Progress) -> None:
    """Read every file once and write all parts of it."""
    samples, folder = dataset.samples(split), next(iter(targets.values()))
    pixels = sum(map(_native_pixels, samples)) if {"images", "labels"} & targets.keys() else 0
    for part in targets:
        progress.say(f"caching {dataset.name} {split}: {_announced(part, len(samples), pixels)}")
    needed, free = sum(_num_bytes(part, len(samples), pixels) for part in targets), shutil.disk_usage(folder).free
    try:
        if needed > free:
            raise OSError(NO_ROOM[0], "")
        with contextlib.ExitStack() as stack:
            writers = {
                (part, name): stack.enter_context(contextlib.closing(writer))
                for part, target in targets.items()
                for name, writer in _writers(part, target, len(samples), pixels).items()
            }
            _fill(dataset, samples, writers, progress.task(f"Reading {dataset.name} {split}", len(samples)))
            for part, target in targets.items():
                write_json(target / IDS, [sample.id for sample in samples])
                _write_checksums(target, {name: w.sums for (p, name), w in writers.items() if p == part})
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        raise StoreError(
            f"{folder.parent}: no room to cache {dataset.name} {split}: it needs {_mb(needed)}, {_mb(free)} are free; make "
            "room (segstudy cache STUDY --clear-unused removes what is no longer read), or choose another --out"
        ) from None


def _write_checksums(folder: Path, rows: Mapping[str, Sequence[int]]) -> None:
    small = [folder / IDS, *folder.glob(index_of(folder / "*").name)]
    files = {path.name: crc for path in small if (crc := _crc(path)) is not None}
    write_json(folder / CHECKSUMS, {"rows": rows, "files": files, "own": _own_sum(rows, files)})


def _native_pixels(sample: Sample) -> int:
    """Pixels of an image, from its header; 0 where that cannot be read, as will be said when the image is."""
    try:
        with Image.open(sample.image) as image:
            return image.width * image.height
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return 0


def _num_bytes(part: str, num_images: int, native_pixels: int) -> int:
    """Size of a part; of compressed labels an estimate on the high side."""
    if size := size_of_text(part):
        return num_images * math.prod(height_width(size)) * 4
    return native_pixels * 3 if part == "images" else native_pixels // LABELS_SHRINK


def _announced(part: str, num_images: int, native_pixels: int) -> str:
    size = size_of_text(part)
    pixels = num_images * math.prod(height_width(size)) if size else native_pixels
    what = {"labels": "masks at their own size", "images": "images at their own size"}.get(part, f"images at {part} px")
    room = _mb(_num_bytes(part, num_images, native_pixels))
    return f"{num_images} {what}, {pixels / 1e6:,.1f} megapixels, {'about ' if part == 'labels' else ''}{room}"


def _mb(num_bytes: float) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"


def _writers(part: str, folder: Path, num_images: int, native_pixels: int) -> dict[str, RowsWriter | PiecesWriter]:
    files = _files(folder, part)
    if size := size_of_text(part):
        shape = (num_images, *height_width(size))
        return {
            "images": RowsWriter(files["images"], (*shape, 3)),
            "labels": RowsWriter(files["labels"], shape),
        }
    # of compressed labels, what room they need is not known before
    return {part: PiecesWriter(files[part], num_images, native_pixels * 3 if part == "images" else 0)}


def _arrays(part: str, image: Image.Image, labels: Labels) -> dict[str, Bytes]:
    if size := size_of_text(part):
        small, small_labels = resize_pair(image, labels, size)
        return {"images": small, "labels": small_labels}
    return {"labels": labels} if part == "labels" else {"images": np.asarray(image)}


def _fill(
    dataset: Dataset,
    samples: Sequence[Sample],
    writers: Mapping[tuple[str, str], RowsWriter | PiecesWriter],
    progress: Progress,
) -> None:
    parts = {part for part, _ in writers}

    def fill(index: int) -> str | None:
        try:
            image, labels = load_pair(dataset, samples[index])
            for part in parts:
                for name, array in _arrays(part, image, labels).items():
                    writers[part, name].write(index, array)
        except DataError as error:
            return str(error)
        finally:
            progress.advance()
        return None

    # Pillow decodes and resizes, and zlib compresses, outside the interpreter lock, so threads are enough.
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        try:
            problems = [problem for problem in pool.map(fill, range(len(samples))) if problem]
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if problems:
        more = f"\n... and {len(problems) - 10} more" if len(problems) > 10 else ""
        raise DataError(
            f"{len(problems)} of {len(samples)} samples of dataset '{dataset.name}' cannot be used:\n"
            + "\n".join(problems[:10])
            + more
        )
    for writer in writers.values():
        writer.finish()


class Entry(NamedTuple):
    """One folder of a cache: a part of a split, or (not ``whole``) one that is being built or that was cut off."""

    folder: Path
    dataset: str
    split: str
    part: str
    num_images: int
    num_bytes: int
    whole: bool


def list_cache(store: Store) -> list[Entry]:
    """Everything that a store's cache holds, by name; a cache that cannot be listed is a :class:`StoreError`."""
    try:
        found = sorted(store.cache.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise StoreError(f"{store.cache}: cannot be listed ({error.strerror}); choose another --out") from None
    return [_entry(folder) for folder in found if folder.is_dir()]


def _entry(folder: Path) -> Entry:
    dataset, split, part, _ = ["", "", "", *_final_name(folder).rsplit("-", 3)][-4:]
    num_images = num_bytes = 0
    with contextlib.suppress(StoreError, OSError, TypeError):  # half-built, or taken away meanwhile
        num_bytes = sum(path.stat().st_size for path in folder.iterdir())
        num_images = len(read_json(folder / IDS))
    return Entry(folder, dataset, split, part, num_images, num_bytes, not folder.name.startswith("."))


def _final_name(folder: Path) -> str:
    """The name that a folder has, or would have once it is whole: ``.name.tmp`` is built, ``.name.gone`` removed."""
    return folder.name[1:].rpartition(".")[0] if folder.name.startswith(".") else folder.name


def clear_cache(store: Store, entries: Iterable[Entry]) -> tuple[list[Entry], list[Entry]]:
    """Remove folders of a cache; returns those that were removed, and those that a process is building just now.

    Raises
    ------
    StoreError
        When a run of the study is being worked on, since it reads the cache, or when a folder cannot be removed.

    """
    runs = map(RunFolder, sorted(store.root.glob("runs/*/*")))
    if busy := [run.path for run in runs if run.locked()]:
        raise StoreError(f"{busy[0]}: is being worked on and reads the cache; wait for it or stop it")
    removed, kept = [], []
    for entry in entries:
        name = _final_name(entry.folder)
        try:
            with claim_on(store.cache / f".{name}.lock").acquire(timeout=0):  # held while the folder is built
                gone = store.cache / f".{name}.gone"
                if entry.folder != gone:
                    shutil.rmtree(gone, ignore_errors=True)
                    entry.folder.rename(gone)  # at once, so that nobody takes what is left of it for the whole
                shutil.rmtree(gone)
        except Timeout:
            kept.append(entry)
        except OSError as error:
            raise StoreError(f"{entry.folder}: cannot be removed ({error.strerror})") from None
        else:
            removed.append(entry)
    return removed, kept
