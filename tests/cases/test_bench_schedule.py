"""``gridflock bench schedule``: the same model on all sides, and when a speed does not count."""

import json
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import pytest
from typer.testing import CliRunner

from gridflock.bench import _schedule
from gridflock.bench._schedule_world import HOURS, Answer, chains, checked, site
from gridflock.console._cli import app
from gridflock.plan.direct import optimum

PROMISED = {
    "ms_3",
    "pyomo_highs_ms_3",
    "cvxpy_clarabel_ms_3",
    "ratio_vs_pyomo_highs_3",
    "ratio_vs_cvxpy_clarabel_3",
    "ratio_vs_cvxpy_quickest_3",
    "pyomo_way_3",
    "pyomo_apart_3",
    "cvxpy_apart_3",
    "pyomo",
    "highspy",
    "cvxpy",
    "clarabel",
    "counts",
    "why_not",
}


@pytest.fixture
def short(monkeypatch, require):
    """One small site, each side once."""
    for rival in ("cvxpy", "pyomo"):
        require(rival, find_spec(rival) is not None)
    monkeypatch.setattr(_schedule, "SIZES", (3,))
    monkeypatch.setattr(_schedule, "REPEATS", 1)
    monkeypatch.setattr(_schedule, "TRIES", 1)


def ask(code):
    """The command's JSON, ended with ``code``."""
    found = CliRunner().invoke(app, ["bench", "schedule", "--json"])
    assert found.exit_code == code, found.output
    return json.loads(found.stdout)


@pytest.mark.slow
@pytest.mark.usefixtures("short")
@pytest.mark.filterwarnings("ignore")  # the rivals' own
def test_both_rivals_find_the_same_optimum():
    """The figures promised are told, all objectives agree and the schedule keeps its bounds."""
    found = ask(0)
    assert found.keys() >= PROMISED
    assert found["counts"]
    assert (
        max(found["pyomo_apart_3"], found["cvxpy_apart_3"], found["stated_apart_3"], found["gap_3"]) <= 1e-6
    )
    assert found["breach_3"] <= 1e-6


@pytest.mark.usefixtures("short")
@pytest.mark.filterwarnings("ignore")  # the rivals' own
def test_a_wrong_answer_does_not_count(monkeypatch):
    """A schedule that charges a little more than it says ends with exit code 2 and the reason."""

    def careless(of):
        found = optimum(chains(of))
        return Answer(found.down * 1.01, found.up, found.cost)

    monkeypatch.setattr(_schedule, "_ours", careless)
    found = ask(2)
    assert not found["counts"]
    assert "stated_apart_3" in found["why_not"]


def test_every_side_is_timed_as_often(monkeypatch):
    """Ours and the rivals have the same number of timed calls, and the least of each counts."""
    calls = dict.fromkeys(("ours", "a", "b"), 0)

    def counted(name):
        def solve(_):
            calls[name] += 1

        return solve

    monkeypatch.setattr(_schedule, "_ours", counted("ours"))
    _schedule._race(site(3, 1), {"a": counted("a"), "b": counted("b")})
    assert set(calls.values()) == {_schedule.REPEATS * _schedule.TRIES}


def test_the_check_sees_every_broken_bound():
    """Too full, too empty, both at once, over the import limit: each breach by its size."""
    of = site(2, 1)
    none = np.zeros((2, 96))
    still = Answer(none, none, 0.0)
    wide = replace(of, limit_kw=1e6)
    assert checked(wide, still)[1] <= 0.0
    assert checked(replace(of, limit_kw=1.0), still)[1] == pytest.approx(of.load_kw.max() - 1.0)
    full = none.copy()
    full[0] = of.charge_kw[0]
    over = of.held_kwh[0] + 96 * HOURS * of.charged[0] * of.charge_kw[0] - of.size_kwh[0]
    assert checked(wide, Answer(full, none, 0.0))[1] == pytest.approx(over)
    both = none.copy()
    both[:, 0] = of.discharge_kw
    assert checked(wide, Answer(none + of.charge_kw[:, None] * (np.arange(96) == 0), both, 0.0))[1] >= 1.0


def test_the_site_binds_its_limit_and_its_peak():
    """What is measured is coupled: limit and peak cost something at the optimum."""
    for size in (10, 50):
        found = optimum(chains(site(size, 1)))
        assert found.proven
        assert found.peak_price.sum() == pytest.approx(0.5)
        assert (found.peak_price > 1e-6).sum() > 1
