"""A refactoring leaves the golden study's numbers identical.

The counts come from a formula, the numbers from ``results.csv`` beside this file. A change that moves them on purpose
writes the file again with ``python tests/golden/test_golden.py`` and says in the changelog what moved, and why.
"""

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from segstudy.counts.counting import count_pair, stack_counts
from segstudy.files import write_arrays, write_yaml
from segstudy.plan import Run, make_plan
from segstudy.report.long import results_frame
from segstudy.results import read_results
from segstudy.schema import ScoringRules
from segstudy.spec import parse_study
from segstudy.store import Store

GOLDEN = Path(__file__).with_name("results.csv")
STUDY = """
name: golden
protocol: paper
data:
  streets: {reader: folder, root: streets, num_classes: 4}
  polyps:  {reader: kvasir, root: polyps}
  people:  {reader: supervisely, root: people}
experiments:
  deep:      {data: streets, model: {arch: deeplabv3, output_stride: 8}}
  deep-os16: {base: deep, change: {model.output_stride: 16}}
  unet:      {data: polyps, model: {arch: unet}}
cross_evaluations:
  - {experiment: unet, on: people, map: {polyp: person}}
seeds: [1, 2]
"""
RULES = ScoringRules()
CLASSES = {
    "streets": ["road", "car", "train", "sky"],
    "polyps": ["background", "polyp"],
    "people": ["background", "person"],
}


def counts(run: Run, dataset: str) -> np.ndarray:
    """Five images' counts by formula; the third class of ``streets`` is in no image, the first in only some."""
    size, shift = len(CLASSES[dataset]), len(run.experiment) + run.seed
    n, i, j = np.ogrid[:5, :size, :size]
    confusion = (7 * n + 13 * i + 5 * j * (i + 1) + shift) % 23 * np.where(i == j, 9, 1)
    if size == 4:
        confusion[:, 2] = 0
        confusion[3:, 0] = 0
    return confusion.astype(np.int64)


def details(run: Run, dataset: str) -> dict[str, np.ndarray]:
    """What is counted of five images' masks beside the confusion matrix: stripes by formula, the prediction moved a little."""
    size, shift = len(CLASSES[dataset]), len(run.experiment) + run.seed
    y, x = np.mgrid[:40, :48]
    found = []
    for n in range(5):
        truth = ((x // (5 + n) + y // (9 + shift % 3)) % size).astype(np.uint8)
        prediction = np.roll(truth, (1 + n % 3, shift % 4), axis=(0, 1))
        truth[:2] = 255
        confidence = 0.5 + (x + y + n) % 50 / 100
        found.append(count_pair(truth, prediction, size, RULES, confidence=confidence))
    return {name: array for name, array in stack_counts(found).items() if name != "confusion"}


def golden_frame(folder: Path) -> pd.DataFrame:
    plan, store = make_plan(parse_study(STUDY)), Store(folder)
    for run in plan.runs:
        place = store.run(run.experiment, run.seed)
        write_yaml(place.config, {"identity": run.identity})
        for scoring in run.scored_on:
            meta = {
                "train_data": run.config.dataset,
                "test_data": scoring.dataset,
                "split": "test",
                "selected_on": f"{run.config.dataset}/test",
                "resolution": "input",
                "classes": CLASSES[scoring.dataset],
                "evaluation_hash": scoring.evaluation_hash,
            }
            own = counts(run, scoring.dataset)
            ids = np.array([f"image{k}" for k in range(5)])
            arrays = {"confusion": own, "ids": ids, **details(run, scoring.dataset)}
            write_arrays(place.evaluation(scoring.dataset, "test"), arrays, meta)
    return results_frame(plan, read_results(store, plan).sets)


def test_numbers_are_those_of_the_golden_file(tmp_path):
    found, golden = golden_frame(tmp_path), pd.read_csv(GOLDEN, keep_default_na=False, na_values=["nan"])
    golden["value"] = golden["value"].astype(float)
    pd.testing.assert_frame_equal(found, golden, rtol=1e-12, atol=0)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        golden_frame(Path(scratch)).to_csv(GOLDEN, index=False, na_rep="nan")
