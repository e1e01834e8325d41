"""Envelopes, groups and what holds without contact, over real TLS: devices keep to what is published."""

import importlib
from types import SimpleNamespace

import numpy as np
import pytest

from gridflock.field.ieee2030_5._field import Wants
from gridflock.field.ieee2030_5._limiting import Ahead, Held
from gridflock.field.ieee2030_5._placing import Curve, Grouped
from gridflock.field.ieee2030_5.resources import DERControlType, DERCurveType, EventState, Profile

of = importlib.import_module("field_world")
HOUR = 3_600
ROOF = {"roof": (0.0, 4.0)}


@pytest.fixture
def world(network, tmp_path):
    """A battery that speaks CSIP-AUS with all limits, and a roof of the plain profile."""
    made = of.World(network, tmp_path / "server")
    made.boxes["battery"].profile, made.boxes["battery"].envelope = Profile.CSIPAUS12, 15
    made.shut()
    made.open()
    yield made
    made.close()


def _ahead(world, steps, at_point=(), step_s=HOUR, **bounds):
    """Bounds of resources, kW by step; pairs (low, high)."""
    start_s = world.clock.at_s - world.clock.at_s % 900
    edges = start_s + step_s * np.arange(steps + 1, dtype=np.int64)
    low = np.array([[pair[0] for pair in each] for each in bounds.values()], dtype=float)
    high = np.array([[pair[1] for pair in each] for each in bounds.values()], dtype=float)
    return Ahead(tuple(bounds), edges, low, high, frozenset(at_point))


def _want(world, **wants):
    world.field.want(Wants(**wants))
    world.heard()


def _controls(world, name):
    offered = world.utility.server.state.offered
    held = offered.controls.get(offered.by_name[f"limits {name}"], {})
    return sorted(held.values(), key=lambda control: control.interval.start)


def test_devices_hold_to_the_envelope_step_by_step(world):
    """Told once, hours ahead: each step's limit is what the device holds, with no further word."""
    world.live(120)
    steps = [(0.0, 2.0), (0.0, 1.0), (0.0, 4.0)]
    _want(world, limits=_ahead(world, 3, step_s=900, roof=steps))
    world.live(60)
    assert [c.der_control_base.op_mod_max_lim_w for c in _controls(world, "roof")] == [5_000, 2_500, 10_000]
    start_s = world.clock.at_s - world.clock.at_s % 900
    for at in range(3):
        world.live(start_s + 900 * (at + 1) - 60 - world.clock.at_s, who=("roof",))
        assert world.boxes["roof"].p_kw == pytest.approx(min(3.0, steps[at][1]))


def test_the_profile_decides_in_which_modes_limits_are_told(world):
    """Export and import at a connection point, generation and load of equipment, else a share of rating."""
    world.live(120)
    pair = [(-3.0, 2.5)]
    _want(world, limits=_ahead(world, 1, battery=pair, roof=pair))
    (base,) = [c.der_control_base for c in _controls(world, "battery")]
    assert (base.op_mod_gen_lim_w.value, base.op_mod_load_lim_w.value) == (2_500, 3_000)
    (base,) = [c.der_control_base for c in _controls(world, "roof")]
    assert base.op_mod_max_lim_w == 6_250
    assert base.op_mod_gen_lim_w is None
    _want(world, limits=_ahead(world, 1, at_point=("battery",), battery=pair))
    base = world.standing("battery").base
    assert (base.op_mod_exp_lim_w.value, base.op_mod_imp_lim_w.value) == (2_500, 3_000)


def test_a_bound_without_a_mode_is_told(world):
    """A device of the plain profile has no mode for what it draws: the operator hears of it."""
    world.boxes["battery"].profile = Profile.SEP2018
    world.shut()
    world.open()
    world.live(120)
    _want(world, limits=_ahead(world, 1, battery=[(-1.0, 2.0)]))
    assert [(each.field, each.ids) for each in world.field.short] == [("p_lo_kw", ("battery",))]


