"""Small fakes of folders that people have: each reader gives the labels that were drawn by hand, or one message with the way out.

The pictures are 12 x 8, and class 1 is a box in rows 2-4 and columns 3-6, unless a test says otherwise.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakes import bitmap_object, polygon_object, save, write_annotation
from layouts import BOX, CORNERS, HEIGHT, WIDTH, labelme_record, picture
from segstudy.data.core import Dataset
from segstudy.data.load import load_dataset
from segstudy.data.quality.inspect import inspect_sample
from segstudy.data.readers import READERS
from segstudy.errors import DataError
from segstudy.init import write_study_file
from segstudy.spec import load_study
from segstudy.store import Store

Make = Callable[[Path], object]
RING = [[3, 2, 7, 2, 7, 5, 3, 5]]  # of COCO, whose polygons end at the pixels' far edges


def opened(root: Path, reader: str, **options: Any) -> Dataset:
    one = READERS.find(reader)
    return one.read("d", root, one.options(**options))


def labels_of(dataset: Dataset) -> list[list[list[int]]]:
    return [dataset.labels_of(sample).tolist() for sample in dataset.samples("all")]


def said(dataset: Dataset) -> str:
    """Every message about a dataset and its samples, as ``check`` says them."""
    looks = [inspect_sample(dataset, split, each) for split, part in dataset.splits.items() for each in part]
    faults = [*dataset.faults, *(fault for look in looks for fault in look.faults)]
    return "\n".join(f"{fault.severity} {fault.kind}: {fault.message}" for fault in faults)


def pictures(root: Path, number: int = 4, name: str = "{}.png") -> None:
    for k in range(number):
        picture(root / name.format(k), k)


# COCO


def coco(*things: dict[str, Any], number: int = 4, names: str = "{}.png", **changes: Any) -> dict[str, Any]:
    images = [{"id": k, "file_name": names.format(k), "width": WIDTH, "height": HEIGHT} for k in range(number)]
    every = [
        {"id": 10 * k + n, "image_id": k, "category_id": 1, **thing}
        for k in range(number)
        for n, thing in enumerate(things)
    ]
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    return {"images": images, "annotations": every, "categories": categories, **changes}


def run_lengths(mask: np.ndarray) -> dict[str, Any]:
    """COCO's uncompressed runs down the columns, the first of them outside."""
    flat = [0, *mask.T.ravel().tolist()]
    changes = [k - 1 for k in range(1, len(flat)) if flat[k] != flat[k - 1]]
    return {"size": [HEIGHT, WIDTH], "counts": np.diff([0, *changes, mask.size]).tolist()}


def coco_at(file: str = "a.json", *things: dict[str, Any], **changes: Any) -> Make:
    def make(root: Path) -> None:
        pictures(root)
        (root / file).write_text(json.dumps(coco(*things, **changes)))

    return make


def compressed(mask: np.ndarray) -> dict[str, Any]:
    from pycocotools import mask as coco_masks

    found = coco_masks.encode(np.asfortranarray(mask))
    return {"size": found["size"], "counts": found["counts"].decode()}


def coco_of_sub_folders(root: Path) -> None:
    """Two pictures of one name each; the JSON tells them apart by folder."""
    for folder in "ab":
        pictures(root / folder, 2)
    content = coco({"segmentation": RING})
    for record, name in zip(content["images"], ("a/0.png", "b/0.png", "a/1.png", "b/1.png"), strict=True):
        record["file_name"] = name
    content["annotations"] = content["annotations"][:1]  # of a/0.png alone
    (root / "x.json").write_text(json.dumps(content))


@pytest.mark.parametrize(
    "thing",
    [
        {"segmentation": RING},
        {"segmentation": run_lengths(BOX)},
        {"segmentation": {"size": [8, 12], "counts": "compressed"}},
        {"segmentation": [[*RING[0][:6]], [3, 2, 7, 5, 3, 5]]},  # two triangles
    ],
)
def test_coco_objects_are_drawn(tmp_path: Path, thing: dict[str, Any]) -> None:
    pytest.importorskip("pycocotools")
    if isinstance(thing["segmentation"], dict) and isinstance(thing["segmentation"]["counts"], str):
        thing = {"segmentation": compressed(BOX)}
    coco_at("a.json", thing)(tmp_path)
    assert labels_of(opened(tmp_path, "coco")) == [BOX.tolist()] * 4


