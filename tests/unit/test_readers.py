"""The readers on tiny fakes in the true layouts, on broken ones, and on real data where they are."""

from __future__ import annotations

import base64
import json
import os
import shutil
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from sklearn.model_selection import train_test_split

import fakes
from fakes import bitmap_object, polygon_object, save, write_annotation
from segstudy.data.core import Dataset, Sample, load_pair
from segstudy.data.declared import Declared
from segstudy.data.encoding import decide
from segstudy.data.quality import faults
from segstudy.data.quality.pairing import Neighbours, list_images
from segstudy.data.readers import cityscapes, folder, kvasir, supervisely, values
from segstudy.data.stored import facts_of, read_mask
from segstudy.errors import DataError


def ids(dataset: Dataset, split: str) -> list[str]:
    return [sample.id for sample in dataset.samples(split)]


def check_all(dataset: Dataset) -> None:
    """Every pair loads, and its labels are classes or 255."""
    assert len(dataset.classes) == len(dataset.palette)
    for sample in dataset.samples("all"):
        _, labels = load_pair(dataset, sample)
        assert labels.dtype == np.uint8
        assert set(np.unique(labels).tolist()) <= {*range(len(dataset.classes)), 255}


@pytest.mark.parametrize("reader", [cityscapes, kvasir, supervisely, folder])
def test_missing_root_is_named(tmp_path: Path, reader: object) -> None:
    with pytest.raises(DataError, match="absent: no such folder"):
        reader.read("d", tmp_path / "absent")  # type: ignore[attr-defined]


def refuse(dataset: Dataset) -> None:
    """What stands between a dataset and training."""
    faults.refuse(f"dataset '{dataset.name}'", dataset.faults)


# Cityscapes


def test_a_folder_that_cannot_be_listed_is_one_message(tmp_path: Path) -> None:
    long, file = tmp_path / ("x" * 300), tmp_path / "file.png"
    file.touch()
    with pytest.raises(DataError, match=r"xxx: cannot be listed \(File name too long\)$"):
        list_images(long)
    for missing in (file, file / "below", tmp_path / "absent"):
        with pytest.raises(DataError, match=rf"{missing}: no such folder$"):
            list_images(missing)
    for place in (long, file):
        assert Neighbours()(place / "a.png") == ""


@pytest.mark.parametrize("mirror", [False, True])
def test_cityscapes_layouts(tmp_path: Path, mirror: bool) -> None:
    kind = "labelTrainIds" if mirror else "labelIds"
    dataset = cityscapes.read("c", fakes.fake_cityscapes(tmp_path, num_images=3, mirror=mirror, kinds=(kind,)))
    assert ids(dataset, "train") == [
        "train/aachen/aachen_000000_000019",
        "train/aachen/aachen_000002_000019",
        "train/bremen/bremen_000001_000019",
    ]
    assert len(dataset.samples("val")) == 3
    check_all(dataset)


def test_cityscapes_label_ids_follow_the_official_table(tmp_path: Path) -> None:
    # Source: cityscapesScripts, helpers/labels.py: trainId of the ids 0 to 33, and of -1 stored in 8 bits.
    expected = [255] * 7 + [0, 1, 255, 255, 2, 3, 4, 255, 255, 255, 5, 255, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]
    expected += [255, 255, 16, 17, 18, 255]
    path = save(tmp_path / "m.png", np.array([[*range(34), 255]], np.uint8))
    assert cityscapes.labels_from_ids(Sample("x", path, path)).tolist() == [expected]


def test_cityscapes_both_kinds_give_the_same_labels(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path, kinds=("labelIds", "labelTrainIds"))
    by_ids = cityscapes.read("c", root)
    assert by_ids.notes == ()
    labels = [by_ids.labels_of(sample) for sample in by_ids.samples("all")]
    for path in root.rglob("*_labelIds.png"):
        path.unlink()
    by_train_ids = cityscapes.read("c", root)
    assert "labelTrainIds are used as they are" in by_train_ids.notes[0]
    for sample, expected in zip(by_train_ids.samples("all"), labels, strict=True):
        np.testing.assert_array_equal(by_train_ids.labels_of(sample), expected)


def test_cityscapes_classes(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path, num_images=1)
    nineteen, twenty = cityscapes.read("c", root), cityscapes.read("c", root, cityscapes.Options(num_classes=20))
    assert len(nineteen.classes) == 19
    assert (nineteen.classes[0], nineteen.palette[0]) == ("road", (128, 64, 128))
    assert (nineteen.classes[18], nineteen.palette[18]) == ("bicycle", (119, 11, 32))
    assert twenty.classes == (*nineteen.classes, "unused")
    with pytest.raises(DataError, match=r"num_classes is 21, but Cityscapes has 19 \(or 20"):
        cityscapes.read("c", root, cityscapes.Options(num_classes=21))


def test_cityscapes_label_ids_win_over_wrong_train_ids(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path, num_images=4, kinds=("labelIds", "labelTrainIds"))
    first = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelTrainIds.png"
    save(first, np.full((32, 48), 19, np.uint8))
    dataset = cityscapes.read("c", root)
    assert dataset.notes == (
        "labelTrainIds differ from labelIds in 1 of the 6 masks compared (train/aachen/aachen_000000_000019); "
        "labelIds are used",
    )
    assert dataset.samples("train")[0].mask.name.endswith("_labelIds.png")


@pytest.mark.parametrize("value", [19, 33, 254])
def test_cityscapes_wrong_train_ids_are_refused(tmp_path: Path, value: int) -> None:
    root = fakes.fake_cityscapes(tmp_path, kinds=("labelTrainIds",))
    save(root / "gtFine/val/frankfurt/frankfurt_000001_000019_gtFine_labelTrainIds.png", np.full((32, 48), value, "u1"))
    with pytest.raises(
        DataError, match=rf"(?s)frankfurt_000001.*values {value} are not train ids.*labelIds\.png next to"
    ):
        refuse(cityscapes.read("c", root, cityscapes.Options(num_classes=20)))


