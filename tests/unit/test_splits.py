"""Groups, stratification, folds and split files: the laws of dividing, scikit-learn's parts, and what is refused."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import KFold, StratifiedGroupKFold, train_test_split

import fakes
from segstudy.arrays import Labels
from segstudy.data.core import Dataset, Sample
from segstudy.data.load import load_dataset
from segstudy.data.splitting.groups import group_by_pattern, group_by_table
from segstudy.data.splitting.splits import (
    class_traits,
    deal,
    groups_across_splits,
    hold_out,
    label_counts,
    read_split,
    split_hash,
    take_fold,
    write_split,
)
from segstudy.errors import DataError, StoreError
from segstudy.schema import Data, data_entry
from segstudy.store import Store


def samples_of(groups: Sequence[object]) -> tuple[Sample, ...]:
    """One sample for each entry, of that group."""
    return tuple(Sample(f"s{k:04}", Path(f"{k}.png"), Path(f"m{k}.png"), str(group)) for k, group in enumerate(groups))


def ungrouped(count: int) -> tuple[Sample, ...]:
    return samples_of([""] * count)


def dataset_of(splits: dict[str, tuple[Sample, ...]], num_classes: int = 2) -> Dataset:
    def labels_of(sample: Sample) -> Labels:
        raise AssertionError("not to be read")

    names = tuple(f"c{k}" for k in range(num_classes))
    return Dataset("d", names, ((0, 0, 0),) * num_classes, splits, labels_of)


def parity(samples: Sequence[Sample]) -> np.ndarray:
    """Two traits that exclude each other: odd and even number."""
    odd = np.array([int(sample.id[1:]) % 2 == 1 for sample in samples])
    return np.stack([odd, ~odd], axis=1)


groups_strategy = st.lists(st.integers(0, 30), min_size=2, max_size=120).filter(lambda groups: len(set(groups)) > 1)


# Laws


@settings(max_examples=30, deadline=None)
@given(groups_strategy, st.integers(1, 6), st.integers(0, 2**32 - 1), st.booleans())
def test_deal_divides_no_group_and_comes_near_the_sizes(
    groups: list[int], num_parts: int, seed: int, stratified: bool
) -> None:
    samples, num_parts = samples_of(groups), min(num_parts, len(groups))
    sizes = [len(part) for part in np.array_split(np.arange(len(groups)), num_parts)]
    place = deal(samples, sizes, seed, parity if stratified else None)
    assert len(place) == len(samples)
    for group in set(groups):
        assert len({int(at) for at, own in zip(place, groups, strict=True) if own == group}) == 1
    largest = max(Counter(groups).values())
    got = np.bincount(place, minlength=num_parts)
    # A group that fits nowhere goes where most room is: at least its share of what is left to be dealt.
    assert all(have - want <= largest * (1 - 1 / num_parts) for have, want in zip(got, sizes, strict=True))
    np.testing.assert_array_equal(place, deal(samples, sizes, seed, parity if stratified else None))


@settings(max_examples=60, deadline=None)
@given(st.integers(4, 150), st.floats(0.05, 0.6), st.integers(0, 2**32 - 1))
def test_stratified_without_groups_has_the_exact_size_and_close_shares(count: int, fraction: float, seed: int) -> None:
    samples = ungrouped(count)
    kept, held_out = hold_out(samples, fraction, seed, parity, "key")
    assert sorted(kept + held_out) == sorted(samples)
    assert len(held_out) == len(train_test_split(samples, test_size=fraction, random_state=0)[1])
    for share in parity(held_out).sum(axis=0) - parity(samples).sum(axis=0) * len(held_out) / count:
        assert abs(share) <= 1


@settings(max_examples=40, deadline=None)
@given(groups_strategy, st.integers(2, 6), st.integers(0, 2**32 - 1), st.booleans())
def test_folds_partition_the_samples(groups: list[int], folds: int, seed: int, grouped: bool) -> None:
    samples = samples_of(groups) if grouped else ungrouped(len(groups))
    try:
        parts = [take_fold(samples, folds, fold, seed, None, "key") for fold in range(folds)]
    except DataError:
        units = Counter(groups) if grouped else Counter(range(len(groups)))
        assert len(units) < folds or max(units.values()) > -(-len(samples) // folds)
        return
    assert sorted(sample for _, test in parts for sample in test) == sorted(samples)
    for train, test in parts:
        assert sorted(train + test) == sorted(samples)
        assert not grouped or not {s.group for s in train} & {s.group for s in test}


def test_another_seed_is_another_split() -> None:
    for samples, traits in ((samples_of([k % 12 for k in range(60)]), None), (ungrouped(60), parity)):
        first, second = (hold_out(samples, 0.25, seed, traits, "key")[1] for seed in (1, 2))
        assert first != second


def test_division_does_not_depend_on_the_order_it_is_given() -> None:
    samples = samples_of([k % 12 for k in range(60)])
    assert hold_out(samples, 0.25, 3, parity, "key") == hold_out(samples[::-1], 0.25, 3, parity, "key")
    assert take_fold(samples, 4, 1, 3, None, "key") == take_fold(samples[::-1], 4, 1, 3, None, "key")


def test_rare_traits_are_shared_out_too() -> None:
    """Of 500 images, 10 hold a class and 20 another: 2 and 4 of them belong in a fifth, and in each of five folds."""

    def traits(samples: Sequence[Sample]) -> np.ndarray:
        number = np.array([int(sample.id[1:]) for sample in samples])
        return np.stack([number % 50 == 7, number % 25 == 3, number >= 0], axis=1)

    samples = ungrouped(500)
    for seed in range(3):
        _, held_out = hold_out(samples, 0.2, seed, traits, "key")
        assert np.abs(traits(held_out).sum(axis=0) - [2, 4, 100]).max() <= 1
        for fold in range(5):
            _, test = take_fold(samples, 5, fold, seed, traits, "key")
            assert np.abs(traits(test).sum(axis=0) - [2, 4, 100]).max() <= 1


def test_large_groups_are_tested_too() -> None:
    """A group of 10 among fifteen of 6 fits in a fifth of 100: it must not always be trained on."""
    samples = samples_of([0] * 10 + [1 + k // 6 for k in range(90)])
    tested = [any(s.group == "0" for s in hold_out(samples, 0.2, seed, None, "key")[1]) for seed in range(60)]
    assert 0.05 < np.mean(tested) < 0.4


def test_groups_and_shares_together_are_as_close_as_scikit_learns() -> None:
    """Mean largest error of a class's share, and of a fold's size, over random sets of unequal groups."""
    ours, theirs = [], []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        groups = rng.choice(30, 300, p=rng.dirichlet(np.full(30, 3.0)))
        classes = (rng.normal(size=30)[groups] + rng.normal(size=300) > 0).astype(int)
        samples = samples_of(groups)
        sizes = [60] * 5
        place = deal(samples, sizes, seed, lambda _, c=classes: np.stack([c == 0, c == 1], axis=1))
        folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed).split(classes, classes, groups)
        ours.append(_errors([np.flatnonzero(place == fold) for fold in range(5)], classes))
        theirs.append(_errors([test for _, test in folds], classes))
    assert (np.mean(ours, axis=0) <= 1.5 * np.mean(theirs, axis=0)).all()


def _errors(parts: list[np.ndarray], classes: np.ndarray) -> tuple[float, float]:
    share = np.mean([abs(classes[part].mean() - classes.mean()) for part in parts])
    return float(share), max(abs(len(part) - len(classes) / len(parts)) for part in parts)


@pytest.mark.parametrize(("count", "folds", "seed"), [(10, 5, 42), (11, 3, 0), (101, 7, 1)])
def test_plain_folds_are_scikit_learns(count: int, folds: int, seed: int) -> None:
    samples = ungrouped(count)
    expected = KFold(folds, shuffle=True, random_state=seed).split(np.arange(count))
    for fold, (train, test) in enumerate(expected):
        assert take_fold(samples, folds, fold, seed, None, "key") == (
            tuple(samples[k] for k in train),
            tuple(samples[k] for k in test),
        )


# What is refused


def test_a_group_larger_than_the_part_is_named() -> None:
    samples = samples_of(["a"] * 60 + ["b"] * 40)
    with pytest.raises(
        DataError,
        match=r"key: 0\.2 of 100 images is 20, but the closest that whole groups come is .* \(2 groups of 40 to 60",
    ):
        hold_out(samples, 0.2, 42, None, "key")
    with pytest.raises(
        DataError, match=r"key\.groups: the group 'a' has 60 images, more than one of 2 folds holds \(50\)"
    ):
        take_fold(samples, 2, 0, 42, None, "key")


def test_fewer_groups_than_parts() -> None:
    with pytest.raises(DataError, match=r"key\.folds: 2 groups cannot fill 3 folds"):
        take_fold(samples_of("aabb"), 3, 0, 42, None, "key")
    with pytest.raises(DataError, match=r"key\.folds: 4 images cannot fill 5 folds"):
        take_fold(ungrouped(4), 5, 0, 42, None, "key")
    with pytest.raises(DataError, match=r"key: 0\.2 of 4 images is 1, but the closest that whole groups come is"):
        hold_out(samples_of("aaaa"), 0.2, 42, None, "key")


# Groups


def cityscapes_like() -> Dataset:
    ids = [f"train/{city}/{city}_{seq:06}_000019" for city in ("aachen", "bremen") for seq in (0, 1)]
    part = tuple(Sample(each, Path(f"{each}.png"), Path(f"{each}_m.png")) for each in ids)
    return dataset_of({"train": part[:3], "val": part[3:]})


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        (r"^\w+/(\w+?)/", ["aachen", "aachen", "bremen", "bremen"]),
        (r"/(\w+_\d+)_", ["aachen_000000", "aachen_000001", "bremen_000000", "bremen_000001"]),
    ],
)
def test_pattern_names_city_or_sequence(pattern: str, expected: list[str]) -> None:
    grouped = group_by_pattern(cityscapes_like(), pattern)
    assert [sample.group for sample in grouped.samples("all")] == expected


@pytest.mark.parametrize(
    ("pattern", "match"),
    [
        ("(unclosed", r"data\.d\.groups: '\(unclosed' is not a regular expression"),
        ("aachen", r"data\.d\.groups: 'aachen' has no bracket"),
        ("^(patient)", r"finds no group in 4 of 4 image ids: train/aachen/aachen_000000_000019"),
        ("(bremen)", r"finds no group in 2 of 4 image ids: train/aachen"),
        ("^(x?)", r"finds no group in 4 of 4"),
    ],
)
def test_pattern_that_finds_nothing(pattern: str, match: str) -> None:
    with pytest.raises(DataError, match=match):
        group_by_pattern(cityscapes_like(), pattern)


def write_table(path: Path, *rows: str, columns: str = "image,group") -> Path:
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def test_table_names_images_by_id_file_or_stem(tmp_path: Path) -> None:
    parts = {"train": samples_of(["", "", ""])}
    table = write_table(tmp_path / "g.csv", "s0000,anna", "1.png, bert", "2,anna", "17,carl")
    grouped = group_by_table(dataset_of(parts), table, "image", "group")
    assert [sample.group for sample in grouped.samples("train")] == ["anna", "bert", "anna"]
    assert grouped.notes == ("1 rows of g.csv name no image",)


@pytest.mark.parametrize(
    ("rows", "columns", "match"),
    [
        (["0,a", "1,a"], "image,group", r"data\.d\.groups: .*g\.csv has no row for 1 images: s0002; add them"),
        (["0,a", "1,a", r"images\2.png,a"], "image,group", r"add them, or correct the 1 rows that .*: images\\2\.png$"),
        (["0,a", "1,a", "2,a", "1.png,b"], "image,group", r"line 5: the image '1\.png' is named twice"),
        (["0,a"], "image,patient", r"lacks the column group; it has image, patient"),
        (["0,a", "1,"], "image,group", "line 3: names no image or no group"),
        (["0"], "image,group", "line 2: names no image or no group"),
    ],
)
def test_table_that_cannot_be_used(tmp_path: Path, rows: list[str], columns: str, match: str) -> None:
    table = write_table(tmp_path / "g.csv", *rows, columns=columns)
    with pytest.raises(DataError, match=match):
        group_by_table(dataset_of({"train": ungrouped(3)}), table, "image", "group")


@pytest.mark.parametrize("groups", [("p0", "P0"), ("0", "0.0"), ("7", "007"), ("a b", "ab")])
def test_groups_spelled_in_two_ways_are_refused(tmp_path: Path, groups: tuple[str, str]) -> None:
    table = write_table(tmp_path / "g.csv", f"0,{groups[0]}", f"1,{groups[1]}", "2,other")
    with pytest.raises(DataError, match="1 groups are spelled in several ways"):
        group_by_table(dataset_of({"train": ungrouped(3)}), table, "image", "group")


def test_groups_of_other_numbers_are_other_groups(tmp_path: Path) -> None:
    table = write_table(tmp_path / "g.csv", "0,p1", "1,p10", "2,p100")
    grouped = group_by_table(dataset_of({"train": ungrouped(3)}), table, "image", "group")
    assert [sample.group for sample in grouped.samples("train")] == ["p1", "p10", "p100"]


def test_table_with_a_name_of_two_images(tmp_path: Path) -> None:
    parts = {split: (Sample(f"{split}/a", Path(split, "a.png"), Path("m.png")),) for split in ("train", "test")}
    table = write_table(tmp_path / "g.csv", "a.png,x")
    with pytest.raises(DataError, match=r"line 2: 'a\.png' may be train/a, test/a; write the id instead"):
        group_by_table(dataset_of(parts), table, "image", "group")


def test_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read as CSV"):
        group_by_table(dataset_of({"train": ungrouped(3)}), tmp_path / "gone.csv", "image", "group")


def test_planted_patient_in_two_splits_is_found() -> None:
    a, b, c, d, e = samples_of(["p1", "p2", "p2", "p3", "p2"])
    assert groups_across_splits(dataset_of({"train": (a, b, c), "test": (d, e)})) == {"p2": {"train": 2, "test": 1}}
    assert groups_across_splits(dataset_of({"train": (a, b, c, e), "test": (d,)})) == {}
    assert groups_across_splits(dataset_of({"train": ungrouped(2), "test": ungrouped(3)})) == {}


# Stratification


def masked(folder: Path, masks: Sequence[np.ndarray], num_classes: int) -> Dataset:
    part = []
    for k, mask in enumerate(masks):
        path = fakes.save(folder / f"{k:02}.png", mask)
        part.append(Sample(f"{k:02}", path, path))

    def labels_of(sample: Sample) -> Labels:
        return np.asarray(fakes.Image.open(sample.mask), np.uint8)

    names = tuple(f"c{k}" for k in range(num_classes))
    return Dataset("d", names, ((0, 0, 0),) * num_classes, {"train": tuple(part)}, labels_of)


def test_classes_that_are_present_are_the_traits(tmp_path: Path) -> None:
    masks = [np.array([[0, 0, 2]], np.uint8), np.array([[1, 255, 255]], np.uint8), np.full((1, 3), 255, np.uint8)]
    dataset = masked(tmp_path, masks, 3)
    counts = label_counts(dataset, dataset.samples("train"), {})
    assert counts.tolist() == [[2, 0, 1], [0, 1, 0], [0, 0, 0]]
    traits = class_traits(dataset, {}, dataset.samples("train"))
    assert traits.tolist() == [[True, False, True], [False, True, False], [False, False, False]]


def test_two_classes_are_binned_by_the_share_of_the_second(tmp_path: Path) -> None:
    masks = [np.repeat(np.array([[0, 1]], np.uint8), [10 - k, k], axis=1) for k in range(10)]
    dataset = masked(tmp_path, masks[::-1], 2)
    traits = class_traits(dataset, {}, dataset.samples("train"))
    assert traits.argmax(axis=1).tolist() == [4, 4, 3, 3, 2, 2, 1, 1, 0, 0]
    assert traits.sum(axis=1).tolist() == [1] * 10


def test_counts_are_remembered_until_the_mask_changes(tmp_path: Path) -> None:
    dataset = masked(tmp_path, [np.array([[0, 1]], np.uint8)], 2)
    samples, memo = dataset.samples("train"), {}
    assert label_counts(dataset, samples, memo).tolist() == [[1, 1]]

    def unread(sample: Sample) -> Labels:
        raise AssertionError("read again")

    forgetful = Dataset("d", dataset.classes, dataset.palette, dataset.splits, unread)
    assert label_counts(forgetful, samples, memo).tolist() == [[1, 1]]
    fakes.save(samples[0].mask, np.array([[0, 1, 1, 1]], np.uint8))
    assert label_counts(dataset, samples, memo).tolist() == [[1, 3]]


def test_masks_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    fakes.fake_folder(tmp_path / "d", num_images=6)
    (tmp_path / "d" / "masks" / "scene03.png").write_bytes(b"no image")
    entry = data_entry({"reader": "folder", "root": str(tmp_path / "d"), "num_classes": 2, "stratify": True})
    with pytest.raises(DataError, match=r"(?s)data\.polyps\.stratify needs every mask:.*scene03\.png: not an image"):
        load(entry, tmp_path)


# Split files


def test_split_file_gives_back_the_split_and_its_order(tmp_path: Path) -> None:
    whole = ungrouped(10)
    dataset = dataset_of({"train": whole[5:2:-1], "holdout": whole[6:8], "test": (whole[9], *whole[:3], whole[8])})
    write_split(tmp_path / "split.json", dataset)
    content = json.loads((tmp_path / "split.json").read_text())
    assert content["name"] == "d"
    assert content["hash"] == split_hash(dataset)
    assert content["splits"]["test"] == ["s0009", "s0000", "s0001", "s0002", "s0008"]
    assert read_split(tmp_path / "split.json", dataset_of({"train": whole})).splits == dataset.splits


def test_hash_follows_who_stands_where_and_nothing_else() -> None:
    a, b, c, d = ungrouped(4)
    whole = dataset_of({"train": (a, b), "test": (c, d)})
    same = [dataset_of({"test": (d, c), "train": (b, a)})]
    same.append(Dataset("other", ("x", "y"), ((0, 0, 0),) * 2, whole.splits, whole.labels_of))
    other = [{"train": (a, c), "test": (b, d)}, {"train": (a, b), "val": (c, d)}, {"train": (a, b), "test": (c,)}]
    assert {split_hash(each) for each in same} == {split_hash(whole)}
    assert len({split_hash(dataset_of(splits)) for splits in other} | {split_hash(whole)}) == 4


def test_tampered_split_file_is_refused(tmp_path: Path) -> None:
    a, b, c, d = ungrouped(4)
    dataset = dataset_of({"train": (a, b), "test": (c, d)})
    write_split(tmp_path / "s.json", dataset)
    good = (tmp_path / "s.json").read_text()

    def refused(text: str, match: str) -> None:
        (tmp_path / "s.json").write_text(text)
        with pytest.raises(DataError, match=match):
            read_split(tmp_path / "s.json", dataset)

    swapped = good.replace("s0000", "x").replace("s0003", "s0000").replace("x", "s0003")
    refused(swapped, r"data\.d\.split_file: .*s\.json: its ids have the hash .* was changed since it was written")
    refused(good.replace("s0003", "s0000"), r"names 1 images twice: s0000")
    refused(good.replace('"hash"', '"mash"'), "but it says None")
    refused(good[:-20], "cannot be read as JSON")
    refused("[]", r"is not a split; segstudy check STUDY --write-split FILE writes one")
    refused('{"splits": {"train": []}}', "is not a split")
    refused('{"splits": {"train": [1]}}', "is not a split")


def test_split_file_of_other_images_names_them(tmp_path: Path) -> None:
    a, b, c, d = ungrouped(4)
    write_split(tmp_path / "s.json", dataset_of({"train": (a, b), "test": (c,)}))
    with pytest.raises(
        DataError, match=r"(?s)1 images that it names are not in the dataset: s0001\n1 images of the dataset .*: s0003"
    ):
        read_split(tmp_path / "s.json", dataset_of({"train": (a, c, d)}))
    with pytest.raises(StoreError, match="cannot be written"):
        write_split(tmp_path / "s.json" / "below.json", dataset_of({"train": (a,)}))


# The study's entry


def load(entry: Data, tmp_path: Path, protocol: str = "held-out") -> tuple[Dataset, object]:
    return load_dataset("polyps", entry, protocol, None, "", Store(tmp_path / "out"))  # type: ignore[arg-type]


def kvasir_of_patients(tmp_path: Path, num_images: int = 60) -> Data:
    """Patients of five images each, by a table."""
    root = fakes.fake_kvasir(tmp_path / "k", num_images=num_images, size=(24, 16))
    rows = [f"cju{k:03},p{k // 5}" for k in range(num_images)]
    write_table(tmp_path / "patients.csv", *rows, columns="image,patient")
    table = {"file": str(tmp_path / "patients.csv"), "group": "patient"}
    return data_entry({"reader": "kvasir", "root": str(root), "groups": table})


def changed(entry: Data, **keys: object) -> Data:
    return data_entry({**entry.model_dump(exclude_unset=True), **keys})


@pytest.mark.parametrize("stratify", [False, True])
def test_patients_stay_together_in_test_and_holdout(tmp_path: Path, stratify: bool) -> None:
    dataset, roles = load(changed(kvasir_of_patients(tmp_path), stratify=stratify), tmp_path)
    assert {split: len(part) for split, part in dataset.splits.items()} == {"train": 45, "test": 10, "holdout": 5}
    assert groups_across_splits(dataset) == {}
    assert len({sample.id for sample in dataset.samples("all")}) == 60
    assert roles.select == "holdout"  # type: ignore[attr-defined]


def test_stratified_split_remembers_the_masks(tmp_path: Path) -> None:
    root = fakes.fake_kvasir(tmp_path / "k", num_images=30, size=(24, 16))
    entry = data_entry({"reader": "kvasir", "root": str(root), "stratify": True})
    first, _ = load(entry, tmp_path, "paper")
    assert {split: len(part) for split, part in first.splits.items()} == {"train": 24, "test": 6}
    assert sum(key.startswith("labels|") for key in Store(tmp_path / "out").read_memo()) == 30
    assert load(entry, tmp_path, "paper")[0].splits == first.splits


def test_folds_are_the_test_splits_of_one_pool(tmp_path: Path) -> None:
    root = fakes.fake_camvid(tmp_path / "c", num_images=4, size=(16, 16))
    entry = data_entry({"reader": "folder", "root": str(root), "num_classes": 12, "folds": 3})
    tests = [load(changed(entry, fold=fold), tmp_path, "paper")[0].splits["test"] for fold in range(3)]
    ids = [sample.id for test in tests for sample in test]
    assert len(ids) == len(set(ids)) == 12
    assert {each.split("/")[0] for each in ids} == {"train", "val", "test"}


def test_split_file_is_read_instead_of_drawing(tmp_path: Path) -> None:
    entry = kvasir_of_patients(tmp_path)
    drawn, _ = load(entry, tmp_path)
    write_split(tmp_path / "s.json", drawn)
    read, roles = load(
        data_entry({"reader": "kvasir", "root": entry.root, "split_file": str(tmp_path / "s.json")}), tmp_path
    )
    assert split_hash(read) == split_hash(drawn)
    assert [s.id for s in read.samples("train")] == [s.id for s in drawn.samples("train")]
    assert roles.select == "holdout"  # type: ignore[attr-defined]
    again, _ = load(changed(entry, split_file=str(tmp_path / "s.json")), tmp_path)
    assert again.splits == drawn.splits  # with their groups
    paper, _ = load(changed(entry, split_file=str(tmp_path / "s.json")), tmp_path, "paper")
    assert paper.notes == ("protocol 'paper' makes no use of the split 'holdout'",)


def test_stratification_without_a_drawn_split_is_noted(tmp_path: Path) -> None:
    root = fakes.fake_camvid(tmp_path / "c", num_images=4, size=(16, 16))
    entry = data_entry({"reader": "folder", "root": str(root), "num_classes": 12, "stratify": True})
    assert "stratify has no effect, because no split is drawn" in load(entry, tmp_path, "paper")[0].notes


@pytest.mark.parametrize(
    ("keys", "match"),
    [
        ({"fold": 1}, r"data\.polyps\.fold: has no effect without folds"),
        ({"folds": 3, "fold": 3}, r"data\.polyps\.fold: 3 is not one of 3 folds, which are 0 to 2"),
        ({"folds": 3, "test_fraction": 0.3}, r"data\.polyps\.test_fraction: has no effect with folds"),
        ({"split_file": "s.json", "folds": 3}, r"data\.polyps\.folds: has no effect with split_file"),
        ({"split_file": "gone.json"}, r"data\.polyps\.split_file: 'gone\.json' was not found"),
        ({"groups": "^(x)"}, r"data\.polyps\.groups: '\^\(x\)' finds no group in 60 of 60"),
        ({"groups": {"file": "gone.csv"}}, r"data\.polyps\.groups\.file: 'gone\.csv' was not found"),
        (
            {"groups": "^(cju)"},
            r"data\.polyps\.test_fraction: 0\.2 of 60 images is 12, but the closest that whole groups",
        ),
        (
            {"test_fraction": 0.9},
            r"data\.polyps\.holdout_fraction: 0\.1 of 5 images is 1, but the closest that whole groups",
        ),
    ],
)
def test_keys_that_cannot_be_carried_out(tmp_path: Path, keys: dict[str, object], match: str) -> None:
    with pytest.raises(DataError, match=match):
        load(changed(kvasir_of_patients(tmp_path), **keys), tmp_path)


def test_fraction_of_named_splits_is_refused(tmp_path: Path) -> None:
    root = fakes.fake_camvid(tmp_path / "c", num_images=4, size=(16, 16))
    entry = data_entry({"reader": "folder", "root": str(root), "num_classes": 12, "test_fraction": 0.3})
    with pytest.raises(
        DataError, match=r"data\.polyps\.test_fraction: the layout names the splits \(train, val, test\)"
    ):
        load(entry, tmp_path)
