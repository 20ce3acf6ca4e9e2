"""Tables as programs save them: any separator that the columns show, UTF-8 and UTF-16, with and without marks; or the reason."""

from __future__ import annotations

import codecs
from pathlib import Path

import numpy as np
import pytest

import fakes
from fakes import save
from segstudy.data.core import Dataset
from segstudy.data.readers import folder, rle_csv, supervisely
from segstudy.data.readers.colour_tables import colours_beside
from segstudy.data.splitting.groups import group_by_table
from segstudy.data.tables import read_table
from segstudy.errors import DataError

SAVED = {
    "comma": (",", "utf-8", b""),
    "semicolon": (";", "utf-8", codecs.BOM_UTF8),
    "tab": ("\t", "utf-8", b""),
    "bar": ("|", "utf-8", b""),
    "Excel's Unicode text": ("\t", "utf-16-le", codecs.BOM_UTF16_LE),
    "big-endian": (",", "utf-16-be", codecs.BOM_UTF16_BE),
    "no mark": (";", "utf-16-le", b""),
}


def write(path: Path, rows: list[list[str]], how: str, end: str = "\r\n") -> Path:
    separator, encoding, mark = SAVED[how]
    path.write_bytes(mark + end.join(separator.join(row) for row in rows).encode(encoding))
    return path


@pytest.mark.parametrize("how", SAVED)
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_table_is_read_however_it_was_saved(tmp_path: Path, how: str, end: str) -> None:
    """Cells may hold the other separators, and blanks round them."""
    path = write(tmp_path / "t.csv", [["image ", " group"], ["ä b.png", '"1,5;\t|2"'], [], ["c.png"]], how, end)
    columns, rows = read_table(path, {"image", "group"}.issubset)
    assert columns == ["image", "group"]
    assert rows == [{"image": "ä b.png", "group": "1,5;\t|2"}, {"image": "c.png", "group": ""}]


def test_the_separator_may_be_declared_and_what_fits_nothing_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sep=;\na;b\n1;2\n")
    assert read_table(path, {"a"}.issubset) == (["a", "b"], [{"a": "1", "b": "2"}])
    path.write_text("x;y;z,\n1;2;3\n")
    assert read_table(path, {"a"}.issubset)[0] == ["x", "y", "z,"]
    path.write_bytes("a,b\nü,1\n".encode("cp1252"))
    with pytest.raises(DataError, match="byte 0xfc of line 2 is not UTF-8; save it in UTF-8"):
        read_table(path, {"a"}.issubset)


@pytest.mark.parametrize("how", SAVED)
def test_groups_are_read_however_they_were_saved(tmp_path: Path, how: str) -> None:
    dataset = folder.read("f", fakes.fake_folder(tmp_path / "set", num_images=4))
    names = sorted(sample.id for sample in dataset.samples("all"))
    table = write(
        tmp_path / "g.csv", [["image", "patient"], *([name, f"p{k // 2}"] for k, name in enumerate(names))], how
    )
    grouped = group_by_table(dataset, table, "image", "patient")
    assert {sample.id: sample.group for sample in grouped.samples("all")} == {
        n: f"p{k // 2}" for k, n in enumerate(names)
    }


@pytest.mark.parametrize("how", SAVED)
def test_pairs_are_read_however_they_were_saved(tmp_path: Path, how: str) -> None:
    """With folders as Windows writes them, and blanks in names."""
    for name in ("a b", "c", "d", "e", "f"):
        save(tmp_path / "images" / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
        save(tmp_path / "masks" / f"{name}.png", np.full((4, 4), 255, np.uint8))
    rows = [[f".\\images\\{name}.png", f" masks/{name}.png "] for name in ("a b", "c", "d", "e", "f")]
    write(tmp_path / "df.csv", [["images", "masks"], *rows], how)
    dataset = supervisely.read("s", tmp_path)
    assert dataset.faults == ()
    assert sorted((s.image.name, s.mask.name) for s in dataset.samples("all"))[0] == ("a b.png", "a b.png")
    assert len(dataset.samples("all")) == 5


@pytest.mark.parametrize("how", SAVED)
def test_run_lengths_and_colours_are_read_however_they_were_saved(tmp_path: Path, how: str) -> None:
    """A run of two pixels from the third on, down the columns of a 4 x 4 image."""
    for name in ("a", "b"):
        save(tmp_path / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    rows = [["ImageId", "EncodedPixels"], ["a.png", "3 2"], ["b.png", "1 1"]]
    write(tmp_path / f"train.{'tsv' if how == 'tab' else 'csv'}", rows, how)
    dataset: Dataset = rle_csv.read("r", tmp_path)
    (first,) = [sample for sample in dataset.samples("all") if sample.image.name == "a.png"]
    assert np.flatnonzero(dataset.labels_of(first).T.ravel()).tolist() == [2, 3]
    write(tmp_path / "class_dict.csv", [["name", "r", "g", "b"], ["Car", "64", "0", "128"]], how)
    assert colours_beside(tmp_path) == ({"#400080": "Car"}, "class_dict.csv")


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("images/p{}.png", "masks/p{}.png"),
        ("i/IMG_{:03}.png", "m/{}_mask.png"),
        ("a/\u00c9{}.png", "b/e\u0301{:02}.png"),
    ],
)
def test_pairs_that_are_crossed_are_named_however_names_are_spelled(tmp_path: Path, image: str, mask: str) -> None:
    """Rows 3 and 4 have each other's mask."""
    order = [0, 1, 3, 2, 4, 5]
    for k in order:
        save(tmp_path / image.format(k), np.zeros((4, 4, 3), np.uint8))
        save(tmp_path / mask.format(k), np.full((4, 4), 255, np.uint8))
    lines = [f"{image.format(k)},{mask.format(other)}" for k, other in enumerate(order)]
    (tmp_path / "df.csv").write_text("\n".join(["images,masks", *lines]), "utf-8")
    faults = [fault for fault in supervisely.read("s", tmp_path).faults if fault.kind == "crossed"]
    assert [fault.message.partition(":")[0] for fault in faults] == ["row 3", "row 4"]
    (tmp_path / "df.csv").write_text(
        "\n".join(["images,masks", *sorted(f"{image.format(k)},{mask.format(k)}" for k in order)])
    )
    assert supervisely.read("s", tmp_path).faults == ()
