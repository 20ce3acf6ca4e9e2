"""Sizes of network inputs: the side of a square, or (height, width). A study file writes them in this order."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator

LEAST_PX, MOST_PX = 32, 4096
Size = int | tuple[int, int]


def _as_size(value: Any) -> Any:
    """A size as it is kept: two equal sides are a square's, so that both spellings are one setting."""
    sides = value if isinstance(value, list | tuple) else [value]
    whole = all(isinstance(side, int) and not isinstance(side, bool) for side in sides)
    if len(sides) not in (1, 2) or not whole or not all(LEAST_PX <= side <= MOST_PX for side in sides):
        raise ValueError(f"must be a side or [height, width], each a whole number from {LEAST_PX} to {MOST_PX} pixels")
    return sides[0] if len(set(sides)) == 1 else tuple(sides)


InputSize = Annotated[Size, BeforeValidator(_as_size)]


def height_width(size: Size) -> tuple[int, int]:
    """Both sides of a size.

    >>> height_width(256), height_width((512, 1024))
    ((256, 256), (512, 1024))
    """
    return (size, size) if isinstance(size, int) else size


def size_text(size: Size) -> str:
    """A size in words, height first; a square is its side.

    >>> size_text(256), size_text((512, 1024))
    ('256', '512x1024')
    """
    return str(size) if isinstance(size, int) else f"{size[0]}x{size[1]}"


def size_of_text(text: str) -> Size | None:
    """The size that :func:`size_text` wrote; None for any other text.

    >>> size_of_text("256"), size_of_text("512x1024"), size_of_text("labels")
    (256, (512, 1024), None)
    """
    sides = text.split("x")
    if len(sides) > 2 or not all(side.isdigit() for side in sides):
        return None
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))
