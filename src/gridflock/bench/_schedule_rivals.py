"""The same schedule by modelling languages, written the way their own manuals advise."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from typing import Any

import numpy as np
import pyomo.environ as pyo  # type: ignore[import-untyped] # ships no types
from pyomo.contrib.solver.common.factory import SolverFactory  # type: ignore[import-untyped] # the same

from gridflock.bench._schedule_world import HOURS, Answer, Float, Site

cp: Any = import_module("cvxpy")  # its types leave out half of its functions
VERSIONS = {name: version(name) for name in ("pyomo", "highspy", "cvxpy", "clarabel")}


def by_cvxpy(of: Site, solver: str) -> Answer:
    """One expression per law, arrays throughout."""
    m, steps = len(of.wear), len(of.buy)
    charge, discharge = cp.Variable((m, steps), nonneg=True), cp.Variable((m, steps), nonneg=True)
    held, peak = cp.Variable((m, steps + 1)), cp.Variable(nonneg=True)
    bought, sold = cp.Variable(steps, nonneg=True), cp.Variable(steps, nonneg=True)
    kept, taken = of.charged[:, None], 1.0 / of.discharged[:, None]
    stored = HOURS * (cp.multiply(kept, charge) - cp.multiply(taken, discharge))
    share = cp.multiply(1.0 / of.charge_kw[:, None], charge)
    share += cp.multiply(1.0 / of.discharge_kw[:, None], discharge)
    laws = [
        held[:, 0] == of.held_kwh,
        held[:, 1:] == held[:, :-1] + stored,
        held >= 0,
        held <= of.size_kwh[:, None],
        share <= 1,
        bought - sold == of.load_kw + cp.sum(charge, axis=0) - cp.sum(discharge, axis=0),
        bought <= of.limit_kw,
        bought <= peak,
    ]
    wear = cp.sum(of.wear @ (charge + discharge))
    cost = HOURS * (of.buy @ bought - of.sell @ sold + wear) + of.peak_price * peak
    problem = cp.Problem(cp.Minimize(cost - of.worth * cp.sum(held[:, -1])), laws)
    problem.solve(solver=solver)
    return Answer(charge.value, discharge.value, float(problem.value))


def _model(of: Site) -> pyo.ConcreteModel:
    devices, times = range(len(of.wear)), range(len(of.buy))
    # Plain floats: NumPy's own are several times slower in expressions.
    most_c, most_d, size, now = (
        x.tolist() for x in (of.charge_kw, of.discharge_kw, of.size_kwh, of.held_kwh)
    )
    kept, given, wear = (x.tolist() for x in (of.charged, of.discharged, of.wear))
    buy, sell, load = (x.tolist() for x in (of.buy, of.sell, of.load_kw))
    model = pyo.ConcreteModel()
    model.c = pyo.Var(devices, times, bounds=(0, None))
    model.d = pyo.Var(devices, times, bounds=(0, None))
    model.held = pyo.Var(devices, times, bounds=lambda _, i, t: (0, size[i]))  # noqa: ARG005 -- pyomo's call
    model.bought = pyo.Var(times, bounds=(0, of.limit_kw))
    model.sold = pyo.Var(times, bounds=(0, None))
    model.peak = pyo.Var(bounds=(0, None))

    def stored(model: pyo.ConcreteModel, i: int, t: int) -> object:
        before = model.held[i, t - 1] if t else now[i]
        return model.held[i, t] == before + HOURS * (kept[i] * model.c[i, t] - model.d[i, t] / given[i])

    def balance(model: pyo.ConcreteModel, t: int) -> object:
        moved = pyo.quicksum(model.c[i, t] - model.d[i, t] for i in devices)
        return model.bought[t] - model.sold[t] == load[t] + moved

    model.stored = pyo.Constraint(devices, times, rule=stored)
    model.share = pyo.Constraint(
        devices, times, rule=lambda model, i, t: model.c[i, t] / most_c[i] + model.d[i, t] / most_d[i] <= 1
    )
    model.balance = pyo.Constraint(times, rule=balance)
    model.peaks = pyo.Constraint(times, rule=lambda model, t: model.bought[t] <= model.peak)
    energy = pyo.quicksum(buy[t] * model.bought[t] - sell[t] * model.sold[t] for t in times)
    worn = pyo.quicksum(wear[i] * (model.c[i, t] + model.d[i, t]) for i in devices for t in times)
    left = pyo.quicksum(model.held[i, len(buy) - 1] for i in devices)
    model.cost = pyo.Objective(expr=HOURS * (energy + worn) + of.peak_price * model.peak - of.worth * left)
    return model


def _by_pyomo(of: Site, solve: Callable[[pyo.ConcreteModel], object]) -> Answer:
    model = _model(of)
    solve(model)
    shape = len(of.wear), len(of.buy)
    charge, discharge = (_values(part, shape) for part in (model.c, model.d))
    return Answer(charge, discharge, float(pyo.value(model.cost)))


def _values(part: pyo.Var, shape: tuple[int, int]) -> Float:
    return np.fromiter(part.extract_values().values(), np.float64).reshape(shape)


def _appsi(method: str) -> Callable[[pyo.ConcreteModel], object]:
    def solve(model: pyo.ConcreteModel) -> object:
        solver = pyo.SolverFactory("appsi_highs")
        solver.highs_options = {"solver": method}
        return solver.solve(model)

    return solve


PYOMO = {
    "appsi_highs, HiGHS's choice": lambda of: _by_pyomo(of, _appsi("choose")),
    "appsi_highs, interior point": lambda of: _by_pyomo(of, _appsi("ipm")),
    "contrib.solver highs, HiGHS's choice": lambda of: _by_pyomo(of, SolverFactory("highs").solve),
}
CVXPY = {
    "Clarabel": lambda of: by_cvxpy(of, cp.CLARABEL),
    "HiGHS": lambda of: by_cvxpy(of, cp.HIGHS),
}
