"""What a recipe asks of training apart from the loss: budgets, rates, frozen parts, averages, sampling, early stopping."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fakes import fake_kvasir
from interruption import Interruption
from segstudy.data.cache.batches import drawn_order
from segstudy.errors import SpecError
from segstudy.launch.workshop import Workshop
from segstudy.plan import make_plan, unequal_budgets
from segstudy.progress import showing
from segstudy.schema import Recipe
from segstudy.spec import parse_study
from segstudy.stopping import Stop, Stopped
from segstudy.store import RunFolder, Store
from segstudy.train.balance import count_pixels
from segstudy.train.loop import train
from segstudy.train.regime import Budget, budget_of, check_regime, learning_rate, optimizer_of
from segstudy.train.team import make_fabric

STUDY = """
name: tiny
data: {polyps: {reader: kvasir, root: data}, other: {reader: kvasir, root: other}}
recipe: {epochs: 3, batch_size: 4, input_size: 32, optimizer: {lr: 1.0e-2}, precision: float32, deterministic: true}
experiments:
  unet: {data: polyps, model: {arch: unet, encoder: resnet18, weights: none}}
"""
RATE = 1e-2


def recipe_with(text: str = "") -> Recipe:
    lines = [f"recipe.{line}" for line in text.split("; ") if line]
    return parse_study(STUDY, settings=lines).recipe


@pytest.fixture(scope="module")
def splits(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Twelve images to train on, and three to choose the epoch."""
    root = tmp_path_factory.mktemp("regime")
    fake_kvasir(root / "data", num_images=15, size=(40, 36))
    with showing(quiet=True) as quiet:
        workshop = Workshop(
            parse_study(STUDY.replace("name: tiny", "name: tiny\nprotocol: paper")), Store(root / "out"), root, quiet
        )
    return [workshop.cached("polyps", split, 32) for split in ("train", "test")]


