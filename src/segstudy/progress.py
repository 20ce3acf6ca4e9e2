"""What a person sees while work goes on: a live bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress


@dataclass
class Progress:
    """A running task: ``advance`` moves it, ``say`` prints a line above it. All output goes to standard error."""

    console: Console = field(default_factory=lambda: Console(file=sys.stderr))
    bars: RichProgress | None = None
    prefix: str = ""
    _unit: str = "images"
    _task: int | None = None
    _total: int = 0
    _done: int = 0
    _started: float = field(default_factory=time.monotonic)

    def task(self, text: str, total: int, unit: str = "images") -> Progress:
        """Begin a task of ``total`` steps, each a ``unit``, ending the one before."""
        self._unit, self._total, self._done, self._started = unit, total, 0, time.monotonic()
        if self.bars is not None:
            if self._task is not None:
                self.bars.remove_task(self._task)  # type: ignore[arg-type]
            self._task = self.bars.add_task(self.prefix + text, total=total, rate="")
        return self

    def advance(self, steps: int = 1) -> None:
        """Move on by ``steps``."""
        self._done += steps
        if self.bars is not None and self._task is not None:
            rate = self._done / max(time.monotonic() - self._started, 1e-9)
            self.bars.update(self._task, advance=steps, rate=f"{rate:,.1f} {self._unit}/s")  # type: ignore[arg-type]

    def say(self, text: str) -> None:
        """Print a line."""
        self.console.print(text, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def showing(quiet: bool = False) -> Iterator[Progress]:
    """Give a :class:`Progress` for the length of a command; ``quiet`` gives one that shows nothing."""
    console = Console(file=sys.stderr, quiet=quiet)
    if quiet or not console.is_terminal:
        yield Progress(console)
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}", markup=False),
        TimeRemainingColumn(),
    )
    with RichProgress(*columns, console=console, transient=True) as bars:
        yield Progress(console, bars)