def test_cityscapes_wrong_label_ids_are_refused(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path)
    mask = save(root / "gtFine/val/frankfurt/frankfurt_000000_000019_gtFine_labelIds.png", np.full((32, 48), 34, "u1"))
    dataset = cityscapes.read("c", root)
    with pytest.raises(DataError, match=f"{mask.name}: values 34 are not Cityscapes label ids"):
        dataset.labels_of(dataset.samples("val")[0])


def test_cityscapes_lone_files_are_named_at_once(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path)
    (root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png").unlink()
    (root / "leftImg8bit/val/frankfurt/frankfurt_000003_000019_leftImg8bit.png").unlink()
    dataset = cityscapes.read("c", root)
    assert [(fault.kind, fault.split, fault.sample) for fault in dataset.faults] == [
        ("image-without-mask", "train", "train/aachen/aachen_000000_000019"),
        ("mask-without-image", "val", "val/frankfurt/frankfurt_000003_000019"),
    ]
    assert (len(dataset.samples("train")), len(dataset.samples("val"))) == (3, 3)
    match = (
        r"(?s)2 faults\nimage-without-mask \(1\).*aachen_000000.*labelIds.*mask-without-image \(1\).*frankfurt_000003"
    )
    with pytest.raises(DataError, match=match):
        refuse(dataset)


def test_cityscapes_ending_in_another_case_is_told(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path)
    mask = root / "gtFine/train/aachen/aachen_000000_000019_gtFine_labelIds.png"
    mask.rename(mask.with_name(mask.name.replace("labelIds.png", "labelids.PNG")))
    (fault,) = cityscapes.read("c", root).faults
    assert fault.kind == "image-without-mask"
    assert "('aachen_000000_000019_gtFine_labelids.PNG' has an ending that is not read)" in fault.message


def test_cityscapes_without_masks_asks_for_label_ids(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path, kinds=())
    (root / "gtFine").mkdir()
    with pytest.raises(DataError, match=r"image-without-mask \(8\)(?s:.*)gtFine/\*_gtFine_labelIds\.png"):
        cityscapes.read("c", root)


def test_cityscapes_other_folder_says_what_it_found(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    with pytest.raises(DataError, match=r"expected leftImg8bit/ \(or images/\) and gtFine/ here; found pictures"):
        cityscapes.read("c", tmp_path)


def test_cityscapes_without_splits_is_an_error(tmp_path: Path) -> None:
    fakes.fake_cityscapes(tmp_path, num_images=1, splits=("train",))
    shutil.rmtree(tmp_path / "leftImg8bit" / "train")
    with pytest.raises(DataError, match="holds no train/<city>"):
        cityscapes.read("c", tmp_path)


def test_cityscapes_dummy_test_masks_are_left_out(tmp_path: Path) -> None:
    dataset = cityscapes.read("c", fakes.fake_cityscapes(tmp_path, splits=("train", "val", "test")))
    assert list(dataset.splits) == ["train", "val"]
    assert dataset.notes == ("the split 'test' is left out: the first masks of its 4 hold no class",)


def test_cityscapes_true_test_masks_are_used(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path, splits=("train", "val", "test"))
    save(root / "gtFine/test/berlin/berlin_000001_000019_gtFine_labelIds.png", np.full((32, 48), 7, np.uint8))
    assert len(cityscapes.read("c", root).samples("test")) == 4


# Kvasir-SEG


@pytest.mark.parametrize("place", ["", "Kvasir-SEG", "kvasir-seg/Kvasir-SEG"])
def test_kvasir_is_found_in_or_below_the_root(tmp_path: Path, place: str) -> None:
    fakes.fake_kvasir(tmp_path / place, num_images=5)
    dataset = kvasir.read("k", tmp_path)
    assert dataset.classes == ("background", "polyp")
    assert (len(dataset.samples("train")), len(dataset.samples("test"))) == (4, 1)
    check_all(dataset)


@pytest.mark.parametrize(("count", "fraction", "seed"), [(5, 0.2, 42), (11, 0.2, 42), (12, 0.3, 1)])
def test_kvasir_split_is_scikit_learns_over_sorted_names(
    tmp_path: Path, count: int, fraction: float, seed: int
) -> None:
    dataset = kvasir.read(
        "k", fakes.fake_kvasir(tmp_path, num_images=count), kvasir.Options(test_fraction=fraction, split_seed=seed)
    )
    names = sorted(path.name for path in (tmp_path / "images").iterdir())
    train, test = train_test_split(names, test_size=fraction, random_state=seed)
    assert [sample.image.name for sample in dataset.samples("train")] == train
    assert [sample.image.name for sample in dataset.samples("test")] == test


def test_kvasir_jpeg_masks_give_two_labels_that_fill_the_blob(tmp_path: Path) -> None:
    dataset = kvasir.read("k", fakes.fake_kvasir(tmp_path, size=(48, 32)))
    for sample in dataset.samples("all"):
        labels = dataset.labels_of(sample)
        assert np.unique(labels).tolist() == [0, 1]
        assert abs(int(labels.sum()) - 16 * 10) <= 16  # a third of each side, but for JPEG at the rim


def test_kvasir_not_there(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match="Kvasir-SEG not found; expected the folders images/ and masks/"):
        kvasir.read("k", tmp_path)


def test_kvasir_unpaired(tmp_path: Path) -> None:
    fakes.fake_kvasir(tmp_path)
    (tmp_path / "masks" / "cju003.jpg").unlink()
    dataset = kvasir.read("k", tmp_path)
    with pytest.raises(DataError, match=r"(?s)dataset 'k': 1 fault\n.*cju003\.jpg: no mask of this name in .*masks"):
        refuse(dataset)
    assert [sample.id for sample in sorted(dataset.samples("all"))] == ["cju000", "cju001", "cju002", "cju004"]


def test_kvasir_truncated_mask(tmp_path: Path) -> None:
    fakes.fake_kvasir(tmp_path)
    mask = tmp_path / "masks" / "cju000.jpg"
    mask.write_bytes(mask.read_bytes()[:700])
    dataset = kvasir.read("k", tmp_path)
    sample = next(sample for sample in dataset.samples("all") if sample.id == "cju000")
    with pytest.raises(DataError, match=r"cju000\.jpg: the image cannot be decoded"):
        dataset.labels_of(sample)


# Supervisely, the table of files


@pytest.mark.parametrize("place", ["", "person", "supervisely"])
def test_csv_is_found_in_or_below_the_root(tmp_path: Path, place: str) -> None:
    fakes.fake_supervisely_csv(tmp_path / place)
    dataset = supervisely.read("p", tmp_path)
    assert dataset.classes == ("background", "person")
    check_all(dataset)


@pytest.mark.parametrize("count", [5, 8, 13])
def test_csv_split_is_scikit_learns_over_the_rows(tmp_path: Path, count: int) -> None:
    dataset = supervisely.read("p", fakes.fake_supervisely_csv(tmp_path, num_images=count))
    rows = [f"ds{k % 3}_photo-{k:02d}" for k in reversed(range(count))]
    train, test = train_test_split(rows, test_size=0.2, random_state=42)
    assert ids(dataset, "train") == train
    assert ids(dataset, "test") == test


@pytest.mark.parametrize("depth", [0, 1])
def test_csv_files_may_lie_higher(tmp_path: Path, depth: int) -> None:
    fakes.fake_supervisely_csv(tmp_path)
    inner, target = tmp_path / fakes.INNER / fakes.INNER, (tmp_path, tmp_path / fakes.INNER)[depth]
    for part in ("images", "masks"):
        shutil.move(inner / part, target / part)
    check_all(supervisely.read("p", tmp_path))


def test_csv_masks_may_be_rgba(tmp_path: Path) -> None:
    fakes.fake_supervisely_csv(tmp_path)
    dataset = supervisely.read("p", tmp_path)
    sample = dataset.samples("train")[0]
    truth = np.zeros((32, 48), np.uint8)
    truth[4:9, 7:20] = 1
    rgba = np.dstack([truth * 255] * 3 + [np.full_like(truth, 255)])
    save(sample.mask, rgba)
    np.testing.assert_array_equal(dataset.labels_of(sample), truth)


def write_rows(root: Path, *rows: str, head: str = ",images,masks,collages") -> None:
    (root / "df.csv").write_text("\n".join([head, *rows]))


def test_csv_crossed_rows_and_shared_masks_are_named(tmp_path: Path) -> None:
    """Image k stands with mask k + 1, the last with the first; then every image with one mask; then all is right."""
    for k in range(4):
        save(tmp_path / "i" / f"p{k}.png", np.full((2, 2, 3), k, np.uint8))
        save(tmp_path / "m" / f"p{k}_mask.png", np.array([[0, 255], [0, 0]], np.uint8))
    write_rows(tmp_path, *(f"{k},i/p{k}.png,m/p{(k + 1) % 4}_mask.png,c" for k in range(4)))
    faults = supervisely.read("p", tmp_path).faults
    assert [(fault.kind, fault.severity) for fault in faults] == [("crossed", "error")] * 4
    assert "row 4: the mask 'm/p0_mask.png' of 'i/p3.png' is named like the image of row 1" in faults[3].message
    write_rows(tmp_path, *(f"{k},i/p{k}.png,m/p0_mask.png,c" for k in range(4)))
    (fault,) = (fault for fault in supervisely.read("p", tmp_path).faults if fault.severity == "error")
    assert (fault.kind, fault.message.partition(" all name")[0]) == ("shared-mask", "rows 1, 2, 3, 4")
    write_rows(tmp_path, *(f"{k},i/p{k}.png,m/p{k}_mask.png,c" for k in range(4)))
    assert supervisely.read("p", tmp_path).faults == ()


def test_csv_missing_files_are_all_named(tmp_path: Path) -> None:
    fakes.fake_supervisely_csv(tmp_path)
    base = tmp_path / fakes.INNER / fakes.INNER
    (base / "images" / "ds0_photo-00.png").unlink()
    (base / "masks" / "ds1_photo-04.png").unlink()
    dataset = supervisely.read("p", tmp_path)
    assert [(fault.kind, fault.sample) for fault in dataset.faults] == [
        ("image-without-mask", "ds1_photo-04"),
        ("mask-without-image", "ds0_photo-00"),
    ]
    with pytest.raises(DataError, match=r"(?s)2 faults.*masks/ds1_photo-04\.png.*images/ds0_photo-00\.png"):
        refuse(dataset)


def test_csv_missing_file_is_told_with_what_lies_there(tmp_path: Path) -> None:
    fakes.fake_supervisely_csv(tmp_path)
    mask = tmp_path / fakes.INNER / fakes.INNER / "masks" / "ds0_photo-00.png"
    mask.rename(mask.with_name("DS0_photo-00.png"))
    (fault,) = supervisely.read("p", tmp_path).faults
    assert "missing ('DS0_photo-00.png' there differs only in upper and lower case)" in fault.message


@pytest.mark.parametrize("path", ["../secret.png", "/etc/passwd", "images/../../x.png", "C:\\x.png", "..\\x.png", "."])
@pytest.mark.parametrize("column", [0, 1])
def test_csv_paths_may_not_leave_the_folder(tmp_path: Path, path: str, column: int) -> None:
    fakes.fake_supervisely_csv(tmp_path)
    cells = ["images/ds0_photo-00.png", "masks/ds0_photo-00.png"]
    cells[column] = path
    write_rows(tmp_path, f"0,{cells[0]},{cells[1]},c")
    with pytest.raises(DataError, match=r"df\.csv: row 1: .* is not a file inside the dataset's folder"):
        supervisely.read("p", tmp_path)


def test_csv_lacking_a_column(tmp_path: Path) -> None:
    write_rows(tmp_path, "a,b", head="image,masks")
    with pytest.raises(DataError, match="lacks the column images; it has image, masks"):
        supervisely.read("p", tmp_path)


def test_csv_without_rows(tmp_path: Path) -> None:
    write_rows(tmp_path)
    with pytest.raises(DataError, match=r"df\.csv: has no rows"):
        supervisely.read("p", tmp_path)


def test_csv_with_an_empty_cell(tmp_path: Path) -> None:
    fakes.fake_supervisely_csv(tmp_path)
    rows = [f"{k},images/ds{k}_photo-0{k}.png,masks/ds{k}_photo-0{k}.png,c" for k in range(3)]
    write_rows(tmp_path, *rows, "1,images/ds1_photo-01.png")
    with pytest.raises(DataError, match="row 4: names no image or no mask; correct the row or take it out"):
        refuse(supervisely.read("p", tmp_path))


@pytest.mark.parametrize("content", [b"\xff\xfe\x00images", b'images,masks\n"open,b'])
def test_csv_that_is_none(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "df.csv").write_bytes(content)
    with pytest.raises(DataError, match="cannot be read as CSV"):
        supervisely.read("p", tmp_path)


def test_csv_same_image_twice(tmp_path: Path) -> None:
    fakes.fake_supervisely_csv(tmp_path)
    rows = [f"{k},images/ds{k}_photo-0{k}.png,masks/ds{k}_photo-0{k}.png,c" for k in range(3)]
    write_rows(tmp_path, *rows, rows[0])
    with pytest.raises(DataError, match="row 4: 'ds0_photo-00' is also in an earlier row"):
        refuse(supervisely.read("p", tmp_path))


def test_supervisely_not_there_or_twice(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"expected df\.csv .* or meta\.json"):
        supervisely.read("p", tmp_path)
    fakes.fake_supervisely_csv(tmp_path / "a")
    fakes.fake_supervisely_project(tmp_path / "b")
    with pytest.raises(DataError, match=r"holds several datasets \(a/df\.csv, b/meta\.json\)"):
        supervisely.read("p", tmp_path)


# Supervisely, projects

LABEL_OF = {"person_bmp": 1, "person_poly": 2, "neutral": 255}


def drawn(tmp_path: Path, *objects: object, size: tuple[int, int] = (12, 10)) -> np.ndarray:
    path = write_annotation(tmp_path / "a.png.json", size, list(objects))
    return supervisely.annotation_labels(Sample("a", tmp_path / "a.png", path), LABEL_OF)


def test_project_layout(tmp_path: Path) -> None:
    dataset = supervisely.read("p", fakes.fake_supervisely_project(tmp_path, num_images=6))
    assert dataset.classes == ("background", "person")
    order = ["ds1/photo0", "ds1/photo2", "ds1/photo4", "ds2/photo1", "ds2/photo3", "ds2/photo5"]
    train, test = train_test_split(order, test_size=0.2, random_state=42)
    assert (ids(dataset, "train"), ids(dataset, "test")) == (train, test)
    check_all(dataset)
    assert all(dataset.labels_of(sample)[2, 2] == 1 for sample in dataset.samples("all"))


def test_project_of_other_classes_keeps_them_apart(tmp_path: Path) -> None:
    root = fakes.fake_supervisely_project(tmp_path)
    for path in [root / "meta.json", *root.glob("*/ann/*.json")]:
        path.write_text(path.read_text().replace("person_poly", "bicycle"))
    dataset = supervisely.read("p", root)
    assert dataset.classes == ("background", "person_bmp", "bicycle")
    assert dataset.palette[1:] == ((0xD0, 0x02, 0x1B), (0, 0, 255))
    assert dataset.labels_of(dataset.samples("train")[0])[2, 2] == 2


def test_project_older_names_of_annotations(tmp_path: Path) -> None:
    root = fakes.fake_supervisely_project(tmp_path)
    for path in list(root.glob("*/ann/*.json")):
        path.rename(path.with_name(path.name.replace(".png", "")))
    check_all(supervisely.read("p", root))


def test_bitmap_lies_at_its_origin(tmp_path: Path) -> None:
    mask = np.array([[1, 0, 1], [0, 1, 1]], bool)
    expected = np.zeros((10, 12), np.uint8)
    expected[3:5, 5:8] = mask
    np.testing.assert_array_equal(drawn(tmp_path, bitmap_object(mask, origin=(5, 3))), expected)


def png_object(image: Image.Image, tmp_path: Path) -> dict[str, object]:
    image.save(tmp_path / "b.png")
    data = base64.b64encode(zlib.compress((tmp_path / "b.png").read_bytes())).decode()
    # The older format: 'type', and points that mean nothing.
    return {"classTitle": "person_bmp", "type": "bitmap", "bitmap": {"data": data, "origin": [0, 0]}, "points": {}}


@pytest.mark.parametrize("mode", ["L", "1", "RGBA"])
def test_bitmap_of_other_png_modes(tmp_path: Path, mode: str) -> None:
    mask = np.zeros((10, 12), np.uint8)
    mask[2:5, 3:9] = 255
    image = Image.fromarray(mask).convert("L" if mode == "RGBA" else mode)
    if mode == "RGBA":
        image = Image.merge("RGBA", [*[Image.new("L", (12, 10), 255)] * 3, image])
    np.testing.assert_array_equal(drawn(tmp_path, png_object(image, tmp_path)), mask // 255)


def test_polygon_with_a_hole(tmp_path: Path) -> None:
    labels = drawn(tmp_path, polygon_object([[1, 1], [9, 1], [9, 8], [1, 8]], [[[3, 3], [6, 3], [6, 5], [3, 5]]]))
    expected = np.zeros((10, 12), np.uint8)
    expected[1:9, 1:10] = 2
    expected[3:6, 3:7] = 0
    np.testing.assert_array_equal(labels, expected)


def test_later_objects_cover_earlier_ones_and_neutral_is_ignored(tmp_path: Path) -> None:
    full = np.ones((10, 12), bool)
    square = polygon_object([[0, 0], [3, 0], [3, 3], [0, 3]])
    neutral = bitmap_object(np.ones((2, 2), bool), origin=(10, 8), title="neutral")
    labels = drawn(tmp_path, bitmap_object(full), square, neutral)
    assert (labels[:4, :4] == 2).all()
    assert (labels[8:, 10:] == 255).all()
    assert (labels == 1).sum() == 120 - 16 - 4


def test_hole_shows_what_lies_below(tmp_path: Path) -> None:
    ring = polygon_object([[0, 0], [11, 0], [11, 9], [0, 9]], [[[4, 4], [7, 4], [7, 6], [4, 6]]])
    labels = drawn(tmp_path, bitmap_object(np.ones((10, 12), bool)), ring)
    assert (labels[4:7, 4:8] == 1).all()
    assert (labels == 2).sum() == 120 - 12


def test_shapes_beyond_the_border_are_cut(tmp_path: Path) -> None:
    labels = drawn(tmp_path, bitmap_object(np.ones((4, 4), bool), origin=(-2, 8)))
    assert (labels == 1).sum() == 4
    assert (labels[8:, :2] == 1).all()


def broken_bitmap(data: str) -> dict[str, object]:
    return {"classTitle": "person_bmp", "geometryType": "bitmap", "bitmap": {"data": data, "origin": [0, 0]}}


def packed(content: bytes) -> str:
    return base64.b64encode(zlib.compress(content)).decode()


BROKEN_OBJECTS = {
    "unknown class": (
        polygon_object([[0, 0]] * 3, title="person_pol"),
        r"not in meta\.json \(did you mean 'person_poly'",
    ),
    "unknown shape": ({"classTitle": "person_bmp", "geometryType": "cuboid"}, "the shape 'cuboid' .* convert it"),
    "no class": ({"geometryType": "polygon"}, "'classTitle' is missing"),
    "not an object": (7, "object 1 is malformed"),
    "class is a list": ({"classTitle": []}, "object 1 is malformed"),
    "two corners": (polygon_object([[0, 0], [5, 5]]), "needs three or more points"),
    "corners of words": (polygon_object([["a", "b"]] * 3), "object 1 is malformed"),
    "corners of three": (polygon_object([[1, 2, 3]] * 3), "object 1 is malformed"),
    "corner at infinity": (polygon_object([[0, 0], [1, 1], [float("inf"), 0]]), "near the image"),
    "no points": ({"classTitle": "person_poly", "geometryType": "polygon"}, "'points' is missing"),
    "no bitmap": ({"classTitle": "person_poly", "geometryType": "bitmap", "bitmap": None}, "object 1 is malformed"),
    "not base64": (broken_bitmap("%%%"), "object 1 is malformed"),
    "not zlib": (broken_bitmap(base64.b64encode(b"hello").decode()), "the bitmap cannot be decoded"),
    "zlib cut off": (broken_bitmap(base64.b64encode(zlib.compress(b"x" * 99)[:-6]).decode()), "cut off"),
    "not PNG": (broken_bitmap(packed(b"hello")), "the bitmap cannot be decoded"),
    "bitmap too large": (bitmap_object(np.ones((11, 12), bool)), "12x11 is larger than the image"),
}


@pytest.mark.parametrize("case", BROKEN_OBJECTS)
def test_broken_objects_name_the_file(tmp_path: Path, case: str) -> None:
    thing, match = BROKEN_OBJECTS[case]
    with pytest.raises(DataError, match=rf"(?s)a\.png\.json: .*{match}"):
        drawn(tmp_path, thing)


def test_zlib_bomb_is_not_inflated(tmp_path: Path) -> None:
    bomb = packed(bytes(supervisely.MAX_PNG_BYTES + 1))
    assert len(bomb) < 100_000
    with pytest.raises(DataError, match="too large when decompressed"):
        drawn(tmp_path, broken_bitmap(bomb))


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{not json", "cannot be read as JSON"),
        ("[" * 100_000, "cannot be read as JSON"),
        ("[]", "has 'size' and 'objects'"),
        ('{"size": {"width": 4, "height": 4}}', "'objects' is missing"),
        ('{"size": {"width": "4", "height": 4}, "objects": []}', "the size '4' x 4 is not that of an image"),
        ('{"size": {"width": 100000, "height": 100000}, "objects": []}', "is not that of an image"),
        ('{"size": {"width": 0, "height": 4}, "objects": []}', "the size 0 x 4"),
    ],
)
def test_malformed_annotations(tmp_path: Path, text: str, match: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(DataError, match=rf"(?s)a\.json: .*{match}"):
        supervisely.annotation_labels(Sample("a", tmp_path, tmp_path / "a.json"), LABEL_OF)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "cannot be read as JSON"),
        ("{}", "expected 'classes', each with a 'title'"),
        ('{"classes": [{"name": "x"}]}', "'title' is missing"),
        ('{"classes": []}', "names no class to segment; titles are none"),
        ('{"classes": [{"title": "neutral"}]}', "names no class to segment; titles are neutral"),
        ('{"classes": [{"title": "a"}, {"title": "a"}]}', "two classes have the same title"),
        (json.dumps({"classes": [{"title": str(k)} for k in range(255)]}), "255 classes; at most 254"),
    ],
)
def test_malformed_meta(tmp_path: Path, text: str, match: str) -> None:
    root = fakes.fake_supervisely_project(tmp_path)
    (root / "meta.json").write_text(text)
    with pytest.raises(DataError, match=rf"meta\.json: .*{match}"):
        supervisely.read("p", root)


