"""Laws of goals that people state: a document is read whole or refused with every fault, never raised."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridflock.model import Flexibility
from gridflock.plan import Members, Terms, packed, planned, unpacked
from gridflock.plan import _members as module
from gridflock.plan.goals.bounds import Event, LoadShape, PowerLimit, Reserve, Stage
from gridflock.plan.goals.bounds._store import levels
from gridflock.plan.goals.money import Carbon, Losses
from gridflock.plan.goals.stated import DEMAND, MONEY, read, sought
from gridflock.plan.goals.stated._document import KINDS
from gridflock.plan.goals.stated._stated import MADE, SPANNED
from gridflock.runtime import RequestRejected, read_goals
from gridflock.runtime._kept import from_bytes, to_bytes
from gridflock.units import TimeGrid, unix_s

NOON = unix_s("2026-07-15T12:00Z")
GRID = TimeGrid.uniform(NOON, 3600, 8)
FROM, UNTIL = "2026-07-15T14:00Z", "2026-07-15T18:00+02:00"
RESERVE = {"kind": "reserve", "kwh": {"b0": 1}}
WHOLE = [
    {"kind": "power limit", "name": "T7", "members": {"b0": 1, "s0": 0.5}, "export_kw": 15, "until": UNTIL},
    {"kind": "ramp limit", "kw_per_min": 2.5, "beside_kw": [[FROM, -3], [UNTIL, -5]]},
    {"kind": "load shape", "target_kw": [[FROM, -20], ["2026-07-15T15:00Z", -25.5]], "from": FROM},
    {
        "kind": "event", "from": FROM, "until": UNTIL, "stages": [[FROM, 5], ["2026-07-15T15:00Z", 10]],
        "members": ["b0", "b1"], "opted_out": ["b1"], "notice_s": 600, "rebound_kw": 4, "rebound_s": 3600,
    },
    {"kind": "reserve", "name": "storm", "kwh": {"both": 6.0}, "from": FROM},
    {"kind": "departures", "needs": [{"resource": "b1", "by": UNTIL, "kwh": 2}]},
    {"kind": "demand charge", "name": "of T7", "price": 2, "members": ["b0"], "windows": [[FROM, UNTIL]]},
    {"kind": "self-consumption", "worth": 0.02},
    {"kind": "carbon", "kg_per_kwh": [[FROM, 0.4]], "price": 0.1, "credited": False},
    {"kind": "losses", "factor": {"b0": -0.05}, "price": 0.2},
    {"kind": "wear", "price": {"b0": 0.03}},
    {"kind": "fair share", "participants": {"a": ["s0"], "b": ["s1"]}, "direction": "injecting", "alpha": 1},
]  # fmt: skip


def members():
    """Two batteries and two suns in two groups."""
    one, edge, none = np.ones((2, 8)), np.ones((2, 9)), np.zeros((2, 8))
    sun = np.array([[9.0, 9, 8, 6, 4, 2, 1, 0]] * 2)
    able = Flexibility(
        GRID,
        ("b0", "b1", "s0", "s1"),
        base_kw=np.vstack([none, sun]),
        up_kw=np.vstack([3 * one, none]),
        down_kw=np.vstack([3 * one, sun]),
        x_lo_kwh=np.vstack([[[-2.0], [-1.0]] * edge, -np.inf * edge]),
        x_hi_kwh=np.vstack([[[6.0], [3.0]] * edge, np.inf * edge]),
        gain_up=np.array([-1 / 0.9, -1 / 0.9, 0, 0]),
        gain_down=np.array([0.9, 0.9, 0, 0]),
        cost_up=np.zeros(4),
        cost_down=np.zeros(4),
    )
    return Members(able, ("batteries", "suns"), np.array([0, 0, 1, 1]))


def terms(**more):
    """A flat tariff."""
    endless = np.full(8, np.inf)
    return Terms(np.full(8, 0.3), np.full(8, 0.1), endless, endless, **more)


def test_every_kind_can_be_stated_and_is_kept_as_it_was():
    """One goal of each kind is read without fault, joined to a plan, and the same after being stored."""
    found, faults = read({"goals": WHOLE, "order": ["storm", ["T7", MONEY], "event"]})
    assert not faults
    assert {goal.kind for goal in found.goals} == KINDS.keys() == MADE.keys() >= SPANNED
    called = found.called(NOON)
    assert from_bytes(to_bytes(called)) == called
    goals = [goal.on(GRID, 0.0, NOON) for goal in called.due(GRID)]
    joined = sought(
        goals, found.order, members(), np.full(8, -10.0), terms(peak_price=0.2), NOON, {"both": ("b0", "b1")}
    )
    assert not joined.rejected
    ranks = {line.goal: line.rank for line in joined.table(members().flexibility.base_kw)}
    assert (ranks["storm"], ranks["T7"], ranks[MONEY], ranks["event"], ranks[DEMAND]) == (0, 1, 1, 2, 2)


def test_what_is_stated_is_the_goal_that_is_made():
    """Moments, profiles and spans of a document become the fields of the goals."""
    found, _ = read({"goals": WHOLE})
    by_kind = {goal.kind: goal.on(GRID, 0.0, NOON - 60) for goal in found.goals}
    limit, shape, event = by_kind["power limit"], by_kind["load shape"], by_kind["event"]
    assert isinstance(limit, PowerLimit)
    np.testing.assert_array_equal(limit.export_kw, [15.0] * 4 + [np.inf] * 4)
    assert isinstance(shape, LoadShape)
    np.testing.assert_array_equal(shape.target_kw[2:4], [-20.0, -25.5])
    assert (shape.from_s, shape.until_s) == (NOON + 2 * 3600, np.inf)
    assert isinstance(event, Event)
    assert event.stages == (Stage(NOON + 2 * 3600, 5.0), Stage(NOON + 3 * 3600, 10.0))
    assert (event.end_s, event.called_s) == (NOON + 4 * 3600, NOON - 60)


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        ([], "document", "not an object"),
        ({"goals": {}}, "goals", "not a list"),
        ({"goals": [], "more": 1}, "more", "unknown field"),
        ({"goals": [3]}, "goal", "not an object"),
        ({"goals": [{"kind": "peace"}]}, "kind", "not one of"),
        ({"goals": [{"kind": "wear"}]}, "price", "missing"),
        ({"goals": [{"kind": "wear", "price": {}}]}, "price", "not an object of numbers"),
        ({"goals": [{"kind": "wear", "price": {"b0": "dear"}}]}, "price", "not a number"),
        ({"goals": [{"kind": "wear", "price": {"b0": 1e30}}]}, "price", "not a number from"),
        ({"goals": [{"kind": "self-consumption", "worth": True}]}, "worth", "not a number"),
        ({"goals": [{"kind": "self-consumption", "worth": float("nan")}]}, "worth", "not a number"),
        ({"goals": [{"kind": "self-consumption", "worth": 1, "name": " "}]}, "name", "not a name"),
        ({"goals": [{"kind": "self-consumption", "worth": 1, "name": MONEY}]}, "name", "system's own"),
        ({"goals": [{"kind": "self-consumption", "worth": 1}] * 2}, "name", "several goals"),
        ({"goals": [{"kind": "load shape", "target_kw": [[FROM, 1], [FROM, 2]]}]}, "target_kw", "ascend"),
        ({"goals": [{"kind": "load shape", "target_kw": [["soon", 1]]}]}, "target_kw", "not a moment"),
        ({"goals": [RESERVE | {"from": UNTIL, "until": FROM}]}, "until", "not after"),
        ({"goals": [RESERVE | {"from": 7}]}, "from", "not a moment"),
        ({"goals": [{"kind": "ramp limit", "kw_per_min": 1, "from": FROM}]}, "from", "unknown field"),
        ({"goals": [], "order": ["nobody"]}, "order", "names no goal"),
        ({"goals": [], "order": [MONEY, [MONEY]]}, "order", "ranked twice"),
        ({"goals": [], "order": 3}, "order", "not a list"),
        ({"goals": [{"kind": "departures", "needs": [{"resource": "b0"}]}]}, "needs", "resource, by and kwh"),
        ({"goals": [{"kind": "self-consumption", "worth": 1}] * 101}, "goals", "at most 100"),
    ],
)  # fmt: skip
def test_every_broken_rule_has_its_name(document, field, words):
    """A document with a fault is refused whole; field and rule are named, and the goal by its number."""
    found, faults = read(document)
    assert found.goals == ()
    told = [fault for fault in faults if fault.field == field and words in fault.reason]
    assert told
    assert all(fault.row == 0 or 1 <= fault.row <= len(document["goals"]) for fault in faults)


def test_all_faults_are_told_at_once():
    """Two goals with two faults each give four."""
    _, faults = read({"goals": [{"kind": "wear", "x": 1}, {"kind": "carbon", "price": -1}]})
    assert [(f.row, f.field) for f in faults] == [(1, "price"), (1, "x"), (2, "kg_per_kwh"), (2, "price")]


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, len(WHOLE) - 1), st.data(), JSON)
def test_whatever_is_stated_nothing_is_raised(which, data, junk):
    """Any value in any field of any goal is read or refused with a fault that can be shown."""
    said = copy.deepcopy(WHOLE[which])
    field = data.draw(st.sampled_from([*said, "name", "members", "price", "extra"]))
    said[field] = junk
    found, faults = read({"goals": [said]})
    assert bool(faults) != bool(found.goals)
    assert all(fault.field.isprintable() and fault.reason for fault in faults)
    for goal in found.due(GRID):
        joined = sought([goal.on(GRID, 0.0, NOON)], (), members(), np.full(8, -10.0), terms(), NOON, {})
        assert np.isfinite(joined.terms.import_price).all()


@settings(max_examples=100, deadline=None)
@given(JSON)
def test_no_document_is_raised(junk):
    """Any value at all is a document or is refused."""
    found, faults = read(junk)
    assert faults or not found.goals


def test_files_are_read_carefully(tmp_path):
    """What is no JSON, too large, said twice, no number or not there is a fault of the file."""
    file = tmp_path / "goals.json"
    for text, words in (
        ("{", "not JSON"),
        ('{"goals": [], "goals": []}', "given twice"),
        ('{"goals": [{"kind": "self-consumption", "worth": NaN}]}', "no number"),
        ("[" * 100_000, "not JSON"),
        (" " * 1_100_000, "larger than"),
    ):
        file.write_text(text, "utf-8")
        with pytest.raises(RequestRejected, match=words):
            read_goals(file)
    with pytest.raises(RequestRejected, match="cannot be read"):
        read_goals(tmp_path / "none.json")


def test_a_reserve_of_several_is_shared_by_what_each_can_hold():
    """The sum's energy is divided by size, kept by each, and more than all can hold is a fault."""
    who, sums = members(), {"both": ("b0", "b1", "s0")}
    held = sought([Reserve({"both": 6.0}, NOON + 4 * 3600)], (), who, np.full(8, -10.0), terms(), NOON, sums)
    assert not held.rejected
    raised = held.members.flexibility.x_lo_kwh[:2] - who.flexibility.x_lo_kwh[:2]
    np.testing.assert_allclose(raised[:, 5], [4.0, 2.0])
    assert [kept.name for kept in held.kept()] == ["reserve"]
    much = sought([Reserve({"both": 13.0})], (), who, np.full(8, -10.0), terms(), NOON, sums)
    assert "more than its stores hold: 12.0 kWh" in much.rejected[0].reason
    none = sought([Reserve({"s": 1.0})], (), who, np.full(8, -10.0), terms(), NOON, {"s": ("s0",)})
    assert "no store" in none.rejected[0].reason
    assert levels(who.flexibility, who.flexibility.base_kw).shape == (4, 9)


