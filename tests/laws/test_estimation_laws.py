"""Laws of the state estimator: what must hold for any feeder state, readings and order of readings."""

import json
from dataclasses import fields, replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import gridflock
from gridflock.grid import ControlState, initial, solve
from gridflock.grid._flow import port_voltages
from gridflock.grid.build import from_document
from gridflock.grid.estimation import (
    Ageing,
    Known,
    Measurements,
    Pseudo,
    Quantity,
    _blocks,
    _estimate,
    estimate_state,
)
from gridflock.grid.estimation._naming import covariance_with
from gridflock.grid.lanes._order import order

DOCUMENT = json.loads((Path(gridflock.__file__).parent / "sim/feeders/ieee123.json").read_text("utf-8"))
NETWORK = from_document(DOCUMENT)
PORTS = len(NETWORK.loads)
NOW = 1_700_000_000
NOTHING = np.zeros(NETWORK.n, dtype=complex)

seeds = st.integers(0, 2**32 - 1)
few = settings(deadline=None, max_examples=12)


def true_point(rng, network=NETWORK, inject=True):
    """A solved operating point with random loads, injections and taps."""
    load = network.load_kva * (rng.uniform(0.2, 1.2, PORTS))
    kva = rng.normal(0.0, 8.0, network.n) + 1j * rng.normal(0.0, 3.0, network.n)
    kva[rng.random(network.n) < 0.7] = 0.0
    taps = rng.integers(-5, 6, len(network.regulators.ids)).astype(np.int8)
    state = ControlState(taps, initial(network).cap_on, initial(network).pending_since_s)
    flow = solve(network, load, kva if inject else NOTHING, state)
    assert flow.converged
    return flow


def readings(flow, rows, rng=None, sigmas=(0.05, 0.1, 0.002), time_s=NOW):
    """Active and reactive power and voltage at ports, exact or with the noise of their instruments."""
    net, noise = flow.network, (lambda k: np.zeros(k) if rng is None else rng.standard_normal(k))
    rows = np.asarray(rows)
    s, u = flow.served_kva[rows], np.abs(port_voltages(net, flow.v))[rows]
    parts = []
    for quantity, value, floor, share in (
        (Quantity.PORT_KW, s.real, 0.05, sigmas[0]),
        (Quantity.PORT_KVAR, s.imag, 0.05, sigmas[1]),
        (Quantity.PORT_VOLTAGE, u, 0.0, sigmas[2]),
    ):
        sigma = np.maximum(share * np.abs(value), floor)
        parts.append(Measurements.of(quantity, rows, value + sigma * noise(len(rows)), sigma, time_s))
    return Measurements.joined(parts)


def taken(measurements, rows):
    """Some measurements, in the given order."""
    parts = []
    for row in rows:
        m = measurements
        own = slice(int(m.start[row]), int(m.start[row + 1]))
        parts.append(
            Measurements(
                (m.ids[row],),
                m.quantity[row : row + 1],
                np.array([0, own.stop - own.start], dtype=np.int32),
                m.row[own],
                m.value[row : row + 1],
                m.sigma[row : row + 1],
                m.time_s[row : row + 1],
            )
        )
    return Measurements.joined(parts)


def estimated(flow, measurements, pseudo=None, **options):
    """The estimate at a flow's own control state and injections."""
    pseudo = Pseudo.shares(0.6 * flow.network.load_kva) if pseudo is None else pseudo
    return estimate_state(
        flow.network, flow.state, pseudo, measurements, NOW, inject_kva=flow.inject_kva, **options
    )


def per_unit(network, volts):
    """Largest deviation, pu of each node's nominal voltage."""
    return float(np.max(np.abs(volts) / network.v_base))


@few
@given(seeds)
def test_exact_full_readings_return_the_operating_point(seed):
    """With exact readings everywhere and wrong pseudo-measurements the truth comes back to 1e-6 pu."""
    flow = true_point(np.random.default_rng(seed))
    tight = replace_sigma(readings(flow, np.arange(PORTS)), 1e-3)
    found = estimated(flow, tight)
    assert found.converged
    assert not found.bad
    assert per_unit(NETWORK, found.v - flow.v) < 1e-6
    assert np.abs(found.load_kva - flow.served_kva).max() < 1e-4
    assert found.chi_square >= 0.0