def test_coco_ids_count_from_0_or_1_and_names_may_be_in_sub_folders(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    zero = [{"id": 0, "name": "cat"}, {"id": 1, "name": "dog"}]
    coco_at("a.json", {"segmentation": RING, "category_id": 0}, categories=zero)(tmp_path / "zero")
    dataset = opened(tmp_path / "zero", "coco")
    assert dataset.classes == ("background", "cat", "dog")
    assert labels_of(dataset) == [BOX.tolist()] * 4
    coco_of_sub_folders(tmp_path / "sub")
    dataset = opened(tmp_path / "sub", "coco")
    by_id = {each.id: int(dataset.labels_of(each).sum()) for each in dataset.samples("all")}
    assert by_id == {"a/0": 12, "b/0": 0, "a/1": 0, "b/1": 0}


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (
            coco_at("a.json", {"segmentation": [[0.25, 0.25, 0.6, 0.25, 0.6, 0.6]]}),
            "between 0 and 1, as shares .* multiply them",
        ),
        (coco_at("a.json", {"segmentation": RING[0]}), "three or more corners"),
        (coco_at("a.json", {"segmentation": [[3, 2], [7, 2], [7, 5]]}), "three or more corners"),
        (coco_at("a.json", {"segmentation": []}), r"skip: \[box\]"),
        (coco_at("a.json", {"segmentation": RING, "image_id": "0"}), "4 objects belong to images that are not listed"),
        (coco_at("a.json", {"segmentation": RING, "image_id": 4}), "4 objects belong to images that are not listed"),
        (coco_at("a.json", {"segmentation": RING, "category_id": 3}), "the title 'category 3' is unknown"),
        (coco_at("a.json", {"segmentation": {"size": [12, 8], "counts": [96]}}), r"the image is \[8, 12\]"),
        (coco_at("a.json", {"segmentation": run_lengths(BOX), "iscrowd": 1}), "no-foreground|all-ignored"),
        (coco_at("a.json", {"segmentation": RING}, names="{}.jpg"), "names the image '0.jpg', which is missing"),
        (coco_at("a.json", {"segmentation": RING}, names="0.png"), "the image '0' is annotated twice"),
    ],
)
def test_coco_that_cannot_be_right_is_one_message(tmp_path: Path, make: Make, says: str) -> None:
    pytest.importorskip("pycocotools")
    make(tmp_path)
    assert_refused(lambda: said(opened(tmp_path, "coco")), says)


def assert_refused(read: Callable[[], str], says: str) -> None:
    """The message is raised, or among those that check says."""
    try:
        found = read()
    except DataError as error:
        found = str(error)
    assert re.search(says, found), found


def test_coco_made_for_pictures_of_another_size_says_what_to_do(tmp_path: Path) -> None:
    """No option of the reader resizes what is drawn, so that none is proposed."""
    pytest.importorskip("pycocotools")
    coco_at("a.json", {"segmentation": RING})(tmp_path)
    content = json.loads((tmp_path / "a.json").read_text())
    for record in content["images"]:
        record["width"], record["height"] = 24, 16
    (tmp_path / "a.json").write_text(json.dumps(content))
    text = said(opened(tmp_path, "coco"))
    assert "drawn on a picture of another size" in text and "resize_masks" not in text


def test_annotations_of_more_images_than_there_are(tmp_path: Path) -> None:
    """Part of a large set: the table is that of the whole."""
    pytest.importorskip("pycocotools")
    coco_at("a.json", {"segmentation": RING}, number=10)(tmp_path / "set")
    with pytest.raises(DataError, match="6 of 10 images are missing; write `missing: left-out`"):
        write_study_file(tmp_path / "set", tmp_path / "study.yaml")
    dataset = opened(tmp_path / "set", "coco", missing="left-out")
    assert labels_of(dataset) == [BOX.tolist()] * 4
    (fault,) = dataset.faults
    assert fault.severity == "warning"
    start = "6 images that annotations name are missing and are left out, as the entry says: 4.png, 5.png, 6.png"
    assert fault.message.startswith(start)


# Splits that only some images name


def labelme_folder(root: Path, *things: dict[str, Any], number: int = 4, **changes: Any) -> None:
    pictures(root, number)
    for k in range(number):
        record = labelme_record(f"{k}.png", *things) | changes
        (root / f"{k}.json").write_text(json.dumps(record))


CAT = {"label": "cat", "points": CORNERS, "shape_type": "polygon"}


def test_images_of_no_split_are_left_out_and_said(tmp_path: Path) -> None:
    for folder in ("train", "val", "more"):
        labelme_folder(tmp_path / folder, CAT)
    dataset = opened(tmp_path, "labelme")
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 4, "val": 4}
    assert "4 images name no split (more/0, more/1, more/2 and 1 more) and are left out" in said(dataset)


@pytest.mark.parametrize("only", ["train", "test"])
def test_images_of_one_split_and_of_none_are_divided_and_said(tmp_path: Path, only: str) -> None:
    for folder in (only, "more"):
        labelme_folder(tmp_path / folder, CAT)
    dataset = opened(tmp_path, "labelme")
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 6, "test": 2}
    assert f"4 are of {only}, so that all are divided again" in said(dataset)


def test_datasets_of_a_project_that_are_splits_are_the_splits(tmp_path: Path) -> None:
    supervisely(tmp_path, polygon_object(CORNERS, title="cat"), folder="train")
    supervisely(tmp_path, polygon_object(CORNERS, title="cat"), folder="val")
    assert {split: len(part) for split, part in opened(tmp_path, "supervisely").splits.items()} == {
        "train": 4,
        "val": 4,
    }
    supervisely(tmp_path, polygon_object(CORNERS, title="cat"), folder="ds3")
    dataset = opened(tmp_path, "supervisely")
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 9, "test": 3}


