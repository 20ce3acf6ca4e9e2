"""True masks for ``segstudy score`` that a dataset of a study gives, whatever its layout: ``study.yaml:faces:test``."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from segstudy.data.core import IGNORE, Sample
from segstudy.data.load import load_dataset
from segstudy.data.quality.faults import refuse
from segstudy.data.stored import StoredMask
from segstudy.errors import DataError, listing, nearest
from segstudy.spec import load_study
from segstudy.store import Store

NAMED = re.compile(r"(?P<study>.+\.ya?ml):(?P<name>[^:]+)(?::(?P<split>[^:]+))?")


@dataclass(frozen=True)
class TrueMasks:
    """Masks of a dataset's samples: ``name`` of the dataset and its split, its classes, and how a mask is read.

    Labels are stored as grey, 255 where pixels are left out.
    """

    name: str
    classes: tuple[str, ...]
    samples: tuple[Sample, ...]
    read: Callable[[Sample], StoredMask]

    @property
    def left_out(self) -> tuple[int, ...]:
        """The value of pixels that are left out."""
        return (IGNORE,)

    def named(self, predictions: Iterable[str]) -> dict[str, Sample]:
        """The sample of each prediction: of the same id, or the only one whose id ends with the prediction's name.

        Raises
        ------
        DataError
            For predictions that are of no sample or of several, and samples without a prediction.

        """
        by_tail: dict[str, list[Sample]] = {}
        for sample in self.samples:
            parts = sample.id.split("/")
            for k in range(len(parts)):
                by_tail.setdefault("/".join(parts[k:]), []).append(sample)
        own = {sample.id: sample for sample in self.samples}
        found, problems = {}, []
        for key in predictions:
            fit = [own[key]] if key in own else by_tail.get(key, [])
            if len(fit) == 1:
                found[key] = fit[0]
            else:
                ids = listing((sample.id for sample in fit), 3)
                problems.append(
                    f"the prediction '{key}' may be of {ids}" if fit else f"'{key}' is not an image of {self.name}"
                )
        predicted = {sample.id for sample in found.values()}
        if lone := [sample.id for sample in self.samples if sample.id not in predicted]:
            problems.append(f"{len(lone)} images of {self.name} have no prediction: {listing(lone, 5)}")
        if problems:
            advice = (
                "Name predictions as the images are, and the split that is predicted, such as study.yaml:NAME:test."
            )
            raise DataError("\n".join([*problems[:10], *(["..."] if len(problems) > 10 else []), advice]))
        return found


def true_masks_of(text: str, data_root: Path | None = None) -> TrueMasks | None:
    """The masks of the dataset that ``study.yaml:NAME`` or ``study.yaml:NAME:SPLIT`` names; None for any other text.

    Raises
    ------
    SegstudyError
        For a study, dataset or split that there is not, and a dataset with faults.

    """
    match = NAMED.fullmatch(text)
    if match is None or Path(text).exists():
        return None
    study = load_study(Path(match["study"]))
    name, split = match["name"], match["split"] or "all"
    if name not in study.data:
        raise DataError(
            f"{text}: the study has no dataset '{name}'{nearest(name, study.data)}; it has {listing(study.data)}"
        )
    with tempfile.TemporaryDirectory() as folder:
        dataset, _ = load_dataset(
            name, study.entry(name), study.protocol, data_root, study.folder, Store(Path(folder)), trains=False
        )
    refuse(text, dataset.faults)

    def read(sample: Sample) -> StoredMask:
        return StoredMask(sample.mask, "grey", dataset.labels_of(sample))

    return TrueMasks(f"{name}:{split}" if match["split"] else name, dataset.classes, dataset.samples(split), read)
