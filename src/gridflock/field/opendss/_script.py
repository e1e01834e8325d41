"""A network as OpenDSS commands.

Every element is written from the primitive block the solver uses, so that the two programs see the
same impedances, whatever document or factor they came from. Sign: OpenDSS loads are positive demand.
What our own documents can hold is written: one source, lines, switches, wye-wye and delta-delta
transformers, regulators, wye capacitors, constant power, current and impedance.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import ControlState, Network
from gridflock.units import PHASES

MODEL = ("1", "5", "2")
"""OpenDSS load models of constant power, current, impedance."""
FREQUENCY_HZ = 60.0
Complex = NDArray[np.complex128]


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


def _ends(network: Network, row: int) -> tuple[str, str]:
    blocks = network.branch_blocks
    nodes = blocks.node[blocks.start[row] : blocks.start[row + 1]].tolist()
    k = len(nodes) // 2
    return node_name(network, *nodes[:k]), node_name(network, *nodes[k:])


def _corners(network: Network, row: int) -> tuple[Complex, Complex]:
    """Series admittance (k, k) and what stands beside it at the first end, S.

    Raises:
        ValueError: the branch is not two-ended with one conductor against one.
    """
    block = network.branch_blocks.block(row)
    k = len(block) // 2
    ends = network.branch_blocks.end[network.branch_blocks.start[row] : network.branch_blocks.start[row + 1]]
    if len(block) != 2 * k or ends.tolist() != [0] * k + [1] * k:
        raise ValueError(f"{network.branch_kind[row]} {network.branches[row]} cannot be written as commands")
    series = -block[:k, k:] / _ratio(network, row)
    return series, block[:k, :k] - series


def _ratio(network: Network, row: int) -> float:
    first, second = _bases_of(network, row)
    return first / second


def _bases_of(network: Network, row: int) -> tuple[float, float]:
    blocks = network.branch_blocks
    nodes = blocks.node[blocks.start[row] : blocks.start[row + 1]]
    return float(network.v_base[nodes[0]]), float(network.v_base[nodes[len(nodes) // 2]])


def _matrix(values: NDArray[np.floating[Any]]) -> str:
    return "[" + " | ".join(" ".join(_number(v) for v in line) for line in values.tolist()) + "]"


def _line(network: Network, row: int) -> str:
    series, charging = _corners(network, row)
    z = np.linalg.inv(series)
    nanofarad = 2.0 * charging.imag / (2.0 * math.pi * FREQUENCY_HZ) * 1e9
    bus1, bus2 = _ends(network, row)
    return (
        f"new line.{network.branches[row]} bus1={bus1} bus2={bus2} phases={len(z)} length=1 units=none "
        f"rmatrix={_matrix(z.real)} xmatrix={_matrix(z.imag)} cmatrix={_matrix(nanofarad)} "
        f"enabled={'yes' if network.branch_in[row] else 'no'}"
    )


def _percent(y: complex, v: float, kva: float) -> tuple[str, str]:
    """Percent R of each of two windings and percent X of a pair with admittance ``y`` at ``v``."""
    z = 100.0 * kva * 1000.0 / (y * v * v)
    return _number(z.real / 2.0), _number(z.imag)


def regulator_taps(network: Network, row: int, tap: int) -> Iterator[tuple[str, float]]:
    """OpenDSS transformer of each phase of a regulator branch, and the tap of its second winding."""
    control = int(np.flatnonzero(network.regulators.branch == row)[0])
    factor = 1.0 + float(network.regulators.step_pu[control]) * tap
    blocks = network.branch_blocks
    k = int(blocks.start[row + 1] - blocks.start[row]) // 2
    for node in blocks.node[blocks.start[row] : blocks.start[row] + k].tolist():
        yield f"{network.branches[row]}_{PHASES[network.node_phase[node]]}", factor


def _regulator(network: Network, state: ControlState, row: int) -> Iterator[str]:
    control = int(np.flatnonzero(network.regulators.branch == row)[0])
    blocks = network.branch_blocks
    start = int(blocks.start[row])
    series, _ = _corners(network, row)
    v, _ = _bases_of(network, row)
    kva = float(network.rating_a[row]) * v / 1000.0
    kv = _number(v / 1000.0)
    for k, (name, tap) in enumerate(regulator_taps(network, row, int(state.taps[control]))):
        r, x = _percent(complex(series[k, k]), v, kva)
        bus1 = node_name(network, int(blocks.node[start + k]))
        bus2 = node_name(network, int(blocks.node[start + len(series) + k]))
        yield (
            f"new transformer.{name} phases=1 windings=2 "
            f"buses=[{bus1} {bus2}] conns=[wye wye] kvs=[{kv} {kv}] kvas=[{_number(kva)} {_number(kva)}] "
            f"%rs=[{r} {r}] xhl={x} taps=[1 {_number(tap)}] ppm_antifloat=0"
        )


def _transformer(network: Network, row: int) -> str:
    y, beside = _corners(network, row)
    delta = bool(y[0, 1] != 0.0)
    v1, v2 = _bases_of(network, row)
    kva = float(network.rating_a[row]) * v1 / 1000.0
    winding = v1 * (math.sqrt(3.0) if delta else 1.0)
    r, x = _percent(complex(-y[0, 1] if delta else y[0, 0]), winding, kva)
    ppm = -float(beside[0, 0].imag) * winding**2 / (kva * 1000.0) * 1e6
    kv1, kv2 = (_number(v * math.sqrt(3.0) / 1000.0) for v in (v1, v2))
    total = _number(3.0 * kva)
    bus1, bus2 = _ends(network, row)
    conn = "delta" if delta else "wye"
    return (
        f"new transformer.{network.branches[row]} phases=3 windings=2 buses=[{bus1} {bus2}] "
        f"conns=[{conn} {conn}] kvs=[{kv1} {kv2}] kvas=[{total} {total}] "
        f"%rs=[{r} {r}] xhl={x} ppm_antifloat={_number(ppm)}"
    )


def capacitor_units(network: Network, row: int) -> Iterator[tuple[str, int, float]]:
    """OpenDSS capacitor, node and admittance in siemens of each phase of a capacitor."""
    blocks, shunt = network.shunt_blocks, int(network.capacitors.shunt[row])
    susceptance = np.diag(blocks.block(shunt)).imag
    nodes = blocks.node[blocks.start[shunt] : blocks.start[shunt + 1]].tolist()
    for node, b in zip(nodes, susceptance.tolist(), strict=True):
        yield f"{network.capacitors.ids[row]}_{PHASES[network.node_phase[node]]}", node, b


def _capacitors(network: Network, state: ControlState) -> Iterator[str]:
    for row in range(len(network.capacitors.ids)):
        for name, node, susceptance in capacitor_units(network, row):
            v = float(network.v_base[node])
            yield (
                f"new capacitor.{name} bus1={node_name(network, node)} phases=1 "
                f"kvar={_number(susceptance * v**2 / 1000.0)} kv={_number(v / 1000.0)} "
                f"states=[{int(state.cap_on[row])}]"
            )


def _loads(network: Network, load_kva: NDArray[np.complex128]) -> Iterator[str]:
    for row, name in enumerate(network.loads):
        demand = -complex(load_kva[row])
        yield (f"new load.{name} {_port(network, row)} kw={_number(demand.real)} kvar={_number(demand.imag)}")


def _port(network: Network, row: int) -> str:
    nodes = [int(node) for node in network.load_nodes[row] if node >= 0]
    model = MODEL[int(network.load_zip[row, 0].argmax())]
    conn = "delta" if len(nodes) == 2 else "wye"
    _, low, high = network.load_range[row]
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
