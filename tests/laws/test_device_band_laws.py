"""Band stores: what holds for every answer, whatever is asked."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.plan.devices import Question

sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))
world = importlib.import_module("band_world")

ROWS, STEPS = 20, 10
seeds, kinds, flags = st.integers(0, 2**32 - 1), st.sampled_from(world.KINDS), st.booleans()


def keeps(of, p_kw, p_lo, p_hi, within=1e-8):
    """Whether schedules (n, T) lie in the rows' sets; what burns may be hidden in them."""
    lo, hi = (np.clip(bound - of.base_kw, -of.down_kw, of.up_kw) for bound in (p_lo, p_hi))
    lo, hi, x_lo, x_hi, _ = world.reachable(of, lo, hi)
    q = p_kw - of.base_kw
    up, down = np.maximum(hi, 0.0), np.maximum(-lo, 0.0)
    share = np.divide(up, up + down, out=np.zeros_like(up), where=up + down > 0.0)
    burnt = np.where((up > 0.0) & (down > 0.0), (1.0 - share) * (up - q), np.maximum(-q, 0.0))
    gains = of.gain_up[:, None], of.gain_down[:, None]
    moved = [(gains[0] * (q + part) + gains[1] * part) * of.hours for part in (np.maximum(-q, 0.0), burnt)]
    kept = (1.0 - of.loss_per_hour[:, None]) ** of.hours
    low, high, inside = (
        np.zeros(len(q)),
        np.zeros(len(q)),
        ((q > lo - within) & (q < hi + within)).all(axis=1),
    )
    for t in range(q.shape[1]):
        low = np.maximum(kept[:, t] * low + np.minimum(*moved)[:, t], x_lo[:, t] - within)
        high = np.minimum(kept[:, t] * high + np.maximum(*moved)[:, t], x_hi[:, t] + within)
        inside &= low <= high + within
    return inside


@given(seed=seeds, kind=kinds, odd=flags)
@settings(max_examples=60, deadline=None)
def test_every_answer_lies_in_the_rows_set(seed, kind, odd):
    """Power, envelope, band and shared time are kept, pulled or not, also where bands had to be widened."""
    rng = np.random.default_rng(seed)
    of = world.bands(rng, ROWS, STEPS, kind, odd=odd)
    price, bounds = rng.normal(0.1, 0.3, (ROWS, STEPS)), world.envelope(rng, of)
    p_kw, _ = of.respond_rows(price, p_lo_kw=bounds[0], p_hi_kw=bounds[1])
    assert keeps(of, p_kw, *bounds).all()
    target = of.base_kw + rng.normal(0.0, 4.0, (ROWS, STEPS))
    p_kw, _ = of.nearest(price, target, 0.01, p_lo_kw=bounds[0], p_hi_kw=bounds[1])
    assert keeps(of, p_kw, *bounds).all()


@given(seed=seeds, kind=kinds)
@settings(max_examples=40, deadline=None)
def test_dearer_energy_is_never_answered_with_less(seed, kind):
    """The supply law: prices and answers never move against each other, over the horizon as a whole."""
    rng = np.random.default_rng(seed)
    of = world.bands(rng, ROWS, STEPS, kind)
    price, other = rng.normal(0.1, 0.3, (2, ROWS, STEPS))
    change = of.respond_rows(other)[0] - of.respond_rows(price)[0]
    assert (((other - price) * of.hours * change).sum(axis=1) >= -1e-9).all()


@given(seed=seeds, kind=kinds, pull=st.floats(1e-3, 1.0))
@settings(max_examples=40, deadline=None)
def test_answers_move_no_further_than_their_targets(seed, kind, pull):
    """A proximal answer is firmly non-expansive: (p - p')·(target - target') >= |p - p'|²."""
    rng = np.random.default_rng(seed)
    of = world.bands(rng, ROWS, STEPS, kind)
    price = rng.normal(0.1, 0.3, (ROWS, STEPS))
    target, other = of.base_kw + rng.normal(0.0, 4.0, (2, ROWS, STEPS))
    change = of.nearest(price, other, pull)[0] - of.nearest(price, target, pull)[0]
    assert ((change * (other - target - change)).sum(axis=1) >= -1e-7).all()


@given(seed=seeds, kind=kinds)
@settings(max_examples=30, deadline=None)
def test_a_row_answers_alike_wherever_it_is_asked(seed, kind):
    """Alone, among others, in parts or as one of a few: the very same numbers."""
    rng = np.random.default_rng(seed)
    of = world.bands(rng, ROWS, STEPS, kind)
    price, target = rng.normal(0.1, 0.3, (ROWS, STEPS)), rng.normal(0.0, 4.0, (ROWS, STEPS))
    pull = rng.uniform(0.001, 0.1, ROWS)
    together = of.nearest(price, target, pull)
    few = np.sort(rng.choice(ROWS, 5, replace=False))
    some = of.nearest(price[few], target[few], pull[few], rows=few)
    split = replace(of, parts=3).nearest(price, target, pull)
    for k in range(2):
        assert (together[k][few] == some[k]).all()
        assert (together[k] == split[k]).all()


