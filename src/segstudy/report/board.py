"""Several studies, and counts from elsewhere, on one board: ranks that rest on paired verdicts.

Only results that were measured alike are ranked together: the same images, the same truth, classes and size, as
:mod:`segstudy.comparison` decides. All pairs are compared, and their p-values corrected over the whole board.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from segstudy.comparable import Problem
from segstudy.comparison import PRIMARY, Comparison, Side, compare, correct, problems_between
from segstudy.errors import SpecError, StoreError, listing
from segstudy.files import write_text
from segstudy.plan import open_plan
from segstudy.report.table import Format, Table, latex_text, markdown_text, visible
from segstudy.results import read_results, side_of_file
from segstudy.stats.comparison import BETTER, WORSE
from segstudy.terminal import table_lines

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Board:
    """Results that were measured alike, the highest first: a frame for each group, and what sets the groups apart."""

    frames: tuple[pd.DataFrame, ...]
    apart: tuple[tuple[str, Problem], ...]  # two results, and why they are not ranked together
    notes: tuple[str, ...]


def read_sides(names: Sequence[str], settings: Sequence[str] = ()) -> list[Side]:
    """Every result of the named studies and counts files.

    Parameters
    ----------
    names
        Study files or names of studies, with their results in ``./<study name>``; output folders of studies; ``.npz``
        files of counts.
    settings
        ``key=value`` strings that replace values of the study files.

    Raises
    ------
    SpecError
        If two names are the same results.
    StoreError
        If a study has no result yet, or a file is damaged.

    """
    sides: list[Side] = []
    seen: dict[Path, str] = {}
    opened: dict[str, str] = {}
    for name in names:
        path = Path(name)
        if path.suffix == ".npz":
            _once(path.resolve(), name, seen)
            sides.append(side_of_file(path))
            continue
        folder = (path / "study.yaml").is_file()
        plan, store = open_plan(str(path / "study.yaml"), path, settings) if folder else open_plan(name, None, settings)
        _once(store.root, name, seen)
        title = plan.study.name if plan.study.name not in opened else f"{plan.study.name} ({name})"
        opened[plan.study.name] = name
        found = read_results(store, plan)
        if not found.sides:
            raise StoreError(f"{name}: no run has a result yet in {store.root}; run them with: segstudy run {name}")
        for (experiment, on), side in found.sides.items():
            own = plan.first(experiment).config.dataset == on
            sides.append(Side(f"{title}: {experiment}{'' if own else f' on {on}'}", side.stored, side.notes))
    return sides


def _once(path: Path, name: str, seen: dict[Path, str]) -> None:
    if path in seen:
        raise SpecError(f"{name}: is the same as {seen[path]} ({path}); name each result once")
    seen[path] = name


def make_board(sides: Sequence[Side]) -> Board:
    """Group what was measured alike, compare every pair of a group, rank.

    A rank is one more than the number of results that are better by verdict; results that no verdict tells apart share it.
    """
    groups: list[list[Side]] = []
    apart: list[tuple[str, Problem]] = []
    for side in sides:
        reasons = [problems_between(side, group[0], PRIMARY) for group in groups]
        if (place := next((k for k, problems in enumerate(reasons) if not problems), None)) is not None:
            groups[place].append(side)
            continue
        apart += [
            (f"{side.name} and {group[0].name}", problems[0]) for group, problems in zip(groups, reasons, strict=True)
        ]
        groups.append([side])
    ordered = [sorted(group, key=_score, reverse=True) for group in groups]
    pairs = [pair for group in ordered for pair in itertools.combinations(group, 2)]
    compared = correct([compare(a, b, questions=max(1, len(pairs))) for a, b in pairs])
    verdicts = {(one.a.name, one.b.name): one for one in compared}
    notes = [note for side in sides for note in side.notes]
    return Board(tuple(_frame(group, verdicts) for group in ordered), tuple(apart), tuple(dict.fromkeys(notes)))


def _score(side: Side) -> float:
    value = float(side.mean(PRIMARY)[0])
    return value if value == value else float("-inf")


def _frame(group: Sequence[Side], verdicts: dict[tuple[str, str], Comparison]) -> pd.DataFrame:
    """A result a row: its rank, its score, and its difference to the highest."""
    rows = []
    for at, side in enumerate(group):
        against = {other.name: _verdict(verdicts, side, other) for other in group if other is not side}
        (estimate,) = side.estimates(PRIMARY)
        top = verdicts.get((group[0].name, side.name))
        found = top.difference if top else None
        sign = -1 if found else 1
        rows.append(
            {
                "rank": 1 + sum(words == WORSE for words in against.values()),
                "name": side.name,
                "miou": estimate.value,
                "low": estimate.low,
                "high": estimate.high,
                "difference": sign * found.value if found else float("nan"),
                "difference_low": sign * found.high if found else float("nan"),
                "difference_high": sign * found.low if found else float("nan"),
                "p_holm": top.p_holm if top else float("nan"),
                "verdict": (against[group[0].name] or "no verdict") if at else "highest score",
                "seeds": len(side.seeds),
                "images": len(side.first.ids),
                "differs": _differs(top),
            }
        )
    frame = pd.DataFrame(rows)
    return frame.sort_values("rank", kind="stable").reset_index(drop=True)


def _verdict(verdicts: dict[tuple[str, str], Comparison], side: Side, other: Side) -> str:
    """The pair's verdict about ``side``."""
    if (one := verdicts.get((side.name, other.name))) is not None:
        return one.verdict
    turned = verdicts[other.name, side.name].verdict
    return {BETTER: WORSE, WORSE: BETTER}.get(turned, turned)


