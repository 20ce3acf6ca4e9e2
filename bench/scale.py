"""How a store grows: 10, 100 and 1,000 finished runs, and 64 workers that claim.

    python bench/scale.py [--runs 10 100 1000] [--workers 64] [--images 20]

A store of finished runs is written with files of the true kinds: five seeds an experiment, 50 epochs, all counts of every
image, over data that lie there. Then ``segstudy status`` and ``segstudy plan`` are timed in a process each, start of Python
included: seconds by the clock, and of the processor.

The workers are threads, each with claims of its own, that take the runs of a second, empty store in the order and with the
pauses of ``segstudy work``. A worker holds a run for 20 ms, notes it, and seals it. A run that is noted twice was done twice;
a collision is a run that looked free and that another worker claimed first.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
from filelock import SoftFileLease
from PIL import Image

from segstudy.counts.counting import count_pair, stack_counts
from segstudy.counts.countset import CountSet, hash_labels, write_counts
from segstudy.files import CLAIM, SUMS, write_json, write_sums, write_text, write_yaml
from segstudy.launch.inputs import run_record
from segstudy.launch.pending import Pending
from segstudy.launch.work import pauses, spread, take_all
from segstudy.launch.workshop import Workshop
from segstudy.plan import Plan, Run, open_plan
from segstudy.records import EvaluationRecord
from segstudy.store import HeldError, Store

SEEDS, EPOCHS, SIDE_PX, HOLD_S = 5, 50, 32, 0.02
COMMANDS = ("status", "plan")


def write_study(folder: Path, runs: int, images: int) -> Path:
    """A study of ``runs`` runs, and twice as many images as are reported."""
    rng = np.random.default_rng(0)
    for number in range(2 * images):
        for name, array in (
            ("images", rng.integers(0, 256, (SIDE_PX, SIDE_PX, 3), np.uint8)),
            ("masks", draw_mask(rng)),
        ):
            (folder / "spot" / name).mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(folder / "spot" / name / f"{number:06}.png")
    experiments = {"base": {"data": "spot", "model": {"arch": "unet", "weights": "none"}}}
    for number in range(1, runs // SEEDS):
        experiments[f"variant{number}"] = {"base": "base", "change": {"recipe.optimizer.lr": number / 1e4 + 0.5}}
    study = {
        "name": "scale",
        "data": {"spot": {"reader": "folder", "root": "spot", "classes": ["background", "spot"], "test_fraction": 0.5}},
        "recipe": {"epochs": EPOCHS, "input_size": SIDE_PX},
        "experiments": experiments,
        "seeds": list(range(1, SEEDS + 1)),
    }
    write_yaml(folder / "study.yaml", study)
    return folder / "study.yaml"


def draw_mask(rng: np.random.Generator) -> np.ndarray:
    """A disc of class 1."""
    down, across = np.mgrid[:SIDE_PX, :SIDE_PX] - rng.integers(8, 24, 2)[:, None, None]
    return (down**2 + across**2 < rng.integers(9, 100)).astype(np.uint8)


class Finisher:
    """Writes what finished runs leave, with a few bytes in the place of weights and of predicted masks."""

    def __init__(self, workshop: Workshop) -> None:
        self.workshop, self.rng = workshop, np.random.default_rng(1)
        dataset, self.roles = workshop.dataset("spot")
        self.samples = dataset.samples(self.roles.report)
        masks = [np.asarray(Image.open(sample.mask)) for sample in self.samples]
        self.truth = np.array([hash_labels(mask) for mask in masks])
        rules = workshop.study.scoring
        confidence = np.full((SIDE_PX, SIDE_PX), 0.9, np.float32)
        draws = range(min(20, 2000 // len(masks) + 1))  # of predictions, of which each run has other ones
        self.counts = [
            [count_pair(mask, draw_mask(self.rng), 2, rules, confidence=confidence) for _ in draws] for mask in masks
        ]

    def finish(self, run: Run) -> None:
        folder = self.workshop.store.run(run.experiment, run.seed)
        record = run_record(self.workshop, run, precision="bf16-mixed")
        write_yaml(folder.config, record.plain())
        epoch = {"lr": 1e-4, "select_miou": 0.5, "report_miou": 0.5, "seconds": 1.0, "data_seconds": 0.1}
        epoch |= {"compute_seconds": 0.9, "images_per_s": 100.0, "memory_mb": 1000.0}
        write_text(
            folder.metrics,
            "".join(json.dumps({"epoch": k, "loss": 1 / k, **epoch}) + "\n" for k in range(1, EPOCHS + 1)),
        )
        write_json(folder.cost, {"seconds_per_epoch": 1.0, "parameters": 1.0})
        write_text(folder.best, "weights")
        about = EvaluationRecord(
            identity=run.identity,
            experiment=run.experiment,
            seed=run.seed,
            train_data="spot",
            test_data="spot",
            split=self.roles.report,
            selected_on=f"spot/{self.roles.select}",
            resolution=run.config.resolution,
            classes=record.classes,
            palette=record.palette,
            evaluation_hash=run.evaluation_hash,
            scoring=self.workshop.study.scoring.model_dump(),
            data_fingerprint=self.workshop.fingerprint("spot", self.roles.report),
            reading=self.workshop.reading("spot"),
            environment=record.environment,
        )
        drawn = stack_counts([each[self.rng.integers(len(each))] for each in self.counts])
        ids = tuple(sample.id for sample in self.samples)
        write_counts(folder.evaluation("spot", self.roles.report), CountSet("", drawn, ids, about, truth=self.truth))
        write_sums(folder.path)


def seconds_of(command: str, study: Path, out: Path) -> tuple[float, float]:
    """Seconds by the clock and of the processor that a command takes."""
    words = [sys.executable, "-m", "segstudy", command, str(study), "--out", str(out)]
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    assert "done" in done.stdout, done.stdout[:500]
    assert command == "plan" or done.stdout.count("verdict  ") == len(list((out / "runs").iterdir())) - 1
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def claim_all(store: Store, plan: Plan, workers: int) -> tuple[float, Counter[str], Counter[str]]:
    """Seconds until every run is done; how often each was done; and what that took, by kind."""
    did: Counter[str] = Counter()
    took: Counter[str] = Counter()
    pending = list(enumerate((Pending(run, "missing") for run in plan.runs), 1))

    def work(number: int) -> None:
        claims: dict[str, SoftFileLease] = {}

        def take(item: tuple[int, Pending]) -> bool:
            run = item[1].run
            folder = store.run(run.experiment, run.seed)
            if (folder.path / SUMS).is_file():
                took["seen done"] += 1
                return True
            free = not (folder.path / CLAIM).exists()
            try:
                with folder.lock(claims.setdefault(run.name, folder.claim()), 0.0):
                    took["claims"] += 1
                    if not (folder.path / SUMS).is_file():
                        time.sleep(HOLD_S)
                        did[run.name] += 1
                        (folder.path / SUMS).touch()
            except HeldError:
                took["collisions" if free else "seen held"] += 1
                return False
            return True

        take_all(spread(pending, f"node{number}-1"), take, pauses(f"node{number}-1"))

    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return time.perf_counter() - started, did, took


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--workers", type=int, default=64)
    parser.add_argument("--images", type=int, default=20, help="that are reported; as many again train")
    parser.add_argument("--repeat", type=int, default=3, help="of status and plan; the fastest counts")
    arguments = parser.parse_args()
    print(
        f"| runs | files | `status` | of it processor | `plan` | of it processor | {arguments.workers} workers: claims a run | "
        "collisions | looks at held and done runs a worker | done twice |\n" + "|---" * 10 + "|"
    )
    for runs in arguments.runs:
        with tempfile.TemporaryDirectory() as scratch:
            study = write_study(Path(scratch), runs, arguments.images)
            plan, store = open_plan(str(study), Path(scratch) / "out")
            store.prepare(plan.study.model_dump(mode="json", exclude_unset=True))
            finisher = Finisher(Workshop(plan.study, store, None))
            for run in plan.runs:
                finisher.finish(run)
            files = sum(path.is_file() for path in (store.root / "runs").rglob("*"))
            times = [
                min(seconds_of(command, study, store.root) for _ in range(arguments.repeat)) for command in COMMANDS
            ]
            _, did, took = claim_all(Store(Path(scratch) / "claims"), plan, arguments.workers)
        assert set(did) == {run.name for run in plan.runs}
        looks = (took["seen held"] + took["seen done"]) / arguments.workers
        shown = " | ".join(f"{wall:.1f} s | {processor:.1f} s" for wall, processor in times)
        print(
            f"| {runs:,} | {files:,} | {shown} | {took['claims'] / runs:.2f} | {took['collisions']} | {looks:,.0f} | "
            f"{sum(did.values()) - runs} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
