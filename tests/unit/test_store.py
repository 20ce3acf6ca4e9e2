"""The output folder: whole files or none, one builder at a time, states read off files, sums that others can check."""

from __future__ import annotations

import errno
import hashlib
import json
import multiprocessing
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from filelock import SoftFileLease
from hypothesis import given, settings
from hypothesis import strategies as st

from segstudy.errors import StoreError
from segstudy.files import (
    CLAIM,
    FORGOTTEN_S,
    LEASE_S,
    building,
    claim_on,
    file_sha256,
    kept_files,
    read_arrays,
    read_json,
    read_yaml,
    replacing,
    sweep,
    temporary_for,
    verify,
    write_arrays,
    write_bytes,
    write_json,
    write_sums,
    write_text,
    write_yaml,
)
from segstudy.records import RunRecord
from segstudy.store import HeldError, RunFolder, Store

SPAWN = multiprocessing.get_context("spawn")
NOTHING = hashlib.sha256(b"").hexdigest()
ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-2, appendix B.1


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def started(target: Callable[..., None], *arguments: object) -> BaseProcess:
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    return process


def wait_for(path: Path, seconds: float = 600) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} did not appear"
        time.sleep(0.01)


def kill(process: BaseProcess) -> None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(30)
    assert process.exitcode == -signal.SIGKILL


# --- writing -----------------------------------------------------------------------------------------------------

WRITERS: dict[str, Callable[[Path], None]] = {
    "bytes": lambda path: write_bytes(path, b"new"),
    "text": lambda path: write_text(path, "new"),
    "json": lambda path: write_json(path, {"a": 1}),
    "yaml": lambda path: write_yaml(path, {"a": 1}),
    "arrays": lambda path: write_arrays(path, {"a": np.arange(3)}, {"b": 1}),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_writing_makes_folders_replaces_and_leaves_nothing_else(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a" / "b" / "file"
    WRITERS[kind](path)
    first = path.read_bytes()
    path.write_bytes(b"old")
    WRITERS[kind](path)
    assert path.read_bytes() == first != b"old"
    assert names(tmp_path) == ["a", "a/b", "a/b/file"]


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_full_disk_leaves_the_old_content_and_no_temporary_file(
    tmp_path: Path, kind: str, code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(StoreError, match=rf"file: cannot be written \({os.strerror(code)}\); make room or choose"):
        WRITERS[kind](path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_device_that_is_really_full(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def fill() -> None:
        with replacing(tmp_path / "file") as temporary:
            temporary.symlink_to("/dev/full")
            with temporary.open("wb") as file:
                file.write(b"new")

    with pytest.raises(StoreError, match=r"No space left on device"):
        fill()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt(), SystemExit(1), MemoryError()])
def test_any_interruption_while_writing_leaves_the_old_content(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "file").write_bytes(b"old")

    def interrupted() -> None:
        with replacing(tmp_path / "file") as temporary:
            temporary.write_bytes(b"half")
            raise error

    with pytest.raises(type(error)):
        interrupted()
    assert names(tmp_path) == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_value_that_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    write_yaml(tmp_path / "run.yaml", {"a": 1})
    with pytest.raises(Exception, match="cannot represent"):
        write_yaml(tmp_path / "run.yaml", {"a": object()})
    assert names(tmp_path) == ["run.yaml"]
    assert read_yaml(tmp_path / "run.yaml") == {"a": 1}


def test_file_in_the_place_of_a_folder_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(StoreError, match=r"taken.file: cannot be written"):
        write_text(tmp_path / "taken" / "file", "y")
    (tmp_path / "folder").mkdir()
    with pytest.raises(StoreError, match=r"folder: cannot be written"):
        write_text(tmp_path / "folder", "y")
    assert names(tmp_path) == ["folder", "taken"]


# --- reading back ------------------------------------------------------------------------------------------------

# ruamel.yaml writes the rare line ends U+0085, U+2028 and U+2029 as they are, and reads them as spaces.
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), max_size=8)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=50, deadline=None)
@given(value=st.dictionaries(TEXT, PLAIN, max_size=3))
def test_yaml_and_json_come_back_as_they_went(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("r")
    write_json(folder / "a.json", value)
    assert read_json(folder / "a.json") == value
    write_yaml(folder / "a.yaml", value)
    assert read_yaml(folder / "a.yaml") == value


def test_yaml_keeps_the_order_of_keys(tmp_path: Path) -> None:
    write_yaml(tmp_path / "a.yaml", {"z": 1, "a": {"y": 1, "b": 2}})
    assert (tmp_path / "a.yaml").read_text() == "z: 1\na:\n  y: 1\n  b: 2\n"


def test_arrays_come_back_as_they_went(tmp_path: Path) -> None:
    arrays = {"confusion": np.arange(24).reshape(2, 3, 4), "ids": np.array(["a", "\N{GREEK SMALL LETTER ALPHA}/b"])}
    write_arrays(tmp_path / "a.npz", arrays, {"classes": ["x"], "size": 3})
    found, meta = read_arrays(tmp_path / "a.npz")
    assert meta == {"classes": ["x"], "size": 3}
    assert set(found) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(found[name], array, strict=True)


DAMAGED_YAML = {
    "nothing": b"",
    "zeros": b"\0" * 64,
    "no text": b"\xff\xfe\x00",
    "a list": b"- a\n",
    "words": b"half a fi",
    "tab": b"\ta: 1",
    "twice": b"a: 1\na: 2\n",
    "code": b"a: !!python/object/apply:os.system ['touch /tmp/owned']\n",
    "not a number": b"a: !!int x\n",
    "bottomless": b"[" * 400,
}


@pytest.mark.parametrize("case", DAMAGED_YAML)
def test_damaged_yaml_is_named(tmp_path: Path, case: str) -> None:
    (tmp_path / "run.yaml").write_bytes(DAMAGED_YAML[case])
    with pytest.raises(StoreError, match=r"run\.yaml: cannot be read back \(.+\); move its folder away"):
        read_yaml(tmp_path / "run.yaml")


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"\0", b"[" * 100_000])
def test_damaged_json_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "cost.json").write_bytes(content)
    with pytest.raises(StoreError, match=r"cost\.json: cannot be read back \(.+\); delete it"):
        read_json(tmp_path / "cost.json")


