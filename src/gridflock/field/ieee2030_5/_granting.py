"""Requests of vehicles and stores for energy, granted from the room that the plan leaves.

A request names an interval, an energy and a power. It is granted where the room holds that power for as long
as it takes, rather where the plan has the vehicle anyway, then where energy costs least, then as early as can
be; a smaller power over a longer time comes before none. Where there is no room within the interval the
earliest later time is offered, and where there is none either the request stays open. It is looked at again
when the room or the request is another. What is granted is room that nobody else gets; what is planned for
others is theirs, only what is planned for the one who asks is free for it. Who declines what is granted gives
it back, and is granted nothing for that request until it asks otherwise.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from gridflock.field.ieee2030_5 import _map
from gridflock.field.ieee2030_5.server import By
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._reservations import cancel_grant, grant, open_reservations
from gridflock.field.ieee2030_5.server._reserved import Grant, Reservation
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.model import OutcomeStatus, Rejected
from gridflock.units import Kw, Money, Seconds

_BY = By("plan", "room of the plan")
_DECLINED = By("client", "declined what it was granted")
_LEVELS = (1.0, 0.75, 0.5, 0.25)
"""Parts of the requested power that are tried, one after the other."""
_MINUTE_S = 60
_MANY = 16
"""Requests that one call looks at, at most: a search takes milliseconds of the server's thread."""


@dataclass(frozen=True, slots=True, eq=False)
class Room:
    """What may be granted in T steps to come.

    Attributes:
        edges_s: int64 (T + 1,) ascending.
        import_kw: (T,) what may be drawn beyond all that is planned; below 0 where that is too much already,
            inf without a limit.
        export_kw: (T,) what may be delivered, alike.
        price: (T,) money per kWh.
        planned_kw: resource to its (T,) planned power, injection positive.
    """

    edges_s: Seconds
    import_kw: Kw
    export_kw: Kw
    price: Money
    planned_kw: Mapping[str, Kw] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Window:
    """What is granted: from when, for how long, at which power, kW, injection positive."""

    start_s: int
    duration_s: int
    p_kw: float


@dataclass(frozen=True, slots=True)
class Given:
    """What a resource is granted: by which mRID, when, at which power and how much, injection positive."""

    mrid: str
    resource: str
    start_s: int
    end_s: int
    p_kw: float
    e_kwh: float


def given(state: State, devices: Mapping[str, Device]) -> tuple[Given, ...]:
    """All that is granted to some devices and is not over, taken back or declined."""
    found = [
        Given(
            each.mrid, name, each.spell.start_s, each.spell.end_s,
            _map.granted_kw(each.power, each.energy), -_map.in_kilo(each.energy),
        )
        for name, device in devices.items()
        for each in state.reserved.grants.get(device.number, {}).values()
        if each.spell.is_open
    ]  # fmt: skip
    return tuple(sorted(found, key=lambda each: (each.start_s, each.mrid)))


@dataclass(slots=True)
class Granting:
    """Requests as they are granted; on the server's thread.

    Attributes:
        looked: (device, number) to what was looked at in vain: the request, the room, and what was granted.
        found: the same to what was said of that.
    """

    looked: dict[tuple[int, int], tuple[object, ...]] = field(default_factory=dict)
    found: dict[tuple[int, int], Rejected] = field(default_factory=dict)

    def __call__(self, turn: Turn, room: Room, devices: Mapping[str, Device]) -> tuple[Rejected, ...]:
        """Grant what is open; requests for which there is no room at all are told."""
        _decline(turn)
        names = {device.number: name for name, device in devices.items()}
        open_now = {(each.device, each.number): each for each in open_reservations(turn)}
        for key in self.looked.keys() - open_now.keys():
            del self.looked[key]
            self.found.pop(key, None)
        many = 0
        # Who has waited longest since a search comes first, so that nobody is passed over for good.
        for key in sorted(open_now, key=lambda key: (key in self.looked, key)):
            request, name = open_now[key], names.get(key[0])
            known = self.looked.get(key)
            now = request.asked, room, _given(turn.state)
            if name is None or known == now or many >= _MANY:
                continue
            many += 1
            self.looked.pop(key, None)
            if _granted(turn, room, request, name, names):
                self.found.pop(key, None)
            else:
                self.looked[key] = now
                self.found[key] = Rejected("reservation", "p_kw", (name,), "there is no room for it ahead")
        return tuple(self.found[key] for key in sorted(self.found))


