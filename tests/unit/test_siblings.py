"""Siblings of masks and tables that were once misread in silence: the right value by hand, or the one message."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from fakes import fake_folder, save
from segstudy.data.core import IMAGE_SUFFIXES, Sample, divide, open_image
from segstudy.data.declared import Declared
from segstudy.data.encoding import Encoding, decide
from segstudy.data.quality.pairing import list_images
from segstudy.data.readers import cityscapes, folder, supervisely
from segstudy.data.splitting.groups import find_groups
from segstudy.data.stored import facts_of, read_mask
from segstudy.errors import DataError
from segstudy.init import write_study_file
from segstudy.scoring import score_masks


def decided(root: Path, declared: Declared = Declared()) -> Encoding:  # noqa: B008
    masks = sorted(path for path in root.iterdir() if path.suffix in IMAGE_SUFFIXES)
    return decide([facts_of(read_mask(path), objects=True) for path in masks], declared, root)


def blocks(*levels: int, side: int = 24) -> np.ndarray:
    """A square of each level, next to each other and off the 8 x 8 blocks of JPEG."""
    return np.roll(np.repeat(np.array([levels], np.uint8), side, axis=1).repeat(side, axis=0), 3, axis=1)


def scored(root: Path, truth: list[list[int]], predicted: list[list[int]], **declared: Any) -> list[list[int]]:
    """The confusion matrix of two masks of one row each, which are saved twice."""
    for number in range(2):
        save(root / "t" / f"{number}.png", np.array(truth, np.uint8))
        save(root / "p" / f"{number}.png", np.array(predicted, np.uint8))
    found = score_masks(root / "p", root / "t", declared=Declared(**declared, flags=True)).confusion.sum(axis=0)
    return (found // 2).tolist()  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("level", "line"), [(60, "(59|60): class_1"), (128, "128: class_1"), (200, "(199|200): class_1")]
)
def test_jpeg_of_three_levels_is_no_black_and_white(tmp_path: Path, level: int, line: str) -> None:
    """However few pixels the third level has."""
    picture = blocks(0, 0, 0, 0, 0, 0, 0, 255, 255, 255)
    picture[3:11, 12:20] = level
    save(tmp_path / "a.jpg", picture, quality=90)
    with pytest.raises(DataError, match=rf"`values: {{0: background, {line}, 255: class_2}}` and `nearest: true`"):
        decided(tmp_path)


def test_jpeg_of_two_other_levels_gets_a_threshold_between(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", blocks(0, 0, 76), quality=90)
    with pytest.raises(DataError, match="`threshold: 38`"):
        decided(tmp_path)


def test_a_single_jpeg_of_another_kind_is_named(tmp_path: Path) -> None:
    save(tmp_path / "a.jpg", blocks(0, 255), quality=90)
    encoding = decided(tmp_path)
    odd = save(tmp_path / "b.jpg", blocks(0, 128, 255), quality=90)
    with pytest.raises(DataError, match="not black and white"):
        encoding.labels_of(Sample("b", odd, odd))


def test_soft_edges_are_no_levels(tmp_path: Path) -> None:
    """Edges of four times four points have 17 levels, of which no area is."""
    large = np.zeros((160, 160), np.uint8)
    rows, columns = np.indices(large.shape)
    large[(rows - 80) ** 2 + (columns - 80) ** 2 < 3000] = 255
    Image.fromarray(large).resize((40, 40), Image.Resampling.BOX).save(tmp_path / "a.png")
    with pytest.raises(DataError, match="`threshold: 127`"):
        decided(tmp_path)


def test_traces_of_colour_are_traces(tmp_path: Path) -> None:
    """A colour JPEG in black and white, saved again as PNG."""
    rgb = np.repeat(blocks(0, 255)[..., None], 3, axis=2)
    rgb[3, 3], rgb[3, 40] = (6, 2, 9), (250, 255, 248)
    save(tmp_path / "a.png", rgb)
    with pytest.raises(DataError, match=r"`(threshold: 127|values: {0: background)"):
        decided(tmp_path)


@pytest.mark.parametrize("quality", [75, 90, 100])
def test_jpeg_of_colours_is_read_by_the_nearest(tmp_path: Path, quality: int) -> None:
    """The message names the colours of flat areas, of which a small one is not forgotten."""
    indices = blocks(0, 0, 0, 1, 1, 2)
    indices[4:20, 4:20] = 3
    table = np.array([[0, 0, 0], [200, 30, 30], [30, 200, 30], [40, 60, 220]], np.uint8)
    path = save(tmp_path / "a.jpg", table[indices], quality=quality, subsampling=0)
    with pytest.raises(DataError, match=r"look like 4 colours with traces .* and `nearest: true`") as caught:
        decided(tmp_path)
    (line,) = re.findall(r"`colours: \{(.*?)\}`", str(caught.value))
    proposed = [code for code, _ in re.findall(r"'(#\w{6})': (\w+)", line)]
    found = decided(tmp_path, Declared(colours={code: f"c{k}" for k, code in enumerate(proposed)}, nearest=True))
    rgb = [tuple(bytes.fromhex(code[1:])) for code in proposed]
    label_of = np.array(
        [min(range(4), key=lambda k: np.abs(np.subtract(rgb[k], colour.tolist())).sum()) for colour in table]
    )
    assert sorted(label_of.tolist()) == [0, 1, 2, 3]
    labels = found.labels_of(Sample("a", path, path))
    assert (labels != label_of[indices]).mean() < 0.02  # of pixels at edges
    few = {code: f"c{k}" for k, code in enumerate(proposed) if rgb[k][2] < 128}
    with pytest.raises(DataError, match="are far from everything under 'colours'"):
        decided(tmp_path, Declared(colours=few, nearest=True)).labels_of(Sample("a", path, path))
    with pytest.raises(DataError, match="or add `nearest: true` if they are traces"):
        decided(tmp_path, Declared(colours={code: f"c{k}" for k, code in enumerate(proposed)})).labels_of(
            Sample("a", path, path)
        )


def test_lossy_webp_is_what_jpeg_is(tmp_path: Path) -> None:
    """Of indices it alters some; black and white are told apart; without loss it is read as stored."""
    indices = np.repeat(np.repeat(np.array([[0, 1, 2], [2, 0, 1]], np.uint8), 21, axis=0), 21, axis=1)
    path = save(tmp_path / "a.webp", indices, quality=80)
    with pytest.raises(DataError, match="JPEG alters values, as lossy WebP does"):
        decided(tmp_path)
    save(path, indices, lossless=True)
    assert decided(tmp_path).labels_of(Sample("a", path, path)).tolist() == indices.tolist()
    drawn = np.where(indices, 255, 0).astype(np.uint8)
    save(path, drawn, quality=80)
    assert decided(tmp_path).labels_of(Sample("a", path, path)).tolist() == (drawn > 0).tolist()


def test_indices_that_were_resized_with_interpolation_are_asked_about(tmp_path: Path) -> None:
    indices = np.zeros((48, 48), np.uint8)
    indices[6:30, 6:40], indices[32:44, 10:30] = 5, 9
    for k in range(3):
        save(tmp_path / f"{k}.png", np.roll(indices, k, axis=1))
    assert decided(tmp_path, Declared(num_classes=10)).num_classes == 10
    for k in range(3):
        mask = Image.fromarray(np.roll(indices, k, axis=1))
        mask.resize((70, 70), Image.Resampling.BILINEAR).resize((48, 48), Image.Resampling.BILINEAR).save(
            tmp_path / f"{k}.png"
        )
    with pytest.raises(DataError, match=r"occur at edges alone, .*`values: {0: background, 5: class_1, 9: class_2}`"):
        decided(tmp_path)
    assert decided(tmp_path, Declared(num_classes=10)).num_classes == 10


def test_thin_classes_among_others_are_classes(tmp_path: Path) -> None:
    """Two wires of a pixel's width, of classes 3 and 4, on areas of 0, 1 and 2."""
    mask = np.zeros((40, 40), np.uint8)
    mask[20:], mask[:, 30:], mask[5], mask[:, 12] = 1, 2, 3, 4
    save(tmp_path / "a.png", mask)
    assert decided(tmp_path).num_classes == 5


