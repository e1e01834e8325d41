"""The master: which mix of the answers so far meets the limits at least cost; solved by HiGHS."""

from __future__ import annotations

import highspy
import numpy as np

from gridflock.plan.coordination._problem import Problem
from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Kw, Mask, Money

NEAR = 0.1
"""A row enters the master when an answer comes this close to its limit, as a part of the limit."""


class MasterFailed(RuntimeError):  # noqa: N818 reads as what is wrong
    """The solver found no optimum of a program that always has one."""


class Master:
    """A linear program that grows by columns (answers) and rows (limits that come near).

    Column (round, group) costs what the answer costs, the weights of each group's columns add up to one,
    and every row may be broken at its slack's price. Rows no answer came near are left out; the
    coordinator checks the mix against them.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem, self._rows = problem, problem.rows
        self._of_group = [self._rows.matrix[:, [g]].nonzero()[0] for g in range(problem.groups)]
        self._sign = [self._rows.matrix[:, [g]].data for g in range(problem.groups)]
        self._row = np.full(self._rows.need_kw.shape, -1, dtype=np.int32)
        self._p = np.zeros((0, problem.groups, len(problem.hours)))
        self._column = np.zeros((0, problem.groups), dtype=np.int64)
        self._solver = highspy.Highs()
        for name, value in (("output_flag", False), ("threads", 1), ("simplex_strategy", 4)):
            self._solver.setOptionValue(name, value)
        ones, none = np.ones(problem.groups), np.zeros(0)
        starts = np.zeros(problem.groups, dtype=np.int32)
        self._solver.addRows(problem.groups, ones, ones, 0, starts, none.astype(np.int32), none)

    def add(self, p_kw: Kw, cost: Money, there: Mask, near: Mask) -> None:
        """Add one round of answers.

        Args:
            p_kw: (G, T).
            cost: (G,) own cost less the worth of the energy.
            there: (G,) which groups answered.
            near: (S, T) cells whose rows must be in.
        """
        self._enter(near & self._rows.there & (self._row < 0))
        index, value, counts = [], [], []
        answering = np.flatnonzero(there)
        for g in answering:
            rows = self._row[self._of_group[g]]
            power = self._sign[g][:, None] * p_kw[g]
            used = (rows >= 0) & (power != 0.0)
            index += [np.array([g]), rows[used]]
            value += [np.ones(1), power[used]]
            counts.append(1 + int(used.sum()))
        first = self._solver.getNumCol()
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int32)
        zero, top = np.zeros(len(answering)), np.full(len(answering), highspy.kHighsInf)
        entries = np.concatenate(index).astype(np.int32), np.concatenate(value)
        self._solver.addCols(
            len(answering), cost[answering], zero, top, len(entries[0]), starts, entries[0], entries[1]
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
            MasterFailed: no optimum, which would be a mistake of ours.
        """
        self._solver.run()
        status = self._solver.getModelStatus()
        if status != highspy.HighsModelStatus.kOptimal:
            raise MasterFailed(self._solver.modelStatusToString(status))
        found = self._solver.getSolution()
        value, dual = np.array(found.col_value), np.array(found.row_dual)
        weight = np.where(self._column >= 0, value[self._column], 0.0).clip(0.0)
        duals = np.where(self._row >= 0, dual[self._row], 0.0)
        return weight / weight.sum(axis=0), np.clip(duals, 0.0, self._rows.most)

    def _enter(self, new: Mask) -> None:
        """Rows for the cells marked, with a slack each."""
        cells = np.argwhere(new)
        if not len(cells):
            return
        count = len(cells)
        index: list[Indices] = []
        value: list[Array] = []
        starts = np.zeros(count, dtype=np.int32)
        entries = 0
        for n, (s, t) in enumerate(cells):
            groups = self._rows.matrix[s].indices
            power = self._rows.matrix[s].data * self._p[:, groups, t]
            columns = self._column[:, groups]
            used = (columns >= 0) & (power != 0.0)
            index.append(columns[used])
            value.append(power[used])
            starts[n] = entries
            entries += int(used.sum())
        first = self._solver.getNumRow()
        need = self._rows.need_kw[new]
        joined = np.concatenate(index).astype(np.int32), np.concatenate(value)
        top = np.full(count, highspy.kHighsInf)
        self._solver.addRows(count, need, top, entries, starts, joined[0], joined[1])
        self._row[new] = first + np.arange(count, dtype=np.int32)
        own = np.arange(count, dtype=np.int32)
        self._solver.addCols(
            count, self._rows.most[new], np.zeros(count), top, count, own, self._row[new], np.ones(count)
        )
