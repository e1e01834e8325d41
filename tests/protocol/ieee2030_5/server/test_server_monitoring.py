"""What devices report: readings, ratings, settings, status, alarms."""

import itertools
from dataclasses import replace

import pytest

from gridflock.field.ieee2030_5.resources import (
    DER,
    ActivePower,
    ConnectStatusType,
    DateTimeInterval,
    DERAvailability,
    DERCapability,
    DERList,
    DERSettings,
    DERStatus,
    DeviceInformation,
    LogEvent,
    LogEventList,
    MirrorMeterReading,
    MirrorMeterReadingList,
    MirrorReadingSet,
    MirrorUsagePoint,
    MirrorUsagePointList,
    OperationalModeStatusType,
    Profile,
    Reading,
    ReadingType,
    StateOfChargeStatusType,
    WattHour,
)
from gridflock.field.ieee2030_5.server import Access, By
from gridflock.field.ieee2030_5.server._devices import set_access
from gridflock.field.ieee2030_5.server._equipment import SETTINGS, STATUS, history
from gridflock.field.ieee2030_5.server._mirrors import fetched, waiting

BY = By("operator", "a test")
POWER = ReadingType(
    uom=38,
    data_qualifier=2,
    flow_direction=1,
    kind=37,
    power_of_ten_multiplier=0,
    interval_length=300,
    commodity=1,
)
VOLTAGE = ReadingType(uom=29, data_qualifier=2, power_of_ten_multiplier=-1, interval_length=300)
SITE, SUBMETER = 0x0003, 0x0049
START = 1_699_999_800


def _series(name, kind=None, *readings):
    """A series of this name; readings are (start, value)."""
    sets = [
        MirrorReadingSet(
            mrid=f"{start:032X}",
            time_period=DateTimeInterval(start=start, duration=300),
            reading=(Reading(value=value),),
        )
        for start, value in readings
    ]
    return MirrorMeterReading(mrid=name * 32, reading_type=kind, mirror_reading_set=tuple(sets))


def _single(name, start, value, kind=None):
    period = DateTimeInterval(start=start, duration=300)
    return MirrorMeterReading(
        mrid=name * 32, reading_type=kind, reading=Reading(value=value, time_period=period)
    )


def _point(client, name="A", role=SITE, *series, device=None):
    return MirrorUsagePoint(
        mrid=name * 32,
        description="site",
        role_flags=role,
        service_category_kind=0,
        status=1,
        device_lfdi=device or client.lfdi,
        mirror_meter_reading=series,
    )


@pytest.fixture
def client(utility):
    """A device with a usage point for power and voltage at ``/mup/1``."""
    made = utility.enrol(1)
    answer = made.post("/mup", _point(made, "A", SITE, _series("1", POWER), _series("2", VOLTAGE)))
    assert (answer.status, answer.location) == (201, "/mup/1")
    return made


def _waiting(utility):
    """(series' name, start, duration, value) of everything not fetched yet."""
    found = utility.act(waiting)
    names = [found.series[number].mrid[0] for number in found.number.tolist()]
    columns = (found.start_s, found.duration_s, found.value)
    return list(zip(names, *(each.tolist() for each in columns), strict=True))


# ---- usage points ------------------------------------------------------------------------------------


def test_a_usage_point_is_shown_as_it_was_made(utility, client):
    """It is listed with the types of its series and with the rate it shall be posted at."""
    listed = client.get("/mup", MirrorUsagePointList, l=9)
    assert (listed.all, listed.poll_rate) == (1, 300)
    mine = listed.mirror_usage_point[0]
    assert (mine.device_lfdi, mine.role_flags, mine.post_rate) == (client.lfdi, SITE, 300)
    assert [each.reading_type for each in mine.mirror_meter_reading] == [POWER, VOLTAGE]
    assert client.get("/mup/1", MirrorUsagePoint) == mine
    assert utility.act(waiting).number.size == 0


def test_the_same_usage_point_again_is_the_same(utility, client):
    """Posted again, it creates nothing and its place is told; posted otherwise, it is otherwise."""
    changes = len(utility.journal)
    again = client.post("/mup", _point(client, "A", SITE, _series("1", POWER)))
    assert (again.status, again.location) == (201, "/mup/1")
    assert len(utility.journal) == changes
    assert client.post("/mup", _point(client, "A", SUBMETER)).location == "/mup/1"
    assert client.get("/mup/1", MirrorUsagePoint).role_flags == SUBMETER
    assert client.post("/mup", _point(client, "B", SUBMETER)).location == "/mup/2"


