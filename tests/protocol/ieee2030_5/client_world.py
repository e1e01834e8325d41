"""A server of a few pages, and a roof behind a client of it."""

import asyncio

from gridflock.field.ieee2030_5.device import Identity, Reply
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


class Pages:
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
        """List these controls."""
        n = len(controls)
        self.pages["/derc"] = DERControlList(all=n, results=n, der_control=controls)

    def list_device(self, *, listed):
        """Show the device, or nobody."""
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
        """As of ``Line``."""
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
        """What has arrived there."""
        return [told for _, where, told in self.got if where == path]


class Roof:
    """Two kilowatts of sun that obey limits, metered as one series."""

    def __init__(self):
        self.limits, self._read = [], -1

    def capability(self):
        """Five kilowatts."""
        return DERCapability(
            modes_supported=1 << 20, rtg_max_w=ActivePower(multiplier=0, value=5_000), type=4
        )

    def settings(self, now_s):
        """As built."""
        return DERSettings(
            set_grad_w=100, set_max_w=ActivePower(multiplier=0, value=5_000), updated_time=now_s
        )

    def status(self, now_s):
        """Nothing but the time."""
        return DERStatus(reading_time=now_s)

    def availability(self, _now_s):
        """Not known."""
        return

    def power(self, _now_s):
        """No vehicle."""
        return

    def places(self):
        """Its one meter."""
        series = MirrorMeterReading(mrid="0B", reading_type=ReadingType(uom=38))
        return [
            MirrorUsagePoint(
                mrid="0E", role_flags=0x49, service_category_kind=0, status=1, device_lfdi=WHO.lfdi,
                mirror_meter_reading=(series,),
            )
        ]  # fmt: skip

    def readings(self, now_s):
        """Of the minute that has passed."""
        period = DateTimeInterval(start=now_s - 60, duration=60)
        return [MirrorMeterReading(mrid="0B", reading=Reading(time_period=period, value=2_000))]

    def log(self, _now_s):
        """Nothing."""
        return []

    def obey(self, standing, now_s):
        """Keep what is asked for."""
        self.limits.append((now_s, standing.base.op_mod_max_lim_w))
        return frozenset()

    def waits(self):
        """Nobody has to agree."""
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


def statuses(server):
    """Subject and answer of every response that has arrived."""
    return [(told.subject, ResponseStatus(told.status).name) for told in server.sent_to("/rsp")]
