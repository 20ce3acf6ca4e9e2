"""Studies by several workers beside one process: seconds for the whole study, turn by turn, and what ``auto`` chooses.

    python bench/workers.py [--workers 2] [--rounds 3] [--images 60] [--epochs 4] [--runs 4]

Each round runs the same study of small networks three times from scratch, data cached before: ``segstudy run`` (one process
with all threads), ``--workers N`` (threads divided), and ``--workers auto`` (the measuring included). The table gives medians
and the ratio to one process. Starting a worker costs some seconds of importing, which short studies show. The exit code is 1
if N workers are slower than one process.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

STUDY = """
name: workers
protocol: paper
data:
  polyps: {{reader: kvasir, root: scenes, synthetic: {{num_images: {images}, size: [128, 128]}}}}
recipe: {{epochs: {epochs}, batch_size: 8, input_size: {size}}}
experiments:
  unet: {{data: polyps, model: {{arch: unet, encoder: {encoder}, weights: none}}}}
seeds: {seeds}
"""


def seconds(folder: Path, *options: str) -> float:
    """Seconds of the study from scratch, with the cache that is there."""
    shutil.rmtree(folder / "out" / "runs", ignore_errors=True)
    command = [sys.executable, "-m", "segstudy", "run", "study.yaml", "--out", "out", "--no-report", *options]
    began = time.monotonic()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    if "auto" in options:
        print("  auto:", next(line for line in done.stderr.splitlines() if "worker" in line), flush=True)
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--images", type=int, default=60)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--encoder", default="tu-test_resnet")
    parser.add_argument("--runs", type=int, default=4)
    given = parser.parse_args()
    ways = {
        "one process": (),
        f"{given.workers} workers": ("--workers", str(given.workers)),
        "auto": ("--workers", "auto"),
    }
    found: dict[str, list[float]] = {name: [] for name in ways}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        text = STUDY.format(seeds=list(range(1, given.runs + 1)), **vars(given))
        (folder / "study.yaml").write_text(text)
        seconds(folder, "--set", "recipe.epochs=1")  # draws the scenes and fills the cache
        for number in range(given.rounds):
            for name, options in ways.items():
                found[name].append(seconds(folder, *options))
            print(
                f"round {number + 1}:",
                ", ".join(f"{name} {each[-1]:.1f} s" for name, each in found.items()),
                flush=True,
            )
    one = statistics.median(found["one process"])
    print(f"\n{os.cpu_count()} processors, {given.runs} runs\n\n| | seconds | one process / this |\n|---|---|---|")
    for name, each in found.items():
        print(f"| {name} | {statistics.median(each):.1f} | {one / statistics.median(each):.2f} |")
    sys.exit(statistics.median(found[f"{given.workers} workers"]) > one)


if __name__ == "__main__":
    main()
