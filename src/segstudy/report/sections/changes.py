"""Effects of changes, with intervals: every variant against its base, as a whole and class by class."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import matplotlib
import pandas as pd

from segstudy.comparison import NOT_COMPARABLE
from segstudy.errors import listing
from segstudy.folds import is_pooled
from segstudy.measures import name_of
from segstudy.report.contract import choice_words, contract, scored_words
from segstudy.report.figure import COLOURS, GRID, INK, MUTED, PAPER, STYLE, Drawing, new_figure, shortened
from segstudy.report.frames import ReportData, shown_verdicts
from segstudy.report.section import Item, Section, no_result_yet, not_drawn
from segstudy.report.table import Format, Table, interval_text, mark_confounded, runs_of, with_contract
from segstudy.stats.comparison import BETTER, WORSE

VERDICT_COLOURS = {BETTER: COLOURS[2], WORSE: COLOURS[1]}  # any other verdict is drawn in grey
MARKS = {BETTER: "↑", WORSE: "↓"}
CLASS_COLUMNS = (Format("index", "Index", 0), Format("class", "Class"), Format("images", "Images", 0))
ONE_SEED = "With one seed a verdict is about these two networks only; another seed could reverse it. "
FOLDS = (
    "Over all folds, each image counts once, scored by the network that was not trained on it. Variant and base are compared "
    "fold by fold: the variance between folds, times 1 / k + 1 / (k − 1) for k folds, as folds share training images "
    "(Nadeau and Bengio 2003). "
)
# What an interval or verdict speaks about.
ABOUT = {"images": "these networks", "images and seeds": "recipes", "this network": "this network"}


def comparisons_table(data: ReportData) -> Table:
    """Every variant against its base, with interval, corrected p-value and verdict."""
    frame = data.effects
    seeds = [
        "" if math.isnan(a) else f"{a:.0f}" if a == b else f"{a:.0f}, {b:.0f}"
        for a, b in zip(frame["num_seeds_variant"], frame["num_seeds_base"], strict=True)
    ]
    about = [ABOUT.get(str(population), "") for population in frame["population"]]
    ends = zip(frame["simultaneous_low"], frame["simultaneous_high"], strict=True)
    at_once = [interval_text(low, high, signed=True) for low, high in ends]
    frame = frame.drop(columns="components").assign(
        variant=mark_confounded(frame), seeds=seeds, about=about, simultaneous=at_once, verdict=shown_verdicts(frame)
    )
    pairs = [(str(a), str(b)) for a, b in zip(frame["experiment"], frame["base"], strict=True)]
    frame = with_contract(frame, [data.scores_of(pair) for pair in pairs])
    key, label = data.results.primary.key, name_of(data.results.primary)
    formats = (
        Format("experiment", "Name"),
        Format("base", "Against"),
        Format("variant", "Variant"),
        Format("value", f"Δ {label} [95 %]", 4, signed=True, bounds=("low", "high"), level="dataset", measure=key),
        Format("p_holm", "p (Holm)" if data.plan.study.until is None else "p (all looks)", 4),
        Format("verdict", "Verdict"),
        Format("detectable", "Detectable difference (80 % power)", 4, level="dataset", measure=key),
        *_beyond_columns(frame),
        Format("seeds", "Seeds"),
        Format("about", "About"),
        *((Format("flags", "Also differs in"),) if frame["flags"].any() else ()),
    )
    questions = int(frame["questions"].iloc[0])
    caption = (
        "Variant minus base on the same images. p is corrected for the study's "
        f"{questions} comparison{'s' if questions != 1 else ''} (Holm), finished or not; a verdict needs p below 0.05. "
        "Intervals are not corrected. “Not distinguishable” does not mean equal: the detectable difference is the smallest "
        "true difference that this study would find four times in five, corrected in the same way. "
        f"{_seeds_words(frame)}{_looks_words(data)}{_beyond_words(frame, questions)}"
        f"{contract(pd.concat([data.scores_of(pair) for pair in pairs]))}"
    )
    return Table("comparisons", "What each change does, and how surely", caption, frame, formats, order=(9,))


def _seeds_words(frame: pd.DataFrame) -> str:
    """Explains verdicts from one network on a side, and those over folds."""
    over_folds = frame["split"].map(is_pooled)
    said = "" if over_folds.all() else ONE_SEED
    return said + (FOLDS if over_folds.any() else "")


def _looks_words(data: ReportData) -> str:
    """How seeds were added, if the study adds them until its comparisons are decided; else empty."""
    if (until := data.plan.study.until) is None:
        return ""
    used = len(data.results.runs)
    return (
        f"Seeds were added until each comparison was decided, with looks at {until.first} to {until.at_most} seeds of each "
        f"side: {used} runs were due in place of {used + len(data.plan.later)}. p is corrected for all looks and all comparisons "
        "(group-sequential, Bonferroni) in place of Holm's rule; a look that decided is final. Intervals are not corrected "
        "for the looks. "
    )


def _beyond_words(frame: pd.DataFrame, questions: int) -> str:
    """Explains the columns beyond the verdict."""
    said = ["P(variant better): the share of the confidence distribution on the variant's side of 0."]
    if questions > 1:
        said.append("Simultaneous intervals all contain the true value with a probability of 95 % (Bonferroni).")
    said.append("Margin that would be met: the smallest margin within which the two would be equivalent.")
    if (margins := frame["margin"].dropna()).any():
        said.append(
            f"Equivalence: two one-sided tests against the study's margin of {margins.iloc[0]:g}, corrected for the number of "
            "comparisons."
        )
    return " ".join([*said, ""])


def _beyond_columns(frame: pd.DataFrame) -> Iterator[Format]:
    """Columns in addition to the verdict; those without any value are left out."""
    yield Format("p_greater", "P(variant better)", 3)
    if frame["questions"].iloc[0] > 1:
        yield Format("simultaneous", "Simultaneous interval [95 %]")
    if frame["margin"].notna().any():
        yield Format("equivalence", "Equivalence")
    yield Format("margin_met", "Margin that would be met", 4)
    if (frame["cautions"] != "").any():
        yield Format("cautions", "Caution")


def class_effects_table(data: ReportData, base: str) -> Table:
    """The effect of each variant of one base on each class's IoU, with interval."""
    variants = data.effects[data.effects["base"] == base]
    fair = variants[variants["value"].notna()]
    names = [str(name) for name in fair["experiment"]]
    own = data.class_scores[(data.class_scores["experiment"] == base) & (data.class_scores["measure"] == "iou")]
    frame = classes_of(own).merge(renamed(own, base, ("value", "low", "high")), on="index", how="left")
    formats = [*CLASS_COLUMNS, class_column(Format(f"{base} value", base, 4), data, base)]
    for name, confounded in zip(names, fair["confounded"], strict=True):
        group = class_differences(data, name, base)
        group = group.assign(mark=group["verdict"].map(MARKS).fillna(""))
        columns = ("value", "low", "high", "p_holm", "verdict", "mark", "reason")
        frame = frame.merge(renamed(group, name, columns), on="index", how="left")
        label = f"Δ {name}{' (confounded)' if confounded else ''}"
        column = Format(f"{name} value", label, 4, signed=True, bounds=(f"{name} low", f"{name} high"))
        formats.append(class_column(replace(column, mark=f"{name} mark"), data, name, base))
    scores = data.scores_of([base, *names])
    left_out = variants[variants["verdict"] == NOT_COMPARABLE]
    refused = [f"{row.experiment} ({row.flags})" for row in left_out.itertuples()]
    notes = f" Not comparable with {base}: {listing(refused)}." if refused else ""
    notes += "".join(
        f" {name} also differs in: {flags}." for name, flags in zip(names, fair["flags"], strict=True) if flags
    )
    states = data.experiments[data.experiments["experiment"].isin(variants["experiment"])]
    caption = (
        f"IoU of each class: {base}, then each variant minus {base} on the same images, with 95 % intervals. "
        f"{MARKS[BETTER]} better, {MARKS[WORSE]} worse: p below 0.05 after Holm's correction over the classes of that one "
        f"comparison, apart from the study's verdicts; anything else is not distinguishable. {contract(scores, 'class')}"
        f"{notes}{no_result_yet(states, [*names, *left_out['experiment']])}"
    )
    frame = with_contract(frame, [scores] * len(frame))
    heading = f"What each change of {base} does, class by class"
    return Table(f"class-effects-{base}", heading, caption, frame, tuple(formats), order=(10,))


