"""A trajectory as a mix of answers to prices: what decides at the edges of the set.

Answers of convex members may be mixed with weights that add up to one, and each member then follows
the same mix of its own schedules. A small linear program seeks the mix nearest to the trajectory; its
duals are the price that the next answer is asked for (Dantzig and Wolfe 1960). As each answer is a
vertex, of which there are finitely many, it ends: either nothing is missing, or no answer is worth as
much at that price as the trajectory, which is the proof that it lies outside.
"""

from __future__ import annotations

import highspy
import numpy as np
from numpy.typing import NDArray

from gridflock.fleet.flexible._compiled import Array
from gridflock.units import Kw


class Mix:
    """Answers so far, and the weights with which they come nearest to a trajectory.

    Attributes:
        prices: prices of the answers, in the order of ``weights``.
        miss_kw: sum over the steps of what the best mix misses.
        price: (T,) duals of the best mix, each within ±1: the trajectory's worth per kW and step.
        weights: one per answer, none negative, together 1.
    """

    def __init__(self, wanted_kw: Kw) -> None:
        steps = len(wanted_kw)
        self.prices: list[Array] = []
        self.miss_kw = np.inf
        self.price: Array = np.zeros(steps)
        self.weights: NDArray[np.float64] = np.zeros(0)
        self._wanted, self._waiting = wanted_kw, list[Kw]()
        self._size = max(float(np.abs(wanted_kw).max()), 1.0)
        self._program: highspy.Highs | None = None

    def add(self, answer_kw: Kw, price: Array) -> None:
        """One more answer, and the price it was given for."""
        self.prices.append(price)
        self._waiting.append(answer_kw)

    def solve(self) -> None:
        """The best weights and their duals."""
        program = self._program = self._program or self._empty()
        steps = len(self._wanted)
        rows = np.arange(steps + 1, dtype=np.int32)
        for answer in self._waiting:
            column = np.append(answer / self._size, 1.0)
            program.addCol(0.0, 0.0, highspy.kHighsInf, len(column), rows, column)
        self._waiting.clear()
        program.run()
        solution = program.getSolution()
        self.weights = np.maximum(np.array(solution.col_value[2 * steps :]), 0.0)
        self.weights /= self.weights.sum()
        self.price = np.array(solution.row_dual[:steps])
        self.miss_kw = float(np.sum(solution.col_value[: 2 * steps])) * self._size

    def _empty(self) -> highspy.Highs:
        """The program before any answer: what is missing or too much, and one row per step."""
        program = highspy.Highs()
        program.setOptionValue("output_flag", False)  # noqa: FBT003 # the solver's own signature
        program.setOptionValue("threads", 1)
        for name in ("primal_feasibility_tolerance", "dual_feasibility_tolerance"):
            program.setOptionValue(name, 1e-10)
        for level in (*(self._wanted / self._size), 1.0):
            program.addRow(level, level, 0, np.zeros(0, dtype=np.int32), np.zeros(0))
        for t in range(len(self._wanted)):
            for sign in (1.0, -1.0):
                row = np.array([t], dtype=np.int32)
                program.addCol(1.0, 0.0, highspy.kHighsInf, 1, row, np.array([sign]))
        return program
