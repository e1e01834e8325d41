"""What one running system makes of directives: bounds, wants, prices, refusals, what it tells."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from gridflock.dispatch.hierarchy import WANT_S, Child, Known, Parent
from gridflock.field.peer import directive_said
from gridflock.model import Allowance, Directive, Envelope
from gridflock.record import RecordFull
from gridflock.runtime import (
    LOCAL,
    AccessDenied,
    RequestRejected,
    Role,
    Scope,
    Settings,
    UnknownName,
    rehearse,
)
from gridflock.runtime._allowed import KIND, asked, head_limits, mean_over, narrowed, price_shift, remembered
from gridflock.runtime._guard_limits import guarded_policy
from gridflock.schema import Kind
from gridflock.sim import Scenario
from gridflock.units import TimeGrid

SCENARIO = Scenario(ders=80, seed=7, demand_scale=0.1)
JOIN_S = 17 * 3_600
DEFAULT = (-900.0, 500.0)
START = 1_750_032_000
GRID = TimeGrid.uniform(START, 900, 4)


def trusting():
    """A policy whose guard lets a system above move what it wants."""
    policy = guarded_policy()
    return replace(policy, guard=replace(policy.guard, budgets={"above": 1e6}, canary_share=1.0))


@pytest.fixture
def derms(tmp_path):
    """A running system that stands under another one, after two ticks."""
    settings = Settings(name="north", default_kw=DEFAULT, in_ac=False, policy=trusting())
    derms, _ = rehearse(tmp_path, SCENARIO, settings, join_s=JOIN_S)
    minutes(derms, 2)
    yield derms
    derms.close()


def minutes(derms, many):
    """Some ticks; the last moment."""
    for _ in range(many):
        moment = derms.tick()
        derms.clock.sleep_until(moment.now_s + 60)
    return moment


def directive(now_s, number=1, low=-900.0, high=500.0, want=np.nan, price=0.0, default=DEFAULT, **changes):
    """One for north over twelve hours."""
    grid = TimeGrid.uniform(now_s - now_s % 900, 900, 48)
    full = [np.full(48, value) for value in (low, high, want, price)]
    made = Directive("north", START, number, now_s + 60, Allowance(grid, *full[:2], default), *full[2:])
    return directive_said(replace(made, **changes))


def bound_of(moment):
    """The head's limits of a tick."""
    return next(envelope for envelope in moment.envelopes if envelope.group == "all")


def test_a_want_that_is_not_said_again_lapses():
    """An hour after its directive could last be adopted nothing is wished, though its steps go on."""
    grid = TimeGrid.uniform(START, 86_400, 10)
    full = [np.full(10, value) for value in (-900.0, 500.0, 40.0, 0.0)]
    said = Directive("north", START, 1, START + 60, Allowance(grid, *full[:2], DEFAULT), *full[2:])
    rows = np.array([1], dtype=np.int32)
    for age_s, wished in ((0, 1), (60 + WANT_S - 1, 1), (60 + WANT_S, 0), (9 * 86_400, 0)):
        image = SimpleNamespace(
            now_s=START + age_s,
            kind=np.array([Kind.FEEDER_HEAD, Kind.BATTERY_HOME], dtype=np.uint8),
            p_kw=np.array([10.0, 2.0], dtype=np.float32),
            silent=lambda _: np.zeros(2, dtype=bool),
        )
        found = asked(said, image, rows, "all")
        assert len(found) == wished
        assert all(wish.until_s == START + 60 + WANT_S for wish in found)
    assert asked(replace(said, want_kw=np.full(10, np.nan)), image, rows, "all") == ()


def test_bounds_hold_in_the_next_tick_and_are_kept_once_they_are_measured(derms):
    """Adopted at once, obeyed by the next tick, settled when the head is measured inside."""
    now_s, head_kw = derms.clock.now_s(), derms.moment.head_kw
    assert derms.standing(LOCAL).number == -1
    told = derms.direct(LOCAL, directive(now_s, low=head_kw + 40.0))
    assert (told.number, told.kept.at(now_s)) == (-1, DEFAULT)
    moment = minutes(derms, 1)
    assert bound_of(moment).p_lo_kw == head_kw + 40.0
    for _ in range(8):
        moment = minutes(derms, 1)
        if derms.standing(LOCAL).number == 1:
            break
    assert moment.head_kw >= head_kw + 40.0
    assert derms.standing(LOCAL).kept.at(derms.clock.now_s())[0] == head_kw + 40.0
    low, high = derms.standing(LOCAL).able_kw
    assert low < moment.head_kw < high


