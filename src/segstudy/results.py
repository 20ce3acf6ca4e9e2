"""Read the results of a study from its store, each file once, and find results by the names that users give.

The report, comparisons, status and planning all use this module.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from segstudy.comparable import Problem
from segstudy.comparison import PRIMARY, Comparison, Side, compare, correct, problems_between
from segstudy.counts.counting import measures_of
from segstudy.counts.countset import CountSet, read_counts
from segstudy.errors import DataError, SpecError, StoreError, listing, nearest
from segstudy.folds import whole
from segstudy.measures import Measure
from segstudy.plan import Plan, Run, Variation, open_plan, run_of
from segstudy.pooling import other_origin, pool
from segstudy.records import Cost, Environment, Epoch, RunRecord
from segstudy.stats.sequential import CONTINUE, sequential_decision
from segstudy.store import RunFolder, State, Store

SIZE_FACTORS = ("recipe.input_size", "recipe.crop_px")  # these change the masks that are scored at input size
STUDY_FILES = (".yaml", ".yml")
OTHER_SIZES = Problem("scored on masks of different sizes", advice="Score both at the images' own size.")


@dataclass(frozen=True)
class RunResult:
    """The results of one run in the store; for a run made with other settings, only its state.

    ``sets`` are there once counts were read; ``counts`` are their files. ``damage`` says what of a finished run, or of its
    record, is not what it was; with ``gaps``, files are only missing. ``folds`` are the results behind one over all folds.
    """

    run: Run
    folder: RunFolder
    state: State
    record: RunRecord | None
    epochs: tuple[Epoch, ...]
    cost: Cost | None
    sets: tuple[CountSet, ...]
    failure: str
    counts: tuple[Path, ...] = ()
    damage: str = ""
    gaps: bool = False
    folds: tuple[RunResult, ...] = ()


@dataclass(frozen=True)
class StudyResults:
    """The results of a plan's runs in the store, in the plan's order."""

    plan: Plan
    store: Store
    runs: tuple[RunResult, ...]
    environment: Environment | None

    @cached_property
    def sets(self) -> tuple[CountSet, ...]:
        """Every evaluation of every run."""
        return tuple(one for result in self.runs for one in result.sets)

    @cached_property
    def primary(self) -> Measure:
        """The measure that verdicts are about, as the study declares it."""
        return next(one for one in measures_of(self.plan.study.scoring) if one.key == self.plan.study.primary)

    @cached_property
    def sides(self) -> Mapping[tuple[str, str], Side]:
        """Every experiment with a result, by its name and the dataset it was scored on."""
        found: dict[tuple[str, str], list[CountSet]] = {}
        for one in self.sets:
            found.setdefault((one.experiment, str(one.about.test_data)), []).append(one)
        return {key: Side(key[0], sets, self._missing(key, sets)) for key, sets in found.items()}

    def side(self, experiment: str, on: str | None = None) -> Side:
        """An experiment on its own dataset, or on ``on``; without count sets if it has no result there."""
        data = on or self.plan.first(experiment).config.dataset
        known = self.sides.get((experiment, data))
        return known or Side(experiment, (), self._missing((experiment, data), []))

    def _missing(self, key: tuple[str, str], sets: list[CountSet]) -> tuple[str, ...]:
        done = {one.seed for one in sets}
        missing = [r.run.name for r in self.runs if r.run.experiment == key[0] and r.run.seed not in done]
        return (f"{key[0]}: missing {', '.join(missing)} (not scored yet)",) if missing and sets else ()

    @cached_property
    def comparisons(self) -> Mapping[str, Comparison]:
        """Every variant against its base, by the variant's name, corrected over all comparisons of the study."""
        pairs = {name: (self.side(name), self.side(v.base), _turned(v)) for name, v in self._variants.items()}
        if self.plan.study.until is not None:
            return {name: self._looked(*sides, self._problems[name])[0] for name, sides in pairs.items()}
        found = [
            self.compare(a, b, changes, self.questions, self._problems[name]) for name, (a, b, changes) in pairs.items()
        ]
        return dict(zip(pairs, correct(found), strict=True))

    @cached_property
    def elsewhere(self) -> Mapping[tuple[str, str], Comparison]:
        """Every variant against its base where both are cross-evaluated, by the variant's name and the dataset.

        They are corrected among themselves, apart from the study's own comparisons. A study that adds seeds until its own
        are decided has none: its number of seeds follows from other scores.
        """
        if self.plan.study.until is not None:
            return {}
        splits: dict[tuple[str, str], set[str | None]] = {}
        for cross in self.plan.study.cross_evaluations:
            splits.setdefault((cross.experiment, cross.on), set()).add(cross.split)
        pairs = [
            (name, on)
            for (name, on), own in splits.items()
            if name in self._variants and len(own) == 1 and splits.get((self._variants[name].base, on)) == own
        ]
        found = []
        for name, on in pairs:
            variation = self._variants[name]
            sides = self.side(name, on), self.side(variation.base, on)
            found.append(self.compare(*sides, _turned(variation), len(pairs)))
        return dict(zip(pairs, correct(found), strict=True))

    def compare(
        self,
        a: Side,
        b: Side,
        changes: Mapping[str, tuple[Any, Any]] | None = None,
        questions: int = 1,
        problems: Sequence[Problem] | None = None,
    ) -> Comparison:
        """Compare two sides by the primary measure, with the study's margin; see :func:`segstudy.comparison.compare`."""
        study = self.plan.study
        found = compare(a, b, self.primary, changes, questions, problems, study.primary, study.margin)
        # only the looks of :meth:`_looked` are corrected for having looked before
        return found if study.until is None else replace(found, p_holm=float("nan"))

    def _looked(
        self, a: Side, b: Side, changes: Mapping[str, tuple[Any, Any]], problems: Sequence[Problem]
    ) -> tuple[Comparison, int]:
        """Repeat the looks of a study that adds seeds: the comparison that counts, and how many seeds it needs now.

        A look that decides stands, whatever later seeds say. The p-value is corrected for all looks and comparisons.
        """
        until, seeds = self.plan.study.until, self.plan.study.all_seeds
        assert until is not None
        common = next((k for k, seed in enumerate(seeds) if seed not in a.seeds or seed not in b.seeds), len(seeds))
        if common < until.first or problems:
            return self.compare(a, b, changes, self.questions, problems), until.first
        for number in range(until.first, common + 1):
            found = self.compare(a.of_seeds(seeds[:number]), b.of_seeds(seeds[:number]), changes, self.questions)
            if found.difference is None or found.difference.p_value != found.difference.p_value:
                return found, number
            error, up = 1 - found.difference.level, self.primary.higher_is_better
            looks = {"first": until.first, "at_most": until.at_most, "questions": self.questions}
            decision = sequential_decision(found.difference, **looks, error=error, higher_is_better=up)
            if decision.action != CONTINUE:
                break
        corrected = min(1.0, decision.p_value * error / decision.look_level)
        return replace(found, p_holm=corrected), number + (decision.action == CONTINUE)

    def due(self) -> Plan:
        """The plan with the runs that are needed now; for a study with a list of seeds, all of them."""
        until = self.plan.study.until
        if until is None:
            return self.plan
        needed = dict.fromkeys(self.plan.experiments, until.first)
        for name, variation in self._variants.items():
            number = self._looked(self.side(name), self.side(variation.base), {}, self._problems[name])[1]
            for each in (name, variation.base):
                needed[each] = max(needed[each], number)
        place = {seed: k for k, seed in enumerate(self.plan.study.all_seeds)}
        runs = self.plan.every_run
        now = tuple(run for run in runs if place[run.seed] < needed[run.experiment])
        return replace(self.plan, runs=now, later=tuple(run for run in runs if run not in now))

    @cached_property
    def questions(self) -> int:
        """Number of comparisons of the study, at least 1: planned variants that are not known to be incomparable.

        Verdicts therefore do not change when the study's other runs finish.
        """
        return max(1, sum(not problems for problems in self._problems.values()))

    @cached_property
    def _variants(self) -> Mapping[str, Variation]:
        known = {each for run in self.plan.runs for each in (run.experiment, whole(run.experiment))}
        variations = {name: self.plan.first(name).variation for name in self.plan.experiments}
        return {name: v for name, v in variations.items() if v is not None and v.base in known}  # of a part of the plan

    @cached_property
    def _problems(self) -> Mapping[str, tuple[Problem, ...]]:
        """Why a variant cannot be compared with its base, for each one where this is known."""
        found = {}
        for name, variation in self._variants.items():
            at_input = self.plan.first(name).config.resolution == "input" and set(variation.changes) & set(SIZE_FACTORS)
            known = [OTHER_SIZES] if at_input else []
            found[name] = problems_between(self.side(name), self.side(variation.base), self.primary, known)
        return found


