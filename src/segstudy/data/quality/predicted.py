"""Predicted masks that fit the true ones once they are inverted, turned or mirrored, as exports and programs for pictures do.

Array letters: ``h`` height, ``w`` width, ``n`` image.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segstudy import measures
from segstudy.arrays import Confusion, Counts, Labels
from segstudy.data.core import IGNORE
from segstudy.data.quality.polarity import Surround, opposite_masks
from segstudy.data.quality.shifted import TURNS
from segstudy.errors import listing

SIDE_PX = 64
FITS, RIMS = "fits", "rims"  # names of what is counted of a pair
# mIoU of an image once it is inverted, from which that is meant, and up to which as it is.
INVERTED, NOT_INVERTED = 0.5, 0.25
# The same of agreement, for some images of a set: of so many that are turned alike, or of one that agrees better.
TURNED, NOT_TURNED, MIN_SINGLE, SURELY_TURNED = 0.8, 0.5, 2, 0.9
RENUMBERED, MIN_MOVED = 0.9, 2  # share of a class's pixels that are predicted as one other; classes of which that is so
FEW, MIN_GAIN, MIN_GAIN_OF_FEW, MIN_T = 8, 0.1, 0.3, 4.0  # images; gain in agreement of a whole set, and t statistic
NUM_NAMED = 3


def pair_counts(truth: Labels, predicted: Labels) -> dict[str, Counts]:
    """What the doubts about a pair of masks rest on.

    ``fits`` (8, 2) are pixels that agree and that either mask draws, as they are and once the prediction is turned in each way;
    drawn is what is not of the truth's most frequent class. ``rims`` (2, 4) are of the true and the predicted mask the pixels at
    the rim that are not of class 0 and all that are scored, and the pixels of class 0 and of others.
    """
    return {
        FITS: _fits(truth, predicted),
        RIMS: np.array([_rim(truth), _rim(np.where(truth == IGNORE, IGNORE, predicted))]),
    }


def _fits(truth: Labels, predicted: Labels) -> Counts:
    small, other = (
        cv2.resize(each, (SIDE_PX, SIDE_PX), interpolation=cv2.INTER_NEAREST) for each in (truth, predicted)
    )
    counts = np.bincount(small.ravel(), minlength=256)
    usual = int(counts[:IGNORE].argmax())
    drawn, scored = (small != usual) & (small != IGNORE), small != IGNORE
    found = []
    for turned in (other[None], *(turn(other[None]) for turn in TURNS.values())):  # type: ignore[arg-type]
        either = (drawn | (turned[0] != usual)) & scored
        found.append((np.count_nonzero(either & (small == turned[0])), np.count_nonzero(either)))
    return np.array(found, np.int64)


def _rim(labels: Labels) -> tuple[int, int, int, int]:
    rim = np.concatenate([labels[0], labels[-1], labels[1:-1, 0], labels[1:-1, -1]])
    at_rim, ignored, ground = (int(np.count_nonzero(each)) for each in (rim != IGNORE, labels == IGNORE, labels == 0))
    return at_rim - int(np.count_nonzero(rim == 0)), at_rim, ground, labels.size - ignored - ground


def doubts_of_pairs(
    names: Sequence[str], classes: Sequence[str], confusion: Confusion, counts: Mapping[str, Counts]
) -> list[str]:
    """Sentences about predictions that cannot be meant as they are; ``counts`` are those of :func:`pair_counts` (n, ...)."""
    if len(classes) > 2:
        return [*_renumbered(classes, confusion.sum(axis=0)), *_turned(names, counts[FITS])]
    return _inverted(names, confusion) or [*_surrounding(names, classes, counts[RIMS]), *_turned(names, counts[FITS])]


def _renumbered(classes: Sequence[str], confusion: Confusion) -> list[str]:
    """Several classes that are each predicted as one other, as where predictions number them in another order."""
    seen = np.flatnonzero(confusion.any(axis=1))
    to = confusion[seen].argmax(axis=1)
    clear = confusion[seen, to] >= RENUMBERED * confusion[seen].sum(axis=1)
    moved = [
        (classes[true], classes[other]) for true, other in zip(seen[clear], to[clear], strict=True) if true != other
    ]
    if len(moved) < MIN_MOVED or len({other for _, other in moved}) < len(moved):
        return []
    pairs = listing((f"{true} as {other}" for true, other in moved), NUM_NAMED)
    return [
        f"{len(moved)} classes are each predicted as another one ({pairs}); see that both number the classes in one order"
    ]


def _inverted(names: Sequence[str], confusion: Confusion) -> list[str]:
    """Predictions of two classes that are the reverse of their true masks."""
    as_is, exchanged = measures.mean_iou(confusion), measures.mean_iou(confusion[:, :, ::-1])
    both = (confusion.sum(axis=1) > 0).all(axis=1) & (confusion.sum(axis=2) > 0).all(axis=1)
    wrong = np.flatnonzero(both & (exchanged >= INVERTED) & (as_is <= NOT_INVERTED))
    if not len(wrong):
        return []
    return [
        f"{len(wrong)} of {len(names)} predictions are the reverse of their true masks ({_named(names, wrong)}): their mIoU is "
        f"{as_is[wrong].mean():.2f}, and {exchanged[wrong].mean():.2f} once the two classes are exchanged; invert the predictions "
        "or the true masks"
    ]


def _surrounding(names: Sequence[str], classes: Sequence[str], rims: Counts) -> list[str]:
    """Whole sets, true or predicted, of which the foreground surrounds the background."""
    found: dict[str, str] = {}
    for place, what in enumerate(("true masks", "predictions")):
        rows = rims[:, place].tolist()
        masks = [
            Surround(name, ground, drawn, at_rim / all_at_rim)
            for name, (at_rim, all_at_rim, ground, drawn) in zip(names, rows, strict=True)
            if all_at_rim
        ]
        text, _ = opposite_masks(classes, masks, flags=True)
        found |= {text: f"{what}: {text}"} if text and text not in found else {}
    return list(found.values())


def _turned(names: Sequence[str], fits: Counts) -> list[str]:
    """Predictions that fit once they are turned or mirrored, all of them or some."""
    agreement = fits[..., 0] / np.maximum(fits[..., 1], 1)
    judged = np.flatnonzero(fits[..., 1].min(axis=1) > 0)
    if not len(judged):
        return []
    own, turned = agreement[judged, 0], agreement[judged, 1:]
    gains = turned - own[:, None]
    best = int(gains.mean(axis=0).argmax())
    gain, how = gains[:, best], list(TURNS)
    clear = (
        gain.mean() > MIN_T * gain.std(ddof=1) / len(gain) ** 0.5
        if len(gain) >= FEW
        else (gain > MIN_GAIN_OF_FEW).all()
    )
    advice = "turn them back, such as by taking away orientation tags before the network sees the images"
    if gain.mean() > MIN_GAIN and clear:
        numbers = (
            f"agreement {turned[:, best].mean():.2f} against {own.mean():.2f} as they are, of {len(judged)} images"
        )
        return [f"predictions fit the true masks once they are {how[best]}: {numbers}; {advice}"]
    turn = turned.argmax(axis=1)
    fit = (own <= NOT_TURNED) & (turned.max(axis=1) >= TURNED)
    usual = int(np.bincount(turn[fit], minlength=len(how)).argmax())
    single = np.flatnonzero(fit & (turn == usual))
    if len(single) < MIN_SINGLE and not (turned[single, usual] >= SURELY_TURNED).any():
        return []
    text = f"{len(single)} of {len(names)} predictions fit their true masks once they are {how[usual]}"
    return [f"{text} ({_named(names, judged[single])}); {advice}"]


def _named(names: Sequence[str], chosen: NDArray[np.intp]) -> str:
    return listing((names[k] for k in chosen.tolist()), NUM_NAMED)
