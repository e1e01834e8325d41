"""Laws of one tick: whatever is wished, what goes out is possible, said once, and adds up."""

import dataclasses
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gridflock.dispatch import Response, arbitrate
from gridflock.dispatch._expect import Odds
from gridflock.fleet import capability
from gridflock.model import BoundSource, Envelope, OutcomeStatus, Priority
from gridflock.schema import Family, Kind

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("dispatch_world")
moments = importlib.import_module("dispatch_situations")
NOW_S, want, decide = world.NOW_S, world.want, world.decide
GROUPS = moments.GROUPS
ROWS = moments.ROWS
SMOOTH = moments.SMOOTH
image_of = moments.image_of
wish_of = moments.wish_of
situation = moments.situation
situations = moments.situations
run = moments.run
same = moments.same
obeying = moments.obeying
now_kw = moments.now_kw


@given(situations())
def test_orders_lie_within_capability_and_nameplate(situation):
    """Every order lies within what its row can do now, and so within its nameplate."""
    image = situation[0]
    decision = run(situation)
    rows, p_kw = decision.orders.index, decision.orders.p_kw
    slack = 1e-5 * np.maximum(1.0, np.abs(p_kw))
    able = capability(image)
    assert np.all(p_kw >= able.p_lo_kw[rows] - slack)
    assert np.all(p_kw <= able.p_hi_kw[rows] + slack)
    assert np.all(p_kw <= image.columns["p_max_kw"][rows] + slack)
    smooth = image.family[rows] != Family.SHED
    assert np.all((p_kw >= image.columns["p_min_kw"][rows] - slack)[smooth])


@given(situations())
def test_shortfalls_add_up(situation):
    """Asked − given is the sum of its causes; with what is ordered beyond it, the members' targets."""
    decision = run(situation)
    p_kw = now_kw(decision)
    for grant in decision.grants:
        ordered = grant.given_kw + grant.beyond_kw
        assert ordered == pytest.approx(p_kw[ROWS[grant.proposal.group]].sum(), abs=1e-6)
        assert grant.shortfall_kw == pytest.approx(sum(grant.causes.values()), abs=1e-6)
        if grant.proposal.p_kw is not None:
            assert grant.proposal.p_lo_kw <= grant.asked_kw <= grant.proposal.p_hi_kw


@given(situations())
def test_every_row_has_one_target_and_one_source(situation):
    """A kilowatt is never ordered twice: a row has one target from one wish on a group it is in, or none."""
    decision = run(situation)
    targets = decision.targets
    asked = targets.source >= 0
    assert np.array_equal(asked, np.isfinite(targets.p_kw))
    assert len(set(decision.orders.index.tolist())) == len(decision.orders.index)
    for k in np.unique(targets.source[asked]):
        assert set(np.flatnonzero(targets.source == k)) <= set(ROWS[targets.proposals[k].group].tolist())


@given(situations(bounds=False), st.integers(0, 2**32))
def test_lesser_wishes_move_no_weightier_ones(situation, seed):
    """Adding a wish of less priority, a want or bounds, changes no row that a weightier want holds.

    While an event comes in it holds only those of its members whose turn has come.
    """
    image, _, _, proposals, response = situation[:5]
    less = wish_of(np.random.default_rng(seed), "less", Priority.REGULATION)
    at_once = world.free_policy(ramp_s=0)
    before = decide(image, GROUPS, proposals, response=response, policy=at_once).targets
    after = decide(image, GROUPS, [*proposals, less], response=response, policy=at_once).targets
    held = before.source >= 0
    assert np.array_equal(after.p_kw[held], before.p_kw[held])
    assert np.array_equal(after.source[held], before.source[held])
    gives = [grant.given_kw for grant in before.grants if held[ROWS[grant.proposal.group]].all()]
    still = [grant.given_kw for grant in after.grants[:-1] if held[ROWS[grant.proposal.group]].all()]
    assert gives == still


