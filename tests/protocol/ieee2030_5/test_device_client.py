"""A device's client against a server of a few pages: what it asks, obeys, answers and reports, and when."""

import asyncio
import itertools
from dataclasses import replace

import pytest

from gridflock.field.ieee2030_5.device import Client, Identity, Reply, State
from gridflock.field.ieee2030_5.device._session import Session
from gridflock.field.ieee2030_5.events import span_of
from gridflock.field.ieee2030_5.resources import (
    DER,
    ConnectionPoint,
    DateTimeInterval,
    DefaultDERControl,
    DERCapability,
    DERControl,
    DERControlBase,
    DERControlList,
    DERControlResponse,
    DERList,
    DERProgram,
    DERProgramList,
    DERSettings,
    DERStatus,
    DeviceCapability,
    EndDevice,
    EndDeviceList,
    EventState,
    EventStatus,
    FunctionSetAssignments,
    FunctionSetAssignmentsList,
    Link,
    ListLink,
    LogEvent,
    MirrorMeterReading,
    MirrorMeterReadingList,
    MirrorUsagePoint,
    MirrorUsagePointList,
    Profile,
    Reading,
    ReadingType,
    Registration,
    ResponseStatus,
    Time,
)
from gridflock.field.ieee2030_5.resources._quantities import ActivePower
from gridflock.field.ieee2030_5.wire import Malformed, read, write

T0 = 1_750_000_000
WHO = Identity("3E4F45AB31EDFE5B67E343E5E4562E31984E23E5", 167_261_211_391, pin=111_115)
POSTED = (EndDevice, ConnectionPoint, DERCapability, DERSettings, DERStatus, MirrorUsagePoint,
          MirrorMeterReading, MirrorMeterReadingList, DERControlResponse, LogEvent)  # fmt: skip
CONTROL = DERControl(
    mrid="0C",
    reply_to="/rsp",
    response_required=3,
    creation_time=T0,
    event_status=EventStatus(current_status=EventState.SCHEDULED, date_time=T0, potentially_superseded=False),
    interval=DateTimeInterval(start=T0 + 600, duration=900),
    der_control_base=DERControlBase(op_mod_max_lim_w=2_500),
)
DEFAULT = DefaultDERControl(mrid="0D", der_control_base=DERControlBase(op_mod_max_lim_w=10_000))


class _Pages:
    """A server that is a table of resources, and keeps what is sent to it; its clock is ahead."""

    def __init__(self, ahead_s=0):
        self.ahead_s, self.now_s, self.reached = ahead_s, T0, True
        self.profile = Profile.SEP2018
        self.asked, self.got = [], []
        self.pages = {
            "/dcap": DeviceCapability(
                time_link=Link(href="/tm"),
                end_device_list_link=ListLink(href="/edev", all=1),
                mirror_usage_point_list_link=ListLink(href="/mup", all=0),
                poll_rate=3_600,
            ),
            "/rg": Registration(date_time_registered=T0, pin=111_115),
            "/fsa": FunctionSetAssignmentsList(
                all=1, results=1, poll_rate=300,
                function_set_assignments=(
                    FunctionSetAssignments(mrid="0F", der_program_list_link=ListLink(href="/derp", all=1)),
                ),
            ),
            "/derp": DERProgramList(
                all=1, results=1, poll_rate=300,
                der_program=(
                    DERProgram(
                        mrid="0A", primacy=3,
                        default_der_control_link=Link(href="/dderc"),
                        der_control_list_link=ListLink(href="/derc", all=1),
                    ),
                ),
            ),
            "/dderc": DEFAULT,
            "/der": DERList(
                all=1, results=1,
                der=(
                    DER(
                        der_capability_link=Link(href="/dercap"),
                        der_settings_link=Link(href="/derg"),
                        der_status_link=Link(href="/ders"),
                    ),
                ),
            ),
            "/mup": MirrorUsagePointList(all=0, results=0),
        }  # fmt: skip
        self.offer(CONTROL)
        self.list_device(listed=True)

    def offer(self, *controls):
        n = len(controls)
        self.pages["/derc"] = DERControlList(all=n, results=n, der_control=controls)

    def list_device(self, *, listed):
        device = EndDevice(
            href="/edev/1",
            lfdi=WHO.lfdi,
            sfdi=WHO.sfdi,
            changed_time=T0,
            post_rate=60,
            registration_link=Link(href="/rg"),
            function_set_assignments_list_link=ListLink(href="/fsa", all=1),
            der_list_link=ListLink(href="/der", all=1),
            log_event_list_link=ListLink(href="/lel", all=0),
        )
        self.pages["/edev/1"] = device
        many = (device,) if listed else ()
        self.pages["/edev"] = EndDeviceList(all=len(many), results=len(many), poll_rate=300, end_device=many)

    async def ask(self, method, path, body=b""):
        if not self.reached:
            raise ConnectionError("nobody there")
        path = path.partition("?")[0]
        self.asked.append((method, path))
        if method == "GET" and path == "/tm":
            told = Time(
                current_time=self.now_s + self.ahead_s, dst_end_time=0, dst_offset=0, dst_start_time=0,
                quality=3, tz_offset=0, poll_rate=900,
            )  # fmt: skip
            return Reply(200, write(told, self.profile))
        if method == "GET":
            page = self.pages.get(path)
            return Reply(404) if page is None else Reply(200, write(page, self.profile))
        told = read(body, POSTED, self.profile)
        assert not isinstance(told, Malformed), told
        self.got.append((method, path, told))
        if path == "/edev":
            self.list_device(listed=True)
            return Reply(201, location="/edev/1")
        return Reply(201, location="/mup/1") if path == "/mup" else Reply(204 if method == "PUT" else 201)

    def sent_to(self, path):
        return [told for _, where, told in self.got if where == path]