def test_lists_of_voc_in_another_place_are_named(tmp_path: Path) -> None:
    names = [f"2007_{k:06}" for k in range(6)]
    for name in names:
        picture(tmp_path / "JPEGImages" / f"{name}.jpg")
        save(tmp_path / "SegmentationClass" / f"{name}.png", BOX)
    for split, part in (("train", names[:4]), ("val", names[4:])):
        (tmp_path / "ImageSets" / "Main").mkdir(parents=True, exist_ok=True)
        (tmp_path / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(part))
    assert "names 4 images and is not read; lists of splits are ImageSets/Segmentation/train.txt" in said(
        opened(tmp_path, "voc")
    )


# Titles


def test_titles_spelled_in_two_ways_are_asked_about_and_may_be_joined(tmp_path: Path) -> None:
    labelme_folder(tmp_path, CAT)
    (tmp_path / "3.json").write_text(json.dumps(labelme_record("3.png", CAT | {"label": "Cat "})))
    line = r'`classes: {"Cat ": "Cat", "cat": "Cat"}`; if they are different classes, `classes: \["Cat ", "cat"\]`'
    with pytest.raises(DataError, match=line):
        opened(tmp_path, "labelme")
    with pytest.raises(DataError, match="holds these lines as comments"):
        write_study_file(tmp_path, tmp_path / "study.yaml")
    joined = opened(tmp_path, "labelme", classes={"Cat ": "Cat", "cat": "Cat"})
    assert joined.classes == ("background", "Cat")
    assert labels_of(joined) == [BOX.tolist()] * 4
    assert opened(tmp_path, "labelme", classes=["Cat ", "cat"]).classes == ("background", "Cat ", "cat")


def test_titles_may_be_joined_ignored_and_made_background(tmp_path: Path) -> None:
    left = [[0, 0], [1, 0], [1, 1], [0, 1]]
    labelme_folder(
        tmp_path,
        CAT,
        CAT | {"label": "dog", "points": left},
        CAT | {"label": "sky", "points": [[9, 6], [10, 6], [10, 7]]},
    )
    table = {"cat": "animal", "dog": "animal", "sky": "ignore"}
    dataset = opened(tmp_path, "labelme", classes=table)
    assert dataset.classes == ("background", "animal")
    values, counts = np.unique(labels_of(dataset)[0], return_counts=True)
    assert dict(zip(values.tolist(), counts.tolist(), strict=True)) == {0: 96 - 12 - 4 - 3, 1: 12 + 4, 255: 3}
    assert (
        opened(tmp_path, "labelme", classes=table | {"dog": "background"}).labels_of(dataset.samples("all")[0])[0, 0]
        == 0
    )


def test_a_project_whose_titles_differ_in_case_is_a_warning(tmp_path: Path) -> None:
    supervisely(tmp_path, polygon_object(CORNERS, title="cat"), titles=("cat", "Cat"))
    assert "warning annotation: titles are spelled in several ways: 'cat' and 'Cat'" in said(
        opened(tmp_path, "supervisely")
    )


# LabelMe, CVAT, Label Studio, Supervisely


def test_labelme_that_names_another_image_than_its_own_is_crossed(tmp_path: Path) -> None:
    labelme_folder(tmp_path, CAT)
    (tmp_path / "0.json").write_text(json.dumps(labelme_record("1.png", CAT)))
    (tmp_path / "1.json").write_text(json.dumps(labelme_record("0.png", CAT)))
    (tmp_path / "2.json").write_text(json.dumps(labelme_record("gone.png", CAT)))  # renamed together with its image
    dataset = opened(tmp_path, "labelme")
    assert [each.id for each in sorted(dataset.samples("all"))] == ["2", "3"]
    assert said(dataset).count("error crossed: names the image") == 2


@pytest.mark.parametrize(
    ("things", "changes", "says"),
    [
        ([CAT | {"points": [[0.2, 0.2], [0.6, 0.2], [0.6, 0.5]]}], {}, "between 0 and 1, as shares"),
        ([CAT | {"points": CORNERS[:2]}], {}, "three or more points"),
        ([CAT], {"imageWidth": HEIGHT, "imageHeight": WIDTH}, "turned by a quarter"),
        ([CAT | {"shape_type": "linestrip"}], {}, r"skip: \[linestrip\]"),
    ],
)
def test_labelme_that_cannot_be_right(tmp_path: Path, things: list[Any], changes: dict[str, Any], says: str) -> None:
    labelme_folder(tmp_path, *things, **changes)
    assert_refused(lambda: said(opened(tmp_path, "labelme")), says)


