"""Several processes train one run: two real ones, joined by gloo, against one; which process takes which part."""

from __future__ import annotations

import importlib
import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fakes import fake_kvasir
from interruption import Interruption
from segstudy.data.cache.batches import Shard, divide_order, epoch_order, shards_of
from segstudy.errors import SpecError
from segstudy.files import read_arrays
from segstudy.guard import differing
from segstudy.launch.follow import follow, leading
from segstudy.launch.local import check_devices
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import import_smp
from segstudy.plan import make_plan
from segstudy.progress import showing
from segstudy.records import Environment, RunRecord
from segstudy.spec import parse_study
from segstudy.stopping import Stop, Stopped
from segstudy.store import RunFolder, Store
from segstudy.study import Study
from segstudy.train.loop import train
from segstudy.train.processes import ALONE, Team
from segstudy.train.team import TogetherNorm, choose_precision, make_fabric, team_here

STUDY = """
name: tiny
protocol: paper
data: {polyps: {reader: kvasir, root: data}}
recipe:
  epochs: 2
  batch_size: 5
  input_size: 32
  optimizer: {name: sgd, lr: 0.05}
  precision: float32
  deterministic: true
experiments:
  unet: {data: polyps, model: {arch: linknet, encoder: tu-test_resnet, weights: none}}
"""


