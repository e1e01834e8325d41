"""One answer each for the few and large that cannot mix theirs: a last small mixed-integer program.

The coordinator's plan mixes answers. For a battery a mix is a schedule, for a unit that is on or off it is
not. So one answer of each such group is chosen, the best together under the same limits at the same prices
of their slack. Its cost stands against the coordinator's bound, which holds for whole units too: the gap
states what wholeness may have cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import highspy
import numpy as np
from scipy import sparse

from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Kw, Mask, Money

NODES = 5_000
"""Branches after which the best choice so far is taken."""
_SWEEPS = 20


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """What was chosen.

    Attributes:
        weight: float64 (K, G) of each group's answers, adding up to 1; 0 and 1 alone where whole.
        p_kw: float64 (G, T) what they make together.
        slack_kw: float64 (S, T) by which the rows stay short.
        cost: of the answers and the slack, money.
        least: what no choice among these answers can cost less than, money.
    """

    weight: Array
    p_kw: Kw
    slack_kw: Kw
    cost: float
    least: float

    def gap(self, bound: float, others: float = 0.0) -> float:
        """Most that a better plan could save, money.

        Args:
            bound: what every plan costs at least, groups and ``others`` together.
            others: cost of everything that was held fixed.
        """
        return max(self.cost + others - bound, 0.0)


@dataclass(slots=True, eq=False)
class _Choice:
    """The program's arrays: answers (n,) that differ, and the cells of rows that can fall short at all."""

    p_kw: Kw
    cost: Money
    group: Indices
    groups: int
    matrix: sparse.csr_array
    need_kw: Kw
    most: Array

    def slack(self, p_kw: Kw) -> Kw:
        """(S, T) by which sums (G, T) fall short, 0 where there is no limit."""
        short: Kw = np.where(self.most > 0.0, np.maximum(self.need_kw - self.matrix @ p_kw, 0.0), 0.0)
        return short

    def priced(self, share: Array) -> float:
        """Cost of a mix (n,), slack included."""
        return float(share @ self.cost + (self.slack(self.mixed(share)) * self.most).sum())

    def mixed(self, share: Array) -> Kw:
        """(G, T) what a mix (n,) makes."""
        p_kw = np.zeros((self.groups, self.p_kw.shape[1]))
        np.add.at(p_kw, self.group, share[:, None] * self.p_kw)
        return p_kw

    def turned(self) -> Array:
        """(n,) a first choice: each group its cheapest, then one after the other what serves all best."""
        chosen = np.array(
            [rows[np.argmin(self.cost[rows])] for rows in (self._rows(g) for g in range(self.groups))]
        )
        signs = self.matrix.toarray()
        for _ in range(_SWEEPS):
            before = chosen.copy()
            for g in range(self.groups):
                chosen[g] = self._best_of(g, signs, chosen)
            if (before == chosen).all():
                break
        share = np.zeros(len(self.cost))
        share[chosen] = 1.0
        return share

    def _rows(self, g: int) -> Indices:
        rows: Indices = np.flatnonzero(self.group == g)
        return rows

    def _best_of(self, g: int, signs: Array, chosen: Indices) -> int:
        """The answer of one group that costs least, slack included, beside those chosen of the others."""
        rows, touched = self._rows(g), np.flatnonzero(signs[:, g])
        others = np.delete(np.arange(self.groups), g)
        left = self.need_kw[touched] - signs[np.ix_(touched, others)] @ self.p_kw[chosen[others]]
        short = left - signs[touched, g][:, None] * self.p_kw[rows, None]
        total = self.cost[rows] + (np.maximum(short, 0.0) * self.most[touched]).sum(axis=(1, 2))
        return int(rows[np.argmin(total)])


def pick_whole(
    p_kw: Kw,
    cost: Money,
    there: Mask,
    whole: Mask,
    matrix: sparse.csr_array,
    need_kw: Kw,
    most: Array,
    nodes: int = NODES,
) -> Picked:
    """Choose one answer of each whole group, and mix those of the others, at least cost.

    ``matrix @ p + slack >= need_kw``, where everything that is not asked here has been taken off the need.
    A first choice by turns is always there; HiGHS improves it.

    Args:
        p_kw: float64 (K, G, T) answers of K rounds.
        cost: float64 (K, G) own cost less the worth of the energy, money.
        there: (K, G) which answers there are; each group has one at least.
        whole: (G,) who cannot mix.
        matrix: (S, G) of the rows.
        need_kw: float64 (S, T).
        most: float64 (S, T) price of a kW of slack over the step, money; 0 where there is no limit.
        nodes: branches after which the best choice so far is taken.
    """
    answers, choice = _differing(p_kw, cost, there, sparse.csr_array(matrix), need_kw, most)
    first = choice.turned()
    found, least = _by_highs(choice, whole, first, nodes)
    share = min((found, first), key=choice.priced)
    weight = np.zeros(cost.shape)
    weight[answers] = share
    mixed, priced = choice.mixed(share), choice.priced(share)
    return Picked(weight, mixed, choice.slack(mixed), priced, min(least, priced))