def test_a_polygon_in_the_corner_pixel_is_drawn(tmp_path: Path) -> None:
    labelme_folder(tmp_path, CAT | {"points": [[0, 0], [1, 0], [1, 1], [0, 1]]})
    assert int(np.sum(labels_of(opened(tmp_path, "labelme"))[0])) == 4


def cvat(shapes: str, number: int = 4, subsets: tuple[str, ...] = ("",), before: str = "") -> str:
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    images = "".join(
        f'<image id="{k}" name="{k}.png" {size} subset="{subsets[k % len(subsets)]}">{shapes}</image>'
        for k in range(number)
    )
    labels = "<label><name>cat</name></label>"
    return f"{before}<annotations><meta><task><labels>{labels}</labels></task></meta>{images}</annotations>"


POLYGON = '<polygon label="cat" points="3,2;6,2;6,4;3,4" z_order="0"/>'


@pytest.mark.parametrize(
    "text",
    [
        cvat(POLYGON),
        cvat(POLYGON, before=f"<!-- {'x' * 500} -->"),
        cvat(f'<tag label="cat"/>{POLYGON}'),
        cvat('<mask label="cat" rle="0,12" left="3" top="2" width="4" height="3"/>'),
        cvat('<box label="cat" xtl="3" ytl="2" xbr="7" ybr="5"/>'),
        cvat(POLYGON).replace("task>", "project>"),
    ],
)
def test_cvat_objects_are_drawn(tmp_path: Path, text: str) -> None:
    pictures(tmp_path)
    (tmp_path / "a.xml").write_text(text)
    assert labels_of(opened(tmp_path, "cvat")) == [BOX.tolist()] * 4


def test_cvat_subsets_that_are_no_split_are_left_out(tmp_path: Path) -> None:
    pictures(tmp_path, 8)
    (tmp_path / "a.xml").write_text(cvat(POLYGON, 8, ("Train", "Validation", "extra", "")))
    dataset = opened(tmp_path, "cvat")
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 2, "val": 2}
    assert "4 images name no split" in said(dataset)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ('<polygon label="cat" points="0.3,0.2;0.6,0.2;0.6,0.4"/>', "between 0 and 1, as shares"),
        ('<skeleton label="cat"><points label="1" points="1,1"/></skeleton>', r"skip: \[skeleton\]"),
        ('<cuboid label="cat" xtl1="1"/>', r"skip: \[cuboid\]"),
    ],
)
def test_cvat_that_cannot_be_right(tmp_path: Path, shapes: str, says: str) -> None:
    pictures(tmp_path)
    (tmp_path / "a.xml").write_text(cvat(shapes))
    assert_refused(lambda: said(opened(tmp_path, "cvat")), says)


def studio(*results: tuple[str, dict[str, Any]], image: str = "/data/upload/1/{}.png") -> list[dict[str, Any]]:
    size = {"original_width": WIDTH, "original_height": HEIGHT}
    drawn = [{"type": kind, "value": value, **size} for kind, value in results]
    return [{"data": {"image": image.format(k)}, "annotations": [{"result": drawn}]} for k in range(4)]


PERCENT = ("polygonlabels", {"points": [[25, 25], [50, 25], [50, 50], [25, 50]], "polygonlabels": ["cat"]})


@pytest.mark.parametrize(
    "tasks",
    [
        studio(PERCENT),
        studio(PERCENT, ("choices", {"choices": ["good"]}), ("textarea", {"text": ["a"]}), ("rating", {"rating": 3})),
        studio(PERCENT, image="/data/upload/1/0a1b2c3d-{}.png"),
        studio(PERCENT, image="/data/local-files/?d=some/where/{}.png"),
        studio(PERCENT, image="s3://bucket/folder/{}.png"),
    ],
)
def test_label_studio_objects_are_drawn(tmp_path: Path, tasks: list[dict[str, Any]]) -> None:
    pictures(tmp_path)
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    assert labels_of(opened(tmp_path, "label-studio")) == [BOX.tolist()] * 4


def test_label_studio_without_annotations_says_so(tmp_path: Path) -> None:
    pictures(tmp_path)
    tasks = [task | {"annotations": [], "predictions": task["annotations"]} for task in studio(PERCENT)]
    (tmp_path / "a.json").write_text(json.dumps(tasks))
    with pytest.raises(DataError, match="no image has an annotation; 4 tasks that nobody annotated are left out"):
        opened(tmp_path, "label-studio")


def supervisely(
    root: Path, *things: dict[str, Any], folder: str = "ds0", titles: tuple[str, ...] = ("cat", "dog")
) -> None:
    pictures(root / folder / "img")
    (root / "meta.json").write_text(json.dumps({"classes": [{"title": title, "color": "#FF0000"} for title in titles]}))
    for k in range(4):
        write_annotation(root / folder / "ann" / f"{k}.png.json", (WIDTH, HEIGHT), list(things))