def test_project_lone_files_are_named_at_once(tmp_path: Path) -> None:
    root = fakes.fake_supervisely_project(tmp_path)
    (root / "ds1/ann/photo0.png.json").unlink()
    (root / "ds2/img/photo3.png").unlink()
    match = (
        r"(?s)ds1/img/photo0\.png: no mask of this name in ds1/ann.*ds2/ann/photo3\.png\.json: no image of this name"
    )
    with pytest.raises(DataError, match=match):
        refuse(supervisely.read("p", root))


def test_project_without_datasets(tmp_path: Path) -> None:
    root = fakes.fake_supervisely_project(tmp_path)
    for part in ("ds1", "ds2"):
        shutil.rmtree(root / part)
    with pytest.raises(DataError, match=r"holds meta\.json but no <dataset>/img"):
        supervisely.read("p", root)


def test_project_size_must_be_the_images(tmp_path: Path) -> None:
    root = fakes.fake_supervisely_project(tmp_path)
    write_annotation(root / "ds1/ann/photo0.png.json", (10, 10), [])
    dataset = supervisely.read("p", root)
    sample = next(sample for sample in dataset.samples("all") if sample.id == "ds1/photo0")
    with pytest.raises(DataError, match=r"the image is 48x32 but its mask photo0\.png\.json is 10x10"):
        load_pair(dataset, sample)


