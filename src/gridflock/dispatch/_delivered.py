"""What came of orders: what devices do, compared with what they were asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridflock.fleet import Image
from gridflock.model import Capability
from gridflock.units import Kw, Mask, Rows

_SHARE = 0.05
"""Off by more than this share of its size, a device does not follow its order."""
_CLEAR = 0.02
"""A change by less than this share of a device's size cannot be told from noise."""
_LEAST_KW = 0.1
_FOLLOWED = 0.5
"""Of a change, less than so much or as much more than all of it is not following."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivered:
    """How some rows followed their orders; (m,) each.

    Attributes:
        missing: who does not do what it was ordered.
        known: whose power is known.
        kept: share of the change that was delivered, 0 to 1; 1 where there was none to speak of.
        side: int8, 1 where injection is missing, -1 where there is too much.
    """

    missing: Mask
    known: Mask
    kept: NDArray[np.float64]
    side: NDArray[np.int8]


def compare(rows: Rows, ordered_kw: Kw, before_kw: Kw, image: Image, able: Capability) -> Delivered:
    """Judge rows that had time to settle.

    Args:
        rows: (m,) resources under an order.
        ordered_kw: (m,) that order.
        before_kw: (m,) what each did before it was asked for the change; NaN where unknown.
        image: the process image.
        able: (n,) what the rows can do: nobody is blamed for what it cannot do.
    """
    goal = np.clip(ordered_kw, able.p_lo_kw[rows], able.p_hi_kw[rows])
    present = image.p_kw[rows].astype(np.float64)
    columns = image.columns
    size = columns["p_max_kw"][rows] - columns["p_min_kw"][rows].astype(np.float64)
    step = np.maximum(_LEAST_KW, _SHARE * size)
    change = goal - before_kw
    clear = np.abs(change) > np.maximum(_LEAST_KW, _CLEAR * size)
    share = np.divide(present - before_kw, change, out=np.zeros(len(rows)), where=clear)
    follows = clear & (np.abs(share - 1.0) <= _FOLLOWED)
    off = goal - present
    missing = (np.abs(off) > step) & ~follows
    known = np.isfinite(present)
    kept = np.where(clear, np.clip(np.nan_to_num(share), 0.0, 1.0), 1.0)
    return Delivered(missing & known, known, kept, np.sign(np.nan_to_num(off)).astype(np.int8))


def believed_kw(image: Image, quiet: Mask) -> Kw:
    """What each row does as far as one can tell, float64 (n,).

    Args:
        image: the process image.
        quiet: (n,) rows under an order from which nothing is heard any more: taken to have fallen
            back to what they would do unasked, to nothing where that is unknown.
    """
    present = np.nan_to_num(np.asarray(image.p_kw, dtype=np.float64))
    if not quiet.any():
        return present
    return np.where(quiet, np.nan_to_num(np.asarray(image.p_avail_kw, dtype=np.float64)), present)
