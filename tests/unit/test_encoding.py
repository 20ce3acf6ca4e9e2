"""What mask values mean: each encoding is right, or refused with the line to write. Values by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import save
from segstudy.data.core import IMAGE_SUFFIXES, Sample, open_image
from segstudy.data.declared import Declared
from segstudy.data.encoding import Encoding, decide
from segstudy.data.stored import facts_of, read_mask
from segstudy.errors import DataError, SpecError
from segstudy.spec import parse_study


def decided(root: Path, declared: Declared = Declared()) -> Encoding:  # noqa: B008
    masks = sorted(path for path in root.iterdir() if path.suffix in IMAGE_SUFFIXES)
    return decide([facts_of(read_mask(path, declared.channel)) for path in masks], declared, root)


def labels(encoding: Encoding, path: Path) -> list[list[int]]:
    found: list[list[int]] = encoding.labels_of(Sample("x", path, path)).tolist()
    return found


@pytest.mark.parametrize(
    ("rows", "proposal"),
    [
        ([[0, 1, 254, 255]], "`threshold: 127`"),
        ([[0, 128, 255]], r"`values: {0: background, 128: class_1, 255: class_2}`"),
        ([[0, 200]], r"`values: {0: background, 200: foreground}`"),
        ([[1, 2]], r"`values: {1: background, 2: foreground}`"),
        ([[0, 1], [0, 255]], r"255: foreground}` .* or `ignore_values: \[255\]`"),
        ([list(range(0, 250, 2))], "`threshold: 127`"),
    ],
)
def test_uncertain_values_are_refused_with_the_line_to_write(
    tmp_path: Path, rows: list[list[int]], proposal: str
) -> None:
    for number, row in enumerate(rows):
        save(tmp_path / f"{number}.png", np.array([row], np.uint8))
    with pytest.raises(DataError, match=proposal):
        decided(tmp_path)


def test_declared_values_are_obeyed_exactly(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[0, 128, 255, 7]], np.uint8))
    declared = Declared(values={0: "ground", 128: "disc", 255: "cup", 7: "ignore"})
    assert labels(decided(tmp_path, declared), path) == [[0, 1, 2, 255]]
    with pytest.raises(DataError, match="values 7 occur in the mask but not under 'values'"):
        labels(decided(tmp_path, Declared(values={0: "ground", 128: "disc", 255: "cup"})), path)
    near = Declared(values={0: "ground", 128: "disc", 255: "cup"}, nearest=True)
    assert labels(decided(tmp_path, near), path) == [[0, 1, 2, 0]]


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_of_few_bits_is_read_as_stored(tmp_path: Path, bits: int) -> None:
    row = [[0, 1]] if bits == 1 else [[0, 1, 2, 3]]
    image = Image.fromarray(np.array(row, np.uint8) * (255 // (2**bits - 1)))
    image = image.convert("1") if bits == 1 else image
    image.save(tmp_path / "a.png")
    if bits > 1:  # Pillow writes no grey of 2 and 4 bits: OpenCV and Pillow both widen it, so the bytes are made here
        write_grey_png(tmp_path / "a.png", row, bits)
    assert labels(decided(tmp_path), tmp_path / "a.png") == row


def write_grey_png(path: Path, rows: list[list[int]], bits: int) -> None:
    import struct
    import zlib

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = b""
    for row in rows:
        text = "".join(f"{value:0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        packed += b"\0" + bytes(int(text[k : k + 8], 2) for k in range(0, len(text), 8))
    head = struct.pack(">IIBBBBB", len(rows[0]), len(rows), bits, 0, 0, 0, 0)
    parts = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(packed)) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + parts)


def paletted(path: Path, row: list[int], palette: list[int]) -> Path:
    image = Image.fromarray(np.array([row], np.uint8))
    image.putpalette(palette)
    image.save(path)
    return path


def test_palettes_that_differ_are_refused_and_colours_read_them(tmp_path: Path) -> None:
    first = paletted(tmp_path / "a.png", [0, 1], [0, 0, 0, 255, 255, 255])
    other = paletted(tmp_path / "b.png", [0, 1], [255, 255, 255, 0, 0, 0])
    with pytest.raises(DataError, match=r"palettes differ.*`colours: {'#000000': background, '#ffffff': foreground}`"):
        decided(tmp_path)
    encoding = decided(tmp_path, Declared(colours={"#000000": "ground", "#ffffff": "thing"}))
    assert (labels(encoding, first), labels(encoding, other)) == ([[0, 1]], [[1, 0]])
    first.unlink()
    with pytest.raises(DataError, match="black and white and begins with white"):
        decided(tmp_path)


def test_mask_in_alpha_is_asked_for(tmp_path: Path) -> None:
    path = save(tmp_path / "a.png", np.array([[[255, 255, 255, 0], [255, 255, 255, 255]]], np.uint8))
    with pytest.raises(DataError, match="`channel: alpha`"):
        decided(tmp_path)
    assert labels(decided(tmp_path, Declared(channel="alpha")), path) == [[0, 1]]


def test_probabilities_take_a_threshold(tmp_path: Path) -> None:
    path = save(tmp_path / "a.tif", np.linspace(0, 1, 20, dtype=np.float32)[None])
    with pytest.raises(DataError, match=r"`threshold: 0\.5`"):
        decided(tmp_path)
    assert np.sum(labels(decided(tmp_path, Declared(threshold=0.5)), path)) == 10


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("compression", [None, "tiff_lzw"])
def test_tiff_is_read_as_stored(tmp_path: Path, turn: int, compression: str | None) -> None:
    values = np.arange(6, dtype=np.uint8).reshape(2, 3)
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={274: turn}, compression=compression)
    image = open_image(tmp_path / "a.tif")
    assert np.asarray(image).tolist() == values.tolist()
    assert image.info["orientation"] == turn


def test_several_pages_are_refused(tmp_path: Path) -> None:
    page = Image.fromarray(np.zeros((2, 2), np.uint8))
    page.save(tmp_path / "a.tif", save_all=True, append_images=[page])
    with pytest.raises(DataError, match="holds 2 pages or frames"):
        open_image(tmp_path / "a.tif")


def test_a_study_file_may_name_values_and_colours() -> None:
    text = """
name: t
data: {d: {reader: folder, root: d, values: {0: ground, 128: disc, 255: cup}}}
experiments: {u: {data: d, model: {arch: unet}}}
"""
    entry = parse_study(text).data["d"]
    assert entry.own_options() == {"values": {0: "ground", 128: "disc", 255: "cup"}}
    with pytest.raises(SpecError, match="values, threshold each say what mask values mean; keep one"):
        parse_study(text.replace("255: cup}", "255: cup}, threshold: 127"))
