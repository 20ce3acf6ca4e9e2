"""The how-to pages: their files are written down as they stand there, and run."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import cohen_kappa_score
from typer.testing import CliRunner

from fakes import fake_folder
from report_stores import every_table, fill, plan_of
from segstudy import cli
from segstudy.cli import app
from segstudy.counts.counting import confusion_matrix, measures_of
from segstudy.errors import SegstudyError, SpecError
from segstudy.files import read_arrays
from segstudy.launch.launchers import find_launcher
from segstudy.launch.work import execute
from segstudy.launch.workshop import Workshop
from segstudy.plan import make_plan
from segstudy.progress import showing
from segstudy.report.build import build_report, every_part
from segstudy.report.frames import ReportData
from segstudy.report.sections import all_sections
from segstudy.report.table import Table
from segstudy.results import StudyResults, read_results
from segstudy.schema import ScoringRules
from segstudy.spec import load_study
from segstudy.store import Store

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
BLOCK = re.compile(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
TOML = re.compile(r"^```toml\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_files(page: str, folder: Path) -> dict[str, str]:
    """The files of a page, by name."""
    files = dict(BLOCK.findall((PAGES / page).read_text(encoding="utf-8")))
    for name, text in files.items():
        (folder / name).write_text(text)
    return files


@pytest.fixture(autouse=True)
def _modules_are_forgotten() -> Iterator[None]:
    yield
    for name in ("losses", "networks", "readers", "rules", "my_measures", "worst_images", "machines"):
        sys.modules.pop(name, None)


def train(folder: Path) -> dict[str, float]:
    """Run the page's study, with a small encoder; the loss of each experiment's one epoch."""
    file = folder / "study.yaml"
    file.write_text(file.read_text().replace("encoder: resnet18", "encoder: tu-test_resnet"))
    study, store = load_study(file), Store(folder / "out")
    plan = make_plan(study)
    with showing(quiet=True) as progress:
        assert execute(Workshop(study, store, None, progress), plan).failures == []
    return {run.experiment: store.run(run.experiment, run.seed).read_metrics()[0]["loss"] for run in plan.runs}


def test_add_a_loss(tmp_path: Path) -> None:
    assert set(write_files("add-loss.md", tmp_path)) == {"losses.py", "networks.py", "study.yaml"}
    fake_folder(tmp_path / "shapes", num_images=8, size=(32, 32))
    losses = train(tmp_path)
    assert losses["top-k"] > losses["cross-entropy"] > 0  # the same network: the hardest half of the pixels loses more


def test_add_a_network(tmp_path: Path) -> None:
    write_files("add-loss.md", tmp_path)
    fake_folder(tmp_path / "shapes", num_images=8, size=(32, 32))
    file = tmp_path / "study.yaml"
    text = file.read_text()
    assert "{arch: unet, encoder: resnet18, weights: none}" in text
    file.write_text(text.replace("{arch: unet, encoder: resnet18, weights: none}", '{arch: "networks:tiny"}'))
    assert set(train(tmp_path)) == {"cross-entropy", "top-k"}
    record = (tmp_path / "out/runs/top-k/seed42/run.yaml").read_text()
    assert "source.losses:top_k: sha256:" in record and "source.networks:tiny: sha256:" in record
    before = {run.experiment: run.identity for run in make_plan(load_study(file)).runs}
    (tmp_path / "losses.py").write_text((tmp_path / "losses.py").read_text() + "# edited\n")
    after = {run.experiment: run.identity for run in make_plan(load_study(file)).runs}
    assert (before["cross-entropy"], before["top-k"] != after["top-k"]) == (after["cross-entropy"], True)


def test_add_a_reader(tmp_path: Path) -> None:
    assert set(write_files("add-reader.md", tmp_path)) == {"readers.py", "study.yaml"}
    rng = np.random.default_rng(0)
    (tmp_path / "pairs").mkdir()
    for k in range(8):
        Image.fromarray(rng.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f"pairs/{k}_rgb.png")
        Image.fromarray(rng.integers(0, 3, (32, 32), np.uint8)).save(tmp_path / f"pairs/{k}_gt.png")
    assert train(tmp_path)["unet"] > 0


def install(page: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the page's entry point on the path, as an installed package has it."""
    (entry,) = TOML.findall((PAGES / page).read_text(encoding="utf-8"))
    ((group, points),) = tomllib.loads(entry)["project"]["entry-points"].items()
    info = folder / "my_package-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my_package\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in points.items()))
    monkeypatch.syspath_prepend(str(folder))