@given(situations(), st.randoms(use_true_random=False))
def test_the_order_of_proposals_plays_no_part(situation, random):
    """Proposals shuffled: the same decision."""
    shuffled = list(situation[3])
    random.shuffle(shuffled)
    assert same(run(situation), run(situation, proposals=shuffled))


@given(situations())
def test_a_dry_run_equals_the_run(situation):
    """The step is a pure function: twice the same decision, and nothing of its inputs changes."""
    image, _, _, _, response = situation[:5]
    kept = dataclasses.replace(
        response,
        **{
            f.name: getattr(response, f.name).copy()
            for f in dataclasses.fields(response)
            if isinstance(getattr(response, f.name), np.ndarray)
        },
    )
    first = run(situation)
    assert same(first, run(situation))
    assert same(response, kept)
    assert not image.p_kw.flags.writeable


@given(situations(), st.integers(0, 2**32))
def test_withdrawal_undoes(situation, seed):
    """A wish given and withdrawn leaves the decision as if it had never been."""
    wish = wish_of(np.random.default_rng(seed), "gone")
    before = run(situation)
    run(situation, proposals=[*situation[3], wish])
    assert same(run(situation), before)


@given(situations())
def test_bounds_hold_or_say_why_not(situation):
    """After the call the sum lies within the weightiest bounds, or the shortfall is named."""
    decision = run(situation)
    for grant in decision.grants:
        wish = grant.proposal
        inside = wish.p_lo_kw - 1e-5 <= grant.given_kw <= wish.p_hi_kw + 1e-5
        assert inside or any(abs(kw) > 1e-6 for kw in grant.causes.values())


@example(22, 22 / 36, 0.0)  # the south can only go down if the north goes up
@given(st.integers(0, 2**32), st.floats(-1, 2), st.floats(-1, 2))
def test_smooth_resources_hold_any_bound_that_they_can(seed, lowest, width):
    """Batteries hold a bound on their section and on all to the millikilowatt where their room allows it."""
    fleet, groups = world.fleet_of(SMOOTH)
    image = world.tell(fleet, world.ordinary(fleet, np.random.default_rng(seed)))
    able, rows = capability(image), world.rows_of(groups)
    wishes = [want("w", "type/battery_home", float(able.p_hi_kw.sum()), Priority.SCHEDULE)]
    span = {}
    for name in ("all", "section/south"):
        low, high = able.p_lo_kw[rows[name]].sum(), able.p_hi_kw[rows[name]].sum()
        span[name] = (low + lowest * (high - low), low + (lowest + abs(width)) * (high - low))
        wishes.append(want(f"b:{name}", name, None, Priority.OPERATOR, *span[name]))
    decision = decide(image, groups, wishes)
    for grant in decision.grants:
        if grant.proposal.p_kw is None and 0 <= lowest <= 1:
            assert abs(grant.shortfall_kw) <= 1e-3, grant


@given(situations())
def test_orders_end_and_are_counted(situation):
    """Every order ends after now and within its validity; ids are new and rise; only known rows get one."""
    image, response = situation[0], situation[4]
    decision = run(situation)
    orders = decision.orders
    assert np.all(orders.expires_s > image.now_s)
    assert np.all(orders.expires_s <= image.now_s + 300)
    assert np.array_equal(orders.order_id, response.next_id + np.arange(len(orders.index)))
    assert decision.response.next_id == response.next_id + len(orders.index)
    assert orders.issued_s == image.now_s
    assert np.all(np.isfinite(orders.p_kw))


@given(situations())
def test_nobody_is_asked_who_cannot_answer(situation):
    """No order to loads, heads, unready, silent or resting rows; what rests is fixed at what it does."""
    image, response = situation[0], situation[4]
    decision = run(situation)
    rows = decision.orders.index
    assert not np.isin(image.kind[rows], (Kind.LOAD, Kind.FEEDER_HEAD)).any()
    assert image.ready[rows].all()
    assert not image.silent(300)[rows].any()
    assert (response.rests_until_s[rows] <= image.now_s).all()
    resting = response.rests_until_s > image.now_s
    assert np.array_equal(decision.capability.p_lo_kw[resting], decision.capability.p_hi_kw[resting])
    fixed = decision.capability.hi_source[resting]
    assert np.all(fixed == BoundSource.NOT_READY)


