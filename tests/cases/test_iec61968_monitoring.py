"""EPRI's cases on status (family DERGS) and forecast (DERGF) of groups of IEC 61968-5.

The titles of the families are public, the lettered variants are not: which variant stands for which
letter is ours.
"""

import importlib
import sys
from pathlib import Path

import numpy as np

from gridflock.fleet import group_status
from gridflock.fleet.functions import (
    FAST_S,
    SLOW_S,
    Foretold,
    group_forecast,
    group_forecast_of_rows,
    parameter_status,
)
from gridflock.model import (
    CurveStyle,
    Forecast,
    ForecastQuery,
    Parameter,
    StatusQuery,
    Verb,
)
from gridflock.units import TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("der_groups_world")
NOW_S, reason = world.NOW_S, world.reason
GRID = TimeGrid.uniform(NOW_S, 900, 4)
LEVELS = np.array([0.1, 0.5, 0.9])


def column(desk, name):
    """A registry or telemetry column of the desk's image, float64, NaN where absent."""
    image = desk.present.image
    values = image.columns[name] if name in image.columns else getattr(image, name)
    return values.astype(np.float64)


def near(found, wanted):
    """Whether two numbers or arrays agree to the millionth."""
    np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-6)


def test_61968_dergs_1a():
    """Status of powers: now, least and most are the sums over members; apparent power follows from them.

    Family DERGS, status monitoring (IEC 61968-5, 5.5). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    asked = (Parameter.ACTIVE_POWER, Parameter.REACTIVE_POWER, Parameter.APPARENT_POWER)
    status = desk.say("get", StatusQuery(("street", "store"), asked)).report
    able = desk.present.capability
    for g, name in enumerate(("street", "store")):
        rows = desk.rows(name)
        p, q = np.nansum(column(desk, "p_kw")[rows]), np.nansum(column(desk, "q_kvar")[rows])
        lo, hi = able.p_lo_kw[rows].sum(), able.p_hi_kw[rows].sum()
        near(status.nominal[g], [p, q, np.hypot(p, q)])
        near((status.lowest[g, 0], status.highest[g, 0]), (lo, hi))
        near(status.installed_lo[g, 0], column(desk, "p_min_kw")[rows].sum())
        near(status.installed_hi[g, 0], column(desk, "p_max_kw")[rows].sum())
        near(status.installed_hi[g, 1], 0.44 * column(desk, "s_max_kva")[rows].sum())
        assert status.highest[g, 1] == -status.lowest[g, 1] > 0
        assert status.lowest[g, 2] == 0.0 < status.nominal[g, 2] < status.highest[g, 2]
    near(status.time_s, NOW_S - 10)
    face = group_status(desk.register.groups, desk.present.image, able)
    near(face.p_hi_kw[desk.register.groups.at("street")], status.highest[0, 0])


def test_61968_dergs_1b():
    """Status of voltage: mean, least and most of the members that report one, unknown where none does.

    Family DERGS, status monitoring (5.5). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.create("mute", ("gen1", "ev1"))
    status = desk.say("get", StatusQuery(("sun", "street", "mute"), (Parameter.VOLTAGE,))).report
    near(status.nominal[:2, 0], [1.025, (1.02 + 1.03 + 0.99 + 1.0) / 4])
    near(status.lowest[:2, 0], [1.02, 0.99])
    near(status.highest[:2, 0], [1.03, 1.03])
    assert np.isnan([status.nominal[2, 0], status.lowest[2, 0], status.highest[2, 0]]).all()
    assert np.isnan(status.installed_hi).all()