def replace_sigma(measurements, factor):
    """The same measurements with standard deviations multiplied."""
    return replace(measurements, sigma=factor * measurements.sigma)


@few
@given(seeds)
def test_order_of_readings_is_irrelevant(seed):
    """A shuffled set of readings gives the same voltages, uncertainties, residuals and bad readings."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    given_ = readings(flow, rng.permutation(PORTS)[:60], rng)
    wrong = given_.value.copy()
    wrong[-1] *= 1.03
    given_ = replace(given_, value=wrong)
    shuffled = rng.permutation(len(given_))
    one, other = estimated(flow, given_), estimated(flow, taken(given_, shuffled))
    assert per_unit(NETWORK, one.v - other.v) < 1e-8
    assert np.allclose(one.sigma_v_pu, other.sigma_v_pu, rtol=1e-5, atol=1e-12)
    assert np.allclose(one.normalised[shuffled], other.normalised, rtol=1e-4, atol=1e-6, equal_nan=True)
    assert [b.id for b in one.bad] == [b.id for b in other.bad]


@few
@given(seeds)
def test_more_readings_never_enlarge_an_uncertainty(seed):
    """Added readings, duplicates among them, leave no standard deviation larger than before."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    pseudo = Pseudo.shares(flow.load_kva)
    every = readings(flow, np.arange(PORTS))
    rows = rng.permutation(len(every))
    before = None
    for count in (0, 10, 60, 150):
        chosen = taken(every, rows[:count]) if count else replace(every, value=np.full(len(every), np.nan))
        sets = [chosen] if count < 150 else [chosen, taken(every, rows[:40])]
        found = estimated(flow, sets, pseudo)
        assert found.converged
        if before is not None:
            assert (found.sigma_v_pu <= before.sigma_v_pu * (1 + 1e-5) + 1e-9).all()
            assert (found.sigma_kva.real <= before.sigma_kva.real * (1 + 1e-5) + 1e-9).all()
            assert (found.sigma_kva.imag <= before.sigma_kva.imag * (1 + 1e-5) + 1e-9).all()
        before = found


