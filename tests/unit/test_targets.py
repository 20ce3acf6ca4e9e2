"""Training that sees images of a target: each method against slow or hand-made values, and its rules in a study."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fakes import fake_kvasir
from segstudy.errors import SpecError
from segstudy.launch.changes import data_changes
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.plan import make_plan
from segstudy.report.contract import contract
from segstudy.report.frames import ReportData
from segstudy.results import read_results
from segstudy.schema import Recipe
from segstudy.spec import parse_study
from segstudy.store import Store
from segstudy.train.methods import fourier, mean_teacher, self_training
from segstudy.train.state import TrainingState
from segstudy.train.targets import Target
from segstudy.train.team import make_fabric


def slow_exchange(image: np.ndarray, target: np.ndarray, beta: float) -> np.ndarray:
    """As in the paper's figure: shift the spectrum, cut a square of amplitudes out of its middle, shift back."""
    out = np.empty(image.shape)
    height, width = image.shape[:2]
    reach = int(np.floor(min(height, width) * beta))
    for channel in range(3):
        own = np.fft.fftshift(np.fft.fft2(image[..., channel]))
        other = np.fft.fftshift(np.fft.fft2(target[..., channel]))
        amplitude, phase = np.abs(own), np.angle(own)
        for row in range(height):
            for column in range(width):
                if abs(row - height // 2) <= reach and abs(column - width // 2) <= reach:
                    amplitude[row, column] = abs(other[row, column])
        out[..., channel] = np.fft.ifft2(np.fft.ifftshift(amplitude * np.exp(1j * phase))).real
    return np.clip(np.round(out), 0, 255)


@pytest.mark.parametrize(("size", "beta"), [((32, 32), 0.1), ((32, 48), 0.05), ((35, 41), 0.2), ((32, 32), 0.01)])
def test_fourier_exchanges_low_amplitudes(size: tuple[int, int], beta: float) -> None:
    rng = np.random.default_rng(0)
    images, targets = rng.integers(0, 256, (2, 2, *size, 3), dtype=np.uint8)
    found = fourier(torch.from_numpy(images), torch.from_numpy(targets), beta=beta).numpy()
    for ours, image, target in zip(found, images, targets, strict=True):
        assert np.abs(ours - slow_exchange(image, target, beta)).max() <= 1  # float32 may round the other way
    same = fourier(torch.from_numpy(images), torch.from_numpy(images), beta=beta).numpy()
    assert np.abs(same.astype(int) - images).max() <= 1


def test_the_mean_colour_becomes_the_targets() -> None:
    dark, bright = torch.full((1, 32, 32, 3), 60, dtype=torch.uint8), torch.full((1, 32, 32, 3), 180, dtype=torch.uint8)
    assert fourier(dark, bright, beta=0.01).unique().tolist() == [180]


def target_of(model: nn.Module, progress: float = 1.0) -> Target:
    fabric = make_fabric(Recipe(precision="float32"), "cpu")
    target = Target(Recipe(), None, 0, model, fabric, TrainingState(), 1)
    target._progress = progress
    return target


def test_only_confident_pixels_teach() -> None:
    """Two pixels: softmax of (2, 0) is 0.881, of (1, 0) 0.731."""
    logits = torch.zeros(1, 2, 32, 32)
    logits[0, 0, 0, 0], logits[0, 0, 0, 1] = 2.0, 1.0

    class Fixed(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return logits + 0 * images.sum()

    images = torch.zeros(1, 3, 32, 32)
    high, low = math.log1p(math.exp(-2)), math.log1p(math.exp(-1))
    assert float(self_training(target_of(Fixed()), images, confidence=0.8)) == pytest.approx(high)
    assert float(self_training(target_of(Fixed()), images, confidence=0.7)) == pytest.approx((high + low) / 2)
    assert float(self_training(target_of(Fixed()), images, confidence=0.9)) == 0
    half = self_training(target_of(Fixed(), progress=0.15), images, confidence=0.8, weight=2.0, ramp=0.3)
    assert float(half) == pytest.approx(2 * math.exp(-5 * 0.25) * high)


def test_the_teacher_is_the_moving_average_and_its_opinion_the_goal() -> None:
    torch.manual_seed(0)
    student, images = nn.Conv2d(3, 2, 1), torch.randn(2, 3, 32, 32)
    target = target_of(student)
    first = {key: value.clone() for key, value in student.state_dict().items()}
    assert mean_teacher(target, images, noise=0.0).item() == pytest.approx(0, abs=1e-12)
    with torch.no_grad():
        student.weight.add_(1.0)
    loss = mean_teacher(target, images, decay=0.75, noise=0.0, weight=3.0)
    weight = 0.75 * first["weight"] + 0.25 * student.weight.detach()
    torch.testing.assert_close(target._at.teacher["weight"], weight)
    goal = F.conv2d(images, weight, first["bias"]).softmax(1)
    expected = 3 * (student(images).softmax(1) - goal).square().mean()
    assert loss.item() == pytest.approx(expected.item())
    loss.backward()
    assert student.weight.grad is not None and student.weight.grad.abs().sum() > 0


def test_predicting_leaves_the_mode_and_the_statistics_of_the_network() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1)).train()
    network[0].eval()
    before = network[0].running_mean.clone()
    target_of(network).predict(torch.randn(2, 3, 32, 32) + 5)
    assert network.training and not network[0].training
    assert torch.equal(network[0].running_mean, before)


