"""Flow reservation: a vehicle or a store asks for energy within an interval, is granted power and time."""

from __future__ import annotations

from dataclasses import dataclass, replace
from heapq import heappop

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    EventState,
    FlowReservationRequest,
    FlowReservationRequestList,
    FlowReservationResponse,
    FlowReservationResponseList,
    ResponseRequired,
    SignedRealEnergy,
)
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import LIMIT, NO_CONTENT, page, posted, single
from gridflock.field.ieee2030_5.server._programs import index
from gridflock.field.ieee2030_5.server._rates import poll_s
from gridflock.field.ieee2030_5.server._registry import By, Device
from gridflock.field.ieee2030_5.server._reserved import Grant, Reservation
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._spell import spell
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused, Turn
from gridflock.model import Rejected

REPLY_TO = "/rsps/3/rsp"
"""Where devices answer to what they were granted."""
_LONGEST_S = 31 * 86_400
_OF_TIME = By("time", "what was due")
_OF_CLIENT = By("client", "cancelled or changed its request")


# ---- changes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestKept(Change):
    """A device asks for energy, or asks otherwise."""

    reservation: Reservation

    def __call__(self, state: State) -> None:
        state.reserved.keep(self.reservation)


@dataclass(frozen=True, slots=True)
class RequestOver(Change):
    """What a device asked for is past."""

    device: int
    number: int

    def __call__(self, state: State) -> None:
        state.reserved.end(self.device, self.number)


@dataclass(frozen=True, slots=True)
class GrantKept(Change):
    """A device is granted something, or that has come to another state."""

    grant: Grant
    by: By

    def __call__(self, state: State) -> None:
        state.reserved.keep_grant(self.grant)


@dataclass(frozen=True, slots=True)
class GrantOver(Change):
    """What a device was granted is past."""

    device: int
    number: int

    def __call__(self, state: State) -> None:
        state.responses.forget(state.reserved.grants[self.device][self.number].mrid)
        state.reserved.end_grant(self.device, self.number)


CHANGES: tuple[type[Change], ...] = (RequestKept, RequestOver, GrantKept, GrantOver)


# ---- what clients see and do -------------------------------------------------------------------------


def reservation_list(ask: Ask, about: Device) -> Answer:
    """What a device asks for, by ascending start, then the newest first."""
    asked_for = list(ask.state.reserved.asked_for.get(about.number, {}).values())
    asked_for.sort(key=lambda each: (each.asked.creation_time, each.asked.mrid), reverse=True)
    asked_for.sort(key=lambda each: each.asked.interval_requested.start)
    rate_s = poll_s(ask.state, ask.policy, "FlowReservationRequestList", ask.lfdi)
    head = FlowReservationRequestList(href=f"{about.path}/frq", poll_rate=rate_s)
    return page(
        ask,
        head,
        asked_for,
        lambda each: _shown(about, each),
        time_of=lambda each: each.asked.interval_requested.start,
    )


def reservation(ask: Ask, about: Device, text: str) -> Answer:
    """One thing a device asks for."""
    found = _of(ask, about, text)
    return single(ask, f"{about.path}/frq/{found.number}", lambda: _shown(about, found))


def ask_for(ask: Ask, about: Device) -> Answer:
    """The device asks for energy; with an mRID that it used before, it asks otherwise."""
    sent = replace(posted(ask, FlowReservationRequest), href=None)
    asked_for = ask.state.reserved.asked_for.get(about.number, {})
    known = next((each for each in asked_for.values() if each.asked.mrid == sent.mrid), None)
    if known is None:
        if len(asked_for) >= ask.policy.most_reservations:
            raise Refused(403, "asks for as much as it may ask for", LIMIT)
        number = ask.state.reserved.next_asked
    else:
        number = known.number
    _take(ask, about, number, sent)
    return Answer(201, location=f"{about.path}/frq/{number}")


