"""Export a finished run, with proof: what is written predicts what was scored, or is not written.

An export is a folder of its own: the network, a card (``README.md``), and ``proof.json`` with what was compared. Every kind
takes the same input and gives the same output, as the card says.
"""

from __future__ import annotations

import importlib.metadata
import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from segstudy.data.cache.arrays import CachedSplit
from segstudy.data.cache.batches import IMAGENET_MEAN, IMAGENET_STD
from segstudy.errors import SpecError, StoreError, WeightsError, listing, nearest
from segstudy.exporting.card import write_card
from segstudy.exporting.proof import DiffersError, Proven, at_another_size, at_training_size
from segstudy.files import building, file_sha256, kept_files, read_json, write_json
from segstudy.launch.decide import known_decision
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import import_smp
from segstudy.networks.decision import Decision
from segstudy.networks.export import (
    FORMATS,
    INPUT,
    OUTPUT,
    Sizes,
    check_packages,
    read_weights,
    save_file,
    save_pretrained,
    save_weights,
    whole_network,
)
from segstudy.networks.inference import scored_network
from segstudy.plan import Plan, Run
from segstudy.results import RunResult, read_results
from segstudy.schema import Inference
from segstudy.sizes import Size, height_width

HUB = "hub-folder"
KINDS = (*FORMATS, "safetensors", HUB)
PROOF = "proof.json"  # in the folder: what was compared, the metadata, and the SHA-256 of the network's files
NUM_PICTURES = 3


@dataclass(frozen=True)
class Exported:
    """A finished export."""

    folder: Path
    proven: Proven


def export_folder(workshop: Workshop, run: Run, kind: str) -> Path:
    """The default folder of an export, in the study's output folder."""
    return workshop.store.root / "exports" / f"{run.experiment}-seed{run.seed}-{kind}"


def former_export(workshop: Workshop, run: Run, kind: str) -> Path | None:
    """The default folder of an export, if it holds one of the run's present weights."""
    folder = export_folder(workshop, run, kind)
    if not (folder / PROOF).is_file():
        return None
    known = read_json(folder / PROOF).get("metadata", {})
    weights = workshop.store.run(run.experiment, run.seed).record().best_sha256
    return folder if (known.get("identity"), known.get("weights_sha256")) == (run.identity, weights) else None


def export_run(
    workshop: Workshop,
    plan: Plan,
    run: Run,
    kind: str,
    target: Path | None = None,
    licence: str | None = None,
    num_pictures: int = NUM_PICTURES,
) -> Exported:
    """Export a run's network, after its reported split was scored with what was written.

    Parameters
    ----------
    workshop, plan, run
        A finished run, its study, and the data that it was scored on.
    kind
        One of ``KINDS``.
    target
        The folder to write; it must not exist. By default :func:`export_folder`.
    licence
        Of the network, for its card, such as ``apache-2.0``.
    num_pictures
        Number of images with their masks in a hub folder.

    Raises
    ------
    SpecError, StoreError
        If the run is not finished, or its weights or data are not those that were scored.
    WeightsError
        If a package is missing, or the network cannot be written in this format.
    DiffersError
        If what was written does not predict what was scored. Nothing is left on the disk then.

    """
    if kind not in KINDS:
        raise SpecError(f"--to {kind}: unknown kind{nearest(kind, KINDS)}; known: {listing(KINDS)}")
    check_packages(kind)
    target = target or export_folder(workshop, run, kind)
    if target.exists() or target.is_symlink():
        raise StoreError(f"{target}: exists already; delete it, or choose another folder with --folder")
    results = read_results(workshop.store, plan.select([run.experiment]))
    result = next(each for each in results.runs if each.run.seed == run.seed)
    _check_run(result)
    with building(target) as folder, tempfile.TemporaryDirectory() as scratch:
        if folder is None:
            raise StoreError(f"{target}: another process has just written it")
        material = _Material.of(workshop, result, kind, Path(scratch))
        proven = material.write(folder)
        proven.check()
        sums = {path.name: file_sha256(path) for path in kept_files(folder)}
        write_json(folder / PROOF, {"kind": kind, "files": sums, "metadata": material.metadata, **_plain(proven)})
        side = results.side(run.experiment)
        write_card(
            folder, kind, material.metadata, proven, plan.study, result, side, material.data, licence, num_pictures
        )
    return Exported(target, proven)


