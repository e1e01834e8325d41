"""An operator and devices of a running system over IEEE 2030.5: let in, paced, suspended, kept out."""

import asyncio
import importlib
import sys
import time
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from gridflock.console import build
from gridflock.console._cli import app as commands
from gridflock.field.ieee2030_5 import resources
from gridflock.field.ieee2030_5.device._session import Session
from gridflock.runtime import (
    LOCAL,
    AccessDenied,
    RequestRejected,
    Role,
    Scope,
    UnknownName,
    Users,
    replay,
)

OTHER_PIN = 123_455
"""Sound, and not the one that everybody has."""
WILMA = Scope("wilma", Role.OPERATOR, frozenset({"section/none"}))
VERA = Scope("vera", Role.VIEWER, frozenset({"all"}))


def _begun(folder, **how):
    sys.path.insert(0, str(Path(__file__).parent))
    return importlib.import_module("operated_world").Site(folder, **how)


@pytest.fixture(scope="module")
def site(tmp_path_factory, require):
    """A site that asks for an operator's word; four devices have come, one of them with another PIN."""
    require("httptools", find_spec("httptools") is not None)
    found = _begun(tmp_path_factory.mktemp("operated"), registration="ask")
    found.speak("dev-0", "dev-1", "dev-2", "dev-3", pins={"dev-0": 111_115, "dev-1": OTHER_PIN})
    found.live(3)
    yield found
    found.close()


def test_devices_register_themselves_and_wait_in_sight(site):
    """Four wait, page by page, found by any of their names; the ledger tells of each; none is ordered."""
    waits = site.derms.devices(LOCAL, access="pending")
    assert {each.lfdi for each in waits.devices} == {site.lfdi(f"dev-{k}") for k in range(4)}
    assert {each.registered for each in waits.devices} == {"in band"}
    second = site.derms.devices(LOCAL, limit=2, offset=2)
    assert (second.total, [each.lfdi for each in second.devices]) == (4, [d.lfdi for d in waits.devices[2:]])
    assert site.derms.devices(LOCAL, text=str(waits.devices[0].sfdi)).total == 1
    told = [event for event in site.events("device") if event.data.get("what") == "registered"]
    assert len(told) == 4
    assert site.derms.status(LOCAL).served["pending"] == 4
    assert site.derms.utility(LOCAL).joined == 0


def test_one_is_approved_and_obeys(site):
    """Approved and joined to a resource a device is heard, ordered and answers; the ledger has it."""
    lfdi = site.lfdi("dev-0")
    site.derms.set_access(LOCAL, lfdi, access="enabled", resource=site.battery, why="known")
    site.derms.propose(LOCAL, site.battery, p_kw=1.0, minutes=240, why="a story")
    site.live(12)
    seen = site.seen("dev-0")
    assert (seen.access, seen.resource) == ("enabled", site.battery)
    assert "opMod" in seen.control
    assert seen.last_contact
    assert seen.last_response
    detail = site.derms.device(LOCAL, lfdi)
    assert (detail.connections, detail.pin) == (1, "111115")
    assert {each.mode for each in detail.effective} >= {seen.control.split()[0]}
    image = site.derms.moment.image
    assert image.p_kw[image.ids.index(site.battery)] == pytest.approx(0.5)
    told = next(event for event in site.events("device") if event.data.get("verb") == "set_access")
    assert (told.author, told.data["why"], told.group) == ("local", "known", site.battery)


def test_a_resource_is_one_device(site):
    """What is somebody already is nobody else; a resource that is none is refused by name."""
    before = len(site.events("device"))
    for name, words in ((site.battery, "is the device"), ("no-such", "no resource")):
        with pytest.raises(RequestRejected, match=words) as refused:
            site.derms.set_access(LOCAL, site.lfdi("dev-3"), access="enabled", resource=name)
        assert refused.value.faults[0].field == "resource"
    assert site.seen("dev-3").access == "pending"
    assert len(site.events("device")) == before


