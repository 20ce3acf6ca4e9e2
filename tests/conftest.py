"""No test asks a model hub: what needs one is tested against a server on loopback, in a process of its own."""

import functools
import gc
import os

import typer.main

os.environ["HF_HUB_OFFLINE"] = "1"
# Tests run in two processes: threads of one would wait for those of the other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# Every call of the command line would build its tree of commands anew, which takes longer than most commands do.
typer.main.get_command = functools.cache(typer.main.get_command)


def pytest_collection_finish() -> None:
    """What the tests import stays; no collection of garbage, of which every training asks for one, looks at it again."""
    gc.collect()
    gc.freeze()
