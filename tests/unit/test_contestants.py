"""Networks that are scored without training: their files by their own runtimes, what is declared of them, and in a study."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from fakes import fake_kvasir
from segstudy import cli
from segstudy.archive import write_archive
from segstudy.contestant import Contestant
from segstudy.errors import SegstudyError
from segstudy.files import network_sha256, read_arrays, verify
from segstudy.launch.pending import find_problems
from segstudy.launch.rescore import rescore
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.networks.contestants import ContestantNetwork, open_contestant
from segstudy.networks.foreign import load_runtime
from segstudy.networks.inference import scored_network
from segstudy.plan import make_plan
from segstudy.probabilities import read_probabilities
from segstudy.report.contract import contract
from segstudy.report.frames import ReportData
from segstudy.report.sections.risk import risk_frame
from segstudy.results import compare_results, read_results
from segstudy.spec import load_study, parse_study
from segstudy.store import Store

MEAN, STD = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
DECLARED = {"classes": ["background", "polyp"], "normalise": "unit", "output": "logits"}


def conv(channels: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Conv2d(3, channels, 3, padding=1).eval()


def exported(path: Path, network: nn.Module, *, sides: tuple[int, int] = (32, 48)) -> Path:
    torch.export.save(torch.export.export(network, (torch.rand(1, 3, *sides),)), path)
    return path


def onnx_file(path: Path, weights: np.ndarray, shape: list[int | str]) -> Path:
    """A 1 x 1 convolution as an ONNX file, made without torch's exporter."""
    onnx = pytest.importorskip("onnx")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Conv", ["image", "weights"], ["logits"])],
        "g",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info("logits", kind, [shape[0], len(weights), *shape[2:]])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def tflite_file(path: Path, shape: list[int]) -> Path:
    """A TensorFlow Lite file of one operator, the logistic function."""
    schema = pytest.importorskip("ai_edge_litert.schema_py_generated")
    flatbuffers = pytest.importorskip("flatbuffers")

    def tensor(name: str) -> object:
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name, shape, schema.TensorType.FLOAT32, 0
        return one

    code, operator, graph, model = schema.OperatorCodeT(), schema.OperatorT(), schema.SubGraphT(), schema.ModelT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.LOGISTIC
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [0], [1]
    graph.tensors, graph.inputs, graph.outputs, graph.operators = [tensor("in"), tensor("out")], [0], [1], [operator]
    model.version, model.operatorCodes, model.subgraphs, model.buffers = 3, [code], [graph], [schema.BufferT()]
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), b"TFL3")
    path.write_bytes(bytes(builder.Output()))
    return path