@few
@given(seeds)
def test_without_readings_the_estimate_is_the_flow_of_the_pseudo_measurements(seed):
    """No reading, or only absent ones: the power flow of the assumed loads, every place assumed."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    absent = readings(flow, np.arange(PORTS))
    absent = replace(absent, value=np.full(len(absent), np.nan))
    found = estimated(flow, absent, Pseudo.shares(flow.load_kva))
    assert found.converged
    assert per_unit(NETWORK, found.v - flow.v) < 1e-6
    assert found.missing == len(absent)
    assert found.freedom == 0
    assert found.chi_square < 1e-6
    assert not (found.port_known == Known.READ).any()
    assert not (found.port_known == Known.IMPLIED).any()


def constant_power():
    """The feeder with loads that do not care about voltage."""
    shares = np.zeros_like(NETWORK.load_zip)
    shares[:, :, 0] = 1.0
    limits = np.tile([0.2, 0.5, 2.0], (PORTS, 1))
    edge = np.tile([2.0, 0.5], (PORTS, 1))
    exponent = np.full_like(NETWORK.load_exponent, np.nan)
    return replace(NETWORK, load_zip=shares, load_range=limits, load_edge=edge, load_exponent=exponent)


def mixed_readings(flow, rng):
    """Powers of single ports and of several together, voltages, currents and powers in branches."""
    net = flow.network
    s, amps = flow.served_kva, np.abs(flow.currents)
    lines = np.array([kind == "line" for kind in net.branch_kind])
    head = np.flatnonzero((net.branch_head >= 0).all(axis=1) & lines)[:4]
    conductors = net.branch_head[head]
    node = net.branch_blocks.node[conductors]
    kva = (flow.v[node] * np.conj(flow.currents[conductors]) / 1000.0).sum(axis=1)
    singles = rng.permutation(PORTS)[:25]
    triples = rng.permutation(PORTS)[:12].reshape(4, 3)
    nodes = rng.permutation(net.n)[:15]

    def noisy(quantity, rows, value, sigma, size=1):
        return Measurements.of(
            quantity, rows, value + sigma * rng.standard_normal(len(value)), sigma, NOW, size=size
        )

    return Measurements.joined(
        [
            noisy(Quantity.PORT_KW, singles, s.real[singles], 2.0),
            noisy(Quantity.PORT_KVAR, singles, s.imag[singles], 2.0),
            noisy(Quantity.PORT_KW, triples.ravel(), s.real[triples].sum(axis=1), 1.0, 3),
            noisy(Quantity.VOLTAGE, nodes, np.abs(flow.v)[nodes], 0.002 * net.v_base[nodes]),
            noisy(Quantity.BRANCH_KW, conductors.ravel(), kva.real, 5.0, 3),
            noisy(Quantity.BRANCH_KVAR, conductors.ravel(), kva.imag, 5.0, 3),
            noisy(Quantity.BRANCH_A, conductors[:, 1], amps[conductors[:, 1]], 2.0),
        ]
    )


@pytest.mark.parametrize("seed", [1, 2])
def test_the_estimate_is_the_least_squares_point_of_the_power_flow(seed):
    """Along random directions of the port powers, flows solved beside the estimate fit the readings worse.

    The parabola through each three points has its lowest point at the estimate, within a hundredth of
    a step of a few percent of the standard deviations.
    """
    rng = np.random.default_rng(seed)
    net = constant_power()
    flow = true_point(rng, net, inject=False)
    given_ = mixed_readings(flow, rng)
    pseudo = Pseudo.shares(0.7 * net.load_kva)
    found = estimated(flow, given_, pseudo, false_alarm=1e-12)
    assert found.converged
    used = np.flatnonzero((pseudo.load_kva != 0).ravel())

    def misses(x):
        s = np.zeros(PORTS, dtype=complex)
        s[used] = x[: len(used)] + 1j * x[len(used) :]
        point = solve(net, s, NOTHING, flow.state, tol=1e-12)
        prior = (s - pseudo.load_kva)[used]
        sigma = pseudo.sigma_kva[used]
        return np.concatenate(
            [
                (given_.value - would_read(given_, point, s)) / given_.sigma,
                prior.real / sigma.real,
                prior.imag / sigma.imag,
            ]
        )

    at = np.concatenate([found.load_kva.real[used], found.load_kva.imag[used]])
    sigma = np.concatenate([pseudo.sigma_kva.real[used], pseudo.sigma_kva.imag[used]])

    def cost(x):
        return float(np.sum(misses(x) ** 2))

    lowest = cost(at)
    assert lowest == pytest.approx(found.chi_square, rel=1e-6)
    for _ in range(40):
        way = sigma * rng.normal(size=len(sigma)) * (rng.random(len(sigma)) < rng.choice([0.02, 0.2, 1.0]))
        ahead, behind = cost(at + 0.03 * way), cost(at - 0.03 * way)
        bend = ahead + behind - 2.0 * lowest
        assert bend >= 0.0
        assert abs(ahead - behind) <= 0.01 * bend + 1e-7


def would_read(given_, flow, s):
    """What each measurement reads at a flow, from its own definition."""
    net = flow.network
    volts = np.append(flow.v, 0.0)[net.branch_blocks.node]
    kva = volts * np.conj(flow.currents) / 1000.0
    by_quantity = {
        Quantity.VOLTAGE: np.abs(flow.v),
        Quantity.PORT_VOLTAGE: np.abs(port_voltages(net, flow.v)),
        Quantity.PORT_KW: s.real,
        Quantity.PORT_KVAR: s.imag,
        Quantity.BRANCH_KW: kva.real,
        Quantity.BRANCH_KVAR: kva.imag,
        Quantity.BRANCH_A: np.abs(flow.currents),
    }
    return np.array(
        [
            by_quantity[given_.quantity[k]][given_.row[given_.start[k] : given_.start[k + 1]]].sum()
            for k in range(len(given_))
        ]
    )


@few
@given(seeds)
def test_expected_readings_are_those_of_the_estimated_point(seed):
    """``expected`` is what the instruments would read at the estimate, by their own definitions."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    given_ = mixed_readings(flow, rng)
    found = estimated(flow, given_)
    assert found.converged
    again = would_read(given_, found.flow(), found.load_kva)
    assert np.allclose(found.expected, again, rtol=1e-7, atol=1e-6)


