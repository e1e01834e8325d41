"""A device's client against a server of a few pages: what it asks, obeys, answers and reports, and when."""

import asyncio
from dataclasses import replace

import pytest
from client_world import CONTROL, POSTED, T0, WHO, Pages, Roof, lived, statuses

from gridflock.field.ieee2030_5.device import Client, Reply, State
from gridflock.field.ieee2030_5.events import span_of
from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    DERControlBase,
    DERControlList,
    DERProgram,
    EndDeviceList,
    EventState,
    Link,
    ListLink,
    MirrorUsagePointList,
    Profile,
    Registration,
    ResponseStatus,
)
from gridflock.field.ieee2030_5.wire import read


@pytest.fixture
def server():
    """A server that lists the device."""
    return Pages()


def test_a_control_is_received_started_completed_and_the_default_holds_around_it(server):
    """100 %, then 25 % from its start to its end to the second, then 100 %; each response once, in order."""
    roof = Roof()
    lived(Client(server, WHO, plant=roof), server, 3_600)
    changes = [roof.limits[0]]
    for moment in roof.limits:
        changes += [moment] if moment[1] != changes[-1][1] else []
    assert changes == [(T0, 10_000), (T0 + 600, 2_500), (T0 + 1_500, 10_000)]
    assert statuses(server) == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "COMPLETED")]
    assert {told.end_device_lfdi for told in server.sent_to("/rsp")} == {WHO.lfdi}


def test_everything_goes_by_the_servers_clock():
    """A device whose clock is two minutes behind starts when the server's clock says so."""
    server, roof = Pages(ahead_s=120), Roof()
    lived(Client(server, WHO, plant=roof), server, 1_000)
    assert next(now_s for now_s, limit in roof.limits if limit == 2_500) == T0 + 600
    assert next(s for s in server.sent_to("/rsp") if s.status == 2).created_date_time == T0 + 600


@pytest.mark.parametrize(("limit", "lasts_s"), [(2_500, 2_400), (5_000, 1_500)])
def test_what_follows_and_asks_the_same_is_known_to_the_plant_as_one(server, limit, lasts_s):
    """A plant has no end where nothing changes for it, and a response of each control has its own moment."""

    class Until(Roof):
        def obey(self, standing, now_s):
            ends.add((standing.base.op_mod_max_lim_w, standing.until_s))
            return super().obey(standing, now_s)

    ends = set()
    base, after = DERControlBase(op_mod_max_lim_w=limit), DateTimeInterval(start=T0 + 1_500, duration=900)
    server.offer(CONTROL, replace(CONTROL, mrid="1C", interval=after, der_control_base=base))
    lived(Client(server, WHO, plant=Until()), server, 3_000)
    assert {until_s for asked, until_s in ends if asked == 2_500} == {T0 + lasts_s}
    at = {(each.subject, each.status): each.created_date_time for each in server.sent_to("/rsp")}
    assert (at["0C", ResponseStatus.COMPLETED], at["1C", ResponseStatus.STARTED]) == (T0 + 1_500, T0 + 1_500)
    assert at["1C", ResponseStatus.COMPLETED] == T0 + 2_400


def test_without_contact_a_control_ends_and_the_default_follows(server):
    """Cut off in mid-control: 25 % to its end, 100 % after it; what was owed is sent when contact is back."""
    roof = Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 700)
    server.reached = False
    lived(client, server, 2_000)
    limits = dict(roof.limits)
    assert limits[T0 + 1_500] == 10_000
    assert all(limit == 2_500 for now_s, limit in limits.items() if T0 + 600 <= now_s < T0 + 1_500)
    assert client.sites[WHO.lfdi].missed > 0
    assert client.sites[WHO.lfdi].reports.kept > 10
    server.reached = True
    lived(client, server, 400)
    assert statuses(server)[-1] == ("0C", "COMPLETED")
    assert client.sites[WHO.lfdi].reports.kept == 0
    told = [r for each in server.sent_to("/mup/1") for r in getattr(each, "mirror_meter_reading", (each,))]
    starts = [each.reading.time_period.start for each in told]
    assert starts == sorted(set(starts))


def test_a_cancelled_control_ends_at_once_and_says_so(server):
    """Seen as cancelled at the next poll, it holds no longer; CANCELLED is said once."""
    roof = Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 700)
    over = replace(CONTROL.event_status, current_status=EventState.CANCELLED, date_time=T0 + 650)
    server.offer(replace(CONTROL, event_status=over))
    lived(client, server, 400)
    assert roof.limits[-1][1] == 10_000
    assert statuses(server) == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "CANCELLED")]