@pytest.mark.parametrize("read", [read_yaml, read_json, read_arrays, file_sha256])
def test_missing_file_and_folder_are_named(tmp_path: Path, read: Callable[[Path], object]) -> None:
    with pytest.raises(StoreError, match=r"gone"):
        read(tmp_path / "gone")
    with pytest.raises(StoreError, match=tmp_path.name):
        read(tmp_path)


def damaged_arrays(folder: Path) -> Iterator[tuple[str, bytes]]:
    write_arrays(folder / "whole.npz", {"a": np.arange(500) % 7}, {"b": "c"})
    whole = (folder / "whole.npz").read_bytes()
    yield "nothing", b""
    yield "text", b"half"
    yield "zeros", b"\0" * 300
    for length in (10, len(whole) // 2, len(whole) - 1):
        yield f"cut at {length}", whole[:length]
    for place in range(0, len(whole), 5):
        yield f"byte {place}", whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :]
    np.save(folder / "one.npy", np.arange(3))
    yield "a single array", (folder / "one.npy").read_bytes()
    np.savez(folder / "bare.npz", a=np.arange(3))
    yield "no description", (folder / "bare.npz").read_bytes()
    np.savez(folder / "words.npz", meta=np.array("{"))
    yield "damaged description", (folder / "words.npz").read_bytes()
    np.savez(folder / "pickled.npz", meta=np.array(json.dumps({})), a=np.array([object()]))
    yield "code", (folder / "pickled.npz").read_bytes()


@pytest.mark.filterwarnings("ignore")  # NumPy may remark on a header before it gives up
def test_damaged_arrays_are_named_and_never_misread(tmp_path: Path) -> None:
    refused = 0
    for case, content in damaged_arrays(tmp_path):
        (tmp_path / "counts.npz").write_bytes(content)
        try:
            arrays, meta = read_arrays(tmp_path / "counts.npz")
        except StoreError as error:
            assert "counts.npz: is not a counts file of segstudy, or is damaged" in str(error)  # noqa: PT017
            refused += 1
        else:  # a byte that says nothing of the content, such as a date
            assert meta == {"b": "c"}, case
            np.testing.assert_array_equal(arrays["a"], np.arange(500) % 7)
    assert refused > 50


