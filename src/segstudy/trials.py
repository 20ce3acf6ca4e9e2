"""Repeated trainings of an experiment: its seeds, and the trials of a search."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Field, Tag, model_validator

from segstudy.named import Frozen


class SeedsUntil(Frozen):
    """Add seeds 1, 2, ... until every comparison is decided: looks from ``first`` to ``at_most`` seeds per side."""

    until: Literal["decided"]
    at_most: int = Field(ge=2, le=50)
    first: int = Field(2, ge=2)

    @model_validator(mode="after")
    def _first_is_not_last(self) -> SeedsUntil:
        if self.first > self.at_most:
            raise ValueError(f"first {self.first} must not be larger than at_most {self.at_most}")
        return self


def _list_or_until(value: Any) -> str:
    """A mapping without any key of :class:`SeedsUntil` is taken as a mistaken list."""
    known = isinstance(value, SeedsUntil) or (
        isinstance(value, dict) and not SeedsUntil.model_fields.keys().isdisjoint(value)
    )
    return "<spelled>" if known else "<named>"


_SeedList = Annotated[list[Annotated[int, Field(ge=0, lt=2**31)]], Field(min_length=1)]
Seeds = Annotated[
    Annotated[_SeedList, Tag("<named>")] | Annotated[SeedsUntil, Tag("<spelled>")], Discriminator(_list_or_until)
]


def _list_or_mapping(value: Any) -> str:
    return "<spelled>" if isinstance(value, dict | BaseModel) else "<named>"


class SearchRange(Frozen):
    """Values between two limits: whole numbers if both limits are, on a logarithmic scale with ``log``."""

    low: int | float
    high: int | float
    log: bool = False

    @model_validator(mode="after")
    def _limits_rise(self) -> SearchRange:
        if not self.low < self.high:
            raise ValueError(f"low {self.low} must be smaller than high {self.high}")
        if self.log and self.low <= 0:
            raise ValueError(f"low {self.low} must be positive on a logarithmic scale")
        return self


SearchSpace = Annotated[
    Annotated[list[Any], Field(min_length=2), Tag("<named>")] | Annotated[SearchRange, Tag("<spelled>")],
    Discriminator(_list_or_mapping),
]


class Search(Frozen):
    """A search for the best recipe of each experiment: the same number of trials, scored on the split that chooses.

    ``space`` maps keys of the recipe to a list of values or a range. The first trial uses the study's own values.
    """

    trials: int = Field(ge=2, le=1000)
    space: dict[str, SearchSpace] = Field(min_length=1)
    seed: int = Field(0, ge=0, lt=2**31)
