"""Schedules: the learning rate of each epoch or step. A new schedule is a function and a line in ``SCHEDULES``."""

from __future__ import annotations

import contextlib
import math
from typing import Annotated

from pydantic import Field

from segstudy.doors import Door, calling
from segstudy.errors import SpecError
from segstudy.named import as_choice
from segstudy.schema import SchedulePart


def cosine(epoch: int, epochs: int) -> float:
    """Fall to 0 over the planned epochs along a cosine.

    Source: Loshchilov and Hutter, "SGDR", ICLR 2017.

    >>> cosine(5, 10)
    0.5
    """
    return (1 + math.cos(math.pi * epoch / epochs)) / 2


def constant(epoch: int, epochs: int) -> float:
    """The base learning rate throughout."""
    return 1.0


def poly(epoch: int, epochs: int, *, power: Annotated[float, Field(gt=0)] = 0.9) -> float:
    """A power of the share of epochs that remains.

    Source: Chen et al., "DeepLab", TPAMI 2017.

    >>> round(poly(5, 10), 4)
    0.5359
    """
    return float((1 - epoch / epochs) ** power)


def one_cycle(
    epoch: int,
    epochs: int,
    *,
    rise: Annotated[float, Field(ge=0, lt=1)] = 0.3,
    start: Annotated[float, Field(ge=0, le=1)] = 0.04,
    end: Annotated[float, Field(ge=0, le=1)] = 4e-6,
) -> float:
    """Rise from ``start`` to 1 over a share ``rise`` of the epochs, then fall to ``end``, both along a cosine.

    Source: Smith and Topin, "Super-Convergence", 2018; the defaults are PyTorch's ``OneCycleLR``.

    >>> [round(one_cycle(epoch, 8, rise=0.5, start=0.2, end=0), 4) for epoch in (0, 2, 4, 6)]
    [0.2, 0.6, 1.0, 0.5]
    """
    top = rise * epochs
    share, low = (epoch / top, start) if epoch < top else ((epochs - epoch) / (epochs - top), end)
    return low + (1 - low) * (1 - math.cos(math.pi * share)) / 2


def step_decay(
    epoch: int,
    epochs: int,
    *,
    factor: Annotated[float, Field(gt=0, le=1)] = 0.1,
    times: Annotated[int, Field(ge=1)] = 2,
) -> float:
    """Fall by ``factor`` at ``times`` points that divide the planned epochs into equal parts.

    Source: He et al., "Deep Residual Learning", CVPR 2016, where the rate falls by 10 twice or three times.

    >>> [step_decay(epoch, 6, factor=0.5) for epoch in range(6)]
    [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    """
    return float(factor ** (epoch * (times + 1) // epochs))


# What ``recipe.schedule`` may name: functions of the epoch (from 0) and the number of epochs, or of steps with
# ``schedule_by: step``, to a share of the base learning rate. Parameters after these two are the schedule's options.
SCHEDULES = Door(
    "schedule",
    {"cosine": cosine, "constant": constant, "poly": poly, "one_cycle": one_cycle, "step_decay": step_decay},
    as_choice("schedule", 2),
)


def rate_factor(schedule: str | SchedulePart, epoch: int, epochs: int, folder: str = "") -> float:
    """Share of the base learning rate in ``epoch`` (from 0) of ``epochs``; ``folder`` is where the study file lies.

    Raises
    ------
    SpecError
        If a schedule of the study's own or of another package does not return a number of at least 0.

    """
    name = schedule if isinstance(schedule, str) else schedule.name
    options = {} if isinstance(schedule, str) else schedule.own_options()
    function = SCHEDULES.find(name, folder).function
    with calling(f"recipe.schedule '{name}'", f"epoch {epoch + 1}"):
        factor = function(epoch, epochs, **options)
    share = math.nan
    with contextlib.suppress(TypeError, ValueError):
        share = math.nan if isinstance(factor, str) else float(factor)  # NumPy's and torch's numbers, too
    if not 0 <= share < math.inf:
        raise SpecError(
            f"recipe.schedule '{name}': returned {factor!r} in epoch {epoch + 1}; it must be a number of at least 0"
        )
    return share
