"""Search the recipe of each experiment: trials on the split that chooses the epoch, blind to the reported one.

Every trial is on disk when it ends, and the next values follow from those before it, so a search that was interrupted goes
on with the same numbers.
"""

from __future__ import annotations

import contextlib
import importlib
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from segstudy.errors import DataError, SegstudyError, SpecError, StoreError
from segstudy.files import digest, read_json, write_json
from segstudy.launch.workshop import Workshop
from segstudy.networks.build import build_network
from segstudy.plan import Plan, make_plan, read_noted, study_by_content
from segstudy.progress import Progress
from segstudy.store import HeldError, RunFolder
from segstudy.study import Config, Study, resolve
from segstudy.train import loop as training
from segstudy.train.team import make_fabric
from segstudy.trials import Search
from segstudy.tuning import Found, Trial, arm_of, arms_of, read_found, search_folder

POLL_S = 2.0  # between two looks at searches that other processes hold
REDRAWS = 50  # of values that were tried before


def search_recipes(workshop: Workshop, plan: Plan, only: Sequence[str] = ()) -> Plan:
    """Search whatever the chosen experiments need and has not been searched; returns the plan with the values found.

    Raises
    ------
    SpecError
        When Optuna is not installed.
    SegstudyError
        When no trial of an experiment could be trained, or the data changed since its search.

    """
    if workshop.study.search is None:
        return plan
    study, _ = study_by_content(workshop.study, workshop.data_root, read_noted(workshop.store))
    names = [run.experiment for run in plan.select(only).runs]
    arms = [arm for arm in arms_of(study) if arm in {arm_of(study, name) for name in names}]
    while left := [arm for arm in arms if arm not in read_found(workshop.store, study)]:
        import_optuna()
        workshop.store.prepare(workshop.study.model_dump(mode="json", exclude_unset=True))
        free = 0
        for arm in left:
            with contextlib.suppress(HeldError):
                _search_arm(workshop, study, arm)
                free += 1
        if not free:
            time.sleep(POLL_S)
    for arm in arms:
        _check_data(workshop, study, arm)
    return make_plan(workshop.study, workshop.data_root, workshop.store)


def import_optuna() -> Any:
    """Optuna, which proposes values; :class:`SpecError` where it is not installed."""
    try:
        return importlib.import_module("optuna")
    except ImportError:
        raise SpecError('search needs the package Optuna; install it with: pip install "segstudy[search]"') from None


def _splits(workshop: Workshop, config: Config) -> dict[str, str]:
    """The splits that a search sees, by role."""
    _, roles = workshop.dataset(config.dataset)
    return {"train": roles.train, "select": roles.select}


def _fingerprints(workshop: Workshop, config: Config) -> dict[str, str]:
    """Hashes of what a search rests on: the files of its splits, and how masks become classes."""
    files = {role: workshop.fingerprint(config.dataset, split) for role, split in _splits(workshop, config).items()}
    return {**files, "reading": workshop.reading(config.dataset)}


def _check_data(workshop: Workshop, study: Study, arm: str) -> None:
    found, path = read_found(workshop.store, study)[arm], search_folder(workshop.store, study, arm)
    try:
        now = _fingerprints(workshop, resolve(study, arm))
    except SegstudyError:
        return  # a finished study needs its data no more
    if found.data_fingerprints != {role: now[role] for role in found.data_fingerprints}:
        raise StoreError(
            f"{path}: the data changed since this search; restore what was, or delete the folder to search again"
        )


def _search_arm(workshop: Workshop, study: Study, arm: str) -> None:
    """All trials of one experiment, from wherever they stand."""
    search, path = study.search, search_folder(workshop.store, study, arm)
    assert search is not None
    config = resolve(study, arm)
    with RunFolder(path).lock():
        if (path / "found.json").is_file():
            return
        trials: list[Trial] = []
        while len(trials) < search.trials:
            values = _values_of(config, search) if not trials else propose(search, trials)
            if values is None:
                break  # everything was tried
            number = len(trials) + 1
            workshop.progress.prefix = f"{workshop.study.name} search of {arm}, trial {number}/{search.trials}  "
            trials.append(_trial(workshop, study, arm, values, path / f"trial{number:03d}"))
            score = trials[-1].score
            words = "training failed" if score is None else f"mIoU {score:.4f}"
            said = ", ".join(f"{key.removeprefix('recipe.')} {value}" for key, value in values.items())
            workshop.progress.say(f"search of {arm}: trial {number}/{search.trials}  {words}  ({said})")
        workshop.progress.prefix = ""
        best = max((trial for trial in trials if trial.score is not None), key=_score, default=None)
        if best is None:
            raise SegstudyError(
                f"{path}: no trial of {arm} could be trained; correct search.space, and delete this folder"
            )
        split = _splits(workshop, config)["select"]
        prints = _fingerprints(workshop, config)
        found = Found(arm=arm, trials=tuple(trials), best=best.values, split=split, data_fingerprints=prints)
        write_json(path / "found.json", found.model_dump(mode="json"))


