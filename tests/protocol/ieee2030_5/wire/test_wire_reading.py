"""What is refused of a body, with which reason, and what is taken although it is not written as we write."""

import re

import pytest

from gridflock.field.ieee2030_5 import wire
from gridflock.field.ieee2030_5.resources import (
    SEP,
    ActivePower,
    ConnectionPoint,
    DERCapability,
    DERControlList,
    DERControlResponse,
    DERSettings,
    DERStatus,
    EndDevice,
    EndDeviceList,
    Error,
    FlowReservationResponseResponse,
    MirrorMeterReading,
    MirrorMeterReadingList,
    MirrorUsagePoint,
    Notification,
    Profile,
    ReasonCode,
    Resource,
    Response,
    ResponseList,
    Subscription,
)
from gridflock.field.ieee2030_5.wire import MOST_BYTES, Malformed

XSI = "http://www.w3.org/2001/XMLSchema-instance"
LFDI = "3E4F45AB31EDFE5B67E343E5E4562E31984E23E5"


def _document(name, content, attributes="", namespace=SEP):
    return f'<{name} xmlns="{namespace}" {attributes}>{content}</{name}>'.encode()


def _settings(**changed):
    fields = {
        "setGradW": "27",
        "setMaxW": "<multiplier>0</multiplier><value>5000</value>",
        "updatedTime": "1700000000",
    }
    fields |= changed
    return _document("DERSettings", "".join(f"<{k}>{v}</{k}>" for k, v in fields.items() if v is not None))


def _refused(body, expected=Resource, profile=Profile.SEP2018):
    found = wire.read(body, expected, profile)
    assert isinstance(found, Malformed), found
    return found


# ---- what XML could do beside being a document -------------------------------------------------------

LAUGHS = """<!DOCTYPE lolz [<!ENTITY a "haha"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">
<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]>"""


@pytest.mark.parametrize(
    "declaration",
    [
        "<!DOCTYPE DERSettings>",
        '<!DOCTYPE DERSettings SYSTEM "file:///etc/passwd">',
        '<!DOCTYPE DERSettings PUBLIC "-//X//Y" "http://127.0.0.1:1/x.dtd">',
        '<!DOCTYPE DERSettings [<!ENTITY x SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE DERSettings [<!ATTLIST setGradW href CDATA "/x">]>',
        LAUGHS,
    ],
)
def test_a_document_type_is_refused(declaration):
    """Whatever a document type says, the body is refused before it is parsed."""
    body = b'<?xml version="1.0" encoding="UTF-8"?>\n' + declaration.encode() + _settings(setGradW="&c;")
    assert _refused(body) == Malformed("", "has a document type", ReasonCode.FORMAT)


def test_an_undefined_entity_is_refused():
    """Without a document type only XML's own five entities and characters by number exist."""
    assert _refused(_settings(setGradW="&a;")).reason.startswith("is no XML")
    assert wire.read(_settings(setGradW="&#50;&#x37;"), DERSettings, Profile.SEP2018).set_grad_w == 27


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-7", "cp037"])
def test_another_encoding_than_utf_8_is_refused(encoding):
    """A document type cannot be hidden in an encoding in which its marker has other bytes."""
    text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY b "c">]>{_settings().decode()}'
    assert _refused(text.encode(encoding)).code is ReasonCode.FORMAT


def test_a_declared_encoding_must_be_utf_8():
    """The declaration is believed: a body that says it is something else is refused, whatever its bytes."""
    latin = b'<?xml version="1.0" encoding="ISO-8859-1"?>' + _settings()
    assert _refused(latin).reason == "is written in 'ISO-8859-1', not in UTF-8"
    assert _refused(_settings(setGradW="27").replace(b"27", b"\xff27")).reason.startswith("is no XML")
    for said in (b'encoding="utf-8"', b"encoding='UTF-8' standalone='yes'", b""):
        body = b'\xef\xbb\xbf<?xml version="1.0" ' + said + b"?>" + _settings()
        assert isinstance(wire.read(body, DERSettings, Profile.SEP2018), DERSettings)