# --- sums --------------------------------------------------------------------------------------------------------


def test_sums_are_the_standards(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_sha256(tmp_path / "abc") == ABC
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "empty").touch()
    write_sums(tmp_path)
    assert (tmp_path / "SHA256SUMS").read_text() == f"{ABC}  abc\n{NOTHING}  sub/empty\n"


def run_folder(root: Path) -> Path:
    """A run's folder as a killed process may leave it: results among locks and half-written files."""
    for name in ("run.yaml", "evaluations/road-val.npz", "predictions/road-val/x y.png", "predictions/road-val/ü.png"):
        write_text(root / name, name)
    for name in (
        "lock",
        "claim",
        ".run.yaml.4711.tmp",
        "evaluations/.road-val.npz.4711.tmp",
        "predictions/.road-val.lock",
        "predictions/.road-test.tmp/half.png",
    ):
        write_text(root / name, "left over")
    return root


def test_leftovers_of_killed_processes_are_no_results(tmp_path: Path) -> None:
    root = run_folder(tmp_path / "run")
    expected = ["evaluations/road-val.npz", "predictions/road-val/x y.png", "predictions/road-val/ü.png", "run.yaml"]
    assert [path.relative_to(root).as_posix() for path in kept_files(root)] == expected
    write_sums(root)
    assert [line.split("  ", 1)[1] for line in (root / "SHA256SUMS").read_text().splitlines()] == expected
    write_sums(root)  # the sums themselves are not counted the second time
    assert verify(root) == (4, [])
    assert verify(tmp_path) == (4, [])


@pytest.mark.skipif(shutil.which("sha256sum") is None, reason="needs sha256sum")
def test_sha256sum_agrees_and_disagrees_with_us(tmp_path: Path) -> None:
    root = run_folder(tmp_path)
    write_sums(root)
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=root, check=False).returncode == 0
    write_text(root / "run.yaml", "changed")
    assert subprocess.run(command, cwd=root, check=False, capture_output=True).returncode == 1
    listed = subprocess.run(["sha256sum", "run.yaml"], cwd=root, check=True, capture_output=True).stdout
    (root / "SHA256SUMS").write_bytes(listed.decode().upper().replace("RUN.YAML", "run.yaml").encode())
    others = ["evaluations/road-val.npz", "predictions/road-val/x y.png", "predictions/road-val/ü.png"]
    assert verify(root) == (1, [f"{name}: is listed nowhere" for name in others])


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_names_that_are_no_text_are_summed_and_verified(tmp_path: Path) -> None:
    Path(os.fsdecode(os.fsencode(tmp_path) + b"/na\xefve.png")).write_bytes(b"abc")
    (tmp_path / "line\u2028end.png").write_bytes(b"abc")
    write_sums(tmp_path)
    assert verify(tmp_path) == (2, [])


def zipped(folder: Path) -> Path:
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in folder.rglob("*"):
            if file.is_file():
                archive.write(file, file.relative_to(folder).as_posix())
    return path


OUTSIDE = f"{ABC}  ../outside"
DEFECTS: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda root: (root / "a").unlink(), "a: missing"),
    "changed": (lambda root: (root / "a").write_text("abd"), "a: changed since its sum was taken"),
    "emptied": (lambda root: (root / "a").write_text(""), "a: changed since its sum was taken"),
    "climbing": (lambda root: (root / "SHA256SUMS").write_text(f"{ABC}  a\n{OUTSIDE}\n"), f"SHA256SUMS: '{OUTSIDE}' is not a line"),
    "absolute": (lambda root: (root / "SHA256SUMS").write_text(f"{ABC}  a\n{ABC}  /etc/hosts\n"), "/etc/hosts' is not a line"),
    "no name": (lambda root: (root / "SHA256SUMS").write_text(f"{ABC}  a\n{ABC}\n"), f"SHA256SUMS: '{ABC}' is not a line"),
    "no digest": (lambda root: (root / "SHA256SUMS").write_text(f"{ABC}  a\nhello  b\n"), "SHA256SUMS: 'hello  b' is not a line"),
    "wrong digest": (lambda root: (root / "SHA256SUMS").write_text(f"{'g' * 64}  a\n"), "a: changed since"),
    "nothing listed": (lambda root: (root / "SHA256SUMS").write_text(""), "SHA256SUMS: lists nothing"),
    "no text": (lambda root: (root / "SHA256SUMS").write_bytes(b"\xff\xfe\n"), "is not a line of sha256sum"),
    "endless name": (lambda root: (root / "SHA256SUMS").write_text(f"{ABC}  {'n' * 5000}\n"), "missing"),
    "name with a zero": (lambda root: (root / "SHA256SUMS").write_text(f"{ABC}  a\0b\n"), "missing"),
}  # fmt: skip


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize("case", DEFECTS)
def test_verify_names_what_does_not_agree(tmp_path: Path, case: str, packed: bool) -> None:
    (tmp_path / "outside").write_bytes(b"abc")  # would agree, if verify looked there
    root = tmp_path / "run"
    for name in ("a", "b"):
        write_bytes(root / name, b"abc")
    write_sums(root)
    assert verify(zipped(root) if packed else root) == (2, [])
    damage, expected = DEFECTS[case]
    damage(root)
    good, problems = verify(zipped(root) if packed else root)
    assert good <= 1
    listed = [line for line in problems if not line.endswith(": is listed nowhere")]
    assert len(listed) == 1
    assert expected in listed[0]


