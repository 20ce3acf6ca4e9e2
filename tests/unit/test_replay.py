"""A recorded training step does what the plain one does; a fake recorder stands in for the GPU."""

import contextlib

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from torch import nn

from fakes import fake_kvasir
from segstudy.counts.counting import confusion_matrix
from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import UNSHARDED, Shard
from segstudy.evaluate import EVALUATION_BATCH, _batch_for, _counted_there, confusions, count_confusion
from segstudy.launch import obtain
from segstudy.launch.launchers import Work
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import read_state
from segstudy.plan import make_plan
from segstudy.progress import Progress, showing
from segstudy.schema import Recipe
from segstudy.spec import parse_study
from segstudy.store import Store
from segstudy.train.replay import WARM_UP, ReplayedStep, recorder_for, why_not

STUDY = """
name: replay
protocol: paper
data: {kvasir: {reader: kvasir, root: Kvasir-SEG}}
recipe:
  {epochs: 4, batch_size: 5, input_size: 32, precision: float32, schedule_by: step, warmup_epochs: 1, ema: 0.9, clip_norm: 1.0,
   augment: light, optimizer: {name: adam, lr: 1.0e-3}}
experiments:
  unet: {data: kvasir, model: {arch: unet, encoder: tu-test_resnet, weights: none, options: {decoder_channels: [16, 8, 8, 4, 4]}}}
seeds: [1]
"""
BATCHES = (5, 5, 2)  # 12 training images
CPU = torch.device("cpu")


class Again:
    """A recorder that calls the work again, on the tensors that it was recorded with."""

    def __init__(self) -> None:
        self.replays, self.asides = 0, 0

    @contextlib.contextmanager
    def aside(self):
        self.asides += 1
        yield

    def record(self, work):
        def replay():
            self.replays += 1
            return work()

        return replay


class Broken(Again):
    def record(self, work):
        raise RuntimeError("operation not permitted when stream is capturing\nand more")


class Notes(Progress):
    def __init__(self) -> None:
        super().__init__()
        self.lines = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def run(data, out, graphs=True, settings=()):
    """Losses by epoch, learning rates, and the weights of the best epoch."""
    study = parse_study(STUDY, settings=settings)
    with showing(quiet=True) as progress:
        workshop = Workshop(study, Store(out), data, progress, graphs=graphs)
        assert execute(workshop, make_plan(study)).failures == []
    folder = workshop.store.run("unet", 1)
    epochs = folder.read_metrics()
    return [e["loss"] for e in epochs], [e["lr"] for e in epochs], read_state(folder.best)


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    root = tmp_path_factory.mktemp("replay")
    fake_kvasir(root / "Kvasir-SEG", num_images=15, size=(40, 36))
    return root, run(root, root / "plain", graphs=False)


def test_replayed_steps_train_the_same_network(plain, tmp_path, monkeypatch):
    """A recorded step reads the learning rate from a float32: the last digits of the losses differ, and Adam, which divides by
    small numbers, lets them grow. With the rate read alike, recorded or not, nothing differs."""
    root, expected = plain
    recorder, notes = Again(), []
    monkeypatch.setattr("segstudy.progress.Progress.say", lambda _, line: notes.append(line))
    monkeypatch.setattr(obtain, "recorder_for", lambda *_: recorder)
    found = run(root, tmp_path / "graphs")
    full = 4 * BATCHES.count(5)
    assert (recorder.asides, recorder.replays) == (WARM_UP, full - WARM_UP)
    monkeypatch.setattr(obtain, "recorder_for", lambda *_: Broken())
    unrecorded = run(root, tmp_path / "broken")
    assert found[:2] == unrecorded[:2]
    assert all(torch.equal(found[2][name], value) for name, value in unrecorded[2].items())
    assert found[1] == expected[1]
    assert found[0][0] == pytest.approx(expected[0][0], rel=1e-4)
    assert found[0] == pytest.approx(expected[0], rel=0.03)
    assert [line for line in notes if "CUDA graph" in line] == [
        "  note: the step cannot be recorded as a CUDA graph (operation not permitted when stream is capturing); "
        "plain steps are used"
    ]


def test_replayed_steps_of_plain_descent_agree_to_the_digit(plain, tmp_path, monkeypatch):
    settings = ("recipe.optimizer.name=sgd", "recipe.epochs=3")
    expected = run(plain[0], tmp_path / "plain", graphs=False, settings=settings)
    monkeypatch.setattr(obtain, "recorder_for", lambda *_: Again())
    assert run(plain[0], tmp_path / "graphs", settings=settings)[0] == pytest.approx(expected[0], rel=1e-6)


