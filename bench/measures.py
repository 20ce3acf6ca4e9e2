"""Time to count pixels by true and predicted class, compared in one call, and to count everything in an image.

    python bench/measures.py [--rounds 5]

Masks are synthetic street scenes (20 classes) and endoscopies (2 classes). Predictions resemble those of a network, with
smooth outlines and wrong regions. Noise, with a random class for every pixel, is the worst case. All ways start from the
same ``uint8`` masks. The table gives the median processor time of one image in milliseconds on one thread, and its ratio
to segstudy's time, first with the conversion of the masks to the input of each way, then without. Each round times every
way in turn. The bench stops if the counts differ.

One call of segstudy, of scikit-learn or of the notebook's code (``np.bincount`` on ``int64``) returns the matrix of one
image. segmentation-models-pytorch returns hits and errors by class, but not which class was confused with which. The
classes of torchmetrics add up images.
"""

from __future__ import annotations

import argparse
import statistics
import time
import timeit
from collections.abc import Callable
from typing import Any, NamedTuple

import cv2
import numpy as np
import sklearn.metrics
import torch
from numpy.typing import NDArray

from segstudy.counts.counting import confusion_matrix, count_pair
from segstudy.data.core import IGNORE
from segstudy.data.readers.cityscapes import TABLE
from segstudy.data.scenes.endoscopy import polyp_scene
from segstudy.data.scenes.street import street_scene
from segstudy.networks.build import import_smp
from segstudy.schema import ScoringRules

smp: Any = import_smp()  # before torchmetrics, which imports torchvision

from torchmetrics.functional.classification import multiclass_confusion_matrix  # noqa: E402

Mask = NDArray[np.uint8]
SMALLEST_S = 0.01  # a shorter call is repeated, so that the clock's step does not matter


class Way(NamedTuple):
    """How masks are converted to the input of a way, and how they are counted."""

    prepare: Callable[[Mask, Mask], Any]
    count: Callable[[Any, int], Any]


def tensors(truth: Mask, prediction: Mask) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(truth).long()[None], torch.from_numpy(prediction).long()[None]


def integers(truth: Mask, prediction: Mask) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return truth.astype(np.int64), prediction.astype(np.int64)


def by_bincount(masks: tuple[NDArray[np.int64], NDArray[np.int64]], num_classes: int) -> NDArray[np.int64]:
    truth, prediction = masks
    counted = truth != IGNORE
    codes = truth[counted] * num_classes + prediction[counted]
    return np.bincount(codes, minlength=num_classes**2).reshape(num_classes, num_classes)


def by_scikit_learn(masks: tuple[NDArray[np.int64], NDArray[np.int64]], num_classes: int) -> NDArray[np.int64]:
    truth, prediction = masks
    counted = truth != IGNORE
    return sklearn.metrics.confusion_matrix(truth[counted], prediction[counted], labels=range(num_classes))


def by_torchmetrics(masks: tuple[torch.Tensor, torch.Tensor], num_classes: int) -> torch.Tensor:
    truth, prediction = masks
    return multiclass_confusion_matrix(prediction, truth, num_classes, ignore_index=IGNORE, validate_args=False)


def by_smp(masks: tuple[torch.Tensor, torch.Tensor], num_classes: int) -> torch.Tensor:
    """Hits, false positives and false negatives instead of a matrix."""
    truth, prediction = masks
    stats = smp.metrics.get_stats(prediction, truth, mode="multiclass", ignore_index=IGNORE, num_classes=num_classes)
    return torch.cat(stats)


WAYS = {
    "segstudy": Way(lambda truth, prediction: (truth, prediction), lambda masks, c: confusion_matrix(*masks, c)),
    "the notebook's way": Way(integers, by_bincount),
    "torchmetrics": Way(tensors, by_torchmetrics),
    "segmentation-models-pytorch": Way(tensors, by_smp),
    "scikit-learn": Way(integers, by_scikit_learn),
}


def street(size: tuple[int, int]) -> Mask:
    """Train ids of a scene of 2048 x 1024 pixels, resized to ``size`` (width, height) as the cache does."""
    table = np.full(256, IGNORE, np.uint8)
    table[[label_id for _, _, label_id in TABLE]] = np.arange(len(TABLE))
    _, label_ids = street_scene(np.random.default_rng(3), (2048, 1024))
    return cv2.resize(table[label_ids], size, interpolation=cv2.INTER_NEAREST)


def polyp(size: tuple[int, int]) -> Mask:
    _, mask = polyp_scene(np.random.default_rng(3), (600, 500))
    return cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST)


