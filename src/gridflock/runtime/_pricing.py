"""The verb by which prices of energy are published to a running system."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np

from gridflock.runtime._access import Role, Scope
from gridflock.runtime._authority import Authority
from gridflock.runtime._market import Published, entry_of
from gridflock.runtime._requests import RequestRejected
from gridflock.runtime._views import Fault
from gridflock.units import DAY_S, HOUR_S, QUARTER_S, Seconds, iso, unix_s, utc_offset_s

_STEPS_S = (QUARTER_S, 2 * QUARTER_S, HOUR_S)
_MOST_DAYS, _MOST_AHEAD_S = 70, 10 * DAY_S
_MOST_PRICE = 1_000.0
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


@dataclass(frozen=True, slots=True)
class PublishedView:
    """What was taken in, money per kWh; plans go by it from the next tick on."""

    start: str
    until: str
    lowest: float
    highest: float
    seq: int


class Pricing(Authority):
    """Publishing prices."""

    def publish(
        self, scope: Scope, start: str, prices: Sequence[float], step_s: int = 3_600, out: str = ""
    ) -> PublishedView:
        """Say what energy costs at the head from a moment on; it holds in place of the tariff.

        Of what is said twice the newer holds. Past prices teach what later ones are expected to be.

        Args:
            scope: authority; admins: what energy costs moves every plan.
            start: ISO 8601, on a multiple of the step.
            prices: of steps in a row, money per kWh; they may be negative.
            step_s: 900, 1800 or 3600.
            out: when they were published: a moment, or a local time of day (``12:45``) for day-ahead prices
                that are out on the day before at that time; now where empty, and never later.

        Raises:
            RequestRejected: with every fault; nothing was taken in.
            AccessDenied: the role is too low.
        """
        with self._refusals(scope, "all", "publish"):
            self._require(scope, "all")
            scope.require(Role.ADMIN)
        now_s = self._clock.now_s()
        told = self._read_prices(start, prices, step_s, out, now_s)
        with self._writing:
            seq = self._record.append([entry_of(told, scope.user, now_s)])
        self._collect_events()
        until_s = told.start_s + QUARTER_S * len(told.price)
        lowest, highest = float(told.price.min()), float(told.price.max())
        return PublishedView(iso(told.start_s), iso(until_s), lowest, highest, seq)

    def _read_prices(
        self, start: str, prices: Sequence[float], step_s: int, out: str, now_s: int
    ) -> Published:
        """What a request says, or every fault of it."""
        value = np.asarray(prices, dtype=np.float64)
        start_s, clock_s = _moment(start), _clock(out)
        out_s = now_s if clock_s >= 0 or not out else _moment(out)
        stepped = step_s in _STEPS_S
        numbers = value.ndim == 1 and len(value) > 0 and bool((np.abs(value) <= _MOST_PRICE).all())
        end_s = (start_s or 0) + step_s * len(value)
        rules = (
            ("step_s", stepped, "900, 1800 or 3600", f"{step_s}"),
            ("start", start_s is not None, "ISO 8601", start[:40]),
            ("start", not (stepped and start_s and start_s % step_s), "a multiple of the step", start[:40]),
            ("prices", numbers, f"numbers of at most {_MOST_PRICE:g} per kWh, one at least", "not so"),
            ("prices", end_s - now_s <= _MOST_AHEAD_S, "within the next 10 days", "later"),
            ("prices", step_s * len(value) <= _MOST_DAYS * DAY_S, f"{_MOST_DAYS} days at once", "more"),
            ("prices", now_s - end_s <= _MOST_DAYS * DAY_S, f"of the last {_MOST_DAYS} days", "older"),
            ("out", out_s is not None, "ISO 8601 or HH:MM", out[:40]),
        )
        faults = tuple(Fault(name, rule, reason) for name, fits, rule, reason in rules if not fits)
        if faults or start_s is None or out_s is None:
            raise RequestRejected(faults)
        quarters = np.repeat(value, step_s // QUARTER_S)
        known = np.full(len(quarters), out_s, dtype=np.int64)
        if clock_s >= 0:
            starts = start_s + QUARTER_S * np.arange(len(quarters), dtype=np.int64)
            known = _day_before(starts, clock_s, self._loop.system.site.timezone)
        return Published(start_s, quarters, np.minimum(known, now_s))


def _day_before(starts_s: Seconds, clock_s: int, timezone: str) -> Seconds:
    """A local time of day on the local date before each moment; days may have 23 or 25 hours."""
    day = (starts_s + utc_offset_s(timezone, starts_s)) // DAY_S - 1
    days, which = np.unique(day, return_inverse=True)
    zone = ZoneInfo(timezone)
    wall = [datetime.fromtimestamp(int(one) * DAY_S + clock_s, tz=UTC) for one in days]
    return np.array([int(t.replace(tzinfo=zone).timestamp()) for t in wall], dtype=np.int64)[which]


def _moment(text: str) -> int | None:
    """Unix seconds; None where it is no moment."""
    try:
        return unix_s(text)
    except (ValueError, OverflowError):
        return None


def _clock(text: str) -> int:
    """Seconds after midnight of a time of day; -1 where it is none."""
    found = _CLOCK.fullmatch(text)
    return int(found[1]) * HOUR_S + int(found[2]) * 60 if found else -1
