"""An aggregator's word against a certificate: who holds the identifier, and who decides it."""

import random
from dataclasses import replace

import pytest

from gridflock.field.ieee2030_5.resources import (
    ConnectionPoint,
    EndDevice,
    EndDeviceList,
    Error,
    MirrorMeterReading,
    MirrorUsagePoint,
    Profile,
    Reading,
    ReadingType,
    ReasonCode,
    Registration,
    Subscription,
)
from gridflock.field.ieee2030_5.server import Access, Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._devices import Enrolment, load, load_points, set_access, set_resource
from gridflock.field.ieee2030_5.server._programs import make_program
from gridflock.field.ieee2030_5.wire import read

BY = By("operator", "a test")
AUS = Profile.CSIPAUS12
SITE_PATHS = ("", "/rg", "/fsa", "/lel", "/der", "/sub", "/cp")


def _claimed(utility, number=2, profile=AUS):
    """An aggregator that has claimed a site, the holder of that certificate, and the claim's address."""
    aggregator = utility.enrol(1, profile, aggregator=True, hosts=("a.example",))
    holder = utility.stranger(number, profile)
    answer = aggregator.post("/edev", aggregator.end_device(holder.lfdi))
    assert answer.status == 201
    return aggregator, holder, answer.location


def _sees_nothing(client, other, place):
    """Nothing at or below an address is the client's to read or write; its lists do not name the other."""
    assert {client.get(f"{place}{tail}").status for tail in SITE_PATHS} == {404}
    assert client.put(place, client.end_device(other.lfdi)).status in {403, 404}
    assert client.delete(place).status in {403, 404}
    for path in ("/edev", "/mup"):
        assert other.lfdi.encode() not in client.get(path, l=255).body


def _meter(lfdi):
    """A usage point of a site, with a series."""
    series = MirrorMeterReading(mrid="0B", reading_type=ReadingType(uom=38), reading=Reading(value=7))
    return MirrorUsagePoint(
        mrid="0E", role_flags=0x49, service_category_kind=0, status=1, device_lfdi=lfdi,
        mirror_meter_reading=(series,),
    )  # fmt: skip


@pytest.mark.parametrize("at_once", [False, True])
def test_the_holder_goes_before_a_mere_claim(make, at_once):
    """With its own certificate it registers; the claim ends with all that hung on it, neither sees a thing.

    It holds where operators are asked and where nobody is; the new device begins with nothing of the claim.
    """
    utility = make(in_band_devices=True, approve_at_once=at_once)
    utility.act(load_points, {"NMI": "home 1"}, BY)
    aggregator, holder, place = _claimed(utility)
    assert aggregator.put(f"{place}/cp", ConnectionPoint(connection_point_id="NMI")).status == 204
    assert aggregator.post("/mup", _meter(holder.lfdi)).location == "/mup/1"
    _sees_nothing(holder, holder, place)
    answer = holder.post("/edev", holder.end_device())
    assert (answer.status, answer.location) == (201, "/edev/3")
    registry = utility.server.state.registry
    mine = registry.of(holder.lfdi)
    assert (mine.owner, mine.access, mine.point, mine.resource) == (
        holder.lfdi, Access.ENABLED if at_once else Access.PENDING, "", "",
    )  # fmt: skip
    assert aggregator.get("/mup/1").status == 404
    assert holder.get("/mup", l=9).status == 200
    assert [each.lfdi for each in holder.get("/edev", EndDeviceList, l=9).end_device] == [holder.lfdi]
    _sees_nothing(aggregator, holder, place)
    _sees_nothing(aggregator, holder, "/edev/3")
    _sees_nothing(holder, aggregator, "/edev/1")
    assert aggregator.post("/edev", aggregator.end_device(holder.lfdi)).status == 403
    assert registry.bearer("home 1") is None


def test_who_loses_a_claim_is_told_that_it_is_gone(make):
    """Its subscriptions to the site and to what is below end with a notice, that to its list goes on."""
    utility = make(in_band_devices=True)
    aggregator, holder, place = _claimed(utility)
    for path in (place, f"{place}/fsa", "/edev"):
        wish = Subscription(
            subscribed_resource=path, encoding=0, level="+S1", limit=1, notification_uri="https://a.example/n",
        )  # fmt: skip
        assert aggregator.post("/edev/1/sub", wish).status == 201
    holder.post("/edev", holder.end_device())
    news = utility.server.news(utility.now_s, 9)
    assert [each.last for each in news] == [True, True, False]
    assert not any(holder.lfdi.encode() in each.body for each in news)


