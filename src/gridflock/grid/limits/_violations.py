"""Broken limits as columns: voltage, unbalance, current, direction and speed of power."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid._flow import Flow
from gridflock.grid._network import Complex, Float, Network
from gridflock.grid._topology import NEUTRAL
from gridflock.grid._unbalance import UnbalanceBy, unbalance
from gridflock.grid._wiring import MAGNETIC
from gridflock.grid.limits._terminals import WHOLE, Meters, by_phase, conductor_ratings, high_sides, whole
from gridflock.model import Rejected
from gridflock.units import NEVER_S, PHASES, Codes, Mask, Rows, Seconds

Index = NDArray[np.integer]
REVERSE_KW = 0.1
"""Less active power backwards is rounding, not reverse flow."""
_COLUMNS = (np.uint8, np.int32, np.int32, np.int8, np.float64, np.float64, np.float64)


class LimitKind(IntEnum):
    """Which limit is broken; what ``Violations.row`` and ``value`` mean then.

    ``VOLTAGE_LOW``, ``VOLTAGE_HIGH``: node, pu. ``THERMAL``: row of ``branch_blocks``, A.
    ``REVERSE_FLOW``: branch, kW into its first end. ``UNBALANCE``: bus, a share of 1. ``BACK_FEED``:
    transformer, kW into the side of higher voltage. ``RAMP_POWER``: branch, kW per minute into its
    first end. ``RAMP_VOLTAGE``: node, pu per minute.
    """

    VOLTAGE_LOW = 0
    VOLTAGE_HIGH = 1
    THERMAL = 2
    REVERSE_FLOW = 3
    UNBALANCE = 4
    BACK_FEED = 5
    RAMP_POWER = 6
    RAMP_VOLTAGE = 7


_OF_NODES = (LimitKind.VOLTAGE_LOW, LimitKind.VOLTAGE_HIGH, LimitKind.RAMP_VOLTAGE)


@dataclass(frozen=True, slots=True)
class Limits:
    """What a network has to keep. ``math.inf`` (0 for the low voltage) switches a limit off.

    Attributes:
        v_low_pu: lowest voltage of a phase conductor, pu: ANSI C84.1, range A.
        v_high_pu: highest.
        unbalance: largest voltage unbalance of a three-phase bus, a share of 1: ANSI C84.1, annex
            on polyphase voltage unbalance.
        unbalance_by: which definition, ``LINE`` as there; without angles ``PHASE`` is used.
        loading: largest share of the rated current.
        reverse_kw: branch id to the active power, kW, that may flow backwards through it per phase;
            None: next to nothing through every regulator.
        back_feed_kw: active power, kW, that may flow from the low to the high side of any transformer.
        ramp_kw_min: branch id to the largest change of its active power, kW per minute.
        ramp_pu_min: largest change of any phase conductor's voltage, pu per minute.
    """

    v_low_pu: float = 0.95
    v_high_pu: float = 1.05
    unbalance: float = 0.03
    unbalance_by: UnbalanceBy = UnbalanceBy.LINE
    loading: float = 1.0
    reverse_kw: Mapping[str, float] | None = None
    back_feed_kw: float = REVERSE_KW
    ramp_kw_min: Mapping[str, float] = field(default_factory=dict)
    ramp_pu_min: float = np.inf

    def rejected(self, network: Network) -> tuple[Rejected, ...]:
        """What these limits name that the network does not have, and numbers that are no limits."""
        named = (("reverse_kw", self.reverse_kw or {}), ("ramp_kw_min", self.ramp_kw_min))
        known = set(network.branches)
        found = [
            Rejected("limits", column, (name,), f"no branch {name!r} in network {network.name}")
            for column, table in named
            for name in table
            if name not in known
        ]
        numbers = [
            (column, getattr(self, column))
            for column in ("v_low_pu", "v_high_pu", "unbalance", "loading", "back_feed_kw", "ramp_pu_min")
        ]
        numbers += [(column, value) for column, table in named for value in table.values()]
        found += [
            Rejected("limits", column, (), f"{value} is not a number from 0")
            for column, value in numbers
            if not value >= 0.0
        ]
        return tuple(found)


@dataclass(frozen=True, slots=True, eq=False)
class Violations:
    """Broken limits as columns, by kind, worst first within a kind.

    Attributes:
        kind: (k,) ``LimitKind`` code.
        element: k bus or branch ids.
        phase: int8 (k,) 0, 1, 2; 3 for a neutral; -1 where the element as a whole is meant.
        value: (k,) in the unit of the kind.
        limit: (k,) the same unit.
        margin: (k,) distance to the limit in the same unit; negative: by how much it is broken.
        t_s: (k,) when; -1 where no time was given.
        row: (k,) node, row of ``branch_blocks``, branch or bus, as the kind says.
        span_s: (k,) over how many seconds a ramp was seen; NaN for the other kinds.
    """

    kind: Codes
    element: tuple[str, ...]
    phase: NDArray[np.int8]
    value: Float
    limit: Float
    margin: Float
    t_s: Seconds
    row: Rows
    span_s: Float

    def kinds(self) -> tuple[LimitKind, ...]:
        """K kinds, by name."""
        return tuple(LimitKind(code) for code in self.kind.tolist())

    def letters(self) -> tuple[str, ...]:
        """K times ``"a"``, ``"b"``, ``"c"``, ``"n"``, or ``""`` for the element as a whole."""
        return tuple(f"{PHASES}n"[p] if p >= 0 else "" for p in self.phase.tolist())


_DEFAULT = Limits()
Found = tuple[NDArray[Any], ...]
"""Columns kind, step, row, phase, value, limit, margin of one finding."""


def violations(
    network: Network,
    flow: Flow,
    limits: Limits = _DEFAULT,
    *,
    t_s: int = NEVER_S,
    before: Flow | None = None,
    before_s: int = NEVER_S,
) -> Violations:
    """All broken limits of a flow.

    Args:
        network: the feeder.
        flow: a converged flow of it.
        limits: what has to be kept; they must name nothing that ``Limits.rejected`` refuses.
        t_s: when.
        before: an earlier flow, for the limits on change; without one they are not examined.
        before_s: when that was.

    Raises:
        ValueError: ``before`` without two times in order.
    """
    times, spans = np.array([t_s], dtype=np.int64), np.full(1, np.nan)
    found = _of_moments(_series(network, limits, flow.v[None], flow.currents[None]))
    if before is not None:
        both = np.stack([before.v, flow.v]), np.stack([before.currents, flow.currents])
        spans = _spans(np.array([before_s, t_s], dtype=np.int64))[1:]
        found += _of_changes(_series(network, limits, *both), spans)
    return _collected(network, found, times, spans)


def series_violations(
    network: Network,
    t_s: Seconds,
    v: Complex | Float,
    limits: Limits = _DEFAULT,
    currents: Complex | None = None,
) -> Violations:
    """All broken limits of a series of operating points, and of the changes between them.

    Args:
        network: the feeder.
        t_s: int64 (T,) increasing.
        v: (T, n) node voltages: complex, V, or magnitudes, pu. Moments without an answer are NaN
            and break nothing.
        limits: what has to be kept.
        currents: complex (T, c) currents into branches, A, as ``Flow.currents``; with them and
            complex voltages the limits on currents and powers are examined too.

    Raises:
        ValueError: times are not increasing, or currents come without complex voltages.
    """
    times = np.asarray(t_s, dtype=np.int64)
    spans = _spans(times)
    series = _series(network, limits, v, currents)
    found = _of_moments(series)
    found += [(kind, step + 1, *rest) for kind, step, *rest in _of_changes(series, spans[1:])]
    return _collected(network, found, times, spans)


@dataclass(frozen=True, slots=True, eq=False)
class _Series:
    """T operating points: magnitudes (T, n) pu; volts and currents where they are known."""

    network: Network
    limits: Limits
    pu: Float
    volts: Complex | None
    currents: Complex | None

    def kw(self, meters: Meters) -> Float:
        """Active power (T, g) into branches; no meters where there are no currents."""
        if self.volts is None or self.currents is None:
            return np.zeros((len(self.pu), 0))
        return meters.kw(self.network, self.volts, self.currents)


def _series(network: Network, limits: Limits, v: Complex | Float, currents: Complex | None) -> _Series:
    if np.iscomplexobj(v):
        return _Series(network, limits, np.abs(v) / network.v_base, v.astype(np.complex128), currents)
    if currents is not None:
        raise ValueError("currents need complex voltages: magnitudes alone give no power")
    return _Series(network, limits, v.astype(np.float64), None, None)


def _spans(times: Seconds) -> Float:
    """(T,) seconds since the moment before; NaN for the first."""
    spans = np.diff(times.astype(np.float64), prepend=np.nan)
    if (spans[1:] <= 0.0).any() or (len(times) > 1 and times[0] == NEVER_S):
        raise ValueError("the times of a series must be given and increase")
    return spans


@lru_cache(maxsize=8)
def _watched(network: Network) -> tuple[Mask, Rows, Rows]:
    """(n,) live phase conductors; and of the three-phase buses the rows and their nodes (b, 3)."""
    live: Mask = network.topology.live & (network.node_phase < NEUTRAL)
    table = network.node_table()
    full = (table >= 0).all(axis=1) & np.append(live, False)[table].all(axis=1)
    buses = np.flatnonzero(full).astype(np.int32)
    return live, buses, table[buses]


def _of_moments(series: _Series) -> list[Found]:
    """What is broken at each moment by itself."""
    found = [*_of_voltages(series), _of_unbalance(series)]
    if series.currents is not None:
        found += [_overloads(series, series.currents), _reverse(series), _back_feed(series)]
    return found


def _of_voltages(series: _Series) -> Iterator[Found]:
    limits, watched = series.limits, _watched(series.network)[0]
    for kind, broken, limit, sign in (
        (LimitKind.VOLTAGE_LOW, series.pu < limits.v_low_pu, limits.v_low_pu, 1.0),
        (LimitKind.VOLTAGE_HIGH, series.pu > limits.v_high_pu, limits.v_high_pu, -1.0),
    ):
        step, node = np.nonzero(broken & watched)
        value = series.pu[step, node]
        yield _rows(kind, step, node, series.network.node_phase[node], value, limit, sign * (value - limit))


def _of_unbalance(series: _Series) -> Found:
    _, buses, nodes = _watched(series.network)
    if series.volts is None:
        share = unbalance(series.pu[:, nodes], UnbalanceBy.PHASE)
    else:
        share = unbalance(series.volts[:, nodes], series.limits.unbalance_by)
    most = series.limits.unbalance
    step, bus = np.nonzero(share > most)
    value = share[step, bus]
    return _rows(LimitKind.UNBALANCE, step, buses[bus], WHOLE, value, most, most - value)


def _reverse(series: _Series) -> Found:
    network, allowed = series.network, series.limits.reverse_kw
    if allowed is None:
        rows = dict.fromkeys(np.unique(network.regulators.branch).tolist(), REVERSE_KW)
    else:
        rows = {network.branches.index(name): kw for name, kw in allowed.items()}
    meters = by_phase(network, tuple(rows))
    most_kw = np.array([rows[branch] for branch in meters.branch.tolist()])
    return _against(LimitKind.REVERSE_FLOW, meters, series.kw(meters), most_kw)


def _back_feed(series: _Series) -> Found:
    meters = high_sides(series.network)
    most_kw = np.full(len(meters.branch), series.limits.back_feed_kw)
    return _against(LimitKind.BACK_FEED, meters, series.kw(meters), most_kw)


def _against(kind: LimitKind, meters: Meters, kw: Float, most_kw: Float) -> Found:
    """Power beyond ``most_kw`` against the forward direction."""
    step, row = np.nonzero(kw < -most_kw)
    value, limit = kw[step, row], -most_kw[row]
    return _rows(kind, step, meters.branch[row], meters.phase[row], value, limit, value - limit)


def _overloads(series: _Series, currents: Complex) -> Found:
    """One row per moment, element and phase, at its worst conductor; each winding by itself."""
    network = series.network
    blocks = network.branch_blocks
    rating = conductor_ratings(network)
    amps = np.abs(currents)
    step, hot = np.nonzero(amps > rating * series.limits.loading)
    value = amps[step, hot]
    owner, phase = blocks.owner[hot], network.node_phase[blocks.node[hot]]
    wound = np.array([kind in MAGNETIC for kind in network.branch_kind], dtype=np.bool_)
    winding = np.where(wound[owner], blocks.end[hot], 0)
    order = np.lexsort((-value / rating[hot], winding, phase, owner, step))
    place = np.stack([step, owner, phase, winding])[:, order]
    first = np.ones(len(order), dtype=np.bool_)
    first[1:] = (np.diff(place, axis=1) != 0).any(axis=0)
    kept = order[first]
    limit = rating[hot[kept]] * series.limits.loading
    return _rows(
        LimitKind.THERMAL, step[kept], hot[kept], phase[kept], value[kept], limit, limit - value[kept]
    )


def _of_changes(series: _Series, spans: Float) -> list[Found]:
    """What changes too fast; the step of a finding counts from 0 for the second moment."""
    network, limits, minutes = series.network, series.limits, spans[:, None] / 60.0
    found = []
    if np.isfinite(limits.ramp_pu_min):
        speed = np.diff(series.pu, axis=0) / minutes
        step, node = np.nonzero((np.abs(speed) > limits.ramp_pu_min) & _watched(network)[0])
        most = np.full(len(node), limits.ramp_pu_min)
        phases = network.node_phase[node]
        found.append(_too_fast(LimitKind.RAMP_VOLTAGE, step, node, phases, speed[step, node], most))
    if limits.ramp_kw_min and series.currents is not None:
        allowed = {network.branches.index(name): kw for name, kw in limits.ramp_kw_min.items()}
        meters = whole(network, tuple(allowed))
        speed = np.diff(series.kw(meters), axis=0) / minutes
        most = np.array([allowed[branch] for branch in meters.branch.tolist()])
        step, row = np.nonzero(np.abs(speed) > most)
        branch = meters.branch[row]
        found.append(_too_fast(LimitKind.RAMP_POWER, step, branch, WHOLE, speed[step, row], most[row]))
    return found


def _too_fast(
    kind: LimitKind, step: Index, row: Index, phase: Index | int, value: Float, most: Float
) -> Found:
    return _rows(kind, step, row, phase, value, np.sign(value) * most, most - np.abs(value))


def _rows(
    kind: LimitKind,
    step: Index,
    row: Index,
    phase: Index | int,
    value: Float,
    limit: Float | float,
    margin: Float,
) -> Found:
    order = np.argsort(margin, kind="stable")
    columns = (kind, step, row, phase, value, limit, margin)
    return tuple(
        np.broadcast_to(np.asarray(column, dtype=dtype), value.shape)[order]
        for column, dtype in zip(columns, _COLUMNS, strict=True)
    )


def _collected(network: Network, found: list[Found], times: Seconds, spans: Float) -> Violations:
    """One table of all findings."""
    found = sorted(found, key=lambda one: int(one[0][0]) if len(one[0]) else 0)
    kind, step, row, phase, value, limit, margin = (
        np.concatenate(column) for column in zip(*found, strict=True)
    )
    return Violations(
        kind, _elements(network, kind, row), phase, value, limit, margin, times[step], row,
        np.where(kind >= LimitKind.RAMP_POWER, spans[step], np.nan),
    )  # fmt: skip


def _elements(network: Network, kind: Codes, row: Rows) -> tuple[str, ...]:
    """Bus or branch id of each finding."""
    if not len(row):
        return ()
    owner = network.branch_blocks.owner if (kind == LimitKind.THERMAL).any() else row
    names = []
    for code, at in zip(kind.tolist(), row.tolist(), strict=True):
        if code in _OF_NODES:
            names.append(network.buses[network.node_bus[at]])
        elif code == LimitKind.UNBALANCE:
            names.append(network.buses[at])
        else:
            names.append(network.branches[owner[at] if code == LimitKind.THERMAL else at])
    return tuple(names)
