"""A stop that comes after a number of steps, as a signal would."""

from __future__ import annotations

from segstudy.stopping import Stop


class Interruption(Stop):
    """Asks to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.left = steps

    @property
    def due(self) -> bool:
        self.left -= 1
        if self.left == 0:
            self.requested = ("received SIGTERM", 143)
        return self.requested is not None
