"""Tables, entry points and callables of the user's own: what may be named, what is said of what may not."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from segstudy.counts.counting import measures_of
from segstudy.data.augment import make_augmenter
from segstudy.data.augmentations import AUGMENTATIONS
from segstudy.data.load import read_dataset
from segstudy.data.readers import READERS, Reader
from segstudy.doors import Door, is_callable_name, source_hash
from segstudy.errors import DataError, SpecError
from segstudy.launch.launchers import find_launcher
from segstudy.networks.build import build_network
from segstudy.plan import differences, make_plan
from segstudy.schema import Model, ScoringRules
from segstudy.spec import load_study, parse_study
from segstudy.study import Study, resolve
from segstudy.train.loop import rehearse
from segstudy.train.losses import LOSSES, make_loss
from segstudy.train.optimizers import OPTIMIZERS, make_optimizer
from segstudy.train.schedules import SCHEDULES, rate_factor

STUDY = """\
name: s
data:
  d: {reader: kvasir, root: data}
experiments:
  unet: {data: d, model: {arch: unet, encoder: resnet18, weights: none}}
"""


@pytest.fixture(autouse=True)
def _modules_are_forgotten() -> Iterator[None]:
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if not name.startswith(("segstudy", "torch", "numpy", "pandas", "scipy", "cv2")):
            del sys.modules[name]


def write(folder: Path, **texts: str) -> Path:
    """Files of a study's folder: ``study`` is the study, all others are modules."""
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text)
    return folder


def study_with(folder: Path, old: str = "", new: str = "") -> Path:
    assert not old or STUDY.count(old) == 1
    path = folder / "study.yaml"
    path.write_text(STUDY.replace(old, new))
    return path


def problem(path: Path) -> str:
    with pytest.raises(SpecError) as caught:
        load_study(path)
    return str(caught.value).replace(str(path), "study.yaml")


def fake_distribution(
    folder: Path, monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str, package: str = "other"
) -> None:
    """A package of somebody else, installed on ``sys.path``."""
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    with (info / "entry_points.txt").open("a") as file:
        file.write(f"[{group}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(str(folder))


READER = """\
from segstudy.data.core import Dataset, Sample
from segstudy.data.encoding import index_labels
from functools import partial
def read(name, root, *, num_classes: int = 2, shade: str = "grey"):
    path = root / "a.png"
    labels = partial(index_labels, num_classes=num_classes)
    names = tuple(f"{shade}{k}" for k in range(num_classes))
    palette = tuple((k, k, k) for k in range(num_classes))
    return Dataset(name, names, palette, {"train": (Sample("a", path, path),)}, labels)
"""


# Names


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("losses:top_k", True),
        ("my.losses:Top.k", True),
        ("dice", False),
        ("C:/weights.pth", False),
        ("a:b:c", False),
        (":b", False),
        ("a:", False),
        ("a b:c", False),
    ],
)
def test_what_is_a_callables_name(name: str, expected: bool) -> None:
    assert is_callable_name(name) is expected


def test_every_reader_of_the_table_is_a_reader() -> None:
    assert {type(READERS.find(name)) for name in READERS.table} == {Reader}


# Readers


def test_a_readers_keys_are_its_own(tmp_path: Path) -> None:
    text = problem(study_with(tmp_path, "root: data", "root: data, num_clases: 3"))
    assert text.startswith("study.yaml:3: data.d.num_clases: unknown key; known here: reader, root, test_fraction")
    text = problem(study_with(tmp_path, "kvasir, root: data", "folder, root: data, num_clases: 3"))
    assert text.startswith(
        "study.yaml:3: data.d.num_clases: unknown key (did you mean 'num_classes'?); known here: reader, root, "
        "num_classes, classes, ignore_values, "
    )
    text = problem(
        study_with(tmp_path, "kvasir, root: data", "folder, root: data, classes: [a, 3], ignore_values: [256]")
    )
    assert [line.split(": ")[1] for line in text.split("\n")] == ["data.d.classes.1", "data.d.ignore_values.0"]


