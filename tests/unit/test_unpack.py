"""Unpacking archives of others: nothing outside the folder, no more than announced, nothing but files."""

from __future__ import annotations

import io
import random
import stat
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from segstudy.data.download.unpack import Limits, safe_path, unpack
from segstudy.errors import DataError

LIMITS = Limits(num_files=20, num_bytes=100_000)


def make_zip(path: Path, members: dict[str | zipfile.ZipInfo, bytes], compress: bool = False) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def make_tar(path: Path, members: dict[str | tarfile.TarInfo, bytes], mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode) as file:
        for name, content in members.items():
            info = tarfile.TarInfo(name) if isinstance(name, str) else name
            if info.isreg():
                info.size = len(content)
            file.addfile(info, io.BytesIO(content))
    return path


def special(name: str, kind: bytes, target: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def zip_of_kind(name: str, kind: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (kind | 0o777) << 16
    return info


def unpacked(archive: Path, limits: Limits = LIMITS, top: str = "Set") -> dict[str, bytes]:
    into = archive.parent / "into"
    into.mkdir(exist_ok=True)
    unpack(archive, into, top, limits)
    return {path.relative_to(into).as_posix(): path.read_bytes() for path in into.rglob("*") if path.is_file()}


GOOD = {"Set/": b"", "Set/images/a.jpg": b"image", "Set/masks/a.jpg": b"mask", "readme.txt": b"hello"}


@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz"])
def test_files_below_the_top_folder_are_unpacked_and_nothing_else(tmp_path: Path, kind: str) -> None:
    if kind == "zip":
        archive = make_zip(tmp_path / "a.zip", dict(GOOD))
    else:
        files = {name: content for name, content in GOOD.items() if not name.endswith("/")}
        archive = make_tar(tmp_path / f"a.{kind}", {special("Set", tarfile.DIRTYPE): b"", **files}, f"w:{kind[4:]}")
    assert unpacked(archive) == {"images/a.jpg": b"image", "masks/a.jpg": b"mask"}


def test_all_of_an_archive_can_be_its_top(tmp_path: Path) -> None:
    assert unpacked(make_zip(tmp_path / "a.zip", dict(GOOD)), top="")["readme.txt"] == b"hello"


OUTSIDE = [
    "../evil",
    "Set/../../evil",
    "/tmp/evil",
    "C:/evil",
    "C:evil",
    "Set\\..\\evil",
    "//host/share/evil",
    "Set/..",
]


@pytest.mark.parametrize("name", OUTSIDE)
@pytest.mark.parametrize("make", [make_zip, make_tar])
def test_paths_that_lead_outside_are_refused(tmp_path: Path, make, name: str) -> None:
    (tmp_path / "inner").mkdir()
    archive = make(tmp_path / "inner" / "a.zip", {"Set/good": b"x", name: b"evil"})
    with pytest.raises(DataError, match="would be written outside the folder"):
        unpacked(archive)
    assert [path.name for path in tmp_path.rglob("*evil*")] == []


@given(st.text(alphabet=st.sampled_from(list("ab./\\: \0C")), max_size=12))
def test_no_name_leads_outside(name: str) -> None:
    try:
        path = safe_path(Path("a.zip"), name)
    except DataError:
        return
    base = Path("/base/folder")
    target = Path(*[part for part in (base / path).parts if part != "."])
    assert target.is_relative_to(base) and ".." not in target.parts and "\0" not in name and "\\" not in name


@pytest.mark.parametrize(
    "member",
    [
        special("Set/link", tarfile.SYMTYPE, "/etc/passwd"),
        special("Set/link", tarfile.SYMTYPE, "images"),
        special("Set/hard", tarfile.LNKTYPE, "Set/good"),
        special("Set/device", tarfile.CHRTYPE),
        special("Set/disk", tarfile.BLKTYPE),
        special("Set/pipe", tarfile.FIFOTYPE),
    ],
    ids=lambda info: info.name + info.linkname,
)
def test_links_and_devices_in_tar_are_refused(tmp_path: Path, member: tarfile.TarInfo) -> None:
    archive = make_tar(tmp_path / "a.tar", {"Set/good": b"x", member: b""}, "w")
    with pytest.raises(DataError, match=f"'{member.name}' is a link or device"):
        unpacked(archive)
    assert not (tmp_path / "into" / member.name[4:]).exists()


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO])
def test_links_and_devices_in_zip_are_refused(tmp_path: Path, kind: int) -> None:
    archive = make_zip(tmp_path / "a.zip", {zip_of_kind("Set/odd", kind): b"/etc/passwd"})
    with pytest.raises(DataError, match="'Set/odd' is a link or device"):
        unpacked(archive)
    assert not (tmp_path / "into" / "odd").exists()


