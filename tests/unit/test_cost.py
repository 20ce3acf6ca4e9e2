"""Costs against counts made by hand, and masks for new images against those that are scored."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from rich.console import Console
from test_cache import SIZES, dataset_at
from torch import nn

from segstudy import cost
from segstudy.data.cache.arrays import open_cache
from segstudy.data.core import read_rgb
from segstudy.evaluate import count_split
from segstudy.predict import predict_labels
from segstudy.progress import Progress
from segstudy.records import Cost
from segstudy.schema import Recipe, ScoringRules
from segstudy.store import Store
from segstudy.train.team import make_fabric

EPOCHS = [
    {"epoch": 1, "seconds": 4.0, "data_seconds": 1.0, "images_per_s": 25.0, "memory_mb": 300.0},
    {"epoch": 2, "seconds": 2.0, "data_seconds": 0.5, "images_per_s": 50.0, "memory_mb": 500.0},
    {"epoch": 3, "seconds": 3.0, "data_seconds": 0.0, "images_per_s": 40.0, "memory_mb": 400.0},
]


def small_network() -> nn.Module:
    """3 -> 4 channels by 3 x 3 (4*27 + 4 = 112 parameters), then 4 -> 2 by 1 x 1 (8 + 2 = 10)."""
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 2, 1))


def measured(monkeypatch: pytest.MonkeyPatch, epochs: list[dict[str, float]], input_px: int = 64) -> Cost:
    """Costs on a clock by which an image takes 7 ms, each one of the warm-up 90 ms, and the last of all 700 ms."""
    each = [0.09] * cost.WARM_UP + [0.007] * (cost.REPEATS - 1) + [0.7]
    ticks = itertools.accumulate(step for seconds in each for step in (seconds, 0.0))
    looks = itertools.chain([0.0], ticks)
    monkeypatch.setattr(cost.time, "perf_counter", lambda: next(looks))
    network, fabric = small_network(), make_fabric(Recipe(precision="float32"), accelerator="cpu")
    return cost.measure_cost(fabric.setup(network), network, input_px, epochs, fabric)


def test_parameters_operations_and_times_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, EPOCHS)
    assert found.parameters == 122e-6  # millions
    # a multiply-add is two: 2 * 64 * 64 pixels * (27 * 4 + 4 * 2) products; biases are added by the same instructions
    assert found.gflops == pytest.approx(2 * 64 * 64 * (27 * 4 + 4 * 2) / 1e9, rel=1e-12)
    assert found.latency_ms == pytest.approx(7.0)
    assert (found.seconds_per_epoch, found.images_per_s, found.peak_memory_mb) == (3.0, 40.0, 500.0)
    assert found.data_share == pytest.approx(1.5 / 9)
    assert (found.input_px, found.memory_of, found.precision) == (64, "process", "32-true")


def test_operations_grow_with_the_area(monkeypatch: pytest.MonkeyPatch) -> None:
    small, large = (measured(monkeypatch, EPOCHS, px).gflops for px in (32, 96))
    assert large == pytest.approx(9 * small)


def test_an_imported_training_was_not_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    found = measured(monkeypatch, [])
    assert found.seconds_per_epoch is found.images_per_s is found.peak_memory_mb is found.data_share is None


class Colours(nn.Module):
    """A network whose logits are the image's own three channels."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images


@pytest.mark.parametrize("size", [16, None])
def test_masks_for_new_images_are_those_that_are_scored(tmp_path: Path, size: int | None) -> None:
    """Pixel by pixel, at every image's own size; whichever way logits are resized, it is one way."""
    dataset = dataset_at(tmp_path / "data")
    data = open_cache(
        dataset, "train", size, Store(tmp_path / "out"), Progress(Console(quiet=True)), native_labels=True
    )
    cpu = torch.device("cpu")
    count_split(Colours(), data, cpu, "native", ScoringRules(), predictions=tmp_path / "scored")
    for sample, (width, height) in zip(data.samples, SIZES, strict=True):
        predicted = predict_labels(Colours(), read_rgb(sample.image), size, cpu)
        assert predicted.shape == (height, width)
        assert np.array_equal(predicted, np.asarray(Image.open(tmp_path / "scored" / f"{sample.id}.png")))
