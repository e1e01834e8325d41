"""End devices: who is registered, how, with which PIN and at which connection point."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.identity import is_lfdi, is_pin, sfdi_of
from gridflock.field.ieee2030_5.resources import (
    ConnectionPoint,
    EndDevice,
    EndDeviceList,
    Link,
    ListLink,
    Profile,
    Registration,
)
from gridflock.field.ieee2030_5.server._alarms import Alarm, keep_alarm
from gridflock.field.ieee2030_5.server._assignments import unassign
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import NO_CONTENT, page, posted, single
from gridflock.field.ieee2030_5.server._rates import poll_s, post_s
from gridflock.field.ieee2030_5.server._registry import Access, By, Client, Device
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused, Turn
from gridflock.model import Rejected

LIST = "/edev"
_NAMED = 5
"""Faults told by name."""
ITSELF = By("client", "registered itself")


# ---- changes -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ClientKept(Change):
    """The holder of a certificate is known, or known otherwise."""

    client: Client
    by: By

    def __call__(self, state: State) -> None:
        state.registry.clients[self.client.lfdi] = self.client


@dataclass(frozen=True, slots=True)
class DeviceKept(Change):
    """A device is known, or known otherwise."""

    device: Device
    by: By

    def __call__(self, state: State) -> None:
        state.registry.keep(self.device)


@dataclass(frozen=True, slots=True)
class DeviceGone(Change):
    """A device is taken out with all that hangs on it."""

    number: int
    by: By

    def __call__(self, state: State) -> None:
        state.forget(self.number)


@dataclass(frozen=True, slots=True)
class ClaimEnded(Change):
    """A device is taken from its aggregator, with all that hangs on it, for the holder of its certificate."""

    device: Device
    at_s: int
    by: By

    def __call__(self, state: State) -> None:
        was = self.device
        state.forget(was.number)
        refused = " and was refused" if was.access is Access.REMOVED else ""
        had = f"{was.owner} had claimed it{refused}" if was.claim else f"{was.owner} spoke for it"
        words = f"{had}; it was {was.resource or 'no resource'}: {self.by.reason}"
        keep_alarm(state, Alarm(was.lfdi, "claim ended", self.at_s, words))


@dataclass(frozen=True, slots=True)
class PointsLoaded(Change):
    """The connection points that may be named, as (identifier, our name of what stands there)."""

    points: tuple[tuple[str, str], ...]
    by: By

    def __call__(self, state: State) -> None:
        state.registry.points = dict(self.points)


@dataclass(frozen=True, slots=True)
class LfdiDenied(Change):
    """An identifier is kept out at the connection, or no longer."""

    lfdi: str
    at_s: int
    by: By
    denied: bool = True

    def __call__(self, state: State) -> None:
        if self.denied:
            state.registry.denied.setdefault(self.lfdi, self.at_s)
        else:
            state.registry.denied.pop(self.lfdi, None)


CHANGES: tuple[type[Change], ...] = (
    ClientKept, DeviceKept, DeviceGone, ClaimEnded, PointsLoaded, LfdiDenied,
)  # fmt: skip


# ---- what clients see and do -------------------------------------------------------------------------


def end_device(ask: Ask, device: Device) -> EndDevice:
    """A device as its client sees it."""
    path, state = device.path, ask.state
    aus, reserves = ask.profile >= Profile.CSIPAUS12, ask.policy.reservations
    return EndDevice(
        href=path,
        subscribable=1,
        changed_time=device.changed_s,
        device_category=None if device.category < 0 else device.category,
        enabled=device.access is Access.ENABLED,
        lfdi=device.lfdi,
        sfdi=device.sfdi,
        post_rate=post_s(state, ask.policy, device.lfdi, device.owner),
        der_list_link=ListLink(href=f"{path}/der", all=state.equipment.ders.get(device.number, 1)),
        device_information_link=Link(href=f"{path}/di"),
        device_status_link=Link(href=f"{path}/ds"),
        power_status_link=Link(href=f"{path}/ps"),
        configuration_link=Link(href=f"{path}/cfg"),
        log_event_list_link=ListLink(href=f"{path}/lel"),
        function_set_assignments_list_link=ListLink(
            href=f"{path}/fsa", all=len(state.assignments.held.get(device.number, ()))
        ),
        flow_reservation_request_list_link=ListLink(href=f"{path}/frq") if reserves else None,
        flow_reservation_response_list_link=ListLink(href=f"{path}/frp") if reserves else None,
        registration_link=None if device.pin < 0 else Link(href=f"{path}/rg"),
        subscription_list_link=ListLink(href=f"{path}/sub"),
        connection_point_link=Link(href=f"{path}/cp") if aus else None,
    )


def device_list(ask: Ask) -> Answer:
    """The caller's own device and its sites, by ascending SFDI; nobody unknown has a list."""
    ask.known()
    registry = ask.state.registry
    head = EndDeviceList(
        href=LIST, subscribable=1, poll_rate=poll_s(ask.state, ask.policy, "EndDeviceList", ask.lfdi)
    )
    return page(
        ask,
        head,
        registry.listed(ask.lfdi),
        lambda each: end_device(ask, registry.devices[each[1]]),
        reader=ask.lfdi,
        time_of=lambda each: registry.devices[each[1]].changed_s,
    )


