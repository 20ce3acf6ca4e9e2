"""The dataset card: what a dataset holds, in numbers, added up over one pass; memory does not grow with the images' size."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy.data.blocks import Corners
from segstudy.data.cache.batches import IMAGENET_MEAN, IMAGENET_STD
from segstudy.data.core import IGNORE, Dataset, Roles, Sample
from segstudy.data.quality.duplicates import DuplicatePair, ImagePrint
from segstudy.data.quality.inspect import SampleReport, has_background
from segstudy.data.quality.shifted import Outlines
from segstudy.data.splitting.splits import split_hash

NUM_CORNERS = 200  # samples of which corners are kept


@dataclass(frozen=True)
class Seen:
    """What is kept of a sound sample: its number of pixels by label, 255 included, a hash of its labels, outlines, what share of
    its rim is not background, the largest connected part of each label in pixels, and of the first samples where outlines begin.
    """

    split: str
    sample: Sample
    pixels: Mapping[int, int]
    digest: int = 0
    outlines: Outlines | None = None
    rim: float | None = None
    largest: Mapping[int, int] = field(default_factory=dict)
    corners: Corners | None = None

    @classmethod
    def of(cls, look: SampleReport) -> Seen | None:
        """What is kept of a look at a sample; None of one with errors."""
        if look.pixels is None:
            return None
        largest = {label: max(areas) for label, areas in (look.parts or {}).items()}
        return cls(look.split, look.sample, look.pixels, look.digest, look.outlines, look.rim, largest, look.corners)


class Tally:
    """Adds up what single samples show."""

    def __init__(self, dataset: Dataset, roles: Roles) -> None:
        self.dataset, self.roles = dataset, roles
        self.seen: list[Seen] = []
        self.prints: dict[str, ImagePrint] = {}
        self._sizes: Counter[tuple[int, int]] = Counter()
        self._modes: Counter[str] = Counter()
        self._pixels: dict[str, Counter[int]] = {split: Counter() for split in dataset.splits}
        self._images: dict[str, Counter[int]] = {split: Counter() for split in dataset.splits}
        self._parts: dict[int, Counter[int]] = {}
        self._channels: dict[str, tuple[int, NDArray[np.int64]]] = {}

    def add(self, look: SampleReport) -> None:
        """Count one sample in; one with errors is left out."""
        seen = Seen.of(look)
        if seen is None or look.pixels is None or look.parts is None or look.channels is None or look.print is None:
            return
        self.seen.append(seen if len(self.seen) < NUM_CORNERS else replace(seen, corners=None))
        self.prints[look.sample.id] = look.print
        self._sizes[look.size] += 1
        self._modes[look.mode] += 1
        self._pixels[look.split].update(look.pixels)
        self._images[look.split].update(look.pixels.keys())
        for label, areas in look.parts.items():
            self._parts.setdefault(label, Counter()).update(areas)
        number, sums = self._channels.get(look.split, (0, np.zeros((3, 2), np.int64)))
        self._channels[look.split] = (number + look.size[0] * look.size[1], sums + look.channels)

    def card(self, pairs: Sequence[DuplicatePair], num_divided: int) -> dict[str, Any]:
        """The dataset in numbers, as plain data for JSON, given its pairs of like images and how many groups are divided.

        Keys: ``dataset``; ``classes``; ``splits`` (name, images, sound images, groups, role in the study) with ``split_hash``;
        ``sizes``; ``modes``; ``frequencies`` (a row a class: pixels, share of all pixels, images, the same shares by split,
        the areas of its connected parts in pixels), ``ignored`` (pixels and their share); ``channels`` (mean and standard
        deviation of red, green and blue, from 0 to 1, over all pixels of each split, next to ImageNet's); ``repeats`` (pairs
        of ``same`` and ``near`` images, and how many of each stand in two splits); ``groups`` (number, divided ones);
        ``notes``.
        Numbers are of sound images only; of what there is none, ``None``.
        """
        return {
            "dataset": self.dataset.name,
            "classes": list(self.dataset.classes),
            "split_hash": split_hash(self.dataset),
            "splits": [self._split(name) for name in self.dataset.splits],
            "sizes": _sizes(self._sizes),
            "modes": dict(self._modes.most_common()),
            "frequencies": [self._frequencies(label) for label in range(len(self.dataset.classes))],
            "ignored": self._share(IGNORE, *self.dataset.splits),
            "channels": {split: _moments(*sums) for split, sums in self._channels.items()}
            | {"imagenet": {"mean": list(IMAGENET_MEAN), "std": list(IMAGENET_STD)}},
            "repeats": {kind: _repeats(pair for pair in pairs if pair.kind == kind) for kind in ("same", "near")},
            "groups": {
                "num": len({sample.group for sample in self.dataset.samples("all") if sample.group}),
                "divided": num_divided,
            },
            "notes": list(self.dataset.notes),
        }

    def _split(self, name: str) -> dict[str, Any]:
        samples = self.dataset.splits[name]
        roles = {"trains": self.roles.train, "chooses": self.roles.select, "is reported": self.roles.report}
        return {
            "split": name,
            "images": len(samples),
            "sound": sum(seen.split == name for seen in self.seen),
            "groups": len({sample.group for sample in samples if sample.group}),
            "roles": [role for role, split in roles.items() if split == name],
        }

    def _frequencies(self, label: int) -> dict[str, Any]:
        by_split = {split: self._share(label, split) for split in self.dataset.splits}
        parts = self._parts.get(label)
        objects = label > 0 or not has_background(self.dataset)
        return {
            "class": self.dataset.classes[label],
            "colour": list(self.dataset.palette[label]),
            **self._share(label, *self.dataset.splits),
            "splits": by_split,
            "parts": area_summary(parts or {}) if objects else None,
        }

    def _share(self, label: int, *splits: str) -> dict[str, Any]:
        """Pixels and images that have ``label``, and their shares of all in ``splits``."""
        pixels = sum(self._pixels[split][label] for split in splits)
        images = sum(self._images[split][label] for split in splits)
        all_pixels = sum(self._pixels[split].total() for split in splits)
        all_images = sum(seen.split in splits for seen in self.seen)
        return {
            "pixels": pixels,
            "pixel_share": pixels / all_pixels if all_pixels else None,
            "images": images,
            "image_share": images / all_images if all_images else None,
        }


def area_summary(areas: Mapping[int, int]) -> dict[str, Any]:
    """Number and quartiles of areas, given how many have each.

    Quartiles are interpolated as NumPy does by default.

    >>> area_summary({10: 3, 50: 2})
    {'num': 5, 'min': 10, 'q1': 10.0, 'median': 10.0, 'q3': 50.0, 'max': 50}
    """
    num = sum(areas.values())
    if num == 0:
        return {"num": 0, "min": None, "q1": None, "median": None, "q3": None, "max": None}
    values = sorted(areas)
    ends = np.cumsum([areas[value] for value in values])

    def quantile(share: float) -> float:
        place = share * (num - 1)
        low, high = (
            values[int(np.searchsorted(ends, at, side="right"))] for at in (math.floor(place), math.ceil(place))
        )
        return low + (place - math.floor(place)) * (high - low)

    return {
        "num": num,
        "min": values[0],
        "q1": quantile(0.25),
        "median": quantile(0.5),
        "q3": quantile(0.75),
        "max": values[-1],
    }


def _repeats(pairs: Iterable[DuplicatePair]) -> dict[str, int]:
    crossing = [pair.crosses for pair in pairs]
    return {"pairs": len(crossing), "across_splits": sum(crossing)}


def _sizes(sizes: Counter[tuple[int, int]]) -> dict[str, Any] | None:
    """Smallest, median and largest by area, as (width, height), and the most frequent with its number of images."""
    if not sizes:
        return None
    ordered = sorted(sizes.elements(), key=lambda size: (size[0] * size[1], size))
    frequent, number = max(sizes.items(), key=lambda item: (item[1], item[0]))
    return {
        "different": len(sizes),
        "min": list(ordered[0]),
        "median": list(ordered[(len(ordered) - 1) // 2]),
        "max": list(ordered[-1]),
        "most_frequent": list(frequent),
        "images_of_most_frequent": number,
    }


def _moments(number: int, sums: NDArray[np.int64]) -> dict[str, list[float]]:
    """Mean and standard deviation of each channel, from 0 to 1, of sums and sums of squares; exact but for the last rounding."""
    mean, std = [], []
    for total, squares in sums.tolist():
        mean.append(total / number / 255)
        std.append(math.sqrt(number * squares - total**2) / number / 255)
    return {"mean": mean, "std": std}


def ground_of(dataset: Dataset, seen: Sequence[Seen]) -> int:
    """The class that objects lie on: the background, or where there is none, the class of most pixels."""
    if has_background(dataset):
        return 0
    numbers = _numbers(seen)
    return max(range(len(dataset.classes)), key=lambda label: numbers[label])


def choose_for_sheet(seen: Sequence[Seen], ground: int, num_images: int) -> list[Seen]:
    """Choose images that show a dataset's breadth; a rule without chance, so that the same data give the same sheet.

    First, from the rarest class on, the image with the largest share of each class that those chosen before show less than
    a tenth as well. The other places go to images evenly spaced between the largest and the smallest share of
    ``ground``, and in this order all are returned.
    """
    numbers = _numbers(seen)
    chosen: list[Seen] = []
    for label in sorted(numbers.keys() - {IGNORE, ground}, key=lambda label: (numbers[label], label)):
        shares = [share_of(each, label) for each in seen]
        shown = max((share_of(each, label) for each in chosen), default=0.0)
        if len(chosen) < num_images and shown < max(shares) / 10:
            chosen.append(seen[int(np.argmax(shares))])

    def order(each: Seen) -> tuple[float, str]:
        return -share_of(each, ground), each.sample.id

    taken = {each.sample.id for each in chosen}
    rest = sorted((each for each in seen if each.sample.id not in taken), key=order)
    free = min(num_images - len(chosen), len(rest))
    chosen += [rest[place] for place in np.linspace(0, len(rest) - 1, free).round().astype(int).tolist()]
    return sorted(chosen, key=order)


def share_of(seen: Seen, label: int) -> float:
    """Share of an image's pixels that have ``label``."""
    return seen.pixels.get(label, 0) / sum(seen.pixels.values())


def _numbers(seen: Sequence[Seen]) -> Counter[int]:
    numbers: Counter[int] = Counter()
    for each in seen:
        numbers.update(each.pixels)
    return numbers
