"""Which readings to name: the largest normalised residual, and others that have nothing to do with it.

One bad reading spoils the residuals around it, so only the largest can be trusted to be bad; it is
taken out and all is estimated again. Residuals that are uncorrelated with it are not its doing: the
largest of those are named in the same round.
"""

from __future__ import annotations

import numpy as np

from gridflock.grid._network import Float
from gridflock.grid.estimation._analysis import Factored
from gridflock.grid.estimation._fit import Fit, Problem
from gridflock.grid.estimation._measurements import PORT_POWERS
from gridflock.grid.estimation._ports import spread
from gridflock.grid.estimation._suspects import Judged, dense, respond

RELATED = 0.05
"""Residuals with a larger correlation than this may be each other's doing."""


def to_name(problem: Problem, fitted: Fit, judged: Judged) -> list[int]:
    """Rows of readings beyond the threshold, largest first, none related to an earlier one."""
    size = np.nan_to_num(np.abs(judged.normalised))
    beyond = np.flatnonzero(size > judged.threshold)
    waiting = beyond[np.argsort(-size[beyond], kind="stable")].tolist()
    named: list[int] = []
    while waiting:
        row = waiting.pop(0)
        named.append(row)
        if waiting:
            related = np.abs(covariance_with(problem, fitted, judged.factored, row))
            limit = RELATED * judged.residual_sigma * judged.residual_sigma[row]
            waiting = [other for other in waiting if related[other] <= limit[other]]
    return named


def covariance_with(problem: Problem, fitted: Fit, factored: Factored, row: int) -> Float:
    """(m,) posterior covariance of what each measurement measures with what one of them measures.

    The estimate's response to a small linear cost on that quantity, by one solution.
    """
    net, given, where = problem.network, problem.given, problem.where
    nothing = np.zeros(net.n, dtype=np.complex128)
    h = problem.sensor.derivatives(fitted.point.v, net.v_base)
    turned = [turn * fitted.ports.per_kw for turn in (1.0, -1j)]
    own: list[Float | float] = [0.0, 0.0]
    if given.quantity[row] in PORT_POWERS:
        part = PORT_POWERS.index(given.quantity[row])
        shares = fitted.weights.merged[part].covariance @ problem.sums[[row]].T
        own[part] = np.asarray(shares.todense()).ravel()
        pull = spread(net, where, shares).vectors(turned[part])
        dv, multiplier = factored.solve(nothing, dense(pull.node, pull.value, net.n))
    else:
        sensor = int(np.searchsorted(problem.sensor.row, row))
        dv, multiplier = respond(problem, factored, h, sensor)
    found = np.zeros(len(given))
    seen = (np.conj(h.value) * dv[h.node]).real
    found[problem.sensor.row] = np.bincount(problem.sensor.entry_sensor, seen, len(problem.sensor.row))
    across = where.across(net.v_base / 1000.0 * multiplier)[: where.loads]
    for part, quantity in enumerate(PORT_POWERS):
        moved = fitted.weights.merged[part].covariance @ (np.conj(turned[part]) * across).real + own[part]
        rows = np.flatnonzero(given.quantity == quantity)
        found[rows] = problem.sums[rows] @ moved
    return found
