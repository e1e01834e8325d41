"""Where feedback is tried: a feeder with devices at one sunny moment, its limits and true sensitivities.

Devices are those of ``_network_world``. A voltage or current that is outside its limit even without any
device keeps what it has then as its limit: nothing that devices do could be asked to mend the feeder itself.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.bench._network_world import World
from gridflock.dispatch.feedback import Quantity
from gridflock.grid import Flow, linearise, solve
from gridflock.grid._network import Complex, Float
from gridflock.grid._topology import NEUTRAL
from gridflock.grid.limits._terminals import conductor_ratings
from gridflock.plan.network._derivatives import Derivatives
from gridflock.plan.network._feeder import Feeder
from gridflock.units import PHASES, Codes, Kvar, Kw, Mask, Rows

SUN = 0.9
"""Of the panels' peak."""
STEP = 4
"""Quarter-hour of the world's day, from noon."""
BAND_PU = (0.95, 1.05)
ROOM_PU, ROOM = 2e-3, 0.02
"""Beyond what a row without devices has, where that is outside its limit."""
MOST_LINES = 150
LOADED = 0.05
"""Conductors are watched from this part of their rating on, the most loaded first."""
SAY = 0.5
"""Of what flows in a line: devices must be able to move so much of it for its limit to be theirs."""
SAY_PU = 0.02
"""The same of a voltage: one that all devices together move by less is the substation's."""
AROUND = np.exp(2j * np.pi * np.arange(16) / 16.0)
"""Directions in which feedback sees a current: there it follows powers linearly all the way, while its size
follows them like a V and may turn round."""
INSIDE = np.cos(np.pi / len(AROUND))
"""A current that is so much of its limit in every direction is within it."""


@dataclass(frozen=True, slots=True, eq=False)
class Fleet:
    """Devices at the moment, n of them.

    Attributes:
        kind: of each.
        place: (n,) its port.
        low_kw: (n,) lowest power.
        high_kw: (n,) highest; of panels what the sun offers.
        wanted_kw: (n,) target without feedback.
        s_kva: (n,) rating of its inverter; 0 without one.
    """

    kind: tuple[str, ...]
    place: Rows
    low_kw: Kw
    high_kw: Kw
    wanted_kw: Kw
    s_kva: Float

    def of(self, kind: str) -> Mask:
        """(n,) devices of a kind."""
        return np.array([one == kind for one in self.kind], dtype=np.bool_)


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """A feeder at the moment, m quantities watched.

    Attributes:
        feeder: with its device ports; taps and capacitors are held.
        fleet: the devices.
        load_kva: complex (L,) loads.
        flow: solved with every device at its target.
        nodes: nodes whose voltage is watched.
        lines: rows of ``branch_blocks`` whose current is.
        names: m
        quantity: (m,) ``Quantity``; the feeder head's power is the last row.
        low: (m,) limits.
        high: (m,)
        by_kw: float32 (m, ports) true sensitivities.
        by_kvar: float32 (m, ports)
    """

    feeder: Feeder
    fleet: Fleet
    load_kva: Complex
    flow: Flow
    nodes: Rows
    lines: Rows
    names: tuple[str, ...]
    quantity: Codes
    low: Float
    high: Float
    by_kw: Float
    by_kvar: Float

    def values(self, flow: Flow) -> Float:
        """(m,) true quantities of a flow: voltages, currents, their parts in each direction, the head."""
        turned, head = _turned(flow, self.lines), [flow.head_kva.sum().real]
        parts = (np.conj(AROUND)[:, None] * turned).real.ravel()
        return np.concatenate([flow.v_pu[self.nodes], np.abs(turned), parts, head])

    def seen(self) -> Rows:
        """Rows that feedback sees: all but the sizes of currents."""
        first, many = len(self.nodes), len(self.lines)
        return np.delete(np.arange(len(self.names), dtype=np.int32), slice(first, first + many))

    def of_line(self, line: int) -> Rows:
        """Rows that are about a line of ``lines``: its current and all its directions."""
        first, many = len(self.nodes), len(self.lines)
        return first + line + many * np.arange(1 + len(AROUND), dtype=np.int32)


def fleet(world: World, seed: int) -> Fleet:
    """The devices at a sunny moment: half the vehicles charge, batteries are anywhere."""
    rng = np.random.default_rng([seed, 31])
    n = len(world.kind)
    pv, ev, battery = (world.of(kind) for kind in ("pv", "vehicle", "battery"))
    size = np.where(pv | battery, world.s_kva / 1.1, world.flexibility.down_kw.max(axis=1))
    sun = SUN * size * rng.uniform(0.9, 1.0, n)
    charging = np.where(rng.random(n) < 0.5, -0.6 * size, 0.0)
    wanted = np.where(pv, sun, np.where(ev, charging, rng.uniform(-0.5, 0.5, n) * size))
    high = np.where(pv, sun, np.where(ev, 0.0, size))
    return Fleet(world.kind, world.place, np.where(pv, 0.0, -size), high, wanted, world.s_kva)


def flow_of(
    feeder: Feeder, fleet: Fleet, load_kva: Complex, p_kw: Kw, q_kvar: Kvar, start: Flow | None
) -> Flow:
    """The flow with devices at some powers."""
    net = feeder.network
    port = np.bincount(fleet.place, p_kw, minlength=feeder.ports) + 1j * np.bincount(
        fleet.place, q_kvar, minlength=feeder.ports
    )
    powers = np.concatenate([load_kva, feeder.spread @ port])
    return solve(net, powers, np.zeros(net.n, dtype=np.complex128), feeder.state, start)


