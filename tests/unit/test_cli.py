"""The command line: what it prints, what it exits with, and that wrong input never shows a traceback."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from fakes import fake_camvid, fake_folder, fake_kvasir
from segstudy import cli

SCORE = ["score", "Kvasir-SEG/masks", "Kvasir-SEG/masks"]
STUDY = """
name: small
protocol: paper
data:
  polyps: {reader: kvasir, root: Kvasir-SEG}
recipe: {epochs: 1, batch_size: 4, input_size: 32, precision: float32}
experiments:
  unet: {data: polyps, model: {arch: unet, encoder: tu-test_resnet, weights: none, options: {decoder_channels: [16, 8, 8, 4, 4]}}}
  wider: {base: unet, change: {model.encoder: tu-test_efficientnet}}
"""


@pytest.fixture
def segstudy(monkeypatch, capsys, tmp_path):
    """Call the command line in the test's own folder; gives (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SEGSTUDY_DATA", raising=False)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["segstudy", *map(str, arguments)])
        code = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def study(tmp_path):
    fake_kvasir(tmp_path / "Kvasir-SEG", num_images=10, size=(40, 36))
    (tmp_path / "study.yaml").write_text(STUDY)
    return tmp_path / "study.yaml"


def masks(folder: Path, values, count=2, size=(8, 6)):
    folder.mkdir(parents=True)
    for index in range(count):
        array = np.resize(np.array(values, np.uint8), (size[1], size[0]))
        Image.fromarray(array).save(folder / f"{index}.png")


HEAVY = ("torch", "matplotlib", "pandas", "scipy", "cv2", "timm")


def test_help_imports_nothing_heavy():
    """What makes it answer at once, on any machine."""
    script = "import sys; sys.argv = ['segstudy', '--help']\nfrom segstudy.cli import main\ntry: main()\n"
    script += f"except SystemExit: print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "segstudy demo" in done.stdout


def test_everything_from_check_to_archive(segstudy, study, tmp_path):
    code, out, _ = segstudy("check", study)
    assert code == 0
    assert "polyps" in out
    assert "nothing wrong found" in out
    code, out, _ = segstudy("plan", study)
    assert code == 0
    assert "encoder=tu-test_efficientnet" in out
    assert "equal in every experiment" in out
    code, out, _ = segstudy("run", study, "--dry-run")
    assert (code, (tmp_path / "small").exists()) == (0, False)
    code, out, err = segstudy("run", study, "--track", "csv")
    assert code == 0, err
    assert "report: small/report/index.html" in out
    assert "[2/2] wider/seed42" in err
    assert "1 of 2 runs done, 1 left" in err and "2 of 2 runs done" in err and "verdict  wider against unet" in err
    tracked = (tmp_path / "small" / "track" / "csv" / "wider" / "seed42.csv").read_text().splitlines()
    epochs = (tmp_path / "small" / "runs" / "wider" / "seed42" / "metrics.jsonl").read_text().splitlines()
    assert [line.split(",")[:2] for line in tracked[1:]] == [
        [str(e["epoch"]), str(e["loss"])] for e in map(json.loads, epochs)
    ]
    assert "polyps/miou," in (tmp_path / "small" / "track" / "csv" / "wider" / "seed42-scores.csv").read_text()
    code, out, err = segstudy("run", study, "--no-report")
    assert "done before" in err
    code, out, _ = segstudy("status", study, "--json")
    assert json.loads(out)["states"] == {"done": ["unet/seed42", "wider/seed42"]}
    code, out, _ = segstudy("report", study, "--single-file", "2")
    size = (tmp_path / "small" / "report" / "index.html").stat().st_size
    assert f"size: {size / 1e6:.1f} MB, with the pictures of up to 2 images of each browser" in out
    code, out, err = segstudy("compare", f"{study}:wider", f"{study}:unet/seed42", "--json")
    assert code == 0, err
    assert json.loads(out)["changes"] == [{"key": "model.encoder", "a": "tu-test_efficientnet", "b": "tu-test_resnet"}]
    code, out, _ = segstudy("predict", f"{study}:unet", tmp_path / "Kvasir-SEG" / "images", "--to", "new")
    assert "wrote 10 masks" in out
    with (
        Image.open(next((tmp_path / "new").glob("*.png"))) as mask,
        Image.open(next((tmp_path / "new-overlays").glob("*.jpg"))) as over,
    ):
        assert mask.size == over.size
    code, out, _ = segstudy("archive", study)
    assert code == 0
    code, out, _ = segstudy("verify", tmp_path / "small" / "small-archive.zip")
    assert "files match their checksums" in out
    (tmp_path / "small" / "runs" / "unet" / "seed42" / "cost.json").write_text("{}")
    code, out, err = segstudy("verify", tmp_path / "small")
    assert code == 2
    assert "runs/unet/seed42/cost.json: changed since its sum was taken" in err


