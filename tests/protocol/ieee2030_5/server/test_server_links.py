"""Everything is reached by links: a walk through all of the server from its first page, in every profile."""

import importlib
import pkgutil
import re

import pytest
from lxml import etree

from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    CurveData,
    DateTimeInterval,
    DefaultDERControl,
    DERCapability,
    DERControlBase,
    DERCurve,
    DERSettings,
    DERStatus,
    DeviceInformation,
    Link,
    LogEvent,
    MirrorMeterReading,
    MirrorUsagePoint,
    Profile,
    Reading,
    ReadingType,
    Subscription,
)
from gridflock.field.ieee2030_5.server import Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._controls import Wanted, make_control
from gridflock.field.ieee2030_5.server._priced import Block
from gridflock.field.ieee2030_5.server._prices import add_component, make_tariff, set_price
from gridflock.field.ieee2030_5.server._programs import make_curve, make_program, set_default

BY = By("operator", "a test")
UNTOLD = {"dera", "ds", "ps", "cfg"}
"""What the device of this world has not told: its links lead to 404."""


def _watts(value):
    return ActivePower(multiplier=0, value=value)


def _world(utility, profile):
    """A device with one of everything."""
    client = utility.enrol(1, profile, pin=111115, point="NMI1", hosts=("agg.example",))
    program = utility.act(make_program, "feeder", 1, BY)
    curve = DERCurve(
        mrid="AB" * 16,
        creation_time=0,
        curve_type=11,
        curve_data=(CurveData(xvalue=9_200, yvalue=4_400), CurveData(xvalue=10_800, yvalue=-4_400)),
        x_multiplier=-2,
        y_multiplier=-2,
        y_ref_type=2,
    )
    made = utility.act(make_curve, program.number, curve, BY)
    base = DERControlBase(op_mod_max_lim_w=5_000, op_mod_volt_var=Link(href=made.href))
    default = DefaultDERControl(mrid="AB" * 16, der_control_base=base, set_grad_w=27)
    utility.act(set_default, program.number, default, BY)
    utility.act(make_control, program.number, Wanted(base, utility.now_s, 600), BY)
    tariff = utility.act(make_tariff, "flat", BY)
    component = utility.act(add_component, tariff.number, "energy", ReadingType(uom=72, kind=12), BY)
    utility.act(set_price, component.number, utility.now_s, 3_600, (Block(0, 250),), BY)
    utility.act(assign, {client.lfdi: (Assignment("grid", (program.number,), (tariff.number,)),)}, BY)
    _tell(utility, client)
    return client


def _tell(utility, client):
    period = DateTimeInterval(start=utility.now_s - 300, duration=300)
    kind = ReadingType(uom=38, data_qualifier=2, flow_direction=1, kind=37)
    series = MirrorMeterReading(
        mrid="B1" * 16, reading_type=kind, reading=Reading(value=5, time_period=period, quality_flags=1)
    )
    point = MirrorUsagePoint(
        mrid="A1" * 16,
        role_flags=3,
        service_category_kind=0,
        status=1,
        device_lfdi=client.lfdi,
        mirror_meter_reading=(series,),
    )
    wish = Subscription(
        subscribed_resource="/derp/1/derc",
        encoding=0,
        level="+S1",
        limit=1,
        notification_uri="https://agg.example/n",
    )
    event = LogEvent(
        created_date_time=utility.now_s,
        function_set=11,
        log_event_code=1,
        log_event_id=1,
        log_event_pen=37250,
        profile_id=2,
    )
    for path, posted in (("/mup", point), ("/edev/1/sub", wish), ("/edev/1/lel", event)):
        assert client.post(path, posted).status == 201
    info = DeviceInformation(
        lfdi=client.lfdi,
        mf_date=0,
        mf_hw_ver="1",
        mf_id=37250,
        mf_model="inverter",
        mf_ser_num="42",
        primary_power=1,
        secondary_power=0,
        sw_act_time=0,
        sw_ver="2",
    )
    capability = DERCapability(
        modes_supported=0,
        rtg_max_w=_watts(5_000),
        type=4,
        doe_modes_supported=None if client.profile is Profile.SEP2018 else 3,
    )
    settings = DERSettings(set_grad_w=27, set_max_w=_watts(5_000), updated_time=utility.now_s)
    told = {"di": info, "der/1/dercap": capability, "der/1/derg": settings}
    told["der/1/ders"] = DERStatus(reading_time=utility.now_s)
    for path, put in told.items():
        assert client.put(f"/edev/1/{path}", put).status == 204


def _walk(client):
    """Every address that links lead to from the first page, and its body (None where nothing was told)."""
    found, ahead = {}, ["/dcap"]
    while ahead:
        path = ahead.pop()
        if path in found:
            continue
        answer = client.get(path, l=99)
        assert answer.status == 200 or (answer.status == 404 and path.rsplit("/", 1)[1] in UNTOLD), path
        found[path] = answer.body if answer.status == 200 else None
        if found[path]:
            links = re.findall(rb'(?:href|replyTo)="([^"?]+)"', found[path])
            links += re.findall(rb"<subscribedResource>([^<?]+)<", found[path])
            ahead += [link.decode() for link in links]
    return found


@pytest.mark.parametrize("profile", Profile)
def test_every_link_leads_somewhere(utility, profile):
    """From the first page all of a device's resources are reached, and no link leads astray."""
    found = _walk(_world(utility, profile))
    patterns = {re.sub(r"/\d+", "/{}", path) for path in found}
    assert {path for path, body in found.items() if body is None} == {
        "/edev/1/ds",
        "/edev/1/ps",
        "/edev/1/cfg",
        "/edev/1/der/1/dera",
    }
    wanted = {"/tm", "/edev/{}/rg", "/edev/{}/fsa/{}/derp", "/derp/{}/derc/{}", "/derp/{}/dderc"}
    wanted |= {"/derp/{}/actderc", "/derp/{}/dc/{}", "/edev/{}/sub/{}", "/edev/{}/lel/{}", "/mup/{}/mr/{}"}
    wanted |= {"/rsps/{}/rsp", "/tp/{}/rc/{}/tti/{}/cti/{}", "/edev/{}/fsa/{}/tp", "/edev/{}/der/{}/derg"}
    if profile is not Profile.SEP2018:
        wanted.add("/edev/{}/cp")
    if profile is Profile.CSIPAUS13:
        wanted.add("/tp/{}/ctti")
    assert wanted <= patterns


def _models(oracle):
    """The oracle's models of what a server answers with, by the tag of their element."""
    found = {}
    for each in pkgutil.iter_modules(oracle.__path__):
        module = importlib.import_module(f"{oracle.__name__}.{each.name}")
        for name, model in vars(module).items():
            here = getattr(model, "__module__", "") == module.__name__
            if here and getattr(model, "__xml_serializer__", None) and not name.endswith("Request"):
                found[model.__xml_serializer__.element_name] = model
    return found


def test_a_second_reader_understands_every_answer(utility):
    """The models of ``envoy-schema`` read what a client of the later Australian profile is answered with."""
    oracle = pytest.importorskip("envoy_schema.server.schema.sep2")
    models = _models(oracle)
    read = set()
    for path, body in _walk(_world(utility, Profile.CSIPAUS13)).items():
        tag = etree.fromstring(body).tag if body else ""
        if tag in models:
            models[tag].from_xml(body)
            read.add(path)
    assert len(read) >= 30
