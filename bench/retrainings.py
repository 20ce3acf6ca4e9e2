"""Do intervals and verdicts from few trainings hold what many trainings say? Real trainings on real images.

    SEGSTUDY_DATA=DIR python bench/retrainings.py [--minutes 60]     # train, and keep the counts
    python bench/retrainings.py --report [--draws 300]               # the tables of docs/results.md

The first form trains two small recipes in turn on Kvasir-SEG, each time with a new seed, until it is stopped. Kill it at
any time: a training resumes after its last epoch, and every finished one is in ``bench/data/retrainings.npz``, which
holds nothing but counts. Networks are deleted. The second form needs neither images nor networks.

A drawn study takes some of the trainings at random, each at most once, and draws test images with repeats, so that 200 of
the 200 are a sample like any other. What all trainings say on all test images is the truth that its intervals and
verdicts are held against. Few trainings flatter an interval, as they are part of that truth; so its coverage of what the
other trainings say, which is a little too hard on it, is given too. What follows "±" is the standard error over the
trainings, by leaving out one after the other; it needs eight of them, and twice as many as a study takes.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segstudy.arrays import Counts
from segstudy.counts.countset import TRUTH, CountSet, read_counts
from segstudy.errors import SegstudyError, StoreError
from segstudy.files import read_arrays, write_arrays
from segstudy.measures import mean_iou, merge
from segstudy.stats.comparison import UNDECIDED, Difference, compare, verdict
from segstudy.stats.intervals import estimate
from segstudy.stats.sequential import CONTINUE, DECIDED, sequential_decision
from segstudy.stopping import Stop, Stopped

FILE = Path(__file__).parent / "data" / "retrainings.npz"
STORE = Path("out") / "retrainings"
A, B = "lr 1e-3", "lr 3e-4"
SEEDS, IMAGES = (1, 2, 3, 5), (50, 100, 200)
AT_MOST = 10  # seeds of each side in a study that adds them one by one
LEVEL = 0.95
MIN_FOR_ERROR = 8  # trainings
EXPERIMENTS = {A: "fast", B: "slow"}
MOST = 500  # seeds of the study; the first recipe takes the odd ones, the second the even ones
STUDY = f"""
name: retrainings
protocol: held-out
data:
  kvasir: {{reader: kvasir, root: kvasir-seg/Kvasir-SEG}}
recipe:
  epochs: 2
  batch_size: 16
  input_size: 96
  precision: float32
  optimizer: {{name: adam, lr: 1.0e-3, weight_decay: 1.0e-4}}
experiments:
  fast: {{data: kvasir, model: {{arch: unet, encoder: tu-tf_efficientnet_lite0, weights: packaged}}}}
  slow: {{base: fast, change: {{recipe.optimizer.lr: 3.0e-4}}}}
seeds: {list(range(1, MOST + 1))}
"""


@dataclass(frozen=True)
class Trainings:
    """Counts of every training: ``confusion`` (s, n, c, c), ``recipe`` and ``seed`` (s,), the images' ids and truths."""

    confusion: Counts
    recipe: NDArray[np.str_]
    seed: NDArray[np.int64]
    ids: NDArray[np.str_]
    truth: NDArray[np.int64]

    def of(self, recipe: str) -> Counts:
        chosen: Counts = self.confusion[self.recipe == recipe]
        return chosen


def read_trainings(path: Path) -> Trainings | None:
    """What the file holds; None where there is no file yet."""
    if not path.is_file():
        return None
    arrays, _ = read_arrays(path)
    return Trainings(arrays["confusion"], arrays["recipe"], arrays["seed"], arrays["ids"], arrays[TRUTH])


def add_training(path: Path, recipe: str, seed: int, counted: CountSet) -> Trainings:
    """Add one training to the file, whole or not at all; it must be scored on the images that the file holds."""
    if counted.truth is None:
        raise StoreError(f"{counted.name}: holds no hashes of the truth")
    known = read_trainings(path)
    one = Trainings(
        counted.confusion[None],
        np.array([recipe]),
        np.array([seed], np.int64),
        np.array(counted.ids),
        counted.truth,
    )
    if known is not None:
        if not (np.array_equal(known.ids, one.ids) and np.array_equal(known.truth, one.truth)):
            raise StoreError(f"{path}: its trainings were scored on other images or masks; use the same data again")
        one = Trainings(
            np.concatenate([known.confusion, one.confusion]),
            np.concatenate([known.recipe, one.recipe]),
            np.concatenate([known.seed, one.seed]),
            known.ids,
            known.truth,
        )
    arrays = {"confusion": one.confusion, "recipe": one.recipe, "seed": one.seed, "ids": one.ids, TRUTH: one.truth}
    versions = {name: version(name) for name in ("torch", "segmentation-models-pytorch", "timm")}
    path.parent.mkdir(parents=True, exist_ok=True)
    write_arrays(path, arrays, {"study": STUDY, "versions of the last training": versions})
    return one