def test_a_level_that_was_forgotten_is_no_trace(tmp_path: Path) -> None:
    """The nearest of 0, 128 and 255 to 60 would be 0."""
    picture = blocks(0, 60, 128, 255)
    path = save(tmp_path / "a.jpg", picture, quality=90)
    three = Declared(values={0: "a", 128: "b", 255: "c"}, nearest=True)
    with pytest.raises(DataError, match=r"such as (59|60|61), are far from everything under 'values'"):
        decided(tmp_path, three).labels_of(Sample("a", path, path))
    save(path, blocks(0, 128, 255), quality=90)
    assert set(np.unique(decided(tmp_path, three).labels_of(Sample("a", path, path)))) == {0, 1, 2}


def test_255_that_is_drawn_is_not_left_out(tmp_path: Path) -> None:
    """One pixel of 1 among 24 x 24 of 255 is a trace, not the foreground."""
    picture = blocks(0, 255)
    picture[3, 3] = 1
    save(tmp_path / "a.png", picture)
    with pytest.raises(DataError, match=r"`ignore_values: \[255\]` if 255 is to be left out, or `threshold: 127`"):
        decided(tmp_path)
    assert decided(tmp_path, Declared(ignore_values=(255,))).num_classes == 2


@pytest.mark.parametrize("maximum", [3, 200, 1000])
def test_pgm_is_read_as_stored(tmp_path: Path, maximum: int) -> None:
    """Pillow scales values to the largest that the file may hold: of 200, 3 becomes 4."""
    numbers = np.array([[0, 1, 2, 3]], ">u2" if maximum > 255 else np.uint8)
    (tmp_path / "a.pgm").write_bytes(f"P5\n4 1\n{maximum}\n".encode() + numbers.tobytes())
    assert read_mask(tmp_path / "a.pgm").values.tolist() == [[0, 1, 2, 3]]


