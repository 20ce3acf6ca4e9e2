"""The context for carrying out a plan: datasets, the store, locations, and the splits that a run is scored on."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from segstudy.contestant import Contestant
from segstudy.data.cache.arrays import CachedSplit, discard, open_cache, remembered_fingerprint
from segstudy.data.cache.packed import DamagedCache
from segstudy.data.core import Dataset, Roles, check_names, class_table
from segstudy.data.load import load_dataset
from segstudy.data.quality.faults import refuse
from segstudy.errors import DataError, SpecError
from segstudy.files import digest
from segstudy.folds import whole
from segstudy.plan import Run, read_noted
from segstudy.progress import Progress
from segstudy.schema import Model, Recipe
from segstudy.sizes import Size
from segstudy.spec import find_path
from segstudy.stopping import Stop
from segstudy.store import Store
from segstudy.study import Config, Study, base_chain, trained_on
from segstudy.train.processes import ALONE, Team

REBUILDS = 3  # of damaged folders of the cache in one run

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Evaluation:
    """One split that a run is scored on; ``table`` maps classes when the dataset is another than trained on."""

    dataset: str
    split: str
    table: NDArray[np.int64] | None = None
    evaluation_hash: str = ""


class Workshop:
    """Everything a plan needs at hand: datasets read once, the store, where things lie.

    A dataset with files that had to be left out is refused, unless ``inspecting``: nothing may be trained on it.
    ``stop`` says when to stop, and how often to write checkpoints within an epoch; ``team`` are the processes that train
    each run together; ``graphs`` asks for recorded training steps where they can be had.
    """

    def __init__(
        self,
        study: Study,
        store: Store | PathLike,
        data_root: PathLike | None = None,
        progress: Progress | None = None,
        *,
        inspecting: bool = False,
        stop: Stop | None = None,
        team: Team = ALONE,
        graphs: bool = False,
    ) -> None:
        self.study, self.progress = study, progress or Progress()
        self.store = store if isinstance(store, Store) else Store(Path(store))
        self.data_root = None if data_root is None else Path(data_root)
        self.inspecting, self.stop, self.team = inspecting, stop or Stop(), team
        self.graphs = graphs
        self._datasets: dict[str, tuple[Dataset, Roles]] = {}

    def dataset(self, name: str) -> tuple[Dataset, Roles]:
        """Dataset ``name`` of the study with its roles, read on first use."""
        if name not in self._datasets:
            entry, folder = self.study.entry(name), self.study.folder
            trains = any(trained_on(self.study, each) == whole(name) for each in self.study.experiments)
            dataset, roles = load_dataset(name, entry, self.study.protocol, self.data_root, folder, self.store, trains)
            check_names(dataset)
            if not self.inspecting:
                refuse(f"dataset '{name}' (segstudy check tells all)", dataset.faults)
                for note in dataset.notes:
                    self.progress.say(f"note: {name}: {note}")
            self._datasets[name] = dataset, roles
        return self._datasets[name]

    def cached(self, name: str, split: str, size: Size | None, native_labels: bool = False) -> CachedSplit:
        """A split of dataset ``name`` at ``size`` pixels, or at the images' own size; see :func:`open_cache`."""
        return open_cache(self.dataset(name)[0], split, size, self.store, self.progress, native_labels)

    def target(self, recipe: Recipe) -> CachedSplit | None:
        """The images that training adapts to; None if it adapts to none."""
        part = recipe.adaptation
        return self.cached(part.data, part.split, recipe.resized_px) if part else None

    def fingerprint(self, name: str, split: str) -> str:
        """Hash of a split's files, remembered by their sizes and times."""
        return remembered_fingerprint(self.dataset(name)[0].samples(split), self.store)

    def reading(self, name: str) -> str:
        """Hash of how a dataset's masks become classes: their names, their order, and the reader's rules."""
        dataset = self.dataset(name)[0]
        return digest({"classes": list(dataset.classes), "reading": dataset.reading})

    def weights_file(self, model: Model) -> Path | None:
        """The path of the model's weights, if the study names a file."""
        # loads torch, which a workshop that only looks does without
        from segstudy.networks.build import ENCODER_WEIGHTS

        if model.weights in (names := ENCODER_WEIGHTS.names()):
            return None
        if not model.weights.endswith((".pth", ".pt", ".safetensors")):
            raise SpecError(
                f"model.weights '{model.weights}': must be {', '.join(names)}, or a .pth or .safetensors file"
            )
        return find_path(model.weights, "model.weights", self.data_root, self.study.folder)

    def contestant(self, run: Run) -> tuple[Contestant, Path | None]:
        """The network that a run scores without training, as the study declares it, and where its file or folder lies."""
        own = whole(run.experiment)
        chain = [own, *base_chain(self.study, own)]
        given = next(found for name in chain if (found := self.study.experiments[name].evaluate) is not None)
        return given, None if given.kind == "python" else self._file(given)

    def _file(self, given: Contestant) -> Path | None:
        noted = read_noted(self.store).get(given.given, {}).get("path") if self.data_root is None else None
        if noted is not None and Path(noted).exists():
            return Path(noted)
        try:
            return find_path(given.given, f"evaluate.{given.kind}", self.data_root, self.study.folder)
        except DataError:
            if given.kind == "hf" and len(given.given.strip("./").split("/")) == 2:
                return None  # a name on the hub
            raise

    def to_score(self, config: Config, dataset: str, split: str) -> CachedSplit:
        """A split as an experiment is scored on it; a network that is not trained here is given images at their own size."""
        sized = config.recipe.resized_px
        if config.evaluate is None:
            return self.cached(dataset, split, sized, native_labels=True)
        full = self.cached(dataset, split, None, native_labels=True)
        if config.resolution == "native":
            return full
        return replace(self.cached(dataset, split, sized, native_labels=True), images_nhwc=full.images_nhwc)

    def rebuilding(self, work: Callable[[], None]) -> None:
        """Do what reads the cache; a folder of it that turns out to be damaged is built again, and the work begun again."""
        for left in reversed(range(REBUILDS + 1)):
            try:
                return work()
            except DamagedCache as error:
                if not left:
                    raise
                self.progress.say(f"  note: {error.folder.name} is damaged; it is built again")
                discard(error.folder)

    def evaluations(self, run: Run) -> list[Evaluation]:
        """The splits that the run is scored on: the reported split of its own dataset, then every cross-evaluation."""
        own, roles = self.dataset(run.config.dataset)
        classes, table = own.classes, None
        if run.config.evaluate is not None:
            from segstudy.networks.contestants import classes_of  # loads torch

            declared, path = self.contestant(run)
            classes = classes_of(declared, path)
            table = class_table(classes, own.classes, declared.target_of(classes, own.classes))
        found = [Evaluation(run.config.dataset, roles.report, table, run.evaluation_hash)]
        for cross, named, evaluation_hash in run.crosses:
            other, other_roles = self.dataset(cross.on)
            try:
                table = class_table(classes, other.classes, cross.map)
            except SpecError as error:
                raise SpecError(f"cross-evaluation of {run.experiment} on {cross.on}: {error}") from None
            split = named or other_roles.report
            other.samples(split)
            found.append(Evaluation(cross.on, split, table, evaluation_hash))
        return found
