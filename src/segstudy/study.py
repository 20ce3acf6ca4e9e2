"""A study as frozen, typed data: its experiments, and what each one comes to once base and change are resolved."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveFloat

from segstudy.contestant import Contestant
from segstudy.doors import is_callable_name
from segstudy.errors import SpecError
from segstudy.folds import fold_of, whole
from segstudy.named import Frozen
from segstudy.schema import Data, Entry, Inference, Model, Optimizer, Recipe, ScoringRules
from segstudy.trials import Search, Seeds, SeedsUntil

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=80)]
Protocol = Literal["held-out", "paper"]

# Section 2.3 of the paper: an ablation changes the architecture or a core component, a hyper-parameter a setting.
ABLATIONS = ("model.arch", "model.encoder", "model.weights")


class Choices(Frozen):
    """The settings that an experiment may change."""

    model: Model
    recipe: Recipe
    inference: Inference = Inference()


class Experiment(Frozen):
    """A baseline, ``base`` plus the one thing it changes, the ensemble of another one's seeds, or a network only scored."""

    data: str | None = None
    model: Model | None = None
    base: str | None = None
    change: dict[str, Any] | None = None
    confounded: bool = False
    ensemble_of: str | None = None
    evaluate: Contestant | None = None

    @property
    def parent(self) -> str | None:
        """The experiment that this one is compared with."""
        return self.base or self.ensemble_of


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
    inference: Inference = Inference()
    experiments: dict[Name, Experiment] = Field(min_length=1)
    cross_evaluations: list[CrossEvaluation] = Field([])
    scoring: ScoringRules = ScoringRules()
    primary: str = "miou"  # the measure of the whole set that verdicts are about; all others are exploratory
    margin: PositiveFloat | None = None  # the largest difference that does not matter, in the unit of `primary`
    seeds: Seeds = Field([42])
    keep_probabilities: bool = False  # of every scored pixel, next to the predicted masks
    search: Search | None = None
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
    inference: Inference = field(default_factory=Inference)
    ensemble: tuple[int, ...] = ()  # seeds of the networks whose probabilities are averaged
    searched: str = ""  # what a search chose values for, and with how many trials
    target: Data | None = None  # the dataset whose images recipe.adaptation sees
    evaluate: Contestant | None = None  # a network that is scored without training; ``model`` then holds its name alone

    @property
    def resolution(self) -> Literal["input", "native"]:
        """Where scores are taken: the network's input size under ``paper``, each image's own size otherwise.

        Networks trained on crops predict whole images at their own size, so both are the same for them.
        """
        return "input" if self.protocol == "paper" and self.recipe.resized_px else "native"

    @property
    def epochs(self) -> int | None:
        """Epochs of training: 0 of a network that is only scored, None if they follow from ``recipe.iterations`` and the images."""
        if self.evaluate:
            return 0
        return self.recipe.epochs if self.recipe.iterations is None else None

    @property
    def callables(self) -> list[str]:
        """Names of the user's own callables, ``package.module:name``, that the result depends on."""
        named = [self.data.reader, self.model.arch, *self.recipe.callables]
        named.append(self.inference.adapts_by[0])
        if self.evaluate is not None:
            named = [self.data.reader, self.evaluate.python or "", self.inference.adapts_by[0]]
        return [name for name in dict.fromkeys(named) if is_callable_name(name)]

    @property
    def predicts(self) -> str:
        """Differences from one pass of one network over the whole image, in words; empty if there are none."""
        ensemble = f"mean of {len(self.ensemble)} networks" if self.ensemble else ""
        return ", ".join(words for words in (ensemble, self.inference.words) if words)

    @property
    def saw(self) -> str:
        """The part of another dataset that training saw, in words; empty if none."""
        part = self.recipe.adaptation
        return f"images of {part.data} (split {part.split}), never their masks ({part.name})" if part else ""

    def values(self) -> dict[str, Any]:
        """Dotted key -> value of everything that can differ between experiments, without the location of the data."""
        recipe = self.recipe.values()
        if self.target is not None:
            content = json.dumps(self.target.determining(), sort_keys=True).encode()
            recipe["adaptation"] += f" [{hashlib.sha256(content).hexdigest()[:8]}]"
        tree = {"model": self.model.model_dump(), "recipe": recipe, "protocol": self.protocol}
        tree["data"] = {"name": self.dataset, **self.data.determining()}
        tree["inference"] = self.inference.values()
        tree["search"] = {"space": self.searched or None}
        tree["ensemble"] = {"members": ", ".join(f"seed{seed}" for seed in self.ensemble) or None}
        if self.evaluate is not None:
            at = {"input_size": self.recipe.input_size} if self.resolution == "input" else {}
            tree |= {"evaluate": self.evaluate.determining(), "recipe": at, "model": {}}
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