def change(ask: Ask, about: Device, text: str) -> Answer:
    """The device asks otherwise, or no more."""
    found = _of(ask, about, text)
    sent = replace(posted(ask, FlowReservationRequest), href=None)
    if sent.mrid != found.asked.mrid:
        raise Refused(400, "has another mRID than the request at this address")
    _take(ask, about, found.number, sent)
    return NO_CONTENT


def _take(ask: Ask, about: Device, number: int, sent: FlowReservationRequest) -> None:
    period = sent.interval_requested
    if period.start + period.duration <= ask.now_s or not 1 <= period.duration <= _LONGEST_S:
        raise Refused(400, "asks for an interval that is past, empty or too long")
    if sent.request_status.request_status not in {0, 1}:
        raise Refused(400, f"status {sent.request_status.request_status} is none of a request")
    known = ask.state.reserved.asked_for.get(about.number, {}).get(number)
    if known is not None and known.asked == sent:
        return
    same = known is not None and known.same(sent)
    fresh = Reservation(number, about.number, ask.now_s, sent)
    kept = replace(known, asked=sent) if known is not None and same else fresh
    ask.do(RequestKept(kept))
    ask.touch(f"{about.path}/frq/{number}")
    ask.touch(f"{about.path}/frq")
    if not same:  # what was granted is of what it asked before
        for grant in tuple(ask.state.reserved.grants.get(about.number, {}).values()):
            if grant.subject == sent.mrid and grant.spell.state is not EventState.CANCELLED:
                over = replace(grant, spell=grant.spell.cancelled(ask.now_s))
                ask.do(GrantKept(over, _OF_CLIENT))
                _touch(ask, over)


def _shown(about: Device, found: Reservation) -> FlowReservationRequest:
    return replace(found.asked, href=f"{about.path}/frq/{found.number}")


def _of(ask: Ask, about: Device, text: str) -> Reservation:
    found = ask.state.reserved.asked_for.get(about.number, {}).get(index(text))
    if found is None:
        raise Refused(404, "is no request, or is past")
    return found


def grant_list(ask: Ask, about: Device) -> Answer:
    """What a device is granted, by ascending start, then the newest first."""
    grants = list(ask.state.reserved.grants.get(about.number, {}).values())
    grants.sort(key=lambda each: (each.spell.created_s, each.mrid), reverse=True)
    grants.sort(key=lambda each: each.spell.start_s)
    rate_s = poll_s(ask.state, ask.policy, "FlowReservationResponseList", ask.lfdi)
    head = FlowReservationResponseList(href=f"{about.path}/frp", subscribable=1, poll_rate=rate_s)
    return page(ask, head, grants, lambda each: _grant(about, each), time_of=lambda each: each.spell.start_s)


def granted(ask: Ask, about: Device, text: str) -> Answer:
    """One thing a device is granted."""
    found = ask.state.reserved.grants.get(about.number, {}).get(index(text))
    if found is None:
        raise Refused(404, "is no grant, or is past")
    return single(ask, f"{about.path}/frp/{found.number}", lambda: _grant(about, found))


def _grant(about: Device, found: Grant) -> FlowReservationResponse:
    return FlowReservationResponse(
        href=f"{about.path}/frp/{found.number}",
        reply_to=REPLY_TO,
        response_required=ResponseRequired.RECEIVED | ResponseRequired.SPECIFIC,
        subscribable=1,
        mrid=found.mrid,
        creation_time=found.spell.created_s,
        event_status=found.spell.status,
        interval=found.spell.interval,
        energy_available=found.energy,
        power_available=found.power,
        subject=found.subject,
    )


# ---- what operators do -------------------------------------------------------------------------------


def open_reservations(turn: Turn) -> tuple[Reservation, ...]:
    """What devices ask for: not past, not cancelled, neither granted yet nor declined when it was."""
    asked_for = turn.state.reserved.asked_for.values()
    return tuple(each for held in asked_for for each in held.values() if each.is_open)


