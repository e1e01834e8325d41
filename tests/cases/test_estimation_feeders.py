"""The state estimator on reference feeders: 30 % of meters missing, noisy ones, bad ones."""

import numpy as np
import pytest

from gridflock.bench._estimation import estimation, pseudo_flow, trial
from gridflock.grid import initial, settle, solve, violations
from gridflock.grid.build import assemble
from gridflock.grid.estimation import Known, Measurements, Pseudo, Quantity, estimate_state

FEEDERS = {
    "ieee123": "IEEETestCases/123Bus/IEEE123Master.dss",
    "ieee37": "IEEETestCases/37Bus/ieee37.dss",
    "european_lv": "IEEETestCases/LVTestCase/Master.dss",
    "ckt5": "EPRITestCircuits/ckt5/Master_ckt5.dss",
    "8500": "IEEETestCases/8500-Node/Master-unbal.dss",
}


@pytest.fixture(scope="module")
def network(shared, require):
    """Feeders by name, each read once."""
    from gridflock.field import opendss

    kept = {}

    def read(name):
        require("dss-python (extra `opendss`)", opendss.available())
        root = shared / "data/feeders"
        if name not in kept:
            kept[name] = assemble(opendss.read_dss(root / FEEDERS[name], root)[0])
        return kept[name]

    return read


def settled(net, level=1.0):
    """Nominal loads at a level, and the controls at rest there."""
    nominal = net.load_kva * np.where(net.load_scaled, level, 1.0)
    return nominal, settle(net, nominal, np.zeros(net.n, dtype=complex), initial(net))[1]


@pytest.mark.parametrize("name", FEEDERS)
def test_exact_readings_return_the_point_on_every_feeder(network, name):
    """Delta, split phase, CVR loads: exact powers and voltages at all ports give all voltages to 1e-6 pu."""
    net = network(name)
    nominal, state = settled(net)
    rng = np.random.default_rng(7)
    flow = solve(net, nominal * rng.uniform(0.6, 1.1, len(nominal)), np.zeros(net.n, dtype=complex), state)
    assert flow.converged
    s, rows = flow.served_kva, np.arange(len(nominal))
    exact = [
        Measurements.of(Quantity.PORT_KW, rows, s.real, 1e-5 * np.abs(s) + 1e-7, 0),
        Measurements.of(Quantity.PORT_KVAR, rows, s.imag, 1e-5 * np.abs(s) + 1e-7, 0),
        Measurements.of(
            Quantity.VOLTAGE, np.arange(0, net.n, 9), np.abs(flow.v)[::9], 1e-4 * net.v_base[::9], 0
        ),
    ]
    found = estimate_state(net, state, Pseudo.shares(nominal), exact, 0)
    assert found.converged
    assert not found.bad
    assert not found.rejected
    assert np.max(np.abs(found.v_pu - flow.v_pu)) < 1e-6
    assert np.max(np.abs(found.load_kva - s)) < 1e-4 * np.max(np.abs(s))
    told = [
        sorted((int(kind), element, int(phase)) for kind, element, phase in columns)
        for columns in (
            zip(broken.kind, broken.element, broken.phase, strict=True)
            for broken in (violations(net, found.flow()), violations(net, flow))
        )
    ]
    assert told[0] == told[1]


@pytest.mark.parametrize(
    ("name", "runs", "most"), [("ieee123", 12, 0.3), ("ieee37", 12, 0.3), ("european_lv", 12, 0.55)]
)
def test_estimates_beat_the_pseudo_measurement_flow(network, shared, name, runs, most):
    """Errors are a fraction of the flow's from the same meters and honest; bad voltages are named."""
    network(name)
    root = shared / "data/feeders"
    found = estimation(str(root / FEEDERS[name]), root, runs=runs)
    assert found["not_converged"] == 0
    assert found["ratio_vs_pseudo_flow"] <= most
    assert 0.8 <= found["normalised_error_rms"] <= 1.25
    assert found["false_alarms"] <= 1
    assert found["bad_voltage_named"] == runs


def test_the_8500_node_feeder_is_estimated(network):
    """At full load with 30 % of meters missing: at most half the flow's error, as sure as it says."""
    net = network("8500")
    nominal, state = settled(net)
    mine, other, normalised = [], [], []
    for seed in range(2):
        given = trial(net, state, nominal, 0.3, seed)
        found = estimate_state(net, state, given.pseudo, given.readings, 0)
        assert found.converged
        assert not found.bad
        error = found.v_pu - given.truth.v_pu
        mine.append(np.mean(error**2))
        other.append(np.mean((pseudo_flow(net, state, given).v_pu - given.truth.v_pu) ** 2))
        told = found.sigma_v_pu > 1e-7
        normalised.append(np.mean((error[told] / found.sigma_v_pu[told]) ** 2))
        assert set(np.unique(found.node_known)) <= {Known.ASSUMED, Known.IMPLIED}
        assert ((found.port_known == Known.READ).all(axis=1) == given.metered).all()
    assert np.sqrt(np.mean(mine) / np.mean(other)) <= 0.5
    assert 0.85 <= np.sqrt(np.mean(normalised)) <= 1.15


@pytest.mark.slow
def test_bad_meters_on_the_8500_node_feeder_are_named(network, shared):
    """In 200 seeds: ≥ 95 % of raised voltages and of turned powers named, a good reading in ≤ 1 % of runs."""
    network("8500")
    root = shared / "data/feeders"
    found = estimation(str(root / FEEDERS["8500"]), root, runs=200)
    assert found["ratio_vs_pseudo_flow"] <= 0.5
    assert found["false_alarms"] <= 2
    for kind in ("voltage", "power"):
        assert found[f"bad_{kind}_planted"] == 200
        assert found[f"bad_{kind}_named"] >= 190


def test_a_feeder_head_in_scada_sharpens_the_powers_below(network):
    """Power and current at the head, summed over phases, tighten the total of loads that nobody reads."""
    net = network("ieee123")
    nominal, state = settled(net)
    given = trial(net, state, nominal, 1.0, 3)
    head = int(np.argmax(np.abs(given.truth.branch_kva).sum(axis=1)))
    conductors = net.branch_head[head]
    kva = given.truth.branch_kva[head].sum()
    amps = np.abs(given.truth.currents[conductors])
    scada = [
        Measurements.of(Quantity.BRANCH_KW, conductors, [kva.real], 5.0, 0, size=3),
        Measurements.of(Quantity.BRANCH_KVAR, conductors, [kva.imag], 5.0, 0, size=3),
        Measurements.of(Quantity.BRANCH_A, conductors, amps, 1.0, 0),
    ]
    without = estimate_state(net, state, given.pseudo, given.readings, 0)
    found = estimate_state(net, state, given.pseudo, scada, 0)
    assert found.converged
    total = given.truth.served_kva.sum().real
    assert abs(found.load_kva.sum().real - total) < 0.01 * abs(total)
    assert (found.sigma_v_pu <= without.sigma_v_pu + 1e-9).all()
    assert found.sigma_v_pu.max() < without.sigma_v_pu.max()
    assert np.abs(found.flow().branch_kva[head].sum() - kva) < 15.0
