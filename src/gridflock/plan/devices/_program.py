"""Devices of any other kind: each a linear program of its own, handed over as arrays.

HiGHS holds one program per device. A new price changes its costs alone, so the vertex of the last answer
is where the next search begins. Which of several equal vertices it ends at may depend on that history;
therefore each answer is remembered, and a schedule asked for later is the one that was answered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import highspy
import numpy as np
import piqp
from numpy.typing import NDArray
from scipy import sparse

from gridflock.model import Rejected
from gridflock.plan._highs import linear, quiet
from gridflock.plan.devices._compiled import Array, Indices, thin
from gridflock.plan.devices._oracle import Answer, Question
from gridflock.units import Kw, Money

REMEMBERED = 400
"""Answers of one device that are kept, the newest: more than a coordination asks for."""


@dataclass(frozen=True, slots=True, eq=False)
class Program:
    """One device: minimise ``cost·x`` over ``lo <= x <= hi``, ``row_lo <= matrix @ x <= row_hi``.

    Attributes:
        name: what it is called when it is refused.
        cost: float64 (n,) own cost, money per unit of each variable.
        lo: float64 (n,), may be -inf.
        hi: float64 (n,), may be inf.
        matrix: sparse (r, n).
        row_lo: float64 (r,), may be -inf.
        row_hi: float64 (r,), may be inf.
        power: sparse (T, n) injection of each step per unit of each variable, kW.
        base_kw: float64 (T,) injection where all variables are 0.
    """

    name: str
    cost: Money
    lo: Array
    hi: Array
    matrix: sparse.csr_array
    row_lo: Array
    row_hi: Array
    power: sparse.csr_array
    base_kw: Kw

    def faults(self, steps: int) -> tuple[Rejected, ...]:
        """What cannot be a program of so many steps, by field; its solution is not looked for."""
        n, r = len(self.cost), len(self.row_lo)
        wanted = {"lo": (n,), "hi": (n,), "matrix": (r, n), "row_lo": (r,), "row_hi": (r,)}
        wanted |= {"power": (steps, n), "base_kw": (steps,)}
        shapes = {name: np.shape(getattr(self, name)) for name in wanted}
        wrong = {
            f: f"shape {shapes[f]}, expected {shape}" for f, shape in wanted.items() if shapes[f] != shape
        }
        if not wrong:
            finite = {"cost": self.cost, "base_kw": self.base_kw}
            finite |= {"matrix": self.matrix.data, "power": self.power.data}
            wrong = {f: "must be finite" for f, values in finite.items() if not np.isfinite(values).all()}
            for low, high in (("lo", "hi"), ("row_lo", "row_hi")):
                if not (getattr(self, low) <= getattr(self, high)).all():
                    wrong[low] = f"must not be above {high}, nor NaN"
        return tuple(Rejected("device", field, (self.name,), reason) for field, reason in wrong.items())


class _Solver:
    """HiGHS with one device's program in it, and what it has answered."""

    def __init__(self, of: Program, hours: Array) -> None:
        self.of, self.hours = of, hours
        self._solver, self._known = quiet(presolve="off"), dict[bytes, tuple[Kw, float]]()
        self._solver.passModel(linear(of.cost, (of.lo, of.hi), of.matrix, (of.row_lo, of.row_hi)))
        self._columns = np.arange(len(of.cost), dtype=np.int32)
        self._pull = 0.0
        self._quadratic: piqp.SparseSolver | None = None

    def answer(self, price: Array) -> tuple[Kw, float]:
        """Schedule (T,) and own cost that are best at a price (T,); NaN where there is no best."""
        key = price.tobytes()
        if key not in self._known:
            if len(self._known) >= REMEMBERED:
                del self._known[next(iter(self._known))]
            self._known[key] = self._solved(self.of.cost - self.of.power.T @ (price * self.hours))
        return self._known[key]

    def feasible(self) -> bool:
        """Whether any point meets all rows."""
        return bool(np.isfinite(self._solved(np.zeros(len(self.of.cost)))[1]))

    def _solved(self, cost: Array) -> tuple[Kw, float]:
        """Schedule (T,) kW and own cost at costs (n,) of the variables; NaN where there is no best."""
        # HiGHS takes a cost that is no number and calls something optimal.
        if not np.isfinite(cost).all():
            return np.zeros(len(self.hours)), np.nan
        self._solver.changeColsCost(len(cost), self._columns, cost)
        self._solver.run()
        if self._solver.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return np.zeros(len(self.hours)), np.nan
        return self._of(np.array(self._solver.getSolution().col_value))

    def nearest(self, price: Array, target: Kw, pull: float) -> tuple[Kw, float]:
        """Schedule and own cost under a pull to a target, by PIQP; NaN where there is none."""
        of = self.of
        away = price * self.hours + pull * (target - of.base_kw)
        cost = of.cost - of.power.T @ away
        if not np.isfinite(cost).all():
            return np.zeros(len(self.hours)), np.nan
        if self._quadratic is None:
            self._quadratic = self._quadratic_of(cost, pull)
        elif pull == self._pull:
            self._quadratic.update(c=cost)
        else:
            self._quadratic.update(P=_columnwise(pull * (of.power.T @ of.power)), c=cost)
        self._pull = pull
        if self._quadratic.solve() != piqp.PIQP_SOLVED:
            return np.zeros(len(self.hours)), np.nan
        return self._of(np.array(self._quadratic.result.x))

    def _quadratic_of(self, cost: Array, pull: float) -> piqp.SparseSolver:
        """PIQP with the program and ``pull/2`` of every squared kW; rows with equal bounds are equations."""
        of, solver = self.of, piqp.SparseSolver()
        solver.settings.verbose = False
        solver.settings.eps_abs = solver.settings.eps_rel = 1e-10
        solver.settings.eps_duality_gap_abs = solver.settings.eps_duality_gap_rel = 1e-10
        even = of.row_lo == of.row_hi
        sided = ~even & (np.isfinite(of.row_lo) | np.isfinite(of.row_hi))
        solver.setup(
            P=_columnwise(pull * (of.power.T @ of.power)),
            c=cost,
            A=_columnwise(of.matrix[even]),
            b=of.row_lo[even],
            G=_columnwise(of.matrix[sided]),
            h_l=of.row_lo[sided],
            h_u=of.row_hi[sided],
            x_l=of.lo,
            x_u=of.hi,
        )
        return solver

    def _of(self, x: Array) -> tuple[Kw, float]:
        """Schedule (T,) kW and own cost of a point (n,)."""
        return self.of.base_kw + self.of.power @ x, float(self.of.cost @ x)