def test_what_an_operator_approved_is_not_taken(make):
    """The holder of an approved site's certificate is refused, once told of, and changes nothing."""
    utility = make(in_band_devices=True)
    aggregator, holder, place = _claimed(utility)
    utility.act(set_access, holder.lfdi, Access.ENABLED, BY)
    before = aggregator.get(place).body
    for _ in range(3):
        assert holder.post("/edev", holder.end_device()).status == 403
        utility.wait(60)
    assert aggregator.get(place).body == before
    assert utility.server.state.registry.contested == {2: utility.now_s - 180}
    _sees_nothing(holder, aggregator, place)


@pytest.mark.parametrize("word", ["approved", "joined", "enrolled"])
def test_every_approval_counts_where_nobody_is_asked(make, word):
    """Enabled at once it is a claim still; what an operator says of it makes it the aggregator's."""
    utility = make(in_band_devices=True, approve_at_once=True)
    aggregator, holder, _ = _claimed(utility)
    assert utility.server.state.registry.of(holder.lfdi).claim
    verbs = {
        "approved": (set_access, holder.lfdi, Access.ENABLED, BY),
        "joined": (set_resource, holder.lfdi, "home 1", BY),
        "enrolled": (load, Enrolment(holder.lfdi, owner=aggregator.lfdi), BY),
    }
    utility.act(*verbs[word])
    assert not utility.server.state.registry.of(holder.lfdi).claim
    assert holder.post("/edev", holder.end_device()).status == 403


def test_a_suspended_site_is_refused_by_its_own_certificate_too(make):
    """What an operator has put to rest does not come back by another way."""
    utility = make(in_band_devices=True)
    _, holder, _ = _claimed(utility)
    utility.act(set_access, holder.lfdi, Access.SUSPENDED, BY)
    assert [holder.get("/edev").status, holder.post("/edev", holder.end_device()).status] == [403, 403]
    assert utility.server.state.registry.contested == {}


def test_a_refused_claim_is_free_for_its_holder_and_not_for_its_aggregator(make):
    """The aggregator may not claim it again; who holds the certificate registers as if nothing had been."""
    utility = make(in_band_devices=True)
    aggregator, holder, place = _claimed(utility)
    utility.act(set_access, holder.lfdi, Access.REMOVED, BY)
    assert aggregator.post("/edev", aggregator.end_device(holder.lfdi)).status == 403
    assert aggregator.get(place).status == 404
    assert holder.get("/edev").status == 404
    answer = holder.post("/edev", holder.end_device())
    assert (answer.status, answer.location) == (201, "/edev/3")
    assert holder.get("/edev/3/rg", Registration).pin == utility.server.policy.pin
    assert aggregator.post("/edev", aggregator.end_device(holder.lfdi)).status == 403


def test_a_refused_claim_is_free_for_another_aggregator(make):
    """The one that the site really belongs to claims it, and waits for an operator in its turn."""
    utility = make()
    aggregator, holder, _ = _claimed(utility)
    other = utility.enrol(3, aggregator=True)
    assert other.post("/edev", other.end_device(holder.lfdi)).status == 403
    utility.act(set_access, holder.lfdi, Access.REMOVED, BY)
    place = other.post("/edev", other.end_device(holder.lfdi)).location
    assert other.get(place, EndDevice).enabled is False
    _sees_nothing(aggregator, holder, place)
    assert aggregator.post("/edev", aggregator.end_device(holder.lfdi)).status == 403


@pytest.mark.parametrize("approved", [False, True])
def test_a_removed_site_stays_out_where_it_was_approved_before(make, approved):
    """Removing what was approved refuses the device, by whatever way it comes; refusing a claim the claim."""
    utility = make(in_band_devices=True)
    _, holder, _ = _claimed(utility)
    if approved:
        utility.act(set_access, holder.lfdi, Access.ENABLED, BY)
    utility.act(set_access, holder.lfdi, Access.REMOVED, BY)
    assert holder.post("/edev", holder.end_device()).status == (403 if approved else 201)


def test_where_nobody_registers_itself_a_claim_stands_and_is_told_of(make):
    """The holder is refused, the operator hears that it came; enrolled by the operator it is in."""
    utility = make(in_band_devices=False)
    aggregator, holder, place = _claimed(utility)
    assert holder.post("/edev", holder.end_device()).status == 403
    assert set(utility.server.state.registry.contested) == {2}
    loaded = utility.act(load, Enrolment(holder.lfdi, profile=AUS, resource="home 1"), BY)
    assert (loaded.owner, loaded.access, loaded.number) == (holder.lfdi, Access.ENABLED, 3)
    assert utility.server.state.registry.contested == {}
    assert holder.get("/edev/3", EndDevice).enabled is True
    _sees_nothing(aggregator, holder, place)


