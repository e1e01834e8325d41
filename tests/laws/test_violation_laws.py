"""Laws of limits: every broken one is found, nothing else is, and who causes it could relieve it as told."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from gridflock.grid import initial, linearise, solve
from gridflock.grid.build import Branch, Bus, End, Parts, Port, Source, assemble, from_document
from gridflock.grid.build._windings import Winding, transformer_block
from gridflock.grid.limits import LimitKind, Limits, Resources, attribute, series_violations, violations
from gridflock.grid.limits._terminals import conductor_ratings, high_sides, whole
from gridflock.sim import feeder_document

NETWORK = from_document(feeder_document("ieee123"))
NOTHING = np.zeros(NETWORK.n, dtype=complex)
WIDE = Limits(
    v_low_pu=0.0,
    v_high_pu=math.inf,
    unbalance=math.inf,
    loading=math.inf,
    reverse_kw={},
    back_feed_kw=math.inf,
)

seeds = st.integers(0, 2**32 - 1)
levels = st.floats(0.2, 1.3)


def random_flow(seed, level):
    """A solved point with strong injections, so that power flows back here and there."""
    rng = np.random.default_rng(seed)
    load = NETWORK.load_kva * level * rng.uniform(0.0, 1.5, len(NETWORK.loads))
    inject = rng.uniform(0.0, 60.0, NETWORK.n) * (rng.random(NETWORK.n) < 0.15) + 0j
    flow = solve(NETWORK, load, inject, initial(NETWORK))
    assert flow.converged
    return flow


def told(found):
    """Kind, element, phase and value of every row."""
    rows = zip(found.kinds(), found.element, found.letters(), found.value, strict=True)
    return sorted(
        (kind.name, element, letter, round(float(value), 9)) for kind, element, letter, value in rows
    )


def counted(flow, limits):
    """The same, by plain loops over nodes, buses, conductors and branches."""
    rows = [
        *voltages(flow, limits),
        *unbalances(flow, limits),
        *overloads(flow, limits),
        *backwards(flow, limits),
    ]
    return sorted((kind, element, letter, round(float(value), 9)) for kind, element, letter, value in rows)


def voltages(flow, limits):
    """Nodes outside the band."""
    net = flow.network
    for node in range(net.n):
        place = net.buses[net.node_bus[node]], "abcn"[net.node_phase[node]], flow.v_pu[node]
        if flow.v_pu[node] < limits.v_low_pu:
            yield "VOLTAGE_LOW", *place
        if flow.v_pu[node] > limits.v_high_pu:
            yield "VOLTAGE_HIGH", *place


def unbalances(flow, limits):
    """Three-phase buses whose line-to-line magnitudes differ."""
    net = flow.network
    for bus, nodes in enumerate(net.node_table()):
        if (nodes >= 0).all():
            a, b, c = flow.v[nodes]
            lines = np.abs([a - b, b - c, c - a])
            share = np.abs(lines - lines.mean()).max() / lines.mean()
            if share > limits.unbalance:
                yield "UNBALANCE", net.buses[bus], "", share


def overloads(flow, limits):
    """Conductors above their rating, the worst of an element's phase, windings apart."""
    net, blocks = flow.network, flow.network.branch_blocks
    for branch, name in enumerate(net.branches):
        worst = {}
        for c in range(blocks.start[branch], blocks.start[branch + 1]):
            letter, amps = "abc"[net.node_phase[blocks.node[c]]], abs(flow.currents[c])
            side = blocks.end[c] if net.branch_kind[branch] in {"transformer", "regulator"} else 0
            volts = net.v_base[blocks.node[blocks.start[branch]]] / net.v_base[blocks.node[c]]
            rated = net.rating_a[branch] * (volts if side else 1.0) * limits.loading
            if amps > max(rated, worst.get((side, letter), 0.0)):
                worst[side, letter] = amps
        for (_, letter), amps in worst.items():
            yield "THERMAL", name, letter, amps


