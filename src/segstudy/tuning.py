"""Searches and their results: the best values of each experiment's recipe, kept in the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from segstudy.errors import StoreError
from segstudy.files import digest, read_json
from segstudy.records import Record
from segstudy.store import Store
from segstudy.study import Study, resolve


class Trial(Record):
    """One trial: the values that it tried, and the best mIoU on the split that chooses; None where training failed.

    ``data`` is a hash of the data that it saw, empty in trials of former versions.
    """

    values: dict[str, Any]
    score: float | None = None
    data: str = ""


class Found(Record):
    """``found.json``: every trial of one experiment in order, the first with the study's own values, and the best one's values.

    ``data_fingerprints`` are those of the splits that were used, by role, and that of the reading of the
    masks; the reported split is not among them.
    """

    arm: str
    trials: tuple[Trial, ...]
    best: dict[str, Any]
    split: str = ""
    data_fingerprints: dict[str, str] = Field({})

    @property
    def best_score(self) -> float:
        """The best score of all trials."""
        return max(trial.score for trial in self.trials if trial.score is not None)

    @property
    def gain(self) -> float | None:
        """The gain of the best trial over the study's own values; None if training failed with these."""
        first = self.trials[0].score
        return None if first is None else self.best_score - first


def arm_of(study: Study, name: str) -> str:
    """The experiment that is searched for ``name``: itself, or the one whose network it uses."""
    experiment = study.experiments[name]
    keys = experiment.change or {}
    if experiment.ensemble_of is not None:
        return arm_of(study, experiment.ensemble_of)
    if experiment.base is not None and keys and all(key.startswith("inference.") for key in keys):
        return arm_of(study, experiment.base)
    return name


def arms_of(study: Study) -> list[str]:
    """Every experiment that is searched, in the file's order; a network that is not trained here is not."""
    arms = dict.fromkeys(arm_of(study, name) for name in study.experiments) if study.search else ()
    return [arm for arm in arms if study.experiments[arm].evaluate is None]


def search_folder(store: Store, study: Study, arm: str) -> Path:
    """The folder of the trials of ``arm``; another search, or another configuration, has another folder."""
    assert study.search is not None
    question = {"search": study.search.model_dump(), "values": resolve(study, arm).values()}
    return store.root / "search" / f"{arm}-{digest(question)[:8]}"


def read_found(store: Store, study: Study) -> dict[str, Found]:
    """The results of finished searches, by experiment.

    Raises
    ------
    StoreError
        If a file is damaged; the message names it.

    """
    found = {}
    for arm in arms_of(study):
        path = search_folder(store, study, arm) / "found.json"
        if path.is_file():
            try:
                found[arm] = Found.parse(read_json(path))
            except ValueError as error:
                raise StoreError(f"{path}: is damaged ({error}); delete it and call segstudy run again") from None
    return found


def found_values(found: Mapping[str, Found], study: Study, name: str) -> dict[str, Any] | None:
    """The values of the recipe that the search of experiment ``name`` has found; None before it is finished."""
    one = found.get(arm_of(study, name)) if study.search else None
    return dict(one.best) if one else None
