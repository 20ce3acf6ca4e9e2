"""How long ``segstudy report`` takes on a study of many finished runs, on this machine.

    python bench/report.py [--runs 20x5] [--images 200] [--pictures] [--open]

Makes a store of so many experiments x seeds, each scored on so many images of two classes with boundaries, objects and
calibration, and 20 epochs of training. ``--pictures`` adds cached images and the masks of each experiment's first seed.
Prints the seconds of the first report and of a second one, whose pictures are unchanged, by the clock and of the
processor, and whether torch was imported. ``--open`` adds how long headless Chromium takes to open the page (needs the
extra ``browser``).
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from segstudy.counts.counting import count_pair, stack_counts
from segstudy.counts.countset import CountSet, hash_labels, write_counts
from segstudy.files import write_json, write_sums, write_text, write_yaml
from segstudy.plan import Plan, Run, make_plan
from segstudy.records import EvaluationRecord
from segstudy.report.build import build_report
from segstudy.schema import ScoringRules
from segstudy.spec import parse_study
from segstudy.store import Store

STUDY = """
name: many
data:
  spot: {{reader: folder, root: spot, classes: [background, polyp]}}
recipe: {{epochs: 1, input_size: 64}}
experiments:
  e0: {{data: spot, model: {{arch: unet}}}}
{variants}
seeds: {seeds}
"""
RULES = ScoringRules()


def study_of(experiments: int, seeds: int) -> Plan:
    variants = [f"  e{k}: {{base: e0, change: {{recipe.epochs: {k + 1}}}}}" for k in range(1, experiments)]
    return make_plan(parse_study(STUDY.format(variants="\n".join(variants), seeds=list(range(seeds)))))


def write_run(store: Store, run: Run, arrays: dict[str, np.ndarray], truths: list[np.ndarray], pictures: bool) -> None:
    folder, number = store.run(run.experiment, run.seed), int(run.experiment[1:])
    roles = {"report": "test", "select": "holdout", "train": "train"}
    write_yaml(folder.config, {"identity": run.identity, "values": run.config.values(), "roles": roles})
    epochs = [{"epoch": n, "loss": 1 / n, "select_miou": 0.5 + 0.01 * n, "report_miou": 0.5} for n in range(1, 21)]
    write_text(folder.metrics, "".join(json.dumps(epoch) + "\n" for epoch in epochs))
    write_text(folder.best, "weights")
    write_json(folder.cost, {"seconds_per_epoch": 1.0, "gflops": 1.0 + number % 5, "parameters": 3.0})
    own = {key: value.copy() for key, value in arrays.items()}
    missed = np.random.default_rng([number, run.seed]).integers(0, 30, len(truths))
    own["confusion"][:, 1, 1] -= missed
    own["confusion"][:, 1, 0] += missed
    about = EvaluationRecord(
        experiment=run.experiment, seed=run.seed, train_data="spot", test_data="spot", split="test",
        selected_on="spot/holdout", resolution="native", classes=("background", "polyp"),
        palette=((0, 0, 0), (255, 255, 255)), evaluation_hash=run.evaluation_hash, scoring=RULES.model_dump(), input_size=64,
    )  # fmt: skip
    ids = tuple(f"i{k}" for k in range(len(truths)))
    hashes = np.stack([hash_labels(truth) for truth in truths])
    if pictures and run.seed == 0:
        masks = folder.predictions("spot", "test")
        masks.mkdir(parents=True)
        for name, truth in zip(ids, truths, strict=True):
            Image.fromarray(np.roll(truth, 2, 0)).save(masks / f"{name}.png")
    write_counts(folder.evaluation("spot", "test"), CountSet(run.name, own, ids, about, None, hashes))
    write_sums(folder.path)


def make_store(root: Path, plan: Plan, images: int, pictures: bool) -> Store:
    store, rng = Store(root), np.random.default_rng(0)
    truths, pairs = [], []
    for _ in range(images):
        truth = np.zeros((64, 64), np.uint8)
        y, x = rng.integers(0, 40, 2)
        truth[y : y + 20, x : x + 20] = 1
        truths.append(truth)
        moved = np.roll(truth, tuple(rng.integers(0, 4, 2)), (0, 1))
        pairs.append(count_pair(truth, moved, 2, RULES, confidence=np.full((64, 64), 0.9, np.float32)))
    if pictures:
        cache = store.cache / "spot-test-64-0123456789ab"
        cache.mkdir(parents=True)
        np.save(cache / "images.npy", rng.integers(0, 256, (images, 64, 64, 3), dtype=np.uint8))
        np.save(cache / "labels.npy", np.stack(truths))
        write_json(cache / "samples.json", [f"i{k}" for k in range(images)])
    arrays = stack_counts(pairs)
    for run in plan.runs:
        write_run(store, run, arrays, truths, pictures)
    return store


def seconds_to_open(page: Path) -> float:
    """Until the page's load event, the median of five openings in a browser that runs already."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as running:
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser, times = running.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"]), []
        for _ in range(5):
            one = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            clock = time.perf_counter()
            one.goto(page.as_uri(), wait_until="load")
            times.append(time.perf_counter() - clock)
        browser.close()
    return float(np.median(times))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", default="20x5", help="experiments x seeds")
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--pictures", action="store_true")
    parser.add_argument("--open", action="store_true")
    given = parser.parse_args()
    experiments, seeds = map(int, given.runs.split("x"))
    plan = study_of(experiments, seeds)
    with tempfile.TemporaryDirectory() as folder:
        store = make_store(Path(folder), plan, given.images, given.pictures)
        for name in ("first report", "again"):
            clock, processor = time.perf_counter(), time.process_time()
            page = build_report(store, plan)
            spent = f"{time.perf_counter() - clock:.1f} s, {time.process_time() - processor:.1f} s of the processor"
            print(
                f"{name}: {len(plan.runs)} runs x {given.images} images: {spent}; page {page.stat().st_size / 1e6:.1f} MB"
            )
        if given.open:
            print(f"opened in Chromium: {seconds_to_open(page):.2f} s")
    print(f"torch imported: {'torch' in sys.modules}")


if __name__ == "__main__":
    main()
