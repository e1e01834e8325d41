"""How many base points are worth their making, and which scenarios belong to which.

The chord iteration contracts by how much the Jacobian of a scenario differs from that of its base
point. To first order the ports' slopes grow with the load, so at a total power that is a share s of the
base point's further off, ρ = κ·s, where κ is the largest eigenvalue of J⁻¹·A·G·Aᵀ. The iterations to a
tolerance follow from ρ; scenarios are cut into bands of total power, equally full, as many as pay for their
base points.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gridflock.grid.lanes._circuit import Circuit, Complex, Float
from gridflock.grid.lanes._law import port_voltage
from gridflock.grid.lanes._point import Point

COUNTS = (1, 2, 3, 4, 6, 8, 12, 16)
"""Numbers of bands that are tried."""
SETUP_FLOWS = 1700.0
"""What a base point costs on a large network, in iterations of one scenario; measured, like what follows."""
SMALL_NODES = 800
"""At so many nodes the part of its cost that does not grow with the network is as large as the rest."""
UNEVEN = 2.3
"""The load of the ports that matter most changes by so much more than the total, and a lane's neighbours
in its vector may need another iteration."""
SPREAD = 0.08
"""Share by which scenarios of one total still differ from each other."""
POWER_STEPS = 6
SAMPLE = 512
"""Totals that stand for all in the choice."""
FEWEST, MOST = 2.0, 12.0
"""Iterations of a scenario."""


class Reach(NamedTuple):
    """How iterations grow with the distance from a base point.

    Attributes:
        contraction: κ.
        drop_pu: largest change of voltage if the ports' currents went.
        scale_kw: sum of the ports' active powers without their signs, to which distances refer.
        nodes: of the network.
    """

    contraction: float
    drop_pu: float
    scale_kw: float
    nodes: int

    def iterations(self, distance_kw: Float, tol: float) -> Float:
        """Expected iterations at distances in total power."""
        share = UNEVEN * np.abs(distance_kw) / self.scale_kw + SPREAD
        rate = np.minimum(self.contraction * share, 0.5)
        wanted = np.log(tol / (self.drop_pu * share)) / np.log(rate)
        expected: Float = np.clip(wanted, FEWEST, MOST)
        return expected

    def cost(self) -> float:
        """What one more base point costs, in iterations of one scenario."""
        return SETUP_FLOWS * (1.0 + SMALL_NODES / self.nodes)


def reach(circuit: Circuit, base: Point) -> Reach | None:
    """Measure a base point; None where its ports draw nothing."""
    scale = float(np.abs(base.s_kva.real).sum())
    if not (base.solved and scale > 0.0):
        return None
    slopes = base.slopes.reshape(-1, 2, 2)
    planes = _planes(port_voltage(circuit, base.v))
    x = _answered(circuit, base, (slopes @ planes[:, :, None])[:, :, 0])
    drop, rate = _size(circuit, x), 0.0
    for _ in range(POWER_STEPS):
        before = _size(circuit, x)
        across = _planes(port_voltage(circuit, x / max(before, 1e-300)))
        x = _answered(circuit, base, (slopes @ across[:, :, None])[:, :, 0])
        rate = _size(circuit, x)
    return Reach(max(rate, 1e-6), max(drop, 1e-6), scale, len(circuit.v_base))


def _planes(values: Complex) -> Float:
    planes: Float = np.stack([values.real, values.imag], axis=1)
    return planes


def _answered(circuit: Circuit, base: Point, currents: Float) -> Complex:
    """Voltages (n,) that currents (P, 2) at the ports raise."""
    total = np.zeros((len(circuit.v_base) + 1, 2))
    np.add.at(total, circuit.port_nodes[:, 0], currents)
    np.subtract.at(total, circuit.port_nodes[:, 1], currents)
    moved = base.factor.solve(total[:-1])
    return np.asarray(moved[:, 0] + 1j * moved[:, 1])


def _size(circuit: Circuit, v: Complex) -> float:
    return float((np.abs(v) / circuit.v_base).max(initial=0.0))


def bands(
    total_kw: Float, here_kw: float, known: Reach | None, tol: float, times: float = 1.0
) -> list[NDArray[np.int64]]:
    """Cut scenarios into bands, each to be solved around a base point of its own.

    Args:
        total_kw: (S,) total power of each scenario, finite.
        here_kw: that of the base point there is.
        known: its reach.
        tol: asked of the lanes, pu.
        times: how often the scenarios will be solved.

    Returns:
        Rows of each band; none where the base point there is serves best.
    """
    if known is None or not len(total_kw):
        return []
    farthest = np.abs(total_kw - here_kw).max()
    saved = known.iterations(farthest, tol) - known.iterations(np.zeros_like(farthest), tol)
    if times * len(total_kw) * saved < known.cost():
        return []
    sample = np.quantile(total_kw, (np.arange(SAMPLE) + 0.5) / SAMPLE)
    each = times * len(total_kw) / SAMPLE
    best, cost = 0, each * known.iterations(sample - here_kw, tol).sum()
    for count in COUNTS:
        own = np.arange(SAMPLE) * count // SAMPLE
        middle = np.bincount(own, sample) / np.bincount(own)
        asked = each * known.iterations(sample - middle[own], tol).sum() + count * known.cost()
        if asked < cost:
            best, cost = count, asked
    if not best:
        return []
    own = np.searchsorted(np.quantile(total_kw, np.arange(1, best) / best), total_kw)
    return [np.flatnonzero(own == k) for k in range(best) if (own == k).any()]
