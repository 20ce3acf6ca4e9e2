"""Arrays of ``uint8`` on disk, read an image at a time: all of one size (``Rows``), or each of its own (``Pieces``).

Files are read and written, never mapped. Mapped pages count as this process's memory, so that a large cache would look like
a leak; reading a mapped file that was cut off, or writing one on a full disk, kills the process instead of raising an error.

Every image has a checksum (CRC-32), which is compared whenever it is read; of an image that only windows are read of, once.

Array letters: ``n`` image, ``h`` height, ``w`` width, ``c`` colour channel.
"""

from __future__ import annotations

import errno
import io
import math
import os
import threading
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from segstudy.errors import DataError

Bytes = NDArray[np.uint8]
NO_ROOM = (errno.ENOSPC, errno.EDQUOT)
# The fastest level: masks shrink to between a 20th and a 100th, and are read eight times as fast as their PNG is decoded.
LEVEL = 1


class DamagedCache(DataError):
    """A file of the cache is not what was written; ``folder`` must be built again."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path}: is missing, or not what was written; delete its folder and run again")
        self.folder = path.parent


class Rows:
    """Arrays of one size, the rows of a ``.npy`` file; ``sums`` are the rows' checksums, where they are known."""

    def __init__(self, path: Path, sums: Sequence[int] | None = None) -> None:
        self.path, self.sums = path, sums
        with _open(path) as file:
            try:
                assert np.lib.format.read_magic(file) == (1, 0)
                self.shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
            except (ValueError, AssertionError):
                raise DamagedCache(path) from None
            self.offset = file.tell()
        if dtype != np.uint8 or fortran or (sums is not None and len(sums) != self.shape[0]):
            raise DamagedCache(path)
        self.stride = math.prod(self.shape[1:])
        if path.stat().st_size < self.offset + self.num_bytes:
            raise DamagedCache(path)

    @property
    def num_bytes(self) -> int:
        """Size of all rows together."""
        return int(self.shape[0]) * self.stride

    def __getitem__(self, indices: NDArray[np.intp]) -> Bytes:
        """Rows at ``indices``, in that order."""
        rows = np.empty((len(indices), *self.shape[1:]), np.uint8)
        with _open(self.path) as file:
            for row, index in zip(rows, indices, strict=True):
                file.seek(self.offset + int(index) * self.stride)
                if file.readinto(row.reshape(-1).data) != self.stride:
                    raise DamagedCache(self.path)
                if self.sums is not None and zlib.crc32(row.data) != self.sums[int(index)]:
                    raise DamagedCache(self.path)
        return rows


class Pieces:
    """Arrays of different sizes, (h, w) or (h, w, c), one after the other in one file.

    ``<name>.raw`` holds the bytes themselves, so that a window is read without the rest; in ``<name>.zlib`` each array is
    compressed. ``<name>-index.npy`` is an ``int64`` table (n, 5): where each begins, bytes stored, h, w, c (0: no channels).
    ``sums`` are the checksums of what is stored of each, where they are known.
    """

    def __init__(self, path: Path, sums: Sequence[int] | None = None) -> None:
        self.path, self.compressed, self.sums = path, path.suffix == ".zlib", sums
        self._checked: set[int] = set()
        try:
            self.index = np.load(index_of(path))
            whole = path.stat().st_size >= self.index[:, :2].sum(axis=1).max(initial=0)
        except (OSError, ValueError, EOFError, IndexError):
            raise DamagedCache(path) from None
        if not whole or (sums is not None and len(sums) != len(self.index)):
            raise DamagedCache(path)

    def __len__(self) -> int:
        return len(self.index)

    def size(self, index: int) -> tuple[int, int]:
        """Height and width of an array, pixels."""
        height, width = self.index[index, 2:4].tolist()
        return height, width

    def __getitem__(self, indices: NDArray[np.intp]) -> Bytes:
        """Arrays at ``indices``, which must be of one size, as one (n, h, w) or (n, h, w, c)."""
        return np.stack([self.window(int(index), 0, 0, *self.size(int(index))) for index in indices])

    def window(self, index: int, top: int, left: int, height: int, width: int) -> Bytes:
        """Part of an array, its upper left corner at row ``top`` and column ``left``; it must lie inside."""
        start, stored, full_height, full_width, channels = self.index[index].tolist()
        assert 0 <= top <= full_height - height and 0 <= left <= full_width - width
        line = full_width * (channels or 1)
        if self.sums is not None and index not in self._checked:
            if zlib.crc32(self._read(start, stored)) != self.sums[index]:
                raise DamagedCache(self.path)
            self._checked.add(index)
        if self.compressed:
            try:
                content = zlib.decompress(self._read(start, stored), bufsize=full_height * line)
            except zlib.error:
                raise DamagedCache(self.path) from None
            rows = np.frombuffer(content, np.uint8)[top * line : (top + height) * line]
        else:
            # Whole lines in one call: faster than a call for each line's part, although more is read.
            rows = np.frombuffer(self._read(start + top * line, height * line), np.uint8)
        return rows.reshape(height, full_width, *([channels] if channels else []))[:, left : left + width]

    def _read(self, start: int, num_bytes: int) -> bytearray:
        content = bytearray(num_bytes)
        with _open(self.path) as file:
            file.seek(start)
            if file.readinto(content) != num_bytes:
                raise DamagedCache(self.path)
        return content