def test_a_series_that_was_replaced_is_kept_until_its_last_reading_is_fetched(utility, client):
    """Though newer readings wait all the time, what none of them names is forgotten."""
    client.post("/mup/1", _single("1", 0, 5))
    client.post("/mup", _point(client, "A", SITE, _series("1", VOLTAGE)))
    upto = utility.act(waiting).upto
    stale = utility.server.state.metering.stale
    assert len(stale) == 1
    client.post("/mup/1", _single("1", 300, 6))
    utility.act(fetched, upto)
    assert utility.server.state.metering.stale == {}
    assert _waiting(utility) == [("1", 300, 300, 6)]


def test_usage_points_are_the_callers_own(utility, client):
    """Nobody mirrors for another device, nor reads, writes or deletes another's usage point."""
    other = utility.enrol(2)
    assert other.post("/mup", _point(client)).status == 403
    assert other.post("/mup", _point(other, device="AB" * 20)).status == 403
    assert other.get("/mup/1").status == 404
    assert other.post("/mup/1", _single("1", START, 5)).status == 403
    assert other.put("/mup/1", _point(other)).status == 403
    assert other.delete("/mup/1").status == 403
    assert other.get("/mup", MirrorUsagePointList, l=9).all == 0
    assert _waiting(utility) == []


def test_an_aggregator_mirrors_for_its_sites(utility):
    """The owner of a site posts for it; a suspended site is refused."""
    aggregator = utility.enrol(1, aggregator=True)
    site = utility.stranger(2).lfdi
    aggregator.post("/edev", aggregator.end_device(site))
    place = aggregator.post("/mup", _point(aggregator, "A", SITE, _series("1", POWER), device=site)).location
    assert aggregator.post(place, _single("1", START, 5)).status == 201
    utility.act(set_access, site, Access.SUSPENDED, BY)
    assert aggregator.post(place, _single("1", START + 300, 5)).status == 403
    assert aggregator.post("/mup", _point(aggregator, "B", device=site)).status == 403
    assert len(_waiting(utility)) == 1


def test_a_usage_point_is_replaced_and_deleted(utility, client):
    """PUT changes what may change, DELETE takes it out; its readings are handed on all the same."""
    assert client.put("/mup/1", _point(client, "A", SUBMETER)).status == 204
    assert client.get("/mup/1", MirrorUsagePoint).role_flags == SUBMETER
    assert client.put("/mup/1", _point(client, "B")).status == 400
    client.post("/mup/1", _single("1", START, 5))
    assert client.delete("/mup/1").status == 204
    assert client.get("/mup/1").status == 404
    assert client.get("/mup", MirrorUsagePointList, l=9).all == 0
    assert _waiting(utility) == [("1", START, 300, 5)]
    found = utility.act(waiting)
    assert {each.role_flags for each in found.mirrors.values()} == {SUBMETER}
    utility.act(fetched, found.upto)
    metering = utility.server.state.metering
    assert (metering.stale, metering.gone) == ({}, {})


def test_usage_points_and_series_are_bounded(make):
    """Beyond its bounds a device is told of a resource limit and nothing is stored."""
    utility = make(most_mirrors=2, most_series=2)
    client = utility.enrol(1)
    assert [client.post("/mup", _point(client, name)).status for name in "ABC"] == [201, 201, 403]
    series = [_series(name, POWER) for name in "123"]
    assert client.post("/mup/1", MirrorMeterReadingList(mirror_meter_reading=tuple(series))).status == 403
    assert client.get("/mup/1", MirrorUsagePoint).mirror_meter_reading == ()


# ---- readings ----------------------------------------------------------------------------------------


def test_single_readings_and_batches_arrive(utility, client):
    """A single reading, a list of series, and sets of many readings arrive as they were posted."""
    assert client.post("/mup/1", _single("1", START, 5_000)).location == "/mup/1/mr/1"
    both = MirrorMeterReadingList(
        mirror_meter_reading=(
            _series("1", None, (START + 300, 5_100), (START + 600, 5_200)),
            _single("2", START, 2301),
        )
    )
    answer = client.post("/mup/1", both)
    assert (answer.status, answer.location) == (201, "/mup/1")
    assert _waiting(utility) == [
        ("1", START, 300, 5_000),
        ("1", START + 300, 300, 5_100),
        ("1", START + 600, 300, 5_200),
        ("2", START, 300, 2301),
    ]


