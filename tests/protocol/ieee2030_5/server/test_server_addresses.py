"""Addresses, methods, pages, rates and errors: what holds for every resource."""

import json

import pytest

from gridflock.field.ieee2030_5.resources import (
    EndDeviceList,
    Error,
    MirrorUsagePoint,
    MirrorUsagePointList,
    Profile,
    ReasonCode,
    Time,
)
from gridflock.field.ieee2030_5.server import By, Policy
from gridflock.field.ieee2030_5.server._discovery import local_time
from gridflock.field.ieee2030_5.server._rates import PATHS, quota, set_poll_rate, set_post_rate
from gridflock.field.ieee2030_5.wire import read

BY = By("operator", "a test")


def _reason(answer):
    return read(answer.body, Error, Profile.SEP2018).reason_code


def test_the_schemas_judge_every_answer(shared, schemas):
    """With the schemas at hand every body of these tests is valid; without them this test says so."""
    assert shared.is_dir()
    assert schemas


@pytest.mark.parametrize("path", ["/", "", "/nothing", "/edev/1/nothing", "/edev/1/rg/1", "/edev//rg", "*"])
def test_unknown_addresses_are_404(utility, path):
    """What is not there is not there, with an error that the schema admits."""
    client = utility.enrol(1, pin=111115)
    answer = client.get(path)
    assert answer.status == 404
    assert _reason(answer) == ReasonCode.VALUES


@pytest.mark.parametrize("number", ["0", "-1", "x", "1.0", "²", "99999999999999999999", "2"])
def test_numbers_that_name_nothing_are_404(utility, number):
    """An address with another number than one of the caller's devices has leads nowhere."""
    assert utility.enrol(1, pin=111115).get(f"/edev/{number}/rg").status == 404


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("POST", "/dcap", "GET, HEAD"),
        ("PUT", "/tm", "GET, HEAD"),
        ("DELETE", "/edev", "GET, HEAD, POST"),
        ("POST", "/edev/1", "DELETE, GET, HEAD, PUT"),
        ("DELETE", "/edev/1/rg", "GET, HEAD"),
        ("POST", "/edev/1/der/1/ders", "GET, HEAD, PUT"),
        ("PUT", "/mup", "GET, HEAD, POST"),
    ],
)
def test_a_wrong_method_is_405_and_says_which_are_right(utility, method, path, allow):
    """Beside a 405 stand the methods that are allowed."""
    answer = utility.enrol(1, pin=111115).ask(method, path)
    assert (answer.status, answer.allow) == (405, allow)


def test_head_is_get_without_its_body(utility):
    """HEAD is answered as GET is; the listener leaves the body out."""
    client = utility.enrol(1, pin=111115)
    for path in ("/dcap", "/tm", "/edev", "/edev/1", "/edev/1/rg", "/edev/1/nothing"):
        assert client.ask("HEAD", path) == client.get(path)


@pytest.mark.parametrize(
    "body", [b"", b"<", b"<EndDevice/>", b'<EndDevice xmlns="http://ieee.org/2030.5"/>', b"<!DOCTYPE x>"]
)
def test_bodies_that_are_no_resource_are_400(make, body):
    """Nothing, no XML, no namespace, the namespace of a draft, a document type: 400, nothing stored."""
    utility = make(in_band_devices=True)
    answer = utility.stranger(1).post("/edev", body)
    assert answer.status == 400
    assert _reason(answer) in {ReasonCode.FORMAT, ReasonCode.VALUES}
    assert utility.journal == []


def test_clients_of_a_draft_are_named_in_the_log(utility, caplog):
    """A client that speaks an edition before 2018 is refused, and the log says why in one line."""
    client = utility.enrol(1)
    with caplog.at_level("INFO"):
        answer = client.post("/edev", b'<EndDevice xmlns="http://ieee.org/2030.5"/>')
    assert answer.status == 400
    (line,) = [each.getMessage() for each in caplog.records]
    assert client.lfdi in line
    assert "draft" in line


def test_the_wrong_resource_is_400(utility):
    """A resource that is good elsewhere is not taken here."""
    client = utility.enrol(1)
    assert client.post("/mup", client.end_device()).status == 400


def test_refusals_are_counted_by_address(utility):
    """What was refused is counted, by known addresses only, so that nobody fills the count."""
    client = utility.enrol(1)
    for k in range(50):
        client.get(f"/nowhere{k}")
        client.get(f"/edev/{k + 2}")
    assert utility.server.refusals == {(404, ""): 50, (404, "edev"): 50}


# ---- pages -------------------------------------------------------------------------------------------


@pytest.fixture
def many(utility):
    """An aggregator with itself and 25 sites, the last one changed an hour after the others."""
    client = utility.enrol(1, aggregator=True)
    for k in range(24):
        client.post("/edev", client.end_device(utility.stranger(f"s{k}").lfdi))
    utility.now_s += 3_600
    client.post("/edev", client.end_device(utility.stranger("late").lfdi))
    return client


