"""Laws of regulators and capacitors, in time, without time and over many steps."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridflock
from gridflock.grid import ControlState, Shaped, act, initial, settle, solve
from gridflock.grid import _controls as controls
from gridflock.grid._admittance import admittance
from gridflock.grid._controls import Sight, look, moved, wished_switches, wished_taps
from gridflock.grid._network import CapacitorMode
from gridflock.grid.build import from_document
from gridflock.grid.series import in_lanes
from gridflock.grid.series._curves import Curves, ReactiveMode
from gridflock.grid.series._inverters import fitted
from gridflock.grid.series._march import _move, rules
from gridflock.grid.series._positions import positions
from gridflock.grid.series._steps import Steps, step_by_step
from gridflock.grid.series._watch import watch
from gridflock.units import NEVER_S

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NETWORK = from_document(DOCUMENT)
NOTHING = np.zeros(NETWORK.n, dtype=complex)
K, M = len(NETWORK.regulators.ids), len(NETWORK.capacitors.ids)
seeds = st.integers(0, 2**32 - 1)


def switching(seed=0):
    """The feeder with a control of each mode at its capacitors, looking at real elements."""
    rng = np.random.default_rng(seed)
    net, caps = NETWORK, NETWORK.capacitors
    nodes = net.shunt_blocks.node[net.shunt_blocks.start[caps.shunt]]
    conductors = [int(net.branch_head[0][net.branch_head[0] >= 0][0])] * M
    modes = [CapacitorMode.VOLTAGE, CapacitorMode.KVAR, CapacitorMode.CURRENT, CapacitorMode.TIME]
    on_at = np.array([115.0, 150.0, 250.0, 9 * 3600.0])[:M]
    off_at = np.array([123.0, -50.0, 150.0, 21 * 3600.0])[:M]
    return replace(
        net,
        capacitors=replace(
            caps,
            mode=np.array(modes[:M], dtype=np.uint8),
            seen_start=np.arange(M + 1, dtype=np.int32),
            seen_node=nodes.astype(np.int32),
            flow_start=np.arange(M + 1, dtype=np.int32),
            flow_conductor=np.array(conductors, dtype=np.int32),
            on_at=on_at,
            off_at=off_at,
            pt_ratio=np.full(M, 20.0),
            ct_ratio=np.ones(M),
            v_low_v=np.full(M, 112.0),
            v_high_v=np.full(M, 128.0),
            delay_s=rng.choice([15.0, 60.0], M),
            delay_off_s=rng.choice([15.0, 60.0], M),
        ),
    )


def random_state(seed):
    """Taps and capacitors drawn from a seed."""
    rng = np.random.default_rng(seed)
    taps = rng.integers(-12, 13, K).astype(np.int8)
    return ControlState(taps, rng.random(M) < 0.5, np.full(K + M, NEVER_S, dtype=np.int64))


@settings(max_examples=20, deadline=None)
@given(seeds, st.floats(0.1, 1.1))
def test_settled_controls_wish_nothing(seed, level):
    """Where settling ends every control is content, and settling again moves nothing."""
    network = switching()
    flow, state = settle(network, level * network.load_kva, NOTHING, random_state(seed), second_s=3600)
    if flow.converged:
        assert moved(network, look(network, flow), state, 3600) is None
        _, again = settle(network, level * network.load_kva, NOTHING, state, second_s=3600)
        np.testing.assert_array_equal(again.taps, state.taps)
        np.testing.assert_array_equal(again.cap_on, state.cap_on)


@given(seeds)
def test_a_wish_leads_towards_the_band(seed):
    """A regulator below its band raises, above lowers, inside stays; never past its range or its limit."""
    rng = np.random.default_rng(seed)
    reg = NETWORK.regulators
    seen = Sight(rng.uniform(100, 140, K), np.zeros(M), np.zeros(M))
    taps = rng.integers(-16, 17, K).astype(np.int8)
    wish = wished_taps(NETWORK, seen, taps)
    missing = reg.v_set_v - seen.regulated_v
    assert (wish[np.abs(missing) <= reg.band_v / 2] == 0).all()
    assert (wish * missing * reg.direction >= 0).all()
    assert (taps + wish <= reg.tap_high).all()
    assert (taps + wish >= reg.tap_low).all()
    assert (np.abs(wish) <= reg.most_taps).all()


@settings(deadline=None)
@given(seeds)
def test_the_compiled_walk_moves_as_the_array_code_does(seed):
    """One round of wishes on random sights: the compiled rules and the array rules reach the same state."""
    network, rng = switching(seed), np.random.default_rng(seed)
    state = random_state(seed)
    flow = rng.choice([-200.0, -40.0, 100.0, 200.0, 300.0], M) + rng.normal(0, 5, M)
    seen = Sight(rng.uniform(112, 128, K), rng.uniform(108, 132, M), flow)
    second = int(rng.integers(0, 86_400))
    after = moved(network, seen, state, second)
    rule = rules(network, np.zeros((1, K + 2 * M, K + M)), np.zeros(1, np.int32))
    row = np.concatenate([state.taps, state.cap_on]).astype(np.int8)
    sight = np.concatenate([seen.regulated_v, seen.capacitor_v, seen.capacitor_flow])
    any_, _ = _move(rule, (sight, np.zeros_like(sight)), row, second, np.zeros(K + M, dtype=np.int64))
    assert any_ == (after is not None)
    expected = state if after is None else after
    np.testing.assert_array_equal(row, np.concatenate([expected.taps, expected.cap_on]))


def test_a_voltage_override_comes_first():
    """Low voltage closes and high voltage opens whatever the flow says, and low voltage keeps it closed."""
    network = switching()
    kvar = np.flatnonzero(network.capacitors.mode == CapacitorMode.KVAR)[0]

    def wish(volt, flow, *, on):
        seen = Sight(np.zeros(K), np.full(M, volt), np.full(M, flow))
        return bool(wished_switches(network, seen, np.full(M, on))[kvar])

    assert wish(111.0, 0.0, on=False)
    assert wish(129.0, 0.0, on=True)
    assert not wish(111.0, -500.0, on=True)
    assert not wish(129.0, 500.0, on=False)
    assert wish(120.0, 500.0, on=False)
    assert wish(120.0, -500.0, on=True)
    assert not wish(120.0, 50.0, on=False)


def test_a_clock_control_follows_the_hour():
    """On within its hours, off outside, also across midnight; without a clock it stays."""
    network = switching()
    row = np.flatnonzero(network.capacitors.mode == CapacitorMode.TIME)[0]
    seen = Sight(np.zeros(K), np.full(M, 120.0), np.zeros(M))
    off, on = np.zeros(M, dtype=bool), np.ones(M, dtype=bool)
    assert wished_switches(network, seen, off, 10 * 3600)[row]
    assert not wished_switches(network, seen, off, 22 * 3600)[row]
    assert wished_switches(network, seen, on, 22 * 3600)[row]
    assert not wished_switches(network, seen, on)[row]
    assert not wished_switches(network, seen, off)[row]
    caps = network.capacitors
    night = replace(network, capacitors=replace(caps, on_at=caps.off_at, off_at=caps.on_at))
    assert wished_switches(night, seen, off, 23 * 3600)[row]
    assert wished_switches(night, seen, on, 12 * 3600)[row]


def test_in_time_a_regulator_takes_one_step_per_delay():
    """The ticking world moves one position when the delay is over, however far the band is."""
    state = initial(NETWORK, published=False)
    flow = solve(NETWORK, NETWORK.load_kva, NOTHING, state)
    waiting = act(NETWORK, flow, state, 0)
    later = act(NETWORK, flow, waiting, 10_000)
    assert np.abs(later.taps).max() == 1


@settings(max_examples=20, deadline=None)
@given(seeds, seeds)
def test_positions_change_the_admittance_where_they_say(seed, other):
    """Base admittance plus the change between the touched nodes is the admittance of the state."""
    network = switching()
    there = positions(network)
    base, state = random_state(seed), random_state(other)
    rows = [np.concatenate([s.taps, s.cap_on]).astype(np.int8) for s in (base, state)]
    change = there.change(rows[1][None], rows[0])[0]
    apart = (admittance(network, state).y - admittance(network, base).y).toarray()
    expected = np.zeros_like(apart)
    np.add.at(expected, (there.nodes[there.row], there.nodes[there.column]), change)
    np.testing.assert_allclose(apart, expected, atol=1e-6 * np.abs(apart).max())


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0.2, 1.1))
def test_few_nodes_tell_what_controls_see(seed, level):
    """Sights from the watched nodes' voltages are those from the whole flow."""
    network, state = switching(), random_state(seed)
    flow = solve(network, level * network.load_kva, NOTHING, state)
    seen = look(network, flow)
    few = watch(network)
    row = np.concatenate([state.taps, state.cap_on]).astype(np.int8)
    sights = few.sights(flow.v[few.nodes][None], row[None])[0]
    time = network.capacitors.mode == CapacitorMode.TIME
    voltage = network.capacitors.mode == CapacitorMode.VOLTAGE
    flows = np.where(time | voltage, 0.0, seen.capacitor_flow)
    np.testing.assert_allclose(
        sights, np.concatenate([seen.regulated_v, seen.capacitor_v, flows]), rtol=1e-9, atol=1e-6
    )


