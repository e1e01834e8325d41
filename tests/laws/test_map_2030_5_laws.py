"""Laws of the border to IEEE 2030.5: signs, units and rounding survive the way there and back."""

import math

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from gridflock.field.ieee2030_5 import _map
from gridflock.field.ieee2030_5.resources import (
    ActivePower,
    ConnectStatus,
    ConnectStatusType,
    DERControlBase,
    DERControlType,
    DERSettings,
    DERStatus,
    FlowDirection,
    OperationalModeStatusType,
    PEVInfo,
    PowerStatus,
    Profile,
    ReadingType,
    RealEnergy,
    ResponseStatus,
    RoleFlags,
    StateOfChargeStatusType,
    Uom,
    WattHour,
)
from gridflock.model import OutcomeStatus

POWER = st.floats(0.1, 10_000, allow_nan=False)
PLATES = st.builds(
    _map.Plate,
    id=st.just("x"),
    p_max_kw=st.just(0.0) | POWER,
    p_min_kw=st.just(0.0) | POWER.map(lambda kw: -kw),
    q_max_kvar=st.just(0.0) | POWER,
    e_max_kwh=st.just(0.0) | POWER,
).filter(lambda plate: plate.p_max_kw > 0 or plate.p_min_kw < 0)
SETPOINTS = DERControlType.MAX_LIM_W | DERControlType.FIXED_W | DERControlType.TARGET_W
MODES = st.sampled_from([
    SETPOINTS, DERControlType.FIXED_W, DERControlType.TARGET_W,
    DERControlType.MAX_LIM_W | DERControlType.FIXED_W,
    SETPOINTS | DERControlType.TARGET_VAR, DERControlType.FIXED_W | DERControlType.FIXED_VAR,
])  # fmt: skip


@given(st.floats(-400_000, 400_000), st.booleans())
def test_power_fits_with_the_smallest_multiplier_on_the_safe_side(p_kw, down):
    """16 bits, no multiplier larger than needed, and never off by more than one step towards what is safe."""
    said = _map.active_power(p_kw, down=down)
    assert -32_768 <= said.value <= 32_767
    assert 0 <= said.multiplier <= 9
    step_kw = 10.0**said.multiplier / 1_000
    back_kw = _map.in_kilo(said)
    over_kw = abs(back_kw) - abs(p_kw)
    assert (-step_kw if down else -2e-6) <= over_kw <= (2e-6 if down else step_kw)
    if said.multiplier:
        assert abs(p_kw) * 1_000 / 10 ** (said.multiplier - 1) > 32_766
    assert back_kw * p_kw >= 0


@example(
    _map.Plate("x", 0.0, -1.0, q_max_kvar=6_352.5), SETPOINTS | DERControlType.TARGET_VAR, Profile.SEP2018,
    0.0, 0.84375,
)  # fmt: skip
@given(PLATES, MODES, st.sampled_from(list(Profile)), st.floats(0, 1), st.floats(-1, 1))
def test_what_is_ordered_is_what_the_device_does(plate, modes, profile, share, reactive):
    """There and back: within a step of what was ordered, never beyond it, with the same sign."""
    p_kw = plate.p_min_kw + share * (plate.p_max_kw - plate.p_min_kw)
    q_kvar = reactive * plate.q_max_kvar if plate.q_max_kvar and reactive else math.nan
    can = _map.Able(
        modes,
        1_000 * max(plate.p_max_kw, -plate.p_min_kw),
        1_000 * max(plate.p_max_kw, -plate.p_min_kw),
        1_000 * plate.q_max_kvar,
        profile,
        envelope=15,
        virtual=1,
    )
    base = _map.control_of(p_kw, q_kvar, plate, can)
    assume(base is not None)
    own_kw = plate.p_min_kw if p_kw <= 0 and plate.p_max_kw == 0 else plate.p_max_kw
    done_kw, done_kvar = _map.ordered_kw(base, own_kw, plate, can)
    done_kw = own_kw if math.isnan(done_kw) else done_kw
    step_kw = max(1e-4 * can.w_max, 10.0 ** _map.active_power(p_kw).multiplier) / 1_000 + 1e-6
    assert abs(done_kw - p_kw) <= step_kw
    assert abs(done_kw) <= abs(p_kw) + 2e-6
    if not math.isnan(q_kvar) and not math.isnan(done_kvar):
        step_kvar = max(1e-4 * plate.q_max_kvar, 10.0 ** _map.reactive_power(q_kvar).multiplier / 1_000)
        assert abs(done_kvar - q_kvar) <= step_kvar + 1e-6
        assert abs(done_kvar) <= abs(q_kvar) + 2e-6