def test_a_study_reads_its_data_with_a_function_of_its_folder(tmp_path: Path) -> None:
    write(tmp_path, mine=READER)
    study = load_study(study_with(tmp_path, "reader: kvasir", "reader: mine:read, num_classes: 3"))
    data = study.data["d"]
    assert (data.reader, data.own_options()) == ("mine:read", {"num_classes": 3})
    dataset = read_dataset("d", tmp_path, data, study.folder)
    assert dataset.classes == ("grey0", "grey1", "grey2")
    text = problem(study_with(tmp_path, "reader: kvasir", "reader: mine:read, num_clases: 3, shade: 4"))
    assert text.split("\n")[0].startswith("study.yaml:3: data.d.shade: must be text")
    assert (
        "data.d.num_clases: unknown key (did you mean 'num_classes'?); known here: reader, root, num_classes, shade"
        in text
    )


WRONG_READERS = {
    "no module": (
        "gone:read",
        "",
        "'gone:read': the module gone cannot be imported (ModuleNotFoundError: No module named",
    ),
    "no such name": ("mine:reed", READER, "'mine:reed': mine has no 'reed' (did you mean 'read'?)"),
    "stops at import": (
        "mine:read",
        "1 / 0",
        "cannot be imported (ZeroDivisionError: division by zero); it is searched",
    ),
    "exits at import": ("mine:read", "import sys; sys.exit(3)", "cannot be imported (SystemExit: 3)"),
    "no Python": ("mine:read", "def read(", "cannot be imported (SyntaxError: "),
    "no function": ("mine:read", "read = 3", "'mine:read': is 3; a reader is a function read(name, root)"),
    "odd types": (
        "mine:read",
        "def read(name, root, x: object() = 1): ...",
        "must take 2 positional arguments, then options",
    ),
}


@pytest.mark.parametrize("case", WRONG_READERS)
def test_a_reader_that_is_none_is_one_message(tmp_path: Path, case: str) -> None:
    name, source, words = WRONG_READERS[case]
    write(tmp_path, mine=source)
    text = problem(study_with(tmp_path, "reader: kvasir", f"reader: {name}"))
    assert "\n" not in text
    assert text.startswith("study.yaml:3: data.d.reader: ")
    assert words in text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            "def read(name, root): return 3",
            "data.d: the reader 'mine:read' returned int; it must return a segstudy.data.core",
        ),
        ("def read(name, root): return {}['x']", "data.d: the reader 'mine:read': stopped with KeyError: 'x'"),
        ("def read(name, root): exit(1)", "data.d: the reader 'mine:read': stopped with SystemExit: 1"),
    ],
)
def test_a_reader_that_fails_is_one_message(tmp_path: Path, source: str, words: str) -> None:
    write(tmp_path, mine=source)
    study = load_study(study_with(tmp_path, "reader: kvasir", "reader: mine:read"))
    with pytest.raises(DataError) as caught:
        read_dataset("d", tmp_path, study.data["d"], study.folder)
    assert str(caught.value).startswith(words)


def test_a_package_adds_a_reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_distribution(
        write(tmp_path, other_reader=READER), monkeypatch, "segstudy.reader", "theirs", "other_reader:read"
    )
    assert "theirs" in READERS.names()
    study = load_study(study_with(tmp_path, "reader: kvasir", "reader: theirs, shade: red"))
    assert read_dataset("d", tmp_path, study.data["d"]).classes == ("red0", "red1")
    assert "or 'theirs' (did you mean 'theirs'?)" in problem(study_with(tmp_path, "reader: kvasir", "reader: thiers"))


def test_an_option_with_its_default_does_not_count_in_an_identity(tmp_path: Path) -> None:
    def identity(keys: str) -> str:
        return make_plan(load_study(study_with(tmp_path, "reader: kvasir", keys))).runs[0].identity

    write(tmp_path, mine=READER)
    plain = identity("reader: mine:read")
    assert identity("reader: mine:read, shade: grey") == plain
    assert identity("reader: mine:read, shade: red") != plain


# What a recipe names


