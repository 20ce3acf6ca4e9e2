"""A study that is killed, stopped and shared ends with the numbers of one that was not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

KILLS = int(os.environ.get("SEGSTUDY_KILLS", "5"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_broken_study_ends_with_the_numbers_of_an_unbroken_one() -> None:
    """Five kills, two signals and a killed worker by default; everything, damage and full disks too, with SEGSTUDY_KILLS=200."""
    options = ["--kills", str(KILLS), *(["--quick"] if KILLS < 100 else [])]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    harness = Path(__file__).parent / "harness.py"
    done = subprocess.run(
        [sys.executable, harness, *options], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"| {KILLS if KILLS < 100 else KILLS * 4 // 5} |" in done.stdout