def _turned(variation: Variation) -> dict[str, tuple[Any, Any]]:
    """The settings that a variant changes, its own value first."""
    return {key: (after, before) for key, (before, after) in variation.changes.items()}


def stand(store: Store, plan: Plan) -> tuple[RunResult, ...]:
    """The state of each run of a plan, by its files and their sums; its counts are not read, and damage is not raised."""
    return tuple(_stand(store.run(run.experiment, run.seed), run) for run in plan.runs)


def read_results(store: Store, plan: Plan, found: Sequence[RunResult] | None = None) -> StudyResults:
    """Read what the store holds of the runs of a plan.

    Parameters
    ----------
    store, plan
        What is read.
    found
        The result of :func:`stand` for the same runs, if known.

    Raises
    ------
    StoreError
        If a file is damaged, or the seeds of an experiment rest on different data; the message names it.

    """
    runs = tuple(_with_counts(each) for each in (stand(store, plan) if found is None else found))
    _check_seeds(runs)
    if plan.pooled is not plan:
        runs, plan = tuple(_over_folds(runs, run) for run in plan.pooled.runs), plan.pooled
    environments = (result.record.environment for result in runs if result.record and result.record.environment)
    return StudyResults(plan, store, runs, next(environments, None) or store.read_environment())


def _check_seeds(runs: Sequence[RunResult]) -> None:
    """Refuse seeds of one experiment that do not rest on the same data, as their scores would be pooled."""
    first: dict[str, RunResult] = {}
    for result in runs:
        if result.record is None or not result.sets:
            continue
        known = first.setdefault(result.run.experiment, result)
        if what := known.record and other_origin(known.record, known.sets, result.record, result.sets):
            raise StoreError(
                f"{result.folder.path}: {what} than seed {known.run.seed} of this experiment, so the two cannot be pooled; move "
                "the folder of one of them away and call segstudy run to train it again"
            )