@pytest.mark.parametrize("packed", [False, True], ids=["folder", "zip"])
def test_verify_names_files_that_nobody_listed(tmp_path: Path, packed: bool) -> None:
    root = tmp_path / "run"
    write_bytes(root / "evaluations" / "a.npz", b"abc")
    write_sums(root)
    write_bytes(root / "evaluations" / "b.npz", b"abc")
    assert verify(zipped(root) if packed else root) == (1, ["evaluations/b.npz: is listed nowhere"])


@pytest.mark.skipif(sys.platform != "linux" or shutil.which("sha256sum") is None, reason="needs sha256sum, odd names")
def test_names_with_line_ends_are_listed_as_sha256sum_does(tmp_path: Path) -> None:
    for name in ("a\nb", "c\\d", "e\rf"):
        (tmp_path / name).write_bytes(b"abc")
    write_sums(tmp_path)
    assert verify(tmp_path) == (3, [])
    command = ["sha256sum", "--check", "--strict", "--quiet", "SHA256SUMS"]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
@pytest.mark.parametrize("name", ["a", "SHA256SUMS"])
def test_verify_waits_for_no_pipe(tmp_path: Path, name: str) -> None:
    write_bytes(tmp_path / "a", b"abc")
    write_sums(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)
    good, problems = verify(tmp_path)
    assert good == 0
    assert problems == [{"a": "a: missing", "SHA256SUMS": "SHA256SUMS: cannot be read"}[name], *problems[1:]]


def test_leftovers_of_dead_processes_are_swept_and_those_of_the_living_are_not(tmp_path: Path) -> None:
    ours, theirs = temporary_for(tmp_path / "run.yaml"), temporary_for(tmp_path / "cost.json")
    assert ours != temporary_for(tmp_path / "run.yaml")
    process = started(time.sleep, 0)
    process.join(600)
    dead = tmp_path / theirs.name.replace(f"-{os.getpid()}-", f"-{process.pid}-")
    elsewhere = tmp_path / ".best.safetensors.othermachine-12-0123abcd.tmp"
    old = tmp_path / ".best.safetensors.othermachine-13-0123abcd.tmp"
    host = ours.name.split(".")[-2].split("-")[0]
    container = tmp_path / dead.name.replace(host, socket.gethostname() + "_1")  # of the same pod, say
    for path in (ours, dead, elsewhere, old, container):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * FORGOTTEN_S,) * 2)
    assert sweep(tmp_path) == sorted([dead, old])
    assert sorted(tmp_path.iterdir()) == sorted([ours, elsewhere, container])


