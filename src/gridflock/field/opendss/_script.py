"""A network as OpenDSS commands.

Every element is written from the arrays the solver uses, so that the two programs see the same
impedances, whatever document or factor they came from. Sign: OpenDSS loads are positive demand.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import ControlState, Network
from gridflock.units import PHASES

MODEL = ("1", "5", "2")
"""OpenDSS load models of constant power, current, impedance."""
TAP_STEP = 0.00625
FREQUENCY_HZ = 60.0


def script(network: Network, state: ControlState, load_kva: NDArray[np.complex128] | None = None) -> str:
    """Commands that build the network in OpenDSS, controls fixed; one command per line.

    Args:
        network: the feeder.
        state: taps and capacitors to write.
        load_kva: complex (L,) loads at rated voltage, house sign; nominal where None.

    Returns:
        Text that ends before ``solve``.
    """
    loads = network.load_kva if load_kva is None else load_kva
    lines = [
        "clear",
        f"set defaultbasefrequency={FREQUENCY_HZ:g}",
        _source(network),
        *_branches(network, state),
        *_capacitors(network, state),
        *_loads(network, loads),
        f"set voltagebases=[{' '.join(_number(v) for v in _bases(network))}]",
        "calcvoltagebases",
        "set controlmode=off",
    ]
    return "\n".join(lines) + "\n"


def node_name(network: Network, *nodes: int) -> str:
    """OpenDSS terminal of one or more nodes of the same bus: ``65.1.2``."""
    bus = network.buses[network.node_bus[nodes[0]]]
    return ".".join([bus, *(str(network.node_phase[node] + 1) for node in nodes)])


def _number(value: float) -> str:
    return f"{value:.15g}"


def _bases(network: Network) -> list[float]:
    return sorted({round(v * math.sqrt(3.0) / 1000.0, 6) for v in network.v_base.tolist()})


def _source(network: Network) -> str:
    z = 1.0 / network.source_y[0, 0]
    bus = network.buses[network.node_bus[network.source_nodes[0]]]
    base = float(network.v_base[network.source_nodes[0]])
    kv, pu = _number(base * math.sqrt(3.0) / 1000.0), _number(abs(network.source_v[0]) / base)
    r, x = _number(z.real), _number(z.imag)
    return f"new circuit.{network.name} bus1={bus} basekv={kv} pu={pu} r1={r} x1={x} r0={r} x0={x}"


def _branches(network: Network, state: ControlState) -> Iterator[str]:
    for row, kind in enumerate(network.branch_kind):
        if kind == "regulator":
            yield from _regulator(network, state, row)
        elif kind == "transformer":
            yield _transformer(network, row)
        else:
            yield _line(network, row)


def _ends(network: Network, row: int, phases: Sequence[int]) -> tuple[str, str]:
    nodes = network.branch_nodes[row]
    return (
        node_name(network, *(int(nodes[p]) for p in phases)),
        node_name(network, *(int(nodes[3 + p]) for p in phases)),
    )


def _phases(network: Network, row: int) -> list[int]:
    return [p for p in range(3) if network.branch_phases[row] >> p & 1]


def _matrix(values: NDArray[np.float64]) -> str:
    return "[" + " | ".join(" ".join(_number(v) for v in line) for line in values.tolist()) + "]"


def _line(network: Network, row: int) -> str:
    phases = _phases(network, row)
    pick = np.ix_(phases, phases)
    z = np.linalg.inv(network.branch_y[row][pick])
    nanofarad = network.branch_b[row][pick] / (2.0 * math.pi * FREQUENCY_HZ) * 1e9
    bus1, bus2 = _ends(network, row, phases)
    return (
        f"new line.{network.branches[row]} bus1={bus1} bus2={bus2} phases={len(phases)} length=1 units=none "
        f"rmatrix={_matrix(z.real)} xmatrix={_matrix(z.imag)} cmatrix={_matrix(nanofarad)}"
    )


def _percent(y: complex, v: float, kva: float) -> tuple[str, str]:
    """Percent R of each of two windings and percent X of a pair with admittance ``y`` at ``v``."""
    z = 100.0 * kva * 1000.0 / (y * v * v)
    return _number(z.real / 2.0), _number(z.imag)


def _regulator(network: Network, state: ControlState, row: int) -> Iterator[str]:
    tap = 1.0 + TAP_STEP * float(state.taps[network.branch_control[row]])
    for phase in _phases(network, row):
        v = float(network.v_base[network.branch_nodes[row, phase]])
        kva = float(network.rating_a[row]) * v / 1000.0
        r, x = _percent(complex(network.branch_y[row, phase, phase]), v, kva)
        bus1, bus2 = _ends(network, row, [phase])
        kv = _number(v / 1000.0)
        yield (
            f"new transformer.{regulator_name(network, row, phase)} phases=1 windings=2 "
            f"buses=[{bus1} {bus2}] conns=[wye wye] kvs=[{kv} {kv}] kvas=[{_number(kva)} {_number(kva)}] "
            f"%rs=[{r} {r}] xhl={x} taps=[1 {_number(tap)}] ppm_antifloat=0"
        )


def regulator_name(network: Network, row: int, phase: int) -> str:
    """OpenDSS transformer of one phase of a regulator branch."""
    return f"{network.branches[row]}_{PHASES[phase]}"


def _transformer(network: Network, row: int) -> str:
    y = network.branch_y[row]
    delta = bool(y[0, 1] != 0.0)
    nodes = network.branch_nodes[row]
    v1, v2 = (float(network.v_base[nodes[k]]) for k in (0, 3))
    kva = float(network.rating_a[row]) * v1 / 1000.0
    winding = v1 * (math.sqrt(3.0) if delta else 1.0)
    r, x = _percent(complex(-y[0, 1] if delta else y[0, 0]), winding, kva)
    ppm = network.branch_stray[row, 0] * winding**2 / (kva * 1000.0) * 1e6
    kv1, kv2 = (_number(v * math.sqrt(3.0) / 1000.0) for v in (v1, v2))
    total = _number(3.0 * kva)
    bus1, bus2 = _ends(network, row, [0, 1, 2])
    conn = "delta" if delta else "wye"
    return (
        f"new transformer.{network.branches[row]} phases=3 windings=2 buses=[{bus1} {bus2}] "
        f"conns=[{conn} {conn}] kvs=[{kv1} {kv2}] kvas=[{total} {total}] "
        f"%rs=[{r} {r}] xhl={x} ppm_antifloat={_number(ppm)}"
    )


def _capacitors(network: Network, state: ControlState) -> Iterator[str]:
    caps = network.capacitors
    for row in range(len(caps.ids)):
        for phase in np.flatnonzero(caps.nodes[row] >= 0).tolist():
            node = int(caps.nodes[row, phase])
            bus = node_name(network, node)
            yield (
                f"new capacitor.{capacitor_name(network, row, phase)} bus1={bus} phases=1 "
                f"kvar={_number(caps.kvar[row, phase])} kv={_number(network.v_base[node] / 1000.0)} "
                f"states=[{int(state.cap_on[row])}]"
            )


def capacitor_name(network: Network, row: int, phase: int) -> str:
    """OpenDSS capacitor of one phase of a capacitor."""
    return f"{network.capacitors.ids[row]}_{PHASES[phase]}"


def _loads(network: Network, load_kva: NDArray[np.complex128]) -> Iterator[str]:
    for row, name in enumerate(network.loads):
        demand = -complex(load_kva[row])
        yield (f"new load.{name} {_port(network, row)} kw={_number(demand.real)} kvar={_number(demand.imag)}")


def _port(network: Network, row: int) -> str:
    nodes = [int(node) for node in network.load_nodes[row] if node >= 0]
    model = MODEL[int(network.load_zip[row].argmax())]
    conn = "delta" if len(nodes) == 2 else "wye"
    low, high = network.load_range[row]
    return (
        f"bus1={node_name(network, *nodes)} phases=1 conn={conn} model={model} "
        f"kv={_number(network.load_v[row] / 1000.0)} vminpu={_number(low)} vmaxpu={_number(high)}"
    )


def injection_ports(network: Network, nodes: Sequence[int]) -> list[str]:
    """Terminals of constant-power injections at nodes; phase to phase at three-wire buses."""
    following = dict(zip(network.three_wire.tolist(), network.three_wire_next.tolist(), strict=True))
    ports = []
    for node in nodes:
        v = float(network.v_base[node]) / 1000.0
        if node in following:
            bus, conn, v = node_name(network, node, following[node]), "delta", v * math.sqrt(3.0)
        else:
            bus, conn = node_name(network, node), "wye"
        ports.append(f"bus1={bus} phases=1 conn={conn} model=1 kv={_number(v)} vminpu=0.3 vmaxpu=1.7")
    return ports
