"""Rows of folds, seeds and images, and the means and deviations below them; groups of rows; tables on their side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from segstudy.auditing import Audit, audit_tables
from segstudy.auditing.grids import read_grids
from segstudy.errors import TableError


@pytest.fixture
def audited(tmp_path: Path) -> Callable[..., Audit]:
    def call(text: str, suffix: str = ".csv") -> Audit:
        path = tmp_path / f"t{suffix}"
        path.write_text(text)
        return audit_tables([str(path)])

    return call


def faults(audit: Audit) -> list[tuple[str, str, str, str]]:
    return [(each.row, each.rule, each.implied, each.severity) for each in audit.findings]


def test_the_mean_of_seeds_is_that_of_their_rows(audited: Callable[..., Audit]) -> None:
    found = audited("Model,Seed,mIoU\nA,1,70.0\nA,2,72.0\nA,3,75.0\nA,mean,72.3\nB,1,60.0\nB,2,62.0\nB,Average,62.0\n")
    assert faults(found) == [("B, Average", "mean of rows", "61.0", "contradiction")]
    assert found.findings[0].message == "its 2 rows make mIoU 61.0, not 62.0."


@pytest.mark.parametrize(
    ("printed", "severity"), [("0.72", None), ("0.735", "undecided"), ("0.76", "contradiction")], ids=str
)
def test_folds_may_weigh_unequally_but_no_mean_is_above_them_all(
    audited: Callable[..., Audit], printed: str, severity: str | None
) -> None:
    found = faults(audited(f"Fold,IoU\nfold 1,0.700\nfold 2,0.720\nfold 3,0.740\nmean,{printed}\n"))
    assert found == (
        [] if severity is None else [("mean", "mean of rows", "0.720" if printed == "0.735" else "0.72", severity)]
    )


SCORES = [0.61, 0.70, 0.72, 0.75]


@pytest.mark.parametrize("label", ["std", "SD", "Standard deviation"])
@pytest.mark.parametrize("less", [0, 1])
def test_either_standard_deviation_is_right_and_no_other(audited: Callable[..., Audit], label: str, less: int) -> None:
    rows = "".join(f"{k},{score:.2f}\n" for k, score in enumerate(SCORES))
    right = np.std(SCORES, ddof=less)
    good = audited(f"Seed,IoU\n{rows}mean,0.695\n{label},{right:.3f}\n")
    assert faults(good) == [] and f"row 'Seed {label}'" not in str(good.claims.remarks)
    assert any("is read as standard deviations" in remark for _, remark in good.claims.remarks)
    bad = faults(audited(f"Seed,IoU\n{rows}mean,0.695\n{label},0.100\n"))
    both = " or ".join(f"{np.std(SCORES, ddof=k):.3f}" for k in (1, 0))
    assert bad == [(label, "deviation of rows", both, "contradiction")]


def test_a_deviation_behind_a_mean_is_checked_where_its_label_says_that_it_is_one(
    audited: Callable[..., Audit],
) -> None:
    rows = "Run,mIoU\n1,70.0\n2,72.0\n3,74.0\n"
    assert faults(audited(f"{rows}mean ± std,72.0 ± 2.0\n")) == faults(audited(f"{rows}mean ± std,72.0 ± 1.6\n")) == []
    assert faults(audited(f"{rows}mean,72.0 ± 5.0\n")) == []  # may be half a confidence interval: 2 x 4.3 / sqrt(3)
    assert faults(audited(f"{rows}mean ± std,72.0 ± 5.0\n")) == [
        ("mean ± std", "deviation of rows", "2.0 or 1.6", "contradiction")
    ]


def test_deviations_are_no_scores(audited: Callable[..., Audit]) -> None:
    """As scores, an IoU of 0.010 and a Dice of 0.001 would contradict each other."""
    assert faults(audited("Image,IoU,Dice\na1,0.70,0.824\na2,0.72,0.837\nmean,0.71,0.830\nstd,0.010,0.009\n")) == []


def test_means_over_images_are_not_tied_as_one_image_s_scores_are(audited: Callable[..., Audit]) -> None:
    """Dice 0.75 and IoU 0.625 are the means of (1, 1) and (0.5, 0.25); one image of that IoU has Dice 0.769."""
    text = "Image,IoU_polyp,Dice_polyp\n1,1.0000,1.0000\n2,0.3333,0.5000\nmean,0.6667,0.7500\n"
    assert faults(audited("# classes: background, polyp\n" + text)) == []


@pytest.mark.parametrize("name", ["SD", "STD", "Std"])
def test_a_network_called_sd_keeps_its_scores(audited: Callable[..., Audit], name: str) -> None:
    found = audited(f"Method,IoU,Dice\nbase,0.70,0.82\n{name},0.72,0.60\n")
    assert [(each.row, each.severity) for each in found.findings] == [(name, "contradiction")]


GROUPS = r"""
\begin{tabular}{lcc}
\multicolumn{3}{c}{Results} \\ \hline
Method & IoU & Dice \\ \hline
\multicolumn{3}{l}{\emph{CNNs}} \\
A & 70.1 & 69.0 \\
 & & \\
