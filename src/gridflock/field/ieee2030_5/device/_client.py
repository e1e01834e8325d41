"""A client from its first request on: one device, or an aggregator with many behind it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from enum import Enum

from gridflock.field.ieee2030_5.device._plant import Plant
from gridflock.field.ieee2030_5.device._programs import Programs
from gridflock.field.ieee2030_5.device._refusals import Refusals
from gridflock.field.ieee2030_5.device._reports import Reports
from gridflock.field.ieee2030_5.device._responses import Responses
from gridflock.field.ieee2030_5.device._session import Line, Refused, Session, href, wait_s
from gridflock.field.ieee2030_5.events import Standing, standing
from gridflock.field.ieee2030_5.events._standing import concerns
from gridflock.field.ieee2030_5.resources import (
    ConnectionPoint,
    DeviceCapability,
    EndDevice,
    EndDeviceList,
    Profile,
    Registration,
)

_LOG = logging.getLogger(__name__)
_NEVER_S = 2**62
_USUAL_S = 900
_FORBIDDEN = 403
_MOST_AHEAD = 4
"""So many changes ahead it is looked whether they change anything for the plant."""
_MOST_HELD = 3
"""Controls of which a response was refused for now: then the server takes none for now."""


class State(Enum):
    """How far a client has come with its server."""

    UNKNOWN = "not registered yet"
    REGISTERED = "registered"
    WRONG_PIN = "the server's PIN is not ours"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device is towards its server.

    Attributes:
        lfdi: of its certificate; of a site behind an aggregator, its own.
        sfdi: short form of it.
        pin: which the server must name; None = it is not looked at.
        category: bits of ``DeviceCategory``; None = not said.
        connection_point: where its site meets the network; empty = not said.
    """

    lfdi: str
    sfdi: int
    pin: int | None = None
    category: int | None = None
    connection_point: str = ""


