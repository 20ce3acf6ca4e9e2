"""The study file as frozen, typed data; all problems are reported at once, with line and key."""

from __future__ import annotations

import contextlib
import functools
import os
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, PositiveFloat, ValidationError

from segstudy.counts.counting import measures_of
from segstudy.document import Keys, Problems, parse_yaml
from segstudy.doors import is_callable_name
from segstudy.errors import DataError, SpecError, listing, nearest
from segstudy.folds import fold_of, fold_problems, whole
from segstudy.named import Frozen, Tabled
from segstudy.schema import Data, Entry, Model, Optimizer, Recipe, ScoringRules, Seeds, SeedsUntil

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
Protocol = Literal["held-out", "paper"]

DATA_VARIABLE = "SEGSTUDY_DATA"

# Section 2.3 of the paper: an ablation changes the architecture or a core component, a hyper-parameter a setting.
ABLATIONS = ("model.arch", "model.encoder", "model.weights")

# pydantic error types whose own messages mention Python types
WORDS = {
    "string_type": "must be text; a number or date in quotes is text",
    "dict_type": "must hold keys and values",
    "model_type": "must hold keys and values",
    "list_type": "must be a list, as in [1, 2]",
    "bool_type": "must be true or false",
}


class Choices(Frozen):
    """What an experiment may change."""

    model: Model
    recipe: Recipe


class Experiment(Frozen):
    """A baseline (``data`` and ``model``), or ``base`` plus the one thing it changes."""

    data: str | None = None
    model: Model | None = None
    base: str | None = None
    change: dict[str, Any] | None = None
    confounded: bool = False


class CrossEvaluation(Frozen):
    """A trained experiment scored on another dataset; ``map`` maps its classes to classes of that dataset."""

    experiment: str
    on: str
    map: dict[str, str] = Field({})
    split: str | None = None


class Study(Frozen):
    """One study file. ``source`` names it; ``folder`` contains it and is empty for a study of the package."""

    name: Name
    title: str = ""
    question: str = ""  # what the study asks, in its author's words; stands at the top of the report
    protocol: Protocol = "held-out"
    data: dict[Name, Entry] = Field(min_length=1)
    recipe: Recipe = Recipe()
    experiments: dict[Name, Experiment] = Field(min_length=1)
    cross_evaluations: list[CrossEvaluation] = Field([])
    scoring: ScoringRules = ScoringRules()
    primary: str = "miou"  # the measure of the whole set that verdicts are about; all others are exploratory
    margin: PositiveFloat | None = None  # the largest difference that does not matter, in the unit of `primary`
    seeds: Seeds = Field([42])
    source: str = Field("", exclude=True, alias="<source>")  # not keys of the file
    folder: str = Field("", exclude=True, alias="<folder>")

    @property
    def until(self) -> SeedsUntil | None:
        """How seeds are added, if the study adds them until its comparisons are decided."""
        return self.seeds if isinstance(self.seeds, SeedsUntil) else None

    def entry(self, name: str) -> Data:
        """The ``data`` entry of a dataset, or of one of its folds; ``fold: all`` reads the first fold by default."""
        return self.data[whole(name)].of_fold(fold_of(name))

    @property
    def all_seeds(self) -> list[int]:
        """Every seed that the study may use, in the order of use."""
        return list(range(1, self.seeds.at_most + 1)) if isinstance(self.seeds, SeedsUntil) else self.seeds


@dataclass(frozen=True)
class Config:
    """An experiment with its base and change resolved: everything that determines its result except the seed.

    ``folder`` contains the study file. In a plan, ``data`` names files by their contents;
    see :func:`segstudy.plan.study_by_content`.
    """

    experiment: str
    dataset: str
    data: Data
    model: Model
    recipe: Recipe
    protocol: Protocol
    folder: str = ""

    @property
    def resolution(self) -> Literal["input", "native"]:
        """Where scores are taken: the network's input size under ``paper``, each image's own size otherwise.

        Networks trained on crops predict whole images at their own size, so both are the same for them.
        """
        return "input" if self.protocol == "paper" and self.recipe.resized_px else "native"

    @property
    def callables(self) -> list[str]:
        """Names of the user's own callables, ``package.module:name``, that the result depends on."""
        named = [self.data.reader, self.model.arch, *self.recipe.callables]
        return [name for name in dict.fromkeys(named) if is_callable_name(name)]

    def values(self) -> dict[str, Any]:
        """Dotted key -> value of everything that can differ between experiments, without the location of the data."""
        tree = {"model": self.model.model_dump(), "recipe": self.recipe.values(), "protocol": self.protocol}
        tree["data"] = {"name": self.dataset, **self.data.determining()}
        return flatten(tree)