def test_tiff_that_begins_with_white_is_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tags = {256: 4, 257: 1, 258: 2, 259: 1, 262: 0, 273: 122, 277: 1, 278: 1, 279: 1}
    entries = b"".join(
        key.to_bytes(2, "little") + b"\4\0\1\0\0\0" + value.to_bytes(4, "little") for key, value in tags.items()
    )
    path.write_bytes(b"II*\0\x08\0\0\0\x09\0" + entries + bytes(4) + b"\x1b")  # 0 1 2 3 in two bits each
    assert open_image(path).info["white_first"]
    with pytest.raises(DataError, match="in which 0 is white"):
        read_mask(path)


@pytest.mark.parametrize(
    ("colours", "indices"),
    [
        ([[254, 254, 254], [0, 0, 0]], [0, 1, 1, 1]),
        ([[255, 0, 0], [0, 0, 0]], [0, 1, 1, 1]),
        ([[255, 0, 0], [0, 255, 0], [0, 0, 0]], [0, 1, 2, 2, 2]),
    ],
)
def test_palettes_that_programs_sort_are_asked_about(
    tmp_path: Path, colours: list[list[int]], indices: list[int]
) -> None:
    """Black is what most pixels have, and not index 0."""
    image = Image.fromarray(np.array([indices], np.uint8)).convert("P")
    image.putdata(indices)
    image.putpalette(np.ravel(colours).tolist())
    image.save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"the palette .* or write `colours"):
        decided(tmp_path)


def test_predictions_alone_may_be_declared(tmp_path: Path) -> None:
    """Truth holds class indices, predictions grey levels or probabilities."""
    levels = {"values": {0: "a", 128: "b", 255: "c"}}
    assert scored(tmp_path / "1", [[0, 0, 1, 2]], [[0, 128, 128, 255]], **levels) == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    assert scored(tmp_path / "2", [[0, 0, 1, 1]], [[9, 200, 255, 90]], threshold=127) == [[1, 1], [1, 1]]


