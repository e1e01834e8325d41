"""What meters say of groups of whose members some are not heard: who is heard speaks for the others.

A sum over members is scaled by the share of rating that is heard. Below ``LEAST`` of it nothing is known,
which is not a power of 0: from that it would be learnt that the group rests.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.fleet import Image
from gridflock.schema import Family, Kind
from gridflock.units import Codes, Mask

LEAST = 0.5
"""Share of a group's rating that must be heard."""
QUIET_S = 900
"""What was heard longer ago (and beyond ``reach_s``) says nothing of the present."""
_MOST_LEFT = 0.05
"""Share of the fleet's rating of which nothing may be known where the head is told apart."""

Floats = NDArray[np.float64]


class Metered:
    """Sums over S groups of a fleet of n rows.

    Args:
        group: (n,) group of each row, -1 for none.
        names: how many groups.
        family: (n,) family code per row.
        columns: of the registry.
    """

    def __init__(
        self, group: NDArray[np.int64], names: int, family: Codes, columns: Mapping[str, NDArray[Any]]
    ) -> None:
        size = np.maximum(columns["p_max_kw"], -columns["p_min_kw"].astype(np.float64))
        self._size = np.where(size > 0, size, 1.0)
        self._group, self._family = group, family.astype(np.int64)
        self._inside = np.flatnonzero(group >= 0)
        self._head = np.flatnonzero(columns["kind"] == Kind.FEEDER_HEAD)
        self._load = np.flatnonzero(columns["kind"] == Kind.LOAD)
        rows = group[self._inside], self._inside
        shape = names, len(group)
        self._members = sparse.csr_array((np.ones(len(self._inside)), rows), shape=shape)
        self._sizes = sparse.csr_array((self._size[self._inside], rows), shape=shape)
        self._total = self._sizes @ np.ones(len(group))

    def heard(self, image: Image) -> Mask:
        """Rows (n,) of whose power something is known at the moment of an image."""
        found: Mask = ~image.silent(QUIET_S) & np.isfinite(image.p_kw)
        return found

    def sums(self, value: Floats, heard: Mask) -> Floats:
        """Sums (S,) or (S, T) of values (n,) or (n, T), scaled; NaN where too few members are heard."""
        share = (self._sizes @ heard.astype(np.float64)).T / np.maximum(self._total, 1e-300)
        share = np.where(self._total > 0, share, 1.0).T
        total = self._members @ np.where(heard, value, 0.0)
        found: Floats = np.divide(total, share, out=np.full(total.shape, np.nan), where=share >= LEAST)
        return found

    def demand(self, p_kw: Floats, heard: Mask, usual_kw: Floats | None = None) -> Floats:
        """Sum () or (T,) over the customers' meters of values (n,) or (n, T), scaled alike.

        Args:
            p_kw: house sign.
            heard: which of them are known.
            usual_kw: (n,) what each usually draws, > 0; None: its rating stands in.
        """
        weight = (self._size if usual_kw is None else usual_kw)[self._load]
        if not len(weight):
            return np.zeros(p_kw.shape[1:])
        known = heard[self._load]
        share = weight @ known / weight.sum()
        total = np.where(known, p_kw[self._load], 0.0).sum(axis=0)
        return np.asarray(np.where(share >= LEAST, total / np.maximum(share, LEAST), np.nan))

    def outside(self, p_kw: Floats, heard: Mask) -> float:
        """What flows at the head and no resource explains, kW.

        Without a meter at the head it is what customers' meters say. NaN where a meter of the head is not
        heard, and where of more than a twentieth of the fleet's rating neither group nor family is heard.
        """
        if not len(self._head):
            return float(self.demand(p_kw, heard)) if len(self._load) else np.nan
        if not heard[self._head].all():
            return np.nan
        asked = p_kw[self._inside][heard[self._inside]].sum()
        deaf = self._inside[~heard[self._inside]]
        if len(deaf):
            rate = self._rates(p_kw, heard)[deaf]
            unknown = ~np.isfinite(rate)
            if self._size[deaf[unknown]].sum() > _MOST_LEFT * self._total.sum():
                return np.nan
            asked += (np.where(unknown, 0.0, rate) * self._size[deaf]).sum()
        return float(p_kw[self._head].sum() - asked)

    def _rates(self, p_kw: Floats, heard: Mask) -> Floats:
        """Power per rating (n,) by those heard of each row's group, of its family where these are too few."""
        rate = np.full(len(p_kw), np.nan)
        for part in (self._family, self._group):
            rows, many = self._inside, int(part.max(initial=0)) + 1
            known = rows[heard[rows]]
            size = np.bincount(part[known], self._size[known], many)
            power = np.bincount(part[known], p_kw[known], many)
            enough = size >= LEAST * np.bincount(part[rows], self._size[rows], many)
            by_part = np.divide(power, size, out=np.full(many, np.nan), where=enough & (size > 0))
            rate[rows] = np.where(np.isfinite(by_part[part[rows]]), by_part[part[rows]], rate[rows])
        return rate


def usual_draw(p_kw: Floats) -> Floats:
    """Mean size (n,) of what is known of powers (n, T), > 0; of who is never heard that of the others."""
    known = np.isfinite(p_kw)
    count = known.sum(axis=1)
    size = np.where(known, np.abs(p_kw), 0.0).sum(axis=1) / np.maximum(count, 1)
    seen = size[count > 0]
    return np.maximum(np.where(count > 0, size, seen.mean() if len(seen) else 1.0), 1e-9)


def offered(image: Image, which: Mask, family: Codes) -> tuple[Floats, Mask]:
    """What resources would do unasked (n,) as far as a moment tells, and of whom it is told.

    Args:
        image: of the moment.
        which: (n,) rows that say what is on offer; where one does not, what it gives stands in.
        family: (n,) of each row; vehicles bring needs and have no power of their own.
    """
    value = np.where(which & np.isfinite(image.p_avail_kw), image.p_avail_kw, image.p_kw)
    # What comfort loads and vehicles draw under orders says nothing of what they would do.
    value = np.where(family == Family.VEHICLE, 0.0, value).astype(np.float64)
    return value, np.isfinite(value)
