"""Whether a printed difference is more than chance: how likely the opposite order is, given images, seeds and deviations.

A score is a mean over n images and S seeds. Between two rows, tested on the same images, the mean difference has

    se^2 = 2 sd^2 (1 - r) / n + 2 seed_sd^2 / S,

with ``sd`` the deviation of one image's score, ``r`` its correlation between two networks and ``seed_sd`` the deviation of
a whole score from training to training. The ranking is a fluke with probability Phi(-|d| / se), where nothing was known of
the order before. The first of k rows is the best with the probability that its score exceeds all others', each being
normal around what is printed with the deviation se / sqrt(2) that rows do not share.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

from segstudy.auditing.claims import Claim, Claims
from segstudy.errors import SpecError


class Noise(NamedTuple):
    """Assumptions about scores: deviation over images, its correlation between networks, deviation over seeds."""

    sd: float
    correlation: float
    seed_sd: float


# What is assumed where nothing is given: quiet, typical and noisy scores. Typical are trainings on one dataset, Kvasir-SEG
# (docs/results.md; python bench/noise.py): the largest deviation of an image that was found (0.18, 0.18, 0.13), the lowest
# correlation (0.49; alike networks have 0.92), and the deviation over seeds of pretrained networks (0.0036, 0.0047, 0.0017;
# without pretraining mIoU had 0.011 and 0.024). Quiet and noisy span what other data may have; nothing was fitted to them.
DICE = Noise(0.10, 0.9, 0.002), Noise(0.20, 0.5, 0.004), Noise(0.30, 0.3, 0.02)
IOU = Noise(0.10, 0.9, 0.002), Noise(0.20, 0.5, 0.005), Noise(0.30, 0.3, 0.02)
ACCURACY = Noise(0.06, 0.9, 0.001), Noise(0.13, 0.5, 0.002), Noise(0.20, 0.3, 0.01)
ASSUMED = {
    **dict.fromkeys(("dice", "f1", "mdice", "mf1"), DICE),
    **dict.fromkeys(("iou", "miou"), IOU),
    **dict.fromkeys(("pixel_accuracy", "accuracy", "mean_class_accuracy", "class_accuracy"), ACCURACY),
}
GRID = 4001  # points of the integral over the best row's true score; its error is then below 1e-6


@dataclass(frozen=True)
class Sampling:
    """The basis of printed scores; deviations as given, None where they are assumed."""

    num_images: int
    num_seeds: int = 1
    sd: float | None = None
    seed_sd: float | None = None
    correlation: float | None = None

    def __post_init__(self) -> None:
        if self.num_images < 1 or self.num_seeds < 1:
            raise SpecError(f"--images {self.num_images} --seeds {self.num_seeds}: must be 1 or more")
        for option, value, low, high in (
            ("--sd", self.sd, 0.0, 0.5),
            ("--seed-sd", self.seed_sd, 0.0, 0.5),
            ("--correlation", self.correlation, -1.0, 0.999),
        ):
            if value is not None and not low <= value <= high:
                raise SpecError(f"{option} {value:g}: must be {low:g} to {high:g}, for scores as fractions of 1")
        if self.sd == 0 and self.seed_sd == 0:
            raise SpecError("--sd 0 --seed-sd 0: without any deviation every difference is sure; give one of the two")

    def noises(self, measure: str) -> tuple[Noise, ...]:
        """Deviations of a measure, quiet, typical and noisy; what is given is the same in all three."""
        given = (self.sd, self.correlation, self.seed_sd)
        return tuple(
            Noise(*(assumed if own is None else own for own, assumed in zip(given, each, strict=True)))
            for each in ASSUMED[measure]
        )

    def standard_errors(self, measure: str) -> tuple[float, ...]:
        """Of the difference of two scores, quiet, typical and noisy.

        >>> [round(error, 4) for error in Sampling(100).standard_errors("miou")]  # typical: se^2 = 0.0004 + 0.00005
        [0.0053, 0.0212, 0.0454]
        """
        return tuple(
            math.sqrt(
                2 * noise.sd**2 * (1 - noise.correlation) / self.num_images + 2 * noise.seed_sd**2 / self.num_seeds
            )
            for noise in self.noises(measure)
        )

    def words(self, measure: str) -> str:
        """The assumptions in a line."""
        seeds = f"{self.num_seeds} seed{'s' * (self.num_seeds > 1)}"
        names = ("deviation of an image's score", "correlation", "deviation over seeds")
        given = (self.sd, self.correlation, self.seed_sd)
        said = [
            f"{name} {typical:g} ({'given' if own is not None else f'assumed, {quiet:g} to {noisy:g}'})"
            for name, own, quiet, typical, noisy in zip(names, given, *self.noises(measure), strict=True)
        ]
        source = "; assumed values are typical of one dataset, Kvasir-SEG" if None in given else ""
        return f"{self.num_images} images, the same for all, {seeds}; {', '.join(said)}; scores as means over images{source}"


@dataclass(frozen=True)
class Ranking:
    """Two rows whose scores are neighbours in the order of a column, the better first.

    ``fluke`` is the probability that the true order is the opposite, for typical deviations; ``fluke_range`` for quiet and
    noisy ones. In the first pair of a column, ``not_best`` is the probability that any of the ``rows`` compared is truly
    better than the first; elsewhere it is None.
    """

    table: str
    column: str
    better: str
    worse: str
    difference: float
    standard_error: float
    fluke: float
    fluke_range: tuple[float, float]
    rows: int
    not_best: float | None
    not_best_range: tuple[float, float] | None
    assumptions: str


def fluke_probability(difference: float, standard_error: float) -> float:
    """The probability that the true order is the opposite of the printed one.

    >>> round(fluke_probability(0.01, 0.0212), 4)
    0.3186
    """
    return float(ndtr(-abs(difference) / standard_error))


def not_best_probability(scores: Sequence[float], standard_error: float) -> float:
    """The probability that the highest of several scores is not the truly highest, of which nothing was known before.

    >>> round(not_best_probability([0.81, 0.80], 0.0212), 4), round(not_best_probability([0.8, 0.8, 0.8], 0.02), 4)
    (0.3186, 0.6667)
    """
    spread = standard_error / math.sqrt(2)
    first, *rest = sorted(scores, reverse=True)
    z = np.linspace(-8, 8, GRID)
    density = np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
    below = np.prod([ndtr(z + (first - other) / spread) for other in rest], axis=0) * np.ones(GRID)
    return float(1 - np.trapezoid(density * below, z))


def rankings(claims: Claims, sampling: Sampling) -> Iterator[Ranking]:
    """Rows that follow each other in the order of a column, each pair with the probability that it is a fluke."""
    columns: dict[object, list[Claim]] = defaultdict(list)
    for claim in claims.scores:
        if claim.kind == "value" and claim.measure in ASSUMED:
            columns[claim.place.table, claim.place.column, claim.data, claim.subject.cls].append(claim)
    for column in columns.values():
        ordered = sorted(column, key=lambda claim: -claim.printed.low)
        errors = sampling.standard_errors(column[0].measure)
        not_best = [not_best_probability([float(claim.printed.low) for claim in ordered], error) for error in errors]
        for at, (one, other) in enumerate(pairwise(ordered)):
            difference = float(one.printed.low - other.printed.low)
            flukes = [fluke_probability(difference, error) for error in errors]
            yield Ranking(
                one.table,
                one.heading.text,
                one.row,
                other.row,
                difference,
                errors[1],
                flukes[1],
                (flukes[0], flukes[2]),
                len(ordered),
                None if at else not_best[1],
                None if at else (not_best[0], not_best[2]),
                sampling.words(one.measure),
            )


def as_lines(found: Sequence[Ranking]) -> str:
    """The rankings for people, their assumptions in a line."""
    lines = ["is a printed difference more than chance? The probability that the printed order is a fluke"]
    for assumptions in dict.fromkeys(each.assumptions for each in found):
        lines.append(f"  assumes {assumptions}")
        for each in found:
            if each.assumptions != assumptions:
                continue
            if each.not_best is not None and each.rows > 2:
                text = _probability(each.not_best, each.not_best_range)
                lines.append(f"    {text}  {each.column}: {each.better} is not the best of the {each.rows} rows")
            lines.append(
                f"    {_probability(each.fluke, each.fluke_range)}  {each.column}: {each.better} over {each.worse} by "
                f"{each.difference:.4f} (standard error {each.standard_error:.4f})"
            )
    return "\n".join(lines) if found else "no two rows have a Dice, IoU or accuracy that could be ranked"


def _probability(typical: float, ends: tuple[float, float] | None) -> str:
    """The probability for typical deviations, and for quiet and noisy ones where any deviation is assumed.

    >>> _probability(0.31, (0.02, 0.42)), _probability(0.31, (0.31, 0.31))
    ('0.310 (0.020 to 0.420)', '0.310')
    """
    if ends is None or ends[0] == ends[1]:
        return f"{typical:.3f}"
    return f"{typical:.3f} ({ends[0]:.3f} to {ends[1]:.3f})"
