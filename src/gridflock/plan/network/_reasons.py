"""Which limits stand behind the prices of a feeder's ports: names, steps and what a kW is worth to each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridflock.grid._network import Float
from gridflock.plan.devices._compiled import Array
from gridflock.plan.network._derivatives import Matrix
from gridflock.plan.network._loop import Loop
from gridflock.plan.network._rows import Index
from gridflock.units import PHASES

COUNTS = 1e-4
"""Money/kWh; less is nobody's reason."""


@dataclass(frozen=True, slots=True)
class Reason:
    """A limit that moves the price at a port in a step.

    Attributes:
        limit: ``"voltage high"``, ``"voltage low"`` or ``"current"``.
        element: bus or branch.
        phase: letter; empty at other conductors.
        price: what it adds to the worth of a kWh injected at the port, money/kWh.
    """

    limit: str
    element: str
    phase: str
    price: float

    def __str__(self) -> str:
        where = f"{self.element}.{self.phase}" if self.phase else self.element
        return f"{self.limit} of {where}: {self.price:+.4f}/kWh"


@dataclass(frozen=True, slots=True, eq=False)
class Reasons:
    """The rows in force with their duals.

    Attributes:
        a: float32 (R, C) sensitivities, kW per kW.
        y: float32 (R, T) money per kW and step.
        low: (r, T) node of each voltage row where it is held from below.
        high: (r, T) from above.
        disc: (b, T) row of ``branch_blocks`` of each current row.
        names: of nodes and conductors.
        hours: (T,) length of each step.
    """

    a: Matrix
    y: Matrix
    low: Index
    high: Index
    disc: Index
    names: _Names
    hours: Array

    def at(self, port: int, step: int, most: int = 5) -> tuple[Reason, ...]:
        """The limits that move the price of active power at a port most, largest first.

        Args:
            port: device port.
            step: of the day.
            most: how many at most.
        """
        r, b = len(self.low), len(self.disc)
        each = -self.a[:, port].astype(np.float64) * self.y[:, step] / self.hours[step]
        pairs = each[r : r + b] + each[r + b :]
        found = []
        for value, row in [*zip(each[:r].tolist(), range(r), strict=True), *_numbered(pairs, r)]:
            if abs(value) > COUNTS:
                found.append((abs(value), row, value))
        found.sort(reverse=True)
        return tuple(self._named(row, step, value) for _, row, value in found[:most])

    def _named(self, row: int, step: int, price: float) -> Reason:
        r = len(self.low)
        if row >= r:
            element, phase = self.names.conductor(int(self.disc[row - r, step]))
            return Reason("current", element, phase, price)
        high = self.y[row, step] > 0.0
        node = int((self.high if high else self.low)[row, step])
        return Reason("voltage high" if high else "voltage low", *self.names.node(node), price)


def _numbered(values: Float, first: int) -> list[tuple[float, int]]:
    return [(value, first + k) for k, value in enumerate(values.tolist())]


@dataclass(frozen=True, slots=True, eq=False)
class _Names:
    """What nodes and conductors of a network are called."""

    buses: tuple[str, ...]
    branches: tuple[str, ...]
    node_bus: Index
    node_phase: Index
    owner: Index
    at: Index

    def node(self, row: int) -> tuple[str, str]:
        """Bus and phase of a node."""
        return self.buses[self.node_bus[row]], self._letter(row)

    def conductor(self, row: int) -> tuple[str, str]:
        """Branch and phase of a conductor."""
        return self.branches[self.owner[row]], self._letter(int(self.at[row]))

    def _letter(self, node: int) -> str:
        phase = int(self.node_phase[node])
        return PHASES[phase] if phase < len(PHASES) else ""


def reasons(loop: Loop) -> Reasons:
    """The reasons of a loop that has turned."""
    rows, found, kept = loop.system, loop.sides, loop.watched
    net = loop.day.feeder.network
    y = (-loop.pull * rows.weight[:, None] * loop.s).astype(np.float32)
    names = _Names(
        net.buses, net.branches, net.node_bus.astype(np.int64), net.node_phase.astype(np.int64),
        net.branch_blocks.owner.astype(np.int64), net.branch_blocks.node.astype(np.int64),
    )  # fmt: skip
    conductors = loop.day.exact.conductors[kept.at].astype(np.int64)
    nodes = kept.nodes.astype(np.int64)
    return Reasons(
        rows.a, y, nodes[found.who_low[rows.volts]], nodes[found.who_high[rows.volts]],
        conductors[found.who_disc[rows.amps]], names, loop.day.deciders.bands.hours,
    )  # fmt: skip
