"""Masks of two classes in which foreground and background are exchanged, in some of a set or in all of it.

Objects lie in a picture and leave most of its rim free; the foreground of an inverted mask surrounds the background. On
Kvasir-SEG and the photographs of people, foreground takes at most 0.33 of a picture's rim (0.01 of the pictures: 0.13).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from segstudy.data import proposals
from segstudy.data.core import Dataset
from segstudy.data.quality.faults import Fault
from segstudy.errors import listing

if TYPE_CHECKING:
    from segstudy.data.quality.card import Seen

SURROUNDING, FREE = 0.8, 0.35  # share of the rim that is foreground: from which it surrounds, up to which it does not
MIN_USUAL, MIN_SHARE = 6, 0.8  # masks that agree with each other, and share of all that speak
MIN_EACH = 3  # masks of either kind, where both are many
NUM_NAMED = 10


class Surround(NamedTuple):
    """A mask of two classes: its name, pixels of the first and of the second, and the share of its rim that is the second."""

    name: str
    ground: int
    drawn: int
    rim: float


def opposite_polarity(dataset: Dataset, seen: Sequence[Seen]) -> list[Fault]:
    """A warning of masks whose foreground surrounds their background, where that of the others does not, or of all masks.

    Masks that show one class alone say nothing.
    """
    if len(dataset.classes) != 2:
        return []
    masks = [
        Surround(each.sample.mask.name, each.pixels.get(0, 0), each.pixels.get(1, 0), each.rim)
        for each in seen
        if each.rim is not None
    ]
    text, some = opposite_masks(dataset.classes, masks)
    if not text:
        return []
    first = next((each for each in seen if some and each.sample.mask.name == some[0]), None)
    if first is None:
        return [Fault("polarity", text, severity="warning")]
    return [Fault("polarity", text, first.sample.mask, first.split, first.sample.id, "warning")]


def opposite_masks(classes: Sequence[str], masks: Sequence[Surround], flags: bool = False) -> tuple[str, list[str]]:
    """What to say of such masks of a set, and the names of those that differ from the others; empty where there are none."""
    both = [mask for mask in masks if mask.ground and mask.drawn]
    around = [mask.name for mask in both if mask.rim >= SURROUNDING and mask.drawn > mask.ground]
    within = [mask.name for mask in both if mask.rim <= FREE]
    few, usual = sorted((around, within), key=len)
    enough = len(usual) >= MIN_USUAL or len(few) >= MIN_EACH
    if not around or not enough or len(few) + len(usual) < MIN_SHARE * len(both):
        return "", []
    background, foreground = classes
    if usual is within:
        text = (
            f"{len(around)} of {len(both)} masks are {foreground} all round and {background} within, the others the reverse: "
            f"{listing(around, NUM_NAMED)}; look at them, and invert those that are wrong"
        )
        return text, around
    text = f"{len(around)} of {len(both)} masks are {foreground} all round and {background} within"
    if within:
        text += f", and these the reverse: {listing(within, NUM_NAMED)}"
    line = proposals.option("values", {255: background, 0: foreground}, flags)
    return (
        f"{text}; if white is the ground, write {line} (1 in place of 255, where masks hold it) or invert the masks",
        [],
    )
