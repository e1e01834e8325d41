"""Overlapping groups with orders: no kilowatt is ordered twice.

Rows are parted by the set of groups they are in. Orders on groups become orders on parts, which share no
row, so that each part can be split by itself and a device hears one order. Who asks first is served
first; what remains is spread evenly.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linprog
from scipy.sparse import csr_array, hstack, identity

from gridflock.fleet.groups._kernels import sorted_by
from gridflock.fleet.groups._sums import cut
from gridflock.units import Kw, Rows

_STEPS = 60
_LONGEST = 2.0
"""Largest step of a price; between -1 and 1 a part goes from one bound to the other."""
_HALVINGS = 30
_CLOSE = 1e-9
"""Sums are met to this share of the largest bound."""
_Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """Rows of some groups, parted by the set of these groups they are in.

    Attributes:
        names: G groups.
        part: int32 (n,) part of each row, -1 for who is in none of the groups.
        rows: rows of each of P parts, ascending; no row is in two parts.
        holds: (G, P) 1.0 where a part belongs to a group; all its rows do then, else none.
    """

    names: tuple[str, ...]
    part: Rows
    rows: tuple[Rows, ...]
    holds: csr_array

    def groups_of(self, part: int) -> tuple[str, ...]:
        """The groups a part belongs to."""
        return tuple(self.names[g] for g in np.sort(self.holds[:, [part]].nonzero()[0]).tolist())


@dataclass(frozen=True, slots=True, eq=False)
class PartOrders:
    """Orders on parts that together are the orders on the groups.

    Attributes:
        p_kw: (P,) what each part is to do together, within the sums of its bounds.
        group_kw: (G,) what that comes to in each group.
        short_kw: (G,) order less that: what could not be had beside the orders that go first.
    """

    p_kw: Kw
    group_kw: Kw
    short_kw: Kw


def parted(groups: Mapping[str, Rows], n: int) -> Parts:
    """Part n rows by the set of groups they are in (a signature partition).

    Args:
        groups: rows of each, each row once.
        n: rows of the fleet.
    """
    members = list(groups.values())
    part, count, held = cut(np.zeros(n, dtype=np.int32), 1, members)
    used = np.zeros(count + 1, dtype=bool)
    for parts in held:
        used[parts] = True
    number = np.where(used, np.cumsum(used) - 1, -1).astype(np.int32)
    part, held = number[part], [number[parts] for parts in held]
    order, start = sorted_by(part, int(used.sum()))
    order.flags.writeable = False
    rows = tuple(order[start[k] : start[k + 1]] for k in range(len(start) - 1))
    ends = np.cumsum([0, *(len(parts) for parts in held)])
    columns = np.concatenate([np.zeros(0, dtype=np.int32), *held])
    holds = csr_array((np.ones(len(columns)), columns, ends), shape=(len(members), len(rows)))
    return Parts(tuple(groups), part, rows, holds)


def shared_orders(
    parts: Parts,
    target_kw: Kw,
    lo_kw: Kw,
    hi_kw: Kw,
    wish_kw: Kw | None = None,
    rank: Sequence[int] | None = None,
) -> PartOrders:
    """Turn orders on overlapping groups into orders on their parts.

    Of all ways to meet the orders as nearly as possible, smaller ranks first, the one in which the
    parts leave their wish by least, squared and by room: ``Σ (x − wish)² / (hi − lo)``.

    Args:
        parts: of the groups that have orders.
        target_kw: (G,) wanted sum of each group, injection positive.
        lo_kw: (n,) lowest power of each row, finite.
        hi_kw: (n,) highest, finite and not below ``lo_kw``.
        wish_kw: (n,) what each row would do unasked; without it, nothing, or the nearest to that.
        rank: (G,) who goes first, smallest number; without it, all alike.
    """
    low, high = (_summed(parts, bound) for bound in (lo_kw, hi_kw))
    middle = np.clip(np.zeros(len(low)) if wish_kw is None else _summed(parts, wish_kw), low, high)
    target = np.asarray(target_kw, dtype=np.float64)
    ranks = np.zeros(len(target)) if rank is None else np.asarray(rank)
    plain, reach = _nearest(parts.holds, target, low, high, ranks)
    even = _even(parts.holds, reach, low, high, middle)
    scale = max(1.0, float(np.abs(np.concatenate([low, high, [0.0]])).max()))
    met = np.abs(parts.holds @ even - reach).max(initial=0.0) <= _CLOSE * scale
    p_kw = even if met else plain
    got = parts.holds @ p_kw
    return PartOrders(p_kw, got, target - got)


def _summed(parts: Parts, values: NDArray[Any]) -> _Array:
    held = parts.part >= 0
    mine = np.asarray(values, dtype=np.float64)[held]
    return np.bincount(parts.part[held], mine, len(parts.rows)).astype(np.float64)


def _nearest(
    holds: csr_array, target: _Array, low: _Array, high: _Array, rank: NDArray[Any]
) -> tuple[_Array, _Array]:
    """Parts' powers that come nearest to the targets rank by rank, and the sums they come to.

    One linear program per rank: the sum of its misses is least, those of earlier ranks stay.
    """
    g, p = holds.shape
    if not g or not p:
        return np.clip(np.zeros(p), low, high), np.zeros(g)
    miss = identity(g, format="csr")
    ties = hstack([holds, miss, -miss], format="csr")
    most = np.full(g, np.inf)
    powers = np.clip(np.zeros(p), low, high)
    for now in np.unique(rank):
        cost = np.concatenate([np.zeros(p), np.tile(rank == now, 2).astype(np.float64)])
        bounds = np.concatenate(
            [np.column_stack([low, high]), np.tile(np.column_stack([np.zeros(g), most]), (2, 1))]
        )
        found = linprog(cost, A_eq=ties, b_eq=target, bounds=bounds, method="highs")
        if found.x is None:
            break
        powers = np.clip(found.x[:p], low, high)
        missed = np.abs(target - holds @ powers)
        most = np.where(rank <= now, missed * (1 + _CLOSE) + _CLOSE, most)
    return powers, holds @ powers


def _even(holds: csr_array, target: _Array, low: _Array, high: _Array, wish: _Array) -> _Array:
    """The least squares among all powers with these sums, or an attempt at it.

    A price μ per group makes ``x = clip(wish + (hi − lo)·Σ μ, lo, hi)``; Newton steps on the concave dual,
    each halved until it gains. Where a sum can only just be had its price has no end, and this stops.
    """
    room = high - low
    free = np.where(room > 0, room, 1.0)
    price = np.zeros(holds.shape[0])

    def at(price: _Array) -> tuple[float, _Array]:
        push = holds.T @ price
        powers: _Array = np.clip(wish + room * push, low, high)
        value = float(((powers - wish) ** 2 / (2 * free) - push * powers).sum() + price @ target)
        return value, powers

    value, powers = at(price)
    scale = max(1.0, float(np.abs(target).max(initial=0.0)))
    for _ in range(_STEPS):
        miss = target - holds @ powers
        if np.abs(miss).max(initial=0.0) <= _CLOSE * scale / 10:
            break
        inside = np.where((powers > low) & (powers < high), room, 1e-9 * free)
        slope = (holds * inside) @ holds.T
        step = np.linalg.lstsq(slope.toarray(), miss, rcond=1e-12)[0]
        step *= min(1.0, _LONGEST / max(float(np.abs(step).max()), 1e-300))
        for _ in range(_HALVINGS):
            gained, moved = at(price + step)
            if gained > value:
                break
            step /= 2
        else:
            break
        price, value, powers = price + step, gained, moved
    return powers