def test_an_unfinished_study_still_reports_with_visible_gaps(segstudy, study, tmp_path):
    code, _, err = segstudy("run", study, "--only", "unet")
    assert code == 0, err
    page = (tmp_path / "small" / "report" / "index.html").read_text()
    assert "wider" in page
    assert "missing" in page
    code, out, _ = segstudy("status", study)
    assert "missing" in out
    assert f"next: segstudy run {study}" in out


def test_init_writes_a_study_that_check_accepts(segstudy, tmp_path):
    fake_camvid(tmp_path / "town", num_images=4)
    code, out, _ = segstudy("init", "town")
    assert code == 0
    text = (tmp_path / "study.yaml").read_text()
    assert "reader: folder" in text
    assert "protocol: held-out" in text
    code, out, err = segstudy("plan", "study.yaml")
    assert code == 0, err
    assert "output_stride=16" in out
    code, _, err = segstudy("init", "town")
    assert code == 2
    assert "study.yaml: already exists" in err
    assert (tmp_path / "study.yaml").read_text() == text


def test_score_by_hand(segstudy, tmp_path):
    # Truth: half 0, half 1. Prediction: all 0. IoU 0.5 and 0, Dice 2/3 and 0, accuracy 0.5.
    masks(tmp_path / "truth", [0, 1])
    masks(tmp_path / "predicted", [0, 0])
    code, out, _ = segstudy("score", "predicted", "truth", "--json", "--classes", "ground, thing", "--out", "each.csv")
    assert code == 0
    record = json.loads(out)
    assert record["miou"] == pytest.approx(0.25)
    assert record["mdice"] == pytest.approx(1 / 3)
    assert record["pixel_accuracy"] == pytest.approx(0.5)
    assert [row["class"] for row in record["classes"]] == ["ground", "thing"]
    assert (tmp_path / "each.csv").read_text().splitlines()[0].startswith("image,miou")
    code, out, _ = segstudy("score", "predicted", "truth")
    assert re.search(r"^mIoU +0\.2500", out, re.MULTILINE)


def test_scores_of_any_framework_are_compared(segstudy, tmp_path):
    # Truth: half 0, half 1. One prediction is right; the other calls two images of six all 0.
    masks(tmp_path / "truth", [0, 1], 6)
    masks(tmp_path / "right", [0, 1], 6)
    masks(tmp_path / "wrong", [0, 1], 4)
    masks(tmp_path / "other", [0, 0], 6)
    for index in (4, 5):
        (tmp_path / "other" / f"{index}.png").rename(tmp_path / "wrong" / f"{index}.png")
    for name in ("right", "wrong"):
        code, _, err = segstudy(
            "score", name, "truth", "--counts", f"{name}.npz", "--boundary-px", 1, "--boundary-px", 3
        )
        assert (code, err) == (0, "")
    code, out, _ = segstudy("compare", "right.npz", "wrong.npz", "--json")
    record = json.loads(out)
    # Merged over six images of 48 pixels: 0 has 144 of 192, 1 has 96 of 144.
    assert (code, record["a"]["value"], record["b"]["value"]) == (0, 1, pytest.approx((144 / 192 + 96 / 144) / 2))
    assert record["difference"]["value"] == pytest.approx(1 - (144 / 192 + 96 / 144) / 2)
    code, out, _ = segstudy("compare", "right.npz", "wrong.npz", "--measure", "mean_boundary_f_3px")
    assert code == 0
    assert out.splitlines()[0].startswith("6 images, 288 pixels, scored at the masks' own size")
    assert "Boundary F (3 px), mean" in out
    (tmp_path / "truth" / "5.png").unlink()
    (tmp_path / "right" / "5.png").unlink()
    segstudy("score", "right", "truth", "--counts", "fewer.npz")
    code, out, err = segstudy("compare", "fewer.npz", "wrong.npz")
    assert (code, out) == (2, "")
    assert "1 only in wrong.npz: 5" in err


