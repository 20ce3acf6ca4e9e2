"""The cache: what its arrays hold, and that it survives full disks, killed processes, and two that build at once."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from fakes import fake_folder, random_image, random_indices, save
from segstudy.cli import main
from segstudy.data.cache.arrays import (
    CHECKSUMS,
    CachedSplit,
    _own_sum,
    clear_cache,
    discard,
    find_part,
    list_cache,
    open_cache,
    remembered_fingerprint,
    reread_files,
)
from segstudy.data.cache.packed import DamagedCache, Pieces, PiecesWriter, Rows, RowsWriter
from segstudy.data.core import Dataset, Sample
from segstudy.data.encoding import index_labels
from segstudy.errors import DataError, StoreError
from segstudy.files import claim_on, write_json
from segstudy.plan import make_plan
from segstudy.progress import Progress
from segstudy.spec import load_study
from segstudy.store import Store

SIZES = [(48, 32), (30, 50), (64, 64), (33, 21), (48, 32)]  # width, height


def dataset_at(root: Path, num_classes: int = 3) -> Dataset:
    """Images of several sizes with indexed masks; drawn when they are not there."""
    rng = np.random.default_rng(0)
    samples = []
    for k, size in enumerate(SIZES):
        image, mask = root / f"{k}.png", root / f"{k}-mask.png"
        if not mask.exists():
            save(image, random_image(rng, size))
            save(mask, random_indices(rng, size, [*range(num_classes), 255]))
        samples.append(Sample(f"image{k}", image, mask))
    names = tuple("abcdefgh"[:num_classes])
    return Dataset(
        "shapes", names, ((0, 0, 0),) * num_classes, {"train": tuple(samples)}, lambda s: index_labels(s, num_classes)
    )


def say(lines: list[str]) -> Progress:
    class Lines(Progress):
        def say(self, text: str) -> None:
            lines.append(text)

    return Lines(Console(quiet=True))


def opened(
    dataset: Dataset, out: Path, size: int | None = 16, native: bool = False, lines: list[str] | None = None
) -> CachedSplit:
    return open_cache(dataset, "train", size, Store(out), say([] if lines is None else lines), native)


def left_in(out: Path) -> list[str]:
    """What lies in a cache but its locks and the remembered hashes."""
    return sorted(p.name for p in (out / "cache").iterdir() if p.suffix not in (".lock", ".json"))


def test_resized_arrays_are_pillows(tmp_path: Path) -> None:
    dataset = dataset_at(tmp_path / "data")
    cached = opened(dataset, tmp_path / "out")
    order = np.array([3, 0, 0])
    for image, labels, index in zip(cached.images_nhwc[order], cached.labels_nhw[order], order, strict=True):
        sample = dataset.splits["train"][index]
        with Image.open(sample.image) as file:
            assert np.array_equal(image, np.asarray(file.resize((16, 16), Image.Resampling.BILINEAR)))
        with Image.open(sample.mask) as file:
            assert np.array_equal(labels, np.asarray(file.resize((16, 16), Image.Resampling.NEAREST)))


def test_native_arrays_are_the_files(tmp_path: Path) -> None:
    dataset = dataset_at(tmp_path / "data")
    cached = opened(dataset, tmp_path / "out", None)
    assert isinstance(cached.images_nhwc, Pieces)
    for index, sample in enumerate(dataset.splits["train"]):
        one = np.array([index])
        image, mask = (np.asarray(Image.open(path)) for path in (sample.image, sample.mask))
        assert cached.images_nhwc.size(index) == mask.shape
        assert np.array_equal(cached.images_nhwc[one][0], image)
        assert np.array_equal(cached.labels_nhw[one][0], mask)
        assert np.array_equal(cached.images_nhwc.window(index, 4, 7, 11, 9), image[4:15, 7:16])
        assert np.array_equal(cached.labels_nhw.window(index, 4, 7, 11, 9), mask[4:15, 7:16])
    assert cached.images_nhwc[np.array([4, 0])].shape == (2, 32, 48, 3)


def test_every_file_is_read_once_for_all_parts_and_never_again(tmp_path: Path) -> None:
    read = []
    plain = dataset_at(tmp_path / "data")
    dataset = replace(plain, labels_of=lambda sample: read.append(sample.id) or plain.labels_of(sample))
    for _ in range(2):
        opened(dataset, tmp_path / "out", 16, native=True)
    assert sorted(read) == [f"image{k}" for k in range(5)]


def test_size_is_said_before_anything_is_built(tmp_path: Path) -> None:
    root = fake_folder(tmp_path / "f", num_images=40, size=(500, 400))
    samples = tuple(
        Sample(str(k), root / "images" / f"scene{k:02d}.jpg", root / "masks" / f"scene{k:02d}.png") for k in range(40)
    )
    dataset = Dataset("d", ("a", "b"), ((0, 0, 0),) * 2, {"train": samples}, lambda s: np.zeros((400, 500), np.uint8))
    lines: list[str] = []

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    progress = say(lines)
    progress.task = stop  # called when reading begins
    with pytest.raises(KeyboardInterrupt):
        open_cache(dataset, "train", 100, Store(tmp_path / "out"), progress, native_labels=True)
    assert lines == [
        "caching d train: 40 images at 100 px, 0.4 megapixels, 1.6 MB",  # 40 x 100 x 100 x 4 bytes
        "caching d train: 40 masks at their own size, 8.0 megapixels, about 0.8 MB",
    ]
    assert left_in(tmp_path / "out") == []
    lines.clear()
    with pytest.raises(KeyboardInterrupt):
        open_cache(dataset, "train", None, Store(tmp_path / "out"), progress)
    assert lines[0] == "caching d train: 40 images at their own size, 8.0 megapixels, 24.0 MB"


def test_a_cache_that_cannot_fit_is_refused_before_it_is_built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1_000_000))
    with pytest.raises(
        StoreError, match=r"no room to cache shapes train: it needs 5\.2 MB, 1\.0 MB are free; make room"
    ):
        opened(dataset_at(tmp_path / "data"), tmp_path / "out", 512)  # 5 x 512 x 512 x 4 bytes
    assert left_in(tmp_path / "out") == []


@pytest.mark.parametrize("size", [16, None])
def test_room_that_another_takes_first_is_one_message_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int | None
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(StoreError, match="no room to cache shapes train: it needs"):
        opened(dataset_at(tmp_path / "data"), tmp_path / "out", size)
    assert left_in(tmp_path / "out") == []
    monkeypatch.undo()
    assert len(opened(dataset_at(tmp_path / "data"), tmp_path / "out", size)) == 5


def test_file_systems_that_reserve_nothing_are_written_to_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unsupported(*_: object) -> None:
        raise OSError(errno.EOPNOTSUPP, "")

    monkeypatch.setattr(os, "posix_fallocate", unsupported)
    assert opened(dataset_at(tmp_path / "data"), tmp_path / "out").images_nhwc[np.arange(5)].any()


ON_A_SMALL_DISK = """
import sys
import zlib
sys.path[:0] = {path!r}
from pathlib import Path
from test_cache import dataset_at, opened, left_in
from segstudy.data.cache.packed import reserve
from segstudy.errors import StoreError
import shutil
out = Path({out!r})
if {blind}:  # as on a file system that tells neither its room nor reserves any
    import os
    del os.posix_fallocate
    usage = shutil.disk_usage(out)
    shutil.disk_usage = lambda _: usage._replace(free=10**12)