def class_differences(data: ReportData, first: str, second: str) -> pd.DataFrame:
    """IoU of each class, ``first`` minus ``second``, with interval, a class a row; none where they may not be compared."""
    rows = [
        {"experiment": first, "base": second, "index": effect.index, "class": effect.name, "verdict": effect.verdict}
        | {key: getattr(effect.difference, key) for key in ("value", "low", "high", "p_value", "reason")}
        | {"p_holm": effect.p_holm}
        for effect in data.compared(first, second).classes
    ]
    columns = ["experiment", "base", "index", "class", "value", "low", "high", "p_value", "p_holm", "verdict", "reason"]
    return pd.DataFrame(rows, columns=columns)


def class_column(column: Format, data: ReportData, *names: str) -> Format:
    """A column of scores of classes, which are of these experiments."""
    rows = data.scores_of(names)
    scored, choice, measure = scored_words(rows), choice_words(rows), column.measure or "iou"
    return replace(column, level="class", scored=scored, choice=choice, runs=runs_of(rows), measure=measure)


def classes_of(known: pd.DataFrame) -> pd.DataFrame:
    """A class a row, in the dataset's order."""
    classes = known.drop_duplicates("index").sort_values("index")
    return classes[["index", "class", "images"]].reset_index(drop=True)


def renamed(group: pd.DataFrame, name: str, columns: Sequence[str]) -> pd.DataFrame:
    """``index`` and ``columns``, which get an experiment's name before them."""
    return group[["index", *columns]].rename(columns={column: f"{name} {column}" for column in columns})