def test_an_operator_takes_an_approved_site_from_its_aggregator(utility):
    """Only said so: it stays the resource that it was, has no programs yet, and neither reads the other."""
    aggregator, holder, place = _claimed(utility)
    utility.act(set_access, holder.lfdi, Access.ENABLED, BY)
    utility.act(set_resource, holder.lfdi, "home 1", BY)
    utility.act(make_program, "feeder", 5, BY)
    utility.act(assign, {holder.lfdi: (Assignment("grid", (1,)),)}, BY)
    assert aggregator.get("/derp/1").status == 200
    assert utility.act(load, Enrolment(holder.lfdi), BY).field == "owner"
    taken = utility.act(load, Enrolment(holder.lfdi, moved=True, profile=AUS), BY)
    assert (taken.owner, taken.resource, taken.access) == (holder.lfdi, "home 1", Access.ENABLED)
    assert aggregator.get("/derp/1").status == 404
    assert holder.get(f"{taken.path}/fsa", l=9).status == 200
    assert holder.get("/derp/1").status == 404
    _sees_nothing(aggregator, holder, place)
    _sees_nothing(aggregator, holder, taken.path)


def test_an_operator_gives_a_site_to_another_aggregator(utility):
    """Only said so: the former one reads and writes nothing of it any more, the new one all."""
    aggregator, holder, place = _claimed(utility)
    other = utility.enrol(3, aggregator=True)
    utility.act(set_access, holder.lfdi, Access.ENABLED, BY)
    assert utility.act(load, Enrolment(holder.lfdi, owner=other.lfdi), BY).field == "owner"
    nobody = utility.act(load, Enrolment(aggregator.lfdi, owner=other.lfdi, moved=True), BY)
    assert (nobody.field, nobody.reason) == ("owner", "speaks for sites itself")
    moved = utility.act(load, Enrolment(holder.lfdi, owner=other.lfdi, moved=True), BY)
    assert (moved.owner, moved.access) == (other.lfdi, Access.ENABLED)
    assert other.get(moved.path, EndDevice).lfdi == holder.lfdi
    _sees_nothing(aggregator, holder, place)
    _sees_nothing(aggregator, holder, moved.path)
    assert aggregator.post("/edev", aggregator.end_device(holder.lfdi)).status == 403


@pytest.mark.parametrize("access", [Access.SUSPENDED, Access.REMOVED])
def test_who_is_kept_out_stays_so_when_it_is_taken_from_its_aggregator(utility, access):
    """Another owner is no pardon."""
    _, holder, _ = _claimed(utility)
    utility.act(set_access, holder.lfdi, Access.ENABLED, BY)
    utility.act(set_access, holder.lfdi, access, BY)
    taken = utility.act(load, Enrolment(holder.lfdi, moved=True), BY)
    assert (taken.owner, taken.access) == (holder.lfdi, access)
    assert holder.post("/edev", holder.end_device()).status == 403


def test_an_aggregator_that_was_claimed_as_a_site_is_enrolled_as_itself(utility):
    """Nobody becomes the site of another by being enrolled."""
    aggregator, holder, _ = _claimed(utility)
    loaded = utility.act(load, Enrolment(holder.lfdi, aggregator=True), BY)
    assert (loaded.owner, loaded.access) == (holder.lfdi, Access.ENABLED)
    site = utility.stranger("a site").lfdi
    assert holder.post("/edev", holder.end_device(site)).status == 201
    assert utility.server.state.registry.of(site).owner == holder.lfdi
    assert [each.lfdi for each in aggregator.get("/edev", EndDeviceList, l=9).end_device] == [aggregator.lfdi]


def test_only_so_many_sites_wait_for_approval(make):
    """A further claim is a resource limit; each that is approved, refused or given up makes room for one."""
    utility = make(most_claims=2)
    aggregator = utility.enrol(1, aggregator=True)
    sites = [utility.stranger(k).lfdi for k in range(10, 17)]

    def claim(at):
        return aggregator.post("/edev", aggregator.end_device(sites[at]))

    places = [claim(at).location for at in (0, 1)]
    refused = claim(2)
    assert refused.status == 403
    assert read(refused.body, Error, Profile.SEP2018).reason_code == ReasonCode.LIMIT
    assert claim(0).location == places[0]
    utility.act(set_access, sites[0], Access.ENABLED, BY)
    assert [claim(at).status for at in (2, 3)] == [201, 403]
    utility.act(set_access, sites[1], Access.REMOVED, BY)
    assert [claim(at).status for at in (3, 4)] == [201, 403]
    assert aggregator.delete(claim(3).location).status == 204
    assert [claim(at).status for at in (4, 5)] == [201, 403]
    other = utility.enrol(2, aggregator=True)
    assert other.post("/edev", other.end_device(sites[5])).status == 201


