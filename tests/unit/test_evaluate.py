"""From a network and a split to counts: at both resolutions, mapped, in parallel, by one process or several."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from rich.console import Console
from scipy.special import softmax
from test_cache import SIZES, dataset_at

from segstudy.counts.countset import hash_labels
from segstudy.data.cache.arrays import CachedSplit, open_cache
from segstudy.data.cache.batches import Shard, normalise
from segstudy.errors import SegstudyError
from segstudy.evaluate import count_confusion, count_split, in_order
from segstudy.progress import Progress
from segstudy.schema import ScoringRules
from segstudy.store import Store

CPU = torch.device("cpu")
RULES = ScoringRules(calibration_bins=5)
NAMES = {
    "confusion",
    "boundary_iou",
    "boundary_matches",
    "surface",
    "objects",
    "object_sizes",
    "lost",
    "calibration",
    "truth_hash",
}


class Colours(torch.nn.Module):
    """A network whose logits are the image's own three channels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        return images


def split_at(folder: Path, size: int | None, native_labels: bool = True) -> CachedSplit:
    quiet = Progress(Console(quiet=True))
    return open_cache(dataset_at(folder / "data"), "train", size, Store(folder / "out"), quiet, native_labels)


def colours_of(data: CachedSplit, index: int, native: bool) -> np.ndarray:
    """Logits (h, w, c) of ``Colours``; brought to the image's size by OpenCV, whose pixels have their centres where torch's do."""
    small = normalise(torch.from_numpy(data.images_nhwc[np.array([index])]))[0].permute(1, 2, 0).numpy()
    return cv2.resize(small, SIZES[index], interpolation=cv2.INTER_LINEAR) if native else small


def slow_confusion(truth: np.ndarray, predicted: np.ndarray, num_classes: int = 3) -> list[list[int]]:
    return [[int(np.sum((truth == t) & (predicted == p))) for p in range(num_classes)] for t in range(num_classes)]


@pytest.mark.parametrize(("reported", "other"), [("native", "input"), ("input", "native")])
def test_confusion_matrices_at_both_resolutions(tmp_path: Path, reported: str, other: str) -> None:
    data = split_at(tmp_path, 16)
    counts = count_split(Colours(), data, CPU, reported, RULES)
    assert set(counts) == NAMES | {f"confusion_{other}"}
    for index in range(len(data)):
        one = np.array([index])
        at = {
            "input": slow_confusion(data.labels_nhw[one][0], colours_of(data, index, False).argmax(axis=-1)),
            "native": slow_confusion(data.native_labels[one][0], colours_of(data, index, True).argmax(axis=-1)),
        }
        assert counts["confusion"][index].tolist() == at[reported]
        assert counts[f"confusion_{other}"][index].tolist() == at[other]
        assert counts["truth_hash"][index].tolist() == hash_labels(data.native_labels[one][0]).tolist()


def test_the_epoch_is_chosen_on_the_confusion_at_input_size(tmp_path: Path) -> None:
    data = split_at(tmp_path, 16)
    both = count_split(Colours(), data, CPU, "native", RULES)["confusion_input"]
    assert np.array_equal(count_confusion(Colours(), split_at(tmp_path, 16, native_labels=False), CPU), both)


def slow_bins(truth: np.ndarray, right: np.ndarray, confidence: np.ndarray) -> list[list[int]]:
    """Pixels and right pixels in five bins of confidence, each closed above; the lowest holds 0 too."""
    rows = []
    for low, high in ((-1, 0.2), (0.2, 0.4), (0.4, 0.6), (0.6, 0.8), (0.8, 1)):
        inside = (confidence > low) & (confidence <= high) & (truth != 255)
        rows.append([int(inside.sum()), int((inside & right).sum())])
    return rows


def test_confidence_is_the_softmax_at_the_resolution_that_is_scored(tmp_path: Path) -> None:
    data = split_at(tmp_path, 16)
    calibration = count_split(Colours(), data, CPU, "native", RULES)["calibration"]
    for index in range(len(data)):
        logits, truth = colours_of(data, index, True), data.native_labels[np.array([index])][0]
        probability = softmax(logits.astype(np.float64), axis=-1).max(axis=-1)
        assert calibration[index, :, :2].tolist() == slow_bins(truth, logits.argmax(axis=-1) == truth, probability)
        assert calibration[index, :, 2].sum() / 1e6 == pytest.approx(probability[truth != 255].sum(), rel=1e-4)


