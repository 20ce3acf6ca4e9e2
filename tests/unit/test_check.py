"""Check: every planted fault is found, all in one call; sound data raise no alarm; the card's numbers are right."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

import fakes
from fakes import save
from segstudy.checking import Checked, DatasetFault, check_study
from segstudy.checking.files import write_augment_sheets, write_cards, write_split_of
from segstudy.checking.sheet import WIDTH_PX, contact_sheet
from segstudy.checking.text import card_text, findings_text, verdict
from segstudy.data.core import Dataset, Sample, load_pair, open_image
from segstudy.data.quality.card import Seen, area_summary, choose_for_sheet
from segstudy.data.quality.faults import KINDS, Fault, grouped
from segstudy.data.quality.inspect import inspect_sample, orientation, part_areas
from segstudy.data.readers import cityscapes, folder, kvasir, supervisely
from segstudy.data.scenes.endoscopy import polyp_scene
from segstudy.data.splitting.splits import read_split
from segstudy.errors import DataError, SpecError
from segstudy.launch.workshop import Workshop
from segstudy.plan import make_plan
from segstudy.progress import showing
from segstudy.spec import parse_study
from segstudy.store import Store
from segstudy.study import Study

SIZE = (48, 32)
RNG = np.random.default_rng(3)
Told = set[tuple[str, str, str]]  # kind, severity, sample


def study_of(root: Path, reader: str, options: str = "", augment: str = "none") -> Study:
    return parse_study(f"""
name: small
protocol: paper
data: {{d: {{reader: {reader}, root: {root}{options}}}}}
recipe: {{input_size: 32, augment: {augment}}}
experiments: {{unet: {{data: d, model: {{arch: unet, encoder: resnet18, weights: none}}}}}}
""")


def check(root: Path, reader: str, options: str = "") -> Checked:
    """Check one dataset; none of the study's networks is built."""
    study = study_of(root, reader, options)
    with showing(quiet=True) as progress:
        workshop = Workshop(study, Store(root.parent / "out"), None, progress, inspecting=True)
        return check_study(workshop, [], ["d"])


def told(checked: Checked) -> Told:
    """What was found; each thing must be told once."""
    found = [(each.fault.kind, each.fault.severity, each.fault.sample) for each in checked.findings]
    assert len(set(found)) == len(found)
    return set(found)


# What spoils a file. Pictures are written as PNG or TIFF under any name, for what a file is, is read from its content.


def rewrite(path: Path, picture: Image.Image, **options: object) -> None:
    picture.save(path, format="TIFF" if picture.mode == "CMYK" else "PNG", **options)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def noise(mode: str = "RGB", size: tuple[int, int] = SIZE) -> Image.Image:
    return Image.fromarray(fakes.random_image(RNG, size)).convert(mode)


def pictured(mode: str, size: tuple[int, int] = SIZE) -> Callable[[Path], None]:
    return lambda path: rewrite(path, noise(mode, size))


def filled(value: int, dtype: str = "u1") -> Callable[[Path], None]:
    return lambda path: rewrite(path, Image.fromarray(np.full(SIZE[::-1], value, dtype)))


def tagged(orientation: int, size: tuple[int, int] = SIZE) -> Callable[[Path], None]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return lambda path: rewrite(path, noise(size=size), exif=exif)


def deep_colours(path: Path) -> None:
    target = path.with_name("deep.png")
    assert cv2.imwrite(str(target), RNG.integers(0, 65536, (*SIZE[::-1], 3)).astype(np.uint16))
    target.rename(path)


def pierce(path: Path) -> None:
    picture = noise("RGBA")
    picture.putpixel((0, 0), (1, 2, 3, 0))
    rewrite(path, picture)


def tag_mask(path: Path) -> None:
    with Image.open(path) as image:
        image.load()
    exif = Image.Exif()
    exif[0x0112] = 3
    rewrite(path, image, exif=exif)


