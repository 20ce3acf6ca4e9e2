"""Masks of two classes in which foreground and background are exchanged, in some of a set or in all of it.

Objects lie in a picture and leave most of its rim free; the foreground of an inverted mask surrounds the background. On
Kvasir-SEG and the photographs of people, foreground takes at most 0.33 of a picture's rim (0.01 of the pictures: 0.13).
"""

from __future__ import annotations

from collections.abc import Sequence

from segstudy.data.core import Dataset
from segstudy.data.quality.card import Seen
from segstudy.data.quality.faults import Fault
from segstudy.errors import listing

SURROUNDING, FREE = 0.8, 0.35  # share of the rim that is foreground: from which it surrounds, up to which it does not
MIN_USUAL, MIN_SHARE = 6, 0.8  # masks that agree with each other, and share of all that speak
NUM_NAMED = 10


def opposite_polarity(dataset: Dataset, seen: Sequence[Seen]) -> list[Fault]:
    """A warning of masks whose foreground surrounds their background, where that of the others does not, or of all masks.

    Masks that show one class alone say nothing.
    """
    if len(dataset.classes) != 2:
        return []
    both = [each for each in seen if each.rim is not None and {0, 1} <= each.pixels.keys()]
    around = [each for each in both if (each.rim or 0) >= SURROUNDING and each.pixels[1] > each.pixels[0]]
    within = [each for each in both if (each.rim or 0) <= FREE]
    few, usual = sorted((around, within), key=len)
    if not around or len(usual) < MIN_USUAL or len(few) + len(usual) < MIN_SHARE * len(both):
        return []
    background, foreground = dataset.classes
    if usual is within:
        text = (
            f"{len(around)} of {len(both)} masks are {foreground} all round and {background} within, the others the reverse: "
            f"{listing((each.sample.mask.name for each in around), NUM_NAMED)}; look at them, and invert those that are wrong"
        )
        return [Fault("polarity", text, around[0].sample.mask, around[0].split, around[0].sample.id, "warning")]
    text = f"{len(around)} of {len(both)} masks are {foreground} all round and {background} within"
    if within:
        text += f", and these the reverse: {listing((each.sample.mask.name for each in within), NUM_NAMED)}"
    text += f"; if white is the ground, write values: {{0: {foreground}, 255: {background}}} or invert the masks"
    return [Fault("polarity", text, severity="warning")]
