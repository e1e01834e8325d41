"""REST over a real socket: who may, what is refused and how, and that a preview changes nothing."""

import json
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np
import pytest
import uvicorn

from gridflock.console import build
from gridflock.record import RecordFull, SqliteRecord
from gridflock.runtime import LOCAL, Derms, Role, Settings, Users, rehearse
from gridflock.sim import Scenario

KEYS = {
    "status": {
        "feeder", "title", "now", "speed", "tick", "mode", "head_kw", "head_kvar", "import_limit_kw",
        "peak_kw", "v_min_pu", "v_max_pu", "violations", "losses_kw", "resources", "online", "refused", "seq",
        "plan_made_at", "day", "served",
    },
    "feeder": {"name", "timezone", "buses", "branches", "sections"},
    "feeder/state": {"now", "v_pu", "loading", "taps", "violations"},
    "timeline": {"t", "actual_kw", "forecast", "plan", "limits"},
    "audit": {"ok", "entries", "head", "broken_seq", "reason"},
}  # fmt: skip
RESOURCE = {
    "id", "kind", "bus", "phases", "provider", "p_kw", "p_lo_kw", "p_hi_kw", "lo_source", "hi_source",
    "e_kwh", "ready", "ordered_kw",
}  # fmt: skip
GROUP = {
    "id", "title", "parents", "members", "online", "p_kw", "q_kvar", "p_lo_kw", "p_hi_kw", "lo_source",
    "hi_source", "e_kwh", "e_max_kwh",
}  # fmt: skip
EVENT = {"seq", "time", "kind", "text", "author", "group", "data"}
PROPOSAL = {
    "id", "group", "priority", "author", "why", "start", "until", "p_kw", "p_lo_kw", "p_hi_kw",
}  # fmt: skip
ANSWER = {
    "proposal", "dry_run", "seq", "target_kw", "given_kw", "shortfall_kw", "causes", "by_family", "members",
    "before", "after", "held", "waits", "expires", "default",
}  # fmt: skip
WISH = {"group": "type/battery_home", "p_kw": 5.0, "minutes": 30, "why": "rest story"}
HOMES = "type/battery_home"


class Site:
    """One running system, its server, and its people."""

    def __init__(self, derms, users, url, tokens):
        self.derms, self.users, self.url, self.tokens = derms, users, url, tokens

    def ask(self, method, path, who="operator", **more):
        """One request as somebody."""
        headers = {"Authorization": f"Bearer {self.tokens[who]}"} if who else {}
        if "content" in more:
            headers["Content-Type"] = "application/json"
        return httpx.request(method, f"{self.url}{path}", headers=headers, timeout=20, **more)

    def get(self, path, who="operator"):
        """The JSON of a GET that is answered."""
        answer = self.ask("GET", f"/api/{path}", who)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def propose(self, who="operator", *, dry_run=False, **changes):
        """A POST of the usual wish with some fields changed."""
        flag = {"dry_run": str(dry_run).lower()}
        return self.ask("POST", "/api/proposals", who, params=flag, json=WISH | changes)

    def tick(self):
        """The system lives a minute."""
        moment = self.derms.tick()
        self.derms.clock.sleep_until(moment.now_s + 60)
        return moment

    @property
    def last_seq(self):
        """The ledger's end."""
        return self.derms.verify(LOCAL).entries


