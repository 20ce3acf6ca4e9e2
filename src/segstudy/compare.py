"""``segstudy compare``: two results, named by people, as two sides; the comparison as a record for programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from segstudy.comparison import PRIMARY, Comparison, Side, compare
from segstudy.counts.counting import measures_of
from segstudy.counts.countset import read_counts
from segstudy.document import finite
from segstudy.errors import DataError, SpecError, StoreError, listing, nearest
from segstudy.measures import Measure
from segstudy.plan import open_plan, run_of
from segstudy.results import StudyResults, read_results
from segstudy.store import RunFolder

STUDY_FILES = (".yaml", ".yml")


def side_of_file(path: Path) -> Side:
    """Read counts that ``segstudy score --counts`` or a run's evaluation wrote.

    Raises
    ------
    SpecError, StoreError
        For a file that is missing, damaged or something else.

    """
    if path.suffix != ".npz" and (path.suffix in STUDY_FILES or not path.is_file()):
        raise SpecError(
            f"{path}: is no result; name an experiment of a study, as in study.yaml:unet, or a .npz of counts from "
            "'segstudy score PREDICTIONS TRUTH --counts'"
        )
    if not path.is_file():
        raise StoreError(f"{path}: no such file; 'segstudy score PREDICTIONS TRUTH --counts {path.name}' writes one")
    inside = path.resolve().parent.name == "evaluations"
    record = RunFolder(path.resolve().parent.parent).read_record() if inside else None
    return Side(str(path), [read_counts(path, record=record)])


@dataclass(frozen=True)
class Named:
    """What ``STUDY:EXPERIMENT`` or ``STUDY:EXPERIMENT/seedN`` names."""

    name: str
    experiment: str
    seed: int | None
    results: StudyResults


def side_of_runs(named: Named, on: str | None = None) -> Side:
    """An experiment's runs, or one of them, on its own dataset or on ``on``.

    Raises
    ------
    SpecError
        If the experiment is not scored on ``on``.
    StoreError
        If none of the runs has been scored there with the study's settings.

    """
    name, plan, store = named.name, named.results.plan, named.results.store
    first = plan.select([named.experiment], named.seed).runs[0]
    dataset = on or first.config.dataset
    if dataset not in first.datasets:
        raise SpecError(
            f"{name}: is not scored on '{dataset}'{nearest(dataset, first.datasets)}; it is scored on {listing(first.datasets)}"
        )
    side = named.results.side(first.experiment, dataset)
    sets = [one for one in side.sets if named.seed in (None, one.seed)]
    if not sets:
        raise StoreError(
            f"{name}: not scored on {dataset} yet, or made with other settings, in {store.root}; run the study first"
        )
    return Side(name, sets, side.notes if named.seed is None else ())


def measure_of(side: Side, key: str) -> Measure:
    """The measure of the whole set that is called ``key``; an unknown one is a :class:`SpecError`."""
    known = {measure.key: measure for measure in measures_of(side.first.rules) if "dataset" in measure.levels}
    if key not in known:
        raise SpecError(
            f"--measure {key}: no such measure{nearest(key.lower(), known)}; there are {listing(known, 40)}"
        )
    return known[key]


def compare_results(
    a: str,
    b: str,
    measure: str = "miou",
    on: str | None = None,
    out: Path | None = None,
    settings: Sequence[str] = (),
) -> Comparison:
    """Compare two results on the same images.

    A variant and its base in one study are one of the comparisons that the study makes: their p-value and verdict are
    then corrected for all of these, as in the study's report.

    Parameters
    ----------
    a, b
        ``STUDY:EXPERIMENT``, ``STUDY:EXPERIMENT/seedN``, or a ``.npz`` of counts; differences are ``a`` minus ``b``.
    measure
        The measure of the whole set that is asked about.
    on
        Dataset of a cross-evaluation; each side's own unless given.
    out, settings
        The studies' output folder, and ``key=value`` that replace values of their files.

    Raises
    ------
    SpecError, StoreError
        If a name names no result, or there is no such measure.
    DataError
        If the two may not be compared.

    """
    known: dict[Path, StudyResults] = {}
    named = _short([_named(name, out, settings, known) for name in (a, b)])
    first, second = (side_of_file(Path(one)) if isinstance(one, str) else side_of_runs(one, on) for one in named)
    wanted, questions = measure_of(first, measure), 1
    family = _family(*named) if on is None and wanted is PRIMARY else None
    if family is not None:
        questions = family.questions
    found = compare(first, second, wanted, questions=questions)
    return checked(found if family is None else replace(found, p_holm=family.p_holm))


def _named(name: str, out: Path | None, settings: Sequence[str], known: dict[Path, StudyResults]) -> Named | str:
    """What a name names: a study's experiment, each store being read once, or a file."""
    if name.endswith(".npz") or ":" not in name:
        return name
    study, experiment, seed = run_of(name)
    plan, store = open_plan(study, out, settings)
    plan.select([experiment], seed)
    if store.root not in known:
        known[store.root] = read_results(store, plan)
    return Named(name, experiment, seed, known[store.root])


