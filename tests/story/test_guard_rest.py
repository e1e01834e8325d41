"""The guard over REST and on the command line: who may, what is said, and what is refused."""

import asyncio
import threading
from dataclasses import replace

import httpx
import pytest
from typer.testing import CliRunner

from gridflock.console import build
from gridflock.console._cli import app as commands
from gridflock.console._remote import Remote
from gridflock.dispatch import GuardLimits, Policy
from gridflock.runtime import LOCAL, Role, Settings, Users, rehearse
from gridflock.sim import Scenario

HOMES = "type/battery_home"
WISH = {"group": HOMES, "p_kw": 60.0, "minutes": 30, "why": "peak"}


class Site:
    """A running system, its application, and its people."""

    def __init__(self, folder):
        limits = GuardLimits(approval_kw=15.0)
        settings = replace(Settings(), policy=Policy(guard=limits), plans=False)
        self.derms, _ = rehearse(folder, Scenario(ders=120, seed=7), settings, join_s=15 * 3_600)
        users = Users(folder)
        self.tokens = {
            "vera": users.add("vera", Role.VIEWER),
            "omar": users.add("omar", Role.OPERATOR),
            "alice": users.add("alice", Role.OPERATOR),
            "wilma": users.add("wilma", Role.OPERATOR, frozenset({"section/s2"})),
        }
        self.app = build(self.derms, users)

    def ask(self, method, path, who, **more):
        """One request as somebody."""

        async def call():
            transport = httpx.ASGITransport(self.app)
            headers = {"Authorization": f"Bearer {self.tokens[who]}"}
            async with httpx.AsyncClient(transport=transport, base_url="http://gridflock") as client:
                return await client.request(method, f"/api/{path}", headers=headers, **more)

        return asyncio.run(call())

    def tick(self):
        """A minute."""
        moment = self.derms.tick()
        self.derms.clock.sleep_until(moment.now_s + 60)
        return moment


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """At 15:00, a minute on."""
    found = Site(tmp_path_factory.mktemp("guard"))
    found.tick()
    yield found
    found.derms.close()


def test_two_persons_over_rest(site):
    """A large wish waits; its author and who has no authority are refused, another operator approves."""
    sent = site.ask("POST", "proposals", "omar", json=WISH)
    assert sent.status_code == 200
    assert sent.json()["waits"] is True
    name = sent.json()["proposal"]["id"]
    assert site.ask("GET", "proposals", "vera").json() == []
    assert [one["id"] for one in site.ask("GET", "guard", "vera").json()["waiting"]] == [name]
    for who in ("omar", "wilma", "vera"):
        refused = site.ask("POST", f"guard/waiting/{name}", who)
        assert refused.status_code == 403
        assert refused.json()["detail"][0]["reason"]
    approved = site.ask("POST", f"guard/waiting/{name}", "alice", params={"why": "by phone"})
    assert approved.json()["approvals"][0]["by"] == "alice"
    assert [one["id"] for one in site.ask("GET", "proposals", "vera").json()] == [name]
    assert site.ask("POST", f"guard/waiting/{name}", "alice").status_code == 404
    site.ask("DELETE", f"proposals/{name}", "omar")
    second = site.ask("POST", "proposals", "omar", json=WISH).json()["proposal"]["id"]
    assert site.ask("DELETE", f"guard/waiting/{second}", "omar").json()["waiting"] == []


def test_modes_and_the_switch_over_rest(site):
    """A mode of one's own section; the switch only over everything; every fault has its field."""
    body = {"mode": "advisory", "why": "works"}
    assert site.ask("PUT", "guard/modes/section/s5", "wilma", json=body).status_code == 403
    modes = site.ask("PUT", "guard/modes/section/s2", "wilma", json=body).json()["modes"]
    assert {one["group"]: one["mode"] for one in modes}["section/s2"] == "advisory"
    wrong = site.ask("PUT", "guard/modes/section/s2", "wilma", json={"mode": "off"})
    assert (wrong.status_code, wrong.json()["detail"][0]["field"]) == (422, "mode")
    assert site.ask("POST", "guard/default", "wilma", json={}).status_code == 403
    assert site.ask("POST", "guard/default", "omar", json={"minutes": -1}).status_code == 422
    on = site.ask("POST", "guard/default", "omar", json={"minutes": 10, "why": "drill"}).json()["default"]
    assert (on["author"], on["why"]) == ("omar", "drill")
    assert site.ask("DELETE", "guard/default", "omar").json()["default"]["ending"] == ["omar"]
    assert site.ask("DELETE", "guard/default", "alice").json()["default"] is None
    assert site.ask("DELETE", "guard/default", "alice").status_code == 404
    said = [event.text for event in site.derms.events(LOCAL, 0, 100) if event.kind == "guard"]
    assert any("drill" in text for text in said)