def point(world: World, of: Fleet, load_share: float, source: float = 1.0) -> Point:
    """The feeder with its devices at their targets.

    Args:
        world: feeder and devices.
        of: the devices at the moment.
        load_share: the feeder's load as a part of what its day has then.
        source: voltage behind the feeder head as a part of the file's.

    Raises:
        ArithmeticError: the flow has no solution.
    """
    net = world.feeder.network
    feeder = replace(world.feeder, network=replace(net, source_v=source * net.source_v))
    load = feeder.load_kva[STEP] * load_share
    still = np.zeros(len(of.place))
    flow = flow_of(feeder, of, load, of.wanted_kw, still, None)
    without = flow_of(feeder, of, load, still, still, None)
    if not (flow.converged and without.converged):
        raise ArithmeticError(f"network {feeder.network.name}: no flow at {load_share:g} of its load")
    net = feeder.network
    watched = net.topology.live & (net.node_phase < NEUTRAL)
    watched[net.source_nodes] = False
    nodes = np.flatnonzero(watched).astype(np.int32)
    lines = _lines(flow)
    lines = lines[_has_say(feeder, of, flow, lines)]
    around = (1 + len(AROUND)) * len(lines)
    by_kw, by_kvar = _sensitivities(feeder, flow, nodes, lines)
    span = np.bincount(of.place, of.high_kw - of.low_kw, minlength=feeder.ports)
    moved = np.abs(by_kw[: len(nodes)]) @ span > SAY_PU
    nodes, kept = nodes[moved], np.append(moved, np.ones(around + 1, dtype=np.bool_))
    by_kw, by_kvar = by_kw[kept], by_kvar[kept]
    volts, amps = without.v_pu[nodes], np.abs(without.currents[lines])
    low = np.minimum(BAND_PU[0], np.where(volts < BAND_PU[0], volts - ROOM_PU, np.inf))
    high = np.maximum(BAND_PU[1], np.where(volts > BAND_PU[1], volts + ROOM_PU, -np.inf))
    rating = conductor_ratings(net)[lines]
    most = np.maximum(rating, np.where(amps > rating, (1.0 + ROOM) * amps, 0.0))
    return Point(
        feeder, of, load, flow, nodes, lines, _names(feeder, nodes, lines),
        np.repeat(np.array([*Quantity], dtype=np.uint8), [len(nodes), around, 1]),
        np.concatenate([low, np.full(around + 1, -np.inf)]),
        np.concatenate([high, np.tile(most, 1 + len(AROUND)), [np.inf]]),
        by_kw, by_kvar,
    )  # fmt: skip


def _lines(flow: Flow) -> Rows:
    """Conductors worth watching, ascending."""
    rating = conductor_ratings(flow.network)
    rated = np.isfinite(rating) & (rating > 0.0)
    loading = np.where(rated, np.abs(flow.currents) / np.where(rated, rating, 1.0), 0.0)
    order = np.argsort(-loading, kind="stable")[:MOST_LINES]
    return np.sort(order[loading[order] > LOADED]).astype(np.int32)


def _has_say(feeder: Feeder, of: Fleet, flow: Flow, lines: Rows) -> Mask:
    """(lines,) whether devices can move a good part of what flows: for the rest they cannot answer."""
    ports, none = np.arange(feeder.ports, dtype=np.int32), np.zeros(0, dtype=np.int32)
    amps = Derivatives(feeder, flow.load_kva).rows(none, lines, ports, none)[1]
    span = np.bincount(of.place, of.high_kw - of.low_kw, minlength=feeder.ports)
    say: Mask = np.hypot(amps[0], amps[1]) @ span > SAY * np.abs(flow.currents[lines])
    return say


def _turned(flow: Flow, lines: Rows) -> Complex:
    """(lines,) currents beside the voltage of their node: in phase, and in quadrature."""
    at = flow.v[flow.network.branch_blocks.node[lines]]
    turned: Complex = flow.currents[lines] * np.conj(at) / np.abs(at)
    return turned


def _names(feeder: Feeder, nodes: Rows, lines: Rows) -> tuple[str, ...]:
    net = feeder.network
    return (
        *(f"voltage at bus {net.buses[net.node_bus[k]]} phase {PHASES[net.node_phase[k]]}" for k in nodes),
        *(f"current in conductor {k}" for k in lines),
        *(
            f"current in conductor {k} at {22.5 * turn:g} degrees"
            for turn in range(len(AROUND))
            for k in lines
        ),
        "power of the feeder head",
    )


def _sensitivities(feeder: Feeder, flow: Flow, nodes: Rows, lines: Rows) -> tuple[Float, Float]:
    """What a kW, and a kvar, at every port does to all quantities."""
    net, k = feeder.network, feeder.ports
    ports = np.arange(k, dtype=np.int32)
    volts, amps = Derivatives(feeder, flow.load_kva).rows(nodes, lines, ports, ports)
    turned = _turned(flow, lines)
    along = turned / np.maximum(np.abs(turned), 1e-9)
    current = along.real[:, None] * amps[0] + along.imag[:, None] * amps[1]
    parts = [turn.real * amps[0] + turn.imag * amps[1] for turn in AROUND]
    ends = np.flatnonzero(np.isin(net.branch_blocks.node, net.source_nodes)).astype(np.int32)
    gradient = linearise(flow).power(ends)[0]
    tail = slice(len(net.loads) - feeder.pairs, None)
    head = [-(feeder.spread.T @ by[tail])[None] for by in (gradient.port_kw, gradient.port_kvar)]
    return (
        np.vstack([volts[:, :k], current[:, :k], *(each[:, :k] for each in parts), head[0]]),
        np.vstack([volts[:, k:], current[:, k:], *(each[:, k:] for each in parts), head[1]]),
    )