def flatten(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted keys; lists stay values.

    >>> flatten({"a": {"b": 1}, "c": [2]})
    {'a.b': 1, 'c': [2]}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + str(key)] = value
    return flat


def packaged_studies() -> dict[str, Path]:
    """Studies that come with the package, by name."""
    folder = Path(str(resources.files("segstudy") / "studies"))
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))}


def load_study(study: str | os.PathLike[str], settings: Iterable[str] = ()) -> Study:
    """Read a study file, or a study that comes with the package by its name.

    Parameters
    ----------
    study
        Path of a YAML file, or a name such as ``review`` or ``demo``.
    settings
        ``key=value`` strings that replace values of the file, checked like the file: ``recipe.epochs=10``.

    Raises
    ------
    SpecError
        With every problem, its line and key.

    """
    packaged = packaged_studies()
    path = packaged.get(str(study), Path(study))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, NotADirectoryError):
        hint = nearest(str(study), packaged)
        raise SpecError(
            f"{study}: no such file, and segstudy has no study of that name ({listing(packaged)}){hint}"
        ) from None
    except IsADirectoryError:
        hint = f"; this one's is {study}/study.yaml" if (path / "study.yaml").is_file() else ""
        raise SpecError(f"{study}: is a folder; give a study file{hint}") from None
    except (OSError, ValueError) as error:
        raise SpecError(f"{study}: cannot be read as UTF-8 text ({error})") from None
    folder = "" if str(study) in packaged else str(path.resolve().parent)
    return parse_study(text, source=path.name if folder == "" else str(study), folder=folder, settings=settings)


def parse_study(text: str, source: str = "study", folder: str = "", settings: Iterable[str] = ()) -> Study:
    """Check the YAML ``text`` of a study; raises :class:`SpecError` with every problem in it."""
    problems = Problems(source)
    tree = parse_yaml(text, (), problems)
    problems.stop()
    if not isinstance(tree, dict):
        raise SpecError(f"{source}: a study is a mapping of keys to values (name, data, recipe, experiments ...)")
    for setting in settings:
        apply_setting(tree, setting, problems)
    problems.stop()
    try:
        study = Study.model_validate({**tree, "<source>": source, "<folder>": folder}, context={"folder": folder})
    except ValidationError as error:
        for detail in error.errors():
            path = tuple(part for part in detail["loc"] if part not in ("[key]", "<named>", "<spelled>"))
            problems.add(path, explain(dict(detail), path, tree, folder))
    else:
        check_references(study, problems)
    problems.stop()
    return study


def find_path(given: str, what: str, data_root: Path | None, study_folder: str) -> Path:
    """Find a file or folder that a study names.

    An absolute path is taken as it is. A relative one is looked for in ``data_root`` (``--data``), in the folder
    of the environment variable ``SEGSTUDY_DATA``, next to the study file, and in the current folder.

    Raises
    ------
    DataError
        With every place that was searched.

    """
    path = Path(given)
    with contextlib.suppress(RuntimeError):  # "~name" of an unknown user
        path = path.expanduser()
    roots = [data_root, os.environ.get(DATA_VARIABLE), study_folder, Path.cwd()]
    places = [path] if path.is_absolute() else list(dict.fromkeys(Path(root) / path for root in roots if root))
    for place in places:
        with contextlib.suppress(OSError):  # a name that no file can have
            if place.exists():
                return place.resolve()
    looked = "\n".join(f"  {place}" for place in places)
    raise DataError(
        f"{what}: '{given}' was not found; searched\n{looked}\n"
        f"Set the folder of the datasets with --data DIR or the environment variable {DATA_VARIABLE}, or correct the path."
    )


def apply_setting(tree: dict[str, Any], setting: str, problems: Problems) -> None:
    """Apply one ``key=value`` to ``tree``; the value is read as YAML. The part after ``change.`` is one key."""
    key, equals, text = setting.partition("=")
    head, change, factor = key.partition(".change.")
    parts = [*head.split("."), "change", factor] if change else key.split(".")
    if not equals or not all(parts):
        problems.found.append(f"--set {setting}: write it as key=value, for example recipe.epochs=10")
        return
    target = tree
    for part in parts[:-1]:
        if not isinstance(target.setdefault(part, {}), dict):
            problems.found.append(f"--set {setting}: '{part}' holds a value, not keys")
            return
        target = target[part]
    path = tuple(parts)
    problems.places = {at: place for at, place in problems.places.items() if at[: len(path)] != path}
    problems.places[path] = f"--set {setting}"
    target[parts[-1]] = parse_yaml(text, path, problems, f"--set {setting}")


