"""A network as power-grid-model's input, exactly, or a refusal that names what it cannot hold.

Its branch admittances are those of its documentation: a line is the inverse of its impedance matrix
with half its capacitance at each end; a transformer in each sequence an ideal complex ratio t at the
first end in front of an admittance y, ``[[y/|t|², -y/t*], [-y/t, y]]``, in the zero sequence only
where its grounded windings let current pass. What an element of ours has beyond that and is equal in
its phases (core, stray admittance to ground, a source's own zero sequence) becomes a shunt. One thing
it adds by itself: where a winding lets no zero sequence pass, 1e-8 of its series admittance to ground.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from gridflock.grid import ControlState, Network
from gridflock.grid._admittance import branch_values, fitted_shunts
from gridflock.grid.build import FeederRejected
from gridflock.model import Rejected
from gridflock.units import Rows

FREQUENCY_HZ = 50.0
"""What capacitances refer to; our networks hold admittances."""
RATED_VA = 1e6
"""Rating transformers are written at: power-grid-model's own base."""
EXACT = 1e-9
"""Largest difference of an element's admittance, in parts of its largest value."""
GROUNDED = 1e-3
"""A winding whose zero-sequence admittance exceeds this share of the other sequences' is grounded."""
MAGNETIC = frozenset({"transformer", "regulator"})
WYE, WYE_N, DELTA = 0, 1, 2
"""power-grid-model's winding types."""
Complex = NDArray[np.complex128]
Float = NDArray[np.float64]

_TURN = np.exp(2j * np.pi / 3)
_FROM_SEQUENCES = np.array([[1, 1, 1], [1, _TURN**2, _TURN], [1, _TURN, _TURN**2]])
"""Phase values of zero, positive and negative sequence (Fortescue)."""
_TO_SEQUENCES = _FROM_SEQUENCES.conj() / 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """power-grid-model's input of one network. A bus is the node of the same row.

    Attributes:
        tables: component kind to columns, ids included.
        node_place: (n,) where a node of ours stands among (bus, phase) in a row.
        load_place: (L,) where a port stands among (load, phase); one load per bus that has any.
    """

    tables: Mapping[str, Mapping[str, NDArray[Any]]]
    node_place: Rows
    load_place: Rows


def as_columns(network: Network, state: ControlState) -> Columns:
    """Hand a network over at a control state.

    Raises:
        FeederRejected: naming the first bus or element that power-grid-model cannot hold.
    """
    _refuse_buses(network)
    _refuse_ports(network)
    rows: dict[str, list[dict[str, float]]] = {"shunt": []}
    _sources(network, rows)
    _branches(network, state, rows)
    _shunts(network, state, rows)
    buses = np.unique(network.load_bus)
    rows["asym_load"] = [{"node": bus, "status": 1, "type": 0} for bus in buses.tolist()]
    u_rated = _u_rated(network)
    tables: dict[str, dict[str, NDArray[Any]]] = {"node": {"id": np.arange(len(u_rated)), "u_rated": u_rated}}
    count = len(u_rated)
    for kind, elements in rows.items():
        if elements:
            names = elements[0]
            tables[kind] = {name: np.array([e[name] for e in elements]) for name in names}
            tables[kind]["id"] = np.arange(count, count + len(elements))
            count += len(elements)
    phase = network.node_phase[network.load_nodes[:, 0]]
    return Columns(
        tables,
        (3 * network.node_bus + network.node_phase).astype(np.int32),
        (3 * np.searchsorted(buses, network.load_bus) + phase).astype(np.int32),
    )


def _refuse(component: str, name: str, field: str, reason: str) -> NoReturn:
    raise FeederRejected((Rejected(component, field, (name,), f"power-grid-model cannot hold {reason}"),))


def _u_rated(network: Network) -> Float:
    """(nb,) rated line-to-line voltage of each bus, V."""
    u = np.zeros(len(network.buses))
    u[network.node_bus] = np.sqrt(3.0) * network.v_base
    return u


def _refuse_buses(network: Network) -> None:
    table = network.node_table()
    own = np.bincount(network.node_bus, minlength=len(network.buses))
    for bus in np.flatnonzero((own != 3) | (table < 0).any(axis=1)).tolist():
        _refuse("bus", network.buses[bus], "phases", "a bus without exactly the phases a, b, c")
    for node in np.flatnonzero(~network.topology.live).tolist():
        _refuse("bus", network.buses[network.node_bus[node]], "topology", "a bus without a source")


def _refuse_ports(network: Network) -> None:
    constant = (network.load_zip == [1.0, 0.0, 0.0]).all(axis=(1, 2)) & np.isnan(network.load_exponent).all(1)
    for port in np.flatnonzero(network.load_nodes[:, 1] >= 0).tolist():
        _refuse("load", network.loads[port], "connection", "a load between two phases")
    for port in np.flatnonzero(~constant).tolist():
        _refuse("load", network.loads[port], "model", "this load beside others of constant power")


# ---- elements ------------------------------------------------------------------------------------