def _score(trial: Trial) -> float:
    return -1.0 if trial.score is None else trial.score


def _values_of(config: Config, search: Search) -> dict[str, Any]:
    """The study's own values of what is searched: the first trial of every experiment."""
    tree: Any = {"recipe": config.recipe.model_dump()}
    found = {}
    for key in search.space:
        value = tree
        for part in key.split("."):
            value = value[part]
        found[key] = value
    return found


def propose(search: Search, trials: Sequence[Trial]) -> dict[str, Any] | None:
    """The next values to try, by Optuna's tree-structured Parzen estimator (Bergstra et al., NeurIPS 2011).

    They follow from the search's seed and the trials before alone. None when all values were tried.
    """
    optuna = import_optuna()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    kinds = {key: _distribution(optuna, space) for key, space in search.space.items()}
    tried = [trial.values for trial in trials]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for redraw in range(REDRAWS):
            seed = (search.seed * 1_000_003 + len(trials) * REDRAWS + redraw) % 2**32
            sampler = optuna.samplers.TPESampler(seed=seed)
            memory = optuna.create_study(direction="maximize", sampler=sampler)
            for trial in trials:
                if trial.score is not None and (known := _encoded(search, trial.values)) is not None:
                    memory.add_trial(optuna.trial.create_trial(params=known, distributions=kinds, value=trial.score))
            drawn = memory.ask(kinds).params
            values = {
                key: space[drawn[key]] if isinstance(space := search.space[key], list) else drawn[key] for key in kinds
            }
            if values not in tried:
                return values
    return None


def _distribution(optuna: Any, space: Any) -> Any:
    if isinstance(space, list):
        return optuna.distributions.CategoricalDistribution(list(range(len(space))))
    whole = isinstance(space.low, int) and isinstance(space.high, int)
    kind = optuna.distributions.IntDistribution if whole else optuna.distributions.FloatDistribution
    return kind(space.low, space.high, log=space.log)


def _encoded(search: Search, values: dict[str, Any]) -> dict[str, Any] | None:
    """Values as Optuna knows them; None if one is outside the space, as the study's own may."""
    found: dict[str, Any] = {}
    for key, space in search.space.items():
        value = values[key]
        if isinstance(space, list):
            if value not in space:
                return None
            found[key] = space.index(value)
        elif not isinstance(value, int | float) or not space.low <= value <= space.high:
            return None
        else:
            found[key] = value
    return found


def _trial(workshop: Workshop, study: Study, arm: str, values: dict[str, Any], path: Path) -> Trial:
    """One training with ``values``, or its result from before; only numbers are kept.

    What fails for other reasons than its values, such as a full disk, is no result: the search stops there and goes on later.
    """
    data = digest(_fingerprints(workshop, resolve(study, arm)))
    note = path / "trial.json"
    if note.is_file():
        with contextlib.suppress(ValueError, StoreError):
            known = Trial.parse(read_json(note))
            if known.values == values and known.data in ("", data):
                return known
    assert study.search is not None
    path.mkdir(parents=True, exist_ok=True)
    folder, seed = RunFolder(path), study.search.seed
    score = None
    try:
        workshop.rebuilding(lambda: _train(workshop, resolve(study, arm, values), folder, seed))
        score = max(record["select_miou"] for record in folder.read_metrics())
    except (StoreError, DataError):
        raise
    except (SegstudyError, ValueError, RuntimeError, MemoryError) as error:
        workshop.progress.say(f"  failed: {error}")
    trial = Trial(values=values, score=score, data=data)
    write_json(note, trial.model_dump(mode="json"))
    for weights in (*path.glob("*.safetensors"), *path.glob("*.ckpt")):
        weights.unlink(missing_ok=True)
    return trial


def _train(workshop: Workshop, config: Config, folder: RunFolder, seed: int) -> None:
    recipe, splits = config.recipe, _splits(workshop, config)
    fabric = make_fabric(recipe)
    classes = workshop.dataset(config.dataset)[0].classes
    network = build_network(config.model, len(classes), seed, workshop.weights_file(config.model), config.folder)
    fit, select = (workshop.cached(config.dataset, split, recipe.resized_px) for split in splits.values())
    target = workshop.target(recipe)
    origin = digest({"values": config.values(), "seed": seed, "data": _fingerprints(workshop, config)})
    progress: Progress = workshop.progress
    training.train(
        network,
        fit,
        select,
        select,
        recipe,
        seed,
        folder,
        fabric,
        progress,
        workshop.stop,
        origin,
        config.folder,
        target,
    )
