"""What cannot be right in a dataset whose files can all be read. Shares and numbers are worked out by hand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from fakes import save
from segstudy.data.core import Dataset, Sample, assign_roles, divide
from segstudy.data.declared import Declared, declared_by_flags
from segstudy.data.encoding import index_labels
from segstudy.data.quality.card import Seen, Tally
from segstudy.data.quality.inspect import inspect_sample
from segstudy.data.quality.plausible import doubts_of_dataset
from segstudy.data.quality.polarity import opposite_polarity
from segstudy.data.readers import folder
from segstudy.errors import DataError, SpecError
from segstudy.init import write_study_file

Masks = Mapping[str, Sequence[list[int]]]


def doubts(root: Path, splits: Masks, num_classes: int, trained: str = "train") -> list[tuple[str, str]]:
    """Kinds and messages about a dataset of masks of one row each, of which every image is another grey."""
    samples: dict[str, list[Sample]] = {}
    grey = 0
    for split, rows in splits.items():
        for number, row in enumerate(rows):
            grey += 1
            name = f"{split}{number}"
            image = save(root / "i" / f"{name}.png", np.full((1, len(row), 3), grey, np.uint8))
            mask = save(root / "m" / f"{name}.png", np.array([row], np.uint8))
            samples.setdefault(split, []).append(Sample(name, image, mask))
    return doubts_of({split: tuple(part) for split, part in samples.items()}, num_classes, trained)


def doubts_of(
    samples: Mapping[str, tuple[Sample, ...]], num_classes: int, trained: str = "train"
) -> list[tuple[str, str]]:
    names, palette = tuple(f"c{k}" for k in range(num_classes)), tuple((k, k, k) for k in range(num_classes))
    dataset = Dataset("d", names, palette, samples, lambda sample: index_labels(sample, num_classes))
    whole = {**samples, "train": samples.get("train", ()), "test": samples.get("test", ())}
    tally = Tally(dataset, assign_roles(Dataset("d", names, palette, whole, dataset.labels_of), "paper", None, None)[1])  # type: ignore[arg-type]
    for split, part in samples.items():
        for sample in part:
            tally.add(inspect_sample(dataset, split, sample))
    return [(fault.kind, fault.message) for fault in doubts_of_dataset(dataset, trained, tally.seen)]


@pytest.mark.parametrize(("number", "said"), [(600, ["class-absent"]), (599, [])])
def test_a_class_without_a_pixel_in_very_many_masks_is_not_just_rare(number: int, said: list[str]) -> None:
    """As the last of ADE20K's, where copies count from 0."""
    sample, pixels = Sample("a", Path("a"), Path("m")), dict.fromkeys(range(11), 9)
    names = tuple(f"c{k}" for k in range(12))
    dataset = Dataset("d", names, ((0, 0, 0),) * 12, {"train": (sample,)}, lambda each: index_labels(each, 12))
    found = doubts_of_dataset(dataset, "train", [Seen("train", sample, pixels, k) for k in range(number)])
    assert [fault.kind for fault in found if fault.kind == "class-absent"] == said


def test_sound_masks_raise_no_doubt(tmp_path: Path) -> None:
    assert doubts(tmp_path, {"train": [[0, 1, 2, 2], [0, 0, 1, 2]], "test": [[2, 1, 0, 0]]}, 3) == []


def test_a_class_that_is_only_tested_cannot_be_learnt(tmp_path: Path) -> None:
    ((kind, text),) = doubts(tmp_path, {"train": [[0, 1], [1, 0]], "test": [[0, 2]]}, 3)
    assert kind == "class-absent"
    assert "no pixel in train, only in test, of: c2" in text


def test_a_mere_target_has_no_training_to_miss(tmp_path: Path) -> None:
    assert doubts(tmp_path, {"test": [[0, 1], [1, 0]]}, 2, trained="") == []


def test_a_class_with_no_pixel_anywhere(tmp_path: Path) -> None:
    ((kind, text),) = doubts(tmp_path, {"train": [[0, 1], [1, 0]], "test": [[0, 1]]}, 3)
    assert kind == "class-absent"
    assert "1 of 3 classes" in text and "c2" in text


@pytest.mark.parametrize(("ignored", "share"), [(2, ""), (3, "75%")])
def test_most_pixels_ignored(tmp_path: Path, ignored: int, share: str) -> None:
    """Of the 4 x 2 pixels, half are no cause for doubt and three quarters are."""
    rows = [[255] * ignored + [1] * (4 - ignored), [255] * ignored + [0] * (4 - ignored)]
    found = doubts(tmp_path, {"train": rows}, 2)
    assert [kind for kind, _ in found] == (["mostly-ignored"] if share else [])
    assert all(text.startswith(f"{share} of all mask pixels") for _, text in found)


