"""What rests and what is hidden: locked and dead controls, neutrals and dead nodes, tiny impedances."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridflock
from gridflock.grid import Batch, Shaped, act, initial, settle, solve
from gridflock.grid._circuit import circuit
from gridflock.grid._network import CapacitorMode
from gridflock.grid.build import (
    Branch,
    Bus,
    End,
    FeederRejected,
    Parts,
    Port,
    Shunt,
    Source,
    assemble,
    from_document,
)
from gridflock.grid.change import CloseSwitch, LockTap, OpenSwitch, Outage, apply
from gridflock.grid.lanes import Lanes
from gridflock.grid.series import in_lanes
from gridflock.grid.series._steps import Steps, step_by_step

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NETWORK = from_document(DOCUMENT)
NOTHING = np.zeros(NETWORK.n, dtype=complex)
K, M = len(NETWORK.regulators.ids), len(NETWORK.capacitors.ids)
BEHIND = "sw-60-160"
"""The switch that regulators 4 and all capacitors stand behind."""


def _watchful(network):
    """The same with banks that switch by the voltage at their own node, and see it far too low."""
    caps = network.capacitors
    nodes = network.shunt_blocks.node[network.shunt_blocks.start[caps.shunt]]
    return replace(
        network,
        capacitors=replace(
            caps,
            mode=np.full(M, CapacitorMode.VOLTAGE, dtype=np.uint8),
            seen_start=np.arange(M + 1, dtype=np.int32),
            seen_node=nodes.astype(np.int32),
            on_at=np.full(M, 119.0),
            off_at=np.full(M, 126.0),
            pt_ratio=np.full(M, 20.0),
            delay_s=np.full(M, 30.0),
            delay_off_s=np.full(M, 30.0),
        ),
    )


WATCHFUL = _watchful(NETWORK)


def _steps(network, count=48):
    """Half a day of quarter hours between light and heavy load, the same for every load."""
    level = 0.7 + 0.5 * np.sin(np.arange(count) * np.pi / 12.0)
    return Steps(Shaped(network.load_kva, np.zeros(len(network.loads), np.int32), level[None, :]), start_s=0)


ALONE = 22
"""Visits in time and without, before those of the series."""


def _moves_everywhere(network, state):
    """(visits, K) taps and (visits, M) banks in time, without time, step by step and in lanes."""
    taps, banks = [], []
    flow, held = solve(network, network.load_kva, NOTHING, state), state
    for minute in range(20):
        held = act(network, flow, held, 60 * minute)
        flow = solve(network, (1.2 if minute < 10 else 0.2) * network.load_kva, NOTHING, held)
        taps.append(held.taps)
        banks.append(held.cap_on)
    for level in (0.1, 1.2):
        _, held = settle(network, level * network.load_kva, NOTHING, state)
        taps.append(held.taps)
        banks.append(held.cap_on)
    for series in (step_by_step(network, _steps(network)), in_lanes(network, _steps(network))):
        taps += list(series.taps)
        banks += list(series.cap_on)
    return np.array(taps), np.array(banks)


@settings(max_examples=4, deadline=None)
@given(st.data())
def test_a_locked_regulator_never_moves(data):
    """Locked at any position, whatever the load: not in act, not in settle, not in either series."""
    names = data.draw(
        st.lists(st.sampled_from(NETWORK.regulators.ids), min_size=1, max_size=K - 1, unique=True)
    )
    places = [data.draw(st.integers(-16, 16)) for _ in names]
    network = apply(WATCHFUL, *map(LockTap, names, places))
    rows = [NETWORK.regulators.ids.index(name) for name in names]
    taps, _ = _moves_everywhere(network, initial(network))
    assert (taps[:, rows] == places).all()
    free = np.setdiff1d(np.arange(K), rows)
    assert (np.ptp(taps[:, free], axis=0) > 0).any()


def test_controls_at_dead_nodes_rest():
    """Behind an open switch regulators and banks stay as they are, though they see no volt."""
    network = apply(WATCHFUL, OpenSwitch(BEHIND))
    reg, live = network.regulators, network.topology.live
    dead = ~live[reg.node]
    assert dead.any()
    assert not dead.all()
    assert not live[network.capacitors.seen_node].any()
    start = replace(initial(network), taps=np.arange(K, dtype=np.int8), cap_on=np.arange(M) % 2 == 0)
    taps, banks = _moves_everywhere(network, start)
    written = initial(network)
    assert (taps[:ALONE, dead] == start.taps[dead]).all()
    assert (taps[ALONE:, dead] == written.taps[dead]).all()
    assert (np.ptp(taps[:, ~dead], axis=0) > 1).any()
    assert (banks[:ALONE] == start.cap_on).all()
    assert (banks[ALONE:] == written.cap_on).all()
    again = apply(network, CloseSwitch(BEHIND))
    taps, banks = _moves_everywhere(again, start)
    assert (np.ptp(taps[:ALONE, dead], axis=0) > 0).any()
    assert (banks != banks[0]).any()


def test_a_bank_that_looks_at_a_dead_node_rests():
    """No voltage is no low voltage: a live bank whose control looks behind an open switch stays as it is."""
    caps = WATCHFUL.capacitors
    far = np.full(M, WATCHFUL.node_row("83", "a"), dtype=np.int32)
    shunts = replace(WATCHFUL.shunt_blocks, node=_at_bus(WATCHFUL, "13"))
    network = replace(WATCHFUL, shunt_blocks=shunts, capacitors=replace(caps, seen_node=far))
    for changes, rests in (((), False), ((OpenSwitch(BEHIND),), True)):
        changed = apply(network, *changes)
        assert changed.topology.live[changed.shunt_blocks.node].all()
        _, banks = _moves_everywhere(changed, initial(changed))
        assert (banks == banks[0]).all() == rests


def _at_bus(network, bus):
    """(c,) nodes of the shunts' conductors, all shunts moved to one bus."""
    of = {
        int(network.node_conductor[row]): row
        for row in np.flatnonzero(network.node_bus == network.buses.index(bus))
    }
    return np.array([of[c] for c in network.node_conductor[network.shunt_blocks.node]], dtype=np.int32)


