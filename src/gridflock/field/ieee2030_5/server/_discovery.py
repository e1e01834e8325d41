"""The first page, the time, and which versions of the Australian profile are spoken."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from gridflock.field.ieee2030_5._http import JSON, WELL_KNOWN, Answer
from gridflock.field.ieee2030_5.resources import DeviceCapability, Link, ListLink, Profile, Time, TimeQuality
from gridflock.field.ieee2030_5.server._ownership import Need
from gridflock.field.ieee2030_5.server._policy import PLAIN_ZONE
from gridflock.field.ieee2030_5.server._rates import poll_s
from gridflock.field.ieee2030_5.server._routes import Route
from gridflock.field.ieee2030_5.server._turn import Ask
from gridflock.field.ieee2030_5.wire import write

DCAP, TIME, VERSIONS = "/dcap", "/tm", f"{WELL_KNOWN}csipaus"
_HOUR_S = 3_600
_YEAR = timedelta(days=366)


def capability(ask: Ask) -> Answer:
    """The one address a client is given; everything else is found from here by links."""
    # Counts of a client's own lists stand in it: it is rendered for each anew.
    registry, metering = ask.state.registry, ask.state.metering
    found = DeviceCapability(
        href=DCAP,
        poll_rate=poll_s(ask.state, ask.policy, "DeviceCapability", ask.lfdi),
        time_link=Link(href=TIME),
        end_device_list_link=ListLink(
            href="/edev", all=len(registry.listed(ask.lfdi)) if ask.client is not None else 0
        ),
        mirror_usage_point_list_link=None
        if ask.client is None
        else ListLink(href="/mup", all=len(metering.of_owner.get(ask.lfdi, ()))),
    )
    return Answer(200, write(found, ask.profile))


def time(ask: Ask) -> Answer:
    """The clock all events are judged by, rendered once a second."""
    rate_s = poll_s(ask.state, ask.policy, "Time", ask.lfdi)
    return Answer(200, ask.cached(TIME, "", rate_s, lambda: (_time(ask, rate_s), ask.now_s + 1)))


def _time(ask: Ask, rate_s: int) -> bytes:
    standard_s, saving_s, start_s, end_s = local_time(ask.policy.zone, ask.now_s // _HOUR_S)
    local_s = ask.now_s + standard_s + (saving_s if start_s <= ask.now_s < end_s else 0)
    found = Time(
        href=TIME,
        poll_rate=rate_s,
        current_time=ask.now_s,
        dst_end_time=end_s,
        dst_offset=saving_s,
        dst_start_time=start_s,
        local_time=local_s,
        quality=TimeQuality.LEVEL_3,
        tz_offset=standard_s,
    )
    return write(found, ask.profile)


@lru_cache(maxsize=64)
def local_time(zone: str, hour: int) -> tuple[int, int, int, int]:
    """Offsets of a zone, and this year's turns of its clocks.

    Args:
        zone: IANA name.
        hour: hours since 1970.

    Returns:
        Seconds from UTC in standard time; seconds added in daylight saving time, 0 where there is none; when
        that starts and ends, of the pair that the moment is in or that comes next, 0 where there is none.
    """
    if zone == PLAIN_ZONE:
        return 0, 0, 0, 0
    place, now = ZoneInfo(zone), datetime.fromtimestamp(hour * _HOUR_S, UTC)
    turns = _turns(place, now - _YEAR, now + _YEAR)
    starts = [at for at, saving in turns if saving]
    ends = [at for at, saving in turns if not saving]
    standard = _offset(place, now) - _saving(place, now)
    moment = int(now.timestamp())
    end = next((at for at in ends if at > moment), 0)
    start = next((at for at in reversed(starts) if at < end), 0)
    added = _saving(place, datetime.fromtimestamp(start, UTC)) if start and end else 0
    return standard, added, start if added else 0, end if added else 0


def _turns(place: ZoneInfo, first: datetime, last: datetime) -> list[tuple[int, bool]]:
    """Moments at which daylight saving begins (true) or ends, to the second."""
    found, day = [], first
    while day < last:
        following = day + timedelta(days=1)
        if _saving(place, day) != _saving(place, following):
            low, high = int(day.timestamp()), int(following.timestamp())
            saving = _saving(place, following) != 0
            while high - low > 1:
                middle = (low + high) // 2
                turned = (_saving(place, datetime.fromtimestamp(middle, UTC)) != 0) == saving
                low, high = (low, middle) if turned else (middle, high)
            found.append((high, saving))
        day = following
    return found


def _offset(place: ZoneInfo, at: datetime) -> int:
    return int((at.astimezone(place).utcoffset() or timedelta()).total_seconds())


def _saving(place: ZoneInfo, at: datetime) -> int:
    return int((at.astimezone(place).dst() or timedelta()).total_seconds())


def versions(ask: Ask) -> Answer:
    """From the namespace of each schema that is spoken to its entry points, as JSON.

    The profile of a client is what it was loaded with; this only says what can be had.
    """
    del ask
    spoken: Mapping[str, list[str]] = {
        profile.extension: [DCAP] for profile in (Profile.CSIPAUS12, Profile.CSIPAUS13)
    }
    return Answer(200, json.dumps(spoken).encode(), media_type=JSON)


ROUTES = (
    Route(DCAP, Need.ANYONE, {"GET": capability}),
    Route(TIME, Need.ANYONE, {"GET": time}),
    Route(VERSIONS, Need.ANYONE, {"GET": versions}),
)
