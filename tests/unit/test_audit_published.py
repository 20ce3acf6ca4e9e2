"""No false alarm on tables of published papers, and a known fault of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from published import FAULTY, SYNAPSE, TABLES
from segstudy.auditing import audit_tables


def test_there_are_sixteen_tables_or_more():
    assert len(TABLES) >= 16
    assert len({source for source, _ in TABLES.values()}) == len(TABLES)


def written(folder: Path, name: str, *rows: str) -> str:
    text = TABLES[name][1]
    path = folder / f"{name}.{'md' if '|' in text else 'csv'}"
    path.write_text(text + "".join(f"{row}\n" for row in rows), encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("name", TABLES)
def test_no_contradiction_is_claimed(tmp_path: Path, name: str):
    found = audit_tables([written(tmp_path, name)])
    assert [(f.row, f.rule, f.message) for f in found.findings if f.severity != "rounding"] == []
    assert sum(claim.number is not None for claim in found.claims.scores) >= 4, "nothing was checked"


@pytest.mark.parametrize(
    ("row", "printed", "implied"),
    [
        # TransUNet, Table 1: the eight organs sum to 576.81, so their mean is 72.10; an aorta of 83.67 would fit.
        ("R50 Att-UNet,75.57,36.97,55.92,63.91,79.20,72.71,93.56,49.37,87.19,74.95", "75.57", "72.10"),
        # Later papers reprint the mean of 74.68 with other organs: they sum to 620.86, so their mean is 77.61.
        ("R50 U-Net,74.68,36.87,87.74,63.66,80.60,78.19,93.74,56.90,85.87,74.16", "74.68", "77.61"),
    ],
)
def test_faults_of_published_tables_are_found(tmp_path: Path, row: str, printed: str, implied: str):
    path = tmp_path / "transunet.csv"
    path.write_text(f"{SYNAPSE}{row}\n", encoding="utf-8")
    [one] = audit_tables([str(path)]).findings
    assert (one.rule, one.printed, one.implied, one.severity) == ("mean", printed, implied, "contradiction")


@pytest.mark.parametrize(("name", "row", "printed", "implied"), FAULTY)
def test_a_faulty_row_is_found_among_sound_ones(tmp_path: Path, name: str, row: str, printed: str, implied: str):
    found = [each for each in audit_tables([written(tmp_path, name, row)]).findings if each.severity == "contradiction"]
    assert [(each.rule, each.printed, each.implied) for each in found] == [("mean", printed, implied)]
