"""What holds for every batch of lanes, on random unbalanced networks."""

import importlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import sparse

from gridflock.grid.lanes import Lanes, Shaped, States, Wanted, _anchor, _bands, _frame, _run
from gridflock.grid.lanes._fit import classes
from gridflock.grid.lanes._law import currents, factors
from gridflock.grid.lanes._ldu import factor
from gridflock.grid.lanes._order import order
from gridflock.grid.lanes._point import miss_kva, pattern, point
from gridflock.grid.lanes._proof import _asking, packed_error

sys.path.insert(0, str(Path(__file__).parent))
networks = importlib.import_module("lanes_networks")
seeds = st.integers(0, 10_000)
few = settings(max_examples=12, deadline=None)
WITHIN_PU = 2e-5
HIGHEST_PU = 2.0
KINDS = [
    pytest.param({}, id="float32"),
    pytest.param({"dtype": "float64"}, id="float64"),
    pytest.param({"plain": True}, id="plain"),
]


def _scenarios(seed, s_kva, count):
    """A mix of loads around 60 % and of export at some ports."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(0.2, 1.0, (count, len(s_kva)))
    turned = rng.random((count, len(s_kva))) < 0.15
    return s_kva * np.where(turned, -0.5 * share, share)


def _magnitudes(net, demand):
    return np.stack([np.abs(networks.flow(net, s)) / net.v_base for s in demand])


# ---- exact parts ---------------------------------------------------------------------------------


@given(seed=seeds)
@few
def test_block_factors_solve_what_a_dense_solver_solves(seed):
    """Ordering and block LDU answer any right side like dense linear algebra, tail or no tail."""
    rng = np.random.default_rng(seed)
    n = int(rng.integers(3, 25))
    shape = sparse.random(n, n, 0.15, random_state=rng) + sparse.eye(n)
    shape = sparse.csr_matrix(((shape + shape.T) != 0).astype(float))
    shape.sort_indices()
    blocks = rng.normal(size=(shape.nnz, 4))
    row = np.repeat(np.arange(n), np.diff(shape.indptr))
    blocks[row == shape.indices] += (0.0, 12.0, -12.0, 0.0)
    tail = rng.choice(n, size=int(rng.integers(0, 3)), replace=False).astype(np.int32)
    made = order(shape.indptr, shape.indices, rng.random(n) < 0.5, tail)
    dense = np.zeros((2 * n, 2 * n))
    for k, (i, j) in enumerate(zip(row, shape.indices, strict=True)):
        dense[2 * i : 2 * i + 2, 2 * j : 2 * j + 2] = blocks[k].reshape(2, 2)
    right = rng.normal(size=(n, 2))
    factored = factor(made, shape.indptr, shape.indices, blocks)
    assert factored.regular
    assert set(made.node[made.loop :]) == set(tail)
    np.testing.assert_allclose(
        factored.solve(right).reshape(-1), np.linalg.solve(dense, right.reshape(-1)), atol=1e-9
    )


def test_a_pivot_without_diagonal_is_no_obstacle():
    """Pure reactances and pure resistances factor alike: the pivot is the whole block."""
    start, column = np.array([0, 2, 4], dtype=np.int32), np.array([0, 1, 0, 1], dtype=np.int32)
    for block in ((0.0, 5.0, -5.0, 0.0), (5.0, 0.0, 0.0, 5.0)):
        blocks = np.array([block, [-x / 2 for x in block], [-x / 2 for x in block], block])
        made = order(start, column, np.array([True, True]), np.zeros(0, dtype=np.int32))
        factored = factor(made, start, column, blocks)
        assert factored.regular
        assert np.isfinite(factored.solve(np.ones((2, 2)))).all()


def test_a_singular_matrix_is_said_to_be():
    """Two nodes tied together and to nothing else have no regular factor, and lanes on them no answer."""
    net, s_kva = networks.circuit(1)
    loose = replace(net, y=sparse.csc_matrix(net.y.shape, dtype=complex))
    with np.errstate(all="ignore"):
        lanes = Lanes(loose, s_kva)
        flows = lanes.solve(s_kva[None], Wanted(v_pu=True, rounds=0))
    assert not lanes.ready
    assert not flows.converged.any()
    assert np.isnan(flows.v_pu).all()


@given(seed=seeds)
@few
def test_the_base_point_obeys_the_original_equations(seed):
    """Newton's answer misses Kirchhoff's current law nowhere, and is the fixed point's answer."""
    net, s_kva = networks.circuit(seed)
    found = point(net, pattern(net, np.zeros(0, dtype=np.int32)), s_kva)
    assert found.solved
    assert miss_kva(net, s_kva, found.v) < 1e-6
    assert np.abs(found.v - networks.flow(net, s_kva)).max() < 1e-5


