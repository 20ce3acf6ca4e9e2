"""Class indices that were once saved as JPEG: their values are small, and many outlines begin at the corners of 8 x 8 blocks.

Array letters: ``h`` height, ``w`` width.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

BLOCK_PX, SIDE_PX = 8, 256  # of a block, and of the part of a mask that is looked at
CORNERS = (2, SIDE_PX // BLOCK_PX, SIDE_PX)  # axes, block borders across, and lines
# Places at borders of blocks, times those at any other line, and standard deviations above the mean of these.
MIN_PLACES, MIN_RATIO, MIN_T = 24, 1.3, 6.0
MIN_WITHIN = 0.05  # share of places within blocks; masks that were enlarged from one pixel a block have none
Corners = NDArray[np.uint8]


def block_corners(values: NDArray[np.uint8]) -> Corners:
    """Where straight pieces of outline begin level with a border of blocks, in the middle of a mask (h, w); packed bits.

    The rim of one pixel is left out, as programs draw frames there.
    """
    top, left = (max(side - SIDE_PX, 0) // 2 // BLOCK_PX * BLOCK_PX for side in values.shape)
    part = values[top : top + SIDE_PX, left : left + SIDE_PX][1:-1, 1:-1]
    places = np.zeros(CORNERS, bool)
    for axis, across in enumerate((part, part.T)):
        changes = across[:, 1:] != across[:, :-1]
        before, level = changes[BLOCK_PX - 2 :: BLOCK_PX], changes[BLOCK_PX - 1 :: BLOCK_PX]
        begins = level & ~before[: len(level)]
        places[axis, : begins.shape[0], 2 : 2 + begins.shape[1]] = begins
    return np.packbits(places)


def are_jpeg_blocks(masks: Iterable[Corners]) -> bool:
    """Whether pieces of outline lie at the borders of blocks in so many more places than within that the blocks are JPEG's.

    Places count once for a set, so that boxes of one layout are few. On CamVid, Kvasir-SEG and the photographs of people, borders
    have at most 1.0 times the places of any other line; of ellipses that were saved with qualities of 75 to 95, at least 1.4 times.
    """
    found = np.zeros(np.prod(CORNERS) // 8, np.uint8)
    for mask in masks:
        found |= mask
    lines = np.unpackbits(found).reshape(CORNERS).sum(axis=(0, 1), dtype=np.int64)
    total = lines.reshape(-1, BLOCK_PX).sum(axis=0)
    border, within = int(total[0]), total[1:]
    clear = border >= max(MIN_PLACES, MIN_RATIO * within.max()) and within.sum() >= MIN_WITHIN * total.sum()
    return bool(clear and border - within.mean() >= MIN_T * max(within.mean(), 1) ** 0.5)
