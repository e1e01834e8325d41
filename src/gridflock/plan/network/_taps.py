"""Where regulators and capacitors stand through a day, as a lever beside the devices.

Nodes that the same controls move are a zone; of each zone count its highest and its lowest voltage, as
distances to their limits. What comes nearer than a margin strains, by the square of how much. One control
after the other takes the course of least strain and fewest moves through the day (Bellman's recursion over
blocks of steps), the others held, until none wants another. Voltages are linear in positions there; the
course is taken only if exact AC says that it is less strained. Two days count at once: that of a plan, and
the one without devices, which is never to break more limits than before, so that there is always a way back.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import solve
from gridflock.grid._controls import capacitor_modes, most_taps
from gridflock.grid._network import CapacitorMode, Complex, Float
from gridflock.plan.network._exact import Exact, Points
from gridflock.plan.network._feeder import Feeder
from gridflock.plan.network._verdict import V_COUNTS_PU, Limits
from gridflock.units import Mask, Rows

Index = NDArray[np.int64]
MOVES = 0.3
"""A control moves nodes with at least this part of its largest effect."""
WITHOUT = (1.0, 8.0, 64.0)
"""Weights tried for the day without devices, until it breaks no more limits than before."""
SWEEPS = 6


@dataclass(frozen=True, slots=True)
class Levers:
    """How taps and capacitors take part.

    Attributes:
        rounds: of the loop, before which their course is chosen anew.
        block: steps within which they stand still.
        margin_pu: distance to a limit from which on a zone is not strained.
        move: strain that one position of a regulator is worth; a zone at its limit in one step strains 1.
        switch: that switching a capacitor is worth.
        reach: positions from where a regulator stands that are looked at.
    """

    rounds: tuple[int, ...] = (1, 3)
    block: int = 4
    margin_pu: float = 0.01
    move: float = 2.0
    switch: float = 20.0
    reach: int = 8


@dataclass(frozen=True, slots=True, eq=False)
class Standing:
    """A feeder with its taps' course, its power flow, and the day without devices there."""

    feeder: Feeder
    exact: Exact
    without: Points

    @classmethod
    def of(cls, feeder: Feeder, exact: Exact | None = None) -> Standing:
        """The day without devices solved."""
        exact = exact or Exact(feeder)
        still = np.zeros((feeder.ports, feeder.steps))
        return cls(feeder, exact, exact.points(still, still))


@dataclass(frozen=True, slots=True, eq=False)
class _Zones:
    """What controls can move. C controls (regulators, then capacitors), Z zones of n nodes.

    Attributes:
        effect: (C, n) change of a voltage by one position, pu.
        first: (Z,) where the nodes of each zone begin in ``order``.
        order: nodes by zone.
        moves: (C, Z) which controls move which zones.
    """

    effect: Float
    first: Index
    order: Index
    moves: Mask


def moved(now: Standing, limits: Limits, p_kw: Float, q_kvar: Float, how: Levers) -> Standing:
    """Taps and capacitors where they strain a plan's day least; as they stand where that is no better.

    Args:
        now: the feeder as it stands.
        limits: what is to be kept.
        p_kw: (k, T) active power at the device ports.
        q_kvar: (k, T) reactive power.
        how: margins and what a move is worth.
    """
    points = now.exact.points(p_kw, q_kvar)
    zones = _zones(now.feeder, p_kw, q_kvar)
    if zones is None or not points.solved.any():
        return now
    days = points, now.without
    strain, broken = _exact_strain(now.feeder, zones, limits, days, how), _broken(now, limits)
    for weight in WITHOUT:
        course = _course(now.feeder, zones, limits, days, (1.0, weight), how)
        k = len(now.feeder.network.regulators.ids)
        tried = Standing.of(now.feeder.acting(course[:, :k].astype(np.int8), course[:, k:] != 0))
        if _broken(tried, limits) > broken:
            continue
        found = tried.exact.points(p_kw, q_kvar), tried.without
        better = _exact_strain(tried.feeder, zones, limits, found, how) < strain
        return tried if better and found[0].solved.sum() >= points.solved.sum() else now
    return now


# ---- what controls can do ----------------------------------------------------------------------------


