"""``gridflock bench coordination``: what is told, and when a plan does not count."""

import json

import pytest

from gridflock.bench import _coordination, _coordination_world


def few(fleet):
    """A small fleet behind two feeders over six hours."""
    return _coordination.coordination(120, 2, 24, fleet, 1)


def test_a_plan_within_its_limits_counts():
    """Both horizons: no slack, no cell broken, and the schedules' own gap within the target."""
    found = few("tight")
    assert found["counts"], found["why_not"]
    for when in ("", "warm_"):
        assert found[f"{when}slack_kwh"] <= found[f"{when}slack_allowed_kwh"]
        assert found[f"{when}violations"] == 0
        assert found[f"{when}gap_recovered"] <= 0.005 * 1.001
    assert found["recovered_cost"] == pytest.approx(found["cost_money"] + found["correction_money"], abs=0.02)
    json.dumps(found, allow_nan=False)


def test_a_plan_whose_limits_give_way_does_not_count(monkeypatch):
    """Limits nobody can keep: the plan proves its gap all the same, its slack is told, it does not count."""
    monkeypatch.setattr(_coordination_world, "TIGHT", 0.2)
    found = few("tight")
    assert not found["counts"]
    assert found["violations"] > 0
    assert "violations" in found["why_not"]
    assert "warm_slack_kwh" in found["why_not"]


def test_both_sides_run_as_often_and_to_the_same_end():
    """Ours with every device's schedule beside one program's, the least of as many runs of each."""
    found = few("batteries")
    assert found["runs_each"] == _coordination.RUNS
    assert found["monolith_least_s"] <= found["monolith_s"][found["monolith_method"]]
    assert found["ours_least_s"] <= found["cold_s"] + found["recover_s"] + 0.02
