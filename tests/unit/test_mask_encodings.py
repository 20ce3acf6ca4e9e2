"""Each row of docs/reference/mask-encodings.md by each tool: labels worked out by hand, or the refusal with the line to write."""

from __future__ import annotations

import json
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_encoding import write_grey_png

from fakes import save
from segstudy.checking import Checked, check_study
from segstudy.data.declared import Declared
from segstudy.data.readers import folder
from segstudy.errors import DataError, SegstudyError
from segstudy.init import write_study_file
from segstudy.launch.workshop import Workshop
from segstudy.scoring import score_masks
from segstudy.spec import load_study, parse_study


def grey(*values: int) -> Image.Image:
    return Image.fromarray(np.array([values], np.uint8))


def palette(colours: list[int], *values: int) -> Image.Image:
    image = grey(*values).convert("P")
    image.putdata(values)
    image.putpalette(colours)
    return image


def colours(*pixels: tuple[int, ...]) -> Image.Image:
    return Image.fromarray(np.array([pixels], np.uint8))


TIMES = 4
BLACK, WHITE, RED = [0, 0, 0], [255, 255, 255], [255, 0, 0]
TWO = {"values": {0: "a", 1: "b", 255: "b"}}
# What files hold, what is declared, and the labels of each file, or what the message says.
READ: dict[str, tuple[list[Image.Image], dict[str, Any], list[list[int]]]] = {
    "class indices": ([grey(0, 1, 2, 255)], {}, [[0, 1, 2, 255]]),
    "0 and 255": ([grey(0, 255, 255, 0)], {}, [[0, 1, 1, 0]]),
    "1 bit": ([grey(0, 255, 255, 0).convert("1")], {}, [[0, 1, 1, 0]]),
    "other two values": ([grey(0, 200, 0, 200)], {"values": {0: "a", 200: "b"}}, [[0, 1, 0, 1]]),
    "sparse levels": ([grey(0, 128, 255, 0)], {"values": {0: "a", 128: "b", 255: "c"}}, [[0, 1, 2, 0]]),
    "two levels with traces": ([grey(0, 1, 254, 255)], {"threshold": 127}, [[0, 0, 1, 1]]),
    "levels with traces": (
        [grey(1, 127, 130, 250)],
        {"values": {0: "a", 128: "b", 255: "c"}, "nearest": True},
        [[0, 1, 1, 2]],
    ),
    "two encodings": ([grey(0, 1, 1, 0), grey(0, 255, 0, 0)], TWO, [[0, 1, 1, 0], [0, 1, 0, 0]]),
    "palette": ([palette([*RED, *BLACK, *WHITE], 0, 1, 2, 1)], {}, [[0, 1, 2, 1]]),
    "palettes that differ": (
        [palette([*BLACK, *RED], 0, 1, 1, 1), palette([*RED, *BLACK], 0, 1, 1, 1)],
        {"colours": {"#000000": "a", "#ff0000": "b"}},
        [[0, 1, 1, 1], [1, 0, 0, 0]],
    ),
    "colours": (
        [colours((0, 0, 0), (255, 0, 0), (0, 0, 255), (0, 0, 0))],
        {"colours": {"#000000": "a", "#ff0000": "b", "#0000ff": "ignore"}},
        [[0, 1, 255, 0]],
    ),
    "alpha": (
        [colours((9, 9, 9, 0), (9, 9, 9, 255), (0, 9, 9, 255), (1, 1, 1, 0))],
        {"channel": "alpha"},
        [[0, 1, 1, 0]],
    ),
    "16 bits": (
        [Image.fromarray(np.array([[0, 300, 1000, 0]], np.uint16))],
        {"values": {0: "a", 300: "b", 1000: "c"}},
        [[0, 1, 2, 0]],
    ),
    "16 bits that hold indices": ([Image.fromarray(np.array([[0, 2, 1, 255]], np.uint16))], {}, [[0, 2, 1, 255]]),
    "probabilities": (
        [Image.fromarray(np.array([[0, 0.25, 0.75, 1]], np.float32))],
        {"threshold": 0.5},
        [[0, 0, 1, 1]],
    ),
    "1 bit of TIFF": ([grey(0, 255, 255, 0).convert("1")], {}, [[0, 1, 1, 0]]),
    "WebP": ([grey(0, 1, 2, 1).convert("RGB")], {}, [[0, 1, 2, 1]]),
    "GIF": ([grey(0, 255, 0, 255)], {}, [[0, 1, 0, 1]]),
    "grey and opaque alpha": ([grey(0, 1, 2, 1).convert("LA")], {}, [[0, 1, 2, 1]]),
    "palette and transparency": ([palette([*BLACK, *RED], 0, 1, 1, 0)], {}, [[0, 1, 1, 0]]),
    "alpha of grey": (
        [Image.merge("LA", [grey(5, 5, 5, 9), grey(0, 255, 255, 0)])],
        {"channel": "alpha"},
        [[0, 1, 1, 0]],
    ),
    "the grey of grey and alpha": (
        [Image.merge("LA", [grey(0, 2, 1, 1), grey(0, 255, 255, 0)])],
        {"channel": "grey"},
        [[0, 2, 1, 1]],
    ),
    "class indices in one channel": (
        [colours((0, 0, 0), (2, 0, 0), (1, 0, 0), (1, 0, 0))],
        {"channel": "red"},
        [[0, 2, 1, 1]],
    ),
    "black and white that begins with white": (
        [palette([*WHITE, *BLACK], 0, 1, 1, 1)],
        {"colours": {"#000000": "a", "#ffffff": "b"}},
        [[1, 0, 0, 0]],
    ),
    "one mask without foreground": ([grey(0, 0, 0, 0), grey(0, 255, 0, 0)], {}, [[0, 0, 0, 0], [0, 1, 0, 0]]),
    "one mask that is void": ([grey(255, 255, 255, 255), grey(0, 1, 2, 1)], {}, [[255] * 4, [0, 1, 2, 1]]),
}
SAVED: dict[str, tuple[str, dict[str, Any]]] = {  # suffix and options, where it is not PNG
    "1 bit of TIFF": (".tif", {"compression": "group4"}),
    "probabilities": (".TIF", {}),
    "WebP": (".webp", {"lossless": True}),
    "GIF": (".gif", {}),
    "palette and transparency": (".png", {"transparency": 0}),
}
REFUSED: dict[str, str] = {
    "other two values": "`values: {0: background, 200: foreground}`",
    "sparse levels": "`values: {0: background, 128: class_1, 255: class_2}`",
    "two levels with traces": "`threshold: 127`",
    "levels with traces": "[Ww]rite `(values|threshold)",
    "two encodings": "some masks hold 0 and 1, others 0 and 255",
    "palettes that differ": "palettes differ",
    "colours": "`colours: {'#000000': background",
    "alpha": "`channel: alpha`",
    "16 bits": "`values: {0: background, 300: class_1",
    "probabilities": "`(threshold: 0.5|values: {0: background)",
    "alpha of grey": "`channel: alpha`, or `channel: grey`",
    "class indices in one channel": "`channel: red`",
    "black and white that begins with white": "begins with white",
}
NOT_GUESSED = ("the grey of grey and alpha",)  # refused as "alpha of grey" is


