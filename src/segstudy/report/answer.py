"""The first screen: what the study asks and what it found, in one figure, a front and a few sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from segstudy.comparison import NOT_COMPARABLE
from segstudy.errors import listing
from segstudy.folds import is_pooled
from segstudy.measures import Measure, name_of
from segstudy.report.figure import MUTED, STYLE, Drawing, across, shortened
from segstudy.report.frames import ReportData
from segstudy.report.sections.cost import cost_frame, draw_points, label_points, pareto_front, point_words
from segstudy.report.sections.transfer import cross_frame
from segstudy.report.table import interval_text, number_text
from segstudy.report.wording import change_words
from segstudy.stats.comparison import BETTER, UNDECIDED, WORSE
from segstudy.stats.equivalence import EQUIVALENT, NOT_WORSE, OPEN

MOST = 3  # datasets whose best network is named in a sentence
NAMED = 6  # points of a panel that are named: those of the front, then the highest
FEW = 2  # effects that get a sentence of their own; the others stand in the figure


def network_words(data: ReportData, experiment: str) -> str:
    """The name of an experiment, with its dataset if the study has several."""
    words, dataset = data.called[experiment], data.plan.first(experiment).config.dataset
    several = len({data.plan.first(name).config.dataset for name in data.plan.experiments}) > 1
    return f"{words} on {dataset}" if several and words != experiment else words


def answer_frame(data: ReportData) -> pd.DataFrame:
    """Every change in a row, those of one baseline together: difference, interval, verdict, cost, and where they are drawn.

    ``x_low``, ``x_value``, ``x_high`` are places in percent of the drawing's width; 50 is no difference, and all rows share
    one scale. ``cost`` is the variant's operations over its base's.
    """
    effects = data.effects
    gflops = cost_frame(data).set_index("experiment")["gflops"]
    changes = [data.plan.first(str(name)).variation for name in effects["experiment"]]
    frame = effects.assign(
        change=[change_words(v.changes) if v else "" for v in changes],
        against=[network_words(data, str(base)) for base in effects["base"]],
        gflops=effects["experiment"].map(gflops),
        gflops_base=effects["base"].map(gflops),
    )
    frame["base_score"] = effects["base"].map(primary_scores(data))
    frame["cost"] = frame["gflops"] / frame["gflops_base"]
    ends = frame[["value", "low", "high"]].to_numpy(float)
    reach = float(np.nanmax(np.abs(ends), initial=0.0))
    scale = 48 / reach if reach > 0 else 0.0
    places = {f"x_{key}": 50 + scale * frame[key].astype(float) for key in ("low", "value", "high")}
    return frame.assign(**places).sort_values("base", key=lambda base: base.map(_order(data)), kind="stable")


def _order(data: ReportData) -> dict[str, int]:
    return {name: place for place, name in enumerate(data.plan.experiments)}


def primary_scores(data: ReportData) -> dict[str, float]:
    """Every experiment with a result: its score by the primary measure on its own dataset, mean over seeds."""
    sides = {name: data.results.side(name) for name in data.plan.experiments}
    measure = data.results.primary
    return {name: float(side.mean(measure)[0]) for name, side in sides.items() if side.sets}


def best_frame(data: ReportData) -> pd.DataFrame:
    """The best score of each dataset among experiments that may be compared: experiment, score, next, value, verdict ..."""
    rows = []
    measure = data.results.primary
    known = data.experiments.assign(score=data.experiments["experiment"].map(primary_scores(data)).astype(float))
    known = known.dropna(subset=["score"])
    for dataset, group in known.groupby("dataset", sort=False):
        ranked = group.sort_values("score", ascending=not measure.higher_is_better, kind="stable")[
            "experiment"
        ].tolist()
        alike = [name for name in ranked if name not in data.apart]
        row: dict[str, Any] = {
            "dataset": dataset,
            "experiment": alike[0],
            "left_out": [name for name in ranked if name in data.apart],
        }
        row["score"] = float(group.set_index("experiment")["score"][alike[0]])
        if len(alike) > 1:
            found = data.compared(alike[0], alike[1])
            row |= {"next": alike[1], "verdict": found.verdict}
            if found.difference is not None:
                row |= {key: getattr(found.difference, key) for key in ("value", "low", "high")}
        rows.append(row)
    columns = ["dataset", "experiment", "score", "next", "verdict", "value", "low", "high", "left_out"]
    return pd.DataFrame(rows, columns=columns)


def sentences(data: ReportData) -> list[str]:
    """Three to five sentences made of the numbers, with names of factors."""
    frame = answer_frame(data)
    decided = frame[frame["verdict"].isin([BETTER, WORSE])]
    decided = decided.reindex(decided["value"].abs().sort_values(ascending=False, kind="stable").index)
    said = [_effect_sentence(row, data.results.primary) for row in decided.head(FEW).to_dict("records")]
    if len(decided) > 1:
        first = said[0].split(" ", 1)[0]  # "Random", but not "ResNet-101"
        plain = first[1:].isalpha() and first[1:].islower()
        said[0] = f"Largest effect of one change: {first.lower() if plain else first}{said[0][len(first) :]}"
    if len(decided) > FEW:
        said[-1] += f" {len(decided) - FEW} more changes are decided; the figure shows each."
    said += [*_undecided_sentence(frame, data.results.primary), " ".join(_best_sentence(data)), *_cross_sentences(data)]
    return [text for text in said if text][:5]


def _effect_sentence(row: Mapping[Any, Any], measure: Measure) -> str:
    """The effect and the cost of one decided change."""
    up, gain = row["value"] > 0, row["verdict"] == BETTER
    low, high = (row["low"], row["high"]) if up else (-row["high"], -row["low"])
    change = row["change"][:1].upper() + row["change"][1:]
    interval = interval_text(low, high, 3)
    size = f"{abs(row['value']):.3f}"
    if measure.higher_is_better:
        text = f"{change} {'gains' if gain else 'costs'} {row['against']} {size} {name_of(measure)} {interval}"
    else:
        text = f"{change} {'lowers' if gain else 'raises'} {name_of(measure)} of {row['against']} by {size} {interval}"
    if row["cost"] == row["cost"]:
        text += _cost_words(float(row["cost"]))
    if row["confounded"]:
        text += ", but more than one thing changes"
    return f"{text}{'; what else differs: ' + also_different(row['flags']) if row['flags'] else ''}."


def also_different(flags: str) -> str:
    """The flags of a comparison, in which runs that are not done yet are not named one by one.

    >>> also_different("unet: missing unet/seed2, unet/seed3 (not scored yet); other versions")
    'other versions; seeds that are not done'
    """
    known = [flag for flag in flags.split("; ") if not flag.endswith("(not scored yet)")]
    return "; ".join([*known, *(["seeds that are not done"] if len(known) < flags.count("; ") + 1 else [])])


def _changes_of(rows: pd.DataFrame) -> list[str]:
    return [f"{row.change} ({row.against})" for row in rows.itertuples()]


def _cost_words(cost: float) -> str:
    """The operations of a variant relative to those of its base, as the end of a sentence.

    >>> _cost_words(1.0), _cost_words(0.27), _cost_words(4.0)
    (' with the same operations', ' and saves 73 % of the operations', ' at 4.00 times the operations')
    """
    if abs(cost - 1) < 0.005:
        return " with the same operations"
    return (
        f" and saves {100 * (1 - cost):.0f} % of the operations" if cost < 1 else f" at {cost:.2f} times the operations"
    )


def _undecided_sentence(frame: pd.DataFrame, measure: Measure) -> list[str]:
    """The changes that this study cannot tell from chance, and those that may not be compared."""
    said = []
    if len(rest := frame[frame["verdict"] == UNDECIDED]):
        names = listing(_changes_of(rest), 3)
        seen = rest["detectable"].dropna()
        power = f"; this study can miss differences below {seen.max():.3f} {name_of(measure)}" if len(seen) else ""
        said.append(f"Not distinguishable from chance: {names}{power}{_equivalence_words(rest)}.")
    if len(rest := frame[frame["verdict"] == NOT_COMPARABLE]):
        said.append(f"Not comparable with its base: {listing(_changes_of(rest), 3)}.")
    if len(rest := frame[frame["verdict"].eq("") & frame["reason"].map(lambda reason: isinstance(reason, str))]):
        said.append(
            f"No verdict: {listing(_changes_of(rest), 3)}; {rest['reason'].iloc[0] or rest['assumption'].iloc[0]}."
        )
    return [" ".join(said)] if said else []


def _equivalence_words(rest: pd.DataFrame) -> str:
    """Whether changes that are not distinguishable are equivalent within the study's margin; empty without a margin."""
    said = []
    for claim in (EQUIVALENT, NOT_WORSE, OPEN):
        if len(rows := rest[rest["equivalence"] == claim]):
            said.append(f"{claim} ({rows['margin'].iloc[0]:g}): {listing(rows['change'], 3)}")
    return "".join(f"; {words}" for words in said)


