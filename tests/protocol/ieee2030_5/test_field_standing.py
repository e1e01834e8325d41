"""What stands of orders, limits, defaults and prices when they meet, by the server's own words alone."""

import math
import random

import numpy as np
import pytest

from gridflock.field.ieee2030_5 import _map
from gridflock.field.ieee2030_5._field import UtilityField, Wants
from gridflock.field.ieee2030_5._http import Caller, Request
from gridflock.field.ieee2030_5._limiting import Ahead, Held
from gridflock.field.ieee2030_5._map import Plate
from gridflock.field.ieee2030_5._placing import Grouped
from gridflock.field.ieee2030_5._pricing import Prices
from gridflock.field.ieee2030_5.resources import (
    DateTimeInterval,
    DERControlType,
    DOEControlType,
    FlowDirection,
    MirrorMeterReading,
    MirrorUsagePoint,
    Profile,
    Reading,
    ReadingType,
    RoleFlags,
    Uom,
)
from gridflock.field.ieee2030_5.server import Access, By, Policy, State, UtilityServer
from gridflock.field.ieee2030_5.server._devices import Enrolment, load, set_access
from gridflock.field.ieee2030_5.server._effective import effective
from gridflock.field.ieee2030_5.wire import write
from gridflock.model import Orders, OutcomeStatus

T0, LFDI, BY = 1_760_400_000, "3E4F45AB31EDFE5B67E343E5E4562E31984E23E5", By("operator", "a test")
ROOF = Plate("roof", 10.0, 0.0)
SHARES = DERControlType.MAX_LIM_W | DERControlType.FIXED_W
BOTH = DOEControlType.GENERATION_LIMIT | DOEControlType.EXPORT_LIMIT
ABLE = {
    "shares": _map.Able(SHARES, 10_000, 10_000, 0, Profile.SEP2018),
    "watts": _map.Able(SHARES, 10_000, 10_000, 0, Profile.CSIPAUS13, DOEControlType.GENERATION_LIMIT),
    "point": _map.Able(SHARES, 10_000, 10_000, 0, Profile.CSIPAUS13, BOTH),
}


