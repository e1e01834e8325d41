"""Claims as people meet them: two programmes, a reserve, a displaced award, a restart."""

import dataclasses

import numpy as np
import pytest

from gridflock.fleet import Fleet, Groups
from gridflock.fleet.claims import Accounts, Claim, ClaimKind, Claims, nameplate_accounts
from gridflock.model import Priority
from gridflock.record import open_record
from gridflock.runtime import _claims
from gridflock.units import DAY_S, TimeGrid

HOUR = 3_600
GROUPS = {"street": [0, 1, 2], "acme": [1, 2, 3], "a": [0], "b": [1], "none": []}


def rows_of(name):
    """Members."""
    return np.array(GROUPS[name], dtype=np.int32)


def book(stackable=()):
    """Four batteries of 5 kW and 10 kWh."""
    five = np.full(4, 5.0, dtype=np.float32)
    return Claims(Accounts(five, five, 2 * five), rows_of, stackable)


def claim(name, on, hours=(17, 21), **more):
    """An award in the evening."""
    return Claim(name, f"{name}'s owner", ClaimKind.AWARD, on, hours[0] * HOUR, hours[1] * HOUR, **more)


def test_one_kilowatt_hour_is_not_sold_in_two_programmes():
    """The second programme is refused, also for another hour of the day, and the first is named."""
    claims = book()
    assert claims.add(claim("summer", "street", (17, 18), e_kwh=30), 0).held
    answer = claims.add(claim("winter", "a", (19, 20), e_kwh=4), 0)
    assert not answer.held
    assert [holder.id for holder in answer.refusal.holders] == ["summer"]
    assert (answer.refusal.start_s, answer.refusal.until_s) == (0, DAY_S)
    assert answer.refusal.text == (
        "4 kWh of 'a' wanted, 0 free from 1970-01-01T00:00:00Z to 1970-01-02T00:00:00Z; held by "
        "summer's owner's award 'summer': 30 kWh of 'street' from 1970-01-01T17:00:00Z to "
        "1970-01-01T18:00:00Z"
    )
    assert claims.add(claim("winter", "a", (43, 44), e_kwh=4), 0).held


def test_a_group_is_not_pinned_to_its_members():
    """A member can be promised alone as long as the others can stand in for it."""
    claims = book()
    assert claims.add(claim("street", "street", up_kw=10), 0).held
    assert claims.add(claim("b", "b", up_kw=5), 0).held
    assert claims.add(claim("acme", "acme", up_kw=5), 0).held
    refusal = claims.add(claim("a", "a", up_kw=1), 0).refusal
    assert {holder.id for holder in refusal.holders} == {"street", "b"}
    assert refusal.free == 0.0


def test_a_stronger_claim_displaces_the_weaker_and_tells_whom():
    """Only with ``displace``, only weaker ones, and only as many as needed."""
    claims = book()
    for name, size in (("one", 2), ("two", 2), ("three", 4)):
        assert claims.add(claim(name, "a" if name == "one" else "street", up_kw=size), 0).held
    event = claim("event", "street", up_kw=9, priority=Priority.EVENT)
    assert not claims.add(event, 5).held
    answer = claims.add(event, 5, displace=lambda _: True)
    assert [other.id for other in answer.displaced] == ["two"]
    assert claims["two"].how == "displaced by event"
    assert len(claims) == 3
    assert {held.id for held in claims.as_of(4)} == {"one", "two", "three"}


def test_only_claims_that_may_go_are_displaced():
    """A weaker claim beyond the author's authority stays and is named; one within it goes instead."""
    claims = book()
    kept = claim("kept", "a", up_kw=1, priority=Priority.MARKET)
    assert claims.add(kept, 0).held
    free = claims.free("a", TimeGrid.uniform(kept.start_s, kept.until_s - kept.start_s, 1)).up_kw[0]
    assert claims.add(claim("goes", "a", up_kw=free, priority=Priority.MARKET), 1).held
    event = claim("event", "a", up_kw=free, priority=Priority.OPERATOR)
    assert [c.id for c in claims.add(event, 2, displace=lambda c: c.id != "kept").displaced] == ["goes"]
    more = claim("more", "a", up_kw=1, priority=Priority.SAFETY)
    refused = claims.add(more, 3, displace=lambda c: c.id not in {"kept", "event"})
    assert refused.refusal is not None
    assert {c.id for c in claims.as_of(3)} == {"kept", "event"}