def test_61968_dergs_1c():
    """Status of ramp rates and regulation: sums of what each member can move in time, within its bounds.

    Family DERGS, status monitoring (5.5). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.create("all", ("street", "gen1", "heat1", "load1"))
    status = desk.say("get", StatusQuery(("all", "street", "sun"))).report
    assert status.parameters == tuple(Parameter)
    able, ramp = desk.present.capability, column(desk, "ramp_kw_s")
    lo, hi = able.p_lo_kw, able.p_hi_kw
    now = np.clip(np.nan_to_num(column(desk, "p_kw")), lo, hi)

    def sums(rows, room, within_s):
        return np.minimum(room[rows], ramp[rows] * within_s).sum()

    for g, name in enumerate(status.groups):
        rows = desk.rows(name)
        for within_s, names in (
            (1.0, (Parameter.INCREASING_RAMP_RATE, Parameter.DECREASING_RAMP_RATE, None)),
            (
                FAST_S,
                (Parameter.HIGH_FILTER_UP, Parameter.HIGH_FILTER_DOWN, Parameter.HIGH_FILTER_BIDIRECTIONAL),
            ),
            (
                SLOW_S,
                (Parameter.LOW_FILTER_UP, Parameter.LOW_FILTER_DOWN, Parameter.LOW_FILTER_BIDIRECTIONAL),
            ),
        ):
            up, down = sums(rows, hi - now, within_s), sums(rows, now - lo, within_s)
            most = sums(rows, hi - lo, within_s)
            wanted = (up, down, min(up, down))
            for what, nominal, highest in zip(names, wanted, (most, most, most / 2), strict=True):
                if what is not None:
                    p = status.parameters.index(what)
                    near((status.nominal[g, p], status.highest[g, p]), (nominal, highest))
                    assert status.lowest[g, p] == 0.0
    up = status.parameters.index(Parameter.INCREASING_RAMP_RATE)
    near(status.nominal[2, up], 0.5)
    fast = status.parameters.index(Parameter.HIGH_FILTER_UP)
    slow = status.parameters.index(Parameter.LOW_FILTER_UP)
    near(status.nominal[0, slow] - status.nominal[0, fast], 50.0)


def test_61968_dergs_1d():
    """Status of nobody's group is refused by name, of an empty one is known to be nothing or unknown.

    Family DERGS, status monitoring (5.5). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.create("empty", ())
    assert reason(desk.say("get", StatusQuery(("sun", "nobody"))))[:2] == ("mrid", ("nobody",))
    status = desk.say("get", StatusQuery(("empty",))).report
    assert status.time_s.tolist() == [-1]
    assert np.isnan(status.nominal[0, :4]).all()
    assert (status.highest[0, [0, 1, 2]] == 0).all()
    desk.present = None
    assert reason(desk.say("get", StatusQuery(("sun",))))[0] == "present"


def test_61968_dergs_2():
    """Status is pushed to subscribers without being asked for: each gets its groups, numbered from 1.

    Family DERGS, unsolicited status (5.5). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.register = (
        desk.register.subscribed("adms").subscribed("store owner", ("store",)).subscribed("x", ("y",))
    )
    status = parameter_status(desk.register.groups, desk.present, ("street", "store"))
    for _ in range(2):
        desk.register = desk.register.pushed(status, NOW_S)
    everything, part = (desk.register.waiting(name) for name in ("adms", "store owner"))
    assert [m.sequence for m in everything] == [m.sequence for m in part] == [1, 2]
    assert everything[0].body is status
    assert everything[0].verb == Verb.CREATED
    assert part[1].body.groups == ("store",)
    np.testing.assert_array_equal(part[1].body.nominal[0], status.nominal[1])
    assert desk.register.waiting("x") == ()
    desk.register = desk.register.acknowledged("adms", 1)
    assert [m.sequence for m in desk.register.waiting("adms")] == [2]
    desk.register = desk.register.unsubscribed("store owner").pushed(status, NOW_S)
    assert set(desk.register.subscribers) == {"adms", "x"}


def quantiles(rng, series):
    """A forecast of some series with three quantiles."""
    middle = rng.normal(0.0, 3.0, (len(series), 1, GRID.n))
    width = rng.uniform(0.2, 2.0, (len(series), 2, GRID.n))
    value = np.concatenate([middle - width[:, :1], middle, middle + width[:, 1:]], axis=1)
    return Forecast(GRID, tuple(series), LEVELS, value, NOW_S - 60)


def test_61968_dergf_1a():
    """Forecast by constant intervals: median and ends of the range are the members' sums, as stated.

    Family DERGF, forecast (IEC 61968-5, 5.6). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    forecast = quantiles(np.random.default_rng(1), ("pv1", "pv2", "bat1", "bat2", "ev1"))
    made, rejected = group_forecast(desk.register.groups, ("sun", "street"), forecast)
    assert rejected == ()
    desk.with_forecast(made)
    report = desk.say("get", ForecastQuery(("street", "sun"))).report
    assert (report.confidence, report.created_s) == (0.8, NOW_S - 60)
    assert report.style == CurveStyle.CONSTANT
    near(report.nominal[0, 0], forecast.value_kw[:, 1].sum(axis=0))
    near(report.lowest[0, 0], forecast.value_kw[:, 0].sum(axis=0))
    near(report.highest[1, 0], forecast.value_kw[:2, 2].sum(axis=0))
    assert report.known.tolist() == report.members.tolist() == [5, 2]