def test_classes_that_mean_one_are_sure_together(tmp_path: Path) -> None:
    """Red and blue both mean class 1 here: predicted is the likeliest of three, sure is the sum of those that mean it."""
    data, table = split_at(tmp_path, 16), np.array([1, 0, 1])
    counts = count_split(Colours(), data, CPU, "native", RULES, table)
    for index in range(len(data)):
        logits, truth = colours_of(data, index, True), data.native_labels[np.array([index])][0]
        shares, predicted = softmax(logits.astype(np.float64), axis=-1), table[logits.argmax(axis=-1)]
        sure = np.where(predicted == 1, shares[..., 0] + shares[..., 2], shares[..., 1])
        assert counts["confusion"][index].tolist() == slow_confusion(truth, predicted)
        assert counts["calibration"][index, :, :2].tolist() == slow_bins(truth, predicted == truth, sure)


def test_images_of_their_own_size_are_given_whole_and_scored_once(tmp_path: Path) -> None:
    """Odd sizes are padded for the network; counts are of the image alone."""
    data = split_at(tmp_path, None)
    seen = []

    class Looking(Colours):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            seen.append(tuple(images.shape))
            return images

    counts = count_split(Looking(), data, CPU, "native", RULES)
    assert set(counts) == NAMES
    assert seen == [(1, 3, -(-height // 32) * 32, -(-width // 32) * 32) for width, height in SIZES]
    for index in range(len(data)):
        image, truth = data.images_nhwc[np.array([index])], data.labels_nhw[np.array([index])][0]
        expected = slow_confusion(truth, normalise(torch.from_numpy(image))[0].argmax(dim=0).numpy())
        assert counts["confusion"][index].tolist() == expected
    assert np.array_equal(count_confusion(Colours(), data, CPU), counts["confusion"])


def test_an_output_that_is_no_number_is_an_error(tmp_path: Path) -> None:
    class Diverged(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return images * float("nan")

    with pytest.raises(SegstudyError, match="image0: the network's output is not a number"):
        count_split(Diverged(), split_at(tmp_path, 16), CPU, "native", RULES)


@pytest.mark.parametrize("processes", [2, 3, 7])
def test_shares_of_any_number_of_processes_make_up_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, processes: int
) -> None:
    """Seven processes leave two without an image of the five."""
    data = split_at(tmp_path, 16)
    given: list[dict[str, np.ndarray]] = []
    monkeypatch.setattr(torch.distributed, "all_gather_object", lambda _, own: given.append(own))
    for rank in range(processes):
        count_split(Colours(), data, CPU, "native", RULES, shard=Shard(rank, processes))
    assert sum(len(own["confusion"]) for own in given if own) == 5
    monkeypatch.setattr(
        torch.distributed, "all_gather_object", lambda everybody, _: everybody.__setitem__(slice(None), given)
    )
    together = count_split(Colours(), data, CPU, "native", RULES, shard=Shard(1, processes))
    alone = count_split(Colours(), data, CPU, "native", RULES)
    assert set(together) == set(alone)
    assert all(np.array_equal(together[name], alone[name]) for name in alone)


IN_A_GROUP = """
import sys
sys.path[:0] = {path!r}
from pathlib import Path
import numpy as np, torch
from test_evaluate import CPU, RULES, Colours, split_at
from segstudy.data.cache.batches import Shard
from segstudy.evaluate import count_split
rank = int(sys.argv[1])
torch.distributed.init_process_group("gloo", init_method="file://{folder}/meet", rank=rank, world_size=2)
own = Path({folder!r}) / f"data{{rank}}"  # each writes its images itself
own.mkdir()
counts = count_split(Colours(), split_at(own, 16), CPU, "native", RULES, shard=Shard(rank, 2))
np.savez("{folder}/rank" + str(rank), **counts)
torch.distributed.destroy_process_group()
"""


def test_two_real_processes_count_every_image_once(tmp_path: Path) -> None:
    alone = count_split(Colours(), split_at(tmp_path, 16), CPU, "native", RULES)
    script = IN_A_GROUP.format(path=sys.path[:], folder=str(tmp_path))
    processes = [subprocess.Popen([sys.executable, "-W", "ignore", "-c", script, str(rank)]) for rank in range(2)]
    assert [process.wait(timeout=600) for process in processes] == [0, 0]
    for rank in range(2):
        with np.load(tmp_path / f"rank{rank}.npz") as theirs:
            assert set(theirs) == set(alone)
            assert all(np.array_equal(theirs[name], alone[name]) for name in alone)


def test_jobs_are_made_no_faster_than_they_are_done() -> None:
    """Of a hundred jobs, no more than twice the processors are waiting; results come in order, those of quick ones too."""
    made, done, ahead = [], [], []

    def job(k: int) -> int:
        time.sleep(0.002 * (k % 3))
        done.append(k)
        return k

    def jobs() -> Iterator[object]:
        for k in range(100):
            made.append(k)
            ahead.append(len(made) - len(done))
            yield lambda k=k: job(k)

    assert list(in_order(jobs())) == list(range(100))
    assert max(ahead) <= 2 * (os.cpu_count() or 1) + 2
    assert sorted(done) == made
