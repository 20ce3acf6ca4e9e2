"""From a study to its runs: experiments x seeds, what each is compared with, and what identifies it."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from segstudy.doors import is_callable_name, source_hash
from segstudy.errors import SegstudyError, SpecError, StoreError, listing, nearest
from segstudy.files import digest, file_sha256, network_sha256, read_json, write_json
from segstudy.folds import ALL_FOLDS, fold_of, in_fold, whole
from segstudy.records import EVALUATED
from segstudy.schema import Groups
from segstudy.spec import find_path, load_study
from segstudy.store import Store
from segstudy.study import Config, CrossEvaluation, Study, changes, factor_kind, resolve
from segstudy.tuning import found_values, read_found

# Raised whenever the same configuration would give other networks than before.
RESULT_VERSION = 1
# Raised whenever evaluation keeps other counts than before; finished runs are then scored again, not trained again.
COUNTS_VERSION = 2

# Keys that came after the first version, with the value that says what was so before them: runs that were made without
# the key, and runs that give it that value, are the same.
LATER: dict[str, Any] = {
    "recipe.crop_px": None,
    "recipe.accumulate": 1,
    "recipe.iterations": None,
    "recipe.schedule_by": "epoch",
    "recipe.warmup_epochs": 0.0,
    "recipe.encoder_rate": 1.0,
    "recipe.clip_norm": None,
    "recipe.ema": None,
    "recipe.frozen_encoder": False,
    "recipe.frozen_statistics": False,
    "recipe.sync_batch_norm": False,
    "recipe.sampling": "uniform",
    "recipe.patience": None,
    "recipe.adaptation": None,
    "inference.flip": False,
    "inference.scales": [1.0],
    "inference.window_px": None,
    "inference.window_overlap": 0.25,
    "inference.adaptation": "none",
    "inference.temperature": 1.0,
    "inference.threshold": None,
    "ensemble.members": None,
    "search.space": None,
    "data.groups": None,
    "data.stratify": False,
    "data.folds": None,
    "data.fold": 0,
    "data.split_file": None,
}

NOTED = "files.json"  # in a store: where the files that its study names were found, and their hashes

ACCUMULATED = "accumulate.json"  # in a store: the recipe.accumulate that --fit-memory found for its runs

IMPORTED = "unknown (imported)"  # what chose the epoch of a checkpoint that was trained elsewhere

BUDGET = (
    "recipe.epochs",
    "recipe.iterations",
    "recipe.batch_size",
    "recipe.accumulate",
    "recipe.schedule",
    "recipe.schedule_by",
    "recipe.warmup_epochs",
    "recipe.loss",
    "recipe.encoder_rate",
    "recipe.clip_norm",
    "recipe.ema",
    "recipe.frozen_encoder",
    "recipe.frozen_statistics",
    "recipe.sync_batch_norm",
    "recipe.sampling",
    "recipe.patience",
    "recipe.adaptation",
)


@dataclass(frozen=True)
class Variation:
    """How an experiment differs from its base, found by comparing the resolved configurations of both.

    ``changes`` maps each dotted key to (base's value, own value).
    """

    base: str
    changes: dict[str, tuple[Any, Any]]

    @property
    def confounded(self) -> bool:
        """Whether more than one thing differs, so that no difference can be put down to one of them."""
        return len(self.changes) > 1

    @property
    def variant(self) -> str:
        """The changed settings, as ``encoder=resnet101``."""
        return ", ".join(f"{key.split('.', 1)[1]}={after}" for key, (_, after) in self.changes.items())

    @property
    def kind(self) -> str:
        """``ablation`` or ``hyperparameter`` (the paper's section 2.3), ``contestant`` or ``confounded``."""
        if EVALUATED in self.changes:
            return "contestant"
        return "confounded" if self.confounded else factor_kind(next(iter(self.changes)))


class Scoring(NamedTuple):
    """One evaluation that a run needs: on ``split`` of ``dataset``, or on the split reported there if that is None.

    ``evaluation_hash`` identifies what is counted, and for a cross-evaluation its label map and how the target's masks
    are read; counts with another hash answer another question.
    """

    dataset: str
    split: str | None
    evaluation_hash: str


@dataclass(frozen=True)
class Run:
    """One experiment under one seed."""

    config: Config
    seed: int
    variation: Variation | None
    evaluation_hash: str  # the hash of what is counted on the run's own data
    crosses: tuple[tuple[CrossEvaluation, str | None, str], ...]  # with its split and the hash of what it asks for
    sources: tuple[tuple[str, str], ...] = ()  # hashes of the callables of the user's own that it uses
    shares: str = ""  # the experiment whose training is the same, as only the inference differs

    @property
    def experiment(self) -> str:
        """The experiment's name."""
        return self.config.experiment

    @property
    def name(self) -> str:
        """``experiment/seed42``: how people name the run."""
        return f"{self.experiment}/seed{self.seed}"

    @property
    def fold(self) -> int | None:
        """The fold that it is tested on, if the experiment covers all folds."""
        return fold_of(self.experiment)

    @property
    def over_folds(self) -> Run:
        """The run that stands for all folds of the experiment under this seed; the run itself without folds."""
        if self.fold is None:
            return self
        config, variation = self.config, self.variation
        data = config.data.model_copy(update={"fold": ALL_FOLDS})
        config = replace(config, experiment=whole(config.experiment), dataset=whole(config.dataset), data=data)
        return replace(self, config=config, variation=variation and replace(variation, base=whole(variation.base)))

    @property
    def scored_on(self) -> tuple[Scoring, ...]:
        """Every evaluation of the run, that on its own dataset first."""
        own = Scoring(self.config.dataset, self.config.data.report, self.evaluation_hash)
        return (own, *(Scoring(cross.on, split, wanted) for cross, split, wanted in self.crosses))

    @property
    def datasets(self) -> list[str]:
        """Names of the datasets that the run needs, its own first."""
        target = self.config.recipe.adaptation
        return list(dict.fromkeys([each.dataset for each in self.scored_on] + ([target.data] if target else [])))

    @property
    def values(self) -> dict[str, Any]:
        """Dotted key -> value of all that determines the result but the seed, hashes of the user's own modules included."""
        return {**self.config.values(), **{f"source.{name}": found for name, found in self.sources}}

    @cached_property
    def identity(self) -> str:
        """Hash of all that the study file says about this run's result; where data lie does not count."""
        return self._digest(self.values)

    @property
    def training_identity(self) -> str:
        """The same of the run's training alone: how the trained network predicts does not count."""
        return self._digest({key: value for key, value in self.values.items() if not key.startswith("inference.")})

    def _digest(self, values: Mapping[str, Any]) -> str:
        kept = {key: value for key, value in values.items() if key not in LATER or value != LATER[key]}
        return digest({**kept, "seed": self.seed, "result_version": RESULT_VERSION})


@dataclass(frozen=True)
class Plan:
    """All runs of a study, baselines before what is compared with them, in the file's order.

    ``files`` are the files that the study names, by the path that it gives: where each is, and its hash. ``later``
    are runs that are not due: a study that adds seeds until its comparisons are decided may never need them.
    """

    study: Study
    runs: tuple[Run, ...]
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    later: tuple[Run, ...] = ()

    @property
    def experiments(self) -> list[str]:
        """Names of the experiments in the plan, each once."""
        return list(dict.fromkeys(run.experiment for run in self.runs))

    @property
    def homes(self) -> dict[str, str]:
        """The dataset of each experiment, which a network that is not trained here was not trained on."""
        return {run.experiment: run.config.dataset for run in self.runs}

    def first(self, experiment: str) -> Run:
        """The first run of ``experiment``, which may be one over all folds."""
        return next(run for run in self.runs if experiment in (run.experiment, whole(run.experiment)))

    def select(self, only: Sequence[str] = (), seed: int | None = None) -> Plan:
        """The part of the plan that ``--only`` and ``--seed`` ask for; unknown names are errors."""
        known = list(dict.fromkeys([*map(whole, self.experiments), *self.experiments]))
        for name in only:
            if name not in known:
                raise SpecError(
                    f"no experiment is named '{name}'{nearest(name, known)}; there are {listing(known, 20)}"
                )
        if seed is not None and seed not in self.study.all_seeds:
            raise SpecError(f"--seed {seed}: the study's seeds are {listing(self.study.all_seeds, 20)}")
        named = [r for r in self.runs if not only or {r.experiment, whole(r.experiment)} & set(only)]
        chosen = [r for r in named if seed in (None, r.seed)]
        if not chosen:
            raise SpecError(f"--seed {seed}: is not needed yet; the study adds seeds until its comparisons are decided")
        return replace(self, runs=tuple(chosen))

    @property
    def every_run(self) -> tuple[Run, ...]:
        """The runs and those that are not due, by experiment and seed."""
        names, seeds = list(self.study.experiments), self.study.all_seeds
        both = (*self.runs, *self.later)
        return tuple(sorted(both, key=lambda run: (names.index(whole(run.experiment)), seeds.index(run.seed))))

    @property
    def pooled(self) -> Plan:
        """The plan with one run for each experiment and seed, whatever the number of folds; the plan itself without folds."""
        if all(run.fold is None for run in self.runs):
            return self
        runs = {(whole(run.experiment), run.seed): run.over_folds for run in reversed(self.runs)}
        return replace(self, runs=tuple(reversed(runs.values())))


def make_plan(study: Study, data_root: Path | None = None, store: Store | None = None) -> Plan:
    """Resolve every experiment and compare each variant with its base; the order is the file's.

    Parameters
    ----------
    study
        What is planned.
    data_root
        Where data lie (``--data``): files that the study names are looked for as those who read them do.
    store
        What it notes of those files is taken for those that are not found, as a finished study needs its data no more.

    """
    content_study, files = study_by_content(study, data_root, read_noted(store) if store else {})
    found = read_found(store, content_study) if store else {}
    runs = []
    for name, experiment in content_study.experiments.items():
        config = resolve(content_study, name, found_values(found, content_study, name))
        plain = resolve(content_study, name)
        variation = compare_configs(content_study, experiment.parent, plain) if experiment.parent else None
        crosses = tuple(
            (cross, cross.split or content_study.data[cross.on].report, evaluation_hash(content_study, cross))
            for cross in content_study.cross_evaluations
            if cross.experiment == name
        )
        wanted = evaluation_hash(content_study)
        sources = tuple((each, source_hash(each, study.folder)) for each in config.callables)
        seeds = config.ensemble[:1] or content_study.all_seeds[: 1 if config.evaluate else None]
        runs += [
            Run(one, seed, change, wanted, crosses, sources)
            for one, change in _by_fold(config, variation)
            for seed in seeds
        ]
    return Plan(study, _shared(runs), files)


def _shared(runs: Sequence[Run]) -> tuple[Run, ...]:
    """The runs, each with the first experiment that trains the same network; ensembles after their members."""
    first: dict[str, str] = {}
    found = []
    for run in runs:
        known = first.setdefault(run.training_identity, run.experiment)
        found.append(run if known == run.experiment else replace(run, shares=known))
    return tuple(sorted(found, key=lambda run: bool(run.config.ensemble)))


def _by_fold(config: Config, variation: Variation | None) -> list[tuple[Config, Variation | None]]:
    """One configuration for each fold of ``fold: all``, compared with the same fold of the base; else the one given."""
    if config.data.fold != ALL_FOLDS:
        return [(config, variation)]
    return [
        (
            replace(
                config,
                experiment=in_fold(config.experiment, k),
                dataset=in_fold(config.dataset, k),
                data=config.data.of_fold(k),
            ),
            variation and replace(variation, base=in_fold(variation.base, k)),
        )
        for k in range(config.data.folds or 0)
    ]


def open_plan(
    study: str, out: Path | None = None, settings: Sequence[str] = (), data_root: Path | None = None
) -> tuple[Plan, Store]:
    """The plan of a study file, or of a study that comes with the package, and the store that it is kept in.

    Parameters
    ----------
    study
        Path of a study file, or a name such as ``demo``.
    out
        The output folder; ``./<study name>`` unless given.
    settings
        ``key=value`` strings that replace values of the file.
    data_root
        Where datasets lie (``--data``).

    """
    read = load_study(study, settings)
    store = Store(Path(os.path.realpath(out or read.name)))  # unlike resolve(), it takes a link to itself as it is
    return make_plan(with_accumulate(read, store), data_root, store), store


def with_accumulate(study: Study, store: Store) -> Study:
    """The study with the ``recipe.accumulate`` that was found for this store, unless it gives one itself."""
    path = store.root / ACCUMULATED
    if "accumulate" in study.recipe.model_fields_set or not path.is_file():
        return study
    found = read_json(path)
    if not isinstance(found, int) or isinstance(found, bool) or found < 1:
        raise StoreError(
            f"{path}: holds {found!r:.40}, not a number of parts; delete it, and give recipe.accumulate in the study file as "
            "the run.yaml of a run says it"
        )
    return study.model_copy(update={"recipe": study.recipe.model_copy(update={"accumulate": found})})


def run_of(name: str) -> tuple[str, str, int | None]:
    """Study, experiment and seed, if any, of ``STUDY:EXPERIMENT`` or ``STUDY:EXPERIMENT/seedN``.

    >>> run_of("demo:unet/seed1")
    ('demo', 'unet', 1)
    """
    study, colon, rest = name.rpartition(":")
    experiment, slash, seed = rest.partition("/seed")
    if not colon or not experiment:
        raise SpecError(f"RUN '{name}': write STUDY:EXPERIMENT, such as demo:unet-kvasir")
    if slash and not seed.isdecimal():
        raise SpecError(f"RUN '{name}': 'seed{seed}' is not a seed; write {study}:{experiment}/seed1, say")
    return study, experiment, int(seed) if slash else None


def study_by_content(
    study: Study, data_root: Path | None, noted: Mapping[str, Mapping[str, str]]
) -> tuple[Study, dict[str, dict[str, str]]]:
    """Put hashes in the place of the paths of files that the study names, as what is in them counts, not where they lie.

    These are tables of groups, split files, and networks that are scored without training.

    Who says where data lie is taken at their word; who does not, means the file that was ``noted``, if it is there still. A
    file that cannot be found has the hash that was noted, else it keeps its path: the code that needs it reports it.

    Returns
    -------
    tuple
        The study by content; and for each path, where the file is and its hash.

    """
    files: dict[str, dict[str, str]] = {}

    def hashed(path: str, hash_of: Callable[[Path], str] = file_sha256) -> str:
        known = noted.get(path, {})
        try:
            again = data_root is None and known and Path(known["path"]).exists()
            place = Path(known["path"]) if again else find_path(path, "", data_root, study.folder)
            files[path] = {"path": str(place), "hash": f"sha256:{hash_of(place)[:16]}"}
        except SegstudyError:
            files.update({path: dict(known)} if known else {})
        return files[path]["hash"] if path in files else path

    entries = {}
    for name, data in study.data.items():
        changes: dict[str, Any] = {}
        if isinstance(data.groups, Groups):
            changes["groups"] = data.groups.model_copy(update={"file": hashed(data.groups.file)})
        if data.split_file is not None:
            changes["split_file"] = hashed(data.split_file)
        entries[name] = data.model_copy(update=changes)
    experiments = dict(study.experiments)
    for name, experiment in study.experiments.items():
        if (given := experiment.evaluate) is not None:
            own: dict[str, Any] = {"files": [hashed(path) for path in given.files], "title": given.name}
            own |= {} if given.kind == "python" else {given.kind: hashed(given.given, network_sha256)}
            experiments[name] = experiment.model_copy(update={"evaluate": given.model_copy(update=own)})
    return study.model_copy(update={"data": entries, "experiments": experiments}), files


def read_noted(store: Store) -> dict[str, dict[str, str]]:
    """The notes of :func:`note_files`, by the path in the study; empty if they cannot be read."""
    try:
        noted = read_json(store.root / NOTED)
    except StoreError:
        return {}
    sound = isinstance(noted, dict) and all(
        isinstance(file, dict) and {"path", "hash"} <= set(file) for file in noted.values()
    )
    return noted if sound else {}


def note_files(plan: Plan, store: Store) -> None:
    """Write down which files a plan was made with, for who does not say where they lie, and for when they are gone."""
    if plan.files:
        write_json(store.root / NOTED, dict(plan.files))


def evaluation_hash(study: Study, cross: CrossEvaluation | None = None) -> str:
    """Hash of what an evaluation asks for: what is counted, the label map, the target's reading, not where it lies."""
    question: dict[str, Any] = {"scoring": study.scoring.model_dump(), "counts_version": COUNTS_VERSION}
    question |= {"probabilities": True} if study.keep_probabilities else {}
    if cross is not None:
        data = study.data[cross.on]
        question |= {"map": cross.map, "data": data.determining()}
        if is_callable_name(data.reader):
            question |= {"source": source_hash(data.reader, study.folder)}
    return digest(question)


def compare_configs(study: Study, base: str, config: Config) -> Variation:
    """Everything in which ``config`` differs from its base, from the resolved values, whatever the file says."""
    other = resolve(study, base)
    if config.evaluate != other.evaluate:
        words = [each.evaluate.words if each.evaluate else "trained here" for each in (other, config)]
        return Variation(base, {EVALUATED: (words[0], words[1])})
    before, after = other.values(), config.values()
    return Variation(base, changes(before, after))


def differences(run: Run, record: Mapping[str, Any]) -> str:
    """In which settings a run's ``record`` (``run.yaml``) differs from what the plan says of it, in words."""
    found = changes({**LATER, **record.get("values", {})}, {**LATER, **run.values})
    sources = {key.removeprefix("source."): pair for key, pair in found.items() if key.startswith("source.")}
    changed = [f"the source of {name} was edited" for name, pair in sources.items() if None not in pair]
    changed += [f"{key} was {old}, is {new}" for key, (old, new) in found.items() if not key.startswith("source.")]
    return listing(changed, 4) or "made by another version"


def unequal_budgets(plan: Plan) -> list[str]:
    """Experiments whose training budget differs from the study's recipe, in words.

    The budget is what the paper's section 3.5 keeps identical: optimiser, schedule, loss, epochs and batch size
    (with the same data, the same number of iterations), and every other key of how weights follow from data.
    """
    shared = plan.study.recipe.values()
    lines = []
    for name in plan.experiments:
        own = plan.first(name).config.recipe.values()
        keys = [key.split(".")[1] for key in BUDGET] + ["optimizer"]
        differing = [f"{key} {own[key]} (study: {shared[key]})" for key in keys if own[key] != shared[key]]
        if differing:
            lines.append(f"{name}: {', '.join(differing)}")
    return lines
