"""Images of one dataset that another has too: a network trained on the one is scored on what it has seen in the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from segstudy.data.core import Dataset, Sample
from segstudy.data.quality.duplicates import ImagePrint, find_duplicates
from segstudy.data.quality.faults import Fault


@dataclass(frozen=True)
class Part:
    """Splits of a dataset, and the prints of its images by sample id."""

    dataset: Dataset
    splits: tuple[str, ...]
    prints: Mapping[str, ImagePrint]


def shared_images(trained: Part, scored: Part) -> list[Fault]:
    """A warning for each image that is scored and, the same or nearly, among those that are trained on.

    Parameters
    ----------
    trained
        The splits of the source that train or choose the epoch.
    scored
        The split of the target that is reported.

    """
    sides = ("trained", "scored")
    splits: dict[str, tuple[Sample, ...]] = {}
    prints: dict[str, ImagePrint] = {}
    for side, part in zip(sides, (trained, scored), strict=True):
        samples = [sample for split in dict.fromkeys(part.splits) for sample in part.dataset.samples(split)]
        splits[side] = tuple(replace(sample, id=f"{side}/{sample.id}") for sample in samples)
        prints |= {f"{side}/{sample.id}": part.prints[sample.id] for sample in samples if sample.id in part.prints}
    joint = Dataset(scored.dataset.name, (), (), splits, scored.dataset.labels_of)
    faults = []
    for pair in find_duplicates(joint, prints):
        if not pair.crosses:
            continue
        like = "the same pixels as" if pair.kind == "same" else "nearly"
        own, other = pair.second.id.removeprefix("scored/"), pair.first.id.removeprefix("trained/")
        text = f"{like} {'the mirror image of ' if pair.mirrored else ''}'{other}' of dataset '{trained.dataset.name}'"
        text += f" (similarity {pair.similarity:.2f})" if pair.kind == "near" else ""
        text += ", on which the network is trained that is scored on this; leave it out of one of the two"
        kind = "duplicate" if pair.kind == "same" else "near-duplicate"
        split = next(name for name in scored.splits if any(each.id == own for each in scored.dataset.samples(name)))
        faults.append(Fault(f"{kind}-across-datasets", text, pair.second.image, split, own, "warning"))
    return faults
