"""Readers of annotation files: rules of overlap and of shapes with values by hand, and hostile input as one message."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import layouts
from fakes import save
from layouts import BOX, CORNERS, HEIGHT, WIDTH, labelme_record, picture, png_text
from segstudy.data.core import Dataset
from segstudy.data.readers import READERS, cvat, label_studio, labelme, rle_csv, shapes, supervisely
from segstudy.data.readers.annotated import AnnotationOptions
from segstudy.errors import DataError

SIZE = (WIDTH, HEIGHT)
RIGHT = np.zeros((HEIGHT, WIDTH), np.uint8)  # a box over the right half of BOX
RIGHT[2:5, 5:9] = 1


def first(dataset: Dataset) -> np.ndarray:
    return dataset.labels_of(dataset.samples("all")[0])


def only(root: Path, name: str, content: object, num: int = 2, **options: Any) -> Dataset:
    """A reader's dataset of ``num`` pictures ``0.png`` ... and one annotation file."""
    for k in range(num):
        picture(root / f"{k}.png", k)
    file = {"coco": "a.json", "cvat": "a.xml", "rle-csv": "a.csv", "label-studio": "a.json"}[name]
    (root / file).write_text(content if isinstance(content, str) else json.dumps(content))
    reader = READERS.find(name)
    return reader.read("d", root, reader.options(**options))


def by_id(dataset: Dataset, key: str) -> np.ndarray:
    return dataset.labels_of(next(sample for sample in dataset.samples("all") if sample.id == key))


# Shapes


def test_outlines_and_runs_by_hand() -> None:
    assert shapes.polygon(CORNERS, SIZE).astype(int).tolist() == BOX.tolist()
    assert shapes.rectangle(7, 5, 3, 2, SIZE).astype(int).tolist() == BOX.tolist()
    circle = shapes.ellipse((2, 2), (1, 1), (4, 4)).astype(int)  # centres at 0.5 from (2, 2) both ways: distance 0.71
    assert circle.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 0]]
    assert shapes.runs([1, 2, 3], (3, 2), "row").astype(int).tolist() == [[0, 1, 1], [0, 0, 0]]
    assert shapes.runs([1, 2, 3], (3, 2), "column").astype(int).tolist() == [[0, 1, 0], [1, 0, 0]]
    assert shapes.starts_and_lengths("1 1 6 1", (3, 2), "column", 1).astype(int).tolist() == [[1, 0, 0], [0, 0, 1]]
    assert shapes.starts_and_lengths("0 1 3 1", (3, 2), "row", 0).astype(int).tolist() == [[1, 0, 0], [1, 0, 0]]
    assert shapes.pasted(np.ones((2, 2), bool), -1, 1, (3, 2)).astype(int).tolist() == [[0, 0, 0], [1, 0, 0]]


def test_supervisely_rounds_corners_down_and_keeps_holes() -> None:
    # supervisely 6.74: PointLocation floors; fillPoly covers the outline, the hole's outline too.
    ring = [[3.9, 2.9], [6.9, 2.2], [6.1, 4.9], [3.2, 4.1]]
    assert shapes.floored_polygon(ring, [], SIZE).astype(int).tolist() == BOX.tolist()
    holed = shapes.floored_polygon([[0, 0], [4, 0], [4, 4], [0, 4]], [[[1, 1], [2, 1], [2, 2], [1, 2]]], (6, 6))
    assert holed.sum() == 25 - 4
    assert not holed[1:3, 1:3].any()