def test_a_file_written_on_unix_is_a_file(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {zip_of_kind("Set/plain", stat.S_IFREG): b"x"})
    assert unpacked(archive) == {"plain": b"x"}
    assert not (tmp_path / "into" / "plain").stat().st_mode & 0o111  # no rights from the archive


def size_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("make", [lambda p, m: make_zip(p, m, compress=True), make_tar], ids=["zip", "tar"])
def test_a_bomb_is_recognised_by_its_ratio(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "bomb", {"Set/zeros": bytes(20_000_000)})
    assert archive.stat().st_size < 60_000
    with pytest.raises(DataError, match=r"unpacks to more than [\d.]+ MB"):
        unpacked(archive, Limits(20, 10**12))
    assert size_of(tmp_path / "into") == 0


@pytest.mark.parametrize("make", [make_zip, make_tar], ids=["zip", "tar"])
def test_more_bytes_than_announced_are_refused(tmp_path: Path, make) -> None:
    archive = make(tmp_path / "a", {f"Set/{k}": bytes([k]) * 40_000 for k in range(3)})
    with pytest.raises(DataError, match=r"unpacks to more than [\d.]+ MB, so it is not the known archive"):
        unpacked(archive)
    assert size_of(tmp_path / "into") <= 100_000


def test_a_size_that_lies_does_not_help(tmp_path: Path) -> None:
    """The directory says 10 bytes where there are 200,000."""
    archive = make_zip(tmp_path / "a.zip", {"Set/liar": b"y" * 200_000})
    raw = archive.read_bytes()
    size = (200_000).to_bytes(4, "little")
    directory = raw.rindex(b"PK\x01\x02")
    at = raw.index(size, raw.index(size, directory) + 4)  # compressed size, then this one
    archive.write_bytes(raw[:at] + (10).to_bytes(4, "little") + raw[at + 4 :])
    with pytest.raises(DataError, match="is damaged"):
        unpacked(archive)
    assert size_of(tmp_path / "into") < 100_000


def test_too_many_files_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {f"Set/{k}": b"" for k in range(21)})
    with pytest.raises(DataError, match="more than 20 entries"):
        unpacked(archive)


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    archive = make_tar(tmp_path / "a.tar", {tarfile.TarInfo("Set/a"): b"one", tarfile.TarInfo("Set/./a"): b"two"}, "w")
    with pytest.raises(DataError, match=r"holds 'Set/\./a' twice"):
        unpacked(archive)


def test_encrypted_members_are_refused(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", {"Set/a": b"secret"})
    raw = bytearray(archive.read_bytes())
    raw[raw.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(raw)
    with pytest.raises(DataError, match="'Set/a' is encrypted"):
        unpacked(archive)


def damaged(archive: Path) -> Path:
    raw = bytearray(archive.read_bytes())
    raw[len(raw) // 2] ^= 0xFF
    archive.write_bytes(raw)
    return archive


def test_damage_is_told(tmp_path: Path) -> None:
    noise = random.Random(0).randbytes(50_000)
    for archive in (make_zip(tmp_path / "a.zip", {"Set/a": noise}), make_tar(tmp_path / "b.tgz", {"Set/b": noise})):
        with pytest.raises(DataError, match=r"is damaged \(.+\); delete it and download it again"):
            unpacked(damaged(archive))


def test_what_is_no_archive_is_told(tmp_path: Path) -> None:
    (tmp_path / "page.zip").write_text("<html>Please log in</html>")
    with pytest.raises(DataError, match=r"page\.zip: is not a zip or tar archive"):
        unpacked(tmp_path / "page.zip")
