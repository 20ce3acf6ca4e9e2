"""Counts by bins of confidence, and the calibration measures computed from them.

Array letters: ``h`` height, ``w`` width, ``b`` confidence bin. Bin ``i`` of ``b`` holds confidences above ``i / b`` up to
and including ``(i + 1) / b``; 0 is in the first bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Counts, Values
from segstudy.measures import Measure, ratio
from segstudy.schema import ScoringRules

BIN_COUNTS = ("pixels", "right", "confidence_millionths")  # the last is a sum, in units of 1e-6
MILLION = 1_000_000


def count_confidence(
    truth: NDArray[np.uint8],
    prediction: NDArray[np.uint8],
    confidence: NDArray[np.floating[Any]],
    rules: ScoringRules,
    ignore: int = 255,
) -> Counts:
    """Pixels, correct pixels and sum of confidence in each bin, ``int64`` (b, 3) in the order of ``BIN_COUNTS``.

    Parameters
    ----------
    truth, prediction
        Class indices, ``uint8`` (h, w); pixels whose truth is ``ignore`` do not count.
    confidence
        Largest softmax probability of each pixel, float (h, w) in 0 to 1; rounded to 1e-6.
    rules
        ``calibration_bins``.

    Raises
    ------
    ValueError
        If shapes differ, or a counted confidence is not in 0 to 1.

    Examples
    --------
    >>> truth, prediction = np.array([[1, 0, 255]], np.uint8), np.array([[1, 1, 1]], np.uint8)
    >>> count_confidence(truth, prediction, np.array([[0.9, 0.6, 0.1]]), ScoringRules(calibration_bins=2)).tolist()
    [[0, 0, 0], [2, 1, 1500000]]

    """
    if not truth.shape == prediction.shape == confidence.shape:
        raise ValueError(f"truth has shape {truth.shape}, prediction {prediction.shape}, confidence {confidence.shape}")
    counted = truth != ignore
    millionths = np.rint(confidence[counted].astype(np.float64) * MILLION)
    if not ((millionths >= 0) & (millionths <= MILLION)).all():  # negated, so that NaN is caught
        raise ValueError("confidence holds values outside 0 to 1")
    bins = rules.calibration_bins
    places = np.maximum(np.ceil(millionths * bins / MILLION).astype(np.intp) - 1, 0)
    right = (truth == prediction)[counted]
    columns = [np.bincount(places, weights, minlength=bins) for weights in (None, right, millionths)]
    return np.stack(columns, axis=-1).astype(np.int64)


@dataclass(frozen=True)
class Reliability:
    """A reliability diagram: accuracy, mean confidence and share of all pixels of each bin (..., b).

    ``accuracy`` and ``confidence`` are NaN in empty bins.
    """

    accuracy: Values
    confidence: Values
    share: Values


def reliability(calibration: Counts) -> Reliability:
    """The data of a reliability diagram, from counts (..., b, 3)."""
    pixels, right, millionths = np.moveaxis(np.asarray(calibration, np.float64), -1, 0)
    total = np.broadcast_to(pixels.sum(axis=-1, keepdims=True), pixels.shape)
    return Reliability(
        ratio(right, pixels, pixels > 0),
        ratio(millionths / MILLION, pixels, pixels > 0),
        ratio(pixels, total, total > 0),
    )


def expected_calibration_error(calibration: Counts) -> Values:
    """Mean absolute difference of accuracy and confidence, bins weighted by pixels, (...); NaN without pixels.

    Source: Guo et al., On calibration of modern neural networks, ICML 2017, equation 3.

    >>> float(expected_calibration_error(np.array([[0, 0, 0], [2, 1, 1500000]])))
    0.25
    """
    pixels, right, millionths = np.moveaxis(np.asarray(calibration, np.float64), -1, 0)
    total = np.asarray(pixels.sum(axis=-1))
    return ratio(np.asarray(np.abs(right - millionths / MILLION).sum(axis=-1)), total, total > 0)


def area_under_risk(calibration: Counts) -> Values:
    """Area under the risk-coverage curve (...), the mean risk over all coverages; NaN without pixels.

    Pixels of one bin count as if they came in random order. So the number of wrong pixels grows linearly within a bin, and
    the area is exact.

    Source: Geifman et al., Bias-reduced uncertainty estimation for deep neural classifiers, ICLR 2019.

    >>> float(area_under_risk(np.array([[4, 1, 0]])))  # one bin: the share of wrong pixels
    0.75
    """
    pixels, right, _ = np.moveaxis(np.asarray(calibration, np.float64)[..., ::-1, :], -1, 0)
    end, wrong = pixels.cumsum(axis=-1), (pixels - right).cumsum(axis=-1)
    start, before = end - pixels, wrong - (pixels - right)
    slope = np.divide(pixels - right, pixels, out=np.zeros_like(pixels), where=pixels > 0)
    growth = np.log(np.divide(end, start, out=np.ones_like(end), where=(start > 0) & (pixels > 0)))
    area = (slope * pixels + (before - slope * start) * growth).sum(axis=-1)
    total = np.asarray(end[..., -1])
    return ratio(np.asarray(area), total, total > 0)


def risk_at(calibration: Counts, coverage: float) -> Values:
    """Share (...) of wrong pixels among the surest pixels, as many as ``coverage`` of all; NaN without pixels.

    Within a bin, wrong pixels are spread evenly.

    >>> float(risk_at(np.array([[2, 1, 0], [2, 2, 0]]), 0.75))  # 2 sure pixels, none wrong, and 1 of which a half is
    0.16666666666666666
    """
    pixels, right, _ = np.moveaxis(np.asarray(calibration, np.float64)[..., ::-1, :], -1, 0)
    end = pixels.cumsum(axis=-1)
    wanted = np.asarray(coverage * end[..., -1:])
    taken = np.clip(wanted - (end - pixels), 0, pixels)
    shares = np.divide(taken, pixels, out=np.zeros_like(pixels), where=pixels > 0)
    total = np.asarray(wanted[..., 0])
    return ratio(np.asarray((shares * (pixels - right)).sum(axis=-1)), total, total > 0)


AURC = Measure(
    "aurc",
    "Area under risk-coverage",
    area_under_risk,
    counts="calibration",
    higher_is_better=False,
    source="Geifman et al., ICLR 2019",
)
CALIBRATION = (
    Measure(
        "ece",
        "Expected calibration error",
        expected_calibration_error,
        counts="calibration",
        higher_is_better=False,
        source="Guo et al., ICML 2017",
    ),
    AURC,
)
