"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import atexit
import errno
import gc
import io
import os
import sys
from typing import NoReturn

from segstudy.cli import audit, cache, data, fetch, numbers, run, share, show, study
from segstudy.cli.options import app
from segstudy.errors import SegstudyError
from segstudy.stopping import Stop, Stopped

__all__ = ["app", "audit", "cache", "data", "fetch", "main", "numbers", "run", "share", "show", "study"]


def main() -> None:
    """Entry point: a user's fault is one message and exit code 2, an interruption exit code 130 or 143."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a file's name need not be text
    # With the default threshold of 700, garbage collection takes a seventh of the time that torch needs to load.
    gc.set_threshold(50_000)
    atexit.register(gc.freeze)  # else all that is loaded is looked through for garbage, which takes a second
    try:
        with Stop().listening():
            app()
    except SegstudyError as error:
        _end(str(error), 2)
    except Stopped as stop:
        _end(f"{stop}; stopped; run the same command again to resume", stop.exit_code)
    except BrokenPipeError:  # the reader of our output has gone, as in: segstudy plan STUDY | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(141)
    except OSError as error:
        _end(_words(error), 2)
    except MemoryError:
        _end("the memory is full; lower recipe.batch_size or the images' size, or stop other programs", 2)
    except SystemExit as stop:
        if stop.code == 130:  # Typer's answer to Ctrl-C
            print("segstudy: stopped; run the same command again to resume", file=sys.stderr)
        raise


def _end(message: str, code: int) -> NoReturn:
    print(f"segstudy: {message}", file=sys.stderr)
    sys.exit(code)


def _words(error: OSError) -> str:
    """The system's error as a message: the file, the reason and what to do."""
    if error.errno == errno.ENAMETOOLONG:
        return f"{error.filename}: no file or folder can have so long a name; correct it"
    advice = {
        errno.EACCES: "give yourself the right to read and write it, or choose another place",
        errno.EPERM: "give yourself the right to change it, or choose another place",
        errno.ENOSPC: "make room, or choose another place",
        errno.EDQUOT: "make room, or choose another place",
        errno.EROFS: "choose a place that can be written",
        errno.EMFILE: "raise the limit on open files (ulimit -n)",
    }.get(error.errno or 0, "see that it is there and can be read and written")
    place = f"{error.filename}: " if error.filename else ""
    return f"{place}{error.strerror or error}; {advice}"
