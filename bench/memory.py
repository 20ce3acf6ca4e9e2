"""What a training step takes of a processor's memory, beside what ``--fit-memory`` expects.

    python bench/memory.py [--size 128] [--batch 8] [--encoder resnet18]

Each row is a process of its own: two steps of U-Net on random images, the batch at once or in parts (``recipe.accumulate``).
Memory is the peak of what is resident, above what is resident before the first step.
"""

from __future__ import annotations

import argparse
import subprocess
import sys

from segstudy.launch.memory import Trial
from segstudy.networks.build import build_network, place
from segstudy.plan import make_plan
from segstudy.spec import parse_study
from segstudy.train.loop import keep_freed_memory, peak_memory_mb, reset_peak_memory
from segstudy.train.losses import make_loss
from segstudy.train.parts import find_gradient, num_parts
from segstudy.train.regime import optimizer_of
from segstudy.train.team import make_fabric

STUDY = """
name: memory
data: {{d: {{reader: kvasir, root: data}}}}
recipe: {{batch_size: {batch}, input_size: {size}, accumulate: {parts}, precision: {precision}}}
experiments:
  unet: {{data: d, model: {{arch: unet, encoder: {encoder}, weights: none}}}}
"""


def measure(options: argparse.Namespace) -> None:
    """Print the row of one number of parts."""
    config = make_plan(parse_study(STUDY.format(**vars(options)))).runs[0].config
    recipe, fabric = config.recipe, make_fabric(config.recipe, "cpu")
    trial = Trial(config, build_network(config.model, 2, 0, None, ""), 2, fabric)
    expected = trial.needs()(recipe) / 1e6
    images, labels = trial.batch(recipe.batch_size)
    network = place(trial.network, fabric.device).train()
    keep_freed_memory()
    reset_peak_memory()
    before = peak_memory_mb()
    optimizer = optimizer_of(network, recipe)
    model, stepper = fabric.setup(network, optimizer)
    for _ in range(2):
        loss_of, parts = make_loss(recipe.loss), num_parts(recipe.batch_size, recipe)
        find_gradient(model, network, stepper, images, labels, loss_of, fabric, parts)
        stepper.step()
    measured = peak_memory_mb() - before
    print(f"| {options.precision} | {options.parts} | {expected:.0f} | {measured:.0f} |", flush=True)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--encoder", default="resnet18")
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--parts", type=int, default=0, help="only this row")
    options = parser.parse_args()
    if options.parts:
        measure(options)
        return
    print("| precision | parts | expected, MB | measured, MB |\n|---|---|---|---|", flush=True)
    for precision in ("float32", "bf16"):
        for parts in (1, 2, 4, 8):
            own = [sys.executable, __file__, *sys.argv[1:], "--precision", precision, "--parts", str(parts)]
            subprocess.run(own, check=True)


if __name__ == "__main__":
    main()