def test_a_page_is_one_item_unless_asked_otherwise(many):
    """Without a query the first item, and the count of all."""
    page = many.get("/edev", EndDeviceList)
    assert (page.all, page.results, len(page.end_device)) == (26, 1, 1)


def test_pages_add_up_to_the_list(many):
    """Pages of any size, one after the other, are the whole list once and in order."""
    whole = many.get("/edev", EndDeviceList, l=100).end_device
    for size in (1, 7, 25, 26, 40):
        pages = [many.get("/edev", EndDeviceList, s=start, l=size) for start in range(0, 26, size)]
        assert sum((page.end_device for page in pages), ()) == whole
        assert {page.all for page in pages} == {26}


def test_pages_at_the_edges(many):
    """No item at all, and a start beyond the end, are pages without items."""
    for query in ({"l": 0}, {"s": 26, "l": 5}, {"s": 10**15, "l": 5}):
        page = many.get("/edev", EndDeviceList, **query)
        assert (page.all, page.results, page.end_device) == (26, 0, ())


def test_a_page_holds_what_is_later(many, utility):
    """With ``a`` only what is later than it is there and is counted."""
    page = many.get("/edev", EndDeviceList, a=utility.now_s - 60, l=9)
    assert (page.all, page.results) == (1, 1)


def test_pages_are_cut_to_the_policys_size(make):
    """Whoever asks for more items than the policy gives is given as many as it does."""
    utility = make(most_page=3)
    client = utility.enrol(1, aggregator=True)
    for k in range(9):
        client.post("/edev", client.end_device(utility.stranger(f"s{k}").lfdi))
    assert client.get("/edev", EndDeviceList, l=10**6).results == 3


@pytest.mark.parametrize(
    "query", [{"s": "x"}, {"l": "-1"}, {"a": "1e3"}, {"s": "٣"}, {"l": "1" * 30}, {"s": ""}]
)
def test_a_query_is_whole_numbers(many, query):
    """Anything else in a query is 400."""
    assert many.get("/edev", **query).status == 400


def test_other_words_in_a_query_are_ignored(many):
    """What a query says beside its three words changes nothing."""
    assert many.get("/edev", x="y") == many.get("/edev")


# ---- time and versions -------------------------------------------------------------------------------


def test_time_goes_on(utility):
    """The clock shows the server's time, at every second anew."""
    client = utility.enrol(1)
    for _ in range(3):
        assert client.get("/tm", Time).current_time == utility.now_s
        utility.now_s += 1


