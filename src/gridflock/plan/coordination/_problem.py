"""What couples the groups: limits on the sums of some of them, each with a named slack and its price."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from scipy import sparse

from gridflock.plan.devices._compiled import Array
from gridflock.units import Kw, Mask, Money


@dataclass(frozen=True, slots=True, eq=False)
class Limits:
    """R limits on net injection, each on the sum of the groups it names and what else flows there.

    Attributes:
        names: R texts: element and rule.
        groups: for each limit the int rows of its groups.
        fixed_kw: (R, T) injection beside the groups' (load negative).
        floor_kw: (R, T) lowest net injection (import limit, negative), or -inf.
        ceiling_kw: (R, T) highest (export limit), or +inf.
        slack_price: (R,) money per kWh beyond the limit: thermal above voltage above contract.
    """

    names: tuple[str, ...]
    groups: tuple[np.ndarray, ...]
    fixed_kw: Kw
    floor_kw: Kw
    ceiling_kw: Kw
    slack_price: Money


@dataclass(frozen=True, eq=False)
class Problem:
    """Minimise own costs less the worth of the energy, plus slack, subject to the limits.

    Attributes:
        hours: float64 (T,) length of each step.
        price: float64 (T,) worth of a kWh at the reference point, money/kWh.
        groups: how many groups answer.
        limits: what couples them.
    """

    hours: Array
    price: Array
    groups: int
    limits: Limits

    def thinned(self, every: int) -> Problem:
        """The problem of one device in ``every``: the same price, limits that much smaller."""
        of = self.limits
        smaller = (of.fixed_kw / every, of.floor_kw / every, of.ceiling_kw / every)
        return replace(self, limits=Limits(of.names, of.groups, *smaller, of.slack_price))

    @cached_property
    def rows(self) -> Rows:
        """The limits as one-sided rows."""
        of = self.limits
        sides = [(1.0, r) for r in range(len(of.names)) if np.isfinite(of.floor_kw[r]).any()]
        sides += [(-1.0, r) for r in range(len(of.names)) if np.isfinite(of.ceiling_kw[r]).any()]
        sign = np.array([s for s, _ in sides])
        limit = np.array([r for _, r in sides], dtype=np.int64)
        edge = np.where(sign[:, None] > 0, of.floor_kw[limit], of.ceiling_kw[limit])
        there = np.isfinite(edge)
        need = np.where(there, sign[:, None] * (np.where(there, edge, 0.0) - of.fixed_kw[limit]), 0.0)
        members = [of.groups[r] for r in limit]
        counts = [len(m) for m in members]
        entries = np.repeat(sign, counts), (np.repeat(np.arange(len(sides)), counts), np.concatenate(members))
        matrix = sparse.csr_matrix(entries, shape=(len(sides), self.groups))
        most = np.where(there, of.slack_price[limit][:, None] * self.hours, 0.0)
        return Rows(sign, limit, matrix, need, there, most, np.where(there, np.abs(edge), 0.0))

    def local_price(self, dual: Array) -> Array:
        """(G, T) worth of a kWh of each group under the rows' duals: what the groups are asked at."""
        price: Array = self.price + (self.rows.matrix.T @ dual) / self.hours
        return price

    def worth(self, p_kw: Kw) -> Money:
        """(G,) worth of the groups' energy at the reference point."""
        worth: Money = p_kw @ (self.price * self.hours)
        return worth


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """One-sided rows ``matrix @ p + slack >= need_kw``, S of them over T steps.

    Attributes:
        sign: (S,) +1 for a floor, -1 for a ceiling.
        limit: (S,) which limit.
        matrix: sparse (S, G) of -1, 0, 1.
        need_kw: (S, T).
        there: (S, T) which cells are limited at all.
        most: (S, T) the slack's price per kW over the step: the largest dual.
        scale_kw: (S, T) the limit's own size.
    """

    sign: Array
    limit: np.ndarray
    matrix: sparse.csr_matrix
    need_kw: Kw
    there: Mask
    most: Array
    scale_kw: Kw

    def short(self, p_kw: Kw) -> Kw:
        """(S, T) need less activity; positive where the limit is broken."""
        short: Kw = np.where(self.there, self.need_kw - self.matrix @ p_kw, 0.0)
        return short
