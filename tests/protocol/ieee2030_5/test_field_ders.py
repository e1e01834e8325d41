"""Several DERs under one end device, and what devices say of their settings, over real TLS."""

import importlib
from dataclasses import replace

import pytest

from gridflock.field.ieee2030_5 import _combined, _map
from gridflock.field.ieee2030_5._field import Wants
from gridflock.field.ieee2030_5.resources import (
    DER,
    ActivePower,
    ConnectStatus,
    ConnectStatusType,
    DERAvailability,
    DERCapability,
    DERControlType,
    DERSettings,
    DERStatus,
    DERType,
    StateOfChargeStatusType,
    WattHour,
)

of = importlib.import_module("field_world")
SHARED = DERControlType.MAX_LIM_W | DERControlType.FIXED_W


@pytest.fixture
def world(network, tmp_path):
    """A battery and a roof, both registered."""
    made = of.World(network, tmp_path / "server")
    made.live(120)
    yield made
    made.close()


def _watts(kw):
    return ActivePower(multiplier=0, value=round(1_000 * kw))


def _second(world, name, **parts):
    """A second DER of a device, and what it says of itself."""
    talk = of.Talk(world, name)
    number = world.utility.server.state.registry.of(world.lfdi(name)).number
    path = talk.send("POST", f"/edev/{number}/der", DER())
    assert path == f"/edev/{number}/der/2"
    for kind, said in parts.items():
        talk.send("PUT", f"{path}/{kind}", said)
    return talk


def test_ratings_and_settings_of_several_ders_are_one_resource(world):
    """Sums of powers: a share of the rating is of both together; only modes that both have are used."""
    world.boxes["roof"].modes |= DERControlType.TARGET_W
    _second(
        world, "roof",
        dercap=DERCapability(modes_supported=SHARED, rtg_max_w=_watts(4), type=4),
        derg=DERSettings(set_grad_w=300, set_max_w=_watts(4), updated_time=world.clock.at_s),
    )  # fmt: skip
    world.order(roof=2.0)
    base = world.standing("roof").base
    assert base.op_mod_max_lim_w == 2_500  # of 8 kW
    (found,) = [each for each in world.field.differs() if each.ids == ("roof",)]
    assert found.reason == "its settings say 8, the registry 4"
    world.order(battery=-2.0)
    assert world.standing("battery").base.op_mod_target_w is not None
    modes = DERCapability(modes_supported=SHARED, rtg_max_w=_watts(5), type=80)
    _second(world, "battery", dercap=modes)
    world.order(battery=-2.5)
    base = world.standing("battery").base
    assert (base.op_mod_target_w, base.op_mod_fixed_w) == (
        None,
        -5_000,
    )  # of the 5 kW that it is set to charge


def test_states_of_several_ders_are_one_resource(world):
    """Charge by usable energy, ready while one of them is, and what each could give beside as a sum."""
    now_s = world.clock.at_s
    off = ConnectStatusType(date_time=now_s, value=ConnectStatus(0))
    charge = StateOfChargeStatusType(date_time=now_s, value=1_000)
    _second(
        world, "battery",
        derg=DERSettings(
            set_grad_w=100, set_max_w=_watts(5), updated_time=now_s,
            set_max_wh=WattHour(multiplier=0, value=30_000),
        ),
        ders=DERStatus(reading_time=now_s, gen_connect_status=off, state_of_charge_status=charge),
    )  # fmt: skip
    heard = world.heard()
    # Of the first DER no energy is known: 60 % and 10 % weigh alike, of the registry's 10 kWh.
    assert heard["battery", "e_kwh"][0] == pytest.approx(3.5)
    assert heard["battery", "ready"][0] == 1.0
    talk = of.Talk(world, "battery")
    number = world.utility.server.state.registry.of(world.lfdi("battery")).number
    known = DERSettings(
        set_grad_w=100,
        set_max_w=_watts(5),
        updated_time=now_s,
        set_max_wh=WattHour(multiplier=0, value=10_000),
    )
    talk.send("PUT", f"/edev/{number}/der/1/derg", known)
    talk.send(
        "PUT",
        f"/edev/{number}/der/1/ders",
        DERStatus(
            reading_time=now_s,
            gen_connect_status=off,
            state_of_charge_status=StateOfChargeStatusType(date_time=now_s, value=9_000),
        ),
    )
    heard = world.heard()
    assert heard["battery", "e_kwh"][0] == pytest.approx(10 * (0.9 * 10 + 0.1 * 30) / 40)
    assert heard["battery", "ready"][0] == 0.0
    more = DERAvailability(reading_time=world.clock.at_s, stat_w_avail=_watts(0.5))
    _second(world, "roof", dera=more)
    world.live(120)
    assert world.heard()["roof", "p_avail_kw"][0] == pytest.approx(3.5)


def test_settings_narrow_what_is_asked_where_the_operator_lets_them(world):
    """A roof set to 2 kW: that is compared only, or, where settings hold, all that it is asked for."""
    number = world.utility.server.state.registry.of(world.lfdi("roof")).number
    settings = DERSettings(set_grad_w=100, set_max_w=_watts(2), updated_time=world.clock.at_s)
    of.Talk(world, "roof").send("PUT", f"/edev/{number}/der/1/derg", settings)
    world.live(120)
    world.answers()
    world.order(roof=1.9)
    world.live(80)
    assert {each[2] for each in world.answers()} == {"ACCEPTED"}
    assert [each.field for each in world.field.differs()] == ["p_max_kw"]
    world.field.want(Wants(settings_hold=True))
    world.heard()
    world.order(roof=3.0)
    world.live(80)
    assert {each[2] for each in world.answers()} == {"PARTIAL"}
    assert world.field.short[0].reason == "3 kW is beyond its limits: 2 kW"
    assert world.heard()["roof", "p_avail_kw"][0] <= 2.0


def test_a_store_is_as_full_as_what_it_is_set_to_use(world):
    """Half full of what it is set to use, where settings hold; else of what the registry says."""
    number = world.utility.server.state.registry.of(world.lfdi("battery")).number
    plate_kwh = world.field._plates["battery"].e_max_kwh
    settings = DERSettings(
        set_grad_w=100, set_max_w=_watts(5), set_max_discharge_rate_w=_watts(3),
        set_max_wh=WattHour(multiplier=0, value=round(500 * plate_kwh)), updated_time=world.clock.at_s,
    )  # fmt: skip
    talk = of.Talk(world, "battery")
    talk.send("PUT", f"/edev/{number}/der/1/derg", settings)
    for holds, most_kwh in ((False, plate_kwh), (True, 0.5 * plate_kwh)):
        world.field.want(Wants(settings_hold=holds))
        world.live(60)
        world.heard()  # what is wanted is taken up
        charge = StateOfChargeStatusType(date_time=world.clock.at_s, value=5_000)
        status = DERStatus(reading_time=world.clock.at_s, state_of_charge_status=charge)
        talk.send("PUT", f"/edev/{number}/der/1/ders", status)
        assert world.heard()["battery", "e_kwh"][0] == pytest.approx(0.5 * most_kwh)
    assert world.field.settings["battery"]["p_max_kw"] == 5.0  # with a roof behind the same inverter
    stored = _combined.capability(world.utility.server.state, number)
    assert _map.rated(settings, replace(stored, type=DERType.OTHER_STORAGE))["p_max_kw"] == 3.0