def _differs(top: Comparison | None) -> str:
    """Other differences from the highest: settings, and the flags of the comparison."""
    if top is None:
        return ""
    settings = [f"settings: {listing(top.changes, 4)}"] if top.changes else []
    return "; ".join([*settings, *top.flags])


def board_tables(board: Board) -> list[Table]:
    """A table for each group."""
    formats = (
        Format("rank", "Rank", 0),
        Format("name", "Result"),
        Format("miou", "mIoU [95 %]", 4, bounds=("low", "high")),
        Format("difference", "Δ to the highest [95 %]", 4, signed=True, bounds=("difference_low", "difference_high")),
        Format("p_holm", "p (Holm)", 4),
        Format("verdict", "Verdict against the highest"),
        Format("seeds", "Seeds", 0),
        Format("images", "Images", 0),
        Format("differs", "Also differs in"),
    )
    caption = (
        "The same images and truth for all rows. A rank is one more than the number of results that are better by a "
        "paired verdict; results that no verdict tells apart share a rank, which does not mean that they are equal. "
        "p is corrected for all pairs of the board (Holm)."
    )
    return [
        Table(f"board-{number}", f"Measured alike, group {number}", caption, frame, formats, (number,), number)
        for number, frame in enumerate(board.frames, 1)
    ]


def board_lines(board: Board) -> list[str]:
    """The board for a terminal."""
    lines = []
    for table in board_tables(board):
        heading = [column.label for column in table.formats]
        lines += [table.heading, *table_lines([heading, *([cell.text for cell in row] for row in table.rows())], 2), ""]
    lines += [f"not ranked together: {visible(names)}: {problem.what}" for names, problem in board.apart]
    return [*lines, *map(visible, board.notes)]


def write_board(board: Board, folder: Path) -> Path:
    """Write the board's page and its tables as CSV, Markdown and LaTeX, and return the page's path."""
    if folder.exists() and not folder.is_dir():
        raise StoreError(f"{folder}: is a file; name a folder for the board")
    if (folder / "runs").is_dir() or ((folder / "index.html").exists() and not (folder / "board.csv").exists()):
        raise StoreError(f"{folder}: holds something else; name another folder for the board")
    tables = board_tables(board)
    frame = pd.concat([f.assign(group=number) for number, f in enumerate(board.frames, 1)], ignore_index=True)
    write_text(folder / "board.csv", frame.to_csv(index=False, lineterminator="\n"))
    write_text(folder / "board.md", "\n".join(markdown_text(table) for table in tables))
    write_text(folder / "board.tex", "\n".join(latex_text(table) for table in tables))
    jinja = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    shown: list[dict[str, Any]] = [{"table": table, "rows": table.rows()} for table in tables]
    page = jinja.get_template("board.html.j2").render(
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        tables=shown,
        apart=[visible(f"{names}: {problem}") for names, problem in board.apart],
        notes=[visible(line) for line in board.notes],
    )
    write_text(folder / "index.html", page)
    return folder / "index.html"