def write(root: Path, masks: list[Image.Image], encoding: str = "") -> Path:
    """Masks, four times each so that there are enough to divide, with images."""
    suffix, options = SAVED.get(encoding, (".png", {}))
    for number, mask in enumerate(masks * TIMES):
        save(root / "images" / f"{number}.png", np.full((1, 4, 3), number, np.uint8))
        (root / "masks").mkdir(exist_ok=True)
        mask.save(root / "masks" / f"{number}{suffix}", **options)
    return root


def checked(root: Path, declared: dict[str, Any]) -> Checked:
    """What ``check`` finds in a study of the folder alone."""
    entry = {"reader": "folder", "root": str(root), **declared}
    study = {"name": "s", "data": {"d": entry}, "experiments": {"u": {"data": "d", "model": {"arch": "unet"}}}}
    workshop = Workshop(parse_study(json.dumps(study)), root / "out", inspecting=True)
    return check_study(workshop, [], ["d"])


@pytest.mark.parametrize("encoding", READ)
def test_the_reader_gives_the_labels(tmp_path: Path, encoding: str) -> None:
    masks, declared, expected = READ[encoding]
    dataset = folder.read("d", write(tmp_path, masks, encoding), folder.Options(**declared))
    labels = {sample.id: dataset.labels_of(sample).tolist() for sample in dataset.samples("all")}
    assert labels == {str(number): [row] for number, row in enumerate(expected * TIMES)}


