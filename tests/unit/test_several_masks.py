"""Images with several mask files each, pages of stacks, numbered objects, tables of colours, nodata: labels worked out by hand."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from test_mask_encodings import checked, grey, palette

from fakes import save
from layouts import HEIGHT, WIDTH, picture
from segstudy.data.core import Dataset, Sample, fingerprint, load_pair
from segstudy.data.declared import Declared
from segstudy.data.encoding import shown_in
from segstudy.data.readers import folder
from segstudy.data.stored import read_stored
from segstudy.errors import DataError, SegstudyError
from segstudy.init import write_study_file
from segstudy.scoring import score_masks
from segstudy.spec import load_study, parse_study

PATTERNS = {"skin": "anno/*/{id:05}_skin.png", "hair": "anno/*/{id:05}_hair.png"}


def patch(rows: slice, columns: slice, value: int = 255) -> np.ndarray:
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[rows, columns] = value
    return mask


SKIN, HAIR = patch(slice(2, 6), slice(2, 9)), patch(slice(0, 4), slice(4, 7))
FACE = np.where(HAIR > 0, 2, np.where(SKIN > 0, 1, 0))  # hair is named after skin, and lies over it


def faces(root: Path, number: int = 4) -> None:
    """CelebAMask-HQ: ``0.jpg`` with ``00000_skin.png``, of three channels, in folders of some images; the third has no hair."""
    for k in range(number):
        picture(root / "CelebA-HQ-img" / f"{k}.jpg", k)
        for name, mask in (("skin", SKIN), ("hair", HAIR), ("u_lip", patch(slice(5, 6), slice(4, 6)))):
            if (k, name) != (2, "hair"):
                path = root / "CelebAMask-HQ-mask-anno" / str(k // 2) / f"{k:05}_{name}.png"
                save(path, np.repeat(mask[..., None], 3, axis=2))


def fundus(root: Path) -> None:
    """IDRiD: a folder for each class below those of the splits; red on black; the first of each split has no EX."""
    for split, letter, first in (("Training", "a", 1), ("Testing", "b", 55)):
        for k in range(first, first + 3):
            picture(root / "1. Original Images" / f"{letter}. {split} Set" / f"IDRiD_{k:02}.jpg", k)
            truths = root / "2. All Segmentation Groundtruths" / f"{letter}. {split} Set"
            for number, name in enumerate(("MA", "HE", "EX", "OD"), 1):
                if (k, name) not in ((1, "EX"), (55, "EX")):
                    spot = patch(slice(number, number + 1), slice(0, number), 1)
                    save(
                        truths / f"{number}. {name}s" / f"IDRiD_{k:02}_{name}.tif",
                        spot[..., None] * np.uint8([255, 0, 0]),
                    )


def nuclei(root: Path) -> None:
    """The Data Science Bowl of 2018: a file for each nucleus."""
    for k in range(4):
        picture(root / "stage1_train" / f"a{k}f" / "images" / f"a{k}f.png", k)
        for number, columns in enumerate((slice(0, 2), slice(3, 5), slice(5, 7))):
            save(root / "stage1_train" / f"a{k}f" / "masks" / f"{number}c{k}.png", patch(slice(1, 3), columns))
        picture(root / "stage1_test" / f"t{k}" / "images" / f"t{k}.png", k)


def ultrasound(root: Path) -> None:
    """BUSI: some images have a second mask."""
    for kind in ("benign", "malignant"):
        for k in range(1, 4):
            picture(root / kind / f"{kind} ({k}).png", k)
            save(root / kind / f"{kind} ({k})_mask.png", patch(slice(1, 3), slice(0, 2)))
        save(root / kind / f"{kind} (2)_mask_1.png", patch(slice(1, 3), slice(5, 7)))


def read_as_init_writes(root: Path, place: Path) -> tuple[str, Dataset]:
    write_study_file(root, place / "s.yaml")
    entry = load_study(place / "s.yaml").data["set"]
    return (place / "s.yaml").read_text(), folder.read("d", root, folder.Options(**entry.own_options()))


def labels(dataset: Dataset) -> dict[str, Any]:
    return {sample.id: load_pair(dataset, sample)[1] for sample in dataset.samples("all")}


def test_a_file_for_each_class_is_recognised_and_the_small_lie_over_the_large(tmp_path: Path) -> None:
    faces(tmp_path / "set")
    text, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    assert dataset.classes == ("background", "skin", "hair", "u_lip")  # 28, 12 and 2 pixels
    expected = FACE.copy()
    expected[5, 4:6] = 3
    found = labels(dataset)
    assert len(found) == 4
    assert found["CelebA-HQ-img/3"].tolist() == expected.tolist()
    bare = np.where(SKIN > 0, 1, 0)
    bare[5, 4:6] = 3
    assert found["CelebA-HQ-img/2"].tolist() == bare.tolist()
    assert "1 of 4 images have no file of 'hair', and so no pixel of it" in text


def test_classes_in_folders_below_splits(tmp_path: Path) -> None:
    fundus(tmp_path / "set")
    _, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 3, "test": 3}
    for sample in dataset.samples("all"):
        expected = np.zeros((HEIGHT, WIDTH), int)
        for number, name in enumerate(("MA", "HE", "EX", "OD"), 1):
            if name != "EX" or not sample.id.endswith(("_01", "_55")):
                expected[number, :number] = dataset.classes.index(name)
        assert dataset.labels_of(sample).tolist() == expected.tolist()
    assert "2 of 6 images have no file of 'EX', and so no pixel of it" in dataset.notes


def test_a_file_for_each_object_is_one_class_together(tmp_path: Path) -> None:
    nuclei(tmp_path / "set")
    text, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    expected = patch(slice(1, 3), slice(0, 2), 1) + patch(slice(1, 3), slice(3, 7), 1)
    assert [each.tolist() for each in labels(dataset).values()] == [expected.tolist()] * 4
    assert "4 files fit neither images: nor masks: and are left out: stage1_test" in text


def test_a_second_mask_of_some_images_is_not_left_out(tmp_path: Path) -> None:
    ultrasound(tmp_path / "set")
    _, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    one, two = patch(slice(1, 3), slice(0, 2), 1), patch(slice(1, 3), slice(5, 7), 1)
    found = labels(dataset)
    assert len(found) == 6
    for key, each in found.items():
        assert each.tolist() == (one + two if key.endswith("(2)") else one).tolist()


def test_check_counts_the_pixels_of_all_files(tmp_path: Path) -> None:
    faces(tmp_path)
    entry = {"images": "CelebA-HQ-img/{id}.jpg", "masks": {k: f"CelebAMask-HQ-mask-{v}" for k, v in PATTERNS.items()}}
    found = checked(tmp_path, entry)
    assert [each.fault.message for each in found.findings if each.fault.severity == "error"] == []
    pixels = [row["pixels"] for row in found.inspected[0].card["frequencies"]]
    hair, skin = 3 * 12, 3 * (28 - 6) + 28  # 6 pixels of each head are both; the third has no hair
    assert pixels == [4 * HEIGHT * WIDTH - hair - skin, skin, hair]


def test_ignore_among_the_classes_leaves_pixels_out(tmp_path: Path) -> None:
    save(tmp_path / "i" / "a.png", np.zeros((1, 4, 3), np.uint8))
    save(tmp_path / "i" / "b.png", np.ones((1, 4, 3), np.uint8))
    for name in "ab":
        save(tmp_path / "m" / f"{name}_x.png", np.uint8([[0, 1, 1, 0]]))
        save(tmp_path / "m" / f"{name}_out.png", np.uint8([[0, 0, 9, 9]]))
    masks = {"vessel": "m/{stem}_x.png", "ignore": "m/{stem}_out.png"}
    dataset = folder.read("d", tmp_path, folder.Options(images="i/*.png", masks=masks))
    assert dataset.classes == ("background", "vessel")
    assert dataset.labels_of(dataset.samples("all")[0]).tolist() == [[0, 1, 255, 255]]


def test_another_file_of_a_mask_is_other_data(tmp_path: Path) -> None:
    """What is stored of a sample must not outlive a change of the second file."""
    one, two, image = (save(tmp_path / f"{k}.png", np.uint8([[k]])) for k in range(3))
    before = fingerprint([Sample("a", image, one, parts=(two,))], {})
    save(two, np.uint8([[7]]))
    assert fingerprint([Sample("a", image, one, parts=(two,))], {}) != before
    assert fingerprint([Sample("a", image, one)], {}) not in (before, fingerprint([Sample("a", image, two)], {}))


TWO_VALUED = {
    "0 and 255": (grey(0, 255, 0, 255), [0, 1, 0, 1]),
    "0 and 76": (grey(0, 76, 76, 0), [0, 1, 1, 0]),
    "1 bit": (grey(255, 0, 0, 255).convert("1"), [1, 0, 0, 1]),
    "black": (grey(0, 0, 0, 0), [0, 0, 0, 0]),
    "palette that begins with white": (palette([255, 255, 255, 0, 0, 0], 0, 1, 1, 0), [1, 0, 0, 1]),
    "red on black": (Image.fromarray(np.uint8([[[0, 0, 0], [255, 0, 0], [255, 0, 0], [0, 0, 0]]])), [0, 1, 1, 0]),
    "faint blue of a palette": (palette([0, 0, 0, 0, 0, 1], 0, 1, 1, 0), [0, 1, 1, 0]),
    "16 bits": (Image.fromarray(np.uint16([[0, 65535, 0, 0]])), [0, 1, 0, 0]),
}


@pytest.mark.parametrize("encoding", TWO_VALUED)
def test_what_is_not_black_is_shown(tmp_path: Path, encoding: str) -> None:
    mask, expected = TWO_VALUED[encoding]
    mask.save(tmp_path / "m.png")
    assert shown_in(read_stored(tmp_path / "m.png")).astype(int).tolist() == [expected]


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (grey(0, 1, 2, 3), r"holds 0, 1, 2, 3; .* Write `threshold: 0`"),
        (grey(0, 3, 128, 255), r"Write `threshold: 127`"),
        (grey(1, 2, 2, 1), "one of which is black"),
        (palette([0, 0, 0, 255, 0, 0, 0, 255, 0], 0, 1, 2, 0), "holds #000000, #[0f]{6}, #[0f]{6};"),
    ],
)
def test_files_of_more_than_two_values_are_refused(tmp_path: Path, mask: Image.Image, message: str) -> None:
    mask.save(tmp_path / "m.png")
    with pytest.raises(DataError, match=message):
        shown_in(read_stored(tmp_path / "m.png"))


def test_a_threshold_reads_soft_edges(tmp_path: Path) -> None:
    grey(0, 100, 200, 255).save(tmp_path / "m.png")
    assert shown_in(read_stored(tmp_path / "m.png"), 127).tolist() == [[False, False, True, True]]


def test_faults_of_several_files_are_said(tmp_path: Path) -> None:
    faces(tmp_path)
    for path in (tmp_path / "CelebAMask-HQ-mask-anno" / "0").glob("00000_*"):
        path.unlink()
    small = tmp_path / "CelebAMask-HQ-mask-anno" / "1" / "00003_hair.png"
    save(small, np.zeros((2, 2), np.uint8))
    entry = {"images": "CelebA-HQ-img/{id}.jpg", "masks": {k: f"CelebAMask-HQ-mask-{v}" for k, v in PATTERNS.items()}}
    found = {each.fault.kind: each.fault.message for each in checked(tmp_path, entry).findings}
    assert "no file of a mask such as 'CelebAMask-HQ-mask-anno/*/00000_skin.png'" in found["image-without-mask"]
    assert re.search(r"00003_hair.png: is 2x2, and 00003_skin.png of the same image 12x8", found["size-mismatch"])
    assert "4 files fit neither" not in str(found) and "u_lip" in found["left-out"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"masks": {"a": "m/{stem}.png"}}, "images must be given"),
        ({"images": "i/*.png", "masks": {"a": "m/{stem}.png"}, "values": {0: "a", 1: "b"}}, "values cannot be given"),
        ({"images": "i/*.png", "masks": {"a": "m/{stem}.png"}, "page": "all"}, "page: all cannot be given"),
    ],
)
def test_options_that_contradict_one_another(options: dict[str, Any], message: str) -> None:
    entry = {"reader": "folder", "root": "r", **options}
    study = {"name": "s", "data": {"d": entry}, "experiments": {"u": {"data": "d", "model": {"arch": "unet"}}}}
    with pytest.raises(SegstudyError, match=message):
        parse_study(json.dumps(study))


def stack(path: Path, pages: list[np.ndarray]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [Image.fromarray(page) for page in pages]
    images[0].save(path, save_all=True, append_images=images[1:])


def test_each_page_of_a_stack_is_an_image_with_its_mask(tmp_path: Path) -> None:
    """Page k of the image is k everywhere, and its mask shows column k."""
    for name in ("v1", "v2", "v3"):
        stack(tmp_path / "set" / "images" / f"{name}.tif", [np.full((HEIGHT, WIDTH), k, np.uint8) for k in range(3)])
        stack(tmp_path / "set" / "masks" / f"{name}.tif", [patch(slice(0, 8), slice(k, k + 1)) for k in range(3)])
    text, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    assert 'page: "all"' in text
    assert sorted(sample.id for sample in dataset.samples("all")) == [f"v{n}#{k}" for n in (1, 2, 3) for k in range(3)]
    for sample in dataset.samples("all"):
        image, found = load_pair(dataset, sample)
        k = int(sample.id[-1])
        assert np.asarray(image).max() == k and found.tolist() == patch(slice(0, 8), slice(k, k + 1), 1).tolist()
        assert sample.group == sample.id[:2]
    found = checked(tmp_path / "set", {"page": "all", "holdout_fraction": 0.33})
    assert [each.fault.message for each in found.findings if each.fault.severity == "error"] == []
    assert found.inspected[0].card["frequencies"][1]["pixels"] == 9 * HEIGHT


def test_pages_without_masks_of_their_own_are_an_error(tmp_path: Path) -> None:
    for k in range(3):
        stack(tmp_path / "images" / f"{k}.tif", [patch(slice(0, 1), slice(0, 1))] * (3 if k else 2))
        stack(tmp_path / "masks" / f"{k}.tif", [patch(slice(0, 1), slice(0, 1))] * 3)
    (fault,) = folder.read("d", tmp_path, folder.Options(page="all")).faults
    assert fault.kind == "pages" and "has 2 pages, and its mask 0.tif 3" in fault.message


def numbered(number: int) -> np.ndarray:
    """Objects 1 to ``number``, each a pixel of the first two rows; row 1 is empty."""
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    for value in range(number):
        mask[2 * (value // 5), 2 * (value % 5)] = value + 1
    return mask


def test_numbers_of_objects_are_not_taken_for_classes(tmp_path: Path) -> None:
    """GlaS: 1 to n in each file."""
    for k, number in enumerate((3, 7, 4, 0)):
        picture(tmp_path / "set" / f"train_{k}.bmp", k)
        save(tmp_path / "set" / f"train_{k}_anno.bmp", numbered(number))
        save(tmp_path / "pred" / f"{k}.png", np.minimum(numbered(number), 1))
        save(tmp_path / "true" / f"{k}.png", numbered(number))
    with pytest.raises(DataError, match=r"hold 1 to 7 at most and 1 to 3 at least, .* write `threshold: 0`"):
        write_study_file(tmp_path / "set", tmp_path / "s.yaml")
    text = (tmp_path / "s.yaml").read_text()
    (tmp_path / "s.yaml").write_text(text.replace("    # threshold: 0", "    threshold: 0"))
    entry = load_study(tmp_path / "s.yaml").data["set"]
    dataset = folder.read("d", tmp_path / "set", folder.Options(**entry.own_options()))
    assert [int(each.sum()) for _, each in sorted(labels(dataset).items())] == [3, 7, 4, 0]
    with pytest.raises(DataError, match=r"`--threshold 0`"):
        score_masks(tmp_path / "pred", tmp_path / "true")
    found = score_masks(tmp_path / "pred", tmp_path / "true", declared=Declared(threshold=0, flags=True))
    assert found.confusion.sum(axis=0).tolist() == [[4 * 96 - 14, 0], [0, 14]]


def test_classes_in_several_pieces_or_of_one_number_are_classes(tmp_path: Path) -> None:
    for k in range(4):
        save(tmp_path / "images" / f"{k}.png", np.full((HEIGHT, WIDTH, 3), k, np.uint8))
        save(tmp_path / "masks" / f"{k}.png", numbered(5))  # of each, the same number of values
    assert len(folder.read("d", tmp_path).classes) == 6
    two = numbered(3)
    two[7, 11] = 1  # a second piece
    save(tmp_path / "masks" / "0.png", two)
    assert len(folder.read("d", tmp_path).classes) == 6


def test_a_table_of_colours_names_the_classes(tmp_path: Path) -> None:
    """CamVid as on Kaggle; Void is left out."""
    table = "name, r, g, b\nVoid,0,0,0\nCar,64,0,128\nSky,128,128,128\n"
    mask = np.uint8([[[0, 0, 0], [64, 0, 128], [128, 128, 128], [64, 0, 128]]])
    for split in ("train", "val"):
        for k in range(3):
            save(tmp_path / "set" / split / f"{split}{k}.png", np.full((1, 4, 3), k, np.uint8))
            save(tmp_path / "set" / f"{split}_labels" / f"{split}{k}_L.png", mask)
    (tmp_path / "set" / "class_dict.csv").write_text(table)
    text, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    assert "# from class_dict.csv" in text and dataset.classes == ("Car", "Sky")
    assert [each.tolist() for each in labels(dataset).values()] == [[[255, 0, 1, 0]]] * 6
    (tmp_path / "set" / "class_dict.csv").write_text(table + "Road,64,0,128\n")
    with pytest.raises(DataError, match=r"class_dict.csv, line 5: #400080 is 'Car' already"):
        write_study_file(tmp_path / "set", tmp_path / "t.yaml")
    (tmp_path / "set" / "class_dict.csv").write_text(table + "Road,64,0\n")
    with pytest.raises(DataError, match=r"line 5: .* is not a name with three numbers"):
        write_study_file(tmp_path / "set", tmp_path / "t.yaml")


def geotiff(path: Path, values: list[int], nodata: int | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    tags = {} if nodata is None else {42113: str(nodata)}
    Image.fromarray(np.uint8([values])).save(path, tiffinfo=tags)


@pytest.mark.parametrize(
    ("values", "nodata", "expected"),
    [([0, 1, 2, 7], 7, [0, 1, 2, 255]), ([0, 1, 2, 0], 0, [0, 1, 2, 0]), ([0, 1, 2, 1], 9, [0, 1, 2, 1])],
)
def test_nodata_is_left_out_by_the_reader_and_by_score(
    tmp_path: Path, values: list[int], nodata: int, expected: list[int]
) -> None:
    for k in range(3):
        save(tmp_path / "images" / f"{k}.png", np.full((1, 4, 3), k, np.uint8))
        geotiff(tmp_path / "masks" / f"{k}.tif", values, nodata)
        save(tmp_path / "pred" / f"{k}.png", np.uint8([[0, 1, 2, 1]]))
    dataset = folder.read("d", tmp_path)
    assert dataset.labels_of(dataset.samples("all")[0]).tolist() == [expected]
    found = score_masks(tmp_path / "pred", tmp_path / "masks").confusion.sum()
    assert found == 3 * sum(label != 255 for label in expected)


@pytest.mark.parametrize(
    ("values", "nodata", "message"),
    [
        ([0, 255, 0, 255], 255, r"holds 0 and its nodata value alone.*`values: \{0: background, 255: foreground\}`"),
        ([0, 255, 7, 1], 7, "holds 255 and its nodata value 7"),
    ],
)
def test_nodata_that_may_be_drawn_is_asked_about(tmp_path: Path, values: list[int], nodata: int, message: str) -> None:
    for k in range(3):
        save(tmp_path / "images" / f"{k}.png", np.full((1, 4, 3), k, np.uint8))
        geotiff(tmp_path / "masks" / f"{k}.tif", values, nodata)
    with pytest.raises(DataError, match=message):
        folder.read("d", tmp_path)


def faces_study(tmp_path: Path) -> Path:
    """A study of the faces, skin and hair alone, and predictions of the third image's truth for all four."""
    faces(tmp_path / "set")
    masks = {name: f"CelebAMask-HQ-mask-{pattern}" for name, pattern in PATTERNS.items()}
    entry = {"reader": "folder", "root": str(tmp_path / "set"), "images": "CelebA-HQ-img/{id}.jpg", "masks": masks}
    study = {"name": "s", "data": {"d": entry}, "experiments": {"u": {"data": "d", "model": {"arch": "unet"}}}}
    (tmp_path / "s.yaml").write_text(json.dumps(study))
    for k in range(4):
        save(tmp_path / "pred" / f"{k}.png", np.where(SKIN > 0, np.uint8(1), np.uint8(0)))
    return tmp_path / "s.yaml"


