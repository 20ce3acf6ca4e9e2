"""No false alarm on tables of published papers, and a known fault of one."""

from __future__ import annotations

from pathlib import Path

import pytest

from published import SYNAPSE, TABLES
from segstudy.auditing import audit_tables


def test_there_are_sixteen_tables_or_more():
    assert len(TABLES) >= 16
    assert len({source for source, _ in TABLES.values()}) == len(TABLES)


@pytest.mark.parametrize("name", TABLES)
def test_no_contradiction_is_claimed(tmp_path: Path, name: str):
    path = tmp_path / f"{name}.csv"
    path.write_text(TABLES[name][1], encoding="utf-8")
    found = audit_tables([str(path)])
    assert [(f.row, f.rule, f.message) for f in found.findings if f.severity != "rounding"] == []
    assert sum(claim.number is not None for claim in found.claims.scores) >= 4, "nothing was checked"


def test_a_fault_of_a_published_table_is_found(tmp_path: Path):
    # TransUNet, Table 1, R50 Att-UNet: the eight organs sum to 576.81, so their mean is 72.10; an aorta of 83.67 would fit
    path = tmp_path / "transunet.csv"
    row = "R50 Att-UNet,75.57,36.97,55.92,63.91,79.20,72.71,93.56,49.37,87.19,74.95\n"
    path.write_text(SYNAPSE + row, encoding="utf-8")
    [one] = audit_tables([str(path)]).findings
    assert (one.rule, one.printed, one.implied, one.severity) == ("mean", "75.57", "72.10", "contradiction")
