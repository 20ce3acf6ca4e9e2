"""The command line: parse, call, print. Everything heavy is imported by the command that needs it."""

from __future__ import annotations

import errno
import sys

from segstudy.cli import audit, cache, data, fetch, numbers, study
from segstudy.cli.options import app
from segstudy.errors import SegstudyError

__all__ = ["app", "audit", "cache", "data", "fetch", "main", "numbers", "study"]


def main() -> None:
    """Entry point: a user's fault is one message and exit code 2, an interruption exit code 130."""
    try:
        app()
    except SegstudyError as error:
        print(f"segstudy: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        print(f"segstudy: {error.filename}: no file or folder can have so long a name; correct it", file=sys.stderr)
        sys.exit(2)
    except SystemExit as stop:
        if stop.code == 130:  # Typer's answer to Ctrl-C
            print("segstudy: stopped; the same command goes on from here", file=sys.stderr)
        raise
