"""The report's tables: data frames with the way they are printed, and their writers for CSV, Markdown and LaTeX.

Nothing is computed here but words. A CSV holds every column and row at full precision; the other forms print the
columns of ``formats``, rounded half to even, and only the rows that the frame marks as ``printed``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from tabulate import tabulate

from segstudy.guard import differing
from segstudy.plan import IMPORTED
from segstudy.report.contrasts import Frames, baseline_pairs, class_contrast, class_frame, cross_frame, variant_groups
from segstudy.report.results import CONTRACT
from segstudy.spec import CrossEvaluation

GAP = "–"
THRESHOLD = 0.05  # the paper's, for table 7

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
    """How one column of a frame is printed: text, or a number with ``places`` decimals."""

    key: str
    label: str
    places: int | None = None
    signed: bool = False
    suffix: str = ""


@dataclass(frozen=True)
class Cell:
    """One printed value; ``exact`` is the value at full precision, ``number`` what it sorts by (None: by its text)."""

    text: str
    exact: str = ""
    number: float | None = None


@dataclass(frozen=True)
class Table:
    """A frame, what it is called, and how its columns are printed."""

    name: str
    title: str
    caption: str
    frame: pd.DataFrame
    formats: tuple[Format, ...]
    contract: str = ""  # what its numbers rest on, in one line, for whoever points at one

    def rows(self) -> list[list[Cell]]:
        """Printed cells, row by row."""
        frame = self.frame[self.frame["printed"]] if "printed" in self.frame else self.frame
        return [[format_cell(row, column) for column in self.formats] for row in frame.to_dict("records")]


SCORES = (
    Format("miou", "mIoU", 4),
    Format("mdice", "mDice", 4),
    Format("pixel_accuracy", "Pixel acc.", 4),
    Format("mean_class_accuracy", "Mean class acc.", 4),
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
    if not math.isnan(spread):
        text, exact = f"{text} ± {spread:.{column.places}f}", f"{exact} ± {float(spread)!r}"
    return Cell(text + column.suffix, exact, float(value))


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


def make_tables(frames: Frames) -> list[Table]:
    """Every table of the report; the numbers are the paper's where the study is the paper's."""
    shared = frames.comparison
    tables = [baselines_table(frames), configurations_table(shared)]
    for arch, group in variant_groups(shared).items():
        tables.append(variants_table(frames, len(tables) + 1, arch, group))
    for cross in crosses(frames):
        tables.append(cross_table(frames, len(tables) + 1, cross))
    number = len(tables) + 1
    pairs = baseline_pairs(shared)
    for pair in pairs:
        alone = sum(other[0] == pair[0] for other in pairs) == 1
        tables.append(class_table(frames, number, pair, alone))
    tables.append(cost_table(frames, number + bool(pairs)))
    return tables


def crosses(frames: Frames) -> list[CrossEvaluation]:
    """Cross-evaluations of the experiments in the plan."""
    known = frames.plan.experiments
    return [cross for cross in frames.plan.study.cross_evaluations if cross.experiment in known]


def contract(rows: pd.DataFrame) -> str:
    """What the scores in ``rows`` of the score frame rest on, in a few short sentences."""
    rows = rows.dropna(subset=["miou"])
    if rows.empty:
        return "No finished run yet."
    splits = rows.drop_duplicates(["test_data", "split"])
    where = ", ".join(f"{r.test_data} {r.split} ({r.n:.0f} images)" for r in splits.itertuples())
    size = "at the network's input size" if (rows["resolution"] == "input").all() else "at each image's own size"
    return (
        f"Split: {where}. {_choice(rows)} Scored {size}; means are over the classes present; pixels labelled 255 are "
        f"ignored. {_seeds(rows)}"
    )


def short_contract(rows: pd.DataFrame) -> str:
    """The contract of the scores in ``rows`` in one line: level, rules, resolution, split, what chose the epoch."""
    rows = rows.dropna(subset=["miou"]).drop_duplicates(["test_data", "split", "selected_on", "resolution"])
    where = "; ".join(f"{r.test_data} {r.split}, epoch chosen on {r.selected_on}" for r in rows.itertuples())
    size = "input" if (rows["resolution"] == "input").all() else "native"
    return (
        f"dataset level, absent classes {CONTRACT['absent_classes']}, background {CONTRACT['background']}, "
        f"ignore {CONTRACT['ignore']}, {size} size; {where}"
    )


def _choice(rows: pd.DataFrame) -> str:
    """Which split chose the epoch, and what that does to the score."""
    same = rows["selected_on"] == rows["test_data"] + "/" + rows["split"]
    if same.all():
        return "Epoch chosen on the reported split (the review's protocol), which flatters the score."
    if same.any():
        return "Epoch chosen on the reported split of the training data (the review's protocol), which flatters that score."
    imported = rows["selected_on"] == IMPORTED
    if imported.all():
        return "Trained elsewhere and imported: which split chose the epoch is not known."
    chosen = f"Epoch chosen on {', '.join(dict.fromkeys(rows['selected_on'][~imported]))}, which is never reported"
    return f"{chosen}; runs trained elsewhere and imported are the exception." if imported.any() else f"{chosen}."


def _seeds(rows: pd.DataFrame) -> str:
    seeds = sorted(set(rows["seed"]))
    if len(seeds) == 1:
        return f"Single run (seed {seeds[0]}); nothing is known about other seeds."
    return f"Mean ± standard deviation over {len(seeds)} seeds ({', '.join(map(str, seeds))})."


def _scored(frames: Frames, names: Sequence[str], crossed: bool = False) -> pd.DataFrame:
    """Rows of the score frame that belong to experiments ``names``."""
    scores = frames.scores[frames.scores["experiment"].isin(list(names))]
    return scores if crossed else scores[scores["train_data"] == scores["test_data"]]


def _state(frame: pd.DataFrame) -> tuple[Format, ...]:
    """A column for states, wherever not everything is done."""
    return () if (frame["state"] == "done").all() else (Format("state", "State"),)


def _named(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.assign(model=frame["arch"].map(lambda arch: ARCHITECTURES.get(arch.lower(), arch)))


def _scored_columns(frame: pd.DataFrame, front: Sequence[str]) -> pd.DataFrame:
    """The columns in ``front``, then everything from the scores on."""
    columns = list(frame.columns)
    last = [column for column in columns[columns.index("seeds") :] if column not in front]
    return frame[[*front, "state", *last]]


def baselines_table(frames: Frames) -> Table:
    """Table 1: every baseline on its own dataset."""
    frame = _named(frames.comparison[frames.comparison["base"] == ""])
    frame = _scored_columns(frame, ["experiment", "model", "dataset"])
    frame = frame[[column for column in frame.columns if not column.startswith("delta_miou")]]
    formats = (Format("model", "Model"), Format("dataset", "Dataset"), *SCORES, *_state(frame))
    caption = (
        f"Every baseline on its own dataset. {contract(_scored(frames, frame['experiment'].tolist()))} {ACCURACIES}"
    )
    return Table("1-baselines", "Table 1: Baselines", caption, frame, formats)


def configurations_table(comparison: pd.DataFrame) -> Table:
    """Table 2: what each experiment is."""
    frame = _named(comparison)
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
    return Table("2-configurations", "Table 2: Experiments and their configurations", caption, frame, formats)


def mark_confounded(frame: pd.DataFrame) -> list[str]:
    """What each variant changes, marked where it is more than one thing."""
    return [f"{v} (confounded)" if c else v for v, c in zip(frame["variant"], frame["confounded"], strict=True)]


def variants_table(frames: Frames, number: int, arch: str, group: pd.DataFrame) -> Table:
    """Tables 3 and 4: baselines of one architecture, each followed by its variants."""
    marks = mark_confounded(group)
    flags = group["experiment"].map(frames.effects.set_index("experiment")["flags"]).fillna("")
    front = ["experiment", "dataset", "base", "variant", "confounded", "flags"]
    frame = _scored_columns(group.assign(variant=marks, flags=flags), front)
    formats = (
        Format("experiment", "Name"),
        Format("dataset", "Dataset"),
        Format("variant", "Variant"),
        *SCORES,
        Format("delta_miou", "Δ mIoU", 4, signed=True),
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
        f"{label} baselines and the variants that change one thing in them. Δ is the variant minus its base, seed by seed "
        f"and before rounding.{confounded} {contract(_scored(frames, frame['experiment'].tolist()))}"
    )
    return Table(f"{number}-variants-{arch.lower()}", f"Table {number}: {label} variants", caption, frame, formats)


def cross_table(frames: Frames, number: int, cross: CrossEvaluation) -> Table:
    """Tables 5 and 6: one experiment on its own dataset and on another."""
    frame = cross_frame(cross, frames.runs, frames.scores, frames.constants)
    formats = [Format("row", "Train → Test")]
    for column in SCORES[:3]:
        formats += [
            column,
            Format(f"{column.key}_drop", f"Drop {column.label}", 4),
            Format(f"{column.key}_drop_percent", "Drop (%)", 1, suffix=" %"),
        ]
    run = frames.plan.first(cross.experiment)
    scores = _scored(frames, [cross.experiment], crossed=True)
    scores = scores[scores["test_data"].isin([run.config.dataset, cross.on])]
    mapped = "".join(f" Class “{a}” stands for “{b}”." for a, b in cross.map.items())
    caption = (
        f"{cross.experiment}, trained on {run.config.dataset}, on its own test images and on {cross.on} without further "
        f"training.{mapped} Drop is in-domain minus cross, before rounding, and as a share of in-domain. The last row is "
        f"what calling every pixel one class would score on {cross.on}: a score near it shows no skill. {contract(scores)}"
    )
    split = f"-{cross.split}" if cross.split else ""
    name = f"{number}-cross-{cross.experiment}-{cross.on}{split}"
    title = f"Table {number}: {cross.experiment} on {cross.on}"
    return Table(name, title, caption, frame, (*formats, *_state(frame)))


def class_table(frames: Frames, number: int, pair: tuple[str, str, str], alone: bool) -> Table:
    """Table 7: two baselines class by class."""
    dataset, first, second = pair
    frame = class_contrast(class_frame(frames.reported, frames.runs, pair[1:]), first, second, THRESHOLD)
    known = frames.class_effects[
        (frames.class_effects["experiment"] == first) & (frames.class_effects["base"] == second)
    ]
    frame = frame.merge(known[["class", "low", "high"]], on="class", how="left")
    bounds = zip(frame["low"].astype(float), frame["high"].astype(float), strict=True)
    frame = frame.assign(interval=[interval_text(low, high, signed=True) for low, high in bounds])
    arch = _named(frames.comparison).set_index("experiment")["model"]
    formats = [Format("index", "Index", 0), Format("class", "Class"), Format("images", "Images", 0)]
    for key, label in (("iou", "IoU"), ("dice", "Dice")):
        formats += [
            Format(f"{key}_first", f"{arch[first]} {label}", 4),
            Format(f"{key}_second", f"{arch[second]} {label}", 4),
            Format(f"{key}_delta", f"Δ {label}", 4, signed=True),
            *((Format("interval", "Δ IoU, 95 %"),) if key == "iou" else ()),
        ]
    hidden = int((~frame["printed"]).sum())
    shown = (
        f"Classes whose IoU differs by more than {THRESHOLD}; {hidden} others are left out here and stand in the CSV."
    )
    caption = (
        f"{shown if hidden else 'Every class.'} Δ is {first} minus {second}, before rounding; Images counts the images "
        f"that hold the class; a class that is in none has no score. {contract(_scored(frames, pair[1:]))}"
    )
    waiting = frames.comparison[frames.comparison["experiment"].isin(pair[1:]) & (frames.comparison["state"] != "done")]
    gaps = "".join(f" {row.experiment}: {row.state}." for row in waiting.itertuples())
    if phrases := differing(frames.records.get(first, []), frames.records.get(second, [])):
        gaps += f" The two also differ in: {'; '.join(phrases)}."
    name = f"{number}-per-class-{dataset}" + ("" if alone else f"-{second}")
    return Table(name, f"Table {number}: Classes of {dataset}", caption + gaps, frame, tuple(formats))


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
