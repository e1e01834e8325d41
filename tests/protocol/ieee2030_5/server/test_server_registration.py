"""Who is registered, how, and what each of them sees."""

from dataclasses import replace

import pytest

from gridflock.field.ieee2030_5.identity import sfdi_of
from gridflock.field.ieee2030_5.resources import (
    ConnectionPoint,
    DeviceCapability,
    EndDevice,
    EndDeviceList,
    Error,
    FunctionSetAssignmentsList,
    Profile,
    ReasonCode,
    Registration,
)
from gridflock.field.ieee2030_5.server import Access, Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._devices import Enrolment, load, load_points, set_access, set_resource
from gridflock.field.ieee2030_5.server._programs import make_program
from gridflock.field.ieee2030_5.server._registry import Registry
from gridflock.field.ieee2030_5.wire import read
from gridflock.model import Rejected

BY = By("operator", "a test")
AUS = Profile.CSIPAUS12


def _lfdis(client, **query):
    return [each.lfdi for each in client.get("/edev", EndDeviceList, l=100, **query).end_device]


def test_a_loaded_device_finds_itself_by_links(utility):
    """From the one address it is given, a device loaded by the operator finds its device and its PIN."""
    client = utility.enrol(1, pin=111115)
    first = client.get("/dcap", DeviceCapability)
    assert first.end_device_list_link.all == 1
    devices = client.get(first.end_device_list_link.href, EndDeviceList, l=10)
    assert (devices.all, devices.results) == (1, 1)
    mine = devices.end_device[0]
    assert (mine.lfdi, mine.sfdi, mine.enabled) == (client.lfdi, sfdi_of(client.lfdi), True)
    assert client.get(mine.href, EndDevice) == mine
    assert client.get(mine.registration_link.href, Registration).pin == 111115


def test_links_of_an_end_device_lead_somewhere(utility):
    """What an end device links to is there, except what nobody has told or made yet."""
    client = utility.enrol(1, AUS, pin=111115, point="NMI1")
    mine = client.get("/edev/1", EndDevice)
    told_later = {mine.device_information_link, mine.device_status_link}
    told_later |= {mine.power_status_link, mine.configuration_link}
    links = {value for name in mine.__slots__ if (value := getattr(mine, name)) and name.endswith("_link")}
    unknown = {each.href for each in links - told_later if client.get(each.href).status != 200}
    assert unknown == set()
    assert {client.get(each.href).status for each in told_later} == {404}


def test_without_a_pin_there_is_no_registration_link(utility):
    """A device loaded without a PIN finds no registration; the operator sees that it went no further."""
    client = utility.enrol(1)
    assert client.get("/edev/1", EndDevice).registration_link is None
    assert client.get("/edev/1/rg").status == 404
    assert utility.server.contacts.stopped(utility.server.state, 1)
    client.get("/edev/1/fsa")
    assert not utility.server.contacts.stopped(utility.server.state, 1)


def test_a_client_that_stops_at_its_pin_is_seen(utility):
    """Who reads its PIN and asks for no assignment after it is shown as stopped there."""
    client = utility.enrol(1, pin=111115)
    client.get("/edev")
    assert not utility.server.contacts.stopped(utility.server.state, 1)
    client.get("/edev/1/rg")
    assert utility.server.contacts.stopped(utility.server.state, 1)
    client.get("/edev/1/fsa")
    assert not utility.server.contacts.stopped(utility.server.state, 1)


@pytest.mark.parametrize("pin", [12345, 1_000_000, -2])
def test_a_wrong_pin_is_not_stored(utility, pin):
    """Five digits and a check digit, or the PIN is refused by name."""
    wrong = utility.act(load, Enrolment("AB" * 20, pin=pin), BY)
    assert isinstance(wrong, Rejected)
    assert wrong.field == "pin"


def test_the_unknown_find_the_door_and_nothing_else(utility):
    """A stranger with a good certificate reads the first page and the time; lists are not there for it."""
    stranger = utility.stranger(7)
    assert stranger.get("/dcap", DeviceCapability).end_device_list_link.all == 0
    assert stranger.get("/tm").status == 200
    assert [stranger.get(path).status for path in ("/edev", "/mup", "/edev/1")] == [404] * 3


