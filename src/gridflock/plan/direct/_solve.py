"""A linear program as arrays, and the one place that speaks to the solver."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import highspy
import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from gridflock.plan._highs import linear, quiet

Floats = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Program:
    """Minimise cost·z with bounds on columns z and on rows A·z, filled block by block.

    ``shortcut`` knows more of the structure than the arrays say. It returns the optimum; or None where it
    cannot prove it, or the program it is given is no longer the one it was made for.
    """

    cost: list[Floats] = field(default_factory=list)
    col_lo: list[Floats] = field(default_factory=list)
    col_hi: list[Floats] = field(default_factory=list)
    row_lo: list[Floats] = field(default_factory=list)
    row_hi: list[Floats] = field(default_factory=list)
    entry_row: list[Indices] = field(default_factory=list)
    entry_col: list[Indices] = field(default_factory=list)
    entry_value: list[Floats] = field(default_factory=list)
    n_cols: int = 0
    n_rows: int = 0
    shortcut: Callable[[Program], Solution | None] | None = None

    @property
    def size(self) -> tuple[int, int, int]:
        """Columns, rows and blocks of coefficients."""
        return self.n_cols, self.n_rows, len(self.entry_row)

    def columns(self, cost: Floats, lo: float | Floats, hi: float | Floats) -> Indices:
        """Add one column per element of ``cost``; returns their numbers in its shape."""
        shape = cost.shape
        self.cost.append(cost.ravel())
        self.col_lo.append(np.broadcast_to(lo, shape).astype(np.float64).ravel())
        self.col_hi.append(np.broadcast_to(hi, shape).astype(np.float64).ravel())
        numbers = np.arange(self.n_cols, self.n_cols + cost.size, dtype=np.int64).reshape(shape)
        self.n_cols += cost.size
        return numbers

    def rows(self, lo: Floats, hi: Floats) -> Indices:
        """Add one row per element of ``lo``; returns their numbers in its shape."""
        self.row_lo.append(lo.ravel())
        self.row_hi.append(hi.ravel())
        numbers = np.arange(self.n_rows, self.n_rows + lo.size, dtype=np.int64).reshape(lo.shape)
        self.n_rows += lo.size
        return numbers

    def put(self, rows: Indices, cols: Indices, values: float | Floats) -> None:
        """Coefficients; all three broadcast together, columns numbered -1 are left out."""
        rows, cols, coefficients = np.broadcast_arrays(rows, cols, values)
        there = cols >= 0
        self.entry_row.append(rows[there])
        self.entry_col.append(cols[there])
        self.entry_value.append(coefficients[there].astype(np.float64))

    def joined_columns(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Costs, lower and upper bounds of all columns."""
        return _joined(self.cost), _joined(self.col_lo), _joined(self.col_hi)

    def joined_rows(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Lower and upper bounds of all rows."""
        return _joined(self.row_lo), _joined(self.row_hi)

    def bound(self, columns: Indices, lo: float | None, hi: float | None) -> None:
        """Other bounds for columns already there; None leaves one as it is."""
        self.shortcut = None
        for blocks, value in ((self.col_lo, lo), (self.col_hi, hi)):
            if value is not None:
                blocks[:] = [_joined(blocks)]
                blocks[0][columns] = value

    def charge(self, columns: Indices, cost: Floats) -> None:
        """Add to the cost of columns already there, each named once."""
        self.shortcut = None
        self.cost[:] = [_joined(self.cost)]
        self.cost[0][columns] += cost

    def for_highs(self) -> highspy.HighsLp:
        """The whole as HiGHS takes it."""
        at = _joined(self.entry_row), _joined(self.entry_col)
        matrix = sparse.coo_array((_joined(self.entry_value), at), shape=(self.n_rows, self.n_cols))
        cost, lo, hi = self.joined_columns()
        return linear(cost, (lo, hi), matrix, self.joined_rows())


@dataclass(frozen=True, slots=True, eq=False)
class Solution:
    """What the solver said.

    Attributes:
        status: the solver's own word; ``"Optimal"`` or the rest is not to be used.
        cost: objective.
        value: (columns,).
        reduced_cost: (columns,) change of the objective per unit of the column's bound.
        row_price: (rows,) change of the objective per unit of the row's bound.
        by: ``simplex``; ``chains`` where the program's structure gave the optimum with its proof;
            ``simplex after chains`` where that was tried and not proven.
    """

    status: str
    cost: float
    value: Floats
    reduced_cost: Floats
    row_price: Floats
    by: str = "simplex"

    @property
    def ok(self) -> bool:
        """True where an optimum was proven."""
        return self.status == "Optimal"


def solve(program: Program) -> Solution:
    """The optimum with the price of every row: by the program's shortcut, else at a vertex by HiGHS."""
    if program.shortcut is None:
        return by_simplex(program)
    found = program.shortcut(program)
    return found if found is not None else replace(by_simplex(program), by="simplex after chains")


def by_simplex(program: Program) -> Solution:
    """Solve with HiGHS: dual simplex, one thread, an optimum at a vertex with its duals."""
    solver = quiet(parallel="off", solver="simplex")
    passed = solver.passModel(program.for_highs())
    ran = solver.run() if passed != highspy.HighsStatus.kError else passed
    status = solver.modelStatusToString(solver.getModelStatus())
    if ran == highspy.HighsStatus.kError or status != "Optimal":
        nothing = np.empty(0)
        said = status if status != "Optimal" else "Error"
        return Solution(said, float("nan"), nothing, nothing, nothing)
    found = solver.getSolution()
    return Solution(
        status,
        float(solver.getInfo().objective_function_value),
        np.asarray(found.col_value),
        np.asarray(found.col_dual),
        np.asarray(found.row_dual),
    )


def _joined(blocks: list[Any]) -> NDArray[Any]:
    return np.concatenate(blocks) if blocks else np.empty(0)
