"""Laws of forecasts that agree: sums hold, certainty stays, bad luck is shared as it was."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from scipy.special import ndtri

from gridflock.forecast.together import (
    Coherence,
    chance_beyond,
    expected,
    joint,
    leaning,
    shared_ranks,
    shrunk,
)
from gridflock.forecast.together import _coherence as coherence_room
from gridflock.forecast.together._lines import at_scores, scores_of
from gridflock.forecast.together._shrink import standard
from gridflock.model import Forecast
from gridflock.units import TimeGrid

NOW_S = 1_750_003_200
LEVELS = np.round(np.arange(0.1, 0.95, 0.1), 1)
QUICK = settings(max_examples=30, deadline=None)


@st.composite
def groups_over_members(draw):
    """Sums of overlapping groups, errors that share a part, and base forecasts that do not add up."""
    n, a = draw(st.integers(2, 9)), draw(st.integers(1, 5))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sums = (rng.random((a, n)) < 0.6).astype(float)
    sums[0] = 1.0
    member = rng.normal(size=(n, 60)) * rng.uniform(0.1, 3.0, (n, 1)) + rng.normal(size=60)
    error = np.concatenate([sums @ member + rng.normal(size=(a, 60)), member])
    return csr_array(sums), error, 5.0 * rng.normal(size=(a + n, 3)), rng.uniform(0.0, 2.0, (a + n, 3))


def by_the_book(sums, score, belief, spread, base):
    """MinT with every matrix written out: S(SᵀW⁻¹S)⁻¹SᵀW⁻¹ŷ."""
    adding = np.concatenate([sums, np.eye(sums.shape[1])])
    target = np.full((len(score), len(score)), belief.common)
    np.fill_diagonal(target, 1.0)
    likeness = belief.doubt * target + (1 - belief.doubt) * score @ score.T / score.shape[1]
    inverse = np.linalg.inv(np.diag(spread) @ likeness @ np.diag(spread))
    return adding @ np.linalg.solve(adding.T @ inverse @ adding, adding.T @ inverse @ base)


@QUICK
@given(groups_over_members())
def test_reconciled_forecasts_are_those_of_the_book(world):
    """Without forming W, the answer is Wickramasuriya's, for any groups over any members."""
    sums, error, base, spread = world
    found = Coherence(sums, error)
    spread = 0.1 + spread
    expected = [
        by_the_book(sums.toarray(), standard(error), found.belief, spread[:, t], base[:, t]) for t in range(3)
    ]
    np.testing.assert_allclose(found.made_coherent(base, spread).T, expected, rtol=1e-6, atol=1e-7)


@QUICK
@given(groups_over_members(), st.data())
def test_sums_hold_and_what_is_certain_stays(world, data):
    """All sums hold after it, members certain today keep their value, coherent forecasts stay as they are."""
    sums, error, base, spread = world
    groups, members = sums.shape
    sure = groups + data.draw(st.integers(0, members - 1))
    spread[sure] = 0.0
    coherence = Coherence(sums, error)
    found = coherence.made_coherent(base, spread)
    np.testing.assert_allclose(found[:groups], sums @ found[groups:], atol=1e-9)
    np.testing.assert_array_equal(found[sure], base[sure])
    np.testing.assert_allclose(coherence.made_coherent(found, spread), found, atol=1e-7)


@QUICK
@given(groups_over_members())
def test_held_groups_keep_their_word_as_far_as_they_agree(world):
    """One group held keeps its forecast and moves its members; more of them add up and are coherent too."""
    sums, error, base, spread = world
    groups = sums.shape[0]
    spread = 0.1 + spread
    found = Coherence(sums, error).made_coherent(base, spread, held=True)
    np.testing.assert_allclose(found[:groups], sums @ found[groups:], atol=1e-9)
    top, rows = sums[[0]], np.r_[0, groups : len(base)]
    one = Coherence(top, error[rows])
    gap = np.abs(base[:1] - top @ base[groups:])
    for held in (True, False):
        moved = one.made_coherent(base[rows], spread[rows], held=held)
        np.testing.assert_allclose(moved[:1], top @ moved[1:], atol=1e-9)
    kept = one.made_coherent(base[rows], np.ones_like(spread[rows]), held=True)
    assert (np.abs(kept[:1] - base[:1]) <= 0.05 * gap + 1e-9).all()


