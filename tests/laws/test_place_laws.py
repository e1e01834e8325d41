"""Laws of places: who stands in a polygon, and which shapes are none."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridflock.fleet.groups import Place, PlaceRejected

seeds = st.integers(0, 2**32 - 1)
SQUARE = [[0.0, 0.0], [4.0, 0.0], [4.0, 4.0], [0.0, 4.0], [0.0, 0.0]]
HOLE = [[1.0, 1.0], [1.0, 3.0], [3.0, 3.0], [3.0, 1.0], [1.0, 1.0]]


@pytest.fixture(scope="module", autouse=True)
def compiled():
    """Loops are compiled, or read from their cache, before a law's first example is timed."""
    for dtype in (np.float32, np.float64):
        polygon(SQUARE).holds(np.ones(1, dtype), np.ones(1, dtype))


def polygon(*rings):
    """A place of one polygon."""
    return Place.of_shape({"type": "Polygon", "coordinates": list(rings)})


def winding(lat, lon, corners):
    """How often a ring of [lon, lat] runs round a position, by the angles of its edges seen from there."""
    ends = np.array([*corners, corners[0]]) - (lon, lat)
    turn = np.diff(np.unwrap(np.arctan2(ends[:, 1], ends[:, 0])))
    return round(float(turn.sum()) / (2 * np.pi))


@settings(deadline=None)
@given(seeds, st.integers(3, 12))
def test_a_star_holds_what_it_winds_round(seed, m):
    """Inside a ring without crossings is where it turns round once (winding number as oracle)."""
    rng = np.random.default_rng(seed)
    angle = np.sort(rng.random(m)) * 2 * np.pi
    radius = rng.uniform(0.5, 2.0, m)
    corners = np.column_stack([7.0 + radius * np.cos(angle), 45.0 + radius * np.sin(angle)])
    lat, lon = rng.uniform(42.0, 48.0, 60), rng.uniform(4.0, 10.0, 60)
    if np.abs(np.diff(np.append(angle, angle[0] + 2 * np.pi))).max() > 3.0:
        return
    expected = [winding(*at, corners.tolist()) != 0 for at in zip(lat, lon, strict=True)]
    assert polygon(corners.tolist()).holds(lat, lon).tolist() == expected


@settings(deadline=None)
@given(seeds)
def test_neighbours_share_nobody_and_leave_nobody_out(seed):
    """A square cut along a broken line: each position in it is in exactly one half, on the line, too."""
    rng = np.random.default_rng(seed)
    cut = [[float(x), 4.0 * k / 4] for k, x in enumerate(rng.integers(1, 8, 5) / 2)]
    west, east = [[0.0, 0.0], *cut, [0.0, 4.0]], [[4.0, 0.0], [4.0, 4.0], *cut[::-1]]
    grid = rng.integers(-1, 10, (2, 200)) / 2.0
    lat = np.concatenate([grid[0], [y for _, y in cut]])
    lon = np.concatenate([grid[1], [x for x, _ in cut]])
    halves = polygon(west).holds(lat, lon).astype(int) + polygon(east).holds(lat, lon)
    assert (halves == polygon(SQUARE).holds(lat, lon)).all()


def test_holes_and_several_polygons():
    """A hole is outside; polygons of one place are joined, also where one fills the other's hole."""
    lat, lon = np.array([0.5, 2.0, 5.0, np.nan]), np.array([0.5, 2.0, 5.0, 1.0])
    assert polygon(SQUARE, HOLE).holds(lat, lon).tolist() == [True, False, False, False]
    both = Place.of_shape({"type": "MultiPolygon", "coordinates": [[SQUARE, HOLE], [HOLE]]})
    assert both.holds(lat, lon).tolist() == [True, True, False, False]
    assert polygon(SQUARE[:-1]).holds(lat, lon).tolist() == [True, True, False, False]
    assert polygon(SQUARE[::-1]).holds(lat, lon).tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ({"type": "Point", "coordinates": [1, 2]}, "neither Polygon"),
        ({}, "neither Polygon"),
        ({"type": "Polygon"}, "list that is not empty"),
        ({"type": "Polygon", "coordinates": []}, "list that is not empty"),
        ({"type": "Polygon", "coordinates": "0 0 1 1"}, "list that is not empty"),
        ({"type": "Polygon", "coordinates": [SQUARE, [[0, 0], [1, 1]]]}, "ring 2: fewer than three corners"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [0, 0], [1, 1]]]}, "fewer than three corners"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, 1], [2, 2]]]}, "no area"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1, "x"], [2, 2]]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [1], [2, 2]]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [["00", "20", "01"]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [[{}, {}, {}]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [2, 10**400], [0, 1]]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [[[0, 0, "\ud800"], [2, 0], [0, 1]]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [[[0, 0, np.nan], [2, 0], [0, 1]]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [[[0], [1], [2]]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [[0, 1, 2]]}, r"positions \[lon, lat\]"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [0, 91], [1, 0]]]}, "ring 1, corner 2: 0, 91"),
        ({"type": "Polygon", "coordinates": [[[0, 0], [float("nan"), 1], [1, 0]]]}, "corner 2: nan, 1"),
        ({"type": "Polygon", "coordinates": [[[179, 0], [-179, 0], [-179, 1], [179, 1]]]}, "antimeridian"),
        ({"type": "MultiPolygon", "coordinates": [[SQUARE], []]}, "polygon: expected a list"),
        (
            {"type": "Polygon", "coordinates": [[[k % 99, k % 89] for k in range(100_001)]]},
            "more than 100000",
        ),
    ],
)
def test_what_is_no_place_is_refused_by_name(shape, words):
    """Another type, rings without area, positions off the globe and the antimeridian are named."""
    with pytest.raises(PlaceRejected, match=words):
        Place.of_shape(shape)