def draw_effects(data: ReportData) -> Drawing:
    """Figure 6: every variant's difference to its base with interval; the grey bar is what could not be detected."""
    effects = data.effects.assign(verdict=shown_verdicts(data.effects)).dropna(subset=["value"])
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.2 + 0.5 * len(effects))
        for row, effect in enumerate(effects.to_dict("records")):
            colour = VERDICT_COLOURS.get(effect["verdict"], MUTED)
            if effect["detectable"] == effect["detectable"]:
                axes.barh(row, 2 * effect["detectable"], 0.6, -effect["detectable"], color=GRID, lw=0)
            axes.plot([effect["low"], effect["high"]], [row, row], color=colour, lw=2.2, solid_capstyle="butt")
            axes.plot([effect["value"]], [row], "o", ms=7, color=colour, mec=PAPER, mew=1)
            where = axes.get_yaxis_transform()
            axes.text(1.015, row, effect["verdict"], transform=where, va="center", color=INK, fontsize=8.5)
        axes.axvline(0, color=INK, lw=0.9)
        short = shortened([*effects["experiment"], *effects["base"]], 32)
        variants = shortened(effects["variant"], 24)
        labels = [
            f"{short[r['experiment']]}\n{variants[r['variant']]} against {short[r['base']]}"
            for r in effects.to_dict("records")
        ]
        axes.set_yticks(range(len(effects)), labels)
        axes.set(ylim=(len(effects) - 0.4, -0.6), xlabel=f"Difference in {name_of(data.results.primary)}")
        axes.margins(x=0.08)
        axes.tick_params(axis="y", length=0)
        axes.grid(axis="x")
    described = "; ".join(f"{r.experiment} {r.value:+.3f}, {r.verdict}" for r in effects.itertuples())
    caption = (
        "Variant minus base on the same images, with 95 % interval; grey: differences too small for this study to detect "
        "four times in five, corrected for its number of comparisons."
        f"{not_drawn(data, data.effects['experiment'], effects['experiment'], done='not compared')} "
        f"{contract(data.scores_of([*effects['experiment'], *effects['base']]))}"
    )
    alt = f"Differences in {data.results.primary.label} with intervals. {described}."
    return Drawing("effects", "What each change does", caption, alt, figure, 6)


def content(data: ReportData) -> Iterator[Item]:
    """The table of comparisons, their figure, and the effects on classes."""
    if data.effects.empty:
        return
    yield comparisons_table(data)
    known = data.effects.dropna(subset=["value"])
    for base in dict.fromkeys(known["base"]):
        yield class_effects_table(data, str(base))
    if len(known):
        yield draw_effects(data)


SECTION = Section("changes", "What each change does", 10, content)
