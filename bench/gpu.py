"""One training step in several ways, turn by turn on one device: how far from the bare limit is segstudy?

    python bench/gpu.py [--rounds 5] [--steps 20] [--device cuda] [--network unet] [--size 256] [--batch 16] [--compile]

Networks are those of the review: U-Net and DeepLabV3 (output stride 8) with ResNet-50, random weights, 21 classes. Ways:

* plain: the step of ``segstudy run``, kernels launched one after the other;
* graphs: that of ``segstudy run --graphs``, recorded once, batches copied in (on a GPU only);
* limit: the same recording on one batch that stays where it is: no data at all (on a GPU only);
* compiled: the plain step with ``torch.compile`` (``--compile``); the first call's seconds are given apart.

Each round times every way for ``--steps`` steps and waits for the device once, at the end. The table gives median images/s,
the ratio to plain, and TFLOP/s by the multiplications that torch counts.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from segstudy.networks.build import build_network, place
from segstudy.progress import Progress
from segstudy.schema import Model, Recipe
from segstudy.train.loop import _plain_step, keep_freed_memory
from segstudy.train.losses import make_loss
from segstudy.train.optimizers import make_optimizer
from segstudy.train.regime import Regime, budget_of
from segstudy.train.replay import WARM_UP, CudaGraph, ReplayedStep, Step
from segstudy.train.state import TrainingState
from segstudy.train.team import make_fabric

CLASSES = 21
NETWORKS = {
    "unet": Model(arch="unet", encoder="resnet50", weights="none"),
    "deeplabv3": Model(arch="deeplabv3", encoder="resnet50", weights="none", output_stride=8),
}
BATCHES = 4  # random ones, used in turn

Work = Callable[[int], Tensor]  # the step of this number


def wait(device: torch.device) -> None:
    """Until the device has done what was started."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def make_step(
    model: Model, recipe: Recipe, device: str, change: Callable[[nn.Module], nn.Module] = lambda n: n
) -> tuple[Step, torch.optim.Optimizer]:
    """The plain step of ``segstudy run`` for a network with random weights, and its optimiser."""
    fabric = make_fabric(recipe, device)
    network = place(build_network(model, CLASSES, 0), fabric.device).train()
    optimizer = make_optimizer(recipe.optimizer, network.parameters())
    stepping, stepper = fabric.setup(change(network), optimizer)
    regime = Regime(recipe, budget_of(recipe, 1000), network, optimizer, TrainingState())
    return _plain_step(stepping, stepper, make_loss(recipe.loss, ""), fabric, regime), optimizer


def random_batches(recipe: Recipe, device: torch.device) -> list[tuple[Tensor, Tensor]]:
    """Images (n, 3, h, w) and labels (n, h, w) of noise, where the network lies."""
    generator, size = torch.Generator().manual_seed(0), recipe.trained_px
    side = size if isinstance(size, int) else size[0]
    made = []
    for _ in range(BATCHES):
        images = torch.randn(recipe.batch_size, 3, side, side, generator=generator)
        labels = torch.randint(0, CLASSES, (recipe.batch_size, side, side), generator=generator)
        made.append((images.to(device, memory_format=torch.channels_last), labels.to(device)))
    return made


def ways(model: Model, recipe: Recipe, device: str, compiled: bool) -> dict[str, Work]:
    """Every way that this device knows, warmed up."""
    place_of = torch.device(device)
    batches = random_batches(recipe, place_of)
    plain, _ = make_step(model, recipe, device)
    found: dict[str, Work] = {"plain": lambda number: plain(*batches[number % BATCHES])[0]}
    if device == "cuda":
        for name, fixed in (("graphs", False), ("limit", True)):
            step, optimizer = make_step(model, recipe, device)
            replayed = ReplayedStep(step, optimizer, CudaGraph(place_of), place_of, Progress())
            for number in range(WARM_UP + 1):
                replayed(*batches[number % BATCHES])
            bare = replayed._replay
            if bare is None:
                continue
            found[name] = (
                (lambda number, bare=bare: bare()[0])
                if fixed
                else (lambda number, replayed=replayed: replayed(*batches[number % BATCHES])[0])
            )
    if compiled:
        step, _ = make_step(model, recipe, device, lambda network: torch.compile(network))  # type: ignore[arg-type, return-value]
        found["compiled"] = lambda number: step(*batches[number % BATCHES])[0]
    for name, work in found.items():
        started = time.perf_counter()
        work(0)
        wait(place_of)
        print(f"{name}: first call {time.perf_counter() - started:.1f} s", flush=True)
    return found


def flops(model: Model, recipe: Recipe) -> float:
    """Floating-point operations of one training step."""
    step, _ = make_step(model, recipe.model_copy(update={"batch_size": 1, "precision": "float32"}), "cpu")
    small = recipe.model_copy(update={"batch_size": 2})
    counter = FlopCounterMode(display=False)
    with counter:
        step(*random_batches(small, torch.device("cpu"))[0])
    return float(counter.get_total_flops()) * recipe.batch_size / 2


def rates(found: dict[str, Work], recipe: Recipe, device: torch.device, rounds: int, steps: int) -> dict[str, float]:
    """Median images/s of every way."""
    seconds: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(rounds):
        for name, work in found.items():
            wait(device)
            started = time.perf_counter()
            for number in range(steps):
                work(number)
            wait(device)
            seconds[name].append((time.perf_counter() - started) / steps)
    return {name: recipe.batch_size / statistics.median(each) for name, each in seconds.items()}


def options(doc: str | None) -> argparse.ArgumentParser:
    """The options that both benches of a GPU have."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--network", choices=list(NETWORKS), action="append")
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--compile", action="store_true")
    given = parser.parse_args()
    keep_freed_memory()
    recipe, device = Recipe(batch_size=given.batch, input_size=given.size), torch.device(given.device)
    name = torch.cuda.get_device_name() if given.device == "cuda" else f"{torch.get_num_threads()} threads"
    lines = [f"\n{name}, torch {torch.__version__}, {given.size} px, batch {given.batch}\n"]
    lines += ["| network | way | images/s | of plain | TFLOP/s |", "|---|---|---|---|---|"]
    for network in given.network or NETWORKS:
        model = NETWORKS[network]
        work = flops(model, recipe) / given.batch
        found = rates(ways(model, recipe, given.device, given.compile), recipe, device, given.rounds, given.steps)
        for way, rate in found.items():
            lines.append(f"| {network} | {way} | {rate:.1f} | {rate / found['plain']:.2f} | {rate * work / 1e12:.2f} |")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
