"""Stores and vehicles of a large fleet: supply, feasibility, and losses that only cost."""

import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.plan.devices import Question

sys.path.insert(0, str(Path(__file__).parents[1] / "cases"))
made = importlib.import_module("test_coordination_oracles")

MEMBERS, STEPS = 12, made.STEPS
laws = settings(deadline=None, max_examples=40)
seeds = st.integers(0, 2**32 - 1)


def net(of, answer, price):
    """(G,) own cost less the worth of the energy."""
    return answer.cost - (answer.p_kw * price) @ of.hours


@pytest.mark.parametrize("kind", ["stores", "vehicles"])
@laws
@given(seed=seeds)
def test_no_answer_is_beaten_by_one_to_another_price(kind, seed):
    """At its own prices an answer costs no more than any other does there, so supply follows price."""
    rng = np.random.default_rng(seed)
    of = getattr(made, kind)(rng, MEMBERS)
    prices = rng.normal(0.1, 0.2, (3, MEMBERS, STEPS))
    answers = [of.respond(Question(price, 0.0)) for price in prices]
    for price, own in zip(prices, answers, strict=True):
        for other in answers:
            assert (net(of, own, price) <= net(of, other, price) + 1e-9).all()


@laws
@given(seed=seeds)
def test_a_store_stays_inside_itself(seed):
    """Power inside its bounds and its window, content between lowest and highest, burning not counted."""
    rng = np.random.default_rng(seed)
    of = made.stores(rng, MEMBERS)
    p_kw = of.respond(Question(rng.normal(0.2, 0.1, (MEMBERS, STEPS)), 0.0)).p_kw
    assert (p_kw[~made.inside(of)] == 0.0).all()
    assert (p_kw <= of.discharge_kw[:, None] + 1e-9).all()
    assert (p_kw >= -of.charge_kw[:, None] - 1e-9).all()
    kept = (1.0 - of.loss_per_hour[:, None]) ** np.where(made.inside(of), of.hours, 0.0)
    e = of.e_now_kwh - of.e_lo_kwh
    for t in range(STEPS):
        drawn, given_back = np.maximum(-p_kw[:, t], 0.0), np.maximum(p_kw[:, t], 0.0)
        e = kept[:, t] * e + (of.eff_charge * drawn - given_back / of.eff_discharge) * of.hours[t]
        assert (e >= -1e-8).all()
        e = np.minimum(e, of.e_hi_kwh - of.e_lo_kwh)


@laws
@given(seed=seeds)
def test_a_leak_never_pays(seed):
    """The same store without its losses costs no more, where energy left over has worth."""
    rng = np.random.default_rng(seed)
    of = made.stores(rng, MEMBERS)
    of = replace(of, end_value=np.abs(of.end_value), short_price=np.abs(of.end_value) + 1.0)
    price = np.abs(rng.normal(0.1, 0.1, (MEMBERS, STEPS)))
    tight = replace(of, loss_per_hour=np.zeros(MEMBERS))
    with_leak, without = (each.respond(Question(price, 0.0)) for each in (of, tight))
    assert (net(tight, without, price) <= net(of, with_leak, price) + 1e-9).all()


@laws
@given(seed=seeds, width=st.sampled_from([0.0, 0.01, 0.3]))
def test_a_vehicle_draws_what_it_needs_while_it_is_there(seed, width):
    """Soft or not: never gives, keeps power and window, and draws all that can be reached."""
    rng = np.random.default_rng(seed)
    of = made.vehicles(rng, MEMBERS)
    p_kw = of.respond(Question(rng.normal(0.1, 0.2, (MEMBERS, STEPS)), width)).p_kw
    assert (p_kw[~made.inside(of)] == 0.0).all()
    assert (p_kw <= 0.0).all()
    assert (-p_kw <= of.most_kw[:, None] + 1e-9).all()
    assert np.abs(-p_kw @ of.hours - (of.need_kwh - of.missing_kwh())).max() <= 1e-8


@pytest.mark.parametrize("kind", ["stores", "vehicles"])
def test_a_price_that_is_no_number_gets_no_answer(kind):
    """Its group's cost is NaN, the other groups answer as ever."""
    rng = np.random.default_rng(3)
    of = getattr(made, kind)(rng, MEMBERS)
    price = rng.normal(0.1, 0.2, (MEMBERS, STEPS))
    sound = of.respond(Question(price, 0.01))
    price[2, 1] = np.nan
    answer = of.respond(Question(price, 0.01))
    assert np.flatnonzero(np.isnan(answer.cost)).tolist() == [2]
    np.testing.assert_array_equal(np.delete(answer.p_kw, 2, 0), np.delete(sound.p_kw, 2, 0))
