"""Exports: what is written predicts what was scored, in its own runtime, or nothing is written."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from PIL import Image
from safetensors.torch import save_file
from torch import nn
from typer.testing import CliRunner

from fakes import fake_folder
from segstudy.cli import app
from segstudy.contestant import Contestant
from segstudy.errors import SegstudyError, SpecError, StoreError, WeightsError
from segstudy.exporting import KINDS, PROOF, Exported, export_folder, export_run
from segstudy.exporting.proof import DiffersError, Stored, Watched
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.networks import foreign
from segstudy.networks.build import read_state
from segstudy.networks.contestants import open_contestant
from segstudy.networks.export import read_weights
from segstudy.plan import Plan, make_plan
from segstudy.progress import showing
from segstudy.spec import load_study, parse_study
from segstudy.store import Store

NETWORKS = '''
import torch
from torch import nn


def tiny(num_classes):
    """Two convolutions."""
    return nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, num_classes, 1))


def unchanged(network, images):
    """An adaptation that changes nothing."""


class Square(nn.Module):
    """Adds what it sees of the whole image, brought to 32 x 32: it takes no other size."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 3, padding=1)

    def forward(self, x):
        found = self.conv(x)
        return found + nn.functional.interpolate(found[..., ::4, ::4], (32, 32)) if x.shape[-1] == 32 else found


class Fickle(nn.Module):
    """Has its classes the other way around when it is exported."""

    def __init__(self, num_classes):
        super().__init__()
        self.conv = nn.Conv2d(3, num_classes, 3, padding=1)

    def forward(self, x):
        return self.conv(x).flip(1) if torch.compiler.is_exporting() else self.conv(x)