def test_readings_of_a_set_stand_at_their_places(utility, client):
    """In a set without periods of their own, readings follow each other by the interval of their type."""
    hour = MirrorReadingSet(
        mrid="5" * 32,
        time_period=DateTimeInterval(start=START, duration=3_600),
        reading=tuple(Reading(value=value) for value in range(12)),
    )
    client.post("/mup/1", MirrorMeterReading(mrid="1" * 32, mirror_reading_set=(hour,)))
    assert _waiting(utility) == [("1", START + 300 * k, 300, k) for k in range(12)]


def test_readings_come_with_usage_points(utility):
    """A usage point may bring its first readings along."""
    client = utility.enrol(1)
    client.post("/mup", _point(client, "A", SITE, _series("1", POWER, (START, 7))))
    assert _waiting(utility) == [("1", START, 300, 7)]


def test_repeated_readings_count_once(utility, client):
    """The same value for the same interval changes nothing; another value for it is handed on."""
    client.post("/mup/1", _single("1", START, 5))
    changes = len(utility.journal)
    assert client.post("/mup/1", _single("1", START, 5)).status == 201
    assert len(utility.journal) == changes
    assert client.post("/mup/1", _single("1", START, 6)).status == 201
    assert _waiting(utility) == [("1", START, 300, 5), ("1", START, 300, 6)]


def test_of_an_interval_named_twice_in_a_post_the_last_word_counts(utility, client):
    """Handed on once with its last value, and the same post again changes nothing."""
    twice = (_single("1", START, 5), _single("1", START, 6))
    batch = MirrorMeterReadingList(all=2, results=2, mirror_meter_reading=twice)
    for _ in range(2):
        assert client.post("/mup/1", batch).status == 201
        assert _waiting(utility) == [("1", START, 300, 6)]


def test_late_and_unordered_readings_are_taken(utility, client):
    """A backlog in any order, days old, is taken whole."""
    starts = [START - 86_400 * k for k in (0, 3, 1, 2)]
    for start in starts:
        assert client.post("/mup/1", _single("1", start, 5)).status == 201
    assert [each[1] for each in _waiting(utility)] == starts


def test_a_reading_without_a_period_is_of_its_arrival(utility, client):
    """Without a period a reading is of the last update, or of the moment it came in."""
    client.post("/mup/1", MirrorMeterReading(mrid="1" * 32, reading=Reading(value=4)))
    client.post("/mup/1", MirrorMeterReading(mrid="1" * 32, last_update_time=START, reading=Reading(value=5)))
    assert _waiting(utility) == [("1", utility.now_s, 0, 4), ("1", START, 0, 5)]


def test_unknown_series_need_a_type(utility, client):
    """A post with a series nobody has described is refused whole; an unknown unit is left to the map."""
    both = MirrorMeterReadingList(mirror_meter_reading=(_single("1", START, 5), _single("9", START, 5)))
    assert client.post("/mup/1", both).status == 400
    assert _waiting(utility) == []
    odd = ReadingType(uom=200, interval_length=300)
    assert client.post("/mup/1", _single("9", START, 5, odd)).status == 201
    found = utility.act(waiting)
    assert [each.type for each in found.series.values()] == [odd]


def test_a_changed_type_leaves_earlier_readings_theirs(utility, client):
    """When a series goes over to another multiplier, what came before keeps the multiplier it came with."""
    client.post("/mup/1", _single("1", START, 5))
    kilo = ReadingType(uom=38, power_of_ten_multiplier=3, interval_length=300)
    client.post("/mup/1", _single("1", START + 300, 5, kilo))
    found = utility.act(waiting)
    types = [found.series[number].type for number in found.number.tolist()]
    assert types == [POWER, kilo]
    assert len(client.get("/mup/1", MirrorUsagePoint).mirror_meter_reading) == 2


def test_a_bad_multiplier_is_refused(utility, client):
    """A power of ten beyond what anybody measures is a mistake, and nothing is stored."""
    body = client._body(_single("1", START, 5, POWER))
    wrong = body.replace(
        b"<powerOfTenMultiplier>0</powerOfTenMultiplier>", b"<powerOfTenMultiplier>50</powerOfTenMultiplier>"
    )
    assert wrong != body
    assert client.post("/mup/1", wrong).status == 400
    assert _waiting(utility) == []


