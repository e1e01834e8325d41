"""How we write: what a strict or simple peer relies on."""

import dataclasses
import re

import pytest
from lxml import etree

from gridflock.field.ieee2030_5 import wire
from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    ConnectionPoint,
    CurveData,
    DateTimeInterval,
    DERCapability,
    DERControl,
    DERControlBase,
    DERControlList,
    DERControlResponse,
    DERControlType,
    DERCurve,
    DERProgram,
    DERProgramList,
    EndDevice,
    EndDeviceList,
    Error,
    EventState,
    EventStatus,
    Link,
    Notification,
    Profile,
    ReasonCode,
    ResponseList,
    TariffProfile,
    table,
)

MRID = "0A1B2C3D4E5F60718293A4B5C6D7E8F9"
STATUS = EventStatus(
    current_status=EventState.SCHEDULED, date_time=1_700_000_000, potentially_superseded=False
)
LIMITS = DERControlBase(
    op_mod_exp_lim_w=ActivePower(value=4_000, multiplier=1),
    op_mod_imp_lim_w=ActivePower(value=5_000, multiplier=0),
    op_mod_storage_target_w=ActivePower(value=-1, multiplier=3),
    ramp_tms=100,
)
CONTROL = DERControl(
    href="/derp/1/derc/1",
    reply_to="/rsps/1/rsp",
    response_required=3,
    mrid=MRID.lower(),
    description="Envelope",
    creation_time=1_700_000_000,
    event_status=STATUS,
    interval=DateTimeInterval(duration=300, start=1_700_000_300),
    der_control_base=LIMITS,
)
WRITTEN = (
    '<DERControl href="/derp/1/derc/1" replyTo="/rsps/1/rsp" responseRequired="03">'
    f"<mRID>{MRID}</mRID><description>Envelope</description><creationTime>1700000000</creationTime>"
    "<EventStatus><currentStatus>0</currentStatus><dateTime>1700000000</dateTime>"
    "<potentiallySuperseded>false</potentiallySuperseded></EventStatus>"
    "<interval><duration>300</duration><start>1700000300</start></interval>"
    "<DERControlBase><rampTms>100</rampTms>%s</DERControlBase></DERControl>"
)
TWO = (
    "<csipaus:opModImpLimW><multiplier>0</multiplier><value>5000</value></csipaus:opModImpLimW>"
    "<csipaus:opModExpLimW><multiplier>1</multiplier><value>4000</value></csipaus:opModExpLimW>"
)
TARGET = (
    "<csipaus:opModStorageTargetW><multiplier>3</multiplier><value>-1</value></csipaus:opModStorageTargetW>"
)


def _program(**fields):
    return DERProgram(mrid=MRID, primacy=1, **fields)


@pytest.mark.parametrize(
    ("profile", "limits"),
    [(Profile.SEP2018, ""), (Profile.CSIPAUS12, TWO), (Profile.CSIPAUS13, TWO + TARGET)],
)
def test_a_control_as_each_profile_has_it(profile, limits):
    """The same control to three kinds of client: each sees what its profile knows, import before export."""
    head = DERControlList(href="/derp/1/derc", all=9, results=2, subscribable=1)
    spaces = 'xmlns="urn:ieee:std:2030.5:ns"'
    if profile.extension:
        spaces += f' xmlns:csipaus="{profile.extension}"'
    item = wire.item(CONTROL, DERControlList, profile)
    assert item.decode() == WRITTEN % limits
    assert wire.listed(head, [item, item], profile).decode() == (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<DERControlList {spaces} href="/derp/1/derc" subscribable="1" all="9" results="2">'
        f"{WRITTEN % limits}{WRITTEN % limits}</DERControlList>"
    )


