"""Tables and curves in a terminal, made of characters."""

from __future__ import annotations

import io
import itertools
from collections.abc import Sequence
from statistics import fmean

from rich.console import Console
from rich.table import Table
from rich.text import Text

MAX_WIDTH = 10_000  # nothing is wrapped or cut: a terminal wraps by itself, a file keeps whole lines


def table_lines(rows: Sequence[Sequence[str]], left: int = 1) -> list[str]:
    """Lines of a table: the first ``left`` columns to the left, the others to the right, two spaces between.

    >>> table_lines([["class", "IoU"], ["polyp", "0.9"]])
    ['class  IoU', 'polyp  0.9']
    """
    if not rows:
        return []
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for column in range(len(rows[0])):
        table.add_column(no_wrap=True, justify="left" if column < left else "right")
    for row in rows:
        table.add_row(*map(Text, row))
    console = Console(file=io.StringIO(), width=MAX_WIDTH, color_system=None, legacy_windows=False)
    with console.capture() as captured:
        console.print(table)
    return [line.rstrip() for line in captured.get().splitlines()]


def chart_lines(values: Sequence[float], height: int = 8, width: int = 60) -> list[str]:
    """Values over their places 1, 2, ... as a chart of characters; more values than columns are drawn by their means.

    >>> print(*chart_lines([0.0, 1.0], 2), sep=chr(10))
    1.0000 ┤ •
    0.0000 ┤•
           └──
            1 to 2
    """
    known = [value for value in values if value == value]
    if not known:
        return []
    low, high = min(known), max(known)
    drawn = list(values)
    if len(drawn) > width:
        cuts = [round(k * len(drawn) / width) for k in range(width + 1)]
        parts = [[v for v in drawn[a:b] if v == v] for a, b in itertools.pairwise(cuts)]
        drawn = [fmean(part) if part else float("nan") for part in parts]
    span = high - low
    rows = [-1 if v != v else round((v - low) / span * (height - 1)) if span else 0 for v in drawn]
    lines = []
    for row in reversed(range(height if span else 1)):
        level = low + span * row / max(1, height - 1)
        lines.append(f"{level:.4f} ┤{''.join('•' if at == row else ' ' for at in rows)}".rstrip())
    margin = " " * lines[0].index("┤")
    return [*lines, f"{margin}└{'─' * len(drawn)}", f"{margin} 1 to {len(values)}"]
