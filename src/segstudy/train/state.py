"""The state of a training on disk, written so that a killed training resumes with the same numbers.

``last.ckpt`` holds everything that the next step needs, ``former.ckpt`` the one before it, each with its own checksum at the
end of the file. Weights of the best epoch are next to them under that epoch's number. Checksums here are XXH3, several times as
fast as SHA-256: a checkpoint of hundreds of megabytes is written after every epoch.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save as safetensors_bytes
from torch import Tensor, nn
from xxhash import xxh3_128_hexdigest

from segstudy.errors import SegstudyError, StoreError
from segstudy.files import file_sha256, open_regular, write_bytes, write_text, write_yaml
from segstudy.networks.build import load_network
from segstudy.progress import Progress
from segstudy.store import RunFolder

SEAL = b"\nxxh3:"  # before the checksum at the end of a checkpoint
SEALED = len(SEAL) + 32


@dataclass
class TrainingState:
    """The progress of training: whole epochs done, the best of them so far, and how much of the present one.

    ``origin`` identifies settings, data and initial weights: the state that another training left is not resumed.
    ``recorded`` is the checksum of the epochs' records.
    ``part`` is what an epoch that was interrupted has summed up and drawn, empty between epochs. ``averaged`` is the moving
    average of the weights, empty if none is kept, and ``teacher`` that of a mean teacher.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_score: float = -1.0
    best_sum: str = ""
    origin: str = ""
    recorded: str = ""
    part: dict[str, Any] = field(default_factory=dict)
    averaged: dict[str, Tensor] = field(default_factory=dict)
    teacher: dict[str, Tensor] = field(default_factory=dict)


def safetensors_of(state: dict[str, Tensor], note: dict[str, str]) -> bytes:
    """Tensors and a note as a safetensors file, equal bytes for equal content.

    The library writes the header's note in the order of a hash table that differs from process to process.
    """
    plain = safetensors_bytes({key: value.detach().cpu().contiguous() for key, value in state.items()})
    length = int.from_bytes(plain[:8], "little")
    header = {"__metadata__": dict(sorted(note.items())), **json.loads(plain[8 : 8 + length])}
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=True).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + plain[8 + length :]


def save_weights(network: nn.Module, folder: RunFolder, at: TrainingState) -> None:
    """Write the weights of a new best epoch."""
    note = {"epoch": str(at.best_epoch), "select_miou": repr(at.best_score)}
    content = safetensors_of(network.state_dict(), note)
    at.best_sum = xxh3_128_hexdigest(content)
    write_bytes(folder.best_of_epoch(at.best_epoch), content)


def save_class_weights(folder: RunFolder, weights: dict[str, list[float]]) -> None:
    """Write the weights of classes that training uses to ``run.yaml``."""
    if folder.config.is_file() and (record := folder.record()).class_weights != weights:
        write_yaml(folder.config, record.model_copy(update={"class_weights": weights}).plain())


def record_epoch(folder: RunFolder, record: dict[str, Any]) -> str:
    """Add an epoch to ``metrics.jsonl``, in place of a former try of it and of all later ones; gives their checksum."""
    kept = [r for r in folder.read_metrics() if r["epoch"] < record["epoch"]]
    text = "".join(json.dumps(r) + "\n" for r in [*kept, record])
    write_text(folder.metrics, text)
    return xxh3_128_hexdigest(text.encode())


def _records_kept(folder: RunFolder, at: TrainingState) -> bool:
    """Whether the records of the epochs that were done are those that were written."""
    try:
        with open_regular(folder.metrics) as file:
            lines = file.read().splitlines(keepends=True)
    except OSError:
        return False
    return xxh3_128_hexdigest(b"".join(lines[: at.epoch])) == at.recorded


