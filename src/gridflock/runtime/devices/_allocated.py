"""Operating envelopes of single resources, ahead: what limits of groups leave to some of their members.

A limit bounds a group's sum. What the others in it are expected to do is taken off, and the room that is left
is shared among the members that are told, by their ratings. So the group stays within its limit as long as
the others do as expected, whatever those that were told do within their shares. Nobody is ever told to give
or to draw something: where the others alone are beyond the limit, the share is nothing. Who was granted
energy has the power for it before the rest is shared.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridflock.field.ieee2030_5._limiting import Ahead
from gridflock.runtime._loop import Moment
from gridflock.runtime._planning import Planned
from gridflock.runtime._system import System
from gridflock.units import Kw, Mask, Rows, Seconds, TimeGrid

_GRAIN = 0.01
"""Limits are told in such parts of a rating, so that what hardly changes is not told anew."""
_COARSE, _MUCH = 0.05, 0.1
"""Tightened between quarters, in such parts; by more than the second, for all hours to come."""
_QUARTER_S = 900
_SOON = 2
"""Quarters of an hour for which holds what is known for the moment: devices ask again within the second."""
_SITE = "site/"


@dataclass(frozen=True, slots=True, eq=False)
class Bound:
    """A limit on the sum of a group over T steps.

    Attributes:
        rows: fleet rows of its members.
        p_lo_kw: (T,) lowest injection; -inf where there is none.
        p_hi_kw: (T,) highest; inf where there is none.
        others_kw: (T,) what is expected of everybody in it who is not told.
    """

    rows: Rows
    p_lo_kw: Kw
    p_hi_kw: Kw
    others_kw: Kw


def shared(
    bounds: Sequence[Bound], told: Rows, low_kw: Kw, high_kw: Kw, steps: int, granted_kw: Kw | None = None
) -> tuple[Kw, Kw]:
    """Lowest and highest power of each of n resources, (n, T), within its rating and all limits.

    Args:
        bounds: of groups.
        told: (n,) fleet rows of those who are told, ascending.
        low_kw: (n,) their lowest power, never above 0.
        high_kw: (n,) their highest, never below 0.
        steps: T.
        granted_kw: (n, T) what they were granted, injection positive; None = nothing.
    """
    promised_kw = np.zeros((len(told), steps)) if granted_kw is None else granted_kw
    low = np.repeat(np.minimum(low_kw, 0.0)[:, None], steps, axis=1)
    high = np.repeat(np.maximum(high_kw, 0.0)[:, None], steps, axis=1)
    for bound in bounds:
        mine = np.flatnonzero(np.isin(told, bound.rows))
        for kw, of, limit in ((high, high_kw, bound.p_hi_kw), (-low, -low_kw, -bound.p_lo_kw)):
            size = np.maximum(of[mine], 0.0)
            side = 1.0 if kw is high else -1.0
            room = np.clip(limit - side * bound.others_kw, 0.0, size.sum())
            first = np.clip(side * promised_kw[mine], 0.0, size[:, None])
            first *= np.minimum(1.0, room / np.maximum(first.sum(axis=0), 1e-9))
            rest, left = size[:, None] - first, room - first.sum(axis=0)
            share = first + left * rest / np.maximum(rest.sum(axis=0), 1e-9)
            narrowed = np.minimum(kw[mine], share)
            if kw is high:
                high[mine] = narrowed
            else:
                low[mine] = -narrowed
    return -_down(-low, -low_kw), _down(high, high_kw)


def _down(kw: Kw, rated_kw: Kw) -> Kw:
    """Magnitudes in whole grains of a rating, never more."""
    grain = np.maximum(rated_kw, 0.0)[:, None] * _GRAIN
    whole = np.floor(kw / np.maximum(grain, 1e-12) + 1e-6) * grain
    return np.where(grain > 0, np.minimum(whole, kw), 0.0)


def ahead(moment: Moment, system: System, names: Sequence[str], horizon_s: int) -> Ahead:
    """What the plan in force and the limits of this moment leave resources over the hours to come.

    Limits of the feeder's head and of sites hold for all of them, those of voltages, which are known for this
    moment, in this quarter of an hour and the next, before whose end devices ask again.

    Args:
        moment: after a tick.
        system: network, fleet and groups.
        names: resources that are told.
        horizon_s: how far ahead.
    """
    fleet = system.fleet
    told = np.sort(np.array([fleet.row_of[name] for name in names], dtype=np.int32))
    ids = tuple(fleet.ids[row] for row in told.tolist())
    low, high = rated(system, ids)
    edges = _edges(moment.now_s, horizon_s)
    bounds = _bounds(moment, system, told, edges)
    p_lo, p_hi = shared(bounds, told, low, high, len(edges) - 1, _granted(moment, ids, edges))
    return Ahead(ids, edges, p_lo, p_hi)


def _granted(moment: Moment, ids: Sequence[str], edges: Seconds) -> Kw:
    """(n, T) what resources were granted when the plan was made, at its power in every quarter it touches."""
    promised_kw = np.zeros((len(ids), len(edges) - 1))
    place, grid = {name: k for k, name in enumerate(ids)}, TimeGrid(edges)
    for one in () if moment.planned is None else moment.planned.granted:
        if one.resource in place:
            promised_kw[place[one.resource]] += np.where(one.share(grid) > 0.0, one.rate_kw, 0.0)
    return promised_kw


def tightened(known: Ahead, now: Ahead, least_kw: Kw, most_kw: Kw) -> Ahead:
    """What was told with what has become tighter since; ``known`` itself where nothing has.

    A device lists every limit to its end. So what becomes tighter little by little does so in coarse parts of
    a rating and for the next half hour; what is tighter by much, for all hours to come.

    Args:
        known: as told.
        now: of the same resources and quarters.
        least_kw: (n,) their lowest power, never above 0.
        most_kw: (n,) their highest, never below 0.
    """
    p_hi = _cut(known.p_hi_kw, now.p_hi_kw, most_kw)
    p_lo = -_cut(-known.p_lo_kw, -now.p_lo_kw, -least_kw)
    if np.array_equal(p_lo, known.p_lo_kw) and np.array_equal(p_hi, known.p_hi_kw):
        return known
    return replace(now, p_lo_kw=p_lo, p_hi_kw=p_hi)


def _cut(known_kw: Kw, now_kw: Kw, rated_kw: Kw) -> Kw:
    """(n, T) magnitudes, narrowed."""
    part = np.maximum(rated_kw, 1e-9)[:, None] * _COARSE
    coarse = np.maximum(np.floor(now_kw / part + 1e-6) * part, 0.0)
    less_kw = known_kw - now_kw
    taken: Mask = np.asarray(less_kw > 1e-9)
    most_kw: Kw = np.max(less_kw[:, _SOON:], axis=1, initial=0.0)
    far = np.asarray(most_kw > _MUCH * np.maximum(rated_kw, 0.0))
    taken[:, _SOON:] &= far[:, None]
    narrowed: Kw = np.where(taken, np.minimum(coarse, now_kw), known_kw)
    return narrowed


def rated(system: System, names: Sequence[str]) -> tuple[Kw, Kw]:
    """Lowest and highest power of resources, (n,), around nothing."""
    rows, columns = [system.fleet.row_of[name] for name in names], system.fleet.columns
    low = np.minimum(columns["p_min_kw"][rows].astype(np.float64), 0.0)
    return low, np.maximum(columns["p_max_kw"][rows].astype(np.float64), 0.0)


def _edges(now_s: int, horizon_s: int) -> Seconds:
    """Quarters of an hour, this one included."""
    first = now_s - now_s % _QUARTER_S
    return np.arange(first, first + horizon_s + _QUARTER_S + 1, _QUARTER_S, dtype=np.int64)


def _bounds(moment: Moment, system: System, told: Rows, edges: Seconds) -> list[Bound]:
    steps, here = len(edges) - 1, np.arange(len(edges) - 1) < _SOON
    expected = _Expected.of(moment, edges, len(system.fleet.ids))
    found = []
    for envelope in moment.envelopes:
        if not (math.isfinite(envelope.p_lo_kw) or math.isfinite(envelope.p_hi_kw)):
            continue
        rows = system.rows_of[envelope.group]
        lasts = np.ones(steps, dtype=bool) if envelope.group.startswith(_SITE) else here
        low = np.where(lasts, envelope.p_lo_kw, -math.inf)
        high = np.where(lasts, envelope.p_hi_kw, math.inf)
        others = expected.head_less(told) if envelope.group == "all" else expected.sum(rows, told)
        found.append(Bound(rows, low, high, others))
    planned = moment.planned
    if planned is not None:
        at = _at(planned, edges)
        everybody = system.rows_of["all"]
        low, high = -planned.terms.import_limit_kw[at], planned.terms.export_limit_kw[at]
        found.append(Bound(everybody, low, high, expected.head_less(told)))
    return found


def _at(planned: Planned, edges: Seconds) -> Rows:
    """The plan's step of each of ours; where it ends sooner, its last."""
    of = planned.schedule.grid.edges_s
    at = np.searchsorted(of, edges[:-1], side="right") - 1
    return np.clip(at, 0, len(of) - 2).astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class _Expected:
    """What everybody is expected to do, (n, T) as planned, else as it is now; the head (T,) beside."""

    now_kw: Kw
    rows: Rows
    planned_kw: Kw
    head_kw: Kw

    @classmethod
    def of(cls, moment: Moment, edges: Seconds, n: int) -> _Expected:
        steps = len(edges) - 1
        now_kw = np.nan_to_num(np.asarray(moment.image.p_kw, dtype=np.float64))[:n]
        planned = moment.planned
        if planned is None or planned.schedule.shares is None:
            none = np.empty((0, steps))
            return cls(now_kw, np.empty(0, np.int32), none, np.full(steps, moment.head_kw))
        at, shares = _at(planned, edges), planned.schedule.shares
        planned_kw = np.asarray(shares.p_kw, dtype=np.float64)[:, at]
        return cls(now_kw, shares.rows, planned_kw, np.asarray(planned.schedule.net_kw)[at])

    def _of(self, rows: Rows) -> Kw:
        """(T,) sum over some rows."""
        mine = np.isin(self.rows, rows)
        rest = np.setdiff1d(rows, self.rows[mine])
        total: Kw = self.planned_kw[mine].sum(axis=0) + self.now_kw[rest].sum()
        return total

    def sum(self, rows: Rows, told: Rows) -> Kw:
        """(T,) of a group without those who are told."""
        return self._of(np.setdiff1d(rows, told))

    def head_less(self, told: Rows) -> Kw:
        """(T,) at the head without those who are told."""
        less: Kw = self.head_kw - self._of(told)
        return less
