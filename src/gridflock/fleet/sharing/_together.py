"""The targets of many groups at once: one compiled pass, however many groups there are."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gridflock.fleet.sharing._water import columns_of, fill_level
from gridflock.units import Kw, Rows

_Array = NDArray[np.float64]
_NOBODY = np.nan


def fair_groups(
    targets_kw: Kw, starts: NDArray[np.int64], rows: Rows, lo: Kw, hi: Kw, weight: NDArray[Any], wish: Kw
) -> tuple[_Array, _Array]:
    """Water-filling of each group's target, the first group first; see ``fair``.

    Groups may overlap: a row keeps what the first group gave it, later ones count that and ask only
    the rest of their rows for the rest. No kilowatt is ordered twice.

    Args:
        targets_kw: (g,) wanted sum of each group.
        starts: int64 (g+1,) rising: group k has ``rows[starts[k]:starts[k + 1]]``.
        rows: rows of all groups, each once within a group.
        lo: (n,) lower bounds.
        hi: (n,) upper bounds, >= lo.
        weight: (n,) > 0, who moves most.
        wish: (n,) where each would like to be.

    Returns:
        float64 (n,) shares, NaN for rows of no group, and float64 (g,) what each target is missing.
    """
    share, missing = np.full(len(lo), _NOBODY), np.zeros(len(targets_kw))
    largest = int(np.diff(starts).max(initial=0))
    columns = columns_of(lo, hi, weight, wish)
    own = np.empty((4, largest), dtype=columns[0].dtype)
    part = np.empty(largest)
    _groups(np.asarray(targets_kw, np.float64), starts, rows, *columns, own, part, share, missing)
    return share, missing


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator] # numba carries no annotations
def _groups(
    targets: _Array,
    starts: NDArray[np.int64],
    rows: Rows,
    lo: NDArray[Any],
    hi: NDArray[Any],
    weight: NDArray[Any],
    wish: NDArray[Any],
    own: NDArray[Any],
    part: _Array,
    share: _Array,
    missing: _Array,
) -> None:
    free = np.empty(own.shape[1], dtype=np.int64)
    for g in range(len(targets)):
        count, taken = 0, 0.0
        for i in range(starts[g], starts[g + 1]):
            row = rows[i]
            if np.isnan(share[row]):
                own[0, count], own[1, count] = lo[row], hi[row]
                own[2, count], own[3, count] = weight[row], wish[row]
                free[count] = row
                count += 1
            else:
                taken += share[row]
        wanted = targets[g] - taken
        some = part[:count]
        fill_level(wanted, own[0, :count], own[1, :count], own[2, :count], own[3, :count], 0.0, some)
        for k in range(count):
            share[free[k]] = some[k]
            wanted -= some[k]
        missing[g] = wanted