def recipe_study(folder: Path, recipe: str) -> Path:
    return study_with(folder, "experiments:", f"recipe: {{{recipe}}}\nexperiments:")


LOGITS = torch.tensor([[[[2.0, 0.0]], [[0.0, 1.0]]]])  # (1, 2, 1, 2)
LABELS = torch.tensor([[[0, 1]]])


def test_options_of_losses_are_the_papers() -> None:
    is_class = torch.nn.functional.one_hot(LABELS, 2).movedim(-1, 1).bool()
    p = torch.sigmoid(torch.where(is_class, LOGITS, -LOGITS).double())  # of each class being there or not, as it is
    for recipe, gamma in (("focal", 2), ("{name: focal, gamma: 2}", 2), ("{name: focal, gamma: 0.5}", 0.5)):
        expected = (-((1 - p) ** gamma) * p.log()).mean()  # Lin et al. 2017, equation 4
        found = make_loss(load_study_text(f"loss: {recipe}").recipe.loss)(LOGITS, LABELS)
        assert float(found) == pytest.approx(float(expected), abs=1e-6)
    smoothed = make_loss(load_study_text("loss: {name: cross_entropy, label_smoothing: 0.2}").recipe.loss)(
        LOGITS, LABELS
    )
    log_p = torch.log_softmax(LOGITS.double(), 1)[0, :, 0]
    expected = -(0.9 * log_p[[0, 1], [0, 1]] + 0.1 * log_p[[1, 0], [0, 1]]).mean()  # 0.2 shared by two classes
    assert float(smoothed) == pytest.approx(float(expected), abs=1e-6)


def load_study_text(recipe: str) -> Study:
    return parse_study(STUDY.replace("experiments:", f"recipe: {{{recipe}}}\nexperiments:"))


def test_a_spelled_loss_without_options_that_matter_is_its_name() -> None:
    found = {
        make_plan(load_study_text(f"loss: {text}")).runs[0].identity
        for text in ("focal", "{name: focal}", "{name: focal, gamma: 2.0}")
    }
    assert len(found) == 1
    config = resolve(load_study_text("loss: {name: focal, gamma: 3}"), "unet")
    assert config.values()["recipe.loss"] == "focal, gamma 3.0"


def test_poly_takes_its_power() -> None:
    schedule = load_study_text("schedule: {name: poly, power: 2}").recipe.schedule
    assert [rate_factor(schedule, epoch, 4) for epoch in range(4)] == [1, 0.5625, 0.25, 0.0625]
    assert rate_factor("poly", 1, 4) == pytest.approx(0.75**0.9)


def test_an_experiment_may_change_a_loss_with_its_options() -> None:
    text = STUDY + "  sharp: {base: unet, change: {recipe.loss: {name: focal, gamma: 3}}}\n"
    plan = make_plan(parse_study(text))
    variation = plan.first("sharp").variation
    assert variation is not None and variation.variant == "loss=focal, gamma 3.0"


def test_another_optimiser_leaves_the_options_of_the_former() -> None:
    text = STUDY.replace("experiments:", "recipe: {optimizer: {name: sgd, nesterov: true}}\nexperiments:")
    plan = make_plan(
        parse_study(text + "  adam: {base: unet, change: {recipe.optimizer.name: adam}, confounded: true}\n")
    )
    assert plan.first("unet").config.values()["recipe.optimizer.nesterov"] is True
    assert "recipe.optimizer.nesterov" not in plan.first("adam").config.values()
    network = nn.Linear(1, 1)
    assert make_optimizer(plan.first("unet").config.recipe.optimizer, network.parameters()).defaults["nesterov"] is True


LOSS_NAMES = "'cross_entropy', 'dice', 'focal', 'tversky', 'lovasz_softmax', 'boundary' or 'cl_dice'"


