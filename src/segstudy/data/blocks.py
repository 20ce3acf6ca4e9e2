"""Class indices that were once saved as JPEG: their values are small, and change most at the borders of blocks of 8 x 8 pixels.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

BLOCK_PX, SIDE_PX = 8, 512  # of a block, and of the part of a mask that is looked at
MIN_RATIO, MIN_T = (
    1.2,
    4.5,
)  # outlines at borders for those at any other place, and standard deviations above the mean of these
MIN_WITHIN = 0.05  # share of outlines within blocks; masks that were enlarged from one pixel a block have none
Outlines = NDArray[np.int64]


def block_outlines(values: NDArray[np.uint8]) -> Outlines:
    """Straight pieces of outline (8) in the middle of a mask (h, w), by place in blocks of 8 x 8 pixels; the first are at borders.

    A piece counts once, however long: a box has four. The picture's rim, of one pixel, is left out.

    >>> block_outlines(np.repeat([[0] * 8 + [1, 1, 2, 2]], 5, axis=0).astype(np.uint8)).tolist()
    [1, 0, 1, 0, 0, 0, 0, 0]
    """
    top, left = (max(side - SIDE_PX, 0) // 2 // BLOCK_PX * BLOCK_PX for side in values.shape)
    part = values[top + 1 : top + SIDE_PX - 1, left + 1 : left + SIDE_PX - 1]
    part = part[: values.shape[0] - top - 2, : values.shape[1] - left - 2]
    found = np.zeros(BLOCK_PX, np.int64)
    for across in (part, part.T):
        changes = across[:, 1:] != across[:, :-1]
        begins = changes.copy()
        begins[1:] &= ~changes[:-1]
        number = np.count_nonzero(begins, axis=0)
        found += np.bincount(np.arange(2, len(number) + 2) % BLOCK_PX, number, BLOCK_PX).astype(np.int64)
    return found


def are_jpeg_blocks(masks: Iterable[Outlines]) -> bool:
    """Whether outlines lie at the borders of blocks so much more often than within that these are JPEG's.

    On CamVid, Kvasir-SEG and the photographs of people, there are at most 1.0 times as many at borders as at any other place; of
    indices of which some were saved with qualities of 75 to 98, at least 1.3 times.

    >>> are_jpeg_blocks([np.array([90, 20, 9, 21, 22, 20, 9, 18])]), are_jpeg_blocks([np.array([90, 0, 0, 0, 0, 0, 0, 0])])
    (True, False)
    """
    total = np.sum([*masks, np.zeros(BLOCK_PX, np.int64)], axis=0)
    border, within = int(total[0]), total[1:]
    clear = border - within.mean() >= MIN_T * max(within.mean(), 1) ** 0.5
    return bool(clear and border >= MIN_RATIO * within.max() and within.sum() >= MIN_WITHIN * total.sum())