def test_batches_are_copied_and_others_take_the_plain_step():
    """By hand: one weight, loss w * sum(x), rate 0.5, so each step takes away half of the batch's sum."""
    weight = nn.Parameter(torch.tensor(10.0))
    optimizer = torch.optim.SGD([weight], lr=0.5)

    def step(images, labels):
        loss = weight * images.sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss.detach(), len(labels)

    recorder = Again()
    replayed = ReplayedStep(step, optimizer, recorder, CPU, Notes())
    shapes, values = [2, 2, 2, 2, 1, 2, 2], [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]
    losses = [
        replayed(torch.full((n,), x), torch.zeros(n, dtype=torch.int64)) for n, x in zip(shapes, values, strict=True)
    ]
    expected, at = [], 10.0
    for n, x in zip(shapes, values, strict=True):
        expected.append((at * n * x, n))
        at -= 0.5 * n * x
    assert [(float(loss), number) for loss, number in losses] == expected
    assert float(weight.detach()) == at and recorder.replays == 3
    optimizer.param_groups[0]["lr"].fill_(0.0)  # as a schedule does
    replayed(torch.full((2,), 1.0), torch.zeros(2, dtype=torch.int64))
    assert float(weight.detach()) == at


@pytest.mark.parametrize(
    ("recipe", "network", "reason"),
    [
        (Recipe(accumulate=2), "smp", "accumulate"),
        (
            Recipe(loss="segstudy.train.losses:focal"),
            "smp",
            "recipe.loss 'segstudy.train.losses:focal' may do something in Python",
        ),
        (Recipe(), "mine", "a network of test_replay may do something in Python"),
    ],
)
def test_what_cannot_be_recorded_is_said(recipe, network, reason):
    class Mine(nn.Module):
        pass

    Known = type("Known", (nn.Module,), {"__module__": "segmentation_models_pytorch.decoders"})
    fabric = Fabric(accelerator="cpu")
    made = Known() if network == "smp" else Mine()
    assert why_not(recipe, made, fabric) == "there is no CUDA device"
    notes = Notes()
    assert recorder_for(recipe, made, fabric, notes) is None
    assert notes.lines == ["  note: --graphs: there is no CUDA device; plain steps are used"]
    on_gpu = type("OnGpu", (), {"device": torch.device("cuda"), "world_size": 1})()
    assert reason in why_not(recipe, made, on_gpu)
    assert why_not(Recipe(), Known(), on_gpu) == ""


def test_workers_are_asked_for_graphs_too(tmp_path):
    assert Work("demo", tmp_path, graphs=True).command()[-1] == "--graphs"
    assert "--graphs" not in Work("demo", tmp_path).command()


def test_confusions_on_a_device_are_the_processors():
    rng = np.random.default_rng(3)
    truth = rng.choice([0, 1, 2, 3, 255], size=(4, 9, 7)).astype(np.uint8)
    predicted = rng.integers(0, 4, size=(4, 9, 7)).astype(np.uint8)
    truth[2] = 255
    found = confusions(torch.from_numpy(truth).long(), torch.from_numpy(predicted).long(), 4)
    assert found.shape == (4, 4, 4)
    for one, t, p in zip(found, truth, predicted, strict=True):
        assert np.array_equal(one.numpy(), confusion_matrix(t, p, 4))


class Split(CachedSplit):
    """Random images and labels in memory."""

    def __init__(self, count: int, height: int, width: int) -> None:
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (count, height, width, 3), dtype=np.uint8)
        labels = rng.choice(np.array([0, 1, 2, 255], np.uint8), (count, height, width))
        dataset = type("D", (), {"classes": ("a", "b", "c")})()
        for name, value in {"images_nhwc": images, "labels_nhw": labels, "dataset": dataset}.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        return len(self.images_nhwc)


class Colours(nn.Module):
    def forward(self, images):
        return images


def test_a_gpu_counts_what_the_processor_counts():
    data = Split(37, 32, 64)
    found = np.stack([one["confusion"] for one in _counted_there(Colours(), data, CPU, UNSHARDED)])
    assert np.array_equal(found, count_confusion(Colours(), data, CPU))
    second = np.stack([one["confusion"] for one in _counted_there(Colours(), data, CPU, Shard(1, 2))])
    assert np.array_equal(second, found[1::2])


def test_small_images_are_predicted_in_large_batches_on_a_gpu():
    cuda = torch.device("cuda")
    assert _batch_for(Split(1, 256, 256), cuda) == 64
    assert _batch_for(Split(1, 1024, 2048), cuda) == EVALUATION_BATCH
    assert _batch_for(Split(1, 32, 32), CPU) == EVALUATION_BATCH


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU here")
def test_cuda_graphs_train_the_same_network(plain, tmp_path):
    root, _ = plain
    settings = ("recipe.augment=none", "recipe.deterministic=true")
    expected = run(root, tmp_path / "plain", graphs=False, settings=settings)
    found = run(root, tmp_path / "graphs", settings=settings)
    assert found[0] == pytest.approx(expected[0], rel=1e-3)
    assert found[1] == expected[1]
