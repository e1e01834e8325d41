"""A running system's own utility server: those of its registry that have an LFDI are spoken to by it."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from gridflock.field.ieee2030_5._field import UtilityField
from gridflock.field.ieee2030_5._listen import Security
from gridflock.field.ieee2030_5._notify import Poster, Reach
from gridflock.field.ieee2030_5._tls import client_context, server_context
from gridflock.field.ieee2030_5._utility import Hosts, Now, Reachable, Utility
from gridflock.field.ieee2030_5.identity import Trust, denied_from, trust_from
from gridflock.field.ieee2030_5.server import By, Policy, UtilityServer
from gridflock.field.ieee2030_5.server._devices import Enrolment, load, set_pin
from gridflock.field.ieee2030_5.server._registry import Device
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.fleet.registry import Registry
from gridflock.model import Entry, Json, Orders, Outcomes, Readings, Rejected
from gridflock.ports import Field
from gridflock.record import open_record
from gridflock.runtime._loop import Loop
from gridflock.runtime._utility_port import KIND
from gridflock.runtime.devices._operated import Operated
from gridflock.runtime.devices._published import Publishes, Publishing
from gridflock.runtime.devices._speaking import plate_of
from gridflock.units import Mask

_LOG = logging.getLogger(__name__)
_PEN = 37_250
_BY = By("operator", "the registry has its LFDI")
_NAME = "IEEE 2030.5 server"
_UNPACED = 1e4
"""Pace of a clock that goes as fast as it can."""
REGISTRATION = ("closed", "ask", "open")
"""What becomes of who registers itself: it is refused, waits for an operator, or is enabled at once."""


@dataclass(frozen=True, slots=True)
class Serve:
    """How a running system serves devices over IEEE 2030.5.

    Attributes:
        port: TCP port.
        pki: folder with ``trust.pem``, ``revoked.pem`` and the server's certificate.
        name: folder of that below ``issued/``.
        host: address to listen on.
        pin: of every device that has none of its own, five digits and their check digit.
        pins: LFDI to the PIN of a device that has none of its own yet; one that was given since stays.
        poll_s: how often devices are told to ask.
        post_s: how often to report.
        tests: certificates for tests are let in.
        registration: one of ``REGISTRATION``.
        hosts: that notifications of every client may be sent to.
        lab: notifications may go to this machine and to private networks, too.
        trial_storage: what devices tell in the namespace of the CSIP-AUS storage trial is read as of 1.3.
        publishes: what devices are told beside orders.
    """

    port: int
    pki: Path
    name: str = "utility"
    host: str = "127.0.0.1"
    pin: int = 111_115
    pins: Mapping[str, int] = field(default_factory=dict)
    poll_s: int = 300
    post_s: int = 60
    tests: bool = True
    registration: str = "closed"
    hosts: tuple[str, ...] = ()
    lab: bool = False
    trial_storage: bool = False
    publishes: Publishes = field(default_factory=Publishes)

    @property
    def policy(self) -> Policy:
        """The same as the server's rules."""
        welcome = self.registration != "closed"
        return Policy(
            pen=_PEN, poll_s=self.poll_s, post_s=self.post_s, pin=self.pin, hosts=self.hosts,
            in_band_devices=welcome, in_band_sites=welcome, approve_at_once=self.registration == "open",
            reservations=self.publishes.reservations, trial_storage=self.trial_storage,
        )  # fmt: skip


@dataclass(slots=True)
class Others:
    """A field without those that somebody else speaks with.

    Attributes:
        field: the whole.
        names: who is left out.
    """

    field: Field
    names: frozenset[str]

    def read(self, now_s: int) -> Readings:
        """The others' readings."""
        told = self.field.read(now_s)
        mine = self._mine(told.ids)[told.index]
        return replace(
            told, index=told.index[mine], quantity=told.quantity[mine], value=told.value[mine],
            time_s=told.time_s[mine], quality=told.quality[mine],
        )  # fmt: skip

    def send(self, orders: Orders) -> None:
        """Hand the others' orders over."""
        self.field.send(orders)

    def outcomes(self, now_s: int) -> Outcomes:
        """The others' answers; a world that was lived again has orders of them all."""
        told = self.field.outcomes(now_s)
        mine = self._mine(told.ids)[told.index]
        return replace(
            told, index=told.index[mine], order_id=told.order_id[mine], status=told.status[mine],
            p_kw=told.p_kw[mine], time_s=told.time_s[mine],
        )  # fmt: skip

    def _mine(self, ids: tuple[str, ...]) -> Mask:
        return np.array([name not in self.names for name in ids], dtype=bool)


def lfdis_of(registry: Registry) -> dict[str, str]:
    """LFDI of every resource that has one."""
    told = registry.identities.get("lfdi", ())
    return {name: lfdi for name, lfdi in zip(registry.ids, told, strict=False) if lfdi}


