"""Feeders for the lanes as plain arrays, exported from OpenDSS, and OpenDSS itself as the rival clock."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from gridflock.grid.lanes import Circuit, Laws

FEEDERS = {
    "8500": ("IEEETestCases/8500-Node", "Master-unbal.dss"),
    "european_lv": ("IEEETestCases/LVTestCase", "Master.dss"),
    "ieee123": ("IEEETestCases/123Bus", "IEEE123Master.dss"),
    "ckt5": ("EPRITestCircuits/ckt5", "Master_ckt5.dss"),
}
WIDENED = {"ckt5": (0.85, 1.15)}
"""CVR loads jump at OpenDSS's default limits: no unique answer exists there."""
FLOOR_PU = 0.5


@dataclass(frozen=True)
class Exported:
    """A feeder as arrays and the engine it came from.

    Attributes:
        circuit: what the lanes need.
        s_kva: complex (P,) nominal injection of each port, house sign.
        fixed: (P,) loads that ignore the load multiplier.
        load: (P,) the OpenDSS load each port is part of.
        names: node names in the circuit's order.
        dss: the OpenDSS instance that holds the feeder.
    """

    circuit: Circuit
    s_kva: np.ndarray
    fixed: np.ndarray
    load: np.ndarray
    names: list[str]
    dss: object


def export(shared, name: str) -> Exported:
    """Compile a feeder, solve it once so that taps stand, and take its arrays at those taps."""
    dss = opendss(shared, name)
    circuit, solution = dss.ActiveCircuit, dss.ActiveCircuit.Solution
    solution.Tolerance = 1e-9
    solution.MaxIterations = 500
    solution.MaxControlIterations = 100
    solution.Solve()
    dss.Text.Command = "set controlmode=off"
    solution.Solve()
    return _arrays(dss, circuit)


def opendss(shared, name: str):
    """A silent OpenDSS with the feeder compiled."""
    from dss import DSS

    folder, master = FEEDERS[name]
    DSS.AllowForms = False
    DSS.AllowEditor = False
    DSS.AllowChangeDir = False
    dss = DSS.NewContext() if hasattr(DSS, "NewContext") else DSS
    dss.AllowForms = False
    dss.Text.Command = f'redirect "{shared / "data/feeders" / folder / master}"'
    for element in ("monitor", "energymeter"):
        dss.Text.Command = f"batchedit {element}..* enabled=no"
    if name in WIDENED:
        low, high = WIDENED[name]
        dss.Text.Command = f"batchedit load..* vminpu={low} vmaxpu={high}"
    return dss


def _arrays(dss, circuit) -> Exported:
    names = [name.lower() for name in circuit.YNodeOrder]
    ports = _Ports(circuit, names)
    base = dict(
        zip((n.lower() for n in circuit.AllNodeNames), circuit.AllBusVmag / circuit.AllBusVmagPu, strict=True)
    )
    for element in ("load", "generator", "pvsystem"):
        dss.Text.Command = f"batchedit {element}..* enabled=no"
    circuit.Solution.Solve()
    y, order = _admittance(dss, circuit)
    source = _source_current(circuit, order)
    place = {name: k for k, name in enumerate(order)}
    back = np.array([place[name] for name in names])
    y = y[back][:, back].tocsc()
    dss.Text.Command = "batchedit load..* enabled=yes"
    circuit.Solution.Solve()
    built = Circuit(
        y=y,
        i_source=source[back],
        v_base=np.array([base[name] for name in names]),
        port_nodes=ports.nodes,
        port_v=ports.v,
        law=ports.laws(),
    )
    return Exported(built, ports.s, ports.fixed, ports.load, names, dss)


def _admittance(dss, circuit):
    order = [name.lower() for name in circuit.YNodeOrder]
    data, indices, indptr = dss.YMatrix.GetCompressedYMatrix()
    n = len(order)
    y = sparse.csc_matrix(
        (np.asarray(data).view(np.complex128) if not np.iscomplexobj(data) else data, indices, indptr),
        shape=(n, n),
    )
    return y, order


def _source_current(circuit, order):
    """Norton current of the sources: their Yprim at the source's own voltage."""
    current = np.zeros(len(order), dtype=complex)
    place = {name: k for k, name in enumerate(order)}
    source = circuit.Vsources
    for _ in source:
        element = circuit.ActiveCktElement
        phases = element.NumPhases
        prim = np.asarray(element.Yprim).view(complex).reshape(2 * phases, 2 * phases)[:phases, :phases]
        angle = np.deg2rad(source.AngleDeg) - np.arange(phases) * 2 * np.pi / phases
        volt = source.BasekV * 1000 * source.pu
        volt = volt / (np.sqrt(3) if phases == 3 else 1) * np.exp(1j * angle)
        bus, *dots = element.BusNames[0].lower().split(".")
        for node, value in zip(dots or ["1", "2", "3"], prim @ volt, strict=False):
            current[place[f"{bus}.{node}"]] += value
    return current


