"""Permutation tests: how often a difference at least as large comes from exchanging what belongs to which side.

Letters: q permutations, s seeds, n images (or groups), k numbers of one image's counts, m values of a function.

Source: Phipson and Smyth, Permutation p-values should never be zero, Stat. Appl. Genet. Mol. Biol. 2010 (the observed
arrangement counts as one of those that were drawn).
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from segstudy.arrays import Counts, Values
from segstudy.stats.resampling import Function, chunks

# Two arrangements that are equal on paper may differ in the last digits.
_TOLERANCE = 1e-12


def exchange_images(
    variant: Counts, base: Counts, function: Function, generator: np.random.Generator, num_permutations: int = 10_000
) -> Values:
    """p-values (m,) of the paired test that exchanges the two predictions of each image, or not, by a coin.

    Its null hypothesis is that the two networks are alike image by image. Networks of equal score that err on different
    images are not alike, and the test may reject them more often than it says; nor does it know of seeds.

    Parameters
    ----------
    variant, base
        (n, ...), the same images.
    function
        Gives several numbers (..., m).
    generator, num_permutations
        What draws; if 2^n is no more than ``num_permutations``, all are taken and the p-value is exact.

    >>> rng = np.random.default_rng(0)
    >>> better, worse = np.array([[3.0], [4.0], [5.0]]), np.array([[1.0], [1.0], [1.0]])
    >>> exchange_images(better, worse, lambda merged: merged, rng).tolist()  # 2 of 8: all as they are, all exchanged
    [0.25]
    """
    num_images, shape = len(variant), variant.shape[1:]
    flat = [side.reshape(num_images, -1).astype(np.float64) for side in (variant, base)]
    middle, half = (flat[0] + flat[1]).sum(axis=0) / 2, (flat[0] - flat[1]) / 2
    moved = half.any(axis=0)  # most entries of a large matrix are equal on both sides
    exact = 2.0**num_images <= num_permutations
    signs = _all_signs(num_images) if exact else None
    values = [np.asarray(function(side.sum(axis=0).reshape(shape))) for side in flat]
    observed, size = np.abs(values[0] - values[1]), np.abs(values[0]) + np.abs(values[1])
    reached = np.zeros(observed.shape)
    number = 2**num_images if exact else num_permutations
    for chunk in chunks(number, num_images + 6 * len(middle)):
        drawn = (
            signs[chunk.start : chunk.stop]
            if signs is not None
            else 2.0 * generator.integers(0, 2, (len(chunk), num_images), dtype=np.int8) - 1.0
        )
        shift = np.zeros((len(chunk), len(middle)))
        shift[:, moved] = drawn @ half[:, moved]
        sides = [function(merged.reshape(len(chunk), *shape)) for merged in (middle + shift, middle - shift)]
        reached += (~(np.abs(sides[0] - sides[1]) < observed - _TOLERANCE * size)).sum(axis=0)
    return _p_value(reached, number, exact, observed)


def exchange_networks(
    variant: Values, base: Values, paired: bool, generator: np.random.Generator, num_permutations: int = 10_000
) -> Values:
    """p-values (m,) of the test that exchanges whole networks: those of equal seed if ``paired``, else any.

    Its null hypothesis is that the two recipes are alike, seeds included. With few networks the smallest p-value that it
    can give is large: 2 in 2^s for s pairs, 2 in 20 for three networks against three.

    Parameters
    ----------
    variant, base
        Values of each network, (s, m); as many, in the same order, if ``paired``.
    paired
        Whether networks of equal seed belong together.
    generator, num_permutations
        What draws; if there are no more arrangements than ``num_permutations``, all are taken.

    """
    weights, exact = _arrangements(len(variant), len(base), paired, generator, num_permutations)
    networks = np.concatenate([variant, base])
    observed = np.abs(variant.mean(axis=0) - base.mean(axis=0))
    size = np.abs(networks).max(axis=0)
    reached = (~(np.abs(weights @ networks) < observed - _TOLERANCE * size)).sum(axis=0).astype(np.float64)
    return _p_value(reached, len(weights), exact, observed)


def _arrangements(
    num_variant: int, num_base: int, paired: bool, generator: np.random.Generator, num_permutations: int
) -> tuple[Values, bool]:
    """Weights (q, networks) that give variant minus base after an exchange; whether they are all that there are."""
    total = num_variant + num_base
    if paired:
        exact = 2.0**num_variant <= num_permutations
        signs = _all_signs(num_variant) if exact else generator.choice([-1.0, 1.0], (num_permutations, num_variant))
        return np.concatenate([signs, -signs], axis=1) / num_variant, exact
    exact = math.comb(total, num_variant) <= num_permutations
    if exact:
        chosen = np.array(list(itertools.combinations(range(total), num_variant)))
    else:
        order = np.tile(np.arange(total), (num_permutations, 1))
        chosen = generator.permuted(order, axis=1)[:, :num_variant]
    weights = np.full((len(chosen), total), -1.0 / num_base)
    np.put_along_axis(weights, chosen, 1.0 / num_variant, axis=1)
    return weights, exact


def _all_signs(number: int) -> Values:
    return np.array(list(itertools.product((1.0, -1.0), repeat=number)))


def _p_value(reached: Values, number: int, exact: bool, observed: Values) -> Values:
    p: Values = reached / number if exact else (reached + 1) / (number + 1)
    return np.where(np.isnan(observed), np.nan, p)
