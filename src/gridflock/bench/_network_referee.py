"""OpenDSS at a finished day: the feeder's own file, taps as planned, every device's power, step by step.

Nothing of our power flow takes part: loads follow their shapes in OpenDSS, devices stand there as
constant powers, and both voltages and branch currents are the engine's.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridflock.bench._network_world import World, elements
from gridflock.field.opendss import Daily
from gridflock.field.opendss._daily import STEP_S
from gridflock.grid import Network
from gridflock.grid._network import Complex, Float
from gridflock.plan.network._verdict import Limits, Verdict, judged
from gridflock.units import Kvar, Kw, Rows

TOLERANCE = 1e-9
"""Of the engine's solution, per unit."""
WIDE = "vminpu=0.2 vmaxpu=1.8 vlowpu=0.1"
"""Devices inject constant power at every voltage of use."""


@dataclass(frozen=True, slots=True, eq=False)
class Refereed:
    """What OpenDSS makes of a day.

    Attributes:
        verdict: against the day's limits.
        error_pu: largest difference of any node's complex voltage to ours in any step, pu.
        error_a: largest difference of any conductor's complex current, as a part of its limit.
    """

    verdict: Verdict
    error_pu: float
    error_a: float


class _Day(Daily):
    """One feeder with devices at ports, solved step by step."""

    def __init__(self, path: Path, root: Path | None, of: World) -> None:
        super().__init__(path, root, of.loads.multipliers)
        names = dict(zip(elements(of.feeder.network), of.loads.shape.tolist(), strict=False))
        self.add([f"edit {name} daily=gridflock_{shape} status=variable" for name, shape in names.items()])

    def devices(self, network: Network, ports: Rows, p_kw: Kw, q_kvar: Kvar) -> None:
        """Add constant powers (P, T) at ports (P,) of the network."""
        lines = []
        for k, port in enumerate(ports.tolist()):
            pair = [node for node in network.load_nodes[port].tolist() if node >= 0]
            wires = ".".join(str(int(network.node_conductor[node])) for node in pair)
            bus = network.buses[network.load_bus[port]]
            kv = float(network.load_v[port]) / 1000.0
            shape = f"npts={self.steps} sinterval={STEP_S} useactual=yes"
            lines.append(
                f"new loadshape.devices_{k} {shape} mult=[{_words(-p_kw[k])}] qmult=[{_words(-q_kvar[k])}]"
            )
            conn = "delta" if len(pair) == 2 else "wye"
            lines.append(
                f"new load.devices_{k} phases=1 bus1={bus}.{wires} kv={kv:.15g} model=1 conn={conn} "
                f"kw=1 kvar=1 daily=devices_{k} {WIDE}"
            )
        self.add(lines)

    def conductors(self, network: Network) -> Rows:
        """(c,) place of each row of ``branch_blocks`` among the engine's currents; -1 at ground."""
        api = self._circuit.api
        counts = np.asarray(api.PDElements.AllNumConductors) * np.asarray(api.PDElements.AllNumTerminals)
        first = dict(
            zip(
                (str(name).lower() for name in api.PDElements.AllNames),
                np.concatenate([[0], np.cumsum(counts)[:-1]]).tolist(),
                strict=True,
            )
        )
        blocks = network.branch_blocks
        found = np.full(len(blocks.node), -1, dtype=np.int32)
        for row, name in enumerate(network.branches):
            self._circuit.activate(name)
            wired = np.flatnonzero(np.asarray(api.ActiveCktElement.NodeOrder))
            own = np.arange(blocks.start[row], blocks.start[row + 1])
            found[own[blocks.node[own] >= 0]] = first[name.lower()] + wired
        return found

    def currents(self, rows: Rows) -> Complex:
        """Complex (c,) currents into branches at ``conductors``, A; 0 at ground."""
        amps = np.asarray(self._circuit.api.PDElements.AllCurrents, dtype=np.float64).view(np.complex128)
        return np.where(rows >= 0, amps[rows], 0.0)


def refereed(
    path: Path, root: Path | None, of: World, asked: Limits, p_kw: Kw, q_kvar: Kvar, v: Complex, amps: Complex
) -> Refereed:
    """Let OpenDSS solve every step of a plan.

    Args:
        path: the master the world was made from.
        root: folder outside which nothing is read.
        of: the world, its feeder's taps and capacitors where the plan has them.
        asked: what is to be kept.
        p_kw: (P, T) active power injected at the ports.
        q_kvar: (P, T) reactive power.
        v: complex (T, n) our own voltages, V.
        amps: complex (T, c) our own currents, A.

    Raises:
        NotConverged: naming the step the engine does not solve.
    """
    feeder = of.feeder
    network = feeder.network
    day = _Day(path, root, of)
    ports = np.arange(len(network.loads) - feeder.pairs, len(network.loads), dtype=np.int32)
    day.devices(network, ports, feeder.spread @ p_kw, feeder.spread @ q_kvar)
    stands = {int(step): state for state, steps in feeder.stands() for step in _moves(steps)}
    day.hold(network, feeder.state_at(0))
    rows = day.conductors(network)
    theirs_v, theirs_a = np.empty_like(v), np.empty_like(amps)
    day.begin(TOLERANCE)
    for step in range(feeder.steps):
        if step in stands:
            day.hold(network, stands[step])
        day.step()
        theirs_v[step], theirs_a[step] = day.voltages(network), day.currents(rows)
    verdict = judged(network, asked, theirs_v, theirs_a)
    off = np.abs(theirs_a - amps)[:, rows >= 0] / asked.most_a[:, rows >= 0]
    return Refereed(
        verdict, float((np.abs(theirs_v - v) / network.v_base).max()), float(off.max(initial=0.0))
    )


def _moves(steps: Rows) -> Rows:
    """The first of every unbroken row of steps."""
    return steps[np.diff(steps, prepend=-2) > 1]


def _words(values: Float) -> str:
    return " ".join(f"{value:.12g}" for value in values.tolist())