def _best_sentence(data: ReportData) -> Iterator[str]:
    several = len(best := best_frame(data)) > 1
    for row in best.head(MOST).to_dict("records"):
        measure, best_word = data.results.primary, "Highest" if data.results.primary.higher_is_better else "Lowest"
        text = f"{best_word} {name_of(measure)}{' on ' + str(row['dataset']) if several else ''}, {row['score']:.3f}"
        text += f": {data.called[row['experiment']]}"
        if isinstance(row["next"], str) and row["value"] == row["value"]:
            text += f" ({number_text(row['value'], 3, True)} {interval_text(row['low'], row['high'], 3, True)}"
            text += f" over {data.called[row['next']]}: {row['verdict'] or 'no test'})"
        if row["left_out"]:
            text += f"; not ranked: {listing([f'{data.called[n]}, {data.apart[n]}' for n in row['left_out']], 3)}"
        yield f"{text}."
    if len(best) > MOST:
        yield f"The tables show the other {len(best) - MOST} datasets."


def _cross_sentences(data: ReportData) -> list[str]:
    """Scores of networks on other data, in one sentence."""
    said = []
    for cross in data.crosses:
        inside, target, nothing = cross_frame(data, cross).to_dict("records")
        if target["miou_drop"] == target["miou_drop"]:
            own = data.plan.first(cross.experiment).config.dataset
            said.append(
                f"{data.called[cross.experiment]} goes from {inside['miou']:.3f} on {own} to "
                f"{target['miou']:.3f} on {cross.on} (one class everywhere: {nothing['miou']:.3f})"
            )
    return [f"{'; '.join(said[:2])}."] if said else []