# Folders


def test_camvid(tmp_path: Path) -> None:
    dataset = folder.read("f", fakes.fake_camvid(tmp_path), folder.Options(ignore_values=[11]))
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 4, "val": 4, "test": 4}
    assert ids(dataset, "val")[0] == "val/val_000"
    assert len(dataset.classes) == 11
    assert dataset.notes == ("11 classes, guessed from 12 of 12 masks",)
    check_all(dataset)
    assert dataset.labels_of(dataset.samples("train")[0])[0, :12].tolist() == [*range(11), 255]


def arrange(root: Path, image_folder: str, mask_folder: str, valid: str = "val") -> Path:
    """CamVid's fake in another arrangement of folders."""
    source = fakes.fake_camvid(root / "source")
    for split, alias in (("train", "train"), ("val", valid), ("test", "test")):
        shutil.copytree(source / split, root / "other" / image_folder.format(alias))
        shutil.copytree(source / f"{split}annot", root / "other" / mask_folder.format(alias))
    return root / "other"


@pytest.mark.parametrize(("image_folder", "mask_folder"), [("images/{}", "masks/{}"), ("{}/images", "{}/masks")])
@pytest.mark.parametrize("valid", ["val", "valid", "validation"])
def test_folders_by_split(tmp_path: Path, image_folder: str, mask_folder: str, valid: str) -> None:
    dataset = folder.read("f", arrange(tmp_path, image_folder, mask_folder, valid), folder.Options(num_classes=12))
    assert list(dataset.splits) == ["train", "val", "test"]
    assert ids(dataset, "val") == [f"val/val_{k:03d}" for k in range(4)]
    assert dataset.notes == ()
    check_all(dataset)