def predicted(truth: Mask, num_classes: int) -> Mask:
    """A prediction with rounded outlines and some wrong regions: the maximum of smoothed scores."""
    rng = np.random.default_rng(0)
    height, width = truth.shape
    scores = []
    for k in range(num_classes):
        sure = cv2.GaussianBlur((truth == k).astype(np.float32), (0, 0), width / 400)
        doubt = rng.random((height // 32 + 2, width // 32 + 2), dtype=np.float32)
        scores.append(sure + 0.3 * cv2.resize(doubt, (width, height), interpolation=cv2.INTER_CUBIC))
    return np.argmax(scores, axis=0).astype(np.uint8)


def noise(size: tuple[int, int], num_classes: int) -> tuple[Mask, Mask]:
    rng = np.random.default_rng(0)
    truth, prediction = rng.integers(0, num_classes, (2, size[1], size[0]), dtype=np.uint8)
    truth[: size[1] // 20] = IGNORE
    return truth, prediction


def seconds(call: Callable[[], Any]) -> float:
    """Processor time of one call: the mean over as many calls as take ``SMALLEST_S`` together."""
    timer, repeats = timeit.Timer(call, timer=time.process_time), 1
    while (passed := timer.timeit(repeats)) < SMALLEST_S:
        repeats *= 2
    return passed / repeats


def compare(name: str, truth: Mask, prediction: Mask, num_classes: int, rounds: int) -> None:
    """Time every way on one pair of masks and print a line for each."""
    check(truth, prediction, num_classes)
    preparing: dict[str, list[float]] = {title: [] for title in WAYS}
    counting: dict[str, list[float]] = {title: [] for title in WAYS}
    for _ in range(rounds):
        for title, way in WAYS.items():
            masks = way.prepare(truth, prediction)
            preparing[title].append(seconds(lambda w=way: w.prepare(truth, prediction)))
            counting[title].append(seconds(lambda w=way, m=masks: w.count(m, num_classes)))
    print(f"\n{name}, {truth.shape[1]}x{truth.shape[0]}, {num_classes} classes")
    alone = {title: statistics.median(times) for title, times in counting.items()}
    whole = {title: alone[title] + statistics.median(times) for title, times in preparing.items()}
    ours = alone["segstudy"]  # it takes masks as they are
    for title in WAYS:
        row = "".join(f"{1000 * times[title]:10.3f} {times[title] / ours:8.1f} x" for times in (whole, alone))
        print(f"  {title:28}{row}")
    fastest = [min(value for title, value in times.items() if title != "segstudy") for times in (whole, alone)]
    print(f"  {'fastest of the others':28}" + "".join(f"{1000 * s:10.3f} {s / ours:8.1f} x" for s in fastest))


def check(truth: Mask, prediction: Mask, num_classes: int) -> None:
    found = {title: np.asarray(way.count(way.prepare(truth, prediction), num_classes)) for title, way in WAYS.items()}
    matrix = found["segstudy"]
    hits = matrix.diagonal()
    stats = np.stack([hits, matrix.sum(axis=0) - hits, matrix.sum(axis=1) - hits])
    for title, counts in found.items():
        expected, got = (stats, counts[:3]) if title == "segmentation-models-pytorch" else (matrix, counts)
        if not np.array_equal(expected, got):
            raise SystemExit(f"{title} counts otherwise than segstudy")


def count_everything(name: str, truth: Mask, prediction: Mask, num_classes: int, rounds: int) -> None:
    rules = ScoringRules()
    confidence = np.random.default_rng(0).random(truth.shape, dtype=np.float32)
    times = [seconds(lambda: count_pair(truth, prediction, num_classes, rules)) for _ in range(rounds)]
    sure = [
        seconds(lambda: count_pair(truth, prediction, num_classes, rules, confidence=confidence)) for _ in range(rounds)
    ]
    present = len(np.unique(truth[truth != IGNORE]))
    print(
        f"  {name:10} {truth.shape[1]}x{truth.shape[0]}, {present} of {num_classes} classes present: "
        f"{1000 * statistics.median(times):7.1f} ms, with confidence {1000 * statistics.median(sure):7.1f} ms"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    print(f"Median of {rounds} rounds, ms of one thread; with conversion from uint8, and without")
    for size in ((256, 256), (2048, 1024)):
        for name, make, num_classes in (("endoscopy", polyp, 2), ("street", street, 20)):
            truth = make(size)
            compare(name, truth, predicted(truth, num_classes), num_classes, rounds)
            compare("noise", *noise(size, num_classes), num_classes, rounds)
    print("\nEverything that is counted of an image (boundaries, distances, objects, holes, kinds of error)")
    for name, truth, num_classes in (
        ("endoscopy", polyp((600, 500)), 2),
        ("street", street((512, 256)), 19),
        ("street", street((2048, 1024)), 19),
    ):
        count_everything(name, truth, predicted(truth, num_classes), num_classes, rounds)


if __name__ == "__main__":
    main()
