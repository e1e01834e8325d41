"""What the façade asks of the server that speaks IEEE 2030.5 with devices, whose libraries are an extra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from gridflock.runtime._utility_views import (
    DeviceDetail,
    DevicePage,
    DeviceView,
    DifferenceView,
    RatesView,
    UtilityView,
)

if TYPE_CHECKING:
    from gridflock.runtime._agreed import Agreed

KIND = "device"
"""Of the ledger's entries about devices and their server: what people did, and what devices let be known."""
Note = Callable[[], None]
"""Records what is about to be done; what it raises, keeps it from being done."""


@dataclass(frozen=True, slots=True)
class Said:
    """What somebody wants done, and on whose word.

    Attributes:
        author: who.
        why: in words.
        note: called once before anything changes.
    """

    author: str
    why: str
    note: Note


@dataclass(frozen=True, slots=True)
class Enrolling:
    """What an operator knows of a device; what is not said stays as it is with one that is known.

    Attributes:
        lfdi: of its certificate; of a site behind an aggregator, its own.
        resource: of the fleet that it is.
        pin: five digits and their check digit; None = not said.
        aggregator: the holder of the certificate speaks for sites, or for itself alone; None = not said.
            Where it is said without an owner, no other aggregator speaks for it any more.
        owner: LFDI of the aggregator that speaks for it.
        profile: ``"sep2018"``, ``"csipaus12"`` or ``"csipaus13"``; empty = not said.
        name: for people.
        hosts: that its notifications may be sent to; None = not said.
        point: connection point.
    """

    lfdi: str
    resource: str = ""
    pin: int | None = None
    aggregator: bool | None = None
    owner: str = ""
    profile: str = ""
    name: str = ""
    hosts: tuple[str, ...] | None = None
    point: str = ""


@dataclass(frozen=True, slots=True)
class Bearing:
    """Whose business a device is.

    Attributes:
        resource: that it is; empty where it is none.
        aggregator: it stands for more than that.
        owner: LFDI of the aggregator that speaks for it; empty where it speaks for itself.
    """

    resource: str
    aggregator: bool
    owner: str


@dataclass(frozen=True, slots=True)
class Rating:
    """Rates to be set; None leaves a rate as it is, an empty kind means every one, an empty LFDI all."""

    poll_s: int | None
    post_s: int | None
    kind: str
    lfdi: str


class Served(Protocol):
    """A server that runs. Any thread may call it.

    Its verbs raise ``RequestRejected`` with every fault, and what ``Said.note`` raises.
    """

    @property
    def troubles(self) -> tuple[str, ...]:
        """What is wrong, in words that begin with a cause and a colon; as of the last tick."""
        ...

    @property
    def counted(self) -> Mapping[str, int]:
        """Devices by state and refused requests; as of the last tick."""
        ...

    @property
    def agreed(self) -> Agreed:
        """What devices have agreed with it, as of the last tick; None for what is not known yet."""
        ...

    def view(self) -> UtilityView:
        """The server at a glance."""
        ...

    def devices(self, access: str, text: str, limit: int, offset: int) -> DevicePage:
        """Devices in a state of access (empty = any) of which some name holds the text."""
        ...

    def device(self, lfdi: str, *, secrets: bool) -> DeviceDetail | None:
        """One of them; None where it is not known."""
        ...

    def bearing(self, lfdi: str) -> Bearing | None:
        """Whose business a device is; None where it is not known."""
        ...

    def rates(self) -> RatesView:
        """How often clients are told to ask and to report."""
        ...

    def points(self) -> Mapping[str, str]:
        """Connection points that may be named, with the resources there."""
        ...

    def differs(self) -> list[DifferenceView]:
        """Settings that devices tell and that are not what the registry says."""
        ...

    def enrol(self, wanted: Enrolling, said: Said) -> DeviceView:
        """Register a device out of band, or say more of one that is known; who waits is approved."""
        ...

    def set_access(self, lfdi: str, access: str, resource: str, said: Said) -> DeviceView:
        """Approve, refuse, suspend or enable a device again, and perhaps join it to a resource."""
        ...

    def set_pin(self, lfdi: str, pin: int | None, said: Said) -> DeviceDetail:
        """Give a device another PIN; None = one by lot."""
        ...

    def set_rates(self, wanted: Rating, said: Said) -> RatesView:
        """Tell clients to ask or report more or less often."""
        ...

    def load_points(self, points: Mapping[str, str], said: Said) -> UtilityView:
        """From now on only these connection points may be named."""
        ...

    def deny(self, lfdi: str, said: Said, *, denied: bool) -> UtilityView:
        """Keep an identifier out at the connection, or let it in again."""
        ...

    def read_revoked(self, said: Said) -> UtilityView:
        """Read the revocation lists of the authority's folder again."""
        ...