def backwards(flow, limits):
    """Branches with power against their direction, by phase; transformers as a whole."""
    net = flow.network
    for branch, name in enumerate(net.branches):
        through = flow.branch_kva[branch].real
        for phase in np.flatnonzero(through < -limits.reverse_kw.get(name, np.inf)).tolist():
            yield "REVERSE_FLOW", name, "abc"[phase], through[phase]
        if net.branch_kind[branch] == "transformer" and through.sum() < -limits.back_feed_kw:
            yield "BACK_FEED", name, "", through.sum()


@settings(deadline=None, max_examples=20)
@given(seeds, levels)
def test_every_broken_limit_is_found_and_nothing_else(seed, level):
    """Columns agree with loops over all nodes, buses and conductors, kind by kind and value by value."""
    flow = random_flow(seed, level)
    watched = {"reg1a": 100.0, "13-18": 0.0, "67-72": 5.0, "reg4a": 0.0, "76-77": 0.0}
    watched = {name: kw for name, kw in watched.items() if name in NETWORK.branches}
    limits = Limits(0.97, 1.03, unbalance=0.008, loading=0.5, reverse_kw=watched, back_feed_kw=0.0)
    found = violations(NETWORK, flow, limits, t_s=900)
    assert told(found) == counted(flow, limits)
    assert (found.margin < 0.0).all()
    np.testing.assert_allclose(np.abs(found.value - found.limit), -found.margin, atol=1e-12)
    assert (found.t_s == 900).all()
    for kind in np.unique(found.kind):
        assert (np.diff(found.margin[found.kind == kind]) >= 0.0).all()


@settings(deadline=None, max_examples=8)
@given(seeds)
def test_a_series_breaks_what_its_moments_break(seed):
    """Together as one by one, ramps included; magnitudes alone give the same voltages."""
    flows = [random_flow(seed + k, 0.3 + 0.3 * k) for k in range(4)]
    t_s = np.array([0, 60, 180, 240]) + 1000
    limits = Limits(0.97, 1.03, loading=0.6, ramp_kw_min={"149-1": 150.0, "13-18": 1.0}, ramp_pu_min=0.004)
    v, currents = np.stack([f.v for f in flows]), np.stack([f.currents for f in flows])
    together = series_violations(NETWORK, t_s, v, limits, currents)
    alone = [violations(NETWORK, flows[0], limits, t_s=1000)]
    alone += [
        violations(NETWORK, flows[k], limits, t_s=int(t_s[k]), before=flows[k - 1], before_s=int(t_s[k - 1]))
        for k in (1, 2, 3)
    ]
    for k, one in enumerate(alone):
        at = together.t_s == t_s[k]
        assert told(one) == told(only(together, at))
        np.testing.assert_array_equal(np.sort(one.span_s), np.sort(together.span_s[at]))
    assert LimitKind.RAMP_POWER in together.kinds()
    assert LimitKind.RAMP_VOLTAGE in together.kinds()
    sizes = series_violations(NETWORK, t_s, np.abs(v) / NETWORK.v_base, limits)
    voltages = np.isin(together.kind, [LimitKind.VOLTAGE_LOW, LimitKind.VOLTAGE_HIGH, LimitKind.RAMP_VOLTAGE])
    assert told(only(together, voltages)) == told(only(sizes, sizes.kind != LimitKind.UNBALANCE))


def only(found, rows):
    """Some rows of a table."""
    names = tuple(np.array(found.element, dtype=object)[rows])
    columns = {name: getattr(found, name)[rows] for name in found.__slots__ if name != "element"}
    return replace(found, element=names, **columns)


def test_a_ramp_is_a_change_per_minute():
    """Thirty kilowatts less load in half a minute are sixty a minute at the head, with their sign."""
    first = solve(NETWORK, 0.5 * NETWORK.load_kva, NOTHING, initial(NETWORK))
    inject = NOTHING.copy()
    inject[NETWORK.node_row("1", "a")] = 30.0
    second = solve(NETWORK, 0.5 * NETWORK.load_kva, inject, initial(NETWORK))
    limits = replace(WIDE, ramp_kw_min={"149-1": 50.0})
    found = violations(NETWORK, second, limits, t_s=90, before=first, before_s=60)
    assert found.kinds() == (LimitKind.RAMP_POWER,)
    assert found.value[0] == pytest.approx(-60.0, rel=0.01)
    assert found.limit[0] == -50.0
    assert found.span_s[0] == 30.0
    back = violations(NETWORK, first, limits, t_s=90, before=second, before_s=60)
    assert back.value[0] == pytest.approx(-found.value[0])


