"""Unpack untrusted archives: nothing is written outside the folder, and no more than expected.

Only plain files and folders are unpacked. Links, devices, absolute paths, paths that lead upwards, repeated names and
encrypted members are errors. So is an archive with more files or bytes than the known one.
"""

from __future__ import annotations

import gzip
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from segstudy.errors import DataError

CHUNK_BYTES = 2**20
MAX_RATIO = 200  # images are already compressed; ordinary text shrinks to a tenth, a zip bomb to a thousandth


@dataclass(frozen=True)
class Limits:
    """Limits of an archive's contents."""

    num_files: int
    num_bytes: int


@dataclass(frozen=True)
class Member:
    """One entry of an archive: its name, its claimed size, and a function that opens it (None for a folder)."""

    name: str
    num_bytes: int
    open: Callable[[], IO[bytes] | None] | None


def unpack(archive: Path, into: Path, top: str, limits: Limits) -> None:
    """Unpack the folder ``top`` of a zip or tar archive into the empty folder ``into``.

    Raises
    ------
    DataError
        With the archive, the member, and the problem. The caller must then remove what is in ``into``.
    """
    try:
        if zipfile.is_zipfile(archive):
            with zipfile.ZipFile(archive) as file:
                _write(archive, _zip_members(archive, file), into, top, limits)
        elif tarfile.is_tarfile(archive):
            with tarfile.open(archive) as file:
                _write(archive, _tar_members(archive, file), into, top, limits)
        else:
            raise DataError(f"{archive}: is not a zip or tar archive")
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        gzip.BadGzipFile,
        zlib.error,
        lzma.LZMAError,
        EOFError,
        NotImplementedError,
    ) as error:
        raise DataError(f"{archive}: is damaged ({error}); delete it and download it again") from None


def _write(archive: Path, members: Iterator[Member], into: Path, top: str, limits: Limits) -> None:
    """Write members and count the actual bytes: sizes in headers are only claims."""
    num_files = written = claimed = 0
    most = min(limits.num_bytes, MAX_RATIO * archive.stat().st_size)
    for member in members:
        path = safe_path(archive, member.name)
        num_files, claimed = num_files + 1, claimed + member.num_bytes
        if num_files > limits.num_files:
            raise DataError(f"{archive}: holds more than {limits.num_files} entries, so it is not the known archive")
        if claimed > most:
            raise DataError(_too_large(archive, most))
        if member.open is None or path.parts[: len(PurePosixPath(top).parts)] != PurePosixPath(top).parts:
            continue
        target = into / path.relative_to(top)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = target.open("xb")
        except FileExistsError:
            raise DataError(f"{archive}: holds '{member.name}' twice, perhaps in a different case") from None
        with file, member.open() or BytesIO() as content:
            while chunk := content.read(CHUNK_BYTES):
                written += len(chunk)
                if written > most:
                    raise DataError(_too_large(archive, most))
                file.write(chunk)


def _too_large(archive: Path, most: int) -> str:
    return f"{archive}: unpacks to more than {most / 1e6:,.1f} MB, so it is not the known archive; delete it"


def safe_path(archive: Path, name: str) -> PurePosixPath:
    """A member's name as a path inside the folder, on every system; raises :class:`DataError` for any other name."""
    path = PurePosixPath(name)
    parts = PureWindowsPath(name)
    if not name.strip("/") or "\0" in name or "\\" in name or path.is_absolute() or parts.drive or ".." in path.parts:
        raise DataError(f"{archive}: the member '{name}' would be written outside the folder; nothing of it is kept")
    return path


def _zip_members(archive: Path, file: zipfile.ZipFile) -> Iterator[Member]:
    for info in file.infolist():
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise DataError(
                f"{archive}: the member '{info.filename}' is a link or device, not a file; nothing of it is kept"
            )
        if info.flag_bits & 1:
            raise DataError(f"{archive}: the member '{info.filename}' is encrypted")
        yield Member(info.filename, info.file_size, None if info.is_dir() else partial(file.open, info))


def _tar_members(archive: Path, file: tarfile.TarFile) -> Iterator[Member]:
    for info in file:
        if not (info.isreg() or info.isdir()) or info.issparse():
            raise DataError(
                f"{archive}: the member '{info.name}' is a link or device, not a file; nothing of it is kept"
            )
        yield Member(info.name, info.size, partial(file.extractfile, info) if info.isreg() else None)
    if file.fileobj is not None:
        file.fileobj.read(CHUNK_BYTES)  # the checksum of a compressed archive follows its padding
