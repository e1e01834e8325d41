"""Whole conversations over mutual TLS, octet for octet as they were written down.

Each is a file in ``transcripts``: what the client says, what it hears, what the operator does between. What
differs from run to run, identifiers that follow from certificates, is numbered there in order of appearance.
With ``GRIDFLOCK_WRITE_TRANSCRIPTS=1`` the files are written anew.
"""

import asyncio
import os
import re
from pathlib import Path

import pytest

from gridflock.field.ieee2030_5.resources import (
    ConnectionPoint,
    DateTimeInterval,
    DefaultDERControl,
    DERControlBase,
    DERControlResponse,
    MirrorMeterReading,
    MirrorUsagePoint,
    Profile,
    Reading,
    ReadingType,
    Subscription,
)
from gridflock.field.ieee2030_5.server import Access, Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._controls import Wanted, cancel, make_control
from gridflock.field.ieee2030_5.server._devices import Enrolment, load, set_access
from gridflock.field.ieee2030_5.server._programs import make_program, set_default
from gridflock.field.ieee2030_5.server._subscriptions import told
from gridflock.field.ieee2030_5.wire import write

BY = By("operator", "a test")
FOLDER = Path(__file__).with_name("transcripts")
VARIES = re.compile(r"\b(?:[0-9A-F]{40}|[0-9A-F]{32})\b|(?<=<sFDI>)\d+")


class Conversation:
    """One client on one connection, and what is written down of it."""

    def __init__(self, utility, dial, person, profile):
        self.utility, self.dial, self.person, self.profile = utility, dial, person, profile
        self.raw = None
        self.lines = []

    async def say(self, method, target, resource=None):
        """One request; its answer's fields and body."""
        if self.raw is None:
            self.raw = await self.dial(self.person.name)
        body = b"" if resource is None else write(resource, self.profile)
        fields = ["Content-Type: application/sep+xml", f"Content-Length: {len(body)}"] if body else []
        await self.raw.say(f"{method} {target} HTTP/1.1", "Host: localhost", *fields, body=body)
        status, heard, answer = await self.raw.hear(head=method == "HEAD")
        assert "transfer-encoding" not in heard
        self.lines += [f"> {method} {target}", *self._shown(body), f"< {status}"]
        self.lines += [f"< {name}: {heard[name]}" for name in ("location", "allow") if name in heard]
        self.lines += self._shown(answer)
        if answer:
            self.utility.judge(answer, self.profile)
        return heard

    def operator(self, what, verb, *args, **kwargs):
        """The operator does something."""
        self.lines.append(f"# {what}")
        return self.utility.act(verb, *args, **kwargs)

    def wait(self, seconds):
        """Time passes."""
        self.lines.append(f"# {seconds} s later")
        self.utility.wait(seconds)

    def notified(self):
        """What is posted to subscribers now."""
        for news in self.utility.server.news(self.utility.now_s, 9):
            self.lines += [f"! POST {news.uri}", *self._shown(news.body)]
            self.utility.judge(news.body, self.profile)
            self.utility.act(told, news, arrived=True)

    def _shown(self, body):
        return body.decode().replace("><", ">\n<").splitlines()

    def text(self):
        """What was said, with what varies numbered."""
        names = {}

        def name(found):
            return names.setdefault(found[0], f"{{{len(names) + 1}}}")

        return VARIES.sub(name, "\n".join(self.lines)) + "\n"


async def discovery(talk):
    """A loaded device finds itself, its PIN, its program and the time, from one address."""
    program = talk.operator("a program", make_program, "feeder 7", 4, BY)
    talk.operator("a default", set_default, program.number, _default(1_500), BY)
    talk.operator("the device is assigned", assign, _held(talk, program), BY)
    for target in (
        "/dcap",
        "/tm",
        "/edev?s=0&l=10",
        "/edev/1/rg",
        "/edev/1/fsa?l=10",
        "/edev/1/fsa/1/derp?l=10",
        "/derp/1/dderc",
        "/derp/1/derc?l=10",
        "/edev/1/der?l=10",
        "/edev/1/der/1/dercap",
        "/edev/2",
    ):
        await talk.say("GET", target)
    await talk.say("HEAD", "/dcap")
    await talk.say("DELETE", "/dcap")