@pytest.mark.parametrize("encoding", READ)
def test_check_counts_these_labels(tmp_path: Path, encoding: str) -> None:
    masks, declared, expected = READ[encoding]
    found = checked(write(tmp_path, masks, encoding), declared)
    assert [each.fault.message for each in found.findings if each.fault.severity == "error"] == []
    pixels = [row["pixels"] for row in found.inspected[0].card["frequencies"]]
    rows = np.array(expected * TIMES)
    assert pixels == np.bincount(rows[rows < 255], minlength=len(pixels)).tolist()
    assert found.inspected[0].card["ignored"]["pixels"] == int((rows == 255).sum())


@pytest.mark.parametrize("encoding", [each for each in READ if not READ[each][1]])
def test_init_writes_a_study_that_reads_them(tmp_path: Path, encoding: str) -> None:
    """Where nothing need be declared."""
    masks, _, expected = READ[encoding]
    root = write(tmp_path / "set", masks, encoding)
    write_study_file(root, tmp_path / "s.yaml")
    entry = load_study(tmp_path / "s.yaml").data["set"]
    dataset = folder.read("d", root, folder.Options(**entry.own_options()))
    labels = {sample.id: dataset.labels_of(sample).tolist() for sample in dataset.samples("all")}
    assert labels == {str(number): [row] for number, row in enumerate(expected * TIMES)}


@pytest.mark.parametrize("encoding", READ)
def test_score_counts_these_labels(tmp_path: Path, encoding: str) -> None:
    """Predictions that hold the expected labels as indices agree with the truth in every pixel that counts."""
    masks, declared, expected = READ[encoding]
    truth = write(tmp_path, masks, encoding) / "masks"
    rows = np.array(expected * TIMES, np.uint8)
    for number, row in enumerate(rows):
        save(tmp_path / "pred" / f"{number}.png", np.where(row == 255, 0, row)[None])
    found = score_masks(tmp_path / "pred", truth, declared=Declared(**declared, flags=True)).confusion.sum(axis=0)
    assert found.tolist() == np.diag(np.bincount(rows[rows < 255].ravel(), minlength=len(found))).tolist()


@pytest.mark.parametrize("encoding", REFUSED)
def test_without_a_declaration_the_line_to_write_is_said(tmp_path: Path, encoding: str) -> None:
    """By the reader, by ``check`` among its errors, by ``init``, which writes it as a comment, and by ``score`` as a flag."""
    root = write(tmp_path / "set", READ[encoding][0], encoding)
    with pytest.raises(DataError, match=REFUSED[encoding]) as refused:
        folder.read("d", root)
    messages = [each.fault.message for each in checked(root, {}).findings if each.fault.severity == "error"]
    assert any(re.search(REFUSED[encoding], message) for message in messages)
    with pytest.raises(SegstudyError, match=REFUSED[encoding]):
        write_study_file(root, tmp_path / "s.yaml")
    for line in re.findall(r"`(\w+: [^`]+)`", str(refused.value)):
        assert f"    # {line}\n" in (tmp_path / "s.yaml").read_text()
    for k, row in enumerate(READ[encoding][2] * TIMES):
        save(tmp_path / "pred" / f"{k}.png", np.array([row], np.uint8) % 255)
    with pytest.raises(DataError, match=r"--[a-z]+ |palettes differ|begins with white"):
        score_masks(tmp_path / "pred", root / "masks")


