"""The key ``seeds``: a list, or how many are added until every comparison is decided."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, model_validator

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