@pytest.mark.parametrize(
    ("draw", "says"),
    [
        (lambda: shapes.polygon([[0, 0], [1, float("nan")], [1, 1]], SIZE), "a corner is not a number"),
        (lambda: shapes.polygon([[0, 0], [1e9, 0], [1, 1]], SIZE), "far outside the image of 12x8"),
        (lambda: shapes.polygon([[-5, -5], [-2, -5], [-2, -1]], SIZE), "wholly outside the image of 12x8"),
        (lambda: shapes.polygon([[0, 0], [1, 1]], SIZE), "three or more points"),
        (lambda: shapes.polygon("corners", SIZE), "corners must be pairs of numbers|three or more"),
        (lambda: shapes.polygon([[0, 0], [1], [2, 2]], SIZE), "corners must be pairs of numbers"),
        (lambda: shapes.runs([2**62, 2**62], SIZE, "row"), "add up to 9223372036854775808 pixels; the image has 96"),
        (lambda: shapes.runs([10**30], SIZE, "row"), "whole numbers"),
        (lambda: shapes.runs([-1, 97], SIZE, "row"), "0 or more"),
        (lambda: shapes.runs([95], SIZE, "row"), "add up to 95 pixels"),
        (lambda: shapes.runs([1.5], SIZE, "row"), "whole numbers"),
        (lambda: shapes.starts_and_lengths("1", SIZE, "column", 1), "not pairs of start and length"),
        (
            lambda: shapes.starts_and_lengths("0 1", SIZE, "column", 1),
            "outside the image's 96 pixels, which begin at 1",
        ),
        (lambda: shapes.starts_and_lengths("96 2", SIZE, "column", 1), "ends beyond the image's 96 pixels"),
        (lambda: shapes.starts_and_lengths("1 99999999999999999999999", SIZE, "column", 1), "not a list of starts"),
        (lambda: shapes.starts_and_lengths("a b", SIZE, "column", 1), "not a list of starts"),
        (lambda: shapes.checked_size(10**6, 10**6), "not that of an image"),
        (lambda: shapes.checked_size(float("nan"), 3), "not that of an image"),
        (lambda: shapes.checked_size("12", 8), "not that of an image"),
        (lambda: shapes.pasted(np.ones((2, 2), bool), 50, 0, SIZE), "wholly outside the image"),
        (lambda: shapes.pasted(np.ones((2, 2), bool), float("inf"), 0, SIZE), "no place in the image"),
    ],
)
def test_numbers_out_of_bounds_are_refused_before_memory_is_taken(draw: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        draw()


# COCO


def coco(*objects: dict[str, Any], **changes: Any) -> dict[str, Any]:
    images = [{"id": k, "file_name": f"{k}.png", "width": WIDTH, "height": HEIGHT} for k in range(2)]
    things = [{"id": k, "image_id": 0, "iscrowd": 0, **each} for k, each in enumerate(objects)]
    categories = [{"id": 9, "name": "dog"}, {"id": 4, "name": "cat"}]
    return {"images": images, "annotations": things, "categories": categories, **changes}


def ring(left: int, top: int, right: int, bottom: int) -> list[list[int]]:
    return [[left, top, right, top, right, bottom, left, bottom]]


def test_coco_draws_later_over_earlier_and_crowds_below(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    crowd = {"size": [HEIGHT, WIDTH], "counts": [0, WIDTH * HEIGHT]}
    dataset = only(
        tmp_path,
        "coco",
        coco(
            {"category_id": 9, "segmentation": ring(3, 2, 7, 5)},
            {"category_id": 4, "segmentation": ring(5, 2, 9, 5)},
            {"category_id": 4, "segmentation": crowd, "iscrowd": 1},
        ),
    )
    assert dataset.classes == ("background", "cat", "dog")  # by id, 4 before 9
    expected = np.full((HEIGHT, WIDTH), 255)
    expected[BOX > 0] = 2
    expected[RIGHT > 0] = 1
    assert by_id(dataset, "0").tolist() == expected.tolist()
    assert not by_id(dataset, "1").any()
    assert "a.json: 1 of 2 images have no object and are background" in dataset.notes


def test_coco_classes_chosen_leave_others_as_background(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    content = coco(
        {"category_id": 9, "segmentation": ring(3, 2, 7, 5)}, {"category_id": 4, "segmentation": ring(5, 2, 9, 5)}
    )
    dataset = only(tmp_path, "coco", content, classes=["dog"])
    assert dataset.classes == ("background", "dog")
    assert by_id(dataset, "0").tolist() == BOX.tolist()
    assert dataset.notes[-1] == "objects of 1 titles are background: cat"
    with pytest.raises(DataError, match="no object is titled 'dgo' \\(did you mean 'dog'"):
        only(tmp_path, "coco", content, classes=["dgo"])


@pytest.mark.parametrize(
    ("thing", "says"),
    [
        ({"segmentation": [[0, 0, 1, 1]]}, "three or more corners"),
        ({"segmentation": [[0, 0, 1, 1, float("nan"), 2]]}, "is not a number"),
        ({"segmentation": [[0, 0, 1e300, 1, 5, 5]]}, "far outside"),
        ({"segmentation": [["a", 0, 1, 1, 5, 5]]}, "malformed"),
        ({"segmentation": {"size": [8, 12], "counts": [10**15]}}, "add up to 1000000000000000 pixels"),
        ({"segmentation": {"size": [8, 12], "counts": "PPPPPPPPPPPPPPPPP"}}, "damaged|cut off"),
        ({"segmentation": {"size": [8, 12], "counts": "ÿ"}}, "damaged"),
        ({"segmentation": {"size": [99, 12], "counts": [0]}}, "the image is \\[8, 12\\]"),
        ({"segmentation": {"counts": [0]}}, "'size' is missing"),
        ({"segmentation": []}, "the shape 'box' does not define which pixels it covers; .*skip: \\[box\\]"),
        ({"segmentation": ring(0, 0, 2, 2), "category_id": 77}, "the title 'category 77' is unknown"),
    ],
)
def test_coco_malformed_objects_are_one_message(tmp_path: Path, thing: dict[str, Any], says: str) -> None:
    pytest.importorskip("pycocotools")
    dataset = only(tmp_path, "coco", coco({"category_id": 9, **thing}))
    with pytest.raises(DataError, match=says) as caught:
        by_id(dataset, "0")
    assert "a.json: image '0': object 1" in str(caught.value)


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"images": [], "annotations": [], "categories": []}',
        '{"images": [{}], "annotations": [], "categories": [{"id": 1, "name": "a"}]}',
        '{"images": [3], "annotations": [], "categories": [{"id": 1, "name": "a"}]}',
        '{"images": [], "annotations": [{}], "categories": [{"id": 1, "name": "a"}]}',
        '{"images": [], "annotations": [], "categories": [{"id": "x"}]}',
        '{"images": null, "annotations": null, "categories": null}',
        "[" * 100_000,
    ],
)
def test_coco_malformed_files_are_one_message(tmp_path: Path, content: str) -> None:
    pytest.importorskip("pycocotools")
    with pytest.raises(DataError):
        only(tmp_path, "coco", content, annotations=["a.json"])


