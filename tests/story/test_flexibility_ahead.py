"""An operator asks what a group will be able to do, and how sure that is."""

import asyncio

import httpx
import pytest

from gridflock.console import build
from gridflock.runtime import LOCAL, RequestRejected, Role, Scope, Settings, UnknownName, rehearse
from gridflock.runtime import _flexibility_ahead as ahead_module
from gridflock.runtime import _worked_out as worked_out_module
from gridflock.sim import Scenario


@pytest.fixture(scope="module")
def derms(tmp_path_factory):
    """A small simulated system after its first tick."""
    system, _ = rehearse(tmp_path_factory.mktemp("ahead") / "day", Scenario(ders=60), Settings())
    system.tick()
    yield system
    system.close()


def test_a_group_s_flexibility_is_told_for_each_of_the_plan_s_steps(derms):
    """Three bands a run and way, longer runs never more, shares between 0 and 1."""
    able = derms.flexibility(LOCAL, "all", hours=3)
    assert len(able.t) == 12
    assert [run.run_s for run in able.runs] == [900, 3_600, 14_400]
    for run in able.runs:
        for way in (run.up, run.down):
            bands = zip(way.change_kw.p10, way.change_kw.p50, way.change_kw.p90, strict=True)
            assert all(0 <= low <= middle <= high for low, middle, high in bands)
    for shorter, longer in zip(able.runs, able.runs[1:], strict=False):
        pairs = zip(shorter.up.change_kw.p50, longer.up.change_kw.p50, strict=True)
        assert all(long <= short for short, long in pairs)
    assert all(0 <= share <= 1 for share in able.share.p90)
    assert able.runs[0].up.change_kw.p50[0] > 0


def test_a_resource_answers_like_a_group(derms):
    """One device by its id; with more notice it gives no less."""
    cell = derms.resources(LOCAL, "type/battery_home", 1)[0].id
    late = derms.flexibility(LOCAL, cell, hours=1, notice_s=1)
    early = derms.flexibility(LOCAL, cell, hours=1, notice_s=3_600)
    pairs = zip(late.runs[0].up.change_kw.p90, early.runs[0].up.change_kw.p90, strict=True)
    assert all(a <= b for a, b in pairs)


def test_what_cannot_be_asked_is_refused_by_name(derms):
    """Strange groups and numbers out of range change nothing and are named."""
    with pytest.raises(UnknownName, match="nobody"):
        derms.flexibility(LOCAL, "nobody")
    with pytest.raises(RequestRejected) as refused:
        derms.flexibility(LOCAL, "all", hours=0, notice_s=0)
    assert {fault.field for fault in refused.value.faults} == {"hours", "notice_s"}


class _Everybody:
    """Users of whom each token is a viewer's name."""

    def scope(self, token):
        """A viewer."""
        return Scope(token, Role.VIEWER, frozenset({"all"}))


def _ask(derms, user, path):
    """A request to the REST application without a socket."""

    async def asked():
        wire = httpx.ASGITransport(app=build(derms, _Everybody()))
        async with httpx.AsyncClient(transport=wire, base_url="http://test") as client:
            return await client.get(path, headers={"Authorization": f"Bearer {user}"})

    return asyncio.run(asked())


def test_a_viewer_cannot_keep_a_core_busy(derms, monkeypatch):
    """Asked for more than a share: 429 and when to come again; what is at hand, and others, are answered."""
    monkeypatch.setattr(worked_out_module, "_BURST_OF_ONE_S", 0.0)
    assert _ask(derms, "eve", "/api/flexibility?group=all&hours=2").status_code == 200
    again = _ask(derms, "eve", "/api/flexibility?group=all&hours=1")
    assert again.status_code == 200
    assert len(again.json()["t"]) == 4
    refused = _ask(derms, "eve", "/api/emerging?paths=20")
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["detail"][0]["field"] == "busy"
    limits = [_ask(derms, "bob", f"/api/emerging?paths=20&least={least}").json() for least in (0.0, 0.5)]
    assert limits[1]["found"] <= limits[0]["found"]
    assert limits[1]["limits"] == [one for one in limits[0]["limits"] if one["chance"] >= 0.5]
    monkeypatch.setattr(ahead_module, "_MOST_MEMBER_STEPS", 60)
    with pytest.raises(RequestRejected, match="group"):
        derms.flexibility(LOCAL, "all", hours=24)