'''
STUDY = """
name: exports
title: Small networks
data: {spot: {reader: folder, root: shapes, num_classes: 2}}
recipe: {epochs: 1, batch_size: 4, input_size: 32, precision: float32, optimizer: {lr: 0.01}}
experiments:
  tiny: {data: spot, model: {arch: "networks:tiny", weights: none}}
  square: {base: tiny, change: {model.arch: "networks:Square"}}
  fickle: {base: tiny, change: {model.arch: "networks:Fickle"}}
  crops: {base: tiny, change: {recipe.crop_px: 32}}
  mirrored: {base: tiny, change: {inference.flip: true}}
  adapted: {base: tiny, change: {inference.adaptation: "networks:unchanged"}}
  sure: {base: tiny, change: {inference.threshold: 0.48}}
  unet: {data: spot, model: {arch: unet, encoder: tu-test_efficientnet, weights: none}}
seeds: [1, 2]
"""
NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "openvino": ("openvino",)}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """A study whose runs are finished, but one that is not."""
    folder = tmp_path_factory.mktemp("exports")
    fake_folder(folder / "shapes", num_images=10, size=(48, 40))
    (folder / "networks.py").write_text(NETWORKS)
    (folder / "study.yaml").write_text(STUDY)
    study = load_study(str(folder / "study.yaml"))
    with showing(quiet=True) as progress:
        made = Workshop(study, Store(folder / "out"), None, progress)
        names = ["tiny", "square", "fickle", "crops", "mirrored", "adapted", "sure", "unet"]
        outcome = execute(made, make_plan(study).select(names, 1))
        assert outcome.failures == []
        yield made


def plan_of(workshop: Workshop) -> Plan:
    return make_plan(workshop.study)


def exported(workshop: Workshop, name: str, kind: str, target: Path, **options: object) -> Exported:
    for module in NEEDED.get(kind, ()):
        pytest.importorskip(module, reason=f"pip install segstudy[{kind}]")
    plan = plan_of(workshop)
    return export_run(workshop, plan, plan.select([name], 1).runs[0], kind, target, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def hub_folder(workshop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exported]:
    folder = tmp_path_factory.mktemp("hub") / "out"
    return folder, exported(workshop, "unet", "hub-folder", folder, num_pictures=2)


def metadata_of(folder: Path, kind: str) -> dict[str, str]:
    """Metadata as the runtime's own library reads it."""
    if kind == "onnx":
        onnx = pytest.importorskip("onnx")
        return {each.key: each.value for each in onnx.load(folder / "model.onnx").metadata_props}
    if kind == "torch-export":
        kept = {"segstudy.json": ""}
        torch.export.load(folder / "model.pt2", extra_files=kept)
        return dict(json.loads(kept["segstudy.json"]))
    if kind == "openvino":
        model = pytest.importorskip("openvino").Core().read_model(folder / "model.xml")
        return {
            key: model.get_rt_info(["segstudy", key]).astype(str) for key in model.get_rt_info("segstudy").astype(dict)
        }
    safetensors = pytest.importorskip("safetensors")
    with safetensors.safe_open(folder / "model.safetensors", framework="pt") as file:
        return dict(file.metadata())


def labels_of(network: nn.Module, path: Path) -> np.ndarray:
    """Classes of an image at 32 x 32, computed with nothing of the code under test."""
    small = np.asarray(Image.open(path).convert("RGB").resize((32, 32), Image.Resampling.BILINEAR)).astype(np.float64)
    images = (small / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    with torch.no_grad():
        logits = network.eval()(torch.from_numpy(images.transpose(2, 0, 1)[None]).float())
    return logits[0].argmax(dim=0).numpy()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "hub-folder"])
def test_the_file_predicts_what_was_scored(
    workshop: Workshop, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = exported(workshop, "tiny", kind, tmp_path / "out", licence="apache-2.0")
    check_export(workshop, "tiny", kind, tmp_path / "out", done, monkeypatch)
    assert ModelCard.load(tmp_path / "out/README.md").data.license == "apache-2.0"


def test_a_hub_folder_predicts_what_was_scored(
    workshop: Workshop, hub_folder: tuple[Path, Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    check_export(workshop, "unet", "hub-folder", *hub_folder, monkeypatch)


def check_export(
    workshop: Workshop, name: str, kind: str, folder: Path, done: Exported, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The code of the card, run as it stands, gives the classes of the weights that the study holds."""
    assert all(each.differing == 0 for each in done.proven.passes)
    assert [each.size for each in done.proven.passes] == ["32 x 32", "48 x 72"]
    assert done.proven.stored.differing == 0 and set(done.proven.stored.counts) <= {"calibration"}
    card = ModelCard.load(folder / "README.md")
    assert card.data.pipeline_tag == "image-segmentation"
    found = metadata_of(folder, kind)
    assert json.loads(found["classes"]) == ["background", "foreground"] and found["input_size"] == "32 x 32"
    assert found["run"] == f"exports:{name}/seed1" and json.loads(found["mean"]) == [0.485, 0.456, 0.406]
    assert found["identity"] == plan_of(workshop).first(name).identity
    (code,) = re.findall(r"^```python\n(.*?)^```$", card.content, re.MULTILINE | re.DOTALL)
    (image,) = list((Path(workshop.study.folder) / "shapes/images").glob("scene03.jpg"))
    shutil.copy(image, folder / "image.png")
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(workshop.study.folder)
    session: dict[str, np.ndarray] = {}
    exec(compile(code, "README.md", "exec"), session)
    (folder / "image.png").unlink()
    weights = workshop.store.run(name, 1).best
    network = read_weights_of(name, weights, workshop.study.folder)
    np.testing.assert_array_equal(session["labels"], labels_of(network, image))


def test_a_threshold_is_in_the_card(workshop: Workshop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The masks that were scored, by the code of the card: at 32 x 32, resized to 48 x 40 before the threshold."""
    done = exported(workshop, "sure", "torch-export", tmp_path / "out")
    assert done.proven.stored.differing == 0 and done.proven.stored.counts == ()
    card = (tmp_path / "out/README.md").read_text()
    assert "`foreground` where its probability (softmax of logits / 1.0) is at least 0.48" in card
    (code,) = re.findall(r"^```python\n(.*?)^```$", card, re.MULTILINE | re.DOTALL)
    masks = workshop.store.run("sure", 1).predictions("spot", "test")
    path = sorted(masks.iterdir())[0]
    shutil.copy(Path(workshop.study.folder) / "shapes/images" / f"{path.stem}.jpg", tmp_path / "out/image.png")
    monkeypatch.chdir(tmp_path / "out")
    larger = "logits = torch.nn.functional.interpolate(torch.from_numpy(logits), (40, 48), mode='bilinear').numpy()\n"
    session: dict[str, np.ndarray] = {}
    exec(compile(code.replace("probability =", f"{larger}probability ="), "README.md", "exec"), session)
    with Image.open(path) as mask:
        np.testing.assert_array_equal(session["labels"], np.asarray(mask))
    assert 0 < session["labels"].mean() < 1


def read_weights_of(name: str, weights: Path, folder: str) -> nn.Module:
    from safetensors.torch import load_file

    if name == "unet":
        import segmentation_models_pytorch as smp

        network: nn.Module = smp.create_model("unet", "tu-test_efficientnet", encoder_weights=None, classes=2)
    else:
        namespace: dict[str, object] = {}
        exec((Path(folder) / "networks.py").read_text(), namespace)
        network = namespace["tiny"](2)  # type: ignore[operator]
    network.load_state_dict(load_file(weights))
    return network


def test_a_network_that_works_otherwise_at_another_size_gets_a_file_of_one_size(
    workshop: Workshop, tmp_path: Path
) -> None:
    done = exported(workshop, "square", "torch-export", tmp_path / "out")
    assert done.proven.sizes.side == 32 and done.proven.stored.differing == 0
    assert done.proven.notes[0].startswith("any number of images of any size: ")
    card = (tmp_path / "out/README.md").read_text()
    assert (
        "the file takes any number of images of 32 x 32 pixels" in card
        and "A more general file was not possible" in card
    )
    with pytest.raises(WeightsError, match="takes images of 3 channels, 32 x 32"):
        foreign.load_runtime("torch_export", tmp_path / "out/model.pt2")(np.zeros((1, 3, 64, 64), np.float32))


def test_a_file_that_predicts_something_else_is_refused(workshop: Workshop, tmp_path: Path) -> None:
    with pytest.raises(DiffersError, match=r"no torch-export file was written:\n(.*\n)*.*pixels .* have another class"):
        exported(workshop, "fickle", "torch-export", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


class Fixed(nn.Module):
    """Gives the same logits for every image."""

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.tensor(logits)[None, :, None, None]

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits.expand(len(images), -1, *images.shape[-2:]).clone()


@pytest.mark.parametrize(
    ("ours", "theirs", "differing", "share"),
    [([2.0, -4.0], [2.0, -4.0], 0, 0.0), ([2.0, -4.0], [2.0, -3.0], 0, 0.25), ([2.0, -4.0], [-4.0, 2.0], 60, 1.5)],
)
def test_pixels_and_logits_by_hand(ours: list[float], theirs: list[float], differing: int, share: float) -> None:
    """Two images of 5 x 6; the largest logit is 4. The second pair has equal classes, but not equal logits."""
    watched = Watched(Fixed(theirs), Fixed(ours))
    watched(torch.zeros(2, 3, 5, 6))
    seen = watched.seen
    assert (seen.images, seen.pixels, seen.differing, seen.size) == (2, 60, differing, "5 x 6")
    assert seen.logits == pytest.approx(share)
    if share:
        with pytest.raises(DiffersError, match=f"{differing} of 60 pixels"):
            seen.check()
    else:
        seen.check()


def test_no_number_is_no_agreement() -> None:
    watched = Watched(Fixed([float("nan"), 0.0]), Fixed([1.0, 0.0]))
    watched(torch.zeros(1, 3, 2, 2))
    with pytest.raises(DiffersError):
        watched.seen.check()


def test_the_bound_is_one_pixel_in_a_thousand() -> None:
    stored = {"images": 1, "counts": (), "miou": 0.5, "stored_miou": 0.5}
    Stored(pixels=1000, differing=1, reasons=(), **stored).check()  # type: ignore[arg-type]
    Stored(pixels=1000, differing=2, reasons=("bf16",), **stored).check()  # type: ignore[arg-type]
    with pytest.raises(DiffersError, match="2 of 1,000 pixels"):
        Stored(pixels=1000, differing=2, reasons=(), **stored).check()  # type: ignore[arg-type]


def test_networks_trained_on_crops_take_images_of_their_own_size(workshop: Workshop, tmp_path: Path) -> None:
    done = exported(workshop, "crops", "torch-export", tmp_path / "out")
    assert [each.size for each in done.proven.passes] == ["40 x 48", "48 x 72"]
    assert done.proven.sizes.side is None and done.proven.stored.differing == 0


def test_passes_are_part_of_the_file(workshop: Workshop, tmp_path: Path) -> None:
    done = exported(workshop, "mirrored", "torch-export", tmp_path / "out")
    assert done.proven.stored.differing == 0
    assert "averaged over mirrored images" in (tmp_path / "out/README.md").read_text()


def test_a_hub_folder_has_pictures_and_is_scored_again(
    workshop: Workshop, hub_folder: tuple[Path, Exported], tmp_path: Path
) -> None:
    made, _ = hub_folder
    assert {path.name for path in made.iterdir()} == {
        *("README.md", "config.json", "model.safetensors", "pictures", PROOF)
    }
    card = (made / "README.md").read_text()
    assert card.count("](pictures/") == 2 and "None was declared" in card and "license" not in card.split("---")[1]
    for picture in (made / "pictures").iterdir():
        with Image.open(picture) as image:
            assert image.size == (3 * 307 + 8, 256)  # 48 x 40 at a height of 256, three times
    folder = Path(workshop.study.folder)
    arguments = [
        "--study",
        str(folder / "study.yaml"),
        "--experiment",
        "unet",
        "--seed",
        "1",
        "--out",
        str(tmp_path / "again"),
    ]
    assert CliRunner().invoke(app, ["import", str(made / "model.safetensors"), *arguments]).exit_code == 0
    with showing(quiet=True) as progress:
        again = Workshop(workshop.study, Store(tmp_path / "again"), None, progress)
        assert execute(again, plan_of(workshop).select(["unet"], 1)).failures == []
    ours, theirs = (
        np.load(each.run("unet", 1).evaluation("spot", "test"))["confusion"] for each in (workshop.store, again.store)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_a_hub_folder_is_scored_like_the_run_that_it_holds(
    workshop: Workshop, hub_folder: tuple[Path, Exported], tmp_path: Path
) -> None:
    """All that must be declared of it is with the weights; only a folder from elsewhere must be described."""
    folder = tmp_path / "hub"
    shutil.copytree(hub_folder[0], folder)
    text = "name: hub\ndata: {{spot: {{reader: folder, root: {root}, num_classes: 2}}}}\nrecipe: {{input_size: 32}}\n"
    text += "experiments: {{theirs: {{data: spot, evaluate: {{hf: {hub}}}}}}}\n"
    study = parse_study(text.format(root=Path(workshop.study.folder) / "shapes", hub=folder))
    with showing(quiet=True) as progress:
        again = Workshop(study, Store(tmp_path / "out"), None, progress)
        assert execute(again, make_plan(study)).failures == []
    (theirs,) = (run.seed for run in make_plan(study).runs)
    counted = [
        np.load(store.run(name, seed).evaluation("spot", "test"))["confusion"]
        for store, name, seed in ((workshop.store, "unet", 1), (again.store, "theirs", theirs))
    ]
    differing = np.abs(counted[0] - counted[1]).sum() / 2
    assert differing <= 0.001 * counted[0].sum()  # images come back from their normalised values
    plain = hub_folder[0] / "model.safetensors"
    save_file(read_state(plain), folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(SegstudyError, match=r"evaluate.classes: .*hub does not say its classes; set classes"):
        open_contestant(Contestant.model_validate({"hf": "hub"}), folder)
    declared = {"hf": "hub", "classes": ["background", "spot"], "normalise": "imagenet", "input_size": 32}
    assert open_contestant(Contestant.model_validate(declared), folder).size == (32, 32)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(SegstudyError, match="hub: cannot be loaded as a network of segmentation-models-pytorch"):
        open_contestant(Contestant.model_validate(declared), folder)


def refused(workshop: Workshop, name: str, kind: str, target: Path) -> str:
    with pytest.raises(SegstudyError) as caught:
        exported(workshop, name, kind, target)
    assert not target.exists() and [path for path in target.parent.iterdir() if "tmp" in path.name] == []
    return str(caught.value)


def test_what_cannot_be_exported_is_said(workshop: Workshop, tmp_path: Path) -> None:
    assert "adapts its network to the images that it is scored on" in refused(
        workshop, "adapted", "onnx", tmp_path / "out"
    )
    assert "only networks of segmentation-models-pytorch" in refused(workshop, "tiny", "hub-folder", tmp_path / "out")
    assert "did you mean 'onnx'" in refused(workshop, "tiny", "onxx", tmp_path / "out")


def test_a_folder_that_exists_is_kept(workshop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "kept").write_text("mine")
    with pytest.raises(StoreError, match="exists already; delete it, or choose another folder with --folder"):
        exported(workshop, "tiny", "torch-export", tmp_path)
    assert (tmp_path / "kept").read_text() == "mine"


@pytest.mark.parametrize(
    ("kind", "module"), [("onnx", "onnxruntime"), ("onnx", "onnxscript"), ("openvino", "openvino")]
)
def test_a_missing_package_is_named(
    workshop: Workshop, tmp_path: Path, kind: str, module: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, module, None)
    plan = plan_of(workshop)
    with pytest.raises(WeightsError, match=rf"pip install .segstudy\[{kind}\]"):
        export_run(workshop, plan, plan.select(["tiny"], 1).runs[0], kind, tmp_path / "out")


@pytest.fixture
def copied(workshop: Workshop, tmp_path: Path) -> Workshop:
    """The study with data and results of its own, which a test may damage."""
    folder = tmp_path / "copy"
    shutil.copytree(workshop.study.folder, folder)
    study = load_study(str(folder / "study.yaml"))
    return Workshop(study, Store(folder / "out"), None, workshop.progress)


def test_damaged_weights_are_refused(copied: Workshop, tmp_path: Path) -> None:
    best = copied.store.run("tiny", 1).best
    content = bytearray(best.read_bytes())
    content[-1] ^= 1
    best.write_bytes(content)
    assert "best.safetensors changed" in refused(copied, "tiny", "torch-export", tmp_path / "out")


def test_masks_that_are_not_those_of_the_weights_are_refused(copied: Workshop, tmp_path: Path) -> None:
    mask = next(copied.store.run("tiny", 1).predictions("spot", "test").iterdir())
    Image.fromarray(1 - np.asarray(Image.open(mask))).save(mask)
    said = refused(copied, "tiny", "torch-export", tmp_path / "out")
    assert "1,920 of 3,840 pixels (50.00%) have another class than in the masks that the run was scored with" in said


def test_data_that_changed_are_refused(copied: Workshop, tmp_path: Path) -> None:
    ids = np.load(copied.store.run("tiny", 1).evaluation("spot", "test"))["ids"].tolist()
    path = Path(copied.study.folder) / "shapes/images" / f"{ids[0]}.jpg"
    Image.fromarray(np.zeros((40, 48, 3), np.uint8)).save(path)
    assert "changed since the run was scored" in refused(copied, "tiny", "torch-export", tmp_path / "out")


def test_the_command(workshop: Workshop, tmp_path: Path) -> None:
    study = str(Path(workshop.study.folder) / "study.yaml")
    at = ["--out", str(workshop.store.root), "--quiet"]
    called = CliRunner().invoke(app, ["export", f"{study}:tiny/seed1", "--to", "torch-export", *at])
    plan = plan_of(workshop)
    folder = export_folder(workshop, plan.select(["tiny"], 1).runs[0], "torch-export")
    assert called.exit_code == 0 and folder == workshop.store.root / "exports/tiny-seed1-torch-export"
    assert (folder / "model.pt2").is_file()
    assert "against PyTorch at 48 x 72: 0 of 6,912 pixels differ" in called.output
    with pytest.raises(SpecError, match=r"no experiment is named 'tinny' .did you mean 'tiny'"):
        CliRunner().invoke(app, ["export", f"{study}:tinny", "--to", "onnx", *at], catch_exceptions=False)
    with pytest.raises(StoreError, match="tiny/seed2: is missing"):
        CliRunner().invoke(app, ["export", f"{study}:tiny/seed2", "--to", "onnx", *at], catch_exceptions=False)


def test_a_run_is_uploaded_as_its_hub_folder(
    workshop: Workshop, hub_folder: tuple[Path, Exported], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was written before is found again, as long as it is of the same weights."""
    plan, sent = plan_of(workshop), []
    run = plan.select(["unet"], 1).runs[0]
    monkeypatch.setattr("segstudy.exporting.push.push", lambda *given: sent.append(given) or "https://hub/commit")
    target = export_folder(workshop, run, "hub-folder")
    shutil.copytree(hub_folder[0], target)
    at = ["--repo", "me/unet", "--out", str(workshop.store.root), "--quiet"]
    called = CliRunner().invoke(app, ["push", f"{workshop.study.folder}/study.yaml:unet/seed1", *at])
    assert called.exit_code == 0 and "found " in called.output and "uploaded: https://hub/commit" in called.output
    assert sent == [(target, "me/unet", False)]
    proof = json.loads((target / PROOF).read_text())
    proof["metadata"]["weights_sha256"] = "0" * 64
    (target / PROOF).write_text(json.dumps(proof))
    with pytest.raises(StoreError, match="exists already; delete it"):
        CliRunner().invoke(app, ["push", f"{workshop.study.folder}/study.yaml:unet/seed1", *at], catch_exceptions=False)
    shutil.rmtree(target)


def test_weights_without_their_description_are_refused(workshop: Workshop) -> None:
    with pytest.raises(WeightsError, match="does not say which network it is"):
        read_weights(workshop.store.run("tiny", 1).best)
