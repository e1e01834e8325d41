"""What operators do with a running utility server, and what it lets them know."""

from __future__ import annotations

import logging
import re
import secrets
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar

from gridflock.field.ieee2030_5._field import UtilityField
from gridflock.field.ieee2030_5._utility import Now, Utility
from gridflock.field.ieee2030_5.identity import denied_from
from gridflock.field.ieee2030_5.identity._identifiers import with_check_digit
from gridflock.field.ieee2030_5.resources import Profile
from gridflock.field.ieee2030_5.server import Access, By, UtilityServer
from gridflock.field.ieee2030_5.server._alarms import Alarm, alarms_told
from gridflock.field.ieee2030_5.server._devices import (
    Enrolment,
    deny,
    load,
    load_points,
    set_access,
    set_pin,
    set_resource,
)
from gridflock.field.ieee2030_5.server._rates import PATHS, set_poll_rate, set_post_rate
from gridflock.field.ieee2030_5.server._turn import Turn
from gridflock.model import Entry, Json, Orders, Outcomes, Readings, Rejected
from gridflock.ports import Record
from gridflock.record import RecordFull
from gridflock.runtime._agreed import Agreed
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._utility_port import KIND, Bearing, Enrolling, Rating, Said
from gridflock.runtime._utility_views import (
    DeviceDetail,
    DevicePage,
    DeviceView,
    DifferenceView,
    RatesView,
    UtilityView,
)
from gridflock.runtime._views import Fault
from gridflock.runtime.devices import _shown
from gridflock.runtime.devices._agreeing import Agreeing
from gridflock.units import iso

if TYPE_CHECKING:
    from gridflock.runtime.devices._served import Serve

_LOG = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")
LOST, STOPPED, UNTOLD = "devices lost", "devices stopped at registration", "devices not notified"
SHORT = "devices that could not be told all"
_KINDS = tuple(PATHS)
_MOST_EVENTS = 50
"""Told one by one in a tick; what is more, as a number."""
_FEW = 3
"""Of what one device's client causes, told one by one in a tick, so that none hides the others'."""
_ORDER = {"registered": 1, "moved": 1, "given up": 1, "log event": 2}
"""What clients cause, behind all that the server itself finds (0), what they report last."""
_MOST_WAITING = 10_000
_NAMED = 5
_AT_ONCE = 50
"""Devices looked at in one go of the server's thread, which serves devices between two."""
_HOST = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(\.(?!-)[A-Za-z0-9-]{1,63})*\.?")
_PIN_LOW, _PIN_MANY = 10_000, 90_000
_RULES: Mapping[str, str] = {
    "lfdi": "40 uppercase hexadecimal digits, registered",
    "pin": "five digits and their check digit",
    "resource": "a resource that no other device is",
    "owner": "an aggregator that is enrolled, and no other's device",
    "claim": "said whose it is (owner, or aggregator yes or no), or approved or refused as it is",
    "point": "a connection point that may be named",
    "points": "identifiers of connection points",
    "poll_s": "a device that asks for itself, or an aggregator",
    "access": "enabled, suspended or removed",
    "seconds": "1 to 86400 seconds",
    "kind": f"one of {', '.join(_KINDS)}",
}
_TOLD = {
    "lost": "no contact since {since}",
    "back": "heard of again; no contact since {since}",
    "not notified": "a subscription is no longer served",
    "log event": "reports",
    "registered": "has registered itself",
    "moved": "says that it is somewhere else",
    "given up": "its aggregator has taken it out",
    "claim ended": "an aggregator's claim of it has ended: who has more right to it came",
    "contested": "comes with its own certificate and asks to be registered",
}


