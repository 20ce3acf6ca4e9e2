"""Read every image and mask that a study uses, and say everything that is wrong with them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from segstudy.data.core import Dataset, Roles, Sample
from segstudy.data.load import load_undivided
from segstudy.data.quality.card import Seen, Tally
from segstudy.data.quality.duplicates import DuplicatePair, ImagePrint, find_duplicates
from segstudy.data.quality.faults import Fault, Severity
from segstudy.data.quality.inspect import SampleReport, inspect_sample
from segstudy.data.quality.overlap import Part, shared_images
from segstudy.data.quality.plausible import doubts_of_dataset
from segstudy.data.splitting.splits import groups_across_splits
from segstudy.data.threads import over_threads
from segstudy.errors import SegstudyError
from segstudy.launch.pending import find_problems
from segstudy.launch.workshop import Workshop
from segstudy.plan import Run
from segstudy.progress import Progress
from segstudy.study import Study, base_chain, trained_on
from segstudy.train.loop import keep_freed_memory


@dataclass(frozen=True)
class DatasetFault:
    """A fault, and the dataset that it is of; empty for one of the study."""

    dataset: str
    fault: Fault

    def record(self) -> dict[str, Any]:
        """The finding as plain data, for JSON."""
        fault = self.fault
        return {
            "dataset": self.dataset,
            "split": fault.split,
            "sample": fault.sample,
            "file": str(fault.file) if fault.file else "",
            "kind": fault.kind,
            "severity": fault.severity,
            "message": fault.message,
        }


@dataclass(frozen=True)
class Inspected:
    """A dataset that could be listed, its card, and its sound samples, of which sheets are drawn."""

    dataset: Dataset
    roles: Roles
    card: dict[str, Any]
    seen: Sequence[Seen]


@dataclass(frozen=True)
class Checked:
    """All that is wrong, the study's problems first, and every dataset that could be listed."""

    findings: tuple[DatasetFault, ...]
    inspected: tuple[Inspected, ...]

    def number(self, severity: Severity) -> int:
        """The number of findings of ``severity``."""
        return sum(finding.fault.severity == severity for finding in self.findings)

    def record(self, study: str) -> dict[str, Any]:
        """All of it as plain data, for JSON: ``study``, ``errors``, ``warnings``, ``findings``, ``datasets``."""
        return {
            "study": study,
            "errors": self.number("error"),
            "warnings": self.number("warning"),
            "findings": [finding.record() for finding in self.findings],
            "datasets": [each.card for each in self.inspected],
        }


def study_problem(message: str) -> DatasetFault:
    """A finding about the study itself."""
    return DatasetFault("", Fault("study", message))


def check_study(workshop: Workshop, runs: Sequence[Run], names: Sequence[str]) -> Checked:
    """Decode every sample of the datasets ``names`` once, and find what else would stop the study's ``runs``.

    Parameters
    ----------
    workshop
        Gives the datasets; made with ``inspecting``, so that it gives faulty ones too.
    runs
        Runs of the study.
    names
        Datasets of the study to look at.

    """
    findings, inspected = [], []
    unlisted: dict[str, str] = {}
    prints: dict[str, Mapping[str, ImagePrint]] = {}
    for name in names:
        try:
            dataset, roles = workshop.dataset(name)
        except SegstudyError as error:
            unlisted[name] = str(error)
            findings += [DatasetFault(name, fault) for fault in _faults_of_undivided(workshop, name)]
            continue
        tally = Tally(dataset, roles)
        faults = _examine(dataset, workshop.progress, tally.add)
        pairs, divided = find_duplicates(dataset, tally.prints), groups_across_splits(dataset)
        faults += _repeated_images(pairs, tally) + _divided_groups(divided)
        faults += doubts_of_dataset(dataset, roles.train, tally.seen, roles.report)
        findings += [DatasetFault(name, fault) for fault in faults]
        prints[name] = tally.prints
        inspected.append(Inspected(dataset, roles, tally.card(pairs, len(divided)), tally.seen))
    findings += _shared_with_targets(workshop, prints)
    listing_faults = [DatasetFault(name, Fault("dataset", message)) for name, message in unlisted.items()]
    others = [study_problem(text) for text in find_problems(workshop, runs) if text not in unlisted.values()]
    return Checked((*others, *listing_faults, *findings), tuple(inspected))