def _ranges(feeder: Feeder) -> tuple[Index, Index]:
    """(C,) lowest and highest position of every control; its own where it cannot be moved."""
    network, begin = feeder.network, feeder.state
    reg, fixed = network.regulators, capacitor_modes(network) == CapacitorMode.FIXED
    rests = most_taps(network) == 0
    low = np.concatenate([np.where(rests, begin.taps, reg.tap_low), np.where(fixed, begin.cap_on, 0)])
    high = np.concatenate([np.where(rests, begin.taps, reg.tap_high), np.where(fixed, begin.cap_on, 1)])
    return low.astype(np.int64), high.astype(np.int64)


def _zones(feeder: Feeder, p_kw: Float, q_kvar: Float) -> _Zones | None:
    """Effects at the mean of a plan's day; None where nothing can be moved, or that has no solution."""
    network = feeder.network
    powers = feeder.powers(p_kw, q_kvar).mean(axis=0)
    low, high = _ranges(feeder)
    here = np.rint(_positions(feeder).mean(axis=0)).astype(np.int64)
    mean = _solved(feeder, here, powers)
    effect = np.zeros((len(low), network.n))
    for c in np.flatnonzero(low < high).tolist():
        way = 1 if here[c] < high[c] else -1
        there = here.copy()
        there[c] += way
        effect[c] = way * (_solved(feeder, there, powers) - mean)
    most = np.abs(effect).max(axis=1, keepdims=True)
    if not (np.isfinite(effect).all() and most.any()):
        return None
    mine = (np.abs(effect) > MOVES * most) & (most > 0.0)
    kinds, zone = np.unique(mine, axis=1, return_inverse=True)
    order = np.argsort(zone, kind="stable").astype(np.int64)
    first = np.searchsorted(zone[order], np.arange(kinds.shape[1])).astype(np.int64)
    return _Zones(effect, first, order, kinds)


def _solved(feeder: Feeder, positions: Index, powers: Complex) -> Float:
    """(n,) voltages, pu."""
    k = feeder.taps.shape[1]
    course = np.repeat(positions[None], feeder.steps, axis=0)
    state = feeder.acting(course[:, :k].astype(np.int8), course[:, k:] != 0).state_at(0)
    flow = solve(feeder.network, powers, np.zeros(feeder.network.n, dtype=np.complex128), state)
    size: Float = flow.v_pu if flow.converged else np.full(feeder.network.n, np.nan)
    return size


def _positions(feeder: Feeder) -> Index:
    """(T, C) where all controls stand."""
    return np.concatenate([feeder.taps, feeder.cap_on], axis=1).astype(np.int64)


# ---- strain ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, eq=False)
class _Extremes:
    """The (T, Z) voltages nearest to or furthest beyond their limits, pu beyond them, and which nodes."""

    beyond: Float
    node: Rows
    sense: float


def _extremes(feeder: Feeder, zones: _Zones, limits: Limits, points: Points) -> tuple[_Extremes, _Extremes]:
    """Of the upper and of the lower limits; steps without a solution strain nothing."""
    size = np.abs(points.v) / feeder.network.v_base
    beyond = size - limits.v_high_pu, limits.v_low_pu - size
    found = []
    for value, sense in zip(beyond, (1.0, -1.0), strict=True):
        sorted_ = np.nan_to_num(value[:, zones.order], nan=-1.0, neginf=-1.0)
        most = np.maximum.reduceat(sorted_, zones.first, axis=1)
        parts = np.split(sorted_, zones.first[1:], axis=1)
        at = np.stack([part.argmax(axis=1) for part in parts], axis=1) + zones.first
        found.append(_Extremes(most, zones.order[at].astype(np.int32), sense))
    return found[0], found[1]


def _strain(beyond: Float, margin_pu: float) -> Float:
    """Of distances beyond limits: 0 a margin inside, 1 at the limit."""
    inside: Float = np.maximum(beyond + margin_pu, 0.0) / margin_pu
    return inside * inside


def _exact_strain(
    feeder: Feeder, zones: _Zones, limits: Limits, days: tuple[Points, Points], how: Levers
) -> float:
    """Of a plan's day and the day without devices, and of the moves."""
    moves = how.move * feeder.tap_moves + how.switch * feeder.cap_moves
    extremes = [both for points in days for both in _extremes(feeder, zones, limits, points)]
    return moves + sum(float(_strain(one.beyond, how.margin_pu).sum()) for one in extremes)


