"""Files that are written whole or not at all, read back or refused in one message, claimed, and checked by their sums."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import secrets
import shutil
import socket
import stat
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO, Any, ClassVar, TypeVar

import numpy as np
import psutil
import yaml  # type: ignore[import-untyped]
from filelock import LeaseCompromise, SoftFileLease
from numpy.typing import NDArray
from ruamel.yaml import YAML
from ruamel.yaml.resolver import implicit_resolvers

from segstudy.errors import StoreError

try:
    from yaml.cyaml import CParser  # type: ignore[import-untyped]
except ImportError:  # PyYAML without libyaml
    CParser = None

Result = TypeVar("Result")
_BEGIN, _END = (yaml.StreamStartEvent, yaml.DocumentStartEvent), (yaml.DocumentEndEvent, yaml.StreamEndEvent)
SUMS = "SHA256SUMS"
CLAIM = "claim"  # in a folder: the marker of the process that works there
VOLATILE = {SUMS, CLAIM, "lock", "failure.txt", "failure.log"}
UNREADABLE = (OSError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)  # what a damaged file or zip raises
HOST = re.sub(r"[^A-Za-z0-9_]", "_", socket.gethostname())[:24] or "host"
with contextlib.suppress(OSError):  # containers of one pod share a host name, and do not see each other's processes
    HOST += f"_{Path('/proc/self/ns/pid').stat().st_ino}"
TEMPORARY = re.compile(r"\..*\.([A-Za-z0-9_]+)-(\d+)-[0-9a-f]{8}\.tmp")
FORGOTTEN_S = 86_400  # temporary files of other machines are left over when nothing has touched them for a day
# A claim of another machine is taken over when nobody has refreshed it for so long, by the clock of the one who waits.
# Longer than the minute for which network file systems remember a file's time.
LEASE_S, HEARTBEAT_S = 120.0, 20.0


def claim_on(marker: Path, lost: Callable[[LeaseCompromise], None] | None = None) -> SoftFileLease:
    """A lock that any machine sharing the file system respects; the claim of a dead process can be taken over.

    Its holder refreshes ``marker`` from a thread of its own. A dead process of this machine loses its claim at once, one
    of another machine after ``LEASE_S`` seconds without a refresh. ``lost`` is called when this process's own claim
    was taken over, as after a long suspension.
    """
    return SoftFileLease(
        marker, lease_duration=LEASE_S, heartbeat_interval=HEARTBEAT_S, on_compromise=lost, thread_local=False
    )


def temporary_for(path: Path) -> Path:
    """A hidden name next to ``path`` that no other process uses, on this machine or another."""
    return path.parent / f".{path.name[:160]}.{HOST}-{os.getpid()}-{secrets.token_hex(4)}.tmp"


def sweep(folder: Path) -> list[Path]:
    """Remove temporary files and folders below ``folder`` that killed processes left; return what was removed."""
    removed = []
    for path in sorted(folder.rglob(".*.tmp")):
        match = TEMPORARY.fullmatch(path.name)
        with contextlib.suppress(OSError):
            if match is None or match[1] != HOST:
                left = time.time() - path.stat().st_mtime > FORGOTTEN_S
            else:
                left = not psutil.pid_exists(int(match[2]))
            if left:
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                removed.append(path)
    return removed


class IrregularError(OSError):
    """A pipe or a device in place of a file."""

    def __str__(self) -> str:
        return str(self.strerror)


def open_regular(path: Path) -> IO[bytes]:
    """Open a file for reading; a pipe or a device, which may keep a reader waiting forever, is an ``OSError``."""
    if not stat.S_ISREG(path.stat().st_mode) and not path.is_dir():
        raise IrregularError(None, "it is a pipe or a device, not a file", str(path))
    return path.open("rb")


def open_text(path: Path) -> IO[str]:
    """Open a text file in UTF-8 as it is, line ends and all; pipes and devices are refused as by :func:`open_regular`."""
    return io.TextIOWrapper(open_regular(path), encoding="utf-8-sig", newline="")


def read_text(path: Path) -> str:
    """Text of a file in UTF-8, with or without a mark in front; pipes and devices are refused as by :func:`open_regular`."""
    with io.TextIOWrapper(open_regular(path), encoding="utf-8-sig") as file:
        return file.read()


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path next to ``path`` that takes its place on success and vanishes on failure."""
    temporary = temporary_for(path)
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
        with open_regular(path) as file:
            value = _parsed(file.read().decode("utf-8"))
    except Exception as error:  # a damaged file can make the reader raise nearly anything
        raise StoreError(f"{path}: cannot be read back ({type(error).__name__}); move its folder away") from None
    if not isinstance(value, dict):
        raise StoreError(f"{path}: cannot be read back (it holds no keys and values); move its folder away")
    return value