def test_in_band_registration_is_refused_by_policy(make):
    """Where nobody may register itself, the attempt is 403 and nothing is stored."""
    utility = make(in_band_devices=False)
    stranger = utility.stranger(7)
    answer = stranger.post("/edev", stranger.end_device())
    assert answer.status == 403
    assert read(answer.body, Error, Profile.SEP2018).reason_code == ReasonCode.VALUES
    assert utility.journal == []


def test_a_device_registers_itself(make):
    """In-band: 201, the place of the new device, the agreed PIN, and it waits for approval."""
    utility = make(in_band_devices=True)
    client = utility.stranger(7)
    answer = client.post("/edev", client.end_device())
    assert (answer.status, answer.location) == (201, "/edev/1")
    assert client.get("/edev/1", EndDevice).enabled is False
    assert client.get("/edev/1/rg", Registration).pin == 111115
    utility.act(set_access, client.lfdi, Access.ENABLED, BY)
    assert client.get("/edev/1", EndDevice).enabled is True


@pytest.mark.parametrize("profile", Profile)
def test_who_registers_itself_is_spoken_to_as_it_spoke(make, profile):
    """The profile a device shows when it registers is the one it is answered in, within policy."""
    utility = make(in_band_devices=True, profile=AUS)
    client = utility.stranger(7)
    client.profile = profile
    assert client.post("/edev", client.end_device()).status == 201
    client.profile = min(profile, AUS)
    link = client.get("/edev/1", EndDevice).connection_point_link
    assert (link is not None) == (profile is not Profile.SEP2018)


def test_registering_again_gives_the_same_place(make):
    """The same end device posted again creates nothing and is told where it is."""
    utility = make(in_band_devices=True)
    client = utility.stranger(7)
    first = client.post("/edev", client.end_device())
    entries = len(utility.journal)
    again = client.post("/edev", client.end_device())
    assert (again.status, again.location) == (first.status, first.location)
    assert len(utility.journal) == entries
    assert client.get("/edev", EndDeviceList, l=9).all == 1


def test_a_short_form_alone_is_enough_for_oneself(make):
    """A device that posts no LFDI is the one of its certificate, if the short form says so."""
    utility = make(in_band_devices=True)
    client = utility.stranger(7)
    assert client.post("/edev", client.end_device(lfdi=None)).status == 201
    other = utility.stranger(8)
    assert other.post("/edev", other.end_device(lfdi=None, sfdi=111111111110)).status == 400


@pytest.mark.parametrize("kind", ["other", "short form", "short", "text"])
def test_a_claimed_identifier_must_be_the_certificates(make, kind):
    """An LFDI that is not the certificate's, not whole, not hexadecimal or not of its SFDI is refused."""
    utility = make(in_band_devices=True)
    client, other = utility.stranger(7), utility.stranger(8)
    good = client._body(client.end_device())
    body = {
        "other": client._body(client.end_device(other.lfdi)),
        "short form": client._body(client.end_device(sfdi=other.end_device().sfdi)),
        "short": client._body(client.end_device(lfdi="ABCD")),
        "text": good.replace(client.lfdi.encode(), b"not a number at all"),
    }[kind]
    assert client.post("/edev", body).status == (403 if kind == "other" else 400)
    assert utility.journal == []


def test_an_aggregator_registers_many_sites(utility):
    """Sites have identifiers of their own; the aggregator sees itself and all of them, by ascending SFDI."""
    aggregator = utility.enrol(1, AUS, aggregator=True)
    sites = [utility.stranger(f"site {k}").lfdi for k in range(30)]
    places = [aggregator.post("/edev", aggregator.end_device(site)).location for site in sites]
    assert len(set(places)) == 30
    listed = _lfdis(aggregator)
    assert set(listed) == {aggregator.lfdi, *sites}
    assert listed == sorted(listed, key=sfdi_of)
    again = aggregator.post("/edev", aggregator.end_device(sites[3]))
    assert (again.status, again.location) == (201, places[3])


