"""A running system as client of a utility's server above: one end device, or many behind one certificate."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace

from gridflock.field.ieee2030_5._connect import Connection, Patience, Server
from gridflock.field.ieee2030_5._tls import client_context
from gridflock.field.ieee2030_5.device import Client, Identity, State
from gridflock.field.ieee2030_5.identity import lfdi_of, sfdi_of, trust_from
from gridflock.runtime._access import Role, Scope
from gridflock.runtime._derms import Derms
from gridflock.runtime._offered_port import OfferedView
from gridflock.runtime.devices._apart import Contact
from gridflock.runtime.devices._shown_above import seen
from gridflock.runtime.devices._standing_for import StandsFor
from gridflock.units import iso

_LOG = logging.getLogger(__name__)
_USER = "2030.5/"
"""What authors of proposals for the utility above begin with, before the group: no user is called so."""
_PEN = 37_250
"""Of laboratories: no operator's own."""
_EVERY_S = 0.5
_PATIENCE = Patience(connect_s=20.0, answer_s=10.0)
"""Orders from above wait for answers from above; who has none in this time has none."""
LOST, TROUBLED = "server above lost", "server above"
_LASTING_S = 60
"""What is wrong for so long is an alarm."""
_MOST = 200
"""End devices: each may hold a proposal, and each proposal costs every tick."""
_END_OF_CERTIFICATE = "-----END CERTIFICATE-----"


def site_lfdi(owner: str, name: str, pen: int) -> str:
    """The identifier of what an aggregator stands for: its own, the same in every life.

    Args:
        owner: LFDI of the aggregator's certificate.
        name: of the group or resource.
        pen: the aggregator's private enterprise number; the last eight digits are that by convention (CSIP).
    """
    digest = hashlib.sha256(f"{owner}/{name}".encode()).hexdigest()
    return f"{digest[:32].upper()}{pen & 0xFFFFFFFF:08X}"