def test_one_mask_for_many_images(tmp_path: Path) -> None:
    mask = save(tmp_path / "m.png", np.array([[0, 1]], np.uint8))
    images = [save(tmp_path / f"{k}.png", np.full((1, 2, 3), k, np.uint8)) for k in range(3)]
    found = doubts_of({"train": tuple(Sample(path.stem, path, mask) for path in images)}, 2)
    assert ("shared-mask", "is the mask of 3 images; give each image its own") in found


def test_masks_of_one_content_beyond_chance(tmp_path: Path) -> None:
    """Two alike may be chance; three that show more than background are not."""
    assert doubts(tmp_path / "two", {"train": [[0, 1], [0, 1], [1, 0]]}, 2) == []
    ((kind, text),) = doubts(tmp_path / "three", {"train": [[0, 1], [0, 1], [0, 1], [1, 0]]}, 2)
    assert (kind, text.partition(":")[0]) == ("shared-mask", "3 images have one and the same mask")
    assert doubts(tmp_path / "empty", {"train": [[0, 0], [0, 0], [0, 0], [1, 0]]}, 2) == []


def test_a_target_needs_no_training_split_and_may_be_scored_whole() -> None:
    samples = tuple(Sample(f"{k}", Path(f"{k}.png"), Path(f"{k}m.png")) for k in range(4))
    target = Dataset("b", ("x", "y"), ((0, 0, 0), (1, 1, 1)), {"val": samples[:1], "extra": samples[1:]}, index_labels)  # type: ignore[arg-type]

    def hold_out(train: Sequence[Sample]) -> tuple[tuple[Sample, ...], tuple[Sample, ...]]:
        return divide(train, 0.5, 0)

    assert assign_roles(target, "held-out", None, hold_out, trains=False)[1].report == "val"
    roles = assign_roles(target, "held-out", "all", hold_out, trains=False)[1]
    assert (roles.train, roles.select, roles.report) == ("", "", "all")
    assert target.samples("all") == samples
    with pytest.raises(DataError, match="training needs 'train'"):
        assign_roles(target, "held-out", None, hold_out)


def test_flags_say_what_values_mean() -> None:
    assert declared_by_flags("0=a, 128=b,255=a", True, None, None, None) == Declared(
        values={0.0: "a", 128.0: "b", 255.0: "a"}, nearest=True, flags=True
    )
    assert declared_by_flags(None, False, "#ff0000=car,#000000=road", None, None).colours == {
        "#ff0000": "car",
        "#000000": "road",
    }
    assert declared_by_flags(None, False, None, 0.5, "alpha") == Declared(threshold=0.5, channel="alpha", flags=True)


@pytest.mark.parametrize(
    ("flags", "match"),
    [
        (("0=a,b", False, None, None, None), "'b' is not a pair"),
        (("x=a", False, None, None, None), "'x' is not a number"),
        (("0=a,0=b", False, None, None, None), "0 is given twice"),
        ((None, True, None, None, None), "--nearest goes with --values"),
        (("0=a,1=b", False, None, 3.0, None), "give one of them"),
        ((None, False, None, None, "mauve"), "--channel mauve"),
    ],
)
def test_flags_that_cannot_be_read(
    flags: tuple[str | None, bool, str | None, float | None, str | None], match: str
) -> None:
    with pytest.raises(SpecError, match=match):
        declared_by_flags(*flags)


def test_folders_of_unknown_splits_are_counted(tmp_path: Path) -> None:
    for split, number in (("train", 4), ("test", 2), ("extra", 3)):
        for k in range(number):
            save(tmp_path / split / "img" / f"{k}.png", np.full((2, 2, 3), 9 * k, np.uint8))
            save(tmp_path / split / "gt" / f"{k}.png", np.array([[0, 1], [1, 0]], np.uint8))
    options = folder.Options(images="{split}/img/*.png", masks="{split}/gt/{stem}.png")
    dataset = folder.read("d", tmp_path, options)
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 4, "test": 2}
    assert [(fault.kind, fault.severity) for fault in dataset.faults] == [("left-out", "warning")]
    assert "3 images of 'extra' are left out" in dataset.faults[0].message


@pytest.mark.parametrize("layout", ["images/{}", "{}/images"])
def test_folders_beside_the_splits_are_counted(tmp_path: Path, layout: str) -> None:
    for split, number in (("train", 4), ("test", 2), ("train2", 3)):
        for k in range(number):
            place = layout.format(split)
            save(tmp_path / place / f"{k}.png", np.full((2, 2, 3), 9 * k, np.uint8))
            save(tmp_path / place.replace("images", "masks") / f"{k}.png", np.array([[0, 1], [1, 0]], np.uint8))
    (fault,) = folder.read("d", tmp_path).faults
    assert (fault.kind, fault.severity) == ("left-out", "warning")
    assert "3 images of 'train2' are left out" in fault.message