class RowsWriter:
    """Writes what :class:`Rows` reads, from any number of threads; room for all of it is taken at once."""

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.lock, self.stride, self.sums = threading.Lock(), math.prod(shape[1:]), [0] * shape[0]
        with path.open("wb") as file:
            np.lib.format.write_array_header_1_0(file, {"descr": "|u1", "fortran_order": False, "shape": shape})
            self.offset = file.tell()
            reserve(file, self.offset + shape[0] * self.stride)
        self.file = path.open("r+b")

    def write(self, index: int, array: Bytes) -> None:
        """Write the row at ``index``."""
        row = np.ascontiguousarray(array)
        self.sums[index] = zlib.crc32(row.data)
        with self.lock:
            self.file.seek(self.offset + index * self.stride)
            self.file.write(row.data)

    def finish(self) -> None:
        """Bring everything to the disk."""
        sync(self.file)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self.file.close()


class PiecesWriter:
    """Writes what :class:`Pieces` reads, ``num_pieces`` arrays in any order, from any number of threads.

    Of ``.raw`` files, room for ``num_bytes`` is taken at once.
    """

    def __init__(self, path: Path, num_pieces: int, num_bytes: int) -> None:
        self.path, self.lock, self.index = path, threading.Lock(), np.zeros((num_pieces, 5), np.int64)
        self.sums = [0] * num_pieces
        with path.open("wb") as file:
            reserve(file, num_bytes if path.suffix == ".raw" else 0)
        self.file = path.open("r+b")

    def write(self, index: int, array: Bytes) -> None:
        """Write the array at ``index``."""
        content = np.ascontiguousarray(array).tobytes()
        if self.path.suffix == ".zlib":
            content = zlib.compress(content, LEVEL)  # outside the lock: this is what takes time
        self.sums[index] = zlib.crc32(content)
        height, width, *channels = array.shape
        with self.lock:
            self.index[index] = (self.file.tell(), len(content), height, width, *(channels or [0]))
            self.file.write(content)

    def finish(self) -> None:
        """Write the index and bring everything to the disk."""
        with index_of(self.path).open("wb") as file:
            np.save(file, self.index)
            sync(file)
        sync(self.file)

    def close(self) -> None:
        """Let go of the file, finished or not."""
        self.file.close()


def reserve(file: IO[bytes], num_bytes: int) -> None:
    """Take room on the disk before the first byte is written, where the system can; raises ``OSError`` if there is none."""
    if num_bytes and hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(file.fileno(), 0, num_bytes)
        except OSError as error:
            if error.errno in NO_ROOM:
                raise  # else the file system has no such call, and a full disk shows when it is written to


def sync(file: IO[bytes]) -> None:
    """Wait until what was written is on the disk, so that a name given afterwards never stands for less."""
    file.flush()
    os.fsync(file.fileno())


def index_of(path: Path) -> Path:
    """Where the index of a file of pieces lies."""
    return path.with_name(f"{path.stem}-index.npy")


def _open(path: Path) -> io.FileIO:
    try:
        return io.FileIO(path)
    except OSError:
        raise DamagedCache(path) from None