@few
@given(seeds)
def test_the_flow_of_an_estimate_is_a_flow(seed):
    """Its loads at rated voltage draw the estimated powers, and solving them returns its voltages."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    found = estimated(flow, readings(flow, np.arange(0, PORTS, 2), rng))
    same = found.flow()
    assert np.abs(same.served_kva - found.load_kva).max() < 1e-6
    again = solve(NETWORK, same.load_kva, same.inject_kva, same.state)
    assert per_unit(NETWORK, again.v - found.v) < 1e-6
    assert found.residual_kva < 1e-3


@few
@given(seeds)
def test_a_critical_reading_is_never_named(seed):
    """A power nobody else can check is believed, however odd; its normalised residual is absent."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    row = int(rng.integers(PORTS))
    odd = Measurements.of(Quantity.PORT_KW, [row], [-3.0 * flow.served_kva[row].real - 40.0], 0.5, NOW)
    found = estimated(flow, odd)
    assert np.isnan(found.normalised).all()
    assert found.redundancy[0] < 0.01
    assert not found.bad


@few
@given(seeds, st.integers(0, PORTS - 1))
def test_a_wrong_voltage_among_many_is_named_with_its_value_and_what_it_should_be(seed, row):
    """A voltage 3 % too high, with all others good, is the one reading named; the rest is as without it."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    given_ = readings(flow, np.arange(PORTS), rng)
    place = 2 * PORTS + row
    wrong = given_.value.copy()
    wrong[place] *= 1.03
    found = estimated(flow, replace(given_, value=wrong))
    assert [bad.row for bad in found.bad] == [place]
    bad = found.bad[0]
    assert bad.value == wrong[place]
    assert bad.expected == pytest.approx(given_.value[place], rel=0.015)
    assert abs(bad.normalised) > found.threshold
    assert found.redundancy[place] != found.redundancy[place]
    absent = given_.value.copy()
    absent[place] = np.nan
    without = estimated(flow, replace(given_, value=absent))
    assert per_unit(NETWORK, found.v - without.v) < 1e-7


impossible = st.sampled_from(
    ["inf", "-inf", "huge", "negative volt", "row", "sigma", "future", "quantity", "no time"]
)


@few
@given(seeds, st.lists(impossible, min_size=1, max_size=6))
def test_impossible_readings_are_counted_and_change_nothing(seed, kinds):
    """Infinite, absurd, misplaced or timeless readings are rejected by rule, and the rest is as without."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    good = readings(flow, rng.permutation(PORTS)[:30], rng)
    spoilt = {
        "inf": (Quantity.PORT_KW, 0, np.inf, 1.0, NOW),
        "-inf": (Quantity.PORT_VOLTAGE, 0, -np.inf, 1.0, NOW),
        "huge": (Quantity.PORT_KVAR, 0, 1e9, 1.0, NOW),
        "negative volt": (Quantity.VOLTAGE, 5, -2400.0, 1.0, NOW),
        "row": (Quantity.PORT_KW, PORTS, 1.0, 1.0, NOW),
        "sigma": (Quantity.PORT_KW, 0, 1.0, 0.0, NOW),
        "future": (Quantity.PORT_KW, 0, 1.0, 1.0, NOW + 10_000),
        "quantity": (200, 0, 1.0, 1.0, NOW),
        "no time": (Quantity.PORT_KW, 0, 1.0, 1.0, -1),
    }
    bad = []
    for kind in kinds:
        quantity, row, value, sigma, time_s = spoilt[kind]
        part = Measurements.of(Quantity.PORT_KW, [row], [value], sigma, time_s)
        bad.append(replace(part, quantity=np.array([quantity], dtype=np.uint8)))
    found = estimated(flow, [good, *bad])
    alone = estimated(flow, good)
    assert sum(r.count for r in found.rejected) == len(kinds)
    assert all(r.component == "measurement" and r.reason and r.ids for r in found.rejected)
    assert np.isnan(found.expected[len(good) :]).all()
    assert found.freedom == alone.freedom
    assert per_unit(NETWORK, found.v - alone.v) < 1e-8


