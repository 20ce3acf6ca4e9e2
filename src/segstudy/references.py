"""Rules of a study file beyond the types of its keys: names that exist, single changes, new values."""

from __future__ import annotations

from pydantic import ValidationError

from segstudy.counts.counting import measures_of
from segstudy.document import Keys, Problems
from segstudy.errors import SpecError, listing, nearest, repeated
from segstudy.explanations import explain
from segstudy.folds import ALL_FOLDS, fold_problems
from segstudy.study import Experiment, Study, base_chain, can_change, changeable, changes, resolve, trained_on


def check_references(study: Study, problems: Problems) -> None:
    """Report names that do not exist, incomplete experiments, second changes and repeated seeds."""
    for name, experiment in study.experiments.items():
        check_experiment(study, name, experiment, problems)
        check_target(study, name, problems)
    known = [each.key for each in measures_of(study.scoring) if "dataset" in each.levels]
    if study.primary not in known:
        hint = nearest(study.primary.lower(), known)
        problems.add(
            ("primary",), f"no measure of the whole set is named '{study.primary}'{hint}; known: {listing(known, 40)}"
        )
    check_folds(study, problems)
    check_classes(study, problems)
    if len(set(study.all_seeds)) < len(study.all_seeds):
        problems.add(("seeds",), f"a seed is repeated: {study.seeds}")
    check_search(study, problems)
    seen: set[tuple[str, str]] = set()
    for index, cross in enumerate(study.cross_evaluations):
        at: Keys = ("cross_evaluations", index)
        if cross.experiment not in study.experiments:
            hint = nearest(cross.experiment, study.experiments)
            problems.add((*at, "experiment"), f"no experiment is named '{cross.experiment}'{hint}")
        if cross.on not in study.data:
            problems.add((*at, "on"), f"no dataset is named '{cross.on}'{nearest(cross.on, study.data)}")
        if (key := (cross.experiment, cross.on)) in seen:
            problems.add(at, f"'{cross.experiment}' is scored on '{cross.on}' twice; name each dataset once")
        seen.add(key)
        if cross.experiment in study.experiments and cross.on == trained_on(study, cross.experiment):
            problems.add((*at, "on"), f"'{cross.experiment}' is trained on '{cross.on}'; name another dataset")


def check_classes(study: Study, problems: Problems) -> None:
    """Report two classes of one name, which no table and no map could tell apart."""
    for name, data in study.data.items():
        classes = getattr(data, "classes", None)
        if isinstance(classes, list) and (twice := repeated(classes)):
            text = f"{len(classes)} given, {listing(twice)} more than once; give each class a name of its own"
            problems.add(("data", name, "classes"), text)


def check_folds(study: Study, problems: Problems) -> None:
    """Report ``fold: all`` where it has no meaning."""
    crosses = [cross for cross in study.cross_evaluations if cross.experiment in study.experiments]
    sources = [trained_on(study, cross.experiment) for cross in crosses]
    for keys, text in fold_problems(study.data, sources, [cross.on for cross in crosses], study.until is not None):
        problems.add(keys, text)
    folded = [name for name, data in study.data.items() if data.fold == ALL_FOLDS]
    if folded and study.search is not None:
        problems.add(("search",), f"cannot be combined with fold: all (data.{folded[0]}); search on one fold")
    for name, experiment in study.experiments.items():
        if experiment.ensemble_of in study.experiments and trained_on(study, experiment.ensemble_of) in folded:
            problems.add(
                ("experiments", name, "ensemble_of"), "cannot average networks of fold: all; use an entry of one fold"
            )


def check_experiment(study: Study, name: str, experiment: Experiment, problems: Problems) -> None:
    """Check that an experiment is a complete baseline, or an existing base plus one valid change."""
    at: Keys = ("experiments", name)
    if experiment.ensemble_of is not None:
        check_ensemble(study, name, experiment, problems)
        return
    if experiment.evaluate is not None:
        check_contestant(name, experiment, problems)
    elif experiment.base is None:
        missing = [key for key in ("data", "model") if getattr(experiment, key) is None]
        if missing:
            problems.add(at, f"needs {' and '.join(missing)}, or base and change")
        if experiment.change is not None:
            problems.add((*at, "change"), "needs a base to change")
    if experiment.base is None:
        if experiment.data is not None and experiment.data not in study.data:
            problems.add(
                (*at, "data"), f"no dataset is named '{experiment.data}'{nearest(experiment.data, study.data)}"
            )
        return
    if experiment.evaluate is None and (experiment.data is not None or experiment.model is not None):
        problems.add(at, "has a base, which gives data and model; put what differs under change")
    if experiment.base not in study.experiments:
        problems.add(
            (*at, "base"), f"no experiment is named '{experiment.base}'{nearest(experiment.base, study.experiments)}"
        )
    elif name in (chain := base_chain(study, name)):
        problems.add((*at, "base"), f"leads back to itself: {' -> '.join([name, *chain])}")
    elif experiment.evaluate is None:
        check_change(study, name, experiment, problems)