class Operated:
    """A utility server towards its operators, and towards the ticks as the way to its devices.

    Args:
        utility: the running server.
        field: its devices.
        how: it was started.
        record: the system's ledger.
        clock: the system's.
        route: told which resources it speaks with, whenever these change.
    """

    def __init__(
        self,
        utility: Utility,
        field: UtilityField,
        how: Serve,
        record: Record,
        clock: Now,
        route: Callable[[frozenset[str]], None],
    ) -> None:
        self.utility, self.field = utility, field
        self._how, self._record, self._clock = how, record, clock
        self._route = route
        self._ids = frozenset(field.ids)
        self._bearers: dict[str, tuple[int, str]] = {}
        self._settling = Lock()
        self._late: list[Alarm] = []
        self.troubles: tuple[str, ...] = ()
        self.counted: dict[str, int] = {}
        self._agreeing = Agreeing(field)

    # ---- towards the ticks ----------------------------------------------------------------------

    def read(self, now_s: int) -> Readings:
        """What devices have said since the last call; what the server lets be known of them is told."""
        self._let_be_known(now_s)
        self.settle()
        readings = self.field.read(now_s)
        self._agreeing.read()
        return readings

    @property
    def agreed(self) -> Agreed:
        """What devices have agreed with the server, as of the last reading."""
        return self._agreeing.agreed

    def send(self, orders: Orders) -> None:
        """Make controls of orders."""
        self.field.send(orders)

    def outcomes(self, now_s: int) -> Outcomes:
        """Answers since the last call."""
        return self.field.outcomes(now_s)

    def settle(self) -> None:
        """Let every device that is a resource of the fleet have its programs and take orders from here."""
        with self._settling:
            bearers = self.utility.ask(self._present)
            if bearers != self._bearers:
                self.field.place({})
                self._bearers = bearers
                self._route(frozenset(bearers))

    def _present(self, server: UtilityServer) -> dict[str, tuple[int, str]]:
        """From a resource to number and LFDI of its device; who is suspended keeps it and takes no orders."""
        devices = server.state.registry.devices.values()
        mine = (Access.ENABLED, Access.SUSPENDED)
        return {
            each.resource: (each.number, each.lfdi)
            for each in devices
            if each.access in mine and each.resource in self._ids
        }

    def end(self) -> None:
        """Let be known what nobody has fetched yet, and end; a record that is still written to stays open."""
        try:
            self._tell(self._clock.now_s())
        except Exception:  # noqa: BLE001 - the server ends, whatever the ledger takes
            _LOG.exception("not told: %d", len(self._late))
        if self.utility.stop():
            self.utility.record.close()

    def _let_be_known(self, now_s: int) -> None:
        """Alarms as events in the ledger, and what lasts as troubles of the tick."""
        self._tell(now_s)
        troubles, self.counted = self.utility.ask(partial(self._standing, now_s=now_s))
        short = sorted({name for fault in self.field.short for name in fault.ids})
        untold = [f"{cause}: {text}" for cause, text in sorted(self.field.troubles.items()) if text]
        untold += [f"revocation list to be renewed: {name}" for name in self.utility.lists.stale(now_s)]
        self.troubles = (*troubles, *untold, *([f"{SHORT}: {len(short)} ({_few(short)})"] if short else []))

    def _tell(self, now_s: int) -> None:
        """Alarms as events in the ledger; where that takes none they stay for the next time."""
        alarms = [*self._late, *self.utility.new_alarms()]
        self._late = alarms[-_MOST_WAITING:]
        kept = self.utility.ask(lambda server: server.state.untold.copy())
        first, rest = _shared_out([*kept, *alarms])
        names = self.utility.ask(lambda server: {each.lfdi: _name(server, each.lfdi) for each in first})
        entries = [_event(alarm, names[alarm.lfdi], now_s) for alarm in first]
        if rest:
            more = Counter(alarm.what for alarm in rest)
            text = "more devices: " + ", ".join(f"{what} {many}" for what, many in sorted(more.items()))
            entries.append(Entry(KIND, now_s, {"what": "more", "text": text}))
        with suppress(RecordFull):  # they stay for the next tick
            if entries:
                self._record.append(entries)
            self._late = []
            if kept:
                self.utility.act(alarms_told, len(kept))

    def _standing(self, server: UtilityServer, now_s: int) -> tuple[tuple[str, ...], dict[str, int]]:
        state = server.state
        devices = state.registry.devices
        left = [k for k in server.contacts.of if k in devices and _shown.stopped(server, k, now_s)]
        dead = sorted({state.subscribed.wishes[k].device for k in state.subscribed.dead})
        causes = {LOST: sorted(state.registry.lost), STOPPED: sorted(left), UNTOLD: dead}
        told = tuple(
            f"{cause}: {len(found)} ({_named(server, found)})" for cause, found in causes.items() if found
        )
        counted = {each.name.lower(): 0 for each in Access}
        counted |= Counter(device.access.name.lower() for device in devices.values())
        counted |= {"lost": len(causes[LOST]), "stopped": len(left), "not notified": len(dead)}
        return told, counted | {"refused": sum(server.refusals.values())}

    # ---- what is looked at ----------------------------------------------------------------------

    def view(self) -> UtilityView:
        """The server at a glance."""
        counts, now_s = self.utility.counts(), self._clock.now_s()
        _, counted = self.utility.ask(partial(self._standing, now_s=now_s))

        def look(server: UtilityServer) -> UtilityView:
            state = server.state
            return UtilityView(
                host=self._how.host,
                port=self.utility.port,
                registration=self._how.registration,
                pending=counted["pending"],
                enabled=counted["enabled"],
                suspended=counted["suspended"],
                removed=counted["removed"],
                joined=len(self._bearers),
                lost=counted["lost"],
                stopped=counted["stopped"],
                not_notified=len(state.subscribed.dead),
                owed=len(state.subscribed.owed),
                points=len(state.registry.points),
                hosts=list(server.policy.hosts),
                denied=sorted(state.registry.denied),
                revoked=self.utility.revoked,
                counts=counts,
            )

        return self.utility.ask(look)

    def devices(self, access: str, text: str, limit: int, offset: int) -> DevicePage:
        """A part of the list of devices."""
        known = self.utility.ask(_shown.known)  # looked through on this thread, not on the server's
        found = _shown.found(known, access, text)
        shown: list[DeviceView] = []
        for at in range(offset, min(offset + limit, len(found)), _AT_ONCE):
            part = found[at : min(at + _AT_ONCE, offset + limit)]
            shown += self.utility.ask(partial(_shown.views, numbers=part, now_s=self._clock.now_s()))
        return DevicePage(len(found), offset, shown)

    def device(self, lfdi: str, *, secrets: bool) -> DeviceDetail | None:
        """One device with all that is known of it; None where it is not known."""
        now_s, connections = self._clock.now_s(), self.utility.connected(lfdi)

        def look(server: UtilityServer) -> DeviceDetail | None:
            found = server.state.registry.of(lfdi)
            if found is None:
                return None
            return _shown.detail(server, found, now_s, connections, secrets=secrets)

        return self.utility.ask(look)

    def bearing(self, lfdi: str) -> Bearing | None:
        """Whose business a device is; None where it is not known."""

        def look(server: UtilityServer) -> Bearing | None:
            registry = server.state.registry
            found, client = registry.of(lfdi), registry.clients.get(lfdi)
            if found is None:
                return None
            owner = "" if found.owner == lfdi else found.owner
            return Bearing(found.resource, client is not None and client.aggregator, owner)

        return self.utility.ask(look)

    def rates(self) -> RatesView:
        """How often clients are told to ask and to report."""
        return self.utility.ask(partial(_shown.rates, kinds=_KINDS))

    def points(self) -> dict[str, str]:
        """Connection points that may be named, with the resources there."""
        return self.utility.ask(lambda server: dict(server.state.registry.points))

    def differs(self) -> list[DifferenceView]:
        """Settings that devices tell and that are not what the registry says."""
        found, bearers = self.field.differs(), dict(self._bearers)
        return [
            DifferenceView(fault.ids[0], bearers.get(fault.ids[0], (0, ""))[1], fault.field, fault.reason)
            for fault in found
        ]

    # ---- what is done ---------------------------------------------------------------------------

    def enrol(self, wanted: Enrolling, said: Said) -> DeviceView:
        """Register a device out of band, or say more of one that is known; who waits is approved."""
        profiles = {each.name.lower(): each for each in Profile}
        faults = [
            Fault("hosts", "names of hosts, without a port", f"{host!r} is not")
            for host in wanted.hosts or ()
            if not is_host(host)
        ]
        if wanted.profile and wanted.profile not in profiles:
            reason = f"{wanted.profile!r} is not"
            faults.append(Fault("profile", f"one of {', '.join(profiles)}", reason))
        if faults:
            raise RequestRejected(tuple(faults))

        def do(turn: Turn) -> object:
            found = turn.state.registry.of(wanted.lfdi)
            whose = bool(wanted.owner) or wanted.aggregator is not None
            if found is not None and found.claim and not whose:
                return Rejected("device", "claim", (found.lfdi,), f"{found.owner} claims it, nobody approved")
            owner = wanted.owner or (wanted.lfdi if found is None or whose else found.owner)
            pin = -1 if wanted.pin is None else wanted.pin
            if pin < 0 and (found is None or found.pin < 0 or found.owner != owner):
                pin = turn.policy.pin
            enrolment = Enrolment(
                wanted.lfdi, "" if owner == wanted.lfdi and not wanted.owner else owner, whose,
                wanted.aggregator, profiles.get(wanted.profile), wanted.name, 0,
                wanted.hosts, pin, wanted.point, wanted.resource,
            )  # fmt: skip
            return load(turn, enrolment, _by(said))

        self._done(said, do)
        self.settle()
        return self._seen(wanted.lfdi)

    def set_access(self, lfdi: str, access: str, resource: str, said: Said) -> DeviceView:
        """Approve, refuse, suspend or enable a device again, and perhaps join it to a resource."""

        def do(turn: Turn) -> object:
            wrong = set_resource(turn, lfdi, resource, _by(said)) if resource else None
            return wrong or set_access(turn, lfdi, Access[access.upper()], _by(said))

        self._done(said, do)
        self.settle()
        return self._seen(lfdi)

    def set_pin(self, lfdi: str, pin: int | None, said: Said) -> DeviceDetail:
        """Give a device another PIN; None = one by lot."""
        given = with_check_digit(_PIN_LOW + secrets.randbelow(_PIN_MANY)) if pin is None else pin
        self._done(said, set_pin, lfdi, given, _by(said))
        found = self.device(lfdi, secrets=True)
        assert found is not None, "it was given a PIN"
        return found

    def set_rates(self, wanted: Rating, said: Said) -> RatesView:
        """Tell clients to ask or report more or less often."""
        kinds = (wanted.kind,) if wanted.kind else _KINDS

        def do(turn: Turn) -> object:
            by, wrong = _by(said), None
            if wanted.poll_s is not None:
                for kind in kinds:
                    wrong = wrong or set_poll_rate(turn, kind, wanted.poll_s, by, wanted.lfdi)
            if wanted.post_s is not None:
                wrong = wrong or set_post_rate(turn, wanted.post_s, by, wanted.lfdi)
            return wrong

        self._done(said, do)
        return self.rates()

    def load_points(self, points: Mapping[str, str], said: Said) -> UtilityView:
        """From now on only these connection points may be named."""
        strange = sorted({name for name in points.values() if name} - self._ids)
        if strange:
            told = ", ".join(repr(name) for name in strange[:_NAMED])
            raise RequestRejected((Fault("points", "resources of the fleet", f"no resource {told}"),))
        self._done(said, load_points, points, _by(said))
        return self.view()

    def deny(self, lfdi: str, said: Said, *, denied: bool) -> UtilityView:
        """Keep an identifier out at the connection, or let it in again."""
        try:
            self._done(said, deny, lfdi, _by(said), denied=denied)
        finally:
            self.utility.deny()  # the door goes by the state, whatever the journal could not take
        return self.view()

    def read_revoked(self, said: Said) -> UtilityView:
        """Read the revocation lists of the authority's folder again."""
        try:
            lists = (self._how.pki / "revoked.pem").read_bytes()
            denied = denied_from(lists, self.utility.trust.authorities, before=self.utility.lists)
        except (OSError, ValueError) as error:
            rule = "revocation lists that a trusted authority signed"
            raise RequestRejected((Fault("revoked", rule, str(error)),)) from error
        said.note()
        self.utility.deny(denied)
        return self.view()

    def _done(
        self,
        said: Said,
        verb: Callable[Concatenate[Turn, P], object],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> None:
        """Do something that is in the ledger before it changes anything; a fault as one of the request."""

        def noted(turn: Turn) -> object:
            turn.note = said.note
            return verb(turn, *args, **kwargs)

        found = self.utility.say(noted)
        if isinstance(found, Rejected):
            rule = _RULES.get(found.field, "the rules of IEEE 2030.5")
            told = f"{', '.join(found.ids)}: {found.reason}" if found.ids else found.reason
            raise RequestRejected((Fault(found.field, rule, told),))

    def _seen(self, lfdi: str) -> DeviceView:
        found = self.device(lfdi, secrets=False)
        assert found is not None, "it is known"
        return found.device


def is_host(text: str) -> bool:
    """Whether a text can be the name of a host that notifications are sent to, or its IPv4 address."""
    return bool(_HOST.fullmatch(text))


def _by(said: Said) -> By:
    return By(said.author, said.why)


def _name(server: UtilityServer, lfdi: str) -> str:
    """What people call a device: its resource, or else its identifier."""
    found = server.state.registry.of(lfdi)
    return (found.resource if found is not None else "") or lfdi


def _named(server: UtilityServer, numbers: Sequence[int]) -> str:
    devices = server.state.registry.devices
    return _few([_name(server, devices[number].lfdi) for number in numbers])


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (" …" if len(names) > _NAMED else "")


def _shared_out(alarms: Sequence[Alarm]) -> tuple[list[Alarm], list[Alarm]]:
    """What is told one by one, the server's own findings first, and what is told as a number."""
    first: list[Alarm] = []
    rest: list[Alarm] = []
    told: Counter[str] = Counter()
    for alarm in sorted(alarms, key=lambda each: _ORDER.get(each.what, 0)):
        caused = alarm.what in _ORDER
        told[alarm.lfdi] += caused
        few = not caused or told[alarm.lfdi] <= _FEW
        (first if few and len(first) < _MOST_EVENTS else rest).append(alarm)
    return first, rest


def _event(alarm: Alarm, name: str, now_s: int) -> Entry:
    told = _TOLD.get(alarm.what, alarm.what).format(since=iso(alarm.since_s))
    text = f"{name}: {told}" + (f": {alarm.text}" if alarm.text else "")
    head: dict[str, Json] = {"what": alarm.what, "lfdi": alarm.lfdi, "text": text}
    if name != alarm.lfdi:
        head["group"] = name
    return Entry(KIND, now_s, head)
