"""Which of the data that results rest on are not what they were when the results were made.

What a run rests on stands in its ``run.yaml`` and with its counts; here it is compared with what lies there now. It loads no
torch, as ``segstudy status`` asks for it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Literal

from segstudy.data.cache.arrays import reread_fingerprint
from segstudy.errors import SegstudyError, listing
from segstudy.files import file_sha256
from segstudy.launch.workshop import Workshop
from segstudy.plan import Plan, Run
from segstudy.records import RunRecord
from segstudy.results import RunResult
from segstudy.store import RunFolder, read_evaluation_record
from segstudy.study import base_chain

ROLES = {"train": "training", "select": "epoch-choosing", "report": "reported"}
Differs = Callable[[str, str, str], bool]  # whether the files of a dataset's split are not those of a hash


def data_changes(workshop: Workshop, plan: Plan, seen: Sequence[RunResult] = ()) -> dict[str, list[str]]:
    """By run, which of the data that its results rest on are not what they were; data that are not there say nothing.

    Datasets and the files of each split are looked at once for all runs; records that were ``seen`` are not read again.
    """
    found: dict[str, list[str]] = {}
    records = {each.run.name: each.record for each in seen}
    differs, condition = files_differ(workshop), cache(partial(_condition, workshop))
    for run in plan.runs:
        try:
            record = records.get(run.name) or workshop.store.run(run.experiment, run.seed).read_record()
            conditions = {name: condition(name) for name in run.datasets}
            if record is None or "gone" in conditions.values():
                continue  # a finished study needs its data no more
            if faulty := [name for name, found_so in conditions.items() if found_so == "faulty"]:
                found[run.name] = [
                    f"files of {listing(faulty)} (some are missing or faulty: segstudy check tells which)"
                ]
            elif changed := changed_inputs(workshop, run, record, differs):
                found[run.name] = changed
        except (SegstudyError, OSError):
            continue
    return found


def _condition(workshop: Workshop, name: str) -> Literal["whole", "faulty", "gone"]:
    """Whether a dataset can be read, has files that cannot be used, or cannot be found or read at all."""
    with contextlib.suppress(SegstudyError, OSError):
        workshop.dataset(name)
        return "whole"
    with contextlib.suppress(SegstudyError, OSError):
        Workshop(workshop.study, workshop.store, workshop.data_root, workshop.progress, inspecting=True).dataset(name)
        return "faulty"
    return "gone"


def files_differ(workshop: Workshop) -> Differs:
    """A function that looks at the files of each split once, however many runs rest on them.

    Files that seem changed are read once more before anything is said, whatever is remembered of them.
    """
    now = cache(workshop.fingerprint)

    @cache
    def read_again(name: str, split: str) -> str:
        return reread_fingerprint(workshop.dataset(name)[0].samples(split), workshop.store)

    return lambda name, split, was: now(name, split) != was and read_again(name, split) != was


def changed_inputs(workshop: Workshop, run: Run, before: RunRecord, differs: Differs | None = None) -> list[str]:
    """Which of the data that ``before`` was made from are not what they were, in words.

    ``differs`` is the one function for several runs that are looked at together, see :func:`files_differ`.
    """
    differs = differs or files_differ(workshop)
    name = run.config.dataset
    dataset, roles = workshop.dataset(name)
    changed = []
    for role, words in ROLES.items():
        split, was = getattr(roles, role), (before.data_fingerprints or {}).get(role)
        if was is not None and differs(name, split, was):
            changed.append(f"{words} data (split '{split}' of '{name}')")
    part, was = run.config.recipe.adaptation, (before.data_fingerprints or {}).get("target")
    if part is not None and was is not None and differs(part.data, part.split, was):
        changed.append(f"images that training adapts to (split '{part.split}' of '{part.data}')")
    if before.classes and before.classes != dataset.classes:
        changed.append(f"classes of '{name}' (they were {', '.join(before.classes)}, are {', '.join(dataset.classes)})")
    elif before.readings.get(name, workshop.reading(name)) != workshop.reading(name):
        changed.append(f"reading of the masks of '{name}'")
    if before.members is not None:
        now = weights_of(members_of(workshop, run))
        members = [member for member, digest in before.members.items() if now.get(member, digest) != digest]
        changed += [f"weights of {listing(members)}"] if members else []
    return changed + _changed_targets(workshop, run, differs)


def members_of(workshop: Workshop, run: Run) -> dict[str, RunFolder]:
    """The folders of the runs that an ensemble consists of, by their names."""
    of = ensemble_base(workshop, run)
    return {f"{of}/seed{seed}": workshop.store.run(of, seed) for seed in run.config.ensemble}


def ensemble_base(workshop: Workshop, run: Run) -> str:
    """The experiment whose seeds an ensemble averages."""
    chain = [run.experiment, *base_chain(workshop.study, run.experiment)]
    return next(found for name in chain if (found := workshop.study.experiments[name].ensemble_of))


def weights_of(members: Mapping[str, RunFolder]) -> dict[str, str]:
    """Hashes of the members' weights, of those that are trained."""
    return {name: file_sha256(folder.best) for name, folder in members.items() if folder.trained}


def _changed_targets(workshop: Workshop, run: Run, differs: Differs) -> list[str]:
    """The same of cross-evaluations, by what their counts were made from."""
    folder, changed = workshop.store.run(run.experiment, run.seed), []
    for evaluation in workshop.evaluations(run)[1:]:
        path = folder.evaluation(evaluation.dataset, evaluation.split)
        record = read_evaluation_record(path) if path.is_file() else None
        if record is None or record.identity != run.identity:
            continue
        was = record.data_fingerprint
        if was is not None and differs(evaluation.dataset, evaluation.split, was):
            changed.append(f"data of the cross-evaluation (split '{evaluation.split}' of '{evaluation.dataset}')")
        elif record.reading not in (None, workshop.reading(evaluation.dataset)):
            changed.append(f"classes or reading of '{evaluation.dataset}'")
    return changed
