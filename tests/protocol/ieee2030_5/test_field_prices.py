"""Prices of the system as a tariff, and requests for energy granted from its room, over real TLS."""

import importlib

import numpy as np
import pytest

from gridflock.field.ieee2030_5._field import Wants
from gridflock.field.ieee2030_5._granting import Room
from gridflock.field.ieee2030_5._pricing import Prices
from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    DateTimeInterval,
    EndDevice,
    FlowReservationRequest,
    FlowReservationResponseList,
    FlowReservationResponseResponse,
    FunctionSetAssignmentsList,
    RequestStatus,
    SignedRealEnergy,
    TariffProfileList,
    TimeTariffIntervalList,
)

of = importlib.import_module("field_world")
HOUR, KW = 3_600, 1_000


@pytest.fixture
def world(network, tmp_path):
    """A battery and a roof at a server that takes reservations."""
    made = of.World(network, tmp_path / "server", reservations=True)
    made.live(120)
    yield made
    made.close()


def _number(world, name):
    return world.utility.server.state.registry.of(world.lfdi(name)).number


def _edges(world, steps, step_s=HOUR):
    start_s = world.clock.at_s - world.clock.at_s % 900
    return start_s + step_s * np.arange(steps + 1, dtype=np.int64)


def _want(world, **wants):
    world.field.want(Wants(**wants))
    world.heard()


def _prices(world, taken, given, **more):
    return Prices("plan", _edges(world, len(taken)), np.array(taken), np.array(given), **more)


def _intervals(world, talk, name="roof"):
    """(start, state, price) of each component, in the order in which they stand."""
    fsa = talk.get(f"/edev/{_number(world, name)}/fsa?l=9", FunctionSetAssignmentsList)
    links = [each.tariff_profile_list_link for each in fsa.function_set_assignments]
    (link,) = [each for each in links if each is not None]
    (tariff,) = talk.get(f"{link.href}?l=9", TariffProfileList).tariff_profile
    priced, found = world.utility.server.state.prices.priced, []
    for part in (1, 2):
        page = talk.get(f"{tariff.href}/rc/{part}/tti?l=99", TimeTariffIntervalList)
        found.append(
            [
                (
                    each.interval.start,
                    each.event_status.current_status,
                    priced[part][int(each.href.rsplit("/", 1)[1])].blocks[0].price,
                )
                for each in page.time_tariff_interval
            ]
        )
    return tariff, found


def test_prices_of_the_plan_are_a_tariff_of_every_device(world):
    """Energy taken costs, energy given is paid for: by steps, equal neighbours as one."""
    talk = of.Talk(world, "roof")
    _want(world, prices=_prices(world, [0.30, 0.30, 0.2125], [0.08, 0.1, 0.1]))
    tariff, (taken, given) = _intervals(world, talk)
    assert (tariff.currency, tariff.price_power_of_ten_multiplier) == (978, -5)
    assert [price for _, _, price in taken] == [30_000, 21_250]
    assert [price for _, _, price in given] == [-8_000, -10_000]
    assert [state for _, state, _ in taken] == [1, 0]


def test_unchanged_prices_make_nothing_new_and_changed_ones_take_their_place(world):
    """The same again changes nothing; another price of a later step supersedes what was told of it."""
    talk = of.Talk(world, "roof")
    _want(world, prices=_prices(world, [0.3] * 4, [0.1] * 4))
    number = world.utility.server.state.prices.next_priced
    world.clock.at_s += 60
    _want(world, prices=_prices(world, [0.3] * 4, [0.1] * 4))
    assert world.utility.server.state.prices.next_priced == number
    _want(world, prices=_prices(world, [0.3, 0.3, 0.5, 0.3], [0.1] * 4))
    _, (taken, _) = _intervals(world, talk)
    assert [price for _, _, price in taken] == [30_000, 50_000, 30_000]
    world.clock.at_s = taken[1][0] + 5
    _want(world, prices=_prices(world, [0.5, 0.3], [0.1] * 2))
    _, (taken, _) = _intervals(world, talk)
    assert [state for _, state, _ in taken] == [4, 1, 0]


