"""What the operator decides once about a utility server, as one value."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gridflock.field.ieee2030_5.identity import is_pin
from gridflock.field.ieee2030_5.resources import Profile
from gridflock.model import Rejected

PLAIN_ZONE = "UTC"
"""The one zone that needs no table of zones."""
_MRID_DIGITS = 24
"""Of 32 digits; the last eight are the enterprise number."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How the server deals with its clients.

    Attributes:
        pen: IANA private enterprise number of the operator; every identifier of ours ends in it.
        in_band_devices: a device that nobody has loaded may register itself.
        in_band_sites: an aggregator may register sites.
        approve_at_once: who registers itself is enabled without an operator's word.
        pin: given to whoever registers itself.
        hosts: that notifications of every client may be sent to, beside those of its own.
        profile: the latest that somebody who registers itself is spoken to in.
        trial_storage: what is posted in the namespace of the CSIP-AUS storage trial is read as of 1.3.
        strict_site_lfdi: the LFDI of an aggregator's site must end in the aggregator's enterprise number.
        poll_s: poll rate of every list for which no other is set.
        post_s: post rate of every device for which no other is set.
        lost_periods: periods without contact after which a device counts as lost.
        headroom: how many times the traffic that its own rates ask for a client may make.
        zone: IANA name of the time zone that ``Time`` tells.
        connection_point: regular expression that a connection point's identifier matches as a whole.
        most_page: a longer page is cut to this.
        most_sites: sites of one aggregator.
        most_claims: of these, such that wait for an operator's approval.
        most_ders: DERs of one device.
        most_mirrors: usage points a device may mirror.
        most_series: series of readings of one usage point.
        reservations: devices are shown where to ask for flow reservations.
        most_reservations: requests of one device that are not past.
        kept_states: former capabilities, settings, statuses of each DER that are remembered.
        kept_intervals: of each series, intervals in which a repeated reading is known again, latest to
            arrive; the last post is remembered whole, however long it was.
        kept_logs: log events of each device.
    """

    pen: int
    in_band_devices: bool = False
    in_band_sites: bool = True
    approve_at_once: bool = False
    pin: int = 111115
    hosts: tuple[str, ...] = ()
    profile: Profile = Profile.CSIPAUS13
    trial_storage: bool = False
    strict_site_lfdi: bool = False
    poll_s: int = 300
    post_s: int = 300
    lost_periods: int = 3
    headroom: float = 20.0
    zone: str = PLAIN_ZONE
    connection_point: str = r"[!-~]{1,32}"
    most_page: int = 255
    most_sites: int = 50_000
    most_claims: int = 1_000
    most_ders: int = 20
    most_mirrors: int = 20
    most_series: int = 40
    reservations: bool = False
    most_reservations: int = 20
    kept_states: int = 8
    kept_intervals: int = 12
    kept_logs: int = 100

    def faults(self) -> tuple[Rejected, ...]:
        """What of it cannot be gone by; empty where all can."""
        at_least = {"poll_s": 1, "post_s": 1, "lost_periods": 1, "kept_intervals": 1, "kept_logs": 1}
        at_least |= dict.fromkeys(("most_page", "most_ders", "most_mirrors", "most_series"), 1)
        at_least |= dict.fromkeys(("most_sites", "most_claims", "most_reservations"), 0)
        at_least |= dict.fromkeys(("kept_states", "headroom"), 0)
        rules = [
            (name, getattr(self, name) >= least, f"at least {least}") for name, least in at_least.items()
        ]
        rules += [
            ("pen", 0 <= self.pen < 2**32, "a whole number of 32 bits"),
            ("pin", is_pin(self.pin), "five digits and their check digit"),
            ("zone", _is_zone(self.zone), "the name of a time zone that is installed"),
            ("connection_point", _is_pattern(self.connection_point), "a regular expression"),
        ]
        return tuple(
            Rejected("2030.5 policy", name, (), f"{getattr(self, name)!r} is not {rule}")
            for name, holds, rule in rules
            if not holds
        )

    def mrid(self, *parts: object) -> str:
        """An identifier that the same parts always give, 32 uppercase hexadecimal digits."""
        digest = hashlib.sha256("/".join(map(str, parts)).encode()).hexdigest()
        return f"{digest[:_MRID_DIGITS].upper()}{self.pen & 0xFFFFFFFF:08X}"


def _is_zone(name: str) -> bool:
    try:
        return name == PLAIN_ZONE or bool(ZoneInfo(name).key)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return False


def _is_pattern(text: str) -> bool:
    try:
        return re.compile(text).groups >= 0
    except re.error:
        return False