def test_a_sum_of_one_is_its_loss_and_the_order_of_terms_does_not_count() -> None:
    assert load_study_text("loss: {dice: 1}").recipe == load_study_text("loss: dice").recipe
    first, second = ("loss: {dice: 1, focal: {weight: 2, gamma: 3}}", "loss: {focal: {gamma: 3, weight: 2}, dice: 1}")
    values = [resolve(load_study_text(text), "unet").values() for text in (first, second)]
    assert values[0] == values[1]
    assert values[0]["recipe.loss"] == "1 dice + 2 focal, gamma 3.0"


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        (
            "loss: focl",
            f"recipe.loss: is 'focl', must be {LOSS_NAMES} (did you mean 'focal'?), or a loss",
        ),
        ("loss: {name: focl}", f"recipe.loss.name: is 'focl', must be {LOSS_NAMES} (did you mean"),
        ("loss: {gamma: 2}", "recipe.loss.name: is required"),
        (
            "loss: {name: focal, gama: 2}",
            "recipe.loss.gama: unknown key (did you mean 'gamma'?); known here: name, gamma",
        ),
        ("loss: {name: focal, gamma: -1}", "recipe.loss.gamma: should be greater than or equal to 0 (given: -1)"),
        ("loss: {name: dice, gamma: 1}", "recipe.loss.gamma: unknown key; known here: name, smooth, log_loss"),
        ("loss: 3", "recipe.loss: must be a name, or a mapping of name and options (given: 3)"),
        ("loss: [focal]", "recipe.loss: must be a name, or a mapping of name and options (given: ['focal'])"),
        ("schedule: {name: poly, power: 0}", "recipe.schedule.power: should be greater than 0"),
        (
            "schedule: ploy",
            "recipe.schedule: is 'ploy', must be 'cosine', 'constant', 'poly', 'one_cycle' or 'step_decay' (did you mean",
        ),
        ("loss: {dice: -1}", "recipe.loss.dice: must be the weight of the term, a positive number (given: -1)"),
        ("loss: {dice: 1, focl: 1}", f"recipe.loss.focl: is 'focl', must be {LOSS_NAMES} (did you mean 'focal'?)"),
        ("loss: {dice: 1, focal: {gama: 3}}", "recipe.loss.focal.gama: unknown key; known here: weight, gamma"),
        ("loss: {dice: 1, focal: {gamma: -3}}", "recipe.loss.focal.gamma: should be greater than or equal to 0"),
        (
            "loss: {name: cross_entropy, class_weights: median}",
            "recipe.loss.class_weights: must be none, inverse_frequency, median_frequency, effective_number, or a list",
        ),
        ("loss: {name: cross_entropy, class_weights: [1, 0]}", "recipe.loss.class_weights: must be none, inverse_f"),
        ("optimizer: {nesterov: true}", "recipe.optimizer.nesterov: unknown key"),
        ("augment: {name: light, hue: 0.1}", "recipe.augment.hue: unknown key; known here: name"),
        ("augment: lite", "recipe.augment: is 'lite', must be 'none', 'light' or 'strong'"),
        ("loss: gone:f", "recipe.loss: 'gone:f': the module gone cannot be imported"),
    ],
)
def test_wrong_entries_of_a_recipe_are_one_message(recipe: str, words: str) -> None:
    with pytest.raises(SpecError) as caught:
        load_study_text(recipe)
    assert str(caught.value).startswith(f"study:4: {words}")
    assert "\n" not in str(caught.value)