@pytest.mark.parametrize(
    ("thing", "expected"),
    [
        (polygon_object(CORNERS, title="cat"), 1),
        (bitmap_object(BOX.astype(bool), title="dog"), 2),
        (bitmap_object(BOX[2:5, 3:7].astype(bool), (3, 2), title="cat"), 1),
    ],
)
def test_supervisely_objects_are_drawn(tmp_path: Path, thing: dict[str, Any], expected: int) -> None:
    supervisely(tmp_path, thing)
    assert labels_of(opened(tmp_path, "supervisely")) == [(BOX * expected).tolist()] * 4


def test_supervisely_that_cannot_be_right(tmp_path: Path) -> None:
    supervisely(tmp_path, polygon_object([[0.2, 0.2], [0.6, 0.2], [0.6, 0.5]], title="cat"))
    assert "between 0 and 1, as shares" in said(opened(tmp_path, "supervisely"))
    supervisely(tmp_path, {"classTitle": "cat", "geometryType": "rectangle", "points": {"exterior": [[3, 2], [6, 4]]}})
    assert "convert it to bitmap or polygon" in said(opened(tmp_path, "supervisely"))


# Run lengths


def disc(width: int, height: int, x: int, y: int) -> np.ndarray:
    rows, columns = np.indices((height, width))
    return ((columns - x) ** 2 + (rows - y) ** 2 < 64).astype(np.uint8)


def runs(mask: np.ndarray, order: str = "column", first: int = 1) -> str:
    """Starts and lengths, by the places at which a flat mask changes."""
    flat = np.concatenate([[0], (mask.T if order == "column" else mask).ravel(), [0]])
    places = np.flatnonzero(np.diff(flat))
    return " ".join(f"{start + first} {end - start}" for start, end in places.reshape(-1, 2))


def table(root: Path, masks: list[np.ndarray], **counted: Any) -> None:
    for k, mask in enumerate(masks):
        save(root / f"{k:02}.png", np.repeat((90 + 9 * (k % 4) + 120 * mask)[..., None], 3, axis=2).astype(np.uint8))
    lines = [f"{k:02}.png,{runs(mask, **counted)}" for k, mask in enumerate(masks)]
    (root / "train.csv").write_text("\n".join(["ImageId,EncodedPixels", *lines]))


WIDE = [disc(60, 40, 12 + 3 * k, 10 + k) for k in range(12)]
TOUCHING = [np.where(np.indices(mask.shape)[0] < 6, disc(60, 40, 30, 3), mask).astype(np.uint8) for mask in WIDE]
BELOW = [mask[::-1] for mask in TOUCHING]


@pytest.mark.parametrize(
    ("masks", "counted", "wrong", "line"),
    [
        (WIDE, {"order": "row"}, {}, "order: row"),
        (WIDE, {}, {"order": "row"}, "order: column"),
        (TOUCHING, {"first": 0}, {}, "first: 0"),
        (BELOW, {}, {"first": 0}, "first: 1"),
        (TOUCHING, {"order": "row", "first": 0}, {}, "order: row"),
    ],
)
def test_run_lengths_that_count_otherwise_are_refused(
    tmp_path: Path, masks: list[np.ndarray], counted: dict[str, Any], wrong: dict[str, Any], line: str
) -> None:
    table(tmp_path, masks, **counted)
    dataset = opened(tmp_path, "rle-csv", **counted)
    assert {each.id: dataset.labels_of(each).tolist() for each in dataset.samples("all")} == {
        f"{k:02}": mask.tolist() for k, mask in enumerate(masks)
    }
    with pytest.raises(DataError, match=f"`{line}`"):
        opened(tmp_path, "rle-csv", **wrong)


@pytest.mark.parametrize(
    ("masks", "first", "says"),
    [
        (BELOW, 0, "end one pixel before a line does and none with it, as where pixels count from 0; write first: 0"),
        (
            TOUCHING,
            1,
            "begin one pixel after a line does and none with it, as where pixels count from 1; write first: 1",
        ),
    ],
)
def test_run_lengths_of_objects_at_the_other_edge_are_doubted(
    tmp_path: Path, masks: list[np.ndarray], first: int, says: str
) -> None:
    """A pixel too early or too late, they leave none in another line."""
    table(tmp_path, masks, first=first)
    assert opened(tmp_path, "rle-csv", first=first).faults == ()
    (fault,) = opened(tmp_path, "rle-csv", first=1 - first).faults
    assert says in fault.message
    table(tmp_path, WIDE, first=first)
    assert opened(tmp_path, "rle-csv", first=1 - first).faults == ()


def test_small_objects_at_one_edge_are_enough(tmp_path: Path) -> None:
    """Of each only its tip touches the edge, and as many runs begin in the next row."""
    masks = [disc(60, 40, 8 + 4 * k, 6) for k in range(12)]
    assert masks[0][0].sum() == 11 and masks[0][:2].any(axis=0).sum() == 13
    table(tmp_path, masks, first=0)
    with pytest.raises(DataError, match="`first: 0`"):
        opened(tmp_path, "rle-csv")


