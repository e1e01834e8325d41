"""Pricing: from the tariff to what holds when, in every profile."""

import pytest

from gridflock.field.ieee2030_5.resources import (
    ConsumptionTariffIntervalList,
    EventState,
    FunctionSetAssignments,
    PriceResponse,
    Profile,
    RateComponent,
    RateComponentList,
    ReadingType,
    TariffProfile,
    TariffProfileList,
    TimeTariffInterval,
    TimeTariffIntervalList,
)
from gridflock.field.ieee2030_5.server import Assignment, By
from gridflock.field.ieee2030_5.server._assignments import assign
from gridflock.field.ieee2030_5.server._priced import Block, Priced
from gridflock.field.ieee2030_5.server._prices import (
    add_component,
    cancel_price,
    make_tariff,
    remove_component,
    remove_tariff,
    set_price,
)
from gridflock.field.ieee2030_5.server._rates import set_poll_rate
from gridflock.model import Rejected

BY = By("operator", "a test")
ENERGY = ReadingType(commodity=1, flow_direction=1, uom=72, kind=12)
HOUR = 3_600
TWO = (Block(0, 250), Block(10_000, 310))


@pytest.fixture
def market(utility):
    """A tariff with one component, and a device of the later Australian profile that pays it."""
    client = utility.enrol(1, Profile.CSIPAUS13)
    tariff = utility.act(make_tariff, "time of use", BY, code="TOU-1")
    component = utility.act(add_component, tariff.number, "energy taken", ENERGY, BY)
    held = {client.lfdi: (Assignment("prices", tariffs=(tariff.number,)),)}
    assert utility.act(assign, held, BY) == ()
    return client, tariff, component


def _price(utility, component, start, hours=1, blocks=TWO):
    made = utility.act(set_price, component.number, utility.now_s + start, hours * HOUR, blocks, BY)
    assert isinstance(made, Priced), made
    return made


def _states(page):
    return [each.event_status.current_status for each in page.time_tariff_interval]


def test_the_short_way_to_prices(utility, market):
    """From the assignment by links: tariff, combined list, in each interval its blocks and component."""
    client, *_ = market
    _price(utility, market[2], 0)
    assignment = client.get("/edev/1/fsa/1", FunctionSetAssignments)
    tariffs = client.get(assignment.tariff_profile_list_link.href, TariffProfileList, l=9)
    tariff = tariffs.tariff_profile[0]
    assert (tariffs.all, tariff.rate_code, tariff.currency) == (1, "TOU-1", 36)
    combined = client.get(tariff.combined_time_tariff_interval_list_link.href, TimeTariffIntervalList, l=9)
    found = combined.time_tariff_interval[0]
    blocks = found.consumption_tariff_interval_list_summary.consumption_tariff_interval
    assert [(each.start_value, each.price) for each in blocks] == [(0, 250), (10_000, 310)]
    component = client.get(found.rate_component_link.href, RateComponent)
    assert client.get(component.reading_type_link.href, ReadingType).uom == 72


def test_the_summary_and_the_separate_list_say_the_same(utility, market):
    """Blocks stand in the interval and behind its link, the same ones."""
    client, *_ = market
    made = _price(utility, market[2], 0)
    found = client.get(f"/tp/1/rc/1/tti/{made.number}", TimeTariffInterval)
    link = found.consumption_tariff_interval_list_link
    separate = client.get(link.href, ConsumptionTariffIntervalList, l=9)
    summary = found.consumption_tariff_interval_list_summary
    assert link.all == separate.all == summary.all == 2
    assert separate.consumption_tariff_interval == summary.consumption_tariff_interval
    assert client.get(separate.consumption_tariff_interval[1].href).status == 200
    assert client.get(f"{link.href}/3").status == 404


def test_every_profile_is_given_what_it_knows(utility):
    """The plain profile reads prices behind links; what the later one added is not sent to it."""
    tariff = utility.act(make_tariff, "flat", BY)
    component = utility.act(add_component, tariff.number, "energy", ENERGY, BY)
    made = _price(utility, component, 0)
    for number, profile in enumerate(Profile, 1):
        client = utility.enrol(number, profile)
        assert utility.act(assign, {client.lfdi: (Assignment("p", tariffs=(1,)),)}, BY) == ()
        shown = client.get("/tp/1", TariffProfile).combined_time_tariff_interval_list_link
        found = client.get(f"/tp/1/rc/1/tti/{made.number}", TimeTariffInterval)
        later = profile is Profile.CSIPAUS13
        assert (shown is not None) == later
        assert (found.consumption_tariff_interval_list_summary is not None) == later
        assert (found.rate_component_link is not None) == later
        assert client.get("/tp/1/rc/1/tti", TimeTariffIntervalList, l=9).all == 1
        assert (b"pollRate" in client.get("/tp/1/rc/1/tti").body) == later