class Plain(nn.Module):
    """Without batch statistics."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(*self.kinds(), nn.Conv2d(6, 2, 1))

    def kinds(self) -> list[nn.Module]:
        return [nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()]

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.layers(images)
        return logits


class Normed(Plain):
    def kinds(self) -> list[nn.Module]:
        return [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU()]


class Random(Plain):
    def kinds(self) -> list[nn.Module]:
        return [*Normed.kinds(self), nn.Dropout(0.3)]


# Twelve images in batches of 5, 5 and 2: of two processes, one takes 3 and the other 2, then 1 and 1.
EQUAL: dict[str, tuple[type[Plain], str]] = {
    "no batch statistics": (Plain, "sync_batch_norm=true"),
    "a loss that is not a mean over images": (Plain, "sync_batch_norm=true; loss={cross_entropy: 1, dice: 1}"),
    "weights of classes": (
        Plain,
        "sync_batch_norm=true; loss={name: cross_entropy, class_weights: median_frequency, hardest_share: 0.5}",
    ),
    "synchronised statistics": (Normed, "sync_batch_norm=true"),
    "averaged weights and a clipped gradient": (Normed, "sync_batch_norm=true; ema=0.9; clip_norm=0.5"),
    "Adam on crops": (Plain, "sync_batch_norm=true; crop_px=32; optimizer={name: adam, lr: 1.0e-3}"),
}
OWN_DRAWS = "augment=strong; epochs=3"  # each process draws and normalises for itself


def study_with(text: str = "") -> Study:
    return parse_study(STUDY, settings=[f"recipe.{line}" for line in text.split("; ") if line])


def trained(root: Path, out: Path, name: str, settings: str, network: nn.Module, team: Team, stop: Stop) -> RunFolder:
    study = study_with(settings)
    with showing(quiet=True) as quiet:
        workshop = Workshop(study, Store(root / "out"), root, quiet)
        size = study.recipe.resized_px
        fit, select = (workshop.cached("polyps", split, size, size is None) for split in ("train", "test"))
        folder = RunFolder(out / name)
        folder.path.mkdir(parents=True, exist_ok=True)
        fabric = make_fabric(study.recipe, "cpu", team)
        train(network, fit, select, select, study.recipe, 1, folder, fabric, quiet, stop, "me")
    return folder


def take_part(root: Path, out: Path) -> None:
    """What each of the processes does."""
    team = team_here(None)
    assert team is not None
    for name, (network, settings) in EQUAL.items():
        trained(root, out, name, settings, network(), team, Stop())
    trained(root, out, "whole", OWN_DRAWS, Random(), team, Stop())
    for steps in (2, 5):
        try:
            trained(
                root, out, f"stopped {steps}", OWN_DRAWS, Random(), team, Interruption(steps if team.rank == 0 else 99)
            )
        except Stopped:
            trained(root, out, f"stopped {steps}", OWN_DRAWS, Random(), team, Stop())
    study = study_with("sync_batch_norm=true")
    with showing(quiet=True) as quiet:
        workshop = Workshop(study, Store(out / "study"), root, quiet, team=team)
        if team.rank:
            follow(workshop, make_plan(study))
        else:
            with leading(workshop):
                assert execute(workshop, make_plan(study)).failures == []


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("team")
    fake_kvasir(root / "data", num_images=15, size=(40, 36))
    return root


@pytest.fixture(scope="module")
def alone(root: Path) -> Path:
    for name, (network, settings) in EQUAL.items():
        trained(root, root / "alone", name, settings, network(), ALONE, Stop())
    return root / "alone"


def environment(rank: int, size: int, port: int) -> dict[str, str]:
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": size, "LOCAL_WORLD_SIZE": size, "MASTER_PORT": port}
    words = {name: str(value) for name, value in names.items()}
    path = os.pathsep.join([str(Path(__file__).parent), *sys.path])
    return {**words, "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_RUN_ID": "test", "PYTHONPATH": path}


@pytest.fixture(scope="module")
def together(root: Path, alone: Path) -> Path:
    """What two processes made, this one leading; ``alone`` has filled the cache."""
    out = root / "together"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    script = f"from pathlib import Path; import test_team; test_team.take_part(Path({str(root)!r}), Path({str(out)!r}))"
    command = [sys.executable, "-W", "ignore", "-c", script]
    follower = subprocess.Popen(command, env={**os.environ, **environment(1, 2, port)})
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(0, 2, port).items():
            patch.setenv(name, value)
        take_part(root, out)
        torch.distributed.destroy_process_group()
    assert follower.wait(timeout=600) == 0
    return out


def curve(folder: RunFolder, key: str) -> list[float]:
    return [record[key] for record in folder.read_metrics()]


@pytest.mark.parametrize("name", EQUAL)
def test_two_processes_train_as_one(alone: Path, together: Path, name: str) -> None:
    """Sums in another order differ in the last digits of float32; nothing else may."""
    one, two = RunFolder(alone / name), RunFolder(together / name)
    assert curve(two, "loss") == pytest.approx(curve(one, "loss"), rel=2e-5)
    assert curve(two, "select_miou") == pytest.approx(curve(one, "select_miou"), abs=1e-3)
    ours, theirs = load_file(one.best), load_file(two.best)
    assert list(ours) == list(theirs)
    for key, value in ours.items():
        assert torch.allclose(value, theirs[key], rtol=1e-4, atol=1e-5), key


@pytest.mark.parametrize("steps", [2, 5])
def test_a_team_that_was_stopped_goes_on_with_the_same_numbers(together: Path, steps: int) -> None:
    """Only the leader is asked; every process has generators of its own, which the checkpoint holds."""
    whole, again = RunFolder(together / "whole"), RunFolder(together / f"stopped {steps}")
    for key in ("loss", "select_miou", "lr"):
        assert curve(again, key) == curve(whole, key)
    assert again.best.read_bytes() == whole.best.read_bytes()
    assert sorted(path.name for path in again.path.iterdir()) == ["best.safetensors", "metrics.jsonl"]


def test_a_study_by_two_processes_counts_as_by_one(root: Path, together: Path) -> None:
    study = study_with("sync_batch_norm=true")
    with showing(quiet=True) as quiet:
        workshop = Workshop(study, Store(root / "one"), root, quiet)
        assert execute(workshop, make_plan(study)).failures == []
    folders = [Store(place).run("unet", 42) for place in (root / "one", together / "study")]
    ours, theirs = (read_arrays(folder.evaluation("polyps", "test"))[0] for folder in folders)
    assert set(ours) == set(theirs) and len(ours["ids"]) == 3
    differing = [name for name in ours if not np.array_equal(ours[name], theirs[name])]
    assert differing in ([], ["calibration"])  # confidences in fixed point: their last digits may differ
    masks = [{p.name: p.read_bytes() for p in folder.predictions("polyps", "test").iterdir()} for folder in folders]
    assert masks[0] == masks[1] and len(masks[0]) == 3
    records = [folder.record() for folder in folders]
    assert [record.environment and record.environment.processes for record in records] == [None, 2]


@pytest.mark.parametrize("name", ["BatchNorm2d", "BatchNormAct2d"])
def test_statistics_over_all_processes_are_those_of_one(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Three processes with 3, 1 and no images: sums over processes are put in by hand, first of values, then of squares."""
    import_smp()  # makes timm importable next to a torch without the GPU's operators
    kind = getattr(importlib.import_module("torch.nn" if name == "BatchNorm2d" else "timm.layers"), name)
    torch.manual_seed(1)
    images = torch.randn(4, 5, 3, 2, dtype=torch.float32)
    one = kind(5)
    expected = one(images)
    for own, others in ((images[:3], images[3:]), (images[3:], images[:3]), (images[:0], images)):
        mean = images.mean((0, 2, 3))
        sums = iter(
            [
                torch.tensor(others.numel() / 5),
                others.sum((0, 2, 3)),
                (others - mean[:, None, None]).square().sum((0, 2, 3)),
            ]
        )
        monkeypatch.setattr(torch.distributed, "all_reduce", lambda total, sums=sums: total.add_(next(sums)))
        two = kind(5)
        two.__class__ = TogetherNorm
        found = two(own)
        at = {3: slice(0, 3), 1: slice(3, 4), 0: slice(0, 0)}[len(own)]
        assert torch.allclose(found, expected[at], atol=1e-6)
        for key in ("running_mean", "running_var", "num_batches_tracked"):
            assert torch.allclose(getattr(two, key), getattr(one, key), atol=1e-6), key
        assert torch.allclose(two.eval()(own), one.eval()(images)[at], atol=1e-6)
        one.train()


