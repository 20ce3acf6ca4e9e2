"""Whether a printed difference is more than chance: how likely the opposite order is, given images, seeds and deviations.

A score is a mean over n images and S seeds. Between two rows, tested on the same images, the mean difference has

    se^2 = 2 sd^2 (1 - r) / n + 2 seed_sd^2 / S,

with ``sd`` the deviation of one image's score, ``r`` its correlation between two networks and ``seed_sd`` the deviation of
a whole score from training to training. The ranking is a fluke with probability Phi(-|d| / se), where nothing was known of
the order before. Rows that are the best of many tried are less sure than that.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from segstudy.auditing.claims import Claim, Claims
from segstudy.errors import SpecError

CORRELATION = 0.5
SEED_SD = 0.005
# Deviations of one image's score that are assumed where none is given.
TYPICAL_SD = {
    **dict.fromkeys(("dice", "f1", "mdice", "mf1"), 0.20),
    **dict.fromkeys(("iou", "miou"), 0.20),
    **dict.fromkeys(("pixel_accuracy", "accuracy", "mean_class_accuracy", "class_accuracy"), 0.10),
}


@dataclass(frozen=True)
class Ranking:
    """Two rows whose scores stand next to each other in the order of a column, the better first."""

    table: str
    column: str
    better: str
    worse: str
    difference: float
    standard_error: float
    fluke: float
    assumptions: str


def fluke_probability(difference: float, num_images: int, num_seeds: int, sd: float) -> tuple[float, float]:
    """Standard error of a difference, and the probability that the true order is the opposite.

    >>> [round(value, 4) for value in fluke_probability(0.01, 100, 1, 0.2)]  # se^2 = 0.0004 + 0.00005
    [0.0212, 0.3187]

    Raises
    ------
    SpecError
        If there are no images or seeds, or no deviation.

    """
    if num_images < 1 or num_seeds < 1 or not 0 < sd <= 0.5:
        raise SpecError(
            f"--images {num_images} --seeds {num_seeds} --sd {sd:g}: images and seeds must be 1 or more, and the deviation "
            "of one image's score, as a fraction of 1, above 0 and at most 0.5"
        )
    error = math.sqrt(2 * sd**2 * (1 - CORRELATION) / num_images + 2 * SEED_SD**2 / num_seeds)
    return error, 0.5 * math.erfc(abs(difference) / error / math.sqrt(2))


def rankings(claims: Claims, num_images: int, num_seeds: int = 1, sd: float | None = None) -> Iterator[Ranking]:
    """Rows that follow each other in the order of a column, each pair with the probability that it is a fluke."""
    columns: dict[object, list[Claim]] = defaultdict(list)
    for claim in claims.scores:
        if claim.measure in TYPICAL_SD:
            columns[claim.place.table, claim.place.column, claim.data, claim.subject.cls].append(claim)
    for column in columns.values():
        ordered = sorted(column, key=lambda claim: -claim.printed.low)
        for one, other in pairwise(ordered):
            assumed = TYPICAL_SD[one.measure] if sd is None else sd
            difference = float(one.printed.low - other.printed.low)
            error, fluke = fluke_probability(difference, num_images, num_seeds, assumed)
            says = (
                f"{num_images} images, the same for both, {num_seeds} seed{'s' * (num_seeds > 1)}; deviation of an image's "
                f"score {assumed:g} ({'assumed' if sd is None else 'given'}), correlation {CORRELATION:g} and deviation "
                f"over seeds {SEED_SD:g} assumed; scores as means over images"
            )
            yield Ranking(one.table, one.heading.text, one.row, other.row, difference, error, fluke, says)


def as_lines(found: list[Ranking]) -> str:
    """The rankings for people, their assumptions in a line."""
    lines = ["is a printed difference more than chance? The probability that the printed order is a fluke"]
    for assumptions in dict.fromkeys(each.assumptions for each in found):
        lines.append(f"  assumes {assumptions}")
        lines += [
            f"    {each.fluke:.3f}  {each.column}: {each.better} over {each.worse} by {each.difference:.4f} "
            f"(standard error {each.standard_error:.4f})"
            for each in found
            if each.assumptions == assumptions
        ]
    return "\n".join(lines)
