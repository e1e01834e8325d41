"""The story of a day: lived twice with the same draws, and managed never worse than unmanaged."""

import json
from datetime import date

import pytest

from gridflock.console import _report
from gridflock.runtime import simulate
from gridflock.sim import Scenario

TIMEZONE = "America/Denver"


def _study(folder, seed, ders):
    """The study's document, as ``report.json`` holds it."""
    folder.mkdir()
    scenario = Scenario(ders=ders, day=date(2026, 7, 15), seed=seed)
    page = _report.write(simulate(scenario, folder / "data", lambda *_: None), TIMEZONE, folder / "out")
    text = page.read_text("utf-8")
    assert "<svg" in text
    assert "http://" not in text.replace("http://www.w3.org", "").replace("http://purl.org", "").replace(
        "http://creativecommons.org", ""
    )
    return json.loads((folder / "out" / "report.json").read_text("utf-8"))


def _holds_always(document):
    """What must hold on any day, however large the fleet."""
    before, after, conduct = document["unmanaged"], document["managed"], document["conduct"]
    assert before.keys() == after.keys()
    assert after["ev_shortfall_kwh"] <= 1e-6
    assert after["device_limit_breaches"] == 0
    assert after["unsolved_ticks"] == 0
    assert conduct["targets_outside_capability"] == 0
    assert conduct["largest_unnamed_shortfall_kw"] <= 1e-3
    assert conduct["orders_sent"] > 0
    for day in (before, after):
        if day["opendss_max_error_pu"] is not None:
            assert day["opendss_max_error_pu"] <= 1e-6


def test_on_a_small_day_all_holds_that_always_must(tmp_path):
    """With 250 DERs orders stay within capability and shortfalls are named.

    Vehicles leave as full as they could, and OpenDSS agrees with every minute.
    """
    _holds_always(_study(tmp_path / "a", 1, 250))


@pytest.mark.slow
def test_a_small_day_twice_gives_the_same_bytes(tmp_path):
    """With 250 DERs a second run differs only in its timings."""
    first = _study(tmp_path / "a", 1, 250)
    second = _study(tmp_path / "b", 1, 250)
    first.pop("timings")
    second.pop("timings")
    assert first == second


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2, 3, 4, 5])
def test_the_full_day_is_better_managed(tmp_path, seed):
    """With 2,000 DERs the unmanaged day breaks limits, and the managed one is better for everybody.

    The peak is at least 15 % lower, voltage and overload hours are lower, no class pays more,
    comfort is lost in at most 2 % of occupied time, at most 2 % of the sun is curtailed.
    """
    document = _study(tmp_path / "day", seed, 2000)
    _holds_always(document)
    before, after = document["unmanaged"], document["managed"]
    assert before["voltage_violation_node_hours"] > 0
    assert before["overload_branch_hours"] > 0
    assert after["peak_kw"] <= 0.85 * before["peak_kw"]
    assert after["voltage_violation_node_hours"] < before["voltage_violation_node_hours"]
    assert after["overload_branch_hours"] < before["overload_branch_hours"]
    for customer, bill in after["bills"].items():
        assert bill["total"] <= before["bills"][customer]["total"] + 1e-6
        assert after["settled_bills"][customer] <= before["settled_bills"][customer] + 1e-6
    assert after["comfort_lost_share"] <= 0.02
    assert after["pv_curtailed_share"] <= 0.02