@given(PLATES, st.floats(-10_000, 10_000))
def test_nothing_that_stands_moves_a_device_beyond_its_nameplate(plate, own_kw):
    """Whatever is said, what comes back lies within the plate, or leaves the device alone."""
    can = _map.Able(SETPOINTS, 5_000.0, 5_000.0, 0.0, Profile.CSIPAUS13)
    many = ActivePower(multiplier=9, value=32_767)
    for base in (
        DERControlBase(op_mod_target_w=many),
        DERControlBase(op_mod_exp_lim_w=many),
        DERControlBase(op_mod_fixed_w=-10_000, op_mod_gen_lim_w=ActivePower(multiplier=0, value=0)),
    ):
        p_kw, _ = _map.ordered_kw(base, own_kw, plate, can)
        assert math.isnan(p_kw) or plate.p_min_kw - 1e-9 <= p_kw <= plate.p_max_kw + 1e-9


@given(st.integers(-(2**31), 2**31), st.integers(-9, 9))
def test_a_reading_counts_as_its_type_says(value, multiplier):
    """From the customer is injection, to the customer is not; W and var become kW and kvar, V per unit."""
    plate = _map.Plate("x", 5.0, 0.0, v_nom=230.0)
    der = RoleFlags.DER | RoleFlags.MIRROR | RoleFlags.SUBMETER

    def told(uom, direction):
        of = ReadingType(uom=uom, power_of_ten_multiplier=multiplier, flow_direction=direction)
        meant = _map.meant(of, der, plate)
        return meant.quantity, value * meant.factor

    kilo = value * 10.0**multiplier / 1_000
    for uom, name in ((Uom.WATT, "p_kw"), (Uom.VAR, "q_kvar")):
        assert told(uom, FlowDirection.REVERSE) == (name, pytest.approx(kilo))
        assert told(uom, FlowDirection.FORWARD) == (name, pytest.approx(-kilo))
        assert told(uom, None) == (name, pytest.approx(kilo))
    assert told(Uom.VOLT, None) == ("v_pu", pytest.approx(value * 10.0**multiplier / 230.0))


def test_a_site_meter_and_an_unknown_unit_say_nothing_of_the_der():
    """Role 0003 is the premises'; energy, and a series without type, have no column."""
    plate = _map.Plate("x", 5.0, 0.0)
    assert _map.meant(ReadingType(uom=Uom.WATT), 0x03, plate) is None
    assert _map.meant(ReadingType(uom=Uom.WATT_HOUR), 0x49, plate) is None
    assert _map.meant(None, 0x49, plate) is None
    for odd in ({"phase": 128}, {"data_qualifier": 8}, {"kind": 12}, {"accumulation_behaviour": 9}):
        assert _map.meant(ReadingType(uom=Uom.WATT, **odd), 0x49, plate) is None