class Silent:
    """A server of devices whose disk hangs until it is let go, and that is given up then."""

    troubles, counted = (), {}

    def __init__(self):
        self.asked, self.free = threading.Event(), threading.Event()

    def bearing(self, _lfdi):
        """Nobody's."""
        return

    def deny(self, *_, **__):
        """No answer."""
        self.asked.set()
        assert self.free.wait(30)
        raise TimeoutError("the server of devices does not answer")


def test_a_silent_server_of_devices_keeps_nobody_from_stopping_the_system(site, monkeypatch):
    """While a verb waits for its disk, modes are set and the switch is pressed; the verb ends as a 503."""
    silent, answers = Silent(), []
    monkeypatch.setattr(site.derms._loop, "server", silent)
    path = f"utility/denied/{'AB' * 20}"
    asking = threading.Thread(target=lambda: answers.append(site.ask("PUT", path, "omar")))
    asking.start()
    try:
        assert silent.asked.wait(30)
        assert site.derms.set_mode(LOCAL, "section/s2", mode="automatic").default is None
        assert site.derms.all_to_default(LOCAL, minutes=10).default is not None
        assert answers == []
    finally:
        silent.free.set()
        asking.join(30)
    assert answers[0].status_code == 503
    assert "does not answer" in answers[0].json()["detail"][0]["reason"]
    for who in ("omar", "alice"):
        site.ask("DELETE", "guard/default", who)


def test_wishes_in_waiting_are_counted(site):
    """A token cannot fill the waiting room: what waits counts with what is in force."""
    codes = [site.ask("POST", "proposals", "alice", json=WISH).status_code for _ in range(3)]
    assert codes == [200] * 3
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("gridflock.runtime._derms._MOST_OPEN", 3)
        assert site.ask("POST", "proposals", "alice", json=WISH).status_code == 422


@pytest.mark.parametrize(("p_kw", "hint"), [(60_000.0, "watts"), (80.0, "outside")])
def test_slips_of_unit_are_named(site, p_kw, hint):
    """A wish beyond nameplate says what it looks like."""
    refused = site.ask("POST", "proposals", "omar", json=WISH | {"p_kw": p_kw})
    assert refused.status_code == 422
    assert hint in refused.json()["detail"][0]["reason"]


def test_the_commands_say_what_the_guard_does(site, monkeypatch):
    """``gridflock guard`` asks the same routes, and the kill switch asks once more."""

    def ask(_, method, path, *, params=None, body=None):
        answer = site.ask(method, path.removeprefix("/api/"), "omar", params=params, json=body)
        assert answer.status_code == 200, answer.text
        return answer.json()

    monkeypatch.setattr(Remote, "ask", ask)
    run = CliRunner().invoke
    shown = run(commands, ["guard", "show"])
    assert "section/s3" in shown.output
    assert "all to default" in shown.output
    assert "advisory" in run(commands, ["guard", "mode", "section/s3", "advisory", "--why", "new"]).output
    assert run(commands, ["guard", "default"], input="n\n").exit_code == 1
    assert site.derms.guard(LOCAL).default is None
    pressed = run(commands, ["guard", "default", "--minutes", "5", "--why", "drill", "--yes"])
    assert "by omar: drill" in pressed.output
    assert "omar" in run(commands, ["guard", "end"]).output
    assert run(commands, ["guard", "show", "--json"]).output.startswith("{")