def _differing(
    p_kw: Kw, cost: Money, there: Mask, matrix: sparse.csr_array, need_kw: Kw, most: Array
) -> tuple[tuple[Indices, Indices], _Choice]:
    """Of answers that are the same the cheapest; (round, group) of those kept."""
    kept: list[tuple[int, int]] = []
    for g in range(cost.shape[1]):
        rounds = np.flatnonzero(there[:, g])
        rounds = rounds[np.argsort(cost[rounds, g], kind="stable")]
        _, first = np.unique(p_kw[rounds, g], axis=0, return_index=True)
        kept += [(int(k), g) for k in np.sort(rounds[first])]
    at = np.array(kept, dtype=np.int64)
    answers = at[:, 0], at[:, 1]
    choice = _Choice(p_kw[answers], cost[answers], answers[1], cost.shape[1], matrix, need_kw, most)
    return answers, choice


def _by_highs(choice: _Choice, whole: Mask, first: Array, nodes: int) -> tuple[Array, float]:
    """Shares of the answers (n,), and the proven least cost."""
    n, groups = len(choice.cost), choice.groups
    cells = _cells(choice)
    solver = highspy.Highs()
    options = {"output_flag": False, "threads": 1, "mip_rel_gap": 1e-9, "mip_max_nodes": nodes}
    for name, value in options.items():
        solver.setOptionValue(name, value)
    solver.passModel(_lp(choice, whole, cells))
    slack = choice.slack(choice.mixed(first))[cells]
    start = highspy.HighsSolution()
    start.col_value = np.concatenate([first, slack]).tolist()
    solver.setSolution(start)
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != highspy.kSolutionStatusFeasible:
        return first, -np.inf
    share = np.array(solver.getSolution().col_value)[:n].clip(0.0)
    of_whole = whole[choice.group]
    share[of_whole] = np.round(share[of_whole])
    total = np.bincount(choice.group, share, groups)
    if (total <= 0.0).any():
        return first, -np.inf
    least = info.mip_dual_bound if of_whole.any() else info.objective_function_value
    return share / total[choice.group], float(least)


def _cells(choice: _Choice) -> tuple[Indices, Indices]:
    """Rows and steps where some choice falls short."""
    signs = choice.matrix.toarray()
    least = np.zeros(choice.need_kw.shape)
    for g in range(choice.groups):
        power = choice.p_kw[choice.group == g]
        side = signs[:, g][:, None]
        least += np.where(side > 0.0, side * power.min(axis=0), side * power.max(axis=0))
    rows, steps = np.nonzero((choice.need_kw > least) & (choice.most > 0.0))
    return rows, steps


def _lp(choice: _Choice, whole: Mask, cells: tuple[Indices, Indices]) -> Any:  # noqa: ANN401 -- as HiGHS ships it
    n, groups, count = len(choice.cost), choice.groups, len(cells[0])
    signs = choice.matrix.toarray()[cells[0]][:, choice.group]
    power = sparse.csr_array(signs * choice.p_kw.T[cells[1]])
    ones = sparse.csr_array((np.ones(n), (choice.group, np.arange(n))), shape=(groups, n))
    matrix = sparse.block_array([[ones, None], [power, sparse.eye_array(count)]]).tocsc()
    lp = highspy.HighsLp()
    lp.num_col_, lp.num_row_ = n + count, groups + count
    lp.col_cost_ = np.concatenate([choice.cost, choice.most[cells]])
    lp.col_lower_ = np.zeros(n + count)
    lp.col_upper_ = np.concatenate([np.ones(n), np.full(count, highspy.kHighsInf)])
    lp.row_lower_ = np.concatenate([np.ones(groups), choice.need_kw[cells]])
    lp.row_upper_ = np.concatenate([np.ones(groups), np.full(count, highspy.kHighsInf)])
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = matrix.indptr, matrix.indices
    lp.a_matrix_.value_ = matrix.data
    kinds = np.concatenate([whole[choice.group], np.zeros(count, dtype=bool)])
    integer, real = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    lp.integrality_ = [integer if each else real for each in kinds]
    return lp
