"""The image as it will be at a later moment if nobody asks for anything."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.schema import Family
from gridflock.units import DAY_S, HOUR_S, NEVER_S, Rows

Floats = NDArray[np.float64]


def image_at(image: Image, moment_s: int, leaves_s: Floats) -> Image:
    """Vehicles are fuller, or gone; locks have run off; all else stands as it is.

    Args:
        image: now.
        moment_s: later, or now.
        leaves_s: (n,) when connected vehicles leave.
    """
    ahead_h = (moment_s - image.now_s) / HOUR_S
    vehicle = image.family == Family.VEHICLE
    here = ~vehicle | (leaves_s > moment_s)
    full, gain = -image.columns["p_min_kw"].astype(np.float64), image.columns["eff_charge"]
    need = np.where(vehicle, np.maximum(_wanted(image) - image.e_kwh, 0.0), 0.0)
    charged = np.minimum(np.nan_to_num(need), full * gain * ahead_h)
    depart = np.where(np.isfinite(leaves_s), np.minimum(leaves_s, moment_s + 10 * DAY_S), NEVER_S)
    return replace(
        image,
        now_s=moment_s,
        heard_s=np.where(image.heard_s == NEVER_S, NEVER_S, image.heard_s + moment_s - image.now_s),
        e_kwh=image.e_kwh + charged,
        ready=np.where(here, image.ready, 0).astype(np.uint8),
        depart_s=np.where(vehicle, depart, image.depart_s).astype(np.int64),
        locked_s=np.maximum(image.locked_s - (moment_s - image.now_s), 0.0),
    )


def charging(image: Image, rows: Rows, hours: Floats) -> Floats:
    """(m, H) what vehicles and stores do unasked from an image on: vehicles charge at once, stores rest."""
    full = -image.columns["p_min_kw"][rows].astype(np.float64)
    gain = np.maximum(image.columns["eff_charge"][rows].astype(np.float64), 1e-6)
    need = np.nan_to_num(np.maximum(_wanted(image) - image.e_kwh, 0.0))[rows]
    need = np.where(image.family[rows] == Family.VEHICLE, need / gain, 0.0)
    end_h = np.cumsum(hours)
    drawn = np.minimum(need[:, None], full[:, None] * end_h)
    return np.asarray(-np.diff(drawn, axis=1, prepend=0.0) / hours)


def repeated(image: Image, rows: Rows, count: int) -> Image:
    """An image of some rows, each path with its own: path by path, ``count`` times."""
    place = np.tile(rows, count)
    names = (
        "kind", "family", "heard_s", "p_kw", "q_kvar", "v_pu", "p_avail_kw", "e_kwh", "e_target_kwh",
        "depart_s", "ready", "locked_s",
    )  # fmt: skip
    return replace(
        image,
        ids=tuple(image.ids[row] for row in rows) * count,
        columns={name: column[place] for name, column in image.columns.items()},
        **{name: getattr(image, name)[place] for name in names},
    )


def _wanted(image: Image) -> Floats:
    wanted = np.where(np.isnan(image.e_target_kwh), image.e_kwh, image.e_target_kwh).astype(np.float64)
    return np.asarray(np.minimum(wanted, np.maximum(image.columns["e_max_kwh"], image.e_kwh)))
