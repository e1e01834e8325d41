"""A device's client against a server that says no, changes its mind, or wants to be left alone."""

import asyncio
import itertools
from dataclasses import replace

import pytest
from client_world import CONTROL, DEFAULT, POSTED, T0, WHO, Pages, Roof, lived, statuses

from gridflock.field.ieee2030_5.device import Client, Reply
from gridflock.field.ieee2030_5.device._session import Session
from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    DERControlBase,
    DERControlList,
    Link,
    ListLink,
    MirrorUsagePointList,
    Profile,
    ResponseStatus,
)
from gridflock.field.ieee2030_5.wire import read, write


@pytest.fixture
def server():
    """A server that lists the device."""
    return Pages()


@pytest.fixture
def crowded(server):
    """The same with a second list of programs, whose one control is of another mode."""
    own = server.pages["/fsa"].function_set_assignments[0]
    other = replace(own, mrid="1F", der_program_list_link=ListLink(href="/derp2", all=1))
    server.pages["/fsa"] = replace(
        server.pages["/fsa"], all=2, results=2, function_set_assignments=(own, other)
    )
    (program,) = server.pages["/derp"].der_program
    second = replace(
        program, mrid="1A", primacy=9,
        default_der_control_link=Link(href="/dderc2"), der_control_list_link=ListLink(href="/derc2", all=1),
    )  # fmt: skip
    server.pages["/derp2"] = replace(server.pages["/derp"], der_program=(second,))
    server.pages["/dderc2"] = replace(
        DEFAULT, mrid="1D", der_control_base=DERControlBase(op_mod_connect=True)
    )
    off = replace(CONTROL, mrid="1C", der_control_base=DERControlBase(op_mod_connect=False))
    server.pages["/derc2"] = DERControlList(all=1, results=1, der_control=(off,))
    server.refused, ask, server.tries = {}, server.ask, []

    async def refusing(method, path, body=b""):
        bare = path.partition("?")[0]
        if bare not in server.refused or not server.reached:
            return await ask(method, path, body)
        server.tries.append(server.now_s)
        status = server.refused[bare]
        return Reply(status) if status else Reply(200, b"<DERProgramList")

    server.ask = refusing
    return server


@pytest.mark.parametrize("status", [403, 404, 500, 503, 0])
@pytest.mark.parametrize("path", ["/tm", "/derp2", "/derc2", "/dderc2", "/der", "/mup"])
def test_one_page_that_is_refused_from_the_first_day_holds_up_no_other(crowded, path, status):
    """The other program is obeyed and answered, readings go on, it is told, and tried as is due."""
    crowded.refused[path] = status
    roof = Roof()
    client = Client(crowded, WHO, plant=roof)
    lived(client, crowded, 2_400)
    limits = dict(roof.limits)
    assert [limits[T0 + at_s] for at_s in (600, 1_500)] == [2_500, 10_000]
    told = [each for each in statuses(crowded) if each[0] == "0C"]
    assert told == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "COMPLETED")]
    assert len(crowded.sent_to("/mup/1")) == (0 if path == "/mup" else 41)
    assert len(crowded.sent_to("/ders")) == (0 if path == "/der" else 41)
    quiet = path == "/dderc2" and status == 404  # a program may have no default
    assert (path in client.trouble + client.sites[WHO.lfdi].trouble) == (not quiet)
    each_s = {"/der": 60, "/mup": 20}.get(path, 300)  # three requests of metered places
    assert len(crowded.tries) <= 2_400 // each_s + 10
    del crowded.refused[path]
    lived(client, crowded, 3_700)
    assert (client.trouble, client.sites[WHO.lfdi].trouble) == ("", "")
    assert client.sites[WHO.lfdi].reports.kept == 0


@pytest.mark.parametrize("status", [403, 404, 500, 503, 0])
@pytest.mark.parametrize("path", ["/dcap", "/tm", "/fsa", "/derp", "/derp2", "/derc2", "/dderc2", "/rsp"])
def test_one_page_that_is_refused_later_takes_nothing_away(crowded, path, status):
    """What is known of it is followed to its end; the rest goes on, and when it is back all is well again."""
    roof = Roof()
    client = Client(crowded, WHO, plant=roof)
    lived(client, crowded, 400)
    crowded.refused[path] = status
    lived(client, crowded, 1_600)
    limits = dict(roof.limits)
    assert [limits[T0 + at_s] for at_s in (600, 1_500)] == [2_500, 10_000]
    assert len(crowded.sent_to("/mup/1")) >= 33
    quiet = path == "/dderc2" and status == 404
    quiet |= path == "/dcap"  # asked for every hour
    quiet |= path == "/rsp" and status in (0, 404)  # taken, and refused for good
    assert (path in client.trouble + client.sites[WHO.lfdi].trouble) == (not quiet)
    del crowded.refused[path]
    lived(client, crowded, 1_000)
    assert (client.trouble, client.sites[WHO.lfdi].trouble) == ("", "")
    said = statuses(crowded)
    for subject in ("0C", "1C"):
        mine = [status for each, status in said if each == subject]
        if path != "/rsp" or status in (403, 500, 503):
            assert mine == ["RECEIVED", "STARTED", "COMPLETED"]