def explain(detail: Mapping[str, Any], path: Keys, tree: Any, folder: str = "") -> str:
    """One pydantic error in plain words, with the nearest valid name for an invalid one.

    ``tree`` is the study as plain data, ``folder`` contains its file.
    """
    kind, given = detail["type"], detail["input"]
    if kind == "extra_forbidden":
        allowed = fields_at(path[:-1], tree, folder)
        return f"unknown key{nearest(str(path[-1]), allowed)}; known here: {listing(allowed, 20)}"
    if kind == "missing":
        return "is required"
    if kind == "literal_error":
        expected = detail["ctx"]["expected"]
        return f"is '{given}', must be {expected}{nearest(str(given), expected.split(chr(39))[1::2])}"
    if kind == "string_pattern_mismatch":
        return f"the name '{given}' may hold only letters, digits, '.', '_' and '-', and starts with a letter or digit"
    if kind == "too_short" and not given:
        return "must not be empty"
    if kind in ("too_short", "too_long") and isinstance(given, list):
        bound = "at least" if kind == "too_short" else "at most"
        limit = detail["ctx"]["min_length" if kind == "too_short" else "max_length"]
        return f"must hold {bound} {limit} values (given: {given})"
    if kind == "entry":
        return str(detail["msg"])
    if kind == "value_error":
        return str(detail["ctx"]["error"])
    whole = {type(None): "nothing", list: "a list", dict: "keys and values"}
    words = WORDS.get(kind) or str(detail["msg"]).replace("Input should", "should")
    return f"{words} (given: {whole.get(type(given)) or repr(given)})"


def fields_at(path: Keys, tree: Any, folder: str) -> list[str]:
    """Keys allowed in the mapping at ``path`` of ``tree``; see :func:`explain`."""
    hint: Any = Study
    for part in path:  # a model's field, or an entry of a mapping or list
        entries = typing.get_args(hint)
        tree = _inside(tree, part)
        hint = _model_in(entries[-1] if entries else hint.model_fields[part].annotation, tree)
    if issubclass(hint, Tabled):
        tree = tree if isinstance(tree, dict) else {}
        required = [name for name, field in hint.model_fields.items() if field.is_required()]
        with contextlib.suppress(SpecError):
            hint = hint.with_options(str(tree.get(hint.by, hint.model_fields[hint.by].default)), folder)
        return list(dict.fromkeys([*required, *(hint.option_names if required else ()), *hint.model_fields]))
    return [name for name in hint.model_fields if name not in ("source", "folder")]


def _inside(tree: Any, part: str | int) -> Any:
    if isinstance(tree, list):
        return tree[part] if isinstance(part, int) and part < len(tree) else None
    return tree.get(part) if isinstance(tree, dict) else None


def _model_in(hint: Any, value: Any) -> Any:
    """The part of a type that has fields: an annotated type, the model of a union; of two models, the one ``value`` fits."""
    if typing.get_origin(hint) is Annotated:
        return _model_in(typing.get_args(hint)[0], value)
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        inner = [_model_in(arg, value) for arg in typing.get_args(hint) if arg is not type(None)]
        models = [arg for arg in inner if isinstance(arg, type) and issubclass(arg, BaseModel)]
        named = isinstance(value, dict) and "name" in value
        return next(iter(sorted(models, key=lambda model: issubclass(model, Tabled) != named)), inner[0])
    return hint


def check_references(study: Study, problems: Problems) -> None:
    """Report names that do not exist, incomplete experiments, second changes and repeated seeds."""
    for name, experiment in study.experiments.items():
        check_experiment(study, name, experiment, problems)
    known = [each.key for each in measures_of(study.scoring) if "dataset" in each.levels]
    if study.primary not in known:
        hint = nearest(study.primary.lower(), known)
        problems.add(
            ("primary",), f"no measure of the whole set is named '{study.primary}'{hint}; known: {listing(known, 40)}"
        )
    known_crosses = [cross for cross in study.cross_evaluations if cross.experiment in study.experiments]
    sources = [trained_on(study, cross.experiment) for cross in known_crosses]
    for keys, text in fold_problems(
        study.data, sources, [cross.on for cross in known_crosses], study.until is not None
    ):
        problems.add(keys, text)
    if len(set(study.all_seeds)) < len(study.all_seeds):
        problems.add(("seeds",), f"a seed is repeated: {study.seeds}")
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


