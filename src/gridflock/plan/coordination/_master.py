"""The master: which mix of the answers so far meets the rows at least cost; solved by HiGHS."""

from __future__ import annotations

import highspy
import numpy as np

from gridflock.plan._highs import quiet
from gridflock.plan.coordination._problem import Problem
from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Kw, Mask, Money

NEAR = 0.1
"""A row enters the master when an answer comes this close to its limit, as a part of the limit."""
NEAR_PEAK = 0.5
"""A peak's where an answer comes this close to the answer's own peak."""
MENDINGS = 5
"""How often peaks that the mix moved to steps left out are entered, and the mix is found again."""


class MasterFailed(RuntimeError):  # noqa: N818 reads as what is wrong
    """The solver found no optimum of a program that always has one, unless its numbers are out of reach."""


class Master:
    """A linear program that grows by columns (answers) and rows (cells that come near).

    Column (round, group) costs what the answer costs, the weights of each group's columns add up to one,
    and every row may be broken at its slack's price. Rows no answer came near are left out; the
    coordinator checks the mix against them.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._rows = problem, problem.rows
        self._by_group = np.argsort(self._rows.matrix.indices, kind="stable")
        self._group = self._rows.matrix.indices[self._by_group]
        self._row = np.full(self._rows.need_kw.shape, -1, dtype=np.int32)
        self._peak = np.full(len(self._rows.names), -1, dtype=np.int32)
        self._p = np.zeros((0, problem.groups, len(problem.hours)))
        self._column = np.zeros((0, problem.groups), dtype=np.int64)
        self._solver = quiet(simplex_strategy=4)
        ones, none = np.ones(problem.groups), np.zeros(0)
        starts = np.zeros(problem.groups, dtype=np.int32)
        self._solver.addRows(problem.groups, ones, ones, 0, starts, none.astype(np.int32), none)

    def add(self, p_kw: Kw, cost: Money, there: Mask) -> None:
        """Add one round of answers.

        Args:
            p_kw: (G, T).
            cost: (G,) own cost less the worth of the energy.
            there: (G,) which groups answered.
        """
        self._enter(self._near(p_kw))
        answering = np.flatnonzero(there)
        power = self._rows.terms(p_kw)[self._by_group]
        rows = self._row[self._rows.row[self._by_group]]
        used = (rows >= 0) & (power != 0.0) & there[self._group][:, None]
        counts = np.bincount(self._group, used.sum(axis=1), self._problem.groups).astype(np.int64)[answering]
        starts = np.concatenate([[0], np.cumsum(counts + 1)[:-1]])
        index = np.insert(rows[used], starts - np.arange(len(answering)), answering).astype(np.int32)
        value = np.insert(power[used], starts - np.arange(len(answering)), 1.0)
        first = self._solver.getNumCol()
        zero, top = np.zeros(len(answering)), np.full(len(answering), highspy.kHighsInf)
        begins = starts.astype(np.int32)
        _taken(
            self._solver.addCols(len(answering), cost[answering], zero, top, len(index), begins, index, value)
        )
        column = np.full(self._problem.groups, -1, dtype=np.int64)
        column[answering] = first + np.arange(len(answering))
        self._p = np.concatenate([self._p, p_kw[None]])
        self._column = np.concatenate([self._column, column[None]])

    def solve(self) -> tuple[Array, Array]:
        """The best mix.

        Returns:
            The weights (rounds, G), and the rows' duals (S, T), 0 where left out.

        Raises:
            MasterFailed: no optimum.
        """
        for _ in range(MENDINGS):
            weight, dual = self._solved()
            left_out = self._left_out(weight)
            if not left_out.any():
                break
            self._enter(left_out)
        return weight, self._rows.projected(dual)

    def _solved(self) -> tuple[Array, Array]:
        """Weights (rounds, G) and duals (S, T) of the program as it stands."""
        self._solver.run()
        status = self._solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise MasterFailed(self._solver.modelStatusToString(status))
        found = self._solver.getSolution()
        value, dual = np.array(found.col_value), np.array(found.row_dual)
        weight = np.where(self._column >= 0, value[self._column], 0.0).clip(0.0)
        duals = np.where(self._row >= 0, dual[self._row], 0.0)
        return weight / weight.sum(axis=0), duals

    def _near(self, p_kw: Kw) -> Mask:
        """(S, T) cells a round of answers comes near, and that are not in yet."""
        short, peak = self._rows.short(p_kw), self._rows.peak
        near: Mask = short > -NEAR * self._rows.scale_kw
        near[peak] = short[peak] > np.maximum(NEAR_PEAK * short[peak].max(axis=1, keepdims=True), 0.0)
        return near & self._rows.there & (self._row < 0)

    def _left_out(self, weight: Array) -> Mask:
        """(S, T) cells of peaks that the mix makes higher than those that are in."""
        new = np.zeros(self._row.shape, dtype=np.bool_)
        peak = self._rows.peak
        if peak.any():
            short = self._rows.short(np.einsum("kg,kgt->gt", weight, self._p))[peak]
            inside = np.where(self._row[peak] >= 0, short, 0.0).max(axis=1, initial=0.0, keepdims=True)
            rounding = 1e-7 * self._rows.scale_kw[peak]
            new[peak] = (short > inside + rounding) & self._rows.there[peak] & (self._row[peak] < 0)
        return new

    def _enter(self, new: Mask) -> None:
        """Rows for the cells marked, with a slack each; the cells of a peak share one."""
        cells = np.argwhere(new)
        if not len(cells):
            return
        index: list[Indices] = []
        value: list[Array] = []
        for s, t in cells:
            groups, power = self._rows.terms_at(s, t, self._p)
            columns = self._column[:, groups]
            used = (columns >= 0) & (power != 0.0)
            shared = self._peak[s : s + 1][self._peak[s : s + 1] >= 0]
            index.append(np.concatenate([columns[used], shared]))
            value.append(np.concatenate([power[used], np.ones(len(shared))]))
        count, entries = len(cells), sum(len(part) for part in index)
        starts = np.cumsum([0, *(len(part) for part in index[:-1])]).astype(np.int32)
        first = self._solver.getNumRow()
        joined = np.concatenate(index).astype(np.int32), np.concatenate(value)
        top = np.full(count, highspy.kHighsInf)
        need_kw = self._rows.need_kw[new]
        _taken(self._solver.addRows(count, need_kw, top, entries, starts, joined[0], joined[1]))
        self._row[new] = first + np.arange(count, dtype=np.int32)
        self._slacks(new)

    def _slacks(self, new: Mask) -> None:
        """A slack for each new cell, or one for a peak that has none yet."""
        single = new & ~self._rows.peak[:, None]
        groups = [(float(self._rows.most[s, t]), self._row[s, [t]]) for s, t in np.argwhere(single)]
        for s in np.flatnonzero((new & self._rows.peak[:, None]).any(axis=1) & (self._peak < 0)):
            self._peak[s] = self._solver.getNumCol() + len(groups)
            groups.append((float(self._rows.most[s].max()), self._row[s, new[s]]))
        if not groups:
            return
        counts = [len(rows) for _, rows in groups]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)
        rows = np.concatenate([rows for _, rows in groups]).astype(np.int32)
        cost, zero = np.array([price for price, _ in groups]), np.zeros(len(groups))
        top = np.full(len(groups), highspy.kHighsInf)
        _taken(
            self._solver.addCols(len(groups), cost, zero, top, len(rows), starts, rows, np.ones(len(rows)))
        )


def _taken(status: highspy.HighsStatus) -> None:
    """Raise where the solver refused columns or rows: the program would not be the one meant."""
    if status == highspy.HighsStatus.kError:
        raise MasterFailed("Refused")