def test_a_silent_claim_of_another_machine_is_taken_over_and_a_fresh_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]  # of the one who waits
    monkeypatch.setattr(
        "filelock._soft.time", SimpleNamespace(monotonic=lambda: clock[0], time=time.time, sleep=time.sleep)
    )
    monkeypatch.setattr("segstudy.files.HEARTBEAT_S", 0.05)
    folder = make_run(tmp_path, "run.yaml")
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr("filelock._marker.host_name", lambda: "other-machine")
        lease = claim_on(folder.path / CLAIM)
        lease.acquire()
    mine = folder.claim()

    def held() -> None:
        with pytest.raises(HeldError, match="on other-machine"), folder.lock(mine, wait_s=0.1):
            pass

    held()
    for _ in range(3):
        before, end = (folder.path / CLAIM).stat().st_mtime_ns, time.monotonic() + 60
        clock[0] += 0.9 * LEASE_S
        while (folder.path / CLAIM).stat().st_mtime_ns == before:  # until it is refreshed
            assert time.monotonic() < end
            time.sleep(0.01)
        held()
    lease._stop_heartbeat()  # as if the machine were switched off
    held()
    clock[0] += 0.9 * LEASE_S
    held()
    clock[0] += 0.2 * LEASE_S
    with folder.lock(mine, wait_s=0.1):
        pass


def test_verify_reports_every_problem_of_every_list(tmp_path: Path) -> None:
    for run in ("r1", "r2"):
        for name in ("a", "b", "c"):
            write_bytes(tmp_path / run / name, b"abc")
        write_sums(tmp_path / run)
    (tmp_path / "r1" / "a").unlink()
    (tmp_path / "r2" / "c").write_bytes(b"x")
    assert verify(tmp_path) == (4, ["r1/a: missing", "r2/c: changed since its sum was taken"])


def test_verify_a_damaged_archive(tmp_path: Path) -> None:
    root = tmp_path / "run"
    write_bytes(root / "a", b"abc" * 100)
    write_sums(root)
    path = zipped(root)
    whole = path.read_bytes()
    at = whole.index(b"abcabc")
    path.write_bytes(whole[:at] + b"x" + whole[at + 1 :])
    assert verify(path) == (0, ["a: cannot be read"])
    at = whole.index(b"  a\n")
    path.write_bytes(whole[:at] + b"x" + whole[at + 1 :])
    assert verify(path) == (0, ["SHA256SUMS: cannot be read"])
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"run\.zip: no such folder, nor a zip archive"):
        verify(path)
    path.write_bytes(whole.replace(b"PK\x01\x02", b"PK\x01\x03"))
    with pytest.raises(StoreError, match=r"run\.zip: is a damaged zip archive"):
        verify(path)


def test_verify_needs_something_to_check(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="no SHA256SUMS found"):
        verify(tmp_path)
    with pytest.raises(StoreError, match="gone: no such folder, nor a zip archive"):
        verify(tmp_path / "gone")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read everything")
def test_verify_a_file_that_may_not_be_read(tmp_path: Path) -> None:
    write_bytes(tmp_path / "a", b"abc")
    write_sums(tmp_path)
    (tmp_path / "a").chmod(0)
    assert verify(tmp_path) == (0, ["a: cannot be read"])


# --- building ----------------------------------------------------------------------------------------------------


def build_slowly(folder: Path, notes: Path) -> None:
    with building(folder) as temporary:
        if temporary is None:
            write_text(notes / f"found-{os.getpid()}", "")
            return
        write_text(notes / f"built-{os.getpid()}", "")
        for part in range(5):
            write_text(temporary / f"part{part}", str(part))
            time.sleep(0.1)


def build_forever(folder: Path) -> None:
    with building(folder) as temporary:
        assert temporary is not None
        write_text(temporary / "half", "")
        time.sleep(600)


def test_two_processes_build_once(tmp_path: Path) -> None:
    notes, folder = tmp_path / "notes", tmp_path / "cache" / "road"
    processes = [started(build_slowly, folder, notes) for _ in range(2)]
    for process in processes:
        process.join(600)
        assert process.exitcode == 0
    assert sorted(name.split("-")[0] for name in names(notes)) == ["built", "found"]
    assert names(folder) == [f"part{part}" for part in range(5)]
    assert names(tmp_path / "cache") == ["road", *(f"road/part{part}" for part in range(5))]


def test_killed_builder_leaves_nothing_that_is_trusted_and_the_next_one_builds(tmp_path: Path) -> None:
    folder = tmp_path / "road"
    process = started(build_forever, folder)
    wait_for(tmp_path / ".road.tmp" / "half")
    kill(process)
    assert not folder.exists()
    with building(folder) as temporary:
        assert temporary is not None
        assert names(temporary) == []
        write_text(temporary / "whole", "")
    assert names(tmp_path) == ["road", "road/whole"]


