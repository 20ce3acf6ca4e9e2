"""What could keep a command from ending as it should: signals while it loads, pipes for files, weights that rot."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from segstudy.data.readers.annotated import load_json
from segstudy.errors import SegstudyError, StoreError
from segstudy.files import open_text, read_text
from segstudy.spec import load_study
from segstudy.store import RunFolder
from segstudy.train.state import TrainingState, finish, save_weights

LOADING = """
import signal, sys

class Asked:
    def find_spec(self, name, path, target=None):
        if name == "typer":
            signal.raise_signal(signal.{name})

sys.meta_path.insert(0, Asked())
from segstudy.__main__ import main
main()
"""


@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143), ("SIGHUP", 143), ("SIGUSR1", 143)])
def test_a_signal_while_the_program_loads_is_answered(name: str, code: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOADING.format(name=name)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (code, f"segstudy: received {name}; nothing was begun\n")


@pytest.mark.parametrize("read", [load_study, load_json, read_text, open_text])
def test_a_pipe_or_a_device_in_the_place_of_a_file_is_refused_at_once(
    tmp_path: Path, read: Callable[[Path], Any]
) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    for name in ("pipe", "device"):
        with pytest.raises((SegstudyError, OSError)) as caught:
            read(tmp_path / name)
        assert "it is a pipe or a device, not a file" in str(caught.value)
        assert "Errno" not in str(caught.value)


def test_text_is_read_with_and_without_a_mark_in_front(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbfx\r\ny")
    assert read_text(tmp_path / "a") == "x\ny"
    with open_text(tmp_path / "a") as file:
        assert file.read() == "x\r\ny"


def test_weights_that_rot_before_training_ends_are_not_taken(tmp_path: Path) -> None:
    folder, at = RunFolder(tmp_path), TrainingState(epoch=1, best_epoch=1, best_score=0.5)
    save_weights(nn.Conv2d(1, 1, 1), folder, at)
    whole = folder.best_of_epoch(1).read_bytes()
    folder.best_of_epoch(1).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(
        StoreError, match=r"best-epoch1.safetensors: was damaged while training went on; call segstudy run"
    ):
        finish(folder, at)
    folder.best_of_epoch(1).write_bytes(whole)
    finish(folder, at)
    assert folder.best.read_bytes() == whole
