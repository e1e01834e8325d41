"""Laws of hidden solar: told apart where the sun can be told, refused where it cannot."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.forecast.hidden import NotSeparable, Separation, separate, separated
from gridflock.forecast.quality import Kind
from gridflock.model import History
from gridflock.units import TimeGrid

sys.path.insert(0, str(Path(__file__).parent))
world = importlib.import_module("quality_world")
DAYS = 70
places = st.tuples(
    st.integers(0, 3), st.just(1), st.sampled_from([1800, 3600]), st.just(DAYS), st.integers(0, 3)
)
MOST_ERROR = 0.12


def parts(where):
    """Load, sun and light of a street."""
    _, history = world.clean(*where)
    light = world.row_of(history, "light")
    return history.grid, world.row_of(history, "works"), light


@settings(max_examples=15)
@given(where=places, size=st.floats(0.05, 0.5), noise=st.floats(0.0, 0.2))
def test_what_is_told_apart_is_near_the_truth_and_adds_up(where, size, noise):
    """Sun and load sum to the total; sun is never negative, 0 in the dark; its error is within the bar."""
    grid, load, light = parts(where)
    cloud = 1 + noise * np.random.default_rng(where[-1]).standard_normal(len(light))
    truth = size * light * np.maximum(cloud, 0)
    found = separate(load + truth, light, grid)
    if isinstance(found, NotSeparable):
        assert size < 0.15
        return
    known = np.isfinite(found.solar_kw)
    assert np.allclose((found.solar_kw + found.load_kw)[known], (load + truth)[known])
    assert (found.solar_kw[known] >= 0).all()
    assert not found.solar_kw[light == 0].any()
    day = truth > 0.01 * truth.max()
    assert np.abs(found.solar_kw - truth)[day].mean() / truth.max() < MOST_ERROR
    assert found.expected_error <= MOST_ERROR


@settings(max_examples=10)
@given(where=places)
def test_a_load_without_sun_is_refused(where):
    """Where nothing follows the light, there is no sun to tell."""
    grid, load, light = parts(where)
    found = separate(load, light, grid)
    assert isinstance(found, NotSeparable)
    assert "follows the light" in found.reason
    assert abs(found.evidence["correlation"]) < 0.5


@settings(max_examples=10)
@given(where=places, wind=st.floats(2.0, 5.0))
def test_sun_drowned_by_other_generation_is_refused(where, wind):
    """Wind as large as the sun moves day and night: the sun is not told from it."""
    grid, load, light = parts(where)
    sun = 0.05 * light
    blows = wind * sun.max() * np.clip(0.4 + 0.3 * world.slow(np.random.default_rng(7), len(sun), 24), 0, 1)
    assert isinstance(separate(load + sun + blows, light, grid), NotSeparable)


@settings(max_examples=10)
@given(where=places, scale=st.sampled_from([1e-3, 3600.0]))
def test_the_unit_of_the_light_does_not_matter(where, scale):
    """W/m² or J/m²: the same answer."""
    grid, load, light = parts(where)
    total = load + 0.4 * light
    one, other = separate(total, light, grid), separate(total, scale * light, grid)
    assert np.allclose(one.solar_kw, other.solar_kw, equal_nan=True)


@settings(max_examples=40)
@given(
    n=st.integers(0, 3000),
    seed=st.integers(0, 9),
    fill=st.sampled_from([np.nan, 0.0, -5.0, 1e9]),
    share=st.sampled_from([0.0, 0.5, 1.0]),
)
def test_an_answer_always_comes(n, seed, fill, share):
    """Short, empty, constant and absurd totals are refused with a reason or told apart, never NaN."""
    rng = np.random.default_rng(seed)
    grid = TimeGrid.uniform(1_600_000_200 // 3600 * 3600, 3600, n)
    total = np.where(rng.random(n) < share, fill, rng.normal(-3, 2, n))
    light = np.where(rng.random(n) < share, fill, np.maximum(rng.normal(0, 300, n), 0))
    found = separate(total, light, grid)
    if isinstance(found, Separation):
        assert np.isfinite(found.solar_kw[np.isfinite(total) & np.isfinite(light)]).all()
    else:
        assert found.reason


def test_every_net_series_gets_its_answer():
    """Of a history, net series are taken apart by the light among them; without any light all are refused."""
    _, history = world.clean()
    kinds = {name: Kind(kind) for name, kind in world.KINDS.items()}
    found = separated(history, kinds)
    assert set(found) == {"street"}
    assert isinstance(found["street"], Separation)
    blind = History(history.grid, ("street",), world.row_of(history, "street")[None])
    assert isinstance(separated(blind, kinds)["street"], NotSeparable)
    with pytest.raises(ValueError, match="uniform"):
        separate(np.zeros(2), np.zeros(2), TimeGrid(np.array([0, 3600, 9000], dtype=np.int64)))
