"""Laws of the closed loop: what is answered, learnt and held from one tick to the next."""

import dataclasses
import importlib
import itertools
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch import Response, step
from gridflock.dispatch.feedback import Quantity, Sight, effects
from gridflock.fleet._health import Health
from gridflock.model import OutcomeStatus, Priority
from gridflock.runtime._kept import from_bytes, to_bytes
from gridflock.schema import Family

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
moments = importlib.import_module("dispatch_situations")
NOW_S, want, decide = world.NOW_S, world.want, world.decide
FLEET = moments.FLEET
GROUPS = moments.GROUPS
ROWS = moments.ROWS
SMOOTH = moments.SMOOTH
PRIORITIES = moments.PRIORITIES
image_of = moments.image_of
wish_of = moments.wish_of
health_of = moments.health_of
same = moments.same
obeying = moments.obeying


@given(st.integers(0, 2**32), st.booleans())
@settings(max_examples=25)
def test_every_order_is_acknowledged_or_expires(seed, knows):
    """Whatever is answered, late or never: no order is awaited beyond the window, none outlives its end."""
    rng = np.random.default_rng(seed)
    image, n = image_of(rng.integers(2**32)), len(FLEET.ids)
    health = Health(FLEET).evidence if knows else None
    response, ids, on_the_way = Response.empty(n, health=health), [], []
    for tick in range(8):
        now_s = NOW_S + 60 * tick
        image = obeying(image, response, now_s)
        wish = wish_of(rng, "w", bounds=False)
        decision = decide(image, GROUPS, [wish], response=response)
        again = decide(image, GROUPS, [wish], response=response)
        assert same(again.orders, decision.orders)
        response, orders = decision.response, decision.orders
        ids += orders.order_id.tolist()
        on_the_way.append(orders)
        late = on_the_way[rng.integers(len(on_the_way))]
        status = rng.integers(0, 5, len(late.index)).astype(np.uint8)
        chosen = rng.random(len(late.index)) < 0.6
        rows, outcomes = world.answers(late, time_s=now_s, chosen=chosen)
        outcomes = dataclasses.replace(outcomes, status=status[chosen])
        response = response.heard(rows, outcomes, now_s)
        later = response.expired(now_s + 60)
        waiting = ~later.answered
        assert (later.asked_s[waiting] + later.patience.answer_s > now_s + 60).all()
        assert (later.expires_s[later.order_id >= 0] > now_s + 60).all()
    assert ids == sorted(set(ids))
    anew = decide(image, GROUPS, [wish], response=Response.empty(n, response.next_id))
    assert not set(anew.orders.order_id.tolist()) & set(ids)


def test_wishes_that_cannot_be_meant_are_refused_by_name():
    """Contradictory, over before they began or before the last tick, and beyond their author's authority."""
    image = image_of(1, trouble=False)
    good = want("good", "type/battery_home", 5.0)
    wishes = [
        good,
        good,
        want("twice", "all", 1.0),
        want("twice", "all", 2.0),
        want("never", "all", 1.0, start_s=NOW_S, until_s=NOW_S),
        want("past", "all", 1.0, start_s=NOW_S - 900, until_s=NOW_S - 100),
        want("proud", "all", 1.0, Priority.SAFETY),
        want("later", "gone tomorrow", 1.0, start_s=NOW_S + 900, until_s=NOW_S + 1_800),
    ]
    response = dataclasses.replace(Response.empty(image.n), told_s=NOW_S - 60)
    policy = world.free_policy(authority={"*": Priority.OPERATOR})
    decision = decide(image, GROUPS, wishes, response=response, policy=policy)
    assert [grant.proposal.id for grant in decision.grants] == ["good"]
    refused = {fault.ids[0]: fault.field for fault in decision.rejected}
    assert refused == {"twice": "id", "never": "until_s", "past": "until_s", "proud": "priority"}


def test_who_hardly_ever_responds_is_fixed_but_for_probes():
    """A device that kept nothing of many orders counts with what it does, but for turns to show better."""
    image = image_of(1, trouble=False)
    row = int(ROWS["type/battery_home"][0])
    known = health_of(np.full(60, row, np.int32), np.full(60, OutcomeStatus.REFUSED, np.uint8))
    response = Response.empty(image.n, health=known)
    asked = []
    for turn in range(12):
        now_s = NOW_S + 900 * turn
        later = obeying(image, response, now_s)
        wish = want("w", "type/battery_home", 12.0, until_s=NOW_S + 86_400)
        decision = decide(later, GROUPS, [wish], response=response)
        able = decision.capability
        asked.append(able.p_lo_kw[row] < able.p_hi_kw[row])
    assert sum(asked) == 3


