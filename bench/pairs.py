"""How often `segstudy check` says that masks are of other images, or turned, of small sets: of right pairs and of wrong ones.

    SEGSTUDY_DATA=DIR python bench/pairs.py [--rounds 300] [--images 400]

Subsets of the three real sets are drawn at random. Each is judged as it is, with its masks in another order, and with all of
its masks mirrored.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from segstudy.data.core import load_pair
from segstudy.data.quality.duplicates import shrunk
from segstudy.data.quality.shifted import SIDE_PX, Outlines, outlines_of, shifted_masks
from segstudy.data.readers import READERS

SETS = {
    "Kvasir-SEG": ("kvasir", "kvasir-seg", {}),
    "CamVid": ("folder", "camvid", {"num_classes": 11, "ignore_values": [11]}),
    "people": ("supervisely", "person", {}),
}
SIZES = (8, 12, 16, 24, 40)
Pairs = list[tuple[str, Outlines]]


def outlines(name: str, most: int) -> Pairs:
    reader, place, options = SETS[name]
    one = READERS.find(reader)
    dataset = one.read(name, Path(os.environ["SEGSTUDY_DATA"]) / place, one.options(**options))
    samples = sorted(dataset.samples("all"))
    found = []
    for sample in samples[:: max(len(samples) // most, 1)]:
        image, labels = load_pair(dataset, sample)
        found.append((sample.id, outlines_of(shrunk(np.asarray(image)), labels)))
    return found


def mirrored(pairs: Pairs) -> Pairs:
    def turn(packed: np.ndarray) -> np.ndarray:
        return np.packbits(np.unpackbits(packed).reshape(SIDE_PX, SIDE_PX)[:, ::-1])

    return [(name, replace(each, outline=turn(each.outline))) for name, each in pairs]


def in_another_order(pairs: Pairs, rng: np.random.Generator) -> Pairs:
    order = rng.permutation(len(pairs))
    return [(name, replace(each, outline=pairs[k][1].outline)) for k, (name, each) in zip(order, pairs, strict=True)]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--images", type=int, default=400)
    given = parser.parse_args()
    print("set          images   said of right pairs   of masks in another order   of mirrored masks")
    for name in SETS:
        every, rng = outlines(name, given.images), np.random.default_rng(0)
        for size in SIZES:
            said = np.zeros(3)
            for _ in range(given.rounds):
                pairs = [every[k] for k in rng.choice(len(every), size, replace=False)]
                sets = (pairs, in_another_order(pairs, rng), mirrored(pairs))
                said += [bool(shifted_masks(each)) for each in sets]
            right, order, turned = said / given.rounds
            print(f"{name:12} {size:6} {right:21.4f} {order:27.2f} {turned:19.2f}", flush=True)


if __name__ == "__main__":
    main()
