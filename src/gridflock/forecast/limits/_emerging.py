"""Which limits will break, how likely, when, and who could prevent it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast.limits._placed import Complex, Placed
from gridflock.grid import Batch, ControlState, LimitKind, Network, Violations, linearise, solve, violations
from gridflock.grid._admittance import admittance
from gridflock.grid._wiring import MAGNETIC
from gridflock.grid.limits import Limits, Resources, attribute, conductor_ratings
from gridflock.units import Codes, Kw, Rows, Seconds, TimeGrid

Floats = NDArray[np.float64]
Spread = Callable[[Callable[[int], Any], Iterable[int]], Iterable[Any]]

_CELLS = 8_000_000
"""Node voltages of one part of the scenarios that are held at once."""
_KEPT = 0.9
"""Share of paths that prevention is to keep inside the limit."""
_MOST = 40
"""Limits whose helpers are looked for, the likeliest first."""


@dataclass(frozen=True, slots=True)
class Helper:
    """A resource that could prevent a violation.

    Attributes:
        resource: its id.
        move_kw: change of its active power, house sign.
        relief: what that takes off the excess, in the limit's unit.
    """

    resource: str
    move_kw: float
    relief: float


@dataclass(frozen=True, slots=True, eq=False)
class Emerging:
    """Limits that may break within the horizon, the likeliest first.

    Attributes:
        kind: (E,) ``LimitKind`` code: voltage low, voltage high, thermal.
        element: E names: a node's, or a branch's.
        row: (E,) node, or row of ``branch_blocks``: the first of an element's conductors of one phase and
            winding, the worst of which counts.
        chance: (E,) share of paths that break the limit at any step.
        by_step: (E, T) share that break it in each step.
        from_s: (E,) start of the step by which half of the breaking paths have broken it.
        excess: (E,) pu or A: the worst of nine paths in ten goes no further beyond.
        need_kw: (E,) kW of change that would keep nine paths in ten inside; NaN where all helpers together
            do not suffice, where nobody was named, and beyond the first forty limits.
        helpers: E tuples, the most effective first, as many as are needed or there are.
        unsolved: share of path steps without a power-flow answer. They are counted at no limit: beyond
            the last point that a network can carry all of them are broken, so add it to any chance.
    """

    kind: Codes
    element: tuple[str, ...]
    row: Rows
    chance: Floats
    by_step: Floats
    from_s: Seconds
    excess: Floats
    need_kw: Kw
    helpers: tuple[tuple[Helper, ...], ...]
    unsolved: float


def emerging(
    network: Network,
    state: ControlState | Sequence[ControlState],
    placed: Placed,
    paths_kw: Kw,
    grid: TimeGrid,
    limits: Limits,
    *,
    resources: Resources | None = None,
    least: float = 0.02,
    spread: Spread = map,
) -> Emerging:
    """Solve every step of joint paths and count what breaks.

    Taps and capacitors stay where they are told to be: they answer no path of its own.

    Args:
        network: the feeder.
        state: its controls: held throughout, or where they will be in each of the T steps.
        placed: where the series flow in.
        paths_kw: (K, S, T) joint paths.
        grid: the T steps.
        limits: voltages and the share of rated currents to keep; the others are not looked at.
        resources: who could help, with their room, taken to last until then; None: nobody is named.
        least: chance below which a limit is not listed.
        spread: ``map``, or a thread pool's.

    Raises:
        ValueError: paths of other series or steps, or none; controls of other steps.
    """
    if paths_kw.ndim != 3 or paths_kw.shape[1:] != (len(placed.series), grid.n) or not paths_kw.size:
        raise ValueError(
            f"paths of shape {paths_kw.shape} for {len(placed.series)} series over {grid.n} steps"
        )
    states = [state] * grid.n if isinstance(state, ControlState) else list(state)
    if len(states) != grid.n:
        raise ValueError(f"controls of {len(states)} steps for {grid.n}")
    stretches = _stretches(states)
    tally = _Tally(network, stretches, limits, len(paths_kw), grid.n)
    mean = placed.powers(paths_kw.mean(axis=(0, 2))[None])[0][0]
    batches = [Batch(network, one, mean, placed.nodes) for one, _ in stretches]
    per = max(1, _CELLS // (network.n * grid.n))
    nodes = np.arange(network.n, dtype=np.int32)
    for first in range(0, len(paths_kw), per):
        part = paths_kw[first : first + per]
        volts = []
        for batch, (_, steps) in zip(batches, stretches, strict=True):
            some = part[:, :, steps]
            loads, inject = placed.powers(some.transpose(0, 2, 1).reshape(-1, part.shape[1]))
            volts.append(batch.solve(loads, inject, nodes=nodes, spread=spread).v)
        tally.add(first, volts, len(part))
    rows = tally.listed(least)
    prevented = [
        _prevented(network, states, placed, paths_kw, tally, row, limits, resources)
        if k < _MOST
        else (np.nan, ())
        for k, row in enumerate(rows.tolist())
    ]
    return Emerging(
        tally.kind[rows],
        tuple(tally.names(rows)),
        tally.row[rows],
        tally.chance[rows],
        tally.broken[:, rows].T / tally.paths,
        grid.starts_s[tally.half(rows)],
        tally.excess(rows),
        np.array([need for need, _ in prevented], dtype=np.float64),
        tuple(helpers for _, helpers in prevented),
        float(tally.unsolved) / (tally.paths * grid.n),
    )


_Stretch = tuple[ControlState, NDArray[np.int64]]


def _stretches(states: Sequence[ControlState]) -> list[_Stretch]:
    """The steps of each state of the controls."""
    found: dict[bytes, tuple[ControlState, list[int]]] = {}
    for step, state in enumerate(states):
        mark = state.taps.tobytes() + state.cap_on.tobytes()
        found.setdefault(mark, (state, []))[1].append(step)
    return [(state, np.array(steps, dtype=np.int64)) for state, steps in found.values()]


class _Tally:
    """What breaks, path by path: low and high voltages of every live phase node, every rated conductor."""

    def __init__(
        self, network: Network, stretches: Sequence[_Stretch], limits: Limits, paths: int, steps: int
    ) -> None:
        self.network, self.paths, self.unsolved = network, paths, 0
        phase = np.flatnonzero(network.topology.live & (network.node_phase < 3)).astype(np.int32)
        rated = conductor_ratings(network) * limits.loading
        live = np.append(network.topology.live, np.False_)[network.branch_blocks.node]
        wires, self._wire = _bundled(network, np.flatnonzero(np.isfinite(rated) & live))
        sizes = [len(phase), len(phase), len(self._wire)]
        codes = [LimitKind.VOLTAGE_LOW, LimitKind.VOLTAGE_HIGH, LimitKind.THERMAL]
        self.kind = np.repeat(np.array(codes, dtype=np.uint8), sizes)
        self.row = np.concatenate([phase, phase, wires[self._wire]]).astype(np.int32)
        self._phase, self._most_a, self._limits = phase, rated[wires], limits
        self._stretches = [
            (admittance(network, state).to_currents[wires], steps) for state, steps in stretches
        ]
        self.broken = np.zeros((steps, len(self.row)), dtype=np.int64)
        self._first = np.zeros((steps, len(self.row)), dtype=np.int64)
        self._worst = np.full((paths, len(self.row)), -np.inf, dtype=np.float32)
        self._worst_at = np.zeros((paths, len(self.row)), dtype=np.int32)

    def add(self, first: int, volts: Sequence[Complex], count: int) -> None:
        """Count paths ``first`` and after, with voltages (count·t, n) of the t steps of each stretch."""
        beyond = np.empty((count, len(self.broken), len(self.row)))
        for v, (through, steps) in zip(volts, self._stretches, strict=True):
            beyond[:, steps] = self._beyond(v, through).reshape(count, len(steps), -1)
        broken = beyond > 0.0
        self.broken += broken.sum(axis=0)
        ever = broken.any(axis=1)
        start = broken.argmax(axis=1)
        path, limit = np.nonzero(ever)
        np.add.at(self._first, (start[path, limit], limit), 1)
        self._worst[first : first + count] = beyond.max(axis=1)
        self._worst_at[first : first + count] = beyond.argmax(axis=1)

    def _beyond(self, v: Complex, through: Any) -> Floats:  # noqa: ANN401 - a sparse matrix
        """By how much each limit is broken at voltages (N, n); -inf where there are none."""
        pu = np.abs(v[:, self._phase]) / self.network.v_base[self._phase]
        amps = np.abs((through @ np.ascontiguousarray(v.T)).T)
        low, high = self._limits.v_low_pu - pu, pu - self._limits.v_high_pu
        hot = np.maximum.reduceat(amps - self._most_a, self._wire, axis=1) if len(self._wire) else amps
        beyond = np.concatenate([low, high, hot], axis=1)
        solved = np.isfinite(beyond[:, 0]) if beyond.shape[1] else np.ones(len(v), dtype=np.bool_)
        self.unsolved += int((~solved).sum())
        return np.where(solved[:, None], beyond, -np.inf)

    @property
    def chance(self) -> Floats:
        """Share of paths that break each limit."""
        return np.asarray(self._first.sum(axis=0) / self.paths)

    def listed(self, least: float) -> NDArray[np.int64]:
        """Limits that are likely enough, likeliest first."""
        rows = np.flatnonzero((self.chance >= least) & (self.chance > 0.0))
        return rows[np.argsort(-self.chance[rows], kind="stable")]

    def half(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Step by which half of the breaking paths have broken each."""
        so_far = np.cumsum(self._first[:, rows], axis=0)
        return np.asarray((2 * so_far >= so_far[-1]).argmax(axis=0), dtype=np.int64)

    def excess(self, rows: NDArray[np.int64]) -> Floats:
        """How far beyond nine paths in ten stay, at least 0."""
        worst = np.sort(self._worst[:, rows], axis=0)
        return np.asarray(np.maximum(worst[self._rank], 0.0), dtype=np.float64)

    def at(self, row: int) -> tuple[int, int]:
        """Path and step of that excess."""
        path = int(np.argsort(self._worst[:, row], kind="stable")[self._rank])
        return path, int(self._worst_at[path, row])

    @property
    def _rank(self) -> int:
        return min(int(np.ceil(_KEPT * self.paths)), self.paths) - 1

    def among(self, limit: int, found: Violations) -> NDArray[np.int64]:
        """Rows of violations of one flow that are of this limit."""
        alike = np.flatnonzero(found.kind == self.kind[limit])
        if self.kind[limit] != LimitKind.THERMAL:
            return np.asarray(alike[found.row[alike] == self.row[limit]])
        blocks, row = self.network.branch_blocks, self.row[limit]
        phase = self.network.node_phase[blocks.node]
        same = (blocks.owner[found.row[alike]] == blocks.owner[row]) & (phase[found.row[alike]] == phase[row])
        return np.asarray(alike[same])

    def names(self, rows: NDArray[np.int64]) -> list[str]:
        """Nodes and branches by name."""
        blocks, net = self.network.branch_blocks, self.network
        return [
            net.branches[blocks.owner[self.row[r]]]
            if self.kind[r] == LimitKind.THERMAL
            else net.node_name(int(self.row[r]))
            for r in rows.tolist()
        ]