@pytest.mark.parametrize("predicted", [[0, 128, 255, 0], [0, 3, 3, 0]])
def test_the_folder_that_is_unclear_is_named(tmp_path: Path, predicted: list[int]) -> None:
    with pytest.raises(DataError, match=r"/p: the masks hold .* 0"):
        scored(tmp_path, [[0, 1, 1, 0]], [predicted])


def test_what_is_left_out_cannot_be_predicted(tmp_path: Path) -> None:
    values = {"values": {0: "a", 1: "b", 2: "ignore"}}
    with pytest.raises(DataError, match=r"predicts what is left out .* on 1 pixels"):
        scored(tmp_path / "1", [[0, 1, 1, 2]], [[2, 1, 1, 1]], **values)
    counted_from_1 = {"values": {0: "ignore", 1: "a", 2: "b", 3: "c"}}
    found = scored(tmp_path / "2", [[0, 1, 2, 3]], [[0, 0, 1, 2]], **counted_from_1)
    assert found == [[1, 0, 0], [0, 1, 0], [0, 0, 1]]


@pytest.mark.parametrize(
    ("truth", "predicted", "text"),
    [
        ([1, 1, 2, 3], [0, 0, 1, 2], "true masks count classes from 1 .*'1=class_1,2=class_2,3=class_3'"),
        ([0, 0, 1, 2], [1, 1, 2, 3], "predictions count classes from 1 and the true masks from 0: 8 pixels"),
        ([7, 8, 11, 11], [0, 1, 2, 2], "Cityscapes label ids .*'7=road,8=sidewalk,11=building'"),
    ],
)
def test_renumbered_classes_are_not_scored(tmp_path: Path, truth: list[int], predicted: list[int], text: str) -> None:
    for number in range(2):
        save(tmp_path / "t" / f"{number}.png", np.array([truth], np.uint8))
        save(tmp_path / "p" / f"{number}.png", np.array([predicted], np.uint8))
    with pytest.raises(DataError, match=text):
        score_masks(tmp_path / "p", tmp_path / "t", num_classes=12)


def test_a_poor_network_is_scored(tmp_path: Path) -> None:
    """One that predicts class 0 wherever class 1 is has not counted otherwise."""
    assert scored(tmp_path, [[0, 1, 1, 1]], [[1, 0, 0, 0]]) == [[0, 1], [3, 0]]


@pytest.mark.parametrize("pair", [("p-1", "p1"), ("p_1", "p-1"), ("#1", "1"), ("p1.", "p1"), ("p 1", "p_1")])
def test_one_group_is_spelled_in_one_way(pair: tuple[str, str]) -> None:
    with pytest.raises(DataError, match="1 groups are spelled in several ways"):
        find_groups([f"{pair[0]}/a", f"{pair[1]}/b"], "^(.+)/", "--groups")
    assert find_groups(["1-2/a", "12/b"], "^(.+)/", "--groups") == ("1-2", "12")


def test_pictures_that_no_row_names_are_counted(tmp_path: Path) -> None:
    for number in range(5):
        save(tmp_path / "images" / f"{number}.png", np.full((4, 4, 3), number, np.uint8))
        save(tmp_path / "masks" / f"{number}.png", np.eye(4, dtype=np.uint8) * 255)
    (tmp_path / "df.csv").write_text("images,masks\n" + "".join(f"images/{k}.png,masks/{k}.png\n" for k in range(3)))
    (fault,) = supervisely.read("s", tmp_path).faults
    assert fault.message.startswith("2 pictures stand in no row and are left out: images/3.png, images/4.png")


def test_lists_that_are_not_read_are_named(tmp_path: Path) -> None:
    fake_folder(tmp_path, num_images=6)
    for name, text in (("train", "scene00\nscene01\nscene02"), ("test", "scene03"), ("dev", "scene04\nscene05")):
        (tmp_path / f"{name}.txt").write_text(text)
    said = [(fault.kind, fault.file and fault.file.name) for fault in folder.read("f", tmp_path).faults]
    assert said == [("left-out", "train.txt"), ("left-out", "dev.txt")]
    for name in ("train", "test", "dev"):
        (tmp_path / f"{name}.txt").rename(tmp_path / f"{name}.csv")
    said = [(fault.kind, fault.file and fault.file.name) for fault in folder.read("f", tmp_path).faults]
    assert said == [("left-out", "test.csv"), ("left-out", "train.csv")]


