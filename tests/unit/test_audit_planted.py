"""Errors of many kinds, planted into sound tables in three formats: what arithmetic can see is found, and nothing else."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from planted import FAULTS, FORMATS, UNSEEN, Fault, audited, found, sound, trials

DOCS = Path(__file__).parents[2] / "docs" / "how-to" / "audit-a-table.md"


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("seed", range(4))
def test_nothing_is_found_in_sound_tables(tmp_path: Path, seed: int, suffix: str):
    for sheet in sound(random.Random(seed)).values():
        assert [each.message for each in audited(tmp_path, [sheet], suffix).findings] == []


def test_there_are_as_many_kinds_as_are_promised():
    assert len({fault.kind for fault in FAULTS}) == len(FAULTS) >= 34


@pytest.mark.parametrize("suffix", FORMATS)
@pytest.mark.parametrize("fault", FAULTS, ids=[fault.kind for fault in FAULTS])
def test_what_arithmetic_can_see_is_found(tmp_path: Path, fault: Fault, suffix: str):
    for audit in trials(fault, suffix, tmp_path, 2):
        assert found(fault, audit), [(each.rule, each.message) for each in audit.findings]


@pytest.mark.parametrize("fault", UNSEEN, ids=[fault.kind for fault in UNSEEN])
def test_what_arithmetic_cannot_see_is_not_claimed(tmp_path: Path, fault: Fault):
    for audit in trials(fault, "csv", tmp_path, 3):
        assert audit.findings == ()


def test_the_page_lists_every_kind():
    text = " ".join(DOCS.read_text(encoding="utf-8").split())
    assert [fault.kind for fault in (*FAULTS, *UNSEEN) if fault.kind not in text] == []