def _short(named: list[Named | str]) -> list[Named | str]:
    """Two experiments of one study, called by their own names, as its report calls them."""
    if (
        any(isinstance(one, str) for one in named)
        or len({id(one.results) for one in named if not isinstance(one, str)}) > 1
    ):
        return named
    return [replace(one, name=one.name.rpartition(":")[2]) for one in named if not isinstance(one, str)]


def _family(a: Named | str, b: Named | str) -> Comparison | None:
    """The comparison of these two that their study makes; None if it makes none."""
    if (
        isinstance(a, str)
        or isinstance(b, str)
        or a.results is not b.results
        or a.seed is not None
        or b.seed is not None
    ):
        return None
    comparisons = a.results.comparisons
    for variant, base in ((a, b), (b, a)):
        if (found := comparisons.get(variant.experiment)) is not None and found.b.name == base.experiment:
            return found
    return None


def checked(comparison: Comparison) -> Comparison:
    """The comparison itself, if it may be made; else a :class:`DataError` that says why not."""
    if comparison.problems:
        names = f"{comparison.a.name} and {comparison.b.name} cannot be compared"
        raise DataError("\n".join([f"{names}:", *map(str, comparison.problems)]))
    return comparison


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """A comparison as plain data; undefined numbers are None."""
    a, b, measure = comparison.a, comparison.b, comparison.measure
    assert comparison.difference is not None, "comparisons that may not be made are refused before"
    contract = a.first.contract
    ignored = sorted({*a.first.about.ignored, *b.first.about.ignored})
    return {
        "a": _side_record(a, comparison),
        "b": _side_record(b, comparison),
        "measure": measure.key,
        "label": measure.label,
        "unit": measure.unit,
        "higher_is_better": measure.higher_is_better,
        "level": "dataset",
        **{key: contract[key] for key in ("absent_classes", "background", "resolution")},
        "ignore": ignored,
        "images": len(a.first.ids),
        "groups": len(set(comparison.groups)) if comparison.groups is not None else None,
        "pixels": int(a.first.support.sum()),
        "difference": finite(asdict(comparison.difference)),
        "questions": comparison.questions,
        "p_holm": finite(comparison.p_holm),
        "verdict": comparison.verdict,
        "changes": [{"key": key, "a": ours, "b": theirs} for key, (ours, theirs) in (comparison.changes or {}).items()],
        "flags": [*_confounded(comparison), *comparison.flags],
        "classes": _class_records(comparison),
    }


def _confounded(comparison: Comparison) -> list[str]:
    """What is said where more than one setting differs; a report marks the variant as confounded."""
    number = len(comparison.changes or {})
    return [f"{number} settings differ, so the difference cannot be put down to one of them"] * comparison.confounded


def _side_record(side: Side, comparison: Comparison) -> dict[str, Any]:
    (found,) = side.estimates(comparison.measure, comparison.groups)
    origin = {key: side.about(key) or "unknown" for key in ("train_data", "test_data", "split", "selected_on")}
    return {"name": side.name, "seeds": side.seeds, **origin, **finite(asdict(found))}


def _class_records(comparison: Comparison) -> list[dict[str, Any]]:
    if (measure := comparison.by_class) is None:
        return []
    return [
        {
            "class": effect.name,
            "measure": measure.key,
            "label": measure.label,
            "a": finite(effect.a),
            "b": finite(effect.b),
            "difference": finite(effect.difference.value),
            "low": finite(effect.difference.low),
            "high": finite(effect.difference.high),
            "p_value": finite(effect.difference.p_value),
            "p_holm": finite(effect.p_holm),
            "verdict": effect.verdict,
            "reason": effect.difference.reason,
        }
        for effect in comparison.classes
    ]
