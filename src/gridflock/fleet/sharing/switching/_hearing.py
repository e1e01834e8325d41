"""The stack of a fleet's own on/off loads: its columns and what it hears, out of the process image."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet._columns import Image
from gridflock.fleet.sharing.switching._stack import Stack
from gridflock.schema import Family
from gridflock.units import Mask, Rows


def switchable(image: Image) -> Rows:
    """Rows that a stack can have: comfort loads that only know on and off and have a band."""
    rows = np.arange(image.n, dtype=np.int32)[image.rows_of(Family.THERMAL)]
    columns = image.columns
    fit = (columns["on_off"][rows] == 1) & (columns["p_min_kw"][rows] < 0) & (columns["e_max_kwh"][rows] > 0)
    found: Rows = rows[fit]
    return found


def stack_of(image: Image, rows: Rows) -> Stack:
    """The stack of some rows as the image shows them; who was never heard is taken to be off.

    Args:
        image: the process image.
        rows: (m,) on/off loads.
    """
    p_on, min_on, min_off = (image.columns[name][rows] for name in ("p_min_kw", "min_on_s", "min_off_s"))
    on = _runs(image, rows).astype(np.uint8)
    return Stack.start(p_on, min_on, min_off, on, image.now_s, image.locked_s[rows])


def hear(image: Image, rows: Rows, stale_s: int) -> tuple[NDArray[Any], NDArray[np.int8]]:
    """What a step of their stack needs to know of some rows.

    Args:
        image: the process image.
        rows: (m,) on/off loads.
        stale_s: age of the newest reading past which a load counts as silent.

    Returns:
        Fullness (m,), NaN for who takes no orders now, so that it is left alone; and int8 (m,) 1 on,
        0 off, -1 silent.
    """
    columns = image.columns
    fullness = image.e_kwh[rows] / columns["e_max_kwh"][rows]
    fullness = np.where(image.ready[rows] == 1, fullness, np.nan).astype(np.float32)
    silent = image.silent(stale_s)[rows] | np.isnan(image.p_kw[rows])
    return fullness, np.where(silent, -1, _runs(image, rows)).astype(np.int8)


def _runs(image: Image, rows: Rows) -> Mask:
    runs: Mask = image.p_kw[rows] < 0.5 * image.columns["p_min_kw"][rows]
    return runs