def test_prices_may_be_randomised(world):
    """Each start is shifted by chance on every device, within the bound that is served."""
    talk = of.Talk(world, "roof")
    _want(world, prices=_prices(world, [0.3, 0.2], [0.1, 0.1], randomize_s=300))
    page = talk.get("/tp/1/rc/1/tti?l=9", TimeTariffIntervalList)
    assert [each.randomize_start for each in page.time_tariff_interval] == [300, 300]


def _request(world, mrid="AB" * 16, hours=8, kwh=6.0, kw=3.0, status=0):
    now_s = world.clock.at_s
    return FlowReservationRequest(
        mrid=mrid,
        creation_time=now_s,
        energy_requested=SignedRealEnergy(multiplier=0, value=round(kwh * KW)),
        interval_requested=DateTimeInterval(start=now_s, duration=hours * HOUR),
        power_requested=ActivePower(multiplier=0, value=round(kw * KW)),
        request_status=RequestStatus(date_time=now_s, request_status=status),
    )


def _room(world, kw, price=None, **planned):
    steps = len(kw)
    return Room(
        _edges(world, steps), np.array(kw, dtype=float), np.array(kw, dtype=float),
        np.array(price or [0.2] * steps), {name: np.array(each) for name, each in planned.items()},
    )  # fmt: skip


def _ask(world, name="battery", **how):
    """Post a request where the device is told to; its grants."""
    talk, number = of.Talk(world, name), _number(world, name)
    device = talk.get(f"/edev/{number}", EndDevice)
    where = talk.send("POST", device.flow_reservation_request_list_link.href, _request(world, **how))
    return talk, where, f"{device.flow_reservation_response_list_link.href}?l=9"


def _grants(talk, path):
    return talk.get(path, FlowReservationResponseList).flow_reservation_response


def test_a_request_is_granted_where_the_plan_and_the_price_say(world):
    """Within the room: in the hours of the plan; without any there, in the cheapest; charging is positive."""
    talk, _, path = _ask(world)
    _want(world, room=_room(world, [5.0] * 8, [0.3, 0.3, 0.3, 0.1, 0.1, 0.3, 0.3, 0.3]))
    (grant,) = _grants(talk, path)
    edges = _edges(world, 8)
    assert (grant.interval.start, grant.interval.duration) == (int(edges[3]), 2 * HOUR)
    assert (grant.energy_available.value, grant.power_available.value) == (6_000, 3_000)
    talk, _, path = _ask(world, "roof")
    planned = [0.0] * 5 + [-3.0, -3.0] + [0.0]
    _want(world, room=_room(world, [9.0] * 8, [0.1] + [0.3] * 7, roof=planned))
    assert [each.interval.start for each in _grants(talk, path)] == [int(edges[5])]


def test_what_one_is_granted_is_no_room_for_the_next(world):
    """Room for one vehicle at a time: the second is granted another time, never both together."""
    spans = []
    for name in ("battery", "roof"):
        talk, _, path = _ask(world, name)
        _want(world, room=_room(world, [4.0] * 8))
        spans += [
            (each.interval.start, each.interval.start + each.interval.duration)
            for each in _grants(talk, path)
        ]
    spans.sort()
    assert len(spans) == 2
    assert spans[0][1] <= spans[1][0]


def test_less_power_comes_before_none_and_a_later_time_before_a_refusal(world):
    """Half the power for twice as long; no room in the interval: the earliest time after it, or it waits."""
    talk, _, path = _ask(world, kwh=6.0, kw=3.0)
    _want(world, room=_room(world, [1.6] * 8))
    (grant,) = _grants(talk, path)
    assert (grant.power_available.value, grant.interval.duration) == (1_500, 4 * HOUR)
    talk, _, path = _ask(world, "roof", hours=2, kwh=3.0)
    _want(world, room=_room(world, [0.0] * 8))
    assert _grants(talk, path) == ()
    assert [each.ids for each in world.field.short] == [("roof",)]
    _want(world, room=_room(world, [0.0] * 4 + [9.0] * 4))
    assert [each.interval.start for each in _grants(talk, path)] == [int(_edges(world, 8)[4])]