def test_a_late_reading_counts_less_and_a_very_late_one_not_at_all():
    """The uncertainty grows with the age of a reading from that of a fresh one to that of none."""
    flow = true_point(np.random.default_rng(3))
    pseudo = Pseudo.shares(flow.load_kva)
    before = -1.0
    fresh = readings(flow, np.arange(PORTS))
    for age_s in (0, 60, 900, 3600, 14_400, 200_000):
        found = estimated(
            flow, replace(fresh, time_s=fresh.time_s - age_s), pseudo, ageing=Ageing(tau_s=3600.0)
        )
        spread = float(found.sigma_v_pu.max())
        assert spread > before
        before = spread
    nothing = estimated(flow, replace(fresh, value=np.full(len(fresh), np.nan)), pseudo)
    assert before == pytest.approx(float(nothing.sigma_v_pu.max()), rel=1e-6)


def test_what_is_read_implied_and_assumed_is_told_apart():
    """Read ports are READ, a port whose group and partners are read is IMPLIED, the rest ASSUMED."""
    flow = true_point(np.random.default_rng(4))
    s = flow.served_kva.real
    parts = [
        Measurements.of(Quantity.PORT_KW, [0, 1], s[[0, 1]], 0.01, NOW),
        Measurements.of(Quantity.PORT_KW, [0, 1, 2], [s[:3].sum()], 0.01, NOW, size=3),
    ]
    found = estimated(flow, parts)
    assert found.port_known[:4, 0].tolist() == [Known.READ, Known.READ, Known.IMPLIED, Known.ASSUMED]
    assert (found.port_known[:, 1] == Known.ASSUMED).all()
    assert found.load_kva[2].real == pytest.approx(s[2], abs=0.1)
    node = Measurements.of(Quantity.VOLTAGE, [50], [np.abs(flow.v[50])], 1.0, NOW)
    assert estimated(flow, node).node_known[50] == Known.READ


def test_uncertain_sources_are_found_from_voltage_readings():
    """A substation 2 % above its model's voltage is seen by the readings and carried into the flow."""
    rng = np.random.default_rng(5)
    higher = replace(NETWORK, source_v=1.02 * NETWORK.source_v)
    flow = true_point(rng, higher)
    given_ = replace_sigma(readings(flow, np.arange(PORTS)), 0.1)
    known = replace(flow, network=NETWORK)
    found = estimate_state(
        NETWORK, flow.state, Pseudo.shares(NETWORK.load_kva), given_, NOW,
        inject_kva=known.inject_kva, source_sigma_pu=0.03,
    )  # fmt: skip
    assert found.converged
    assert not found.bad
    assert np.allclose(np.abs(found.network.source_v / NETWORK.source_v), 1.02, atol=1e-3)
    assert np.abs(found.flow().head_kva - flow.head_kva).max() < 0.02 * np.abs(flow.head_kva).max()


@few
@given(seeds, st.integers(2, 25))
def test_factor_solution_and_selected_inverse_equal_dense_algebra(seed, n):
    """On random saddle matrices of random patterns, meshes included, all three agree with NumPy to 1e-8."""
    rng = np.random.default_rng(seed)
    near = np.triu(rng.random((n, n)) < 3.0 / n, 1) | np.eye(n, k=1, dtype=bool)
    near = near | near.T
    rows, columns = np.nonzero(near | np.eye(n, dtype=bool))
    start = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n))]).astype(np.int32)
    placed = order(start, columns.astype(np.int32), rng.random(n) < 0.6, np.empty(0, dtype=np.int32))
    pair_start, pair = _blocks.targets(placed.upper_start, placed.upper)
    j = rng.normal(size=(2 * n, 2 * n)) * np.kron(near, np.ones((2, 2)))
    j += np.kron(np.diag(near.sum(axis=1) * 4.0 + 4.0), np.eye(2))
    n_part, c_part = np.diag(rng.random(2 * n)), np.diag(rng.random(2 * n) * (rng.random(2 * n) < 0.5))
    dense = np.zeros((n, 4, n, 4))
    for (a, b), block in (((0, 0), n_part), ((0, 2), j.T), ((2, 0), j), ((2, 2), -c_part)):
        dense[:, a : a + 2, :, b : b + 2] = block.reshape(n, 2, n, 2)
    dense = dense[placed.node][:, :, placed.node]
    diag = np.array([dense[k, :, k, :] for k in range(n)])
    row = np.repeat(np.arange(n), np.diff(placed.upper_start))
    off = np.ascontiguousarray(dense[row, :, placed.upper, :]).reshape(-1, 4, 4)
    assert _blocks.eliminate(diag, off, placed.upper_start, placed.upper, pair_start, pair, 0, n) == -1
    z_diag, z_off = _blocks.selected_inverse(diag, off, placed.upper_start, placed.upper, pair_start, pair)
    inverse = np.linalg.inv(dense.reshape(4 * n, 4 * n)).reshape(n, 4, n, 4)
    assert np.allclose(z_diag, [inverse[k, :, k, :] for k in range(n)], atol=1e-8)
    assert np.allclose(z_off, inverse[row, :, placed.upper, :].reshape(-1, 4, 4), atol=1e-8)
    right = rng.normal(size=(n, 4))
    x = right.copy()
    _blocks.substitute(x, diag, off, placed.upper_start, placed.upper)
    assert np.allclose(np.tensordot(dense, x, ((2, 3), (0, 1))), right, atol=1e-8)