def test_a_bank_out_of_service_rests():
    """An outage of the bank itself ends its switching; where it stood is kept."""
    network = apply(WATCHFUL, Outage(NETWORK.shunts[0]))
    row = np.flatnonzero(network.capacitors.shunt == 0)[0]
    _, banks = _moves_everywhere(network, initial(network))
    assert (banks[:, row] == banks[0, row]).all()


# ---- neutrals and dead nodes ---------------------------------------------------------------------

V_N = 230.0
FOUR = (1, 2, 3, 4)


def _four_wire():
    """A street with a neutral of its own, grounded at its head only, and a tail behind a switch."""
    parts = Parts("street", buses=[Bus(name, V_N) for name in ("head", "mid", "end", "tail")])
    volts = 1.02 * V_N * np.exp(-2j * np.pi / 3 * np.arange(3))
    parts.sources.append(Source("source", End(0, (1, 2, 3)), volts, np.eye(3) / (0.01 + 0.02j)))
    z = 0.03 * np.eye(4) + 0.02 + 0.08j * np.eye(4) + 0.05j
    y = np.kron([[1, -1], [-1, 1]], np.linalg.inv(z))
    for k, kind in enumerate(("line", "line", "switch")):
        parts.branches.append(Branch(f"b{k}", kind, (End(k, FOUR), End(k + 1, FOUR)), y))
    parts.shunts.append(Shunt("earth", "reactor", End(0, (4,)), np.array([[1 / 0.5]])))
    for bus in (1, 2, 3):
        parts.ports += [
            Port(f"p{bus}{c}", bus, (c, 4), -(4.0 + c + bus) - 2.0j, V_N, limits=(0.4, 0.6, 1.4))
            for c in (1, 2, 3)
        ]
    return assemble(parts)


class _Losing:
    """Lanes that are lost in some scenarios: asked there for what is no number."""

    def __init__(self, lanes, lost):
        self.lanes, self.lost = lanes, lost

    def solve(self, loads, wanted):
        """As the lanes do, without an answer where they are lost."""
        loads = loads.copy()
        loads[self.lost] = np.nan
        return self.lanes.solve(loads, wanted)


BAND = (0.95, 1.01)
LOST, HOPELESS = [3, 17], 30


