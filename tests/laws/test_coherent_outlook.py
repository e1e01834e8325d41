"""Laws of what a running system expects of groups: means add up, quantiles are those of joint paths."""

import numpy as np
import pytest

from gridflock.forecast.card import new_card
from gridflock.runtime import LOCAL, Settings, rehearse
from gridflock.runtime._expected import drawn
from gridflock.runtime._lessons import METHODS, Lessons
from gridflock.runtime._outlook import mean_of, shares_of
from gridflock.sim import Scenario

WHOLE = ("section", "type", "provider")
"""Levels whose groups hold every resource once."""


@pytest.fixture(scope="module")
def derms(tmp_path_factory):
    """A feeder at noon with four weeks behind it, each day of which hit all series at once."""
    settings = Settings(learn_days=0, past_days=28)
    found, _ = rehearse(
        tmp_path_factory.mktemp("life"), Scenario(ders=60, seed=7), settings, join_s=43_200, weeks=4
    )
    past = found._loop.past
    past.keep(28)
    history = past.measured()
    days = np.random.default_rng(5).standard_normal(history.grid.n // 96 + 1)
    score = np.repeat(days, 96)[: history.grid.n] * np.ones((len(history.series), 1))
    card = new_card(history.series, METHODS)
    past.be_taught(
        "lessons", Lessons(history.grid.end_s, history, (), (), card, score.astype(np.float32), ())
    )
    found.tick()
    yield found
    found.close()


def means(derms, names):
    """Means (n, T) of some groups or resources, unrounded."""
    system, seen = derms._loop.system, derms.moment.forecast
    return np.array([mean_of(seen, shares_of(system, seen.series, system.rows_of[name])) for name in names])


def test_means_of_members_make_every_group(derms):
    """The means of a group's resources, one by one, add up to its own at every step.

    Whatever it is: a provider, a type, a section, its phases, a program, a plan's part.
    """
    groups, fleet = derms._loop.system.groups, derms._loop.system.fleet
    each = means(derms, fleet.ids)
    assert len(groups.ids) > 50
    for name in groups.ids:
        (mine,) = means(derms, [name])
        assert np.allclose(each[groups.rows(name)].sum(axis=0), mine, rtol=1e-9, atol=1e-9), name
    assert np.abs(each).sum() > 1.0


@pytest.mark.parametrize("level", WHOLE)
def test_levels_add_up_to_the_head(derms, level):
    """Of groups that hold every resource once the means make that of the head."""
    groups = derms._loop.system.groups
    ids = groups.level(level).ids
    assert sorted(np.concatenate([groups.rows(name) for name in ids])) == list(groups.rows("all"))
    (head,) = means(derms, ["all"])
    assert np.allclose(means(derms, ids).sum(axis=0), head, rtol=1e-9, atol=1e-9)
    told = [derms.outlook(LOCAL, name).mean_kw for name in (*ids, "all")]
    assert np.allclose(np.sum(told[:-1], axis=0), told[-1], atol=0.005 * (len(ids) + 1) + 1e-9)


def test_series_add_up_to_the_head(derms):
    """What is forecast itself, plan groups and what takes no orders, makes the head."""
    seen = derms.moment.forecast
    (head,) = means(derms, ["all"])
    assert np.allclose(mean_of(seen, np.ones(len(seen.series))), head, rtol=1e-9, atol=1e-9)


def test_quantiles_of_groups_are_those_of_joint_paths(derms):
    """Path by path the parts of a group are added, then quantiles taken; of one series they are its own."""
    loop, seen = derms._loop, derms.moment.forecast
    path = drawn(loop.past, seen, 500, seen.known_at_s).astype(np.float64)
    several = 0
    for name in (*loop.system.groups.level("section").ids, *loop.system.groups.level("provider").ids, "all"):
        share = shares_of(loop.system, seen.series, loop.system.rows_of[name])
        view = derms.outlook(LOCAL, name)
        band = np.asarray(view.ahead_kw)
        assert (np.diff(band, axis=0) >= 0).all()
        if (share > 0).sum() < 2:
            assert view.by == "own"
            continue
        several += 1
        assert view.by == "past days"
        wanted = np.quantile(np.einsum("kst,s->kt", path, share), seen.quantiles, axis=0)
        assert np.allclose(band, wanted, atol=0.0051), name
        wide = np.tensordot(share, seen.value_kw, axes=1)
        stray = np.einsum("kst,s->kt", path, share).mean(axis=0) - view.mean_kw
        assert np.abs(stray).sum() < 0.05 * (band[-1] - band[0]).sum()
        # All days hit all series alike here: what is then as wide as all errors added, is no wider.
        assert (band[-1] - band[0]).sum() == pytest.approx((wide[-1] - wide[0]).sum(), rel=0.1)
    assert several > 5