def test_a_schema_location_is_not_followed():
    """A place to look for the schema is passed over, in any form."""
    for name in ("schemaLocation", "noNamespaceSchemaLocation"):
        where = f'xmlns:xsi="{XSI}" xsi:{name}="{SEP} http://127.0.0.1:1/sep.xsd"'
        body = _settings().replace(b"<DERSettings ", f"<DERSettings {where} ".encode())
        assert isinstance(wire.read(body, DERSettings, Profile.SEP2018), DERSettings)


def test_an_include_is_an_unknown_element():
    """XInclude is never processed."""
    include = '<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="file:///etc/passwd" parse="text"/>'
    assert _refused(_settings(setGradW=include)).reason == "holds elements"


@pytest.mark.parametrize(
    "body", [b"", b" ", b"<", b"<a", b"{}", b"\x00", b"\xff\xfe<\x00", b"<a/><b/>", b"a=1&b=2"]
)
def test_what_is_no_document_is_refused(body):
    """Nothing, scraps, other formats."""
    assert _refused(body).code is ReasonCode.FORMAT


def test_a_body_too_long_is_refused_unread():
    """The reader's own bound, should nobody before it have one."""
    assert _refused(b"<" * (MOST_BYTES + 1)) == Malformed(
        "", f"{MOST_BYTES + 1} bytes, more than {MOST_BYTES}", ReasonCode.LIMIT
    )


def test_deep_nesting_is_refused():
    """Thousands of elements inside each other end at the first unknown one, or in the parser."""
    deep = 40_000
    assert _refused(_document("DERSettings", "<a>" * deep + "</a>" * deep)).code is ReasonCode.FORMAT
    opening = f'<Resource xmlns:xsi="{XSI}" xsi:type="NotificationList" all="1" results="1"><Notification>'
    closing = "</Notification></Resource>"
    for levels in (50, 120, 5_000):
        body = _document("Notification", opening * levels + closing * levels)
        assert _refused(body).code is ReasonCode.FORMAT


def test_a_list_too_long_is_refused():
    """More items than anybody has a use for are a limit reached, not a wrong format."""
    items = (
        "<Response/>" * 2 + f"<Response><endDeviceLFDI>{LFDI}</endDeviceLFDI><subject>0A</subject></Response>"
    )
    assert _refused(_document("ResponseList", items)).path == "ResponseList/Response"
    item = items.removeprefix("<Response/><Response/>")
    found = _refused(_document("ResponseList", item * 5_001))
    assert (found.code, found.path) == (ReasonCode.LIMIT, "ResponseList/Response[5001]")
    assert (
        len(wire.read(_document("ResponseList", item * 5_000), ResponseList, Profile.SEP2018).response)
        == 5_000
    )


def test_attributes_and_namespaces_are_few():
    """Thousands of them cost the parser their square; they are a limit reached."""
    for attribute in ('a{}="1"', 'xmlns:a{}="urn:a"'):
        many = " ".join(attribute.format(number) for number in range(60_000))
        assert _refused(_document("DERSettings", "", many)).code is ReasonCode.LIMIT
    some = " ".join(f'a{number}="1"' for number in range(17))
    found = _refused(_document("DERSettings", "", some))
    assert found == Malformed("DERSettings", "has 17 attributes", ReasonCode.LIMIT)


# ---- names -------------------------------------------------------------------------------------------


def test_an_edition_before_2018_is_named():
    """A client of a draft reads in the log what it speaks."""
    for draft in ("http://ieee.org/2030.5", "http://zigbee.org/sep"):
        found = _refused(_document("EndDevice", "", namespace=draft))
        assert found == Malformed(
            "EndDevice", f"is written for a draft of IEEE 2030.5 before 2018 ({draft})", ReasonCode.FORMAT
        )


def test_another_namespace_is_refused():
    """At the root and below it, and where there is none."""
    assert _refused(_document("EndDevice", "", namespace="urn:other")).reason.endswith(f"not {SEP}")
    assert _refused(b"<EndDevice/>").reason.endswith(f"not {SEP}")
    inside = _settings(setGradW=None).replace(b"</DERS", b'<setGradW xmlns="urn:other">1</setGradW></DERS')
    assert _refused(inside) == Malformed("DERSettings/setGradW", "is not known here", ReasonCode.FORMAT)


