"""How trained networks predict: passes, windows, ensembles, test-time adaptation; by hand, and in a study."""

from __future__ import annotations

import itertools
import shutil

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from torch.nn import functional as F

from fakes import fake_kvasir, fake_supervisely_csv
from segstudy.errors import SegstudyError, SpecError
from segstudy.files import read_arrays
from segstudy.launch.changes import data_changes
from segstudy.launch.pending import find_pending, preflight
from segstudy.launch.rescore import rescore
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.networks.adaptation import adabn, tent
from segstudy.networks.build import load_network, predict_logits, read_state
from segstudy.networks.inference import Ensemble, Passes, bare_network, prepare
from segstudy.plan import make_plan
from segstudy.predict import predict_images
from segstudy.report.frames import ReportData
from segstudy.results import read_results
from segstudy.schema import Inference
from segstudy.spec import parse_study
from segstudy.store import Store
from segstudy.train.team import make_fabric


def conv(seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Conv2d(3, 2, 3, padding=1).eval()


def pictures(number: int = 2, side: int = 32) -> torch.Tensor:
    return torch.randn(number, 3, side, side, generator=torch.Generator().manual_seed(1))


@torch.no_grad()
def test_mirrored_passes_are_averaged_as_probabilities() -> None:
    network, images = conv(), pictures()
    plain, mirrored = network(images).softmax(1), network(images.flip(3)).softmax(1).flip(3)
    found = Passes(network, Inference(flip=True))(images)
    torch.testing.assert_close(found, ((plain + mirrored) / 2).log())


@torch.no_grad()
def test_scales_resize_the_input_and_bring_logits_back() -> None:
    network, images = conv(), pictures(side=64)
    double = F.interpolate(images, (128, 128), mode="bilinear", antialias=True)
    back = F.interpolate(network(double), (64, 64), mode="bilinear")
    expected = (network(images).softmax(1) + back.softmax(1)) / 2
    torch.testing.assert_close(Passes(network, Inference(scales=[1.0, 2.0]))(images), expected.log())


@pytest.mark.parametrize("side", [96, 40, 33])  # 33 is smaller than a window and no multiple of 32
@torch.no_grad()
def test_windows_of_a_network_that_sees_single_pixels_give_the_whole_image(side: int) -> None:
    pytest.importorskip("monai")
    network, images = nn.Conv2d(3, 4, 1).eval(), pictures(1, side)
    found = Passes(network, Inference(window_px=64))(images)
    torch.testing.assert_close(found, network(images).log_softmax(1), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_windows_see_no_farther_than_their_own_side() -> None:
    pytest.importorskip("monai")

    class Mean(nn.Module):
        """The first logit of every pixel is the mean of the input that the network sees."""

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            mean = images.mean(dim=(1, 2, 3), keepdim=True).expand(-1, 1, *images.shape[2:])
            return torch.cat([mean, torch.zeros_like(mean)], dim=1)

    images = torch.zeros(1, 3, 32, 64)
    images[..., 32:] = 4
    found = Passes(Mean(), Inference(window_px=32, window_overlap=0.0))(images)[0, :, 0]
    expected = torch.tensor([0.5, 1 / (1 + np.exp(-4))])
    torch.testing.assert_close(found[0].exp()[[0, 63]], expected, check_dtype=False)


@torch.no_grad()
def test_an_ensemble_averages_probabilities_not_logits() -> None:
    members, images = [conv(0), conv(1), conv(2)], pictures()
    mean = sum(member(images).softmax(1) for member in members) / 3
    torch.testing.assert_close(Ensemble(members)(images), mean.log())


def test_adabn_takes_mean_and_variance_over_all_pixels_of_all_images() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 2, 1))
    batches = [5 + 2 * pictures(16), pictures(3) - 1]
    adabn(network, lambda: iter(batches))
    values = torch.cat(batches).double().movedim(1, 0).flatten(1).numpy()
    np.testing.assert_allclose(network[0].running_mean, values.mean(axis=1), rtol=1e-5)
    np.testing.assert_allclose(network[0].running_var, values.var(axis=1), rtol=1e-5)
    assert not any(module.training for module in network.modules())


def test_a_layer_that_sees_one_value_keeps_its_statistics() -> None:
    network = nn.Sequential(nn.BatchNorm2d(3), nn.AdaptiveAvgPool2d(1), nn.BatchNorm2d(3), nn.Upsample((32, 32)))
    adabn(network, lambda: iter([pictures(1), pictures(1)]))
    assert network[2].running_mean.tolist() == [0, 0, 0] and network[2].running_var.tolist() == [1, 1, 1]
    assert network[0].running_mean.abs().min() > 0


