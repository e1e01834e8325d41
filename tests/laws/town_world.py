"""A town for laws of topology: feeders with a source each, laterals, transformers, ties between them."""

import numpy as np

from gridflock.grid import initial, solve
from gridflock.grid.build import Branch, Bus, End, Parts, Port, Section, Shunt, Source, assemble
from gridflock.grid.build._windings import Winding, transformer_block

V_MEDIUM, V_LOW = 7200.0, 240.0
ABC = (1, 2, 3)
TURN = np.exp(-2j * np.pi / 3 * np.arange(3))
Z_OHM = np.array([[0.35, 0.1, 0.1], [0.1, 0.36, 0.11], [0.1, 0.11, 0.34]]) + 1j * np.array(
    [[0.7, 0.3, 0.25], [0.3, 0.68, 0.28], [0.25, 0.28, 0.71]]
)


def series(z, charging_us=0.0):
    """Block of a line of impedance z (k, k) in ohm and charging at each phase in µS."""
    y = np.linalg.inv(np.atleast_2d(z))
    half = 0.5e-6j * charging_us * np.eye(len(y))
    return np.block([[y + half, -y], [-y, y + half]])


def line(name, first, second, conductors=ABC, km=1.0, kind="line", closed=True):
    """A line or switch between two bus rows."""
    keep = np.array(conductors) - 1
    z = Z_OHM[np.ix_(keep, keep)] * km if kind == "line" else 1e-3 * np.eye(len(keep))
    ends = (End(first, tuple(conductors)), End(second, tuple(conductors)))
    return Branch(name, kind, ends, series(z, 3.0 if kind == "line" else 0.0), 400.0, closed)


def source(name, bus, turn=1.0):
    """A stiff three-phase source."""
    return Source(name, End(bus, ABC), 1.02 * V_MEDIUM * TURN * turn, np.eye(3) / (0.05 + 0.4j))


def delta_wye(name, first, second):
    """A 300 kVA Dyn1 transformer whose low side is grounded solidly."""
    windings = (
        Winding("delta", V_MEDIUM * np.sqrt(3.0), 0.6),
        Winding("wye", V_LOW * np.sqrt(3.0), 0.6, clock=1),
    )
    y = transformer_block(windings, [4.0], kva=300.0)
    return Branch(name, "transformer", (End(first, ABC), End(second, (*ABC, 0))), y, 25.0)


def town(seed, feeders=3, buses=10):
    """Parts of a town: per feeder a trunk with a section switch in its middle, laterals, transformers.

    Feeder k has buses ``f<k>b<i>``, lines ``f<k>l<i>`` into bus i (switches ``f<k>s<i>``); open ties
    ``tie<k>`` join the ends of the trunks of feeders k and k+1.
    """
    rng = np.random.default_rng(seed)
    parts = Parts("town")
    for k in range(feeders):
        _feeder(parts, rng, f"f{k}", buses)
    ends = [row for row, bus in enumerate(parts.buses) if bus.id.endswith(f"b{buses // 2}")]
    for k in range(feeders - 1):
        parts.branches.append(line(f"tie{k}", ends[k], ends[k + 1], kind="switch", closed=False))
    return parts


def _feeder(parts, rng, name, buses):
    first = len(parts.buses)
    parts.buses.append(Bus(f"{name}b0", V_MEDIUM))
    parts.sources.append(source(name, first))
    parts.sections.append(Section(name, name, first))
    conductors = [ABC]
    for i in range(1, buses):
        trunk = i <= buses // 2
        above = i - 1 if trunk else int(rng.integers(0, i))
        own = ABC if trunk else _some_of(rng, conductors[above])
        conductors.append(own)
        row = len(parts.buses)
        parts.buses.append(Bus(f"{name}b{i}", V_MEDIUM))
        if i == buses // 4 + 1:
            parts.branches.append(line(f"{name}s{i}", first + above, row, own, kind="switch"))
            parts.sections.append(Section(f"{name}/far", f"{name} far", row))
        else:
            parts.branches.append(line(f"{name}l{i}", first + above, row, own, rng.uniform(0.1, 2.0)))
        _ports(parts, rng, row, own)
    _low_voltage(parts, rng, name, first + buses // 2 - 1)
    parts.shunts.append(
        Shunt(f"{name}cap", "capacitor", End(first + buses // 2, ABC), 1j * 1e5 / V_MEDIUM**2 * np.eye(3))
    )


def _some_of(rng, conductors):
    count = int(rng.integers(1, len(conductors) + 1))
    return tuple(sorted(rng.choice(conductors, count, replace=False).tolist()))


def _ports(parts, rng, row, conductors):
    bus = parts.buses[row].id
    for c in conductors:
        shares = rng.dirichlet(np.ones(3))
        s = -rng.uniform(5.0, 40.0) * (1 + 0.3j)
        parts.ports.append(
            Port(
                f"{bus}.{c}",
                row,
                (c, 0),
                complex(s),
                V_MEDIUM,
                tuple(shares),
                tuple(shares),
                limits=(0.5, 0.8, 1.2),
            )
        )
    if len(conductors) > 1:
        pair = (conductors[0], conductors[1])
        parts.ports.append(
            Port(f"{bus}.d", row, pair, -20.0 - 4.0j, V_MEDIUM * np.sqrt(3), limits=(0.5, 0.8, 1.2))
        )


def _low_voltage(parts, rng, name, above):
    row = len(parts.buses)
    parts.buses.append(Bus(f"{name}lv", V_LOW))
    parts.branches.append(delta_wye(f"{name}t", above, row))
    for c in ABC:
        s = -rng.uniform(5.0, 30.0) * (1 + 0.2j)
        parts.ports.append(Port(f"{name}lv.{c}", row, (c, 0), complex(s), V_LOW, limits=(0.5, 0.8, 1.2)))


def network(seed, **sizes):
    """A town as arrays."""
    return assemble(town(seed, **sizes))


def flow_of(net, level=1.0, state=None):
    """The flow at a share of nominal load."""
    return solve(net, level * net.load_kva, np.zeros(net.n, dtype=complex), state or initial(net))


def by_name(net, v):
    """Voltages by node name."""
    return {net.node_name(k): complex(v[k]) for k in range(net.n)}


def apart_pu(one, two):
    """Largest difference of two flows of networks with the same node names."""
    first, second = by_name(one.network, one.v), by_name(two.network, two.v)
    base = by_name(two.network, two.network.v_base)
    return max(abs(first[name] - v) / abs(base[name]) for name, v in second.items())