def test_test_images_without_masks_are_left_out_with_a_note(tmp_path: Path) -> None:
    root = arrange(tmp_path, "images/{}", "masks/{}")
    shutil.rmtree(root / "masks/test")
    dataset = folder.read("f", root, folder.Options(num_classes=12))
    assert list(dataset.splits) == ["train", "val"]
    assert "images/test is left out: it has no masks" in dataset.notes[0]


def test_train_images_without_masks_are_an_error(tmp_path: Path) -> None:
    root = arrange(tmp_path, "images/{}", "masks/{}")
    shutil.rmtree(root / "masks/train")
    with pytest.raises(DataError, match="masks/train: no such folder"):
        folder.read("f", root, folder.Options(num_classes=12))


def test_two_names_of_one_split_are_refused(tmp_path: Path) -> None:
    root = arrange(tmp_path, "images/{}", "masks/{}")
    shutil.copytree(root / "images/val", root / "images/valid")
    with pytest.raises(DataError, match="images/valid are one split by several names"):
        folder.read("f", root, folder.Options(num_classes=12))


def test_plain_folder_is_divided_as_by_scikit_learn(tmp_path: Path) -> None:
    dataset = folder.read(
        "f", fakes.fake_folder(tmp_path, num_images=11), folder.Options(test_fraction=0.3, split_seed=5)
    )
    names = [f"scene{k:02d}" for k in range(11)]
    train, test = train_test_split(names, test_size=0.3, random_state=5)
    assert (ids(dataset, "train"), ids(dataset, "test")) == (train, test)
    assert dataset.classes == ("background", "foreground")
    check_all(dataset)
    assert all(np.unique(dataset.labels_of(sample)).tolist() == [0, 1] for sample in dataset.samples("all"))