def test_an_element_of_a_later_profile_is_refused():
    """What a client does not speak it cannot send; each profile has its own namespace."""
    spoken = {}
    for profile in (Profile.CSIPAUS12, Profile.CSIPAUS13):
        limit = f'<x:doeModesEnabled xmlns:x="{profile.extension}">0F</x:doeModesEnabled></DERSettings>'
        body = _settings().replace(b"</DERSettings>", limit.encode())
        spoken[profile] = wire.spoken(body)
        assert wire.read(body, DERSettings, profile).doe_modes_enabled == 15
        for other in set(Profile) - {profile}:
            assert _refused(body, DERSettings, other).path == "DERSettings/doeModesEnabled"
    assert spoken == {each: each for each in spoken}
    assert wire.spoken(_settings()) is Profile.SEP2018
    for profile in (Profile.CSIPAUS12, Profile.CSIPAUS13):
        assert wire.spoken(f"<a:b xmlns:a = '{profile.extension}'/>".encode()) is profile
    assert wire.spoken(b"<a>https://csipaus.org/ns</a>") is Profile.SEP2018


def test_only_what_is_expected_is_taken():
    """A resource of another class is refused; one derived from the expected is taken."""
    answer = f"<endDeviceLFDI>{LFDI}</endDeviceLFDI><subject>0A</subject>"
    assert _refused(_settings(), EndDevice).reason == "is not what is expected here"
    assert isinstance(wire.read(_settings(), (EndDevice, DERSettings), Profile.SEP2018), DERSettings)
    whole = wire.read(_document("DERControlResponse", answer), Response, Profile.SEP2018)
    typed = f'xmlns:xsi="{XSI}" xsi:type="DERControlResponse"'
    same = wire.read(_document("Response", answer, typed), DERControlResponse, Profile.SEP2018)
    assert whole == same
    assert isinstance(whole, DERControlResponse)
    assert (
        wire.read(_document("Error", "<reasonCode>4</reasonCode>"), Error, Profile.SEP2018).reason_code == 4
    )


@pytest.mark.parametrize(
    ("said", "taken"),
    [
        ("DERControlResponse", DERControlResponse),
        (" s:FlowReservationResponseResponse ", FlowReservationResponseResponse),
        ("Response", Response),
        ("EndDevice", None),
        ("x:DERControlResponse", None),
        ("Nothing", None),
        ("", None),
    ],
)
def test_a_type_is_the_declared_one_or_derived(said, taken):
    """``xsi:type`` may narrow a response in a list, by a name of the right namespace."""
    spaces = f'xmlns:xsi="{XSI}" xmlns:s="{SEP}" xmlns:x="urn:other" xsi:type="{said}"'
    item = f"<Response {spaces}><endDeviceLFDI>{LFDI}</endDeviceLFDI><subject>0A</subject></Response>"
    found = wire.read(_document("ResponseList", item), ResponseList, Profile.SEP2018)
    assert isinstance(found, Malformed) if taken is None else type(found.response[0]) is taken


def test_a_type_where_none_may_be_chosen():
    """Elsewhere it may only repeat what is declared."""
    for said, good in (("ActivePower", True), ("ReactivePower", False)):
        power = f'<setMaxW xmlns:xsi="{XSI}" xsi:type="{said}">'
        body = _settings().replace(b"<setMaxW>", power.encode())
        assert isinstance(wire.read(body, DERSettings, Profile.SEP2018), DERSettings) is good