class Programs:
    """An oracle of m linear programs, sorted by group; exact (``epsilon`` 0), softness is not needed.

    A group of which a member has no best answer (its rows contradict each other, or something is free to
    grow for ever) does not answer: cost NaN. ``rejected`` names such members beforehand.

    Args:
        hours: float64 (T,) length of each step.
        start: int64 (G + 1,) first member of each group, and m.
        programs: m devices.
    """

    def __init__(self, hours: Array, start: Indices, programs: Sequence[Program]) -> None:
        self.hours, self._start = hours, start
        self._solvers = [_Solver(each, hours) for each in programs]

    @property
    def groups(self) -> int:
        """How many groups."""
        return len(self._start) - 1

    @property
    def members(self) -> int:
        """How many devices."""
        return len(self._solvers)

    @property
    def start(self) -> Indices:
        """(G + 1,) first member of each group, and m."""
        return self._start

    def rejected(self) -> tuple[Rejected, ...]:
        """Members no point meets all rows of."""
        return tuple(
            Rejected("device", "matrix", (each.of.name,), "no point meets all rows and bounds")
            for each in self._solvers
            if not each.feasible()
        )

    def thinned(self, every: int) -> Programs:
        """One device in ``every`` of each group."""
        kept, start = thin(self._start, every)
        return Programs(self.hours, start, [self._solvers[k].of for k in kept])

    def respond(self, question: Question) -> Answer:
        """Sums of the groups' best schedules."""
        p_kw, cost = np.zeros((self.groups, len(self.hours))), np.zeros(self.groups)
        for g, k in self._each():
            p, own = self._solvers[k].answer(question.price[g])
            p_kw[g] += p
            cost[g] += own
        return Answer(p_kw, cost, np.zeros(self.groups))

    def add_schedules(self, question: Question, weight: Array, total: NDArray[np.float32]) -> None:
        """Add ``weight`` times every device's schedule to ``total`` (m, T), kW."""
        for g, k in self._each():
            if weight[g] > 0.0:
                total[k] += weight[g] * self._solvers[k].answer(question.price[g])[0]

    def respond_rows(self, price: Array) -> tuple[Kw, Money]:
        """Each device's best answer to prices of its own.

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.

        Returns:
            Schedules, float64 (m, T) kW, and own costs, (m,); NaN where there is none.
        """
        return self._rows([each.answer(price[k]) for k, each in enumerate(self._solvers)])

    def nearest(self, price: Array, target: Kw, pull: Array | float) -> tuple[Kw, Money]:
        """The proximal answer: least own cost - Σ price·hours·p + pull/2·Σ (p - target)².

        Args:
            price: float64 (m, T) worth of a kWh injected, money/kWh.
            target: float64 (m, T) kW.
            pull: money per kW² and step, > 0, one for all or (m,).

        Returns:
            Schedules, float64 (m, T), and own costs, (m,), the pull not counted; NaN where there is none.
        """
        strength = np.broadcast_to(np.asarray(pull, dtype=np.float64), self.members)
        of = zip(self._solvers, price, target, strength, strict=True)
        return self._rows([each.nearest(*asked) for each, *asked in of])

    def _rows(self, found: Sequence[tuple[Kw, float]]) -> tuple[Kw, Money]:
        """Schedules (m, T) and own costs (m,)."""
        p_kw = np.array([p for p, _ in found]).reshape(self.members, len(self.hours))
        return p_kw, np.array([own for _, own in found])

    def _each(self) -> list[tuple[int, int]]:
        """Group and number of every device."""
        of_group = np.repeat(np.arange(self.groups), np.diff(self._start))
        return [(int(g), k) for k, g in enumerate(of_group)]


def _columnwise(matrix: sparse.sparray) -> sparse.csc_matrix:
    """As PIQP takes it: indices in order (it does not look, and solves another problem) and of 32 bits."""
    found = sparse.csc_matrix(matrix)
    found.sum_duplicates()
    found.indices, found.indptr = found.indices.astype(np.int32), found.indptr.astype(np.int32)
    return found