def listed(root: Path, where: str = "", **lists: str) -> Path:
    fakes.fake_folder(root, num_images=6)
    (root / where).mkdir(exist_ok=True)
    for split, text in lists.items():
        (root / where / f"{split}.txt").write_text(text)
    return root


@pytest.mark.parametrize("where", ["", "splits"])
def test_lists_give_the_splits(tmp_path: Path, where: str) -> None:
    root = listed(tmp_path, where, train="scene03\nscene01.jpg\n\n", valid="scene00\r\n", test="scene05")
    dataset = folder.read("f", root)
    assert ids(dataset, "train") == ["scene03", "scene01"]
    assert (ids(dataset, "val"), ids(dataset, "test")) == (["scene00"], ["scene05"])
    said = [fault.message for fault in dataset.faults]
    assert said == ["2 images stand in no list and are left out: scene02, scene04; add them to a list"]


def test_wrong_lists_name_every_line(tmp_path: Path) -> None:
    root = listed(tmp_path, train="scene00\nscene01\nscene01.jpg\nscene77", test="scene02\nscene00", val="\n")
    dataset = folder.read("f", root)
    errors = [fault for fault in dataset.faults if fault.severity == "error"]
    assert [(fault.file.name, fault.message.partition(";")[0]) for fault in errors if fault.file] == [
        ("train.txt", "line 3: 'scene01.jpg' already stands in train.txt, line 2"),
        ("train.txt", "line 4: 'scene77' is not an image in images/"),
        ("val.txt", "names no image"),
        ("test.txt", "line 2: 'scene00' already stands in train.txt, line 1"),
    ]
    assert {split: ids(dataset, split) for split in dataset.splits} == {
        "train": ["scene00", "scene01"],
        "test": ["scene02"],
    }
    with pytest.raises(DataError, match=r"table \(4\)"):
        refuse(dataset)


