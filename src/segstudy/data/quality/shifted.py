"""Masks that fit other images, or their own once turned: whole sets that are shifted, in any order, mirrored or transposed.

An outline in a mask lies where the image changes. Each image keeps how strong its changes are, by rank, and each mask where its
outlines are, both at 64 x 64 pixels. The agreement of an image and a mask is the mean rank of the image's changes along the
mask's outlines, 0.5 by chance. On Kvasir-SEG, CamVid and Supervisely Person, it is 0.69 to 0.82 for the right pairs and at most
0.63 for others.

Array letters: ``h`` height, ``w`` width, ``n`` image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Labels
from segstudy.data.quality.duplicates import shrunk
from segstudy.data.quality.faults import Fault

SIDE_PX = 64
MIN_OUTLINE_PX = 8  # of a mask that can be judged
SHIFTS = (1, -1, 2, -2, 3, -3)
MIN_IMAGES, MIN_T, MIN_GAIN = 10, 5.0, 0.02  # from which a shift is said: images, t statistic, difference in agreement
MIN_ALL, MAX_T = 8, 1.0  # images, and t statistic up to which masks fit their own images no better than others
SURE, SURE_T = 20, 1.65  # the same of sets that are large enough to be sure
MANY, MIN_SPREAD = 40, 3.0  # fewer images must differ that many times as much in how masks fit them as noise does
MAX_ALL = 400  # images that are compared with each other
# Images, t statistic, and agreement from which masks fit once they are turned.
MIN_TURNED, TURNED_T, MIN_FIT = 8, 4.0, 0.6
TURNS: dict[str, Callable[[NDArray[np.bool_]], NDArray[np.bool_]]] = {  # of outlines (n, h, w)
    "mirrored left to right": lambda outlines: outlines[:, :, ::-1],
    "flipped upside down": lambda outlines: outlines[:, ::-1],
    "turned by 180 degrees": lambda outlines: outlines[:, ::-1, ::-1],
    "transposed (rows and columns exchanged)": lambda outlines: outlines.transpose(0, 2, 1),
    "turned by 90 degrees clockwise": lambda outlines: outlines[:, ::-1].transpose(0, 2, 1),
    "turned by 90 degrees anticlockwise": lambda outlines: outlines.transpose(0, 2, 1)[:, ::-1],
    "transposed and turned by 180 degrees": lambda outlines: outlines[:, ::-1, ::-1].transpose(0, 2, 1),
}

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Outlines:
    """What is kept of a sample: ranks (64, 64) of its image's changes as ``uint8``, and its mask's outlines, packed bits.

    ``small`` says that a side is shorter than that.
    """

    ranks: Pixels
    outline: Pixels
    small: bool = False


def outlines_of(small_rgb: Pixels, labels: Labels) -> Outlines:
    """What is needed to compare a sample with others.

    Parameters
    ----------
    small_rgb
        The image (h, w, 3), of any size.
    labels
        Labels (h, w), of any size.

    """
    small = cv2.resize(shrunk(small_rgb, SIDE_PX), (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_LINEAR)
    smooth = cv2.GaussianBlur(small, (0, 0), 0.7).astype(np.float32)
    across, down = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    red, green, blue = cv2.split(cv2.magnitude(across, down))
    change = cv2.max(cv2.max(red, green), blue).ravel()  # up to 1,443; NumPy's max over an axis of three is slow
    amounts = (8 * change).astype(np.uint16)
    counts = np.bincount(amounts)
    middles = np.cumsum(counts) - counts / 2  # of equal changes the mean rank, wherever they lie
    ranks = (middles * (255 / change.size)).astype(np.uint8)[amounts]
    return Outlines(ranks.reshape(SIDE_PX, SIDE_PX), np.packbits(_outline(labels)), min(labels.shape) < SIDE_PX)


def _outline(labels: Labels) -> NDArray[np.bool_]:
    """Pixels next to another label, but for the picture's rim."""
    small = cv2.resize(labels, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST)
    outline = np.zeros(small.shape, bool)
    right, below = small[:, 1:] != small[:, :-1], small[1:] != small[:-1]
    outline[:, 1:] |= right
    outline[:, :-1] |= right
    outline[1:] |= below
    outline[:-1] |= below
    outline[[0, -1]] = outline[:, [0, -1]] = False
    return outline


def shifted_masks(samples: Sequence[tuple[str, Outlines]]) -> list[Fault]:
    """A fault where masks fit other images, or their own once turned, clearly better than as they are, or no better than others.

    Samples are given by id, in any order. ``bench/pairs.py`` measures how often something is said of right pairs, and what of
    wrong ones is found, on subsets of three real sets.
    """
    ids = [name for name, _ in samples]
    if len(ids) < MIN_ALL:
        return []
    ranks = np.stack([each.ranks for _, each in samples]).reshape(len(ids), -1)
    outlines = np.stack([np.unpackbits(each.outline) for _, each in samples]).astype(bool)
    judged = outlines.sum(axis=1) >= MIN_OUTLINE_PX
    own = _agreement(ranks, outlines)
    if shifted := _shifted_in_order(ids, ranks, outlines, judged, own):
        return shifted
    large = np.flatnonzero(judged & ~np.array([each.small for _, each in samples]))
    _, first = np.unique(np.packbits(outlines[large], axis=1), axis=0, return_index=True)
    chosen = large[np.sort(first)]  # equal masks count once, as they fit alike
    return _turned(ranks[chosen], outlines[chosen], own[chosen]) or _unrelated(ranks[chosen], outlines[chosen])