async def registration(talk):
    """A device that nobody has loaded registers itself, waits, is approved, names its connection point."""
    device = Enrolled(talk)
    await talk.say("GET", "/dcap")
    await talk.say("GET", "/edev?l=10")
    await talk.say("POST", "/edev", device.itself())
    await talk.say("POST", "/edev", device.itself())
    await talk.say("GET", "/edev/1")
    await talk.say("GET", "/edev/1/rg")
    await talk.say("PUT", "/edev/1/cp", ConnectionPoint(connection_point_id="4102000000"))
    await talk.say("GET", "/edev/1/cp")
    talk.operator("approved", set_access, device.lfdi, Access.ENABLED, BY)
    await talk.say("GET", "/edev/1")
    talk.operator("suspended", set_access, device.lfdi, Access.SUSPENDED, BY)
    await talk.say("GET", "/edev/1")


async def control(talk):
    """A control from its making to its end: scheduled, active, superseded, cancelled; what is said to it."""
    program = talk.operator("a program", make_program, "feeder 7", 4, BY)
    talk.operator("the device is assigned", assign, _held(talk, program), BY)
    first = talk.operator("an export limit in ten minutes", make_control, 1, _limit(talk, 600, 4_000), BY)
    await talk.say("GET", "/derp/1/derc?l=10")
    await talk.say("POST", "/rsps/1/rsp", _response(talk, first, 1))
    talk.wait(600)
    await talk.say("GET", "/derp/1/actderc?l=10")
    await talk.say("POST", "/rsps/1/rsp", _response(talk, first, 2))
    await talk.say("POST", "/mup", _point(talk))
    await talk.say("POST", "/mup/1", _reading(talk, -3_900))
    second = talk.operator("a tighter one from now on", make_control, 1, _limit(talk, 0, 1_500), BY)
    await talk.say("GET", "/derp/1/derc?l=10")
    await talk.say("POST", "/rsps/1/rsp", _response(talk, first, 7))
    talk.wait(60)
    talk.operator("which is cancelled", cancel, second.mrid, BY)
    await talk.say("GET", "/derp/1/derc?l=10")
    await talk.say("POST", "/rsps/1/rsp", _response(talk, second, 6))
    await talk.say("POST", "/rsps/1/rsp", _response(talk, second, 77))
    talk.wait(7_200)
    await talk.say("GET", "/derp/1/derc?l=10")
    await talk.say("GET", "/rsps/1/rsp?l=10")


async def subscription(talk):
    """Subscriptions are made, told of changes once, changed and ended."""
    program = talk.operator("a program", make_program, "feeder 7", 4, BY)
    talk.operator("the device is assigned", assign, _held(talk, program), BY)
    for target in ("/derp/1/derc", "/derp/1/dderc", "/edev/1/fsa"):
        if target == "/derp/1/dderc":
            talk.operator("a default", set_default, 1, _default(5_000), BY)
        await talk.say("POST", "/edev/1/sub", _wish(target))
    await talk.say("GET", "/edev/1/sub?l=10")
    talk.operator("an export limit", make_control, 1, _limit(talk, 0, 4_000), BY)
    talk.operator("another default", set_default, 1, _default(1_500), BY)
    talk.notified()
    talk.notified()
    await talk.say("PUT", "/edev/1/sub/1", _wish("/derp/1/derc", limit=0))
    talk.wait(3_600)
    talk.notified()
    await talk.say("DELETE", "/edev/1/sub/1")
    await talk.say("POST", "/edev/1/sub", _wish("/derp/1/derc", notification_uri="https://10.0.0.1/n"))
    await talk.say("POST", "/edev/1/sub", _wish("/tm"))
    await talk.say("GET", "/edev/1/sub/1")