def days(network, steps, seed, inverters=None, p_kw=None):
    """Shapes of two quarter-hour days."""
    rng = np.random.default_rng(seed)
    hour = np.arange(steps) / 4.0
    shapes = (0.6 + 0.35 * np.sin((hour - 10) * np.pi / 12)) * rng.normal(1.0, 0.05, (3, steps))
    follows = rng.integers(0, 3, len(network.loads)).astype(np.int32)
    return Steps(Shaped(network.load_kva, follows, shapes), inverters=inverters, p_kw=p_kw, start_s=0)


@pytest.mark.parametrize("seed", [1, 2])
def test_lanes_walk_as_steps_do(seed):
    """All modes of capacitors and every regulator: side by side the states are those of step by step."""
    network = switching(seed)
    steps = days(network, 96, seed)
    one, all_ = step_by_step(network, steps), in_lanes(network, steps)
    same = (one.taps == all_.taps).all(axis=1) & (one.cap_on == all_.cap_on).all(axis=1)
    assert same.mean() >= 0.99
    assert (one.rounds == all_.rounds)[same].mean() >= 0.99
    assert len(np.unique(one.taps, axis=0)) > 4
    np.testing.assert_allclose(all_.low_pu[same], one.low_pu[same], atol=2e-5)
    np.testing.assert_allclose(all_.high_pu[same], one.high_pu[same], atol=2e-5)
    np.testing.assert_allclose(all_.head_kva[same], one.head_kva[same], rtol=1e-3)


