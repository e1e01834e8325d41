"""Small random unbalanced networks as plain arrays, and their flows by dense linear algebra."""

from __future__ import annotations

import numpy as np
from scipy import sparse

from gridflock.grid.lanes import Circuit, Laws

V_N = 2400.0
FLOOR_PU = 0.5


def circuit(seed: int, buses: int = 8, *, only_power: bool = False) -> tuple[Circuit, np.ndarray]:
    """A radial feeder of three-phase buses with a loop, and one nominal injection per port."""
    rng = np.random.default_rng(seed)
    n = 3 * buses
    y = np.zeros((n, n), dtype=complex)
    links = [(int(rng.integers(0, k)), k) for k in range(1, buses)] + [(1, buses - 1)]
    for a, b in links:
        z = _impedance(rng)
        block = np.linalg.inv(z)
        i, j = 3 * a + np.arange(3), 3 * b + np.arange(3)
        for p, q, sign in ((i, i, 1), (j, j, 1), (i, j, -1), (j, i, -1)):
            y[np.ix_(p, q)] += sign * block
    y[range(n), range(n)] += 1e-6j
    source = np.diag([1 / (0.01 + 0.1j)] * 3)
    y[:3, :3] += source
    i_source = np.zeros(n, dtype=complex)
    i_source[:3] = source @ (V_N * 1.02 * np.exp(-2j * np.pi / 3 * np.arange(3)))
    nodes, volts = _ports(rng, buses)
    laws = _laws(rng, len(nodes), only_power=only_power)
    s_kva = -rng.uniform(5.0, 60.0, len(nodes)) * (1 + 0.4j * rng.uniform(0.0, 1.0, len(nodes)))
    built = Circuit(sparse.csc_matrix(y), i_source, np.full(n, V_N), nodes, volts, laws)
    return built, s_kva


def _impedance(rng):
    z = np.full((3, 3), 0.05 + 0.15j) + np.eye(3) * (0.15 + 0.3j)
    return z * rng.uniform(0.3, 1.5)


def _ports(rng, buses):
    nodes, volts = [], []
    for bus in rng.choice(np.arange(1, buses), size=buses - 2, replace=False):
        for phase in rng.choice(3, size=int(rng.integers(1, 4)), replace=False):
            delta = rng.random() < 0.3
            nodes.append((3 * bus + phase, 3 * bus + (phase + 1) % 3 if delta else -1))
            volts.append(V_N * np.sqrt(3) if delta else V_N)
    return np.array(nodes, dtype=np.int32), np.array(volts)


def _laws(rng, count, *, only_power):
    shares = np.zeros((count, 2, 3))
    shares[:, :, 0] = 1.0
    exponent = np.full((count, 2), np.nan)
    if not only_power:
        mixed = rng.random(count) < 0.5
        shares[mixed] = rng.dirichlet((1, 1, 1), size=(int(mixed.sum()), 1)).repeat(2, axis=1)
        powered = rng.random(count) < 0.2
        exponent[powered] = rng.uniform(0.3, 2.5, (int(powered.sum()), 2))
    low, high = np.full(count, 0.85), np.full(count, 1.15)
    at = np.stack([low, high], axis=1)
    edge = shares[:, 0, :1] / at + shares[:, 0, 1:2] + shares[:, 0, 2:] * at
    return Laws(shares, exponent, low, high, np.full(count, FLOOR_PU), edge)


def current_factors(law: Laws, r: np.ndarray) -> np.ndarray:
    """Factors g (P, 2) straight from the rules, one port at a time."""
    g = np.empty((len(r), 2))
    for k, x in enumerate(r):
        for part in range(2):
            power, current, impedance = law.zip[k, part]
            inside = power / x + current + impedance * x
            if not np.isnan(law.exponent[k, part]):
                inside = x ** (law.exponent[k, part] - 1.0)
            low, high, floor = law.low[k], law.high[k], law.floor[k]
            if x > high:
                inside = law.edge[k, 1] * x / high
            elif x < floor:
                inside = x
            elif x < low:
                inside = floor + (law.edge[k, 0] - floor) * (x - floor) / (low - floor)
            g[k, part] = inside
    return g


def flow(net: Circuit, s_kva: np.ndarray, rounds: int = 400) -> np.ndarray:
    """Voltages by the implicit Z-bus fixed point with a dense inverse: complex (n,) V.

    Raises:
        ArithmeticError: the fixed point did not settle.
    """
    inverse = np.linalg.inv(net.y.toarray())
    v = inverse @ net.i_source
    for _ in range(rounds):
        ends = np.append(v, 0.0)[net.port_nodes]
        u = ends[:, 0] - ends[:, 1]
        g = current_factors(net.law, np.abs(u) / net.port_v)
        current = (s_kva.real * g[:, 0] - 1j * s_kva.imag * g[:, 1]) * 1000.0 / net.port_v * u / np.abs(u)
        total = np.zeros(len(v) + 1, dtype=complex)
        np.add.at(total, net.port_nodes[:, 0], current)
        np.subtract.at(total, net.port_nodes[:, 1], current)
        new = inverse @ (net.i_source + total[:-1])
        moved = np.abs(new - v).max()
        v = new
        if moved < 1e-9 * V_N:
            return v
    raise ArithmeticError("the fixed point did not settle")
