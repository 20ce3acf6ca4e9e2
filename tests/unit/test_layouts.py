"""The layouts of the world: init understands each fake, and every mask that is read is the one that was drawn by hand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import layouts
from layouts import BOX, CHOICES, OTHERS, TREES
from segstudy.data.core import Dataset, load_pair
from segstudy.data.load import load_dataset
from segstudy.data.quality.faults import grouped
from segstudy.data.quality.inspect import inspect_sample
from segstudy.errors import DataError
from segstudy.init import write_study_file
from segstudy.spec import load_study
from segstudy.store import Store


def initialised(root: Path, place: Path) -> tuple[str, Dataset]:
    """What init writes, and the dataset that a study of it reads; no sample has an error."""
    place.mkdir(exist_ok=True)
    if not (place / "study.yaml").exists():
        write_study_file(root, place / "study.yaml")
    study = load_study(place / "study.yaml")
    ((name, data),) = study.data.items()
    dataset, _ = load_dataset(name, data, "held-out", None, str(place), Store(place / "out"))
    looks = [inspect_sample(dataset, split, each) for split, part in dataset.splits.items() for each in part]
    faults = [*dataset.faults, *(fault for look in looks for fault in look.faults)]
    assert grouped(fault for fault in faults if fault.severity == "error") == []
    return (place / "study.yaml").read_text(), dataset


def labels_of(dataset: Dataset) -> list[np.ndarray]:
    return [load_pair(dataset, sample)[1] for sample in dataset.samples("all")]


@pytest.mark.parametrize("name", TREES)
def test_pictures_and_masks_by_the_names_that_sets_have(tmp_path: Path, name: str) -> None:
    TREES[name](tmp_path / "set")
    text, dataset = initialised(tmp_path / "set", tmp_path / "study")
    assert "reader: folder" in text
    found = labels_of(dataset)
    assert len(found) >= layouts.NUM
    for labels in found:
        assert labels.tolist() == BOX.tolist()


@pytest.mark.parametrize("name", CHOICES)
def test_what_only_people_can_say_is_a_line_to_uncomment(tmp_path: Path, name: str) -> None:
    make, line, (inside, outside) = CHOICES[name]
    make(tmp_path / "set")
    file = tmp_path / "study" / "study.yaml"
    file.parent.mkdir()
    with pytest.raises(DataError, match=re.escape(f"`{line}`")):
        write_study_file(tmp_path / "set", file)
    text = file.read_text()
    assert f"    # {line}\n" in text
    file.write_text(text.replace(f"    # {line}", f"    {line}"))
    for labels in labels_of(initialised(tmp_path / "set", file.parent)[1]):
        assert labels.tolist() == np.where(BOX, inside, outside).tolist()


def test_trimaps_from_1_to_3_are_read_with_a_line_to_choose(tmp_path: Path) -> None:
    """The value 0 occurs nowhere, and init says so."""
    layouts.trimaps(tmp_path / "set")
    text, dataset = initialised(tmp_path / "set", tmp_path / "study")
    assert len(dataset.samples("all")) == layouts.NUM and len(dataset.classes) == 4
    line = "values: {1: class_1, 2: class_2, 3: class_3}"
    assert f"# {line}  # the value 0 occurs nowhere" in text
    guess = next(each for each in text.splitlines() if "num_classes: 4" in each)
    text = text.replace(guess, "").replace(f"# {line}", "values: {2: background, 1: pet, 3: ignore}")
    (tmp_path / "study" / "study.yaml").write_text(text)
    labels = labels_of(initialised(tmp_path / "set", tmp_path / "study")[1])[0]
    assert labels.tolist() == np.where(BOX, 1, np.where(np.arange(layouts.WIDTH) == 0, 255, 0)).tolist()


@pytest.mark.parametrize("name", OTHERS)
def test_formats_of_their_own(tmp_path: Path, name: str) -> None:
    reader, make = OTHERS[name]
    if reader in layouts.NEEDS:
        pytest.importorskip(layouts.NEEDS[reader])
    make(tmp_path / "set")
    text, dataset = initialised(tmp_path / "set", tmp_path / "study")
    assert f"reader: {reader} " in text
    found = labels_of(dataset)
    if name == "ADE20K":  # 0 is ignored, value 150 is label 149
        expected = [np.where(BOX, 149, 255)]
    elif name == "Cloud organization":  # the first column is a later object
        expected = [np.where(np.arange(layouts.WIDTH) == 0, 2, 1) * np.ones_like(BOX)]
    else:
        expected = [BOX, BOX * 0]  # some have an image without objects
    assert any(np.array_equal(found[0], each) for each in expected)
    for labels in found:
        assert any(labels.tolist() == each.tolist() for each in expected)
    assert sum(labels.any() for labels in found) >= 3


def test_what_segstudy_writes_among_the_data_is_not_data(tmp_path: Path) -> None:
    for k in range(6):
        Image.new("RGB", (24, 24), (40 * k, 9, 9)).save(tmp_path / f"p{k}.jpg")
        Image.fromarray(np.pad(np.full((8, 8), 255, np.uint8), 8)).save(tmp_path / f"p{k}_mask.png")
    write_study_file(tmp_path, tmp_path / "study.yaml")
    assert (tmp_path / "study-images.jpg").is_file()
    for name in ("study.yaml", "runs/unet/seed1/predictions/p1.jpg", "report/figures/a.jpg", "cache/b.jpg"):
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (24, 24)).save(tmp_path / "out" / name, "JPEG")
    _, dataset = initialised(tmp_path, tmp_path)
    assert len(dataset.samples("all")) == 6 and dataset.faults == ()
    (tmp_path / "out" / "study.yaml").unlink()  # now the folders are a person's own
    file = tmp_path / "study.yaml"
    file.write_text(file.read_text().replace('images: "*.jpg"', 'images: "**/*.jpg"'))
    with pytest.raises(AssertionError, match="image-without-mask"):
        initialised(tmp_path, tmp_path)


def stack(path: Path, pages: list[np.ndarray]) -> None:
    first, *others = map(Image.fromarray, pages)
    first.save(path, save_all=True, append_images=others)


def test_a_pair_of_stacks(tmp_path: Path) -> None:
    """As the ISBI 2012 challenge has them: one file of many images, one of as many masks, and images without masks."""
    root, columns = tmp_path / "set", np.arange(24)
    root.mkdir()
    masks = [np.where(columns[None, :] < k + 3, 255, 0).repeat(24, axis=0).astype(np.uint8) for k in range(10)]
    pictures = [np.random.default_rng(k).integers(0, 256, (24, 24), np.uint8) for k in range(10)]
    stack(root / "train-volume.tif", pictures)
    stack(root / "train-labels.tif", masks)
    stack(root / "test-volume.tif", pictures)
    text, dataset = initialised(root, tmp_path / "study")
    assert 'images: "train-volume.tif"' in text and 'masks: "train-labels.tif"' in text and "page: " in text
    assert ["test-volume.tif" in fault.message for fault in dataset.faults] == [True]
    found = {sample.id: load_pair(dataset, sample) for sample in dataset.samples("all")}
    assert sorted(found) == sorted(f"train-volume#{k}" for k in range(10))
    for k in range(10):
        image, labels = found[f"train-volume#{k}"]
        assert labels.tolist() == (masks[k] > 0).astype(int).tolist()
        assert np.array_equal(np.asarray(image)[..., 0], pictures[k])
    stack(root / "train-labels.tif", masks[:9])
    with pytest.raises(DataError):
        initialised(root, tmp_path / "other")