def check_search(study: Study, problems: Problems) -> None:
    """Check that a search changes keys of the recipe that no experiment changes, with valid values."""
    if study.search and study.protocol == "paper":
        problems.add(("search",), "would be tuned to the reported split under protocol: paper; set protocol: held-out")
    for key, space in (study.search.space if study.search else {}).items():
        at: Keys = ("search", "space", key)
        allowed = [each for each in changeable() if each.startswith("recipe.")]
        if key not in allowed:
            problems.add(at, f"cannot be searched{nearest(key, allowed)}; keys: {listing(allowed, 40)}")
            continue
        if changed := [name for name, each in study.experiments.items() if key in (each.change or {})]:
            problems.add(at, f"is what {listing(changed)} changes; a factor cannot be searched")
        for value in space if isinstance(space, list) else (space.low, space.high):
            try:
                resolve(study, next(iter(study.experiments)), {key: value})
            except ValidationError as error:
                words = [explain(dict(each), each["loc"], {}, Study, study.folder) for each in error.errors()]
                problems.add(at, f"{value!r}: {words[0]}")
            except (SpecError, KeyError, AssertionError):
                return  # reported where it is wrong


def check_target(study: Study, name: str, problems: Problems) -> None:
    """Check that the dataset that training adapts to exists, and is not the one that it trains on."""
    try:
        config = resolve(study, name)
    except (ValidationError, SpecError, KeyError, AssertionError):
        return  # reported where it is wrong
    at: Keys = ("experiments", name, "recipe.adaptation")
    part = config.recipe.adaptation
    if part is None:
        return
    if part.data not in study.data:
        problems.add((*at, "data"), f"no dataset is named '{part.data}'{nearest(part.data, study.data)}")
    elif part.data == config.dataset:
        problems.add((*at, "data"), f"'{name}' is trained on '{part.data}'; name the dataset to adapt to")
    if config.recipe.crop_px is not None:
        problems.add(at, "works on resized images only; remove recipe.crop_px")


def check_contestant(name: str, experiment: Experiment, problems: Problems) -> None:
    """Check that a network that is scored without training names data or a base, and nothing that belongs to training."""
    given = experiment.model_fields_set - {"evaluate"}
    if given not in ({"data"}, {"base"}):
        problems.add(
            ("experiments", name),
            "a network that is evaluated without training needs data, or the base that it is compared with, and nothing else "
            f"(given: {listing(sorted(given)) or 'neither'})",
        )


def check_ensemble(study: Study, name: str, experiment: Experiment, problems: Problems) -> None:
    """Check that an ensemble names an experiment with several seeds, and nothing else."""
    at: Keys = ("experiments", name)
    if experiment.model_fields_set != {"ensemble_of"}:
        others = sorted(experiment.model_fields_set - {"ensemble_of"})
        problems.add(at, f"takes everything from ensemble_of; remove {listing(others)}")
    of = str(experiment.ensemble_of)
    if of not in study.experiments:
        problems.add((*at, "ensemble_of"), f"no experiment is named '{of}'{nearest(of, study.experiments)}")
        return
    chain = base_chain(study, name)
    if name in chain:
        problems.add((*at, "ensemble_of"), f"leads back to itself: {' -> '.join([name, *chain])}")
    elif any(study.experiments[each].ensemble_of for each in chain if each in study.experiments):
        problems.add((*at, "ensemble_of"), f"'{of}' is an ensemble already")
    if study.until is not None or len(study.all_seeds) < 2:
        problems.add((*at, "ensemble_of"), "needs a list of two or more seeds, such as seeds: [1, 2, 3]")


def check_change(study: Study, name: str, experiment: Experiment, problems: Problems) -> None:
    """Check that the change exists, is single unless declared, and has known keys and values that are valid and new."""
    at: Keys = ("experiments", name, "change")
    if not experiment.change:
        problems.add(
            at[:-1], "has a base but no change; add what differs, for example change: {model.encoder: resnet101}"
        )
        return
    chain = base_chain(study, name)
    if any(base not in study.experiments for base in chain) or chain[-1] in chain[:-1]:
        return  # reported at the broken base
    base = study.experiments[chain[-1]]
    if (base.model is None and base.evaluate is None) or base.data not in study.data:
        return
    allowed = changeable()
    fixed = any(study.experiments[each].ensemble_of or study.experiments[each].evaluate for each in chain)
    if fixed:  # networks that are trained already
        allowed = tuple(key for key in allowed if key.startswith("inference."))
    if unknown := [key for key in experiment.change if key not in allowed and (fixed or not can_change(key))]:
        for key in unknown:
            problems.add((*at, key), f"cannot be changed{nearest(key, allowed)}; keys: {listing(allowed, 30)}")
        return
    try:
        before = resolve(study, experiment.base or "").values()
    except (ValidationError, SpecError):
        return  # reported at the base
    try:
        after = resolve(study, name).values()
    except ValidationError as error:
        for detail in error.errors():
            problems.add(
                (*at, ".".join(map(str, detail["loc"]))), explain(dict(detail), detail["loc"], {}, Study, study.folder)
            )
        return
    if "recipe.input_size" in experiment.change and after["recipe.crop_px"] is not None:
        problems.add((*at, "recipe.input_size"), "has no effect while recipe.crop_px is set; remove it")
        return
    changed = list(changes(before, after))
    if not changed:
        problems.add(at, f"changes nothing: {listing(experiment.change)} already has this value in '{experiment.base}'")
    if len(changed) > 1 and not experiment.confounded:
        problems.add(
            at,
            f"changes {len(changed)} things ({listing(changed)}), so a difference could not be attributed to one of them; "
            "change one, or declare it with confounded: true",
        )