def test_what_is_said_to_be_kept_is_in_the_ledger_before(derms, monkeypatch):
    """On a full disk it is not said; what was said is what a later life of this system begins with."""
    derms.direct(LOCAL, directive(derms.clock.now_s(), low=derms.moment.head_kw - 200.0))
    minutes(derms, 1)

    def full(_):
        raise RecordFull("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(derms._record, "append", full)
        assert derms.standing(LOCAL).number == -1
    told = derms.standing(LOCAL)
    assert told.number == 1
    again = remembered(derms._record.entries(0, {KIND}), "north", DEFAULT)
    assert again.settled_on == (told.epoch, told.number)
    assert np.array_equal(again.kept.lo_kw, told.kept.lo_kw)
    assert remembered(derms._record.entries(0, {KIND}), "south", DEFAULT) is None


def test_a_want_is_followed_at_the_head(derms):
    """What is wanted is measured there, on the mean of some minutes."""
    now_s, want = derms.clock.now_s(), derms.moment.head_kw + 40.0
    derms.direct(LOCAL, directive(now_s, want=want))
    minutes(derms, 4)
    heads = [minutes(derms, 1).head_kw for _ in range(8)]
    assert np.mean(heads) == pytest.approx(want, abs=10.0)
    grant = next(g for g in derms.moment.decision.grants if g.proposal.id == "above")
    assert grant.proposal.author == "above"


def test_a_plan_keeps_the_bounds_and_weighs_the_price(derms):
    """Over the horizon the head stays within what is allowed where that can be; later steps the default."""
    now_s, before = derms.clock.now_s(), derms.moment.planned
    derms.direct(LOCAL, directive(now_s, low=-345.0, price=0.05))
    while (moment := minutes(derms, 1)).planned is before:
        pass
    terms, grid = moment.planned.terms, moment.planned.schedule.grid
    inside = grid.starts_s < now_s - now_s % 900 + 48 * 900
    assert (terms.import_limit_kw[inside] == 345.0).all()
    assert (terms.import_limit_kw[~inside] == 900.0).all()
    assert np.allclose(terms.import_price[:15], before.terms.import_price[1:16] + 0.05)
    assert np.allclose(terms.export_price[:15], before.terms.export_price[1:16] + 0.05)
    assert (price_shift(moment.directive, grid)[~inside] == 0.0).all()


def test_what_cannot_be_adopted_is_refused_by_field(derms):
    """Another's, late, older, another default, no document: each with its field; what held still holds."""
    now_s = derms.clock.now_s()
    derms.direct(LOCAL, directive(now_s, number=5, low=-800.0))
    wrong = {
        "child": directive(now_s, number=6, child="south"),
        "accept_until_s": directive(now_s, number=6, accept_until_s=now_s - 1),
        "number": directive(now_s, number=4),
        "default_kw": directive(now_s, number=6, default=(-1.0, 1.0)),
        "allowance": {"child": "north", "epoch": START, "number": 6, "accept_until_s": now_s + 9},
    }
    for field, document in wrong.items():
        with pytest.raises(RequestRejected) as refused:
            derms.direct(LOCAL, document)
        assert refused.value.faults[0].field == field
    assert derms._loop.directive.order == (START, 5)
    seq = derms.moment.seq
    derms.direct(LOCAL, directive(now_s, number=5, low=-800.0))  # the same once more changes nothing
    assert len([e for e in derms.events(LOCAL, 0, 50) if e.kind == "directive"]) == 1
    assert derms.moment.seq == seq


def test_only_an_operator_over_everything_may_direct(derms):
    """Viewers and operators of a part are refused, and the refusal is recorded; viewers may look."""
    document = directive(derms.clock.now_s())
    for scope in (
        Scope("vera", Role.VIEWER, frozenset({"all"})),
        Scope("otto", Role.OPERATOR, frozenset({"type/battery_home"})),
    ):
        with pytest.raises(AccessDenied):
            derms.direct(scope, document)
    assert derms.standing(Scope("vera", Role.VIEWER, frozenset({"all"}))).child == "north"
    refusals = [event for event in derms.events(LOCAL, 0, 50) if event.kind == "refusal"]
    assert [event.author for event in refusals] == ["otto", "vera"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (Settings(), "stands alone"),
        (Settings(name="north", default_kw=DEFAULT, managed=False), "only watches"),
    ],
)
def test_who_can_keep_nothing_is_told_nothing(settings, words, tmp_path):
    """Without a default there is no system above; who only watches says so."""
    derms, _ = rehearse(tmp_path, Scenario(ders=20, seed=3), settings, join_s=JOIN_S)
    minutes(derms, 1)
    with pytest.raises(RequestRejected, match=words):
        derms.direct(LOCAL, directive(derms.clock.now_s()))
    if settings.default_kw is None:
        with pytest.raises(UnknownName, match="no system above"):
            derms.standing(LOCAL)
    derms.close()


