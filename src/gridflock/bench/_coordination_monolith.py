"""The same batteries and limits as one linear program, for HiGHS alone."""

from __future__ import annotations

import time
from collections.abc import Sequence

import highspy
import numpy as np
from scipy import sparse

from gridflock.bench._coordination_world import World
from gridflock.plan.devices import Stores

METHODS = ("simplex", "ipm")
OPTIMAL = highspy.HighsModelStatus.kOptimal


def monolith(of: World, limit_s: float, methods: Sequence[str] = METHODS) -> tuple[float, dict[str, float]]:
    """Its optimum, and each method's seconds; interior point goes without crossover, at its default gap.

    Raises:
        ArithmeticError: no method came to an optimum in time.
    """
    stores = of.oracles[0]
    assert isinstance(stores, Stores)
    program, fixed = _program(of, stores)
    cost, seconds = np.inf, {}
    for method in methods:
        solver = highspy.Highs()
        for name, value in (("output_flag", False), ("solver", method), ("time_limit", limit_s)):
            solver.setOptionValue(name, value)
        solver.setOptionValue("run_crossover", "off")
        begun = time.perf_counter()
        solver.passModel(program)
        solver.run()
        if solver.getModelStatus() == OPTIMAL:
            seconds[method] = time.perf_counter() - begun
            value = float(solver.getInfo().objective_function_value) + fixed
            cost = value if method == METHODS[0] else min(cost, value)
    if not seconds:
        raise ArithmeticError(f"monolith: no optimum within {limit_s:g} s")
    return cost, seconds


def _program(of: World, stores: Stores) -> tuple[highspy.HighsLp, float]:
    """Columns: drawn, given and content of each store and step, then each row's slack; and a constant."""
    rows, hours, m = of.problem.rows, of.problem.hours, stores.members
    steps = len(hours)
    cells = np.argwhere(rows.there)
    n = m * steps
    price, wear = np.tile(of.problem.price * hours, m), np.outer(stores.wear, hours).ravel()
    worth = np.zeros((m, steps))
    worth[:, -1] = -stores.end_value
    cost = np.concatenate([price + wear, wear - price, worth.ravel(), rows.most[rows.there]])
    top = [np.repeat(stores.charge_kw, steps), np.repeat(stores.discharge_kw, steps)]
    high = np.concatenate([*top, np.repeat(stores.e_hi_kwh, steps), np.full(len(cells), np.inf)])
    low = np.concatenate([np.zeros(2 * n), np.repeat(stores.e_lo_kwh, steps), np.zeros(len(cells))])
    eye = sparse.identity(n, format="csr")
    before = sparse.kron(sparse.identity(m), sparse.eye(steps, k=-1), format="csr")
    drawn = sparse.diags(-np.outer(stores.eff_charge, hours).ravel())
    given = sparse.diags(np.outer(1.0 / stores.eff_discharge, hours).ravel())
    group = np.repeat(np.arange(stores.groups), np.diff(stores.start))
    member = sparse.csr_matrix((np.ones(m), (group, np.arange(m))), shape=(stores.groups, m))
    sums = sparse.kron(rows.matrix @ member, sparse.identity(steps), format="csr")[np.flatnonzero(rows.there)]
    matrix = sparse.bmat(
        [[drawn, given, eye - before, None], [-sums, sums, None, sparse.identity(len(cells))]], format="csc"
    )
    balance = np.zeros((m, steps))
    balance[:, 0] = stores.e_now_kwh
    program = highspy.HighsLp()
    program.num_col_, program.num_row_ = matrix.shape[1], matrix.shape[0]
    program.col_cost_, program.col_lower_, program.col_upper_ = cost, low, high
    program.row_lower_ = np.concatenate([balance.ravel(), rows.need_kw[rows.there]])
    program.row_upper_ = np.concatenate([balance.ravel(), np.full(len(cells), np.inf)])
    program.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    program.a_matrix_.start_, program.a_matrix_.index_ = matrix.indptr, matrix.indices
    program.a_matrix_.value_ = matrix.data
    return program, float((stores.end_value * stores.e_want_kwh).sum())
