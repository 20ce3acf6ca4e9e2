"""Folds and repeated splits: the training sets overlap, so the scores of splits are not independent.

Letters: j splits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from segstudy.arrays import Values
from segstudy.errors import DataError


@dataclass(frozen=True)
class FoldDifference:
    """Mean over splits with its corrected interval.

    Attributes
    ----------
    value, low, high, level
        Mean over the splits and its interval.
    standard_error, degrees_of_freedom
        Of ``value``; the degrees are splits - 1.
    p_value
        Of Student's test that the true value is 0. It agrees with the interval.
    num_splits
        Folds times repeats.

    """

    value: float
    low: float
    high: float
    level: float
    standard_error: float
    degrees_of_freedom: float
    p_value: float
    num_splits: int


def over_splits(
    values: Sequence[float] | Values, num_train: float, num_test: float, level: float = 0.95
) -> FoldDifference:
    """Mean over j splits, of a score or of variant minus base fold by fold, by the corrected resampled t-test.

    The variance of the mean is (1 / j + num_test / num_train) times the variance between splits: splits share training
    images, so their scores vary together, and 1 / j alone promises too much.

    Parameters
    ----------
    values
        (j,), one for each split, in the same order for variant and base.
    num_train, num_test
        Images that a split trains on and is scored on; for k folds their ratio is k - 1.
    level
        Nominal coverage.

    Raises
    ------
    DataError
        If there are fewer than two splits, a value is undefined, or a number of images is not above 0.

    Source: Nadeau and Bengio, Inference for the generalization error, Machine Learning 2003; for repeated folds: Bouckaert
    and Frank 2004.
    """
    given = np.asarray(values, np.float64)
    if len(given) < 2 or np.isnan(given).any():
        raise DataError(
            f"{len(given)} splits with {int(np.isnan(given).sum())} undefined: give two defined ones or more"
        )
    if not (num_train > 0 and num_test > 0):
        raise DataError(f"{num_train} training and {num_test} test images: both must be above 0")
    degrees = len(given) - 1
    error = math.sqrt(given.var(ddof=1) * (1 / len(given) + num_test / num_train))
    value, half = float(given.mean()), -float(special.stdtrit(degrees, (1 - level) / 2)) * error
    tail = special.stdtr(degrees, -abs(value) / error) if error > 0 else 0.5 * (value == 0)
    return FoldDifference(value, value - half, value + half, level, error, degrees, float(2 * tail), len(given))
