"""Registration in-band: who comes with a certificate of its own, and sites that an aggregator claims.

An aggregator's word is a claim until an operator approves it. The holder of the certificate goes before a
claim: it comes with what only it can have. Before what an operator has approved it does not go: that it asked
is kept and told, and the operator decides. A claim that an operator refuses keeps out its aggregator alone.
"""

from __future__ import annotations

from dataclasses import dataclass

from gridflock.field.ieee2030_5._http import Answer
from gridflock.field.ieee2030_5.resources import EndDevice
from gridflock.field.ieee2030_5.server._alarms import Alarm, keep_alarm
from gridflock.field.ieee2030_5.server._devices import (
    ITSELF,
    LIST,
    ClientKept,
    claimed,
    device_list,
    end_claim,
    keep,
)
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._paging import LIMIT, posted
from gridflock.field.ieee2030_5.server._registry import Access, By, Client, Device
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._state import State
from gridflock.field.ieee2030_5.server._turn import Ask, Change, Refused

_PEN_DIGITS = 8
_HOLDER = By("client", "came with the certificate")
_OTHER = By("client", "claimed what another was refused")


@dataclass(frozen=True, slots=True)
class Contested(Change):
    """The certificate of an aggregator's site has asked to be registered for itself."""

    device: int
    at_s: int

    def __call__(self, state: State) -> None:
        site = state.registry.devices[self.device]
        state.registry.contested[self.device] = self.at_s
        right = "claims it" if site.claim else "was approved for it"
        words = f"{site.owner} {right} and goes on until an operator says otherwise"
        keep_alarm(state, Alarm(site.lfdi, "contested", self.at_s, words))


CHANGES: tuple[type[Change], ...] = (Contested,)


def register(ask: Ask) -> Answer:
    """In-band registration: of the caller itself, or of a site by its aggregator."""
    sent = posted(ask, EndDevice)
    lfdi = claimed(ask, sent)
    if lfdi == ask.lfdi:
        return _register_itself(ask, sent)
    if ask.client is None or not ask.client.aggregator:
        raise Refused(403, f"claims the identifier {lfdi} of another")
    known = ask.state.registry.of(lfdi)
    if known is not None and known.owner == ask.lfdi and known.access is not Access.REMOVED:
        return Answer(201, location=known.path)
    if known is not None and not (_refused_claim(known) and known.owner != ask.lfdi):
        raise Refused(403, f"claims the identifier {lfdi} of another, or of a removed site")
    _admit_site(ask, ask.client, lfdi)
    if known is not None:
        end_claim(ask, known, _OTHER)
    return _made(ask, sent, lfdi)


def contest(ask: Ask) -> None:
    """Keep that a site asked for itself, the first time; after the refusal, which changes nothing."""
    site = ask.contested
    if site is not None and site.number not in ask.state.registry.contested:
        ask.do(Contested(site.number, ask.now_s))


def _refused_claim(known: Device) -> bool:
    return known.claim and known.access is Access.REMOVED


def _register_itself(ask: Ask, sent: EndDevice) -> Answer:
    if ask.device is not None:
        return Answer(201, location=ask.device.path)
    known = ask.state.registry.of(ask.lfdi)
    if known is not None and not _refused_claim(known):
        ask.contested = known
    if known is not None and not known.claim:
        raise Refused(403, "is an aggregator's site")
    if not ask.policy.in_band_devices:
        raise Refused(403, "nobody may register itself")
    if known is not None:
        ask.contested = None
        end_claim(ask, known, _HOLDER)
    ask.client = Client(ask.lfdi, profile=ask.profile)
    ask.do(ClientKept(ask.client, ITSELF))
    return _made(ask, sent, ask.lfdi)


def _admit_site(ask: Ask, client: Client, lfdi: str) -> None:
    policy, registry = ask.policy, ask.state.registry
    if not policy.in_band_sites:
        raise Refused(403, "aggregators may not register sites")
    if len(registry.listed(ask.lfdi)) > policy.most_sites:
        raise Refused(403, "has as many sites as it may have", LIMIT)
    if not policy.approve_at_once and registry.waiting[ask.lfdi] >= policy.most_claims:
        raise Refused(403, "has as many sites that wait for approval as it may have", LIMIT)
    if policy.strict_site_lfdi and int(lfdi[-_PEN_DIGITS:], 16) != client.pen:
        raise Refused(403, f"{lfdi} does not end in the aggregator's enterprise number")


def _made(ask: Ask, sent: EndDevice, lfdi: str) -> Answer:
    made = Device(
        number=ask.state.registry.next_number,
        lfdi=lfdi,
        sfdi=sent.sfdi,
        owner=ask.lfdi,
        access=Access.ENABLED if ask.policy.approve_at_once else Access.PENDING,
        registered_s=ask.now_s,
        changed_s=ask.now_s,
        pin=ask.policy.pin,
        category=-1 if sent.device_category is None else sent.device_category,
        in_band=True,
        claimed=lfdi != ask.lfdi,
    )
    keep(ask, made, ITSELF)
    ask.about = made
    ask.device = ask.device or made
    return Answer(201, location=made.path)


ROUTES = (Route(LIST, Need.CALLER, {"GET": device_list, "POST": register}),)
