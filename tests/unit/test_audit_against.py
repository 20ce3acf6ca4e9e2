"""A published table beside a study's results: matched to the printed digits, different, missing."""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest

from segstudy import cli
from segstudy.auditing.against import as_table, compare_with_study, differing, read_results
from segstudy.auditing.claims import make_claims
from segstudy.auditing.tables import read_tables
from segstudy.errors import StoreError, TableError

STUDY = """
name: small
protocol: paper
data:
  polyps: {reader: kvasir, root: polyps}
  people: {reader: supervisely, root: people}
experiments:
  unet:     {data: polyps, model: {arch: unet}}
  unet-512: {base: unet, change: {recipe.input_size: 512}}
cross_evaluations: [{experiment: unet, on: people, map: {polyp: person}}]
"""
COLUMNS = ["experiment", "seed", "train_data", "test_data", "split", "selected_on"]
COLUMNS += ["class", "measure", "level", "resolution", "value"]


def row(
    experiment="unet", test="polyps", cls="", measure="miou", value=0.5, seed=42, resolution="input", train="polyps"
):
    level = "class" if cls else "dataset"
    return [experiment, seed, train, test, "test", "polyps/test", cls, measure, level, resolution, value]


ROWS = [
    row(value=0.88204),
    row(measure="mdice", value=0.9354),
    row(measure="pixel_accuracy", value=0.96),
    row(measure="mean_class_accuracy", value=0.9659),
    row(cls="background", measure="iou", value=0.961),
    row(cls="polyp", measure="iou", value=0.805),
    row(test="people", value=0.3736),
    row("unet (constant)", train="", value=0.4),
    ["unet", 42, "polyps", "polyps", "test", "polyps/test", "image7", "miou", "image", "input", 0.1],
]


@pytest.fixture
def compare(tmp_path: Path):
    """Compare a table, given as text, with results, given as rows; (row, column, experiment, status, ours, note)."""

    def call(table: str, rows=ROWS, matches=(), full=False):
        (tmp_path / "t.csv").write_text(table, encoding="utf-8")
        with (tmp_path / "results.csv").open("w", newline="") as file:
            csv.writer(file).writerows([COLUMNS, *rows])
        claims = make_claims(read_tables([str(tmp_path / "t.csv")]))
        found = compare_with_study(claims, ["unet", "unet-512"], read_results(tmp_path / "results.csv"), matches)
        return found if full else [(c.row, c.column, c.status, c.ours, c.note) for c in found]

    return call


def test_matched_different_missing(compare):
    found = compare("Model Name,mIoU,mDice,IoU\nunet,0.8820,0.9361,0.88\nunet-512,0.9,-,-\nother,0.9,-,-\n")
    assert found == [
        ("unet", "mIoU", "matched", 0.88204, ""),
        ("unet", "mDice", "different", 0.9354, ""),
        ("unet", "IoU", "missing", None, "no such score"),
        ("unet-512", "mIoU", "missing", None, "no results yet"),
        ("other", "mIoU", "missing", None, "no experiment of the study; say which with --match"),
    ]


@pytest.mark.parametrize(
    ("printed", "value", "status"),
    [
        ("0.883", 0.8825, "matched"),  # a tie
        ("0.883", 0.88249, "different"),
        ("0.882", 0.8825, "matched"),
        ("0.883", 0.88399, "different"),  # cut off
        ("0.883", 0.8841, "different"),
        ("0.77", 0.7728, "matched"),
        ("0.7", 0.7728, "different"),
        ("88.3%", 0.8834, "matched"),
        ("≈ 0.88–0.89", 0.8949, "matched"),
        ("0.883", "nan", "missing"),
        ("0.883", "", "missing"),
    ],
)
def test_digits_decide(compare, printed, value, status):
    [(_, _, found, _, _)] = compare(f"Experiment,mIoU\nunet,{printed}\n", [row(value=value)])
    assert found == status


def test_digits_that_are_cut_off_are_told_from_others(compare):
    rows = [row(value=0.7728), row(measure="mdice", value=0.7772), row(measure="pixel_accuracy", value=0.9)]
    found = compare("Experiment,mIoU,mDice,PA\nunet,0.7,0.76,0.9\n", rows, full=True)
    assert [(c.status, c.severity) for c in found] == [
        ("different", "rounding"),
        ("different", "contradiction"),
        ("matched", None),
    ]
    assert [c.note for c in found] == ["digits seem cut off instead of rounded", "", ""]
    assert len(differing(found)) == 2
    assert as_table(found).splitlines()[-1] == "1 matched, 2 different (1 of rounding), 0 missing"


def test_of_two_accuracies_the_nearer_is_shown(compare):
    [one] = compare("Experiment,mPA\nunet,0.965\n", full=True)  # 0.9659 cut off, where pixel accuracy is 0.96
    assert (one.measure, one.severity) == ("mean_class_accuracy", "rounding")


def test_how_far_it_is(compare):
    [one] = compare("Experiment,mIoU\nunet,80.0%\n", [row(value=0.85), row(value=0.87, seed=1)], full=True)
    assert (one.ours, one.num_seeds, one.status) == (pytest.approx(0.86), 2, "different")
    assert one.difference == pytest.approx(0.06)
    assert "ours 0.8600 (+0.0600); polyps test, input size; mean of 2 seeds" in as_table([one])


def test_rows_can_be_matched_by_hand(compare):
    table = "# title: Table 9\nModel,Input,mIoU\nU-Net,256,0.8820\nU-Net,512,0.8764\n"
    rows = [*ROWS, row("unet-512", value=0.87641)]
    matches = ("u-net, 256=unet", "Table 9: U-Net, 512=unet-512")
    assert [(c[0], c[2]) for c in compare(table, rows, matches)] == [
        ("U-Net, 256", "matched"),
        ("U-Net, 512", "matched"),
    ]
    found = compare("Class,A IoU\n0,0.961\n1,0.82\npolyp,0.805\n7,0.5\n", matches=("A=unet",))
    assert [c[2] for c in found] == ["matched", "different", "matched", "missing"]
    assert found[3][4] == "no such class"


