"""The report's tables: data frames with the way they are printed, and their writers for CSV, Markdown and LaTeX.

Nothing is computed here but words. A CSV holds every column and row at full precision; the other forms print the
columns of ``formats``, rounded half to even, and only the rows that the frame marks as ``printed``. What a row's scores
rest on stands in the frame's columns ``scored`` and ``choice``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tabulate import tabulate

from segstudy.report.contract import choice_words, contract, number_words, scored_words
from segstudy.report.contrasts import Frames, cross_frame
from segstudy.spec import CrossEvaluation

GAP = "–"

ARCHITECTURES = {
    "unet": "U-Net",
    "unetplusplus": "U-Net++",
    "manet": "MA-Net",
    "linknet": "LinkNet",
    "fpn": "FPN",
    "pspnet": "PSPNet",
    "pan": "PAN",
    "deeplabv3": "DeepLabV3",
    "deeplabv3plus": "DeepLabV3+",
    "upernet": "UPerNet",
    "segformer": "SegFormer",
    "dpt": "DPT",
}


@dataclass(frozen=True)
class Format:
    """How one column of a frame is printed: text, or a number with ``places`` decimals.

    Attributes
    ----------
    key, label
        The frame's column, and its heading.
    places, signed, suffix
        Decimals (None: text), whether a plus is printed, and what follows the number.
    bounds
        Columns of an interval that is printed behind the number.
    mark
        Column of a word that is printed behind all that.
    level
        Of a score, the level it is taken at; empty for what is none.
    scored, choice
        Where it was scored and what chose the epoch, where that is not what the row's ``scored`` and ``choice`` say.

    """

    key: str
    label: str
    places: int | None = None
    signed: bool = False
    suffix: str = ""
    bounds: tuple[str, str] | None = None
    mark: str = ""
    level: str = ""
    scored: str = ""
    choice: str = ""


@dataclass(frozen=True)
class Cell:
    """One printed value.

    ``exact`` is the value at full precision, ``number`` what it sorts by (None: by its text), ``contract`` what a score
    rests on.
    """

    text: str
    exact: str = ""
    number: float | None = None
    contract: str = ""


@dataclass(frozen=True)
class Table:
    """A frame, what it is called, and how its columns are printed."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    formats: tuple[Format, ...]

    def rows(self) -> list[list[Cell]]:
        """Printed cells, row by row."""
        frame = self.frame[self.frame["printed"]] if "printed" in self.frame else self.frame
        return [[format_cell(row, column) for column in self.formats] for row in frame.to_dict("records")]


SCORES = (
    Format("miou", "mIoU", 4, level="dataset"),
    Format("mdice", "mDice", 4, level="dataset"),
    Format("pixel_accuracy", "Pixel acc.", 4, level="dataset"),
    Format("mean_class_accuracy", "Mean class acc.", 4, level="dataset"),
)
ACCURACIES = (
    "Pixel acc. is the share of all pixels that are right (the review calls it mPA); "
    "Mean class acc. is the share of each class's pixels that were found, averaged over classes."
)


def format_cell(row: dict[Any, Any], column: Format) -> Cell:
    """Print one value; a missing one is a dash."""
    value = row.get(column.key)
    if column.places is None:
        missing = value is None or value != value or value == ""
        return Cell(GAP if missing else str(value))
    if value is None or math.isnan(value):
        return Cell(GAP)
    text, exact = number_text(value, column.places, column.signed), repr(float(value))
    spread = row.get(f"{column.key}_sd", math.nan)
    if column.bounds is not None:
        low, high = (float(row[key]) for key in column.bounds)
        text += f" [{GAP}]" if math.isnan(low) else f" {interval_text(low, high, column.places, column.signed)}"
        exact += "" if math.isnan(low) else f" [{low!r}, {high!r}]"
    elif not math.isnan(spread):
        text, exact = f"{text} ± {spread:.{column.places}f}", f"{exact} ± {float(spread)!r}"
    text += column.suffix + (f" {row[column.mark]}" if column.mark and row[column.mark] else "")
    rests_on = column.scored or row.get("scored", ""), column.choice or row.get("choice", "")
    words = number_words(column.level, *rests_on) if column.level else ""
    return Cell(text, exact, float(value), words)