class Upward:
    """The client that speaks for a running system.

    One group is the end device of the certificate itself. Several groups, or the members of one, are end
    devices of their own behind it, and the certificate is an aggregator's. What is ordered of one has an
    operator's authority over its group and nothing else, and an author of its own before the guard.

    Args:
        derms: the running system, after its first tick; its clock is the client's own.
        contact: the server above, and the folder with ``trust.pem`` and ``issued/``.
        name: folder of the certificate below ``issued/``.
        groups: what is offered: groups, or resources.
        members: offered are the members of these groups, each by itself.
        pen: enterprise number in which identifiers behind an aggregator end.
        pins: identifier to the PIN that the server must name for it; else it is that of ``contact``.

    Raises:
        UnknownName: there is no such group.
        ValueError: no group, a group without members, too many end devices, or a PIN of none of them.
        OSError: a certificate cannot be read.
        CertificatesRejected: it is none.
    """

    def __init__(
        self,
        derms: Derms,
        contact: Contact,
        name: str,
        groups: Sequence[str],
        *,
        members: bool = False,
        pen: int = _PEN,
        pins: Mapping[str, int] | None = None,
    ) -> None:
        self._derms = derms
        offered = _offered(derms, groups, members=members)
        plants = {each: StandsFor(derms, _over(each), each) for each in offered}
        at = contact.pki / "issued" / name
        trust = trust_from((contact.pki / "trust.pem").read_bytes(), int(time.time()), tests=True)
        chain = (at / "chain.pem").read_text("ascii")
        own = lfdi_of(
            ssl.PEM_cert_to_DER_cert(chain[: chain.index(_END_OF_CERTIFICATE)] + _END_OF_CERTIFICATE)
        )
        alone = None if members or len(offered) > 1 else plants[offered[0]]
        self.lfdis = {offered[0]: own} if alone else {each: site_lfdi(own, each, pen) for each in offered}
        """From what is offered to its identifier above."""
        given = dict(pins or {})
        if strange := sorted(given.keys() - self.lfdis.values()):
            raise ValueError(f"a PIN for {strange[0]}, which is none of these: {self.lfdis}")
        context = client_context(at / "chain.pem", at / "key.pem", trust)
        self._loop = asyncio.new_event_loop()
        self._line = Connection(Server(contact.host, contact.port), context, trust, patience=_PATIENCE)

        def identity(lfdi: str) -> Identity:
            return Identity(lfdi, sfdi_of(lfdi), given.get(lfdi, contact.pin))

        self.client = Client(self._line, identity(own), entry=contact.entry, plant=alone)
        if alone is None:
            for each, lfdi in self.lfdis.items():
                self.client.add(identity(lfdi), plants[each])
        self._due_s, self._over, self._trouble = 0, threading.Event(), ""
        self._visited_s = 0
        self._since_s: int | None = None
        self._seen = self._look()
        self._thread = threading.Thread(target=self._run, name="gridflock-upward", daemon=True)

    def start(self) -> None:
        """Speak with the server from now on, in a thread of its own; the system is told how that goes."""
        self._derms.speak_above(self)
        self._thread.start()

    def stop(self) -> None:
        """Hang up, whoever is waited for; what was proposed stands to its end."""
        self._over.set()
        if self._thread.is_alive():
            self._thread.join()
        if not self._loop.is_closed():
            self._loop.run_until_complete(self._hang_up())
            self._loop.close()

    def status(self) -> dict[str, int | str]:
        """How many end devices are registered, how many under control, and the first trouble."""
        sites = list(self.client.sites.values())
        troubles = [self._trouble, self.client.trouble, *(site.trouble for site in sites)]
        return {
            "end_devices": len(sites),
            "registered": sum(site.state is State.REGISTERED for site in sites),
            "under_control": sum(bool(site.standing and site.standing.controls) for site in sites),
            "trouble": next((each for each in troubles if each), ""),
        }

    def view(self) -> OfferedView:
        """How it stands, as of its last visit."""
        return self._seen

    @property
    def troubles(self) -> tuple[str, ...]:
        """That the server above gives no answer, or what else is wrong with it, where it lasts."""
        now_s, silent_s, since_s = self._derms.clock.now_s(), self.client.session.silent_s, self._since_s
        told = self.status()["trouble"]
        if silent_s is not None and now_s - silent_s >= _LASTING_S:
            return (f"{LOST}: {self._seen.server}: no answer since {iso(silent_s)}: {told}",)
        lasts = since_s is not None and now_s - since_s >= _LASTING_S and told
        return (f"{TROUBLED}: {self._seen.server}: {told}",) if lasts else ()

    def live(self) -> None:
        """Do what is due by now, and what a clock that was set back makes due."""
        now_s = self._derms.clock.now_s()
        if self._due_s <= now_s or now_s < self._visited_s:
            self._visited_s = now_s
            self._loop.run_until_complete(self._visit())
            self._due_s = self.client.due_s(self._derms.clock.now_s())
            self._seen, self._trouble = self._look(), ""
            self._note()

    def _note(self) -> None:
        """Keep since when something is wrong."""
        now_s = self._derms.clock.now_s()
        well = not self.status()["trouble"]
        self._since_s = None if well else now_s if self._since_s is None else self._since_s

    def _look(self) -> OfferedView:
        """How it stands, for those who ask on other threads."""
        server = f"{self._line.server.host}:{self._line.server.port}"
        return seen(self.client, self.lfdis, server, self._line.counts, self._derms.clock.now_s())

    async def _visit(self) -> None:
        """Talk with the server; while it lets one wait, what is known is obeyed, and the end can come."""
        clock = self._derms.clock.now_s
        talk = asyncio.ensure_future(self.client.visit(clock(), clock))
        while not talk.done():
            await asyncio.wait({talk}, timeout=_EVERY_S)
            if self._over.is_set():
                talk.cancel()
            elif not talk.done():
                self.client.obey(clock())
        if not talk.cancelled():
            talk.result()

    async def _hang_up(self) -> None:
        await self._line.close()
        await asyncio.sleep(0.01)  # a socket closes one turn of the loop later

    def _run(self) -> None:
        troubled = False
        while not self._over.wait(_EVERY_S):
            try:
                self.live()
            except Exception as error:  # noqa: BLE001 - whatever it is, groups go on being offered
                trouble = f"{type(error).__name__}: {error}"
                if trouble != self._trouble:  # once, not at every try
                    _LOG.warning("client of the server above", exc_info=error)
                self._trouble = trouble
                self._seen = replace(self._seen, troubles=[trouble])
                self._note()
            told = self.status()["trouble"]
            if bool(told) != troubled:
                troubled = bool(told)
                _LOG.warning("server above: %s", told or "all is well again")


def _over(group: str) -> Scope:
    """Authority over one group."""
    return Scope(f"{_USER}{group}", Role.OPERATOR, frozenset({group}))


def _offered(derms: Derms, groups: Sequence[str], *, members: bool) -> tuple[str, ...]:
    """What becomes an end device each, in order, once."""
    everybody = len(derms.moment.image.ids)
    found = dict.fromkeys(groups)
    for group in groups:
        held = [each.id for each in derms.resources(_over(group), group, everybody)]
        if not held:
            raise ValueError(f"group {group!r} has no members")
        if members:
            del found[group]
            found |= dict.fromkeys(held)
    if not 0 < len(found) <= _MOST:
        raise ValueError(f"{len(found)} end devices (rule: 1 to {_MOST})")
    return tuple(found)