def test_tent_lowers_the_entropy_and_changes_only_normalisation() -> None:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 2, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = pictures(8)

    def entropy() -> float:
        with torch.no_grad():
            log_p = network.eval()(images).log_softmax(1)
        return float(-(log_p.exp() * log_p).sum(1).mean())

    adabn(network, lambda: iter([images]))
    first = entropy()
    tent(network, lambda: iter([images]), lr=0.01, passes=20)
    assert entropy() < first - 0.02
    changed = {name for name, value in network.state_dict().items() if not torch.equal(value, before[name])}
    assert changed - {"1.num_batches_tracked"} == {"1.weight", "1.bias", "1.running_mean", "1.running_var"}
    assert all(parameter.requires_grad for parameter in network.parameters())


NETWORK = "{arch: unet, encoder: tu-test_resnet, weights: none, options: {decoder_channels: [16, 8, 8, 4, 4]}}"
STUDY = """
name: passes
data:
  kvasir: {reader: kvasir, root: Kvasir-SEG}
  person: {reader: supervisely, root: person}
recipe: {epochs: 1, batch_size: 4, input_size: 32, optimizer: {lr: 1.0e-3}, precision: float32}
experiments:
  both: {ensemble_of: unet}
  unet: {data: kvasir, model: NETWORK}
  flipped: {base: unet, change: {inference.flip: true}}
  adapted: {base: unet, change: {inference.adaptation: {name: tent, lr: 0.01}}}
  both-flipped: {base: both, change: {inference.flip: true}}
cross_evaluations:
  - {experiment: adapted, on: person, map: {polyp: person}}
  - {experiment: unet, on: person, map: {polyp: person}}
seeds: [1, 2]
""".replace("NETWORK", NETWORK)


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    root = tmp_path_factory.mktemp("passes")
    fake_kvasir(root / "data" / "Kvasir-SEG", num_images=15, size=(40, 36))
    fake_supervisely_csv(root / "data" / "person", num_images=4)
    study = parse_study(STUDY)
    workshop = Workshop(study, Store(root / "out"), root / "data")
    outcome = execute(workshop, make_plan(study))
    assert outcome.failures == [] and outcome.held == []
    return workshop


def counts(workshop: Workshop, experiment: str, seed: int = 1, on: str = "kvasir") -> np.ndarray:
    path = workshop.store.run(experiment, seed).evaluation(on, "test")
    return read_arrays(path)[0]["confusion"]


def test_an_experiment_that_only_predicts_otherwise_has_the_same_network(done) -> None:
    for seed in (1, 2):
        base, flipped = (done.store.run(name, seed) for name in ("unet", "flipped"))
        assert base.best.read_bytes() == flipped.best.read_bytes()
        assert base.metrics.read_bytes() == flipped.metrics.read_bytes()
        assert flipped.record().trained_as == f"unet/seed{seed}" and base.record().trained_as is None
        assert not np.array_equal(counts(done, "unet", seed), counts(done, "flipped", seed))


def test_counts_of_an_ensemble_are_those_of_mean_probabilities(done) -> None:
    plan = make_plan(done.study)
    config = plan.first("unet").config
    data = done.cached("kvasir", "test", 32, native_labels=True)
    images = torch.from_numpy(np.array([data.images_nhwc[np.array([k])][0] for k in range(len(data))]))
    normalised = (images.movedim(-1, 1).float() / 255 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]) / (
        torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    )
    total = 0
    for seed in (1, 2):
        network = bare_network(config, 2).eval()
        load_network(network, read_state(done.store.run("unet", seed).best), "")
        with torch.no_grad():
            total = total + network(normalised).softmax(1)
    found = counts(done, "both")
    for k in range(len(data)):
        truth = data.native_labels[np.array([k])][0]
        logits = F.interpolate((total[k : k + 1] / 2).log(), truth.shape, mode="bilinear")
        expected = np.bincount(2 * truth.ravel().astype(int) + logits[0].argmax(0).numpy().ravel(), minlength=4)
        np.testing.assert_array_equal(found[k].ravel(), expected)


def test_an_ensemble_is_one_run_after_its_members(done) -> None:
    runs = [run.name for run in make_plan(done.study).runs]
    assert make_plan(done.study).first("both").identity != make_plan(done.study).first("unet").identity
    assert runs[-2:] == ["both/seed1", "both-flipped/seed1"] and len(runs) == 8
    record = done.store.run("both", 1).record()
    assert record.members is not None and list(record.members) == ["unet/seed1", "unet/seed2"]


def test_everything_is_scored_again_alike_and_predicted_alike(done, tmp_path) -> None:
    plan = make_plan(done.study)
    assert rescore(done, plan) == []
    images = [sample.image for sample in done.dataset("kvasir")[0].samples("test")]
    for name in ("flipped", "both-flipped", "adapted"):
        run = plan.first(name)
        found = predict_images(run, done.store.run(name, 1), images, tmp_path / name)
        for path in found.masks:
            scored = done.store.run(name, 1).predictions("kvasir", "test") / path.name
            np.testing.assert_array_equal(np.asarray(Image.open(path)), np.asarray(Image.open(scored)))


