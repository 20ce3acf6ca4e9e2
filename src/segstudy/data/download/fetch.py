"""Get a known dataset: download, verify, unpack and move it into place, or explain how to get it manually.

A dataset appears in its place only when it is complete. The archive is downloaded to ``.downloads/<file>.part`` in the
data folder, resumed after any interruption, and its SHA-256 compared. It is unpacked next to its place, read once by its
reader and counted, and then renamed.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from segstudy.data.download.catalogue import Archive, ByHand, Known, Mirror, known
from segstudy.data.download.unpack import Limits, unpack
from segstudy.data.load import read_dataset
from segstudy.errors import DataError, SegstudyError, listing
from segstudy.files import building, file_sha256
from segstudy.progress import Progress
from segstudy.schema import data_entry
from segstudy.spec import DATA_VARIABLE

DOWNLOADS = ".downloads"
CHUNK_BYTES = 2**14  # lost at most by a broken connection
TIMEOUT_S = (15, 60)  # to connect, and between two chunks
WAITS_S = (1, 2, 4, 8, 16, 32, 60, 60)  # give up after this many failures in a row without a byte
LONGEST_WAIT_S = 120  # longest wait that a server may ask for
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
SPARE_BYTES = 50_000_000


@dataclass(frozen=True)
class Found:
    """Where a dataset is, its entry for a study file, and the number of images with masks that its reader finds.

    If the reader cannot use the folder, ``problem`` says why.
    """

    path: Path
    root: str
    num_images: int
    problem: str = ""


def data_places(data_root: Path | None) -> list[Path]:
    """Folders that are searched for datasets: ``--data``, the environment variable ``SEGSTUDY_DATA``, the current folder."""
    given = [data_root, os.environ.get(DATA_VARIABLE), Path.cwd()]
    return list(dict.fromkeys(Path(place).expanduser().resolve() for place in given if place))


def find(name: str, places: Sequence[Path]) -> Found | None:
    """Find the dataset ``name``: the first place that its reader can read, otherwise one with its name.

    None if there is neither.
    """
    one, unreadable = known(name), None
    for place in places:
        for root in (str(one.entry["root"]), *one.also):
            if not (folder := place / root).exists():
                continue
            try:
                return Found(folder, root, count_images(name, folder))
            except SegstudyError as error:
                unreadable = unreadable or Found(folder, root, 0, str(error).split("\n")[0])
    return unreadable


def count_images(name: str, folder: Path) -> int:
    """Number of images with masks that the reader of ``name`` finds in ``folder``; raises what the reader raises."""
    return len(read_dataset(name, folder, data_entry(known(name).entry)).samples("all"))


def fetch(name: str, to: Path, places: Sequence[Path], accept: Callable[[Known], None], progress: Progress) -> Found:
    """Put the dataset ``name`` into the folder ``to``, unless it already exists there or in one of ``places``.

    ``accept`` is called before anything is downloaded, and raises if the terms are not accepted.

    Raises
    ------
    DataError
        If it must be downloaded manually (the message says how), cannot be downloaded, differs from the known dataset, or the
        disk is full.

    """
    one = known(name)
    there = find(name, [to, *places])
    if there is not None and there.num_images >= one.num_images:
        progress.say(f"{there.path} already holds it ({there.num_images:,} images); nothing is downloaded")
        return there
    if isinstance(one.source, ByHand):
        raise DataError(f"'{name}' must be downloaded manually: {one.source.steps}")
    target = to / str(one.entry["root"])
    if target.exists():
        raise DataError(
            f"{target}: already exists, but is not the complete dataset ({_what_is_wrong(name, target)}); move it away"
        )
    accept(one)
    with building(target) as temporary:
        if temporary is not None and isinstance(one.source, Archive):
            from_archive(name, one.source, temporary, to / DOWNLOADS, progress)
        elif temporary is not None and isinstance(one.source, Mirror):
            from_mirror(name, one.source, temporary, to / DOWNLOADS, progress)
    return Found(target, str(one.entry["root"]), one.num_images)


def _what_is_wrong(name: str, folder: Path) -> str:
    try:
        return f"{count_images(name, folder)} of {known(name).num_images} images"
    except SegstudyError as error:
        return str(error).split("\n")[0]


def check_contents(name: str, folder: Path, progress: Progress) -> None:
    """Read the unpacked dataset as a study would, and compare it with the known one.

    Too few images are an error. Contents that differ from the known copy are only reported: that copy may be the wrong one.
    """
    one, found = known(name), count_images(name, folder)
    if found != one.num_images:
        raise DataError(f"'{name}' was downloaded with {found} images instead of {one.num_images}; nothing is kept")
    if one.digest:
        same = content_digest(folder) == one.digest
        progress.say(
            f"{found:,} images and masks, "
            + ("byte for byte those of the known copy" if same else "but not byte for byte those of the known copy")
        )


def content_digest(folder: Path) -> str:
    """SHA-256 over the lines ``<SHA-256>  <path>`` of all files in ``images/`` and ``masks/``, sorted by path.

    ``cd FOLDER; LC_ALL=C; find images masks -type f | sort | xargs sha256sum | sha256sum`` prints the same.
    """
    files = sorted(path for part in ("images", "masks") for path in (folder / part).rglob("*") if path.is_file())
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def need_room(folder: Path, num_bytes: int) -> None:
    """Raise :class:`DataError` if the disk of ``folder`` has no room for ``num_bytes`` more."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes + SPARE_BYTES:
        raise DataError(
            f"{folder}: {(num_bytes + SPARE_BYTES) / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free; "
            "free some space or choose another place with --to"
        )