def _bundled(network: Network, wires: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Conductors of one element, phase and winding beside each other, and where each bundle begins."""
    blocks = network.branch_blocks
    wound = np.array([kind in MAGNETIC for kind in network.branch_kind], dtype=np.bool_)[blocks.owner[wires]]
    winding = np.where(wound, blocks.end[wires], 0)
    key = np.stack([winding, network.node_phase[blocks.node[wires]], blocks.owner[wires]])
    order = np.lexsort(key)
    new = np.append(True, (np.diff(key[:, order], axis=1) != 0).any(axis=0)) if len(order) else order
    return wires[order], np.flatnonzero(new)


def _prevented(
    network: Network,
    states: Sequence[ControlState],
    placed: Placed,
    paths_kw: Kw,
    tally: _Tally,
    limit: int,
    limits: Limits,
    resources: Resources | None,
) -> tuple[float, tuple[Helper, ...]]:
    """What would keep nine paths in ten inside one limit, and who has it, most effective first."""
    if resources is None:
        return np.nan, ()
    path, step = tally.at(limit)
    loads, inject = placed.powers(paths_kw[path, :, step][None])
    still = np.zeros(network.n, dtype=np.complex128)
    np.add.at(still, placed.nodes, inject[0])
    flow = solve(network, loads[0], still, states[step])
    if not flow.converged:
        return np.nan, ()
    found = violations(network, flow, limits)
    here = tally.among(limit, found)
    if not len(here):
        return 0.0, ()
    one = type(found)(*(_of(getattr(found, name), here[:1]) for name in found.__slots__))
    said = attribute(linearise(flow), one, resources, most=len(resources.ids))
    worse = -1.0 if tally.kind[limit] == LimitKind.VOLTAGE_LOW else 1.0
    by = worse * said.by_kw
    rows = said.resource
    move = np.where(by > 0.0, -np.asarray(resources.p_down_kw)[rows], np.asarray(resources.p_up_kw)[rows])
    return _taken(
        float(said.excess[0]), -by * move, move, [resources.ids[r] for r in rows.tolist()], np.abs(by)
    )


def _taken(
    excess: float, relief: Floats, move: Floats, ids: list[str], effect: Floats
) -> tuple[float, tuple[Helper, ...]]:
    """The fewest kW: the most effective first, until the excess is gone."""
    helpers, left = [], excess
    for k in np.lexsort((np.arange(len(ids)), -effect)).tolist():
        if left <= 0.0 or relief[k] <= 0.0:
            continue
        share = min(1.0, left / relief[k])
        helpers.append(Helper(ids[k], float(share * move[k]), float(share * relief[k])))
        left -= share * relief[k]
    need = sum(abs(helper.move_kw) for helper in helpers) if left <= 1e-9 * max(excess, 1.0) else np.nan
    return need, tuple(helpers)


def _of(column: Any, rows: NDArray[np.int64]) -> Any:  # noqa: ANN401 - a column of arrays or names
    return tuple(column[r] for r in rows.tolist()) if isinstance(column, tuple) else column[rows]
