"""Images that occur twice in a dataset, exactly or nearly, within a split and across splits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from segstudy.data.core import Dataset, Sample


@dataclass(frozen=True, eq=False)
class ImagePrint:
    """What is kept of an image to find its duplicates: a few kilobytes, whatever its size.

    ``content`` is a hash of the decoded pixels and the size; equal files have it equal, and so have different files of
    the same pixels.
    """

    content: str


@dataclass(frozen=True)
class Finding:
    """Two images of a dataset that are one, or nearly.

    ``kind`` is ``same`` for equal pixels, else ``near``. ``splits`` are those of ``first`` and ``second``.
    ``similarity`` is the correlation of the two after they were aligned, from -1 to 1; 1 for equal pixels.
    """

    kind: Literal["same", "near"]
    first: Sample
    second: Sample
    splits: tuple[str, str]
    similarity: float
    mirrored: bool = False

    @property
    def crosses(self) -> bool:
        """Whether the two stand in different splits, so that one part has seen the other's image."""
        return self.splits[0] != self.splits[1]


def fingerprint_image(rgb: NDArray[np.uint8]) -> ImagePrint:
    """What is needed to compare an image with others; made in parallel threads from images that are decoded anyway.

    Parameters
    ----------
    rgb
        ``uint8`` (h, w, 3), of any size.

    """
    raise NotImplementedError


def find_duplicates(dataset: Dataset, prints: Mapping[str, ImagePrint]) -> list[Finding]:
    """Find all pairs of images that are equal, or near duplicates, in the order of the dataset's samples.

    Parameters
    ----------
    dataset
        Gives the samples and their splits.
    prints
        By sample id; a sample without one (its image cannot be read, say) is left out.

    """
    raise NotImplementedError