@pytest.mark.parametrize(("text", "foreground"), [("", 0), ("-1", 0), ("27 3 35 3 43 3 51 3", 12)])
def test_run_lengths_of_no_object(tmp_path: Path, text: str, foreground: int) -> None:
    pictures(tmp_path)
    rows = ["0.png,27 3 35 3 43 3 51 3", f"1.png,{text}", "2.png,27 3 35 3", "2.png,43 3 51 3", "3.png,"]
    (tmp_path / "t.csv").write_text("\n".join(["ImageId,EncodedPixels", *rows]))
    dataset = opened(tmp_path, "rle-csv")
    sums = {each.id: int(dataset.labels_of(each).sum()) for each in dataset.samples("all")}
    assert sums == {"0": 12, "1": foreground, "2": 12, "3": 0}
    assert next(dataset.labels_of(each) for each in dataset.samples("all") if each.id == "2").tolist() == BOX.tolist()


@pytest.mark.parametrize("text", ["1 0", "0 3", "[27, 3]", "27", "95 5"])
def test_run_lengths_that_cannot_be(tmp_path: Path, text: str) -> None:
    pictures(tmp_path)
    (tmp_path / "t.csv").write_text("ImageId,EncodedPixels\n" + "".join(f'{k}.png,"{text}"\n' for k in range(4)))
    assert said(opened(tmp_path, "rle-csv")).count("error annotation") == 4


# Arrays


def arrays(root: Path, mask: np.ndarray, suffix: str = "npy", **others: np.ndarray) -> None:
    import scipy.io

    pictures(root / "img")
    (root / "gt").mkdir()
    for k in range(4):
        if suffix == "npy":
            np.save(root / "gt" / f"{k}.npy", mask)
        else:
            scipy.io.savemat(root / "gt" / f"{k}.mat", {"label": mask, **others})


ONE_HOT = np.stack([1 - BOX, BOX], axis=-1)


@pytest.mark.parametrize("suffix", ["npy", "mat"])
@pytest.mark.parametrize("mask", [BOX, BOX.astype(bool), BOX.astype(float), BOX.astype(np.int64), BOX * 255])
def test_arrays_of_any_numbers_are_read(tmp_path: Path, suffix: str, mask: np.ndarray) -> None:
    arrays(tmp_path, mask, suffix)
    assert labels_of(opened(tmp_path, "arrays")) == [BOX.tolist()] * 4


@pytest.mark.parametrize(
    ("mask", "suffix", "says"),
    [
        (ONE_HOT, "npy", r"save array.argmax\(axis=2\)"),
        (np.moveaxis(ONE_HOT, 2, 0), "npy", r"save array.argmax\(axis=0\)"),
        (ONE_HOT.astype(bool), "npy", r"save array.argmax\(axis=2\)"),
        (BOX[..., None] * np.array([255, 0, 0], np.uint8), "npy", "save the class of each pixel"),
        (BOX * 0.8 + 0.1, "npy", "`values: {0.1: background, 0.9: foreground}`"),
        (BOX.astype(int) - 1, "npy", "`values: {-1: background, 0: foreground}`"),
        (BOX.T, "npy", "turned by a quarter"),
        (BOX.T, "mat", "turned by a quarter"),
        (ONE_HOT, "mat", "holds no array of labels"),
    ],
)
def test_arrays_that_are_no_labels_are_one_message(tmp_path: Path, mask: np.ndarray, suffix: str, says: str) -> None:
    arrays(tmp_path, mask, suffix)
    assert_refused(lambda: said(opened(tmp_path, "arrays")), says)


def test_mat_files_of_several_variables_and_of_version_7_3(tmp_path: Path) -> None:
    arrays(tmp_path / "two", BOX, "mat", other=BOX)
    with pytest.raises(DataError, match="variable: label or variable: other"):
        opened(tmp_path / "two", "arrays")
    assert labels_of(opened(tmp_path / "two", "arrays", variable="label")) == [BOX.tolist()] * 4
    arrays(tmp_path / "new", BOX, "mat")
    for path in (tmp_path / "new" / "gt").iterdir():
        path.write_bytes(b"MATLAB 7.3 MAT-file".ljust(116) + bytes(8) + b"\x00\x02IM" + bytes(400))
    with pytest.raises(DataError, match=r"is of MATLAB 7\.3|save it with save\(\.\.\., '-v7'\)"):
        opened(tmp_path / "new", "arrays")


TALL, MANY = np.zeros((20, 30), np.uint8), np.random.default_rng(0).integers(0, 256, (5, 20, 30, 3), dtype=np.uint8)
TALL[4:9, 6:20] = 1


