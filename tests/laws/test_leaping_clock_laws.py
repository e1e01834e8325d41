"""A clock that leaps ahead: held in doubt, believed when it goes on, and never the end of what protects."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.dispatch import Response
from gridflock.dispatch._ramp import Ramp, ramped
from gridflock.dispatch.feedback import Feedback
from gridflock.dispatch.guard import GuardLimits, GuardState, Rules
from gridflock.dispatch.guard._memory import Sent
from gridflock.model import Priority, Proposal
from gridflock.runtime import LOCAL, Role, Scope, Settings, UnknownName, rehearse, replay
from gridflock.runtime._rules import KIND
from gridflock.runtime._steady import FAR_S, LEAP_S, LEAPT, SURE_S, Steady
from gridflock.sim import Scenario
from gridflock.units import NEVER_S

BEGIN_S = 1_800_000_000
OMAR = Scope("omar", Role.OPERATOR, frozenset({"all"}))


@given(
    set_s=st.lists(st.integers(-40, 40) | st.integers(-90_000, 90_000) | st.just(0), max_size=60),
    late_s=st.lists(st.floats(0.0, 3.0), min_size=60, max_size=60),
    tick_s=st.integers(1, 300),
)
@settings(max_examples=300)
def test_what_was_not_lived_is_told_whatever_a_clock_is_set_to(set_s, late_s, tick_s):
    """Ticks go no further than time has passed, but for what is called leapt; in doubt there is a reason."""
    steady, last_s, wrong_s, lived_s = Steady(tick_s), 0, 0, 0.0
    for step_s, more_s in zip([0, *set_s], late_s, strict=False):
        wrong_s, before_s, lived_s = wrong_s + step_s, lived_s, lived_s + tick_s + more_s
        clock_s = BEGIN_S + wrong_s + round(lived_s)
        now_s, troubles = steady.moment(clock_s, last_s, lived_s)
        assert (now_s != clock_s) == bool(troubles)
        if last_s:
            assert now_s - last_s - steady.leapt_s <= lived_s - before_s + LEAP_S + 1
        last_s = now_s


def test_a_leap_is_believed_when_the_clock_goes_on_from_there():
    """For a minute and three ticks it is only told of; one wrong word of a clock moves nothing at all."""
    steady, last_s, told = Steady(4), BEGIN_S, []
    steady.moment(BEGIN_S, 0, 0.0)
    for k in range(1, 40):
        clock_s = BEGIN_S + 4 * k + (3_600 if k == 3 or k >= 6 else 0)
        now_s, troubles = steady.moment(clock_s, last_s, 4.0 * k)
        told += [(k, text.partition(":")[0]) for text in troubles]
        if steady.leapt_s:
            assert (steady.leapt_s, now_s - last_s) == (3_600, 3_604)
            assert 4 * (k - 6) >= SURE_S
        else:
            assert now_s - last_s == 4
        last_s = now_s
    assert last_s == clock_s
    assert told[0] == (3, LEAPT)
    assert {cause for _, cause in told} == {LEAPT}


@pytest.mark.parametrize("tick_s", [1, 2, 3, 4, 5])
@given(back_s=st.integers(1, 400))
@settings(max_examples=30)
def test_ticks_of_any_length_wait_for_a_clock_that_was_set_back(tick_s, back_s):
    """At half the pace the clock has caught up in about as long again, and no tick ever goes back."""
    steady, last_s, k = Steady(tick_s), BEGIN_S + back_s, 0
    astray = ("at first",)
    while astray:
        k += 1
        assert k * tick_s <= 2 * (back_s + tick_s) + 1
        now_s, astray = steady.moment(BEGIN_S + k * tick_s, last_s)
        if astray:
            assert tick_s // 2 <= now_s - last_s <= (tick_s + 1) // 2
            assert steady.ahead_s == now_s - BEGIN_S - k * tick_s
        assert now_s >= last_s
        last_s = now_s
    assert last_s == BEGIN_S + k * tick_s


@given(far_s=st.lists(st.integers(2 * FAR_S, 10**9), min_size=3, max_size=12, unique=True))
def test_readings_far_ahead_are_believed_when_they_agree(far_s):
    """Wild ones that follow one another are not; the third that goes on from where it was is."""
    steady, last_s = Steady(4), BEGIN_S
    far_s = [s * 100 for s in far_s]
    for wrong_s in far_s:
        now_s, troubles = steady.moment(last_s + wrong_s, last_s)
        assert now_s == last_s + 4
        assert troubles
        last_s = now_s
    for k in range(3):
        clock_s = BEGIN_S + 10**12 + 4 * k
        now_s, troubles = steady.moment(clock_s, last_s)
        assert bool(troubles) == (k < 2)
        assert now_s == (clock_s if k == 2 else last_s + 4)
        last_s = now_s
    assert steady.leapt_s > FAR_S


def test_a_loop_that_stood_still_is_no_clock_that_leapt():
    """Where as much time has passed as the clock says, it is believed at once, however long it was."""
    steady = Steady(4)
    steady.moment(BEGIN_S, 0, 0.0)
    assert steady.moment(BEGIN_S + 7_200, BEGIN_S, 7_200.4) == (BEGIN_S + 7_200, ())
    assert steady.leapt_s == 0


@given(leapt_s=st.integers(1, 10**8), age_s=st.integers(0, 400))
@settings(max_examples=60)
def test_no_budget_and_no_window_is_emptied_by_setting_a_clock(leapt_s, age_s):
    """What an account has moved counts as long as if nobody had touched the clock."""
    limits = GuardLimits()
    sent = Sent(
        np.array([1], np.int32), np.array([3.0]), np.zeros(1), np.array([BEGIN_S + 900]), np.array([7]),
        np.zeros(1, np.int32), ("omar",), np.full(1, np.nan),
    )  # fmt: skip
    plates = np.full(3, -5.0), np.full(3, 5.0), np.full(3, 5.5)
    state = GuardState.empty(3)
    memory = state.memory.took(sent, plates, BEGIN_S, limits, {"group:elm": 3.0})
    for name in ("omar", "group:elm"):
        now_s = BEGIN_S + age_s
        assert memory.later(leapt_s).spent_kw(name, now_s + leapt_s, 300) == memory.spent_kw(name, now_s, 300)


@pytest.mark.parametrize("pressed", [60, 600])
def test_the_kill_switch_lasts_at_least_as_long_as_it_was_pressed_for(pressed):
    """Pressed again after a leap, it keeps what it has gained; another switch gains nothing by it."""
    rules = Rules().all_to_default("alice", "odd", BEGIN_S, BEGIN_S + pressed).late(BEGIN_S, 3_600)
    assert rules.default.until_s == BEGIN_S + pressed + 3_600
    assert rules.late(BEGIN_S, 3_600) == rules
    assert rules.late(BEGIN_S + 1, 9_999) == rules
    again = rules.all_to_default("bob", "still odd", BEGIN_S + 3_610, BEGIN_S + 3_610 + pressed)
    assert again.default.late_s == 3_600
    assert again.late(BEGIN_S, 3_600) == again
    assert Rules.of(again.said()) == again


class Settable:
    """A clock that people can set, and what has passed beside it."""

    def __init__(self, t_s):
        self.t_s, self.passed_s = t_s, 0.0

    def now_s(self):
        """The reading."""
        return self.t_s

    def lived_s(self):
        """What has passed."""
        return self.passed_s

    def sleep_until(self, t_s):
        """Let time pass."""
        self.passed_s += max(0, t_s - self.t_s)
        self.t_s = max(self.t_s, t_s)


def _minutes(derms, many):
    for _ in range(many):
        moment = derms.tick()
        derms.clock.sleep_until(derms.clock.now_s() + 60)
    return moment


def test_all_to_default_outlives_a_clock_that_is_set_ahead(tmp_path):
    """Ten minutes are ten minutes of life: not over by a leap of an hour, nor by a restart; then it ends."""
    scenario, settings = Scenario(ders=60, seed=7), Settings(plans=False)
    derms, _ = rehearse(tmp_path, scenario, settings, join_s=15 * 3_600)
    derms._clock = Settable(derms.clock.now_s())
    _minutes(derms, 2)
    derms.propose(OMAR, "type/battery_home", p_kw=20.0, minutes=600)
    derms.all_to_default(OMAR, minutes=10, why="odd")
    _minutes(derms, 3)
    derms._clock.t_s += 3_600
    before_s = derms.moment.now_s
    moment = _minutes(derms, 1)
    assert moment.now_s == before_s + 60
    assert any(event.text.startswith(LEAPT) for event in derms.events(LOCAL))
    moment = _minutes(derms, 3)
    assert moment.now_s > before_s + 3_600
    assert derms.guard(LOCAL).default is not None
    assert not np.isfinite(moment.decision.orders.p_kw).any()
    told = [entry.head for entry in derms._record.entries(0, {KIND}) if entry.head["verb"] == "leapt"]
    assert [head["leapt_s"] for head in told] == [3_600]
    derms.close()
    derms, _ = rehearse(tmp_path, scenario, settings, join_s=15 * 3_600)
    _minutes(derms, 2)
    assert derms.guard(LOCAL).default is not None
    _minutes(derms, 4)
    assert derms.guard(LOCAL).default is None
    with pytest.raises(UnknownName):
        derms.end_default(LOCAL)
    assert derms.verify(LOCAL).ok
    derms.close()
    found = replay(tmp_path)
    assert found.identical, found.differs


@given(leapt_s=st.integers(1, 10**8), age_s=st.integers(0, 400))
@settings(max_examples=60)
def test_what_is_awaited_and_rests_comes_no_nearer_by_setting_a_clock(leapt_s, age_s):
    """Who is silent, rests, or is judged after a leap is who would be without it; what never was stays so."""
    now_s = BEGIN_S + age_s
    rng = np.random.default_rng(age_s)
    moments = rng.integers(BEGIN_S - 900, BEGIN_S + 900, (5, 20))
    moments[rng.random(moments.shape) < 0.3] = NEVER_S
    response = replace(
        Response.empty(20),
        asked_s=moments[0], rests_until_s=moments[1], short_until_s=moments[2], since_s=moments[3],
        lost_s=moments[4], answered=rng.random(20) < 0.5, misses=rng.integers(0, 3, 20).astype(np.int16),
        told_s=now_s - 60,
    )  # fmt: skip
    later = response.later(leapt_s)
    assert later.told_s == now_s + leapt_s - 60
    assert ((later.since_s == NEVER_S) == (response.since_s == NEVER_S)).all()
    assert (later.willing(now_s + leapt_s) == response.willing(now_s)).all()
    lived, leapt = response.expired(now_s), later.expired(now_s + leapt_s)
    assert (leapt.answered == lived.answered).all()
    assert (leapt.misses == lived.misses).all()
    rests = lived.rests_until_s > now_s
    assert (leapt.rests_until_s[rests] == lived.rests_until_s[rests] + leapt_s).all()
    assert response.later(0) is response


@given(leapt_s=st.integers(1, 10**6), lived_s=st.integers(0, 300))
@settings(max_examples=60)
def test_an_event_comes_in_no_further_by_setting_a_clock(leapt_s, lived_s):
    """A ramp goes on by what was lived, whether it comes in or goes out, and feedback sees no longer tick."""
    wish = Proposal("e", "all", Priority.EVENT, "omar", "asked", BEGIN_S - 900, BEGIN_S + 10**7, p_kw=5.0)
    gone = replace(wish, id="gone")
    before = (Ramp(wish, 0.25), Ramp(gone, 0.75))
    response = replace(Response.empty(4), ramps=before, told_s=BEGIN_S).later(leapt_s)
    now_s = BEGIN_S + leapt_s + lived_s
    found = ramped(response.ramps, [wish], response.told_s, now_s, 720)
    levels = {ramp.proposal.id: ramp.level for ramp in found}
    assert levels == pytest.approx({"e": 0.25 + lived_s / 720, "gone": 0.75 - lived_s / 720})
    known = replace(Feedback.none(4), now_s=float(BEGIN_S)).later(leapt_s)
    assert now_s - known.now_s == lived_s
    assert not np.isfinite(Feedback.none(4).later(leapt_s).now_s)


def test_an_event_is_not_stepped_in_by_a_leap_and_the_day_replays(tmp_path):
    """In the tick that believes an hour more, its ramp goes on by one tick; the record replays exactly."""
    scenario, settings = Scenario(ders=60, seed=7), Settings(plans=False)
    derms, _ = rehearse(tmp_path, scenario, settings, join_s=15 * 3_600)
    derms._clock = Settable(derms.clock.now_s())
    _minutes(derms, 2)
    now_s = derms.moment.now_s
    wish = Proposal("ev", "all", Priority.EVENT, "program", "event", now_s, now_s + 86_400, p_kw=30.0)
    derms._loop.book.add(wish)
    _minutes(derms, 2)
    derms._clock.t_s += 3_600
    levels, leapt = [], False
    for _ in range(6):
        before_s = derms.moment.now_s
        moment = _minutes(derms, 1)
        leapt |= moment.now_s > before_s + 3_600
        levels += [ramp.level for ramp in derms._loop.response.ramps]
    assert leapt
    assert len(levels) == 6
    assert np.diff(levels) == pytest.approx(np.full(5, 60 / 720))
    derms.close()
    found = replay(tmp_path)
    assert found.identical, found.differs