def check_experiment(study: Study, name: str, experiment: Experiment, problems: Problems) -> None:
    """Check that an experiment is a complete baseline, or an existing base plus one valid change."""
    at: Keys = ("experiments", name)
    if experiment.base is None:
        missing = [key for key in ("data", "model") if getattr(experiment, key) is None]
        if missing:
            problems.add(at, f"needs {' and '.join(missing)}, or base and change")
        if experiment.change is not None:
            problems.add((*at, "change"), "needs a base to change")
        if experiment.data is not None and experiment.data not in study.data:
            problems.add(
                (*at, "data"), f"no dataset is named '{experiment.data}'{nearest(experiment.data, study.data)}"
            )
        return
    if experiment.data is not None or experiment.model is not None:
        problems.add(at, "has a base, which gives data and model; put what differs under change")
    if experiment.base not in study.experiments:
        problems.add(
            (*at, "base"), f"no experiment is named '{experiment.base}'{nearest(experiment.base, study.experiments)}"
        )
    elif name in (chain := base_chain(study, name)):
        problems.add((*at, "base"), f"leads back to itself: {' -> '.join([name, *chain])}")
    else:
        check_change(study, name, experiment, problems)


def trained_on(study: Study, name: str) -> str | None:
    """The dataset of experiment ``name``, from its baseline; None if the chain of bases is broken."""
    chain = [name, *base_chain(study, name)]
    return study.experiments[chain[-1]].data if chain[-1] in study.experiments else None


def base_chain(study: Study, name: str) -> list[str]:
    """Names from the base of ``name`` upwards, up to a baseline, an unknown name, or the first repeat."""
    chain: list[str] = []
    current = study.experiments[name].base
    while current is not None:
        chain.append(current)
        if current == name or chain.count(current) > 1 or current not in study.experiments:
            break
        current = study.experiments[current].base
    return chain


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
    if base.model is None or base.data not in study.data:
        return
    allowed = changeable()
    if unknown := [key for key in experiment.change if key not in allowed]:
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
                (*at, ".".join(map(str, detail["loc"]))), explain(dict(detail), detail["loc"], {}, study.folder)
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


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (before, after) of everything that differs; an option that only one side has is None on the other."""
    pairs = {key: (before.get(key), after.get(key)) for key in dict.fromkeys([*after, *before])}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new}


@functools.cache
def changeable() -> tuple[str, ...]:
    """Dotted keys that an experiment may change."""
    return tuple(flatten(Choices(model=Model(arch="unet"), recipe=Recipe()).model_dump()))


def resolve(study: Study, name: str) -> Config:
    """Resolve base and change of experiment ``name``; raises pydantic's error for invalid values."""
    lineage = [name, *base_chain(study, name)]
    root = study.experiments[lineage[-1]]
    assert root.data is not None and root.model is not None
    trees: dict[str, Any] = {"model": root.model.model_dump(), "recipe": study.recipe.model_dump()}
    for each in reversed(lineage):
        for key, value in (study.experiments[each].change or {}).items():
            if key not in changeable():
                raise SpecError(f"experiments.{each}.change: '{key}' cannot be changed")
            if key == "recipe.optimizer.name":  # options of one optimiser have no meaning for another
                kept = trees["recipe"]["optimizer"]
                trees["recipe"]["optimizer"] = {k: v for k, v in kept.items() if k in Optimizer.model_fields}
            *parents, last = key.split(".")
            target = trees
            for part in parents:
                target = target[part]
            target[last] = value
    chosen = Choices.model_validate(trees, context={"folder": study.folder})
    return Config(name, root.data, study.data[root.data], chosen.model, chosen.recipe, study.protocol, study.folder)


def factor_kind(key: str) -> Literal["ablation", "hyperparameter"]:
    """The paper's term for a change of ``key``.

    >>> factor_kind("model.encoder"), factor_kind("model.output_stride")
    ('ablation', 'hyperparameter')
    """
    return "ablation" if key in ABLATIONS else "hyperparameter"