@pytest.mark.parametrize(
    "names", [("TRAIN.txt", "VAL.TXT"), ("Train.lst", "validation.list"), ("training.LST", "Valid.txt")]
)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_are_read_whatever_their_capitals_suffix_and_encoding(
    tmp_path: Path, names: tuple[str, str], encoding: str
) -> None:
    fake_folder(tmp_path, num_images=6)
    for name, numbers in zip(names, (range(4), (4, 5)), strict=True):
        (tmp_path / name).write_text("\r\n".join(f"scene{k:02}" for k in numbers), encoding)
    dataset = folder.read("f", tmp_path)
    assert dataset.faults == ()
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 4, "val": 2}


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("train.txt", "TRAIN.lst"), "several lists for 'train'"),
        (("train_list.txt", "val_list.txt"), ["train_list.txt", "val_list.txt"]),
        (("TrainSet.csv", "my-val.csv"), ["TrainSet.csv", "my-val.csv"]),
        (("fold1.txt", "fold2.txt"), ["fold1.txt", "fold2.txt"]),
        (("labels.csv", "patients.csv"), []),
    ],
)
def test_lists_of_other_names_are_said(tmp_path: Path, names: tuple[str, str], said: str | list[str]) -> None:
    """Tables of other names may say anything of images."""
    fake_folder(tmp_path, num_images=6)
    for name, numbers in zip(names, (range(4), (4, 5)), strict=True):
        (tmp_path / name).write_text(
            "".join(f'"scene{k:02}.jpg",3\n' if ".csv" in name else f"scene{k:02}\n" for k in numbers)
        )
    if isinstance(said, str):
        with pytest.raises(DataError, match=said):
            folder.read("f", tmp_path)
    else:
        assert [fault.file.name for fault in folder.read("f", tmp_path).faults if fault.file] == said


def test_splits_in_json_are_said(tmp_path: Path) -> None:
    fake_folder(tmp_path, num_images=6)
    (tmp_path / "splits.json").write_text(
        '{"Train": ["scene00.jpg", "images/scene01.jpg"], "val": ["scene02"], "seed": 3}'
    )
    (tmp_path / "other.json").write_text('{"train": ["cat"], "val": ["dog"]}')
    (tmp_path / "broken.json").write_text('{"train": [')
    (fault,) = folder.read("f", tmp_path).faults
    assert fault.file == tmp_path / "splits.json" and fault.message.startswith("names 3 images and is not read")


@pytest.mark.parametrize(("image", "says"), [("a007", "zeros before a number"), ("A7", "upper and lower case")])
def test_names_that_differ_by_little_say_by_what(tmp_path: Path, image: str, says: str) -> None:
    for name in (image, "b"):
        save(tmp_path / "images" / f"{name}.png", np.zeros((4, 4, 3), np.uint8))
    for name in ("a7", "b"):
        save(tmp_path / "masks" / f"{name}.png", np.eye(4, dtype=np.uint8))
    messages = [fault.message for fault in folder.read("f", tmp_path).faults]
    assert len(messages) == 2 and all(f"differs only in {says}" in message for message in messages)


