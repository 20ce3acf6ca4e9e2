"""``segstudy init`` as a guide: what was measured, what is a guess, what is in the way, a picture to look at."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import layouts
from fakes import fake_camvid, fake_folder, save
from layouts import BOX, picture
from segstudy.errors import DataError, StoreError
from segstudy.init import write_study_file
from segstudy.spec import load_study


def test_a_guess_is_said_to_be_one(tmp_path: Path) -> None:
    fake_folder(tmp_path / "set", num_images=6, num_classes=5)
    written = write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    text = (tmp_path / "s.yaml").read_text()
    assert "num_classes: 5  # 5 classes: guessed from 6 of 6 masks" in text
    assert "# looked at: 6 of 6 pairs" in text
    assert written.obstacles == ()
    with Image.open(tmp_path / "s-images.jpg") as sheet:
        assert sheet.width == 1280
    with pytest.raises(StoreError, match="exists"):
        write_study_file(tmp_path / "set", tmp_path / "s.yaml")


def test_camvid_is_known_by_its_layout(tmp_path: Path) -> None:
    fake_camvid(tmp_path / "town")
    write_study_file(tmp_path / "town", tmp_path / "s.yaml")
    data = load_study(tmp_path / "s.yaml").data["town"]
    assert data.ignore_values == [11]
    assert data.classes[0] == "sky"
    assert "a guess: the folders and the 12 values are CamVid's" in (tmp_path / "s.yaml").read_text()


def test_all_that_is_in_the_way_is_said_with_the_option_that_removes_it(tmp_path: Path) -> None:
    for k in range(8):
        picture(tmp_path / "set" / "images" / f"{k}.png", k)
        save(tmp_path / "set" / "masks" / f"{k}.png", BOX[::2, ::2] * np.uint8(255))
    picture(tmp_path / "set" / "images" / "lone.png")
    written = write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    kinds = [line.partition(" ")[0] for block in written.obstacles for line in block.splitlines() if line[0] != " "]
    assert kinds == ["image-without-mask", "size-mismatch"]
    text = (tmp_path / "s.yaml").read_text()
    assert "# resize_masks: nearest  # masks have another size than their images in 8 of 8 pairs" in text
    (tmp_path / "s.yaml").write_text(text.replace("# resize_masks: nearest", "resize_masks: nearest"))
    assert load_study(tmp_path / "s.yaml").data["set"].resize_masks == "nearest"


def test_masks_that_are_no_indices_give_the_line_to_add(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "set" / "images" / f"{k}.png", k)
        save(tmp_path / "set" / "masks" / f"{k}.png", np.where(BOX, 255, np.arange(12) // 6 * 128).astype(np.uint8))
    with pytest.raises(DataError, match=r"values: {0: background, 128: class_1, 255: class_2}"):
        write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    text = (tmp_path / "s.yaml").read_text()
    line = "# values: {0: background, 128: class_1, 255: class_2}"
    assert line in text and "num_classes" not in text
    (tmp_path / "s.yaml").write_text(text.replace(line, line[2:]))
    assert load_study(tmp_path / "s.yaml").data["set"].values == {0: "background", 128: "class_1", 255: "class_2"}


def test_numbers_that_are_no_pictures_get_a_scale(tmp_path: Path) -> None:
    layouts.npy_files(tmp_path / "set")
    write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    data = load_study(tmp_path / "s.yaml").data["set"]
    assert data.scale == pytest.approx([-5, 5], abs=0.1)
    assert (data.images, data.masks) == ("images/slice_{id}.npy", "labels/slice_{id}.npy")


@pytest.mark.parametrize(("both", "says"), [(True, r"1 files have names .*'2\\udcff'; rename them"), (False, "")])
def test_names_that_are_not_utf_8_are_refused_or_written_in_ascii(tmp_path: Path, both: bool, says: str) -> None:
    """As zip files from Windows leave them. Of an image alone, the comment that names it has an escape."""
    for k in range(12):
        picture(tmp_path / "set" / "images" / f"{k}.png", k)
        save(tmp_path / "set" / "masks" / f"{k}.png", BOX * np.uint8(255))
    for part in ("images", "masks") if both else ("images",):
        path = tmp_path / "set" / part / "2.png"
        path.rename(path.with_name(os.fsdecode(b"2\xff.png")))
    with pytest.raises(DataError, match=says) if both else contextlib.nullcontext():
        write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    assert both or "2\\udcff.png" in (tmp_path / "s.yaml").read_text()
