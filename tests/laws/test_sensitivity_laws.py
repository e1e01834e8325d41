"""Laws of the derivatives: they are those of the power flow itself, forwards and backwards."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.field.opendss import available, read_dss
from gridflock.grid import ControlState, initial, linearise, solve
from gridflock.grid._flow import load_currents, port_voltages
from gridflock.grid._sensitivity import load_slopes
from gridflock.grid._unbalance import UnbalanceBy, unbalance, unbalance_slope
from gridflock.grid.build import assemble, from_document
from gridflock.sim import feeder_document

NETWORK = from_document(feeder_document("ieee123"))
EXACT = 1e-4
"""Largest error of a derivative, of the largest one among those compared."""
FEEDERS = {
    "13": ("IEEETestCases/13Bus/IEEE13Nodeckt.dss", ("node", "port"), 2.0, 1e-10),
    "37": ("IEEETestCases/37Bus/ieee37.dss", ("port",), 1.0, 1e-11),
    "8500": ("IEEETestCases/8500-Node/Master-unbal.dss", ("node", "port"), 0.2, 1e-11),
}
"""File, where power is moved, kVA of the differences, tolerance of the flow (13 has nearly ideal joints)."""

seeds = st.integers(0, 2**32 - 1)


def smooth(network, seed=0):
    """The network with random load laws that hold at every voltage the tests meet."""
    rng = np.random.default_rng(seed)
    count = len(network.loads)
    shares = rng.dirichlet(np.ones(3), (count, 2))
    exponent = np.where(rng.random((count, 2)) < 0.3, rng.uniform(0.2, 3.0, (count, 2)), np.nan)
    band = np.tile([0.3, 0.5, 1.5], (count, 1))
    return replace(network, load_zip=shares, load_exponent=exponent, load_range=band)


def point(network, seed, level=0.8, tol=1e-11):
    """A solved operating point with loads and injections drawn from a seed."""
    rng = np.random.default_rng(seed)
    load = network.load_kva * level * rng.uniform(0.5, 1.2, len(network.loads))
    inject = rng.normal(0.0, 6.0, network.n) + 1j * rng.normal(0.0, 3.0, network.n)
    inject[(rng.random(network.n) < 0.7) | (network.node_phase > 2)] = 0.0
    return solve(network, load, inject, initial(network), tol=tol)


class Watched:
    """One quantity of each sort, its gradients, and its value at any other flow."""

    def __init__(self, flow):
        net, self.flow, linear = flow.network, flow, linearise(flow)
        blocks = net.branch_blocks
        live = np.flatnonzero(net.topology.live & (net.node_phase < 3))
        self.node = int(live[np.argmin(flow.v_pu[live])])
        lines = np.array([kind == "line" for kind in net.branch_kind])[blocks.owner]
        self.conductor = int(np.argmax(np.where(lines, np.abs(flow.currents), 0.0)))
        head = net.branch_head[blocks.owner[self.conductor]]
        self.conductors = head[head >= 0]
        table = net.node_table()
        self.bus = int(np.flatnonzero((table >= 0).all(axis=1) & net.topology.bus_live)[-1])
        self.gradients = {
            "voltage": linear.voltage(self.node),
            "current": linear.current(self.conductor),
            "losses": linear.losses(),
            "unbalance": linear.unbalance(self.bus),
            "sequence": linear.unbalance(self.bus, UnbalanceBy.SEQUENCE),
        }
        self.gradients["p"], self.gradients["q"] = linear.power(self.conductors)

    def values(self, flow):
        """The quantities at a flow."""
        net = flow.network
        through = flow.v[net.branch_blocks.node[self.conductors]] * np.conj(flow.currents[self.conductors])
        v = flow.v[net.node_table()[self.bus]]
        return {
            "voltage": flow.v_pu[self.node],
            "current": abs(flow.currents[self.conductor]),
            "losses": flow.losses_kw,
            "unbalance": float(unbalance(v, UnbalanceBy.LINE)),
            "sequence": float(unbalance(v, UnbalanceBy.SEQUENCE)),
            "p": through.sum().real / 1000.0,
            "q": through.sum().imag / 1000.0,
        }

    def differences(self, where, row, step, tol):
        """Central differences of the quantities for a step of one node's or port's power."""
        net, flow = self.flow.network, self.flow
        ends = []
        for sign in (1.0, -1.0):
            load, inject = flow.load_kva.copy(), flow.inject_kva.copy()
            (load if where == "port" else inject)[row] += sign * step
            moved = solve(net, load, inject, flow.state, flow, tol=tol)
            assert moved.converged
            ends.append(self.values(moved))
        return {name: (ends[0][name] - ends[1][name]) / (2.0 * abs(step)) for name in ends[0]}

    def check(self, rng, wheres, size, tol, count=50):
        """Gradients against differences at random rows, P and Q each, all quantities."""
        net = self.flow.network
        live = np.flatnonzero(net.topology.live & (net.node_phase < 3))
        places = {"node": live, "port": np.flatnonzero(net.topology.port_live)}
        now = self.values(self.flow)
        for name, gradient in self.gradients.items():
            assert gradient.value == pytest.approx(now[name], rel=1e-6, abs=1e-9)
        for where in wheres:
            for unit, step in (("kw", size), ("kvar", 1j * size)):
                rows = rng.choice(places[where], min(count, len(places[where])), replace=False)
                seen = [self.differences(where, row, step, tol) for row in rows]
                for name, gradient in self.gradients.items():
                    told = getattr(gradient, f"{where}_{unit}")[rows]
                    true = np.array([one[name] for one in seen])
                    assert np.abs(told - true).max() <= EXACT * np.abs(true).max(), (name, where, unit)


@pytest.mark.parametrize("seed", [1, 2])
def test_derivatives_are_those_of_the_solver(seed):
    """Voltage, current, P, Q, losses and unbalance: central differences agree at 100 random ports and nodes.

    With random ZIP shares and exponents at every port, three-wire nodes among the nodes.
    """
    flow = point(smooth(NETWORK, seed), seed)
    Watched(flow).check(np.random.default_rng(seed), ("node", "port"), 0.3, 1e-11)


def test_derivatives_hold_beyond_the_edges_of_the_load_law():
    """A band so narrow that loads stand below, inside and above it."""
    low, high, count = 1.025, 1.035, len(NETWORK.loads)
    band, edge = np.tile([0.5, low, high], (count, 1)), np.tile([1 / low, 1 / high], (count, 1))
    net = replace(NETWORK, load_range=band, load_edge=edge)
    flow = solve(net, 0.8 * net.load_kva, np.zeros(net.n, dtype=complex), initial(net), tol=1e-11)
    r = np.abs(port_voltages(net, flow.v)) / net.load_v
    assert np.histogram(r, [0.9, low, high, 1.1])[0].min() > 5
    assert np.abs(r[:, None] - [low, high]).min() > 1e-5
    Watched(flow).check(np.random.default_rng(5), ("port",), 0.1, 1e-11, count=50)


def test_an_injection_at_a_three_wire_node_stands_between_two_phases():
    """At bus 610 the derivative is that of power taken out at one phase and put in at the next."""
    watched = Watched(point(smooth(NETWORK), 3))
    for row in NETWORK.three_wire.tolist():
        seen = watched.differences("node", row, 0.2, 1e-11)
        for name, gradient in watched.gradients.items():
            assert gradient.node_kw[row] == pytest.approx(seen[name], rel=1e-4, abs=1e-7), name


@pytest.mark.parametrize(
    ("name", "count"), [("13", 50), ("37", 50), ("8500", 6), pytest.param("8500", 50, marks=pytest.mark.slow)]
)
def test_derivatives_hold_on_imported_feeders(name, count, shared, require):
    """IEEE 13, 37 (delta) and 8500 (split phase), load bands widened: 100 random ports, and nodes."""
    require("the extra gridflock[opendss]", available())
    file, wheres, size, tol = FEEDERS[name]
    path = shared / "data/feeders" / file
    require(file, path.is_file())
    network = assemble(read_dss(path, shared / "data/feeders", (0.5, 1.5))[0])
    flow = solve(
        network, 0.7 * network.load_kva, np.zeros(network.n, dtype=complex), initial(network), tol=tol
    )
    Watched(flow).check(np.random.default_rng(7), wheres, size, tol, count)


@settings(deadline=None, max_examples=10)
@given(seeds)
def test_forwards_and_backwards_agree(seed):
    """The response of a voltage to random injections is its gradient times them, to rounding."""
    rng = np.random.default_rng(seed)
    flow = point(NETWORK, seed, tol=1e-9)
    linear = linearise(flow)
    d_kva = rng.normal(size=NETWORK.n) + 1j * rng.normal(size=NETWORK.n)
    d_load = rng.normal(size=len(NETWORK.loads)) + 1j * rng.normal(size=len(NETWORK.loads))
    moved = linear.magnitudes(linear.response(d_kva, d_load))
    for node in rng.integers(0, NETWORK.n, 3).tolist():
        g = linear.voltage(node)
        along = g.node_kw @ d_kva.real + g.node_kvar @ d_kva.imag
        along += g.port_kw @ d_load.real + g.port_kvar @ d_load.imag
        assert along == pytest.approx(moved[node], rel=1e-8, abs=1e-12)


def test_the_response_is_the_change_of_the_flow():
    """All complex voltages move as told, for many right sides as for one."""
    rng = np.random.default_rng(4)
    flow = point(smooth(NETWORK), 4)
    linear = linearise(flow)
    d_kva = 0.05 * (rng.normal(size=(20, NETWORK.n)) + 1j * rng.normal(size=(20, NETWORK.n)))
    together = linear.response(d_kva)
    for k in (0, 17):
        ends = [
            solve(flow.network, flow.load_kva, flow.inject_kva + s * d_kva[k], flow.state, flow, tol=1e-11).v
            for s in (1.0, -1.0)
        ]
        true = (ends[0] - ends[1]) / 2.0
        np.testing.assert_allclose(together[k], true, atol=1e-4 * np.abs(true).max())
        np.testing.assert_allclose(linear.response(d_kva[k]), together[k], rtol=1e-9, atol=1e-12)


@settings(deadline=None, max_examples=30)
@given(seeds, st.floats(0.3, 1.4))
def test_the_slope_of_every_load_law_is_its_difference_quotient(seed, level):
    """Any ZIP share, exponent and band, inside and outside: di for random du to 1e-6 of the slope."""
    rng = np.random.default_rng(seed)
    net = smooth(NETWORK, seed)
    edges = np.stack([np.full(len(net.loads), 0.4), rng.uniform(0.6, 0.99, len(net.loads)),
                      rng.uniform(1.01, 1.2, len(net.loads))], axis=1)  # fmt: skip
    net = replace(net, load_range=edges, load_edge=1.0 / edges[:, 1:])
    v = level * net.v_base * np.exp(2j * np.pi * (rng.random(net.n) * 0.02 - net.node_phase / 3.0))
    r = np.abs(port_voltages(net, v)) / net.load_v
    away = np.abs(r[:, None] - edges).min(axis=1) > 1e-4
    load = rng.normal(size=len(net.loads)) + 1j * rng.normal(size=len(net.loads))
    dv = 1e-6 * net.v_base * np.exp(2j * np.pi * rng.random(net.n))
    true = load_currents(net, load, v + dv) - load_currents(net, load, v - dv)
    slope, turned = load_slopes(net, load, v)
    du = port_voltages(net, dv)
    told = 2.0 * (slope * du + turned * np.conj(du))
    scale = 2.0 * (np.abs(slope) + np.abs(turned)) * np.abs(du)
    assert (np.abs(told - true) <= 1e-6 * scale + 1e-9)[away].all()


def test_nothing_can_be_injected_where_nothing_lives():
    """Behind an open switch derivatives are zero, elsewhere finite."""
    closed = NETWORK.branch_closed.copy()
    closed[NETWORK.branches.index("67-72")] = False
    net = replace(NETWORK, branch_closed=closed)
    dead = ~net.topology.live
    assert dead.any()
    flow = solve(net, 0.5 * net.load_kva, np.zeros(net.n, dtype=complex), initial(net))
    gradient = linearise(flow).voltage(net.node_row("47", "a"))
    assert not gradient.node_kw[dead].any()
    assert not gradient.port_kw[~net.topology.port_live].any()
    assert np.isfinite(gradient.node_kw).all()
    assert gradient.node_kw[~dead].any()
    assert np.isnan(linearise(flow).voltage(int(np.flatnonzero(dead)[0])).node_kw[~dead]).all()


def test_a_derivative_needs_a_solved_flow():
    """A flow that has not converged has none."""
    flow = solve(NETWORK, NETWORK.load_kva, np.full(NETWORK.n, -400.0 + 0j), initial(NETWORK))
    with pytest.raises(ValueError, match="converged"):
        linearise(flow)


def test_taps_and_capacitors_are_those_of_the_flow():
    """Another control state has other derivatives."""
    state = initial(NETWORK)
    load, nothing = 0.5 * NETWORK.load_kva, np.zeros(NETWORK.n, dtype=complex)
    off = ControlState(state.taps, np.zeros_like(state.cap_on), state.pending_since_s)
    ours, other = (linearise(solve(NETWORK, load, nothing, s)).losses().node_kvar for s in (state, off))
    assert np.abs(ours - other).max() > 1e-4


@settings(deadline=None, max_examples=40)
@given(seeds, st.sampled_from(list(UnbalanceBy)))
def test_the_slope_of_unbalance_is_its_difference_quotient(seed, by):
    """For every definition, away from ties."""
    rng = np.random.default_rng(seed)
    v = np.exp(-2j * np.pi * np.arange(3) / 3.0) * (
        1.0 + 0.05 * rng.normal(size=3) + 0.05j * rng.normal(size=3)
    )
    dv = 1e-7 * (rng.normal(size=3) + 1j * rng.normal(size=3))
    true = float(unbalance(v + dv, by) - unbalance(v - dv, by)) / 2.0
    told = float((np.conj(unbalance_slope(v, by)) @ dv).real)
    assert told == pytest.approx(true, rel=1e-4, abs=2e-10)


def test_unbalance_by_its_definitions():
    """Magnitudes 220, 215, 210 are 5/215 unbalanced; a negative sequence of 3 % is 0.03; balance is 0."""
    assert unbalance(np.array([220.0, 215.0, 210.0]), UnbalanceBy.PHASE) == pytest.approx(5 / 215)
    turn = np.exp(2j * np.pi / 3.0)
    balanced = np.array([1.0, turn**2, turn])
    tilted = balanced + 0.03 * np.array([1.0, turn, turn**2]) + 0.1
    assert unbalance(tilted, UnbalanceBy.SEQUENCE) == pytest.approx(0.03)
    for by in UnbalanceBy:
        assert unbalance(balanced, by) == pytest.approx(0.0, abs=1e-12)