try:
    opened(dataset_at(Path({data!r})), out, 512, native=True)
except StoreError as error:
    print(error, left_in(out))
"""


@pytest.mark.parametrize("blind", [False, True])
def test_a_disk_that_is_really_full_kills_nobody(tmp_path: Path, blind: bool) -> None:
    out = tmp_path / "out"
    out.mkdir()
    mount = f"mount -t tmpfs -o size=2m none {out}"
    if subprocess.run(["unshare", "-rm", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this system lets nobody mount a small disk")
    dataset_at(tmp_path / "data")
    script = ON_A_SMALL_DISK.format(path=sys.path[:], out=str(out), data=str(tmp_path / "data"), blind=blind)
    command = ["unshare", "-rm", "sh", "-c", f'{mount} && exec "$0" -c "$1"', sys.executable, script]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no room to cache shapes train: it needs 5.2 MB" in done.stdout
    assert done.stdout.strip().endswith("[]")


SLOW_BUILD = """
import sys
import zlib
sys.path[:0] = {path!r}
import time
from dataclasses import replace
from pathlib import Path
from test_cache import dataset_at, opened
import numpy as np
plain = dataset_at(Path({data!r}))
def slow(sample):
    sys.stdout.write(sample.id + "\\n")  # in one piece, as threads write at once
    sys.stdout.flush()
    time.sleep({seconds})
    return plain.labels_of(sample)
