"""Schedules: the learning rate of each epoch. A new schedule is a function and a line in ``SCHEDULES``."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from segstudy.doors import Door
from segstudy.errors import SpecError
from segstudy.schema import SchedulePart, as_choice


def cosine(epoch: int, epochs: int) -> float:
    """Fall to 0 over the planned epochs along a cosine, stepped once an epoch.

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


# What ``recipe.schedule`` may name: functions of the epoch (from 0) and the number of epochs to a share of the base learning
# rate. Parameters after these two are the schedule's options.
SCHEDULES = Door("schedule", {"cosine": cosine, "constant": constant, "poly": poly}, as_choice("schedule", 2))


def rate_factor(schedule: str | SchedulePart, epoch: int, epochs: int, folder: str = "") -> float:
    """Share of the base learning rate in ``epoch`` (from 0) of ``epochs``; ``folder`` is where the study file lies.

    Raises
    ------
    SpecError
        When a schedule of somebody else gives no share: a number of at least 0.

    """
    name = schedule if isinstance(schedule, str) else schedule.name
    options = {} if isinstance(schedule, str) else schedule.own_options()
    try:
        factor = SCHEDULES.find(name, folder).function(epoch, epochs, **options)
    except (ArithmeticError, LookupError, TypeError, ValueError, AttributeError) as error:
        raise SpecError(
            f"recipe.schedule '{name}': stopped with {type(error).__name__}: {error} (epoch {epoch + 1})"
        ) from None
    if not isinstance(factor, int | float) or not 0 <= factor < math.inf:
        raise SpecError(
            f"recipe.schedule '{name}': gave {factor!r} in epoch {epoch + 1}; it must be a number of at least 0"
        )
    return float(factor)
