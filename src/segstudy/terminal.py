"""Tables in a terminal: columns side by side, as wide as what stands in them."""

from __future__ import annotations

import io
from collections.abc import Sequence

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