def test_coco_images_that_are_not_there_and_not_named_are_said(tmp_path: Path) -> None:
    pytest.importorskip("pycocotools")
    content = coco({"category_id": 9, "segmentation": ring(3, 2, 7, 5)})
    content["images"].append({"id": 5, "file_name": "../../etc/passwd.png", "width": WIDTH, "height": HEIGHT})
    dataset = only(tmp_path, "coco", content, num=3)
    assert [fault.kind for fault in dataset.faults] == ["missing", "left-out"]
    assert "2.png" in dataset.faults[1].message


# LabelMe


def labelled(root: Path, *things: dict[str, Any], **options: Any) -> Dataset:
    for k in range(2):
        picture(root / f"{k}.png", k)
        record = labelme_record(f"{k}.png", *({"label": "cat", **each} for each in things))
        (root / f"{k}.json").write_text(json.dumps(record))
    return labelme.read("d", root, AnnotationOptions(**options))


def test_labelme_shapes_by_hand(tmp_path: Path) -> None:
    mask = {"shape_type": "mask", "points": [[3, 2], [6, 4]], "mask": png_text(np.ones((3, 4), np.uint8))}
    box = {"shape_type": "rectangle", "points": [[6, 4], [3, 2]]}
    for number, shape in enumerate((mask, box, {"points": CORNERS})):
        assert first(labelled(tmp_path / str(number), shape)).tolist() == BOX.tolist()
    hidden = labelled(tmp_path / "h", {"points": CORNERS}, {"points": CORNERS, "label": "__ignore__"})
    assert hidden.classes == ("background", "cat")
    assert first(hidden).tolist() == (BOX.astype(int) * 255).tolist()