def _sources(network: Network, rows: dict[str, list[dict[str, float]]]) -> None:
    """The source by its positive sequence; what its zero sequence has beyond a multiple is a shunt."""
    name = network.sources[0]
    if len(network.sources) != 1:
        _refuse("source", network.sources[1], "id", "a second source in the same comparison")
    order = np.argsort(network.node_phase[network.source_nodes])
    if len(order) != 3:
        _refuse("source", name, "phases", "a source without three phases")
    bus = int(network.node_bus[network.source_nodes[0]])
    v = _TO_SEQUENCES @ network.source_v[order]
    y = _sequences("source", name, network.source_y[np.ix_(order, order)])
    if np.abs(v[[0, 2]]).max() > EXACT * abs(v[1]):
        _refuse("source", name, "v", "voltages that are not balanced")
    z = 1.0 / y[1]
    if z.imag <= 0.0 or abs(y[1] - y[2]) > EXACT * abs(y[1]):
        _refuse("source", name, "y", "a source impedance without reactance or with rotating parts")
    u = float(_u_rated(network)[bus])
    ratio = abs(y[1]) / max(abs(y[0]), EXACT * abs(y[1]))
    rows["source"] = [
        {
            "node": bus, "status": 1, "u_ref": abs(v[1]) * np.sqrt(3.0) / u, "u_ref_angle": np.angle(v[1]),
            "sk": u**2 / abs(z), "rx_ratio": z.real / z.imag, "z01_ratio": ratio,
        }
    ]  # fmt: skip
    rows["shunt"].append(_shunt(bus, np.array([y[0] - y[1] / ratio, 0.0])))


def _branches(network: Network, state: ControlState, rows: dict[str, list[dict[str, float]]]) -> None:
    blocks, values = network.branch_blocks, branch_values(network, state.taps)
    u = _u_rated(network)
    rows["asym_line"], rows["transformer"] = [], []
    for row in np.flatnonzero(network.branch_in).tolist():
        name, kind = network.branches[row], network.branch_kind[row]
        own = slice(int(blocks.start[row]), int(blocks.start[row + 1]))
        node, end = blocks.node[own], blocks.end[own]
        y = values[blocks.y_start[row] : blocks.y_start[row + 1]].reshape(len(node), len(node))
        order = _order(network, node, end)
        if network.node_phase[node[order]].tolist() != [0, 1, 2, 0, 1, 2] or end[order[3]] == 0:
            _refuse(kind, name, "phases", "a branch without two ends of three phases")
        y = y[np.ix_(order, order)]
        first, second = network.node_bus[node[order[[0, 3]]]].tolist()
        ends = {"from_node": first, "to_node": second, "from_status": 1, "to_status": 1}
        if kind in MAGNETIC:
            element, shunts = _transformer(kind, name, y, u[second])
            rows["transformer"].append(ends | element)
            rows["shunt"] += [_shunt(first, shunts[0]), _shunt(second, shunts[1])]
        else:
            if abs(u[first] - u[second]) > EXACT * u[first]:
                _refuse(kind, name, "kv", "a line between different rated voltages")
            rows["asym_line"].append(ends | _line(kind, name, y))


def _order(network: Network, node: Rows, end: NDArray[np.uint8]) -> NDArray[np.intp]:
    """Conductors of phases a, b, c of the first end, then of the second; ground left out."""
    live = np.flatnonzero(node >= 0)
    return live[np.lexsort((network.node_phase[node[live]], end[live]))]


def _line(kind: str, name: str, y: Complex) -> dict[str, float]:
    """Impedance and capacitance matrices of a block."""
    series, charging = -y[:3, 3:], y[:3, :3] + y[:3, 3:]
    again = np.block([[series + charging, -series], [-series, series + charging]])
    _same(kind, name, y, (again + again.T) / 2.0)
    if np.abs(charging.real).max() > EXACT * np.abs(y).max():
        _refuse(kind, name, "y", "a line that conducts to ground")
    z, c = np.linalg.inv(series), 2.0 * charging.imag / (2.0 * np.pi * FREQUENCY_HZ)
    found = {"i_n": np.nan}
    for i, j in ((0, 0), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2)):
        place = "abc"[i] + "abc"[j]
        found |= {f"r_{place}": z[i, j].real, f"x_{place}": z[i, j].imag, f"c_{place}": c[i, j]}
    return found