def _shared_with_targets(workshop: Workshop, prints: Mapping[str, Mapping[str, ImagePrint]]) -> list[DatasetFault]:
    """Images of the target of a cross-evaluation that its network is trained on, of datasets that were looked at."""
    study = workshop.study
    found: dict[tuple[str, str, str], list[Fault]] = {}
    for cross in study.cross_evaluations:
        source = _trained_here(study, cross.experiment)
        if source not in prints or cross.on not in prints or source == cross.on:
            continue
        (trained, roles), (scored, own) = workshop.dataset(source), workshop.dataset(cross.on)
        place = source, cross.on, cross.split or own.report
        if place not in found:
            seen = tuple(split for split in dict.fromkeys((roles.train, roles.select)) if split)
            parts = Part(trained, seen, prints[source]), Part(scored, (place[2],), prints[cross.on])
            found[place] = shared_images(*parts)
    return [DatasetFault(on, fault) for (_, on, _), faults in found.items() for fault in faults]


def _trained_here(study: Study, name: str) -> str:
    """The dataset that an experiment is trained on; empty for a network that is scored as it is."""
    if name not in study.experiments:
        return ""
    lineage = [each for each in (name, *base_chain(study, name)) if each in study.experiments]
    scored = any(study.experiments[each].evaluate is not None for each in lineage)
    return "" if scored else trained_on(study, name) or ""


def _faults_of_undivided(workshop: Workshop, name: str) -> list[Fault]:
    """Faults of single files of a dataset that cannot be divided as the study asks, which may be why it cannot."""
    study = workshop.study
    try:
        dataset = load_undivided(name, study.entry(name), workshop.data_root, study.folder, workshop.store)
    except SegstudyError:
        return []  # it cannot even be listed, which is reported already
    faults = _examine(dataset, workshop.progress, lambda look: None)
    return [replace(fault, split="") if dataset.by_fraction else fault for fault in faults]


def _examine(dataset: Dataset, progress: Progress, use: Callable[[SampleReport], None]) -> list[Fault]:
    """Look at every sample once; faults that the reader met before are listed once."""
    faults: list[Fault] = []
    for look in _looks(dataset, progress):
        use(look)
        faults += look.faults
    met = {(fault.kind, fault.file) for fault in faults}
    return [fault for fault in dataset.faults if (fault.kind, fault.file) not in met] + faults


def _looks(dataset: Dataset, progress: Progress) -> Iterator[SampleReport]:
    """Look at every sample, in the order of the splits; Pillow decodes outside the interpreter lock."""
    placed = [(split, sample) for split, part in dataset.splits.items() for sample in part]
    progress.task(f"checking {dataset.name}", len(placed))
    keep_freed_memory()  # each image takes what the one before has freed

    def one(place: tuple[str, Sample]) -> SampleReport:
        look = inspect_sample(dataset, *place)
        progress.advance()
        return look

    yield from over_threads(one, placed)


def _repeated_images(pairs: Sequence[DuplicatePair], tally: Tally) -> list[Fault]:
    """A warning for every pair of images that are one, or nearly."""
    pixels = {seen.sample.id: seen.pixels for seen in tally.seen}
    faults = []
    for pair in pairs:
        kind = ("duplicate" if pair.kind == "same" else "near-duplicate") + ("-across-splits" if pair.crosses else "")
        like = "the same pixels as" if pair.kind == "same" else "nearly"
        text = f"{like} {'the mirror image of ' if pair.mirrored else ''}'{pair.first.id}'"
        text += f" of {pair.splits[0]}, and stands in {pair.splits[1]}" if pair.crosses else ""
        if pair.kind == "near":
            text += f" (similarity {pair.similarity:.2f})"
        elif pixels[pair.first.id] != pixels[pair.second.id]:
            text += ", with another mask"
        advice = "give both one group (data.groups)" if pair.crosses else "keep one, unless both are meant"
        faults.append(
            Fault(kind, f"{text}; {advice}", pair.second.image, pair.splits[1], pair.second.id, severity="warning")
        )
    return faults


def _divided_groups(divided: Mapping[str, Mapping[str, int]]) -> list[Fault]:
    """A warning for every group that has images in several splits."""
    return [
        Fault(
            "group-across-splits",
            f"group '{group}': {', '.join(f'{number} in {split}' for split, number in places.items())}; "
            "divide whole groups, for what is alike in them is known before it is scored",
            severity="warning",
        )
        for group, places in divided.items()
    ]
