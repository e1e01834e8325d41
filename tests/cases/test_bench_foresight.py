"""The bench of foresight compares what plans were made from with habits, on one truth."""

import numpy as np
import pytest

from gridflock.bench import _foresight as bench_module
from gridflock.bench._foresight import _Day, _missed, _ratios, _Said
from gridflock.model import Forecast, History
from gridflock.runtime import Settings
from gridflock.sim import Scenario
from gridflock.units import TimeGrid

NOW_S = 1_784_000_700 // 900 * 900
NINE = np.round(np.arange(0.1, 0.95, 0.1), 1)


def _said(value_kw, edges_s):
    grid = TimeGrid(np.asarray(edges_s, dtype=np.int64))
    names = ("outside", "plan/sun/commercial")
    nine = np.full((2, 9, grid.n), value_kw)
    return Forecast(grid, names, NINE, nine, NOW_S)


def test_misses_are_counted_where_the_truth_is_known():
    """Points that are 2 kW off for two hours of which one is over: 2 kW × 1 h; an hour ahead likewise."""
    edges = NOW_S + 900 * np.array([0, 1, 2, 4, 8])
    truth = History(TimeGrid.uniform(NOW_S - 900, 900, 5), _said(0.0, edges).series, np.full((2, 5), 3.0))
    off = _missed(_said(1.0, edges), truth, 86_400)
    assert off.tolist() == pytest.approx([2.0, 2.0])
    assert _missed(_said(1.0, edges), truth, 1_800).tolist() == pytest.approx([1.0, 1.0])
    day = _Day([_Said(_said(2.0, edges), _said(1.0, edges))], truth, {}, 0.0, 0.0)
    assert _ratios(day, 86_400) == {"all_groups": 0.5, "outside": 0.5, "sun": 0.5}


@pytest.mark.slow
def test_a_day_of_a_small_fleet(monkeypatch):
    """Half an hour: plans are compared with habits, the world's books are told, progress ends at 1."""
    real = bench_module._lived
    seen = []

    def short(scenario, settings, weeks, hours, told):
        assert (weeks, isinstance(scenario, Scenario)) == (4, True)
        assert isinstance(settings, Settings)
        return real(
            scenario, Settings(tick_s=900, learn_days=0 if settings.learn_days == 0 else 99), 1, hours, told
        )

    monkeypatch.setattr(bench_module, "_lived", short)
    found = bench_module.foresight(20, 2, 4, 900, 1, seen.append)
    assert found["plans"] == 5
    assert set(found["crps_ratio"].values()) <= {1.0, None}
    assert found["learned"] == found["habits"]
    assert seen[-1] == 1.0
