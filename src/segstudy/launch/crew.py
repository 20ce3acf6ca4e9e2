"""Processes of this machine that work on one study: started, listened to, stopped together, waited for."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from segstudy.stopping import Stop

LISTEN_S = 0.2
GRACE_S = 10.0  # between asking a process to end and ending it
KEPT_LINES = 40
MESSAGE = "segstudy: "  # how the last words of a command begin


@dataclass
class Member:
    """One process; ``said`` are its last lines."""

    name: str
    process: subprocess.Popen[str]
    said: deque[str] = field(default_factory=lambda: deque(maxlen=KEPT_LINES))

    @property
    def code(self) -> int | None:
        """Its exit code, negative for the signal that killed it; None while it lives."""
        return self.process.poll()

    @property
    def message(self) -> str:
        """The message it ended with, or what killed it; empty if it ended well."""
        return last_words(self.said, self.code) if self.code else ""


def last_words(said: Iterable[str], code: int) -> str:
    """The message that a command ended with, or the signal that killed it.

    >>> last_words(["epoch 1", "segstudy: 1 run failed:", "unet/seed1: the disk is full"], 2)
    '1 run failed:\\nunet/seed1: the disk is full'
    """
    if code < 0:
        return f"was killed by {signal.Signals(-code).name}"
    lines = list(said)
    starts = [at for at, line in enumerate(lines) if line.startswith(MESSAGE)]
    words = lines[starts[-1] :] if starts else [*lines[-1:], f"exit code {code}"]
    return "\n".join(words).removeprefix(MESSAGE)


class Crew:
    """Processes that work at the same time.

    Each leads a process group of its own, so a signal from the terminal reaches the parent only, which passes it on.

    Parameters
    ----------
    say
        Called with each line that a member prints, after its name.
    stop
        What asks the parent to stop.
    together
        Whether all are of one team: a signal is for the first, and if one fails, all end.

    """

    def __init__(self, say: Callable[[str], None], stop: Stop, together: bool = False) -> None:
        self.say, self.stop, self.together = say, stop, together
        self.members: list[Member] = []
        self._lines: queue.Queue[tuple[Member, str]] = queue.Queue()
        self._listeners: list[threading.Thread] = []

    def start(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Member:
        """Start a process with these variables added to the environment."""
        process = subprocess.Popen(
            list(command),
            env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # how to go on is the parent's to say
            stderr=subprocess.PIPE,
            text=True,
            errors="backslashreplace",
            process_group=0,
        )
        member = Member(name, process)
        self.members.append(member)
        listener = threading.Thread(target=self._listen, args=(member,), daemon=True)
        listener.start()
        self._listeners.append(listener)
        return member

    def wait(self, look: Callable[[], None] = lambda: None) -> list[Member]:
        """Wait until all have ended, and answer signals; ``look`` is called now and then."""
        passed, failed_at = False, 0.0
        try:
            with self.stop.steps():
                while any(member.code is None for member in self.members):
                    self._speak(LISTEN_S)
                    look()
                    if self.stop.due and not passed:
                        passed = True
                        self._pass_on(
                            signal.SIGINT if self.stop.requested and self.stop.requested[1] == 130 else signal.SIGTERM
                        )
                    if self.together and any(member.code for member in self.members):
                        failed_at = failed_at or time.monotonic()
                        if time.monotonic() - failed_at > GRACE_S:
                            self._kill()
        finally:
            self._end()
        for listener in self._listeners:
            listener.join(GRACE_S)
        self._speak(0)
        return self.members

    def _pass_on(self, number: int) -> None:
        for member in self.members[:1] if self.together else self.members:
            if member.code is None:
                with contextlib.suppress(ProcessLookupError):
                    member.process.send_signal(number)

    def _end(self) -> None:
        """Let nobody outlive the parent's work: those that live get one more request to end, then are ended."""
        if all(member.code is not None for member in self.members):
            return
        self._pass_on(signal.SIGINT)
        end = time.monotonic() + GRACE_S
        while time.monotonic() < end and any(member.code is None for member in self.members):
            time.sleep(LISTEN_S / 4)
        self._kill()

    def _kill(self) -> None:
        for member in self.members:
            if member.code is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(member.process.pid, signal.SIGKILL)
        for member in self.members:
            member.process.wait()

    def _listen(self, member: Member) -> None:
        assert member.process.stderr is not None
        with member.process.stderr as lines:
            for line in lines:
                self._lines.put((member, line.rstrip("\n")))

    def _speak(self, seconds: float) -> None:
        """Pass on what members have printed, waiting for something for so long at most."""
        with contextlib.suppress(queue.Empty):
            while True:
                member, line = self._lines.get(timeout=seconds) if seconds else self._lines.get_nowait()
                member.said.append(line)
                self.say(f"{member.name}{line}")
                seconds = 0