def test_cancelled_and_declined_it_is_room_again(world):
    """The device takes its request back: the grant is cancelled. It declines one: that is cancelled, once."""
    talk, where, path = _ask(world)
    room = _room(world, [4.0] * 8)
    _want(world, room=room)
    talk.send("PUT", where, _request(world, status=1))
    assert [each.event_status.current_status for each in _grants(talk, path)] == [2]
    other, _, theirs = _ask(world, "roof")
    _want(world, room=room)
    (grant,) = _grants(other, theirs)
    no = FlowReservationResponseResponse(end_device_lfdi=world.lfdi("roof"), status=4, subject=grant.mrid)
    other.send("POST", grant.reply_to, no)
    for _ in range(3):
        _want(world, room=room)
    assert [each.event_status.current_status for each in _grants(other, theirs)] == [2]


def _states(talk, path):
    return [each.event_status.current_status for each in _grants(talk, path)]


def test_what_was_granted_once_is_not_granted_again_when_that_is_over(world):
    """Its time has passed within the interval asked for: the request has had what it asked for."""
    talk, _, path = _ask(world, kwh=3.0)
    room = _room(world, [4.0] * 8)
    _want(world, room=room)
    (grant,) = _grants(talk, path)
    world.clock.at_s = grant.interval.start + grant.interval.duration + 5
    _want(world, room=_room(world, [4.0] * 8))
    assert _grants(talk, path) == ()
    assert world.utility.server.state.reserved.next_grant == 2


def test_what_was_declined_stays_declined_until_it_asks_otherwise(world):
    """The grant it declined is over: nothing new. It asks for less in that same second: that is granted."""
    talk, where, path = _ask(world, kwh=3.0)
    _want(world, room=_room(world, [4.0] * 8))
    (grant,) = _grants(talk, path)
    no = FlowReservationResponseResponse(end_device_lfdi=world.lfdi("battery"), status=4, subject=grant.mrid)
    talk.send("POST", grant.reply_to, no)
    _want(world, room=_room(world, [4.0] * 8))
    world.clock.at_s = grant.interval.start + grant.interval.duration + 5
    _want(world, room=_room(world, [4.0] * 8))
    assert _grants(talk, path) == ()
    talk.send("PUT", where, _request(world, kwh=2.0))
    _want(world, room=_room(world, [4.0] * 8))
    assert _states(talk, path) == [1]


def test_a_changed_request_is_granted_anew(world):
    """What was granted is of what it asked before, and ends; the same again changes nothing."""
    talk, where, path = _ask(world, kwh=3.0)
    _want(world, room=_room(world, [4.0] * 8))
    talk.send("PUT", where, _request(world, kwh=3.0, hours=8))
    assert _states(talk, path) == [1]
    talk.send("PUT", where, _request(world, kwh=6.0))
    assert _states(talk, path) == [2]
    _want(world, room=_room(world, [4.0] * 8))
    found = {each.event_status.current_status: each for each in _grants(talk, path)}
    assert found[1].energy_available.value == 6_000


def test_what_is_planned_for_one_is_no_room_for_another(world):
    """Beside the plan there is no room: only who is planned for may have it, and only once."""
    talk, _, path = _ask(world, "roof")
    room = _room(world, [0.0] * 8, battery=[-3.0] * 8)
    _want(world, room=room)
    assert _grants(talk, path) == ()
    mine, _, there = _ask(world, "battery")
    _ask(world, "battery", mrid="CD" * 16, hours=2)
    _want(world, room=room)
    spans = sorted((each.interval.start, each.interval.duration) for each in _grants(mine, there))
    assert len(spans) == 2
    assert spans[0][0] + spans[0][1] <= spans[1][0]


def test_what_cannot_be_granted_is_looked_at_once_and_few_at_a_time(world, monkeypatch):
    """Again when the room is another; and never more of them in one tick than a bound."""
    granting = importlib.import_module("gridflock.field.ieee2030_5._granting")
    looked, real = [], granting.window
    monkeypatch.setattr(granting, "_MANY", 2)
    monkeypatch.setattr(granting, "window", lambda *how: looked.append(1) or real(*how))
    for mrid in ("AB", "CD", "EF"):
        _ask(world, mrid=mrid * 16)
    room = _room(world, [0.0] * 8)
    counts = []
    for _ in range(3):
        _want(world, room=room)
        counts.append(len(looked))
    assert counts == [2, 3, 3]
    assert len(world.field.short) == 3
    _want(world, room=_room(world, [0.0] * 8))
    assert len(looked) == 5
