"""Getting datasets: against a server on loopback that cuts, stalls, refuses and lies; Kaggle by a stand-in and on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import types
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as changed
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from fakes import fake_camvid, fake_kvasir, fake_supervisely_csv
from segstudy.cli import app
from segstudy.data.download import catalogue, unpack
from segstudy.data.download import fetch as fetching
from segstudy.data.download.catalogue import KNOWN, Archive, ByHand, Known, Mirror, known
from segstudy.data.download.fetch import Resuming, content_digest, data_places, fetch, find
from segstudy.errors import DataError, SegstudyError
from segstudy.progress import Progress, showing
from segstudy.schema import data_entry

ROOT = "kvasir-seg/Kvasir-SEG"
PIECE = fetching.CHUNK_BYTES
REAL = os.environ.get("SEGSTUDY_DATA")


@dataclass
class Server:
    """Serves one file; what goes wrong in each request stands in ``faults``, the first for the first request.

    A fault is a status, or bytes after which the connection is cut, or ``"stall"``, ``"whole"`` (a Range is not heeded),
    ``"other"`` (another part is sent); None for none.
    """

    content: bytes
    faults: list[object] = field(default_factory=list)
    ranges: list[str | None] = field(default_factory=list)
    retry_after: str = ""
    chunk_pause_s: float = 0.0
    httpd: ThreadingHTTPServer | None = None
    scheme: str = "http"

    @property
    def url(self) -> str:
        assert self.httpd is not None
        return f"{self.scheme}://localhost:{self.httpd.server_address[1]}/tiny.zip"

    def answer(self, handler: BaseHTTPRequestHandler) -> None:
        wanted = handler.headers.get("Range")
        self.ranges.append(wanted)
        fault = self.faults.pop(0) if self.faults else None
        if fault == "stall":
            time.sleep(0.6)
            return
        if isinstance(fault, int) and fault >= 400:
            handler.send_response(fault)
            if self.retry_after:
                handler.send_header("Retry-After", self.retry_after)
            handler.send_header("Content-Length", "0")
            handler.end_headers()
            return
        start = 0 if wanted is None or fault == "whole" else int(wanted.removeprefix("bytes=").removesuffix("-"))
        start += 1 if fault == "other" else 0
        body = self.content[start:]
        handler.send_response(206 if start else 200)
        if start:
            handler.send_header("Content-Range", f"bytes {start}-{len(self.content) - 1}/{len(self.content)}")
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        step = 2000 if self.chunk_pause_s else len(body)
        for at in range(0, len(body), step):
            part = body[at : at + step]
            handler.wfile.write(part[: fault[0]] if isinstance(fault, tuple) else part)
            time.sleep(self.chunk_pause_s)


@pytest.fixture
def serve() -> Iterator[types.FunctionType]:
    running = []

    def start(content: bytes, *faults: object, certificate: Path | None = None) -> Server:
        server = Server(content, list(faults))

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                with contextlib.suppress(OSError):  # the client is gone
                    server.answer(self)

            def log_message(self, *_: object) -> None:
                pass

        httpd = ThreadingHTTPServer(("localhost", 0), Handler)
        if certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            httpd.socket = context.wrap_socket(httpd.socket, server_side=True)
            httpd.handle_error = lambda *_: None  # type: ignore[method-assign]
            server.scheme = "https"
        server.httpd = httpd
        threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        running.append(httpd)
        return server

    yield start
    for httpd in running:
        httpd.shutdown()
        httpd.server_close()


@pytest.fixture(autouse=True)
def no_patience_and_no_data(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fetching, "WAITS_S", (0.01, 0.01, 0.01))
    monkeypatch.setattr(fetching, "SPARE_BYTES", 0)
    monkeypatch.delenv("SEGSTUDY_DATA", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def tiny(tmp_path: Path) -> bytes:
    """Five pairs in Kvasir-SEG's layout, zipped as the official archive is."""
    folder = fake_kvasir(tmp_path / "source" / "Kvasir-SEG", size=(200, 150))
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for path in sorted(folder.rglob("*.jpg")):
            file.write(path, path.relative_to(folder.parent))
    shutil.rmtree(tmp_path / "source")
    return stream.getvalue()