MINE = """\
import torch
def loss(logits, labels, *, share: float = 1.0):
    return share * torch.nn.functional.cross_entropy(logits, labels, ignore_index=255)
def detached(logits, labels):
    return loss(logits, labels).detach()
def vector(logits, labels):
    return logits.sum((0, 1))
def number(logits, labels):
    return 1.0
def broken(logits, labels):
    return logits[5]
def leaves(logits, labels):
    exit(3)
def relabels(logits, labels):
    labels[labels == 255] = 0
    return logits.sum()
def through_numpy(logits, labels):
    labels.numpy()[:] = 0
    return logits.sum()
def complicated(logits, labels):
    return logits.sum().to(torch.complex64)
def quits(epoch, epochs):
    exit(1)
def others(parameters, recipe):
    return torch.optim.SGD([torch.zeros(1, requires_grad=True)], 0.1)
def darker(images, labels, generator, *, by: int = 2):
    return images // by, labels
def flat(images, labels, generator):
    return images.float(), labels
def lone(images, labels, generator):
    return images
def relabel(images, labels, generator):
    labels = labels.clone()
    labels[:, 0], labels[:, 1] = 2, 255
    return images, labels
def halving(epoch, epochs):
    return 0.5**epoch
def negative(epoch, epochs):
    return -1
def network(num_classes):
    return torch.nn.Conv2d(3, num_classes, 1)
def small(num_classes):
    return torch.nn.Conv2d(3, num_classes, 1, stride=2)
def none(num_classes):
    return None
def refuses(num_classes):
    raise KeyError("x")
def lion(parameters, recipe):
    return torch.optim.Adagrad(parameters, recipe.lr)
"""


def test_a_loss_of_the_users_own(tmp_path: Path) -> None:
    write(tmp_path, mine=MINE)
    study = load_study(recipe_study(tmp_path, "loss: {name: mine:loss, share: 0.5}"))
    plain = make_loss("cross_entropy")(LOGITS, LABELS)
    logits = LOGITS.clone().requires_grad_()
    assert make_loss(study.recipe.loss, study.folder)(logits, LABELS).item() == pytest.approx(float(plain) / 2)
    assert make_loss(study.recipe.loss, study.folder)(logits, torch.full_like(LABELS, 255)) == 0
    run = make_plan(study).runs[0]
    assert run.values["recipe.loss"] == "mine:loss, share 0.5"
    assert run.values["source.mine:loss"] == source_hash("mine:loss", study.folder)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        (
            "detached",
            "returned a tensor of shape () without a gradient; it must return one number computed from the logits",
        ),
        ("vector", "returned a tensor of shape (1, 2); it must return one number"),
        ("number", "returned float; it must return one number"),
        ("broken", "stopped with IndexError: index 5 is out of bounds"),
        ("leaves", "stopped with SystemExit: 3 (logits (1, 2, 1, 2), labels (1, 1, 2))"),
        ("relabels", "changed the labels in place; change labels.clone() instead"),
        ("complicated", "returned a number of type torch.complex64; it must be a float"),
    ],
)
def test_a_loss_that_fails_is_one_message(tmp_path: Path, name: str, words: str) -> None:
    write(tmp_path, mine=MINE)
    loss = make_loss(f"mine:{name}", str(tmp_path))
    with pytest.raises(SpecError) as caught:
        loss(LOGITS.clone().requires_grad_(), LABELS)
    assert str(caught.value).startswith(f"recipe.loss 'mine:{name}': {words}")


def test_augmentations_of_the_users_own(tmp_path: Path) -> None:
    write(tmp_path, mine=MINE)
    study = load_study(recipe_study(tmp_path, "augment: {name: mine:darker, by: 4}"))
    images, labels, generator = (
        torch.full((1, 2, 2, 3), 80, dtype=torch.uint8),
        torch.zeros(1, 2, 2, dtype=torch.uint8),
        torch.Generator(),
    )
    augmenter = make_augmenter(study.recipe.augment, study.folder)
    assert augmenter is not None and augmenter(images, labels, generator)[0].unique().tolist() == [20]
    for name, words in (("flat", "its images are torch.float32 (1, 2, 2, 3)"), ("lone", "its images are NoneType")):
        broken = make_augmenter(f"mine:{name}", study.folder)
        assert broken is not None
        with pytest.raises(SpecError) as caught:
            broken(images, labels, generator)
        assert words in str(caught.value)
    moved = make_augmenter("mine:relabel", study.folder, 3)
    assert moved is not None and moved(images, labels, generator)[1].unique().tolist() == [2, 255]
    moved = make_augmenter("mine:relabel", study.folder, 2)
    assert moved is not None
    with pytest.raises(SpecError, match=r"'mine:relabel': returned the labels 2; must be 0 to 1, or 255 to ignore"):
        moved(images, labels, generator)