def test_clients_see_only_their_own(utility):
    """Several clients at once: each sees its own devices, and the other's are not there."""
    one = utility.enrol(1, AUS, aggregator=True)
    two = utility.enrol(2, aggregator=True)
    three = utility.enrol(3)
    for client in (one, two):
        client.post("/edev", client.end_device(utility.stranger(f"site of {client.lfdi}").lfdi))
    assert [len(_lfdis(each)) for each in (one, two, three)] == [2, 2, 1]
    assert three.get("/edev/1").status == 404
    assert three.put("/edev/1", three.end_device()).status == 403
    assert one.delete("/edev/5").status == 403


def test_another_clients_identifier_cannot_be_claimed(utility):
    """An aggregator cannot register another's site, a direct device, nor the other aggregator."""
    one, two = utility.enrol(1, aggregator=True), utility.enrol(2, aggregator=True)
    device, site = utility.enrol(3), utility.stranger("a site").lfdi
    assert one.post("/edev", one.end_device(site)).status == 201
    claims = [two.post("/edev", two.end_device(each)).status for each in (site, device.lfdi, one.lfdi)]
    assert claims == [403] * 3
    assert _lfdis(two) == [two.lfdi]


def test_a_direct_device_registers_nobody_else(utility):
    """Only aggregators speak for others."""
    client = utility.enrol(1)
    assert client.post("/edev", client.end_device(utility.stranger(2).lfdi)).status == 403


def test_sites_may_have_to_carry_the_providers_number(make):
    """Under a strict policy a site's LFDI ends in its aggregator's enterprise number."""
    utility = make(strict_site_lfdi=True)
    aggregator = utility.enrol(1, aggregator=True, pen=37250)
    good = utility.stranger(2).lfdi
    assert aggregator.post("/edev", aggregator.end_device(good)).status == 201
    assert aggregator.post("/edev", aggregator.end_device(good[:-8] + "0000ABCD")).status == 403


def test_an_aggregator_has_only_so_many_sites(make):
    """Beyond its bound an aggregator is told of a resource limit."""
    utility = make(most_sites=2)
    aggregator = utility.enrol(1, aggregator=True)
    answers = [aggregator.post("/edev", aggregator.end_device(utility.stranger(k).lfdi)) for k in (2, 3, 4)]
    assert [each.status for each in answers] == [201, 201, 403]
    assert read(answers[2].body, Error, Profile.SEP2018).reason_code == ReasonCode.LIMIT


def test_an_aggregator_gives_up_a_site(utility):
    """A deleted site is gone with all of its tree, and may come again; nobody deletes itself."""
    aggregator = utility.enrol(1, aggregator=True)
    site = utility.stranger(2).lfdi
    place = aggregator.post("/edev", aggregator.end_device(site)).location
    assert aggregator.delete(place).status == 204
    assert aggregator.get(place).status == 404
    assert _lfdis(aggregator) == [aggregator.lfdi]
    assert aggregator.post("/edev", aggregator.end_device(site)).location not in {"", place}
    assert aggregator.delete("/edev/1").status == 403


def test_a_device_tells_its_category_anew(utility):
    """A PUT changes what is the client's to change, and not who it is."""
    client = utility.enrol(1)
    assert client.put("/edev/1", client.end_device(device_category=1 << 21)).status == 204
    assert client.get("/edev/1", EndDevice).device_category == 1 << 21
    assert client.put("/edev/1", client.end_device(utility.stranger(2).lfdi)).status == 400


def test_suspended_and_restored(utility):
    """A suspended client is refused everything with its state untouched; restored it goes on."""
    client = utility.enrol(1, pin=111115)
    before = client.get("/edev/1", EndDevice)
    utility.act(set_access, client.lfdi, Access.SUSPENDED, BY)
    refused = [client.get(path).status for path in ("/dcap", "/tm", "/edev", "/edev/1", "/nowhere")]
    assert refused == [403] * 5
    assert client.post("/edev", client.end_device()).status == 403
    utility.act(set_access, client.lfdi, Access.ENABLED, BY)
    assert client.get("/edev/1", EndDevice) == before


def test_a_suspended_site_leaves_its_aggregator_alone(utility):
    """Of an aggregator, one site can be suspended."""
    aggregator = utility.enrol(1, aggregator=True)
    sites = [utility.stranger(k).lfdi for k in (2, 3)]
    places = [aggregator.post("/edev", aggregator.end_device(site)).location for site in sites]
    utility.act(set_access, sites[0], Access.SUSPENDED, BY)
    assert [aggregator.get(place).status for place in places] == [403, 200]