def test_prices_begin_and_end_on_time(utility, market):
    """Scheduled before, active from the start, gone at the end, without a request in between."""
    client, *_ = market
    for hour in (1, 2, 3):
        _price(utility, market[2], hour * HOUR)

    def lists():
        return [client.get(f"/tp/1/{at}", TimeTariffIntervalList, l=9) for at in ("ctti", "rc/1/acttti")]

    assert list(map(_states, lists())) == [[0, 0, 0], []]
    assert utility.wait(0).next_s <= utility.now_s + HOUR
    utility.wait(HOUR)
    assert list(map(_states, lists())) == [[1, 0, 0], [1]]
    began = lists()[0].time_tariff_interval[0]
    assert began.event_status.date_time == began.interval.start
    utility.wait(HOUR)
    assert list(map(_states, lists())) == [[1, 0], [1]]
    utility.now_s += 2 * HOUR  # the server sleeps past the last end
    assert list(map(_states, lists())) == [[], []]
    assert utility.server.state.prices.by_mrid == {}


def test_a_price_whose_start_has_passed_is_active(utility, market):
    """Made after its start it holds at once, since it was made."""
    client, *_ = market
    made = _price(utility, market[2], -600)
    status = client.get(f"/tp/1/rc/1/tti/{made.number}", TimeTariffInterval).event_status
    assert (status.current_status, status.date_time) == (EventState.ACTIVE, utility.now_s)


def test_an_interval_is_cancelled(utility, market):
    """It stays listed as cancelled until its end, and another may take its place."""
    client, *_ = market
    made = _price(utility, market[2], 0)
    utility.wait(60)
    assert isinstance(utility.act(cancel_price, made.mrid, BY), Priced)
    other = _price(utility, market[2], 0, blocks=(Block(0, 999),))
    page = client.get("/tp/1/ctti", TimeTariffIntervalList, l=9)
    assert _states(page) == [2, 1]
    assert utility.act(cancel_price, made.mrid, BY).field == "status"
    utility.wait(HOUR - 60)
    assert _states(client.get("/tp/1/ctti", TimeTariffIntervalList, l=9)) == [1]
    utility.wait(HOUR)
    assert utility.act(cancel_price, other.mrid, BY).field == "mrid"


def test_newer_prices_take_the_place_of_older_ones(utility, market):
    """Where two of a component meet, the newer holds from its start, for good; the older says so before."""
    client, _, component = market
    older = _price(utility, component, 0, hours=3)
    utility.wait(60)
    newer = _price(utility, component, HOUR, hours=1, blocks=(Block(0, 999),))

    def status(made):
        return client.get(f"/tp/1/rc/1/tti/{made.number}", TimeTariffInterval).event_status

    found = status(older)
    assert (found.current_status, found.potentially_superseded) == (1, True)
    assert found.potentially_superseded_time == newer.spell.start_s
    utility.now_s = newer.spell.start_s + 7  # the server wakes up late
    assert (status(older).current_status, status(older).date_time) == (4, newer.spell.start_s)
    assert status(newer).current_status == 1
    assert utility.act(cancel_price, older.mrid, BY).field == "status"
    utility.now_s = newer.spell.end_s
    assert [
        each.mrid
        for each in client.get("/tp/1/rc/1/acttti", TimeTariffIntervalList, l=9).time_tariff_interval
    ] == []


def test_a_newer_price_that_is_cancelled_in_time_leaves_the_older_one(utility, market):
    """Taken back before its start, it takes nobody's place; of two made at once the later is the newer."""
    client, _, component = market
    older, newer = _price(utility, component, 0, hours=3), _price(utility, component, HOUR)
    assert newer.mrid > older.mrid
    utility.act(cancel_price, newer.mrid, BY)
    utility.wait(HOUR + 60)
    found = client.get(f"/tp/1/rc/1/tti/{older.number}", TimeTariffInterval).event_status
    assert (found.current_status, found.potentially_superseded) == (1, False)