def test_the_newest_reading_of_a_series_is_shown(client):
    """A series can be looked at where its post was told it stands."""
    client.post("/mup/1", _single("1", START, 5))
    client.get("/mup/1/mr/1")
    client.post("/mup/1", _single("1", START + 300, 6))
    shown = client.get("/mup/1/mr/1", MirrorMeterReading)
    assert (shown.reading.value, shown.reading.time_period.start) == (6, START + 300)
    assert client.get("/mup/1/mr/9").status == 404


def test_readings_stay_until_they_are_safe_elsewhere(utility, client):
    """Looking does not take; what is told to be safe is given once, what came meanwhile stays."""
    client.post("/mup/1", _single("1", START, 5))
    upto = utility.act(waiting).upto
    client.post("/mup/1", _single("1", START + 300, 6))
    utility.act(fetched, upto)
    utility.act(fetched, upto)
    assert _waiting(utility) == [("1", START + 300, 300, 6)]


def test_series_do_not_pile_up(utility, client):
    """A client that changes a type with every post leaves no more series behind than it has."""
    for k in range(20):
        kind = ReadingType(uom=38, power_of_ten_multiplier=k % 3, interval_length=300)
        client.post("/mup/1", _single("1", START + 300 * k, 5, kind))
        utility.act(fetched, utility.act(waiting).upto)
    metering = utility.server.state.metering
    assert (len(metering.series), len(metering.stale)) == (2, 0)
    assert all(len(each) <= 12 for each in metering.recent.values())


# ---- DERs --------------------------------------------------------------------------------------------


def _watts(value, multiplier=0):
    return ActivePower(multiplier=multiplier, value=value)


RATED = DERCapability(modes_supported=0x500000, rtg_max_w=_watts(5_000), type=83)
SET = DERSettings(set_grad_w=27, set_max_w=_watts(4_900), updated_time=START)


def test_ratings_settings_status_and_availability_are_kept(utility):
    """Each is not there before it was told, is shown as told, and links lead to it."""
    client = utility.enrol(1)
    der = client.get("/edev/1/der", DERList, l=9).der[0]
    status = DERStatus(
        reading_time=START,
        gen_connect_status=ConnectStatusType(date_time=START, value=7),
        operational_mode_status=OperationalModeStatusType(date_time=START, value=2),
        alarm_status=2,
        state_of_charge_status=StateOfChargeStatusType(date_time=START, value=7_500),
    )
    told = {
        der.der_capability_link.href: RATED,
        der.der_settings_link.href: SET,
        der.der_status_link.href: status,
        der.der_availability_link.href: DERAvailability(reading_time=START, stat_w_avail=_watts(3_000)),
    }
    for path, resource in told.items():
        assert client.get(path).status == 404
        assert client.put(path, resource).status == 204
        shown = client.get(path, type(resource))
        assert {name: getattr(shown, name) for name in resource.__slots__} == {
            name: getattr(resource, name) for name in resource.__slots__
        }
        assert shown.href == path


def test_the_past_of_a_der_is_kept(make):
    """Former settings and status are remembered, so many of them; the same again is nothing new."""
    utility = make(kept_states=3)
    client = utility.enrol(1)
    for k in range(9):
        utility.now_s += 60
        for _ in range(2):
            client.put("/edev/1/der/1/ders", DERStatus(reading_time=START + k))
    past = history(utility.server.state, 1, 1, STATUS)
    assert [each.resource.reading_time - START for each in past] == [5, 6, 7, 8]
    assert [each.at_s for each in past] == [utility.now_s - 60 * k for k in (3, 2, 1, 0)]
    assert history(utility.server.state, 1, 1, SETTINGS) == ()


def test_settings_need_their_three_values(utility):
    """Settings without gradient, maximal power or time of update are refused and leave the former ones."""
    client = utility.enrol(1)
    client.put("/edev/1/der/1/derg", SET)
    body = client._body(SET)
    for name in (b"setGradW", b"setMaxW", b"updatedTime"):
        start, end = body.index(b"<" + name), body.index(b"</" + name + b">") + len(name) + 3
        assert client.put("/edev/1/der/1/derg", body[:start] + body[end:]).status == 400
    assert client.get("/edev/1/der/1/derg", DERSettings).set_max_w == _watts(4_900)