@given(seed=seeds, size=st.floats(0.3, 1.3), angle=st.floats(-3.0, 3.0))
@few
def test_slopes_are_the_derivatives_of_the_currents(seed, size, angle):
    """The 2×2 blocks are what a small step in either direction of the voltage does to the current."""
    net, s_kva = networks.circuit(seed)
    u = net.port_v * size * np.exp(1j * angle)
    r = np.abs(u) / net.port_v
    clear = (
        np.min(np.abs(r[:, None] - np.stack([net.law.low, net.law.high, net.law.floor], axis=1)), axis=1)
        > 1e-3
    )
    now, slopes = currents(net, s_kva, u)
    for k, direction in enumerate((1.0, 1j)):
        ahead, behind = (currents(net, s_kva, u + sign * 1e-3 * direction)[0] for sign in (1, -1))
        change = (ahead - behind) / 2e-3
        np.testing.assert_allclose(slopes[clear, k], change.real[clear], atol=1e-6)
        np.testing.assert_allclose(slopes[clear, 2 + k], change.imag[clear], atol=1e-6)
    assert np.isfinite(now).all()


@given(seed=seeds)
@few
def test_the_law_is_the_rules_one_port_at_a_time(seed):
    """Vectorised current factors are the written rules, inside the limits and beyond each of them."""
    net, _ = networks.circuit(seed)
    r = np.random.default_rng(seed).uniform(0.2, 1.5, len(net.port_v))
    np.testing.assert_allclose(factors(net.law, r)[0], networks.current_factors(net.law, r), rtol=1e-12)


@pytest.mark.parametrize(("only_power", "accuracy"), [(True, 1e-6), (False, 1e-6), (False, 1e-12)])
def test_fitted_laws_keep_their_accuracy(only_power, accuracy):
    """Polynomials miss the law by no more than asked for; constant power needs none."""
    net, _ = networks.circuit(3, only_power=only_power)
    fitted = classes(net.law, accuracy)
    assert fitted.error <= accuracy
    assert (fitted.degree == -1) == only_power