def test_a_wrong_pin_is_seen_and_mended(site):
    """Who stops at its registration is named, in an alarm too; with its PIN it goes on and that ends."""
    assert "read its PIN" in site.seen("dev-1").trouble
    assert site.client("dev-1").state.name == "WRONG_PIN"
    begun = [event for event in site.events("alarm") if "stopped at registration" in event.text]
    assert site.lfdi("dev-1") in begun[-1].text
    assert site.derms.utility(LOCAL).stopped == 1
    assert site.derms.set_pin(LOCAL, site.lfdi("dev-1"), pin=OTHER_PIN).pin == str(OTHER_PIN)
    assert str(OTHER_PIN) not in next(iter(site.events("device"))).text
    site.live(8)
    assert site.client("dev-1").state.name == "REGISTERED"
    assert site.seen("dev-1").trouble == ""
    over = [event for event in site.events("alarm") if "stopped at registration" in event.text]
    assert over[0].data["state"] == "ends"
    by_lot = int(site.derms.set_pin(LOCAL, site.lfdi("dev-2")).pin)
    assert sum(map(int, str(by_lot))) % 10 == 0
    with pytest.raises(RequestRejected, match="check digit"):
        site.derms.set_pin(LOCAL, site.lfdi("dev-2"), pin=12_345)


def test_rates_change_and_the_device_follows(site):
    """Told to report every two minutes instead of one, a device posts half as often; others stay."""
    site.live(2)
    lfdi, line = site.lfdi("dev-0"), site.devices.lines["dev-0"]
    before = line.counts["readings"]
    site.live(10)
    usual = line.counts["readings"] - before
    found = site.derms.set_rates(LOCAL, post_s=300, lfdi=lfdi, why="storm")
    assert [(own.lfdi, own.post_s) for own in found.own] == [(lfdi, 300)]
    site.live(5)  # it asks every five minutes
    before = line.counts["readings"]
    site.live(10)
    assert 0 < line.counts["readings"] - before <= usual / 2
    assert (site.seen("dev-0").post_s, site.seen("dev-3").post_s) == (300, 60)
    site.derms.set_rates(LOCAL, poll_s=120, kind="DERProgramList")
    assert site.derms.rates(LOCAL).poll_s["DERProgramList"] == 120
    for wrong in ({}, {"post_s": 0}, {"poll_s": 60, "kind": "Nothing"}):
        with pytest.raises(RequestRejected):
            site.derms.set_rates(LOCAL, **wrong)


def test_suspended_a_device_gets_403_and_goes_on_afterwards(site):
    """Refused while it is suspended, its orders unreachable; enabled again it is where it was."""
    lfdi, line = site.lfdi("dev-0"), site.devices.lines["dev-0"]
    site.derms.set_access(LOCAL, lfdi, access="suspended", why="meter exchanged")
    site.live(6)
    assert line.counts["refused: 403"] > 0
    assert site.seen("dev-0").control == ""
    assert site.derms.status(LOCAL).served["refused"] > 0
    refused = line.counts["refused: 403"]
    site.derms.set_access(LOCAL, lfdi, access="enabled", why="done")
    site.live(12)
    assert line.counts["refused: 403"] <= refused + 1
    assert "opMod" in site.seen("dev-0").control


def test_who_is_denied_is_cut_off(site):
    """Connections of a denied certificate end at once, new ones are refused; readmitted it speaks again."""
    lfdi = site.lfdi("dev-2")
    assert site.derms.device(LOCAL, lfdi).connections == 1
    assert site.derms.deny(LOCAL, lfdi, why="key stolen").denied == [lfdi]
    _until(lambda: site.derms.device(LOCAL, lfdi).connections == 0)
    site.live(6)
    counts = site.derms.utility(LOCAL).counts
    assert counts["refused: denied"] > 0
    assert site.seen("dev-2").denied
    assert site.derms.readmit(LOCAL, lfdi, why="found").denied == []
    before = site.derms.device(LOCAL, lfdi).device.last_contact
    site.live(6)
    assert site.derms.device(LOCAL, lfdi).device.last_contact > before


