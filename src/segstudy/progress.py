"""Progress for people: a live bar in a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichProgress
from rich.text import Text

from segstudy.tracking import Tracking


class Bars(RichProgress):
    """Bars of what is done now, and below them lines about the whole."""

    below: Sequence[str] = ()

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, then the lines."""
        yield from super().get_renderables()
        if self.below:
            yield Text("\n".join(self.below))


@dataclass
class Progress:
    """A running task: ``advance`` moves it, ``say`` prints a line above it. All output goes to standard error.

    ``tracking`` is where the course of trainings is written in addition to the store.
    """

    console: Console = field(default_factory=lambda: Console(file=sys.stderr))
    bars: Bars | None = None
    tracking: Tracking | None = None
    prefix: str = ""
    _unit: str = "images"
    _task: int | None = None
    _total: int = 0
    _done: int = 0
    _started: float = field(default_factory=time.monotonic)
    _told: Sequence[str] = ()

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

    def stand(self, lines: Sequence[str]) -> None:
        """Show where the whole stands: below the bars in a terminal; elsewhere the lines that are new are printed."""
        if self.bars is not None:
            self.bars.below = lines
        else:
            for line in lines:
                if line not in self._told:
                    self.say(line)
        self._told = lines

    def epoch(self, text: str, values: Mapping[str, Any]) -> None:
        """Say that an epoch of training ended, and track its values."""
        self.say(text)
        if self.tracking is not None:
            for note in self.tracking.epoch(values):
                self.say(f"  {note}")


@contextmanager
def showing(quiet: bool = False, tracking: Tracking | None = None) -> Iterator[Progress]:
    """Give a :class:`Progress` for the length of a command; ``quiet`` gives one that shows nothing."""
    try:
        with _shown(quiet) as progress:
            progress.tracking = tracking
            yield progress
    finally:
        if tracking is not None:
            tracking.close()


@contextmanager
def _shown(quiet: bool) -> Iterator[Progress]:
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
    with Bars(*columns, console=console, transient=True) as bars:
        yield Progress(console, bars)
