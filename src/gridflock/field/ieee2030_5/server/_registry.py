"""Who may speak, and for which devices: the registry that is looked up on every request."""

from __future__ import annotations

from bisect import insort
from collections import Counter
from dataclasses import dataclass, field
from enum import IntEnum

from gridflock.field.ieee2030_5.resources import Profile


class Access(IntEnum):
    """Where a device stands with the operator."""

    PENDING = 0
    """Registered itself, not yet approved: it sees its own tree, and no program."""
    ENABLED = 1
    SUSPENDED = 2
    """Refused, with all that is known of it untouched."""
    REMOVED = 3
    """Refused for good; it may not register itself again. Of a claim, that aggregator may not claim again."""


_BEARING = frozenset({Access.ENABLED, Access.SUSPENDED})
"""Who is in one of these keeps its resource and its connection point from everybody else."""


@dataclass(frozen=True, slots=True)
class By:
    """Who did something, and why: kept with every change an operator makes."""

    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class Client:
    """The holder of a certificate.

    Attributes:
        lfdi: of its certificate.
        aggregator: it speaks for sites.
        profile: what it is spoken to in.
        name: for people.
        pen: IANA private enterprise number of an aggregator; 0 where it is not known.
        hosts: names of hosts that notifications may be sent to.
    """

    lfdi: str
    aggregator: bool = False
    profile: Profile = Profile.SEP2018
    name: str = ""
    pen: int = 0
    hosts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Device:
    """An ``EndDevice``: a direct device, an aggregator's own virtual one, or a site of an aggregator.

    Attributes:
        number: its place in addresses, never given twice.
        lfdi: its identifier; of the certificate unless it is a site.
        sfdi: the short form of it.
        owner: LFDI of the client that speaks for it.
        access: where it stands with the operator.
        registered_s: when it was loaded or registered itself.
        changed_s: when something about it last changed.
        pin: -1 where nobody has given one.
        category: bits of ``DeviceCategory``; -1 where it is not told.
        point: identifier of its connection point; empty where it is not known.
        resource: our own name of it; empty until it is enrolled.
        in_band: it registered itself, or its aggregator did.
        claimed: its aggregator registered it, and no operator has said yet that it is the aggregator's.
    """

    number: int
    lfdi: str
    sfdi: int
    owner: str
    access: Access
    registered_s: int
    changed_s: int
    pin: int = -1
    category: int = -1
    point: str = ""
    resource: str = ""
    in_band: bool = False
    claimed: bool = False

    @property
    def path(self) -> str:
        """Where it stands."""
        return f"/edev/{self.number}"

    @property
    def claim(self) -> bool:
        """Whether it is an aggregator's by that one's word alone; its own certificate says more."""
        waits = self.in_band and self.access is Access.PENDING  # of a journal from before claims were marked
        return self.owner != self.lfdi and (self.claimed or waits)


@dataclass(slots=True)
class Registry:
    """Clients by LFDI, devices by number.

    Attributes:
        clients: everybody who holds a known certificate.
        devices: their devices.
        next_number: the next device's.
        points: connection points the operator has loaded, with our names of what stands there.
        met: device to the moment it was first heard of.
        lost: device to the moment since which nothing is heard of it.
        denied: identifiers that the operator keeps out at the connection, to the moment that was said.
        contested: site to the moment when its own certificate asked for it first.
        by_lfdi: number of each device, removed ones included.
        order: owner to its devices as (SFDI, number), in order.
        at_point: connection point to the enabled and suspended devices there.
        of_resource: our own name to the enabled and suspended devices that bear it.
        waiting: aggregator to how many sites of it wait for approval.
    """

    clients: dict[str, Client] = field(default_factory=dict)
    devices: dict[int, Device] = field(default_factory=dict)
    next_number: int = 1
    points: dict[str, str] = field(default_factory=dict)
    met: dict[int, int] = field(default_factory=dict)
    lost: dict[int, int] = field(default_factory=dict)
    denied: dict[str, int] = field(default_factory=dict)
    contested: dict[int, int] = field(default_factory=dict)
    by_lfdi: dict[str, int] = field(init=False, compare=False, default_factory=dict)
    order: dict[str, list[tuple[int, int]]] = field(init=False, compare=False, default_factory=dict)
    at_point: dict[str, set[int]] = field(init=False, compare=False, default_factory=dict)
    of_resource: dict[str, set[int]] = field(init=False, compare=False, default_factory=dict)
    waiting: Counter[str] = field(init=False, compare=False, default_factory=Counter)

    def __post_init__(self) -> None:
        for device in self.devices.values():
            self._index(device)

    def of(self, lfdi: str) -> Device | None:
        """The device of this identifier."""
        number = self.by_lfdi.get(lfdi)
        return None if number is None else self.devices[number]

    def bearer(self, resource: str, but: int = 0) -> Device | None:
        """A device, other than number ``but``, that is our resource of this name; None where none is."""
        numbers = self.of_resource.get(resource, set()) - {but} if resource else set()
        return self.devices[min(numbers)] if numbers else None

    def speaks(self, device: Device) -> bool:
        """Whether it may be heard and asked: it and the client that speaks for it, at the door too."""
        owner = self.of(device.owner)
        both = owner is not None and owner.access is Access.ENABLED and device.access is Access.ENABLED
        return both and device.lfdi not in self.denied and device.owner not in self.denied

    def listed(self, owner: str) -> list[tuple[int, int]]:
        """The owner's devices that are not removed, as (SFDI, number) in order."""
        return self.order.get(owner, [])

    def keep(self, device: Device) -> None:
        """Put in a device, or a new state of it."""
        known = self.devices.get(device.number)
        if known is not None:
            self.forget(device.number)
        self.devices[device.number] = device
        self.next_number = max(self.next_number, device.number + 1)
        self._index(device)

    def forget(self, number: int) -> None:
        """Take a device out."""
        device = self.devices.pop(number, None)
        if device is None:
            return
        if self.by_lfdi.get(device.lfdi) == number:
            del self.by_lfdi[device.lfdi]
        for index, key in ((self.at_point, device.point), (self.of_resource, device.resource)):
            if key in index:  # clients choose the names: what nobody bears any more is not kept
                index[key].discard(number)
                if not index[key]:
                    del index[key]
        self.waiting[device.owner] -= _waits(device)
        if device.access is not Access.REMOVED:
            self.order[device.owner].remove((device.sfdi, number))

    def _index(self, device: Device) -> None:
        self.by_lfdi[device.lfdi] = device.number
        self.waiting[device.owner] += _waits(device)
        if device.access in _BEARING:  # who waits has wishes only, who is removed has nothing
            self.at_point.setdefault(device.point, set()).add(device.number)
            self.of_resource.setdefault(device.resource, set()).add(device.number)
        if device.access is not Access.REMOVED:
            insort(self.order.setdefault(device.owner, []), (device.sfdi, device.number))


def _waits(device: Device) -> bool:
    return device.access is Access.PENDING and device.owner != device.lfdi