def warnings(data: ReportData) -> list[str]:
    """Warnings that change how to read the numbers, one line each."""
    study, runs, found = data.plan.study, data.runs, []
    if study.protocol == "paper":
        found.append(
            "Protocol “paper”: the epoch was chosen on the split that is reported, so every score is optimistic; masks are "
            "scored at the network's input size."
        )
    if len(set(data.scores["seed"])) == 1 and not data.scores["split"].map(is_pooled).all():
        found.append(
            "One seed: every verdict is about these networks only; training with another seed could reverse it."
        )
    if len(waiting := runs[runs["state"] != "done"]):
        states = ", ".join(f"{n} {state}" for state, n in waiting["state"].value_counts(sort=False).items())
        found.append(f"{len(waiting)} of {len(runs)} runs are not done ({states}).")
    changes = answer_frame(data)
    flagged = changes[(changes["flags"].fillna("") != "") & (changes["verdict"] != NOT_COMPARABLE)]
    if len(flagged):
        reasons = flagged.groupby(flagged["flags"].map(also_different), sort=False)
        found += [f"Not a clean comparison ({why}): {listing(_changes_of(rows), 3)}." for why, rows in reasons]
    found += [f"{words[:1].upper()}{words[1:]}." for words in dict.fromkeys(data.effects["cautions"]) if words]
    return found


def _that_fit(axes: Axes, points: Mapping[str, tuple[float, ...]]) -> dict[str, str]:
    """Names as long as there is room for, on the wider side of their point; equally short ones where two would read alike."""
    low, high = axes.get_xlim()
    sides = {name: max(x - low, high - x) / (high - low) for name, (x, _) in points.items()}
    short = {name: shortened([name], across(3.4 * side - 0.2))[name] for name, side in sides.items()}
    return short if len(set(short.values())) == len(short) else shortened(points, across(1.7))


def draw_front(data: ReportData) -> Drawing | None:
    """mIoU against operations with the front, a panel a dataset, labelled by what differs; None where no cost is known."""
    points = data.experiments.merge(cost_frame(data)[["experiment", "gflops"]], on="experiment")
    points = points.dropna(subset=["miou", "gflops"])
    datasets = list(dict.fromkeys(points["dataset"]))[:3]
    if not datasets:
        return None
    tall = {1: 3.1, 2: 1.8, 3: 1.4}[len(datasets)]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.3, tall * len(datasets)), layout="constrained")
        panels = figure.subplots(len(datasets), 1, squeeze=False)[:, 0]
        for axes, dataset in zip(panels, datasets, strict=True):
            part = points[points["dataset"] == dataset]
            draw_points(axes, data, part, 7)
            axes.margins(x=0.15, y=0.25)
            axes.set_title(dataset, fontsize=9)
            axes.grid()
            first = pareto_front(part[~part["experiment"].isin(data.apart)])["experiment"].iloc[::-1]
            named = [*first, *part.sort_values("miou", ascending=False)["experiment"]]
            at = part.drop_duplicates("experiment").set_index("experiment")[["gflops", "miou"]].astype(float)
            points_of = {
                data.called[str(name)]: (at.loc[name, "gflops"], at.loc[name, "miou"])
                for name in list(dict.fromkeys(named))[:NAMED]
            }
            short = _that_fit(axes, points_of)
            label_points(axes, {short[name]: point for name, point in points_of.items()}, 72 * tall - 50)
        panels[-1].set_xlabel("GFLOPs for one image")
        figure.supylabel("mIoU", fontsize=9, color=MUTED)
    described = "; ".join(
        f"{network_words(data, str(row.experiment))} {row.miou:.3f} at {row.gflops:.2f} GFLOPs"
        for row in points.itertuples()
    )
    caption = "Up and left is better. Dashed: the Pareto front."
    caption += point_words(data, points, NAMED)
    return Drawing("figure0-front", "Accuracy against cost", caption, f"mIoU against operations: {described}.", figure)