def _broken(of: Standing, limits: Limits) -> int:
    """How many voltages of the day without devices break a limit; all of a step without solution."""
    size = np.abs(of.without.v) / of.feeder.network.v_base
    kept = (size <= limits.v_high_pu + V_COUNTS_PU) & (size >= limits.v_low_pu - V_COUNTS_PU)
    return int((~kept).sum())


# ---- the course --------------------------------------------------------------------------------------


@dataclass(slots=True, eq=False)
class _Course:
    """Positions through the day that change one control after the other, and what strains there.

    Attributes:
        zones: what controls can move.
        margin_pu: distance to a limit from which on a zone is not strained.
        position: (T, C).
        extremes: of all days, of upper and of lower limits.
        weight: of each of these.
    """

    zones: _Zones
    margin_pu: float
    position: Index
    extremes: list[_Extremes]
    weight: list[float]

    def strain(self, control: int, choice: Index) -> Float:
        """(T, Q) of the zones a control moves, were it at each of some positions."""
        mine, effect = self.zones.moves[control], self.zones.effect[control]
        away = choice[None, None, :] - self.position[:, control, None, None]
        strain = np.zeros((len(self.position), len(choice)))
        for one, weight in zip(self.extremes, self.weight, strict=True):
            slope = one.sense * effect[one.node[:, mine]]
            reached = one.beyond[:, mine, None] + slope[:, :, None] * away
            strain += weight * _strain(reached, self.margin_pu).sum(axis=1)
        return strain

    def take(self, control: int, column: Index) -> bool:
        """Go on with a control at other positions (T,); whether they are."""
        away = (column - self.position[:, control])[:, None]
        for one in self.extremes:
            one.beyond[:] += one.sense * self.zones.effect[control][one.node] * away
        self.position[:, control] = column
        return bool(away.any())


def _course(
    feeder: Feeder,
    zones: _Zones,
    limits: Limits,
    days: tuple[Points, Points],
    weights: tuple[float, float],
    how: Levers,
) -> Index:
    """(T, C) positions, one control after the other taking its best course until none wants another."""
    extremes = [one for points in days for one in _extremes(feeder, zones, limits, points)]
    found = _Course(zones, how.margin_pu, _positions(feeder), extremes, np.repeat(weights, 2).tolist())
    low, high = _ranges(feeder)
    before, blocks = _before(feeder), np.arange(0, feeder.steps, how.block)
    worth = np.repeat([how.move, how.switch], [feeder.taps.shape[1], feeder.cap_on.shape[1]])
    for _ in range(SWEEPS):
        changed = False
        for c in np.flatnonzero(low < high).tolist():
            column = found.position[:, c]
            least, most = max(low[c], column.min() - how.reach), min(high[c], column.max() + how.reach)
            choice = np.arange(least, most + 1)
            strain = np.add.reduceat(found.strain(c, choice), blocks, axis=0)
            path = _least(strain, choice, int(before[c]), float(worth[c]))
            best = np.repeat(choice[path], np.diff(np.append(blocks, feeder.steps)))
            changed = found.take(c, best) or changed
        if not changed:
            break
    return found.position


def _before(feeder: Feeder) -> Index:
    """(C,) where all controls stand before the day."""
    return np.concatenate([feeder.state.taps, feeder.state.cap_on]).astype(np.int64)


def _least(strain: Float, choice: Index, before: int, move: float) -> Index:
    """(B,) which choice in each block: least strain (B, Q) and moves, Bellman's recursion from the end."""
    way = move * np.abs(choice[:, None] - choice[None, :])
    ahead = strain[-1].copy()
    following = np.zeros(strain.shape, dtype=np.int64)
    for block in range(len(strain) - 2, -1, -1):
        total = way + ahead[None, :]
        following[block] = total.argmin(axis=1)
        ahead = strain[block] + total.min(axis=1)
    path = np.empty(len(strain), dtype=np.int64)
    path[0] = int((move * np.abs(choice - before) + ahead).argmin())
    for block in range(1, len(strain)):
        path[block] = following[block - 1][path[block - 1]]
    return path
