"""What a device reports: nameplate and settings when they change, status and readings at its post rate."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby

from gridflock.field.ieee2030_5.device._plant import Plant
from gridflock.field.ieee2030_5.device._refusals import Refusals
from gridflock.field.ieee2030_5.device._session import Refused, Session, href
from gridflock.field.ieee2030_5.resources import (
    DER,
    DERCapability,
    DERList,
    DERSettings,
    LogEvent,
    MirrorMeterReading,
    MirrorMeterReadingList,
    MirrorUsagePointList,
    Resource,
)

_MOST_KEPT = 2_000
_AT_ONCE = 100
_USUAL_S = 300
_DEVICE, _PLACES = "device", "places"
_STATUS, _AVAILABILITY, _POWER = "status", "availability", "power"
"""What is told anew at the post rate."""


@dataclass(slots=True)
class _Told:
    """What the server has been told."""

    capability: DERCapability | None = None
    settings: DERSettings | None = None


class Reports:
    """The reports of one device.

    What could not be sent for want of contact is kept, the oldest forgotten first, and sent when it is back.
    What the server refuses for now holds up nothing else.

    Args:
        session: the way to the server.
        plant: the device.
        lfdi: of the device.
    """

    def __init__(self, session: Session, plant: Plant, lfdi: str) -> None:
        self._session, self._plant, self._lfdi = session, plant, lfdi
        self._der: DER | None = None
        self._told = _Told()
        self._place_of: dict[str, str] | None = None
        self._rate_s, self._due_s, self._rates_due_s = _USUAL_S, 0, 0
        self._asked_s = {_DEVICE: 0, _PLACES: 0}
        self._stale = False
        self.refusals = Refusals(lfdi)
        """What the server does not take for now, in words."""
        self._open: set[str] = set()
        self._kept: deque[MirrorMeterReading] = deque(maxlen=_MOST_KEPT)
        self.power: str | None = None
        """Where power status is told; None where the server has no such place."""
        self.dropped = 0
        """Messages that the server has refused for good; they are not sent again."""
        self._log: deque[LogEvent] = deque(maxlen=_MOST_KEPT)

    @property
    def rate_s(self) -> int:
        """How often it reports, seconds."""
        return self._rate_s

    @property
    def kept(self) -> int:
        """Readings that wait for contact."""
        return len(self._kept)

    def due_s(self) -> int:
        """When it is to report next, by the client's own clock."""
        return self._due_s

    def set_back(self) -> None:
        """The client's own clock was set back: nothing waits for what it said before."""
        self.refusals.only(())
        self._due_s = self._rates_due_s = 0

    def rate(self, rate_s: int, now_s: int, of: str = _DEVICE) -> None:
        """How often the device shall report from now on, seconds; its metered places know better."""
        self._asked_s[of] = rate_s or self._asked_s[of]
        wanted_s = self._asked_s[_PLACES] or self._asked_s[_DEVICE] or _USUAL_S
        if wanted_s != self._rate_s:
            self._rate_s, self._due_s = wanted_s, min(self._due_s, now_s + wanted_s)

    def measure(self, now_s: int) -> None:
        """Take down what is due, whether or not there is contact."""
        if self._due_s <= now_s:
            server_s = self._session.server_s(now_s)
            self._due_s, self._open = now_s + self._rate_s, {_STATUS, _AVAILABILITY, _POWER}
            self._kept.extend(self._plant.readings(server_s))
            self._log.extend(self._plant.log(server_s))

    async def make(self, ders: str | None, mirrors: str | None, log: str | None, now_s: int) -> None:
        """Send what has been taken down; what is refused for good is dropped, and the rest goes on.

        Args:
            ders: where the device's DERs are listed; None where the server has no such place.
            mirrors: where metered places are made.
            log: where log events are posted.
            now_s: the client's own clock.

        Raises:
            Refused: the server wants to be left alone altogether.
            OSError: nothing came back.
        """
        if self._open:
            await self._equipment(ders, now_s)
        if mirrors is not None:
            await self._metered(mirrors, now_s)
        if self._log and log is not None:
            await self.alone("log events", partial(self._events, log), now_s)

    async def alone(self, what: str, talk: Callable[[], Awaitable[None]], now_s: int) -> None:
        """Say one of many things, which holds up no others where it is refused.

        Raises:
            Refused: the server wants to be left alone altogether.
            OSError: nothing came back.
        """
        await self.refusals.alone(what, talk, now_s, self._rate_s)

    async def _say(self, method: str, path: str, said: Resource) -> str:
        """Send something once; empty where it is refused for good."""
        try:
            return await self._session.send(method, path, said)
        except Refused as refused:
            if not refused.for_good:
                raise
            self._stale |= refused.gone and method == "PUT"  # its DER may stand elsewhere by now
            self.dropped += 1
            return ""

    async def _equipment(self, path: str | None, now_s: int) -> None:
        """Tell how the device is built, set and is; what has arrived is not told again with the rest."""
        server_s = self._session.server_s(now_s)
        if path is not None and (self._der is None or self._stale):
            await self.alone("DERs", partial(self._find, path), now_s)
        der, plant = self._der, self._plant
        if der is not None:
            await self.alone("capability and settings", partial(self._nameplate, der, server_s), now_s)
        states: dict[str, tuple[str | None, Callable[[int], Resource | None]]] = {
            _STATUS: (None if der is None else href(der.der_status_link), plant.status),
            _AVAILABILITY: (None if der is None else href(der.der_availability_link), plant.availability),
            _POWER: (self.power, plant.power),
        }
        for what in [each for each in states if each in self._open]:
            await self.alone(what, partial(self._state, what, *states[what], server_s), now_s)

    async def _find(self, path: str) -> None:
        _, found = await self._session.fetch_all(path, DERList, "der")
        der, self._stale = found[0] if found else None, False
        if der != self._der:
            self._der, self._told = der, _Told()

    async def _state(
        self, what: str, place: str | None, of: Callable[[int], Resource | None], server_s: int
    ) -> None:
        said = None if place is None else of(server_s)
        if place is not None and said is not None:
            await self._say("PUT", place, said)
        self._open.discard(what)

    async def _nameplate(self, der: DER, server_s: int) -> None:
        """Capability and settings, where they have changed."""
        plant, told = self._plant, self._told
        capability, settings = plant.capability(), plant.settings(server_s)
        if der.der_capability_link is not None and told.capability != capability:
            await self._say("PUT", der.der_capability_link.href, capability)
            told.capability = capability
        same = told.settings is not None and settings == replace(
            told.settings, updated_time=settings.updated_time
        )
        if der.der_settings_link is not None and not same:
            await self._say("PUT", der.der_settings_link.href, settings)
            told.settings = settings

    async def _metered(self, mirrors: str, now_s: int) -> None:
        """Make the metered places, look how often they are to be heard of, and say what they have read."""
        if self._place_of is None:
            await self.alone("metered places", partial(self._make_places, mirrors), now_s)
        if self._rates_due_s <= now_s:
            await self.alone("post rates", partial(self._rates, mirrors, now_s), now_s)
        if self._place_of is not None:
            await self.alone("readings", self._readings, now_s)

    async def _make_places(self, mirrors: str) -> None:
        self._place_of = await self._places(mirrors)

    async def _rates(self, mirrors: str, now_s: int) -> None:
        """How often the server wants to hear of the device's places."""
        page, places = await self._session.fetch_all(mirrors, MirrorUsagePointList, "mirror_usage_point")
        self._rates_due_s = now_s + (page.poll_rate or self._rate_s)
        rates = [each.post_rate for each in places if each.device_lfdi == self._lfdi and each.post_rate]
        self.rate(min(rates, default=0), now_s, _PLACES)

    async def _readings(self) -> None:
        while self._kept:
            at, batch = next((at, list(each)) for at, each in groupby(self._kept, self._place))
            batch = batch[:_AT_ONCE]
            if at:  # what belongs to no place has nowhere to go
                await self._post(at, batch)
            for _ in batch:
                self._kept.popleft()

    async def _events(self, path: str) -> None:
        while self._log:
            await self._say("POST", path, self._log[0])
            self._log.popleft()

    async def _places(self, mirrors: str) -> dict[str, str]:
        """Make the metered places; where readings of each series go, empty where they are not wanted."""
        made: dict[str, str] = {}
        for place in self._plant.places():
            before = self.dropped
            at = await self._say("POST", mirrors, replace(place, device_lfdi=self._lfdi))
            if not at and self.dropped == before:  # it was made, and not said where
                _, known = await self._session.fetch_all(mirrors, MirrorUsagePointList, "mirror_usage_point")
                at = next((each.href or "" for each in known if each.mrid == place.mrid), "")
            made |= {series.mrid: at for series in place.mirror_meter_reading}
        return made

    def _place(self, reading: MirrorMeterReading) -> str:
        return (self._place_of or {}).get(reading.mrid, "")

    async def _post(self, place: str, batch: list[MirrorMeterReading]) -> None:
        """Post readings; of a batch that is refused each by itself, so that one holds up no others."""
        try:
            await self._session.send("POST", place, batch[0] if len(batch) == 1 else _together(batch))
        except Refused as refused:
            if refused.gone:  # the place is gone: it is made again
                self._place_of = None
            if refused.gone or not refused.for_good:
                raise
            if len(batch) == 1:
                self.dropped += 1
                return
            for each in batch:
                await self._post(place, [each])


def _together(batch: list[MirrorMeterReading]) -> MirrorMeterReadingList:
    many = len(batch)
    return MirrorMeterReadingList(all=many, results=many, mirror_meter_reading=tuple(batch))