@pytest.mark.parametrize(
    ("zone", "now_s", "expected"),
    [
        ("UTC", 1_700_000_000, (0, 0, 0, 0)),
        ("Europe/Berlin", 1_720_000_000, (3_600, 3_600, 1_711_846_800, 1_729_990_800)),
        ("Europe/Berlin", 1_736_000_000, (3_600, 3_600, 1_743_296_400, 1_761_440_400)),
        ("Australia/Sydney", 1_736_000_000, (36_000, 3_600, 1_728_144_000, 1_743_868_800)),
        ("Australia/Brisbane", 1_736_000_000, (36_000, 0, 0, 0)),
    ],
)
def test_time_tells_the_zone_and_its_summer(zone, now_s, expected):
    """Offset, saving, and the turns of the clocks that surround the moment or come next, from the tables."""
    assert local_time(zone, now_s // 3_600) == expected


def test_a_policy_nobody_can_go_by_is_named():
    """Every field that cannot be gone by is rejected by name; the policy as it comes is good."""
    assert Policy(pen=37250, zone="Europe/Berlin").faults() == ()
    wrong = Policy(pen=-1, pin=5, zone="Nowhere/At all", connection_point="(", poll_s=0, most_page=0)
    assert {each.field for each in wrong.faults()} == {
        *("pen", "pin", "zone", "connection_point", "poll_s", "most_page"),
    }


def test_local_time_follows_the_zone(make):
    """In summer the local time is ahead by both offsets."""
    utility = make(zone="Europe/Berlin", now_s=1_720_000_000)
    shown = utility.enrol(1).get("/tm", Time)
    assert shown.local_time - shown.current_time == shown.tz_offset + shown.dst_offset == 7_200


def test_spoken_versions_are_told(utility):
    """From namespaces to entry points, as JSON."""
    told = utility.enrol(1).get("/.well-known/csipaus")
    spoken = json.loads(told.body)
    assert told.media_type == "application/json"
    assert spoken == {
        "https://csipaus.org/ns": ["/dcap"],
        "https://csipaus.org/ns/v1.3": ["/dcap"],
    }


# ---- rates -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [kind for kind, path in PATHS.items() if path and "f" not in path])
def test_poll_rates_are_sent_and_change_at_once(utility, kind):
    """Every list and page says its rate, the new one as soon as an operator has changed it."""
    client = utility.enrol(1, pin=111115)
    path = PATHS[kind].format(1)
    assert b'pollRate="300"' in client.get(path).body
    assert utility.act(set_poll_rate, kind, 60, BY) is None
    assert b'pollRate="60"' in client.get(path).body


def test_one_clients_rate_is_its_own(utility):
    """A capability test may speed up one client alone."""
    one, two = utility.enrol(1), utility.enrol(2)
    utility.act(set_poll_rate, "EndDeviceList", 60, BY, one.lfdi)
    assert [each.get("/edev", EndDeviceList).poll_rate for each in (one, two)] == [60, 300]
    utility.act(set_poll_rate, "EndDeviceList", 900, BY)
    assert [each.get("/edev", EndDeviceList).poll_rate for each in (one, two)] == [60, 900]


def test_post_rates_reach_devices_and_usage_points_at_once(utility):
    """One command changes what devices, usage points and their list say; a site may have its own rate."""
    client = utility.enrol(1, aggregator=True)
    site = utility.stranger(2).lfdi
    place = client.post("/edev", client.end_device(site)).location
    point = MirrorUsagePoint(mrid="A" * 32, role_flags=3, service_category_kind=0, status=1, device_lfdi=site)
    client.post("/mup", point)

    def said():
        devices = {each.lfdi: each.post_rate for each in client.get("/edev", EndDeviceList, l=9).end_device}
        points = client.get("/mup", MirrorUsagePointList, l=9)
        single = client.get("/mup/1", MirrorUsagePoint).post_rate
        assert single == points.mirror_usage_point[0].post_rate
        return devices[client.lfdi], devices[site], points.poll_rate, single

    assert said() == (300, 300, 300, 300)
    utility.act(set_post_rate, 60, BY)
    assert said() == (60, 60, 60, 60)
    utility.act(set_post_rate, 3_600, BY, client.lfdi)
    assert said() == (3_600, 3_600, 3_600, 3_600)
    utility.act(set_post_rate, 300, BY, site)
    assert said() == (3_600, 300, 3_600, 300)
    assert client.get(place).status == 200


def test_rates_are_judged(utility):
    """Rates nobody could follow, kinds without a rate and unknown clients are rejected by name."""
    wrong = [
        utility.act(set_poll_rate, "EndDeviceList", 0, BY),
        utility.act(set_poll_rate, "DERControlList", 60, BY),
        utility.act(set_poll_rate, "Time", 60, BY, "AB" * 20),
        utility.act(set_post_rate, 100_000, BY),
    ]
    assert [each.field for each in wrong] == ["seconds", "kind", "lfdi", "seconds"]


def test_what_a_client_may_ask_follows_its_rates(make):
    """A client may ask what its own rates make it ask, for each of its devices, with headroom."""
    utility = make(headroom=2.0)
    client = utility.enrol(1, aggregator=True)

    def allowed():
        return quota(utility.server.state, utility.server.policy, client.lfdi)

    assert allowed() == (2 * 16 / 300, 32)
    utility.act(set_post_rate, 60, BY)
    assert allowed() == (2 * 16 / 60, 32)
    client.post("/edev", client.end_device(utility.stranger(2).lfdi))
    assert allowed() == (2 * 2 * 16 / 60, 64)


# ---- contact -----------------------------------------------------------------------------------------


def test_silence_of_three_periods_raises_an_alarm(utility):
    """Nothing heard for three poll periods: one alarm; heard again: one more, and the state says so."""
    client = utility.enrol(1)
    utility.wait(10_000)
    assert utility.alarms == []
    client.get("/tm")
    last = utility.now_s
    utility.wait(899)
    assert utility.alarms == []
    utility.wait(1)
    assert [(each.lfdi, each.what, each.since_s) for each in utility.alarms] == [(client.lfdi, "lost", last)]
    assert utility.server.state.registry.lost == {1: last}
    utility.wait(5_000)
    client.get("/tm")
    utility.wait(1)
    assert [each.what for each in utility.alarms] == ["lost", "back"]
    assert utility.server.state.registry.lost == {}


def test_the_period_is_the_one_the_client_was_given(utility):
    """A client that is to poll every minute is missed after three."""
    client = utility.enrol(1)
    utility.act(set_poll_rate, "DERProgramList", 60, BY)
    client.get("/tm")
    utility.wait(180)
    assert [each.what for each in utility.alarms] == ["lost"]


def test_sites_are_missed_one_by_one(utility):
    """An aggregator that goes on while nothing comes of one of its sites: that site alone is missed."""
    client = utility.enrol(1, aggregator=True)
    sites = [utility.stranger(k).lfdi for k in (2, 3)]
    places = [client.post("/edev", client.end_device(site)).location for site in sites]
    for _ in range(12):
        utility.wait(100)
        client.get(places[0])
    assert [(each.lfdi, each.what) for each in utility.alarms] == [(sites[1], "lost")]


def test_after_a_restart_everybody_has_a_full_period(make):
    """A restarted server does not take its own absence for its clients'."""
    from gridflock.field.ieee2030_5.server import UtilityServer

    utility = make()
    client = utility.enrol(1)
    client.get("/tm")
    utility.now_s += 5_000
    utility.server = UtilityServer(utility.server.policy, utility.relived(), utility.now_s)
    utility.wait(899)
    assert utility.alarms == []
    utility.wait(1)
    assert [each.what for each in utility.alarms] == ["lost"]
