"""Laws of the power flow with inverters acting."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import gridflock
from gridflock.grid import initial, solve
from gridflock.grid._flow import port_voltages
from gridflock.grid.build import from_document
from gridflock.grid.series._curves import Category, Curves, ReactiveMode, respond
from gridflock.grid.series._inverters import Acting, fitted

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NETWORK = from_document(DOCUMENT)
NOTHING = np.zeros(NETWORK.n, dtype=complex)


def with_inverters(seed, count=12, kva=100.0, steep=1.0):
    """Single- and three-phase inverters at random buses, the volt-var curve ``steep`` times as steep."""
    rng = np.random.default_rng(seed)
    table = NETWORK.node_table()
    nodes, start = [], [0]
    grounded = np.setdiff1d(np.arange(len(NETWORK.buses)), NETWORK.node_bus[NETWORK.three_wire])
    for bus in rng.choice(grounded, count, replace=False):
        nodes += [[row, -1] for row in table[bus] if row >= 0]
        start.append(len(nodes))
    nodes = np.array(nodes, dtype=np.int32)
    c = Curves.defaults(kva * rng.uniform(0.5, 2.0, count), Category.B, ReactiveMode.VOLT_VAR)
    middle = rng.uniform(0.98, 1.03, (count, 1))
    c = replace(
        c,
        mode=rng.integers(0, 5, count).astype(np.uint8),
        volt_watt=rng.random(count) < 0.5,
        vv_v_pu=middle + (c.vv_v_pu - 1.0) / steep,
        vw_v_pu=middle + np.array([[0.01, 0.05]]),
        q_pu=rng.uniform(-0.4, 0.4, count),
        power_factor=rng.uniform(0.8, 1.0, count),
    )
    ids = tuple(f"inverter{k}" for k in range(count))
    network, inverters = fitted(
        NETWORK, ids, nodes, NETWORK.v_base[nodes[:, 0]], np.array(start, np.int32), c
    )
    return network, inverters, rng.uniform(0.1, 1.0, count) * c.s_kva


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(0.05, 1.1), st.sampled_from([1.0, 5.0, 25.0]))
def test_every_inverter_is_on_its_curve(seed, level, steep):
    """Steep curves included: at the answer each power is what the curves make of the voltage there."""
    network, inverters, p_kw = with_inverters(seed, steep=steep)
    flow = Acting(network, inverters).solve(level * network.load_kva, NOTHING, initial(network), p_kw)
    assert flow.converged
    seen = inverters.seen_pu((np.abs(port_voltages(network, flow.v)) / network.load_v)[inverters.port])
    wanted = np.stack(respond(inverters.curves, p_kw, seen))
    held = np.stack(inverters.powers(flow.load_kva))
    assert (np.abs(held - wanted) / inverters.curves.s_kva).max() < 1e-6
    again = solve(network, flow.load_kva, NOTHING, flow.state)
    assert (np.abs(again.v - flow.v) / network.v_base).max() < 1e-6


def test_inverters_without_voltage_curves_change_nothing():
    """Unity power factor: the flow is that of the same powers written as constants."""
    network, inverters, p_kw = with_inverters(3)
    plain = replace(
        inverters, curves=replace(inverters.curves, mode=np.zeros(12, np.uint8), volt_watt=np.zeros(12, bool))
    )
    flow = Acting(network, plain).solve(network.load_kva, NOTHING, initial(network), p_kw)
    load = network.load_kva.copy()
    load[plain.port] = plain.spread(p_kw, np.zeros(12))
    same = solve(network, load, NOTHING, initial(network))
    assert (np.abs(same.v - flow.v) / network.v_base).max() < 1e-7


def test_volt_var_brings_voltages_together():
    """Where much is injected at light load, acting inverters bring the highest voltage down."""
    network, inverters, _ = with_inverters(5, kva=300.0)
    curves = replace(
        inverters.curves,
        mode=np.full(12, ReactiveMode.VOLT_VAR, np.uint8),
        vv_v_pu=np.tile([0.92, 0.98, 1.0, 1.04], (12, 1)),
    )
    inverters = replace(inverters, curves=curves)
    p_kw = 0.8 * curves.s_kva
    idle = replace(inverters, curves=replace(curves, mode=np.zeros(12, np.uint8)))
    state = initial(network)
    acting = Acting(network, inverters).solve(0.1 * network.load_kva, NOTHING, state, p_kw)
    still = Acting(network, idle).solve(0.1 * network.load_kva, NOTHING, state, p_kw)
    assert acting.v_pu.max() < still.v_pu.max()