def from_archive(name: str, source: Archive, into: Path, downloads: Path, progress: Progress) -> None:
    """Download, verify and unpack; the archive is kept until the set has been read."""
    import pooch  # type: ignore[import-untyped]

    downloads.mkdir(parents=True, exist_ok=True)
    file = downloads / source.url.rsplit("/", 1)[1]
    download = Resuming(file.with_name(file.name + ".part"), source.num_bytes, progress)
    need_room(downloads, source.num_bytes - download.num_there + source.unpacked_bytes)
    pooch.get_logger().setLevel("WARNING")  # its log repeats the messages of this module
    try:
        pooch.retrieve(source.url, source.sha256, file.name, downloads, downloader=download)
    except ValueError:
        raise DataError(
            f"{source.url}: the file is not the known one (its SHA-256 is not {source.sha256}), so it was deleted. "
            "Run the command again; if it happens twice, the owners or somebody else have changed the file"
        ) from None
    limits = Limits(2 * known(name).num_images + 100, source.unpacked_bytes)
    unpack(file, into, source.top, limits)
    check_contents(name, into, progress)
    file.unlink()
    with contextlib.suppress(OSError):
        downloads.rmdir()


@dataclass
class Resuming:
    """A downloader for pooch that resumes where it stopped, even after its process was killed.

    ``part`` is the partial file, ``num_bytes`` the size of the complete file; ``pause`` waits for a number of seconds.
    """

    part: Path
    num_bytes: int
    progress: Progress
    pause: Callable[[float], None] = time.sleep

    @property
    def num_there(self) -> int:
        """Bytes downloaded so far."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Download ``url`` and rename the complete file to ``output_file``."""
        failures, verify = 0, True
        while self.num_there != self.num_bytes:
            before = self.num_there
            try:
                self._receive(url, verify)
            except _Untrusted:
                # Some servers omit the certificate between theirs and the root; browsers know how to find it. The
                # SHA-256 verifies the file in any case, and nothing secret is sent.
                self.progress.say(
                    f"{url}: the server's certificate cannot be verified; the SHA-256 verifies the file instead"
                )
                verify = False
            except _Lost as lost:
                failures = 1 if self.num_there > before else failures + 1
                if failures > len(WAITS_S):
                    raise DataError(
                        f"{url}: the download stopped at {self.num_there / 1e6:,.1f} of {self.num_bytes / 1e6:,.1f} MB ({lost}); "
                        f"run the command again to resume, or download it in a browser to {self.part.with_suffix('')}"
                    ) from None
                wait = lost.wait_s or WAITS_S[failures - 1]
                self.progress.say(f"{lost}; trying again in {wait} s")
                self.pause(wait)
        self.part.replace(output_file)

    def _receive(self, url: str, verify: bool) -> None:
        """Request the missing bytes and append them."""
        import requests

        start = self.num_there if self.num_there < self.num_bytes else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # from urllib3, about an unverified connection
                response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S, verify=verify)
            with response:
                self._save(response, start)
        except requests.exceptions.SSLError as error:
            if verify and "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise _Untrusted from None
            raise _Lost("no secure connection was possible") from None
        except requests.exceptions.Timeout:
            raise _Lost("the server does not answer") from None
        except requests.exceptions.RequestException:
            raise _Lost("the connection was lost") from None

    def _save(self, response: Any, start: int) -> None:
        """Append to the partial file; start again if the server cannot resume."""
        status = response.status_code
        if status in TRANSIENT:
            asked = response.headers.get("Retry-After", "")
            raise _Lost(f"the server answers {status}", min(int(asked), LONGEST_WAIT_S) if asked.isdigit() else 0)
        if status == 416:  # the partial file does not match the server's file
            self.part.unlink(missing_ok=True)
            raise _Lost("the server's file has changed")
        if status not in (200, 206):
            raise DataError(
                f"{response.url}: the server answers {status} ({response.reason}); see the dataset's page for its new location"
            )
        goes_on = status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if status == 206 and not goes_on:
            raise _Lost("the server sent a different part than requested")
        self.progress.task("MB", round(self.num_bytes / 1e6), "MB").advance(round(start / 1e6) if goes_on else 0)
        with self.part.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                done = file.tell()
                if done + len(chunk) > self.num_bytes:
                    raise DataError(f"{response.url}: the file is larger than the known one ({self.num_bytes:,} bytes)")
                file.write(chunk)
                self.progress.advance(round((done + len(chunk)) / 1e6) - round(done / 1e6))
        if self.num_there < self.num_bytes:
            raise _Lost("the connection was lost")