def test_add_a_section(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(write_files("add-section.md", tmp_path)) == {"worst_images.py"}
    install("add-section.md", tmp_path, monkeypatch)
    plan, store = plan_of(), Store(tmp_path / "out")
    fill(store, plan)
    data = ReportData(read_results(store, plan))
    parts = [part for part in every_part(data) if part.section.key == "worst-images"]
    ((table,),) = [part.items for part in parts]
    assert isinstance(table, Table)
    # IoU of the one image of folk: 3/7 and 1/5, the lowest of all
    assert [cell.text for cell in table.rows()[0]] == ["folk/0", "deep-spot", "42", f"{11 / 35:.4f}"]
    assert "Worst images" in build_report(store, plan).read_text()
    assert (store.report / "tables" / f"{table.name}.csv").is_file()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"key": "cost"}, "section 'worst-images': the key 'cost' is already in use"),
        ({"key": "runs"}, "section 'worst-images': the key 'runs' is already in use"),
        ({"key": "worst images"}, "the key 'worst images' must be a letter, then letters"),
    ],
)
def test_a_section_with_a_wrong_key_is_one_message(
    changes: dict[str, str], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = write_files("add-section.md", tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text().replace('Section("worst-images"', f'Section("{changes["key"]}"'))
    install("add-section.md", tmp_path, monkeypatch)
    with pytest.raises(SegstudyError, match=words):
        all_sections()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("raise KeyError('x')", "section 'worst-images': stopped with KeyError: 'x'"),
        ("raise SystemExit(3)", "section 'worst-images': stopped with SystemExit: 3"),
        ("yield 5; return", "section 'worst-images': yielded 5; must be a Table, a Drawing, a Widget or a text"),
    ],
)
def test_a_section_that_fails_is_one_message(
    line: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = write_files("add-section.md", tmp_path)
    path = tmp_path / file
    path.write_text(path.read_text().replace("    images = ", f"    {line}\n    images = "))
    install("add-section.md", tmp_path, monkeypatch)
    (section,) = [section for section in all_sections() if section.key == "worst-images"]
    data = ReportData(StudyResults(plan_of(), Store(tmp_path / "out"), (), None))
    with pytest.raises(SegstudyError) as caught:
        section.content(data)
    assert str(caught.value) == words


def test_add_a_measure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert set(write_files("add-measure.md", tmp_path)) == {"my_measures.py"}
    install("add-measure.md", tmp_path, monkeypatch)
    measure = measures_of(ScoringRules())[-1]
    truth, prediction = np.random.default_rng(1).integers(0, 3, (2, 200))
    found = measure.function(confusion_matrix(truth, prediction, 3))
    assert measure.key == "kappa"
    assert float(found) == pytest.approx(cohen_kappa_score(truth, prediction))
    plan, store = plan_of(), Store(tmp_path / "out")
    fill(store, plan)
    tables = {table.slug: table for table in every_table(ReportData(read_results(store, plan)))}
    scores = {row[0].text: row[2].text for row in tables["measures"].rows() if row[1].text == "spot"}
    assert scores == {"deep-spot": f"{(0.8 - 0.56) / (1 - 0.56):.4f}"}  # 8 of 10 are right, 5.6 by chance
    assert "Cohen's kappa (Cohen, 1960), higher is better" in tables["measures"].caption


def test_export_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's commands print what stands there, but for digits."""
    assert set(write_files("export-a-network.md", tmp_path)) == {"networks.py", "study.yaml"}
    monkeypatch.chdir(tmp_path)
    fake_folder(Path("shapes"), num_images=10, size=(48, 40))
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", (PAGES / "export-a-network.md").read_text(), re.MULTILINE | re.DOTALL)
    commands, printed, *_ = [text for language, text in blocks if not language]
    run, export = commands.splitlines()
    for command in (run, export):
        called = CliRunner().invoke(
            app, [*command.split()[1:], *(["--no-report"] if command == run else []), "--quiet"]
        )
        assert called.exit_code == 0, called.output
    digits = re.compile(r"\d(\.\d+e[+-]\d+|[\d.,]*)")
    assert digits.sub("N", called.output) == digits.sub("N", printed)
    assert Path("spots/exports/tiny-seed1-torch-export/model.pt2").is_file()


def test_use_from_python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The cells of the page, one after the other in one session."""
    monkeypatch.chdir(tmp_path)
    fake_folder(tmp_path / "my-images", num_images=10, size=(32, 32))
    Path("study.yaml").write_text(
        "name: page\ndata: {spot: {reader: folder, root: my-images, num_classes: 2}}\n"
        "recipe: {epochs: 3, batch_size: 4, input_size: 32}\nexperiments:\n"
        "  unet: {data: spot, model: {arch: unet, encoder: tu-test_resnet, weights: none}}\n"
        "  unet-fast: {base: unet, change: {recipe.optimizer.lr: 0.001}}\n"
    )
    shutil.copytree("my-images/masks", "truth")
    shutil.copytree("my-images/masks", "predictions")
    cells = re.findall(r"^```python\n(.*?)^```$", (PAGES / "use-from-python.md").read_text(), re.MULTILINE | re.DOTALL)
    session: dict[str, object] = {}
    for cell in cells:
        exec(compile(cell, "use-from-python.md", "exec"), session)
    said = capsys.readouterr().out
    assert "nothing wrong found" in said or "warning" in said
    assert "page: 2 of 2 runs done" in said and "mIoU 1.0000 over 10 images" in said
    assert "contradictions found" in said and "elsewhere: no such folder" in said


def test_add_a_launcher(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The page's call, with an ssh that runs the command in this process."""
    assert set(write_files("add-launcher.md", tmp_path)) == {"machines.py"}
    (tmp_path / "study.yaml").write_text(
        "name: tiny\nprotocol: paper\ndata: {spot: {reader: folder, root: shapes, num_classes: 2}}\n"
        "recipe: {epochs: 1, batch_size: 4, input_size: 32}\n"
        "experiments: {small: {data: spot, model: {arch: linknet, encoder: tu-test_resnet, weights: none}}}\nseeds: [1, 2]\n"
    )
    fake_folder(tmp_path / "shapes", num_images=8, size=(32, 32))
    (call,) = re.findall(r"^segstudy (run .* --on .*)$", (PAGES / "add-launcher.md").read_text(), re.MULTILINE)
    asked: list[list[str]] = []

    class InThisProcess:
        def __init__(self, words: list[str]) -> None:
            asked.append(words)

        def wait(self) -> int:
            if len(asked) == 2:
                monkeypatch.setattr(sys, "argv", ["segstudy", *shlex.split(asked[0][2])[3:], "--quiet"])
                with pytest.raises(SystemExit, match="0"):
                    cli.main()
                asked.append([])
            return 0

    monkeypatch.setattr("subprocess.Popen", InThisProcess)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["segstudy", *call.split(), "--out", "out", "--no-report"])
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    command = f"python3 -m segstudy work {tmp_path / 'study.yaml'} --out {tmp_path / 'out'}"
    assert asked[:2] == [["ssh", "anna", command], ["ssh", "bert", command]]
    assert capsys.readouterr().out.startswith("all 2 runs are done")
    folder, (run, _) = Store(tmp_path / "out").run("small", 1), make_plan(load_study(tmp_path / "study.yaml")).runs
    assert folder.state(run.identity, run.scored_on) == "done"


