"""One answer each for the few and large that cannot mix theirs: a last small mixed-integer program.

The coordinator's plan mixes answers. For a battery a mix is a schedule, for a unit that is on or off it is
not. So one answer of each such group is chosen, the best together under the same rows at the same prices
of their slack. Its cost stands against the coordinator's bound, which holds for whole units too: the gap
states what wholeness may have cost.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import highspy
import numpy as np
from scipy import sparse

from gridflock.plan._highs import linear, quiet
from gridflock.plan.devices._compiled import Array, Indices
from gridflock.units import Kw, Mask, Money

NODES = 5_000
"""Branches after which the best choice so far is taken."""
_SWEEPS = 20


class Coupling(Protocol):
    """What joins all groups, as the coordination's rows do: ``activity(p) + slack >= need_kw``."""

    @property
    def need_kw(self) -> Kw:
        """(S, T)."""
        ...

    @property
    def there(self) -> Mask:
        """(S, T) which cells are limited at all."""
        ...

    @property
    def most(self) -> Array:
        """(S, T) money per kW of slack."""
        ...

    @property
    def peak(self) -> Mask:
        """(S,) rows with one slack for all steps, paid once."""
        ...

    def activity(self, p_kw: Kw) -> Kw:
        """(S, T) what sums (G, T) bring to each row; linear."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Picked:
    """What was chosen.

    Attributes:
        weight: float64 (K, n) of each group's answers, adding up to 1; 0 and 1 alone where whole.
        p_kw: float64 (n, T) what they make together.
        cost: of the answers and of all slack, money.
        least: what no choice among these answers can cost less than, money.
    """

    weight: Array
    p_kw: Kw
    cost: float
    least: float

    def gap(self, bound: float, others: float = 0.0) -> float:
        """Most that a better plan could save, money.

        Args:
            bound: what every plan costs at least, these groups and ``others`` together.
            others: cost of the groups that were held fixed, slack not counted.
        """
        return max(self.cost + others - bound, 0.0)


@dataclass(slots=True, eq=False)
class _Choice:
    """N answers that differ, of n groups, and the C cells of rows that can fall short at all.

    Attributes:
        at: (N,) rounds and groups of the answers.
        cost: (N,).
        brings: (N, C) to the cells.
        need: (C,) what is left to bring.
        begins: (Z,) first cell of each slack; those of a peak lie side by side.
        price: (Z,) of each slack.
    """

    at: tuple[Indices, Indices]
    cost: Money
    brings: Array
    need: Array
    begins: Indices
    price: Array

    @property
    def group(self) -> Indices:
        """(N,)."""
        return self.at[1]

    @property
    def groups(self) -> int:
        """How many groups."""
        return int(self.group.max()) + 1

    def slack(self, activity: Array) -> Array:
        """(..., Z) what the slacks have to give where the cells have so much (..., C)."""
        short = np.maximum(self.need - activity, 0.0)
        if not len(self.begins):
            return short
        slack: Array = np.maximum.reduceat(short, self.begins, axis=-1)
        return slack

    def priced(self, share: Array) -> float:
        """Cost of a mix (N,), slack included."""
        return float(share @ self.cost + self.slack(share @ self.brings) @ self.price)

    def by_turns(self) -> Array:
        """(N,) a first choice: each group its cheapest, then one after the other what serves all best."""
        rows = [np.flatnonzero(self.group == g) for g in range(self.groups)]
        chosen = np.array([each[np.argmin(self.cost[each])] for each in rows])
        activity = self.brings[chosen].sum(axis=0)
        for _ in range(_SWEEPS):
            before = chosen.copy()
            for g, each in enumerate(rows):
                activity = activity - self.brings[chosen[g]]
                total = self.cost[each] + self.slack(activity + self.brings[each]) @ self.price
                chosen[g] = each[np.argmin(total)]
                activity = activity + self.brings[chosen[g]]
            if (before == chosen).all():
                break
        share = np.zeros(len(self.cost))
        share[chosen] = 1.0
        return share


def pick_whole(
    p_kw: Kw,
    cost: Money,
    there: Mask,
    whole: Mask,
    rows: Coupling,
    groups: Indices,
    others_kw: Kw,
    nodes: int = NODES,
) -> Picked:
    """Choose one answer of each whole group, and mix those of the others, at least cost.

    A first choice by turns is always there; HiGHS improves it. Groups that may mix go on doing so; those
    not asked are held where they are.

    Args:
        p_kw: float64 (K, n, T) answers of K rounds by n groups.
        cost: float64 (K, n) own cost less the worth of the energy, money.
        there: (K, n) which answers there are; each group has one at least.
        whole: (n,) who cannot mix.
        rows: what joins all G groups.
        groups: (n,) which of them are asked.
        others_kw: float64 (G, T) sums of the others; 0 for those that are asked.
        nodes: branches after which the best choice so far is taken.
    """
    choice = _choice(_differing(p_kw, cost, there), p_kw, cost, rows, groups, others_kw)
    first = choice.by_turns()
    found, least = _by_highs(choice, whole, first, nodes)
    share = min((found, first), key=choice.priced)
    weight = np.zeros(cost.shape)
    weight[choice.at] = share
    priced = choice.priced(share)
    return Picked(weight, np.einsum("kg,kgt->gt", weight, p_kw), priced, min(least, priced))


def _differing(p_kw: Kw, cost: Money, there: Mask) -> tuple[Indices, Indices]:
    """Round and group of all answers, of those that are the same only the cheapest."""
    kept: list[tuple[int, int]] = []
    for g in range(cost.shape[1]):
        rounds = np.flatnonzero(there[:, g])
        rounds = rounds[np.argsort(cost[rounds, g], kind="stable")]
        _, first = np.unique(p_kw[rounds, g], axis=0, return_index=True)
        kept += [(int(k), g) for k in np.sort(rounds[first])]
    at = np.array(kept, dtype=np.int64)
    return at[:, 0], at[:, 1]


def _choice(
    at: tuple[Indices, Indices],
    p_kw: Kw,
    cost: Money,
    rows: Coupling,
    groups: Indices,
    others_kw: Kw,
) -> _Choice:
    """What each answer brings to the cells that some choice leaves short."""
    need = rows.need_kw - rows.activity(others_kw)
    alone = np.zeros_like(others_kw)

    def brought(k: int, g: int) -> Kw:
        alone[groups[g]] = p_kw[k, g]
        activity = rows.activity(alone)
        alone[groups[g]] = 0.0
        return activity

    each = list(zip(*at, strict=True))
    least = np.full((p_kw.shape[1], *need.shape), np.inf)
    for k, g in each:
        least[g] = np.minimum(least[g], brought(k, g))
    cells = np.nonzero(rows.there & (need > least.sum(axis=0)))
    brings = np.array([brought(k, g)[cells] for k, g in each]).reshape(len(each), len(cells[0]))
    new = np.ones(len(cells[0]), dtype=bool)
    new[1:] = (np.diff(cells[0]) > 0) | ~rows.peak[cells[0][1:]]
    begins = np.flatnonzero(new)
    price = np.where(rows.peak, rows.most.max(axis=1, initial=0.0), 0.0)[cells[0]]
    price = np.where(rows.peak[cells[0]], price, rows.most[cells])[begins]
    return _Choice(at, cost[at], brings, need[cells], begins, price)


def _by_highs(choice: _Choice, whole: Mask, first: Array, nodes: int) -> tuple[Array, float]:
    """Shares of the answers (N,), and the proven least cost."""
    n, of_whole = len(choice.cost), whole[choice.group]
    solver, start = quiet(mip_rel_gap=1e-9, mip_max_nodes=nodes), highspy.HighsSolution()
    solver.passModel(_program(choice, of_whole))
    start.col_value = np.concatenate([first, choice.slack(first @ choice.brings)]).tolist()
    solver.setSolution(start)
    solver.run()
    info = solver.getInfo()
    if info.primal_solution_status != highspy.kSolutionStatusFeasible:
        return first, -np.inf
    share = np.array(solver.getSolution().col_value)[:n].clip(0.0)
    share[of_whole] = np.round(share[of_whole])
    total = np.bincount(choice.group, share, choice.groups)
    if (total <= 0.0).any():
        return first, -np.inf
    least = info.mip_dual_bound if of_whole.any() else info.objective_function_value
    return share / total[choice.group], float(least)


def _program(choice: _Choice, whole: Mask) -> highspy.HighsLp:
    """Shares of the answers, adding up to 1 in each group, and the slacks of the cells."""
    n, groups, cells, slacks = len(choice.cost), choice.groups, len(choice.need), len(choice.begins)
    owner = np.repeat(np.arange(slacks), np.diff(np.append(choice.begins, cells)))
    ones = sparse.csr_array((np.ones(n), (choice.group, np.arange(n))), shape=(groups, n))
    gives = sparse.csr_array((np.ones(cells), (np.arange(cells), owner)), shape=(cells, slacks))
    matrix = sparse.block_array([[ones, None], [sparse.csr_array(choice.brings.T), gives]])
    bounds = np.zeros(n + slacks), np.append(np.ones(n), np.full(slacks, np.inf))
    rows = np.append(np.ones(groups), choice.need), np.append(np.ones(groups), np.full(cells, np.inf))
    lp = linear(np.append(choice.cost, choice.price), bounds, matrix, rows)
    kinds = np.concatenate([whole, np.zeros(slacks, dtype=bool)])
    integer, real = highspy.HighsVarType.kInteger, highspy.HighsVarType.kContinuous
    lp.integrality_ = [integer if each else real for each in kinds]
    return lp