@contextmanager
def _served(application):
    """A uvicorn server in a thread, on a port of its own."""
    with socket.socket() as door:
        door.bind(("127.0.0.1", 0))
        config = uvicorn.Config(application, log_level="critical", timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [door]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{door.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """120 DERs at 15:00, two minutes on, with a viewer, an operator and one of a section only."""
    folder = tmp_path_factory.mktemp("rest")
    derms, _ = rehearse(folder, Scenario(ders=120, seed=7), Settings(), join_s=15 * 3_600)
    users = Users(folder)
    tokens = {
        "viewer": users.add("vera", Role.VIEWER),
        "operator": users.add("omar", Role.OPERATOR),
        "local": users.add("lucy", Role.OPERATOR, frozenset({"section/s2"})),
    }
    with _served(build(derms, Users(folder))) as url:
        found = Site(derms, users, url, tokens)
        found.tick()
        found.tick()
        yield found
    derms.close()


def _resource(site, section, kind):
    """A resource of a kind in a section."""
    groups = site.derms._loop.system.groups
    both = set(groups.rows(section)) & set(groups.rows(f"type/{kind}"))
    return site.derms._loop.system.fleet.ids[min(both)]


# ---- reading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", KEYS)
def test_what_can_be_looked_at_has_its_keys(site, path):
    """Each view answers strict JSON with exactly the documented keys."""
    assert set(site.get(path)) == KEYS[path]


def test_lists_hold_what_they_say(site):
    """Groups, a group, resources and events carry their keys; a group's detail lies flat."""
    groups = site.get("groups")
    assert {"all", HOMES} <= {group["id"] for group in groups}
    assert all(set(group) == GROUP for group in groups)
    detail = site.get(f"groups/{HOMES}")
    assert set(detail) == GROUP | {"children", "forecast", "members_sample", "definition"}
    some = site.get(f"resources?group={HOMES}&limit=3")
    assert len(some) == 3
    assert all(set(resource) == RESOURCE and resource["kind"] == "battery_home" for resource in some)
    events = site.get("events?limit=5")
    assert events
    assert all(set(event) == EVENT for event in events)
    assert [e["seq"] for e in events] == sorted((e["seq"] for e in events), reverse=True)


@pytest.mark.parametrize("path", ["groups/nothing", "resources?group=nothing"])
def test_an_unknown_name_is_404_with_field_and_reason(site, path):
    """What does not exist is named."""
    answer = site.ask("GET", f"/api/{path}")
    assert answer.status_code == 404
    assert "nothing" in answer.json()["detail"][0]["reason"]


def test_every_refusal_has_one_shape(site):
    """Unknown routes, wrong methods and bad queries answer a list of field, rule and reason too."""
    answers = [
        site.ask("GET", "/api/nothing"),
        site.ask("PUT", "/api/status"),
        site.ask("GET", "/api/resources?limit=0"),
        site.ask("GET", "/api/events?after=x"),
        site.ask("GET", "/api/status", who=None),
    ]
    assert [answer.status_code for answer in answers] == [404, 405, 422, 422, 401]
    for answer in answers:
        assert all(set(fault) == {"field", "rule", "reason"} for fault in answer.json()["detail"])


# ---- who may -------------------------------------------------------------------------------------


def test_nobody_is_let_in_without_a_known_token(site):
    """No token, another scheme, an unknown token: 401 and the way to authenticate."""
    site.tokens["stranger"] = "gf_stranger"
    basic = httpx.get(f"{site.url}/api/status", headers={"Authorization": "Basic b21hcjp4"})
    for answer in (site.ask("GET", "/api/status", None), site.ask("GET", "/api/status", "stranger"), basic):
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == "Bearer"
    stream = site.ask("GET", "/api/stream", "stranger")
    assert stream.status_code == 401


def test_a_viewer_may_look_but_not_ask_and_the_refusal_is_recorded(site):
    """403 for a wish and for its preview; both are in the ledger under the viewer's name."""
    before = site.last_seq
    site.get("status", "viewer")
    for dry_run in (True, False):
        assert site.propose("viewer", dry_run=dry_run).status_code == 403
    found = site.get(f"events?after={before}", "viewer")
    assert [(e["kind"], e["author"], e["group"]) for e in found] == [("refusal", "vera", HOMES)] * 2
    assert not site.get("proposals")


def test_a_viewer_may_not_take_back(site):
    """Withdrawing needs the authority that proposing does."""
    name = site.propose().json()["proposal"]["id"]
    assert site.ask("DELETE", f"/api/proposals/{name}", "viewer").status_code == 403
    assert site.ask("DELETE", f"/api/proposals/{name}", "local").status_code == 403
    assert site.ask("DELETE", f"/api/proposals/{name}").status_code == 200


def test_authority_over_a_section_reaches_what_is_in_it_and_nothing_else(site):
    """The section, the groups below it and its resources may be asked; others, and all, may not."""
    inside = ["section/s2", "section/s2/a", "plan/storage/residential/s2"]
    inside.append(_resource(site, "section/s2", "pv_rooftop"))
    outside = ["section/s4", "plan/storage/residential/s4", "all", HOMES, "phase/a", "nothing", "demand"]
    outside.append(_resource(site, "section/s4", "pv_rooftop"))
    wish = {"p_kw": None, "p_hi_kw": 1_000.0, "dry_run": True}
    assert [site.propose("local", group=g, **wish).status_code for g in inside] == [200] * len(inside)
    assert [site.propose("local", group=g, **wish).status_code for g in outside] == [403] * len(outside)


def test_people_come_and_go_without_a_restart(site):
    """A new user is known at once; a new token ends the old one; a removed user is refused at once."""
    site.tokens["guest"] = site.users.add("guest", Role.VIEWER)
    site.get("status", "guest")
    old, site.tokens["guest"] = site.tokens["guest"], site.users.add("guest", Role.OPERATOR)
    assert site.propose("guest", dry_run=True).status_code == 200
    site.tokens["stale"] = old
    assert site.ask("GET", "/api/status", "stale").status_code == 401
    site.users.remove("guest")
    assert site.ask("GET", "/api/status", "guest").status_code == 401


# ---- what is refused -----------------------------------------------------------------------------

BAD = [
    ({"group": "nothing"}, "group"),
    ({"p_kw": None}, "p_kw"),
    ({"p_kw": 1e9}, "p_kw"),
    ({"p_kw": "much"}, "p_kw"),
    ({"p_kw": None, "p_lo_kw": 2.0, "p_hi_kw": 1.0}, "p_lo_kw"),
    ({"minutes": -5}, "minutes"),
    ({"minutes": 0}, "minutes"),
    ({"minutes": 0.5}, "minutes"),
    ({"minutes": 1e9}, "minutes"),
    ({"why": "x" * 501}, "why"),
    ({"why": "a\x1b[2Jb"}, "why"),
    ({"group": "x" * 201}, "group"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(("changes", "field"), BAD)
def test_a_faulty_wish_is_422_with_field_rule_and_reason(site, changes, field):
    """Each broken rule is named; nothing is recorded."""
    before = site.last_seq
    answer = site.propose(**changes)
    assert answer.status_code == 422
    detail = answer.json()["detail"]
    assert field in [fault["field"] for fault in detail]
    assert all(set(fault) == {"field", "rule", "reason"} and fault["reason"] for fault in detail)
    assert site.last_seq == before


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
@pytest.mark.parametrize("field", ["p_kw", "p_lo_kw", "p_hi_kw", "minutes"])
def test_what_is_no_finite_number_is_refused(site, number, field):
    """NaN and infinities in the body are 422 and name the field, never an error inside."""
    body = json.dumps(WISH | {field: 0}).replace(f'"{field}": 0', f'"{field}": {number}')
    answer = site.ask("POST", "/api/proposals", content=body)
    assert answer.status_code == 422
    assert field in [fault["field"] for fault in answer.json()["detail"]]


def test_all_faults_come_at_once(site):
    """Three broken rules are three faults."""
    faults = site.propose(group="nothing", minutes=-1, why="x" * 600).json()["detail"]
    assert {"group", "minutes", "why"} <= {fault["field"] for fault in faults}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 50_000, b"\xff\xfe", b'{"group": 1}'])
def test_a_body_that_is_no_wish_is_refused(site, body):
    """Not JSON, not an object, nested without end: refused with a reason and without our insides."""
    answer = site.ask("POST", "/api/proposals", content=body)
    assert answer.status_code in (400, 422)
    assert answer.json()["detail"]
    assert "Traceback" not in answer.text


# ---- bounds and leaks ----------------------------------------------------------------------------


def test_a_body_above_one_megabyte_is_refused(site):
    """By its length, and without a length: a chunked body is refused whatever its size."""
    large = json.dumps(WISH | {"why": "x" * 1_100_000})
    assert site.ask("POST", "/api/proposals", content=large).status_code == 413
    for head in (b"Transfer-Encoding: chunked", b"transfer-encoding: Chunked"):
        assert b" 413 " in _raw(site, head + b"\r\n", b"3\r\n{} \r\n0\r\n\r\n").split(b"\r\n")[0]


def _raw(site, head, body):
    """The first bytes that a hand-written request is answered with."""
    host, port = site.url.removeprefix("http://").split(":")
    start = b"POST /api/proposals HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
    with socket.create_connection((host, int(port)), 5) as line:
        line.sendall(start + head + b"\r\n" + body)
        return line.recv(4_096)


def test_every_answer_carries_the_security_headers(site):
    """Answers, refusals, pages and the docs alike: no foreign content, no sniffing, no framing."""
    answers = [
        site.ask("GET", "/api/status"),
        site.ask("GET", "/api/status", None),
        site.ask("GET", "/"),
        site.ask("GET", "/docs"),
        site.ask("POST", "/api/proposals", content=b"x" * 1_100_000),
    ]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"


def test_the_api_page_needs_no_other_host(site):
    """/docs names no external address, and all it refers to is served here."""
    page = httpx.get(f"{site.url}/docs").text
    assert "http://" not in page
    assert "https://" not in page
    parts = [part.split('"')[0] for part in page.replace("'", '"').split('"') if part.startswith("/static")]
    assert len(parts) >= 2
    assert {httpx.get(site.url + part).status_code for part in parts} == {200}


def test_an_error_inside_tells_nothing_of_itself(site, monkeypatch):
    """An exception in a verb is 500 in the usual shape: no trace, no message of ours."""

    def fails(*_):
        raise ZeroDivisionError("secret of the house")

    monkeypatch.setattr(Derms, "timeline", fails)
    answer = site.ask("GET", "/api/timeline")
    assert answer.status_code == 500
    assert answer.json()["detail"][0]["field"] == "server"
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text


def test_a_full_disk_refuses_a_wish_and_changes_nothing(site, monkeypatch):
    """What cannot be recorded is not done: 503, no proposal, no path of ours in the answer."""

    def full(*_):
        raise RecordFull("/secret/place: no space")

    with monkeypatch.context() as patch:
        patch.setattr(SqliteRecord, "append", full)
        answer = site.propose()
    assert answer.status_code == 503
    assert "secret" not in answer.text
    assert not site.get("proposals")


# ---- a wish's life -------------------------------------------------------------------------------


def test_a_preview_records_and_sends_nothing(site):
    """The answer is whole; the ledger's end, the open wishes and the devices' orders are as before."""
    before = site.last_seq, site.derms.moment, site.derms._loop.response
    answer = site.propose(dry_run=True)
    assert answer.status_code == 200
    assert set(answer.json()) == ANSWER
    assert answer.json()["seq"] == 0
    assert (site.last_seq, site.derms.moment, site.derms._loop.response) == before
    assert not site.get("proposals")


def test_a_wish_is_recorded_first_then_obeyed_then_taken_back(site):
    """Its ledger place precedes that of the tick which obeys; events and lists tell it; undo ends it."""
    answer = site.propose(p_kw=4.0).json()
    assert set(answer) == ANSWER
    assert not answer["dry_run"]
    name, seq = answer["proposal"]["id"], answer["seq"]
    assert seq == site.last_seq
    event = site.get(f"events?after={seq - 1}")[0]
    assert (event["kind"], event["author"], event["data"]["id"]) == ("proposal", "omar", name)
    listed = site.get("proposals")
    assert [wish["id"] for wish in listed] == [name]
    assert set(listed[0]) == PROPOSAL
    moment = site.tick()
    assert moment.seq > seq
    assert name in [grant.proposal.id for grant in moment.decision.grants]
    assert site.ask("DELETE", f"/api/proposals/{name}").status_code == 200
    assert not site.get("proposals")
    assert site.get("events?limit=1")[0]["kind"] == "withdrawal"
    assert name not in [grant.proposal.id for grant in site.tick().decision.grants]
    assert site.ask("DELETE", f"/api/proposals/{name}").status_code == 404


def test_the_preview_says_what_the_wish_says(site):
    """Dry run and real thing at the same moment differ in identity alone."""
    preview, answer = site.propose(dry_run=True).json(), site.propose().json()
    site.ask("DELETE", f"/api/proposals/{answer['proposal']['id']}")
    for one in (preview, answer):
        one["proposal"].pop("id")
        one.pop("seq")
        one.pop("dry_run")
    assert preview == answer


def test_a_resource_can_be_asked_like_a_group(site):
    """A resource id is a group of one."""
    battery = _resource(site, "section/s4", "battery_home")
    answer = site.propose(group=battery, p_kw=0.0, dry_run=True)
    assert answer.status_code == 200, answer.text
    assert {member["id"] for member in answer.json()["members"]} <= {battery}


def test_previews_and_ticks_do_not_disturb_each_other(site):
    """Threads preview while the system ticks: every answer is whole and the chain stands."""
    codes = []

    def previews():
        codes.extend(site.propose(dry_run=True).status_code for _ in range(5))

    threads = [threading.Thread(target=previews) for _ in range(4)]
    for thread in threads:
        thread.start()
    ticks = [site.tick().tick for _ in range(5)]
    for thread in threads:
        thread.join()
    assert codes == [200] * 20
    assert np.diff(ticks).tolist() == [1] * 4
    assert site.get("audit")["ok"]


# ---- the live stream -----------------------------------------------------------------------------


def test_the_stream_gives_a_line_per_tick_and_ends_with_its_user(site):
    """Status, voltages, loadings and new events as one JSON object per tick; none for who is removed."""
    site.tokens["watcher"] = site.users.add("watcher", Role.VIEWER)
    headers = {"Authorization": f"Bearer {site.tokens['watcher']}"}
    with httpx.stream("GET", f"{site.url}/api/stream", headers=headers, timeout=20) as answer:
        lines = (json.loads(line) for line in answer.iter_lines() if line)
        first = next(lines)
        assert set(first) == {"type", "status", "v_pu", "loading", "events", "delivery"}
        assert first["status"]["tick"] == site.derms.moment.tick
        name = site.propose().json()["proposal"]["id"]
        site.tick()
        second = next(lines)
        assert second["status"]["tick"] == first["status"]["tick"] + 1
        assert name in [event["data"].get("id") for event in second["events"]]
        site.ask("DELETE", f"/api/proposals/{name}")
        site.users.remove("watcher")
        site.tick()
        assert list(lines) == []


def test_a_dozen_listeners_all_hear_each_tick(site):
    """Listeners do not wait for each other's threads."""
    heard = []

    def listen():
        headers = {"Authorization": f"Bearer {site.tokens['viewer']}"}
        with httpx.stream("GET", f"{site.url}/api/stream", headers=headers, timeout=60) as answer:
            lines = (json.loads(line)["status"]["tick"] for line in answer.iter_lines() if line)
            heard.append((next(lines), next(lines)))

    threads = [threading.Thread(target=listen) for _ in range(12)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        site.tick()
        time.sleep(0.3)
    assert len(heard) == 12
    assert all(first < second for first, second in heard)