def device(ask: Ask, about: Device) -> Answer:
    """One device."""
    return single(ask, about.path, lambda: end_device(ask, about))


def claimed(ask: Ask, sent: EndDevice) -> str:
    """The identifier that a posted device claims; it must fit its short form."""
    caller = ask.request.caller
    if sent.lfdi is None and sent.sfdi == caller.sfdi:
        return caller.lfdi
    lfdi = sent.lfdi or ""
    if not is_lfdi(lfdi):
        raise Refused(400, "has no LFDI of 40 hexadecimal digits")
    if sent.sfdi != sfdi_of(lfdi):
        raise Refused(400, f"SFDI {sent.sfdi} does not belong to LFDI {lfdi}")
    return lfdi


def update(ask: Ask, about: Device) -> Answer:
    """The device tells its category anew; who it is, it cannot change."""
    sent = posted(ask, EndDevice)
    if claimed(ask, replace(sent, lfdi=sent.lfdi or about.lfdi)) != about.lfdi:
        raise Refused(400, "names another LFDI than the device's")
    category = about.category if sent.device_category is None else sent.device_category
    if category != about.category:
        keep(ask, replace(about, category=category, changed_s=ask.now_s), ITSELF)
    return NO_CONTENT


def delete(ask: Ask, about: Device) -> Answer:
    """An aggregator gives up a site."""
    if about.lfdi == ask.lfdi:
        raise Refused(403, "cannot delete itself")
    ask.do(DeviceGone(about.number, By("client", "gave up its site")))
    touch_gone(ask, about)
    return NO_CONTENT


def touch_gone(turn: Turn, gone: Device) -> None:
    """A device is there no more, and nothing below it that somebody wants to be told of."""
    turn.touch(gone.path)
    for path in turn.state.subscribed.below(gone.path):
        turn.touch(path)
    turn.touch(LIST, gone.owner)
    turn.touch("/mup", gone.owner)


def end_claim(turn: Turn, gone: Device, by: By) -> None:
    """An aggregator speaks for a site no more: somebody who has more right to it does."""
    turn.do(ClaimEnded(gone, turn.now_s, by))
    touch_gone(turn, gone)


def registration(ask: Ask, about: Device) -> Answer:
    """The PIN by which a client knows that it found the right server."""
    if about.pin < 0:
        raise Refused(404, "has no PIN")
    rate_s = poll_s(ask.state, ask.policy, "Registration", ask.lfdi)
    path = f"{about.path}/rg"
    return single(
        ask,
        path,
        lambda: Registration(
            href=path, poll_rate=rate_s, date_time_registered=about.registered_s, pin=about.pin
        ),
    )


def connection_point(ask: Ask, about: Device) -> Answer:
    """Where the device meets the network, of clients of the Australian profiles."""
    if ask.profile < Profile.CSIPAUS12 or not about.point:
        raise Refused(404, "has no connection point")
    path = f"{about.path}/cp"
    return single(ask, path, lambda: ConnectionPoint(href=path, connection_point_id=about.point))


def set_connection_point(ask: Ask, about: Device) -> Answer:
    """The client names the connection point, or another one.

    A loaded point gives its resource to a device that an operator has let in and that is none yet. Who waits,
    and who is another resource, is given it by an operator, but where nobody is asked.
    """
    if ask.profile < Profile.CSIPAUS12:
        raise Refused(404, "has no connection point")
    sent = posted(ask, ConnectionPoint).connection_point_id.strip()
    wrong = _wrong_point(ask, sent, about.owner)
    if wrong:
        raise Refused(400, f"connection point {sent!r} {wrong}")
    if sent != about.point:
        found = _found_at(ask, about, sent)
        if about.access is Access.PENDING or (about.resource and not ask.policy.approve_at_once):
            found = about.resource  # its word is a wish until an operator says so
        moved = replace(about, point=sent, resource=found, changed_s=ask.now_s)
        keep(ask, moved, By("client", "named its connection point"))
        ask.touch(f"{about.path}/cp")
    return Answer(201, location=f"{about.path}/cp") if ask.request.method == "POST" else NO_CONTENT