def test_a_type_of_an_extension_needs_its_profile():
    """A notification can carry a connection point only to who knows what that is."""
    for profile in Profile:
        extension = Profile.CSIPAUS12.extension
        body = _document(
            "Notification",
            "<subscribedResource>/a</subscribedResource><Resource xsi:type='c:ConnectionPoint'>"
            "<c:connectionPointId>NMI</c:connectionPointId></Resource><status>0</status>"
            "<subscriptionURI>/b</subscriptionURI>",
            f'xmlns:xsi="{XSI}" xmlns:c="{extension}"',
        )
        found = wire.read(body, Notification, profile)
        if profile is Profile.CSIPAUS12:
            assert found.resource == ConnectionPoint(connection_point_id="NMI")
        else:
            assert found.path == "Notification/Resource"


@pytest.mark.parametrize("name", ["x:y:z", "x::y", "::x", "x:", "y:x"])
def test_a_name_of_many_parts_is_refused(name):
    """Names that some parsers let pass: as root, inside, and of an attribute."""
    spaces = f'xmlns="{SEP}" xmlns:y="urn:other"'
    for body in (
        f"<{name} {spaces}/>",
        f"<DERSettings {spaces}><{name}/><{name}/></DERSettings>",
        f'<DERSettings {spaces} {name}="1"/>',
    ):
        assert _refused(body.encode()).code is ReasonCode.FORMAT


# ---- values ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["-10", "10", "127", "1.5", "", "x", "1e1", "٣", "1_0", "0x1"])
def test_a_multiplier_beyond_nine_is_a_wrong_value(said):
    """The schema alone takes any octet; nobody means ten to the hundredth."""
    power = f"<multiplier>{said}</multiplier><value>5</value>"
    found = _refused(_settings(setMaxW=power))
    assert (found.path, found.code) == ("DERSettings/setMaxW/multiplier", ReasonCode.VALUES)


@pytest.mark.parametrize(("said", "meant"), [("-9", -9), ("+9", 9), (" 3\n", 3), ("007", 7), ("-0", 0)])
def test_a_whole_number_may_be_written_in_many_ways(said, meant):
    """Signs, blanks round it, leading zeros."""
    power = f"<multiplier>{said}</multiplier><value>5</value>"
    found = wire.read(_settings(setMaxW=power), DERSettings, Profile.SEP2018)
    assert found.set_max_w == ActivePower(multiplier=meant, value=5)


@pytest.mark.parametrize("name", ["setGradW", "setMaxW", "updatedTime"])
def test_settings_without_what_is_needed_are_refused(name):
    """Ramp, rating and the time of the change must be there."""
    assert _refused(_settings(**{name: None})) == Malformed(
        "DERSettings", f"has no {name}", ReasonCode.FORMAT
    )


def test_a_profile_demands_its_own():
    """DERCapability says which envelope modes there are, if its sender speaks CSIP-AUS."""
    power = "<multiplier>0</multiplier><value>5000</value>"
    content = f"<modesSupported>0070</modesSupported><rtgMaxW>{power}</rtgMaxW><type>83</type>"
    body = _document("DERCapability", content)
    assert isinstance(wire.read(body, DERCapability, Profile.SEP2018), DERCapability)
    assert _refused(body, DERCapability, Profile.CSIPAUS12).reason == "has no doeModesSupported"


@pytest.mark.parametrize("said", ["hello", "0", "0x0A", "0A 0B", "", "0A" * 21, "é0"])
def test_an_identifier_is_whole_octets_in_hex(said):
    """An LFDI that is text, odd, spaced, empty or too long is a wrong value."""
    body = _document("EndDevice", f"<lFDI>{said}</lFDI><sFDI>1</sFDI><changedTime>0</changedTime>")
    assert _refused(body).code is ReasonCode.VALUES


def test_an_identifier_is_kept_in_capitals():
    """However it was sent, so that two of the same are equal."""
    body = _document("EndDevice", f"<lFDI> {LFDI.lower()} </lFDI><sFDI>1</sFDI><changedTime>0</changedTime>")
    assert wire.read(body, EndDevice, Profile.SEP2018).lfdi == LFDI


@pytest.mark.parametrize("said", ["", "/a b", "/a\t/b", "/" + "x" * 1_024])
def test_an_address_is_one_word(said):
    """An empty, broken or endless one is refused."""
    body = _document(
        "Subscription",
        f"<subscribedResource>{said}</subscribedResource><encoding>0</encoding><level>+S1</level>"
        "<limit>1</limit><notificationURI>https://a/b</notificationURI>",
    )
    assert _refused(body, Subscription).path == "Subscription/subscribedResource"