def test_nothing_is_broken_where_nothing_is_known():
    """Moments without an answer break no limit; wide limits break nothing."""
    flow = random_flow(1, 1.2)
    v = np.stack([flow.v, np.full(NETWORK.n, np.nan)])
    found = series_violations(NETWORK, np.array([0, 60]), v)
    assert len(found.kind) > 0
    assert (found.t_s == 0).all()
    assert len(violations(NETWORK, flow, WIDE).kind) == 0


def test_times_must_be_given_and_increase():
    """A ramp without times, or backwards in time, is refused; so are currents without angles."""
    flow = random_flow(1, 0.5)
    with pytest.raises(ValueError, match="increase"):
        violations(NETWORK, flow, before=flow)
    with pytest.raises(ValueError, match="increase"):
        series_violations(NETWORK, np.array([60, 60]), np.stack([flow.v_pu, flow.v_pu]))
    with pytest.raises(ValueError, match="complex voltages"):
        series_violations(NETWORK, np.array([60]), flow.v_pu[None], currents=flow.currents[None])


def test_limits_say_what_they_name_wrongly():
    """Unknown branches and numbers that are no limits are refused by name; good limits are not."""
    bad = Limits(v_low_pu=math.nan, loading=-1.0, reverse_kw={"nowhere": 5.0}, ramp_kw_min={"149-1": -2.0})
    reasons = [(r.field, r.reason) for r in bad.rejected(NETWORK)]
    assert [field for field, _ in reasons] == ["reverse_kw", "v_low_pu", "loading", "ramp_kw_min"]
    assert "nowhere" in reasons[0][1]
    assert Limits(reverse_kw={"149-1": 5.0}).rejected(NETWORK) == ()
    assert WIDE.rejected(NETWORK) == ()


def split_phase(load_kw=(4.0, 4.0), delta_kw=0.0):
    """A 7.2 kV source, a centre-tapped 25 kVA transformer, a load on each leg and one between them."""
    block = transformer_block(
        [Winding("wye", 7200.0, 0.6), Winding("wye", 120.0, 1.2), Winding("wye", 120.0, 1.2)],
        [2.04, 2.04, 1.36], kva=25.0, phases=1,
    )  # fmt: skip
    parts = Parts("service", buses=[Bus("high", 7200.0), Bus("low", 120.0)])
    parts.sources.append(Source("grid", End(0, (1,)), np.array([7200.0 + 0j]), np.array([[10.0 - 10.0j]])))
    ends = (End(0, (1, 0)), End(1, (1, 0)), End(1, (0, 2)))
    parts.branches.append(Branch("t1", "transformer", ends, block, rating_a=25000.0 / 7200.0))
    for leg, kw in zip((1, 2), load_kw, strict=True):
        parts.ports.append(Port(f"leg{leg}", 1, (leg, 0), -kw + 0j, 120.0))
    parts.ports.append(Port("both", 1, (1, 2), -delta_kw + 0j, 240.0))
    return assemble(parts)


def test_a_centre_tapped_winding_shares_its_rating():
    """25 kVA carry 3.47 A at 7.2 kV and 104 A in each 120 V leg; one leg alone can be overloaded."""
    net = split_phase()
    rated = conductor_ratings(net)
    live = net.branch_blocks.node >= 0
    np.testing.assert_allclose(rated[live], [25000 / 7200, 25000 / 240, 25000 / 240])
    assert np.isnan(rated[~live]).all()
    one_sided = split_phase((0.0, 14.0))
    flow = solve(one_sided, one_sided.load_kva, np.zeros(3, dtype=complex), initial(one_sided))
    found = violations(one_sided, flow, replace(WIDE, loading=1.0))
    assert [(e, p) for e, p in zip(found.element, found.letters(), strict=True)] == [("t1", "b")]
    both = split_phase((0.0, 0.0), 24.0)
    flow = solve(both, both.load_kva, np.zeros(3, dtype=complex), initial(both))
    assert len(violations(both, flow, replace(WIDE, loading=1.0)).kind) == 0