def test_a_server_that_is_asked_too_often_is_left_alone_altogether(crowded):
    """A wish to wait, of one page, is of all of them: nothing is asked for so long, and all is obeyed."""
    ask = crowded.ask

    async def busy(method, path, body=b""):
        if path.startswith("/derp2"):
            crowded.tries.append(crowded.now_s)
            return Reply(503, retry_s=250)
        return await ask(method, path, body)

    crowded.ask = busy
    roof = Roof()
    client = Client(crowded, WHO, plant=roof)
    lived(client, crowded, 1_700)
    assert {b - a for a, b in itertools.pairwise(crowded.tries)} == {250}
    assert dict(roof.limits)[T0 + 600] == 2_500


def test_what_stood_ends_although_a_list_was_never_seen(crowded):
    """Without any default, beside a list that is refused: at its end a control lets go."""
    for path in ("/dderc", "/dderc2"):
        del crowded.pages[path]
    crowded.refused["/derp2"] = 500
    roof = Roof()
    lived(Client(crowded, WHO, plant=roof), crowded, 2_000)
    limits = dict(roof.limits)
    assert [limits[T0 + at_s] for at_s in (600, 1_500)] == [2_500, None]
    assert len(roof.limits) < 60


@pytest.mark.parametrize("status", [403, 500])
def test_a_response_that_is_refused_for_now_holds_up_no_other_controls(crowded, status):
    """What is to be said of one control waits, in order; all of the other's arrives, and later the rest."""
    ask, refusing = crowded.ask, [True]

    async def picky(method, path, body=b""):
        if path == "/rsp" and refusing[0] and read(body, POSTED, Profile.SEP2018).subject == "0C":
            return Reply(status)
        return await ask(method, path, body)

    crowded.ask = picky
    client = Client(crowded, WHO, plant=Roof())
    lived(client, crowded, 1_700)
    assert [who for who, _ in statuses(crowded)] == ["1C"] * 3
    assert "/rsp" in client.sites[WHO.lfdi].trouble
    refusing[0] = False
    lived(client, crowded, 200)
    assert statuses(crowded)[3:] == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "COMPLETED")]
    assert client.sites[WHO.lfdi].trouble == ""


def test_a_place_for_responses_that_is_none_holds_up_no_others(crowded):
    """A replyTo on another server is never asked; what is said of other controls arrives."""
    ask = crowded.ask

    async def own(method, path, body=b""):
        if not path.startswith("/"):
            raise ValueError(f"{path!r} is no path")
        return await ask(method, path, body)

    crowded.ask = own
    crowded.offer(replace(CONTROL, reply_to="https://elsewhere.example/rsp"))
    client = Client(crowded, WHO, plant=Roof())
    lived(client, crowded, 1_700)
    assert [who for who, _ in statuses(crowded)] == ["1C"] * 3
    responses = client.sites[WHO.lfdi].responses
    assert responses.owed == ()
    assert {"elsewhere" in each.refused for each in responses.gone if each.response.subject == "0C"} == {True}


def test_what_cannot_be_done_now_says_nothing_of_what_comes(server):
    """A device refuses 25 %; the next control of the same mode is not rejected before it begins."""
    later = replace(
        CONTROL, mrid="02", creation_time=T0 + 1, interval=DateTimeInterval(start=T0 + 1_500, duration=600),
        der_control_base=DERControlBase(op_mod_max_lim_w=5_000),
    )  # fmt: skip
    server.offer(CONTROL, later)
    roof = Roof()

    def obey(standing, _now_s):
        refused = standing.base.op_mod_max_lim_w == 2_500
        return frozenset({"op_mod_max_lim_w"} if refused else ())

    roof.obey = obey
    lived(Client(server, WHO, plant=roof), server, 2_400)
    said = statuses(server)
    assert [status for who, status in said if who == "0C"] == ["RECEIVED", "REJECTED_NOT_APPLICABLE"]
    assert [status for who, status in said if who == "02"] == ["RECEIVED", "STARTED", "COMPLETED"]


