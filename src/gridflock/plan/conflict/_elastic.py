"""The problem in which only giving way counts, solved again and again from where it stood."""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np

from gridflock.model import Flexibility
from gridflock.plan._highs import quiet
from gridflock.plan.conflict._wishes import Wish
from gridflock.plan.direct import Floats, Indices, Model
from gridflock.units import Mask

_TOUCHES = 1e-7
"""Dual price, as a part of its largest possible value, above which a cell takes part in a conflict."""

_EVENLY = 1e-3
"""Weight of a kW at the worst moment beside a kWh given way."""


@dataclass(frozen=True, slots=True, eq=False)
class Given:
    """What an optimum gives way by.

    Attributes:
        total: the objective.
        slack: (C,) kW or kWh by which each cell gives, at most where it has several columns.
        touches: (C,) cells whose release would lower the objective.
        own: money of the plan without any penalty.
    """

    total: float
    slack: Floats
    touches: Mask
    own: float


class Elastic:
    """All wishes as cells with a price each; every other cost can be left out.

    Cells are numbered wish by wish, step by step; ``width`` is how many columns each has.

    Args:
        model: the program.
        wishes: its wishes.
        flexibility: for the length of the steps.
    """

    def __init__(self, model: Model, wishes: tuple[Wish, ...], flexibility: Flexibility) -> None:
        hours = flexibility.grid.hours
        self.wishes = wishes
        self.of_wish = np.concatenate([np.full(len(w.steps), k) for k, w in enumerate(wishes)])
        self.step = np.concatenate([w.steps for w in wishes])
        self.unit = np.concatenate([np.where(w.energy, 1.0, hours[w.steps]) for w in wishes])
        self.penalty = np.concatenate([w.penalty for w in wishes])
        sizes = [w.slack.shape for w in wishes]
        starts = np.cumsum([0, *(n for _, n in sizes)])
        cell = [np.tile(np.arange(starts[k], starts[k] + n), m) for k, (m, n) in enumerate(sizes)]
        columns = np.concatenate([w.slack.ravel() for w in wishes])
        self._cell: Indices = np.concatenate(cell)[columns >= 0]
        self._column: Indices = columns[columns >= 0]
        self.width = np.bincount(self._cell, minlength=len(self.step))
        self._peak = self._with_peaks(model)
        self._money = model.program.joined_columns()[0]
        self._money[self._column] -= self.penalty[self._cell]
        self._solver = _started(model)
        """None where the solver refuses the numbers, such as a lower bound it takes for endless."""

    @property
    def n(self) -> int:
        """How many cells."""
        return len(self.step)

    def least(self, weight: Floats, evenly: int = -1) -> Given | None:
        """Give way as little as can be, each cell's kWh at its weight (C,); None without an optimum.

        Args:
            weight: what counts, and how much.
            evenly: a wish that is to give way at as little power as that allows.
        """
        money = np.zeros_like(self._money)
        if evenly >= 0:
            money[self._peak[evenly]] = _EVENLY
        return self._solve(money, weight * self.unit)

    def cheapest(self, penalty: Floats) -> Given | None:
        """The cheapest plan with a penalty (C,) per cell; None without an optimum."""
        return self._solve(self._money, penalty)

    def _with_peaks(self, model: Model) -> Indices:
        """A column per wish that is at least each of its slacks; free of cost unless asked for."""
        program = model.program
        peak = program.columns(np.zeros(len(self.wishes)), 0.0, np.inf)
        rows = program.rows(np.zeros(len(self._column)), np.full(len(self._column), np.inf))
        program.put(rows, peak[self.of_wish[self._cell]], 1.0)
        program.put(rows, self._column, -1.0)
        return peak

    def _solve(self, money: Floats, price: Floats) -> Given | None:
        """The optimum for these costs of the program's columns and prices (C,) of the cells."""
        solver, cost = self._solver, money.copy()
        cost[self._column] += price[self._cell]
        numbers = np.arange(len(cost), dtype=np.int32)
        # A model the solver refused must not be run: it would crash the process.
        if solver is None or solver.changeColsCost(len(cost), numbers, cost) == highspy.HighsStatus.kError:
            return None
        solver.run()
        if solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        found = solver.getSolution()
        value = np.asarray(found.col_value)
        if not np.isfinite(value).all():
            return None
        # What the row pays for the slack: its cost less what is left of it after pricing out.
        paid = cost[self._column] - np.asarray(found.col_dual)[self._column]
        slack, share = np.zeros(self.n), np.zeros(self.n)
        np.maximum.at(slack, self._cell, value[self._column])
        np.maximum.at(share, self._cell, paid)
        touches: Mask = (price > 0) & (share > _TOUCHES * price)
        own = float(self._money @ value)
        return Given(float(cost @ value), slack, touches, own)


def _started(model: Model) -> highspy.Highs | None:
    """The solver with the program in it; None where it refuses the numbers."""
    # Only costs change between runs, so the last vertex stays feasible: primal simplex goes on from it.
    solver = quiet(parallel="off", solver="simplex", simplex_strategy=4)
    return None if solver.passModel(model.program.for_highs()) == highspy.HighsStatus.kError else solver