def test_a_listed_image_without_a_mask_is_one_fault(tmp_path: Path) -> None:
    root = listed(tmp_path, train="scene00\nscene01", test="scene02")
    (root / "masks" / "scene01.png").unlink()
    dataset = folder.read("f", root)
    assert [fault.kind for fault in dataset.faults] == ["image-without-mask", "left-out"]
    assert ids(dataset, "train") == ["scene00"]
    assert "3 images stand in no list" in dataset.faults[1].message


def test_lists_in_two_places_are_refused(tmp_path: Path) -> None:
    root = listed(listed(tmp_path, train="scene00", test="scene01"), "splits", train="scene02")
    with pytest.raises(DataError, match="several lists for 'train'"):
        folder.read("f", root)


def test_list_that_is_no_text(tmp_path: Path) -> None:
    (listed(tmp_path, test="scene00") / "train.txt").write_bytes(b"\xff\xfe\x81")
    with pytest.raises(DataError, match=r"train\.txt: cannot be read as text"):
        folder.read("f", tmp_path)


def test_no_layout_fits(tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "readme.md").touch()
    with pytest.raises(DataError, match=r"(?s)no known layout; found pictures/, readme\.md\. Accepted are.*trainannot"):
        folder.read("f", tmp_path)


def test_classes_by_name_and_number(tmp_path: Path) -> None:
    root = fakes.fake_folder(tmp_path, num_classes=3)
    assert folder.read("f", root, folder.Options(classes=["sky", "road", "car"])).classes == ("sky", "road", "car")
    assert folder.read("f", root, folder.Options(num_classes=4)).classes == ("class_0", "class_1", "class_2", "class_3")
    with pytest.raises(DataError, match="num_classes is 4, but 3 classes are named"):
        folder.read("f", root, folder.Options(classes=["sky", "road", "car"], num_classes=4))
    with pytest.raises(DataError, match="named more than once: sky"):
        folder.read("f", root, folder.Options(classes=["sky", "road", "sky"]))
    with pytest.raises(ValidationError, match="less than or equal to 255"):
        folder.Options(num_classes=256)


def test_values_outside_the_classes_say_the_fix(tmp_path: Path) -> None:
    dataset = folder.read("f", fakes.fake_folder(tmp_path, num_classes=5), folder.Options(num_classes=3))
    with pytest.raises(DataError, match="values 3, 4 lie outside the 3 classes 0-2; set num_classes to 5 or more"):
        dataset.labels_of(dataset.samples("train")[0])


def masks_of(root: Path, *values: list[int]) -> list[Path]:
    return [save(root / f"{k}.png", np.array([row], np.uint8)) for k, row in enumerate(values)]


def guessed(masks: list[Path], ignored: tuple[int, ...] = ()) -> int:
    facts = [facts_of(read_mask(mask)) for mask in masks]
    return decide(facts, Declared(ignore_values=ignored), masks[0].parent).num_classes


@pytest.mark.parametrize(
    ("values", "ignored", "expected"),
    [
        ([[0, 255], [0, 0]], (), 2),
        ([[0, 1], [0, 0]], (), 2),
        ([[0, 1], [0, 255]], (255,), 2),
        ([[0, 1, 2], [4, 255, 0]], (), 5),
        ([[0, 1, 2, 3, 11]], (11,), 4),
    ],
)
def test_guessed_classes(tmp_path: Path, values: list[list[int]], ignored: tuple[int, ...], expected: int) -> None:
    assert guessed(masks_of(tmp_path, *values), ignored) == expected


def test_guess_looks_at_few_masks_from_first_to_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(values, "MAX_LOOKED_AT", 3)
    root = fakes.fake_folder(tmp_path, num_images=9, num_classes=4)
    (root / "masks/scene01.png").write_text("never read")
    assert folder.read("f", root).notes == ("4 classes, guessed from 3 of 9 masks",)