def test_the_removed_do_not_come_back_by_themselves(make):
    """A removed device is unknown for reading and refused for writing, also where anybody may register."""
    utility = make(in_band_devices=True)
    client = utility.enrol(1)
    utility.act(set_access, client.lfdi, Access.REMOVED, BY)
    assert client.get("/edev").status == 404
    assert client.get("/edev/1").status == 404
    assert client.post("/edev", client.end_device()).status == 403
    aggregator = utility.enrol(2, aggregator=True)
    assert aggregator.post("/edev", aggregator.end_device(client.lfdi)).status == 403


def test_who_gives_up_a_site_takes_nobody_elses_name(utility):
    """Of two devices of one identifier, as a former journal may have them, one goes and the other stays."""
    aggregator, site = utility.enrol(1, aggregator=True), utility.stranger(2)
    aggregator.post("/edev", aggregator.end_device(site.lfdi))
    registry = Registry()
    first = utility.server.state.registry.devices[2]
    for device in (first, replace(first, number=3, owner=site.lfdi)):
        registry.keep(device)
    registry.forget(2)
    assert registry.of(site.lfdi).number == 3
    registry.forget(3)
    assert registry.of(site.lfdi) is None


def test_who_was_removed_follows_nothing_when_it_is_let_in_again(utility):
    """Its list of assignments, read before, is empty afterwards."""
    client = utility.enrol(1)
    utility.act(make_program, "feeder", 5, BY)
    utility.act(assign, {client.lfdi: (Assignment("grid", (1,)),)}, BY)
    paths = ("/edev/1/fsa/1", "/edev/1/fsa/1/derp")
    assert client.get("/edev/1/fsa", FunctionSetAssignmentsList).all == 1
    assert [client.get(path).status for path in paths] == [200, 200]
    for access in (Access.REMOVED, Access.ENABLED):
        utility.act(set_access, client.lfdi, access, BY)
    assert client.get("/edev/1/fsa", FunctionSetAssignmentsList).all == 0
    assert [client.get(path).status for path in paths] == [404, 404]


def test_nobody_becomes_pending_again(utility):
    """Verbs about the unknown, and ways that do not exist, are rejected by name."""
    client = utility.enrol(1)
    assert utility.act(set_access, client.lfdi, Access.PENDING, BY).field == "access"
    assert utility.act(set_access, "AB" * 20, Access.ENABLED, BY).field == "lfdi"
    assert utility.act(set_resource, "AB" * 20, "battery", BY).field == "lfdi"


def test_loading_again_changes_and_does_not_double(utility):
    """What the operator loads again replaces what was known; the place stays."""
    client = utility.enrol(1, pin=111115)
    utility.act(load, Enrolment(client.lfdi, pin=222220, profile=AUS, resource="home 1"), BY)
    assert client.get("/edev/1/rg", Registration).pin == 222220
    assert utility.server.state.registry.devices[1].resource == "home 1"
    assert len(utility.server.state.registry.devices) == 1


def test_loading_again_readmits_nobody_and_keeps_what_is_not_said(utility):
    """Suspended or removed stays; profile, hosts, name and PIN stay; the same again is no change."""
    client = utility.enrol(1, AUS, hosts=("a.example",), name="one", aggregator=True, pin=111115)
    registry = utility.server.state.registry
    before = registry.clients[client.lfdi]
    for access in (Access.SUSPENDED, Access.REMOVED):
        utility.act(set_access, client.lfdi, access, BY)
        made = utility.server.state.made
        assert utility.act(load, Enrolment(client.lfdi), BY).access is access
        assert (registry.clients[client.lfdi], utility.server.state.made) == (before, made)
    assert registry.of(client.lfdi).pin == 111115


def test_a_resource_is_one_device(utility):
    """A second device cannot be loaded with it or be given it; a removed one's place is free."""
    one, two = utility.enrol(1, resource="battery"), utility.enrol(2)
    assert utility.act(load, Enrolment(two.lfdi, resource="battery"), BY).field == "resource"
    assert utility.act(set_resource, two.lfdi, "battery", BY).field == "resource"
    utility.act(set_access, one.lfdi, Access.REMOVED, BY)
    assert utility.act(set_resource, two.lfdi, "battery", BY) is None
    assert utility.act(set_access, one.lfdi, Access.ENABLED, BY).field == "resource"


