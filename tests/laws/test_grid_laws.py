"""Laws of the network: what must hold for every feeder, load and control state."""

import copy
import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridflock
from gridflock.grid import (
    ControlState,
    LimitKind,
    _flow,
    act,
    allocate,
    head_envelope,
    initial,
    settle,
    solve,
    violations,
)
from gridflock.grid.build import FeederRejected, from_document
from gridflock.grid.limits import Limits

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NETWORK = from_document(DOCUMENT)
NOTHING = np.zeros(NETWORK.n, dtype=complex)

seeds = st.integers(0, 2**32 - 1)
levels = st.floats(0.0, 1.1)


def random_point(seed, level, network=NETWORK):
    """Loads, injections at a third of the nodes, taps and capacitors drawn from a seed."""
    rng = np.random.default_rng(seed)
    load = network.load_kva * level * rng.uniform(0.0, 1.3, len(network.loads))
    inject = rng.normal(0.0, 8.0, network.n) + 1j * rng.normal(0.0, 3.0, network.n)
    inject[rng.random(network.n) < 2 / 3] = 0.0
    taps = rng.integers(-16, 17, len(network.regulators.ids)).astype(np.int8)
    neutral = initial(network)
    return (
        load,
        inject,
        ControlState(taps // 2, rng.random(len(network.capacitors.ids)) < 0.5, neutral.pending_since_s),
    )


def current_into_nodes(flow):
    """What branches, capacitors and the source take out of every node, from their own laws."""
    net = flow.network
    out = np.zeros(net.n + 1, dtype=complex)
    np.add.at(out, net.branch_blocks.node, flow.currents)
    out = out[:-1]
    for shunt, on in zip(net.capacitors.shunt, flow.state.cap_on, strict=True):
        nodes = net.shunt_blocks.node[net.shunt_blocks.start[shunt] : net.shunt_blocks.start[shunt + 1]]
        out[nodes] += on * net.shunt_blocks.block(shunt) @ flow.v[nodes]
    source = net.source_nodes
    out[source] += np.conj(flow.head_kva * 1000 / flow.v[source])
    return out


def port_currents(flow):
    """What loads and injections put into every node, A."""
    net = flow.network
    total = net.load_incidence @ _flow.load_currents(net, flow.load_kva, flow.v)
    for node, kva in enumerate(flow.inject_kva):
        following = dict(zip(net.three_wire.tolist(), net.three_wire_next.tolist(), strict=True)).get(node)
        back = 0.0 if following is None else flow.v[following]
        current = np.conj(kva * 1000 / (flow.v[node] - back))
        total[node] += current
        if following is not None:
            total[following] -= current
    return total


@settings(deadline=None, max_examples=25)
@given(seeds, levels)
def test_kirchhoff_holds_at_every_node(seed, level):
    """The currents of branches, shunts, source and ports cancel at each node to less than 1 mA."""
    load, inject, state = random_point(seed, level)
    flow = solve(NETWORK, load, inject, state)
    assert flow.converged
    assert np.abs(current_into_nodes(flow) - port_currents(flow)).max() < 1e-3


@settings(deadline=None, max_examples=25)
@given(seeds, levels)
def test_injections_are_losses_plus_what_reaches_the_source(seed, level):
    """Σ load and injection = branch losses, summed end by end, + net injection at the head."""
    load, inject, state = random_point(seed, level)
    flow = solve(NETWORK, load, inject, state)
    ends = np.append(flow.v, 0.0)[NETWORK.branch_blocks.node]
    lost_kw = (ends * np.conj(flow.currents)).sum().real / 1000
    assert flow.losses_kw == pytest.approx(lost_kw, abs=1e-3)
    assert flow.losses_kw > 0
    injected = flow.served_kva.sum() + inject.sum()
    assert injected.real == pytest.approx(lost_kw + flow.head_kva.sum().real, abs=1e-3)


@settings(deadline=None, max_examples=10)
@given(seeds, levels)
def test_a_start_changes_the_way_and_not_the_answer(seed, level):
    """From any earlier flow the same operating point is found."""
    load, inject, state = random_point(seed, level)
    other = solve(NETWORK, NETWORK.load_kva, NOTHING, initial(NETWORK))
    cold, warm = solve(NETWORK, load, inject, state), solve(NETWORK, load, inject, state, other)
    assert (np.abs(cold.v - warm.v) / NETWORK.v_base).max() < 1e-8


@settings(deadline=None, max_examples=5)
@given(st.permutations(range(len(DOCUMENT["loads"]))))
def test_the_order_of_loads_does_not_matter(order):
    """A document with its loads in another order has the same voltages, node by node."""
    shuffled = from_document({**DOCUMENT, "loads": [DOCUMENT["loads"][k] for k in order]})
    one = solve(NETWORK, NETWORK.load_kva, NOTHING, initial(NETWORK))
    two = solve(shuffled, shuffled.load_kva, NOTHING, initial(shuffled))
    assert (np.abs(one.v - two.v) / NETWORK.v_base).max() < 1e-9


def test_without_load_the_voltage_is_flat():
    """No load, neutral taps, no capacitors: every node within 0.2 % of the source (line charging only)."""
    state = initial(NETWORK, published=False)
    off = ControlState(state.taps, np.zeros_like(state.cap_on), state.pending_since_s)
    flow = solve(NETWORK, 0 * NETWORK.load_kva, NOTHING, off)
    assert np.abs(flow.v_pu - 1.0).max() < 2e-3
    assert abs(flow.losses_kw) < 0.01


def test_an_impossible_load_is_reported():
    """Eight times the injected demand a feeder can carry has no solution, and the flow says so."""
    flow = solve(NETWORK, NETWORK.load_kva, np.full(NETWORK.n, -400.0 + 0j), initial(NETWORK))
    assert not flow.converged


def test_impedance_factors_scale_the_drop():
    """Factor 1 changes nothing; a higher impedance loses more; the original stays as it was."""
    ones = np.ones(len(NETWORK.branches))
    base = solve(NETWORK, NETWORK.load_kva, NOTHING, initial(NETWORK))
    same = NETWORK.with_impedance_factors(ones)
    worse = NETWORK.with_impedance_factors(1.1 * ones)
    assert np.array_equal(solve(same, NETWORK.load_kva, NOTHING, initial(same)).v, base.v)
    assert solve(worse, NETWORK.load_kva, NOTHING, initial(worse)).losses_kw > base.losses_kw
    assert np.array_equal(NETWORK.branch_blocks.y, same.branch_blocks.y)


@settings(deadline=None, max_examples=15)
@given(st.floats(0.0, 1.1), seeds)
def test_settled_controls_stay(level, seed):
    """Where ``settle`` ends no control moves any more, however long it waits."""
    rng = np.random.default_rng(seed)
    load = NETWORK.load_kva * level * rng.uniform(0.7, 1.2, len(NETWORK.loads))
    flow, state = settle(NETWORK, load, NOTHING, initial(NETWORK, published=False))
    assert flow.converged
    later = act(NETWORK, flow, act(NETWORK, flow, state, 0), 10_000)
    assert np.array_equal(later.taps, state.taps)
    assert (np.abs(state.taps) <= 16).all()


def test_published_taps_hold_at_published_load():
    """At the published taps and loads no regulator wants to move: settings and taps fit together."""
    flow, state = settle(NETWORK, NETWORK.load_kva, NOTHING, initial(NETWORK))
    assert flow.converged
    assert state.taps.tolist() == NETWORK.regulators.tap.tolist()


def test_a_tap_moves_once_per_delay():
    """Out of band, a regulator waits its delay, moves one tap, and waits again."""
    state = initial(NETWORK, published=False)
    flow = solve(NETWORK, NETWORK.load_kva, NOTHING, state)
    waiting = act(NETWORK, flow, state, 1000)
    assert not waiting.taps.any()
    assert waiting.pending_since_s[0] == 1000
    assert not act(NETWORK, flow, waiting, 1014).taps.any()
    moved = act(NETWORK, flow, waiting, 1015)
    assert moved.taps[0] == 1
    assert act(NETWORK, flow, moved, 1029).taps[0] == 1
    assert np.abs(act(NETWORK, flow, moved, 1045).taps).max() <= 2


def test_a_capacitor_with_voltage_control_switches():
    """Below its threshold a controlled capacitor goes on after its delay, above the other one off."""
    document = copy.deepcopy(DOCUMENT)
    document["capacitors"][0] |= {"on": False, "v_on_pu": 1.2, "v_off_pu": 1.3, "delay_s": 60}
    net = from_document(document)
    state = initial(net)
    flow = solve(net, net.load_kva, NOTHING, state)
    state = act(net, flow, state, 0)
    assert not state.cap_on[0]
    state = act(net, flow, state, 60)
    assert state.cap_on.all()


@settings(deadline=None, max_examples=10)
@given(seeds, st.floats(0.2, 1.0))
def test_full_readings_give_the_operating_point_back(seed, level):
    """All loads and the head metered: the allocation is the true flow to 1e-4 pu."""
    load, inject, _ = random_point(seed, level)
    truth = solve(NETWORK, load, inject, initial(NETWORK))
    found = allocate(NETWORK, truth.served_kva, inject, truth.head_kva, initial(NETWORK))
    assert found.flow.converged
    assert np.abs(found.flow.v_pu - truth.v_pu).max() < 1e-4


@settings(deadline=None, max_examples=10)
@given(seeds, st.floats(0.3, 0.9))
def test_the_head_closes_what_readings_leave_open(seed, level):
    """Four loads in ten unread: the computed head meets the measured one within 1 %, better than without."""
    load, inject, _ = random_point(seed, level)
    truth = solve(NETWORK, load, inject, initial(NETWORK))
    read = np.where(np.random.default_rng(seed).random(len(load)) < 0.4, np.nan, truth.served_kva)
    unknown = np.full(3, np.nan + 0j)
    found = allocate(NETWORK, read, inject, truth.head_kva, initial(NETWORK))
    blind = allocate(NETWORK, read, inject, unknown, initial(NETWORK))
    assert np.abs(found.remainder_kva).max() < 0.01 * np.abs(NETWORK.load_kva).sum()
    assert np.abs(found.remainder_kva).sum() <= np.abs(truth.head_kva - blind.flow.head_kva).sum() + 1.0
    assert np.isnan(blind.remainder_kva).all()


def test_violations_say_what_is_broken():
    """Each row names an element whose value lies beyond its limit; a wide band and light load give none."""
    heavy = solve(NETWORK, NETWORK.load_kva, NOTHING, initial(NETWORK, published=False))
    found = violations(NETWORK, heavy)
    assert {LimitKind.VOLTAGE_LOW, LimitKind.THERMAL} <= set(found.kind.tolist())
    assert (found.margin < 0).all()
    low = found.kind == LimitKind.VOLTAGE_LOW
    assert np.count_nonzero(low) == np.count_nonzero(heavy.v_pu < 0.95)
    assert found.element[int(np.flatnonzero(low)[0])] in NETWORK.buses
    light = solve(NETWORK, 0.2 * NETWORK.load_kva, NOTHING, initial(NETWORK, published=False))
    assert len(violations(NETWORK, light).kind) == 0


def test_backward_power_through_a_regulator_is_seen():
    """A megawatt injected behind regulator 4 flows back through it, phase by phase."""
    inject = NOTHING.copy()
    inject[[NETWORK.node_row("67", p) for p in "abc"]] = 700.0
    flow = solve(NETWORK, NETWORK.load_kva, inject, initial(NETWORK))
    found = violations(NETWORK, flow, Limits(v_high_pu=1.2))
    back = [e for e, k in zip(found.element, found.kind, strict=True) if k == LimitKind.REVERSE_FLOW]
    assert {"reg4a", "reg4b", "reg4c"} <= set(back)


@settings(deadline=None, max_examples=10)
@given(st.floats(0.1, 0.7), st.sampled_from([-1.0, 1.0]))
def test_inside_the_head_envelope_no_main_branch_is_overloaded(level, direction):
    """Driven along its nominal shape to a bound of the envelope, the feeder's trunk stays within rating."""
    state = initial(NETWORK)
    flow = solve(NETWORK, level * NETWORK.load_kva, NOTHING, state)
    envelope = head_envelope(NETWORK, flow, 0)
    bound = envelope.p_lo_kw if direction < 0 else envelope.p_hi_kw
    shape = np.zeros(NETWORK.n)
    single = NETWORK.load_nodes[:, 1] < 0
    np.add.at(shape, NETWORK.load_nodes[single, 0], -NETWORK.load_kva.real[single])
    change = bound - flow.head_kva.sum().real
    moved = solve(NETWORK, level * NETWORK.load_kva, change * shape / shape.sum() + 0j, state)
    assert moved.converged
    trunk = [NETWORK.branches.index(b) for b in ("149-1", "1-7", "7-8", "8-13", "160r-67")]
    assert moved.loading[trunk].max() < 1.0
    assert envelope.p_lo_kw < flow.head_kva.sum().real < envelope.p_hi_kw


def test_an_envelope_needs_a_solved_flow():
    """A flow that has not converged bounds nothing."""
    flow = solve(NETWORK, NETWORK.load_kva, np.full(NETWORK.n, -400.0 + 0j), initial(NETWORK))
    with pytest.raises(ValueError, match="converged"):
        head_envelope(NETWORK, flow, 0)


@given(st.lists(st.integers(0, len(NETWORK.buses) - 1), min_size=1, max_size=20), seeds)
def test_spread_shares_all_and_only_an_items_power(rows, seed):
    """Each column of ``spread`` sums to one over nodes of its own bus and phases."""
    rng = np.random.default_rng(seed)
    masks = NETWORK.bus_phases[rows] & rng.integers(0, 8, len(rows)).astype(np.uint8)
    masks = np.where(masks == 0, NETWORK.bus_phases[rows], masks)
    matrix = NETWORK.spread(np.array(rows), masks).toarray()
    assert np.allclose(matrix.sum(axis=0), 1.0)
    for item, (row, mask) in enumerate(zip(rows, masks, strict=True)):
        nodes = np.flatnonzero(matrix[:, item])
        assert (NETWORK.node_bus[nodes] == row).all()
        assert sum(1 << p for p in NETWORK.node_phase[nodes]) == mask


def test_spread_refuses_a_phase_that_is_not_there():
    """Bus 2 has phase b only."""
    with pytest.raises(ValueError, match="bus 2"):
        NETWORK.spread(np.array([NETWORK.buses.index("2")]), np.array([1]))


def test_nodes_and_sections_are_complete():
    """Every node is found by bus and phase; every bus has a section; every section has buses."""
    for row in range(NETWORK.n):
        bus, phase = NETWORK.buses[NETWORK.node_bus[row]], "abc"[NETWORK.node_phase[row]]
        assert NETWORK.node_row(bus, phase) == row
    assert set(NETWORK.bus_section.tolist()) == set(range(len(NETWORK.sections)))
    with pytest.raises(KeyError):
        NETWORK.node_row("2", "a")


def broken(**changes):
    """The document with fields of single elements replaced: ``lists__row__field=value``."""
    document = copy.deepcopy(DOCUMENT)
    for place, value in changes.items():
        name, row, field = place.split("__")
        element = document[name][int(row)]
        if value is None:
            del element[field]
        else:
            element[field] = value
    return document


FAULTS = {
    "lines__0__length_ft": (-4, "line", "not above"),
    "lines__1__phases": ("bq", "line", "bad phases"),
    "lines__2__to": ("nowhere", "line", "unknown bus"),
    "lines__3__configuration": ("99", "line", "unknown line configuration"),
    "lines__4__length_ft": (None, "line", "missing"),
    "lines__5__id": ("1-7", "line", "duplicate"),
    "lines__6__length_ft": (math.nan, "line", "finite"),
    "loads__0__phases": (["ab"], "load", "does not fit"),
    "loads__1__model": ("zip", "load", "none of"),
    "loads__2__demand_kw": ([1, 2], "load", "expected 1"),
    "capacitors__0__kvar": ([1], "capacitor", "expected 3"),
    "regulators__0__tap": (17, "regulator", "-16..16"),
    "regulators__1__x_percent": (-1, "regulator", "below"),
    "switches__1__resistance_ohm": (0, "switch", "not above"),
    "switches__0__closed": ("yes", "switch", "true or false"),
    "line_configurations__0__r_ohm_mile": (
        [[1, 2, 3], [4, 5, 6], [7, 8, 9]],
        "line configuration",
        "symmetric",
    ),
    "buses__5__kv": (0, "bus", "not above"),
    "transformers__0__connection": ("delta-wye", "transformer", "none of"),
    "sections__0__head": ("", "section", "expected a text"),
}


@pytest.mark.parametrize("place", FAULTS)
def test_a_bad_document_names_element_field_and_rule(place):
    """One fault: one exception, which names the element, the field and the rule."""
    value, component, rule = FAULTS[place]
    with pytest.raises(FeederRejected) as refused:
        from_document(broken(**{place: value}))
    named = {(r.component, r.field) for r in refused.value.rejected if rule in r.reason}
    assert (component, place.split("__")[2]) in named
    assert rule in str(refused.value)


def test_a_bad_document_lists_every_fault():
    """All faults of one document come together, not one per attempt."""
    with pytest.raises(FeederRejected) as refused:
        from_document(broken(**{place: value for place, (value, _, _) in FAULTS.items()}))
    found = {(r.component, r.field) for r in refused.value.rejected}
    assert {(component, place.split("__")[2]) for place, (_, component, _) in FAULTS.items()} <= found


def test_zero_impedance_is_refused():
    """A line configuration and a regulator without any impedance are named."""
    zero = [[0] * 3] * 3
    document = broken(line_configurations__0__r_ohm_mile=zero, regulators__0__r_percent=0)
    document["line_configurations"][0]["x_ohm_mile"] = zero
    document["regulators"][0]["x_percent"] = 0
    with pytest.raises(FeederRejected) as refused:
        from_document(document)
    found = {(r.component, r.ids[0]) for r in refused.value.rejected if "zero impedance" in r.reason}
    assert found == {("line configuration", "1"), ("regulator", "reg1")}


def test_an_isolated_bus_or_phase_is_refused():
    """Buses that no switch could feed, and a load on a phase its bus has not, are named."""
    document = copy.deepcopy(DOCUMENT)
    document["buses"].append({**document["buses"][0], "id": "lonely"})
    with pytest.raises(FeederRejected) as refused:
        from_document(document)
    assert [(r.component, r.ids) for r in refused.value.rejected] == [("bus", ("lonely",))]
    document["buses"].pop()
    document["switches"][4]["closed"] = False
    dead = from_document(document)
    assert {dead.buses[row] for row in np.flatnonzero(~dead.topology.bus_live)} >= {"197", "101", "114"}
    with pytest.raises(FeederRejected) as refused:
        from_document(broken(loads__1__phases=["c"]))
    assert [(r.component, r.ids) for r in refused.value.rejected] == [("load", ("2c",))]


def test_a_wye_load_behind_a_delta_winding_is_refused():
    """Bus 610 has no path to ground."""
    with pytest.raises(FeederRejected, match="no path to ground"):
        from_document(broken(loads__0__bus="610"))


@pytest.mark.parametrize("document", [{}, {"buses": 3}, {"buses": [3], "source": 4, "lines": [{}]}])
def test_a_shapeless_document_is_refused_and_not_a_crash(document):
    """Missing lists, wrong types and empty elements are faults like any other."""
    with pytest.raises(FeederRejected):
        from_document(document)
