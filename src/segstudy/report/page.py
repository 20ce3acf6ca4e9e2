"""The report as one self-contained HTML page: tables and figures in order, with the words around them."""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from segstudy.comparison import NOT_COMPARABLE
from segstudy.errors import listing
from segstudy.report.figure import COLOURS, GRID, INK, MUTED, PAPER, Drawing
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.sections.transfer import cross_frame
from segstudy.report.table import Table, interval_text, number_text
from segstudy.spec import CrossEvaluation
from segstudy.stats.comparison import BETTER, UNDECIDED, WORSE

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
        "“not distinguishable” is no proof of equality.",
    ),
    (
        "One seed",
        "Without several seeds no spread is known: a difference may be the luck of one run, however many decimals it has.",
    ),
    ("A dash", "There is no number: the run is not done, or the value is not defined in this row."),
)

PAPER_BANNER = (
    "Protocol “paper”: as in the review, each run's epoch was chosen on the very split that is reported here, which "
    "flatters every score, and masks are scored at the network's input size, so scores of different input sizes do not "
    "compare. Set these numbers beside the review's; for what to expect on new images use the protocol “held-out”."
)


@dataclass(frozen=True)
class Part:
    """A section with what stands in it."""

    section: Section
    items: Sequence[Item]


def render_page(data: ReportData, parts: Sequence[Part], version: str) -> str:
    """The whole page."""
    study = data.plan.study
    folder = FileSystemLoader(Path(__file__).parent)
    jinja = Environment(loader=folder, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment = data.results.environment
    return jinja.get_template("page.html.j2").render(
        title=study.title or study.name,
        study=study.name,
        protocol=study.protocol,
        banner=PAPER_BANNER if study.protocol == "paper" else "",
        progress=progress_text(data.runs),
        summary=summary_sentences(data),
        seeds=list(dict.fromkeys(data.runs["seed"])),
        runs=run_rows(data.runs),
        reasons=[
            f"{r['experiment']}, seed {r['seed']}: {r['reason']}" for r in data.runs.to_dict("records") if r["reason"]
        ],
        sections=[
            {"id": part.section.key, "title": part.section.title, "content": [_shown(item) for item in part.items]}
            for part in parts
        ],
        notes=NOTES,
        environment=environment_pairs(environment.model_dump()) if environment else [],
        version=version,
    )


def _shown(item: Item) -> dict[str, Any]:
    """A table with its cells, a figure with its markup, or a paragraph, as the template takes it."""
    if isinstance(item, Table):
        return {"kind": "table", "table": item, "rows": item.rows(), "nothing": "Nothing to show yet."}
    if isinstance(item, Drawing):
        return {"kind": "figure", "drawing": item, "markup": markup_of(item)}
    return {"kind": "text", "text": item}


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
    """How many runs stand where.

    >>> progress_text(pd.DataFrame({"state": ["done", "failed"]}))
    '1 of 2 runs done, 1 failed'
    """
    counts = runs["state"].value_counts(sort=False)
    rest = "".join(f", {n} {state}" for state, n in counts.items() if state != "done")
    return f"{int(counts.get('done', 0))} of {len(runs)} runs done{rest}"


def run_rows(runs: pd.DataFrame) -> list[dict[str, Any]]:
    """States of the runs, an experiment a row, a seed a column."""
    rows = []
    for name, group in runs.groupby("experiment", sort=False):
        states = [{"state": r.state, "text": _state_text(r)} for r in group.itertuples()]
        what = group.iloc[0]
        note = f"{what['note']}: {what['variant']}" if what["base"] else what["note"]
        rows.append({"name": name, "note": note, "states": states})
    return rows


def _state_text(run: Any) -> str:
    unfinished = run.state in ("partial", "running", "failed")
    return f"{run.state}, {run.epochs_done} of {run.epochs} epochs" if unfinished else str(run.state)


def summary_sentences(data: ReportData) -> list[str]:
    """A few plain sentences made of the frames."""
    sentences = [f"{progress_text(data.runs)}."]
    sentences += _baseline_sentences(data.experiments) + _effect_sentences(data.effects)
    for cross in data.crosses:
        sentences += _cross_sentence(cross, cross_frame(data, cross))
    if len(set(data.scores["seed"])) == 1:
        sentences.append("Every number rests on a single run, so small differences may be chance.")
    return sentences


def _baseline_sentences(comparison: pd.DataFrame) -> list[str]:
    known = comparison[(comparison["base"] == "") & comparison["miou"].notna()]
    sentences = []
    for dataset, group in known.groupby("dataset", sort=False):
        best, *others = group.sort_values("miou", ascending=False, kind="stable").itertuples()
        rest = "".join(f", {other.experiment} {other.miou:.4f}" for other in others)
        verb = "reaches" if rest else "has"
        sentences.append(f"On {dataset}, {best.experiment} {verb} an mIoU of {best.miou:.4f}{rest}.")
    return sentences


def _effect_sentences(effects: pd.DataFrame) -> list[str]:
    """What the study can say of each variant, those that can be told apart from their base first."""
    known = effects.dropna(subset=["value"])
    told = known[known["verdict"].isin([BETTER, WORSE])]
    sentences = [
        f"{row['experiment']} ({row['variant']}) is {row['verdict']} than {row['base']}: "
        f"{number_text(row['value'], signed=True)} mIoU {interval_text(row['low'], row['high'], signed=True)}"
        f"{', but it changes more than one thing' if row['confounded'] else ''}"
        f"{'; the two also differ in ' + row['flags'] if row['flags'] else ''}."
        for row in told.to_dict("records")
    ]
    for verdict, words in (
        (UNDECIDED, "Not distinguishable from its base"),
        (NOT_COMPARABLE, "Not comparable with its base"),
    ):
        if len(rest := effects[effects["verdict"] == verdict]):
            sentences.append(f"{words}: {listing(rest['experiment'])}.")
    return sentences


def _cross_sentence(cross: CrossEvaluation, frame: pd.DataFrame) -> list[str]:
    inside, target, nothing = frame.to_dict("records")
    if math.isnan(target["miou_drop"]):
        return []
    verb = "falls" if target["miou_drop"] > 0 else "goes"
    return [
        f"On {cross.on}, {cross.experiment} {verb} from {inside['miou']:.4f} to {target['miou']:.4f}; "
        f"calling everything {nothing['row'].split(' → ')[0].removeprefix('all ')} would score {nothing['miou']:.4f} there."
    ]


def environment_pairs(environment: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Versions and hardware in words."""
    pairs = [(key.replace("_", " "), value) for key, value in environment.items() if key != "packages"]
    pairs += list(environment.get("packages", {}).items())
    return [(str(key), "none" if value is None else str(value)) for key, value in pairs]
