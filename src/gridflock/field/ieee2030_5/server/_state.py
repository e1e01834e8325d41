"""All that the server knows and must not lose, in rooms."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from gridflock.field.ieee2030_5.resources import LogEvent, ReadingType, Resource
from gridflock.field.ieee2030_5.server._alarms import Alarm
from gridflock.field.ieee2030_5.server._offered import Offered
from gridflock.field.ieee2030_5.server._priced import Prices
from gridflock.field.ieee2030_5.server._registry import Registry
from gridflock.field.ieee2030_5.server._reserved import Reserved
from gridflock.field.ieee2030_5.server._said import Responses
from gridflock.field.ieee2030_5.server._subscribed import Subscribed

Interval = tuple[int, int, int]
"""Duration in seconds, value and quality flags of one reading, as posted."""


@dataclass(slots=True)
class Rates:
    """How often clients shall ask and report, seconds; the key ``""`` stands for all clients.

    Attributes:
        poll: LFDI to kind of resource to seconds.
        post: LFDI to seconds.
    """

    poll: dict[str, dict[str, int]] = field(default_factory=dict)
    post: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Told:
    """What a device said of itself, and when it came in."""

    at_s: int
    resource: Resource


@dataclass(slots=True)
class Equipment:
    """What devices say of themselves and of their DERs.

    Attributes:
        ders: device to the number of its DERs, counted from 1.
        told: device to (DER or 0 for the device itself, kind) to what was told, the latest last.
    """

    ders: dict[int, int] = field(default_factory=dict)
    told: dict[int, dict[tuple[int, str], tuple[Told, ...]]] = field(default_factory=dict)

    def latest(self, device: int, der: int, kind: str) -> Resource | None:
        """What holds now."""
        told = self.told.get(device, {}).get((der, kind))
        return told[-1].resource if told else None


@dataclass(frozen=True, slots=True)
class Logged:
    """A device's log event at its place."""

    number: int
    at_s: int
    event: LogEvent


@dataclass(frozen=True, slots=True)
class Mirror:
    """A usage point that a client reports on.

    Attributes:
        number: its place in addresses, never given twice.
        device: number of the device it belongs to.
        owner: LFDI of the client that posts.
        lfdi: of the device, as posted.
        mrid: the client's own identifier of it.
        role_flags: bits of ``RoleFlags``.
        service: ``ServiceKind``.
        status: 0 off, 1 on.
        description: as posted.
    """

    number: int
    device: int
    owner: str
    lfdi: str
    mrid: str
    role_flags: int
    service: int
    status: int
    description: str = ""

    @property
    def path(self) -> str:
        """Where it stands."""
        return f"/mup/{self.number}"


@dataclass(frozen=True, slots=True)
class Series:
    """One measured series of a usage point; without a type nobody can use it."""

    number: int
    mirror: int
    mrid: str
    type: ReadingType | None
    description: str = ""