def _found_at(ask: Ask, about: Device, point: str) -> str:
    """Which of our resources a device is once it stands at a point; empty is left for the operator.

    Raises:
        Refused: 400 where what stands there is another client's device.
    """
    registry = ask.state.registry
    kept = _kept_resource(ask, about, point)
    named = registry.points.get(point, "")
    if kept or not named:
        return kept
    bearer = registry.bearer(named, about.number)
    if bearer is not None and bearer.owner != about.owner:
        raise Refused(400, f"connection point {point!r} is another client's")
    return named if bearer is None else ""


def _kept_resource(turn: Turn, device: Device, point: str) -> str:
    """The name a device keeps when it goes to a point: what the former point gave it stays there."""
    given = device.point and turn.state.registry.points.get(device.point, "") == device.resource
    return "" if given and point != device.point else device.resource


def _wrong_point(turn: Turn, point: str, owner: str, but: int = 0) -> str:
    """Why a device of this owner cannot stand at a connection point; empty where it can."""
    registry = turn.state.registry
    if re.fullmatch(turn.policy.connection_point, point) is None:
        return "is not written as one"
    if registry.points and point not in registry.points:
        return "is not known"
    return _contested(turn, point, owner, but)


def _contested(turn: Turn, point: str, owner: str, but: int = 0) -> str:
    """Several devices of one client may share a site; two clients may not. ``but`` is not looked at."""
    registry = turn.state.registry
    others = (registry.devices[each].owner for each in registry.at_point.get(point, set()) - {but})
    return "is another client's" if any(other != owner for other in others) else ""


def keep(turn: Turn, kept: Device, by: By) -> None:
    """Put in a device, or a new state of it."""
    known = turn.state.registry.devices.get(kept.number)
    turn.do(DeviceKept(kept, by))
    if known is not None and known.resource != kept.resource:
        unassign(turn, kept, by)  # the programs of a resource are for who is that resource
    turn.touch(kept.path)
    turn.touch(f"{kept.path}/rg")
    turn.touch(LIST, kept.owner)


# ---- what the operator does --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Enrolment:
    """What an operator knows of a device. What is not said stays as it is with one that is known already.

    Attributes:
        lfdi: of the certificate; of a site, its own.
        owner: LFDI of a site's aggregator; empty for the holder of a certificate.
        moved: who is named, or else the holder, speaks for it from now on, whoever was approved before.
        aggregator: the holder speaks for sites; None = not said, and False of a new one.
        profile: what the holder is spoken to in; None = not said, and the standard's own of a new one.
        name: for people.
        pen: enterprise number of an aggregator; 0 = not said.
        hosts: names of hosts that notifications may be sent to; None = not said.
        pin: five digits and a check digit; -1 for none.
        point: connection point; may be empty.
        resource: our own name of the resource, which no other device bears; may be empty.
    """

    lfdi: str
    owner: str = ""
    moved: bool = False
    aggregator: bool | None = None
    profile: Profile | None = None
    name: str = ""
    pen: int = 0
    hosts: tuple[str, ...] | None = None
    pin: int = -1
    point: str = ""
    resource: str = ""