@given(situations(bounds=False))
def test_orders_in_force_make_the_sum(situation):
    """Per wish, the orders in force after sending add up to its targets to 0.1 % (or 50 W)."""
    image = situation[0]
    decision = run(situation)
    targets = decision.targets
    for k in np.unique(targets.source[targets.source >= 0]):
        rows = np.flatnonzero(targets.source == k)
        rows = rows[np.isfinite(decision.response.ordered_kw[rows])]
        ready = (image.ready[rows] == 1) & ~image.silent(300)[rows]
        rows = rows[
            ready & decision.response.willing(image.now_s)[rows] & (decision.response.misses[rows] == 0)
        ]
        rows = rows[capability(image).hi_source[rows] != BoundSource.NOT_READY]
        wanted, ordered = targets.p_kw[rows].sum(), decision.response.ordered_kw[rows].sum()
        whole = abs(targets.p_kw[targets.source == k].sum())
        assert abs(wanted - ordered) <= max(0.051, 1.01e-3 * whole)


def test_unchanged_orders_are_renewed_and_not_repeated():
    """Over an hour of an unchanged wish a battery gets an order every three minutes, none ever runs out."""
    image = image_of(1, trouble=False)
    response, sent = Response.empty(image.n), []
    rows = ROWS["type/battery_home"]
    level = 0.5 * float(capability(image).p_hi_kw[rows].sum())
    for minute in range(60):
        now_s = NOW_S + 60 * minute
        image = obeying(image, response, now_s)
        wish = want("w", "type/battery_home", level, until_s=NOW_S + 7_200)
        decision = decide(image, GROUPS, [wish], response=response)
        assert (decision.response.expires_s[rows] > now_s).all()
        sent.append(len(decision.orders.index))
        response = decision.response.heard(*world.answers(decision.orders, time_s=now_s), now_s)
    assert sent == [len(rows) if minute % 3 == 0 else 0 for minute in range(60)]


def test_an_order_ends_with_its_wish():
    """An operator's order made a minute before its end outlives it by a minute, not by its whole validity."""
    image = image_of(1, trouble=False)
    decision = decide(image, GROUPS, [want("w", "type/battery_home", 5.0, until_s=NOW_S + 60)])
    assert (decision.orders.expires_s == NOW_S + 120).all()


def kill(status, share=0.3, rounds=4):
    """A battery group at half its power; after the first minute a share of it answers with ``status``.

    Returns:
        Wanted sum and delivered sum at the end of each further minute, kW.
    """
    fleet, groups = world.fleet_of({Kind.BATTERY_HOME: 40})
    values = world.ordinary(fleet, np.random.default_rng(5))
    values["e_kwh"][:40] = 8.0
    values["p_kw"][:] = 0.0
    dead = np.random.default_rng(6).permutation(len(fleet.ids)) < share * 40
    dead[40:] = False
    response, p_kw, found = Response.empty(len(fleet.ids)), values["p_kw"], []
    for minute in range(rounds + 1):
        now_s = NOW_S + 60 * minute
        image = world.tell(fleet, values | {"p_kw": p_kw}, now_s)
        decision = decide(image, groups, [want("w", "type/battery_home", 100.0)], response=response)
        orders = decision.orders
        ordered = decision.response.ordered_kw
        killed = dead & (minute >= 1)
        p_kw = np.where(killed, 0.0, np.where(np.isfinite(ordered), ordered, 0.0))
        found.append(float(p_kw[:40].sum()))
        response = decision.response
        lost = killed[orders.index]
        if minute == 1:
            # The killed ones had no order to answer in this minute; the adapter reports the loss.
            gone = dataclasses.replace(orders, index=np.flatnonzero(dead).astype(np.int32))
            gone = dataclasses.replace(gone, order_id=response.order_id[dead], p_kw=response.ordered_kw[dead])
            response = response.heard(*world.answers(gone, status, time_s=now_s), now_s)
        response = response.heard(*world.answers(orders, chosen=~lost, time_s=now_s), now_s)
        if minute > 1:
            response = response.heard(*world.answers(orders, status, chosen=lost, time_s=now_s), now_s)
    return found