def test_back_feed_is_power_from_the_low_to_the_high_side():
    """Whichever end is written first: power out of the side of higher voltage counts."""
    net = split_phase((-6.0, 1.0))
    flow = solve(net, net.load_kva, np.zeros(3, dtype=complex), initial(net))
    found = violations(net, flow, replace(WIDE, back_feed_kw=2.0))
    assert found.kinds() == (LimitKind.BACK_FEED,)
    assert found.letters() == ("",)
    assert found.value[0] == pytest.approx(-5.0, abs=0.2)
    meters = high_sides(net)
    assert net.buses[net.node_bus[net.branch_blocks.node[meters.conductor[0]]]] == "high"
    assert len(violations(net, flow, replace(WIDE, back_feed_kw=6.0)).kind) == 0


def test_a_three_wire_element_is_watched_as_a_whole():
    """Power through the delta-delta transformer is one number, not one per phase."""
    inject = NOTHING.copy()
    inject[NETWORK.three_wire] = 20.0
    flow = solve(NETWORK, 0.3 * NETWORK.load_kva, inject, initial(NETWORK))
    name = NETWORK.branches[high_sides(NETWORK).branch[0]]
    found = violations(NETWORK, flow, replace(WIDE, back_feed_kw=1.0))
    assert found.element == (name,)
    assert found.value[0] == pytest.approx(-60.0, abs=3.0)
    assert len(whole(NETWORK, (NETWORK.branches.index(name),)).conductor) == 3


# ---- attribution -----------------------------------------------------------------------------------


def fleet(seed, count=25, size_kw=25.0):
    """Resources at random buses, one or all phases; the last five stand at ports."""
    rng = np.random.default_rng(seed)
    table = NETWORK.node_table()
    buses = rng.choice(np.flatnonzero((table >= 0).any(axis=1)), count)
    masks = NETWORK.bus_phases[buses].astype(np.uint8)
    weight = NETWORK.spread(buses, masks).tolil()
    port = np.full(count, -1, dtype=np.int32)
    port[-5:] = rng.choice(len(NETWORK.loads), 5, replace=False)
    weight[:, -5:] = 0.0
    p, q = rng.uniform(-size_kw, 2 * size_kw, count), rng.uniform(-10.0, 10.0, count)
    p[-5:], q[-5:] = NETWORK.load_kva[port[-5:]].real, NETWORK.load_kva[port[-5:]].imag
    room = rng.uniform(0.0, 20.0, (4, count))
    return Resources(tuple(f"der{k}" for k in range(count)), sparse.csr_matrix(weight), port, p, q, *room)


def flow_of(resources, level, p_kw=None, q_kvar=None, start=None):
    """The flow with the resources' power, the rest of the loads at a level."""
    s = (resources.p_kw if p_kw is None else p_kw) + 1j * (resources.q_kvar if q_kvar is None else q_kvar)
    at_port = resources.port >= 0
    load = level * NETWORK.load_kva
    load[resources.port[at_port]] = s[at_port]
    flow = solve(NETWORK, load, resources.weight @ s, initial(NETWORK), start, tol=1e-11)
    assert flow.converged
    return flow


def value_at(found, k, flow, limits):
    """The violated quantity of row k at another flow, whether it is still violated or not."""
    if found.kind[k] == LimitKind.THERMAL:
        return abs(flow.currents[found.row[k]])
    everything = replace(limits, v_low_pu=10.0, v_high_pu=0.0, unbalance=0.0, back_feed_kw=-1e9,
                         reverse_kw=dict.fromkeys(limits.reverse_kw, -1e9))  # fmt: skip
    every = violations(NETWORK, flow, everything)
    same = (every.kind == found.kind[k]) & (every.phase == found.phase[k]) & (every.row == found.row[k])
    return float(every.value[same][0])


TIGHT = Limits(
    0.985,
    1.02,
    unbalance=0.012,
    loading=0.4,
    reverse_kw={"13-18": 0.0, "67-72": 0.0, "149-1": 0.0},
    back_feed_kw=0.0,
)


