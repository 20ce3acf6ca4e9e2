"""HD95, ASSD and NSD of 40 generated pairs of masks under the rules of other libraries: ``python bench/outlines.py``."""

from __future__ import annotations

import numpy as np

from segstudy.conventions.outlines import NUMBERS, OUTLINE_RULES, outline_scores

PAIRS, SIZE, TOLERANCE = 40, 96, 2.0


def pair(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An ellipse, and a copy moved by up to 4 px with a rough outline; half of the pairs also have a small spurious blob."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    y, x, height, width = rng.uniform(36, 60), rng.uniform(36, 60), rng.uniform(12, 24), rng.uniform(12, 24)
    angle = np.arctan2(rows - y, columns - x)
    rough = 1 + 0.08 * np.sin(rng.integers(3, 9) * angle + rng.uniform(0, 6))
    truth = ((rows - y) / height) ** 2 + ((columns - x) / width) ** 2 < 1
    dy, dx = rng.uniform(-4, 4, 2)
    prediction = ((rows - y - dy) / height) ** 2 + ((columns - x - dx) / width) ** 2 < rough
    if rng.random() < 0.5:
        by, bx, radius = *rng.integers(8, SIZE - 8, 2), rng.uniform(2, 5)
        prediction |= (rows - by) ** 2 + (columns - bx) ** 2 < radius**2
    return truth.astype(int), prediction.astype(int)


def table() -> str:
    """Means over the pairs, in Markdown."""
    rng = np.random.default_rng(13)
    pairs = [pair(rng) for _ in range(PAIRS)]
    lines = ["| `--as` | HD95, px | ASSD, px | NSD (2 px) |", "|---|---|---|---|"]
    for rule in OUTLINE_RULES:
        scores = [outline_scores(truth, prediction, 1, rule.name, TOLERANCE) for truth, prediction in pairs]
        means = [np.mean([each[key] for each in scores]) for key in NUMBERS]
        shown = [
            f"{mean:.{places}f}" if np.isfinite(mean) else "-" for mean, places in zip(means, (2, 2, 3), strict=True)
        ]
        lines.append(f"| `{rule.name}` | {' | '.join(shown)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
