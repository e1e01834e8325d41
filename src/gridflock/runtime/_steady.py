"""The loop's own time: whatever the clock does, it goes forward, and orders never live longer than meant."""

from __future__ import annotations

from dataclasses import dataclass

FAR_S = 86_400
"""A clock that leaps ahead by more is not believed at once, even where nothing tells how much time passed."""
LEAP_S = 5
"""A clock that is ahead of what has passed by so much has leapt; less is rounding."""
SURE_S = 60
"""A clock that has leapt is believed once it has gone on from there for so long, and in three ticks."""
_CONFIRMED = 3
BACK = "clock went back"
LEAPT = "clock leapt ahead"


@dataclass(slots=True)
class Steady:
    """Moments of ticks from the readings of a clock, and of a second source that nobody sets.

    Where the clock goes back, ticks go on from where they were, at half the pace, until the clock has caught
    up. Where it leaps ahead of the time that has passed, they go on by that, until the clock has gone on from
    there for a while in several ticks: what was leapt over has not been lived, and ``leapt_s`` says how much.
    Without a second source, as at the begin of a life, leaps of up to a day are believed at once, and others
    when three readings go on from one another.

    Attributes:
        tick_s: how far a tick goes where nothing says.
        ahead_s: how far the last tick lay ahead of the clock: by so much less orders live on the wire.
        leapt_s: how much of the way to the last tick nobody has lived.
    """

    tick_s: int
    ahead_s: int = 0
    leapt_s: int = 0
    _lived_s: float | None = None
    _adrift_s: float = 0.0
    _doubted_s: float = 0.0
    _since_s: float = 0.0
    _told: int = 0
    _half: int = 1

    def moment(self, clock_s: int, last_s: int, lived_s: float | None = None) -> tuple[int, tuple[str, ...]]:
        """The moment of the next tick, and what is wrong with the clock, in words.

        Args:
            clock_s: what the clock says.
            last_s: moment of the last tick; 0 before the first.
            lived_s: what has passed by a source that nobody sets, from a moment of its own; None without one.
        """
        passed_s = None if lived_s is None or self._lived_s is None else max(lived_s - self._lived_s, 0.0)
        self._lived_s, self.ahead_s, self.leapt_s = lived_s, 0, 0
        if last_s == 0:
            return clock_s, ()
        if clock_s < last_s:
            self._told, self._adrift_s = 0, 0.0
            # A tick of one second goes forward every other time.
            step_s, self._half = divmod(self.tick_s + self._half, 2)
            now_s = last_s + step_s
            self.ahead_s = now_s - clock_s
            return now_s, (f"{BACK}: ticks go on at half the pace until it has caught up",)
        if passed_s is None or lived_s is None:
            return self._unwitnessed(clock_s, last_s, 0.0 if lived_s is None else lived_s)
        step_s = clock_s - last_s
        adrift_s = max(0.0, self._adrift_s + step_s - passed_s)
        if adrift_s < LEAP_S:
            self._told, self._adrift_s = 0, adrift_s
            return clock_s, ()
        # In doubt ticks go on by what has passed, so that the clock stays as far ahead if it goes on, too.
        self._doubt(adrift_s, lived_s, LEAP_S)
        if self._told >= _CONFIRMED and lived_s - self._since_s >= SURE_S:
            self._told, self._adrift_s, self.leapt_s = 0, 0.0, round(adrift_s)
            return clock_s, ()
        now_s = last_s + max(1, round(passed_s))
        self._adrift_s += now_s - last_s - passed_s
        return now_s, (f"{LEAPT}: by {adrift_s:.0f} s that did not pass, not believed yet",)

    def _unwitnessed(self, clock_s: int, last_s: int, lived_s: float) -> tuple[int, tuple[str, ...]]:
        """The same where nothing tells how much time has passed: a tick's, more or less."""
        beyond_s = clock_s - last_s - self.tick_s
        if clock_s > last_s + FAR_S:
            self._doubt(beyond_s, lived_s, max(LEAP_S, self.tick_s))
            if self._told < _CONFIRMED:
                return last_s + self.tick_s, (f"{LEAPT}: by more than a day, not believed yet",)
        self._told, self._adrift_s = 0, 0.0
        self.leapt_s = beyond_s if beyond_s >= LEAP_S else 0
        return clock_s, ()

    def _doubt(self, adrift_s: float, lived_s: float, agree_s: float) -> None:
        """Count a reading in doubt: with those before if it is as far ahead as they were, else anew."""
        if self._told == 0 or abs(adrift_s - self._doubted_s) >= agree_s:
            self._told, self._since_s = 0, lived_s
        self._told, self._doubted_s = self._told + 1, adrift_s