Plant = tuple[Callable[[Path], object], str, str]
ON_IMAGES: list[Plant] = [
    (halve, "truncated", "error"),
    (lambda path: path.write_text("<html>not found</html>"), "unreadable", "error"),
    (lambda path: path.write_bytes(b""), "unreadable", "error"),
    (pictured("RGB", (40, 32)), "size-mismatch", "error"),
    (pictured("RGB", (32, 48)), "size-mismatch", "error"),
    (tagged(6, (32, 48)), "exif-rotation", "error"),
    (tagged(3), "exif-rotation", "warning"),
    (deep_colours, "16-bit", "error"),
    (filled(40_000, "u2"), "16-bit", "error"),
    (pictured("CMYK"), "cmyk", "warning"),
    (pierce, "alpha", "warning"),
    (pictured("RGBA"), "alpha", "warning"),
    (pictured("L"), "mode", "warning"),
]
ON_MASKS: list[Plant] = [
    (halve, "truncated", "error"),
    (lambda path: path.write_text("no mask"), "unreadable", "error"),
    (pictured("RGB"), "coloured-mask", "error"),
    (tag_mask, "exif-rotation", "warning"),
]
OF_TWO_LEVELS: list[Plant] = [(filled(1), "outside-classes", "error"), (filled(0), "no-foreground", "warning")]
OF_INDICES: list[Plant] = [
    (filled(200), "outside-classes", "error"),
    (filled(1000, "u2"), "outside-classes", "error"),
    (filled(255), "all-ignored", "warning"),
]


def spoil(samples: list[Sample], on_masks: list[Plant]) -> Told:
    """Spoil one sample after the other, and return what is to be found; at least four stay sound."""
    plants = [(plant, True) for plant in ON_IMAGES] + [(plant, False) for plant in on_masks]
    assert len(samples) >= len(plants) + 4
    for sample, ((change, _, _), on_image) in zip(samples, plants, strict=False):
        change(sample.image if on_image else sample.mask)
    return {(kind, severity, sample.id) for sample, ((_, kind, severity), _) in zip(samples, plants, strict=False)}


def copy_onto(source: Sample, target: Sample) -> None:
    shutil.copy(source.image, target.image)
    shutil.copy(source.mask, target.mask)


def repeat(dataset: Dataset, samples: list[Sample]) -> Told:
    """Make one of two sound samples a copy of the other; which splits they are in decides what they are called."""
    copy_onto(*samples)
    placed = [(s.id, split) for split, part in dataset.splits.items() for s in part if s in samples]
    kind = "duplicate" if placed[0][1] == placed[1][1] else "duplicate-across-splits"
    return {(kind, "warning", placed[1][0])}


def assert_check_agrees_with_loading(dataset: Dataset, checked: Checked) -> None:
    """An error is told of exactly those samples that training could not read."""
    refused = {each.fault.sample for each in checked.findings if each.fault.severity == "error"}
    for sample in dataset.samples("all"):
        try:
            load_pair(dataset, sample)
        except DataError:
            assert sample.id in refused
        else:
            assert sample.id not in refused


