"""Responses: what devices say became of events. Each is taken once, and only from who is concerned."""

from __future__ import annotations

from dataclasses import dataclass

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import (
    DERControlResponse,
    FlowReservationResponseResponse,
    ListLink,
    PriceResponse,
    Response,
    ResponseList,
    ResponseSet,
    ResponseSetList,
    ResponseStatus,
)
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import page, posted, single
from gridflock.field.ieee2030_5.server._programs import index
from gridflock.field.ieee2030_5.server._rates import poll_s
from gridflock.field.ieee2030_5.server._registry import Access, Device
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._said import Said
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused
from gridflock.field.ieee2030_5.wire import Malformed, read

SETS = {"1": "DER controls", "2": "prices", "3": "flow reservations"}
"""The places for responses, by the number in their address."""
_KINDS = {"1": DERControlResponse, "2": PriceResponse, "3": FlowReservationResponseResponse}
_KNOWN = frozenset(ResponseStatus)
_LIST = "/rsps"


@dataclass(frozen=True, slots=True)
class ResponseKept(Change):
    """A device said something of an event."""

    number: int
    place: str
    subject: str
    device: int
    status: int
    created_s: int
    arrived_s: int

    def __call__(self, state: State) -> None:
        state.responses.keep(
            Said(
                self.number,
                self.place,
                self.subject,
                self.device,
                self.status,
                self.created_s,
                self.arrived_s,
            )
        )


@dataclass(frozen=True, slots=True)
class ResponsesTaken(Change):
    """The oldest ``many`` were fetched."""

    many: int

    def __call__(self, state: State) -> None:
        del state.responses.waiting[: self.many]


CHANGES: tuple[type[Change], ...] = (ResponseKept, ResponsesTaken)


# ---- what clients see and do -------------------------------------------------------------------------


def sets(ask: Ask) -> Answer:
    """The places for responses."""
    rate_s = poll_s(ask.state, ask.policy, "ResponseSetList", ask.lfdi)
    head = ResponseSetList(href=_LIST, poll_rate=rate_s)
    return page(ask, head, list(SETS), lambda each: _set(ask, each), reader=ask.lfdi)


def one_set(ask: Ask, place: str) -> Answer:
    """One of them."""
    return single(ask, f"{_LIST}/{_known(place)}", lambda: _set(ask, place))


def responses(ask: Ask, place: str) -> Answer:
    """What the caller's own devices said."""
    head = ResponseList(href=f"{_LIST}/{_known(place)}/rsp")
    told = [
        said
        for _, device in ask.state.registry.listed(ask.lfdi)
        for number in ask.state.responses.of_device.get(device, ())
        if (said := ask.state.responses.said[number]).place == place
    ]
    return page(ask, head, told, lambda each: _resource(ask, each), reader=ask.lfdi)


def response(ask: Ask, place: str, text: str) -> Answer:
    """One response of the caller's own devices."""
    found = ask.state.responses.said.get(index(text))
    devices = ask.state.registry.devices
    if found is None or found.place != place or devices[found.device].owner != ask.lfdi:
        raise Refused(404, "is no response of the caller's")
    return single(ask, f"{_LIST}/{place}/rsp/{text}", lambda: _resource(ask, found), reader=ask.lfdi)


def respond(ask: Ask, place: str) -> Answer:
    """Take a response; said before, it changes nothing and stands where it stood."""
    kind = _KINDS[_known(place)]
    sent = read(ask.request.body, kind, ask.profile) if ask.request.body else None
    if sent is None or isinstance(sent, Malformed):
        sent = posted(ask, Response)  # a plain one will do
    device = _concerned(ask, sent)
    if sent.status not in _KNOWN:
        raise Refused(400, f"status {sent.status} is none of a response")
    assert sent.status is not None
    _subject(ask, place, sent.subject, device)
    known = ask.state.responses
    number = known.of_subject.get(sent.subject, {}).get((device.number, sent.status))
    if number is None:
        number = known.next_number
        created_s = -1 if sent.created_date_time is None else sent.created_date_time
        ask.do(ResponseKept(number, place, sent.subject, device.number, sent.status, created_s, ask.now_s))
        ask.touch(f"{_LIST}/{place}/rsp", ask.lfdi)
    return Answer(201, location=f"{_LIST}/{place}/rsp/{number}")


def _known(place: str) -> str:
    if place not in SETS:
        raise Refused(404, "is no place for responses")
    return place


def _concerned(ask: Ask, sent: Response) -> Device:
    """The device that speaks: the caller's own, or one of its sites."""
    device = ask.state.registry.of(sent.end_device_lfdi)
    if device is None or device.owner != ask.lfdi:
        raise Refused(403, f"answers for {sent.end_device_lfdi}, which is not its own")
    if device.access in {Access.SUSPENDED, Access.REMOVED}:
        raise Refused(403, f"answers for {sent.end_device_lfdi}, which is suspended or removed")
    return device


def _subject(ask: Ask, place: str, subject: str, device: Device) -> None:
    """The event must be one that the device was given, however long it does not follow it any more."""
    state = ask.state
    known = any(one == device.number for one, _ in state.responses.of_subject.get(subject, ()))
    if place == "1" and not known:
        program = state.offered.program_of(subject)
        known = program is not None and device.number in state.assignments.followers.get(program, ())
    if place == "2" and not known:
        tariff = state.prices.tariff_of(subject)
        held = state.assignments.held.get(device.number, ())
        known = tariff is not None and any(tariff in each.tariffs for each in held)
    if place == "3" and not known:
        known = state.reserved.by_mrid.get(subject, (-1, -1))[0] == device.number
    if not known:
        raise Refused(400, f"{subject} is no event of the caller's")


def _set(ask: Ask, place: str) -> ResponseSet:
    return ResponseSet(
        href=f"{_LIST}/{place}",
        mrid=ask.policy.mrid("rsps", place),
        description=SETS[place],
        response_list_link=ListLink(href=f"{_LIST}/{place}/rsp"),
    )


def _resource(ask: Ask, said: Said) -> Response:
    return _KINDS[said.place](
        href=f"{_LIST}/{said.place}/rsp/{said.number}",
        created_date_time=None if said.created_s < 0 else said.created_s,
        end_device_lfdi=ask.state.registry.devices[said.device].lfdi,
        status=said.status,
        subject=said.subject,
    )


ROUTES = (
    Route(_LIST, Need.CLIENT, {"GET": sets}),
    Route("/rsps/{}", Need.CLIENT, {"GET": one_set}),
    Route("/rsps/{}/rsp", Need.CLIENT, {"GET": responses, "POST": respond}),
    Route("/rsps/{}/rsp/{}", Need.CLIENT, {"GET": response}),
)
