"""Laws of a running system's past that holds nonsense: a forecast comes, and the fault is told by series."""

import numpy as np
import pytest

from gridflock.model import History
from gridflock.runtime import _lessons as lessons_module
from gridflock.runtime._expected import expected
from gridflock.runtime._lessons import learn
from gridflock.runtime._out_of_scale import out_of_scale
from gridflock.runtime._past import STEP_S, Past
from gridflock.runtime._sites import Sites
from gridflock.runtime._system import System
from gridflock.runtime._training import OUT_OF_SCALE, told_of
from gridflock.sim import Scenario, World, feeder_document
from gridflock.units import DAY_S, TimeGrid, unix_s

SCENARIO = Scenario(ders=40, seed=7)
NOW_S = unix_s("2026-07-15T12:00:00Z")
DAYS = 24
AHEAD = TimeGrid.uniform(NOW_S, STEP_S, 96)
OUTSIDE = -1


@pytest.fixture(scope="module")
def system():
    """A small feeder."""
    return System.build(feeder_document(SCENARIO.feeder), World(SCENARIO).registry)


def a_past(system, spoilt=None):
    """Every series has its day, with noise; the last days as they are spoilt."""
    sites = Sites.of(system.charged_sites, system.groups, system.fleet.family)
    found = Past(system.groups, sites, system.fleet.family, system.fleet.columns, 63)
    rng = np.random.default_rng(2)
    n = DAYS * 96
    hour = np.arange(n) % 96 / 4
    shape = 1.0 + 0.5 * np.sin(hour / 24 * 2 * np.pi)
    size = rng.uniform(5.0, 50.0, len(found.series))[:, None]
    found._value = -size * shape * (1.0 + 0.05 * rng.standard_normal((len(found.series), n)))
    found._end_s = NOW_S
    if spoilt is not None:
        spoilt(found._value)
    return found


def width(seen, row=OUTSIDE):
    """Mean of a series' 80 % band."""
    return float((seen.value_kw[row, -1] - seen.value_kw[row, 0]).mean())


def thousandfold(value):
    """Watts for the last five hours."""
    value[OUTSIDE, -20:] *= 1000.0


def silent(value):
    """Nothing for three days."""
    value[OUTSIDE, -3 * 96 :] = np.nan


def never(value):
    """Nothing at all."""
    value[OUTSIDE] = np.nan


def three_points(value):
    """Three quarter-hours."""
    value[OUTSIDE, :-3] = np.nan


def dead(value):
    """Zero for a day."""
    value[OUTSIDE, -96:] = 0.0


@pytest.mark.parametrize(
    ("spoilt", "wider"), [(thousandfold, 1.0), (silent, 1.1), (never, 1.1), (three_points, 1.1), (dead, 1.1)]
)
def test_a_forecast_comes_of_any_past(system, spoilt, wider):
    """Finite, ordered, as wide as usual or wider, of the usual size; others as if nothing were wrong."""
    usual = expected(a_past(system), AHEAD, system.site, NOW_S)
    seen = expected(a_past(system, spoilt), AHEAD, system.site, NOW_S)
    assert np.isfinite(seen.value_kw).all()
    assert (np.diff(seen.value_kw, axis=1) >= 0).all()
    assert width(seen) > wider * width(usual) * (1 - 1e-9)
    assert np.abs(seen.value_kw[OUTSIDE]).max() < 10.0 * np.abs(usual.value_kw).max()
    assert np.array_equal(seen.value_kw[:OUTSIDE], usual.value_kw[:OUTSIDE])


def test_another_unit_is_told_at_once_and_mended_after_the_gate(system, monkeypatch):
    """Until the gate has seen such values they count as not heard, an alarm by series; then as scaled."""
    past, right = a_past(system, thousandfold), a_past(system)
    (told,) = told_of(past, NOW_S)
    assert told.startswith(f"{OUT_OF_SCALE}: outside;")
    assert told_of(right, NOW_S) == ()
    assert np.isnan(past.history().value_kw[OUTSIDE, -20:]).all()
    assert np.isfinite(past.history().value_kw[:OUTSIDE]).all()
    monkeypatch.setattr(lessons_module._Class, "models", lambda *_: ((), ()))
    past._value[OUTSIDE, -96:-20] *= 1000.0
    lessons = learn(past.whole(), past.measured(), None, None, system.site, past.solar, 96, NOW_S)
    assert ("outside", "unit") in {(fault.series, str(fault.rule)) for fault in lessons.findings}
    past.be_taught("lessons", lessons)
    mended = past.history().value_kw[OUTSIDE]
    assert np.allclose(mended[-80:], right.history().value_kw[OUTSIDE, -80:])
    assert not any(text.startswith(OUT_OF_SCALE) for text in told_of(past, NOW_S))


def test_what_comes_in_bursts_is_in_proportion():
    """Chargers at rest but for an hour, series that grow tenfold, constants, nothing: no step is left out."""
    rng = np.random.default_rng(1)
    n = 20 * 96
    bursts = np.where(rng.random(n) < 0.02, -rng.uniform(1.0, 20.0, n), 0.0)
    grown = -np.where(np.arange(n) > n // 2, 30.0, 3.0) * rng.uniform(0.1, 1.0, n)
    value = np.stack([bursts, grown, np.zeros(n), np.full(n, -7.0), np.full(n, np.nan)])
    grid = TimeGrid.uniform(NOW_S - n * STEP_S, STEP_S, n)
    assert not out_of_scale(History(grid, tuple("abcde"), value)).any()
    short = History(TimeGrid.uniform(NOW_S - DAY_S, STEP_S, 96), ("a",), np.full((1, 96), -1e6))
    assert not out_of_scale(short).any()


def test_bursts_beside_standby_are_in_proportion_and_another_unit_is_not():
    """Who draws little all day and much for hours, again and again, is believed; a thousandfold is not."""
    n = 28 * 96
    hour, week = np.arange(n) % 96 / 4, np.arange(n) % (7 * 96)
    charger = np.where((hour >= 18.0) & (hour < 21.0), -7.2, -0.03)
    engine = np.where(week < 4, 400.0, -0.4)
    value, grid = np.stack([charger, engine]), TimeGrid.uniform(NOW_S - n * STEP_S, STEP_S, n)
    assert not out_of_scale(History(grid, ("charger", "engine"), value)).any()
    value[:, -60:] *= 1000.0
    assert out_of_scale(History(grid, ("charger", "engine"), value))[0, -40:-10].any()


@pytest.mark.parametrize("many", [4, 96, 300])
def test_another_unit_is_seen_however_long_it_lasted(many):
    """Hours or days of it are no habit of a series that never rests."""
    n = 20 * 96
    value = -np.random.default_rng(3).uniform(1.0, 3.0, (1, n))
    value[0, -many - 150 : -150] *= 1000.0
    found = out_of_scale(History(TimeGrid.uniform(NOW_S - n * STEP_S, STEP_S, n), ("a",), value))
    assert found[0, -many - 150 : -150].all()
    assert not found[0, -100:].any()