def _transformer(kind: str, name: str, y: Complex, u_to: float) -> tuple[dict[str, float], Complex]:
    """Parameters and the (2, 2) shunts (by end; zero and positive sequence) that give the block, V and S.

    The ratio follows from the positive sequence: its size from both ends' own admittances, which
    differ from the series one by shunts at most, its angle in hours from the mutual one.
    """
    ff, tf, tt = (_sequences(kind, name, part) for part in (y[:3, :3], y[3:, :3], y[3:, 3:]))
    size = float(np.sqrt(abs(tt[1]) / abs(ff[1])))
    clock = round(float(np.angle(-tt[1] / tf[1])) / (np.pi / 6.0)) % 12
    series = -tf[1] * size * np.exp(1j * np.pi / 6.0 * clock)
    grounded = abs(ff[0]) > GROUNDED * abs(ff[1]), abs(tt[0]) > GROUNDED * abs(tt[1])
    windings = _windings(clock, *grounded)
    own = _zero_sequence(series, size, clock, windings)
    shunts = np.array([ff[:2] - [own[0], series / size**2], tt[:2] - [own[2], series]])
    _same(kind, name, y, _rebuilt(series, size, clock, own, shunts))
    z = 1.0 / series
    element = {
        "u1": size * u_to, "u2": u_to, "sn": RATED_VA, "i0": 0.0, "p0": 0.0, "clock": clock,
        "uk": np.copysign(abs(z), z.imag) * RATED_VA / u_to**2, "pk": z.real * RATED_VA**2 / u_to**2,
        "winding_from": windings[0], "winding_to": windings[1],
        "tap_side": 0, "tap_pos": 0, "tap_min": 0, "tap_max": 0, "tap_nom": 0, "tap_size": 0.0,
    }  # fmt: skip
    return element, shunts


def _windings(clock: int, from_grounded: bool, to_grounded: bool) -> tuple[int, int]:  # noqa: FBT001 - one per end
    """Winding types: two wye ones an even number of hours apart, wye and delta an odd one."""
    if clock % 2 == 0:
        return (WYE_N, WYE_N) if from_grounded and to_grounded else (WYE, WYE)
    if from_grounded:
        return WYE_N, DELTA
    return DELTA, WYE_N if to_grounded else WYE


def _zero_sequence(series: complex, size: float, clock: int, windings: tuple[int, int]) -> Complex:
    """(3,) zero-sequence admittance at the first end, between the ends, at the second, S."""
    through = windings == (WYE_N, WYE_N)
    turned = -1.0 if clock in {2, 6, 10} else 1.0
    at_first = series / size**2 if windings[0] == WYE_N else 0.0
    at_second = series if windings[1] == WYE_N else 0.0
    return np.array([at_first, -turned * series / size if through else 0.0, at_second], dtype=np.complex128)


def _rebuilt(series: complex, size: float, clock: int, zero: Complex, shunts: Complex) -> Complex:
    """(6, 6) block that power-grid-model makes of these figures and the shunts at both ends."""
    ratio = size * np.exp(1j * np.pi / 6.0 * clock)
    whole = np.empty((6, 6), dtype=np.complex128)
    for ends, values in (
        ((0, 0), np.array([zero[0], series / size**2, series / size**2]) + shunts[0, [0, 1, 1]]),
        ((0, 1), np.array([zero[1], -series / ratio.conjugate(), -series / ratio])),
        ((1, 0), np.array([zero[1], -series / ratio, -series / ratio.conjugate()])),
        ((1, 1), np.array([zero[2], series, series]) + shunts[1, [0, 1, 1]]),
    ):
        i, j = 3 * ends[0], 3 * ends[1]
        whole[i : i + 3, j : j + 3] = _FROM_SEQUENCES @ np.diag(values) @ _TO_SEQUENCES
    return whole


def _shunts(network: Network, state: ControlState, rows: dict[str, list[dict[str, float]]]) -> None:
    blocks = network.shunt_blocks
    for row in np.flatnonzero(fitted_shunts(network, state.cap_on)).tolist():
        name, kind = network.shunts[row], network.shunt_kind[row]
        own = slice(int(blocks.start[row]), int(blocks.start[row + 1]))
        order = _order(network, blocks.node[own], blocks.end[own])
        if network.node_phase[blocks.node[own][order]].tolist() != [0, 1, 2]:
            _refuse(kind, name, "phases", "a shunt without three phases")
        y = _sequences(kind, name, blocks.block(row)[np.ix_(order, order)])
        if abs(y[1] - y[2]) > EXACT * np.abs(y).max():
            _refuse(kind, name, "y", "a shunt with rotating parts")
        rows["shunt"].append(_shunt(int(network.node_bus[blocks.node[own][order[0]]]), y[:2]))


def _shunt(bus: int, y: Complex) -> dict[str, float]:
    """A shunt from its zero and positive sequence, S."""
    return {"node": bus, "status": 1, "g0": y[0].real, "b0": y[0].imag, "g1": y[1].real, "b1": y[1].imag}


def _sequences(kind: str, name: str, y: Complex) -> Complex:
    """(3,) zero, positive and negative sequence of a (3, 3) part whose phases are equal."""
    turned = _TO_SEQUENCES @ y @ _FROM_SEQUENCES
    if np.abs(turned - np.diag(np.diag(turned))).max() > EXACT * np.abs(y).max():
        _refuse(kind, name, "y", f"a {kind} of unequal phases")
    found: Complex = np.diag(turned)
    return found


def _same(kind: str, name: str, y: Complex, again: Complex) -> None:
    """Refuse an element that is not what power-grid-model would make of its figures."""
    if np.abs(y - again).max() > EXACT * np.abs(y).max():
        _refuse(kind, name, "y", f"the admittance of this {kind}")
