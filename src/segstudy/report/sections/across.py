"""Recipes over several datasets: mean ranks with their critical difference, and how probable a further dataset agrees."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import matplotlib
import numpy as np
import pandas as pd

from segstudy.across import Across, across_datasets
from segstudy.measures import name_of
from segstudy.report.contract import contract
from segstudy.report.figure import INK, MUTED, STYLE, Drawing, new_figure
from segstudy.report.frames import ReportData
from segstudy.report.section import Item, Section
from segstudy.report.table import Format, Table
from segstudy.report.wording import short_words

FEW = 6  # datasets; below it a test of signs cannot reach 5 %


def recipe_names(found: Across) -> list[str]:
    """A short name of each recipe, by the settings in which they differ."""
    names = [
        short_words({key: (None, value) for key, value in each.items() if value is not None}) for each in found.settings
    ]
    return [
        name if name and names.count(name) == 1 else row[0] for name, row in zip(names, found.experiments, strict=True)
    ]


def across_frame(found: Across) -> pd.DataFrame:
    """A recipe a row, best mean rank first: recipe, mean_rank, a score for each dataset, worse, equal, better."""
    rows = []
    for k, name in enumerate(recipe_names(found)):
        row: dict[str, Any] = {"recipe": name, "mean_rank": found.mean_ranks[k]}
        row |= {f"score {dataset}": found.scores[d, k] for d, dataset in enumerate(found.datasets)}
        other = found.against_first[k - 1] if k else None
        row |= {key: getattr(other, key) if other else np.nan for key in ("worse", "equal", "better")}
        rows.append(row)
    return pd.DataFrame(rows).sort_values("mean_rank", kind="stable", ignore_index=True)


def across_table(data: ReportData, found: Across) -> Table:
    """Recipes over datasets."""
    measure = data.results.primary
    formats = (
        Format("recipe", "Recipe"),
        Format("mean_rank", "Mean rank", 2),
        *(Format(f"score {d}", f"{name_of(measure)} on {d}", 4) for d in found.datasets),
        Format("worse", "P(worse)", 2),
        Format("equal", "P(equal)", 2),
        Format("better", "P(better)", 2),
    )
    first = recipe_names(found)[0]
    names = [name for row in found.experiments for name in row]
    caption = (
        f"Recipes that were trained on the same {len(found.datasets)} datasets. The dataset is the unit: images and seeds say "
        f"how sure a score is, and nothing about another dataset. {_test_words(found)} P: how probable it is that the recipe "
        f"is worse or better than {first} by more than {found.margin:g}, or equal within it, on a further dataset of this kind "
        f"(Bayesian signed-rank test, Benavoli et al. 2017). {_few_words(found)}{contract(data.scores_of(names))}"
    )
    return Table("across", "Recipes over datasets", caption, across_frame(found), formats, order=(96,))


def _test_words(found: Across) -> str:
    if (test := found.friedman) is None:
        return "Two recipes have no test of ranks."
    return (
        f"Friedman's test that all recipes are alike: p = {test.p_value:.4f} (Iman and Davenport). Two recipes differ where "
        f"their mean ranks lie at least {test.critical_difference:.2f} apart (Nemenyi; Demšar 2006)."
    )


def _few_words(found: Across) -> str:
    if len(found.datasets) >= FEW:
        return ""
    return f"With fewer than {FEW} datasets hardly any difference can be shown. "


def draw_ranks(data: ReportData, found: Across) -> Drawing | None:
    """Mean ranks on a line; bars join recipes that the test does not tell apart. None for two recipes."""
    test = found.friedman
    if test is None:
        return None
    names, order = recipe_names(found), np.argsort(test.mean_ranks, kind="stable").tolist()
    place = {recipe: row for row, recipe in enumerate(order)}
    with matplotlib.rc_context(STYLE):
        figure, (axes,) = new_figure(1.3 + 0.35 * len(names))
        for recipe, row in place.items():
            rank = test.mean_ranks[recipe]
            axes.plot([rank], [row], "o", ms=7, color=INK)
            axes.annotate(
                f"{names[recipe]} ({rank:.2f})", (rank, row), (10, 0), textcoords="offset points", va="center"
            )
        for number, group in enumerate(test.groups):
            rows = [place[recipe] for recipe in group]
            x = 0.75 - 0.08 * number
            axes.plot([x, x], [min(rows) - 0.15, max(rows) + 0.15], lw=4, color=MUTED, solid_capstyle="round")
        right = len(names) + 0.9
        axes.plot([1, min(1 + test.critical_difference, right)], [-1, -1], lw=2, color=INK)
        axes.text(1, -1.25, f"critical difference {test.critical_difference:.2f}", va="bottom", fontsize=8.5)
        axes.set(ylim=(len(names) - 0.4, -1.9), xlim=(0.5, right), xlabel="Mean rank (1 is the best)", yticks=[])
        axes.grid(axis="x")
    described = "; ".join(f"{names[recipe]} {test.mean_ranks[recipe]:.2f}" for recipe in order)
    caption = (
        f"Mean ranks over {len(found.datasets)} datasets ({', '.join(found.datasets)}). Grey bars join recipes that Nemenyi's "
        f"test does not distinguish: their mean ranks lie less than the critical difference apart. {_few_words(found)}"
    )
    heading = "Mean ranks over datasets"
    return Drawing("critical-difference", heading, caption, f"Mean ranks: {described}.", figure, 11)


def content(data: ReportData) -> Iterator[Item]:
    """The table and the figure, if two recipes have results on two datasets."""
    if (found := across_datasets(data.results)) is None:
        return
    yield across_table(data, found)
    if (drawing := draw_ranks(data, found)) is not None:
        yield drawing


SECTION = Section("across", "Across datasets", 14, content)