def two_ways(seed, better, days=60):
    """Past forecasts with groups held, and moved, of two groups and five members; one way is the better."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=(7, days, 3))
    held, moved = (truth + size * rng.normal(size=truth.shape) for size in better)
    return held, moved, truth, np.arange(days, 0, -1.0)


@QUICK
@given(st.integers(0, 2**31 - 1), st.floats(0.05, 2.0), st.floats(0.05, 2.0))
def test_groups_are_believed_by_what_was_missed(seed, kept, moved):
    """The way that missed less is leant to, between both; units of kW and unknown truths change nothing."""
    held, free, truth, age = two_ways(seed, (kept, moved))
    share = leaning(held, free, truth, 2, age)
    assert 0.0 <= share <= 1.0
    if not 0.8 < kept / moved < 1.25:
        assert (share < 0.5) == (kept < moved)
    fades = 0.5 ** (age / 30.0)
    size = ((truth - held) ** 2).mean(axis=2) @ fades
    level = np.repeat([1 / 2, 1 / 5], [2, 5]) / size

    def missed(at):
        return level @ ((truth - held - at * (free - held)) ** 2).mean(axis=2) @ fades

    assert missed(share) <= missed(0.5) + 1e-12
    times = np.random.default_rng(seed).uniform(0.01, 100.0, (7, 1, 1))
    assert leaning(times * held, times * free, times * truth, 2, age) == pytest.approx(share, abs=1e-9)
    unknown = np.concatenate([truth, np.full((7, 9, 3), np.nan)], axis=1)
    longer = [np.concatenate([way, np.ones((7, 9, 3))], axis=1) for way in (held, free)]
    ages = np.concatenate([age, np.full(9, 1.0)])
    assert leaning(*longer, unknown, 2, ages) == pytest.approx(share, abs=1e-12)


def test_without_evidence_halves_are_kept():
    """Nothing known, no past forecast, two ways that say the same: a half; little evidence stays near it."""
    held, free, truth, age = two_ways(1, (0.1, 2.0))
    assert leaning(held, free, np.full_like(truth, np.nan), 2, age) == 0.5
    assert leaning(held, held, truth, 2, age) == 0.5
    assert leaning(held[:, :0], free[:, :0], truth[:, :0], 2, age[:0]) == 0.5
    assert 0.4 < leaning(held[:, -1:], free[:, -1:], truth[:, -1:], 2, age[-1:]) < 0.5
    with pytest.raises(ValueError, match="days"):
        leaning(held, free, truth, 2, age[:-1])


def test_many_groups_are_solved_as_few_are(monkeypatch):
    """The sparse way of thousands of groups gives the answer of the dense one."""
    rng = np.random.default_rng(3)
    sums = csr_array((rng.random((30, 80)) < 0.2).astype(float))
    error, base = rng.normal(size=(110, 40)), rng.normal(size=(110, 2))
    dense = Coherence(sums, error).made_coherent(base)
    monkeypatch.setattr(coherence_room, "_DENSE", 3)
    np.testing.assert_allclose(Coherence(sums, error).made_coherent(base), dense, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 5])
def test_the_share_of_shrinking_is_schaefer_and_strimmers(steps):
    """Over products of columns it is what the sum over all pairs gives, blocks of steps counting once."""
    rng = np.random.default_rng(1)
    score = standard(rng.normal(size=(7, 25)) + np.linspace(0, 1, 25) + np.repeat(rng.normal(size=5), 5))
    pairs = [(i, j) for i in range(7) for j in range(7) if i != j]
    block = np.array([(score[i] * score[j]).reshape(-1, steps).mean(axis=1) for i, j in pairs])
    seen, common = block.mean(axis=1), block.mean()
    blocks = block.shape[1]
    variance = block.var(axis=1, ddof=1).sum() / blocks
    variance -= len(pairs) * block.mean(axis=0).var(ddof=1) / blocks
    found = shrunk(score, steps)
    assert found.common == pytest.approx(common, rel=1e-9)
    assert found.doubt == pytest.approx(min(1.0, variance / ((seen - common) ** 2).sum()), rel=1e-9)
    assert 0.0 < found.doubt <= 1.0


def test_too_little_is_not_believed():
    """One row, or two joint observations, say nothing; of one pair the common correlation is its own."""
    score = standard(np.random.default_rng(2).normal(size=(2, 30)) + np.random.default_rng(3).normal(size=30))
    assert (shrunk(score[:1]).doubt, shrunk(score[:, :2]).doubt, shrunk(score, 15).doubt) == (1.0, 1.0, 1.0)
    assert shrunk(score[:1]).common == 0.0
    assert shrunk(score).doubt == 1.0
    assert shrunk(score).common == pytest.approx((score[0] * score[1]).mean())


def test_a_sum_keeps_what_it_was_seen_to_miss():
    """Members that err alike: drawn to the common correlation, their sum is as uncertain as before."""
    rng = np.random.default_rng(5)
    member = rng.normal(size=40) + rng.normal(size=(50, 40))
    sums = csr_array(np.ones((1, 50)))
    error = np.concatenate([2.0 * rng.normal(size=(1, 40)), member])
    belief = Coherence(sums, error).belief
    seen = standard(member)
    target = belief.common + (1 - belief.common) * np.eye(50)
    likeness = belief.doubt * target + (1 - belief.doubt) * seen @ seen.T / 40
    assert likeness.sum() == pytest.approx((seen.sum(axis=0) ** 2).mean(), rel=0.15)
    assert likeness.sum() > 10 * 50 * belief.doubt


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**31 - 1), st.sampled_from([-3.0, 0.0, 3.0]))
def test_means_are_those_of_what_paths_are_drawn_from(seed, middle):
    """A mean is that of values read off at even ranks, tails and the end at 0 included; means add up."""
    rng = np.random.default_rng(seed)
    value = np.sort(middle + rng.normal(size=(2, 9, 3)) * rng.uniform(0.0, 3.0, (2, 1, 3)), axis=1)
    if middle:
        value = np.sign(middle) * np.sort(np.abs(value), axis=1)[:, :: int(np.sign(middle))]
    score = ndtri((np.arange(4_000) + 0.5) / 4_000)
    drawn = np.stack([at_scores(np.full((2, 3), one), LEVELS, value) for one in score])
    np.testing.assert_allclose(expected(LEVELS, value), drawn.mean(axis=0), atol=1e-2)
    shifted = expected(np.array([0.5]), value[:, 4:5])
    np.testing.assert_array_equal(shifted, value[:, 4])


def test_what_does_not_belong_together_is_refused():
    """Errors of other rows, a member counted twice, forecasts with gaps: refused in words."""
    sums = csr_array(np.ones((1, 3)))
    with pytest.raises(ValueError, match="rows of errors"):
        Coherence(sums, np.ones((3, 5)))
    with pytest.raises(ValueError, match="once or not at all"):
        Coherence(csr_array(np.array([[1.0, 2.0, 1.0]])), np.ones((4, 5)))
    with pytest.raises(ValueError, match="steps"):
        Coherence(sums, np.ones((4, 5)), steps=2)
    with pytest.raises(ValueError, match="shape"):
        Coherence(sums, np.ones((4, 5))).made_coherent(np.full((4, 2), np.nan))
    with pytest.raises(ValueError, match="spreads"):
        Coherence(sums, np.ones((4, 5))).made_coherent(np.ones((4, 2)), np.full((4, 2), -1.0))


def a_year(days=200, seed=5):
    """Forecasts of three series over four steps and what came: a cloud that hits the first two alike."""
    rng = np.random.default_rng(seed)
    cloud = rng.normal(size=(days, 1, 1))
    own = rng.normal(size=(days, 3, 4))
    score = np.concatenate([0.95 * cloud + 0.3 * own[:, :2], own[:, 2:]], axis=1)
    middle = rng.uniform(2.0, 3.0, (days, 3, 1))
    value = (middle + 0.0 * own)[:, :, None] + 0.4 * ndtri(LEVELS)[:, None]
    return middle + 0.4 * score, value


@QUICK
@given(st.integers(0, 2**31 - 1), st.integers(1, 400))
def test_joint_paths_keep_quantiles_and_dependence(seed, count):
    """However many paths: their quantiles are the forecast's, what moved together does, and no other."""
    truth, value = a_year()
    ranks = shared_ranks(truth, LEVELS, value)
    grid = TimeGrid.uniform(NOW_S, 3600, 4)
    today = Forecast(grid, ("a", "b", "c"), LEVELS, value[0], NOW_S)
    path = joint(today, ranks, count, seed)
    assert path.tobytes() == joint(today, ranks, count, seed).tobytes()
    if count < 200:
        return
    seen = np.quantile(path, LEVELS, axis=0).transpose(1, 0, 2)
    assert np.abs(seen - value[0]).max() < 0.15
    together = np.corrcoef(path[:, :, 1].T)
    assert together[0, 1] > 0.8
    assert abs(together[0, 2]) < 0.3