def due(plan: Plan, store: Store) -> Plan:
    """The part of a plan that is needed now, going by what the store holds; see :meth:`StudyResults.due`."""
    if plan.study.until is None:
        return plan
    return read_results(store, replace(plan, runs=plan.every_run, later=())).due()


def _stand(folder: RunFolder, run: Run) -> RunResult:
    state: State = "failed"
    try:
        at = folder.standing(run.identity, run.scored_on)
        state, record = at.state, at.record
        failure = folder.read_failure() if state == "failed" else ""
        if record is None or record.identity != run.identity:
            return RunResult(run, folder, state, None, (), None, (), failure)
        damaged = folder.damaged(record) if state == "done" else []
        gaps = not any((folder.path / name).exists() for name in damaged)
        damage = folder.damage(damaged) if damaged else ""
        cost = folder.read_cost() if gaps else None
    except StoreError as error:
        return RunResult(run, folder, state, None, (), None, (), "", damage=str(error))
    epochs = tuple(folder.read_epochs())
    return RunResult(run, folder, state, record, epochs, cost, (), failure, at.counts, damage, gaps)


def _with_counts(result: RunResult) -> RunResult:
    if result.damage and not result.gaps:
        raise StoreError(result.damage)
    sets = []
    for path in result.counts:
        counted = read_counts(path, result.run.name, result.record)
        about = counted.about.model_copy(update={"experiment": result.run.experiment, "seed": result.run.seed})
        sets.append(replace(counted, about=about))
    return replace(result, sets=tuple(sets))


def _over_folds(runs: Sequence[RunResult], pooled: Run) -> RunResult:
    """One result for all folds of an experiment under one seed; scored when every fold is."""
    parts = [r for r in runs if (whole(r.run.experiment), r.run.seed) == (pooled.experiment, pooled.seed)]
    if parts[0].run.fold is None:
        return parts[0]
    states = {part.state for part in parts}
    decisive: tuple[State, ...] = ("failed", "stale", "running")
    state = next((each for each in decisive if each in states), parts[0].state if len(states) == 1 else "partial")
    sets = (pool([part.sets[0] for part in parts]),) if all(part.sets for part in parts) else ()
    record = sets[0].record if sets else parts[0].record
    failure = "; ".join(part.failure for part in parts if part.failure)
    return RunResult(pooled, parts[0].folder, state, record, (), parts[0].cost, sets, failure, folds=tuple(parts))