class Tiny(nn.Module):
    """An encoder with batch statistics and dropout, and a decoder."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout(0.2))
        self.decoder = nn.Sequential(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.Conv2d(6, 2, 1))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.decoder(self.encoder(images))
        return logits


def trained(splits: Any, path: Path, recipe: Recipe, stop: Stop | None = None) -> RunFolder:
    fit, select = splits
    path.mkdir(parents=True, exist_ok=True)
    with showing(quiet=True) as quiet:
        fabric = make_fabric(recipe, "cpu")
        target = select if recipe.adaptation else None
        run = RunFolder(path)
        train(Tiny(), fit, select, select, recipe, 1, run, fabric, quiet, stop or Stop(), "me", "", target)
    return RunFolder(path)


def numbers(folder: RunFolder) -> list[tuple[Any, ...]]:
    return [(r["epoch"], r["loss"], r["lr"], r["select_miou"]) for r in folder.read_metrics()]


SETTINGS = [
    "iterations=8",
    "schedule_by=step",
    "schedule=one_cycle; schedule_by=step",
    "schedule=step_decay",
    "warmup_epochs=1.5",
    "ema=0.9",
    "clip_norm=0.1",
    "encoder_rate=0.1",
    "frozen_encoder=true",
    "frozen_statistics=true",
    "sampling=class_balanced",
    "patience=1",
    "loss={name: cross_entropy, class_weights: median_frequency, hardest_share: 0.5}",
    "loss={cross_entropy: 1, dice: 0.5, boundary: 0.01}",
    "loss={lovasz_softmax: 1, cl_dice: 0.5}",
    "loss=tversky",
    "adaptation={name: fourier, data: other, beta: 0.1}",
    "adaptation={name: fourier, data: other, beta: 0.1}; augment=light",
    "adaptation={name: self_training, data: other, confidence: 0.4, ramp: 0}",
    "adaptation={name: mean_teacher, data: other}; ema=0.9",
    "loss=focal; optimizer.name=adamw; schedule=poly; augment=strong; precision=bf16",
    "accumulate=2; optimizer={name: sgd, nesterov: true}; ema=0.9; clip_norm=0.1; loss=dice",
]


@pytest.mark.parametrize("settings", SETTINGS)
def test_a_run_goes_on_with_the_same_numbers_after_every_step(splits: Any, tmp_path: Path, settings: str) -> None:
    recipe = recipe_with(settings)
    whole = trained(splits, tmp_path / "whole", recipe)
    assert numbers(whole) != numbers(trained(splits, tmp_path / "plain", recipe_with())) or settings == "patience=1"
    for steps in range(1, 9):  # stops after every step: within epochs, at their ends
        broken, stopped = tmp_path / f"broken{steps}", True
        while stopped:
            try:
                again = trained(splits, broken, recipe, Interruption(steps))
                stopped = False
            except Stopped:
                pass
        assert numbers(again) == numbers(whole)
        assert again.best.read_bytes() == whole.best.read_bytes()


def test_a_budget_of_iterations_counts_steps(splits: Any, tmp_path: Path) -> None:
    assert budget_of(recipe_with(), 12) == Budget(3, 3, 9)
    assert budget_of(recipe_with("iterations=8"), 12) == Budget(3, 3, 8)
    assert budget_of(recipe_with("iterations=8"), 400) == Budget(1, 100, 8)
    assert budget_of(recipe_with("iterations=8"), 4) == Budget(8, 1, 8)
    folder = trained(splits, tmp_path / "run", recipe_with("iterations=4; epochs=50; schedule=poly; schedule_by=step"))
    lr = [record["lr"] for record in folder.read_metrics()]
    assert lr == pytest.approx([RATE * 0.5**0.9, RATE * 0.25**0.9])  # of the third and the fourth of four steps


def rates(settings: str, budget: Budget) -> list[float]:
    recipe, each = recipe_with(settings), range(budget.epochs)
    return [
        learning_rate(recipe, budget, epoch, step) / RATE for epoch in each for step in range(budget.steps_in(epoch))
    ]


def test_rates_by_hand() -> None:
    budget = Budget(4, 2, 8)
    cosine = [(1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)]
    assert rates("schedule_by=step", budget) == pytest.approx(cosine)
    assert rates("epochs=4", budget) == pytest.approx([cosine[k] for k in (0, 0, 2, 2, 4, 4, 6, 6)])
    assert rates("schedule=constant; warmup_epochs=1", budget) == pytest.approx([0.5] * 2 + [1] * 6)
    thirds = [1 / 3, 2 / 3, 1, 1, 1, 1, 1, 1]  # two steps of warm-up
    assert rates("schedule=constant; warmup_epochs=1; schedule_by=step", budget) == pytest.approx(thirds)
    fallen = rates("schedule={name: step_decay, times: 3, factor: 0.5}; schedule_by=step", budget)
    assert fallen == pytest.approx([1, 1, 0.5, 0.5, 0.25, 0.25, 0.125, 0.125])
    cycle = rates("schedule={name: one_cycle, rise: 0.25, start: 0.2, end: 0.1}; schedule_by=step", budget)
    assert cycle[:3] == pytest.approx([0.2, 0.6, 1])
    assert cycle[5] == pytest.approx(0.55)  # half way down
    assert cycle[2:] == sorted(cycle[2:], reverse=True)
    assert all(0.1 < rate <= 1 for rate in cycle)


def test_the_average_is_that_of_the_weights_after_each_step(splits: Any, tmp_path: Path) -> None:
    """The first two steps by hand: the average moves by 9/11, then by 9/12 of the way."""
    initial = Tiny().state_dict()
    settings = "schedule=constant; batch_size=12"
    first = load_file(trained(splits, tmp_path / "1", recipe_with(f"{settings}; iterations=1")).best)
    averaged = load_file(trained(splits, tmp_path / "ema", recipe_with(f"{settings}; iterations=1; ema=0.999")).best)
    for key, value in averaged.items():
        expected = first[key] if "num_batches" in key else initial[key] * 2 / 11 + first[key] * 9 / 11
        assert torch.allclose(value, expected, rtol=1e-5, atol=1e-7), key


def moved(folder: RunFolder) -> dict[str, float]:
    before = Tiny().state_dict()
    return {key: float((value - before[key]).abs().max()) for key, value in load_file(folder.best).items()}


def test_what_is_frozen_does_not_move(splits: Any, tmp_path: Path) -> None:
    found = moved(trained(splits, tmp_path / "encoder", recipe_with("frozen_encoder=true; epochs=1")))
    assert all((change == 0) == key.startswith("encoder") for key, change in found.items() if key != "decoder.0.bias")
    found = moved(trained(splits, tmp_path / "statistics", recipe_with("frozen_statistics=true; epochs=1")))
    assert all((change == 0) == ("running" in key or "num_batches" in key) for key, change in found.items())


def test_rates_of_encoder_and_decoder(splits: Any, tmp_path: Path) -> None:
    """Adam's first step is the learning rate for every weight with a gradient."""
    recipe = recipe_with("encoder_rate=0.1; iterations=1; batch_size=12; optimizer.weight_decay=0; schedule=constant")
    found = moved(trained(splits, tmp_path / "run", recipe))
    assert found["encoder.0.weight"] == pytest.approx(RATE / 10, rel=1e-3)
    assert found["decoder.2.weight"] == pytest.approx(RATE, rel=1e-3)


