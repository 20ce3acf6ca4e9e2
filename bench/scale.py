"""How a store grows: 10, 100 and 1,000 finished runs, and 64 workers that claim.

    python bench/scale.py [--runs 10 100 1000] [--workers 64]

A store of finished runs is written with small files of the true kinds: five seeds an experiment, counts of 20 images
with two classes, 50 epochs. Then ``segstudy status`` and ``segstudy plan`` are timed in one process each, start of Python
included. The workers are threads, each with claims of its own, that take the runs of a second, empty store: they claim
a free run, hold it for 20 ms, note who did it, and mark it done. A run that is noted twice was claimed twice.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

from segstudy.files import write_arrays, write_json, write_sums, write_text, write_yaml
from segstudy.launch.pending import Pending
from segstudy.launch.work import spread
from segstudy.plan import Plan, Run, open_plan
from segstudy.store import HeldError, Store

SEEDS, IMAGES, EPOCHS, HOLD_S = 5, 20, 50, 0.02


def write_study(folder: Path, runs: int) -> Path:
    experiments = {"base": {"data": "spot", "model": {"arch": "unet", "weights": "none"}}}
    for number in range(1, runs // SEEDS):
        experiments[f"variant{number}"] = {"base": "base", "change": {"recipe.optimizer.lr": number / 1e4 + 0.5}}
    study = {
        "name": "scale",
        "data": {"spot": {"reader": "folder", "root": "spot", "classes": ["background", "spot"]}},
        "recipe": {"epochs": EPOCHS, "input_size": 32},
        "experiments": experiments,
        "seeds": list(range(1, SEEDS + 1)),
    }
    write_yaml(folder / "study.yaml", study)
    return folder / "study.yaml"


def finish(store: Store, run: Run, rng: np.random.Generator) -> None:
    """Everything that a finished run leaves, with a few bytes in the place of weights."""
    folder = store.run(run.experiment, run.seed)
    write_yaml(folder.config, {"identity": run.identity, "values": run.values, "experiment": run.experiment})
    epochs = [{"epoch": k, "loss": 1 / k, "select_miou": 0.5, "seconds": 1.0} for k in range(1, EPOCHS + 1)]
    write_text(folder.metrics, "".join(json.dumps(each) + "\n" for each in epochs))
    write_json(folder.cost, {"seconds_per_epoch": 1.0, "parameters": 1.0})
    write_text(folder.best, "weights")
    counts = np.zeros((IMAGES, 2, 2), np.int64)
    counts[:, 0, 0], counts[:, 1, 1] = 800, 100 + rng.integers(0, 50, IMAGES)
    counts[:, 0, 1] = counts[:, 1, 0] = rng.integers(20, 60, IMAGES)
    about = {"identity": run.identity, "experiment": run.experiment, "seed": run.seed, "train_data": "spot"}
    about |= {"test_data": "spot", "split": "test", "selected_on": "spot/holdout", "resolution": run.config.resolution}
    about |= {"classes": ["background", "spot"], "evaluation_hash": run.evaluation_hash, "data_fingerprint": "0"}
    ids = np.array([f"image{k}" for k in range(IMAGES)])
    write_arrays(folder.evaluation("spot", "test"), {"confusion": counts, "ids": ids}, about)
    write_sums(folder.path)


def seconds_of(command: str, study: Path, out: Path) -> float:
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "segstudy", command, str(study), "--out", str(out), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    seconds = time.perf_counter() - started
    assert '"done"' in done.stdout, done.stdout[:500]
    return seconds


def claim_all(store: Store, plan: Plan, workers: int) -> tuple[float, int, int]:
    """Seconds until every run is done, runs done twice, and tries that met the claim of another worker."""
    done: list[str] = []
    met: list[str] = []
    pending = [Pending(run, "missing") for run in plan.runs]

    def work(number: int) -> None:
        left = spread(list(enumerate(pending)), f"node{number}/1")
        while left:
            held = []
            for item in left:
                folder = store.run(item[1].run.experiment, item[1].run.seed)
                if folder.best.is_file():
                    continue
                try:
                    if folder.locked():
                        raise HeldError(str(folder.path))
                    with folder.lock():
                        if not folder.best.is_file():
                            time.sleep(HOLD_S)
                            done.append(item[1].run.name)
                            folder.best.touch()
                except HeldError:
                    met.append(item[1].run.name)
                    held.append(item)
            left = held
            time.sleep(HOLD_S if left else 0)

    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(done) == {run.name for run in plan.runs}
    return time.perf_counter() - started, len(done) - len(set(done)), len(met)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--workers", type=int, default=64)
    arguments = parser.parse_args()
    print("| runs | files | `status` | `plan` | claims a second | met the claim of another | claimed twice |")
    print("|---|---|---|---|---|---|---|")
    for runs in arguments.runs:
        with tempfile.TemporaryDirectory() as scratch:
            study = write_study(Path(scratch), runs)
            plan, store = open_plan(str(study), Path(scratch) / "out")
            rng = np.random.default_rng(0)
            store.prepare(plan.study.model_dump(mode="json", exclude_unset=True))
            for run in plan.runs:
                finish(store, run, rng)
            files = sum(path.is_file() for path in store.root.rglob("*"))
            status, planned = (seconds_of(command, study, store.root) for command in ("status", "plan"))
            seconds, twice, met = claim_all(Store(Path(scratch) / "claims"), plan, arguments.workers)
        rate = len(plan.runs) / seconds
        print(
            f"| {runs:,} | {files:,} | {status:.1f} s | {planned:.1f} s | {rate:.0f} | {met:,} | {twice} |", flush=True
        )


if __name__ == "__main__":
    main()