@pytest.mark.parametrize("agrees_s", [300, None])
def test_what_somebody_has_to_agree_to_is_started_then(server, agrees_s):
    """Not at its beginning but when it is agreed to; where nobody does, nobody took part."""
    roof = Roof()
    roof.waits = lambda: agrees_s is None or server.now_s < T0 + 600 + agrees_s
    lived(Client(server, WHO, plant=roof), server, 2_000)
    said = [(told.status, told.created_date_time - T0) for told in server.sent_to("/rsp")]
    if agrees_s is None:
        assert said == [(ResponseStatus.RECEIVED, 0), (ResponseStatus.NO_PARTICIPATION, 1_500)]
    else:
        assert [status for status, _ in said] == [1, 2, 3]
        assert 900 <= said[1][1] <= 960


def test_a_clock_that_is_set_back_changes_no_control(server):
    """An hour back in mid-control: it ends when the server's clock says so, and everything is asked anew."""
    roof = Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 700)
    back_s = server.ahead_s = 3_600
    server.now_s -= back_s
    asked = len(server.asked)
    lived(client, server, 1_000)
    assert ("GET", "/tm") in server.asked[asked : asked + 3]
    ends = {at_s for at_s, limit in roof.limits if limit == 10_000 and at_s > T0 + 600}
    assert min(ends) == T0 + 1_500
    said = [(told.status, told.created_date_time - T0) for told in server.sent_to("/rsp")]
    assert said == [(1, 0), (2, 600), (3, 1_500)]
    assert len(server.sent_to("/mup/1")) >= 20


def test_a_server_is_not_left_alone_for_ever(server):
    """Who wants thirty years of peace is asked again after an hour, and what is known is obeyed meanwhile."""
    roof = Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 30)
    ask, tries = server.ask, []

    async def busy(*_):
        tries.append(server.now_s)
        return Reply(503, retry_s=10**9)

    server.ask = busy
    lived(client, server, 5_000)
    assert len(tries) <= 6
    assert dict(roof.limits)[T0 + 600] == 2_500
    server.ask = ask
    lived(client, server, 4_000)
    assert (client.trouble, client.sites[WHO.lfdi].trouble) == ("", "")


def test_what_metered_places_want_to_hear_goes_before_what_the_device_should_say(server):
    """900 s for the device and 60 s for its places: every 60 s, however often the devices are listed."""
    device = replace(server.pages["/edev/1"], post_rate=900)
    server.pages["/edev"] = replace(server.pages["/edev"], end_device=(device,))
    place = replace(Roof().places()[0], href="/mup/1", post_rate=60)
    server.pages["/mup"] = MirrorUsagePointList(
        all=1, results=1, poll_rate=1_800, mirror_usage_point=(place,)
    )
    lived(Client(server, WHO, plant=Roof()), server, 3_600)
    assert len(server.sent_to("/mup/1")) >= 58


def test_a_der_that_stands_elsewhere_is_found_again(server):
    """Its status is refused as gone: the list is asked for, and nameplate and status go to the new place."""
    client = Client(server, WHO, plant=Roof())
    lived(client, server, 300)
    ask = server.ask
    (der,) = server.pages["/der"].der
    moved = replace(der, der_status_link=Link(href="/ders2"), der_capability_link=Link(href="/dercap2"))
    server.pages["/der"] = replace(server.pages["/der"], der=(moved,))

    async def gone(method, path, body=b""):
        return Reply(404) if path == "/ders" else await ask(method, path, body)

    server.ask = gone
    lived(client, server, 300)
    assert len(server.sent_to("/dercap2")) == 1
    assert len(server.sent_to("/ders2")) >= 3


@pytest.mark.parametrize("after", [range(1, 120), range(-1, 120)], ids=["one goes", "one comes"])
def test_a_list_that_changes_between_two_pages_is_read_again(after):
    """A control that goes or comes while the second page is asked for hides no other one."""
    session_pages = [list(range(120)), [each + 1 for each in after]]
    asked = []

    class _Shrinking:
        async def ask(self, _method, path, _body=b""):
            start = int(path.partition("s=")[2].partition("&")[0])
            asked.append(start)
            now = session_pages[len(asked) > 1]
            part = [replace(CONTROL, mrid=f"{each:032X}") for each in now[start : start + 50]]
            page = DERControlList(all=len(now), results=len(part), der_control=tuple(part))
            return Reply(200, write(page, Profile.SEP2018))

    _, found = asyncio.run(
        Session(_Shrinking(), Profile.SEP2018).fetch_all("/derc", DERControlList, "der_control")
    )
    assert [int(each.mrid, 16) for each in found] == session_pages[1]
    assert len(asked) <= 7