\multicolumn{3}{l}{\emph{Transformers}} \\ \hline
A & 75.1 & 85.8 \\
\end{tabular}
"""


def test_groups_of_rows_tell_rows_apart_and_are_no_headings(audited: Callable[..., Audit], tmp_path: Path) -> None:
    found = audited(GROUPS, ".tex")
    assert [(each.row, each.column, each.severity) for each in found.findings] == [("A, CNNs", "Dice", "contradiction")]
    (grid,) = read_grids(tmp_path / "t.tex")
    assert grid.cells[0] == ["Method", "IoU", "Dice", "Section"]
    assert grid.cells[-1] == ["A", "75.1", "85.8", "Transformers"]
    assert grid.lines == [4, 6, 9]
    assert grid.remarks == ["line 3 is a title across the table: Results"]


def test_a_baseline_without_a_difference_is_no_heading(audited: Callable[..., Audit]) -> None:
    text = r"\begin{tabular}{lcc} Method & IoU & $\Delta$ \\ \midrule base & 70.1 & -- \\ ours & 72.1 & +3.0 \\ \end{tabular}"
    assert faults(audited(text, ".tex")) == [("ours", "difference", "+2.0", "contradiction")]


def test_a_cell_that_is_no_number_is_named_by_its_line(audited: Callable[..., Audit]) -> None:
    text = (
        "\\begin{tabular}{lcc}\n\\toprule\nMethod & IoU & Dice \\\\ \\midrule\n\nA & 70.1 & x9.0 \\\\\n\\end{tabular}"
    )
    with pytest.raises(TableError, match=r"t\.tex:5: Dice: 'x9.0' is not a number"):
        audited(text, ".tex")


@pytest.mark.parametrize("corner", ["Metric", "Class", "", "Measure \\ Model"])
def test_a_table_whose_rows_are_measures_is_turned(audited: Callable[..., Audit], corner: str) -> None:
    found = audited(f"{corner},U-Net,DeepLab\nIoU road,70.1,71.0\nIoU car,69.0,83.0\nmIoU,69.55,79.0\nFPS,20,30\n")
    assert faults(found) == [("DeepLab", "mean", "77.0", "contradiction")]
    assert "its rows are measures, so they were read as columns" in [remark for _, remark in found.claims.remarks]


def test_faults_of_a_turned_table_are_on_their_lines(audited: Callable[..., Audit]) -> None:
    with pytest.raises(TableError, match=r"t\.csv:3: mDice: 'x' is not a number"):
        audited("Metric,U-Net,DeepLab\nmIoU,70.1,71.0\nmDice,81.0,x\n")


def test_bold_goes_with_a_turned_table(audited: Callable[..., Audit]) -> None:
    text = "|Metric|A|B|\n|---|---|---|\n|mIoU|**0.70**|0.72|\n|mDice|0.82|**0.83**|\n"
    assert faults(audited(text, ".md")) == [("A", "best", "0.72", "undecided")]


def test_a_column_of_deviations_is_that_of_the_folds_next_to_it(audited: Callable[..., Audit]) -> None:
    rows = "Method,Fold 1,Fold 2,Fold 3,Mean,Std\nA,70.0,72.0,74.0,72.0,2.0\nB,71.0,73.0,75.0,73.0,5.0\nC,70.0,71.0,74.0,71.7,2.1\n"
    assert faults(audited("# measure: mIoU\n" + rows)) == [("B", "deviation of columns", "2.0 or 1.6", "contradiction")]
    classes = rows.replace("Fold 1", "liver").replace("Fold 2", "spleen").replace("Fold 3", "aorta")
    assert faults(audited("# measure: IoU\n" + classes)) == []  # may be that of seeds