def test_every_fault_planted_in_kvasir_is_found_in_one_call(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set", num_images=40, size=SIZE)
    samples = sorted(kvasir.read("d", root).samples("all"))
    images, masks = root / "images", root / "masks"
    (masks / "cju030.jpg").unlink()
    (images / "cju031.jpg").unlink()
    (masks / "cju032.jpg").rename(masks / "CJU032.JPG")
    (masks / "cju033.jpg").rename(masks / "cju033.txt")
    shutil.copy(images / "cju034.jpg", images / "cju034.png")  # comes after the .jpg of its name
    dataset = kvasir.read("d", root)
    expected = spoil(samples, ON_MASKS + OF_TWO_LEVELS) | repeat(dataset, [samples[38], samples[39]])
    expected |= {
        ("image-without-mask", "error", "cju030"),
        ("mask-without-image", "error", "cju031"),
        ("image-without-mask", "error", "cju032"),
        ("mask-without-image", "error", "CJU032"),
        ("image-without-mask", "error", "cju033"),
        ("same-name", "error", "cju034"),
    }
    checked = check(root, "kvasir")
    assert told(checked) == expected
    messages = {each.fault.sample: each.fault.message for each in checked.findings}
    assert "('CJU032.JPG' differs only in upper and lower case)" in messages["cju032"]
    assert "('cju033.txt' has an ending that is not read)" in messages["cju033"]
    assert "fit only once turned, and the EXIF tag says to turn it by 90 degrees" in messages[samples[5].id]
    assert "(one of them is turned by a quarter)" in messages[samples[4].id]
    with (
        pytest.raises(DataError, match=r"dataset 'd' \(segstudy check tells all\): 6 faults"),
        showing(quiet=True) as progress,
    ):
        Workshop(study_of(root, "kvasir"), Store(tmp_path / "out"), None, progress).dataset("d")


def test_what_check_passes_can_be_read_for_training(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set", num_images=40, size=SIZE)
    spoil(sorted(kvasir.read("d", root).samples("all")), ON_MASKS + OF_TWO_LEVELS)
    assert_check_agrees_with_loading(kvasir.read("d", root), check(root, "kvasir"))


def test_every_fault_planted_in_cityscapes_is_found_in_one_call(tmp_path: Path) -> None:
    root = fakes.fake_cityscapes(tmp_path / "set", num_images=30, size=SIZE)
    dataset = cityscapes.read("d", root)
    samples = list(dataset.samples("train"))
    expected = spoil(samples, ON_MASKS + OF_INDICES) | repeat(dataset, samples[-2:])
    lone = dataset.samples("val")[0]
    lone.mask.unlink()
    # As official masks are: nothing but ignored pixels is of class "unlabeled".
    expected |= {("image-without-mask", "error", lone.id)}
    checked = check(root, "cityscapes")
    assert told(checked) == expected
    assert {each.fault.split for each in checked.findings} == {"train", "val"}
    assert_check_agrees_with_loading(cityscapes.read("d", root), checked)


def test_every_fault_planted_in_a_folder_with_lists_is_found_in_one_call(tmp_path: Path) -> None:
    root = fakes.fake_folder(tmp_path / "set", num_images=36, size=SIZE, num_classes=4)
    names = [f"scene{k:02d}" for k in range(36)]
    (root / "train.txt").write_text("\n".join([*names[:30], "scene77"]))
    (root / "val.txt").write_text("\n".join([*names[30:], "scene01"]))
    dataset = folder.read("d", root, folder.Options(num_classes=4))
    samples = list(dataset.samples("train"))
    plants = [*ON_MASKS, *OF_INDICES, (filled(0), "no-foreground", "warning")]
    expected = spoil(samples, plants) | repeat(dataset, [samples[-1], dataset.samples("val")[0]])
    assert {kind for kind, _, _ in expected} >= {"duplicate-across-splits"}
    expected |= {("table", "error", ""), ("table", "error", "scene01")}
    checked = check(root, "folder", ", num_classes: 4")
    assert told(checked) == expected
    assert_check_agrees_with_loading(
        folder.read("d", root, folder.Options(num_classes=4)), check(root, "folder", ", num_classes: 4")
    )
    # Where the classes are to be guessed, masks that cannot be read do not stand in the way.
    assert told(check(root, "folder", ", num_classes: 4")) == expected


def test_every_fault_planted_in_a_table_is_found_in_one_call(tmp_path: Path) -> None:
    root = fakes.fake_supervisely_csv(tmp_path / "set", num_images=40, size=SIZE)
    dataset = supervisely.read("d", root)
    samples = sorted(dataset.samples("all"))
    expected = spoil(samples, ON_MASKS + OF_TWO_LEVELS) | repeat(dataset, samples[-2:])
    with (root / "df.csv").open("a", newline="") as table:
        table.write("40,images/none.png,masks/none.png,c\r\n41,images/x.png,,c\r\n")
        table.write(f"42,images/{samples[30].image.name},masks/{samples[30].mask.name},c\r\n")
    samples[31].mask.unlink()
    samples[32].image.rename(samples[32].image.with_suffix(".PNG"))
    checked = check(root, "supervisely")
    assert [each.fault.kind for each in checked.findings].count("missing") == 2  # the image and the mask of one row
    of_others = Checked(tuple(each for each in checked.findings if each.fault.kind != "missing"), ())
    assert told(of_others) == expected | {
        ("table", "error", ""),
        ("table", "error", samples[30].id),
        ("image-without-mask", "error", samples[31].id),
        ("mask-without-image", "error", samples[32].id),
        ("left-out", "warning", ""),  # the renamed image, which no row names
    }
    assert any("differs only in upper and lower case" in each.fault.message for each in checked.findings)


def test_every_fault_planted_in_a_project_is_found_in_one_call(tmp_path: Path) -> None:
    root = fakes.fake_supervisely_project(tmp_path / "set", num_images=30, size=SIZE)
    dataset = supervisely.read("d", root)
    samples = sorted(dataset.samples("all"))
    broken: list[Plant] = [(lambda path: path.write_text("{"), "annotation", "error")]
    broken += [(lambda path: fakes.write_annotation(path, SIZE, [{}]), "annotation", "error")]
    broken += [(lambda path: fakes.write_annotation(path, SIZE, []), "no-foreground", "warning")]
    expected = spoil(samples, broken)
    samples[-1].mask.unlink()
    samples[-2].image.unlink()
    name = {sample: f"{sample.id}.png" for sample in samples}
    checked = check(root, "supervisely")
    assert told(checked) == expected | {
        ("image-without-mask", "error", name[samples[-1]]),
        ("mask-without-image", "error", name[samples[-2]]),
    }
    assert_check_agrees_with_loading(supervisely.read("d", root), checked)


@pytest.mark.parametrize(
    ("reader", "make", "options"),
    [
        ("kvasir", fakes.fake_kvasir, ""),
        ("cityscapes", fakes.fake_cityscapes, ""),
        ("supervisely", fakes.fake_supervisely_csv, ""),
        ("supervisely", fakes.fake_supervisely_project, ""),
        ("folder", fakes.fake_folder, ""),
        ("folder", fakes.fake_camvid, ", ignore_values: [11]"),
    ],
)
def test_sound_data_raise_no_alarm(tmp_path: Path, reader: str, make: Callable[..., Path], options: str) -> None:
    checked = check(make(tmp_path / "set", num_images=12), reader, options)
    assert checked.findings == ()
    assert verdict(checked) == "nothing wrong found"
    assert findings_text(checked) == []
    (each,) = checked.inspected
    assert sum(row["sound"] for row in each.card["splits"]) == len(each.dataset.samples("all"))


def add_scene(root: Path, split: str, name: str, seed: int, gain: float = 1.0) -> None:
    image, mask = polyp_scene(np.random.default_rng(seed), (160, 144))
    save(root / split / "images" / f"{name}.png", np.clip(image * gain, 0, 255).astype(np.uint8))
    save(root / split / "masks" / f"{name}.png", mask * np.uint8(255))


def test_a_near_duplicate_and_a_patient_across_splits_are_found(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for seed in range(8):
        add_scene(root, "train", f"p{seed}_a", seed)
    add_scene(root, "test", "p8_a", 8)
    add_scene(root, "test", "p9_a", 9)
    add_scene(root, "test", "p1_b", 10)  # another image of a patient in train
    add_scene(root, "test", "p20_a", 2, gain=1.15)  # the image of p2, brighter
    checked = check(root, "folder", ", groups: '/(p[0-9]+)_'")
    assert told(checked) == {
        ("near-duplicate-across-splits", "warning", "test/p20_a"),
        ("group-across-splits", "warning", ""),
    }
    messages = [each.fault.message for each in checked.findings]
    assert "'train/p2_a' of train, and stands in test" in messages[0]
    assert messages[1].startswith("group 'p1': 1 in train, 1 in test; ")
    card = checked.inspected[0].card
    assert card["repeats"] == {"same": {"pairs": 0, "across_splits": 0}, "near": {"pairs": 1, "across_splits": 1}}
    assert card["groups"] == {"num": 11, "divided": 1}


def test_images_of_a_target_that_the_source_trains_on_are_found(tmp_path: Path) -> None:
    """Of the target, one image is in the source's training split, one is so mirrored, and one is in its test split alone."""
    for number in range(12):
        add_scene(tmp_path / "a", "train" if number < 9 else "test", f"s{number}", number)
    for number in range(4):
        add_scene(tmp_path / "b", "test", f"t{number}", 50 + number)
    source, target = tmp_path / "a", tmp_path / "b" / "test"
    shutil.copy(source / "train" / "images" / "s3.png", target / "images" / "same.png")
    Image.open(source / "train" / "images" / "s4.png").transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(
        target / "images" / "turned.png"
    )
    shutil.copy(source / "test" / "images" / "s10.png", target / "images" / "unseen.png")
    for name in ("same", "turned", "unseen"):
        shutil.copy(target / "masks" / "t0.png", target / "masks" / f"{name}.png")
    study = parse_study(f"""
name: small
data: {{a: {{reader: folder, root: {tmp_path / "a"}}}, b: {{reader: folder, root: {tmp_path / "b"}}}}}
experiments: {{unet: {{data: a, model: {{arch: unet, encoder: resnet18, weights: none}}}}}}
cross_evaluations: [{{experiment: unet, on: b}}]
""")
    with showing(quiet=True) as progress:
        checked = check_study(Workshop(study, Store(tmp_path / "out"), None, progress, inspecting=True), [], ["a", "b"])
    told_of = {(f.fault.kind, f.dataset, f.fault.sample) for f in checked.findings if "datasets" in f.fault.kind}
    assert told_of == {
        ("duplicate-across-datasets", "b", "test/same"),
        ("near-duplicate-across-datasets", "b", "test/turned"),
    }


def test_problems_of_the_study_stand_in_the_same_list(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set")
    (root / "masks" / "cju000.jpg").unlink()
    study = parse_study(f"""
name: small
data: {{d: {{reader: kvasir, root: {root}}}, gone: {{reader: kvasir, root: nowhere}}}}
experiments:
  unet: {{data: d, model: {{arch: unet, encoder: resnet18, weights: no-such.pth}}}}
  other: {{data: gone, model: {{arch: unet, encoder: resnet18, weights: none}}}}
""")
    with showing(quiet=True) as progress:
        workshop = Workshop(study, Store(tmp_path / "out"), None, progress, inspecting=True)
        checked = check_study(workshop, make_plan(study).runs, ["d", "gone"])
    assert [(each.dataset, each.fault.kind) for each in checked.findings] == [
        ("", "study"),
        ("gone", "dataset"),
        ("d", "image-without-mask"),
    ]
    assert "no-such.pth" in checked.findings[0].fault.message
    assert "data.gone.root: 'nowhere' was not found" in checked.findings[1].fault.message


def test_what_stands_in_the_way_of_dividing_does_not_hide_other_faults(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set", num_images=10)
    write_split_of(check(root, "kvasir"), tmp_path / "split.json")
    (root / "masks" / "cju002.jpg").unlink()
    halve(root / "images" / "cju004.jpg")
    checked = check(root, "kvasir", f", split_file: {tmp_path / 'split.json'}")
    assert [(each.dataset, each.fault.kind, each.fault.sample, each.fault.split) for each in checked.findings] == [
        ("d", "dataset", "", ""),
        ("d", "image-without-mask", "cju002", ""),
        ("d", "truncated", "cju004", ""),
    ]
    assert "1 images that it names are not in the dataset: cju002" in checked.findings[0].fault.message
    assert checked.inspected == ()  # a card of splits that nobody asked for would mislead


# How it is told


def test_a_thousand_equal_faults_are_a_few_lines() -> None:
    faults = [Fault("truncated", "is cut off; copy it again", Path(f"/d/{k}.png")) for k in range(1000)]
    assert grouped(faults, Path("/d")) == [
        "truncated (1,000): the file is cut off; copy it again",
        "  0.png: is cut off",
        "  1.png: is cut off",
        "  2.png: is cut off",
        "  and 997 more",
    ]


def test_problems_of_a_study_are_all_shown() -> None:
    faults = [Fault("study", f"problem {k}\nin two lines") for k in range(5)]
    checked = Checked(tuple(DatasetFault("", fault) for fault in faults), ())
    lines = findings_text(checked)
    assert lines[:4] == [
        "errors of the study",
        "  study (5): the study cannot be carried out",
        "    problem 0",
        "      in two lines",
    ]
    assert len(lines) == 2 + 2 * 5


def test_advice_that_differs_stays_with_its_file() -> None:
    faults = [Fault("table", f"row {k} is wrong; do {k}", Path("/d/t.csv")) for k in range(2)]
    assert grouped(faults)[1:] == ["  /d/t.csv: row 0 is wrong; do 0", "  /d/t.csv: row 1 is wrong; do 1"]


def test_errors_come_before_warnings_and_are_counted() -> None:
    faults = [("d", Fault("alpha", "x", severity="warning")), ("d", Fault("truncated", "y")), ("", Fault("study", "z"))]
    checked = Checked(tuple(DatasetFault(name, fault) for name, fault in faults), ())
    lines = findings_text(checked)
    assert [line for line in lines if line and not line.startswith(" ")] == [
        "errors of d",
        "errors of the study",
        "warnings of d",
    ]
    assert verdict(checked) == "2 errors to fix before training, 1 warning"
    assert verdict(Checked(checked.findings[:1], ())) == "no errors, 1 warning to look at"


def test_records_are_complete_and_of_one_shape(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set", num_images=8)
    (root / "images" / "cju001.jpg").write_text("no")
    record = json.loads(json.dumps(check(root, "kvasir").record("small")))
    assert list(record) == ["study", "errors", "warnings", "findings", "datasets"]
    assert (record["study"], record["errors"], record["warnings"]) == ("small", 1, 0)
    assert record["findings"] == [
        {
            "dataset": "d",
            "split": "train" if "cju001" in [s.id for s in kvasir.read("d", root).samples("train")] else "test",
            "sample": "cju001",
            "file": str(root / "images" / "cju001.jpg"),
            "kind": "unreadable",
            "severity": "error",
            "message": "not an image that Pillow can read; copy it again from its source",
        }
    ]
    (card,) = record["datasets"]
    more = ["groups", "notes"]
    assert sorted(card) == sorted(
        [
            "dataset",
            "classes",
            "split_hash",
            "splits",
            "sizes",
            "modes",
            "frequencies",
            "ignored",
            "channels",
            "repeats",
            *more,
        ]
    )


def test_the_documents_name_every_kind() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "check-your-data.md").read_text(encoding="utf-8")
    assert [kind for kind in KINDS if f"`{kind}`" not in page] == []


# What one look sees


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_orientation_is_seen_and_pixels_stay_as_stored(tmp_path: Path, suffix: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    noise().save(tmp_path / f"a{suffix}", exif=exif)
    image = open_image(tmp_path / f"a{suffix}")
    assert orientation(image) == 6
    assert image.size == SIZE


@pytest.mark.parametrize("content", [b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0"])
def test_a_damaged_tag_is_none(tmp_path: Path, content: bytes) -> None:
    noise().save(tmp_path / "a.png", exif=content)
    assert orientation(open_image(tmp_path / "a.png")) == 1


def test_parts_touch_at_corners() -> None:
    mask = np.zeros((6, 9), bool)
    mask[0:2, 0:2] = mask[2:4, 2:4] = True  # one part of 8 by its corner
    mask[0, 5] = mask[5, 8] = True
    mask[3:6, 6] = True
    assert part_areas(mask) == {8: 1, 1: 2, 3: 1} | {}
    assert part_areas(np.zeros((2, 2), bool)) == {}


# The card


def small_set(root: Path) -> Path:
    """Four training images of 6 x 4 and a test image of 8 x 4; classes 0 to 2, and 255."""
    for k in range(4):
        mask = np.zeros((4, 6), np.uint8)
        mask[0, : k + 1] = 1  # one part of 1, 2, 3 and 4 pixels
        save(root / "train" / "images" / f"t{k}.png", np.full((4, 6, 3), [10 * k, 20, 255], np.uint8))
        save(root / "train" / "masks" / f"t{k}.png", mask)
    mask = np.full((4, 8), 255, np.uint8)
    mask[0:2, 0:2] = mask[0, 6] = 2
    mask[3] = 0
    save(root / "test" / "images" / "e.png", np.zeros((4, 8, 3), np.uint8))
    save(root / "test" / "masks" / "e.png", mask)
    return root


def test_the_card_by_hand(tmp_path: Path) -> None:
    options = ", classes: [background, near, far, never]"
    (each,) = check(small_set(tmp_path / "set"), "folder", options).inspected
    card = each.card
    assert [(row["split"], row["images"], row["roles"]) for row in card["splits"]] == [
        ("train", 4, ["trains"]),
        ("test", 1, ["chooses", "is reported"]),
    ]
    assert card["sizes"] == {
        "different": 2,
        "min": [6, 4],
        "median": [6, 4],
        "max": [8, 4],
        "most_frequent": [6, 4],
        "images_of_most_frequent": 4,
    }
    ground, near, far, never = card["frequencies"]
    assert (near["pixels"], near["images"], near["image_share"]) == (10, 4, 0.8)
    assert near["pixel_share"] == pytest.approx(10 / (4 * 24 + 32))
    assert near["splits"]["train"]["pixel_share"] == pytest.approx(10 / 96)
    assert near["splits"]["test"]["image_share"] == 0
    assert near["parts"] == {"num": 4, "min": 1, "q1": 1.75, "median": 2.5, "q3": 3.25, "max": 4}
    assert (far["parts"]["num"], far["parts"]["min"], far["parts"]["max"]) == (2, 1, 4)
    assert ground["parts"] is None
    assert (never["pixels"], never["parts"]["num"], never["parts"]["median"]) == (0, 0, None)
    assert card["ignored"]["pixels"] == 32 - 5 - 8
    # Red is 0, 10, 20 and 30 in equal parts: mean 15, variance 125.
    assert card["channels"]["train"]["mean"] == pytest.approx([15 / 255, 20 / 255, 1])
    assert card["channels"]["train"]["std"] == pytest.approx([125**0.5 / 255, 0, 0])
    assert card["channels"]["test"]["mean"] == [0, 0, 0]
    text = "\n".join(card_text(each))
    assert "train 4 (trains), test 1 (chooses, is reported)" in text
    assert "never          0.00%" in text


def test_channels_of_images_of_different_sizes_weigh_by_pixels(tmp_path: Path) -> None:
    root = fakes.fake_folder(tmp_path / "set", num_images=10)
    large = RNG.integers(0, 256, (70, 90, 3), dtype=np.uint8)
    names = [sample.id for sample in folder.read("d", root).samples("train")]
    save(root / "images" / f"{names[0]}.png", large)
    (root / "images" / f"{names[0]}.jpg").unlink()
    save(root / "masks" / f"{names[0]}.png", np.eye(90, dtype=np.uint8)[:70] * np.uint8(255))
    (each,) = check(root, "folder").inspected
    pixels = np.concatenate(
        [np.asarray(Image.open(s.image).convert("RGB")).reshape(-1, 3) for s in each.dataset.samples("train")]
    )
    moments = each.card["channels"]["train"]
    np.testing.assert_allclose(moments["mean"], pixels.mean(axis=0) / 255, rtol=1e-12)
    np.testing.assert_allclose(moments["std"], pixels.std(axis=0) / 255, rtol=1e-9)


@pytest.mark.parametrize("count", [1, 2, 3, 10, 57])
def test_quartiles_of_areas_are_numpys(count: int) -> None:
    areas = RNG.integers(1, 12, count)
    values, numbers = np.unique(areas, return_counts=True)
    summary = area_summary(dict(zip(values.tolist(), numbers.tolist(), strict=True)))
    expected = np.quantile(areas, [0, 0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose([summary[key] for key in ("min", "q1", "median", "q3", "max")], expected)
    assert summary["num"] == count


def test_images_with_errors_are_counted_but_not_measured(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set", num_images=8)
    for k in range(3):
        (root / "images" / f"cju00{k}.jpg").write_text("no")
    (each,) = check(root, "kvasir").inspected
    assert sum(row["images"] for row in each.card["splits"]) == 8
    assert sum(each.card["modes"].values()) == 5
    assert card_text(each)[0] == "d: 8 images of 2 classes, of which 3 cannot be used and are not in these numbers"


# Sheets


def seen(name: str, **pixels: int) -> Seen:
    return Seen("train", Sample(name, Path(name), Path(name)), {int(key[1:]): count for key, count in pixels.items()})


def test_the_sheet_shows_rare_classes_and_is_even_otherwise() -> None:
    plain = [seen(f"n{k:02d}", c0=100 - k, c1=k) for k in range(1, 41)]
    rare = [seen("r1", c0=80, c1=19, c2=1), seen("r2", c0=70, c1=10, c2=20), seen("r3", c0=60, c2=19, c3=21)]
    chosen = [each.sample.id for each in choose_for_sheet([*plain, *rare], 0, 6)]
    # Class 3 is the rarest, and its best image shows class 2 well too; the other five are even over the rest.
    assert "r3" in chosen
    assert len(chosen) == len(set(chosen)) == 6
    assert chosen[0] == "n01"
    assert chosen[-2:] == ["n40", "r3"] or chosen[-2:] == ["r3", "n40"]
    assert chosen == [each.sample.id for each in choose_for_sheet([*plain, *rare], 0, 6)]
    assert [each.sample.id for each in choose_for_sheet(plain[:2], 0, 6)] == ["n01", "n02"]
    assert choose_for_sheet([], 0, 6) == []


def test_a_class_too_small_to_see_does_not_count_as_shown() -> None:
    images = [seen("speck", c0=5000, c1=4000, c2=1), seen("shown", c0=5000, c2=500), seen("other", c0=9000, c1=10)]
    assert [each.sample.id for each in choose_for_sheet(images, 0, 2)] == ["shown", "speck"]


def test_the_contact_sheet_shows_images_in_their_colours(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for k in range(5):
        save(
            root / "images" / f"a-very-long-name-that-does-not-fit-below-its-image-{k}.png",
            np.full((60, 80, 3), 90, "u1"),
        )
        mask = np.zeros((60, 80), np.uint8)
        mask[10:50, 10:70] = 255
        save(root / "masks" / f"a-very-long-name-that-does-not-fit-below-its-image-{k}.png", mask)
    (each,) = check(root, "folder").inspected
    sheet = contact_sheet(each)
    assert sheet is not None
    colours = {colour: count for count, colour in sheet.getcolors(1 << 24) or []}
    tinted = tuple((90 + channel) // 2 for channel in (230, 159, 0))
    assert sheet.width == WIDTH_PX
    # Five cells of four to a row, the mask over half of each, no text over any of them.
    cell = ((WIDTH_PX - 14) // 4 - 14) * round(((WIDTH_PX - 14) // 4 - 14) * 0.75)
    assert colours[tinted] == pytest.approx(5 * cell / 2, rel=0.03)
    assert colours[90, 90, 90] == pytest.approx(5 * cell / 2, rel=0.03)


def test_cards_are_written_for_each_dataset(tmp_path: Path) -> None:
    one = check(fakes.fake_kvasir(tmp_path / "set", num_images=8), "kvasir")
    written = write_cards(one, tmp_path / "cards")
    assert [path.relative_to(tmp_path).as_posix() for path in written] == [
        "cards/card.md",
        "cards/card.json",
        "cards/contact-sheet.jpg",
    ]
    card = json.loads((tmp_path / "cards" / "card.json").read_text())
    assert card == json.loads(json.dumps(one.inspected[0].card)) | {"findings": []}
    page = (tmp_path / "cards" / "card.md").read_text()
    assert "| polyp " in page
    assert "No findings." in page
    two = Checked((), (*one.inspected, *one.inspected))
    assert write_cards(two, tmp_path / "both")[0] == tmp_path / "both" / "d" / "card.md"


def test_a_dataset_without_a_sound_image_has_a_card_without_a_sheet(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set", num_images=5)
    for path in (root / "images").iterdir():
        path.write_text("no")
    checked = check(root, "kvasir")
    assert [path.name for path in write_cards(checked, tmp_path / "cards")] == ["card.md", "card.json"]
    page = (tmp_path / "cards" / "card.md").read_text()
    assert "unreadable (5)" in page
    assert "contact-sheet" not in page
    with pytest.raises(SpecError, match="no dataset that was checked has a sound image in its training split"):
        write_augment_sheets(checked, make_plan(study_of(root, "kvasir")).runs, tmp_path)


def test_one_sheet_for_each_way_to_augment(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set", num_images=8)
    runs = make_plan(study_of(root, "kvasir", augment="light")).runs
    written = write_augment_sheets(check(root, "kvasir"), [*runs, *runs], tmp_path / "new")
    assert [path.name for path in written] == ["augment-unet.jpg"]
    with Image.open(written[0]) as sheet:
        assert sheet.format == "JPEG"


def test_a_written_split_can_be_read_back(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "set", num_images=8)
    checked = check(root, "kvasir")
    write_split_of(checked, tmp_path / "split.json")
    own = checked.inspected[0].dataset
    assert read_split(tmp_path / "split.json", own).splits == own.splits
    both = Checked((), (*checked.inspected, *checked.inspected))
    with pytest.raises(SpecError, match="--write-split takes one dataset, and there are d, d; name one with --dataset"):
        write_split_of(both, tmp_path / "other.json")
    (root / "masks" / "cju003.jpg").unlink()
    with pytest.raises(DataError, match=r"(?s)--write-split: dataset 'd' is not whole.*image-without-mask"):
        write_split_of(check(root, "kvasir"), tmp_path / "other.json")
    assert not (tmp_path / "other.json").exists()


# Real data


@pytest.mark.parametrize(
    ("reader", "place", "options"),
    [
        (kvasir, "kvasir-seg", {}),
        (supervisely, "person", {}),
        (folder, "camvid", {"num_classes": 11, "ignore_values": [11]}),
    ],
)
def test_real_data_raise_no_false_alarm(reader: object, place: str, options: dict[str, object]) -> None:
    if not os.environ.get("SEGSTUDY_DATA"):
        pytest.skip("SEGSTUDY_DATA is not set: no real data to check")
    dataset = reader.read("d", Path(os.environ["SEGSTUDY_DATA"]) / place, reader.Options(**options))  # type: ignore[attr-defined]
    assert dataset.faults == ()
    for split, part in dataset.splits.items():
        for sample in part[::25]:
            look = inspect_sample(dataset, split, sample)
            assert look.faults == ()
            assert sum((look.pixels or {}).values()) == look.size[0] * look.size[1]