@pytest.mark.parametrize("images", [MANY, np.moveaxis(MANY, 3, 1), MANY[..., 0]])
@pytest.mark.parametrize(
    "masks", [np.stack([TALL] * 5), np.stack([TALL] * 5)[..., None], np.stack([TALL] * 5)[:, None]]
)
def test_stacks_have_channels_first_or_last(tmp_path: Path, images: np.ndarray, masks: np.ndarray) -> None:
    for split in ("train", "test"):
        np.save(tmp_path / f"X_{split}.npy", images)
        np.save(tmp_path / f"Y_{split}.npy", masks)
    dataset = opened(tmp_path, "arrays")
    assert {split: [each.id for each in part][:1] for split, part in dataset.splits.items()} == {
        "train": ["train/000000"],
        "test": ["test/000000"],
    }
    assert labels_of(dataset) == [TALL.tolist()] * 10
    expected = MANY[..., 0] if images.ndim == 3 else MANY
    assert np.array_equal(np.asarray(dataset.image_of(dataset.samples("test")[2])), expected[2])


def test_one_image_is_no_stack_of_its_rows(tmp_path: Path) -> None:
    np.save(tmp_path / "images.npy", MANY[0])
    np.save(tmp_path / "masks.npy", TALL[..., None])
    with pytest.raises(DataError, match="cannot tell which files"):
        opened(tmp_path, "arrays")


# NIfTI, GeoTIFF, Hugging Face


def volumes(root: Path, labels: np.ndarray, affine: np.ndarray | None = None) -> None:
    nibabel = pytest.importorskip("nibabel")
    image = np.random.default_rng(0).integers(0, 255, (WIDTH, HEIGHT, 2)).astype(np.int16)
    for folder, values, place in (
        ("imagesTr", image, np.eye(4)),
        ("labelsTr", labels, np.eye(4) if affine is None else affine),
    ):
        (root / folder).mkdir(parents=True)
        for k in range(2):
            nibabel.save(nibabel.Nifti1Image(values, place), root / folder / f"c{k}.nii.gz")


SLICES = np.repeat(BOX.T[..., None], 2, axis=2)


@pytest.mark.parametrize("labels", [SLICES, SLICES.astype(np.float32), SLICES[..., None], SLICES * 255])
def test_volumes_of_labels_are_read(tmp_path: Path, labels: np.ndarray) -> None:
    volumes(tmp_path, labels)
    assert labels_of(opened(tmp_path, "nifti", scale=[0, 255])) == [BOX.tolist()] * 4


@pytest.mark.parametrize(
    ("labels", "affine", "says"),
    [
        (SLICES * np.float32(0.9999), None, "`values: {0: background, 0.9999: foreground}`"),
        (SLICES[::-1].copy(), np.diag([-1.0, 1, 1, 1]), "lies elsewhere in space"),
        (SLICES, np.diag([2.0, 2, 5, 1]), "lies elsewhere in space"),
        (np.where(SLICES == 0, np.nan, 1).astype(np.float32), None, "NaN or infinite"),
        (SLICES[:, :-1].copy(), None, "must have the same size"),
    ],
)
def test_volumes_that_do_not_fit_are_one_message(tmp_path: Path, labels: np.ndarray, affine: Any, says: str) -> None:
    volumes(tmp_path, labels, affine)
    assert_refused(lambda: said(opened(tmp_path, "nifti", scale=[0, 255])), says)


def maps(root: Path, mask: np.ndarray, offset: float = 0.0, valid: np.ndarray | None = None, **options: Any) -> None:
    rasterio = pytest.importorskip("rasterio")
    image = np.random.default_rng(0).integers(1, 255, (3, HEIGHT, WIDTH), dtype=np.uint8)
    for folder, values, place, more in (("images", image, 0.0, {}), ("masks", mask[None], offset, options)):
        (root / folder).mkdir(parents=True)
        for k in range(2):
            size = {"width": WIDTH, "height": HEIGHT, "count": len(values), "dtype": values.dtype}
            form = {"driver": "GTiff", "crs": "EPSG:32633", **size}
            transform = rasterio.transform.from_origin(100 + place, 200, 2, 2)
            with rasterio.open(root / folder / f"a{k}.tif", "w", transform=transform, **form, **more) as file:
                file.write(values)
                if folder == "masks" and valid is not None:
                    file.write_mask(valid)


TOP = np.where(np.arange(HEIGHT)[:, None] == 0, 1, 0).astype(bool) & np.ones((1, WIDTH), bool)
TOP_IGNORED = np.where(TOP, 255, BOX)


@pytest.mark.parametrize(
    ("mask", "options", "expected"),
    [
        (BOX, {}, BOX),
        (BOX * 255, {}, BOX),
        (np.where(TOP, 255, BOX).astype(np.uint8), {"nodata": 255}, TOP_IGNORED),
        (np.where(TOP, -9999, BOX.astype(np.int16)), {"nodata": -9999}, TOP_IGNORED),
        (np.where(TOP, np.nan, BOX).astype(np.float32), {"nodata": np.nan}, TOP_IGNORED),
        (BOX, {"valid": np.where(TOP, 0, 255).astype(np.uint8)}, TOP_IGNORED),
    ],
)
def test_maps_without_data_are_ignored_there(
    tmp_path: Path, mask: np.ndarray, options: Any, expected: np.ndarray
) -> None:
    maps(tmp_path, mask, **options)
    assert labels_of(opened(tmp_path, "geotiff")) == [expected.tolist()] * 2