def next_training(known: Trainings | None) -> tuple[str, int]:
    """The recipe with fewer trainings, and its first seed that is not in the file."""
    done = {recipe: set[int]() if known is None else set(known.seed[known.recipe == recipe]) for recipe in (A, B)}
    recipe = min((A, B), key=lambda name: len(done[name]))
    left = (seed for seed in range(1 if recipe == A else 2, MOST + 1, 2) if seed not in done[recipe])
    return recipe, next(left)


def train(path: Path, folder: Path, data: Path, minutes: float | None) -> None:
    """Train one network after the other until the time is up, or a signal says to save and stop."""
    from segstudy.launch.work import execute
    from segstudy.launch.workshop import Workshop
    from segstudy.plan import make_plan
    from segstudy.progress import showing
    from segstudy.spec import parse_study
    from segstudy.store import Store

    study, store = parse_study(STUDY), Store(folder.resolve())
    plan, stop = make_plan(study, data, store), Stop(None if minutes is None else 60 * minutes)
    while True:
        recipe, seed = next_training(read_trainings(path))
        began = time.monotonic()
        with showing(quiet=True) as progress, stop.listening():
            workshop = Workshop(study, store, data, progress, stop=stop)
            outcome = execute(workshop, plan.select([EXPERIMENTS[recipe]], seed))
        if outcome.failures or outcome.held:
            raise SegstudyError("\n".join([*outcome.failures, *(f"{name}: is held" for name in outcome.held)]))
        run = store.run(EXPERIMENTS[recipe], seed)
        split = workshop.dataset("kvasir")[1].report
        counted = read_counts(run.evaluation("kvasir", split))
        known = add_training(path, recipe, seed, counted)
        shutil.rmtree(run.path)
        score = float(mean_iou(merge(counted.confusion)))
        seconds = time.monotonic() - began
        print(f"{len(known.seed)} trainings: {recipe}, seed {seed}: mIoU {score:.4f}, {seconds:.0f} s", flush=True)


def scores(confusion: Counts) -> NDArray[np.float64]:
    """mIoU of each training, (s,), over all images of ``confusion`` (s, n, c, c)."""
    return np.asarray(mean_iou(confusion.sum(axis=1)), np.float64)


def networks_of(confusion: Counts, trainings: Sequence[int], images: NDArray[np.int64]) -> dict[int, Counts]:
    return {int(k): confusion[k][images] for k in trainings}