def load(turn: Turn, enrolment: Enrolment, by: By) -> Device | Rejected:
    """Out-of-band registration, or new knowledge about somebody who is known.

    A new device and one that waits for approval are enabled at once. One that is suspended or removed stays
    so until ``set_access`` says otherwise. What is known already changes nothing. Where an aggregator that is
    not named only claims it, that claim ends with all that hangs on it. Where it is ``moved``, so does what
    was approved, but for the resource that it is and for its being kept out.
    """
    wrong = _wrong(turn, enrolment)
    if wrong is not None:
        return wrong
    if not enrolment.owner:
        _load_client(turn, enrolment, by)
    registry, owner = turn.state.registry, enrolment.owner or enrolment.lfdi
    known = registry.of(enrolment.lfdi)
    if known is None or known.owner != owner:
        known = _begun(turn, enrolment.lfdi, owner, known, by)
    point = enrolment.point or known.point
    resource = enrolment.resource or _kept_resource(turn, known, point)
    if known.access is Access.PENDING:
        resource = resource or _wished(turn, replace(known, point=point))
    kept = replace(
        known,
        access=Access.ENABLED if known.access is Access.PENDING else known.access,
        pin=known.pin if enrolment.pin < 0 else enrolment.pin,
        point=point,
        resource=resource,
        claimed=False,
    )
    if kept == registry.devices.get(kept.number):
        return known
    kept = replace(kept, changed_s=turn.now_s)
    keep(turn, kept, by)
    if kept.point != known.point:
        turn.touch(f"{kept.path}/cp")
    return kept


def _begun(turn: Turn, lfdi: str, owner: str, former: Device | None, by: By) -> Device:
    """A device of an owner, before anything is said of it; a former owner's is taken out.

    What an operator has decided about the former goes on: which resource it is, and that it is kept out.
    """
    access, resource = Access.PENDING, ""
    if former is not None:
        end_claim(turn, former, by)
        if not former.claim:
            access = Access.PENDING if former.access is Access.ENABLED else former.access
            resource = "" if access is Access.REMOVED else former.resource
    return Device(
        number=turn.state.registry.next_number, lfdi=lfdi, sfdi=sfdi_of(lfdi), owner=owner, access=access,
        registered_s=turn.now_s, changed_s=turn.now_s, resource=resource,
    )  # fmt: skip


def _load_client(turn: Turn, said: Enrolment, by: By) -> None:
    """What is said of the holder of a certificate, beside what is known of it."""
    known = turn.state.registry.clients.get(said.lfdi)
    was = known or Client(said.lfdi)
    client = Client(
        said.lfdi,
        was.aggregator if said.aggregator is None else said.aggregator,
        was.profile if said.profile is None else said.profile,
        said.name or was.name,
        said.pen or was.pen,
        was.hosts if said.hosts is None else said.hosts,
    )
    if client != known:
        turn.do(ClientKept(client, by))


def _wrong(turn: Turn, enrolment: Enrolment) -> Rejected | None:
    registry, lfdi = turn.state.registry, enrolment.lfdi
    if not is_lfdi(lfdi):
        return Rejected("device", "lfdi", (lfdi,), "is not 40 uppercase hexadecimal digits")
    if enrolment.pin != -1 and not is_pin(enrolment.pin):
        return Rejected("device", "pin", (lfdi,), f"{enrolment.pin} is not five digits and their check digit")
    owner = enrolment.owner or lfdi
    if enrolment.owner:
        client = registry.clients.get(enrolment.owner)
        if client is None or not client.aggregator or enrolment.owner == lfdi:
            return Rejected("device", "owner", (lfdi,), f"{enrolment.owner} is no aggregator of it")
        if any(registry.devices[number].lfdi != lfdi for _, number in registry.listed(lfdi)):
            return Rejected("device", "owner", (lfdi,), "speaks for sites itself")
    known = registry.of(lfdi)
    if known is not None and known.owner != owner and not (known.claim or enrolment.moved):
        return Rejected("device", "owner", (lfdi,), f"belongs to {known.owner}")
    return _misplaced(turn, enrolment, known, owner)


def _misplaced(turn: Turn, said: Enrolment, known: Device | None, owner: str) -> Rejected | None:
    """Why a device cannot stand at its point, or cannot be its resource."""
    others = known is not None and known.owner != owner
    gone = known.number if known is not None and others else 0
    if said.point and (wrong := _wrong_point(turn, said.point, owner, gone)):
        return Rejected("device", "point", (said.lfdi,), f"{said.point} {wrong}")
    waits = not others and known is not None and known.access is Access.PENDING
    if known is None or not waits:
        return _taken(turn, said.lfdi, said.resource)
    contested = None if said.point else _unfit(turn, known)
    return contested or _taken(turn, said.lfdi, said.resource or known.resource)


def _unfit(turn: Turn, known: Device) -> Rejected | None:
    """Why who waits or was removed cannot be let in at its point; another client may have it by now."""
    if known.access not in {Access.PENDING, Access.REMOVED} or not known.point:
        return None
    wrong = _contested(turn, known.point, known.owner)
    return Rejected("device", "point", (known.lfdi,), f"{known.point} {wrong}") if wrong else None


