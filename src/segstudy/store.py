"""The output folder of a study: the only module that knows its paths, and the only state there is.

Every file is written under a temporary name and renamed, so a reader sees it whole or not at all. What has been
done is read off the files, never noted elsewhere.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal, TypeVar

import numpy as np
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from ruamel.yaml import YAML

from segstudy.errors import StoreError, listing

Result = TypeVar("Result")
State = Literal["missing", "partial", "trained", "done", "failed", "stale", "running"]
SUMS = "SHA256SUMS"
VOLATILE = {SUMS, "lock"}
REPORTABLE = ("test", "val")  # the split that a dataset is reported on, unless the study names one
UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)  # what a damaged file or zip raises


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` that takes its place on success and vanishes on failure."""
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with temporary.open("rb") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
    except OSError as error:
        raise StoreError(
            f"{path}: cannot be written ({error.strerror or error}); make room or choose another place with --out"
        ) from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Write ``content`` whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_text(path: Path, text: str) -> None:
    """Write ``text`` as UTF-8, whole or not at all."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, default=str) + "\n")


def write_yaml(path: Path, value: Any) -> None:
    """Write plain data as block-style YAML, whole or not at all."""
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    with replacing(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        yaml.dump(value, file)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read what :func:`write_yaml` wrote; a damaged file is a :class:`StoreError` that names it."""
    try:
        value = YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))
    except Exception as error:  # a damaged file can make the reader raise nearly anything
        raise StoreError(f"{path}: cannot be read back ({type(error).__name__}); move its folder away") from None
    if not isinstance(value, dict):
        raise StoreError(f"{path}: cannot be read back (it holds no keys and values); move its folder away")
    return value


def read_json(path: Path) -> Any:
    """Read JSON; a damaged file is a :class:`StoreError` that names it."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read back ({error}); delete it and run again") from None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write arrays and their description to one compressed ``.npz``."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, meta=np.array(json.dumps(meta)), **dict(arrays))  # type: ignore[arg-type]


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_arrays` wrote: arrays and description."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        return arrays, json.loads(str(arrays.pop("meta")))
    except Exception as error:  # a damaged zip can make NumPy raise nearly anything
        raise StoreError(f"{path}: is not a counts file of segstudy, or is damaged ({error})") from None


def read_meta(path: Path) -> dict[str, Any]:
    """The description alone of what :func:`write_arrays` wrote; of a damaged file, none."""
    try:
        with np.load(path, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
        return dict(meta)
    except Exception:  # a damaged zip can make NumPy raise nearly anything; whoever reads the counts says so
        return {}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None


def kept_files(folder: Path) -> list[Path]:
    """Files below ``folder`` that are results: no sums, no locks, nothing hidden or left half-written by a killed process."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in VOLATILE
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def write_sums(folder: Path) -> None:
    """List the SHA-256 of every result below ``folder`` in its ``SHA256SUMS``, as ``sha256sum`` does."""
    lines = [f"{file_sha256(path)}  {path.relative_to(folder).as_posix()}\n" for path in kept_files(folder)]
    write_bytes(folder / SUMS, os.fsencode("".join(lines)))


def verify(path: Path) -> tuple[int, list[str]]:
    """Check files against the ``SHA256SUMS`` that lie with them.

    Parameters
    ----------
    path
        An archive (``.zip``), a run's folder, or any folder above such.

    Returns
    -------
    tuple
        Number of files whose sums agree, and a line for each problem.

    """
    if path.is_file() and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = set(archive.namelist())
                return _verify([n for n in names if Path(n).name == SUMS], archive.open, names.__contains__)
        except zipfile.BadZipFile as error:
            raise StoreError(f"{path}: is a damaged zip archive ({error}); fetch or write it again") from None
    if not path.is_dir():
        raise StoreError(
            f"{path}: no such folder, nor a zip archive; give a run, a study's output folder or an archive"
        )

    def exists(name: str) -> bool:
        try:
            return (path / name).is_file()
        except OSError:  # a name that no file can have
            return False

    sums = [p.relative_to(path).as_posix() for p in sorted(path.rglob(SUMS))]
    return _verify(sums, lambda name: (path / name).open("rb"), exists)