cached = opened(replace(plain, labels_of=slow), Path({out!r}), 16, native=True)
print("sum", int(cached.images_nhwc[np.arange(5)].sum()), flush=True)
"""


def building_process(tmp_path: Path, seconds: float) -> subprocess.Popen[str]:
    script = SLOW_BUILD.format(
        path=sys.path[:], data=str(tmp_path / "data"), out=str(tmp_path / "out"), seconds=seconds
    )
    return subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)


def test_two_processes_build_one_cache_once(tmp_path: Path) -> None:
    expected = int(opened(dataset_at(tmp_path / "data"), tmp_path / "elsewhere").images_nhwc[np.arange(5)].sum())
    processes = [building_process(tmp_path, 0.3) for _ in range(2)]
    lines = [process.communicate()[0].split("\n") for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    read = [line for text in lines for line in text if line.startswith("image")]
    assert sorted(read) == [f"image{k}" for k in range(5)]
    assert all(f"sum {expected}" in text for text in lines)


def test_nothing_of_a_killed_build_is_trusted(tmp_path: Path) -> None:
    dataset = dataset_at(tmp_path / "data")
    process = building_process(tmp_path, 3600)
    assert process.stdout is not None
    process.stdout.readline()  # it has begun to read
    busy = list_cache(Store(tmp_path / "out"))
    assert [(entry.part, entry.whole) for entry in busy] == [("16", False), ("labels", False)]
    assert clear_cache(Store(tmp_path / "out"), busy) == ([], busy)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    half = [entry.folder for entry in busy]
    assert all(path.is_dir() for path in half)
    for path in half:
        (path / "images.npy").write_bytes(b"half of something")
    lines: list[str] = []
    cached = opened(dataset, tmp_path / "out", 16, native=True, lines=lines)
    assert len(lines) == 2
    fresh = opened(dataset, tmp_path / "fresh", 16)
    assert np.array_equal(cached.images_nhwc[np.arange(5)], fresh.images_nhwc[np.arange(5)])
    assert not any(path.exists() for path in half)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def spoil(path: Path) -> None:
    path.write_bytes(b"\0" * path.stat().st_size)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0x40
    path.write_bytes(content)


FILES = [
    (16, "images.npy"),
    (16, "labels.npy"),
    (16, "labels-index.npy"),
    (16, "labels.zlib"),
    (16, "samples.json"),
    (16, "sums.json"),
    (None, "images.raw"),
    (None, "images-index.npy"),
]


def read_all(cached: CachedSplit) -> list[int]:
    arrays = [cached.images_nhwc, cached.labels_nhw, cached.native_labels]
    return [int(array[np.array([k])].sum()) for array in arrays if array is not None for k in range(5)]


@pytest.mark.parametrize("damage", [cut, spoil, flip, Path.unlink])
@pytest.mark.parametrize(("size", "name"), FILES)
def test_damage_is_noticed_when_read_and_the_next_opening_builds_anew(tmp_path: Path, size, name, damage) -> None:
    dataset = dataset_at(tmp_path / "data")
    whole = read_all(opened(dataset, tmp_path / "out", size, native=True))
    for path in (tmp_path / "out" / "cache").glob(f"*/{name}"):
        damage(path)
    lines: list[str] = []
    try:
        found = read_all(opened(dataset, tmp_path / "out", size, native=True, lines=lines))
        if (name, damage) != ("sums.json", cut):  # which lacks the end of its last line only
            assert any("is built again" in line for line in lines)
    except DamagedCache as error:
        discard(error.folder)
        found = read_all(opened(dataset, tmp_path / "out", size, native=True))
    assert found == whole


def test_a_cache_of_a_former_version_is_built_again(tmp_path: Path) -> None:
    dataset = dataset_at(tmp_path / "data")
    whole = read_all(opened(dataset, tmp_path / "out", native=True))
    for path in (tmp_path / "out" / "cache").glob("*/sums.json"):
        path.unlink()
    assert read_all(opened(dataset, tmp_path / "out", native=True)) == whole


@pytest.mark.parametrize("suffix", [".bmp", ".png"])
def test_files_edited_at_equal_size_and_time_are_read_again(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"mask{suffix}"
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path, compress_level=0)
    sample, store, before = Sample("a", path, path), Store(tmp_path / "out"), path.stat()
    first = remembered_fingerprint([sample], store)
    assert remembered_fingerprint([sample], store) == first
    Image.fromarray(np.ones((8, 8), np.uint8)).save(path, compress_level=0)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert remembered_fingerprint([sample], store) != first


def test_an_altered_memory_of_hashes_is_not_believed(tmp_path: Path) -> None:
    path, store = tmp_path / "a.png", Store(tmp_path / "out")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    first = remembered_fingerprint([Sample("a", path, path)], store)
    (digest,) = store.read_memo().values()
    store.memo.write_text(store.memo.read_text().replace(digest, "0" * len(digest)))
    assert remembered_fingerprint([Sample("a", path, path)], store) == first


def test_reading_again_names_files_that_changed_unseen(tmp_path: Path) -> None:
    path, store = tmp_path / "a.png", Store(tmp_path / "out")
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(path)
    remembered_fingerprint([Sample("a", path, path)], store)
    assert reread_files(store) == (1, [])
    store.write_memo(dict.fromkeys(store.read_memo(), "0" * 32))  # as if the file had said something else
    assert reread_files(store) == (1, [path])


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs pipes")
def test_a_pipe_among_images_is_one_message_and_waits_for_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: is not a file but a folder, a pipe or a device"):
        remembered_fingerprint([Sample("a", tmp_path / "a.png", tmp_path / "a.png")], Store(tmp_path / "out"))


def test_a_cache_removed_while_it_is_read_is_one_message(tmp_path: Path) -> None:
    cached = opened(dataset_at(tmp_path / "data"), tmp_path / "out")
    shutil.rmtree(tmp_path / "out" / "cache")
    with pytest.raises(DataError, match=r"images\.npy: is missing"):
        cached.images_nhwc[np.array([0])]


@pytest.mark.parametrize(("size", "part"), [(16, "16"), (16, "labels"), (None, "images")])
def test_a_part_is_found_again_by_its_names_alone(tmp_path: Path, size: int | None, part: str) -> None:
    store = Store(tmp_path / "out")
    cached = opened(dataset_at(tmp_path / "data"), store.root, size, native=True)
    found = find_part(store, "shapes", "train", part, ["image3", "image0"])
    assert found is not None and found.ids == [f"image{k}" for k in range(5)]
    expected = {"images": cached.images_nhwc, "labels": cached.native_labels if part == "labels" else cached.labels_nhw}
    assert set(found.arrays) == {"16": {"images", "labels"}}.get(part, {part})
    for array in found.arrays:
        assert np.array_equal(found.read(array, "image3"), expected[array][np.array([3])][0])
    for other in (("other", "train", part), ("shapes", "test", part), ("shapes", "train", "32")):
        assert find_part(store, *other, ["image3"]) is None
    assert find_part(store, "shapes", "train", part, ["image9"]) is None


def test_of_several_parts_the_newest_whole_one_is_found(tmp_path: Path) -> None:
    store, plain = Store(tmp_path / "out"), dataset_at(tmp_path / "data")
    for age, reading in enumerate(("newest", "old", "oldest")):
        labels = np.full((16, 16), age, np.uint8)
        opened(replace(plain, reading=reading), store.root)
        (folder,) = (path for path in store.cache.glob("shapes-*") if not (path / "age").exists())
        sums = json.loads((folder / CHECKSUMS).read_text())
        np.save(folder / "labels.npy", np.repeat(labels[None], 5, axis=0))
        rows = {"images": sums["rows"]["images"], "labels": [zlib.crc32(labels.tobytes())] * 5}
        write_json(folder / CHECKSUMS, sums | {"rows": rows, "own": _own_sum(rows, sums["files"])})
        (folder / "age").touch()
        os.utime(folder, (1e9 - age, 1e9 - age))
        if reading == "newest":
            newest = folder

    def value() -> int:
        found = find_part(store, "shapes", "train", "16", ["image0"])
        assert found is not None
        return int(found.read("labels", "image0")[0, 0])

    assert value() == 0
    cut(newest / "images.npy")
    assert value() == 1


def test_labels_read_in_another_way_are_cached_anew(tmp_path: Path) -> None:
    plain = dataset_at(tmp_path / "data")
    other = replace(plain, reading="2 is ignored", labels_of=lambda s: index_labels(s, 2, [2]))
    first, second = opened(plain, tmp_path / "out"), opened(other, tmp_path / "out")
    before, after = first.labels_nhw[np.arange(5)], second.labels_nhw[np.arange(5)]
    assert (before == 2).any()
    assert np.array_equal((before == 2) | (before == 255), after == 255)


def test_writers_take_arrays_in_any_order(tmp_path: Path) -> None:
    arrays = [np.full((k + 1, 2), k, np.uint8) for k in range(4)]
    for name in ("x.raw", "x.zlib"):
        writer = PiecesWriter(tmp_path / name, 4, sum(a.size for a in arrays))
        for k in (2, 0, 3, 1):
            writer.write(k, arrays[k])
        writer.finish()
        writer.close()
        pieces = Pieces(tmp_path / name)
        assert [pieces[np.array([k])][0].tolist() for k in range(4)] == [a.tolist() for a in arrays]
    rows = RowsWriter(tmp_path / "x.npy", (3, 2))
    for k in (2, 0, 1):
        rows.write(k, np.array([k, 9], np.uint8))
    rows.finish()
    rows.close()
    assert np.load(tmp_path / "x.npy").tolist() == [[0, 9], [1, 9], [2, 9]]
    assert Rows(tmp_path / "x.npy")[np.array([2, 1])].tolist() == [[2, 9], [1, 9]]


STUDY = """
name: small
data: {{polyps: {{reader: folder, root: polyps}}, people: {{reader: folder, root: people}}}}
recipe: {{input_size: 32}}
experiments:
  unet: {{data: polyps, model: {{arch: unet}}}}
  large: {{base: unet, change: {{recipe.{change}}}}}
