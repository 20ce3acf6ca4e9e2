"""Proof that an exported network is the one that was scored: the reported split once more, pixel by pixel.

Array letters: ``n`` image, ``c`` class, ``h`` height, ``w`` width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from segstudy.counts.countset import TRUTH, CountSet
from segstudy.data.cache.arrays import CachedSplit
from segstudy.errors import SegstudyError, listing
from segstudy.evaluate import Resolution, count_split, images_of
from segstudy.measures import mean_iou, merge
from segstudy.networks.decision import Decision
from segstudy.networks.export import Sizes
from segstudy.progress import Progress
from segstudy.sizes import Size, height_width

MOST_PIXELS = 0.001  # share of pixels whose class may differ
MOST_LOGITS = 0.01  # largest difference of a logit that may be, as a share of the largest logit
OTHER_PX = (16, 40)  # added to height and width: another size, of another shape, that is not a multiple of 32
CPU = torch.device("cpu")


class DiffersError(SegstudyError):
    """An exported network does not give what the network gives that was scored."""


@dataclass(frozen=True)
class Pass:
    """An exported network against the network in PyTorch, float32, on one set of images at one size."""

    size: str
    images: int
    pixels: int
    differing: int
    logits: float  # the largest difference of a logit, as a share of the largest logit

    def check(self) -> None:
        """Raise :class:`DiffersError` if the two differ by more than rounding explains."""
        if self.differing > MOST_PIXELS * self.pixels or not self.logits <= MOST_LOGITS:
            raise DiffersError(
                f"gives other outputs than the network in PyTorch: at {self.size}, {self.differing:,} of {self.pixels:,} pixels "
                f"({self.differing / self.pixels:.2%}) have another class (at most {MOST_PIXELS:.1%} may), and logits differ by "
                f"up to {self.logits:.2%} of the largest (at most {MOST_LOGITS:.0%} may)"
            )


@dataclass(frozen=True)
class Stored:
    """An exported network against the masks and counts that the run's scores come from, at the reported resolution.

    ``reasons`` are what besides the export may make the two differ; ``counts`` are the kinds of counts that do differ.
    """

    images: int
    pixels: int
    differing: int
    counts: tuple[str, ...]
    miou: float
    stored_miou: float
    reasons: tuple[str, ...]

    @property
    def words(self) -> str:
        """Which counts are equal."""
        if set(self.counts) <= {"calibration"}:
            rounded = ", but bins of confidence, which rest on the last digits of probabilities" if self.counts else ""
            return f"all counts are equal{rounded}"
        return f"counts that differ: {listing(self.counts, 12)}"

    def check(self) -> None:
        """Raise :class:`DiffersError` if more pixels differ than may, and nothing is known that explains it."""
        if self.differing > MOST_PIXELS * self.pixels and not self.reasons:
            raise DiffersError(
                f"{self.differing:,} of {self.pixels:,} pixels ({self.differing / self.pixels:.2%}) have another class than in "
                f"the masks that the run was scored with (at most {MOST_PIXELS:.1%} may); see whether the run itself still "
                "gives its scores, with: segstudy verify OUT --rescore STUDY"
            )


@dataclass(frozen=True)
class Proven:
    """The exported files and their proof; ``notes`` say which more general files were not possible, and why."""

    sizes: Sizes
    passes: tuple[Pass, ...]
    stored: Stored
    notes: tuple[str, ...] = ()

    def check_passes(self) -> None:
        """Raise :class:`DiffersError` if the file does not give what the network in PyTorch gives."""
        for each in self.passes:
            each.check()

    def check(self) -> None:
        """The same, and also if it does not give what was scored."""
        self.check_passes()
        self.stored.check()


class Watched(nn.Module):
    """Gives the logits of one network, and notes on the way how they differ from those of another."""

    any_size = True

    def __init__(self, exported: nn.Module, network: nn.Module) -> None:
        super().__init__()
        self.exported, self.network = exported, network
        self.images = self.pixels = self.differing = 0
        self.gap = self.largest = 0.0
        self.sizes: dict[str, None] = {}

    def forward(self, images: Tensor) -> Tensor:
        """Logits (n, c, h, w) of normalised images (n, 3, h, w)."""
        with torch.inference_mode():
            ours: Tensor = self.network(images)
            theirs: Tensor = self.exported(images)
        if ours.shape != theirs.shape:
            raise DiffersError(f"gives logits of shape {tuple(theirs.shape)}; they must be {tuple(ours.shape)}")
        self.images += len(images)
        self.pixels += ours[:, 0].numel()
        self.differing += int((ours.argmax(dim=1) != theirs.argmax(dim=1)).sum())
        gap = float((ours - theirs).abs().max())
        self.gap = max(self.gap, gap) if gap == gap else float("inf")
        self.largest = max(self.largest, float(ours.abs().max()))
        self.sizes[f"{images.shape[2]} x {images.shape[3]}"] = None
        return theirs

    @property
    def seen(self) -> Pass:
        """The notes so far."""
        share = self.gap / self.largest if self.largest else self.gap
        return Pass(listing(self.sizes, 3), self.images, self.pixels, self.differing, share)


def at_another_size(exported: nn.Module, network: nn.Module, data: CachedSplit, side: Size) -> Pass:
    """Compare the two on all images of a split, resized to another size and shape than ``side``."""
    watched = Watched(exported, network)
    height, width = height_width(side)
    size = (height + OTHER_PX[0], width + OTHER_PX[1])
    for images in images_of(data, CPU)():
        watched(F.interpolate(images, size, mode="bilinear", align_corners=False))
        watched.seen.check()  # a file that is wrong at this size is so at once
    return watched.seen


def at_training_size(
    exported: nn.Module,
    network: nn.Module,
    data: CachedSplit,
    resolution: Resolution,
    scored: CountSet,
    decision: Decision,
    masks: Path,
    reasons: Sequence[str],
    scratch: Path,
    progress: Progress,
) -> tuple[Pass, Stored]:
    """Score a split once more with an exported network, as the run was scored.

    Parameters
    ----------
    exported, network
        The exported network, and the run's own in PyTorch.
    data
        The reported split.
    resolution
        Where it is scored.
    scored
        The run's counts.
    decision
        How logits become classes.
    masks
        Folder of the masks that the run predicted.
    reasons
        What besides the export may make counts differ, in words.
    scratch
        Folder for the masks that the exported network predicts.
    progress
        Moved on by the number of images.

    """
    watched = Watched(exported, network)
    counts = count_split(
        watched, data, CPU, resolution, scored.rules, predictions=scratch, progress=progress, decision=decision
    )
    pixels = differing = 0
    for sample in data.samples:
        ours, theirs = (_labels(folder / f"{sample.id}.png") for folder in (scratch, masks))
        pixels += ours.size
        differing += ours.size if ours.shape != theirs.shape else int((ours != theirs).sum())
    known = {**scored.counts, **({} if scored.truth is None else {TRUTH: scored.truth})}
    other = tuple(name for name, array in counts.items() if name in known and not np.array_equal(known[name], array))
    found, before = (_miou(each) for each in (counts["confusion"], scored.confusion))
    stored = Stored(len(data), pixels, differing, other, found, before, tuple(reasons))
    return watched.seen, stored


def _labels(path: Path) -> Any:
    try:
        with Image.open(path) as image:
            return np.asarray(image)
    except OSError as error:
        raise DiffersError(
            f"{path}: a mask that the run predicted cannot be read ({error}); bring it back, or delete the run's evaluations "
            "and call segstudy run, which scores it again"
        ) from None


def _miou(confusion: Any) -> float:
    return float(mean_iou(merge(confusion)))