def test_a_control_that_came_too_late_or_that_it_cannot_do_is_rejected(server):
    """Over before it was seen: 254; of modes the device has not: 252. Neither is started."""
    late = replace(CONTROL, mrid="01", interval=DateTimeInterval(start=T0 - 900, duration=600))
    strange = replace(CONTROL, mrid="02", der_control_base=DERControlBase(op_mod_connect=False))
    server.offer(late, strange)
    roof = Roof()
    roof.obey = lambda *_: frozenset({"op_mod_connect"})
    lived(Client(server, WHO, plant=roof), server, 900)
    said = statuses(server)
    assert set(said) == {
        ("01", "RECEIVED"), ("01", "REJECTED_LATE"), ("02", "RECEIVED"), ("02", "REJECTED_NOT_APPLICABLE"),
    }  # fmt: skip
    assert len(said) == 4


def test_what_is_for_other_kinds_of_devices_is_not_answered(server):
    """A control of a category that the device is not of is none of its business."""
    server.offer(replace(CONTROL, device_category=4))
    lived(Client(server, replace(WHO, category=1), plant=Roof()), server, 1_800)
    assert statuses(server) == []


def test_what_gave_way_to_its_end_is_not_called_late(server):
    """Overtaken from its start to its end by a weightier program: superseded, and nothing after it."""
    weighty = DERProgram(mrid="0B", primacy=1, der_control_list_link=ListLink(href="/derc2", all=1))
    known = server.pages["/derp"]
    server.pages["/derp"] = replace(known, all=2, results=2, der_program=(weighty, *known.der_program))
    longer = replace(CONTROL, mrid="02", interval=DateTimeInterval(start=T0 + 500, duration=1_500))
    server.pages["/derc2"] = DERControlList(all=1, results=1, der_control=(longer,))
    lived(Client(server, WHO, plant=Roof()), server, 2_400)
    said = statuses(server)
    assert [status for subject, status in said if subject == "0C"] == ["RECEIVED", "SUPERSEDED"]
    assert ("02", "COMPLETED") in said


def test_what_is_superseded_is_done_until_the_device_begins_the_newer_one(server):
    """The newer one begins by chance: 25 % up to then, 10 % from then on; superseded is said then."""
    newer = replace(
        CONTROL, mrid="02", creation_time=T0 + 1, randomize_start=600,
        interval=DateTimeInterval(start=T0 + 700, duration=900),
        der_control_base=DERControlBase(op_mod_max_lim_w=1_000),
    )  # fmt: skip
    at = replace(CONTROL.event_status, current_status=EventState.SUPERSEDED, date_time=T0 + 700)
    roof, begins_s = Roof(), span_of(newer, WHO.lfdi).start_s
    assert T0 + 800 < begins_s < T0 + 1_300
    server.offer(replace(CONTROL, event_status=at), newer)
    lived(Client(server, WHO, plant=roof), server, 1_400)
    limits = {limit for now_s, limit in roof.limits if T0 + 600 <= now_s < begins_s}
    assert limits == {2_500}
    assert {limit for now_s, limit in roof.limits if begins_s <= now_s} == {1_000}
    said = {(told.subject, told.status): told.created_date_time for told in server.sent_to("/rsp")}
    assert said["0C", ResponseStatus.SUPERSEDED] == said["02", ResponseStatus.STARTED] == begins_s


def test_what_is_listed_no_more_was_not_completed(server):
    """Taken away half-way: the default holds from the next poll on, and 13 is said, not completed."""
    roof = Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 700)
    server.offer()
    lived(client, server, 1_200)
    assert roof.limits[-1][1] == 10_000
    assert statuses(server) == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "ABORTED_BY_SERVER")]


def test_what_is_refused_for_good_holds_up_nothing_else(server):
    """Settings and every second reading are refused with 400: counted, not sent again, the others arrive."""
    ask, odd = server.ask, [0]

    async def refusing(method, path, body=b""):
        if path == "/mup/1":
            posted = read(body, POSTED, Profile.SEP2018)
            many = getattr(posted, "mirror_meter_reading", (posted,))
            if any(each.reading.time_period.start // 60 % 2 for each in many):
                odd[0] += 1
                return Reply(400)
        return Reply(400) if path == "/derg" else await ask(method, path, body)

    server.ask = refusing
    client = Client(server, WHO, plant=Roof())
    lived(client, server, 300)
    server.reached = False
    lived(client, server, 300)
    server.reached = True
    lived(client, server, 600)
    site = client.sites[WHO.lfdi]
    assert (site.trouble, site.reports.kept) == ("", 0)
    assert 5 < site.reports.dropped <= odd[0] + 1
    assert len(server.sent_to("/mup/1")) > 5
    assert statuses(server)[-1] == ("0C", "STARTED")


def test_a_plant_that_fails_is_its_own_trouble(server):
    """Of two sites one raises at everything: it says so, and the other obeys and reports as ever."""

    class _Broken(Roof):
        def obey(self, _standing, _now_s):
            raise ZeroDivisionError("no meter")

        def readings(self, _now_s):
            raise KeyError("series")

    good = Roof()
    client = Client(server, WHO, plant=good)
    bad = client.add(replace(WHO, lfdi="AB" * 20, pin=None), _Broken())
    listed = server.pages["/edev"].end_device[0]
    both = (replace(listed, lfdi="AB" * 20, href="/edev/2"), listed)
    server.pages["/edev"] = EndDeviceList(all=2, results=2, poll_rate=300, end_device=both)
    lived(client, server, 700)
    assert bad.trouble.startswith(("ZeroDivisionError", "KeyError"))
    assert client.sites[WHO.lfdi].trouble == ""
    assert good.limits[-1][1] == 2_500
    assert len(server.sent_to("/mup/1")) >= 10


def test_a_wrong_pin_stops_the_device_visibly(server):
    """It does not follow a server that does not know its PIN, and says why."""
    server.pages["/rg"] = Registration(date_time_registered=T0, pin=123_455)
    roof = Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 900)
    assert client.sites[WHO.lfdi].state is State.WRONG_PIN
    assert roof.limits == []
    assert server.got == []