def test_a_launcher_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "my_package"
    package.mkdir()
    (package / "__init__.py").touch()
    write_files("add-launcher.md", package)
    install("add-launcher.md", tmp_path, monkeypatch)
    _, options = find_launcher("ssh", ["hosts=anna"])
    assert options == {"hosts": "anna", "python": "python3"}
    with pytest.raises(SpecError, match="--on ssh --with hosts: field required"):
        find_launcher("ssh", [])


def test_score_an_existing_network(tmp_path: Path) -> None:
    """The page's callable is scored alone; its counts are those of brightness over one half."""
    assert set(write_files("score-an-existing-network.md", tmp_path)) == {"rules.py", "study.yaml"}
    fake_folder(tmp_path / "shapes")
    study = load_study(tmp_path / "study.yaml")
    workshop = Workshop(study, Store(tmp_path / "out"))
    assert execute(workshop, make_plan(study).select(["bright"])).failures == []
    dataset, roles = workshop.dataset("shapes")
    counted = read_arrays(workshop.store.run("bright", 42).evaluation("shapes", roles.report))[0]
    for name, confusion in zip(counted["ids"], counted["confusion"], strict=True):
        sample = next(one for one in dataset.samples(roles.report) if one.id == name)
        bright = np.asarray(Image.open(sample.image).convert("RGB"), float).mean(axis=2) / 255 > 0.5
        truth = dataset.labels_of(sample)
        expected = [[((truth == t) & (bright == p)).sum() for p in (False, True)] for t in (0, 1)]
        np.testing.assert_array_equal(confusion, expected)