def test_a_gradient_is_clipped_to_its_norm(splits: Any, tmp_path: Path) -> None:
    """One step of plain SGD with rate 1 moves the weights by the clipped gradient."""
    text = "optimizer={name: sgd, lr: 1, momentum: 0, weight_decay: 0}; schedule=constant; batch_size=12; iterations=1"
    parameters = [name for name, _ in Tiny().named_parameters()]

    def length(settings: str, name: str) -> float:
        state, before = (
            load_file(trained(splits, tmp_path / name, recipe_with(text + settings)).best),
            Tiny().state_dict(),
        )
        return math.sqrt(sum(float((state[key] - before[key]).square().sum()) for key in parameters))

    free = length("", "free")
    assert length("; clip_norm=0.01", "clipped") == pytest.approx(0.01, rel=1e-3)
    assert length("; clip_norm=1000", "wide") == pytest.approx(free, rel=1e-6)


def test_training_ends_when_patience_does(splits: Any, tmp_path: Path) -> None:
    still = "optimizer.lr=1e-30; frozen_statistics=true; epochs=9"
    assert len(numbers(trained(splits, tmp_path / "run", recipe_with(f"{still}; patience=2")))) == 3
    assert len(numbers(trained(splits, tmp_path / "all", recipe_with(still)))) == 9


def test_class_balanced_draws_follow_seed_and_epoch_alone() -> None:
    shares = np.array([0.0, 0.9, 0.1, 0.0])
    drawn = np.concatenate([drawn_order(shares, 1, epoch) for epoch in range(500)])
    assert set(drawn.tolist()) == {1, 2}
    assert (drawn == 1).mean() == pytest.approx(0.9, abs=0.03)
    assert drawn_order(shares, 1, 7).tolist() == drawn_order(shares, 1, 7).tolist()
    assert len({tuple(drawn_order(np.full(9, 1 / 9), seed, epoch)) for seed in (1, 2) for epoch in (0, 1)}) == 4


def test_pixels_are_counted_as_they_are_trained_on(splits: Any) -> None:
    fit, _ = splits
    counts = count_pixels(fit)
    assert counts.shape == (12, 2)
    for index in range(12):
        labels = fit.labels_nhw[np.array([index])][0]
        assert counts[index].tolist() == [int((labels == 0).sum()), int((labels == 1).sum())]


def test_a_network_without_an_encoder_is_refused_before_it_is_trained() -> None:
    for settings in ("frozen_encoder=true", "encoder_rate=0.5"):
        key = settings.split("=")[0]
        with pytest.raises(SpecError, match=rf"^recipe\.{key}: the network Conv2d has no module named 'encoder'"):
            check_regime(nn.Conv2d(3, 2, 1), recipe_with(settings), 2)
    check_regime(nn.Conv2d(3, 2, 1), recipe_with(), 2)
    recipe = recipe_with("loss={name: cross_entropy, class_weights: [1, 2, 3]}")
    with pytest.raises(SpecError, match=r"class_weights of cross_entropy: 3 weights for 2 classes; give one per class"):
        check_regime(nn.Conv2d(3, 2, 1), recipe, 2)
    assert len(optimizer_of(Tiny(), recipe_with("frozen_encoder=true")).param_groups) == 1


BUDGETS = {
    "iterations: 8": "iterations 8 (study: None)",
    "schedule_by: step": "schedule_by step (study: epoch)",
    "warmup_epochs: 1": "warmup_epochs 1.0 (study: 0.0)",
    "ema: 0.9": "ema 0.9 (study: None)",
    "clip_norm: 1": "clip_norm 1.0 (study: None)",
    "encoder_rate: 0.1": "encoder_rate 0.1 (study: 1.0)",
    "frozen_encoder: true": "frozen_encoder True (study: False)",
    "frozen_statistics: true": "frozen_statistics True (study: False)",
    "sync_batch_norm: true": "sync_batch_norm True (study: False)",
    "sampling: class_balanced": "sampling class_balanced (study: uniform)",
    "patience: 3": "patience 3 (study: None)",
    "loss: {dice: 1, cross_entropy: 0.5}": "loss 0.5 cross_entropy + 1 dice (study: cross_entropy)",
}


@pytest.mark.parametrize("change", BUDGETS)
def test_an_experiment_may_change_each_key_and_its_budget_differs(change: str) -> None:
    plan = make_plan(parse_study(STUDY + f"  other: {{base: unet, change: {{recipe.{change}}}}}\n"))
    variation = plan.first("other").variation
    assert variation is not None and not variation.confounded
    assert unequal_budgets(plan) == [f"other: {BUDGETS[change]}"]
