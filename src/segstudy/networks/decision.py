"""From logits to classes: temperature, the threshold of a class, both as given or as chosen on the split that selects.

Array letters: ``c`` output of the network, ``h`` height, ``w`` width, ``m`` pixel, ``k`` threshold.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from segstudy.arrays import Labels
from segstudy.data.core import IGNORE

PIXELS_OF_AN_IMAGE = 4096  # at most, of each image: what a temperature is fitted to
TEMPERATURES = (0.05, 20.0)
THRESHOLDS = 1000  # thresholds 0.001 to 0.999 are tried


@dataclass(frozen=True)
class Decision:
    """How logits become classes and confidences.

    ``temperature`` divides logits. With a ``threshold``, the outputs ``positive`` win where their probabilities together
    reach it, the others elsewhere; without one, the output of the largest probability wins.
    """

    temperature: float = 1.0
    threshold: float | None = None
    positive: tuple[bool, ...] = ()

    def scaled(self, logits: Tensor) -> Tensor:
        """Logits over the temperature."""
        return logits if self.temperature == 1 else logits / self.temperature

    def best(self, logits_chw: Tensor) -> Tensor:
        """The output that wins at each pixel (h, w), of logits that were scaled."""
        if self.threshold is None:
            return logits_chw.argmax(dim=0)
        positive = torch.tensor(self.positive, device=logits_chw.device)
        wins = positive_probability(logits_chw, positive) >= self.threshold
        return logits_chw.masked_fill(positive[:, None, None] != wins, -torch.inf).argmax(dim=0)


def positive_probability(logits_chw: Tensor, positive: Tensor) -> Tensor:
    """Probability (h, w) of the outputs ``positive`` together."""
    return logits_chw.float().softmax(dim=0)[positive].sum(dim=0)


# Scaled logits (c, h, w) of an image, and its true labels (h, w)
Pairs = Iterable[tuple[Tensor, Labels]]


def fit_temperature(pairs: Pairs, classes: NDArray[np.int64]) -> float:
    """The temperature with the smallest negative log-likelihood of the true classes.

    Parameters
    ----------
    pairs
        Of the split that selects. Of each image, at most 4,096 pixels at equal distances count.
    classes
        The class that each output means.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, section 4.2.

    """
    parts = [_sample(logits, truth) for logits, truth in pairs]
    logits_mc = np.concatenate([logits for logits, _ in parts]).astype(np.float64)
    right_mc = classes[None] == np.concatenate([truth for _, truth in parts])[:, None]

    def loss(log_temperature: float) -> float:
        scaled = logits_mc / np.exp(log_temperature)
        scaled -= scaled.max(axis=1, keepdims=True)
        likelihood = np.exp(scaled)
        true = (likelihood * right_mc).sum(axis=1) / likelihood.sum(axis=1)
        return float(-np.log(np.maximum(true, 1e-300)).mean())

    from scipy.optimize import minimize_scalar

    found: Any = minimize_scalar(loss, bounds=tuple(np.log(TEMPERATURES)), method="bounded", options={"xatol": 1e-4})
    return float(np.exp(found.x))


def _sample(logits_chw: Tensor, truth: Labels) -> tuple[NDArray[np.float32], Labels]:
    counted = np.flatnonzero(truth.ravel() != IGNORE)
    step = max(1, -(-len(counted) // PIXELS_OF_AN_IMAGE))
    places = counted[::step]
    picked: NDArray[np.float32] = (
        logits_chw.flatten(1)[:, torch.from_numpy(places).to(logits_chw.device)].T.cpu().numpy()
    )
    return picked, truth.ravel()[places]


def choose_threshold(pairs: Pairs, decision: Decision) -> float:
    """The threshold, of 0.001 to 0.999, with the largest mIoU of two classes; of several, the one closest to 0.5.

    Parameters
    ----------
    pairs
        Of the split that selects.
    decision
        Its temperature has been applied to the logits, and ``positive`` says which outputs mean the second class.

    """
    counts = np.zeros((2, THRESHOLDS + 1), np.int64)
    for logits, truth in pairs:
        positive = torch.tensor(decision.positive, device=logits.device)
        probability = positive_probability(logits, positive).cpu().numpy().ravel()
        bins = np.floor(probability.astype(np.float64) * THRESHOLDS).astype(np.int64)
        for label in (0, 1):
            counts[label] += np.bincount(bins[truth.ravel() == label], minlength=THRESHOLDS + 1)
    negatives, positives = counts.sum(axis=1)
    above = counts[:, ::-1].cumsum(axis=1)[:, ::-1][:, 1:THRESHOLDS]  # predicted as the second class from k / 1000 on
    false, true = above
    with np.errstate(invalid="ignore"):
        scores = np.nanmean([true / (positives + false), (negatives - false) / (positives - true + negatives)], axis=0)
    thresholds_k = np.arange(1, THRESHOLDS) / THRESHOLDS
    best = np.flatnonzero(scores >= scores.max() - 1e-12)
    return float(thresholds_k[best[np.abs(thresholds_k[best] - 0.5).argmin()]])


def fit(decision: Decision, pairs_of: Any, classes: NDArray[np.int64], temperature: bool, threshold: bool) -> Decision:
    """A decision with what is to be fitted; ``pairs_of`` gives the pairs under a decision, and may be called twice."""
    if temperature:
        decision = replace(decision, temperature=fit_temperature(pairs_of(Decision()), classes))
    if threshold:
        decision = replace(decision, threshold=choose_threshold(pairs_of(decision), decision))
    return decision