@pytest.mark.parametrize(("side", "said"), [(2, True), (3, False)])
def test_a_class_of_specks_is_said(tmp_path: Path, side: int, said: bool) -> None:
    """Class 3 is a square of 4 or of 9 pixels in three of the masks."""
    for k in range(5):
        mask = np.zeros((40, 40), np.uint8)
        mask[2:12, 2:12], mask[14:18, 2:10] = 1, 2
        mask[15 : 15 + side, 14 : 14 + side] = 3 * (k < 3)
        save(tmp_path / "images" / f"{k}.png", np.full((40, 40, 3), 9 * k, np.uint8))
        save(tmp_path / "masks" / f"{k}.png", np.roll(mask, k, axis=1))
    dataset = folder.read("d", tmp_path, folder.Options(num_classes=4))
    looks = [inspect_sample(dataset, split, each) for split, part in dataset.splits.items() for each in part]
    found = [
        fault
        for fault in doubts_of_dataset(dataset, "", list(filter(None, map(Seen.of, looks))))
        if fault.kind == "specks"
    ]
    start = "class_3 occurs only in parts of 4 pixels or less, 12 pixels in 3 images"
    assert [fault.message.startswith(start) for fault in found] == [True] * said


def round_masks(inverted: Sequence[int], number: int = 12) -> list[np.ndarray]:
    """Discs in different places, of 0 and 255; those of ``inverted`` are black on white."""
    rows, columns = np.indices((24, 24))
    masks = [
        np.where((rows - 8 - k % 5) ** 2 + (columns - 9 - k % 4) ** 2 < 25, 255, 0).astype(np.uint8)
        for k in range(number)
    ]
    return [255 - mask if k in inverted else mask for k, mask in enumerate(masks)]


@pytest.mark.parametrize(
    ("inverted", "says"),
    [
        ((), ""),
        ((5,), "1 of 12 masks are foreground all round and background within, the others the reverse: 05.png;"),
        (
            (2, 5, 9),
            "3 of 12 masks are foreground all round and background within, the others the reverse: 02.png, 05.png, 09.png;",
        ),
        (
            range(0, 12, 2),
            "6 of 12 masks are foreground all round and background within, the others the reverse: 00.png, 02.png, 04.png, ",
        ),
        (
            range(12),
            "12 of 12 masks are foreground all round and background within; if white is the ground, write `values: {255: back",
        ),
        (
            (*range(1, 12),),
            "11 of 12 masks are foreground all round and background within, and these the reverse: 00.png;",
        ),
    ],
)
def test_masks_of_opposite_polarity_are_named(tmp_path: Path, inverted: Sequence[int], says: str) -> None:
    """By check and by init, which looks at some of the masks only."""
    for k, mask in enumerate(round_masks(inverted)):
        save(tmp_path / "set" / "images" / f"{k:02}.png", np.full((24, 24, 3), 9 * k, np.uint8))
        save(tmp_path / "set" / "masks" / f"{k:02}.png", mask)
    dataset = folder.read("d", tmp_path / "set")
    looks = [inspect_sample(dataset, split, each) for split, part in dataset.splits.items() for each in part]
    found = opposite_polarity(dataset, sorted(filter(None, map(Seen.of, looks)), key=lambda each: each.sample.id))
    assert [fault.severity for fault in found] == (["warning"] if says else [])
    assert all(fault.message.startswith(says) for fault in found)
    obstacles = "\n".join(write_study_file(tmp_path / "set", tmp_path / "study.yaml").obstacles)
    assert ("polarity (1)" in obstacles) == bool(says)


def test_masks_at_the_rim_are_not_inverted(tmp_path: Path) -> None:
    """A large object may cover most of one side, and a mask of one class says nothing."""
    masks = round_masks((), 8)
    masks[0][:16] = 255
    masks[1][:] = 255
    for k, mask in enumerate(masks):
        save(tmp_path / "images" / f"{k}.png", np.full((24, 24, 3), 9 * k, np.uint8))
        save(tmp_path / "masks" / f"{k}.png", mask)
    dataset = folder.read("d", tmp_path)
    looks = [inspect_sample(dataset, split, each) for split, part in dataset.splits.items() for each in part]
    assert opposite_polarity(dataset, list(filter(None, map(Seen.of, looks)))) == []
