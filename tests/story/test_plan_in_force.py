"""The plan of a living system: held in AC, and a reason for every resource at any moment."""

import numpy as np
import pytest

from gridflock.runtime import LOCAL, RequestRejected, Settings, UnknownName, rehearse
from gridflock.sim import Scenario
from gridflock.units import iso

SCENARIO = Scenario(ders=230, seed=11)
JOIN_S = 17 * 3_600
TICKS = 65


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """An hour of the demo's feeder, lived through, left and opened again."""
    folder = tmp_path_factory.mktemp("life")
    first, _ = rehearse(folder, SCENARIO, Settings(), join_s=JOIN_S)
    for _ in range(TICKS):
        first.clock.sleep_until(first.tick().now_s + 60)
    told = {name: first.explain(LOCAL, name) for name in ("type/battery_home", "pv-0001")}
    plan = first.plan(LOCAL)
    moments = [first.moment.now_s - 60 * k for k in (1, 7, 20, 33, 50)]
    first.close()
    again, _ = rehearse(folder, SCENARIO, Settings(), join_s=JOIN_S)
    again.tick()
    yield again, told, plan, moments
    again.close()


def test_the_plan_holds_in_ac(life):
    """The plan in force was looked at in AC in every step, and nothing it breaks is kept from the reader."""
    _, _, plan, _ = life
    assert plan.in_ac is not None
    assert plan.in_ac.steps == len(plan.net_kw)
    assert plan.in_ac.voltages <= plan.in_ac.voltages_before
    assert plan.in_ac.currents <= plan.in_ac.currents_before
    assert bool(plan.in_ac.broken) == bool(plan.in_ac.voltages + plan.in_ac.currents)
    assert plan.gap >= 0.0


def test_any_resource_at_any_moment_is_explained(life):
    """For resources drawn from all kinds and moments of the day there is an answer whose price adds up."""
    derms, _, _, moments = life
    ids = derms._loop.system.fleet.ids
    rng = np.random.default_rng(1)
    for name in rng.choice(ids, 24, replace=False).tolist():
        why = derms.explain(LOCAL, name, iso(int(rng.choice(moments))))
        assert why.text
        for group in why.groups:
            assert sum(part.price for part in group.parts) == pytest.approx(group.price, abs=1e-4)
            assert "kWh is worth" in group.text


def test_what_was_told_then_is_told_now(life):
    """A reason asked for while it was in force and one read from the ledger after a restart agree."""
    derms, told, _, _ = life
    for name, before in told.items():
        after = derms.explain(LOCAL, name, before.time)
        assert [group.group for group in after.groups] == [group.group for group in before.groups]
        assert after.plan_made_at == before.plan_made_at
        assert after.groups == before.groups


def test_what_cannot_be_explained_is_refused(life):
    """Unknown names, moments to come, before the first plan, and words that are no moment."""
    derms, _, _, moments = life
    with pytest.raises(UnknownName, match="nobody"):
        derms.explain(LOCAL, "nobody")
    with pytest.raises(UnknownName, match="no plan"):
        derms.explain(LOCAL, "pv-0001", iso(moments[0] - 86_400))
    for at, words in (("2031-01-01T00:00:00Z", "to come"), ("tomorrow", "is not")):
        with pytest.raises(RequestRejected, match=words):
            derms.explain(LOCAL, "pv-0001", at)
