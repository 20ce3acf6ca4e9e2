"""The program: ``segstudy``, and ``python -m segstudy``. It listens to signals before it loads anything."""

from __future__ import annotations

import sys

from segstudy.stopping import Stop, Stopped


def main() -> None:
    """Load and call the command line; a signal in between is answered as later."""
    try:
        with Stop().listening():
            from segstudy import cli
    except Stopped as stop:
        sys.stderr.write(f"segstudy: {stop}; nothing was begun\n")
        sys.exit(stop.exit_code)
    cli.main()


if __name__ == "__main__":
    main()