def test_notice_counts_from_the_call_and_the_rebound_outlives_the_event():
    """Planned anew while it lasts, an event asks on; after its end it still bounds what comes back."""
    event = Event(NOON, NOON + 7200, (Stage(NOON, 2.0),), notice_s=1800.0, rebound_kw=1.0, rebound_s=7200.0)
    late = Event(
        NOON - 7200, NOON, (Stage(NOON - 7200, 2.0),), rebound_kw=1.0, rebound_s=7200.0, called_s=NOON - 9000
    )
    who, load = members(), np.full(8, -10.0)
    asked = sought([event], (), who, load, terms(), NOON, {}).terms.blocks[0]
    assert not np.isfinite(asked.lo_kw[0])
    assert np.isfinite(asked.lo_kw[1])
    called = Event(NOON, NOON + 7200, (Stage(NOON, 2.0),), notice_s=1800.0, called_s=NOON - 1800.0)
    assert np.isfinite(sought([called], (), who, load, terms(), NOON, {}).terms.blocks[0].lo_kw[0])
    after = sought([late], (), who, load, terms(), NOON, {})
    assert not after.rejected
    bounded = next(block for block in after.terms.blocks if block.name.startswith("rebound"))
    assert np.isfinite(bounded.lo_kw[:2]).all()
    assert not np.isfinite(bounded.lo_kw[2:]).any()


