"""Near duplicates: how many planted ones are found, what is found in the real Kvasir-SEG, and how long it takes.

    SEGSTUDY_DATA=DIR python bench/duplicates.py [--planted 200] [--sheet pairs.png]

Every n-th image is changed in each of the ways below and searched for among all originals. Then the pairs among the 1,000
different images are listed, with the review's split. ``--sheet`` draws them, because only a person can judge whether two
frames show one scene.
"""

from __future__ import annotations

import argparse
import io
import os
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from segstudy.data.core import Dataset, Sample, read_rgb
from segstudy.data.quality.duplicates import DuplicatePair, ImagePrint, find_duplicates, fingerprint_image
from segstudy.data.readers import kvasir

Pixels = np.ndarray
Change = Callable[[Pixels, np.random.Generator], Pixels]


def jpeg(rgb: Pixels) -> Pixels:
    stream = io.BytesIO()
    Image.fromarray(rgb).save(stream, "JPEG", quality=40)
    return np.asarray(Image.open(stream))


def cropped(rgb: Pixels, rng: np.random.Generator, share: float) -> Pixels:
    """Crop ``share`` of height and width, split at random between the two sides."""
    cut = [round(side * share) for side in rgb.shape[:2]]
    top, left = (int(rng.integers(each + 1)) for each in cut)
    return rgb[top : top + rgb.shape[0] - cut[0], left : left + rgb.shape[1] - cut[1]]


def turned(rgb: Pixels, degrees: float) -> Pixels:
    height, width = rgb.shape[:2]
    return cv2.warpAffine(rgb, cv2.getRotationMatrix2D((width / 2, height / 2), degrees, 1), (width, height))


CHANGES: dict[str, Change] = {
    "half the size": lambda rgb, _: cv2.resize(rgb, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_LINEAR),
    "stretched 1.3 x 0.8": lambda rgb, _: cv2.resize(rgb, None, fx=1.3, fy=0.8, interpolation=cv2.INTER_LINEAR),
    "JPEG quality 40": lambda rgb, _: jpeg(rgb),
    "10 % brighter": lambda rgb, _: np.clip(rgb * 1.1, 0, 255).astype(np.uint8),
    "10 % darker": lambda rgb, _: (rgb * 0.9).astype(np.uint8),
    "4 % cropped": lambda rgb, rng: cropped(rgb, rng, 0.04),
    "mirrored": lambda rgb, _: rgb[:, ::-1],
    "turned by 2 degrees": lambda rgb, rng: turned(rgb, 2 * rng.choice([-1, 1])),
    "turned by 5 degrees": lambda rgb, rng: turned(rgb, 5 * rng.choice([-1, 1])),
    "mirrored, 4 % cropped, JPEG 40": lambda rgb, rng: jpeg(cropped(rgb, rng, 0.04)[:, ::-1]),
    "8 % cropped": lambda rgb, rng: cropped(rgb, rng, 0.08),
}


def print_of(sample: Sample) -> tuple[str, ImagePrint]:
    return sample.id, fingerprint_image(np.asarray(read_rgb(sample.image)))


def found_copies(dataset: Dataset, prints: Mapping[str, ImagePrint], count: int) -> dict[str, tuple[int, int, int]]:
    """For each change: how many copies were planted, how many were found, and how many matched another image.

    Known pairs among the originals do not count as wrong: a copy of one matches the other rightly.
    """
    samples = dataset.samples("all")
    planted = samples[:: max(1, len(samples) // count)][:count]
    known = {frozenset((each.first.id, each.second.id)) for each in find_duplicates(dataset, prints)}
    found = {}
    for name, change in CHANGES.items():
        rng = np.random.default_rng(0)
        copies = {}
        for sample in planted:
            copies[f"copy/{sample.id}"] = fingerprint_image(change(np.asarray(read_rgb(sample.image)), rng))
        extended = {**dataset.splits, "copies": tuple(Sample(each, Path(), Path()) for each in copies)}
        pairs = [
            (each.first.id, each.second.id.removeprefix("copy/"))
            for each in find_duplicates(replace(dataset, splits=extended), {**prints, **copies})
            if each.splits[0] != "copies" and each.splits[1] == "copies"
        ]
        right = sum(first == second for first, second in pairs)
        wrong = sum(first != second and frozenset((first, second)) not in known for first, second in pairs)
        found[name] = (len(planted), right, wrong)
    return found


def draw(findings: list[DuplicatePair], path: Path, side: int = 180, columns: int = 4) -> None:
    """All pairs side by side, most alike first."""
    rows = -(-len(findings) // columns)
    sheet = Image.new("RGB", (columns * (2 * side + 12), rows * (side + 12)), "white")
    for number, each in enumerate(findings):
        x, y = number % columns * (2 * side + 12), number // columns * (side + 12)
        for offset, sample in enumerate((each.first, each.second)):
            sheet.paste(read_rgb(sample.image).resize((side, side)), (x + offset * side, y))
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--planted", type=int, default=200)
    parser.add_argument("--sheet", type=Path, help="draw the pairs that are found")
    arguments = parser.parse_args()
    dataset = kvasir.read("kvasir", Path(os.environ["SEGSTUDY_DATA"]) / "kvasir-seg")
    started = time.perf_counter()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        prints = dict(pool.map(print_of, dataset.samples("all")))
    decoded = time.perf_counter()
    findings = find_duplicates(dataset, prints)
    compared = time.perf_counter()
    print("| planted | copies | found | taken for another image's |\n|---|---|---|---|")
    for name, counts in found_copies(dataset, prints, arguments.planted).items():
        print(f"| {name} | {' | '.join(map(str, counts))} |")
    print("\n| kind | first | second | splits | similarity |\n|---|---|---|---|---|")
    for each in findings:
        print(
            f"| {each.kind} | {each.first.id} | {each.second.id} | {', '.join(each.splits)} | {each.similarity:.3f} |"
        )
    crossing = [each for each in findings if each.crosses]
    affected = {sample.id for each in crossing for sample in (each.first, each.second)}
    test = [sample for sample in dataset.samples("test") if sample.id in affected]
    print(
        f"\n{len(findings)} pairs, {len(crossing)} across the splits: {len(test)} of {len(dataset.samples('test'))} test "
        f"images. Decoding and prints {decoded - started:.1f} s, comparison {compared - decoded:.1f} s."
    )
    if arguments.sheet:
        draw(findings, arguments.sheet)


if __name__ == "__main__":
    main()