@pytest.mark.parametrize("bits", [2, 4])
def test_grey_of_few_bits_by_each_tool(tmp_path: Path, bits: int) -> None:
    """Stored 0 to 3, which Pillow shows as 0, 85, 170, 255."""
    for k in range(4):
        save(tmp_path / "set" / "images" / f"{k}.png", np.full((1, 4, 3), k, np.uint8))
        save(tmp_path / "pred" / f"{k}.png", np.array([[0, 1, 2, 3]], np.uint8))
        (tmp_path / "set" / "masks").mkdir(exist_ok=True)
        write_grey_png(tmp_path / "set" / "masks" / f"{k}.png", [[0, 1, 2, 3]], bits)
    dataset = folder.read("d", tmp_path / "set")
    assert dataset.labels_of(dataset.samples("all")[0]).tolist() == [[0, 1, 2, 3]]
    assert [row["pixels"] for row in checked(tmp_path / "set", {}).inspected[0].card["frequencies"]] == [4] * 4
    write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    assert load_study(tmp_path / "s.yaml").data["set"].own_options() == {"num_classes": 4}
    found = score_masks(tmp_path / "pred", tmp_path / "set" / "masks").confusion.sum(axis=0)
    assert found.tolist() == (4 * np.eye(4, dtype=int)).tolist()


JPEGS: dict[str, tuple[str, str, dict[str, Any]]] = {  # suffix, mode and options
    "JPEG": (".jpg", "L", {}),
    "named PNG": (".png", "L", {}),
    "progressive": (".jpg", "RGB", {"progressive": True}),
    "CMYK": (".jpg", "CMYK", {}),
}


@pytest.mark.parametrize("name", JPEGS)
def test_black_and_white_jpeg_by_each_tool(tmp_path: Path, name: str) -> None:
    """Known by its bytes, whatever its suffix: two classes, above 127."""
    suffix, mode, options = JPEGS[name]
    mask = np.zeros((16, 16), np.uint8)
    mask[:, 8:] = 255
    for k in range(4):
        save(tmp_path / "set" / "images" / f"{k}.png", np.full((16, 16, 3), k, np.uint8))
        save(tmp_path / "pred" / f"{k}.png", mask // 255)
        (tmp_path / "set" / "masks").mkdir(exist_ok=True)
        path = tmp_path / "set" / "masks" / f"{k}{suffix}"
        Image.fromarray(mask).convert("RGB").convert(mode).save(path, "JPEG", quality=60, **options)
    dataset = folder.read("d", tmp_path / "set")
    assert dataset.labels_of(dataset.samples("all")[0]).tolist() == (mask // 255).tolist()
    assert [row["pixels"] for row in checked(tmp_path / "set", {}).inspected[0].card["frequencies"]] == [512, 512]
    write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    assert "num_classes: 2" in (tmp_path / "s.yaml").read_text()
    found = score_masks(tmp_path / "pred", tmp_path / "set" / "masks").confusion.sum(axis=0)
    assert found.tolist() == [[512, 0], [0, 512]]


def write_interlaced_png(path: Path, rows: list[list[int]]) -> None:
    """Grey of 8 bits in the seven passes of Adam7: first column and row of each, and their steps."""
    passes = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    lines = [bytes([0, *row[x::dx]]) for x, y, dx, dy in passes for row in rows[y::dy] if row[x::dx]]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 0, 0, 0, 1))
    parts = head + chunk(b"IDAT", zlib.compress(b"".join(lines))) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def test_interlaced_png_by_each_tool(tmp_path: Path) -> None:
    """Rows and columns stand where they belong."""
    rows = [[(x + 2 * y) % 4 for x in range(9)] for y in range(5)]  # 45 pixels, 11 or 12 of each class
    counts = [sum(row.count(value) for row in rows) for value in range(4)]
    for k in range(4):
        save(tmp_path / "set" / "images" / f"{k}.png", np.full((5, 9, 3), k, np.uint8))
        save(tmp_path / "pred" / f"{k}.png", np.array(rows, np.uint8))
        (tmp_path / "set" / "masks").mkdir(exist_ok=True)
        write_interlaced_png(tmp_path / "set" / "masks" / f"{k}.png", rows)
    with Image.open(tmp_path / "set" / "masks" / "0.png") as written:
        assert written.info["interlace"] == 1
    dataset = folder.read("d", tmp_path / "set")
    assert dataset.labels_of(dataset.samples("all")[0]).tolist() == rows
    pixels = [row["pixels"] for row in checked(tmp_path / "set", {}).inspected[0].card["frequencies"]]
    assert pixels == [4 * count for count in counts]
    write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    assert load_study(tmp_path / "s.yaml").data["set"].own_options() == {"num_classes": 4}
    found = score_masks(tmp_path / "pred", tmp_path / "set" / "masks").confusion.sum(axis=0)
    assert found.tolist() == np.diag([4 * count for count in counts]).tolist()