def test_loading_is_judged(utility):
    """A site needs an aggregator, an identifier its form, and nobody belongs to two."""
    device, aggregator = utility.enrol(1), utility.enrol(2, aggregator=True)
    site = "AB" * 20
    wrong = [
        utility.act(load, Enrolment("abc"), BY),
        utility.act(load, Enrolment(site, owner=device.lfdi), BY),
        utility.act(load, Enrolment(aggregator.lfdi, owner=aggregator.lfdi), BY),
        utility.act(load, Enrolment(device.lfdi, owner=aggregator.lfdi), BY),
        utility.act(load, Enrolment(site, owner=aggregator.lfdi, point="two words"), BY),
    ]
    assert [each.field for each in wrong] == ["lfdi", "owner", "owner", "owner", "point"]
    assert utility.act(load, Enrolment(site, owner=aggregator.lfdi), BY).owner == aggregator.lfdi


# ---- connection points -------------------------------------------------------------------------------


def _point(name):
    return ConnectionPoint(connection_point_id=name)


def test_a_connection_point_is_named_and_changed(utility):
    """It is linked to, accepted, shown, and may be another one later."""
    client = utility.enrol(1, AUS)
    link = client.get("/edev/1", EndDevice).connection_point_link.href
    assert client.get(link).status == 404
    assert client.put(link, _point("4102000000")).status == 204
    assert client.get(link, ConnectionPoint).connection_point_id == "4102000000"
    answer = client.post(link, _point("4102000001"))
    assert (answer.status, answer.location) == (201, link)
    assert client.get(link, ConnectionPoint).connection_point_id == "4102000001"


def test_points_that_were_left_are_forgotten(utility):
    """A client that names one point after the other leaves nothing behind but the last."""
    client = utility.enrol(1, AUS)
    for k in range(50):
        assert client.put("/edev/1/cp", _point(f"NMI{k}")).status == 204
    assert set(utility.server.state.registry.at_point) == {"NMI49"}


def test_a_wrong_connection_point_is_refused(make):
    """One that is not written as the policy wants, or that nobody has loaded, is 400."""
    utility = make(connection_point=r"\d{10}")
    client = utility.enrol(1, AUS)
    assert client.put("/edev/1/cp", _point("41020")).status == 400
    utility.act(load_points, {"4102000000": "home 1"}, BY)
    assert client.put("/edev/1/cp", _point("4102000001")).status == 400
    assert client.put("/edev/1/cp", _point("4102000000")).status == 204
    assert utility.server.state.registry.devices[1].resource == "home 1"


def test_a_connection_point_has_one_client(utility):
    """Two devices of one client may share a site, those of two clients may not."""
    aggregator, other = utility.enrol(1, AUS, aggregator=True), utility.enrol(2, AUS)
    place = aggregator.post("/edev", aggregator.end_device(utility.stranger(3).lfdi)).location
    assert aggregator.put("/edev/1/cp", _point("NMI")).status == 204
    assert aggregator.put(f"{place}/cp", _point("NMI")).status == 204
    assert other.put("/edev/2/cp", _point("NMI")).status == 400


def test_who_is_removed_keeps_no_connection_point(utility):
    """Its place is free for another client; where that took it, the removed one cannot come back to it."""
    one, two = utility.enrol(1, AUS, point="NMI"), utility.enrol(2, AUS)
    assert two.put("/edev/2/cp", _point("NMI")).status == 400
    utility.act(set_access, one.lfdi, Access.REMOVED, BY)
    assert two.put("/edev/2/cp", _point("NMI")).status == 204
    assert utility.act(set_access, one.lfdi, Access.ENABLED, BY).field == "point"
    assert two.put("/edev/2/cp", _point("other")).status == 204
    assert utility.act(set_access, one.lfdi, Access.ENABLED, BY) is None


