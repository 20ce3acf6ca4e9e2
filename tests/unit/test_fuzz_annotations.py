"""Damaged annotations, tables and lists: each is read or refused in one message, and no image is dropped in silence.

``SEGSTUDY_FUZZ=50`` multiplies the number of inputs.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import layouts
from mutations import TIMES, attempt, mutated, mutated_json
from segstudy.data.core import Dataset
from segstudy.data.readers import READERS
from segstudy.data.splitting.splits import read_split, write_split
from segstudy.errors import SegstudyError

NUM = 40  # of each way of damage
Make = Callable[[Path], object]
# The reader, its layout, and the file that is damaged.
FILES: dict[str, tuple[str, Make, str]] = {
    "COCO": ("coco", layouts.coco, "annotations/instances_train2017.json"),
    "Roboflow": ("coco", layouts.roboflow, "train/_annotations.coco.json"),
    "LabelMe": ("labelme", layouts.labelme, "shot1.json"),
    "CVAT": ("cvat", layouts.cvat, "annotations.xml"),
    "Label Studio": ("label-studio", layouts.label_studio, "project-1-at-2024.json"),
    "Supervisely, annotation": ("supervisely", layouts.supervisely_nested, "ds1/ann/1.jpg.json"),
    "Supervisely, meta.json": ("supervisely", layouts.supervisely_nested, "meta.json"),
    "Airbus": ("rle-csv", layouts.airbus, "train_ship_segmentations_v2.csv"),
    "clouds": ("rle-csv", layouts.clouds, "train.csv"),
    "VOC's list": ("voc", layouts.voc, "ImageSets/Segmentation/train.txt"),
    "ADE20K's names": ("ade20k", layouts.ade20k, "ADEChallengeData2016/objectInfo150.txt"),
}


def said(dataset: Dataset) -> bool:
    """Whether anything is said of what was left out."""
    return bool(dataset.faults or dataset.notes)


@pytest.mark.parametrize("name", FILES)
def test_a_damaged_annotation_drops_no_image(tmp_path: Path, name: str) -> None:
    reader, make, place = FILES[name]
    if reader in layouts.NEEDS:
        pytest.importorskip(layouts.NEEDS[reader])
    make(tmp_path)
    one, path = READERS.find(reader), tmp_path / place
    whole = path.read_bytes()
    number = len(one.read("d", tmp_path, one.options()).samples("all"))
    ways = [mutated, mutated_json] if place.endswith(".json") else [mutated]
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    for way in ways:
        for k in range(TIMES * NUM):
            path.write_bytes(way(whole, rng))
            dataset, refusal = attempt(lambda: one.read("d", tmp_path, one.options()))
            assert refusal if dataset is None else len(dataset.samples("all")) == number or said(dataset), (
                k,
                path.read_bytes(),
            )
            if dataset is None:
                continue
            for sample in dataset.samples("all"):
                labels, refusal = attempt(partial(dataset.labels_of, sample))
                assert refusal if labels is None else labels.shape == (layouts.HEIGHT, layouts.WIDTH), (
                    k,
                    path.read_bytes(),
                )


def test_a_damaged_split_is_refused_or_the_same(tmp_path: Path) -> None:
    layouts.tree(("images/{}.png", "masks/{}.png"))(tmp_path)
    one, path = READERS.find("folder"), tmp_path / "split.json"
    dataset = one.read("d", tmp_path, one.options())
    write_split(path, dataset)
    whole, rng = path.read_bytes(), np.random.default_rng(3)
    for k in range(TIMES * NUM):
        for way in (mutated, mutated_json):
            path.write_bytes(way(whole, rng))
            found, refusal = attempt(lambda: read_split(path, dataset))
            if found is None:
                assert "split.json" in refusal, (k, path.read_bytes())
            else:
                same = {name: {each.id for each in part} for name, part in found.splits.items()}
                assert same == {name: {each.id for each in part} for name, part in dataset.splits.items()}, k


@pytest.mark.parametrize("kind", ["csv", "json"])
def test_damage_is_not_always_refused_nor_always_read(tmp_path: Path, kind: str) -> None:
    """The damage is of a kind that matters: some inputs are read and some are refused."""
    reader, make, place = FILES["Airbus" if kind == "csv" else "LabelMe"]
    make(tmp_path)
    one, path, rng = READERS.find(reader), tmp_path / place, np.random.default_rng(0)
    whole, outcomes = path.read_bytes(), set()
    for _ in range(60):
        path.write_bytes(mutated(whole, rng) if kind == "csv" else mutated_json(whole, rng))
        try:
            dataset = one.read("d", tmp_path, one.options())
            outcomes.add("faults" if dataset.faults else "read")
        except SegstudyError:
            outcomes.add("refused")
    assert "read" in outcomes and len(outcomes) > 1
    assert json.loads(json.dumps(sorted(outcomes)))