def test_score_under_other_rules(segstudy, tmp_path):
    masks(tmp_path / "truth", [0, 1])
    masks(tmp_path / "predicted", [0, 2])
    code, out, _ = segstudy("score", "predicted", "truth", "--as", "mmseg", "--as", "voc", "--json")
    rules = json.loads(out)["as"]["rules"]
    assert (code, [rule["as"] for rule in rules]) == (0, ["mmseg", "mmseg", "voc"])
    assert rules[0]["scores"]["mIoU"] == pytest.approx((1 + 0 + 0) / 3)  # class 2 enters as 0; here (1 + 0) / 2
    code, out, _ = segstudy("score", "predicted", "truth", "--as", "all")
    assert "averageScoreClasses 0.3333 (0.5000)" in out
    assert "medpy: metric.binary.hd95" in out and "ade20k: " in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "no-such-study.yaml"], "no such file, and segstudy has no study of that name (adaptation, demo, "),
        (["run", "reveiw"], "did you mean 'review'"),
        (["run", "study.yaml", "--only", "unett"], "no experiment is named 'unett' (did you mean 'unet'?)"),
        (["run", "study.yaml", "--seed", "7"], "--seed 7: the study's seeds are 42"),
        (["run", "study.yaml", "--set", "recipe.epochs"], "write it as key=value"),
        (["run", "study.yaml", "--set", "recipe.epoch=3"], "unknown key (did you mean 'epochs'?)"),
        (["run", "study.yaml", "--set", "recipe.epochs=0"], "should be greater than 0"),
        (
            ["run", "study.yaml", "--data", "nowhere", "--set", "data.polyps.root=none"],
            "data.polyps.root: 'none' was not found",
        ),
        (["run", "study.yaml", "--out", "study.yaml"], "is a file; choose a folder"),
        (["run", "review", "--only", "unet-cityscapes"], "data.cityscapes.root: 'Cityspaces' was not found"),
        (["report", "study.yaml"], "segstudy run"),
        (["archive", "study.yaml"], "segstudy run"),
        (["verify", "nowhere"], "no such folder"),
        (["verify", "Kvasir-SEG"], "no SHA256SUMS found"),
        (["predict", "study.yaml:unet", "Kvasir-SEG/images"], "is not trained yet"),
        (["predict", "study.yaml", "Kvasir-SEG/images"], "write STUDY:EXPERIMENT"),
        (["predict", "study.yaml:unet/seedx", "Kvasir-SEG/images"], "is not a seed"),
        (["import", "none.pth", "--study", "study.yaml", "--experiment", "unet"], "none.pth: no such file"),
        (["import", "study.yaml", "--study", "study.yaml", "--experiment", "unet"], "not a readable checkpoint"),
        (["import", "none.pth", "--study", "study.yaml", "--experiment", "net"], "no experiment is named 'net'"),
        (["init", "nowhere"], "nowhere: no such folder"),
        (["init", "."], "study.yaml: already exists; choose another name with --file"),
        (["score", "nowhere", "Kvasir-SEG/masks"], "nowhere: no such folder"),
        (["score", "Kvasir-SEG", "Kvasir-SEG/masks"], "have no true mask"),
        ([*SCORE, "--as", "mmsg"], "--as mmsg: no such rule (did you mean 'mmseg'?)"),
        ([*SCORE, "--classes", ",,"], "names of the classes (--classes): 3 given, of which number 1, 2, 3 is empty"),
        ([*SCORE, "--classes", ""], "(--classes): 1 given, of which number 1 is empty"),
        ([*SCORE, "--classes", "a, a"], "(--classes): 2 given, a more than once"),
        ([*SCORE, "--classes", "a"], "(--classes): 1 given; must be 2 to 255"),
        (
            [*SCORE, "--num-classes", "3", "--classes", "a,b"],
            "(--classes): 2 given (a, b) for 3 classes (--num-classes); name every class, or give one of the two",
        ),
        ([*SCORE, "--ignore", "256"], "values to ignore (--ignore): 256: must be 0 to 255"),
        ([*SCORE, "--groups", "("], "--groups: '(' is not a regular expression"),
        ([*SCORE, "--groups", "x(.)"], "finds no group in 10 of 10 image ids"),
        ([*SCORE, "--boundary-px", "-1"], "--boundary-px"),
        ([*SCORE, *[word for px in range(9) for word in ("--boundary-px", px)]], "9 tolerances were given; 8 at most"),
        ([*SCORE, "--out", "Kvasir-SEG/masks"], "--out Kvasir-SEG/masks: must end in .csv"),
        ([*SCORE, "--counts", "counts.json"], "--counts counts.json: must end in .npz"),
        ([*SCORE, "--counts", "study.yaml/counts.npz"], "study.yaml/counts.npz: cannot be written"),
        (["compare", "a.npz", "b.npz"], "a.npz: no such file; 'segstudy score PREDICTIONS TRUTH --counts a.npz'"),
        (
            ["compare", "study.yaml", "b.npz"],
            "study.yaml: is not a result; name an experiment of a study, as in study.yaml:unet",
        ),
        (["compare", ".", "b.npz"], ".: is not a result; name an experiment of a study"),
        (["compare", "demo", "b.npz"], "demo: is not a result; name an experiment of a study"),
        (["compare", "unet", "wider"], "unet: is not a result; name an experiment of a study"),
        (["compare", "study.yaml:unet", "study.yaml:wider"], "study.yaml:unet: not scored on polyps yet"),
        (["compare", "study.yaml:unett", "study.yaml:wider"], "no experiment is named 'unett' (did you mean 'unet'?)"),
        (["compare", "study.yaml:unet/seed7", "study.yaml:wider"], "--seed 7: the study's seeds are 42"),
        (["compare", "study.yaml:unet/seedx", "study.yaml:wider"], "'seedx' is not a seed"),
        (["compare", "study.yaml:", "study.yaml:wider"], "write STUDY:EXPERIMENT"),
        (["compare", "study.yaml:unet", "study.yaml:wider", "--on", "folk"], "is not scored on 'folk'"),
        (["check", "study.yaml", "--set", "data.polyps.root=none"], "1 error to fix before training"),
        (["check", "study.yaml", "--dataset", "polips"], "has no such dataset (did you mean 'polyps'?); it has polyps"),
        (["check", "study.yaml", "--card", "study.yaml/x"], "study.yaml/x/card.json: cannot be written"),
        (["run"], "Missing argument"),
        (["run", "study.yaml", "--seed", "x"], "--seed"),
        (["rum", "study.yaml"], "No such command"),
    ],
)
def test_wrong_input_is_one_message_and_exit_code_2(segstudy, study, arguments, message, tmp_path):
    before = sorted(str(path) for path in tmp_path.rglob("*"))
    code, _, err = segstudy(*arguments)
    assert code == 2
    assert message in " ".join(err.replace("│", " ").split()) or message in err
    assert "Traceback" not in err
    lost = set(before) - {str(path) for path in tmp_path.rglob("*")}
    assert not lost


