"""Places: polygons on the map, and who stands in them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.groups._kernels import compiled
from gridflock.units import Mask

_MOST_CORNERS = 100_000
_Array = NDArray[np.float64]


class PlaceRejected(ValueError):  # noqa: N818 - bad input, told whole
    """The shape is no polygon on the map; the text names ring, corner and rule."""


@dataclass(frozen=True, slots=True, eq=False)
class Place:
    """One polygon or several, with holes; edges are straight in latitude and longitude.

    Attributes:
        edges: per polygon float64 (m, 4): latitude and longitude of both ends of each edge, deg; holes
            included.
    """

    edges: tuple[_Array, ...]

    @classmethod
    def of_shape(cls, shape: Mapping[str, Any]) -> Self:
        """Read a GeoJSON geometry (RFC 7946 §3.1.6, §3.1.7): ``Polygon`` or ``MultiPolygon``.

        Rings are lists of ``[lon, lat]``; the first of a polygon is its border, the others are holes.
        Whether a ring's first corner is repeated at its end and which way it runs round is all one.

        Raises:
            PlaceRejected: another type; a ring of fewer than three corners or without area; a corner
                that is no position on the globe; an edge across the antimeridian (cut the shape in two
                there, RFC 7946 §3.1.9); too many corners.
        """
        kind, coordinates = shape.get("type"), shape.get("coordinates")
        if kind not in ("Polygon", "MultiPolygon"):
            raise PlaceRejected(f"type {kind!r} is neither Polygon nor MultiPolygon")
        polygons = _listed([coordinates] if kind == "Polygon" else coordinates, "coordinates")
        rings = [[_ring(ring, r) for r, ring in enumerate(_listed(p, "polygon"))] for p in polygons]
        corners = sum(len(ring) for polygon in rings for ring in polygon)
        if corners > _MOST_CORNERS:
            raise PlaceRejected(f"{corners} corners are more than {_MOST_CORNERS}")
        return cls(tuple(np.concatenate(polygon) for polygon in rings))

    def holds(self, lat_deg: NDArray[Any], lon_deg: NDArray[Any]) -> Mask:
        """Which positions lie inside, (n,); an absent position is nowhere.

        Counts the edges that a ray to the east crosses (even-odd rule, Shimrat 1962). An edge includes
        its southern end and not its northern one, so polygons that share a border share no position.
        """
        inside = np.zeros(len(lat_deg), dtype=bool)
        for edges in self.edges:
            low, high = edges[:, (0, 2)].min(), edges[:, (0, 2)].max()
            west, east = edges[:, (1, 3)].min(), edges[:, (1, 3)].max()
            near = (lat_deg >= low) & (lat_deg <= high) & (lon_deg >= west) & (lon_deg <= east) & ~inside
            at = np.flatnonzero(near)
            lat, lon = lat_deg[at].astype(np.float64), lon_deg[at].astype(np.float64)
            inside[at] = _odd_crossings(lat, lon, np.ascontiguousarray(edges))
        return inside


def _listed(values: object, what: str) -> Sequence[Any]:
    if not isinstance(values, Sequence) or isinstance(values, str | bytes) or not values:
        raise PlaceRejected(f"{what}: expected a list that is not empty")
    return values


def _position(values: object) -> list[float]:
    """Longitude and latitude; what follows, as a height, must be numbers too (RFC 7946 §3.1.1)."""
    if not isinstance(values, Sequence) or any(isinstance(x, str | bytes | bool) for x in values):
        raise TypeError("no position")
    numbers = [float(x) for x in values]
    if not all(map(math.isfinite, numbers[2:])):
        raise ValueError("no height")
    return numbers[:2]


def _ring(positions: object, number: int) -> _Array:
    """The edges of a ring, (m, 4)."""
    name = f"ring {number + 1}"
    try:
        corners = np.array([_position(p) for p in _listed(positions, name)], dtype=np.float64)
    except (TypeError, ValueError, OverflowError):
        raise PlaceRejected(f"{name}: expected positions [lon, lat]") from None
    if corners.shape != (len(corners), 2):
        raise PlaceRejected(f"{name}: expected positions [lon, lat]")
    bad = np.flatnonzero(~((np.abs(corners[:, 0]) <= 180.0) & (np.abs(corners[:, 1]) <= 90.0)))
    if len(bad):
        lon, lat = corners[bad[0]]
        raise PlaceRejected(f"{name}, corner {bad[0] + 1}: {lon:g}, {lat:g} is no longitude and latitude")
    if (corners[0] == corners[-1]).all():
        corners = corners[:-1]
    if len(np.unique(corners, axis=0)) < 3:
        raise PlaceRejected(f"{name}: fewer than three corners")
    following = np.roll(corners, -1, axis=0)
    far = np.flatnonzero(np.abs(following[:, 0] - corners[:, 0]) > 180.0)
    if len(far):
        raise PlaceRejected(f"{name}, corner {far[0] + 1}: its edge crosses the antimeridian; cut it there")
    moved = corners - corners.mean(axis=0)
    turned = np.roll(moved, -1, axis=0)
    area = np.abs((moved[:, 0] * turned[:, 1] - moved[:, 1] * turned[:, 0]).sum()) / 2
    if area <= 1e-14 * max(1.0, float(np.abs(moved).max()) ** 2):
        raise PlaceRejected(f"{name}: has no area")
    return np.column_stack([corners[:, 1], corners[:, 0], following[:, 1], following[:, 0]])


@compiled
def _odd_crossings(lat: _Array, lon: _Array, edges: _Array) -> Mask:
    odd = np.zeros(lat.shape[0], dtype=np.bool_)
    for i in range(lat.shape[0]):
        y, x = lat[i], lon[i]
        for e in range(edges.shape[0]):
            y0, y1 = edges[e, 0], edges[e, 2]
            if (y0 <= y) == (y1 <= y):
                continue
            # The same formula whichever way the edge runs: neighbours agree to the last bit.
            x0, x1 = edges[e, 1], edges[e, 3]
            if y0 > y1:
                y0, y1, x0, x1 = y1, y0, x1, x0
            if x < x0 + (y - y0) * (x1 - x0) / (y1 - y0):
                odd[i] = not odd[i]
    return odd