def curvature(found, k, move):
    """What first order leaves out: of a current, the square of its change over twice its size."""
    if found.kind[k] != LimitKind.THERMAL:
        return 2e-4 * abs(found.value[k])
    node = NETWORK.branch_blocks.node[found.row[k]]
    return (1000.0 * move / NETWORK.v_base[node]) ** 2 / found.value[k]


@settings(deadline=None, max_examples=8)
@given(seeds, st.floats(0.2, 0.9))
def test_a_resource_relieves_what_it_is_told_to(seed, level):
    """Moved alone as told, in P or in Q, the AC flow's violation falls by the told amount.

    Within a tenth of it and the curvature for moves of up to 20 kW; a tenth of the move within a
    twentieth and a hundredth of the curvature.
    """
    resources = fleet(seed)
    flow = flow_of(resources, level)
    found = violations(NETWORK, flow, TIGHT)
    table = attribute(linearise(flow), found, resources)
    rng = np.random.default_rng(seed)
    for k in rng.permutation(len(found.kind))[:4].tolist():
        worse = np.sign(found.value[k] - found.limit[k])
        row = rng.integers(table.start[k], table.start[k + 1])
        r = table.resource[row]
        for by, move, relief in (
            ("p_kw", table.move_kw[row], table.relief_kw[row]),
            ("q_kvar", table.move_kvar[row], table.relief_kvar[row]),
        ):
            noise = 1e-7 * abs(found.value[k])
            left_out = curvature(found, k, move)
            for part, slack in ((1.0, 0.1), (0.1, 0.05)):
                column = getattr(resources, by).copy()
                column[r] += part * move
                after = value_at(found, k, flow_of(resources, level, **{by: column}, start=flow), TIGHT)
                eased = worse * (found.value[k] - after)
                assert abs(eased - part * relief) <= slack * part * relief + part**2 * left_out + noise


@settings(deadline=None, max_examples=5)
@given(seeds)
def test_together_they_relieve_what_they_are_told_to(seed):
    """All rows' moves at a tenth at once lower the violation by the sum of a tenth of their reliefs."""
    resources = fleet(seed)
    flow = flow_of(resources, 0.5)
    found = violations(NETWORK, flow, TIGHT)
    table = attribute(linearise(flow), found, resources, most=1000)
    for k in np.random.default_rng(seed).permutation(len(found.kind))[:4].tolist():
        rows = slice(table.start[k], table.start[k + 1])
        p_kw, q_kvar = resources.p_kw.copy(), resources.q_kvar.copy()
        p_kw[table.resource[rows]] += 0.1 * table.move_kw[rows]
        q_kvar[table.resource[rows]] += 0.1 * table.move_kvar[rows]
        after = value_at(found, k, flow_of(resources, 0.5, p_kw, q_kvar, flow), TIGHT)
        eased = np.sign(found.value[k] - found.limit[k]) * (found.value[k] - after)
        told_relief = 0.1 * (table.relief_kw[rows] + table.relief_kvar[rows]).sum()
        moved = 0.1 * (np.abs(table.move_kw[rows]) + np.abs(table.move_kvar[rows])).sum()
        assert eased == pytest.approx(told_relief, rel=0.1, abs=curvature(found, k, moved))


