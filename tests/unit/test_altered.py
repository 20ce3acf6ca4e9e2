"""Stores that somebody altered by hand: every command ends with a message or what is still true, never a traceback."""

import json
import os
import sys

import numpy as np
import pytest

from report_stores import DEEP, WIDE, add_counts, add_run, run_of
from segstudy import cli
from segstudy.files import read_arrays, read_yaml, write_arrays, write_sums, write_yaml
from segstudy.launch.pending import find_pending
from segstudy.plan import make_plan
from segstudy.results import read_results
from segstudy.spec import load_study
from segstudy.store import Store

STUDY = """
name: tiny
protocol: paper
data:
  city: {reader: folder, root: city, classes: [road, car, sky, void]}
recipe: {epochs: 3, input_size: 32}
experiments:
  deep: {data: city, model: {arch: linknet, encoder: tu-test_resnet, weights: none}}
  wide: {base: deep, change: {recipe.optimizer.lr: 0.01}}
"""
CLASSES = ["road", "car", "sky", "void"]
HUGE, DEEPLY = 10**400, b"[" * 1_200
READERS = (
    ("plan", "study.yaml", "--json"),
    ("status", "study.yaml"),
    ("compare", "study.yaml:wide", "study.yaml:deep"),
    ("compare", "tiny/runs/wide/seed42/evaluations/city-val.npz", "tiny/runs/deep/seed42/evaluations/city-val.npz"),
    ("predict", "study.yaml:deep", "."),
    ("run", "study.yaml", "--no-report", "--quiet"),
    ("verify", "tiny"),
)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A finished run among two, with the working directory beside its store."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGSTUDY_DATA", raising=False)
    (tmp_path / "study.yaml").write_text(STUDY)
    study = load_study(tmp_path / "study.yaml")
    plan, store = make_plan(study), Store(tmp_path / "tiny")
    store.prepare(study.model_dump(mode="json", exclude_unset=True))
    for name, counts in (("deep", DEEP), ("wide", WIDE)):
        run = run_of(plan, name)
        add_run(store, run)
        add_counts(store, run, "city", CLASSES, counts)
    return store.run("deep", 42)