"""


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study whose cache holds all that it reads."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGSTUDY_DATA", raising=False)
    for seed, name in enumerate(("polyps", "people")):
        fake_folder(tmp_path / name, num_images=10, seed=seed)
    path = tmp_path / "study.yaml"
    path.write_text(STUDY.format(change="input_size: 64"))
    fill_cache(path)
    return path


def fill_cache(path: Path) -> Store:
    """Open what the runs of a study read, as ``segstudy run`` does."""
    from segstudy.launch.workshop import Workshop  # not above: the processes that this file starts need no torch

    study, store = load_study(path), Store(path.parent / "small")
    workshop = Workshop(study, store, None, say([]))
    for run in make_plan(study).runs:
        _, roles = workshop.dataset(run.config.dataset)
        for split in (roles.report, roles.train, roles.select):
            workshop.cached(run.config.dataset, split, run.config.recipe.resized_px, split == roles.report)
    return store


@pytest.fixture
def segstudy_cache(study: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Call ``segstudy cache`` on the study; gives (exit code, what was printed, errors)."""

    def call(*options: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["segstudy", "cache", str(study), *options])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


def test_the_command_lists_what_is_cached_with_its_size(segstudy_cache, study: Path) -> None:
    code, out, _ = segstudy_cache("--json")
    assert code == 0
    rows = {(row["split"], row["what"]): row for row in json.loads(out)["cache"]}
    # 10 images: 2 of them test, and of the other 8 a tenth, rounded up, set aside
    sizes = {split: {rows[split, f"{px} px"]["images"] for px in (32, 64)} for split in ("train", "holdout", "test")}
    assert sizes == {"train": {7}, "holdout": {1}, "test": {2}}
    assert rows["test", "labels, own size"]["images"] == 2
    assert len(rows) == 7
    assert {row["state"] for row in rows.values()} == {"read by this study"}
    assert rows["train", "64 px"]["bytes"] == pytest.approx(7 * 64 * 64 * 4, abs=1000)  # headers and names besides
    _, text, _ = segstudy_cache()
    assert "polyps" in text.splitlines()[1]
    assert text.splitlines()[-1].startswith("small/cache: 0.2 MB")