def test_a_claim_is_replaced_in_one_step_or_not_at_all():
    """The former one makes room for its successor, and stays where that is refused."""
    claims = book()
    assert claims.add(claim("offer", "a", up_kw=4), 0).held
    assert not claims.add(claim("too much", "a", up_kw=6), 1, replaces="offer").held
    assert claims["offer"].gone_s == -1
    assert claims.add(claim("award", "a", up_kw=5), 1, replaces="offer").held
    assert claims["offer"].how == "replaced by award"
    assert claims.free("a", TimeGrid.uniform(17 * HOUR, HOUR, 1)).up_kw.tolist() == [0.0]


def test_what_is_over_is_given_up_but_its_energy_only_after_the_day():
    """Energy of a claim is used up until its interval ends."""
    claims = book()
    claims.add(claim("power", "a", up_kw=5), 0)
    claims.add(claim("energy", "b", e_kwh=10), 0)
    assert [over.id for over in claims.expire(22 * HOUR)] == ["power"]
    assert claims.free("b", TimeGrid.uniform(22 * HOUR, HOUR, 1)).e_kwh.tolist() == [0.0]
    assert [over.id for over in claims.expire(DAY_S)] == ["energy"]
    assert claims["power"].how == "expired"
    assert claims["power"].gone_s == 21 * HOUR


def test_a_limit_leaves_a_group_what_is_allowed():
    """Claiming the account less what is allowed bounds everything inside, and nothing outside."""
    claims = book()
    limit = Claim("cable", "grid", ClaimKind.LIMIT, "street", 0, DAY_S, up_kw=claims.size("street")[0] - 6)
    assert claims.add(limit, 0).held
    day = TimeGrid.uniform(0, DAY_S, 1)
    assert claims.free("street", day).up_kw.tolist() == [6.0]
    assert claims.free("a", day).up_kw.tolist() == [5.0]
    assert claims.free("acme", day).up_kw.tolist() == [11.0]


def test_who_holds_something_of_a_group_is_listed():
    """Claims on anything that shares a row, while they are in force."""
    claims = book()
    claims.add(claim("b", "b", up_kw=1), 0)
    claims.add(claim("a", "a", e_kwh=1), 0)
    assert [held.id for held in claims.holders("acme", 18 * HOUR, 19 * HOUR)] == ["b"]
    assert [held.id for held in claims.holders("street", 0, HOUR)] == ["a"]


def test_the_same_claim_again_changes_nothing_and_an_id_is_given_once():
    """Repeated messages are harmless; what was withdrawn does not come back by a late repetition."""
    claims = book()
    first = claim("x", "a", up_kw=5)
    assert claims.add(first, 0).held
    assert claims.add(first, 3).held
    assert claims["x"].made_s == 0
    assert (
        claims.add(dataclasses.replace(first, up_kw=1), 3).rejected[0].reason.startswith("is in force with")
    )
    assert claims.withdraw("x", 4) == claims.withdraw("x", 5) == ()
    assert claims["x"].gone_s == 4
    assert claims.add(first, 6).rejected[0].reason == "is withdrawn: an id is given once"
    assert claims.withdraw("y", 6)[0].reason == "is unknown"


@pytest.mark.parametrize(
    ("changed", "field", "reason"),
    [
        ({"up_kw": float("nan")}, "up_kw", "nan is no size: finite and not negative"),
        ({"e_kwh": -1.0}, "e_kwh", "-1 is no size: finite and not negative"),
        ({"e_kwh": 1e306}, "e_kwh", "1e+306 is no size: more than 1e+12"),
        ({"up_kw": 0.0}, "up_kw", "claims nothing: no kW up, kW down or kWh, of 0.001 at least"),
        ({"up_kw": 1e-9}, "up_kw", "claims nothing: no kW up, kW down or kWh, of 0.001 at least"),
        ({"start_s": -(10**12), "until_s": 1 - 10**12}, "start_s", "is no date"),
        ({"until_s": 10**12}, "until_s", "is later than 9999-01-01T00:00:00Z"),
        ({"until_s": 0}, "until_s", "1970-01-01T00:00:00Z is not after its start 1970-01-01T17:00:00Z"),
        ({"start_s": -9, "until_s": -5}, "until_s", "1969-12-31T23:59:55Z is past"),
        ({"on": "elsewhere"}, "on", "no resource or group 'elsewhere'"),
        ({"on": "none"}, "on", "group 'none' has no members"),
        ({"owner": ""}, "owner", "is empty"),
    ],
)
def test_a_senseless_claim_is_rejected_with_its_fault(changed, field, reason):
    """Field and rule are named, and nothing is held."""
    claims = book()
    answer = claims.add(dataclasses.replace(claim("x", "a", up_kw=1), **changed), 0)
    assert (answer.rejected[0].field, answer.rejected[0].reason) == (field, reason)
    assert len(claims) == 0


