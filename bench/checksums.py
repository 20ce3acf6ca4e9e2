"""What checksums cost in training: seconds in CRC-32 and SHA-256 as a share of an epoch's.

    python bench/checksums.py [--images 64] [--epochs 3] [--size 256]

Two studies train on synthetic endoscopy: one on whole resized images, one on crops of images at their own size. Each image
of the cache is compared with its CRC-32 when it is read (of images that only windows are read of, once), each checkpoint
and the best weights get a SHA-256 after an epoch. An epoch lasts from the end of the former one to the end of its
checkpoint, and includes the scoring of both splits. Checksums of images are taken by the thread that prepares the next batch,
so that the share is an upper bound of what they delay. The table shows the worst epoch but the first, in which images are
decoded; the exit code is 1 if it is more than 2 %.
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
    """Seconds spent in the functions that it wraps, and when epochs ended."""

    def __init__(self) -> None:
        self.spent = 0.0
        self.ends: list[tuple[float, float]] = []

    def timed(self, function: Any) -> Any:
        """The same function, its seconds added to ``spent``."""

        def call(*arguments: Any) -> Any:
            began = time.perf_counter()
            result = function(*arguments)
            self.spent += time.perf_counter() - began
            return result

        return call

    def ending(self, function: Any) -> Any:
        """The same function, which ends an epoch."""

        def call(*arguments: Any) -> Any:
            result = function(*arguments)
            self.ends.append((time.perf_counter(), self.spent))
            return result

        return call


def measure(study_text: str, experiment: str) -> tuple[float, float]:
    """Seconds of the epoch in which checksums take the largest share, and that share."""
    clock = Clock()
    sha256 = SimpleNamespace(sha256=clock.timed(hashlib.sha256), file_digest=clock.timed(hashlib.file_digest))
    segstudy.data.cache.packed.zlib = SimpleNamespace(  # type: ignore[attr-defined]
        crc32=clock.timed(zlib.crc32), decompress=zlib.decompress, compress=zlib.compress, error=zlib.error
    )
    segstudy.train.state.hashlib = segstudy.files.hashlib = sha256  # type: ignore[attr-defined]
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
    print("| trained on | seconds of an epoch | checksums |\n|---|---|---|")
    worst = 0.0
    for experiment in ("whole", "crops"):
        seconds, share = measure(STUDY.format(**vars(options)), experiment)
        worst = max(worst, share)
        print(f"| {experiment} | {seconds:.2f} | {share:.2%} |", flush=True)
    sys.exit(worst > LIMIT)


if __name__ == "__main__":
    main()