def test_who_is_not_listed_registers_or_waits(server):
    """With registration by the device it posts itself once; without, it asks again until it is listed."""
    server.list_device(listed=False)
    patient = Client(server, replace(WHO, pin=None), plant=Roof(), register=False)
    lived(patient, server, 900)
    assert patient.sites[WHO.lfdi].state is State.UNKNOWN
    eager = Client(server, WHO, plant=Roof())
    lived(eager, server, 900)
    assert eager.sites[WHO.lfdi].state is State.REGISTERED
    assert [told.lfdi for told in server.sent_to("/edev")] == [WHO.lfdi]


def test_where_nobody_is_known_yet_the_list_is_asked_for_as_often_as_the_first_page(server):
    """A list that is not there (404) states no rate: who registers looks again at that of the entry."""
    server.pages["/dcap"] = replace(server.pages["/dcap"], poll_rate=120)
    del server.pages["/edev"]
    client = Client(server, WHO, plant=Roof())
    lived(client, server, 130)
    assert client.sites[WHO.lfdi].state is State.REGISTERED
    assert server.asked.count(("GET", "/edev")) == 2


def test_it_asks_and_reports_as_often_as_it_is_told(server):
    """Programs every 300 s, readings and status every 60 s, settings only once, over two hours."""
    lived(Client(server, WHO, plant=Roof()), server, 7_200)
    polls = server.asked.count(("GET", "/derc"))
    assert 24 <= polls <= 26
    assert 119 <= len(server.sent_to("/mup/1")) <= 122
    assert 119 <= len(server.sent_to("/ders")) <= 122
    assert len(server.sent_to("/derg")) == len(server.sent_to("/dercap")) == 1
    assert server.asked.count(("POST", "/mup")) == 1


def test_before_anything_was_heard_nothing_is_changed(server):
    """Of a server that was never reached, or not to the end, no plant is told that nothing stands."""
    roof = Roof()
    client = Client(server, WHO, plant=roof)
    server.reached = False
    lived(client, server, 600)
    assert roof.limits == []
    server.reached = True
    programs = server.pages.pop("/derp")
    lived(client, server, 300)
    assert roof.limits == []
    server.pages["/derp"] = replace(programs, all=0, results=0, der_program=())
    lived(client, server, 600)
    assert {limit for _, limit in roof.limits} == {None}


@pytest.mark.parametrize("location", ["", "https://utility.example/edev/1", "edev/1", "https://[::1/"])
def test_a_location_of_any_kind_stops_nobody(server, location):
    """Whatever a server says of where a device was made, the client finds it in the list and goes on."""
    server.list_device(listed=False)
    ask = server.ask

    async def odd(method, path, body=b""):
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is no path")
        reply = await ask(method, path, body)
        return replace(reply, location=location) if method == "POST" and path == "/edev" else reply

    server.ask = odd
    client = Client(server, WHO, plant=Roof())
    lived(client, server, 60)
    assert client.sites[WHO.lfdi].state is State.REGISTERED
    assert (client.trouble, client.sites[WHO.lfdi].trouble) == ("", "")
    assert len(server.sent_to("/edev")) == 1
    assert len(server.sent_to("/mup/1")) > 0


def test_a_meter_that_is_made_without_a_word_of_where_is_found(server):
    """Its place is read from the list, and the readings arrive."""
    ask = server.ask

    async def silent(method, path, body=b""):
        reply = await ask(method, path, body)
        if method == "POST" and path == "/mup":
            made = replace(server.sent_to("/mup")[-1], href="/mup/1")
            server.pages["/mup"] = MirrorUsagePointList(all=1, results=1, mirror_usage_point=(made,))
            return replace(reply, location="")
        return reply

    server.ask = silent
    lived(Client(server, WHO, plant=Roof()), server, 300)
    assert len(server.sent_to("/mup/1")) >= 4


