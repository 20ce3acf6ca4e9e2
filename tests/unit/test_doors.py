"""Tables, entry points and callables of the user's own: what may be named, what is said of what may not."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from segstudy.data.load import read_dataset
from segstudy.data.readers import READERS, Reader
from segstudy.doors import is_callable_name, source_hash
from segstudy.errors import DataError, SpecError
from segstudy.plan import differences, make_plan
from segstudy.spec import load_study

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


def fake_distribution(folder: Path, monkeypatch: pytest.MonkeyPatch, group: str, name: str, value: str) -> None:
    """A package of somebody else, installed on ``sys.path``."""
    info = folder / "other-1.0.dist-info"
    info.mkdir(exist_ok=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: other\nVersion: 1.0\n")
    with (info / "entry_points.txt").open("a") as file:
        file.write(f"[{group}]\n{name} = {value}\n")
    monkeypatch.syspath_prepend(str(folder))


READER = """\
from segstudy.data.core import Dataset, Sample, index_labels
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
        "cannot be imported (ZeroDivisionError: division by zero); it is looked for",
    ),
    "exits at import": ("mine:read", "import sys; sys.exit(3)", "cannot be imported (SystemExit: 3)"),
    "no Python": ("mine:read", "def read(", "cannot be imported (SyntaxError: "),
    "no function": ("mine:read", "read = 3", "'mine:read': is 3; a reader is a function read(name, root)"),
    "odd types": ("mine:read", "def read(name, root, x: object() = 1): ...", "parameters cannot be read as options"),
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
            "data.d: the reader 'mine:read' gave int; it must return a segstudy.data.core",
        ),
        ("def read(name, root): return {}['x']", "data.d: the reader 'mine:read' stopped: KeyError: 'x'"),
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
    words = differences(after, {"values": before.values})
    assert words == f"source.mine:read was {before.values['source.mine:read']}, is {after.values['source.mine:read']}"


def test_a_module_that_was_edited_is_imported_anew(tmp_path: Path) -> None:
    path = study_with(tmp_path, "reader: kvasir", "reader: mine:read")
    for shade in ("grey", "blue"):
        write(tmp_path, mine=READER.replace("grey", shade))
        assert read_dataset("d", tmp_path, load_study(path).data["d"], str(tmp_path)).classes[0] == f"{shade}0"


def test_two_studies_have_a_module_of_one_name_each(tmp_path: Path) -> None:
    for shade in ("grey", "blue", "grey"):
        folder = tmp_path / shade
        folder.mkdir(exist_ok=True)
        write(folder, mine=READER.replace("grey", shade))
        study = load_study(study_with(folder, "reader: kvasir", "reader: mine:read"))
        assert read_dataset("d", tmp_path, study.data["d"], study.folder).classes[0] == f"{shade}0"
