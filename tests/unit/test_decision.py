"""Temperature, thresholds, and risk by coverage: against slow, obvious code."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from segstudy.counts.calibration import area_under_risk, count_confidence, risk_at
from segstudy.networks.decision import Decision, choose_threshold, fit_temperature
from segstudy.schema import ScoringRules

BOTH = np.array([0, 1])


def calibrated(number: int = 40_000) -> tuple[torch.Tensor, np.ndarray]:
    """Logits (2, h, w) of which the softmax is right, and labels drawn by it."""
    rng = np.random.default_rng(0)
    logit = rng.normal(0, 2, (number // 200, 200))
    truth = (rng.random(logit.shape) < 1 / (1 + np.exp(-logit))).astype(np.uint8)
    return torch.from_numpy(np.stack([0 * logit, logit]).astype(np.float32)), truth


def test_the_temperature_that_was_put_in_is_found() -> None:
    logits, truth = calibrated()
    for temperature in (0.5, 1.0, 3.0):
        pairs = [(logits[:, rows] * temperature, truth[rows]) for rows in np.array_split(np.arange(len(truth)), 20)]
        assert fit_temperature(pairs, BOTH) == pytest.approx(temperature, rel=0.06)


def test_the_temperature_minimises_the_likelihood_of_every_pixel() -> None:
    logits, truth = calibrated(4000)
    truth[:3] = 255
    logits *= 1.7

    def loss(temperature: float) -> float:
        counted = torch.from_numpy(truth.astype(np.int64)).ravel()
        return float(torch.nn.functional.cross_entropy(logits.flatten(1).T / temperature, counted, ignore_index=255))

    grid = np.arange(0.5, 4, 0.01)
    assert fit_temperature([(logits, truth)], BOTH) == pytest.approx(
        grid[np.argmin([loss(t) for t in grid])], abs=0.011
    )


def test_the_threshold_is_the_best_of_all_that_are_tried() -> None:
    rng = np.random.default_rng(3)
    truth = (rng.random((60, 50)) < 0.2).astype(np.uint8)
    chance = np.clip(0.3 * truth + rng.normal(0.3, 0.15, truth.shape), 0.01, 0.99).astype(np.float32)
    truth[:2] = 255
    logits = torch.from_numpy(np.stack([np.log(1 - chance), np.log(chance)]))

    def miou(threshold: float) -> float:
        counted = truth != 255
        pairs = [(truth[counted] == k, (chance[counted] >= threshold) == k) for k in (0, 1)]
        return float(np.mean([(t & p).sum() / (t | p).sum() for t, p in pairs]))

    found = choose_threshold(
        [(logits[:, :30], truth[:30]), (logits[:, 30:], truth[30:])], Decision(positive=(False, True))
    )
    tried = np.arange(1, 1000) / 1000
    assert miou(found) == pytest.approx(
        max(map(miou, tried)), abs=2e-4
    )  # probabilities at an edge may fall to either side
    assert miou(found) > miou(0.5) + 0.001  # argmax does not do as well


def test_a_threshold_decides_between_groups_of_outputs() -> None:
    chances = torch.tensor([[0.5, 0.3, 0.2], [0.4, 0.35, 0.25]]).T[:, :, None].log()
    decision = Decision(threshold=0.55, positive=(False, True, True))
    assert decision.best(chances)[:, 0].tolist() == [0, 1]  # 0.5 against 0.55; then 0.6, of which 0.35 is the largest
    assert Decision().best(chances)[:, 0].tolist() == [0, 0]


def one_pixel_bins(confidence: np.ndarray, right: np.ndarray, bins: int) -> np.ndarray:
    truth = right[None].astype(np.uint8)
    return count_confidence(truth, np.ones_like(truth), confidence[None], ScoringRules(calibration_bins=bins))


def test_risk_and_its_area_are_those_of_sorted_pixels() -> None:
    """With a bin a pixel, the curve is drawn pixel by pixel; between them, wrong pixels grow linearly."""
    rng = np.random.default_rng(5)
    confidence = (rng.permutation(200)[:150] + 0.5) / 200
    right = rng.random(150) < confidence
    counts = one_pixel_bins(confidence, right, 200)
    order = np.argsort(-confidence)
    wrong = np.concatenate([[0], (~right[order]).cumsum()])
    coverage = np.linspace(0, 150, 300_001)[1:]
    assert float(area_under_risk(counts)) == pytest.approx(
        np.mean(np.interp(coverage, np.arange(151), wrong) / coverage), abs=2e-5
    )
    for share in (1.0, 0.8, 0.5, 0.1):
        assert float(risk_at(counts, share)) == pytest.approx(
            np.interp(share * 150, np.arange(151), wrong) / (share * 150)
        )


def test_without_pixels_there_is_no_risk() -> None:
    nothing = np.zeros((4, 15, 3), np.int64)
    assert np.isnan(area_under_risk(nothing)).all() and np.isnan(risk_at(nothing, 0.5)).all()
