"""What stores must hold: reserve for an outage or a storm, energy at departure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gridflock.model import Flexibility, Rejected
from gridflock.plan.goals._part import Checks, Part, Reading, Setting, nothing
from gridflock.units import Kw, Kwh

_MARGIN_KWH = 1e-5
"""Kept from the edge of what is reachable, so that a band stays one the group can keep."""


def levels(f: Flexibility, p_kw: Kw) -> Kwh:
    """(G, T+1) what each store holds against now when the groups follow ``p_kw`` (G, T)."""
    moved = p_kw - f.base_kw
    gain = f.gain_up[:, None] * np.maximum(moved, 0.0) + f.gain_down[:, None] * np.maximum(-moved, 0.0)
    return np.concatenate([np.zeros((len(f.groups), 1)), np.cumsum(gain * f.grid.hours, axis=1)], axis=1)


def highest(f: Flexibility) -> Kwh:
    """(G, T+1) most each store can hold at each edge, within its powers and its upper band."""
    gain_up, gain_down = np.maximum(f.gain_up, 0.0)[:, None], np.maximum(f.gain_down, 0.0)[:, None]
    rise = (gain_up * f.up_kw + gain_down * f.down_kw) * f.grid.hours
    high = np.zeros((len(f.groups), f.grid.n + 1))
    for t in range(f.grid.n):
        high[:, t + 1] = np.minimum(high[:, t] + rise[:, t], f.x_hi_kwh[:, t + 1])
    return high


def _floored(at: Setting, wanted: Kwh) -> Part:
    """The floor as far as each store can reach it; where there is a band already the higher counts."""
    return replace(nothing(at), floor_kwh=np.minimum(wanted, highest(at.flexibility) - _MARGIN_KWH))


def _missing(at: Setting, wanted: Kwh, p_kw: Kw) -> Kwh:
    """(G,) by how much each store falls short of the floor at worst."""
    missing: Kwh = np.maximum(wanted - levels(at.flexibility, p_kw), 0.0).max(axis=1)
    return np.where(missing > 2 * _MARGIN_KWH, missing, 0.0)


def _store_faults(checks: Checks, name: str, groups: tuple[str, ...]) -> None:
    checks.members(name, groups)
    f = checks.at.flexibility
    held = np.asarray(np.isfinite(f.x_lo_kwh).all(axis=1))
    storeless = [name for name in groups if len(rows := checks.at.rows((name,))) and not held[rows].any()]
    if storeless:
        checks.say(name, "has no store with a lower edge", storeless[:20])


def _within_band(checks: Checks, wanted: Callable[[Setting], Kwh]) -> None:
    if checks.found:
        return
    f = checks.at.flexibility
    above = np.asarray((wanted(checks.at) > f.x_hi_kwh + _MARGIN_KWH).any(axis=1))
    ids = [group for group, is_above in zip(f.groups, above, strict=True) if is_above]
    if ids:
        checks.say("kwh", "more than the store can hold", ids[:20])


def _parts(room: Kwh) -> Kwh:
    """(M, E) part of a sum that each store holds at each edge: of all one, by the room it has."""
    if len(room) == 1:
        return np.ones(room.shape)
    whole = room.sum(axis=0)
    parts: Kwh = np.divide(room, whole, out=np.full_like(room, 1.0 / max(len(room), 1)), where=whole > 0.0)
    return parts


@dataclass(frozen=True, slots=True, eq=False)
class Reserve:
    """Energy kept for a back-up or a coming storm. Form: tightened bound.

    A band is never traded against money or a limit, so neither is the reserve: from ``from_s`` on the
    store holds it, and before that it is filled. What cannot be reached in time is missing and said.

    Attributes:
        kwh: by group, energy above the lower edge of its band, >= 0; of a sum of several divided among
            those that have a store by what each can hold.
        from_s: since when, unix seconds; -inf for always.
        until_s: until when; inf for the end of the horizon, which then is included.
        name: of the goal.
    """

    kwh: Mapping[str, float]
    from_s: float = -np.inf
    until_s: float = np.inf
    name: str = "reserve"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Strangers, groups without a store, energies out of range or above the band, an empty span."""
        checks = Checks(self.name, at)
        _store_faults(checks, "kwh", tuple(self.kwh))
        for value in self.kwh.values():
            checks.number("kwh", value)
        if not self.from_s < self.until_s:
            checks.say("until_s", f"ends at {self.until_s}, not after its start at {self.from_s}")
        elif not self._edges(at).any():
            checks.say("from_s", "empty: no edge of the horizon lies within it")
        if not checks.found:
            self._too_much(checks)
        return checks.result()

    def _too_much(self, checks: Checks) -> None:
        """Say what is more than the stores of a name can hold."""
        f, edges = checks.at.flexibility, self._edges(checks.at)
        for name, value in self.kwh.items():
            here = np.ix_(self._stores(checks.at, name), edges)
            most = float((f.x_hi_kwh[here] - f.x_lo_kwh[here]).sum(axis=0).min())
            if value > most + _MARGIN_KWH:
                checks.say("kwh", f"{value:g} kWh, more than its stores hold: {most:.1f} kWh", (name,))

    def _stores(self, at: Setting, name: str) -> NDArray[np.int64]:
        """Rows of the stores that a name means."""
        f, rows = at.flexibility, at.rows((name,))
        bounded = np.isfinite(f.x_lo_kwh[rows]).all(axis=1)
        if len(rows) > 1:
            bounded &= np.isfinite(f.x_hi_kwh[rows]).all(axis=1)
        return rows[bounded]

    def _edges(self, at: Setting) -> NDArray[np.bool_]:
        edges = at.flexibility.grid.edges_s
        held = (edges >= self.from_s) & (edges < self.until_s)
        held[0] = False  # what is held now is no longer a decision
        return np.asarray(held)

    def _wanted(self, at: Setting) -> Kwh:
        f, edges = at.flexibility, self._edges(at)
        wanted = np.full(f.x_lo_kwh.shape, -np.inf)
        for name, value in self.kwh.items():
            here = np.ix_(self._stores(at, name), edges)
            wanted[here] = f.x_lo_kwh[here] + value * _parts(f.x_hi_kwh[here] - f.x_lo_kwh[here])
        return wanted

    def part(self, at: Setting) -> Part:
        """A higher lower edge."""
        return _floored(at, self._wanted(at))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Energy missing at worst, over all groups."""
        missing = float(_missing(at, self._wanted(at), p_kw).sum())
        return Reading(f"{sum(self.kwh.values()):g} kWh", missing, "kWh missing", float("nan"))


@dataclass(frozen=True, slots=True)
class Need:
    """Energy a vehicle takes in until it leaves.

    Attributes:
        group: who.
        by_s: departure, unix seconds.
        kwh: energy taken in since now, in the store's terms, >= 0.
    """

    group: str
    by_s: float
    kwh: float


@dataclass(frozen=True, slots=True, eq=False)
class Departures:
    """Vehicles leave with what they need; until then the charge may wait. Form: tightened bound.

    Attributes:
        needs: one per departure; of one group at one moment only one.
        name: of the goal.
    """

    needs: tuple[Need, ...]
    name: str = "departures"

    def faults(self, at: Setting) -> tuple[Rejected, ...]:
        """Strangers, energies out of range, moments outside the horizon, needs that contradict."""
        checks = Checks(self.name, at)
        _store_faults(checks, "group", tuple(need.group for need in self.needs))
        edges, said = at.flexibility.grid.edges_s, dict[tuple[str, float], float]()
        for need in self.needs:
            checks.number("kwh", need.kwh)
            if not edges[0] < need.by_s <= edges[-1]:
                checks.say("by_s", f"{need.by_s} is not within the horizon", (need.group,))
            first = said.setdefault((need.group, need.by_s), need.kwh)
            if first != need.kwh:
                checks.say(
                    "needs", f"contradict: {first:g} and {need.kwh:g} kWh by {need.by_s}", (need.group,)
                )
        _within_band(checks, self._wanted)
        return checks.result()

    def _wanted(self, at: Setting) -> Kwh:
        f = at.flexibility
        wanted = np.full(f.x_lo_kwh.shape, -np.inf)
        for need in self.needs:
            # The last edge at or before the departure: what comes after it comes too late.
            edge = int(np.searchsorted(f.grid.edges_s, need.by_s, side="right")) - 1
            if edge > 0:
                rows = at.rows((need.group,))
                wanted[rows, edge] = np.maximum(wanted[rows, edge], need.kwh)
        return wanted

    def part(self, at: Setting) -> Part:
        """A higher lower edge at the moment of departure."""
        return _floored(at, self._wanted(at))

    def reading(self, at: Setting, p_kw: Kw) -> Reading:
        """Energy missing at departures, and how many are missed."""
        missing = _missing(at, self._wanted(at), p_kw)
        facts = {"missed": float((missing > 1e-3).sum()), "departures": float(len(self.needs))}
        asked = f"{sum(need.kwh for need in self.needs):g} kWh"
        return Reading(asked, float(missing.sum()), "kWh missing", float("nan"), facts)
