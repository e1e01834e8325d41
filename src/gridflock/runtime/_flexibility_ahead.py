"""What a group will be able to do, asked of a running system."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.flexibility import (
    Asked,
    Availability,
    Chances,
    FlexibilityAhead,
    Way,
    availability,
    flexibility_ahead,
)
from gridflock.runtime._could_have import ENOUGH_DAYS
from gridflock.runtime._paths_ahead import paths_ahead
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._views import Fault, numbers
from gridflock.units import HOUR_S, Seconds, iso

if TYPE_CHECKING:
    from collections.abc import Callable

    from gridflock.model import Forecast
    from gridflock.runtime._loop import Loop, Moment

AS_COUNTED, SET_RIGHT = "as counted", "set right"
_MOST_HOURS = 24
_FAR_HOURS = (2, 6, 12, 24)
"""So far it is looked ahead, of which what was asked is shown."""
_SERVES_S = 300
_MOST_MEMBER_STEPS = 250_000
"""Members × steps that are counted for one answer: half a minute of one core."""
_MOST_NOTICE_S = 86_400


@dataclass(frozen=True, slots=True)
class Band:
    """What is exceeded in nine of ten cases, in half of them, and in one."""

    p10: list[float | None]
    p50: list[float | None]
    p90: list[float | None]


@dataclass(frozen=True, slots=True)
class WayView:
    """Changes of power one way through a run, kW, with the energy to be made good and how long that takes."""

    change_kw: Band
    rebound_kwh: Band
    recovery_s: Band


@dataclass(frozen=True, slots=True)
class RunView:
    """What a group can keep up so long."""

    run_s: int
    up: WayView
    down: WayView


@dataclass(frozen=True, slots=True)
class FlexibilityView:
    """A group's flexibility and availability from each of some moments on; a missing recovery never ends.

    Attributes:
        group: its id.
        known_at: nothing later was used.
        notice_s: so long before a run it is called.
        paths: how many futures were counted.
        by: ``as counted``, or ``set right`` by what the group could have done on past days.
        days: how many of these are known; from five on they set bands right.
        t: when runs begin.
        runs: what is kept up for how long.
        share: of its members that are there and would answer.
        available_kw: power of those.
    """

    group: str
    known_at: str
    notice_s: int
    paths: int
    by: str
    days: int
    t: list[str]
    runs: list[RunView]
    share: Band
    available_kw: Band


@dataclass(frozen=True, slots=True, eq=False)
class _Counted:
    """What was counted of one group over some steps of the plan, and the days by which it is set right."""

    able: FlexibilityAhead
    there: Availability
    steps: NDArray[np.int64]
    paths: int
    days: int


def look_ahead(
    loop: Loop, moment: Moment, group: str, hours: int, notice_s: int, once: Callable[..., _Counted]
) -> FlexibilityView:
    """Count a group's flexibility over joint paths of the forecast that the plan was made from.

    An answer serves for five minutes, and for any shorter look ahead.

    Args:
        loop: the system.
        moment: what is known.
        group: its id.
        hours: how far ahead.
        notice_s: how soon before its start it is called.
        once: takes a question, until when its answer serves, and how it is worked out; gives the answer.

    Raises:
        RequestRejected: a number out of range, no forecast yet, or too much to be counted.
    """
    seen = moment.forecast
    faults = []
    if not 1 <= hours <= _MOST_HOURS:
        faults.append(Fault("hours", f"1 to {_MOST_HOURS}", f"{hours}"))
    if not 1 <= notice_s <= _MOST_NOTICE_S:
        faults.append(Fault("notice_s", f"1 to {_MOST_NOTICE_S} s", f"{notice_s}"))
    if seen is None:
        faults.append(Fault("group", "there must be a forecast", "none is made yet"))
    if faults or seen is None:
        raise RequestRejected(tuple(faults))
    far = next(one for one in _FAR_HOURS if one >= hours)
    starts = _starts(seen, moment.now_s, far)
    members = len(loop.system.rows_of[group])
    if members * len(starts) > _MOST_MEMBER_STEPS:
        rule = f"at most {_MOST_MEMBER_STEPS // len(starts)} members for so many hours"
        raise RequestRejected((Fault("group", rule, f"{members}"),))
    found = once(
        ("flexibility", group, notice_s, far),
        (seen.known_at_s, moment.now_s // _SERVES_S),
        lambda: _counted(loop, moment, seen, group, notice_s, starts),
    )
    end_s = found.able.known_at_s + hours * HOUR_S
    return _view(found, int(np.count_nonzero(found.able.starts_s < end_s)))


def _counted(
    loop: Loop, moment: Moment, seen: Forecast, group: str, notice_s: int, starts: Seconds
) -> _Counted:
    system = loop.system
    rows = system.rows_of[group]
    evidence = loop.response.health
    chances = None if evidence is None else Chances.of(evidence, moment.now_s)
    future = paths_ahead(system, loop.past, seen, moment.image, chances, rows)
    (able,) = flexibility_ahead(future, {group: rows}, Asked(notices_s=(notice_s,)), starts)
    (there,) = availability(future, {group: rows})
    known = loop.could_have
    return _Counted(
        known.set_right(system, able), there, future.steps_at(starts), future.count, known.days(system, group)
    )


def _starts(seen: Forecast, now_s: int, hours: int) -> Seconds:
    """The plan's steps that begin in so many hours, the present one from now on."""
    inside = (seen.grid.edges_s[1:] > now_s) & (seen.grid.starts_s < now_s + hours * HOUR_S)
    return np.asarray(np.maximum(seen.grid.starts_s[inside], now_s), dtype=np.int64)


def _view(found: _Counted, n: int) -> FlexibilityView:
    """The first n steps of what was counted."""
    able, there, days = found.able, found.there, found.days
    steps = found.steps[:n]
    runs = [
        RunView(run_s, *(_way(way, r, n) for way in (able.up, able.down)))
        for r, run_s in enumerate(able.asked.runs_s)
    ]
    return FlexibilityView(
        able.group,
        iso(able.known_at_s),
        able.asked.notices_s[0],
        found.paths,
        AS_COUNTED if days < ENOUGH_DAYS else SET_RIGHT,
        days,
        [iso(t) for t in able.starts_s[:n].tolist()],
        runs,
        _band(there.share[:, steps], 4),
        _band(there.p_kw[:, steps]),
    )


def _way(way: Way, run: int, n: int) -> WayView:
    return WayView(
        _band(way.change_kw[:, 0, run, :n]),
        _band(way.rebound_kwh[:, run, :n]),
        _band(way.recovery_s[:, run, :n], 0),
    )


def _band(values: NDArray[np.floating], digits: int = 2) -> Band:
    return Band(*(numbers(row, digits) for row in values))
