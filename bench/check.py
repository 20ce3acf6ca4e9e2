"""How long `segstudy check` takes, next to another version of it, turn by turn.

    SEGSTUDY_DATA=DIR python bench/check.py [--former WORKTREE/src] [--rounds 3] [--streets 500] [--keep DIR]

Two sets: the 1,000 pairs of Kvasir-SEG, and synthetic streets of 2048 x 1024 pixels in Cityscapes' layout (48 scenes are
drawn, and each is copied under further names with a changed line of pixels until there are as many as asked for, so that no
two files are equal). Each check is a process of its own, versions take turns, and times are medians over rounds: of the
processor (all threads together), which other jobs on the machine change little, and on the clock. A first round is not
counted: in it, files come into memory and Python keeps its compiled modules, as an installation does.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from segstudy.data.scenes.synthetic import write_cityscapes

OWN = Path(__file__).parents[1] / "src"
DRAWN = 48
STUDY = """\
name: bench
data: {{set: {{reader: {reader}, root: {root}}}}}
experiments:
  unet: {{data: set, model: {{arch: unet, encoder: resnet18, weights: none}}}}
seeds: [1]
"""


def write_streets(root: Path, number: int) -> None:
    """``number`` pairs; copies of a scene differ from it in one line of pixels."""
    write_cityscapes(root, num_train=DRAWN - 4, num_val=4, size=(2048, 1024))
    scenes = sorted((root / "leftImg8bit" / "train").rglob("*.png"))
    for k in range(number - DRAWN):
        image = scenes[k % len(scenes)]
        city = image.stem.partition("_")[0]
        name = f"{city}_{k + 500:06d}_000019"
        pixels = np.array(Image.open(image))
        pixels[k % 1024] = np.random.default_rng(k).integers(0, 256, pixels[0].shape, np.uint8)
        Image.fromarray(pixels).save(image.with_name(f"{name}_leftImg8bit.png"), compress_level=1)
        masks = root / "gtFine" / "train" / image.parent.name
        source = masks / f"{image.stem.removesuffix('_leftImg8bit')}_gtFine_labelIds.png"
        (masks / f"{name}_gtFine_labelIds.png").write_bytes(source.read_bytes())


def seconds(source: Path, study: Path, scratch: Path) -> tuple[float, float]:
    """Time of the processor and of the clock of one check by the version whose packages lie in ``source``."""
    environment = {**os.environ, "PYTHONPATH": str(source)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    arguments = ["segstudy", "check", str(study), "--out", str(scratch)]
    call = f"import sys; sys.argv = {arguments!r}; from segstudy.cli import main; main()"
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", call], env=environment, capture_output=True, text=True, check=False)
    elapsed, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode not in (0, 2) or "Traceback" in done.stderr:
        raise RuntimeError(f"{source}: {done.stderr[-2000:]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--former", type=Path, help="the src folder of another version")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--streets", type=int, default=500, help="pairs of 2048 x 1024 pixels; 0 leaves them out")
    parser.add_argument("--keep", type=Path, help="a folder to write the streets to, and to find them in the next time")
    given = parser.parse_args()
    versions = {"this version": OWN} | ({"the other": given.former.resolve()} if given.former else {})
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        sets = []
        if data := os.environ.get("SEGSTUDY_DATA"):
            sets.append(("Kvasir-SEG, 1,000 pairs", "kvasir", Path(data) / "kvasir-seg" / "Kvasir-SEG"))
        if given.streets:
            streets = (given.keep or scratch / "streets").resolve()
            if not streets.exists():
                write_streets(streets, given.streets)
            sets.append((f"streets of 2048 x 1024, {given.streets} pairs", "cityscapes", streets))
        for title, reader, root in sets:
            study = scratch / f"{reader}.yaml"
            study.write_text(STUDY.format(reader=reader, root=root))
            times: dict[str, list[tuple[float, float]]] = {name: [] for name in versions}
            for number in range(given.rounds + 1):
                for name, source in versions.items():
                    times[name].append(seconds(source, study, scratch / f"out-{reader}-{number}-{name[:4]}"))
            times = {name: measured[1:] for name, measured in times.items()}
            print(title, flush=True)
            for name, measured in times.items():
                processor, clock = (statistics.median(column) for column in zip(*measured, strict=True))
                print(f"  {name:14}{processor:8.1f} s of the processor{clock:8.1f} s on the clock")
            if given.former:
                ratios = [own[0] / other[0] for own, other in zip(*times.values(), strict=True)]
                print(f"  ratio         {statistics.median(ratios):8.2f} of the processor's time", flush=True)


if __name__ == "__main__":
    main()
