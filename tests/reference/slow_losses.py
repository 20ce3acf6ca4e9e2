"""Losses once more, slow and obvious: loops over pixels in plain NumPy, from the papers' definitions.

Arrays: logits (n, c, h, w), labels (n, h, w) with 255 ignored. Only tests use this.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
IGNORE = 255


def softmax(logits: Array) -> Array:
    powers = np.exp(logits - logits.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def pixels(labels: Array) -> list[tuple[int, int, int]]:
    """Where labels count."""
    places = itertools.product(*map(range, labels.shape))
    return [(n, y, x) for n, y, x in places if labels[n, y, x] != IGNORE]


def cross_entropy(
    logits: Array, labels: Array, label_smoothing: float = 0, class_weights: Any = None, hardest_share: float = 1
) -> float:
    p, num_classes = softmax(logits), logits.shape[1]
    weights = [1.0] * num_classes if class_weights is None else class_weights
    pairs = []
    for n, y, x in pixels(labels):
        true, loss = labels[n, y, x], 0.0
        for c in range(num_classes):
            target = (1 - label_smoothing) * (c == true) + label_smoothing / num_classes
            loss -= weights[c] * target * math.log(p[n, c, y, x])
        pairs.append((loss, weights[true]))
    pairs = sorted(pairs, reverse=True)[: math.ceil(hardest_share * len(pairs))]
    return sum(loss for loss, _ in pairs) / sum(weight for _, weight in pairs)


def tversky(
    logits: Array, labels: Array, alpha: float = 0.3, beta: float = 0.7, gamma: float = 1, smooth: float = 0
) -> float:
    p, losses = softmax(logits), []
    for c in range(logits.shape[1]):
        hit = false = missed = 0.0
        for n, y, x in pixels(labels):
            if labels[n, y, x] == c:
                hit, missed = hit + p[n, c, y, x], missed + 1 - p[n, c, y, x]
            else:
                false += p[n, c, y, x]
        absent = not (labels == c).any()
        losses.append(0.0 if absent else 1 - (hit + smooth) / (hit + alpha * false + beta * missed + smooth))
    return float(np.mean(losses) ** gamma)


def dice(logits: Array, labels: Array, smooth: float = 0) -> float:
    return tversky(logits, labels, 0.5, 0.5, 1, smooth)


def focal(logits: Array, labels: Array, gamma: float = 2) -> float:
    losses = []
    for c in range(logits.shape[1]):
        for n, y, x in pixels(labels):
            p = 1 / (1 + math.exp(-logits[n, c, y, x]))
            p_true = p if labels[n, y, x] == c else 1 - p
            losses.append(-((1 - p_true) ** gamma) * math.log(p_true))
    return float(np.mean(losses))


def lovasz_softmax(logits: Array, labels: Array) -> float:
    """Sum over the sorted errors, each times what its pixel adds to the Jaccard loss of the set of pixels before it."""
    p, losses = softmax(logits), []
    for c in sorted({int(labels[at]) for at in pixels(labels)}):
        errors = {at: abs((labels[at] == c) - p[at[0], c, at[1], at[2]]) for at in pixels(labels)}
        true = {at for at in errors if labels[at] == c}

        def jaccard_loss(wrong: set[tuple[int, int, int]], true: Any = true) -> float:
            missed, false = len(true & wrong), len(wrong - true)
            return 1 - (len(true) - missed) / (len(true) + false)

        total, wrong = 0.0, set()
        for at in sorted(errors, key=lambda at: -errors[at]):
            before = jaccard_loss(wrong)
            wrong = wrong | {at}
            total += errors[at] * (jaccard_loss(wrong) - before)
        losses.append(total)
    return float(np.mean(losses))


def boundary(logits: Array, labels: Array) -> float:
    """Distances by comparing each pixel with every other."""
    p, total = softmax(logits), 0.0
    for n, y, x in pixels(labels):
        same = [(b, a) for m, b, a in pixels(labels) if m == n]
        for c in range(logits.shape[1]):
            inside = [(b, a) for b, a in same if labels[n, b, a] == c]
            outside = [(b, a) for b, a in same if labels[n, b, a] != c]
            if inside and outside:
                is_in = labels[n, y, x] == c
                nearest = min(math.hypot(y - b, x - a) for b, a in (outside if is_in else inside))
                total += p[n, c, y, x] * (1 - nearest if is_in else nearest)
    return total / (len(pixels(labels)) * logits.shape[1])


def cl_dice(logits: Array, labels: Array, iterations: int = 3, smooth: float = 1) -> float:
    counted = labels != IGNORE
    p = softmax(logits) * counted[:, None]
    losses = []
    for c in range(1, logits.shape[1]):
        true, guess = (labels == c).astype(float), p[:, c]
        if true.any():
            true_line, guess_line = (
                np.stack([skeleton(image, iterations) for image in each]) for each in (true, guess)
            )
            precision = ((guess_line * true).sum() + smooth) / (guess_line.sum() + smooth)
            sensitivity = ((true_line * guess).sum() + smooth) / (true_line.sum() + smooth)
            losses.append(1 - 2 * precision * sensitivity / (precision + sensitivity))
    return float(np.mean(losses)) if losses else 0.0


def skeleton(image: Array, iterations: int) -> Array:
    """The paper's algorithm 1; erosion by a cross, dilation by a square, pixels outside the image left out."""

    def around(image: Array, y: int, x: int, square: bool) -> list[float]:
        near = [(b, a) for b in (-1, 0, 1) for a in (-1, 0, 1) if square or not (b and a)]
        places = [(y + b, x + a) for b, a in near]
        return [image[b, a] for b, a in places if 0 <= b < image.shape[0] and 0 <= a < image.shape[1]]

    def each(image: Array, pick: Any, square: bool) -> Array:
        height, width = image.shape
        return np.array([[pick(around(image, y, x, square)) for x in range(width)] for y in range(height)])

    def fine(image: Array) -> Array:
        return np.maximum(image - each(each(image, min, False), max, True), 0)

    lines = fine(image)
    for _ in range(iterations):
        image = each(image, min, False)
        lines = lines + (1 - lines) * fine(image)
    return lines