def test_where_nobody_is_asked_nobody_waits(make):
    """The bound is of what waits: sites that are enabled at once are bounded by their own number alone."""
    utility = make(most_claims=0, approve_at_once=True)
    aggregator, _, _ = _claimed(utility)
    assert aggregator.post("/edev", aggregator.end_device(utility.stranger("more").lfdi)).status == 201


def test_a_claim_of_a_former_journal_is_one(make):
    """A site that waits and of which nothing was marked is a claim; one that was enabled then is approved."""
    utility = make(in_band_devices=True)
    _, holder, _ = _claimed(utility)
    registry = utility.server.state.registry
    site = replace(registry.of(holder.lfdi), claimed=False)
    assert site.claim
    assert not replace(site, access=Access.ENABLED).claim
    assert not replace(site, in_band=False).claim


def _operate(utility, dice, lfdi, aggregators):
    """Some word of the operator's about an identifier, in force or refused by name."""
    owner = dice.choice(aggregators).lfdi
    verbs = [
        (set_access, lfdi, Access.ENABLED, BY),
        (set_access, lfdi, Access.ENABLED, BY),
        (set_access, lfdi, Access.REMOVED, BY),
        (set_access, lfdi, Access.SUSPENDED, BY),
        (set_resource, lfdi, dice.choice(["", "home 1", "home 2"]), BY),
        (load, Enrolment(lfdi), BY),
        (load, Enrolment(lfdi, moved=True), BY),
        (load, Enrolment(lfdi, owner=owner, moved=True), BY),
        (load, Enrolment(lfdi, owner=owner, point=dice.choice(["", "NMI"])), BY),
    ]
    utility.act(*dice.choice(verbs))


@pytest.mark.parametrize("seed", range(4))
def test_whatever_is_claimed_and_decided_everybody_sees_their_own_alone(make, seed):
    """Of any order of claims, registrations and decisions: one device of a name, whose owner alone reads it.

    What an operator has approved changes its owner by an operator's word alone.
    """
    dice = random.Random(seed)
    utility = make(in_band_devices=dice.random() < 0.7, approve_at_once=seed == 3, most_claims=3)
    aggregators = [utility.enrol(k, AUS, aggregator=True) for k in (1, 2)]
    holders = [utility.stranger(k, AUS) for k in range(10, 15)]
    speakers, registry = [*aggregators, *holders], utility.server.state.registry
    for _ in range(250):
        lfdi = dice.choice(holders).lfdi
        before = registry.of(lfdi)
        if decided := dice.random() < 0.25:
            _operate(utility, dice, lfdi, aggregators)
        elif dice.random() < 0.1 and before is not None:
            dice.choice(aggregators).delete(before.path)
        else:
            who = dice.choice([*aggregators, *[each for each in holders if each.lfdi == lfdi] * 2])
            assert who.post("/edev", who.end_device(lfdi)).status in {201, 403}
        after = registry.of(lfdi)
        kept = before is not None and not before.claim and before.access is not Access.REMOVED
        if kept and not decided and after is not None:
            assert after.owner == before.owner
        assert sorted(each.lfdi for each in registry.devices.values()) == sorted(registry.by_lfdi)
        for aggregator in aggregators:
            sites = [each for each in registry.devices.values() if each.owner == aggregator.lfdi]
            waits = [each for each in sites if each.access is Access.PENDING and each.lfdi != each.owner]
            assert registry.waiting[aggregator.lfdi] == len(waits) <= 3
        number = dice.randrange(1, registry.next_number)
        device = registry.devices.get(number)
        for speaker in speakers:
            own = device is not None and device.owner == speaker.lfdi
            listens = registry.of(speaker.lfdi)
            silent = listens is not None and listens.access in {Access.SUSPENDED, Access.REMOVED}
            reads = own and device.access in {Access.PENDING, Access.ENABLED} and not silent
            assert (speaker.get(f"/edev/{number}").status == 200) == reads
            body = speaker.get("/edev", l=255).body
            others = {each.lfdi for each in registry.devices.values() if each.owner != speaker.lfdi}
            assert not [each for each in others - {speaker.lfdi} if each.encode() in body]