# ---- lanes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds)
@few
def test_every_lane_is_the_flow_of_its_own_scenario(kind, seed):
    """ZIP, exponent and delta ports, loads and export: each lane is within tolerance of the dense solver."""
    net, s_kva = networks.circuit(seed)
    demand = _scenarios(seed, s_kva, 19)
    flows = Lanes(net, 0.6 * s_kva, **kind).solve(demand, Wanted(v_pu=True, nodes=(4, 0)))
    assert flows.converged.all()
    wanted = _magnitudes(net, demand)
    assert np.abs(flows.v_pu - wanted).max() < WITHIN_PU
    assert np.abs(np.abs(flows.v) / net.v_base[0] - wanted[:, [4, 0]]).max() < WITHIN_PU
    assert (flows.low_pu == flows.v_pu.min(axis=1)).all()
    assert (flows.high_pu == flows.v_pu.max(axis=1)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_constant_power_is_as_exact_as_fitted_laws(kind):
    """Where all ports are constant power another law is compiled; it answers as well."""
    net, s_kva = networks.circuit(11, only_power=True)
    demand = _scenarios(11, s_kva, 33)
    flows = Lanes(net, 0.6 * s_kva, **kind).solve(demand, Wanted(v_pu=True))
    assert flows.converged.all()
    assert np.abs(flows.v_pu - _magnitudes(net, demand)).max() < WITHIN_PU


@pytest.mark.parametrize("kind", KINDS)
def test_a_tighter_tolerance_is_kept(kind):
    """With 1e-7 asked for, only the rounding of the precision chosen is left."""
    net, s_kva = networks.circuit(12)
    demand = _scenarios(12, s_kva, 16)
    flows = Lanes(net, 0.6 * s_kva, **kind).solve(demand, Wanted(v_pu=True, tol=1e-7))
    bound = 2e-7 if kind.get("dtype") == "float64" else 2e-6
    assert np.abs(flows.v_pu - _magnitudes(net, demand)).max() < bound


@pytest.mark.parametrize("kind", KINDS)
def test_shaped_and_dense_demand_are_one(kind):
    """Shared multipliers give what the same injections written out give."""
    net, s_kva = networks.circuit(7)
    rng = np.random.default_rng(7)
    p_shape, q_shape = (rng.integers(0, 4, len(s_kva)).astype(np.int32) for _ in range(2))
    shaped = Shaped(s_kva, p_shape, q_shape, rng.uniform(0.2, 1.0, (4, 37)))
    lanes = Lanes(net, shaped.mean_kva(), **kind)
    np.testing.assert_allclose(shaped.dense().mean(axis=0), shaped.mean_kva())
    np.testing.assert_allclose(shaped.dense().real.sum(axis=1), shaped.total_kw())
    short, long = (lanes.solve(demand, Wanted(v_pu=True)) for demand in (shaped, shaped.dense()))
    assert np.abs(short.v_pu - long.v_pu).max() < 1e-6


@pytest.mark.parametrize("kind", KINDS)
def test_extremes_are_those_of_all_voltages(kind):
    """Streaming keeps of every node what a look at every voltage would have found."""
    net, s_kva = networks.circuit(5)
    demand = _scenarios(5, s_kva, 150)
    band = (0.97, 1.01)
    flows = Lanes(net, 0.6 * s_kva, **kind).solve(demand, Wanted(v_pu=True, band=band, parts=2))
    assert (flows.node_low_pu == flows.v_pu.min(axis=0)).all()
    assert (flows.node_high_pu == flows.v_pu.max(axis=0)).all()
    low, high = (np.array(edge, dtype=flows.v_pu.dtype) for edge in band)
    assert (flows.below == (flows.v_pu < low).sum(axis=0)).all()
    assert (flows.above == (flows.v_pu > high).sum(axis=0)).all()


def test_threads_and_repetition_change_no_byte():
    """The same batch gives the same bytes again, in one part, in three, and from a pool of threads."""
    net, s_kva = networks.circuit(9)
    demand = _scenarios(9, s_kva, 100)
    lanes = Lanes(net, 0.6 * s_kva)
    with ThreadPoolExecutor(2) as pool:
        choices = [Wanted(v_pu=True), Wanted(v_pu=True, parts=3), Wanted(v_pu=True, parts=4, spread=pool.map)]
        first, *others = (lanes.solve(demand, wanted) for wanted in choices)
    for other in others:
        assert first.v_pu.tobytes() == other.v_pu.tobytes()
        assert (first.residual_kva == other.residual_kva).all()


@given(seed=seeds)
@few
def test_the_company_of_a_lane_is_worth_no_more_than_the_tolerance(seed):
    """Alone, in another order or in a larger batch, a scenario has the same answer within tolerance."""
    net, s_kva = networks.circuit(seed)
    demand = _scenarios(seed, s_kva, 40)
    lanes = Lanes(net, 0.6 * s_kva)
    turn = np.random.default_rng(seed).permutation(40)
    ahead, shuffled = lanes.solve(demand, Wanted(v_pu=True)), lanes.solve(demand[turn], Wanted(v_pu=True))
    alone = lanes.solve(demand[3:4], Wanted(v_pu=True))
    assert np.abs(ahead.v_pu[turn] - shuffled.v_pu).max() < WITHIN_PU
    assert np.abs(ahead.v_pu[3] - alone.v_pu[0]).max() < WITHIN_PU


def test_memory_is_used_again():
    """Voltages are written into the room handed over; room that does not fit is refused."""
    net, s_kva = networks.circuit(2)
    lanes = Lanes(net, 0.6 * s_kva)
    demand = _scenarios(2, s_kva, 20)
    room = lanes.room(20)
    flows = lanes.solve(demand, Wanted(v_pu=True, room=room))
    assert np.shares_memory(flows.v_pu, room)
    for wrong in (lanes.room(19), room[1:], room.astype(np.float64)):
        with pytest.raises(ValueError, match="room"):
            lanes.solve(demand, Wanted(v_pu=True, room=wrong))


# ---- lanes that are far or lost ------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_a_lane_without_an_answer_is_flagged_and_harms_no_other(kind):
    """Injections far beyond what the feeder can carry have no voltage; their neighbours keep theirs."""
    net, s_kva = networks.circuit(4, only_power=True)
    demand = _scenarios(4, s_kva, 21)
    demand[5] *= np.nan
    demand[13] = -3e5
    flows = Lanes(net, 0.6 * s_kva, **kind).solve(demand, Wanted(v_pu=True, band=(0.9, 1.1)))
    lost = np.flatnonzero(~flows.converged)
    assert set(lost) <= {5, 13}
    assert 5 in lost
    assert np.isnan(flows.v_pu[lost]).all()
    sound = np.setdiff1d(np.arange(21), [5, 13])
    assert np.abs(flows.v_pu[sound] - _magnitudes(net, demand[sound])).max() < WITHIN_PU
    assert (flows.node_low_pu == flows.v_pu[flows.converged].min(axis=0)).all()


def test_lanes_far_from_the_base_point_get_one_of_their_own(monkeypatch):
    """What two iterations cannot reach from one base point is reached from others nearer by."""
    net, s_kva = networks.circuit(6)
    demand = np.concatenate([_scenarios(6, s_kva, 16) * 0.1, -2.0 * np.tile(s_kva, (16, 1))])
    monkeypatch.setattr(_run, "MOST_ITERATIONS", 2)
    lanes = Lanes(net, 0.0 * s_kva)
    stayed = lanes.solve(demand, Wanted(v_pu=True, rounds=0))
    flows = lanes.solve(demand, Wanted(v_pu=True))
    assert not stayed.converged.all()
    assert flows.converged.all()
    assert np.abs(flows.v_pu - _magnitudes(net, demand)).max() < WITHIN_PU


@pytest.mark.parametrize("field", ["lower_block", "upper_block", "pivot"])
@given(seed=seeds)
@few
def test_a_bad_factor_is_noticed_before_it_answers(field, seed):
    """One packed number that matters off by a few per cent, and the lanes declare themselves unfit."""
    net, s_kva = networks.circuit(seed)
    lanes = Lanes(net, 0.6 * s_kva)
    assert lanes.ready
    numbers = getattr(lanes.anchor.packed.plan, field)
    weighty = np.flatnonzero(np.abs(numbers) > 0.1 * np.abs(numbers).max())
    plan, step = lanes.anchor.packed.plan, 2 * lanes.anchor.frame.width
    position = {
        "pivot": np.arange(len(plan.pivot) // 4) + plan.sizes[1],
        "lower_block": plan.lower // step,
        "upper_block": plan.upper // step,
    }[field]
    weighty = weighty[np.isin(position[weighty // 4], _asking(plan))]
    numbers[np.random.default_rng(seed).choice(weighty)] *= 1.05
    assert (
        packed_error(lanes.anchor.packed.plan, lanes.anchor.base, lanes.anchor.frame.width, 4)
        > _frame.FACTOR_LIMIT
    )


def test_lanes_with_a_bad_factor_answer_nothing(monkeypatch):
    """A plan spoilt while it was packed leaves lanes that flag every scenario."""
    net, s_kva = networks.circuit(8)
    sound = _anchor.pack

    def planted(*args):
        packed = sound(*args)
        packed.plan.pivot[:] *= 1.01
        return packed

    monkeypatch.setattr(_anchor, "pack", planted)
    lanes = Lanes(net, 0.6 * s_kva)
    assert not lanes.ready
    assert not lanes.solve(s_kva[None], Wanted(rounds=0)).converged.any()


# ---- control states ------------------------------------------------------------------------------


def _states(net, nodes, count, seed):
    """Series admittances between the nodes changed by up to a third, and small capacitors to ground."""
    rng = np.random.default_rng(seed)
    series = -net.y[nodes][:, nodes].toarray()
    np.fill_diagonal(series, 0.0)
    share = rng.uniform(-0.3, 0.3, (count, len(nodes), len(nodes)))
    change = series * (share + share.transpose(0, 2, 1)) / 2
    grounded = 1j * rng.uniform(0.0, 2e-3, (count, len(nodes)))
    return np.eye(len(nodes)) * (change.sum(axis=2) + grounded)[:, None, :] - change


@pytest.mark.parametrize("kind", KINDS)
@given(seed=seeds)
@few
def test_each_lane_has_its_own_control_state(kind, seed):
    """A lane with changed admittances is a flow of a network that has those admittances.

    The states are wild enough to reach voltages at which a law jumps and two flows exist, so the lane is
    held against the flow next to it; one or two may be flagged. Networks that resonate at several times
    their voltage, where single precision ends sooner, are left out.
    """
    net, s_kva = networks.circuit(seed)
    nodes = np.array([3, 4, 5, 6, 7, 8], dtype=np.int32)[np.random.default_rng(seed).permutation(6)]
    delta_y = _states(net, nodes, 5, seed)
    delta_y[0] = 0.0
    demand = _scenarios(seed, s_kva, 21)
    of = (np.arange(21) % 5).astype(np.int32)
    lanes = Lanes(net, 0.6 * s_kva, tail=nodes, **kind)
    flows = lanes.solve(demand, Wanted(v_pu=True, nodes=tuple(range(len(net.v_base)))), States(of, delta_y))
    assume(flows.high_pu[flows.converged].max(initial=0.0) < HIGHEST_PU)
    assert flows.converged.sum() >= 19
    for k in np.flatnonzero(flows.converged):
        changed = net.y.tolil()
        changed[np.ix_(nodes, nodes)] += delta_y[of[k]]
        own = replace(net, y=changed.tocsc())
        truth = point(own, pattern(own, np.zeros(0, dtype=np.int32)), demand[k], flows.v[k].astype(complex))
        assert truth.solved
        assert np.abs(flows.v_pu[k] - np.abs(truth.v) / net.v_base).max() < WITHIN_PU


def test_a_state_may_not_couple_what_nothing_couples():
    """An admittance between tail nodes that the network couples nowhere is refused, not dropped."""
    net, s_kva = networks.circuit(3)
    n = len(net.v_base)
    twice = replace(
        net,
        y=sparse.block_diag([net.y, net.y], format="csc"),
        i_source=np.tile(net.i_source, 2),
        v_base=np.tile(net.v_base, 2),
    )
    lanes = Lanes(twice, 0.6 * s_kva, tail=np.array([5, n + 5], dtype=np.int32))
    change = np.zeros((1, 2, 2), dtype=complex)
    change[0, 0, 1] = 1.0
    with pytest.raises(ValueError, match="couples"):
        lanes.solve(s_kva[None], None, States(np.zeros(1, dtype=np.int32), change))


@pytest.mark.parametrize("kind", [KINDS[0], KINDS[2]])
def test_a_state_at_which_the_network_is_nearly_singular_is_flagged(kind):
    """A change that all but cancels a node's admittance leaves its lanes without an answer, and only them."""
    net, s_kva = networks.circuit(5)
    tail = np.array([5], dtype=np.int32)
    lanes = Lanes(net, 0.0 * s_kva, tail=tail, **kind)
    impedance = np.linalg.inv(net.y.toarray())[5, 5]
    delta_y = np.zeros((3, 1, 1), dtype=complex)
    delta_y[1] = -(1.0 - 1e-6) / impedance
    delta_y[2] = -1e-3 / impedance
    of = (np.arange(9) % 3).astype(np.int32)
    flows = lanes.solve(_scenarios(5, 0.1 * s_kva, 9), Wanted(rounds=0), States(of, delta_y))
    assert (flows.converged == (of != 1)).all()


def test_states_kept_in_a_table_answer_as_those_written_out():
    """States added to a table in two turns give the bytes that the same states handed over give."""
    net, s_kva = networks.circuit(6)
    nodes = np.array([3, 4, 5, 6, 7, 8], dtype=np.int32)
    delta_y = _states(net, nodes, 7, 6)
    demand = _scenarios(6, s_kva, 40)
    of = (np.arange(40) % 7).astype(np.int32)
    lanes = Lanes(net, 0.6 * s_kva, tail=nodes)
    once = lanes.solve(demand, Wanted(v_pu=True), States(of, delta_y))
    table = lanes.table()
    few_rows, more_rows = table.add(delta_y[:3]), table.add(delta_y[3:])
    assert np.concatenate([few_rows, more_rows]).tolist() == list(range(len(table)))
    for _ in range(2):
        again = lanes.solve(demand, Wanted(v_pu=True), States(of, table))
        assert again.v_pu.tobytes() == once.v_pu.tobytes()


# ---- base points by load -------------------------------------------------------------------------


def _swinging(s_kva, count, seed):
    """Scenarios from nearly idle to twice the rated load, ports differing a little."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.05, 2.0, (count, 1))
    return s_kva * level * rng.uniform(0.9, 1.1, (count, len(s_kva)))


@given(seed=seeds)
@few
def test_bands_hold_every_scenario_once(seed):
    """However many base points are chosen, each scenario is in one band, the same every time."""
    rng = np.random.default_rng(seed)
    known = _bands.Reach(rng.uniform(0.01, 0.8), rng.uniform(0.01, 0.3), 100.0, 50)
    total = rng.normal(100.0, 40.0, int(rng.integers(1, 40_000)))
    cut = _bands.bands(total, 100.0, known, 1e-5)
    assert not cut or sorted(np.concatenate(cut)) == list(range(len(total)))
    again = _bands.bands(total, 100.0, known, 1e-5)
    assert [part.tolist() for part in cut] == [part.tolist() for part in again]
    assert not _bands.bands(total, 100.0, None, 1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_base_points_made_in_advance_change_no_answer(kind):
    """Prepared lanes answer within tolerance, in no more iterations, whatever part is asked."""
    net, s_kva = networks.circuit(14)
    demand = _swinging(s_kva, 200, 14)
    lanes = Lanes(net, 0.6 * s_kva, **kind)
    before = lanes.solve(demand, Wanted(v_pu=True))
    lanes.span = lanes.span._replace(contraction=0.5)
    assert lanes.prepare(demand, times=1e4) > 1
    after = lanes.solve(demand, Wanted(v_pu=True))
    assert after.converged.all()
    assert after.iterations.mean() <= before.iterations.mean()
    wanted = _magnitudes(net, demand)
    assert np.abs(after.v_pu - wanted).max() < WITHIN_PU
    assert np.abs(lanes.solve(demand[7:20], Wanted(v_pu=True)).v_pu - wanted[7:20]).max() < WITHIN_PU


def test_a_batch_is_answered_alike_whatever_was_asked_before(monkeypatch):
    """Base points that a batch makes for itself follow from it alone: the bytes do not tell its history."""
    net, s_kva = networks.circuit(15)
    monkeypatch.setattr(_bands, "SETUP_FLOWS", 0.01)
    demand, other = _swinging(s_kva, 90, 15), _swinging(s_kva, 70, 16)
    fresh, used = Lanes(net, 0.6 * s_kva), Lanes(net, 0.6 * s_kva)
    for lanes in (fresh, used):
        lanes.span = lanes.span._replace(contraction=0.5)
    used.solve(other)
    assert len(used._kept) > 1
    first, second = fresh.solve(demand, Wanted(v_pu=True)), used.solve(demand, Wanted(v_pu=True))
    assert first.v_pu.tobytes() == second.v_pu.tobytes()
    assert used.solve(demand, Wanted(v_pu=True)).v_pu.tobytes() == first.v_pu.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_prepared_base_points_stand_at_their_scenarios_control_states(kind):
    """With states known in advance, base points stand amid them; each lane has its own state's flow."""
    net, s_kva = networks.circuit(17)
    nodes = np.array([3, 4, 5, 6, 7, 8], dtype=np.int32)
    delta_y, demand = _states(net, nodes, 4, 17), _swinging(s_kva, 60, 17)
    of = (np.arange(60) % 4).astype(np.int32)
    lanes = Lanes(net, 0.6 * s_kva, tail=nodes, **kind)
    lanes.span = lanes.span._replace(contraction=0.5)
    lanes.prepare(demand, States(of, delta_y), times=1e4)
    flows = lanes.solve(demand, Wanted(v_pu=True), States(of, delta_y))
    own = lanes.solve(demand[:20], Wanted(v_pu=True))
    assert flows.converged.all()
    assert own.converged.all()
    assert np.abs(own.v_pu - _magnitudes(net, demand[:20])).max() < WITHIN_PU
    for k in range(0, 60, 7):
        changed = net.y.tolil()
        changed[np.ix_(nodes, nodes)] += delta_y[of[k]]
        truth = np.abs(networks.flow(replace(net, y=changed.tocsc()), demand[k])) / net.v_base
        assert np.abs(flows.v_pu[k] - truth).max() < WITHIN_PU