def test_unchanged_limits_make_nothing_new(world):
    """The same envelope every quarter of an hour: a few controls in hours, and never a gap."""
    world.live(120)
    offered = world.utility.server.state.offered
    before = offered.next_control
    for _ in range(24):
        _want(world, limits=_ahead(world, 16, step_s=900, roof=[(0.0, 2.0)] * 16))
        for _ in range(3):
            world.clock.at_s += 300
            assert world.standing("roof").base.op_mod_max_lim_w == 5_000
    assert offered.next_control - before <= 4
    assert world.standing("roof").controls


def test_a_tighter_limit_replaces_what_is_ahead_and_only_that(world):
    """A step in two hours becomes tighter: what is before stays, and the last step holds again."""
    world.live(120)
    _want(world, limits=_ahead(world, 4, roof=[(0.0, 3.0)] * 4))
    (first,) = _controls(world, "roof")
    _want(world, limits=_ahead(world, 4, roof=[(0.0, 3.0), (0.0, 3.0), (0.0, 1.0), (0.0, 3.0)]))
    held = _controls(world, "roof")
    assert first.mrid in {control.mrid for control in held}
    assert len(held) == 3
    start_s = world.clock.at_s - world.clock.at_s % 900
    found = []
    for at in range(4):
        world.clock.at_s = start_s + HOUR * at + 1_800
        found.append(world.standing("roof").base.op_mod_max_lim_w)
    assert found == [7_500, 7_500, 2_500, 7_500]
    again = _controls(world, "roof")
    assert EventState.SUPERSEDED in {control.event_status.current_status for control in again}


def test_any_sequence_of_envelopes_is_what_stands(world):
    """Whatever was published before: at every later moment the newest envelope stands, to its end."""
    world.live(120)
    rng = np.random.default_rng(3)
    for _ in range(60):
        high = rng.choice([1.0, 2.0, 3.0, 4.0], 6)
        _want(world, limits=_ahead(world, 6, step_s=900, roof=[(0.0, kw) for kw in high]))
        start_s, now_s = world.clock.at_s - world.clock.at_s % 900, world.clock.at_s
        later = sorted(rng.integers(now_s, now_s + 3_000, 3).tolist())
        for at_s in later:
            world.clock.at_s = int(at_s)
            step = (world.clock.at_s - start_s) // 900
            assert world.standing("roof").base.op_mod_max_lim_w == high[step] / 4 * 10_000


def test_an_order_never_goes_beyond_what_is_published(world):
    """Ordered more than the tightest limit of its time: the limit is what is asked, met in part."""
    world.live(120)
    _want(world, limits=_ahead(world, 2, step_s=900, roof=[(0.0, 2.0), (0.0, 1.0)]))
    start_s = world.clock.at_s - world.clock.at_s % 900
    world.order(roof=3.0, life_s=start_s + 1_000 - world.clock.at_s)
    world.live(120)
    assert world.boxes["roof"].p_kw == pytest.approx(1.0)
    assert {each[2] for each in world.answers()} == {"PARTIAL"}
    world.order(roof=0.5, life_s=300)
    world.live(100)
    assert world.boxes["roof"].p_kw == pytest.approx(0.5)


def test_without_contact_the_device_falls_to_its_default_in_time(world):
    """Contact lost: the envelope runs out, and a visit later the default holds; back, the envelope does."""
    world.live(120)
    held = {"roof": Held(p_hi_kw=1.5, at_point=True)}
    _want(world, limits=_ahead(world, 1, step_s=1_800, roof=[(0.0, 4.0)]), fallback=held)
    world.live(120)
    assert world.boxes["roof"].p_kw == pytest.approx(3.0)
    ends_s = max(control.interval.start + control.interval.duration for control in _controls(world, "roof"))

    async def gone(*_):
        raise ConnectionError("nobody there")

    session = world.clients["roof"].session
    real, session._line = session._line, SimpleNamespace(ask=gone)
    world.live(ends_s - 60 - world.clock.at_s)
    assert world.boxes["roof"].p_kw == pytest.approx(3.0)
    world.live(120)
    assert world.clock.at_s <= ends_s + 60 + 60
    assert world.boxes["roof"].p_kw == pytest.approx(1.5)
    session._line = real
    _want(world, limits=_ahead(world, 1, step_s=1_800, roof=[(0.0, 2.0)]), fallback=held)
    world.live(600)
    assert world.boxes["roof"].p_kw == pytest.approx(2.0)