def _granted(turn: Turn, room: Room, request: Reservation, name: str, names: Mapping[int, str]) -> bool:
    """Whether a request could be granted."""
    asked, planned_kw = _map.reserved_of(request.asked), room.planned_kw.get(name)
    if planned_kw is not None:  # what it was granted before is planned for that
        sign = 1 if asked.p_kw > 0 else -1
        held = turn.state.reserved.grants.get(request.device, {}).values()
        planned_kw = sign * np.maximum(sign * planned_kw - _taken(room, held, sign), 0.0)
    found = window(_left(turn.state, room, request.device, names), asked, turn.now_s, planned_kw)
    if found is None:
        return False
    e_kwh = found.p_kw * found.duration_s / 3_600
    energy, power = _map.granted_of(math.copysign(min(abs(e_kwh), abs(asked.e_kwh)), e_kwh), found.p_kw)
    made = grant(turn, request, found.start_s, found.duration_s, energy, power, _BY, later=True)
    return not isinstance(made, Rejected)


def _given(state: State) -> frozenset[str]:
    """Grants that take room."""
    return frozenset(
        each.mrid for held in state.reserved.grants.values() for each in held.values() if each.spell.is_open
    )


def window(room: Room, asked: _map.Asked, now_s: int, planned_kw: Kw | None = None) -> Window | None:
    """Where and how a request is granted; None where there is no room for it ahead.

    Args:
        room: that is left.
        asked: the request.
        now_s: nothing is granted before.
        planned_kw: (T,) what the plan has for the one who asks, injection positive.
    """
    first_s, ends_s = max(asked.start_s, now_s), asked.end_s
    horizon_s = int(room.edges_s[-1])
    for last_s, early in ((min(ends_s, horizon_s), False), (horizon_s, True)):
        for level in _LEVELS:
            p_kw = asked.p_kw * level
            seconds = max(abs(asked.e_kwh) / max(abs(p_kw), 1e-9) * 3_600, asked.least_s, 1.0)
            duration_s = math.ceil(seconds / _MINUTE_S) * _MINUTE_S
            found = list(_feasible(room, p_kw, duration_s, (first_s, last_s), planned_kw))
            if found:
                best = min(found, key=lambda each: each[1][-1:] if early else each[1])
                return Window(best[0], duration_s, p_kw)
    return None


def _feasible(
    room: Room, p_kw: float, duration_s: int, within: tuple[int, int], planned_kw: Kw | None
) -> Iterator[tuple[int, tuple[float, ...]]]:
    """Starts at which there is room, with what speaks against each, weightiest first."""
    free = room.export_kw if p_kw > 0 else room.import_kw
    edges = room.edges_s
    first_s, last_s = within
    starts = {first_s, *(int(edge) for edge in edges[:-1] if edge > first_s)}
    for start_s in sorted(starts):
        end_s = start_s + duration_s
        if end_s > last_s or start_s < edges[0]:
            continue
        held = np.clip(np.minimum(edges[1:], end_s) - np.maximum(edges[:-1], start_s), 0, None)
        if (free[held > 0] < abs(p_kw) - 1e-9).any():
            continue
        planned = (
            0.0 if planned_kw is None else float((np.maximum(planned_kw * np.sign(p_kw), 0) * held).sum())
        )
        cost = float((room.price * held).sum()) * (-1.0 if p_kw > 0 else 1.0)
        yield start_s, (-round(planned, 6), round(cost, 6), start_s)


def _left(state: State, room: Room, asking: int, names: Mapping[int, str]) -> Room:
    """The room for one who asks: without what others are granted beyond their plan, with its own plan."""
    free = []
    for sign, kw in ((-1, room.import_kw), (1, room.export_kw)):
        left, none = np.array(kw, dtype=float), np.zeros(len(kw))
        for device in sorted({asking, *state.reserved.grants}):
            name = names.get(device, "")
            planned = sign * np.asarray(room.planned_kw.get(name, none), dtype=float)
            taken = _taken(room, state.reserved.grants.get(device, {}).values(), sign)
            if device == asking:
                left = left + planned - taken
            else:
                left = left - np.where(taken > 0, np.maximum(taken - planned, 0.0), 0.0)
        free.append(np.maximum(left, 0.0))
    drawn, given = free
    return Room(room.edges_s, drawn, given, room.price, room.planned_kw)


def _taken(room: Room, grants: Iterable[Grant], sign: int) -> Kw:
    """(T,) kW that grants of one sign come to."""
    taken = np.zeros(len(room.edges_s) - 1)
    for each in grants:
        p_kw = sign * _map.granted_kw(each.power, each.energy)
        if each.spell.is_open and p_kw > 0:
            taken[(room.edges_s[:-1] < each.spell.end_s) & (room.edges_s[1:] > each.spell.start_s)] += p_kw
    return taken


def _decline(turn: Turn) -> None:
    """Take back what devices have declined."""
    said = turn.state.responses.of_subject
    for device, grants in turn.state.reserved.grants.items():
        for each in tuple(grants.values()):
            answers = {status for who, status in said.get(each.mrid, {}) if who == device}
            if each.spell.is_open and any(
                _map.outcome_of(status) is OutcomeStatus.REFUSED for status in answers
            ):
                cancel_grant(turn, each.mrid, _DECLINED, refused=True)
