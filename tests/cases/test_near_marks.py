"""Forecasts of plans are marked an hour ahead, against persistence, a day a row, and drift is told."""

import numpy as np
import pytest

from gridflock.model import Forecast, History
from gridflock.runtime._kept import from_bytes, to_bytes
from gridflock.runtime._near_marks import NearMarks
from gridflock.units import DAY_S, TimeGrid

START_S = 1_784_000_000 // DAY_S * DAY_S
NINE = np.round(np.arange(0.1, 0.95, 0.1), 1)
NAMES = ("plan/sun/home", "outside")


class _Past:
    """Quarter-hours that have come."""

    def __init__(self, value_kw):
        self.value_kw = value_kw
        self.steps = value_kw.shape[1]

    def measured(self):
        """All of them."""
        return History(TimeGrid.uniform(START_S, 900, self.steps), NAMES, self.value_kw)


def _seen(now_s, middle_kw, half_kw):
    grid = TimeGrid(now_s + np.concatenate([900 * np.arange(9), 7_200 + 3_600 * np.arange(1, 4)]))
    spread = half_kw * (NINE - 0.5) / 0.4
    value = middle_kw[:, None, None] + spread[:, None] + np.zeros((1, 1, grid.n))
    return Forecast(grid, NAMES, NINE, value, now_s)


def _lived(days, said, truth_kw):
    """Marks of plans a quarter-hour apart: what is said of each quarter-hour, 1 kW of band either way."""
    marks = NearMarks()
    for k in range(1, days * 96 - 5):
        now_s = START_S + 900 * k
        seen = _seen(now_s, said(k + 4), 1.0)
        marks = marks.after(_Past(truth_kw[:, :k]), seen, now_s, "UTC")
    return marks


def _truth(days):
    step = np.arange(days * 96)
    return np.stack([3.0 * (step % 2), np.full(len(step), -5.0)])


def test_marks_are_crps_and_hits_against_persistence():
    """A band round the truth has hits and a small CRPS; what persists is perfect where nothing changes."""
    truth = _truth(2)
    marks = _lived(2, lambda k: truth[:, k] + 0.5, truth)
    sun, outside = marks.marks(7)
    assert (sun.series, sun.days, sun.coverage) == (NAMES[0], 2, 1.0)
    off = -0.5 - (NINE - 0.5) / 0.4
    crps = 2.0 * np.maximum(NINE * off, (NINE - 1.0) * off).mean()
    assert sun.crps_kw == pytest.approx(crps, abs=1e-6)
    # Five quarter-hours lie between what was newest and what came: the wave has turned.
    assert sun.crps_ratio == pytest.approx(crps / 3.0, abs=1e-6)
    assert np.isnan(outside.crps_ratio)
    assert np.isnan(sun.drift)
    assert marks.troubles() == ()
    assert len(marks.said) == 5


def test_drift_near_term_is_told():
    """From the eighth day on the forecast is 4 kW off: worse and narrow, by name; the other series is not."""
    truth = _truth(10)
    wrong = np.array([4.0, 0.0])
    marks = _lived(10, lambda k: truth[:, k] + (wrong if k >= 7 * 96 else 0.2), truth)
    sun, outside = marks.marks(21)
    assert sun.drift > 5.0
    assert outside.coverage == 1.0
    worse, narrow = marks.troubles()
    assert worse.startswith("forecast near worse: plan/sun/home (")
    assert narrow.startswith("forecast near narrow: plan/sun/home (0.5")


def test_it_is_bounded_and_kept():
    """Three weeks are kept, whatever comes; the bytes are those of equal marks; other series begin anew."""
    truth = _truth(24)
    marks = _lived(24, lambda k: truth[:, k], truth)
    assert marks.sums.shape == (21, 5, 2)
    assert marks.days[-1] - marks.days[0] == 20
    assert to_bytes(from_bytes(to_bytes(marks))) == to_bytes(marks)
    other = NearMarks(("else",)).after(_Past(truth), _seen(START_S, truth[:, 0], 1.0), START_S, "UTC")
    assert (other.series, len(other.days), len(other.said)) == (NAMES, 0, 1)


def test_unknown_truths_and_coarse_plans_are_not_marked():
    """Where a meter was silent nothing is marked; a plan in hours has no quarter-hour an hour ahead."""
    truth = _truth(1)
    silent = truth.copy()
    silent[0] = np.nan
    sun, outside = _lived(1, lambda k: truth[:, k], silent).marks(7)
    assert (sun.days, outside.days) == (0, 1)
    hours = TimeGrid.uniform(START_S, 3_600, 4)
    seen = Forecast(hours, NAMES, NINE, np.zeros((2, 9, 4)), START_S)
    assert NearMarks().after(_Past(truth), seen, START_S, "UTC").said == ()


class _Later(_Past):
    """Days that came after a standstill: what was before is not kept."""

    def measured(self):
        """Quarter-hours up to the nineteenth day."""
        start_s = START_S + 19 * DAY_S - 900 * self.steps
        return History(TimeGrid.uniform(start_s, 900, self.steps), NAMES, self.value_kw)


@pytest.mark.parametrize("steps", [96, 19 * 96 - 8])
def test_after_a_standstill_old_sayings_go(steps):
    """What nobody kept the truth of is marked by nothing, not by another quarter-hour; ticks go on."""
    marks = NearMarks().after(_Past(_truth(1)), _seen(START_S, np.ones(2), 1.0), START_S, "UTC")
    now_s = START_S + 19 * DAY_S
    later = marks.after(_Later(np.ones((2, steps))), _seen(now_s, np.ones(2), 1.0), now_s, "UTC")
    assert (len(later.days), later.said_s, later.failed) == (0, now_s, "")
    assert [said.start_s for said in later.said] == [now_s + 3_600]


def test_a_clock_that_was_set_back_leaves_nothing_behind():
    """What was said of moments beyond the next hour is of another clock."""
    ahead_s = START_S + 30 * DAY_S
    marks = NearMarks().after(_Past(_truth(1)), _seen(ahead_s, np.ones(2), 1.0), ahead_s, "UTC")
    back = marks.after(_Past(_truth(1)), _seen(START_S, np.ones(2), 1.0), START_S, "UTC")
    assert [said.start_s for said in back.said] == [START_S + 3_600]


def test_a_mistake_in_marking_is_told_and_stops_no_tick():
    """Marks begin anew, with the fault in words until a tick goes well."""
    wrong = _seen(START_S, np.ones(2), 1.0)
    wrong = Forecast(wrong.grid, ("else", "outside"), NINE, wrong.value_kw, START_S)
    marks = NearMarks().after(_Past(_truth(1)), wrong, START_S, "UTC")
    assert marks.troubles() == ("what was said an hour ahead: KeyError: 'else'",)
    assert marks.said_s == START_S
    assert to_bytes(from_bytes(to_bytes(marks))) == to_bytes(marks)
    well = marks.after(_Past(_truth(1)), _seen(START_S + 900, np.ones(2), 1.0), START_S + 900, "UTC")
    assert well.troubles() == ()