def test_who_is_revoked_is_refused_once_the_lists_are_read(site):
    """A certificate revoked meanwhile is refused at its next request; forged or cut lists change nothing."""
    site.authority.revoke("dev-3", "lost", int(time.time()))
    assert site.derms.read_revoked(LOCAL, why="lost keys").revoked == 1
    site.live(6)
    assert site.derms.utility(LOCAL).counts["refused: revoked"] > 0
    lists = site.pki / "revoked.pem"
    kept = lists.read_bytes()
    for wrong in (b"-----BEGIN X509 CRL-----\nnonsense\n-----END X509 CRL-----\n", b"", kept[:-9]):
        lists.write_bytes(wrong)
        with pytest.raises(RequestRejected, match="revoked"):
            site.derms.read_revoked(LOCAL)
    lists.write_bytes(kept)
    assert site.derms.utility(LOCAL).revoked == 1


def test_a_device_that_falls_silent_is_an_alarm(site):
    """Three periods without a request: an event names it, an alarm stands until all are heard again."""
    site.devices.lines["dev-1"].cut = True
    site.live(20)
    assert site.seen("dev-1").lost_since
    told = [event for event in site.events("device") if event.data.get("what") == "lost"]
    assert site.lfdi("dev-1") in {event.data["lfdi"] for event in told}
    assert any(event.data.get("cause") == "devices lost" for event in site.events("alarm"))
    site.devices.lines["dev-1"].cut = False
    site.live(8)
    assert site.seen("dev-1").lost_since == ""
    assert any(event.data.get("what") == "back" for event in site.events("device"))


def test_connection_points_and_settings_that_differ(site):
    """Points name resources of the fleet; what a device tells of itself stands beside the registry."""
    assert site.derms.load_points(LOCAL, {"NMI0000000001": "", "NMI0000000002": site.battery}).points == 2
    with pytest.raises(RequestRejected, match="no resource 'nobody'"):
        site.derms.load_points(LOCAL, {"NMI0000000003": "nobody"})
    differs = {each.attribute: each for each in site.derms.differs(LOCAL)}
    assert set(differs) == {"p_max_kw"}
    assert (differs["p_max_kw"].resource, differs["p_max_kw"].lfdi) == (site.battery, site.lfdi("dev-0"))
    assert "registry" in differs["p_max_kw"].text


def test_what_a_device_reports_is_an_event(site):
    """A log event of a device is told beside the system's own, with its words."""
    event = resources.LogEvent(
        created_date_time=site.now_s, details="overheated", function_set=11, log_event_code=2, log_event_id=1,
        log_event_pen=37_250, profile_id=2,
    )  # fmt: skip

    async def post():
        line = site.dial("dev-0")
        session = Session(line, resources.Profile.CSIPAUS13)
        _, devices = await session.fetch_all("/edev", resources.EndDeviceList, "end_device")
        path = devices[0].href
        await session.send("POST", f"{path}/lel", event)
        await line.close()
        await asyncio.sleep(0.1)  # it says goodbye

    asyncio.run(post())
    site.live()
    told = next(event for event in site.events("device") if event.data.get("what") == "log event")
    assert "overheated" in told.text
    assert told.group == site.battery
    assert [each.details for each in site.derms.device(LOCAL, site.lfdi("dev-0")).logs] == ["overheated"]


