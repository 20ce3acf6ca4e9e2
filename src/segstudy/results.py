"""Everything that a store holds of a study's runs, each file read once: for the report, comparisons, status and planning."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from segstudy.comparison import PRIMARY, Comparison, Problem, Side, compare, correct, problems_between
from segstudy.counts.countset import CountSet, read_counts
from segstudy.plan import Plan, Run, Variation
from segstudy.records import Cost, Environment, Epoch, RunRecord
from segstudy.store import RunFolder, State, Store

SIZE_FACTORS = ("recipe.input_size", "recipe.crop_px")  # they change the masks that are scored at input size
OTHER_SIZES = Problem("scored on masks of different sizes", advice="Score both at the images' own size.")


@dataclass(frozen=True)
class RunResult:
    """What the store holds of one run; of a run that was made with other settings, its state alone."""

    run: Run
    folder: RunFolder
    state: State
    record: RunRecord | None
    epochs: tuple[Epoch, ...]
    cost: Cost | None
    sets: tuple[CountSet, ...]
    failure: str


@dataclass(frozen=True)
class StudyResults:
    """What the store holds of a plan's runs, in the plan's order."""

    plan: Plan
    store: Store
    runs: tuple[RunResult, ...]
    environment: Environment | None

    @cached_property
    def sets(self) -> tuple[CountSet, ...]:
        """Every evaluation of every run."""
        return tuple(one for result in self.runs for one in result.sets)

    @cached_property
    def sides(self) -> Mapping[tuple[str, str], Side]:
        """Every experiment with a result, by its name and the dataset that it was scored on."""
        found: dict[tuple[str, str], list[CountSet]] = {}
        for one in self.sets:
            found.setdefault((one.experiment, str(one.about.test_data)), []).append(one)
        return {key: Side(key[0], sets, self._missing(key, sets)) for key, sets in found.items()}

    def side(self, experiment: str, on: str | None = None) -> Side:
        """An experiment on its own dataset, or on ``on``; without sets where it has no result there."""
        data = on or self.plan.first(experiment).config.dataset
        known = self.sides.get((experiment, data))
        return known or Side(experiment, (), self._missing((experiment, data), []))

    def _missing(self, key: tuple[str, str], sets: list[CountSet]) -> tuple[str, ...]:
        done = {one.seed for one in sets}
        missing = [r.run.name for r in self.runs if r.run.experiment == key[0] and r.run.seed not in done]
        return (f"{key[0]}: without {', '.join(missing)}, not scored yet",) if missing and sets else ()

    @cached_property
    def comparisons(self) -> Mapping[str, Comparison]:
        """Every variant against its base, by the variant's name, corrected over all that the study asks."""
        asked = {
            name: (
                self.side(name),
                self.side(v.base),
                {key: (after, before) for key, (before, after) in v.changes.items()},
            )
            for name, v in self._variants.items()
        }
        found = [
            compare(a, b, PRIMARY, changes, self.questions, self._problems[name])
            for name, (a, b, changes) in asked.items()
        ]
        return dict(zip(asked, correct(found), strict=True))

    @cached_property
    def questions(self) -> int:
        """How many comparisons the study makes, 1 at least: every variant that is planned and not known to be incomparable.

        Verdicts that hold today therefore hold when the study's other runs are done.
        """
        return max(1, sum(not problems for problems in self._problems.values()))

    @cached_property
    def _variants(self) -> Mapping[str, Variation]:
        return {name: v for name in self.plan.experiments if (v := self.plan.first(name).variation) is not None}

    @cached_property
    def _problems(self) -> Mapping[str, tuple[Problem, ...]]:
        """Why each variant may not be compared with its base, as far as is known."""
        found = {}
        for name, variation in self._variants.items():
            at_input = self.plan.first(name).config.resolution == "input" and set(variation.changes) & set(SIZE_FACTORS)
            known = [OTHER_SIZES] if at_input else []
            found[name] = problems_between(self.side(name), self.side(variation.base), PRIMARY, known)
        return found


def read_results(store: Store, plan: Plan) -> StudyResults:
    """Read what the store holds for the plan's runs.

    Raises
    ------
    StoreError
        When a file is damaged, naming it.

    """
    runs = tuple(_read_run(store.run(run.experiment, run.seed), run) for run in plan.runs)
    return StudyResults(plan, store, runs, store.read_environment())


def _read_run(folder: RunFolder, run: Run) -> RunResult:
    state = folder.state(run.identity, run.scored_on)
    record = folder.read_record()
    failure = folder.read_failure() if state == "failed" else ""
    if record is None or record.identity != run.identity:
        return RunResult(run, folder, state, None, (), None, (), failure)
    sets = []
    for scoring in run.scored_on:
        if (path := folder.find_evaluation(*scoring)) is not None:
            counted = read_counts(path, run.name, record)
            about = counted.about.model_copy(update={"experiment": run.experiment, "seed": run.seed})
            sets.append(CountSet(run.name, counted.counts, counted.ids, about, counted.groups, counted.truth, record))
    return RunResult(run, folder, state, record, tuple(folder.read_epochs()), folder.read_cost(), tuple(sets), failure)