@pytest.mark.parametrize(
    "line",
    ["{}", "{}.jpg", "images/{}.jpg", "./data/set/images/{}.jpg", "images/{0}.jpg masks/{0}.png", "{0}.jpg,{0}.png"],
)
def test_lists_may_have_folders_and_the_mask_in_a_second_column(tmp_path: Path, line: str) -> None:
    fake_folder(tmp_path, num_images=6)
    for name, numbers in (("train", range(4)), ("val", (4, 5))):
        (tmp_path / f"{name}.txt").write_text("\n".join(line.format(f"scene{k:02}") for k in numbers))
    dataset = folder.read("f", tmp_path)
    assert dataset.faults == ()
    assert {split: [each.id for each in part][:2] for split, part in dataset.splits.items()} == {
        "train": ["scene00", "scene01"],
        "val": ["scene04", "scene05"],
    }


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("images/scene00.jpg masks/scene01.png", "'masks/scene01.png' in the second column is not the mask"),
        ("images/scene00.jpg masks/scene01.jpg", "'masks/scene01.jpg' in the second column is not the mask"),
        ("images/scene00.jpg;masks/scene05.jpg", "'masks/scene05.jpg' in the second column is not the mask"),
        ("scene00 1", "'1' in the second column is not the mask"),
        ("images/scene09.jpg masks/scene09.png", "is not an image in images/"),
    ],
)
def test_lists_whose_second_column_is_another_mask_are_refused(tmp_path: Path, line: str, says: str) -> None:
    fake_folder(tmp_path, num_images=6)
    (tmp_path / "train.txt").write_text(f"{line}\nscene02\nscene03")
    (tmp_path / "test.txt").write_text("scene04")
    errors = [fault.message for fault in folder.read("f", tmp_path).faults if fault.severity == "error"]
    assert len(errors) == 1 and errors[0].startswith("line 1: ") and says in errors[0]


def test_a_name_that_two_folders_have_is_asked_about(tmp_path: Path) -> None:
    for place in ("a", "b"):
        for k in range(3):
            save(tmp_path / "images" / place / f"{k}.png", np.full((4, 4, 3), k, np.uint8))
            save(tmp_path / "masks" / place / f"{k}.png", np.eye(4, dtype=np.uint8))
    (tmp_path / "train.txt").write_text("a/0.png\na/1.png\nb/1.png")
    (tmp_path / "test.txt").write_text("2.png\nb/2")
    (fault, *_) = [fault for fault in folder.read("f", tmp_path).faults if fault.severity == "error"]
    assert "'2.png' may be a/2, b/2; write the folder too" in fault.message


def test_lists_in_another_folder_are_read_by_an_option_that_init_writes(tmp_path: Path) -> None:
    root = fake_folder(tmp_path / "set", num_images=6)
    (root / "ImageSets").mkdir()
    for name, numbers in (("train", range(4)), ("val", (4, 5))):
        (root / "ImageSets" / f"{name}.txt").write_text("\n".join(f"scene{k:02}" for k in numbers))
    messages = [fault.message for fault in folder.read("f", root).faults]
    assert len(messages) == 2 and all("`lists: ImageSets`" in message for message in messages)
    dataset = folder.read("f", root, folder.Options(lists="ImageSets"))
    assert dataset.faults == ()
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 4, "val": 2}
    write_study_file(root, tmp_path / "study.yaml")
    assert 'lists: "ImageSets"' in (tmp_path / "study.yaml").read_text()
    with pytest.raises(DataError, match="holds no list of a split"):
        folder.read("f", root, folder.Options(lists="images"))


def test_many_images_without_a_mask_are_left_out_by_an_option(tmp_path: Path) -> None:
    root = fake_folder(tmp_path / "set", num_images=6)
    for k in range(6, 11):
        save(root / "images" / f"scene{k:02}.jpg", np.zeros((32, 48, 3), np.uint8))
    with pytest.raises(DataError, match="5 of 11 images have no mask; write `unmasked: left-out`"):
        write_study_file(root, tmp_path / "study.yaml")
    assert "# unmasked: left-out" in (tmp_path / "study.yaml").read_text()
    dataset = folder.read("f", root, folder.Options(unmasked="left-out"))
    assert len(dataset.samples("all")) == 6
    (fault,) = dataset.faults
    assert (fault.severity, fault.kind) == ("warning", "left-out")
    assert fault.message.startswith(
        "5 images have no mask and are left out, as the entry says: scene06, scene07, scene08"
    )


def test_hidden_images_are_counted_and_what_programs_drop_is_not(tmp_path: Path) -> None:
    root = fake_folder(tmp_path / "set", num_images=3)
    image = np.zeros((32, 48, 3), np.uint8)
    save(root / "images" / ".ipynb_checkpoints" / "scene00-checkpoint.jpg", image)
    for name in ("._scene00.jpg", ".DS_Store", "Thumbs.db"):
        (root / "images" / name).write_bytes(b"x")
    assert folder.read("f", root).faults == ()
    save(root / "images" / ".scene03.jpg", image)
    save(root / "images" / ".old" / "scene04.jpg", image)
    (fault,) = folder.read("f", root).faults
    assert fault.message.startswith("2 hidden images are left out: .scene03.jpg, .old/scene04.jpg")
    options = folder.Options(images="images/*.jpg", masks="masks/{stem}.png")
    assert [each.message[:15] for each in folder.read("f", root, options).faults] == ["2 hidden images"]