def test_guess_refuses_grey_levels_and_empty_masks(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the masks hold 80 different values up to 79, too many"):
        guessed(masks_of(tmp_path, list(range(80))))
    with pytest.raises(DataError, match="the masks looked at hold only 0; give classes or num_classes"):
        guessed(masks_of(tmp_path, [0, 0]))


def test_jpeg_masks_are_two_classes_and_no_more(tmp_path: Path) -> None:
    fakes.fake_kvasir(tmp_path)
    dataset = folder.read("f", tmp_path)
    assert dataset.classes == ("background", "foreground")
    assert all(np.unique(dataset.labels_of(sample)).tolist() == [0, 1] for sample in dataset.samples("all"))
    with pytest.raises(DataError, match=r"JPEG alters values, .* not the indices of 4"):
        folder.read("f", tmp_path, folder.Options(num_classes=4))


def test_255_means_one_thing_in_the_whole_dataset(tmp_path: Path) -> None:
    root = fakes.fake_folder(tmp_path)
    white = save(root / "masks/scene00.png", np.full((32, 48), 1, np.uint8))
    with pytest.raises(DataError, match=r"some masks hold 0 and 1, others 0 and 255.*ignore_values: \[255\]"):
        folder.read("f", root, folder.Options(num_classes=2))
    dataset = folder.read("f", root, folder.Options(num_classes=2, ignore_values=[255]))
    sample = next(sample for sample in dataset.samples("all") if sample.id == "scene01")
    assert set(np.unique(dataset.labels_of(sample)).tolist()) == {0, 255}
    dataset = folder.read("f", root, folder.Options(values={0: "background", 1: "thing", 255: "thing"}))
    assert set(np.unique(dataset.labels_of(sample)).tolist()) == {0, 1}
    save(white, np.zeros((32, 48), np.uint8))
    dataset = folder.read("f", root, folder.Options(num_classes=2))  # 0 and 255 only
    save(white, np.full((32, 48), 1, np.uint8))
    sample = next(sample for sample in dataset.samples("all") if sample.id == "scene00")
    with pytest.raises(DataError, match=r"scene00\.png: holds 1, while other masks of the dataset hold 0 and 255 only"):
        dataset.labels_of(sample)


def test_coloured_masks_are_refused(tmp_path: Path) -> None:
    root = fakes.fake_folder(tmp_path)
    save(root / "masks/scene00.png", fakes.random_image(np.random.default_rng(0), (48, 32)))
    dataset = folder.read("f", root)
    assert dataset.classes == ("background", "foreground")  # told from the other masks
    with pytest.raises(DataError, match=r"scene00\.png: the mask is coloured"):
        refuse(dataset)
    for path in (root / "masks").iterdir():
        path.write_text("no image")
    with pytest.raises(DataError, match=r"(?s)no mask can be read.*unreadable \(5\)"):
        folder.read("f", root)


def test_palette_of_the_masks_is_used(tmp_path: Path) -> None:
    root = fakes.fake_folder(tmp_path, num_classes=3)
    for path in (root / "masks").iterdir():
        with Image.open(path) as image:
            image.load()
        image.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
        image.save(path)
    dataset = folder.read("f", root, folder.Options(num_classes=4))
    assert dataset.palette[:3] == ((0, 0, 0), (128, 0, 0), (0, 128, 0))
    assert dataset.palette[3] not in dataset.palette[:3]
    check_all(dataset)


def test_default_palette_is_distinct_and_grows_in_place() -> None:
    palette = values.default_palette(256)
    assert len(set(palette)) == 256
    assert palette[:3] == ((0, 0, 0), (230, 159, 0), (86, 180, 233))  # black, then Okabe and Ito's order
    assert values.default_palette(21) == palette[:21]
    with pytest.raises(DataError, match="0 to 256 colours, not 257"):
        values.default_palette(257)


# Real data


@pytest.fixture
def real() -> Path:
    if not os.environ.get("SEGSTUDY_DATA"):
        pytest.skip("SEGSTUDY_DATA is not set: no real data to read")
    return Path(os.environ["SEGSTUDY_DATA"])


@pytest.mark.parametrize("place", ["", "kvasir-seg", "kvasir-seg/Kvasir-SEG"])
def test_real_kvasir(real: Path, place: str) -> None:
    dataset = kvasir.read("kvasir", real / place)
    assert (len(dataset.samples("train")), len(dataset.samples("test"))) == (800, 200)
    names = sorted(path.name for path in (real / "kvasir-seg/Kvasir-SEG/images").iterdir())
    assert [sample.image.name for sample in dataset.samples("test")] == train_test_split(
        names, test_size=0.2, random_state=42
    )[1]


def test_real_kvasir_foreground(real: Path) -> None:
    dataset = kvasir.read("kvasir", real)
    shares = [load_pair(dataset, sample)[1].mean() for sample in dataset.samples("all")[::10]]
    # 15.4 % over all 1,000 images; the standard error of a hundred is about 1.5 %.
    assert np.mean(shares) == pytest.approx(0.154, abs=0.045)


def test_real_person(real: Path) -> None:
    dataset = supervisely.read("person", real / "person")
    assert (len(dataset.samples("train")), len(dataset.samples("test"))) == (128, 32)
    for sample in dataset.samples("all")[::20]:
        assert np.unique(load_pair(dataset, sample)[1]).tolist() == [0, 1]


def test_real_camvid(real: Path) -> None:
    dataset = folder.read("camvid", real / "camvid", folder.Options(ignore_values=[11]))
    assert len(dataset.classes) == 11
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 92, "val": 21, "test": 30}
    for sample in dataset.samples("all")[::30]:
        assert set(np.unique(load_pair(dataset, sample)[1]).tolist()) <= {*range(11), 255}