def test_failed_build_leaves_nothing(tmp_path: Path) -> None:
    def fail(error: BaseException) -> None:
        with building(tmp_path / "road") as temporary:
            assert temporary is not None
            write_text(temporary / "half", "")
            raise error

    with pytest.raises(ValueError, match="bad image"):
        fail(ValueError("bad image"))
    with pytest.raises(KeyboardInterrupt):
        fail(KeyboardInterrupt())
    with pytest.raises(StoreError, match=r"road: cannot be built \(No space left on device\); make room or choose"):
        fail(OSError(errno.ENOSPC, "No space left on device"))
    assert names(tmp_path) == []


def test_built_folder_has_the_rights_of_any_folder(tmp_path: Path) -> None:
    with building(tmp_path / "road"):
        pass
    (tmp_path / "plain").mkdir()
    assert (tmp_path / "road").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_building_below_a_file_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("x")
    with pytest.raises(StoreError, match=r"road: cannot be built"), building(tmp_path / "taken" / "road"):
        pass


# --- runs --------------------------------------------------------------------------------------------------------

SCORED = (("road", None, ""), ("polyps", "val", ""))


def make_run(root: Path, *files: str, identity: str = "id") -> RunFolder:
    folder = RunFolder(root / "runs" / "unet" / "seed1")
    for name in files:
        if name.endswith(".npz"):
            meta = {"identity": identity, "classes": ["a", "b"], "evaluation_hash": ""}
            write_arrays(folder.path / name, {"confusion": np.zeros((1, 2, 2))}, meta)
        else:
            write_text(folder.path / name, "x")
    if "run.yaml" in files:
        write_yaml(folder.config, {"identity": identity})
    return folder


BEST = ("run.yaml", "best.safetensors")
WHOLE = (*BEST, "evaluations/road-test.npz", "evaluations/polyps-val.npz", "SHA256SUMS")
STATES: dict[str, tuple[str, tuple[str, ...]]] = {
    "nothing": ("missing", ()),
    "lock of a process that has ended": ("missing", ("lock",)),
    "weights of nobody knows what": ("missing", ("best.safetensors", "SHA256SUMS")),
    "begun": ("partial", ("run.yaml",)),
    "begun, with its lock": ("partial", ("run.yaml", "lock")),
    "some epochs": ("partial", ("run.yaml", "metrics.jsonl", "last.ckpt", "best-epoch3.safetensors")),
    "half-written weights": ("partial", ("run.yaml", ".best.safetensors.4711.tmp")),
    "trained": ("trained", BEST),
    "scored on one of two": ("trained", (*BEST, "evaluations/road-test.npz", "SHA256SUMS")),
    "scored on another split": ("trained", (*BEST, "evaluations/road-test.npz", "evaluations/polyps-test.npz", "SHA256SUMS")),
    "scored, not sealed": ("trained", WHOLE[:-1]),
    "half-written counts": ("trained", (*BEST, "evaluations/road-test.npz", "evaluations/.polyps-val.npz.1.tmp", "SHA256SUMS")),
    "done": ("done", WHOLE),
    "done, reported on val": ("done", (*BEST, "evaluations/road-val.npz", "evaluations/polyps-val.npz", "SHA256SUMS")),
    "failed": ("failed", ("run.yaml", "failure.txt")),
    "failed while scoring": ("failed", (*BEST, "failure.txt")),
}  # fmt: skip


@pytest.mark.parametrize("case", STATES)
def test_state_is_read_off_the_files(tmp_path: Path, case: str) -> None:
    state, files = STATES[case]
    folder = make_run(tmp_path, *files)
    assert folder.state("id", SCORED) == state
    if "run.yaml" in files:
        assert folder.state("another", SCORED) == "stale"
        shutil.move(folder.path, tmp_path / "moved")  # a store can be moved: nothing else is known about it
        assert RunFolder(tmp_path / "moved").state("id", SCORED) == state


def test_damaged_run_file_is_named_by_its_state(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "run.yaml")
    folder.config.write_bytes(b"\0\0")
    with pytest.raises(StoreError, match=r"run\.yaml: cannot be read back"):
        folder.state("id", SCORED)


def hold(folder: RunFolder, ready: Path) -> None:
    with folder.lock():
        ready.touch()
        time.sleep(600)


