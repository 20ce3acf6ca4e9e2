"""Output of ``segstudy plan``: seeds and images that a difference needs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from segstudy.terminal import table_lines

if TYPE_CHECKING:
    from segstudy.launch.estimate import Estimate
    from segstudy.plan import Plan
    from segstudy.results import StudyResults
    from segstudy.store import Store


def print_requirements(
    plan: Plan, store: Store, power: float, difference: float, seed_sd: str | None, curved: bool, as_json: bool
) -> None:
    """Print how many seeds and images a difference needs, or the chances to see it as ``curved``."""
    from segstudy.planning import SeedSD, curves, requirements
    from segstudy.results import read_results

    results, known = read_results(store, plan), None if seed_sd is None else SeedSD.read(seed_sd)
    rows = curves(results, difference, known) if curved else requirements(results, power, difference, known)
    if as_json:
        print(json.dumps(rows, indent=2))
    elif curved:
        print("\n".join(curve_lines(results, rows, difference)))
    else:
        print("\n".join(requirement_lines(results, rows, power, difference)))


def requirement_lines(
    results: StudyResults, rows: Sequence[dict[str, Any]], power: float, difference: float
) -> list[str]:
    """The rows of :func:`segstudy.planning.requirements` as text."""
    lines = [
        f"To see a difference of {difference:g} in {results.primary.label} with probability {power:g}{_corrected(rows)}.",
        "To be safe: if the noise is as large as so few seeds and images leave possible (upper 80 % limits).",
        "",
    ]
    for row in rows:
        lines += _requirement(row)
    return lines


def _corrected(rows: Sequence[dict[str, Any]]) -> str:
    questions = rows[0]["questions"]
    return f", as one of the study's {questions} comparisons" if questions > 1 else ""


def _requirement(row: dict[str, Any]) -> list[str]:
    size = f"{row['num_seeds']} seed{'' if row['num_seeds'] == 1 else 's'} and {row['num_images']:,} images"
    seen = "unknown" if row["detectable"] is None else f"{size} see {row['detectable']:.4f}"
    lines = [f"{row['about']}: {seen}"]
    for what, other in (("seeds", "images"), ("images", "seeds")):
        if row[what] is not None:
            needed = f"{row[what]:,} {what} with {row[f'num_{other}']:,} {other}"
            lines.append(f"  {needed}; {_safe_words(row[f'{what}_safe'], what)}")
    pairs = [f"{seeds} seeds with {_number_words(images)}" for seeds, *images in row["table"] if images[0]]
    if pairs:
        lines.append(f"  images for other numbers of seeds: {'; '.join(pairs)}")
    if row["seeds"] is not None and row["pilot"]:
        pilots = [f"after {found['seeds']} seeds: {_pilot_words(found['seeds_safe'])}" for found in row["pilot"]]
        lines.append(f"  what further seeds would show, if they vary as much as these: {'; '.join(pilots)}")
    return lines + ([f"  {row['reason']}"] if row["reason"] else [])


def _pilot_words(number: float | None) -> str:
    return _safe_words(None if number is None else int(number), "seeds")


def _safe_words(number: int | None, what: str) -> str:
    return f"no number of {what} to be safe" if number is None else f"{number:,} to be safe"


def _number_words(images: Sequence[int | None]) -> str:
    needed, safe = images
    return f"{needed:,} ({_safe_words(safe, 'images')})"


def curve_lines(results: StudyResults, found: Sequence[dict[str, Any]], difference: float) -> list[str]:
    """The rows of :func:`segstudy.planning.curves` as tables: a row per number of seeds, a column per number of images."""
    lines = [f"Probability to see a difference of {difference:g} in {results.primary.label}{_corrected(found)}."]
    for one in found:
        images = list(dict.fromkeys(row["images"] for row in one["power"]))
        rows = [["seeds", *(f"{number:,} images" for number in images)]]
        for seeds in dict.fromkeys(row["seeds"] for row in one["power"]):
            powers = [row["power"] for row in one["power"] if row["seeds"] == seeds]
            rows.append([str(seeds), *("unknown" if power is None else f"{power:.2f}" for power in powers)])
        lines += ["", one["about"], *table_lines(rows)]
    return lines


def estimate_lines(found: Estimate) -> list[str]:
    """The needs of the remaining runs, as text."""
    if not found.runs:
        return ["nothing is left to do", *found.notes]
    rows = [["run", "training", "evaluation", "memory", "disk"]]
    for run in found.runs:
        memory = f"{run.memory_mb:,.0f} MB" if run.memory_mb else ""
        times = [_hours(run.training_s), _hours(run.evaluation_s)]
        rows.append([run.run, *times, memory, _size(run.disk_bytes)])
    workers = f"{found.workers} workers" if found.workers > 1 else "one run after the other"
    return [
        *table_lines(rows),
        "",
        f"time    {_hours(found.total_s)} on {found.device}, {workers}: training {_hours(found.training_s)}, evaluation "
        f"{_hours(found.evaluation_s)}, decoding {_hours(found.caching_s)}",
        f"disk    {_size(found.disk_bytes)}: cache {_size(found.cache_bytes)}, runs "
        f"{_size(sum(run.disk_bytes for run in found.runs))}, report {_size(found.report_bytes)}, the rest while runs "
        f"train; {_size(found.free_disk_bytes)} free: {'fits' if found.disk_fits else 'DOES NOT FIT'}",
        f"memory  {found.memory_mb:,.0f} MB; {found.free_memory_mb:,.0f} MB free: "
        f"{'fits' if found.memory_fits else 'DOES NOT FIT'}",
        *(f"measured: {line}" for line in found.measured),
        f"extrapolated: {found.extrapolated}",
        *(f"note: {line}" for line in found.notes),
    ]


def _hours(seconds: float) -> str:
    return f"{seconds / 3600:,.2f} h" if seconds >= 360 else f"{seconds:,.1f} s"


def _size(num_bytes: float) -> str:
    return f"{num_bytes / 1e9:,.2f} GB" if num_bytes >= 1e9 else f"{num_bytes / 1e6:,.1f} MB"
