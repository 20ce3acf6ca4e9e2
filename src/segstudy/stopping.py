"""How work stops in time: signals, a time limit, a claim that another machine took over.

While a training step runs, a signal is only noted and the loop asks :meth:`Stop.due` after the step, so that it can save
where it stands. Everywhere else every file is whole at any moment, so work stops at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from segstudy.errors import SpecError

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")  # the last two: how clusters warn of the end of a job
UNITS = {"d": 86_400, "h": 3_600, "m": 60, "s": 1}


class Stopped(BaseException):
    """Work was requested to stop and did; ``exit_code`` is 130 after Ctrl-C, 143 after anything else."""

    def __init__(self, reason: str, exit_code: int) -> None:
        super().__init__(reason)
        self.exit_code = exit_code


class Stop:
    """Requests to stop, and whether work may stop between two steps only.

    ``max_seconds`` limits the whole work; a part of it is kept for saving (:func:`reserve`). ``checkpoint_s`` is the
    time between two checkpoints within an epoch; None for none.
    """

    def __init__(self, max_seconds: float | None = None, checkpoint_s: float | None = None) -> None:
        self.deadline = None if max_seconds is None else time.monotonic() + max_seconds - reserve(max_seconds)
        self.checkpoint_s = checkpoint_s
        self.requested: tuple[str, int] | None = None
        self.claim_lost = False
        self._stepping = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """Answer signals, and the end of the time, until the block ends; only a program's main thread can."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        before = {number: signal.signal(number, self._hear) for number in numbers}
        timed = self.deadline is not None and hasattr(signal, "setitimer")
        if timed:
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, self._hear)
            signal.setitimer(signal.ITIMER_REAL, max((self.deadline or 0) - time.monotonic(), 1e-3))
        try:
            yield
        finally:
            if timed:
                signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    @contextlib.contextmanager
    def steps(self) -> Iterator[None]:
        """Inside, a signal is noted and nothing is raised: the loop asks :meth:`due` after each step."""
        outer, self._stepping = self._stepping, True
        try:
            self.check()
            yield
        finally:
            self._stepping = outer

    @property
    def due(self) -> bool:
        """Whether to stop after this step."""
        return self.requested is not None

    def check(self) -> None:
        """Stop here, if that was requested."""
        if self.requested is not None:
            raise Stopped(*self.requested)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self.requested is not None and number == signal.SIGINT:  # the second Ctrl-C waits for nothing
            raise Stopped(*self.requested)
        ended = number == getattr(signal, "SIGALRM", None)
        name = "the time of --max-time is up" if ended else f"received {signal.Signals(number).name}"
        first = self.requested is None
        self.requested = self.requested or (name, 130 if number == signal.SIGINT else 143)
        if not self._stepping:
            raise Stopped(*self.requested)
        if first:
            with contextlib.suppress(OSError):
                os.write(2, f"segstudy: {name}; finishing this step, then saving\n".encode())


def reserve(max_seconds: float) -> float:
    """Seconds of a time limit that are kept for the last step and for saving: a twentieth, two minutes at most."""
    return min(max_seconds / 20, 120.0)


def seconds_of(text: str, option: str) -> float:
    """A length of time such as ``3h50m``, ``10m``, ``90s`` or ``1d12h``, in seconds.

    >>> seconds_of("3h50m", "--max-time")
    13800.0
    """
    match = re.fullmatch(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?", text.strip())
    total = sum(float(n) * unit for n, unit in zip(match.groups(), UNITS.values(), strict=True) if n) if match else 0.0
    if not total:
        raise SpecError(f"{option} '{text}': give a length of time with units, such as 3h50m, 10m or 90s")
    return total