@pytest.mark.parametrize(
    ("shape", "says"),
    [
        ({"shape_type": "line", "points": [[0, 0], [5, 5]]}, "skip: \\[line\\]"),
        ({"points": [[0, 0], [float("inf"), 0], [1, 1]]}, "is not a number"),
        ({"shape_type": "mask", "points": [[0, 0]], "mask": "AAAA"}, "its mask cannot be decoded"),
        ({"shape_type": "mask", "points": [[0, 0]], "mask": png_text(np.ones((500, 500), np.uint8))}, "larger than"),
        ({"shape_type": "circle", "points": [[5, 5], [5, 5]]}, "two radii above 0"),
    ],
)
def test_labelme_malformed_shapes_are_one_message(tmp_path: Path, shape: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        first(labelled(tmp_path, {"points": CORNERS}, shape))


def test_labelme_skips_what_is_named(tmp_path: Path) -> None:
    line = {"shape_type": "line", "points": [[0, 0], [5, 5]]}
    assert first(labelled(tmp_path, {"points": CORNERS}, line, skip=["line"])).tolist() == BOX.tolist()


# CVAT


def task(shapes_text: str, more: str = "") -> str:
    labels = "".join(f"<label><name>{name}</name></label>" for name in ("cat", "dog"))
    size = f'width="{WIDTH}" height="{HEIGHT}"'
    images = "".join(f'<image id="{k}" name="{k}.png" {size}>{shapes_text}</image>' for k in range(2))
    return f"{more}<annotations><meta><task><labels>{labels}</labels></task></meta>{images}</annotations>"


def test_cvat_draws_by_z_order(tmp_path: Path) -> None:
    box = '<box label="cat" xtl="3" ytl="2" xbr="7" ybr="5" z_order="1"/>'
    over = '<box label="dog" xtl="0" ytl="0" xbr="12" ybr="8" z_order="0"/>'
    found = first(only(tmp_path, "cvat", task(box + over)))
    assert found.tolist() == np.where(BOX, 1, 2).tolist()


def test_cvat_masks_run_along_the_rows_of_their_box(tmp_path: Path) -> None:
    mask = '<mask label="dog" rle="0,12" left="3" top="2" width="4" height="3" z_order="0"/>'
    assert first(only(tmp_path, "cvat", task(mask))).tolist() == (2 * BOX).tolist()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (task("", '<!DOCTYPE x [<!ENTITY a "aaaa">]>'), "declares a document type"),
        (
            task('<mask label="cat" rle="0,99999999999" left="0" top="0" width="4" height="3"/>'),
            "add up to 99999999999",
        ),
        (task('<mask label="cat" rle="1" left="0" top="0" width="99999" height="99999"/>'), "larger than the image"),
        (task('<points label="cat" points="1,1"/>'), "skip: \\[points\\]"),
        (task('<polygon label="cat" points="1,1;nan,2;3,3"/>'), "is not a number"),
        (task('<polygon label="cat" points="1,1;x,2;3,3"/>'), "malformed"),
        (task('<polygon points="1,1;2,2;3,3"/>'), "'label' is missing"),
        ("<annotations><track/></annotations>", "CVAT for video"),
        ("<annotations>", "cannot be read as XML"),
    ],
)
def test_cvat_malformed_files_are_one_message(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(DataError, match=says):
        first(only(tmp_path, "cvat", text))


# Label Studio


def brush_bytes(mask: np.ndarray) -> list[int]:
    """Run lengths as Label Studio has them, one value at a time: 32 bits of number, word size, four sizes, then runs."""
    flat = np.repeat(mask.ravel().astype(np.uint8) * 255, 4)
    bits = f"{flat.size:032b}{7:05b}{3:04b}{3:04b}{7:04b}{15:04b}"
    at = 0
    while at < flat.size:
        end = at
        while end < flat.size and flat[end] == flat[at] and end - at < 2**16:
            end += 1
        bits += f"1{3:02b}{end - at - 1:016b}{flat[at]:08b}"
        at = end
    bits += "0" * (-len(bits) % 8)
    return [int(bits[k : k + 8], 2) for k in range(0, len(bits), 8)]


def studio(*values: tuple[str, dict[str, Any]], **more: Any) -> list[dict[str, Any]]:
    size = {"original_width": WIDTH, "original_height": HEIGHT, **more}
    results = [{"type": kind, "value": value, **size} for kind, value in values]
    return [{"data": {"image": f"/data/upload/1/{k}.png"}, "annotations": [{"result": results}]} for k in range(2)]


def test_label_studio_brushes_and_boxes_by_hand(tmp_path: Path) -> None:
    brush = ("brushlabels", {"format": "rle", "rle": brush_bytes(BOX), "brushlabels": ["cat"]})
    assert first(only(tmp_path, "label-studio", studio(brush))).tolist() == BOX.tolist()
    box = {"x": 25, "y": 25, "width": 100 / 3, "height": 37.5, "rotation": 0, "rectanglelabels": ["cat"]}
    assert first(only(tmp_path, "label-studio", studio(("rectanglelabels", box)))).tolist() == BOX.tolist()


def test_label_studio_takes_the_annotation_that_counts(tmp_path: Path) -> None:
    brush = [("brushlabels", {"rle": brush_bytes(mask), "brushlabels": ["cat"]}) for mask in (BOX, RIGHT)]
    tasks = studio(brush[0])
    for each, later in zip(tasks, studio(brush[1]), strict=True):
        each["annotations"] += later["annotations"]
    assert first(only(tmp_path, "label-studio", tasks)).tolist() == RIGHT.tolist()
    for each in tasks:
        each["annotations"][1]["was_cancelled"] = True
    assert first(only(tmp_path, "label-studio", tasks)).tolist() == BOX.tolist()


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"rle": [255] * 40, "brushlabels": ["cat"]}, "its brush has 4294967295 values; four for each pixel are 384"),
        ({"rle": brush_bytes(BOX)[:12], "brushlabels": ["cat"]}, "cut off"),
        ({"rle": [0, 300], "brushlabels": ["cat"]}, "a list of bytes"),
        ({"points": [[0, 0], [float("nan"), 1], [2, 2]], "brushlabels": ["cat"]}, "is not a number"),
        ({"text": "x", "brushlabels": ["cat"]}, "skip: \\[brushlabels\\]"),
    ],
)
def test_label_studio_malformed_results_are_one_message(tmp_path: Path, value: dict[str, Any], says: str) -> None:
    with pytest.raises(DataError, match=says):
        first(only(tmp_path, "label-studio", studio(("brushlabels", value))))


