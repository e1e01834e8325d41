"""The loop's own time: whatever the clock does, it goes forward, and orders never live longer than meant."""

from __future__ import annotations

from dataclasses import dataclass

FAR_S = 86_400
"""A clock that leaps ahead by more is not believed at once."""
_CONFIRMED = 3
BACK = "clock went back"
LEAPT = "clock leapt ahead"


@dataclass(slots=True)
class Steady:
    """Moments of ticks from the readings of a clock.

    Where the clock goes back, ticks go on from where they were, at half the pace, until the clock has caught
    up. Where it leaps ahead by more than a day, they go on likewise until it has said so three times.

    Attributes:
        tick_s: how far a tick goes where the clock does not say.
        ahead_s: how far the last tick lay ahead of the clock: by so much less orders live on the wire.
    """

    tick_s: int
    ahead_s: int = 0
    _leaps: int = 0

    def moment(self, clock_s: int, last_s: int) -> tuple[int, tuple[str, ...]]:
        """The moment of the next tick, and what is wrong with the clock, in words.

        Args:
            clock_s: what the clock says.
            last_s: moment of the last tick; 0 before the first.
        """
        self.ahead_s = 0
        if last_s == 0 or last_s <= clock_s <= last_s + FAR_S:
            self._leaps = 0
            return clock_s, ()
        if clock_s < last_s:
            self._leaps = 0
            now_s = last_s + max(1, self.tick_s // 2)
            self.ahead_s = now_s - clock_s
            return now_s, (f"{BACK}: ticks go on at half the pace until it has caught up",)
        self._leaps += 1
        if self._leaps < _CONFIRMED:
            return last_s + self.tick_s, (f"{LEAPT}: by more than a day, not believed yet",)
        self._leaps = 0
        return clock_s, ()