@dataclass(frozen=True)
class Share:
    """How often something held in the drawn studies, and its standard error over the trainings (NaN: not known)."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.3f}" + ("" if np.isnan(self.error) else f" ± {self.error:.3f}")


def share(held: Sequence[bool], drawn: Sequence[Sequence[int]]) -> Share:
    """The share of studies that held; each training is left out by taking the studies that were drawn without it.

    No error is given where a study takes more than half of the trainings, as hardly any is then drawn without one, and
    from fewer than eight trainings, which say little about it.
    """
    found, used = np.array(held, np.float64), sorted(set().union(*map(set, drawn)))
    without = [found[[training not in each for each in drawn]] for training in used]
    if len(used) < MIN_FOR_ERROR or max(map(len, drawn)) > len(used) / 2 or not all(map(len, without)):
        return Share(float(found.mean()), float("nan"))
    means = np.array([each.mean() for each in without])
    return Share(float(found.mean()), float(np.sqrt((len(used) - 1) / len(used) * ((means - means.mean()) ** 2).sum())))


@dataclass(frozen=True)
class Coverage:
    """How often a score's interval holds what its own networks, all trainings and the other trainings say of all images.

    No interval is a miss. None where no other trainings are left.
    """

    own: Share
    all: Share | None
    others: Share | None


def coverage(confusion: Counts, num_seeds: int, num_images: int, draws: int) -> Coverage | None:
    """Score intervals of drawn studies; None where there are fewer trainings than ``num_seeds``."""
    total, values = len(confusion), scores(confusion)
    if num_seeds > total:
        return None
    rng, drawn, own, of_all, of_others = np.random.default_rng([1, num_seeds, num_images]), [], [], [], []
    for _ in range(draws):
        chosen = rng.permutation(total)[:num_seeds].tolist()
        images = rng.integers(confusion.shape[1], size=num_images)
        found = estimate(networks_of(confusion, chosen, images), mean_iou, level=LEVEL)
        drawn.append(chosen)
        own.append(bool(found.low <= values[chosen].mean() <= found.high))
        of_all.append(bool(found.low <= values.mean() <= found.high))
        if num_seeds < total:
            of_others.append(bool(found.low <= np.delete(values, chosen).mean() <= found.high))
    if not of_others:
        return Coverage(share(own, drawn), None, None)
    return Coverage(share(own, drawn), share(of_all, drawn), share(of_others, drawn))


Draw = Callable[[np.random.Generator, int], tuple[list[int], list[int]]]


def sides(trainings: Trainings, variant: str, base: str) -> tuple[Counts, Draw, int]:
    """Counts of both recipes, what draws some trainings of each, and the most that either side can have.

    A recipe against itself is one half of the drawn trainings against the other, so that no training is on both sides.
    """
    first = trainings.of(variant)
    if variant == base:

        def halves(rng: np.random.Generator, count: int) -> tuple[list[int], list[int]]:
            order = rng.permutation(len(first)).tolist()
            return order[:count], order[count : 2 * count]

        return first, halves, len(first) // 2
    second = trainings.of(base)

    def each(rng: np.random.Generator, count: int) -> tuple[list[int], list[int]]:
        return (
            rng.permutation(len(first))[:count].tolist(),
            (len(first) + rng.permutation(len(second))[:count]).tolist(),
        )

    return np.concatenate([first, second]), each, min(len(first), len(second))


def difference(confusion: Counts, variant: Sequence[int], base: Sequence[int], images: NDArray[np.int64]) -> Difference:
    rng = np.random.default_rng(0)  # it only draws permutations, which decide nothing where there are several seeds
    both = networks_of(confusion, variant, images), networks_of(confusion, base, images)
    return compare(*both, mean_iou, rng, level=LEVEL, num_permutations=200 if len(variant) == 1 else 1)


def true_difference(trainings: Trainings, variant: str, base: str) -> float:
    return float(scores(trainings.of(variant)).mean() - scores(trainings.of(base)).mean())


@dataclass(frozen=True)
class Verdicts:
    """Shares of drawn studies: the verdict is the true sign, the other sign, and the interval holds the difference."""

    right: Share
    wrong: Share
    holds: Share


def verdicts(
    trainings: Trainings, variant: str, base: str, num_seeds: int, num_images: int, draws: int
) -> Verdicts | None:
    """Comparisons from few trainings; of a recipe against itself every verdict is ``wrong``."""
    confusion, draw, most = sides(trainings, variant, base)
    if num_seeds > most:
        return None
    true, rng = true_difference(trainings, variant, base), np.random.default_rng([2, num_seeds, num_images])
    drawn, right, wrong, holds = [], [], [], []
    for _ in range(draws):
        one, other = draw(rng, num_seeds)
        found = difference(confusion, one, other, rng.integers(confusion.shape[1], size=num_images))
        decided = verdict(found) not in (UNDECIDED, "")
        agrees = variant != base and (found.value > 0) == (true > 0)
        drawn.append(one + other)
        right.append(decided and agrees)
        wrong.append(decided and not agrees)
        holds.append(bool(found.low <= true <= found.high))
    return Verdicts(share(right, drawn), share(wrong, drawn), share(holds, drawn))


@dataclass(frozen=True)
class OneByOne:
    """Seeds one by one: share decided, share that ``at_most`` fixed seeds decide, mean seeds of each side used."""

    decided: Share
    fixed: Share
    seeds: float
    at_most: int


def one_by_one(trainings: Trainings, variant: str, base: str, num_images: int, draws: int) -> OneByOne | None:
    """Studies that add a seed of each side until the verdict stands, against all the seeds from the start."""
    confusion, draw, most = sides(trainings, variant, base)
    at_most = min(AT_MOST, most)
    if at_most < 3:
        return None
    rng, drawn, decided, fixed, used = np.random.default_rng([3, num_images]), [], [], [], []
    for _ in range(draws):
        one, other = draw(rng, at_most)
        images = rng.integers(confusion.shape[1], size=num_images)
        for count in range(2, at_most + 1):
            found = difference(confusion, one[:count], other[:count], images)
            look = sequential_decision(found, first=2, at_most=at_most, error=1 - LEVEL)
            if look.action != CONTINUE:
                break
        drawn.append(one + other)
        decided.append(look.action == DECIDED)
        used.append(count)
        fixed.append(verdict(difference(confusion, one, other, images)) != UNDECIDED)
    return OneByOne(share(decided, drawn), share(fixed, drawn), float(np.mean(used)), at_most)


def table(heads: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown, without the rows that hold nothing since there are too few trainings."""
    known = [row for row in rows if any(cell is not None for cell in row[2:])]
    head, *body = [
        "| " + " | ".join("–" if cell is None else str(cell) for cell in line) + " |" for line in [heads, *known]
    ]
    return "\n".join([head, "|" + "---|" * len(heads), *body])