def test_a_vehicle_lacks_what_it_says_whatever_it_holds():
    """With a state of charge, its target is what it holds and what it lacks; without, it counts from 0."""
    info = PEVInfo(
        charging_power_now=ActivePower(multiplier=0, value=0),
        energy_request_now=RealEnergy(multiplier=0, value=20_000),
        max_forward_power=ActivePower(multiplier=0, value=7_000),
        minimum_charging_duration=0,
        target_state_of_charge=10_000,
        time_charge_is_needed=9,
        time_charging_status_pev=0,
    )
    power = PowerStatus(battery_status=0, changed_time=0, current_power_source=1, pev_info=info)
    assert _map.vehicle_of(power, 40.0) == {"e_target_kwh": 60.0, "depart_s": 9.0}
    assert _map.vehicle_of(power, math.nan) == {"e_kwh": 0.0, "e_target_kwh": 20.0, "depart_s": 9.0}


def test_modes_of_a_profile_are_only_for_who_has_them():
    """A CSIP-AUS client without the bit of a limit gets what the standard has; a vehicle gets a set-point."""
    roof, car = _map.Plate("r", 4.0, 0.0), _map.Plate("c", 0.0, -7.0, e_max_kwh=60.0)
    without = _map.Able(SETPOINTS, 4_000.0, 7_000.0, 0.0, Profile.CSIPAUS13)
    assert _map.control_of(1.0, math.nan, roof, without) == DERControlBase(op_mod_max_lim_w=2_500)
    charge = _map.control_of(-3.0, math.nan, car, without)
    assert charge == DERControlBase(op_mod_target_w=ActivePower(multiplier=0, value=-3_000))


def test_a_status_says_how_full_and_whether_it_takes_orders():
    """State of charge as energy; off, not connected, faulty or under local control is not ready."""
    plate = _map.Plate("x", 5.0, -5.0, e_max_kwh=13.5)

    def ready(**said):
        return _map.state_of(DERStatus(reading_time=0, **said), plate)["ready"]

    full = DERStatus(reading_time=0, state_of_charge_status=StateOfChargeStatusType(date_time=0, value=5_000))
    assert _map.state_of(full, plate) == {"e_kwh": 6.75, "ready": 1.0}
    on, faulty = (
        ConnectStatus.CONNECTED | ConnectStatus.OPERATING,
        ConnectStatus.CONNECTED | ConnectStatus.FAULT,
    )
    assert ready(gen_connect_status=ConnectStatusType(date_time=0, value=on)) == 1.0
    assert ready(gen_connect_status=ConnectStatusType(date_time=0, value=faulty)) == 0.0
    assert ready(stor_connect_status=ConnectStatusType(date_time=0, value=0)) == 0.0
    assert ready(operational_mode_status=OperationalModeStatusType(date_time=0, value=1)) == 0.0


def test_settings_are_attributes_of_the_registry():
    """W and Wh become kW and kWh, charging negative; the gradient is a share of the rating per second."""
    settings = DERSettings(
        set_grad_w=100,
        set_max_w=ActivePower(multiplier=1, value=500),
        set_max_charge_rate_w=ActivePower(multiplier=0, value=4_000),
        set_max_wh=WattHour(multiplier=0, value=13_500),
        updated_time=0,
    )
    assert _map.rated(settings, None) == pytest.approx(
        {"p_max_kw": 5.0, "p_min_kw": -4.0, "e_max_kwh": 13.5, "ramp_kw_s": 0.05}
    )


def test_every_response_is_an_outcome_or_says_nothing():
    """Received and started are accepted, opting out and rejections refused; an end says nothing."""
    said = {status.name: _map.outcome_of(status) for status in ResponseStatus}
    assert said["RECEIVED"] is said["STARTED"] is OutcomeStatus.ACCEPTED
    assert said["OPTED_OUT"] is said["REJECTED_NOT_APPLICABLE"] is OutcomeStatus.REFUSED
    assert {name for name, outcome in said.items() if outcome is None} == {
        "COMPLETED", "OPTED_IN", "CANCELLED", "SUPERSEDED", "PARTLY_OPTED_IN", "ACKNOWLEDGED",
        "NOT_DISPLAYED",
    }  # fmt: skip
