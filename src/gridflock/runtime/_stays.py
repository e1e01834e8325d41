"""Vehicles' stays as they were seen: who plugged in when, how long each stayed and what it needed.

A vehicle is there while it takes orders, or while the departure that it told lies ahead. A stay is learnt
from when both its ends were seen: what falls into a silence, the vehicle's or the system's own, was not, but
for a departure that it had told. What is kept goes day by day out of a window; ``leaving`` and ``coming``
ask ``forecast.vehicles`` of it: a vehicle by its own stays where there are enough of them, by those of its
class (kind of customer; charging point or vehicle of its own) where there are few, by typical ones where
there are none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.fleet.flexible._bands import Coming
from gridflock.forecast import Site
from gridflock.forecast.vehicles import Sessions, plug_ins, stay
from gridflock.runtime._metered import QUIET_S
from gridflock.schema import CUSTOMER_CLASSES, Family, Kind
from gridflock.units import DAY_S, HOUR_S, NEVER_S, Codes, Kwh, Mask, Rows, Seconds, TimeGrid

KEEP_DAYS = 120
_MOST, _MOST_ASKED = 50_000, 4_000
"""So many stays are kept, and so many, the newest, are asked of one class."""
_FEWEST_OWN, _FEWEST_ALIKE = 10, 30
_WINDOW_S = 3 * HOUR_S
_GIVEN_UP_S = 2 * DAY_S
"""Who is silent for so long is not taken to be there any more."""
_AT_ONCE = 250
"""So many vehicles are asked about at once: their likeness to all stays of a class is held in memory."""
_LEVELS = 9

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Stays:
    """Stays of V vehicles and charging points.

    Attributes:
        rows: (V,) of the fleet.
        alike: (V,) class of each.
        charger_kw: (V,) what each can draw.
        since_s: (V,) there since; -1 while away.
        seen: (V,) whether its coming was seen, and not only that it was there.
        need_kwh: (V,) what it lacked when it came by its own word; NaN where it gave none.
        drawn_kwh: (V,) stored of what it has drawn since.
        told_s: (V,) departure told last; -1 for none.
        looked_s: moment looked at last; -1 before the first.
        who: (N,) place in ``rows`` of each stay that is over, in the order of their ends.
        plugged_s: (N,) its begin.
        left_s: (N,) its end.
        energy_kwh: (N,) what it needed, stored.
        heard_s: (V,) moment each was heard of last; -1 before the first, empty where nobody was.
    """

    rows: Rows
    alike: Codes
    charger_kw: Floats
    since_s: Seconds
    seen: Mask
    need_kwh: Kwh
    drawn_kwh: Kwh
    told_s: Seconds
    looked_s: int
    who: NDArray[np.int64]
    plugged_s: Seconds
    left_s: Seconds
    energy_kwh: Kwh
    heard_s: Seconds = field(default_factory=lambda: np.empty(0, dtype=np.int64))

    @classmethod
    def of(cls, family: Codes, columns: Mapping[str, NDArray[Any]]) -> Stays:
        """Nothing seen yet of the vehicles of a fleet."""
        rows = np.flatnonzero(family == Family.VEHICLE).astype(np.int32)
        alike = columns["customer"][rows] + len(CUSTOMER_CLASSES) * (columns["kind"][rows] == Kind.EVSE)
        n, none = len(rows), np.empty(0, dtype=np.int64)
        return cls(
            rows, alike.astype(np.uint8), -columns["p_min_kw"][rows].astype(np.float64),
            np.full(n, NEVER_S), np.zeros(n, bool), np.full(n, np.nan), np.zeros(n), np.full(n, NEVER_S),
            -1, none, none, none, np.empty(0),
        )  # fmt: skip

    def heard(self, image: Image) -> Stays:
        """With one more image: who is there, who has come, who has left."""
        rows, now_s = self.rows, image.now_s
        if not len(rows) or now_s <= self.looked_s:
            return self
        quiet, told_s = image.silent(QUIET_S)[rows], self.told_s
        last_s = self.heard_s if len(self.heard_s) == len(rows) else np.full(len(rows), NEVER_S)
        heard_s = np.maximum(image.heard_s[rows], last_s)
        gap = self._gap(image, last_s)
        depart_s = image.depart_s[rows]
        before = self.since_s >= 0
        still = before & ((told_s < 0) | (told_s > now_s))
        still &= now_s - np.maximum(heard_s, self.since_s) <= _GIVEN_UP_S
        there = np.where(quiet, still, (image.ready[rows] == 1) | (depart_s > now_s))
        other = before & (told_s >= 0) & (told_s <= now_s) & (depart_s > now_s) & ~quiet
        gone, came = before & (~there | other), there & (~before | other)
        left_as_told = (told_s > last_s) & (told_s <= now_s)
        over = self._over(gone & self.seen & (left_as_told | ~(gap | quiet)), left_as_told, now_s)
        power = np.nan_to_num(image.p_kw[rows].astype(np.float64))
        # Beyond that nobody knows what it drew.
        hours = min(now_s - self.looked_s, QUIET_S) / HOUR_S if self.looked_s >= 0 else 0.0
        gain = image.columns["eff_charge"][rows].astype(np.float64)
        drawn = self.drawn_kwh + np.where(before & ~quiet, np.maximum(-power, 0.0) * gain * hours, 0.0)
        lack = np.maximum(image.e_target_kwh[rows] - image.e_kwh[rows].astype(np.float64), 0.0)
        # After a silence it is the same stay only where it says the same departure, and has said its need.
        same = ~gap | (last_s < 0) | ((depart_s == told_s) & (told_s > now_s) & np.isfinite(self.need_kwh))
        return replace(
            over,
            since_s=np.where(came, now_s, np.where(there, self.since_s, NEVER_S)),
            seen=np.where(came, ~gap & (now_s - self.looked_s <= QUIET_S), self.seen & there & same),
            need_kwh=np.where(came, lack, np.where(there, self.need_kwh, np.nan)),
            drawn_kwh=np.where(came | ~there, 0.0, drawn),
            told_s=np.where(there & (depart_s > now_s), depart_s, np.where(there, told_s, NEVER_S)),
            looked_s=now_s,
            heard_s=heard_s,
        )

    def _gap(self, image: Image, last_s: Seconds) -> Mask:
        """Who is heard of again after a silence, or for the first time: what fell into it was not seen."""
        heard_s, reach_s = image.heard_s[self.rows], image.columns["reach_s"][self.rows]
        own = self.looked_s >= 0 and image.now_s - self.looked_s > QUIET_S
        return np.asarray((last_s < 0) | (heard_s - last_s > QUIET_S + reach_s) | own, dtype=bool)

    def _over(self, which: Mask, left_as_told: Mask, now_s: int) -> Stays:
        """With the stays of some vehicles at their end: when they said, if that was since they were heard."""
        at = np.flatnonzero(which)
        left = np.where(left_as_told[at], self.told_s[at], now_s)
        need = self.need_kwh[at]
        return self.with_past(
            at, self.since_s[at], left, np.where(np.isfinite(need), need, self.drawn_kwh[at])
        )

    def with_past(
        self, who: NDArray[np.int64], plugged_s: Seconds, left_s: Seconds, energy_kwh: Kwh
    ) -> Stays:
        """With stays that are over; what is too old, or too much, goes."""
        table = (self.who, who), (self.plugged_s, plugged_s), (self.left_s, left_s)
        mine, begin, end = (np.concatenate(pair).astype(np.int64) for pair in table)
        energy = np.concatenate([self.energy_kwh, energy_kwh]).astype(np.float64)
        newest = int(end.max(initial=0))
        order = np.argsort(end, kind="stable")
        order = order[end[order] > newest - KEEP_DAYS * DAY_S][-_MOST:]
        return replace(
            self, who=mine[order], plugged_s=begin[order], left_s=end[order], energy_kwh=energy[order]
        )

    def told_by(self, past: Mapping[str, NDArray[Any]], rows: Rows) -> Stays:
        """With stays that somebody else has kept.

        Args:
            past: ``stay_id`` place in ``rows``, ``stay_plugged_s``, ``stay_left_s`` (-1: none), ``stay_kwh``.
            rows: fleet row of each identity; -1 where not in the registry.
        """
        place = np.full(int(max(self.rows.max(initial=-1), rows.max(initial=-1))) + 2, -1, dtype=np.int64)
        place[self.rows] = np.arange(len(self.rows))
        who, begin, end = place[rows[past["stay_id"]]], past["stay_plugged_s"], past["stay_left_s"]
        over, still = (who >= 0) & (end > begin), (who >= 0) & (end == NEVER_S)
        found = self.with_past(who[over], begin[over], end[over], past["stay_kwh"][over])
        there = who[still]
        since_s, seen, need_kwh = self.since_s.copy(), self.seen.copy(), self.need_kwh.copy()
        since_s[there], seen[there], need_kwh[there] = begin[still], True, past["stay_kwh"][still]
        return replace(found, since_s=since_s, seen=seen, need_kwh=need_kwh)

    def sessions(self, which: Mask) -> Sessions:
        """The newest stays of some vehicles (V,), and those that are not over."""
        at = np.flatnonzero(which[self.who])[-_MOST_ASKED:]
        there = which & self.seen & (self.since_s >= 0)
        return Sessions(
            np.concatenate([self.plugged_s[at], self.since_s[there]]),
            np.concatenate([self.left_s[at], np.full(int(there.sum()), NEVER_S)]),
            np.concatenate([self.energy_kwh[at], np.full(int(there.sum()), np.nan)]),
        )


def leaving(stays: Stays, image: Image, site: Site, rows: Rows) -> Floats:
    """Quantiles 0.1 to 0.9 (n, 9) of the moment at which each vehicle that is there will leave.

    NaN where it has told its departure itself, is away, is not asked about, or nothing is known of its class:
    as ``forecast.flexibility.futures`` takes ``stays_s``.

    Args:
        stays: as seen until the image.
        image: n rows, of the moment.
        site: clock and holidays.
        rows: of the fleet that are asked about.
    """
    found = np.full((image.n, _LEVELS), np.nan)
    asked = (stays.since_s >= 0) & (image.depart_s[stays.rows] == NEVER_S) & np.isin(stays.rows, rows)
    many = np.bincount(stays.who, minlength=len(stays.rows))
    by_vehicle, ends = np.argsort(stays.who, kind="stable"), np.cumsum(many)
    for kind in np.unique(stays.alike[asked]):
        mine = asked & (stays.alike == kind)
        alone, shared = mine & (many >= _FEWEST_OWN), np.flatnonzero(mine & (many < _FEWEST_OWN))
        pool = stays.sessions(stays.alike == kind)
        for k in range(0, len(shared), _AT_ONCE):
            some = shared[k : k + _AT_ONCE]
            found[stays.rows[some]] = stay(pool, site, stays.since_s[some], image.now_s).left_s
        for v in np.flatnonzero(alone).tolist():
            at = by_vehicle[ends[v] - many[v] : ends[v]][-_MOST_ASKED:]
            own = Sessions(stays.plugged_s[at], stays.left_s[at], stays.energy_kwh[at])
            found[stays.rows[v]] = stay(own, site, stays.since_s[[v]], image.now_s).left_s[0]
    return found


def coming(stays: Stays, rows: Rows, site: Site, grid: TimeGrid, now_s: int) -> Coming | None:
    """Vehicles that will come to some rows: what each needs and when it leaves, by the step it comes in.

    Args:
        stays: as seen by now.
        rows: of a plan group.
        site: clock and holidays.
        grid: T steps.
        now_s: the moment.

    Returns:
        By the group's own stays where there are enough, else by those of its classes; None without any.
    """
    mine = np.isin(stays.rows, rows)
    kinds = np.isin(stays.alike, stays.alike[mine])
    # Who is still there tells nothing yet of how long such stay.
    enough = np.count_nonzero(mine[stays.who] & (stays.left_s <= now_s)) >= _FEWEST_ALIKE
    pool = stays.sessions(mine if enough else kinds)
    if not len(pool.plugged_s):
        return None
    seen = stay(pool, site, grid.edges_s[1:], now_s)
    need, left = seen.energy_kwh.mean(axis=1), seen.left_s
    if not (np.isfinite(need).all() and np.isfinite(left).all()):
        return None
    number = _number(stays.sessions(kinds), site, grid, now_s) * mine.sum() / max(int(kinds.sum()), 1)
    return Coming(np.maximum(need, 0.1), left, float(stays.charger_kw[mine].mean()), number)


def _number(pool: Sessions, site: Site, grid: TimeGrid, now_s: int) -> Floats:
    """Mean number (T,) that come in each step; 0 where no whole day was seen.

    Few vehicles come in spikes, of which quantiles say nothing: they are counted in windows of hours.
    """
    first_s = grid.start_s - grid.start_s % _WINDOW_S
    wide = TimeGrid.uniform(first_s, _WINDOW_S, -(-(grid.end_s - first_s) // _WINDOW_S))
    sums = np.append(0.0, np.cumsum(np.nan_to_num(plug_ins(pool, site, wide, now_s)).mean(axis=1)))
    return np.diff(np.interp(grid.edges_s, wide.edges_s, sums))
