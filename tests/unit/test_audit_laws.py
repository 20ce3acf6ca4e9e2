"""Sound tables stay silent: scores of real confusion matrices, printed in any usual way, never contradict each other."""

from __future__ import annotations

import contextlib
import csv
import io
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal, localcontext
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from segstudy.auditing import Audit, as_text, audit_tables
from segstudy.errors import TableError

MODES = (ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_DOWN)
counts = st.one_of(st.integers(0, 3), st.integers(0, 10_000))


class Style:
    """How a table prints: digits, percent, rounding."""

    def __init__(self, places: int, percent: bool, mode: str) -> None:
        self.places, self.percent, self.mode = places, percent, mode

    def __call__(self, value: Fraction | None, sign: bool = False, mode: str | None = None) -> str:
        if value is None:
            return "-"
        scaled = value * (100 if self.percent else 1)
        with localcontext() as context:
            context.prec = 60
            exact = Decimal(scaled.numerator) / Decimal(scaled.denominator)
            digits = exact.quantize(Decimal(1).scaleb(-self.places), mode or self.mode)
        return f"{digits:+}" if sign else str(digits)


styles = st.builds(
    lambda places, percent, mode: Style(places - 2 * percent, percent, mode),
    st.integers(3, 5),
    st.booleans(),
    st.sampled_from(MODES),
)


def matrices(size: int) -> st.SearchStrategy[list[list[int]]]:
    """Confusion matrices, rows the truth, every class with a pixel."""
    rows = st.lists(st.lists(counts, min_size=size, max_size=size), min_size=size, max_size=size)
    return rows.map(lambda m: [[n + (i == j and not sum(row)) for j, n in enumerate(row)] for i, row in enumerate(m)])


def scores(matrix: list[list[int]]) -> dict[str, list[Fraction]]:
    """IoU, Dice, precision and recall of each class, slowly."""
    found: dict[str, list[Fraction]] = {"iou": [], "dice": [], "precision": [], "recall": []}
    for k, row in enumerate(matrix):
        hits, true, predicted = row[k], sum(row), sum(other[k] for other in matrix)
        found["iou"].append(Fraction(hits, true + predicted - hits))
        found["dice"].append(Fraction(2 * hits, true + predicted))
        found["precision"].append(Fraction(hits, predicted) if predicted else Fraction(0))
        found["recall"].append(Fraction(hits, true))
    return found