@given(seed=seeds, kind=kinds)
@settings(max_examples=30, deadline=None)
def test_a_group_answers_the_sum_of_its_rows(seed, kind):
    """Sums, costs and weighted schedules of groups are those of their rows; thinned, every n-th is left."""
    rng = np.random.default_rng(seed)
    start = np.array([0, 3, 3, 11, ROWS])
    of = replace(world.bands(rng, ROWS, STEPS, kind), start=start)
    question = Question(rng.normal(0.1, 0.3, (4, STEPS)), 0.0)
    answer = of.respond(question)
    p_kw, cost = of.respond_rows(np.repeat(question.price, np.diff(start), axis=0))
    total = np.zeros((ROWS, STEPS), dtype=np.float32)
    of.add_schedules(question, np.full(4, 0.5), total)
    assert np.abs(total - 0.5 * p_kw).max() <= 1e-5
    for g in range(4):
        rows = slice(start[g], start[g + 1])
        assert np.allclose(answer.p_kw[g], p_kw[rows].sum(axis=0), atol=1e-9)
        assert np.isclose(answer.cost[g], cost[rows].sum(), atol=1e-9)
    assert not answer.epsilon.any()
    few = of.thinned(4)
    assert few.start.tolist() == [0, 1, 1, 3, 6]
    assert (few.base_kw == of.base_kw[[0, 3, 7, 11, 15, 19]]).all()


@given(seed=seeds, kind=kinds, share=st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_a_mix_of_answers_is_replayed_into_the_rows_set(seed, kind, share):
    """Mixed schedules, corrected where up and down net out, keep power and band."""
    rng = np.random.default_rng(seed)
    of = world.bands(rng, ROWS, STEPS, kind)
    price, other = rng.normal(0.1, 0.2, (2, ROWS, STEPS))
    mixed = share * of.respond_rows(price)[0] + (1.0 - share) * of.respond_rows(other)[0]
    p_kw = mixed.astype(np.float32)
    clipped, cost = of.replay(p_kw)
    none = np.full(p_kw.shape, np.inf)
    assert keeps(of, p_kw, -none, none, within=1e-4).all()
    assert np.isfinite(cost).all()
    assert np.allclose((np.abs(p_kw - mixed) * of.hours).sum(axis=1), clipped, atol=1e-4)
    again, same = of.replay(p_kw)
    assert not of.corrected(again).any()
    assert np.allclose(same, cost, atol=1e-4)


@given(seed=seeds, kind=kinds)
@settings(max_examples=40, deadline=None)
def test_broken_numbers_end_in_numbers_not_in_a_fault(seed, kind):
    """NaN and endless prices, crossed bands and envelopes: an answer of the right shape, in finite time."""
    rng = np.random.default_rng(seed)
    of = world.bands(rng, ROWS, STEPS, kind)

    def hurt(values, *wrong):
        return np.where(rng.random(values.shape) < 0.1, rng.choice(wrong, values.shape), values)

    of = replace(
        of,
        x_lo_kwh=hurt(of.x_lo_kwh, np.nan, 1e9, np.inf, -np.inf),
        x_hi_kwh=hurt(of.x_hi_kwh, np.nan, -1e9, np.inf),
        end_value=hurt(of.end_value, np.nan, 1e12),
    )
    price = hurt(rng.normal(0.1, 0.3, (ROWS, STEPS)), np.nan, np.inf, -np.inf, 1e300)
    p_lo, p_hi = (hurt(bound, np.nan, 5.0, -5.0) for bound in world.envelope(rng, of))
    assert of.respond_rows(price, p_lo_kw=p_lo, p_hi_kw=p_hi)[0].shape == (ROWS, STEPS)
    for pull in (0.0, 1e-300, 0.01, 1e300, np.nan):
        assert of.nearest(price, price, pull, p_lo_kw=p_lo, p_hi_kw=p_hi)[0].shape == (ROWS, STEPS)


def test_broken_rows_are_named_by_field_and_row():
    """Crossed bands, negative powers, gains of one sign and NaN: each rule once, with its rows."""
    of = world.bands(np.random.default_rng(0), 4, 3, "battery", lossy=False)
    names = ("a", "b", "c", "d")
    assert of.rejected(names) == ()
    lo = of.x_lo_kwh.copy()
    lo[1, 2], lo[3] = 99.0, np.nan
    bad = replace(
        of,
        x_lo_kwh=lo,
        up_kw=of.up_kw * [[1.0], [1.0], [-1.0], [1.0]],
        gain_up=np.array([1.0, -1.0, -1.0, -1.0]),
        cost_down=np.array([0.0, np.inf, 0.0, 0.0]),
        loss_per_hour=np.array([0.0, 0.0, 0.0, 1.0]),
    )
    told = {(each.field, each.ids) for each in bad.rejected(names)}
    assert told == {
        ("x_lo_kwh", ("b", "d")),
        ("up_kw", ("c",)),
        ("gain_up", ("a",)),
        ("cost_down", ("b",)),
        ("loss_per_hour", ("d",)),
    }
    assert [each.field for each in replace(of, cost_up=np.zeros(3)).rejected(names)] == ["cost_up"]


def test_prices_that_are_no_numbers_have_no_cost():
    """A row asked at NaN says so in its cost; the others answer as ever."""
    of = world.bands(np.random.default_rng(0), 3, 4, "battery")
    price = np.full((3, 4), 0.1)
    whole = of.respond_rows(price)
    price[1, 2] = np.nan
    p_kw, cost = of.respond_rows(price)
    assert np.isnan(cost).tolist() == [False, True, False]
    assert (p_kw[[0, 2]] == whole[0][[0, 2]]).all()
    assert np.isnan(of.respond(Question(price, 0.0)).cost).tolist() == [False, True, False]


def test_nobody_answers_with_nothing():
    """No rows: empty answers, sums and costs of 0."""
    none = world.bands(np.random.default_rng(0), 0, 4, "battery")
    assert none.respond_rows(np.zeros((0, 4)))[0].shape == (0, 4)
    assert none.nearest(np.zeros((0, 4)), np.zeros((0, 4)), 0.1)[1].shape == (0,)
    empty = replace(none, start=np.array([0, 0])).respond(Question(np.zeros((1, 4)), 0.0))
    assert not empty.p_kw.any()
    assert empty.cost.tolist() == [0.0]
    assert none.rejected(()) == ()