def summary_lines(done: Exported) -> list[str]:
    """The exported files and their proof, for a terminal."""
    proven, stored = done.proven, done.proven.stored
    lines = [f"takes {proven.sizes}", *(f"not possible: {note}" for note in proven.notes)]
    for each in proven.passes:
        lines.append(
            f"against PyTorch at {each.size}: {each.differing:,} of {each.pixels:,} pixels differ, logits by at most "
            f"{each.logits:.1e} of the largest"
        )
    lines.append(
        f"against the study's scores: {stored.differing:,} of {stored.pixels:,} pixels differ; mIoU {stored.miou:.6f}, scored "
        f"{stored.stored_miou:.6f}; {stored.words}"
    )
    return lines + (
        [f"what may explain it: {'; '.join(stored.reasons)}"] if stored.differing and stored.reasons else []
    )


def _plain(proven: Proven) -> dict[str, Any]:
    return {
        "takes": str(proven.sizes),
        "against_pytorch": [asdict(each) for each in proven.passes],
        "against_scores": asdict(proven.stored),
        "notes": list(proven.notes),
    }


def _check_run(result: RunResult) -> None:
    run, config = result.run, result.run.config
    if result.state != "done":
        words = {"stale": "was made with other settings than the study's", "trained": "is trained but not scored"}
        reason = words.get(result.state, f"is {result.state}")
        raise StoreError(
            f"{run.name}: {reason} in {result.folder.path}; only a finished run can be exported: finish it with segstudy run, or "
            "name the study's output folder with --out (--folder is where the export goes)"
        )
    if config.evaluate is not None:
        raise SpecError(
            f"{run.name}: was not trained here, so there is nothing to export; its file is {config.evaluate.given}"
        )
    if config.inference.adaptation != "none":
        raise SpecError(
            f"{run.name}: adapts its network to the images that it is scored on, which a file cannot do; export a run without "
            "inference.adaptation"
        )
    result.folder.check_best()


@dataclass(frozen=True)
class _Material:
    """Everything that an export of one run is made from."""

    workshop: Workshop
    result: RunResult
    kind: str
    data: CachedSplit
    network: nn.Module
    decision: Decision
    metadata: Mapping[str, str]
    scratch: Path

    @classmethod
    def of(cls, workshop: Workshop, result: RunResult, kind: str, scratch: Path) -> _Material:
        run, scored = result.run, result.sets[0]
        data = workshop.to_score(run.config, str(scored.about.test_data), str(scored.about.split))
        same = (
            data.fingerprint == scored.about.data_fingerprint
            and workshop.reading(run.config.dataset) == scored.about.reading
        )
        if not same or scored.ids != tuple(sample.id for sample in data.samples):
            raise StoreError(
                f"{run.name}: images or masks of split '{data.split}' of '{data.dataset.name}' changed since the run was scored, "
                "so the export cannot be compared with its scores; restore the data, or score the run again"
            )
        network = scored_network(run.config, result.folder, len(scored.classes))
        decision = known_decision(run.config, result.folder, np.arange(len(scored.classes)))
        return cls(workshop, result, kind, data, network, decision, _metadata(workshop, result, decision), scratch)

    def write(self, folder: Path) -> Proven:
        """Write the network's files and prove them."""
        inference, name = self.result.run.config.inference, self.result.run.name
        whole = whole_network(self.network, inference)
        if self.kind in FORMATS:
            return self._first_that_holds(folder, whole)
        path, study_folder = folder / "model.safetensors", self.result.run.config.folder
        if self.kind == HUB:
            save_pretrained(self.network, folder, self.metadata, name)
            again = whole_network(import_smp().from_pretrained(str(folder)), Inference())
            return self._prove(again, whole_network(self.network, Inference()), Sizes(), inference.words)
        save_weights(self.network, path, self.metadata)
        return self._prove(whole_network(read_weights(path, study_folder), inference), whole, Sizes())

    def _first_that_holds(self, folder: Path, whole: nn.Module) -> Proven:
        """The most general file that gives the network's outputs: for any size, for one size, for one image."""
        recipe, failures = self.result.run.config.recipe, list[str]()
        side = recipe.trained_px
        fixed = (Sizes(side), Sizes(side, 1)) if recipe.resized_px else ()
        for sizes in (Sizes(), *fixed):
            for left in folder.iterdir():
                left.unlink()
            given = {**self.metadata, "takes": str(sizes)}
            try:
                again = save_file(self.kind, whole, folder / FORMATS[self.kind].file, sizes, side, given)
                proven = self._prove(again, whole, sizes)
                proven.check_passes()
            except (WeightsError, DiffersError) as error:
                failures.append(f"{sizes}: {str(error).replace(str(folder), '').lstrip('/')}")
                continue
            return Proven(proven.sizes, proven.passes, proven.stored, tuple(failures))
        raise DiffersError("\n".join([f"{self.result.run.name}: no {self.kind} file was written:", *failures]))

    def _prove(self, again: nn.Module, whole: nn.Module, sizes: Sizes, passes_left_out: str = "") -> Proven:
        config, progress = self.result.run.config, self.workshop.progress
        scored = self.result.sets[0]
        passes = []
        if sizes.side is None:
            progress.task(f"comparing {self.kind} at another size", len(self.data))
            passes.append(at_another_size(again, whole, self.data, config.recipe.trained_px))
        progress.task(f"scoring {self.kind} on {self.data.dataset.name} {self.data.split}", len(self.data))
        masks = self.result.folder.predictions(str(scored.about.test_data), str(scored.about.split))
        reasons = _reasons(self.result, passes_left_out)
        with tempfile.TemporaryDirectory(dir=self.scratch) as predicted:
            first, stored = at_training_size(
                *(again, whole, self.data, config.resolution, scored, self.decision),
                *(masks, reasons, Path(predicted), progress),
            )
        return Proven(sizes, (first, *passes), stored)