def test_lists_that_name_nothing_are_one_message_of_init(tmp_path: Path) -> None:
    root = fake_folder(tmp_path / "set", num_images=6)
    (root / "train.txt").write_text("images/other00.jpg masks/other00.png\n")
    with pytest.raises(DataError, match="is not an image in images/"):
        write_study_file(root, tmp_path / "s.yaml")


def test_links_to_folders_are_followed_and_circles_are_not(tmp_path: Path) -> None:
    save(tmp_path / "far" / "b.png", np.zeros((2, 2), np.uint8))
    save(tmp_path / "near" / "a.png", np.zeros((2, 2), np.uint8))
    (tmp_path / "near" / "more").symlink_to(tmp_path / "far")
    (tmp_path / "far" / "back").symlink_to(tmp_path / "near")
    assert sorted(list_images(tmp_path / "near").images) == ["a", "more/b"]


def test_a_single_image_is_held_out() -> None:
    one = Sample("a", Path("a"), Path("m"))
    assert divide([one], 0.2, 42) == ((), (one,))


def test_cityscapes_of_other_ids_is_an_error_of_the_reader(tmp_path: Path) -> None:
    """Train ids under the name of label ids: of 0 to 18, only 7, 8, 11, 12, 13 and 17 are read, the rest is ignored."""
    mask = np.arange(19, dtype=np.uint8)[None].repeat(4, axis=0)
    for split in ("train", "val"):
        save(tmp_path / "images" / split / "town" / "town_0_0_leftImg8bit.png", np.zeros((4, 19, 3), np.uint8))
        save(tmp_path / "gtFine" / split / "town" / "town_0_0_gtFine_labelIds.png", mask)
    save(tmp_path / "images" / "trainextra" / "town" / "town_1_0_leftImg8bit.png", np.zeros((4, 19, 3), np.uint8))
    said = [(fault.kind, fault.severity, fault.message) for fault in cityscapes.read("c", tmp_path).faults]
    assert [each[:2] for each in said] == [("class-absent", "error"), ("left-out", "warning")]
    assert said[0][2].startswith("68% of the pixels of 2 masks looked at are ignored")
    assert "trainextra/town/town_1_0_leftImg8bit.png" in said[1][2]


@pytest.mark.parametrize(
    ("shift", "void", "says"),
    [
        (-1, 255, "masks looked at are ignored"),
        (1, 0, r"are of class 1 \(sidewalk\)"),
        (1, 255, "none of 4|class 1"),
        (0, 255, ""),
    ],
)
def test_train_ids_that_are_one_too_high_or_low_are_an_error(tmp_path: Path, shift: int, void: int, says: str) -> None:
    """A script counted from 0 or left void at 0: the road in front of the car has another id."""
    for k in range(2):
        labels = np.full((20, 30), 2)  # building
        labels[8:], labels[16:], labels[:2, :5], labels[9:12, 2:6] = (
            0,
            255,
            255,
            13,
        )  # road, the car's bonnet, void, a car
        labels[10:, 25:] = 1
        stored = np.where(labels == 255, void, (labels + shift) % 256).astype(np.uint8)
        for split in ("train", "val"):
            name = f"town_{k}_0"
            save(
                tmp_path / "leftImg8bit" / split / "town" / f"{name}_leftImg8bit.png", np.full((20, 30, 3), k, np.uint8)
            )
            save(tmp_path / "gtFine" / split / "town" / f"{name}_gtFine_labelTrainIds.png", stored)
    messages = [fault.message for fault in cityscapes.read("c", tmp_path).faults]
    assert len(messages) == bool(says)
    assert all(re.search(says, message) for message in messages)