@pytest.fixture
def segstudy(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Call the command line; gives exit code and everything that it said."""

    def call(*arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["segstudy", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        said = capsys.readouterr()
        return code, " ".join((said.out + said.err).split())

    return call


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).random((3, 3, 32, 48), dtype=np.float32)


def test_the_file_of_weights_next_to_a_network_counts(tmp_path: Path) -> None:
    network, weights = tmp_path / "a.xml", tmp_path / "a.bin"
    network.write_text("<net/>")
    alone = network_sha256(network)
    assert alone == hashlib.sha256(b"<net/>").hexdigest()
    weights.write_bytes(b"1")
    first = network_sha256(network)
    weights.write_bytes(b"2")
    assert len({alone, first, network_sha256(network)}) == 3
    (tmp_path / ".hidden").write_text("x")
    before = network_sha256(tmp_path)
    (tmp_path / ".hidden").write_text("y")
    assert network_sha256(tmp_path) == before


def test_an_onnx_file_gives_what_its_convolution_gives(tmp_path: Path, images: np.ndarray) -> None:
    pytest.importorskip("onnxruntime")
    weights = np.array([[1, 2, -1], [0, -3, 1]], np.float32)
    path = onnx_file(tmp_path / "a.onnx", weights[:, :, None, None], ["n", 3, "h", "w"])
    runtime = load_runtime("onnx", path)
    assert runtime.shape_nchw == (None, 3, None, None)
    np.testing.assert_allclose(runtime(images), np.einsum("kc,nchw->nkhw", weights, images), atol=1e-5)


def test_a_fixed_batch_is_filled_up_and_cut(tmp_path: Path, images: np.ndarray) -> None:
    network = conv()
    runtime = load_runtime("torch_export", exported(tmp_path / "a.pt2", network))
    assert runtime.shape_nchw == (1, 3, 32, 48)
    with torch.no_grad():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(runtime(images), expected, atol=1e-6)


def test_a_file_with_the_channel_last_is_turned(tmp_path: Path, images: np.ndarray) -> None:
    path = tflite_file(tmp_path / "a.tflite", [1, 32, 48, 3])
    runtime = load_runtime("tflite", path)
    assert (runtime.layout, runtime.shape_nchw) == ("nhwc", (1, 3, 32, 48))
    np.testing.assert_allclose(runtime(images), 1 / (1 + np.exp(-images)), atol=1e-6)


@pytest.mark.parametrize("kind", ["onnx", "torch_export", "tflite"])
def test_a_file_that_is_no_network_is_a_message(tmp_path: Path, kind: str) -> None:
    modules = {"onnx": "onnxruntime", "tflite": "ai_edge_litert"}
    if kind in modules:
        pytest.importorskip(modules[kind])
    (tmp_path / "a").write_bytes(b"PK\x03\x04 no network")
    with pytest.raises(SegstudyError, match=rf"a: cannot be loaded as {kind} \("):
        load_runtime(kind, tmp_path / "a")


def test_images_of_another_size_are_a_message(tmp_path: Path, images: np.ndarray) -> None:
    runtime = load_runtime("torch_export", exported(tmp_path / "a.pt2", conv()))
    with pytest.raises(
        SegstudyError, match=r"takes images of 3 channels, 32 x 48, given 3 channels, 16 x 48; set input_size"
    ):
        runtime(images[:, :, :16])


def network_of(run: object, **declared: object) -> ContestantNetwork:
    from segstudy.networks.contestants import _normalise, _size

    given = Contestant.model_validate({"python": "m:f", **DECLARED, **declared})
    return ContestantNetwork(given, run, given.classes, _normalise(given), _size(given))


def normalised(rgb: np.ndarray) -> Tensor:
    """uint8 (h, w, 3) as networks of segstudy take it."""
    return torch.from_numpy((rgb / np.float32(255) - MEAN) / STD).permute(2, 0, 1)[None]


def test_pixels_reach_a_network_as_declared() -> None:
    rgb = np.random.default_rng(1).integers(0, 256, (33, 47, 3), dtype=np.uint8)
    seen = []

    def run(images: Tensor) -> Tensor:
        seen.append(images.numpy())
        return images[:, :2]

    network_of(run, normalise={"scale": 2, "mean": [1, 2, 3], "std": [4, 5, 6]}, channels="bgr", input_size=[16, 20])(
        normalised(rgb)
    )
    small = np.asarray(Image.fromarray(rgb).resize((20, 16), Image.Resampling.BILINEAR))[:, :, ::-1]
    expected = (small / 2 - np.array([1, 2, 3])) / np.array([4, 5, 6])
    np.testing.assert_allclose(seen[0][0], expected.transpose(2, 0, 1), atol=1e-5)


def test_every_kind_of_output_becomes_logits_of_its_classes() -> None:
    one = torch.tensor([[0.2, 0.9], [0.5, 0.6]])
    image = torch.zeros(1, 3, 2, 2)
    logit = network_of(lambda images: (one - 0.5)[None, None])(image)
    torch.testing.assert_close(logit.softmax(1)[0, 1], (one - 0.5).sigmoid())
    probability = network_of(lambda images: one[None], output="probabilities")(image)  # without an axis of channels
    torch.testing.assert_close(probability.softmax(1)[0, 1], one)
    both = network_of(lambda images: torch.stack([1 - one, one])[None], output="probabilities")(image)
    torch.testing.assert_close(both.softmax(1)[0, 1], one)
    labels = network_of(lambda images: (one > 0.5).long()[None].numpy(), output="labels")(image)
    assert labels.argmax(1)[0].tolist() == [[0, 1], [0, 1]]


WRONG = {
    "channels": (
        lambda images: images,
        {},
        r"shape \(1, 3, 64, 64\), but 2 classes are declared \(background, polyp\)",
    ),
    "logits-as-probabilities": (lambda images: images[:, :2] + 5, {"output": "probabilities"}, "is not probabilities"),
    "probabilities-as-logits": (lambda images: images[:, :2] + 0.5, {}, "set output: probabilities"),
    "labels": (lambda images: images[:, 0] + 2, {"output": "labels"}, "whole numbers from 0 to 1"),
    "text": (lambda images: "none", {}, "returned str; it must return an array or a tensor"),
    "raises": (lambda images: images[9], {}, "stopped with IndexError"),
    "exits": (lambda images: sys.exit(2), {}, "stopped with SystemExit: 2"),
    "objects": (lambda images: np.array([None]), {}, "output of type object: stopped with TypeError"),
}


@pytest.mark.parametrize("case", WRONG)
def test_an_output_that_does_not_fit_is_a_message(case: str) -> None:
    run, declared, message = WRONG[case]
    with pytest.raises(SegstudyError, match=message):
        network_of(run, **declared)(
            normalised(np.zeros((64, 64, 3), np.uint8)) * 0 + normalised(np.zeros((64, 64, 3), np.uint8))
        )


STUDY = """\
name: s
data: {d: {reader: kvasir, root: data}}
experiments:
  unet: {data: d, model: {arch: unet}}
  it: {data: d, evaluate: EVALUATE}
"""
FAULTS = {
    "{classes: [a, b]}": "must name one network by one of onnx, torch_export, tflite, openvino, hf, python (given: none)",
    "{onnx: a, hf: b}": "must name one network by one of onnx, torch_export, tflite, openvino, hf, python (given: onnx, hf)",
    "{onnx: a}": "needs classes, normalise, output: classes are the names",
    "{onnxx: a}": "unknown key (did you mean 'onnx'?)",
    "{onnx: a, classes: [a, b], normalise: imagnet, output: logits}": "is 'imagnet', must be 'imagenet', 'unit' or 'none'",
    "{onnx: a, classes: [a, b], normalise: {sdt: 1}, output: logits}": "unknown key (did you mean 'std'?)",
    "{onnx: a, classes: [a, a], normalise: unit, output: logits}": "classes holds a name twice: a, a",
    "{onnx: a, classes: [a, b], normalise: unit, output: labels, threshold: 0.3}": "threshold needs two classes",
    "{python: 'a:b', layout: nhwc, classes: [a, b], normalise: unit, output: logits}": "layout has no effect for python",
}


@pytest.mark.parametrize("given", FAULTS)
def test_a_declaration_that_says_too_little_is_a_message_with_its_line(given: str) -> None:
    with pytest.raises(SegstudyError) as caught:
        parse_study(STUDY.replace("EVALUATE", given))
    assert "study:5: experiments.it.evaluate" in str(caught.value) and FAULTS[given] in str(caught.value)


def test_a_network_that_is_not_trained_changes_in_inference_alone() -> None:
    given = STUDY.replace("EVALUATE", "{hf: a}") + "  other: {base: it, change: {recipe.epochs: 3}}\n"
    with pytest.raises(SegstudyError, match=r"other.change.recipe.epochs: cannot be changed; keys: inference.flip"):
        parse_study(given)
    with pytest.raises(SegstudyError, match="needs data, or the base that it is compared with, and nothing else"):
        parse_study(STUDY.replace("data: d, evaluate: EVALUATE", "data: d, model: {arch: unet}, evaluate: {hf: a}"))


CALLABLES = """\
def bright(images):
    return images.mean(dim=1, keepdim=True) - 0.5
"""
CONTEST = """\
name: contest
data: {d: {reader: kvasir, root: data}}
recipe: {input_size: 32, epochs: 1, batch_size: 4, precision: float32}
experiments:
  unet: {data: d, model: {arch: linknet, encoder: tu-test_resnet, weights: none}}
  warm: {base: unet, change: {inference.temperature: fitted}}
  bright:
    base: unet
    evaluate: {python: "mine:bright", classes: [no, yes], map: {no: background, yes: polyp}, normalise: unit, output: logits}
  file:
    base: unet
    evaluate: {torch_export: a.pt2, classes: [a, b, polyp], map: {"*": background}, normalise: imagenet, output: logits}
  tuned: {base: bright, change: {inference.threshold: selected}}
keep_probabilities: true
seeds: [1, 2]
"""


@pytest.fixture(scope="module")
def contest(tmp_path_factory: pytest.TempPathFactory) -> Workshop:
    """A study with a trained network and two that are only scored."""
    root = tmp_path_factory.mktemp("contest")
    fake_kvasir(root / "data", num_images=20)
    (root / "mine.py").write_text(CALLABLES)
    exported(root / "a.pt2", conv(3))
    (root / "s.yaml").write_text(CONTEST)
    workshop = Workshop(load_study(root / "s.yaml"), Store(root / "out"))
    outcome = execute(workshop, make_plan(workshop.study))
    assert not outcome.failures
    return workshop


def folder_of(contest: Workshop) -> Path:
    return contest.store.root.parent


def test_a_network_that_is_not_trained_is_one_run_of_one_seed(contest: Workshop) -> None:
    names = [run.name for run in make_plan(contest.study).runs]
    assert [name for name in names if not name.startswith(("unet", "warm"))] == [
        "bright/seed1",
        "file/seed1",
        "tuned/seed1",
    ]


def test_its_counts_are_those_of_its_predictions_by_hand(contest: Workshop) -> None:
    """Brightness over one half, at each image's own size, in every reported image."""
    dataset, roles = contest.dataset("d")
    arrays, meta = read_arrays(contest.store.run("bright", 1).evaluation("d", roles.report))
    for name, counted in zip(arrays["ids"], arrays["confusion"], strict=True):
        sample = next(one for one in dataset.samples(roles.report) if one.id == name)
        predicted = np.asarray(Image.open(sample.image), np.float64).mean(axis=2) / 255 > 0.5
        truth = dataset.labels_of(sample)
        expected = [[((truth == t) & (predicted == p)).sum() for p in (False, True)] for t in (0, 1)]
        np.testing.assert_array_equal(counted, expected)
    assert (meta["train_data"], meta["selected_on"]) == ("not trained here", "not trained here")
    assert rescore(contest, make_plan(contest.study)) == []


def test_classes_of_a_file_are_mapped_and_the_star_takes_the_rest(contest: Workshop) -> None:
    dataset, roles = contest.dataset("d")
    arrays, _ = read_arrays(contest.store.run("file", 1).evaluation("d", roles.report))
    sample = next(one for one in dataset.samples(roles.report) if one.id == arrays["ids"][0])
    with torch.no_grad():
        found = conv(3)(normalised(np.asarray(Image.open(sample.image)))).argmax(1)[0].numpy() == 2
    truth = dataset.labels_of(sample)
    expected = [[((truth == t) & (found == p)).sum() for p in (False, True)] for t in (0, 1)]
    np.testing.assert_array_equal(arrays["confusion"][0], expected)


def test_against_a_recipe_of_several_seeds_there_is_no_verdict(contest: Workshop) -> None:
    results = read_results(contest.store, make_plan(contest.study))
    found = results.comparisons["bright"]
    assert (
        found.difference is not None
        and found.verdict == ""
        and "one side has a single network" in found.difference.assumption
        and "compare it with one seed of the other side" in found.difference.assumption
        and "Train it" not in found.difference.assumption
    )
    assert any("bright: not trained here" in flag and "may have seen the scored images" in flag for flag in found.flags)
    assert found.changes == {"model.evaluate": ("python mine:bright", "trained here")}
    direct = compare_results(
        f"{folder_of(contest)}/s.yaml:bright", f"{folder_of(contest)}/s.yaml:file", out=contest.store.root
    )
    assert direct.verdict in ("better", "worse", "not distinguishable")  # two networks, on images like these


def test_an_archive_holds_what_it_can_of_networks_from_elsewhere(contest: Workshop, tmp_path: Path) -> None:
    store, plan = Store(tmp_path / "copy"), make_plan(contest.study)
    shutil.copytree(contest.store.root, store.root)
    with pytest.MonkeyPatch.context() as patch:  # one seed of unet is a network of another library
        odd = store.run("unet", 2)
        patch.setattr(
            "segstudy.archive.scored_network",
            lambda config, folder, n: (
                nn.Conv2d(3, n, 1) if folder.path == odd.path else scored_network(config, folder, n)
            ),
        )
        path, notes = write_archive(store, plan)
    assert verify(path)[1] == []
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        assert archive.read("runs/unet/seed2/best.safetensors") == odd.best.read_bytes()
    assert "runs/unet/seed1/model/model.safetensors" in names and "runs/unet/seed1/best.safetensors" not in names
    assert {f"runs/{name}/seed1/evaluations/d-test.npz" for name in ("bright", "file", "tuned")} <= set(names)
    assert sorted(note.split(":")[0] for note in notes) == ["bright/seed1", "file/seed1", "tuned/seed1", "unet/seed2"]
    assert "was not trained here" in notes[1] and "its weights are packed as best.safetensors" in " ".join(notes)


def test_the_report_says_what_was_not_trained_here(contest: Workshop) -> None:
    data = ReportData(read_results(contest.store, make_plan(contest.study)))
    words = contract(data.scores)
    assert "bright, file, tuned: not trained here: whether the training data hold scored images is unknown." in words
    row = data.experiments.set_index("experiment").loc["file"]
    assert (row["weights"], row["note"]) == ("not trained here", "Contestant (evaluate)")
    assert set(risk_frame(data)["experiment"]) == {"unet", "warm", "bright", "file", "tuned"}


def test_a_second_call_does_nothing_and_an_edited_network_is_another_run(
    contest: Workshop, segstudy: Callable[..., tuple[int, str]]
) -> None:
    plan = make_plan(contest.study)
    before = {run.name: run.identity for run in plan.runs}
    stamps = {path: path.stat().st_mtime_ns for path in contest.store.root.rglob("evaluations/*.npz")}
    assert not execute(contest, plan).failures
    assert stamps == {path: path.stat().st_mtime_ns for path in contest.store.root.rglob("evaluations/*.npz")}
    path = folder_of(contest) / "a.pt2"
    content = path.read_bytes()
    try:
        exported(path, nn.Conv2d(3, 3, 1))
        after = {run.name: run.identity for run in make_plan(contest.study).runs}
        assert [name for name in before if before[name] != after[name]] == ["file/seed1"]
        code, said = segstudy("predict", f"{folder_of(contest)}/s.yaml:file", path, "--out", contest.store.root)
        assert code == 2 and "made with other settings" in said
    finally:
        path.write_bytes(content)


def test_predict_gives_the_masks_that_were_scored(
    contest: Workshop, segstudy: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    for name in ("bright", "tuned"):
        run = f"{folder_of(contest)}/s.yaml:{name}"
        images = str(folder_of(contest) / "data" / "images")
        code, said = segstudy("predict", run, images, "--out", contest.store.root, "--to", tmp_path / name)
        assert code == 0, said
        _, roles = contest.dataset("d")
        scored = sorted(contest.store.run(name, 1).predictions("d", roles.report).glob("*.png"))
        assert scored
        for path in scored:
            np.testing.assert_array_equal(
                np.asarray(Image.open(tmp_path / name / path.name)), np.asarray(Image.open(path))
            )


def test_what_is_fitted_is_fitted_on_the_split_that_selects_and_noted(contest: Workshop) -> None:
    note = json.loads(contest.store.run("tuned", 1).decision.read_text())
    _, roles = contest.dataset("d")
    assert note["chosen_on"] == f"d/{roles.select}" and roles.select != roles.report
    assert 0 < note["threshold"] < 1 and note["temperature"] == 1
    for seed in (1, 2):  # the network is that of the base, so argmax stays
        arrays = [
            read_arrays(contest.store.run(name, seed).evaluation("d", roles.report))[0] for name in ("unet", "warm")
        ]
        np.testing.assert_array_equal(arrays[0]["confusion"], arrays[1]["confusion"])
        assert not np.array_equal(arrays[0]["calibration"], arrays[1]["calibration"])


def test_probabilities_are_kept_to_a_255th_and_listed_in_the_sums(contest: Workshop) -> None:
    dataset, roles = contest.dataset("d")
    folder = contest.store.run("bright", 1)
    sample = dataset.samples(roles.report)[0]
    path = folder.probabilities("d", roles.report) / f"{sample.id}.npz"
    logit = np.asarray(Image.open(sample.image), np.float64).mean(axis=2) / 255 - 0.5
    np.testing.assert_allclose(read_probabilities(path)[1], 1 / (1 + np.exp(-logit)), atol=0.5 / 255 + 1e-6)
    assert path.relative_to(folder.path).as_posix() in (folder.path / "SHA256SUMS").read_text()


WRONG_ONES = {
    "{python: 'mine:bright', classes: [a, background, polyp], map: {a: polyp}, normalise: unit, output: logits}": (
        "its output has one channel, but 3 classes are declared (a, background, polyp)"
    ),
    "{python: 'mine:brihgt', classes: [background, polyp], normalise: unit, output: logits}": (
        "mine has no 'brihgt' (did you mean 'bright'?)"
    ),
    "{torch_export: b.pt2, classes: [background, polyp], normalise: unit, output: logits}": (
        "evaluate.torch_export: 'b.pt2' was not found; searched"
    ),
    "{torch_export: a.pt2, classes: [a, b, c], map: {'*': background, c: polpy}, normalise: unit, output: logits}": (
        "the dataset has no class 'polpy' (did you mean 'polyp'?)"
    ),
    "{torch_export: a.pt2, classes: [a, b, polyp], normalise: unit, output: logits}": (
        "say which class of background, polyp is meant by a, b"
    ),
    "{torch_export: a.pt2, classes: [a, b, polyp], map: {'*': background}, normalise: unit, output: logits, input_size: 64}": (
        "a.pt2 takes images of 32 x 48 alone; remove input_size"
    ),
}


def test_everything_that_does_not_fit_is_said_at_once_before_anything_is_trained(
    contest: Workshop, segstudy: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    head = CONTEST[: CONTEST.index("  warm:")]
    lines = [f"  wrong{k}: {{base: unet, evaluate: {given}}}\n" for k, given in enumerate(WRONG_ONES)]
    path = folder_of(contest) / "wrong.yaml"
    path.write_text(head + "".join(lines))
    code, said = segstudy("run", path, "--out", tmp_path / "out")
    assert code == 2
    for k, message in enumerate(WRONG_ONES.values()):
        assert f"experiments.wrong{k}: " in said and message in said
    assert not list(tmp_path.rglob("run.yaml"))


def test_every_fold_opens_the_network_of_its_experiment(contest: Workshop) -> None:
    text = CONTEST.replace("root: data}", "root: data, folds: 2, fold: all}")
    study = parse_study(text, folder=str(folder_of(contest)))
    runs = [run for run in make_plan(study).runs if run.config.evaluate is not None]
    assert len(runs) == 2 * 3
    workshop = Workshop(study, Store(folder_of(contest) / "folds"))
    assert [workshop.contestant(run)[0].kind for run in runs] == ["python"] * 2 + ["torch_export"] * 2 + ["python"] * 2


def test_nothing_is_fitted_on_the_split_that_is_reported(contest: Workshop) -> None:
    study = parse_study(CONTEST.replace("seeds: [1, 2]", "protocol: paper"), folder=str(folder_of(contest)))
    workshop = Workshop(study, Store(folder_of(contest) / "paper"))
    problems = find_problems(workshop, make_plan(study).runs)
    assert [problem.split(":")[0] for problem in problems] == ["experiments.warm", "experiments.tuned"]
    assert all(
        "need a split that is never reported, but 'd' chooses epochs on the reported one" in each for each in problems
    )


def test_a_local_folder_of_transformers_is_scored_as_its_own_code_says(tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from segstudy.networks.families import import_transformers

    library = import_transformers()
    torch.manual_seed(0)
    sizes = {
        "hidden_sizes": [8, 8, 16, 16],
        "depths": [1] * 4,
        "decoder_hidden_size": 8,
        "num_attention_heads": [1] * 4,
    }
    config = library.SegformerConfig(
        **sizes, id2label={0: "background", 1: "polyp"}, label2id={"background": 0, "polyp": 1}
    )
    theirs = library.SegformerForSemanticSegmentation(config).eval()
    theirs.save_pretrained(tmp_path / "it")
    processing = {"do_resize": False, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True}
    note = {**processing, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "it" / "preprocessor_config.json").write_text(json.dumps(note))
    ours = open_contestant(Contestant.model_validate({"hf": "it"}), tmp_path / "it")
    assert ours.classes == ("background", "polyp")
    rgb = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    with torch.no_grad():
        pixels = torch.from_numpy((rgb / np.float32(255) - 0.5) / 0.5).permute(2, 0, 1)[None]
        quarter = theirs(pixel_values=pixels).logits
        expected = nn.functional.interpolate(quarter, (64, 96), mode="bilinear", align_corners=False)
        torch.testing.assert_close(ours(normalised(rgb)), expected, atol=1e-4, rtol=1e-4)
    (tmp_path / "it" / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(SegstudyError, match="it: cannot be loaded as a network of transformers"):
        open_contestant(Contestant.model_validate({"hf": "it"}), tmp_path / "it")