def test_check_names_every_faulty_file_at_once(segstudy, study, tmp_path):
    images = sorted((tmp_path / "Kvasir-SEG" / "images").iterdir())
    images[0].write_bytes(images[0].read_bytes()[:200])
    images[1].write_bytes(b"text")
    Image.new("RGB", (10, 10)).save(images[2])
    code, out, err = segstudy("check", study)
    assert code == 2
    assert err.splitlines()[-1] == "segstudy: 3 errors to fix before training, 0 warnings"
    for image, reason in zip(images, ("cannot be decoded", "not an image", "10x10"), strict=False):
        assert f"images/{image.name}: " in out
        assert reason in out
    code, out, err = segstudy("check", study, "--json")
    assert code == 2
    assert {each["kind"] for each in json.loads(out)["findings"]} == {"truncated", "unreadable", "size-mismatch"}
    assert "3 errors" in err


def test_warnings_are_told_and_pass(segstudy, study, tmp_path):
    image = sorted((tmp_path / "Kvasir-SEG" / "images").iterdir())[0]
    with Image.open(image) as picture:
        grey = picture.convert("L")
    grey.save(image)
    code, out, _ = segstudy("check", study)
    assert code == 0
    assert "mode (1): an image that is not stored as RGB" in out
    assert f"no errors, 1 warning to look at; next: segstudy run {study}" in out
    code, out, err = segstudy("check", study, "--json")
    assert (code, json.loads(out)["warnings"]) == (0, 1)
    assert "no errors, 1 warning" in err


