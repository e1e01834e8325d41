"""When controls hold: spans, shifted by the chance of each device."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

from gridflock.field.ieee2030_5.resources import DERControl, EventState

_DIGEST = 8


@dataclass(frozen=True, slots=True)
class Span:
    """From ``start_s`` to before ``end_s``, UTC seconds."""

    start_s: int
    end_s: int

    def holds(self, now_s: int) -> bool:
        """Whether a moment lies inside."""
        return self.start_s <= now_s < self.end_s


def span_of(control: DERControl, lfdi: str) -> Span:
    """When a control holds on one device.

    A start that is shifted takes the end with it; the duration is shifted beside it and never below 0. A
    control that is cancelled with randomisation (status 3) ends within the larger of its two bounds after its
    cancellation, one that is cancelled or superseded at that moment. Cancelled before its start it is not
    begun.

    Args:
        control: as it stands on the wire.
        lfdi: of the device.
    """
    luck = _Luck(lfdi, control.mrid)
    start_s = control.interval.start + luck.within(control.randomize_start or 0, "start")
    longer_s = luck.within(control.randomize_duration or 0, "duration")
    end_s = start_s + max(control.interval.duration + longer_s, 0)
    status = control.event_status
    if status.current_status in (EventState.CANCELLED, EventState.SUPERSEDED):
        end_s = min(end_s, status.date_time)
    elif status.current_status == EventState.CANCELLED_RANDOMISED and status.date_time <= start_s:
        end_s = start_s
    elif status.current_status == EventState.CANCELLED_RANDOMISED:
        end_s = min(end_s, status.date_time + luck.within(_larger(control), "cancelled"))
    return Span(start_s, max(end_s, start_s))


def earliest_start_s(control: DERControl) -> int:
    """The first moment at which any device may begin: when a server calls it active."""
    return control.interval.start + min(control.randomize_start or 0, 0)


def latest_end_s(control: DERControl) -> int:
    """The first moment at which no device is under it any more, cancelled or not."""
    later_s = max(control.randomize_start or 0, 0) + max(control.randomize_duration or 0, 0)
    return control.interval.start + control.interval.duration + later_s


def _larger(control: DERControl) -> int:
    return max(abs(control.randomize_start or 0), abs(control.randomize_duration or 0))


@dataclass(frozen=True, slots=True)
class _Luck:
    """What chance gives one device for one control."""

    lfdi: str
    mrid: str

    def within(self, bound_s: int, what: str) -> int:
        """A whole second from 0 to ``bound_s``, which may be negative."""
        if bound_s == 0:
            return 0
        seed = f"{self.lfdi}/{self.mrid}/{what}".encode()
        drawn = int.from_bytes(blake2b(seed, digest_size=_DIGEST).digest(), "big") % (abs(bound_s) + 1)
        return drawn if bound_s > 0 else -drawn