# Run lengths in a CSV


def test_run_lengths_count_as_declared(tmp_path: Path) -> None:
    rows = "id,class,segmentation\n0,b,0 2\n1,a,1 1\n"  # along the rows from 0
    dataset = only(tmp_path, "rle-csv", rows, order="row", first=0)
    assert dataset.classes == ("background", "a", "b")
    expected = np.zeros((HEIGHT, WIDTH))
    expected[0, :2] = 2
    assert by_id(dataset, "0").tolist() == expected.tolist()
    down = by_id(only(tmp_path, "rle-csv", rows.replace("0 2", "1 2")), "0")
    assert down[:2, 0].tolist() == [2, 2]
    assert down.sum() == 4


@pytest.mark.parametrize(
    "text", ["", "id,rle\n", "id,other\n0,1 1\n", "id,rle\n0\n1,2,3,4\n", "\0\0", "id,rle\nx,1 1\n"]
)
def test_tables_that_cannot_be_read_are_one_message(tmp_path: Path, text: str) -> None:
    with pytest.raises(DataError):
        first(only(tmp_path, "rle-csv", text, csv="a.csv"))


def test_options_of_annotations_are_shared() -> None:
    for module in (cvat, labelme, label_studio, rle_csv):
        assert issubclass(module.READER.options, AnnotationOptions)


# Supervisely