class _Lost(Exception):
    """A download was interrupted for a temporary reason; ``wait_s`` is the wait that the server asks for, or 0."""

    def __init__(self, reason: str, wait_s: int = 0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Untrusted(Exception):
    """The server's certificate could not be verified."""


def from_mirror(name: str, source: Mirror, into: Path, downloads: Path, progress: Progress) -> None:
    """Download a dataset from Kaggle with ``kagglehub``, which resumes downloads, and move the dataset out of its cache."""
    cache = downloads / name
    cache.mkdir(parents=True, exist_ok=True)
    progress.say(f"downloading {source.handle} from Kaggle")
    with _kagglehub(known(name).page, cache) as kagglehub:
        whole = Path(kagglehub.dataset_download(source.handle))
    try:
        _refuse_links(whole)
        folder = _inside(name, source, whole)
        check_contents(name, folder, progress)
        if whole.is_relative_to(cache):
            into.rmdir()
            folder.rename(into)
        else:  # on Kaggle's own machines, the data are elsewhere and read-only
            shutil.copytree(folder, into, dirs_exist_ok=True)
    finally:
        shutil.rmtree(cache)  # moved or useless; if kept, it would count as the complete dataset next time
        with contextlib.suppress(OSError):
            downloads.rmdir()


def _inside(name: str, source: Mirror, whole: Path) -> Path:
    """The folder of a mirror that holds the dataset."""
    for part in source.inside:
        with contextlib.suppress(SegstudyError):
            count_images(name, whole / part)
            return whole / part
    there = sorted(path.name for path in whole.iterdir())
    raise DataError(
        f"{known(name).page}: the mirror no longer holds the dataset in {listing(source.inside)}; it holds {listing(there)}. "
        "Nothing is kept"
    )


def _refuse_links(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise DataError(f"{path.relative_to(folder)}: is a link, not a file; nothing of the mirror is kept")


@contextlib.contextmanager
def _kagglehub(page: str, cache: Path) -> Iterator[ModuleType]:
    """``kagglehub`` with its cache in ``cache`` and its output on standard error; failures become one plain message."""
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(cache)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield importlib.import_module("kagglehub")
    except ImportError:
        raise DataError("datasets from Kaggle need the package kagglehub; run pip install 'segstudy[kaggle]'") from None
    except SegstudyError:
        raise
    except Exception as error:
        # kagglehub passes on the exceptions of its parts: requests, the API client, the cache.
        raise DataError(_kaggle_fault(page, error)) from None
    finally:
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before


def _kaggle_fault(page: str, error: Exception) -> str:
    """The error with Kaggle, and what to do."""
    kind, status = type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403) or kind in ("UnauthenticatedError", "CredentialError") or "credentials" in str(error):
        return (
            f"{page}: Kaggle requires an account for this dataset. Create a token at https://www.kaggle.com/settings and put it "
            "into the environment variable KAGGLE_API_TOKEN or the file ~/.kaggle/access_token, then run the command again"
        )
    if status == 404:
        return f"{page}: Kaggle no longer has this dataset"
    if kind in ("ConnectionError", "Timeout", "ReadTimeout", "ConnectTimeout", "ChunkedEncodingError", "SSLError"):
        return f"{page}: the connection to Kaggle was lost; run the command again to resume"
    return f"{page}: kagglehub could not download it ({kind}: {str(error).partition(chr(10))[0]})"
