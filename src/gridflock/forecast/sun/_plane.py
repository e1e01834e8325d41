"""The plane a generator acts like: fitted to the clear hours of its past."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.forecast._calendar import ratio

Floats = NDArray[np.float64]

USUAL_INDEX = 0.7
"""Clear-sky index to believe in before anything was seen."""
_CLEAR, _CLOUDY = 0.99, 0.01
"""Weights of points above and below the fit: the fit is an upper envelope (an expectile)."""
_ROUNDS = 10
_FULL = 0.97
"""Share of the largest output from which an inverter may be full."""
_PULL, _RIDGE = 0.02, 1e-4
"""How hard the fit is drawn to a horizontal plane: fixed, so it fades, and per sunshine seen."""


@dataclass(frozen=True, slots=True, eq=False)
class Orientation:
    """How fitted planes stand (S,).

    Attributes:
        tilt_deg: from the horizontal.
        azimuth_deg: where they look, from north over east; of no meaning where the tilt is 0.
        size_kw: power at 1 kW/m² of direct light square to the plane.
    """

    tilt_deg: Floats
    azimuth_deg: Floats
    size_kw: Floats


def fit_planes(sky: Floats, power: Floats) -> Floats:
    """The planes (S, 4) whose clear-sky power each series reaches in clear hours.

    Asymmetric least squares: points below the fit (clouds) weigh little, so it settles near the
    upper envelope; a ridge draws it to a horizontal plane while history is short. An inverter that is
    full tells nothing of the plane: points near the largest output are left out.

    Args:
        sky: (N, 4) beam up, north, east and diffuse, as from ``clear_sky``, kW/m².
        power: (S, N) kW, NaN where nothing was heard.
    """
    lit = np.flatnonzero(sky[:, 3] > 0)
    columns, power = sky[lit], power[:, lit]
    known = np.isfinite(power)
    power = np.where(known, power, 0.0)
    flat = columns[:, 0] + columns[:, 3]
    offered = known @ flat**2
    mean_size = ratio(power @ flat, offered)
    heard = np.isfinite(mean_size)
    unheard = np.median(mean_size[heard]) if heard.any() else 1.0
    # What was seen is taken to have been under usual clouds until clear days tell better.
    size = np.maximum(np.where(heard, mean_size, unheard), 0.0) / USUAL_INDEX
    start = size[:, None] * np.array([1.0, 0.0, 0.0, 1.0])
    squares = (columns[:, :, None] * columns[:, None, :]).reshape(len(columns), 16)
    pull = np.eye(4) * (_PULL + _RIDGE * offered)[:, None, None]
    plane: Floats = start
    told = known & (power < _FULL * power.max(axis=1, initial=0.0)[:, None])
    for _ in range(_ROUNDS):
        weight = told * np.where(power > plane @ columns.T, _CLEAR, _CLOUDY)
        normal = (weight @ squares).reshape(-1, 4, 4) + pull
        right = (weight * power) @ columns + (pull @ start[:, :, None])[:, :, 0]
        plane = np.linalg.solve(normal, right[:, :, None])[:, :, 0]
    return plane


def clear_power(sky: Floats, plane: Floats) -> Floats:
    """Clear-sky kW (S, ...) of planes (S, 4) under skies (..., 4); 0 at night.

    With the sun behind the plane the beam adds nothing; a trace of the diffuse light always does.
    """
    columns = sky.reshape(-1, 4)
    beam = np.maximum(plane[:, :3] @ columns[:, :3].T, 0.0)
    diffuse = np.maximum(plane[:, 3:], 0.1 * np.abs(plane[:, :1])) * columns[:, 3]
    return (beam + diffuse).reshape(len(plane), *sky.shape[:-1])


def orientation(plane: Floats) -> Orientation:
    """Tilt, azimuth and size of planes (S, 4); of many roofs together, their mean normal's."""
    up, north, east = plane[:, 0], plane[:, 1], plane[:, 2]
    tilt = np.degrees(np.arctan2(np.hypot(north, east), up))
    azimuth = np.degrees(np.arctan2(east, north)) % 360.0
    return Orientation(tilt, azimuth, np.sqrt(up**2 + north**2 + east**2))