@pytest.mark.usefixtures("asked")
def test_commands_do_what_the_verbs_do(site, tmp_path):
    """Every command asks its route: looking, letting in, pacing, keeping out; faults are named."""
    lfdi = site.lfdi("dev-1")
    assert site.lfdi("dev-0") in _run("list", "--json")
    assert "2 of 4; go on with --offset 2" in _run("list", "--limit", "2")
    assert '"total": 4' in _run("list", "--json", "--text", "")
    assert "enabled" in _run("approve", lfdi, "--why", "by phone", "--json")
    assert "suspended" in _run("suspend", lfdi, "--json")
    assert "enabled" in _run("enable", lfdi, "--json")
    assert '"name": "house 7"' in _run("enrol", lfdi, "--name", "house 7", "--host", "agg.example", "--json")
    assert '"agg.example"' in _run("show", lfdi, "--json")
    assert "house 7" in _run("show", lfdi)
    assert "111115" in _run("pin", lfdi, "--pin", "111115")
    assert '"post_s": 600' in _run("rate", "--post", "600", "--lfdi", lfdi, "--json")
    assert "FunctionSetAssignmentsList" in _run("rates")
    points = tmp_path / "points.csv"
    points.write_text("NMI0000000001,\n")
    assert '"points": 1' in _run("points", points, "--json")
    assert lfdi in _run("deny", lfdi, "--json")
    assert '"denied": []' in _run("readmit", lfdi, "--json")
    assert '"revoked": ' in _run("revoked", "--json")
    assert "p_max_kw" in _run("differs")
    assert "handshakes full" in _run("status")
    assert "removed" in _run("refuse", lfdi, "--json")
    assert "profile: 'sep1'" in _run("enrol", lfdi, "--profile", "sep1", code=1)
    assert "hosts: 'a/b'" in _run("enrol", lfdi, "--host", "a/b", code=1)
    assert "no device" in _run("show", "0" * 40, code=1)


@pytest.fixture
def asked(site, tmp_path, monkeypatch):
    """Commands reach the site's application as its administrator."""
    users = Users(tmp_path)
    headers = {"Authorization": f"Bearer {users.add('omar', Role.ADMIN)}"}
    application = build(site.derms, users)

    def request(method, url, **words):
        async def call():
            transport = httpx.ASGITransport(application)
            async with httpx.AsyncClient(transport=transport) as client:
                return await client.request(method, url, **words | {"headers": headers})

        return asyncio.run(call())

    monkeypatch.setattr("gridflock.console._remote.httpx.request", request)


def _run(*words, code=0):
    answer = CliRunner().invoke(commands, ["devices", *map(str, words)])
    assert answer.exit_code == code, answer.output
    return answer.output


def test_authority_is_that_of_the_resource(site):
    """Viewers and operators of elsewhere are refused, which is recorded; they may look, not at PINs."""
    lfdi = site.lfdi("dev-0")
    for scope in (VERA, WILMA):
        for verb, words in (
            ("set_access", {"access": "suspended"}), ("set_pin", {}), ("enrol", {}), ("deny", {}),
        ):  # fmt: skip
            with pytest.raises(AccessDenied):
                getattr(site.derms, verb)(scope, lfdi, **words)
        with pytest.raises(AccessDenied):
            site.derms.set_rates(scope, post_s=60)
        assert site.derms.device(scope, lfdi).pin == ""
    told = [event.data["verb"] for event in site.events("refusal")]
    assert {"set_access", "set_pin", "enrol", "deny", "set_rates"} <= set(told)
    with pytest.raises(UnknownName):
        site.derms.device(LOCAL, "0" * 40)


def test_restarted_it_goes_on_and_the_past_can_be_lived_again(site):
    """Devices, PINs, rates and who is kept out are there again; every tick replays to the same bytes."""
    site.derms.deny(LOCAL, site.lfdi("dev-3"), why="for good")
    before = (
        site.derms.devices(LOCAL),
        site.derms.rates(LOCAL),
        site.derms.device(LOCAL, site.lfdi("dev-1")).pin,
    )
    site.close()
    site.open()
    after = (
        site.derms.devices(LOCAL),
        site.derms.rates(LOCAL),
        site.derms.device(LOCAL, site.lfdi("dev-1")).pin,
    )
    assert [(d.lfdi, d.access, d.resource, d.post_s) for d in after[0].devices] == [
        (d.lfdi, d.access, d.resource, d.post_s) for d in before[0].devices
    ]
    assert after[1:] == before[1:]
    assert site.derms.utility(LOCAL).denied == [site.lfdi("dev-3")]
    assert site.derms.utility(LOCAL).joined == 1
    found = replay(site.folder / "life")
    assert found.identical, found.differs


def _until(holds):
    end_s = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end_s
        time.sleep(0.05)