class _Roof:
    """Two kilowatts of sun that obey limits, metered as one series."""

    def __init__(self):
        self.limits, self._read = [], -1

    def capability(self):
        return DERCapability(
            modes_supported=1 << 20, rtg_max_w=ActivePower(multiplier=0, value=5_000), type=4
        )

    def settings(self, now_s):
        return DERSettings(
            set_grad_w=100, set_max_w=ActivePower(multiplier=0, value=5_000), updated_time=now_s
        )

    def status(self, now_s):
        return DERStatus(reading_time=now_s)

    def availability(self, _now_s):
        return None

    def power(self, _now_s):
        return None

    def places(self):
        series = MirrorMeterReading(mrid="0B", reading_type=ReadingType(uom=38))
        return [
            MirrorUsagePoint(
                mrid="0E", role_flags=0x49, service_category_kind=0, status=1, device_lfdi=WHO.lfdi,
                mirror_meter_reading=(series,),
            )
        ]  # fmt: skip

    def readings(self, now_s):
        period = DateTimeInterval(start=now_s - 60, duration=60)
        return [MirrorMeterReading(mrid="0B", reading=Reading(time_period=period, value=2_000))]

    def log(self, _now_s):
        return []

    def obey(self, standing, now_s):
        self.limits.append((now_s, standing.base.op_mod_max_lim_w))
        return frozenset()

    def waits(self):
        return False


def lived(client, server, seconds, step_s=1):
    """Visit the client whenever it wants to be, by a clock that starts at ``T0``."""

    async def live():
        now_s, end_s = server.now_s, server.now_s + seconds
        while now_s <= end_s:
            server.now_s = now_s
            await client.visit(now_s)
            now_s = max(client.due_s(now_s), now_s + step_s)
        server.now_s = end_s

    asyncio.run(live())


@pytest.fixture
def server():
    """A server that lists the device."""
    return _Pages()


def _statuses(server):
    return [(told.subject, ResponseStatus(told.status).name) for told in server.sent_to("/rsp")]


def test_a_control_is_received_started_completed_and_the_default_holds_around_it(server):
    """100 %, then 25 % from its start to its end to the second, then 100 %; each response once, in order."""
    roof = _Roof()
    lived(Client(server, WHO, plant=roof), server, 3_600)
    changes = [roof.limits[0]]
    for moment in roof.limits:
        changes += [moment] if moment[1] != changes[-1][1] else []
    assert changes == [(T0, 10_000), (T0 + 600, 2_500), (T0 + 1_500, 10_000)]
    assert _statuses(server) == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "COMPLETED")]
    assert {told.end_device_lfdi for told in server.sent_to("/rsp")} == {WHO.lfdi}


def test_everything_goes_by_the_servers_clock():
    """A device whose clock is two minutes behind starts when the server's clock says so."""
    server, roof = _Pages(ahead_s=120), _Roof()
    lived(Client(server, WHO, plant=roof), server, 1_000)
    assert next(now_s for now_s, limit in roof.limits if limit == 2_500) == T0 + 600
    assert next(s for s in server.sent_to("/rsp") if s.status == 2).created_date_time == T0 + 600


def test_without_contact_a_control_ends_and_the_default_follows(server):
    """Cut off in mid-control: 25 % to its end, 100 % after it; what was owed is sent when contact is back."""
    roof = _Roof()
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
    assert _statuses(server)[-1] == ("0C", "COMPLETED")
    assert client.sites[WHO.lfdi].reports.kept == 0
    told = [r for each in server.sent_to("/mup/1") for r in getattr(each, "mirror_meter_reading", (each,))]
    starts = [each.reading.time_period.start for each in told]
    assert starts == sorted(set(starts))