def number_text(value: float, places: int = 4, signed: bool = False) -> str:
    """A number as tables print it, with a true minus; a dash for none.

    >>> number_text(-0.25, 2, True), number_text(float("nan"))
    ('−0.25', '–')
    """
    if math.isnan(value):
        return GAP
    text = f"{value:{'+' if signed else ''}.{places}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-+")


def interval_text(low: float, high: float, places: int = 4, signed: bool = False) -> str:
    """Both bounds in brackets, on one line; a dash where there is no interval.

    >>> interval_text(0.5, 0.75, 2)
    '[0.50,\xa00.75]'
    """
    if math.isnan(low) or math.isnan(high):
        return GAP
    return f"[{number_text(low, places, signed)},\N{NO-BREAK SPACE}{number_text(high, places, signed)}]"


def crosses(frames: Frames) -> list[CrossEvaluation]:
    """Cross-evaluations of the experiments in the plan."""
    known = frames.plan.experiments
    return [cross for cross in frames.plan.study.cross_evaluations if cross.experiment in known]


def scores_of(frames: Frames, names: Sequence[str], on: str | None = None) -> pd.DataFrame:
    """Rows of the score frame that belong to experiments ``names``, on the dataset ``on`` or each on its own."""
    scores = frames.scores[frames.scores["experiment"].isin(list(names))]
    return scores[scores["test_data"] == (scores["train_data"] if on is None else on)]