def test_61968_dergf_1b():
    """Forecast by straight lines: one value more than intervals, on the lines between their middles.

    Family DERGF, forecast (5.6). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    rising = np.arange(4.0) * 2.0 + 1.0
    value = np.stack([rising - 1.0, rising, rising + 2.0])[None]
    forecast = Forecast(GRID, ("street",), LEVELS, value, NOW_S)
    desk.with_forecast(group_forecast(desk.register.groups, ("street",), forecast)[0])
    lines = desk.say("get", ForecastQuery(("street",), style=CurveStyle.STRAIGHT_LINE)).report
    near(lines.nominal[0, 0], [1.0, 2.0, 4.0, 6.0, 7.0])
    near(lines.highest - lines.nominal, 2.0)
    near((lines.nominal[0, 0, 1:-2] + lines.nominal[0, 0, 2:-1]) / 2, rising[1:-1])
    same, _ = group_forecast(desk.register.groups, ("street",), forecast, style=CurveStyle.STRAIGHT_LINE)
    near(same.nominal, lines.nominal)


def test_61968_dergf_1c():
    """The stated confidence chooses the quantiles, and how errors add up; no more is promised than known.

    Family DERGF, forecast with confidence (5.6). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    groups, rng = desk.register.groups, np.random.default_rng(3)
    forecast = quantiles(rng, ("pv1", "pv2"))
    low, mid, high = (forecast.value_kw[:, k] for k in range(3))
    half, _ = group_forecast(groups, ("sun",), forecast, confidence=0.4)
    near(half.lowest[0, 0], ((low + mid) / 2).sum(axis=0))
    near(half.highest[0, 0], ((mid + high) / 2).sum(axis=0))
    apart, _ = group_forecast(groups, ("sun",), forecast, together="apart")
    near(apart.highest[0, 0], mid.sum(axis=0) + np.sqrt(((high - mid) ** 2).sum(axis=0)))
    alike, _ = group_forecast(groups, ("sun",), forecast)
    assert (apart.highest < alike.highest).all()
    nothing, rejected = group_forecast(groups, ("sun",), forecast, confidence=0.95)
    assert rejected[0].field == "confidence"
    assert np.isnan(nothing.nominal).all()


def test_61968_dergf_1d():
    """Forecast of several parameters from each resource's; gaps are counted, nothing known is refused.

    Family DERGF, forecast (5.6). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.create("mute", ("heat1",))
    n, rng = len(desk.fleet.ids), np.random.default_rng(4)
    drawn = [np.sort(rng.normal(size=(3, n, GRID.n)), axis=0)[[1, 0, 2]] for _ in range(2)]
    drawn[0][0][desk.fleet.row_of["ev1"]] = np.nan
    drawn[1][2][desk.fleet.row_of["heat1"], 2] = np.nan
    foretold = dict(
        zip((Parameter.REACTIVE_POWER, Parameter.VOLTAGE), (Foretold(*part) for part in drawn), strict=True)
    )
    names = ("street", "mute")
    made, rejected = group_forecast_of_rows(
        desk.register.groups, names, GRID, foretold, confidence=0.9, created_s=NOW_S
    )
    rows = [row for row in desk.rows("street") if row != desk.fleet.row_of["ev1"]]
    near(made.nominal[0, 0], drawn[0][0][rows].sum(axis=0))
    near(made.nominal[0, 1], drawn[1][0][rows].mean(axis=0))
    near(made.lowest[0, 1], drawn[1][1][rows].min(axis=0))
    near(made.highest[0, 1], drawn[1][2][rows].max(axis=0))
    assert (made.known.tolist(), made.members.tolist()) == ([4, 0], [5, 1])
    assert rejected[0].ids == ("mute",)
    assert reason(desk.say("get", ForecastQuery(("street",))))[0] == "present"
    desk.with_forecast(made)
    asked = ForecastQuery(("store",), (Parameter.ACTIVE_POWER,))
    faults = {fault.field: fault.ids[1:] for fault in desk.say("get", asked).rejected}
    assert faults == {"group": ("store",), "parameter": ("activePower",)}


def test_61968_dergf_2():
    """A new forecast is pushed to subscribers, each its groups, behind what waits for them already.

    Family DERGF, unsolicited forecast (5.6). The variant is ours: the paid text is not public.
    """
    desk = world.town()
    desk.register = desk.register.subscribed("adms", ("sun", "g1"))
    desk.create("g1", ("gen1",))
    forecast = quantiles(np.random.default_rng(5), ("pv1", "pv2", "bat1", "bat2"))
    made, _ = group_forecast(desk.register.groups, ("store", "sun"), forecast)
    desk.register = desk.register.pushed(made, NOW_S)
    created, pushed = desk.register.waiting("adms")
    assert (created.body.mrid, created.sequence) == ("g1", 1)
    assert (pushed.body.groups, pushed.sequence) == (("sun",), 2)
    near(pushed.body.nominal[0, 0], forecast.value_kw[:2, 1].sum(axis=0))
    assert pushed.body.created_s == made.created_s
