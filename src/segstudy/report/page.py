"""The report as one self-contained HTML page: tables and figures in order, with the words around them."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from segstudy.comparison import NOT_COMPARABLE
from segstudy.counts.countset import CountSet
from segstudy.measures import name_of
from segstudy.report.answer import (
    answer_frame,
    best_frame,
    draw_front,
    network_words,
    primary_scores,
    sentences,
    warnings,
)
from segstudy.report.figure import COLOURS, GRID, INK, MUTED, PAPER, Drawing
from segstudy.report.frames import ReportData
from segstudy.report.gallery import collect_galleries
from segstudy.report.section import Item, Section, Widget
from segstudy.report.table import Cell, Table, interval_text, number_text, visible
from segstudy.results import RunResult

NOTES = (
    (
        "mIoU",
        "Of each class, the pixels that are both predicted and true over those that are either; then the mean over "
        "classes. 1 is perfect.",
    ),
    (
        "mDice",
        "The same overlap counted twice in its favour, 2 IoU / (1 + IoU) for each class; then the mean over classes.",
    ),
    (
        "Pixel acc.",
        "Share of all pixels that are right. A large background makes it high for a network that finds nothing.",
    ),
    ("Mean class acc.", "Share of each class's true pixels that were found, averaged over classes."),
    (
        "One count for all",
        "Scores come from the pixels of all images together, not from an average over images, except where a figure "
        "says “of one image”.",
    ),
    ("Absent classes", "A class that is in no image of the split has no score and does not enter the mean."),
    (
        "Rounding",
        "Tables print four decimals; point at a number, or open the CSV, for all of them. Differences are taken before "
        "rounding, so a printed one may be off by one in the last digit.",
    ),
    (
        "Interval",
        "A 95 % interval holds the true value in 95 of 100 studies like this one. With several seeds it is about the recipe, "
        "trained again on images like these; with one seed about this one network on images like these.",
    ),
    (
        "Verdict",
        "“Better” or “worse” where the difference is larger than chance explains, corrected for the number of comparisons; "
        "“not distinguishable” does not prove equality.",
    ),
    (
        "One seed",
        "Without several seeds no spread is known: a difference may be the luck of one run, however many decimals it has.",
    ),
    (
        "Names",
        "Sentences, the first screen and the image browser call a network by its factors; tables and figures by its "
        "experiment's name in the study file and in results.csv. The section “Runs” has both.",
    ),
    ("A dash", "There is no number: the run is not done, or the value is not defined in this row."),
)

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Part:
    """A section with what stands in it."""

    section: Section
    items: Sequence[Item]


def render_page(
    data: ReportData, parts: Sequence[Part], version: str, inline: Mapping[str, Mapping[str, str]] | None = None
) -> str:
    """The whole page; ``inline`` are files that widgets would load, by widget and path, where the page is to be one file."""
    study = data.plan.study
    folder = FileSystemLoader(HERE)
    jinja = Environment(
        loader=folder,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: unbroken(visible(value)) if type(value) is str else value,
    )
    jinja.filters["breakable"] = breakable
    environment = data.results.environment
    widgets = [item for part in parts for item in part.items if isinstance(item, Widget)]
    return jinja.get_template("page.html.j2").render(
        title=study.title or study.name,
        question=study.question,
        study=study.name,
        protocol=study.protocol,
        progress=progress_text(data.runs),
        **first_screen(data),
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        scripts=[_script(name) for name in ("page", *dict.fromkeys(widget.script for widget in widgets))],
        seeds=list(dict.fromkeys(data.runs["seed"])),
        runs=run_rows(data),
        reasons=[
            f"{r['experiment']}, seed {r['seed']}: {r['reason']}" for r in data.runs.to_dict("records") if r["reason"]
        ],
        sections=[
            {
                "id": part.section.key,
                "title": part.section.title,
                "content": [_shown(item, data, inline) for item in part.items],
            }
            for part in parts
        ],
        counts=counts_files(data),
        single=inline is not None,
        notes=NOTES,
        environment=environment_pairs(environment.model_dump()) if environment else [],
        version=version,
    )


def unbroken(text: str) -> str:
    """Text whose numbers stay with their unit and sign.

    >>> unbroken("95 %, 0.5 ± 0.1")
    '95\xa0%, 0.5 ±\xa00.1'
    """
    return text.replace(" %", "\N{NO-BREAK SPACE}%").replace("± ", "±\N{NO-BREAK SPACE}")


def breakable(text: str) -> Markup:
    """A name that may break after a slash or an underscore, and elsewhere only if it must."""
    return Markup(re.sub(r"([/_])", r"\1<wbr>", str(escape(visible(text)))))


def first_screen(data: ReportData) -> dict[str, Any]:
    """The part of the page that is visible before anything is opened."""
    front, changes = draw_front(data), answer_frame(data)
    return {
        "warnings": warnings(data),
        "sentences": sentences(data),
        "changes": [(words, group.to_dict("records")) for words, group in changes.groupby("against", sort=False)],
        "measure": name_of(data.results.primary),
        "best_word": "highest" if data.results.primary.higher_is_better else "lowest",
        "best": {row["experiment"] for row in best_frame(data).to_dict("records")},
        "marked": bool(((changes["flags"].fillna("") != "") & (changes["verdict"] != NOT_COMPARABLE)).any()),
        "baselines": baseline_rows(data),
        "worst": worst_images(data),
        "places": 3 if changes["value"].abs().max() >= 0.01 else 4,
        "number": number_text,
        "interval": interval_text,
        "front": front,
        "front_markup": markup_of(front) if front else "",
    }


def worst_images(data: ReportData) -> list[tuple[str, str, str, str]]:
    """The best network of each dataset that has pictures: dataset, experiment, its words, the anchor of its image browser."""
    galleries = {one.test: one for one in collect_galleries(data) if one.train == one.test}
    best = best_frame(data)
    return [
        (dataset, experiment, data.called[experiment], galleries[dataset].anchor)
        for dataset, experiment in zip(best["dataset"], best["experiment"], strict=True)
        if dataset in galleries and experiment in galleries[dataset].predicted
    ]


def _script(name: str) -> Markup:
    return Markup((HERE / f"{name}.js").read_text(encoding="utf-8"))


def counts_files(data: ReportData) -> list[list[Any]]:
    """First line in ``results.csv`` of each evaluation, and its counts' files as seen from the page: one, or one a fold."""
    files = {
        (one.experiment, one.seed, one.about.test_data, one.about.split): [
            Path(os.path.relpath(path, data.results.store.report)).as_posix() for path in _counts_of(result, one)
        ]
        for result in data.results.runs
        for one in result.sets
    }
    return [[line, *files[key]] for key, line in data.form.first_lines().items()]


