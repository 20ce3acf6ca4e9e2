"""Files of several pages, of more than 8 bits and of further channels: read as declared, else refused with the line to add."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from fakes import save
from segstudy.cli.options import numbers_of
from segstudy.data.core import load_pair
from segstudy.data.declared import Declared
from segstudy.data.load import load_dataset
from segstudy.data.readers import folder
from segstudy.errors import DataError, SpecError
from segstudy.init import write_study_file
from segstudy.predict import _find_images
from segstudy.schema import data_entry
from segstudy.scoring import score_masks
from segstudy.spec import load_study
from segstudy.store import Store

BOX = np.array([[0, 1, 1, 0], [0, 0, 0, 0]], np.uint8)
RED, BLUE = np.full((2, 4, 3), (255, 0, 0), np.uint8), np.full((2, 4, 3), (0, 0, 255), np.uint8)
RAMP = np.array([[0, 500, 1000, 2000]] * 2)  # from 0 to 1000: black, the middle, white, white
GREY = [0, 128, 255, 255]  # 127.5 is rounded to the even number


def pages(path: Path, *arrays: np.ndarray) -> None:
    first, *others = (Image.fromarray(each) for each in arrays)
    first.save(path, save_all=True, append_images=others)


def png16(path: Path, rgb: np.ndarray) -> None:
    cv2.imwrite(str(path), rgb[..., ::-1].astype(np.uint16))


def raster(path: Path, bands_hwc: np.ndarray, **options: Any) -> None:
    rasterio = pytest.importorskip("rasterio")
    height, width, count = bands_hwc.shape
    shape = {"width": width, "height": height, "count": count, "dtype": bands_hwc.dtype}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(path, "w", driver="GTiff", **shape, **options) as file:
            file.write(np.moveaxis(bands_hwc, 2, 0))


def stacked(*values: int, dtype: type = np.uint16) -> np.ndarray:
    """An image (2, 4, c) whose channels are of one value each."""
    return np.broadcast_to(np.array(values, dtype), (2, 4, len(values))).copy()


Write = Callable[[Path], object]
# How a file is written, what is declared, and the RGB values of its first row; what init declares where that differs.
FILES: dict[str, tuple[str, Write, dict[str, Any], list[Any]]] = {
    "pages of TIFF": (".tif", lambda path: pages(path, RED, BLUE), {"page": 1}, [[0, 0, 255]] * 4),
    "animated GIF": (".gif", lambda path: pages(path, RED, BLUE), {"page": 1}, [[0, 0, 255]] * 4),
    "animated PNG": (".PNG", lambda path: pages(path, BLUE, RED), {"page": 0}, [[0, 0, 255]] * 4),
    "16-bit grey": (
        ".png",
        lambda path: Image.fromarray(RAMP.astype(np.uint16)).save(path),
        {"scale": [0, 1000]},
        [[value] * 3 for value in GREY],
    ),
    "16-bit TIFF": (
        ".TIF",
        lambda path: Image.fromarray(RAMP.astype(np.uint16)).save(path, compression="tiff_lzw"),
        {"scale": [0, 1000]},
        [[value] * 3 for value in GREY],
    ),
    "16-bit colours": (
        ".png",
        lambda path: png16(path, np.stack([RAMP, RAMP * 0, RAMP[:, ::-1]], axis=2)),
        {"scale": [0, 1000]},
        [[a, 0, b] for a, b in zip(GREY, GREY[::-1], strict=True)],
    ),
    "16-bit colours, one of them": (
        ".png",
        lambda path: png16(path, np.stack([RAMP, RAMP * 0, RAMP[:, ::-1]], axis=2)),
        {"scale": [0, 1000], "bands": [2]},
        [[value] * 3 for value in GREY[::-1]],
    ),
    "float": (
        ".tif",
        lambda path: Image.fromarray((RAMP / 1000 - 1).astype(np.float32)).save(path),
        {"scale": [-1, 0]},
        [[value] * 3 for value in GREY],
    ),
    "four bands of 8 bits": (
        ".tif",
        lambda path: raster(path, stacked(1, 2, 3, 40, dtype=np.uint8), photometric="RGB", alpha="NO"),
        {"bands": [3, 1, 0]},
        [[40, 2, 1]] * 4,
    ),
    "two bands of 8 bits": (
        ".tif",
        lambda path: raster(path, stacked(7, 90, dtype=np.uint8)),
        {"bands": [1]},
        [[90] * 3] * 4,
    ),
    "six bands of 16 bits": (
        ".tif",
        lambda path: raster(path, stacked(0, 100, 200, 300, 400, 500), compress="lzw"),
        {"bands": [5, 0, 2], "scale": [0, 500]},
        [[255, 0, 102]] * 4,
    ),
    "four bands of floats": (
        ".tif",
        lambda path: raster(path, stacked(0, 1, 1, 0, dtype=np.float32)),
        {"bands": [1, 0, 3], "scale": [0, 1]},
        [[255, 0, 0]] * 4,
    ),
}


def write(root: Path, suffix: str, make: Write) -> Path:
    (root / "images").mkdir(parents=True)
    for k in range(4):
        make(root / "images" / f"{k}{suffix}")
        save(root / "masks" / f"{k}.png", BOX)
    return root


@pytest.mark.parametrize("name", FILES)
def test_images_are_read_as_declared(tmp_path: Path, name: str) -> None:
    suffix, make, declared, expected = FILES[name]
    dataset = folder.read("d", write(tmp_path, suffix, make), folder.Options(**declared))
    for sample in dataset.samples("all"):
        image, labels = load_pair(dataset, sample)
        assert np.asarray(image)[0].tolist() == expected
        assert labels.tolist() == BOX.tolist()


@pytest.mark.parametrize("name", FILES)
def test_undeclared_images_are_refused_with_the_line_and_init_writes_it(tmp_path: Path, name: str) -> None:
    suffix, make, declared, _ = FILES[name]
    dataset = folder.read("d", write(tmp_path / "set", suffix, make))
    with pytest.raises(DataError) as refused:
        load_pair(dataset, dataset.samples("all")[0])
    assert any(f"{key}: " in str(refused.value) for key in declared)
    write_study_file(tmp_path / "set", tmp_path / "study.yaml")
    ((key, data),) = load_study(tmp_path / "study.yaml").data.items()
    found, _ = load_dataset(key, data, "held-out", None, str(tmp_path), Store(tmp_path / "out"))
    for sample in found.samples("all"):
        image, labels = load_pair(found, sample)
        assert image.mode == "RGB" and labels.tolist() == BOX.tolist()
    assert "the first image" in (tmp_path / "study.yaml").read_text()


def test_a_page_that_is_not_there_and_wrong_numbers_are_named(tmp_path: Path) -> None:
    suffix, make, *_ = FILES["pages of TIFF"]
    dataset = folder.read("d", write(tmp_path, suffix, make), folder.Options(page=2))
    with pytest.raises(DataError, match=r"\d\.tif: has no page 2; it holds 2, counted from 0"):
        dataset.image_of(dataset.samples("all")[0])
    with pytest.raises(ValueError, match="the smaller number first"):
        folder.Options(scale=[5, 5])
    with pytest.raises(ValueError, match="one channel or three"):
        folder.Options(bands=[0, 1])


def test_a_page_of_masks_is_read_and_scored(tmp_path: Path) -> None:
    for k in range(2):
        (tmp_path / "truth").mkdir(exist_ok=True)
        pages(tmp_path / "truth" / f"{k}.tif", BOX[::-1].copy(), BOX)
        save(tmp_path / "pred" / f"{k}.png", BOX)
    with pytest.raises(DataError, match="holds 2 pages or frames; say which one to read"):
        score_masks(tmp_path / "pred", tmp_path / "truth")
    found = score_masks(tmp_path / "pred", tmp_path / "truth", declared=Declared(page=1, flags=True))
    assert found.confusion.sum(axis=0).tolist() == [[12, 0], [0, 4]]


def nifti(path: Path, labels_xyz: np.ndarray) -> None:
    nibabel = pytest.importorskip("nibabel")
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(labels_xyz, np.eye(4)), path)


def test_arrays_stacks_and_volumes_are_scored_mask_by_mask(tmp_path: Path) -> None:
    """Two masks in a stack, two slices in a volume, one in a sub-folder; predictions are pictures with one wrong pixel each."""
    truth, wrong = tmp_path / "truth", BOX.copy()
    wrong[1, 3] = 1
    (truth / "sub").mkdir(parents=True)
    np.save(truth / "sub" / "one.npy", BOX.astype(np.int64))
    np.save(truth / "many.npy", np.stack([BOX, BOX * 0]))
    nifti(truth / "scan.nii.gz", np.stack([BOX.T, BOX.T * 0], axis=2))
    for name in ("sub/one", "many/000000", "many/000001", "scan/0000", "scan/0001"):
        save(tmp_path / "pred" / f"{name}.png", np.where(wrong & (name[-1] in "e0"), 1, wrong * 0 + (wrong > BOX)))
    found = score_masks(tmp_path / "pred", truth, num_classes=2)
    assert sorted(found.ids) == ["many/000000", "many/000001", "scan/0000", "scan/0001", "sub/one"]
    # three masks hold the two foreground pixels, all five one pixel too many
    assert found.confusion.sum(axis=0).tolist() == [[5 * 8 - 6 - 5, 5], [0, 6]]
    (tmp_path / "pred" / "scan" / "0001.png").unlink()
    with pytest.raises(DataError, match=r"1 true masks have no prediction in .*: scan\.nii\.gz"):
        score_masks(tmp_path / "pred", truth, num_classes=2)


def found_for(inputs: list[Path], declared: dict[str, Any], **entry: Any) -> dict[str, Any]:
    config = SimpleNamespace(data=data_entry({"root": "x", **entry}), folder="")
    return _find_images(inputs, config, declared)[0]  # type: ignore[arg-type]


def test_predict_takes_an_array_with_channels_first_for_one_image(tmp_path: Path) -> None:
    """As the reader does; two grey images of the same size are two."""
    colours = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    np.save(tmp_path / "torch.npy", np.moveaxis(colours, 2, 0))
    np.save(tmp_path / "grey.npy", np.moveaxis(colours[..., :2], 2, 0))
    found = found_for([tmp_path], {}, reader="arrays")
    assert sorted(found) == ["grey/000000", "grey/000001", "torch"]
    assert np.array_equal(np.asarray(found["torch"]()), colours)
    assert np.array_equal(np.asarray(found["grey/000001"]())[..., 0], colours[..., 1])


def test_predict_reads_what_the_readers_read(tmp_path: Path) -> None:
    """Arrays, slices and rasters, each with the options of the training data or those that are given."""
    new = tmp_path / "new"
    (new / "deep").mkdir(parents=True)
    np.save(new / "deep" / "a.npy", RAMP)
    np.save(new / "b.npy", np.stack([RED, BLUE]))
    nifti(new / "scan.nii.gz", np.stack([RAMP.T, RAMP.T * 0], axis=2).astype(np.int16))
    raster(new / "c.tif", stacked(0, 100, 200, 300, 400, 500))
    found = found_for([new], {"bands": [5, 0, 2]}, reader="folder", scale=[0, 500])
    assert sorted(found) == ["b/000000", "b/000001", "c", "deep/a", "scan/0000", "scan/0001"]
    assert np.asarray(found["c"]())[0].tolist() == [[255, 0, 102]] * 4
    assert np.asarray(found["deep/a"]())[0, :, 1].tolist() == [0, 255, 255, 255]  # from 0 to 500
    assert np.asarray(found["scan/0000"]())[0, :, 0].tolist() == [0, 255, 255, 255]
    assert not np.asarray(found["scan/0001"]()).any()


def test_predict_refuses_what_is_not_declared_by_name(tmp_path: Path) -> None:
    Image.fromarray(RAMP.astype(np.uint16)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: holds uint16 from 0 to 2000; add scale: \[0, 2000\]") as refused:
        found_for([tmp_path], {}, reader="kvasir")["a"]()
    assert refused.value.lines == {"scale": [0, 2000]}
    declared = found_for([tmp_path], {"scale": [0.0, 1000.0]}, reader="kvasir")["a"]()
    assert np.asarray(declared)[0, :, 0].tolist() == GREY
    with pytest.raises(SpecError, match="--bands x: must be numbers"):
        numbers_of("--bands", "x", int)
