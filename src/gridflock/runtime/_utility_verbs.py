"""The verbs of who operates the IEEE 2030.5 server: devices, rates, and who is kept out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gridflock.model import Entry, Json
from gridflock.runtime._access import AccessDenied, Role, Scope
from gridflock.runtime._authority import Authority
from gridflock.runtime._life import UnknownName
from gridflock.runtime._requests import RequestRejected, wrong_words
from gridflock.runtime._utility_port import KIND, Bearing, Enrolling, Rating, Said, Served
from gridflock.runtime._utility_views import (
    DeviceDetail,
    DevicePage,
    DeviceView,
    DifferenceView,
    RatesView,
    UtilityView,
)
from gridflock.runtime._views import Fault

_ALL = "all"
_WHY_CHARS = 500
_STATES = ("pending", "enabled", "suspended", "removed")
_MOST_PAGE = 1_000
_MOST_POINTS = 1_000_000
_MOST_TOLD = 10_000
"""Connection points of a kind of difference that are in the ledger by name; of more, how many they are."""
_SLOWEST_S = 86_400


class Serving(Authority):
    """Verbs of the server that devices speak to; each is in the ledger before anything changes.

    They have a lock of their own: while one waits for that server's disk, the system can be stopped.

    A device that is joined to a resource is the business of that resource's operators; one that is not, or
    that speaks for others, of those who have authority over everything.
    """

    # ---- looking ----------------------------------------------------------------------------

    def utility(self, scope: Scope) -> UtilityView:
        """The server at a glance: devices by state, who is kept out, refusals by cause.

        Raises:
            UnknownName: the system was started without one.
        """
        scope.require(Role.VIEWER)
        return self._server().view()

    def devices(
        self, scope: Scope, *, access: str = "", text: str = "", limit: int = 100, offset: int = 0
    ) -> DevicePage:
        """Devices known to the server, in the order in which they became known.

        Args:
            scope: authority; viewers.
            access: only those in this state; empty = all.
            text: only those of which LFDI, SFDI, resource, name or connection point holds it.
            limit: at most so many.
            offset: of those, so many are left out first.

        Raises:
            UnknownName: there is no server.
            RequestRejected: no such state, or a number out of range.
        """
        scope.require(Role.VIEWER)
        faults = []
        if access and access not in _STATES:
            faults.append(Fault("access", f"one of {', '.join(_STATES)}", f"{access!r} is not"))
        if not 1 <= limit <= _MOST_PAGE:
            faults.append(Fault("limit", f"1 to {_MOST_PAGE}", f"{limit} is not"))
        if offset < 0:
            faults.append(Fault("offset", "0 at least", f"{offset} is not"))
        if faults:
            raise RequestRejected(tuple(faults))
        return self._server().devices(access, text, limit, offset)

    def device(self, scope: Scope, lfdi: str) -> DeviceDetail:
        """One device: what stands for it, what it said and reported last, and to its operators its PIN.

        Raises:
            UnknownName: there is no server, or no such device.
        """
        scope.require(Role.VIEWER)
        server = self._server()
        found = server.device(lfdi, secrets=self._operates(scope, server.bearing(lfdi)))
        if found is None:
            message = f"no device {lfdi!r}"
            raise UnknownName(message)
        return found

    def rates(self, scope: Scope) -> RatesView:
        """How often clients are told to ask and to report.

        Raises:
            UnknownName: there is no server.
        """
        scope.require(Role.VIEWER)
        return self._server().rates()

    def differs(self, scope: Scope) -> list[DifferenceView]:
        """Settings that devices tell and that are not what the registry says: for people to decide.

        Raises:
            UnknownName: there is no server.
        """
        scope.require(Role.VIEWER)
        return self._server().differs()

    # ---- devices ----------------------------------------------------------------------------

    def enrol(
        self,
        scope: Scope,
        lfdi: str,
        *,
        resource: str = "",
        pin: int | None = None,
        aggregator: bool | None = None,
        owner: str = "",
        profile: str = "",
        name: str = "",
        hosts: Sequence[str] | None = None,
        point: str = "",
        why: str = "",
    ) -> DeviceView:
        """Register a device out of band, or say more of one that is known; one that waits is approved by it.

        What is not said stays as it is. Of a site that an aggregator claims and nobody has approved, it must
        be said whose it is: by ``owner``, or by ``aggregator`` that its own certificate speaks for it. Either
        takes it from whoever speaks for it, at any time.

        Args:
            scope: authority; operators over its resource, now and before, or over everything without one.
            lfdi: of its certificate; of a site behind an aggregator, its own.
            resource: of the fleet, which no other device is.
            pin: five digits and their check digit.
            aggregator: the holder of the certificate speaks for sites, or (False) for itself.
            owner: LFDI of the aggregator that speaks for it.
            profile: sep2018, csipaus12 or csipaus13.
            name: for people.
            hosts: that its notifications may be sent to.
            point: connection point.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: there is no server.
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        server, known = self._bears(scope, lfdi, "enrol", resource, speaks=bool(aggregator))
        self._sound(why, name)
        wanted = Enrolling(
            lfdi, resource, pin, aggregator, owner, profile, name,
            None if hosts is None else tuple(hosts), point,
        )  # fmt: skip
        done = "enrolled" if known is None else "told more of"
        text = f"{done}: {lfdi}" + (f", it is {resource}" if resource else "")
        if known is not None and known.owner != owner and (owner or aggregator is not None):
            text += f", {known.owner or 'its own certificate'} speaks for it no more"
        more: dict[str, Json] = {"lfdi": lfdi, "group": resource, "aggregator": aggregator, "owner": owner}
        more |= {"profile": profile, "name": name, "point": point, "pin": "given" if pin is not None else ""}
        more["hosts"] = None if hosts is None else list(hosts)
        with self._operating:
            found = server.enrol(wanted, self._said(scope, "enrol", why, text, more))
        self._collect_events()
        return found

    def set_access(
        self, scope: Scope, lfdi: str, *, access: str, resource: str = "", why: str = ""
    ) -> DeviceView:
        """Approve, refuse, suspend or enable a device or an aggregator.

        A suspended one is answered with 403 and keeps all that is known of it; a removed one is refused for
        good, and not let in when it registers itself again.

        Args:
            scope: authority; operators over its resource, or over everything without one.
            lfdi: of the device.
            access: ``"enabled"``, ``"suspended"`` or ``"removed"``.
            resource: that it is joined to by the way; empty = none.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: there is no server, or no such device.
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        server, known = self._bears(scope, lfdi, "set_access", resource)
        self._sound(why)
        if access not in _STATES[1:]:
            fault = Fault("access", f"one of {', '.join(_STATES[1:])}", f"{access!r} is not")
            raise RequestRejected((fault,))
        text = f"{access}: {lfdi}" + (f", it is {resource}" if resource else "")
        more: dict[str, Json] = {"lfdi": lfdi, "access": access, "group": resource or _of(known)}
        with self._operating:
            found = server.set_access(
                lfdi, access, resource, self._said(scope, "set_access", why, text, more)
            )
        self._collect_events()
        return found

    def set_pin(self, scope: Scope, lfdi: str, *, pin: int | None = None, why: str = "") -> DeviceDetail:
        """Give a device another PIN, by which it knows that it found the right server.

        Args:
            scope: authority; operators over its resource, or over everything without one.
            lfdi: of the device.
            pin: five digits and their check digit; one by lot if none is given.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: there is no server, or no such device.
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        server, known = self._bears(scope, lfdi, "set_pin")
        self._sound(why)
        more: dict[str, Json] = {"lfdi": lfdi, "group": _of(known)}
        with self._operating:
            found = server.set_pin(lfdi, pin, self._said(scope, "set_pin", why, f"new PIN: {lfdi}", more))
        self._collect_events()
        return found

    # ---- all of them ------------------------------------------------------------------------

    def set_rates(
        self,
        scope: Scope,
        *,
        poll_s: int | None = None,
        post_s: int | None = None,
        kind: str = "",
        lfdi: str = "",
        why: str = "",
    ) -> RatesView:
        """Tell clients to ask or to report more or less often; it stands in their next answers.

        Args:
            scope: authority; operators over the device's resource, or over everything.
            poll_s: seconds between two requests.
            post_s: seconds between two reports.
            kind: resource of the standard that is asked for so often (``"DERProgramList"``); empty = all.
            lfdi: of one device, or of an aggregator and all its sites; empty = of everybody.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: there is no server, or no such device.
            RequestRejected: with every fault.
            AccessDenied: recorded as a refusal.
        """
        server = self._server()
        if lfdi:
            self._bears(scope, lfdi, "set_rates")
        else:
            self._authorise(scope, _ALL, "set_rates")
        self._sound(why)
        asked = {"poll_s": poll_s, "post_s": post_s}
        faults = [
            Fault(name, f"1 to {_SLOWEST_S} seconds", f"{each} is not")
            for name, each in asked.items()
            if each is not None and not 1 <= each <= _SLOWEST_S
        ]
        if poll_s is None and post_s is None:
            faults.append(Fault("poll_s", "a rate", "give poll_s or post_s"))
        if faults:
            raise RequestRejected(tuple(faults))
        whom, what = lfdi or "all", kind or "all"
        told = [
            f"{name} every {each} s"
            for name, each in ((f"asks ({what})", poll_s), ("reports", post_s))
            if each
        ]
        more: dict[str, Json] = {"lfdi": lfdi, "poll_s": poll_s, "post_s": post_s, "kind": kind}
        with self._operating:
            said = self._said(scope, "set_rates", why, f"rates of {whom}: {', '.join(told)}", more)
            found = server.set_rates(Rating(poll_s, post_s, kind, lfdi), said)
        self._collect_events()
        return found

    def load_points(self, scope: Scope, points: Mapping[str, Any], *, why: str = "") -> UtilityView:
        """Say which connection points devices may name from now on; none means any that is well written.

        Args:
            scope: authority; operators over everything.
            points: identifier to the resource that stands there, or to an empty text.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: there is no server.
            RequestRejected: with every fault; one may be an identifier that is not written as one.
            AccessDenied: recorded as a refusal.
        """
        server = self._server()
        self._authorise(scope, _ALL, "load_points")
        self._sound(why)
        if len(points) > _MOST_POINTS:
            raise RequestRejected((Fault("points", f"at most {_MOST_POINTS}", f"{len(points)}"),))
        named = {str(point): str(resource or "") for point, resource in points.items()}
        with self._operating:
            more = _differences(server.points(), named)
            said = self._said(scope, "load_points", why, f"connection points: {len(named)}", more)
            found = server.load_points(named, said)
        self._collect_events()
        return found

    def deny(self, scope: Scope, lfdi: str, *, why: str = "") -> UtilityView:
        """Keep a certificate out at the connection, registered or not; connections that stand end at once.

        Args:
            scope: authority; operators over its resource, or over everything without one.
            lfdi: of the certificate.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: there is no server.
            RequestRejected: no LFDI.
            AccessDenied: recorded as a refusal.
        """
        return self._deny(scope, lfdi, "deny", why, denied=True)

    def readmit(self, scope: Scope, lfdi: str, *, why: str = "") -> UtilityView:
        """Let a certificate in again that was denied.

        Args:
            scope: authority; operators over its resource, or over everything without one.
            lfdi: of the certificate.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: there is no server.
            RequestRejected: no LFDI.
            AccessDenied: recorded as a refusal.
        """
        return self._deny(scope, lfdi, "readmit", why, denied=False)

    def read_revoked(self, scope: Scope, *, why: str = "") -> UtilityView:
        """Read the revocation lists of the authority's folder again; who is on them is refused from then on.

        Args:
            scope: authority; operators over everything.
            why: in words, kept in the ledger.

        Raises:
            UnknownName: there is no server.
            RequestRejected: the lists cannot be read, or are signed by nobody known; the former ones hold.
            AccessDenied: recorded as a refusal.
        """
        server = self._server()
        self._authorise(scope, _ALL, "read_revoked")
        self._sound(why)
        with self._operating:
            found = server.read_revoked(self._said(scope, "read_revoked", why, "revocation lists read", {}))
        self._collect_events()
        return found

    # ---- inside -----------------------------------------------------------------------------

    def _server(self) -> Served:
        found = self._loop.server
        if found is None:
            message = (
                "no IEEE 2030.5 server: this system was started without one (gridflock run --ieee2030-5)"
            )
            raise UnknownName(message)
        return found

    def _deny(self, scope: Scope, lfdi: str, verb: str, why: str, *, denied: bool) -> UtilityView:
        server = self._server()
        self._hold(scope, server.bearing(lfdi), verb)
        self._sound(why)
        text = f"{'denied' if denied else 'let in again'}: {lfdi[:40]}"
        with self._operating:
            found = server.deny(lfdi, self._said(scope, verb, why, text, {"lfdi": lfdi[:40]}), denied=denied)
        self._collect_events()
        return found

    def _bears(
        self, scope: Scope, lfdi: str, verb: str, resource: str = "", *, speaks: bool = False
    ) -> tuple[Served, Bearing | None]:
        """The server and whose business a device is, once it is the caller's; enrolling makes new ones."""
        server = self._server()
        known = server.bearing(lfdi)
        self._hold(scope, known, verb, resource, speaks=speaks)
        if known is None and verb != "enrol":
            message = f"no device {lfdi!r}"
            raise UnknownName(message)
        if resource and resource not in self._loop.system.fleet.row_of:
            raise RequestRejected((Fault("resource", "must exist", f"no resource {resource!r}"),))
        return server, known

    def _hold(
        self, scope: Scope, known: Bearing | None, verb: str, resource: str = "", *, speaks: bool = False
    ) -> None:
        """Ask for authority over all that is touched; a refusal is recorded."""
        for name in self._touched(known, resource, speaks=speaks):
            self._authorise(scope, name, verb)

    def _operates(self, scope: Scope, known: Bearing | None) -> bool:
        try:
            scope.require(Role.OPERATOR)
            for name in self._touched(known):
                self._require(scope, name)
        except AccessDenied:
            return False
        return True

    def _touched(self, known: Bearing | None, resource: str = "", *, speaks: bool = False) -> Iterable[str]:
        """Groups or resources over which somebody must have authority."""
        own = "" if known is None or known.aggregator or speaks else known.resource
        rows_of = self._loop.system.fleet.row_of  # of a resource that is gone nobody is an operator
        return dict.fromkeys(
            name if name in rows_of else _ALL for name in (own or _ALL, resource or own or _ALL)
        )

    def _sound(self, why: str, name: str = "") -> None:
        faults = [*wrong_words("why", why, _WHY_CHARS), *wrong_words("name", name, 100)]
        if faults:
            raise RequestRejected(tuple(faults))

    def _said(self, scope: Scope, verb: str, why: str, text: str, more: Mapping[str, Json]) -> Said:
        head: dict[str, Json] = {"verb": verb, "author": scope.user, "why": why, **more}
        head["text"] = f"{text} ({why})" if why else text
        entry = Entry(KIND, self.moment.now_s, head)

        def note() -> None:
            self._record.append([entry])

        return Said(scope.user, why, note)


def _differences(before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Json]:
    """How many connection points there are, which came, which went, and where something else stands."""
    came = sorted(after.keys() - before.keys())
    went = sorted(before.keys() - after.keys())
    other = sorted(point for point in after.keys() & before.keys() if after[point] != before[point])
    added: dict[str, Json] = {point: after[point] for point in came[:_MOST_TOLD]}
    changed: dict[str, Json] = {point: [before[point], after[point]] for point in other[:_MOST_TOLD]}
    counts: dict[str, Json] = {"added": len(came), "removed": len(went), "changed": len(other)}
    told: dict[str, Json] = {"added": added, "removed": list(went[:_MOST_TOLD]), "changed": changed}
    return {"points": len(after), "counts": counts, "differences": told}


def _of(known: Bearing | None) -> str:
    return "" if known is None else known.resource