def test_a_connection_point_gives_nobody_anothers_resource(utility):
    """What another client's device is, is 400; a second device of one's own is left to the operator."""
    owner, other = utility.enrol(1, AUS, aggregator=True, resource="home 1"), utility.enrol(2, AUS)
    place = owner.post("/edev", owner.end_device(utility.stranger(3).lfdi)).location
    utility.act(load_points, {"4102000000": "home 1"}, BY)
    devices = utility.server.state.registry.devices
    assert other.put("/edev/2/cp", _point("4102000000")).status == 400
    assert owner.put(f"{place}/cp", _point("4102000000")).status == 204
    assert [devices[k].resource for k in (1, 2, 3)] == ["home 1", "", ""]


def test_who_moves_leaves_the_resource_of_the_former_point(make):
    """Where nobody is asked another point gives another resource or none; what was given goes along."""
    utility = make(approve_at_once=True)
    client, named = utility.enrol(1, AUS), utility.enrol(2, AUS, resource="home 9")
    utility.act(load_points, {"A": "home 1", "B": "home 2", "C": "", "D": ""}, BY)
    devices = utility.server.state.registry.devices
    seen = []
    for point in "ABC":
        assert client.put("/edev/1/cp", _point(point)).status == 204
        seen.append(devices[1].resource)
    assert seen == ["home 1", "home 2", ""]
    for point in "AD":
        assert named.put("/edev/2/cp", _point(point)).status == 204
    assert devices[2].resource == "home 9"


def test_who_is_a_resource_stays_it_until_an_operator_says_so(utility):
    """By its client's word a device stands elsewhere, and is no other resource; an operator joins it."""
    client = utility.enrol(1, AUS)
    utility.act(load_points, {"A": "home 1", "B": "home 2", "C": ""}, BY)
    devices = utility.server.state.registry.devices
    for point in "ABCB":
        assert client.put("/edev/1/cp", _point(point)).status == 204
        assert (devices[1].point, devices[1].resource) == (point, "home 1")
    assert utility.act(set_resource, client.lfdi, "home 2", BY) is None
    assert (devices[1].point, devices[1].resource) == ("B", "home 2")


def test_who_waits_takes_nothing_by_naming_a_point(make):
    """Its point is a wish: others may have point and resource; approved it has both, if they are free."""
    utility = make(in_band_devices=True)
    utility.act(load_points, {"A": "home 1", "B": "home 2"}, BY)
    devices = utility.server.state.registry.devices
    waiting = [utility.stranger(k, AUS) for k in (1, 2)]
    for number, client in enumerate(waiting, 1):
        assert client.post("/edev", client.end_device()).status == 201
        assert client.put(f"/edev/{number}/cp", _point("A")).status == 204
        assert (devices[number].point, devices[number].resource) == ("A", "")
    owner = utility.enrol(3, AUS, resource="home 1", point="A")
    assert owner.lfdi == devices[3].lfdi
    wrong = utility.act(set_access, waiting[0].lfdi, Access.ENABLED, BY)
    assert (wrong.field, devices[1].access) == ("point", Access.PENDING)
    assert utility.act(load, Enrolment(waiting[0].lfdi), BY).field == "point"
    assert waiting[0].put("/edev/1/cp", _point("B")).status == 204
    assert utility.act(set_access, waiting[0].lfdi, Access.ENABLED, BY) is None
    assert devices[1].resource == "home 2"
    assert utility.act(load, Enrolment(waiting[1].lfdi, point="B"), BY).field == "point"
    assert utility.act(set_access, waiting[1].lfdi, Access.REMOVED, BY) is None


def test_points_have_the_form_of_points(utility):
    """A list with an identifier that no device may name is refused whole, by that."""
    utility.act(load_points, {"A": "home 1"}, BY)
    wrong = utility.act(load_points, {"B": "", "two words": "", "": ""}, BY)
    assert (wrong.field, wrong.ids) == ("points", ("two words", ""))
    assert utility.server.state.registry.points == {"A": "home 1"}


def test_the_plain_profile_knows_no_connection_point(utility):
    """A client of the standard alone is neither shown the link nor answered behind it."""
    client = utility.enrol(1, point="NMI")
    assert b"csipaus" not in client.get("/edev/1").body
    assert client.get("/edev/1/cp").status == 404