def _shifted_in_order(
    ids: Sequence[str],
    ranks: Pixels,
    outlines: NDArray[np.bool_],
    judged: NDArray[np.bool_],
    own: NDArray[np.float64],
) -> list[Fault]:
    """A fault where masks fit the images before or after their own."""
    for order in (
        sorted(range(len(ids)), key=ids.__getitem__),
        sorted(range(len(ids)), key=lambda k: _natural(ids[k])),
    ):
        for shift in SHIFTS:
            here, there = np.array(order[max(-shift, 0) : len(order) - max(shift, 0)]), np.roll(order, -shift)
            there = there[max(-shift, 0) : len(order) - max(shift, 0)]
            both = judged[here] & judged[there]
            here, there = here[both], there[both]
            gain = _agreement(ranks[here], outlines[there]) - own[here]
            if len(gain) >= MIN_IMAGES and gain.mean() > MIN_GAIN and _t(gain) > MIN_T:
                return [_shift_fault(shift, ids[int(here[0])], ids[int(there[0])], own[here], gain)]
    return []


def _turned(ranks: Pixels, outlines: NDArray[np.bool_], own: NDArray[np.float64]) -> list[Fault]:
    """A fault where masks fit their own images better once they are mirrored, turned or transposed."""
    if len(own) < MIN_TURNED:
        return []
    squares = outlines.reshape(-1, SIDE_PX, SIDE_PX)
    gains = {how: _agreement(ranks, turn(squares).reshape(len(own), -1)) - own for how, turn in TURNS.items()}
    how, gain = max(gains.items(), key=lambda item: float(item[1].mean()))
    if gain.mean() <= MIN_GAIN or _t(gain) <= TURNED_T or own.mean() + gain.mean() < MIN_FIT:
        return []
    text = (
        f"masks fit their images once they are {how}: edges agree by {own.mean() + gain.mean():.2f} against {own.mean():.2f} as "
        f"they are, of {len(own)} images (0.50 is chance)"
    )
    return [Fault("turned", f"{text}; turn the masks, or declare how they are stored (rle-csv: order)")]


def _unrelated(ranks: Pixels, outlines: NDArray[np.bool_]) -> list[Fault]:
    """A warning where masks fit their own images no better than those of others."""
    step = -(-len(ranks) // MAX_ALL) if len(ranks) else 1
    ranks, outlines = ranks[::step], outlines[::step]
    if len(ranks) < MIN_ALL:
        return []
    marked = outlines.astype(np.float32)
    each = ranks.astype(np.float32) @ marked.T / marked.sum(axis=1) / 255  # of each image (row) and each mask (column)
    own = np.diagonal(each).astype(np.float64)
    if len(own) < MANY and _spread(each, marked) < MIN_SPREAD:
        return []  # of pictures of noise, or without edges, no mask fits one better than another
    gain = own - each.mean(axis=0) - each.mean(axis=1) + each.mean()  # some images and masks agree with all others
    return [_unrelated_fault(own)] if _t(gain) < (SURE_T if len(own) >= SURE else MAX_T) else []


def _spread(each: NDArray[np.float32], outlines: NDArray[np.float32]) -> float:
    """How much agreements of images (rows) with masks (columns) differ from chance, as a multiple of what noise would do."""
    noise = 1 / 12 / outlines.sum(axis=1)  # the variance of the mean of that many ranks
    return float(np.median(((each - 0.5) ** 2 / noise)[~np.eye(len(each), dtype=bool)]))


def _agreement(ranks: Pixels, outlines: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean rank, from 0 to 1, of the changes of each image along the outlines of a mask."""
    total = (ranks * outlines).sum(axis=1, dtype=np.int64)
    return np.asarray(total / np.maximum(outlines.sum(axis=1), 1) / 255)


def _t(gain: NDArray[np.float64]) -> float:
    spread = float(gain.std(ddof=1))
    return float(gain.mean()) / max(spread, 1e-9) * math.sqrt(len(gain))


def _natural(name: str) -> list[tuple[int, str]]:
    """A key by which ``2`` comes before ``10``."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def _shift_fault(shift: int, image: str, mask: str, own: NDArray[np.float64], gain: NDArray[np.float64]) -> Fault:
    by = f"{abs(shift)} {'image' if abs(shift) == 1 else 'images'}"
    text = (
        f"masks are shifted by {by} against the images' order: the edges of '{image}' agree with the mask of '{mask}', and so on "
        f"({own.mean() + gain.mean():.2f} against {own.mean():.2f} with their own masks, of {len(gain)} images; 0.50 is chance)"
    )
    return Fault("shifted", f"{text}; pair them again")


def _unrelated_fault(own: NDArray[np.float64]) -> Fault:
    text = (
        f"the edges of images agree no better with their own masks than with those of others ({own.mean():.2f}, of {len(own)} "
        "images; 0.50 is chance)"
    )
    return Fault(
        "shifted", f"{text}; look at the contact sheet, each image may have the mask of another", severity="warning"
    )
