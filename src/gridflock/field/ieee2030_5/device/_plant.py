"""What stands behind a client: the device itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from gridflock.field.ieee2030_5.events import Standing
from gridflock.field.ieee2030_5.resources import (
    DERAvailability,
    DERCapability,
    DERSettings,
    DERStatus,
    LogEvent,
    MirrorMeterReading,
    MirrorUsagePoint,
    PowerStatus,
)


class Plant(Protocol):
    """A device, or a virtual DER that looks like one. Moments are the server's."""

    def capability(self) -> DERCapability:
        """Its nameplate."""
        ...

    def settings(self, now_s: int) -> DERSettings:
        """How it is set."""
        ...

    def status(self, now_s: int) -> DERStatus:
        """How it is."""
        ...

    def availability(self, now_s: int) -> DERAvailability | None:
        """What it could still give; None where it does not know."""
        ...

    def power(self, now_s: int) -> PowerStatus | None:
        """What a plugged-in vehicle needs; None for others, and while none is there."""
        ...

    def places(self) -> Sequence[MirrorUsagePoint]:
        """The metered places it reports on, each with its series and their types, and no readings."""
        ...

    def readings(self, now_s: int) -> Sequence[MirrorMeterReading]:
        """New readings, for the series of its places by mRID; each is given once."""
        ...

    def log(self, now_s: int) -> Sequence[LogEvent]:
        """What is to be reported since the last call."""
        ...

    def obey(self, standing: Standing, now_s: int) -> frozenset[str]:
        """Do what stands from now on; the modes that it cannot."""
        ...

    def waits(self) -> bool:
        """Whether what stands is not done yet because somebody has still to agree to it."""
        ...
