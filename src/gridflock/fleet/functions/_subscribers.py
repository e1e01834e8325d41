"""Who is told what happens: a queue of numbered messages for each subscriber; somebody else sends them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from gridflock.fleet.functions._forecast import of_forecast
from gridflock.fleet.functions._status import of_groups
from gridflock.model import GroupBody, GroupMessage, ParameterForecast, ParameterStatus, Verb

WAITING = 10_000
"""So many messages wait for a subscriber; older ones are lost, which the numbers show."""
_SHOWN = 20


@dataclass(frozen=True, slots=True)
class Subscriber:
    """One receiver of events.

    Attributes:
        groups: which groups it wants to hear of; None = all.
        last: number of the last message that was made for it.
        waiting: messages it has not acknowledged, oldest first.
    """

    groups: frozenset[str] | None = None
    last: int = 0
    waiting: tuple[GroupMessage, ...] = ()

    def told(
        self, sender: str, name: str, time_s: int, events: Iterable[tuple[Verb, str, GroupBody]]
    ) -> Subscriber:
        """With what is of interest among verbs, group ids and bodies."""
        news: list[GroupMessage] = []
        for verb, mrid, body in events:
            kept = self._kept(mrid, body)
            if kept is not None:
                number = self.last + len(news) + 1
                news.append(GroupMessage(f"{sender}:{name}:{number}", sender, time_s, verb, kept, number))
        waiting = (*self.waiting, *news)[-WAITING:]
        return replace(self, last=self.last + len(news), waiting=waiting)

    def _kept(self, mrid: str, body: GroupBody) -> GroupBody | None:
        """The body, or the part of it that this subscriber wants."""
        if self.groups is None:
            return body
        if isinstance(body, ParameterStatus | ParameterForecast):
            names = [name for name in body.groups if name in self.groups]
            if isinstance(body, ParameterStatus):
                return of_groups(body, names) if names else None
            return of_forecast(body, names, body.parameters, body.style) if names else None
        return body if mrid in self.groups else None

    def acknowledged(self, sequence: int) -> Subscriber:
        """Without the messages up to this number."""
        return replace(self, waiting=tuple(m for m in self.waiting if m.sequence > sequence))


@dataclass(frozen=True, slots=True)
class Heard:
    """Numbers of a sender's events that have arrived: all up to ``through``, and ``beyond``."""

    through: int = 0
    beyond: frozenset[int] = frozenset()

    def __contains__(self, sequence: object) -> bool:
        return isinstance(sequence, int) and (sequence <= self.through or sequence in self.beyond)

    def taken(self, sequence: int) -> Heard:
        """With one more."""
        through, beyond = self.through, self.beyond | {sequence}
        while through + 1 in beyond:
            through += 1
        return Heard(through, frozenset(n for n in beyond if n > through))

    @property
    def missing(self) -> tuple[int, ...]:
        """Numbers below the highest one that have not arrived, at most a screenful."""
        gaps: list[int] = []
        last = self.through
        for number in sorted(self.beyond):
            gaps += range(last + 1, min(number, last + 1 + _SHOWN))
            last = number
        return tuple(gaps[:_SHOWN])


def all_told(
    subscribers: Mapping[str, Subscriber],
    sender: str,
    time_s: int,
    events: Iterable[tuple[Verb, str, GroupBody]],
) -> dict[str, Subscriber]:
    """Every subscriber with these events."""
    listed = tuple(events)
    return {name: one.told(sender, name, time_s, listed) for name, one in subscribers.items()}