def test_inverters_act_in_lanes_too():
    """Volt-var and volt-watt inverters within every solution: the same positions, powers on their curves."""
    rng = np.random.default_rng(4)
    table = NETWORK.node_table()
    grounded = np.setdiff1d(np.arange(len(NETWORK.buses)), NETWORK.node_bus[NETWORK.three_wire])
    nodes, start = [], [0]
    for bus in rng.choice(grounded, 10, replace=False):
        nodes += [[row, -1] for row in table[bus] if row >= 0]
        start.append(len(nodes))
    nodes = np.array(nodes, dtype=np.int32)
    curves = Curves.defaults(rng.uniform(50.0, 150.0, 10), mode=ReactiveMode.VOLT_VAR)
    curves = replace(curves, volt_watt=np.ones(10, dtype=bool))
    ids = tuple(f"pv{k}" for k in range(10))
    network, inverters = fitted(
        switching(), ids, nodes, NETWORK.v_base[nodes[:, 0]], np.array(start, np.int32), curves
    )
    sun = np.clip(np.sin((np.arange(96) / 4.0 - 6) * np.pi / 12), 0.0, 1.0)
    steps = days(network, 96, 5, inverters, sun[:, None] * curves.s_kva)
    one, all_ = step_by_step(network, steps), in_lanes(network, steps)
    same = (one.taps == all_.taps).all(axis=1) & (one.cap_on == all_.cap_on).all(axis=1)
    assert same.mean() >= 0.99
    np.testing.assert_allclose(all_.q_kvar[same] / curves.s_kva, one.q_kvar[same] / curves.s_kva, atol=2e-3)
    np.testing.assert_allclose(all_.p_kw[same] / curves.s_kva, one.p_kw[same] / curves.s_kva, atol=2e-3)
    assert np.abs(one.q_kvar).max() > 1.0


def test_a_series_without_controls_stays_where_it_is():
    """Controls off: every step at the first positions, told as such."""
    steps = days(NETWORK, 20, 6)
    one, all_ = step_by_step(NETWORK, steps, controls=False), in_lanes(NETWORK, steps, controls=False)
    for found in (one, all_):
        assert (found.taps == NETWORK.regulators.tap).all()
        assert found.quiet.all()
        assert (found.rounds == 0).all()


def test_delays_order_the_moves():
    """Only the wishes of the shortest delay are carried out in a round."""
    reg = NETWORK.regulators
    network = replace(NETWORK, regulators=replace(reg, delay_s=np.arange(K) * 15.0 + 15.0))
    flow = solve(network, network.load_kva, NOTHING, initial(network, published=False))
    before = initial(network, published=False)
    after = moved(network, controls.look(network, flow), before)
    assert after is not None
    assert (after.taps != before.taps).sum() == 1