def test_settings_survive_a_reconnection(make):
    """After a restart of the server, and when the device registers itself again, they are what they were."""
    utility = make(in_band_devices=True)
    client = utility.stranger(1)
    client.post("/edev", client.end_device())
    client.put("/edev/1/der/1/derg", SET)
    assert utility.relived().equipment.latest(1, 1, SETTINGS) == SET
    assert client.post("/edev", client.end_device()).location == "/edev/1"
    assert client.get("/edev/1/der/1/derg", DERSettings).set_max_w == SET.set_max_w


def test_several_ders_have_a_status_each(utility):
    """A device adds DERs to the one it has; their statuses do not mix."""
    client = utility.enrol(1)
    assert client.post("/edev/1/der", DER()).location == "/edev/1/der/2"
    client.put("/edev/1/der/1/ders", DERStatus(reading_time=1))
    client.put("/edev/1/der/2/ders", DERStatus(reading_time=2))
    times = [client.get(f"/edev/1/der/{k}/ders", DERStatus).reading_time for k in (1, 2)]
    assert times == [1, 2]
    assert client.get("/edev/1/der", DERList, l=9).all == 2
    assert client.get("/edev/1/der/3/ders").status == 404
    assert client.get("/edev/1/der/0").status == 404


def test_ders_are_bounded(make):
    """A device has only so many."""
    utility = make(most_ders=2)
    client = utility.enrol(1)
    assert [client.post("/edev/1/der", DER()).status for _ in range(2)] == [201, 403]


def test_ders_of_others_are_not_touched(utility):
    """Another's status can neither be read nor set."""
    utility.enrol(1)
    other = utility.enrol(2)
    assert other.put("/edev/1/der/1/ders", DERStatus(reading_time=1)).status == 403
    assert other.get("/edev/1/der/1/ders").status == 404
    assert utility.server.state.equipment.told == {}


def test_storage_tells_reserve_by_profile(utility):
    """Reserved energy and the storage target exist in the later Australian profile, and only there."""
    new, old = utility.enrol(1, Profile.CSIPAUS13), utility.enrol(2, Profile.CSIPAUS12)
    told = DERSettings(
        set_grad_w=27,
        set_max_w=_watts(5_000),
        set_max_wh=WattHour(multiplier=0, value=10_000),
        set_min_wh=WattHour(multiplier=0, value=2_000),
        vpp_modes_enabled=1,
        updated_time=START,
    )
    assert new.put("/edev/1/der/1/derg", told).status == 204
    assert new.get("/edev/1/der/1/derg", DERSettings).set_min_wh.value == 2_000
    assert old.put("/edev/2/der/1/derg", new._body(told)).status == 400


@pytest.mark.parametrize("trial", [False, True])
def test_the_storage_trials_namespace_is_taken_where_it_is_wanted(make, trial):
    """Settings of a device of the trial are those of CSIP-AUS 1.3 if the operator says so, else refused."""
    utility = make(trial_storage=trial)
    client = utility.enrol(1, Profile.CSIPAUS13)
    told = DERSettings(
        set_grad_w=27,
        set_max_w=_watts(5_000),
        set_min_wh=WattHour(multiplier=0, value=900),
        updated_time=START,
        vpp_modes_enabled=1,
    )
    body = client._body(told)
    tried = body.replace(b"https://csipaus.org/ns/v1.3", b"https://csipaus.org/ns/v1.3-beta/storage")
    assert tried != body
    assert client.put("/edev/1/der/1/derg", tried).status == (204 if trial else 400)
    if trial:
        assert client.get("/edev/1/der/1/derg", DERSettings).set_min_wh == told.set_min_wh
    old = utility.enrol(2, Profile.CSIPAUS12)
    assert old.put("/edev/2/der/1/derg", tried).status == 400


def test_ratings_are_shown_in_the_profile_of_the_day(utility):
    """Ratings told in the plain profile are shown in the Australian one with what that demands: no limits."""
    from gridflock.field.ieee2030_5.server._devices import Enrolment, load

    client = utility.enrol(1)
    client.put("/edev/1/der/1/dercap", RATED)
    utility.act(load, Enrolment(client.lfdi, profile=Profile.CSIPAUS12), BY)
    client.profile = Profile.CSIPAUS12
    assert client.get("/edev/1/der/1/dercap", DERCapability).doe_modes_supported == 0


def test_a_device_says_what_it_is(utility):
    """Make and model are kept as told."""
    client = utility.enrol(1)
    told = DeviceInformation(
        lfdi=client.lfdi,
        mf_date=START,
        mf_hw_ver="1",
        mf_id=37250,
        mf_model="inverter",
        mf_ser_num="42",
        primary_power=1,
        secondary_power=0,
        sw_act_time=START,
        sw_ver="2",
    )
    assert client.put("/edev/1/di", told).status == 204
    assert client.get("/edev/1/di", DeviceInformation).mf_ser_num == "42"