def test_a_service_cannot_stack_with_itself():
    """That would let one kW be sold twice to the same programme."""
    with pytest.raises(ValueError, match="cannot be stackable with itself"):
        book([("relief", "relief")])


def test_a_restart_finds_the_claims_in_the_ledger(tmp_path):
    """What was made, displaced, replaced and withdrawn is as before; refusals are on record."""
    record, claims = open_record(tmp_path), book()
    for name, size in (("one", 2), ("two", 3), ("three", 4)):
        assert _claims.make(record, claims, claim(name, "street", up_kw=size), 1).held
    assert _claims.make(record, claims, claim("one", "street", up_kw=2), 2).held
    assert not _claims.make(record, claims, claim("big", "a", up_kw=6), 2).held
    assert _claims.make(record, claims, claim("four", "street", up_kw=1), 3, replaces="two").held
    event = claim("event", "street", up_kw=10, priority=Priority.EVENT)
    assert _claims.make(record, claims, event, 4, displace=lambda _: True).held
    assert _claims.withdraw(record, claims, "event", 5) == ()
    assert _claims.withdraw(record, claims, "event", 6) == ()
    kinds = [entry.kind for entry in record.entries()]
    assert kinds == [*["claim"] * 3, "claim refused", *["claim"] * 2, "claim withdrawn"]
    again, broken = _claims.restore(record, claims.accounts, rows_of, 7)
    record.close()
    assert broken == ()
    assert again.lives == claims.lives
    assert len(again) == len(claims)


def test_claims_that_no_longer_fit_are_named():
    """Where accounts shrink, the weaker and later claims are left out and answered."""
    claims = book()
    claims.add(claim("first", "street", up_kw=8), 0)
    claims.add(claim("later", "street", up_kw=5), 1)
    _again, broken = Claims.restored(
        Accounts(claims.accounts.up_kw * 0.6, claims.accounts.down_kw, claims.accounts.e_kwh),
        rows_of,
        claims.lives,
    )
    assert [answer.claim.id for answer in broken] == ["later"]
    assert [holder.id for holder in broken[0].refusal.holders] == ["first"]


def test_accounts_come_from_the_nameplate_by_family():
    """A battery's reserve is its owner's; a feeder head has nothing to claim."""
    kinds = {
        "battery_home": {"p_max_kw": 5, "p_min_kw": -4, "e_max_kwh": 10, "e_reserve_kwh": 3},
        "pv_rooftop": {"p_max_kw": 6},
        "ev_v1g": {"p_min_kw": -7, "e_max_kwh": 60},
        "water_heater": {"p_min_kw": -2, "e_max_kwh": 4},
        "feeder_head": {},
    }
    rows = [{"id": kind, "kind": kind, "bus": "1", "phases": "a", **more} for kind, more in kinds.items()]
    fleet, rejected = Fleet.from_rows(rows, {"1": 7})
    assert rejected == ()
    groups = Groups.standard(fleet, {"1": "north"}, {"north": "North"})
    claims = Claims(nameplate_accounts(fleet), groups.rows)
    assert claims.size("type/battery_home") == (5.0, 4.0, 7.0)
    assert claims.size("type/pv_rooftop") == (6.0, 6.0, 144.0)
    assert claims.size("type/ev_v1g") == (7.0, 7.0, 60.0)
    assert claims.size("type/water_heater") == (2.0, 2.0, 4.0)
    assert claims.size(np.array([fleet.row_of["feeder_head"]])) == (0.0, 0.0, 0.0)
