"""Some futures in one program: the first steps in common, later ones free to follow what has happened."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Flexibility, Rejected
from gridflock.plan._check import misshapen, sound
from gridflock.plan._terms import Terms
from gridflock.plan.direct import Floats, Indices, Model, Program, Solution, build, solve, values_of
from gridflock.plan.scenario._paths import Paths
from gridflock.units import Kw, Money

_SAME_KW = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class Fan:
    """One plan for several futures.

    Attributes:
        p_kw: (G, T) the common set-points in the first steps, the expected ones after.
        per_path_kw: (K, G, T) what is planned in each future.
        common: how many steps are the same in all futures.
        price: (T,) expected worth of a kWh injected at the head; NaN without a plan.
        cost: expected cost with penalties, money; NaN without a plan.
        slack_kwh: (K,) by how much limits give way in each future.
        status: the solver's word; ``"Optimal"`` or there is no plan and everybody rests at base.
        rejected: bad input, by name.
    """

    p_kw: Kw
    per_path_kw: Kw
    common: int
    price: Money
    cost: float
    slack_kwh: Floats
    status: str
    rejected: tuple[Rejected, ...]


def fanned(flexibility: Flexibility, fixed: Kw, terms: Terms, paths: Paths, common: int) -> Fan:
    """The least expected cost over all paths, with every limit of every path as rows of its own.

    Each path has its own groups, head and slacks, all weighted by its probability; in the first
    ``common`` steps all paths share the same moves, which must be possible in each of them. With
    ``common`` equal to the number of steps it is one schedule for all futures; with less it is
    two-stage: what comes later may depend on the path. The number of variables grows with paths times
    groups times steps: meant for ten to thirty paths of some ten groups.

    Args:
        flexibility: G groups over T steps.
        fixed: (T,) expected kW of everything that takes no orders.
        terms: prices and limits.
        paths: futures with their probabilities.
        common: how many of the first steps are shared.
    """
    wrong = misshapen(flexibility, fixed, terms)
    if wrong:
        return _at_rest(flexibility, paths, common, "bad input", wrong)
    given = sound(flexibility, fixed, terms)
    f = given.flexibility
    common = min(max(common, 0), f.grid.n)
    cases = _cases(f, paths, common)
    models, solution = _solved(cases, given.terms, paths, common)
    if not solution.ok:
        return _at_rest(f, paths, common, solution.status, given.rejected)
    per_path = np.stack(
        [
            case.base_kw + values_of(model.up, solution) - values_of(model.down, solution)
            for case, model in zip(cases, models, strict=True)
        ]
    )
    moved = per_path - np.stack([case.base_kw for case in cases])
    expected = np.einsum("k,kgt->gt", paths.weight, per_path)
    p_kw = np.where(np.arange(f.grid.n) < common, f.base_kw + moved[0], expected)
    balance = np.stack([solution.row_price[model.balance] for model in models])
    return Fan(
        p_kw=p_kw,
        per_path_kw=per_path,
        common=common,
        price=balance.sum(axis=0) / f.grid.hours,
        cost=solution.cost,
        slack_kwh=np.array([_slack(model, solution, f) for model in models]),
        status=solution.status,
        rejected=given.rejected,
    )


def _cases(f: Flexibility, paths: Paths, common: int) -> list[Flexibility]:
    """The groups in each path; in common steps only what is possible in all of them."""
    if paths.base_kw is None:
        return [f] * paths.n
    # What can be taken off (a sun's output) moves with the output itself, never below nothing.
    able = []
    for base in paths.base_kw:
        sheds = np.isclose(f.down_kw, np.maximum(f.base_kw, 0.0)) & (f.base_kw > 0)
        able.append(replace(f, base_kw=base, down_kw=np.where(sheds, np.maximum(base, 0.0), f.down_kw)))
    least = np.min([case.down_kw for case in able], axis=0)
    shared = np.arange(f.grid.n) < common
    return [replace(case, down_kw=np.where(shared, least, case.down_kw)) for case in able]


def _solved(
    cases: list[Flexibility], terms: Terms, paths: Paths, common: int
) -> tuple[list[Model], Solution]:
    """Where each path's parts stand in the one program, and its solution."""
    whole = Program()
    models: list[Model] = []
    for case, fixed_kw, weight in zip(cases, paths.fixed_kw, paths.weight, strict=True):
        model = build(case, fixed_kw, terms)
        first = models[0] if models else None
        models.append(_joined(whole, model, first, float(weight), common))
    return models, solve(whole)


def _joined(whole: Program, model: Model, first: Model | None, weight: float, common: int) -> Model:
    """Add a path's program to the whole; its common moves are the first path's columns."""
    part = model.program
    cost, lo, hi = part.joined_columns()
    own = np.ones(part.n_cols, dtype=bool)
    shared: list[tuple[Indices, Indices]] = []
    if first is not None:
        for mine, theirs in ((model.up, first.up), (model.down, first.down)):
            there = mine[:, :common] >= 0
            shared.append((mine[:, :common][there], theirs[:, :common][there]))
            own[shared[-1][0]] = False
    number = np.full(part.n_cols, -1, dtype=np.int64)
    number[own] = whole.columns(weight * cost[own], lo[own], hi[own])
    for mine, theirs in shared:
        number[mine] = theirs
        whole.charge(theirs, weight * cost[mine])
    rows = whole.rows(*part.joined_rows())
    for row, col, value in zip(part.entry_row, part.entry_col, part.entry_value, strict=True):
        whole.put(rows[row], number[col], value)
    return _renumbered(model, whole, number, rows)


def _renumbered(model: Model, whole: Program, number: Indices, rows: Indices) -> Model:
    """Where the parts of a path's model stand in the whole program."""

    def columns(old: Indices) -> Indices:
        return np.where(old >= 0, number[old], -1)

    return replace(
        model,
        program=whole,
        up=columns(model.up),
        down=columns(model.down),
        balance=rows[model.balance],
        beyond=columns(model.beyond),
        group_rows=[replace(b, under=columns(b.under), over=columns(b.over)) for b in model.group_rows],
        blocks=[replace(b, slack=columns(b.slack)) for b in model.blocks],
    )


def _slack(model: Model, solution: Solution, f: Flexibility) -> float:
    """By how much limits give way in one path, kWh."""
    hours = f.grid.hours
    total = float((values_of(model.beyond, solution) * hours).sum())
    for block in model.group_rows:
        gave = values_of(block.under, solution) + values_of(block.over, solution)
        total += float(gave @ hours[block.steps])
    for placed in model.blocks:
        total += float((values_of(placed.slack, solution) * hours[placed.steps]).sum())
    return total


def _at_rest(f: Flexibility, paths: Paths, common: int, status: str, rejected: tuple[Rejected, ...]) -> Fan:
    """Everybody at base in every path, and why."""
    n, shape = max(f.grid.n, 0), (len(f.groups), max(f.grid.n, 0))
    base = f.base_kw if np.shape(f.base_kw) == shape else np.full(shape, np.nan)
    absent = float("nan")
    return Fan(
        base,
        np.repeat(base[None], paths.n, axis=0),
        common,
        np.full(n, absent),
        absent,
        np.full(paths.n, absent),
        status,
        rejected,
    )