def test_score_takes_true_masks_of_a_study_s_dataset(tmp_path: Path) -> None:
    """Of three heads, 6 pixels of hair are predicted as skin and 6 as background; the fourth has none."""
    study = faces_study(tmp_path)
    found = score_masks(tmp_path / "pred", f"{study}:d")
    skin, hair, outside = 28, 12, HEIGHT * WIDTH - 28 - 6
    assert found.confusion.sum(axis=0).tolist() == [
        [3 * outside + 96 - 28, 0, 0],
        [0, 3 * (skin - 6) + 28, 0],
        [18, 18, 0],
    ]
    assert hair == 12 and found.about.classes == ("background", "skin", "hair")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (":e", {}, "the study has no dataset 'e'"),
        (":d", {"num_classes": 3}, "says which classes there are"),
        (":d:test", {}, r"'[0-3]' is not an image of d:test"),
    ],
)
def test_score_against_what_a_study_has_not(tmp_path: Path, name: str, options: dict[str, Any], message: str) -> None:
    study = faces_study(tmp_path)
    with pytest.raises(SegstudyError, match=message):
        score_masks(tmp_path / "pred", f"{study}{name}", **options)


def test_score_against_a_dataset_needs_every_prediction(tmp_path: Path) -> None:
    study = faces_study(tmp_path)
    (tmp_path / "pred" / "2.png").unlink()
    with pytest.raises(DataError, match="1 images of d have no prediction: CelebA-HQ-img/2"):
        score_masks(tmp_path / "pred", f"{study}:d")