def test_what_no_run_reads_any_more_is_found_and_removed(segstudy_cache, study: Path) -> None:
    study.write_text(STUDY.format(change="batch_size: 8"))  # nobody reads 64 pixels now
    states = {row["what"]: row["state"] for row in json.loads(segstudy_cache("--json")[1])["cache"]}
    assert states == {
        "32 px": "read by this study",
        "labels, own size": "read by this study",
        "64 px": "read by no run",
    }
    code, out, _ = segstudy_cache("--clear-unused")
    assert code == 0
    assert "removed 3 of 7 folders" in out
    assert "64 px" not in out
    assert len(list_cache(fill_cache(study))) == 4


def test_changed_images_are_told_from_those_that_the_cache_holds(segstudy_cache, study: Path) -> None:
    image = next((study.parent / "polyps" / "images").iterdir())
    Image.new("RGB", (48, 32), "red").save(image)
    states = [row["state"] for row in json.loads(segstudy_cache("--json")[1])["cache"]]
    assert set(states) == {"read by this study", "data or reading changed"}
    fill_cache(study)
    before = {row["state"] for row in json.loads(segstudy_cache("--json")[1])["cache"]}
    assert before == {"read by this study", "data or reading changed"}
    segstudy_cache("--clear-unused")
    after = [row["state"] for row in json.loads(segstudy_cache("--json")[1])["cache"]]
    assert after == ["read by this study"] * 7