def test_running_while_another_process_holds_the_lock_and_free_after_kill(tmp_path: Path) -> None:
    folder = make_run(tmp_path, *WHOLE)
    process = started(hold, folder, tmp_path / "ready")
    wait_for(tmp_path / "ready")
    assert folder.locked()
    assert folder.state("id", SCORED) == "running"
    with (
        pytest.raises(StoreError, match=r"seed1: another process \(process \d+ on .+\) is working on this run; wait"),
        folder.lock(),
    ):
        pass
    kill(process)
    assert not folder.locked()
    assert folder.state("id", SCORED) == "done"
    with folder.lock():
        pass


def test_run_that_has_only_just_begun_is_running(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    with folder.lock():
        assert folder.state("id", SCORED) == "running"
    assert folder.state("id", SCORED) == "missing"


def test_lock_is_let_go_of_however_the_work_ends_and_hides_no_error(tmp_path: Path) -> None:
    folder = make_run(tmp_path)

    def work(error: BaseException) -> None:
        with folder.lock():
            raise error

    for error in (ValueError("a"), PermissionError("b"), TimeoutError("c"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            work(error)
        assert not folder.locked()


def test_lock_that_cannot_be_made_is_a_plain_error(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("a file")
    folder = RunFolder(tmp_path / "runs" / "unet" / "seed1")
    with pytest.raises(StoreError, match=r"seed1: cannot be written \(.+\); choose another --out"), folder.lock():
        pass


def test_asking_never_makes_a_lock(tmp_path: Path) -> None:
    folder = make_run(tmp_path, "run.yaml")
    assert not folder.locked()
    assert names(folder.path) == ["run.yaml"]


def test_read_only_folder_of_somebody_else_can_be_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = make_run(tmp_path, *WHOLE, "claim")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(SoftFileLease, "acquire", refuse)
    assert folder.state("id", SCORED) == "done"


def test_archiving_loses_nothing(tmp_path: Path) -> None:
    for number in (1, 2, 3):
        folder = make_run(tmp_path, "run.yaml")
        write_text(folder.metrics, str(number))
        aside = folder.archive()
        assert aside.name == f"seed1.old{number}"
        assert (aside / "metrics.jsonl").read_text() == str(number)
        assert not folder.path.exists()
    assert (tmp_path / "runs/unet/seed1.old1/metrics.jsonl").read_text() == "1"
    with pytest.raises(StoreError, match=r"seed1: cannot be moved to seed1\.old4"):
        RunFolder(tmp_path / "runs/unet/seed1").archive()


def test_metrics_leave_out_what_a_crash_cut_off(tmp_path: Path) -> None:
    folder = make_run(tmp_path)
    assert folder.read_metrics() == []
    whole = b'{"epoch": 1}\n{"epoch": 2}\n'
    for rest in (b'{"epoch": 3, "lo', b"\0\0\0", b"\xff\xfe"):
        write_bytes(folder.metrics, whole + rest)
        assert folder.read_metrics() == [{"epoch": 1}, {"epoch": 2}]


def test_reported_split_is_test_before_val_unless_named(tmp_path: Path) -> None:
    record = RunRecord(identity="id")
    folder = make_run(tmp_path, "evaluations/road-val.npz")
    assert folder.find_counts(record, "road", None) == folder.evaluation("road", "val")
    assert folder.find_counts(record, "road", "test") is None
    folder = make_run(tmp_path, "evaluations/road-test.npz")
    assert folder.find_counts(record, "road", None) == folder.evaluation("road", "test")
    assert folder.find_counts(record, "road", "val") == folder.evaluation("road", "val")
    assert folder.find_counts(record, "polyps", None) is None
    assert folder.find_counts(RunRecord(identity="other"), "road", None) is None
    assert folder.find_counts(record, "road", None, "another question") is None


def sealed_run(root: Path) -> RunFolder:
    folder = make_run(root, *WHOLE[:-1])
    write_sums(folder.path)
    return folder


def test_flipped_weights_of_a_finished_run_are_noticed_and_whole_ones_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, read = sealed_run(tmp_path), []
    monkeypatch.setattr("segstudy.store.file_sha256", lambda path: read.append(path.name) or file_sha256(path))
    for _ in range(3):
        assert folder.damaged() == []
    assert read.count("best.safetensors") == 1
    times = folder.best.stat()
    folder.best.write_bytes(b"y")  # as long as before
    os.utime(folder.best, ns=(times.st_atime_ns, times.st_mtime_ns))  # and at the same time, but that of the change
    for _ in range(2):
        assert folder.damaged() == ["best.safetensors"]
        with pytest.raises(StoreError, match=r"seed1: best\.safetensors changed since .*call segstudy run"):
            folder.check_results()
    folder.best.write_bytes(b"x")
    assert folder.damaged() == []


def test_a_sum_of_the_weights_that_is_not_the_recorded_one_is_noticed(tmp_path: Path) -> None:
    folder = sealed_run(tmp_path)
    assert folder.damaged(RunRecord(best_sha256=file_sha256(folder.best))) == []
    assert folder.damaged(RunRecord(best_sha256="0" * 64)) == ["best.safetensors"]


def test_sums_are_compared_in_a_store_that_may_only_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = sealed_run(tmp_path)

    def refuse(*_: object) -> None:
        raise StoreError("cannot be written")

    monkeypatch.setattr("segstudy.store.write_json", refuse)
    assert folder.damaged() == []
    folder.best.write_bytes(b"y")
    assert folder.damaged() == ["best.safetensors"]
    (folder.path / "evaluations/road-test.npz").unlink()
    assert folder.damaged() == ["evaluations/road-test.npz", "best.safetensors"]


# --- the store ---------------------------------------------------------------------------------------------------

STUDY = {"name": "s", "seeds": [1]}


def test_prepare_writes_the_study_and_can_be_repeated(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    for seeds in ([1], [1, 2]):
        store.prepare({"name": "s", "seeds": seeds})
        assert read_yaml(tmp_path / "out" / "study.yaml") == {"name": "s", "seeds": seeds}


@pytest.mark.parametrize(
    "left", [(), ("data/x",), ("cache/x",), (".study.yaml.4711.tmp",), ("study.yaml", "runs/a/seed1/run.yaml")]
)
def test_prepare_goes_on_where_a_killed_process_stopped(tmp_path: Path, left: tuple[str, ...]) -> None:
    for name in left:
        write_yaml(tmp_path / name, {"name": "s"})
    Store(tmp_path).prepare(STUDY)
    assert read_yaml(tmp_path / "study.yaml") == STUDY


def test_prepare_refuses_what_is_not_its_own(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match="file: is a file; choose a folder with --out"):
        Store(tmp_path / "file").prepare(STUDY)
    with pytest.raises(StoreError, match="cannot be written"):
        Store(tmp_path / "file" / "out").prepare(STUDY)
    with pytest.raises(StoreError, match=r"exists and is not a study's output \(it holds file\); choose another --out"):
        Store(tmp_path).prepare(STUDY)
    Store(tmp_path / "out").prepare({"name": "other"})
    with pytest.raises(StoreError, match="out: holds the study 'other', not 's'; choose another --out"):
        Store(tmp_path / "out").prepare(STUDY)
    assert read_yaml(tmp_path / "out" / "study.yaml") == {"name": "other"}
    (tmp_path / "out" / "study.yaml").write_text("[")
    with pytest.raises(StoreError, match=r"study\.yaml: cannot be read back"):
        Store(tmp_path / "out").prepare(STUDY)


def test_memo_of_hashes_survives_damage(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert store.read_memo() == {}
    store.write_memo({"a": "b"})
    assert store.read_memo() == {"a": "b"}
    for content in (b"", b"{", b"[1, 2]", b"3", b"\xff", b"[" * 100_000):
        (tmp_path / "cache" / "fingerprints.json").write_bytes(content)
        assert store.read_memo() == {}


def test_paths_are_the_documented_ones(tmp_path: Path) -> None:
    store = Store(tmp_path)
    run = store.run("unet-kvasir", 42)
    found = {
        path.relative_to(tmp_path).as_posix()
        for path in (run.config, run.metrics, run.last, run.best, run.cost, run.evaluation("person", "test"), store.results)
    }  # fmt: skip
    base = "runs/unet-kvasir/seed42"
    files = ("run.yaml", "metrics.jsonl", "last.ckpt", "best.safetensors", "cost.json", "evaluations/person-test.npz")
    assert found == {*(f"{base}/{name}" for name in files), "report/results.csv"}