@pytest.mark.parametrize("kind", ["folders", "names"])
def test_two_classes_in_folders_or_names_of_their_own(tmp_path: Path, kind: str) -> None:
    """The cup lies in the disc, and over it."""
    for k in range(4):
        picture(tmp_path / "set" / "images" / f"{k}.png", k)
        for name, mask in (("cup", patch(slice(3, 5), slice(4, 6))), ("disc", patch(slice(2, 6), slice(2, 9)))):
            place = f"masks/{name}/{k}.png" if kind == "folders" else f"gt/{k}_{name}.png"
            save(tmp_path / "set" / place, mask)
    _, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    assert dataset.classes == ("background", "disc", "cup")
    expected = patch(slice(2, 6), slice(2, 9), 1) + patch(slice(3, 5), slice(4, 6), 1)
    assert [each.tolist() for each in labels(dataset).values()] == [expected.tolist()] * 4


def test_masks_of_a_second_person_are_no_class_and_are_said(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "set" / "images" / f"{k}.png", k)
        save(tmp_path / "set" / "1st_manual" / f"{k}.png", SKIN)
        save(tmp_path / "set" / "2nd_manual" / f"{k}.png", HAIR)
    text, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    assert [each.tolist() for each in labels(dataset).values()] == [(SKIN // 255).tolist()] * 4
    assert "4 pictures in other folders are left out: 2nd_manual (4)" in text


def test_numbers_with_gaps_and_divided_objects_are_no_classes_either(tmp_path: Path) -> None:
    for k, number in enumerate((5, 7, 8, 9)):
        picture(tmp_path / "images" / f"{k}.png", k)
        mask = numbered(number)
        mask[mask == 2] = 0  # taken out
        if k == 1:
            mask[7, 11] = 1  # an object that another hides in part
        save(tmp_path / "masks" / f"{k}.png", mask)
    with pytest.raises(DataError, match="hold 1 to 9 at most and 1 to 5 at least"):
        folder.read("d", tmp_path)


def test_organs_that_are_each_in_one_piece_are_classes(tmp_path: Path) -> None:
    """Most images show all of them."""
    for k, number in enumerate((4, 4, 4, 4, 4, 3)):
        picture(tmp_path / "images" / f"{k}.png", k)
        save(tmp_path / "masks" / f"{k}.png", numbered(number))
    assert len(folder.read("d", tmp_path).classes) == 5


def test_score_does_not_take_numbered_predictions_for_classes(tmp_path: Path) -> None:
    for k, number in enumerate((3, 7, 4)):
        save(tmp_path / "pred" / f"{k}.png", numbered(number))
        save(tmp_path / "true" / f"{k}.png", np.minimum(numbered(number), 1))
    with pytest.raises(DataError, match=r"pred: the masks hold 1 to 7 at most .*`--threshold 0`"):
        score_masks(tmp_path / "pred", tmp_path / "true")
    found = score_masks(tmp_path / "pred", tmp_path / "true", declared=Declared(threshold=0, flags=True))
    assert found.confusion.sum(axis=0).tolist() == [[3 * 96 - 14, 0], [0, 14]]


def test_predict_reads_every_page_of_a_stack(tmp_path: Path) -> None:
    stack(tmp_path / "v.tif", [np.full((2, 2), k, np.uint8) for k in range(3)])
    found = folder.READER.pictures(tmp_path / "v.tif", folder.Options(page="all"))
    assert {name: np.asarray(read()).max() for name, read in found.items()} == {"#0": 0, "#1": 1, "#2": 2}
    assert list(folder.READER.pictures(tmp_path / "v.tif", folder.Options(page=2))) == [""]


def test_names_in_capitals(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "set" / f"IMG_{k}.JPG", k)
        save(tmp_path / "set" / f"IMG_{k}_Mask.PNG", SKIN)
    _, dataset = read_as_init_writes(tmp_path / "set", tmp_path)
    assert [each.tolist() for each in labels(dataset).values()] == [(SKIN // 255).tolist()] * 4


def test_masks_of_each_class_may_be_folders(tmp_path: Path) -> None:
    for name in ("a", "b/c"):
        picture(tmp_path / "i" / f"{name}.png")
        save(tmp_path / "m" / "one" / f"{name}.png", SKIN)
        save(tmp_path / "m" / "two" / f"{name}.tif", HAIR)
    dataset = folder.read("d", tmp_path, folder.Options(images="i", masks={"one": "m/one", "two": "m/two/"}))
    assert {key: each.tolist() for key, each in labels(dataset).items()} == dict.fromkeys(
        ("i/a", "i/b/c"), FACE.tolist()
    )


@pytest.mark.parametrize("table", ["name,r,g,b\nCar,1,2,3\n", "name,r,g,b\n", "\xff\xfe", "r,g,b\n1,2,3\n", ""])
def test_tables_that_say_nothing_leave_the_choice_to_people(tmp_path: Path, table: str) -> None:
    for k in range(3):
        picture(tmp_path / "set" / "images" / f"{k}.png", k)
        save(tmp_path / "set" / "masks" / f"{k}.png", np.uint8(SKIN[..., None] > 0) * np.uint8([9, 8, 7]))
    (tmp_path / "set" / "class_dict.csv").write_text(table, "latin-1")
    with pytest.raises(DataError, match=r"`colours: \{'#000000': background, '#090807': foreground\}`"):
        write_study_file(tmp_path / "set", tmp_path / "s.yaml")