@settings(deadline=None, max_examples=8)
@given(seeds, st.floats(0.2, 0.9))
def test_the_parts_make_the_whole(seed, level):
    """Contributions of resources, loads, other injections and network add up; moves stay in their room."""
    resources = fleet(seed)
    flow = flow_of(resources, level)
    found = violations(NETWORK, flow, TIGHT)
    table = attribute(linearise(flow), found, resources, most=1000)
    for k in range(len(found.kind)):
        rows = slice(table.start[k], table.start[k + 1])
        total = table.contribution[rows].sum() + table.loads[k] + table.injections[k] + table.network[k]
        worse = np.sign(found.value[k] - found.limit[k])
        assert total == pytest.approx(worse * found.value[k], rel=1e-9, abs=1e-9)
        assert (np.diff(table.contribution[rows]) <= 1e-12).all()
        r = table.resource[rows]
        assert len(np.unique(r)) == len(r)
        assert (table.move_kw[rows] <= resources.p_up_kw[r] + 1e-9).all()
        assert (-table.move_kw[rows] <= resources.p_down_kw[r] + 1e-9).all()
        assert (table.relief_kw[rows] <= table.excess[k] * (1 + 1e-9)).all()
        assert (table.relief_kw[rows] + table.relief_kvar[rows]).sum() <= table.together[k] * (1 + 1e-9) or (
            table.relief_kw[rows].max() == pytest.approx(table.excess[k])
        )
        assert (table.share[rows] <= 1.0 + 1e-9).all()
    np.testing.assert_allclose(table.excess, -found.margin)


def test_injections_that_are_no_resource_are_the_rest():
    """Resources alone leave no other injections; half of them leave the other half's contributions there."""
    resources = fleet(3)
    flow = flow_of(resources, 0.4)
    found = violations(NETWORK, flow, TIGHT)
    linear = linearise(flow)
    every = attribute(linear, found, resources, most=1000)
    np.testing.assert_allclose(every.injections, 0.0, atol=1e-9)
    chosen = np.arange(0, 20, 2)
    columns = {
        name: getattr(resources, name)[chosen]
        for name in resources.__slots__
        if name not in {"ids", "weight"}
    }
    half = replace(
        resources, ids=tuple(resources.ids[r] for r in chosen), weight=resources.weight[:, chosen], **columns
    )
    some = attribute(linear, found, half, most=1000)
    for k in range(len(found.kind)):
        rows = slice(every.start[k], every.start[k + 1])
        other = ~np.isin(every.resource[rows], chosen) & (every.resource[rows] < 20)
        assert some.injections[k] == pytest.approx(every.contribution[rows][other].sum(), abs=1e-9)


def test_only_the_weightiest_rows_are_kept_when_asked():
    """``most`` rows per violation: none that is left out weighs more, and the totals stay."""
    resources = fleet(5)
    flow = flow_of(resources, 0.4)
    found = violations(NETWORK, flow, TIGHT)
    every, few = (attribute(linearise(flow), found, resources, most=m) for m in (1000, 3))
    assert (np.diff(few.start) <= 3).all()
    np.testing.assert_array_equal(every.together, few.together)
    for k in range(len(found.kind)):
        kept = few.resource[few.start[k] : few.start[k + 1]]
        rows = np.arange(every.start[k], every.start[k + 1])
        weight = np.maximum(np.abs(every.contribution[rows]), every.relief_kw[rows] + every.relief_kvar[rows])
        inside = np.isin(every.resource[rows], kept)
        assert weight[inside].min() >= weight[~inside].max()


def test_a_ramp_is_attributed_to_what_changed():
    """The resource that jumped explains the change of power; without changes given it stays unsaid."""
    resources = fleet(7)
    before = flow_of(resources, 0.5)
    jumped = resources.p_kw.copy()
    jumped[2] += 40.0
    after = flow_of(resources, 0.5, jumped)
    limits = replace(WIDE, ramp_kw_min={"149-1": 10.0})
    found = violations(NETWORK, after, limits, t_s=60, before=before, before_s=0)
    moved = np.zeros(len(resources.ids), dtype=complex)
    moved[2] = 40.0
    now = replace(resources, p_kw=jumped)
    table = attribute(linearise(after), found, now, moved_kva=moved)
    assert table.resource[0] == 2
    assert table.share[0] > 0.9
    assert abs(table.network[0]) < 4.0
    unsaid = attribute(linearise(after), found, now)
    assert np.isnan(unsaid.contribution).all()
    assert unsaid.together[0] == pytest.approx(table.together[0])


def test_without_violations_the_table_is_empty():
    """Nothing broken, nothing attributed."""
    resources = fleet(1)
    flow = flow_of(resources, 0.3)
    table = attribute(linearise(flow), violations(NETWORK, flow, WIDE), resources)
    assert table.start.tolist() == [0]
    assert len(table.resource) == len(table.excess) == 0