def _reasons(result: RunResult, passes_left_out: str) -> list[str]:
    """Reasons other than the export why its masks may differ from those that were scored."""
    record, about = result.record, result.sets[0].about
    assert record is not None
    reasons = [f"the scores are {passes_left_out}, the folder holds the network alone"] if passes_left_out else []
    if record.precision is None:
        reasons.append("the precision in which the run was scored was not recorded")
    elif record.precision != "32-true":
        reasons.append(f"the run was scored in {record.precision}, the export computes in float32")
    then = about.environment
    if then is not None and then.gpu:
        reasons.append(f"the run was scored on {then.gpu}, the export on a CPU")
    now = importlib.metadata.version("torch")
    if then is None or then.packages.get("torch") != now:
        reasons.append(f"the run was scored with torch {then.packages.get('torch') if then else 'unknown'}, now {now}")
    return reasons


def _by(size: Size) -> str:
    return " x ".join(map(str, height_width(size)))


def _metadata(workshop: Workshop, result: RunResult, decision: Decision) -> dict[str, str]:
    """Facts that a user of the file needs, and its run."""
    run, record, config = result.run, result.record, result.run.config
    assert record is not None
    side, crop = config.recipe.resized_px, config.recipe.crop_px
    plain: dict[str, Any] = {
        "run": f"{workshop.study.name}:{run.name}",
        "identity": run.identity,
        "weights_sha256": record.best_sha256 or file_sha256(result.folder.best),
        "classes": list(record.classes),
        "palette": [list(colour) for colour in record.palette],
        "mean": list(IMAGENET_MEAN),
        "std": list(IMAGENET_STD),
        "input": f"{INPUT}: float32 (n, 3, h, w), RGB, (value / 255 - mean) / std",
        "input_size": _by(side) if side else f"their own size (it was trained on crops of {_by(crop or 0)})",
        "output": f"{OUTPUT}: float32 (n, {len(record.classes)}, h, w)",
        "temperature": decision.temperature,
        "threshold": decision.threshold,
        "model": config.model.model_copy(update={"weights": "none"}).model_dump(mode="json"),
        "members": len(config.ensemble),
        "inference": config.inference.words or "one pass over the whole image",
        "segstudy": importlib.metadata.version("segstudy"),
    }
    return {key: value if isinstance(value, str) else json.dumps(value) for key, value in plain.items()}