def register(monkeypatch: pytest.MonkeyPatch, server: Server, **changes: object) -> Known:
    """Make ``tiny`` a known dataset that is served by ``server``."""
    content = server.content
    source = Archive(server.url, hashlib.sha256(content).hexdigest(), len(content), 2 * len(content), "Kvasir-SEG")
    source = changed(source, **{key: changes.pop(key) for key in tuple(changes) if hasattr(source, key)})
    one = changed(KNOWN["kvasir"], num_images=5, source=source, also=(), digest="", title="Tiny")
    one = changed(one, **changes)
    monkeypatch.setitem(catalogue.KNOWN, "tiny", one)
    return one


class Said:
    """A progress that remembers what was said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def task(self, *_: object) -> Said:
        return self

    def advance(self, *_: object) -> None:
        pass

    def say(self, text: str) -> None:
        self.lines.append(text)


def get(to: Path, said: Said | None = None, name: str = "tiny") -> fetching.Found:
    return fetch(name, to, [], lambda one: None, said or Said())  # type: ignore[arg-type]


def left_in(folder: Path) -> list[str]:
    """What lies in a data folder beside the set and the locks."""
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.startswith(ROOT) and not name.endswith(".lock"))


def test_a_set_is_downloaded_verified_unpacked_and_put_in_place(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny)
    register(monkeypatch, server)
    there = get(tmp_path / "data")
    assert there == fetching.Found(tmp_path / "data" / ROOT, ROOT, 5)
    with zipfile.ZipFile(io.BytesIO(tiny)) as file:
        for name in file.namelist():
            assert (tmp_path / "data" / "kvasir-seg" / name).read_bytes() == file.read(name)
    assert server.ranges == [None]
    assert left_in(tmp_path / "data") == []
    assert not (tmp_path / "data" / fetching.DOWNLOADS).exists()


def test_a_cut_connection_is_gone_on_with(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny, (PIECE,), (2 * PIECE,))
    register(monkeypatch, server)
    said = Said()
    assert get(tmp_path / "data", said).num_images == 5
    assert server.ranges == [None, f"bytes={PIECE}-", f"bytes={3 * PIECE}-"]
    assert said.lines[:2] == ["the connection was lost; trying again in 0.01 s"] * 2


def test_a_server_that_knows_no_ranges_sends_all_again(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny, (PIECE,), "whole")
    register(monkeypatch, server)
    assert get(tmp_path / "data").num_images == 5
    assert server.ranges == [None, f"bytes={PIECE}-"]


def test_another_part_than_asked_for_is_not_taken(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny, (PIECE,), "other", "other")
    register(monkeypatch, server)
    assert get(tmp_path / "data").num_images == 5
    assert server.ranges == [None] + [f"bytes={PIECE}-"] * 3


def test_a_server_whose_file_has_changed_is_asked_from_the_start(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny, (PIECE,), 416)
    register(monkeypatch, server)
    assert get(tmp_path / "data").num_images == 5
    assert server.ranges == [None, f"bytes={PIECE}-", None]


def test_a_server_that_is_busy_is_given_the_time_that_it_asks_for(serve, tiny, tmp_path) -> None:
    server, waited = serve(tiny, 503, 429), []
    server.retry_after = "7"
    part = tmp_path / "tiny.zip.part"
    Resuming(part, len(tiny), Said(), waited.append)(server.url, str(tmp_path / "tiny.zip"), None)  # type: ignore[arg-type]
    assert (tmp_path / "tiny.zip").read_bytes() == tiny and not part.exists()
    assert waited == [7, 7]


def test_a_server_that_asks_for_an_hour_is_not_given_it(serve, tiny, tmp_path) -> None:
    server, waited = serve(tiny, 503), []
    server.retry_after = "3600"
    Resuming(tmp_path / "p", len(tiny), Said(), waited.append)(server.url, str(tmp_path / "f"), None)  # type: ignore[arg-type]
    assert waited == [fetching.LONGEST_WAIT_S]


def test_a_silent_server_is_asked_again(serve, tiny, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_S", (1, 0.2))
    server = serve(tiny, "stall")
    register(monkeypatch, server)
    said = Said()
    assert get(tmp_path / "data", said).num_images == 5
    assert said.lines[0] == "the server does not answer; trying again in 0.01 s"


def test_patience_ends_and_the_next_call_goes_on(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny, (PIECE,), 500, 500, 500)
    register(monkeypatch, server)
    with pytest.raises(
        DataError, match=r"stopped at 0\.0 of .+ \(the server answers 500\); run the command again to resume"
    ):
        get(tmp_path / "data")
    assert left_in(tmp_path / "data") == [".downloads/tiny.zip.part"]
    assert not (tmp_path / "data" / ROOT).exists()
    assert get(tmp_path / "data").num_images == 5
    assert server.ranges[-1] == f"bytes={PIECE}-"


def test_progress_renews_patience(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny, *[(PIECE,)] * 6)
    register(monkeypatch, server)
    assert get(tmp_path / "data").num_images == 5
    assert len(server.ranges) == 7


def test_a_file_that_is_gone_is_told_at_once(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny, 404)
    register(monkeypatch, server)
    with pytest.raises(DataError, match=r"tiny\.zip: the server answers 404 \(Not Found\); see the dataset's page"):
        get(tmp_path / "data")
    assert server.ranges == [None]


def test_nobody_there_is_told(tiny, tmp_path, monkeypatch) -> None:
    server = Server(tiny, httpd=types.SimpleNamespace(server_address=("localhost", 9)))  # type: ignore[arg-type]
    register(monkeypatch, server)
    with pytest.raises(
        DataError, match=r"the connection was lost\); run the command again .+ or download it in a browser to .+\.zip$"
    ):
        get(tmp_path / "data")


def test_a_wrong_checksum_leaves_nothing(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny)
    register(monkeypatch, server, sha256="0" * 64)
    with pytest.raises(DataError, match=r"is not the known one \(its SHA-256 is not 0{64}\), so it was deleted"):
        get(tmp_path / "data")
    assert left_in(tmp_path / "data") == []
    assert not (tmp_path / "data" / ROOT).exists()


def test_a_file_that_does_not_end_is_cut_off(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny + bytes(200_000))
    register(monkeypatch, server, num_bytes=len(tiny))
    with pytest.raises(DataError, match=rf"larger than the known one \({len(tiny):,} bytes\)"):
        get(tmp_path / "data")
    assert sum(path.stat().st_size for path in (tmp_path / "data").rglob("*") if path.is_file()) <= len(tiny)


def test_an_archive_that_a_browser_brought_is_taken(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny)
    register(monkeypatch, server)
    (tmp_path / "data" / ".downloads").mkdir(parents=True)
    (tmp_path / "data" / ".downloads" / "tiny.zip").write_bytes(tiny)
    assert get(tmp_path / "data").num_images == 5
    assert server.ranges == []


def test_a_killed_download_is_gone_on_with(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny)
    server.chunk_pause_s = 0.05
    register(monkeypatch, server)
    part = tmp_path / "data" / ".downloads" / "tiny.zip.part"
    part.parent.mkdir(parents=True)
    code = (
        "import sys; from pathlib import Path; from segstudy.data.download.fetch import Resuming\n"
        "from segstudy.progress import showing\n"
        "with showing(True) as p: Resuming(Path(sys.argv[1]), int(sys.argv[2]), p)(sys.argv[3], sys.argv[4], None)"
    )
    arguments = [str(part), str(len(tiny)), server.url, str(tmp_path / "never")]
    process = subprocess.Popen([sys.executable, "-c", code, *arguments])
    deadline = time.monotonic() + 30
    while not (part.is_file() and part.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    there = part.stat().st_size
    assert 0 < there < len(tiny) and tiny.startswith(part.read_bytes())
    server.chunk_pause_s = 0
    assert get(tmp_path / "data").num_images == 5
    assert server.ranges[-1] == f"bytes={there}-"


def test_unpacking_that_was_cut_off_counts_for_nothing_and_needs_no_second_download(
    serve, tiny, tmp_path, monkeypatch
) -> None:
    server = serve(tiny)
    register(monkeypatch, server)

    def half(archive: Path, into: Path, top: str, limits: unpack.Limits) -> None:
        unpack.unpack(archive, into, top, limits)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(fetching, "unpack", half)
        with pytest.raises(KeyboardInterrupt):
            get(tmp_path / "data")
    assert not (tmp_path / "data" / ROOT).exists()
    assert find("tiny", [tmp_path / "data"]) is None
    assert get(tmp_path / "data").num_images == 5
    assert len(server.ranges) == 1


def test_a_set_with_too_few_images_is_not_kept(serve, tiny, tmp_path, monkeypatch) -> None:
    register(monkeypatch, serve(tiny), num_images=7)
    with pytest.raises(DataError, match="'tiny' was downloaded with 5 images instead of 7; nothing is kept"):
        get(tmp_path / "data")
    assert not (tmp_path / "data" / ROOT).exists()


def test_a_bomb_is_not_unpacked(serve, tmp_path, monkeypatch) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("Kvasir-SEG/images/zeros.jpg", bytes(5_000_000))
    register(monkeypatch, serve(stream.getvalue()), unpacked_bytes=10_000)
    with pytest.raises(DataError, match=r"unpacks to more than 0\.0 MB"):
        get(tmp_path / "data")
    assert not (tmp_path / "data" / ROOT).exists()


def test_no_room_is_told_before_anything_is_asked_for(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny)
    register(monkeypatch, server, unpacked_bytes=30_000_000)
    usage = types.SimpleNamespace(free=20_000_000)
    monkeypatch.setattr(fetching.shutil, "disk_usage", lambda path: usage)
    with pytest.raises(
        DataError, match=r"30 MB are needed, 20 MB are free; free some space or choose another place with --to"
    ):
        get(tmp_path / "data")
    assert server.ranges == []


def test_what_lies_there_is_not_fetched_again(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny)
    register(monkeypatch, server, also=("Elsewhere",))
    fake_kvasir(tmp_path / "other" / "Elsewhere")
    said, asked = Said(), []
    there = fetch("tiny", tmp_path / "data", [tmp_path / "other"], asked.append, said)  # type: ignore[arg-type]
    assert there == fetching.Found(tmp_path / "other" / "Elsewhere", "Elsewhere", 5)
    assert said.lines == [f"{tmp_path / 'other' / 'Elsewhere'} already holds it (5 images); nothing is downloaded"]
    assert server.ranges == [] and asked == []


def test_half_a_set_is_neither_taken_for_it_nor_overwritten(serve, tiny, tmp_path, monkeypatch) -> None:
    register(monkeypatch, serve(tiny))
    fake_kvasir(tmp_path / "data" / ROOT, num_images=3)
    with pytest.raises(
        DataError, match=r"already exists, but is not the complete dataset \(3 of 5 images\); move it away"
    ):
        get(tmp_path / "data")
    shutil.rmtree(tmp_path / "data" / ROOT / "masks")
    with pytest.raises(DataError, match=r"is not the complete dataset \(.+Kvasir-SEG not found.+\); move it away"):
        get(tmp_path / "data")


def test_two_at_once_download_once(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny)
    server.chunk_pause_s = 0.01
    register(monkeypatch, server)
    results: list[int] = []
    threads = [threading.Thread(target=lambda: results.append(get(tmp_path / "data").num_images)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [5, 5] and len(server.ranges) == 1


def test_an_unverifiable_certificate_leaves_the_decision_to_the_checksum(serve, tiny, tmp_path, monkeypatch) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("no openssl to make a certificate with")
    pem = tmp_path / "server.pem"
    options = ["-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run(
        ["openssl", "req", "-x509", *options, "-keyout", pem, "-out", tmp_path / "c.pem"],
        check=True,
        capture_output=True,
    )
    pem.write_text(pem.read_text() + (tmp_path / "c.pem").read_text())
    server = serve(tiny, certificate=pem)
    register(monkeypatch, server)
    said = Said()
    assert get(tmp_path / "data", said).num_images == 5
    assert said.lines[0].endswith("the server's certificate cannot be verified; the SHA-256 verifies the file instead")
    register(monkeypatch, server, sha256="0" * 64)
    with pytest.raises(DataError, match="is not the known one"):
        get(tmp_path / "data2")


def test_contents_are_compared_with_the_known_copy(serve, tiny, tmp_path, monkeypatch) -> None:
    register(monkeypatch, serve(tiny))
    folder = get(tmp_path / "a").path
    (folder / "notes.txt").write_text("left out of the digest")
    command = "cd {} && export LC_ALL=C && find images masks -type f | sort | xargs sha256sum | sha256sum"
    done = subprocess.run(command.format(folder), shell=True, check=True, capture_output=True, text=True)
    digest = done.stdout.split()[0]
    assert content_digest(folder) == digest
    for known_digest, words in (
        (digest, "masks, byte for byte those of the known copy"),
        ("0" * 64, "but not byte for byte those"),
    ):
        said = Said()
        register(monkeypatch, serve(tiny), digest=known_digest)
        get(tmp_path / words[:3], said)
        assert said.lines == [f"5 images and masks, {said.lines[0].partition(', ')[2]}"] and words in said.lines[0]


def test_what_must_be_got_by_hand_says_how(tmp_path) -> None:
    with pytest.raises(DataError, match=r"'cityscapes' must be downloaded manually: register at https://www\.city"):
        get(tmp_path, name="cityscapes")


def test_unknown_names_get_the_nearest() -> None:
    with pytest.raises(
        DataError, match=r"'kvasr' is not a known dataset \(did you mean 'kvasir'\?\); known: cityscapes, kvasir"
    ):
        known("kvasr")


@pytest.mark.parametrize("name", KNOWN)
def test_the_catalogue_is_what_a_study_file_takes(name: str) -> None:
    one = KNOWN[name]
    entry = data_entry(one.entry)
    assert {key: getattr(entry, key) for key in one.entry} == one.entry
    assert one.terms and one.page.startswith("https://") and one.layout and one.num_images > 0
    if isinstance(one.source, Archive):
        assert len(one.source.sha256) == 64 and one.source.url.startswith("https://")
        assert one.source.unpacked_bytes > one.source.num_bytes
    if isinstance(one.source, Mirror):
        assert one.page == f"https://www.kaggle.com/datasets/{one.source.handle}"
    if isinstance(one.source, ByHand):
        assert "https://" in one.source.steps


def test_the_real_kvasir_is_the_copy_that_the_digest_was_taken_from() -> None:
    if REAL is None:
        pytest.skip("set SEGSTUDY_DATA to the folder that holds kvasir-seg/Kvasir-SEG")
    assert content_digest(Path(REAL) / ROOT) == catalogue.KVASIR_DIGEST


# Kaggle


def stand_in(monkeypatch: pytest.MonkeyPatch, build, fault: Exception | None = None) -> list[str]:
    """A ``kagglehub`` that makes files in its cache instead of downloading them; gives what it was asked for."""
    asked: list[str] = []

    def dataset_download(handle: str) -> str:
        asked.append(handle)
        print("Downloading to somewhere ...")
        folder = Path(os.environ["KAGGLEHUB_CACHE"]) / "datasets" / handle / "versions" / "1"
        if fault is not None:
            (folder.parent / "1.archive").parent.mkdir(parents=True)
            (folder.parent / "1.archive").write_bytes(b"half of it")
            raise fault
        build(folder)
        return str(folder)

    module = types.ModuleType("kagglehub")
    module.dataset_download = dataset_download  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    return asked


def small_mirror(monkeypatch: pytest.MonkeyPatch, name: str = "kvasir-kaggle", **changes: object) -> None:
    one = changed(KNOWN[name], num_images=5, digest="")
    monkeypatch.setitem(catalogue.KNOWN, "mirror", changed(one, **changes))


def kvasir_mirror(folder: Path) -> None:
    fake_kvasir(folder / "kvasir-seg" / "Kvasir-SEG")
    (folder / "kvasir-dataset").mkdir()
    (folder / "kvasir-dataset" / "big.jpg").write_bytes(b"for classification")


def test_a_mirror_is_downloaded_by_kagglehub_and_the_set_moved_out_of_it(tmp_path, monkeypatch, capsys) -> None:
    asked = stand_in(monkeypatch, kvasir_mirror)
    small_mirror(monkeypatch)
    monkeypatch.setenv("KAGGLEHUB_CACHE", "/the/user's/own")
    there = get(tmp_path / "data", name="mirror")
    assert there == fetching.Found(tmp_path / "data" / ROOT, ROOT, 5)
    assert asked == ["abdallahwagih/kvasir-dataset-for-classification-and-segmentation"]
    assert left_in(tmp_path / "data") == []
    assert os.environ["KAGGLEHUB_CACHE"] == "/the/user's/own"
    assert capsys.readouterr().out == ""  # its talk is not the command's answer


def test_a_mirror_can_be_the_set_itself(tmp_path, monkeypatch) -> None:
    stand_in(monkeypatch, fake_supervisely_csv)
    small_mirror(monkeypatch, "person-kaggle")
    assert get(tmp_path / "data", name="mirror").path == tmp_path / "data" / "person"
    assert (tmp_path / "data" / "person" / "df.csv").is_file()


def test_data_that_lie_on_kaggles_machines_are_copied(tmp_path, monkeypatch) -> None:
    kvasir_mirror(tmp_path / "input")
    module = types.ModuleType("kagglehub")
    module.dataset_download = lambda handle: str(tmp_path / "input")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kagglehub", module)
    small_mirror(monkeypatch)
    assert get(tmp_path / "data", name="mirror").num_images == 5
    assert (tmp_path / "input" / "kvasir-seg" / "Kvasir-SEG" / "images").is_dir()


def with_link(folder: Path) -> None:
    kvasir_mirror(folder)
    (folder / "kvasir-seg" / "Kvasir-SEG" / "images" / "link.txt").symlink_to("/etc/passwd")


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (fake_camvid, r"no longer holds the dataset in kvasir-seg/Kvasir-SEG, Kvasir-SEG; it holds test, testannot"),
        (
            lambda folder: fake_kvasir(folder / "Kvasir-SEG", num_images=4),
            "with 4 images instead of 5; nothing is kept",
        ),
        (with_link, r"images/link\.txt: is a link, not a file"),
    ],
)
def test_a_mirror_that_is_not_the_set_is_not_kept(tmp_path, monkeypatch, build, words: str) -> None:
    stand_in(monkeypatch, build)
    small_mirror(monkeypatch)
    with pytest.raises(DataError, match=words):
        get(tmp_path / "data", name="mirror")
    assert left_in(tmp_path / "data") == [] and not (tmp_path / "data" / ROOT).exists()


class AnswerError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"{status} Client Error.")
        self.response = types.SimpleNamespace(status_code=status)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (AnswerError(403), r"Kaggle requires an account for this dataset\. Create a token .+ KAGGLE_API_TOKEN"),
        (type("UnauthenticatedError", (Exception,), {})(), "Kaggle requires an account for this dataset"),
        (ValueError("Invalid Kaggle credentials file at x"), "Kaggle requires an account for this dataset"),
        (AnswerError(404), "no longer has this dataset"),
        (type("ConnectionError", (Exception,), {})(), "was lost; run the command again to resume"),
        (type("DataCorruptionError", (Exception,), {})("md5 differs\nmore"), r"\(DataCorruptionError: md5 differs\)$"),
    ],
)
def test_what_goes_wrong_with_kaggle_is_one_plain_message(tmp_path, monkeypatch, fault: Exception, words: str) -> None:
    stand_in(monkeypatch, None, fault)
    small_mirror(monkeypatch)
    with pytest.raises(DataError, match=words):
        get(tmp_path / "data", name="mirror")
    assert left_in(tmp_path / "data") != []  # what has come is gone on with
    assert "KAGGLEHUB_CACHE" not in os.environ


def test_kagglehub_that_is_not_installed_is_one_plain_message(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    small_mirror(monkeypatch)
    with pytest.raises(DataError, match=r"need the package kagglehub; run pip install 'segstudy\[kaggle\]'"):
        get(tmp_path / "data", name="mirror")


def test_the_real_kagglehub_gets_a_mirror_from_loopback(tmp_path) -> None:
    """In a process of its own, since its logger keeps the standard output that it first saw."""
    pytest.importorskip("kagglehub")
    done = subprocess.run(
        [sys.executable, str(Path(__file__).parents[1] / "kaggle_on_loopback.py"), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "HOME": str(tmp_path), "KAGGLE_API_ENVIRONMENT": "TEST"},
    )
    if "address already in use" in done.stderr.lower():
        pytest.skip("port 7777, the only one that kagglehub's test environment has, is taken")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "num_images": 5,
        "left": [],
        "messages": ["the connection to Kaggle was lost; run the command again to resume"],
    }


# The command line


def run(*arguments: str, **options: object):
    return CliRunner().invoke(app, arguments, **options)


def test_list_names_terms_layout_and_where_a_set_lies(tmp_path) -> None:
    fake_kvasir(tmp_path / "data" / "Kvasir-SEG")
    (tmp_path / "data" / "Cityscapes").mkdir()
    text = run("data", "--data", str(tmp_path / "data")).output
    for words in ("segstudy data fetch kvasir\n", "register at https://www.cityscapes", "commercial use by written"):
        assert words in text
    assert f"found   {tmp_path}/data/Kvasir-SEG (5 of 1,000 images)" in text
    assert "study   {reader: kvasir, root: Kvasir-SEG}" in text
    rows = {row["name"]: row for row in json.loads(run("data", "--data", str(tmp_path / "data"), "--json").output)}
    assert list(rows) == list(KNOWN)
    assert rows["kvasir"]["found"]["num_images"] == 5
    assert rows["camvid"]["found"] is None
    assert rows["cityscapes"]["found"]["problem"]  # a folder of that name that is not the set is not passed over


def test_terms_are_shown_and_nothing_is_fetched_without_consent(serve, tiny, tmp_path, monkeypatch) -> None:
    server = serve(tiny)
    register(monkeypatch, server, terms="Be kind.")
    result = run("data", "fetch", "tiny", "--to", "data")
    assert isinstance(result.exception, SegstudyError)
    assert "--yes" in str(result.exception) and "terms: Be kind." in result.stderr
    assert server.ranges == []


def test_fetch_prints_where_the_set_is_and_what_a_study_says(serve, tiny, tmp_path, monkeypatch) -> None:
    register(monkeypatch, serve(tiny))
    result = run("data", "fetch", "tiny", "--to", "data", "--yes", "--quiet")
    assert result.exit_code == 0
    assert result.stdout == f"data/{ROOT}\nin a study file: data: {{tiny: {{reader: kvasir, root: {ROOT}}}}}\n"


def test_the_data_folder_is_where_fetch_puts_things_unless_told(serve, tiny, tmp_path, monkeypatch) -> None:
    register(monkeypatch, serve(tiny))
    monkeypatch.setenv("SEGSTUDY_DATA", str(tmp_path / "lib"))
    assert data_places(Path("given")) == [tmp_path / "given", tmp_path / "lib", tmp_path]
    assert run("data", "fetch", "tiny", "--yes", "--quiet").exit_code == 0
    assert (tmp_path / "lib" / ROOT / "images").is_dir()


def test_progress_counts_in_its_unit() -> None:
    rates: list[str] = []
    bars = types.SimpleNamespace(
        add_task=lambda *a, **k: 0, remove_task=lambda task: None, update=lambda *a, **k: rates.append(k["rate"])
    )
    with showing(quiet=True) as quiet:
        progress = Progress(quiet.console, bars)  # type: ignore[arg-type]
        progress.task("x", 3, "MB").advance()
        progress.task("y", 3).advance()
    assert rates[0].endswith(" MB/s") and rates[1].endswith(" images/s")