@pytest.mark.parametrize("status", [OutcomeStatus.REFUSED, OutcomeStatus.UNREACHABLE])
def test_a_group_recovers_from_the_loss_of_a_third(status):
    """30 % of a group killed: within ±3 % of its target two minutes later, and it stays there."""
    found = kill(status, rounds=14)
    assert found[0] == pytest.approx(100.0, rel=1e-3)
    assert found[1] < 80.0
    assert found[3:] == pytest.approx([100.0] * len(found[3:]), rel=0.03)


def test_who_rests_is_asked_again():
    """A refusal rests a quarter of an hour, or up to half an hour by lot; then the row is asked as before."""
    image = image_of(1, trouble=False)
    row = int(ROWS["type/battery_home"][0])
    wish = [want("w", "type/battery_home", 10.0, until_s=NOW_S + 7_200)]
    decision = decide(image, GROUPS, wish)
    only = decision.orders.index == row
    refusal = world.answers(decision.orders, OutcomeStatus.REFUSED, chosen=only)
    response = decision.response.heard(*refusal, NOW_S)
    response = response.heard(*world.answers(decision.orders, chosen=~only), NOW_S)
    asked = []
    for minute in range(1, 32):
        now_s = NOW_S + 60 * minute
        image = obeying(image, response, now_s)
        decision = decide(image, GROUPS, wish, response=response)
        asked.append(row in decision.orders.index)
        response = decision.response.heard(*world.answers(decision.orders, time_s=now_s), now_s)
        assert decision.grants[0].given_kw == pytest.approx(10.0, abs=1e-6)
    assert 14 <= asked.index(True) <= 29


def test_one_lost_message_costs_little():
    """A row whose order was lost is probed a minute later with what it does; its answer lets it count."""
    image = image_of(1, trouble=False)
    row = int(ROWS["type/battery_home"][0])
    wish = [want("w", "type/battery_home", 10.0)]
    decision = decide(image, GROUPS, wish)
    lost = world.answers(decision.orders, OutcomeStatus.UNREACHABLE, chosen=decision.orders.index == row)
    response = decision.response.heard(*lost, NOW_S)
    orders, does = [], float(image.p_kw[row])
    for minute in range(1, 4):
        now_s = NOW_S + 60 * minute
        image = obeying(image, response, now_s)
        decision = decide(image, GROUPS, wish, response=response)
        mine = decision.orders.p_kw[decision.orders.index == row]
        orders.append(float(mine[0]) if len(mine) else None)
        response = decision.response.heard(*world.answers(decision.orders, time_s=now_s), now_s)
    assert orders[0] == pytest.approx(does, abs=1e-4)
    assert orders[1] is not None
    assert (response.misses[row], decision.grants[0].given_kw) == (0, pytest.approx(10.0, abs=1e-6))


def test_silence_counts_like_a_loss_and_patience_starts_anew():
    """No answer for three minutes is a miss; after it the next order gets the full patience again."""
    image = image_of(1, trouble=False)
    rows = ROWS["type/battery_home"]
    decision = decide(image, GROUPS, [want("w", "type/battery_home", 10.0)])
    silent = decision.response.expired(NOW_S + 180)
    assert (silent.misses[rows] == 1).all()
    assert np.isnan(silent.ordered_kw[rows]).all()
    assert (silent.rests_until_s[rows] == NOW_S + 240).all()
    again = silent.sent(dataclasses.replace(decision.orders, issued_s=NOW_S + 240))
    assert (again.expired(NOW_S + 300).misses[rows] == 1).all()