def test_supervisely_nested_datasets_have_ids_of_their_path(tmp_path: Path) -> None:
    layouts.supervisely_nested(tmp_path)
    dataset = supervisely.read("d", tmp_path)
    ids = sorted(sample.id for sample in dataset.samples("all"))
    assert ids == ["ds1/0", "ds1/1", "ds1/2", "ds1/inner/0", "ds1/inner/1", "ds1/inner/2"]
    assert dataset.faults == ()
    assert first(dataset).tolist() == BOX.tolist()


def test_one_more_image_than_masks_is_a_fault_and_no_refusal(tmp_path: Path) -> None:
    layouts.tree(("a/{}.png", "b/{}_m.png"))(tmp_path)
    save(tmp_path / "a" / "9.png", BOX)
    reader = READERS.find("folder")
    dataset = reader.read("d", tmp_path, reader.options(images="a/*.png", masks="b/{stem}_m.png"))
    assert [fault.kind for fault in dataset.faults] == ["image-without-mask"]
    assert "no mask 'b/9_m.png'" in dataset.faults[0].message


NUM_FUZZED = 120  # inputs for each format
STRANGE = [
    None,
    -1,
    10**18,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x" * 50,
    [],
    {},
    [[]],
    True,
    "../../etc/passwd",
    "\0",
]


def mutated(value: Any, rng: np.random.Generator) -> Any:
    """A value with one part, of any depth, replaced by something strange, or left out."""
    if isinstance(value, dict | list) and value and rng.random() < 0.85:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        key = keys[int(rng.integers(len(keys)))]
        changed = dict(value) if isinstance(value, dict) else list(value)
        if rng.random() < 0.1:
            del changed[key]
        else:
            changed[key] = mutated(value[key], rng)
        return changed
    return STRANGE[int(rng.integers(len(STRANGE)))]


@pytest.mark.parametrize("name", ["coco", "label-studio", "labelme", "supervisely"])
def test_json_with_one_strange_part_is_read_or_one_message(tmp_path: Path, name: str) -> None:
    if name == "coco":
        pytest.importorskip("pycocotools")
    makers = {"coco": layouts.roboflow, "supervisely": layouts.supervisely_nested}
    makers |= {"label-studio": layouts.label_studio, "labelme": layouts.labelme}
    makers[name](tmp_path)
    reader, rng = READERS.find(name), np.random.default_rng(5)
    files = sorted(tmp_path.rglob("*.json"))
    contents = {path: json.loads(path.read_text()) for path in files}
    outcomes = set()
    for number in range(NUM_FUZZED):
        path = files[number % len(files)]
        path.write_text(json.dumps(mutated(contents[path], rng)))
        try:
            dataset = reader.read("d", tmp_path, reader.options())
            for sample in dataset.samples("all"):
                assert set(np.unique(dataset.labels_of(sample)).tolist()) <= {*range(len(dataset.classes)), 255}
            outcomes.add("read")
        except DataError as error:
            outcomes.add("refused" if str(tmp_path) in str(error) else f"no place: {error}")
        path.write_text(json.dumps(contents[path]))
    assert outcomes == {"read", "refused"}


@pytest.mark.parametrize("name", ["cvat", "rle-csv"])
def test_text_with_strange_parts_is_read_or_one_message(tmp_path: Path, name: str) -> None:
    {"cvat": layouts.cvat, "rle-csv": layouts.clouds}[name](tmp_path)
    path = next(tmp_path.glob("*.xml" if name == "cvat" else "*.csv"))
    reader, rng, text = READERS.find(name), np.random.default_rng(5), path.read_text()
    outcomes = set()
    for _ in range(NUM_FUZZED):
        at, length = int(rng.integers(len(text))), int(rng.integers(12))
        strange = ["", "nan", "-9", "99999999999999999999", ";", ",", '"', "<", "\0", "ü"][int(rng.integers(10))]
        path.write_text(text[:at] + strange + text[at + length :])
        try:
            dataset = reader.read("d", tmp_path, reader.options())
            for sample in dataset.samples("all"):
                assert dataset.labels_of(sample).shape == (HEIGHT, WIDTH)
            outcomes.add("read")
        except DataError as error:
            outcomes.add("refused" if str(tmp_path) in str(error) else f"no place: {error}")
    assert outcomes == {"read", "refused"}
