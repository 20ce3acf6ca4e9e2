"""Cost of checksums in training: processor time in CRC-32, XXH3 and SHA-256 as a share of an epoch.

    python bench/checksums.py [--images 64] [--epochs 3] [--size 256]

Two studies train on synthetic endoscopy: one on whole resized images, one on crops of images at their own size. Every
cached image is checked against its CRC-32 when it is read (once, if training reads windows of it). Each checkpoint and
the best weights get an XXH3 after every epoch. An epoch lasts from the end of the previous one to the end of its
checkpoint and includes the scoring of both splits. The thread that prepares the next batch computes the checksums of
images, so the share is an upper bound of the delay. Processor time does not depend on other programs. The table shows the
worst epoch except the first, which decodes the images; the exit code is 1 if its share exceeds 2 %.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
import time
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import xxhash

import segstudy.data.cache.packed
import segstudy.files
import segstudy.train.loop
import segstudy.train.state
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.plan import make_plan
from segstudy.progress import showing
from segstudy.spec import parse_study
from segstudy.store import Store

LIMIT = 0.02
STUDY = """
name: checksums
protocol: held-out
data:
  polyps: {{reader: kvasir, root: scenes, synthetic: {{num_images: {images}, size: [320, 288]}}}}
recipe: {{epochs: {epochs}, input_size: {size}}}
experiments:
  whole: {{data: polyps, model: {{arch: {arch}, encoder: {encoder}, weights: none}}}}
  crops: {{base: whole, change: {{recipe.crop_px: {size}}}}}
"""


class Clock:
    """Processor seconds spent in the wrapped functions, and the times at which epochs ended."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.ends: list[tuple[float, float]] = []

    def timed(self, function: Any) -> Any:
        """Wrap a function so that its seconds are added to ``spent``."""

        def call(*arguments: Any) -> Any:
            began = time.thread_time()
            result = function(*arguments)
            self.spent += time.thread_time() - began
            return result

        return call

    def ending(self, function: Any) -> Any:
        """Wrap a function that ends an epoch."""

        def call(*arguments: Any) -> Any:
            result = function(*arguments)
            self.ends.append((time.process_time(), self.spent))
            return result

        return call


def measure(study_text: str, experiment: str) -> tuple[float, float]:
    """Processor seconds of the epoch with the largest share of checksums, and that share."""
    clock = Clock()
    sha256 = SimpleNamespace(sha256=clock.timed(hashlib.sha256), file_digest=clock.timed(hashlib.file_digest))
    segstudy.data.cache.packed.zlib = SimpleNamespace(  # type: ignore[attr-defined]
        crc32=clock.timed(zlib.crc32), decompress=zlib.decompress, compress=zlib.compress, error=zlib.error
    )
    segstudy.files.hashlib = sha256  # type: ignore[attr-defined]
    segstudy.train.state.xxh3_128_hexdigest = clock.timed(xxhash.xxh3_128_hexdigest)
    plain = segstudy.train.loop._end_epoch
    segstudy.train.loop._end_epoch = clock.ending(plain)
    study = parse_study(study_text)
    with tempfile.TemporaryDirectory() as out, showing(quiet=True) as progress:
        outcome = execute(
            Workshop(study, Store(Path(out) / "out"), progress=progress), make_plan(study).select([experiment])
        )
    segstudy.train.loop._end_epoch = plain
    if outcome.failures:
        sys.exit("\n".join(outcome.failures))
    pairs = zip(clock.ends, clock.ends[1:], strict=False)
    epochs = [(end - begin, (after - before) / (end - begin)) for (begin, before), (end, after) in pairs]
    return max(epochs, key=lambda epoch: epoch[1])


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--arch", default="unet")
    parser.add_argument("--encoder", default="resnet18")
    options = parser.parse_args()
    print("| trained on | processor seconds of an epoch | checksums |\n|---|---|---|")
    worst = 0.0
    for experiment in ("whole", "crops"):
        seconds, share = measure(STUDY.format(**vars(options)), experiment)
        worst = max(worst, share)
        print(f"| {experiment} | {seconds:.2f} | {share:.2%} |", flush=True)
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