def with_contract(frame: pd.DataFrame, rows: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """``frame`` with what each of its rows rests on, from the rows of the score frame that it stands for."""
    return frame.assign(scored=list(map(scored_words, rows)), choice=list(map(choice_words, rows)))


def _state(frame: pd.DataFrame) -> tuple[Format, ...]:
    """A column for states, wherever not everything is done."""
    return () if (frame["state"] == "done").all() else (Format("state", "State"),)


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """Experiments with ``model``, the architecture as people write it."""
    return frame.assign(model=frame["arch"].map(lambda arch: ARCHITECTURES.get(arch.lower(), arch)))


def _scored_columns(frame: pd.DataFrame, front: Sequence[str]) -> pd.DataFrame:
    """The columns in ``front``, then everything from the scores on."""
    columns = list(frame.columns)
    last = [column for column in columns[columns.index("seeds") :] if column not in front]
    return frame[[*front, "state", *last]]


def baselines_table(frames: Frames, number: int) -> Table:
    """Table 1: every baseline on its own dataset."""
    frame = named(frames.comparison[frames.comparison["base"] == ""])
    frame = _scored_columns(frame, ["experiment", "model", "dataset"])
    frame = frame[[column for column in frame.columns if not column.startswith("delta_miou")]]
    frame = with_contract(frame, [scores_of(frames, [name]) for name in frame["experiment"]])
    formats = (Format("model", "Model"), Format("dataset", "Dataset"), *SCORES, *_state(frame))
    scores = scores_of(frames, frame["experiment"].tolist())
    caption = f"Every baseline on its own dataset. {contract(scores, spread=True)} {ACCURACIES}"
    return Table(f"{number}-baselines", f"Table {number}: Baselines", caption, frame, formats)


def configurations_table(frames: Frames, number: int) -> Table:
    """Table 2: what each experiment is."""
    frame = named(frames.comparison)
    stride = [f"{v:.0f}" if v == v and v is not None else "N/A" for v in frame["output_stride"]]
    columns = ["experiment", "model", "dataset", "encoder", "weights", "output_stride", "input_size", "note"]
    frame = frame.assign(output_stride=stride)[[*columns, "epochs", "chosen", "state"]]
    formats = (
        Format("experiment", "Name"),
        Format("model", "Model"),
        Format("dataset", "Dataset"),
        Format("encoder", "Backbone"),
        Format("weights", "Pre-trained"),
        Format("output_stride", "OS"),
        Format("input_size", "Input", 0),
        Format("note", "Notes"),
        Format("epochs", "Epochs", 0),
        Format("chosen", "Chosen"),
        Format("state", "State"),
    )
    caption = (
        "Every experiment. OS is the encoder's output stride (N/A where the study sets none), Input the side of the "
        "square network input in pixels, Chosen the epoch whose weights are scored, of so many epochs of training "
        "(imported: trained elsewhere, the epoch as its file says). An ablation changes the architecture or a core "
        "component, a hyperparameter a training or configuration setting."
    )
    title = f"Table {number}: Experiments and their configurations"
    return Table(f"{number}-configurations", title, caption, frame, formats)


def mark_confounded(frame: pd.DataFrame) -> list[str]:
    """What each variant changes, marked where it is more than one thing."""
    return [f"{v} (confounded)" if c else v for v, c in zip(frame["variant"], frame["confounded"], strict=True)]


def variants_table(frames: Frames, arch: str, group: pd.DataFrame, number: int) -> Table:
    """Tables 3 and 4: baselines of one architecture, each followed by its variants."""
    marks = mark_confounded(group)
    flags = group["experiment"].map(frames.effects.set_index("experiment")["flags"]).fillna("")
    front = ["experiment", "dataset", "base", "variant", "confounded", "flags"]
    frame = _scored_columns(group.assign(variant=marks, flags=flags), front)
    frame = with_contract(frame, [scores_of(frames, [name]) for name in frame["experiment"]])
    formats = (
        Format("experiment", "Name"),
        Format("dataset", "Dataset"),
        Format("variant", "Variant"),
        *SCORES,
        Format("delta_miou", "Δ mIoU", 4, signed=True, level="dataset"),
        *((Format("flags", "Differs beside the factor"),) if (frame["flags"] != "").any() else ()),
        *_state(frame),
    )
    label = ARCHITECTURES.get(arch.lower(), arch)
    confounded = (
        " A confounded variant differs from its base in more than one thing, so its Δ cannot be put down to one of them."
        if group["confounded"].any()
        else ""
    )
    caption = (
        f"{label} baselines and the variants that change one thing in them. Δ is the variant minus its base, before rounding; "
        f"its ± is of differences seed by seed, where both have the same seeds.{confounded} "
        f"{contract(scores_of(frames, frame['experiment'].tolist()), spread=True)}"
    )
    return Table(f"{number}-variants-{arch.lower()}", f"Table {number}: {label} variants", caption, frame, formats)


def cross_table(frames: Frames, cross: CrossEvaluation, number: int) -> Table:
    """Tables 5 and 6: one experiment on its own dataset and on another."""
    frame = cross_frame(cross, frames.runs, frames.scores, frames.constants)
    own, there = scores_of(frames, [cross.experiment]), scores_of(frames, [cross.experiment], cross.on)
    there = there[there["split"] == cross.split] if cross.split else there
    own = own[own["seed"].isin(there["seed"])] if len(there) else own
    drop = f"{scored_words(own)}, minus {scored_words(there)}"
    formats = [Format("row", "Train → Test")]
    for column in SCORES[:3]:
        formats += [
            column,
            Format(f"{column.key}_drop", f"Drop {column.label}", 4, level="dataset", scored=drop),
            Format(f"{column.key}_drop_percent", "Drop (%)", 1, suffix=" %", level="dataset", scored=drop),
        ]
    run = frames.plan.first(cross.experiment)
    frame = with_contract(frame, [own, there, there])
    frame = frame.assign(choice=[*frame["choice"][:2], "no network"])
    mapped = "".join(f" Class “{a}” stands for “{b}”." for a, b in cross.map.items())
    caption = (
        f"{cross.experiment}, trained on {run.config.dataset}, on its own test images and on {cross.on} without further "
        f"training.{mapped} Drop is in-domain minus cross of the same networks, before rounding, and as a share of in-domain. "
        f"The last row is what calling every pixel one class would score on {cross.on}: a score near it shows no skill. "
        f"{contract(pd.concat([own, there]), spread=True)}"
    )
    split = f"-{cross.split}" if cross.split else ""
    name = f"{number}-cross-{cross.experiment}-{cross.on}{split}"
    title = f"Table {number}: {cross.experiment} on {cross.on}"
    return Table(name, title, caption, frame, (*formats, *_state(frame)))


def cost_table(frames: Frames, number: int) -> Table:
    """Table 8: what each experiment costs."""
    frame = _scored_columns(frames.cost, ["experiment"])
    formats = (
        Format("experiment", "Name"),
        Format("seconds_per_epoch", "s/epoch", 2),
        Format("images_per_s", "Images/s", 1),
        Format("peak_memory_mb", "Peak memory (MB)", 0),
        Format("memory_of", "Memory of"),
        Format("parameters", "Parameters (M)", 2),
        Format("gflops", "GFLOPs", 2),
        Format("latency_ms", "Latency (ms)", 1),
        Format("device", "Device"),
        Format("precision", "Precision"),
        *_state(frame),
    )
    caption = (
        "Measured, not estimated: median seconds of a training epoch, images a second while training, peak memory of "
        "training (of the GPU, or of the whole process where there is none), parameters, operations of one image "
        "forward (a multiply-add is two), median latency of one image forward. Times compare only on an idle machine."
    )
    return Table(f"{number}-cost", f"Table {number}: Cost", caption, frame, formats)


def csv_text(table: Table) -> str:
    """All columns and rows at full precision."""
    return table.frame.to_csv(index=False, lineterminator="\n")


def markdown_text(table: Table) -> str:
    """A heading, a pipe table, the caption."""
    rows = [[cell.text.replace("|", "\\|") for cell in row] for row in table.rows()]
    align = ["left" if column.places is None else "right" for column in table.formats]
    headers = [column.label for column in table.formats]
    body = tabulate(rows, headers, tablefmt="pipe", colalign=align if rows else None, disable_numparse=True)
    return f"### {table.title}\n\n{body}\n\n{table.caption}\n"


TEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "\N{NO-BREAK SPACE}": "~",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "→": r"$\rightarrow$",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "Δ": r"$\Delta$",
    "–": "--",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "“": "``",
    "”": "''",
}


def escape_tex(text: str) -> str:
    r"""Text that LaTeX prints as it stands.

    >>> escape_tex("a_b 5%")
    'a\\_b 5\\%'
    """
    return "".join(TEX.get(character, character) for character in text)


def latex_text(table: Table) -> str:
    r"""A ``table`` float for the ``booktabs`` package; ``\label`` is ``tab:<name>``."""
    columns = "".join("l" if column.places is None else "r" for column in table.formats)
    head = " & ".join(escape_tex(column.label) for column in table.formats)
    body = "\n".join("    " + " & ".join(escape_tex(cell.text) for cell in row) + r" \\" for row in table.rows())
    title = table.title.split(": ", 1)[-1]
    return (
        "% \\usepackage{booktabs}\n"
        "\\begin{table}\n  \\centering\n  \\small\n  \\setlength{\\tabcolsep}{4pt}\n"
        f"  \\caption{{{escape_tex(title)}. {escape_tex(table.caption)}}}\n  \\label{{tab:{table.name}}}\n"
        f"  \\begin{{tabular}}{{{columns}}}\n    \\toprule\n    {head} \\\\\n    \\midrule\n{body}\n"
        "    \\bottomrule\n  \\end{tabular}\n\\end{table}\n"
    )