def _verify(
    sums: list[str], open_file: Callable[[str], IO[bytes]], exists: Callable[[str], bool]
) -> tuple[int, list[str]]:
    if not sums:
        raise StoreError(f"no {SUMS} found, so there is nothing to check against")
    good, problems = 0, []
    for listed in sorted(sums):
        lines = _read(open_file, listed, lambda file: os.fsdecode(file.read()).split("\n"))
        if lines is None or not any(lines):
            problems.append(f"{listed}: {'cannot be read' if lines is None else 'lists nothing'}")
        for line in filter(None, lines or []):
            digest, _, name = line.partition("  ")
            member = (Path(listed).parent / name).as_posix()
            if len(digest) != 64 or not name or ".." in Path(name).parts or Path(name).is_absolute():
                problems.append(f"{listed}: '{line}' is not a line of sha256sum")
            elif not exists(member):
                problems.append(f"{member}: missing")
            elif (found := _read(open_file, member, _sha256)) == digest.lower():
                good += 1
            else:
                problems.append(f"{member}: {'cannot be read' if found is None else 'changed since its sum was taken'}")
    return good, problems


def _read(open_file: Callable[[str], IO[bytes]], name: str, use: Callable[[IO[bytes]], Result]) -> Result | None:
    """What ``use`` makes of a file, or None when it cannot be read."""
    try:
        with open_file(name) as file:
            return use(file)
    except UNREADABLE:
        return None