def test_no_element_of_an_extension_goes_to_a_plain_client():
    """In lists and notifications too: not even the namespace."""
    for resource in (
        DERControlList(all=1, results=1, der_control=(CONTROL,)),
        Notification(
            subscribed_resource="/derp/1/derc",
            resource=DERControlList(all=1, results=1, der_control=(CONTROL,)),
            status=0,
            subscription_uri="/edev/1/sub/1",
        ),
        EndDeviceList(
            all=1,
            results=1,
            end_device=(EndDevice(sfdi=1, changed_time=0, connection_point_link=Link(href="/cp")),),
        ),
    ):
        body = wire.write(resource, Profile.SEP2018)
        assert b"csipaus" not in body
        assert b"csipaus" in wire.write(resource, Profile.CSIPAUS12)


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("x" * 31, "x" * 31),
        ("x" * 32, "x" * 31),
        ("x" * 500, "x" * 31),
        ("é" * 15, "é" * 15),
        ("é" * 16, "é" * 15),
        ("\N{GRINNING FACE}" * 8, "\N{GRINNING FACE}" * 7),
        ("", ""),
    ],
)
def test_words_stay_under_the_schemas_length(said, written):
    """Fewer than 32 characters and octets, cut between characters."""
    body = wire.write(_program(description=said), Profile.SEP2018)
    assert wire.read(body, DERProgram, Profile.SEP2018).description == written
    assert f"<description>{written}</description>" in body.decode()


def test_text_cannot_become_markup():
    """Whatever an operator or a device called something."""
    said = "a<b>&\"'\r\n\t\x00\ud800c"
    body = wire.write(_program(description=said, href=f"/d?{said}"), Profile.SEP2018)
    found = wire.read(body.replace(b"\xef\xbf\xbd", b"?"), DERProgram, Profile.SEP2018)
    assert body.count(b"<description>") == 1
    assert found.path == "DERProgram/@href"
    plain = wire.write(_program(description=said), Profile.SEP2018)
    assert (
        wire.read(plain, DERProgram, Profile.SEP2018).description
        == "a<b>&\"'\r\n\t\N{REPLACEMENT CHARACTER}?c"
    )


def test_rates_and_counts_are_always_said():
    """Absence would mean 900 s, and a page needs its counts; other defaults are left away."""
    body = wire.write(DERProgramList(), Profile.SEP2018)
    assert b'<DERProgramList xmlns="urn:ieee:std:2030.5:ns" all="0" results="0" pollRate="900"/>' in body


def test_identifiers_and_bits_are_whole_octets_in_capitals():
    """Bitmaps in their full length, identifiers as long as they are."""
    capability = DERCapability(
        modes_supported=DERControlType.CONNECT | DERControlType.WATT_VAR,
        doe_modes_supported=15,
        rtg_max_w=ActivePower(value=5_000, multiplier=0),
        type=83,
    )
    body = wire.write(capability, Profile.CSIPAUS12).decode()
    assert "<modesSupported>04000004</modesSupported>" in body
    assert "<csipaus:doeModesSupported>0F</csipaus:doeModesSupported>" in body
    assert (
        f"<mRID>{MRID}</mRID>"
        in wire.write(dataclasses.replace(_program(), mrid=MRID.lower()), Profile.SEP2018).decode()
    )


def test_a_response_in_a_list_names_its_type():
    """The list's element is called Response; what it is says ``xsi:type``."""
    answer = DERControlResponse(end_device_lfdi="0A" * 20, status=2, subject=MRID)
    listed = ResponseList(all=1, results=1, response=(answer,))
    body = wire.write(listed, Profile.SEP2018)
    assert b'xsi:type="DERControlResponse"' in body
    assert wire.read(body, ResponseList, Profile.SEP2018) == listed


def test_an_error_is_its_code_and_no_message():
    """The schema has none, and a client may stop at one."""
    body = wire.write(Error(max_retry_duration=30, reason_code=ReasonCode.TOO_FREQUENT), Profile.SEP2018)
    assert re.search(
        rb"<Error [^>]*><maxRetryDuration>30</maxRetryDuration><reasonCode>4</reasonCode></Error>$", body
    )