class _Unusual(Exception):
    """A YAML text that :func:`write_yaml` does not write: with tags, merged keys, or parts that are named and repeated."""


def _parsed(text: str) -> Any:
    """Plain data of a YAML text.

    A store may hold 1,000 records: they are built from libyaml's events, three times as fast as by PyYAML's own loader, and
    80 times as fast as by ruamel.yaml, which has the rules of YAML 1.2.
    """
    try:
        events = CParser(text) if CParser else None
        if events is None or not all(type(events.get_event()) is kind for kind in _BEGIN):
            raise _Unusual
        value = _value(events, events.get_event())
        if not all(type(events.get_event()) is kind for kind in _END):
            raise _Unusual
    except _Unusual:
        return yaml.load(text, _Loader)  # it builds plain data only
    return value


def _value(events: Any, event: Any) -> Any:
    kind, following = type(event), events.get_event
    if kind is yaml.ScalarEvent and any(event.implicit):
        return _scalar(event.value) if event.implicit[0] else event.value
    if kind is yaml.MappingStartEvent and event.implicit:
        mapping: dict[Any, Any] = {}
        while type(event := following()) is not yaml.MappingEndEvent:
            key = _value(events, event)
            if key in mapping:
                raise yaml.YAMLError(f"the key {key} is there twice")
            mapping[key] = _value(events, following())
        return mapping
    if kind is yaml.SequenceStartEvent and event.implicit:
        sequence = []
        while type(event := following()) is not yaml.SequenceEndEvent:
            sequence.append(_value(events, event))
        return sequence
    raise _Unusual


@lru_cache(maxsize=4096)
def _scalar(text: str) -> Any:
    """The value of a YAML word without quotation marks."""
    if text in ("<<", "="):
        raise _Unusual
    loader = _Loader("")
    return loader.construct_object(yaml.ScalarNode(loader.resolve(yaml.ScalarNode, text, (True, False)), text))


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """YAML 1.2 by PyYAML, which has the rules of YAML 1.1."""

    yaml_implicit_resolvers: ClassVar[dict[str, Any]] = {}

    def construct_mapping(self, node: Any, deep: bool = False) -> Any:
        """Refuse a key that is there twice, as ruamel.yaml does."""
        keys = [key.value for key, _ in node.value]
        if len(keys) != len(set(map(str, keys))):
            raise yaml.YAMLError("a key is there twice")
        return super().construct_mapping(node, deep=deep)


for _versions, _tag, _rule, _first in implicit_resolvers:
    if (1, 2) in _versions:
        _Loader.add_implicit_resolver(_tag, _rule, _first)