def side_of_file(path: Path) -> Side:
    """Read counts written by ``segstudy score --counts`` or by the evaluation of a run.

    Raises
    ------
    SpecError, StoreError
        If the file is missing, damaged or of another kind.

    """
    if path.suffix != ".npz" and (path.suffix in STUDY_FILES or not path.is_file()):
        raise SpecError(
            f"{path}: is not a result; name an experiment of a study, as in study.yaml:unet, or a .npz of counts from "
            "'segstudy score PREDICTIONS TRUTH --counts'"
        )
    if not path.is_file():
        raise StoreError(f"{path}: no such file; 'segstudy score PREDICTIONS TRUTH --counts {path.name}' writes one")
    inside = path.resolve().parent.name == "evaluations"
    folder = RunFolder(path.resolve().parent.parent)
    found = read_counts(path, record=(record := folder.read_record() if inside else None))
    if record is not None:
        if found.about.identity not in ("", record.identity):
            raise StoreError(
                f"{path}: holds counts of {found.about.experiment}/seed{found.about.seed}, not of this run; delete it and run again"
            )
        folder.check_results(record)
    return Side(str(path), [found], chosen=record is not None)


@dataclass(frozen=True)
class Named:
    """The side named ``STUDY:EXPERIMENT`` or ``STUDY:EXPERIMENT/seedN``; ``label`` is its display name, by default ``name``."""

    name: str
    experiment: str
    seed: int | None
    results: StudyResults
    label: str = ""


def side_of_runs(named: Named, on: str | None = None) -> Side:
    """An experiment's runs, or one of them, on its own dataset or on ``on``.

    Raises
    ------
    SpecError
        If the experiment is not scored on ``on``.
    StoreError
        If none of the runs is scored there with the study's settings.

    """
    name, plan, store = named.name, named.results.plan, named.results.store
    first = plan.select([named.experiment], named.seed).runs[0]
    dataset = on or first.config.dataset
    if dataset not in first.datasets:
        raise SpecError(
            f"{name}: is not scored on '{dataset}'{nearest(dataset, first.datasets)}; it is scored on {listing(first.datasets)}"
        )
    side = named.results.side(first.experiment, dataset)
    sets = [one for one in side.sets if named.seed in (None, one.seed)]
    if not sets:
        raise StoreError(
            f"{name}: not scored on {dataset} yet, or made with other settings, in {store.root}; run the study first"
        )
    return Side(named.label or name, sets, side.notes if named.seed is None else (), chosen=named.seed is not None)


def measure_of(side: Side, key: str) -> Measure:
    """The measure of the whole set with this ``key``; raises :class:`SpecError` for an unknown one."""
    known = {one.key: one for one in measures_of(side.first.rules) if "dataset" in one.levels}
    if key not in known:
        raise SpecError(f"--measure {key}: no such measure{nearest(key.lower(), known)}; known: {listing(known, 40)}")
    return known[key]