def test_prices_that_cannot_stand_so_far_apart_are_said():
    """An order that prices cannot keep is named, and all goals are weighed by their own prices."""
    goals = [PowerLimit(export_kw=1.0, price=1e5, name=f"limit {k}") for k in range(6)]
    order = [[goal.name] for goal in goals]
    found = sought(goals, order, members(), np.full(8, -10.0), terms(), NOON, {})
    assert [fault.field for fault in found.rejected] == ["order"]
    assert {block.over_price for block in found.terms.blocks} == {1e5}


@pytest.mark.parametrize("few", [0, 200])
def test_prices_of_goals_are_told_apart_from_the_tariff(monkeypatch, few):
    """Carbon and losses are named parts of a price beside the tariff; their sum is the price as before."""
    monkeypatch.setattr(module, "FEW", few)
    who, load = members(), np.full(8, -40.0)
    goals = [Carbon(0.4, 0.25), Losses({"b0": -0.1, "s0": 0.05}, 0.3), Reserve({"b1": 1.0}, NOON + 4 * 3600)]
    aim = sought(goals, (), who, load, terms(), NOON, {})
    found = planned(aim.members, load, aim.terms, NOON)
    named = aim.named(found.grounds)
    np.testing.assert_allclose(named.prices(), found.grounds.prices(), atol=1e-9)
    parts = dict(named.of(0))
    np.testing.assert_allclose(parts["carbon"], 0.1)
    np.testing.assert_allclose(parts["losses"], 0.03)
    np.testing.assert_allclose(parts["import tariff"], 0.3)
    assert "losses" not in dict(named.of(1))
    assert [kept.name for kept in named.kept] == ["reserve"]
    again = unpacked(*packed(named))
    assert again.keeps(1, 6) == ("reserve",)
    assert again.keeps(0, 6) == ()


def test_a_goal_named_by_a_number_is_ranked_by_it():
    """A rank that says 1 where the goal is named "1" means that goal: it is not left out."""
    found, faults = read({"goals": [{"kind": "self-consumption", "name": "1", "worth": 1}], "order": [1]})
    assert faults == ()
    assert found.order == (("1",),)