class _Ports:
    """Collects one port per phase of every load."""

    def __init__(self, circuit, names):
        self.rows = []
        place = {name: k for k, name in enumerate(names)}
        loads = circuit.Loads
        for number, _ in enumerate(loads):
            self._add(number, loads, circuit.ActiveCktElement, place)
        self.nodes = np.array([row[0] for row in self.rows], dtype=np.int32)
        self.v = np.array([row[1] for row in self.rows])
        self.s = np.array([row[2] for row in self.rows])
        self.fixed = np.array([row[3] for row in self.rows])
        self.load = np.array([row[4] for row in self.rows])
        self.kind = [row[5] for row in self.rows]

    def _add(self, number, loads, element, place):
        bus, *dots = element.BusNames[0].lower().split(".")
        phases = loads.Phases
        dots = [int(d) for d in dots] or [1, 2, 3][:phases]
        volt = loads.kV * 1000.0
        s = -(loads.kW + 1j * loads.kvar) / phases
        node = [place[f"{bus}.{d}"] if d else -1 for d in dots]
        fixed = loads.Status != 0
        kind = (loads.Model, loads.Vminpu, loads.Vmaxpu, loads.CVRwatts, loads.CVRvars, tuple(loads.ZIPV))
        if loads.IsDelta:
            pairs = [(0, 1)] if phases == 1 else [(k, (k + 1) % phases) for k in range(phases)]
        else:
            neutral = phases if len(node) > phases else None
            pairs = [(k, neutral) for k in range(phases)]
            volt = volt / np.sqrt(3) if phases > 1 else volt
        for i, j in pairs:
            a, b = node[i], -1 if j is None else node[j]
            self.rows.append(((a, b), volt, s, fixed, number, kind))

    def laws(self) -> Laws:
        count = len(self.rows)
        shares = np.zeros((count, 2, 3))
        exponent = np.full((count, 2), np.nan)
        low, high, edge = np.empty(count), np.empty(count), np.empty((count, 2))
        for k, (model, vmin, vmax, watts, vars_, zipv) in enumerate(self.kind):
            share = {2: (0, 0, 1), 5: (0, 1, 0)}.get(model, (1, 0, 0))
            shares[k] = share
            if model == 8:
                shares[k] = [zipv[2::-1], zipv[5:2:-1]]
            if model == 4:
                exponent[k] = watts, vars_
            low[k], high[k] = vmin, vmax
            at = np.array([vmin, vmax])
            edge[k] = shares[k, 0, 0] / at + shares[k, 0, 1] + shares[k, 0, 2] * at
        return Laws(shares, exponent, low, high, np.full(count, FLOOR_PU), edge)


def control_states(exported: Exported, count: int, seed: int, reach: int = 3):
    """Random taps of all regulators around where they stand, and a capacitor off now and then.

    Returns:
        The nodes whose admittances change (T,), and complex (count, T, T) changes against the circuit.
    """
    dss, rng = exported.dss, np.random.default_rng(seed)
    circuit = dss.ActiveCircuit
    windings = [
        (circuit.RegControls.Transformer, circuit.RegControls.TapWinding) for _ in circuit.RegControls
    ]
    capacitors = list(circuit.Capacitors.AllNames) if circuit.Capacitors.Count else []
    before = [_tap(circuit, *winding) for winding in windings]
    dss.Text.Command = "batchedit load..* enabled=no"
    changes = []
    for _ in range(count):
        for winding, tap in zip(windings, before, strict=True):
            _tap(circuit, *winding, tap + 0.00625 * rng.integers(-reach, reach + 1))
        for name in capacitors:
            circuit.Capacitors.Name = name
            circuit.Capacitors.States = [int(rng.random() < 0.8)] * circuit.Capacitors.NumSteps
        changes.append(_in_order(dss, circuit, exported.names) - exported.circuit.y)
    for winding, tap in zip(windings, before, strict=True):
        _tap(circuit, *winding, tap)
    dss.Text.Command = "batchedit load..* enabled=yes"
    touched = sum(abs(change) for change in changes).tocoo()
    nodes = np.unique(np.concatenate([touched.row[touched.data > 1e-9], touched.col[touched.data > 1e-9]]))
    return nodes.astype(np.int32), np.stack([change[nodes][:, nodes].toarray() for change in changes])


def _tap(circuit, transformer, winding, tap=None):
    circuit.Transformers.Name = transformer
    circuit.Transformers.Wdg = winding
    if tap is not None:
        circuit.Transformers.Tap = tap
    return circuit.Transformers.Tap


def _in_order(dss, circuit, names):
    circuit.Solution.Solve()
    y, order = _admittance(dss, circuit)
    place = {name: k for k, name in enumerate(order)}
    back = np.array([place[name] for name in names])
    return y[back][:, back].tocsc()