def trained_on(study: Study, name: str) -> str | None:
    """The dataset of experiment ``name``, from its baseline; None if the chain of bases is broken."""
    chain = [name, *base_chain(study, name)]
    return study.experiments[chain[-1]].data if chain[-1] in study.experiments else None


def base_chain(study: Study, name: str) -> list[str]:
    """Names from the base of ``name`` upwards, up to a baseline, an unknown name, or the first repeat."""
    chain: list[str] = []
    current = study.experiments[name].parent
    while current is not None:
        chain.append(current)
        if current == name or chain.count(current) > 1 or current not in study.experiments:
            break
        current = study.experiments[current].parent
    return chain


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Dotted key -> (before, after) of everything that differs; an option that only one side has is None on the other."""
    pairs = {key: (before.get(key), after.get(key)) for key in dict.fromkeys([*after, *before])}
    return {key: (old, new) for key, (old, new) in pairs.items() if old != new}


@functools.cache
def changeable() -> tuple[str, ...]:
    """Dotted keys that an experiment may change, apart from options of a network."""
    return tuple(flatten(Choices(model=Model(arch="unet"), recipe=Recipe()).model_dump()))


def can_change(key: str) -> bool:
    """Whether an experiment may change ``key``: one of :func:`changeable`, or an option of a network."""
    return key in changeable() or key.startswith("model.options.")


def resolve(study: Study, name: str, found: Mapping[str, Any] | None = None) -> Config:
    """Resolve base and change of experiment ``name``; raises pydantic's error for invalid values.

    ``found`` are values of the recipe from a search, which replace the study's.
    """
    lineage = [name, *base_chain(study, name)]
    root = study.experiments[lineage[-1]]
    assert root.data is not None
    evaluated = next((one for each in lineage if (one := study.experiments[each].evaluate)), None)
    model = root.model if evaluated is None else Model(arch=evaluated.words, encoder="N/A", weights="none")
    assert model is not None
    parts = {"model": model, "recipe": study.recipe, "inference": study.inference}
    trees: dict[str, Any] = {key: part.model_dump() for key, part in parts.items()}
    for each in [*reversed(lineage), ""]:
        for key, value in ((study.experiments[each].change if each else found) or {}).items():
            if not can_change(key):
                raise SpecError(f"experiments.{each}.change: '{key}' cannot be changed")
            if key == "recipe.optimizer.name":  # options of one optimiser have no meaning for another
                kept = trees["recipe"]["optimizer"]
                trees["recipe"]["optimizer"] = {k: v for k, v in kept.items() if k in Optimizer.model_fields}
            *parents, last = key.split(".")
            target = trees
            for part in parents:
                target = target.setdefault(part, {})
            target[last] = value
    chosen = Choices.model_validate(trees, context={"folder": study.folder})
    return Config(
        name,
        root.data,
        study.data[root.data],
        chosen.model,
        chosen.recipe,
        study.protocol,
        study.folder,
        chosen.inference,
        tuple(study.all_seeds) if any(study.experiments[each].ensemble_of for each in lineage) else (),
        f"{study.search.trials} trials over {', '.join(study.search.space)}" if found and study.search else "",
        study.data.get(chosen.recipe.adaptation.data) if chosen.recipe.adaptation and not evaluated else None,
        evaluated,
    )


def factor_kind(key: str) -> Literal["ablation", "hyperparameter"]:
    """The paper's term for a change of ``key``.

    >>> factor_kind("model.encoder"), factor_kind("model.output_stride")
    ('ablation', 'hyperparameter')
    """
    return "ablation" if key in ABLATIONS else "hyperparameter"