def test_a_cancelled_control_ends_at_once_and_says_so(server):
    """Seen as cancelled at the next poll, it holds no longer; CANCELLED is said once."""
    roof = _Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 700)
    over = replace(CONTROL.event_status, current_status=EventState.CANCELLED, date_time=T0 + 650)
    server.offer(replace(CONTROL, event_status=over))
    lived(client, server, 400)
    assert roof.limits[-1][1] == 10_000
    assert _statuses(server) == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "CANCELLED")]


def test_a_control_that_came_too_late_or_that_it_cannot_do_is_rejected(server):
    """Over before it was seen: 254; of modes the device has not: 252. Neither is started."""
    late = replace(CONTROL, mrid="01", interval=DateTimeInterval(start=T0 - 900, duration=600))
    strange = replace(CONTROL, mrid="02", der_control_base=DERControlBase(op_mod_connect=False))
    server.offer(late, strange)
    roof = _Roof()
    roof.obey = lambda *_: frozenset({"op_mod_connect"})
    lived(Client(server, WHO, plant=roof), server, 900)
    said = _statuses(server)
    assert set(said) == {
        ("01", "RECEIVED"), ("01", "REJECTED_LATE"), ("02", "RECEIVED"), ("02", "REJECTED_NOT_APPLICABLE"),
    }  # fmt: skip
    assert len(said) == 4


def test_what_is_for_other_kinds_of_devices_is_not_answered(server):
    """A control of a category that the device is not of is none of its business."""
    server.offer(replace(CONTROL, device_category=4))
    lived(Client(server, replace(WHO, category=1), plant=_Roof()), server, 1_800)
    assert _statuses(server) == []


def test_what_gave_way_to_its_end_is_not_called_late(server):
    """Overtaken from its start to its end by a weightier program: superseded, and nothing after it."""
    weighty = DERProgram(mrid="0B", primacy=1, der_control_list_link=ListLink(href="/derc2", all=1))
    known = server.pages["/derp"]
    server.pages["/derp"] = replace(known, all=2, results=2, der_program=(weighty, *known.der_program))
    longer = replace(CONTROL, mrid="02", interval=DateTimeInterval(start=T0 + 500, duration=1_500))
    server.pages["/derc2"] = DERControlList(all=1, results=1, der_control=(longer,))
    lived(Client(server, WHO, plant=_Roof()), server, 2_400)
    said = _statuses(server)
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
    roof, begins_s = _Roof(), span_of(newer, WHO.lfdi).start_s
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
    roof = _Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 700)
    server.offer()
    lived(client, server, 1_200)
    assert roof.limits[-1][1] == 10_000
    assert _statuses(server) == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "ABORTED_BY_SERVER")]


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
    client = Client(server, WHO, plant=_Roof())
    lived(client, server, 300)
    server.reached = False
    lived(client, server, 300)
    server.reached = True
    lived(client, server, 600)
    site = client.sites[WHO.lfdi]
    assert (site.trouble, site.reports.kept) == ("", 0)
    assert 5 < site.reports.dropped <= odd[0] + 1
    assert len(server.sent_to("/mup/1")) > 5
    assert _statuses(server)[-1] == ("0C", "STARTED")


def test_a_plant_that_fails_is_its_own_trouble(server):
    """Of two sites one raises at everything: it says so, and the other obeys and reports as ever."""

    class _Broken(_Roof):
        def obey(self, _standing, _now_s):
            raise ZeroDivisionError("no meter")

        def readings(self, _now_s):
            raise KeyError("series")

    good = _Roof()
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
    roof = _Roof()
    client = Client(server, WHO, plant=roof)
    lived(client, server, 900)
    assert client.sites[WHO.lfdi].state is State.WRONG_PIN
    assert roof.limits == []
    assert server.got == []


def test_who_is_not_listed_registers_or_waits(server):
    """With registration by the device it posts itself once; without, it asks again until it is listed."""
    server.list_device(listed=False)
    patient = Client(server, replace(WHO, pin=None), plant=_Roof(), register=False)
    lived(patient, server, 900)
    assert patient.sites[WHO.lfdi].state is State.UNKNOWN
    eager = Client(server, WHO, plant=_Roof())
    lived(eager, server, 900)
    assert eager.sites[WHO.lfdi].state is State.REGISTERED
    assert [told.lfdi for told in server.sent_to("/edev")] == [WHO.lfdi]