@pytest.mark.parametrize(
    ("resource", "profile", "said"),
    [
        (_program(version=65_536), Profile.SEP2018, "DERProgram.version: 65536 is not from 0 to 65535"),
        (_program(version=1.5), Profile.SEP2018, "DERProgram.version"),
        (_program(version="1"), Profile.SEP2018, "DERProgram.version"),
        (DERProgram(mrid="no hex", primacy=1), Profile.SEP2018, "DERProgram.mrid"),
        (DERProgram(mrid=None, primacy=1), Profile.SEP2018, "DERProgram.mrid: is missing"),
        (dataclasses.replace(CONTROL, response_required=256), Profile.SEP2018, "256"),
        (
            dataclasses.replace(
                CONTROL, der_control_base=DERControlBase(op_mod_target_w=ActivePower(value=1, multiplier=10))
            ),
            Profile.SEP2018,
            "DERControl.der_control_base: DERControlBase.op_mod_target_w: ActivePower.multiplier",
        ),
        (
            ConnectionPoint(connection_point_id="1"),
            Profile.SEP2018,
            "ConnectionPoint is not known to SEP2018",
        ),
        (
            TariffProfile(mrid=MRID, primacy=0, service_category_kind=0),
            Profile.CSIPAUS13,
            "TariffProfile.combined_time_tariff_interval_list_link: is missing",
        ),
    ],
)
def test_what_the_schema_does_not_admit_is_never_written(resource, profile, said):
    """A value out of bounds is our mistake; the error names where."""
    with pytest.raises(ValueError, match=re.escape(said)):
        wire.write(resource, profile)


def test_what_a_plain_client_said_can_be_shown_to_an_australian_one():
    """A capability without envelope modes says that there are none, to whom must be told."""
    said = DERCapability(modes_supported=1, rtg_max_w=ActivePower(value=1, multiplier=0), type=4)
    body = wire.write(said, Profile.CSIPAUS12)
    assert wire.read(body, DERCapability, Profile.CSIPAUS12) == dataclasses.replace(
        said, doe_modes_supported=0
    )
    assert wire.read(wire.write(said, Profile.SEP2018), DERCapability, Profile.SEP2018) == said


def test_a_curve_has_one_to_ten_points():
    """No curve is written without points, or with more than the schema has room for."""
    curve = DERCurve(
        mrid=MRID,
        creation_time=0,
        curve_data=(CurveData(xvalue=1, yvalue=2),),
        curve_type=11,
        x_multiplier=-2,
        y_multiplier=-2,
        y_ref_type=2,
    )
    for points in (0, 11):
        with pytest.raises(ValueError, match=f"DERCurve.curve_data: {points} items, not 1 to 10"):
            wire.write(dataclasses.replace(curve, curve_data=curve.curve_data * points), Profile.SEP2018)
    assert (
        wire.write(dataclasses.replace(curve, curve_data=curve.curve_data * 10), Profile.SEP2018).count(
            b"xvalue"
        )
        == 20
    )


def test_a_page_has_as_many_items_as_it_says():
    """``results`` is counted, not believed."""
    with pytest.raises(ValueError, match="says 2 items, has 1"):
        wire.listed(DERControlList(all=2, results=2), [b"<DERControl/>"], Profile.SEP2018)


def test_the_table_has_every_control_mode():
    """All 25 modes with the ramp, and the five of CSIP-AUS behind it in the order of its schema."""
    names = [slot.mark.name for slot in table(DERControlBase)]
    assert names.index("rampTms") == 25
    assert names[26:] == [
        "opModImpLimW",
        "opModExpLimW",
        "opModGenLimW",
        "opModLoadLimW",
        "opModStorageTargetW",
    ]


def test_a_connection_point_inside_a_notification_is_named_by_its_own_type(schemas):
    """The profile calls the type otherwise than the element; what is written is valid and reads back."""
    point = ConnectionPoint(connection_point_id="NMI")
    news = Notification(subscribed_resource="/", status=0, subscription_uri="/s", resource=point)
    body = wire.write(news, Profile.CSIPAUS12)
    assert b'xsi:type="csipaus:ConnectionPointType"' in body
    schemas[Profile.CSIPAUS12].assertValid(etree.fromstring(body))
    assert wire.read(body, Notification, Profile.CSIPAUS12) == news