def read_json(path: Path) -> Any:
    """Read JSON; a damaged file is a :class:`StoreError` that names it."""
    try:
        with open_regular(path) as file:
            return json.loads(file.read().decode("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise StoreError(f"{path}: cannot be read back ({error}); delete it and run again") from None


def write_arrays(path: Path, arrays: Mapping[str, NDArray[Any]], meta: Mapping[str, Any]) -> None:
    """Write arrays and their description to one compressed ``.npz``."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, meta=np.array(json.dumps(meta)), **dict(arrays))  # type: ignore[arg-type]


def read_arrays(path: Path) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what :func:`write_arrays` wrote: arrays and description."""
    try:
        with open_regular(path) as raw, np.load(raw, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        meta = json.loads(str(arrays.pop("meta")))
        return arrays, dict(meta)
    except Exception as error:  # a damaged zip can make NumPy raise nearly anything
        reason = str(error).partition("\n")[0]
        if "pickle" in reason:  # NumPy takes whatever it does not know for one, and advises to load it all the same
            reason = "it is no .npz file, or holds Python objects"
        elif isinstance(error, KeyError):
            reason = "it lacks the description that segstudy writes"
        raise StoreError(f"{path}: is not a counts file of segstudy, or is damaged ({reason})") from None


def read_meta(path: Path) -> dict[str, Any]:
    """The description alone of what :func:`write_arrays` wrote; of a damaged file, none."""
    try:
        with open_regular(path) as raw, np.load(raw, allow_pickle=False) as file:
            meta = json.loads(str(file["meta"]))
        return dict(meta)
    except Exception:  # a damaged zip can make NumPy raise nearly anything; reading the counts says so
        return {}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, as ``sha256sum`` prints it."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None


def network_sha256(path: Path) -> str:
    """SHA-256 of a network: a file, with the file of weights next to it if there is one, or all files of a folder.

    Hidden files and sub-folders of a folder do not count.
    """
    try:
        if path.is_dir():
            files = sorted(each for each in path.iterdir() if each.is_file() and not each.name.startswith("."))
        else:  # OpenVINO's and ONNX's names of files of weights
            extra = [path.with_suffix(".bin")] if path.suffix == ".xml" else []
            extra += [path.with_name(f"{path.name}{end}") for end in (".data", "_data")]
            files = [path, *(each for each in extra if each.is_file())]
    except OSError as error:
        raise StoreError(f"{path}: cannot be read ({error.strerror})") from None
    if files == [path]:
        return file_sha256(path)
    lines = [f"{each.name}\0{file_sha256(each)}\n" for each in files]
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def kept_files(folder: Path) -> list[Path]:
    """Files below ``folder`` that are results: no sums, no claims, nothing hidden or left half-written by a killed process."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.is_file()
        and path.name not in VOLATILE
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def write_sums(folder: Path) -> None:
    """List the SHA-256 of every result below ``folder`` in its ``SHA256SUMS``, as ``sha256sum`` does."""
    lines = [_sum_line(file_sha256(path), path.relative_to(folder).as_posix()) for path in kept_files(folder)]
    write_bytes(folder / SUMS, os.fsencode("".join(lines)))


def read_sums(folder: Path) -> dict[str, str]:
    """SHA-256 by name, from a folder's ``SHA256SUMS``; nothing where there is none."""
    try:
        with open_regular(folder / SUMS) as file:
            lines = os.fsdecode(file.read()).split("\n")
    except OSError:
        return {}
    return {name: digest for digest, name in map(_parse_sum, filter(None, lines))}


def _sum_line(digest: str, name: str) -> str:
    """A line of ``sha256sum``, which escapes line ends and backslashes and says so by a backslash in front."""
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != name else ""
    return f"{mark}{digest}  {escaped}\n"


def _parse_sum(line: str) -> tuple[str, str]:
    digest, _, name = line.removeprefix("\\").partition("  ")
    if line.startswith("\\"):
        name = re.sub(r"\\(.)", lambda match: {"n": "\n", "r": "\r"}.get(match[1], match[1]), name)
    return digest.lower(), name


def verify(path: Path) -> tuple[int, list[str]]:
    """Check files against the ``SHA256SUMS`` that lie with them.

    Parameters
    ----------
    path
        An archive (``.zip``), a run's folder, or any folder above such.

    Returns
    -------
    tuple
        Number of files whose sums agree, and a line for each problem: files that are missing, that changed, or that
        lie in a run's folder (or in an archive) although no list names them.

    """
    if path.is_file() and zipfile.is_zipfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                names = {name for name in archive.namelist() if not name.endswith("/")}
                sums = [n for n in names if Path(n).name == SUMS]
                return _verify(sums, names, archive.open, names.__contains__)
        except zipfile.BadZipFile as error:
            raise StoreError(f"{path}: is a damaged zip archive ({error}); fetch or write it again") from None
    if not path.is_dir():
        raise StoreError(
            f"{path}: no such folder, nor a zip archive; give a run, a study's output folder or an archive"
        )

    def exists(name: str) -> bool:
        try:
            return (path / name).is_file()
        except (OSError, ValueError):  # a name that no file can have
            return False

    lists = sorted(path.rglob(SUMS))
    present = {p.relative_to(path).as_posix() for place in lists for p in kept_files(place.parent)}
    sums = [place.relative_to(path).as_posix() for place in lists]
    return _verify(sums, present, lambda name: open_regular(path / name), exists)


def _verify(
    sums: list[str], present: Iterable[str], open_file: Callable[[str], IO[bytes]], exists: Callable[[str], bool]
) -> tuple[int, list[str]]:
    if not sums:
        raise StoreError(f"no {SUMS} found, so there is nothing to check against")
    good, problems, named = 0, [], set(sums)
    for listed in sorted(sums):
        lines = _read(open_file, listed, lambda file: os.fsdecode(file.read()).split("\n"))
        if lines is None or not any(lines):
            problems.append(f"{listed}: {'cannot be read' if lines is None else 'lists nothing'}")
            continue
        for line in filter(None, lines):
            digest, name = _parse_sum(line)
            member = (Path(listed).parent / name).as_posix()
            named.add(member)
            if len(digest) != 64 or not name or ".." in Path(name).parts or Path(name).is_absolute():
                problems.append(f"{listed}: '{line}' is not a line of sha256sum")
            elif not exists(member):
                problems.append(f"{member}: missing")
            elif (found := _read(open_file, member, _sha256)) == digest:
                good += 1
            else:
                problems.append(f"{member}: {'cannot be read' if found is None else 'changed since its sum was taken'}")
        base = Path(listed).parent.as_posix()
        inside = (name for name in present if base == "." or name.startswith(f"{base}/"))
        problems += [f"{name}: is listed nowhere" for name in sorted(set(inside) - named)]
    return good, problems


def _read(open_file: Callable[[str], IO[bytes]], name: str, use: Callable[[IO[bytes]], Result]) -> Result | None:
    """The result of ``use`` on a file, or None when it cannot be read."""
    try:
        with open_file(name) as file:
            return use(file)
    except UNREADABLE:
        return None


def _sha256(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


@contextlib.contextmanager
def building(folder: Path) -> Iterator[Path | None]:
    """Build ``folder`` once among any number of processes, on any number of machines.

    Yields a temporary folder to fill, renamed to ``folder`` on success and removed on failure, or None when
    ``folder`` is already there (perhaps because another process has just built it).
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with claim_on(folder.parent / f".{folder.name}.lock"):
            if folder.is_dir():
                yield None
                return
            temporary = folder.parent / f".{folder.name}.tmp"
            if temporary.is_dir():  # the process that held the claim before was killed
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


def digest(values: Mapping[str, Any]) -> str:
    """Short hash of plain values, the same whatever the order of keys."""
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]


def read_sealed(path: Path) -> dict[str, str]:
    """The data that :func:`write_sealed` wrote; empty when it cannot be read or was altered."""
    try:
        with open_regular(path) as file:
            known = json.loads(file.read().decode("utf-8"))
        files = known["files"]
        sound = known["sha256"] == _sum_of(files)
    except (OSError, ValueError, RecursionError, TypeError, KeyError):
        return {}
    return files if sound and isinstance(files, dict) else {}


def write_sealed(path: Path, files: Mapping[str, str]) -> None:
    """Write names and texts as JSON with their own checksum."""
    write_text(path, json.dumps({"sha256": _sum_of(files), "files": dict(files)}))


def _sum_of(files: Any) -> str:
    return hashlib.sha256(json.dumps(files, sort_keys=True).encode()).hexdigest()
