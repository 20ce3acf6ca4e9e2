"""What is shown while a study runs: runs by state, time to the end by hand, new lines once, lines below the bars."""

from __future__ import annotations

import io
import math

import pytest
from rich.console import Console

from segstudy.overview import Standing, duration, progress_line, seconds_left
from segstudy.progress import Bars, Progress


def standing(experiment: str, state: str, done: int, seconds: float) -> Standing:
    return Standing(f"{experiment}/seed1", experiment, state, done, 10, math.nan, seconds)


def test_time_to_the_end_is_each_experiments_own_speed() -> None:
    runs = [standing("a", "done", 10, 20.0), standing("b", "partial", 2, 8.0), standing("a", "missing", 0, 0.0)]
    # a takes 2 s an epoch, b 4 s: 8 epochs of b and 10 of a are left
    assert seconds_left(runs) == pytest.approx(8 * 4 + 10 * 2)
    # a third one that nobody has measured yet is taken for the mean of both
    assert seconds_left([*runs, standing("c", "missing", 0, 0.0)]) == pytest.approx(52 + 10 * 3)


def test_a_budget_of_iterations_is_as_many_epochs_as_it_was_before() -> None:
    """Its epochs are known once a run of the experiment has ended: 4 of them, 2 s each, of which 3 are left."""

    def by_steps(state: str, done: int) -> Standing:
        return Standing(f"a/seed{done}", "a", state, done, None, math.nan, 2.0 * done)

    assert seconds_left([by_steps("running", 1)]) is None
    assert seconds_left([by_steps("done", 4), by_steps("partial", 1)]) == pytest.approx(3 * 2)


def test_runs_at_the_same_time_share_the_work() -> None:
    runs = [standing("a", "running", 5, 10.0), standing("b", "running", 5, 10.0)]
    assert seconds_left(runs) == pytest.approx((10 + 10) / 2)


def test_nothing_is_guessed_before_an_epoch_was_measured() -> None:
    assert seconds_left([standing("a", "running", 0, 0.0)]) is None
    assert progress_line([standing("a", "running", 0, 0.0)]) == "0 of 1 runs done, 1 running"


def test_the_line_counts_every_run_once() -> None:
    runs = [
        standing("a", "done", 10, 3000.0),
        standing("b", "running", 5, 1500.0),
        standing("c", "failed", 1, 0.0),
        standing("d", "missing", 0, 0.0),
    ]
    words = "1 of 4 runs done, 1 running, 1 failed, 1 left, about 75 min of training to the end"
    assert progress_line(runs) == words  # 15 epochs at 300 s
    assert duration(7200) == "2.0 h"


def test_elsewhere_than_in_a_terminal_each_line_is_printed_once() -> None:
    text = io.StringIO()
    progress = Progress(Console(file=text, width=80))
    progress.stand(["1 of 2 runs done", "verdict  a"])
    progress.stand(["2 of 2 runs done", "verdict  a"])
    assert text.getvalue().splitlines() == ["1 of 2 runs done", "verdict  a", "2 of 2 runs done"]


def test_in_a_terminal_the_lines_stand_below_the_bars() -> None:
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=80, color_system=None)
    with Bars(console=console, auto_refresh=False) as bars:
        progress = Progress(console, bars)
        progress.task("epoch 1/2", 10)
        progress.stand(["1 of 2 runs done", "verdict  [b]a"])
        bars.refresh()
    shown = text.getvalue()
    assert shown.index("epoch 1/2") < shown.rindex("1 of 2 runs done")
    assert "verdict  [b]a" in shown  # as text, not as markup
