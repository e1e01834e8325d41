"""The coupling terms as one-sided rows over the steps of the horizon."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import sparse

from gridflock.plan.devices._compiled import Array
from gridflock.units import Kw, Mask, Money


class Side(NamedTuple):
    """One row to be: ``coefficient · p + slack >= need_kw`` wherever that is finite."""

    name: str
    groups: np.ndarray
    coefficient: Array
    need_kw: Kw
    most: Array
    scale_kw: Kw
    change: bool = False
    peak: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """One-sided rows ``activity(p) + slack >= need_kw``, S of them over T steps.

    The activity is a weighted sum of the groups, or its change from the step before. A slack belongs to
    one step and costs ``most`` there, or, for a peak, to all steps together and costs ``most`` once: then
    the duals of the row's steps add up to no more than that.

    Attributes:
        names: S texts: element and rule.
        matrix: sparse (S, G) of coefficients.
        by_step: (entries of ``matrix``, T) what they are multiplied by, or None for 1 throughout.
        change: (S,) rows on the change from the step before.
        peak: (S,) rows with one slack for all steps.
        need_kw: (S, T).
        there: (S, T) which cells are limited at all.
        most: (S, T) money per kW of slack: the largest dual.
        scale_kw: (S, T) the limit's own size.
    """

    names: tuple[str, ...]
    matrix: sparse.csr_matrix
    by_step: Array | None
    change: Mask
    peak: Mask
    need_kw: Kw
    there: Mask
    most: Array
    scale_kw: Kw

    @property
    def row(self) -> np.ndarray:
        """(entries of ``matrix``,) their rows."""
        found: np.ndarray = np.repeat(np.arange(len(self.names)), np.diff(self.matrix.indptr))
        return found

    def terms(self, p_kw: Kw) -> Kw:
        """(entries of ``matrix``, T) what each group's sum brings to each row it is in."""
        power: Kw = self.matrix.data[:, None] * p_kw[self.matrix.indices]
        if self.by_step is not None:
            power *= self.by_step
        if self.change.any():
            change = self.change[self.row]
            power[change, 1:] = np.diff(power[change], axis=1)
        return power

    def terms_at(self, s: int, t: int, p_kw: Kw) -> tuple[np.ndarray, Kw]:
        """The same for one cell and K rounds of sums (K, G, T): the row's groups (n,), and (K, n)."""
        entries = slice(self.matrix.indptr[s], self.matrix.indptr[s + 1])
        groups, data = self.matrix.indices[entries], self.matrix.data[entries]
        by_step = np.ones((len(data), p_kw.shape[2])) if self.by_step is None else self.by_step[entries]
        power: Kw = data * by_step[:, t] * p_kw[:, groups, t]
        if self.change[s] and t > 0:
            power = power - data * by_step[:, t - 1] * p_kw[:, groups, t - 1]
        return groups, power

    def activity(self, p_kw: Kw) -> Kw:
        """(S, T) what the groups' sums (G, T) bring to each row."""
        if self.by_step is not None:
            return np.asarray(self._adding(self.row, len(self.names)) @ self.terms(p_kw))
        activity: Kw = self.matrix @ p_kw
        activity[self.change, 1:] = np.diff(activity[self.change], axis=1)
        return activity

    def pull(self, dual: Array) -> Array:
        """(G, T) money per kW that the rows' duals (S, T) add to the worth of each group's power."""
        if self.change.any():
            dual = dual.copy()
            dual[self.change, :-1] -= dual[self.change, 1:]
        if self.by_step is None:
            return np.asarray(self.matrix.T @ dual)
        terms = self.by_step * self.matrix.data[:, None] * dual[self.row]
        return np.asarray(self._adding(self.matrix.indices, self.matrix.shape[1]) @ terms)

    def short(self, p_kw: Kw) -> Kw:
        """(S, T) need less activity; positive where the row is broken."""
        short: Kw = np.where(self.there, self.need_kw - self.activity(p_kw), 0.0)
        return short

    def slack(self, short: Kw) -> Kw:
        """(S, T) what the slacks have to give; that of a peak is the same in all its steps."""
        slack = np.maximum(short, 0.0)
        if self.peak.any():
            slack[self.peak] = slack[self.peak].max(axis=1, keepdims=True)
        return slack

    def slack_cost(self, slack: Kw) -> float:
        """Money for slacks (S, T)."""
        steps = self.most[~self.peak] * slack[~self.peak]
        once = self.most[self.peak].max(axis=1, initial=0.0) * slack[self.peak].max(axis=1, initial=0.0)
        return float(steps.sum() + once.sum())

    def projected(self, dual: Array) -> Array:
        """The nearest duals the slacks' prices allow: between 0 and ``most``, a peak's adding up to it."""
        inside: Array = np.clip(dual, 0.0, self.most)
        for s in np.flatnonzero(self.peak):
            price = float(self.most[s].max(initial=0.0))
            if inside[s].sum() > price:
                inside[s] = _on_simplex(inside[s], price)
        return inside

    def _adding(self, to: np.ndarray, count: int) -> sparse.csr_matrix:
        """What adds entries up into ``count`` places."""
        entries = len(to)
        return sparse.csr_matrix((np.ones(entries), (to, np.arange(entries))), shape=(count, entries))


def rows_of(sides: Sequence[Side], groups: int, steps: int) -> Rows:
    """The rows that are limited anywhere."""
    kept = [side for side in sides if np.isfinite(side.need_kw).any()]
    counts = [len(side.groups) for side in kept]
    at = (
        np.repeat(np.arange(len(kept)), counts),
        np.concatenate([np.zeros(0, int), *(k.groups for k in kept)]),
    )
    varying = any(side.coefficient.ndim == 2 for side in kept)
    by_step = None
    if varying:
        spread = [np.broadcast_to(_columns(k.coefficient), (len(k.groups), steps)) for k in kept]
        by_step = np.concatenate(spread)
        data = np.ones(len(at[0]))
    else:
        data = np.concatenate([np.zeros(0), *(side.coefficient for side in kept)])
    matrix = sparse.csr_matrix((data, at[1], np.cumsum([0, *counts])), shape=(len(kept), groups))
    need = np.array([side.need_kw for side in kept], dtype=np.float64).reshape(len(kept), steps)
    there = np.isfinite(need)
    most = np.array([np.broadcast_to(side.most, steps) for side in kept]).reshape(len(kept), steps)
    scale = np.array([np.broadcast_to(side.scale_kw, steps) for side in kept]).reshape(len(kept), steps)
    return Rows(
        names=tuple(side.name for side in kept),
        matrix=matrix,
        by_step=by_step,
        change=np.array([side.change for side in kept], dtype=np.bool_),
        peak=np.array([side.peak for side in kept], dtype=np.bool_),
        need_kw=np.where(there, need, 0.0),
        there=there,
        most=np.where(there, most, 0.0),
        scale_kw=np.where(there, scale, 0.0),
    )


def _columns(coefficient: Array) -> Array:
    return coefficient if coefficient.ndim == 2 else coefficient[:, None]


def _on_simplex(value: Money, total: float) -> Money:
    """The nearest values >= 0 that add up to ``total`` (Held, Wolfe, Crowder, Math. Prog. 6, 1974)."""
    ordered = np.sort(value)[::-1]
    excess = (np.cumsum(ordered) - total) / np.arange(1, len(value) + 1)
    last = np.flatnonzero(ordered > excess)[-1]
    on: Money = np.maximum(value - excess[last], 0.0)
    return on
