"""Flow reservations asked for and granted, as the state keeps them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from heapq import heappush

from gridflock.field.ieee2030_5.resources import ActivePower, FlowReservationRequest, SignedRealEnergy
from gridflock.field.ieee2030_5.server._spell import Spell


@dataclass(frozen=True, slots=True)
class Reservation:
    """A device asks for energy and power within an interval.

    Attributes:
        number: its place in addresses, never given twice.
        device: who asks.
        at_s: when it came in, or was last changed.
        asked: as posted.
        served: it was granted what it asks for, whether that is over or not.
        refused: its device has declined what was granted.
    """

    number: int
    device: int
    at_s: int
    asked: FlowReservationRequest
    served: bool = False
    refused: bool = False

    @property
    def cancelled(self) -> bool:
        """The device wants it no more."""
        return self.asked.request_status.request_status != 0

    @property
    def is_open(self) -> bool:
        """Whether it may be granted something."""
        return not (self.cancelled or self.served or self.refused)

    def same(self, sent: FlowReservationRequest) -> bool:
        """Whether what is sent asks for just this, whenever it was written."""
        return replace(
            sent, creation_time=self.asked.creation_time, request_status=self.asked.request_status
        ) == self.asked and (sent.request_status.request_status == self.asked.request_status.request_status)

    @property
    def end_s(self) -> int:
        """When it is of no use any more."""
        return self.asked.interval_requested.start + self.asked.interval_requested.duration


@dataclass(frozen=True, slots=True)
class Grant:
    """What is granted to the reservation ``subject`` of a device."""

    number: int
    device: int
    mrid: str
    subject: str
    spell: Spell
    energy: SignedRealEnergy
    power: ActivePower


@dataclass(slots=True)
class Reserved:
    """Reservations and grants that are not over.

    Attributes:
        asked_for: device to number to what it asks for.
        grants: device to number to what it is granted.
        next_asked: number of the next reservation.
        next_grant: of the next grant.
        by_mrid: grant to (device, number).
        due: moments at which something of a device begins or ends, a heap of (moment, device).
    """

    asked_for: dict[int, dict[int, Reservation]] = field(default_factory=dict)
    grants: dict[int, dict[int, Grant]] = field(default_factory=dict)
    next_asked: int = 1
    next_grant: int = 1
    by_mrid: dict[str, tuple[int, int]] = field(init=False, compare=False, default_factory=dict)
    due: list[tuple[int, int]] = field(init=False, compare=False, default_factory=list)

    def __post_init__(self) -> None:
        for asked_for in self.asked_for.values():
            for each in asked_for.values():
                heappush(self.due, (each.end_s, each.device))
        for grants in self.grants.values():
            for grant in grants.values():
                self._index(grant)

    def keep(self, asked: Reservation) -> None:
        """Put in a reservation, or a new state of it."""
        self.asked_for.setdefault(asked.device, {})[asked.number] = asked
        self.next_asked = max(self.next_asked, asked.number + 1)
        heappush(self.due, (asked.end_s, asked.device))

    def keep_grant(self, grant: Grant) -> None:
        """Put in a grant, or a new state of it."""
        self.grants.setdefault(grant.device, {})[grant.number] = grant
        self.next_grant = max(self.next_grant, grant.number + 1)
        self._index(grant)

    def end(self, device: int, number: int) -> None:
        """A reservation is of no use any more."""
        self.asked_for[device].pop(number)

    def end_grant(self, device: int, number: int) -> None:
        """A grant is over."""
        del self.by_mrid[self.grants[device].pop(number).mrid]

    def forget_device(self, device: int) -> None:
        """Forget what a device asked for and was granted."""
        self.asked_for.pop(device, None)
        for grant in self.grants.pop(device, {}).values():
            del self.by_mrid[grant.mrid]

    def _index(self, grant: Grant) -> None:
        self.by_mrid[grant.mrid] = (grant.device, grant.number)
        heappush(self.due, (grant.spell.next_s, grant.device))
