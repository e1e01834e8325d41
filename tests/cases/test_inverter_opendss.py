"""The power flow with inverters acting, against OpenDSS's PVSystem and InvControl."""

import numpy as np
import pytest

from gridflock.grid import initial
from gridflock.grid.build import assemble
from gridflock.grid.series._curves import Category, Curves, ReactiveMode
from gridflock.grid.series._inverters import Acting, fitted

MASTER = "data/feeders/IEEETestCases/13Bus/IEEE13Nodeckt.dss"
PLACES = [
    ("675", "abc", 600.0, 4.16),
    ("634", "abc", 300.0, 0.48),
    ("611", "c", 150.0, 2.4),
    ("652", "a", 200.0, 2.4),
]
SUN = 0.8
TIGHT = "voltagechangetolerance=1e-9 monvoltagecalc=avg"
VOLT_VAR = "mode=voltvar vvc_curve1=curve refreactivepower=varmax deltaq_factor=0.3 varchangetolerance=1e-9"
VOLT_WATT = (
    "mode=voltwatt voltwatt_curve=curve voltwattyaxis=pmpppu deltap_factor=0.3 activepchangetolerance=1e-9"
)
CURVES = {
    "volt-var": ("xarray=[0.5 0.92 0.98 1.02 1.08 1.5] yarray=[1 1 0 0 -1 -1]", VOLT_VAR),
    "volt-watt": ("xarray=[0.5 0.90 0.99 1.5] yarray=[1 1 0.2 0.2]", VOLT_WATT),
}


@pytest.mark.parametrize("function", list(CURVES))
def test_inverters_settle_where_opendss_has_them(require, shared, function):
    """Single- and three-phase inverters on the 13-node feeder: powers and all voltages agree."""
    from gridflock.field import opendss

    require("dss-python (the opendss extra)", opendss.available())
    master = shared / MASTER
    network = assemble(opendss.read_dss(master, master.parents[1])[0])
    state = initial(network)
    powers, v = _judged(master, network, state, *CURVES[function])
    nodes = np.array(
        [[network.node_row(bus, p), -1] for bus, phases, *_ in PLACES for p in phases], dtype=np.int32
    )
    rated = np.array([_rated(*place) for place in PLACES for _ in place[1]])
    start = np.cumsum([0] + [len(place[1]) for place in PLACES]).astype(np.int32)
    acting = Acting(*fitted(network, tuple(p[0] for p in PLACES), nodes, rated, start, _curves(function)))
    nothing = np.zeros(network.n, dtype=complex)
    flow = acting.solve(acting.network.load_kva, nothing, state, SUN * acting.inverters.curves.s_kva)
    assert flow.converged
    np.testing.assert_allclose(np.stack(acting.inverters.powers(flow.load_kva), axis=1), powers, atol=1e-3)
    assert (np.abs(flow.v - v) / network.v_base).max() < 1e-6
    assert np.ptp(powers[:, 1] if function == "volt-var" else powers[:, 0] / [p[2] for p in PLACES]) > 0.01


def _rated(_bus, phases, _kva, kv):
    return 1000.0 * kv / (np.sqrt(3.0) if len(phases) == 3 else 1.0)


def _curves(function):
    count = len(PLACES)
    mode = ReactiveMode.VOLT_VAR if function == "volt-var" else ReactiveMode.UNITY
    c = Curves.defaults(np.array([place[2] for place in PLACES]), Category.B, mode)
    c.volt_watt[:] = function == "volt-watt"
    c.vw_v_pu[:] = np.tile([0.90, 0.99], (count, 1))
    return c


def _judged(master, network, state, points, control):
    """Powers (D, 2) and node voltages (n,) OpenDSS ends at, taps held."""
    from dss import DSS

    DSS.AllowForms = DSS.AllowEditor = DSS.AllowChangeDir = False
    lines = [f'redirect "{master}"', "solve mode=snap controlmode=off", "batchedit regcontrol..* enabled=no"]
    reg = network.regulators
    for row, tap in enumerate(state.taps.tolist()):
        name, winding = network.branches[reg.branch[row]], int(reg.end[row]) + 1
        lines.append(f"edit {name} wdg={winding} tap={1 + reg.step_pu[row] * tap:.15g}")
    lines.append(f"new xycurve.curve npts={4 if 'voltwatt' in control else 6} {points}")
    for k, (bus, phases, kva, kv) in enumerate(PLACES):
        dots = ".".join(str("abc".index(phase) + 1) for phase in phases)
        lines.append(
            f"new pvsystem.pv{k} phases={len(phases)} bus1={bus}.{dots} kv={kv} kva={kva} pmpp={kva} "
            f"irradiance={SUN} pf=1 kvarmax={0.44 * kva} kvarmaxabs={0.44 * kva} "
            f"%cutin=0 %cutout=0 vminpu=0.5 vmaxpu=1.5"
        )
    lines.append(f"new invcontrol.all {control} {TIGHT}")
    lines += [
        "set tolerance=1e-10",
        "set maxiterations=1000",
        "set maxcontroliter=3000",
        "set controlmode=static",
    ]
    for line in [*lines, "solve mode=snap"]:
        DSS.Text.Command = line
    circuit = DSS.ActiveCircuit
    powers = []
    for k, (_, phases, *_) in enumerate(PLACES):
        circuit.SetActiveElement(f"pvsystem.pv{k}")
        powers.append(-np.asarray(circuit.ActiveCktElement.Powers).reshape(-1, 2)[: len(phases)].sum(axis=0))
    place = {name.lower(): k for k, name in enumerate(circuit.YNodeOrder)}
    order = [
        place[f"{network.buses[b]}.{c}".lower()]
        for b, c in zip(network.node_bus, network.node_conductor, strict=True)
    ]
    return np.array(powers), np.asarray(circuit.YNodeVarray).view(complex)[order]