def test_a_network_of_the_users_own(tmp_path: Path) -> None:
    write(tmp_path, mine=MINE)
    model = Model(arch="mine:network")
    network, again = (build_network(model, 3, 7, study_folder=str(tmp_path)) for _ in range(2))
    assert torch.equal(network.weight, again.weight) and network.training  # type: ignore[arg-type]
    assert network(torch.zeros(1, 3, 8, 8)).shape == (1, 3, 8, 8)
    for name, words in {
        "small": "it must return logits of shape (2, 3, 64, 64)",
        "none": "model.arch 'mine:none': returned NoneType; it must return a torch.nn.Module",
        "refuses": "model.arch 'mine:refuses': stopped with KeyError: 'x'",
        "netwrk": "model.arch: 'mine:netwrk': mine has no 'netwrk' (did you mean 'network'?)",
    }.items():
        with pytest.raises(SpecError) as caught:
            build_network(Model(arch=f"mine:{name}"), 3, 7, study_folder=str(tmp_path))
        assert words in str(caught.value)
    run = make_plan(load_study(study_with(tmp_path, "arch: unet", "arch: mine:network"))).runs[0]
    assert [name for name, _ in run.sources] == ["mine:network"]


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("loss: 'mine:vector'", "recipe.loss 'mine:vector': returned a tensor of shape (32, 32)"),
        (
            "augment: 'mine:flat'",
            "recipe.augment 'mine:flat': must return (images, labels) of the same shapes and types",
        ),
        ("schedule: 'mine:negative'", "recipe.schedule 'mine:negative': returned -1 in epoch 1"),
        ("optimizer: {name: 'mine:network'}", "recipe.optimizer.name 'mine:network': stopped with TypeError"),
        (
            "optimizer: {name: 'mine:others'}",
            "recipe.optimizer.name 'mine:others': holds none of the network's parameters",
        ),
        ("schedule: 'mine:quits'", "recipe.schedule 'mine:quits': stopped with SystemExit: 1 (epoch 1)"),
        ("loss: 'mine:through_numpy'", "recipe.loss: changed the labels in place; change labels.clone() instead"),
    ],
)
def test_what_cannot_work_is_known_before_a_run_starts(tmp_path: Path, recipe: str, words: str) -> None:
    write(tmp_path, mine=MINE.replace("network(num_classes)", "network(num_classes, recipe=None)"))
    study = load_study(recipe_study(tmp_path, recipe))
    with pytest.raises(SpecError) as caught:
        rehearse(study.recipe, study.folder)
    assert str(caught.value).startswith(words)


# Other packages


def test_packages_add_to_every_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = "from segstudy.measures import Measure, mean_iou\n"
    measure += "ROOT = Measure('root', 'Root of mIoU', lambda c: mean_iou(c) ** 0.5)\n"
    write(tmp_path, theirs=MINE, their_measures=measure)
    for kind, value in {
        "loss": "theirs:loss",
        "schedule": "theirs:halving",
        "optimizer": "theirs:lion",
        "augmentation": "theirs:darker",
        "network": "theirs:network",
        "measure": "their_measures:ROOT",
    }.items():
        fake_distribution(tmp_path, monkeypatch, f"segstudy.{kind}", f"new-{kind}", value)
    study = load_study_text(
        "loss: {name: new-loss, share: 2.0}, schedule: new-schedule, optimizer: {name: new-optimizer}, "
        "augment: new-augmentation"
    )
    recipe = study.recipe
    doubled = make_loss(recipe.loss)(LOGITS.clone().requires_grad_(), LABELS).item()
    assert doubled == pytest.approx(2 * make_loss("cross_entropy")(LOGITS, LABELS).item())
    assert rate_factor(recipe.schedule, 2, 9) == 0.25
    assert type(make_optimizer(recipe.optimizer, nn.Linear(1, 1).parameters())) is torch.optim.Adagrad
    assert make_augmenter(recipe.augment) is not None
    assert isinstance(build_network(Model(arch="new-network"), 2, 0), nn.Conv2d)
    assert [m.key for m in measures_of(ScoringRules())][-1] == "root"
    assert "source" not in "".join(make_plan(study).runs[0].values)