def test_a_miss_that_nobody_probes_is_forgotten():
    """A row that missed an order and is not wanted since counts fully again after the longest rest."""
    image = image_of(1, trouble=False)
    rows = ROWS["type/battery_home"]
    decision = decide(image, GROUPS, [want("w", "type/battery_home", 10.0)])
    response = decision.response.heard(*world.answers(decision.orders, OutcomeStatus.UNREACHABLE), NOW_S)
    assert (response.expired(NOW_S + 900).misses[rows] == 1).all()
    assert (response.expired(NOW_S + 960).misses[rows] == 0).all()


def test_an_answer_to_a_replaced_order_is_no_answer_to_the_new_one():
    """Superseded while unanswered: whatever becomes of the old order, the new one is awaited and stands."""
    image = image_of(1, trouble=False)
    first = decide(image, GROUPS, [want("w", "type/battery_home", 10.0)])
    second = decide(image, GROUPS, [want("w", "type/battery_home", -10.0)], response=first.response)
    rows = second.orders.index
    for status in (OutcomeStatus.ACCEPTED, OutcomeStatus.REFUSED, OutcomeStatus.EXPIRED):
        late = second.response.heard(*world.answers(first.orders, status), NOW_S + 60)
        assert not late.answered[rows].any()
        assert (late.asked_s[rows] == NOW_S + 60).all()
        assert np.array_equal(late.ordered_kw, second.response.ordered_kw, equal_nan=True)
    done = second.response.heard(*world.answers(second.orders), NOW_S + 60)
    late = done.heard(*world.answers(first.orders, OutcomeStatus.UNREACHABLE), NOW_S + 60)
    assert same(late, done)


def test_what_is_only_partly_met_is_split_over_the_others():
    """Who gives half of its order is counted with little more than that, and the rest with the difference."""
    fleet, groups = world.fleet_of({Kind.BATTERY_HOME: 10})
    values = world.ordinary(fleet, np.random.default_rng(5))
    values["e_kwh"][:10], values["p_kw"][:] = 8.0, 0.0
    wish = [want("w", "type/battery_home", 30.0)]
    decision = decide(world.tell(fleet, values), groups, wish)
    weak = decision.orders.index < 3
    part = world.answers(decision.orders, OutcomeStatus.PARTIAL, decision.orders.p_kw[weak] / 2, chosen=weak)
    response = decision.response.heard(*part, NOW_S)
    values["p_kw"][:10] = np.where(np.arange(10) < 3, 1.5, 3.0)
    image = world.tell(fleet, values, NOW_S + 60)
    again = decide(image, groups, wish, response=response)
    assert again.grants[0].given_kw == pytest.approx(30.0, abs=1e-6)
    assert again.targets.p_kw[:3] == pytest.approx([2.5] * 3)


def test_an_order_that_came_too_late_is_sent_again():
    """EXPIRED means that the order is not in force: it goes out anew, nobody rests."""
    image = image_of(1, trouble=False)
    wish = [want("w", "type/battery_home", 10.0)]
    decision = decide(image, GROUPS, wish)
    response = decision.response.heard(*world.answers(decision.orders, OutcomeStatus.EXPIRED), NOW_S)
    again = decide(image, GROUPS, wish, response=response)
    assert np.array_equal(again.orders.index, decision.orders.index)


@given(st.integers(0, 2**32), st.floats(0, 1))
def test_on_off_devices_do_not_chatter(seed, level):
    """The same wish again lets at most the rounding settle, then switches nobody, with a bound or without."""
    fleet, groups = world.fleet_of({Kind.THERMOSTAT: 12, Kind.WATER_HEATER: 6})
    image = world.tell(fleet, world.ordinary(fleet, np.random.default_rng(seed)))
    low = float(capability(image).p_lo_kw.sum())
    alone = [want("w", "all", level * low, Priority.SCHEDULE)]
    bound = want("b", "all", None, lo=0.6 * level * low, priority=Priority.OPERATOR)
    for wishes in (alone, [*alone, bound]):
        response, switched = Response.empty(image.n), []
        for _ in range(6):
            decision = decide(image, groups, wishes, response=response)
            response, switched = decision.response, [*switched, len(decision.orders.index)]
        assert switched[1] <= 2
        assert switched[2:] == [0, 0, 0, 0]