class World:
    """A server without a line, and the field of one roof behind it."""

    def __init__(self, able="shares"):
        self.now_s, self.orders, self.able = T0, 0, ABLE[able]
        self.server = UtilityServer(Policy(pen=37_250, reservations=True), State(), T0)
        self.act(load, Enrolment(lfdi=LFDI, pin=111_115, resource="roof", profile=Profile.CSIPAUS13), BY)
        self.open()
        self.field.place({})

    def open(self):
        """A field that knows nothing yet, as after a restart."""
        self.field = UtilityField(self, [ROOF])
        self.field._limiting.able = self.field._ordering._able = lambda _state, _device: self.able

    def act(self, verb, *args):
        """As a utility does."""
        self.server.advance(self.now_s)
        return self.server.act(self.now_s, verb, *args)[0]

    say = act

    def want(self, **wants):
        """From a second later on."""
        self.now_s += 1
        self.field.want(Wants(**wants))
        return self.field.read(self.now_s)

    def ahead(self, *high, at_point=False):
        """Upper bounds of quarters of an hour."""
        edges = T0 - T0 % 900 + 900 * np.arange(len(high) + 1)
        points = frozenset({"roof"}) if at_point else frozenset[str]()
        return Ahead(("roof",), edges, np.full((1, len(high)), -math.inf), np.array([high], float), points)

    def report(self, meter, p_kw, start_s):
        """A minute's mean of one of its meters, as posted."""
        of = ReadingType(uom=Uom.WATT, flow_direction=FlowDirection.REVERSE, power_of_ten_multiplier=0)
        period = DateTimeInterval(start=start_s, duration=60)
        reading = Reading(time_period=period, value=round(1_000 * p_kw))
        series = MirrorMeterReading(mrid=f"{meter}01", reading_type=of, reading=reading)
        roles = RoleFlags.MIRROR | RoleFlags.DER | RoleFlags.SUBMETER
        posted = MirrorUsagePoint(
            mrid=f"{meter}00", role_flags=roles, service_category_kind=0, status=1, device_lfdi=LFDI,
            mirror_meter_reading=(series,),
        )  # fmt: skip
        body, caller = write(posted, Profile.SEP2018), Caller(LFDI, 167_261_211_391, "")
        sent = Request("POST", "/mup", {}, "application/sep+xml", "", body, caller)
        assert self.server.answer(sent, self.now_s)[0].status in {201, 204}

    def heard(self):
        """Power since the last call: value, end of its interval since the beginning, quality."""
        told = self.field.read(self.now_s)
        return [
            (pytest.approx(value), end_s - T0, quality)
            for value, end_s, quality in zip(
                told.value.tolist(), told.time_s.tolist(), told.quality.tolist(), strict=True
            )
        ]

    def order(self, p_kw, life_s=1_200):
        """One order."""
        self.now_s += 1
        self.orders += 1
        one = np.ones(1, np.int64)
        self.field.send(
            Orders(("roof",), one.astype(np.int32) - 1, self.orders * one, np.array([p_kw]),
                   (self.now_s + life_s) * one, one.astype(np.int16) - 1, ("w",), self.now_s)
        )  # fmt: skip

    def base(self):
        """What the roof is under."""
        self.server.advance(self.now_s)
        return effective(self.server.state, self.server.state.registry.of(LFDI), self.now_s).base

    def kw(self, own_kw=9.0):
        """What the roof does, that would give ``own_kw`` by itself."""
        p_kw, _ = _map.ordered_kw(self.base(), own_kw, ROOF, self.able)
        return own_kw if math.isnan(p_kw) else p_kw

    def statuses(self):
        """Outcomes since the last call."""
        return [OutcomeStatus(each).name for each in self.field.outcomes(self.now_s).status]


@pytest.mark.parametrize("able", ["shares", "watts"])
def test_a_limit_that_comes_after_an_order_cuts_it(able):
    """The order is the weightier program and of the same mode: it is made anew within the new bound."""
    world = World(able)
    world.want(limits=world.ahead(*[10.0] * 16))
    world.order(8.0)
    assert world.kw() == pytest.approx(8.0)
    world.want(limits=world.ahead(*[2.0] * 16))
    assert world.kw() == pytest.approx(2.0)
    assert [each.field for each in world.field.short] == ["p_kw"]
    controls = world.server.state.offered.next_control
    world.order(8.0)
    assert world.kw() == pytest.approx(2.0)
    world.want(limits=world.ahead(*[2.0] * 16))
    assert world.server.state.offered.next_control <= controls + 1
    world.want(limits=world.ahead(*[10.0] * 16))
    world.order(8.0)
    assert world.kw() == pytest.approx(8.0)
    assert world.field.short == ()


def test_a_lower_order_is_not_lifted_by_a_limit():
    """The tighter one counts, whichever it is."""
    world = World()
    world.order(1.0)
    world.want(limits=world.ahead(*[4.0] * 16))
    assert world.kw() == pytest.approx(1.0)


def test_what_was_ordered_before_a_suspension_does_not_come_back():
    """Another order cannot reach a suspended device: the older one has ended all the same."""
    world = World()
    world.order(4.0)
    world.act(set_access, LFDI, Access.SUSPENDED, BY)
    world.order(1.0)
    assert "UNREACHABLE" in world.statuses()
    world.act(set_access, LFDI, Access.ENABLED, BY)
    world.field.place({})
    world.field.read(world.now_s)
    assert world.kw() == pytest.approx(9.0)