@few
@given(seeds)
def test_the_covariance_of_a_measurement_with_itself_is_its_variance(seed):
    """One solution and the selected inverse agree, for all quantities and both orders of a pair."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    given_ = mixed_readings(flow, rng)
    kept = []

    def keep(*arguments):
        kept.append(arguments)
        return []

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_estimate, "to_name", keep)
        estimated(flow, given_)
    problem, fitted, judged = kept[0]
    for row in range(len(given_)):
        covariance = covariance_with(problem, fitted, judged.factored, row)
        assert covariance[row] == pytest.approx(judged.sure.reading[row] ** 2, rel=1e-4)
        other = (row + 17) % len(given_)
        back = covariance_with(problem, fitted, judged.factored, other)
        assert back[row] == pytest.approx(covariance[other], rel=1e-4, abs=1e-9)


@few
@given(seeds)
def test_many_bad_voltages_are_all_named(seed):
    """Five raised voltages among all readings are all named, whether near each other or not."""
    rng = np.random.default_rng(seed)
    flow = true_point(rng)
    given_ = readings(flow, np.arange(PORTS), rng)
    places = 2 * PORTS + rng.choice(PORTS, 5, replace=False)
    wrong = given_.value.copy()
    wrong[places] *= 1.03
    found = estimated(flow, replace(given_, value=wrong))
    named = {bad.row for bad in found.bad}
    assert named >= set(places.tolist())
    assert len(named) <= 6


@pytest.mark.parametrize("name", ["sw-13-152", "sw-61-61s", "sw-97-197"])
def test_a_dead_part_is_told_and_its_readings_are_rejected(name):
    """With a switch open the rest is estimated as ever; the dead part is DEAD at zero."""
    closed = NETWORK.branch_closed.copy()
    closed[NETWORK.branches.index(name)] = False
    net = replace(NETWORK, branch_closed=closed)
    flow = true_point(np.random.default_rng(2), net)
    found = estimated(flow, readings(flow, np.arange(PORTS)))
    dead = ~net.topology.live
    assert found.converged
    assert (found.v[dead] == 0.0).all()
    assert ((found.node_known == Known.DEAD) == dead).all()
    assert sum(r.count for r in found.rejected) == 3 * int(np.count_nonzero(~net.topology.port_live))
    assert np.max(found.v_pu - flow.v_pu) < 1e-3


@cache
def _columns():
    return {f.name for f in fields(Measurements)}


def test_joined_measurements_keep_all_columns():
    """Joining keeps names, rows and values in order, whatever the number of rows of each."""
    one = Measurements.of(Quantity.PORT_KW, [3, 4, 5, 6], [1.0, 2.0], 0.1, NOW, size=2)
    two = Measurements.of(Quantity.VOLTAGE, [7], [240.0], 0.5, NOW, ids=("m7",))
    both = Measurements.joined([one, two])
    assert both.start.tolist() == [0, 2, 4, 5]
    assert both.row.tolist() == [3, 4, 5, 6, 7]
    assert both.ids[-1] == "m7"
    assert all(len(getattr(both, name)) == 3 for name in _columns() - {"start", "row"})
