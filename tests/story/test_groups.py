"""The story of a group: the same face as a resource, upwards and downwards."""

import numpy as np
import pytest

from gridflock.runtime import LOCAL, Settings, plain, rehearse
from gridflock.sim import Scenario


@pytest.fixture(scope="module")
def derms(tmp_path_factory):
    """A small system at noon, one tick old."""
    opened, world = rehearse(tmp_path_factory.mktemp("noon"), Scenario(ders=200), Settings(), join_s=43_200)
    opened.clock.sleep_until(world.start_s + 43_200)
    opened.tick()
    yield opened
    opened.close()


def test_a_resource_answers_as_a_group_does(derms):
    """Status, capability and forecast have the same fields; a resource is a group of one."""
    group, resource = derms.group(LOCAL, "type/pv_rooftop"), derms.group(LOCAL, "pv-0001")
    assert plain(group).keys() == plain(resource).keys()
    assert plain(group.group).keys() == plain(resource.group).keys()
    assert resource.group.members == 1
    assert resource.forecast is not None
    assert "type/pv_rooftop" in resource.group.parents


def test_a_group_of_people_answers_as_the_systems_own_do(derms):
    """Made of the same members it has the same status, capability and forecast; parts add up to it."""
    made = derms.define_group(LOCAL, "roofs", "Roofs", rule="kind = pv_rooftop")
    own, other = derms.group(LOCAL, "type/pv_rooftop"), derms.group(LOCAL, "roofs")
    assert plain(own).keys() == plain(other).keys()
    assert (own.definition, other.definition) == (None, made.definition)
    assert (other.group.p_kw, other.group.p_hi_kw) == (own.group.p_kw, own.group.p_hi_kw)
    assert other.forecast == own.forecast
    parts = [f"roofs/{section.id}" for section in derms.feeder(LOCAL).sections]
    for part in parts:
        rule = {"rule": "kind = pv_rooftop", "inside": [part.replace("roofs", "section")]}
        derms.define_group(LOCAL, part, parents=["roofs"], **rule)
    views = {view.id: view for view in derms.groups(LOCAL)}
    assert sum(views[part].members for part in parts) == views["roofs"].members == made.count
    assert sum(views[part].p_kw for part in parts) == pytest.approx(own.group.p_kw, abs=0.01 * len(parts))
    assert derms.group(LOCAL, "roofs").children == parts


def test_phase_areas_and_sites_are_rules_over_the_registry(derms):
    """What the plan and the voltages rest on follows the registry: no list of members is kept."""
    groups = derms._loop.system.groups
    areas = [name for name in groups.ids if name.startswith("section/") and name.count("/") == 2]
    assert areas
    assert all(groups.rule(name) is not None for name in (*areas, *derms._loop.system.charged_sites))
    assert all(set(groups.rows(a)) <= set(groups.rows(a.rpartition("/")[0])) for a in areas)


def test_sections_add_up_to_the_whole(derms):
    """Power, bounds and the median outlook of all sections sum to those of the fleet with its demand."""
    views = {view.id: view for view in derms.groups(LOCAL)}
    sections = [name for name in views if name.count("/") == 1 and name.startswith("section/")]
    whole = views["all"]
    for name in ("p_kw", "p_lo_kw", "p_hi_kw", "members"):
        total = sum(getattr(views[s], name) for s in sections)
        assert total == pytest.approx(getattr(whole, name), abs=0.01 * len(sections))
    parts = [derms.group(LOCAL, s).forecast.q50 for s in sections]
    np.testing.assert_allclose(np.sum(parts, axis=0), derms.group(LOCAL, "all").forecast.q50, atol=0.1)


def test_a_resource_takes_an_order_as_a_group_does(derms):
    """A dry run on a resource gives what is asked, through the same verb and with the same answer."""
    battery = next(r for r in derms.resources(LOCAL, "type/battery_home", 50) if r.ready and r.p_hi_kw > 1)
    wanted = round(0.5 * battery.p_hi_kw, 2)
    answer = derms.propose(LOCAL, battery.id, p_kw=wanted, minutes=15, dry_run=True)
    assert answer.given_kw == pytest.approx(wanted, abs=1e-3)
    assert [move.id for move in answer.members] == [battery.id]