@pytest.mark.parametrize("at_point", [True, False])
def test_bounds_without_contact_do_not_hold_where_limits_are_told(at_point):
    """The default bounds the connection point, limits the equipment, or the other way round."""
    world = World("point")
    fallback = {"roof": Held(p_hi_kw=1.5, at_point=at_point)}
    world.want(limits=world.ahead(8.0, 8.0, at_point=not at_point), fallback=fallback)
    assert world.kw() == pytest.approx(8.0)
    world.now_s = T0 - T0 % 900 + 1_800
    assert world.kw() == pytest.approx(1.5)


def test_an_order_keeps_to_the_default_where_no_limit_is_told():
    """Nothing but the default bounds the connection point: an order beyond it is met in part, and says so."""
    world = World("point")
    world.want(fallback={"roof": Held(p_hi_kw=1.5, at_point=True)})
    world.order(8.0)
    assert world.kw() == pytest.approx(1.5)
    assert [each.field for each in world.field.short] == ["p_kw"]


def test_a_restart_leaves_defaults_groups_and_tariffs():
    """Until something is wanted again, and prices until a plan has others."""
    world = World()
    prices = Prices("plan", T0 + 3_600 * np.arange(3), np.array([0.3, 0.2]), np.array([0.1, 0.1]))
    groups, fallback = (Grouped("all", ("roof",), 120),), {"roof": Held(p_hi_kw=1.5)}

    def follows():
        state = world.server.state
        sets = {each.name: (each.programs, each.tariffs) for each in state.assignments.held[1]}
        return sets, {number: program.default for number, program in state.offered.programs.items()}

    world.want(groups=groups, fallback=fallback, prices=prices)
    before = follows()
    assert before[0]["prices"][1]
    world.open()
    world.field.place({})
    assert follows() == before
    world.field.read(world.now_s)
    assert follows() == before
    world.want(groups=groups, fallback=fallback)
    assert follows() == before


@pytest.mark.parametrize("randomize_s", [0, 300, -300])
def test_randomised_prices_that_stay_are_told_once(randomize_s):
    """However starts are shifted: the same prices make nothing new, changed ones what is wanted."""
    world = World()
    edges, steps = T0 + 3_600 * np.arange(9), np.array([0.1, 0.2, 0.3, 0.4] * 2)

    def tell(prices):
        world.now_s += 59
        world.want(prices=Prices("plan", edges, prices, prices, 978, randomize_s))
        return world.server.state.prices

    def holds(prices):
        """What holds at each step's middle, by the newest interval that covers it as written."""
        found = []
        for at_s in (edges[:-1] + 1_800).tolist():
            of = [
                each
                for each in world.server.state.prices.priced[1].values()
                if each.spell.is_open
                and each.spell.start_s <= at_s < each.spell.start_s + each.spell.duration_s
                and not (0 <= each.spell.gives_s <= at_s)
            ]
            found += [each.blocks[0].price / 1e5 for each in of]
        assert found == pytest.approx(prices[-len(found) :].tolist())
        return len(found)

    number = tell(steps).next_priced
    for _ in range(30):
        assert tell(steps).next_priced == number
    for at_s in (3_600, 3_500, 3_600 - 200, 7_200 - 100, 7_200 + 100):
        world.now_s = max(world.now_s, T0 + at_s)
        assert tell(steps).next_priced == number
    changed = steps.copy()
    changed[4] = 0.5
    number = tell(changed).next_priced
    assert tell(changed).next_priced == number
    assert holds(changed) >= 5


def test_prices_in_another_currency_are_another_tariff():
    """Devices follow the tariff in the currency that is wanted now, and come back to the first."""
    world = World()
    edges, price = T0 + 3_600 * np.arange(3), np.array([0.3, 0.2])
    followed = []
    for currency in (978, 36, 978):
        world.want(prices=Prices("plan", edges, price, price, currency))
        state = world.server.state
        (number,) = {n for each in state.assignments.held[1] for n in each.tariffs}
        followed.append((number, state.prices.tariffs[number].currency))
    assert followed == [(1, 978), (2, 36), (1, 978)]