# ---- log events --------------------------------------------------------------------------------------


def _event(code, at_s, number=1):
    return LogEvent(
        created_date_time=at_s,
        function_set=11,
        log_event_code=code,
        log_event_id=number,
        log_event_pen=37250,
        profile_id=2,
        details="over voltage",
    )


def test_log_events_are_listed_newest_first(utility):
    """Alarms are posted and read, by the time they give, newest first; the same again is not stored."""
    client = utility.enrol(1)
    places = [client.post("/edev/1/lel", _event(code, START + code)).location for code in (1, 3, 2)]
    assert client.post("/edev/1/lel", _event(3, START + 3)).location == places[1]
    listed = client.get("/edev/1/lel", LogEventList, l=9)
    assert [each.log_event_code for each in listed.log_event] == [3, 2, 1]
    assert client.get(places[2], LogEvent).log_event_code == 2
    later = client.get("/edev/1/lel", LogEventList, l=9, a=START + 2)
    assert [each.log_event_code for each in later.log_event] == [3]


def test_log_events_do_not_pile_up(make):
    """Of each device so many are kept, the latest."""
    utility = make(kept_logs=5)
    client = utility.enrol(1)
    for k in range(12):
        client.post("/edev/1/lel", _event(1, START + k, k))
    listed = client.get("/edev/1/lel", LogEventList, l=99)
    assert [each.log_event_id for each in listed.log_event] == [11, 10, 9, 8, 7]
    assert client.get("/edev/1/lel/1").status == 404


def test_everything_posted_is_heard_by_the_owner_alone(utility):
    """Logs of another are neither read nor written."""
    utility.enrol(1)
    other = utility.enrol(2)
    assert other.post("/edev/1/lel", _event(1, START)).status == 403
    assert other.get("/edev/1/lel").status == 404


@pytest.mark.parametrize("at_s", [2**63 - 1, -(2**63), 253_402_300_800, -62_135_596_801])
def test_a_moment_beyond_every_calendar_is_refused(utility, at_s):
    """In a reading, a log event or a status it is 400 and nothing of it is kept.

    One client's clock, however broken, takes no other's readings and nobody's view of it along.
    """
    client = utility.enrol(1)
    assert client.post("/mup", _point(client, "A", SITE, _series("1", POWER, (START, 5)))).status == 201
    made = utility.server.state.made
    good = {
        "/mup/1": _single("1", START + 300, 6),
        "/edev/1/lel": _event(1, START + 300),
        "/edev/1/der/1/ders": DERStatus(reading_time=START + 300),
    }
    for path, resource in good.items():
        body = client._body(resource).replace(str(START + 300).encode(), str(at_s).encode())
        assert str(at_s).encode() in body
        method = "PUT" if path.endswith("ders") else "POST"
        assert client.ask(method, path, body).status == 400
    assert utility.server.state.made == made
    assert utility.act(waiting).start_s.tolist() == [START]


def test_readings_far_beyond_any_time_are_handed_on_as_numbers(utility):
    """The last reading of the longest set at the end of all calendars is a number that columns hold."""
    client = utility.enrol(1)
    last = 253_402_300_799
    kind = replace(POWER, interval_length=2**32 - 1)
    held = MirrorReadingSet(
        mrid="0C",
        time_period=DateTimeInterval(start=last, duration=2**32 - 1),
        reading=(Reading(value=1),) * 300,
    )
    series = MirrorMeterReading(mrid="0B", reading_type=kind, mirror_reading_set=(held,))
    assert client.post("/mup", _point(client, "A", SITE, series)).status == 201
    found = utility.act(waiting)
    assert (found.start_s + found.duration_s).max() == last + 300 * (2**32 - 1)


def test_readings_survive_a_restart(make):
    """What was posted and not fetched is there after a restart, typed, and is known when repeated."""
    utility = make()
    client = utility.enrol(1)
    client.post("/mup", _point(client, "A", SITE, _series("1", POWER, *zip(range(5), range(5), strict=True))))
    lived, relived = utility.server.state.metering, utility.relived().metering
    assert relived == lived
    assert len(relived.waiting) == 5
    assert list(itertools.islice(relived.recent[1], 5)) == list(range(5))