def mean(values: list[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def summary(matrix: list[list[int]]) -> list[Fraction]:
    """mIoU, mDice, pixel accuracy, mean class accuracy."""
    each = scores(matrix)
    right = Fraction(sum(row[k] for k, row in enumerate(matrix)), sum(map(sum, matrix)))
    return [mean(each["iou"]), mean(each["dice"]), right, mean(each["recall"])]


def write(folder: Path, name: str, style: Style, rows: list[list[str]], *notes: str) -> Path:
    text = io.StringIO()
    for note in (*notes, *(["unit: percent"] if style.percent else [])):
        text.write(f"# {note}\n")
    csv.writer(text).writerows(rows)
    path = folder / f"{name}.csv"
    path.write_text(text.getvalue(), encoding="utf-8")
    return path


def assert_no_contradiction(found: Audit) -> None:
    assert [finding for finding in found.findings if finding.severity == "contradiction"] == []


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tables")


@given(data=st.data(), size=st.integers(2, 4), style=styles, other=styles, derived=st.sampled_from(MODES))
@settings(max_examples=60, deadline=None)
def test_runs_with_differences_printed_twice(data, size, style, other, derived, folder):
    runs = [data.draw(matrices(size)) for _ in range(3)]
    names = ["base", "variant", "other"]
    heads = ["mIoU", "mDice", "pixel accuracy", "mAcc"]
    first = [["Experiment", "Dataset", *heads, "Drop mIoU", "Relative drop mDice"]]
    base = summary(runs[0])
    for name, run in zip(names, runs, strict=True):
        values = summary(run)
        drop = None if name == "base" else style(base[0] - values[0], mode=derived)
        share = None if name == "base" or not base[1] else (base[1] - values[1]) / base[1]
        relative = "-" if share is None else Style(1, True, derived)(share) + "%"
        first.append([name, "streets", *map(style, values), drop or "-", relative])
    second = [["Experiment", "Dataset", *heads]]
    second += [[name, "streets", *map(other, summary(run))] for name, run in zip(names, runs, strict=True)]
    notes = [f"classes: {size}"]
    found = audit_tables(
        [str(write(folder, "first", style, first, *notes)), str(write(folder, "second", other, second, *notes))]
    )
    assert_no_contradiction(found)
    assert sum(claim.number is not None for claim in found.claims.all) >= 24


@given(data=st.data(), size=st.integers(2, 5), style=styles, derived=st.sampled_from(MODES), absent=st.booleans())
@settings(max_examples=60, deadline=None)
def test_classes_of_two_runs_side_by_side(data, size, style, derived, absent, folder):
    one, other = (scores(data.draw(matrices(size))) for _ in range(2))
    rows = [["Class", "A IoU", "B IoU", "ΔIoU", "A Dice", "B Dice", "ΔDice", "A precision", "A recall"]]
    columns = (one["iou"], other["iou"], one["dice"], other["dice"], one["precision"], one["recall"])
    for k, (a, b, c, d, e, f) in enumerate(zip(*columns, strict=True)):
        cells = [a, b, a - b, c, d, c - d]
        printed = [style(v, n in (2, 5), derived if n in (2, 5) else None) for n, v in enumerate(cells)]
        rows.append([f"class {k}", *printed, style(e), style(f)])
    rows += [["absent", *"--------"]] if absent else []
    means = [mean(one["iou"]), mean(other["iou"]), None, mean(one["dice"]), mean(other["dice"]), None, None]
    rows.append(["Mean", *map(style, means), style(mean(one["recall"]))])
    found = audit_tables([str(write(folder, "classes", style, rows, "level: dataset"))])
    assert_no_contradiction(found)


@given(data=st.data(), style=styles, num_images=st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_means_over_images(data, style, num_images, folder):
    images = [scores(data.draw(matrices(2))) for _ in range(num_images)]
    rows = [["Class", "IoU", "Dice", "Precision", "Recall"]]
    for k in range(2):
        rows.append(
            [
                f"class {k}",
                *(style(mean([i[key][k] for i in images])) for key in ("iou", "dice", "precision", "recall")),
            ]
        )
    assert_no_contradiction(audit_tables([str(write(folder, "images", style, rows, "level: image"))]))


@given(data=st.data(), style=styles, derived=st.sampled_from(MODES))
@settings(max_examples=60, deadline=None)
def test_drops_computed_from_printed_scores(data, style, derived, folder):
    printed = [style(summary(data.draw(matrices(2)))[0]) for _ in range(2)]
    scale = 100 if style.percent else 1
    values = [Fraction(text) / scale for text in printed]
    rows = [
        ["Model", "mIoU", "Δ mIoU"],
        ["U-Net", printed[0], "-"],
        ["Ours", printed[1], style(values[1] - values[0], True, derived)],
    ]
    assert audit_tables([str(write(folder, "drops", style, rows))]).findings == ()


PIECES = [
    "0.5",
    "51.2",
    "-0.1",
    "1e9",
    "50–58%",
    "±",
    "0,5",
    "-",
    "",
    "x",
    "∆",
    "mIoU",
    "Dice",
    "IoU",
    "Class",
    "Model",
    "FPS",
]
PIECES += [
    "mean",
    "train → test",
    "a → b",
    "drop mIoU",
    "rel. drop",
    '"',
    ";",
    "\t",
    "#",
    "²",
    "0.0",
    "100",
    "Dataset",
    "classes",
]
cells = st.sampled_from(PIECES) | st.text(max_size=6)


@given(rows=st.lists(st.lists(cells, min_size=3, max_size=3), min_size=2, max_size=5), notes=st.booleans())
@settings(max_examples=100, deadline=None)
def test_whatever_a_file_holds_it_is_audited_or_refused(rows, notes, folder):
    path = folder / "anything.csv"
    head = "# classes: 2\n# dataset: d\n" if notes else ""
    text = head + "\n".join(",".join(row) for row in rows)
    path.write_text(text, encoding="utf-8", errors="replace")
    with contextlib.suppress(TableError):
        as_text(audit_tables([str(path)]))