@dataclass(slots=True)
class Site:
    """One end device: what it is offered, does, says and reports.

    Attributes:
        identity: who it is.
        plant: the device behind it.
        state: how far its registration has come.
        standing: what it is under; None before anything was heard, or all of it was asked for once.
        missed: visits in a row that brought nothing.
        trouble: why the last one did not, what the plant raised, or what the server refuses; empty where all
            went well.
        heard_s: when the server last answered to something of it, by the client's own clock.
    """

    identity: Identity
    plant: Plant
    session: Session
    programs: Programs = field(init=False)
    reports: Reports = field(init=False)
    responses: Responses = field(init=False)
    state: State = State.UNKNOWN
    standing: Standing | None = None
    missed: int = 0
    trouble: str = ""
    heard_s: int | None = None
    _device: EndDevice | None = None
    _located: str | None = None
    _retry_s: int = 0

    def __post_init__(self) -> None:
        self.programs = Programs(self.session, self.identity.lfdi)
        self.reports = Reports(self.session, self.plant, self.identity.lfdi)
        self.responses = Responses(self.identity.lfdi)

    async def known_as(self, device: EndDevice, now_s: int) -> None:
        """Take what the server says of it.

        Raises:
            Refused: its registration cannot be read.
            OSError: nothing came back.
        """
        self._device, self.heard_s = device, self.session.heard_s
        self.reports.power = href(device.power_status_link)
        if device.post_rate:
            self.reports.rate(device.post_rate, now_s)
        pin = self.identity.pin
        if pin is not None and self.state is not State.REGISTERED:
            link = device.registration_link
            told = None if link is None else await self.session.fetch(link.href, Registration)
            if told is None or told.pin != pin:
                self.state = State.WRONG_PIN
                return
        self.state = State.REGISTERED
        if device.function_set_assignments_list_link is not None:
            self.programs.found_at(device.function_set_assignments_list_link.href)

    async def say_where(self) -> None:
        """Tell the server once where its site meets the network, if it asks.

        Raises:
            Refused: the server does not take it for now.
            OSError: nothing came back.
        """
        point = self.identity.connection_point
        at = None if self._device is None else href(self._device.connection_point_link)
        if at is None or not point or at == self._located:
            return
        try:
            await self.session.send("PUT", at, ConnectionPoint(connection_point_id=point))
        except Refused as refused:
            if not refused.for_good and refused.status != _FORBIDDEN:
                raise
            self.reports.dropped += 1  # it knows better, or leaves it to its operator
        self._located = at

    def obey(self, now_s: int) -> None:
        """Do what has changed by itself since the last visit: a control has begun, or has ended.

        Args:
            now_s: the client's own clock.
        """
        until_s = None if self.standing is None else self.standing.until_s
        if until_s is not None and until_s <= self.session.server_s(now_s):
            self.trouble = self._of_plant(self._obey, now_s) or self.trouble

    async def visit(self, mirrors: str | None, now_s: int, clock: Callable[[], int] | None = None) -> None:
        """Ask, obey, answer and report what is due; whatever comes back, what is known is obeyed.

        Args:
            mirrors: where metered places are made.
            now_s: the client's own clock.
            clock: tells it again, after a server has let one wait; None = it stands still.
        """
        clock = clock or (lambda: now_s)
        if self._retry_s <= now_s and self.state is State.REGISTERED:
            await self._try(self._ask(now_s), clock)
        now_s = clock()
        fault = self._of_plant(self._obey, now_s)
        if self.state is State.REGISTERED:
            fault = self._of_plant(self.reports.measure, now_s) or fault
        if self._retry_s <= now_s and self.state is State.REGISTERED:
            await self._try(self._tell(mirrors, now_s), clock)
        refused = self.programs.refusals.trouble or self.reports.refusals.trouble
        self.trouble = fault or self.trouble or refused

    def set_back(self) -> None:
        """The client's own clock was set back: nothing waits for what it said before."""
        self._retry_s = 0
        self.programs.set_back()
        self.reports.set_back()

    def due_s(self, now_s: int) -> int:
        """When it wants to be visited next, by the client's own clock."""
        until_s = None if self.standing is None else self.standing.until_s
        changes_s = _NEVER_S if until_s is None else until_s - self.session.ahead_s
        if self.state is not State.REGISTERED:
            return max(changes_s, now_s + 1)
        talks_s = max(self.programs.due_s(), self._retry_s)
        return max(min(changes_s, talks_s, self.reports.due_s()), now_s + 1)

    def talks_s(self) -> int | None:
        """When it wants to speak with the server next; None while it is not registered."""
        if self.state is not State.REGISTERED:
            return None
        return max(min(self.programs.due_s(), self.reports.due_s()), self._retry_s)

    def troubles(self) -> list[str]:
        """All that is wrong now, in words."""
        refused = (*self.programs.refusals.troubles, *self.reports.refusals.troubles)
        return [text for text in dict.fromkeys((self.trouble, *refused)) if text]

    async def _ask(self, now_s: int) -> None:
        await self.programs.renew(now_s)

    async def _tell(self, mirrors: str | None, now_s: int) -> None:
        await self.reports.alone("responses", self._respond, now_s)
        device = self._device
        assert device is not None, "it is registered"
        await self.reports.make(href(device.der_list_link), mirrors, href(device.log_event_list_link), now_s)
        self.missed, self.trouble = 0, ""

    async def _respond(self) -> None:
        """Send what is owed, oldest first.

        What is refused for good is not sent again. Where one is refused for now, what else is to be said of
        its control waits with it, and the others go on; after a few no more is tried.

        Raises:
            Refused: the first that was refused for now.
            OSError: nothing came back.
        """
        held: dict[str | None, Refused] = {}
        for owed in self.responses.owed:
            if owed.response.subject in held:
                continue
            why = ""
            try:
                await self.session.send("POST", owed.path, owed.response)
            except Refused as refused:
                if refused.all_of_it:
                    raise
                if not refused.for_good:
                    held[owed.response.subject] = refused
                    if len(held) == _MOST_HELD:
                        break
                    continue
                why = str(refused)
            self.responses.settle(owed, why)
        if held:
            raise next(iter(held.values()))

    def _of_plant(self, step: Callable[[int], None], now_s: int) -> str:
        """Do something that the plant has a part in; what it raised, which stops nobody else."""
        try:
            step(now_s)
        except Exception as error:  # noqa: BLE001 - whatever a plant raises is its own trouble
            return f"{type(error).__name__}: {error}"
        return ""

    async def _try(self, talk: Awaitable[None], clock: Callable[[], int]) -> None:
        """Talk; where contact is lost, or the plant fails, come again soon and go on from there."""
        asked_s = clock()
        try:
            await talk
        except Exception as error:  # noqa: BLE001 - of the server, the network, or a plant: others go on
            self.missed, self.trouble = self.missed + 1, str(error)
            own_s = wait_s(self.missed, self.programs.rate_s(), self.identity.lfdi)
            self._retry_s = clock() + max(own_s, getattr(error, "retry_s", 0))
        if self.session.heard_s is not None and self.session.heard_s >= asked_s:
            self.heard_s = self.session.heard_s

    def _obey(self, now_s: int) -> None:
        """Do what stands; while not all programs were seen once, that nothing stands is not known.

        What stood before ends all the same.
        """
        server_s = self.session.server_s(now_s)
        identity = self.identity
        found = standing(self.programs.offers, server_s, identity.lfdi, identity.category)
        if self.standing is None and not self.programs.known and not found.by_mode:
            return
        self.standing = found
        cannot = self.plant.obey(replace(found, until_s=self._lasts_s(found)), server_s)
        mine = [each for each in self.programs.controls if concerns(each, identity.category)]
        self.responses.note(mine, found, server_s, cannot, waits=self.plant.waits())

    def _lasts_s(self, now: Standing) -> int | None:
        """Until when the same is asked by what is known, whichever control asks it; None without an end."""
        until_s, identity = now.until_s, self.identity
        for _ in range(_MOST_AHEAD):
            if until_s is None:
                break
            then = standing(self.programs.offers, until_s, identity.lfdi, identity.category)
            if then.base != now.base:
                break
            until_s = then.until_s
        return until_s


