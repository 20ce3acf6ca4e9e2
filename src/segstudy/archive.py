"""Pack a study so that others can check it: checkpoints in segmentation-models-pytorch's format, counts, tables, pictures."""

from __future__ import annotations

import hashlib
import tempfile
import zipfile
from pathlib import Path

from segstudy.errors import SpecError, StoreError, WeightsError
from segstudy.files import SUMS, kept_files, replacing, verify
from segstudy.networks.export import save_pretrained
from segstudy.networks.inference import scored_network
from segstudy.plan import Plan, Run
from segstudy.store import RunFolder, Store

DENSE = (".npz", ".png", ".webp", ".safetensors")  # packed as they are: compressing them takes long and gains little


def export_run(run: Run, folder: RunFolder, target: Path) -> Path:
    """Write a run's network as ``config.json`` and ``model.safetensors`` into ``target``.

    ``segmentation_models_pytorch.from_pretrained(target)`` loads it and gives the same logits.

    Raises
    ------
    StoreError
        When the run has no finished training.

    """
    if run.config.evaluate is not None:
        raise SpecError(
            f"{run.name}: is a network that was not trained here; {folder.foreign} says where its file lies"
        )
    if not folder.best.is_file():
        raise StoreError(f"{run.name}: has no finished training to export; run it first")
    folder.check_best()
    network = scored_network(run.config, folder, len(folder.record().classes))
    save_pretrained(network, target, {"run": run.name, "identity": run.identity}, run.name)
    return target


def check_runs(store: Store, plan: Plan) -> None:
    """Compare every file of the plan's finished runs with its sum, before any of it is packed.

    Raises
    ------
    StoreError
        Naming each file that is not what it was.

    """
    problems = []
    for run in _done(store, plan):
        folder = store.run(run.experiment, run.seed)
        problems += [f"{folder.path}/{line}" for line in verify(folder.path)[1]]
    if problems:
        raise StoreError(
            "\n".join(["nothing is packed, as results are not what they were when they were finished:", *problems])
            + "\nBring back copies; or delete what is damaged (weights; counts; of a predicted mask, the counts in "
            "evaluations/ of its folder's name) and call segstudy run to make it again."
        )


def _done(store: Store, plan: Plan) -> list[Run]:
    return [
        run for run in plan.runs if store.run(run.experiment, run.seed).state(run.identity, run.scored_on) == "done"
    ]


def write_archive(store: Store, plan: Plan) -> tuple[Path, list[str]]:
    """Pack everything of ``plan`` that is done into one zip with a ``SHA256SUMS`` inside.

    Returns
    -------
    tuple
        The archive's path, and a line for each run that is not in it, or without a network in the library's format.

    Raises
    ------
    StoreError
        When no run is done, or a file of one is not what it was.

    """
    done = _done(store, plan)
    notes = [f"not in it, because not done: {run.name}" for run in plan.runs if run not in done]
    if not done:
        raise StoreError(f"{store.root}: no run of '{plan.study.name}' is done, so there is nothing to archive")
    check_runs(store, plan)
    path = store.archive(plan.study.name)
    with replacing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_DEFLATED) as archive:
        sums: dict[str, str] = {}
        for name in ("study.yaml", "environment.json"):  # the latter in stores of former versions
            if (store.root / name).is_file():
                _add(archive, sums, store.root / name, name)
        for file in sorted(p for p in store.report.rglob("*") if p.is_file()):
            _add(archive, sums, file, f"report/{file.relative_to(store.report).as_posix()}")
        for file in sorted(store.root.glob("search/*/found.json")):
            _add(archive, sums, file, file.relative_to(store.root).as_posix())
        for run in done:
            notes += _add_run(archive, sums, run, store.run(run.experiment, run.seed))
        archive.writestr(SUMS, "".join(f"{digest}  {name}\n" for name, digest in sums.items()))
    return path, notes


def _add_run(archive: zipfile.ZipFile, sums: dict[str, str], run: Run, folder: RunFolder) -> list[str]:
    """Add a run's files and its network; say so where that is not in the library's format."""
    base = f"runs/{run.experiment}/seed{run.seed}"
    for file in kept_files(folder.path):
        if file != folder.best or file == folder.foreign:
            _add(archive, sums, file, f"{base}/{file.relative_to(folder.path).as_posix()}")
    if run.config.evaluate is not None:
        return [
            f"{run.name}: was not trained here, so its network is not in the archive; {folder.foreign.name} names it"
        ]
    with tempfile.TemporaryDirectory() as scratch:
        try:
            files = sorted(export_run(run, folder, Path(scratch)).iterdir())
        except (
            SpecError,
            WeightsError,
        ) as error:  # a network of another library, or one whose library is not installed here
            _add(archive, sums, folder.best, f"{base}/{folder.best.name}")
            return [f"{run.name}: its weights are packed as {folder.best.name}, which segstudy loads ({error})"]
        for file in files:
            _add(archive, sums, file, f"{base}/model/{file.name}")
    return []


def _add(archive: zipfile.ZipFile, sums: dict[str, str], file: Path, name: str) -> None:
    content = file.read_bytes()
    sums[name] = hashlib.sha256(content).hexdigest()
    archive.writestr(name, content, compress_type=zipfile.ZIP_STORED if file.suffix in DENSE else None)