def report(trainings: Trainings, draws: int) -> str:
    """The Markdown of docs/results.md."""
    lines = [
        f"{len(trainings.seed)} trainings, {len(trainings.ids)} test images, {draws} drawn studies for each number.",
        "",
    ]
    for recipe in (A, B):
        if len(x := scores(trainings.of(recipe))) > 1:
            lines.append(f"* {recipe}: {len(x)} trainings, mIoU {x.mean():.4f}, SD over seeds {x.std(ddof=1):.4f}")
    by_images = ["seeds", *(f"{n} images" for n in IMAGES)]
    stepwise = ["seeds one by one", "images", "decided", "all seeds fixed decide", "mean seeds", "runs saved"]
    tables = (
        table(["score", *by_images], score_rows(trainings, draws)),
        table(["comparison", *by_images], verdict_rows(trainings, draws)),
        table(stepwise, sequence_rows(trainings, draws)),
    )
    return "\n\n".join(["\n".join(lines), *(each for each in tables if each.count("\n") > 1)])


def score_rows(trainings: Trainings, draws: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for recipe in (A, B):
        for s in SEEDS:
            found = [coverage(trainings.of(recipe), s, n, draws) for n in IMAGES]
            if s == 1:  # the one network that such an interval is about
                rows.append([f"{recipe}: holds its own", s, *(each and each.own for each in found)])
            rows.append([f"{recipe}: holds all", s, *(each and each.all for each in found)])
            rows.append([f"{recipe}: holds the others", s, *(each and each.others for each in found)])
    return rows


def verdict_rows(trainings: Trainings, draws: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for variant, base in ((A, A), (B, B), (A, B)):
        for s in SEEDS:
            found = [verdicts(trainings, variant, base, s, n, draws) for n in IMAGES]
            if variant == base:
                rows.append([f"{variant} against itself: a verdict", s, *(each and each.wrong for each in found)])
                continue
            name = f"{variant} against {base}"
            rows.append([f"{name}: the verdict of all", s, *(each and each.right for each in found)])
            rows.append([f"{name}: the opposite", s, *(each and each.wrong for each in found)])
            rows.append([f"{name}: interval holds", s, *(each and each.holds for each in found)])
    return rows


def sequence_rows(trainings: Trainings, draws: int) -> list[list[object]]:
    rows: list[list[object]] = []
    for variant, base in ((A, A), (B, B), (A, B)):
        for n in IMAGES:
            found = one_by_one(trainings, variant, base, n, draws)
            name = f"{variant} against " + ("itself" if variant == base else base)
            if found is None:
                rows.append([name, n, None, None, None, None])
                continue
            saved = f"{1 - found.seeds / found.at_most:.0%}"
            seeds = f"{found.seeds:.1f} of {found.at_most}"
            rows.append([name, n, found.decided, found.fixed, seeds, saved])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--file", type=Path, default=FILE, help="where the counts are kept")
    parser.add_argument("--store", type=Path, default=STORE, help="where networks are trained, and then deleted")
    parser.add_argument("--minutes", type=float, help="save and stop within so long; by default, go on until stopped")
    parser.add_argument("--report", action="store_true", help="print the tables; train nothing")
    parser.add_argument("--draws", type=int, default=300, help="studies drawn for each number of the tables")
    arguments = parser.parse_args()
    try:
        if arguments.report:
            if (known := read_trainings(arguments.file)) is None:
                raise SegstudyError(f"{arguments.file}: no trainings yet; call without --report first")
            print(report(known, arguments.draws))
            return
        if "SEGSTUDY_DATA" not in os.environ:
            raise SegstudyError("set SEGSTUDY_DATA to the folder that holds kvasir-seg/Kvasir-SEG")
        train(arguments.file, arguments.store, Path(os.environ["SEGSTUDY_DATA"]), arguments.minutes)
    except SegstudyError as error:
        sys.exit(str(error))
    except Stopped as stopped:
        print(stopped, file=sys.stderr)
        sys.exit(stopped.exit_code)


if __name__ == "__main__":
    main()