@pytest.mark.parametrize(
    ("matches", "message"),
    [
        ((), r"no row is one of the study's experiments \(unet, unet-512\); the rows are U-Net; .*--match"),
        (("unet",), "--match 'unet': write ROW=EXPERIMENT"),
        (("=unet",), "write ROW=EXPERIMENT"),
        (("U-Net=unett",), r"no experiment is named 'unett' \(did you mean 'unet'\?\)"),
        (("UNet2=unet",), "no row is called 'UNet2'"),
    ],
)
def test_matches_that_fit_nothing(compare, matches, message):
    with pytest.raises(TableError, match=message):
        compare("Model,mIoU\nU-Net,0.8\n", matches=matches)


def test_cross_evaluations(compare):
    table = "# run: unet\nTrain → Test,mIoU\nKvasir → Kvasir,0.8820\nKvasir → {},0.3736\n"
    own = ("Kvasir → Kvasir", "mIoU", "matched", 0.88204, "")
    assert compare(table.format("people")) == [own, ("Kvasir → people", "mIoU", "matched", 0.3736, "")]
    crossed = ("Kvasir → Person", "mIoU", "matched", 0.3736, "'Person' is read as people")
    assert compare(table.format("Person")) == [own, crossed]
    two = [*ROWS, row(test="cells", value=0.2)]
    found = compare(table.format("Person"), two)
    assert found[1][2:] == (
        "missing",
        None,
        "tested on 'Person': say which of people, cells with --match 'ROW=unet@DATA'",
    )
    found = compare(table.format("Person"), two, ("Kvasir → Person=unet@cells",))
    assert found[1][2:] == ("different", 0.2, "")
    found = compare(table.format("Person"), ROWS[:1])
    assert found[1][2:] == ("missing", None, "tested on 'Person': not evaluated elsewhere")


def test_an_accuracy_that_may_be_either(compare):
    found = compare("Experiment,mPA,F1\nunet,0.9659,-\n")
    assert found == [("unet", "mPA", "matched", 0.9659, "")]  # mean class accuracy
    assert compare("Experiment,mPA\nunet,0.5\n")[0][2:4] == ("different", 0.96)  # pixel accuracy


def test_every_contract_is_shown_and_one_match_is_enough(compare):
    rows = [row(value=0.70, resolution="native"), row(value=0.882)]
    found = compare("Experiment,mIoU\nunet,0.8820\n", rows, full=True)
    assert [(c.resolution, c.status) for c in found] == [("native", "different"), ("input", "matched")]
    assert differing(found) == []
    assert len(differing(compare("Experiment,mIoU\nunet,0.80\n", rows, full=True))) == 1
    assert as_table(found).splitlines()[-1] == "1 matched, 1 different, 0 missing"


def test_results_that_cannot_be_read(tmp_path):
    path = tmp_path / "results.csv"
    with pytest.raises(StoreError, match="no results yet; run the study"):
        read_results(path)
    good = ",".join(COLUMNS) + "\n" + ",".join(map(str, row())) + "\n"
    for content, message in (
        (b"", "is damaged .there is no column class, experiment"),
        (good.replace("level", "height").encode(), "there is no column level"),
        (good.encode() + b"unet,42,pol", "line 3 has too many cells or too few"),
        (good.encode() + good.encode().split(b"\n")[1] + b",7\n", "line 3 has too many cells or too few"),
        (good.replace(",0.5", ",half").encode(), "is damaged .could not convert"),
        (b"\xff\xfe" + good.encode(), "is damaged"),
    ):
        path.write_bytes(content)
        with pytest.raises(StoreError, match=message):
            read_results(path)


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("study.yaml").write_text(STUDY)
    Path("t.csv").write_text("Experiment,mIoU,mDice\nunet,0.8820,0.9361\n")

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["segstudy", "audit", *arguments])
        code: object = 0
        try:
            cli.main()
        except SystemExit as stop:
            code = stop.code or 0
        said = capsys.readouterr()
        assert isinstance(code, int)
        return code, said.out, said.err

    code, out, err = call("t.csv", "--study", "study.yaml")
    assert (code, out) == (2, "")
    assert "no results yet" in err
    Path("small/report").mkdir(parents=True)
    with Path("small/report/results.csv").open("w", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *ROWS])
    code, out, err = call("t.csv", "--study", "study.yaml")
    assert (code, err) == (1, "")
    assert out.splitlines()[0] == "t, unet: unet"
    assert out.splitlines()[1].split()[:3] == ["matched", "mIoU", "0.8820"]
    assert out.splitlines()[-1] == "1 matched, 1 different, 0 missing"
    Path("small").rename("elsewhere")
    code, out, _ = call("t.csv", "--study", "study.yaml", "--out", "elsewhere", "--json")
    assert code == 1
    record = json.loads(out)[1]
    assert record["status"] == "different"
    assert record["difference"] == pytest.approx(0.9354 - 0.9361)
    Path("t.csv").write_text("Model,mIoU\nU,0.8820\n")
    code, out, _ = call("t.csv", "--study", "study.yaml", "--out", "elsewhere", "--match", "U=unet")
    assert code == 0
    assert call("t.csv", "--match", "U=unet")[::2] == (
        2,
        "segstudy: --match is about a study's results; name the study with --study\n",
    )
    assert call("t.csv", "--study", "study.yam")[0] == 2