@pytest.fixture
def segstudy(monkeypatch, capfd):
    """Call the command line; gives (exit code, what it printed). An exception of another kind fails the test."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["segstudy", *arguments])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        said = capfd.readouterr()
        assert "Traceback" not in said.out + said.err
        assert code in (0, 2)
        assert code == 0 or "segstudy: " in said.err
        return code, said.out + said.err

    return call


def keyed(name, **values):
    """Replace values of a YAML file, or of a JSON file or the first line of one; ``None`` takes a key away."""

    def alter(folder):
        path = folder.path / name
        first, *rest = path.read_text().splitlines() if name.endswith("l") and "yaml" not in name else [None]
        old = read_yaml(path) if name.endswith("yaml") else json.loads(first or path.read_text())
        new = {key: value for key, value in (old | values).items() if value is not None}
        if name.endswith("yaml"):
            write_yaml(path, new)
        else:
            path.write_text("\n".join([json.dumps(new), *rest]))

    return alter


def arrays(about=None, **values):
    """Replace arrays of the counts, or what stands beside them."""

    def alter(folder):
        path = folder.evaluation("city", "val")
        old, meta = read_arrays(path)
        write_arrays(path, old | values, meta | (about or {}))

    return alter


def content(name, text):
    return lambda folder: (folder.path / name).write_bytes(text)


def pickled(folder):
    np.savez(folder.evaluation("city", "val"), meta=np.array({"a": 1}, dtype=object), allow_pickle=True)


RUN, COUNTS = "run.yaml", "evaluations/city-val.npz"
ALTERED = {
    "run: identity of another type": keyed(RUN, identity=[1]),
    "run: no identity": keyed(RUN, identity=None),
    "run: seed is a word": keyed(RUN, seed="x"),
    "run: values are a list": keyed(RUN, values=[1, 2]),
    "run: values of other types": keyed(
        RUN, identity="other", values={"recipe": 3, "model.arch": None, "x": {"y": []}}
    ),
    "run: classes are a number": keyed(RUN, classes=3),
    "run: roles are a word": keyed(RUN, roles="train"),
    "run: fingerprints are a word": keyed(RUN, data_fingerprints="x"),
    "run: a list": content(RUN, b"- 1\n- 2\n"),
    "run: nothing": content(RUN, b""),
    "run: not text": content(RUN, b"\xff\xfe\x00"),
    "run: an object of Python": content(RUN, b"!!python/object/apply:os.system ['true']"),
    "run: nested too deeply": content(RUN, b"[" * 400),
    "run: aliases of itself": content(RUN, b"a: &a [*a, *a]\n"),
    "cost: words": keyed("cost.json", seconds_per_epoch="slow", gflops=[]),
    "cost: nothing is a number": keyed("cost.json", seconds_per_epoch=float("nan"), latency_ms=float("inf")),
    "cost: huge": keyed("cost.json", parameters=HUGE),
    "cost: negative": keyed("cost.json", parameters=-1, images_per_s=0),
    "cost: a list": content("cost.json", b"[1]"),
    "cost: nothing": content("cost.json", b""),
    "cost: nested too deeply": content("cost.json", DEEPLY),
    "epochs: words": keyed("metrics.jsonl", epoch="first", loss="low"),
    "epochs: no numbers": keyed("metrics.jsonl", loss=float("nan"), select_miou=float("inf")),
    "epochs: huge": keyed("metrics.jsonl", epoch=HUGE),
    "epochs: none": content("metrics.jsonl", b""),
    "epochs: not text": content("metrics.jsonl", b"\xff\n[1]\n3\nnull\n"),
    "counts: of floats": arrays(confusion=np.full((2, 4, 4), np.nan)),
    "counts: negative": arrays(confusion=np.full((2, 4, 4), -1)),
    "counts: of another shape": arrays(confusion=np.zeros((3, 2), np.int64)),
    "counts: huge": arrays(confusion=np.full((2, 4, 4), 2**62)),
    "counts: zero": arrays(confusion=np.zeros((2, 4, 4), np.int64)),
    "counts: text": arrays(confusion=np.array(["a", "b"])),
    "counts: ids twice": arrays(ids=np.array(["a", "a"])),
    "counts: ids are numbers": arrays(ids=np.array([1, 2])),
    "counts: no classes": arrays({"classes": []}),
    "counts: classes are a word": arrays({"classes": "road"}),
    "counts: scoring is a word": arrays({"scoring": "strict"}),
    "counts: split is a list": arrays({"split": ["a"], "seed": "x"}),
    "counts: pickled": pickled,
    "counts: nothing": content(COUNTS, b""),
    "counts: not a zip": content(COUNTS, b"PK\x03\x04 and no more"),
    "weights: nothing": content("best.safetensors", b""),
    "weights: a header without end": content("best.safetensors", b"\xff" * 64),
    "sums: not text": content("SHA256SUMS", b"\xff\xfe\x00\n\n"),
    "sums: of a file elsewhere": content(
        "SHA256SUMS", b"0" * 64 + b"  ../../../study.yaml\n" + b"0" * 64 + b"  a\0b\n"
    ),
    "failure: not text": content("failure.txt", b"\xff\xfe\x00"),
    "note of what was read: a list of lists": content(".best-seen.json", b"[[[]]]"),
    "note of what was read: nested too deeply": content(".best-seen.json", DEEPLY),
}


@pytest.mark.parametrize("case", ALTERED)
def test_what_was_altered_by_hand_is_a_message(segstudy, folder, case):
    ALTERED[case](folder)
    if not case.startswith(("sums", "note", "failure")):
        code, said = segstudy("status", "study.yaml")
        assert code == 2 or "done       1  wide/seed42" in said
        assert segstudy("compare", "study.yaml:wide", "study.yaml:deep")[0] == 2
        write_sums(folder.path)  # as if it had always been so
    for call in READERS:
        segstudy(*call)


@pytest.mark.parametrize("name", ["study.yaml", "files.json", "environment.json", "cache/fingerprints.json"])
@pytest.mark.parametrize("text", [b"[1]", b"\xff\0", DEEPLY], ids=["list", "bytes", "deep"])
def test_altered_notes_of_a_store_are_a_message(segstudy, folder, name, text):
    path = folder.path.parents[2] / name
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(text)
    for call in READERS:
        segstudy(*call)


PLACES = ("run.yaml", "cost.json", "metrics.jsonl", COUNTS, "best.safetensors", "SHA256SUMS", "failure.txt", "claim")


@pytest.mark.parametrize("name", [*PLACES, "../../../study.yaml"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "link to itself"])
def test_what_is_no_file_is_a_message_and_nobody_waits_for_it(segstudy, folder, name, kind):
    path = folder.path / name
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(path.name if kind == "link to itself" else "nothing")
    for call in READERS:
        segstudy(*call)


@pytest.mark.parametrize("kind", ["a file", "a pipe", "a link to itself"])
@pytest.mark.parametrize("place", ["tiny", "tiny/runs", "tiny/runs/deep", "tiny/runs/deep/seed42", "tiny/cache"])
def test_a_folder_that_is_none_is_a_message(segstudy, folder, tmp_path, place, kind):
    path = tmp_path / place
    if path.exists():
        path.rename(tmp_path / "away")
    if kind == "a file":
        path.write_text("x")
    elif kind == "a pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path.name)
    for call in READERS:
        segstudy(*call)


@pytest.mark.parametrize("name", [b"a\nb", b"\xff\xfe", b"\x1b[31m", "ä".encode()], ids=ascii)
def test_names_that_are_no_text_are_printed_or_refused(segstudy, folder, name):
    (folder.path / os.fsdecode(name)).write_bytes(b"x")
    (folder.path / "evaluations" / os.fsdecode(name + b".npz")).write_bytes(b"x")
    for call in READERS:
        segstudy(*call)
    write_sums(folder.path)
    assert segstudy("verify", "tiny")[0] == 0
    assert segstudy("verify", os.fsdecode(name))[0] == 2


def test_a_report_of_what_was_altered_and_sealed_holds_what_is_left(segstudy, folder):
    for case in ("cost: nothing is a number", "epochs: no numbers", "counts: zero"):
        ALTERED[case](folder)
    write_sums(folder.path)
    assert segstudy("report", "study.yaml")[0] == 0
    ALTERED["counts: huge"](folder)
    assert segstudy("report", "study.yaml")[0] == 2


OTHER_DATA = {
    "training data": {"data_fingerprints": {"train": "other", "select": "s", "report": "r"}},
    "reported data": {"data_fingerprints": {"train": "t", "select": "s", "report": "other"}},
    "order of the classes": {"classes": ["car", "road", "sky", "void"]},
    "reading of the masks": {"readings": {"city": "other"}},
}


@pytest.mark.parametrize("what", OTHER_DATA)
def test_seeds_that_rest_on_different_data_are_never_pooled(segstudy, folder, what):
    """As after copying a run from another store; the data need not be at hand."""
    sound = {
        "data_fingerprints": {"train": "t", "select": "s", "report": "r"},
        "classes": CLASSES,
        "readings": {"city": "x"},
    }
    text = (folder.path.parents[3] / "study.yaml").read_text()
    (folder.path.parents[3] / "study.yaml").write_text(text + "seeds: [42, 43]\n")
    plan, store = make_plan(load_study("study.yaml")), Store(folder.path.parents[2])
    second = next(run for run in plan.runs if run.name == "deep/seed43")
    add_run(store, second)
    add_counts(store, second, "city", CLASSES, DEEP)
    for each, about in ((folder, {}), (store.run("deep", 43), {})):
        keyed(RUN, **sound | about)(each)
        write_sums(each.path)
    assert len(read_results(store, plan).side("deep").sets) == 2
    keyed(RUN, **sound | OTHER_DATA[what])(store.run("deep", 43))
    write_sums(store.run("deep", 43).path)
    for command in (("report", "study.yaml"), ("compare", "study.yaml:wide", "study.yaml:deep")):
        code, said = segstudy(*command)
        assert code == 2 and "rests on other data, or another reading of the masks, than seed 42" in said
    assert "no verdicts: " in segstudy("status", "study.yaml")[1]


def test_a_run_that_may_not_be_read_is_a_failed_run_among_others(segstudy, folder, monkeypatch):
    """As in a folder of somebody else, whose files may not even be looked for."""
    plain = os.stat

    def refused(path, *rest, **more):
        if str(path).startswith(f"{folder.path}/"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path, *rest, **more)

    monkeypatch.setattr(os, "stat", refused)
    plan, store = make_plan(load_study("study.yaml")), Store(folder.path.parents[2])
    assert [(each.run.name, each.state) for each in find_pending(store, plan)] == [
        ("deep/seed42", "failed"),
        ("wide/seed42", "done"),
    ]
    assert not folder.trained
    said = segstudy("status", "study.yaml")[1]
    assert "failed     1  deep/seed42" in said and "cannot be read (Permission denied)" in said
    assert segstudy("report", "study.yaml")[0] == 2


def test_verdicts_that_were_said_before_follow_whatever_changes(folder, segstudy, monkeypatch):
    memo = folder.path.parents[2] / "cache" / "verdicts.json"

    def status():
        return segstudy("status", "study.yaml")[1]

    def again():
        memo.unlink()
        return status()

    first = status()
    assert "verdict  wide against deep" in first
    with monkeypatch.context() as never:
        never.setattr("segstudy.overview.read_results", None)
        assert status() == first
    memo.write_text(memo.read_text().replace("wide against deep", "deep against wide"))
    assert status() == first
    arrays(confusion=read_arrays(folder.evaluation("city", "val"))[0]["confusion"][:, :, ::-1])(folder)
    assert "changed since the run was finished" in status()
    write_sums(folder.path)
    other = status()
    assert other != first and other == again()
    study = folder.path.parents[3] / "study.yaml"
    study.write_text(study.read_text() + "primary: mdice\n")
    assert "mDice" in status() and status() == again()