def test_data_that_cannot_be_read_keep_their_cache(segstudy_cache, study: Path) -> None:
    (study.parent / "polyps").rename(study.parent / "gone")
    code, out, _ = segstudy_cache("--clear-unused")
    assert code == 0
    assert "removed 0 of 7 folders" in out
    assert "unknown: the data cannot be read" in out


def test_clear_removes_all_but_not_under_a_run(segstudy_cache, study: Path) -> None:
    run = Store(study.parent / "small").run("unet", 42)
    with run.lock():
        code, _, errors = segstudy_cache("--clear")
        assert code == 2
        assert "is being worked on and reads the cache; wait for it or stop it" in errors
    code, out, _ = segstudy_cache("--clear")
    assert code == 0
    assert "nothing is cached" in out
    assert "removed 7 of 7 folders" in out
    assert left_in(study.parent / "small") == []


def test_clearing_both_ways_at_once_is_an_error(segstudy_cache) -> None:
    code, _, errors = segstudy_cache("--clear", "--clear-unused")
    assert code == 2
    assert "give only one of them" in errors


def test_an_empty_store_is_no_error(segstudy_cache, study: Path) -> None:
    shutil.rmtree(study.parent / "small")
    assert segstudy_cache("--clear") == (0, "small/cache: nothing is cached\nremoved 0 of 0 folders, 0.0 MB\n", "")


def test_a_cache_that_cannot_be_listed_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"x/cache: cannot be listed \(File name too long\); choose another --out"):
        list_cache(Store(tmp_path / ("x" * 300)))
    (tmp_path / "file").touch()
    assert list_cache(Store(tmp_path / "file")) == []


def test_what_killed_processes_left_is_removed(tmp_path: Path) -> None:
    store = Store(tmp_path / "out")
    opened(dataset_at(tmp_path / "data"), store.root)
    (whole,) = list_cache(store)
    for suffix in ("tmp", "gone"):
        (store.cache / f".{whole.folder.name}.{suffix}").mkdir()
    entries = list_cache(store)
    assert sorted((e.part, e.whole) for e in entries) == [("16", False), ("16", False), ("16", True)]
    with claim_on(store.cache / f".{whole.folder.name}.lock"):
        assert clear_cache(store, entries) == ([], entries)
    assert clear_cache(store, [e for e in entries if not e.whole])[1] == []
    assert left_in(store.root) == [whole.folder.name]