def test_an_element_stands_once():
    """Twice the same is refused, whichever would win."""
    body = _settings().replace(b"</DERSettings>", b"<setGradW>1</setGradW></DERSettings>")
    assert _refused(body) == Malformed("DERSettings/setGradW[2]", "is there twice", ReasonCode.FORMAT)


def test_text_between_elements_is_refused():
    """An element of elements holds no text of its own; comments and instructions are no text."""
    assert _refused(_document("DERControlList", "12", 'all="0" results="0"')).reason == "holds the text '12'"
    body = _settings().replace(b"<setGradW>27", b"<!-- a --><?b c?><setGradW>2<!-- d -->7")
    assert wire.read(body, DERSettings, Profile.SEP2018).set_grad_w == 27


def test_an_unknown_attribute_is_refused():
    """Of an element of elements; ``xsi:nil`` too, since nothing here can be nil."""
    nil, foreign = f'xmlns:xsi="{XSI}" xsi:nil="true"', 'xmlns:o="urn:o" o:href="/x"'
    for attribute, name in (('other="1"', "other"), (nil, "nil"), (foreign, "href")):
        found = _refused(_document("DERControlList", "", attribute))
        assert found == Malformed(f"DERControlList/@{name}", "is not known here", ReasonCode.FORMAT)


def test_order_is_not_judged():
    """Nothing depends on it, and some devices write it wrongly."""
    right = wire.read(_settings(), DERSettings, Profile.SEP2018)
    fields = re.findall(
        rb"<(?:setGradW|setMaxW|updatedTime)>.*?</(?:setGradW|setMaxW|updatedTime)>", _settings()
    )
    assert (
        wire.read(_document("DERSettings", b"".join(fields[::-1]).decode()), DERSettings, Profile.SEP2018)
        == right
    )


def test_a_posted_list_may_leave_out_its_counts():
    """Clients that post a list know nothing of pages."""
    item = "<MirrorMeterReading><mRID>0A</mRID><Reading><value>-5</value></Reading></MirrorMeterReading>"
    body = _document("MirrorMeterReadingList", item * 3)
    found = wire.read(body, MirrorMeterReadingList, Profile.SEP2018)
    assert [each.reading.value for each in found.mirror_meter_reading] == [-5] * 3
    assert (found.all, found.results) == (0, 0)


def test_what_is_said_of_a_body_is_short_and_printable():
    """Nothing of what was sent can fill or forge the log."""
    found = _refused(_settings(setGradW="1\n" * 2_000 + "\u202e"))
    assert len(found.reason) < 120
    assert found.reason.isprintable()
    assert found.reason.isascii()
    assert found.error() == Error(reason_code=ReasonCode.VALUES)
    for name in ("é" * 1_000, "x" * 4_000):
        for body in (f"<{name}/>", f'<DERSettings xmlns="{SEP}"><{name}/></DERSettings>'):
            found = _refused(body.encode())
            assert (found.path + found.reason).isascii()
            assert len(found.path + found.reason) < 200


@pytest.mark.parametrize(
    ("expected", "body"),
    [
        (MirrorUsagePoint, _document("MirrorUsagePoint", "<mRID>0A</mRID><status>1</status>")),
        (MirrorMeterReading, _document("MirrorMeterReading", "<Reading><value>1</value></Reading>")),
        (DERStatus, _document("DERStatus", "<alarmStatus>00000001</alarmStatus>")),
        (DERControlResponse, _document("DERControlResponse", "<status>1</status>")),
        (EndDeviceList, _document("EndDeviceList", "<EndDevice/>")),
        (DERControlList, _document("DERControlList", "<DERControl/>")),
    ],
)
def test_what_lacks_its_identity_is_refused(expected, body):
    """Required elements are required of every class that is posted or served."""
    assert " has no " in f" {_refused(body, expected).reason}"