def test_adaptation_sees_the_target_of_a_cross_evaluation(done) -> None:
    assert not np.array_equal(counts(done, "unet", on="person"), counts(done, "adapted", on="person"))


def test_the_contract_says_how_predictions_were_made(done) -> None:
    results = read_results(done.store, make_plan(done.study))
    text = ReportData(results).scores.set_index("experiment")["predicts"].to_dict()
    assert text["unet"] == "" and text["flipped"] == "averaged over mirrored images"
    assert text["both-flipped"] == "mean of 2 networks, averaged over mirrored images"
    assert text["adapted"] == "adapted (tent, lr 0.01) to the scored images without their masks"
    single = results.comparisons["both"]
    assert single.difference is None or "recipe" not in str(single.verdict)


def test_a_member_that_was_trained_again_is_noticed(done, tmp_path) -> None:
    shutil.copytree(done.store.root, tmp_path / "out")
    other = Workshop(done.study, Store(tmp_path / "out"), done.data_root)
    shutil.copy(other.store.run("flipped", 2).best, other.store.run("unet", 1).best)
    plan = make_plan(done.study)
    assert "weights of unet/seed1" in data_changes(other, plan)["both/seed1"]


def test_members_that_are_missing_are_named(done, tmp_path) -> None:
    workshop = Workshop(done.study, Store(tmp_path / "out"), done.data_root)
    outcome = execute(workshop, make_plan(done.study).select(["both"]))
    assert outcome.failures == ["both/seed1: needs the networks of unet/seed1, unet/seed2; train these first"]


def test_runs_that_were_made_before_these_keys_stay_valid(done) -> None:
    plan = make_plan(done.study)
    values = {
        key: value for key, value in plan.first("unet").values.items() if not key.startswith(("inference", "ens"))
    }
    before = plan.first("unet")._digest(values)
    assert before == plan.first("unet").identity
    assert all(each.state == "done" for each in find_pending(done.store, plan))


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (("ensemble_of: unet", "ensemble_of: nett"), "no experiment is named 'nett'"),
        (("ensemble_of: unet", "ensemble_of: unet, data: kvasir"), "takes everything from ensemble_of; remove data"),
        (("ensemble_of: unet", "ensemble_of: both-flipped"), "leads back to itself"),
        (("seeds: [1, 2]", "seeds: [1]"), "needs a list of two or more seeds"),
        (("{base: both, change: {inference.flip: true}}", "{ensemble_of: both}"), "'both' is an ensemble already"),
        (
            ("base: both, change: {inference.flip: true}", "base: both, change: {recipe.epochs: 2}"),
            "recipe.epochs: cannot be changed",
        ),
        (
            ("inference.flip: true", "inference.flips: true"),
            "inference.flips: cannot be changed (did you mean 'inference.flip'?)",
        ),
        (("inference.flip: true", "inference.scales: []"), "must not be empty"),
        (("{name: tent, lr: 0.01}", "tend"), "did you mean 'tent'"),
        (("{name: tent, lr: 0.01}", "{name: tent, rate: 1}"), "rate: unknown key"),
    ],
)
def test_mistakes_are_named(edit: tuple[str, str], words: str) -> None:
    with pytest.raises(SpecError) as caught:
        parse_study(STUDY.replace(*edit, 1))
    assert words in str(caught.value)


def test_what_a_network_cannot_do_is_said_before_training(tmp_path) -> None:
    fake_kvasir(tmp_path / "Kvasir-SEG", num_images=8, size=(40, 36))
    (tmp_path / "plainnet.py").write_text("import torch\n\ndef plain(n):\n    return torch.nn.Conv2d(3, n, 1)\n")
    text = (
        STUDY.split("cross_evaluations")[0]
        .replace("  both: {ensemble_of: unet}\n", "")
        .replace(NETWORK, '{arch: "plainnet:plain"}')
    )
    text = "\n".join(line for line in text.splitlines() if "both" not in line and "person" not in line)
    study = parse_study(text, folder=str(tmp_path))
    workshop = Workshop(study, Store(tmp_path / "out"), tmp_path)
    with pytest.raises(SegstudyError) as caught:
        preflight(workshop, make_plan(study).runs)
    assert "experiments.adapted: inference.adaptation: tent needs batch normalisation" in str(caught.value)


def test_prepare_leaves_the_trained_network_as_it_is() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    before = {name: value.clone() for name, value in network.state_dict().items()}
    study = parse_study(STUDY)
    fabric = make_fabric(study.recipe, "cpu")
    model = prepare(network, Inference(adaptation="tent"), lambda: itertools.repeat(pictures(), 2), fabric)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not torch.equal(predict_logits(model, pictures()), predict_logits(network, pictures()))
