"""Masks that fit the images next to their own better: a whole set whose pairs are shifted by one against each other.

An outline in a mask lies where the image changes. Each image keeps how strong its changes are, by rank, and each mask where its
outlines are, both at 64 x 64 pixels. The agreement of an image and a mask is the mean rank of the image's changes along the
mask's outlines, 0.5 by chance. On Kvasir-SEG, CamVid and Supervisely Person, it is 0.69 to 0.82 for the right pairs and at most
0.63 for others.

Array letters: ``h`` height, ``w`` width, ``n`` image.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
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
MIN_ALL, MAX_T = 40, 1.0  # images, and t statistic up to which masks fit their own images no better than others

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Outlines:
    """What is kept of a sample: ranks (64, 64) of its image's changes as ``uint8``, and its mask's outlines, packed bits."""

    ranks: Pixels
    outline: Pixels


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
    ranks = np.empty(change.size, np.uint8)
    ranks[np.argsort((32 * change).astype(np.uint16), kind="stable")] = np.arange(change.size) * 256 // change.size
    return Outlines(ranks.reshape(SIDE_PX, SIDE_PX), np.packbits(_outline(labels)))


def _outline(labels: Labels) -> NDArray[np.bool_]:
    """Pixels beside another label, but for the picture's rim."""
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
    """A fault where masks fit other images clearly better than their own, or no better; of samples by id, in any order."""
    ids = [name for name, _ in samples]
    if len(ids) < MIN_IMAGES:
        return []
    ranks = np.stack([each.ranks for _, each in samples]).reshape(len(ids), -1)
    outlines = np.stack([np.unpackbits(each.outline) for _, each in samples]).astype(bool)
    judged = outlines.sum(axis=1) >= MIN_OUTLINE_PX
    own = _agreement(ranks, outlines)
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
    others = np.flatnonzero(judged)
    if len(others) < MIN_ALL:
        return []
    gain = own[others] - _agreement(ranks[others], outlines[np.roll(others, len(others) // 2)])
    return [_unrelated_fault(own[others])] if _t(gain) < MAX_T else []


def _agreement(ranks: Pixels, outlines: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Mean rank, from 0 to 1, of the changes of each image along the outlines of a mask."""
    total = np.where(outlines, ranks, 0).sum(axis=1, dtype=np.int64)
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
    return Fault("shifted", f"{text}; pair them anew")


def _unrelated_fault(own: NDArray[np.float64]) -> Fault:
    text = (
        f"the edges of images agree no better with their own masks than with those of others ({own.mean():.2f}, of {len(own)} "
        "images; 0.50 is chance)"
    )
    return Fault(
        "shifted", f"{text}; look at the contact sheet, each image may have the mask of another", severity="warning"
    )