def test_maps_that_lie_elsewhere_are_read_by_no_other_reader(tmp_path: Path) -> None:
    """Pillow knows nothing of places on the map, so that the reader of any folders would pair them."""
    maps(tmp_path / "set", BOX, offset=10.0)
    with pytest.raises(DataError, match="lies elsewhere on the map"):
        write_study_file(tmp_path / "set", tmp_path / "study.yaml")
    assert not (tmp_path / "study.yaml").exists()


def hugging_face(number: int = 4, mask: np.ndarray = BOX) -> Any:
    datasets = pytest.importorskip("datasets")

    def stored(values: np.ndarray) -> dict[str, Any]:
        stream = io.BytesIO()
        Image.fromarray(values).save(stream, "PNG")
        return {"bytes": stream.getvalue(), "path": None}

    image = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8)
    columns = {"image": [stored(image)] * number, "mask": [stored(mask)] * number}
    return datasets.Dataset.from_dict(columns, features=datasets.Features(dict.fromkeys(columns, datasets.Image())))


def test_a_split_that_has_no_role_is_left_out(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    parts = datasets.DatasetDict(train=hugging_face(), validation=hugging_face(2), extra=hugging_face(3))
    parts.save_to_disk(tmp_path)
    dataset = opened(tmp_path, "huggingface")
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 4, "val": 2}
    assert "3 images name no split (extra/000000" in said(dataset)
    assert labels_of(dataset) == [BOX.tolist()] * 6


def test_parquet_files_get_the_line_that_writes_them_anew(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    hugging_face().to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    with pytest.raises(DataError, match=r"load_dataset as load; load\(.*\)\.save_to_disk\("):
        write_study_file(tmp_path, tmp_path / "study.yaml")


# VOC of LabelMe's older export


def test_arrays_in_the_folder_of_voc_masks_give_way_to_pictures(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "JPEGImages" / f"{k}.jpg", k)
        save(tmp_path / "SegmentationClassPNG" / f"{k}.png", BOX)
        (tmp_path / "SegmentationClass").mkdir(exist_ok=True)
        np.save(tmp_path / "SegmentationClass" / f"{k}.npy", BOX)
    (tmp_path / "class_names.txt").write_text("_background_\ncat")
    dataset = opened(tmp_path, "voc")
    assert dataset.classes == ("background", "cat")
    assert labels_of(dataset) == [BOX.tolist()] * 4


# Several masks, and a folder for each image


CHIN = np.roll(BOX, 4, axis=1)  # next to the box


@pytest.mark.parametrize(
    ("image", "masks"),
    [
        ("{0}/image.png", ("{0}/cat.png", "{0}/dog.png")),
        ("set/{0}/img.png", ("set/{0}/cat.png", "set/{0}/dog.png")),
        ("images/{0}.png", ("masks/cat_{0}.png", "masks/dog_{0}.png")),
        ("images/{0}.png", ("masks/{0}_cat.png", "masks/{0}_dog.png")),
        ("images/{0}.png", ("masks/cat/{0}.png", "masks/dog/{0}.png")),
    ],
)
def test_files_of_classes_are_recognised(tmp_path: Path, image: str, masks: tuple[str, str]) -> None:
    """The dog is larger, and so lies below; of two images it has no file."""
    large = CHIN.copy()
    large[1] = 1
    for k in range(6):
        picture(tmp_path / "set" / image.format(k), k)
        save(tmp_path / "set" / masks[0].format(k), BOX * np.uint8(255))
        if k > 1:
            save(tmp_path / "set" / masks[1].format(k), large * np.uint8(255))
    write_study_file(tmp_path / "set", tmp_path / "study.yaml")
    study = load_study(tmp_path / "study.yaml")
    dataset, _ = load_dataset("set", study.data["set"], "paper", None, str(tmp_path), Store(tmp_path / "out"))
    assert dataset.classes == ("background", "dog", "cat")
    expected = np.where(BOX, 2, large)
    for sample in dataset.samples("all"):
        number = int(re.findall(r"\d", sample.id)[0])
        assert dataset.labels_of(sample).tolist() == (expected if number > 1 else 2 * BOX).tolist()


def test_a_folder_for_each_image_with_one_mask(tmp_path: Path) -> None:
    for k in range(6):
        picture(tmp_path / "set" / f"case{k}" / "image.png", k)
        save(tmp_path / "set" / f"case{k}" / "mask.png", BOX * np.uint8(255))
    write_study_file(tmp_path / "set", tmp_path / "study.yaml")
    study = load_study(tmp_path / "study.yaml")
    dataset, _ = load_dataset("set", study.data["set"], "paper", None, str(tmp_path), Store(tmp_path / "out"))
    assert labels_of(dataset) == [BOX.tolist()] * 6