def test_two_packages_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("first", "second"):
        folder = tmp_path / package
        folder.mkdir()
        fake_distribution(write(folder, theirs=MINE), monkeypatch, "segstudy.loss", "mine", "theirs:loss", package)
    with pytest.raises(
        SpecError, match=r"loss 'mine': several packages provide it \(first, second\); uninstall all but one"
    ):
        load_study_text("loss: mine")


def test_a_study_with_options_is_read_without_torch(tmp_path: Path) -> None:
    path = recipe_study(
        tmp_path, "loss: {name: focal, gamma: 3}, schedule: poly, augment: light, optimizer: {name: sgd}"
    )
    code = f"import sys; from segstudy.spec import load_study; load_study({str(path)!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "segstudy.train.losses" in done.stdout.split()
    assert "torch" not in done.stdout.split()


def test_what_a_function_imports_when_it_is_called_is_found(tmp_path: Path) -> None:
    mine = "def loss(logits, labels):\n    import helper\n    return helper.SCALE * logits.mean()\n"
    write(tmp_path, mine=mine, helper="SCALE = 3\n")
    logits = LOGITS.clone().requires_grad_()
    assert make_loss("mine:loss", str(tmp_path))(logits, LABELS).item() == pytest.approx(3 * 0.75)
    assert str(tmp_path) not in sys.path


def test_a_measure_of_a_taken_key_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, their_miou="from segstudy.measures import OVERALL\nAGAIN = OVERALL[0]\nWRONG = 3\n")
    fake_distribution(tmp_path, monkeypatch, "segstudy.measure", "again", "their_miou:AGAIN")
    with pytest.raises(SpecError, match=r"^measure 'again': the key 'miou' or label 'mIoU' is already in use$"):
        measures_of(ScoringRules())


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def f(c): raise KeyError('x')", "measure 'theirs', 'm': stopped with KeyError: 'x'"),
        ("def f(c): exit(2)", "measure 'theirs', 'm': stopped with SystemExit: 2"),
        (
            "def f(c): return c.sum()",
            "measure 'theirs', 'm': returned values of shape () for counts of shape (2, 3, 3); must be (2,)",
        ),
    ],
)
def test_a_measure_that_fails_is_one_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str, words: str
) -> None:
    write(tmp_path, their_m=f"from segstudy.measures import Measure\n{source}\nM = Measure('m', 'M', f)\n")
    fake_distribution(tmp_path, monkeypatch, "segstudy.measure", "theirs", "their_m:M")
    monkeypatch.delitem(sys.modules, "their_m", raising=False)
    with pytest.raises(SpecError) as caught:
        measures_of(ScoringRules())
    monkeypatch.delitem(sys.modules, "their_m", raising=False)
    assert str(caught.value) == words


LABELS_OF = """
from pathlib import Path
import numpy as np
from segstudy.data.core import Dataset, Sample
def read(name, root):
    samples = (Sample("a", root / "a.png", root / "m.png"),)
    return Dataset(name, ("x", "y"), ((0, 0, 0), (9, 9, 9)), {"train": samples}, labels_of, image_of=image_of)
def image_of(sample): return 1 / 0
"""


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("def labels_of(s): exit(1)", "stopped with SystemExit: 1 (ROOT/m.png)"),
        ("def labels_of(s): return None", "returned NoneType for ROOT/m.png; it must return a uint8 array"),
        ("def labels_of(s): return np.zeros((4, 4))", "returned float64 (4, 4) for ROOT/m.png; it must return a uint8"),
        (
            "def labels_of(s): return np.full((4, 4), 7, np.uint8)",
            "returned the labels 7 for ROOT/m.png; must be 0 to 1, or 255 to ignore",
        ),
    ],
)
def test_a_readers_labels_and_images_are_checked(tmp_path: Path, source: str, words: str) -> None:
    write(tmp_path, mine=LABELS_OF + source)
    study = load_study(study_with(tmp_path, "reader: kvasir", "reader: mine:read"))
    dataset = read_dataset("d", tmp_path, study.data["d"], study.folder)
    (sample,) = dataset.splits["train"]
    with pytest.raises(DataError) as caught:
        dataset.labels_of(sample)
    assert f"data.d: the reader 'mine:read', labels_of: {words}".replace("ROOT", str(tmp_path)) in str(caught.value)
    with pytest.raises(DataError, match="image_of: stopped with ZeroDivisionError"):
        dataset.image_of(sample)


