"""Failures that a mean hides: images that a network misses outright, and seeds whose training failed.

Array letters: ``n`` image, ``c`` class.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from segstudy.arrays import Counts, Values
from segstudy.counts.boundaries import SURFACE_COUNTS
from segstudy.measures import Measure, iou, merge, support
from segstudy.stats.resampling import Networks
from segstudy.stats.unseen import failure_share, median, split_seeds, trimmed_mean, unseen_failures

FAILED_BELOW = 0.1  # fixed, so that nobody can choose it after seeing the results
RULE = f"mean IoU of its classes below {FAILED_BELOW:g}, without the most frequent class"


@dataclass(frozen=True)
class Failures:
    """The number of failed images (or groups), of all, and the upper bound on the true share (one-sided, 95 %)."""

    failed: int
    number: int
    at_most: float
    groups: bool = False

    @property
    def words(self) -> str:
        """The same in words.

        >>> Failures(0, 100, 0.03).words
        '0 of 100 images failed; up to 3.0 % of such images may fail (95 %)'
        """
        unit = "groups" if self.groups else "images"
        return f"{self.failed} of {self.number} {unit} failed; up to {100 * self.at_most:.1f} % of such {unit} may fail (95 %)"


def failures(networks: Sequence[Counts], groups: Sequence[str] | None = None) -> Failures | None:
    """Images that at least one of the networks fails on; None if no image holds a class that could be missed.

    An image has failed if its mean IoU over the classes that it holds is below 0.1, without the class that is the most
    frequent one of the whole set: finding the background is not a success. A group has failed if any of its images has.

    Parameters
    ----------
    networks
        Confusion matrices (n, c, c), one array per network, all on the same images.
    groups
        n labels; images of one label are one unit.

    """
    common = int(support(merge(networks[0])).argmax())
    values = np.array([_image_values(confusion, common) for confusion in networks])
    known = np.array([not bool(np.isnan(column).all()) for column in values.T])
    failed = np.array([bool((column < FAILED_BELOW).any()) for column in values.T])
    if groups is None:
        failed = failed[known]
    else:
        labels = np.asarray(groups)
        failed = np.array([failed[labels == label].any() for label in dict.fromkeys(labels[known].tolist())])
    if not len(failed):
        return None
    number, count = len(failed), int(failed.sum())
    return Failures(count, number, unseen_failures(number, count), groups is not None)


def _image_values(confusion: Counts, common: int) -> Values:
    """Mean IoU (n,) of the classes that each image holds, without the class ``common``; NaN if it holds no other."""
    kept = support(confusion) > 0
    kept[:, common] = False
    number = kept.sum(axis=1)
    total = np.where(kept, np.nan_to_num(iou(confusion)), 0.0).sum(axis=1)
    values: Values = np.divide(total, number, out=np.full(len(confusion), np.nan), where=number > 0)
    return values


def two_kinds(name: str, label: str, values: Sequence[float] | Values) -> tuple[str, ...]:
    """Say so if the values of the seeds of ``name`` fall into two kinds, as they do if some trainings fail."""
    known = np.asarray(values, np.float64)
    if np.isnan(known).any():
        return ()
    found = split_seeds(known.tolist())
    if not found.split:
        return ()
    share = failure_share(known, float(np.sort(known)[found.below]))
    return (
        f"{name}: its seeds fall into two kinds ({found.below} low, {found.above} high in {label}), as if some trainings "
        f"failed; do not trust the interval: report the share of trainings that fail ({found.below} of {len(known)}, "
        f"{share.low:.2f} to {share.high:.2f} with 95 %), or train more seeds",
    )


def typical_images(measure: Measure, counts: Counts) -> dict[str, float]:
    """Typical scores of images: median and 10 % trimmed mean, with 95 % intervals; NaN where there is none.

    Both hide failures by design. Keys are ``median``, ``median_low``, ``median_high`` and the same of ``trimmed``.
    """
    values = np.asarray(measure.function(counts), np.float64)
    if np.isnan(values).all():
        return {}
    found = {"median": median(values), "trimmed": trimmed_mean(values)}
    return {
        key: number
        for name, robust in found.items()
        for key, number in ((name, robust.value), (f"{name}_low", robust.low), (f"{name}_high", robust.high))
    }


def withheld(measure: Measure, ours: Networks, theirs: Networks, value: float, label: int | None = None) -> str:
    """Why a difference has no interval: the measure's never do, or the side with the smaller distances leaves out more.

    Empty where it has one. A distance is undefined where a mask has no pixel of the class, so a network that misses whole
    objects is measured on the easier ones. ``value`` is ours minus theirs; ``label`` is one class, None all of them.
    """
    if measure.difference_withheld or measure.counts != "surface" or measure.unit != "px":
        return measure.difference_withheld
    at = SURFACE_COUNTS.index("images")
    images = [np.mean([counts[..., at].sum(axis=0) for counts in side.values()], axis=0) for side in (ours, theirs)]
    less = float((images[1] - images[0]).sum() if label is None else images[1][label] - images[0][label])
    if not value * less < 0:
        return ""
    return (
        f"the side with the smaller distance leaves out {abs(less):g} more of them, where it misses a class altogether, so that "
        "it is not shown to be better; compare missed objects, or surface Dice"
    )