@pytest.mark.parametrize(
    ("levels", "lines", "absent"),
    [
        (
            [0, 1, 2, 254],
            ["threshold: 127", "values: {0: background, 1: class_1, 2: class_2, 254: class_3}"],
            "num_classes",
        ),
        ([0, 1, 2, 40], ["num_classes: 41", "values: {0: background, 1: class_1, 2: class_2, 40: class_3}"], "255"),
        ([0, 100, 200], ["values: {0: background, 100: class_1, 200: class_2}"], "num_classes"),
    ],
)
def test_few_levels_are_offered_each_by_its_name(
    tmp_path: Path, levels: list[int], lines: list[str], absent: str
) -> None:
    """None of the lines reads void (254) or a class as another in silence, nor as 201 classes; one gives the labels."""
    root = write(tmp_path / "set", [grey(*levels)])
    with pytest.raises(DataError) as refused:
        folder.read("d", root)
    assert set(lines) <= set(re.findall(r"`(\w+: [^`]+)`", str(refused.value))) and absent not in str(refused.value)
    values = dict(zip(levels, "abcd", strict=False))
    dataset = folder.read("d", root, folder.Options(values=values))
    assert dataset.labels_of(dataset.samples("all")[0]).tolist() == [list(range(len(levels)))]


def test_white_stays_the_foreground_next_to_a_value_that_is_left_out(tmp_path: Path) -> None:
    """The line that ``init`` shows as a comment, in a set of 0 and 255, whose masks may hold 11 too."""
    root = write(tmp_path / "set", [grey(0, 255, 255, 0), grey(0, 255, 11, 0)])
    dataset = folder.read("d", root, folder.Options(ignore_values=[11]))
    labels = {sample.id: dataset.labels_of(sample).tolist() for sample in dataset.samples("all")}
    assert labels == {str(k): [[0, 1, 1, 0], [0, 1, 255, 0]][k % 2 : k % 2 + 1] for k in range(8)}


def test_masks_of_white_alone_are_asked_about(tmp_path: Path) -> None:
    """As by ``channel: grey``, where the alpha channel holds the mask."""
    root = write(tmp_path / "set", [grey(255, 255, 255, 255)])
    with pytest.raises(DataError, match="hold only 255; give classes or num_classes"):
        folder.read("d", root)


def test_three_levels_of_jpeg_keep_the_third(tmp_path: Path) -> None:
    """Bands of 0, 128 and 255, saved as JPEG and anew as PNG: white is a level, not just what 255 leaves out."""
    bands = np.repeat(np.repeat([[0, 128, 255, 0, 255, 128]], 11, 1), 40, 0).astype(np.uint8)
    (tmp_path / "masks").mkdir()
    for k in range(4):
        save(tmp_path / "images" / f"{k}.png", np.full((40, 66, 3), k, np.uint8))
        Image.fromarray(bands).save(tmp_path / "m.jpg", quality=95)
        Image.open(tmp_path / "m.jpg").save(tmp_path / "masks" / f"{k}.png")
    with pytest.raises(DataError, match=r"`values: {0: background, 128: class_1, 255: class_2}` and `nearest: true`"):
        folder.read("d", tmp_path)
