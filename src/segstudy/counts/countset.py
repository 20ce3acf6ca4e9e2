"""Count sets: counts of one network on one split, with contract and provenance.

Every score, comparison and report is computed from count sets. They come from the evaluation of a run, a counts file, or
two folders of masks.

Array letters: ``n`` image, ``c`` class.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from segstudy import measures
from segstudy.arrays import Confusion, Counts, Labels
from segstudy.counts.counting import measures_of
from segstudy.errors import StoreError
from segstudy.files import read_arrays, write_arrays
from segstudy.measures import Measure
from segstudy.records import EvaluationRecord, RunRecord
from segstudy.schema import ScoringRules

TRUTH = "truth_hash"  # the array of hashes in a file; "ids" and "groups" are those of images and groups
HASH_NUMBERS = 2  # 128 bits


@dataclass(frozen=True)
class CountSet:
    """Counts of one network on the images of one split.

    Attributes
    ----------
    name
        The name of the run or file.
    counts
        Arrays by the names of :func:`segstudy.counts.counting.count_pair`, ``int64`` (n, ...).
    ids
        Names of the images, without repeats.
    about
        What was scored, how, and under which contract.
    groups
        Each image's group, if images come in groups.
    truth
        Hash of each image's decoded truth, ``int64`` (n, 2); None for counts of versions that did not store it.
    record
        What the run recorded of itself (``run.yaml``); None for masks from elsewhere.
    folds
        The fold in which each image was tested, if the counts are of all folds of an experiment.

    """

    name: str
    counts: dict[str, Counts]
    ids: tuple[str, ...]
    about: EvaluationRecord
    groups: tuple[str, ...] | None = None
    truth: NDArray[np.int64] | None = None
    record: RunRecord | None = None
    folds: tuple[int, ...] | None = None

    @property
    def experiment(self) -> str:
        """Name of the experiment; empty for masks from elsewhere."""
        return self.about.experiment

    @property
    def seed(self) -> int:
        """The run's seed; 0 for masks from elsewhere."""
        return self.about.seed

    @property
    def confusion(self) -> Confusion:
        """Pixels (n, c, c) by true and predicted class, at the reported resolution."""
        return self.counts["confusion"]

    @property
    def support(self) -> NDArray[np.int64]:
        """True pixels (n, c) of each image and class."""
        return measures.support(self.confusion)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the scored classes."""
        return self.about.classes

    @property
    def rules(self) -> ScoringRules:
        """Tolerances and sizes used for counting."""
        return ScoringRules.model_validate(self.about.scoring)

    @property
    def home(self) -> str | None:
        """The dataset of its experiment: the one it was trained on, or was scored on next to networks that were."""
        own = self.record.values.get("data.name") if self.record else None
        return str(own) if own else self.about.train_data

    @property
    def in_domain(self) -> bool:
        """Whether the network was scored on the dataset of its experiment."""
        return self.home == self.about.test_data

    @property
    def contract(self) -> dict[str, Any]:
        """The contract of every number from these counts, as plain data."""
        return {
            "resolution": self.about.resolution,
            "split": self.about.split,
            "selected_on": self.about.selected_on,
            "absent_classes": self.about.absent_classes,
            "background": self.about.background,
            "ignore": list(self.about.ignored),
        }

    def measures(self) -> tuple[Measure, ...]:
        """Every measure whose counts are available."""
        return tuple(measure for measure in measures_of(self.rules) if measure.counts in self.counts)

    def constant(self) -> Confusion:
        """Counts (n, c, c) if every pixel were predicted as background, or as the most frequent class if there is none."""
        frequent = int(measures.support(measures.merge(self.confusion)).argmax())
        label = self.classes.index("background") if "background" in self.classes else frequent
        return measures.constant_prediction(self.confusion, label)

    def in_order(self, ids: Sequence[str]) -> CountSet:
        """The same count set with its images in the order of ``ids``, which names the same images."""
        if tuple(ids) == self.ids:
            return self
        place = {name: index for index, name in enumerate(self.ids)}
        order = np.array([place[name] for name in ids])
        return replace(
            self,
            counts={key: array[order] for key, array in self.counts.items()},
            ids=tuple(ids),
            groups=tuple(self.groups[index] for index in order) if self.groups is not None else None,
            truth=self.truth[order] if self.truth is not None else None,
            folds=tuple(self.folds[index] for index in order) if self.folds is not None else None,
        )


def hash_labels(labels: Labels) -> NDArray[np.int64]:
    """Hash of decoded labels (h, w), ``int64`` (2,): equal if and only if size and all classes are equal.

    >>> hash_labels(np.zeros((2, 3), np.uint8)).tolist() == hash_labels(np.zeros((3, 2), np.uint8)).tolist()
    False
    """
    total = hashlib.blake2b(repr(labels.shape).encode(), digest_size=8 * HASH_NUMBERS)
    total.update(np.ascontiguousarray(labels, dtype=np.uint8).data)
    return np.frombuffer(total.digest(), "<i8").astype(np.int64)


def write_counts(path: Path, counted: CountSet) -> None:
    """Write a count set to one ``.npz``."""
    arrays: dict[str, NDArray[Any]] = {**counted.counts, "ids": np.array(counted.ids)}
    if counted.groups is not None:
        arrays["groups"] = np.array(counted.groups)
    if counted.truth is not None:
        arrays[TRUTH] = counted.truth
    write_arrays(path, arrays, counted.about.plain())


def read_counts(path: Path, name: str = "", record: RunRecord | None = None) -> CountSet:
    """Read counts written by :func:`write_counts`, an evaluation or an earlier version.

    Parameters
    ----------
    path
        A ``.npz``.
    name
        Its name; by default, its path.
    record
        What the run recorded of itself, if known.

    Raises
    ------
    StoreError
        If the file is missing, damaged or of another kind.

    """
    arrays, meta = read_arrays(path)
    try:
        about = EvaluationRecord.parse(meta)
        ids = tuple(map(str, arrays.pop("ids").tolist()))
        groups = tuple(map(str, arrays.pop("groups").tolist())) if "groups" in arrays else None
        truth = arrays.pop(TRUTH, None)
        ScoringRules.model_validate(about.scoring)
        _check(ids, groups, truth, arrays, len(about.classes))
    except (KeyError, ValueError, TypeError, AttributeError) as error:  # another program may have written anything
        reason = str(error).splitlines()[0] if str(error) else ""
        raise StoreError(f"{path}: is not a counts file of segstudy ({type(error).__name__}: {reason})") from None
    return CountSet(name or str(path), arrays, ids, about, groups, truth, record)


def _check(
    ids: Sequence[str],
    groups: Sequence[str] | None,
    truth: NDArray[Any] | None,
    counts: dict[str, Counts],
    num_classes: int,
) -> None:
    """Check that every array holds integers for each image; raises ``ValueError`` with the name of one that does not."""
    if "confusion" not in counts:
        raise ValueError("it holds no confusion matrices")
    if counts["confusion"].shape != (len(ids), num_classes, num_classes):
        raise ValueError(f"confusion is {counts['confusion'].shape} for {len(ids)} images of {num_classes} classes")
    if len(set(ids)) != len(ids) or not ids:
        raise ValueError("ids are missing or repeated")
    if groups is not None and len(groups) != len(ids):
        raise ValueError(f"{len(groups)} groups for {len(ids)} images")
    if truth is not None and truth.shape != (len(ids), HASH_NUMBERS):
        raise ValueError(f"{TRUTH} is {truth.shape} for {len(ids)} images")
    for name, array in counts.items():
        if array.shape[:1] != (len(ids),) or array.dtype.kind not in "iu":
            raise ValueError(f"{name} is {array.dtype} {array.shape}")
        if array.dtype.kind == "i" and array.size and array.min() < 0:
            raise ValueError(f"{name} holds negative counts")
