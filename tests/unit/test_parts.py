"""Batches that are worked on in parts: the gradient is that of the whole batch's loss, whatever loss and network."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from typer.testing import CliRunner

from fakes import fake_kvasir
from segstudy.cli import app
from segstudy.errors import SegstudyError, SpecError
from segstudy.launch import memory
from segstudy.launch.pending import check_batch
from segstudy.launch.work import attempt
from segstudy.launch.workshop import Workshop
from segstudy.plan import make_plan, open_plan
from segstudy.progress import showing
from segstudy.report.contract import contract
from segstudy.schema import Recipe
from segstudy.spec import parse_study
from segstudy.store import Store
from segstudy.train.losses import make_loss
from segstudy.train.parts import check_alone, find_gradient, num_parts
from segstudy.train.team import make_fabric

STUDY = """
name: parts
data: {polyps: {reader: kvasir, root: data}}
recipe: {epochs: 1, batch_size: 4, input_size: 32, optimizer: {lr: 1.0e-2}, precision: float32}
experiments:
  lin: {data: polyps, model: {arch: linknet, encoder: tu-test_resnet, weights: none}}
  bit: {base: lin, change: {recipe.epochs: 2}}
seeds: [1]
"""
LOSSES: list[Any] = [
    "cross_entropy",
    "dice",
    "focal",
    {"name": "cross_entropy", "hardest_share": 0.3, "class_weights": [1.0, 2.0, 0.5]},
    {"lovasz_softmax": 1, "cl_dice": 0.5, "boundary": 0.1},
]


def plain_network() -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Conv2d(3, 5, 3, padding=1), nn.ReLU(), nn.GroupNorm(1, 5), nn.Conv2d(5, 3, 1))


def batch(num_images: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    labels = torch.randint(0, 3, (num_images, 32, 32), generator=generator)
    labels[0, :25] = 255  # images do not count alike
    return torch.randn(num_images, 3, 32, 32, generator=generator), labels


def gradient(network: nn.Module, recipe: Recipe, parts: int, num_images: int = 7) -> tuple[float, list[Tensor]]:
    fabric = make_fabric(recipe, "cpu")
    model, stepper = fabric.setup(network, torch.optim.SGD(network.parameters(), lr=1.0))
    images, labels = batch(num_images)
    loss, number = find_gradient(model, network, stepper, images, labels, make_loss(recipe.loss), fabric, parts)
    assert number == num_images
    return float(loss), [parameter.grad.clone() for parameter in network.parameters() if parameter.grad is not None]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_parts_give_the_gradient_of_the_whole_batch_for_every_loss(loss: Any) -> None:
    recipe = parse_study(STUDY, settings=[f"recipe.loss={json.dumps(loss)}"]).recipe
    whole_loss, whole = gradient(plain_network(), recipe, 1)
    for parts in (2, 3, 7):
        found_loss, found = gradient(plain_network(), recipe, parts)
        assert found_loss == pytest.approx(whole_loss, rel=1e-6)
        for one, other in zip(found, whole, strict=True):
            assert torch.allclose(one, other, rtol=1e-4, atol=1e-7)


def test_dropout_and_batch_statistics_are_those_of_each_part_once() -> None:
    """As by one graph over all parts, which needs the memory of the whole batch."""
    torch.manual_seed(5)
    network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.Dropout(0.5), nn.ConvTranspose2d(6, 3, 3)).train()
    slow, recipe = copy.deepcopy(network), Recipe(precision="float32", loss="dice")
    torch.manual_seed(9)
    loss, found = gradient(network, recipe, 3)
    drawn = torch.rand(3)
    torch.manual_seed(9)
    images, labels = batch(7)
    expected = make_loss("dice")(torch.cat([slow(piece) for piece in images.tensor_split(3)]), labels)
    expected.backward()
    assert loss == pytest.approx(expected.item(), rel=1e-6)
    for one, parameter in zip(found, slow.parameters(), strict=True):
        assert parameter.grad is not None and torch.allclose(one, parameter.grad, rtol=1e-4, atol=1e-7)
    for one, other in zip(network.buffers(), slow.buffers(), strict=True):
        assert torch.equal(one, other)
    assert torch.equal(drawn, torch.rand(3))  # what is drawn next is not what was drawn before


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 42))
def test_no_part_is_larger_than_those_of_a_whole_batch(batch_size: int, accumulate: int, num_images: int) -> None:
    recipe = Recipe(batch_size=batch_size, accumulate=min(accumulate, batch_size))
    parts = num_parts(num_images, recipe)
    smallest, largest = num_images // parts, -(-num_images // parts)
    at_most = -(-batch_size // recipe.accumulate)
    assert smallest >= 1
    assert parts == recipe.accumulate or num_images != batch_size
    if batch_size // recipe.accumulate >= 2:
        assert smallest >= 2 or num_images == 1
        at_most = max(at_most, 3)  # three images are not divided into two and one
    assert largest <= at_most or recipe.accumulate == 1


def test_several_devices_and_parts_are_refused() -> None:
    check_alone(Recipe(accumulate=4), 1)
    check_alone(Recipe(), 2)
    with pytest.raises(
        SpecError, match=r"recipe\.accumulate 4: 2 devices divide each batch already; train on one device"
    ):
        check_alone(Recipe(accumulate=4), 2)


def test_parts_and_batch_size_agree() -> None:
    with pytest.raises(SpecError, match="accumulate 5 must not be larger than batch_size 4"):
        parse_study(STUDY, settings=["recipe.accumulate=5"])
    identities = {make_plan(parse_study(STUDY, settings=[f"recipe.accumulate={n}"])).runs[0].identity for n in (1, 2)}
    assert len(identities) == 2
    assert make_plan(parse_study(STUDY)).runs[0].identity in identities  # 1 is what was before


def test_a_network_is_asked_whether_it_trains_on_parts_of_one_image() -> None:
    network = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Upsample(32)).to("meta")
    config = make_plan(parse_study(STUDY, settings=["recipe.accumulate=3"])).runs[0].config
    with pytest.raises(SpecError, match=r"parts of one image at 32 px .* set recipe.accumulate to 2 or less"):
        check_batch(network, config, 8)
    check_batch(network, make_plan(parse_study(STUDY, settings=["recipe.accumulate=2"])).runs[0].config, 8)


def test_the_contract_says_what_batch_statistics_are_of() -> None:
    row = {"miou": 0.5, "test_data": "a", "split": "test", "n": 3.0, "selected_on": "a/holdout", "protocol": "held-out"}
    row |= {"train_data": "a", "experiment": "x", "resolution": "native", "seed": 1, "patience": None}
    row |= {"predicts": "", "saw": ""}
    assert "parts" not in contract(pd.DataFrame([row | {"accumulate": 1}]))
    said = contract(pd.DataFrame([row | {"accumulate": 1}, row | {"experiment": "y", "accumulate": 4}]))
    assert "Batches of y were trained on in 4 parts; batch statistics are those of each part." in said


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    fake_kvasir(tmp_path / "data", num_images=12, size=(40, 36))
    (tmp_path / "s.yaml").write_text(STUDY)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_smallest_number_of_parts_that_fits_is_found() -> None:
    config = make_plan(parse_study(STUDY, settings=["recipe.batch_size=16"])).runs[0].config
    network, asked = nn.Conv2d(3, 2, 1), list[int]()

    def fits(recipe: Recipe) -> bool:
        asked.append(recipe.accumulate)
        return -(-16 // recipe.accumulate) <= 5

    assert memory.smallest(config, network, fits) == 4
    assert asked == [1, 2, 3, 4]
    with pytest.raises(SegstudyError, match=r"experiments.lin: does not fit into memory, even with 1 image at a time"):
        memory.smallest(config, network, lambda recipe: False)
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Upsample(32))
    with pytest.raises(SegstudyError, match=r"even with 2 images at a time"):
        memory.smallest(config, pooled, lambda recipe: False)


def test_what_a_step_needs_is_counted() -> None:
    """One convolution keeps its input for the gradient; the loss keeps as much as a loss of two images, times the batch."""
    config = make_plan(parse_study(STUDY)).runs[0].config
    network = nn.Conv2d(3, 2, 1)
    needs = memory.Trial(config, network, 2, make_fabric(config.recipe, "cpu")).needs()
    one, two, four = (needs(config.recipe.model_copy(update={"accumulate": n})) for n in (4, 2, 1))
    image = 3 * 32 * 32 * 4  # float32
    assert (two - one, four - two) == (image, 2 * image)


def test_what_was_found_is_kept_in_the_store_for_every_command(study: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 0.0)
    run = ["run", "s.yaml", "--out", "out", "--data", ".", "--fit-memory", "--no-report", "--quiet"]
    assert "does not fit into memory" in str(CliRunner().invoke(app, run).exception)
    assert not (study / "out/accumulate.json").exists()
    monkeypatch.setattr(memory, "smallest", lambda config, *_: 2 if config.experiment == "lin" else 1)
    assert CliRunner().invoke(app, run).exit_code == 0
    assert json.loads((study / "out/accumulate.json").read_text()) == 2
    plan, store = open_plan("s.yaml", Path("out"))
    assert [store.run(r.experiment, 1).record().values["recipe.accumulate"] for r in plan.runs] == [2, 2]
    assert [store.run(r.experiment, 1).state(r.identity, r.scored_on) for r in plan.runs] == ["done", "done"]
    assert CliRunner().invoke(app, run).exit_code == 0  # and finds nothing else to do
    given, _ = open_plan("s.yaml", Path("out"), ["recipe.accumulate=1"])
    assert given.runs[0].identity != plan.runs[0].identity
    (study / "out/accumulate.json").write_text('"two"')
    with pytest.raises(SegstudyError, match=r"accumulate.json: holds 'two', not a number of parts; delete it"):
        open_plan("s.yaml", Path("out"))


@pytest.mark.parametrize(
    ("parts", "says"),
    [
        (1, r"batches of 4 at 32 px \(.*\); set recipe.accumulate: 2 for the whole study .*--fit-memory"),
        (2, r"batches of 4, of which 2 at a time, at 32 px \(.*\); set recipe.accumulate: 4 "),
        (4, r"of which 1 at a time, at 32 px \(.*\); lower recipe.input_size$"),
    ],
)
@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("CUDA"), MemoryError(), RuntimeError("can't allocate memory")]
)
def test_a_full_memory_names_what_helps(
    study: Path, monkeypatch: pytest.MonkeyPatch, parts: int, says: str, error: Exception
) -> None:
    def full(*_: object) -> None:
        raise error

    monkeypatch.setattr("segstudy.launch.work.do_run", full)
    plan = make_plan(parse_study(STUDY, settings=[f"recipe.accumulate={parts}"]))
    store = Store(study / "out")
    with showing(quiet=True) as quiet:
        said = attempt(Workshop(plan.study, store, study, quiet), plan.runs[0], store.run("lin", 1))
    assert re.search(says, said), said
