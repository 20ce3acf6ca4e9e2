"""Readers of arrays, volumes, maps and Arrow files, and patterns of names: values by hand, damage as one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import layouts
from fakes import save
from layouts import BOX, HEIGHT, WIDTH, picture, tree
from segstudy.data.core import Dataset, load_pair, same_shape
from segstudy.data.readers import READERS, arrays, folder, voc
from segstudy.data.readers.patterns import pairs_by_pattern, propose
from segstudy.data.readers.pictures import picture_of
from segstudy.errors import DataError


def dataset_of(name: str, root: Path, **options: Any) -> Dataset:
    reader = READERS.find(name)
    return reader.read("d", root, reader.options(**options))


# Patterns


def test_patterns_fill_and_match_by_hand(tmp_path: Path) -> None:
    picture(tmp_path / "train" / "img" / "a" / "x1_photo.tif")
    save(tmp_path / "train" / "gt" / "x1_mask.gif", BOX)
    pairs, faults = pairs_by_pattern(tmp_path, "{split}/img/**/{id}_photo.tif", "{split}/gt/{id}_mask.gif")
    assert [(sample.id, sample.mask.name, split) for sample, split in pairs] == [
        ("train/img/a/x1_photo", "x1_mask.gif", "train")
    ]
    assert faults == []


@pytest.mark.parametrize(
    ("images", "masks", "says"),
    [
        ("../*.png", "{stem}.png", "must be a path below root"),
        ("/etc/*", "{stem}", "must be a path below root"),
        ("*.png", "{id}_m.png", "placeholder {id}, which images does not fill"),
        ("*.png", "*/{stem}.png", "in a folder's name"),
        ("*.jpg", "{stem}_m.png", "no image fits images"),
        ("*.png", "{stem}_gt.png", "none has a mask"),
    ],
)
def test_patterns_that_cannot_be_are_one_message(tmp_path: Path, images: str, masks: str, says: str) -> None:
    picture(tmp_path / "a.png")
    save(tmp_path / "a_m.png", BOX)
    with pytest.raises(DataError, match=says):
        pairs_by_pattern(tmp_path, images, masks)


def test_files_that_fit_no_pattern_are_said(tmp_path: Path) -> None:
    tree(("img/s_{}.png", "gt/s_{}_m.png"))(tmp_path)
    picture(tmp_path / "img" / "other.png")
    save(tmp_path / "gt" / "s_9_m.png", BOX)
    found = dataset_of("folder", tmp_path, images="img/s_{id}.png", masks="gt/s_{id}_m.png")
    kinds = {fault.kind: fault.message for fault in found.faults}
    assert kinds.keys() == {"left-out", "mask-without-image"}
    assert "img/other.png" in kinds["left-out"]
    assert len(found.samples("all")) == layouts.NUM


@pytest.mark.parametrize(
    ("pairs", "expected"),
    [
        ([("a/{:02}_training.tif", "b gt/{:02}_manual1.gif")], ("a/{id}_{split}.tif", "b gt/{id}_manual1.gif")),
        ([("{}.jpg", "{}_mask.png")], ("*.jpg", "{stem}_mask.png")),
        ([("v/volume-{}.png", "v/segmentation-{}.png")], ("**/volume{id}.png", "{folder}/segmentation{id}.png")),
        ([("x/{}.png", "y2/{}.png")], None),
    ],
)
def test_proposals_by_hand(tmp_path: Path, pairs: list[tuple[str, str]], expected: tuple[str, str] | None) -> None:
    tree(*pairs)(tmp_path)
    found = propose(tmp_path)
    assert (found.get("images"), found.get("masks")) == (expected or (None, None))


def test_several_folders_of_masks_are_a_question(tmp_path: Path) -> None:
    tree(("images/{}.png", "gt/{}.png"), ("images/{}.png", "labels/{}.png"))(tmp_path)
    with pytest.raises(DataError, match="add masks: gt or masks: labels to the entry"):
        folder.read("d", tmp_path)
    assert len(dataset_of("folder", tmp_path, masks="gt").samples("all")) == layouts.NUM


def test_masks_of_another_size_are_resized_where_the_shape_is_equal(tmp_path: Path) -> None:
    for k in range(2):
        picture(tmp_path / "images" / f"{k}.png")
        save(tmp_path / "masks" / f"{k}.png", BOX[::2, ::2] * np.uint8(255))  # 6 x 4
    plain = folder.read("d", tmp_path)
    with pytest.raises(DataError, match="add resize_masks: nearest to the entry"):
        load_pair(plain, plain.samples("all")[0])
    resized = dataset_of("folder", tmp_path, resize_masks="nearest")
    labels = load_pair(resized, resized.samples("all")[0])[1]
    assert labels.tolist() == BOX[::2, ::2].repeat(2, axis=0).repeat(2, axis=1).tolist()
    assert not same_shape((12, 8), (8, 12))


# VOC


def test_voc_lists_void_and_names(tmp_path: Path) -> None:
    layouts.voc(tmp_path)
    (tmp_path / "class_names.txt").write_text("__ignore__\n_background_\ncat\n")
    save(tmp_path / "SegmentationClass" / "2007_000001.png", np.where(BOX, 1, 255).astype(np.uint8))
    dataset = voc.read("d", tmp_path)
    assert dataset.classes == ("background", "cat")
    assert [sample.id for sample in dataset.samples("val")] == ["2007_000003", "2007_000004"]
    assert dataset.labels_of(dataset.samples("train")[0]).tolist() == np.where(BOX, 1, 255).tolist()
    assert "1 images have no mask in SegmentationClass and are left out" in dataset.notes
    (tmp_path / "ImageSets" / "Segmentation" / "val.txt").write_text("2007_000001\nnone\n2007_000099\n")
    assert [fault.message.partition(";")[0] for fault in voc.read("d", tmp_path).faults] == [
        "line 1: '2007_000001' stands in a list twice",
        "line 2: 'none' has no image",
        "line 3: '2007_000099' has no mask",
        "2 images with masks stand in no list and are left out",  # 3 and 4
    ]


# Arrays


def test_scale_is_linear_and_cut_off() -> None:
    image = picture_of(np.array([[-10, 0, 50, 100, 900]], np.int16), Path("a"), [0, 100], None)
    assert np.asarray(image).tolist() == [[0, 0, 128, 255, 255]]  # 127.5 to the even neighbour
    bands = picture_of(np.arange(8, dtype=np.uint8).reshape(1, 2, 4), Path("a"), None, [2, 1, 0])
    assert np.asarray(bands).tolist() == [[[2, 1, 0], [6, 5, 4]]]


@pytest.mark.parametrize(
    ("values", "says"),
    [
        (np.array([[-5, 300]]), "from -5 to 300; add scale: \\[-5, 300\\] to the entry"),
        (np.zeros((2, 2, 4), np.uint8), "holds 4 channels; add bands"),
        (np.full((2, 2), np.nan), "not numbers"),
        (np.zeros((2, 2, 3, 3), np.uint8), "is not an image"),
        (np.zeros((2, 2), complex), "is not an image"),
    ],
)
def test_numbers_that_are_no_picture_are_one_message(values: np.ndarray, says: str) -> None:
    with pytest.raises(DataError, match=says):
        picture_of(values, Path("a.npy"), None, None)


def test_mat_variables_are_chosen_or_asked_for(tmp_path: Path) -> None:
    import scipy.io

    (tmp_path / "gt").mkdir()
    for k in range(2):
        picture(tmp_path / "img" / f"s{k}.jpg", k)
        scipy.io.savemat(tmp_path / "gt" / f"s{k}.mat", {"labels": BOX, "depth": BOX * 3})
    with pytest.raises(DataError, match="add variable: labels or variable: depth to the entry"):
        arrays.read("d", tmp_path)
    found = dataset_of("arrays", tmp_path, variable="labels")
    assert found.labels_of(found.samples("all")[0]).tolist() == BOX.tolist()
    with pytest.raises(DataError, match="it has labels, depth"):
        dataset_of("arrays", tmp_path, variable="x")


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY\x01", b"junk" * 100, b"\x00" * 200])
@pytest.mark.parametrize("suffix", ["npy", "mat"])
def test_damaged_arrays_are_one_message(tmp_path: Path, suffix: str, content: bytes) -> None:
    (tmp_path / "gt").mkdir()
    for k in range(2):
        picture(tmp_path / "img" / f"s{k}.jpg", k)
        (tmp_path / "gt" / f"s{k}.{suffix}").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot be read|holds no array"):
        arrays.read("d", tmp_path)


def test_pickles_are_never_loaded(tmp_path: Path) -> None:
    (tmp_path / "gt").mkdir()
    for k in range(2):
        picture(tmp_path / "img" / f"s{k}.jpg", k)
        np.save(tmp_path / "gt" / f"s{k}.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot be read as a NumPy array"):
        arrays.read("d", tmp_path)


# NIfTI


def test_slices_run_across_the_first_axis_that_is_left(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    values = np.arange(2 * 3 * 4, dtype=np.uint8).reshape(2, 3, 4)
    for k in range(2):
        layouts.volume(tmp_path / "images" / f"c{k}.nii.gz", values)
        layouts.volume(tmp_path / "labels" / f"c{k}.nii.gz", (values % 2).astype(np.uint8))
    for axis, shape, pixel in (
        (0, (3, 4), values[0, 1, 2]),
        (1, (2, 4), values[1, 0, 2]),
        (2, (2, 3), values[1, 2, 0]),
    ):
        dataset = dataset_of("nifti", tmp_path, axis=axis)
        sample = next(each for each in dataset.samples("all") if each.id == "images/c0/0000")
        image, labels = load_pair(dataset, sample)
        assert image.size == shape
        assert labels.shape == shape[::-1]
        across, down = {0: (1, 2), 1: (1, 2), 2: (1, 2)}[axis]
        assert np.asarray(image)[down, across, 0] == pixel
        assert labels[down, across] == pixel % 2
    assert {sample.group for sample in dataset.samples("train")} != {sample.group for sample in dataset.samples("test")}


def test_volumes_that_do_not_fit_are_faults(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    layouts.decathlon(tmp_path)
    layouts.volume(tmp_path / "labelsTr" / "spleen_0.nii.gz", np.zeros((3, 3, 3), np.uint8))
    (tmp_path / "imagesTr" / "spleen_1.nii.gz").write_bytes(b"\x1f\x8bjunk")
    dataset = dataset_of("nifti", tmp_path, scale=[-900.0, 900.0])
    assert sorted(fault.kind for fault in dataset.faults) == ["size-mismatch", "unreadable"]
    plain = dataset_of("nifti", tmp_path)
    with pytest.raises(DataError, match="add scale: \\["):
        load_pair(plain, plain.samples("all")[0])


def test_slices_that_are_labelled(tmp_path: Path) -> None:
    pytest.importorskip("nibabel")
    for k in range(2):
        labels = np.zeros((4, 4, 5), np.uint8)
        labels[1, 2, 3] = 1
        layouts.volume(tmp_path / "images" / f"c{k}.nii", labels)
        layouts.volume(tmp_path / "labels" / f"c{k}.nii", labels)
    found = dataset_of("nifti", tmp_path, slices="labelled").samples("all")
    assert [sample.id for sample in sorted(found)] == ["images/c0/0003", "images/c1/0003"]


# GeoTIFF


def test_tiles_cover_the_file_and_nodata_is_ignored(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    mask = np.arange(20 * 40).reshape(20, 40) % 3
    mask[0, 0] = -1
    for k in range(2):
        for name, values, more in (
            ("images", mask.astype(np.uint8), {}),
            ("labels", mask.astype(np.int16), {"nodata": -1}),
        ):
            (tmp_path / name).mkdir(exist_ok=True)
            path, shape = tmp_path / name / f"t{k}.tif", {"width": 40, "height": 20, "count": 1, "dtype": values.dtype}
            place = rasterio.transform.from_origin(5, 5, 1, 1)
            with rasterio.open(path, "w", driver="GTiff", crs="EPSG:32633", transform=place, **shape, **more) as file:
                file.write(values[None])
    dataset = dataset_of("geotiff", tmp_path, tile=16)
    ids = sorted(sample.id for sample in dataset.samples("all") if sample.group == "images/t0")
    assert ids == [f"images/t0/{row:04d}-{column:04d}" for row in range(2) for column in range(3)]
    corner = next(sample for sample in dataset.samples("all") if sample.id == "images/t0/0001-0002")
    labels = load_pair(dataset, corner)[1]
    assert labels.tolist() == mask[16:, 32:].tolist()
    start = next(sample for sample in dataset.samples("all") if sample.id == "images/t0/0000-0000")
    assert load_pair(dataset, start)[1][0, :3].tolist() == [255, 1, 2]


def test_maps_that_lie_elsewhere_are_faults(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    layouts.geotiff(tmp_path)
    with rasterio.open(tmp_path / "labels" / "tile_0.tif", "r+") as file:
        file.transform = rasterio.transform.from_origin(999, 50, 0.5, 0.5)
    (tmp_path / "labels" / "tile_1.tif").write_bytes(b"II*\0junk")
    dataset = dataset_of("geotiff", tmp_path, bands=[0, 1, 2], scale=[0.0, 4000.0])
    assert sorted(fault.kind for fault in dataset.faults) == ["size-mismatch", "unreadable"]


# Hugging Face


def test_columns_are_named_or_asked_for_and_paths_are_not_followed(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    layouts.huggingface(tmp_path / "set")
    with pytest.raises(DataError, match="add mask: NAME to the entry, one of image, label"):
        dataset_of("huggingface", tmp_path / "set", mask="masks")
    held = {"bytes": datasets.Value("binary"), "path": datasets.Value("string")}
    features = datasets.Features({"image": held, "label": datasets.Array2D((HEIGHT, WIDTH), "uint8")})
    rows = {"image": [{"bytes": None, "path": "/etc/passwd"}] * 4, "label": [BOX] * 4}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "away")
    dataset = dataset_of("huggingface", tmp_path / "away")
    assert dataset.labels_of(dataset.samples("all")[0]).tolist() == BOX.tolist()
    with pytest.raises(DataError, match="names a file and does not hold it"):
        dataset.image_of(dataset.samples("all")[0])


@pytest.mark.parametrize("content", ["", "[]", '{"_data_files": [{"filename": "../x.arrow"}]}', '{"_data_files": 3}'])
def test_damaged_hugging_face_folders_are_one_message(tmp_path: Path, content: str) -> None:
    (tmp_path / "state.json").write_text(content)
    with pytest.raises(DataError):
        dataset_of("huggingface", tmp_path)
    (tmp_path / "state.json").write_text(json.dumps({"_data_files": [{"filename": "a.arrow"}]}))
    (tmp_path / "a.arrow").write_bytes(b"junk")
    pytest.importorskip("datasets")
    with pytest.raises(DataError, match="cannot be read as a data file of datasets"):
        dataset_of("huggingface", tmp_path)


def test_grey_pictures_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(BOX).save(tmp_path / "a.png")
    layouts.npy_files(tmp_path / "set")
    dataset = dataset_of("arrays", tmp_path / "set", scale=[-5.0, 5.0])
    assert load_pair(dataset, dataset.samples("all")[0])[0].mode == "RGB"
