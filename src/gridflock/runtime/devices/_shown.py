"""Devices of a utility server as their operators see them. All is looked at on the server's thread."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlsplit

from gridflock.field.ieee2030_5.events import MODES, Standing
from gridflock.field.ieee2030_5.resources import DERControlBase, Link, ResponseStatus
from gridflock.field.ieee2030_5.resources._quantities import (
    FixedPointType,
    FixedVar,
    PowerFactorWithExcitation,
    ReactivePower,
)
from gridflock.field.ieee2030_5.resources._table import table
from gridflock.field.ieee2030_5.server import Access, UtilityServer
from gridflock.field.ieee2030_5.server._effective import effective
from gridflock.field.ieee2030_5.server._logs import function_set
from gridflock.field.ieee2030_5.server._rates import poll_s, post_s
from gridflock.field.ieee2030_5.server._registry import Client, Device
from gridflock.runtime._utility_views import (
    DeviceDetail,
    DeviceView,
    EffectiveView,
    LogView,
    OwnRateView,
    RatesView,
    ResponseView,
    SubscriptionView,
)
from gridflock.units import iso

GRACE_S = 60
"""So long after reading its registration a device may take to go on."""
_NEWEST = 20
_PIN_DIGITS = 6
_WIRE = {slot.field: slot.mark.name for slot in table(DERControlBase)}


def stopped(server: UtilityServer, number: int, now_s: int) -> bool:
    """Whether a device went no further than its registration: its PIN is wrong, perhaps, or missing."""
    at_s = server.contacts.stopped_s(server.state, number)
    return at_s is not None and now_s - at_s >= GRACE_S


Known = tuple[dict[int, Device], dict[str, Client]]
"""Devices by number and clients by LFDI, as they were at one moment."""


def known(server: UtilityServer) -> Known:
    """All devices, to be looked through on another thread; they themselves are never changed."""
    registry = server.state.registry
    return registry.devices.copy(), registry.clients.copy()


def found(known: Known, access: str, text: str) -> list[int]:
    """Numbers, in order, of the devices of one state (empty = any) of which some name holds a text."""
    (devices, clients), wanted = known, text.casefold()
    return [
        number
        for number, device in sorted(devices.items())
        if (not access or device.access.name.lower() == access)
        and (not wanted or wanted in _names(clients.get(device.owner), device))
    ]


def views(server: UtilityServer, numbers: Sequence[int], now_s: int) -> list[DeviceView]:
    """Devices, each in a line; who is gone meanwhile is left out."""
    devices = server.state.registry.devices
    return [view(server, devices[number], now_s) for number in numbers if number in devices]


def _names(client: Client | None, device: Device) -> str:
    """All that a device can be found by, one behind the other."""
    name = "" if client is None else client.name
    return "\n".join((device.lfdi, str(device.sfdi), device.resource, name, device.point)).casefold()


def _client(server: UtilityServer, device: Device) -> Client:
    return server.state.registry.clients.get(device.owner, Client(device.owner))


def view(server: UtilityServer, device: Device, now_s: int) -> DeviceView:
    """One device in a line."""
    state, policy, registry = server.state, server.policy, server.state.registry
    contact, lost_s = server.contacts.of.get(device.number), registry.lost.get(device.number)
    client = _client(server, device)
    modes = effective_now(server, device, now_s)
    said = responses(server, device)
    return DeviceView(
        lfdi=device.lfdi,
        sfdi=device.sfdi,
        resource=device.resource,
        name=client.name if device.owner == device.lfdi else "",
        access=device.access.name.lower(),
        denied=device.lfdi in registry.denied,
        registered="in band" if device.in_band else "out of band",
        since=iso(device.registered_s),
        aggregator=device.owner if client.aggregator else "",
        profile=client.profile.name.lower(),
        point=device.point,
        last_contact=iso(contact.heard_s) if contact is not None and contact.asked else "",
        lost_since="" if lost_s is None else iso(lost_s),
        trouble=_trouble(server, device, now_s),
        poll_s=poll_s(state, policy, "DERProgramList", device.owner),
        post_s=post_s(state, policy, device.lfdi, device.owner),
        control=", ".join(f"{each.mode} {each.value}" for each in modes if each.control),
        last_response=f"{said[0].status} at {said[0].at}" if said else "",
    )


def _trouble(server: UtilityServer, device: Device, now_s: int) -> str:
    """What an operator has to look at; empty where there is nothing."""
    asked_s = server.state.registry.contested.get(device.number)
    if asked_s is not None:
        return f"its own certificate asked to be registered at {iso(asked_s)}; {device.owner} speaks for it"
    if not stopped(server, device.number, now_s):
        return ""
    at_pin = "it read its PIN" if device.pin >= 0 else "it was given no PIN"
    return f"stopped at its registration: {at_pin} and went no further"


def detail(
    server: UtilityServer, device: Device, now_s: int, connections: int, *, secrets: bool
) -> DeviceDetail:
    """All that is known of one device; ``secrets``: its PIN and where it is notified, too."""
    state = server.state
    logs = sorted(state.logs.get(device.number, ()), key=lambda each: each.number, reverse=True)
    subscribed = state.subscribed
    return DeviceDetail(
        device=view(server, device, now_s),
        pin=f"{device.pin:0{_PIN_DIGITS}d}" if secrets and device.pin >= 0 else "",
        hosts=list(_client(server, device).hosts),
        connections=connections,
        sites=len(state.registry.listed(device.lfdi)),
        effective=effective_now(server, device, now_s),
        responses=responses(server, device),
        logs=[
            LogView(
                iso(each.event.created_date_time), each.event.function_set, function_set(each.event),
                each.event.log_event_code, each.event.details or "",
            )
            for each in logs[:_NEWEST]
        ],
        subscriptions=[
            _subscription(server, number, secrets=secrets)
            for number in sorted(subscribed.of_device.get(device.number, ()))
        ],
    )  # fmt: skip


def _subscription(server: UtilityServer, number: int, *, secrets: bool) -> SubscriptionView:
    known = server.state.subscribed
    wish, owed, ended_s = known.wishes[number], known.owed.get(number), known.dead.get(number)
    return SubscriptionView(
        wish.path,
        wish.uri if secrets else _host(wish.uri),
        "" if owed is None else iso(owed.since_s),
        0 if owed is None else owed.tries,
        "" if ended_s is None else iso(ended_s),
    )


def _host(uri: str) -> str:
    """What of an address is no secret: the rest may hold what lets notifications in."""
    try:
        return urlsplit(uri).hostname or ""
    except ValueError:
        return ""


def effective_now(server: UtilityServer, device: Device, now_s: int) -> list[EffectiveView]:
    """What stands for a device now, mode by mode; nothing for one that may not speak."""
    if device.access is not Access.ENABLED:
        return []
    return in_words(effective(server.state, device, now_s))


def in_words(standing: Standing) -> list[EffectiveView]:
    """What a device is under, mode by mode."""
    told = []
    for mode in MODES:
        if mode in standing.by_mode:
            control = standing.by_mode[mode]
            ends = "" if control is None else iso(control.interval.start + control.interval.duration)
            value = worded(getattr(standing.base, mode))
            told.append(EffectiveView(_WIRE[mode], value, "" if control is None else control.mrid, ends))
    return told


def worded(value: object) -> str:
    """A mode's value with its unit."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, int):
        return f"{value / 100:g} %"
    if isinstance(value, FixedPointType):
        unit = "var" if isinstance(value, ReactivePower) else "W"
        return f"{value.value * 10.0**value.multiplier:g} {unit}"
    if isinstance(value, FixedVar):
        return f"{value.value / 100:g} %"
    if isinstance(value, PowerFactorWithExcitation):
        excited = "under-excited" if value.excitation else "over-excited"
        return f"{value.displacement * 10.0**value.multiplier:g} {excited}"
    return f"curve {value.href}" if isinstance(value, Link) else "as set"


def responses(server: UtilityServer, device: Device) -> list[ResponseView]:
    """What a device said last of events, newest first."""
    known = server.state.responses
    numbers = sorted(known.of_device.get(device.number, ()), reverse=True)[:_NEWEST]
    said = [known.said[number] for number in numbers]
    return [ResponseView(each.subject, _status(each.status), iso(each.arrived_s)) for each in said]


def _status(status: int) -> str:
    known = status in set(ResponseStatus)
    return ResponseStatus(status).name.lower().replace("_", " ") if known else str(status)


def rates(server: UtilityServer, kinds: tuple[str, ...]) -> RatesView:
    """Rates of all, and of those who have their own."""
    state, policy = server.state, server.policy
    own = sorted((state.rates.poll.keys() | state.rates.post.keys()) - {""})
    return RatesView(
        {kind: poll_s(state, policy, kind, "") for kind in kinds},
        post_s(state, policy, "", ""),
        [OwnRateView(lfdi, dict(state.rates.poll.get(lfdi, {})), state.rates.post.get(lfdi)) for lfdi in own],
    )