@pytest.mark.parametrize("opened", [False, True], ids=["whole", "open"])
@pytest.mark.parametrize("plain", [False, True], ids=["vectors", "plain"])
def test_extremes_and_counts_know_neither_neutrals_nor_dead_nodes(plain, opened):
    """Lowest, highest and the band's counts are those of live phases, also where the reference solved."""
    network = _four_wire()
    if opened:
        network = apply(network, OpenSwitch("b2"))
    phases = network.topology.live & (network.node_phase < 3)
    assert phases.sum() == (9 if opened else 12)
    batch = Batch(network, initial(network))
    arrays = circuit(network, batch.state, np.zeros(0, np.int32))
    batch.lanes = _Losing(Lanes(arrays, network.load_kva, plain=plain), LOST)
    level = np.linspace(0.1, 1.2, 40)
    level[HOPELESS] = np.nan
    loads = level[:, None] * network.load_kva
    flows = batch.solve(loads, v_pu=True, band=BAND)
    assert np.flatnonzero(flows.resolved).tolist() == [*LOST, HOPELESS]
    assert np.flatnonzero(~flows.converged).tolist() == [HOPELESS]
    assert np.isnan([flows.low_pu[HOPELESS], flows.high_pu[HOPELESS]]).all()
    found = flows.converged
    still = np.zeros(network.n, complex)
    exact = np.stack([solve(network, s, still, batch.state).v_pu for s in loads[found]])
    seen, near = exact[:, phases], {"atol": 1e-5, "rtol": 0}
    np.testing.assert_allclose(flows.v_pu[found][:, phases], seen, **near)
    np.testing.assert_allclose(flows.low_pu[found], seen.min(axis=1), **near)
    np.testing.assert_allclose(flows.high_pu[found], seen.max(axis=1), **near)
    np.testing.assert_allclose(flows.node_low_pu[phases], seen.min(axis=0), **near)
    np.testing.assert_allclose(flows.node_high_pu[phases], seen.max(axis=0), **near)
    clear = (np.abs(seen[..., None] - BAND) > 2e-5).all(axis=(0, 2))
    assert clear.sum() > 3
    np.testing.assert_array_equal(flows.below[phases][clear], (seen < BAND[0]).sum(axis=0)[clear])
    np.testing.assert_array_equal(flows.above[phases][clear], (seen > BAND[1]).sum(axis=0)[clear])
    assert flows.above[phases].any()
    assert opened or flows.below[phases].any()
    assert not flows.below[~phases].any()
    assert not flows.above[~phases].any()
    assert np.isnan([flows.node_low_pu[~phases], flows.node_high_pu[~phases]]).all()


# ---- tiny impedances -----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.floats(-8.0, -1.0), st.floats(0.1, 1.5))
def test_a_flow_beside_a_tiny_impedance_is_an_answer(exponent, level):
    """From a tenth of an ohm to ten nanoohm between two buses: solved, apart by the drop along it."""
    network = _tied(10.0**exponent)
    flow = solve(network, level * network.load_kva, np.zeros(network.n, complex), initial(network))
    assert flow.converged
    first, second = flow.v[network.node_bus == 0], flow.v[network.node_bus == 1]
    amps = np.abs(level * network.load_kva[0]) * 1000.0 / np.abs(second).min()
    assert np.abs(first - second).max() <= 2.0 * amps * 10.0**exponent + 1e-9 * V_N
    assert flow.residual_kva <= 1e-3
    assert abs(flow.losses_kw) <= 3.0 * amps**2 * (10.0**exponent) / 1000.0 + 1e-3


@pytest.mark.parametrize("ohm", [1e-10, 1e-12, 1e-14, 1e-300])
def test_next_to_no_impedance_is_refused_by_name(ohm):
    """Where no digit is left for anything else at a node, the feeder is refused and the place named."""
    with np.errstate(over="ignore"), pytest.raises(FeederRejected, match=r"singular: .*node [ab]|tie: y: "):
        _tied(ohm)


def _tied(ohm):
    """Two buses with next to nothing between them, and a load."""
    parts = Parts("tied", buses=[Bus("a", V_N), Bus("b", V_N)])
    parts.sources.append(
        Source(
            "s", End(0, (1, 2, 3)), V_N * np.exp(-2j * np.pi / 3 * np.arange(3)), np.eye(3) / (0.01 + 0.02j)
        )
    )
    y = np.kron([[1, -1], [-1, 1]], np.eye(3)) / ohm
    parts.branches.append(Branch("tie", "line", (End(0, (1, 2, 3)), End(1, (1, 2, 3))), y))
    parts.ports += [Port(f"p{c}", 1, (c, 0), -20 - 5j, V_N, limits=(0.4, 0.6, 1.4)) for c in (1, 2, 3)]
    return assemble(parts)


def test_a_wrong_flow_beside_a_tiny_impedance_is_none():
    """The limit grows with rounding only: no load that cannot be served passes as solved beside it."""
    network = _tied(1e-8)
    impossible = 1000.0 * network.load_kva
    constant = replace(
        network, load_range=np.tile([0.001, 0.002, 2.0], (3, 1)), load_edge=np.tile([500.0, 0.5], (3, 1))
    )
    flow = solve(constant, impossible, np.zeros(network.n, complex), initial(network))
    assert not flow.converged
