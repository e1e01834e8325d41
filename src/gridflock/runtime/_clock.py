"""The virtual clock that a rehearsal or a study lives in, and what a clock knows that nobody sets."""

from __future__ import annotations

import time
from threading import Event
from typing import Protocol, runtime_checkable

from gridflock.ports import Clock


@runtime_checkable
class Witness(Protocol):
    """What a clock that can be set knows beside its reading."""

    def lived_s(self) -> float:
        """Seconds that have passed since a moment of its own, whatever the clock was set to."""
        ...


def witnessed(clock: Clock) -> float | None:
    """What has passed as nobody could set it; None where the clock does not know."""
    return clock.lived_s() if isinstance(clock, Witness) else None


class VirtualClock:
    """Time that moves when it is asked to: at once, or paced against the wall.

    Args:
        start_s: first moment.
        speed: virtual seconds per wall second; 0 = as fast as the work allows.
        stop: set from elsewhere to end a paced wait early.
    """

    def __init__(self, start_s: int, speed: float = 0.0, stop: Event | None = None) -> None:
        self._now_s = start_s
        self._speed = speed
        self._stop = stop or Event()
        self._wall = time.monotonic()

    @property
    def speed(self) -> float:
        """Virtual seconds per wall second; 0 = unpaced."""
        return self._speed

    def now_s(self) -> int:
        """The present moment."""
        return self._now_s

    def lived_s(self) -> float:
        """Nobody sets it: what it says has passed."""
        return float(self._now_s)

    def sleep_until(self, t_s: int) -> None:
        """Move to ``t_s``; a paced clock that has fallen behind does not wait."""
        if self._speed > 0:
            self._wall += (t_s - self._now_s) / self._speed
            late_s = time.monotonic() - self._wall
            if late_s < 0:
                self._stop.wait(-late_s)
            else:
                self._wall = time.monotonic()
        self._now_s = max(self._now_s, t_s)