def test_what_nobody_foresaw_is_trouble_and_not_the_end(server, caplog):
    """A line that breaks in its own way: told, and the next visit goes on."""
    ask = server.ask

    async def broken(*_):
        raise RuntimeError("event loop")

    server.ask = broken
    client = Client(server, WHO, plant=Roof())
    lived(client, server, 20)
    assert client.trouble == "event loop"
    assert "unforeseen" in caplog.text
    server.ask = ask
    lived(client, server, 60)
    assert (client.trouble, client.sites[WHO.lfdi].state) == ("", State.REGISTERED)


def test_where_the_site_is_is_told_once_however_a_visit_ends(server):
    """Cut off between registering and telling its connection point, it tells it when contact is back."""
    server.list_device(listed=False)
    server.profile = Profile.CSIPAUS12
    ask, failing = server.ask, [True]

    async def cut(method, path, body=b""):
        if failing[0] and server.sent_to("/edev"):
            raise ConnectionError("lost")
        reply = await ask(method, path, body)
        if method == "POST" and path == "/edev":
            device = replace(server.pages["/edev/1"], connection_point_link=Link(href="/cp"))
            server.pages["/edev"] = replace(server.pages["/edev"], end_device=(device,))
        return reply

    server.ask = cut
    who = replace(WHO, connection_point="NMI1")
    client = Client(server, who, plant=Roof(), profile=Profile.CSIPAUS12)
    lived(client, server, 60)
    assert server.sent_to("/cp") == []
    failing[0] = False
    lived(client, server, 1_800)
    assert [told.connection_point_id for told in server.sent_to("/cp")] == ["NMI1"]


def test_a_program_that_goes_between_two_pages_stops_nobody(server):
    """Its controls are gone when they are asked for: the other program holds, the list is asked for again.

    Where it still lists them they are a trouble, until it does so no more.
    """
    gone = DERProgram(mrid="0B", primacy=1, der_control_list_link=ListLink(href="/nowhere", all=1))
    known = server.pages["/derp"]
    server.pages["/derp"] = replace(known, all=2, results=2, der_program=(gone, *known.der_program))
    roof = Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 290)
    assert roof.limits[0] == (T0, 10_000)
    assert "/nowhere" in client.sites[WHO.lfdi].trouble
    assert server.asked.count(("GET", "/derp")) == 2
    server.pages["/derp"] = known
    lived(client, server, 500)
    assert client.sites[WHO.lfdi].trouble == ""
    assert roof.limits[-1][1] == 2_500
    assert server.asked.count(("GET", "/nowhere")) <= 3


def test_a_server_that_lets_one_wait_holds_up_no_control(server):
    """Thirty seconds for every answer: each site obeys before anybody waits, and by the time it is then."""
    good, other = Roof(), Roof()
    client = Client(server, replace(WHO, pin=None), plant=good)
    client.add(replace(WHO, lfdi="AB" * 20, pin=None), other)
    listed = server.pages["/edev"].end_device[0]
    both = (replace(listed, lfdi="AB" * 20, href="/edev/2"), listed)
    server.pages["/edev"] = EndDeviceList(all=2, results=2, poll_rate=300, end_device=both)
    lived(client, server, 599)
    ask, waited = server.ask, [0]

    async def slow(*_):
        waited[0] += 30
        raise TimeoutError

    server.ask, now_s = slow, T0 + 600
    asyncio.run(client.visit(now_s, lambda: now_s + waited[0]))
    assert waited[0] >= 60
    assert (T0 + 600, 2_500) in good.limits
    assert (T0 + 600, 2_500) in other.limits
    assert max(at_s for at_s, _ in other.limits) > T0 + 600
    server.ask = ask


@pytest.mark.parametrize("status", [400, 403, 404])
def test_a_server_that_wants_no_connection_point_is_not_asked_again(server, status):
    """It is refused once, and the device goes on without trouble."""
    server.profile, ask, tried = Profile.CSIPAUS12, server.ask, []
    device = replace(server.pages["/edev/1"], connection_point_link=Link(href="/cp"))
    server.pages["/edev"] = replace(server.pages["/edev"], end_device=(device,))

    async def refusing(method, path, body=b""):
        if path == "/cp":
            tried.append(path)
            return Reply(status)
        return await ask(method, path, body)

    server.ask = refusing
    client = Client(server, replace(WHO, connection_point="NMI1"), plant=Roof(), profile=Profile.CSIPAUS12)
    lived(client, server, 1_800)
    assert len(tried) == 1
    assert (client.trouble, client.sites[WHO.lfdi].trouble) == ("", "")