def sight_of(level, high):
    """One voltage that every battery raises by a thousandth per kW; limit ``high``."""
    column = np.where(FLEET.family == Family.STORAGE, 0, -1).astype(np.int32)
    by = np.array([[1e-3]], np.float32)
    one, volts = np.ones(1), np.array([Quantity.VOLTAGE], np.uint8)
    return Sight(
        names=("voltage at bus 83 phase a",),
        quantity=volts,
        value=one * level,
        at_s=one * NOW_S,
        low=-np.inf * one,
        high=one * high,
        noise=1e-6 * one,
        drift=1e-9 * one,
        ramp=np.inf * one,
        effects=effects(by, by, column, volts),
    )


def test_what_the_network_holds_is_named_and_the_rest_re_split():
    """Batteries at their voltage limit stay there; others of the group give the rest, or it is named."""
    image = image_of(1, trouble=False)
    batteries, cars = ROWS["type/battery_home"], ROWS["type/ev_v2g"]
    present = float(image.p_kw[batteries].sum())
    wish = [want("w", "type/battery_home", present + 8.0)]
    free = decide(image, GROUPS, wish)
    assert free.grants[0].given_kw == pytest.approx(present + 8.0, abs=1e-6)
    sight = sight_of(1.049, 1.05)
    decision = step_with(image, wish, sight)
    grant = next(grant for grant in decision.grants if grant.proposal.id == "w")
    assert grant.given_kw <= present + 1.2
    assert grant.shortfall_kw == pytest.approx(sum(grant.causes.values()), abs=1e-6)
    assert any("voltage at bus 83 phase a, measured 1.0490 pu" in cause for cause in grant.causes)
    both = step_with(image, [want("w", "all", float(np.nan_to_num(image.p_kw).sum()) + 6.0)], sight)
    grant = next(grant for grant in both.grants if grant.proposal.id == "w")
    assert grant.given_kw == pytest.approx(grant.asked_kw, abs=0.5)
    assert len(cars)
    quiet = step_with(image, wish, sight_of(1.0, 1.05))
    assert same(quiet.orders, free.orders)


def step_with(image, wishes, sight):
    """A tick with something in sight."""
    response = Response.empty(image.n)
    return step(image, None, [], wishes, ROWS, response, world.free_policy(), sight=sight)


def test_what_a_tick_leaves_to_the_next_is_a_value():
    """A conversation with what is learnt, events on their way and a signal is read again bit for bit."""
    image = image_of(1, trouble=False)
    wishes = [
        want("event", "type/battery_home", 5.0, Priority.EVENT, start_s=NOW_S),
        want("signal", "type/thermostat", -6.0, Priority.REGULATION),
    ]
    response = Response.empty(image.n, health=Health(FLEET).evidence)
    for minute in range(4):
        image = obeying(image, response, NOW_S + 60 * minute)
        decision = decide(image, GROUPS, wishes, response=response)
        response = decision.response.heard(*world.answers(decision.orders), image.now_s)
    assert 0.0 < response.ramps[0].level < 1.0
    assert len(response.follows) == 1
    there = from_bytes(to_bytes(response))
    assert to_bytes(there) == to_bytes(response)
    later = obeying(image, response, NOW_S + 240)
    one = decide(later, GROUPS, wishes, response=response)
    other = decide(later, GROUPS, wishes, response=there)
    assert same(one.orders, other.orders)
    assert to_bytes(one.response) == to_bytes(other.response)


@given(st.integers(0, 2**32))
def test_more_weight_never_gives_less(seed):
    """Raising a want's priority never makes what it misses larger, whatever else is wanted of its members."""
    rng = np.random.default_rng(seed)
    fleet, groups = world.fleet_of(SMOOTH)
    image = world.tell(fleet, world.ordinary(fleet, rng))
    names = [name for name in groups.ids if name not in ("demand", "type/load")]
    sizes = rng.normal(0, 40, 4)
    wishes = [
        want(f"w{k}", names[rng.integers(len(names))], float(size), PRIORITIES[rng.integers(4)])
        for k, size in enumerate(sizes)
    ]
    policy, missed = world.free_policy(ramp_s=0), []
    for priority in reversed(PRIORITIES):
        raised = [dataclasses.replace(wishes[0], priority=priority), *wishes[1:]]
        grants = decide(image, groups, raised, policy=policy).grants
        missed.append(next(abs(grant.shortfall_kw) for grant in grants if grant.proposal.id == "w0"))
    assert all(after <= before + 1e-6 for before, after in itertools.pairwise(missed))