@QUICK
@given(st.integers(0, 2**31 - 1))
def test_reading_off_and_back_are_inverse(seed):
    """A value read off quantiles at a score has that score again; on equal quantiles the middle one."""
    rng = np.random.default_rng(seed)
    value = np.sort(rng.normal(size=(2, 9, 3)), axis=1)
    score = rng.uniform(-2.0, 2.0, (2, 3))
    np.testing.assert_allclose(scores_of(at_scores(score, LEVELS, value), LEVELS, value), score, atol=1e-9)
    flat = np.zeros((1, 9, 1))
    assert scores_of(np.zeros((1, 1)), LEVELS, flat)[0, 0] == pytest.approx(0.0, abs=1e-12)
    assert np.isnan(scores_of(np.full((1, 1), np.nan), LEVELS, flat)).all()


def test_night_stays_dark_in_every_path():
    """A series that is certainly 0 is 0 in every path, and one that is never negative never is."""
    truth, value = a_year()
    value[:, 0] = np.maximum(value[:, 0] - 2.4, 0.0)
    value[:, 0, :, 3] = 0.0
    truth[:, 0] = np.maximum(truth[:, 0] - 2.4, 0.0)
    truth[:, 0, 3] = 0.0
    today = Forecast(TimeGrid.uniform(NOW_S, 3600, 4), ("sun", "b", "c"), LEVELS, value[0], NOW_S)
    path = joint(today, shared_ranks(truth, LEVELS, value), 500, 1)
    assert (path[:, 0] >= 0).all()
    assert (path[:, 0, 3] == 0).all()


def test_the_chance_of_a_broken_limit():
    """Share of paths, the step by which half of them broke it, and what would keep nine in ten inside."""
    grid = TimeGrid.uniform(NOW_S, 3600, 3)
    path = np.zeros((10, 2, 3))
    path[:4, 0, 1] = 5.0
    path[:3, 0, 2] = 7.0
    found = chance_beyond(path, np.array([4.0, np.inf]), grid)
    np.testing.assert_allclose(found.chance, [0.4, 0.0])
    np.testing.assert_allclose(found.by_step[0], [0.0, 0.4, 0.3])
    assert found.from_s.tolist() == [NOW_S + 3600, -1]
    assert found.relief_kw.tolist() == [3.0, 0.0]
    with pytest.raises(ValueError, match="paths"):
        chance_beyond(path[:0], np.array([4.0, 4.0]), grid)
