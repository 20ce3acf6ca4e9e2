"""Rank a study's experiments by the primary measure: places that the tests support, and how stable they are.

Experiments that no test tells apart share a rank. The shares of ranks under resampling describe stability; they test
nothing.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segstudy.comparable import common_groups
from segstudy.comparison import Side, compare, problems_between
from segstudy.measures import Measure
from segstudy.results import StudyResults
from segstudy.stats.equivalence import Rank, rank_shares, ranks

RESAMPLES = 500
AT_MOST = 24  # experiments of one dataset; more pairs take too long, and correction leaves little to decide


@dataclass(frozen=True)
class Ranked:
    """The place of one experiment on its dataset.

    Attributes
    ----------
    experiment, dataset, value
        What is ranked, and its score, mean over seeds.
    rank
        The rank and the places that the tests leave open.
    num_ranked
        Experiments that are ranked together.
    share_first, share_rank
        Share of resamples of images and seeds in which it has the best score, and in which its place is one of those that
        the tests leave open.

    """

    experiment: str
    dataset: str
    value: float
    rank: Rank
    num_ranked: int
    share_first: float
    share_rank: float


def ranked(results: StudyResults) -> list[Ranked]:
    """Rank the experiments of each dataset that can be compared with the first of them; best first.

    Experiments without a result, and those scored otherwise than the first, are left out. A dataset with fewer than two,
    or with more than :data:`AT_MOST`, has no ranks, nor has a study that
    adds seeds until it is decided.
    """
    found: list[Ranked] = []
    if results.plan.study.until is not None:
        return found  # tests of every pair are not corrected for the looks
    measure = results.primary
    for dataset, sides in _by_dataset(results).items():
        alike = [side for side in sides if side is sides[0] or not problems_between(side, sides[0], measure)]
        if 2 <= len(alike) <= AT_MOST:
            found += _rank(dataset, alike, measure)
    return found


def _by_dataset(results: StudyResults) -> dict[str, list[Side]]:
    found: dict[str, list[Side]] = {}
    for name in results.plan.experiments:
        side = results.side(name)
        if side.sets and not side.problems and not np.isnan(side.mean(results.primary)[0]):
            found.setdefault(results.plan.first(name).config.dataset, []).append(side)
    return found


def _rank(dataset: str, sides: Sequence[Side], measure: Measure) -> list[Ranked]:
    """Ranks from all pairwise tests, corrected by Holm's rule, and the shares of places under resampling."""
    number, up = len(sides), measure.higher_is_better
    p_values = np.full((number, number), np.nan)
    for i, j in itertools.combinations(range(number), 2):
        found = compare(sides[i], sides[j], measure, {}, questions=0).difference
        p_values[i, j] = np.nan if found is None else found.p_value
    values = [float(side.mean(measure)[0]) for side in sides]
    places = ranks(values, p_values, higher_is_better=up)
    seed = hashlib.sha256(b"".join(side.fingerprint for side in sides)).digest()[:8]
    shares = rank_shares(
        [side.networks(measure.counts) for side in sides],
        measure.function_for(sides[0].first.counts[measure.counts]),
        np.random.default_rng(int.from_bytes(seed)),
        groups=sides[0].first.folds or common_groups([one for side in sides for one in side.sets]),
        higher_is_better=up,
        num_resamples=RESAMPLES,
    )
    rows = [
        Ranked(
            side.name,
            dataset,
            value,
            place,
            number,
            float(share[0]),
            float(share[place.best - 1 : place.worst].sum()),
        )
        for side, value, place, share in zip(sides, values, places, shares, strict=True)
    ]
    return sorted(rows, key=lambda row: (row.rank.rank, -row.value if up else row.value))