class Enrolled:
    """The device of a conversation, as it presents itself."""

    def __init__(self, talk):
        self.talk, self.lfdi = talk, talk.person.lfdi

    def itself(self):
        """What it posts of itself."""
        from gridflock.field.ieee2030_5.resources import EndDevice

        return EndDevice(lfdi=self.lfdi, sfdi=self.talk.person.sfdi, changed_time=self.talk.utility.now_s)


def _held(talk, program):
    return {talk.person.lfdi: (Assignment("grid", (program.number,)),)}


def _watts(value):
    from gridflock.field.ieee2030_5.resources import ActivePower

    return ActivePower(multiplier=0, value=value)


def _default(value):
    base = DERControlBase(op_mod_exp_lim_w=_watts(value))
    return DefaultDERControl(mrid="AB" * 16, der_control_base=base, set_grad_w=27)


def _limit(talk, start, value):
    base = DERControlBase(op_mod_exp_lim_w=_watts(value))
    return Wanted(base, talk.utility.now_s + start, 3_600, description="export limit")


def _response(talk, event, status):
    return DERControlResponse(
        created_date_time=talk.utility.now_s,
        end_device_lfdi=talk.person.lfdi,
        status=status,
        subject=event.mrid,
    )


def _point(talk):
    kind = ReadingType(uom=38, data_qualifier=2, flow_direction=1, interval_length=300, kind=37)
    return MirrorUsagePoint(
        mrid="A1" * 16,
        role_flags=3,
        service_category_kind=0,
        status=1,
        device_lfdi=talk.person.lfdi,
        mirror_meter_reading=(MirrorMeterReading(mrid="B1" * 16, reading_type=kind),),
    )


def _reading(talk, value):
    period = DateTimeInterval(start=talk.utility.now_s - 300, duration=300)
    return MirrorMeterReading(mrid="B1" * 16, reading=Reading(value=value, time_period=period))


def _wish(target, **more):
    return Subscription(
        **{
            "subscribed_resource": target,
            "encoding": 0,
            "level": "+S1",
            "limit": 10,
            "notification_uri": "https://agg.example/notify",
            **more,
        }
    )


@pytest.mark.parametrize("story", [discovery, registration, control, subscription])
def test_conversations_go_as_written_down(make, serving, network, story):
    """Over a real TLS socket, what is said and heard is what the transcript has, and valid by the schema."""
    utility = make(in_band_devices=True)
    person = network.people["device-1"]
    person.name = "device-1"
    if story is not registration:
        enrolment = Enrolment(person.lfdi, profile=Profile.CSIPAUS12, pin=111115, hosts=("agg.example",))
        utility.act(load, enrolment, BY)

    async def converse():
        async with serving(utility.answer) as (_, dial):
            talk = Conversation(utility, dial, person, Profile.CSIPAUS12)
            await story(talk)
            return talk.text()

    said, path = asyncio.run(converse()), FOLDER / f"{story.__name__}.txt"
    if os.environ.get("GRIDFLOCK_WRITE_TRANSCRIPTS") == "1":
        path.write_text(said, "utf-8")
    assert said == path.read_text("utf-8")


def test_clients_at_once_see_only_themselves(make, serving, network):
    """Over connections of their own, at the same time and many requests ahead, each finds its own device."""
    utility = make()
    names = ["device-1", "device-2", "aggregator"]
    for name in names:
        enrolment = Enrolment(network.people[name].lfdi, aggregator=name == "aggregator", pin=111115)
        utility.act(load, enrolment, BY)

    async def ask(dial, name):
        raw = await dial(name)
        for _ in range(20):
            await raw.say("GET /edev?l=10 HTTP/1.1", "Host: localhost")
        return [await raw.hear() for _ in range(20)]

    async def converse():
        async with serving(utility.answer) as (_, dial):
            return await asyncio.gather(*(ask(dial, name) for name in names))

    for name, answers in zip(names, asyncio.run(converse()), strict=True):
        own = network.people[name].lfdi.encode()
        others = {network.people[each].lfdi.encode() for each in names} - {own}
        for status, _, body in answers:
            assert (status, own in body, any(each in body for each in others)) == (200, True, False)