@dataclass(slots=True)
class Metering:
    """Usage points, their series, and the readings nobody has fetched yet.

    Attributes:
        mirrors: by number.
        series: by number.
        next_mirror: number of the next usage point.
        next_series: number of the next series.
        recent: series to start to the newest intervals, so that a repeated reading changes nothing.
        waiting: readings as (series, start, duration, value, quality flags, arrival), in order of arrival.
        taken: how many readings were fetched before those.
        stale: series that are no longer posted to, until their last readings are fetched.
        gone: usage points that were deleted, as long as one of their series is among those.
        by_mrid: (owner, device's LFDI, mRID) to number.
        of_owner: client to its usage points, in order of their numbers.
        of_mirror: usage point to mRID to its series.
        of_device: device to its usage points.
    """

    mirrors: dict[int, Mirror] = field(default_factory=dict)
    series: dict[int, Series] = field(default_factory=dict)
    next_mirror: int = 1
    next_series: int = 1
    recent: dict[int, dict[int, Interval]] = field(default_factory=dict)
    waiting: list[tuple[int, int, int, int, int, int]] = field(default_factory=list)
    taken: int = 0
    stale: dict[int, Series] = field(default_factory=dict)
    gone: dict[int, Mirror] = field(default_factory=dict)
    by_mrid: dict[tuple[str, str, str], int] = field(init=False, compare=False, default_factory=dict)
    of_owner: dict[str, dict[int, None]] = field(init=False, compare=False, default_factory=dict)
    of_mirror: dict[int, dict[str, int]] = field(init=False, compare=False, default_factory=dict)
    of_device: dict[int, dict[int, None]] = field(init=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for mirror in self.mirrors.values():
            self._index(mirror)
        for series in self.series.values():
            self.of_mirror[series.mirror][series.mrid] = series.number

    def keep(self, mirror: Mirror) -> None:
        """Put in a usage point, or a new state of it."""
        self.mirrors[mirror.number] = mirror
        self.next_mirror = max(self.next_mirror, mirror.number + 1)
        self._index(mirror)

    def keep_series(self, series: Series) -> None:
        """Put in a series; one of the same mRID with another type gives way to it."""
        of_mirror = self.of_mirror[series.mirror]
        if series.mrid in of_mirror:
            self._retire(of_mirror[series.mrid])
        self.series[series.number] = series
        self.next_series = max(self.next_series, series.number + 1)
        of_mirror[series.mrid] = series.number

    def forget(self, number: int) -> None:
        """Take a usage point out with its series; readings that wait for fetching stay."""
        mirror = self.mirrors.pop(number, None)
        if mirror is None:
            return
        self.gone[number] = mirror
        for series in self.of_mirror.pop(number).values():
            self._retire(series)
        if not self.waiting:
            self._tidy()
        del self.by_mrid[mirror.owner, mirror.lfdi, mirror.mrid]
        del self.of_owner[mirror.owner][number]
        del self.of_device[mirror.device][number]

    def fetched(self, upto: int) -> None:
        """The first readings, up to this count since ever, are no longer needed here."""
        del self.waiting[: max(0, upto - self.taken)]
        self.taken = max(self.taken, upto)
        if self.stale or self.gone:
            self._tidy()

    def _retire(self, number: int) -> None:
        self.stale[number] = self.series.pop(number)
        self.recent.pop(number, None)
        if not self.waiting:
            self._tidy()

    def _tidy(self) -> None:
        """Leave out what no reading that waits is of."""
        named = {each[0] for each in self.waiting}
        self.stale = {number: series for number, series in self.stale.items() if number in named}
        places = {series.mirror for series in self.stale.values()}
        self.gone = {number: mirror for number, mirror in self.gone.items() if number in places}

    def _index(self, mirror: Mirror) -> None:
        self.by_mrid[mirror.owner, mirror.lfdi, mirror.mrid] = mirror.number
        self.of_owner.setdefault(mirror.owner, {})[mirror.number] = None
        self.of_device.setdefault(mirror.device, {})[mirror.number] = None
        self.of_mirror.setdefault(mirror.number, {})


@dataclass(frozen=True, slots=True)
class Assignment:
    """One set of programs and tariffs that a device is to follow.

    Attributes:
        name: what the set is for; it keeps its address as long as it has this name.
        programs: numbers of DER programs.
        tariffs: numbers of tariff profiles.
        number: its place in addresses; 0 until it is given one.
    """

    name: str
    programs: tuple[int, ...] = ()
    tariffs: tuple[int, ...] = ()
    number: int = 0


@dataclass(slots=True)
class Assignments:
    """Which device follows what.

    Attributes:
        held: device to its assignments, in order of their numbers.
        next_number: device to the number of its next assignment.
        owners: device to its owner, of those that hold any.
        programs: owner to how many of its assignments name a program.
        tariffs: the same of tariffs.
        followers: program to the devices that follow it.
    """

    held: dict[int, tuple[Assignment, ...]] = field(default_factory=dict)
    next_number: dict[int, int] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    programs: dict[str, Counter[int]] = field(init=False, compare=False, default_factory=dict)
    tariffs: dict[str, Counter[int]] = field(init=False, compare=False, default_factory=dict)
    followers: dict[int, dict[int, None]] = field(init=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        for number in self.held:
            self._count(number, 1)

    def keep(self, device: int, owner: str, held: tuple[Assignment, ...]) -> None:
        """What a device follows from now on."""
        if device in self.held:
            self._count(device, -1)
        self.held[device] = held
        self.owners[device] = owner
        most = max((each.number for each in held), default=0)
        self.next_number[device] = max(self.next_number.get(device, 1), most + 1)
        self._count(device, 1)

    def forget(self, device: int) -> None:
        """A device follows nothing any more, and is gone."""
        if device in self.held:
            self._count(device, -1)
            del self.held[device], self.owners[device], self.next_number[device]

    def _count(self, device: int, sign: int) -> None:
        owner = self.owners[device]
        programs = self.programs.setdefault(owner, Counter())
        tariffs = self.tariffs.setdefault(owner, Counter())
        for assignment in self.held[device]:
            for program in assignment.programs:
                programs[program] += sign
                followers = self.followers.setdefault(program, {})
                if sign > 0:
                    followers[device] = None
                else:
                    followers.pop(device, None)
            for tariff in assignment.tariffs:
                tariffs[tariff] += sign


@dataclass(slots=True)
class State:
    """The whole of it, a room for each function set. Altered by ``make`` alone.

    Attributes:
        made: how many changes were ever made to it.
        untold: alarms that must not be lost, until an operator can see them.
    """

    made: int = 0
    registry: Registry = field(default_factory=Registry)
    rates: Rates = field(default_factory=Rates)
    equipment: Equipment = field(default_factory=Equipment)
    metering: Metering = field(default_factory=Metering)
    logs: dict[int, tuple[Logged, ...]] = field(default_factory=dict)
    assignments: Assignments = field(default_factory=Assignments)
    offered: Offered = field(default_factory=Offered)
    responses: Responses = field(default_factory=Responses)
    subscribed: Subscribed = field(default_factory=Subscribed)
    prices: Prices = field(default_factory=Prices)
    reserved: Reserved = field(default_factory=Reserved)
    untold: list[Alarm] = field(default_factory=list)

    def forget(self, device: int) -> None:
        """Take a device out of every room."""
        for number in tuple(self.metering.of_device.get(device, ())):
            self.metering.forget(number)
        self.equipment.told.pop(device, None)
        self.equipment.ders.pop(device, None)
        self.logs.pop(device, None)
        self.assignments.forget(device)
        self.responses.forget_device(device)
        self.subscribed.forget_device(device)
        self.reserved.forget_device(device)
        self.registry.met.pop(device, None)
        self.registry.lost.pop(device, None)
        self.registry.contested.pop(device, None)
        self.registry.forget(device)