def test_group_programs_are_what_the_device_finds(world):
    """Places by primacy behind its own programs, other groups in an assignment of their own; all follow."""
    world.live(120)
    groups = (
        Grouped("all", ("battery", "roof"), 120),
        Grouped("section/1", ("roof",), 90),
        Grouped("provider/x", ("roof",), 140, "groups"),
    )
    _want(world, groups=groups)
    world.live(400)
    site = next(iter(world.clients["roof"].sites.values()))
    assert sorted(offer.primacy for offer in site.programs.offers) == [10, 11, 90, 120, 140]
    state = world.utility.server.state
    device = state.registry.of(world.lfdi("roof"))
    assert [each.name for each in state.assignments.held[device.number]] == ["grid", "groups"]
    changed = len(state.offered.programs)
    _want(world, groups=(*groups[:1], Grouped("section/2", ("roof",), 90)))
    world.live(400)
    assert sorted(offer.primacy for offer in site.programs.offers) == [10, 11, 90, 120]
    assert "group section/1" not in state.offered.by_name
    assert len(state.offered.programs) == changed - 1


def test_a_group_carries_its_curves_in_its_default(world):
    """A volt-var and a volt-watt curve: linked by the default, with the points as they were meant."""
    world.live(120)
    curves = (
        Curve(DERCurveType.VOLT_VAR, (0.92, 0.98, 1.02, 1.08), (0.44, 0.0, 0.0, -0.44)),
        Curve(DERCurveType.VOLT_WATT, (1.06, 1.1), (1.0, 0.2)),
    )
    for _ in range(2):
        _want(world, groups=(Grouped("all", ("battery", "roof"), 120, curves=curves),))
    offered = world.utility.server.state.offered
    program = offered.programs[offered.by_name["group all"]]
    held = {curve.href: curve for curve in offered.curves[program.number].values()}
    assert len(held) == 2
    base = program.default.der_control_base
    points = held[base.op_mod_volt_var.href].curve_data
    assert [(p.xvalue, p.yvalue) for p in points] == [
        (9_200, 4_400),
        (9_800, 0),
        (10_200, 0),
        (10_800, -4_400),
    ]
    assert held[base.op_mod_volt_watt.href].curve_type == DERCurveType.VOLT_WATT
    world.live(400)
    site = next(iter(world.clients["roof"].sites.values()))
    assert site.standing.base.op_mod_volt_var == base.op_mod_volt_var


def test_reactive_power_without_a_mode_is_not_dropped_silently(world):
    """Beside active power it is met in part, alone it is refused; both say why."""
    world.live(120)

    def order(p_kw, q_kvar):
        one = np.ones(1, np.int64)
        made = of.Orders(
            ("battery",), 0 * one.astype(np.int32), world.order_id * one, np.array([p_kw]),
            (world.clock.at_s + 300) * one, 0 * one.astype(np.int16), ("w",), world.clock.at_s,
            np.array([q_kvar]),
        )  # fmt: skip
        world.order_id += 1
        world.field.send(made)
        world.live(100)
        return {each[2] for each in world.answers()}

    assert order(-2.0, 1.0) == {"PARTIAL"}
    assert [(each.field, each.ids) for each in world.field.short] == [("q_kvar", ("battery",))]
    assert order(-2.0, 0.0) == {"ACCEPTED"}
    assert world.field.short == ()
    assert order(np.nan, 1.0) == {"REFUSED"}
    assert [each.field for each in world.field.short] == ["q_kvar"]
    world.boxes["battery"].modes |= DERControlType.TARGET_VAR
    world.shut()
    world.open()
    world.live(120)
    assert "PARTIAL" not in order(-2.0, 1.0)