class Client:
    """A certificate's conversation with its server: for one device of its own, or for many sites.

    Nothing here waits: ``visit`` does what is due at a moment, ``due_s`` says when there is something to do
    again. So a thousand clients live in one loop, and by any clock.

    Args:
        line: the way to the server.
        identity: of the certificate.
        entry: the one path it is told.
        profile: what is spoken.
        plant: its own device; None = an aggregator, which is only there for its sites.
        register: post what the server does not list; else wait to be listed.
    """

    def __init__(
        self,
        line: Line,
        identity: Identity,
        *,
        entry: str = "/dcap",
        profile: Profile = Profile.SEP2018,
        plant: Plant | None = None,
        register: bool = True,
    ) -> None:
        self.session = Session(line, profile)
        self.identity, self._entry, self._register = identity, entry, register
        self.sites: dict[str, Site] = {}
        self.refusals = Refusals(identity.lfdi)
        """Pages of its own that the server does not give, by their paths."""
        self._found: DeviceCapability | None = None
        self._entry_due_s, self._clock_due_s, self._list_due_s, self._retry_s = 0, 0, 0, 0
        self._clock_rate_s = self._list_rate_s = _USUAL_S
        self._visited_s = 0
        self.missed, self.trouble = 0, ""
        if plant is not None:
            self.add(identity, plant)

    def add(self, identity: Identity, plant: Plant) -> Site:
        """A device behind this client, from the next visit on."""
        self.sites[identity.lfdi] = site = Site(identity, plant, self.session)
        self._list_due_s = 0
        return site

    def stale(self) -> None:
        """Ask for everything at the next visit: the server has notified of a change."""
        self._entry_due_s = self._list_due_s = 0
        for site in self.sites.values():
            site.programs.stale()

    def due_s(self, now_s: int) -> int:
        """When it wants to be visited next, by its own clock."""
        own_s = max(self._looks_s(), self._retry_s)
        return max(min([own_s, *(site.due_s(now_s) for site in self.sites.values())]), now_s + 1)

    def talks_s(self) -> int:
        """When it wants to ask for its first page, the time or its end devices next."""
        return max(self._looks_s(), self._retry_s)

    def rates(self) -> dict[str, int]:
        """How often pages are asked for, seconds, by their kind; nothing before the first was seen."""
        if self._found is None:
            return {}
        return {
            "DeviceCapability": self._found.poll_rate or _USUAL_S,
            "Time": self._clock_rate_s,
            "EndDeviceList": self._list_rate_s,
        }

    def troubles(self) -> list[str]:
        """All that is wrong now with the client as a whole, in words."""
        return [text for text in dict.fromkeys((self.trouble, *self.refusals.troubles)) if text]

    def _looks_s(self) -> int:
        """When the first page, the clock or the list of devices wants to be asked for next."""
        found = self._found
        if found is None:
            return self._entry_due_s
        clock_s = _NEVER_S if found.time_link is None else self._clock_due_s
        list_s = _NEVER_S if found.end_device_list_link is None else self._list_due_s
        return min(self._entry_due_s, clock_s, list_s)

    def obey(self, now_s: int) -> None:
        """Let every site do what has changed by itself, without a word to the server.

        Args:
            now_s: the client's own clock, unix seconds.
        """
        for site in self.sites.values():
            site.obey(now_s)

    async def visit(self, now_s: int, clock: Callable[[], int] | None = None) -> None:
        """Do what is due now. Never raises for what the server, the network or a plant does.

        All sites obey before anybody talks: a server that lets one wait holds up no control.

        Args:
            now_s: the client's own clock, unix seconds.
            clock: tells it again, after a server has let one wait; None = it stands still.
        """
        clock = self.session.clock = clock or (lambda: now_s)
        if now_s < self._visited_s:
            self._set_back(self._visited_s - now_s)
        self._visited_s = now_s
        self.obey(now_s)
        if max(self._looks_s(), self._retry_s) <= now_s:
            try:
                await self._discover(now_s, clock)
                self.missed, self.trouble = 0, self.refusals.trouble
            except Exception as error:  # noqa: BLE001 - whatever a server sends, the sites obey
                if not isinstance(error, Refused | OSError):
                    _LOG.warning("%s: unforeseen", self._entry, exc_info=error)
                self.missed, self.trouble = self.missed + 1, str(error) or type(error).__name__
                rate_s = _NEVER_S if self._found is None else self._found.poll_rate
                own_s = wait_s(self.missed, rate_s, self.identity.lfdi)
                self._retry_s = clock() + max(own_s, getattr(error, "retry_s", 0))
        mirrors = None if self._found is None else href(self._found.mirror_usage_point_list_link)
        for site in self.sites.values():
            await site.visit(mirrors, clock(), clock)

    def _set_back(self, by_s: int) -> None:
        """The own clock was set back: events go on by the server's, and everything is asked for anew."""
        self.session.set_back(by_s)
        self.refusals.only(())
        self._entry_due_s = self._clock_due_s = self._list_due_s = self._retry_s = 0
        for site in self.sites.values():
            site.set_back()

    async def _discover(self, now_s: int, clock: Callable[[], int]) -> None:
        """First page, time, and the devices listed, each as it is due; who is missing registers.

        Without the server's time events go by the client's own, corrected as it was last.

        Raises:
            Refused: the first page was never seen, or the list of devices is refused.
            OSError: nothing came back.
        """
        session, found = self.session, self._found
        if found is None or self._entry_due_s <= now_s:
            rate_s = _USUAL_S if found is None else found.poll_rate
            page = await self.refusals.ask(
                self._entry, session.fetch(self._entry, DeviceCapability), now_s, rate_s
            )
            if not isinstance(page, Refused):
                found, self._entry_due_s = page, now_s + (page.poll_rate or _USUAL_S)
            elif found is None:
                raise page
            else:
                self._entry_due_s = self.refusals.again_s(self._entry)
            self._found = found
        if found.time_link is not None and self._clock_due_s <= now_s:
            await self._set_clock(found.time_link.href, now_s, clock)
        if found.end_device_list_link is not None and self._list_due_s <= now_s:
            rate_s = await self._take_all(found.end_device_list_link.href, now_s)
            self._list_rate_s = rate_s or _USUAL_S
            self._list_due_s = now_s + self._list_rate_s

    async def _set_clock(self, path: str, now_s: int, clock: Callable[[], int]) -> None:
        talk = self.session.set_clock(path, clock)
        rate_s = await self.refusals.ask(path, talk, now_s, self._clock_rate_s)
        if isinstance(rate_s, Refused):
            self._clock_due_s = self.refusals.again_s(path)
            return
        self._clock_rate_s = rate_s or _USUAL_S
        self._clock_due_s = now_s + self._clock_rate_s

    async def _take_all(self, path: str, now_s: int) -> int:
        """Find every site in the list, or register it; how often the list wants to be asked for, seconds.

        Raises:
            Refused: the server refuses.
            OSError: nothing came back.
        """
        rate_s, listed = await self._listed_at(path)
        own = self.identity
        if self._register and own.lfdi not in listed and own.lfdi not in self.sites:
            await self._register_at(path, own, now_s)
        sites = list(self.sites.values())
        made = [
            site
            for site in sites
            if not await self._try_take(site, listed.get(site.identity.lfdi), path, now_s)
        ]
        if made:  # and not said where
            _, listed = await self._listed_at(path)
        for site in made:
            device = listed.get(site.identity.lfdi)
            if device is None:
                site.missed, site.trouble = site.missed + 1, f"POST {path}: made, and not listed"
            else:
                await self._try_take(site, device, path, now_s)
        return rate_s

    async def _listed_at(self, path: str) -> tuple[int, dict[str | None, EndDevice]]:
        """How often the list wants to be asked for, and its devices by LFDI.

        It is empty where the server knows nobody of this certificate yet.

        Raises:
            Refused: the server refuses, or knows nobody and nobody is to be registered.
            OSError: nothing came back.
        """
        try:
            page, devices = await self.session.fetch_all(path, EndDeviceList, "end_device")
        except Refused as refused:
            if refused.status != 404 or not self._register:
                raise
            assert self._found is not None, "it led here"
            return self._found.poll_rate, {}
        return page.poll_rate, {device.lfdi: device for device in devices}

    async def _try_take(self, site: Site, device: EndDevice | None, path: str, now_s: int) -> bool:
        """As of ``_take``; of many sites one that is refused keeps its trouble to itself.

        Raises:
            Refused: the server wants to be left alone, or the only device is refused.
            OSError: nothing came back.
        """
        try:
            return await self._take(site, device, path, now_s)
        except Refused as refused:
            site.missed, site.trouble = site.missed + 1, str(refused)
            if refused.retry_s or len(self.sites) == 1:
                raise
            return True

    async def _take(self, site: Site, device: EndDevice | None, path: str, now_s: int) -> bool:
        """Know a site as it is listed, or register it; False where the server does not say where."""
        if device is None and not self._register:
            site.state = State.UNKNOWN
            return True
        device = device or await self._register_at(path, site.identity, now_s)
        if device is None:
            return False
        await site.known_as(device, now_s)
        await site.say_where()
        return True

    async def _register_at(self, path: str, who: Identity, now_s: int) -> EndDevice | None:
        """Post somebody to the list of devices; how the server shows it, None where it does not say where.

        Raises:
            Refused: the server does not take it.
            OSError: nothing came back.
        """
        new = EndDevice(
            device_category=who.category,
            lfdi=who.lfdi,
            sfdi=who.sfdi,
            changed_time=self.session.server_s(now_s),
        )
        at = await self.session.send("POST", path, new)
        return await self.session.fetch(at, EndDevice) if at else None
