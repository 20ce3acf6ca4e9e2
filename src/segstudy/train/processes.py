"""Which processes train a run together."""

from __future__ import annotations

from typing import NamedTuple


class Team(NamedTuple):
    """The processes that train a run together: this one's ``rank`` (0 leads), and how many devices on how many nodes."""

    rank: int = 0
    devices: int = 1
    nodes: int = 1

    @property
    def size(self) -> int:
        """Number of processes."""
        return self.devices * self.nodes


ALONE = Team()