STUDY = """
name: adapting
data:
  kvasir: {reader: kvasir, root: Kvasir-SEG}
  other: {reader: kvasir, root: other}
recipe: {epochs: 1, batch_size: 4, input_size: 32, optimizer: {lr: 1.0e-3}, precision: float32}
experiments:
  unet: {data: kvasir, model: {arch: unet, encoder: tu-test_resnet, weights: none, options: {decoder_channels: [16, 8, 8, 4, 4]}}}
  fda: {base: unet, change: {recipe.adaptation: {name: fourier, data: other, beta: 0.1}}}
  teacher: {base: unet, change: {recipe.adaptation: {name: mean_teacher, data: other, split: test}}}
cross_evaluations:
  - {experiment: fda, on: other}
"""


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Any:
    root = tmp_path_factory.mktemp("adapting")
    fake_kvasir(root / "data" / "Kvasir-SEG", num_images=15, size=(40, 36))
    fake_kvasir(root / "data" / "other", num_images=7, size=(40, 36), seed=1)
    workshop = Workshop(parse_study(STUDY), Store(root / "out"), root / "data")
    assert execute(workshop, make_plan(workshop.study)).failures == []
    return workshop


def test_each_method_is_one_change_and_trains_another_network(done: Any) -> None:
    plan = make_plan(done.study)
    for name in ("fda", "teacher"):
        variation = plan.first(name).variation
        assert variation is not None and list(variation.changes) == ["recipe.adaptation"]
        assert done.store.run(name, 42).best.read_bytes() != done.store.run("unet", 42).best.read_bytes()
    assert plan.first("fda").datasets == ["kvasir", "other"] and plan.first("teacher").datasets == ["kvasir", "other"]


def test_the_contract_says_what_training_saw(done: Any) -> None:
    scores = ReportData(read_results(done.store, make_plan(done.study))).scores
    text = contract(scores[scores["experiment"] == "teacher"])
    assert "Training also saw images of other (split test), never their masks (mean_teacher)." in text
    both = contract(scores[scores["test_data"] == "kvasir"])
    assert "Training of fda also saw images of other (split train), never their masks (fourier)." in both


def test_other_images_of_the_target_are_another_run(done: Any, tmp_path: Any) -> None:
    plan = make_plan(done.study)
    other = parse_study(STUDY, settings=["data.other.test_fraction=0.4"])
    assert make_plan(other).first("fda").identity != plan.first("fda").identity
    assert make_plan(other).first("unet").identity == plan.first("unet").identity
    root = tmp_path / "data"
    fake_kvasir(root / "Kvasir-SEG", num_images=15, size=(40, 36))
    fake_kvasir(root / "other", num_images=7, size=(40, 36), seed=2)
    changed = data_changes(Workshop(done.study, done.store, root), plan)
    assert changed["teacher/seed42"] == ["images that training adapts to (split 'test' of 'other')"]


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("data: other, beta: 0.1", "data: othr"), "no dataset is named 'othr' (did you mean 'other'?)"),
        (("data: other, beta: 0.1", "data: kvasir"), "'fda' is trained on 'kvasir'; name the dataset to adapt to"),
        (("name: fourier, data: other", "name: fourier"), "data: is required"),
        (("beta: 0.1", "beta: 0.7"), "beta: should be less than 0.5"),
        (("name: fourier", "name: furier"), "did you mean 'fourier'"),
        (("input_size: 32", "crop_px: 32"), "works on resized images only; remove recipe.crop_px"),
    ],
)
def test_mistakes_are_named(edit: tuple[str, str], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(STUDY.replace(*edit, 1))
    assert words in str(caught.value)