def attach(loop: Loop, folder: Path, how: Serve, clock: Now) -> Operated:
    """Let a loop speak with those of its resources that have a device, and go on speaking as devices come.

    Args:
        loop: its fleet's resources with an LFDI are enrolled, if they are not yet.
        folder: the server's memory.
        how: where, and with what.
        clock: the system's.

    Raises:
        OSError: the port cannot be had, or a file cannot be read.
    """
    system, before = loop.system, loop.ends
    utility = _utility(folder, how, clock)
    before_it = utility.ask(_known)
    for fault in utility.act(_enrol, lfdis_of(system.fleet.registry), how):
        _LOG.warning("%s: %s %s", ", ".join(fault.ids), fault.field, fault.reason)
    if entries := _said(before_it, utility.ask(_known), clock.now_s()):
        loop.record.append(entries)
    registry = system.fleet.registry
    plates = [plate_of(_row(registry, row)) for row in range(len(registry.ids))]
    others = Others(loop.field, frozenset())

    def route(names: frozenset[str]) -> None:
        others.names = names
        loop.speak(_NAME, names)

    field = UtilityField(utility, plates)
    operated = Operated(utility, field, how, loop.record, clock, route)

    def end() -> None:
        operated.end()
        if before is not None:
            before()

    loop.field, loop.ends, loop.server = others, end, operated
    loop.publish = Publishing(field, lambda: loop.system, how.publishes)
    loop.join(_NAME, operated, ())
    operated.settle()
    return operated


def _utility(folder: Path, how: Serve, clock: Now) -> Utility:
    """The server, listening."""
    trust = trust_from((how.pki / "trust.pem").read_bytes(), int(time.time()), tests=how.tests)
    denied = denied_from((how.pki / "revoked.pem").read_bytes(), trust.authorities)
    at = how.pki / "issued" / how.name
    chain, key = at / "chain.pem", at / "key.pem"
    security = Security(server_context(chain, key, trust), trust, denied)
    reach = Reachable(how.host, how.port)
    record = open_record(folder)
    try:
        policy = replace(how.policy, headroom=how.policy.headroom * _pace(clock))
        utility = Utility(
            policy, record, security, clock, reach, lambda hosts: _poster(chain, key, trust, how, hosts)
        )
        utility.start()
    except BaseException:
        record.close()
        raise
    return utility


def _pace(clock: Now) -> float:
    """How much faster than the wall's clock the system's goes, and so do those who keep to its rates."""
    speed = float(getattr(clock, "speed", 1.0))
    return max(1.0, speed) if speed else _UNPACED


def _poster(chain: Path, key: Path, trust: Trust, how: Serve, hosts: Hosts) -> Poster:
    return Poster(client_context(chain, key, trust), trust, hosts, reach=Reach(lab=how.lab))


def _enrol(turn: Turn, lfdis: Mapping[str, str], how: Serve) -> list[Rejected]:
    """Enrol who is in the registry, with the PIN that it has already, its own, or everybody's.

    What operators did since the files were written stands: a PIN that they gave, a resource that they joined
    a device to. Where the files say otherwise that is told.
    """
    faults: list[Rejected] = []
    for name, lfdi in lfdis.items():
        known = turn.state.registry.of(lfdi)
        if known is not None and known.claim:
            reason = f"the registry has it as {name}, {known.owner} claims it: an operator says whose it is"
            faults.append(Rejected("device", "owner", (lfdi,), reason))
            continue
        pin = _pin(known, lfdi, how, faults)
        if known is not None and known.resource not in {"", name}:
            reason = f"the registry says {name}, it is joined to {known.resource}, which it stays"
            faults.append(Rejected("device", "resource", (lfdi,), reason))
            name = known.resource  # noqa: PLW2901 - what stands
        owner = "" if known is None or known.owner == lfdi else known.owner
        loaded = load(turn, Enrolment(lfdi=lfdi, pin=pin, resource=name, owner=owner), _BY)
        if isinstance(loaded, Rejected):
            faults.append(replace(loaded, ids=(name, *loaded.ids)))
    for lfdi in how.pins.keys() - set(lfdis.values()):
        pin = _pin(turn.state.registry.of(lfdi), lfdi, how, faults)
        wrong = set_pin(turn, lfdi, pin, _BY) if pin >= 0 else None
        faults += [] if wrong is None else [wrong]
    return faults


def _pin(known: Device | None, lfdi: str, how: Serve, faults: list[Rejected]) -> int:
    """The PIN that a device is to be given; -1 where it keeps its own."""
    its = -1 if known is None else known.pin
    wanted = how.pins.get(lfdi, its if its >= 0 else how.pin)
    if its in {-1, how.pin} or wanted == its:  # the common one is nobody's own
        return wanted if wanted != its else -1
    reason = "the file says another PIN than the device was given since, which it keeps"
    faults.append(Rejected("device", "pin", (lfdi,), reason))
    return -1


def _known(server: UtilityServer) -> dict[int, Device]:
    return server.state.registry.devices.copy()


def _said(before: Mapping[int, Device], after: Mapping[int, Device], now_s: int) -> list[Entry]:
    """What a start has changed, for the ledger: new devices as a number, known ones one by one."""
    entries = []
    for number, was in before.items():
        now = after[number]
        told = [] if was.access is now.access else [f"{now.access.name.lower()}"]
        told += [] if was.pin == now.pin else ["another PIN, of the file"]
        told += [] if was.resource == now.resource else [f"it is {now.resource}, by the registry"]
        if told:
            head: dict[str, Json] = {"what": "begun", "lfdi": now.lfdi, "group": now.resource}
            entries.append(Entry(KIND, now_s, head | {"text": f"{now.lfdi}: {'; '.join(told)}"}))
    if many := len(after.keys() - before.keys()):
        text = f"enrolled from the registry: {many}"
        entries.append(Entry(KIND, now_s, {"what": "begun", "devices": many, "text": text}))
    return entries


def _row(registry: Registry, row: int) -> Mapping[str, str | float]:
    names = ("p_max_kw", "p_min_kw", "s_max_kva", "e_max_kwh")
    numbers = {name: float(registry.columns[name][row]) for name in names}
    return {"id": registry.ids[row]} | {k: v for k, v in numbers.items() if math.isfinite(v)}
