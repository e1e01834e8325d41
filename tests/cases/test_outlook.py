"""What a group did and will do unasked: shares, sums over past days, gaps, reliability by hand."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.special import ndtri
from typer.testing import CliRunner

from gridflock.console import _outlook
from gridflock.console._cli import app
from gridflock.forecast.card import new_card
from gridflock.model import Forecast, History
from gridflock.runtime import plain
from gridflock.runtime._lessons import METHODS, QUANTILES, Lessons
from gridflock.runtime._outlook import outlook_of, paths_of, shares_of
from gridflock.units import DAY_S, TimeGrid

SERIES = ("plan/sun/s1", "plan/thermal/s1")
STEP_S, DAYS, AHEAD = 900, 40, 8
NOW_S = 1_752_537_600
ROWS = {
    "plan/sun/s1": [0, 1],
    "plan/thermal/s1": [2],
    "all": [0, 1, 2],
    "roof": [0],
    "plan": [0, 1],
    "nobody": [],
}


def system():
    """Two roofs of 3 and 1 kW and a heat pump of 2 kW."""
    columns = {"p_max_kw": np.array([3.0, 1.0, 0.0]), "p_min_kw": np.array([0.0, 0.0, -2.0])}
    rows_of = {name: np.array(rows, dtype=np.int32) for name, rows in ROWS.items()}
    return SimpleNamespace(fleet=SimpleNamespace(columns=columns), rows_of=rows_of)


def seen():
    """Both series are normal about 10 and -10 kW, with a deviation of 1 kW."""
    value = np.array([10.0, -10.0])[:, None, None] + ndtri(QUANTILES)[None, :, None]
    grid = TimeGrid.uniform(NOW_S, STEP_S, AHEAD)
    return Forecast(grid, SERIES, QUANTILES, np.broadcast_to(value, (2, 9, AHEAD)).copy(), NOW_S)


def counted():
    """What was counted: 8 and -4 kW all the time, but for one step of the second that nobody knows."""
    n = DAYS * DAY_S // STEP_S
    value = np.repeat([[8.0], [-4.0]], n, axis=1)
    value[1, -3] = np.nan
    return History(TimeGrid.uniform(NOW_S - n * STEP_S, STEP_S, n), SERIES, value)


def past(score=None):
    """Lessons with these scores, or nothing learnt."""
    if score is None:
        return SimpleNamespace(taught=None)
    lessons = Lessons(
        NOW_S, counted(), (), (), new_card(SERIES, METHODS), np.asarray(score, dtype=np.float32), ()
    )
    return SimpleNamespace(taught=("lessons", lessons))


def scores(sign):
    """Each day has one score for all its steps; the second series' is the first's times a sign."""
    day = np.random.default_rng(5).standard_normal(DAYS)
    first = np.repeat(day, DAY_S // STEP_S)
    return np.stack([first, sign * first])


def told(group, score=None, days=1):
    """The view of a group."""
    known = past(score)
    lessons = None if known.taught is None else known.taught[1]
    return outlook_of(system(), lessons, counted(), seen(), paths_of(known, seen()), group, days)


@pytest.mark.parametrize(("group", "share"), [("plan", 1.0), ("roof", 0.75)])
def test_one_series_has_its_own_quantiles_by_share(group, share):
    """A group within one plan group takes its share of that by size, of the past as of the future."""
    view = told(group)
    assert view.by == "own"
    np.testing.assert_allclose(view.ahead_kw, share * seen().value_kw[0], atol=0.01)
    assert set(view.past_kw) == {share * 8.0}
    assert [(part.series, part.share) for part in view.parts] == [("plan/sun/s1", share)]


def test_without_marked_days_quantiles_are_added():
    """An outer band, and said to be one."""
    view = told("all")
    assert view.by == "added"
    np.testing.assert_allclose(view.ahead_kw, seen().value_kw.sum(axis=0), atol=0.01)


@pytest.mark.parametrize(("sign", "width"), [(1, 2 * 2 * 1.2816), (-1, 0.0)])
def test_past_days_say_whether_errors_add_up_or_cancel(sign, width):
    """Series that always erred the same way together are as wide as the sum; opposite ones cancel out."""
    view = told("all", scores(sign))
    assert view.by == "past days"
    band = np.asarray(view.ahead_kw)
    np.testing.assert_allclose(band[-1] - band[0], width, atol=0.3)


def test_what_one_part_does_not_know_the_sum_does_not():
    """A step is unknown where any part of the group is; a group without parts did and does nothing."""
    view = told("all", days=2)
    assert len(view.past_t) == len(view.past_kw) == 2 * DAY_S // STEP_S
    assert view.past_kw[-3] is None
    assert view.past_kw[-1] == 4.0
    nobody = told("nobody")
    assert nobody.parts == []
    assert set(nobody.past_kw) == {0.0}
    assert {value for row in nobody.ahead_kw for value in row} == {0.0}


def test_reliability_is_the_share_of_truths_below_each_quantile():
    """Of the last three weeks; steps of which the forecast was certain (score 0) are left out."""
    score = np.full((2, DAYS * DAY_S // STEP_S), np.nan)
    score[0, :96] = -3.0  # six weeks ago
    score[0, -200:] = 0.0
    score[0, -100:] = np.repeat(ndtri([0.05, 0.35, 0.75, 0.95]), 25)
    (part,) = told("plan", score).parts
    assert part.steps == 100
    assert part.below == [0.25, 0.25, 0.25, 0.5, 0.5, 0.5, 0.5, 0.75, 0.75]
    sun, thermal = told("all", score).parts
    assert sun.steps == 100
    assert (thermal.series, thermal.steps, thermal.below) == ("plan/thermal/s1", 0, [])


def test_the_command_line_shows_three_quantiles_by_step(monkeypatch):
    """``gridflock outlook``: one line per step with P10, P50 and P90; all else with --json."""
    asked = []

    class Remote:
        """A server that knows one answer."""

        def __init__(self, url, token):
            del url, token

        def ask(self, method, path, params):
            """It."""
            asked.append((method, path, params))
            return plain(told("all"))

    monkeypatch.setattr(_outlook, "Remote", Remote)
    monkeypatch.setenv("COLUMNS", "120")
    shown = CliRunner().invoke(app, ["outlook", "plan/sun/s1", "--days", "2"])
    assert shown.exit_code == 0, shown.output
    assert asked == [("GET", "/api/outlook", {"group": "plan/sun/s1", "days": 2})]
    (line,) = (
        line for line in shown.output.splitlines() if "2025-07-15T00:00:00Z" in line and "-2.56" in line
    )
    assert line.index("-2.56") < line.index("2.56", line.index("-2.56") + 5)
    whole = CliRunner().invoke(app, ["outlook", "--json"])
    assert '"parts"' in whole.output


@pytest.mark.parametrize("meters", [[0, 1], []])
def test_the_head_has_all_of_what_takes_no_orders(meters):
    """Whether or not meters have a rating, or there are any; a part of them by number where none is rated."""
    columns = {"p_max_kw": np.array([0.0, 0.0, 5.0]), "p_min_kw": np.zeros(3)}
    rows_of = {"demand": np.array(meters, dtype=np.int32), "plan/sun/s1": np.array([2], dtype=np.int32)}
    of = SimpleNamespace(fleet=SimpleNamespace(columns=columns), rows_of=rows_of)
    series = ("plan/sun/s1", "outside")
    assert shares_of(of, series, np.arange(3, dtype=np.int32)).tolist() == [1.0, 1.0]
    assert shares_of(of, series, np.array([0], dtype=np.int32)).tolist() == [0.0, 0.5 if meters else 0.0]
