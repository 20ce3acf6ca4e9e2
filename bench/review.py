"""The whole review on this machine, as the sum of measured parts: eight runs of 50 epochs at the review's sizes.

    python bench/review.py [--device cuda] [--rounds 3] [--steps 20] [--runs 1]

Each of the review's networks is timed in a training step (on a GPU recorded, as by ``segstudy run --graphs``) and in
prediction, on random images of the review's size. A run is 50 passes over its training images (Cityscapes 2,975, Kvasir-SEG
800), each followed by a prediction of its test images (500, 200). The sum leaves out what is done once: decoding images into
the cache, and scoring at the end. ``--runs N`` says that N runs share the device, each as fast as alone: an upper bound of
what several runs side by side can win.
"""

from __future__ import annotations

import time

import torch
from gpu import BATCHES, CLASSES, options, random_batches, rates, wait, ways

from segstudy.networks.build import build_network, place, predict_logits
from segstudy.plan import make_plan
from segstudy.schema import Model, Recipe
from segstudy.spec import load_study
from segstudy.train.loop import keep_freed_memory
from segstudy.train.team import make_fabric

IMAGES = {"cityscapes": (2975, 500), "kvasir": (800, 200)}  # training, test


def prediction_rate(model: Model, recipe: Recipe, device: str, steps: int) -> float:
    """Images/s of prediction, argmax included."""
    fabric = make_fabric(recipe, device)
    network = fabric.setup(place(build_network(model, CLASSES, 0), fabric.device)).eval()
    batches = random_batches(recipe, fabric.device)
    with torch.inference_mode():
        predict_logits(network, batches[0][0]).argmax(dim=1)
        wait(fabric.device)
        started = time.perf_counter()
        for number in range(steps):
            predict_logits(network, batches[number % BATCHES][0]).argmax(dim=1)
        wait(fabric.device)
    return steps * recipe.batch_size / (time.perf_counter() - started)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--runs", type=int, default=1)
    given = parser.parse_args()
    keep_freed_memory()
    device = torch.device(given.device)
    plan, measured, total = make_plan(load_study("review")), {}, 0.0
    print("| run | images/s in training | in prediction | hours |\n|---|---|---|---|")
    for run in plan.runs:
        config = run.config
        recipe = config.recipe.model_copy(update={"precision": "auto"})
        model = config.model.model_copy(update={"weights": "none"})
        if (key := (model.model_dump_json(), recipe.input_size)) not in measured:
            found = rates(ways(model, recipe, given.device, False), recipe, device, given.rounds, given.steps)
            trained = found.get("graphs", found["plain"])
            measured[key] = trained, prediction_rate(model, recipe, given.device, given.steps)
        trained, predicted = measured[key]
        train, test = IMAGES[config.dataset]
        hours = recipe.epochs * (train / trained + test / predicted) / 3600
        total += hours
        print(f"| {run.experiment} | {trained:.1f} | {predicted:.1f} | {hours:.2f} |", flush=True)
    print(f"\nin all {total:.2f} hours, {60 * total / given.runs:.1f} minutes with {given.runs} at a time")


if __name__ == "__main__":
    main()