def test_prices_are_randomised(utility, market):
    """Bounds are served; it is active from its earliest start and listed to its latest end."""
    client, _, component = market
    made = utility.act(
        set_price, component.number, utility.now_s + HOUR, HOUR, TWO, BY, randomize_start=-300,
        randomize_duration=600,
    )  # fmt: skip
    found = client.get(f"/tp/1/rc/1/tti/{made.number}", TimeTariffInterval)
    assert (found.randomize_start, found.randomize_duration) == (-300, 600)
    utility.wait(HOUR - 300)
    assert _states(client.get("/tp/1/rc/1/acttti", TimeTariffIntervalList, l=9)) == [1]
    utility.wait(300 + HOUR + 599)
    assert _states(client.get("/tp/1/ctti", TimeTariffIntervalList, l=9)) == [1]
    utility.wait(1)
    assert _states(client.get("/tp/1/ctti", TimeTariffIntervalList, l=9)) == []


def test_components_come_and_go(utility, market):
    """A component is added and removed at run time, with its prices, and lists follow."""
    client, *_ = market
    export = ReadingType(commodity=1, flow_direction=19, uom=72)
    added = utility.act(add_component, 1, "energy given", export, BY)
    _price(utility, added, 0, blocks=(Block(0, -80),))
    assert client.get("/tp/1/rc", RateComponentList, l=9).all == 2
    assert client.get("/tp/1", TariffProfile).rate_component_list_link.all == 2
    assert client.get("/tp/1/ctti", TimeTariffIntervalList, l=9).all == 1
    assert utility.act(remove_component, added.number, BY) is None
    assert client.get("/tp/1/rc", RateComponentList, l=9).all == 1
    assert client.get("/tp/1/ctti", TimeTariffIntervalList, l=9).all == 0
    assert client.get(added.path).status == 404
    utility.wait(2 * HOUR)


def test_poll_rates_of_prices(utility, market):
    """Rates of tariffs and of intervals are sent and change at once."""
    client, *_ = market
    paths = {"TariffProfileList": "/edev/1/fsa/1/tp", "TimeTariffIntervalList": "/tp/1/ctti"}
    for kind, path in paths.items():
        assert b'pollRate="300"' in client.get(path).body
        utility.act(set_poll_rate, kind, 60, BY)
        assert b'pollRate="60"' in client.get(path).body


def test_tariffs_of_others_are_not_there(utility, market):
    """Who does not pay a tariff cannot read it, nor answer to its prices."""
    client, *_ = market
    other = utility.enrol(2)
    made = _price(utility, market[2], 0)
    assert [other.get(path).status for path in ("/tp/1", "/tp/1/rc", "/tp/1/ctti", "/tp/9")] == [404] * 4
    answer = PriceResponse(end_device_lfdi=other.lfdi, status=1, subject=made.mrid)
    assert other.post("/rsps/2/rsp", answer).status == 400
    mine = PriceResponse(end_device_lfdi=client.lfdi, status=1, subject=made.mrid)
    assert client.post("/rsps/2/rsp", mine).status == 201
    utility.wait(2 * HOUR)
    assert utility.server.state.responses.said == {}


def test_pricing_is_judged(utility, market):
    """What makes no sense is rejected by name, and nothing is changed."""
    client, tariff, component = market
    _price(utility, component, 0)
    entries = len(utility.journal)
    now_s = utility.now_s
    wrong = [
        utility.act(make_tariff, "time of use", BY),
        utility.act(make_tariff, "other", BY, primacy=300),
        utility.act(add_component, 9, "x", ENERGY, BY),
        utility.act(remove_component, 9, BY),
        utility.act(set_price, 9, now_s, HOUR, TWO, BY),
        utility.act(set_price, 1, now_s + HOUR, HOUR, (), BY),
        utility.act(set_price, 1, now_s + HOUR, HOUR, TWO[::-1], BY),
        utility.act(set_price, 1, now_s - HOUR, HOUR, TWO, BY),
        utility.act(set_price, 1, now_s + HOUR, HOUR, TWO, BY, randomize_start=3_601),
        utility.act(cancel_price, "AB" * 16, BY),
        utility.act(remove_tariff, tariff.number, BY),
        utility.act(remove_tariff, 9, BY),
    ]
    assert all(isinstance(each, Rejected) for each in wrong)
    fields = ["name", "primacy", "number", "number", "component", "blocks", "blocks"]
    fields += ["duration_s", "randomize", "mrid", "devices", "number"]
    assert [each.field for each in wrong] == fields
    assert len(utility.journal) == entries
    unknown = utility.act(assign, {client.lfdi: (Assignment("p", tariffs=(9,)),)}, BY)
    assert "tariffs" in unknown[0].reason
    assert utility.act(assign, {client.lfdi: ()}, BY) == ()
    assert utility.act(remove_tariff, tariff.number, BY).field == "components"
    assert utility.act(remove_component, component.number, BY) is None
    assert utility.act(remove_tariff, tariff.number, BY) is None