def _counts_of(result: RunResult, one: CountSet) -> list[Path]:
    if result.folds:
        return [path for fold in result.folds for path in fold.counts]
    return [result.folder.evaluation(str(one.about.test_data), str(one.about.split))]


def baseline_rows(data: ReportData) -> list[dict[Any, Any]]:
    """Baselines that nothing is compared with, for the first screen of a study without changes."""
    known = data.experiments[data.experiments["base"] == ""]
    known = known.assign(score=known["experiment"].map(primary_scores(data)).astype(float))
    known = known.assign(called=known["experiment"].map(data.called))
    return known[["experiment", "called", "dataset", "score", "state"]].to_dict("records")


def _shown(item: Item, data: ReportData, inline: Mapping[str, Mapping[str, str]] | None) -> dict[str, Any]:
    """A table with its cells, a figure with its markup, a widget with its data, or a paragraph, as the template takes it."""
    if isinstance(item, Table):
        rows = [[(cell, lines_of(cell, data)) for cell in row] for row in item.rows()]
        return {"kind": "table", "table": item, "rows": rows, "nothing": "Nothing to show yet."}
    if isinstance(item, Drawing):
        return {"kind": "figure", "drawing": item, "markup": markup_of(item)}
    if isinstance(item, Widget):
        files = dict(item.written(data.results.store.report)) if inline is None else {"inline": inline[item.name]}
        return {"kind": "widget", "widget": item, "data": {**item.data, **files}}
    return {"kind": "text", "text": item}


def lines_of(cell: Cell, data: ReportData) -> str:
    """Lines of ``results.csv`` that a printed score was made of."""
    if cell.source is None:
        return ""
    runs, level, measure, label = cell.source
    found = (data.lines.get((*run, level, measure, label)) for run in runs)
    return " ".join(str(line) for line in found if line is not None)


def markup_of(drawing: Drawing) -> Markup:
    """The figure inside the page: drawn lines as SVG in the page's own colours, photographs as JPEG."""
    if drawing.photographs:
        data = base64.b64encode(drawing.jpeg()).decode()
        width = round(100 * drawing.figure.get_figwidth())
        head = Markup('<img style="max-width: {}px" alt="{}" src="data:image/jpeg;base64,').format(width, drawing.alt)
        return head + Markup(data + '">')
    svg = drawing.svg[drawing.svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    opening, rest = svg.split(">", 1)
    viewbox = re.search(r'viewBox="[^"]*"', opening)
    assert viewbox is not None
    names = {INK: "ink", MUTED: "muted", GRID: "line", PAPER: "paper"} | {c: f"c{n}" for n, c in enumerate(COLOURS)}
    for colour, variable in names.items():
        rest = rest.replace(colour, f"var(--{variable})")
    prefix = drawing.name  # ids are unique within a page
    rest = re.sub(r'\bid="', f'id="{prefix}.', rest)
    rest = re.sub(r'(href="#|url\(#)', rf"\g<1>{prefix}.", rest)
    head = Markup('<svg {} role="img" aria-label="{}">').format(Markup(viewbox.group()), drawing.alt)
    return head + Markup(rest)


def progress_text(runs: pd.DataFrame) -> str:
    """The number of runs in each state.

    >>> progress_text(pd.DataFrame({"state": ["done", "failed"]}))
    '1 of 2 runs done, 1 failed'
    """
    counts = runs["state"].value_counts(sort=False)
    rest = "".join(f", {n} {state}" for state, n in counts.items() if state != "done")
    return f"{int(counts.get('done', 0))} of {len(runs)} runs done{rest}"


def run_rows(data: ReportData) -> list[dict[str, Any]]:
    """States of the runs, an experiment a row, a seed a column."""
    rows = []
    for name, group in data.runs.groupby("experiment", sort=False):
        states = [{"state": r.state, "text": _state_text(r)} for r in group.itertuples()]
        what = group.iloc[0]
        note = f"{what['note']}: {what['variant']}" if what["base"] else what["note"]
        rows.append({"name": name, "called": network_words(data, str(name)), "note": note, "states": states})
    return rows


def _state_text(run: Any) -> str:
    unfinished = run.state in ("partial", "running", "failed")
    return f"{run.state}, {run.progress}" if unfinished else str(run.state)


def environment_pairs(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions and hardware in words."""
    pairs = [(key.replace("_", " "), value) for key, value in environment.items() if key != "packages"]
    pairs += list(environment.get("packages", {}).items())
    return [(str(key), "none" if value is None else str(value)) for key, value in pairs]
