"""The entry point of a Slurm job, in its own module, which loads quickly: submitit imports it on the job's machine."""

from __future__ import annotations

import os
import signal
import subprocess
import time as clock
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    import submitit

SAVING_S = 120  # before the end of a job's time: the last step and saving
POLL_S = 2.0
SAVED = 143  # exit code of a worker that was requested to end


@dataclass
class Worker:
    """The work of a Slurm job: ``segstudy work`` in its own process, which saves when the job is signalled."""

    command: list[str]
    process: subprocess.Popen[bytes] | None = None

    def __call__(self) -> int:
        """Work until all is done; returns the exit code."""
        self.process = subprocess.Popen(self.command)
        try:
            while (code := self.process.poll()) is None:
                clock.sleep(POLL_S / 4)
            if code == SAVED:
                clock.sleep(POLL_S)  # the worker heard the signal itself; this process is about to
            return code
        finally:
            if self.process.returncode is None:
                self.process.terminate()

    def checkpoint(self) -> submitit.core.utils.DelayedSubmission:
        """Called by submitit when the job's time is nearly up, or the job is preempted: save, and go on later."""
        from submitit.helpers import DelayedSubmission

        if self.process is not None:
            with_pid = self.process.pid
            if psutil.pid_exists(with_pid):
                os.kill(with_pid, signal.SIGTERM)
                # not Popen.wait: this is a signal handler, and the interrupted code may hold Popen's lock
                psutil.Process(with_pid).wait(timeout=SAVING_S)
        return DelayedSubmission(Worker(self.command))