def test_it_asks_and_reports_as_often_as_it_is_told(server):
    """Programs every 300 s, readings and status every 60 s, settings only once, over two hours."""
    lived(Client(server, WHO, plant=_Roof()), server, 7_200)
    polls = server.asked.count(("GET", "/derc"))
    assert 24 <= polls <= 26
    assert 119 <= len(server.sent_to("/mup/1")) <= 122
    assert 119 <= len(server.sent_to("/ders")) <= 122
    assert len(server.sent_to("/derg")) == len(server.sent_to("/dercap")) == 1
    assert server.asked.count(("POST", "/mup")) == 1


def test_before_anything_was_heard_nothing_is_changed(server):
    """Of a server that was never reached, or not to the end, no plant is told that nothing stands."""
    roof = _Roof()
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
    client = Client(server, WHO, plant=_Roof())
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
    lived(Client(server, WHO, plant=_Roof()), server, 300)
    assert len(server.sent_to("/mup/1")) >= 4


def test_what_nobody_foresaw_is_trouble_and_not_the_end(server, caplog):
    """A line that breaks in its own way: told, and the next visit goes on."""
    ask = server.ask

    async def broken(*_):
        raise RuntimeError("event loop")

    server.ask = broken
    client = Client(server, WHO, plant=_Roof())
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
    client = Client(server, who, plant=_Roof(), profile=Profile.CSIPAUS12)
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
    roof = _Roof()
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
    good, other = _Roof(), _Roof()
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
    client = Client(server, replace(WHO, connection_point="NMI1"), plant=_Roof(), profile=Profile.CSIPAUS12)
    lived(client, server, 1_800)
    assert len(tried) == 1
    assert (client.trouble, client.sites[WHO.lfdi].trouble) == ("", "")


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
    roof = _Roof()
    client = Client(crowded, WHO, plant=roof)
    lived(client, crowded, 2_400)
    limits = dict(roof.limits)
    assert [limits[T0 + at_s] for at_s in (600, 1_500)] == [2_500, 10_000]
    told = [each for each in _statuses(crowded) if each[0] == "0C"]
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
    roof = _Roof()
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
    said = _statuses(crowded)
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
    roof = _Roof()
    client = Client(crowded, WHO, plant=roof)
    lived(client, crowded, 1_700)
    assert {b - a for a, b in itertools.pairwise(crowded.tries)} == {250}
    assert dict(roof.limits)[T0 + 600] == 2_500


def test_what_stood_ends_although_a_list_was_never_seen(crowded):
    """Without any default, beside a list that is refused: at its end a control lets go."""
    for path in ("/dderc", "/dderc2"):
        del crowded.pages[path]
    crowded.refused["/derp2"] = 500
    roof = _Roof()
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
    client = Client(crowded, WHO, plant=_Roof())
    lived(client, crowded, 1_700)
    assert [who for who, _ in _statuses(crowded)] == ["1C"] * 3
    assert "/rsp" in client.sites[WHO.lfdi].trouble
    refusing[0] = False
    lived(client, crowded, 200)
    assert _statuses(crowded)[3:] == [("0C", "RECEIVED"), ("0C", "STARTED"), ("0C", "COMPLETED")]
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
    client = Client(crowded, WHO, plant=_Roof())
    lived(client, crowded, 1_700)
    assert [who for who, _ in _statuses(crowded)] == ["1C"] * 3
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
    roof = _Roof()

    def obey(standing, _now_s):
        refused = standing.base.op_mod_max_lim_w == 2_500
        return frozenset({"op_mod_max_lim_w"} if refused else ())

    roof.obey = obey
    lived(Client(server, WHO, plant=roof), server, 2_400)
    said = _statuses(server)
    assert [status for who, status in said if who == "0C"] == ["RECEIVED", "REJECTED_NOT_APPLICABLE"]
    assert [status for who, status in said if who == "02"] == ["RECEIVED", "STARTED", "COMPLETED"]


@pytest.mark.parametrize("agrees_s", [300, None])
def test_what_somebody_has_to_agree_to_is_started_then(server, agrees_s):
    """Not at its beginning but when it is agreed to; where nobody does, nobody took part."""
    roof = _Roof()
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
    roof = _Roof()
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
    roof = _Roof()
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
    place = replace(_Roof().places()[0], href="/mup/1", post_rate=60)
    server.pages["/mup"] = MirrorUsagePointList(
        all=1, results=1, poll_rate=1_800, mirror_usage_point=(place,)
    )
    lived(Client(server, WHO, plant=_Roof()), server, 3_600)
    assert len(server.sent_to("/mup/1")) >= 58


def test_a_der_that_stands_elsewhere_is_found_again(server):
    """Its status is refused as gone: the list is asked for, and nameplate and status go to the new place."""
    client = Client(server, WHO, plant=_Roof())
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