def test_a_bound_on_what_nobody_asked_holds_without_a_pulse():
    """Curtailed sun whose measured power obeys the bound stays curtailed: its order does not lapse."""
    fleet, groups = world.fleet_of({Kind.PV_ROOFTOP: 10}, heads=False)
    n = len(fleet.ids)
    offer = np.full(n, 5.0)
    values = {"p_kw": offer, "p_avail_kw": offer, "ready": np.ones(n)}
    response, p_kw = Response.empty(n), offer
    for minute in range(12):
        now_s = NOW_S + 60 * minute
        image = world.tell(fleet, values | {"p_kw": p_kw}, now_s)
        envelope = Envelope("all", -1e3, 30.0, "line 7", NOW_S + 3_600)
        decision = decide(image, groups, envelopes=[envelope], response=response)
        response = decision.response.heard(*world.answers(decision.orders, time_s=now_s), now_s)
        p_kw = np.where(np.isfinite(response.ordered_kw), np.minimum(response.ordered_kw, offer), offer)
        assert p_kw.sum() <= 30.0 + 1e-3


def test_sun_that_gives_all_is_not_asked_for_more():
    """An import limit asks no sun that nobody curtails, whatever the noise between output and offer."""
    fleet, groups = world.fleet_of({Kind.PV_ROOFTOP: 5, Kind.LOAD: 2}, heads=False)
    n = len(fleet.ids)
    values = {"p_kw": np.full(n, 3.0), "p_avail_kw": np.full(n, 3.1), "ready": np.ones(n)}
    image = world.tell(fleet, values)
    decision = decide(image, groups, envelopes=[Envelope("all", 1e3, 2e3, "line 7", NOW_S + 900)])
    assert len(decision.orders.index) == 0
    assert decision.grants[0].causes == pytest.approx({"limits of what may move": 1e3 - 21.0})


@settings(max_examples=25)
@given(st.integers(0, 2**32))
def test_wishes_that_cannot_be_weighed_are_named(seed):
    """Not finite, crossed, or on a group that is gone: rejected by name, and the others decide alone."""
    image = image_of(seed)
    good = wish_of(np.random.default_rng(seed), "good")
    bad = [
        want("gone", "nowhere", 1.0),
        want("nan", "all", math.nan),
        want("inf", "all", math.inf),
        want("crossed", "all", None, lo=1.0, hi=-1.0),
        want("blind", "all", None, lo=math.nan),
    ]
    decision = decide(image, GROUPS, [good, *bad])
    assert [fault.ids[0] for fault in decision.rejected] == ["gone", "nan", "inf", "crossed", "blind"]
    assert same(decision.targets, decide(image, GROUPS, [good]).targets)


@given(situations())
def test_arbitration_alone_agrees_with_the_step(situation):
    """``arbitrate`` on the narrowed capability is what ``step`` orders from."""
    image, _, _, proposals, response = situation[:5]
    decision = decide(image, GROUPS, proposals, response=response)
    ready = response.expired(image.now_s).observed(image, capability(image))
    odds, ramps = Odds.of(ready, image), decision.response.ramps
    weighed = [image, decision.capability, ready.ordered_kw]
    targets = arbitrate(proposals, ROWS.__getitem__, *weighed, odds=odds, ramps=ramps)
    left_out = {"present_kw"} if odds is None else set()
    for name in {f.name for f in dataclasses.fields(targets)} - left_out:
        assert same(getattr(targets, name), getattr(decision.targets, name)), name
