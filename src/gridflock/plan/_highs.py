"""Linear programs handed to HiGHS as arrays."""

from __future__ import annotations

import highspy
import numpy as np
from scipy import sparse

from gridflock.plan.devices._compiled import Array


def quiet(**options: bool | float | str) -> highspy.Highs:
    """A solver that prints nothing and keeps to one thread, with further options of its own."""
    solver = highspy.Highs()
    for name, value in ({"output_flag": False, "threads": 1} | options).items():
        solver.setOptionValue(name, value)
    return solver


def linear(
    cost: Array, bounds: tuple[Array, Array], matrix: sparse.sparray, rows: tuple[Array, Array]
) -> highspy.HighsLp:
    """Minimise ``cost·x`` over ``bounds[0] <= x <= bounds[1]``, ``rows[0] <= matrix @ x <= rows[1]``.

    Args:
        cost: (n,) money per unit of each column.
        bounds: (n,) each, endless for none.
        matrix: sparse (r, n).
        rows: (r,) each, endless for none.
    """
    columnwise = sparse.csc_array(matrix)
    lp = highspy.HighsLp()
    lp.num_row_, lp.num_col_ = columnwise.shape
    lp.col_cost_, lp.col_lower_, lp.col_upper_ = (np.asarray(each, np.float64) for each in (cost, *bounds))
    lp.row_lower_, lp.row_upper_ = (np.asarray(each, np.float64) for each in rows)
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_ = columnwise.indptr, columnwise.indices
    lp.a_matrix_.value_ = columnwise.data
    return lp
