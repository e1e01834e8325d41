"""From flexibility, fixed power and terms to a schedule with its prices and reasons."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from gridflock.model import Flexibility, Reason, Schedule
from gridflock.plan._check import Sound, misshapen, sound, told
from gridflock.plan._grounds import Grounds, grounds_of
from gridflock.plan._reason import reasons_of
from gridflock.plan._rest import at_rest
from gridflock.plan._terms import Terms
from gridflock.plan.direct._model import Model, build, values_of
from gridflock.plan.direct._solve import Floats, Solution, solve
from gridflock.units import Kw

_SAME_KW = 1e-6
_ROUNDS = 4


def plan(flexibility: Flexibility, fixed: Kw, terms: Terms, now_s: int) -> Schedule:
    """The cheapest schedule for all groups together, with the price of every limit.

    One linear program: minimise energy bought less energy sold, new import peak, the groups'
    own costs and the slacks, less the worth of what is left in store. It always answers: limits
    give way at a price and are named, broken groups rest at base, and if the solver finds no
    optimum everything does; ``reasons`` says which.

    Up and down at once: a lossy store could burn energy that way, which pays only while
    energy in store is worth less than nothing (negative prices, a full store). Where the optimum
    does it and it matters, the step is held to one direction and the problem solved again.

    Args:
        flexibility: G groups over T steps.
        fixed: (T,) kW of everything that takes no orders, injection positive.
        terms: prices and limits.
        now_s: moment of planning, unix seconds.

    Returns:
        The schedule; ``price`` is what one more kWh injected at the head would save.
    """
    return grounded(flexibility, fixed, terms, now_s).schedule


@dataclass(frozen=True, slots=True, eq=False)
class Grounded:
    """A schedule and what its numbers rest on.

    Attributes:
        schedule: the plan.
        grounds: every price behind it; None where all rest at base.
        bound: no plan can cost less, money; -inf without proof.
    """

    schedule: Schedule
    grounds: Grounds | None
    bound: float


def grounded(flexibility: Flexibility, fixed: Kw, terms: Terms, now_s: int) -> Grounded:
    """``plan`` with its grounds, for ``explain``."""
    wrong = misshapen(flexibility, fixed, terms)
    if wrong:
        return Grounded(
            _resting(flexibility, np.zeros(flexibility.grid.n), now_s, told(wrong)), None, -np.inf
        )
    given = sound(flexibility, fixed, terms)
    model, solution, up, down = one_way(given, lambda model: solve(model.program))
    if not solution.ok:
        why = Reason(f"no plan: the solver said {solution.status}; all groups at base", 0, 0.0)
        resting = _resting(given.flexibility, given.fixed_kw, now_s, (why, *told(given.rejected)))
        return Grounded(resting, None, -np.inf)
    schedule = schedule_of(given, model, solution, up - down, now_s)
    grounds = grounds_of(model, solution, given.flexibility, given.fixed_kw, given.terms)
    return Grounded(schedule, grounds, _least(given, model, solution))


def _least(given: Sound, model: Model, solution: Solution) -> float:
    """What no plan can undercut: the program's optimum before any step was held to one direction."""
    f = given.flexibility
    if ((model.up >= 0) == (f.up_kw > 0.0)).all() and ((model.down >= 0) == (f.down_kw > 0.0)).all():
        return solution.cost
    free = solve(build(f, given.fixed_kw, given.terms).program)
    return free.cost if free.ok else -np.inf


def one_way(given: Sound, solved: Callable[[Model], Solution]) -> tuple[Model, Solution, Floats, Floats]:
    """Solve until no lossy store moves both ways in one step; the last round leaves no choice.

    Args:
        given: sound input.
        solved: solves the program it is given.

    Returns:
        The last program, its solution, and (G, T) upward and downward moves.
    """
    flexibility = given.flexibility
    lossy = (flexibility.gain_up + flexibility.gain_down != 0)[:, None]
    for left in reversed(range(_ROUNDS)):
        model = build(flexibility, given.fixed_kw, given.terms)
        solution = solved(model)
        up, down = values_of(model.up, solution), values_of(model.down, solution)
        both = lossy & (np.minimum(up, down) > _SAME_KW)
        if not both.any():
            break
        held = lossy if left == 1 else both
        flexibility = replace(
            flexibility,
            up_kw=np.where(held & (up < down), 0.0, flexibility.up_kw),
            down_kw=np.where(held & (up >= down), 0.0, flexibility.down_kw),
        )
    return model, solution, up, down


def schedule_of(given: Sound, model: Model, solution: Solution, moved: Kw, now_s: int) -> Schedule:
    """The schedule of a solved program whose groups move by ``moved`` (G, T) kW."""
    f, terms = given.flexibility, given.terms
    p_kw = f.base_kw + moved
    net_kw = given.fixed_kw + p_kw.sum(axis=0)
    return Schedule(
        grid=f.grid,
        groups=f.groups,
        p_kw=p_kw,
        base_kw=f.base_kw,
        fixed_kw=given.fixed_kw,
        net_kw=net_kw,
        price=solution.row_price[model.balance] / f.grid.hours,
        peak_kw=max(terms.peak_so_far_kw, float(np.max(-net_kw, initial=0.0))),
        reasons=(*told(given.rejected), *reasons_of(model, solution, f)),
        cost=solution.cost,
        made_at_s=now_s,
    )


def _resting(f: Flexibility, fixed_kw: Kw, now_s: int, why: tuple[Reason, ...]) -> Schedule:
    return at_rest(f.grid, f.groups, f.base_kw, fixed_kw, now_s, why)
