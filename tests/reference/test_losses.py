"""Every loss against slow code from its paper, with ignored pixels, absent classes and nothing to count; its gradient."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import slow_losses as slow
import torch

from segstudy.networks.build import import_smp
from segstudy.schema import LossPart
from segstudy.train.balance import effective_number, image_shares, inverse_frequency, median_frequency
from segstudy.train.losses import LOSSES, lovasz_softmax, make_loss, signed_distances

CASES: list[tuple[str, dict[str, Any]]] = [
    ("cross_entropy", {}),
    ("cross_entropy", {"label_smoothing": 0.2}),
    ("cross_entropy", {"class_weights": [1.0, 0.2, 3.0, 0.5]}),
    ("cross_entropy", {"hardest_share": 0.3}),
    ("cross_entropy", {"hardest_share": 0.3, "class_weights": [1.0, 0.2, 3.0, 0.5], "label_smoothing": 0.1}),
    ("dice", {}),
    ("dice", {"smooth": 2.0}),
    ("tversky", {}),
    ("tversky", {"alpha": 0.8, "beta": 0.1, "gamma": 1.5, "smooth": 0.5}),
    ("focal", {}),
    ("focal", {"gamma": 0.5}),
    ("lovasz_softmax", {}),
    ("boundary", {}),
    ("cl_dice", {}),
    ("cl_dice", {"iterations": 1, "smooth": 0.5}),
]
IDS = [", ".join([name, *options]) for name, options in CASES]
LABELS = {
    "all classes": lambda rng: rng.integers(0, 4, (2, 6, 7)),
    "ignored pixels": lambda rng: np.where(rng.random((2, 6, 7)) < 0.4, 255, rng.integers(0, 4, (2, 6, 7))),
    "an image ignored": lambda rng: np.stack([np.full((6, 7), 255), rng.integers(0, 4, (6, 7))]),
    "absent classes": lambda rng: rng.choice([0, 2], (2, 6, 7)),
    "absent and ignored": lambda rng: rng.choice([1, 3, 255], (2, 6, 7)),
    "one class": lambda rng: np.full((2, 6, 7), 3),
    "background only": lambda rng: np.zeros((2, 6, 7), int),
    "one pixel": lambda rng: np.where(np.arange(84).reshape(2, 6, 7) == 11, 2, 255),
}


def drawn(kind: str, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    rng = np.random.default_rng([seed, len(kind)])
    return torch.from_numpy(rng.normal(0, 2, (2, 4, 6, 7))), torch.from_numpy(LABELS[kind](rng)).long()


def loss_of(name: str, options: dict[str, Any]) -> Any:
    return make_loss(LossPart.with_options(name).model_validate({"name": name, **options}) if options else name)


def test_every_loss_is_tested() -> None:
    assert {name for name, _ in CASES} == set(LOSSES.table)


@pytest.mark.parametrize("labels", LABELS)
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_a_loss_is_its_papers(name: str, options: dict[str, Any], labels: str) -> None:
    logits_nchw, labels_nhw = drawn(labels)
    expected = getattr(slow, name)(logits_nchw.numpy(), labels_nhw.numpy(), **options)
    assert float(loss_of(name, options)(logits_nchw, labels_nhw)) == pytest.approx(expected, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("labels", ["ignored pixels", "absent and ignored", "background only"])
@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_a_gradient_is_that_of_the_loss(name: str, options: dict[str, Any], labels: str) -> None:
    logits_nchw, labels_nhw = drawn(labels, seed=1)
    small, small_labels = logits_nchw[:, :, :4, :4].contiguous().requires_grad_(), labels_nhw[:, :4, :4].contiguous()
    loss = loss_of(name, options)
    torch.autograd.gradcheck(lambda logits: loss(logits, small_labels), small, eps=1e-7, atol=1e-5)
    (gradient,) = torch.autograd.grad(loss(small, small_labels), small)
    assert not gradient.movedim(1, -1)[small_labels == 255].any()


@pytest.mark.parametrize(("name", "options"), CASES, ids=IDS)
def test_a_batch_without_a_counted_pixel_changes_nothing(name: str, options: dict[str, Any]) -> None:
    logits = torch.randn(2, 4, 6, 7, requires_grad=True)
    value = loss_of(name, options)(logits, torch.full((2, 6, 7), 255))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.shape == () and float(value.detach()) == 0
    assert torch.equal(gradient, torch.zeros_like(gradient))


@pytest.mark.parametrize("name", LOSSES.table)
def test_what_stands_at_ignored_pixels_does_not_count(name: str) -> None:
    logits, labels = drawn("ignored pixels")
    other = torch.where((labels == 255)[:, None], torch.randn_like(logits), logits)
    assert float(make_loss(name)(other, labels)) == pytest.approx(float(make_loss(name)(logits, labels)), rel=1e-12)


@pytest.mark.parametrize("name", LOSSES.table)
def test_bfloat16_logits_give_about_the_same(name: str) -> None:
    logits, labels = drawn("all classes")
    found = make_loss(name)(logits.bfloat16(), labels)
    assert float(found) == pytest.approx(float(make_loss(name)(logits, labels)), rel=0.05, abs=0.02)


def test_lovasz_is_that_of_segmentation_models_pytorch_where_that_can_be_computed() -> None:
    for kind in ("all classes", "ignored pixels", "absent classes"):
        logits, labels = drawn(kind)
        theirs = import_smp().losses.LovaszLoss("multiclass", ignore_index=255)(logits.float(), labels)
        assert float(lovasz_softmax(logits, labels)) == pytest.approx(float(theirs), rel=1e-5)


def test_a_distance_is_measured_from_the_outline() -> None:
    labels = np.array([[[0, 0, 1, 1, 1, 0, 255]]])
    assert signed_distances(labels, 3)[0, :, 0].tolist() == [
        [-1, 0, 1, 2, 1, 0, 0],
        [2, 1, 0, -1, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 0],
    ]


def test_a_sum_is_the_sum_of_its_terms() -> None:
    logits, labels = drawn("ignored pixels")
    alone = {name: float(make_loss(name)(logits, labels)) for name in LOSSES.table}
    found = make_loss({"cross_entropy": 1.0, "dice": 0.5, "boundary": 0.01})(logits, labels)
    expected = alone["cross_entropy"] + 0.5 * alone["dice"] + 0.01 * alone["boundary"]
    assert float(found) == pytest.approx(expected, rel=1e-12)
    sharp = make_loss({"focal": {"weight": 2.0, "gamma": 0.5}, "dice": 1.0})(logits, labels)
    expected = 2 * slow.focal(logits.numpy(), labels.numpy(), 0.5) + alone["dice"]
    assert float(sharp) == pytest.approx(expected, rel=1e-6)


# 40 pixels of class 0, 10 of class 1 (in one image of 30), none of class 2
PIXELS = np.array([[20, 10, 0], [20, 0, 0], [0, 0, 0]])


def test_weights_of_classes_are_the_papers_by_hand() -> None:
    assert inverse_frequency(PIXELS).tolist() == pytest.approx([50 / 40, 50 / 10, 0])
    median = (40 / 50 + 10 / 30) / 2  # class 0 is in 50 pixels of images, class 1 in 30
    assert median_frequency(PIXELS).tolist() == pytest.approx([median / (40 / 50), median / (10 / 30), 0])
    numbers = [sum(0.9**k for k in range(n)) for n in (40, 10)]  # 1 + b + b^2 + ...
    mean = (1 / numbers[0] + 1 / numbers[1]) / 2
    assert effective_number(PIXELS, 0.9).tolist() == pytest.approx([1 / numbers[0] / mean, 1 / numbers[1] / mean, 0])


def test_rules_for_weights_give_finite_numbers_whatever_is_absent() -> None:
    for rule in (inverse_frequency, median_frequency, effective_number):
        assert rule(np.zeros((2, 3), int), 0.9).tolist() == [0, 0, 0]
        assert np.isfinite(rule(np.array([[10**12, 1, 0]]), 1 - 1e-12)).all()


def test_images_are_drawn_so_that_classes_come_alike() -> None:
    assert image_shares(PIXELS).tolist() == pytest.approx([0.5 * 1 / 2 + 0.5 * 1, 0.5 * 1 / 2, 0])
    assert image_shares(np.zeros((4, 2), int)).tolist() == [0.25] * 4


def test_the_table_of_losses_loads_no_torch() -> None:
    code = "import segstudy.train.losses, sys; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