def compare_results(
    a: str | Side,
    b: str | Side,
    measure: str | None = None,
    on: str | None = None,
    out: Path | None = None,
    settings: Sequence[str] = (),
    margin: float | None = None,
) -> Comparison:
    """Compare two results on the same images.

    If the two are a variant and its base in one study, p-value and verdict are corrected for all comparisons of the study,
    as in its report; on the dataset of a cross-evaluation, for all of the study's comparisons on such datasets.

    Parameters
    ----------
    a, b
        ``STUDY:EXPERIMENT``, ``STUDY:EXPERIMENT/seedN``, a ``.npz`` of counts, or a side; differences are ``a`` minus ``b``.
    measure
        A measure of the whole set; by default the primary measure of the study, or mIoU without a study.
    on
        Dataset of a cross-evaluation; by default each side's own dataset.
    out, settings
        The output folder of the studies, and ``key=value`` strings that replace values of their files.
    margin
        The largest difference that does not matter; by default the study's. It is about the primary measure alone.

    Raises
    ------
    SpecError, StoreError
        If a name is not that of a result, or there is no such measure.
    DataError
        If the two cannot be compared.

    """
    known: dict[tuple[Path, Path], StudyResults] = {}
    named = _short([_named(name, out, settings, known) for name in (a, b)])
    options = (("--on", on), ("--out", out), ("--set", ", ".join(settings) or None))
    given = [f"{option} {value}" for option, value in options if value is not None]
    if given and all(isinstance(one, Side) for one in named):
        raise SpecError(f"{' '.join(given)}: applies to a study, and both sides are files of counts; leave it out")
    first, second = (side_of_runs(one, on) if isinstance(one, Named) else one for one in named)
    primary, declared = _declared(named, measure)
    wanted = measure_of(first, measure or primary)
    margin = declared if margin is None and wanted.key == primary else margin
    planned = _family(named[0], named[1], on)
    changes = None if planned is None else planned.changes_from(first.name)
    family = planned if wanted.key == primary else None
    questions = 1 if family is None else family.questions
    if family is not None:
        first, second = (side.of_seeds(_seeds_in(family, side)) for side in (first, second))
    found = compare(first, second, wanted, changes, questions, primary=primary, margin=margin)
    return checked(found if family is None else replace(found, p_holm=family.p_holm))


def _seeds_in(family: Comparison, side: Side) -> list[int]:
    """The seeds of a side that the study's own comparison uses: those up to the look that decided."""
    own = {seed for each in (family.a, family.b) for seed in each.seeds if each.name == side.name}
    return [seed for seed in side.seeds if seed in own]


def _declared(named: Sequence[Named | Side], measure: str | None) -> tuple[str, float | None]:
    """The primary measure and the margin that the studies of both sides declare; without a study mIoU and none.

    Two studies with different primary measures leave the choice to ``measure``.
    """
    studies = {one.results.plan.study.source: one.results.plan.study for one in named if isinstance(one, Named)}
    declared = {(study.primary, study.margin) for study in studies.values()}
    if len({primary for primary, _ in declared}) > 1:
        if measure is not None:
            return measure, None
        words = listing([f"{name} declares {study.primary}" for name, study in studies.items()])
        raise SpecError(f"the two studies have different primary measures ({words}); choose one with --measure")
    primary = next((primary for primary, _ in declared), PRIMARY.key)
    return primary, next(iter(declared))[1] if len(declared) == 1 else None


def _named(
    name: str | Side, out: Path | None, settings: Sequence[str], known: dict[tuple[Path, Path], StudyResults]
) -> Named | Side:
    """Resolve a name to an experiment of a study, reading each store once, or to the counts in a file."""
    if isinstance(name, Side):
        return name
    if ":" not in name or Path(name).is_file():
        return side_of_file(Path(name))
    study, experiment, seed = run_of(name)
    plan, store = open_plan(study, out, settings)
    plan.select([experiment], seed)
    key = (Path(study).resolve(), store.root)
    if key not in known:
        known[key] = read_results(store, plan)
    return Named(name, experiment, seed, known[key])


def _short(named: list[Named | Side]) -> list[Named | Side]:
    """Shorten the names of two experiments of one study to those in its report."""
    studies = [one for one in named if isinstance(one, Named)]
    if len(studies) < 2 or studies[0].results is not studies[1].results:
        return named
    return [replace(one, label=one.name.rpartition(":")[2]) for one in studies]


def _family(a: Named | Side, b: Named | Side, on: str | None) -> Comparison | None:
    """The comparison of these two in their study, on their own dataset or on ``on``; None if there is none."""
    if isinstance(a, Side) or isinstance(b, Side) or a.results is not b.results or not a.seed is b.seed is None:
        return None
    for variant, base in ((a, b), (b, a)):
        name = variant.experiment
        found = a.results.comparisons.get(name) if on is None else a.results.elsewhere.get((name, on))
        if found is not None and found.b.name == base.experiment:
            return found
    return None


def checked(comparison: Comparison) -> Comparison:
    """Return the comparison; raises :class:`DataError` with the reasons if the two cannot be compared."""
    if comparison.problems:
        names = f"{comparison.a.name} and {comparison.b.name}"
        raise DataError("\n".join([f"{names} cannot be compared:", *map(str, comparison.problems)]))
    return comparison