def _wished(turn: Turn, device: Device) -> str:
    """The resource of who waits once it is approved: what it was given, or what is at its point."""
    registry = turn.state.registry
    named = registry.points.get(device.point, "")
    return device.resource or ("" if registry.bearer(named, device.number) is not None else named)


def _taken(turn: Turn, lfdi: str, resource: str) -> Rejected | None:
    """A resource is one device; who is removed is none."""
    known = turn.state.registry.of(lfdi)
    bearer = turn.state.registry.bearer(resource, 0 if known is None else known.number)
    if bearer is None:
        return None
    return Rejected("device", "resource", (lfdi,), f"{resource} is the device {bearer.lfdi}")


def load_points(turn: Turn, points: Mapping[str, str], by: By) -> Rejected | None:
    """From now on only these connection points may be named; none at all means any that is well written.

    Args:
        turn: of the operator.
        points: identifier to our own name of the resource there; a name may be empty.
        by: who and why.
    """
    wrong = [point for point in points if re.fullmatch(turn.policy.connection_point, point) is None]
    if wrong:
        return Rejected("point", "points", tuple(wrong[:_NAMED]), "is not written as a connection point")
    turn.do(PointsLoaded(tuple(points.items()), by))
    return None


def set_access(turn: Turn, lfdi: str, access: Access, by: By) -> Rejected | None:
    """Approve, suspend, restore or remove a device, and with its certificate's own device the client.

    What is known of a suspended device stays as it is; restored, it goes on where it was. A claim that is
    removed binds the aggregator that made it and nobody else.
    """
    known = turn.state.registry.of(lfdi)
    if known is None:
        return Rejected("device", "lfdi", (lfdi,), "is not registered")
    if access is Access.PENDING:
        return Rejected("device", "access", (lfdi,), "cannot become pending again")
    approved = access is Access.ENABLED
    if access is not known.access or (approved and known.claimed):
        comes = known.access in {Access.REMOVED, Access.PENDING} and access is not Access.REMOVED
        if comes and (wrong := _taken(turn, lfdi, known.resource) or _unfit(turn, known)) is not None:
            return wrong
        if access is Access.REMOVED:
            unassign(turn, known, by)
        resource = _wished(turn, known) if comes and known.access is Access.PENDING else known.resource
        kept = replace(known, access=access, resource=resource, changed_s=turn.now_s)
        keep(turn, replace(kept, claimed=known.claim and not approved), by)
    return None


def set_resource(turn: Turn, lfdi: str, resource: str, by: By) -> Rejected | None:
    """Give a device our own name of it; an empty one takes it away."""
    known = turn.state.registry.of(lfdi)
    if known is None:
        return Rejected("device", "lfdi", (lfdi,), "is not registered")
    taken = _taken(turn, lfdi, resource)
    if taken is not None:
        return taken
    if resource != known.resource:
        mere = known.claimed and not (resource and known.access is Access.ENABLED)
        keep(turn, replace(known, resource=resource, claimed=mere, changed_s=turn.now_s), by)
    return None


def set_pin(turn: Turn, lfdi: str, pin: int, by: By) -> Rejected | None:
    """Give a device another PIN; where it stands with the operator stays as it is."""
    known = turn.state.registry.of(lfdi)
    if known is None:
        return Rejected("device", "lfdi", (lfdi,), "is not registered")
    if not is_pin(pin):
        return Rejected("device", "pin", (lfdi,), f"{pin} is not five digits and their check digit")
    if pin != known.pin:
        keep(turn, replace(known, pin=pin, changed_s=turn.now_s), by)
    return None


def deny(turn: Turn, lfdi: str, by: By, *, denied: bool = True) -> Rejected | None:
    """Keep an identifier out at the connection, registered or not; or let it in again."""
    if not is_lfdi(lfdi):
        return Rejected("device", "lfdi", (lfdi,), "is not 40 uppercase hexadecimal digits")
    if denied != (lfdi in turn.state.registry.denied):
        turn.do(LfdiDenied(lfdi, turn.now_s, by, denied))
    return None


ROUTES = (
    Route("/edev/{}", Need.DEVICE, {"GET": device, "PUT": update, "DELETE": delete}),
    Route("/edev/{}/rg", Need.DEVICE, {"GET": registration}),
    Route(
        "/edev/{}/cp",
        Need.DEVICE,
        {"GET": connection_point, "PUT": set_connection_point, "POST": set_connection_point},
    ),
)