@pytest.mark.parametrize(
    ("line", "words"),
    [("exit(3)", "SystemExit: 3"), ("raise KeyError('x')", "KeyError: 'x'"), ("open('no')", "FileNotFound")],
)
def test_a_launcher_that_fails_is_one_message(tmp_path: Path, line: str, words: str) -> None:
    write(tmp_path, mine=f"def go(job): {line}")
    choice, options = find_launcher("mine:go", [], str(tmp_path))
    with pytest.raises(SpecError, match=f"^--on mine:go: stopped with {words}"):
        choice.function(None, **options)


def test_a_package_that_is_broken_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake_distribution(write(tmp_path, broken_loss="1 / 0"), monkeypatch, "segstudy.loss", "theirs", "broken_loss:loss")
    with pytest.raises(SpecError) as caught:
        load_study_text("loss: theirs")
    assert str(caught.value) == (
        "study:4: recipe.loss: loss 'theirs' (broken_loss:loss): cannot be imported (division by zero)"
    )


# Docs


@pytest.mark.parametrize(
    ("door", "key"),
    [(LOSSES, "loss"), (SCHEDULES, "schedule"), (OPTIMIZERS, "optimizer.name"), (AUGMENTATIONS, "augment")],
)
def test_the_docs_name_every_entry_of_a_table(door: Door, key: str) -> None:
    lines = (Path(__file__).parents[2] / "docs/reference/study-file.md").read_text().split("\n")
    (row,) = [line for line in lines if line.startswith(f"| `{key}`")]
    assert [name for name in door.table if f"`{name}`" not in row] == []


def test_the_docs_name_every_reader() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/data.md").read_text()
    assert [name for name in READERS.table if f"`{name}`" not in text] == []


# Sources


def test_the_source_of_what_a_study_names_is_part_of_its_runs(tmp_path: Path) -> None:
    write(tmp_path, mine=f"import helper\n{READER}", helper="X = 1\n", stranger="Y = 1\n")
    path = study_with(tmp_path, "reader: kvasir", "reader: mine:read")
    before = make_plan(load_study(path)).runs[0]
    assert before.values["source.mine:read"] == source_hash("mine:read", str(tmp_path))
    write(tmp_path, stranger="Y = 2\n")
    assert make_plan(load_study(path)).runs[0].identity == before.identity
    write(tmp_path, helper="X = 2\n")
    after = make_plan(load_study(path)).runs[0]
    assert after.identity != before.identity
    assert differences(after, {"values": before.values}) == "the source of mine:read was edited"


def test_a_module_that_was_edited_is_imported_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)  # as it is unless the environment says otherwise
    path = study_with(tmp_path, "reader: kvasir", "reader: mine:read")
    for shade in ("grey", "blue"):
        write(tmp_path, mine=READER.replace("grey", shade))
        assert read_dataset("d", tmp_path, load_study(path).data["d"], str(tmp_path)).classes[0] == f"{shade}0"
    assert not sys.dont_write_bytecode and not list(tmp_path.rglob("*.pyc"))


def test_two_studies_have_a_module_of_one_name_each(tmp_path: Path) -> None:
    for shade in ("grey", "blue", "grey"):
        folder = tmp_path / shade
        folder.mkdir(exist_ok=True)
        write(folder, mine=READER.replace("grey", shade))
        study = load_study(study_with(folder, "reader: kvasir", "reader: mine:read"))
        assert read_dataset("d", tmp_path, study.data["d"], study.folder).classes[0] == f"{shade}0"