def save_progress(
    network: nn.Module, optimizer: torch.optim.Optimizer, folder: RunFolder, at: TrainingState, former_best: int
) -> None:
    """Write the state to go on from; the one before it is kept, with the weights that it names.

    Weights of other epochs go last, when nothing needs them.
    """
    state, whole = {"network": network.state_dict(), "optimizer": optimizer.state_dict(), "at": vars(at)}, io.BytesIO()
    torch.save(state, whole)  # to memory first: to a full disk, torch raises errors of its own
    content = whole.getvalue()
    if folder.last.is_file():
        folder.last.replace(folder.former)
    write_bytes(folder.last, content + SEAL + xxh3_128_hexdigest(content).encode())
    needed = {folder.best_of_epoch(at.best_epoch), folder.best_of_epoch(former_best)}
    for path in folder.path.glob("best-epoch*.safetensors"):
        if path not in needed:
            path.unlink(missing_ok=True)


def resume(
    folder: RunFolder, network: nn.Module, optimizer: torch.optim.Optimizer, origin: str, progress: Progress
) -> TrainingState:
    """Go on from the newest checkpoint that is whole and whose best weights are there, else from the beginning."""
    places = [path for path in (folder.last, folder.former) if path.is_file()]
    for path in places:
        state = _read(path)
        at = _state_of(state, origin)
        if state is None or at is None:
            progress.say(f"  note: {path.name} is damaged or from another training, and is not used")
        elif at.best_epoch and not _same(folder.best_of_epoch(at.best_epoch), at.best_sum):
            progress.say(f"  note: the weights of epoch {at.best_epoch}, the best by {path.name}, are lost or damaged")
        elif at.recorded and not _records_kept(folder, at):
            progress.say(
                f"  note: {folder.metrics.name} is lost or damaged: it lacks epochs that {path.name} comes after"
            )
        else:
            load_network(network, state["network"], str(path))
            optimizer.load_state_dict(state["optimizer"])
            return at
    if places:
        progress.say("  note: training begins again; the numbers will be the same")
    return TrainingState(origin=origin)


def _state_of(state: dict[str, Any] | None, origin: str) -> TrainingState | None:
    try:
        at = TrainingState(**state["at"]) if state else None
    except (TypeError, KeyError):
        return None
    return at if at is not None and at.origin in (origin, "") else None


def _read(path: Path) -> dict[str, Any] | None:
    """The content of a checkpoint; None if it is damaged."""
    try:
        with open_regular(path) as file:
            content = file.read()
        content, seal = content[:-SEALED], content[-SEALED:]
        if seal != SEAL + xxh3_128_hexdigest(content).encode():
            return None
        state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        return state if {"network", "optimizer", "at"} <= set(state) else None
    except Exception:  # damage comes from outside and can have any form
        return None


def _same(path: Path, digest: str) -> bool:
    try:
        with open_regular(path) as file:
            return xxh3_128_hexdigest(file.read()) == digest
    except OSError:
        return False


def finish(folder: RunFolder, at: TrainingState) -> None:
    """Give the weights of the best epoch their final name, after ``run.yaml`` has the checksums of what training left."""
    if not at.best_epoch:
        raise SegstudyError(
            "no epoch could be scored: every pixel of the split that chooses the epoch is ignored (255)"
        )
    best = folder.best_of_epoch(at.best_epoch)
    if not _same(best, at.best_sum):
        raise StoreError(
            f"{best}: was damaged while training went on; call segstudy run, which trains what is lost again"
        )
    if folder.config.is_file():
        sums = {"best_sha256": file_sha256(best), "metrics_sha256": file_sha256(folder.metrics)}
        write_yaml(folder.config, folder.record().model_copy(update=sums).plain())
    best.replace(folder.best)
    drop_checkpoints(folder)


def drop_checkpoints(folder: RunFolder) -> None:
    """Remove what training needs to go on; a finished run may have some if it was killed at this very point."""
    for path in (folder.last, folder.former, *folder.path.glob("best-epoch*.safetensors")):
        path.unlink(missing_ok=True)
