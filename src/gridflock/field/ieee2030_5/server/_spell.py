"""When something holds and what has become of it: events other than controls.

Each may shift its start and its length by chance on every device, within bounds that it states, and give way
to a newer one of the same kind from a moment on, whole and for good.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gridflock.field.ieee2030_5.resources import DateTimeInterval, EventState, EventStatus

_OPEN = (EventState.SCHEDULED, EventState.ACTIVE)
_NEVER_S = -1


@dataclass(frozen=True, slots=True)
class Spell:
    """From ``start_s`` for ``duration_s``, unless cancelled.

    Attributes:
        created_s: when it was made.
        start_s: UTC seconds.
        duration_s: seconds.
        state: scheduled, active, cancelled or superseded.
        since_s: when it came to that.
        randomize_start: seconds by which a device shifts its start, negative or positive.
        randomize_duration: the same of its length.
        gives_s: from when a newer one holds instead; -1 where none does.
    """

    created_s: int
    start_s: int
    duration_s: int
    state: EventState
    since_s: int
    randomize_start: int = 0
    randomize_duration: int = 0
    gives_s: int = _NEVER_S

    @property
    def earliest_s(self) -> int:
        """The first moment at which any device may begin."""
        return self.start_s + min(self.randomize_start, 0)

    @property
    def end_s(self) -> int:
        """When it is over on every device, cancelled or not."""
        later_s = max(self.randomize_start, 0) + max(self.randomize_duration, 0)
        return self.start_s + self.duration_s + later_s

    @property
    def is_open(self) -> bool:
        """Whether it holds or is to hold."""
        return self.state in _OPEN

    @property
    def next_s(self) -> int:
        """When time next changes it."""
        moments = [self.end_s]
        if self.state is EventState.SCHEDULED:
            moments.append(self.earliest_s)
        if self.is_open and self.gives_s != _NEVER_S:
            moments.append(self.gives_s)
        return min(moments)

    def at(self, now_s: int) -> Spell:
        """What time has made of it: active from its start, never scheduled after it, then superseded."""
        if self.is_open and self.gives_s != _NEVER_S and self.gives_s <= now_s:
            return replace(self, state=EventState.SUPERSEDED, since_s=self.gives_s)
        if self.state is EventState.SCHEDULED and self.earliest_s <= now_s:
            return replace(self, state=EventState.ACTIVE, since_s=max(self.earliest_s, self.created_s))
        return self

    def giving(self, newer: Sequence[Spell]) -> Spell:
        """The same beside newer ones: from when the first of those that meet it holds instead."""
        if not self.is_open:
            return self
        moments = [max(each.earliest_s, self.earliest_s) for each in newer if each.meets(self)]
        return replace(self, gives_s=min(moments, default=_NEVER_S))

    def cancelled(self, now_s: int) -> Spell:
        """It holds no more, and stays listed until its end."""
        return replace(self, state=EventState.CANCELLED, since_s=now_s)

    def meets(self, other: Spell) -> bool:
        """Whether both hold at some moment."""
        both = self.is_open and other.is_open
        return both and self.earliest_s < other.end_s and other.earliest_s < self.end_s

    @property
    def status(self) -> EventStatus:
        """As it stands on the wire."""
        perhaps = self.is_open and self.gives_s != _NEVER_S
        return EventStatus(
            current_status=self.state,
            date_time=self.since_s,
            potentially_superseded=perhaps,
            potentially_superseded_time=self.gives_s if perhaps else None,
        )

    @property
    def interval(self) -> DateTimeInterval:
        """As it stands on the wire."""
        return DateTimeInterval(start=self.start_s, duration=self.duration_s)


def spell(
    now_s: int, start_s: int, duration_s: int, randomize_start: int = 0, randomize_duration: int = 0
) -> Spell:
    """A new one; where its start has passed it is active from the first."""
    made = Spell(now_s, start_s, duration_s, EventState.SCHEDULED, now_s, randomize_start, randomize_duration)
    return made.at(now_s)
