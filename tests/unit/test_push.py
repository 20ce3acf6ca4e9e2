"""Uploads to a model hub, which stands on loopback."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from huggingface_hub import constants
from typer.testing import CliRunner

from hub_on_loopback import Hub, hub_on_loopback
from segstudy.cli import app
from segstudy.errors import SegstudyError, StoreError
from segstudy.exporting import PROOF
from segstudy.exporting.push import push
from segstudy.files import file_sha256


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    with hub_on_loopback() as made:
        yield made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An export as far as uploads know it."""
    made = tmp_path / "export"
    (made / "pictures").mkdir(parents=True)
    (made / "README.md").write_text("---\ntags: [a]\n---\n# A network\n")
    (made / "pictures/0.jpg").write_bytes(b"picture")
    (made / "model.safetensors").write_bytes(bytes(range(256)) * 40)
    sums = {"model.safetensors": file_sha256(made / "model.safetensors")}
    (made / PROOF).write_text(json.dumps({"files": sums}))
    return made


def test_every_file_arrives(hub: Hub, folder: Path) -> None:
    (folder / "README.md").write_text("---\ntags: [b]\n---\n# Edited\n")  # a card may be edited
    assert push(folder, "me/polyps", private=True, endpoint=hub.address) == f"{hub.address}/me/polyps/commit/abc"
    here = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    assert hub.repos == {"me/polyps": here}
    assert hub.private == {"me/polyps": True}
    (folder / "pictures/0.jpg").write_bytes(b"another")
    push(folder, "me/polyps", endpoint=hub.address)
    assert hub.repos["me/polyps"]["pictures/0.jpg"] == b"another"


def test_the_command(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    called = CliRunner().invoke(app, ["push", str(folder), "--repo", "me/polyps"])
    assert called.exit_code == 0 and f"uploaded: {hub.address}/me/polyps/commit/abc" in called.output
    assert len(hub.repos["me/polyps"]) == 4


def test_who_may_not_write_is_told_what_to_do(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    with pytest.raises(SegstudyError, match=r"me/polyps: cannot be uploaded .*; log in first with: hf auth login"):
        push(folder, "me/polyps", endpoint=hub.address)
    assert hub.repos == {}


def test_nothing_is_sent_offline(hub: Hub, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(SegstudyError, match="HF_HUB_OFFLINE is set, which forbids it; unset it"):
        push(folder, "me/polyps", endpoint=hub.address)
    assert hub.repos == {}


def test_a_name_that_no_repository_can_have(hub: Hub, folder: Path) -> None:
    with pytest.raises(SegstudyError, match=r"a/b/c: cannot be uploaded"):
        push(folder, "a/b/c", endpoint=hub.address)


def test_a_network_that_changed_since_its_proof_is_not_uploaded(hub: Hub, folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"other")
    with pytest.raises(StoreError, match=r"model.safetensors is not what was proven"):
        push(folder, "me/polyps", endpoint=hub.address)
    assert hub.repos == {}


def test_a_folder_of_something_else_is_not_uploaded(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="is not an export of segstudy"):
        push(tmp_path, "me/polyps", endpoint=hub.address)