def test_check_writes_cards_splits_and_sheets_where_it_is_told(segstudy, study, tmp_path):
    asked = ("--card", "cards", "--write-split", "split.json", "--show-augment")
    code, out, err = segstudy("check", study, *asked)
    assert code == 0, err
    written = ["cards/card.md", "cards/card.json", "cards/contact-sheet.jpg", "split.json", "cards/augment-unet.jpg"]
    assert [line.removeprefix("wrote ") for line in out.splitlines() if line.startswith("wrote ")] == written
    assert all((tmp_path / name).is_file() for name in written)
    assert not (tmp_path / "small").exists()  # a check leaves no output folder that a run would have to explain
    code, out, _ = segstudy("check", study, "--set", "data.polyps.split_file=split.json")
    assert code == 0
    hashes = [line.partition("hash ")[2] for line in out.splitlines() if "hash " in line]
    assert hashes == [json.loads((tmp_path / "split.json").read_text())["hash"]]
    code, out, _ = segstudy("check", study, "--json", "--show-augment")
    json.loads(out)
    assert (tmp_path / "augment-unet.jpg").is_file()


def test_a_wrong_study_file_is_told_to_programs_too(segstudy, study):
    code, out, err = segstudy("check", study, "--json", "--set", "recipe.epoch=3", "--set", "protocol=none")
    assert code == 2
    record = json.loads(out)
    assert (record["errors"], record["datasets"]) == (2, [])
    assert {each["kind"] for each in record["findings"]} == {"study"}
    assert "did you mean 'epochs'" in err


def test_an_interruption_says_that_the_same_command_goes_on(segstudy, study, monkeypatch):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("segstudy.launch.work.execute", interrupt)
    code, _, err = segstudy("run", study)
    assert code == 130
    assert "run the same command again to resume" in err


def test_predicting_two_images_of_one_name_is_refused(segstudy, study, tmp_path):
    segstudy("run", study, "--only", "unet", "--no-report")
    fake_folder(tmp_path / "a")
    (tmp_path / "b").mkdir()
    image = next((tmp_path / "a" / "images").iterdir())
    (tmp_path / "b" / image.name).write_bytes(image.read_bytes())
    code, _, err = segstudy("predict", f"{study}:unet", image, tmp_path / "b", "--to", "new")
    assert code == 2
    assert "several images are named" in err
    assert not (tmp_path / "new").exists()