def _sha256(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@dataclass(frozen=True)
class RunFolder:
    """Paths and state of one run: ``runs/<experiment>/seed<k>``."""

    path: Path

    @property
    def config(self) -> Path:
        """What the run is: resolved configuration, identity, environment."""
        return self.path / "run.yaml"

    @property
    def metrics(self) -> Path:
        """A line of JSON per epoch."""
        return self.path / "metrics.jsonl"

    @property
    def last(self) -> Path:
        """Everything needed to go on after the last whole epoch; gone once training has ended."""
        return self.path / "last.ckpt"

    @property
    def best(self) -> Path:
        """Weights of the chosen epoch; there once training has ended."""
        return self.path / "best.safetensors"

    @property
    def cost(self) -> Path:
        """Time, memory, parameters, operations."""
        return self.path / "cost.json"

    @property
    def failure(self) -> Path:
        """Why the last attempt stopped, if it did."""
        return self.path / "failure.txt"

    @property
    def trained(self) -> bool:
        """Whether training has ended, here or, for an imported checkpoint, elsewhere."""
        return self.best.is_file() and self.config.is_file()

    def best_of_epoch(self, epoch: int) -> Path:
        """Weights of the best epoch so far, while training goes on."""
        return self.path / f"best-epoch{epoch}.safetensors"

    def evaluation(self, dataset: str, split: str) -> Path:
        """Counts on ``split`` of ``dataset``."""
        return self.path / "evaluations" / f"{dataset}-{split}.npz"

    def predictions(self, dataset: str, split: str) -> Path:
        """Folder of predicted masks on ``split`` of ``dataset``."""
        return self.path / "predictions" / f"{dataset}-{split}"

    def read_metrics(self) -> list[dict[str, Any]]:
        """Epoch records so far; a line cut off by a crash is left out."""
        records: list[dict[str, Any]] = []
        if self.metrics.is_file():
            for line in self.metrics.read_text(encoding="utf-8", errors="replace").splitlines():
                with contextlib.suppress(ValueError):
                    records.append(json.loads(line))
        return records

    def find_evaluation(self, dataset: str, split: str | None, asked: str = "") -> Path | None:
        """Counts on ``dataset``, of ``split`` or else of whichever split is reported there; None if there are none.

        Counts that answer another question than ``asked`` (another label map, say) are not found.
        """
        paths = [self.evaluation(dataset, name) for name in ([split] if split else REPORTABLE)]
        return next((path for path in paths if path.is_file() and read_meta(path).get("asked", "") == asked), None)

    def state(self, identity: str, scored_on: Iterable[tuple[str, str | None, str]]) -> State:
        """Where the run stands, read off its files."""
        if not self.config.is_file():
            return "running" if self.locked() else "missing"
        if self.locked():
            return "running"
        if read_yaml(self.config).get("identity") != identity:
            return "stale"
        if self.failure.is_file():
            return "failed"
        if not self.best.is_file():
            return "partial"
        whole = all(self.find_evaluation(*names) for names in scored_on)
        return "done" if whole and (self.path / SUMS).is_file() else "trained"

    def locked(self) -> bool:
        """Whether a living process works on this run."""
        if not (self.path / "lock").is_file():
            return False
        try:
            with FileLock(self.path / "lock", timeout=0):
                return False
        except Timeout:
            return True
        except OSError:  # somebody else's folder, which may only be read
            return False

    @contextlib.contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the run for this process; the system lets go of it however the process ends."""
        lock = FileLock(self.path / "lock", timeout=2)  # a glance by another process passes at once
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            lock.acquire()
        except Timeout:
            raise StoreError(f"{self.path}: another process is working on this run; wait for it or stop it") from None
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be written ({error.strerror}); choose another --out") from None
        try:
            yield
        finally:
            lock.release()

    def set_aside(self) -> Path:
        """Move the run's folder to a free name beside it, so that nothing is lost, and return that name."""
        number = 1
        while (aside := self.path.with_name(f"{self.path.name}.old{number}")).exists():
            number += 1
        try:
            self.path.rename(aside)
        except OSError as error:
            raise StoreError(f"{self.path}: cannot be moved to {aside.name} ({error.strerror})") from None
        return aside


@dataclass(frozen=True)
class Store:
    """The output folder of one study."""

    root: Path

    def run(self, experiment: str, seed: int) -> RunFolder:
        """Folder of one run."""
        return RunFolder(self.root / "runs" / experiment / f"seed{seed}")

    @property
    def cache(self) -> Path:
        """Decoded and resized images."""
        return self.root / "cache"

    @property
    def data(self) -> Path:
        """Synthetic datasets that this study draws for itself."""
        return self.root / "data"

    @property
    def report(self) -> Path:
        """Tables, figures, the page."""
        return self.root / "report"

    @property
    def results(self) -> Path:
        """Every number in long form."""
        return self.report / "results.csv"

    @property
    def page(self) -> Path:
        """The report's HTML page."""
        return self.report / "index.html"

    def archive(self, name: str) -> Path:
        """The study packed into one file."""
        return self.root / f"{name}-archive.zip"

    def prepare(self, study: Mapping[str, Any]) -> None:
        """Make the folder, refusing one that belongs to something else, and write the study into it."""
        note = self.root / "study.yaml"
        if self.root.exists() and not self.root.is_dir():
            raise StoreError(f"{self.root}: is a file; choose a folder with --out")
        if self.root.is_dir() and not note.is_file():
            foreign = self._foreign()
            if foreign:
                raise StoreError(
                    f"{self.root}: exists and is not a study's output (it holds {listing(foreign, 4)}); choose another --out"
                )
        if note.is_file() and (other := read_yaml(note).get("name")) != study["name"]:
            raise StoreError(f"{self.root}: holds the study '{other}', not '{study['name']}'; choose another --out")
        write_yaml(note, dict(study))

    def _foreign(self) -> list[str]:
        try:
            names = sorted(path.name for path in self.root.iterdir())
        except OSError as error:
            raise StoreError(f"{self.root}: cannot be read ({error.strerror}); choose another --out") from None
        ours = ("data", "cache")
        return [name for name in names if name not in ours and not (name.startswith(".") and name.endswith(".tmp"))]

    def read_memo(self) -> dict[str, str]:
        """Content hashes of files seen before; none when they cannot be read, as they can be taken again."""
        try:
            memo = json.loads((self.cache / "fingerprints.json").read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}
        return memo if isinstance(memo, dict) else {}

    def write_memo(self, memo: Mapping[str, str]) -> None:
        """Remember content hashes for the next call."""
        write_text(self.cache / "fingerprints.json", json.dumps(memo))


@contextlib.contextmanager
def building(folder: Path) -> Iterator[Path | None]:
    """Build ``folder`` once among any number of processes.

    Yields a temporary folder to fill, renamed to ``folder`` on success and removed on failure, or None when
    ``folder`` is already there (perhaps because another process has just built it).
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.parent / f".{folder.name}.lock"):
            if folder.is_dir():
                yield None
                return
            temporary = folder.parent / f".{folder.name}.tmp"
            if temporary.is_dir():  # whoever held the lock before was killed
                shutil.rmtree(temporary)
            temporary.mkdir()
            try:
                yield temporary
                temporary.rename(folder)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise StoreError(
            f"{folder}: cannot be built ({error.strerror or error}); make room or choose another place"
        ) from None