def test_readings_come_though_what_is_wanted_cannot_be_told(monkeypatch):
    """A failure of telling is a trouble until it is told; it does not keep what devices say."""
    world = World()

    def fails(*_):
        raise RuntimeError("no way")

    with monkeypatch.context() as patch:
        patch.setattr(type(world.field._placing), "place", fails)
        assert world.want(limits=world.ahead(4.0)).ids == ("roof",)
        assert [*world.field.troubles.values()] == ["RuntimeError: no way"]
    world.field.read(world.now_s)
    assert [*world.field.troubles.values()] == [""]
    assert world.kw() == pytest.approx(4.0)


def test_meters_of_several_ders_are_added_up_by_interval():
    """A minute of both is one reading; what one has not told yet waits; silent for long, it is suspect."""
    world = World()
    world.report("AA" * 15, 6.0, T0 - 60)
    world.report("BB" * 15, -2.0, T0 - 60)
    assert world.heard() == [(4.0, 0, 0)]
    world.now_s = T0 + 120
    for start_s in (T0, T0 + 60):
        world.report("AA" * 15, 5.0, start_s)
    world.report("BB" * 15, -1.0, T0)
    assert world.heard() == [(4.0, 60, 0)]
    world.report("BB" * 15, -3.0, T0 + 60)
    assert world.heard() == [(2.0, 120, 0)]
    world.now_s = T0 + 1_200
    for start_s in range(T0 + 120, T0 + 1_200, 60):
        world.report("AA" * 15, 5.0, start_s)
    told = world.heard()
    assert told[-1] == (5.0, 1_200, 1)
    assert {end_s for _, end_s, _ in told} == set(range(180, 1_201, 60))


def test_what_one_of_two_meters_has_said_is_not_lost_in_a_restart():
    """The interval is told once the other speaks, and those that were whole before are not told again."""
    world = World()
    for k in range(3):
        world.now_s = T0 + 60 * (k + 1)
        world.report("AA" * 15, 6.0, T0 + 60 * k)
        world.report("BB" * 15, -2.0, T0 + 60 * k)
        assert world.heard() == [(4.0, 60 * (k + 1), 0)]
    world.report("AA" * 15, 5.0, T0 + 180)
    assert world.heard() == []
    assert world.heard() == [], "what was said is safe now"
    world.open()
    assert world.heard() == []
    world.now_s = T0 + 240
    world.report("BB" * 15, -1.0, T0 + 180)
    assert world.heard() == [(4.0, 240, 0)]


@pytest.mark.parametrize("seed", range(6))
def test_restarts_change_no_sum(seed):
    """However two meters speak, by turns or late: restarts between lose no sum and make no other."""
    told = []
    for restarts in (False, True):
        dice, lots, world, sums = random.Random(seed), random.Random(seed + 99), World(), {}
        said = dict.fromkeys(("AA" * 15, "BB" * 15), 0)
        for meter in said:
            world.report(meter, 1.0, T0 - 60)
        for _ in range(60):
            world.now_s += 20
            for meter in said:
                while T0 + 60 * (said[meter] + 1) <= world.now_s and dice.random() < 0.4:
                    world.report(meter, dice.randrange(-5, 6), T0 + 60 * said[meter])
                    said[meter] += 1
            sums |= {end_s: (value.expected, quality) for value, end_s, quality in world.heard()}
            if restarts and lots.random() < 0.3:
                world.open()
        told.append(sums)
    assert told[0] == told[1]
    assert len(told[0]) > 10


def test_a_reading_from_the_future_is_suspect_and_pins_nothing():
    """It counts as of its arrival; what the device offers follows what it does now."""
    world = World()
    world.report("AA" * 15, 9.0, T0 + 86_400)
    assert world.heard() == [(9.0, 0, 1)]
    world.now_s = T0 + 60
    world.report("AA" * 15, 1.0, T0)
    assert world.heard() == [(1.0, 60, 0)]
    assert world.field._hearing._last_kw == {"roof": (T0 + 60, 1.0)}