def test_gradients_through_statistics_are_those_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda total: total)
    torch.manual_seed(1)
    found = []
    for kind in (nn.BatchNorm2d, TogetherNorm):
        images = torch.linspace(-1, 2, 4 * 5 * 6).sin().view(4, 5, 3, 2).clone().requires_grad_()
        norm = kind(5)
        (norm(images) * torch.arange(120.0).view(4, 5, 3, 2)).square().sum().backward()
        found.append([images.grad, norm.weight.grad, norm.bias.grad])
    for ours, theirs in zip(*found, strict=True):
        assert torch.allclose(ours, theirs, rtol=1e-3)


@pytest.mark.parametrize("processes", [2, 3, 5])
def test_synchronised_processes_take_the_batches_of_one(processes: int) -> None:
    """No image is dropped or doubled; a process may be left without one."""
    for count in range(2, 30):
        for size in range(2, 8):
            order = epoch_order(count, 7, 1)
            batches = divide_order(order, size)
            shards = [Shard(rank, processes, synchronised=True) for rank in range(processes)]
            each = [shards_of(divide_order(order, size, shard.least), shard) for shard in shards]
            for number, batch in enumerate(batches):
                assert np.concatenate([steps[number] for steps in each]).tolist() == batch.tolist()


def test_numbers_of_processes_are_told_apart() -> None:
    records = [RunRecord(environment=Environment(processes=number)) for number in (None, 2)]
    assert differing(records[:1], records[1:]) == ["processes that train together none against 2"]


VARIABLES = {
    "torchrun": {"TORCHELASTIC_RUN_ID": "x", "RANK": "3", "WORLD_SIZE": "8", "LOCAL_WORLD_SIZE": "4"},
    "srun": {"SLURM_STEP_NUM_TASKS": "8", "SLURM_PROCID": "3", "SLURM_NTASKS": "8"},
    "a batch script": {"SLURM_NTASKS": "8", "SLURM_PROCID": "0"},
    "nothing": {},
}


@pytest.mark.parametrize(
    ("started", "devices", "nodes", "found"),
    [
        ("torchrun", None, 1, Team(3, 4, 2)),
        ("torchrun", 4, 2, Team(3, 4, 2)),
        ("srun", 4, 2, Team(3, 4, 2)),
        ("srun", None, 1, None),  # eight workers that share the study
        ("a batch script", 4, 1, None),
        ("nothing", 2, 1, None),
        ("torchrun", 3, 2, "torchrun started 8 processes"),
        ("srun", 4, 1, "--devices 4 on 1 nodes: srun started 8 processes; make them agree"),
    ],
)
def test_who_started_the_team(
    monkeypatch: pytest.MonkeyPatch, started: str, devices: int | None, nodes: int, found: Team | str | None
) -> None:
    for name in {key for each in VARIABLES.values() for key in each}:
        monkeypatch.delenv(name, raising=False)
    for name, value in VARIABLES[started].items():
        monkeypatch.setenv(name, value)
    if isinstance(found, str):
        with pytest.raises(SpecError, match=found):
            team_here(devices, nodes)
    else:
        assert team_here(devices, nodes) == found


def test_no_more_processes_than_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "cuda", SimpleNamespace(device_count=lambda: 3, is_available=lambda: True))
    check_devices(3)
    with pytest.raises(SpecError, match="--devices 4: this machine has 3 GPUs; give 3 at most"):
        check_devices(4)


def test_small_batches_are_for_synchronised_processes() -> None:
    parts: list[Any] = [np.arange(5), np.arange(5, 7)]
    with pytest.raises(SpecError, match=r"use fewer processes, or set recipe\.sync_batch_norm: true"):
        shards_of(parts, Shard(0, 3))
    assert [len(part) for part in shards_of(parts, Shard(2, 3, synchronised=True))] == [1, 0]


@pytest.mark.parametrize(("asked", "amx", "chosen"), [("auto", True, "bf16-mixed"), ("auto", False, "32-true")])
def test_auto_precision_of_a_processor_is_bf16_only_with_amx(
    monkeypatch: pytest.MonkeyPatch, asked: str, amx: bool, chosen: str
) -> None:
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: amx)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True)  # alone, it makes steps slower
    assert choose_precision(asked, torch.device("cpu")) == chosen
    assert choose_precision("bf16", torch.device("cpu")) == "bf16-mixed"