def test_predict_reads_folders_as_score_does(segstudy, study, tmp_path):
    """Sub-folders and GIF are read, tags turn nothing, hidden files are none, and masks alone lie where they can be scored."""
    segstudy("run", study, "--only", "unet", "--no-report")
    photos = tmp_path / "photos"
    (photos / "sub").mkdir(parents=True)
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 56, 3), np.uint8))
    picture.save(photos / "a.png")
    picture.save(photos / "sub" / "a.png")
    picture.save(photos / "turned.tif", tiffinfo={274: 6})
    picture.quantize(16).save(photos / "g.gif")
    (photos / "._a.png").write_bytes(b"Mac OS X")
    (photos / "b.heic").write_bytes(b"ftypheic")
    code, out, err = segstudy("predict", f"{study}:unet", photos, "--to", "pred")
    assert code == 0, err
    assert "wrote 4 masks to pred and as many overlays to pred-overlays" in out
    assert "1 files are left out, as their suffix is not read: b.heic" in out
    masks = {
        path.relative_to(tmp_path / "pred").as_posix(): np.asarray(Image.open(path))
        for path in (tmp_path / "pred").rglob("*.*")
    }
    assert {name: mask.shape for name, mask in masks.items()} == dict.fromkeys(
        ("a.png", "g.png", "sub/a.png", "turned.png"), (40, 56)
    )
    assert np.array_equal(masks["a.png"], masks["turned.png"]) and np.array_equal(masks["a.png"], masks["sub/a.png"])
    assert len(list((tmp_path / "pred-overlays").rglob("*.jpg"))) == 4
    shutil.copytree(tmp_path / "pred", tmp_path / "truth")
    code, out, err = segstudy("score", "pred", "truth", "--num-classes", "2")
    assert code == 0, err
    assert "4 images, 8,960 pixels" in out
    (photos / "broken.png").write_bytes(b"no picture")
    code, _, err = segstudy("predict", f"{study}:unet", photos, "--to", "again", "--overlays", "drawn")
    assert code == 2
    assert "1 of 5 images have no mask; the other 4 were written to again" in err and "broken.png: not an image" in err
    assert len(list((tmp_path / "drawn").rglob("*.jpg"))) == 4
    code, _, err = segstudy("predict", f"{study}:unet", photos, "--to", "same", "--overlays", "same")
    assert code == 2 and "masks and overlays need a folder each" in err


LONG = "x" * 300


@pytest.mark.parametrize(
    "call",
    [
        ["score", LONG, "Kvasir-SEG/masks"],
        ["plan", "study.yaml", "--out", LONG],
        ["run", "study.yaml", "--out", LONG],
        ["cache", "study.yaml", "--out", LONG],
        ["check", "study.yaml", "--set", f"data.polyps.root={LONG}"],
        ["verify", LONG],
        ["compare", f"{LONG}.npz", f"{LONG}.npz"],
        ["init", LONG],
        ["init", "Kvasir-SEG", "--file", LONG],
        ["data", "--data", LONG],
    ],
)
def test_a_name_that_no_file_can_have_is_one_message(segstudy, study, call):
    code, out, errors = segstudy(*call)
    assert code == 2
    assert LONG in out + errors


def test_a_study_whose_table_was_edited_says_so_and_one_whose_table_is_gone_stands(segstudy, study, tmp_path):
    names = sorted(path.stem for path in (tmp_path / "Kvasir-SEG" / "images").iterdir())
    table = "image,group\n" + "".join(f"{name},{k}\n" for k, name in enumerate(names))
    (tmp_path / "tables").mkdir()
    (tmp_path / "tables" / "p.csv").write_text(table)
    settings = ["--set", "data.polyps.groups={file: p.csv}"]
    assert segstudy("run", study, "--only", "unet", "--data", "tables", "--no-report", *settings)[0] == 0
    (tmp_path / "p.csv").write_text(table)
    shutil.rmtree(tmp_path / "tables")
    assert "stale" not in segstudy("plan", study, *settings)[1]
    (tmp_path / "p.csv").write_text(table.replace(",0\n", ",zero\n"))
    words = r"stale: unet/seed42 was made with other settings: data\.groups\.file was sha256:\w+, is sha256:\w+\n"
    for command in ("plan", "status"):
        assert re.search(words, segstudy(command, study, *settings)[1])
    (row,) = (row for row in json.loads(segstudy("plan", study, "--json", *settings)[1]) if row["state"] == "stale")
    assert row["differs"].startswith("data.groups.file was sha256:")
    (tmp_path / "p.csv").unlink()
    assert re.search(r"done +1  unet/seed42", segstudy("status", study, *settings)[1])
    assert segstudy("report", study, *settings)[0] == 0