def grant(
    turn: Turn,
    wanted: Reservation,
    start_s: int,
    duration_s: int,
    energy: SignedRealEnergy,
    power: ActivePower,
    by: By,
    *,
    later: bool = False,
) -> Grant | Rejected:
    """Grant a device energy and power, within the interval it asked for.

    Args:
        turn: of the operator.
        wanted: what it asked for.
        start_s: UTC seconds.
        duration_s: at least one second.
        energy: Wh, of the sign it was asked with.
        power: W.
        by: who and why.
        later: it may also be offered after that interval.
    """
    known = turn.state.reserved.asked_for.get(wanted.device, {}).get(wanted.number)
    mrid = wanted.asked.mrid
    if known is None or known.cancelled:
        return Rejected("reservation", "subject", (mrid,), "is no request, is past, or is cancelled")
    period = known.asked.interval_requested
    held = spell(turn.now_s, start_s, duration_s)
    inside = period.start <= start_s and (later or held.end_s <= period.start + period.duration)
    if duration_s < 1 or not inside or held.end_s <= turn.now_s:
        return Rejected("reservation", "start_s", (mrid,), "is not within what was asked for, or is past")
    number = turn.state.reserved.next_grant
    made = Grant(number, known.device, turn.policy.mrid("frp", number), mrid, held, energy, power)
    turn.do(GrantKept(made, by))
    turn.do(RequestKept(replace(known, served=True)))
    _touch(turn, made)
    return made


def cancel_grant(turn: Turn, mrid: str, by: By, *, refused: bool = False) -> Grant | Rejected:
    """Take back what was granted: it stays listed as cancelled until its end.

    Args:
        turn: of the operator.
        mrid: of the grant.
        by: who and why.
        refused: its device has declined it; else what it asked for may be granted otherwise.
    """
    place = turn.state.reserved.by_mrid.get(mrid)
    if place is None:
        return Rejected("reservation", "mrid", (mrid,), "is no grant, or is past")
    found = turn.state.reserved.grants[place[0]][place[1]]
    if found.spell.state is EventState.CANCELLED:
        return Rejected("reservation", "status", (mrid,), "is cancelled already")
    over = replace(found, spell=found.spell.cancelled(turn.now_s))
    turn.do(GrantKept(over, by))
    for each in tuple(turn.state.reserved.asked_for.get(found.device, {}).values()):
        if each.asked.mrid == found.subject:
            turn.do(RequestKept(replace(each, served=False, refused=refused)))
    _touch(turn, over)
    return over


# ---- the passing of time -----------------------------------------------------------------------------


def advance(turn: Turn) -> None:
    """Reservations that are past, grants that begin or are over."""
    reserved = turn.state.reserved
    while reserved.due and reserved.due[0][0] <= turn.now_s:
        _, device = heappop(reserved.due)
        for past in tuple(reserved.asked_for.get(device, {}).values()):
            if past.end_s <= turn.now_s:
                turn.do(RequestOver(device, past.number))
                turn.touch(f"/edev/{device}/frq/{past.number}")
                turn.touch(f"/edev/{device}/frq")
        for each in tuple(reserved.grants.get(device, {}).values()):
            now = each.spell.at(turn.now_s)
            if now.end_s <= turn.now_s:
                turn.do(GrantOver(device, each.number))
                _touch(turn, each)
            elif now is not each.spell:
                turn.do(GrantKept(replace(each, spell=now), _OF_TIME))
                _touch(turn, each)


def next_s(state: State) -> int | None:
    """When time next changes a reservation."""
    return state.reserved.due[0][0] if state.reserved.due else None


def _touch(turn: Turn, of: Grant) -> None:
    path = f"/edev/{of.device}/frp"
    turn.touch(f"{path}/{of.number}")
    turn.touch(path)


ROUTES = (
    Route("/edev/{}/frq", Need.DEVICE, {"GET": reservation_list, "POST": ask_for}),
    Route("/edev/{}/frq/{}", Need.DEVICE, {"GET": reservation, "PUT": change}),
    Route("/edev/{}/frp", Need.DEVICE, {"GET": grant_list}),
    Route("/edev/{}/frp/{}", Need.DEVICE, {"GET": granted}),
)