def test_a_step_that_is_about_to_end_is_kept_with_the_next():
    """Within two ticks of its edge the tighter of both holds; the feeder's own limits are never widened."""
    settings = Settings(name="north", default_kw=DEFAULT)
    words = np.array([-500.0, -300.0, -400.0, -400.0]), np.full(4, 100.0)
    said = Directive(
        "north", START, 1, START, Allowance(GRID, *words, DEFAULT), np.full(4, np.nan), np.zeros(4)
    )
    own = Envelope("all", -450.0, 80.0, "conductors", START + 120)
    assert narrowed(own, said, settings, START) is own
    assert narrowed(own, said, settings, START + 900 - 121).p_lo_kw == -450.0
    near = narrowed(own, said, settings, START + 900 - 120)
    assert (near.p_lo_kw, near.p_hi_kw) == (-300.0, 80.0)
    assert "import: allowance of the system above" in near.source
    assert narrowed(own, said, settings, START + 1800 + 121).p_lo_kw == -400.0
    assert narrowed(own, said, Settings(), START + 1800) is own
    wide = replace(own, p_lo_kw=-5_000.0)
    assert narrowed(wide, None, settings, START).p_lo_kw == DEFAULT[0]
    low, high = head_limits(wide, said, settings, TimeGrid.uniform(START, 1800, 3))
    assert low.tolist() == [300.0, 400.0, 900.0]
    assert high.tolist() == [80.0, 80.0, 80.0]


def test_a_course_on_another_grid_is_its_mean_by_time():
    """Steps that say nothing do not count; where all say nothing the mean says nothing."""
    values = np.array([1.0, np.nan, 3.0, 5.0])
    found = mean_over(GRID, values, TimeGrid(START + np.array([-900, 0, 1350, 2700, 4500, 5000])))
    assert np.array_equal(found, [np.nan, 1.0, 3.0, 5.0, np.nan], equal_nan=True)


def test_load_beside_the_bounds_is_counted_with_them():
    """Who stands above must not give that room away; in later steps the bounds hold as they are."""

    def may(child, p_kw, at_s, seen_s):
        above, fault = Parent(START - 100, (Known("north", (-2_000.0, 2_000.0), DEFAULT),)).heard(
            child.standing(at_s, p_kw, DEFAULT), at_s
        )
        assert fault is None
        low, high = above.exposure(TimeGrid(np.array([seen_s, seen_s + 1])))
        return low[0, 0], high[0, 0]

    child = Child.begun("north", DEFAULT, START)
    for inside in (-100.0, np.nan):
        assert may(child, inside, START, START + 100) == DEFAULT
    assert may(child, -950.0, START + 5_000, START + 5_000) == (-950.0, 500.0)
    assert may(child, -950.0, START + 5_000, START + 6_000) == DEFAULT
    said = Directive(
        "north", START - 100, 1, START + 9,
        Allowance(GRID, np.full(4, -300.0), np.full(4, 100.0), DEFAULT), np.zeros(4), np.zeros(4),
    )  # fmt: skip
    child, _ = child.heard(said, START)
    child = child.settled(np.full(4, -300.0), np.full(4, 100.0))
    assert may(child, 120.0, START + 1_000, START + 100) == (-300.0, 100.0)
    assert may(child, 120.0, START + 1_000, START + 1_000) == (-300.0, 120.0)
    assert may(child, 120.0, START + 1_000, START + 2_000) == (-300.0, 100.0)
